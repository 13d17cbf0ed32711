"""Paths in, patients out: every file is shown or has its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.domain.study import Collection


def scan(
    paths: Sequence[Path],
    *,
    progress: Progress = no_progress,
    stop: StopToken | None = None,
    on_found: Callable[[Collection], None] | None = None,
) -> Collection:
    """Find the patients, studies, series and images in files and folders."""
    raise NotImplementedError

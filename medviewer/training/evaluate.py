"""How good is a model folder on a folder of labelled images?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def evaluate(
    model: Path, data: Path, out: Path, *, split: str | None = None, progress: Callable[[str], None] = lambda line: None
) -> Mapping[str, Any]:
    """Run an image classifier over a folder of class folders and write a report.

    Args:
        model: the model folder.
        data: holds one folder for each class, with JPEG or PNG files of any size.
        out: receives ``report.json`` and ``report.html``.
        split: ``block``, ``tune`` or ``report``: only the patients that the card's
            training section held out so; None: every image.
        progress: called with one line of text at a time.

    Returns:
        The content of ``report.json``.
    """
    raise NotImplementedError

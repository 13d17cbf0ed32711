"""Scans that tell what the test says, step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from medviewer.domain.study import Collection


def let_scan(monkeypatch: pytest.MonkeyPatch, *steps: Collection | Callable[[], object]) -> None:
    """Have the next scan tell each collection in turn, and do what is to happen between two of them."""

    def by_steps(_paths: object, *, on_found: Callable[[Collection], None], **_how: object) -> Collection:
        told = Collection()
        for step in steps:
            if isinstance(step, Collection):
                told = step
                on_found(told)
            else:
                step()
        return told

    monkeypatch.setattr("medviewer.app.analysis.scan", by_steps)

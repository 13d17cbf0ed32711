"""Masks whose outlines are too long are known before they are traced."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.imaging import label_planes
from medviewer.imaging.label_planes import is_ragged, outlines_of


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_corners_are_counted_as_they_would_be_traced(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(1).random((70, 50)) < share
    mask[:9] = False
    corners = sum(map(len, outlines_of(mask)))
    monkeypatch.setattr(label_planes, "MOST_CORNERS", corners)
    assert not is_ragged(mask)
    monkeypatch.setattr(label_planes, "MOST_CORNERS", corners - 1)
    assert is_ragged(mask)


def test_edges_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripes have few corners and long edges."""
    mask = np.zeros((40, 60), bool)
    mask[::2] = True
    edges = 20 * 2 * (60 + 1)
    monkeypatch.setattr(label_planes, "MOST_EDGES", edges)
    assert not is_ragged(mask)
    monkeypatch.setattr(label_planes, "MOST_EDGES", edges - 1)
    assert is_ragged(mask)


def test_nothing_and_a_large_block_are_not_ragged() -> None:
    mask = np.zeros((3000, 2000), bool)
    assert not is_ragged(mask)
    mask[100:-100, 100:-100] = True
    assert not is_ragged(mask)

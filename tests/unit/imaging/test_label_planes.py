"""Masks whose outlines are too long are known before they are traced."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.imaging import label_planes
from medviewer.imaging.label_planes import is_ragged, outlines_of, plane_of


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


def test_a_segment_with_too_many_corners_is_kept_as_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(1).random((400, 403)) < 0.5
    block = np.zeros((400, 403), bool)
    block[50:90, 20:70] = True
    traced: list[int] = []
    own = label_planes.outlines_of
    monkeypatch.setattr(label_planes, "outlines_of", lambda mask: (traced.append(int(mask.sum())), own(mask))[1])
    plane = plane_of({2: noise, 1: block})
    assert traced == [int(block.sum())]  # the noise would take minutes
    assert (set(plane.outlines), set(plane.ragged)) == ({1}, {2})
    np.testing.assert_array_equal(plane.ragged[2].mask, noise)
    assert plane.size_bytes < 2 * noise.size / 8 + 1000
    for row, column in np.random.default_rng(2).integers(0, 400, (300, 2)):
        expected = tuple(number for number, mask in ((1, block), (2, noise)) if mask[row, column])
        assert plane.segments_at(column + 0.5, row + 0.5) == expected
    for outside in ((-0.5, 5.0), (5.0, -0.5), (403.5, 5.0), (5.0, 400.5)):
        assert plane.segments_at(*outside) == ()

"""Outlines far away are drawn with fewer corners, and nobody sees that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QSizeF
from PySide6.QtGui import QColor, QImage, QPainter, QTransform

from medviewer.gui import region_layer
from medviewer.gui.outline_drawing import draw_outlines, draw_ragged, outline_path, step_for
from medviewer.imaging.label_planes import outlines_of
from tests.outline_models import make_region

INK = QColor(60, 190, 255)


def drawn(mask: np.ndarray, zoom: float, step: int, ratio: int = 1) -> np.ndarray:
    """``(rows, columns, 4)`` of the picture of a mask's outlines."""
    side = int(max(mask.shape) * zoom * ratio)
    image = QImage(side, side, QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(ratio)
    image.fill(0)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    transform = QTransform.fromScale(zoom, zoom)
    draw_outlines(painter, transform, outline_path(outlines_of(mask), step), INK, 1.0, ratio)
    painter.end()
    return np.frombuffer(image.constBits(), np.uint8).reshape(side, side, 4).copy()


def disc(size: int, radius: float) -> np.ndarray:
    y, x = np.indices((size, size)) - size / 2
    return np.asarray(np.hypot(y * 1.3, x) < radius)


@pytest.mark.parametrize(("zoom", "ratio", "step"), [(1.0, 1, 1), (0.6, 1, 1), (0.5, 1, 2), (0.3, 2, 1), (0.1, 1, 8)])
def test_a_step_is_never_larger_than_a_pixel_of_the_screen(qapp: Any, zoom: float, ratio: int, step: int) -> None:
    assert step_for(QTransform.fromScale(zoom, zoom).rotate(90), ratio) == step
    assert step * zoom * ratio <= 1 or step == 1


@pytest.mark.parametrize("zoom", [0.5, 0.25, 0.125])
def test_fewer_corners_look_the_same(qapp: Any, zoom: float) -> None:
    mask = disc(600, 230)
    step = step_for(QTransform.fromScale(zoom, zoom), 1)
    exact, coarse = outline_path(outlines_of(mask)), outline_path(outlines_of(mask), step)
    assert coarse.elementCount() < 0.7 * exact.elementCount()
    seen, known = (drawn(mask, zoom, one)[..., 3].astype(int) for one in (step, 1))
    is_in, was_in = seen > 60, known > 60
    assert (is_in ^ was_in).sum() < 0.35 * (2 * np.pi * 230 * zoom)  # less than a third of the pixels of its edge
    middle = QPointF(300, 300)
    assert coarse.contains(middle)


def test_what_is_smaller_than_a_pixel_of_the_screen_does_not_vanish(qapp: Any) -> None:
    mask = np.zeros((512, 512), bool)
    mask[200:202, 301:303] = True
    assert drawn(mask, 0.1, step_for(QTransform.fromScale(0.1, 0.1), 1))[18:23, 28:33, 3].max() > 100


def test_a_hole_stays_a_hole(qapp: Any) -> None:
    mask = disc(600, 230) & ~disc(600, 100)
    picture = drawn(mask, 0.25, 4)
    assert picture[75, 75, 3] == 0
    assert picture[75, 75 - 40, 3] > 0


def test_the_edge_is_as_wide_on_a_fine_screen(qapp: Any) -> None:
    mask = np.zeros((100, 100), bool)
    mask[30:70, 30:70] = True
    wide = {ratio: (drawn(mask, 1.0, 1, ratio)[50 * ratio, : 45 * ratio, 3] > 120).sum() / ratio for ratio in (1, 2)}
    assert wide[1] == pytest.approx(wide[2], abs=1.0)
    assert 1 <= wide[2] <= 4


def test_a_ragged_mask_is_drawn_where_it_is_without_its_outlines(qapp: Any) -> None:
    mask = disc(600, 230) & (np.random.default_rng(0).random((600, 600)) > 0.1)
    image = QImage(300, 300, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(0)
    painter = QPainter(image)
    draw_ragged(painter, QTransform.fromScale(0.5, 0.5), mask, INK, 1.0)
    painter.end()
    seen = np.frombuffer(image.constBits(), np.uint8).reshape(300, 300, 4)[..., 3] > 0
    inside = disc(600, 230)[::2, ::2]
    assert seen[inside].mean() > 0.85
    assert not seen[~disc(600, 234)[::2, ::2]].any()


def test_noise_is_drawn_as_a_picture_and_not_by_its_corners(qapp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an untrained network outlines must not hold up the window."""
    noise = np.random.default_rng(0).random((400, 400)) > 0.5
    region, quiet = make_region("bright", noise), make_region("dark", disc(400, 100))
    assert (region.is_ragged, quiet.is_ragged) == (True, False)
    assert region_layer._path_of(region, 1) is None
    assert region_layer._path_of(quiet, 1) is not None
    drawn: list[int] = []
    monkeypatch.setattr(region_layer, "draw_outlines", lambda _p, _t, path, *_rest: drawn.append(path.elementCount()))
    layer = region_layer.RegionLayer()
    layer._paths = (region, quiet), 1, [region_layer._path_of(one, 1) for one in (region, quiet)]
    picture = layer._draw(QTransform(), QSizeF(400, 400), 1.0, 0.5)
    assert len(drawn) == 1
    seen = np.frombuffer(picture.constBits(), np.uint8).reshape(400, 400, 4)[..., 3] > 0
    np.testing.assert_array_equal(seen, noise)

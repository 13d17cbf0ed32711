"""Flips, turns, zoom and centre put each pixel where numpy puts it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPointF, QSizeF

from medviewer.app.state import View
from medviewer.domain.study import PixelDescription
from medviewer.gui.placing import Placement
from medviewer.imaging.scale import pixel_aspect

VIEWS = st.builds(
    View,
    quarter_turns=st.integers(-4, 7),
    flip_horizontal=st.booleans(),
    flip_vertical=st.booleans(),
    zoom=st.none() | st.floats(0.05, 40),
    center=st.none() | st.tuples(st.floats(-50, 150), st.floats(-50, 150)),
)
SIZES = st.tuples(st.integers(20, 3000), st.integers(20, 3000)).map(lambda s: QSizeF(*s))


def placement(view: View, columns: int = 7, rows: int = 5, **changes: object) -> Placement:
    values = {"size": QSizeF(400, 300), "ratio": 1.0, "columns": columns, "rows": rows, "aspect": 1.0, "view": view}
    return Placement(**(values | changes))  # type: ignore[arg-type]


@given(VIEWS)
def test_each_pixel_lies_where_numpy_puts_it(view: View) -> None:
    rows, columns = 5, 7
    whole = View(
        quarter_turns=view.quarter_turns,
        flip_horizontal=view.flip_horizontal,
        flip_vertical=view.flip_vertical,
        zoom=1.0,
    )
    numbers = np.arange(rows * columns).reshape(rows, columns)
    shown = numbers[:, ::-1] if view.flip_horizontal else numbers
    shown = np.rot90(shown[::-1] if view.flip_vertical else shown, view.quarter_turns)
    placed = placement(whole, columns, rows, size=QSizeF(shown.shape[1], shown.shape[0]))
    for row, column in np.ndindex(shown.shape):
        x, y = placed.image_point(QPointF(column + 0.5, row + 0.5))
        assert numbers[int(y // 1), int(x // 1)] == shown[row, column]


@given(VIEWS, SIZES, st.sampled_from([1.0, 1.25, 2.0]), st.floats(0.3, 3))
def test_fit_shows_the_whole_image_and_touches_an_edge(view: View, size: QSizeF, ratio: float, aspect: float) -> None:
    fitted = View(
        quarter_turns=view.quarter_turns, flip_horizontal=view.flip_horizontal, flip_vertical=view.flip_vertical
    )
    placed = placement(fitted, 640, 480, size=size, ratio=ratio, aspect=aspect)
    corners = [placed.transform.map(QPointF(x, y)) for x in (0, 640) for y in (0, 480)]
    width = max(p.x() for p in corners) - min(p.x() for p in corners)
    height = max(p.y() for p in corners) - min(p.y() for p in corners)
    assert width <= size.width() * (1 + 1e-9)
    assert height <= size.height() * (1 + 1e-9)
    assert max(width / size.width(), height / size.height()) == pytest.approx(1)
    # A pixel is as high, against its width, as the spacing says.
    wanted = 640 / (480 * aspect)
    assert min(width / height, height / width) == pytest.approx(min(wanted, 1 / wanted))


@given(VIEWS, st.floats(0, 400), st.floats(0, 300), st.floats(0.05, 40))
def test_zooming_keeps_what_is_under_the_cursor(view: View, x: float, y: float, zoom: float) -> None:
    point = QPointF(x, y)
    before = placement(view)
    after = placement(
        View(
            quarter_turns=view.quarter_turns,
            flip_horizontal=view.flip_horizontal,
            flip_vertical=view.flip_vertical,
            zoom=zoom,
            center=before.zoomed_about(point, zoom),
        )
    )
    assert after.image_point(point) == pytest.approx(before.image_point(point), abs=1e-6)


@given(VIEWS, st.floats(-200, 200), st.floats(-200, 200))
def test_a_drag_moves_what_was_under_the_cursor_along(view: View, x: float, y: float) -> None:
    before = placement(view)
    held = before.image_point(QPointF(150, 100))
    after = placement(
        View(
            quarter_turns=view.quarter_turns,
            flip_horizontal=view.flip_horizontal,
            flip_vertical=view.flip_vertical,
            zoom=before.zoom,
            center=before.moved(QPointF(x, y)),
        )
    )
    assert after.image_point(QPointF(150 + x, 100 + y)) == pytest.approx(held, abs=1e-6)


@given(VIEWS, SIZES)
def test_nothing_that_can_be_seen_is_left_out(view: View, size: QSizeF) -> None:
    placed = placement(view, 100, 80, size=size)
    top, left, bottom, right = placed.visible_part()
    for share_x in (0.0, 0.25, 0.5, 0.75, 1.0):
        for share_y in (0.0, 0.5, 1.0):
            column, row = placed.image_point(QPointF(size.width() * share_x, size.height() * share_y))
            if 0 <= column < 100 and 0 <= row < 80:
                assert top <= row < bottom
                assert left <= column < right


def test_one_image_pixel_is_one_pixel_of_the_screen_at_any_scale() -> None:
    for ratio in (1.0, 1.5, 2.0):
        placed = placement(View(zoom=1.0), ratio=ratio)
        assert placed.transform.m11() * ratio == pytest.approx(1.0)


def test_the_aspect_is_the_spacing_between_rows_over_that_between_columns() -> None:
    d = PixelDescription(modality="CT", rows=1, columns=1, pixel_spacing_mm=(2.0, 1.0))
    assert pixel_aspect(d) == 2.0
    assert pixel_aspect(replace(d, pixel_aspect_ratio=3.0)) == 2.0, "the spacing says more"
    assert pixel_aspect(PixelDescription(modality="CT", rows=1, columns=1)) == 1.0


def test_the_aspect_is_the_files_ratio_where_nothing_says_how_large_a_pixel_is() -> None:
    assert pixel_aspect(PixelDescription(modality="US", rows=1, columns=1, pixel_aspect_ratio=2.0)) == 2.0

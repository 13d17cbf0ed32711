"""The heat map's colours: perceptually uniform, nothing drawn where there is nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medviewer.domain.errors import UsageError
from medviewer.explain.overlay import COLOR_MAPS, blend, color_table, normalise_map, to_levels

MAPS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.one_of(st.floats(-1e6, 1e6, width=32), st.just(float("nan"))),
)


def published(name: str) -> np.ndarray:
    """The table as another package ships it, (256, 3)."""
    if name == "cividis":  # pyqtgraph has another of that name
        return np.asarray(pytest.importorskip("matplotlib").colormaps[name](np.arange(256)))[:, :3]
    spec = importlib.util.find_spec("pyqtgraph")  # found, not imported: it would load Qt
    assert spec
    assert spec.origin
    lines = (Path(spec.origin).parent / "colors" / "maps" / f"{name}.csv").read_text().splitlines()
    return np.array([[float(part) for part in line.split(",")[:3]] for line in lines if line and line[0].isdigit()])


@pytest.mark.parametrize("name", COLOR_MAPS)
def test_colours_are_the_published_ones(name: str) -> None:
    table = color_table(name, opacity=1, threshold=0)
    assert table.shape == (256, 4)
    assert table.dtype == np.uint8
    theirs = published(name)
    theirs = theirs * 255 if theirs.max() <= 1 else theirs
    assert len(theirs) == 256
    assert np.abs(table[:, :3] - theirs).max() <= 2.5


@pytest.mark.parametrize("name", COLOR_MAPS)
def test_lightness_only_rises(name: str) -> None:
    rgb = color_table(name, opacity=1, threshold=0)[:, :3] / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance[::5]) > 0).all()


@given(st.sampled_from(COLOR_MAPS), st.floats(0, 1), st.floats(0, 1))
def test_opacity_grows_from_nothing(name: str, opacity: float, threshold: float) -> None:
    alpha = color_table(name, opacity=opacity, threshold=threshold)[:, 3].astype(int)
    assert alpha[0] == 0
    assert (np.diff(alpha) >= 0).all()
    assert alpha[-1] == round(opacity * 255)
    assert not alpha[np.arange(256) / 255 < threshold].any()


@given(st.sampled_from(COLOR_MAPS), st.floats(0, 1), st.floats(0, 0.9))
def test_no_edge_is_drawn_at_the_threshold(name: str, opacity: float, threshold: float) -> None:
    """A step there would look like the outline of a lesion."""
    alpha = color_table(name, opacity=opacity, threshold=threshold)[:, 3].astype(int)
    assert np.diff(alpha).max() <= opacity / (1 - threshold) + 1.001  # both ends are rounded


def test_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="magma, inferno, viridis, cividis"):
        color_table("jet", opacity=1, threshold=0)


@given(MAPS)
def test_levels_show_positive_evidence_only(placed: np.ndarray) -> None:
    parts, largest = normalise_map(placed)
    levels = to_levels(placed)
    assert np.array_equal(np.isnan(parts), np.isnan(placed))
    assert not levels[np.isnan(placed) | (placed <= 0)].any()
    positive = placed[placed > 0]
    assert largest == (positive.max() if positive.size else 0)
    if positive.size:
        assert levels.max() == 255
        order = np.argsort(placed, axis=None)[: int(np.isfinite(placed).sum())]
        assert (np.diff(levels.ravel()[order].astype(int)) >= 0).all()
    else:
        assert not levels.any()


@given(MAPS, st.sampled_from(COLOR_MAPS), st.floats(0, 1), st.floats(0, 1))
def test_blend_is_the_textbook_formula_and_leaves_the_unexamined_alone(
    placed: np.ndarray, name: str, opacity: float, threshold: float
) -> None:
    display = np.random.default_rng(1).integers(0, 256, placed.shape).astype(np.uint8)
    mixed = blend(display, placed, color_map=name, opacity=opacity, threshold=threshold)
    assert mixed.shape == (*placed.shape, 3)
    assert mixed.dtype == np.uint8
    rgba = color_table(name, opacity=opacity, threshold=threshold)[to_levels(placed)].astype(float)
    share = rgba[..., 3:] / 255
    expected = display[..., None] * (1 - share) + rgba[..., :3] * share
    assert np.abs(mixed - expected).max() <= 0.51
    untinted = np.isnan(placed) | (placed <= 0)
    assert np.array_equal(mixed[untinted], np.repeat(display[untinted][:, None], 3, axis=1))


def test_blend_takes_colour_and_refuses_another_size() -> None:
    display = np.full((4, 5, 3), (10, 20, 30), np.uint8)
    assert np.array_equal(blend(display, np.zeros((4, 5), np.float32)), display)
    with pytest.raises(UsageError, match="cannot lie"):
        blend(display, np.zeros((5, 4), np.float32))


def test_one_speck_does_not_hide_the_map() -> None:
    """Half a percent of the positive pixels share the strongest colour."""
    placed = np.tile(np.linspace(0.1, 1, 100, dtype=np.float32), (10, 1))
    placed[0, 0] = 1000
    parts, strongest = normalise_map(placed)
    assert strongest == 1
    assert parts[0, 0] == 1
    np.testing.assert_allclose(parts[1], placed[1], rtol=1e-6)

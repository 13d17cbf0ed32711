"""From stored values to grey levels as the standard writes it (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.domain.errors import UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.study import LookUpTable, PixelDescription, Window
from medviewer.imaging.display import (
    apply_table,
    automatic_window,
    default_window,
    display_table,
    has_useless_window,
    modality_value,
    modality_values,
    own_windows,
    to_display,
    to_grey,
)

RAMP = np.arange(-1200, 1200, dtype=np.int16).reshape(40, 60)


def frame(stored: np.ndarray, **attributes: Any) -> Frame:
    description = PixelDescription("CT", *stored.shape[:2], is_signed=stored.dtype.kind == "i", **attributes)
    return Frame(stored, description)


def standards_linear(x: float, c: float, w: float) -> float:
    """The pseudo-code of C.11.2.1.2.1, 0..255."""
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 255.0
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * 255


def standards_exact(x: float, c: float, w: float) -> float:
    if x <= c - w / 2:
        return 0.0
    if x > c + w / 2:
        return 255.0
    return ((x - c) / w + 0.5) * 255


def standards_sigmoid(x: float, c: float, w: float) -> float:
    exponent = -4 * (x - c) / w
    return 0.0 if exponent > 700 else 255 / (1 + math.exp(exponent))


FORMULAS = {"LINEAR": standards_linear, "LINEAR_EXACT": standards_exact, "SIGMOID": standards_sigmoid}


@given(
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    st.floats(-2000, 2000),
    st.floats(1, 4000),
    st.booleans(),
    st.floats(-3, 3).filter(lambda slope: abs(slope) > 0.01),
)
def test_windows_follow_the_standards_pseudo_code(
    function: Any, center: float, width: float, is_inverse: bool, slope: float
) -> None:
    photometric = "MONOCHROME1" if is_inverse else "MONOCHROME2"
    ramp = frame(RAMP, rescale_slope=slope, rescale_intercept=10, photometric_interpretation=photometric)
    found = to_display(ramp, Window(center, width, function))
    for row, column in ((0, 0), (7, 13), (20, 31), (39, 59)):
        level = FORMULAS[function](float(RAMP[row, column]) * slope + 10, center, width)
        level = 255 - level if is_inverse else level
        assert abs(float(found[row, column]) - level) <= 0.501
    np.testing.assert_array_equal(found, apply_table(ramp, display_table(ramp, Window(center, width, function))))
    assert np.abs(to_grey(ramp, Window(center, width, function)) * 255 - found).max() <= 0.501


def test_inverting_twice_is_not_inverting() -> None:
    ramp = frame(RAMP, photometric_interpretation="MONOCHROME1", windows=(Window(0, 500),))
    plain = frame(RAMP, windows=(Window(0, 500),))
    np.testing.assert_array_equal(to_display(ramp, invert=True), to_display(plain))
    np.testing.assert_array_equal(to_display(ramp), to_display(plain, invert=True))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64])
def test_every_pixel_type_takes_the_same_way(dtype: Any) -> None:
    values = np.arange(0, 120).reshape(10, 12)
    window = Window(60, 80)
    expected = to_display(frame(values.astype(np.int32)), window)
    np.testing.assert_array_equal(to_display(frame(values.astype(dtype)), window), expected)
    np.testing.assert_allclose(modality_values(frame(values.astype(dtype))), values)


def test_a_modality_table_replaces_rescale() -> None:
    table = LookUpTable(np.array([0, 100, 200, 300], np.uint16), 10, 16)
    image = frame(np.array([[0, 10, 11, 13, 99]], np.uint16), modality_lut=table, rescale_slope=7)
    np.testing.assert_array_equal(modality_values(image), [[0, 0, 100, 300, 300]])


def test_a_voi_table_is_used_where_there_is_no_window() -> None:
    table = LookUpTable(np.array([0, 64, 128, 255], np.uint16), 0, 8)
    stored = np.array([[0, 1, 2, 3, 9]], np.uint16)
    image = frame(stored, voi_luts=(table,))
    np.testing.assert_array_equal(to_display(image), [[0, 64, 128, 255, 255]])
    windowed = frame(stored, voi_luts=(table,), windows=(Window(1, 2),))
    np.testing.assert_array_equal(to_display(windowed, voi_lut=0), [[0, 64, 128, 255, 255]])
    assert to_display(windowed).tolist() != [[0, 64, 128, 255, 255]]
    with pytest.raises(UsageError, match="1 VOI"):
        to_display(windowed, voi_lut=1)


def test_the_first_window_of_the_file_is_the_default() -> None:
    windows = (Window(40, 80), Window(600, 1600))
    assert default_window(frame(RAMP, windows=windows)) == windows[0]


def test_without_a_window_the_range_less_its_tails_is_shown() -> None:
    stored = np.zeros((100, 100), np.int16)
    stored[:] = np.arange(100)
    stored[0, 0], stored[1, 1] = 32000, -32000  # two hot pixels of ten thousand
    window = default_window(frame(stored))
    assert (window.center - window.width / 2, window.center + window.width / 2) == (0, 99)


@given(st.integers(1, 4), st.sampled_from([np.uint8, np.int16, np.uint16]), st.randoms(use_true_random=False))
def test_counting_gives_the_range_that_sorting_gives(scale: int, dtype: Any, random_: Any) -> None:
    rng = np.random.default_rng(random_.randrange(1 << 30))
    stored = (rng.normal(60, 10 * scale, (60, 70))).astype(dtype)
    by_count, by_sort = default_window(frame(stored)), default_window(frame(stored.astype(np.int32)))
    assert by_count == by_sort


def test_padding_is_black_and_does_not_count() -> None:
    stored = np.full((50, 50), -2000, np.int16)
    stored[10:40, 10:40] = np.arange(900).reshape(30, 30)
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        image = frame(stored, pixel_padding_range=(-2000, -1990), photometric_interpretation=photometric)
        assert default_window(image).center > 400
        for invert in (False, True):
            assert to_display(image, invert=invert)[0, 0] == 0
        assert to_grey(image)[0, 0] == 0


def test_a_constant_image_and_one_of_nothing_but_padding_are_shown() -> None:
    for stored in (np.zeros((4, 4), np.int16), np.full((4, 4), 7, np.uint16), np.full((4, 4), np.nan, np.float32)):
        assert to_display(frame(stored)).shape == (4, 4)
    assert to_display(frame(np.zeros((4, 4), np.int16), pixel_padding_range=(0, 0))).max() == 0


def test_models_see_dense_as_bright() -> None:
    radiograph = frame(RAMP, photometric_interpretation="MONOCHROME1")
    grey = to_grey(radiograph)
    assert grey.dtype == np.float32
    assert (grey.min(), grey.max()) == (0.0, 1.0)
    assert grey[0, 0] == 1.0  # the least stored value is the densest
    # More levels than a screen has: nothing is rounded to 8 bits on the way.
    assert len(np.unique(grey)) > 2000


def test_colour_is_shown_as_it_is() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image = frame(rgb, samples_per_pixel=3, photometric_interpretation="RGB")
    np.testing.assert_array_equal(to_display(image, Window(1, 2)), rgb)
    np.testing.assert_array_equal(to_display(image, invert=True), 255 - rgb)
    wide = replace(image, stored=rgb.astype(np.uint16) * 257)
    np.testing.assert_array_equal(to_display(wide), rgb)
    np.testing.assert_allclose(to_grey(image), rgb @ [0.299, 0.587, 0.114] / 255, atol=1e-6)
    with pytest.raises(UsageError, match="colour"):
        modality_values(image)
    with pytest.raises(UsageError, match="colour"):
        display_table(image, Window(1, 2))


def test_the_table_covers_every_bit_pattern_and_fills_what_it_is_given() -> None:
    everything = np.arange(65536, dtype=np.uint16).view(np.int16).reshape(256, 256)
    image = frame(everything)
    table = display_table(image, Window(0, 65536))
    out = np.empty((256, 256), np.uint8)
    assert apply_table(image, table, out) is out
    assert out[everything == -32768].item() == 0
    assert out[everything == 32767].item() == 255
    order = np.argsort(everything.ravel())
    assert (np.diff(out.ravel()[order].astype(int)) >= 0).all()


def test_frames_that_have_no_table_say_so() -> None:
    with pytest.raises(UsageError, match="to_display"):
        display_table(frame(np.zeros((2, 2), np.float32)), Window(0, 1))


def test_one_value_is_that_of_the_whole_image() -> None:
    table = LookUpTable(np.arange(100, 110, dtype=np.uint16), 5, 16)
    every: tuple[dict[str, Any], ...] = ({"rescale_slope": 2.5, "rescale_intercept": -1024.0}, {"modality_lut": table})
    for attributes in every:
        image = frame(np.arange(12, dtype=np.int16).reshape(3, 4), **attributes)
        whole = modality_values(image)
        assert [[modality_value(image, r, c) for c in range(4)] for r in range(3)] == whole.tolist()


INVERTING = LookUpTable(np.linspace(255, 0, 2400).astype(np.uint16), -1200, 8, "INVERTING")
NAMELESS = LookUpTable(np.linspace(0, 255, 2400).astype(np.uint16), -1200, 8)


def test_the_files_own_windows_and_tables_have_names_and_are_shown_when_chosen() -> None:
    shown = frame(RAMP, windows=(Window(0, 100), Window(9, 80, name="BONE")), voi_luts=(INVERTING, NAMELESS))
    ways = own_windows(shown)
    assert [one.name for one in ways] == ["File window 1 of 2", "BONE", "INVERTING", "VOI look-up table 2"]
    np.testing.assert_array_equal(to_display(shown, ways[2]), to_display(shown, voi_lut=0))
    np.testing.assert_array_equal(to_display(shown, ways[3]), to_display(shown, voi_lut=1))
    np.testing.assert_array_equal(to_display(shown, ways[1]), to_display(shown, Window(9, 80)))
    one = frame(RAMP, windows=shown.description.windows, voi_luts=(INVERTING,))
    np.testing.assert_array_equal(to_display(one, ways[3]), to_display(one, Window(0, 2400)))
    without = frame(RAMP, windows=shown.description.windows)
    np.testing.assert_array_equal(to_display(without, ways[2]), to_display(without, Window(0, 2400)))


def test_the_automatic_window_is_that_of_the_values_whatever_the_file_wishes() -> None:
    stored = np.where(RAMP > 1150, np.int16(30000), RAMP)
    shown = frame(stored, windows=(Window(0, 100),), pixel_padding_range=(30000, 30000))
    made = automatic_window(shown)
    assert (made.name, made.function) == ("Automatic", "LINEAR_EXACT")
    assert made.center + made.width / 2 == pytest.approx(1148, abs=2)
    assert default_window(shown) == Window(0, 100)


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("modality", "window", "is_useless"),
    [
        ("CT", Window(99999, 1), True),
        ("CT", Window(-99999, 400), True),
        ("CT", Window(3000, 400), False),  # none of this image's values, but of the next slice's perhaps
        ("DX", Window(3000, 400), True),
        ("DX", Window(-1400, 398), True),
        ("DX", Window(1400, 402), False),
        ("DX", Window(3000, 400, "SIGMOID"), False),
    ],
)
def test_a_window_outside_of_all_values_is_not_opened_with(modality: str, window: Window, is_useless: bool) -> None:
    shown = frame(RAMP, windows=(window,))
    shown = replace(shown, description=replace(shown.description, modality=modality))
    assert has_useless_window(shown) == is_useless
    assert default_window(shown) == (automatic_window(shown) if is_useless else window)
    assert (len(np.unique(to_display(shown))) > 200) == is_useless
    np.testing.assert_array_equal(to_grey(shown), to_grey(shown, window))


def test_padding_saves_no_window_and_a_table_of_values_is_looked_up() -> None:
    padded = frame(np.where(RAMP > 1100, np.int16(3000), RAMP), windows=(Window(3000, 400),))
    padded = replace(padded, description=replace(padded.description, modality="DX"))
    assert not has_useless_window(padded)
    padded = replace(padded, description=replace(padded.description, pixel_padding_range=(3000, 3000)))
    assert has_useless_window(padded)
    assert not has_useless_window(frame(RAMP))
    peak = LookUpTable(np.where(np.arange(2400) == 1200, 65535, 0).astype(np.uint16), -1200, 16)
    looked_up = replace(padded.description, modality_lut=peak, windows=(Window(60000, 12000),))
    assert not has_useless_window(Frame(RAMP, looked_up)), "only the middle of the values is that bright"
    floats = replace(padded.description, windows=(Window(5, 2),), pixel_padding_range=None)
    assert has_useless_window(Frame(np.array([[np.nan, 1.0, 2.0]], np.float32), floats))
    assert not has_useless_window(Frame(np.array([[np.nan, np.nan]], np.float32), floats))


@pytest.mark.parametrize(("slope", "width"), [(1.0, 1.0), (-2.0, 2.0), (1e-5, 1e-5)])
def test_the_window_of_an_image_of_one_grey_is_one_step_wide(slope: float, width: float) -> None:
    window = default_window(frame(np.full((4, 4), 90, np.uint16), rescale_slope=slope))
    assert (window.center, window.width) == pytest.approx((90 * slope, width))

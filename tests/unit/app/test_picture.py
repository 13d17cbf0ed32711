"""A picture shows the same grey levels as the imaging layer, at any part and any zoom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.app.frame_cache import FrameCache
from medviewer.app.opening import _small
from medviewer.app.picture import Picture
from medviewer.domain.frame import ColorProfile, Frame
from medviewer.domain.study import LookUpTable, PixelDescription, Window
from medviewer.imaging import display
from medviewer.imaging.display import to_display
from medviewer.imaging.palettes import palette
from tests.color_profiles import ADOBE, SRGB, Matrix, every_color, make_profile, on_screen


def frame(stored: np.ndarray, **changes: object) -> Frame:
    rows, columns = stored.shape[:2]
    d = PixelDescription(modality="CT", rows=rows, columns=columns, is_signed=stored.dtype.kind == "i")
    return Frame(stored, replace(d, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("inverted", [False, True])
def test_the_level_of_one_pixel_is_the_one_that_is_drawn(dtype: type, inverted: bool) -> None:
    stored = noise("uint16").astype(dtype)
    table = LookUpTable(np.linspace(255, 0, 4000).astype(np.uint16), 0, 8)
    shown = Picture(frame(stored, windows=(Window(2000, 4000),), voi_luts=(table,)))
    for window in (None, Window(500, 700), Window(0, 4000, voi_lut=0)):
        expected = to_display(shown.frame, window, invert=inverted)
        assert shown.level_at(window, inverted, 31, 17) == expected[31, 17]
    shown.draw(None, inverted, 0, (0, 0, 9, 9), "HOT_IRON")
    assert shown.level_at(None, inverted, 3, 4) == to_display(shown.frame, invert=inverted)[3, 4]
    assert Picture(Frame(np.zeros((4, 4, 3), np.uint8), shown.frame.description)).level_at(None, inverted, 0, 0) is None


def noise(dtype: str, shape: tuple[int, ...] = (70, 50)) -> np.ndarray:
    rng = np.random.default_rng(1)
    if dtype.startswith("f"):
        return rng.normal(0, 100, shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -3000), min(info.max, 4000), shape).astype(dtype)


def grey(pixels: np.ndarray) -> np.ndarray:
    """The grey level of 0xffRRGGBB, checked to be grey and opaque."""
    red, green, blue = pixels >> 16 & 255, pixels >> 8 & 255, pixels & 255
    assert (pixels >> 24 == 255).all()
    assert (red == green).all()
    assert (green == blue).all()
    return blue.astype(np.uint8)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "f4"])
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_full_resolution_equals_the_imaging_layer(dtype: str, invert: bool, photometric: str) -> None:
    made = frame(noise(dtype), photometric_interpretation=photometric, rescale_slope=1.5, rescale_intercept=-100.0)
    for window in (None, Window(40, 400), Window(0, 90, "SIGMOID")):
        patch = Picture(made).draw(window, invert, 0, (0, 0, 70, 50))
        np.testing.assert_array_equal(grey(patch.pixels), to_display(made, window, invert=invert))


def colors_of(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels >> 16 & 255, pixels >> 8 & 255, pixels & 255], axis=-1)


SWAPPED: Matrix = (SRGB[2], SRGB[1], SRGB[0])


def test_colours_are_managed_where_the_picture_is_made_and_not_where_it_is_painted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = frame(every_color(15), samples_per_pixel=3, photometric_interpretation="RGB")
    made = replace(made, profile=ColorProfile("swapped", make_profile(SWAPPED)))
    wished = to_display(made)
    plain = Picture(replace(made, profile=None))
    picture = Picture(made)
    monkeypatch.setattr(display, "to_srgb", lambda *_arguments: pytest.fail("managed while painting"))
    rows, columns = made.stored.shape[:2]
    for invert in (False, True, False):
        drawn = colors_of(picture.draw(None, invert, 0, (0, 0, rows, columns)).pixels)
        np.testing.assert_array_equal(drawn, 255 - wished if invert else wished)
    assert picture.frame.stored is made.stored  # what is measured, probed and given to models
    assert np.abs(wished.astype(int) - made.stored).max() > 100
    assert (plain.size_bytes, picture.size_bytes) == (made.stored.nbytes, 2 * made.stored.nbytes)


def test_a_thumbnails_colours_are_those_of_its_picture_and_managed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = frame(np.full((40, 30, 3), (200, 40, 90), np.uint8), samples_per_pixel=3, photometric_interpretation="RGB")
    picture = Picture(replace(made, profile=ColorProfile("swapped", make_profile(SWAPPED))))
    monkeypatch.setattr(display, "to_srgb", lambda *_arguments: pytest.fail("managed again"))
    small = _small(picture)
    assert small.shape == (40, 30, 3)
    assert np.abs(small - np.array(on_screen(made.stored[0, 0], SWAPPED))).max() <= 1.1


def test_a_presentation_states_profile_counts_before_the_images_own() -> None:
    made = frame(every_color(15), samples_per_pixel=3, photometric_interpretation="RGB")
    made = replace(made, profile=ColorProfile("swapped", make_profile(SWAPPED)))
    rows, columns = made.stored.shape[:2]

    def drawn(picture: Picture) -> np.ndarray:
        return colors_of(picture.draw(None, False, 0, (0, 0, rows, columns)).pixels)

    own = Picture(made)
    other = own.presented(made.description, ColorProfile("Adobe RGB", make_profile(ADOBE, 2.0)))
    assert np.abs(drawn(other) - on_screen(made.stored, ADOBE, 2.0)).max() <= 1.1
    for same in (own, own.presented(made.description, None), own.presented(made.description, made.profile)):
        assert np.abs(drawn(same) - on_screen(made.stored, SWAPPED)).max() <= 1.1


def test_a_files_voi_table_is_what_it_opens_with() -> None:
    table = LookUpTable(np.arange(4096)[::-1].astype(np.uint16), -100, 12)
    made = frame(noise("i2"), voi_luts=(table,))
    patch = Picture(made).draw(None, False, 0, (0, 0, 70, 50))
    np.testing.assert_array_equal(grey(patch.pixels), to_display(made))


def test_a_files_voi_table_is_what_wide_values_open_with_too() -> None:
    table = LookUpTable(np.arange(4096, dtype=np.uint16)[::-1].copy(), 0, 12)
    made = frame(noise("i4"), voi_luts=(table,))
    drawn = Picture(made).draw(None, False, 0, (0, 0, 70, 50))
    np.testing.assert_array_equal(grey(drawn.pixels), to_display(made))


def test_padding_is_black_and_is_never_averaged_with_anatomy() -> None:
    stored = np.full((2048, 1024), 1000, np.int16)
    stored[:, ::2] = -2000
    made = frame(stored, pixel_padding_range=(-2000, -2000))
    picture = Picture(made)
    assert picture.level_for(0.1) == 0
    drawn = grey(picture.draw(Window(0, 100), False, 0, (0, 0, 4, 4)).pixels)
    assert drawn.tolist() == [[0, 255, 0, 255]] * 4


def test_color_is_shown_as_it_is() -> None:
    stored = np.random.default_rng(2).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    made = frame(stored, photometric_interpretation="RGB", samples_per_pixel=3)
    pixels = Picture(made).draw(None, False, 0, (0, 0, 9, 7)).pixels
    back = np.stack([pixels >> 16 & 255, pixels >> 8 & 255, pixels & 255], axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(back, stored)


@given(st.integers(0, 80), st.integers(0, 60), st.integers(0, 90), st.integers(0, 70))
def test_a_part_is_that_part_of_the_whole(top: int, left: int, height: int, width: int) -> None:
    made = frame(noise("u2"))
    picture = Picture(made)
    whole = picture.draw(None, False, 0, (0, 0, 70, 50)).pixels
    patch = picture.draw(None, False, 0, (top, left, top + height, left + width))
    np.testing.assert_array_equal(patch.pixels, whole[top : top + height, left : left + width])
    if patch.pixels.size:
        assert (patch.row, patch.column) == (top, left)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_smaller_copies_are_means_of_stored_values(dtype: str) -> None:
    stored = noise(dtype, (2049, 1537))
    picture = Picture(frame(stored))
    assert [picture.level_for(z) for z in (2.0, 1.0, 0.51, 0.5, 0.3, 0.25, 0.01)] == [0, 0, 0, 1, 1, 2, 2]
    even = stored[:2048, :1536].astype(np.float64)
    means = np.floor(even.reshape(1024, 2, 768, 2).sum(axis=(1, 3)) / 4 + 0.5).astype(dtype)
    expected = to_display(frame(means), Window(40, 400))
    drawn = picture.draw(Window(40, 400), False, 1, (0, 0, 2048, 1536))
    np.testing.assert_array_equal(grey(drawn.pixels)[:1024, :768], expected)


def test_a_smaller_copy_covers_an_odd_edge() -> None:
    picture = Picture(frame(noise("u2", (1025, 1025))))
    assert picture.draw(None, False, 1, (0, 0, 1025, 1025)).pixels.shape == (513, 513)


def test_a_part_of_a_smaller_copy_says_where_it_starts() -> None:
    picture = Picture(frame(noise("u2", (2048, 2048))))
    patch = picture.draw(None, False, 1, (101, 203, 301, 403))
    assert (patch.row, patch.column, patch.level) == (100, 202, 1)
    assert patch.pixels.shape == (101, 101)


def test_an_all_equal_image_can_be_drawn() -> None:
    pixels = Picture(frame(np.full((4, 4), 7, np.uint16))).draw(None, False, 0, (0, 0, 4, 4)).pixels
    assert len(np.unique(pixels)) == 1


def test_the_cache_forgets_the_oldest_first_and_keeps_the_latest() -> None:
    pictures = [Picture(frame(np.zeros((100, 100), np.uint16))) for _ in range(4)]
    cache = FrameCache(budget_bytes=50_000)
    keys = [("p", "u", n) for n in range(4)]
    for key, picture in zip(keys[:2], pictures, strict=False):
        cache.put(key, picture)
    assert cache.get(keys[0]) is pictures[0]  # looked at again: the other one is older now
    cache.put(keys[2], pictures[2])
    assert [key in cache for key in keys] == [True, False, True, False]
    large = Picture(frame(np.zeros((500, 500), np.uint16)))
    cache.put(keys[3], large)
    assert [key in cache for key in keys] == [False, False, False, True]
    cache.clear()
    assert cache.size_bytes == 0


def test_large_colour_images_are_shrunk_from_the_colours_that_are_shown() -> None:
    """Where the picture is made; else each zoom and each move of a photograph would hold the window."""
    stored = np.random.default_rng(4).integers(0, 256, (1025, 1030, 3)).astype(np.uint8)
    made = frame(stored, samples_per_pixel=3, photometric_interpretation="RGB")
    made = replace(made, profile=ColorProfile("swapped", make_profile(SWAPPED)))
    picture = Picture(made)
    assert [picture.level_for(z) for z in (1.0, 0.5, 0.3, 0.25)] == [0, 1, 1, 2]
    shown = to_display(made).astype(int)
    means = (shown[:1024].reshape(512, 2, 515, 2, 3).sum(axis=(1, 3)) + 2) // 4
    for invert in (False, True):
        patch = picture.draw(None, invert, 1, (0, 0, 1025, 1030))
        assert patch.pixels.shape == (513, 515)
        drawn = colors_of(patch.pixels[:512])
        np.testing.assert_array_equal(drawn, 255 - means if invert else means)
        assert (patch.pixels >> 24 == 255).all()
    np.testing.assert_array_equal(picture.whole(), shown)
    assert picture.size_bytes > 2.3 * stored.nbytes  # all that is kept counts
    own = Picture(replace(made, profile=None))
    other = own.presented(made.description, made.profile)
    np.testing.assert_array_equal(other.draw(None, False, 1, (0, 0, 1025, 1030)).pixels, picture.draw(
        None, False, 1, (0, 0, 1025, 1030)).pixels)  # fmt: skip


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
@pytest.mark.parametrize("invert", [False, True])
def test_a_palette_colours_the_grey_levels(dtype: str, invert: bool) -> None:
    made, whole = frame(noise(dtype)), (0, 0, 70, 50)
    picture, window = Picture(made), Window(40, 400)
    levels = grey(picture.draw(window, invert, 0, whole).pixels)
    drawn = picture.draw(window, invert, 0, whole, "HOT_IRON").pixels
    np.testing.assert_array_equal(drawn, palette("HOT_IRON")[levels])
    assert len(np.unique(drawn)) > 20
    np.testing.assert_array_equal(grey(picture.draw(window, invert, 0, whole).pixels), levels)  # and back


def test_a_palette_leaves_an_image_in_colour_as_it_is() -> None:
    picture = Picture(frame(noise("u1", (70, 50, 3)), photometric_interpretation="RGB"))
    plain, asked = (picture.draw(None, False, 0, (0, 0, 70, 50), name).pixels for name in ("", "PET"))
    np.testing.assert_array_equal(plain, asked)

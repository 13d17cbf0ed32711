"""Colours of a device are shown as it saw them; what is no usable profile is told and harms nothing."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    VLWholeSlideMicroscopyImageStorage,
)

from medviewer.domain.errors import DecodeError
from medviewer.domain.frame import ColorProfile, Frame
from medviewer.domain.study import Image
from medviewer.imaging import color_management, color_profile, decode, decode_pool
from medviewer.imaging.confined import HungUpError, LateError
from medviewer.imaging.decode import read_frame
from medviewer.imaging.display import to_display, to_grey
from medviewer.imaging.scan import images_of, scan
from tests.color_profiles import (
    ADOBE,
    SRGB,
    Matrix,
    every_color,
    made_by,
    make_profile,
    on_screen,
    optical_path,
    published,
)
from tests.dicom_maker import make_dataset, write_dataset

COLORS = every_color(15)
SWAPPED: Matrix = (SRGB[2], SRGB[1], SRGB[0])


def image(tmp_path: Path, dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> Image:
    (one,) = images_of(scan([write_dataset(tmp_path / "image.dcm", dataset, syntax)]))
    return one


def read(tmp_path: Path, pixels: np.ndarray = COLORS, syntax: str = ExplicitVRLittleEndian, **more: Any) -> Frame:
    dataset = make_dataset(pixels, **more)
    dataset["PixelData"].VR = "OB" if pixels.dtype == np.uint8 else "OW"
    return read_frame(image(tmp_path, dataset, syntax))


def managed_by(profile: bytes, pixels: np.ndarray) -> np.ndarray:
    return color_management.to_srgb(pixels, ColorProfile(str(hash(profile)), profile))


@pytest.mark.parametrize(
    ("primaries", "gamma"),
    [(SRGB, None), (SWAPPED, None), (ADOBE, 563 / 256), (SRGB, 1.8), (ADOBE, 1.0), (SWAPPED, 2.5)],
    ids=["sRGB", "swapped", "Adobe RGB", "gamma 1.8", "linear", "swapped, gamma 2.5"],
)
def test_colours_are_those_that_the_matrices_give(primaries: Matrix, gamma: float | None) -> None:
    pixels = every_color(5)
    shown = managed_by(make_profile(primaries, gamma), pixels)
    assert np.abs(shown - on_screen(pixels, primaries, gamma)).max() <= 1.1


@pytest.mark.parametrize("profile", [make_profile(), published()], ids=["matrix", "tables"])
def test_srgb_is_left_as_it_is(profile: bytes) -> None:
    pixels = every_color(3)
    transformed = color_management._applied(color_management._transform(profile), pixels)
    assert np.abs(transformed.astype(int) - pixels).max() <= 1
    assert managed_by(profile, pixels) is pixels  # which costs no time and no memory


@pytest.mark.parametrize(("share", "is_same"), [(0.99, True), (0.985, False)])
def test_only_what_moves_no_colour_by_more_than_a_level_is_left_out(share: float, is_same: bool) -> None:
    """A little less green than sRGB: by one level at most, or by two."""
    red, green, blue = SRGB
    profile = make_profile((red, (green[0] * share, green[1] * share, green[2] * share), blue))
    pixels = every_color(5)
    transformed = color_management._applied(color_management._transform(profile), pixels)
    assert np.abs(transformed.astype(int) - pixels).max() == (1 if is_same else 2)
    assert (managed_by(profile, pixels) is pixels) is is_same


def test_a_large_picture_is_managed_in_blocks_like_a_small_one() -> None:
    profile, pixels = make_profile(SWAPPED), np.repeat(every_color(5), 1, axis=1)
    assert len(pixels) > color_management._BLOCK_ROWS
    whole = managed_by(profile, pixels)
    for row in (0, color_management._BLOCK_ROWS - 1, color_management._BLOCK_ROWS, len(pixels) - 1):
        np.testing.assert_array_equal(whole[row], managed_by(profile, pixels[row : row + 1])[0])


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=["explicit", "implicit", "big endian", "deflated"],
)
def test_the_profile_of_a_file_is_used_and_its_values_stay(syntax: str, tmp_path: Path) -> None:
    frame = read(tmp_path, syntax=syntax, ICCProfile=make_profile(SWAPPED))
    np.testing.assert_array_equal(frame.stored, COLORS)  # what is measured and what models get
    assert frame.caveats == ()
    assert np.abs(to_display(frame) - on_screen(COLORS, SWAPPED)).max() <= 1.1
    np.testing.assert_array_equal(to_display(frame, invert=True), 255 - to_display(frame))
    plain = read(tmp_path, syntax=syntax)
    assert plain.profile is None
    np.testing.assert_array_equal(to_display(plain), COLORS)
    np.testing.assert_array_equal(to_grey(frame), to_grey(plain))


def test_an_odd_profile_is_padded_and_used(tmp_path: Path) -> None:
    profile = make_profile(SWAPPED)
    odd = struct.pack(">I", len(profile) + 1) + profile[4:] + b"x"
    assert len(odd) % 2
    assert read(tmp_path, ICCProfile=odd).profile is not None


def test_palettes_luminance_and_wide_colours_have_profiles_too(tmp_path: Path) -> None:
    profile = make_profile(SWAPPED)
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR", "ICCProfile": profile}
    for name, shift in (("Red", 0), ("Green", 85), ("Blue", 170)):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        palette[f"{name}PaletteColorLookupTableData"] = np.roll(np.arange(256, dtype=np.uint8), shift).tobytes()
    frame = read(tmp_path, levels, **palette)
    assert np.abs(to_display(frame) - on_screen(frame.stored, SWAPPED)).max() <= 1.1
    assert len(np.unique(frame.stored[..., 1])) == 256
    assert read_frame(image(tmp_path, make_dataset(levels, **palette)), as_indices=True).profile is None
    ybr = read(tmp_path, PhotometricInterpretation="YBR_FULL", ICCProfile=profile)
    assert np.abs(to_display(ybr) - on_screen(ybr.stored, SWAPPED)).max() <= 1.1
    wide = read(tmp_path, COLORS.astype(np.uint16) * 257, ICCProfile=profile)
    assert wide.stored.dtype == np.uint16
    assert np.abs(to_display(wide) - on_screen(COLORS, SWAPPED)).max() <= 1.1


def test_grey_images_are_left_alone(tmp_path: Path) -> None:
    frame = read(tmp_path, np.arange(256, dtype=np.uint16).reshape(16, 16), ICCProfile=b"no profile at all")
    assert (frame.profile, frame.caveats) == (None, ())


def slide(*frames: str, paths: tuple[Dataset, ...]) -> Dataset:
    """A slide whose frames were made by optical paths of those names."""
    pixels = np.stack([COLORS] * len(frames))
    dataset = make_dataset(
        COLORS, SOPClassUID=VLWholeSlideMicroscopyImageStorage, Modality="SM", NumberOfFrames=len(frames),
        OpticalPathSequence=list(paths), PerFrameFunctionalGroupsSequence=[made_by(name) for name in frames],
        SharedFunctionalGroupsSequence=[Dataset()],
    )  # fmt: skip
    dataset.PixelData = pixels.tobytes()
    return dataset


def test_each_frame_of_a_slide_has_the_profile_of_its_optical_path(tmp_path: Path) -> None:
    both = optical_path("1", make_profile(SWAPPED)), optical_path("2", make_profile(ADOBE, 2.2))
    write_dataset(tmp_path / "slide.dcm", slide("2", "1", paths=both))
    second, first = (read_frame(one) for one in images_of(scan([tmp_path])))
    assert np.abs(to_display(first) - on_screen(COLORS, SWAPPED)).max() <= 1.1
    assert np.abs(to_display(second) - on_screen(COLORS, ADOBE, round(2.2 * 256) / 256)).max() <= 1.1


def test_which_profile_it_is_is_never_guessed(tmp_path: Path) -> None:
    both = optical_path("1", make_profile(SWAPPED)), optical_path("2", make_profile(ADOBE, 2.2))
    frame = read_frame(image(tmp_path, slide("", paths=both)))
    assert (frame.profile, frame.caveats) == (None, (color_profile.AMBIGUOUS,))
    alike = optical_path("1", make_profile(SWAPPED)), optical_path("2", make_profile(SWAPPED))
    assert read_frame(image(tmp_path, slide("", paths=alike))).profile is not None
    nameless = optical_path("", make_profile(SWAPPED)), optical_path("2", make_profile(ADOBE, 2.2))
    assert read_frame(image(tmp_path, slide("", paths=nameless))).profile is None
    shared = slide("", paths=both)
    shared.SharedFunctionalGroupsSequence = [made_by("2")]
    assert np.abs(
        to_display(read_frame(image(tmp_path, shared))) - on_screen(COLORS, ADOBE, round(2.2 * 256) / 256)
    ).max() <= 1.1  # fmt: skip


def test_a_colour_space_without_its_profile_is_told(tmp_path: Path) -> None:
    assert read(tmp_path, ColorSpace="ADOBERGB").caveats == (color_profile.ONLY_NAMED,)
    assert read(tmp_path, ColorSpace="SRGB").caveats == ()
    assert read(tmp_path, ColorSpace="ADOBERGB", ICCProfile=make_profile(ADOBE, 2.2)).caveats == ()


def broken(profile: bytes, at: int, value: bytes) -> bytes:
    return profile[:at] + value + profile[at + len(value) :]


GOOD = make_profile(SWAPPED)
UNUSABLE = {
    "nothing": (b"", color_profile.DAMAGED),
    "text": (b"no profile at all", color_profile.DAMAGED),
    "header only": (broken(GOOD[:128], 0, struct.pack(">I", 128)), color_profile.DAMAGED),
    "cut off": (GOOD[:-40], color_profile.DAMAGED),
    "shorter than it says": (broken(GOOD, 0, struct.pack(">I", len(GOOD) + 2)), color_profile.DAMAGED),
    "no signature": (broken(GOOD, 36, b"ACSP"), color_profile.DAMAGED),
    "no tags": (broken(GOOD, 128, struct.pack(">I", 0)), color_profile.DAMAGED),
    "too many tags": (broken(GOOD, 128, struct.pack(">I", 2**32 - 1)), color_profile.DAMAGED),
    "a tag beyond the end": (broken(GOOD, 132 + 4, struct.pack(">I", len(GOOD))), color_profile.DAMAGED),
    "a tag inside the header": (broken(GOOD, 132 + 4, struct.pack(">I", 0)), color_profile.DAMAGED),
    "no curve": (make_profile(left_out=(b"gTRC",)), color_profile.DAMAGED),
    "no primary": (make_profile(left_out=(b"bXYZ",)), color_profile.DAMAGED),
    "a curve longer than its tag": (
        make_profile(curve=b"curv" + bytes(4) + struct.pack(">I", 2**31)), color_profile.DAMAGED
    ),
    "a curve of no kind": (make_profile(curve=b"spin" + bytes(40)), color_profile.DAMAGED),
    "a display": (make_profile(SWAPPED, kind=b"mntr"), color_profile.OF_ANOTHER_KIND),
    "a printer": (make_profile(SWAPPED, kind=b"prtr"), color_profile.OF_ANOTHER_KIND),
    "a device link": (make_profile(SWAPPED, kind=b"link"), color_profile.OF_ANOTHER_KIND),
    "inks": (make_profile(SWAPPED, space=b"CMYK"), color_profile.OF_ANOTHER_KIND),
    "to another device": (make_profile(SWAPPED, connection=b"RGB "), color_profile.OF_ANOTHER_KIND),
    "huge": (GOOD + bytes(color_profile.MAX_BYTES), color_profile.TOO_LARGE),
}  # fmt: skip


ONLY_A_TRIAL_TELLS = ("no curve", "no primary", "a curve longer than its tag", "a curve of no kind")


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_unusable_profile_is_told_and_the_image_is_shown_without_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, caveat = UNUSABLE[what]
    if what not in ONLY_A_TRIAL_TELLS:  # what its outline tells is not given to any library
        monkeypatch.setattr(decode._pool, "try_profile", lambda *_data, **_more: pytest.fail("tried"))
    frame = read(tmp_path, ICCProfile=profile)
    assert (frame.profile, frame.caveats) == (None, (caveat,))
    np.testing.assert_array_equal(to_display(frame), COLORS)


def test_a_colour_space_profile_counts_and_one_of_a_camera_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, ICCProfile=make_profile(SWAPPED, kind=b"spac")).profile is not None
    crayons = Path(str(get_testdata_file("crayons.icc"))).read_bytes()  # of a display: DICOM does not allow it
    assert read(tmp_path, ICCProfile=crayons).caveats == (color_profile.OF_ANOTHER_KIND,)


@pytest.mark.parametrize("error", [HungUpError, LateError])
def test_a_profile_that_kills_or_stops_its_process_is_not_used(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[object] = []

    def ask(*arguments: object) -> None:
        asked.append(arguments)
        raise error

    monkeypatch.setattr(decode_pool, "ask", ask)
    monkeypatch.setattr(decode, "_tried", type(decode._tried)())
    for _ in range(5):
        frame = read(tmp_path, ICCProfile=make_profile(SWAPPED, 1.1))
        assert (frame.profile, frame.caveats) == (None, (color_profile.NOT_TRIED,))  # nobody knows that it is damaged
    assert "while it tried out a colour profile" in caplog.text
    assert len(asked) == 3  # it may not cost a process for every frame of a film


@pytest.mark.parametrize("error", [HungUpError, LateError])
def test_a_trial_that_told_nothing_is_repeated(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    profile = make_profile(SWAPPED, 1.1)
    monkeypatch.setattr(decode, "_tried", type(decode._tried)())
    with monkeypatch.context() as busy:
        busy.setattr(decode_pool, "ask", lambda *_arguments: (_ for _ in ()).throw(error))
        assert read(tmp_path, ICCProfile=profile).caveats == (color_profile.NOT_TRIED,)
    assert len(caplog.records) == 1
    frame = read(tmp_path, ICCProfile=profile)
    assert frame.profile is not None
    assert frame.caveats == ()


def test_where_no_process_starts_a_profile_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_data: object, **_more: object) -> None:
        raise DecodeError("The decoding process did not start; close other programs and try again.")

    profile = make_profile(SWAPPED, 1.2)
    monkeypatch.setattr(decode, "_tried", type(decode._tried)())
    with monkeypatch.context() as crowded:
        crowded.setattr(decode._pool, "try_profile", refuse)
        for _ in range(5):
            frame = read(tmp_path, ICCProfile=profile)
            assert (frame.profile, frame.caveats) == (None, (color_profile.NOT_TRIED,))
    assert read(tmp_path, ICCProfile=profile).profile is not None


def test_a_refusal_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = make_profile(left_out=(b"gTRC",))
    assert read(tmp_path, ICCProfile=refused).caveats == (color_profile.DAMAGED,)
    monkeypatch.setattr(decode._pool, "try_profile", lambda *_data, **_more: pytest.fail("tried again"))
    assert read(tmp_path, ICCProfile=refused).caveats == (color_profile.DAMAGED,)


def test_the_window_never_opens_a_profile_that_was_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """littleCMS in this process would refuse the profile with an exception; only the other process may meet it."""
    monkeypatch.setattr(color_management, "_transform", lambda _data: pytest.fail("opened"))
    assert read(tmp_path, ICCProfile=make_profile(left_out=(b"gTRC",))).profile is None


def test_a_profile_is_tried_and_its_transform_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = make_profile(ADOBE, 1.3)
    built: list[bytes] = []
    tried: list[bytes] = []
    build, try_profile = color_management._transform, decode._pool.try_profile
    monkeypatch.setattr(color_management, "_transform", lambda data: built.append(data) or build(data))
    monkeypatch.setattr(
        decode._pool, "try_profile", lambda data, **more: tried.append(data) or try_profile(data, **more)
    )
    dataset = make_dataset(COLORS, ICCProfile=profile, NumberOfFrames=3)
    dataset.PixelData = np.stack([COLORS] * 3).tobytes()
    write_dataset(tmp_path / "film.dcm", dataset)
    frames = [read_frame(one) for one in images_of(scan([tmp_path / "film.dcm"]))]
    other = read(tmp_path, ICCProfile=profile)  # the same profile in another file
    for frame in (*frames, other):
        to_display(frame)
    assert (len(frames), tried, built) == (3, [profile], [profile])

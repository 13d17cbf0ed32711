"""Shutters of images and of presentation states are read as the standard says, and never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medviewer.domain.frame import Frame
from medviewer.domain.presentation import Appearance
from medviewer.domain.shutter import Shutter, Shutters
from medviewer.imaging.decode import read_frame
from medviewer.imaging.presentation_reading import read_presentation_state
from medviewer.imaging.scan import images_of, scan
from tests.dicom_maker import make_dataset, write_dataset
from tests.presentations import item, make_state, overlay

RECTANGLE: dict[str, Any] = {
    "ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 3, "ShutterRightVerticalEdge": 20,
    "ShutterUpperHorizontalEdge": 2, "ShutterLowerHorizontalEdge": 15,
}  # fmt: skip
SEEN = Shutter("RECTANGULAR", ((2, 1), (20, 15)))
MASK = np.zeros((20, 30), bool)
MASK[2:5, 7:20] = True
MASK[19, 29] = True
IMAGE = make_dataset(np.zeros((20, 30), np.uint16), SOPInstanceUID="2.25.31")


def frames(tmp_path: Path, **attributes: Any) -> list[Frame]:
    dataset = make_dataset(np.zeros((20, 30), np.uint16), **attributes)
    dataset.PixelData = dataset.PixelData * int(attributes.get("NumberOfFrames", 1))
    return [read_frame(one) for one in images_of(scan([write_dataset(tmp_path / "image.dcm", dataset)]))]


def state(tmp_path: Path, *planes: Dataset, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> Any:
    made = make_state(IMAGE, **attributes)
    for plane in planes:
        made.update(plane)
    return read_presentation_state(write_dataset(tmp_path / "state.dcm", made, syntax))


def wished(tmp_path: Path, *planes: Dataset, **attributes: Any) -> Appearance:
    seen = state(tmp_path, *planes, **attributes).for_image("2.25.31", 0)
    assert isinstance(seen, Appearance)
    return seen


def test_the_shutter_of_an_image_is_read_and_its_pixels_are_whole(tmp_path: Path) -> None:
    (frame,) = frames(tmp_path, **RECTANGLE, ShutterPresentationValue=0x8000)
    assert frame.shutters is not None
    assert (frame.shutters.shapes, frame.shutters.bitmap, frame.shutters.color) == ((SEEN,), None, (128, 128, 128))
    assert frame.stored.shape == (20, 30)
    assert frames(tmp_path)[0].shutters is None


def test_each_frame_has_its_own_shutter_or_the_one_that_all_share(tmp_path: Path) -> None:
    other = {**RECTANGLE, "ShutterLeftVerticalEdge": 9}
    one, two = frames(
        tmp_path, NumberOfFrames=2, PerFrameFunctionalGroupsSequence=[
            item(FrameDisplayShutterSequence=[item(**other)]), item(),
        ],
        SharedFunctionalGroupsSequence=[item(FrameDisplayShutterSequence=[item(**RECTANGLE)])],
    )  # fmt: skip
    assert one.shutters is not None
    assert two.shutters is not None
    assert (one.shutters.shapes[0].points[0], two.shutters.shapes) == ((8, 1), (SEEN,))


@pytest.mark.parametrize("wrong", [{"ShutterShape": "STAR"}, {"ShutterShape": "CIRCULAR"}, {"ShutterShape": "BITMAP"}])
def test_what_makes_no_sense_in_an_image_covers_nothing(wrong: dict[str, Any], tmp_path: Path) -> None:
    assert frames(tmp_path, **wrong)[0].shutters is None
    both = {**RECTANGLE, "ShutterShape": ["RECTANGULAR", wrong["ShutterShape"]]}
    shutters = frames(tmp_path, **both)[0].shutters
    assert shutters is not None
    assert shutters.shapes == (SEEN,)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("group", [0x6000, 0x6002, 0x601E])
def test_a_bitmap_covers_the_pixels_that_it_marks(group: int, syntax: str, tmp_path: Path) -> None:
    found = state(
        tmp_path, overlay(MASK, group), syntax=syntax, ShutterShape="BITMAP", ShutterOverlayGroup=group,
        ShutterPresentationValue=0,
    )  # fmt: skip
    seen = found.for_image("2.25.31", 0)
    np.testing.assert_array_equal(seen.shutters.bitmap, MASK)
    np.testing.assert_array_equal(seen.shutters.bitmap, pydicom.dcmread(tmp_path / "state.dcm").overlay_array(group))
    assert (seen.shutters.shapes, found.not_understood) == ((), ())
    assert (seen.overlays, seen.overlay_groups) == ((), frozenset())


def test_a_bitmap_is_never_drawn_as_an_overlay_too(tmp_path: Path) -> None:
    plane, drawing = overlay(MASK, 0x6000, "LAYER"), overlay(~MASK, 0x6002, "LAYER")
    seen = wished(tmp_path, plane, drawing, ShutterShape="BITMAP", ShutterOverlayGroup=0x6000)
    assert [one.group for one in seen.overlays] == [0x20000]
    assert seen.overlay_groups == frozenset()
    assert seen.shutters is not None
    np.testing.assert_array_equal(seen.shutters.bitmap, MASK)


@pytest.mark.parametrize(
    "attributes",
    [{}, {"ShutterOverlayGroup": 0x6004}, {"ShutterOverlayGroup": 0}, {"ShutterOverlayGroup": 0x6000, "moved": True}],
)
def test_a_bitmap_that_cannot_be_placed_is_named(attributes: dict[str, Any], tmp_path: Path) -> None:
    plane = overlay(MASK, 0x6000)
    if attributes.pop("moved", False):
        plane[0x6000, 0x0050].value = [2, 1]
    found = state(tmp_path, plane, ShutterShape="BITMAP", **attributes)
    assert found.not_understood == ("a bitmap shutter",)
    assert found.for_image("2.25.31", 0).shutters is None


def test_a_colour_counts_before_the_grey(tmp_path: Path) -> None:
    """CIELab of the screen's red (53.24, 80.09, 67.20), as it is encoded: PS3.3 C.10.7.1.1."""
    lab = [round(53.24 / 100 * 65535), round((80.09 + 128) / 255 * 65535), round((67.2 + 128) / 255 * 65535)]
    red = wished(tmp_path, **RECTANGLE, ShutterPresentationValue=65535, ShutterPresentationColorCIELabValue=lab)
    assert red.shutters is not None
    assert red.shutters.color == pytest.approx((255, 0, 0), abs=2)
    grey = wished(tmp_path, **RECTANGLE, ShutterPresentationValue=65535, ShutterPresentationColorCIELabValue=lab[:2])
    assert grey.shutters is not None
    assert grey.shutters.color == (255, 255, 255)
    black = wished(tmp_path, **RECTANGLE)
    assert black.shutters is not None
    assert black.shutters.color == (0, 0, 0)


def test_a_place_is_seen_only_where_all_leave_it_open() -> None:
    circle = Shutter("CIRCULAR", ((14.5, 9.5),), 6)
    polygon = Shutter("POLYGONAL", ((0, 0), (30, 0), (30, 20)))
    both = Shutters((SEEN, circle, polygon))
    assert not both.covers([(14.5, 9.0)])
    assert Shutters((SEEN,)).covers([(1.9, 9)])
    assert Shutters((SEEN,)).covers([(10, 9), (10, 15.1)])  # one of them is enough
    assert Shutters((circle,)).covers([(20.6, 9.5)])
    assert not Shutters((circle,)).covers([(14.5, 15.4)])
    assert Shutters((circle,)).covers([(14.5, 15.4)], aspect=2.0)  # a row is as high as two columns are wide
    assert Shutters((polygon,)).covers([(5, 15)])
    assert not Shutters((polygon,)).covers([(25, 15)])
    masked = Shutters(bitmap=MASK)
    assert masked.covers([(7.0, 2.0)])
    assert masked.covers([(19.9, 4.9)])
    assert not masked.covers([(20.0, 4.9), (6.9, 3), (10, 5.0), (-1, -1), (30, 20)])


def test_a_bitmap_fits_an_image_of_its_size_only() -> None:
    assert Shutters(bitmap=MASK).fits(20, 30)
    assert not Shutters(bitmap=MASK).fits(30, 20)
    assert Shutters((SEEN,)).fits(7, 7)

"""Presentation states come back as others wrote them; what is not understood is named or refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom import pr
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from medviewer.domain.errors import UnsupportedError
from medviewer.domain.presentation import DisplayedArea, from_display
from medviewer.domain.shutter import Shutter
from medviewer.domain.study import LookUpTable, Window
from medviewer.imaging.presentation_reading import read_presentation_state
from medviewer.imaging.presentation_state import Presentation, write_presentation_state
from medviewer.imaging.presenting import changes_values, presented
from medviewer.imaging.scan import images_of, scan
from tests.color_profiles import make_profile
from tests.dicom_maker import make_dataset, write_dataset
from tests.presentations import annotation, area, graphic, item, make_state, reference, table, text, window, write_state

IMAGE = make_dataset(np.zeros((20, 30), np.uint16), SOPInstanceUID="2.25.31")
OTHER = make_dataset(np.zeros((20, 30), np.uint16), SOPInstanceUID="2.25.32")


def read(tmp_path: Path, *images: Dataset, **attributes: Any) -> Any:
    return read_presentation_state(write_state(tmp_path / "state.dcm", *(images or (IMAGE,)), **attributes))


def appearance(tmp_path: Path, **attributes: Any) -> Any:
    return read(tmp_path, **attributes).for_image("2.25.31", 0)


def test_what_highdicom_writes_is_read(tmp_path: Path) -> None:
    image = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    units = pr.AnnotationUnitsValues
    shapes = {
        "POINT": [[3.5, 4.5]],
        "POLYLINE": [[1, 2], [3, 4.25], [5, 6]],
        "INTERPOLATED": [[1, 2], [3, 4], [5, 2]],
        "CIRCLE": [[60, 60], [80, 60]],
        "ELLIPSE": [[10, 20], [50, 20], [30, 10], [30, 30]],
    }
    layers = [pr.GraphicLayer("BELOW", order=1), pr.GraphicLayer("ABOVE", order=2)]
    graphics = [
        pr.GraphicObject(kind, np.array(points, float), units=units.PIXEL, is_filled=kind == "ELLIPSE")
        for kind, points in shapes.items()
    ]
    words = [
        pr.TextObject("In a box", units=units.DISPLAY, bounding_box=(0.1, 0.2, 0.3, 0.4)),
        pr.TextObject("At a place", units=units.PIXEL, anchor_point=(7.5, 8.5)),
    ]
    annotations = [
        pr.GraphicAnnotation([image], layers[1], graphic_objects=graphics),
        pr.GraphicAnnotation([image], layers[0], text_objects=words),
    ]
    state = pr.GrayscaleSoftcopyPresentationState(
        [image], series_instance_uid=generate_uid(), series_number=9, sop_instance_uid=generate_uid(),
        instance_number=1, manufacturer="M", manufacturer_model_name="N", software_versions="1",
        device_serial_number="1", content_label="LABEL", graphic_layers=layers, graphic_annotations=annotations,
        voi_lut_transformations=[pr.SoftcopyVOILUTTransformation(window_center=40, window_width=400)],
        presentation_lut_transformation=hd.PresentationLUTTransformation(presentation_lut_shape="INVERSE"),
    )  # fmt: skip
    state.save_as(tmp_path / "state.dcm")
    found = read_presentation_state(tmp_path / "state.dcm")
    assert (found.label, found.study_instance_uid, found.patient_id) == (
        "LABEL", image.StudyInstanceUID, image.PatientID,
    )  # fmt: skip
    assert found.not_understood == ()
    seen = found.for_image(image.SOPInstanceUID, 0)
    assert seen is not None
    assert (seen.slope, seen.intercept, seen.voi, seen.is_inverse) == (1, -1024, Window(40, 400), True)
    assert seen.area == DisplayedArea(0, 0, 128, 128, None, 1.0)
    below, above = seen.annotations
    assert {one.kind: [list(point) for point in one.points] for one in above.graphics} == shapes
    assert [one.kind for one in above.graphics if one.is_filled] == ["ELLIPSE"]
    box, anchor = below.texts
    assert (box.text, box.box_units, box.justification) == ("In a box", "DISPLAY", "CENTER")
    np.testing.assert_allclose(box.box, [(0.1, 0.2), (0.3, 0.4)], rtol=1e-6)
    assert (anchor.text, anchor.anchor, anchor.anchor_units, anchor.box) == ("At a place", (7.5, 8.5), "PIXEL", None)


@pytest.mark.parametrize(("turns", "across", "down"), list(product(range(4), (False, True), (False, True))))
def test_our_own_come_back_as_they_were_seen(turns: int, across: bool, down: bool, tmp_path: Path) -> None:
    (image,) = images_of(scan([write_dataset(tmp_path / "image.dcm", IMAGE)]))
    how = Presentation(Window(50, 120), quarter_turns=turns, flip_horizontal=across, flip_vertical=down)
    write_presentation_state(image, how, (), path=tmp_path / "state.dcm")
    found = read_presentation_state(tmp_path / "state.dcm")
    pixels = np.arange(600).reshape(20, 30)
    wished = pixels[:, ::-1] if across else pixels
    wished = np.rot90(wished[::-1] if down else wished, turns)
    shown = np.rot90(pixels[:, ::-1] if found.flip_horizontal else pixels, found.quarter_turns)
    np.testing.assert_array_equal(shown, wished)


@pytest.mark.parametrize(("turns", "flips"), list(product(range(4), (False, True))))
def test_shares_of_the_displayed_area_lie_where_the_state_shows_them(turns: int, flips: bool) -> None:
    """The middle of each pixel of the picture, found with numpy."""
    pixels = np.arange(12).reshape(3, 4)
    seen = np.rot90(pixels[:, ::-1] if flips else pixels, turns)
    rows, columns = seen.shape
    for row, column in np.ndindex(rows, columns):
        share = ((column + 0.5) / columns, (row + 0.5) / rows)
        found = from_display(share, DisplayedArea(0, 0, 4, 3), quarter_turns=turns, flip_horizontal=flips)
        expected = divmod(int(seen[row, column]), 4)
        np.testing.assert_allclose(found, (expected[1] + 0.5, expected[0] + 0.5))


def test_a_state_is_for_the_images_that_it_names_and_no_other(tmp_path: Path) -> None:
    found = read(tmp_path, IMAGE)
    assert found.names("2.25.31", 0)
    assert found.names("2.25.31", 7)  # no frame is named: all are meant
    assert not found.names("2.25.32", 0)
    assert found.for_image("2.25.32", 0) is None
    frames = read(tmp_path, IMAGE, frames=[2, 5])
    assert [frame for frame in range(8) if frames.names("2.25.31", frame)] == [1, 4]


def test_what_is_for_some_images_is_not_for_the_others(tmp_path: Path) -> None:
    one, other = [reference(IMAGE)], [reference(OTHER)]
    found = read(
        tmp_path, IMAGE, OTHER,
        SoftcopyVOILUTSequence=[
            window(10, 20, ReferencedImageSequence=one), window(30, 40, ReferencedImageSequence=other)
        ],
        DisplayedAreaSelectionSequence=[
            area(IMAGE, (3, 4), (10, 12), ReferencedImageSequence=other), area(IMAGE, ReferencedImageSequence=one)
        ],
        GraphicAnnotationSequence=[annotation([graphic("POINT", [1, 2])], ReferencedImageSequence=other)],
    )  # fmt: skip
    first, second = found.for_image("2.25.31", 0), found.for_image("2.25.32", 0)
    assert (first.voi, second.voi) == (Window(10, 20), Window(30, 40))
    assert (first.area.right, second.area) == (30, DisplayedArea(2, 3, 10, 12, None, 1.0))
    assert (len(first.annotations), len(second.annotations)) == (0, 1)


def test_shutters_are_read_in_pixels_of_the_image(tmp_path: Path) -> None:
    seen = appearance(
        tmp_path, ShutterShape=["RECTANGULAR", "CIRCULAR", "POLYGONAL"], ShutterLeftVerticalEdge=3,
        ShutterRightVerticalEdge=20, ShutterUpperHorizontalEdge=2, ShutterLowerHorizontalEdge=15,
        CenterOfCircularShutter=[10, 15], RadiusOfCircularShutter=6,
        VerticesOfThePolygonalShutter=[1, 2, 3, 4, 5, 6], ShutterPresentationValue=65535,
    )  # fmt: skip
    assert seen.shutters.shapes == (
        Shutter("RECTANGULAR", ((2, 1), (20, 15))),
        Shutter("CIRCULAR", ((14.5, 9.5),), 6),
        Shutter("POLYGONAL", ((1.5, 0.5), (3.5, 2.5), (5.5, 4.5))),
    )
    assert seen.shutters.color == (255, 255, 255)
    assert seen.shutters.bitmap is None


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"ShutterShape": "STAR"}, "a shutter of another shape"),
        ({"ShutterShape": "BITMAP"}, "a bitmap shutter"),
        ({"ShutterShape": "BITMAP", "ShutterOverlayGroup": 0x6002}, "a bitmap shutter"),
        ({"CompoundGraphicSequence": [item(CompoundGraphicInstanceID=1)]}, "compound graphics"),
        ({"DisplayedAreaSelectionSequence": [area(IMAGE, PresentationSizeMode="TRUE SIZE")]}, "true size"),
        ({"DisplayedAreaSelectionSequence": [item(DisplayedAreaTopLeftHandCorner=[1, 1])]}, "displayed area"),
        ({"GraphicAnnotationSequence": [annotation([graphic("STAR", [1, 2])])]}, "graphics of an unknown kind"),
        ({"GraphicAnnotationSequence": [annotation([graphic("POINT", [1, 2], "MATRIX")])]}, "graphics of an unknown kind"),
        ({"GraphicAnnotationSequence": [annotation([graphic("ELLIPSE", [1, 2, 3, 4])])]}, "some graphics"),
        ({"GraphicAnnotationSequence": [annotation([graphic("POINT", [float("nan"), 2])])]}, "some graphics"),
        ({"GraphicAnnotationSequence": [annotation([graphic("POINT", [1, 2])] * 5001)]}, "some graphics"),
        ({"GraphicAnnotationSequence": [annotation([graphic("POLYLINE", [1, 2] * 8000)] * 13)]}, "some graphics"),
        ({"GraphicAnnotationSequence": [annotation(texts=[text("nowhere")])]}, "some text"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_named(attributes: dict[str, Any], named: str, tmp_path: Path) -> None:
    assert read(tmp_path, **attributes).not_understood == (named,)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"ImageRotation": 45}, "turns images by 45 degrees"),
        ({"MaskSubtractionSequence": [item(MaskOperation="AVG_SUB")]}, "subtracts a mask"),
        ({"SoftcopyVOILUTSequence": [window(40, 0)]}, "window .* makes no sense"),
        ({"SoftcopyVOILUTSequence": [window(40, 80, VOILUTFunction="CUBIC")]}, "window .* makes no sense"),
        ({"ModalityLUTSequence": [item()]}, "look-up table .* makes no sense"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "look-up table .* makes no sense"),
        ({"ReferencedSeriesSequence": []}, "names no image"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.3"}, "only those for greyscale and colour"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"}, "is no presentation state"),
    ],
)
def test_what_would_look_otherwise_than_wished_is_refused(
    attributes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        read(tmp_path, **attributes)


COLOUR: dict[str, Any] = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.2", "PresentationLUTShape": None}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_the_profile_of_a_colour_state_is_read(syntax: str, tmp_path: Path) -> None:
    profile = make_profile(gamma=1.7)
    path = write_dataset(tmp_path / "state.dcm", make_state(IMAGE, ICCProfile=profile, **COLOUR), syntax)
    found = read_presentation_state(path)
    seen = found.for_image("2.25.31", 0)
    assert seen is not None
    assert seen.profile is not None
    assert (seen.profile.data, found.not_understood) == (profile, ())


def test_a_profile_that_cannot_be_used_is_named_and_greys_have_none(tmp_path: Path) -> None:
    found = read(tmp_path, ICCProfile=make_profile(kind=b"mntr"), **COLOUR)
    assert (found.for_image("2.25.31", 0).profile, found.not_understood) == (None, ("its colour profile",))
    assert read(tmp_path, **COLOUR).not_understood == ()
    grey = read(tmp_path, ICCProfile=make_profile(gamma=1.7))
    assert (grey.for_image("2.25.31", 0).profile, grey.not_understood) == (None, ())


def test_a_colour_state_leaves_the_values(tmp_path: Path) -> None:
    seen = appearance(tmp_path, SOPClassUID="1.2.840.10008.5.1.4.1.1.11.2", PresentationLUTShape=None, ImageRotation=90)
    (image,) = images_of(scan([write_dataset(tmp_path / "image.dcm", IMAGE)]))
    assert presented(image.description, seen) is image.description


def test_a_table_in_implicit_vr_has_the_sign_of_the_image(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4), np.int16)
    source = make_dataset(pixels, SOPInstanceUID="2.25.31")
    state = make_state(source, ModalityLUTSequence=[table(range(8), first=-4)])
    found = read_presentation_state(write_dataset(tmp_path / "state.dcm", state, ImplicitVRLittleEndian))
    (image,) = images_of(scan([write_dataset(tmp_path / "image.dcm", source)]))
    seen = found.for_image("2.25.31", 0)
    assert seen is not None
    lut = presented(image.description, seen).modality_lut
    assert isinstance(lut, LookUpTable)
    assert lut.first == -4


@pytest.mark.parametrize(
    ("attributes", "changes"),
    [
        ({"RescaleSlope": "2", "RescaleIntercept": "-7"}, False),
        ({"RescaleSlope": "2", "RescaleIntercept": "-8"}, True),
        ({}, True),
        ({"ModalityLUTSequence": [table(range(8))]}, True),
    ],
)
def test_values_that_differ_from_the_images_own_are_noticed(
    attributes: dict[str, Any], changes: bool, tmp_path: Path
) -> None:
    source = make_dataset(SOPInstanceUID="2.25.31", RescaleSlope="2", RescaleIntercept="-7")
    (image,) = images_of(scan([write_dataset(tmp_path / "image.dcm", source)]))
    assert changes_values(image.description, appearance(tmp_path, **attributes)) is changes


def test_lines_of_text_are_lines_and_other_controls_are_seen(tmp_path: Path) -> None:
    words = text("one\r\ntwo\nthree\tfour\x07", AnchorPoint=[1, 2], AnchorPointAnnotationUnits="PIXEL")
    seen = appearance(tmp_path, GraphicAnnotationSequence=[annotation(texts=[words])])
    assert seen.annotations[0].texts[0].text == "one\ntwo\nthree four␇"

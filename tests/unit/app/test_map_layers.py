"""A heat map that comes back from a file is laid over the very image that it names, and over no other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from medviewer.app.layer_planes import laid_on
from medviewer.app.layering import OTHER_IMAGE, offers
from medviewer.app.on_screen import selections
from medviewer.domain.layer import LabelPlane, ScalarLayer, ScalarPlane, Segmentation
from medviewer.imaging.heat_map_object import write_heat_map, write_heat_map_segment
from medviewer.imaging.outline_object import write_outlines
from medviewer.imaging.scalar_layer import NOT_AN_OUTLINE
from medviewer.imaging.scan import images_of, scan
from tests.answers import PNEUMONIA, make_attribution, make_radiograph
from tests.layer_objects import write_ct
from tests.outline_models import make_outlines

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from medviewer.domain.answer import Answer
    from medviewer.domain.study import Image


def values_of(rows: int, columns: int) -> np.ndarray:
    values = np.random.default_rng(5).normal(0.2, 0.3, (rows, columns)).astype(np.float32)
    values[:, :7] = np.nan
    return values


def write_map(image: Image, path: Path) -> np.ndarray:
    values = values_of(image.description.rows, image.description.columns)
    made = make_attribution(*values.shape, placed=values, method_title="Grad-CAM")
    write_heat_map(image, made, PNEUMONIA, strongest=0.8, path=path)
    return values


def show(app: Application, uid: str) -> None:
    app.run_command(
        "image.select", next(one for one in selections(app.state.collection) if one.image.sop_instance_uid == uid)
    )


@pytest.fixture(params=["radiograph", "slice"])
def case(
    request: pytest.FixtureRequest, application: Application, tmp_path: Path
) -> tuple[Application, Image, np.ndarray]:
    """A folder with an image, its map, and another image of the same study and size."""
    if request.param == "slice":
        write_ct(tmp_path / "study")
        image = list(images_of(scan([tmp_path / "study"])))[7]
    else:
        (tmp_path / "study").mkdir()
        image = make_radiograph(tmp_path / "study" / "a.dcm")
        shutil.copy(tmp_path / "study" / "a.dcm", tmp_path / "study" / "b.dcm")
        other = pydicom.dcmread(tmp_path / "study" / "b.dcm")
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
        other.SeriesInstanceUID = "2.25.78"
        other.save_as(tmp_path / "study" / "b.dcm")
    values = write_map(image, tmp_path / "study" / "map.dcm")
    application.run_command("file.open_folder", tmp_path / "study")
    show(application, image.sop_instance_uid)
    return application, image, values


def offered(app: Application) -> list[str]:
    return [one.why_not for one in offers(app.state) if one.modality == "OT"]


def test_it_is_drawn_on_the_pixels_that_it_was_made_on(case: tuple[Application, Image, np.ndarray]) -> None:
    app, _image, values = case
    assert offered(app) == [""]
    app.run_command("layer.lay", next(one.key for one in offers(app.state) if one.modality == "OT"))
    (laid,) = laid_on(app.state)
    assert isinstance(laid.plane, ScalarPlane)
    assert np.array_equal(laid.plane.values, values, equal_nan=True)
    assert isinstance(laid.source, ScalarLayer)
    assert (laid.source.name, laid.source.unit, laid.source.remark) == ("Grad-CAM", "", NOT_AN_OUTLINE)
    assert laid.source.range == pytest.approx((0.0, 0.8))


@pytest.mark.reliability
def test_it_is_never_drawn_on_another_image(case: tuple[Application, Image, np.ndarray]) -> None:
    app, image, _values = case
    app.run_command("layer.lay", next(one.key for one in offers(app.state) if one.modality == "OT"))
    assert laid_on(app.state)
    others = [one for one in images_of(app.state.collection) if one.sop_instance_uid != image.sop_instance_uid]
    shown = 0
    for other in others:
        if other.description.modality != "OT":
            show(app, other.sop_instance_uid)
            assert not laid_on(app.state)
            shown += 1
    assert shown
    show(app, image.sop_instance_uid)
    assert laid_on(app.state)


@pytest.mark.reliability
@pytest.mark.parametrize("change", ["moved", "other image", "other size", "two sources"])
def test_a_map_that_may_not_fit_is_refused_with_its_reason(
    application: Application, tmp_path: Path, change: str
) -> None:
    image = make_radiograph(tmp_path / "a.dcm")
    write_map(image, tmp_path / "map.dcm")
    dataset = pydicom.dcmread(tmp_path / "map.dcm")
    [derivation] = dataset.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    [source] = derivation.SourceImageSequence
    if change == "moved":
        source.SpatialLocationsPreserved = "NO"
    elif change == "other image":
        source.ReferencedSOPInstanceUID = "2.25.5"
    elif change == "two sources":
        derivation.SourceImageSequence.append(source)
    else:
        dataset.Rows -= 1
        dataset.FloatPixelData = dataset.FloatPixelData[: dataset.Rows * dataset.Columns * 4]
    dataset.save_as(tmp_path / "map.dcm")
    application.run_command("file.open_folder", tmp_path)
    show(application, image.sop_instance_uid)
    [why_not] = offered(application)
    assert why_not
    if change in ("other image", "other size"):
        assert why_not == OTHER_IMAGE


@pytest.mark.reliability
@pytest.mark.parametrize(("frames", "is_laid"), [(1, True), (3, False)])
def test_a_map_of_an_image_named_without_a_frame_is_of_all_its_frames(
    application: Application, tmp_path: Path, frames: int, is_laid: bool
) -> None:
    """PS3.3 Table 10-3: so it is of none in particular, unless there is only one."""
    image = make_radiograph(tmp_path / "a.dcm")
    write_map(image, tmp_path / "map.dcm")
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.NumberOfFrames, dataset.PixelData = frames, dataset.PixelData * frames
    dataset.save_as(tmp_path / "a.dcm")
    made = pydicom.dcmread(tmp_path / "map.dcm")
    [source] = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence
    assert "ReferencedFrameNumber" not in source
    application.run_command("file.open_folder", tmp_path)
    show(application, image.sop_instance_uid)
    assert offered(application) == ["" if is_laid else OTHER_IMAGE]
    assert application.state.selection is not None
    shown = application.state.selection.image
    assert shown.bears((image.sop_instance_uid, 0))
    assert shown.bears((image.sop_instance_uid, None)) == is_laid
    assert not shown.bears(("2.25.5", 0))
    assert not shown.bears(None)


def test_the_segment_of_a_slice_is_laid_over_it_as_any_segmentation(application: Application, tmp_path: Path) -> None:
    write_ct(tmp_path / "study")
    image = list(images_of(scan([tmp_path / "study"])))[7]
    made = make_attribution(image.description.rows, image.description.columns)
    mask = np.nan_to_num(made.placed) >= 0.5
    path = tmp_path / "study" / "seg.dcm"
    write_heat_map_segment(image, made, PNEUMONIA, mask=mask, criterion="half of the strongest", path=path)
    application.run_command("file.open_folder", tmp_path / "study")
    show(application, image.sop_instance_uid)
    [offer] = [one for one in offers(application.state) if one.modality == "SEG"]
    assert offer.why_not == ""
    application.run_command("layer.lay", offer.key)
    (laid,) = laid_on(application.state)
    assert isinstance(laid.plane, LabelPlane)
    assert isinstance(laid.source, Segmentation)
    assert [one.label for one in laid.source.segments] == ["Where the model looked (pneumonia)"]
    rows, columns = np.indices(mask.shape)
    inside = [
        bool(laid.plane.segments_at(column + 0.5, row + 0.5))
        for row, column in zip(rows.ravel(), columns.ravel(), strict=True)
    ]
    assert np.array_equal(np.array(inside).reshape(mask.shape), mask)


@pytest.fixture
def film(application: Application, tmp_path: Path) -> tuple[Application, Image, Answer]:
    """A folder with a radiograph, what a model outlined on it, and another radiograph of the same study and size."""
    study = tmp_path / "study"
    study.mkdir()
    image = make_radiograph(study / "a.dcm")
    other = pydicom.dcmread(study / "a.dcm")
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    other.SeriesInstanceUID = "2.25.78"
    other.save_as(study / "b.dcm")
    answer = make_outlines(image.description.rows, image.description.columns)
    write_outlines(image, answer, path=study / "outlines.seg.dcm")
    return application, image, answer


def lay_outlines(app: Application, image: Image) -> str:
    """Lay the segmentation over the image; why that cannot be, if so."""
    app.run_command("file.open_folder", image.path.parent)
    show(app, image.sop_instance_uid)
    [offer] = [one for one in offers(app.state) if one.modality == "SEG"]
    if not offer.why_not:
        app.run_command("layer.lay", offer.key)
    return offer.why_not


def test_what_a_model_outlined_on_a_radiograph_comes_back_on_its_pixels(
    film: tuple[Application, Image, Answer],
) -> None:
    app, image, answer = film
    assert lay_outlines(app, image) == ""
    (laid,) = laid_on(app.state)
    assert isinstance(laid.plane, LabelPlane)
    assert isinstance(laid.source, Segmentation)
    assert [segment.label for segment in laid.source.segments] == ["bright", "dark"]
    for number, region in enumerate(answer.regions, start=1):
        known = {tuple(map(tuple, outline)) for outline in region.outlines}
        assert {tuple(map(tuple, outline)) for outline in laid.plane.outlines[number]} == known


@pytest.mark.reliability
def test_it_is_never_drawn_on_another_radiograph(film: tuple[Application, Image, Answer]) -> None:
    app, image, _answer = film
    lay_outlines(app, image)
    assert laid_on(app.state)
    show(app, "2.25.77")
    assert not laid_on(app.state)
    [offer] = [one for one in offers(app.state) if one.modality == "SEG"]
    assert offer.why_not == OTHER_IMAGE


@pytest.mark.reliability
@pytest.mark.parametrize("change", ["moved", "other image", "other size", "two images"])
def test_segments_that_may_not_fit_are_refused_with_the_reason(
    film: tuple[Application, Image, Answer], change: str
) -> None:
    app, image, _answer = film
    path = image.path.parent / "outlines.seg.dcm"
    dataset = pydicom.dcmread(path)
    named = [
        frame.DerivationImageSequence[0].SourceImageSequence[0] for frame in dataset.PerFrameFunctionalGroupsSequence
    ]
    if change == "moved":
        for source in named:
            source.SpatialLocationsPreserved = "NO"
    elif change == "other image":
        for source in named:
            source.ReferencedSOPInstanceUID = "2.25.5"
    elif change == "two images":
        named[1].ReferencedSOPInstanceUID = "2.25.77"
    else:
        dataset.Rows -= 8
        bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
        fewer = bits[: dataset.Rows * dataset.Columns * 2]
        dataset.PixelData = np.packbits(fewer, bitorder="little").tobytes()
    dataset.save_as(path)
    why_not = lay_outlines(app, image)
    assert why_not
    assert not laid_on(app.state)

"""Presentation states, judged by others: dciodvfy, dcentvfy, and the picture that DCMTK makes of them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.study import Image, Window
from medviewer.imaging.decode import read_frame
from medviewer.imaging.display import default_window, own_windows, to_display
from medviewer.imaging.header import NATIVE_SYNTAXES
from medviewer.imaging.measurement_report import Measured
from medviewer.imaging.measurement_shapes import graphics_of
from medviewer.imaging.presentation_reading import read_presentation_state
from medviewer.imaging.presentation_state import Presentation, write_presentation_state
from tests import samples
from tests.answers import make_radiograph
from tests.dicom_maker import make_dataset, write_dataset
from tests.reference.test_dicom_out import KINDS as SOURCES
from tests.reference.test_dicom_out import _one_a_folder, errors_of, inconsistencies, make_source, run, scanned, tool
from tests.reference.test_measurements_out import measurements

if TYPE_CHECKING:
    from medviewer.app.application import Application

WINDOW = Window(1500.0, 1800.0)


def written(image: Image, tmp_path: Path, *measured: Measured, **how: Any) -> tuple[Path, pydicom.Dataset]:
    path = tmp_path / "state.pr.dcm"
    write_presentation_state(image, Presentation(**{"window": WINDOW, **how}), measured, path=path)
    return path, pydicom.dcmread(path)


def made(tmp_path: Path, pixels: np.ndarray, **attributes: Any) -> Image:
    dataset = make_dataset(pixels, PatientBirthDate="", PatientSex="", StudyDate="", StudyTime="", **attributes)
    (image,) = scanned(write_dataset(tmp_path / "image.dcm", dataset))
    return image


def dcmtk_picture(image: Image, state: Path, tmp_path: Path) -> np.ndarray:
    """What DCMTK shows of the image with that presentation state."""
    done = run(tool("dcmp2pgm"), "-p", state, image.path, tmp_path / "out.pgm")
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "out.pgm").read_bytes()
    head = re.match(rb"P5\s(?:#[^\n]*\n)?\s*(\d+)\s+(\d+)\s+(\d+)\s", data)
    assert head is not None
    columns, rows = int(head[1]), int(head[2])
    return np.frombuffer(data, np.uint8, rows * columns, head.end()).reshape(rows, columns).astype(int)


def as_seen(picture: np.ndarray, how: dict[str, Any]) -> np.ndarray:
    """Our view, told with numpy: flips of the stored image, then counter-clockwise quarter turns."""
    picture = picture[:, ::-1] if how.get("flip_horizontal") else picture
    picture = picture[::-1] if how.get("flip_vertical") else picture
    return np.rot90(picture, how.get("quarter_turns", 0)).astype(int)


@pytest.mark.reliability
@pytest.mark.parametrize("kind", SOURCES)
def test_others_find_no_error_and_one_patient(kind: str, tmp_path: Path) -> None:
    source = make_source(kind, tmp_path)
    path, _ = written(source, tmp_path, *measurements(source), quarter_turns=1, inverted=True)
    assert errors_of(path) == []
    assert inconsistencies(source.path, path) == []
    assert run(tool("dcmdump"), path).returncode == 0


@pytest.mark.reliability
@pytest.mark.parametrize(("turns", "across", "down"), list(product(range(4), (False, True), (False, True))))
def test_dcmtk_turns_and_flips_as_we_do(turns: int, across: bool, down: bool, tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 4096, (20, 30)).astype(np.uint16)
    image = made(tmp_path, pixels)
    how = {"quarter_turns": turns, "flip_horizontal": across, "flip_vertical": down}
    path, state = written(image, tmp_path, **how)
    ours = as_seen(to_display(read_frame(image), WINDOW), how)
    theirs = dcmtk_picture(image, path, tmp_path)
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() <= 1
    # The pixel that is seen at the upper left, counted from 1: found where numpy brings it.
    numbers = as_seen(np.arange(600).reshape(20, 30), how)
    area = state.DisplayedAreaSelectionSequence[0]
    for corner, number in (("TopLeft", numbers[0, 0]), ("BottomRight", numbers[-1, -1])):
        assert list(area[f"DisplayedArea{corner}HandCorner"].value) == [number % 30 + 1, number // 30 + 1]


@pytest.mark.reliability
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dcmtk_shows_the_same_greys(photometric: str, inverted: bool, tmp_path: Path) -> None:
    pixels = np.linspace(-1000, 2000, 600).reshape(20, 30).astype(np.int16)
    image = made(
        tmp_path, pixels, PhotometricInterpretation=photometric, RescaleSlope="2", RescaleIntercept="-100",
        RescaleType="HU",
    )  # fmt: skip
    path, _ = written(image, tmp_path, inverted=inverted)
    ours = to_display(read_frame(image), WINDOW, invert=inverted).astype(int)
    assert np.abs(dcmtk_picture(image, path, tmp_path) - ours).max() <= 1
    assert errors_of(path) == []


@pytest.mark.reliability
def test_dcmtk_shows_the_window_of_the_screen_where_the_reader_left_it(
    application: Application, tmp_path: Path
) -> None:
    pixels = np.linspace(0, 4000, 600).reshape(20, 30).astype(np.int16)
    image = made(tmp_path, pixels, WindowCenter="40", WindowWidth="400", RescaleSlope="1", RescaleIntercept="-1024")
    application.run_command("file.open_files", [image.path])
    assert application.state.view.window is None
    application.run_command("measure.save_state", tmp_path)
    ours = to_display(read_frame(image)).astype(int)
    assert np.abs(dcmtk_picture(image, tmp_path / "measurements.pr.dcm", tmp_path) - ours).max() <= 1


@pytest.mark.parametrize("name", ["mlut_18.dcm", "vlut_04.dcm"])
def test_look_up_tables_come_along(name: str, tmp_path: Path) -> None:
    corpus = samples.corpus()
    if corpus is None:
        pytest.skip("no corpus: set MEDVIEWER_CORPUS")
    (image,) = scanned(corpus / "pydicom_data" / name)
    window = None if image.description.voi_luts else WINDOW
    path, _ = written(image, tmp_path, window=window)
    ours = to_display(read_frame(image), window, voi_lut=0 if window is None else None).astype(int)
    assert np.abs(dcmtk_picture(image, path, tmp_path) - ours).max() <= 1


@pytest.mark.reliability
def test_dcmtk_shows_the_look_up_table_that_the_reader_chose(tmp_path: Path) -> None:
    pixels = np.linspace(0, 4000, 600).reshape(20, 30).astype(np.uint16)
    tables = []
    for ends in ((0, 255), (255, 0)):
        table = pydicom.Dataset()
        table.LUTDescriptor = [4001, 0, 8]
        table.add_new("LUTData", "OW", np.linspace(*ends, 4001).astype("<u2").tobytes())
        tables.append(table)
    image = made(tmp_path, pixels, WindowCenter="40", WindowWidth="400", VOILUTSequence=tables)
    chosen = own_windows(read_frame(image))[2]
    path, _ = written(image, tmp_path, window=chosen)
    ours = to_display(read_frame(image), chosen).astype(int)
    assert ours[0, 0] == 255
    assert np.abs(dcmtk_picture(image, path, tmp_path) - ours).max() <= 1


def test_graphics_lie_where_they_were_drawn_and_texts_say_the_numbers(tmp_path: Path) -> None:
    image = make_source("plain", tmp_path)
    items = measurements(image)
    _, state = written(image, tmp_path, *items)
    (annotation,) = state.GraphicAnnotationSequence
    drawn = [(g.GraphicType, np.array(g.GraphicData).reshape(-1, 2).tolist()) for g in annotation.GraphicObjectSequence]
    expected = [
        (kind, np.array(points, np.float32).tolist())
        for item in items
        for kind, points in graphics_of(item.measurement)
    ]
    assert drawn == expected
    assert {g.GraphicAnnotationUnits for g in annotation.GraphicObjectSequence} == {"PIXEL"}
    texts = [t.UnformattedTextValue for t in annotation.TextObjectSequence]
    assert len(texts) == len(items)
    assert "length 肿块" in texts[0]
    assert f"length: {items[0].quantities[0].value:.4g} px" in texts[0]


def test_what_it_rests_on_stands_beside_a_length(tmp_path: Path) -> None:
    image = make_radiograph(tmp_path / "s.dcm")
    (item, *_) = measurements(image)
    known = replace(item.quantities[0], value=1234.56, unit="mm", basis="at detector")
    _, state = written(image, tmp_path, replace(item, quantities=(known,)))
    text = state.GraphicAnnotationSequence[0].TextObjectSequence[0].UnformattedTextValue
    assert "length: 1234.6 mm (at detector)" in text


def test_without_measurements_there_are_no_graphics(tmp_path: Path) -> None:
    path, state = written(make_source("plain", tmp_path), tmp_path)
    assert "GraphicAnnotationSequence" not in state
    assert errors_of(path) == []


def test_the_frame_and_the_size_of_a_pixel_are_told(tmp_path: Path) -> None:
    image = make_radiograph(tmp_path / "s.dcm")
    tall = replace(image.description, pixel_aspect_ratio=4 / 3)
    _, state = written(replace(image, frame=2, number_of_frames=5, description=tall), tmp_path)
    assert state.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedFrameNumber == 3
    assert list(state.DisplayedAreaSelectionSequence[0].PresentationPixelAspectRatio) == [1333, 1000]
    spaced = replace(image.description, pixel_spacing_mm=(0.1 + 0.2, 1 / 3))
    _, state = written(replace(image, description=spaced), tmp_path)
    assert [float(v) for v in state.DisplayedAreaSelectionSequence[0].PresentationPixelSpacing] == pytest.approx(
        [0.3, 1 / 3]
    )


@pytest.mark.reliability
def test_what_does_not_belong_together_is_not_written(tmp_path: Path) -> None:
    image, other = make_radiograph(tmp_path / "a.dcm"), make_radiograph(tmp_path / "b.dcm")
    with pytest.raises(UsageError, match="another image"):
        written(image, tmp_path, *measurements(other))
    color = replace(image, description=replace(image.description, samples_per_pixel=3))
    with pytest.raises(UsageError, match="colour"):
        written(color, tmp_path)
    palette = replace(image, description=replace(image.description, photometric_interpretation="PALETTE COLOR"))
    with pytest.raises(UsageError, match="colour"):
        written(palette, tmp_path)
    make_radiograph(tmp_path / "a.dcm", PatientName="Somebody^Else")
    with pytest.raises(InputError, match="replaced"):
        written(image, tmp_path)
    assert not (tmp_path / "state.pr.dcm").exists()


def test_the_corpus_is_written_without_errors_of_ours_and_shown_alike(tmp_path: Path) -> None:
    corpus = samples.corpus()
    if corpus is None:
        pytest.skip("no corpus: set MEDVIEWER_CORPUS")
    compared = 0
    for source in _one_a_folder(corpus):
        (image, *_) = scanned(source) or [None]
        if image is None or image.description.samples_per_pixel != 1:
            continue
        frame = read_frame(image)
        window = default_window(frame)
        path, _ = written(image, tmp_path, window=window)
        known = set(errors_of(source))
        assert [error for error in errors_of(path) if error not in known] == [], source.name
        if image.number_of_frames > 1 or image.description.transfer_syntax_uid not in NATIVE_SYNTAXES:
            continue  # what dcmp2pgm does not open
        ours = to_display(frame, window).astype(int)
        is_padding = np.zeros(ours.shape, bool)
        padding = image.description.pixel_padding_range
        if padding is not None:  # black here, and the value that it is there
            is_padding = (frame.stored >= padding[0]) & (frame.stored <= padding[1])
        # A window's function travels with it, but this DCMTK reads LINEAR_EXACT as LINEAR: one grey value apart.
        assert np.abs(dcmtk_picture(image, path, tmp_path) - ours)[~is_padding].max() <= 2, source.name
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("shape", [["RECTANGULAR", "CIRCULAR"], "POLYGONAL"], ids=["rectangle and circle", "polygon"])
def test_the_shutter_that_was_in_use_is_in_the_state(shape: str | list[str], tmp_path: Path) -> None:
    own = {
        "ShutterLeftVerticalEdge": 4, "ShutterRightVerticalEdge": 21, "ShutterUpperHorizontalEdge": 3,
        "ShutterLowerHorizontalEdge": 15, "CenterOfCircularShutter": [9, 12], "RadiusOfCircularShutter": 7,
        "VerticesOfThePolygonalShutter": [3, 4, 3, 25, 18, 20, 15, 6],
    }  # fmt: skip
    image = made(tmp_path, np.zeros((20, 30), np.uint16), ShutterShape=shape, ShutterPresentationValue=0x8080, **own)
    frame = read_frame(image)
    assert frame.shutters is not None
    path, state = written(image, tmp_path, shutters=frame.shutters)
    assert state.ShutterShape == shape
    for name, value in own.items():
        if name in state:
            assert state[name].value == value
    assert state.ShutterPresentationValue == 0x8080
    back = read_presentation_state(path).for_image(image.sop_instance_uid, 0)
    assert back is not None
    assert back.shutters is not None
    assert (back.shutters.shapes, back.shutters.color) == (frame.shutters.shapes, frame.shutters.color)
    assert errors_of(path) == []
    assert "ShutterShape" not in written(image, tmp_path)[1]

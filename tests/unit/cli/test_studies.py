"""``inspect`` names every file once; ``render`` writes what the window shows."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image as PillowImage

from medviewer.app.picture import Picture
from medviewer.cli import main
from medviewer.cli.studies import collection_document
from medviewer.domain.study import (
    Caveat,
    Collection,
    Image,
    Patient,
    PixelDescription,
    Problem,
    Series,
    Stack,
    Study,
    Window,
)
from medviewer.imaging.decode import read_frame
from medviewer.imaging.display import automatic_window, to_display
from medviewer.imaging.scan import images_of, scan
from tests import samples
from tests.answers import make_radiograph
from tests.color_profiles import SRGB, every_color, make_profile, on_screen
from tests.dicom_maker import make_dataset, write_dataset, write_volumes
from tests.document_maker import make_pdf, write_pdf

RG1 = "RG1_UNCR.dcm"


def inspected(capsys: pytest.CaptureFixture[str], *paths: Path) -> tuple[int, dict[str, Any]]:
    code = main(["inspect", *map(str, paths), "--json"])
    told = capsys.readouterr()
    document: dict[str, Any] = json.loads(told.out)
    assert document["schema"] == "medviewer.inspect/1"
    return code, document


def test_inspect_says_what_pydicom_reads(capsys: pytest.CaptureFixture[str]) -> None:
    path = samples.package_file(RG1)
    code, document = inspected(capsys, path)
    assert code == 0
    assert document["files"] == [{"path": str(path), "status": "shown", "reason": ""}]
    header = pydicom.dcmread(path, stop_before_pixels=True)
    [patient] = document["patients"]
    [study] = patient["studies"]
    [series] = study["series"]
    [stack] = series["stacks"]
    [image] = stack["images"]
    assert patient["patient_id"] == header.PatientID
    assert study["study_instance_uid"] == header.StudyInstanceUID
    assert series["series_instance_uid"] == header.SeriesInstanceUID
    assert image["sop_instance_uid"] == header.SOPInstanceUID
    assert image["transfer_syntax_uid"] == header.file_meta.TransferSyntaxUID
    assert stack["shape"] == [header.Columns, header.Rows, 1]
    assert stack["affine"] is None
    assert image["pixel_spacing_mm"] is None
    assert image["no_measuring_because"]


@pytest.mark.parametrize("is_folder", [True, False])
def test_every_file_has_one_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str], is_folder: bool) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make_radiograph(folder / "a.dcm")
    (folder / "b.txt").write_text("not DICOM")
    make_radiograph(
        folder / "c.dcm", PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.5", Rows=None, Columns=None
    )
    (folder / "d.dcm").write_bytes((folder / "a.dcm").read_bytes()[:300])
    paths = [folder] if is_folder else sorted(folder.iterdir())
    code, document = inspected(capsys, *paths)
    assert code == 3
    assert [Path(f["path"]).name for f in document["files"]] == ["a.dcm", "b.txt", "c.dcm", "d.dcm"]
    assert [f["status"] for f in document["files"]] == ["shown", "refused", "read", "refused"]
    for file in document["files"][1:]:
        assert file["reason"].endswith(".")


def test_documents_are_shown_beside_the_series_of_their_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pdf(tmp_path / "a.dcm", make_pdf(), Modality="DOC")
    code, document = inspected(capsys, tmp_path)
    assert code == 0
    assert document["files"] == [{"path": str(tmp_path / "a.dcm"), "status": "shown", "reason": ""}]
    (study,) = document["patients"][0]["studies"]
    (one,) = study["documents"]
    uid = one.pop("sop_instance_uid")
    assert uid == pydicom.dcmread(tmp_path / "a.dcm").SOPInstanceUID
    assert one == {
        "path": str(tmp_path / "a.dcm"), "kind": "pdf", "title": "Discharge letter", "date": "20240131",
        "time": "140500", "modality": "DOC", "series_instance_uid": "2.25.22",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.104.1",
    }  # fmt: skip
    assert study["series"] == []
    assert main(["inspect", str(tmp_path)]) == 0
    assert "    PDF 20240131 Discharge letter" in capsys.readouterr().out.splitlines()


def test_a_file_given_twice_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_radiograph(tmp_path / "a.dcm")
    _, document = inspected(capsys, tmp_path / "a.dcm", tmp_path / "a.dcm", tmp_path)
    assert len(document["files"]) == 1


def test_inspect_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_radiograph(tmp_path / "a.dcm", StudyDescription="THORAX")
    (tmp_path / "b.txt").write_text("x")
    assert main(["inspect", str(tmp_path)]) == 3
    told = capsys.readouterr().out
    assert "Patient 4711" in told
    assert "THORAX" in told
    assert "80 x 96 x 1, in order of single" in told
    assert "b.txt: refused: " in told
    assert told.splitlines()[-1] == "2 files: 1 shown, 0 read, 1 refused"


@pytest.mark.reliability
def test_inspect_for_people_names_what_is_peculiar_about_an_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = make_radiograph(tmp_path / "cut.dcm").path
    cut.write_bytes(cut.read_bytes()[:-9000])
    one = make_radiograph(
        tmp_path / "one.dcm", SOPInstanceUID="1.2.3", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.4"
    )
    two = make_radiograph(
        tmp_path / "two.dcm",
        SOPInstanceUID="1.2.3",
        StudyInstanceUID="1.2",
        SeriesInstanceUID="1.2.4",
        PatientAge="003Y",
    )
    make_radiograph(tmp_path / "good.dcm")
    _, document = inspected(capsys, tmp_path)
    stacks = [
        stack
        for patient in document["patients"] for study in patient["studies"]
        for series in study["series"] for stack in series["stacks"]
    ]  # fmt: skip
    doubts = {(i["path"], w["text"]) for stack in stacks for i in stack["images"] for w in i["warnings"]}
    assert {path for path, _ in doubts} >= {str(cut), str(one.path), str(two.path)}
    main(["inspect", str(tmp_path)])
    told = capsys.readouterr().out.splitlines()
    for path, text in doubts:
        assert any(line.endswith(text) and (path in line or " all 2 images: " in line) for line in told), (path, text)
    assert not any("good.dcm" in line for line in told)


@pytest.mark.parametrize("name", ["x.jpg", "x", "x.png.dcm"])
def test_a_picture_is_named_as_what_it_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_radiograph(tmp_path / "a.dcm").path
    assert main(["render", str(source), "--out", str(tmp_path / name)]) == 2
    assert f"ends in .png instead of {name}" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_the_document_carries_geometry_and_doubts() -> None:
    description = PixelDescription(
        modality="CT", rows=3, columns=2, pixel_spacing_mm=(0.5, 0.25), spacing_source="patient plane"
    )
    image = Image(Path("f"), 4, "1.2", description, warnings=(Caveat("sign", "Signs differ."),))
    affine = np.arange(16, dtype=np.float64).reshape(4, 4)
    stack = Stack((image,), "position", affine, (0.25, 0.5, None), (Caveat("gap", "A slice is missing."),))
    collection = Collection(
        (Patient("P", "HOSP", studies=(Study("1", series=(Series("2", "CT", stacks=(stack,)),)),)),),
        (Problem(Path("f"), "Shown with a doubt."), Problem(Path("g"), "A report.", "read")),
        (Path("f"),),
    )
    document = collection_document(collection)
    assert document["files"] == [
        {"path": "f", "status": "shown", "reason": "Shown with a doubt."},
        {"path": "g", "status": "read", "reason": "A report."},
    ]
    found = document["patients"][0]["studies"][0]["series"][0]["stacks"][0]
    assert found["affine"] == affine.tolist()
    assert found["spacing_mm"] == [0.25, 0.5, None]
    assert found["order"] == "position"
    assert found["warnings"] == [{"code": "gap", "text": "A slice is missing."}]
    assert found["images"][0]["frame"] == 4
    assert found["images"][0]["pixel_spacing_mm"] == [0.5, 0.25]
    assert found["images"][0]["warnings"] == [{"code": "sign", "text": "Signs differ."}]
    json.dumps(document, allow_nan=False)


def test_render_replaces_pictures_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_radiograph(tmp_path / "a.png").path
    before = source.read_bytes()
    out = tmp_path / "x.png"
    assert main(["render", str(source), "--out", str(source)]) == 2
    assert "choose another name" in capsys.readouterr().err
    assert source.read_bytes() == before
    for _ in range(2):  # the second time it replaces its own picture
        assert main(["render", str(source), "--out", str(out)]) == 0


def rendered(tmp_path: Path, path: Path, *options: str) -> np.ndarray:
    out = tmp_path / "out.png"
    assert main(["render", str(path), "--out", str(out), *options]) == 0
    return np.asarray(PillowImage.open(out))


def test_render_gives_the_window_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = make_radiograph(tmp_path / "a.dcm")
    stored = pydicom.dcmread(image.path).pixel_array
    drawn = rendered(tmp_path, image.path, "--window", "2000", "1000")
    assert drawn.shape == stored.shape
    # PS3.3 C.11.2.1.2.1, computed here from the formula.
    expected = np.clip(((stored - (2000 - 0.5)) / (1000 - 1) + 0.5) * 255, 0, 255)
    assert np.abs(drawn - expected).max() <= 0.5 + 1e-9
    assert capsys.readouterr().out == ""


def test_render_gives_the_files_own_window_or_table_by_its_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor = [4096, 0, 8]
    table.add_new("LUTData", "OW", np.linspace(255, 0, 4096).astype("<u2").tobytes())
    own = {"WindowCenter": [2048, 500], "WindowWidth": [4096, 700], "VOILUTSequence": [table]}
    (image,) = images_of(scan([make_radiograph(tmp_path / "a.dcm", **own).path]))
    frame = read_frame(image)
    np.testing.assert_array_equal(rendered(tmp_path, image.path, "--voi", "1"), to_display(frame))
    np.testing.assert_array_equal(rendered(tmp_path, image.path, "--voi", "2"), to_display(frame, Window(500, 700)))
    np.testing.assert_array_equal(rendered(tmp_path, image.path, "--voi", "3"), to_display(frame, voi_lut=0))
    automatic = to_display(frame, automatic_window(frame))
    np.testing.assert_array_equal(rendered(tmp_path, image.path, "--voi", "0"), automatic)
    capsys.readouterr()
    assert main(["render", str(image.path), "--out", str(tmp_path / "x.png"), "--voi", "4"]) == 2
    assert "3 windows and look-up tables" in capsys.readouterr().err
    for wrong in ("-1", "two", "1.5", "99999"):
        assert main(["render", str(image.path), "--out", str(tmp_path / "x.png"), f"--voi={wrong}"]) == 2


def test_a_window_below_zero_is_a_number_not_an_option(tmp_path: Path) -> None:
    drawn = rendered(tmp_path, make_radiograph(tmp_path / "a.dcm").path, "--window", "-600", "100")
    assert (drawn == 255).all()


def test_render_shows_colours_as_the_window_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colors = every_color(51)
    swapped = (SRGB[2], SRGB[1], SRGB[0])
    source = write_dataset(tmp_path / "color.dcm", make_dataset(colors, ICCProfile=make_profile(swapped)))
    assert main(["render", str(source), "--out", str(tmp_path / "a.png")]) == 0
    drawn = np.asarray(PillowImage.open(tmp_path / "a.png"))
    assert np.abs(drawn - on_screen(colors, swapped)).max() <= 1.1
    (image,) = images_of(scan([source]))
    seen = Picture(read_frame(image)).draw(None, False, 0, (0, 0, *colors.shape[:2])).pixels
    np.testing.assert_array_equal(drawn, np.stack([seen >> 16 & 255, seen >> 8 & 255, seen & 255], axis=-1))
    capsys.readouterr()
    write_dataset(source, make_dataset(colors, ICCProfile=b"no profile"))
    assert main(["render", str(source), "--out", str(tmp_path / "a.png")]) == 0
    assert "The file's colour profile is damaged" in capsys.readouterr().err
    np.testing.assert_array_equal(np.asarray(PillowImage.open(tmp_path / "a.png")), colors)


def test_render_says_that_it_leaves_the_shutter_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutter = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [4, 4], "RadiusOfCircularShutter": 2}
    covered = write_dataset(tmp_path / "a.dcm", make_dataset(**shutter))
    plain = write_dataset(tmp_path / "b.dcm", make_dataset())
    for source, is_told in ((covered, True), (plain, False)):
        assert main(["render", str(source), "--out", str(tmp_path / f"{source.stem}.png")]) == 0
        assert ("display shutter is left out" in capsys.readouterr().err) is is_told
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_render_turns_monochrome1(tmp_path: Path) -> None:
    plain = make_radiograph(tmp_path / "a.dcm", WindowCenter=2048, WindowWidth=4096)
    turned = make_radiograph(
        tmp_path / "b.dcm", WindowCenter=2048, WindowWidth=4096, PhotometricInterpretation="MONOCHROME1"
    )
    a, b = rendered(tmp_path, plain.path), rendered(tmp_path, turned.path, "--voi", "auto")
    assert np.abs(255 - a.astype(int) - b).max() <= 1


def test_render_chooses_the_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = np.stack([np.full((16, 16), value, np.uint16) for value in (0, 2000, 4000)])
    image = make_radiograph(
        tmp_path / "a.dcm",
        rows=16, columns=16, NumberOfFrames=3, PixelData=frames.tobytes(),
        SOPClassUID="1.2.840.10008.5.1.4.1.1.7.3", Modality="OT", ConversionType="WSD",
    )  # fmt: skip
    levels = [
        int(rendered(tmp_path, image.path, "--frame", str(n), "--window", "2048", "4096").mean()) for n in (0, 1, 2)
    ]
    assert levels[0] < levels[1] < levels[2]
    assert main(["render", str(image.path), "--out", str(tmp_path / "x.png"), "--frame", "3"]) == 2
    assert "--frame 0 to 2" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("window", [("nan", "1"), ("1", "0"), ("1", "-5"), ("inf", "1")])
def test_a_window_that_is_none_is_wrong_use(
    tmp_path: Path, window: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    image = make_radiograph(tmp_path / "a.dcm")
    assert main(["render", str(image.path), "--out", str(tmp_path / "x.png"), "--window", *window]) == 2
    assert not (tmp_path / "x.png").exists()
    assert capsys.readouterr().err


def test_a_folder_of_several_images_is_never_guessed_between(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_radiograph(tmp_path / "a.dcm")
    make_radiograph(tmp_path / "b.dcm")
    assert main(["render", str(tmp_path), "--out", str(tmp_path / "x.png")]) == 2
    assert "2 image files; name the one" in capsys.readouterr().err


def write_series(folder: Path, *, positions: tuple[float, ...] = (0, 2, 4, 6, 8)) -> np.ndarray:
    """An axial series of noise; (slices, rows, columns)."""
    volume = np.random.default_rng(0).integers(0, 4000, (len(positions), 6, 7)).astype(np.uint16)
    for index, z in enumerate(positions):
        dataset = make_dataset(
            volume[index], BitsStored=12, HighBit=11, PixelSpacing=[2, 2], InstanceNumber=index + 1,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, z],
        )  # fmt: skip
        write_dataset(folder / f"{index}.dcm", dataset)
    return volume


@pytest.mark.parametrize(
    ("plane", "at", "cut"),
    [
        ("axial", "4", lambda v: v[2]),
        ("coronal", "6", lambda v: v[::-1, 3, :]),  # the head is up
        ("sagittal", "10", lambda v: v[::-1, :, 5]),
    ],
)
def test_render_cuts_planes(plane: str, at: str, cut: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volume = write_series(tmp_path)
    drawn = rendered(tmp_path, tmp_path, "--plane", plane, "--at", at, "--window", "2000", "4000")
    expected = np.clip((cut(volume).astype(float) - 1999.5) / 3999 + 0.5, 0, 1) * 255
    assert drawn.shape == expected.shape
    assert np.abs(drawn - expected).max() <= 1
    assert f"{plane} at {at} mm" in capsys.readouterr().err


def test_render_cuts_slabs_and_the_middle_by_default(tmp_path: Path) -> None:
    volume = write_series(tmp_path)
    drawn = rendered(
        tmp_path, tmp_path, "--plane", "axial", "--slab-mm", "4", "--slab", "max", "--window", "2000", "4000"
    )
    expected = np.clip((volume[1:4].max(axis=0).astype(float) - 1999.5) / 3999 + 0.5, 0, 1) * 255
    assert np.abs(drawn - expected).max() <= 1


def test_a_plane_of_a_series_with_a_gap_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path, positions=(0, 2, 4, 10, 12))
    drawn = rendered(tmp_path, tmp_path, "--plane", "coronal", "--window", "2000", "4000")
    assert "2 slices seem to be missing" in capsys.readouterr().err
    assert (drawn == 0).all(axis=1).sum() == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--at", "4"], ["--slab", "max"], ["--plane", "axial", "--frame", "1"], ["--plane", "axial", "--slab", "max"],
        ["--plane", "axial", "--at", "400"],
    ],
)  # fmt: skip
def test_planes_that_make_no_sense_are_wrong_use(options: list[str], tmp_path: Path) -> None:
    write_series(tmp_path)
    assert main(["render", str(tmp_path), "--out", str(tmp_path / "x.png"), *options]) == 2
    assert not (tmp_path / "x.png").exists()


def test_without_a_stack_no_plane_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_radiograph(tmp_path / "a.dcm")
    assert main(["render", str(tmp_path), "--out", str(tmp_path / "x.png"), "--plane", "axial"]) == 2
    assert "no stack of slices" in capsys.readouterr().err


def send(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_paths_come_from_standard_input(
    separator: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [" a b.dcm", "患者.dcm", "c\nd.dcm"] if separator == "\0" else [" a b.dcm", "患者.dcm"]
    paths = [make_radiograph(tmp_path / name).path for name in names]
    send(monkeypatch, separator.join([*map(str, paths), ""]).encode())
    code, document = inspected(capsys, Path("-"), tmp_path / "gone", Path("-"))
    assert code == 3
    assert sorted(file["path"] for file in document["files"]) == sorted(map(str, [*paths, tmp_path / "gone"]))
    assert [file["status"] for file in document["files"]].count("refused") == 1


def test_nothing_on_standard_input_is_wrong_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(monkeypatch, b"\n\n")
    assert main(["inspect", "-"]) == 2
    monkeypatch.setattr("sys.stdin", None)
    assert main(["inspect", "-"]) == 2
    assert "standard input" in capsys.readouterr().err


def test_a_list_without_an_end_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medviewer.cli.studies._MOST_LIST_BYTES", 2**20)
    send(monkeypatch, b"a\n" * 2**19 + b"a\n")
    assert main(["inspect", "-"]) == 2
    assert "longer than 1 MB" in capsys.readouterr().err


def test_a_file_called_minus_can_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_radiograph(tmp_path / "-")
    assert main(["inspect", "./-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["status"] == "shown"


def test_an_archive_is_seen_and_drawn_like_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(make_radiograph(tmp_path / "a.dcm").path, "images/1")
    code, document = inspected(capsys, path)
    assert code == 0
    assert document["files"] == [{"path": f"{path}/images/1", "status": "shown", "reason": ""}]
    assert document["patients"][0]["studies"][0]["series"][0]["stacks"][0]["images"][0]["path"] == f"{path}/images/1"
    assert main(["render", str(path), "--out", str(tmp_path / "x.png")]) == 0
    assert main(["render", str(tmp_path / "a.dcm"), "--out", str(tmp_path / "y.png")]) == 0
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.png").read_bytes()


def test_inspect_tells_the_second_axis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_volumes(tmp_path, 3, lambda v, _p: {"DiffusionBValue": 400.0 * v})
    _code, document = inspected(capsys, tmp_path)
    [stack] = document["patients"][0]["studies"][0]["series"][0]["stacks"]
    values = [float(pydicom.dcmread(image["path"]).DiffusionBValue) for image in stack["images"]]
    assert stack["axis"] == {"name": "b-value", "unit": "s/mm²", "size": 3, "slices": 4, "values": values}
    assert stack["shape"] == [8, 6, 4]
    assert main(["inspect", str(tmp_path)]) == 0
    assert "8 x 6 x 4 x 3 (b-value)" in capsys.readouterr().out


def test_a_plane_is_cut_through_the_volume_that_was_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    write_volumes(tmp_path / "in", 3, lambda v, _p: {"TriggerTime": 40 * v})
    drawn = rendered(
        tmp_path, tmp_path / "in", "--plane", "axial", "--at", "5", "--volume", "2", "--window", "201", "256"
    )
    assert set(drawn.ravel().tolist()) == {128}  # volume 2, place 1
    out = str(tmp_path / "no.png")
    for wrong in ([], ["--volume", "3"], ["--volume", "-1"]):
        assert main(["render", str(tmp_path / "in"), "--plane", "axial", *wrong, "--out", out]) == 2
        assert "--volume 0 to 2" in capsys.readouterr().err

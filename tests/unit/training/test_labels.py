"""A label table beside DICOM files: read as served, and every contradiction is one sentence."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import JPEGBaseline8Bit

from medviewer.domain.errors import InputError
from medviewer.imaging.decode import read_frame
from medviewer.imaging.scan import images_of, scan
from medviewer.inference.card import read_card
from medviewer.inference.inputs.image import encode
from medviewer.inference.preprocessing import prepare
from medviewer.training import reading
from medviewer.training.data import ClassFolders, find_images, keep_decodable, splits_of
from medviewer.training.reading import Mapped, as_bytes
from tests import fakes
from tests.dicom_maker import make_dataset, write_compressed, write_dataset
from tests.radiographs import write_radiograph

CLASSES = ("NORMAL", "PNEUMONIA")
SPLITS = ("train", "block", "tune", "report")


class Archive:
    """A folder of films and the table beside them."""

    def __init__(self, folder: Path, n: int = 8) -> None:
        self.folder = folder
        self.rows = []
        for number in range(n):
            path = write_radiograph(folder / "films" / f"{number:02}.dcm", patient_id=f"P{number}")
            self.rows.append(
                {
                    "file": f"films/{path.name}",
                    "label": CLASSES[number % 2],
                    "patient": f"patient-{number}",
                    "sex": "FM"[number % 2],
                }
            )

    def write(self, *, encoding: str = "utf-8") -> Path:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        lines = [",".join(columns), *(",".join(row.get(name, "") for name in columns) for row in self.rows)]
        (self.folder / "labels.csv").write_text("\r\n".join(lines) + "\r\n", encoding=encoding)
        return self.folder

    def read(self) -> ClassFolders:
        return find_images(self.write(), CLASSES)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    (tmp_path / "films").mkdir()
    return Archive(tmp_path)


def test_rows_become_images_with_their_facts(archive: Archive) -> None:
    found = archive.read()
    assert [(i.name, i.label, i.group) for i in found.images[:2]] == [
        ("films/00.dcm", 0, "patient-0"),
        ("films/01.dcm", 1, "patient-1"),
    ]
    assert found.images[1].facts == {"sex": "M"}
    assert found.per_class == {"NORMAL": 4, "PNEUMONIA": 4}
    assert found.unusable == ()
    assert found.images[0].digest == hashlib.sha256((archive.folder / "films/00.dcm").read_bytes()).hexdigest()


def test_a_cell_that_a_program_wrote_as_nan_is_empty_and_one_of_none_is_not(archive: Archive) -> None:
    archive.rows[0]["sex"], archive.rows[1]["sex"], archive.rows[2]["sex"] = "NaN", "nan", "none"
    assert [image.facts["sex"] for image in archive.read().images[:4]] == ["", "", "none", "M"]


def test_the_table_itself_may_be_given_and_may_come_from_a_spreadsheet(archive: Archive) -> None:
    archive.write(encoding="utf-8-sig")
    assert len(find_images(archive.folder / "labels.csv", CLASSES).images) == 8


def test_rows_without_a_value_are_none(archive: Archive) -> None:
    table = archive.write() / "labels.csv"
    table.write_text(table.read_text() + ",,,\n , ,,\n")
    found = find_images(archive.folder, CLASSES)
    assert (len(found.images), found.unusable) == (8, ())


def test_images_are_found_by_their_uid(archive: Archive) -> None:
    by_file = archive.read()
    for row in archive.rows:
        row["sop_instance_uid"] = str(dcmread(archive.folder / row.pop("file")).SOPInstanceUID)
    by_uid = archive.read()
    assert sorted(i.path for i in by_uid.images) == sorted(i.path for i in by_file.images)
    archive.rows[3]["sop_instance_uid"] = "1.2.3"
    assert [reason for _, reason in archive.read().unusable] == [f"no image with this UID lies below {archive.folder}"]


def test_what_is_learned_from_is_what_is_served(archive: Archive, tmp_path: Path) -> None:
    """The very tensor that the engine makes of the same file."""
    card = read_card(fakes.make_model(tmp_path / "model"))
    for image in archive.read().images[:3]:
        (served,) = images_of(scan([image.path]))
        spec = card.inputs[0]
        expected = encode(read_frame(served), spec).tensors[spec.name]
        np.testing.assert_array_equal(prepare(image.read(), card.preprocessing).tensor, expected)


def test_pictures_may_stand_in_the_table(archive: Archive) -> None:
    Image.fromarray(np.uint8([[0, 77]])).save(archive.folder / "a.png")
    archive.rows[0]["file"] = "a.png"
    image = archive.read().images[0]
    assert image.name == "a.png"
    assert image.read().max() == 77


def test_the_digest_follows_labels_patients_and_splits(archive: Archive) -> None:
    before = archive.read().digest
    assert archive.read().digest == before
    archive.rows[0]["patient"] = "somebody-else"
    assert archive.read().digest != before
    archive.rows[0]["patient"] = "patient-0"
    archive.rows[0]["label"] = "PNEUMONIA"
    assert archive.read().digest != before


def test_the_tables_own_split_is_kept(archive: Archive) -> None:
    for number, row in enumerate(archive.rows):
        row["split"] = SPLITS[number % 4]
    where = splits_of(archive.read(), seed=0)
    assert where == {f"patient-{n}": SPLITS[n % 4] for n in range(8)}


def unusable(row, **changes):
    row.update(changes)


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        (lambda a: unusable(a.rows[2], file="films/99.dcm"), "films/99.dcm", "cannot be read (No such file"),
        (lambda a: unusable(a.rows[2], label=""), "films/02.dcm", "row 4 has no label"),
        (lambda a: unusable(a.rows[2], label="NaN"), "films/02.dcm", "row 4 has no label"),
        (lambda a: unusable(a.rows[2], patient=""), "films/02.dcm", "row 4 has no patient"),
        (lambda a: unusable(a.rows[2], file=""), "row 4", "row 4 names no file"),
        (lambda a: unusable(a.rows[2], sha256="0" * 64), "films/02.dcm", "is not the file that was labelled"),
        (lambda a: unusable(a.rows[2], file="labels.csv"), "labels.csv", "is neither a DICOM image nor"),
        (lambda a: unusable(a.rows[2], sop_instance_uid="1.2.3"), "films/02.dcm", "another SOP Instance UID"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(archive: Archive, change, name: str, reason: str) -> None:
    change(archive)
    found = archive.read()
    assert len(found.images) == 7
    assert len(found.unusable) == 1
    assert found.unusable[0][0] == name
    assert reason in found.unusable[0][1]


def test_a_right_digest_is_accepted(archive: Archive) -> None:
    for row in archive.rows:
        row["sha256"] = hashlib.sha256((archive.folder / row["file"]).read_bytes()).hexdigest().upper()
    assert archive.read().unusable == ()


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_corrupt_image_is_named_when_it_is_decoded(archive: Archive, keep: float) -> None:
    path = archive.folder / "films/03.dcm"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    seen: list[str] = []
    found = keep_decodable(archive.read(), lambda image, _: seen.append(image.name))
    assert "films/03.dcm" not in seen
    assert len(seen) == len(found.images) == 7
    assert [name for name, _ in found.unusable] == ["films/03.dcm"]


def test_an_image_with_damage_inside_is_named(archive: Archive) -> None:
    """Its stream has an end mark, and its decoder fills what is missing."""
    film = archive.folder / "films/03.dcm"
    whole = imagecodecs.jpeg8_encode(np.random.default_rng(8).integers(0, 256, (64, 64), dtype=np.uint8))
    half = bytes(whole[: len(whole) // 2]).rstrip(b"\xff") + b"\xff\xd9"
    write_compressed(film, half, JPEGBaseline8Bit, make_dataset(np.zeros((64, 64), np.uint8)))
    found = keep_decodable(archive.read(), lambda *_: None)
    assert found.unusable == (("films/03.dcm", "The file does not hold its whole image."),)


def test_values_that_are_no_numbers_are_named(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.zeros((4, 4), np.float32)
    grey[1, 2] = np.nan
    images = archive.read().images
    monkeypatch.setattr(reading, "to_grey", lambda _: grey)
    with pytest.raises(InputError, match="values that are not numbers"):
        images[0].read()


def test_an_image_in_colour_is_named(archive: Archive) -> None:
    write_dataset(archive.folder / "films/05.dcm", make_dataset(np.zeros((8, 8, 3), np.uint8)))
    found = keep_decodable(archive.read(), lambda *_: None)
    assert [name for name, _ in found.unusable] == ["films/05.dcm"]
    assert "in colour" in found.unusable[0][1]


def drop(rows, column):
    for row in rows:
        row.pop(column, None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: a.rows.append(dict(a.rows[0])), r"Rows 2 and 10 of labels.csv name the same image films/00.dcm"),
        (lambda a: unusable(a.rows[4], file="films/../films/00.dcm"), "Rows 2 and 6 of labels.csv name the same image"),
        (lambda a: unusable(a.rows[4], label="Pneumonia"), "Row 6 of labels.csv has the unknown label 'Pneumonia'"),
        (lambda a: [r.update(label="NORMAL") for r in a.rows], "class 'PNEUMONIA'.*no usable image"),
        (lambda a: drop(a.rows, "patient"), "has no column patient"),
        (lambda a: drop(a.rows, "file"), "has no column file or sop_instance_uid"),
        (lambda a: unusable(a.rows[0], split="train"), "Row 3 of labels.csv has no split while others have one"),
        (lambda a: [r.update(split="test") for r in a.rows], "Row 2 of labels.csv has the unknown split 'test'"),
        (
            lambda a: (
                [r.update(split=("train", "tune")[i], patient="one") for i, r in enumerate(a.rows[:2])]
                + [r.update(split="report") for r in a.rows[2:]]
            ),
            "Rows 2 and 3 of labels.csv put one patient into train and tune",
        ),
    ],
)
def test_a_table_that_contradicts_itself_is_one_sentence(archive: Archive, change, sentence: str) -> None:
    change(archive)
    with pytest.raises(InputError, match=sentence):
        archive.read()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file,label,patient,Label\na.dcm,NORMAL,p,PNEUMONIA\n", "labels.csv has two columns label"),
        ("file,label,patient\na.dcm,NORMAL,Doe, Jane\n", "Row 2 of labels.csv has more values than there are columns"),
    ],
)
def test_a_table_of_which_a_value_would_be_lost_is_refused(archive: Archive, text: str, sentence: str) -> None:
    (archive.folder / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        find_images(archive.folder, CLASSES)


def test_a_table_that_is_none_is_one_sentence(archive: Archive) -> None:
    (archive.folder / "labels.csv").write_bytes(b"file,label,patient\n\xff\xfe\x00,a,b\n")
    with pytest.raises(InputError, match="no CSV file in UTF-8"):
        find_images(archive.folder, CLASSES)
    with pytest.raises(InputError, match="cannot be read"):
        find_images(archive.folder / "other.csv", CLASSES)


def test_images_are_made_when_asked_for_and_some_are_kept() -> None:
    made: list[int] = []

    def make(number: int) -> np.ndarray:
        made.append(number)
        return np.full((2, 2), number, np.uint8)

    images = Mapped([5, 6, 7], make, keep_bytes=8)
    assert made == []
    assert [int(image[0, 0]) for image in images] == [5, 6, 7]
    assert [int(image[0, 0]) for image in images[1:]] == [6, 7]
    assert int(images[-1][0, 0]) == 7
    assert made == [5, 6, 7, 7, 7]
    with pytest.raises(IndexError):
        images[3]


def test_grey_as_bytes() -> None:
    np.testing.assert_array_equal(as_bytes(np.array([[0.0, 0.5, 1.0, 2.0]], np.float32)), [[0, 128, 255, 255]])
    grey = np.array([[3, 200]], np.uint8)
    assert as_bytes(grey) is grey


def test_the_parts_of_an_archive_are_read_when_they_are_needed(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from medviewer.training import parts as reading
    from medviewer.training.parts import learned_from, read_parts

    monkeypatch.setattr(reading, "N_NEIGHBOURS", 2)
    for number, row in enumerate(archive.rows):
        row["split"] = SPLITS[number // 2]
    told: list[str] = []
    found, parts = read_parts(archive.write(), CLASSES, 0, told.append)
    assert told == ["train 2, block 2, tune 2, report 2"]
    used = learned_from(parts, 32)
    assert set(used) == {"train", "tune", "block"}
    square = used["train"].pixels[1]
    assert square.shape == (32, 32)
    assert square.dtype == np.float32
    step = {"op": "resize", "rows": 32, "columns": 32}
    np.testing.assert_array_equal(square, prepare(found.images[1].read(), [step]).tensor[0])
    np.testing.assert_array_equal(parts["report"].pixels[0], found.images[6].read())
    # One class in validation: nobody can be told apart from anybody.
    archive.rows[4]["label"] = archive.rows[5]["label"] = "NORMAL"
    with pytest.raises(InputError, match=r"Too few patients: the part 'tune'.*lacks a class, PNEUMONIA"):
        read_parts(archive.write(), CLASSES, 0, told.append)


def test_the_same_film_of_two_patients_in_two_parts_is_refused(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from medviewer.training import parts as reading
    from medviewer.training.parts import read_parts

    monkeypatch.setattr(reading, "N_NEIGHBOURS", 2)
    for number, row in enumerate(archive.rows):
        row["split"] = SPLITS[number // 2]
    found = archive.read()
    copied = replace(found.images[7], digest=found.images[1].digest)
    broken = replace(found, images=(*found.images[:7], copied))
    from medviewer.training.parts import split_parts

    with pytest.raises(InputError, match=r"films/01.dcm and films/07.dcm are the same image of two patients"):
        split_parts(broken, [image.read() for image in broken.images], 0)
    assert read_parts(archive.folder, CLASSES, 0, lambda _: None)

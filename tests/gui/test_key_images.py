"""Key images in the window: one key, a mark on the image and on its series."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt

from medviewer.gui.corner_text import corners, fidelity
from medviewer.gui.print_sheet import head_of
from tests.dicom_maker import AXIAL, make_dataset, write_dataset
from tests.gui.reader import Reader
from tests.key_objects import write_document
from tests.presentations import write_state

MARK = "★ Key image"


@pytest.fixture
def reader(main_window: Any, qtbot: Any, tmp_path: Path) -> Reader:
    images = [make_dataset(SOPInstanceUID=f"2.25.5{n}", ImagePositionPatient=[0, 0, n], **AXIAL) for n in range(1, 5)]
    for number, image in enumerate(images):
        write_dataset(tmp_path / f"{number}.dcm", image)
    write_document(tmp_path / "bad.dcm", images[0], code=("113001", "Rejected for Quality Reasons"))
    reader = Reader(main_window, qtbot)
    main_window.app.run_command("file.open_folder", tmp_path)
    reader.settle()
    main_window.app.run_command("image.first")
    return reader


def below(reader: Reader) -> tuple[str, ...]:
    return corners(reader.state, None).bottom_left


def row_keys(reader: Reader) -> list[int]:
    return [row.keys for row in reader.window.studies.rows.rows if row.selection is not None]


def list_as_seen(reader: Reader) -> bytes:
    """The pixels of the series list, once its thumbnail is there."""
    reader.wait(lambda: any(reader.window.studies._pictures.values()))
    reader.settle()
    image = reader.window.studies.list.grab().toImage()
    return bytes(image.constBits())


def test_one_key_marks_and_the_mark_is_seen(reader: Reader) -> None:
    reader.key(Qt.Key.Key_Down)
    before = list_as_seen(reader)
    reader.key(Qt.Key.Key_K)
    reader.settle()
    assert MARK in below(reader)
    assert row_keys(reader) == [1]
    assert list_as_seen(reader) != before
    (series,) = (row for row in reader.window.studies.rows.rows if row.selection is not None)
    assert "key images: 1" in series.words
    reader.key(Qt.Key.Key_Down)
    assert MARK not in below(reader)
    reader.key(Qt.Key.Key_K, Qt.KeyboardModifier.ShiftModifier)
    assert MARK in below(reader)
    reader.key(Qt.Key.Key_K)
    reader.settle()
    assert MARK not in below(reader)
    assert row_keys(reader) == [0]
    assert list_as_seen(reader) == before


def test_marking_keeps_the_chosen_row(reader: Reader) -> None:
    chosen = reader.window.studies.list.currentIndex().row()
    reader.key(Qt.Key.Key_K)
    reader.settle()
    assert reader.window.studies.list.currentIndex().row() == chosen >= 0


def test_a_document_that_selects_images_is_called_so(reader: Reader) -> None:
    (row,) = (row for row in reader.window.studies.rows.rows if row.kind == "document")
    assert row.words == "Rejected for Quality Reasons\nImage selection"


def test_an_image_that_a_document_rejects_says_so(reader: Reader) -> None:
    said = dict(fidelity(reader.state, None))
    assert said["rejected by a document: Rejected for Quality Reasons"] is True
    reader.key(Qt.Key.Key_Down)
    assert not any("document" in words for words, _ in fidelity(reader.state, None))


def test_no_text_of_a_file_names_the_patient_once_identity_is_hidden(
    main_window: Any, qtbot: Any, tmp_path: Path
) -> None:
    """Also in pictures, films and pages without identity, which are drawn so."""
    words = {
        "PatientName": "Alpha^Anna",
        "PatientID": "A77",
        "SeriesDescription": "Knee of Alpha",
        "StudyDescription": "A77 knee",
    }
    image = make_dataset(SOPInstanceUID="2.25.51", ImagePositionPatient=[0, 0, 1], **AXIAL, **words)
    write_dataset(tmp_path / "1.dcm", image)
    write_document(tmp_path / "ko.dcm", image, code=("113000", "For Anna's surgeon"))
    write_state(tmp_path / "pr.dcm", image, ContentLabel="ALPHA_ANNA A77")
    reader = Reader(main_window, qtbot)
    reader.open(tmp_path)
    reader.settle()
    main_window.app.run_command("view.next_presentation")
    reader.settle()

    def said(state: Any) -> str:
        corner = (line for lines in astuple(corners(state, None)) for line in lines)
        return " ".join((*corner, *(line for line, _ in fidelity(state, None)), *head_of(state, [state]))).lower()

    assert "alpha" in said(reader.state)
    assert "surgeon" in said(reader.state)
    hidden = said(replace(reader.state, identity_hidden=True))
    assert "surgeon" in hidden
    assert "knee" in hidden
    assert not [name for name in ("alpha", "anna", "a77") if name in hidden]

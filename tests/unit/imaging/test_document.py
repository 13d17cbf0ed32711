"""What is read instead of looked at lies in its study, of its patient, exactly once."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medviewer.domain.errors import InputError, TruncatedError
from medviewer.imaging import tags
from medviewer.imaging.document import opened_document
from medviewer.imaging.index import FILE_NAME, HeaderIndex
from medviewer.imaging.layout import scan_header
from medviewer.imaging.pdf import read_pdf_bytes
from medviewer.imaging.report_text import read_report
from medviewer.imaging.scan import documents_of, images_of, scan
from tests.dicom_maker import make_dataset, write_dataset
from tests.document_maker import item, make_pdf, shipped, the_document, write_pdf, write_report


def test_reports_and_waveforms_that_packages_ship_are_found_by_kind(tmp_path: Path) -> None:
    for name in ("reportsi.dcm", "test-SR.dcm", "waveform_ecg.dcm"):
        shutil.copy(shipped(name), tmp_path)
    collection = scan([tmp_path])
    assert {d.path.name: d.kind for d in documents_of(collection)} == {
        "reportsi.dcm": "report", "test-SR.dcm": "report", "waveform_ecg.dcm": "waveform",
    }  # fmt: skip
    assert collection.problems == ()
    assert sorted(collection.shown) == sorted(tmp_path.iterdir())
    for document in documents_of(collection):
        said = dcmread(document.path)
        assert document.sop_instance_uid == said.SOPInstanceUID
        assert document.sop_class_uid == said.SOPClassUID
        assert document.modality == said.Modality


def test_a_document_lies_beside_the_images_of_its_study_and_of_no_other_patient(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a.dcm", make_dataset())
    write_pdf(tmp_path / "b.dcm", make_pdf())
    write_pdf(tmp_path / "c.dcm", make_pdf(2), PatientID="T2", PatientName="Other^Person")
    collection = scan([tmp_path])
    own, other = sorted(collection.patients, key=lambda patient: patient.patient_id)
    (study,) = own.studies
    assert [d.path.name for d in study.documents] == ["b.dcm"]
    assert [i.path.name for i in images_of(collection)] == ["a.dcm"]
    assert [d.path.name for s in other.studies for d in s.documents] == ["c.dcm"]
    assert other.studies[0].series == ()
    assert (study.documents[0].title, study.documents[0].date) == ("Discharge letter", "20240131")


def test_documents_are_in_order_of_their_time(tmp_path: Path) -> None:
    write_pdf(tmp_path / "a.dcm", make_pdf(), ContentTime="180000")
    write_pdf(tmp_path / "b.dcm", make_pdf(), ContentTime="070000")
    assert [d.path.name for d in documents_of(scan([tmp_path]))] == ["b.dcm", "a.dcm"]


def test_a_folder_that_is_known_opens_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_pdf(folder / "a.dcm", make_pdf())
    write_report(folder / "b.dcm", item("TEXT", "Finding", TextValue="Nothing"))
    shutil.copy(shipped("waveform_ecg.dcm"), folder)
    monkeypatch.setattr("medviewer.imaging.index._FRESH_S", -60.0)  # else such new files are not kept
    first = scan([folder], index=tmp_path / FILE_NAME)
    monkeypatch.setattr("medviewer.imaging.scan.scan_header", _must_not_read)
    second = scan([folder], index=tmp_path / FILE_NAME)

    def told(collection: object) -> list[tuple[object, ...]]:
        return [(d.path, d.kind, d.title, d.key, d.date, d.time) for d in documents_of(collection)]  # type: ignore[arg-type]

    assert told(second) == told(first)
    assert len(told(second)) == 3


def _must_not_read(path: Path, _parse: object) -> None:
    raise AssertionError(path)


def test_the_index_keeps_where_payloads_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pdf(tmp_path / "a.dcm", make_pdf())
    monkeypatch.setattr("medviewer.imaging.index._FRESH_S", -60.0)
    with HeaderIndex(tmp_path / FILE_NAME) as index:
        read = index.header(path, scan_header)
    with HeaderIndex(tmp_path / FILE_NAME) as index:
        assert index.header(path, _must_not_read) == read  # type: ignore[arg-type]
    assert read.dataset.payloads


def test_a_header_holds_no_payload(tmp_path: Path) -> None:
    """A PDF of many megabytes must not lie in memory, nor in the index, because its folder was opened."""
    header = scan_header(write_pdf(tmp_path / "a.dcm", make_pdf() + b" " * 2**20))
    assert sum(map(len, header.dataset.values.values())) < 1000


@pytest.mark.parametrize("cut", [10, 300])
def test_half_a_document_is_refused(tmp_path: Path, cut: int) -> None:
    whole = write_pdf(tmp_path / "a.dcm", make_pdf(3)).read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[:-cut])
    collection = scan([tmp_path])
    assert collection.shown == ()
    assert [(p.status, p.reason.split(":")[0]) for p in collection.problems] == [
        ("refused", "The document is incomplete")
    ]


def test_an_exact_copy_is_named_and_shown_once(tmp_path: Path) -> None:
    shutil.copy(write_pdf(tmp_path / "a.dcm", make_pdf()), tmp_path / "b.dcm")
    collection = scan([tmp_path])
    assert len(list(documents_of(collection))) == 1
    assert [p.reason.split(",")[0] for p in collection.problems] == ["An exact copy of a.dcm"]


def test_another_object_at_the_path_is_not_taken_for_the_document(tmp_path: Path) -> None:
    document = the_document(write_pdf(tmp_path / "a.dcm", make_pdf()))
    write_pdf(tmp_path / "a.dcm", make_pdf(2), PatientName="Other^Person")
    with pytest.raises(InputError, match="Another file lies there now"), opened_document(document):
        pass


def test_a_document_that_shrank_since_is_refused(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.dcm", make_pdf())
    document = the_document(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TruncatedError):
        read_pdf_bytes(document)


def test_a_report_that_shrank_since_is_refused(tmp_path: Path) -> None:
    """Half of it may say the opposite of the whole."""
    path = write_report(tmp_path / "a.dcm", item("TEXT", "Finding", TextValue="No fracture. " * 20))
    document = the_document(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TruncatedError, match="incomplete by now"):
        read_report(document)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_small_payload_is_left_where_it_lies_too(tmp_path: Path, syntax: str) -> None:
    path = write_dataset(tmp_path / "a.dcm", dcmread(write_pdf(tmp_path / "b.dcm", make_pdf())), syntax)
    assert tags.ENCAPSULATED_DOCUMENT not in scan_header(path).dataset.values
    assert read_pdf_bytes(the_document(path)) == make_pdf()


def test_a_document_in_an_archive_is_read_where_it_was_unpacked(tmp_path: Path) -> None:
    data = make_pdf()
    path = write_pdf(tmp_path / "a.dcm", data)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(path, "in/a.dcm")
    collection = scan([tmp_path / "x.zip"])
    (document,) = documents_of(collection)
    assert document.path == tmp_path / "x.zip" / "in" / "a.dcm"
    assert read_pdf_bytes(document) == data
    collection.release()


def test_other_objects_without_pixels_are_named_as_before(tmp_path: Path) -> None:
    shutil.copy(shipped("rtplan.dcm"), tmp_path)
    collection = scan([tmp_path])
    assert not list(documents_of(collection))
    assert [problem.status for problem in collection.problems] != []

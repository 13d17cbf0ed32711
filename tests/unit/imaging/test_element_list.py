"""Every element of a file is listed as pydicom reads it; damage is said where it is and stops none of the rest."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from medviewer.domain.errors import InputError, MedViewerError, NotDicomError, Stopped
from medviewer.domain.progress import StopToken
from medviewer.imaging import element_list
from medviewer.imaging.element_list import Element, list_elements
from medviewer.imaging.element_values import tag_text
from tests import samples
from tests.dicom_maker import make_dataset, write_dataset
from tests.reference.dicom_files import corpus_files, package_files

TEXTS = {"AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "SH", "ST", "TM", "UI", "UT"}
NUMBERS = {"US", "SS", "UL", "SL", "FD"}


def flat(elements: Iterable[Element]) -> Iterator[Element]:
    for element in elements:
        yield element
        for item in element.items:
            yield from flat(item)


def by_keyword(path: Path) -> dict[str, Element]:
    return {e.keyword or tag_text(e.tag): e for e in flat(list_elements(path).elements)}


def code(meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = "1", "99T", meaning
    return made


@pytest.mark.parametrize("syntax", ["", ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_values_are_listed_whatever_the_encoding(tmp_path: Path, syntax: str) -> None:
    pixels = np.zeros((4, 4), np.uint8)
    dataset = make_dataset(
        pixels, WindowCenter=[40.5, -60], ImageType=["ORIGINAL", "PRIMARY"], ViewCodeSequence=Sequence([code("frontal")]),
        SpecificCharacterSet="ISO_IR 192", StudyDescription="胸部", RegionLocationMinX0=7, SmallestImagePixelValue=3,
    )  # fmt: skip
    dataset.add_new(0x00090010, "LO", "ACME")
    dataset.add_new(0x00091001, "UN", b"\x01\x02secret")
    path = write_dataset(tmp_path / "a.dcm", dataset, syntax) if syntax else write_dataset(tmp_path / "a.dcm", dataset)
    found = by_keyword(path)
    assert found["WindowCenter"].value == "40.5\\-60.0"
    assert found["StudyDescription"].value == "胸部"
    assert found["CodeMeaning"].value == "frontal"
    assert len(found["ViewCodeSequence"].items) == 1
    assert (found["Rows"].value, found["Rows"].representation) == ("4", "US")
    assert (found["RegionLocationMinX0"].value, found["SmallestImagePixelValue"].value) == ("7", "3")
    assert found["PixelData"].value == " ".join(["00"] * 16)
    assert found["PixelData"].size == 16
    assert found["(0009,1001)"].value.startswith("01 02 73")
    assert found["TransferSyntaxUID"].value
    assert not [e for e in found.values() if e.damage]


def test_a_private_element_that_the_dictionary_knows_has_its_name(tmp_path: Path) -> None:
    dataset = make_dataset()
    dataset.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    dataset.add_new(0x0019100C, "IS", "1000")
    found = by_keyword(write_dataset(tmp_path / "a.dcm", dataset, ImplicitVRLittleEndian))
    known = found["(0019,100C)"]
    assert (known.name, known.representation, known.value) == ("B_value", "IS", "1000")


def test_hidden_characters_are_spelled_out(tmp_path: Path) -> None:
    dataset = make_dataset(SpecificCharacterSet="ISO_IR 192", PatientName="A\u202eB")
    assert by_keyword(write_dataset(tmp_path / "a.dcm", dataset))["PatientName"].value == "A⟨U+202E⟩B"


def damaged(tmp_path: Path, change: bytes, to: bytes) -> Path:
    dataset = make_dataset(ViewCodeSequence=Sequence([code("frontal")]), StudyDescription="before")
    path = write_dataset(tmp_path / "a.dcm", dataset)
    content = path.read_bytes()
    assert content.count(change) == 1
    path.write_bytes(content.replace(change, to))
    return path


def test_an_element_too_long_for_its_item_does_not_hide_what_follows(tmp_path: Path) -> None:
    meaning = b"\x08\x00\x04\x01LO"
    found = by_keyword(damaged(tmp_path, meaning + b"\x08\x00", meaning + b"\xff\x00"))
    assert found["CodeMeaning"].damage == element_list.PAST_END
    assert found["PixelData"].size == 128
    assert found["StudyDescription"].value == "before"


def test_a_sequence_of_no_items_does_not_hide_what_follows(tmp_path: Path) -> None:
    tag = b"\x54\x00\x20\x02SQ\x00\x00"
    path = damaged(tmp_path, tag, tag)
    content = path.read_bytes()
    at = content.index(tag) + 12
    path.write_bytes(content[:at] + b"\x01\x02\x03\x04" + content[at + 4 :])
    found = by_keyword(path)
    assert found["ViewCodeSequence"].damage == element_list.NO_ITEM
    assert "PixelData" in found


def test_an_element_that_reaches_past_the_file_is_damaged_and_the_last(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "a.dcm", make_dataset())
    path.write_bytes(path.read_bytes()[:-20])
    found = by_keyword(path)
    assert found["PixelData"].damage == element_list.PAST_END
    assert found["PixelData"].size == 128


def test_numbers_whose_length_does_not_fit_are_damaged(tmp_path: Path) -> None:
    rows = b"\x28\x00\x10\x00US"
    found = by_keyword(damaged(tmp_path, rows + b"\x02\x00\x08\x00", rows + b"\x01\x00\x08"))
    assert found["Rows"].damage == element_list.WRONG_LENGTH
    assert "PixelData" in found


def test_deep_nesting_ends_in_words_and_not_in_an_error(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "a.dcm", make_dataset())
    sequence = b"\x54\x00\x20\x02SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(path.read_bytes() + sequence * 5_000)
    listed = list_elements(path)
    assert any(e.damage == element_list.TOO_DEEP for e in flat(listed.elements))


def test_very_many_elements_are_cut_and_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(element_list, "MAX_LISTED", 50)
    items = Sequence([code(str(n)) for n in range(200)])
    listed = list_elements(write_dataset(tmp_path / "a.dcm", make_dataset(ViewCodeSequence=items)))
    assert listed.is_cut
    assert len(list(flat(listed.elements))) <= 50


def test_long_values_are_cut_and_the_text_of_all_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dataset(tmp_path / "a.dcm", make_dataset(ImageComments="x" * 9_000))
    assert by_keyword(path)["ImageComments"].value == "x" * 2_048 + " …"
    monkeypatch.setattr(element_list, "MAX_TEXT", 100)
    assert sum(len(e.value) for e in flat(list_elements(path).elements) if e.representation in TEXTS) < 400


def test_another_object_at_the_path_is_not_listed_as_this_one(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "a.dcm", make_dataset(SOPInstanceUID="1.2.3"))
    assert list_elements(path, sop_instance_uid="1.2.3").elements
    with pytest.raises(InputError, match="has changed"):
        list_elements(path, sop_instance_uid="1.2.4")


def test_what_is_no_dicom_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    with pytest.raises(NotDicomError):
        list_elements(tmp_path / "a.png")
    with pytest.raises(InputError):
        list_elements(tmp_path / "gone.dcm")


def test_reading_can_be_stopped(tmp_path: Path) -> None:
    stop = StopToken()
    stop.stop()
    with pytest.raises(Stopped):
        list_elements(write_dataset(tmp_path / "a.dcm", make_dataset()), stop)


def test_every_element_that_may_tell_who_somebody_is_is_marked(tmp_path: Path) -> None:
    nested = Dataset()
    nested.PatientID, nested.ReferringPhysicianName = "QZX13", "QZX14"
    dataset = make_dataset(
        PatientName="Qzx^Anna", PatientID="QZX12345", PatientBirthDate="19400305", AccessionNumber="QZX3",
        InstitutionName="WARD QZ", InstitutionAddress="WARD Q", ReferringPhysicianName="WARD6", OperatorsName="WARD7",
        StudyID="WARD8", StationName="WARD9", ImageComments="WARD10", DeviceSerialNumber="WARD11",
        SeriesDescription="chest of Qzx", StudyDescription="chest", RequestedProcedureID="WARD15",
        ReferencedPatientSequence=Sequence([nested]), StudyInstanceUID="2.25.777",
        PerformedProcedureStepDescription="WARD16", AdmissionID="WARD17", IssuerOfPatientID="QZX18",
    )  # fmt: skip
    dataset.add_new(0x00090010, "LO", "ACME QZX19")
    dataset.add_new(0x00091001, "LO", "WARD 12")
    shown = [e for e in flat(list_elements(write_dataset(tmp_path / "a.dcm", dataset)).elements) if not e.is_identity]
    told = " ".join(e.value for e in shown).upper()
    assert "QZX" not in told
    assert "WARD" not in told
    assert "19400305" not in told
    assert "2.25.777" not in told
    kept = {e.keyword: e.value for e in shown}
    assert kept["StudyDescription"] == "chest"
    assert {"Modality", "Rows", "SOPClassUID", "TransferSyntaxUID", "PixelData"} <= set(kept)


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=12), st.integers(0, 2_000))
def test_mutated_files_are_listed_or_named(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.dcm"
    dataset = make_dataset(ViewCodeSequence=Sequence([code("frontal"), code("lateral")]), WindowCenter=[1, 2])
    content = bytearray(write_dataset(path, dataset).read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    path.write_bytes(bytes(content[: len(content) - cut % 200]))
    try:
        listed = list_elements(path)
    except MedViewerError:
        return
    assert all(isinstance(e.value, str) for e in flat(listed.elements))


def test_files_that_kill_decoders_are_listed() -> None:
    folder = samples.beside_corpus("faults")
    if folder is None:
        pytest.skip("no corpus here")
    listed = 0
    for path in sorted(folder.glob("*.dcm")):
        try:
            assert len(list_elements(path).elements) > 10, path.name
        except NotDicomError:
            continue
        listed += 1
    assert listed


def compare(path: Path) -> int:
    """Compare with pydicom; gives the number of elements that were compared."""
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(path, force=True)
    listed = list_elements(path)
    compared = 0
    own = [e for e in listed.elements if e.tag >> 16 != 2]
    assert [e.tag for e in own] == [int(e.tag) for e in dataset if int(e.tag) >> 16 != 2], path.name
    for theirs, ours in zip((e for e in dataset if int(e.tag) >> 16 != 2), own, strict=True):
        if ours.value.endswith("…") or theirs.tag.is_private or ours.representation != theirs.VR:
            continue
        if theirs.VR == "SQ":
            assert len(theirs.value) == len(ours.items)
        elif theirs.VR in TEXTS and not ours.value.isascii():
            continue  # pydicom leaves some character sets alone
        elif theirs.VR in NUMBERS | TEXTS:
            assert ours.value.replace(" ", "") == written(theirs.value).replace(" ", ""), (path.name, theirs.tag)
        compared += 1
    return compared


def written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, pydicom.multival.MultiValue | list):
        return "\\".join(written(v) for v in value)
    original = getattr(value, "original_string", None)
    text = original if isinstance(original, str) else str(value)
    return "".join(chr(0x2400 + ord(c)) if ord(c) < 0x20 else c for c in text)


WELL_MADE = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "examples_overlay.dcm", "test-SR.dcm", "JPEG2000.dcm")


@pytest.mark.parametrize("name", WELL_MADE)
def test_the_list_is_pydicoms(name: str) -> None:
    path = next((p for p in package_files() if p.name == name), None)
    if path is None:
        pytest.skip("not in this version of pydicom")
    assert compare(path) > 2


@pytest.mark.slow
def test_every_file_of_packages_and_corpus_is_listed() -> None:
    for path in (*package_files(), *corpus_files()):
        try:
            listed = list_elements(path)
        except MedViewerError:
            continue
        assert not listed.is_cut or len(list(flat(listed.elements))) > 10_000, path.name
        for element in flat(listed.elements):
            assert len(element.value) < 30_000, path.name
            assert struct.pack(">I", element.tag)

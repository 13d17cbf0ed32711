"""A structured report is read whole, in its order, with the words that stand in it; hostile ones are refused or cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from medviewer.domain.errors import InputError
from medviewer.domain.report import ImageReference, Report
from medviewer.imaging import report_text
from medviewer.imaging.report_text import read_report
from tests import samples
from tests.document_maker import code, image_item, item, shipped, the_document, write_report


def read(path: Path) -> Report:
    return read_report(the_document(path))


def walked(dataset: Dataset, depth: int = 0) -> Iterator[tuple[int, Any]]:
    """The content items as pydicom has them."""
    for one in dataset.get("ContentSequence", ()):
        yield depth, one
        yield from walked(one, depth + 1)


def real_reports() -> list[Path]:
    found = [shipped(name) for name in ("reportsi.dcm", "reportsi_with_empty_number_tags.dcm", "test-SR.dcm")]
    folder = samples.corpus()
    return found + (sorted((folder / "highdicom").glob("sr_*.dcm")) if folder is not None else [])


@pytest.mark.parametrize("path", real_reports(), ids=lambda p: p.name)
def test_every_item_of_a_real_report_is_there_in_order(path: Path) -> None:
    said = list(walked(dcmread(path)))
    report = read(path)
    assert report.left_out == ""
    assert [one.depth for one in report.items] == [depth for depth, _ in said]
    assert [one.relationship for one in report.items] == [one.RelationshipType for _, one in said]
    for shown, (_, one) in zip(report.items, said, strict=True):
        if "ConceptNameCodeSequence" in one:
            assert shown.concept == one.ConceptNameCodeSequence[0].CodeMeaning
        kind = one.get("ValueType", "")
        if kind == "TEXT":
            assert shown.value.split() == one.TextValue.split()
        elif kind == "CODE":
            assert shown.value == one.ConceptCodeSequence[0].CodeMeaning
        elif kind == "NUM":
            assert shown.value.startswith(str(one.MeasuredValueSequence[0].NumericValue.original_string))
        elif kind == "UIDREF":
            assert shown.value == one.UID
        elif kind == "PNAME":
            assert set(shown.value.split()) == set(str(one.PersonName).replace("^", " ").split())
        elif kind == "IMAGE":
            assert shown.image is not None
            assert shown.image.sop_instance_uid == one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        elif kind == "CONTAINER":
            assert shown.kind == "section"


def test_every_kind_of_value_is_in_words(tmp_path: Path) -> None:
    unit = {"MeasuredValueSequence": [measured("12.50", code("millimeter", "mm", "UCUM"))]}
    shape = {"GraphicType": "POINT", "GraphicData": [10.5, 20.0]}
    path = write_report(
        tmp_path / "a.dcm",
        item("NUM", "Diameter", **unit),
        item("NUM", "Ratio", MeasuredValueSequence=[measured("0.5", code("no units", "1", "UCUM"))]),
        item("NUM", "Density", MeasuredValueSequence=[measured("40", code("Hounsfield unit", "[hnsf'U]", "UCUM"))]),
        item("NUM", "Missing", NumericValueQualifierCodeSequence=[code("Not a number", "114000", "DCM")]),
        item("DATE", "Seen", Date="20240229"),
        item("TIME", "At", Time="070809.5"),
        item("DATETIME", "Done", DateTime="20240229070809+0100"),
        item("SCOORD", "Place", **shape),
        item("TCOORD", "When", TemporalRangeType="POINT", ReferencedSamplePositions=[17]),
        item("CODE", "Finding", ConceptCodeSequence=[code("", "X1", "99TEST")]),
        item("TABLE", "Later"),
    )
    assert [(one.concept, one.value) for one in read(path).items] == [
        ("Diameter", "12.50 mm"),
        ("Ratio", "0.5"),
        ("Density", "40 HU"),
        ("Missing", "(Not a number)"),
        ("Seen", "2024-02-29"),
        ("At", "07:08:09"),
        ("Done", "2024-02-29 07:08:09 +0100"),
        ("Place", "POINT (10.5, 20) px"),
        ("When", "POINT samples 17"),
        ("Finding", "X1 (99TEST)"),
        ("Later", "(TABLE: not shown)"),
    ]


def measured(number: str, unit: Dataset) -> Dataset:
    made = Dataset()
    made.NumericValue = number
    made.MeasurementUnitsCodeSequence = [unit]
    return made


def test_flags_verifiers_and_template_are_told(tmp_path: Path) -> None:
    observer, template = Dataset(), Dataset()
    observer.VerifyingObserverName, observer.VerificationDateTime = "Reader^Rita", "20240131"
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2000"
    report = read(
        write_report(
            tmp_path / "a.dcm", item("TEXT", "Finding", TextValue="None"), CompletionFlag="COMPLETE",
            VerificationFlag="VERIFIED", VerifyingObserverSequence=[observer], ContentTemplateSequence=[template],
        )
    )  # fmt: skip
    assert (report.title, report.completion, report.verification) == ("Radiology Report", "COMPLETE", "VERIFIED")
    assert report.verifiers == (("Reader^Rita", "20240131"),)
    assert report.template == "TID 2000 (DCMR)"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_all_ways_of_writing_read_the_same(tmp_path: Path, syntax: str) -> None:
    image = image_item("1.2.3", 4, 5)
    report = read(write_report(tmp_path / "a.dcm", item("TEXT", "Finding", image, TextValue="None"), syntax=syntax))
    assert next((one.depth, one.concept, one.value) for one in report.items) == (0, "Finding", "None")
    assert report.items[1].image == ImageReference("1.2.3", (4, 5))


def test_a_long_text_keeps_its_lines_and_its_end(tmp_path: Path) -> None:
    text = "\r\n".join(f"Line {number}\tof many" for number in range(2000))
    (shown,) = read(write_report(tmp_path / "a.dcm", item("TEXT", "Finding", TextValue=text))).items
    assert len(text) > 20_000
    assert shown.value.split("\n") == [
        f"Line {n}".ljust(len(f"Line {n}") // 4 * 4 + 4) + "of many" for n in range(2000)
    ]


def test_a_text_beyond_all_measure_says_that_it_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_text, "MOST_TEXT_BYTES", 100)
    (shown,) = read(write_report(tmp_path / "a.dcm", item("TEXT", "Finding", TextValue="word " * 100))).items
    assert len(shown.value) < 200
    assert shown.value.endswith("(cut: the text is longer than is shown here)")


@pytest.mark.parametrize(("charset", "text"), [("ISO_IR 192", "肺炎 · größer"), ("GB18030", "肺炎")])
def test_text_is_in_the_character_set_of_the_file(tmp_path: Path, charset: str, text: str) -> None:
    written = item("TEXT", "Finding", TextValue=text)
    (shown,) = read(write_report(tmp_path / "a.dcm", written, SpecificCharacterSet=charset)).items
    assert shown.value == text


def test_direction_marks_and_controls_are_spelled_out(tmp_path: Path) -> None:
    written = item("TEXT", "Finding", TextValue="left\u202ethgir\x07")
    (shown,) = read(write_report(tmp_path / "a.dcm", written, SpecificCharacterSet="ISO_IR 192")).items
    assert shown.value == "left⟨U+202E⟩thgir␇"


def test_an_item_that_is_pointed_at_is_named(tmp_path: Path) -> None:
    link = Dataset()
    link.RelationshipType, link.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 1, 1]
    nowhere = Dataset()
    nowhere.RelationshipType, nowhere.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 9]
    group = item("CONTAINER", "Findings", item("TEXT", "Nodule", TextValue="12 mm"))
    report = read(write_report(tmp_path / "a.dcm", group, item("TEXT", "Conclusion", link, nowhere, TextValue="Grows")))
    assert [one.value for one in report.items if one.kind == "link"] == [
        "see Nodule: 12 mm",
        "(refers to an item that is not there)",
    ]


def test_who_somebody_is_is_marked(tmp_path: Path) -> None:
    report = read(
        write_report(
            tmp_path / "a.dcm",
            item("PNAME", "Physician", PersonName="Doctor^Dora"),
            item("TEXT", code("Subject ID", "121030", "DCM"), TextValue="T1"),
            item("DATE", code("Subject Birth Date", "121031", "DCM"), Date="19700101"),
            item("TEXT", "Finding", TextValue="None"),
        )
    )
    assert [one.kind for one in report.items] == ["identity", "identity", "identity", "value"]


def deep(levels: int) -> Dataset:
    inner = item("TEXT", "End", TextValue="here")
    for _ in range(levels):
        inner = item("CONTAINER", "Level", inner)
    return inner


def nested_bytes(levels: int) -> bytes:
    """Content sequences of undefined length within each other, written by hand: pydicom cannot go so deep."""
    begin = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return begin * levels + end * levels


def test_a_deep_report_is_read(tmp_path: Path) -> None:
    report = read(write_report(tmp_path / "a.dcm", deep(40)))
    assert len(report.items) == 41
    assert report.items[-1].value == "here"


def test_a_report_a_thousand_levels_deep_is_one_sentence(tmp_path: Path) -> None:
    from medviewer.imaging.scan import scan

    path = write_report(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes() + nested_bytes(1000))
    (problem,) = scan([path]).problems
    assert "nested deeper than 64 levels" in problem.reason


def test_a_report_with_more_items_than_are_shown_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_text, "MOST_ITEMS", 10)
    items = [item("TEXT", "Finding", TextValue=str(number)) for number in range(11)]
    report = read(write_report(tmp_path / "a.dcm", *items))
    assert len(report.items) == 10
    assert report.left_out == "The report is longer than is shown here: only its first 10 items are."
    assert read(write_report(tmp_path / "b.dcm", *items[:10])).left_out == ""


def test_an_empty_report_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The report is empty"):
        read(write_report(tmp_path / "a.dcm"))

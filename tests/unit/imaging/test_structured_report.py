"""What the structured report says, to whom it belongs, and when there must be none."""

from __future__ import annotations

import errno
import os
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom
import pytest
from highdicom._standard_utils import get_module_attribute_map
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medviewer import whole_file
from medviewer.domain.answer import Decision
from medviewer.domain.errors import InputError, StorageError, UsageError
from medviewer.imaging import derived_object
from medviewer.imaging.charset import decode_text
from medviewer.imaging.derived_object import PATIENT_AND_STUDY, can_carry, now_at
from medviewer.imaging.scan import images_of, scan
from medviewer.imaging.structured_report import write_structured_report
from tests.answers import (
    AGE_WARNING,
    EFFUSION,
    PNEUMONIA,
    make_abstention,
    make_answer,
    make_attribution,
    make_radiograph,
)

FINDING, PROBABILITY, THRESHOLD, COMMENT = "121071", "122157", "122411", "121106"


def report(tmp_path: Path, source: Any = None, answer: Any = None, **options: Any) -> pydicom.Dataset:
    source = source or make_radiograph(tmp_path / "source.dcm")
    path = tmp_path / "finding.sr.dcm"
    write_structured_report(source, answer or make_answer(), path=path, **options)
    return pydicom.dcmread(path)


def items(dataset: pydicom.Dataset, code: str) -> list[pydicom.Dataset]:
    """Every content item with that concept name, at any depth, in order."""
    found = []
    for item in dataset.get("ContentSequence", []):
        if item.ConceptNameCodeSequence[0].CodeValue == code:
            found.append(item)
        found += items(item, code)
    return found


def number(item: pydicom.Dataset) -> float:
    return float(item.MeasuredValueSequence[0].NumericValue)


def comments(dataset: pydicom.Dataset) -> str:
    return "\n".join(item.TextValue for item in items(dataset, COMMENT))


def test_says_probability_threshold_and_flag(tmp_path: Path) -> None:
    found = report(tmp_path)
    probabilities = items(found, PROBABILITY)
    assert number(probabilities[0]) == pytest.approx(0.873)
    assert probabilities[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert [number(p) for p in probabilities[1:]] == [pytest.approx(0.81), pytest.approx(0.92)]
    assert number(items(found, THRESHOLD)[0]) == pytest.approx(0.41)
    [finding] = items(found, FINDING)
    assert finding.ConceptCodeSequence[0].CodeValue == "233604007"
    assert finding.ConceptCodeSequence[0].CodingSchemeDesignator == "SCT"
    [flag] = items(found, "233604007")
    assert flag.ConceptCodeSequence[0].CodeValue == "flagged"


def test_what_nobody_calibrated_is_never_called_a_probability(tmp_path: Path) -> None:
    sr = report(tmp_path, answer=make_answer(calibration={"method": "none", "on": "nothing"}))
    assert items(sr, PROBABILITY) == []
    assert number(items(sr, "network-output")[0]) == pytest.approx(PNEUMONIA.probability)
    said = [item.TextValue for item in items(sr, COMMENT)]
    assert "The number is the network's own output, no probability." in said
    assert "The probability is calibrated." not in said


def test_what_the_model_denied_is_no_finding(tmp_path: Path) -> None:
    found = report(tmp_path, answer=make_answer(PNEUMONIA, EFFUSION))
    assert [f.ConceptCodeSequence[0].CodeValue for f in items(found, FINDING)] == ["233604007"]
    assert items(found, "60046008")[0].ConceptCodeSequence[0].CodeValue == "not-flagged"
    only_denied = report(tmp_path, answer=make_answer(EFFUSION))
    assert items(only_denied, FINDING) == []
    assert number(items(only_denied, PROBABILITY)[0]) == pytest.approx(0.07)


@pytest.mark.reliability
@pytest.mark.parametrize(
    "answer", [make_abstention(), make_answer(status="abstained"), replace(make_answer(), findings=())]
)
def test_an_abstention_writes_nothing(tmp_path: Path, answer: Any) -> None:
    with pytest.raises(UsageError, match="no finding to report"):
        report(tmp_path, answer=answer)
    assert not (tmp_path / "finding.sr.dcm").exists()


def test_tells_that_it_is_research_what_the_guards_said_and_how_far_to_believe(tmp_path: Path) -> None:
    attribution = make_attribution(96, 80, error=0.031, error_name="Completeness gap")
    found = report(tmp_path, attributions=[attribution])
    text = comments(found)
    assert "AI result - research use only - not for diagnosis" in text
    assert AGE_WARNING.text in text
    assert "age.outside: warn" in text
    assert "Children of 1 to 5 years in one hospital." in text
    assert "Better than 97% of random maps." in text
    assert "Completeness gap: 0.031" in text
    assert "Finds 95 of 100." in text
    assert found.SeriesDescription == "AI result - research use only - not for diagnosis"
    assert (found.VerificationFlag, found.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_names_the_model_as_the_observer(tmp_path: Path) -> None:
    path = tmp_path / "finding.sr.dcm"
    report(tmp_path)
    document = hd.sr.srread(path)
    [context] = document.content.get_observer_contexts(observer_type=hd.sr.CodedConcept("121007", "DCM", "Device"))
    device = context.observer_identifying_attributes
    assert device.name == "Fake chest model"
    assert device.model_name == "fake-chest 1.2.3"
    assert device.serial_number == "ab" * 32
    [group] = document.content.get_image_measurement_groups()
    assert group.finding_type.value == "233604007"


def test_the_observer_follows_from_the_model_file_alone(tmp_path: Path) -> None:
    def uid(answer: Any) -> str:
        return str(items(report(tmp_path, answer=answer), "121012")[0].UID)

    again = replace(make_answer().provenance, input_sha256="ee" * 32, started="2026-01-01T00:00:00+00:00")
    other = replace(make_answer().provenance, model_sha256="ba" * 32)
    assert uid(make_answer()) == uid(make_answer(provenance=again))
    assert uid(make_answer()) != uid(make_answer(provenance=other))


def test_the_readers_decision_is_told_but_verifies_nothing(tmp_path: Path) -> None:
    decision = Decision("rejected", "No consolidation: 肿块", "2025-06-01T12:34:56+00:00")
    found = report(tmp_path, decision=decision)
    [kind] = items(found, "decision")
    assert kind.ConceptCodeSequence[0].CodeValue == "rejected"
    assert items(found, "decision-reason")[0].TextValue == "No consolidation: 肿块"
    when = items(found, "decision-time")[0].DateTime
    assert pydicom.valuerep.DT(when).astimezone(UTC) == datetime(2025, 6, 1, 12, 34, 56, tzinfo=UTC)
    assert found.VerificationFlag == "UNVERIFIED"
    assert items(report(tmp_path, decision=replace(decision, kind="withdrawn")), "decision") == []


def test_refuses_a_heat_map_of_another_answer(tmp_path: Path) -> None:
    for field in ("input_sha256", "model_sha256"):
        stranger = make_attribution(96, 80, provenance=replace(make_answer().provenance, **{field: "00" * 32}))
        with pytest.raises(UsageError, match="another answer"):
            report(tmp_path, attributions=[stranger])
        assert not (tmp_path / "finding.sr.dcm").exists()


def test_refers_to_the_image_and_to_its_frame(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    found = report(tmp_path, replace(source, frame=2, number_of_frames=5))
    [reference] = [i for i in items(found, "121112") if i.ValueType == "IMAGE"]
    assert reference.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source.sop_instance_uid
    assert reference.ReferencedSOPSequence[0].ReferencedFrameNumber == 3
    header = pydicom.dcmread(source.path)
    evidence = found.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == found.StudyInstanceUID == header.StudyInstanceUID
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == header.SeriesInstanceUID
    assert found.SeriesInstanceUID != header.SeriesInstanceUID


def test_two_reports_are_two_instances(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    first, second = report(tmp_path, source), report(tmp_path, source)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_the_copied_attributes_are_those_of_the_standards_modules() -> None:
    modules = get_module_attribute_map()
    expected = {
        attribute["keyword"]
        for name in ("patient", "clinical-trial-subject", "general-study", "patient-study", "clinical-trial-study")
        for attribute in modules[name]
        if not attribute["path"]
    }
    assert expected <= set(PATIENT_AND_STUDY)
    assert all(pydicom.datadict.tag_for_keyword(keyword) for keyword in PATIENT_AND_STUDY)


@pytest.mark.reliability
def test_patient_and_study_are_copied_and_nothing_is_invented(tmp_path: Path) -> None:
    other = pydicom.Dataset()
    other.PatientID, other.TypeOfPatientID = "B-7", "TEXT"
    source = make_radiograph(
        tmp_path / "source.dcm",
        PatientSex=None, PatientBirthDate="", StudyTime=None, ReferringPhysicianName=None, AccessionNumber="",
        PatientAge="064Y", StudyDescription="THORAX", OtherPatientIDsSequence=[other], IssuerOfPatientID="HOSP",
        PatientComments="", EthnicGroup="x", Allergies="Penicillin", ClinicalTrialSubjectID="T1",
    )  # fmt: skip
    found, header = report(tmp_path, source), pydicom.dcmread(source.path)
    for keyword in PATIENT_AND_STUDY:
        if keyword in header:
            assert found[keyword] == header[keyword], keyword
        elif keyword in found:
            assert found[keyword].is_empty, keyword
    assert "PatientSex" in found
    assert found.PatientSex in (None, "")


def test_a_value_that_breaks_the_rules_is_copied_as_it_is(tmp_path: Path) -> None:
    raw = {0x00100040: b"female", 0x00101010: b"64", 0x00080020: b"2024.06.01"}
    source = make_radiograph(tmp_path / "source.dcm", raw=raw)
    found = report(tmp_path, source)
    with pydicom.config.disable_value_validation():
        again = pydicom.dcmread(tmp_path / "finding.sr.dcm")
        assert (again.PatientSex, again.PatientAge, again.get_item("StudyDate").value) == (
            "female",
            "64",
            b"2024.06.01",
        )
    assert found.SOPInstanceUID


NAMES = {
    "GB18030": "Wang^XiaoDong=王^小东",
    "ISO_IR 192": "Müller^Jörg=王^小东",
    "ISO_IR 100": "Müller^Jörg",
    "ISO_IR 144": "Люкceмбypг",
    "ISO_IR 13": "ﾔﾏﾀﾞ^ﾀﾛｳ",
}


@pytest.mark.reliability
@pytest.mark.parametrize("character_set", NAMES)
def test_a_name_keeps_its_character_set_and_its_bytes(tmp_path: Path, character_set: str) -> None:
    codecs = {"ISO_IR 192": "utf-8", "GB18030": "gb18030", "ISO_IR 100": "latin-1", "ISO_IR 144": "iso8859-5"}
    name = NAMES[character_set].encode(codecs.get(character_set, "shift_jis"))
    source = make_radiograph(tmp_path / "source.dcm", SpecificCharacterSet=character_set, raw={0x00100010: name})
    found = report(tmp_path, source)
    assert found.SpecificCharacterSet == character_set
    assert found.get_item("PatientName").value.rstrip(b" ") == name
    assert str(found.PatientName) == NAMES[character_set]


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (["", "ISO 2022 IR 58"], b"Wang^XiaoDong=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab="),
        (["", "ISO 2022 IR 149"], b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7="),
        (["", "ISO 2022 IR 87"], b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B="),
        ("ISO_IR 100", "Müller^Jörg".encode("latin-1")),
        ("GB18030", "Wang=王^小东".encode("gb18030")),
        (None, "Wang=王^小东".encode()),
        (None, b"M\xfcller^J\xf6rg"),
    ],
)
def test_a_text_that_the_set_cannot_carry_makes_the_file_utf8_with_the_same_name(
    tmp_path: Path, character_set: Any, name: bytes
) -> None:
    source = make_radiograph(tmp_path / "source.dcm", SpecificCharacterSet=character_set, raw={0x00100010: name})
    decision = Decision("accepted", "Ω 肺炎 и ﬁ ü", "2025-06-01T12:34:56+00:00")
    found = report(tmp_path, source, decision=decision)
    sets = [character_set] if isinstance(character_set, str) else list(character_set or [])
    written = decode_text(found.get_item("PatientName").value, _as_sets(found.SpecificCharacterSet), "PN")
    expected = decode_text(name, sets, "PN")
    assert [part.rstrip("=") for part in written] == [part.rstrip("=") for part in expected]
    assert items(found, "decision-reason")[0].TextValue == decision.reason


def _as_sets(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


@pytest.mark.reliability
@pytest.mark.parametrize(
    "character_set", ["GB18030", ["", "ISO 2022 IR 58"], ["ISO 2022 IR 6", "ISO 2022 IR 149"], "NONSENSE", None]
)
def test_every_copied_text_is_the_same_bytes(tmp_path: Path, character_set: Any) -> None:
    raw = {
        0x00100010: b"Wang^XiaoDong=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab=",
        0x00081030: b"\x1b$)A\xd0\xa1\xb6\xab ",
        0x00104000: b"first\r\n\xb6\xab \xff\\x",
        0x00100020: b"\xff\x00",
    }
    raw = {tag: value + b" " * (len(value) % 2) for tag, value in raw.items()}
    source = make_radiograph(tmp_path / "source.dcm", SpecificCharacterSet="ISO_IR 100", raw=raw)
    if character_set != "ISO_IR 100":
        header = pydicom.dcmread(source.path)
        with pydicom.config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if character_set is None:
                del header.SpecificCharacterSet
            else:
                header.SpecificCharacterSet = character_set
            header.set_original_encoding(False, True, header._character_set)
            header.save_as(source.path)
    write_structured_report(source, make_answer(), path=tmp_path / "out.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written, header = pydicom.dcmread(tmp_path / "out.dcm"), pydicom.dcmread(source.path)
        for tag, value in raw.items():
            assert header.get_item(tag).value == value
            assert written.get_item(tag).value == value
        assert written.get("SpecificCharacterSet") == header.get("SpecificCharacterSet")


def test_names_inside_sequences_come_along(tmp_path: Path) -> None:
    inner = pydicom.Dataset()
    inner.SpecificCharacterSet = "GB18030"
    inner.InstitutionName = "医院"
    source = make_radiograph(
        tmp_path / "source.dcm",
        SpecificCharacterSet="ISO_IR 100", PatientName="Müller", ReferringPhysicianIdentificationSequence=[inner],
    )  # fmt: skip
    found = report(tmp_path, source)
    assert found.ReferringPhysicianIdentificationSequence[0].InstitutionName == "医院"
    assert str(found.PatientName) == "Müller"


SETS = [
    None,
    *NAMES,
    ["", "ISO 2022 IR 58"],
    ["ISO 2022 IR 100", "ISO 2022 IR 126"],
    ["ISO 2022 IR 13", "ISO 2022 IR 87"],
]


@settings(max_examples=200)
@given(st.text(max_size=12), st.sampled_from(SETS))
def test_what_a_set_is_said_to_carry_comes_back_the_same(text: str, character_set: Any) -> None:
    ds = pydicom.Dataset()
    ds.PatientComments = text
    if can_carry(character_set, ds):
        encodings = pydicom.charset.convert_encodings(character_set)
        written = pydicom.charset.encode_string(text, encodings)
        assert pydicom.charset.decode_string(written, encodings, set()) == text
        sets = [character_set] if isinstance(character_set, str) else list(character_set or [])
        if text.isprintable():
            assert decode_text(written, sets, "LT") == (text.strip(" "),)


def test_times_are_told_in_the_sources_zone(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm", TimezoneOffsetFromUTC="-0430")
    found = report(tmp_path, source)
    assert found.TimezoneOffsetFromUTC == "-0430"
    told = datetime.strptime(
        f"{found.ContentDate}{found.ContentTime}{found.TimezoneOffsetFromUTC}", "%Y%m%d%H%M%S.%f%z"
    )
    assert abs((datetime.now(UTC) - told).total_seconds()) < 300
    assert "TimezoneOffsetFromUTC" not in report(tmp_path, make_radiograph(tmp_path / "other.dcm"))


@pytest.mark.parametrize("offset", ["", "nonsense", "+9900", "0530"])
def test_a_zone_that_is_none_is_local_time(offset: str) -> None:
    header = pydicom.Dataset()
    header.add_new(0x00080201, "SH", offset)
    assert now_at(header).utcoffset() == datetime.now().astimezone().utcoffset()


@pytest.mark.reliability
def test_refuses_a_file_that_was_replaced(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    make_radiograph(tmp_path / "source.dcm", PatientName="Somebody^Else")
    with pytest.raises(InputError, match="replaced"):
        report(tmp_path, source)
    assert not (tmp_path / "finding.sr.dcm").exists()


@pytest.mark.reliability
def test_refuses_a_file_that_was_written_over_with_another_patient_under_its_uid(tmp_path: Path) -> None:
    uids = {name: f"2.25.{n}" for n, name in enumerate(("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"), 1)}
    path = make_radiograph(tmp_path / "source.dcm", PatientName="First^Person", **uids).path
    (source,) = images_of(scan([path]))
    report(tmp_path, source)
    (tmp_path / "finding.sr.dcm").unlink()
    make_radiograph(path, PatientName="Somebody^Else", **uids)
    with pytest.raises(InputError, match="replaced"):
        report(tmp_path, source)
    assert not (tmp_path / "finding.sr.dcm").exists()


def test_a_source_that_is_gone_or_broken_is_one_sentence(tmp_path: Path) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    source.path.write_bytes(b"nothing of DICOM here")
    with pytest.raises(InputError, match="open the study again"):
        report(tmp_path, source)
    source.path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        report(tmp_path, source)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_source_without_the_ids_to_refer_to_is_named(tmp_path: Path, keyword: str) -> None:
    source = make_radiograph(tmp_path / "source.dcm", **{keyword: None})
    with pytest.raises(InputError, match="no DICOM result can refer to it"):
        report(tmp_path, source)


@pytest.mark.parametrize("number_of_error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_a_full_disk_leaves_the_old_file_and_no_half_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number_of_error: int
) -> None:
    source = make_radiograph(tmp_path / "source.dcm")
    out = tmp_path / "out"
    out.mkdir()
    path = out / "finding.sr.dcm"
    path.write_bytes(b"the old one")

    def full(descriptor: int) -> None:
        raise OSError(number_of_error, os.strerror(number_of_error))

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(StorageError, match=r"finding.sr.dcm was not saved: .*; .*\.") as caught:
        write_structured_report(source, make_answer(), path=path)
    assert "\n" not in str(caught.value)
    assert [p.name for p in out.iterdir()] == ["finding.sr.dcm"]
    assert path.read_bytes() == b"the old one"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(probability=st.floats(0, 1), threshold=st.floats(0, 1))
def test_any_probability_comes_back(tmp_path: Path, probability: float, threshold: float) -> None:
    finding = replace(PNEUMONIA, probability=probability, threshold=threshold, stability=None)
    found = report(tmp_path, answer=make_answer(finding))
    assert number(items(found, PROBABILITY)[0]) == pytest.approx(probability, rel=1e-6, abs=1e-12)
    assert number(items(found, THRESHOLD)[0]) == pytest.approx(threshold, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("code", ["", "nonsense", "99LOCAL:1234", "SCT:"])
def test_a_code_that_nobody_can_look_up_becomes_our_own(tmp_path: Path, code: str) -> None:
    found = report(tmp_path, answer=make_answer(replace(PNEUMONIA, code=code)))
    concept = items(found, FINDING)[0].ConceptCodeSequence[0]
    assert concept.CodingSchemeDesignator == "99MEDVIEWER"
    assert concept.CodeMeaning == "pneumonia"


@pytest.mark.parametrize("code", ["SCT:254837009", "99LOCAL:1234"])
def test_a_code_has_the_meaning_that_its_scheme_gives_it(tmp_path: Path, code: str) -> None:
    """Our own code is for the label; somebody else's may not be given another meaning."""
    meaning = "Malignant neoplasm of breast"
    finding = replace(PNEUMONIA, label="Malignant", code=code, code_meaning=meaning)
    found = report(tmp_path, answer=make_answer(finding))
    concept = items(found, FINDING)[0].ConceptCodeSequence[0]
    assert concept.CodeMeaning == (meaning if code.startswith("SCT") else "Malignant")


def test_no_identity_reaches_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    report(tmp_path, make_radiograph(tmp_path / "source.dcm", PatientName="Unusual Name Without Carets"))
    assert "Unusual" not in caplog.text
    assert "4711" not in caplog.text
    assert str(tmp_path) not in caplog.text
    assert derived_object.BANNER

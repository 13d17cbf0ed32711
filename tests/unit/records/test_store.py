"""What is saved comes back, to the right patient and to no other."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.domain.answer import Decision, Subject
from medviewer.domain.case import Observation
from medviewer.domain.errors import RecordError
from medviewer.domain.study import Image, Patient, PixelDescription, Series, Stack, Study
from medviewer.records.audit import AuditEvent, AuditTrail
from medviewer.records.record import Allergy, Condition, Identifier, Medication, PatientRecord, StudyMark
from medviewer.records.rows import fold, searchable
from medviewer.records.store import RecordStore
from tests.unit.records.strategies import CJK, RECORDS

PATIENT = Patient("9RG1", "", "CompressedSamples^RG1", "19400305", "F")
RECORD = PatientRecord("imported", (Identifier("", "9RG1"),), "CompressedSamples^RG1", "1940-03-05", "F")
SUBJECT = Subject(("/films/a.dcm", "1.2.9", 0), "chest", "ab" * 32, "grad-cam", "Pneumonia")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    with RecordStore(tmp_path / "records.db") as opened:
        yield opened


def _study(uid: str = "1.2.3", date: str = "20040826", *paths: str) -> Study:
    description = PixelDescription("CR", 1, 1)
    images = tuple(Image(Path(path), 0, f"{uid}.{n}", description) for n, path in enumerate(paths or ("/films/a.dcm",)))
    return Study(uid, "THORAX", date, series=(Series(f"{uid}.1", "CR", stacks=(Stack(images),)),))


def _reading(value: float = 90.0, unit: str = "/min", hour: int = 9) -> Observation:
    return Observation("8867-4", "Heart rate", value, unit, datetime(2004, 8, 26, hour, tzinfo=UTC))


@pytest.fixture(scope="module")
def shared_store(quick_folder: Path) -> Iterator[RecordStore]:
    """One store for all examples of a property: each brings patients of its own."""
    with RecordStore(quick_folder / "shared.db") as opened:
        yield opened


@settings(max_examples=30)
@given(RECORDS)
def test_a_record_comes_back_as_it_was_saved(shared_store: RecordStore, record: PatientRecord) -> None:
    mine = uuid.uuid4().hex  # the same example may be tried twice
    identifiers = tuple(Identifier(i.system + mine, i.value + mine) for i in record.identifiers)
    record = replace(record, key=mine, identifiers=identifiers)
    saved = shared_store.save_record(record)
    assert saved == record
    assert [o.time.isoformat() for o in saved.observations] == [o.time.isoformat() for o in record.observations]
    assert shared_store.save_record(record) == record, "a second import must change nothing"
    assert all(shared_store.record_for(f" {i.value} ", i.system) == record for i in identifiers)


def test_a_patient_is_found_by_number_and_issuer_only(store: RecordStore) -> None:
    store.save_record(RECORD)
    assert store.record_for("9RG1") is not None
    assert store.record_for(" 9RG1 ") is not None  # DICOM pads with spaces
    assert store.record_for("9RG1", "Elsewhere") is None
    assert store.record_for("9rg1") is None
    assert store.record_for("CompressedSamples^RG1") is None
    assert store.record_for("") is None


def test_two_patients_of_one_name_and_birth_date_are_never_merged(store: RecordStore) -> None:
    store.save_record(replace(RECORD, allergies=(Allergy("Penicillin"),)))
    other = store.save_record(replace(RECORD, key="other", identifiers=(Identifier("", "9RG2"),)))
    elsewhere = store.save_record(replace(RECORD, key="third", identifiers=(Identifier("Elsewhere", "9RG1"),)))
    assert other.allergies is None
    assert elsewhere.allergies is None
    assert len({r.key for r in store.search("CompressedSamples")}) == 3


def test_a_taken_key_never_overwrites_another_patient(store: RecordStore) -> None:
    first = store.save_record(RECORD)
    second = store.save_record(replace(RECORD, identifiers=(Identifier("", "9RG2"),), name="Other^X"))
    assert second.key != first.key
    assert store.record_for("9RG1") == first


def test_a_second_import_adds_and_renews_and_loses_nothing(store: RecordStore) -> None:
    first = replace(
        RECORD,
        allergies=(Allergy("Penicillin", "SCT:91936005"),),
        conditions=(Condition("Gout", "SCT:1", "active", "2001"),),
        medications=(Medication("Amlodipine", "ATC:C08CA01", "active", "1996"),),
        observations=(_reading(), _reading(91.0, hour=10)),
    )
    second = replace(
        RECORD,
        key="newer",
        birth_date="1940",
        allergies=(Allergy("Latex"),),
        conditions=(Condition("Gout", "SCT:1", "resolved", "2001"),),
        observations=(_reading(91.0, hour=10), _reading(92.0, hour=11)),
    )
    store.save_record(first)
    merged = store.save_record(second)
    assert [a.text for a in merged.allergies or ()] == ["Penicillin", "Latex"]
    assert [c.clinical_status for c in merged.conditions or ()] == ["resolved"]
    assert [m.text for m in merged.medications or ()] == ["Amlodipine"]
    assert [o.value for o in merged.observations] == [90.0, 91.0, 92.0]
    assert merged.birth_date == "1940-03-05", "a less precise birth date must not replace a full one"
    assert store.record_for("9RG1") == merged


@pytest.mark.parametrize(
    ("known", "incoming", "kept"),
    [
        ("Doe^Jane", "Doe^Jane^Mary", "Doe^Jane^Mary"),
        ("Doe^Jane", "Doe", "Doe^Jane"),
        ("Zhang^Wei", "=张^伟", "Zhang^Wei=张^伟"),
        ("Zhang^Wei", "", "Zhang^Wei"),
        ("DOE^JANE", "Doe^Jane", "Doe^Jane"),
    ],
)
def test_a_name_never_loses_a_part_or_a_writing(store: RecordStore, known: str, incoming: str, kept: str) -> None:
    store.save_record(replace(RECORD, name=known))
    assert store.save_record(replace(RECORD, name=incoming)).name == kept


def test_none_known_never_removes_an_allergy(store: RecordStore) -> None:
    store.save_record(replace(RECORD, allergies=(Allergy("Penicillin"),)))
    assert store.save_record(replace(RECORD, allergies=())).allergies == (Allergy("Penicillin"),)
    assert store.save_record(replace(RECORD, allergies=None)).allergies == (Allergy("Penicillin"),)


def test_not_recorded_and_none_known_survive_the_store(store: RecordStore) -> None:
    assert store.save_record(RECORD).allergy_status == "not recorded"
    assert store.save_record(replace(RECORD, allergies=())).allergy_status == "none known"


@pytest.mark.parametrize("change", [{"name": "Doe^Jane"}, {"birth_date": "1941-03-05"}, {"sex": "M"}])
def test_one_number_with_two_people_is_refused_and_changes_nothing(store: RecordStore, change: dict[str, str]) -> None:
    before = store.save_record(replace(RECORD, observations=(_reading(),)))
    with pytest.raises(RecordError, match="another name, birth date or sex"):
        store.save_record(replace(RECORD, **change, observations=(_reading(55.0),)))
    assert store.record_for("9RG1") == before


def test_a_record_with_the_numbers_of_two_patients_is_refused(store: RecordStore) -> None:
    first = store.save_record(RECORD)
    second = store.save_record(replace(RECORD, identifiers=(Identifier("", "9RG2"),)))
    with pytest.raises(RecordError, match="two different stored patients"):
        store.save_record(replace(RECORD, identifiers=first.identifiers + second.identifiers))
    assert store.record_for("9RG1") == first
    assert store.record_for("9RG2") == second


def test_a_record_without_a_number_is_refused(store: RecordStore) -> None:
    with pytest.raises(RecordError, match="without an identifier"):
        store.save_record(replace(RECORD, identifiers=()))
    with pytest.raises(RecordError, match="identifier is empty"):
        store.save_record(replace(RECORD, identifiers=(Identifier("", ""),)))
    assert store.search("") == ()


def test_units_are_kept_as_they_were_given(store: RecordStore) -> None:
    given_units = ("mg/dL", "mmol/L", "umol/L", "mmHg", "")
    saved = store.save_record(replace(RECORD, observations=tuple(_reading(5.4, unit) for unit in given_units)))
    assert [(o.value, o.unit) for o in saved.observations] == [(5.4, unit) for unit in given_units]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_is_refused_whole(store: RecordStore, value: float) -> None:
    with pytest.raises(RecordError, match="not a finite number"):
        store.save_record(replace(RECORD, observations=(_reading(), _reading(value))))
    assert store.record_for("9RG1") is None


def test_markup_and_half_characters_in_names_stay_text(store: RecordStore) -> None:
    saved = store.save_record(replace(RECORD, name="<b>Doe</b>^<img src='file:///etc/passwd'>"))
    assert saved.name == "<b>Doe</b>^<img src='file:///etc/passwd'>"
    broken = store.save_record(replace(RECORD, identifiers=(Identifier("", "x\ud800"),), name="Doe^\udcff"))
    assert broken.name == "Doe^?"
    assert store.record_for("x\ud800") == broken


@settings(max_examples=30)
@given(
    st.lists(RECORDS, max_size=3),
    st.text(max_size=3)
    | CJK
    | st.sampled_from(["' OR 1=1--", "%", "_", "\\", '"', "*", "NEAR(", "\x00", "\n", ";DROP TABLE patient"]),
)
def test_search_equals_a_plain_filter(shared_store: RecordStore, records: list[PatientRecord], text: str) -> None:
    for record in records:
        mine = uuid.uuid4().hex
        identifiers = tuple(Identifier(i.system + mine, i.value) for i in record.identifiers)
        shared_store.save_record(replace(record, key=mine, identifiers=identifiers))
    stored = [PatientRecord(s.key, s.identifiers, s.name) for s in shared_store.search("")]
    assert len(stored) >= len(records)
    expected = {r.key for r in stored if any(fold(text) in fold(part) for part in searchable(r))}
    assert {s.key for s in shared_store.search(text)} == expected


def test_search_ignores_case_and_width_and_reads_chinese(store: RecordStore) -> None:
    store.save_record(replace(RECORD, name="Zhang^Xiaodong=张^小东"))
    for text in ("zhang", "ＺＨＡＮＧ", "张", "小东", "zhang xiaodong", "9rg"):
        assert len(store.search(text)) == 1, text
    assert store.search("%") == ()


def test_a_study_starts_a_record_and_an_import_completes_it(store: RecordStore) -> None:
    opened = store.add_study(PATIENT, _study())
    assert (opened.name, opened.birth_date, opened.sex) == ("CompressedSamples^RG1", "1940-03-05", "F")
    assert opened.allergy_status == "not recorded"
    assert opened.studies == (StudyMark("1.2.3", "2004-08-26", "CR", "THORAX"),)
    imported = store.save_record(replace(RECORD, allergies=(), studies=(StudyMark("1.2.1", "2002-11-14", "CR"),)))
    assert imported.key == opened.key
    assert [s.study_instance_uid for s in imported.studies] == ["1.2.1", "1.2.3"]
    assert store.record_for("9RG1") == imported


def test_opening_a_study_again_changes_nothing_but_its_place_among_the_recent(store: RecordStore) -> None:
    store.save_record(RECORD)
    first = store.add_study(PATIENT, _study("1.2.3"))
    store.add_study(PATIENT, _study("1.2.4"))
    assert [r.mark.study_instance_uid for r in store.recent_studies()] == ["1.2.4", "1.2.3"]
    again = store.add_study(PATIENT, _study("1.2.3"))
    assert [r.mark.study_instance_uid for r in store.recent_studies()] == ["1.2.3", "1.2.4"]
    assert set(again.studies) == {*first.studies, StudyMark("1.2.4", "2004-08-26", "CR", "THORAX")}
    assert len(store.recent_studies(limit=1)) == 1


def test_the_files_of_a_recent_study_are_kept(store: RecordStore) -> None:
    odd = "/films/\udcff name.dcm"  # a file name that is not text
    store.add_study(PATIENT, _study("1.2.3", "20040826", "/films/a.dcm", odd, "/films/a.dcm"))
    (recent,) = store.recent_studies()
    assert store.study_paths(recent.number) == (Path("/films/a.dcm"), Path(odd))
    assert store.study_paths(recent.number + 1) == ()


def test_a_study_that_contradicts_the_record_is_not_put_into_it(store: RecordStore) -> None:
    store.save_record(RECORD)
    stranger = replace(PATIENT, name="Doe^Jane", birth_date="19700101")
    record = store.add_study(stranger, _study("6.6.6"))
    assert store.mismatch(record, stranger)
    assert record.studies == ()
    assert [r.patient_name for r in store.recent_studies()] == ["Doe^Jane"]
    # The same study of the right patient must not be overwritten by, or overwrite, the stranger's.
    assert store.add_study(PATIENT, _study("6.6.6")).studies != ()
    assert len(store.recent_studies()) == 2


def test_studies_of_a_stranger_leave_the_record_when_the_import_tells_who_it_is_of(store: RecordStore) -> None:
    stranger = replace(PATIENT, name="Doe^Jane", birth_date="19700101", sex="F")
    assert store.add_study(stranger, _study("6.6.6")).studies != ()
    imported = store.save_record(RECORD)
    assert imported.name == RECORD.name
    assert imported.studies == ()
    assert store.save_record(RECORD).studies == ()


def test_records_known_from_images_join_the_imported_one(store: RecordStore) -> None:
    store.add_study(PATIENT, _study("1.2.3"))
    store.add_study(replace(PATIENT, patient_id="A-77", issuer="Elsewhere"), _study("1.2.4"))
    both = (Identifier("", "9RG1"), Identifier("Elsewhere", "A-77"))
    joined = store.save_record(replace(RECORD, identifiers=both))
    assert {s.study_instance_uid for s in joined.studies} == {"1.2.3", "1.2.4"}
    assert store.record_for("A-77", "Elsewhere") == joined
    assert len(store.search("")) == 1


def test_a_study_without_a_patient_id_belongs_to_no_record(store: RecordStore) -> None:
    record = store.add_study(replace(PATIENT, patient_id="  "), _study())
    assert record.identifiers == ()
    assert [s.study_instance_uid for s in record.studies] == ["1.2.3"]
    assert store.search("") == ()
    assert store.record_for("") is None
    assert len(store.recent_studies()) == 1


def test_answers_and_decisions_come_back_newest_first(store: RecordStore) -> None:
    store.save_answer(SUBJECT, '{"n": 1}')
    store.save_answer(SUBJECT, '{"n": 2}')
    store.save_decision(SUBJECT, Decision("accepted", "", "2026-01-01T00:00:00Z"))
    store.save_decision(SUBJECT, Decision("rejected", "rib, not lesion", "2026-01-02T00:00:00Z"))
    moved = ("/moved/b.dcm", "1.2.9", 0)
    assert [a.result_json for a in store.answers_for(moved)] == ['{"n": 2}', '{"n": 1}']
    assert [d.decision.kind for d in store.decisions_for("1.2.9")] == ["rejected", "accepted"]
    assert store.answers_for("1.2.9")[0].subject == SUBJECT


def test_results_of_another_frame_or_image_are_not_shown(store: RecordStore) -> None:
    store.save_answer(SUBJECT, "{}")
    unnamed = replace(SUBJECT, image_key=("/films/plain.png", "", 0))
    store.save_answer(unnamed, '{"unnamed": true}')
    assert store.answers_for(("/films/a.dcm", "1.2.9", 1)) == ()
    assert store.answers_for("1.2.90") == ()
    assert store.answers_for("") == ()
    assert store.answers_for(("/films/other.png", "", 0)) == ()
    assert [a.subject for a in store.answers_for(("/films/plain.png", "", 0))] == [unnamed]


def test_threads_may_write_and_read_at_once(store: RecordStore, tmp_path: Path) -> None:
    start = threading.Barrier(8)
    trail = AuditTrail(store.database, tmp_path / "audit")

    def work(n: int) -> None:
        start.wait()
        for i in range(5):
            store.save_answer(SUBJECT, f'{{"n": {n * 10 + i}}}')
            store.add_study(PATIENT, _study(f"1.{n}.{i}"))
            trail.append(AuditEvent("study.opened", "reader", str(n)))
            store.record_for("9RG1")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(store.answers_for("1.2.9")) == 40
    assert len((store.record_for("9RG1") or RECORD).studies) == 40
    assert len(trail.entries()) == 40
    assert trail.verify().ok


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "records.db")
    store.close()
    store.close()
    with pytest.raises(RecordError, match="closed"):
        store.recent_studies()
    with pytest.raises(RecordError, match="closed"):
        store.save_record(RECORD)

"""The store of patient records, opened studies and what models and readers said of them.

Patients are found by identifier and issuer, never by name: two people may
share a name. Every method may be called from any thread; when it returns,
what it saved is on the disk.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, select, update

from medviewer.domain.answer import Decision, Subject
from medviewer.domain.errors import RecordError
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import Measurement
from medviewer.domain.study import Patient, Study
from medviewer.records import identity, key_images, measurements, tables
from medviewer.records.database import DAMAGED, Database
from medviewer.records.key_images import StoredKeyMark
from medviewer.records.measurements import StoredMeasurement
from medviewer.records.merge import merge
from medviewer.records.record import Identifier, PatientRecord, StudyMark, iso_date
from medviewer.records.rows import checked, fold, read_own_facts, read_record, study_mark, well_formed, write_record

ImageReference = tuple[str, str, int] | str
"""An image's key (path, SOP Instance UID, frame), or a SOP Instance UID for all its frames."""


@dataclass(frozen=True, slots=True)
class RecordSummary:
    """A patient in a list of search results."""

    key: str
    name: str
    birth_date: str
    sex: str
    identifiers: tuple[Identifier, ...]
    is_sample: bool


@dataclass(frozen=True, slots=True)
class RecentStudy:
    """A study that was opened here; ``number`` gives its files through ``study_paths``."""

    number: int
    mark: StudyMark
    patient_name: str
    patient_id: str
    opened: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A result as it was saved. Before it is shown, its input digest must be compared with the image's."""

    subject: Subject
    result_json: str
    saved: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """What a reader decided about a result."""

    subject: Subject
    decision: Decision
    saved: str  # ISO 8601, UTC


class RecordStore:
    """Patient records in one SQLite file that survives kills, full disks and older versions of itself."""

    def __init__(self, path: Path) -> None:
        """Open the store at ``path``, making it (or migrating it, after a backup) if need be.

        Raises:
            StorageError: the place cannot be read or written.
            RecordError: the file is damaged, not ours, or of a newer MedViewer.
        """
        self.database = Database(path)

    def __enter__(self) -> RecordStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Closing twice is fine; using the store afterwards raises RecordError."""
        self.database.close()

    def save_record(self, record: PatientRecord) -> PatientRecord:
        """Save an imported record, merged with what is known under any of its identifiers.

        Importing the same thing twice changes nothing.

        Returns:
            The record as it is stored now; its key may differ from the one given.

        Raises:
            RecordError: the record has no identifier, has those of two stored patients,
                or contradicts the stored one; nothing was changed.
            StorageError: it could not be written; nothing was changed.
        """
        if not record.identifiers:
            raise RecordError("A patient without an identifier cannot be matched safely and was not saved.")
        stripped = (Identifier(i.system.strip(), i.value.strip()) for i in record.identifiers)
        record = replace(record, identifiers=tuple(dict.fromkeys(stripped)))
        with self.database.write() as connection:
            keys = list(dict.fromkeys(key for i in record.identifiers if (key := _key_of(connection, i)) is not None))
            if keys:
                record = _merged(connection, _joined(connection, keys), record)
            elif not record.key or read_record(connection, record.key) is not None:
                record = replace(record, key=_new_key())
            write_record(connection, record, is_imported=True)
            return _stored(connection, record.key)

    def record_for(self, patient_id: str, issuer: str = "") -> PatientRecord | None:
        """The record of the patient with that number from that issuer; None if there is none.

        A number without issuer matches only records whose number has no issuer:
        two hospitals may give the same number to different people.
        """
        found = identity.identifier_of(Patient(well_formed(patient_id), well_formed(issuer)))
        if found is None:
            return None
        with self.database.read() as connection:
            key = _key_of(connection, found)
            record = read_record(connection, key) if key is not None else None
        # A damaged file may name the wrong patient; to say so is better than to show them.
        if record is not None and found not in record.identifiers:
            raise RecordError(DAMAGED)
        return record

    def search(self, text: str) -> tuple[RecordSummary, ...]:
        """Every patient whose name or number contains the text (case and width do not matter), by name.

        The text is data, never a pattern: ``%``, ``_`` and quotes stand for themselves.
        """
        patient, identifier = tables.PATIENT, tables.IDENTIFIER
        matches = func.instr(patient.c.search_text, fold(text)) > 0
        owned = select(identifier).join(patient).where(matches).order_by(identifier.c.number)
        identifiers: dict[str, list[Identifier]] = {}
        with self.database.read() as connection:
            for found in connection.execute(owned):
                identifiers.setdefault(found.patient_key, []).append(Identifier(found.system, found.value))
            rows = connection.execute(select(patient).where(matches).order_by(patient.c.search_text, patient.c.key))
            return tuple(
                RecordSummary(r.key, r.name, r.birth_date, r.sex, tuple(identifiers.get(r.key, ())), r.is_sample)
                for r in rows
            )

    def add_study(self, patient: Patient, study: Study) -> PatientRecord:
        """Note that a study was opened, and return the patient's record with its mark on the timeline.

        The mark joins the record of the same identifier and issuer, or starts one.
        If image and record contradict each other (see :meth:`mismatch`), the study
        is listed among the recent ones but not in the record. Without a Patient ID
        nothing can be matched: the record returned holds this study alone.
        """
        found = identity.identifier_of(patient)
        mark = _mark(study)
        with self.database.write() as connection:
            key = None
            if found is not None:
                found = Identifier(well_formed(found.system), well_formed(found.value))
                key = _key_of(connection, found) or _start_record(connection, patient, found)
            _note_opened(connection, key, _header(patient, mark), study)
            if key is not None:
                return _stored(connection, key)
        return replace(_from_header("", patient), studies=(mark,))

    @staticmethod
    def mismatch(record: PatientRecord, patient: Patient) -> str:
        """One sentence if image and record contradict each other, else empty (see ``identity.mismatch``)."""
        return identity.mismatch(record, patient)

    def recent_studies(self, limit: int = 20) -> tuple[RecentStudy, ...]:
        """The studies opened last, newest first."""
        table = tables.OPENED_STUDY
        names = ("number", "study_instance_uid", "date", "modality", "description", "patient_name", "patient_id")
        query = select(*(table.c[name] for name in names), table.c.opened)
        with self.database.read() as connection:
            found = connection.execute(query.order_by(table.c.opened.desc(), table.c.number.desc()).limit(limit))
            rows = [checked(row, table) for row in found.mappings()]
        return tuple(
            RecentStudy(row["number"], study_mark(row), row["patient_name"], row["patient_id"], row["opened"])
            for row in rows
        )

    def study_paths(self, number: int) -> tuple[Path, ...]:
        """The files of a recent study, as they were when it was opened."""
        table = tables.OPENED_STUDY
        with self.database.read() as connection:
            found = connection.execute(select(table.c.paths_json).where(table.c.number == number)).scalar()
        return tuple(Path(str(path)) for path in _stored_json(found or "[]"))

    def save_answer(self, subject: Subject, result_json: str) -> None:
        """Keep a result; earlier ones of the same subject stay."""
        with self.database.write() as connection:
            values = {**_subject_values(subject), "result_json": well_formed(result_json), "saved": _now()}
            connection.execute(insert(tables.ANSWER).values(**values))

    def save_decision(self, subject: Subject, decision: Decision) -> None:
        """Keep what a reader decided; earlier decisions stay, the newest counts."""
        with self.database.write() as connection:
            said = {"reason": decision.reason, "time": decision.time, "value": decision.value}
            chosen = {"kind": decision.kind, **{name: well_formed(text) for name, text in said.items()}}
            connection.execute(insert(tables.DECISION).values(**_subject_values(subject), **chosen, saved=_now()))

    def answers_for(self, image: ImageReference) -> tuple[StoredAnswer, ...]:
        """What was saved for an image, newest first. The path matters only if there is no SOP Instance UID."""
        rows = self._about(tables.ANSWER, image)
        return tuple(StoredAnswer(_subject(row), row["result_json"], row["saved"]) for row in rows)

    def decisions_for(self, image: ImageReference) -> tuple[StoredDecision, ...]:
        """What readers decided about an image's results, newest first."""
        return tuple(
            StoredDecision(_subject(row), Decision(row["kind"], row["reason"], row["time"], row["value"]), row["saved"])
            for row in self._about(tables.DECISION, image)
        )

    def save_measurement(self, measurement: Measurement) -> None:
        """Keep a measurement, new or changed; earlier states stay in its history.

        Saving one that was deleted brings it back.

        Raises:
            RecordError: its UID is that of a measurement of another image or kind.
            StorageError: it could not be written; nothing was changed.
        """
        with self.database.write() as connection:
            measurements.add_state(connection, measurement, is_deleted=False)

    def delete_measurement(self, uid: str) -> None:
        """Take a measurement off its image; its history stays. Deleting it twice changes nothing.

        Raises:
            RecordError: there is no such measurement.
        """
        with self.database.write() as connection:
            history = measurements.history_of(connection, uid)
            if not history:
                raise RecordError("The measurement is not in the store, so it cannot be deleted: open the image again.")
            if not history[0].is_deleted:
                measurements.add_state(connection, history[0].measurement, is_deleted=True)

    def measurements_for(self, image: ImageReference) -> tuple[Measurement, ...]:
        """The measurements of an image or frame, in the order in which they were drawn, without deleted ones.

        They belong to the object, wherever its file lies: the path in a key does not matter, and
        an image without a SOP Instance UID has none.
        """
        sop_instance_uid, frame = (image, None) if isinstance(image, str) else image[1:]
        with self.database.read() as connection:
            return measurements.current_of(connection, sop_instance_uid, frame)

    def measurements_among(self, sop_instance_uids: Collection[str]) -> tuple[Measurement, ...]:
        """The measurements of any of some images, all frames, without deleted ones: one question for a whole study."""
        with self.database.read() as connection:
            return measurements.current_among(connection, sop_instance_uids)

    def measurement_history(self, uid: str) -> tuple[StoredMeasurement, ...]:
        """Every state that a measurement had, newest first; deletions among them."""
        with self.database.read() as connection:
            return measurements.history_of(connection, uid)

    def save_key_image(self, sop_instance_uid: str, frame: int, *, is_marked: bool, author: str = "") -> None:
        """Keep that a frame is a key image now, or is none any more; what it was before stays in its history.

        Raises:
            StorageError: it could not be written; nothing was changed.
        """
        with self.database.write() as connection:
            key_images.add_mark(connection, sop_instance_uid, frame, is_marked=is_marked, author=author)

    def key_images_among(self, sop_instance_uids: Collection[str]) -> frozenset[tuple[str, int]]:
        """Which frames of some images are key images, as (SOP Instance UID, frame)."""
        with self.database.read() as connection:
            return key_images.marked_among(connection, sop_instance_uids)

    def key_image_history(self, sop_instance_uid: str, frame: int) -> tuple[StoredKeyMark, ...]:
        """Every state that a frame had, newest first."""
        with self.database.read() as connection:
            return key_images.history_of(connection, sop_instance_uid, frame)

    def _about(self, table: Table, image: ImageReference) -> list[Any]:
        query = select(table).where(_is_image(table, image)).order_by(table.c.number.desc())
        with self.database.read() as connection:
            return [checked(row, table) for row in connection.execute(query).mappings()]


def _key_of(connection: Connection, identifier: Identifier) -> str | None:
    table = tables.IDENTIFIER
    matches = (table.c.system == well_formed(identifier.system)) & (table.c.value == well_formed(identifier.value))
    key: str | None = connection.execute(select(table.c.patient_key).where(matches)).scalar()
    return key


def _stored(connection: Connection, key: str) -> PatientRecord:
    record = read_record(connection, key)
    if record is None:
        raise LookupError("a record that was just written is not there")
    return record


def _merged(connection: Connection, key: str, incoming: PatientRecord) -> PatientRecord:
    table = tables.PATIENT
    is_imported = connection.execute(select(table.c.is_imported).where(table.c.key == key)).scalar()
    # Without the opened studies: they must go on being compared with whoever the record says it is.
    existing = read_own_facts(connection, key)
    if existing is None:
        raise LookupError("an identifier without its record")
    return merge(existing, incoming, trusts_existing_identity=bool(is_imported))


def _joined(connection: Connection, keys: list[str]) -> str:
    """The one record behind several identifiers; records known from image headers alone join the imported one."""
    table = tables.PATIENT
    imported = list(connection.execute(select(table.c.key).where(table.c.key.in_(keys), table.c.is_imported)).scalars())
    if len(imported) > 1:
        raise RecordError(
            "An imported patient has the numbers of two different stored patients and was not saved:"
            " correct the numbers at their source and import again."
        )
    kept = imported[0] if imported else keys[0]
    others = [key for key in keys if key != kept]
    for owned in (tables.OPENED_STUDY, tables.IDENTIFIER):
        connection.execute(update(owned).where(owned.c.patient_key.in_(others)).values(patient_key=kept))
    connection.execute(delete(table).where(table.c.key.in_(others)))
    return kept


def _start_record(connection: Connection, patient: Patient, identifier: Identifier) -> str:
    record = replace(_from_header(_new_key(), patient), identifiers=(identifier,))
    write_record(connection, record, is_imported=False)
    return record.key


def _from_header(key: str, patient: Patient) -> PatientRecord:
    sex = patient.sex.strip().upper()
    return PatientRecord(key, name=patient.name, birth_date=iso_date(patient.birth_date), sex=sex)


def _mark(study: Study) -> StudyMark:
    modality = "/".join(sorted({series.modality for series in study.series if series.modality}))
    parts = (study.study_instance_uid, iso_date(study.date), modality, study.description)
    return StudyMark(*(well_formed(part) for part in parts))


def _header(patient: Patient, mark: StudyMark) -> dict[str, str]:
    """The columns that tell one opened study from another, and its mark."""
    return {
        "study_instance_uid": mark.study_instance_uid,
        "date": mark.date,
        "modality": mark.modality,
        "description": mark.description,
        "patient_id": well_formed(patient.patient_id),
        "issuer": well_formed(patient.issuer),
        "patient_name": well_formed(patient.name),
        "birth_date": well_formed(patient.birth_date),
        "sex": well_formed(patient.sex),
    }


def _note_opened(connection: Connection, key: str | None, header: dict[str, str], study: Study) -> None:
    table = tables.OPENED_STUDY
    images = (image for series in study.series for stack in series.stacks for image in stack.images)
    values = {
        **header,
        "patient_key": key,
        "paths_json": json.dumps(list(dict.fromkeys(str(image.path) for image in images))),
        "opened": _now(),
    }
    identifying = ("study_instance_uid", "patient_id", "issuer", "patient_name", "birth_date", "sex")
    same = [table.c[name] == values[name] for name in identifying]
    if not connection.execute(update(table).where(*same).values(**values)).rowcount:
        connection.execute(insert(table).values(**values))


def _subject_values(subject: Subject) -> dict[str, Any]:
    path, sop_instance_uid, frame = subject.image_key
    return {
        "sop_instance_uid": well_formed(sop_instance_uid),
        "path_json": json.dumps(path),  # escapes what a path may hold and text may not
        "frame": frame,
        "model_id": subject.model_id,
        "model_sha256": subject.model_sha256,
        "method": subject.method,
        "finding": subject.finding,
    }


def _subject(row: Any) -> Subject:
    image_key = (str(_stored_json(row["path_json"])), row["sop_instance_uid"], row["frame"])
    return Subject(image_key, row["model_id"], row["model_sha256"], row["method"], row["finding"])


def _stored_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RecordError(DAMAGED) from error


def _is_image(table: Table, image: ImageReference) -> ColumnElement[bool]:
    if isinstance(image, str):
        return (table.c.sop_instance_uid == image) & (table.c.sop_instance_uid != "")
    path, sop_instance_uid, frame = image
    same_path = (table.c.sop_instance_uid == "") & (table.c.path_json == json.dumps(path))
    same_object = (table.c.sop_instance_uid == sop_instance_uid) & (table.c.sop_instance_uid != "")
    return (same_object if sop_instance_uid else same_path) & (table.c.frame == frame)


def _new_key() -> str:
    return uuid.uuid4().hex


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")

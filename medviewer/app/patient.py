"""The patient record beside the image: asked on selection, compared, and written in order off the GUI thread."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from medviewer.app.on_screen import identity_of, patient_beside_record
from medviewer.app.state import Stored
from medviewer.domain.answer import Answer, Attribution, Decision, Subject
from medviewer.domain.errors import MedViewerError, RecordError, StorageError
from medviewer.domain.measurement import Measurement
from medviewer.domain.study import Patient
from medviewer.records.record import PatientRecord
from medviewer.resources import resource

if TYPE_CHECKING:  # the store and what writes files take a while to load: the first image need not wait for them
    from medviewer.app.application import Application
    from medviewer.records.audit import AuditTrail
    from medviewer.records.store import RecordStore

SAMPLE_RECORD = "sample-record.json"


NO_RECORD: Mapping[str, object] = MappingProxyType(
    {"record": None, "record_mismatch": "", "record_problem": "", "record_of": ()}
)
"""The state while the store has not been asked about whoever is on screen."""


class RecordRoom:
    """Opens the record store and its audit trail when first needed, in the thread that needs them.

    The key and the anchor of the trail lie in a folder of their own, outside the store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._open: tuple[RecordStore, AuditTrail] | None = None

    def store(self) -> RecordStore:
        """The open store.

        Raises:
            StorageError: its place cannot be read or written.
            RecordError: the file is damaged or of a newer MedViewer.
        """
        return self._opened()[0]

    def note(self, what: str, subject: str = "", detail: str = "") -> None:
        """Add to the audit trail that the person at this computer did something.

        Raises:
            As :meth:`store`.
        """
        from medviewer.records.audit import AuditEvent  # noqa: PLC0415 - see the top

        self._opened()[1].append(AuditEvent(what, _reader(), subject, detail))

    def close(self) -> None:
        """Close the store if it was opened."""
        with self._lock:
            opened, self._open = self._open, None
        if opened is not None:
            opened[0].close()

    def _opened(self) -> tuple[RecordStore, AuditTrail]:
        from medviewer.records.audit import AuditTrail  # noqa: PLC0415 - see the top
        from medviewer.records.store import RecordStore  # noqa: PLC0415 - see the top

        with self._lock:
            if self._open is None:
                store = RecordStore(self._folder / "records.sqlite")
                self._open = (store, AuditTrail(store.database, self._folder / "audit"))
            return self._open


class Checked(NamedTuple):
    """What the store says of a patient."""

    record: PatientRecord | None
    mismatch: str


def check_record(app: Application, patient: Patient | None) -> None:
    """Find the record of the patient on screen, compare it, and note the studies in it; of nobody there is none."""
    if patient is None:
        return

    def work() -> Checked:
        return look_up(app.records, patient)

    def done(checked: Checked) -> None:
        if _is_shown(app, patient):
            app.session.update(
                record=checked.record,
                record_mismatch=checked.mismatch,
                record_problem="",
                record_of=identity_of(patient),
            )
            if checked.mismatch:
                _block(app)
            app.run_waiting()

    def failed(error: MedViewerError) -> None:
        # Without a store there is no record to be wrong beside: images and models stay usable.
        if _is_shown(app, patient):
            whose = identity_of(patient)
            app.session.update(record=None, record_mismatch="", record_problem=str(error), record_of=whose)
            app.run_waiting()

    app.write(work, done, failed)


def look_up(records: RecordRoom, patient: Patient) -> Checked:
    """The patient's record with the studies opened now, and whether image and record contradict each other."""
    store = records.store()
    record = store.record_for(patient.patient_id, patient.issuer)
    mismatch = store.mismatch(record, patient) if record is not None else ""
    for study in patient.studies:
        noted = store.add_study(patient, study)
        if not patient.patient_id.strip() and record is not None:
            # Nothing is kept under no number: what is returned holds this one study, and the others stay beside it.
            noted = replace(noted, studies=(*record.studies, *noted.studies))
        record = record if mismatch else noted
        records.note("study.opened", study.study_instance_uid, "mismatch with the record" if mismatch else "")
    return Checked(record, mismatch)


def import_sample_record(app: Application, then: Callable[[], None]) -> None:
    """Put the invented record of the sample study into the store, then go on.

    The study is opened even if the record cannot be had; the record panel says why.
    """

    def work() -> None:
        from medviewer.records.fhir import read_bundle  # noqa: PLC0415 - brings fhir.resources with it

        for record in read_bundle(sample_record()).records:
            app.records.store().save_record(record)

    def failed(error: MedViewerError) -> None:
        app.notify("caution", str(error))
        then()

    app.write(work, lambda _none: then(), failed)


def import_records(app: Application, paths: Sequence[str | Path] | None) -> None:
    """Bring patient records in from FHIR R4 files, asking for them if none are given.

    What cannot be used is counted and the first reason said; it never hides the rest.
    """
    chosen = [Path(p) for p in paths] if paths is not None else app.front.choose_files("Import patient records")
    if not chosen:
        return

    def done(outcome: tuple[int, list[str]]) -> None:
        count, reasons = outcome
        words = f"Patient records imported: {count}"
        left = f"; entries that could not be used: {len(reasons)}. {reasons[0]}" if reasons else "."
        app.notify("caution" if reasons else "info", words + left)
        check_record(app, patient_beside_record(app.state))

    def failed(error: MedViewerError) -> None:
        app.lose(error)
        check_record(app, patient_beside_record(app.state))  # some may have come in before that

    app.notify("info", "Importing…")
    app.write(lambda: _read_and_save(app.records, list(chosen)), done, failed)


def _read_and_save(records: RecordRoom, paths: Sequence[Path]) -> tuple[int, list[str]]:
    """How many records came in, and why others did not; what came in is in the trail however it ends."""
    came: list[PatientRecord] = []
    reasons: list[str] = []
    try:
        _save_each(records, paths, came, reasons)
    except MedViewerError:
        if came:
            with contextlib.suppress(MedViewerError):  # of the trail: why not all came in is what is said
                _note_import(records, came, reasons)
        raise
    _note_import(records, came, reasons)
    return len(came), reasons


def _note_import(records: RecordRoom, came: Sequence[PatientRecord], reasons: Sequence[str]) -> None:
    taken_back = sum(len(record.withdrawn) + len(record.deleted) + len(record.corrected) for record in came)
    entries = f", {taken_back} entries withdrawn, deleted or corrected" if taken_back else ""
    records.note("record.imported", detail=f"{len(came)} records, {len(reasons)} problems{entries}")


def _save_each(records: RecordRoom, paths: Sequence[Path], came: list[PatientRecord], reasons: list[str]) -> None:
    from medviewer.records.fhir import read_bundle  # noqa: PLC0415 - brings fhir.resources with it

    for path in paths:
        try:
            imported = read_bundle(path)
        except (RecordError, StorageError) as error:  # of this file: the others are not its fault
            reasons.append(str(error))
            continue
        reasons += [problem.reason for problem in imported.problems]
        for record in imported.records:
            try:
                records.store().save_record(record)
            except RecordError as error:
                reasons.append(str(error))
            else:
                came.append(record)


def sample_record() -> Path:
    """The invented record of the sample study.

    Raises:
        RecordError: the installation lacks it.
    """
    try:
        return resource(SAMPLE_RECORD)
    except FileNotFoundError as error:
        raise RecordError(str(error)) from error


def keep_answer(app: Application, subject: Subject, answer: Answer) -> None:
    """Keep an answer beside the record, as it would be saved in a file."""

    def work() -> None:
        from medviewer.app.results import answer_document  # noqa: PLC0415 - see the top

        document = answer_document(answer, (), is_in_audit_trail=None)
        app.records.store().save_answer(subject, json.dumps(document, ensure_ascii=False))
        app.records.note("model.run", subject.image_key[1], subject.model_id)

    app.write(work)


def keep_decision(
    app: Application,
    subject: Subject,
    decision: Decision,
    done: Callable[[], None],
    failed: Callable[[MedViewerError], None],
) -> None:
    """Keep what the reader decided; what was decided before stays in the store's history.

    ``done`` or ``failed`` says whether the store has it. The trail notes only what the store has; if that
    fails, it is said, but the decision is kept.
    """
    kept: list[Decision] = []

    def save() -> None:
        app.records.store().save_decision(subject, decision)
        kept.append(decision)

    def note() -> None:
        if kept:
            app.records.note(f"finding.{decision.kind}", subject.image_key[1], subject.model_id)

    app.write(save, lambda _none: done(), failed)
    app.write(note)


def keep_measurement(
    app: Application,
    measurement: Measurement,
    *,
    is_deleted: bool,
    done: Callable[[], None],
    failed: Callable[[MedViewerError], None],
) -> None:
    """Keep a measurement as it is now, or that it was deleted; the trail notes only what the store has."""
    kept: list[Measurement] = []

    def save() -> None:
        store = app.records.store()
        if is_deleted:
            store.delete_measurement(measurement.uid)
        else:
            store.save_measurement(measurement)
        kept.append(measurement)

    def note() -> None:
        if kept:
            what = "measurement.deleted" if is_deleted else "measurement.saved"
            app.records.note(what, measurement.sop_instance_uid, measurement.kind)

    app.write(save, lambda _none: done(), failed)
    app.write(note)


def keep_key_image(
    app: Application,
    where: Stored,
    *,
    is_marked: bool,
    done: Callable[[], None],
    failed: Callable[[MedViewerError], None],
) -> None:
    """Keep that an image is a key image now, or none any more; the trail notes only what the store has."""
    sop_instance_uid, frame = where
    kept: list[bool] = []

    def save() -> None:
        app.records.store().save_key_image(sop_instance_uid, frame, is_marked=is_marked, author=_reader())
        kept.append(is_marked)

    def note() -> None:
        if kept:
            app.records.note("key_image.marked" if is_marked else "key_image.unmarked", sop_instance_uid, str(frame))

    app.write(save, lambda _none: done(), failed)
    app.write(note)


def explained_words(attribution: Attribution) -> str:
    """What the audit trail says of an explanation: which model in which version, by which method, of which finding."""
    made_by = attribution.provenance
    return f"{made_by.model_id} {made_by.model_version} {attribution.method} {attribution.finding}"


def keep_event(app: Application, what: str, subject: str, detail: str = "") -> None:
    """Keep in the audit trail that something was done."""
    app.write(lambda: app.records.note(what, subject, detail))


def _reader() -> str:
    """Who sits at this computer, as the system names them."""
    import getpass  # noqa: PLC0415 - not before something is written

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def _block(app: Application) -> None:
    """Image and record contradict each other: nothing of a model may stand beside either."""
    app.wishes.run = None
    for slot in ("model", "explain", "compare"):
        app.jobs.stop(slot)


def _is_shown(app: Application, patient: Patient) -> bool:
    now = patient_beside_record(app.state)
    return now is not None and identity_of(now) == identity_of(patient)

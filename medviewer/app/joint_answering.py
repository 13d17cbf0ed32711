"""One question about several views, or an image and recorded values of the same patient, without a window."""

from __future__ import annotations

from dataclasses import replace

from medviewer.app.analysis import build_case
from medviewer.app.answering import Asking
from medviewer.app.result import Result
from medviewer.app.state import Selection
from medviewer.domain.errors import InputError
from medviewer.domain.frame import Frame
from medviewer.domain.progress import Progress, no_progress
from medviewer.domain.study import Patient
from medviewer.explain.methods import explain
from medviewer.inference.engine import Engine
from medviewer.records.identity import identifier_of, mismatch
from medviewer.records.record import PatientRecord


def check_same_patient(record: PatientRecord, patient: Patient) -> None:
    """Refuse a record that is not surely of the patient in the image, as the window does.

    It has the very number of the file from the very issuer, and nothing that both tell contradicts: names and
    birth dates that are alike make no patient.

    Raises:
        InputError: one sentence that says what is missing or contradicts, without a value.
    """
    identifier = identifier_of(patient)
    if identifier is None:
        raise InputError("The image holds no patient ID, so that no record can be said to be of the same patient.")
    if identifier not in record.identifiers:
        raise InputError(
            "The record does not hold the patient ID of the image with its issuer, so that it may be somebody else's; "
            "give the record of this patient."
        )
    if contradiction := mismatch(record, patient):
        raise InputError(contradiction)


def answer_together(  # noqa: PLR0913 - as answer_image, with more images and the record
    engine: Engine,
    model_id: str,
    selection: Selection,
    frames: tuple[Frame, ...],
    record: PatientRecord | None,
    *,
    asking: Asking,
    progress: Progress = no_progress,
) -> Result:
    """Give a model's answer about several views, or an image and what was recorded up to the day of the study.

    Args:
        engine: that runs the model.
        model_id: which model.
        selection: the image that the answer is kept with, and all it belongs to.
        frames: its pixels, and those of the other views of the same study.
        record: of the same patient; None where the model needs none.
        asking: as of :func:`~medviewer.app.answering.answer_image`.
        progress: told of each step.

    Raises:
        InputError: the record is not surely of the same patient, or the file does not say when the image was made.
        As :meth:`~medviewer.inference.engine.Engine.ask`.
    """
    if record is not None:
        check_same_patient(record, selection.patient)
    case = build_case(frames[0], selection.patient, selection.study, record)
    if record is not None and case.at is None:
        raise InputError("The file does not say when the image was made, so that nothing of the record can be used.")
    case = replace(case, images=frames)
    answer = engine.ask(case, model_id, progress=progress, language=asking.language)
    wanted = tuple(dict.fromkeys(asking.methods)) if answer.status == "answer" else ()
    of = asking.finding or None
    why = tuple(explain(engine, case, model_id, method, finding=of, progress=progress) for method in wanted)
    return Result(selection.image, frames[0], answer, why, at=case.at if record is not None else None)

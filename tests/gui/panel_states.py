"""Made-up states for the panels: nobody's data, every situation that a panel must show."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import numpy as np

from medviewer.app.on_screen import identity_of
from medviewer.app.state import JobStatus, Selection, State
from medviewer.domain.answer import (
    Answer,
    Attribution,
    Decision,
    Faithfulness,
    Finding,
    GuardResult,
    Provenance,
    Subject,
)
from medviewer.domain.case import Observation
from medviewer.domain.study import (
    Caveat,
    Collection,
    Image,
    Patient,
    PixelDescription,
    Problem,
    Series,
    Stack,
    Study,
)
from medviewer.gui.findings_panel import MethodRow, ModelRow
from medviewer.records.record import (
    Allergy,
    Condition,
    Document,
    Encounter,
    Identifier,
    Medication,
    PatientRecord,
    StudyMark,
)

SHA = "0123456789abcdef" * 4
MODEL = "chest-xray-pneumonia"
MODELS = (
    ModelRow(
        MODEL,
        {"en": "Pneumonia in children (chest X-ray)", "zh": "儿童肺炎（胸部X线）"},
        intended_use={"en": "Frontal chest radiographs of children of 1 to 5 years: does it look like pneumonia?"},
        not_for={"en": "Adults, lateral views, other diseases, any decision about a patient."},
    ),
    ModelRow("broken", "Nodules", problem="The file model.onnx is not the one that the card describes."),
)
METHODS = (
    MethodRow("grad-cam", "Grad-CAM"),
    MethodRow("integrated-gradients", "Integrated gradients"),
    MethodRow("occlusion", "Occlusion"),
)


def image(name: str, modality: str = "CR") -> Image:
    return Image(Path(f"/data/{name}.dcm"), 0, f"1.2.3.{abs(hash(name)) % 10**6}", PixelDescription(modality, 64, 64))


def series(uid: str, modality: str, description: str, count: int = 1, **more: object) -> Series:
    stack = Stack(
        tuple(image(f"{uid}-{i}", modality) for i in range(count)),
        "position" if count > 1 else "single",
        warnings=(Caveat("spacing.irregular", "Slices are not evenly spaced."),) if count > 100 else (),
    )
    return Series(uid, modality, description, stacks=(stack,), **more)  # type: ignore[arg-type]


def patient(name: str = "Kowalska^Maria", patient_id: str = "HD-4711") -> Patient:
    newest = Study(
        "1.9.1", "Chest PA and lateral", "20040302", "101500", patient_age="063Y",
        series=(series("s1", "CR", "PA", number=1), series("s2", "CR", "Lateral", number=2)),
    )  # fmt: skip
    older = Study("1.9.2", "Thorax", "20031120", series=(series("s3", "CT", "Lung 1.0 B60f", 312, number=4),))
    return Patient(patient_id, "Hospital", name, "19400305", "F", (older, newest))


def opened(who: Patient | None = None, **changes: object) -> State:
    who = who or patient()
    study = next(s for s in who.studies if s.study_instance_uid == "1.9.1")
    chosen = Selection(who, study, study.series[0], study.series[0].stacks[0], 0)
    state = State(collection=Collection((who,)), selection=chosen, model_id=MODEL, record_of=identity_of(who))
    return replace(state, **changes)  # type: ignore[arg-type]


def provenance(**changes: object) -> Provenance:
    made = Provenance(
        MODEL, "1.0.0", SHA, "onnxruntime 1.31.0", "CPUExecutionProvider", "no GPU runtime installed", SHA[::-1],
        "2026-05-04T10:15:00+00:00", 0.031, {"numpy": "2.4.1", "onnxruntime": "1.31.0"},
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


PNEUMONIA = Finding(
    "Pneumonia", "SCT:233604007", 0.81, 0.35, flagged=True, stability=(0.74, 0.88),
    meaning="Of 100 children flagged in validation, 94 had pneumonia; of 100 with pneumonia, 97 were flagged.",
)  # fmt: skip
GUARDS = (
    GuardResult("modality.ok", "ok", "The image is a radiograph (CR)."),
    GuardResult("view.ok", "ok", "The view is frontal (PA)."),
    GuardResult("age.outside", "warn", "Validated on ages 1 to 5 years; this patient is 63."),
    GuardResult("ood.ok", "ok", "The image is like those that the model learned from."),
)


def answer(*findings: Finding, **changes: object) -> Answer:
    made = Answer(
        "answer", "Pneumonia in children (chest X-ray)", GUARDS, provenance(), findings or (PNEUMONIA,),
        {"method": "temperature", "temperature": 1.31, "ece": 0.012},
        "5,232 radiographs of children of 1 to 5 years at one hospital in Guangzhou; no adults.",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def abstention() -> Answer:
    guards = (
        GuardResult("modality.ok", "ok", "The image is a radiograph (CR)."),
        GuardResult(
            "view.unknown", "abstain", "The file does not say from which side the image was taken; frontal is needed."
        ),
        GuardResult(
            "ood.far", "abstain", "The image is unlike those that the model learned from (distance 812, limit 400)."
        ),
        GuardResult("age.outside", "warn", "Validated on ages 1 to 5 years; this patient is 63."),
    )
    return answer(status="abstained", guards=guards, findings=())


def subject(state: State, method: str = "", finding: str = "") -> Subject:
    assert state.selection is not None
    return Subject(state.selection.image.key, state.model_id, SHA, method, finding)


def answered(state: State | None = None, said: Answer | None = None) -> State:
    state = state or opened()
    return replace(state, answers=MappingProxyType({subject(state): said or answer()}))


def attribution(deletion: float = 98.0, insertion: float = 97.0, error: float | None = None) -> Attribution:
    grid = np.zeros((8, 8), np.float32)
    grid[3:5, 3:5] = 1
    verdict = "Better than chance" if min(deletion, insertion) >= 95 else "Not clearly better than chance"
    sentence = f"{verdict}: {100 - min(deletion, insertion):.0f}% of random maps do as well."
    return Attribution(
        "grad-cam", "Grad-CAM", "Pneumonia", grid, np.eye(3), np.zeros((64, 64), np.float32), error,
        "completeness gap", Faithfulness(deletion, insertion, 50, sentence), 0.02, provenance(),
    )  # fmt: skip


def explained(state: State | None = None, shown: Attribution | None = None) -> State:
    state = state or answered()
    key = subject(state, "grad-cam", "Pneumonia")
    return replace(state, attributions=MappingProxyType({key: shown or attribution()}))


def decided(kind: str = "rejected", reason: str = "Known metastases, not pneumonia.") -> State:
    state = explained()
    decision = Decision(kind, reason, "2026-05-04T10:20:00+00:00")  # type: ignore[arg-type]
    return replace(state, decisions=MappingProxyType({subject(state): decision}))


def running() -> State:
    return opened(jobs=(JobStatus("model", "Checking the image", 1, 4),))


def failed() -> State:
    state = opened()
    assert state.selection is not None
    words = "The process that runs models ended unexpectedly; it has been started again: run the model once more."
    return replace(state, analysis_problem=MappingProxyType({(state.selection.image.key, state.model_id): words}))


def record(**changes: object) -> PatientRecord:
    study = datetime(2004, 3, 2, 10, 15).astimezone()
    series_of = (
        ("8867-4", "Heart rate", "/min", (88, 92, 104, 112)),
        ("8480-6", "Systolic blood pressure", "mm[Hg]", (132, 128, 118, 108)),
        ("8462-4", "Diastolic blood pressure", "mm[Hg]", (84, 80, 72, 66)),
        ("59408-5", "Oxygen saturation", "%", (97, 96, 93, 91)),
        ("8310-5", "Body temperature", "Cel", (36.8, 37.4, 38.6, 38.9)),
        ("1988-5", "C reactive protein", "mg/L", (4, 12, 96, 148)),
    )
    hours = (72, 30, 12, 3)
    observations = tuple(
        Observation(code, name, float(value), unit, study - timedelta(hours=back))
        for code, name, unit, values in series_of
        for value, back in zip(values, hours, strict=True)
    )
    made = PatientRecord(
        "key-1", (Identifier("Hospital", "HD-4711"),), "Kowalska^Maria", "1940-03-05", "F",
        (Allergy("Penicillin", "SCT:91936005", "high", "urticaria", "1988", "active"),),
        (
            Condition("Renal cell carcinoma", "SCT:702391001", "active", "2002-06", "confirmed"),
            Condition("Hypertension", "", "active", "1995", ""),
            Condition("Appendicitis", "", "resolved", "1961", ""),
        ),
        (Medication("Ramipril 5 mg tablet", "", "active", "1996", "1 tablet in the morning"),),
        observations, (), (Encounter("Oncology clinic", "AMB", "2004-02-10"),),
        (Document("Discharge letter", "2003-11-25"),),
        (StudyMark("1.9.1", "2004-03-02", "CR", "Chest PA and lateral"), StudyMark("1.9.9", "1999-05-01", "CR", "Chest")),
        is_sample=True,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def problems() -> tuple[Problem, ...]:
    return (
        Problem(Path("/data/notes.txt"), "notes.txt is not a DICOM file."),
        Problem(Path("/data/<b>broken<b>.dcm"), "The file holds 1,024 of the 524,288 bytes of its image."),
    )

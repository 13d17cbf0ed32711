"""Work that runs off the GUI thread: pure functions of their arguments, each handed to a job slot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from medviewer.app.picture import Picture
from medviewer.app.state import Cut
from medviewer.app.told import Age, Told, age_of, told_of
from medviewer.domain.answer import Answer, Attribution
from medviewer.domain.case import Case
from medviewer.domain.frame import ColorProfile, Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import CutPlane
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.domain.study import Collection, Image, Patient, Stack, Study
from medviewer.domain.volume import Volume
from medviewer.explain.methods import explain, weigh
from medviewer.imaging.decode import read_frame
from medviewer.imaging.index import FILE_NAME as INDEX_FILE
from medviewer.imaging.reslice import PlaneGrid, Slab, reslice, standard_grid
from medviewer.imaging.scan import scan
from medviewer.imaging.volume import read_volume
from medviewer.inference.engine import Engine
from medviewer.inference.turns import in_background
from medviewer.records.record import PatientRecord, iso_date, parse_moment, snapshot


def open_paths(
    paths: Sequence[Path],
    stop: StopToken,
    progress: Progress,
    on_found: Callable[[Collection], None],
    data_folder: Path,
) -> Collection:
    """All that is in some files and folders; ``on_found`` gets what is there so far, from this thread.

    What headers said is kept in ``data_folder``, beside the records and as private as they are.
    """
    return scan(paths, progress=progress, stop=stop, on_found=on_found, index=data_folder / INDEX_FILE)


def make_picture(image: Image, stop: StopToken, profile: ColorProfile | None = None) -> Picture:
    """The image's pixels, decoded and made ready for the screen; with the colour profile of a presentation state."""
    frame = read_frame(image, stop=stop)
    stop.raise_if_stopped()
    return Picture(frame, profile)


def read_slices(stack: Stack, stop: StopToken, progress: Progress) -> Volume:
    """All slices of a stack as one volume."""
    return read_volume(stack, progress=progress, stop=stop)


def make_cut(volume: Volume, cut: Cut) -> Picture:
    """A plane through a volume, made ready for the screen."""
    return Picture(reslice(volume, cut_grid(volume, cut), slab_mm=cut.slab_mm, slab=cut.slab))


def cut_grid(volume: Volume, cut: Cut) -> PlaneGrid:
    """The pixels of a plane through a volume."""
    return standard_grid(volume, cut.plane, cut.at_mm, cut.axes)


def cut_again(volume: Volume, cut: CutPlane) -> Frame:
    """The plane on which something was measured."""
    slab: Slab = "max" if cut.slab == "max" else "min" if cut.slab == "min" else "mean"
    return reslice(volume, PlaneGrid(cut.plane, cut.spacing_mm, cut.shape), slab_mm=cut.slab_mm, slab=slab)


def build_case(
    frame: Frame,
    patient: Patient,
    study: Study,
    record: PatientRecord | None,
    confirmed: frozenset[str] = frozenset(),
) -> Case:
    """What a model may know: the pixels, and of the patient everything but who it is.

    Age and sex come from the image's own file, which was made with it; the record adds
    what was known at the time of the study.
    """
    return replace(who_it_is_of(patient, study, record), images=(frame,), confirmed=confirmed)


def build_stack_case(
    volume: Volume,
    patient: Patient,
    study: Study,
    record: PatientRecord | None,
    confirmed: frozenset[str] = frozenset(),
) -> Case:
    """As :func:`build_case`, of a whole stack of slices."""
    return replace(who_it_is_of(patient, study, record), volumes=(volume,), confirmed=confirmed)


def who_it_is_of(patient: Patient, study: Study, record: PatientRecord | None) -> Case:
    """What is known of the patient of a study, without any image."""
    at = moment_of(study)
    case = snapshot(record, at) if record is not None and at is not None else Case()
    return replace(with_age(case, age_of(patient, study, record)), sex=patient.sex or case.sex)


def with_age(case: Case, age: Age) -> Case:
    """The case with an age, or with those that contradict each other; where none is told it keeps its own."""
    if age.told:
        return replace(case, age_years=None, ages_told=age.told)
    return replace(case, age_years=age.years) if age.years is not None else case


class Asked(NamedTuple):
    """What a model said, one sentence on what it ran on and why, and what it was told of the patient."""

    answer: Answer
    provider: str
    told: Told


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What a model is asked: about which case, in which language it is to answer."""

    case: Case
    model_id: str
    language: str = "en"


def ask(engine: Engine, question: Question, stop: StopToken, progress: Progress) -> Asked:
    """What the model says of the case."""
    provider = engine.load(question.model_id, stop=stop).sentence
    answer = engine.ask(question.case, question.model_id, stop=stop, progress=progress, language=question.language)
    return Asked(answer, provider, told_of(question.case))


def ask_behind(engine: Engine, prepare: Callable[[StopToken, Progress], Question], stop: StopToken) -> Asked:
    """What a model says of what is not on screen; whatever the reader waits for goes first."""
    question = prepare(stop, no_progress)
    with in_background():
        return ask(engine, question, stop, no_progress)


def warm_up(engine: Engine, model_id: str, stop: StopToken) -> str:
    """Open the model before someone waits for it; one sentence on what it will run on and why."""
    return engine.load(model_id, stop=stop).prospect


def explain_finding(
    engine: Engine, question: Question, method: str, stop: StopToken, progress: Progress, finding: str = ""
) -> Attribution:
    """Where the model looked for a finding, by one method, as soon as it is known; :func:`weigh_map` judges it later.

    Without ``finding`` it is the one in question.
    """
    case, model_id, of = question.case, question.model_id, finding or None
    return explain(engine, case, model_id, method, finding=of, n_random=0, stop=stop, progress=progress)


def weigh_map(
    engine: Engine, question: Question, attribution: Attribution, stop: StopToken, progress: Progress
) -> Attribution:
    """The map with how it does against random maps."""
    return weigh(engine, question.case, attribution, stop=stop, progress=progress)


def moment_of(study: Study) -> datetime | None:
    """Up to when what is known counts for an image of a study: the end of its day; None without a date.

    In the study's own time zone, where its file names one: the record's values carry theirs.
    """
    made = parse_moment(iso_date(study.date))
    return None if made is None else _end_of_day(made[0]).replace(tzinfo=study.zone)


def minute_of(study: Study) -> datetime | None:
    """When a study was made, to the minute; the end of its day where the file gives no time, None without a date."""
    made, digits = parse_moment(iso_date(study.date)), study.time.strip().replace(":", "")[:4]
    is_time = len(digits) == 4 and digits.isdigit() and int(digits[:2]) < 24 and int(digits[2:]) < 60
    if made is None or not is_time or made[1] not in ("day", "time"):
        return moment_of(study)
    return made[0].replace(hour=int(digits[:2]), minute=int(digits[2:]), tzinfo=study.zone)


def _end_of_day(moment: datetime) -> datetime:
    """A date without a time means the whole day."""
    return moment.replace(hour=23, minute=59, second=59) if moment.hour == moment.minute == 0 else moment

"""Questions about data that is no image, a note or a molecule: asked, then explained part by part, then judged.

Each step is told as soon as it is there, so that the reader sees the answer while its explanation is worked out, and
stopping leaves what there is. All steps of a question share one job slot: another question ends them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from medviewer.domain.answer import Answer, Attribution
from medviewer.domain.case import Case
from medviewer.domain.errors import MedViewerError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken
from medviewer.explain.methods import explain, methods_for, weigh
from medviewer.inference.card import Card, Kind
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.variants import is_variant

if TYPE_CHECKING:  # jobs belong to the application, whose state holds what is told here
    from medviewer.app.application import Application

METHOD = "occlusion"  # works for every input and every runtime


@dataclass(frozen=True, slots=True)
class ModelOffer:
    """A model that may be asked. ``title`` and ``targets`` (what it reports, by name) are by language."""

    id: str
    title: Mapping[str, str]
    task: str
    targets: Mapping[str, Mapping[str, str]]
    is_explained: bool = True  # its card allows the one method


@dataclass(frozen=True, slots=True, eq=False)
class DataAnswer:
    """What a model has said so far; ``problem``: why it said nothing or, beside an answer, why there is no more."""

    answer: Answer | None = None
    attribution: Attribution | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class DataQuestion:
    """A case without an image, put to a model."""

    case: Case
    model_id: str
    language: str


Told = Callable[[DataAnswer], None]


def takes_only(card: Card, kind: Kind) -> bool:
    """Whether a model needs data of this kind and nothing else."""
    return all(spec.kind == kind for spec in card.inputs)


def offers_for(catalogue: Catalogue, kind: Kind) -> tuple[ModelOffer, ...]:
    """The models that need data of one kind alone; lighter copies of a network are not offered by themselves."""
    cards = (entry.card for entry in catalogue.entries if entry.card is not None and not entry.problem)
    return tuple(_offer(card) for card in cards if takes_only(card, kind) and not is_variant(card.id))


def ask_about_data(app: Application, slot: str, question: DataQuestion, told: Told) -> None:
    """Ask, tell the answer, then go on to explain the most probable label.

    Args:
        app: whose jobs and engine are used.
        slot: the job that is shown and can be cancelled.
        question: what is asked.
        told: called on the GUI thread with all that is known by then, after each step.
    """

    def work(stop: StopToken, progress: Progress) -> tuple[Answer, str]:
        case, model_id = question.case, question.model_id
        answer = app.engine.ask(case, model_id, stop=stop, progress=progress, language=question.language)
        has_run = bool(answer.provenance.provider)  # else a check stopped it first
        return answer, app.engine.describe_provider(model_id) if has_run else ""

    def done(found: tuple[Answer, str]) -> None:
        said, provider = DataAnswer(found[0]), found[1]
        if provider:
            app.session.update(provider=provider)
        told(said)
        explain_data(app, slot, question, said, None, told)

    app.jobs.start(slot, work, done, lambda error: told(DataAnswer(problem=str(error))))


def explain_data(
    app: Application, slot: str, question: DataQuestion, said: DataAnswer, finding: str | None, told: Told
) -> None:
    """Tell which parts an answer rests on, first as it is found, then compared with random orders of the parts.

    Args:
        app: whose jobs and engine are used.
        slot: as of :func:`ask_about_data`.
        question: what was asked.
        said: what the model said; nothing is done where it gave no answer or cannot be explained.
        finding: which of its targets; None for the most probable one.
        told: as of :func:`ask_about_data`.
    """
    card = app.engine.catalogue.card(question.model_id)
    if said.answer is None or said.answer.status != "answer" or not _is_explained(card):
        return
    bare = replace(said, attribution=None, problem="")

    def failed(error: MedViewerError) -> None:
        told(replace(bare, problem=str(error)))

    def found(why: Attribution) -> None:
        told(replace(bare, attribution=why))
        app.jobs.start(
            slot,
            lambda stop, progress: weigh(app.engine, question.case, why, stop=stop, progress=progress),
            lambda weighed: told(replace(bare, attribution=weighed)),
            lambda error: told(replace(bare, attribution=why, problem=str(error))),
        )

    app.jobs.start(
        slot,
        lambda stop, progress: explain(
            app.engine, question.case, card.id, METHOD, finding=finding, n_random=0, stop=stop, progress=progress
        ),
        found,
        failed,
    )


def _is_explained(card: Card) -> bool:
    return any(row.id == METHOD for row in methods_for(card))


def _offer(card: Card) -> ModelOffer:
    titles = {name: {"en": card.title_of(name).en, "zh": card.title_of(name).zh} for name in card.targets}
    return ModelOffer(card.id, {"en": card.title.en, "zh": card.title.zh}, card.task, titles, _is_explained(card))

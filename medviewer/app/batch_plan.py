"""Which questions a folder of studies gives: each study's images, each model, and why others are not asked about.

Folders of results are named by digests of UIDs, so that no name tells who somebody is and the same study has the
same name whenever it is asked about.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from medviewer import __version__
from medviewer.app.on_screen import selections
from medviewer.app.state import Selection
from medviewer.app.told import age_of
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Collection, Image, Patient, Study
from medviewer.inference.card import Card
from medviewer.inference.inputs.volume import stack_input
from medviewer.inference.suitability import stack_unsuited_because, unsuited_because


@dataclass(frozen=True, slots=True, eq=False)
class BatchQuestion:
    """One image, or the whole stack of slices that it is the first of, put to one model.

    ``study`` and ``image`` are names of folders without identity; ``stamp`` changes with the image's file and with what
    other files say of it, ``manner`` with the model's card, the program's version and how it is asked.
    """

    selection: Selection
    model_id: str
    study: str
    image: str
    stamp: str
    manner: str
    is_of_stack: bool = False

    @property
    def name(self) -> str:
        """Where its result goes, below the folder of all results."""
        return _name(self.study, self.image, self.model_id)


@dataclass(frozen=True, slots=True)
class NotAsked:
    """Images of a study that a model is not asked about, all for one reason."""

    study: str
    model_id: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class BatchPlan:
    """All questions, study by study, and what is left out. ``studies`` are the folders' names in order.

    ``refused`` are the names of the questions that are not asked.
    """

    questions: tuple[BatchQuestion, ...]
    not_asked: tuple[NotAsked, ...]
    studies: tuple[str, ...]
    refused: tuple[str, ...] = ()


def _name(study: str, image: str, model_id: str) -> str:
    return f"{study}/{image}-{model_id}"


def plan_batch(collection: Collection, cards: Sequence[Card], wishes: Sequence[str], out: Path) -> BatchPlan:
    """Find the images of each study that each model may be asked about.

    Args:
        collection: of a scan.
        cards: the models'.
        wishes: how they are asked, in words (:attr:`~medviewer.app.answering.Asking.words`).
        out: the folder of the results; what lies in it is never analysed itself.
    """
    questions: list[BatchQuestion] = []
    left_out: dict[tuple[str, str, str], int] = {}
    refused: list[str] = []
    studies: dict[str, None] = {}
    manners = [manner_of(card, wishes) for card in cards]
    for selection, study, image in _named(collection, out.resolve()):
        studies[study] = None
        span = selection.stack.volume_span(selection.index)
        for card, manner in zip(cards, manners, strict=True):
            is_of_stack = stack_input(card) is not None
            if is_of_stack and selection.index != span.start:
                continue  # it is of the question about the first one
            reason = _refused(selection, card, is_of_stack=is_of_stack)
            if reason:
                key = (study, card.id, reason)
                left_out[key] = left_out.get(key, 0) + 1
                refused.append(_name(study, image, card.id))
                continue
            stamp = _stamp(selection, is_of_stack=is_of_stack)
            questions.append(BatchQuestion(selection, card.id, study, image, stamp, manner, is_of_stack))
    order = {study: number for number, study in enumerate(studies)}
    questions.sort(key=lambda question: order[question.study])  # stable: of a study in the order of its images
    not_asked = tuple(NotAsked(*key, count) for key, count in left_out.items())
    return BatchPlan(tuple(questions), not_asked, tuple(studies), tuple(refused))


def _refused(selection: Selection, card: Card, *, is_of_stack: bool) -> str:
    if is_of_stack:
        return stack_unsuited_because(selection.stack.volume_at(selection.index), card)
    return unsuited_because(selection.image, card)


def _stamp(selection: Selection, *, is_of_stack: bool) -> str:
    """A digest that changes when the file does, of a stack that of any slice, or what other files say of it.

    Another file may claim to be this image, or complete who the patient is: then the answer is another one.
    """
    images: Sequence[Image] = (selection.image,)
    caveats = list(selection.image.warnings)
    if is_of_stack:
        span = selection.stack.volume_span(selection.index)
        images = selection.stack.images[span.start : span.stop]
        caveats = [*selection.stack.warnings, *(caveat for image in images for caveat in image.warnings)]
    stamps = [stamp_of(image) for image in images]
    who = (str(age_of(selection.patient, selection.study)), selection.patient.sex)
    return _digest(*stamps, *(caveat.text for caveat in caveats), *who)[:16] if all(stamps) else ""


def _named(collection: Collection, out: Path) -> Iterator[tuple[Selection, str, str]]:
    """Every image with the names of its study and of itself: two images never have one, nor two patients."""
    seen: set[tuple[str, str]] = set()
    uids = Counter(study.study_instance_uid for patient in collection.patients for study in patient.studies)
    for selection in selections(collection):
        image = selection.image
        if image.path.resolve().is_relative_to(out):
            continue
        patient = selection.patient if uids[selection.study.study_instance_uid] > 1 else None
        names = study_name(selection.study, image, patient), image_name(image)
        if names in seen:  # two files say that they are the same image
            names = names[0], _digest(image.sop_instance_uid, str(image.frame), str(image.path))[:12]
        seen.add(names)
        yield selection, *names


def study_name(study: Study, image: Image, patient: Patient | None = None) -> str:
    """``study-`` and 16 hexadecimal digits of the SHA-256 of the Study Instance UID (the path, where there is none).

    The ``patient`` counts too where it is given: one UID is that of several patients' studies.
    """
    if not study.study_instance_uid:
        return f"study-{_digest(str(image.path.absolute()))[:16]}"
    whose = (patient.patient_id, patient.issuer, patient.name) if patient is not None else ()
    return f"study-{_digest(study.study_instance_uid, *whose)[:16]}"


def image_name(image: Image) -> str:
    """12 hexadecimal digits of the SHA-256 of SOP Instance UID and frame (of the path, where there is no UID)."""
    return _digest(image.sop_instance_uid or str(image.path.absolute()), str(image.frame))[:12]


def stamp_of(image: Image) -> str:
    """A digest that changes when the file does; of a member of an archive, when the archive does."""
    path = image.path
    while image.unpacked is not None and not path.is_file() and path != path.parent:
        path = path.parent
    try:
        status = path.stat()
    except OSError:
        return ""  # reading its pixels will say what is wrong
    return _digest(str(status.st_size), str(status.st_mtime_ns))[:16]


def manner_of(card: Card, wishes: Sequence[str]) -> str:
    """A digest of what makes an answer another one: the card, which names every file of the model, and the wishes.

    So may another version of the program: it checks, prepares and says things in another way.
    """
    return _digest(__version__, card.document_sha256, *wishes)[:16]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()

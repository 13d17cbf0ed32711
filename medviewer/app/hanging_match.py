"""Which images a hanging protocol puts where: studies compared with what the protocol asks for. Nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from medviewer.app.hanging_protocol import DisplaySet, HangingProtocol, Vacancy, alternatives
from medviewer.app.on_screen import identity_of
from medviewer.app.state import Selection
from medviewer.domain.study import Collection, Image, Patient, Series, Stack, Study

Found = tuple[Selection | Vacancy, ...]

FOR_PROCESSING = frozenset({  # raw pixels, which nobody is meant to look at (PS3.4 B.5)
    "1.2.840.10008.5.1.4.1.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.2.1", "1.2.840.10008.5.1.4.1.1.1.3.1",
})  # fmt: skip
_UPRIGHT = 0.8  # of a normal's length along one axis of the patient: less is oblique, and no plane by name
_PLANE_OF_AXIS = ("sagittal", "coronal", "axial")  # across x, y, z
_SIDES = {"LEFT": "L", "LT": "L", "RIGHT": "R", "RT": "R"}
# After such a word it is no side of the body: from where the film was taken, or radiotherapy.
_NO_SIDE_BEFORE = ("LAT", "DECUB", "ANT", "POST", "OBL", "PLAN", "SIM")
# Around a letter that is no side: "L SPINE", "T/L", "L S SPINE" (of the spine), "AP/L", "LAT L" (of the view).
_NO_LETTER_BEFORE = ("C", "T", "TH", "D", "S", "AP", "PA", "LAT", "LATERAL")
_NO_LETTER_AFTER = ("S", "SP", "SPN", "SPINE", "SPIN")
_CHINESE_VIEWS = re.compile("[左右](?:侧位|侧卧|前斜|后斜)")
_CHINESE_SIDES = {"左": "L", "右": "R"}
_OTHER_SIDE = {"L": "R", "R": "L"}
_PRIOR = {"CR": "No prior radiograph is open.", "MG": "No prior mammogram is open."}


def studies_of(collection: Collection, patient: Patient) -> list[tuple[Patient, Study]]:
    """The studies of one patient, with the patient as each of them says."""
    who = identity_of(patient)
    return [(one, study) for one in collection.patients if identity_of(one) == who for study in one.studies]


def is_of_kind(study: Study, protocol: HangingProtocol) -> bool:
    """Whether a study has a series of the protocol's modality and body part."""
    return any(_is_series_of_kind(series, study, protocol) for series in study.series)


def priors_of(study: Study, all_studies: Iterable[Study], protocol: HangingProtocol) -> list[Study]:
    """Earlier studies of the protocol's kind, the latest first; none where a date is missing."""
    earlier = [one for one in all_studies if is_before(one, study) and is_of_kind(one, protocol)]
    return sorted(earlier, key=lambda one: (one.date, one.time), reverse=True)


def find(protocol: HangingProtocol, current: Study, own: Sequence[tuple[Patient, Study]], now: Selection) -> Found:
    """What each viewport shows.

    Args:
        protocol: whose viewports they are.
        current: the study that the protocol calls so.
        own: all studies of the patient, ``current`` among them.
        now: the image on screen; it has precedence where it fits.

    Returns:
        An image or the reason why there is none, for each viewport, row by row.
    """
    patient = {id(study): one for one, study in own}  # one from before a scan went on is not among them
    in_order = [current, *priors_of(current, (study for _, study in own), protocol)]
    shown: set[int] = set()  # images, each by its identity
    found: dict[int, Selection | Vacancy] = {}
    # The current study first, wherever it hangs: its side is that of priors of which none is asked for.
    for number, wanted in sorted(enumerate(protocol.display_sets), key=lambda one: one[1].prior > 0):
        if wanted.prior >= len(in_order):
            found[number] = _no_prior(protocol, wanted)
            continue
        study = in_order[wanted.prior]
        fitting = list(_fitting(study, protocol, wanted))
        seen = found.values() if wanted.prior and not wanted.laterality else ()
        side = _side_shown(seen, side_of)
        possible = side or _side_shown(seen, possible_side)
        if possible:
            fitting = [_without(_OTHER_SIDE[possible], one, study, now) for one in fitting]
        chosen = _choose([one for one in fitting if one.places], wanted, now, shown)
        if chosen is None:
            found[number] = _no_image(replace(wanted, laterality=wanted.laterality or side))
            continue
        one, place = chosen
        found[number] = Selection(patient.get(id(study), now.patient), study, one.series, one.stack, place)
    return tuple(found[number] for number in range(len(protocol.display_sets)))


def _side_shown(found: Iterable[Selection | Vacancy], side: Callable[[Selection], str]) -> str:
    """The one side of all images that are shown; "" where one is of none, or of both, or they are of several."""
    sides = {side(one) for one in found if isinstance(one, Selection)}
    return sides.pop() if len(sides) == 1 and sides <= _OTHER_SIDE.keys() else ""


def _without(side: str, one: _Fitting, study: Study, now: Selection) -> _Fitting:
    """The images of one stack that are surely not of a side, nor called by its letter."""
    images = (Selection(now.patient, study, one.series, one.stack, place) for place in one.places)
    return one._replace(places=[image.index for image in images if possible_side(image) != side])


def fits(protocol: HangingProtocol, current: Study, own: Sequence[tuple[Patient, Study]]) -> bool:
    """Whether a protocol is for a study: its kind, its views, as many priors."""
    of_kind = [series for series in current.series if _is_series_of_kind(series, current, protocol)]
    asked = [alternatives(part) for part in protocol.views.split(",") if part.strip()]
    there = set().union(*map(_views, of_kind)) if asked else set()
    priors = priors_of(current, (study for _, study in own), protocol)
    return bool(of_kind) and all(there.intersection(one) for one in asked) and len(priors) >= protocol.priors


def plane_name(image: Image) -> str:
    """The plane in which an image lies: axial, coronal or sagittal; "" if oblique or not known."""
    plane = image.description.plane
    if plane is None:
        return ""
    normal = np.abs(plane.normal)
    axis = int(np.argmax(normal))
    return _PLANE_OF_AXIS[axis] if normal[axis] >= _UPRIGHT else ""


def is_of_other_side(one: Selection, other: Selection) -> bool:
    """Whether both files name one side, and not the same; what is of both sides, or of none, is of no other.

    A letter suffices ("KNEE R" beside "L KNEE"): to show no prior costs a click, the other knee may cost a knee.
    """
    return {possible_side(one), possible_side(other)} == {"L", "R"}


def possible_side(one: Selection) -> str:
    """As :func:`side_of`; else what a single letter in the words means, as far as it contradicts another side.

    It is never told nor taken for agreement: "L" may be lumbar or lateral, and "R" an axis or an abbreviation.
    """
    if side := side_of(one):
        return side
    part = one.image.description.body_part_examined or one.series.body_part_examined
    told = {_side_by_letters(text) for text in (one.series.description, one.stack.acquisition.protocol_name, part)}
    told = told - {""} or {_side_by_letters(one.study.description)}
    return told.pop() if len(told) == 1 else ""


def side_of(one: Selection) -> str:
    """The side of an image: as its attributes say; else, of many films, as the series is called, or the study."""
    stated = one.image.description.image_laterality.upper()
    if stated:
        return stated
    series = _side_by_words(f"{one.series.description} {one.stack.acquisition.protocol_name}")
    return series or _side_by_words(one.study.description)


@lru_cache(maxsize=4096)  # asked for each image of a series
def _side_by_words(text: str) -> str:
    """The one side that a text names; "" where it names none, or both."""
    words = re.findall(r"[^\W_]+", text.upper())
    pairs = zip(words, [*words, ""][1:], strict=True)
    found = {_SIDES[word] for word, after in pairs if word in _SIDES and not after.startswith(_NO_SIDE_BEFORE)}
    found |= {side for sign, side in _CHINESE_SIDES.items() if sign in _CHINESE_VIEWS.sub("", text)}
    return found.pop() if len(found) == 1 else ""


@lru_cache(maxsize=4096)
def _side_by_letters(text: str) -> str:
    """The one side that single letters of a text can mean; "" where there is none, or both."""
    words = re.findall(r"[^\W_]+", text.upper())
    around = zip(["", *words], words, [*words, ""][1:], strict=False)
    found = {
        word
        for before, word, after in around
        if word in _OTHER_SIDE
        and before not in _NO_LETTER_BEFORE
        and after not in _NO_LETTER_AFTER
        and not after.startswith(_NO_SIDE_BEFORE)
    }
    return found.pop() if len(found) == 1 else ""


class _Fitting(NamedTuple):
    """The images of one stack that fit, by their places in it."""

    series: Series
    stack: Stack
    places: Sequence[int]

    @property
    def images(self) -> Iterator[Image]:
        return (self.stack.images[place] for place in self.places)


def _fitting(study: Study, protocol: HangingProtocol, wanted: DisplaySet) -> Iterator[_Fitting]:
    """For each stack that has some, its images that fit, in display order."""
    of_kind = [one for one in study.series if _is_series_of_kind(one, study, protocol)]
    of_kind.sort(key=lambda one: _first_image(one).description.sop_class_uid in FOR_PROCESSING)
    asks_of_images = bool(wanted.view or wanted.laterality or wanted.plane)
    for series in of_kind:
        if not _has_word(f"{series.description} {study.description}", wanted.words):
            continue
        for stack in series.stacks:
            places: Sequence[int] = range(len(stack.images))
            if asks_of_images:
                places = [place for place in places if _is_wanted(stack.images[place], wanted)]
            if places:
                yield _Fitting(series, stack, places)


def _choose(
    fitting: list[_Fitting], wanted: DisplaySet, now: Selection, shown: set[int]
) -> tuple[_Fitting, int] | None:
    """The n-th series that fits; else the one on screen, else the first that no viewport shows yet; and the place."""
    if wanted.series:
        nth = list(dict.fromkeys(id(one.series) for one in fitting))[wanted.series - 1 : wanted.series]
        left = [one for one in fitting if id(one.series) in nth]
    else:
        left = [one for one in fitting if wanted.cut or shown.isdisjoint(map(id, one.images))]
        left.sort(key=lambda one: one.stack is not now.stack)  # stable: the one on screen comes first
    if not left:
        return None
    chosen = left[0]
    if not wanted.cut:
        shown.update(map(id, chosen.images))
    if chosen.stack is now.stack and now.index in chosen.places:
        return chosen, now.index
    if len(chosen.places) < len(chosen.stack.images):
        return chosen, chosen.places[0]
    return chosen, as_far_along(now, chosen.stack)


def as_far_along(now: Selection, stack: Stack) -> int:
    """The slice of another stack that is as far from the same end of the patient as the image on screen.

    Another frame of reference has no common place: there is where a reader looks first.
    """
    share = now.index % now.stack.slices / max(now.stack.slices - 1, 1)
    if facing(stack.images[0], now.image) < 0:  # its slices are counted towards the other end
        share = 1 - share
    return round(share * (stack.slices - 1))


def facing(one: Image, other: Image) -> float:
    """1 for images that are looked at from the same side, -1 from opposite ones, 0 across each other."""
    a, b = one.description.plane, other.description.plane
    return sum(x * y for x, y in zip(a.normal, b.normal, strict=True)) if a and b else 0.0


def _is_wanted(image: Image, wanted: DisplaySet) -> bool:
    """Whether an image is what a viewport asks for; what the file does not say fits nothing that is asked."""
    d = image.description
    is_view = not wanted.view or d.view_position.upper() in alternatives(wanted.view)
    is_side = not wanted.laterality or d.image_laterality.upper() == wanted.laterality
    return is_view and is_side and (not wanted.plane or plane_name(image) == wanted.plane)


def _is_series_of_kind(series: Series, study: Study, protocol: HangingProtocol) -> bool:
    modalities = alternatives(protocol.modality)
    if not series.stacks or (modalities and series.modality.upper() not in modalities):
        return False
    stated = series.body_part_examined or _first_image(series).description.body_part_examined
    return _has_word(stated or f"{series.description} {study.description}", protocol.body_part)


def _first_image(series: Series) -> Image:
    return series.stacks[0].images[0]


def _views(series: Series) -> set[str]:
    return {image.description.view_position.upper() for stack in series.stacks for image in stack.images}


def _has_word(text: str, words: str) -> bool:
    """Whether one of the alternatives stands in a text as a word: PA is not found in "spa"."""
    asked = alternatives(words)
    return not asked or any(re.search(rf"(?<![0-9A-Z]){re.escape(one)}(?![0-9A-Z])", text.upper()) for one in asked)


def is_before(one: Study, other: Study) -> bool:
    """Whether a study is an earlier one; without a date nobody knows which came first."""
    if one is other or not one.date or not other.date:
        return False
    is_earlier_that_day = bool(one.time and other.time) and one.time < other.time
    return one.date < other.date or (one.date == other.date and is_earlier_that_day)


def _no_prior(protocol: HangingProtocol, wanted: DisplaySet) -> Vacancy:
    kind = next((words for one, words in _PRIOR.items() if one in alternatives(protocol.modality)), "")
    number = f"prior {wanted.prior}" if wanted.prior > 1 else ""
    parts = (number, "" if kind else protocol.modality, protocol.body_part, *_asked(wanted))
    return Vacancy(kind or "No prior study of this kind is open.", _joined(parts))


def _no_image(wanted: DisplaySet) -> Vacancy:
    sentence = "The prior study has no such image." if wanted.prior else "This study has no such image."
    return Vacancy(sentence, _joined(_asked(wanted)))


def _asked(wanted: DisplaySet) -> tuple[str, ...]:
    return wanted.laterality, wanted.view, wanted.plane, wanted.words


def _joined(parts: Iterable[str]) -> str:
    return " · ".join(part for part in parts if part)

"""All that a model is given of a case: every input of its card, or by name what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medviewer.domain.answer import Evidence, GuardResult
from medviewer.domain.case import Case
from medviewer.domain.errors import InputError
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.inference import guards
from medviewer.inference.card import Card
from medviewer.inference.card_outcomes import OutcomeSpec
from medviewer.inference.inputs import INPUTS, series
from medviewer.inference.inputs.adapter import Arrays, Doubt, Encoded, Missing, Used


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What each input found in a case.

    Attributes:
        raws: by the input's name; inputs that miss something are not there.
        missing: by the input's name, the fields that are not there.
    """

    card: Card
    case: Case
    raws: Mapping[str, Any]
    missing: Mapping[str, tuple[str, ...]]
    doubts: tuple[Doubt, ...]
    used: tuple[Used, ...]

    def check(self, language: str) -> list[GuardResult]:
        """Everything that can be said before a network runs; images first, whose headers say most."""
        results: list[GuardResult] = []
        has_image = False
        for spec in self.card.inputs:
            if spec.kind == "image" and (frame := self.raws.get(spec.name)) is not None:
                assert isinstance(frame, Frame)  # noqa: S101 - of an image
                results += guards.check_input(self.case, frame, self.card, language, spec)
                has_image = True
            if spec.kind == "volume" and (volume := self.raws.get(spec.name)) is not None:
                results += guards.check_stack(self.case, volume, spec, language)
        if not has_image and not self.card.is_of_one_image:
            results += guards.check_population(self.case, self.card, language)
        results += guards.check_sides(self._sides(), language)
        # (What two images or inputs have in common is said once.)
        return list(dict.fromkeys((*results, *guards.check_data(self.doubts, language))))

    def _sides(self) -> frozenset[str]:
        """The sides of the body that the images of several views name, but for those of which the card names one."""
        frames = [
            self.raws[spec.name]
            for spec in self.card.inputs
            if spec.kind == "image" and spec.name in self.raws and not spec.document.get("laterality")
        ]
        return frozenset(side for one in frames if (side := one.description.image_laterality.strip().upper()))

    def evidence(self, language: str) -> tuple[Evidence, ...]:
        """The recorded values that are used, in the reader's language."""
        return tuple(
            Evidence(one.name, one.title.say(language), one.value, one.time, one.note.say(language))
            for one in self.used
        )

    def too_old(self) -> tuple[OutcomeSpec, ...]:
        """The outcomes that must not be given, since what they go on from was not measured recently."""
        return tuple(
            outcome
            for outcome in self.card.outcomes
            if outcome.recent is not None and not self._is_recent(*outcome.recent)
        )

    def _is_recent(self, name: str, hours: float) -> bool:
        series_inputs = [spec for spec in self.card.inputs if spec.kind == "series" and spec.name in self.raws]
        return any(
            series.is_recent(self.raws[spec.name], spec, name, hours)
            for spec in series_inputs
            if any(one["name"] == name for one in spec.document["variables"])
        )

    def encode(self) -> dict[str, Encoded]:
        """Each input as the network takes it, by the input's name.

        Raises:
            InputError: something is missing, or cannot be prepared.
            ModelError: the card or its vocabulary is at fault.
        """
        if self.missing:
            names = ", ".join(name for fields in self.missing.values() for name in fields)
            raise InputError(f"The model {self.card.id} needs what is not there: {names}.")
        return {spec.name: INPUTS[spec.kind].encode(self.raws[spec.name], spec) for spec in self.card.inputs}


def gather(case: Case, card: Card) -> Gathered:
    """Pull every input of a card out of a case.

    Raises:
        RuntimeMissingError: reading an input takes a package that is not installed.
    """
    raws: dict[str, Any] = {}
    missing: dict[str, tuple[str, ...]] = {}
    doubts: list[Doubt] = []
    used: list[Used] = []
    for spec in card.inputs:
        adapter = INPUTS[spec.kind]
        raw = adapter.pull(case, spec)
        if isinstance(raw, Missing):
            missing[spec.name] = raw.fields
            doubts += raw.doubts
            used += raw.used
            continue
        raws[spec.name] = raw
        found, values = adapter.examine(raw, spec)
        doubts += found
        used += values
    return Gathered(card, case, raws, missing, tuple(doubts), tuple(used))


def tensors_of(encoded: Mapping[str, Encoded]) -> Arrays:
    """All arrays of all inputs by the names of the graph's inputs, without the batch."""
    return {name: array for one in encoded.values() for name, array in one.tensors.items()}

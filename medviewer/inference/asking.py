"""From a case to an answer, step by step: the order in which nothing may be skipped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.answer import Answer, Finding, GuardResult, Provenance, Region
from medviewer.domain.case import Case
from medviewer.domain.errors import CardError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken
from medviewer.inference import guards
from medviewer.inference.calibration import probabilities
from medviewer.inference.card import Card, CardFile, Label
from medviewer.inference.card_checks import CLASSIFYING
from medviewer.inference.card_masks import MASKS
from medviewer.inference.gathering import Gathered, gather, tensors_of
from medviewer.inference.inputs.adapter import Encoded
from medviewer.inference.loading import read_arrays
from medviewer.inference.masks import Ground, check_shape, regions_of, shares
from medviewer.inference.neighbours import memory_of, neighbours_of
from medviewer.inference.outcomes import is_possible, outcomes_of, wanted_outputs
from medviewer.inference.provenance import provenance_of
from medviewer.inference.stability import variants
from medviewer.inference.texture import N_TEXTURE

if TYPE_CHECKING:
    from medviewer.inference.engine import Engine, Loaded

_STEPS = 4

Arrays = Mapping[str, npt.NDArray[Any]]
Bands = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Manner:
    """How a question is asked: how it can be stopped, who is told, in which language."""

    stop: StopToken | None
    progress: Progress
    language: str


def ask(engine: Engine, case: Case, card: Card, manner: Manner) -> Answer:
    """Answer or abstain; see :meth:`medviewer.inference.engine.Engine.ask`."""
    is_image = card.is_of_one_image
    manner.progress(0, _STEPS, "Checking the image" if is_image else "Checking the data")
    gathered = gather(case, card)
    question = _Question(engine, card, manner, gathered, datetime.now(UTC), time.monotonic())
    results = gathered.check(manner.language)
    if not gathered.missing:
        results += guards.check_recent(gathered.too_old(), len(card.outcomes), manner.language)
    if gathered.missing or guards.is_abstention(results):
        return question.abstain(results)
    results += guards.check_evidence(card, manner.language)
    encoded = gathered.encode()
    tensors = tensors_of(encoded)
    for name, tensor in tensors.items():
        results += guards.check_range(tensor, card, manner.language, name)
    results += guards.check_content(_pictures(card, encoded), manner.language)
    if guards.is_abstention(results):
        return question.abstain(results, tensors)
    manner.progress(1, _STEPS, "Running the model")
    outputs = question.run({name: tensor[None] for name, tensor in tensors.items()})
    results += question.check(tensors, outputs)
    if guards.is_abstention(results):
        return question.abstain(results, tensors, has_run=True)
    bands: Bands | None = None
    ground = _ground_of(gathered, encoded) if card.task == "segmentation" else None
    if is_image and card.labels:
        manner.progress(2, _STEPS, "Trying small changes of the image")
        bands, unsteady = question.stability(next(iter(tensors.values())), outputs, ground)
        results += unsteady
    if guards.is_abstention(results):
        return question.abstain(results, tensors, has_run=True)
    answer = question.answer(results, tensors, outputs, bands)
    if ground is not None and bands is not None:
        manner.progress(3, _STEPS, "Placing the outlines on the image")
        regions = regions_of(card, outputs[MASKS], ground, bands, manner.language, manner.stop)
        answer = _outlined(answer, card, regions, manner)
    manner.progress(_STEPS, _STEPS, "Done")
    return answer


def _pictures(card: Card, encoded: Mapping[str, Encoded]) -> Iterator[npt.NDArray[Any]]:
    """What the network is given of each image and stack of slices in which there must be something to judge.

    Not of a model that outlines: the slices at the ends of a series are often empty, and nothing is outlined on them.
    """
    for spec in () if card.task == "segmentation" else card.inputs:
        if spec.kind in ("image", "volume"):
            yield from encoded[spec.name].tensors.values()


def _outlined(answer: Answer, card: Card, regions: tuple[Region, ...], manner: Manner) -> Answer:
    """With outlines, and how steady each is by the very numbers that are shown beside it."""
    steady = [
        guards.check_outline(label, region.stability, manner.language)
        for label, region in zip(card.labels, regions, strict=True)
    ]
    return replace(answer, regions=regions, guards=(*answer.guards, *steady))


def _ground_of(gathered: Gathered, encoded: Mapping[str, Encoded]) -> Ground:
    """The one image that a segmentation model is given, and where the network's grid lies on it."""
    name = gathered.card.inputs[0].name
    place = encoded[name].place
    assert place is not None  # noqa: S101 - an image has a place
    return Ground(gathered.raws[name], place)


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """One case put to one model."""

    engine: Engine
    card: Card
    manner: Manner
    gathered: Gathered
    started: datetime
    clock: float

    def run(self, batch: Arrays) -> Arrays:
        """The network's outputs that an answer needs."""
        near = (self.card.neighbours.output,) if self.card.neighbours else ()
        wanted = [*wanted_outputs(self.card), *(self.card.ood.outputs if self.card.ood else ()), *near]
        outputs = self.engine.run(self.card.id, batch, outputs=tuple(dict.fromkeys(wanted)), stop=self.manner.stop)
        if MASKS in outputs:
            check_shape(self.card, outputs[MASKS], len(next(iter(batch.values()))))
        return outputs

    def check(self, tensors: Arrays, outputs: Arrays) -> Sequence[GuardResult]:
        """Whether the outputs are possible numbers, and how unlike the training data the case is."""
        language = self.manner.language
        results = guards.check_outputs(outputs, language)
        if not results and not is_possible(self.card, outputs):
            results = (guards.say("no_result", "abstain", language),)
        if results:
            return results
        suffix = "" if self.card.is_of_one_image else ".data"
        found: list[GuardResult] = []
        if (spec := self.card.ood) is not None:
            features = outputs[spec.output]
            statistics = feature_statistics(self.card, features.shape[1])
            found.append(guards.check_distribution(features, statistics, spec, language, suffix))
            if (rest := spec.residual) is not None:
                features = outputs[rest.output]
                directions = residual_statistics(self.card, features.shape[1])
                found.append(guards.check_residual(features, directions, rest, language, suffix))
            if (look := spec.texture) is not None:
                (picture,) = tensors.values()
                found.append(guards.check_texture(picture, texture_statistics(self.card), look, language))
        if (near := self.card.neighbours) is not None and not guards.is_abstention(found):
            features = outputs[near.output]
            found.extend(guards.check_unseen(features, memory_of(self.card, features), language, suffix))
        return found

    def probabilities(self, outputs: Arrays) -> npt.NDArray[np.float64]:
        """Calibrated, ``(n, labels)``."""
        return probabilities(outputs["logits"], self.card.require_calibration(), self.card.task)

    def stability(
        self, tensor: npt.NDArray[np.float32], outputs: Arrays, ground: Ground | None
    ) -> tuple[Bands, list[GuardResult]]:
        """The band of each label's probability under small changes, and whether it crosses the threshold.

        Of outlines, which have a ``ground``, the band of their share of the image: what it means is said once they
        are drawn.
        """
        name = self.card.inputs[0].name
        every = [self._measures(outputs, ground)]
        images = variants(tensor, self.card.ranges.get(name))
        for batch in np.split(images, len(images)) if ground is not None else [images]:  # masks of all would be large
            changed = self.run({name: batch})
            broken = list(guards.check_outputs(changed, self.manner.language))
            if not broken and not is_possible(self.card, changed):
                broken = [guards.say("no_result", "abstain", self.manner.language)]
            if broken:
                return [], broken
            every.append(self._measures(changed, ground))
        bands = [(float(column.min()), float(column.max())) for column in np.concatenate(every).T]
        if ground is not None:
            return bands, []
        pairs = zip(self.card.labels, bands, strict=True)
        return bands, [guards.check_stability(label, band, self.manner.language) for label, band in pairs]

    def _measures(self, outputs: Arrays, ground: Ground | None) -> npt.NDArray[np.float64]:
        """What the stability of each label is told by, ``(n, labels)``."""
        if ground is None:
            return self.probabilities(outputs)
        return shares(self.card, outputs[MASKS], ground, self.manner.stop)

    def answer(self, results: Sequence[GuardResult], tensors: Arrays, outputs: Arrays, bands: Bands | None) -> Answer:
        """The findings or other outcomes, with everything by which they can be weighed."""
        findings: tuple[Finding, ...] = ()
        if self.card.task in CLASSIFYING:
            steady = bands if bands is not None else [None] * len(self.card.labels)
            rows = zip(self.card.labels, self.probabilities(outputs)[0], steady, strict=True)
            findings = tuple(self._finding(label, float(probability), band) for label, probability, band in rows)
            if (spec := self.card.neighbours) is not None:
                near = neighbours_of(self.card, outputs[spec.output], self.manner.language)
                findings = tuple(replace(one, neighbours=its) for one, its in zip(findings, near, strict=True))
        loaded = self.engine.load(self.card.id, stop=self.manner.stop)
        withheld = {one.name for one in self.gathered.too_old()}
        outcomes = tuple(
            one for one in outcomes_of(self.card, outputs, self.manner.language) if one.label not in withheld
        )
        return replace(
            self._say("answer", results, self._provenance(tensors, loaded)), findings=findings, outcomes=outcomes
        )

    def abstain(
        self, results: Sequence[GuardResult], tensors: Arrays | None = None, *, has_run: bool = False
    ) -> Answer:
        """No result, and why."""
        loaded = self.engine.load(self.card.id, stop=self.manner.stop) if has_run else None
        return self._say("abstained", results, self._provenance(tensors, loaded))

    def _say(self, status: Any, results: Sequence[GuardResult], provenance: Provenance) -> Answer:
        language = self.manner.language
        return Answer(
            status=status,
            model_title=self.card.title.say(language),
            guards=tuple(results),
            provenance=provenance,
            calibration=self._calibration(),
            validated_on=self.card.population.site.say(language),
            evidence=self.gathered.evidence(language),
        )

    def _calibration(self) -> Mapping[str, float | str]:
        calibration = self.card.calibration
        if calibration is None:
            return {"method": "none"} if self.card.task == "segmentation" else {}
        errors = {"before": calibration.ece_before, "after": calibration.ece_after}
        return {
            "method": calibration.method,
            **{name: value for name, value in calibration.parameters.items() if isinstance(value, float | int)},
            **{f"ece_{name}": error for name, error in errors.items() if error is not None},
            "on": calibration.on.say(self.manner.language),
        }

    def _finding(self, label: Label, probability: float, band: tuple[float, float] | None) -> Finding:
        return Finding(
            label=label.name,
            code=label.code,
            probability=probability,
            threshold=label.threshold,
            flagged=probability >= label.threshold,
            stability=band,
            meaning=label.meaning.say(self.manner.language),
            code_meaning=label.code_meaning,
        )

    def _provenance(self, tensors: Arrays | None, loaded: Loaded | None) -> Provenance:
        return provenance_of(self.card, loaded, tensors, self.started, self.clock)


def feature_statistics(card: Card, features: int) -> guards.FeatureStatistics:
    """The statistics of the training images' features that the card names, read and checked once.

    Raises:
        ModelError: the file is missing, changed, or not for this network.
    """
    return guards.FeatureStatistics(*_statistics(card, {"means": 2, "whitening": 2}, features))


def residual_statistics(card: Card, features: int) -> guards.ResidualStatistics:
    """The directions of the training images' features that the card's residual is measured against.

    Raises:
        ModelError: the file is missing, changed, lacks them, or is not for this network.
    """
    names = {"residual_mean": 1, "residual_scale": 1, "residual_directions": 2}
    statistics = guards.ResidualStatistics(*_statistics(card, names, features))
    if not (statistics.scale > 0).all():
        raise CardError(f"The out-of-distribution statistics of {card.id} divide by nothing; install the model again.")
    return statistics


def texture_statistics(card: Card) -> guards.FeatureStatistics:
    """The statistics of how the training images are composed.

    Raises:
        ModelError: the file is missing, changed, lacks them, or is of another description of texture.
    """
    names = {"texture_means": 2, "texture_whitening": 2}
    return guards.FeatureStatistics(*_statistics(card, names, N_TEXTURE))


def _statistics(card: Card, names: Mapping[str, int], features: int) -> list[npt.NDArray[Any]]:
    """Arrays of the file with the role “ood”, by name and number of axes; the last one is that of the features."""
    file = card.require("ood")
    arrays = _read_statistics(card.folder, file)
    if not names.keys() <= arrays.keys():
        raise CardError(f"“{file.path}” lacks one of “{'”, “'.join(names)}”; install the model again.")
    found = [arrays[name] for name in names]
    if not all(np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all() for array in found):
        raise CardError(f"“{file.path}” holds values that are not numbers; install the model again.")
    if any(arrays[name].ndim != axes or arrays[name].shape[-1] != features for name, axes in names.items()):
        raise CardError(f"The out-of-distribution statistics of {card.id} do not fit its {features} features.")
    return found


@lru_cache(maxsize=16)
def _read_statistics(folder: Path, file: CardFile) -> Mapping[str, npt.NDArray[Any]]:
    return read_arrays(folder, file)

"""What a network's arrays mean for tasks other than classification: scores, survival curves, forecasts.

Masks are read in :mod:`medviewer.inference.masks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.answer import Forecast, Outcome, Score, ScorePart, SurvivalCurve
from medviewer.inference.card import Card
from medviewer.inference.card_checks import CLASSIFYING, OUTCOME_OUTPUTS
from medviewer.inference.card_masks import MASKS
from medviewer.inference.card_outcomes import Band, OutcomeSpec
from medviewer.inference.masks import are_possible

Arrays = Mapping[str, npt.NDArray[Any]]

_SLACK = 1e-6


def wanted_outputs(card: Card) -> tuple[str, ...]:
    """The outputs that an answer is read from."""
    if card.task in CLASSIFYING:
        return ("logits",)
    if card.task == "segmentation":
        return (MASKS,)
    name = OUTCOME_OUTPUTS[card.task][0]
    return (name, "parts") if any(outcome.parts for outcome in card.outcomes) else (name,)


def is_possible(card: Card, outputs: Arrays) -> bool:
    """Whether the outputs can be what they claim: a curve that rises or a score off its scale is a broken network."""
    if card.task == "survival":
        curve = outputs["survival"]
        return bool(
            (curve >= -_SLACK).all() and (curve <= 1 + _SLACK).all() and (np.diff(curve, axis=1) <= _SLACK).all()
        )
    if card.task == "forecast":
        return bool((np.diff(outputs["quantiles"], axis=2) >= -_SLACK).all())
    if card.task == "score":
        low = np.array([one.lowest for one in card.outcomes])
        high = np.array([one.highest for one in card.outcomes])
        return bool((outputs["score"] >= low - _SLACK).all() and (outputs["score"] <= high + _SLACK).all())
    if card.task == "segmentation":
        return are_possible(card, outputs[MASKS])
    return True


def outcomes_of(card: Card, outputs: Arrays, language: str) -> tuple[Outcome, ...]:
    """The outcomes of the first case of a batch, in the reader's language; nothing for the others."""
    if card.task == "score":
        values = outputs["score"][0]
        parts = outputs["parts"][0] if "parts" in outputs else None
        return tuple(
            _score(spec, float(value), parts, language) for spec, value in zip(card.outcomes, values, strict=True)
        )
    if card.task == "survival":
        spec, curve = card.outcomes[0], np.clip(outputs["survival"][0].astype(np.float64), 0, 1)
        title, measured = spec.title.say(language), spec.measured.say(language)
        free = tuple(curve.tolist())
        return (SurvivalCurve(spec.name, spec.code, title, spec.times, spec.unit, free, spec.horizon, measured),)
    if card.task == "forecast":
        rows = zip(card.outcomes, _rows_of(card), strict=True)
        return tuple(_forecast(spec, outputs["quantiles"][0, own], language) for spec, own in rows)
    return ()


def explained_scores(card: Card, outputs: Arrays, target: int) -> npt.NDArray[np.float64]:
    """The number that an explanation takes apart, ``(n,)``, on a scale where differences add up.

    A logit; a score; of a survival curve the complementary log-log of the risk up to its horizon
    (in a proportional hazards model the log of the hazard but for a constant); of a forecast its
    middle at the last of its times.
    """
    if card.task in CLASSIFYING:
        return np.asarray(outputs["logits"][:, target], np.float64)
    if card.task == "score":
        return np.asarray(outputs["score"][:, target], np.float64)
    if card.task == "forecast":
        return np.asarray(outputs["quantiles"][:, _rows_of(card)[target].stop - 1, 1], np.float64)
    spec = card.outcomes[0]
    free = outputs["survival"][:, spec.times.index(spec.horizon)].astype(np.float64)
    return np.asarray(np.log(-np.log(np.clip(free, 1e-7, 1 - 1e-7))), np.float64)


def band_of(spec: OutcomeSpec, value: float) -> Band:
    """The band that a score lies in."""
    return next(band for band in reversed(spec.bands) if value >= band.start - _SLACK)


def _rows_of(card: Card) -> list[slice]:
    """Where the times of each forecast lie in the output."""
    ends = np.cumsum([len(outcome.times) for outcome in card.outcomes]).tolist()
    return [slice(end - len(outcome.times), end) for end, outcome in zip(ends, card.outcomes, strict=True)]


def _forecast(spec: OutcomeSpec, quantiles: npt.NDArray[Any], language: str) -> Forecast:
    low, median, high = (tuple(column.astype(np.float64).tolist()) for column in quantiles.T)
    title, measured = spec.title.say(language), spec.measured.say(language)
    return Forecast(spec.name, spec.code, title, spec.unit, spec.times, median, low, high, spec.nominal, measured)


def _score(spec: OutcomeSpec, value: float, parts: npt.NDArray[Any] | None, language: str) -> Score:
    value = min(max(value, spec.lowest), spec.highest)
    band = band_of(spec, value)
    named = zip(spec.parts, parts.tolist(), strict=True) if parts is not None and spec.parts else ()
    return Score(
        label=spec.name,
        code=spec.code,
        title=spec.title.say(language),
        value=value,
        lowest=spec.lowest,
        highest=spec.highest,
        band=band.title.say(language),
        flagged=band.flagged,
        meaning=band.meaning.say(language),
        parts=tuple(ScorePart(name, title.say(language), float(part)) for (name, title), part in named),
    )

"""Survival models judged by folds: what is said of a patient comes from a model that did not learn from him."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from medviewer.domain.frozen import dataclass
from medviewer.inference.card import InputSpec
from medviewer.training.cohorts import CLASSES, Cohort, columns_of, stratified_folds
from medviewer.training.intervals import gaps
from medviewer.training.metrics import Floats, Truth
from medviewer.training.subgroups import FEWEST, groups_of_column
from medviewer.training.survival_metrics import (
    N_RESAMPLES,
    Concordance,
    brier_score,
    calibration,
    calibration_error,
    kaplan_meier,
    with_interval,
)

N_RESAMPLES_BRIEF = 300  # of a group
_FEWEST_EVENTS = 5  # of a group: of fewer, chance ranks the patients


class Curves(Protocol):
    """What was learned."""

    def free(self, x: Floats, times: Floats) -> Floats:
        """Return ``(n, t)``, the chance of being free of the event up to each of ``times``."""


Learn = Callable[[Floats, Floats, Truth, str], Curves]
"""From columns, times and events, with a name for the place where it works."""


@dataclass(frozen=True, slots=True, eq=False)
class SurvivalAnswers:
    """What was said of each patient.

    Attributes:
        time: ``(n,)``.
        event: ``(n,)``.
        free: ``(repeats, n, t)``, the chance of being free of the event up to each of ``times``.
        folds: ``(repeats, n)``, in which it was said; pairs are compared inside of one only.
        times: ``(t,)``, rising.
        horizon: which of them ranks the patients.
        patients: ``(n,)``, of whom each row is, where some may be of one; those are drawn together.
    """

    time: Floats
    event: Truth
    free: Floats
    folds: np.ndarray
    times: Floats
    horizon: float
    patients: np.ndarray | None = None

    def at(self, time: float) -> Floats:
        """Return ``(repeats, n)``, the chance of being free of the event up to one of :attr:`times`."""
        return np.asarray(self.free[:, :, int(np.flatnonzero(self.times == time)[0])])

    def where(self, members: Truth) -> SurvivalAnswers:
        """Return what was said of some patients."""
        return replace(
            self,
            time=self.time[members],
            event=self.event[members],
            free=self.free[:, members],
            folds=self.folds[:, members],
            patients=None if self.patients is None else self.patients[members],
        )


def answer_by_folds(
    x: Floats, cohort: Cohort, learn: Learn, n: tuple[int, int, int], times: Sequence[float], horizon: float
) -> SurvivalAnswers:
    """Learn from all folds but one, and ask of that one; fold by fold, repeat by repeat.

    Args:
        x: ``(n, p)`` as the model is given them.
        cohort: the patients.
        learn: gives a model.
        n: repeats, folds, and the seed of the first repeat.
        times: at which to ask.
        horizon: one of them.
    """
    n_repeats, n_folds, seed = n
    folds = np.stack([stratified_folds(cohort.event, n_folds, seed + repeat) for repeat in range(n_repeats)])
    asked = np.asarray(times, np.float64)
    free = np.zeros((n_repeats, len(x), len(asked)))
    for repeat in range(n_repeats):
        for fold in range(n_folds):
            rest = folds[repeat] != fold
            model = learn(x[rest], cohort.time[rest], cohort.event[rest], f"repeat-{repeat}-fold-{fold}")
            free[repeat, ~rest] = model.free(x[~rest], asked)
    return SurvivalAnswers(cohort.time, cohort.event, free, folds, asked, horizon)


def survival_measures(
    answers: SurvivalAnswers, horizons: Sequence[float], *, n_resamples: int = N_RESAMPLES
) -> dict[str, Any]:
    """Return ``concordance``, and ``brier_T`` and ``calibration_error_T`` at each horizon, means over repeats.

    Intervals are of a bootstrap over patients; the calibration error, which is one of groups, has none.
    """
    figures, n, of_whom = survival_figures(answers, horizons), len(answers.time), answers.patients
    found = {"concordance": with_interval(figures["concordance"], n, patients=of_whom, n_resamples=n_resamples)}
    for horizon in horizons:
        name, said = f"brier_{horizon:g}", answers.at(horizon).mean(axis=0)
        found[name] = with_interval(figures[name], n, patients=of_whom, n_resamples=n_resamples)
        error = calibration_error(calibration(answers.time, answers.event, said, horizon))
        found[f"calibration_error_{horizon:g}"] = {
            "value": round(error, 5) if np.isfinite(error) else None,
            "ci95": None,
        }
    return found


def survival_figures(
    answers: SurvivalAnswers, horizons: Sequence[float]
) -> dict[str, Callable[[Floats | None], float]]:
    """Return ``concordance`` and ``brier_T`` at each horizon, means over repeats, as functions of patients' weights."""
    pairs = zip(answers.at(answers.horizon), answers.folds, strict=True)
    each = [Concordance(answers.time, answers.event, -free, folds) for free, folds in pairs]
    found: dict[str, Callable[[Floats | None], float]] = {
        "concordance": lambda weights: float(np.mean([one(weights) for one in each]))
    }
    for horizon in horizons:
        said = answers.at(horizon).mean(axis=0)
        found[f"brier_{horizon:g}"] = partial(brier_score, answers.time, answers.event, said, horizon)
    return found


def survival_report(
    cohort: Cohort, spec: InputSpec, answers: SurvivalAnswers, horizons: Sequence[float], text: Mapping[str, str]
) -> dict[str, Any]:
    """Return a report on the folds, as :func:`medviewer.training.card.write_card` takes it; ``text``: what it is."""
    n, events = len(cohort.time), int(cohort.event.sum())
    tables = {f"{t:g}": calibration(cohort.time, cohort.event, answers.at(t).mean(axis=0), t) for t in horizons}
    return {
        "data": {
            "text": dict(text),
            "n": n,
            "n_patients": n,
            "per_class": dict(zip(CLASSES, (n - events, events), strict=True)),
            "digest": cohort.digest,
        },
        "metrics": survival_measures(answers, horizons),
        "calibration": tables,
        "subgroups": survival_subgroups(answers, columns_of(cohort, spec)),
    }


def survival_subgroups(answers: SurvivalAnswers, columns: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return concordance and Brier score at the horizon of groups of patients, and their gaps to all other patients.

    A Brier score also follows how many have the event, so that a gap in it alone is not yet a worse model.

    Args:
        answers: what was said.
        columns: by name, a value of each patient in words; each column makes groups.
    """
    every = {
        name: members for name, words in columns.items() for name, members in groups_of_column(name, words).items()
    }
    known: dict[bytes, dict[str, Any]] = {}  # of two values, each group is the others of the other one

    def figures_of(chosen: Truth) -> dict[str, Any]:
        if chosen.sum() < FEWEST or answers.event[chosen].sum() < _FEWEST_EVENTS:
            return {}
        if (key := chosen.tobytes()) not in known:
            part = answers.where(chosen)
            horizons = [answers.horizon] if answers.horizon < part.time.max() else []
            measured = survival_measures(part, horizons, n_resamples=N_RESAMPLES_BRIEF)
            known[key] = {name: entry for name, entry in measured.items() if _is_of_groups(name, entry)}
        return known[key]

    found = []
    for name, members in every.items():
        if figures := figures_of(members):
            compared = gaps(figures, figures_of(~members), list(figures))
            found.append({"name": name, "n": int(members.sum()), "metrics": figures, "gaps": compared})
    return found


def _is_of_groups(name: str, entry: Mapping[str, Any]) -> bool:
    """Whether a measure is told of a group: the calibration error is one of groups itself."""
    return entry["value"] is not None and not name.startswith("calibration_error")


def risk_groups(time: Floats, event: Truth, risk: Floats, cuts: Sequence[float]) -> list[dict[str, Any]]:
    """Return the curve of Kaplan and Meier of each group of rising risk.

    Args:
        time: ``(n,)``.
        event: ``(n,)``.
        risk: ``(n,)``.
        cuts: between the groups, rising.
    """
    group = np.searchsorted(np.asarray(cuts), risk, side="right")
    found = []
    for index in range(len(cuts) + 1):
        members = group == index
        steps = kaplan_meier(time[members], event[members])
        found.append(
            {
                "group": index + 1,
                "n": int(members.sum()),
                "events": int(event[members].sum()),
                "times": [round(float(t), 3) for t in steps.times],
                "free": [round(float(f), 4) for f in steps.free],
            }
        )
    return found

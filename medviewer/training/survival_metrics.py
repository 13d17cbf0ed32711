"""How good a survival curve is, where not everybody was watched to the end.

Sources: Harrell et al., "Evaluating the Yield of Medical Tests" (1982) for concordance; Kaplan and Meier (1958) with
Greenwood's error (1926), its interval on the log-log scale; Graf et al., "Assessment and comparison of prognostic
classification schemes" (1999) for the Brier score weighted by the inverse chance of not being censored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.training.intervals import are_enough, group_draws, unseen_share
from medviewer.training.metrics import Floats, Truth

N_RESAMPLES = 1000
_TIED = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """A curve of Kaplan and Meier: ``free`` from each of ``times`` on, ``error`` is that of log(-log(free))."""

    times: Floats
    free: Floats
    error: Floats

    def at(self, time: npt.ArrayLike, *, before: bool = False) -> Floats:
        """Return the curve at some times, or just before them."""
        index = np.searchsorted(self.times, time, side="left" if before else "right")
        return np.asarray(np.append(1.0, self.free)[index])

    def interval(self, time: float) -> tuple[float, float]:
        """Return the 95% interval at a time; all that is possible where it is not defined."""
        index = int(np.searchsorted(self.times, time, side="right"))
        free, error = float(np.append(1.0, self.free)[index]), float(np.append(np.nan, self.error)[index])
        if not 0 < free < 1 or not np.isfinite(error):
            return (free, free) if free == 1 else (0.0, 1.0)
        low, high = (float(free ** np.exp(sign * 1.959964 * error)) for sign in (1, -1))
        return low, high


def kaplan_meier(time: Floats, event: Truth, weights: Floats | None = None) -> Steps:
    """Return the share that is free of the event, from each time on at which it happened.

    Args:
        time: ``(n,)``.
        event: ``(n,)``; whoever is censored at the time of an event was still at risk.
        weights: ``(n,)``.
    """
    weights = np.ones(len(time)) if weights is None else weights
    times, which = np.unique(time[event], return_inverse=True)
    died = np.bincount(which, weights[event], len(times))
    order = np.argsort(time)
    still = np.append(np.cumsum(weights[order][::-1])[::-1], 0.0)
    at_risk = still[np.searchsorted(time[order], times)]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(at_risk > 0, died / at_risk, 0.0)
        free = np.cumprod(1 - share)
        spread = np.cumsum(np.where(at_risk > died, died / (at_risk * (at_risk - died)), np.inf))
        error = np.sqrt(spread) / np.abs(np.log(free))
    return Steps(times, np.asarray(free), np.asarray(error))


class Concordance:
    """Harrell's C: of pairs of whom one is known to have the event first, in how many is his risk the higher one.

    Args:
        time: ``(n,)``.
        event: ``(n,)``.
        risk: ``(n,)``, higher is worse; equal ones count half.
        strata: ``(n,)``: only pairs inside of one are compared, such as of one fold.
    """

    def __init__(self, time: Floats, event: Truth, risk: Floats, strata: npt.ArrayLike | None = None) -> None:
        earlier = (time[:, None] < time[None]) | ((time[:, None] == time[None]) & ~event[None])
        pairs = event[:, None] & earlier
        if strata is not None:
            pairs &= np.asarray(strata)[:, None] == np.asarray(strata)[None]
        apart = risk[:, None] - risk[None]
        self._pairs = pairs.astype(np.float64)
        self._right = self._pairs * np.where(np.abs(apart) <= _TIED, 0.5, apart > 0)

    def __call__(self, weights: Floats | None = None) -> float:
        """Return it with weights of cases; NaN where no pair can be compared."""
        w = np.ones(len(self._pairs)) if weights is None else weights
        pairs = float(w @ self._pairs @ w)
        return float(w @ self._right @ w) / pairs if pairs > 0 else float("nan")


def brier_score(time: Floats, event: Truth, free: Floats, horizon: float, weights: Floats | None = None) -> float:
    """Return the mean squared error of the chance ``free`` ``(n,)`` of being free of the event up to a horizon.

    Who was censored before it counts through those who were watched for longer. NaN where nobody was.
    """
    w = np.ones(len(time)) if weights is None else weights
    # Who has the event and who is lost at one time: the event came first, so he was no longer there to be lost.
    watched = kaplan_meier(np.where(event, np.nextafter(time, 0), time), ~event, w)
    g, at_horizon = watched.at(time, before=True), float(watched.at(horizon))
    had, free_still = (time <= horizon) & event, time > horizon
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(had, free**2 / g, 0.0) + np.where(free_still, (1 - free) ** 2 / at_horizon, 0.0)
    drawn = w > 0  # who was not has no chance of having been watched either
    if not (drawn & free_still).any() and not had[drawn].all():
        return float("nan")
    return float(np.average(share[drawn], weights=w[drawn]))


def calibration(time: Floats, event: Truth, free: Floats, horizon: float, n_groups: int = 5) -> list[dict[str, Any]]:
    """Return, for groups of rising risk, the chance of the event that was given and the share that had it.

    Groups are of about equal size; equal risks stay together. Each entry: ``n``, ``events`` (up to the
    horizon), ``said``, ``seen`` (of Kaplan and Meier) and its ``ci95``; both None where nobody of the group was watched
    for so long and not all had the event before: what became of them is not known.
    """
    risk = 1 - free
    cuts = np.unique(np.quantile(risk, np.arange(1, n_groups) / n_groups))
    found = []
    for group in range(len(cuts) + 1):
        members = np.searchsorted(cuts, risk, side="right") == group
        if not members.any():
            continue
        steps = kaplan_meier(time[members], event[members])
        low, high = steps.interval(horizon)
        is_known = time[members].max() >= horizon or steps.at(horizon) == 0
        watched = int((members & (time > horizon)).sum())
        if steps.at(horizon) == 1 and watched:  # a group without an event is none that has no events
            low = 1 - unseen_share(watched)
        found.append(
            {
                "n": int(members.sum()),
                "events": int((event & members & (time <= horizon)).sum()),
                "said": round(float(risk[members].mean()), 4),
                "seen": round(1 - float(steps.at(horizon)), 4) if is_known else None,
                "ci95": [round(1 - high, 4), round(1 - low, 4)] if is_known else None,
            }
        )
    return found


def calibration_error(groups: list[dict[str, Any]]) -> float:
    """Return the mean distance of what was said from what was seen, each group by its size; NaN if nothing was."""
    known = [group for group in groups if group["seen"] is not None]
    if not known:
        return float("nan")
    return float(np.average([abs(g["said"] - g["seen"]) for g in known], weights=[g["n"] for g in known]))


def with_interval(
    measure: Callable[[Floats | None], float],
    n: int,
    *,
    patients: np.ndarray | None = None,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> dict[str, Any]:
    """Return a measure of ``n`` cases with a 95% interval, ``{"value", "ci95"}``; bootstrap over patients.

    ``patients``, ``(n,)``, says of whom each case is; None: each is of another one. None stands for an interval of
    which the draws say nothing: too few have the measure, or all say the same.
    """
    _, index = np.unique(np.arange(n) if patients is None else patients, return_inverse=True)
    drawn_of = group_draws(int(index.max()) + 1, n_resamples, seed=seed)
    draws = [measure(drawn[index].astype(np.float64)) for drawn in drawn_of]
    usable, value = [draw for draw in draws if np.isfinite(draw)], measure(None)
    interval = None
    if are_enough(len(usable), len(draws)) and min(usable) < max(usable):
        interval = [round(float(q), 5) for q in np.percentile(usable, (2.5, 97.5))]
    return {"value": round(value, 5) if np.isfinite(value) else None, "ci95": interval}

"""How true forecasts are: mean absolute error beside two baselines, and how much of what came the bands hold.

Chance is counted in stays, of which each has several moments: percentile bootstrap over stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.training.forecast_data import AHEAD_H, TARGETS, Moments
from medviewer.training.forecast_export import Offered
from medviewer.training.intervals import group_draws
from medviewer.training.metrics import Floats, Truth
from medviewer.training.paired import Measured

HOURS = tuple(range(1, AHEAD_H + 1))
COVERAGE = (0.87, 0.93)  # outside of it, at any hour ahead, a variable is not offered
MEASURES = ("mae", "mae_last", "mae_mean", "less_than_last", "less_than_mean", "coverage", "width")
N_RESAMPLES = 1000


def measure_forecasts(moments: Moments, quantiles: npt.NDArray[np.floating], name: str) -> dict[str, Any]:
    """Return what a variable's forecasts were worth.

    Args:
        moments: with what came.
        quantiles: ``(n, hours, 3)``, low, middle and high, in the units of the card; NaN at hours that are not said.
        name: one of the variables that are forecast.

    Returns:
        ``name``, and of all hours together (``all``) and of each (``hours``, with ``hour``): ``n`` values that came,
        and ``mae``, ``mae_last``, ``mae_mean`` (of the last value, of the mean of the last six hours),
        ``less_than_last``, ``less_than_mean`` (how much smaller the error is, on the same values), ``coverage`` and
        ``width`` of the band, each with ``value`` and ``ci95``.
    """
    is_there, sums = _sums(moments, quantiles, name)
    n_stays = len(sums)
    weights = np.array(list(group_draws(n_stays, N_RESAMPLES)), np.float64).reshape(-1, n_stays)
    drawn = np.tensordot(weights, sums, 1)
    by_hour = [
        {"hour": hour, **_measured(sums[:, at].sum(0), drawn[:, at])}
        for at, hour in enumerate(HOURS)
        if is_there[:, at].any()
    ]
    return {"name": name, "all": _measured(sums[:, -1].sum(0), drawn[:, -1]), "hours": by_hour}


def figures_by_weight(moments: Moments, said: Mapping[str, npt.NDArray[np.floating]]) -> Measured:
    """Return what gives error and coverage of each variable, all hours together, for weights of the stays.

    Args:
        moments: with what came; the stays are those that have moments, in rising order.
        said: by variable, as ``quantiles`` of :func:`measure_forecasts`.
    """
    sums = {name: _sums(moments, quantiles, name)[1][:, -1] for name, quantiles in said.items()}

    def figures(weights: Floats) -> dict[str, float]:
        totals = {name: weights @ rows for name, rows in sums.items()}
        return {
            f"{name} {measure}": float(total[MEASURES.index(measure)] / total[-1]) if total[-1] else float("nan")
            for name, total in totals.items()
            for measure in ("mae", "coverage")
        }

    return figures


def _sums(moments: Moments, quantiles: npt.NDArray[np.floating], name: str) -> tuple[Truth, Floats]:
    """Return which values came and were said, and ``(stays, hours and all, measures and their count)``, sums."""
    index = TARGETS.index(name)
    truth = moments.truth[:, index].astype(np.float64)
    low, middle, high = np.moveaxis(quantiles.astype(np.float64), 2, 0)
    is_there = np.isfinite(truth) & np.isfinite(middle)
    wrong = np.abs(middle - truth)
    last, mean = (np.abs(one[:, index, None] - truth) for one in (moments.last, moments.mean))
    held = ((truth >= low) & (truth <= high)).astype(np.float64)
    cells = np.stack([wrong, last, mean, last - wrong, mean - wrong, held, high - low])
    cells = np.where(is_there, cells, 0.0)
    stays = int(moments.stay.max()) + 1
    sums = np.zeros((stays, len(HOURS), len(MEASURES) + 1))
    np.add.at(sums, moments.stay, np.concatenate([cells, is_there[None].astype(np.float64)]).transpose(1, 2, 0))
    sums = sums[np.unique(moments.stay)]
    return is_there, np.concatenate([sums, sums.sum(1, keepdims=True)], 1)


def _measured(total: Floats, drawn: Floats) -> dict[str, Any]:
    """Return each measure with its interval, of sums and a count, ``(measures + 1,)``, and draws of them."""
    n = total[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        values, draws = total[:-1] / n, drawn[:, :-1] / drawn[:, -1:]
    found: dict[str, Any] = {"n": int(n)}
    for at, name in enumerate(MEASURES):
        usable = draws[np.isfinite(draws[:, at]), at]
        interval = [round(float(q), 5) for q in np.percentile(usable, (2.5, 97.5))] if len(usable) else None
        found[name] = {"value": round(float(values[at]), 5) if n else None, "ci95": interval}
    return found


def offered_of(measured: Sequence[Mapping[str, Any]]) -> tuple[list[Offered], dict[str, str]]:
    """Return which variables are offered, at which hours, and of each other one why not.

    A band that does not hold what it says at some hour, or an error that is not smaller than that of both
    baselines (all hours together, with its interval), takes the whole variable away. An hour at which the error is
    no smaller is left out alone, as long as half of the hours remain.
    """
    offered: list[Offered] = []
    refused: dict[str, str] = {}
    for one in measured:
        name, hours = one["name"], one["hours"]
        bad = [h["hour"] for h in hours if not COVERAGE[0] <= h["coverage"]["value"] <= COVERAGE[1]]
        worse = [
            words
            for key, words in (("less_than_last", "the last value"), ("less_than_mean", "the mean of the last hours"))
            if not (interval := one["all"][key]["ci95"]) or interval[0] <= 0
        ]
        better = tuple(
            h["hour"] for h in hours if h["less_than_last"]["value"] > 0 and h["less_than_mean"]["value"] > 0
        )
        if len(hours) < len(HOURS):
            refused[name] = "at some hours ahead nothing was measured"
        elif bad:
            held = ", ".join(f"{h['coverage']['value']:.1%} {h['hour']} h ahead" for h in hours if h["hour"] in bad)
            refused[name] = f"its band, meant to hold 90%, held {held}"
        elif worse:
            refused[name] = f"its error is not surely smaller than that of {' and '.join(worse)}"
        elif 2 * len(better) < len(HOURS):
            refused[name] = "at most hours ahead its error is no smaller than that of a baseline"
        else:
            offered.append(Offered(name, better))
    return offered, refused

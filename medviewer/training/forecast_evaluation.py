"""How true are a model's forecasts on stays that it has not learned from?

Runs the shipped files as the viewer does, beside two baselines that need no model: the last value, and the
mean of the last six hours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer import __version__
from medviewer.inference.card import Card, read_card
from medviewer.training.forecast_data import AHEAD_H, TARGETS, Moments, moments_of
from medviewer.training.forecast_export import OUTPUT, Offered
from medviewer.training.forecast_scores import COVERAGE, measure_forecasts
from medviewer.training.intervals import gaps
from medviewer.training.physionet import Stay
from medviewer.training.report_page import (
    figure,
    interval_words,
    of_patients,
    page_head,
    subgroup_table,
    table,
    write_report,
)
from medviewer.training.scoring import open_session
from medviewer.training.stay_evaluation import FEWEST, SCHEMA, groups_of, read_sets
from medviewer.training.stays import FIELDS, all_implausible

_BATCH = 512
_BRIEF = ("mae", "coverage")
Said = Mapping[str, npt.NDArray[np.float32]]


def evaluate_forecasts(model: Path, data: Path, out: Path, *, split: str | None, progress: Any) -> Mapping[str, Any]:
    """Forecast at every moment of the stays of some sets, and write ``report.json`` and ``report.html``.

    Args:
        model: the model folder, of ``icu-forecast``.
        data: the folder with ``set-x`` or ``set-x.zip``, or one such set; outcomes are not needed.
        out: receives the report.
        split: the letter of one set; None: all.
        progress: called with one line of text at a time.

    Raises:
        ModelError, UsageError, InputError, StorageError: as :func:`medviewer.training.evaluate.evaluate`.
    """
    started = time.time()
    card = read_card(model)
    read = read_sets(data, split)
    stays = [stay for one in read.values() for stay in one.stays]
    moments = moments_of(stays, [spec.document for spec in card.inputs])
    progress(f"{len(moments.stay)} moments of {len(stays)} stays")
    said = said_by(card, moments)
    digests = {letter: one.digest for letter, one in read.items()}
    report = {
        "schema": SCHEMA,
        "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
        "data": describe_moments(data, split, moments, " ".join(digests.values()))
        | {
            "unusable": [{"file": name, "reason": why} for one in read.values() for name, why in one.unusable],
            "implausible": all_implausible(stays, [spec.document for spec in card.inputs]),
            "was_learned_from": bool(set(card.training.get("data_digests", {}).values()) & set(digests.values())),
        },
        **summarise(moments, said),
        "subgroups": subgroups_of(stays, moments, said),
        "versions": {"medviewer": __version__, "numpy": np.__version__},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "elapsed_s": round(time.time() - started, 1),
    }
    write_report(out, report, forecast_page(report))
    progress(f"report written to {out}")
    return report


def said_by(card: Card, moments: Moments) -> Said:
    """Return low, middle and high of each variable that the card offers, ``(n, 6, 3)``; NaN at hours that it does not.

    Raises:
        ModelError: a file is missing, changed, unsafe or not runnable.
    """
    session, n = open_session(card, "model"), len(FIELDS)
    found = []
    for start in range(0, len(moments.stay), _BATCH):
        about = moments.fields[start : start + _BATCH]
        given = {"joined": moments.joined[start : start + _BATCH], "fields": about[:, :n], "known": about[:, n:]}
        found += session.run([OUTPUT], given)
    return by_variable(
        np.concatenate(found), [Offered(one.name, tuple(int(t) for t in one.times)) for one in card.outcomes]
    )


def by_variable(quantiles: npt.NDArray[np.float32], offered: Sequence[Offered]) -> Said:
    """Return the rows of a graph, ``(n, hours of all variables, 3)``, by variable and hour ahead, ``(n, 6, 3)``."""
    found, start = {}, 0
    for one in offered:
        own = np.full((len(quantiles), AHEAD_H, 3), np.nan, np.float32)
        own[:, [hour - 1 for hour in one.hours]] = quantiles[:, start : start + len(one.hours)]
        found[one.name], start = own, start + len(one.hours)
    return found


def summarise(moments: Moments, said: Said) -> dict[str, Any]:
    """Return ``forecasts``, a variable each, and ``metrics``: of all hours together, by name."""
    forecasts = [measure_forecasts(moments, quantiles, name) for name, quantiles in said.items()]
    metrics = {
        f"{one['name']} {measure}": entry
        for one in forecasts
        for measure, entry in one["all"].items()
        if measure != "n"
    }
    return {"metrics": metrics, "forecasts": forecasts}


def subgroups_of(stays: Sequence[Stay], moments: Moments, said: Said) -> list[dict[str, Any]]:
    """Return error and coverage, and gaps to the other stays, by age, sex and unit; groups too small are left out."""
    found = []
    for name, members in groups_of(stays).items():
        own = members[moments.stay]
        if members.sum() < FEWEST or not own.any():
            continue
        figures = _figures_of(moments, said, own)
        entry = {"name": name, "n": int(members.sum()), "metrics": figures}
        if (~members).sum() >= FEWEST and not own.all():
            entry["gaps"] = gaps(figures, _figures_of(moments, said, ~own), list(figures))
        found.append(entry)
    return found


def _figures_of(moments: Moments, said: Said, chosen: npt.NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
    part = moments.where(chosen)
    measured = [(variable, measure_forecasts(part, said[variable][chosen], variable)["all"]) for variable in said]
    return {f"{variable} {measure}": one[measure] for variable, one in measured for measure in _BRIEF}


def describe_moments(data: Path, split: str | None, moments: Moments, digest: str) -> dict[str, Any]:
    """Say what was evaluated; a case is a moment."""
    came = np.isfinite(moments.truth).sum((0, 2))
    return {
        "path": str(data),
        "split": split,
        "n": len(moments.stay),
        "n_patients": len(set(moments.stay.tolist())),
        "digest": digest,
        "per_class": {f"values of {name}": int(n) for name, n in zip(TARGETS, came, strict=True)},
    }


def forecast_page(report: Mapping[str, Any]) -> str:
    """Return the page: error and band of each variable over the hours ahead, beside the baselines."""
    parts = page_head(report, of_patients(report["data"]))
    for one in report["forecasts"]:
        parts.append(f"<h2>{one['name']}</h2>")
        parts += [f"<figure><img alt='{name}' src='{figure(draw)}'></figure>" for name, draw in _figures(one)]
        rows = [
            [str(row.get("hour", "all")), str(row["n"]), *(interval_words(row[key]) for key in _COLUMNS)]
            for row in (*one["hours"], one["all"])
        ]
        parts.append(table(["hours ahead", "n", *_COLUMNS.values()], rows))
    if report["subgroups"]:
        names = list(report["subgroups"][0]["metrics"])
        rows = [
            [group["name"], str(group["n"]), *(interval_words(group["metrics"][name]) for name in names)]
            for group in report["subgroups"]
        ]
        found = subgroup_table(report, table(["group", "stays", *names], rows), "stays")
        parts += ["<h2>Subgroups, all hours</h2>", found]
    return "\n".join([*parts, "</html>"])


_COLUMNS = {
    "mae": "error (MAE)",
    "mae_last": "of the last value",
    "mae_mean": "of the mean of 6 h",
    "coverage": "held by the band",
    "width": "width of the band",
}


def _figures(one: Mapping[str, Any]) -> list[tuple[str, Any]]:
    hours = [row["hour"] for row in one["hours"]]

    def errors(axes: Any) -> None:
        for key in ("mae", "mae_last", "mae_mean"):
            axes.plot(hours, [row[key]["value"] for row in one["hours"]], label=_COLUMNS[key])
        axes.set(title="Mean absolute error", xlabel="hours ahead", ylim=(0, None))
        axes.legend()

    def held(axes: Any) -> None:
        values = [row["coverage"] for row in one["hours"]]
        axes.axhspan(*COVERAGE, color="0.9")
        axes.plot(hours, [entry["value"] for entry in values])
        for hour, entry in zip(hours, values, strict=True):
            if entry["ci95"] is not None:
                axes.vlines(hour, *entry["ci95"])
        axes.set(title="Held by the band (meant: 90%)", xlabel="hours ahead", ylim=(0.8, 1))

    return [(f"{one['name']} error", errors), (f"{one['name']} coverage", held)]

"""How good is a survival model on patients that it has not learned from?

Runs the shipped files as the viewer does, on a CSV file with the model's fields, ``time`` and ``event``.
"""

from __future__ import annotations

import html
import time as clock
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medviewer import __version__
from medviewer.domain.errors import ModelError, UsageError
from medviewer.inference.card import Card, read_card
from medviewer.inference.outcomes import is_possible
from medviewer.training.cohorts import Cohort, columns_of, encoded, read_cohort
from medviewer.training.metrics import Floats
from medviewer.training.report_page import figure, interval_words, page_head, subgroup_table, table, write_report
from medviewer.training.scoring import open_session
from medviewer.training.survival_folds import SurvivalAnswers, risk_groups, survival_measures, survival_subgroups
from medviewer.training.survival_metrics import calibration

SCHEMA = "medviewer-evaluation/1"
_BATCH = 4096
_COPIED = (
    "Among the rows are copies, equal in every field, time and event: {n} rows stand for only {same}. Each counts in "
    "the figures; intervals take equal ones for one patient, but those of observed shares are too narrow."
)


def evaluate_survival(
    model: Path, data: Path, out: Path, *, split: str | None, progress: Callable[[str], None]
) -> Mapping[str, Any]:
    """Run a survival model over a table of patients and write ``report.json`` and ``report.html``.

    Args:
        model: the model folder, of a model whose one input is a table.
        data: a CSV file in UTF-8: one row a patient, columns named as the card's fields, ``time`` in the unit of
            the card and ``event`` (1: it happened, 0: nothing more is known from then on).
        out: receives the report.
        split: must be None: a table has no parts.
        progress: called with one line of text at a time.

    Raises:
        ModelError, UsageError, InputError, StorageError: as :func:`medviewer.training.evaluate.evaluate`.
    """
    started = clock.time()
    card = read_card(model)
    check_whole(split)
    if [spec.kind for spec in card.inputs] != ["table"] or len(card.inputs[0].tensors) != 1:
        raise UsageError(f"The model {card.id} takes more than one table of values; it cannot be evaluated so.")
    cohort = read_cohort(data, card.inputs[0])
    about = describe_patients(cohort, cohort.patients)
    progress(words_of(about))
    spec, answers = card.outcomes[0], answers_of(card, cohort, cohort.patients)
    # Beyond the last patient who was watched nothing can be compared.
    horizons = [one for one in spec.times if one < cohort.time.max()]
    risk = 1 - answers.at(spec.horizon)[0]
    cuts = card.training.get("risk_cuts") or np.quantile(risk, (1 / 3, 2 / 3)).tolist()
    report = {
        "schema": SCHEMA,
        "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
        "data": about | {"was_learned_from": was_learned_from(card, cohort)},
        "horizon": spec.horizon,
        "unit": spec.unit,
        "metrics": survival_measures(answers, horizons),
        "calibration": {f"{t:g}": calibration(cohort.time, cohort.event, answers.at(t)[0], t) for t in horizons},
        "risk_groups": {"cuts": [round(float(cut), 4) for cut in cuts]}
        | {"groups": risk_groups(cohort.time, cohort.event, risk, cuts)},
        "subgroups": survival_subgroups(answers, columns_of(cohort, card.inputs[0])),
        "versions": {"medviewer": __version__, "numpy": np.__version__},
        "started": clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(started)),
        "elapsed_s": round(clock.time() - started, 1),
    }
    write_report(out, report, survival_page(report))
    progress(f"report written to {out}")
    return report


def check_whole(split: str | None) -> None:
    """Refuse a part of a table.

    Raises:
        UsageError: one is asked for.
    """
    if split is not None:
        raise UsageError("A table of patients has no parts; leave --split out.")


def answers_of(card: Card, cohort: Cohort, patients: Sequence[int]) -> SurvivalAnswers:
    """Return what the shipped file says of each row, ready to be measured; ``patients``: of whom each is.

    Raises:
        ModelError: as :func:`survival_of`.
    """
    spec, free = card.outcomes[0], survival_of(card, cohort)
    everyone = np.zeros((1, len(cohort.time)), dtype=np.int64)
    times, of_whom = np.array(spec.times), np.array(patients)
    return SurvivalAnswers(cohort.time, cohort.event, free[None], everyone, times, spec.horizon, of_whom)


def describe_patients(cohort: Cohort, patients: Sequence[int]) -> dict[str, Any]:
    """Say what was evaluated; ``patients``: of whom each row is."""
    same: dict[int, list[str]] = defaultdict(list)
    for row, patient in zip(cohort.rows, patients, strict=True):
        same[patient].append(f"row {row}")
    n, events = len(cohort.time), int(cohort.event.sum())
    return {
        "path": str(cohort.path),
        "split": None,
        "n": n,
        "n_patients": len(same),
        "digest": cohort.digest,
        "per_class": {"no event": n - events, "event": events},
        "unusable": [{"file": name, "reason": reason} for name, reason in cohort.unusable],
        "copies": [rows for rows in same.values() if len(rows) > 1],
    }


def words_of(data: Mapping[str, Any]) -> str:
    """Return how many patients there are, and rows where some are copies, as a report tells it."""
    rows = "" if data["n"] == data["n_patients"] else f"{data['n']} rows of "
    return f"{rows}{data['n_patients']} patients, {data['per_class']['event']} with the event"


def was_learned_from(card: Card, cohort: Cohort) -> bool:
    """Whether the model learned from this file, or from the same patients in another file or form."""
    same_file = cohort.digest == card.training.get("data_digest")
    return same_file or cohort.patients_digest == card.training.get("patients_digest")


def survival_of(card: Card, cohort: Cohort) -> Floats:
    """Return ``(n, t)``, what the shipped file says of each patient.

    Raises:
        ModelError: a file is missing, changed, unsafe or not runnable, or gives what is no survival curve.
    """
    session, spec = open_session(card, "model"), card.inputs[0]
    x = encoded(cohort.values, spec).astype(np.float32)
    parts = [
        session.run(["survival"], {spec.tensors[0].name: x[start : start + _BATCH]})[0]
        for start in range(0, len(x), _BATCH)
    ]
    found = np.concatenate(parts)
    if not np.isfinite(found).all() or not is_possible(card, {"survival": found}):
        raise ModelError(f"The model {card.id} gives what is no survival curve; it is broken.")
    return np.asarray(np.clip(found, 0, 1), np.float64)


def survival_page(report: Mapping[str, Any]) -> str:
    """Return the report as one HTML page: no script, no link, images inside."""
    unit = "patients; of observed shares by Greenwood's error"
    parts = page_head(report, words_of(report["data"]), unit=unit, row="row", copied=_COPIED)
    rows = [[name, interval_words(entry)] for name, entry in report["metrics"].items()]
    parts += ["<h2>Measures</h2>", table(["measure", "value (95% interval)"], rows)]
    for name, draw in (("risk groups", _draw_groups), ("calibration", _draw_calibration)):
        parts.append(f"<figure><img alt='{name}' src='{figure(partial(draw, report))}'></figure>")
    for horizon, groups in report["calibration"].items():
        rows = [
            [str(g["n"]), str(g["events"]), f"{g['said']:.3f}", interval_words({"value": g["seen"], "ci95": g["ci95"]})]
            for g in groups
        ]
        parts.append(f"<h2>Calibration at {html.escape(horizon)} {html.escape(report['unit'])}</h2>")
        parts.append(table(["patients", "events", "chance given", "share seen (95%)"], rows))
    parts += ["<h2>Subgroups</h2>", _subgroups(report)]
    return "\n".join([*parts, "</html>"])


def _subgroups(report: Mapping[str, Any]) -> str:
    names = ["concordance", f"brier_{report['horizon']:g}"]
    rows = [
        [
            group["name"],
            str(group["n"]),
            *(interval_words(group["metrics"][name]) if name in group["metrics"] else "–" for name in names),
        ]
        for group in report["subgroups"]
    ]
    also = "<p>A Brier score also follows how many have the event: a gap in it alone is not yet a worse model.</p>"
    return subgroup_table(report, table(["group", "n", *names], rows) + also, "patients")


def _draw_groups(report: Mapping[str, Any], axes: Any) -> None:
    for group in report["risk_groups"]["groups"]:
        label = f"group {group['group']} (n = {group['n']})"
        axes.step([0, *group["times"]], [1, *group["free"]], where="post", label=label)
    axes.set(title="Free of the event, by risk", xlabel=f"time ({report['unit']})", ylabel="share", ylim=(0, 1.02))
    axes.legend()


def _draw_calibration(report: Mapping[str, Any], axes: Any) -> None:
    groups = [g for g in report["calibration"].get(f"{report['horizon']:g}", []) if g["seen"] is not None]
    axes.plot([0, 1], [0, 1], "--", color="grey")
    for group in groups:
        axes.plot([group["said"]] * 2, group["ci95"], color="tab:blue")
    axes.scatter([group["said"] for group in groups], [group["seen"] for group in groups])
    axes.set(title=f"Calibration at {report['horizon']:g}", xlabel="chance given", ylabel="share seen")

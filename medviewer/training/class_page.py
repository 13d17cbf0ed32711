"""An evaluation of one class out of several, as one HTML page: no script, no link, images inside."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from medviewer.training.report_page import figure, interval_words, number_words, page_head, subgroup_table, table

_MEANING = {
    "accuracy": "share whose most probable class is the true one",
    "top3_accuracy": "share whose true class is among the three most probable",
    "macro_f1": "mean over classes of the harmonic mean of precision and recall",
    "log_loss": "mean negative logarithm of the true class's probability (0 best)",
    "ece": "distance of the called class's probability from how often it is right",
}
_CALL = {"abstain": "no result", "warn": "result with a warning"}


def class_page(report: Mapping[str, Any]) -> str:
    """Return the page of a ``report.json`` with the keys ``classes`` and ``guards``."""
    data = report["data"]
    what = f"{data['n']} cases, {data['n_patients']} of them different"
    parts = page_head(report, what, unit="different cases; exact where a model was never wrong", row="row")
    absent = [entry["name"] for entry in report["classes"] if entry["n"] == 0]
    if absent:
        named = html.escape(", ".join(absent))
        parts.append(f"<p class=warning>No case is of these classes, and nothing is known of them here: {named}.</p>")
    measured = [[name, interval_words(entry), _MEANING.get(name, "")] for name, entry in report["metrics"].items()]
    parts += ["<h2>Measures</h2>", table(["measure", "value (95% interval)", "meaning"], measured)]
    parts += [f"<figure><img alt='reliability' src='{figure(lambda axes: _reliability(axes, report))}'></figure>"]
    parts += ["<h2>Classes</h2>", _classes(report), "<h2>Confusion matrix</h2>", _confusion(report)]
    parts += ["<h2>Subgroups</h2>", _subgroups(report), "<h2>What the guards say of these cases</h2>", _guards(report)]
    return "\n".join([*parts, "</html>"])


def _classes(report: Mapping[str, Any]) -> str:
    rows = [
        [
            one["name"],
            str(one["n"]),
            str(one["called"]),
            *(number_words(one[key]) for key in ("precision", "recall", "f1")),
        ]
        for one in report["classes"]
    ]
    return table(["class", "n", "called", "precision", "recall", "F1"], rows)


def _confusion(report: Mapping[str, Any]) -> str:
    names, counts = report["confusion"]["classes"], report["confusion"]["counts"]
    rows = [[name, *(str(count) if count else "" for count in row)] for name, row in zip(names, counts, strict=True)]
    return "<p>Rows: what it is. Columns: what it was called.</p>" + table(["", *names], rows)


def _subgroups(report: Mapping[str, Any]) -> str:
    names = ["accuracy", "top3_accuracy", "ece"]
    rows = [
        [group["name"], str(group["n"]), *(interval_words(group["metrics"][name]) for name in names)]
        for group in report["subgroups"]
    ]
    return subgroup_table(report, table(["group", "n", *names], rows), "notes")


def _guards(report: Mapping[str, Any]) -> str:
    rows = []
    for doubt, count in report["guards"].items():
        level, _, code = doubt.partition(": ")
        rows.append([code, _CALL.get(level, level), str(count)])
    return table(["doubt", "what happens", "cases"], rows)


def _reliability(axes: Any, report: Mapping[str, Any]) -> None:
    bins = report["reliability"]
    axes.plot([0, 1], [0, 1], "--", color="grey")
    said, seen = [one["said"] for one in bins], [one["seen"] for one in bins]
    axes.scatter(said, seen, [20 + 300 * one["share"] for one in bins])
    axes.set(title="Reliability of the called class", xlabel="probability given", ylabel="share that is right")

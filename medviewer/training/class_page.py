"""An evaluation of one class out of several, as one HTML page: no script, no link, images inside."""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import partial
from typing import Any

from medviewer.training.class_curves import draw_precision_recall, draw_roc, drawn_classes
from medviewer.training.class_metrics import Classes
from medviewer.training.metrics import Floats
from medviewer.training.report_page import figure, interval_words, number_words, page_head, subgroup_table, table

_MEANING = {
    "accuracy": "share whose most probable class is the true one",
    "top3_accuracy": "share whose true class is among the three most probable",
    "macro_f1": "mean over classes of the harmonic mean of precision and recall",
    "log_loss": "mean negative logarithm of the true class's probability (0 best)",
    "ece": "distance of the called class's probability from how often it is right",
}
_MACRO = {
    "auc": "chance that a case of a class scores above one of another, mean over classes",
    "pr_auc": "area under precision over recall, mean over classes",
}
_CALL = {"abstain": "no result", "warn": "result with a warning"}


def class_page(report: Mapping[str, Any], truth: Classes, probability: Floats) -> str:
    """Return the page.

    Args:
        report: a ``report.json`` with the keys ``classes``, ``one_against_rest`` and ``guards``.
        truth: ``(n,)`` class numbers.
        probability: ``(n, C)`` what the model said.
    """
    data = report["data"]
    what = f"{data['n']} cases, {data['n_patients']} of them different"
    unit = "different cases; exact where a model was never wrong"
    parts = page_head(report, what, unit=unit, row="row", checks="language, length and words, as is told at the end")
    absent = [entry["name"] for entry in report["classes"] if entry["n"] == 0]
    if absent:
        named = html.escape(", ".join(absent))
        parts.append(f"<p class=warning>No case is of these classes, and nothing is known of them here: {named}.</p>")
    measured = [[name, interval_words(entry), _MEANING.get(name, "")] for name, entry in report["metrics"].items()]
    parts += ["<h2>Measures</h2>", table(["measure", "value (95% interval)", "meaning"], measured)]
    parts += [f"<figure><img alt='reliability' src='{figure(lambda axes: _reliability(axes, report))}'></figure>"]
    parts += ["<h2>Each class against all others</h2>", *_one_against_rest(report, truth, probability)]
    parts += ["<h2>Classes</h2>", _classes(report), "<h2>Confusion matrix</h2>", _confusion(report)]
    parts += ["<h2>Subgroups</h2>", _subgroups(report), "<h2>What the guards say of these cases</h2>", _guards(report)]
    return "\n".join([*parts, "</html>"])


def _one_against_rest(report: Mapping[str, Any], truth: Classes, probability: Floats) -> list[str]:
    """Return figures and curves; only a sentence where all cases are of one class."""
    names = report["confusion"]["classes"]
    drawn = drawn_classes(truth, len(names))
    if not drawn:
        return ["<p>All cases are of one class: there is nothing to tell apart.</p>"]
    n_known = len(drawn_classes(truth, len(names), most=len(names)))
    n, whole = len(drawn), f"all {n_known} classes of which there are cases"
    which = f"the {n} most frequent of {n_known} classes" if n < n_known else whole
    rows = [[name, interval_words(entry), _MACRO[name]] for name, entry in report["one_against_rest"]["macro"].items()]
    weighs = "a rare class weighs as much in a mean as a common one"
    found = [
        f"<p>Drawn are {which}; {weighs}. The table of classes has every class.</p>",
        table(["measure", "value (95% interval)", "meaning"], rows),
    ]
    for name, draw in (("ROC", draw_roc), ("precision-recall", draw_precision_recall)):
        drawing = figure(partial(draw, truth, probability, names))
        found.append(f"<figure><img alt='{name}' src='{drawing}'></figure>")
    return found


def _classes(report: Mapping[str, Any]) -> str:
    apart = report["one_against_rest"]["classes"]
    rows = [
        [
            one["name"],
            str(one["n"]),
            str(one["called"]),
            *(number_words(one[key]) for key in ("precision", "recall", "f1")),
            *(number_words(other[key]) for key in ("auc", "pr_auc")),
        ]
        for one, other in zip(report["classes"], apart, strict=True)
    ]
    return table(["class", "n", "called", "precision", "recall", "F1", "AUC", "area under precision-recall"], rows)


def _confusion(report: Mapping[str, Any]) -> str:
    names, counts = report["confusion"]["classes"], report["confusion"]["counts"]
    numbers = [str(number) for number in range(1, len(names) + 1)]  # twenty names side by side are wider than a page
    rows = [
        [number, name, *(str(count) if count else "" for count in row)]
        for number, name, row in zip(numbers, names, counts, strict=True)
    ]
    words = "<p>Rows: what it is. Columns: what it was called, by the numbers of the rows.</p>"
    return f"{words}<div class=matrix>{table(['', '', *numbers], rows)}</div>"


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

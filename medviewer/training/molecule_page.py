"""The report on a table of molecules as one HTML page: no script, no link, images inside."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from medviewer.training.metrics import Floats, roc_curve
from medviewer.training.report_page import figure, interval_words, page_head, subgroup_table, table

_MEANING = {
    "auc": "chance that an active molecule scores above an inactive one",
    "pr_auc": "area under precision over recall",
    "balanced_accuracy": "share called right, active and inactive weighing the same",
    "sensitivity": "share of the active that are called",
    "specificity": "share of the inactive that are not called",
    "brier": "mean squared error of the probability",
    "ece": "distance of probability from frequency",
}


def molecule_page(report: Mapping[str, Any], truth: Floats, probability: Floats) -> str:
    """Return the page.

    Args:
        report: the content of ``report.json``.
        truth: ``(n, assays)``, NaN where not known.
        probability: ``(n, assays)``, what the model said.
    """
    data = report["data"]
    counts = ", ".join(f"{count} {name}" for name, count in data["per_class"].items())
    what = f"{data['n']} molecules of {data['n_scaffolds']} skeletons: {counts}"
    parts = [
        *page_head(report, what, unit="skeletons; exact where a model was never wrong", row="row"),
        *_left_out(report["left_out"]),
        "<h2>Mean over assays</h2>",
        table(["measure", "value (95% interval)", "meaning"], _means(report)),
        "<h2>Assays</h2>",
        _assays(report),
    ]
    drawn = {name: index for index, (name, found) in enumerate(report["assays"].items()) if found["metrics"]}
    for name, draw in (("ROC", _roc(truth, probability, drawn)), ("reliability", _reliability(report, list(drawn)))):
        parts.append(f"<figure><img alt='{name}' src='{figure(draw)}'></figure>")
    parts += ["<h2>Subgroups</h2>", _subgroups(report)]
    if found := report["novelty"]:
        told = f"{found['warned']:.1%} would be warned of as unlike what was learned from, {found['abstained']:.1%}"
        parts.append(f"<p>{told} refused; the median distance is {found['median_distance']:.1f}.</p>")
    return "\n".join([*parts, "</html>"])


def _left_out(assays: Sequence[str]) -> list[str]:
    names = html.escape(", ".join(assays))
    words = f"Of these only one result is there, so they have no measures: {names}."
    return [f"<p class=warning>{words}</p>"] if assays else []


def _means(report: Mapping[str, Any]) -> list[list[str]]:
    return [
        [name, interval_words(found), _MEANING.get(name, "")]
        for name, found in report["metrics"].items()
        if not name.startswith("auc ")
    ]


def _assays(report: Mapping[str, Any]) -> str:
    names = list(_MEANING)
    rows = [
        [assay, str(found["n"]), str(found["active"]), f"{found['threshold']:.3f}"]
        + [interval_words(found["metrics"][name]) if name in found["metrics"] else "–" for name in names]
        for assay, found in report["assays"].items()
    ]
    return table(["assay", "n", "active", "threshold", *names], rows)


def _subgroups(report: Mapping[str, Any]) -> str:
    names = ["auc", "sensitivity", "specificity"]
    rows = [
        [
            group["name"],
            str(group["n"]),
            str(group["n_assays"]),
            str(group.get("n_assays_shared", "–")),
            *(interval_words(group["metrics"][name]) for name in names),
        ]
        for group in report["subgroups"]
    ]
    figures = table(["group", "n", "assays", "assays in the gap", *names], rows)
    shared = "<p>Gaps are between means over the assays that can be measured in the group and in all others.</p>"
    return subgroup_table(report, figures + shared, "molecules")


def _roc(truth: Floats, probability: Floats, drawn: Mapping[str, int]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], "--", color="grey")
        for name, column in drawn.items():
            known = np.isfinite(truth[:, column])
            false_rate, true_rate, _ = roc_curve(truth[known, column] == 1, probability[known, column])
            axes.plot(false_rate, true_rate, linewidth=1, label=name)
        axes.legend(fontsize=6)
        axes.set(title="ROC", xlabel="1 - specificity", ylabel="sensitivity")

    return draw


def _reliability(report: Mapping[str, Any], drawn: Sequence[str]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], "--", color="grey")
        for name in drawn:
            rows = report["assays"][name]["reliability"]
            axes.plot([row["said"] for row in rows], [row["seen"] for row in rows], ".-", linewidth=1, label=name)
        axes.set(title="Reliability", xlabel="probability given", ylabel="frequency seen")

    return draw

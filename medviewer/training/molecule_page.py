"""The report on a table of molecules as one HTML page: no script, no link, images inside."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from medviewer.training.metrics import Floats, precision_recall_curve, roc_curve
from medviewer.training.report_page import (
    draw_benefit,
    figure,
    interval_words,
    novelty_section,
    page_head,
    subgroup_table,
    table,
)

_MOST_DRAWN = 12  # assays
_STYLES = ("-",) * 10 + ("--",) * 2  # there are ten colours
_SMALL = (3.1, 2.8)  # inches

_MEANING = {
    "auc": "chance that an active molecule scores above an inactive one",
    "pr_auc": "area under precision over recall",
    "balanced_accuracy": "share called right, active and inactive weighing the same",
    "sensitivity": "share of the active that are called",
    "specificity": "share of the inactive that are not called",
    "brier": "mean squared error of the probability",
    "ece": "distance of probability from frequency",
}


_BENEFIT_TEXT = (
    "Net benefit of acting on the molecules that the model puts at or above each threshold, beside acting on all of "
    "them and on none, at the share of active ones in this table."
)


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
        *page_head(
            report,
            what,
            unit="skeletons; exact where a model was never wrong",
            row="row",
            checks="whether the molecule can be read, and its size",
        ),
        *_left_out(report["left_out"]),
        "<h2>Mean over assays</h2>",
        table(["measure", "value (95% interval)", "meaning"], _means(report)),
        "<h2>Assays</h2>",
        _assays(report),
    ]
    drawn = _drawn(report)
    parts.append(_which(report, drawn))
    for name, draw in (
        ("ROC", _roc(truth, probability, drawn)),
        ("precision-recall", _precision_recall(truth, probability, drawn)),
        ("reliability", _reliability(report, list(drawn))),
    ):
        parts.append(f"<figure><img alt='{name}' src='{figure(draw)}'></figure>")
    parts += ["<h2>At the threshold of each assay</h2>", _confusion(report), *_benefit(report, list(drawn))]
    parts += ["<h2>Subgroups</h2>", _subgroups(report), *novelty_section(report)]
    return "\n".join([*parts, "</html>"])


def _drawn(report: Mapping[str, Any]) -> dict[str, int]:
    """Return the columns of the assays to draw: those with the most active molecules, in the order of the table."""
    measured = {name: found for name, found in report["assays"].items() if found["metrics"]}
    most = sorted(measured, key=lambda name: -int(measured[name]["active"]))[:_MOST_DRAWN]
    return {name: index for index, name in enumerate(report["assays"]) if name in most}


def _which(report: Mapping[str, Any], drawn: Mapping[str, int]) -> str:
    n = sum(bool(found["metrics"]) for found in report["assays"].values())
    if len(drawn) == n:
        return ""
    return f"<p>Drawn are the {len(drawn)} assays with the most active molecules, of {n}; the tables have all.</p>"


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
        for (name, column), style in zip(drawn.items(), _STYLES, strict=False):
            known = np.isfinite(truth[:, column])
            false_rate, true_rate, _ = roc_curve(truth[known, column] == 1, probability[known, column])
            axes.plot(false_rate, true_rate, linestyle=style, linewidth=1, label=name)
        axes.legend(fontsize=6)
        axes.set(title="ROC", xlabel="1 - specificity", ylabel="sensitivity")

    return draw


def _precision_recall(truth: Floats, probability: Floats, drawn: Mapping[str, int]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for (name, column), style in zip(drawn.items(), _STYLES, strict=False):
            known = np.isfinite(truth[:, column])
            recall, precision = precision_recall_curve(truth[known, column] == 1, probability[known, column])
            axes.plot(recall, precision, linestyle=style, linewidth=1, label=name)
        axes.legend(fontsize=6)
        axes.set(title="Precision-recall", xlabel="recall", ylabel="precision", ylim=(0, 1.02))

    return draw


def _confusion(report: Mapping[str, Any]) -> str:
    """Return the four cells of each assay: twelve small matrices would be harder to compare."""
    cells = ("true_positive", "false_negative", "false_positive", "true_negative")
    rows = [
        [assay, f"{found['threshold']:.3f}", *(str(found["confusion"][cell]) for cell in cells)]
        for assay, found in report["assays"].items()
        if found["metrics"]
    ]
    head = ["assay", "threshold", "active, called", "active, not called", "inactive, called", "inactive, not called"]
    return table(head, rows)


def _benefit(report: Mapping[str, Any], drawn: Sequence[str]) -> list[str]:
    """Return the decision curve of each assay, small: in one plot each would hide the others."""
    found = ["<h2>Decision curves</h2>", f"<p>{_BENEFIT_TEXT}</p>"]
    for name in drawn:
        plot = figure(partial(draw_benefit, report["assays"][name]["decision_curve"], name), _SMALL)
        found.append(f"<figure><img alt='decision curve {html.escape(name, quote=True)}' src='{plot}'></figure>")
    return found


def _reliability(report: Mapping[str, Any], drawn: Sequence[str]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], "--", color="grey")
        for name, style in zip(drawn, _STYLES, strict=False):
            rows = report["assays"][name]["reliability"]
            axes.plot(
                [row["said"] for row in rows],
                [row["seen"] for row in rows],
                marker=".",
                linestyle=style,
                linewidth=1,
                label=name,
            )
        axes.set(title="Reliability", xlabel="probability given", ylabel="frequency seen")

    return draw

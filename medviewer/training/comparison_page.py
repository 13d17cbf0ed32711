"""The comparison of two models as one HTML page: no script, no link, images inside."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from medviewer.training.metrics import Floats, Truth, roc_curve
from medviewer.training.report_page import STYLE, figure, interval_words, learned_words, table

_INTERVALS = (
    "Research use only. Both models answered the same cases. Intervals: 95%, bootstrap over {unit}, of differences "
    "with all answers of both models to one of the {unit} drawn together. Lower is better of brier, log_loss and mae, "
    "higher of all others but coverage, which should be what the band is meant to hold. A difference without an "
    "interval is the same in every draw, or of one patient alone: these cases cannot tell how far chance could move it."
)
_TEST = (
    "McNemar's exact test, each model at its own threshold. It takes cases as independent; where patients have several,"
    " the intervals above are the safer guide. Many measures are told: a small p of one of them may be chance."
)


def comparison_page(report: Mapping[str, Any], curves: Sequence[tuple[Truth, Floats]]) -> str:
    """Return the page.

    Args:
        report: the content of ``comparison.json``.
        curves: of models of one finding, of each whether it was there and what the model said, ``(n,)`` each.
    """
    names = [f"{model['id']} {model['version']}" for model in report["models"]]
    data, test = report["data"], report["mcnemar"]
    title = html.escape(f"{names[0]} against {names[1]}")
    what = _of_cases(data, report["unit"]) + (f", split “{data['split']}”" if data["split"] else "")
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>",
        f"<h1>{title}</h1><p>{html.escape(what)}.",
        f"<br><small>data {html.escape(data['digest'][:16])}, {report['started']}</small></p>",
        f"<p>{_INTERVALS.format(unit=report['unit'])}</p>",
    ]
    for name, model in zip(names, report["models"], strict=True):
        if words := learned_words(model):
            parts.append(f"<p class=warning>{html.escape(f'{name} {words}')}</p>")
        if files := model.get("learned_from"):
            known = table([f"{len(files)} images that it learned from"], [[file] for file in files])
            parts.append(f"<details><summary>Which ones</summary>{known}</details>")
    rows = [
        [
            measure,
            *(interval_words(model["metrics"][measure]) for model in report["models"]),
            interval_words(entry),
            _p_words(entry["p"]),
        ]
        for measure, entry in report["differences"].items()
    ]
    parts.append(table(["measure", *names, "difference", "p"], rows))
    if curves:
        parts.append(f"<figure><img alt='ROC' src='{figure(lambda axes: _roc(axes, curves, names))}'></figure>")
    forest = figure(lambda axes: _forest(axes, report["differences"]))
    parts.append(f"<figure><img alt='differences' src='{forest}'></figure>")
    if test is not None:
        cases = [str(test[key]) for key in ("both", "only_first", "only_second", "neither")] + [_p_words(test["p"])]
        parts += [
            "<h2>Who is right on which cases</h2>",
            table(["both right", "only the first", "only the second", "neither", "p"], [cases]),
            f"<p><small>{_TEST}</small></p>",
        ]
    return "\n".join([*parts, "</html>"])


def _of_cases(data: Mapping[str, Any], unit: str) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in data["per_class"].items())
    n = data.get("n_patients", data.get("n_scaffolds"))
    return f"{data['n']} cases of {n} {unit}: {counts}"


def _p_words(p: float | None) -> str:
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _roc(axes: Any, curves: Sequence[tuple[Truth, Floats]], names: Sequence[str]) -> None:
    for (truth, probability), name, style in zip(curves, names, ("-", "--"), strict=True):
        false_rate, true_rate, _ = roc_curve(truth, probability)
        axes.plot(false_rate, true_rate, style, label=name)
    axes.set(title="ROC", xlabel="1 - specificity", ylabel="sensitivity")
    axes.legend(loc="lower right", fontsize="small")


def _forest(axes: Any, differences: Mapping[str, Mapping[str, Any]]) -> None:
    known = {name: entry for name, entry in differences.items() if entry["ci95"] is not None}
    for row, entry in enumerate(known.values()):
        axes.plot(entry["ci95"], [row, row], color="C0")
        axes.plot([entry["value"]], [row], "o", color="C0")
    axes.axvline(0, linestyle="--", color="grey")
    axes.set_yticks(range(len(known)), [name.replace("_", " ") for name in known])
    axes.invert_yaxis()
    axes.set(title="Difference, 95% interval", xlabel="first minus second")

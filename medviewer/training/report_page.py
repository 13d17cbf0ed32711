"""An evaluation report as one HTML page: no script, no link, images inside."""

from __future__ import annotations

import base64
import html
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medviewer.domain.errors import StorageError
from medviewer.training.metrics import Floats, Truth, precision_recall_curve, roc_curve
from medviewer.whole_file import write_whole

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem }
td, th { padding: .25rem .8rem; border-bottom: 1px solid #d5dbe3; text-align: left }
.matrix td, .matrix th { padding: .25rem .45rem }
.warning { background: #fff3d6; border-left: 4px solid #d89000; padding: .6rem 1rem }
figure { display: inline-block; margin: 0 1rem 1rem 0 }
small { color: #5a6675 }
"""

_MEANING = {
    "auc": "chance that a case with the finding scores above one without",
    "pr_auc": "area under precision over recall",
    "accuracy": "share called right, at this data's prevalence",
    "balanced_accuracy": "share called right, both classes weighing the same",
    "sensitivity": "share of those with the finding that are called",
    "specificity": "share of those without it that are not called",
    "f1": "harmonic mean of precision and sensitivity",
    "brier": "mean squared error of the probability",
    "ece": "distance of probability from frequency, on the data as it is",
    "ece_balanced": "distance of probability from frequency, both classes weighing the same",
    "event_1": "the smaller of sensitivity and precision, the challenge's first score (1 best)",
    "event_2": "Hosmer-Lemeshow statistic over the range of the risks, the challenge's second score (0 best)",
}
_BRIEF = ("auc", "sensitivity", "specificity", "ece_balanced", "ece")  # of groups and shifts, where they are measured
_FAR = {
    "distance": "inside of the directions in which the training cases vary",
    "residual": "outside of them: what no training case has",
    "texture": "how the picture is composed: its light, and its grain at every scale and in every direction",
}
CHECKS_OF_VALUES = "units, values and their times"
CHECKS_OF_IMAGES = "what the file says of the image, and whether its values are possible"


COPIED_IMAGES = (
    "Among the images are copies: {n} names stand for only {same} of the files. Each counts in the figures; "
    "intervals take those of one file for one patient."
)
_APART = "◆"  # marks a gap that chance does not explain
_UNIT = "patients; exact where a model was never wrong"
_EXPLANATIONS_TEXT = (
    "Deletion and insertion: share of the images on which the map does better than 95 of 100 random maps of the same "
    "smoothness; by chance 0.05. With a grain: rank correlation with the map of the same image with a grain that "
    "nobody sees; it should be near 1. Weights shuffled: the same with the map of a network that knows nothing; it "
    "should be near 0. A few images show that something is wrong, not how good it is."
)


def report_page(
    report: Mapping[str, Any],
    truth: Truth,
    probability: Floats,
    *,
    checks: str = CHECKS_OF_IMAGES,
    copied: str = COPIED_IMAGES,
) -> str:
    """Return the page.

    Args:
        report: the content of ``report.json``.
        truth: ``(n,)`` whether the finding was there.
        probability: ``(n,)`` what the model said.
        checks: as for :func:`page_head`.
        copied: likewise.
    """
    finding = f"; the finding “{report['label']}”" if "label" in report else ""
    parts = page_head(report, of_patients(report["data"]) + finding, unit=_UNIT, checks=checks, copied=copied)
    parts += ["<h2>Measures</h2>", _metrics(report)]
    parts += [
        f"<figure><img alt='{name}' src='{figure(draw)}'></figure>"
        for name, draw in _figures(report, truth, probability)
    ]
    parts += [
        "<h2>Subgroups</h2>",
        _subgroups(report),
        *novelty_section(report),
        *_robustness(report),
        *_curves(report),
        *_explanations(report),
    ]
    return "\n".join([*parts, "</html>"])


def page_head(
    report: Mapping[str, Any],
    what: str,
    *,
    unit: str = "patients",
    row: str = "file",
    checks: str = CHECKS_OF_VALUES,
    copied: str = COPIED_IMAGES,
) -> list[str]:
    """Return how a report begins: which model, on which data, and what to know of them first.

    Args:
        report: the content of ``report.json``.
        what: how many cases, of whom.
        unit: what the bootstrap draws.
        row: what cannot be used, one by one.
        checks: what the guards check of a case where the model does not measure how unlike the training cases it is;
            empty: nothing is said of it.
        copied: what copies are and how they count, where there are some: ``n`` cases that are ``same`` ones.
    """
    model, data = report["model"], report["data"]
    title = html.escape(f"Evaluation of {model['id']} {model['version']}")
    split = f", split “{data['split']}”" if data["split"] else ""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>",
        f"<h1>{title}</h1><p>{html.escape(what + split)}.",
        f"<br><small>data {html.escape(data['digest'][:16])}, {report['started']},",
        f"model {model['sha256'][:16]}</small></p>",
        f"<p>Research use only. Intervals: 95%, bootstrap over {unit}.</p>",
    ]
    if checks and not report.get("novelty"):
        unlike = "The model does not measure how unlike a case is to those that it learned from"
        parts.append(f"<p>{unlike}; its guards check {checks}.</p>")
    if words := learned_words(data):
        parts.append(f"<p class=warning>The model {words}</p>")
    if names := data.get("learned_from"):
        known = table([f"{len(names)} images that the model learned from"], [[name] for name in names])
        parts.append(f"<details><summary>Which ones</summary>{known}</details>")
    if odd := data.get("implausible"):
        counts = ", ".join(f"{name} {n}" for name, n in odd.items())
        parts.append(f"<p>Values that no patient can have were left out, of so many: {html.escape(counts)}.</p>")
    if copies := data.get("copies"):
        rows = [[", ".join(names)] for names in copies]
        parts.append(f"<p class=warning>{copied.format(n=sum(map(len, copies)), same=len(copies))}</p>")
        parts.append(f"<details><summary>Which ones</summary>{table(['one and the same'], rows)}</details>")
    if names := data.get("contradicted"):
        words = f"Of copies, {len(names)} with labels that contradict each other: each counts in both classes, and no"
        parts.append(f"<p class=warning>{words} answer can be right for it. Correct the labels, or leave it out.</p>")
        parts.append(table(["one and the same, with several labels"], [[", ".join(same)] for same in names]))
    if rows := [[entry["file"], entry["reason"]] for entry in data["unusable"]]:
        words = f"{len(rows)} {row}s could not be used and are not counted:"
        parts += [f"<p class=warning>{words}</p>", table([row, "reason"], rows)]
    return parts


def novelty_section(report: Mapping[str, Any]) -> list[str]:
    """Return how far the cases are from those learned from; nothing where the model does not measure it."""
    found = report.get("novelty")
    if not found:
        return []
    told = (
        f"{found['warned']:.1%} of these cases lie farther from what the model learned from than the limit of its "
        f"warning, {found['abstained']:.1%} so far that they get no answer. A large share means that these cases are "
        "of another kind than those it learned from: figures from elsewhere do not hold for them, whether or not its "
        "answers here are right."
    )
    rows = []
    for name, meaning in _FAR.items():
        if f"median_{name}" in found:
            limits = found.get("limits", {}).get(name, {})
            ends = [f"{limits[key]:g}" if key in limits else "–" for key in ("warn_above", "abstain_above")]
            rows.append([name, f"{found[f'median_{name}']:.1f}", *ends, meaning])
    head = ["distance", "median", "warning above", "refused above", "meaning"]
    if len(rows) == 1:  # a model with one distance says on its card what it is
        head, rows = head[:-1], [rows[0][:-1]]
    return ["<h2>How unlike what was learned from</h2>", f"<p>{told}</p>", table(head, rows)]


def learned_words(judged: Mapping[str, Any]) -> str:
    """Return that a model learned from what it is judged on, as the end of a sentence; empty if that is not known.

    Args:
        judged: with ``was_learned_from`` and, of images, ``learned_from``.
    """
    if judged.get("was_learned_from"):
        return "learned from these data: its figures are no evidence."
    if n := len(judged.get("learned_from") or ()):
        what = "one of these images" if n == 1 else f"{n} of these images"
        return f"learned from {what}: leave out what the report names, for its figures are too good."
    return ""


def of_patients(data: Mapping[str, Any]) -> str:
    """Return how many cases of how many patients there are, and how many of each class."""
    counts = ", ".join(f"{count} {name}" for name, count in data["per_class"].items())
    return f"{data['n']} cases of {data['n_patients']} patients: {counts}"


def write_report(out: Path, report: Mapping[str, Any], page: str, name: str = "report") -> None:
    """Write ``name.json`` and ``name.html``, each whole.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(out, str(error.strerror)) from error
    write_whole(out / f"{name}.html", page.encode())
    write_whole(out / f"{name}.json", json.dumps(report, indent=1, ensure_ascii=False).encode())


def check_can_be_written(out: Path) -> None:
    """Refuse a place where a report cannot be written, before the minutes that it takes; nothing is made there.

    Raises:
        StorageError: it is no folder, or not one to write to.
    """
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise _unwritable(out, f"{there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise _unwritable(out, "you may not write there")


def _unwritable(out: Path, reason: str) -> StorageError:
    return StorageError(f"The report cannot be written to {out} ({reason}); free some space or choose another folder.")


def number_words(value: float | None) -> str:
    """Return a figure with three decimals; a dash where it is not defined."""
    return "–" if value is None else f"{value:.3f}"


def interval_words(entry: Mapping[str, Any]) -> str:
    """Return a measure with its 95% interval, where there is one."""
    if entry.get("ci95") is None:
        return number_words(entry["value"])
    return f"{number_words(entry['value'])} ({number_words(entry['ci95'][0])} to {number_words(entry['ci95'][1])})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return an HTML table; every cell is escaped, for file names come from outside."""
    cells = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return "<table><tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in head) + f"</tr>{cells}</table>"


def _metrics(report: Mapping[str, Any]) -> str:
    rows = [[name, interval_words(entry), _meaning(name)] for name, entry in report["metrics"].items()]
    return table(["measure", "value (95% interval)", "meaning"], rows)


def _meaning(name: str) -> str:
    part = name.removeprefix("auc_")
    return _MEANING.get(name, "" if part == name else f"AUC of the part “{part}” alone")


def _subgroups(report: Mapping[str, Any]) -> str:
    names = _measured([group["metrics"] for group in report["subgroups"]])
    rows = [
        [
            group["name"],
            str(group["n"]),
            *(interval_words(group["metrics"][m]) if m in group["metrics"] else "–" for m in names),
        ]
        for group in report["subgroups"]
    ]
    return subgroup_table(report, table(["group", "n", *names], rows), "cases")


def _measured(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return which of the brief measures there are: those of images and of stays are not the same."""
    found = {name for entry in entries for name in entry}
    return [name for name in _BRIEF if name in found]


def subgroup_table(report: Mapping[str, Any], figures: str, cases: str) -> str:
    """Return the table of the groups' figures and that of their gaps; a sentence where there is no group.

    Args:
        report: with ``subgroups``.
        figures: the table of the figures.
        cases: what the groups are of.
    """
    if not report["subgroups"]:
        return f"<p>No group among these {cases} is large enough, and of all classes, for figures of its own.</p>"
    return figures + _gap_table(report, cases)


def _gap_table(report: Mapping[str, Any], cases: str) -> str:
    """Return the table of what sets each group apart from the others; empty where no group has others."""
    compared = [group for group in report["subgroups"] if group.get("gaps")]
    if not compared:
        return ""
    names = list(dict.fromkeys(name for group in compared for name in group["gaps"]))
    rows = [
        [group["name"], *(_gap_words(group["gaps"][name]) if name in group["gaps"] else "–" for name in names)]
        for group in compared
    ]
    meaning = (
        f"The group's figure less that of all other {cases} (95% interval). {_APART} marks an interval without 0: the"
        " group differs by more than chance explains; of twenty such intervals one is marked by chance alone."
    )
    return f"<h3>Gaps between groups</h3><p>{meaning}</p>" + table(["group", *names], rows)


def _gap_words(entry: Mapping[str, Any]) -> str:
    words = f"{entry['value']:+.3f}"
    if entry["ci95"] is None:
        return words
    low, high = entry["ci95"]
    return f"{words} ({low:+.3f} to {high:+.3f}){'' if low <= 0 <= high else f' {_APART}'}"


def _robustness(report: Mapping[str, Any]) -> list[str]:
    """Return the section on shifts; nothing where none were measured."""
    if not report["robustness"]:
        return []
    names = ["auc", "sensitivity", "specificity", "ece_balanced"]
    rows = [[shift, *(number_words(entry[name]) for name in names)] for shift, entry in report["robustness"].items()]
    return ["<h2>Under shifts that keep the diagnosis</h2>", table(["shift", *names], rows)]


_CURVES_TEXT = (
    "The same cases, changed more and more. The attack changes no grey value of the displayed image by more than the "
    "strength, in the direction that harms most: nobody meets such an image by chance, and a model that holds there is "
    "steadier than one that does not."
)


def _explanations(report: Mapping[str, Any]) -> list[str]:
    """Return how far heat maps can be believed, on the few images that were looked at."""
    measured = report.get("explanations")
    if not measured:
        return []
    if "problem" in measured:
        return ["<h2>Explanations</h2>", f"<p>They were not measured: {html.escape(measured['problem'])}</p>"]
    rows = []
    for method, found in measured["methods"].items():
        shuffled, grain = found.get("randomised"), found.get("grain")
        rows.append(
            [
                method,
                str(found["n"]),
                interval_words(found["deletion"]),
                interval_words(found["insertion"]),
                number_words(grain["rank"] if grain else None),
                number_words(shuffled["rank"][-1] if shuffled else None),
                found["verdict"]["en"],
            ]
        )
    head = ["method", "images", "deletion", "insertion", "with a grain", "weights shuffled", "in words"]
    return [
        "<h2>Explanations</h2>",
        f"<p>On up to {measured['n']} images with the finding. {_EXPLANATIONS_TEXT}</p>",
        *([table(head, rows)] if rows else []),
        *_unmeasured(measured),
    ]


def _unmeasured(measured: Mapping[str, Any]) -> list[str]:
    names = ", ".join(measured["not_measured"])
    return [f"<p>There was no time to measure {names}; `medviewer models assess` takes longer.</p>"] if names else []


def _curves(report: Mapping[str, Any]) -> list[str]:
    """Return the section on growing strengths; nothing where none were measured."""
    curves: Mapping[str, Any] = report.get("curves") or {}
    if not curves:
        return []
    parts = ["<h2>As the strength of a change grows</h2>", f"<p>{_CURVES_TEXT}</p>"]
    for kind, curve in curves.items():
        parts.append(f"<figure><img alt='{kind}' src='{figure(partial(_draw_curve, kind, curve))}'></figure>")
    names = ["auc", "sensitivity", "specificity", "ece_balanced"]
    rows = [
        [kind, f"{point['strength']:g}", *(number_words(point[name]) for name in names)]
        for kind, curve in curves.items()
        for point in curve["points"]
    ]
    return [*parts, table(["change", "strength", *names], rows)]


def _draw_curve(kind: str, curve: Mapping[str, Any], axes: Any) -> None:
    points = curve["points"]
    at = [point["strength"] for point in points]
    for name, style in (("auc", "o-"), ("sensitivity", "s--"), ("specificity", "^:")):
        axes.plot(at, [point[name] for point in points], style, label=name)
    axes.set(title=f"{kind} (n = {curve['n']})", xlabel=curve["unit"], ylim=(-0.02, 1.02))
    axes.legend(loc="lower left", fontsize="small")


def _figures(report: Mapping[str, Any], truth: Truth, probability: Floats) -> list[tuple[str, Callable[[Any], None]]]:
    """Return the name of each plot and what draws it."""

    def roc(axes: Any) -> None:
        false_rate, true_rate, _ = roc_curve(truth, probability)
        axes.plot(false_rate, true_rate)
        axes.plot([0, 1], [0, 1], "--", color="grey")
        axes.set(title="ROC", xlabel="1 - specificity", ylabel="sensitivity")

    def precision_recall(axes: Any) -> None:
        recall, precision = precision_recall_curve(truth, probability)
        axes.plot(recall, precision)
        axes.set(title="Precision-recall", xlabel="recall", ylabel="precision", ylim=(0, 1.02))

    def reliability(axes: Any) -> None:
        table = report["reliability"]
        axes.plot([0, 1], [0, 1], "--", color="grey")
        axes.scatter(
            [row["said"] for row in table], [row["seen"] for row in table], [20 + 300 * row["share"] for row in table]
        )
        axes.set(title="Reliability", xlabel="probability given", ylabel="frequency seen")

    def confusion(axes: Any) -> None:
        cells = report["confusion"]
        counts = [
            [cells["true_negative"], cells["false_positive"]],
            [cells["false_negative"], cells["true_positive"]],
        ]
        axes.imshow(counts, cmap="Blues")
        for row in (0, 1):
            for column in (0, 1):
                axes.text(column, row, str(counts[row][column]), ha="center", va="center", bbox={"facecolor": "white"})
        axes.set(title=f"At threshold {report['threshold']}", xlabel="called", ylabel="is")
        axes.set_xticks([0, 1], ["no", "yes"])
        axes.set_yticks([0, 1], ["no", "yes"])

    found: list[tuple[str, Callable[[Any], None]]] = [
        ("ROC", roc),
        ("precision-recall", precision_recall),
        ("reliability", reliability),
        ("confusion", confusion),
    ]
    if "decision_curve" in report:
        found.append(("decision curve", partial(draw_benefit, report["decision_curve"], "Decision curve")))
    return found


def draw_benefit(curve: Sequence[Mapping[str, float]], title: str, axes: Any) -> None:
    """Draw a decision curve: the net benefit of acting on the model, on everybody, on nobody, at each threshold."""
    at = [point["threshold"] for point in curve]
    axes.plot(at, [point["model"] for point in curve], label="by the model")
    axes.plot(at, [point["everybody"] for point in curve], "--", color="grey", label="on everybody")
    axes.axhline(0, linestyle=":", color="grey", label="on nobody")
    top = max(point["model"] for point in curve)
    margin = min(0.05, 0.3 * max(top, 0.0) + 0.002)  # of a rare finding the whole curve lies close to 0
    axes.set(title=title, xlabel="threshold", ylabel="net benefit of acting", ylim=(-margin, top + margin))
    axes.legend(loc="upper right", fontsize="small")


def figure(draw: Callable[[Any], None], size: tuple[float, float] = (4.2, 3.8)) -> str:
    """Return a plot as a data URL; ``size`` is width and height in inches."""
    # The object interface: pyplot would keep every figure alive and may want a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra, and slow
    from matplotlib.figure import Figure  # noqa: PLC0415

    drawn = Figure(figsize=size, layout="constrained")
    draw(drawn.add_subplot())
    file = io.BytesIO()
    FigureCanvasAgg(drawn).print_png(file)  # type: ignore[no-untyped-call]
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")

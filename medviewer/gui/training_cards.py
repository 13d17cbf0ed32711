"""What is told of a training before and after it: the recipe, the data, the new model beside the one in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from medviewer.app.training_recipe import Recipe
from medviewer.gui.cards import Card, FactRow, Level, SignalRow
from medviewer.gui.language import language
from medviewer.gui.text import PlainLabel, tr, tr_pick, visible
from medviewer.inference.card import Card as ModelCard
from medviewer.inference.comparable import incomparable
from medviewer.records.record import UNIT_TEXT

_NAME_PX = 96
_MOST_PROBLEMS = 12
_STRETCH = (4, 5, 5, 6)  # of a table's columns: a difference has a sign more than a figure
_FIGURES = ("auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "brier", "ece")
_SPLITS = ("report", "b", "test", "test-1")  # of those that chose nothing, by which a model is judged


def about_rows(recipe: Recipe) -> list[QWidget]:
    """What a recipe wants, and how long it takes."""
    rows: list[QWidget] = [PlainLabel(visible(tr_pick(recipe.title)), "title", wrap=True)]
    for name, words in ((tr("Recipe"), recipe.name), (tr("Data"), recipe.data), (tr("Takes"), recipe.duration)):
        if words:
            rows.append(FactRow(name, visible(tr_pick(words)), name_px=_NAME_PX))
    return rows


def data_card(report: Mapping[str, Any]) -> Card:
    """What the data hold, and what a training would stumble over."""
    problems = report["problems"]
    stops = any(problem["stops_training"] for problem in problems)
    box = Card(signal="alarm" if stops else "caution" if problems else "")
    words, unit = tr("{n} cases of {n_patients} patients: {counts}"), report.get("unit", "patients")
    if unit != "patients":
        words = tr("{n} cases of {n_patients} {unit}: {counts}")
    counts = _counts(report["per_class"])
    said = words.format(n=report["n"], n_patients=report["n_patients"], unit=visible(tr(unit)), counts=counts)
    box.add(PlainLabel(said, "strong", wrap=True))
    for name, split in report["splits"].items():
        box.add(FactRow(visible(name), f"{split['n']}: {_counts(split['per_class'])}", name_px=_NAME_PX))
    if (is_published := report.get("is_published")) is not None:
        others = tr("Other than the published data: the card will say that the model learned from your own data.")
        box.add(FactRow(tr("Source"), tr("The published data") if is_published else others, name_px=_NAME_PX))
    if not problems:
        box.add(SignalRow("good", tr("Nothing that a training would stumble over.")))
    for problem in problems[:_MOST_PROBLEMS]:
        level: Level = "alarm" if problem["stops_training"] else "caution"
        box.add(SignalRow(level, visible(tr(problem["text"]))))
    if len(problems) > _MOST_PROBLEMS:
        words = tr("{n} more are in the whole report.").format(n=len(problems) - _MOST_PROBLEMS)
        box.add(PlainLabel(words, "secondary"))
    return box


def figures_card(new: ModelCard, old: ModelCard | None) -> Card:
    """The figures on both cards beside each other; each model's own, from when it was made."""
    box = Card()
    found = [_evidence(card) for card in (new, old) if card is not None]
    if found[0] is None:
        box.add(SignalRow("caution", tr("Nobody has measured how often it is right.")))
        return box
    heads = [f"{tr('New')}\n{new.version}", *([f"{tr('In use')}\n{old.version}"] if old is not None else [])]
    told = {name: words for card in (old, new) if card is not None for name, words in _told(card).items()}
    rows = [
        [words, *(_figure(entry["metrics"].get(name)) if entry else "–" for entry in found)]
        for name, words in told.items()
        if any(entry and name in entry["metrics"] for entry in found)
    ]
    box.add(_grid([tr("Figure"), *heads], rows), PlainLabel(tr("95% intervals in brackets."), "small"))
    if old is not None and len({(entry or {}).get("digest") or id(entry) for entry in found}) > 1:
        words = tr("Each was measured on its own held-out patients: measure both on the same cases before you compare.")
        apart = tr("Each was measured on its own held-out patients; the figures are not to be compared.")
        box.add(SignalRow("caution", apart if unmeasurable(new, old) else words))
    return box


def unmeasurable(new: ModelCard, old: ModelCard) -> str:
    """Why both cannot answer the same held-out cases here, as a sentence; "" if they can."""
    if reason := incomparable(new, old):
        return reason
    if new.task == "survival":
        return "No patient was held out from it; compare both with medviewer evaluate on a table of other patients."
    return ""


def comparison_card(report: Mapping[str, Any], card: ModelCard | None = None) -> Card:
    """Both models on the same cases, with paired differences; ``card``: of the new one, for its words."""
    box = Card()
    new, old = report["models"]
    data = report["data"]
    words = tr("On the same cases: {n}").format(n=data["n"])
    if report.get("unit", "patients") == "patients":
        words = tr("On the same cases: {n} of {n_patients} patients")
        words = words.format(n=data["n"], n_patients=data["n_patients"])
    box.add(PlainLabel(words, "strong", wrap=True))
    told = {} if card is None else _told(card)
    heads = [tr("Figure"), f"{tr('New')}\n{new['version']}", f"{tr('In use')}\n{old['version']}"]
    rows = [
        [
            told.get(name, _measure(name)),
            _figure(new["metrics"][name]),
            _figure(old["metrics"][name]),
            _figure(entry, sign="+"),
        ]
        for name, entry in report["differences"].items()
    ]
    box.add(_grid([*heads, tr("Difference")], rows), PlainLabel(tr("95% intervals in brackets."), "small"))
    if test := report["mcnemar"]:
        said = tr("Right where the other is wrong: {new} cases and {old} cases (McNemar's exact test: p {p}).")
        p = "< 0.001" if test["p"] < 0.001 else f"= {test['p']:.3f}"
        box.add(PlainLabel(said.format(new=test["only_first"], old=test["only_second"], p=p), wrap=True))
    for name, model in ((tr("New"), new), (tr("In use"), old)):
        words = ""
        if model["was_learned_from"]:
            words = tr("It learned from these data, so that its figures here are no evidence.")
        elif n := len(model.get("learned_from") or ()):
            words = tr("It learned from {n} of these images, so that its figures here are too good.").format(n=n)
        if words:
            box.add(SignalRow("caution", words, word=f"{name} {model['version']}"))
    return box


def _evidence(card: ModelCard) -> Mapping[str, Any] | None:
    """The held-out figures on a card; None if it has none."""
    held_out = [entry for split in _SPLITS for entry in card.evidence if entry.get("split") == split]
    return next(iter([*held_out, *card.evidence]), None)


def _told(card: ModelCard) -> dict[str, str]:
    """Which figures of a card are shown, and what they are called."""
    told = {name: _measure(name) for name in _FIGURES}
    for one in card.outcomes if card.task in ("survival", "forecast") else ():
        unit = UNIT_TEXT.get(one.unit, visible(one.unit))
        if card.task == "survival":
            told["concordance"] = tr("Concordance")
            for name, words in (
                ("brier", tr("Brier score at {time} {unit} (lower is better)")),
                ("calibration_error", tr("Calibration error at {time} {unit} (lower is better)")),
            ):
                told |= {f"{name}_{t:g}": words.format(time=f"{t:g}", unit=unit) for t in one.times}
            continue
        variable = visible(one.title.say(language()))
        for name, words in (
            ("mae", tr("{variable}: mean error, {unit}")),
            ("mae_last", tr("{variable}: error of the last value, {unit}")),
            ("coverage", tr("{variable}: held by the band")),
        ):
            told[f"{one.name} {name}"] = words.format(variable=variable, unit=unit)
    return told


def _measure(name: str) -> str:
    words = {
        "auc": "AUC",
        "accuracy": tr("Accuracy"),
        "balanced_accuracy": tr("Balanced accuracy"),
        "sensitivity": tr("Sensitivity"),
        "specificity": tr("Specificity"),
        "brier": tr("Brier score (lower is better)"),
        "ece": tr("Calibration error (lower is better)"),
        "top3_accuracy": tr("Accuracy of the three most probable"),
        "macro_f1": tr("Mean F1 of the classes"),
        "log_loss": tr("Log loss (lower is better)"),
        "pr_auc": tr("Area under precision and recall"),
    }
    if name.startswith("auc "):
        return tr("AUC of {assay}").format(assay=visible(name.removeprefix("auc ")))
    return words.get(name, name)


def _figure(entry: Mapping[str, Any] | None, *, sign: str = "") -> str:
    if entry is None or entry["value"] is None:
        return "–"
    whole = f"{entry['value']:{sign}.3f}"
    interval = entry.get("ci95")
    return f"{whole} ({interval[0]:.3f}, {interval[1]:.3f})" if interval else whole


def _counts(per_class: Mapping[str, int]) -> str:
    return ", ".join(f"{visible(name)} {count}" for name, count in per_class.items())


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> QWidget:
    made = QWidget()
    made.setProperty("kind", "clear")
    grid = QGridLayout(made)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(6)
    for column, words in enumerate(heads):
        grid.addWidget(PlainLabel(words, "small", wrap=True), 0, column, Qt.AlignmentFlag.AlignBottom)
        grid.setColumnStretch(column, _STRETCH[column])
    for number, row in enumerate(rows, start=1):
        for column, words in enumerate(row):
            grid.addWidget(PlainLabel(words, "secondary" if column == 0 else "", wrap=True), number, column)
    return made

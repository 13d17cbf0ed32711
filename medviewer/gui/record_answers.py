"""What models say of the recorded values, beside the vital signs: the score, its parts, what is missing and when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from medviewer.app.state import RecordAnswer
from medviewer.domain.answer import Answer, Evidence, Finding, Forecast, Score, SurvivalCurve, probability_words
from medviewer.gui import theme
from medviewer.gui.anchor_bars import Row, bars, explanation
from medviewer.gui.cards import Card, Disclosure, FactRow, SignalRow, button, section
from medviewer.gui.icons import IconLabel
from medviewer.gui.probability_bar import ProbabilityBar
from medviewer.gui.text import PlainLabel, tr, tr_pick, visible
from medviewer.records.record import UNIT_TEXT

Run = Callable[[str], None]
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")

__all__ = ["record_answer_cards"]


def record_answer_cards(rows: tuple[RecordAnswer, ...], run: Run) -> Iterator[QWidget]:
    """The section of all models of recorded values; nothing where there is none.

    Args:
        rows: of the record and study on screen.
        run: asked to run a model, by its id.
    """
    if not rows:
        return
    yield section(tr("Scores and models of the record"))
    for row in rows:
        yield _card(row, run)


def _card(row: RecordAnswer, run: Run) -> Card:
    answer = row.answer
    stopped = answer is not None and answer.status != "answer"
    card = Card()
    card.add(PlainLabel(answer.model_title if answer is not None else tr_pick(row.title), "strong", wrap=True))
    if row.problem:
        card.add(SignalRow("alarm", tr(row.problem), word=tr("There is no result")))
    if answer is None:
        again = button(tr("Run"), "play")
        again.clicked.connect(lambda: run(row.model_id))
        card.add(again)
    elif stopped:
        card.add(*_not_calculated(answer))
    else:
        for widget in _said(row, answer):
            card.add(widget)
    if answer is not None:
        card.add(_details(answer))
    return card


def _not_calculated(answer: Answer) -> Iterator[QWidget]:
    """What is missing, by name, and nothing that could be taken for a result."""
    yield SignalRow("info", "", word=tr("Not calculated"))
    for guard in answer.guards:
        if guard.level == "abstain":
            yield PlainLabel("•  " + guard.text, wrap=True)


def _said(row: RecordAnswer, answer: Answer) -> Iterator[QWidget]:
    values = {one.name: _recorded(one) for one in answer.evidence}
    titles = {one.name: visible(one.title) for one in answer.evidence}
    for outcome in answer.outcomes:
        if isinstance(outcome, Score):
            yield from _score(outcome, values)
        elif isinstance(outcome, SurvivalCurve):
            yield from _survival(outcome)
        else:
            yield from _forecast(outcome)
    for finding in answer.findings:
        yield from _finding(finding)
    for guard in answer.guards:
        if guard.level == "warn":
            yield SignalRow("caution", guard.text)
    has_parts = any(isinstance(one, Score) and one.parts for one in answer.outcomes)
    if row.attribution is not None and not has_parts:  # the parts of a sum are its explanation
        yield section(tr("What it rests on"))
        yield explanation(row.attribution, titles, values)
        judged = row.attribution.faithfulness
        if judged is not None:
            yield PlainLabel(tr(judged.sentence), "small", wrap=True)
    yield _used(answer)


def _score(score: Score, values: dict[str, str]) -> Iterator[QWidget]:
    if not score.parts:
        if score.flagged:
            yield SignalRow("caution", score.meaning, word=score.band)
        return
    head = QWidget()
    head.setProperty("kind", "clear")
    line = QHBoxLayout(head)
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(8)
    line.addWidget(PlainLabel(f"{score.value:g}", "value"))
    of = tr("of {n}").format(n=f"{score.highest:g}")
    line.addWidget(PlainLabel(of, "secondary"), 1, Qt.AlignmentFlag.AlignVCenter)
    line.addWidget(_band(score), 0, Qt.AlignmentFlag.AlignVCenter)
    yield head
    yield bars([Row(visible(part.title), values.get(part.name, ""), part.value) for part in score.parts])
    if score.meaning:
        yield PlainLabel(score.meaning, "small", wrap=True)


def _band(score: Score) -> QWidget:
    t = theme.tokens()
    badge = QWidget()
    badge.setProperty("kind", "clear")
    row = QHBoxLayout(badge)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    row.addWidget(IconLabel("flag" if score.flagged else "circle-minus", t.caution if score.flagged else t.secondary))
    row.addWidget(PlainLabel(visible(score.band), "caution" if score.flagged else "strong"))
    return badge


def _finding(finding: Finding) -> Iterator[QWidget]:
    words = probability_words(finding.probability, finding.threshold)
    yield PlainLabel(f"{visible(finding.label)}: {words}", "strong", wrap=True)
    yield ProbabilityBar(finding)
    if finding.meaning:
        yield PlainLabel(finding.meaning, "small", wrap=True)


def _survival(curve: SurvivalCurve) -> Iterator[QWidget]:
    at = curve.times.index(curve.horizon)
    words = tr("{title}: free of it up to {time} with a probability of {p}").format(
        title=visible(curve.title),
        time=f"{curve.horizon:g} {visible(curve.time_unit)}",
        p=probability_words(curve.survival[at]),
    )
    yield PlainLabel(words, wrap=True)
    if curve.measured:
        yield PlainLabel(curve.measured, "small", wrap=True)


def _forecast(forecast: Forecast) -> Iterator[QWidget]:
    unit = _unit(forecast.unit)
    yield PlainLabel(visible(forecast.title), "strong", wrap=True)
    for hour, low, middle, high in zip(
        forecast.hours, forecast.low, forecast.median, forecast.high, strict=True
    ):  # fmt: skip
        yield FactRow(tr("in {n} h").format(n=f"{hour:g}"), f"{middle:.3g} {unit} ({low:.3g}–{high:.3g})")
    held = tr("The range is meant to hold {n} of 100.").format(n=f"{100 * forecast.nominal:.0f}")
    yield PlainLabel(f"{held} {forecast.measured}".strip(), "small", wrap=True)


def _used(answer: Answer) -> QWidget:
    """The recorded values, each with when it was recorded and what was done to it."""
    unfolding = Disclosure(tr("Values used, with their dates"))
    for one in answer.evidence:
        when = f"{one.time:%Y-%m-%d %H:%M}" if one.time is not None else ""
        words = ", ".join(part for part in (_recorded(one), when, visible(one.note)) if part)
        unfolding.content.addWidget(FactRow(visible(one.title), words))
    return unfolding


def _details(answer: Answer) -> QWidget:
    made = answer.provenance
    unfolding = Disclosure(tr("Details"))
    column: QVBoxLayout = unfolding.content
    column.addWidget(FactRow(tr("Model"), f"{made.model_id} {made.model_version}"))
    column.addWidget(FactRow(tr("Runtime"), made.runtime))
    if answer.validated_on:
        column.addWidget(PlainLabel(answer.validated_on, "small", wrap=True))
    column.addWidget(PlainLabel(tr("Research use only, not for diagnosis"), "small", wrap=True))
    return unfolding


def _recorded(one: Evidence) -> str:
    """A value as it is written on paper: 93%, 142 mmHg; words stay words."""
    value, _, unit = one.value.partition(" ")
    if not unit or not _NUMBER.fullmatch(value):
        return visible(one.value)
    return f"{value}%" if unit == "%" else f"{value} {_unit(unit)}".strip()


def _unit(unit: str) -> str:
    return UNIT_TEXT.get(unit, visible(unit))

"""What models say that do not classify, in rows: a score with its parts, a survival curve, a forecast."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QWidget

from medviewer.domain.answer import Answer, Evidence, Forecast, Score, SurvivalCurve, probability_words
from medviewer.domain.digits import three_digits
from medviewer.gui import theme
from medviewer.gui.anchor_bars import Row, bars
from medviewer.gui.cards import FactRow, SignalRow
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import PlainLabel, tr, visible
from medviewer.records.record import UNIT_TEXT

_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")


def outcome_rows(answer: Answer) -> Iterator[QWidget]:
    """Every outcome of an answer; nothing for classification."""
    values = {one.name: recorded(one) for one in answer.evidence}
    is_a_sum = any(isinstance(one, Score) and one.parts for one in answer.outcomes)
    for outcome in answer.outcomes:
        if isinstance(outcome, Score) and is_a_sum and not outcome.parts:
            yield from _remark(outcome)
        elif isinstance(outcome, Score):
            yield from _score(outcome, values)
        elif isinstance(outcome, SurvivalCurve):
            yield from _survival(outcome)
        else:
            yield from _forecast(outcome)


def _remark(score: Score) -> Iterator[QWidget]:
    """What is said beside the sum itself, where it holds ("3 in one parameter")."""
    if score.flagged:
        yield SignalRow("caution", score.meaning, word=score.band)


def _score(score: Score, values: Mapping[str, str]) -> Iterator[QWidget]:
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
    if score.parts:
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
        yield FactRow(
            tr("in {n} h").format(n=f"{hour:g}"),
            f"{three_digits(middle)} {unit} ({three_digits(low)}–{three_digits(high)})",
        )
    held = tr("The range is meant to hold {n} of 100.").format(n=f"{100 * forecast.nominal:.0f}")
    yield PlainLabel(f"{held} {forecast.measured}".strip(), "small", wrap=True)


def recorded(one: Evidence) -> str:
    """A value as it is written on paper: 93%, 142 mmHg; words stay words."""
    value, _, unit = one.value.partition(" ")
    if not unit or not _NUMBER.fullmatch(value):
        return visible(one.value)
    return f"{value}%" if unit == "%" else f"{value} {_unit(unit)}".strip()


def _unit(unit: str) -> str:
    return UNIT_TEXT.get(unit, visible(unit))

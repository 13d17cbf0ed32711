"""What models say of the recorded values, beside the vital signs: the score, its parts, what is missing and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import tzinfo

from PySide6.QtWidgets import QVBoxLayout, QWidget

from medviewer.app.state import RecordAnswer
from medviewer.domain.answer import Answer, Faithfulness, Finding, Score, probability_words
from medviewer.gui.anchor_bars import explanation
from medviewer.gui.cards import Card, Disclosure, FactRow, SignalRow, button, section
from medviewer.gui.finding_card import number_kind, signature_row
from medviewer.gui.outcome_rows import outcome_rows, recorded
from medviewer.gui.probability_bar import ProbabilityBar
from medviewer.gui.text import PlainLabel, tr, tr_pick, visible
from medviewer.records.record import time_words

Run = Callable[[str], None]

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
        card.add(*not_calculated(answer))
    else:
        for widget in _said(row, answer):
            card.add(widget)
    if answer is not None:
        card.add(made_by(answer))
    return card


def not_calculated(answer: Answer) -> Iterator[QWidget]:
    """What is missing, by name, and nothing that could be taken for a result."""
    yield SignalRow("info", "", word=tr("Not calculated"))
    for guard in answer.guards:
        if guard.level == "abstain":
            yield PlainLabel("•  " + guard.text, wrap=True)


def _said(row: RecordAnswer, answer: Answer) -> Iterator[QWidget]:
    values = {one.name: recorded(one) for one in answer.evidence}
    titles = {one.name: visible(one.title) for one in answer.evidence}
    yield from outcome_rows(answer)
    for finding in answer.findings:
        title = tr_pick(row.targets.get(finding.label, visible(finding.label)))
        yield from _finding(finding, title, number_kind(answer))
    for guard in answer.guards:
        if guard.level == "warn":
            yield SignalRow("caution", guard.text)
    has_parts = any(isinstance(one, Score) and one.parts for one in answer.outcomes)
    if row.attribution is not None and not has_parts:  # the parts of a sum are its explanation
        yield section(tr("What it rests on"))
        yield explanation(row.attribution, titles, values)
        judged = row.attribution.faithfulness
        if judged is not None:
            yield PlainLabel(verdict_words(judged), "small", wrap=True)
    yield used_values(answer, row.question.at.tzinfo)


def _finding(finding: Finding, title: str, kind: str) -> Iterator[QWidget]:
    words = probability_words(finding.probability, finding.threshold)
    yield PlainLabel(f"{title}: {words}", "strong", wrap=True)
    yield PlainLabel(kind, "small", wrap=True)
    yield ProbabilityBar(finding)
    if finding.meaning:
        yield PlainLabel(finding.meaning, "small", wrap=True)


def used_values(answer: Answer, zone: tzinfo | None) -> QWidget:
    """The recorded values, each with when it was recorded and what was done to it."""
    unfolding = Disclosure(tr("Values used, with their dates"))
    for one in answer.evidence:
        when = time_words(one.time, zone) if one.time is not None else ""
        words = ", ".join(part for part in (recorded(one), when, visible(one.note)) if part)
        unfolding.content.addWidget(FactRow(visible(one.title), words))
    return unfolding


def verdict_words(judged: Faithfulness) -> str:
    """How an explanation does against random orders, in the reader's language."""
    verdict, _, reason = judged.sentence.partition(": ")
    return f"{tr(verdict)}: {tr(reason)}" if reason else tr(verdict)


def made_by(answer: Answer) -> Disclosure:
    """Which model of which version said it, who stands for it, where it was validated; unfolds."""
    made = answer.provenance
    unfolding = Disclosure(tr("Details"))
    column: QVBoxLayout = unfolding.content
    column.addWidget(FactRow(tr("Model"), f"{made.model_id} {made.model_version}"))
    column.addWidget(signature_row(made))
    column.addWidget(FactRow(tr("Runtime"), made.runtime))
    if answer.validated_on:
        column.addWidget(PlainLabel(answer.validated_on, "small", wrap=True))
    column.addWidget(PlainLabel(tr("Research use only, not for diagnosis"), "small", wrap=True))
    return unfolding

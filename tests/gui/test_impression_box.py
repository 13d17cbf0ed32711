"""The findings panel while the reader reads first: nothing of the model, a place to write, every version after that."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from medviewer.app.state import State
from medviewer.domain.answer import Impression
from medviewer.gui.findings_panel import FindingsPanel
from tests.gui import panel_states as made
from tests.gui.seen import Asked, all_words, is_offered, press, show

FIRST = Impression("Clear.", "2026-05-04T10:14:00+00:00", after_ai=False)
SECOND = Impression("Pneumonia after all.", "2026-05-04T10:16:00+00:00", after_ai=True)


@pytest.fixture
def panel(qtbot) -> FindingsPanel:
    one = FindingsPanel(made.MODELS, made.METHODS, {})
    qtbot.addWidget(one)
    return one


def written(*versions: Impression, state: State | None = None) -> State:
    state = replace(state or made.explained(), read_first=True)
    assert state.selection is not None
    return replace(state, impressions=MappingProxyType({state.selection.image.key: versions} if versions else {}))


def test_nothing_of_the_answer_is_told_before_something_is_written(panel) -> None:
    show(panel, written())
    words = all_words(panel)
    for secret in ("0.81", "flagged", "Better than chance", "Validated on", "0.74 to 0.88"):
        assert secret not in words
    assert "Your impression first" in words
    assert "A result is ready." in words
    assert "It has run on this image." in words
    assert panel.decision.isHidden()
    assert panel.explain.isHidden()


def test_an_abstention_is_withheld_too(panel) -> None:
    show(panel, written(state=made.answered(said=made.abstention())))
    assert "The model gave no answer" not in all_words(panel)


def test_what_was_typed_is_asked_to_be_kept(panel) -> None:
    asked = Asked(panel)
    show(panel, written())
    assert not is_offered(panel, "Keep")
    panel.impression.words.setPlainText("Clear.")
    press(panel, "Keep")
    assert asked.calls == [("model.impression", "Clear.")]


def test_typing_goes_on_where_the_state_changes_and_stays_with_its_image(panel) -> None:
    before = written()
    show(panel, before)
    panel.impression.words.setPlainText("Half a sent")
    show(panel, before, replace(before, provider="Running on: CPU"))
    assert panel.impression.words.toPlainText() == "Half a sent"
    assert before.selection is not None
    other = replace(before.selection, series=before.selection.study.series[1],
                    stack=before.selection.study.series[1].stacks[0])  # fmt: skip
    elsewhere = replace(before, selection=other)
    show(panel, before, elsewhere)
    assert panel.impression.words.toPlainText() == ""
    show(panel, elsewhere, before)
    assert panel.impression.words.toPlainText() == "Half a sent"


def test_after_that_the_answer_and_all_versions_are_shown(panel) -> None:
    show(panel, written(), written(FIRST))
    words = all_words(panel)
    assert "0.81" in words
    assert "Clear." in words
    assert "before the result was shown" in words
    asked = Asked(panel)
    press(panel, "Add to it")
    panel.impression.words.setPlainText("Pneumonia after all.")
    press(panel, "Keep")
    assert asked.calls == [("model.impression", "Pneumonia after all.")]
    show(panel, written(FIRST), written(FIRST, SECOND))
    words = all_words(panel)
    for needed in ("Clear.", "before the result was shown", "Pneumonia after all.", "after the result was shown"):
        assert needed in words
    assert is_offered(panel, "Add to it")


def test_a_first_impression_after_the_result_says_so(panel) -> None:
    show(panel, written(SECOND))
    assert "The result had been seen before the first impression was written." in all_words(panel)


def test_without_the_mode_there_is_no_box(panel) -> None:
    show(panel, made.explained())
    assert panel.impression.isHidden()

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel

from medviewer.app.decisions import Judged
from medviewer.app.state import Cut, JobStatus, State, View
from medviewer.domain.answer import Answer, Evidence, GuardResult
from medviewer.gui.cards import SignalRow
from medviewer.gui.findings_panel import FindingsPanel, ModelRow
from medviewer.gui.probability_bar import ProbabilityBar
from medviewer.gui.queue_list import MOST_ROWS
from medviewer.gui.text import ElidedLabel, PlainLabel
from tests.gui import panel_states as made
from tests.gui.seen import Asked, all_words, is_offered, press, settle, show, words


@pytest.fixture
def panel(qtbot) -> FindingsPanel:
    one = FindingsPanel(made.MODELS, made.METHODS, {"model.run": "Ctrl+Return", "explain.toggle": "X"})
    qtbot.addWidget(one)
    return one


def test_a_model_that_would_refuse_the_image_says_so_before_it_is_run(qtbot) -> None:
    asked: list[tuple[str, str]] = []

    def refusal(now: Any, language: str) -> str:
        asked.append((now.image.description.modality, language))
        return "The image is CT, and the model is for CR."

    refusing = replace(made.MODELS[0], refusal=refusal)
    one = FindingsPanel((refusing, replace(refusing, id="other", refusal=lambda *_: "")), made.METHODS, {})
    qtbot.addWidget(one)
    show(one, made.opened())
    words = all_words(one)
    assert "It would give no result here" in words
    assert "The image is CT, and the model is for CR." in words
    assert "Not run on this image yet." not in words
    assert asked == [("CR", "en")]


@pytest.mark.parametrize("problem", ["", "Its file was changed."])
def test_where_no_model_is_for_the_image_it_says_that(qtbot, problem: str) -> None:
    """One that cannot be used is none, either."""
    refusing = replace(made.MODELS[0], refusal=lambda *_: "The image is CT, and the model is for CR.")
    other = replace(refusing, id="other", problem=problem, refusal=(lambda *_: "") if problem else refusing.refusal)
    one = FindingsPanel((refusing, other), made.METHODS, {})
    qtbot.addWidget(one)
    show(one, made.opened())
    words = all_words(one)
    assert "None of the models here is for this image" in words
    assert "The image is CT, and the model is for CR." in words
    assert "children of 1 to 5 years" not in words  # what a model is for, where it is of no use


def test_where_no_model_is_for_the_image_each_says_why(qtbot) -> None:
    def one_for(number: int) -> ModelRow:
        return replace(
            made.MODELS[0],
            id=f"m{number}",
            title=f"Model {number}",
            refusal=lambda *_: f"It is only for kind {number}.",
        )

    one = FindingsPanel((replace(made.MODELS[0], refusal=lambda *_: "No."), *map(one_for, range(7))), made.METHODS, {})
    qtbot.addWidget(one)
    show(one, made.opened())
    words = all_words(one)
    assert all(f"It is only for kind {number}." in words for number in range(MOST_ROWS - 1))
    assert f"It is only for kind {MOST_ROWS - 1}." not in words
    assert f"and {8 - MOST_ROWS} more" in words
    show(one, made.opened(model_id="m6"))
    words = all_words(one)
    assert "It is only for kind 6." in words, "the one that was chosen"
    assert words.index("Model 6") < words.index("It is only for kind 0.")
    assert f"and {8 - MOST_ROWS} more" in words


def test_nothing_run_yet_says_what_the_model_is_for_and_not_for(panel) -> None:
    show(panel, made.opened())
    words = all_words(panel)
    assert "Not run on this image yet." in words
    assert "children of 1 to 5 years" in words
    assert "Adults, lateral views" in words
    assert "0.81" not in words
    assert panel.explain.isHidden()
    assert panel.decision.isHidden()


def test_without_an_image_nothing_can_be_run(panel) -> None:
    show(panel, State(model_id=made.MODEL))
    assert not is_offered(panel, "Run")
    assert "Open an image to run the model on it." in all_words(panel)


@pytest.mark.parametrize("before", [made.opened(), made.answered(), made.failed()])
def test_on_a_cut_plane_nothing_can_be_run_and_it_says_what_to_do(panel, before: State) -> None:
    show(panel, before, replace(before, cut=Cut("coronal", 10.0)))
    assert not is_offered(panel, "Run")
    assert not is_offered(panel, "Run again")
    assert "Choose an original image; models do not run on reformatted planes." in all_words(panel)
    assert "0.81" not in all_words(panel)
    show(panel, replace(before, cut=Cut("coronal", 10.0)), made.opened())
    assert is_offered(panel, "Run")
    assert "reformatted" not in all_words(panel)


def test_run_asks_for_a_run(panel) -> None:
    asked = Asked(panel)
    show(panel, made.opened())
    press(panel, "Run")
    assert asked.calls == [("model.run", None)]
    assert "Ctrl+Return" in panel.run.toolTip()


def test_an_answer_is_shown_whole(panel) -> None:
    show(panel, made.opened(), made.answered())
    words = all_words(panel)
    for needed in (
        "Pneumonia", "0.81", "calibrated probability", "flagged", "0.74 to 0.88", "Of 100 children flagged",
        "Validated on ages 1 to 5 years; this patient is 63.", "3 checks passed", "5,232 radiographs",
        "chest-xray-pneumonia 1.0.0", "Unverified", "The files match the model's card", "CPU, 31 ms (no GPU runtime installed)",
        "not the outline of a lesion",
    ):  # fmt: skip
        assert needed in words


def test_the_answer_of_another_image_is_never_shown(panel) -> None:
    said = made.answered()
    assert said.selection is not None
    other = replace(
        said.selection, series=said.selection.study.series[1], stack=said.selection.study.series[1].stacks[0]
    )
    show(panel, said, replace(said, selection=other))
    assert "0.81" not in all_words(panel)
    assert "Not run on this image yet." in all_words(panel)


def test_the_answer_of_another_model_is_never_shown(panel) -> None:
    said = made.answered()
    show(panel, said, replace(said, model_id="broken"))
    assert "0.81" not in all_words(panel)
    assert "This model cannot be used" in all_words(panel)
    assert not is_offered(panel, "Run")


def test_a_record_of_somebody_else_hides_the_result_and_stops_runs(panel) -> None:
    show(panel, made.answered(), replace(made.answered(), record_mismatch="They may belong to different people."))
    assert "0.81" not in all_words(panel)
    assert "Image and record contradict each other" in all_words(panel)
    assert not is_offered(panel, "Run")
    assert panel.decision.isHidden()


@pytest.mark.parametrize("guards", [made.GUARDS, ()])
def test_a_reservation_stands_above_the_number(panel, guards: tuple[GuardResult, ...]) -> None:
    show(panel, made.answered(said=made.answer(guards=guards)))
    shown = all_words(panel)
    assert shown.index("Does the model fit this patient?") < shown.index("0.81")


def test_without_a_reservation_the_number_comes_first_and_no_warning_is_put_in_its_place(panel) -> None:
    passed = tuple(guard for guard in made.GUARDS if guard.level == "ok")
    show(panel, made.answered(said=made.answer(guards=passed)))
    shown = all_words(panel)
    assert shown.index("0.81") < shown.index("Does the model fit this patient?")
    assert "No warning does not mean that the model knows patients like this one." in shown


@pytest.mark.parametrize(("flagged", "word", "other"), [(True, "flagged", "not flagged"), (False, "not flagged", None)])
def test_flagged_is_said_in_words(panel, flagged: bool, word: str, other: str | None) -> None:
    finding = replace(made.PNEUMONIA, flagged=flagged, probability=0.81 if flagged else 0.2)
    show(panel, made.answered(said=made.answer(finding)))
    labels = [label.text() for label in panel.findChildren(QLabel)]
    assert word in labels
    assert other not in labels


def test_every_signal_is_shape_and_word(panel) -> None:
    for state in (made.explained(), made.failed(), made.answered(said=made.abstention()), made.decided()):
        show(panel, state)
        settle()
        rows = [row for row in panel.findChildren(SignalRow) if row.isVisibleTo(panel)]
        assert rows
        for row in rows:
            shapes = [label for label in row.findChildren(QLabel) if not label.pixmap().isNull()]
            words = [label.text() for label in row.findChildren(QLabel) if label.text()]
            assert len(shapes) == 1
            assert words


def test_a_band_across_the_threshold_is_a_caution(panel) -> None:
    finding = replace(made.PNEUMONIA, probability=0.4, stability=(0.3, 0.5))
    show(panel, made.answered(said=made.answer(finding)))
    assert "across the threshold" in all_words(panel)
    steady = replace(made.PNEUMONIA, stability=(0.36, 0.5))
    show(panel, made.answered(said=made.answer(steady)))
    assert "across the threshold" not in all_words(panel)


def test_an_abstention_says_what_stopped_it_and_what_would_help(panel) -> None:
    show(panel, made.answered(said=made.abstention()))
    words = all_words(panel)
    assert "The model gave no answer" in words
    assert "The file does not say from which side" in words
    assert "Choose an image in the view" in words
    assert "this patient is 63" in words
    assert panel.findChildren(ProbabilityBar) == []
    assert panel.explain.isHidden()
    assert panel.decision.isHidden()


@pytest.mark.parametrize(
    ("code", "helps"),
    [
        ("image.truncated", "must be whole"),
        ("image.uid.duplicate", "keep only one of the two files"),
        ("spacing", "pixels are as large as the model needs"),
    ],
)
def test_what_would_help_fits_what_is_wrong_with_the_file(panel, code: str, helps: str) -> None:
    guards = (GuardResult(code, "abstain", "The image is not whole or not certain."),)
    show(panel, made.answered(said=made.answer(status="abstained", guards=guards, findings=())))
    said = [words for words in all_words(panel).split("\n") if words.startswith("•")]
    assert len(said) == 1
    assert helps in said[0]


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("view.unknown", "Confirm: this is the view the model needs"),
        ("secondary_capture", "Confirm: it shows the whole, unmarked image"),
        ("sex.unknown", "Confirm: the patient's sex fits the model"),
        ("spacing.unknown", "Confirm: the pixels are as large as the model needs them"),
    ],
)
def test_what_a_file_leaves_open_can_be_confirmed(panel, code: str, title: str) -> None:
    asked = Asked(panel)
    show(panel, made.answered(said=made.answer(guards=(GuardResult(code, "warn", "The file does not say."),))))
    press(panel, title)
    assert asked.calls == [("model.confirm", code)]


def test_recorded_values_that_an_answer_about_an_image_rests_on_are_listed(panel) -> None:
    pulse = Evidence("pulse", "Pulse", "94 /min", datetime(2024, 5, 2, 14, 30), "converted")  # noqa: DTZ001
    show(panel, made.answered(said=made.answer(evidence=(pulse,))))
    press(panel, "Values used, with their dates")
    assert all(words in all_words(panel) for words in ("Pulse", "94 /min", "2024-05-02"))
    show(panel, made.answered(said=made.answer()))
    assert "Values used" not in all_words(panel)


def test_no_word_is_asked_for_that_would_not_bring_an_answer(panel) -> None:
    stop = GuardResult("modality.outside", "abstain", "The image is a CT.")
    doubt = GuardResult("view.unknown", "warn", "The file does not say the view.")
    said = made.answer(
        status="abstained", guards=(stop, doubt), findings=(), provenance=made.provenance(provider="", elapsed_s=0.0)
    )
    show(panel, made.answered(said=said))
    text = all_words(panel)
    assert "The file does not say the view." in text
    assert "Confirm" not in text
    assert "Not run: a check stopped it first" in text
    assert "0 ms" not in text


def test_what_is_known_to_be_wrong_cannot_be_confirmed(panel) -> None:
    guards = (GuardResult("age", "warn", "Too old."), GuardResult("view.unknown", "ok", "Confirmed."))
    show(panel, made.answered(said=made.answer(guards=guards)))
    assert "Confirm" not in all_words(panel)


def test_a_failure_says_so_and_offers_another_run(panel) -> None:
    asked = Asked(panel)
    show(panel, made.opened(), made.failed())
    words = all_words(panel)
    assert "There is no result" in words
    assert "ended unexpectedly" in words
    press(panel, "Run again")
    assert asked.calls == [("model.run", None)]


def test_the_failure_of_another_model_is_not_shown(panel) -> None:
    state = made.failed()
    show(panel, state, replace(state, model_id="another-model"))
    assert "There is no result" not in all_words(panel)


def test_a_failed_heat_map_leaves_the_answer(panel) -> None:
    asked = Asked(panel)
    state = made.answered()
    assert state.selection is not None
    failed = replace(
        state, analysis_problem=MappingProxyType({(state.selection.image.key, state.model_id): "It took too long."})
    )
    show(panel, state, failed)
    assert "There is no heat map" in all_words(panel)
    assert "There is no result" not in all_words(panel)
    assert "0.81" in all_words(panel)
    press(panel, "Try again")
    assert asked.calls == [("explain.method", "grad-cam")]


def test_a_run_can_be_cancelled(panel) -> None:
    asked = Asked(panel)
    show(panel, made.opened(), made.running())
    assert panel.run.isHidden()
    assert "Checking the image" in all_words(panel)
    press(panel, "Cancel")
    assert asked.calls == [("job.cancel", "model")]
    show(panel, made.running(), made.opened())
    assert panel.cancel.isHidden()


def test_choosing_a_model_asks_for_it(panel) -> None:
    asked = Asked(panel)
    show(panel, made.opened())
    panel.model.activated.emit(panel.model.findData("broken"))
    assert asked.calls == [("model.select", "broken")]


def test_showing_a_state_asks_for_nothing(panel) -> None:
    asked = Asked(panel)
    changed = replace(made.explained(), overlay=replace(made.explained().overlay, opacity=0.9, color_map="viridis"))
    show(panel, State(), made.opened(), made.explained(), changed, made.decided(), made.opened())
    assert asked.calls == []


def test_the_heat_map_controls_follow_and_ask(panel) -> None:
    asked = Asked(panel)
    overlay = replace(made.explained().overlay, opacity=0.3, threshold=0.1, visible=False, method="occlusion")
    explain = panel.explain
    show(panel, made.explained())
    assert explain.toggle.text() == "Hide map (X)"
    show(panel, made.explained(), replace(made.explained(), overlay=overlay))
    assert (explain.opacity.slider.value(), explain.threshold.slider.value()) == (30, 10)
    assert explain.method.currentData() == "occlusion"
    assert explain.toggle.text() == "Show map (X)"
    assert "X" in explain.toggle.toolTip()
    explain.opacity.slider.setValue(70)
    explain.threshold.slider.setValue(45)
    explain.toggle.click()
    explain.method.activated.emit(1)
    explain.color_map.activated.emit(1)
    assert asked.calls == [
        ("explain.opacity", 0.7), ("explain.threshold", 0.45), ("explain.toggle", None),
        ("explain.method", "integrated-gradients"), ("explain.color_map", "viridis"),
    ]  # fmt: skip


def test_dragging_a_slider_does_not_rebuild_the_cards(panel) -> None:
    state = made.explained()
    show(panel, state)
    before = panel.findChildren(ProbabilityBar)
    show_overlay = replace(state, overlay=replace(state.overlay, opacity=0.6))
    panel.show_state(state, show_overlay)
    settle()
    assert panel.findChildren(ProbabilityBar) == before


@pytest.mark.parametrize(
    ("percentiles", "words"), [((98, 97), "Better than chance"), ((98, 40), "Not clearly better than chance")]
)
def test_a_heat_map_says_how_far_it_can_be_believed(panel, percentiles, words: str) -> None:
    shown = made.attribution(*percentiles, error=0.012)
    show(panel, made.explained(shown=shown))
    text = all_words(panel)
    assert words in text.split("\n")
    assert f"better than {percentiles[0]}% when deleting, than {percentiles[1]}% when inserting" in text
    assert "completeness gap 1.2%" in text
    assert f"{100 - min(percentiles)}% of random maps do as well." in text


def test_the_reason_of_a_verdict_is_said_in_chinese_too(panel) -> None:
    show(panel, replace(made.explained(shown=made.attribution(98, 78, error=0.012)), language="zh"))
    assert "22%的随机图能达到同样效果。" in all_words(panel)
    assert "完备性差距" in all_words(panel)


def test_colour_maps_are_called_what_they_look_like(panel) -> None:
    show(panel, made.explained())
    colours = panel.explain.color_map
    assert [colours.itemText(i) for i in range(colours.count())] == [
        "dark to bright (magma)", "violet to yellow (viridis)", "dark to yellow (inferno)", "blue to yellow (cividis)",
    ]  # fmt: skip
    assert colours.currentText() == "dark to bright (magma)"


def test_a_heat_map_that_was_not_checked_is_a_caution(panel) -> None:
    show(panel, made.explained(shown=replace(made.attribution(), faithfulness=None)))
    assert "was not checked" in all_words(panel)


def test_the_heat_map_of_another_method_does_not_count(panel) -> None:
    state = made.explained()
    show(panel, state, replace(state, overlay=replace(state.overlay, method="occlusion")))
    assert "There is no heat map by this method for this image yet." in all_words(panel)
    assert "Better than chance" not in all_words(panel)


def test_a_heat_map_that_is_not_there_can_be_asked_for(panel) -> None:
    asked = Asked(panel)
    show(panel, made.answered())
    press(panel, "Work it out")
    assert asked.calls == [("explain.method", made.answered().overlay.method)]


@pytest.mark.parametrize(
    ("saliency", "is_said"),
    [
        (np.full((8, 8), -1.0), True),
        (np.where(np.eye(8) * np.arange(8) > 6, 1.0, 0.0), True),  # one cell of 64
        (np.where(np.arange(64).reshape(8, 8) < 8, 1.0, -2.0), True),  # outweighed by what speaks against it
        (np.where(np.arange(64).reshape(8, 8) < 8, 1.0, 0.0), False),
        (np.full((8, 8), 0.3), False),
    ],
)
def test_a_nearly_empty_heat_map_says_why(panel, saliency: np.ndarray, is_said: bool) -> None:
    shown = replace(made.attribution(), saliency=saliency.astype(np.float32))
    show(panel, made.explained(shown=shown))
    assert ("Little in this image speaks for the finding" in all_words(panel)) == is_said


def test_scrolling_past_a_control_does_not_move_it(panel) -> None:
    show(panel, made.explained())
    asked = Asked(panel)
    explain = panel.explain
    for control in (explain.opacity.slider, explain.threshold.slider, explain.method, explain.color_map, panel.model):
        middle = QPointF(control.rect().center())
        turn = QWheelEvent(
            middle, control.mapToGlobal(middle), QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QCoreApplication.sendEvent(control, turn)
        assert not turn.isAccepted()
    assert asked.calls == []
    assert explain.opacity.slider.value() == round(made.explained().overlay.opacity * 100)


def test_working_out_the_heat_map_is_shown(panel) -> None:
    show(panel, made.answered(), replace(made.answered(), jobs=(JobStatus("explain", "Occluding", 3, 64),)))
    assert "Occluding 3/64" in all_words(panel)


def test_accepting_needs_no_reason(panel) -> None:
    asked = Asked(panel)
    state = made.answered()
    show(panel, state)
    press(panel, "Accept")
    assert asked.calls == [("finding.accept", Judged(answer_of(state)))]


@pytest.mark.parametrize(
    ("first", "last", "command"), [("Reject", "Reject", "finding.reject"), ("Change…", "Change", "finding.change")]
)
def test_rejecting_and_changing_need_a_reason(panel, qtbot, first: str, last: str, command: str) -> None:
    asked = Asked(panel)
    state = made.answered()
    show(panel, state)
    press(panel, first)
    assert not is_offered(panel, last)
    panel.decision.reason.setText("   ")
    panel.decision.value.setText("   ")
    assert not is_offered(panel, last)
    qtbot.keyClick(panel.decision.reason, Qt.Key.Key_Return)
    assert asked.calls == []
    panel.decision.reason.setText(" Known metastases ")
    value = ""
    if first == "Change…":
        assert not is_offered(panel, last), "what is reported instead is needed too"
        panel.decision.value.setText(" Metastases ")
        value = "Metastases"
    press(panel, last)
    assert asked.calls == [(command, Judged(answer_of(state), "Known metastases", value))]


def test_the_decision_stays_in_sight_where_there_is_room_and_nothing_typed_is_lost_on_the_way(panel, qtbot) -> None:
    show(panel, made.answered())
    panel.resize(340, 700)
    panel.show()
    qtbot.waitUntil(lambda: panel.decision.isVisible() and panel.decision.width() < panel.width())
    bar = panel._scroll.verticalScrollBar()
    assert bar.maximum() > 0, "there is more than fits"
    for place in (bar.minimum(), bar.maximum()):
        bar.setValue(place)
        settle()
        whole = panel.decision.rect().translated(panel.decision.mapTo(panel, QPoint()))
        assert panel.rect().contains(whole)
        assert not panel._scroll.geometry().intersects(whole)
    panel.decision.ask_reason("reject")
    panel.decision.reason.setText("half a sent")
    panel.resize(340, 300)
    settle()
    assert panel._scroll.isAncestorOf(panel.decision), "at the end of what it is about, before who made it"
    column = panel._scroll.column
    assert column.indexOf(panel.decision) == column.indexOf(panel._origin) - 1
    assert panel.decision.reason.text() == "half a sent"
    panel.resize(340, 700)
    settle()
    assert not panel._scroll.isAncestorOf(panel.decision)


def test_where_it_was_validated_takes_a_line_above_the_number_and_the_whole_below_it(panel) -> None:
    site = made.answer().validated_on
    certain = tuple(guard for guard in made.GUARDS if guard.level == "ok")
    for guards, is_whole in ((made.GUARDS, False), (certain, True)):
        show(panel, made.answered(said=made.answer(guards=guards)))
        labels = {type(label): label for label in panel.findChildren(PlainLabel) if label.text() == site}
        assert labels[PlainLabel].isVisibleTo(panel) == is_whole
        assert labels[ElidedLabel].isVisibleTo(panel) != is_whole
        if not is_whole:
            press(panel, "Validated on")
            assert labels[PlainLabel].isVisibleTo(panel)
            assert not labels[ElidedLabel].isVisibleTo(panel)


def test_after_a_decision_the_keyboard_stays_in_its_box(panel, qtbot) -> None:
    """Qt would give it to the next widget of the window: the menu."""
    said, decided = made.answered(), made.decided()
    decided = replace(said, decisions=decided.decisions)
    show(panel, said)
    panel.show()
    panel.activateWindow()
    qtbot.waitUntil(panel.isActiveWindow)
    panel.decision.ask_reason("reject")
    qtbot.waitUntil(panel.decision.reason.hasFocus)
    panel.show_state(said, decided)
    settle()
    focused = QApplication.focusWidget()
    assert isinstance(focused, QAbstractButton)
    assert focused.text() == "Undo"
    panel.show_state(decided, replace(decided, view=View(inverted=True)))  # no longer the last that was done
    settle()
    focused = QApplication.focusWidget()
    assert isinstance(focused, QAbstractButton)
    assert focused.text() == "Decide again"
    qtbot.keyClick(focused, Qt.Key.Key_Space)
    settle()
    focused = QApplication.focusWidget()
    assert isinstance(focused, QAbstractButton)
    assert focused.text() == "Accept"


def test_where_a_model_was_validated_is_said_in_the_language_in_use(qtbot) -> None:
    english = made.answer().validated_on
    rows = (replace(made.MODELS[0], validated_on={"en": english, "zh": "广州一家医院的儿童。"}),)
    panel = FindingsPanel(rows, made.METHODS)
    qtbot.addWidget(panel)
    show(panel, made.answered(), replace(made.answered(), language="zh"))
    assert "广州一家医院的儿童。" in all_words(panel)
    assert english not in all_words(panel)
    assert "儿童肺炎（胸部X线）" in [label.text() for label in panel.findChildren(QLabel)]
    of_an_earlier_version = made.answered(said=made.answer(validated_on="Children of two hospitals."))
    show(panel, replace(of_an_earlier_version, language="zh"))
    assert "Children of two hospitals." in all_words(panel)


def answer_of(state: State) -> Answer:
    return next(iter(state.answers.values()))


def test_what_is_being_typed_survives_a_change_elsewhere(panel) -> None:
    state = made.explained()
    show(panel, state)
    press(panel, "Reject")
    panel.decision.reason.setText("half a sent")
    panel.show_state(state, replace(state, overlay=replace(state.overlay, opacity=0.7)))
    settle()
    assert panel.decision.reason.text() == "half a sent"


def test_a_half_made_choice_does_not_follow_to_another_image(panel) -> None:
    state = made.explained()
    show(panel, state)
    press(panel, "Reject")
    assert state.selection is not None
    series = state.selection.study.series[1]
    other = replace(state, selection=replace(state.selection, series=series, stack=series.stacks[0]))
    other = made.answered(other)
    panel.show_state(state, other)
    assert is_offered(panel, "Accept")


def test_a_half_made_choice_ends_with_its_answer(panel) -> None:
    """The model ran again: what is typed about its old answer is not signed on the new one."""
    asked = Asked(panel)
    state, again = made.answered(), made.answered()
    show(panel, state)
    press(panel, "Reject")
    panel.decision.reason.setText("the old one is wrong")
    panel.show_state(state, again)
    assert not panel.decision.reason.isVisibleTo(panel)
    press(panel, "Accept")
    ((_, judged),) = asked.calls
    assert isinstance(judged, Judged)
    assert judged.answer is answer_of(again)


def test_undo_is_not_offered_beside_another_models_answer(panel) -> None:
    state = made.decided()
    show(panel, replace(state, decisions=MappingProxyType({})), state)
    assert is_offered(panel, "Undo")
    panel.show_state(state, replace(state, model_id="other"))
    panel.show_state(replace(state, model_id="other"), state)
    assert not is_offered(panel, "Undo")


def test_a_decision_is_shown_with_time_and_reason(panel) -> None:
    show(panel, made.explained(), made.decided())
    words = all_words(panel)
    assert "Rejected at 2026-05-04" in words
    assert "Known metastases, not pneumonia." in words
    assert not is_offered(panel, "Accept")
    press(panel, "Decide again")
    assert is_offered(panel, "Accept")


def test_undo_is_offered_only_while_it_would_undo_the_decision(panel) -> None:
    asked = Asked(panel)
    after = made.decided()
    show(panel, replace(after, decisions=MappingProxyType({})), after)
    press(panel, "Undo")
    assert asked.calls == [("edit.undo", None)]
    for later in (
        {"view": replace(after.view, zoom=2.0)}, {"layout": (1, 2)}, {"second": (1, 1)},
        {"measurements": MappingProxyType({("1.2", 0, None): ()})}, {"key_images": MappingProxyType({("1.2", 0): True})},
    ):  # fmt: skip
        show(panel, replace(after, decisions=MappingProxyType({})), after)
        assert is_offered(panel, "Undo")
        panel.show_state(after, replace(after, **later))
        assert not is_offered(panel, "Undo"), later


def test_hostile_names_stay_text(panel) -> None:
    finding = replace(made.PNEUMONIA, label='<img src="file:///etc/passwd">\u202eevil')
    show(panel, made.answered(said=made.answer(finding)))
    assert '<img src="file:///etc/passwd">⟨U+202E⟩evil' in all_words(panel)
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in panel.findChildren(QLabel) if label.text())


def test_the_panel_speaks_chinese(panel) -> None:
    show(panel, made.explained(), replace(made.explained(), language="zh"))
    words = all_words(panel)
    assert "校准概率" in words
    assert "模型关注的位置" in words
    assert "calibrated" not in words
    assert "随机图" in words
    assert "random maps" not in words
    assert panel.run.text() == "运行"


def test_no_word_is_cut_at_the_designed_width(panel) -> None:
    for state in (made.explained(), made.answered(said=made.abstention()), made.failed(), made.decided()):
        panel.resize(360, 1600)
        show(panel, state)
        panel.show()
        panel.grab()
        settle()
        panel.grab()
        for label in panel.findChildren(QLabel):
            if label.isVisibleTo(panel) and label.text() and label.wordWrap():
                assert label.height() >= label.heightForWidth(label.width()), label.text()


def test_a_finding_is_named_in_the_readers_language(qtbot) -> None:
    row = replace(made.MODELS[0], findings={"Pneumonia": {"en": "Pneumonia", "zh": "肺炎"}})
    panel = FindingsPanel((row, *made.MODELS[1:]), made.METHODS)
    qtbot.addWidget(panel)
    show(panel, replace(made.answered(), language="zh"))
    assert "肺炎" in words(panel)
    assert "Pneumonia" not in words(panel)
    show(panel, made.answered())
    assert "Pneumonia" in words(panel)


OTHER_LANGUAGE = ("in the language in which it was asked", "提问时使用的语言")


def test_an_answer_in_another_language_than_the_window_says_why(panel) -> None:
    said = made.answer(model_title="儿童肺炎（胸部X线）")
    for state, is_other in (
        (made.answered(), False),
        (replace(made.answered(), language="zh"), True),
        (made.answered(said=said), True),
        (replace(made.answered(said=said), language="zh"), False),
        (replace(made.answered(said=made.abstention()), language="zh"), True),
        (replace(made.opened(), language="zh"), False),
    ):
        show(panel, made.opened(), state)
        assert any(words in all_words(panel) for words in OTHER_LANGUAGE) == is_other

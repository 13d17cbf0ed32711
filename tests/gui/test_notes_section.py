"""Notes in the record panel: read as plain text, with the words an answer rests on painted at their very places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QTextCharFormat, QTextCursor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QProgressBar, QPushButton

from medviewer.app.data_questions import DataAnswer, ModelOffer
from medviewer.app.note_models import JOB, note_question
from medviewer.app.state import JobStatus, NoteAnswer, State
from medviewer.domain.anchor import CharacterSpan
from medviewer.domain.answer import Answer, Attribution, Faithfulness, Finding, GuardResult, Impression, Score
from medviewer.gui import theme
from medviewer.gui.anchored_text import AnchoredText, shown_text
from medviewer.gui.cards import ElidedCombo
from medviewer.gui.diverging import MOST_ALPHA, Swatch, amount_words, shares
from medviewer.gui.label_bars import LabelBar
from medviewer.gui.record_panel import RecordPanel
from medviewer.gui.text import use_language, visible
from medviewer.records.record import Document
from tests.gui import panel_states as made
from tests.gui.seen import Asked, all_words, is_offered, press, settle, show, words
from tests.gui.test_narrow_panels import NARROW_PX, cut, laid_out
from tests.time_zones import in_zone

TEXT = "The patient has a cough and fever. She denies chest pain."
DOCUMENTS = (
    Document("Letter", "2003-11-25T09:30:00+01:00", TEXT),
    Document("Round <b>now</b>", "2004-02-01", "Cough.\r\nNo fever."),
    Document("Scan", "2001-01-01", ""),
)
MODEL = ModelOffer(
    "sections", {"en": "Section of a note", "zh": "病历章节"}, "multiclass",
    {name: {"en": name.title(), "zh": zh} for name, zh in zip("abcde", "甲乙丙丁戊", strict=True)},
)  # fmt: skip
WARNING = GuardResult("cut_note.note", "warn", "The note is longer than the model can read.")


def finding(label: str, probability: float, threshold: float = 0.5, meaning: str = "") -> Finding:
    return Finding(label, f"x:{label}", probability, threshold, probability >= threshold, meaning=meaning)


FIVE = tuple(finding(label, p) for label, p in zip("abcde", (0.1, 0.62, 0.2, 0.05, 0.03), strict=True))


def answer(*findings: Finding, **changes: object) -> Answer:
    return made.answer(*(findings or FIVE), **changes)


def because(
    *weights: tuple[str, float], text: str = TEXT, judged: Faithfulness | None = None, of: str = "b"
) -> Attribution:
    anchors = tuple(CharacterSpan("note", word, (at(word, text),)) for word, _ in weights)
    return why_of(anchors, [amount for _, amount in weights], judged, of)


def why_of(
    anchors: tuple[CharacterSpan, ...], amounts: Sequence[float], judged: Faithfulness | None = None, of: str = "b"
) -> Attribution:
    return Attribution(
        "occlusion", "Occlusion", of, np.array(amounts, np.float32), np.eye(3), np.empty((0, 0), np.float32), None, "",
        judged, 0.1, made.provenance(), anchors,
    )  # fmt: skip


def at(word: str, text: str = TEXT) -> tuple[int, int]:
    return text.index(word), text.index(word) + len(word)


def opened(said: DataAnswer | None = None, number: int = 0, **changes: object) -> State:
    state = made.opened(record=made.record(documents=DOCUMENTS), note_models=(MODEL,), **changes)
    asked = note_question(state, number)
    if said is None or asked is None:
        return state
    return replace(state, note_answers=(NoteAnswer(asked, "sections", said),))


WHY = because(("cough", 2.0), ("fever", -1.2), ("chest", 0.6), ("patient", 0.05))
SAID = DataAnswer(answer(), WHY)


@pytest.fixture
def panel(qtbot) -> RecordPanel:
    one = RecordPanel()
    qtbot.addWidget(one)
    return one


def unfold(panel: RecordPanel, title: str = "Letter") -> None:
    settle()
    fold = next(b for b in panel.findChildren(QPushButton) if b.accessibleName().startswith(title))
    fold.setChecked(True)


def unfolded(panel: RecordPanel, *states: State, title: str = "Letter") -> AnchoredText:
    panel.resize(360, 900)
    panel.show()
    show(panel, states[0])
    QApplication.processEvents()
    unfold(panel, title)
    for old, new in pairwise(states):
        panel.show_state(old, new)
    QApplication.processEvents()
    return panel.findChild(AnchoredText)


def look(text: AnchoredText, word: str) -> QTextCharFormat:
    """How a word is drawn; all of its letters alike."""
    start = text.toPlainText().index(word)
    found = []
    for place in range(start + 1, start + len(word) + 1):
        cursor = QTextCursor(text.document())
        cursor.setPosition(place)
        found.append(cursor.charFormat())
    assert all(one == found[0] for one in found), word
    return found[0]


# the text and the places in it


@given(st.text(alphabet=st.sampled_from("ab é\r\n\t\u202e\u200b😀漢\u2028"), max_size=30))
def test_every_character_is_shown_where_its_place_says(text: str) -> None:
    shown, places = shown_text(text)
    units = shown.encode("utf-16-le")
    assert len(places) == len(text) + 1
    assert places[-1] * 2 == len(units)
    for index, character in enumerate(text):
        piece = units[2 * places[index] : 2 * places[index + 1]].decode("utf-16-le")
        if character == "\r":
            assert piece == ("" if text[index + 1 : index + 2] == "\n" else "\n")
        else:
            assert piece == (character if character in "\n\t" else visible(character))


def test_words_are_painted_at_their_places_behind_emoji_line_ends_and_hidden_marks(qtbot) -> None:
    text = "😀\r\n\u202eNo fever,\r\n\r\ncough 😀 pain."
    one = AnchoredText(text)
    qtbot.addWidget(one)
    one.explain(because(("fever", 1.0), ("cough", -1.0), ("pain", 0.9), text=text))
    shown = one.toPlainText().encode("utf-16-le")
    painted = [shown[2 * p.start : 2 * p.end].decode("utf-16-le") for p in one.painted]
    assert painted == ["fever", "cough", "pain"]
    for place, word in zip(one.painted, painted, strict=True):
        cursor = QTextCursor(one.document())
        cursor.setPosition(place.start)
        cursor.setPosition(place.end, QTextCursor.MoveMode.KeepAnchor)
        assert cursor.selectedText() == word
    assert "⟨U+202E⟩" in one.toPlainText()


def test_a_note_is_plain_text_whatever_it_holds(panel) -> None:
    state = opened()
    record = replace(state.record, documents=(Document("Letter", "2004-01-01", "<b>bold</b> &amp; <img src=x>"),))
    text = unfolded(panel, replace(state, record=record))
    assert text.toPlainText() == "<b>bold</b> &amp; <img src=x>"
    assert "Round" not in all_words(panel)


def test_for_and_against_differ_by_line_and_weight_and_not_by_colour_alone(panel) -> None:
    text = unfolded(panel, opened(SAID))
    line = QTextCharFormat.UnderlineStyle
    assert (look(text, "cough").underlineStyle(), look(text, "fever").underlineStyle()) == (
        line.SingleUnderline,
        line.DashUnderline,
    )
    weights = [look(text, word).fontWeight() for word in ("cough", "fever", "chest", "denies")]
    assert weights == [600, 600, 400, 400]  # half of the strongest, or more
    assert look(text, "patient").background().style() == Qt.BrushStyle.NoBrush  # 2.5% of the strongest
    assert look(text, "denies").underlineStyle() == line.NoUnderline
    strong, weak = (look(text, word).background().color().lightness() for word in ("cough", "chest"))
    assert strong > weak  # on the dark ground


@pytest.mark.parametrize("name", list(theme.THEMES))
def test_words_on_the_strongest_tint_can_be_read_and_lines_seen(name: theme.ThemeName) -> None:
    t = theme.THEMES[name]
    for hue in (t.speaks_for, t.speaks_against):
        assert theme.contrast(t.text, theme.blended(hue, t.ground, MOST_ALPHA)) >= 4.5
        assert theme.contrast(hue, t.ground) >= 3
        assert theme.contrast(hue, t.raised) >= 3


def test_another_theme_paints_the_words_in_its_colours(panel, qapp) -> None:
    text = unfolded(panel, opened(SAID))
    try:
        theme.apply_theme(qapp, "light")
        QApplication.processEvents()
        assert look(text, "cough").underlineColor() == theme.color(theme.THEMES["light"].speaks_for)
        assert look(text, "denies").foreground().color() == theme.color(theme.THEMES["light"].text)
    finally:
        theme.apply_theme(qapp)


def test_the_legend_says_what_is_explained_and_what_the_numbers_are(panel) -> None:
    unfolded(panel, opened(SAID))
    text = all_words(panel)
    assert "speaks for “B”" in text
    assert "speaks against it" in text
    assert "how far the network's score for it falls without the word" in text
    assert len(panel.findChildren(Swatch)) == 2
    assert not panel.findChildren(Swatch)[0].grab().isNull()


def test_without_an_explanation_nothing_is_painted_and_no_legend_shown(panel) -> None:
    state = opened(SAID)
    text = unfolded(panel, state, replace(state, note_answers=()))
    assert text.painted == ()
    assert look(text, "cough").underlineStyle() == QTextCharFormat.UnderlineStyle.NoUnderline
    assert "speaks for" not in all_words(panel)
    assert panel.findChildren(Swatch) == [] or not any(s.isVisibleTo(panel) for s in panel.findChildren(Swatch))


def test_keys_go_from_word_to_word_and_say_their_numbers(panel, qtbot) -> None:
    text = unfolded(panel, opened(SAID))
    panel.activateWindow()
    text.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.waitUntil(text.hasFocus)
    told = []
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left, Qt.Key.Key_Home, Qt.Key.Key_End):
        told.append(next(one for one in words(panel) if one.endswith(("+2.00", "-1.20", "+0.60"))))
        QTest.keyClick(text, key)
    assert [one.split(": ")[1] for one in told] == ["+2.00", "-1.20", "+0.60", "+0.60", "-1.20", "+2.00"]
    (chosen,) = text.extraSelections()
    assert chosen.cursor.selectedText() == "chest"
    assert text.accessibleDescription().startswith("\u2068cough\u2069: +2.00; ")
    text.clearFocus()
    assert text.extraSelections() == []


@pytest.mark.parametrize("is_explained", [True, False])
def test_its_keys_are_not_those_of_menus_while_there_are_words_to_go_to(panel, is_explained: bool) -> None:
    text = unfolded(panel, opened(SAID if is_explained else None))
    event = QKeyEvent(QEvent.Type.ShortcutOverride, Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier)
    event.ignore()
    QApplication.sendEvent(text, event)
    assert event.isAccepted() == is_explained
    with_control = QKeyEvent(QEvent.Type.ShortcutOverride, Qt.Key.Key_Left, Qt.KeyboardModifier.AltModifier)
    with_control.ignore()
    QApplication.sendEvent(text, with_control)
    assert not with_control.isAccepted()


def test_the_mouse_over_a_word_says_its_number(panel) -> None:
    text = unfolded(panel, opened(SAID))

    def over(word: str, *, behind: int = 0, by_px: int = 3) -> str:
        cursor = QTextCursor(text.document())
        cursor.setPosition(text.toPlainText().index(word) + behind)
        place = text.cursorRect(cursor).center() + QPoint(by_px, 0)
        here, there = QPointF(place), QPointF(text.viewport().mapToGlobal(place))
        buttons, keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
        QApplication.sendEvent(text.viewport(), QMouseEvent(QEvent.Type.MouseMove, here, there, buttons, buttons, keys))
        return text.viewport().toolTip()

    assert "cough" in over("cough")
    assert "+2.00" in over("cough", behind=4)
    assert "-1.20" in over("fever")
    assert over("denies") == ""
    assert "cough" in over("cough", behind=5, by_px=-2)  # the right half of its last letter
    assert over("cough", by_px=-2) == ""  # the space before it
    assert over("cough", behind=5) == ""  # the space behind it


def test_a_word_that_counts_once_for_all_its_places_says_so(panel) -> None:
    text = "Cough, cough and fever."
    anchor = CharacterSpan("note", "cough", ((0, 5), (7, 12)))
    one = AnchoredText(text)
    one.explain(why_of((anchor,), [1.0]))
    assert [p.words for p in one.painted] == ["\u2068cough\u2069: +1.00 (2 times in the note)"] * 2
    one.deleteLater()


def test_what_the_model_did_not_read_is_shown_as_not_read(panel) -> None:
    short = because(("patient", 1.0), ("cough", 2.0))
    said = DataAnswer(answer(guards=(WARNING,)), short)
    text = unfolded(panel, opened(said))
    assert look(text, "denies").fontItalic()
    assert not look(text, "has").fontItalic()
    assert "Grey and slanted: not read by the model." in all_words(panel)
    assert "The note is longer than the model can read." in all_words(panel)


def test_a_note_that_was_read_whole_is_not_shown_as_read_in_part(panel) -> None:
    text = unfolded(panel, opened(DataAnswer(answer(), because(("cough", 2.0)))))
    assert not look(text, "denies").fontItalic()
    assert "not read by the model" not in all_words(panel)


def test_shares_and_amounts() -> None:
    assert shares([]) == []
    assert shares([0.0, 0.0]) == [0.0, 0.0]
    assert shares([-4.0, 1.0]) == [-1.0, 0.25]
    assert [amount_words(x) for x in (0.004, -0.005, 12.0)] == ["0", "-0.01", "+12.00"]


# the section


def test_the_newest_note_stands_first_and_unfolds_to_its_text(panel) -> None:
    with in_zone("Europe/Berlin"):
        text = unfolded(panel, opened(), title="Round")
    order = [word for word in words(panel) if word.startswith(("Letter ·", "Round <b>now</b> ·", "Scan ·"))]
    assert order == ["Round <b>now</b> · 2004-02-01", "Letter · 2003-11-25 09:30", "Scan · 2001-01-01"]
    assert text.toPlainText() == "Cough.\nNo fever."


def test_notes_of_different_zones_stand_by_when_they_were_written(panel) -> None:
    notes = (
        Document("First", "2024-05-02T01:00:00+09:00", "Seoul"),
        Document("Last", "2024-05-01T20:00:00Z", "London"),
        Document("Undated", "", "Nowhere"),
        Document("Second", "2024-05-01T18:30:00+02:00", "Berlin"),
    )
    with in_zone("Europe/Berlin"):
        show(panel, made.opened(record=made.record(documents=notes), note_models=(MODEL,)))
    found = words(panel)
    order = [word for word in found if word.startswith(("First ·", "Second ·", "Last ·"))]
    assert order == ["Last · 2024-05-01 22:00", "Second · 2024-05-01 18:30", "First · 2024-05-01 18:00"]
    assert found.index("Undated") > found.index(order[-1])


def test_a_document_without_text_says_so_and_offers_no_model(panel) -> None:
    show(panel, opened())
    unfold(panel, "Scan")
    assert "The record holds no plain text of this document." in words(panel)
    assert not is_offered(panel, "Run")


def test_a_record_without_notes_says_so(panel) -> None:
    show(panel, made.opened(record=made.record(documents=())))
    assert "Notes\nNot recorded" in all_words(panel)


def test_while_identity_is_hidden_no_note_is_shown(panel) -> None:
    state = opened(SAID)
    unfolded(panel, state, replace(state, identity_hidden=True))
    text = all_words(panel)
    assert "Notes are not shown while identity is hidden: they may tell who the patient is." in text
    assert "Section of a note" not in text
    assert panel.findChild(AnchoredText) is None or not panel.findChild(AnchoredText).isVisibleTo(panel)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"read_first": True}, "Models of notes are offered after you have written your impression."),
        ({"record_mismatch": "No."}, "No model reads notes while image and record contradict each other."),
        ({"note_models": ()}, "No installed model reads notes."),
    ],
)
def test_where_no_model_is_offered_the_reason_is_said_and_nothing_of_an_answer_shown(panel, changes, said) -> None:
    text = unfolded(panel, replace(opened(SAID), **changes))
    assert said in words(panel)
    assert "Section of a note" not in all_words(panel)
    assert text.painted == ()


def test_the_impression_brings_what_was_withheld(panel) -> None:
    state = replace(opened(SAID), read_first=True)
    key = state.selection.image.key
    written = replace(state, impressions={key: (Impression("Clear.", "2024-05-02T10:00:00Z", after_ai=False),)})
    text = unfolded(panel, state, written)
    assert "Section of a note" in words(panel)
    assert len(text.painted) == 3


def test_an_answer_about_one_note_stands_at_that_note_alone(panel) -> None:
    state = opened(SAID)
    unfolded(panel, state)
    unfold(panel, "Round")
    texts = panel.findChildren(AnchoredText)
    assert sorted(len(one.painted) for one in texts) == [0, 3]


def test_models_are_asked_explained_and_stopped_by_their_buttons(panel) -> None:
    asked = Asked(panel)
    unfolded(panel, opened(), opened(DataAnswer(answer())))
    press(panel, "Show the words it rests on")
    show(panel, opened())
    QApplication.processEvents()
    unfold(panel)
    QApplication.processEvents()
    press(panel, "Run")
    state = opened(DataAnswer(answer()))
    working = replace(
        state, jobs=(JobStatus(JOB, "Occlusion", 3, 9),), note_asked=(note_question(state, 0), "sections")
    )
    panel.show_state(state, working)
    QApplication.processEvents()
    press(panel, "Stop it")
    assert asked.calls == [
        ("model.explain_note", (0, "sections", "b")),
        ("model.run_note", (0, "sections")),
        ("job.cancel", JOB),
    ]


def test_progress_is_shown_at_its_note_without_drawing_it_anew(panel) -> None:
    state = opened(DataAnswer(answer()))
    asked = (note_question(state, 0), "sections")
    steps = [replace(state, jobs=(JobStatus(JOB, "Occlusion", n, 9),), note_asked=asked) for n in (3, 7)]
    unfolded(panel, state, steps[0])
    bars = [bar for bar in panel.findChildren(LabelBar) if bar.isVisibleTo(panel)]
    panel.show_state(*steps)
    (progress,) = [bar for bar in panel.findChildren(QProgressBar) if bar.isVisibleTo(panel)]
    assert (progress.value(), progress.maximum()) == (7, 9)
    assert "Occlusion" in words(panel)
    assert [bar for bar in panel.findChildren(LabelBar) if bar.isVisibleTo(panel)] == bars
    assert not is_offered(panel, "Show the words it rests on")
    panel.show_state(steps[1], state)
    QApplication.processEvents()
    assert is_offered(panel, "Show the words it rests on")


def test_the_keys_stay_at_the_card_when_it_is_drawn_anew(panel, qtbot) -> None:
    state = opened()
    unfolded(panel, state)
    panel.activateWindow()
    run = next(b for b in panel.findChildren(QPushButton) if b.text() == "Run")
    run.setFocus()
    qtbot.waitUntil(run.hasFocus)
    panel.show_state(state, opened(SAID))
    assert isinstance(QApplication.focusWidget(), ElidedCombo)


def test_of_labels_that_exclude_each_other_the_first_three_are_bars(panel) -> None:
    unfolded(panel, opened(SAID))
    bars = [bar.accessibleName() for bar in panel.findChildren(LabelBar)]
    assert bars == [
        "B: 0.62, threshold 0.50, flagged",
        "C: 0.20, threshold 0.50, not flagged",
        "A: 0.10, threshold 0.50, not flagged",
    ]
    assert "2 others together: 0.08" in words(panel)
    assert "calibrated probability; the tick is the threshold" in words(panel)


def test_what_is_no_probability_is_not_called_one(panel) -> None:
    unfolded(panel, opened(DataAnswer(answer(calibration={"method": "none"}))))
    assert "output of the network, no probability; the tick is the threshold" in words(panel)
    assert "calibrated" not in all_words(panel)
    assert not any("probability" in bar.accessibleName() for bar in panel.findChildren(LabelBar))


def test_of_labels_that_do_not_exclude_each_other_all_are_bars_the_flagged_first(panel) -> None:
    state = replace(opened(SAID), note_models=(replace(MODEL, task="multilabel"),))
    unfolded(panel, state)
    names = [bar.accessibleName()[0] for bar in panel.findChildren(LabelBar)]
    assert names == ["B", "A", "C", "D", "E"]
    assert "others together" not in all_words(panel)


def test_a_bar_is_as_long_as_its_probability_and_ticks_its_threshold(qtbot) -> None:
    one = LabelBar(finding("a", 0.25, 0.75), "words")
    qtbot.addWidget(one)
    one.resize(202, 14)
    picture = one.grab().toImage()
    ratio = picture.width() / 202

    def at_share(share: float, y: float = 7) -> int:
        return picture.pixelColor(round((1 + 200 * share) * ratio), round(y * ratio)).blue()

    assert at_share(0.1) > at_share(0.5) + 60
    assert at_share(0.75, 2) > at_share(0.6, 2) + 60


def test_what_its_threshold_means_is_said_of_what_is_flagged(panel) -> None:
    found = (finding("b", 0.7, meaning="Of 100 flagged 80."), finding("a", 0.1, meaning="Of 100 flagged 70."))
    unfolded(panel, opened(DataAnswer(answer(*found))))
    assert "Of 100 flagged 80." in words(panel)
    assert "Of 100 flagged 70." not in words(panel)
    tips = [bar.parentWidget().toolTip() for bar in panel.findChildren(LabelBar)]
    assert ["Of 100 flagged 70." in tip for tip in tips] == [False, True]
    assert all("threshold 0.50" in tip for tip in tips)


def test_which_label_is_explained_can_be_chosen(panel) -> None:
    asked = Asked(panel)
    unfolded(panel, opened(SAID))
    combo = panel.findChild(ElidedCombo)
    assert [combo.itemText(row) for row in range(combo.count())] == ["B", "C", "A", "D", "E"]
    assert combo.currentIndex() == 0
    combo.activated.emit(0)
    combo.activated.emit(2)
    assert asked.calls == [("model.explain_note", (0, "sections", "a"))]


@pytest.mark.parametrize(
    ("percentiles", "level"), [((99.0, 98.0), False), ((99.0, 60.0), True)], ids=["better", "not better"]
)
def test_an_explanation_no_better_than_chance_is_a_caution(panel, percentiles, level: bool) -> None:
    verdict = "Not clearly better than chance" if level else "Better than chance"
    judged = Faithfulness(*percentiles, 50, f"{verdict}: 2% of random orders do as well.")
    unfolded(panel, opened(DataAnswer(answer(guards=()), replace(WHY, faithfulness=judged))))
    assert f"{verdict}: 2% of random orders do as well." in words(panel)
    assert ("Caution" in words(panel)) == level


def test_an_explanation_that_was_not_compared_says_so(panel) -> None:
    unfolded(panel, opened(SAID))
    assert "Not compared with random orders." in words(panel)


def test_a_failure_is_said_and_the_model_offered_again(panel) -> None:
    sentence = "The process that runs models ended unexpectedly; it has been started again: run the model once more."
    unfolded(panel, opened(DataAnswer(problem=sentence)))
    assert "There is no result" in words(panel)
    assert is_offered(panel, "Run")


def test_a_failed_explanation_leaves_the_answer(panel) -> None:
    unfolded(panel, opened(DataAnswer(answer(), problem="The model took longer than its time budget; no result.")))
    assert "The explanation is not complete" in words(panel)
    assert len(panel.findChildren(LabelBar)) == 3


def test_an_abstention_says_why_and_shows_no_number(panel) -> None:
    reason = GuardResult("language.note", "abstain", "The note seems to be in another language (de).")
    said = DataAnswer(answer(status="abstained", findings=(), guards=(reason,)))
    unfolded(panel, opened(said))
    assert "The note seems to be in another language (de)." in all_words(panel)
    assert panel.findChildren(LabelBar) == []
    assert not is_offered(panel, "Show the words it rests on")


def test_a_model_that_may_not_be_explained_says_so(panel) -> None:
    state = replace(opened(DataAnswer(answer())), note_models=(replace(MODEL, is_explained=False),))
    unfolded(panel, state)
    assert "This model's card allows no explanation." in words(panel)
    assert not is_offered(panel, "Show the words it rests on")


def test_a_score_of_a_note_that_is_no_sum_is_shown(panel) -> None:
    score = Score("risk", "x:1", "Risk", 6.25, 0, 10, "High", flagged=True, meaning="Made up.")
    state = replace(opened(DataAnswer(answer(findings=(), outcomes=(score,)))), note_models=(MODEL,))
    unfolded(panel, state)
    for said in ("6.25", "of 10", "High", "Made up."):
        assert said in words(panel)


def test_what_made_it_is_said(panel) -> None:
    unfolded(panel, opened(SAID))
    press(panel, "Details")
    assert "Unverified" in words(panel)
    assert "Research use only, not for diagnosis" in words(panel)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("said", [SAID, DataAnswer(answer(guards=(WARNING,)), WHY), None, DataAnswer(problem="No.")])
def test_notes_are_whole_in_a_narrow_panel(panel, said, language: str) -> None:
    long = Document("A title that nobody shortened, of the department of something " * 2, "2004-02-02", TEXT * 3)
    state = opened(said, language=language)
    record = replace(state.record, documents=(*DOCUMENTS, long))
    asked = replace(state, record=record)
    answers = tuple(replace(one, question=note_question(asked, 0)) for one in state.note_answers)
    show(panel, replace(asked, note_answers=answers))
    for title in ("Letter", "A title"):
        unfold(panel, title)
    laid_out(panel, NARROW_PX, 4000)
    assert cut(panel) == []
    use_language("en")


def test_in_chinese_everything_is_chinese(panel) -> None:
    unfolded(panel, opened(SAID, language="zh"))
    text = all_words(panel)
    for said in ("病历文字", "病历章节", "支持“乙”", "反对该项", "校准概率；刻度线为阈值", "其余 2 项合计：0.08"):
        assert said in text
    use_language("en")

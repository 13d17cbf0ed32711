"""A panel of 280 px, as a laptop or a fine screen at 200% has it, cuts nothing without a sign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QFont, QFontMetrics
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QPushButton, QScrollArea, QWidget

from medviewer.app.commands import COMMANDS
from medviewer.app.documents import page_count
from medviewer.app.state import JobStatus, Notice, Restorable, State
from medviewer.domain.answer import GuardResult
from medviewer.gui import theme
from medviewer.gui.about_dialog import AboutDialog
from medviewer.gui.buttons import ButtonRow, WrappingButton
from medviewer.gui.cards import Card, FactRow, ScrollColumn
from medviewer.gui.dialogs import size_on_screen
from medviewer.gui.empty_view import EmptyView
from medviewer.gui.finding_card import confirm_words
from medviewer.gui.findings_panel import FindingsPanel
from medviewer.gui.record_panel import RecordPanel
from medviewer.gui.shortcuts_dialog import ShortcutsDialog
from medviewer.gui.text import ElidedLabel, PlainLabel
from medviewer.gui.window import MainWindow
from medviewer.records.record import Identifier
from tests.document_maker import make_pdf, write_pdf
from tests.gui import panel_states as made
from tests.gui.reader import Reader
from tests.gui.seen import press, settle, show
from tests.outline_models import make_outlines
from tests.phantoms import write_chest

NARROW_PX = 280
LONG_ID = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


def laid_out(widget: QWidget, width: int, height: int) -> None:
    """Show a widget wide, then drag it to its width."""
    widget.show()
    for now in (640, width):
        widget.resize(now, height)
        for _ in range(5):  # new words change a label's height, that its card's, that the panel's
            settle()
            QCoreApplication.processEvents()


def cut(panel: QWidget) -> list[str]:
    """The words of labels and buttons that are not seen whole, and do not say so."""
    found = []
    for part in panel.findChildren(QWidget):
        if not part.isVisibleTo(panel) or isinstance(part, ElidedLabel):
            continue
        if not isinstance(part, QLabel | QAbstractButton) or not part.text():
            continue
        left = part.mapTo(panel, QPoint(0, 0)).x()
        wraps = isinstance(part, WrappingButton) or (isinstance(part, QLabel) and part.wordWrap())
        needed = part.minimumSizeHint().width() if isinstance(part, QLabel) or wraps else part.sizeHint().width()
        is_low = wraps and part.height() < part.heightForWidth(part.width())
        around = part.parentWidget().rect().adjusted(0, 0, 1, 1)
        is_outside = left + part.width() > panel.width() or not around.contains(part.geometry())
        if part.width() < needed or is_low or is_outside:
            found.append(part.text())
    return found


def doubtful() -> State:
    guards = tuple(
        GuardResult(code, "warn", "The file leaves it open.")
        for code in ("view.unknown", "body_part.unknown", "modality.unknown", "age.unknown", "secondary_capture")
    )
    return made.answered(said=made.answer(guards=(*made.GUARDS, *guards)))


STATES = {
    "explained": made.explained(),
    "abstained": made.answered(said=made.abstention()),
    "decided": made.decided(),
    "failed": made.failed(),
    "doubtful": doubtful(),
    "not run": made.opened(),
    "outlined": made.answered(said=replace(make_outlines(64, 48, empty=frozenset(["bright"])), guards=made.GUARDS)),
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", STATES)
def test_findings_are_whole_in_a_narrow_panel(qtbot, name: str, language: str) -> None:
    panel = FindingsPanel(made.MODELS, made.METHODS)
    qtbot.addWidget(panel)
    show(panel, replace(STATES[name], language=language))
    laid_out(panel, NARROW_PX, 2400)
    assert cut(panel) == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("identifier", ["HD-4711", LONG_ID])
def test_the_record_is_whole_in_a_narrow_panel(qtbot, identifier: str, language: str) -> None:
    panel = RecordPanel()
    qtbot.addWidget(panel)
    record = made.record(identifiers=(Identifier("Hospital", identifier),))
    show(panel, made.opened(record=record, language=language, record_mismatch="They contradict each other."))
    laid_out(panel, NARROW_PX, 2400)
    assert cut(panel) == []


@pytest.mark.parametrize("ask", ["Reject", "Change…"])
def test_the_question_for_a_reason_is_whole_in_a_narrow_panel(qtbot, ask: str) -> None:
    panel = FindingsPanel(made.MODELS, made.METHODS)
    qtbot.addWidget(panel)
    show(panel, made.explained())
    laid_out(panel, NARROW_PX, 2400)
    press(panel, ask)
    laid_out(panel, NARROW_PX, 2400)
    assert cut(panel) == []


def test_one_wide_card_does_not_have_the_words_of_the_others_cut(qtbot) -> None:
    panel = ScrollColumn()
    qtbot.addWidget(panel)
    for child in (QPushButton("a button of a model that nobody foresaw, too long"), QLabel()):
        card = Card()
        card.add(PlainLabel("Validated on ages 1 to 5 years; this patient is 63. " * 3, wrap=True), child)
        panel.column.addWidget(card)
    laid_out(panel, NARROW_PX, 600)
    assert [card.width() for card in panel.findChildren(Card)] == [NARROW_PX - 24] * 2
    assert [words for words in cut(panel) if words.startswith("Validated")][1:] == []


def test_buttons_share_a_row_or_break_into_filled_rows(qtbot) -> None:
    row = ButtonRow([QPushButton(words) for words in ("Accept", "Reject", "Change")])
    qtbot.addWidget(row)
    one = max(button.sizeHint().width() for button in row.findChildren(QPushButton))
    laid_out(row, 3 * one + 16, 40)
    accept, reject, change = (button.geometry() for button in row.findChildren(QPushButton))
    assert accept.top() == reject.top() == change.top()
    assert row.heightForWidth(3 * one + 16) < row.heightForWidth(2 * one + 8) < row.heightForWidth(one)
    laid_out(row, 2 * one + 8, 80)
    accept, reject, change = (button.geometry() for button in row.findChildren(QPushButton))
    assert accept.top() == reject.top() < change.top()
    assert change.width() == row.width()
    assert not QRect(accept).intersects(reject)


def test_a_row_of_buttons_follows_a_change_of_its_buttons(qtbot) -> None:
    first = QPushButton("A")
    row = ButtonRow([first, QPushButton("B")])
    qtbot.addWidget(row)
    laid_out(row, 240, 100)
    assert row.heightForWidth(240) == first.height()
    first.setText("A longer word than before, in another language")
    laid_out(row, 240, 100)
    assert row.findChildren(QPushButton)[1].y() > 0


def test_a_long_confirmation_takes_more_lines(qtbot) -> None:
    made_button = WrappingButton(confirm_words("body_part.unknown"), "check")
    qtbot.addWidget(made_button)
    made_button.ensurePolished()
    assert made_button.heightForWidth(220) > made_button.heightForWidth(600)
    made_button.resize(220, made_button.heightForWidth(220))
    made_button.show()
    drawn = made_button.grab().toImage()
    lines = {y for y in range(drawn.height()) if any(drawn.pixelColor(x, y).lightness() > 180 for x in range(40, 200))}
    assert max(lines) - min(lines) > made_button.fontMetrics().height()


def test_a_long_word_is_broken_and_drawn_whole(qtbot) -> None:
    label = PlainLabel(LONG_ID, wrap=True)
    qtbot.addWidget(label)
    label.ensurePolished()
    assert label.text() == LONG_ID
    assert label.minimumSizeHint().width() <= 48
    assert label.heightForWidth(160) >= 3 * label.fontMetrics().height()
    assert PlainLabel("Short words as ever", wrap=True).breaks_words is False
    assert PlainLabel(LONG_ID).breaks_words is False


def test_a_long_value_can_still_be_copied(qtbot) -> None:
    row = FactRow("Image", LONG_ID)
    qtbot.addWidget(row)
    value = next(label for label in row.findChildren(PlainLabel) if label.text() == LONG_ID)
    value.actions()[0].trigger()
    assert QApplication.clipboard().text() == LONG_ID


def test_dialogs_leave_room_on_a_small_screen() -> None:
    assert size_on_screen(QSize(520, 680), QSize(1920, 1080)) == QSize(520, 680)
    small = size_on_screen(QSize(720, 680), QSize(960, 540))
    assert small.width() == 720
    assert small.height() < 540


@pytest.mark.parametrize("kind", ["about", "shortcuts"])
def test_close_stays_in_sight_in_a_low_dialog(qtbot, kind: str) -> None:
    dialog = AboutDialog() if kind == "about" else ShortcutsDialog(COMMANDS.values())
    qtbot.addWidget(dialog)
    laid_out(dialog, 520, 320)
    assert dialog.height() == 320
    assert dialog.focusWidget().text() == "Close"
    close = next(button for button in dialog.findChildren(QPushButton) if button.text() == "Close")
    assert dialog.rect().contains(QRect(close.mapTo(dialog, QPoint(0, 0)), close.size()))


@pytest.mark.parametrize("kind", ["about", "shortcuts"])
def test_dialogs_are_no_larger_than_the_screen(qtbot, kind: str, monkeypatch) -> None:
    monkeypatch.setattr("medviewer.gui.dialogs._AROUND_PX", QApplication.primaryScreen().availableSize() / 2)
    dialog = AboutDialog() if kind == "about" else ShortcutsDialog(COMMANDS.values())
    qtbot.addWidget(dialog)
    half = QApplication.primaryScreen().availableSize() / 2
    assert dialog.height() <= half.height() + 1
    assert dialog.testAttribute(Qt.WidgetAttribute.WA_Resized)


RECENT = ("/data/studies/2026/chest and abdomen, follow-up of an invented patient", "/media/cd/DICOMDIR")


def test_the_window_fits_a_screen_of_720_points(main_window: MainWindow) -> None:
    """1440 x 900 at 200 %: while a model runs and something is said too, no part lies outside of the screen."""
    app = main_window.app
    main_window.show()
    app.session.update(
        recent=RECENT,
        provider="Running on: CPU, because no GPU runtime is installed",
        jobs=(JobStatus("model", "Trying small changes of the image", 2, 4),),
        notice=Notice(
            "info", "The results were saved in a folder whose name is very long, as the names of folders are."
        ),
    )
    main_window.resize(720, 430)
    settle()
    assert main_window.minimumSizeHint().width() <= 720
    assert main_window.width() == 720


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (4, 5)])
def test_several_viewports_fit_a_screen_of_720_points_too(
    main_window: MainWindow, qtbot, tmp_path: Path, shape: tuple[int, int]
) -> None:
    """Else the window grows beyond the screen, with the strip that says what it is not for."""
    window, reader = main_window, Reader(main_window, qtbot)
    write_chest(tmp_path, size=32, spacing_mm=10.0, n_slices=3)
    reader.open(tmp_path)
    window.resize(720, 430)
    window.app.run_command("layout.use", shape)
    reader.settle()
    for _ in range(5):  # the viewports' least size goes up from layout to layout
        settle()
        QCoreApplication.processEvents()
    least = window.minimumSizeHint()
    assert (least.width() <= 720, least.height() <= 430) == (True, True)
    assert (window.width(), window.height()) == (720, 430)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_pdf_fits_a_screen_of_720_points_too(main_window: MainWindow, qtbot, tmp_path: Path, language: str) -> None:
    """It has the most symbols above it: pages, zoom, save and close."""
    window, app = main_window, main_window.app
    write_pdf(tmp_path / "letter.dcm", make_pdf(12))
    app.session.update(language=language)
    window.resize(720, 430)
    app.run_command("file.open_files", [tmp_path])
    qtbot.waitUntil(lambda: app.state.reading is not None and page_count(app.state) == 12, timeout=20_000)
    for _ in range(5):
        settle()
        QCoreApplication.processEvents()
    assert window.minimumSizeHint().width() <= 720
    assert window.width() == 720


@pytest.mark.parametrize("language", ["en", "zh"])
def test_at_720_points_the_image_has_half_and_every_tab_is_read(main_window: MainWindow, language: str) -> None:
    window = main_window
    window.app.session.update(language=language)
    window.show()
    window.resize(720, 450)
    settle()
    assert window._middle.width() >= 360
    tabs, bar = window._tabs, window._tabs.tabBar()
    names = {panel: words for panel, (words, _icon) in tabs._labels.items()}
    assert tabs.count() == len(names) == 5
    for panel, words in names.items():
        tabs.setCurrentWidget(panel)
        settle()
        front = tabs.currentIndex()
        letters = QFontMetrics(theme.text_font(theme.TEXT_PX, QFont.Weight.DemiBold)).horizontalAdvance(words)
        assert tabs.tabText(front) == words
        assert bar.tabRect(front).width() >= letters + 20  # what the style sheet puts around them
        for at in range(tabs.count()):
            assert bar.rect().contains(bar.tabRect(at))
            assert bar.accessibleTabName(at) == names[tabs.widget(at)]
            if not tabs.tabText(at):
                assert not tabs.tabIcon(at).isNull()
                assert tabs.tabToolTip(at) == names[tabs.widget(at)]


def test_the_studies_stand_beside_the_image_again_where_there_is_room(main_window: MainWindow) -> None:
    window = main_window
    window.show()
    window.resize(1200, 700)
    settle()
    window.splitter.moveSplitter(300, 1)
    window.splitter.moveSplitter(800, 2)
    before = window.splitter.sizes()
    window.resize(720, 450)
    settle()
    assert window.splitter.indexOf(window.studies) == -1
    assert window._tabs.currentWidget() is window.findings
    assert not window.studies.isVisible()
    window._tabs.setCurrentWidget(window.studies)
    assert window.studies.isVisible()
    window.resize(1200, 700)
    settle()
    assert (window.splitter.indexOf(window.studies), window.studies.isVisible()) == (0, True)
    assert [window._tabs.tabText(at) for at in range(4)] == ["Findings", "Patient", "Measurements", "Layers"]
    assert window.splitter.sizes() == before
    window._tabs.setCurrentWidget(window.measurements)
    window.resize(720, 450)
    settle()
    assert window._tabs.currentWidget() is window.studies, "as it was when the window was last so narrow"
    window.app.run_command("view.panels")
    assert not window._tabs.isVisible()
    window.app.run_command("view.panels")
    assert window.studies.isVisible()


@pytest.mark.parametrize("width", [240, 900])
def test_where_to_begin_is_read_in_a_narrow_window(width: int, qtbot) -> None:
    view = EmptyView()
    qtbot.addWidget(view)
    view.show_state(None, State(recent=RECENT, restorable=Restorable(RECENT[:1], ())))
    laid_out(view, width, 330)
    assert view.minimumSizeHint().width() <= 240
    assert cut(view) == []


def test_in_a_low_window_one_scrolls_to_the_last_recent_study(qtbot) -> None:
    view = EmptyView()
    qtbot.addWidget(view)
    view.show_state(None, State(recent=RECENT))
    laid_out(view, 240, 330)
    buttons = [one for one in view.findChildren(QPushButton) if one.isVisible()]
    assert min(one.height() for one in buttons) >= 24, "none is squeezed"
    bar = view.findChild(QScrollArea).verticalScrollBar()
    bar.setValue(bar.maximum())
    settle()
    last = buttons[-1]
    assert view.rect().contains(QRect(last.mapTo(view, QPoint()), last.size()))

"""The window: always says what it is not for, hides who must be hidden, answers while work goes on."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QMenu, QTabWidget, QToolButton, QToolTip

from medviewer.app.commands import COMMANDS
from medviewer.app.on_screen import current_answer
from medviewer.app.start import running_application
from medviewer.gui import values_section
from medviewer.gui.post import GuiPost
from medviewer.gui.status_bar import NoticeLabel
from medviewer.gui.window import TITLE, MainWindow
from tests.fakes import MODEL_ID, FakeEngine
from tests.gui.reader import Reader, words
from tests.gui.seen import settle
from tests.radiographs import write_radiograph, write_slices

if TYPE_CHECKING:
    from PySide6.QtGui import QAction


@pytest.fixture
def reader(main_window: MainWindow, qtbot: Any) -> Reader:
    return Reader(main_window, qtbot)


@pytest.fixture
def radiograph(tmp_path: Path) -> Path:
    return write_radiograph(tmp_path / "a.dcm")


def test_it_opens_empty_and_says_what_it_is_not_for(main_window: MainWindow) -> None:
    assert main_window.empty.isVisible()
    assert not main_window.viewport.isVisible()
    assert main_window.windowTitle() == TITLE
    assert main_window.strip.isVisible()
    assert "Research use only - not for diagnosis" in words(main_window)


def test_the_strip_stays_whatever_is_hidden_and_lets_the_mouse_through(reader: Reader, radiograph: Path) -> None:
    reader.open(radiograph)
    for _ in range(2):
        strip = reader.window.strip
        assert strip.isVisible()
        assert strip.testAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        middle = strip.mapTo(reader.window, strip.rect().center())
        assert reader.window.childAt(middle) is not strip
        reader.key(Qt.Key.Key_Tab)


def test_what_draws_charts_is_imported_while_the_window_goes_on(
    main_window: MainWindow, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported, told = [], []
    monkeypatch.setattr(values_section, "import_charts", lambda: imported.append(threading.current_thread()))
    main_window.record._load_charts(lambda: told.append(threading.current_thread()))
    qtbot.waitUntil(lambda: bool(told))
    assert imported[0] is not threading.main_thread()
    assert told == [threading.main_thread()]


def test_a_panel_that_is_asked_for_is_there_at_once(qtbot: Any, fake_engine: FakeEngine, medviewer_home: Path) -> None:
    """Whichever comes first, each stands where it always does, and shows the state as it is."""
    post = GuiPost()
    with running_application(medviewer_home, post, fake_engine, has_models=False) as app:
        window = MainWindow(app, is_whole=False)
        qtbot.addWidget(window)
        window.show()
        tabs = window._tabs
        app.run_command("app.language", "zh")
        for name in ("layers", "record", "findings", "measurements"):
            assert name not in window.__dict__
            panel = getattr(window, name)
            assert panel is getattr(window, name)
            assert tabs.indexOf(panel) >= 0
        assert [tabs.widget(at) for at in range(4)] == [
            window.findings,
            window.record,
            window.measurements,
            window.layers,
        ]
        assert tabs.currentWidget() is window.findings
        assert "模型" in "".join(words(window.findings))
        app.run_command("app.language", "en")
        assert [tabs.tabText(at) for at in range(4)] == ["Findings", "Patient", "Measurements", "Layers"]
        for _ in window.make_rest():
            pass
        assert window.findings.model.currentText()  # they are known now
        window.close()
        post.close()


def test_a_window_that_is_made_whole_knows_the_models(
    qtbot: Any, fake_engine: FakeEngine, medviewer_home: Path
) -> None:
    post = GuiPost()
    with running_application(medviewer_home, post, fake_engine, has_models=False) as app:
        window = MainWindow(app)
        qtbot.addWidget(window)
        window.show()
        assert app.state.model_id
        assert window.findings.model.currentData() == app.state.model_id
        window.close()
        post.close()


def test_what_is_asked_of_models_before_they_are_listed_is_done(
    qtbot: Any, fake_engine: FakeEngine, medviewer_home: Path, radiograph: Path
) -> None:
    post = GuiPost()
    with running_application(medviewer_home, post, fake_engine, has_models=False) as app:
        window = MainWindow(app, is_whole=False)
        qtbot.addWidget(window)
        window.show()
        app.run_command("file.open_files", [radiograph])
        qtbot.waitUntil(lambda: app.state.frame is not None and not app.jobs.running, timeout=20_000)
        app.run_command("model.run")
        qtbot.waitUntil(lambda: current_answer(app.state) is not None, timeout=20_000)
        app.run_command("model.select", MODEL_ID)
        chosen = app.state.model_id
        for _ in window.make_rest():
            pass
        assert app.state.model_id == chosen
        assert window.findings.model.currentData() == chosen
        window.close()
        post.close()


def test_no_file_of_a_model_is_hashed_after_the_end(
    fake_engine: FakeEngine, medviewer_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(fake_engine.catalogue, "close", lambda: closed.append(True))
    post = GuiPost()
    with running_application(medviewer_home, post, fake_engine, has_models=False):
        assert not closed
    assert closed
    post.close()


def test_the_window_goes_on_while_files_of_models_are_hashed(
    qtbot: Any, fake_engine: FakeEngine, medviewer_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, hashed = GuiPost(), [False]
    monkeypatch.setattr(type(fake_engine.catalogue), "is_hashed", property(lambda _catalogue: hashed[0]))
    with running_application(medviewer_home, post, fake_engine, has_models=False) as app:
        window = MainWindow(app, is_whole=False)
        qtbot.addWidget(window)
        window.show()
        rest = window.make_rest()
        for _ in range(9):
            next(rest)
        assert "layers" in window.__dict__
        assert not app.has_models
        assert "findings" not in window.__dict__
        hashed[0] = True
        for _ in rest:
            pass
        assert window.findings.model.currentText()
        window.close()
        post.close()


def test_a_panel_that_cannot_be_made_takes_no_other_away(
    qtbot: Any, fake_engine: FakeEngine, medviewer_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "excepthook", lambda _kind, error, _where: told.append(str(error)))

    def fail(*_args: object) -> None:
        raise RuntimeError("a bug")

    post = GuiPost()
    with running_application(medviewer_home, post, fake_engine, has_models=False) as app:
        window = MainWindow(app, is_whole=False)
        qtbot.addWidget(window)
        window.show()
        with monkeypatch.context() as patched:
            patched.setattr("medviewer.gui.findings_panel.FindingsPanel.__init__", fail)
            for _ in window.make_rest():
                pass
        assert told == ["a bug"]
        assert window.is_whole
        assert app.has_models
        assert "record" in window.__dict__
        window.close()
        post.close()


def test_tab_leaves_the_screen_to_the_image(reader: Reader, radiograph: Path) -> None:
    reader.open(radiograph)
    panels = (reader.window.studies, reader.window.findings, reader.window.tools)
    width = reader.window.viewport.width()
    reader.key(Qt.Key.Key_Tab)
    assert not any(panel.isVisible() for panel in panels)
    reader.wait(lambda: reader.window.viewport.width() > width)
    reader.key(Qt.Key.Key_Tab)
    assert reader.window.studies.isVisible()


def test_hidden_identity_is_nowhere_in_the_window(reader: Reader, radiograph: Path) -> None:
    reader.open(radiograph)
    assert "Alpha" in reader.window.windowTitle()
    reader.window.app.run_command("view.hide_identity")
    everything = "\n".join(words(reader.window))
    for secret in ("Alpha", "Anna", "2001-02-03"):
        assert secret not in everything
    assert reader.window.windowTitle().endswith(TITLE)


def test_the_chosen_series_stays_marked_when_identity_is_hidden(reader: Reader, radiograph: Path) -> None:
    reader.open(radiograph)
    marked = reader.window.studies.list.currentIndex().row()
    assert marked >= 0
    reader.window.app.run_command("view.hide_identity")
    assert reader.window.studies.list.currentIndex().row() == marked


def test_no_patient_reaches_the_title_while_identity_is_hidden(
    reader: Reader, tmp_path: Path, radiograph: Path
) -> None:
    titles: list[str] = []
    reader.window.windowTitleChanged.connect(titles.append)
    reader.window.app.run_command("view.hide_identity")
    reader.open(radiograph)
    reader.open(write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben"))
    assert titles
    assert not [t for t in titles if "Alpha" in t or "Beta" in t]


def test_menus_offer_every_command_that_has_a_menu(main_window: MainWindow) -> None:
    menu = main_window.tools.menu_button.menu()
    offered: set[str] = set()

    def walk(actions: list[QAction]) -> None:
        for action in actions:
            if action.menu() is not None:
                offered.add(action.text())
                walk(action.menu().actions())
            elif action.text():
                offered.add(action.text())

    walk(menu.actions())
    missing = [row.id for row in COMMANDS.values() if row.menu and row.title["en"].replace("&", "&&") not in offered]
    assert not missing


def test_files_and_folders_can_be_dropped(reader: Reader, radiograph: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(radiograph.parent))])
    window = reader.window
    event = QDropEvent(
        QPointF(50, 50), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(event)  # what Qt calls at the end of a drag
    assert event.isAccepted()
    reader.settle()
    assert reader.state.selection.patient.name == "Alpha^Anna"
    assert window.viewport.isVisible()


@pytest.mark.parametrize("text", ["file:", "file://", "http://example.org/a.dcm"])
def test_an_address_without_a_path_opens_nothing(
    reader: Reader, radiograph: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Least of all the folder that the program was started in."""
    monkeypatch.chdir(radiograph.parent)
    data = QMimeData()
    data.setUrls([QUrl(text)])
    window = reader.window
    for target in (window, window.empty):
        event = QDropEvent(
            QPointF(50, 50), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        )
        target.dropEvent(event)
        reader.settle()
        assert reader.state.selection is None


def test_the_window_answers_while_a_model_runs_and_cancel_stops_it(
    reader: Reader, radiograph: Path, fake_engine: FakeEngine
) -> None:
    reader.open(radiograph)
    fake_engine.entered.clear()
    fake_engine.gate.clear()
    reader.window.app.run_command("model.run")
    reader.wait(fake_engine.entered.is_set)
    assert reader.window.status.cancel.isVisible()
    reader.key(Qt.Key.Key_H)
    assert reader.state.view.flip_horizontal
    reader.window.status.cancel.click()
    reader.settle()
    assert current_answer(reader.state) is None
    assert not reader.window.status.cancel.isVisible()
    fake_engine.gate.set()
    reader.window.app.run_command("model.run")
    reader.settle()
    assert current_answer(reader.state) is not None


def test_a_long_notice_can_be_read_whole_by_mouse_and_keys(reader: Reader) -> None:
    notice = reader.window.status.findChild(NoticeLabel)
    assert notice.focusPolicy() == Qt.FocusPolicy.NoFocus
    long = "The check against random maps was interrupted; the answer stands. " * 8
    reader.window.app.notify("caution", long)
    notice.repaint()
    assert long in notice.toolTip()
    reader.window.activateWindow()
    notice.setFocus(Qt.FocusReason.TabFocusReason)
    reader.wait(notice.hasFocus)
    assert notice.focusPolicy() == Qt.FocusPolicy.TabFocus
    assert long in QToolTip.text()
    reader.window.app.notify("info", "")
    QToolTip.hideText()


def test_the_heat_map_button_shows_whether_it_is_on(reader: Reader, radiograph: Path) -> None:
    reader.open(radiograph)
    action = reader.window.actions_.action("explain.toggle")
    assert action.isCheckable()
    for _ in range(2):
        assert action.isChecked() == reader.state.overlay.visible
        action.trigger()
    assert action.isChecked() == reader.state.overlay.visible
    reader.window.app.run_command("explain.toggle")
    assert action.isChecked() == reader.state.overlay.visible


def test_running_says_what_it_ran_on(reader: Reader, radiograph: Path) -> None:
    reader.open(radiograph)
    assert "Will run on: CPU, because no GPU runtime is installed" in words(reader.window)
    assert "Running on: CPU, because no GPU runtime is installed" not in words(reader.window)
    reader.window.app.run_command("model.run")
    reader.settle()
    assert "Running on: CPU, because no GPU runtime is installed" in words(reader.window)


def test_sizes_and_choices_are_remembered(qtbot: Any, fake_engine: FakeEngine, medviewer_home: Path) -> None:
    def session(act: Any) -> None:
        post = GuiPost()
        with running_application(medviewer_home, post, fake_engine) as app:
            window = MainWindow(app)
            qtbot.addWidget(window)
            window.show()
            act(window)
            window.close()
            post.close()

    chosen: list[int] = []

    def choose(window: MainWindow) -> None:
        window.resize(780, 560)  # no wider than the screen of the tests
        window.splitter.setSizes([200, 250, 328])
        chosen.extend(window.splitter.sizes())
        window.app.run_command("explain.color_map", "viridis")
        window.app.run_command("app.language", "zh")

    def check(window: MainWindow) -> None:
        assert window.height() == 560
        assert window.splitter.sizes() == chosen
        assert window.app.state.overlay.color_map == "viridis"
        assert "仅供研究" in "".join(words(window))

    session(choose)
    session(check)


def test_another_language_is_spoken_at_once(reader: Reader, radiograph: Path) -> None:
    reader.open(radiograph)
    QApplication.processEvents()  # what a panel has just made is shown by the next turn of the loop
    english = set(words(reader.window))
    reader.window.app.run_command("app.language", "zh")
    QApplication.processEvents()
    chinese = set(words(reader.window))
    assert "文件" in "".join(a.text() for a in reader.window.tools.menu_button.menu().actions())
    assert len(english - chinese) > 10
    reader.window.app.run_command("app.language", "en")
    QApplication.processEvents()
    assert set(words(reader.window)) == english


def test_the_palette_runs_what_is_typed(reader: Reader, radiograph: Path, qtbot: Any) -> None:
    reader.open(radiograph)
    reader.key(Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    palette = reader.window.palette_
    reader.wait(palette.isVisible)
    qtbot.keyClicks(palette.line, "invert")
    qtbot.keyClick(palette.line, Qt.Key.Key_Return)
    assert reader.state.view.inverted
    assert not palette.isVisible()


def test_typing_a_reason_does_not_press_shortcuts(reader: Reader, radiograph: Path, qtbot: Any) -> None:
    from PySide6.QtWidgets import QLineEdit

    reader.open(radiograph)
    before = reader.state.view
    line = QLineEdit(reader.window)
    line.show()
    line.setFocus()
    reader.wait(lambda: QApplication.focusWidget() is line)
    qtbot.keyClicks(line, "hv x7")
    assert line.text() == "hv x7"
    assert reader.state.view == before


def test_dialogs_and_menus_are_let_go_when_they_are_closed(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    window = reader.window
    monkeypatch.setattr(QDialog, "exec", lambda dialog: asked.append(type(dialog).__name__) or 0)
    reader.open(*write_slices(tmp_path / "ct", 4))
    commands = (
        "file.print", "file.export_image", "file.export_film", "image.tags", "help.shortcuts", "help.about",
        "app.preferences", "layout.protocols", "model.manage", "model.molecule",
    )  # fmt: skip
    for command_id in commands:
        window.app.run_command(command_id)
        reader.settle()
    assert len(asked) == len(commands)
    settle()
    assert [type(one).__name__ for one in window.findChildren(QDialog)] == []
    before = len(window.findChildren(QMenu))
    QTimer.singleShot(0, lambda: QApplication.activePopupWidget().close())
    window.volume.menu_requested.emit(QPoint(5, 5))
    settle()
    assert len(window.findChildren(QMenu)) == before


def test_arrow_keys_scroll_only_while_the_image_has_the_focus(reader: Reader, tmp_path: Path, qtbot: Any) -> None:
    reader.open(*write_slices(tmp_path, 4))
    start = reader.state.selection.index
    reader.key(Qt.Key.Key_Down)
    reader.settle()
    assert reader.state.selection.index == start + 1
    reader.window.studies.list.setFocus()
    qtbot.keyClick(reader.window.studies.list, Qt.Key.Key_Down)
    reader.settle()
    assert reader.state.selection.index == start + 1


def test_the_menu_over_the_image_names_presets_by_what_they_do(reader: Reader, tmp_path: Path) -> None:
    reader.open(*write_slices(tmp_path, 1))
    menu = reader.window.actions_.image_menu(reader.window)
    presets = next(a.menu() for a in menu.actions() if a.menu() is not None)
    presets.aboutToShow.emit()
    assert [a.text() for a in presets.actions()][7] == "Lung  (1500 / -600)"


def test_the_menu_names_presets_by_the_image_on_screen_and_not_by_an_earlier_one(
    reader: Reader, tmp_path: Path
) -> None:
    reader.open(*write_slices(tmp_path, 1))
    app = reader.window.app
    for language in ("zh", "en"):  # the whole menu is made anew with a CT on screen
        app.run_command("app.language", language)
    menu = reader.window.tools.menu_button.menu()
    presets = next(s.menu() for a in menu.actions() for s in a.menu().actions() if s.menu() and "preset" in s.text())
    presets.aboutToShow.emit()
    assert "1500" in presets.actions()[7].text()
    reader.open(write_radiograph(tmp_path / "b.dcm", PatientName="Other"))
    presets.aboutToShow.emit()
    assert "1500" not in presets.actions()[7].text()
    menu.deleteLater()


def test_what_has_been_drawn_is_known_and_not_kept(
    reader: Reader, radiograph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = reader.window
    assert window.has_drawn()  # nothing is to be seen
    reader.open(radiograph)
    reader.wait(window.has_drawn)
    assert window.viewport.painted_frame is reader.state.frame
    window.viewport.painted_frame = None
    assert not window.has_drawn()
    monkeypatch.setattr(window.viewports, "_viewports", [])  # as while a new layout is made
    assert not window.has_drawn()
    monkeypatch.undo()
    window.viewport.repaint()
    assert window.has_drawn()
    window.app.run_command("file.close")
    assert window.viewport.painted_frame is None


def test_a_call_to_a_window_that_is_gone_is_dropped(qtbot: Any) -> None:
    post, called = GuiPost(), []
    post(lambda: called.append(1))
    qtbot.waitUntil(lambda: called == [1])
    post(lambda: called.append(2))
    post.close()
    post(lambda: called.append(3))
    QApplication.processEvents()
    assert called == [1]


def test_a_narrow_window_keeps_every_tool_in_sight(reader: Reader) -> None:
    """Icons without words rather than a tool that is not there."""
    bar = reader.window.tools
    buttons = [b for b in bar.findChildren(QToolButton) if b.defaultAction() is not None]
    reader.window.resize(1900, 900)
    reader.settle()
    assert {b.toolButtonStyle() for b in buttons} == {Qt.ToolButtonStyle.ToolButtonTextBesideIcon}
    reader.window.resize(900, 600)
    reader.settle()
    assert {b.toolButtonStyle() for b in buttons} == {Qt.ToolButtonStyle.ToolButtonIconOnly}
    reader.wait(lambda: all(b.isVisible() for b in buttons))  # Qt lays the row out in its own time
    assert all(b.toolTip() for b in buttons)


def test_every_tab_is_there_in_the_narrowest_panel(reader: Reader) -> None:
    window = reader.window
    window.resize(960, 540)
    tabs = next(one for one in window.findChildren(QTabWidget) if one.indexOf(window.findings) >= 0)
    tabs.setFixedWidth(tabs.minimumWidth())
    QApplication.processEvents()
    bar = tabs.tabBar()
    assert bar.count() == 5
    assert all(bar.rect().contains(bar.tabRect(at)) for at in range(bar.count()))


def test_changed_keys_work_at_once_and_are_shown_everywhere(reader: Reader, radiograph: Path) -> None:
    reader.open(radiograph)
    run, actions = reader.window.app.run_command, reader.window.actions_
    run(
        "app.shortcuts", {"view.invert": ("J",), "view.fit": (), "model.run": ("Ctrl+Alt+M",), "image.cine": ("Space",)}
    )
    reader.key(Qt.Key.Key_J)
    assert reader.state.view.inverted
    reader.key(Qt.Key.Key_I, Qt.KeyboardModifier.ShiftModifier)
    assert reader.state.view.inverted
    assert "(J)" in actions.action("view.invert").toolTip()
    assert "(F)" not in actions.action("view.fit").toolTip()
    assert "Ctrl+Alt+M" in reader.window.findings.run.toolTip()
    reader.window.palette_.show_for(reader.state)
    assert {e.shortcut for e in reader.window.palette_._entries if e.command_id == "view.invert"} == {"J"}
    reader.window.palette_.hide()
    run("app.shortcuts", {})
    reader.key(Qt.Key.Key_I, Qt.KeyboardModifier.ShiftModifier)
    assert not reader.state.view.inverted


def test_keys_that_lists_need_too_work_in_every_viewport_and_only_there(reader: Reader, tmp_path: Path) -> None:
    reader.open(*write_slices(tmp_path / "ct", 4))
    run = reader.window.app.run_command
    run("app.shortcuts", {"view.invert": ("Space", "J"), "image.next": ("Ctrl+J", "Down")})
    shown = reader.state.selection
    run("layout.use", (1, 2))
    for place in range(2):
        run("layout.activate", place)
        run("image.select", shown)
        inverted = reader.state.view.inverted
        reader.key(Qt.Key.Key_Space)
        assert reader.state.view.inverted is not inverted
        reader.key(Qt.Key.Key_J)
        assert reader.state.view.inverted is inverted
    reader.window.findings.run.setFocus()
    QTest.keyClick(reader.window.findings.model, Qt.Key.Key_Space)
    assert reader.state.view.inverted is inverted


def test_a_window_that_is_closed_leaves_nothing_to_offer_and_one_that_is_killed_does(
    reader: Reader, radiograph: Path, medviewer_home: Path
) -> None:
    reader.open(radiograph)
    assert [p.suffix for p in medviewer_home.glob("open-*")] == [".json"]
    reader.window.close()
    reader.settle()
    assert not list(medviewer_home.glob("open-*"))


def test_diagnostics_are_copied_with_the_screen(reader: Reader, radiograph: Path) -> None:
    reader.open(radiograph)
    reader.window.app.run_command("help.diagnostics")
    copied = QApplication.clipboard().text()
    assert "platform offscreen" in copied
    assert "scale " in copied
    assert "Alpha" not in copied


def test_deleting_works_from_the_panels_and_copying_means_the_image_only_in_the_image(reader: Reader) -> None:
    actions = reader.window.actions_
    assert actions.action("measure.delete").shortcutContext() == Qt.ShortcutContext.WindowShortcut
    assert actions.action("file.copy_image").shortcutContext() == Qt.ShortcutContext.WidgetShortcut

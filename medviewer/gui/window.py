"""The window: tool bar, studies, image, findings and record, status; all made from the command table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, cast

from PySide6.QtCore import QEvent, QPoint, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QGuiApplication, QResizeEvent
from PySide6.QtWidgets import (
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.application import Application
from medviewer.app.cine import rate_hz
from medviewer.app.last_session import SessionKeeper
from medviewer.app.on_screen import scene_of
from medviewer.app.opening import make_thumbnail
from medviewer.app.panes import picture_of, window_of
from medviewer.app.state import Selection, State
from medviewer.gui import theme
from medviewer.gui.actions import Actions
from medviewer.gui.closing_question import may_lose_film, may_stop_training
from medviewer.gui.document_words import without_identity
from medviewer.gui.dressing import dress
from medviewer.gui.dropping import dropped_paths
from medviewer.gui.front import SECOND_NAME, WindowFront
from medviewer.gui.panel_tabs import LEAST_PX, PanelTabs
from medviewer.gui.screens import Place, bring_back, geometry_text, kept, kept_for_now, place_beside, place_of, restore
from medviewer.gui.second_window import SecondWindow
from medviewer.gui.status_bar import ResearchStrip, StatusBar
from medviewer.gui.studies_panel import StudiesPanel
from medviewer.gui.text import person_name, tr, use_language
from medviewer.gui.tool_bar import ToolBar
from medviewer.gui.viewports import Viewports

if TYPE_CHECKING:
    from medviewer.gui.command_palette import CommandPalette
    from medviewer.gui.document_page import DocumentPage
    from medviewer.gui.empty_view import EmptyView
    from medviewer.gui.findings_panel import FindingsPanel
    from medviewer.gui.layers_panel import LayersPanel
    from medviewer.gui.measurements_panel import MeasurementsPanel
    from medviewer.gui.record_panel import RecordPanel
    from medviewer.gui.volume_view import VolumeView

# ruff: noqa: PLC0415 - what the first image does not need is imported when it is made: the window opens sooner

_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]

TITLE = "MedViewer"
FIRST_NAME = "geometry"  # of this window, in what is kept of the layout
KEEP_EVERY_MS = 3_000  # where the reader is in a stack, for a program that ends unexpectedly
WIDE_PX = 1760  # from here on the record stands beside the findings instead of behind them
NARROW_PX = 1000  # below, the studies stand behind the findings: the image has half of the width at least
_STUDIES_LEAST_PX = 180
_PANELS = ("findings", "record", "measurements", "layers")  # that may be made after the first image is drawn
_FRONT = "narrow_front"  # of a narrow window, in what is kept of the layout: whether the studies are in front


class MainWindow(WindowFront):
    """Shows the session and hands what the reader does to the command table.

    Args:
        app: whose state it shows.
        is_whole: False leaves out what the first image does not need; :meth:`make_rest` then makes it, part by part.
    """

    def __init__(self, app: Application, *, is_whole: bool = True) -> None:
        super().__init__(app)
        use_language(app.state.language)
        dress(self, app.state)
        self.setWindowTitle(TITLE)
        self.setAcceptDrops(True)
        self._keeper = SessionKeeper(app)
        self.actions_ = Actions(self, app.run_command)
        self.viewports = Viewports(partial(picture_of, app))
        self.second = SecondWindow(partial(picture_of, app), lambda: app.run_command("layout.second_window"))
        self.studies = StudiesPanel(lambda image, deliver: make_thumbnail(app, image, deliver))
        self.tools = ToolBar(self.actions_)
        self.strip = ResearchStrip()
        self.status = StatusBar()
        self._middle = QStackedWidget()
        self._places = {name: QWidget() for name in _PANELS}  # of panels that are not made yet
        self._tabs = PanelTabs()
        self._second_tabs = PanelTabs()
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.shown_losses = sys.maxsize  # of app.lost: what fails to be written after closing is seen by nobody
        self.is_whole = is_whole
        self._widths = dict(app.settings.layout)
        self._lay_out()
        self._connect()
        self.actions_.focus_on([(self, self.viewports), (self.second, self.second.viewports)])
        self._restore_layout()
        self._show_state(None, app.state)
        self._unwatch = app.session.watch(self._show_state)
        self._keeping = QTimer(self)
        self._keeping.timeout.connect(self._keeper.flush)
        self._keeping.start(KEEP_EVERY_MS)
        self._cine = QTimer(self)
        self._cine.setTimerType(Qt.TimerType.PreciseTimer)
        self._cine.timeout.connect(lambda: app.run_command("image.play_on"))
        if is_whole:
            app.engine.catalogue.finish()
            for _ in self.make_rest():
                pass
        (self.empty if is_whole else self.viewports).setFocus(Qt.FocusReason.OtherFocusReason)

    # what Qt tells

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 - Qt's name
        """Files and folders may be dropped."""
        if dropped_paths(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 - Qt's name
        """Open what was dropped."""
        paths = dropped_paths(event)
        if paths:
            event.acceptProposedAction()
            self.app.run_command("file.open_files", paths)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """Remember the sizes and let go of the session; a training or a film that goes on is asked about first."""
        if self.asks_before_closing and not self._may_close():
            event.ignore()
            return
        self.asks_before_closing = False  # once is enough, and the training may take a moment to end
        self._remember_layout()
        self._unwatch()
        self._keeper.close()
        self._keeping.stop()
        self._cine.stop()
        self.second.hide()
        self.second.deleteLater()
        self.shown_losses = min(self.shown_losses, len(self.app.lost))
        event.accept()

    def _may_close(self) -> bool:
        if self.app.is_training and not may_stop_training(self):
            return False
        return not self.app.saves.is_filming or may_lose_film(self)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """A window moved to a screen of another scale is drawn anew."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.DevicePixelRatioChange:
            for viewport in self.viewports.visible:
                viewport.update()

    def _lay_out(self) -> None:
        self.addToolBar(self.tools)
        self._middle.addWidget(self.viewports)
        for name in _PANELS:
            self._tabs.addTab(self._places[name], "")
        for panel in (self.studies, self._middle, self._tabs, self._second_tabs):
            self.splitter.addWidget(panel)
        self._second_tabs.hide()
        self.splitter.setStretchFactor(1, 1)
        self.splitter.setHandleWidth(1)
        self.splitter.setChildrenCollapsible(False)
        self.studies.setMinimumWidth(_STUDIES_LEAST_PX)
        whole = QWidget()
        rows = QVBoxLayout(whole)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(0)
        rows.addWidget(self.splitter, 1)
        rows.addWidget(self.strip)
        rows.addWidget(self.status)
        self.setCentralWidget(whole)

    def _connect(self) -> None:
        run = self.app.run_command
        for panel in (self.viewports, self.second.viewports, self.studies, self.status):
            panel.requested.connect(run)
        self.splitter.splitterMoved.connect(lambda _at, _index: self._keep_sizes())
        self.viewports.menu_requested.connect(self._open_menu)
        self.second.viewports.menu_requested.connect(self._open_menu)
        cast("QGuiApplication", QGuiApplication.instance()).screenRemoved.connect(self._screen_gone)

    @cached_property
    def empty(self) -> EmptyView:
        """What stands in the middle while nothing is open."""
        from medviewer.gui.empty_view import EmptyView

        view = EmptyView()
        view.requested.connect(self.app.run_command)
        self._middle.addWidget(view)
        view.show_state(None, self.app.state)
        return view

    @cached_property
    def findings(self) -> FindingsPanel:
        """What models say of the image on screen."""
        from medviewer.gui.catalogue_rows import method_rows, model_rows
        from medviewer.gui.findings_panel import FindingsPanel

        panel = FindingsPanel(model_rows(self.app), method_rows(self.app), self.actions_.shortcuts())
        self._add_panel("findings", panel)
        return panel

    @cached_property
    def record(self) -> RecordPanel:
        """Who the patient is and what is known."""
        from medviewer.gui.record_panel import RecordPanel

        panel = RecordPanel(lambda then: _load_charts(self.app, then))
        self._add_panel("record", panel)
        return panel

    @cached_property
    def measurements(self) -> MeasurementsPanel:
        """What was measured."""
        from medviewer.gui.measurements_panel import MeasurementsPanel

        panel = MeasurementsPanel(self.actions_.shortcuts())
        self._add_panel("measurements", panel)
        return panel

    @cached_property
    def layers(self) -> LayersPanel:
        """What lies over the image."""
        from medviewer.gui.layers_panel import LayersPanel

        panel = LayersPanel(self.actions_.shortcuts())
        self._add_panel("layers", panel)
        return panel

    @cached_property
    def palette_(self) -> CommandPalette:
        """All commands, to be searched; made when it is first opened."""
        from medviewer.gui.command_palette import CommandPalette

        palette = CommandPalette(self.actions_.commands(), self)
        palette.requested.connect(self.app.run_command)
        return palette

    def make_rest(self) -> Iterator[None]:
        """Make what is missing, one part at a step; the reader's hand may come in between.

        The record comes last: it may have charts imported on another thread, while which nothing is imported here.
        """
        self.app.engine.catalogue.begin()
        yield
        for name in ("measurements", "layers"):
            self._make(name)
            yield
        while not self.app.engine.catalogue.is_hashed:  # the panel lists them
            yield
        self._make("findings")
        if not self.app.has_models:
            self.app.adopt_models()  # in the same turn: what the panel says without a model is never seen
        yield
        self._make("record")
        yield
        self.is_whole = True
        self._show_middle(self.app.state)

    def _make(self, name: str) -> None:
        """Make a panel by asking for it; the others are made even if it fails."""
        try:
            getattr(self, name)
        except Exception:  # noqa: BLE001 - a mistake of ours, said as those in Qt's slots are
            sys.excepthook(*cast("_ExceptionInfo", sys.exc_info()))

    def _add_panel(self, name: str, panel: FindingsPanel | RecordPanel | MeasurementsPanel | LayersPanel) -> None:
        """Put a panel where its place was kept, as the state is now."""
        panel.requested.connect(self.app.run_command)
        place = self._places.pop(name)
        (self._second_tabs if self._second_tabs.indexOf(place) >= 0 else self._tabs).exchange(place, panel)
        panel.show_state(None, self.app.state)

    def _page(self, name: str) -> QWidget:
        """A panel, or what keeps its place until it is made."""
        return self._places.get(name) or cast("QWidget", getattr(self, name))

    @cached_property
    def documents(self) -> DocumentPage:
        """Where documents are read; made for the first one, so that the window opens sooner."""
        from medviewer.gui.document_page import DocumentPage

        page = DocumentPage(self.actions_.shortcuts())
        self._add_page(page)
        return page

    @cached_property
    def volume(self) -> VolumeView:
        """The 3D view; made when it is first looked at."""
        from medviewer.gui.volume_view import VolumeView

        view = VolumeView(self.actions_.shortcuts())
        view.menu_requested.connect(self._open_volume_menu)
        self._add_page(view)
        return view

    def _add_page(self, page: DocumentPage | VolumeView) -> None:
        self._middle.addWidget(page)
        page.requested.connect(self.app.run_command)
        page.show_state(None, self.app.state)

    def _show_pages(self, old: State | None, new: State) -> None:
        for name, is_wanted in (("documents", new.reading is not None), ("volume", scene_of(new) is not None)):
            if name in self.__dict__:
                getattr(self, name).show_state(old, new)
            elif is_wanted:
                getattr(self, name)  # made now, as the state is now

    def _show_state(self, old: State | None, new: State) -> None:
        if old is not None and (old.theme, old.density) != (new.theme, new.density):
            dress(self, new)
            self._name_tabs()
        if old is None or old.language != new.language:
            use_language(new.language)
            self._name_tabs()
        if old is not None and old.models_changed != new.models_changed and "findings" in self.__dict__:
            self._list_models()
        for part in (self.actions_, self.tools, self.viewports, self.studies):
            part.show_state(old, new)
        self._show_pages(old, new)
        for name in ("empty", *_PANELS):
            if name in self.__dict__:
                getattr(self, name).show_state(old, new)
        self.status.show_state(old, new)
        self.strip.show_state(old, new)
        self._show_middle(new)
        self._show_panels(new)
        self._show_second(old, new)
        if old is not None and any(
            getattr(old, name) != getattr(new, name) for name in ("is_playing", "selection", "cine_pace")
        ):
            self._play(new)
        title = _title(new)
        if self.windowTitle() != title:
            self.setWindowTitle(title)
            self.second.setWindowTitle(title)

    def _list_models(self) -> None:
        from medviewer.gui.catalogue_rows import method_rows, model_rows

        self.findings.list_models(model_rows(self.app), method_rows(self.app))

    def _show_second(self, old: State | None, new: State) -> None:
        """Open or close the second image window as the state wants it; let keys go to where the reader works."""
        if new.second is None and self.second.isVisible():
            self._keep_second(old or new, is_open=False)
            self.app.remember(layout=self._widths)
            self.second.hide()
        self.second.show_state(old, new)
        if new.second is not None and not self.second.isVisible():
            place = place_of(kept_for_now(self._widths, SECOND_NAME))
            if not restore(self.second, place.geometry):
                place_beside(self.second, self)
            self.second.show()
        if old is not None and window_of(old.active) != window_of(new.active):
            viewport = self.viewport
            if not viewport.isActiveWindow():
                viewport.activateWindow()
            viewport.setFocus(Qt.FocusReason.OtherFocusReason)

    def _keep_second(self, state: State, *, is_open: bool) -> None:
        place = Place(geometry_text(self.second), state.second or (1, 1), is_open)
        self._widths = kept(self._widths, SECOND_NAME, place.text)

    def _screen_gone(self, _screen: object) -> None:
        bring_back(self.second, self)

    def _show_middle(self, state: State) -> None:
        """Documents are in front of the images, and both of where nothing is open, or is just being opened."""
        has_image = state.selection is not None or bool(state.parked) or not self.is_whole
        images = self.volume if scene_of(state) is not None else self.viewports
        middle = self.documents if state.reading is not None else images if has_image else self.empty
        if self._middle.currentWidget() is not middle:
            self._middle.setCurrentWidget(middle)
            if not self.studies.list.hasFocus():  # who goes through the list with its keys goes on there
                middle.setFocus(Qt.FocusReason.OtherFocusReason)

    def _play(self, state: State) -> None:
        """Run the cine's clock at the file's own rate, as long as it plays."""
        if not state.is_playing or state.selection is None:
            self._cine.stop()
            return
        interval_ms = round(1000 / rate_hz(state))
        if not self._cine.isActive() or self._cine.interval() != interval_ms:
            self._cine.start(interval_ms)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """A wide window has room for findings and record at once, a narrow one for one panel beside the image."""
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        """Put record and studies beside the findings or behind them, by the width of the window."""
        is_wide, is_narrow = self.width() >= WIDE_PX, self.width() < NARROW_PX
        if (is_wide, is_narrow) == (self._is_wide, self._is_narrow):
            return
        self._keep_front()
        if is_wide != self._is_wide:
            (self._second_tabs if is_wide else self._tabs).insertTab(1, self._page("record"), "")
        if is_narrow and not self._is_narrow:
            self._tabs.insertTab(0, self.studies, "")
            if self._widths.get(_FRONT) == "studies":
                self._tabs.setCurrentWidget(self.studies)
        elif self._is_narrow and not is_narrow:
            self.splitter.insertWidget(0, self.studies)
        self._name_tabs()
        self._show_panels(self.app.state)
        self._use_sizes()

    @property
    def _is_wide(self) -> bool:
        return self._second_tabs.indexOf(self._page("record")) >= 0

    @property
    def _is_narrow(self) -> bool:
        return self._tabs.indexOf(self.studies) >= 0

    @property
    def _widths_name(self) -> str:
        return "widths_wide" if self._is_wide else "widths_narrow" if self._is_narrow else "widths"

    def _keep_sizes(self) -> None:
        """Note the widths of the panels, apart for a wide, a usual and a narrow window."""
        if not self.app.state.panels_hidden:
            self._widths[self._widths_name] = ",".join(map(str, self.splitter.sizes()))

    def _keep_front(self) -> None:
        """Note which panel of a narrow window is in front."""
        if self._is_narrow:
            self._widths[_FRONT] = "studies" if self._tabs.currentWidget() is self.studies else "findings"

    def _use_sizes(self) -> None:
        kept = _numbers(self._widths.get(self._widths_name, ""))
        if len(kept) != self.splitter.count():
            has_room = self.width() >= 2 * (theme.STUDIES_WIDTH_PX + theme.FINDINGS_WIDTH_PX)
            studies = theme.STUDIES_WIDTH_PX if has_room else _STUDIES_LEAST_PX
            findings = theme.FINDINGS_WIDTH_PX if has_room else LEAST_PX
            beside = [] if self._is_narrow else [studies]
            record = findings if self._is_wide else 0
            kept = [*beside, max(self.width() - sum(beside) - findings - record, 240), findings, record]
        self.splitter.setSizes(kept)

    def _name_tabs(self) -> None:
        for tabs in (self._tabs, self._second_tabs):
            tabs.setAccessibleName(tr("Panels"))
            names = (
                (self.studies, tr("Studies"), "images"),
                (self._page("findings"), tr("Findings"), "stethoscope"),
                (self._page("record"), tr("Patient"), "user"),
                (self._page("measurements"), tr("Measurements"), "ruler"),
                (self._page("layers"), tr("Layers"), "layers-2"),
            )
            for name in names:
                tabs.name(*name)

    def _show_panels(self, state: State) -> None:
        is_shown = not state.panels_hidden
        wished: dict[QWidget, bool] = {
            self._tabs: is_shown,
            self._second_tabs: is_shown and self._is_wide,
            self.tools: is_shown,
            self.status: is_shown,
        }
        if not self._is_narrow:  # else the tabs show and hide them
            wished[self.studies] = is_shown
        for panel, wish in wished.items():
            if panel.isHidden() == wish:
                panel.setVisible(wish)

    def _open_menu(self, where: QPoint) -> None:
        self.actions_.image_menu(self).exec(where)

    def _open_volume_menu(self, where: QPoint) -> None:
        menu = self.actions_.menu_of("volume", self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.exec(where)

    def _restore_layout(self) -> None:
        layout = self.app.settings.layout
        self.resize(1440, 900)
        geometry = layout.get("geometry", "")
        restore(self, kept_for_now(layout, FIRST_NAME) or geometry)
        self._use_sizes()

    def _remember_layout(self) -> None:
        self._keep_sizes()
        self._keep_front()
        self._widths = kept(self._widths, FIRST_NAME, geometry_text(self))
        if self.app.state.second is not None:
            self._keep_second(self.app.state, is_open=True)
        self.app.remember(layout=self._widths)

    def open_as_before(self) -> None:
        """Open the second image window again, if it was open when the program ended on these very screens."""
        is_wanted = place_of(kept_for_now(self._widths, SECOND_NAME)).is_open and self.screen_count() > 1
        if is_wanted and self.app.state.second is None:
            self.app.run_command("layout.second_window")


def _load_charts(app: Application, then: Callable[[], None]) -> None:
    """Import what draws charts while the window goes on."""
    from medviewer.gui.values_section import import_charts

    app.background.start("charts", lambda _stop, _progress: import_charts(), lambda _none: then(), lambda _error: None)


def _numbers(text: str) -> list[int]:
    """Widths as they were saved; none if that was not by us."""
    parts = text.split(",")
    return [int(part) for part in parts] if all(part.isdecimal() and len(part) < 6 for part in parts) else []


def _title(state: State) -> str:
    """Who and what is open; never who, once identity is hidden."""
    now = state.selection or state.reading
    if now is None:
        return TITLE
    what = now.study.description or (now.series if isinstance(now, Selection) else now.document).modality
    who = "" if state.identity_hidden else person_name(now.patient.name)
    what = without_identity(what, now.patient) if state.identity_hidden else what
    return " · ".join(part for part in (who, what, TITLE) if part)

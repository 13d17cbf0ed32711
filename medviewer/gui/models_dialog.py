"""The reader's models: a list with their state, the card of the chosen one, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.application import Application
from medviewer.app.model_shelf import JOB, ModelShelf
from medviewer.app.state import State
from medviewer.gui.buttons import ButtonRow
from medviewer.gui.cards import Card, ScrollColumn, SignalRow, button, clear
from medviewer.gui.dialogs import Dialog, add_close, size_on_screen
from medviewer.gui.dropping import dropped_paths
from medviewer.gui.import_dialog import ImportDialog
from medviewer.gui.model_card import model_card, state_words
from medviewer.gui.replacing import replacing_words
from medviewer.gui.text import PlainLabel, tr, tr_pick, visible
from medviewer.inference.catalogue import Entry
from medviewer.inference.installing import origin_of

_LIST_PX = 280
_NARROW_LIST_PX = 200  # room for most titles
_LINE_PX = 14  # around the two lines of a model in the list
_LOW_PX = 560  # in a dialog that is less high, a question takes the place of the list


class ModelsDialog(Dialog):
    """Installs by file or drop, rolls back, removes; whatever is replaced or removed is asked about first."""

    def __init__(self, app: Application, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._app = app
        self.shelf = ModelShelf(app, self._show)
        self._importing: ImportDialog | None = None
        self.setWindowTitle(tr("Models"))
        self.setAcceptDrops(True)
        self.resize(size_on_screen(QSize(860, 680), self.screen().availableSize()))
        self.list = QListWidget()
        self.file, self.folder = button(tr("Install or import a file…")), button(tr("Install a folder…"))
        self.rollback, self.remove = button(tr("Version before"), "history"), button(tr("Remove"), "trash-2")
        self.cancel = button(tr("Cancel"), "circle-x")
        self._bar, self._words = QProgressBar(), PlainLabel("", "secondary")
        self._above = QVBoxLayout()
        self._scroll = ScrollColumn(margin=0)
        self._halves = QWidget()
        self._lay_out()
        self._connect()
        self._unwatch = app.session.watch(self._follow)
        self.finished.connect(self._end)
        self._show()

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 16, 0, 12)
        whole.setSpacing(12)
        body = QVBoxLayout()
        body.setContentsMargins(20, 0, 20, 0)
        body.setSpacing(12)
        body.addWidget(PlainLabel(tr("Models"), "hero"))
        words = tr(
            "Drop a model's folder or ZIP archive, a MONAI bundle, an ONNX file or TorchXRayVision weights here. "
            "Each is tried before it is taken."
        )
        body.addWidget(PlainLabel(words, "secondary", wrap=True))
        body.addLayout(self._above)
        halves = QHBoxLayout(self._halves)
        halves.setContentsMargins(0, 0, 0, 0)
        halves.setSpacing(16)
        self.list.setAccessibleName(tr("Models"))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        halves.addWidget(self.list)
        self._scroll.setAccessibleName(tr("Model card"))
        of_chosen = QHBoxLayout()
        of_chosen.setSpacing(8)
        of_chosen.addWidget(self.rollback)
        of_chosen.addWidget(self.remove)
        of_chosen.addStretch(1)
        right = QVBoxLayout()
        right.setSpacing(8)
        right.addWidget(self._scroll, 1)
        right.addLayout(of_chosen)
        halves.addLayout(right, 1)
        body.addWidget(self._halves, 1)
        body.addStretch(0)
        working = QHBoxLayout()
        working.setSpacing(8)
        self._bar.setTextVisible(False)
        working.addWidget(self._words)
        working.addWidget(self._bar, 1)
        working.addWidget(self.cancel)
        body.addLayout(working)
        whole.addLayout(body, 1)
        add_close(self, whole, self.file, self.folder)

    def _connect(self) -> None:
        self.list.currentRowChanged.connect(lambda _row: self._show_card())
        self.file.clicked.connect(self._choose_file)
        self.folder.clicked.connect(self._choose_folder)
        self.rollback.clicked.connect(self._ask_rollback)
        self.remove.clicked.connect(self._ask_remove)
        self.cancel.clicked.connect(self.shelf.cancel)

    # what Qt tells

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """The list takes a third of the width; the card, which is what one reads, the rest."""
        super().resizeEvent(event)
        self.list.setFixedWidth(min(_LIST_PX, max(_NARROW_LIST_PX, self.width() // 3)))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 - Qt's name
        """One file or folder may be dropped."""
        if len(dropped_paths(event)) == 1 and not self.shelf.is_busy:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 - Qt's name
        """Take what was dropped."""
        paths = dropped_paths(event)
        if len(paths) == 1 and not self.shelf.is_busy:
            event.acceptProposedAction()
            self._bring(Path(paths[0]))

    def _end(self, _result: int) -> None:
        self._unwatch()
        self.shelf.close()

    def _bring(self, path: Path) -> None:
        self.shelf.bring(path)

    def _choose_file(self) -> None:
        kinds = tr("Models") + " (*.zip *.onnx *.safetensors *.pt *.pth)"
        chosen, _ = QFileDialog.getOpenFileName(self, tr("Install or import a file…"), str(Path.home()), kinds)
        if chosen:
            self._bring(Path(chosen))

    def _choose_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, tr("Install a folder…"), str(Path.home()))
        if chosen:
            self._bring(Path(chosen))

    # what is shown

    @property
    def chosen(self) -> Entry | None:
        """The model that is chosen in the list."""
        row, entries = self.list.currentRow(), self.shelf.entries
        return entries[row] if 0 <= row < len(entries) else None

    def _follow(self, old: State, new: State) -> None:
        if old.jobs != new.jobs:
            self._show_work()

    def _show(self) -> None:
        """Draw everything: something was done, refused, or waits for an answer."""
        chosen = self.chosen.id if self.chosen else ""
        self.list.blockSignals(True)
        self.list.clear()
        for entry in self.shelf.entries:
            item = QListWidgetItem(_line(entry))
            tall = self.list.fontMetrics().size(0, item.text()).height()  # Chinese lines are taller than the font says
            item.setSizeHint(QSize(0, tall + _LINE_PX))
            self.list.addItem(item)
            if entry.id == chosen or self.list.currentRow() < 0:
                self.list.setCurrentItem(item)
        self.list.blockSignals(False)
        self._show_card()
        self._show_work()
        self._show_above()
        self._show_import()

    def _show_card(self) -> None:
        clear(self._scroll.column)
        entry = self.chosen
        if entry is not None:
            self._scroll.column.addWidget(model_card(entry, origin_of(entry), is_own=self.shelf.store.is_own(entry)))
        self._enable()

    def _enable(self) -> None:
        entry, is_free = self.chosen, not self.shelf.is_busy
        is_own = entry is not None and self.shelf.store.is_own(entry)
        self.remove.setEnabled(is_free and is_own)
        self.rollback.setEnabled(is_free and is_own and entry is not None and self.shelf.store.has_previous(entry.id))
        self.file.setEnabled(is_free)
        self.folder.setEnabled(is_free)

    def _show_work(self) -> None:
        job = next((job for job in self._app.state.jobs if job.name == JOB), None)
        for part in (self._bar, self._words, self.cancel):
            part.setVisible(job is not None)
        if job is not None:
            self._words.setText(tr(job.text))
            self._bar.setRange(0, job.total)
            self._bar.setValue(job.done)
        self._enable()

    def _show_above(self) -> None:
        """What was done or refused, or the question that is to be answered."""
        clear(self._above)
        self._halves.show()
        shelf = self.shelf
        if shelf.problem:
            self._above.addWidget(SignalRow("alarm", tr(shelf.problem), word=tr("It was refused")))
        elif shelf.done:
            self._above.addWidget(SignalRow("good", tr(shelf.done)))
        if shelf.waiting is not None:
            new = shelf.waiting.card
            title = tr_pick({"en": new.title.en, "zh": new.title.zh or new.title.en})
            said = replacing_words(shelf.store, shelf.waiting, title)
            self._put(said, tr("Replace"), shelf.confirm, shelf.waiting.objections)

    def _show_import(self) -> None:
        """The questions of a bare network, in a dialog of their own, as long as they wait."""
        shelf = self.shelf
        if shelf.asked is None:
            if self._importing is not None:
                self._importing.accept()
            return
        if self._importing is not None:
            self._importing.show_tried(shelf.tried, shelf.problem, is_busy=shelf.is_busy)
            return
        self._importing = ImportDialog(shelf.asked, shelf.make, shelf.install_tried, self)
        self._importing.finished.connect(self._end_import)
        self._importing.open()

    def _end_import(self, result: int) -> None:
        self._importing = None
        if result != QDialog.DialogCode.Accepted:
            self.shelf.cancel()

    def _ask_rollback(self) -> None:
        entry = self.chosen
        if entry is not None:
            words = tr("The version before of {id} comes back into use; the present one is kept in its place.")
            self._question(words.format(id=entry.id), tr("Take it back"), lambda: self.shelf.rollback(entry.id))

    def _ask_remove(self) -> None:
        entry = self.chosen
        if entry is not None:
            words = tr("{id} is removed from this computer, with the version before it. This cannot be undone.")
            self._question(words.format(id=entry.id), tr("Remove"), lambda: self.shelf.remove(entry.id))

    def _question(self, said: str, yes: str, then: Callable[[], None]) -> None:
        self.shelf.let_go()
        clear(self._above)
        self._put(said, yes, then, ())

    def _put(self, said: str, yes: str, then: Callable[[], None], objections: tuple[str, ...]) -> None:
        card = Card(signal="caution")
        card.add(SignalRow("caution", said, word=yes + "?"))
        for objection in objections:
            card.add(SignalRow("alarm", tr(objection), word=tr("Against it")))
        agree, leave = button(yes), button(tr("Leave it as it is"), kind="primary")
        agree.clicked.connect(then)
        leave.clicked.connect(self.shelf.cancel)
        card.add(ButtonRow((leave, agree)))
        self._above.addWidget(card)
        self._halves.setVisible(self.height() >= _LOW_PX)
        leave.setFocus(Qt.FocusReason.OtherFocusReason)


def _line(entry: Entry) -> str:
    card = entry.card
    title = tr_pick({"en": card.title.en, "zh": card.title.zh or card.title.en}) if card else entry.id
    version = f"{card.version} · " if card else ""
    return f"{visible(title)}\n{version}{state_words(entry)}"

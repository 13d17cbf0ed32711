"""What stands in the middle while nothing is open: where to begin."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from medviewer.app.state import Restorable, State
from medviewer.gui import theme
from medviewer.gui.cards import Card, SignalRow, button, clear, section
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import ElidedLabel, PlainLabel, for_button, plain_tooltip, tr, use_language

_WIDTH_PX = 420
_SHOWN_RECENT = 5


class EmptyView(QWidget):
    """Open a folder, files or the sample, go back to a recent study, or drop something."""

    requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "viewport")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setAcceptDrops(True)
        self._box = QFrame()
        self._box.setFixedWidth(_WIDTH_PX)
        self._box.setProperty("kind", "drop")
        self._column = QVBoxLayout(self._box)
        self._column.setContentsMargins(24, 24, 24, 24)
        self._column.setSpacing(12)
        whole = QVBoxLayout(self)
        whole.addStretch(1)
        row = QHBoxLayout()  # and not an alignment, which ignores that wrapped text needs height
        row.addStretch(1)
        row.addWidget(self._box)
        row.addStretch(1)
        whole.addLayout(row)
        whole.addStretch(1)
        self.show_state(None, State())

    def show_state(self, old: State | None, new: State) -> None:
        """Draw what differs from ``old``; None draws everything."""
        use_language(new.language)
        if old is None or _drawn_from(old) != _drawn_from(new):
            self._draw(new)

    def _draw(self, state: State) -> None:
        clear(self._column)
        t = theme.tokens()
        if state.restorable is not None:
            self._column.addWidget(self._offer(state, state.restorable))
        self._column.addWidget(IconLabel("chest", t.accent, 40))
        self._column.addWidget(PlainLabel(tr("Open a study"), "hero"))
        words = tr("DICOM files, a folder, a CD or a ZIP. Or drop them here.")
        self._column.addWidget(PlainLabel(words, "secondary", wrap=True))
        row = QHBoxLayout()
        row.setSpacing(8)
        choices = (
            (tr("Open folder"), "folder-open", "file.open_folder", state.restorable is None),
            (tr("Open files"), "file", "file.open_files", False),
            (tr("Open sample"), "image", "file.open_sample", False),
        )
        for title, icon_name, command_id, is_first in choices:
            made = button(title, icon_name, "primary" if is_first else "")
            made.clicked.connect(lambda _checked=False, asked=command_id: self.requested.emit(asked, None))
            row.addWidget(made)
        row.addStretch(1)
        self._column.addLayout(row)
        self._draw_recent(state)
        notice = tr("Research use only, not for diagnosis")
        self._column.addWidget(PlainLabel(notice, "small", wrap=True))

    def _offer(self, state: State, restorable: Restorable) -> Card:
        """The program ended without being closed: what was open can be opened again."""
        card = Card(signal="caution")
        where = "" if state.identity_hidden else ", ".join(Path(path).name or path for path in restorable.paths[:3])
        more = " …" if len(restorable.paths) > 3 and where else ""
        ended = tr("MedViewer ended without being closed. What was written is safe.")
        card.add(SignalRow("caution", ended, word=tr("Ended unexpectedly")))
        if where:
            card.add(ElidedLabel(f"{where}{more}", "secondary"))
        row = QHBoxLayout()
        row.setSpacing(8)
        for title, command_id in (
            (tr("Open what was open"), "file.restore"), (tr("No, thanks"), "file.forget_restore"),
        ):  # fmt: skip
            made = button(title, kind="primary" if command_id == "file.restore" else "")
            made.clicked.connect(lambda _checked=False, asked=command_id: self.requested.emit(asked, None))
            row.addWidget(made)
        row.addStretch(1)
        card.column.addLayout(row)
        return card

    def _draw_recent(self, state: State) -> None:
        if not state.recent:
            return
        self._column.addWidget(section(tr("Recent")))
        if state.identity_hidden:
            self._column.addWidget(PlainLabel(tr("Hidden with the identity"), "secondary"))
            return
        rows = QVBoxLayout()
        rows.setSpacing(0)
        self._column.addLayout(rows)
        for text in state.recent[:_SHOWN_RECENT]:
            path = Path(text)
            made = button("", "history", "row")
            whole = f"{path.name or text}   {path.parent}"
            made.setText(for_button(made.fontMetrics().elidedText(whole, Qt.TextElideMode.ElideMiddle, _WIDTH_PX - 96)))
            made.setToolTip(plain_tooltip(text))
            made.clicked.connect(lambda _checked=False, asked=text: self.requested.emit("file.open_recent", asked))
            rows.addWidget(made)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 - Qt's name
        """Take files and folders of this computer."""
        if dropped_paths(event):
            event.acceptProposedAction()
            self._mark(is_over=True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:  # noqa: N802 - Qt's name
        """Look as before."""
        self._mark(is_over=False)
        super().dragLeaveEvent(event)

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 - Qt's name
        """Ask for what was dropped to be opened."""
        self._mark(is_over=False)
        paths = dropped_paths(event)
        if paths:
            event.acceptProposedAction()
            self.requested.emit("file.open_files", paths)

    def _mark(self, *, is_over: bool) -> None:
        self._box.setProperty("kind", "drop-over" if is_over else "drop")
        self._box.style().unpolish(self._box)
        self._box.style().polish(self._box)


def _drawn_from(state: State) -> tuple[object, ...]:
    return state.language, state.recent, state.identity_hidden, state.restorable


def dropped_paths(event: QDropEvent) -> list[Path]:
    """The files and folders of this computer in what is dragged; a URL without a path means no place at all."""
    found = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
    return [Path(text) for text in found if text]  # Path("") would be the folder the program was started in

"""What stands in the middle while nothing is open: where to begin."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from medviewer.app.state import Restorable, State
from medviewer.gui import theme
from medviewer.gui.buttons import ButtonRow
from medviewer.gui.cards import Card, SignalRow, button, clear, section
from medviewer.gui.dropping import dropped_paths
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import ElidedLabel, PlainLabel, for_button, plain_tooltip, tr, use_language

_WIDTH_PX = 420
_MARGIN_PX = 16
_AROUND_RECENT_PX = 96  # margins and the icon
_AROUND_BOX_PX = 40  # and the bar that scrolls
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
        self._box.setMaximumWidth(_WIDTH_PX)
        self._box.setProperty("kind", "drop")
        self._recent: list[tuple[QPushButton, str]] = []
        self._column = QVBoxLayout(self._box)
        self._column.setContentsMargins(_MARGIN_PX, _MARGIN_PX, _MARGIN_PX, _MARGIN_PX)
        self._column.setSpacing(12)
        inside = QWidget()
        inside.setProperty("kind", "clear")
        rows = QVBoxLayout(inside)
        rows.setContentsMargins(2, 2, 2, 2)
        rows.addStretch(1)
        row = QHBoxLayout()  # and not an alignment, which ignores that wrapped text needs height
        row.addStretch(1)
        row.addWidget(self._box, _WIDTH_PX)  # all the width that it may have
        row.addStretch(1)
        rows.addLayout(row)
        rows.addStretch(1)
        scroll = QScrollArea()  # for a low window
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setProperty("kind", "column")
        scroll.setWidget(inside)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(scroll)
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
        choices = (
            (tr("Open folder"), "folder-open", "file.open_folder", state.restorable is None),
            (tr("Open files"), "file", "file.open_files", False),
            (tr("Open sample"), "image", "file.open_sample", False),
        )
        made = [
            self._asking(command, button(title, icon, "primary" if is_first else ""))
            for title, icon, command, is_first in choices
        ]
        self._column.addWidget(ButtonRow(made))
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
        yes = self._asking("file.restore", button(tr("Open what was open"), kind="primary"))
        no = self._asking("file.forget_restore", button(tr("No, thanks")))
        card.add(ButtonRow((yes, no)))
        return card

    def _asking(self, command_id: str, made: QPushButton, argument: object = None) -> QPushButton:
        made.clicked.connect(lambda: self.requested.emit(command_id, argument))
        return made

    def _draw_recent(self, state: State) -> None:
        self._recent = []
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
            made = self._asking("file.open_recent", button("", "history", "row"), text)
            made.setToolTip(plain_tooltip(text))
            made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            self._recent.append((made, f"{path.name or text}   {path.parent}"))
            rows.addWidget(made)
        self._elide()

    def _elide(self) -> None:
        """Cut the words of recent studies in their middle, so that they fit."""
        room = min(_WIDTH_PX, self.width() - _AROUND_BOX_PX) - _AROUND_RECENT_PX
        for made, whole in self._recent:
            made.setText(for_button(made.fontMetrics().elidedText(whole, Qt.TextElideMode.ElideMiddle, room)))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """In a narrow window the box is as wide as there is room."""
        super().resizeEvent(event)
        self._elide()

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

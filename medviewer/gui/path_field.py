"""Which folder or file is chosen, and how to choose another: by a dialog, or by dropping it there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QFileDialog, QFrame, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout

from medviewer.gui import theme
from medviewer.gui.cards import button
from medviewer.gui.dropping import dropped_paths
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import ElidedLabel, set_tooltip, tr, visible

Way = Literal["folder", "file"]
_ICONS: dict[Way, str] = {"folder": "folder-open", "file": "file"}
_LEAST_NAME_PX = 180  # with less beside the buttons, they go below it
_GAP_PX = 8


class PathField(QFrame):
    """The name of what is chosen and where it lies, with a button for each way to choose.

    Args:
        title: what is chosen here; for dialogs and screen readers.
        ways: what can be chosen.
        take: called with what was chosen or dropped; whoever made this decides, and calls :meth:`show_path`.
        files: suffixes of the files, such as ``.csv``; none: any.
        forget: called when nothing is to be chosen any more; None: that is no choice.
    """

    def __init__(
        self,
        title: str,
        ways: tuple[Way, ...],
        take: Callable[[Path], None],
        *,
        files: tuple[str, ...] = (),
        forget: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._ways, self._take, self._files = title, ways, take, files
        self._path, self._is_clearable = "", forget is not None
        self.setMinimumWidth(1)
        self.setAcceptDrops(True)
        self._mark(is_over=False)
        self._sign = IconLabel(_ICONS[ways[0]], theme.tokens().secondary)
        self._name, self._below = ElidedLabel("", "strong"), ElidedLabel("", "small")
        self._buttons = [self._button(way) for way in ways]
        self._clear = button("", "x", "quiet")
        set_tooltip(self._clear, tr("Choose none"))
        self._clear.setAccessibleDescription(title)
        kept = QSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        kept.setRetainSizeWhenHidden(forget is not None)  # so that the buttons of several fields stay in line
        self._clear.setSizePolicy(kept)
        if forget is not None:
            self._clear.clicked.connect(forget)
        self._row = self._lay_out()

    def _button(self, way: Way) -> QPushButton:
        words = {"folder": tr("Folder…"), "file": tr("File…")}[way]
        made = button(words, _ICONS[way])
        made.setAccessibleDescription(self._title)
        made.clicked.connect({"folder": self._choose_folder, "file": self._choose_file}[way])
        return made

    def _lay_out(self) -> QBoxLayout:
        said = QHBoxLayout()
        said.setSpacing(_GAP_PX)
        said.addWidget(self._sign, 0, Qt.AlignmentFlag.AlignTop)
        lines = QVBoxLayout()
        lines.setSpacing(0)
        lines.addWidget(self._name)
        lines.addWidget(self._below)
        said.addLayout(lines, 1)
        pressed = QHBoxLayout()
        pressed.setSpacing(_GAP_PX)
        for one in (*self._buttons, self._clear):
            pressed.addWidget(one)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 8, 8)
        row.setSpacing(_GAP_PX)
        row.addLayout(said, 1)
        row.addLayout(pressed)
        return row

    def show_path(self, path: str, hint: str, problem: str = "") -> None:
        """Show what is chosen, or that nothing is.

        Args:
            path: what is chosen; "" if nothing is.
            hint: what to choose, then.
            problem: why it cannot be used; "" if it can.
        """
        self._path = path
        chosen = Path(path)
        none = tr("None") if self._is_clearable else tr("Nothing chosen yet")
        name, below = (chosen.name or path, str(chosen.parent)) if path else (none, hint)
        self._name.setText(visible(name))
        self._name.set_role(("alarm" if problem else "strong") if path else "secondary")
        self._below.setText(visible(below))
        sign = "octagon-alert" if problem else _ICONS["file" if path and chosen.is_file() else self._ways[0]]
        self._sign.set_icon(sign, theme.tokens().alarm if problem else theme.tokens().secondary)
        self._clear.setVisible(self._is_clearable and bool(path))
        self.setAccessibleName(f"{self._title}: {visible(path) or name}")

    # choosing

    def _choose_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, self._title, self._start())
        if chosen:
            self._take(Path(chosen))

    def _choose_file(self) -> None:
        kinds = " ".join(f"*{suffix}" for suffix in self._files) or "*"
        words = f"{self._title} ({kinds})"
        chosen, _ = QFileDialog.getOpenFileName(self, self._title, self._start(), words)
        if chosen:
            self._take(Path(chosen))

    def _start(self) -> str:
        """Where a dialog begins: at what is chosen, as far as it is there."""
        places = [place for place in (Path(self._path), *Path(self._path).parents) if self._path and place.exists()]
        return str(places[0]) if places else str(Path.home())

    # what Qt tells

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802 - Qt's name
        """One folder or file may be dropped."""
        if len(dropped_paths(event)) == 1:
            event.acceptProposedAction()
            self._mark(is_over=True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:  # noqa: N802 - Qt's name
        """Look as before."""
        self._mark(is_over=False)
        super().dragLeaveEvent(event)

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802 - Qt's name
        """Take what was dropped."""
        self._mark(is_over=False)
        paths = dropped_paths(event)
        if len(paths) == 1:
            event.acceptProposedAction()
            self._take(paths[0])

    def _mark(self, *, is_over: bool) -> None:
        self.setProperty("kind", "drop-over" if is_over else "drop")
        self.style().unpolish(self)
        self.style().polish(self)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Have the buttons below the name where there is no room for both."""
        super().resizeEvent(event)
        needed = sum(one.sizeHint().width() + _GAP_PX for one in (*self._buttons, self._clear))
        is_narrow = self.width() < needed + _LEAST_NAME_PX
        way = QBoxLayout.Direction.TopToBottom if is_narrow else QBoxLayout.Direction.LeftToRight
        if self._row.direction() != way:
            self._row.setDirection(way)

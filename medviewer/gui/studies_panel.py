"""The studies panel: patients, their studies newest first, series with thumbnails, and what could not be read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QModelIndex, Qt, QTimer, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QListView,
    QProgressBar,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.state import Key, Selection, State
from medviewer.domain.study import Document, Image, Problem
from medviewer.gui import theme
from medviewer.gui.cards import Disclosure, button, dress
from medviewer.gui.icons import IconLabel
from medviewer.gui.problem_list import ProblemList, ProblemRows
from medviewer.gui.study_rows import Index, Row, RowPainter, StudyRows, rows_of
from medviewer.gui.text import ElidedLabel, PlainLabel, tr, use_language

Thumbnails = Callable[[Image, Callable[[np.ndarray], None]], None]
OPEN_JOB = "open"


class StudiesPanel(QWidget):
    """Everything that is open. Choosing a row asks for its first image; it never changes patient by itself."""

    requested = Signal(str, object)

    def __init__(self, thumbnails: Thumbnails, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._ask_thumbnail = thumbnails
        self._pictures: dict[Key, QImage | None] = {}
        self._middles: dict[Key, Key] = {}  # of which image each was asked for
        self.rows = StudyRows()
        self.list = _RowList(self.rows, RowPainter(self._thumbnail))
        self.list.chosen.connect(self._choose)
        self.problems = Disclosure("", level="caution")
        self._problem_rows = ProblemRows()
        self._reading = QWidget()
        self._progress_words = ElidedLabel("", "secondary")
        self._progress = QProgressBar()
        self._progress.setTextVisible(False)
        self._hint = PlainLabel("", "secondary", wrap=True)
        self._hint_title = PlainLabel("", "strong", wrap=True)
        self._open = button("", "folder-open")
        self._open.clicked.connect(lambda: self.requested.emit("file.open_folder", None))
        self._stack = QStackedLayout()
        self._lay_out()
        self.show_state(None, State())

    def _lay_out(self) -> None:
        dress(self, "panel")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        self._reading.setProperty("kind", "clear")
        progress = QVBoxLayout(self._reading)
        progress.setContentsMargins(12, 8, 12, 8)
        progress.setSpacing(4)
        progress.addWidget(self._progress_words)
        progress.addWidget(self._progress)
        whole.addWidget(self._reading)
        self._stack.addWidget(self._empty())
        self._stack.addWidget(self.list)
        whole.addLayout(self._stack, 1)
        self.problems.content.addWidget(ProblemList(self._problem_rows))
        foot = QVBoxLayout()
        foot.setContentsMargins(12, 4, 8, 4)
        foot.addWidget(self.problems)
        whole.addLayout(foot)

    def _empty(self) -> QWidget:
        page = QWidget()
        page.setProperty("kind", "clear")
        column = QVBoxLayout(page)
        column.setContentsMargins(16, 16, 16, 16)
        column.setSpacing(8)
        column.addStretch(1)
        icon_row = QHBoxLayout()
        icon_row.addWidget(IconLabel("images", theme.tokens().secondary, 32))
        icon_row.addStretch(1)
        column.addLayout(icon_row)
        column.addWidget(self._hint_title)
        column.addWidget(self._hint)
        column.addWidget(self._open)
        column.addStretch(2)
        return page

    def show_state(self, old: State | None, new: State) -> None:
        """Draw what differs from ``old``; None draws everything."""
        use_language(new.language)
        everything = old is None or old.language != new.language
        if everything:
            self._open.setText(tr("Open folder"))
            self.list.setAccessibleName(tr("Studies and series"))
        if everything or (old and (old.collection, old.identity_hidden) != (new.collection, new.identity_hidden)):
            self._show_collection(new)
            self.list.show_current(self._current_row(new))  # new rows know of no choice
        elif old and (old.selection, _document(old)) != (new.selection, _document(new)):
            self.list.show_current(self._current_row(new))
        self.rows.mark(new.key_images)
        if everything or (old and _problems_of(old) != _problems_of(new)):
            self._show_problems(*_problems_of(new))
        self._show_progress(new)

    def _current_row(self, state: State) -> int | None:
        document = _document(state)
        return self.rows.row_of(state.selection) if document is None else self.rows.row_of_document(document)

    def _show_collection(self, state: State) -> None:
        self.rows.replace(rows_of(state.collection, identity_hidden=state.identity_hidden))
        self._stack.setCurrentIndex(1 if state.collection.patients else 0)
        wanted = {row.selection.stack_key for row in self.rows.rows if row.selection is not None}
        self._pictures = {key: picture for key, picture in self._pictures.items() if key in wanted}
        self._middles = {key: middle for key, middle in self._middles.items() if key in wanted}

    def _show_problems(self, problems: tuple[Problem, ...], identity_hidden: bool) -> None:
        self.problems.setVisible(bool(problems))
        is_refused = any(problem.status == "refused" for problem in problems)
        self.problems.set_level("caution" if is_refused else "info")  # where nothing was refused, nothing is amiss
        self.problems.set_title(tr("Problems ({n})").format(n=len(problems)))
        self._problem_rows.replace(problems, identity_hidden=identity_hidden)

    def _show_progress(self, state: State) -> None:
        job = next((j for j in state.jobs if j.name == OPEN_JOB), None)
        self._open.setVisible(job is None)
        self._hint_title.setText(tr("No study is open") if job is None else tr("Reading"))
        self._hint.setText(
            tr("Open a folder, or drop files here.") if job is None else tr("Studies appear here as they are found.")
        )
        self._reading.setVisible(job is not None)
        if job is not None:
            counted = tr("Reading files: {done} of {total}").format(done=job.done, total=job.total)
            self._progress_words.setText(counted if job.total else tr("Reading files…"))
            self._progress.setRange(0, job.total)
            self._progress.setValue(job.done)

    def _choose(self, row: Row) -> None:
        if row.selection is not None:
            self.requested.emit("image.select", row.selection)
        elif row.document is not None:
            self.requested.emit("document.show", row.document)

    def _thumbnail(self, selection: Selection) -> QImage | None:
        """The thumbnail of a stack if it is here: its middle image, for the first is often empty.

        Asked for when its row is seen, and again when files that are found meanwhile move the middle.
        """
        key = selection.stack_key
        middle = selection.stack.images[len(selection.stack.images) // 2]
        if key not in self._pictures or self._middles.get(key) != middle.key:
            self._pictures.setdefault(key, None)
            self._middles[key] = middle.key
            # Rows ask while they are painted; work may change the state, so it starts after the paint.
            QTimer.singleShot(0, self, lambda: self._ask(key, middle))
        return self._pictures[key]

    def _ask(self, key: Key, image: Image) -> None:
        if key in self._pictures and self._middles[key] == image.key:
            self._ask_thumbnail(image, lambda pixels: self._take_thumbnail(key, image, pixels))

    def _take_thumbnail(self, key: Key, image: Image, pixels: np.ndarray) -> None:
        # Else the study was closed, or another image is the middle by now.
        if key in self._pictures and self._middles[key] == image.key:
            self._pictures[key] = _as_image(pixels)
            self.list.viewport().update()


class _RowList(QListView):
    """The list itself: up and down go from series to series and skip what cannot be chosen."""

    chosen = Signal(object)

    def __init__(self, rows: StudyRows, painter: RowPainter) -> None:
        super().__init__()
        self._rows = rows
        self._is_showing = False
        self.setModel(rows)
        self.setItemDelegate(painter)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setUniformItemSizes(False)
        self.setMouseTracking(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)

    def show_current(self, row: int | None) -> None:
        """Highlight a row without asking for it."""
        self._is_showing = True
        try:
            if row is None:
                self.clearSelection()
                self.setCurrentIndex(QModelIndex())
            else:
                self.setCurrentIndex(self._rows.index(row))
                self.scrollTo(self._rows.index(row))
        finally:
            self._is_showing = False

    def currentChanged(self, current: Index, previous: Index) -> None:  # noqa: N802 - Qt's name
        """Tell which row the reader chose, by mouse or keys."""
        super().currentChanged(current, previous)
        if not self._is_showing and current.isValid():
            self.chosen.emit(self._rows.rows[current.row()])


def _document(state: State) -> Document | None:
    return state.reading.document if state.reading is not None else None


def _problems_of(state: State) -> tuple[tuple[Problem, ...], bool]:
    return state.collection.problems, state.identity_hidden


def _as_image(pixels: np.ndarray) -> QImage:
    """A uint8 array, ``(h, w)`` grey or ``(h, w, 3)`` RGB, as a picture of its own."""
    whole = np.ascontiguousarray(pixels, dtype=np.uint8)
    height, width = whole.shape[:2]
    kind = QImage.Format.Format_Grayscale8 if whole.ndim == 2 else QImage.Format.Format_RGB888
    return QImage(whole.tobytes(), width, height, whole.strides[0], kind).copy()

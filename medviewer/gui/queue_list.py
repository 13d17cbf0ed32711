"""What models are asked behind the reader's back: how far it is, and how to stop one question or all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from medviewer.app.on_screen import withholds
from medviewer.app.state import QueueItem, QueueStatus, State
from medviewer.gui import theme
from medviewer.gui.cards import button, clear, dress, line
from medviewer.gui.document_words import words_about
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import ElidedLabel, PlainLabel, dicom_date, person_name, set_tooltip, tr, tr_pick, visible

_BUTTON_PX = 28
MOST_ROWS = 5  # the findings above need the room more
_ORDER: Mapping[QueueStatus, int] = {"running": 0, "failed": 1, "waiting": 2, "abstained": 3, "answered": 4}


class _Titled(Protocol):
    """A model with its name, perhaps in several languages."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def title(self) -> str | Mapping[str, str]:
        """Its name."""


class QueueList(QWidget):
    """The queue, hidden while there is none. What a model said is never shown here: only beside its own image."""

    requested = Signal(str, object)

    def __init__(self, models: Sequence[_Titled], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._titles: Mapping[str, str | Mapping[str, str]] = {}
        self._head = PlainLabel("", "strong")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(4)
        self.cancel_all = button("", "circle-x", "quiet")
        self.cancel_all.clicked.connect(lambda: self.requested.emit("queue.cancel_all", None))
        self.clear_ended = button("", "trash-2", "quiet")
        self.clear_ended.clicked.connect(lambda: self.requested.emit("queue.clear", None))
        self._rows = QVBoxLayout()
        self._rows.setSpacing(4)
        self._more = PlainLabel("", "small")
        dress(self, "panel")
        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self._head, 1)
        top.addWidget(self.clear_ended)
        top.addWidget(self.cancel_all)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 0, 12, 8)
        column.setSpacing(6)
        column.addWidget(line())
        column.addLayout(top)
        column.addWidget(self._bar)
        column.addLayout(self._rows)
        column.addWidget(self._more)
        self.list_models(models)
        self.hide()

    def list_models(self, models: Sequence[_Titled]) -> None:
        """Know the names of other models; what is drawn next has them."""
        self._titles = {model.id: model.title for model in models}

    def show_state(self, old: State | None, new: State) -> None:
        """Draw the queue if it differs from that of ``old``."""
        if old is not None and _what_is_shown(old) == _what_is_shown(new):
            return
        self.setVisible(bool(new.queue))
        clear(self._rows)
        if not new.queue:
            return
        self._show_head(new.queue)
        ordered = sorted(new.queue, key=lambda item: _place(new, item))  # stable: as they were asked
        several = len(new.collection.patients) > 1
        for item in ordered[:MOST_ROWS]:
            where = _image_words(item, are_several=several, identity_hidden=new.identity_hidden)
            self._rows.addWidget(self._row(item, where, is_withheld=_is_withheld(new, item)))
        self._more.setVisible(len(ordered) > MOST_ROWS)
        self._more.setText(tr("and {n} more").format(n=len(ordered) - MOST_ROWS))

    def _show_head(self, queue: Sequence[QueueItem]) -> None:
        ended = sum(not item.is_open for item in queue)
        self._head.setText(tr("Queue: {done} of {total}").format(done=ended, total=len(queue)))
        self._bar.setRange(0, len(queue))
        self._bar.setValue(ended)
        self._bar.setVisible(ended < len(queue))
        self.cancel_all.setText(tr("Cancel all"))
        self.cancel_all.setVisible(ended < len(queue))
        self.clear_ended.setText(tr("Clear"))
        self.clear_ended.setVisible(ended == len(queue))
        set_tooltip(self.cancel_all, tr("Stop asking: what has ended stays"))
        set_tooltip(self.clear_ended, tr("Take what has ended off this list; answers stay beside their images"))

    def _row(self, item: QueueItem, where: str, *, is_withheld: bool) -> QWidget:
        row = QWidget()
        row.setProperty("kind", "clear")
        name, tint, word = _looks(item.status, is_withheld=is_withheld)
        title = tr_pick(self._titles.get(item.model_id, item.model_id))
        texts = QVBoxLayout()
        texts.setSpacing(0)
        texts.addWidget(ElidedLabel(where))
        said = tr("There is no result: {reason}").format(reason=tr(item.reason)) if item.reason else word
        texts.addWidget(ElidedLabel(f"{said} · {title}", "alarm" if item.status == "failed" else "secondary"))
        across = QHBoxLayout(row)
        across.setContentsMargins(0, 0, 0, 0)
        across.setSpacing(8)
        across.addWidget(IconLabel(name, tint), 0, Qt.AlignmentFlag.AlignVCenter)
        across.addLayout(texts, 1)
        across.addWidget(self._small("locate", tr("Show this image"), self._shower(item)))
        if item.is_open:
            across.addWidget(self._small("x", tr("Take out of the queue"), self._canceller(item)))
        else:  # the buttons of all rows stand below each other
            across.addSpacing(_BUTTON_PX + across.spacing())
        row.setAccessibleName(f"{where}: {said}. {title}")
        return row

    def _small(self, icon_name: str, words: str, pressed: Callable[[], None]) -> QPushButton:
        made = button("", icon_name, "quiet")
        made.setFixedWidth(_BUTTON_PX)
        set_tooltip(made, words)
        made.clicked.connect(pressed)
        return made

    def _shower(self, item: QueueItem) -> Callable[[], None]:
        return lambda: self.requested.emit("image.select", item.selection)

    def _canceller(self, item: QueueItem) -> Callable[[], None]:
        return lambda: self.requested.emit("queue.cancel", item.number)


def _is_withheld(state: State, item: QueueItem) -> bool:
    """Whether it has ended with something that is shown after the reader's impression: an abstention says much."""
    is_said = item.status in ("answered", "abstained")
    return is_said and withholds(state, item.selection.image.key)


def _place(state: State, item: QueueItem) -> int:
    return _ORDER["answered" if _is_withheld(state, item) else item.status]


def _looks(status: QueueStatus, *, is_withheld: bool) -> tuple[str, str, str]:
    """Icon, colour and word of a state: never the colour alone."""
    t = theme.tokens()
    if is_withheld:
        return "circle-check", t.secondary, tr("Has run")
    looks: Mapping[QueueStatus, tuple[str, str, str]] = {
        "waiting": ("clock", t.secondary, tr("Waiting")),
        "running": ("circle-play", t.accent, tr("Running…")),
        "answered": ("circle-check", t.good, tr("Answered")),
        "abstained": ("circle-minus", t.caution, tr("Abstained")),
        "failed": ("octagon-alert", t.alarm, tr("There is no result")),
    }
    return looks[status]


def _image_words(item: QueueItem, *, are_several: bool, identity_hidden: bool) -> str:
    """Which image: whose, where several people are open, when, and what of."""
    now = item.selection
    seen = now.image.description
    what = now.series.description or seen.body_part_examined or seen.modality
    what = words_about(now.patient, what, identity_hidden=identity_hidden)
    parts = [
        person_name(now.patient.name) if are_several and not identity_hidden else "",
        dicom_date(now.study.date) or tr("No date"),
        " ".join(part for part in (what, visible(seen.view_position)) if part),
        tr("Image {n}").format(n=now.index + 1) if len(now.stack.images) > 1 else "",
    ]
    return " · ".join(part for part in parts if part)


def _what_is_shown(state: State) -> tuple[object, ...]:
    several = len(state.collection.patients) > 1
    withheld = frozenset(item.number for item in state.queue if _is_withheld(state, item))
    return (state.queue, state.language, state.theme, state.identity_hidden, several, withheld)

"""What was measured on this patient's images, with its values; and the ways to name, find, delete and save it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QToolButton, QVBoxLayout, QWidget

from medviewer.app.commands import command
from medviewer.app.layout import cut_like
from medviewer.app.measurement_files import offered
from medviewer.app.measuring import LONGEST_LABEL, Named
from medviewer.app.on_screen import measured_image, name_of, selections, value_of
from medviewer.app.state import Measured, Selection, State
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import CutPlane, Measurement
from medviewer.domain.study import Collection
from medviewer.gui import theme
from medviewer.gui.buttons import WrappingButton
from medviewer.gui.cards import Card, ScrollColumn, SignalRow, button, clear, dress, line, section
from medviewer.gui.corner_text import axis_words, cut_words
from medviewer.gui.document_words import words_about
from medviewer.gui.icons import IconLabel, icon
from medviewer.gui.measurement_words import kind_word, title, value_lines
from medviewer.gui.more_rows import MoreRows
from medviewer.gui.tab_panel import TabPanel
from medviewer.gui.text import ElidedLabel, PlainLabel, dicom_date, for_button, set_tooltip, tr

_FIRST_ROWS = 40
_BEGIN = ("length", "angle", "ellipse")  # the tools that are offered while nothing is measured


class MeasurementsPanel(TabPanel):
    """One row a measurement: those of the image on screen first, then the patient's others."""

    requested = Signal(str, object)

    def __init__(self, shortcuts: Mapping[str, str] | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shortcuts = shortcuts if shortcuts is not None else {}
        self._drawn: object = None
        self._list: list[_Row] = []  # as they stand, below each other
        self._typed: dict[str, _Typed] = {}  # by measurement: names that were being typed when all was drawn anew
        self._scroll = ScrollColumn()
        self._foot = QVBoxLayout()
        self._foot.setContentsMargins(12, 8, 12, 12)
        self._foot.setSpacing(8)
        self._report = WrappingButton("", "save")
        self._report.clicked.connect(lambda: self.requested.emit("measure.save_report", None))
        self._presentation = WrappingButton("", "save")
        self._presentation.clicked.connect(lambda: self.requested.emit("measure.save_state", None))
        self._foot.addWidget(self._report)
        self._foot.addWidget(self._presentation)
        self._rule = line()
        dress(self, "panel")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self._scroll, 1)
        whole.addWidget(self._rule)
        whole.addLayout(self._foot)

    def _draw(self) -> None:
        state = self._state
        shown = (*_shown(state), self._keys())
        if shown == self._drawn:
            return
        self._drawn = shown
        kept = self._keyboard()
        self._typed = {row.uid: typed for row in self._list if (typed := row.typed) is not None}
        self._list = []
        clear(self._scroll.column)
        self._scroll.setAccessibleName(tr("Measurements"))
        groups = _groups(state)
        for wanted, words in (
            (self._report, tr("Save as DICOM SR…")),
            (self._presentation, tr("Save as view (GSPS)…")),
        ):
            wanted.setText(for_button(words))
        set_tooltip(self._report, tr("All measurements of this study, as a report that other programs read"))
        set_tooltip(self._presentation, tr("How this image is shown, with what was measured on it"))
        self._report.setEnabled(command("measure.save_report").enabled(state))
        self._presentation.setEnabled(command("measure.save_state").enabled(state))
        for part in (self._rule, self._report, self._presentation):
            part.setVisible(bool(groups))
        if state.measurement_problem:
            self._add(SignalRow("caution", tr(state.measurement_problem), word=tr("Measurements cannot be read")))
        self._offer(len(offered(state)))
        for words, own in groups:
            self._add(section(words))
            self._add(MoreRows(self._rows(own), len(own), _FIRST_ROWS))
        if not groups:
            self._draw_nothing()
        if kept is not None:
            self._give_keyboard(kept)

    def _keyboard(self) -> _Keyboard | None:
        """Where in the list the keyboard is. What it is on goes with the drawing, and Qt would send it to the menu."""
        focused = self.window().focusWidget()
        if focused is None or not self._scroll.isAncestorOf(focused):
            return None
        for place, row in enumerate(self._list):
            if row.isAncestorOf(focused):
                return _Keyboard(row.uid, place, row.part_of(focused))
        return _Keyboard("", 0, 0)

    def _give_keyboard(self, kept: _Keyboard) -> None:
        """Give the keyboard to the same measurement; to the row in its place if it is gone; to the list if all are."""
        same = next((row for row in self._list if row.uid == kept.uid), None)
        row = same or (self._list[min(kept.place, len(self._list) - 1)] if self._list else None)
        wanted = row.part(kept.part) if row is not None else self._scroll
        shown: QWidget | None = wanted
        while shown is not None and shown is not self._scroll:  # it takes no keyboard before it is shown
            shown.show()
            shown = shown.parentWidget()
        wanted.setFocus(Qt.FocusReason.OtherFocusReason)
        if row is not None:
            row.place_cursor()

    def _draw_nothing(self) -> None:
        if self._state.selection is None:
            self._add(PlainLabel(tr("No image on screen"), "strong"))
            self._add(PlainLabel(tr("What you measure on images is listed here."), "secondary", wrap=True))
            return
        self._add(PlainLabel(tr("Nothing measured yet"), "strong"))
        words = tr("Choose a tool and draw on the image: drag, or click the points. Each value says what it rests on.")
        self._add(PlainLabel(words, "secondary", wrap=True))
        for tool, words, key in zip(_BEGIN, (tr("Length"), tr("Angle"), tr("Region")), self._keys(), strict=True):
            begin = button(f"{words} ({key})" if key else words, command(f"tool.{tool}").icon)
            begin.clicked.connect(lambda _checked=False, tool=tool: self.requested.emit(f"tool.{tool}", None))
            self._add(begin)

    def _keys(self) -> tuple[str, ...]:
        """The reader's own keys of the tools to begin with."""
        return tuple(self._shortcuts.get(f"tool.{tool}", "") for tool in _BEGIN)

    def _offer(self, count: int) -> None:
        """Say what reports beside the images hold, and take it only if asked to."""
        if not count:
            return
        card = Card()
        words = tr("1 measurement in a report") if count == 1 else tr("{n} measurements in reports").format(n=count)
        card.add(PlainLabel(words, "strong", wrap=True))
        told = tr("They lie beside these images and belong to them. Their values are measured again here.")
        card.add(PlainLabel(told, "secondary", wrap=True))
        take = button(tr("Add them"), "check")
        take.clicked.connect(lambda: self.requested.emit("measure.take_offered", None))
        card.add(take)
        self._add(card)

    def _rows(self, own: tuple[Measurement, ...]) -> Iterator[QWidget]:
        here = measured_image(self._state)
        for one in own:
            is_here = one.where == here
            row = _Row(
                one,
                title(one, self._state),
                value_lines(value_of(self._state, one)),
                is_here,
                one.uid == self._state.selected_measurement,
            )
            row.requested.connect(self.requested)
            self._list.append(row)
            if one.uid in self._typed:
                row.type_on(self._typed[one.uid])
            yield row

    def _add(self, widget: QWidget) -> None:
        self._scroll.column.addWidget(widget)


@dataclass(frozen=True, slots=True)
class _Keyboard:
    """Where the keyboard was: on which measurement, in which row, on which part of it."""

    uid: str
    place: int
    part: int


@dataclass(frozen=True, slots=True)
class _Typed:
    """A name that is being typed: the text, where the cursor stands, what is marked before it."""

    text: str
    cursor: int
    start: int
    marked: int


class _Row(Card):
    """One measurement: what it is called, what it says, and three things to do with it."""

    requested = Signal(str, object)

    def __init__(self, one: Measurement, name: str, lines: tuple[str, ...], is_here: bool, is_selected: bool) -> None:
        super().__init__()
        t = theme.tokens()
        self.uid = one.uid
        self._resumed: _Typed | None = None
        self._title = ElidedLabel(name, "accent" if is_selected else "strong")
        self._field = QLineEdit(one.label, self)
        self._field.setMaxLength(LONGEST_LABEL)
        self._field.setPlaceholderText(kind_word(one.kind))
        self._field.setAccessibleName(tr("Name"))
        self._field.hide()
        self._field.returnPressed.connect(self._name)
        self._field.installEventFilter(self)
        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(IconLabel(command(f"tool.{one.kind}").icon, t.accent if is_selected else t.secondary))
        top.addWidget(self._title, 1)
        top.addWidget(self._field, 1)
        go = self._tool("locate", tr("Select") if is_here else tr("Go to the image"))
        go.clicked.connect(lambda: self.requested.emit("measure.go_to", one.uid))
        rename = self._tool("pencil", tr("Name"))
        rename.clicked.connect(self._ask_name)
        delete = self._tool("trash-2", tr("Delete"))
        delete.clicked.connect(lambda: self.requested.emit("measure.remove", one.uid))
        self._rename = rename
        self._parts: tuple[QWidget, ...] = (go, rename, delete, self._field)
        for tool in (go, rename, delete):
            top.addWidget(tool)
        self.column.addLayout(top)
        self.column.setSpacing(4)
        for words in lines:
            self.add(PlainLabel(words, wrap=True))
        self.setAccessibleName(": ".join((name, *lines)))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Esc leaves the name as it was."""
        if watched is self._field and isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape:
            event.accept()
            if event.type() == QEvent.Type.KeyPress:
                self._end_naming()
            return True
        return super().eventFilter(watched, event)

    @property
    def typed(self) -> _Typed | None:
        """The name that is being typed; None if none is."""
        field = self._field
        if field.isHidden():
            return None
        return _Typed(field.text(), field.cursorPosition(), field.selectionStart(), field.selectionLength())

    def type_on(self, typed: _Typed) -> None:
        """Go on with a name that was being typed in the row before this one."""
        self._resumed = typed
        self._title.hide()
        self._field.show()
        self._field.setText(typed.text)
        self.place_cursor()

    def place_cursor(self) -> None:
        """Put the cursor where it was, which the keyboard's coming may have moved."""
        typed = self._resumed
        if typed is not None:
            self._field.setCursorPosition(typed.cursor)
            if typed.marked:
                self._field.setSelection(typed.start, typed.marked)

    def part_of(self, widget: QWidget) -> int:
        """The number of a part that can have the keyboard."""
        return self._parts.index(widget) if widget in self._parts else 0

    def part(self, number: int) -> QWidget:
        """The part of that number; in the place of a field in which nothing is typed, what would open it."""
        part = self._parts[number]
        return self._rename if part is self._field and self._field.isHidden() else part

    def _ask_name(self) -> None:
        self._title.hide()
        self._field.show()
        self._field.setFocus()
        self._field.selectAll()

    def _end_naming(self) -> None:
        if self.window().focusWidget() is self._field:  # it would go to a neighbour, or out of the list
            self._rename.setFocus(Qt.FocusReason.OtherFocusReason)
        self._field.hide()
        self._title.show()

    def _name(self) -> None:
        self._end_naming()
        self.requested.emit("measure.name", Named(self.uid, self._field.text()))

    def _tool(self, icon_name: str, words: str) -> QToolButton:
        made = QToolButton()
        made.setProperty("kind", "quiet")
        made.setIcon(icon(icon_name))
        made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        set_tooltip(made, words)
        return made


def _groups(state: State) -> list[tuple[str, tuple[Measurement, ...]]]:
    """What was measured on the patient's images, image by image: that on screen first, then in display order."""
    measured = {where: own for where, own in state.measurements.items() if own}
    if not measured or state.selection is None:
        return []
    here = measured_image(state)
    found: list[tuple[str, tuple[Measurement, ...]]] = []
    patient = next((p for p in state.collection.patients if p.key == state.selection.patient.key), None)
    for one in selections(Collection((patient,))) if patient is not None else ():
        where = name_of(one.image)
        if where == here and where in measured:
            found.insert(0, (tr("On this image"), measured.pop(where)))
        elif where in measured:
            found.append((_place(one, state), measured.pop(where)))
        # Planes cut through a volume go by its first image, as it was then.
        for plane in [known for known in measured if known[2] is not None and known[:2] == where[:2]]:
            words = tr("On this plane") if plane == here else _plane_place(one, plane[2], state)
            found.insert(0 if plane == here else len(found), (words, measured.pop(plane)))
    return found


def _plane_place(one: Selection, cut: CutPlane | None, state: State) -> str:
    """Which plane that is, in a line."""
    words = cut_words(cut_like(cut)) if cut is not None else ""
    parts = (dicom_date(one.study.date), _series_words(one, state), words)
    return " · ".join(part for part in (*parts, axis_words(one, is_whole_volume=True)) if part)


def _place(one: Selection, state: State) -> str:
    """Which image that is, in a line."""
    count = one.stack.slices
    parts = (dicom_date(one.study.date), _series_words(one, state))
    number = tr("image {n} of {total}").format(n=one.index % count + 1, total=count) if count > 1 else ""
    return " · ".join(part for part in (*parts, number, axis_words(one)) if part)


def _series_words(one: Selection, state: State) -> str:
    text = one.series.description or one.series.modality
    return words_about(one.patient, text, identity_hidden=state.identity_hidden)


def _shown(state: State) -> tuple[object, ...]:
    """All that the panel is drawn from."""
    measured = {where: own for where, own in state.measurements.items() if own}
    here: Measured | None = measured_image(state)
    return (
        measured,
        {one.uid: value_of(state, one) for own in measured.values() for one in own},
        state.selected_measurement,
        here if here in measured else None,
        state.selection is not None,
        state.selection.patient.key if state.selection is not None else "",
        state.collection.patients if measured else (),
        state.measurement_problem,
        len(offered(state)),
        state.language,
        state.cut is None,
        state.identity_hidden,
    )

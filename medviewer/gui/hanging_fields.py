"""The fields of one hanging protocol: for which studies it is, and what each of its viewports shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QGridLayout,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.commands import named
from medviewer.app.hanging_protocol import (
    LATERALITIES,
    MOST_COLUMNS,
    MOST_PRIORS,
    MOST_ROWS,
    MOST_SERIES,
    PLANES,
    SIDES,
    DisplaySet,
    HangingProtocol,
    count_of,
)
from medviewer.app.presets import CT_PRESETS
from medviewer.gui.cards import StillCombo, button, section
from medviewer.gui.text import PlainLabel, for_button, tr, tr_pick, visible
from medviewer.imaging.palettes import PALETTE_NAMES

_LONGEST_NAME, _LONGEST_TEXT = 80, 200  # characters, as the file takes them
_EXAMPLES = {"modality": "CR/DX", "body_part": "CHEST/THORAX", "views": "PA, LL/RL", "view": "PA", "words": "T1/T2"}
_TITLES_PX = 168  # the fields of all forms stand below each other
_GAP_PX = 8
_SECOND_SHAPES = tuple((rows, columns) for rows in range(1, MOST_ROWS + 1) for columns in range(1, MOST_COLUMNS + 1))

Use = Callable[[str, Any], None]  # what is done with a field's name and its new value
Sets = tuple[DisplaySet, ...]
Values = tuple[tuple[Any, str], ...]  # each with its words


class HangingFields(QWidget):
    """Shows one protocol and tells each change of it; Tab goes through all of it."""

    changed = Signal(object)  # the HangingProtocol as it is now

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "clear")
        self._protocol = HangingProtocol("")
        self._chosen = 0
        self._is_showing = False
        self.fields: dict[str, QWidget] = {}
        self.viewports: list[QPushButton] = []
        self._viewport_group = QButtonGroup(self)
        self._cells = QGridLayout()
        self._cells.setSpacing(4)
        self._second_cells = QGridLayout()
        self._second_cells.setSpacing(4)
        self._second_title = PlainLabel(tr("On the second screen"), "small")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(_GAP_PX)
        column.addLayout(self._study_form())
        column.addWidget(section(tr("Viewports")))
        column.addLayout(self._shape_form())
        column.addLayout(self._cells)
        column.addWidget(self._second_title)
        column.addLayout(self._second_cells)
        column.addLayout(self._viewport_form())
        hint = tr("A slash means or: CR/DX. A comma between views means that all must be there. Empty means any.")
        column.addWidget(PlainLabel(hint, "small", wrap=True))
        column.addStretch(1)

    def show_protocol(self, protocol: HangingProtocol) -> None:
        """Show another protocol, its first viewport chosen."""
        self._protocol, self._chosen = protocol, 0
        self._refresh()

    def choose(self, index: int) -> None:
        """Choose the viewport whose fields are shown."""
        self._chosen = index
        self._refresh()

    def _study_form(self) -> QGridLayout:
        grid = _grid()
        titles = (tr("Name"), tr("Modality"), tr("Body part"), tr("Views in the study"))
        for row, (name, title) in enumerate(zip(("name", "modality", "body_part", "views"), titles, strict=True)):
            self._line(grid, row, name, title, self._set)
        priors = tuple((n, str(n)) for n in range(MOST_PRIORS + 1))
        self._combo(grid, len(titles), "priors", tr("Priors, at least"), priors, self._set)
        box = QCheckBox(for_button(tr("Use it when a study is opened")))
        box.toggled.connect(lambda is_on: self._set("when_opening", is_on))
        self.fields["when_opening"] = box
        grid.addWidget(box, len(titles) + 1, 1)
        return grid

    def _shape_form(self) -> QGridLayout:
        grid = _grid()
        for row, (name, title, most) in enumerate(
            (("rows", tr("Rows"), MOST_ROWS), ("columns", tr("Columns"), MOST_COLUMNS))
        ):
            counts = tuple((n, str(n)) for n in range(1, most + 1))
            self._combo(grid, row, name, title, counts, lambda name, count: self._reshape(**{name: count}))
        shapes = (("", tr("none")), *((_shape_text(one), f"{one[0]} × {one[1]}") for one in _SECOND_SHAPES))
        self._combo(
            grid, 2, "second", tr("Second image window"), shapes, lambda _name, text: self._reshape_second(text)
        )
        return grid

    def _viewport_form(self) -> QGridLayout:
        grid = _grid()
        studies = ((0, tr("Current study")), *((n, tr("Prior {n}").format(n=n)) for n in range(1, MOST_PRIORS + 1)))
        self._combo(grid, 0, "prior", tr("Study"), studies)
        self._line(grid, 1, "view", tr("View"), self._set_viewport)
        any_words = tr("any")
        sides = (any_words, tr("right"), tr("left"))
        self._combo(grid, 2, "laterality", tr("Laterality"), tuple(zip(LATERALITIES, sides, strict=True)))
        planes = (any_words, tr("Axial"), tr("Coronal"), tr("Sagittal"))
        self._combo(grid, 3, "plane", tr("Plane of the images"), tuple(zip(PLANES, planes, strict=True)))
        self._line(grid, 4, "words", tr("Words in the description"), self._set_viewport)
        series = ((0, tr("the next that fits")), *((n, str(n)) for n in range(1, MOST_SERIES + 1)))
        self._combo(grid, 5, "series", tr("Series"), series)
        cuts = (tr("the images themselves"), *planes[1:])
        self._combo(grid, 6, "cut", tr("Cut plane (MPR)"), tuple(zip(PLANES, cuts, strict=True)))
        presets = ((0, tr("the image's own")), *((n, tr(one.name)) for n, one in CT_PRESETS.items()))
        self._combo(grid, 7, "preset", tr("Window (CT only)"), presets)
        fronts = (tr("as stored"), tr("left"), tr("right"))
        self._combo(grid, 8, "front", tr("Front of the body (A)"), tuple(zip(SIDES, fronts, strict=True)))
        palettes = (("", tr("Grey")), *((name, tr(words)) for name, words in PALETTE_NAMES.items()))
        self._combo(grid, 9, "palette", tr("Colour palette"), palettes)
        box = QCheckBox(for_button(tr("Inverted")))
        box.toggled.connect(lambda is_on: self._set_viewport("inverted", is_on))
        self.fields["inverted"] = box
        grid.addWidget(box, 10, 1)
        return grid

    def _line(self, grid: QGridLayout, row: int, name: str, title: str, use: Use) -> None:
        line = QLineEdit()
        line.setMaxLength(_LONGEST_NAME if name == "name" else _LONGEST_TEXT)
        line.setPlaceholderText(_EXAMPLES.get(name, ""))
        line.textEdited.connect(lambda text: use(name, text))
        self._add(grid, row, name, title, line)

    def _combo(
        self, grid: QGridLayout, row: int, name: str, title: str, values: Values, use: Use | None = None
    ) -> None:
        combo = StillCombo()
        for value, words in values:
            combo.addItem(words, value)
        take = use or self._set_viewport
        combo.activated.connect(lambda index: take(name, combo.itemData(index)))
        self._add(grid, row, name, title, combo)

    def _add(self, grid: QGridLayout, row: int, name: str, title: str, field: QWidget) -> None:
        field.setAccessibleName(title)
        self.fields[name] = field
        grid.addWidget(PlainLabel(title), row, 0)
        grid.addWidget(field, row, 1)

    def _set(self, name: str, value: Any) -> None:
        if not self._is_showing:
            self._change(replace(self._protocol, **{name: value}))

    def _set_viewport(self, name: str, value: Any) -> None:
        if self._is_showing:
            return
        sets = list(self._protocol.display_sets)
        sets[self._chosen] = replace(sets[self._chosen], **{name: value})
        self._change(replace(self._protocol, display_sets=tuple(sets)))
        self._name_cells()

    def _reshape(self, *, rows: int = 0, columns: int = 0) -> None:
        """Another number of rows or columns: what is in both stays in its row and column."""
        one = self._protocol
        shape = rows or one.layout[0], columns or one.layout[1]
        first, second = _by_window(one)
        sets = (*_reshaped(first, one.layout, shape), *second)
        self._chosen = 0
        self._change(replace(one, layout=shape, display_sets=sets))
        self._refresh()

    def _reshape_second(self, text: str) -> None:
        """Another second window, or none."""
        one = self._protocol
        shape = next((shape for shape in _SECOND_SHAPES if _shape_text(shape) == text), None)
        first, second = _by_window(one)
        sets = (*first, *(_reshaped(second, one.second or (0, 0), shape) if shape else ()))
        self._chosen = 0
        self._change(replace(one, second=shape, display_sets=sets))
        self._refresh()

    def _change(self, protocol: HangingProtocol) -> None:
        self._protocol = protocol
        self.changed.emit(protocol)

    def _refresh(self) -> None:
        """Show the protocol in every field, without telling that anything changed."""
        self._is_showing = True
        one, chosen = self._protocol, self._protocol.display_sets[self._chosen]
        rows, columns = one.layout
        name = visible(tr_pick(named(one.name)))  # the program's own are called as the list calls them
        values = {"name": name, "rows": rows, "columns": columns, "second": _shape_text(one.second)}
        for name, field in self.fields.items():
            value = values[name] if name in values else getattr(one, name, None)
            value = getattr(chosen, name) if value is None else value
            _show_value(field, value)
        self._make_cells()
        self._is_showing = False

    def _make_cells(self) -> None:
        one = self._protocol
        first = count_of(one.layout)
        for cells in (self._cells, self._second_cells):
            _empty(cells)
        self._second_title.setVisible(one.second is not None)
        self.viewports.clear()
        for index in range(len(one.display_sets)):
            cell = button("")
            cell.setCheckable(True)
            cell.setProperty("kind", "wrapping")  # the study above the view: side by side they would be cut off
            cell.setChecked(index == self._chosen)
            cell.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            cell.clicked.connect(lambda _on, index=index: self.choose(index))
            self._viewport_group.addButton(cell)
            self.viewports.append(cell)
            is_first = index < first
            columns = one.layout[1] if is_first or one.second is None else one.second[1]
            place = index if is_first else index - first
            (self._cells if is_first else self._second_cells).addWidget(cell, place // columns, place % columns)
        self._name_cells()

    def _name_cells(self) -> None:
        for number, (cell, one) in enumerate(zip(self.viewports, self._protocol.display_sets, strict=True), start=1):
            study = tr("Prior {n}").format(n=one.prior) if one.prior else ""
            parts = (one.laterality, one.view, one.plane, one.cut and "MPR " + one.cut, one.words)
            of_images = " ".join(part for part in parts if part)
            words = visible("\n".join(part for part in (study, of_images) if part)) or str(number)
            cell.setText(for_button(words))
            cell.setAccessibleName(tr("Viewport {n}").format(n=number))


def _by_window(one: HangingProtocol) -> tuple[Sets, Sets]:
    """What the viewports of the first window show, and those of the second."""
    first = count_of(one.layout)
    return one.display_sets[:first], one.display_sets[first:]


def _reshaped(sets: Sets, old: tuple[int, int], new: tuple[int, int]) -> Sets:
    """What is in both shapes stays in its row and column."""
    return tuple(
        sets[row * old[1] + column] if row < old[0] and column < old[1] else DisplaySet()
        for row in range(new[0])
        for column in range(new[1])
    )


def _shape_text(shape: tuple[int, int] | None) -> str:
    return f"{shape[0]}x{shape[1]}" if shape is not None else ""


def _empty(cells: QGridLayout) -> None:
    while cells.count():
        item = cells.takeAt(0)
        widget = item.widget() if item is not None else None
        if widget is not None:
            widget.hide()
            widget.deleteLater()


def _show_value(field: QWidget, value: Any) -> None:
    if isinstance(field, QLineEdit):
        if field.text() != value:
            field.setText(value)
            field.setCursorPosition(0)  # a long name is read from its beginning
    elif isinstance(field, QCheckBox):
        field.setChecked(value)
    elif isinstance(field, QComboBox):
        field.setCurrentIndex(max(field.findData(value), 0))


def _grid() -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(12)
    grid.setVerticalSpacing(6)
    grid.setColumnMinimumWidth(0, _TITLES_PX)
    grid.setColumnStretch(1, 1)
    grid.setAlignment(Qt.AlignmentFlag.AlignTop)
    return grid

"""The elements of a file as a tree for Qt: sequences hold items, items hold elements; searched as one types."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import field

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QBrush

from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.text import plain_tooltip, tr, visible
from medviewer.imaging.element_list import Element
from medviewer.imaging.element_values import tag_text

Index = QModelIndex | QPersistentModelIndex
TAG, NAME, VR, SIZE, VALUE = range(5)
_LONGEST = 300  # characters of a value in its line; the whole is shown below the tree


@dataclass(eq=False, slots=True)
class Node:
    """A line of the tree: an element, or an item of a sequence (``element`` is None)."""

    element: Element | None
    number: int = 0  # of an item
    parent: Node | None = None
    row: int = 0
    children: list[Node] = field(default_factory=list)


def nodes_of(elements: Sequence[Element], parent: Node, *, identity_hidden: bool) -> None:
    """Put elements under a line, without those that tell identity if that is hidden."""
    for element in elements:
        if identity_hidden and element.is_identity:
            continue
        node = Node(element, parent=parent)
        for number, item in enumerate(element.items, start=1):
            inside = Node(None, number, node, number - 1)
            nodes_of(item, inside, identity_hidden=identity_hidden)
            node.children.append(inside)
        parent.children.append(node)


def count(elements: Sequence[Element], *, of_identity: bool = False) -> int:
    """How many elements there are in all, or how many of them tell identity."""
    inside = sum(count(item, of_identity=of_identity) for e in elements for item in e.items)
    return inside + sum(1 for e in elements if e.is_identity or not of_identity)


def json_line(element: Element) -> str:
    """One element as a line of JSON."""
    data: dict[str, object] = {"tag": tag_text(element.tag), "keyword": element.keyword, "name": element.name}
    data |= {"vr": element.representation, "size": element.size, "value": element.value}
    if element.items:
        data["items"] = [[json.loads(json_line(e)) for e in item] for item in element.items]
    if element.damage:
        data["damage"] = element.damage
    return json.dumps(data, ensure_ascii=False)


class ElementModel(QAbstractItemModel):
    """What of the elements fits what was typed, with the sequences around it."""

    def __init__(self, elements: Sequence[Element], *, identity_hidden: bool, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._whole = Node(None)
        nodes_of(elements, self._whole, identity_hidden=identity_hidden)
        self._root = _fitting(self._whole, "")

    def search(self, typed: str) -> int:
        """Show the lines that fit; returns how many elements those are."""
        self.beginResetModel()
        wanted = typed.strip().casefold()
        self._root = _fitting(self._whole, wanted)
        self.endResetModel()
        return sum(1 for node in _lines(self._root) if node.element is not None and _fits(node.element, wanted))

    def element(self, index: Index) -> Element | None:
        """The element of a line."""
        return self._node(index).element

    def index(self, row: int, column: int, parent: Index = QModelIndex()) -> QModelIndex:  # noqa: B008 - Qt's way
        """The place of a line under another."""
        children = self._node(parent).children
        return self.createIndex(row, column, children[row]) if 0 <= row < len(children) else QModelIndex()

    def parent(self, index: Index = QModelIndex()) -> QModelIndex:  # type: ignore[override]  # noqa: B008 - Qt's way
        """The place of the line that holds this one."""
        above = self._node(index).parent
        if above is None or above is self._root:
            return QModelIndex()
        return self.createIndex(above.row, 0, above)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name and way
        """How many lines are under this one."""
        return len(self._node(parent).children) if parent.column() <= 0 else 0

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: N802, B008, ARG002 - Qt's name and way
        """Tag, name, value representation, size, value."""
        return 5

    def headerData(  # noqa: N802 - Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        """The titles of the columns."""
        if orientation != Qt.Orientation.Horizontal or role != Qt.ItemDataRole.DisplayRole:
            return None
        return (tr("Tag"), tr("Name"), "VR", tr("Bytes"), tr("Value"))[section]

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """What a cell says and how it looks."""
        node = self._node(index)
        element, column = node.element, index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return _cell(node, column)
        t = theme.tokens()
        if role == Qt.ItemDataRole.ForegroundRole:
            if element is not None and element.damage:
                return QBrush(theme.color(t.caution))
            return QBrush(theme.color(t.text if column in (NAME, VALUE) and element is not None else t.secondary))
        if role == Qt.ItemDataRole.ToolTipRole and element is not None and column == NAME:
            return plain_tooltip(element.keyword)
        if role == Qt.ItemDataRole.TextAlignmentRole and column == SIZE:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def _node(self, index: Index) -> Node:
        node = index.internalPointer() if index.isValid() else None
        return node if isinstance(node, Node) else self._root


def _cell(node: Node, column: int) -> str:
    element = node.element
    if element is None:
        return tr("Item {n}").format(n=node.number) if column == TAG else ""
    if column == TAG:
        return tag_text(element.tag)
    if column == NAME:
        return visible(element.name) or (tr("private") if element.tag >> 16 & 1 else tr("unknown"))
    if column == VR:
        return visible(element.representation)
    if column == SIZE:
        return f"{element.size:,}" if element.size is not None else ""
    return value_words(element)[:_LONGEST]


def value_words(element: Element) -> str:
    """The value in one line, with what is wrong with it before it."""
    value = visible(element.value)
    if element.representation == "SQ":
        value = tr("1 item") if len(element.items) == 1 else tr("{n} items").format(n=len(element.items))
    return f"{tr(element.damage)}. {value}" if element.damage else value


def _lines(node: Node) -> Iterator[Node]:
    for child in node.children:
        yield child
        yield from _lines(child)


def _fitting(node: Node, wanted: str) -> Node:
    """A copy of a line with those below it that fit or hold what fits."""
    made = Node(node.element, node.number)
    for child in node.children:
        is_whole = child.element is not None and _fits(child.element, wanted)
        kept = _fitting(child, "" if is_whole else wanted)
        if is_whole or kept.children or not wanted:
            kept.parent, kept.row = made, len(made.children)
            made.children.append(kept)
    return made


def _fits(element: Element, wanted: str) -> bool:
    if not wanted:
        return True
    tag = tag_text(element.tag).casefold()
    plain = tag.strip("()").replace(",", "")
    said = (tag, plain, element.keyword.casefold(), element.name.casefold(), element.value.casefold())
    return any(wanted in text for text in said)

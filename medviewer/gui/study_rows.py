"""The rows of the studies panel: what is in them, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Literal

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QFont, QImage, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from medviewer.app.state import Selection, Stored
from medviewer.app.told import age_of
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Collection, Document, Patient, Stack, Study
from medviewer.gui import theme
from medviewer.gui.document_words import ICONS, kind_words, title_words, words_about
from medviewer.gui.icons import pixmap
from medviewer.gui.text import age_in_words, dicom_age, dicom_date, person_name, plain_tooltip, sex_word, tr, visible
from medviewer.records.record import age_at, iso_date, parse_moment

Index = QModelIndex | QPersistentModelIndex
THUMBNAIL_PX = 56
_PAD = 12
_HEIGHTS = {"patient": 64, "study": 44, "series": THUMBNAIL_PX + 16, "document": 48}


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row: up to three lines of text, and what choosing it shows (series and documents)."""

    kind: Literal["patient", "study", "series", "document"]
    title: str
    second: str = ""
    third: str = ""
    is_caution: bool = False  # the third line is a caution
    selection: Selection | None = None
    keys: int = 0  # key images among those of the series
    document: Document | None = None

    @property
    def words(self) -> str:
        """The whole row in words, for tooltips and screen readers."""
        warnings = [visible(tr(w.text)) for w in self.selection.stack.warnings] if self.selection else []
        keys = tr("key images: {n}").format(n=self.keys) if self.keys else ""
        return "\n".join(part for part in (self.title, self.second, self.third, keys, *warnings) if part)


def rows_of(collection: Collection, *, identity_hidden: bool) -> tuple[Row, ...]:
    """Patients, under each their studies newest first, under each its series, then its documents."""
    return tuple(_rows(collection, identity_hidden))


def _rows(collection: Collection, identity_hidden: bool) -> Iterator[Row]:
    for patient in collection.patients:
        yield _patient_row(patient, identity_hidden)
        for study in newest_first(patient.studies):
            yield _study_row(study, patient, identity_hidden)
            for series in study.series:
                for number, stack in enumerate(series.stacks):
                    if stack.images:
                        yield _series_row(Selection(patient, study, series, stack, 0), number, identity_hidden)
            for document in study.documents:
                yield _document_row(document, patient, identity_hidden)


def newest_first(studies: Sequence[Study]) -> list[Study]:
    """Studies by date and time, the newest first; those without a date last."""
    return sorted(studies, key=lambda s: (dicom_date(s.date), s.time), reverse=True)


def _patient_row(patient: Patient, identity_hidden: bool) -> Row:
    newest = newest_first(patient.studies)
    age = age_words(patient, newest[0]) if newest else ""
    facts = ", ".join(part for part in (age, sex_word(patient.sex)) if part)
    if identity_hidden:
        return Row("patient", tr("Identity hidden"), facts)
    name = person_name(patient.name) or tr("No name in the file")
    number = visible(patient.patient_id)
    return Row("patient", name, facts, tr("ID {id}").format(id=number) if number else tr("No ID in the file"))


def age_words(patient: Patient, study: Study) -> str:
    """The age at a study: from the dates if both are whole, else as the file states it; empty if it says neither.

    Where the file states another one than the dates tell, both: either may be another patient's.
    """
    made = parse_moment(iso_date(study.date))
    age = age_at(patient.birth_date, made[0].date()) if made is not None and made[1] in ("day", "time") else None
    stated = dicom_age(study.patient_age)
    if age is None:
        return stated
    if age_of(patient, study).told:
        return tr("{age} (file: {stated})").format(age=age_in_words(age), stated=stated)
    return age_in_words(age)


def _study_row(study: Study, patient: Patient, identity_hidden: bool) -> Row:
    named = [series.modality for series in study.series] + [document.modality for document in study.documents]
    modalities = "/".join(dict.fromkeys(visible(modality) for modality in named if modality))
    title = "  ".join(part for part in (dicom_date(study.date) or tr("No date"), modalities) if part)
    return Row("study", title, words_about(patient, study.description, identity_hidden=identity_hidden))


def _series_row(selection: Selection, number: int, identity_hidden: bool) -> Row:
    series, stack = selection.series, selection.stack
    what = series.description or series.body_part_examined or series.modality
    title = words_about(selection.patient, what, identity_hidden=identity_hidden)
    if len(series.stacks) > 1:
        title = tr("{title}, part {n} of {total}").format(title=title, n=number + 1, total=len(series.stacks))
    title = title or tr("Series")
    if stack.warnings:
        return Row("series", title, _count(stack), _cautions(stack), is_caution=True, selection=selection)
    number_words = tr("Series {n}").format(n=series.number) if series.number is not None else ""
    return Row("series", title, _count(stack), number_words, selection=selection)


def _document_row(document: Document, patient: Patient, identity_hidden: bool) -> Row:
    title = title_words(document, patient, identity_hidden=identity_hidden)
    second = "  ".join(part for part in (dicom_date(document.date), kind_words(document)) if part)
    return Row("document", title, second, document=document)


def _count(stack: Stack) -> str:
    n = len(stack.images)
    if stack.axis is not None and stack.axis.slices > 1:
        return tr("{size} × {slices} images").format(size=stack.axis.size, slices=stack.axis.slices)
    return tr("1 image") if n == 1 else tr("{n} images").format(n=n)


def _cautions(stack: Stack) -> str:
    count = len(stack.warnings)
    return tr("1 caution") if count == 1 else tr("{n} cautions").format(n=count)


def _keys_in(stack: Stack, marked: Set[Stored]) -> int:
    return sum((image.sop_instance_uid, image.frame) in marked for image in stack.images) if marked else 0


class StudyRows(QAbstractListModel):
    """The rows for Qt's list."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[Row, ...] = ()

    def replace(self, rows: tuple[Row, ...]) -> None:
        """Show other rows."""
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def mark(self, key_images: Mapping[Stored, bool]) -> None:
        """Say how many key images each series holds."""
        marked = {where for where, is_key in key_images.items() if is_key}
        counted = [0 if row.selection is None else _keys_in(row.selection.stack, marked) for row in self.rows]
        if counted != [row.keys for row in self.rows]:
            self.rows = tuple(replace(row, keys=n) for row, n in zip(self.rows, counted, strict=True))
            self.dataChanged.emit(self.index(0), self.index(len(self.rows) - 1))

    def row_of(self, selection: Selection | None) -> int | None:
        """Which row shows the stack of this selection."""
        if selection is None:
            return None
        key = selection.stack_key
        own = (i for i, row in enumerate(self.rows) if row.selection is not None and row.selection.stack_key == key)
        return next(own, None)

    def row_of_document(self, document: Document) -> int | None:
        """Which row shows this document."""
        own = (i for i, row in enumerate(self.rows) if row.document is not None and row.document.key == document.key)
        return next(own, None)

    def rowCount(self, parent: Index | None = None) -> int:  # noqa: N802, ARG002 - Qt's name and arguments
        """How many rows there are."""
        return len(self.rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """A row's words, or the row itself (UserRole)."""
        if not index.isValid():
            return None
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.UserRole:
            return row
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tooltip(row.words)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return row.words.replace("\n", ", ")
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Only series and documents can be chosen, so that the arrow keys go from one to the next."""
        row = self.rows[index.row()] if index.isValid() else None
        if row is not None and (row.selection is not None or row.document is not None):
            return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return Qt.ItemFlag.NoItemFlags


class RowPainter(QStyledItemDelegate):
    """Draws the rows; text is painted, so that nothing in a name can be taken for HTML."""

    def __init__(self, thumbnail: Callable[[Selection], QImage | None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._thumbnail = thumbnail

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:  # noqa: N802, ARG002 - Qt's name
        """The height of a row by its kind."""
        row: Row = index.data(Qt.ItemDataRole.UserRole)
        return QSize(160, _HEIGHTS[row.kind])

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one row."""
        row: Row = index.data(Qt.ItemDataRole.UserRole)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        area: QRect = option.rect
        if row.kind == "patient":
            self._paint_patient(painter, area, row, is_first=index.row() == 0)
        elif row.kind == "study":
            self._paint_study(painter, area, row)
        elif row.document is not None:
            self._paint_document(painter, area, row, row.document, option)
        else:
            self._paint_series(painter, area, row, option)
        painter.restore()

    def _paint_patient(self, painter: QPainter, area: QRect, row: Row, *, is_first: bool) -> None:
        t = theme.tokens()
        if not is_first:
            painter.setPen(QPen(theme.color(t.line), 1))
            painter.drawLine(area.topLeft(), area.topRight())
        left = QRect(area.left() + _PAD, area.top() + 8, area.width() - 2 * _PAD, 18)
        _write(painter, left, row.title, t.text, theme.TITLE_PX, QFont.Weight.DemiBold)
        _write(painter, left.translated(0, 18), row.second, t.secondary)
        _write(painter, left.translated(0, 34), row.third, t.secondary, theme.SMALL_PX)

    def _paint_study(self, painter: QPainter, area: QRect, row: Row) -> None:
        t = theme.tokens()
        left = QRect(area.left() + _PAD, area.top() + 6, area.width() - 2 * _PAD, 18)
        _write(painter, left, row.title, t.text, weight=QFont.Weight.DemiBold)
        _write(painter, left.translated(0, 17), row.second, t.secondary, theme.SMALL_PX)

    def _paint_document(
        self, painter: QPainter, area: QRect, row: Row, document: Document, option: QStyleOptionViewItem
    ) -> None:
        t = theme.tokens()
        _paint_choice(painter, area, option)
        middle = area.left() + _PAD + THUMBNAIL_PX // 2
        painter.drawPixmap(middle - 10, area.top() + 14, pixmap(ICONS[document.kind], t.secondary, 20))
        left = area.left() + _PAD + THUMBNAIL_PX + 10
        text = QRect(left, area.top() + 6, area.right() - left - _PAD, 18)
        _write(painter, text, row.title, t.text, weight=QFont.Weight.Medium)
        _write(painter, text.translated(0, 18), row.second, t.secondary, theme.SMALL_PX)

    def _paint_series(self, painter: QPainter, area: QRect, row: Row, option: QStyleOptionViewItem) -> None:
        t = theme.tokens()
        _paint_choice(painter, area, option)
        frame = QRect(area.left() + _PAD, area.top() + 8, THUMBNAIL_PX, THUMBNAIL_PX)
        self._paint_thumbnail(painter, frame, row)
        text = QRect(frame.right() + 10, area.top() + 10, area.right() - frame.right() - 10 - _PAD, 18)
        _write(painter, text, row.title, t.text, weight=QFont.Weight.Medium)
        _write(painter, text.translated(0, 18), row.second, t.secondary, theme.SMALL_PX)
        third = text.translated(0, 34)
        if row.is_caution:
            painter.drawPixmap(third.left(), third.top() + 2, pixmap("triangle-alert", t.caution, 14))
            third.setLeft(third.left() + 18)
        _write(painter, third, row.third, t.caution if row.is_caution else t.secondary, theme.SMALL_PX)

    def _paint_thumbnail(self, painter: QPainter, frame: QRect, row: Row) -> None:
        t = theme.tokens()
        painter.fillRect(frame, theme.color(t.viewport))
        picture = self._thumbnail(row.selection) if row.selection is not None else None
        if picture is None:
            mark = pixmap("image", t.edge, 20)
            painter.drawPixmap(frame.center().x() - 9, frame.center().y() - 9, mark)
        else:
            size = picture.size().scaled(frame.size(), Qt.AspectRatioMode.KeepAspectRatio)
            place = QRect(0, 0, size.width(), size.height())
            place.moveCenter(frame.center())
            painter.drawImage(place, picture)
        if row.keys:
            corner = QRect(frame.right() - 19, frame.top() + 1, 18, 18)
            painter.fillRect(corner, theme.color(t.viewport, 0.7))
            painter.drawPixmap(corner.left() + 2, corner.top() + 2, pixmap("star", t.caution, 14))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(theme.color(t.line), 1))
        painter.drawRect(frame.adjusted(0, 0, -1, -1))


def _paint_choice(painter: QPainter, area: QRect, option: QStyleOptionViewItem) -> None:
    """Mark the row that is chosen or under the mouse."""
    t = theme.tokens()
    state: QStyle.StateFlag = option.state
    is_chosen = bool(state & QStyle.StateFlag.State_Selected)
    box = area.adjusted(4, 2, -4, -2)
    if is_chosen or state & QStyle.StateFlag.State_MouseOver:
        painter.setBrush(theme.color(t.hover))
        painter.setPen(QPen(theme.color(t.accent), 1) if is_chosen else Qt.PenStyle.NoPen)
        painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), theme.RADIUS_PX, theme.RADIUS_PX)
    if is_chosen:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(t.accent))
        painter.drawRoundedRect(QRect(box.left() + 1, box.top() + 12, 3, box.height() - 24), 1.5, 1.5)


def _write(
    painter: QPainter,
    area: QRect,
    words: str,
    tint: str,
    size_px: int = theme.TEXT_PX,
    weight: QFont.Weight = QFont.Weight.Normal,
) -> None:
    painter.setFont(theme.text_font(size_px, weight))
    painter.setPen(theme.color(tint))
    line = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, area.width())
    painter.drawText(area, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, line)

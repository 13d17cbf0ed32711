"""A page with the viewports on it: who and what above, scale and ruler below each, what it is not for at the foot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import hypot
from typing import TYPE_CHECKING

from PySide6.QtCore import QBuffer, QIODevice, QMarginsF, QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QImage, QPageLayout, QPageSize, QPainter, QPdfWriter, QPen
from PySide6.QtWidgets import QApplication

from medviewer.app.on_screen import calibration_of, measured_image
from medviewer.app.printing import Page
from medviewer.app.state import Selection, State
from medviewer.domain.errors import StorageError
from medviewer.domain.frozen import dataclass
from medviewer.gui import theme
from medviewer.gui.document_words import words_of_file
from medviewer.gui.placing import Placement
from medviewer.gui.text import dicom_date, isolated, person_name, tr, visible

if TYPE_CHECKING:
    from PySide6.QtPrintSupport import QPrinter

_PDF_DPI = 300
_MM_PER_INCH = 25.4
_MARGIN_MM, _GAP_MM = 12.0, 2.0
_HEAD_MM, _FOOT_MM, _CAPTION_MM = 12.0, 6.0, 7.0
_TEXT_MM, _SMALL_MM = 3.2, 2.6  # heights of the letters' bodies
_RULERS_MM = (200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0)
PRINTED_SHARPNESS = 3.0  # a viewport of 900 px across 186 mm: 370 dots an inch
_WIDEST_RULER = 0.4  # of the width of its picture
_RULER_WORDS_MM = 15.0  # its length, in words behind it
_FINE = 20.0  # parts of a millimetre in which words are laid out, as Qt rounds the letters' widths


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One viewport as a picture, with what its scale rests on.

    ``mm_per_px`` is millimetres in the patient a logical pixel of the viewport; None where ``words`` say why not.
    """

    image: QImage
    mm_per_px: float | None
    words: str

    @property
    def size(self) -> QSizeF:
        """Of the viewport, in logical pixels."""
        return QSizeF(self.image.size()) / self.image.devicePixelRatioF()


@dataclass(frozen=True, slots=True, eq=False)
class PrintedSheet:
    """A page ready to be painted at any resolution."""

    page: Page
    layout: tuple[int, int]
    panels: tuple[Panel, ...]
    head: tuple[str, ...]
    foot: str

    def pdf(self) -> bytes:
        """As a PDF document of one page, without anything about anybody beside what is seen."""
        return pdf_of(self.page, self.paint)

    def send(self) -> bool:
        """Ask for a printer and send it the page at its actual size; says whether that was done.

        Raises:
            StorageError: the printer does not take it.
        """
        from PySide6.QtPrintSupport import QPrintDialog, QPrinter  # noqa: PLC0415 - only who prints waits for it

        printer = QPrinter(QPrinter.PrinterMode.HighResolution)
        printer.setPageLayout(page_layout(self.page))
        printer.setFullPage(True)
        printer.setDocName("MedViewer")
        if QPrintDialog(printer, QApplication.activeWindow()).exec() != QPrintDialog.DialogCode.Accepted:
            return False
        paint_on(printer, self)
        return True

    def paint(self, painter: QPainter) -> None:
        """Paint the page; the painter's units are millimetres from its upper left corner."""
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setPen(theme.color(theme.INK))
        width, height = self.page.size_mm
        inner = QRectF(0, 0, width, height).adjusted(_MARGIN_MM, _MARGIN_MM, -_MARGIN_MM, -_MARGIN_MM)
        at = inner.top()
        for number, line in enumerate(self.head):
            step = _TEXT_MM * 1.4 if number == 0 else _SMALL_MM * 1.4
            size, weight = (_TEXT_MM, QFont.Weight.DemiBold) if number == 0 else (_SMALL_MM, QFont.Weight.Normal)
            _write(painter, QRectF(inner.left(), at, inner.width(), step), line, size, weight)
            at += step
        foot = QRectF(inner.left(), inner.bottom() - _SMALL_MM * 1.4, inner.width(), _SMALL_MM * 1.4)
        _write(painter, foot, self.foot, _SMALL_MM, QFont.Weight.DemiBold)
        body = inner.adjusted(0, _HEAD_MM, 0, -_FOOT_MM)
        rows, columns = self.layout
        cell = QSizeF((body.width() + _GAP_MM) / columns - _GAP_MM, (body.height() + _GAP_MM) / rows - _GAP_MM)
        for index, panel in enumerate(self.panels):
            row, column = divmod(index, columns)
            corner = QPointF(
                body.left() + column * (cell.width() + _GAP_MM), body.top() + row * (cell.height() + _GAP_MM)
            )
            _paint_panel(painter, QRectF(corner, cell), panel)


def _paint_panel(painter: QPainter, cell: QRectF, panel: Panel) -> None:
    room = cell.adjusted(0, 0, 0, -_CAPTION_MM)
    drawn = panel.size.scaled(room.size(), Qt.AspectRatioMode.KeepAspectRatio)
    left = room.left() + (room.width() - drawn.width()) / 2
    picture = QRectF(QPointF(left, room.top()), drawn)
    painter.drawImage(picture, _for_dots(panel.image, painter.deviceTransform().mapRect(picture).width()))
    caption = QRectF(picture.left(), picture.bottom() + 1, cell.right() - picture.left(), _CAPTION_MM - 1)
    words = panel.words
    if panel.mm_per_px is not None:
        share = drawn.width() / panel.size.width() / panel.mm_per_px  # millimetres of paper a millimetre of patient
        words = f"{tr('Scale {share}').format(share=_ratio(share))}  {words}"
        left = caption.width() - _width_mm(words, _SMALL_MM) - _RULER_WORDS_MM - _GAP_MM
        # A shorter ruler rather than words that are cut: they say where the lengths hold.
        length = ruler_mm(share, min(picture.width(), left / _WIDEST_RULER)) or ruler_mm(share, picture.width())
        if length:
            caption.setLeft(caption.left() + _paint_ruler(painter, caption, length, length * share) + _GAP_MM)
    _write(painter, caption, words, _SMALL_MM, QFont.Weight.Normal)


def _for_dots(image: QImage, dots: float) -> QImage:
    """The picture no finer than what it is painted on, which would leave out pixels instead of mixing them."""
    if image.width() <= dots:
        return image
    return image.scaledToWidth(max(round(dots), 1), Qt.TransformationMode.SmoothTransformation)


def ruler_mm(share: float, width_mm: float) -> float:
    """The longest ruler (mm in the patient) that has room below a picture of that width; 0 if none has."""
    return next((length for length in _RULERS_MM if length * share <= width_mm * _WIDEST_RULER), 0.0)


def _paint_ruler(painter: QPainter, room: QRectF, length: float, drawn_mm: float) -> float:
    """A bar with an end at each side and ten parts, its length behind it; returns how wide all of it is."""
    middle = room.top() + room.height() / 2
    painter.setPen(QPen(theme.color(theme.INK), 0.25, c=Qt.PenCapStyle.FlatCap))
    painter.drawLine(QPointF(room.left(), middle), QPointF(room.left() + drawn_mm, middle))
    for part in range(11):
        tall = 1.6 if part % 10 == 0 else 1.0 if part == 5 else 0.6
        x = room.left() + drawn_mm * part / 10
        painter.drawLine(QPointF(x, middle - tall), QPointF(x, middle + tall))
    words = f"{length:g} mm"
    place = QRectF(room.left() + drawn_mm + 1, room.top(), _RULER_WORDS_MM - 1, room.height())
    _write(painter, place, words, _SMALL_MM, QFont.Weight.DemiBold)
    return drawn_mm + _RULER_WORDS_MM


def _width_mm(words: str, size_mm: float) -> float:
    """How wide a line of words is, and a little more."""
    metrics = QFontMetricsF(theme.text_font(round(size_mm * _FINE), QFont.Weight.Normal))
    return metrics.horizontalAdvance(words) / _FINE + 1


def _write(painter: QPainter, place: QRectF, words: str, size_mm: float, weight: QFont.Weight) -> None:
    """One line of plain text, cut with a sign if it is too long; laid out large, as Qt rounds the letters' widths."""
    painter.save()
    painter.translate(place.topLeft())
    painter.scale(1 / _FINE, 1 / _FINE)
    painter.setFont(theme.text_font(round(size_mm * _FINE), weight))
    painter.setPen(theme.color(theme.INK))
    room = QRectF(0, 0, max(place.width(), 0) * _FINE, place.height() * _FINE)
    line = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, int(room.width()))
    painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, line)
    painter.restore()


def _ratio(share: float) -> str:
    return f"1 : {1 / share:.2f}" if share < 1 else f"{share:.2f} : 1"


def pdf_of(page: Page, paint: Callable[[QPainter], object]) -> bytes:
    """One page as a PDF document; ``paint`` is given a painter whose units are millimetres from the page's corner."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    writer = QPdfWriter(buffer)
    writer.setTitle("MedViewer")
    writer.setResolution(_PDF_DPI)
    writer.setPageLayout(page_layout(page))
    painter = QPainter(writer)
    try:
        painter.scale(_PDF_DPI / _MM_PER_INCH, _PDF_DPI / _MM_PER_INCH)
        paint(painter)
    finally:
        painter.end()
    return bytes(buffer.data().data())


def page_layout(page: Page) -> QPageLayout:
    """The page as Qt's printers know it, without margins: the sheet has its own."""
    kinds = {"A3": "A3", "A4": "A4", "A5": "A5", "Letter": "Letter"}
    size = QPageSize(getattr(QPageSize.PageSizeId, kinds[page.paper]))
    way = QPageLayout.Orientation.Landscape if page.is_landscape else QPageLayout.Orientation.Portrait
    return QPageLayout(size, way, QMarginsF(0, 0, 0, 0), QPageLayout.Unit.Millimeter)


def paint_on(printer: QPrinter, sheet: PrintedSheet) -> None:
    """Paint the page on a printer of any resolution.

    Raises:
        StorageError: the printer does not take it.
    """
    painter = QPainter()
    if not painter.begin(printer):
        raise StorageError("The page was not printed: the printer does not answer; choose another one.")
    try:
        painter.scale(printer.logicalDpiX() / _MM_PER_INCH, printer.logicalDpiY() / _MM_PER_INCH)
        sheet.paint(painter)
    finally:
        painter.end()


def panel_of(image: QImage, state: State, placed: Placement | None, *, is_dated: bool = False) -> Panel:
    """A viewport's picture with its scale, where the file says how large a pixel is in the patient.

    ``is_dated``: the day of the study is told before it, as the head of the page cannot tell it for all.
    """
    panel = _scaled(image, state, placed)
    if not is_dated or state.selection is None:
        return panel
    date = dicom_date(state.selection.study.date) or tr("No date")
    return replace(panel, words="  ".join(part for part in (date, panel.words) if part))


def _scaled(image: QImage, state: State, placed: Placement | None) -> Panel:
    if state.selection is None or state.frame is None or placed is None:
        return Panel(image, None, "")
    where = measured_image(state)
    if where is not None and calibration_of(state, where) is not None:
        return Panel(image, None, tr("No scale: this image was calibrated by hand."))
    d = state.frame.description
    if d.ultrasound_regions:  # no spacing can be true for all of them, whatever the file gives
        return Panel(image, None, tr("No scale: this image's ultrasound regions have scales of their own."))
    if d.pixel_spacing_mm is None or d.spacing_source is None:
        return Panel(image, None, tr("No scale: the file gives no usable pixel spacing."))
    # One logical pixel to the right, in pixels of the image and so in millimetres.
    inverse, _ = placed.transform.inverted()
    step = inverse.map(QPointF(1, 0)) - inverse.map(QPointF(0, 0))
    mm = hypot(step.x() * d.pixel_spacing_mm[1], step.y() * d.pixel_spacing_mm[0])
    return Panel(image, mm, tr("lengths: {source}").format(source=tr(d.spacing_source)))


def are_of_several_days(panes: Sequence[State]) -> bool:
    """Whether viewports show studies of more than one day, as a prior beside the current one."""
    return len({one.selection.study.date for one in panes if one.selection is not None}) > 1


def head_of(state: State, panes: Sequence[State]) -> tuple[str, ...]:
    """Who it is, unless identity is hidden, and of the study what holds for all viewports that are printed."""
    now = state.selection
    if now is None:
        return ()
    p = now.patient
    number = tr("ID {number}").format(number=isolated(p.patient_id)) if p.patient_id else tr("No patient ID")
    who = (person_name(p.name) or tr("No name"), number, dicom_date(p.birth_date))
    first = tr("Identity hidden") if state.identity_hidden else "   ".join(part for part in who if part)
    told = [_about(state, one.selection) for one in panes if one.selection is not None]
    shared = (parts[0] for parts in zip(*told, strict=True) if len(set(parts)) == 1)
    return first, "   ".join(part for part in shared if part)


def _about(state: State, one: Selection) -> tuple[str, ...]:
    """What an image is, and of which study."""
    place = "" if state.identity_hidden else visible(one.study.institution)
    return one.series.modality, words_of_file(state, one.study.description), dicom_date(one.study.date), place

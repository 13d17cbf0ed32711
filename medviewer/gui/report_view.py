"""A structured report for reading: text only, indented like its content tree, with links to images that are open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QFont, QTextBlockFormat, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QFrame, QTextBrowser, QWidget

from medviewer.app.documents import referenced
from medviewer.app.state import Selection, State
from medviewer.domain.report import ImageReference, Report, ReportItem
from medviewer.gui import theme
from medviewer.gui.document_words import without_identity
from medviewer.gui.text import dicom_date, person_name, tr, visible

_INDENT_PX = 20
_MOST_INDENTS = 12  # deeper items stand below each other: there must be room for words
_LINK = "reference:"


class ReportView(QTextBrowser):
    """Shows a report. Everything is put in as characters, so that nothing in it can be taken for HTML or loaded."""

    requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setOpenLinks(False)
        self.setUndoRedoEnabled(False)
        self.setProperty("kind", "document")
        self.document().setDocumentMargin(24)
        self.anchorClicked.connect(self._follow)
        self._references: list[ImageReference] = []
        self._drawn: tuple[object, ...] = ()

    def loadResource(self, _kind: int, _url: QUrl | str) -> Any:  # noqa: N802 - Qt's name
        """Nothing is ever loaded."""
        return None

    def show_report(self, report: Report, state: State) -> None:
        """Write the report anew if it, or what is said of it, is another."""
        drawn = (report, state.identity_hidden, state.language, state.collection, state.theme)
        if len(self._drawn) == len(drawn) and all(a is b or a == b for a, b in zip(self._drawn, drawn, strict=True)):
            return
        is_same = bool(self._drawn) and self._drawn[0] is report
        at = self.verticalScrollBar().value() if is_same else 0
        self._drawn = drawn
        self._references = []
        self.setAccessibleName(tr("Report"))
        self.clear()
        self._write(report, state)
        self.moveCursor(QTextCursor.MoveOperation.Start)
        self.verticalScrollBar().setValue(at)

    def forget(self) -> None:
        """Hold nothing of a document that is not shown any more."""
        self._drawn, self._references = (), []
        self.clear()

    def _write(self, report: Report, state: State) -> None:
        pen = _Pen(QTextCursor(self.document()))
        pen.cursor.beginEditBlock()
        reading = state.reading
        hide = _hiding(state)
        pen.line(0, (hide(report.title), "title"))
        pen.line(0, *_standing(report, identity_hidden=state.identity_hidden))
        if state.identity_hidden:
            pen.line(0, (tr("Names are covered; free text may still tell who the patient is."), "caution"))
        for item in report.items:
            depth = min(item.depth, _MOST_INDENTS)
            if item.kind == "section":
                pen.line(depth, (hide(item.concept) or tr("Section"), "section"), above=10)
                continue
            found = referenced(state, item.image) if item.image is not None and reading is not None else None
            pen.line(depth, *self._parts(item, hide, found, identity_hidden=state.identity_hidden))
        if report.left_out:
            pen.line(0, (tr(report.left_out), "caution"), above=10)
        pen.cursor.endEditBlock()

    def _parts(
        self, item: ReportItem, hide: Callable[[str], str], found: Selection | None, *, identity_hidden: bool
    ) -> list[tuple[str, str]]:
        """The words of one item, each with how it looks."""
        parts = [(f"{words}  ", "small")] if (words := relation_words(item.relationship)) else []
        if item.concept:
            parts.append((f"{hide(item.concept)}:  ", "secondary"))
        if item.image is not None:
            parts.append(self._reference(item.image, hide, found))
        elif item.kind == "identity" and identity_hidden:
            parts.append((tr("Hidden"), "secondary"))
        else:
            parts.append((hide(item.value), ""))
        return parts

    def _reference(
        self, reference: ImageReference, hide: Callable[[str], str], found: Selection | None
    ) -> tuple[str, str]:
        """Which image is meant: a link if it is open."""
        frames = ", ".join(map(str, reference.frames[:8])) + (" …" if len(reference.frames) > 8 else "")
        frame = tr("frame {numbers}").format(numbers=frames) if reference.frames else ""
        if found is None:
            words = tr("an image that is not open ({uid})").format(uid=visible(reference.sop_instance_uid))
            return "  ".join(part for part in (words, frame) if part), "secondary"
        series, image = found.series, found.image
        number = tr("series {n}").format(n=series.number) if series.number is not None else ""
        instance = tr("image {n}").format(n=image.instance_number) if image.instance_number is not None else ""
        name = visible(series.modality), hide(series.description), number, instance, frame
        self._references.append(reference)
        return ", ".join(part for part in name if part) or tr("the image"), f"{_LINK}{len(self._references) - 1}"

    def _follow(self, url: QUrl) -> None:
        number = url.toString().removeprefix(_LINK)
        if number.isdecimal() and int(number) < len(self._references):
            self.requested.emit("document.show_image", self._references[int(number)])


def relation_words(relationship: str) -> str:
    """How an item relates to the one around it; "" where it is simply in it."""
    known = {
        "CONTAINS": "",
        "HAS OBS CONTEXT": tr("context"),
        "HAS ACQ CONTEXT": tr("acquisition context"),
        "HAS CONCEPT MOD": tr("modifier"),
        "HAS PROPERTIES": tr("property"),
        "INFERRED FROM": tr("inferred from"),
        "SELECTED FROM": tr("selected from"),
    }
    return known.get(relationship, visible(relationship).lower())


def _hiding(state: State) -> Callable[[str], str]:
    """Make text visible and, while it is to be hidden, without identity."""
    reading = state.reading
    if not state.identity_hidden or reading is None:
        return visible
    return lambda text: visible(without_identity(text, reading.patient))


def _standing(report: Report, *, identity_hidden: bool) -> list[tuple[str, str]]:
    """Whether the report is whole and verified, and by what template it was made."""
    completion = {"COMPLETE": tr("Complete"), "PARTIAL": tr("Partial")}.get(report.completion, "")
    parts = [(f"{completion or tr('Does not say whether it is complete')}   ", "strong" if completion else "caution")]
    if report.verification == "VERIFIED":
        names = [
            " ".join(part for part in ("" if identity_hidden else person_name(name), dicom_date(time[:8])) if part)
            for name, time in report.verifiers
        ]
        by = ", ".join(name for name in names if name)
        parts.append((tr("Verified: {who}").format(who=by) if by else tr("Verified"), "good"))
    else:
        parts.append((tr("Not verified"), "caution"))
    if report.template:
        parts.append((f"   {visible(report.template)}", "small"))
    return parts


class _Pen:
    """Writes lines of plain characters with a few looks."""

    def __init__(self, cursor: QTextCursor) -> None:
        self.cursor = cursor
        self._is_first = True

    def line(self, depth: int, *parts: tuple[str, str], above: int = 4) -> None:
        """One paragraph: its parts one after the other, each with how it looks."""
        block = QTextBlockFormat()
        block.setLeftMargin(depth * _INDENT_PX)
        block.setTopMargin(above)
        if self._is_first:
            self.cursor.setBlockFormat(block)
            self._is_first = False
        else:
            self.cursor.insertBlock(block)
        for text, look in parts:
            self.cursor.insertText(text.replace("\n", "\u2028"), _look(look))


def _look(look: str) -> QTextCharFormat:
    t = theme.tokens()
    made = QTextCharFormat()
    colors = {"secondary": t.secondary, "small": t.secondary, "caution": t.caution, "good": t.good}
    sizes = {"title": 20, "section": theme.TITLE_PX, "small": theme.SMALL_PX}
    is_strong = look in ("title", "section", "strong", "caution", "good")
    made.setFont(theme.text_font(sizes.get(look, 14), QFont.Weight.DemiBold if is_strong else QFont.Weight.Normal))
    made.setForeground(theme.color(colors.get(look, t.text)))
    if look.startswith(_LINK):
        made.setAnchor(True)
        made.setAnchorHref(look)
        made.setForeground(theme.color(t.accent))
        made.setFontUnderline(True)
    return made

"""The page in the place of the images while a document is read: whose it is, what it is, and the document."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QApplication, QHBoxLayout, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from medviewer.app.documents import page_count
from medviewer.app.state import Reading, State
from medviewer.domain.report import Report
from medviewer.domain.waveform import Waveform
from medviewer.gui import theme
from medviewer.gui.cards import button, dress
from medviewer.gui.document_words import ICONS, kind_words, title_words, when_words
from medviewer.gui.icons import IconLabel
from medviewer.gui.pdf_view import PdfView
from medviewer.gui.report_view import ReportView
from medviewer.gui.study_rows import age_words
from medviewer.gui.text import ElidedLabel, PlainLabel, dicom_date, isolated, person_name, set_tooltip, sex_word, tr
from medviewer.gui.waveform_view import WaveformView

_BUTTON_PX = 32  # of a symbol: seven of them and a panel beside fit a window of 720 points


class DocumentPage(QWidget):
    """Shows the state's document; asks for what the reader does."""

    requested = Signal(str, object)

    def __init__(self, shortcuts: Mapping[str, str] | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shortcuts = shortcuts if shortcuts is not None else {}
        dress(self, "panel")
        self.who = ElidedLabel("", "strong")
        self.what = ElidedLabel("", "secondary")
        self._icon = IconLabel("file-text", theme.tokens().secondary, 20)
        self.message = PlainLabel("", "secondary", wrap=True)
        self.report, self.pdf, self.waveform = ReportView(), PdfView(), WaveformView()
        self._page_words = PlainLabel("", "secondary")
        self.body = QStackedWidget()
        self._buttons = {
            command_id: self._button(command_id, icon_name)
            for command_id, icon_name in (
                ("document.previous_page", "arrow-up"), ("document.next_page", "arrow-down"),
                ("view.zoom_out", "zoom-out"), ("view.zoom_in", "zoom-in"), ("view.fit", "maximize"),
                ("document.save_pdf", "save"), ("document.close", "x"),
            )
        }  # fmt: skip
        for view in (self.report, self.pdf, self.waveform):
            view.requested.connect(self.requested)
        self._lay_out()

    def _button(self, command_id: str, icon_name: str) -> QPushButton:
        made = button("", icon_name, "quiet")
        made.setFixedWidth(_BUTTON_PX)
        made.clicked.connect(lambda: self.requested.emit(command_id, None))
        return made

    def _lay_out(self) -> None:
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        head = QHBoxLayout()
        head.setContentsMargins(12, 8, 8, 8)
        head.setSpacing(4)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self.who)
        words.addWidget(self.what)
        head.addWidget(self._icon)
        head.addLayout(words, 1)
        for command_id, made in self._buttons.items():
            head.addWidget(made)
            if command_id == "document.previous_page":
                head.addWidget(self._page_words)
        whole.addLayout(head)
        whole.addWidget(self.body, 1)
        center = QWidget()
        dress(center, "viewport")
        column = QVBoxLayout(center)
        column.setContentsMargins(48, 48, 48, 48)
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column.addWidget(self.message)
        for page in (center, self.report, self.pdf, self.waveform):
            self.body.addWidget(page)
        self._center = center

    def show_state(self, old: State | None, new: State) -> None:
        """Draw what differs from ``old``; None draws everything."""
        reading = new.reading
        if old is not None and _drawn_from(old) == _drawn_from(new):
            return
        if reading is None or old is None or old.reading is None or old.reading.document is not reading.document:
            self.pdf.forget()
            self.waveform.forget()
            self.report.forget()
        if reading is None:
            return
        self._show_head(reading, new)
        self._show_body(reading, new)

    def _show_head(self, reading: Reading, state: State) -> None:
        document, hidden = reading.document, state.identity_hidden
        self._icon.set_icon(ICONS[document.kind], theme.tokens().secondary)
        self.who.setText(_patient_words(reading, identity_hidden=hidden))
        title = title_words(document, reading.patient, identity_hidden=hidden)
        study = dicom_date(reading.study.date)
        parts = [title, kind_words(document), when_words(document)]
        parts.append(tr("study of {date}").format(date=study) if study and study != dicom_date(document.date) else "")
        self.what.setText("   ·   ".join(dict.fromkeys(part for part in parts if part)))
        count = page_count(state)
        is_zoomed = reading.content is not None and not isinstance(reading.content, Report)
        self._page_words.setText(tr("Page {n} of {total}").format(n=reading.page + 1, total=count))
        self._page_words.setVisible(count > 0)
        shown = {
            "document.previous_page": count > 1, "document.next_page": count > 1, "view.zoom_out": is_zoomed,
            "view.zoom_in": is_zoomed, "view.fit": is_zoomed, "document.save_pdf": document.kind == "pdf",
        }  # fmt: skip
        words = {
            "document.previous_page": tr("Previous page"), "document.next_page": tr("Next page"),
            "view.zoom_out": tr("Zoom out"), "view.zoom_in": tr("Zoom in"), "view.fit": tr("Fit to window"),
            "document.save_pdf": tr("Save the PDF…"), "document.close": tr("Close the document"),
        }  # fmt: skip
        for command_id, made in self._buttons.items():
            made.setVisible(shown.get(command_id, True))
            made.setAccessibleName("")
            set_tooltip(made, words[command_id], self._close_key if command_id == "document.close" else "")
        self._buttons["document.previous_page"].setEnabled(reading.page > 0)
        self._buttons["document.next_page"].setEnabled(reading.page < count - 1)

    @property
    def _close_key(self) -> str:
        """To reset the view closes what is in front of it first: its key is the shorter one."""
        return self._shortcuts.get("view.reset", "") or self._shortcuts.get("document.close", "")

    def _show_body(self, reading: Reading, state: State) -> None:
        content = reading.content
        message = self._message(reading, state)
        view: QWidget = self._center
        if message:
            self.message.setText(message)
            self.message.set_role("caution" if reading.problem or reading.page_problem else "secondary")
        elif isinstance(content, Report):
            self.report.show_report(content, state)
            view = self.report
        elif isinstance(content, Waveform):
            self.waveform.show_waveform(content, state)
            view = self.waveform
        else:
            view = self.pdf
        if self.body.currentWidget() is not view:
            focus = QApplication.focusWidget()
            had_focus = focus is not None and self.isAncestorOf(focus)
            self.body.setCurrentWidget(view)
            self.setFocusProxy(view)
            if had_focus:
                view.setFocus(Qt.FocusReason.OtherFocusReason)
        if view is self.pdf:
            self.pdf.show_page(reading)

    def _message(self, reading: Reading, state: State) -> str:
        """What stands in the place of the document; "" where it can be shown."""
        if reading.problem or reading.page_problem:
            return tr(reading.problem or reading.page_problem)
        if reading.content is None:
            return tr("Reading the document")
        if reading.document.kind == "pdf" and state.identity_hidden:
            return tr(
                "A PDF is a picture of pages that may say who the patient is, and that cannot be taken out of it. "
                "It is covered while the identity is hidden."
            )
        return ""


def _patient_words(reading: Reading, *, identity_hidden: bool) -> str:
    """Whose the document is, on one line."""
    p = reading.patient
    if identity_hidden:
        return tr("Identity hidden")
    number = tr("ID {number}").format(number=isolated(p.patient_id)) if p.patient_id else tr("No patient ID")
    about = (dicom_date(p.birth_date), age_words(p, reading.study), sex_word(p.sex))
    return "   ".join(part for part in (person_name(p.name) or tr("No name"), number, *about) if part)


def _drawn_from(state: State) -> tuple[object, ...]:
    return state.reading, state.identity_hidden, state.language, state.theme, state.collection, state.shortcuts

"""The lower edge of the window: research use only, what models run on, what goes on, the last notice."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QFocusEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QSizePolicy, QToolTip, QWidget

from medviewer.app.conditions import shown_job
from medviewer.app.state import JobStatus, Notice, State
from medviewer.gui import theme
from medviewer.gui.cards import button
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import ElidedLabel, PlainLabel, plain_tooltip, tr

STRIP_PX = 20
_BAR_PX = 120
_JOB_PX = 320
_SHAPES = {"info": "info", "caution": "triangle-alert", "alarm": "octagon-alert"}


class ResearchStrip(QWidget):
    """What the program is not for: always there, never in the way of the mouse."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(STRIP_PX)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setProperty("kind", "ground")
        self._words = PlainLabel("", "small")
        self._words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 0, 12, 0)
        row.addWidget(self._words)

    def show_state(self, old: State | None, new: State) -> None:
        """Speak the language."""
        if old is None or old.language != new.language:
            self._words.setText(tr("Research use only - not for diagnosis"))


class NoticeLabel(ElidedLabel):
    """The last notice on one line. Keys reach it where there is one; it then shows the whole, as the mouse does."""

    def setText(self, text: str) -> None:  # noqa: N802 - Qt's name
        """Show this text."""
        super().setText(text)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus if text else Qt.FocusPolicy.NoFocus)

    def focusInEvent(self, event: QFocusEvent) -> None:  # noqa: N802 - Qt's name
        """Show the whole text above the line."""
        super().focusInEvent(event)
        QToolTip.showText(self.mapToGlobal(QPoint(0, -2 * self.height())), plain_tooltip(self.text()), self)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:  # noqa: N802 - Qt's name
        """Take it away again."""
        super().focusOutEvent(event)
        QToolTip.hideText()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw as much as fits, with a line below while keys are here."""
        super().paintEvent(event)
        if self.hasFocus() and self.text():
            painter = QPainter(self)
            try:
                painter.fillRect(0, self.height() - 2, self.width(), 2, theme.color(theme.tokens().accent))
            finally:
                painter.end()


class StatusBar(QWidget):
    """Where models run, progress with Cancel, and the last notice."""

    requested = Signal(str, object)

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(32)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._shape = IconLabel("info", theme.tokens().secondary)
        self._notice = NoticeLabel()
        self._provider, self._job = ElidedLabel("", "secondary"), ElidedLabel("", "secondary")
        for label in (self._provider, self._job):  # as wide as their words, less in a narrow window
            label.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self._job.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._job.setMaximumWidth(_JOB_PX)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedWidth(_BAR_PX)
        self.cancel = button("", "circle-x", "quiet")
        self.cancel.clicked.connect(lambda: self.requested.emit("job.cancel", None))
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 0, 8, 0)
        row.setSpacing(8)
        for widget, stretch in (
            (self._shape, 0), (self._notice, 1), (self._job, 0), (self._bar, 0), (self.cancel, 0), (self._provider, 0),
        ):  # fmt: skip
            row.addWidget(widget, stretch)

    def show_state(self, old: State | None, new: State) -> None:
        """Draw what differs."""
        is_new_language = old is None or old.language != new.language
        if old is None or is_new_language or old.notice != new.notice:
            self._show_notice(new.notice)
        if old is None or is_new_language or old.jobs != new.jobs:
            self._show_job(shown_job(new))
        if old is None or is_new_language or old.provider != new.provider:
            self._provider.setText(tr(new.provider) if new.provider else tr("No model has run yet"))

    def _show_notice(self, notice: Notice | None) -> None:
        self._shape.setVisible(notice is not None)
        self._notice.setText(tr(notice.text) if notice is not None else "")
        if notice is not None:
            t = theme.tokens()
            tint = {"info": t.secondary, "caution": t.caution, "alarm": t.alarm}[notice.level]
            self._shape.set_icon(_SHAPES[notice.level], tint)
            self._notice.set_role("" if notice.level == "info" else notice.level)

    def _show_job(self, job: JobStatus | None) -> None:
        for widget in (self._job, self._bar, self.cancel):
            widget.setVisible(job is not None)
        if job is None:
            return
        count = f" {job.done}/{job.total}" if job.total > 1 else ""
        self._job.setText(f"{tr(job.text)}{count}")
        self._bar.setRange(0, job.total)  # 0 to 0: Qt shows that the end is not known
        self._bar.setValue(job.done)
        self.cancel.setText(tr("Cancel"))

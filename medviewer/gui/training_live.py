"""A training while it goes on: how far it is, its curves, what it says, and Stop."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QProgressBar, QVBoxLayout, QWidget

from medviewer.app.training_progress import Curve, RunProgress
from medviewer.gui.cards import Disclosure, button
from medviewer.gui.text import PlainLabel, tr, visible

_LOG_PX = 120


class LiveTraining(QWidget):
    """Draws a :class:`RunProgress`; :meth:`show_progress` may be called many times a second."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        from medviewer.gui.training_plot import TrainingPlot  # noqa: PLC0415 - a fifth of a second, only who trains

        self.setProperty("kind", "clear")
        self.words = PlainLabel("", wrap=True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.stop = button(tr("Stop"), "circle-x")
        self.plot = TrainingPlot()
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setTabChangesFocus(True)
        self.log.setFixedHeight(_LOG_PX)
        self.log.setAccessibleName(tr("What the training says"))
        self._shown = 0
        self._last = ""
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.bar, 1)
        row.addWidget(self.stop)
        said = Disclosure(tr("What the training says"), is_open=True)
        said.content.addWidget(self.log)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self.words)
        column.addLayout(row)
        column.addWidget(self.plot)
        column.addWidget(said)

    def show_progress(self, run: RunProgress, *, is_running: bool) -> None:
        """Draw how far a run is; of one that has ended, what is left of it to be seen."""
        self.words.setText(progress_words(run) if is_running else "")
        self.words.setVisible(is_running)
        self.bar.setVisible(is_running)
        self.stop.setVisible(is_running)
        self.stop.setEnabled(not run.is_stopping)
        self.bar.setRange(0, run.total)
        self.bar.setValue(run.done)
        self.plot.show_curve(run.curves.get(run.part) or Curve())
        lines = list(run.lines)
        if len(lines) != self._shown or (lines and lines[-1] != self._last):
            self._shown, self._last = len(lines), lines[-1] if lines else ""
            self.log.setPlainText("\n".join(visible(line) for line in lines))
            self.log.verticalScrollBar().setValue(self.log.verticalScrollBar().maximum())


def progress_words(run: RunProgress) -> str:
    """How far a run is, in words: the part, the epoch, the step, and the time that is left."""
    if run.is_stopping:
        return tr("It stops after the step that is under way; the last checkpoint is kept.")
    if run.total == 0:
        return tr("The data are being read…")
    parts = [run.part] if run.part else []
    if run.epoch:
        parts.append(tr("epoch {n}").format(n=run.epoch))
    parts.append(tr("step {done} of {total}").format(done=run.done, total=run.total))
    if run.is_validating:
        parts.append(tr("validating"))
    left = run.left_s
    if left is not None:
        parts.append(_time_words(left, is_part=bool(run.part)))
    return " · ".join(parts)


def _time_words(seconds: float, *, is_part: bool) -> str:
    if seconds < 90:
        words = tr("about {n} s left of this part") if is_part else tr("about {n} s left")
        return words.format(n=max(round(seconds), 1))
    if seconds < 5400:
        words = tr("about {n} min left of this part") if is_part else tr("about {n} min left")
        return words.format(n=round(seconds / 60))
    words = tr("about {n} h left of this part") if is_part else tr("about {n} h left")
    return words.format(n=f"{seconds / 3600:.1f}")

"""The curves of a training: loss by step, and what each epoch was found to be. Imported when one goes on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from medviewer.app.training_progress import Curve
from medviewer.gui import theme
from medviewer.gui.text import PlainLabel, tr

_HEIGHT_PX = 150
_SMOOTHED = 20  # steps of the mean that is drawn over the single steps
_MOST_POINTS = 2000


class _Plot(pg.GraphicsView):  # type: ignore[misc]  # pyqtgraph has no types
    """One view with two axes. Not its ``PlotWidget``, whose menus nobody opens here and nobody frees."""

    def __init__(self) -> None:
        super().__init__(background=None)
        self.setProperty("kind", "clear")
        self.setFixedHeight(_HEIGHT_PX)
        # Both are as wide, whatever their titles.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)  # the wheel scrolls the panel
        grid = pg.GraphicsLayout()
        grid.setContentsMargins(0, 0, 8, 0)
        grid.setSpacing(0)
        self.setCentralItem(grid)
        self.view = pg.ViewBox(enableMenu=False, enableMouse=False)
        grid.addItem(self.view, 0, 1)
        t = theme.tokens()
        for side, row, column in (("left", 0, 0), ("bottom", 1, 1)):
            axis = pg.AxisItem(side, pen=pg.mkPen(t.line), textPen=pg.mkPen(t.secondary))
            axis.setStyle(tickFont=theme.text_font(theme.SMALL_PX))
            axis.enableAutoSIPrefix(enable=False)
            axis.linkToView(self.view)
            grid.addItem(axis, row, column)


class TrainingPlot(QWidget):
    """Two small plots beside each other, with titles that are plain text and can be read aloud."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "clear")
        t = theme.tokens()
        self._loss, self._score = _Plot(), _Plot()
        self._raw = pg.PlotCurveItem(pen=pg.mkPen(theme.color(t.secondary, 0.5), width=1))
        self._mean = pg.PlotCurveItem(pen=pg.mkPen(t.accent, width=2))
        self._line = pg.PlotCurveItem(pen=pg.mkPen(t.accent, width=2))
        self._dots = pg.ScatterPlotItem(size=7, pen=None, brush=t.accent)
        for plot, item in (
            (self._loss, self._raw), (self._loss, self._mean), (self._score, self._line), (self._score, self._dots),
        ):  # fmt: skip
            plot.view.addItem(item)
        self._loss_title, self._score_title = PlainLabel("", "small", wrap=True), PlainLabel("", "small", wrap=True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(4)
        for column, (title, plot) in enumerate(((self._loss_title, self._loss), (self._score_title, self._score))):
            grid.addWidget(title, 0, column, Qt.AlignmentFlag.AlignBottom)
            grid.addWidget(plot, 1, column)
            grid.setColumnStretch(column, 1)
        self.show_curve(Curve())

    def show_curve(self, curve: Curve) -> None:
        """Draw a run as far as it is."""
        steps, losses = _thinned(curve.steps), _thinned(curve.losses)
        self._raw.setData(steps, losses)
        self._mean.setData(steps, _mean_so_far(losses))
        judged, scores = np.array(curve.judged, float), np.array(curve.scores, float)
        self._line.setData(judged, scores)
        self._dots.setData(judged, scores)
        for plot in (self._loss, self._score):
            plot.view.setXRange(0, curve.steps[-1] if curve.steps else 1, padding=0.02)
        loss = f"{np.mean(curve.losses[-_SMOOTHED:]):.4f}" if curve.losses else "–"
        self._loss_title.setText(tr("Loss: {loss}").format(loss=loss))
        self._score_title.setText(_score_words(curve))
        self.setAccessibleName(f"{self._loss_title.text()}; {self._score_title.text()}")


def _score_words(curve: Curve) -> str:
    """How good the last epoch was found: its score, or a figure that chooses nothing, or that there is none."""
    score = f"{curve.scores[-1]:.4f}" if curve.scores else "–"
    if not curve.is_by_plan:
        best = f"{max(curve.scores):.4f}" if curve.scores else "–"
        return tr("Validation score: {score}, best {best} (higher is better)").format(score=score, best=best)
    if not curve.scores:
        return tr("No validation score: the last epoch is taken by plan")
    if curve.measured == "auc":
        return tr("AUC on held-out cases: {score}; the last epoch is taken by plan").format(score=score)
    if curve.measured == "held_out":
        return tr("Loss on held-out cases: {score}; the last epoch is taken by plan").format(score=score)
    return tr("{name}: {score}; the last epoch is taken by plan").format(name=curve.measured, score=score)


def _thinned(values: Sequence[float]) -> np.ndarray:
    """As many points as a small plot can show, the first and the last among them."""
    whole = np.asarray(values, dtype=np.float64)
    if len(whole) <= _MOST_POINTS:
        return whole
    return np.asarray(whole[np.linspace(0, len(whole) - 1, _MOST_POINTS).astype(int)])


def _mean_so_far(losses: np.ndarray) -> np.ndarray:
    """Of each point, the mean of it and those before it."""
    total = np.concatenate([[0.0], np.cumsum(losses)])
    end = np.arange(1, len(losses) + 1)
    begin = np.maximum(end - _SMOOTHED, 0)
    return np.asarray((total[end] - total[begin]) / (end - begin))

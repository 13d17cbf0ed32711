"""What a reader does in the window, and what is seen there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QWidget

from medviewer.app.state import Selection
from medviewer.gui.fidelity_strip import STRIP_PX
from medviewer.gui.viewport import Viewport
from medviewer.gui.window import MainWindow

WAIT_MS = 20_000


class Reader:
    """Acts in a window and waits until what was asked for is there."""

    def __init__(self, window: MainWindow, qtbot: Any) -> None:
        self.window, self._qtbot = window, qtbot

    @property
    def state(self) -> Any:
        return self.window.app.state

    def wait(self, condition: Any) -> None:
        self._qtbot.waitUntil(condition, timeout=WAIT_MS)

    def settle(self) -> None:
        """Wait until nothing runs any more."""
        app = self.window.app
        self.wait(lambda: not (app.jobs.running or app.saves.running or app.writes.running or app.background.running))

    def open(self, *paths: Path) -> None:
        self.window.app.run_command("file.open_files", list(paths))
        self.settle()
        assert self.state.frame is not None or self.state.frame_problem

    def select(self, name: str) -> Selection:
        """Choose the first image of a patient."""
        patient = next(p for p in self.state.collection.patients if p.name == name)
        series = patient.studies[0].series[0]
        chosen = Selection(patient, patient.studies[0], series, series.stacks[0], 0)
        self.window.app.run_command("image.select", chosen)
        return chosen

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        """Press a key with the image in focus."""
        self.window.activateWindow()
        self.window.viewport.setFocus()
        self.wait(lambda: QApplication.focusWidget() is self.window.viewport)
        QTest.keyClick(self.window.viewport, key, modifier)

    def drag(self, button: Qt.MouseButton, start: tuple[int, int], *points: tuple[int, int]) -> None:
        drag(self.window.viewport, button, start, *points)

    def wheel(
        self, notches: int, at: tuple[int, int], modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier
    ) -> None:
        wheel(self.window.viewport, notches, at, modifier)


def drag(viewport: Viewport, button: Qt.MouseButton, start: tuple[int, int], *points: tuple[int, int]) -> None:
    """Press, move through some points, release."""
    QTest.mousePress(viewport, button, Qt.KeyboardModifier.NoModifier, QPoint(*start))
    for point in points:
        QTest.mouseMove(viewport, QPoint(*point))
    QTest.mouseRelease(viewport, button, Qt.KeyboardModifier.NoModifier, QPoint(*(points or (start,))[-1]))


def wheel(viewport: Viewport, notches: int, at: tuple[int, int], modifier: Qt.KeyboardModifier) -> None:
    """Turn the wheel; away from the reader is positive."""
    point = QPointF(*at)
    event = QWheelEvent(
        point,
        QPointF(viewport.mapToGlobal(point)),
        QPoint(),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        modifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(viewport, event)


def pixels(widget: QWidget) -> np.ndarray:
    """What a widget shows, (rows, columns, 3) uint8."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).copy()


def has_color(viewport: Viewport) -> bool:
    """Whether anything but grey is drawn over the image; the strip below it has a coloured sign of its own."""
    drawn = pixels(viewport)[:-STRIP_PX].astype(int)
    return bool((np.ptp(drawn, axis=2) > 8).any())


def words(window: QWidget) -> list[str]:
    """All words on labels, buttons and tooltips of a window, with those painted in the viewport."""
    found: list[str] = [window.windowTitle()]
    for widget in window.findChildren(QWidget):
        if widget.isVisible():
            found += [widget.toolTip(), widget.accessibleName()]
            text = getattr(widget, "text", None)
            if isinstance(widget, QLabel) or callable(text):
                found.append(str(text() if callable(text) else ""))
    return [text for text in found if text]


def middle(values: Sequence[int]) -> tuple[int, int]:
    """Half of a width and a height."""
    return values[0] // 2, values[1] // 2

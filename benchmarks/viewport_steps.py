"""One step of window and level, and one step through a stack: our viewport against pyqtgraph's ``ImageItem``.

Both widgets are shown off screen at one size, hold the same stored values and draw the same part
of them fitted; a step ends when the widget has painted itself. Ours also draws its corner text and
orientation letters; the peer draws the image alone, with a window and not the whole chain of the
standard. Making the picture of a new image (its smaller copies) counts as ours, though the program
does that in a worker thread.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.timing import Comparison, compare

SIDE_PX = 900
N_SLICES = 8


class Ours:
    """The viewport with a state, as the session would give it."""

    def __init__(self, frames: list[Any], smooth: bool) -> None:
        from medviewer.app.picture import Picture
        from medviewer.app.state import View
        from medviewer.gui.viewport import Viewport
        from medviewer.gui.viewport_marks import FIDELITY_PX  # a strip of words under the image
        from tests.gui import panel_states

        self._frames = frames
        self._picture = Picture(frames[0])
        self._make = Picture
        self._state = panel_states.opened(frame=frames[0], view=View(smooth=smooth))
        self.widget = Viewport(lambda _state: self._picture)
        self.widget.resize(SIDE_PX, SIDE_PX + FIDELITY_PX)
        self.widget.show_state(None, self._state)
        self.widget.show()

    def window(self, center: float, width: float) -> None:
        from medviewer.domain.study import Window

        self._show(replace(self._state, view=replace(self._state.view, window=Window(center, width))))

    def slice(self, index: int) -> None:
        self._picture = self._make(self._frames[index])
        self._show(replace(self._state, frame=self._frames[index]))

    def _show(self, new: Any) -> None:
        old, self._state = self._state, new
        self.widget.show_state(old, new)
        self.widget.repaint()


class Peer:
    """pyqtgraph, as its documentation shows, without what only costs time: no levels looked for, no histogram."""

    def __init__(self, frames: list[Any], window: tuple[float, float], smooth: bool) -> None:
        import pyqtgraph as pg
        from PySide6.QtGui import QPainter

        self._arrays = [np.ascontiguousarray(frame.stored) for frame in frames]
        self.widget = pg.GraphicsView()
        self.widget.resize(SIDE_PX, SIDE_PX)
        self.widget.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        view = pg.ViewBox(enableMenu=False, invertY=True, lockAspect=True, defaultPadding=0.0)
        self.widget.setCentralItem(view)
        self.item = pg.ImageItem(axisOrder="row-major")
        view.addItem(self.item)
        self._description = frames[0].description
        self._levels = levels(*window, self._description)
        self.item.setImage(self._arrays[0], autoLevels=False, levels=self._levels)
        self.widget.show()

    def window(self, center: float, width: float) -> None:
        self._levels = levels(center, width, self._description)
        self.item.setLevels(self._levels)
        self.widget.viewport().repaint()

    def slice(self, index: int) -> None:
        self.item.setImage(self._arrays[index], autoLevels=False, levels=self._levels)
        self.widget.viewport().repaint()


def levels(center: float, width: float, description: Any) -> tuple[float, float]:
    """A window as the stored values drawn black and white (PS3.3 C.11.2.1.2.1)."""
    ends = (center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)
    low, high = ((end - description.rescale_intercept) / description.rescale_slope for end in ends)
    return (high, low) if description.photometric_interpretation == "MONOCHROME1" else (low, high)


def radiographs() -> list[Any]:
    """A radiograph of 1955 x 1841 pixels and its mirror images."""
    from medviewer.imaging.decode import read_frame
    from medviewer.imaging.scan import scan
    from tests import samples

    collection = scan([samples.package_file("RG1_UNCR.dcm")])
    frame = read_frame(collection.patients[0].studies[0].series[0].stacks[0].images[0])
    flips: tuple[Callable[[np.ndarray], np.ndarray], ...] = (np.asarray, np.fliplr, np.flipud, np.rot90)
    return [replace(frame, stored=np.ascontiguousarray(flip(frame.stored))) for flip in flips[:3]]


def slices() -> list[Any]:
    """Made slices of a disc with lumps, in noise, 512 x 512 int16."""
    from medviewer.domain.frame import Frame
    from tests.gui import panel_states

    chance = np.random.default_rng(0)
    rows, columns = np.mgrid[:512, :512]
    disc = (rows - 256) ** 2 + (columns - 256) ** 2 < 200**2
    body = disc * (700 + 300 * np.sin(rows / 17) * np.cos(columns / 23)) - 1000
    description = replace(panel_states.image("made", "CT").description, rows=512, columns=512, is_signed=True)
    return [Frame((body + chance.normal(0, 20 + n, body.shape)).astype(np.int16), description) for n in range(N_SLICES)]


def compare_both(
    name: str,
    frames: list[Any],
    windows: list[tuple[float, float]],
    rounds: int,
    *,
    smooth: bool = True,
    words: bool = True,
) -> list[Comparison]:
    """A step of window and level, and a step to another image of the same size."""
    from PySide6.QtWidgets import QApplication

    ours, peer = Ours(frames, smooth), Peer(frames, windows[0], smooth)
    if not words:
        ours.widget._paint_marks = lambda *_: None  # type: ignore[method-assign]  # that and nothing else is left out
    QApplication.processEvents()  # until they are on screen nothing is painted
    check_same(ours, peer, windows[0])
    made = []
    for step, choices in (("window", windows), ("slice", [(n,) for n in range(len(frames))])):
        turns = {who: itertools.cycle(choices) for who in ("ours", "peer")}
        what = "window/level step" if step == "window" else "step to another image"
        made.append(
            compare(
                f"{name}, {what}, drawn {SIDE_PX} px wide",
                lambda turns=turns, step=step: getattr(ours, step)(*next(turns["ours"])),
                ("pyqtgraph ImageItem", lambda turns=turns, step=step: getattr(peer, step)(*next(turns["peer"]))),
                rounds=rounds,
                warmup=5,
            )
        )
    ours.widget.close()
    peer.widget.close()
    return made


def check_same(ours: Ours, peer: Peer, window: tuple[float, float]) -> None:
    """Both show the same image: their means over blocks of 30 x 30 pixels in the middle, without words, agree."""
    ours.window(*window)
    peer.window(*window)
    half = SIDE_PX // 2
    blocks = []
    for widget in (ours.widget, peer.widget):
        grey = widget.grab().toImage().convertToFormat(_grey_format())
        raw = np.frombuffer(grey.constBits(), np.uint8).reshape(grey.height(), grey.bytesPerLine())
        middle = raw[half - 240 : half + 240, half - 240 : half + 240].astype(float)
        blocks.append(middle.reshape(16, 30, 16, 30).mean(axis=(1, 3)))
        if not is_painted(widget):
            raise SystemExit("a widget did not paint itself")
    difference = float(np.abs(blocks[0] - blocks[1]).mean())
    if difference > 3 or blocks[0].std() < 5:
        raise SystemExit(f"they do not show the same: {difference:.1f} grey levels apart")


def is_painted(widget: Any) -> bool:
    """Whether ``repaint`` draws: a widget that is not exposed would be timed doing nothing."""
    from PySide6.QtCore import QEvent, QObject

    seen = []

    class Watch(QObject):
        def eventFilter(self, _: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
            seen.append(event.type() == QEvent.Type.Paint)
            return False

    watch, painted = Watch(), getattr(widget, "viewport", lambda: widget)()
    painted.installEventFilter(watch)
    painted.repaint()
    painted.removeEventFilter(watch)
    return any(seen)


def _grey_format() -> Any:
    from PySide6.QtGui import QImage

    return QImage.Format.Format_Grayscale8


def run(rounds: int = 60) -> list[Comparison]:
    """A large radiograph drawn smaller, and a slice drawn larger."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtWidgets import QApplication

    from medviewer.gui.theme import apply_theme

    qt = QApplication.instance() or QApplication(sys.argv[:1])
    apply_theme(qt)
    chest = radiographs()
    low, high = np.percentile(chest[0].stored, (1, 99))
    center, width = float(low + high) / 2, float(high - low)
    chest_windows = [(center + 3 * n, width + 5 * n) for n in range(20)]
    slice_windows = [(-500.0 + 3 * n, 1400.0 + 5 * n) for n in range(20)]
    return [
        *compare_both("1955 x 1841 radiograph", chest, chest_windows, rounds),
        *compare_both("512 x 512 slice", slices(), slice_windows, rounds),
        *compare_both("512 x 512 slice, no words over it", slices(), slice_windows, rounds, words=False),
        *compare_both("512 x 512 slice, not interpolated", slices(), slice_windows, rounds, smooth=False),
    ]


if __name__ == "__main__":
    for row in run(int(sys.argv[1]) if len(sys.argv) > 1 else 60):
        both = f"{row.ours_ms:.2f} ms, {row.peer}: {row.peer_ms:.2f} ms"
        print(f"{row.name}: {both}; ratio {row.ratio:.2f}")

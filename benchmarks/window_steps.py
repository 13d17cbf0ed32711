"""The whole window at work: scrolling and window/level as the reader waits for them, and calls that block it.

Every step is one command and all that follows from it until the window is drawn again. The
peer is the time that a screen of 60 Hz gives (30 Hz for large images). A step of more than 50 ms
is one that a reader feels: how many there were is said in the row's name.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.series_load import make_series
from benchmarks.timing import Comparison

STEPS = 150
_FELT_S = 0.050
N_SLICES = 400
LARGE = 3000


def _write_large(path: Path) -> None:
    from tests.dicom_maker import make_dataset, write_dataset

    pixels = np.random.default_rng(0).integers(0, 4096, (LARGE, LARGE)).astype(np.uint16)
    write_dataset(path, make_dataset(pixels, Modality="DX", PixelSpacing=[0.1, 0.1]))


def _times(step: Callable[[int], None]) -> list[float]:
    from PySide6.QtWidgets import QApplication

    taken = []
    for number in range(STEPS + 5):
        start = time.perf_counter()
        step(number)
        QApplication.processEvents()
        if number >= 5:
            taken.append(time.perf_counter() - start)
    return taken


def _row(name: str, taken: list[float], allowed_ms: float) -> Comparison:
    felt = sum(one > _FELT_S for one in taken)
    middle = 1e3 * statistics.median(taken)
    return Comparison(
        name=f"whole window, {name}; of {len(taken)} steps over 50 ms: {felt}",
        peer=f"one frame at {1e3 / allowed_ms:.0f} Hz",
        ours_ms=middle,
        peer_ms=allowed_ms,
        ratio=middle / allowed_ms,
        rounds=len(taken),
        target="<= 1.0",
    )


def run() -> list[Comparison]:
    """Open a series, then a large image, and step."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from medviewer.gui import run as program

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "series").mkdir()
        make_series(folder / "series", N_SLICES)
        _write_large(folder / "large.dcm")
        qt = program._qt_application()
        with program._window(qt, folder / "home") as (app, window):
            window.resize(1440, 900)
            window.show()

            def opened(path: Path) -> None:
                app.run_command("file.open_files", [path])
                program._wait(app, lambda s: s.frame is not None and not s.jobs and not app.background.running, 60)

            def turned(number: int) -> None:
                window_now: Any = window.viewport.window_shown()
                app.run_command("view.window", type(window_now)(1000.0 + number, 1500.0 + 3 * number))

            opened(folder / "series")
            slices = f"{N_SLICES} slices of 512 x 512"
            rows = [
                _row(f"scroll, {slices}", _times(lambda _n: app.run_command("image.next")), 1e3 / 60),
                _row(f"window/level, {slices}", _times(turned), 1e3 / 60),
            ]
            opened(folder / "large.dcm")
            rows.append(_row(f"window/level, {LARGE} x {LARGE}", _times(turned), 1e3 / 30))
    return rows


if __name__ == "__main__":
    for row in run():
        sys.stdout.write(f"{row.name}: {row.ours_ms:.1f} ms ({row.peer}), ratio {row.ratio:.2f}\n")

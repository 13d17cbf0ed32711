"""From process start to the first image on screen: MedViewer against bare PySide6 + pyqtgraph.

The peer is the shortest program that shows the same pixels: pydicom reads them, an
``ImageView`` shows them. It has no panels, no record, no engine, no guards. Run as
``python -m benchmarks.first_image ours FILE`` (or ``peer``) it is the child that is timed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import Comparison


def show_ours(path: Path) -> None:
    """The whole program; ends when the image has been painted."""
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    from medviewer.app.settings import home
    from medviewer.gui import run

    qt = run._qt_application()
    with run._window(qt, home()) as (app, window):
        window.resize(1440, 900)
        window.show()
        app.run_command("file.open_files", [path])
        timer = QTimer()

        def look() -> None:
            if app.state.frame is not None:
                window.grab()
                tell_and_end()

        timer.timeout.connect(look)
        timer.start(1)
        qt.exec()
    QApplication.quit()


def show_peer(path: Path) -> None:
    """The shortest program that shows the same pixels."""
    import pydicom
    import pyqtgraph as pg
    from PySide6.QtWidgets import QApplication

    pg.setConfigOption("imageAxisOrder", "row-major")
    qt = QApplication(sys.argv[:1])
    view = pg.ImageView()
    view.resize(1440, 900)
    view.setImage(pydicom.dcmread(path).pixel_array)
    view.show()
    qt.processEvents()
    view.grab()
    tell_and_end()


def tell_and_end() -> None:
    """Say the time of day and end at once: taking down is not what is timed."""
    sys.stdout.write(f"{time.time()}\n")
    sys.stdout.flush()
    os._exit(0)


def seconds_to_image(who: str, path: Path, home: Path) -> float:
    """Start the child and return how long its image took, the interpreter's start included."""
    env = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "MEDVIEWER_HOME": str(home)}
    # Compiled once and kept, as on a user's computer, whatever is set where this runs.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPYCACHEPREFIX"] = str(home / "compiled")
    start = time.time()
    child = subprocess.run(
        [sys.executable, "-P", "-m", "benchmarks.first_image", who, str(path)],
        env=env | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return float(child.stdout.split()[-1]) - start


def run(rounds: int = 7) -> list[Comparison]:
    """Take turns; the file is in the page cache for both."""
    from tests import samples

    path = samples.package_file("RG1_UNCR.dcm")
    ours, peer = [], []
    with tempfile.TemporaryDirectory() as name:
        for turn in range(rounds + 1):
            a, b = (seconds_to_image(who, path, Path(name)) for who in ("ours", "peer"))
            if turn:
                ours.append(a)
                peer.append(b)
    return [
        Comparison(
            name="process start to first image, 1955 x 1841 radiograph",
            peer="bare PySide6 + pyqtgraph ImageView",
            ours_ms=1e3 * statistics.median(ours),
            peer_ms=1e3 * statistics.median(peer),
            ratio=statistics.median(a / b for a, b in zip(ours, peer, strict=True)),
            rounds=rounds,
        )
    ]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        {"ours": show_ours, "peer": show_peer}[sys.argv[1]](Path(sys.argv[2]))
    for row in run():
        sys.stdout.write(f"{row.name} vs {row.peer}: {row.ratio:.2f} ({row.ours_ms:.0f} ms / {row.peer_ms:.0f} ms)\n")

"""How long single calls hold the window: the longest of each thing that readers do beside scrolling.

Given is the time that the GUI thread itself worked (its CPU time): what other programs take is not ours. A call is a
command with all that follows at once, or one round of Qt's events while its work comes in.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FELT_MS = 50.0
_ROUNDS = 3


def _write(folder: Path) -> None:
    from tests.document_maker import write_report
    from tests.phantoms import write_chest
    from tests.radiographs import write_radiograph

    write_chest(folder / "chest", n_slices=100, size=512, spacing_mm=0.7, slice_mm=2.5)
    for name in ("report", "breasts"):
        (folder / name).mkdir()
    write_report(folder / "report" / "report.dcm")
    for date in ("20200101", "20210101"):
        for view in ("MLO", "CC"):
            for side in "RL":
                changes = {"StudyDate": date, "StudyInstanceUID": f"1.2.{date}", "Modality": "MG"}
                path = folder / "breasts" / f"{date}{view}{side}.dcm"
                write_radiograph(path, ViewPosition=view, ImageLaterality=side, **changes)


class Watch:
    """Runs commands in a window and keeps the longest call of each deed."""

    def __init__(self, app: Any, window: Any) -> None:
        self._app, self._window = app, window
        self.longest: dict[str, list[float]] = {}

    def do(self, name: str, deed: Callable[[], object]) -> None:
        """Do something and wait until all that follows has come."""
        calls = [self._timed(deed)]
        calls += self._until_settled()
        self.longest.setdefault(name, []).append(max(calls))

    def command(self, command_id: str, argument: Any = None, *, name: str = "") -> None:
        """Run a command; without a name it is not watched."""
        if name:
            self.do(name, lambda: self._app.run_command(command_id, argument))
        else:
            self._app.run_command(command_id, argument)
            for _ in self._until_settled():
                pass

    def _until_settled(self) -> Iterator[float]:
        from PySide6.QtWidgets import QApplication

        app = self._app
        quiet = 0
        while quiet < 20:
            yield self._timed(QApplication.processEvents)
            busy = app.jobs.running or app.writes.running or app.background.running
            quiet = 0 if busy else quiet + 1
            time.sleep(0.001)

    @staticmethod
    def _timed(deed: Callable[[], object]) -> float:
        start = time.thread_time()
        deed()
        return 1e3 * (time.thread_time() - start)


def _steps(watch: Watch, window: Any, folder: Path) -> None:
    from medviewer.app.printing import PrintWish

    watch.command("file.open_files", [folder / "chest"])
    watch.command("image.show", 50)
    watch.command("layout.use", (4, 4), name="4 x 4 viewports")
    watch.command("layout.use", (1, 1))
    watch.command("layout.planes", name="other planes")
    for _ in range(5):
        watch.command("layout.turn", 7.0, name="tilt")
    watch.do("draw a page to print", lambda: window.draw_sheet(PrintWish()))
    watch.command("layout.planes")
    watch.command("volume.show", name="open 3D")
    watch.command("volume.show")
    watch.command("file.open_files", [folder / "breasts"], name="open and hang 8 mammograms")
    watch.command("layout.use", (1, 1))
    watch.command("layout.hang", 1, name="hang 8 mammograms")
    watch.command("file.open_files", [folder / "report"], name="first document")


def main() -> None:
    """Print the longest call of each deed."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from medviewer.gui import run as program

    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _write(folder)
            with program._window(program._qt_application(), folder / "home") as (app, window):
                window.resize(1440, 900)
                window.show()
                watch = Watch(app, window)
                _steps(watch, window, folder)
        for deed, taken in watch.longest.items():
            felt = "  felt" if max(taken) > FELT_MS else ""
            sys.stdout.write(f"{deed}: {max(taken):.0f} ms{felt}\n")
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()

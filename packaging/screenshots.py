"""Draw the pictures of the documentation again: ``make screenshots``.

Only data that may be shown: the sample radiograph with an invented record, and a phantom.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(folder: Path) -> None:
    """Write ``window.png`` and ``planes.png`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["MEDVIEWER_HOME"] = home
        from medviewer.gui.run import grab_window  # noqa: PLC0415 - after the home is chosen

        grab_window(folder / "window.png", size=(1920, 1080))
        print(folder / "window.png")
        draw_planes(folder / "planes.png", Path(home))
        print(folder / "planes.png")


def draw_planes(out: Path, home: Path) -> None:
    """The phantom of a chest in three planes, with a place pointed at."""
    sys.path.insert(0, str(ROOT))
    from PySide6.QtWidgets import QApplication  # noqa: PLC0415 - as above

    from medviewer.gui import run  # noqa: PLC0415
    from tests.phantoms import write_chest  # noqa: PLC0415

    write_chest(home / "phantom", n_slices=100, size=256, spacing_mm=1.25, slice_mm=2.5)
    with run._window(run._qt_application(), home / "planes") as (app, window):

        def settle() -> None:
            run._wait(app, lambda state: state.frame is not None and not app.jobs.running, 60)
            run._wait(app, lambda _state: not app.writes.running and not app.background.running, 60)
            for _ in range(5):
                QApplication.processEvents()

        window.resize(1440, 900)
        window.show()
        steps = (
            ("file.open_files", [home / "phantom"]), ("image.show", 57), ("layout.planes", None),
            ("layout.point", (55.0, 0.0, 20.0)),
        )  # fmt: skip
        for command, argument in steps:
            app.run_command(command, argument)
            settle()
        window.grab().save(str(out), "PNG")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

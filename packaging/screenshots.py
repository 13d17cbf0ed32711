"""Draw the pictures of the documentation again: ``make screenshots``.

Only data that may be shown: the sample radiograph with an invented record, and phantoms.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


Steps = Sequence[tuple[str, Any]]


def main(folder: Path) -> None:
    """Write the pictures into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["MEDVIEWER_HOME"] = name
        from medviewer.gui.run import grab_window  # noqa: PLC0415 - after the home is chosen

        grab_window(folder / "window.png", size=(1920, 1080))
        print(folder / "window.png")
        write_phantoms(home)
        point = ("layout.point", (55.0, 0.0, 20.0))
        planes: Steps = (("image.show", 57), ("layout.planes", None), point, ("layout.turn", 20.0))
        draw(folder / "planes.png", home, planes)
        draw(folder / "layers.png", home, (("image.show", 57), ("layout.planes", None), point, ("layer.next", None)))
        seen_from_the_left = (("volume.show", None), ("volume.preset", 3), ("volume.turn", (-35.0, 12.0)))
        draw(folder / "volume.png", home, seen_from_the_left)


def write_phantoms(home: Path) -> None:
    """A chest, and a PET of the same patient with one place that takes up more than the rest."""
    import numpy as np  # noqa: PLC0415 - as above
    import pydicom  # noqa: PLC0415

    sys.path.insert(0, str(ROOT))
    from tests.layer_objects import write_pet  # noqa: PLC0415
    from tests.phantoms import write_chest  # noqa: PLC0415

    write_chest(home / "phantom", n_slices=100, size=256, spacing_mm=1.25, slice_mm=2.5)
    chest = pydicom.dcmread(next((home / "phantom").iterdir()))
    same = {
        name: chest.get(name)
        for name in (
            "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
            "FrameOfReferenceUID",
        )
    }  # fmt: skip

    def activity(points: Any) -> Any:
        away = np.linalg.norm(points - np.array([55.0, 0.0, 20.0]), axis=-1)
        return 41000 * np.exp(-(away**2) / (2 * 7.0**2))

    write_pet(home / "phantom", activity, slices=60, **same)


def draw(out: Path, home: Path, steps: Steps) -> None:
    """Open the phantoms, do what the steps say, and save the window."""
    from PySide6.QtWidgets import QApplication  # noqa: PLC0415 - as above

    from medviewer.gui import run  # noqa: PLC0415

    with run._window(run._qt_application(), home / out.stem) as (app, window):

        def settle() -> None:
            run._wait(app, lambda state: state.frame is not None and not app.jobs.running, 120)
            run._wait(app, lambda _state: not app.writes.running and not app.background.running, 120)
            for _ in range(5):
                QApplication.processEvents()

        window.resize(1440, 900)
        window.show()
        app.run_command("file.open_files", [home / "phantom"])
        settle()
        for command, argument in steps:
            app.run_command(command, argument)
            settle()
        window.grab().save(str(out), "PNG")
        print(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Draw the pictures of the documentation again: ``make screenshots``.

Only data that may be shown: the sample radiograph and an invented record.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def main(folder: Path) -> None:
    """Write ``window.png`` into ``folder``."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["MEDVIEWER_HOME"] = home
        from medviewer.gui.run import grab_window  # noqa: PLC0415 - after the home is chosen

        folder.mkdir(parents=True, exist_ok=True)
        grab_window(folder / "window.png", size=(1920, 1080))
        print(f"{folder / 'window.png'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

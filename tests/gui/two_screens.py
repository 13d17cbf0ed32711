"""A program that opens both image windows on a desktop of two screens and says where they stand.

Qt reads which screens there are once, so that this runs in a process of its own: ``python -m tests.gui.two_screens``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from PySide6.QtCore import QRect
from PySide6.QtWidgets import QApplication, QWidget

from medviewer.app.start import running_application
from medviewer.gui import run, screens
from medviewer.gui.post import GuiPost
from medviewer.gui.window import MainWindow
from medviewer.inference.catalogue import Catalogue
from tests.fakes import FakeEngine

LEFT, RIGHT = (0, 0, 1280, 800), (1280, 0, 1600, 1200)


def config(*places: tuple[int, int, int, int]) -> str:
    """What Qt's off-screen platform reads of the screens that it plays."""
    names = ("x", "y", "width", "height")
    dots = {"logicalDpi": 96, "logicalBaseDpi": 96, "dpr": 1}
    found = [{"name": f"screen{x}", **dict(zip(names, (x, y, w, h), strict=True)), **dots} for x, y, w, h in places]
    return json.dumps({"synchronousWindowSystemEvents": True, "screens": found})


def place(widget: QWidget) -> list[int]:
    """Where a window stands, for JSON."""
    g: QRect = widget.geometry()
    return [g.x(), g.y(), g.width(), g.height()]


def session(home: Path, deed: str) -> dict[str, Any]:
    """One start of the program with a deed in it; says where the windows stood at its end."""
    post = GuiPost()
    engine = FakeEngine(Catalogue([]))
    with running_application(home, post, engine) as app:
        window = MainWindow(app)
        window.show()
        window.open_as_before()
        if deed.startswith("open"):
            app.run_command("layout.second_window")
        if deed == "open and divide":
            app.session.update(active=16, second=(2, 3))
            window.second.showNormal()
            window.second.setGeometry(1500, 100, 900, 600)
        if deed == "open and move":
            app.run_command("layout.next_screen")
        QApplication.processEvents()
        facts = {
            "first": place(window),
            "second": place(window.second),
            "is_open": window.second.isVisible(),
            "shape": app.state.second,
            "screen": window.second.screen().name(),
            "first_screen": window.screen().name(),
            "is_seen": screens.is_seen(window.second.geometry()),
        }
        window.close()
        post.close()
        window.deleteLater()
        QApplication.sendPostedEvents(None, 0)
        facts["left"] = [type(one).__name__ for one in QApplication.topLevelWidgets() if one.isVisible()]
    return facts


if __name__ == "__main__":
    run._qt_application()
    told = [session(Path(sys.argv[1]), deed) for deed in sys.argv[2:]]
    sys.stdout.write(json.dumps(told))

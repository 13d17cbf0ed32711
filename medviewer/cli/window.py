"""``medviewer [PATH ...]``: the window, with those studies open."""

from __future__ import annotations

import argparse
import gc


def open_window(arguments: argparse.Namespace) -> int:
    """Show the window until the reader closes it."""
    gc.disable()  # while the program is put together nothing can go, and looking for it takes a twentieth of the time
    try:
        # Before Qt: PySide6 reads the source text of whatever is imported after it.
        import medviewer.app.start  # noqa: F401, PLC0415 - and Qt only where a window is wanted
        from medviewer.gui.run import run_window  # noqa: PLC0415

        return run_window(arguments.paths)  # which turns it on again once the first image is drawn
    finally:
        gc.enable()

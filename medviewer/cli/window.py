"""``medviewer [PATH ...]``: the window, with those studies open."""

from __future__ import annotations

import argparse


def open_window(arguments: argparse.Namespace) -> int:
    """Show the window until the reader closes it."""
    from medviewer.gui.run import run_window  # noqa: PLC0415 - Qt, where a window is wanted

    return run_window(arguments.paths)

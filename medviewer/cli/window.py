"""``medviewer [PATH ...]``: the window, with those studies open."""

from __future__ import annotations

import argparse

from medviewer.gui.run import run_window


def open_window(arguments: argparse.Namespace) -> int:
    """Show the window until the reader closes it."""
    return run_window(arguments.paths)

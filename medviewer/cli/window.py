"""``medviewer [PATH ...]``: the window, with those studies open."""

from __future__ import annotations

import argparse

from medviewer.domain.errors import UsageError
from medviewer.gui.run import run_window


def open_window(arguments: argparse.Namespace) -> int:
    """Show the window until the reader closes it."""
    if arguments.models_folder is not None:
        raise UsageError("The window uses the installed models; --models goes with analyze, models and evaluate.")
    return run_window(arguments.paths)

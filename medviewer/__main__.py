"""The program: with a command it works without a window, otherwise it shows the window."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run MedViewer.

    ``medviewer [PATH ...]`` opens the window with those studies; everything else is a
    command of :mod:`medviewer.cli`.

    Returns:
        The exit code.
    """
    multiprocessing.freeze_support()  # first: a worker of a packaged program starts here too
    arguments = list(sys.argv[1:] if argv is None else argv)
    if _is_for_window(arguments):
        from medviewer.gui.run import run_window  # noqa: PLC0415 - a command must not wait for Qt

        return run_window([Path(path) for path in arguments])
    from medviewer import cli  # noqa: PLC0415 - a worker needs none of it

    return cli.main(arguments)


def _is_for_window(arguments: Sequence[str]) -> bool:
    """No arguments, or paths only: whatever exists on the disk, or could not be a command."""
    if not arguments:
        return True
    if arguments[0].startswith("-"):
        return False
    from medviewer.cli import COMMANDS  # noqa: PLC0415 - as above

    return arguments[0] not in COMMANDS


if __name__ == "__main__":
    sys.exit(main())

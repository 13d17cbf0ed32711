"""The program, started: ``medviewer`` on the command line, ``python -m medviewer``, or the packaged one."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run MedViewer and return its exit code; see :mod:`medviewer.cli`."""
    multiprocessing.freeze_support()  # first: a worker of a packaged program starts here too
    if not sys.warnoptions:
        # Libraries warn with the values they stumbled over; those of a patient's file are not for the terminal.
        warnings.simplefilter("ignore")
    from medviewer import cli  # noqa: PLC0415 - a worker needs none of it

    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())

"""The program, started: ``medviewer`` on the command line, ``python -m medviewer``, or the packaged one."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run MedViewer and return its exit code; see :mod:`medviewer.cli`."""
    multiprocessing.freeze_support()  # first: a worker of a packaged program starts here too
    from medviewer import cli  # noqa: PLC0415 - a worker needs none of it

    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())

"""The program: ``medviewer [PATH ...]`` opens the window, ``medviewer COMMAND ...`` works without one."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run MedViewer and give its exit code.

    Worker processes start with this module too, and need nothing of what a command needs.
    """
    multiprocessing.freeze_support()  # first: in a packaged program a worker begins, and ends, here
    from medviewer import cli  # noqa: PLC0415 - see above

    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())

"""Start of the packaged program: the same as ``python -m medviewer``."""

import sys

from medviewer.__main__ import main

if __name__ == "__main__":
    sys.exit(main())

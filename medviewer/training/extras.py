"""Which extra of MedViewer brings a package that training uses, and whether it is there: nothing is imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from medviewer.domain.errors import RuntimeMissingError

_EXTRAS = {"rdkit": "chem", "sksurv": "survival"}


def install(package: str) -> str:
    """Return the command that installs a package, named as it is imported, with what belongs to it."""
    return f"pip install 'medviewer[{_EXTRAS.get(package.partition('.')[0], 'torch,cpu')}]'"


def check_installed(packages: Iterable[str]) -> None:
    """Refuse if one of some packages is not installed.

    Raises:
        RuntimeMissingError: names the first that is not, and the command that installs it.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise RuntimeMissingError(f"Training needs the package {package}: {install(package)}.")

"""Where icons, fonts, samples and models lie: found the same way wherever MedViewer runs."""

from __future__ import annotations

import sys
from pathlib import Path


def _root() -> Path:
    """The folder that holds ``resources`` and ``models``.

    A frozen program carries them beside its modules, a wheel inside the package,
    a source tree and an editable install one level above it.
    """
    frozen = getattr(sys, "_MEIPASS", None)
    if frozen is not None:
        return Path(frozen)
    package = Path(__file__).resolve().parent
    shipped = package / "_data"
    return shipped if shipped.is_dir() else package.parent


def resource(name: str) -> Path:
    """The path of a bundled resource, for example ``resource("fonts/Inter.ttf")``.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    path = _root() / "resources" / name
    if not path.exists():
        msg = f"MedViewer's installation is incomplete: resources/{name} is missing; install it again."
        raise FileNotFoundError(msg)
    return path


def models_dir() -> Path:
    """The folder of the bundled models; one sub-folder a model."""
    return _root() / "models"

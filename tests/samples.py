"""Files that tests open: what packages ship, and a larger corpus where there is one."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def package_file(name: str) -> Path:
    """A file of the package pydicom-data, for example ``RG1_UNCR.dcm``."""
    spec = importlib.util.find_spec("data_store")
    locations = list(spec.submodule_search_locations or ()) if spec else []
    for folder in locations:
        path = Path(folder) / "data" / name
        if path.is_file():
            return path
    pytest.fail(f"{name} is missing: install the package pydicom-data")


def corpus() -> Path | None:
    """The corpus of DICOM files, or None: ``MEDVIEWER_CORPUS`` or ``../shared/dicom``."""
    given = os.environ.get("MEDVIEWER_CORPUS")
    path = Path(given) if given else ROOT.parent / "shared" / "dicom"
    return path if path.is_dir() else None


def beside_corpus(name: str) -> Path | None:
    """Another folder beside the corpus ("faults", "data"), or None."""
    folder = corpus()
    path = folder.parent / name if folder else None
    return path if path is not None and path.is_dir() else None

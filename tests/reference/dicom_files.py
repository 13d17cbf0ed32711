"""The DICOM files that reference tests compare on: what packages ship, and the corpus where there is one."""

from __future__ import annotations

import functools
from pathlib import Path

import pydicom.data

from tests import samples


@functools.cache
def package_files() -> tuple[Path, ...]:
    """pydicom's own test files and the radiographs and others of the package pydicom-data."""
    own = Path(pydicom.data.__file__).parent / "test_files"
    more = samples.package_file("RG1_UNCR.dcm").parent
    # The sixteen-fold repetitions of one CT and MR study add nothing here.
    return tuple(sorted(p for p in [*own.glob("*.dcm"), *more.glob("*.dcm")] if p.is_file()))


@functools.cache
def corpus_files() -> tuple[Path, ...]:
    folder = samples.corpus()
    if folder is None:
        return ()
    found = [p for p in folder.rglob("*") if p.is_file() and p.suffix in ("", ".dcm")]
    # Of long series of one kind a few slices say as much as all.
    kept: dict[Path, list[Path]] = {}
    for path in sorted(found):
        kept.setdefault(path.parent, []).append(path)
    return tuple(p for paths in kept.values() for p in (paths if len(paths) < 80 else paths[:3]))

"""Molecules as the rows of a data report: how many are active in what, and what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medviewer.inference.inputs.molecule import read_molecule
from medviewer.training.data_report import Column, DataTable
from medviewer.training.molecules import SPLITS, Molecules

CLASSES = ("active in none", "active in some")
_WORDS = {1.0: "active", 0.0: "inactive"}


def molecules_table(path: Path, found: Molecules, where: npt.NDArray[np.str_], assays: Sequence[str]) -> DataTable:
    """Return molecules as rows; their skeletons stand in the place of patients, since they are what is split."""
    columns: dict[str, Column] = {
        assay: [_WORDS.get(float(one), "") for one in said] for assay, said in zip(assays, found.truth.T, strict=True)
    }
    atoms = [read_molecule(smiles).GetNumAtoms() for smiles in found.smiles]
    columns["atoms"] = np.array(atoms, np.float64)
    columns["molecules"] = np.array([smiles.count(".") + 1 for smiles in found.smiles], np.float64)
    return DataTable(
        path=path,
        names=found.names,
        labels=[CLASSES[int((said == 1).any())] for said in found.truth],
        classes=CLASSES,
        patients=[scaffold or "no ring" for scaffold in found.scaffolds],
        splits=where.tolist(),
        expected_splits=SPLITS,
        columns=columns,
        unusable=found.unusable,
        digest=found.digest,
        unit="skeletons",
    )

"""Made-up results of assays for small molecules: what is active has a nitro group, and nobody measured it."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from medviewer.domain.case import Case
from medviewer.training.molecules import ASSAYS

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
RINGS = (
    "c1ccc({})cc1", "c1ccc2cc({})ccc2c1", "C1CCC({})CC1", "c1ccc({})nc1", "c1cc({})sc1", "C1CCN({})C1", "C1CC({})C1",
    "c1cnc({})nc1", "O1CCC({})CC1", "c1ccc2[nH]c({})cc2c1", "C1CCCC({})CC1", "c1cc({})oc1",
)  # fmt: skip
CHAINS = ("C", "CC", "CCC", "C(C)C", "CO", "CCO", "OC", "CCN", "CCCl", "CCF")
OTHER_RINGS = ("c1ccc(-c2ccc({})cc2)cc1", "c1ccc2c(c1)Cc1cc({})ccc1-2")
ACTIVE, NOT_ACTIVE = "[N+](=O)[O-]", "C"


def make_molecules(rings: Sequence[str] = RINGS) -> list[tuple[str, bool]]:
    """20 molecules of each skeleton, and whether each is active: every other one."""
    ends = ((NOT_ACTIVE, False), (ACTIVE, True))
    return [
        (ring.format(f"C({chain}){end}"), is_active)
        for ring, chain, (end, is_active) in itertools.product(rings, CHAINS, ends)
    ]


def rows_of(molecules: Sequence[tuple[str, bool]]) -> list[dict[str, str]]:
    """Rows of a table: all assays agree, but for every ninth result, which is missing."""
    rows = []
    for number, (smiles, is_active) in enumerate(molecules):
        results = {
            assay: "" if (number + column) % 9 == 0 else f"{float(is_active)}" for column, assay in enumerate(ASSAYS)
        }
        rows.append({"": str(number), **results, "mol_id": f"M{number}", "smiles": smiles})
    return rows


def write_table(path: Path, rows: Sequence[Mapping[str, str]], without: Sequence[str] = ()) -> Path:
    """Write them as the published table has them; some columns may be left out."""
    names = [name for name in ("", *ASSAYS, "mol_id", "smiles") if name not in without]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def molecule_case() -> Case:
    """Aspirin, of which an answer can be had."""
    return Case(smiles=(ASPIRIN,))

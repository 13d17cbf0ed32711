"""Molecules with the results of assays, as a table in CSV: read, checked, and split by their skeletons.

One row a molecule: ``smiles``, a name (``mol_id``) if there is one, and a column for each assay with 1
(active), 0 (inactive) or nothing (not tested, or not clear). Tox21 as MoleculeNet publishes it is such a table.

Molecules of one skeleton are much alike. A model that has seen one of a skeleton knows the others, so whole
skeletons (Bemis and Murcko, J. Med. Chem. 39, 1996) are held out: :func:`scaffold_split` as MoleculeNet does it
(Wu et al., Chem. Sci. 9, 2018), :func:`scaffold_folds` inside of a part.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError
from medviewer.domain.frozen import dataclass
from medviewer.inference.inputs.molecule import MOST_CHARACTERS, read_molecule

FILE = "tox21.csv"
ASSAYS = (
    "NR-AR", "NR-AR-LBD", "NR-AhR", "NR-Aromatase", "NR-ER", "NR-ER-LBD", "NR-PPAR-gamma", "SR-ARE", "SR-ATAD5",
    "SR-HSE", "SR-MMP", "SR-p53",
)  # fmt: skip
"""The columns of Tox21: seven assays of nuclear receptors, five of stress."""
SMILES, NAME = "smiles", "mol_id"
SPLITS = ("train", "valid", "test")
_SHARES = (0.8, 0.1)
_RESULTS = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0} | dict.fromkeys(("", "nan", "na", "n/a", "null"), np.nan)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Molecules:
    """Molecules that can be read, each once.

    Attributes:
        names: of the rows; the row's number where it has none.
        smiles: as they are written.
        scaffolds: the skeleton of each, as SMILES; empty where it has no ring.
        truth: ``(n, assays)``: 1 active, 0 not, NaN not known.
        unusable: ``(name, reason)`` of rows that are not used as they are.
        digest: of the file.
    """

    names: Sequence[str]
    smiles: Sequence[str]
    scaffolds: Sequence[str]
    truth: Floats
    unusable: Sequence[tuple[str, str]]
    digest: str

    def where(self, chosen: npt.NDArray[np.bool_]) -> Molecules:
        """Return some of them."""
        names, smiles, scaffolds = (
            [one for one, is_chosen in zip(column, chosen, strict=True) if is_chosen]
            for column in (self.names, self.smiles, self.scaffolds)
        )
        return replace(self, names=names, smiles=smiles, scaffolds=scaffolds, truth=self.truth[chosen])


def find_table(path: Path) -> Path:
    """Return the table itself: ``path``, or :data:`FILE` in it.

    Raises:
        InputError: there is none.
    """
    table = path / FILE if path.is_dir() else path
    if not table.is_file():
        raise InputError(f"There is no table of molecules at {table}; give a CSV file, or a folder with {FILE}.")
    return table


def read_molecules(path: Path, assays: Sequence[str], most_atoms: int) -> Molecules:
    """Read a table of molecules.

    The same molecule in two rows, however it is written, becomes one: it would else be learned from and judged
    on. Where the rows contradict each other nothing is known of that assay.

    Args:
        path: the CSV file in UTF-8, or the folder with :data:`FILE`.
        assays: the columns that are wanted.
        most_atoms: of a molecule; larger ones cannot be used.

    Raises:
        InputError: no such file, no CSV, a column is missing, or no row can be used.
        RuntimeMissingError: RDKit is not installed.
    """
    table = find_table(path)
    content = table.read_bytes()
    rows = _rows(table, content, assays)
    unusable: list[tuple[str, str]] = []
    first: dict[str, int] = {}
    names: list[str] = []
    smiles: list[str] = []
    scaffolds: list[str] = []
    results: list[list[Floats]] = []  # of each molecule, a row each
    for number, row in enumerate(rows, start=2):
        name = (row.get(NAME) or "").strip() or f"row {number}"
        said = np.array([_RESULTS.get((row[assay] or "").strip().lower(), np.inf) for assay in assays])
        molecule = read_molecule((row[SMILES] or "").strip())
        reason = _problem(row, said, molecule, assays)
        if not reason and (n := molecule.GetNumAtoms()) > most_atoms:
            reason = f"it has {n} atoms; the model takes up to {most_atoms}"
        if reason:
            unusable.append((name, reason))
            continue
        same, scaffold = _identity(molecule)
        if (index := first.setdefault(same, len(names))) < len(names):
            results[index].append(said)
            contradicts = ", ".join(np.array(assays)[_contradicted(results[index])])
            rest = f", and they contradict each other in {contradicts}, which is left out" if contradicts else ""
            unusable.append((name, f"it is the same molecule as {names[index]}{rest}"))
            continue
        names.append(name)
        smiles.append((row[SMILES] or "").strip())
        scaffolds.append(scaffold)
        results.append([said])
    if not names:
        raise InputError(f"No row of {table} can be used; the first: {unusable[0][1] if unusable else 'it has none'}.")
    truth = np.array([_agreed(rows) for rows in results])
    return Molecules(names, smiles, scaffolds, truth, unusable, hashlib.sha256(content).hexdigest())


def one_sided(truth: Floats, assays: Sequence[str]) -> list[str]:
    """Return the assays of which there are not both results."""
    return [assay for assay, said in zip(assays, truth.T, strict=True) if not {0.0, 1.0} <= set(said.tolist())]


def scaffold_split(scaffolds: Sequence[str]) -> npt.NDArray[np.str_]:
    """Return for each molecule one of :data:`SPLITS`, by MoleculeNet's rule.

    Skeletons from the most common to the rarest fill the training part up to 80%, then the validation part up
    to 90%; the rest is the test part. So what is judged on is rare, and never of a skeleton that was learned from.
    """
    sets: dict[str, list[int]] = defaultdict(list)
    for index, scaffold in enumerate(scaffolds):
        sets[scaffold].append(index)
    ordered = sorted(sets.values(), key=lambda members: (len(members), members[0]), reverse=True)
    bounds = [_SHARES[0] * len(scaffolds), sum(_SHARES) * len(scaffolds)]
    found, filled = np.full(len(scaffolds), SPLITS[2], dtype="<U5"), [0, 0]
    for members in ordered:
        if filled[0] + len(members) <= bounds[0]:
            part = 0
        elif sum(filled) + len(members) <= bounds[1]:
            part = 1
        else:
            continue
        found[members] = SPLITS[part]
        filled[part] += len(members)
    return found


def scaffold_folds(scaffolds: Sequence[str], n_folds: int) -> npt.NDArray[np.int64]:
    """Return a fold for each molecule: skeletons stay whole, and each goes to the fold that is then the smallest."""
    sets: dict[str, list[int]] = defaultdict(list)
    for index, scaffold in enumerate(scaffolds):
        sets[scaffold].append(index)
    found, sizes = np.zeros(len(scaffolds), np.int64), [0] * n_folds
    for members in sorted(sets.values(), key=lambda members: (-len(members), members[0])):
        fold = sizes.index(min(sizes))
        found[members] = fold
        sizes[fold] += len(members)
    return found


def unlearnable(learned: Molecules, folds: npt.NDArray[np.int64], assays: Sequence[str]) -> str:
    """Say why folds of what is learned from teach nothing: an assay has one result only without one of them.

    Args:
        learned: what is learned from.
        folds: ``(n,)``, of each.
        assays: the columns of the truth.
    """
    for index in np.unique(folds):
        if wrong := one_sided(learned.truth[folds != index], assays):
            return f"Of {wrong[0]} all but one fold have one result only; nothing can be learned from that."
    return ""


def _rows(table: Path, content: bytes, assays: Sequence[str]) -> list[dict[str, str | None]]:
    try:
        reader = csv.DictReader(content.decode("utf-8-sig").splitlines(), strict=True)
        rows: list[dict[str, str | None]] = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The table {table} is no CSV file in UTF-8; save it again as one.") from error
    if absent := [name for name in (SMILES, *assays) if name not in (reader.fieldnames or ())]:
        raise InputError(f"The table {table} lacks the column {', '.join(absent)}; name its columns in the first row.")
    return rows


def _problem(row: dict[str, str | None], said: Floats, molecule: Any, assays: Sequence[str]) -> str:
    """Return why a row cannot be used."""
    smiles = (row[SMILES] or "").strip()
    if not smiles:
        return "it has no SMILES"
    if molecule is None:
        too_long = len(smiles) > MOST_CHARACTERS
        return f"its SMILES is longer than {MOST_CHARACTERS} characters" if too_long else "its SMILES cannot be read"
    if wrong := [assay for assay, one in zip(assays, said, strict=True) if np.isinf(one)]:
        return f"its result of {wrong[0]} is neither 1, 0 nor empty"
    return ""


def _identity(molecule: Any) -> tuple[str, str]:
    """Return what two ways of writing a molecule share, and its skeleton."""
    from rdkit import Chem  # noqa: PLC0415 - an extra
    from rdkit.Chem.Scaffolds import MurckoScaffold  # noqa: PLC0415

    scaffold: Any = MurckoScaffold.MurckoScaffoldSmiles  # untyped in RDKit's stubs
    return Chem.MolToSmiles(molecule), str(scaffold(mol=molecule, includeChirality=False))


def _contradicted(rows: list[Floats]) -> npt.NDArray[np.bool_]:
    """Return in which assays rows of one molecule say both."""
    said = np.array(rows)
    return np.asarray((said == 0).any(0) & (said == 1).any(0))


def _agreed(rows: list[Floats]) -> Floats:
    """Return what rows of one molecule say together: nothing where they contradict each other."""
    said = np.array(rows)
    agreed = np.where((said == 1).any(0), 1.0, np.where((said == 0).any(0), 0.0, np.nan))
    agreed[_contradicted(rows)] = np.nan
    return agreed

"""A molecule for the eye: RDKit's 2D drawing with the place of each atom, or one sentence on why it cannot be read.

RDKit is an extra and imported when it is first needed. Atoms have the numbers that
:mod:`medviewer.inference.inputs.molecule` gives them, so that an explanation lies on them.
"""

from __future__ import annotations

import importlib.util
import re
from typing import Any

from medviewer.domain.errors import InputError, RuntimeMissingError
from medviewer.domain.frozen import dataclass
from medviewer.inference.inputs.molecule import REQUIRES

LONGEST = 2_000  # characters; more is no drug
BOND = 30.0  # length of a bond, in the drawing's units
_POSITION = re.compile(r"around position (\d+)")


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A molecule as SVG ``width`` by ``height`` without a ground; ``atoms`` are x, y and symbol, in RDKit's order."""

    smiles: str
    svg: bytes
    width: float
    height: float
    atoms: tuple[tuple[float, float, str], ...]


def is_available() -> bool:
    """Whether RDKit is installed."""
    return importlib.util.find_spec("rdkit") is not None


def require() -> None:
    """Do nothing if RDKit is installed.

    Raises:
        RuntimeMissingError: it is not; names the extra.
    """
    if not is_available():
        raise RuntimeMissingError(f"RDKit reads molecules and is not installed; install it with: {REQUIRES}.")


def draw_molecule(text: str, *, is_dark: bool = False) -> Drawing:
    """Draw the one molecule that ``text`` writes as SMILES.

    Args:
        text: what was typed or pasted; spaces around it do not count.
        is_dark: light lines for a dark ground.

    Raises:
        RuntimeMissingError: RDKit is not installed.
        InputError: it cannot be read; says why and, where that is known, at which character, from 1.
    """
    require()
    from rdkit.Chem.Draw import rdMolDraw2D  # noqa: PLC0415 - an extra

    smiles = text.strip()
    molecule = _read(smiles)
    pen = rdMolDraw2D.MolDraw2DSVG(-1, -1)  # as large as the molecule needs
    options: Any = pen.drawOptions()
    if is_dark:
        rdMolDraw2D.SetDarkMode(options)
    options.clearBackground = False
    options.fixedBondLength = BOND
    options.padding = 0.1
    pen.DrawMolecule(rdMolDraw2D.PrepareMolForDrawing(molecule, addChiralHs=False))
    pen.FinishDrawing()
    places = [pen.GetDrawCoords(atom.GetIdx()) for atom in molecule.GetAtoms()]
    atoms = tuple(
        (float(place.x), float(place.y), str(atom.GetSymbol()))
        for place, atom in zip(places, molecule.GetAtoms(), strict=True)
    )
    return Drawing(smiles, pen.GetDrawingText().encode("iso-8859-1"), float(pen.Width()), float(pen.Height()), atoms)


def _read(smiles: str) -> Any:
    """RDKit's molecule."""
    from rdkit import Chem, rdBase  # noqa: PLC0415 - an extra

    if not smiles:
        raise InputError("There is no molecule to look at; give one as SMILES.")
    if len(smiles) > LONGEST:
        raise InputError(f"The SMILES is longer than {LONGEST} characters; give a smaller molecule.")
    space = next((at for at, character in enumerate(smiles, start=1) if character.isspace()), None)
    if space is not None:  # RDKit would take what follows for a name, in silence
        raise InputError(f"There is a space at position {space} of the SMILES; give one molecule, without spaces.")
    # Older versions cannot capture what is wrong, and then the position is not known.
    with getattr(rdBase, "CaptureErrorLog", rdBase.BlockLogs)() as log:
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is not None and molecule.GetNumAtoms():
        return molecule
    said = str(getattr(log, "messages", ""))
    where = _POSITION.search(said)
    if where is not None:
        at = min(max(int(where[1]), 1), len(smiles))
        raise InputError(f"This is no SMILES that can be read; check it around position {at}, at “{smiles[at - 1]}”.")
    if "unclosed ring" in said:
        raise InputError("This is no SMILES that can be read: a ring is opened and never closed.")
    raise InputError(_chemistry(smiles))


def _chemistry(smiles: str) -> str:
    """What is impossible about a molecule that is written correctly."""
    from rdkit import Chem, rdBase  # noqa: PLC0415 - an extra

    parameters: Any = Chem.SmilesParserParams()
    parameters.sanitize = False
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles, parameters)
        problems = Chem.DetectChemistryProblems(molecule) if molecule is not None else ()
    for problem in problems:
        if problem.GetType() == "AtomValenceException":
            atom = molecule.GetAtomWithIdx(problem.GetAtomIdx())
            return f"Atom {atom.GetIdx() + 1} ({atom.GetSymbol()}) has more bonds than it can have; check it."
        if problem.GetType() == "KekulizeException":
            numbers = ", ".join(str(index + 1) for index in problem.GetAtomIndices())
            return f"The aromatic ring of the atoms {numbers} cannot exist; check its hydrogens and charges."
    return "This is no SMILES that can be read; check how it is written."

"""A molecule (SMILES) as a fingerprint or as a graph of fixed size.

RDKit reads it: aromaticity and ring perception have to be the same for every way of writing a
molecule, which is not something to write anew (docs/decisions/0009-kinds-of-input.md). It is an
extra, and imported only when a model of this kind is asked.

Sources: Rogers and Hahn, "Extended-connectivity fingerprints", J. Chem. Inf. Model. 50 (2010);
Riniker and Landrum, "Similarity maps", J. Cheminformatics 5, 43 (2013), for what an atom's part in
a fingerprint is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.anchor import Atom
from medviewer.domain.case import Case
from medviewer.domain.errors import RuntimeMissingError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import InputSpec, Text
from medviewer.inference.inputs.adapter import Arrays, Doubt, Encoded, Group, Missing, Used
from medviewer.inference.inputs.atom_properties import ATOM_PROPERTIES, atom_properties

REQUIRES = "pip install 'medviewer[chem]'"
ELEMENTS = ("C", "N", "O", "F", "P", "S", "Cl", "Br", "I", "B", "Si", "Na")
NODE_FEATURES = (*ELEMENTS, "other", "neighbours", "hydrogens", "charge", "aromatic", "ring")
"""Columns of ``nodes``: one-hot element, then numbers."""

MOST_CHARACTERS = 2_000  # of a SMILES; more is no drug


@dataclass(frozen=True, slots=True)
class MoleculeRaw:
    """A molecule that can be read, as it was written."""

    smiles: str


def problems(spec: InputSpec) -> Iterator[str]:
    """Contradictions of the card's input."""
    steps = {step["op"]: step for step in spec.preprocessing}
    for tensor in spec.tensors:
        operation = "fingerprint" if tensor.part == "fingerprint" else "graph"
        if operation not in steps:
            yield f"{tensor.name} needs the preprocessing step {operation}"
            continue
        step = steps[operation]
        atoms = step.get("atoms", 0)
        sizes = {
            "fingerprint": (step.get("bits"),),
            "nodes": (atoms, len(NODE_FEATURES)),
            "properties": (atoms, len(ATOM_PROPERTIES)),
            "bonds": (atoms, atoms),
            "mask": (atoms,),
        }
        if tensor.shape[1:] != sizes[tensor.part]:
            yield f"{tensor.name} has not the shape that its step makes"


def pull(case: Case, spec: InputSpec) -> MoleculeRaw | Missing:
    """The case's molecule, if there is one, it can be read, and it fits.

    Raises:
        RuntimeMissingError: RDKit is not installed; the message says how to install it.
    """
    if len(case.smiles) != 1:
        code = "several_molecules" if case.smiles else "no_molecule"
        return Missing((spec.name,), (Doubt(code, "abstain", spec.name),))
    smiles = case.smiles[0].strip()
    molecule = read_molecule(smiles)
    if molecule is None:
        return Missing((spec.name,), (Doubt("not_a_molecule", "abstain", spec.name),))
    if _is_pattern(molecule):
        return Missing((spec.name,), (Doubt("open_molecule", "abstain", spec.name),))
    if spec.document.get("one_part") and (n := len(_parts(molecule))) > 1:
        return Missing((spec.name,), (Doubt("mixture", "abstain", spec.name, {"found": str(n)}),))
    most = next((step["atoms"] for step in spec.preprocessing if step["op"] == "graph"), None)
    if most is not None and molecule.GetNumAtoms() > most:
        facts = {"found": str(molecule.GetNumAtoms()), "most": str(most)}
        return Missing((spec.name,), (Doubt("large_molecule", "abstain", spec.name, facts),))
    return MoleculeRaw(smiles)


def examine(raw: MoleculeRaw, spec: InputSpec) -> tuple[list[Doubt], list[Used]]:
    """The SMILES is what the answer rests on."""
    return [], [Used(spec.name, Text("SMILES"), raw.smiles, None)]


def encode(raw: MoleculeRaw, spec: InputSpec) -> Encoded:
    """``fingerprint`` ``(bits,)`` of 0 and 1; ``nodes`` ``(atoms, features)``, ``bonds`` ``(atoms, atoms)`` of orders.

    ``mask`` ``(atoms,)`` is 1 where there is an atom; ``properties`` ``(atoms, properties)`` are those of
    :data:`medviewer.inference.inputs.atom_properties.ATOM_PROPERTIES`.
    """
    molecule = read_molecule(raw.smiles)
    graph = _graph(molecule, spec)
    arrays: Arrays = {}
    for tensor in spec.tensors:
        if tensor.part == "fingerprint":
            arrays[tensor.name] = _fingerprint(molecule, spec).astype(tensor.dtype)
        elif tensor.part == "properties":
            found = np.zeros((tensor.shape[1] or 0, len(ATOM_PROPERTIES)), np.float32)
            found[: molecule.GetNumAtoms()] = atom_properties(molecule)
            arrays[tensor.name] = found.astype(tensor.dtype)
        else:
            arrays[tensor.name] = graph[tensor.part].astype(tensor.dtype)
    return Encoded(arrays)


def groups(raw: MoleculeRaw, spec: InputSpec) -> list[Group]:
    """One an atom: its row of a graph, and the bits that are there only because of it."""
    molecule = read_molecule(raw.smiles)
    parts = {tensor.part for tensor in spec.tensors}
    bits = _bits_of_atoms(molecule, spec) if "fingerprint" in parts else None
    found = []
    for atom in molecule.GetAtoms():
        index = atom.GetIdx()
        mask: dict[str, npt.NDArray[np.bool_]] = {}
        for tensor in spec.tensors:
            if bits is not None and tensor.part == "fingerprint":
                mask[tensor.name] = bits[index]
                continue
            own = np.zeros(tuple(size or 0 for size in tensor.shape[1:]), np.bool_)
            own[index] = True
            if tensor.part == "bonds":
                own[:, index] = True
            mask[tensor.name] = own
        found.append(Group(Atom(spec.name, index, atom.GetSymbol()), mask))
    return found


def baseline(raw: MoleculeRaw, spec: InputSpec) -> Arrays:
    """No molecule at all."""
    return {name: np.zeros_like(array) for name, array in encode(raw, spec).tensors.items()}


def _generator(spec: InputSpec) -> tuple[Any, int]:
    """RDKit's maker of fingerprints as the card asks for them, and how many bits they have."""
    from rdkit.Chem import rdFingerprintGenerator  # noqa: PLC0415 - an extra

    step = next(step for step in spec.preprocessing if step["op"] == "fingerprint")
    return rdFingerprintGenerator.GetMorganGenerator(radius=step["radius"], fpSize=step["bits"]), step["bits"]


def _fingerprint(molecule: Any, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Bits ``(bits,)``."""
    generator, _ = _generator(spec)
    return np.asarray(generator.GetFingerprintAsNumPy(molecule))


def _bits_of_atoms(molecule: Any, spec: InputSpec) -> npt.NDArray[np.bool_]:
    """``(atoms, bits)``: of each atom the bits whose every neighbourhood holds it."""
    from rdkit import Chem  # noqa: PLC0415 - an extra
    from rdkit.Chem import rdFingerprintGenerator  # noqa: PLC0415

    generator, n_bits = _generator(spec)
    more = rdFingerprintGenerator.AdditionalOutput()
    more.CollectBitInfoMap()
    generator.GetFingerprint(molecule, additionalOutput=more)
    needs = np.zeros((molecule.GetNumAtoms(), n_bits), np.bool_)
    for bit, places in more.GetBitInfoMap().items():
        shared: set[int] | None = None
        for centre, radius in places:
            around = {centre}
            for bond in Chem.FindAtomEnvironmentOfRadiusN(molecule, radius, centre) if radius else ():
                both = molecule.GetBondWithIdx(bond)
                around |= {both.GetBeginAtomIdx(), both.GetEndAtomIdx()}
            shared = around if shared is None else shared & around
        needs[sorted(shared or ()), bit] = True
    return needs


def _graph(molecule: Any, spec: InputSpec) -> dict[str, npt.NDArray[np.float32]]:
    """``nodes``, ``bonds`` and ``mask``; nothing where the card asks for no graph."""
    size = next((step["atoms"] for step in spec.preprocessing if step["op"] == "graph"), 0)
    if not size:
        return {}
    nodes = np.zeros((size, len(NODE_FEATURES)), np.float32)
    bonds, mask = np.zeros((size, size), np.float32), np.zeros(size, np.float32)
    n_kinds = len(ELEMENTS) + 1
    for atom in molecule.GetAtoms():
        index, symbol = atom.GetIdx(), atom.GetSymbol()
        nodes[index, ELEMENTS.index(symbol) if symbol in ELEMENTS else n_kinds - 1] = 1
        nodes[index, n_kinds:] = (
            atom.GetDegree(), atom.GetTotalNumHs(), atom.GetFormalCharge(), atom.GetIsAromatic(), atom.IsInRing()
        )  # fmt: skip
        mask[index] = 1
    for bond in molecule.GetBonds():
        a, b = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        bonds[a, b] = bonds[b, a] = bond.GetBondTypeAsDouble()
    return {"nodes": nodes, "bonds": bonds, "mask": mask}


def _is_pattern(molecule: Any) -> bool:
    """Whether an atom (``*``) or a bond (``~``) is left open: of which molecule would a result be?"""
    atoms = any(not atom.GetAtomicNum() or atom.HasQuery() for atom in molecule.GetAtoms())
    return atoms or any(bond.HasQuery() for bond in molecule.GetBonds())


def _parts(molecule: Any) -> Any:
    """The molecules of a salt, hydrate or mixture, each as the places of its atoms."""
    from rdkit import Chem  # noqa: PLC0415 - an extra

    return Chem.GetMolFrags(molecule)


def read_molecule(smiles: str) -> Any:
    """RDKit's molecule; None if the text is not one.

    Raises:
        RuntimeMissingError: RDKit is not installed; the message says how to install it.
    """
    if importlib.util.find_spec("rdkit") is None:
        raise RuntimeMissingError(f"RDKit reads molecules and is not installed; install it with: {REQUIRES}.")
    from rdkit import Chem, rdBase  # noqa: PLC0415 - an extra

    # RDKit takes what follows a space for a name: a second molecule there would go unread.
    if not smiles or len(smiles) > MOST_CHARACTERS or any(character.isspace() for character in smiles):
        return None
    with rdBase.BlockLogs():  # what is wrong is said by us, in one sentence
        molecule = Chem.MolFromSmiles(smiles)
    return molecule if molecule is not None and molecule.GetNumAtoms() else None

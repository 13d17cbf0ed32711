"""Molecules as the networks see them: the same encoding in training and in the viewer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.inference.card import input_spec
from medviewer.inference.inputs.atom_properties import ATOM_PROPERTIES
from medviewer.inference.inputs.molecule import NODE_FEATURES, MoleculeRaw, encode
from medviewer.training.molecules import Molecules

RADIUS, BITS = 2, 2048
MOST_ATOMS = 132  # of the largest molecule in Tox21
ARRAYS = ("fingerprint", "nodes", "properties", "bonds", "mask")

FloatArray = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class MoleculeTensors:
    """Molecules, encoded; bonds and bits in bytes, since they are many.

    Attributes:
        fingerprint: ``(n, bits)`` of 0 and 1.
        atoms: ``(n, most atoms, nodes + properties)``.
        bonds: ``(n, most atoms, most atoms)``, twice the order: 3 is aromatic.
        mask: ``(n, most atoms)``, 1 where there is an atom.
        truth: ``(n, assays)``, NaN where not known.
    """

    fingerprint: Bytes
    atoms: FloatArray
    bonds: Bytes
    mask: FloatArray
    truth: npt.NDArray[np.float64]

    def where(self, chosen: npt.NDArray[Any]) -> MoleculeTensors:
        """Return some of them."""
        return MoleculeTensors(*(getattr(self, one.name)[chosen] for one in dataclasses.fields(self)))

    def feed(self) -> dict[str, FloatArray]:
        """Return the graph's inputs by name."""
        n = len(NODE_FEATURES)
        nodes, links = self.atoms[:, :, :n], self.atoms[:, :, n:]
        arrays: tuple[npt.NDArray[Any], ...] = (self.fingerprint, nodes, links, self.bonds / 2, self.mask)
        return {name: array.astype(np.float32) for name, array in zip(ARRAYS, arrays, strict=True)}


def input_document() -> dict[str, Any]:
    """Return the card's input."""
    sizes = {
        "fingerprint": [BITS], "nodes": [MOST_ATOMS, len(NODE_FEATURES)],
        "properties": [MOST_ATOMS, len(ATOM_PROPERTIES)], "bonds": [MOST_ATOMS, MOST_ATOMS], "mask": [MOST_ATOMS],
    }  # fmt: skip
    return {
        "kind": "molecule",
        "name": "molecule",
        "tensors": [{"part": part, "name": part, "dtype": "float32", "shape": [None, *sizes[part]]} for part in ARRAYS],
        "preprocessing": [
            {"op": "fingerprint", "radius": RADIUS, "bits": BITS},
            {"op": "graph", "atoms": MOST_ATOMS},
        ],
        "one_part": True,
    }


def encode_molecules(found: Molecules, document: Mapping[str, Any]) -> MoleculeTensors:
    """Encode molecules through the adapter of the card's input; none may have more than :data:`MOST_ATOMS` atoms."""
    spec = input_spec(document)
    n = len(found.smiles)
    made = MoleculeTensors(
        np.zeros((n, BITS), np.uint8),
        np.zeros((n, MOST_ATOMS, len(NODE_FEATURES) + len(ATOM_PROPERTIES)), np.float32),
        np.zeros((n, MOST_ATOMS, MOST_ATOMS), np.uint8),
        np.zeros((n, MOST_ATOMS), np.float32),
        found.truth,
    )
    for index, smiles in enumerate(found.smiles):
        tensors = encode(MoleculeRaw(smiles), spec).tensors
        made.fingerprint[index] = tensors["fingerprint"]
        made.atoms[index] = np.concatenate([tensors["nodes"], tensors["properties"]], 1)
        made.bonds[index] = 2 * tensors["bonds"]
        made.mask[index] = tensors["mask"]
    return made

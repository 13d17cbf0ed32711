"""What each atom adds to a molecule's size, greasiness and charge.

The usual descriptors of a molecule (logP, polar surface, molar refractivity, their distributions over the
surface) are sums over its atoms. A network that is given the summands can say which atom counted; one that
is given the sums cannot.

Sources, all as RDKit computes them: Wildman and Crippen, J. Chem. Inf. Comput. Sci. 39 (1999), logP and
refractivity; Ertl, Rohde and Selzer, J. Med. Chem. 43 (2000), polar surface; Labute, J. Mol. Graph. Model. 18
(2000), surface; Gasteiger and Marsili, Tetrahedron 36 (1980), charge; Hall and Kier, J. Chem. Inf. Comput.
Sci. 35 (1995), electrotopological state; Lipinski et al., Adv. Drug Deliv. Rev. 46 (2001), hydrogen bonds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

ATOM_PROPERTIES = (
    "logp", "refractivity", "polar_surface", "surface", "partial_charge", "electrotopological", "mass", "sp", "sp2",
    "sp3", "rings", "ring_3_or_4", "ring_5", "ring_6", "ring_7_up", "chiral", "donor", "acceptor", "rotatable",
    "valence", "radical",
)  # fmt: skip
"""Columns of ``properties``. Surfaces in square Angstrom, mass in Dalton, charge in elementary charges."""

_LARGEST = 1e3  # what is beyond is a method that failed on a metal


def atom_properties(molecule: Any) -> npt.NDArray[np.float32]:
    """``(atoms, properties)``; 0 where a method does not know an element.

    Args:
        molecule: RDKit's.
    """
    from rdkit import rdBase  # noqa: PLC0415 - an extra
    from rdkit.Chem import EState, rdMolDescriptors, rdPartialCharges  # noqa: PLC0415

    with rdBase.BlockLogs():  # charges of metals are not known, which is said by a 0
        rdPartialCharges.ComputeGasteigerCharges(molecule)
        columns = [
            *np.array(rdMolDescriptors._CalcCrippenContribs(molecule)).T,
            rdMolDescriptors._CalcTPSAContribs(molecule),
            list(rdMolDescriptors._CalcLabuteASAContribs(molecule)[0]),
            [atom.GetDoubleProp("_GasteigerCharge") for atom in molecule.GetAtoms()],
            EState.EStateIndices(molecule),  # type: ignore[no-untyped-call]  # RDKit has no types there
        ]
    found = np.zeros((molecule.GetNumAtoms(), len(ATOM_PROPERTIES)))
    found[:, : len(columns)] = np.array(columns).T
    found[:, len(columns) :] = [_of_atom(atom, molecule.GetRingInfo()) for atom in molecule.GetAtoms()]
    _add_matches(found, molecule)
    found[~(np.abs(found) <= _LARGEST)] = 0  # not a number, too
    return found.astype(np.float32)


def _of_atom(atom: Any, rings: Any) -> tuple[float, ...]:
    """From ``mass`` on; hydrogen bonds and rotatable bonds are left at 0."""
    index, kind = atom.GetIdx(), str(atom.GetHybridization())
    sizes = rings.AtomRingSizes(index)
    return (
        atom.GetMass(), kind == "SP", kind == "SP2", kind == "SP3", len(sizes), bool({3, 4} & set(sizes)), 5 in sizes,
        6 in sizes, any(size > 6 for size in sizes), str(atom.GetChiralTag()) != "CHI_UNSPECIFIED", 0, 0, 0,
        atom.GetTotalValence(), atom.GetNumRadicalElectrons(),
    )  # fmt: skip


def _add_matches(found: npt.NDArray[np.float64], molecule: Any) -> None:
    from rdkit.Chem import Lipinski  # noqa: PLC0415 - an extra

    donor, acceptor, rotatable = (ATOM_PROPERTIES.index(name) for name in ("donor", "acceptor", "rotatable"))
    for column, pattern in ((donor, Lipinski.HDonorSmarts), (acceptor, Lipinski.HAcceptorSmarts)):
        for (index,) in molecule.GetSubstructMatches(pattern):
            found[index, column] = 1
    for pair in molecule.GetSubstructMatches(Lipinski.RotatableBondSmarts):
        found[list(pair), rotatable] += 0.5  # half of the bond to each end

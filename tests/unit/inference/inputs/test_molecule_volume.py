"""Molecules as RDKit itself sees them, and volumes: what is prepared, where its boxes lie, what is refused."""

from __future__ import annotations

import builtins
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.case import Case
from medviewer.domain.errors import RuntimeMissingError
from medviewer.inference.card import InputSpec, read_card
from medviewer.inference.inputs import molecule, volume
from medviewer.inference.inputs.adapter import Missing
from medviewer.inference.inputs.atom_properties import ATOM_PROPERTIES
from tests import data_models

needs_rdkit = pytest.mark.skipif(importlib.util.find_spec("rdkit") is None, reason="RDKit is not installed")
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def spec_of(kind: str, folder: Path, **changes: Any) -> InputSpec:
    made = {"molecule": data_models.molecule_input, "volume": data_models.volume_input}[kind]
    return read_card(data_models.make(kind, folder / "m", inputs=[made(**changes)])).inputs[0]


@needs_rdkit
def test_a_graph_has_the_molecules_formula(tmp_path: Path) -> None:
    spec = spec_of("molecule", tmp_path)
    found = molecule.encode(molecule.MoleculeRaw(ASPIRIN), spec).tensors
    nodes = dict(zip(molecule.NODE_FEATURES, found["nodes"].sum(axis=0), strict=True))
    assert (nodes["C"], nodes["hydrogens"], nodes["O"]) == (9, 8, 4)  # C9H8O4
    assert (nodes["aromatic"], nodes["ring"], found["atoms"].sum()) == (6, 6, 13)
    bonds = found["bonds"]
    np.testing.assert_array_equal(bonds, bonds.T)
    orders, counts = np.unique(np.triu(bonds)[np.triu(bonds) > 0], return_counts=True)
    assert dict(zip(orders.tolist(), counts.tolist(), strict=True)) == {1.0: 5, 1.5: 6, 2.0: 2}


@needs_rdkit
@pytest.mark.parametrize("other", ["OC(=O)C1=CC=CC=C1OC(C)=O", "O=C(C)Oc1ccccc1C(O)=O"])
def test_every_way_of_writing_a_molecule_is_one_fingerprint(tmp_path: Path, other: str) -> None:
    spec = spec_of("molecule", tmp_path)
    first, second = (molecule.encode(molecule.MoleculeRaw(s), spec).tensors["bits"] for s in (ASPIRIN, other))
    np.testing.assert_array_equal(first, second)
    assert 5 < first.sum() < 40


@needs_rdkit
def test_a_fingerprint_is_rdkits_own(tmp_path: Path) -> None:
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator

    spec = spec_of("molecule", tmp_path)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=64)
    for smiles in (ASPIRIN, "C", "c1ccncc1", "[Na+].[Cl-]", "N[C@@H](C)C(=O)O"):
        expected = generator.GetFingerprintAsNumPy(Chem.MolFromSmiles(smiles))
        np.testing.assert_array_equal(molecule.encode(molecule.MoleculeRaw(smiles), spec).tensors["bits"], expected)


@needs_rdkit
def test_an_atoms_bits_are_those_that_go_with_it(tmp_path: Path) -> None:
    """Of two molecules apart from each other, what belongs to the one has nothing to do with the other."""
    spec = spec_of("molecule", tmp_path)
    both, one = (molecule.MoleculeRaw(s) for s in ("OCC.Br", "OCC"))
    groups = molecule.groups(both, spec)
    assert [group.anchor.symbol for group in groups] == ["O", "C", "C", "Br"]
    without = molecule.encode(both, spec).tensors["bits"] * ~groups[3].mask["bits"]
    np.testing.assert_array_equal(without, molecule.encode(one, spec).tensors["bits"])


@needs_rdkit
@pytest.mark.parametrize("smiles", [ASPIRIN, "CCN(CC)CCCl", "O=C1NC(=O)c2ccccc21", "C[C@H](N)C#N"])
def test_what_atoms_add_up_to_is_rdkits_own(tmp_path: Path, smiles: str) -> None:
    from rdkit import Chem
    from rdkit.Chem import Descriptors, rdMolDescriptors

    read = Chem.MolFromSmiles(smiles)
    array = molecule.encode(molecule.MoleculeRaw(smiles), spec_of("molecule", tmp_path)).tensors["properties"]
    found = dict(zip(ATOM_PROPERTIES, array.sum(axis=0).tolist(), strict=True))
    hydrogens = rdMolDescriptors._CalcLabuteASAContribs(read)[1]  # theirs is one number, and no atom's
    logp, refractivity = rdMolDescriptors.CalcCrippenDescriptors(read, includeHs=False)
    expected = {
        "logp": logp,
        "refractivity": refractivity,
        "polar_surface": rdMolDescriptors.CalcTPSA(read),
        "surface": rdMolDescriptors.CalcLabuteASA(read) - hydrogens,
        "mass": Descriptors.HeavyAtomMolWt(read),
        "donor": rdMolDescriptors.CalcNumHBD(read),
        "acceptor": Descriptors.NumHAcceptors(read),
        "rotatable": rdMolDescriptors.CalcNumRotatableBonds(read, strict=False),
        "chiral": len(Chem.FindMolChiralCenters(read)),
        "radical": 0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=2e-3)
    assert not array[read.GetNumAtoms() :].any()


@needs_rdkit
def test_what_is_not_known_of_a_metal_is_nothing(tmp_path: Path) -> None:
    """RDKit has no charges for mercury, and says so with a value that is no number."""
    array = molecule.encode(molecule.MoleculeRaw("C[Hg]Cl"), spec_of("molecule", tmp_path)).tensors["properties"]
    assert np.isfinite(array).all()
    assert array[1, ATOM_PROPERTIES.index("partial_charge")] == 0
    assert array[1, ATOM_PROPERTIES.index("mass")] == pytest.approx(200.59, abs=0.01)


@needs_rdkit
@pytest.mark.parametrize(("one_part", "is_refused"), [(True, True), (False, False), (None, False)])
def test_a_salt_is_refused_where_the_card_says_so(tmp_path: Path, one_part: bool | None, is_refused: bool) -> None:
    spec = spec_of("molecule", tmp_path, **({} if one_part is None else {"one_part": one_part}))
    found = molecule.pull(Case(smiles=("CC(=O)[O-].[Na+]",)), spec)
    assert isinstance(found, Missing) == is_refused
    if isinstance(found, Missing):
        assert [(doubt.code, doubt.level, doubt.facts) for doubt in found.doubts] == [
            ("mixture", "abstain", {"found": "2"})
        ]
    assert not isinstance(molecule.pull(Case(smiles=("CC(=O)O",)), spec), Missing)


@needs_rdkit
@pytest.mark.parametrize(
    ("smiles", "code"),
    [((), "no_molecule"), (("C", "O"), "several_molecules"), (("not a molecule",), "not_a_molecule"),
     (("",), "not_a_molecule"), (("C1CC",), "not_a_molecule"), (("C" * 17,), "large_molecule"),
     (("C" * 3000,), "not_a_molecule"), (("CCO c1ccccc1",), "not_a_molecule"),
     (("*CC*",), "open_molecule"), (("C[*:1]",), "open_molecule"), (("C~C",), "open_molecule")],
)  # fmt: skip
def test_what_is_no_molecule_is_refused(tmp_path: Path, smiles: tuple[str, ...], code: str) -> None:
    found = molecule.pull(Case(smiles=smiles), spec_of("molecule", tmp_path))
    assert isinstance(found, Missing)
    assert found.doubts[0].code == code


def test_without_rdkit_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(RuntimeMissingError, match=r"medviewer\[chem\]"):
        molecule.pull(Case(smiles=("C",)), spec_of("molecule", tmp_path))


def test_rdkit_is_imported_only_when_a_molecule_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        assert not name.startswith("rdkit")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    spec_of("molecule", tmp_path)  # reading a card reads no molecule


def test_a_volume_is_windowed_and_made_small(tmp_path: Path) -> None:
    spec = spec_of("volume", tmp_path)
    case = data_models.volume_case()
    (made,) = case.volumes
    flat = replace(made, stored=np.full_like(made.stored, 700))
    found = volume.encode(flat, spec).tensors["ct"]
    assert found.shape == (1, 4, 6, 6)
    np.testing.assert_allclose(found, ((700 - 1000 + 1000) / 1400 - 0.5) / 0.5, atol=1e-6)
    ramp = np.broadcast_to(np.arange(8, dtype=np.int16)[:, None, None] * 100, made.stored.shape)
    rising = volume.encode(replace(made, stored=ramp), spec).tensors["ct"][0, :, 3, 3]
    # Halved by a triangle as wide as two slices: inside, the mean of each pair of slices, 50, 250, ...
    expected = (np.array([250, 450]) / 1400 - 0.5) / 0.5
    np.testing.assert_allclose(rising[1:3], expected, atol=1e-5)


@pytest.mark.parametrize("padding", [(63536.0, 63536.0), (60000.0, 63536.0)])
def test_padding_of_a_stack_is_no_tissue(tmp_path: Path, padding: tuple[float, float]) -> None:
    """-2000 as an unsigned number would be 62512 HU after the intercept: brighter than all metal."""
    spec = spec_of("volume", tmp_path)
    (made,) = data_models.volume_case().volumes
    lowest = made.stored.astype(np.uint16) + 24
    lowest[:, :3] = lowest.min()
    padded = lowest.copy()
    padded[:, :3] = 63536
    description = replace(made.description, rescale_intercept=-1024.0, pixel_padding_range=padding)
    (expected,) = volume.encode(replace(made, stored=lowest, description=description), spec).tensors.values()
    (found,) = volume.encode(replace(made, stored=padded, description=description), spec).tensors.values()
    np.testing.assert_array_equal(found, expected)


def test_boxes_fill_the_stack(tmp_path: Path) -> None:
    spec = spec_of("volume", tmp_path)
    (made,) = data_models.volume_case().volumes
    groups = volume.groups(made, spec)
    total = np.sum([group.mask["ct"] for group in groups], axis=0)
    np.testing.assert_array_equal(total, np.ones((1, 4, 6, 6)))
    boxes = [group.anchor for group in groups]
    filled = sum((b.slices[1] - b.slices[0]) * (b.rows[1] - b.rows[0]) * (b.columns[1] - b.columns[0]) for b in boxes)
    assert filled == pytest.approx(made.stored.size)


def test_a_volume_with_a_gap_or_a_lean_is_refused(tmp_path: Path) -> None:
    spec = spec_of("volume", tmp_path)
    (made,) = data_models.volume_case().volumes
    assert volume.examine(made, spec)[0] == []
    gap, step = made.positions.copy(), made.slice_spacing_mm
    gap[5:] += (0, 0, 5.0)
    tilted = {degrees: made.positions.copy() for degrees in (1, 5, 15, 25)}  # of a gantry: 30 at the most
    for degrees, positions in tilted.items():
        positions[:, 1] += np.arange(8) * step * np.tan(np.radians(degrees))
    for positions in (gap, tilted[5], tilted[15], tilted[25]):
        doubts, _ = volume.examine(replace(made, positions=positions), spec)
        assert [(d.code, d.level) for d in doubts] == [("uneven_volume", "abstain")]
    assert volume.examine(replace(made, positions=tilted[1]), spec)[0] == []


def test_another_modality_or_spacing_is_refused(tmp_path: Path) -> None:
    spec = spec_of("volume", tmp_path, spacing_mm=[1, 2.5])
    (made,) = data_models.volume_case().volumes
    doubts, _ = volume.examine(replace(made, description=replace(made.description, modality="MR")), spec)
    assert [(d.code, d.level) for d in doubts] == [("modality.abstain", "abstain"), ("slice_spacing", "abstain")]
    for volumes, code in (((), "no_volume"), ((made, made), "several_volumes")):
        found = volume.pull(Case(volumes=volumes), spec)
        assert isinstance(found, Missing)
        assert found.doubts[0].code == code

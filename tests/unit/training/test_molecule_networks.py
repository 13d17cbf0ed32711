"""What networks make of a molecule: the same however it is written, whatever is beside it in the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rdkit", reason="RDKit is not installed")
import torch
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from medviewer.domain.errors import ModelError
from medviewer.training.configs import MoleculeConfig
from medviewer.training.lesson import Surroundings
from medviewer.training.molecule_blend import Blend, learn_blend, summarised
from medviewer.training.molecule_export import FAR, check_graph_of, far_in_folds, nearest, write_graph
from medviewer.training.molecule_networks import BOUNDS, COLUMNS, GraphNet, MoleculeSummary
from medviewer.training.molecule_tensors import MOST_ATOMS, MoleculeTensors, encode_molecules, input_document
from medviewer.training.molecules import Molecules
from tests.molecule_maker import make_molecules

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
SMILES = (ASPIRIN, "O=C(C)Oc1ccccc1C(O)=O", "CCN(CC)CCCl", "C[C@H](N)C#N", "O=C1NC(=O)c2ccccc21")


def encoded(smiles: tuple[str, ...], truth: np.ndarray | None = None) -> MoleculeTensors:
    truth = np.zeros((len(smiles), 1)) if truth is None else truth
    return encode_molecules(Molecules(smiles, smiles, smiles, truth, [], ""), input_document())


def test_the_summary_holds_rdkits_descriptors() -> None:
    """How much surface has which logP, refractivity and charge: what RDKit itself sums up."""
    found = np.expm1(summarised(encoded(SMILES)).astype(np.float64))
    start = len(COLUMNS)
    theirs = {
        "logp": rdMolDescriptors.SlogP_VSA_,
        "refractivity": rdMolDescriptors.SMR_VSA_,
        "partial_charge": rdMolDescriptors.PEOE_VSA_,
    }
    for name, bounds in BOUNDS.items():
        columns = slice(start, start + len(bounds) + 1)
        start = columns.stop
        if name in theirs:
            expected = [theirs[name](Chem.MolFromSmiles(one)) for one in SMILES]
            np.testing.assert_allclose(found[:, columns], expected, atol=1e-2)


def graph_net() -> GraphNet:
    torch.manual_seed(3)
    return GraphNet(2, 16, 3, 0.0).eval()


def test_a_molecule_is_the_same_however_it_is_written() -> None:
    molecules = encoded(SMILES)
    atoms, bonds, mask = torch.tensor(molecules.atoms), torch.tensor(molecules.bonds) / 2, torch.tensor(molecules.mask)
    with torch.inference_mode():
        logits, summary = graph_net()(atoms, bonds, mask), MoleculeSummary()(atoms, mask)
    for found in (logits, summary):
        torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)
        assert (found[0] - found[2]).abs().max() > 1e-3


def test_places_without_an_atom_are_not_seen() -> None:
    molecules = encoded(SMILES)
    n = int(molecules.mask.sum(1).max())
    whole = [torch.tensor(array) for array in (molecules.atoms, molecules.bonds / 2, molecules.mask)]
    cut = [whole[0][:, :n], whole[1][:, :n, :n], whole[2][:, :n]]
    filled = [whole[0].clone(), whole[1], whole[2]]
    filled[0][:, n:] = 7.0
    with torch.inference_mode():
        for net, places in ((graph_net(), (0, 1, 2)), (MoleculeSummary(), (0, 2))):
            expected = net(*(cut[i] for i in places))
            for other in (whole, filled):
                torch.testing.assert_close(net(*(other[i] for i in places)), expected, atol=1e-5, rtol=1e-5)


def test_bonds_and_their_orders_are_seen() -> None:
    """Three isomers of the same atoms, which only bonds tell apart once the atoms' own columns are the same."""
    molecules = encoded((ASPIRIN,))
    atoms, mask = torch.tensor(molecules.atoms), torch.tensor(molecules.mask)
    bonds = torch.tensor(molecules.bonds) / 2
    with torch.inference_mode():
        net = graph_net()
        as_it_is, without = net(atoms, bonds, mask), net(atoms, bonds * 0, mask)
        single = net(atoms, (bonds > 0).float(), mask)
    assert (as_it_is - without).abs().max() > 1e-3
    assert (as_it_is - single).abs().max() > 1e-3


def test_nothing_is_a_molecule_too() -> None:
    """All atoms taken away, as an explanation does: numbers still."""
    atoms, bonds = torch.zeros(1, MOST_ATOMS, len(COLUMNS)), torch.zeros(1, MOST_ATOMS, MOST_ATOMS)
    mask = torch.zeros(1, MOST_ATOMS)
    with torch.inference_mode():
        assert torch.isfinite(graph_net()(atoms, bonds, mask)).all()
        assert not MoleculeSummary()(atoms, mask).any()


def test_distance_is_rdkits_tanimoto() -> None:
    from rdkit.Chem import rdFingerprintGenerator
    from rdkit.DataStructs import BulkTanimotoSimilarity

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(one)) for one in SMILES]
    bits = encoded(SMILES).fingerprint
    found = nearest(bits[2:], bits[:2])
    np.testing.assert_allclose(found, [max(BulkTanimotoSimilarity(one, prints[:2])) for one in prints[2:]], atol=1e-6)
    far = far_in_folds(bits, np.array([0, 1, 0, 0, 0]))
    assert far[0] == far[1] == 0  # the same molecule is in the other fold
    np.testing.assert_allclose(far[2:], FAR - FAR * nearest(bits[2:], bits[1:2]))


def test_a_graph_that_says_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_molecules()[:60]
    molecules = encoded(tuple(smiles for smiles, _ in made), np.array([[float(active)] for _, active in made]))
    config = MoleculeConfig(epochs=1, graph_epochs=1, n_trees=2, hidden=4, graph_hidden=4)
    blend = learn_blend(molecules, config, Surroundings(tmp_path / "run", progress=lambda _: None), n_nets=1)
    assert write_graph(blend, molecules.fingerprint, tmp_path / "model.onnx") < 1e-4
    right = Blend.logits
    monkeypatch.setattr(Blend, "logits", lambda self, given: right(self, given) + 0.01)
    with pytest.raises(ModelError, match="differs from what was learned"):
        check_graph_of(blend, molecules.fingerprint, tmp_path / "model.onnx")
    monkeypatch.setattr(Blend, "logits", right)
    monkeypatch.setattr("medviewer.training.molecule_export.nearest", lambda some, _: np.full(len(some), 0.5))
    with pytest.raises(ModelError, match="differs from what was learned"):
        check_graph_of(blend, molecules.fingerprint, tmp_path / "model.onnx")

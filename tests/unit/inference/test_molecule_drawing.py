"""Molecules as they are drawn: every atom at its place, and one sentence, with its position, for what cannot be read."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from medviewer.domain.anchor import Atom
from medviewer.domain.errors import InputError, RuntimeMissingError
from medviewer.inference import molecule_drawing
from medviewer.inference.card import InputSpec
from medviewer.inference.inputs import molecule
from medviewer.inference.inputs.adapter import Missing
from medviewer.inference.molecule_drawing import BOND, LONGEST, Drawing, draw_molecule
from tests import data_models

needs_rdkit = pytest.mark.skipif(importlib.util.find_spec("rdkit") is None, reason="RDKit is not installed")
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def bonds(drawing: Drawing) -> dict[tuple[int, int], list[tuple[float, float]]]:
    """The ends of all lines of each bond, from the SVG."""
    found: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for path in ElementTree.fromstring(drawing.svg).iter("{http://www.w3.org/2000/svg}path"):  # noqa: S314 - ours
        named = re.fullmatch(r"bond-\d+ atom-(\d+) atom-(\d+)", path.get("class", ""))
        if named:
            ends = re.findall(r"(-?[\d.]+),(-?[\d.]+)", path.get("d", ""))
            found.setdefault((int(named[1]), int(named[2])), []).extend((float(x), float(y)) for x, y in ends)
    return found


@needs_rdkit
@pytest.mark.parametrize("smiles", [ASPIRIN, "C1=CC=NC=C1", "C[C@H](N)C(=O)O", "c1ccc2ccccc2c1", "[NH4+]"])
def test_every_atom_has_the_place_of_the_bonds_that_end_there(smiles: str) -> None:
    drawing = draw_molecule(smiles)
    for (first, second), ends in bonds(drawing).items():
        for index in (first, second):
            x, y, _symbol = drawing.atoms[index]
            nearest = min(abs(x - a) + abs(y - b) for a, b in ends)
            assert nearest < 0.6 * BOND, (index, nearest)  # a bond ends before a letter
    for x, y, _symbol in drawing.atoms:
        assert 0 < x < drawing.width
        assert 0 < y < drawing.height


@needs_rdkit
@pytest.mark.parametrize("smiles", [ASPIRIN, "OC(=O)C[C@@H](N)C", "Clc1ccccc1Br"])
def test_atoms_are_in_the_order_of_the_explanation(smiles: str) -> None:
    spec = InputSpec("molecule", (), (), (), (), "float32", "", (None, 8), kind="molecule", tensors=(), document={})
    raw = molecule.MoleculeRaw(smiles)
    anchors = [group.anchor for group in molecule.groups(raw, spec)]
    symbols = [symbol for _x, _y, symbol in draw_molecule(smiles).atoms]
    assert [(anchor.index, anchor.symbol) for anchor in anchors if isinstance(anchor, Atom)] == list(enumerate(symbols))


@needs_rdkit
def test_spaces_around_do_not_count_and_lines_fit_the_ground() -> None:
    light, dark = draw_molecule(f"  {ASPIRIN}\n"), draw_molecule(ASPIRIN, is_dark=True)
    assert light.smiles == ASPIRIN
    assert light.atoms == dark.atoms
    assert b"#000000" in light.svg
    assert b"#000000" not in dark.svg
    assert b"<rect" not in light.svg  # no ground of its own: tints lie behind


@needs_rdkit
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no molecule to look at; give one as SMILES."),
        ("   ", "There is no molecule to look at; give one as SMILES."),
        ("CCX", "This is no SMILES that can be read; check it around position 3, at “X”."),
        ("C1CC(", "This is no SMILES that can be read; check it around position 5, at “(”."),
        (ASPIRIN + ")", "This is no SMILES that can be read; check it around position 22, at “)”."),
        ("C1CC", "This is no SMILES that can be read: a ring is opened and never closed."),
        ("CC(C)(C)(C)C", "Atom 2 (C) has more bonds than it can have; check it."),
        ("c1cccc1", "The aromatic ring of the atoms 1, 2, 3, 4, 5 cannot exist; check its hydrogens and charges."),
        ("CCO CCN", "There is a space at position 4 of the SMILES; give one molecule, without spaces."),
        ("CCO\nCCN", "There is a space at position 4 of the SMILES; give one molecule, without spaces."),
        ("C" * (LONGEST + 1), "The SMILES is longer than 2000 characters; give a smaller molecule."),
    ],
)
def test_what_cannot_be_read_is_one_sentence_with_its_position(
    text: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as caught:
        draw_molecule(text)
    assert str(caught.value) == said
    assert capfd.readouterr().err == ""  # RDKit's own words stay inside


@needs_rdkit
def test_the_longest_one_is_drawn() -> None:
    assert len(draw_molecule("C" * 200).atoms) == 200


@needs_rdkit
def test_where_the_library_cannot_tell_the_position_the_sentence_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from rdkit import rdBase

    monkeypatch.delattr(rdBase, "CaptureErrorLog", raising=False)
    with pytest.raises(InputError) as caught:
        draw_molecule("CCX")
    assert str(caught.value) == "This is no SMILES that can be read; check how it is written."


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "rdkit" else real(name, *more))
    assert not molecule_drawing.is_available()
    with pytest.raises(RuntimeMissingError) as caught:
        draw_molecule(ASPIRIN)
    named = "RDKit reads molecules and is not installed; install it with: pip install 'medviewer[chem]'."
    assert str(caught.value) == named
    with pytest.raises(RuntimeMissingError) as caught:
        molecule.pull(data_models.molecule_case(), InputSpec("m", (), (), (), (), "float32", "", (None,)))
    assert str(caught.value) == named


@needs_rdkit
def test_the_models_input_reads_what_is_drawn() -> None:
    spec = InputSpec("m", (), (), (), (), "float32", "", (None,), kind="molecule")
    assert not isinstance(molecule.pull(data_models.molecule_case(), spec), Missing)


def test_the_window_opens_without_loading_the_library() -> None:
    code = "import sys, medviewer.gui.molecule_dialog; sys.exit('rdkit' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0

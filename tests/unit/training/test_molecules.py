"""Tables of molecules: what is read, what is refused, what is merged; and which skeletons go where."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rdkit", reason="RDKit is not installed")

from medviewer.domain.errors import InputError
from medviewer.training.molecules import ASSAYS, find_table, one_sided, read_molecules, scaffold_folds, scaffold_split

A = ("liver", "kidney")
TOX21 = Path(os.environ.get("MEDVIEWER_TOX21", "tox21.csv"))  # the published table; nothing of it is in the project


def table(tmp_path: Path, *rows: str, head: str = "liver,kidney,mol_id,smiles") -> Path:
    path = tmp_path / "tox21.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def test_results_are_read_as_known_or_not(tmp_path: Path) -> None:
    found = read_molecules(table(tmp_path, "1.0,,a,CCO", "0,nan,b,c1ccccc1", ",1,,CCN"), A, 100)
    np.testing.assert_array_equal(found.truth, [[1, np.nan], [0, np.nan], [np.nan, 1]])
    assert found.names == ["a", "b", "row 4"]
    assert found.scaffolds == ["", "c1ccccc1", ""]
    assert found.unusable == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,0,bad,C1CC", "cannot be read"),
        ("1,0,bad,", "no SMILES"),
        ("1,0,bad," + "C" * 2001, "longer than 2000"),
        ("1,0,bad," + "C" * 101, "101 atoms"),
        ("1,2,bad,CCN", "kidney is neither 1, 0 nor empty"),
        ("yes,0,bad,CCN", "liver is neither"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_reason(tmp_path: Path, row: str, reason: str) -> None:
    found = read_molecules(table(tmp_path, "1,0,good,CCO", row), A, 100)
    assert found.names == ["good"]
    ((name, why),) = found.unusable
    assert name == "bad"
    assert reason in why


def test_the_same_molecule_is_one_however_it_is_written(tmp_path: Path) -> None:
    """What both rows say is kept, what only one says too; where they contradict each other nothing is known."""
    found = read_molecules(table(tmp_path, "1,,a,CCO", "1,0,b,OCC", "0,0,c,C(O)C", "0,1,d,CCN"), A, 100)
    assert found.names == ["a", "d"]
    np.testing.assert_array_equal(found.truth, [[np.nan, 0], [0, 1]])
    (b, c) = found.unusable
    assert b == ("b", "it is the same molecule as a")
    assert c[1] == "it is the same molecule as a, and they contradict each other in liver, which is left out"


def test_what_was_contradicted_once_does_not_come_back(tmp_path: Path) -> None:
    """A third row must not decide between two that contradict each other."""
    found = read_molecules(table(tmp_path, "1,0,a,CCO", "0,0,b,OCC", "1,0,c,C(O)C"), A, 100)
    np.testing.assert_array_equal(found.truth, [[np.nan, 0]])


@pytest.mark.parametrize("head", ["kidney,mol_id,smiles", "liver,kidney,mol_id"])
def test_a_missing_column_is_named(tmp_path: Path, head: str) -> None:
    absent = ({"liver", "smiles"} - set(head.split(","))).pop()
    with pytest.raises(InputError, match=f"lacks the column {absent}"):
        read_molecules(table(tmp_path, "1,a,CCO", head=head), A, 100)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table of molecules"):
        find_table(tmp_path)
    (tmp_path / "tox21.csv").write_bytes(b"liver,kidney,smiles\n\xff\xfe,1,C\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_molecules(tmp_path, A, 100)
    with pytest.raises(InputError, match=r"No row of .* can be used; the first: its SMILES cannot be read"):
        read_molecules(table(tmp_path, "1,0,a,C1CC"), A, 100)
    with pytest.raises(InputError, match="it has none"):
        read_molecules(table(tmp_path), A, 100)


def test_assays_of_one_result_are_found() -> None:
    truth = np.array([[1.0, 0.0, np.nan], [0.0, np.nan, np.nan]])
    assert one_sided(truth, ("both", "one", "none")) == ["one", "none"]


def test_skeletons_are_split_from_common_to_rare() -> None:
    """Worked by hand: of 20, up to 16 are learned from and up to 18 filled before the test part begins.

    "b" no longer fits into the first part; of the single ones the later comes first, as MoleculeNet sorts.
    """
    scaffolds = ["a"] * 14 + ["b"] * 3 + ["c", "d", "e"]
    found = scaffold_split(scaffolds).tolist()
    assert found == ["train"] * 14 + ["valid"] * 3 + ["test", "train", "train"]


def test_folds_keep_skeletons_whole_and_are_of_one_size() -> None:
    chance = np.random.default_rng(3)
    scaffolds = [str(one) for one in chance.integers(0, 60, 600)]
    folds = scaffold_folds(scaffolds, 5)
    for scaffold in set(scaffolds):
        assert len(set(folds[[one == scaffold for one in scaffolds]].tolist())) == 1
    assert np.ptp(np.bincount(folds)) < 20


@pytest.mark.skipif(not TOX21.is_file(), reason="MEDVIEWER_TOX21 names no Tox21 table")
def test_tox21_is_read_and_split_as_published() -> None:
    found = read_molecules(TOX21, ASSAYS, 132)
    assert (len(found.names), len(found.unusable)) == (7823, 8)
    parts, counts = np.unique(scaffold_split(found.scaffolds), return_counts=True)
    assert dict(zip(parts.tolist(), counts.tolist(), strict=True)) == {"train": 6258, "valid": 782, "test": 783}

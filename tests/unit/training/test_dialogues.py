"""Tables of dialogues: every row is used or listed, and a table of another layout is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medviewer.domain.errors import InputError
from medviewer.training.data_report import describe_data
from medviewer.training.dialogues import (
    Dialogue,
    dialogues_table,
    encode_dialogues,
    find_tables,
    input_of,
    read_dialogues,
    without_copies,
)
from tests.dialogue_maker import COLUMNS, SECOND_TEST, make_rows, write_published, write_table


def test_the_published_tables_are_found_by_their_names(tmp_path: Path) -> None:
    write_published(tmp_path)
    assert list(find_tables(tmp_path)) == ["training", "validation", "test-1"]
    assert list(find_tables(tmp_path / "MTS-Dialog-ValidationSet.csv")) == ["validation"]
    assert list(find_tables(write_table(tmp_path / "mine.csv", make_rows(3)))) == ["mine"]
    table = write_table(tmp_path / SECOND_TEST, make_rows(3))
    assert find_tables(table) == {"test-2": table}
    assert list(find_tables(tmp_path)) == ["training", "validation", "test-1", "test-2"]
    assert list(find_tables(write_table(tmp_path / "alone" / SECOND_TEST, make_rows(3)).parent)) == ["test-2"]


def test_two_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    """One of them would be left out, and nobody would know which."""
    write_published(tmp_path)
    write_table(tmp_path / "MTS-Dialog-TrainingSet-copy.csv", make_rows(3))
    with pytest.raises(InputError, match=r"TrainingSet-copy\.csv and MTS-Dialog-TrainingSet\.csv.*'training'"):
        find_tables(tmp_path)


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no table"):
        find_tables(tmp_path)


def test_rows_keep_line_breaks_and_quotes(tmp_path: Path) -> None:
    text = 'Doctor: Where, "exactly"?\r\nPatient: Here.'
    found = read_dialogues(write_table(tmp_path / "a.csv", [("7", " cc ", "s", text)]))
    assert (found.rows[0].section, found.rows[0].text) == ("CC", text)
    assert found.rows[0].name == "a row 1 (ID 7)"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("ID", "section_header", "section_text"), "lacks the columns dialogue"),
        ((*COLUMNS, "diagnosis"), "unknown columns diagnosis"),
        (("ID", "section_header", "section_text", "text"), "lacks the columns dialogue and has unknown columns text"),
        ((*COLUMNS, "ID"), "names a column twice"),
    ],
)
def test_another_layout_is_refused(tmp_path: Path, columns: tuple[str, ...], said: str) -> None:
    path = write_table(tmp_path / "a.csv", [["x"] * len(columns)], columns)
    with pytest.raises(InputError, match=said):
        read_dialogues(path)


def test_a_short_row_and_a_long_row_are_listed(tmp_path: Path) -> None:
    rows = [*make_rows(3), ("8", "ALLERGY"), ("9", "ALLERGY", "s", "Doctor: Yes.", "too much")]
    found = read_dialogues(write_table(tmp_path / "a.csv", rows))
    assert len(found.rows) == 3
    assert [reason for _, reason in found.unusable] == ["it has not one cell for each column"] * 2


@pytest.mark.parametrize("cell", ["", "  \n", "nan", "NaN", "null"])
def test_what_is_empty_is_listed(tmp_path: Path, cell: str) -> None:
    rows = [*make_rows(3), ("8", "ALLERGY", "s", cell), ("9", cell, "s", "Doctor: Yes.")]
    found = read_dialogues(write_table(tmp_path / "a.csv", rows))
    assert [reason for _, reason in found.unusable] == ["its dialogue is empty", "it names no section"]


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="CSV table in UTF-8"):
        read_dialogues(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text(",".join(COLUMNS) + '\n1,CC,s,"never closed')
    with pytest.raises(InputError, match="CSV table in UTF-8"):
        read_dialogues(tmp_path / "b.csv")
    with pytest.raises(InputError, match="no row with a dialogue"):
        read_dialogues(write_table(tmp_path / "c.csv", []))


def test_a_copy_in_two_tables_is_reported_and_not_learned_from(tmp_path: Path) -> None:
    rows = make_rows(6)
    shouted = [rows[2][3].upper().replace(" ", "\n ")]
    sets = {
        "training": read_dialogues(write_table(tmp_path / "a.csv", rows)),
        "validation": read_dialogues(write_table(tmp_path / "b.csv", [("1", "MEDICATIONS", "s", *shouted)])),
    }
    report = describe_data(dialogues_table(tmp_path, sets))
    (copied,) = [problem for problem in report["problems"] if "are the same, and in two parts" in problem["text"]]
    assert copied["stops_training"] is False  # the recipe leaves one of them out
    kept = without_copies(sets)
    assert len(kept["training"].rows) == 5
    assert kept["training"].unusable == [("a row 3 (ID 2)", "the same dialogue is in validation")]
    assert len(kept["validation"].rows) == 1
    report = describe_data(dialogues_table(tmp_path, kept))
    assert not any("in two parts" in problem["text"] for problem in report["problems"])


def test_a_section_that_a_part_lacks_is_reported(tmp_path: Path) -> None:
    sets = {
        "training": read_dialogues(write_table(tmp_path / "a.csv", make_rows(6))),
        "validation": read_dialogues(write_table(tmp_path / "b.csv", make_rows(2, seed=1))),
    }
    report = describe_data(dialogues_table(tmp_path, sets))
    assert "The part validation has no case of MEDICATIONS." in [problem["text"] for problem in report["problems"]]


def test_dialogues_are_encoded_as_the_viewer_does(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "yes", "##s", "."]
    rows = read_dialogues(write_table(tmp_path / "a.csv", [("1", "CC", "s", "Yés, yess. Qu")])).rows
    with input_of(pieces, 10) as spec:
        found = encode_dialogues(rows, spec)
    np.testing.assert_array_equal(found["ids"], [[2, 4, 1, 4, 5, 6, 1, 3, 0, 0]])
    np.testing.assert_array_equal(found["mask"], [[1] * 8 + [0] * 2])


def test_a_dialogue_that_the_viewer_would_refuse_is_named() -> None:
    rows = [Dialogue("a row 1 (ID 1)", "CC", "ab " * 70_000)]
    with input_of(["[PAD]", "[UNK]", "[CLS]", "[SEP]"], 10) as spec, pytest.raises(InputError, match="ID 1"):
        encode_dialogues(rows, spec)

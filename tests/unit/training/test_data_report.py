"""The report tells what a training would trip over, and what it would not notice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the training extra")

from medviewer.domain.errors import InputError, StorageError
from medviewer.inference.card import input_spec
from medviewer.training.cohorts import cohort_table, read_cohort
from medviewer.training.data import COPY_ELSEWHERE, SPLITS, ClassFolders, LabelledImage
from medviewer.training.data_report import DataTable, describe_data, images_table, with_copies, write_data_report
from medviewer.training.fold_report import folds_table
from medviewer.training.parts import split_parts
from medviewer.training.physionet import Stay, Stays
from medviewer.training.recipes.survival_card import FIELDS, input_document
from medviewer.training.stay_table import stays_table
from medviewer.training.subgroups import groups_of_column
from tests.stay_maker import make_stays
from tests.survival_maker import make_patients, write_csv

pytestmark = pytest.mark.torch

N = 40


@pytest.fixture
def table() -> DataTable:
    """Forty rows of twenty patients, in order, of a recipe that refuses what it can."""
    labels = ["sick" if index % 4 == 0 else "well" for index in range(N)]
    splits = ["train"] * 24 + ["tune"] * 16
    return DataTable(
        path=Path("/data/stays"),
        names=[f"row-{index}" for index in range(N)],
        labels=labels,
        classes=("well", "sick"),
        patients=[f"patient-{index // 2}" for index in range(N)],
        splits=splits,
        expected_splits=("train", "tune"),
        digests=[f"digest-{index}" for index in range(N)],
        columns={
            "sex": ["F" if index % 3 else "M" for index in range(N)],
            "age": np.where(np.arange(N) % 10 == 0, np.nan, np.arange(N) + 20.0),
        },
        unusable=[("row-90", "has no label")],
        digest="ab" * 32,
        needed=("train", "tune"),
        refuses_copies=True,
    )


def problems(table: DataTable) -> list[str]:
    return [problem["text"] for problem in describe_data(table)["problems"]]


def test_it_counts_what_there_is(table: DataTable) -> None:
    report = describe_data(table)
    assert (report["n"], report["n_patients"]) == (40, 20)
    assert report["per_class"] == {"well": 30, "sick": 10}
    assert report["splits"]["tune"] == {"n": 16, "n_patients": 8, "per_class": {"well": 12, "sick": 4}}
    assert report["columns"]["age"] == {
        "kind": "number", "missing": 4, "n_values": 36, "min_median_max": [21.0, 40.0, 59.0],
    }  # fmt: skip
    by_sex = report["columns"]["sex"]["values"]
    assert by_sex["M"] == {"well": 10, "sick": 4}
    assert by_sex["F"] == {"well": 20, "sick": 6}
    assert report["unusable"] == [{"name": "row-90", "reason": "has no label"}]
    assert problems(table) == ["1 of 41 rows cannot be used; they are listed below."]


def copies(table: DataTable, a: int, b: int) -> DataTable:
    digests = list(table.digests)
    digests[b] = digests[a]
    return replace(table, digests=digests)


def with_column(table: DataTable, values: object) -> DataTable:
    return replace(table, columns={"x": values})


@pytest.mark.parametrize(
    ("change", "sentence", "stops"),
    [
        (lambda t: copies(t, 0, 30), "row-0 and row-30 are the same, and in two parts.", True),
        (lambda t: copies(t, 1, 2), "row-1 and row-2 are the same, and of two patients.", False),
        (lambda t: copies(t, 0, 1), "row-0 and row-1 are the same, and have two labels.", False),
        (lambda t: replace(t, labels=["well"] * 24 + list(t.labels[24:])), "The part train has no case of sick.", True),
        (
            lambda t: replace(t, splits=["train", "tune", *t.splits[2:]]),
            "The patient patient-0 is in two parts.",
            False,
        ),
        (lambda t: replace(t, labels=["sick", *["well"] * 38, "sick"]), None, False),
        (lambda t: replace(t, labels=["sick", *["well"] * 39]), "The rarest class has 1 of 40 cases.", False),
        (lambda t: with_column(t, np.full(N, 7.0)), "The column x has one value only", False),
        (lambda t: with_column(t, ["", *["a"] * 39]), "The column x has one value only", False),
        (lambda t: with_column(t, np.full(N, np.nan)), "The column x is empty.", False),
        (lambda t: with_column(t, np.where(np.arange(N) < 9, np.nan, np.arange(N))), "is missing in 9 of 40", False),
        (lambda t: with_column(t, [f"site-{x}" for x in t.labels]), "The column x gives the label away", False),
    ],
)
def test_each_trap_is_one_sentence(table: DataTable, change, sentence: str | None, stops: bool) -> None:
    found = describe_data(replace(change(table), unusable=()))["problems"]
    said = [problem for problem in found if sentence and sentence in problem["text"]]
    assert bool(said) == bool(sentence)
    assert all(problem["stops_training"] == stops for problem in said)


def test_only_what_the_recipe_refuses_stops_a_training(table: DataTable) -> None:
    """Another recipe needs a class in the first part alone, and takes the same row in two parts; a third refuses all."""
    torn = replace(copies(table, 0, 30), labels=["well"] * N, unusable=(), refuses_copies=False)
    problems = {p["text"]: p["stops_training"] for p in describe_data(replace(torn, needed=("train",)))["problems"]}
    assert problems == {
        "The part train has no case of sick.": True,
        "The part tune has no case of sick.": False,
        "row-0 and row-30 are the same, and in two parts.": False,
    }
    first = describe_data(replace(torn, needed=(), refusals=["Too few stays; add more."]))["problems"][0]
    assert first == {"text": "Too few stays; add more.", "stops_training": True}


def test_what_a_part_lacks_is_one_sentence(table: DataTable) -> None:
    told = problems(replace(table, classes=("well", "sick", "dead", "gone")))
    assert "The part tune has no case of dead, gone." in told


def films(labels: Sequence[int], digests: Sequence[str] = ()) -> ClassFolders:
    """Films in the four parts in turn, each of a patient of its own."""
    images = [
        LabelledImage(
            Path(), f"film-{n}", label, f"patient-{n}", (digests or [str(n) for n in range(99)])[n], SPLITS[n % 4]
        )
        for n, label in enumerate(labels)
    ]
    return ClassFolders(Path("/films"), ("NORMAL", "PNEUMONIA"), tuple(images))


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (films([0, 0, 0, 0, 1, 1, 1, 1]), ""),
        (films([0, 0, 0, 0, 1, 1, 1, 0]), "The part report has no case of PNEUMONIA."),
        (films([0, 0, 0, 0, 1, 1, 1, 1], "abcdefgd"), ""),
        (films([0, 0, 0, 0, 1, 1, 1, 1], "abcdefga"), "film-0 and film-7 are the same, and in two parts."),
    ],
)
def test_of_films_it_says_that_a_training_stops_where_it_does(found: ClassFolders, sentence: str) -> None:
    stopping = [one["text"] for one in describe_data(images_table(found, 0))["problems"] if one["stops_training"]]
    assert stopping == ([sentence] if sentence else [])
    with pytest.raises(InputError) if sentence else nullcontext():
        split_parts(found, [np.zeros((2, 2), np.uint8)] * len(found.images), 0)


def with_facts(found: ClassFolders, **columns: Sequence[str]) -> ClassFolders:
    images = [
        replace(image, facts={name: values[n] for name, values in columns.items()})
        for n, image in enumerate(found.images)
    ]
    return replace(found, images=tuple(images))


def test_numbers_of_a_label_table_have_a_range_and_are_subgroups_as_in_an_evaluation() -> None:
    ages = ["", *(str(20 + n) for n in range(40))]
    found = with_facts(films([n % 2 for n in range(41)]), age=ages, sex=["FM"[n % 2] for n in range(41)])
    columns = describe_data(images_table(found, 0))["columns"]
    assert columns["age"]["kind"] == "number"
    assert (columns["age"]["missing"], columns["age"]["min_median_max"]) == (1, [20, 39.5, 59])
    assert columns["age"]["values"] == {
        "20 to 29": {"NORMAL": 5, "PNEUMONIA": 5}, "30 to 39": {"NORMAL": 5, "PNEUMONIA": 5},
        "40 to 49": {"NORMAL": 5, "PNEUMONIA": 5}, "50 to 59": {"NORMAL": 5, "PNEUMONIA": 5},
        "not given": {"NORMAL": 1, "PNEUMONIA": 0},
    }  # fmt: skip
    assert {f"age: {name}" for name in columns["age"]["values"]} == set(groups_of_column("age", ages))
    assert columns["sex"]["values"]["F"] == {"NORMAL": 21, "PNEUMONIA": 0}
    assert columns["sex"]["gives_label_away"] is True


def test_folds_keep_the_columns_of_a_label_table() -> None:
    found = with_facts(films([0, 1] * 6), scanner=["A", "B"] * 6, **{COPY_ELSEWHERE: ["no"] * 12})
    columns = describe_data(folds_table(found, np.arange(12), 2, 0))["columns"]
    assert columns.keys() == {"scanner", "size of the group"}
    assert columns["scanner"]["values"]["A"] == {"NORMAL": 6, "PNEUMONIA": 0}


def test_stays_are_told_by_age_sex_and_unit_and_the_same_stay_twice_is_found() -> None:
    stays = make_stays(20)
    copied = replace(stays[3], record_id=7)
    nothing = [Stay(number, {}, (), False) for number in (8, 9)]  # of whom nothing is known: not the same stay
    table = stays_table(Path(), {"a": Stays("set-a", (*stays, copied, *nothing), "d")}, "a")
    report = describe_data(table)
    assert {name for name, column in report["columns"].items() if "values" in column} == {"Age", "Gender", "ICUType"}
    women = sum(stay.descriptors["Gender"] == 0 for stay in (*stays, copied))
    assert sum(report["columns"]["Gender"]["values"]["women"].values()) == women
    assert report["columns"]["ICUType"]["values"] == {"medical": {"survived": 13, "died": 8}}
    assert [entry["names"] for entry in report["duplicates"]] == [["100003", "7"]]
    assert "100003 and 7 are the same, and of two patients." in [one["text"] for one in report["problems"]]


def test_the_same_patient_in_two_rows_of_a_cohort_is_found(tmp_path: Path) -> None:
    patients = make_patients(12)
    spec = input_spec(input_document(FIELDS))
    cohort = read_cohort(write_csv(tmp_path / "a.csv", [*patients, patients[4]]), spec)
    report = describe_data(cohort_table(cohort, spec))
    assert [entry["names"] for entry in report["duplicates"]] == [["row 6", "row 14"]]
    assert {"text": "row 6 and row 14 are the same, and of two patients.", "stops_training": False} in report[
        "problems"
    ]


def test_a_fold_without_a_class_stops_nothing() -> None:
    """What is learned from, and what calibrates, are all the other folds."""
    found = films([0, 0, 0, 0, 1, 1])
    report = describe_data(folds_table(found, np.array([0, 1, 2, 3, 4, 4]), 2, 0))
    (told,) = [one for one in report["problems"] if "no case of" in one["text"]]
    assert told["stops_training"] is False


def test_a_column_that_says_little_is_left_alone(table: DataTable) -> None:
    assert not any("gives the label away" in text for text in problems(table))


def test_identifiers_are_no_subgroups(table: DataTable) -> None:
    column = describe_data(with_column(table, [f"id-{n}" for n in range(N)]))["columns"]["x"]
    assert "values" not in column


def test_the_page_holds_all_of_it_and_nothing_from_outside(table: DataTable, tmp_path: Path) -> None:
    columns = {**table.columns, "<i>scanner": ["A"] * N}
    wicked = replace(table, unusable=[("<script>alert(1)</script>", "<b>")], columns=columns)
    report = write_data_report(wicked, tmp_path / "new" / "report")
    assert json.loads((tmp_path / "new/report/data.json").read_text(encoding="utf-8")) == report
    page = (tmp_path / "new/report/data.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<i>" not in page
    assert "http" not in page
    for word in (
        "&lt;script&gt;",
        "12 well, 4 sick",
        "20 patients.",
        "<th>patients</th>",
        "By sex",
        "30 well, 10 sick",
    ):
        assert word in page


def test_a_report_that_cannot_be_written_is_one_sentence(table: DataTable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        write_data_report(table, tmp_path / "file" / "report")


@pytest.mark.parametrize(
    ("parts_copies", "told"),
    [(True, "and the figures are too good for it"), (False, "none is both learned from and judged on")],
)
def test_a_training_says_how_many_copies_there_are(
    table: DataTable, tmp_path: Path, parts_copies: bool, told: str
) -> None:
    lines: list[str] = []
    twice = replace(copies(copies(copies(table, 0, 1), 0, 30), 4, 5), parts_copies=parts_copies)
    report = write_data_report(twice, tmp_path, progress=lines.append)
    assert report["copies"] == {"n": 3, "are_parted": parts_copies}
    assert len(lines) == 1
    assert lines[0].startswith("3 of 40 cases are copies of another one: ")
    assert told in lines[0]
    text = {"en": "All patients", "zh": "全部患者"}
    said = with_copies(text, report)
    assert (said["en"].startswith("All patients. 3 of 40 cases are copies of another one: ")) == parts_copies
    assert ("40例中有3例" in said["zh"]) == parts_copies
    assert parts_copies or said == text


def test_data_without_copies_say_nothing_of_them(table: DataTable, tmp_path: Path) -> None:
    lines: list[str] = []
    report = write_data_report(replace(table, parts_copies=True), tmp_path, progress=lines.append)
    assert lines == []
    assert with_copies({"en": "All", "zh": "全部"}, report) == {"en": "All", "zh": "全部"}


@pytest.mark.parametrize(("learned", "are_parted"), [("a", False), ("ab", True)])
def test_copies_of_stays_count_where_they_are_learned_from(learned: str, are_parted: bool) -> None:
    first, second = make_stays(4), make_stays(4, seed=1, first_id=500)
    twin = replace(second[0], record_id=900)
    sets = {"a": Stays("set-a", tuple(first), "a"), "b": Stays("set-b", (*second, twin), "b")}
    assert describe_data(stays_table(Path(), sets, learned))["copies"] == {"n": 1, "are_parted": are_parted}

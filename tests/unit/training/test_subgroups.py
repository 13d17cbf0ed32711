"""Groups within the data: which there are, and what sets a group apart from all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from medviewer.training.data import COPY_ELSEWHERE, LabelledImage
from medviewer.training.intervals import gaps
from medviewer.training.report_page import subgroup_table
from medviewer.training.scoring import Scored
from medviewer.training.subgroups import FEWEST, groups_of_column, subgroups

pytestmark = pytest.mark.torch


def scored(facts: list[dict[str, str]], probability: np.ndarray, names: list[str] | None = None) -> Scored:
    """One image of each patient; every second has the finding."""
    images = tuple(
        LabelledImage(Path(f"{n}.png"), names[n] if names else f"{n}.png", n % 2, f"p{n}", f"d{n}", "", fact)
        for n, fact in enumerate(facts)
    )
    truth = np.arange(len(facts)) % 2 == 1
    return Scored(images, truth, probability, np.ones(len(facts)), {})


def by_name(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in found}


def test_each_value_of_a_column_is_a_group() -> None:
    found = groups_of_column("scanner", ["A", "B", "A", "", "B"])
    assert {name: members.tolist() for name, members in found.items()} == {
        "scanner: A": [True, False, True, False, False],
        "scanner: B": [False, True, False, False, True],
        "scanner: not given": [False, False, False, True, False],
    }


@pytest.mark.parametrize("values", [["A"] * 5, [""] * 5])
def test_what_all_have_makes_no_group(values: list[str]) -> None:
    assert groups_of_column("scanner", values) == {}


def test_many_numbers_are_cut_into_quarters() -> None:
    found = groups_of_column("age", [*map(str, range(20, 60)), "", ""])
    assert {name: int(members.sum()) for name, members in found.items()} == {
        "age: 20 to 29": 10, "age: 30 to 39": 10, "age: 40 to 49": 10, "age: 50 to 59": 10, "age: not given": 2,
    }  # fmt: skip
    assert list(groups_of_column("birads", list("0123401234"))) == [f"birads: {n}" for n in range(5)]


def test_a_word_among_numbers_is_a_value_too() -> None:
    values = [*map(str, range(30)), *["nan"] * 12]
    assert int(groups_of_column("age", values)["age: nan"].sum()) == 12


def test_a_model_that_fails_in_one_group_is_seen_to_fail_there() -> None:
    """Right on men; on women it says the same of all."""
    n = 120
    chance = np.random.default_rng(4)
    is_woman = np.arange(n) % 4 >= 2
    right = np.clip(np.where(np.arange(n) % 2 == 1, 0.7, 0.3) + chance.normal(0, 0.15, n), 0.01, 0.99)
    said = np.where(is_woman, chance.uniform(0.1, 0.9, n), right)
    found = by_name(subgroups(scored([{"sex": "F" if woman else "M"} for woman in is_woman], said), 0.5))
    women, men = found["sex: F"], found["sex: M"]
    assert women["n"] == men["n"] == 60
    assert set(women["gaps"]) == {"auc", "sensitivity", "specificity"}
    for name, gap in women["gaps"].items():
        assert gap["value"] == pytest.approx(women["metrics"][name]["value"] - men["metrics"][name]["value"], abs=2e-5)
        assert gap["value"] == -men["gaps"][name]["value"]
        assert gap["ci95"][1] < 0
    assert men["gaps"]["auc"]["ci95"][0] > 0


def test_near_copies_are_named_once() -> None:
    facts = [{COPY_ELSEWHERE: "yes" if n < 20 else "no"} for n in range(40)]
    found = by_name(subgroups(scored(facts, np.linspace(0.1, 0.9, 40)), 0.5))
    assert {name for name in found if "quarter" not in name} == {
        "without a near copy in another part of the file", "with one",
    }  # fmt: skip


def test_a_group_needs_cases_and_others_to_be_compared_with() -> None:
    facts = [{"site": "A" if n < FEWEST - 1 else "B"} for n in range(40)]
    found = by_name(subgroups(scored(facts, np.linspace(0.1, 0.9, 40)), 0.5))
    assert "site: A" not in found
    assert "gaps" not in found["site: B"]


def test_what_a_group_shares_with_the_others_has_no_gap() -> None:
    """Bacterial and viral films are both set beside all normal ones: of those alone there is nothing to compare."""
    names = [
        f"PNEUMONIA/person{n}_{'virus' if n % 4 == 1 else 'bacteria'}_{n}.jpeg"
        if n % 2
        else f"NORMAL/IM-{n:04d}-1.jpeg"
        for n in range(80)
    ]
    whole = scored([{}] * 80, np.random.default_rng(1).uniform(0, 1, 80), names)
    images = tuple(LabelledImage(Path(one.name), one.name, one.label, one.group, one.digest) for one in whole.images)
    found = by_name(subgroups(Scored(images, whole.truth, whole.probability, whole.brightness, {}), 0.5))
    assert set(found["viral pneumonia, against all normal"]["gaps"]) == {"auc", "sensitivity"}
    assert "gaps" not in found["normal, series IM, against all pneumonia"]  # there is no other series


def test_a_gap_is_the_difference_with_the_chance_of_both() -> None:
    own = {"auc": {"value": 0.8, "ci95": [0.7, 0.88]}, "ece": {"value": None, "ci95": None}, "f1": one(0.5, None)}
    others = {"auc": {"value": 0.9, "ci95": [0.84, 0.93]}, "ece": one(0.1, [0, 1]), "f1": one(0.75, [0.5, 1])}
    found = gaps(own, others, ["auc", "ece", "f1", "nothing"])
    assert found == {
        "auc": {"value": -0.1, "ci95": [round(-0.1 - np.hypot(0.1, 0.03), 5), round(-0.1 + np.hypot(0.08, 0.06), 5)]},
        "f1": {"value": -0.25, "ci95": None},
    }


def one(value: float, ends: list[float] | None) -> dict[str, Any]:
    return {"value": value, "ci95": ends}


def test_the_page_marks_what_chance_does_not_explain() -> None:
    groups = [
        {"name": "sex: <F>", "gaps": {"auc": one(-0.2, [-0.3, -0.1]), "f1": one(0.1, None)}},
        {"name": "sex: M", "gaps": {"auc": one(0.02, [-0.1, 0.1])}},
        {"name": "lonely"},
    ]
    page = subgroup_table({"subgroups": groups}, "<table></table>", "cases")
    assert "<td>sex: &lt;F&gt;</td><td>-0.200 (-0.300 to -0.100) ◆</td><td>+0.100</td>" in page
    assert "<td>sex: M</td><td>+0.020 (-0.100 to +0.100)</td><td>–</td>" in page
    assert "lonely" not in page
    assert subgroup_table({"subgroups": groups[2:]}, "<table></table>", "cases") == "<table></table>"


def test_a_report_without_groups_says_why() -> None:
    page = subgroup_table({"subgroups": []}, "<table></table>", "notes")
    assert page == "<p>No group among these notes is large enough, and of all classes, for figures of its own.</p>"

"""Groups of patients, molecules and images judged by folds, and how far each is from all others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from medviewer.inference.card import input_spec
from medviewer.training import survival_folds
from medviewer.training.cohorts import Cohort, columns_of
from medviewer.training.data import ClassFolders, LabelledImage
from medviewer.training.fold_report import fold_report
from medviewer.training.image_folds import PLAIN, FoldAnswers, cross_decide
from medviewer.training.intervals import gaps
from medviewer.training.metrics import roc_auc
from medviewer.training.molecule_page import molecule_page
from medviewer.training.molecule_scores import ScoredMolecules, report_on, subgroups_of_molecules
from medviewer.training.recipes.survival_card import FIELDS, input_document
from medviewer.training.report_page import subgroup_table
from medviewer.training.survival_folds import SurvivalAnswers, survival_subgroups

pytestmark = pytest.mark.torch


def watched(n: int = 240) -> tuple[SurvivalAnswers, np.ndarray]:
    """Patients of whom every second one is a woman; the model ranks women rightly and men by chance."""
    chance = np.random.default_rng(1)
    is_woman = np.arange(n) % 2 == 0
    risk = chance.normal(0, 1, n)
    time = chance.exponential(100 * np.exp(-1.5 * risk)) + 1
    said = np.where(is_woman, risk, chance.normal(0, 1, n))
    free = np.exp(-0.3 * np.exp(said))[None, :, None]
    everyone = np.zeros((1, n), dtype=np.int64)
    return SurvivalAnswers(time, np.ones(n, bool), free, everyone, np.array([50.0]), 50.0), is_woman


def test_patients_whom_the_model_ranks_worse_have_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survival_folds, "N_RESAMPLES_BRIEF", 100)
    answers, is_woman = watched()
    columns = {"sex": ["f" if one else "m" for one in is_woman], "age": [f"{i % 60 + 30}" for i in range(240)]}
    found = {group["name"]: group for group in survival_subgroups(answers, columns)}
    assert set(found) == {"sex: f", "sex: m", "age: 30 to 44", "age: 45 to 59", "age: 60 to 74", "age: 75 to 89"}
    women, men = found["sex: f"], found["sex: m"]
    assert (women["n"], men["n"]) == (120, 120)
    assert women["metrics"].keys() == men["gaps"].keys() == {"concordance", "brier_50"}
    assert men["gaps"]["concordance"]["ci95"][1] < 0 < women["gaps"]["concordance"]["ci95"][0]
    own, others = (group["metrics"]["concordance"]["value"] for group in (women, men))
    assert women["gaps"]["concordance"]["value"] == pytest.approx(own - others, abs=2e-5)
    assert men["gaps"]["concordance"]["value"] == -women["gaps"]["concordance"]["value"]
    assert own > 0.75
    assert others < 0.6


def test_groups_of_few_patients_or_few_events_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survival_folds, "N_RESAMPLES_BRIEF", 20)
    answers, _ = watched(60)
    place = np.array(["a"] * 9 + ["b"] * 15 + ["c"] * 36)
    answers.event[9:24] = np.arange(15) < 4
    found = {group["name"]: group for group in survival_subgroups(answers, {"place": place.tolist()})}
    assert list(found) == ["place: c"]
    assert found["place: c"]["gaps"]
    answers.event[place != "c"] = False  # the others are too few to set it beside
    assert survival_subgroups(answers, {"place": place.tolist()})[0]["gaps"] == {}


def test_a_small_group_that_is_ranked_rightly_by_chance_is_not_set_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """No draw of it says otherwise: that says nothing of how far it may be from the others."""
    monkeypatch.setattr(survival_folds, "N_RESAMPLES_BRIEF", 50)
    answers, _ = watched(100)
    order = np.argsort(answers.time[:10])
    answers.free[0, :10, 0] = np.linspace(0.1, 0.9, 10)[np.argsort(order)]
    found = survival_subgroups(answers, {"place": ["a"] * 10 + ["b"] * 90})
    for group in found:
        gap = group["gaps"]["concordance"]
        assert abs(gap["value"]) > 0.1
        assert gap["ci95"] is None
    assert found[0]["metrics"]["concordance"] == {"value": 1.0, "ci95": None}
    page = subgroup_table({"subgroups": found}, "", "patients")
    assert "concordance" in page
    assert page.count("<td>+0.") + page.count("<td>-0.") >= 2


def test_columns_are_told_in_the_words_of_the_card() -> None:
    spec = input_spec(input_document(FIELDS))
    values = np.zeros((2, len(FIELDS)))
    values[:, 0], values[1, 1], values[1, 6] = (61.0, 72.5), 1, 1
    cohort = Cohort(Path("a.csv"), values, np.ones(2), np.ones(2, bool), [1, 2], [], "d")
    found = columns_of(cohort, spec)
    assert list(found) == [field["name"] for field in FIELDS]
    assert found["age"] == ["61", "72.5"]
    assert found["sex"] == ["m", "f"]
    assert found["cardiovascular_disease"] == ["no", "yes"]


def molecules(n: int = 400) -> ScoredMolecules:
    """Large and small molecules; assay b is answered badly, and no large one is active in it."""
    chance = np.random.default_rng(2)
    is_large = np.arange(n) % 2 == 0
    truth = (chance.random((n, 2)) < 0.4).astype(float)
    truth[is_large, 1] = 0
    logits = np.stack([2 * truth[:, 0], -2 * truth[:, 1]], axis=1) + chance.normal(0, 1, (n, 2))
    logits[~is_large, 0] = chance.normal(0, 1, (~is_large).sum())
    size = np.where(is_large, 35, 25)
    ones = np.ones(n, np.int64)
    return ScoredMolecules([str(i) for i in range(n)], truth, 1 / (1 + np.exp(-logits)), logits[:, None], size, ones)


def test_molecules_are_compared_over_the_assays_that_both_sides_have() -> None:
    given = molecules()
    groups = {group["name"]: group for group in subgroups_of_molecules(given, {"a": 0.5, "b": 0.5})}
    large, small = groups["more than 30 atoms"], groups["21 to 30 atoms"]
    assert (large["n_assays"], small["n_assays"]) == (1, 2)
    assert large["n_assays_shared"] == small["n_assays_shared"] == 1
    is_large = given.n_atoms == 35
    one, other = (roc_auc(given.truth[part, 0] == 1, given.probability[part, 0]) for part in (is_large, ~is_large))
    assert large["gaps"]["auc"]["value"] == pytest.approx(one - other, abs=2e-5)
    assert large["gaps"]["auc"]["ci95"][0] > 0 > small["gaps"]["auc"]["ci95"][1]
    apart = large["metrics"]["auc"]["value"] - small["metrics"]["auc"]["value"]  # of means over other assays
    assert apart > large["gaps"]["auc"]["value"] + 0.1
    assert "gaps" not in groups["with a ring"]  # all are, so that there are no others
    assert large["gaps"].keys() == {"auc", "sensitivity", "specificity"}


def test_molecules_without_a_shared_assay_have_no_gap_and_the_page_says_how_many_there_are() -> None:
    given = molecules()
    given.truth[given.n_atoms == 25, 0] = np.nan
    found = subgroups_of_molecules(given, {"a": 0.5, "b": 0.5})
    assert all("gaps" not in group and "n_assays_shared" not in group for group in found if "atoms" in group["name"])
    pytest.importorskip("matplotlib")
    given = molecules()
    data = {"split": None, "digest": "d", "n": 400, "n_scaffolds": 400, "per_class": {}, "unusable": []}
    about = {"model": {"id": "m", "version": "1", "sha256": "s"}, "started": "now", "data": data, "novelty": None}
    report = report_on(given, {"a": 0.5, "b": 0.5}, ())
    page = molecule_page(about | report, given.truth, given.probability)
    large = next(group for group in report["subgroups"] if group["name"] == "more than 30 atoms")
    assert f"{large['gaps']['auc']['value']:+.3f}" in page
    assert "<td>more than 30 atoms</td><td>200</td><td>1</td><td>1</td>" in page
    assert "over the assays that can be measured in the group and in all others" in page


def report_by_folds(truth: np.ndarray) -> dict[str, object]:
    """Of 200 images 80 have a near copy, and the model is worse on these."""
    chance, n = np.random.default_rng(3), 200
    logits = np.where(np.arange(n) < 80, 0.3, 3.0) * truth + chance.normal(0, 1, (2, n))
    folds = np.stack([np.random.default_rng(r).permutation(n) % 5 for r in range(2)])
    groups = np.where(np.arange(n) < 80, np.arange(n) // 2 * 2, np.arange(n))
    answers = FoldAnswers(truth, groups, folds, {PLAIN: logits})
    images = tuple(LabelledImage(Path(), f"{i}", int(t), f"{i}", "d") for i, t in enumerate(truth))
    return fold_report(ClassFolders(Path(), ("NO", "YES"), images), answers, cross_decide(answers), {"en": "by folds"})


def test_images_with_near_copies_are_set_beside_those_without() -> None:
    alone, copied = report_by_folds(np.arange(200) % 4 == 0)["subgroups"]
    assert alone["gaps"].keys() == {"auc", "sensitivity", "specificity"}
    assert alone["gaps"] == gaps(alone["metrics"], copied["metrics"], list(alone["gaps"]))
    assert copied["gaps"]["auc"]["value"] == -alone["gaps"]["auc"]["value"]
    assert copied["gaps"]["auc"]["ci95"][1] < 0


def test_a_part_without_another_has_no_gap() -> None:
    (alone,) = report_by_folds((np.arange(200) % 4 == 0) & (np.arange(200) >= 80))["subgroups"]
    assert "gaps" not in alone

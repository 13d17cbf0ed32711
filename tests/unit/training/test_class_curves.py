"""One class against all others: scikit-learn's figures, and curves of no more classes than an eye tells apart."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as theirs

from medviewer.training.class_curves import MOST_DRAWN, drawn_classes, mean_roc, one_against_rest
from medviewer.training.class_metrics import softmax

CHANCE = np.random.default_rng(4)
NAMES = ["a", "b", "c", "d"]
TRUTH = CHANCE.choice(4, 120, p=(0.6, 0.2, 0.15, 0.05))
P = softmax(CHANCE.normal(0, 1, (120, 4)) + 2.0 * np.eye(4)[TRUTH])
GROUPS = [str(index) for index in range(120)]


def test_they_are_scikit_learns() -> None:
    found = one_against_rest(TRUTH, P, NAMES, GROUPS)
    for index, entry in enumerate(found["classes"]):
        own = index == TRUTH
        assert (entry["name"], entry["n"]) == (NAMES[index], own.sum())
        assert entry["auc"] == pytest.approx(theirs.roc_auc_score(own, P[:, index]), abs=1e-4)
        assert entry["pr_auc"] == pytest.approx(theirs.average_precision_score(own, P[:, index]), abs=1e-4)
    macro = theirs.roc_auc_score(TRUTH, P, multi_class="ovr", average="macro")
    assert found["macro"]["auc"]["value"] == pytest.approx(macro, abs=1e-4)
    low, high = found["macro"]["auc"]["ci95"]
    assert low < macro < high


def test_a_class_without_a_case_is_in_no_mean() -> None:
    with_more = np.column_stack([P, np.zeros(120)])
    found = one_against_rest(TRUTH, with_more, [*NAMES, "e"], GROUPS)
    assert found["classes"][4] == {"name": "e", "n": 0, "auc": None, "pr_auc": None}
    assert found["macro"] == one_against_rest(TRUTH, P, NAMES, GROUPS)["macro"]
    np.testing.assert_array_equal(mean_roc(TRUTH, with_more), mean_roc(TRUTH, P))


def test_cases_of_one_class_have_no_figures_and_no_curves() -> None:
    truth = np.zeros(10, np.int64)
    found = one_against_rest(truth, P[:10], NAMES, GROUPS[:10])
    assert found["macro"]["auc"] == {"value": None, "ci95": None}
    assert drawn_classes(truth, 4) == []


def test_the_area_under_the_mean_curve_is_the_mean_of_the_areas() -> None:
    areas = [entry["auc"] for entry in one_against_rest(TRUTH, P, NAMES, GROUPS)["classes"]]
    assert np.trapezoid(mean_roc(TRUTH, P), np.linspace(0, 1, 201)) == pytest.approx(np.mean(areas), abs=0.01)


def test_of_many_classes_the_most_frequent_are_drawn() -> None:
    truth = np.repeat(np.arange(20), np.arange(20))  # class n has n cases
    assert drawn_classes(truth, 20) == list(range(19, 19 - MOST_DRAWN, -1))
    assert drawn_classes(truth, 20, most=99) == list(range(19, 0, -1))

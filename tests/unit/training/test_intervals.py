"""Intervals of calibration errors, on predictors whose true error is known: calibrated ones, and others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from medviewer.inference.card import read_card
from medviewer.resources import models_dir
from medviewer.training.calibration import sigmoid
from medviewer.training.class_metrics import MEASURES, with_class_intervals
from medviewer.training.fold_report import fold_metrics
from medviewer.training.image_folds import PLAIN, CrossDecided, FoldAnswers
from medviewer.training.intervals import gap_interval, group_draws, interval_entry
from medviewer.training.metrics import CalibrationError, calibration_gaps, measures, with_intervals
from medviewer.training.molecule_scores import ScoredMolecules, summarise_molecules

N_SETS, N_DRAWS = 80, 300
# How the probability that is said comes from the true one; chance of the true ones is Beta(a, b).
PREDICTORS = {
    "calibrated": (lambda p: p, (1, 1)),
    "calibrated, mostly sure": (lambda p: p, (0.4, 0.4)),
    "slightly too sure": (lambda p: sigmoid(1.15 * logit(p)), (1, 1)),
    "too sure": (lambda p: sigmoid(1.6 * logit(p)), (0.6, 5)),
    "too high": (lambda p: sigmoid(logit(p) + 0.5), (0.6, 5)),
    "much too high": (lambda p: sigmoid(logit(p) + 1.5), (1, 1)),
}


def logit(p):
    return np.log(p / (1 - p))


def cases(name, n, chance):
    said, shape = PREDICTORS[name]
    true = np.clip(chance.beta(*shape, n), 1e-6, 1 - 1e-6)
    return chance.random(n) < true, said(true)


def drawn(truth, probability, chance):
    """Gaps of bootstrap draws of the cases, all at once."""
    n = len(truth)
    weights = chance.multinomial(n, np.full(n, 1 / n), N_DRAWS)
    own = np.zeros((n, 15))
    own[np.arange(n), np.minimum((probability * 15).astype(int), 14)] = probability - truth
    return weights @ own / n


@pytest.fixture(scope="module")
def simulated():
    """By predictor, shares of many data sets: truth covered, truth covered by percentiles, value held."""
    chance, shares = np.random.default_rng(5), {}
    for name in PREDICTORS:
        is_right = name.startswith("calibrated")
        true = 0.0 if is_right else np.abs(calibration_gaps(*cases(name, 1_000_000, chance))).sum()
        found = []
        for _ in range(N_SETS):
            truth, probability = cases(name, 300, chance)
            gaps, draws = calibration_gaps(truth, probability), drawn(truth, probability, chance)
            low, high = gap_interval(gaps, draws)
            plain = np.percentile(np.abs(draws).sum(1), (2.5, 97.5))
            found.append((low <= true <= high, plain[0] <= true <= plain[1], low <= np.abs(gaps).sum() <= high))
        shares[name] = np.mean(found, axis=0)
    return shares


def test_an_interval_holds_its_value(simulated):
    assert [held for _, _, held in simulated.values()] == [1.0] * len(PREDICTORS)


def test_an_interval_covers_the_truth_about_95_times_of_100(simulated):
    covered = {name: share for name, (share, _, _) in simulated.items()}
    assert min(covered.values()) >= 0.87, covered
    assert 0.92 <= np.mean(list(covered.values())) <= 0.99, covered


def test_percentiles_of_the_draws_would_not(simulated):
    assert [share for name, (_, share, _) in simulated.items() if name.startswith("calibrated")] == [0.0, 0.0]


def test_an_interval_is_no_wider_than_it_need_be():
    chance = np.random.default_rng(6)
    truth, probability = cases("much too high", 4000, chance)
    gaps, draws = calibration_gaps(truth, probability), drawn(truth, probability, chance)
    low, high = gap_interval(gaps, draws)
    plain = np.percentile(np.abs(draws).sum(1), (2.5, 97.5))
    assert 0 < low < high
    assert high - low == pytest.approx(plain[1] - plain[0], rel=0.15)  # where the error is large, both are right


def test_nothing_off_and_no_chance_of_it():
    assert gap_interval(np.zeros(3), np.zeros((5, 3))) == (0, 0)
    low, high = gap_interval(np.zeros(2), np.random.default_rng(0).normal(0, 0.1, (200, 2)))
    assert low == 0 < high  # one coin that fell as it should is no proof


def test_entries_of_numbers_and_of_gaps():
    assert interval_entry(float("nan"), []) == {"value": None, "ci95": None}
    assert interval_entry(0.5, [float("nan"), 0.4, 0.6]) == {"value": 0.5, "ci95": [0.405, 0.595]}
    assert interval_entry(np.array([0.1, -0.2]), []) == {"value": 0.3, "ci95": None}
    entry = interval_entry(np.array([0.1, -0.2]), [np.full(2, np.nan), np.array([0.1, -0.2])])
    assert entry == {"value": 0.3, "ci95": [0.3, 0.3]}


def test_cases_of_one_patient_tell_nothing_of_chance_between_patients():
    """Each draw would be the same cases again: an interval without width, as if everything were known."""
    chance = np.random.default_rng(12)
    truth, probability = cases("too sure", 60, chance)
    found = with_intervals(measures(0.5), truth, probability, ["one"] * 60, n_resamples=20)
    assert {name for name, entry in found.items() if entry["ci95"] is not None or entry["value"] is None} == set()
    two = with_intervals(measures(0.5), truth, probability, ["one", "two"] * 30, n_resamples=20)
    assert all(entry["ci95"] is not None for entry in two.values())

    shares = chance.dirichlet((1, 1, 1), 60)
    classes = with_class_intervals(MEASURES, shares.argmax(1), shares, ["one"] * 60, n_resamples=20)
    assert {entry["ci95"] for entry in classes.values()} == {None}

    ones = np.ones(60, np.int64)
    molecules = ScoredMolecules(
        ["c1ccccc1"] * 60, truth[:, None].astype(float), probability[:, None], np.zeros((60, 0, 1)), ones, ones
    )
    metrics = summarise_molecules(molecules, {"a": 0.5})["metrics"]
    assert {entry["ci95"] for entry in metrics.values()} == {None}
    assert metrics["auc"]["value"] is not None


def test_draws_are_of_groups_and_repeat():
    draws = list(group_draws(3, 50))
    assert {int(one.sum()) for one in draws} == {3}
    np.testing.assert_array_equal(draws, list(group_draws(3, 50)))
    assert list(group_draws(1, 50)) == []


def is_from_zero(entry):
    low, high = entry["ci95"]
    return low == 0 and low < entry["value"] <= high


def test_every_report_uses_it():
    """Of a calibrated model no percentile of the draws is zero; the interval begins there."""
    chance = np.random.default_rng(8)
    truth, probability = cases("calibrated", 1000, chance)
    ids = [str(i) for i in range(1000)]
    assert is_from_zero(with_intervals(measures(0.5), truth, probability, ids, n_resamples=100)["ece"])
    named = measures(0.5)["ece_balanced"]
    assert isinstance(named, CalibrationError)
    even = truth[np.argsort(truth)][np.r_[:400, -400:0]]
    flat = with_intervals({"it": named}, even, np.full(800, 0.5) + chance.normal(0, 1e-3, 800), ids[:800])["it"]
    assert flat["ci95"][0] <= flat["value"] <= flat["ci95"][1]


def test_reports_of_classes_use_it():
    chance = np.random.default_rng(9)
    probability = chance.dirichlet((1, 1, 1), 1500)
    truth = (chance.random((1500, 1)) > probability.cumsum(1)).sum(1)
    found = with_class_intervals(MEASURES, truth, probability, [str(i) for i in range(1500)], n_resamples=100)
    assert is_from_zero(found["ece"])


def test_reports_of_folds_use_it_on_the_mean_over_repeats():
    chance = np.random.default_rng(10)
    truth, probability = cases("calibrated", 400, chance)
    twice = np.stack([probability, probability])
    answers = FoldAnswers(truth, np.arange(400), np.zeros((2, 400), np.int64), {PLAIN: logit(twice)})
    found = fold_metrics(answers, CrossDecided({PLAIN: twice}, {PLAIN: twice > 0.5}))
    ids = [str(i) for i in range(400)]
    once = with_intervals(measures(0.5), truth, probability, ids)["ece"]
    assert found["ece"]["value"] == once["value"]
    assert is_from_zero(found["ece"])


def test_reports_of_molecules_use_it_on_each_assay_and_on_the_mean():
    chance = np.random.default_rng(11)
    columns = [cases("calibrated", 900, chance) for _ in range(3)]
    truth, probability = (np.stack([one[i] for one in columns], axis=1).astype(float) for i in (0, 1))
    parts, ones = np.zeros((900, 0, 3)), np.ones(900, np.int64)
    scored = ScoredMolecules([str(i) for i in range(900)], truth, probability, parts, ones, ones)
    found = summarise_molecules(scored, {"a": 0.5, "b": 0.5, "c": 0.5})
    each = [found["assays"][name]["metrics"]["ece"] for name in "abc"]
    assert found["metrics"]["ece"]["value"] == pytest.approx(np.mean([one["value"] for one in each]), abs=1e-5)
    assert all(is_from_zero(entry) for entry in (*each, found["metrics"]["ece"]))


def entries(of: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every figure with an interval on a card, and where it stands."""
    pairs = of.items() if isinstance(of, dict) else enumerate(of) if isinstance(of, list) else ()
    for key, value in pairs:
        if isinstance(value, dict) and value.get("ci95") is not None and "value" in value:
            yield f"{where}/{key}", value
        else:
            yield from entries(value, f"{where}/{key}")


CARDS = sorted(folder.name for folder in models_dir().iterdir() if (folder / "model.json").is_file())


@pytest.mark.parametrize("model", CARDS)
def test_no_interval_on_a_bundled_card_lies_beside_its_value(model: str) -> None:
    found = dict(entries(dict(read_card(models_dir() / model).document)))
    assert {k: v for k, v in found.items() if not v["ci95"][0] <= v["value"] <= v["ci95"][1]} == {}

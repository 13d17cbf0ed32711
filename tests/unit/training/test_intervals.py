"""Intervals of calibration errors, on predictors whose true error is known: calibrated ones, and others."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from medviewer.inference.card import read_card
from medviewer.resources import models_dir
from medviewer.training.calibration import sigmoid
from medviewer.training.class_metrics import MEASURES, with_class_intervals
from medviewer.training.fold_report import fold_metrics
from medviewer.training.image_folds import PLAIN, CrossDecided, FoldAnswers
from medviewer.training.intervals import (
    gap_interval,
    group_draws,
    interval_entry,
    mean_interval,
    separated_auc_bound,
    unseen_share,
)
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


def right_cases(n_sick: int, n_well: int):
    truth = np.repeat([True, False], [n_sick, n_well])
    return truth, np.where(truth, 0.9, 0.1), [str(i) for i in range(n_sick + n_well)]


@pytest.mark.parametrize(("n", "known"), [(1, 0.975), (10, 0.3085), (20, 0.1684), (100, 0.0362)])
def test_what_so_many_without_an_error_cannot_exclude_is_the_exact_interval(n, known):
    """Clopper and Pearson (1934), from the tables: 0 of n."""
    assert unseen_share(n) == pytest.approx(known, abs=1e-4)


def test_a_model_that_was_never_wrong_has_an_interval():
    truth, probability, ids = right_cases(20, 10)
    found = with_intervals(measures(0.5), truth, probability, ids, n_resamples=50)
    for name in ("auc", "pr_auc", "accuracy", "sensitivity", "specificity", "f1", "balanced_accuracy"):
        assert found[name]["value"] == found[name]["ci95"][1] == 1, name
    assert found["sensitivity"]["ci95"][0] == pytest.approx(1 - 0.1684, abs=1e-4)
    assert found["specificity"]["ci95"][0] == pytest.approx(1 - 0.3085, abs=1e-4)
    assert found["balanced_accuracy"]["ci95"][0] == pytest.approx(1 - np.hypot(0.1684, 0.3085) / 2, abs=1e-4)
    assert found["auc"]["ci95"][0] == pytest.approx(separated_auc_bound(20, 10), abs=1e-5)
    assert 0 < found["pr_auc"]["ci95"][0] < 0.9
    assert 0 < found["f1"]["ci95"][0] < 0.9
    assert found["brier"]["ci95"][0] < found["brier"]["value"] == 0.01 < found["brier"]["ci95"][1]
    assert found["ece"]["ci95"][0] < found["ece"]["value"] == 0.1 < found["ece"]["ci95"][1]


@pytest.mark.parametrize(("n_sick", "n_well"), [(1, 5), (2, 2), (5, 5), (10, 10), (10, 100), (40, 20)])
def test_a_network_no_better_than_the_bound_seldom_parts_the_classes(n_sick, n_well):
    """Of two normal distributions with that AUC fewer than 2.5% of data sets have every sick above every well one."""
    bound = separated_auc_bound(n_sick, n_well)
    apart = np.sqrt(2) * NormalDist().inv_cdf(bound)
    chance = np.random.default_rng(13)
    sick = chance.normal(apart, 1, (20_000, n_sick)).min(1)
    well = chance.normal(0, 1, (20_000, n_well)).max(1)
    assert (sick > well).mean() <= 0.027
    assert separated_auc_bound(n_sick + 5, n_well + 5) > bound


def test_a_class_without_an_error_is_not_forgotten_beside_one_with_some():
    """Of 10 sick none is missed: they may be missed all the same, also where one of 100 well ones raises an alarm."""
    truth, probability, ids = right_cases(10, 100)
    without = with_intervals(measures(0.5), truth, probability, ids, n_resamples=200)["balanced_accuracy"]
    probability[-1] = 0.6
    found = with_intervals(measures(0.5), truth, probability, ids, n_resamples=200)
    assert found["sensitivity"]["ci95"][0] == pytest.approx(1 - 0.3085, abs=1e-4)
    low, high = found["balanced_accuracy"]["ci95"]
    assert low == pytest.approx(without["ci95"][0], abs=0.02)
    assert low < 0.85
    assert found["balanced_accuracy"]["value"] < high <= 1


def test_probabilities_that_are_quite_sure_change_nothing():
    truth, probability, ids = right_cases(20, 10)
    quite, sure = (
        with_intervals(measures(0.5), truth, p, ids, n_resamples=20) for p in (probability, truth.astype(float))
    )
    for name in ("auc", "pr_auc", "sensitivity", "f1"):
        assert quite[name] == sure[name], name


def test_the_interval_of_a_mean_is_from_those_of_its_parts():
    parts = [{"value": 1.0, "ci95": [0.7, 1.0]}, {"value": 0.8, "ci95": [0.4, 0.9]}]
    assert mean_interval(parts) == [pytest.approx(0.9 - 0.5 / 2), pytest.approx(0.9 + 0.1 / 2)]
    assert mean_interval([*parts, {"value": None, "ci95": None}]) is None


def test_it_counts_patients_not_images():
    truth, probability, _ = right_cases(60, 40)
    ids = [str(i // 4) for i in range(100)]  # 15 sick and 10 well children
    found = with_intervals(measures(0.5), truth, probability, ids, n_resamples=50)
    assert found["specificity"]["ci95"][0] == pytest.approx(1 - 0.3085, abs=1e-4)


def test_a_model_that_was_always_wrong_has_one_too():
    truth, probability, ids = right_cases(20, 10)
    found = with_intervals(measures(0.5), truth, 1 - probability, ids, n_resamples=50)
    assert found["sensitivity"] == {"value": 0, "ci95": [0, pytest.approx(0.1684, abs=1e-4)]}
    assert found["auc"]["value"] == found["auc"]["ci95"][0] == 0 < found["auc"]["ci95"][1]


def test_an_interval_with_a_width_stays():
    truth, probability, ids = right_cases(20, 10)
    probability[0] = 0.2
    found = with_intervals(measures(0.5), truth, probability, ids, n_resamples=200)
    draws = [found["sensitivity"]["ci95"], found["specificity"]["ci95"]]
    assert draws[0][0] > 1 - 0.1684 - 0.05
    assert draws[0][1] == 1
    assert draws[1][0] == pytest.approx(1 - 0.3085, abs=1e-4)


def test_classes_that_were_never_wrong_have_one():
    truth = np.arange(40) % 4
    found = with_class_intervals(MEASURES, truth, np.eye(4)[truth], [str(i) for i in range(40)], n_resamples=50)
    low = 0.025 ** (1 / 40)
    for name in ("accuracy", "top3_accuracy", "macro_f1"):
        assert found[name]["value"] == found[name]["ci95"][1] == 1, name
        assert found[name]["ci95"][0] == pytest.approx(low, abs=1e-4), name
    assert found["ece"]["value"] == 0


def test_classes_that_are_not_in_the_data_do_not_count():
    truth = np.arange(100) % 2
    found = with_class_intervals(MEASURES, truth, np.eye(20)[truth], [str(i) for i in range(100)], n_resamples=20)
    assert found["macro_f1"]["ci95"] == [pytest.approx(0.025 ** (1 / 100), abs=1e-4), 1]
    alone = with_class_intervals(
        MEASURES, truth * 0, np.eye(20)[truth * 0], [str(i) for i in range(100)], n_resamples=20
    )
    assert alone["accuracy"]["ci95"] == [pytest.approx(0.025 ** (1 / 100), abs=1e-4), 1]


def test_folds_that_were_never_wrong_have_one():
    truth, _, _ = right_cases(12, 12)
    groups = np.arange(24)
    logits = np.where(truth, 3.0, -3.0) + np.zeros((2, 1))
    shown = {PLAIN: logits}
    answers = SimpleNamespace(folds=np.zeros((2, 24), np.int64), truth=truth, groups=groups, logits=shown)
    crossed = SimpleNamespace(probability={PLAIN: 1 / (1 + np.exp(-logits))}, called={PLAIN: logits > 0})
    found = fold_metrics(answers, crossed)
    for name in ("sensitivity", "specificity"):
        assert found[name]["ci95"] == [pytest.approx(0.025 ** (1 / 12), abs=1e-4), 1], name
    assert 0 < found["auc"]["ci95"][0] < 1


def test_assays_that_were_never_wrong_have_one_and_their_mean_too():
    truth, probability, ids = right_cases(20, 20)
    ones = np.ones(40, np.int64)
    both = np.stack([truth, ~truth], 1).astype(float)
    said = np.stack([probability, 1 - probability], 1)
    molecules = ScoredMolecules(ids, both, said, np.zeros((40, 0, 2)), ones, ones)
    metrics = summarise_molecules(molecules, {"a": 0.5, "b": 0.5})["metrics"]
    low = separated_auc_bound(20, 20)
    assert metrics["auc a"]["ci95"] == [pytest.approx(low, abs=1e-5), 1]
    assert metrics["auc"]["ci95"] == [pytest.approx(1 - (1 - low) / np.sqrt(2), abs=1e-4), 1]
    said[0, 0] = 0.05  # one of the two is not always right: the other may be wrong all the same
    beside = summarise_molecules(molecules, {"a": 0.5, "b": 0.5})["metrics"]
    assert beside["auc"]["ci95"][0] < metrics["auc"]["ci95"][0]
    assert beside["auc a"]["value"] < 1


def test_no_interval_is_made_of_the_few_draws_that_have_the_measure():
    assert interval_entry(0.5, [np.nan] * 51 + [0.9] * 49)["ci95"] is None
    assert interval_entry(0.5, [np.nan] * 50 + [0.4, 0.6] * 25)["ci95"] == [0.4, 0.6]


@pytest.mark.parametrize("seed", range(4))
def test_assays_of_one_active_each_are_told_without_an_interval(seed):
    """Hardly a draw has an active of each of them."""
    chance = np.random.default_rng(seed)
    truth = np.zeros((120, 12))
    truth[chance.permutation(120)[:12], np.arange(12)] = 1
    ones, names = np.ones(120, np.int64), list("abcdefghijkl")
    said = chance.random((120, 12))
    molecules = ScoredMolecules([str(i) for i in range(120)], truth, said, np.zeros((120, 0, 12)), ones, ones)
    metrics = summarise_molecules(molecules, dict.fromkeys(names, 0.5))["metrics"]
    for name in ("auc", "brier"):
        entry = metrics[name]
        assert entry["value"] is not None
        assert entry["ci95"] is None or entry["ci95"][0] <= entry["value"] <= entry["ci95"][1], name
        assert not entry["ci95"] or entry["ci95"][0] < entry["ci95"][1], name


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
def test_intervals_on_a_bundled_card_hold_their_values_and_have_a_width(model: str) -> None:
    found = dict(entries(dict(read_card(models_dir() / model).document)))
    assert {k: v for k, v in found.items() if v["ci95"][0] == v["ci95"][1]} == {}
    assert {k: v for k, v in found.items() if not v["ci95"][0] <= v["value"] <= v["ci95"][1]} == {}

"""Measures of survival against scikit-survival and against arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.training.intervals import unseen_share
from medviewer.training.survival_metrics import (
    Concordance,
    brier_score,
    calibration,
    calibration_error,
    kaplan_meier,
    with_interval,
)

needs = "scikit-survival is not installed (extra survival)"


def patients(n: int = 150, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chance = np.random.default_rng(5)
    risk = chance.normal(0, 1, n)
    time = chance.exponential(20 * np.exp(-risk))
    if ties:
        time, risk = np.ceil(time), np.round(risk, 1)
    return time, chance.random(n) < 0.6, risk


@pytest.mark.parametrize("ties", [False, True])
def test_concordance_is_that_of_scikit_survival(ties: bool) -> None:
    theirs = pytest.importorskip("sksurv.metrics", reason=needs)
    time, event, risk = patients(ties=ties)
    assert Concordance(time, event, risk)() == pytest.approx(theirs.concordance_index_censored(event, time, risk)[0])


def test_concordance_by_hand() -> None:
    """A dies at 1, B at 2, C is lost at 3. Pairs: AB, AC, BC. Risks 3, 1, 2: AB and AC right, BC wrong."""
    time, event = np.array([1.0, 2.0, 3.0]), np.array([True, True, False])
    made = Concordance(time, event, np.array([3.0, 1.0, 2.0]))
    assert made() == pytest.approx(2 / 3)
    assert made(np.array([2.0, 1.0, 1.0])) == pytest.approx(4 / 5)  # A twice: AB and AC twice each
    assert Concordance(time, event, np.zeros(3))() == 0.5
    assert np.isnan(Concordance(time, np.zeros(3, bool), np.zeros(3))())
    assert Concordance(time, event, np.array([3.0, 1.0, 2.0]), [0, 0, 1])() == 1.0  # AB alone
    lost_at_once = Concordance(np.array([1.0, 1.0]), np.array([True, False]), np.array([1.0, 0.0]))
    assert lost_at_once() == 1.0  # who is lost at the time of a death lived longer
    assert np.isnan(Concordance(np.ones(2), np.array([True, True]), np.array([1.0, 0.0]))())


def test_a_weight_of_two_is_a_patient_twice() -> None:
    time, event, risk = patients(40, ties=True)
    weights = np.random.default_rng(1).integers(0, 3, 40)
    twice = np.repeat(np.arange(40), weights)
    free = np.exp(-np.exp(risk))
    assert Concordance(time, event, risk)(weights * 1.0) == pytest.approx(
        Concordance(time[twice], event[twice], risk[twice])()
    )
    assert brier_score(time, event, free, 10, weights * 1.0) == pytest.approx(
        brier_score(time[twice], event[twice], free[twice], 10)
    )


def test_kaplan_meier_by_hand() -> None:
    """Of 5: a death at 1, one lost at 1, a death at 3 of the three left."""
    steps = kaplan_meier(np.array([1.0, 1.0, 3.0, 4.0, 5.0]), np.array([True, False, True, False, False]))
    np.testing.assert_allclose(steps.free, [4 / 5, 4 / 5 * 2 / 3])
    np.testing.assert_allclose(steps.at([0.5, 1.0, 2.9, 3.0, 9.0]), [1, 0.8, 0.8, 8 / 15, 8 / 15])
    np.testing.assert_allclose(steps.at([1.0, 3.0], before=True), [1, 0.8])
    spread = np.sqrt(1 / (5 * 4) + 1 / (3 * 2)) / abs(np.log(8 / 15))
    low, high = steps.interval(3.0)
    assert (low, high) == pytest.approx(tuple((8 / 15) ** np.exp(s * 1.959964 * spread) for s in (1, -1)))
    assert steps.interval(0.5) == (1.0, 1.0)
    assert kaplan_meier(np.ones(2), np.ones(2, bool)).interval(1.0) == (0.0, 1.0)


def test_kaplan_meier_and_brier_are_those_of_scikit_survival() -> None:
    nonparametric = pytest.importorskip("sksurv.nonparametric", reason=needs)
    from sksurv.metrics import brier_score as theirs
    from sksurv.util import Surv

    time, event, risk = patients()
    expected = nonparametric.kaplan_meier_estimator(event, time, conf_type="log-log")
    steps = kaplan_meier(time, event)
    np.testing.assert_allclose(steps.at(expected[0]), expected[1], atol=1e-12)
    middle = len(expected[0]) // 2
    np.testing.assert_allclose(steps.interval(expected[0][middle]), expected[2][:, middle], atol=1e-6)
    free = np.exp(-0.3 * np.exp(risk))
    truth = Surv.from_arrays(event, time)
    for horizon in (5.0, 15.0):
        wanted = theirs(truth, truth, free[:, None], [horizon])[1][0]
        assert brier_score(time, event, free, horizon) == pytest.approx(wanted, abs=1e-9)


def test_brier_is_the_squared_error_where_nobody_is_lost() -> None:
    time, event = np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4, bool)
    free = np.array([0.1, 0.4, 0.7, 1.0])
    assert brier_score(time, event, free, 2.5) == pytest.approx(np.mean([0.1**2, 0.4**2, 0.3**2, 0]))


def test_brier_counts_who_is_lost_at_the_time_of_an_event_by_hand() -> None:
    """At 1 one dies, then one of the three left is lost: the two who are watched on stand for three, and all for four."""
    time, event = np.array([1.0, 1.0, 2.0, 3.0]), np.array([True, False, True, True])
    found = brier_score(time, event, np.full(4, 0.5), 1.5)
    assert found == pytest.approx(0.25 * (1 + 2 / (2 / 3)) / 4)
    assert brier_score(time, event, np.array([0.5, 0.5, 1.0, 1.0]), 2.5) == pytest.approx((0.25 + 1.5) / 4)


def test_brier_is_none_where_somebody_was_lost_and_nobody_watched_for_longer() -> None:
    time, event, free = np.array([1.0, 2.0, 9.0]), np.array([True, False, True]), np.array([0.25, 0.5, 0.5])
    assert np.isnan(brier_score(time, event, free, 5.0, np.array([1.0, 1.0, 0.0])))
    assert np.isnan(brier_score(time, event, free, 9.5))
    everybody_had_it = brier_score(time, np.array([True, True, True]), free, 9.5)
    assert everybody_had_it == pytest.approx((0.25**2 + 2 * 0.5**2) / 3)


def test_calibration_tells_what_was_said_and_seen_in_groups_of_rising_risk() -> None:
    chance = np.random.default_rng(7)
    hazard = chance.uniform(0.01, 0.3, 4000)
    time = chance.exponential(1 / hazard)
    event = time < 12
    groups = calibration(np.minimum(time, 12), event, np.exp(-hazard * 5), 5.0)
    assert [g["n"] for g in groups] == [800] * 5
    assert np.all(np.diff([g["said"] for g in groups]) > 0)
    assert all(g["ci95"][0] <= g["seen"] <= g["ci95"][1] for g in groups)
    assert calibration_error(groups) < 0.03
    wrong = calibration(np.minimum(time, 12), event, np.exp(-hazard * 10), 5.0)
    assert calibration_error(wrong) > 0.1
    (one,) = calibration(np.array([1.0, 2.0]), np.array([True, False]), np.array([0.5, 0.5]), 1.0)
    assert (one["n"], one["events"], one["said"], one["seen"]) == (2, 1, 0.5, 0.5)


def test_a_group_without_an_event_may_still_have_some() -> None:
    time, event = np.array([3.0, 4.0, 5.0, 0.5, 6.0]), np.array([True, False, False, False, False])
    (group,) = calibration(time, event, np.full(5, 0.9), 2.0)
    assert (group["events"], group["seen"]) == (0, 0.0)
    assert group["ci95"] == [0.0, round(unseen_share(4), 4)]  # of the one who was lost nothing is known


def test_of_a_group_that_nobody_watched_for_so_long_nothing_is_known() -> None:
    """Forty were lost on day 20 without an event: that is no share of none in a year."""
    time, event = np.repeat([20.0, 400.0], 40), np.zeros(80, bool)
    event[40:60] = True
    time[40:60] = 100
    free = np.repeat([0.1, 0.5], 40)
    groups = calibration(time, event, free, 365.0)
    lost = [group for group in groups if group["said"] == 0.9]
    assert lost
    assert all(group["seen"] is None and group["ci95"] is None for group in lost)
    assert calibration_error(groups) == pytest.approx(0)  # of the others half had it, as was said
    assert np.isnan(calibration_error(lost))
    event[0], time[0] = True, 10
    assert all(g["seen"] is None for g in calibration(time, event, free, 365.0) if g["said"] == 0.9)
    event[:40] = True  # all had it: that is known for ever
    assert {g["seen"] for g in calibration(time, event, free, 365.0) if g["said"] == 0.9} == {1.0}


def test_one_patient_has_no_interval() -> None:
    assert with_interval(lambda _weights: 0.25, 1) == {"value": 0.25, "ci95": None}
    assert with_interval(lambda weights: 0.25 if weights is None else weights[0] / 4, 2)["ci95"] == [0, 0.5]
    assert with_interval(lambda _weights: 0.25, 2)["ci95"] is None  # that all draws agree is not that nothing varies


def test_the_interval_holds_the_value_and_narrows_with_more_patients() -> None:
    widths = []
    for n in (60, 240):
        time, event, risk = patients(n)
        found = with_interval(Concordance(time, event, risk), n)
        assert found["ci95"][0] < found["value"] < found["ci95"][1]
        widths.append(np.ptp(found["ci95"]))
    assert widths[1] < 0.7 * widths[0]
    nothing = with_interval(Concordance(np.ones(3), np.zeros(3, bool), np.zeros(3)), 3)
    assert nothing == {"value": None, "ci95": None}

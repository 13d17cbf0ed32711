"""The challenge's scores, on cases small enough to work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medviewer.training.icu_scores import event_1, event_1_threshold, event_2


@pytest.mark.parametrize(
    ("died", "risk", "threshold", "expected"),
    [
        ([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], 0.5, 1.0),  # all found, no false alarm
        ([1, 1, 0, 0], [0.9, 0.1, 0.2, 0.1], 0.5, 0.5),  # half of the deaths found
        ([1, 0, 0, 0], [0.9, 0.8, 0.7, 0.6], 0.5, 0.25),  # one alarm in four is true
        ([1, 1, 0, 0], [0.1, 0.1, 0.1, 0.1], 0.5, 0.0),  # nobody called: no predictivity, not a division by zero
        ([1, 0], [0.5, 0.4], 0.5, 1.0),  # at the threshold is called
    ],
)
def test_event_1(died: list[int], risk: list[float], threshold: float, expected: float) -> None:
    assert event_1(np.array(died, bool), np.array(risk), threshold) == expected


def test_event_2_of_one_case_a_group() -> None:
    risk = np.linspace(0.05, 0.95, 10)
    died = risk > 0.5
    by_hand = sum((d - p) ** 2 / (p * (1 - p) + 0.001) for d, p in zip(died.tolist(), risk.tolist(), strict=True)) / 0.9
    assert event_2(died, risk) == pytest.approx(by_hand, rel=1e-12)


def test_event_2_is_nothing_where_the_risks_are_what_happened() -> None:
    risk = np.repeat(np.arange(1, 11) / 20, 20)
    died = np.concatenate([np.arange(20) < round(20 * p) for p in risk[::20]])
    assert event_2(died, risk) == pytest.approx(0.0, abs=1e-12)


def test_event_2_groups_by_risk_and_not_by_the_order_of_the_cases() -> None:
    chance = np.random.default_rng(0)
    risk = chance.random(400)
    died = chance.random(400) < risk
    order = chance.permutation(400)
    assert event_2(died[order], risk[order]) == pytest.approx(event_2(died, risk), rel=1e-12)


def test_event_2_says_when_it_says_nothing() -> None:
    assert math.isnan(event_2(np.ones(9, bool), np.linspace(0.1, 0.9, 9)))
    assert event_2(np.arange(20) % 2 == 0, np.full(20, 0.5)) == math.inf


def test_the_threshold_is_the_best_of_all() -> None:
    chance = np.random.default_rng(1)
    risk = chance.random(300)
    died = chance.random(300) < risk**2
    best = max(event_1(died, risk, threshold) for threshold in np.append(np.sort(risk), 2.0))
    assert event_1(died, risk, event_1_threshold(died, risk)) == pytest.approx(best, abs=1e-12)


def test_a_threshold_needs_both_outcomes() -> None:
    with pytest.raises(ValueError, match="both outcomes"):
        event_1_threshold(np.zeros(5, bool), np.linspace(0, 1, 5))

"""Predictive values against Bayes' theorem counted out on whole populations, and people that add up."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.inference.card import Text, read_card
from medviewer.inference.predictive import (
    Accuracy,
    Bounded,
    accuracy_of,
    counts,
    negative_predictive_value,
    positive_predictive_value,
)
from tests import fakes


def accuracy(sensitivity: Bounded, specificity: Bounded) -> Accuracy:
    return Accuracy(sensitivity, specificity, 400, Text("made-up images"))


def test_predictive_values_are_those_of_a_population_that_is_counted_out() -> None:
    """Altman and Bland, BMJ 1994: 231 of 258 flagged of 263 sick, 54 of 81 of the well not flagged."""
    sick, well = 258, 86
    found = accuracy(Bounded(231 / sick), Bounded(54 / well))
    prevalence = sick / (sick + well)
    assert positive_predictive_value(found, prevalence).value == pytest.approx(float(Fraction(231, 231 + 32)))
    assert negative_predictive_value(found, prevalence).value == pytest.approx(float(Fraction(54, 54 + 27)))


@given(st.floats(0.01, 0.99), st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0, 0.04), st.floats(0, 0.04))
def test_bounds_hold_every_pair_within_the_intervals(p: float, se: float, sp: float, a: float, b: float) -> None:
    whole = accuracy(Bounded(se, se - a, se + b), Bounded(sp, sp - b, sp + a))
    for value in (positive_predictive_value, negative_predictive_value):
        bounds = value(whole, p)
        assert bounds.low is not None
        assert bounds.high is not None
        for one in (se - a, se, se + b):
            for other in (sp - b, sp, sp + a):
                inner = value(accuracy(Bounded(one), Bounded(other)), p).value
                assert bounds.low - 1e-12 <= inner <= bounds.high + 1e-12


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_hundred_people_are_a_hundred(prevalence: float, sensitivity: float, specificity: float) -> None:
    found = counts(accuracy(Bounded(sensitivity), Bounded(specificity)), prevalence)
    assert found.hit + found.false_alarm + found.missed + found.cleared == 100
    assert min(found.hit, found.false_alarm, found.missed, found.cleared) >= 0
    assert found.hit + found.missed == round(100 * prevalence)


def test_where_nobody_is_flagged_there_is_no_share() -> None:
    assert math.isnan(positive_predictive_value(accuracy(Bounded(0.0), Bounded(1.0)), 0.3).value)


def test_evidence_with_an_interval_comes_before_the_operating_point(tmp_path: Path) -> None:
    measured = {
        "data": {"en": "held-out images", "zh": "留出图像"},
        "n": 457,
        "metrics": {
            "sensitivity": {"value": 0.97, "ci95": [0.95, 0.99]},
            "specificity": {"value": 0.96, "ci95": [0.93, 0.99]},
        },
    }
    earlier = {"data": "others", "n": 9, "metrics": {k: {"value": 0.5} for k in measured["metrics"]}}  # type: ignore[attr-defined]
    card = read_card(fakes.make_model(tmp_path / "one", evidence=[earlier, measured]))
    found = accuracy_of(card, "pneumonia")
    assert found == Accuracy(
        Bounded(0.97, 0.95, 0.99), Bounded(0.96, 0.93, 0.99), 457, Text("held-out images", "留出图像")
    )


def test_without_such_evidence_the_operating_point_counts_but_only_of_its_own_threshold(tmp_path: Path) -> None:
    folder = fakes.make_model(tmp_path / "one")
    card = read_card(folder)
    point = card.labels[0].operating_point
    found = accuracy_of(card, "pneumonia")
    if point.threshold == card.labels[0].threshold:
        assert found == Accuracy(Bounded(point.sensitivity), Bounded(point.specificity), point.n, point.on)
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    del document["labels"][0]["operating_point"]["threshold"]
    fakes.write_card(folder, document)
    assert accuracy_of(read_card(folder), "pneumonia") is None


def test_of_several_labels_no_evidence_is_taken(tmp_path: Path) -> None:
    metrics = {"sensitivity": {"value": 0.97}, "specificity": {"value": 0.96}}
    several = [{"data": "d", "n": 9, "metrics": metrics}]
    card = read_card(fakes.make_model(tmp_path / "two", labels=("pneumonia", "effusion"), evidence=several))
    found = accuracy_of(card, "effusion")
    assert found is None or found.sensitivity.value != 0.97

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from medviewer.inference.calibration import probabilities
from medviewer.inference.card import CalibrationSpec, Text

LOGITS = np.array([[-800.0, 0.0, 3.0], [1.5, -2.0, 900.0]])


def spec(slope: tuple[float, ...], intercept: tuple[float, ...]) -> CalibrationSpec:
    return CalibrationSpec("platt", slope, intercept, {}, 0.1, 0.01, Text(""))


def test_multilabel_is_the_sigmoid_of_the_scaled_logit() -> None:
    found = probabilities(LOGITS, spec((0.5, 1.0, 2.0), (0.1, -0.2, 0.0)), "multilabel")
    np.testing.assert_allclose(found, scipy.special.expit(LOGITS * [0.5, 1.0, 2.0] + [0.1, -0.2, 0.0]), rtol=1e-12)


def test_multiclass_is_the_softmax_of_the_scaled_logits() -> None:
    found = probabilities(LOGITS, spec((0.5,) * 3, (0.0,) * 3), "multiclass")
    np.testing.assert_allclose(found, scipy.special.softmax(LOGITS * 0.5, axis=1), rtol=1e-12)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_what_is_not_a_number_stays_so(task: str) -> None:
    found = probabilities(np.array([[np.nan, 1.0]]), spec((1.0, 1.0), (0.0, 0.0)), task)  # type: ignore[arg-type]
    assert np.isnan(found[0, 0])


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0.01, 10))
def test_order_is_kept_and_the_range_is_0_to_1(a: float, b: float, slope: float) -> None:
    low, high = sorted((a, b))
    found = probabilities(np.array([[low], [high]]), spec((slope,), (0.0,)), "multilabel")[:, 0]
    assert 0 <= found[0] <= found[1] <= 1

"""Cox's model against scikit-survival, against arithmetic by hand, and where there is nothing to be fitted."""

from __future__ import annotations

import numpy as np
import pytest

from medviewer.domain.errors import TrainingError
from medviewer.training.cox import fit_cox

warned = pytest.mark.filterwarnings("ignore")


def patients(n: int = 120, *, ties: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chance = np.random.default_rng(3)
    x = chance.normal(0, 1, (n, 4))
    time = chance.exponential(10 * np.exp(-x @ np.array([0.8, -0.5, 0.0, 0.3])))
    time = np.ceil(time) if ties else time
    return x, time, chance.random(n) < 0.7


@warned
@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("penalty", [0.0, 2.5])
def test_coefficients_and_curves_are_those_of_scikit_survival(ties: str, penalty: float) -> None:
    theirs = pytest.importorskip("sksurv.linear_model", reason="scikit-survival is not installed (extra survival)")
    from sksurv.util import Surv

    x, time, event = patients()
    expected = theirs.CoxPHSurvivalAnalysis(ties=ties, alpha=penalty).fit(x, Surv.from_arrays(event, time))
    found = fit_cox(x, time, event, ties=ties, penalty=penalty)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.beta, expected.coef_, atol=1e-6)
    if ties == "breslow":  # theirs takes this baseline for both
        moments = np.unique(time[time < time.max()])
        curves = np.stack([one(moments) for one in expected.predict_survival_function(x[:5])])
        np.testing.assert_allclose(found.free(x[:5], moments), curves, atol=1e-6)


def test_three_patients_by_hand() -> None:
    """x = 1 dies first, x = 0 second, x = 1 third: the likelihood is r/(2r+1) * 1/(1+r), best at r = sqrt(1/2)."""
    found = fit_cox(np.array([[1.0], [0.0], [1.0]]), np.array([1.0, 2.0, 3.0]), np.array([True, True, True]))
    ratio = np.sqrt(0.5)
    assert found.beta[0] == pytest.approx(np.log(ratio), abs=1e-8)
    np.testing.assert_allclose(found.hazard, np.cumsum([1 / (2 * ratio + 1), 1 / (1 + ratio), 1 / ratio]), rtol=1e-7)
    np.testing.assert_allclose(found.hazard_at(np.array([0.5, 1.0, 2.5])), [0, *found.hazard[:2]])
    assert found.free(np.array([[1.0]]), np.array([1.0]))[0, 0] == pytest.approx(np.exp(-ratio / (2 * ratio + 1)))


def test_efron_counts_ties_by_hand() -> None:
    """Two of four equal patients die at once: Efron's hazard is 1/4 + 1/3, Breslow's 2/4."""
    x, time, event = np.zeros((4, 1)), np.array([1.0, 1.0, 2.0, 2.0]), np.array([True, True, False, False])
    assert fit_cox(x, time, event, penalty=1.0).hazard[0] == pytest.approx(1 / 4 + 1 / 3)
    assert fit_cox(x, time, event, ties="breslow", penalty=1.0).hazard[0] == pytest.approx(1 / 2)


def test_time_counts_by_its_order_and_rows_in_none() -> None:
    x, time, event = patients()
    found = fit_cox(x, time, event)
    np.testing.assert_allclose(fit_cox(x, np.sqrt(time), event).beta, found.beta, atol=1e-8)
    mixed = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_allclose(fit_cox(x[mixed], time[mixed], event[mixed]).beta, found.beta, atol=1e-8)


def test_what_cannot_be_fitted_is_one_sentence() -> None:
    x, time, event = patients(40)
    with pytest.raises(TrainingError, match="Nobody has the event"):
        fit_cox(x, time, np.zeros(40, bool))
    with pytest.raises(TrainingError, match=r"The column 1 is the same in all 40 patients .*--set penalty=1"):
        fit_cox(np.zeros((40, 2)), time, event)
    with pytest.raises(TrainingError, match="no finite maximum"):
        fit_cox((np.arange(40.0) < 20)[:, None], np.arange(1.0, 41.0), np.arange(40) < 20)
    assert np.isfinite(
        fit_cox((np.arange(40.0) < 20)[:, None], np.arange(1.0, 41.0), np.arange(40) < 20, penalty=1.0).beta
    )


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("value", [0.0, 0.1, -2.345])
def test_a_column_that_never_differs_is_named(value: float, penalty: float) -> None:
    """Of a value other than 0 only rounding is left, and not always nothing."""
    x, time, event = patients(40)
    x[:, 1] = value
    names = [f"c{index}" for index in range(x.shape[1])]
    if penalty:
        assert np.isfinite(fit_cox(x, time, event, penalty=penalty, names=names).beta).all()
        return
    with pytest.raises(TrainingError, match=r"The column c1 is the same in all 40 patients"):
        fit_cox(x, time, event, names=names)


def test_only_who_is_watched_while_somebody_has_the_event_tells_something() -> None:
    x, time, event = patients(40)
    x[:, 1], event[time == time.min()] = 0.3, False
    x[time == time.min(), 1] = 1.0
    with pytest.raises(TrainingError, match=r"The column 2 is the same in all 3\d patients"):
        fit_cox(x, time, event)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_column_that_repeats_others_is_named(dtype: type) -> None:
    x, time, event = patients(40)
    x = np.column_stack([x, x[:, 0] / 3 - 2 * x[:, 1] + 0.7]).astype(dtype).astype(np.float64)
    names = [f"c{index}" for index in range(x.shape[1])]
    with pytest.raises(TrainingError, match=rf"The column {names[-1]} repeats those before it; add a penalty"):
        fit_cox(x, time, event, names=names)
    with pytest.raises(TrainingError, match=r"The column c1 repeats"):
        fit_cox(np.column_stack([x[:, 0], x[:, 0]]), time, event, names=names)

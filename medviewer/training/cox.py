"""Cox's proportional hazards model: what patients have in common, and by how much each value raises or lowers it.

Sources: Cox, "Regression Models and Life-Tables" (1972); ties after Efron, "The Efficiency of Cox's Likelihood
Function for Censored Data" (1977), or Breslow (1974); the baseline after Breslow, with his or Efron's ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from medviewer.domain.errors import TrainingError
from medviewer.domain.frozen import dataclass
from medviewer.training.metrics import Floats, Truth

Ties = Literal["efron", "breslow"]
_STEPS = 100
_LARGEST = 30.0  # log of a hazard ratio; data of patients give 5


@dataclass(frozen=True, slots=True, eq=False)
class Cox:
    """What was fitted.

    Attributes:
        beta: ``(p,)``, log of the hazard ratio of one more of each column.
        error: ``(p,)``, standard errors, from the curvature; too small with a penalty.
        times: ``(k,)``, the distinct times of events, rising.
        hazard: ``(k,)``, cumulative hazard up to each, of somebody whose columns are all 0.
    """

    beta: Floats
    error: Floats
    times: Floats
    hazard: Floats

    def log_hazard(self, x: Floats) -> Floats:
        """Return ``(n,)``, the log of the hazard of each row of ``x`` ``(n, p)`` relative to a row of zeros."""
        return np.asarray(x @ self.beta)

    def hazard_at(self, times: Floats) -> Floats:
        """Return the cumulative hazard of a row of zeros up to each of ``times``."""
        index = np.searchsorted(self.times, times, side="right")
        return np.asarray(np.append(0.0, self.hazard)[index])

    def free(self, x: Floats, times: Floats) -> Floats:
        """Return ``(n, t)``, the chance of being free of the event up to each of ``times``."""
        return np.asarray(np.exp(-np.exp(self.log_hazard(x))[:, None] * self.hazard_at(times)[None]))


def fit_cox(
    x: Floats,
    time: Floats,
    event: Truth,
    *,
    ties: Ties = "efron",
    penalty: float = 0.0,
    names: Sequence[str] = (),
) -> Cox:
    """Maximise the partial likelihood by Newton's method.

    Args:
        x: ``(n, p)``.
        time: ``(n,)`` until the event, or until nothing more is known.
        event: ``(n,)`` whether it was the event.
        ties: how events at one time are counted.
        penalty: a pull towards zero: this times half the squared length of ``beta`` is taken off.
        names: of the columns, for who is told which of them cannot be learned from; default: their numbers.

    Raises:
        TrainingError: there is no event; a column is the same in all rows, or repeats others; or there is no finite
            maximum (a column separates those with the event).
    """
    if not event.any():
        raise TrainingError("Nobody has the event; nothing can be learned from these data.")
    # Rounding may hide it from the curvature, and then any coefficient would do.
    if not penalty and (flaw := _flaw(x[time >= time[event].min()], names)):
        raise TrainingError(flaw)
    order = np.argsort(-time, kind="stable")
    x, time, event = x[order], time[order], event[order]
    beta: Floats = np.zeros(x.shape[1])
    best = -np.inf
    step: Floats = np.zeros_like(beta)
    for _ in range(_STEPS):
        value, gradient, curvature = _likelihood(beta, x, time, event, ties)
        value -= 0.5 * penalty * float(beta @ beta)
        if value < best - 1e-9 and np.abs(step).max() > 1e-12:  # gone too far: half of the way
            step = step / 2
            beta = beta - step
            continue
        best = value
        gradient, curvature = gradient - penalty * beta, curvature + penalty * np.eye(len(beta))
        try:
            step = np.asarray(np.linalg.solve(curvature, gradient), np.float64)
        except np.linalg.LinAlgError as error:
            raise TrainingError("A column tells nothing that others do not; add a penalty.") from error
        if np.abs(step).max() < 1e-9:
            break
        beta = beta + step
        if np.abs(x @ beta).max() > _LARGEST:
            break
    if np.abs(step).max() >= 1e-9:
        raise TrainingError("The model has no finite maximum: a column separates who has the event; add a penalty.")
    times, hazard = _baseline(np.exp(x @ beta), time, event, ties)
    return Cox(beta, np.sqrt(np.diag(np.linalg.inv(curvature))), times, hazard)


def _flaw(x: Floats, names: Sequence[str]) -> str:
    """Say of the first column that tells nothing which one it is, and what to do; "" if each tells something."""
    x = np.asarray(x, np.float64)
    centred = x - x.mean(axis=0)
    for index in range(x.shape[1]):
        name = names[index] if names else index + 1
        if not np.ptp(x[:, index]):
            return (
                f"The column {name} is the same in all {len(x)} patients that are learned from together; give patients "
                "in whom it differs, or add a penalty, such as --set penalty=1."
            )
        # Numbers of 32 bits repeat each other only so far.
        upto = centred[:, : index + 1]
        if np.linalg.matrix_rank(upto, tol=1e-5 * float(np.linalg.norm(upto, 2))) <= index:
            return f"The column {name} repeats those before it; add a penalty, such as --set penalty=1."
    return ""


def _likelihood(beta: Floats, x: Floats, time: Floats, event: Truth, ties: Ties) -> tuple[float, Floats, Floats]:
    """Return the log partial likelihood, its gradient, and its curvature (negated); rows by falling time."""
    score = x @ beta
    risk = np.exp(np.clip(score, -50, 50))
    s0, s1 = np.cumsum(risk), np.cumsum(risk[:, None] * x, axis=0)
    s2 = np.cumsum(risk[:, None, None] * x[:, :, None] * x[:, None, :], axis=0)
    value, gradient, curvature = 0.0, np.zeros_like(beta), np.zeros((len(beta), len(beta)))
    for moment in np.unique(time[event]):
        last = int(np.searchsorted(-time, -moment, side="right")) - 1  # all up to here are at risk
        who = np.flatnonzero((time == moment) & event)
        own = risk[who]
        o0, o1 = own.sum(), own @ x[who]
        o2 = np.einsum("i,ij,ik->jk", own, x[who], x[who])
        value += float(score[who].sum())
        gradient += x[who].sum(axis=0)
        for index in range(len(who)):
            share = index / len(who) if ties == "efron" else 0.0
            a0, a1, a2 = s0[last] - share * o0, s1[last] - share * o1, s2[last] - share * o2
            value -= float(np.log(a0))
            gradient -= a1 / a0
            curvature += a2 / a0 - np.outer(a1, a1) / a0**2
    return value, gradient, curvature


def _baseline(risk: Floats, time: Floats, event: Truth, ties: Ties) -> tuple[Floats, Floats]:
    """Return the times of events and the cumulative hazard of a row of zeros."""
    times = np.unique(time[event])
    jumps = np.zeros(len(times))
    for index, moment in enumerate(times):
        at_risk, own = risk[time >= moment].sum(), risk[(time == moment) & event]
        shares = np.arange(len(own)) / len(own) if ties == "efron" else np.zeros(len(own))
        jumps[index] = (1 / (at_risk - shares * own.sum())).sum()
    return times, np.cumsum(jumps)

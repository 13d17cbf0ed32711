"""From logits to probabilities that can be taken at their word.

A network's raw sigmoid is a number between 0 and 1 that is mostly too sure of
itself. The card holds a correction fitted on images that the network did not learn
from; of all images given 0.8, about eight in ten then do have the finding. How
well that held is the expected calibration error on the card.

Sources: Guo et al. 2017 (temperature scaling, expected calibration error); Platt 1999.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.inference.card import CalibrationSpec, Task


def probabilities(
    logits: npt.NDArray[np.floating], calibration: CalibrationSpec, task: Task
) -> npt.NDArray[np.float64]:
    """Calibrated probabilities of each label.

    Args:
        logits: ``(n, labels)``.
        calibration: the card's.
        task: ``"multilabel"``: labels are independent (sigmoid); ``"multiclass"``: exactly one holds (softmax).

    Returns:
        ``(n, labels)`` float64 in 0..1; not a number wherever the logits are not.
    """
    scaled = logits.astype(np.float64) * np.asarray(calibration.slope) + np.asarray(calibration.intercept)
    if task == "multiclass":
        shifted = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
    # Written so that neither tail overflows.
    small = np.exp(-np.abs(scaled))
    return np.asarray(np.where(scaled >= 0, 1.0, small) / (1.0 + small))

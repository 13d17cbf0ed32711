"""Few images, judged by folds: what is said of each image comes from networks that never saw it or a copy of it.

Calibration and threshold are crossed likewise: those that are applied to a fold come from the other folds.
Everything is repeated with other folds, since one way of cutting five is luck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.training.batches import Part, Steps
from medviewer.training.calibration import Decision, check_learned, sigmoid
from medviewer.training.copies import grouped_folds
from medviewer.training.decision import fit_decision
from medviewer.training.lesson import Surroundings
from medviewer.training.metrics import Floats, Truth, balanced_weights, expected_calibration_error, rates
from medviewer.training.networks import PooledClassifier
from medviewer.training.parts import part_of
from medviewer.training.shifts import SHIFTS, shifted
from medviewer.training.validation import forward, run_over

PLAIN = "as it is"
Learn = Callable[[Part, Surroundings], PooledClassifier]


@dataclass(frozen=True, slots=True, eq=False)
class FoldAnswers:
    """What was said of each image by networks that did not learn from its group.

    Attributes:
        truth: ``(n,)``.
        groups: ``(n,)``.
        folds: ``(repeats, n)``, the fold of each image.
        logits: ``(repeats, n)`` by shift.
    """

    truth: Truth
    groups: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]
    logits: Mapping[str, Floats]

    def decision(self, repeat: int, members: Truth) -> tuple[float, float, float]:
        """Return slope, intercept and threshold from some images of a repeat, plain and shifted."""
        return fit_decision([(self.truth[members], said[repeat, members]) for said in self.logits.values()])


@dataclass(frozen=True, slots=True, eq=False)
class CrossDecided:
    """Answers with a calibration and threshold from the other folds: ``(repeats, n)`` each, by shift."""

    probability: Mapping[str, Floats]
    called: Mapping[str, Truth]


def answer_by_folds(
    images: Part,
    groups: npt.NDArray[np.int64],
    steps: Steps,
    learn: Learn,
    n: tuple[int, int, int],
    around: Surroundings,
) -> FoldAnswers:
    """Learn from all folds but one, and ask of that one; fold by fold, repeat by repeat.

    Args:
        images: all of them.
        groups: ``(n,)``, of images that must stay together.
        steps: the preprocessing.
        learn: gives a network from a part of the images, working in the surroundings that it is given.
        n: repeats, folds, and the seed of the first repeat.
        around: where it works; each fold has a folder of its own in it.
    """
    n_repeats, n_folds, seed = n
    folds = np.stack([grouped_folds(images.labels, groups, n_folds, seed + repeat) for repeat in range(n_repeats)])
    logits = {shift: np.zeros(folds.shape) for shift in SHIFTS}
    for repeat in range(n_repeats):
        for fold in range(n_folds):
            held_out = np.flatnonzero(folds[repeat] == fold)
            place = around.within(f"repeat-{repeat}").within(f"fold-{fold}")
            network = learn(part_of(images, np.flatnonzero(folds[repeat] != fold)), place)
            asked = part_of(images, held_out)
            for shift, said in logits.items():
                said[repeat, held_out] = run_over(forward(network), shifted(asked.pixels, shift), steps)[0]
            around.progress(f"repeat {repeat + 1} of {n_repeats}, fold {fold + 1} of {n_folds}")
    return FoldAnswers(images.labels.astype(bool), groups, folds, logits)


def cross_decide(answers: FoldAnswers) -> CrossDecided:
    """Calibrate and call each fold by what the other folds of its repeat say."""
    probability = {shift: np.zeros(answers.folds.shape) for shift in answers.logits}
    called = {shift: np.zeros(answers.folds.shape, dtype=bool) for shift in answers.logits}
    for repeat, folds in enumerate(answers.folds):
        for fold in np.unique(folds):
            slope, intercept, threshold = answers.decision(repeat, folds != fold)
            held_out = folds == fold
            for shift, said in answers.logits.items():
                p = sigmoid(slope * said[repeat, held_out] + intercept)
                probability[shift][repeat, held_out], called[shift][repeat, held_out] = p, p >= threshold
    return CrossDecided(probability, called)


def decide_by_folds(answers: FoldAnswers, crossed: CrossDecided) -> Decision:
    """Return calibration and threshold from all folds, with the figures that crossed ones had.

    Raises:
        TrainingError: images with higher answers do not have the finding more often.
    """
    everyone = np.ones(len(answers.truth), dtype=bool)
    made = [answers.decision(repeat, everyone) for repeat in range(len(answers.folds))]
    slope, intercept, threshold = (float(value) for value in np.mean(made, axis=0))
    check_learned(slope, "in the folds, images with higher answers do not have the finding more often", "images")
    truth = np.tile(answers.truth, len(answers.folds))
    at = rates(truth, crossed.called[PLAIN].ravel().astype(np.float64), 0.5)
    weights = balanced_weights(truth)
    before = expected_calibration_error(truth, sigmoid(answers.logits[PLAIN].ravel()), weights)
    after = expected_calibration_error(truth, crossed.probability[PLAIN].ravel(), weights)
    n = len(answers.truth)
    return Decision(slope, intercept, round(threshold, 3), at.sensitivity, at.specificity, n, before, after)

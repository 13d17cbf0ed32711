"""Three ways to read a stay, learned and blended: recurrent nets, boosted trees, a linear model.

Each errs in its own way, so that the mean of their logits errs less than any of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from medviewer.domain.frozen import dataclass
from medviewer.training.configs import StayConfig
from medviewer.training.lesson import Batch, Epoch, FixedSchedule, Surroundings, device_of
from medviewer.training.loop import fit
from medviewer.training.metrics import Floats, roc_auc
from medviewer.training.stay_networks import StayGru, StaySummary, hide
from medviewer.training.stays import VARIABLES, StayTensors

PARTS = ("recurrent", "trees", "linear")


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """What was learned: ``nets`` and ``linear`` in torch, ``trees`` of scikit-learn on the summary."""

    nets: Sequence[StayGru]
    trees: Any
    linear: nn.Linear

    def logits(self, stays: StayTensors) -> Floats:
        """Return each part's logit and their mean, ``(n, 4)``: recurrent, trees, linear, blend."""
        joined, fields = torch.from_numpy(stays.joined), torch.from_numpy(stays.fields)
        with torch.inference_mode():
            recurrent = torch.stack([net(joined, fields)[:, 0] for net in self.nets]).mean(0).numpy()
            summary = summarised(stays)
            linear = self.linear(torch.from_numpy(summary))[:, 0].numpy()
        parts = np.stack([recurrent, self.trees.decision_function(summary), linear], 1).astype(np.float64)
        return np.concatenate([parts, parts.mean(1, keepdims=True)], 1)


class StayLesson(FixedSchedule):
    """Whether the patient of a stay dies in hospital; the last epoch is taken, so that no stay is spent on choosing."""

    def __init__(self, stays: StayTensors, checked: StayTensors | None, config: StayConfig) -> None:
        super().__init__(len(stays.truth), config, config.epochs, config.rate)
        self._joined, self._fields = torch.from_numpy(stays.joined), torch.from_numpy(stays.fields)
        self._truth = torch.from_numpy(stays.truth).float()
        self._checked, self._config = checked, config

    def batch(self, chosen: Tensor, _: Epoch, chance: Generator) -> Batch:
        """Return some stays, in each some variables as if they had never been measured."""
        n = len(VARIABLES)
        hidden = torch.rand(len(chosen), 1, n, generator=chance) < self._config.hidden_variables
        joined = hide(self._joined[chosen], hidden)
        return {"joined": joined, "fields": self._fields[chosen], "target": self._truth[chosen]}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the cross entropy of the logit."""
        logit = network(batch["joined"], batch["fields"])[:, 0]
        return nn.functional.binary_cross_entropy_with_logits(logit, batch["target"])

    def told(self, average: nn.Module, _: Epoch) -> Mapping[str, float]:
        """Return the AUC on stays that are held out, where there are any."""
        if self._checked is None:
            return {}
        asked = (torch.from_numpy(x).to(device_of(average)) for x in (self._checked.joined, self._checked.fields))
        with torch.inference_mode():
            logit = average(*asked)[:, 0].cpu()
        auc = roc_auc(self._checked.truth, logit.numpy().astype(np.float64))
        return {"auc": round(auc, 4)}


def learn_blend(
    stays: StayTensors, config: StayConfig, around: Surroundings, *, n_nets: int, checked: StayTensors | None = None
) -> Blend:
    """Learn all three parts from ``stays``.

    Args:
        stays: all that is learned from.
        config: the settings.
        around: where the loop works; each net has a folder of its own in it.
        n_nets: recurrent nets.
        checked: told of after each epoch, and not learned from.

    Raises:
        Stopped, TrainingError, StorageError: as :func:`medviewer.training.loop.fit`.
    """
    nets = []
    for index in range(n_nets):
        own = dataclasses.replace(config, seed=config.seed + 1000 * index)
        torch.manual_seed(own.seed)
        net = StayGru(len(VARIABLES), stays.fields.shape[1], dropout=config.dropout)
        fit(net, StayLesson(stays, checked, own), own, around.within(f"net-{index}"))
        nets.append(net)
    summary = summarised(stays)
    return Blend(nets, _grown(summary, stays, config), _fitted(summary, stays, config))


def out_of_fold(stays: StayTensors, config: StayConfig, around: Surroundings) -> Floats:
    """Return for each stay what a blend that did not learn from it says, as :meth:`Blend.logits`."""
    fold = np.random.default_rng(config.seed).permutation(len(stays.truth)) % config.n_folds
    found = np.zeros((len(stays.truth), len(PARTS) + 1))
    for index in range(config.n_folds):
        place = around.within(f"fold-{index}")
        held_out = stays.where(fold == index)
        blend = learn_blend(stays.where(fold != index), config, place, n_nets=1, checked=held_out)
        found[fold == index] = blend.logits(held_out)
    return found


def summarised(stays: StayTensors) -> np.ndarray:
    """Return :class:`StaySummary` of stays, ``(n, K)`` float32."""
    with torch.inference_mode():
        made: np.ndarray = StaySummary(len(VARIABLES))(
            torch.from_numpy(stays.joined), torch.from_numpy(stays.fields)
        ).numpy()
    return made


def _grown(summary: np.ndarray, stays: StayTensors, config: StayConfig) -> Any:
    """Grow the trees (Friedman 2001; histogram-based as in LightGBM)."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - training only, and slow to load

    model = HistGradientBoostingClassifier(
        learning_rate=config.tree_rate, max_iter=config.n_trees, max_leaf_nodes=8, min_samples_leaf=30,
        l2_regularization=5.0, max_features=0.2, early_stopping=False, random_state=config.seed,
    )  # fmt: skip
    return model.fit(summary, stays.truth)


def _fitted(summary: np.ndarray, stays: StayTensors, config: StayConfig) -> nn.Linear:
    """Fit a logistic regression on standardised columns, and fold the standardising into its weights."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as above

    mean, std = summary.mean(0, dtype=np.float64), summary.std(0, dtype=np.float64)
    std[std < 1e-6] = 1.0
    model = LogisticRegression(C=config.penalty, max_iter=3000).fit((summary - mean) / std, stays.truth)
    linear = nn.Linear(summary.shape[1], 1)
    weight = model.coef_[0] / std
    with torch.no_grad():
        linear.weight[0] = torch.from_numpy(weight)
        linear.bias[0] = float(model.intercept_[0] - weight @ mean)
    return linear.requires_grad_(False)

"""A forecast with a band that holds what it says: quantiles that are learned, and then measured and moved.

Each net learns low, middle and high by the pinball loss. Nets of several folds are averaged; how far what
came lay outside of the band of the net that had *not* learned from that stay says how far the ends have to
be moved so that each leaves out one in twenty.

Sources: Koenker and Bassett, "Regression Quantiles", Econometrica 1978; Romano, Patterson and Candes,
"Conformalized Quantile Regression", NeurIPS 2019, with one correction for each end as in their section 5;
held-out folds in the place of one calibration set: Vovk, "Cross-conformal predictors", 2015.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn

from medviewer.domain.frozen import dataclass
from medviewer.training.configs import ForecastConfig
from medviewer.training.forecast_data import AHEAD_H, COLUMNS, WINDOW_H, Moments
from medviewer.training.lesson import Batch, Epoch, FixedSchedule, Surroundings, device_of
from medviewer.training.loop import fit
from medviewer.training.metrics import Floats
from medviewer.training.stay_networks import StayForecaster, hide
from medviewer.training.stays import VARIABLES

NOMINAL = 0.9
QUANTILES = ((1 - NOMINAL) / 2, 0.5, (1 + NOMINAL) / 2)


@dataclass(frozen=True, slots=True, eq=False)
class Forecaster:
    """What was learned: the nets, and how far the ends of the band are moved, in z-scores, ``(V, H, 2)`` outwards."""

    nets: Sequence[StayForecaster]
    moved: npt.NDArray[np.float64]


class ForecastLesson(FixedSchedule):
    """What is measured in the hours to come; the last epoch is taken, so that no stay is spent on choosing.

    Args:
        moments: what is learned from; ``held_out``: told of after each epoch, and not learned from.
        scale: means and deviations of the targets, ``(2, V)``, of the card.
        config: see there.
    """

    def __init__(self, moments: Moments, held_out: Moments, scale: Floats, config: ForecastConfig) -> None:
        super().__init__(len(moments.truth), config, config.epochs, config.rate)
        self._joined, self._fields = torch.from_numpy(moments.joined), torch.from_numpy(moments.fields)
        self._truth = torch.from_numpy(z_scores(moments.truth, scale))
        self._held_out, self._scale, self._config = held_out, scale, config
        self._may_hide = torch.ones(len(VARIABLES), dtype=torch.bool)
        self._may_hide[list(COLUMNS)] = False

    def batch(self, chosen: Tensor, _: Epoch, chance: Generator) -> Batch:
        """Return some moments, in each some variables as if they had never been measured."""
        drawn = torch.rand(len(chosen), 1, len(VARIABLES), generator=chance) < self._config.hidden_variables
        joined = hide(self._joined[chosen], drawn & self._may_hide)
        return {"joined": joined, "fields": self._fields[chosen], "truth": self._truth[chosen]}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the pinball loss where something was measured, each variable weighing the same."""
        return pinball(network(batch["joined"], batch["fields"]), batch["truth"])

    def told(self, average: nn.Module, _: Epoch) -> Mapping[str, float]:
        """Return the loss on stays that are held out."""
        said = torch.from_numpy(run_nets([average], self._held_out))
        held_out = float(pinball(said, torch.from_numpy(z_scores(self._held_out.truth, self._scale))))
        return {"held_out": round(held_out, 5)}


def pinball(said: Tensor, truth: Tensor) -> Tensor:
    """Return the mean pinball loss of ``(N, V, H, 3)`` against ``(N, V, H)``, NaN where nothing was measured."""
    is_there = ~torch.isnan(truth)
    over = torch.where(is_there, truth, 0.0)[..., None] - said
    share = torch.tensor(QUANTILES, device=said.device)
    each = torch.maximum(share * over, (share - 1) * over).mean(3)
    total = torch.where(is_there, each, 0.0).sum((0, 2))
    return (total / is_there.sum((0, 2)).clamp(min=1)).mean()


def z_scores(values: npt.NDArray[np.floating], scale: Floats) -> npt.NDArray[np.float32]:
    """Return values ``(n, V, ...)`` of the targets as z-scores."""
    mean, std = (row.reshape(1, -1, *(1,) * (values.ndim - 2)) for row in scale)
    return np.asarray((values - mean) / std, np.float32)


def scale_of(document: Mapping[str, Any]) -> Floats:
    """Return means and deviations of the targets on the card, ``(2, V)``."""
    columns = [document["variables"][column] for column in COLUMNS]
    return np.array([[float(one[name]) for one in columns] for name in ("mean", "std")])


def run_nets(nets: Sequence[nn.Module], moments: Moments) -> npt.NDArray[np.float32]:
    """Return the mean of what the nets say, in z-scores, ``(n, V, H, 3)``."""
    found, device = [], device_of(nets[0])
    with torch.inference_mode():
        for start in range(0, len(moments.joined), 512):
            joined = torch.from_numpy(moments.joined[start : start + 512]).to(device)
            fields = torch.from_numpy(moments.fields[start : start + 512]).to(device)
            found.append(torch.stack([net(joined, fields) for net in nets]).mean(0).cpu())
    return np.asarray(torch.cat(found).numpy(), np.float32)


def learn_forecaster(moments: Moments, scale: Floats, config: ForecastConfig, around: Surroundings) -> Forecaster:
    """Learn one net a fold of the stays, and measure on each fold how far its band has to be moved.

    Raises:
        Stopped, TrainingError, StorageError: as :func:`medviewer.training.loop.fit`.
    """
    said, nets = np.empty((*moments.truth.shape, 3), np.float32), []
    fold = folds_of(moments.stay, config.n_folds, config.seed)
    for index in range(config.n_folds):
        own = dataclasses.replace(config, seed=config.seed + 1000 * index)
        torch.manual_seed(own.seed)
        net = new_net(moments.fields.shape[1], config)
        held_out = moments.where(fold == index)
        lesson = ForecastLesson(moments.where(fold != index), held_out, scale, own)
        fit(net, lesson, own, around.within(f"fold-{index}"))
        said[fold == index] = run_nets([net], held_out)
        nets.append(net)
    return Forecaster(nets, moved_by(said, z_scores(moments.truth, scale)))


def folds_of(stay: npt.NDArray[np.int64], n_folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold of each moment, ``(n,)``: a stay lies in one fold with all of its moments."""
    shuffled = np.random.default_rng(seed).permutation(int(stay.max()) + 1)
    return np.asarray(shuffled[stay] % n_folds, np.int64)


def new_net(n_fields: int, config: ForecastConfig) -> StayForecaster:
    """Return a net that has learned nothing."""
    return StayForecaster(
        len(VARIABLES), n_fields, WINDOW_H, COLUMNS, n_ahead=AHEAD_H, hidden=config.hidden, dropout=config.dropout
    )


def moved_by(said: npt.NDArray[np.floating], truth: npt.NDArray[np.floating]) -> Floats:
    """Return how far both ends of each band are moved outwards, ``(V, H, 2)``, so that each leaves out one in twenty.

    Args:
        said: ``(n, V, H, 3)`` of nets that did not learn from the case.
        truth: ``(n, V, H)``; NaN where nothing was measured.
    """
    moved = np.zeros((*truth.shape[1:], 2))
    for variable, ahead in np.ndindex(*truth.shape[1:]):
        own = truth[:, variable, ahead]
        is_there = np.isfinite(own)
        n = int(is_there.sum())
        if not n:
            continue
        low, _, high = said[is_there, variable, ahead].T
        share = min(1.0, QUANTILES[2] * (1 + 1 / n))
        for end, outside in enumerate((low - own[is_there], own[is_there] - high)):
            moved[variable, ahead, end] = np.quantile(outside.astype(np.float64), share, method="higher")
    return moved

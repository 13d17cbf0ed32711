"""Four ways to read a molecule, learned side by side for all assays; three of them are blended.

A linear model on the bits of a fingerprint is what others are compared with; it is told of and not blended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from medviewer.domain.frozen import dataclass
from medviewer.training.configs import MoleculeConfig
from medviewer.training.lesson import Batch, Epoch, FixedSchedule, Surroundings, device_of
from medviewer.training.loop import fit
from medviewer.training.metrics import Floats
from medviewer.training.molecule_networks import DenseNet, GraphNet, MoleculeSummary, squashed, stepped
from medviewer.training.molecule_scores import mean_auc
from medviewer.training.molecule_tensors import MoleculeTensors

PARTS = ("graph", "dense", "trees", "linear")
BLENDED = 3  # the first so many of them
_AT_ONCE = 512
_SORTED_BATCHES = 16  # molecules of a size go together inside of so many batches: less of them is padding


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """What was learned: networks and a linear model in torch, ``trees`` of scikit-learn, one an assay."""

    graph: Sequence[GraphNet]
    dense: Sequence[DenseNet]
    trees: Sequence[Any]
    linear: nn.Linear

    def logits(self, molecules: MoleculeTensors) -> Floats:
        """Return each part's logits and their blend, ``(n, parts + 1, assays)``, in the order of :data:`PARTS`."""
        found, summary = [], summarised(molecules)
        for start in range(0, len(molecules.truth), _AT_ONCE):
            chosen = torch.arange(start, min(start + _AT_ONCE, len(molecules.truth)))
            batch = _batch(molecules, summary, chosen, ("fingerprint", "summary", *GraphNet.READS))
            with torch.inference_mode():
                graph = torch.stack([net(*(batch[name] for name in net.READS)) for net in self.graph]).mean(0)
                dense = torch.stack([net(*(batch[name] for name in net.READS)) for net in self.dense]).mean(0)
                linear = self.linear(batch["fingerprint"])
            steps = stepped(batch["summary"]).numpy()
            trees = np.stack([model.decision_function(steps) for model in self.trees], 1)
            found.append(np.stack([graph.numpy(), dense.numpy(), trees, linear.numpy()], 1).astype(np.float64))
        parts = np.concatenate(found)
        return np.concatenate([parts, parts[:, :BLENDED].mean(1, keepdims=True)], 1)


class MoleculeLesson(FixedSchedule):
    """Which assays a molecule is active in; the last epoch is taken, so that no molecule is spent on choosing."""

    def __init__(
        self, molecules: MoleculeTensors, checked: MoleculeTensors | None, reads: Sequence[str], config: MoleculeConfig
    ) -> None:
        is_graph = "bonds" in reads
        epochs, rate = (config.graph_epochs, config.graph_rate) if is_graph else (config.epochs, config.rate)
        super().__init__(len(molecules.truth), config, epochs, rate)
        self._molecules, self._checked, self._reads, self._config = molecules, checked, tuple(reads), config
        self._summary = summarised(molecules)
        self._is_graph = is_graph
        self._truth = torch.from_numpy(np.nan_to_num(molecules.truth)).float()
        self._known = torch.from_numpy(np.isfinite(molecules.truth)).float()
        self._size = torch.from_numpy(molecules.mask.sum(1))

    def order(self, _: Epoch, chance: Generator) -> list[Tensor]:
        """Return all molecules, shuffled; for a graph those of about one size together."""
        shuffled, batch = torch.randperm(len(self._truth), generator=chance), self._config.batch
        if not self._is_graph:
            return list(torch.split(shuffled, batch))
        batches: list[Tensor] = []
        for some in torch.split(shuffled, batch * _SORTED_BATCHES):
            batches += torch.split(some[torch.argsort(self._size[some], stable=True)], batch)
        return [batches[int(index)] for index in torch.randperm(len(batches), generator=chance)]

    def batch(self, chosen: Tensor, *_: Epoch | Generator) -> Batch:
        """Return some molecules, what is known of them, and what is not."""
        made = _batch(self._molecules, self._summary, chosen, self._reads)
        return made | {"target": self._truth[chosen], "known": self._known[chosen]}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the cross entropy of the results that are known."""
        logits = network(*(batch[name] for name in self._reads))
        each = nn.functional.binary_cross_entropy_with_logits(logits, batch["target"], reduction="none")
        return (each * batch["known"]).sum() / batch["known"].sum().clamp(min=1)

    def told(self, average: nn.Module, epoch: Epoch) -> Mapping[str, float]:
        """Return, at the end, the AUC on molecules that are held out."""
        if self._checked is None or epoch.number < self.stages[0].epochs:
            return {}
        batch = _batch(self._checked, summarised(self._checked), torch.arange(len(self._checked.truth)), self._reads)
        with torch.inference_mode():
            logits = average(*(batch[name].to(device_of(average)) for name in self._reads)).cpu()
        auc = mean_auc(self._checked.truth, logits.numpy().astype(np.float64))
        return {"auc": round(auc, 4)} if np.isfinite(auc) else {}


def learn_blend(
    molecules: MoleculeTensors,
    config: MoleculeConfig,
    around: Surroundings,
    *,
    n_nets: int,
    checked: MoleculeTensors | None = None,
) -> Blend:
    """Learn all four parts from ``molecules``.

    Args:
        molecules: all that is learned from.
        config: the settings.
        around: where the loop works; each network has a folder of its own in it.
        n_nets: networks of each kind.
        checked: told of, and not learned from.

    Raises:
        Stopped, TrainingError, StorageError: as :func:`medviewer.training.loop.fit`.
    """
    graph: list[GraphNet] = []
    dense: list[DenseNet] = []
    for index in range(n_nets):
        own = dataclasses.replace(config, seed=config.seed + 1000 * index)
        torch.manual_seed(own.seed)
        graph.append(_graph_net(molecules, own))
        dense.append(_dense_net(molecules, own))
        nets: tuple[GraphNet | DenseNet, ...] = (graph[-1], dense[-1])
        for name, net in zip(PARTS, nets, strict=False):
            fit(net, MoleculeLesson(molecules, checked, net.READS, own), own, around.within(f"{name}-{index}"))
    return Blend(graph, dense, _grown(molecules, config), _fitted(molecules, config))


def out_of_fold(molecules: MoleculeTensors, fold: np.ndarray, config: MoleculeConfig, around: Surroundings) -> Floats:
    """Return for each molecule what a blend that did not learn from its fold says, as :meth:`Blend.logits`."""
    found = np.zeros((len(molecules.truth), len(PARTS) + 1, molecules.truth.shape[1]))
    for index in range(int(fold.max()) + 1):
        place = around.within(f"fold-{index}")
        held_out = molecules.where(fold == index)
        blend = learn_blend(molecules.where(fold != index), config, place, n_nets=1, checked=held_out)
        found[fold == index] = blend.logits(held_out)
    return found


def summarised(molecules: MoleculeTensors) -> np.ndarray:
    """Return :class:`MoleculeSummary` of molecules, ``(n, K)`` float32."""
    made, summary = [], MoleculeSummary()
    with torch.inference_mode():
        for start in range(0, len(molecules.truth), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            n = _most(molecules.mask[some])
            atoms, mask = molecules.atoms[some, :n], molecules.mask[some, :n]
            made.append(summary(torch.from_numpy(atoms), torch.from_numpy(mask)).numpy())
    return np.concatenate(made)


def _most(mask: np.ndarray) -> int:
    """Return how many atoms the largest of some molecules has."""
    return max(1, int(mask.sum(1).max(initial=0)))


def _batch(molecules: MoleculeTensors, summary: np.ndarray, chosen: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors of some molecules, cut where the largest of them ends."""
    index = chosen.numpy()
    n = _most(molecules.mask[index])
    made: dict[str, Callable[[], np.ndarray]] = {
        "fingerprint": lambda: molecules.fingerprint[index].astype(np.float32),
        "summary": lambda: summary[index],
        "atoms": lambda: molecules.atoms[index, :n],
        "bonds": lambda: molecules.bonds[index, :n, :n].astype(np.float32) / 2,
        "mask": lambda: molecules.mask[index, :n],
    }
    return {name: torch.from_numpy(np.ascontiguousarray(made[name]())) for name in names}


def _rarity(molecules: MoleculeTensors) -> Tensor:
    """Return the log odds of each assay, where a network begins."""
    active, known = np.nansum(molecules.truth, 0), np.isfinite(molecules.truth).sum(0)
    return torch.logit(torch.from_numpy((active + 0.5) / (known + 1))).float()


def _graph_net(molecules: MoleculeTensors, config: MoleculeConfig) -> GraphNet:
    net = GraphNet(molecules.truth.shape[1], config.graph_hidden, config.graph_steps, config.graph_dropout)
    net.standard.learn(squashed(torch.from_numpy(molecules.atoms[molecules.mask > 0])))
    with torch.no_grad():
        net.net[-1].bias.copy_(_rarity(molecules))  # type: ignore[operator]
    return net


def _dense_net(molecules: MoleculeTensors, config: MoleculeConfig) -> DenseNet:
    summary, (n_bits, n_assays) = summarised(molecules), (molecules.fingerprint.shape[1], molecules.truth.shape[1])
    net = DenseNet(n_bits, summary.shape[1], n_assays, config.hidden, config.dropout)
    net.standard.learn(torch.from_numpy(summary))
    with torch.no_grad():
        net.net[-1].bias.copy_(_rarity(molecules))  # type: ignore[operator]
    return net


def _grown(molecules: MoleculeTensors, config: MoleculeConfig) -> list[Any]:
    """Grow the trees of each assay on the summary (Friedman 2001; histogram-based as in LightGBM)."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - training only, and slow to load

    summary, grown = stepped(torch.from_numpy(summarised(molecules))).numpy(), []
    for said in molecules.truth.T:
        known = np.isfinite(said)
        model = HistGradientBoostingClassifier(
            learning_rate=config.tree_rate, max_iter=config.n_trees, max_leaf_nodes=12, min_samples_leaf=15,
            l2_regularization=5.0, max_features=0.2, early_stopping=False, random_state=config.seed,
        )  # fmt: skip
        grown.append(model.fit(summary[known], said[known] == 1))
    return grown


def _fitted(molecules: MoleculeTensors, config: MoleculeConfig) -> nn.Linear:
    """Fit a logistic regression of each assay on the bits."""
    from scipy.sparse import csr_matrix  # noqa: PLC0415 - as above
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    bits = csr_matrix(molecules.fingerprint.astype(np.float64))
    linear = nn.Linear(bits.shape[1], molecules.truth.shape[1])
    with torch.no_grad():
        for index, said in enumerate(molecules.truth.T):
            known = np.flatnonzero(np.isfinite(said))
            model = LogisticRegression(C=config.penalty, max_iter=500).fit(bits[known], said[known] == 1)
            linear.weight[index] = torch.from_numpy(model.coef_[0])
            linear.bias[index] = float(model.intercept_[0])
    return linear.requires_grad_(False)

"""Ways to read a dialogue, learned and blended: counted pieces, an encoder as it came or fine-tuned, an LSTM.

Each is learned in folds of the training dialogues; the parts whose mean says most sections right there are shipped.
"""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn

from medviewer.domain.frozen import dataclass
from medviewer.training.configs import NoteConfig
from medviewer.training.dialogues import Dialogues, encode_dialogues, input_of
from medviewer.training.lesson import Batch, Epoch, FixedSchedule, Surroundings
from medviewer.training.loop import fit
from medviewer.training.metrics import Floats
from medviewer.training.text_encoder import Pretrained
from medviewer.training.text_networks import Bottom, NoteNetwork, PieceWeights, Top, TwoWayLstm

Whole = npt.NDArray[np.int64]
PARTS = ("linear", "probe", "lstm", "transformer")
_SERVED_AT_ONCE = 32
_NEARBY = 8  # batches within which dialogues of like length are put together


@dataclass(frozen=True, slots=True, eq=False)
class Notes:
    """Dialogues as arrays: ``ids``, ``mask`` ``(n, length)``; ``truth`` ``(n,)`` classes; ``groups`` of copies."""

    ids: Whole
    mask: Whole
    truth: Whole
    groups: Sequence[str]

    def where(self, members: npt.NDArray[np.bool_]) -> Notes:
        """Return some of them."""
        groups = [group for group, is_in in zip(self.groups, members, strict=True) if is_in]
        return Notes(self.ids[members], self.mask[members], self.truth[members], groups)


def notes_of(found: Dialogues, pieces: Sequence[str], length: int) -> tuple[list[str], Notes]:
    """Return the sections in order, and dialogues as arrays."""
    sections = sorted({row.section for row in found.rows})
    with input_of(pieces, length) as spec:
        arrays = encode_dialogues(found.rows, spec)
    truth = np.array([sections.index(row.section) for row in found.rows], np.int64)
    return sections, Notes(arrays["ids"], arrays["mask"], truth, [row.group for row in found.rows])


class NoteLesson(FixedSchedule):
    """Which section a dialogue became; the last epoch is taken, so that no dialogue is spent on choosing.

    Args:
        rows: of each dialogue what lies below the network that learns, ``(tokens, width)``; of any length.
        truth: ``(n,)``.
        n_classes: sections, those included that no dialogue is of.
        config: ``epochs`` and ``rate`` are those of this network.
        fresh: names of modules that are new, and learn at ten times the rate.
    """

    def __init__(
        self, rows: Sequence[Tensor], truth: Whole, n_classes: int, config: NoteConfig, fresh: Sequence[str] = ()
    ) -> None:
        super().__init__(len(rows), config, config.epochs, config.rate)
        self._rows, self._truth, self._config, self._fresh = rows, torch.from_numpy(truth), config, tuple(fresh)
        self._lengths = torch.tensor([len(row) for row in rows])
        times = torch.bincount(self._truth, minlength=n_classes).float().clamp(min=1)
        weight = (len(rows) / times) ** config.balance
        self._weight = weight / weight[self._truth].mean()

    def parameters(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return what came pretrained, and what is new."""
        named = list(network.named_parameters())
        new = [x for name, x in named if name.split(".")[0] in self._fresh]
        old = [x for name, x in named if name.split(".")[0] not in self._fresh]
        rate = self._config.rate
        faster = max(rate, min(10 * rate, self._config.lstm_rate))
        return [{"params": old, "peak": rate}, *([{"params": new, "peak": faster}] if new else [])]

    def order(self, _: Epoch, chance: Generator) -> list[Tensor]:
        """Return all dialogues, shuffled; those of like length together, as padding costs time."""
        size = self._config.batch
        batches: list[Tensor] = []
        for some in torch.split(torch.randperm(len(self._rows), generator=chance), size * _NEARBY):
            batches += torch.split(some[self._lengths[some].argsort()], size)
        return [batches[i] for i in torch.randperm(len(batches), generator=chance).tolist()]

    def batch(self, chosen: Tensor, _: Epoch, chance: Generator) -> Batch:  # noqa: ARG002 - of the protocol
        """Return some dialogues, padded."""
        x, mask = padded([self._rows[i] for i in chosen.tolist()])
        target = self._truth[chosen]
        return {"x": x, "mask": mask, "target": target, "weight": self._weight[target]}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the weighted cross entropy."""
        logits = network(batch["x"], batch["mask"])
        return (nn.functional.cross_entropy(logits, batch["target"], reduction="none") * batch["weight"]).mean()


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return rows ``(tokens, width)`` as one tensor ``(n, most tokens, width)``, and its mask."""
    mask = nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.int64) for row in rows], batch_first=True)
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True), mask


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """What learns from dialogues: the pretrained encoder below it, and the settings."""

    pretrained: Pretrained
    n_classes: int
    config: NoteConfig

    def bottom(self) -> Bottom:
        """Return what does not learn."""
        return Bottom(self.pretrained.network(self.config.dropout), self.config.n_taught).eval().requires_grad_(False)

    def below(self, notes: Notes) -> dict[str, list[Tensor]]:
        """Return what lies below each network, of each dialogue: worked out once, and the same in every fold."""
        bottom, found = self.bottom(), {name: [torch.empty(0)] * len(notes.truth) for name in PARTS[1:]}
        lengths = notes.mask[:, : self.config.window].sum(1)
        torch.set_num_threads(self.config.threads)
        with torch.inference_mode():
            for some in np.array_split(np.argsort(lengths), max(1, len(lengths) // _SERVED_AT_ONCE)):
                most = int(lengths[some].max(initial=0))
                ids, mask = (torch.from_numpy(array[some, :most]) for array in (notes.ids, notes.mask))
                whole, tokens = bottom(ids, mask)
                seen = {"probe": whole, "lstm": bottom.embeddings.word_embeddings(ids), "transformer": tokens}
                for (name, x), (row, index) in itertools.product(seen.items(), enumerate(some.tolist())):
                    found[name][index] = (x[row] if name == "probe" else x[row, : lengths[index]]).clone()
        return found

    def learn(self, name: str, notes: Notes, below: Mapping[str, Sequence[Tensor]], around: Surroundings) -> nn.Module:
        """Learn one part from ``notes``, of which ``below`` is what :meth:`below` gave.

        Raises:
            Stopped, TrainingError, StorageError: as :func:`medviewer.training.loop.fit`.
        """
        config = self.config
        if name == "linear":
            return fit_pieces(notes, len(self.pretrained.pieces), self.n_classes, config)
        if name == "probe":
            return fit_probe(torch.stack(list(below[name])), notes.truth, self.n_classes, config)
        torch.manual_seed(config.seed)
        network: nn.Module
        if name == "lstm":
            config = dataclasses.replace(config, epochs=config.lstm_epochs, rate=config.lstm_rate)
            width = self.pretrained.weights["embeddings.word_embeddings.weight"].shape[1]
            network = TwoWayLstm(width, config.hidden, self.n_classes, 2 * config.dropout)
        else:
            network = Top(self.pretrained.network(config.dropout), config.n_taught, self.n_classes, config.dropout)
        lesson = NoteLesson(
            below[name], notes.truth, self.n_classes, config, ("norm", "linear") if name != "lstm" else ()
        )
        fit(network, lesson, config, around.within(name))
        return network

    def out_of_fold(self, notes: Notes, below: Mapping[str, Sequence[Tensor]], around: Surroundings) -> Floats:
        """Return for each dialogue what parts that did not learn from it say, logits ``(n, parts, classes)``."""
        fold = folds_of(notes, self.config)
        found = np.zeros((len(notes.truth), len(PARTS), self.n_classes))
        for index, (place, name) in itertools.product(range(self.config.n_folds), enumerate(PARTS)):
            held, learned = np.flatnonzero(fold == index), np.flatnonzero(fold != index)
            rows = {key: [every[i] for i in learned.tolist()] for key, every in below.items()}
            part = self.learn(name, notes.where(fold != index), rows, around.within(f"fold-{index}"))
            found[held, place] = self._said(name, part, notes, below, held)
            right = float(np.mean(found[held, place].argmax(1) == notes.truth[held]))
            around.progress(f"fold {index + 1} of {self.config.n_folds}, {name}: accuracy {right:.4f}")
        return found

    def _said(
        self, name: str, part: nn.Module, notes: Notes, below: Mapping[str, Sequence[Tensor]], chosen: Whole
    ) -> Floats:
        with torch.inference_mode():
            if name == "linear":
                return np.asarray(part(torch.from_numpy(notes.ids[chosen])).double().numpy())
            if name == "probe":
                return np.asarray(part(torch.stack([below[name][i] for i in chosen.tolist()])).double().numpy())
            parts = [chosen[i : i + _SERVED_AT_ONCE] for i in range(0, len(chosen), _SERVED_AT_ONCE)]
            said = [part(*padded([below[name][i] for i in some.tolist()])) for some in parts]
        return np.asarray(torch.cat(said).double().numpy())

    def assembled(self, parts: Mapping[str, nn.Module]) -> NoteNetwork:
        """Return the parts in one network, as it is served."""
        return NoteNetwork(self.bottom(), dict(parts), self.config.window).eval().requires_grad_(False)


def fit_pieces(notes: Notes, n_pieces: int, n_classes: int, config: NoteConfig) -> PieceWeights:
    """Fit a logistic regression, sections weighing alike, on TF-IDF of the pieces; idf as scikit-learn smooths it."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - training only, and slow to load

    network, n = PieceWeights(n_pieces, n_classes), len(notes.truth)
    row, column = np.nonzero(notes.mask[:, 1:])  # [CLS], at the first place, says nothing
    piece = notes.ids[row, column + 1]
    counts = csr_array((np.ones(len(row)), (row, piece)), shape=(n, n_pieces))
    counts.sum_duplicates()
    document = np.bincount(counts.indices, minlength=n_pieces)
    # What one dialogue alone holds is mostly chance; [SEP] stands in all of them.
    known = (document >= 2) & (np.arange(n_pieces) != int(notes.ids[0, notes.mask[0].sum() - 1]))
    idf = np.where(known, np.log((1 + n) / (1 + document)) + 1, 0.0)
    counts.data = (1 + np.log(counts.data)) * idf[counts.indices]
    length = np.sqrt(np.bincount(np.repeat(np.arange(n), np.diff(counts.indptr)), counts.data**2, n))
    counts.data /= np.repeat(np.maximum(length, 1e-9), np.diff(counts.indptr))
    weight, bias = _regression(counts, notes.truth, n_classes, config.penalty)
    with torch.no_grad():
        network.idf.copy_(torch.from_numpy(idf))
        network.map.weight.copy_(torch.from_numpy(weight.T * known[:, None]))
        network.bias.copy_(torch.from_numpy(bias))
    return network.eval().requires_grad_(False)


def fit_probe(x: Tensor, truth: Whole, n_classes: int, config: NoteConfig) -> nn.Linear:
    """Fit a logistic regression on standardised columns ``(n, K)``, and fold the standardising into its weights."""
    columns = x.double().numpy()
    mean, std = columns.mean(0), columns.std(0)
    std[std < 1e-6] = 1.0
    weight, bias = _regression((columns - mean) / std, truth, n_classes, config.probe_penalty)
    linear = nn.Linear(columns.shape[1], n_classes)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight / std))
        linear.bias.copy_(torch.from_numpy(bias - weight / std @ mean))
    return linear.eval().requires_grad_(False)


def _regression(x: Any, truth: Whole, n_classes: int, penalty: float) -> tuple[Floats, Floats]:
    """Return weights ``(C, K)`` and biases ``(C,)`` of a logistic regression in which all sections weigh alike."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - training only, and slow to load

    model = LogisticRegression(C=penalty, max_iter=2000, class_weight="balanced").fit(x, truth)
    weight = np.zeros((n_classes, x.shape[1]))
    bias = np.full(n_classes, float(model.intercept_.min()) - 5)  # a section that no dialogue is of is never said
    weight[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return weight, bias


def folds_of(notes: Notes, config: NoteConfig) -> Whole:
    """Return the fold of each dialogue: copies stay together, and each section is spread evenly."""
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - as above

    fold = np.zeros(len(notes.truth), np.int64)
    kind = StratifiedGroupKFold(config.n_folds, shuffle=True, random_state=config.seed)
    with warnings.catch_warnings():
        # Some sections have fewer dialogues than there are folds; where they are held out they are never said.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for index, (_, held) in enumerate(kind.split(fold, notes.truth, notes.groups)):
            fold[held] = index
    return fold

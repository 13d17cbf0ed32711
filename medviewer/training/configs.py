"""Every number that decides a run, by recipe: what is learned is repeated from it and the data's digest.

Nothing here loads torch, so that recipes can be listed with their settings in no time.
"""

from __future__ import annotations

from medviewer.domain.frozen import dataclass


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """The numbers that every run has; a recipe's own config adds to them.

    Attributes:
        batch: cases a step, over all processes.
        weight_decay: AdamW's pull towards zero.
        average: decay of the slow average, each step; 0 keeps no average.
        warmup: share of a stage's steps in which the learning rate rises.
        clip_norm: longest gradient that is taken as it is; 0: any.
        patience: epochs without a better score after which a stage ends; 0: never.
        mixed: calculate in half precision where a graphics card can.
        keep_every: steps between two checkpoints inside of an epoch; one follows each epoch.
        seed: of everything drawn by chance.
        threads: of torch; fixed, as it decides the order of sums.
    """

    batch: int = 32
    weight_decay: float = 0.02
    average: float = 0.993
    warmup: float = 0.08
    clip_norm: float = 0.0
    patience: int = 0
    mixed: bool = True
    keep_every: int = 200
    seed: int = 0
    threads: int = 2


@dataclass(frozen=True, slots=True)
class FilmConfig(LoopConfig):
    """Every number that decides a run; a run is repeated from it and the data's digest.

    Attributes:
        sizes: rows and columns of the input in each epoch of the first stage; the last
            one is served.
        finish: epochs of the second stage, which starts from the best epoch so far.
        finish_strength: of the changes to the images in the second stage.
        finish_rate: share of the learning rates in the second stage.
        backbone_rate: peak learning rate of the pretrained layers.
        head_rate: peak learning rate of the new linear layer.
        smoothing: label smoothing: targets are this much away from 0 and 1.
        dropout: chance that a pooled feature is hidden.
        strength: of the changes to the images.
        n_statistics: batches that the batch-normalisation statistics are measured on.
        n_validation: images at most of each class and split, each epoch.
        pretrained: start from published weights.
    """

    sizes: tuple[int, ...] = (160, 160, 224, 224, 224, 224)
    finish: int = 3
    finish_strength: float = 0.5
    finish_rate: float = 0.5
    backbone_rate: float = 4e-4
    head_rate: float = 2e-3
    smoothing: float = 0.05
    dropout: float = 0.3
    strength: float = 1.0
    n_statistics: int = 24
    n_validation: int = 320
    pretrained: bool = True


@dataclass(frozen=True, slots=True)
class TransformerConfig(FilmConfig):
    """The settings of a radiograph's lesson, and the shape of the transformer.

    Attributes:
        patch: side of a square, in pixels.
        width: numbers a token.
        depth: blocks.
        heads: of the attention.
    """

    sizes: tuple[int, ...] = (96,) * 9
    finish: int = 1
    backbone_rate: float = 6e-4
    head_rate: float = 1e-3
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    dropout: float = 0.1
    n_validation: int = 40
    threads: int = 1
    pretrained: bool = False
    patch: int = 16
    width: int = 192
    depth: int = 4
    heads: int = 3


@dataclass(frozen=True, slots=True)
class SmallConfig(LoopConfig):
    """Every number that decides a run.

    Attributes:
        size: rows and columns of the input.
        width: channels of the first convolution.
        n_members: networks that are averaged.
        n_folds: in which everything is judged, calibrated and decided.
        n_repeats: with other folds each.
        epochs: of each network; after each one the run is kept.
        passes: over the images, an epoch.
        rate: peak learning rate.
        dropout: chance that a pooled feature is hidden.
        smoothing: label smoothing: targets are this much away from 0 and 1.
        strength: of the changes to the images.
        n_statistics: batches that the batch-normalisation statistics are measured on.
    """

    threads: int = 1  # the networks are small: two threads wait for each other
    average: float = 0.98
    size: int = 28
    width: int = 16
    n_members: int = 3
    n_folds: int = 5
    n_repeats: int = 2
    epochs: int = 5
    passes: int = 12
    rate: float = 3e-3
    dropout: float = 0.3
    smoothing: float = 0.05
    strength: float = 1.0
    n_statistics: int = 12


@dataclass(frozen=True, slots=True)
class StayConfig(LoopConfig):
    """Every number that decides a run.

    Attributes:
        epochs: of each recurrent net.
        rate: peak learning rate of the recurrent nets.
        dropout: chance that a unit is hidden.
        hidden_variables: chance that a variable is hidden in a stay: hospitals measure different things.
        n_nets: recurrent nets that are averaged.
        n_folds: in which calibration and threshold are chosen, on stays that the fold did not learn from.
        n_trees: boosting steps.
        tree_rate: learning rate of the boosting steps.
        penalty: inverse strength of the linear model's pull towards zero.
    """

    threads: int = 1  # the nets are small: two threads wait for each other
    batch: int = 64
    average: float = 0.99
    warmup: float = 0.3
    clip_norm: float = 1.0
    epochs: int = 14
    rate: float = 4e-3
    dropout: float = 0.3
    hidden_variables: float = 0.1
    n_nets: int = 3
    n_folds: int = 5
    n_trees: int = 300
    tree_rate: float = 0.03
    penalty: float = 0.002


@dataclass(frozen=True, slots=True)
class ForecastConfig(LoopConfig):
    """Every number that decides a run.

    Attributes:
        epochs: of each net.
        rate: peak learning rate.
        hidden: units of the recurrent net.
        dropout: chance that a unit is hidden.
        hidden_variables: chance that a variable is hidden in a moment, but those that are forecast.
        n_folds: nets, each of which did not learn from one fold of the stays.
    """

    threads: int = 1
    batch: int = 128
    average: float = 0.995
    clip_norm: float = 1.0
    epochs: int = 5
    rate: float = 2e-3
    hidden: int = 64
    dropout: float = 0.3
    hidden_variables: float = 0.1
    n_folds: int = 4


@dataclass(frozen=True, slots=True)
class SurvivalConfig(LoopConfig):
    """Every number that decides a run.

    Attributes:
        n_folds: in which everything is judged.
        n_repeats: with other folds each.
        penalty: of Cox's model; 0: none.
        epochs: of the network.
        rate: peak learning rate of the network.
        hidden: hidden units of the network.
        dropout: chance that a unit is hidden.
        n_stretches: into which time is cut, each with about as many events.
    """

    threads: int = 1
    batch: int = 64
    average: float = 0.98
    weight_decay: float = 0.05
    n_folds: int = 5
    n_repeats: int = 5
    penalty: float = 0.0
    epochs: int = 40
    rate: float = 5e-3
    hidden: int = 16
    dropout: float = 0.3
    n_stretches: int = 12


@dataclass(frozen=True, slots=True)
class MoleculeConfig(LoopConfig):
    """Every number that decides a run.

    Attributes:
        epochs: of each network on fingerprint and summary.
        rate: peak learning rate of the networks on fingerprint and summary.
        hidden: units of the networks on fingerprint and summary.
        dropout: chance that one of those units is hidden.
        graph_epochs: of each network on atoms and bonds.
        graph_rate: peak learning rate of the networks on atoms and bonds.
        graph_hidden: numbers of an atom in the networks on atoms and bonds.
        graph_steps: how far messages go.
        graph_dropout: chance that one of those numbers is hidden.
        n_nets: networks of each kind that are averaged; always one in a fold.
        n_folds: in which parts are compared, and calibration and thresholds chosen.
        n_trees: boosting steps of each assay.
        tree_rate: learning rate of the boosting steps.
        penalty: inverse strength of the linear model's pull towards zero.
    """

    threads: int = 1
    batch: int = 128
    average: float = 0.98
    warmup: float = 0.3
    clip_norm: float = 1.0
    weight_decay: float = 0.1
    keep_every: int = 1000
    epochs: int = 8
    rate: float = 1e-3
    hidden: int = 128
    dropout: float = 0.5
    graph_epochs: int = 14
    graph_rate: float = 3e-3
    graph_hidden: int = 64
    graph_steps: int = 3
    graph_dropout: float = 0.2
    n_nets: int = 1
    n_folds: int = 5
    n_trees: int = 120
    tree_rate: float = 0.05
    penalty: float = 0.03


@dataclass(frozen=True, slots=True)
class NoteConfig(LoopConfig):
    """Every number that decides a run.

    Attributes:
        length: tokens that the model takes; the linear part counts all of them.
        window: tokens that the networks read, from the start.
        n_taught: last layers of the encoder that learn; the others stay as they came.
        epochs: of the transformer.
        rate: peak learning rate of the transformer's layers; what is new learns at ten times as much, but no faster
            than the LSTM.
        lstm_epochs: of the LSTM.
        lstm_rate: peak learning rate of the LSTM.
        hidden: units of the LSTM in each direction.
        dropout: chance that a unit of the networks is hidden.
        balance: how far rare sections weigh more in the networks' loss: 0 as they are, 1 all sections alike.
        penalty: inverse strength of the linear part's pull towards zero.
        probe_penalty: inverse strength of the pull towards zero of the probe, which reads what the encoder's untaught
            layers make of the dialogue.
        n_folds: in which parts, blend and temperature are chosen, by dialogues that the fold did not learn from.
    """

    threads: int = 1  # the networks are small: two threads wait for each other
    batch: int = 16
    average: float = 0.98
    warmup: float = 0.1
    clip_norm: float = 1.0
    mixed: bool = False
    length: int = 512
    window: int = 128
    n_taught: int = 1
    epochs: int = 3
    rate: float = 3e-4
    lstm_epochs: int = 8
    lstm_rate: float = 3e-3
    hidden: int = 64
    dropout: float = 0.1
    balance: float = 0.5
    penalty: float = 30.0
    probe_penalty: float = 0.003
    n_folds: int = 5

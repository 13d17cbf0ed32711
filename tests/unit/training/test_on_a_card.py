"""Where a graphics card learns: no tensor of the processor meets a network on the card, in any recipe."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from medviewer.domain.errors import InputError  # noqa: E402
from medviewer.training import RECIPES  # noqa: E402
from medviewer.training.batches import Part  # noqa: E402
from medviewer.training.checkpoint import load_chosen, write_tensors  # noqa: E402
from medviewer.training.configs import (  # noqa: E402
    FilmConfig,
    ForecastConfig,
    MoleculeConfig,
    NoteConfig,
    SmallConfig,
    StayConfig,
    SurvivalConfig,
)
from medviewer.training.film_lesson import FilmLesson  # noqa: E402
from medviewer.training.forecast_data import documents_of, moments_of  # noqa: E402
from medviewer.training.forecast_learning import ForecastLesson, new_net, scale_of  # noqa: E402
from medviewer.training.lesson import Epoch, Lesson  # noqa: E402
from medviewer.training.molecule_blend import MoleculeLesson  # noqa: E402
from medviewer.training.molecule_networks import COLUMNS, DenseNet, GraphNet, MoleculeSummary  # noqa: E402
from medviewer.training.molecule_tensors import MoleculeTensors  # noqa: E402
from medviewer.training.networks import EfficientNetLite0  # noqa: E402
from medviewer.training.networks_small import SmallNet  # noqa: E402
from medviewer.training.networks_vit import SmallViT  # noqa: E402
from medviewer.training.note_blend import NoteLesson  # noqa: E402
from medviewer.training.small_lesson import SmallLesson  # noqa: E402
from medviewer.training.stay_blend import StayLesson  # noqa: E402
from medviewer.training.stay_networks import StayGru  # noqa: E402
from medviewer.training.stays import VARIABLES, StayTensors  # noqa: E402
from medviewer.training.survival_net import SurvivalLesson  # noqa: E402
from medviewer.training.text_networks import Encoder, EncoderShape, Top, TwoWayLstm  # noqa: E402
from tests.lessons import TinyLesson, tiny_network  # noqa: E402
from tests.pretended_card import CARD, PretendedCard, to_card  # noqa: E402
from tests.stay_maker import make_walks  # noqa: E402

pytestmark = pytest.mark.torch

STEPS = ({"op": "resize", "rows": 32, "columns": 32}, {"op": "percentile_window", "low": 1, "high": 99})
Taught = tuple[Lesson, nn.Module]


def images(n: int = 8) -> Part:
    chance = np.random.default_rng(0)
    return Part([np.uint8(chance.integers(0, 255, (32, 32))) for _ in range(n)], np.arange(n, dtype=np.int64) % 2)


def film(network: nn.Module) -> Taught:
    config = FilmConfig(sizes=(32,), finish=0, batch=4, n_statistics=1, n_validation=2)
    return FilmLesson({"train": images(), "tune": images(4)}, STEPS, config), network


def small() -> Taught:
    return SmallLesson(images(), STEPS, SmallConfig(batch=4, n_statistics=1, size=32, epochs=1)), SmallNet(4)


def mortality() -> Taught:
    chance, n, n_fields = np.random.default_rng(0), 6, 4
    joined, fields = chance.random((n, 48, 3 * len(VARIABLES))), chance.random((n, n_fields))
    stays = StayTensors(np.float32(joined), np.float32(fields), np.arange(n) % 2 > 0)
    return StayLesson(stays, stays, StayConfig(epochs=1)), StayGru(len(VARIABLES), n_fields, 4)


def forecast() -> Taught:
    stays = make_walks(3)
    documents = documents_of(stays)
    moments, config = moments_of(stays, documents), ForecastConfig(epochs=1, hidden=4)
    return ForecastLesson(moments, moments, scale_of(documents[0]), config), new_net(moments.fields.shape[1], config)


def molecules(network: Callable[..., nn.Module], *numbers: Any, reads: tuple[str, ...]) -> Taught:
    chance, n, most = np.random.default_rng(0), 6, 5
    mask = np.float32(np.arange(most) < chance.integers(1, most + 1, (n, 1)))
    bonds = np.uint8(2 * (chance.random((n, most, most)) < 0.4))
    truth = np.stack([np.arange(n) % 2, np.arange(n) // 2 % 2], 1).astype(np.float64)
    atoms = np.float32(chance.random((n, most, len(COLUMNS))))
    given = MoleculeTensors(np.uint8(chance.random((n, 16)) < 0.3), atoms, bonds, mask, truth)
    config = MoleculeConfig(epochs=1, graph_epochs=1)
    return MoleculeLesson(given, given, reads, config), network(*numbers)


def dense() -> Taught:
    n_summary = MoleculeSummary()(torch.zeros(1, 2, len(COLUMNS)), torch.ones(1, 2)).shape[1]
    return molecules(DenseNet, 16, n_summary, 2, 4, 0.1, reads=DenseNet.READS)


def notes(network: nn.Module, fresh: tuple[str, ...] = ()) -> Taught:
    rows = [torch.randn(2 + index, 8, generator=torch.Generator().manual_seed(index)) for index in range(6)]
    return NoteLesson(rows, np.arange(6) % 3, 3, NoteConfig(epochs=1), fresh), network


def transformer() -> Taught:
    return notes(Top(Encoder(EncoderShape(9, 8, 2, 2, 16, 12)), 1, 3, 0.1), ("norm", "linear"))


def survival() -> Taught:
    chance = np.random.default_rng(0)
    x, time, event = chance.random((6, 3)), 1 + chance.random(6), np.arange(6) % 2 > 0
    lesson = SurvivalLesson(x, time, event, np.array([0.0, 1.5]), SurvivalConfig(epochs=1))
    return lesson, nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


TAUGHT: dict[str, tuple[Callable[[], Taught], ...]] = {
    "breast-ultrasound": (small,),
    "chest-xray": (lambda: film(EfficientNetLite0()),),
    "chest-xray-vit": (lambda: film(SmallViT(1, 32, 16, 16, 2, 2, is_early=True)),),
    "icu-forecast": (forecast,),
    "icu-mortality": (mortality,),
    "note-section": (lambda: notes(TwoWayLstm(8, 4, 3, 0.1)), transformer),
    "toxicity": (lambda: molecules(GraphNet, 2, 4, 1, 0.1, reads=GraphNet.READS), dense),
    "survival": (survival,),
}


@pytest.fixture
def card() -> Iterator[None]:
    with PretendedCard():
        yield


def test_a_tensor_of_the_processor_is_refused_on_the_card(card: None) -> None:
    there = torch.ones(2).to(CARD)
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.ones(2)
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    with pytest.raises(RuntimeError):
        to_card(tiny_network())(TinyLesson().x)
    assert (there + 1).cpu().numpy().tolist() == [2, 2]


def test_every_recipe_is_taught_here() -> None:
    assert TAUGHT.keys() == RECIPES.keys()


@pytest.mark.parametrize(
    ("recipe", "index"), [(name, index) for name, made in TAUGHT.items() for index in range(len(made))]
)
def test_a_card_says_what_the_processor_says(recipe: str, index: int, card: None) -> None:
    """The loss of a batch, and what follows an epoch: statistics measured anew, scores, what is told."""
    torch.manual_seed(0)
    lesson, network = TAUGHT[recipe][index]()
    network.eval()
    epoch = Epoch(1, 0, 0)
    assert lesson.stages[0].epochs == 1  # what is told at the end only is told now
    chance = torch.Generator().manual_seed(0)
    batch = lesson.batch(lesson.order(epoch, chance)[0], epoch, chance)
    found = []
    for where, one in ((torch.device("cpu"), network), (CARD, to_card(copy.deepcopy(network)))):
        with torch.no_grad():
            loss = lesson.loss(one, {name: x.to(where) for name, x in batch.items()})
            lesson.settle(one, epoch)
            score, told = lesson.validate(one, epoch)
        assert loss.device == where
        found.append((loss.item(), score, json.loads(json.dumps(told))))
    here, there = found
    assert there[0] == pytest.approx(here[0], abs=1e-5)
    assert there[1:] == here[1:]


def test_weights_of_a_card_are_exported_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network()
    (tmp_path / "history.json").write_text(json.dumps([{"epoch": 1, "score": 0.5, "chosen": True}]), encoding="utf-8")
    with monkeypatch.context() as patch:  # as a card writes them
        patch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        write_tensors(tmp_path / "epoch-1.pt", network.state_dict())
    try:
        load_chosen(other := tiny_network(seed=4), tmp_path)
    except InputError as error:
        pytest.fail(str(error))
    assert torch.equal(other[0].weight, network[0].weight)

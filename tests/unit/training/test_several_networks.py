"""A recipe of several networks: each has its own folder, for its checkpoints and for TensorBoard."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from medviewer.domain.errors import UsageError  # noqa: E402
from medviewer.training import forecast_learning, molecule_blend, note_blend, small_lesson, stay_blend  # noqa: E402
from medviewer.training.batches import Part  # noqa: E402
from medviewer.training.configs import (  # noqa: E402
    ForecastConfig,
    MoleculeConfig,
    NoteConfig,
    SmallConfig,
    StayConfig,
)
from medviewer.training.forecast_data import documents_of, moments_of  # noqa: E402
from medviewer.training.lesson import Surroundings  # noqa: E402
from medviewer.training.molecule_networks import COLUMNS  # noqa: E402
from medviewer.training.molecule_tensors import MoleculeTensors  # noqa: E402
from medviewer.training.run_record import read_record  # noqa: E402
from medviewer.training.stays import VARIABLES, StayTensors  # noqa: E402
from tests.event_files import scalars  # noqa: E402
from tests.stay_maker import make_walks  # noqa: E402

pytestmark = pytest.mark.torch


def surroundings(folder: Path) -> Surroundings:
    return Surroundings(folder / "run", progress=lambda _: None, tensorboard=folder / "events")


def test_each_of_two_networks_has_its_own_event_file(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    images = [np.uint8(np.random.default_rng(n).integers(0, 255, (28, 28))) for n in range(8)]
    config = SmallConfig(n_members=2, epochs=1, passes=2, batch=4, n_statistics=1, width=2, threads=1)
    steps = ({"op": "resize", "rows": 28, "columns": 28}, {"op": "normalise", "mean": 0.5, "std": 0.5})
    small_lesson.learn_ensemble(Part(images, np.arange(8) % 2), steps, config, surroundings(tmp_path).within("all"))
    losses = []
    for name in ("all/network-0", "all/network-1"):
        record = [line for line in read_record(tmp_path / "run" / name) if line["kind"] == "step"]
        losses.append(scalars(tmp_path / "events" / name, "train/loss"))
        assert losses[-1] == pytest.approx({line["step"]: line["loss"] for line in record})
    assert losses[0] != losses[1]


def test_with_other_settings_the_folder_of_all_networks_is_the_one_to_remove(tmp_path: Path) -> None:
    """To remove that of one network would only lead to the same refusal by the next one."""
    images = [np.uint8(np.random.default_rng(n).integers(0, 255, (28, 28))) for n in range(8)]
    config = SmallConfig(n_members=2, epochs=1, passes=2, batch=4, n_statistics=1, width=2, threads=1)
    steps = ({"op": "resize", "rows": 28, "columns": 28}, {"op": "normalise", "mean": 0.5, "std": 0.5})
    part, around = Part(images, np.arange(8) % 2), surroundings(tmp_path)

    def learn(rate: float) -> None:
        place = replace(around, tensorboard=None, identity={"rate": rate}).within("repeat-0").within("fold-0")
        small_lesson.learn_ensemble(part, steps, config, place)

    learn(0.003)
    with pytest.raises(UsageError, match=r"another rate \(0.003, not 0.004\); .*remove that folder") as refused:
        learn(0.004)
    assert str(refused.value).startswith(f"{around.folder} keeps a run")
    shutil.rmtree(around.folder)
    learn(0.004)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[Surroundings]:
    """Where networks would be learned; none is."""
    found: list[Surroundings] = []

    def fit(_network: Any, _lesson: Any, _config: Any, around: Surroundings) -> None:
        found.append(around)

    for module in (forecast_learning, molecule_blend, note_blend, stay_blend):
        monkeypatch.setattr(module, "fit", fit)
    for module in (molecule_blend, stay_blend):
        for name in ("_grown", "_fitted"):
            monkeypatch.setattr(module, name, lambda *_: None)
        monkeypatch.setattr(module.Blend, "logits", lambda *_: 0.0)  # type: ignore[attr-defined]
    return found


def check(places: list[Surroundings], folder: Path, names: list[str]) -> None:
    assert [place.part for place in places] == names
    assert [place.folder for place in places] == [folder / "run" / name for name in names]
    assert [place.tensorboard for place in places] == [folder / "events" / name for name in names]


def test_nets_of_stays(tmp_path: Path, places: list[Surroundings]) -> None:
    n = 6
    stays = StayTensors(
        np.zeros((n, 48, 3 * len(VARIABLES)), np.float32), np.zeros((n, 2), np.float32), np.arange(n) % 2 > 0
    )
    config = StayConfig(n_folds=2)
    stay_blend.out_of_fold(stays, config, surroundings(tmp_path).within("proof"))
    stay_blend.learn_blend(stays, config, surroundings(tmp_path), n_nets=2)
    check(places, tmp_path, ["proof/fold-0/net-0", "proof/fold-1/net-0", "net-0", "net-1"])


def test_nets_of_molecules(tmp_path: Path, places: list[Surroundings]) -> None:
    n = 6
    truth = np.stack([np.arange(n) % 2.0] * 2, 1)
    given = MoleculeTensors(
        np.zeros((n, 16), np.uint8), np.zeros((n, 3, len(COLUMNS)), np.float32), np.zeros((n, 3, 3), np.uint8),
        np.ones((n, 3), np.float32), truth,
    )  # fmt: skip
    molecule_blend.out_of_fold(given, np.arange(n) % 2, MoleculeConfig(), surroundings(tmp_path))
    molecule_blend.learn_blend(given, MoleculeConfig(), surroundings(tmp_path).within("all"), n_nets=2)
    folds = [f"fold-{fold}/{kind}-0" for fold in (0, 1) for kind in ("graph", "dense")]
    check(places, tmp_path, folds + [f"all/{kind}-{net}" for net in (0, 1) for kind in ("graph", "dense")])


def test_nets_of_forecasts(tmp_path: Path, places: list[Surroundings]) -> None:
    stays = make_walks(4)
    documents = documents_of(stays)
    moments, scale = moments_of(stays, documents), forecast_learning.scale_of(documents[0])
    forecast_learning.learn_forecaster(moments, scale, ForecastConfig(n_folds=2, hidden=4), surroundings(tmp_path))
    check(places, tmp_path, ["fold-0", "fold-1"])


def test_nets_of_notes(tmp_path: Path, places: list[Surroundings]) -> None:
    pretrained = SimpleNamespace(weights={"embeddings.word_embeddings.weight": torch.zeros(3, 4)})
    reader = note_blend.Reader(pretrained, 2, NoteConfig(hidden=4))  # type: ignore[arg-type]
    notes = note_blend.Notes(np.zeros((4, 3), np.int64), np.ones((4, 3), np.int64), np.arange(4) % 2, list("abcd"))
    for fold in ("fold-0", "fold-1"):
        reader.learn("lstm", notes, {"lstm": [torch.zeros(3, 4)] * 4}, surroundings(tmp_path).within(fold))
    check(places, tmp_path, ["fold-0/lstm", "fold-1/lstm"])

"""A place whose model the new one could not be compared with is refused before anything is learned."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from medviewer.domain.errors import UsageError
from medviewer.training import RECIPES, Manner, train
from tests import fakes
from tests.breast_maker import write_npz
from tests.dialogue_maker import write_encoder, write_published
from tests.stay_maker import make_stays, make_walks, write_stays
from tests.survival_maker import make_patients, write_arff

pytestmark = pytest.mark.torch

Maker = Callable[[Path], Mapping[str, str]]  # writes data into a folder, and returns the settings of a short run


def films(folder: Path) -> Mapping[str, str]:
    chance = np.random.default_rng(0)
    for number in range(60):
        for name in (f"NORMAL/IM-{number:04d}-0001.png", f"PNEUMONIA/person{number}_virus_{number}.png"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(chance.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / name)
    return {"sizes": "32,32", "finish": "1", "batch": "16", "pretrained": "false"}


def films_of_transformer(folder: Path) -> Mapping[str, str]:
    shape = {"patch": "8", "width": "16", "depth": "1", "heads": "2"}
    return {**films(folder), **shape, "sizes": "32,32,32", "finish": "0"}


def breasts(folder: Path) -> Mapping[str, str]:
    write_npz(folder / "breast.npz", 40)
    return {"width": "4", "n_members": "1", "n_folds": "2", "n_repeats": "1", "epochs": "1", "passes": "1"}


def dialogues(folder: Path) -> Mapping[str, str]:
    write_published(folder)
    small = {"epochs": "1", "lstm_epochs": "1", "n_folds": "2", "hidden": "8", "length": "48", "window": "32"}
    return {**small, "encoder": str(write_encoder(folder.parent))}


def molecules(folder: Path) -> Mapping[str, str]:
    pytest.importorskip("rdkit", reason="RDKit is not installed")
    from tests.molecule_maker import make_molecules, rows_of, write_table

    write_table(folder / "tox21.csv", rows_of(make_molecules()))
    return {"epochs": "1", "graph_epochs": "1", "n_folds": "2", "n_nets": "1", "n_trees": "2", "hidden": "8"}


def patients(folder: Path) -> Mapping[str, str]:
    write_arff(folder / "whas500.arff", make_patients(100))
    return {"epochs": "1", "n_folds": "2", "n_repeats": "1"}


def stays(folder: Path) -> Mapping[str, str]:
    write_stays(folder, "a", make_stays(30, seed=1))
    write_stays(folder, "b", make_stays(30, seed=2, first_id=200_000))
    return {"epochs": "1", "n_folds": "2", "n_nets": "1", "n_trees": "2"}


def walks(folder: Path) -> Mapping[str, str]:
    write_stays(folder, "a", make_walks(30, seed=1))
    write_stays(folder, "b", make_walks(30, seed=2, first_id=200_000))
    return {"epochs": "1", "n_folds": "2", "hidden": "8"}


MAKERS: Mapping[str, Maker] = {
    "breast-ultrasound": breasts,
    "chest-xray": films,
    "chest-xray-vit": films_of_transformer,
    "icu-forecast": walks,
    "icu-mortality": stays,
    "note-section": dialogues,
    "survival": patients,
    "toxicity": molecules,
}


@pytest.mark.parametrize("n_trials", [0, 1])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_model_of_other_data_stops_a_training_and_a_search_before_anything_is_learned(
    tmp_path: Path, recipe: str, n_trials: int
) -> None:
    if n_trials:
        pytest.importorskip("optuna")
    (tmp_path / "data").mkdir()
    settings = MAKERS[recipe](tmp_path / "data")
    out = fakes.make_model(tmp_path / "model")
    card = json.loads((out / "model.json").read_text(encoding="utf-8"))
    said = {"metric": importlib.import_module(RECIPES[recipe]).METRIC, "value": 0.5}
    card["training"] |= {"recipe": recipe, "data_digest": "other", "validation": said}
    (out / "model.json").write_text(json.dumps(card), encoding="utf-8")
    steps: list[tuple[int, int, str]] = []
    manner = Manner(bar=lambda *step: steps.append(step), search=n_trials)
    with pytest.raises(UsageError, match=r"holds a model of other data, .*Give --force .* or another --out"):
        train(recipe, tmp_path / "data", out, settings, lambda _: None, manner)
    assert steps == []
    assert not list(tmp_path.glob("model.training/**/run.pt"))

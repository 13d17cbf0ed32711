"""A model of a hospital's own archive claims nothing of the published data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medviewer.inference.card import read_card
from medviewer.training.calibration import Decision
from medviewer.training.card import write_card
from medviewer.training.data import ClassFolders, LabelledImage
from medviewer.training.film_lesson import FilmConfig
from medviewer.training.recipes.chest_xray import preprocessing
from medviewer.training.recipes.chest_xray_card import card_document, decided

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

DECISION = Decision(1.5, 0.2, 0.3, 0.97, 0.98, 400, 0.06, 0.02)
HISTORY = [
    {
        "epoch": 1,
        "size": 224,
        "loss": 0.5,
        "score": 0.9,
        "chosen": True,
        "auc": {"tune": {"as it is": 0.9}, "block": {"as it is": 0.9}},
    }
]
REPORT = {
    "data": {"n": 4, "n_patients": 4, "per_class": {"NORMAL": 2, "PNEUMONIA": 2}, "digest": "d"},
    "metrics": {"auc": {"value": 0.9, "ci95": [0.8, 1.0]}},
    "robustness": {},
    "novelty": None,
    "subgroups": [],
}


def written(folder: Path, *, is_table: bool, split: str = "") -> str:
    images = tuple(LabelledImage(folder, f"{n}", n % 2, f"p{n}", "d", split) for n in range(4))
    found = ClassFolders(folder, ("NORMAL", "PNEUMONIA"), images, is_table=is_table)
    document = card_document(found, FilmConfig(), preprocessing(224), HISTORY, "worst AUC") | decided(DECISION, found)
    (folder / "model.onnx").write_bytes(b"network")
    write_card(folder, document, {"block": REPORT, "report": REPORT})
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in ("model.json", "README.md", "LICENSE"))


def test_published_data_are_named(tmp_path: Path) -> None:
    text = written(tmp_path, is_table=False)
    assert "Kermany" in text
    assert read_card(tmp_path).population.age_years == (1, 5)
    assert read_card(tmp_path).training["validation"] == {"metric": "worst AUC", "value": 0.9}


@pytest.mark.parametrize("split", ["", "tune"])
def test_own_data_claim_nothing_of_them(tmp_path: Path, split: str) -> None:
    text = written(tmp_path, is_table=True, split=split)
    for word in ("Kermany", "Guangzhou", "children", "CC BY", "儿童", "广州"):
        assert word not in text
    card = read_card(tmp_path)
    assert card.id == "chest-xray-pneumonia-own"
    assert card.population.age_years is None
    document = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert ("label table" in document["training"]["split_rule"]) == bool(split)
    assert ("label table" in document["evidence"][0]["data"]["en"]) == bool(split)

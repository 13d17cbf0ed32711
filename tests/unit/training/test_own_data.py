"""A model of a hospital's own archive claims nothing of the published data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.inference.card import read_card
from medviewer.resources import models_dir
from medviewer.training import own_data
from medviewer.training.breastmnist import CLASSES, part_digests
from medviewer.training.calibration import Decision
from medviewer.training.card import write_card
from medviewer.training.configs import FilmConfig, ForecastConfig, MoleculeConfig, NoteConfig, SmallConfig, StayConfig
from medviewer.training.data import ClassFolders, LabelledImage
from medviewer.training.data_report import describe_data, images_table
from medviewer.training.dialogues import Dialogue, Dialogues, dialogues_table
from medviewer.training.fold_report import UNITS, folds_table
from medviewer.training.forecast_export import Offered
from medviewer.training.molecules import ASSAYS, Molecules
from medviewer.training.note_decision import Chosen
from medviewer.training.own_data import PUBLISHED, is_published, origin_of
from medviewer.training.physionet import Stay, Stays
from medviewer.training.recipes import (
    breast_ultrasound_card,
    icu_forecast_card,
    icu_mortality_card,
    note_section_card,
    toxicity_card,
)
from medviewer.training.recipes.chest_xray import preprocessing
from medviewer.training.recipes.chest_xray_card import card_document, decided
from medviewer.training.run_settings import with_folds
from medviewer.training.stay_table import stays_table

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


FILMS = ("NORMAL/IM-0001-0001.jpeg", "NORMAL/NORMAL2-IM-0002-0001.jpeg", "PNEUMONIA/person1_virus_6.jpeg")


def written(
    folder: Path, *, is_table: bool, split: str = "", names: tuple[str, ...] = FILMS, pretrained: bool = True
) -> str:
    images = tuple(LabelledImage(folder, name, n // 2, f"p{n}", "d", split) for n, name in enumerate(names))
    found = ClassFolders(folder, ("NORMAL", "PNEUMONIA"), images, is_table=is_table)
    document = card_document(
        found, FilmConfig(pretrained=pretrained), preprocessing(224), HISTORY, "worst AUC"
    ) | decided(DECISION, found)
    (folder / "model.onnx").write_bytes(b"network")
    write_card(folder, document, {"block": REPORT, "report": REPORT})
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in ("model.json", "README.md", "LICENSE"))


def test_published_data_are_named(tmp_path: Path) -> None:
    text = written(tmp_path, is_table=False)
    assert "Kermany" in text
    assert read_card(tmp_path).population.age_years == (1, 5)
    assert read_card(tmp_path).training["validation"] == {"metric": "worst AUC", "value": 0.9}


def test_weights_that_training_did_not_begin_with_are_not_named(tmp_path: Path) -> None:
    for pretrained in (True, False):
        text = written(tmp_path, is_table=False, pretrained=pretrained)
        assert ("ImageNet weights" in text) == pretrained
        assert "Kermany, Daniel; Zhang" in text
        bundled = (models_dir() / "chest-xray-pneumonia" / "LICENSE").read_text(encoding="utf-8")
        assert ((tmp_path / "LICENSE").read_text(encoding="utf-8") == bundled) == pretrained


@pytest.mark.parametrize("split", ["", "tune"])
def test_own_data_claim_nothing_of_them(tmp_path: Path, split: str) -> None:
    text = written(tmp_path, is_table=True, split=split)
    for word in ("Kermany", "Guangzhou", "children", "CC BY", "儿童", "广州"):
        assert word not in text
    card = read_card(tmp_path)
    assert card.id == "chest-xray-pneumonia-own"
    assert card.population.age_years is None
    document = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert document["licences"] == {
        "weights": "for their owner to say; training began with ImageNet weights of EfficientNet-Lite0 (Apache-2.0)",
        "data": "its owner's; not published",
    }
    assert ("by the label table" in document["training"]["split_rule"]) == bool(split)
    assert ("label table" in document["evidence"][0]["data"]["en"]) == bool(split)


@pytest.mark.parametrize(
    ("is_table", "whose"), [(True, "By patient, as the label table names them."), (False, "as the names of the files")]
)
def test_patients_of_own_films_are_not_told_by_the_published_names(tmp_path: Path, is_table: bool, whose: str) -> None:
    written(tmp_path, is_table=is_table, names=(*FILMS, "PNEUMONIA/ours-1.png"))
    rule = read_card(tmp_path).training["split_rule"]
    assert whose in rule
    for word in ("bacteria", "virus", "both series"):
        assert word not in rule


@pytest.mark.parametrize("is_table", [True, False])
def test_own_pictures_of_breasts_keep_the_caution_on_patients(is_table: bool) -> None:
    """Near copies are no patients: only a label table knows those."""
    images = tuple(LabelledImage(Path(), f"{n}", n % 2, f"copies-{n}", "d", "train") for n in range(4))
    text = breast_ultrasound_card.evidence_text(ClassFolders(Path(), CLASSES, images, is_table=is_table))
    assert ("two unlike images of one woman may still be on both sides" in text["en"]) != is_table
    assert ("同一患者的两张不同图像仍可能分在两侧" in text["zh"]) != is_table
    assert ("one patient of the label table" in text["en"]) == is_table
    assert ("patient" in UNITS[is_table]) == is_table


def test_class_folders_with_files_of_other_names_are_not_the_published_films(tmp_path: Path) -> None:
    text = written(tmp_path, is_table=False, names=(*FILMS, "PNEUMONIA/ours-1.png"))
    assert "Kermany" not in text
    assert read_card(tmp_path).id == "chest-xray-pneumonia-own"


def test_names_that_viewers_give_are_not_the_published_ones(tmp_path: Path) -> None:
    names = ("NORMAL/IM-0001-0001.jpg", "NORMAL/IM-0002-0001.jpg", "PNEUMONIA/IM-0001-0001.jpg")
    assert "Kermany" not in written(tmp_path, is_table=False, names=names)


def of_breast() -> tuple[dict[str, Any], list[Mapping[str, str]], list[str]]:
    """What the card says, what it says that it was judged on, and the digests of what was learned from."""
    images = tuple(LabelledImage(Path(), f"{n}", n % 2, f"p{n}", "d", ("train", "val")[n % 2]) for n in range(4))
    found = ClassFolders(Path(), CLASSES, images)
    config = SmallConfig()
    card = breast_ultrasound_card.card_document(found, config, [], "AUC", 0.9)
    card |= breast_ultrasound_card.decided(DECISION, found)
    return card, [breast_ultrasound_card.evidence_text(found)], list(part_digests(found).values())


def of_notes() -> tuple[dict[str, Any], list[Mapping[str, str]], list[str]]:
    rows = [Dialogue("1", "PLAN", "words")]
    sets = {name: Dialogues(Path(), rows, [], f"digest of {name}") for name in ("training", "validation", "test-1")}
    chosen = Chosen(["linear"], 1.0, np.eye(2)[[0, 1]], np.array([0, 1]), {"linear": 0.9}, 0.1, 0.1)
    card = note_section_card.card_document(["EXAM", "PLAN"], sets, NoteConfig(), chosen, {})
    texts = [note_section_card.evidence_text(split, sets) for split in ("folds", "validation", "test-1")]
    return card, texts, [one.digest for one in sets.values()]


def of_molecules() -> tuple[dict[str, Any], list[Mapping[str, str]], list[str]]:
    found = Molecules(["1"], ["CCO"], [""], np.ones((1, 12)), [], "digest")
    findings = toxicity_card.Findings(found, MoleculeConfig(), [DECISION] * len(ASSAYS), np.arange(9.0), {})
    texts = [toxicity_card.evidence_text(split, found) for split in ("folds", "valid", "test")]
    return toxicity_card.card_document(findings), texts, [found.digest]


def some_stays() -> dict[str, Stays]:
    stays = (Stay(1, {}, (), True),)
    return {letter: Stays(f"set-{letter}", stays, f"digest of {letter}") for letter in ("a", "b")}


def of_mortality() -> tuple[dict[str, Any], list[Mapping[str, str]], list[str]]:
    sets = some_stays()
    card = icu_mortality_card.card_document(sets, StayConfig(), [], DECISION, {})
    return card, [icu_mortality_card.evidence_text(sets)], [one.digest for one in sets.values()]


def of_forecasts() -> tuple[dict[str, Any], list[Mapping[str, str]], list[str]]:
    learned, one = some_stays()["a"], {"value": 0.9, "ci95": [0.8, 1.0]}
    measured = {
        "name": "HR",
        "all": {"n": 9, "mae": one, "mae_last": one, "mae_mean": one},
        "hours": [{"coverage": one}],
    }
    card = icu_forecast_card.card_document(learned, ForecastConfig(), [], [Offered("HR", (1,))], [measured], {})
    return card, [icu_forecast_card.evidence_text(learned)], [learned.digest]


RECIPES = {
    "breast-ultrasound": (
        of_breast,
        ("MNIST", "BUSI", "Cairo", "CC BY", "25 to 75", "开罗", "same images", "同一批图像"),
    ),
    "note-section": (of_notes, ("MTS", "Abacha", "CC BY", "annotators", "0.700", "two versions", "两个版本")),
    "toxicity": (of_molecules, ("Tox21 ", "7,823", "MIT", "United States", "7823")),
    "icu-mortality": (of_mortality, ("Boston", "MIMIC", "Silva", "ODC", "of the challenge", "竞赛B", "医院", "2008")),
    "icu-forecast": (of_forecasts, ("Boston", "MIMIC", "Silva", "ODC", "of the challenge", "竞赛", "医院", "2008")),
}


def told(card: Mapping[str, Any], texts: list[Mapping[str, str]]) -> str:
    """All that is said of data and licence; titles and names of what is answered are the same for any data."""
    kept = {key: value for key, value in card.items() if key not in ("labels", "outcomes")}
    of_labels = [one.get("operating_point", {}).get("meaning", {}) for one in card["labels"]]
    of_outcomes = [one["measured"] for one in card.get("outcomes", ())]
    return json.dumps([kept, of_labels, of_outcomes, texts], ensure_ascii=False)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_claims_its_published_data_only_where_it_learned_from_them(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = RECIPES[recipe]
    card, texts, digests = make()
    said = told(card, texts)
    assert [word for word in words if word in said] == []
    assert card["id"] == f"{recipe}-own"
    assert card["licences"]["data"] == "its owner's; not published"
    assert card["licences"]["weights"].startswith("for their owner to say")
    assert "references" not in card
    assert ("MiniLM" in card["licences"]["weights"]) == (recipe == "note-section")
    monkeypatch.setitem(own_data.PUBLISHED, recipe, frozenset(digests))
    card, texts, _ = make()
    said = told(card, texts)
    assert [word for word in words if word not in said] == []
    assert card["id"] == recipe
    if len(digests) > 1:  # one part of them is another: not those data
        monkeypatch.setitem(own_data.PUBLISHED, recipe, frozenset(digests[1:]))
        assert make()[0]["id"] == f"{recipe}-own"


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_what_is_taken_for_published_is_what_the_bundled_models_learned_from(recipe: str) -> None:
    cards = [read_card(folder) for folder in models_dir().iterdir() if (folder / "model.json").is_file()]
    (card,) = [one for one in cards if one.training and one.training.get("recipe") == recipe]
    digests = card.training.get("data_digests") or {"all": card.training["data_digest"]}
    assert is_published(recipe, digests.values())
    assert set(digests.values()) == PUBLISHED[recipe]
    assert not is_published(recipe, [*digests.values(), "another"])
    assert not is_published(recipe, [])
    assert not is_published("another", digests.values())


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_it_is_said_before_a_training_whether_data_are_the_published_ones(recipe: str) -> None:
    digests = sorted(PUBLISHED[recipe])
    is_ours, sentence = origin_of(recipe, digests, has_published_names=False)
    assert is_ours is True
    assert sentence.startswith(f"These are the published data (digest {digests[0][:12]}")
    is_ours, sentence = origin_of(recipe, [*digests[1:], "ab" * 32], has_published_names=True)
    assert is_ours is False
    assert "abababababab): the card will say that it is of your own data." in sentence
    assert origin_of("another", digests, has_published_names=True) == (None, "")


def test_films_are_told_by_their_names() -> None:
    for recipe in ("chest-xray", "chest-xray-vit"):
        assert origin_of(recipe, ["d"], has_published_names=True)[0] is True
        is_ours, sentence = origin_of(recipe, ["d"], has_published_names=False)
        assert is_ours is False
        assert sentence.startswith("These are not the published data, by the names of the files")


def test_each_report_compares_what_its_card_compares(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forecast learns from set A alone, a mortality model from both; notes from the training table."""
    sets, rows = some_stays(), [Dialogue("1", "PLAN", "words")]
    digests = frozenset({"digest of a"})
    for recipe, letters, expected in (("icu-forecast", "a", True), ("icu-mortality", "ab", False)):
        monkeypatch.setitem(own_data.PUBLISHED, recipe, digests)
        assert describe_data(stays_table(Path(), sets, letters), recipe)["is_published"] is expected
    tables = {name: Dialogues(Path(), rows, [], f"digest of {name}") for name in ("training", "validation")}
    monkeypatch.setitem(own_data.PUBLISHED, "note-section", frozenset({"digest of training"}))
    assert describe_data(dialogues_table(Path(), tables), "note-section")["is_published"] is True
    images = tuple(LabelledImage(Path(), f"{n}", n % 2, f"p{n}", "d", ("train", "val")[n % 2]) for n in range(4))
    found = ClassFolders(Path(), CLASSES, images)
    monkeypatch.setitem(own_data.PUBLISHED, "breast-ultrasound", frozenset(part_digests(found).values()))
    table = folds_table(found, np.arange(4), 2, 0)
    assert describe_data(table, "breast-ultrasound")["is_published"] is True
    films = tuple(LabelledImage(Path(), name, n // 2, f"p{n}", "d") for n, name in enumerate(FILMS))
    published = images_table(ClassFolders(Path(), ("NORMAL", "PNEUMONIA"), films), 0)
    assert describe_data(published, "chest-xray")["is_published"] is True


@pytest.mark.parametrize(
    ("make", "config"), [(of_notes, NoteConfig), (of_molecules, MoleculeConfig), (of_mortality, StayConfig)]
)
def test_texts_tell_how_many_folds_there_were(make: Any, config: Any) -> None:
    """They speak of five, the recipes' own number: of another run that would be false."""
    card, _, _ = make()
    assert config().n_folds == card["training"]["config"]["n_folds"] == 5
    said = json.dumps(with_folds(card, 3), ensure_ascii=False)
    assert "3 folds" in said
    assert "3折" in said
    assert "five folds" not in said
    assert "五折" not in said
    assert with_folds(card, 3)["labels"][0]["threshold"] == card["labels"][0]["threshold"]

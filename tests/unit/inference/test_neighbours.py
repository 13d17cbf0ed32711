"""The nearest training cases: which they are, what is said of them, and what file is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.answer import Answer
from medviewer.domain.errors import CardError, ModelError
from medviewer.inference import guards, neighbours
from medviewer.inference.acceptance import accept
from medviewer.inference.card import Card, read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.gathering import gather, tensors_of
from medviewer.inference.guards import check_unseen
from medviewer.inference.neighbours import Memory, neighbours_of
from tests import fakes

SECTION = {
    "file": "neighbours.npz",
    "output": "features",
    "k": 3,
    "seen": {"pneumonia": [{"least": 0, "most": 1, "n": 40, "n_wrong": 1}, {"least": 2, "most": 3, "n": 0, "n_wrong": 0}]},
}  # fmt: skip


def arrays(**changes: Any) -> Mapping[str, np.ndarray]:
    """Six cases on a line in the first of four features; the last three had the finding."""
    points = np.array([[0.0], [1], [2], [3], [4], [5]], np.float16)
    truth = np.array([[0], [0], [0], [1], [1], [1]], np.uint8)
    directions = np.eye(1, fakes.FILTERS, dtype=np.float16)
    mean, scale = np.zeros(fakes.FILTERS, np.float32), np.full(fakes.FILTERS, 2, np.float32)
    return {"mean": mean, "scale": scale, "directions": directions, "points": points, "truth": truth, **changes}


def card_with(folder: Path, section: Any = SECTION, **changes: Any) -> Card:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "neighbours.npz", **{k: v for k, v in arrays(**changes).items() if v is not None})
    return read_card(fakes.make_model(folder, neighbours=section, more_files=(("neighbours", "neighbours.npz"),)))


def features(first: float) -> np.ndarray:
    return np.array([[first, *([7.0] * (fakes.FILTERS - 1))]], np.float32)


def test_the_nearest_are_counted_along_the_directions_alone(tmp_path: Path) -> None:
    card = card_with(tmp_path / "near")
    for at, positive in ((0.0, 0), (4.0, 1), (6.2, 2), (20.0, 3)):  # halved by the scale: 0, 2, 3.1, 10
        (found,) = neighbours_of(card, features(at), "en")
        assert found is not None
        assert (found.n, found.positive) == (3, positive)


def test_of_cases_that_are_as_near_the_first_counts() -> None:
    memory = Memory(**{name: np.asarray(array) for name, array in arrays().items()})
    assert memory.nearest(features(3.0), 2).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("language", "first", "second"),
    [
        (
            "en",
            "Of the 3 training cases most like this one, 1 had the label “Pneumonia”.",
            "where 0–1 of the 3 had it, the model was wrong on 1 of 40 cases",
        ),
        ("zh", "在与本例最相似的3个训练病例中，1个标注为“肺炎”。", "有0–1个如此标注的共40例，模型判断错误1例"),
    ],
)
def test_the_sentence_says_how_often_the_model_erred_among_such_cases(
    tmp_path: Path, language: str, first: str, second: str
) -> None:
    (found,) = neighbours_of(card_with(tmp_path / "near"), features(4.0), language)
    assert found is not None
    assert found.sentence.startswith(first)
    assert second in found.sentence


@pytest.mark.parametrize(("language", "on"), [("en", "200 held-out films"), ("zh", "200 幅留出胸片")])
def test_it_says_of_which_cases_the_errors_were_counted(tmp_path: Path, language: str, on: str) -> None:
    section = {**SECTION, "on": {"en": "200 held-out films", "zh": "200 幅留出胸片"}}
    card = card_with(tmp_path / "near", section)
    (found,) = neighbours_of(card, features(4.0), language)
    assert found is not None
    assert found.on == on
    (nowhere,) = neighbours_of(card, features(20.0), language)
    assert nowhere is not None
    assert nowhere.on == ""  # none were counted there
    (unsaid,) = neighbours_of(card_with(tmp_path / "unsaid"), features(4.0), language)
    assert unsaid is not None
    assert unsaid.on == ""


def test_what_nobody_met_in_validation_is_not_spoken_of(tmp_path: Path) -> None:
    (found,) = neighbours_of(card_with(tmp_path / "near"), features(20.0), "en")
    assert found is not None
    assert "validation" not in found.sentence


def test_an_answer_carries_them(tmp_path: Path) -> None:
    card_with(tmp_path / "near")
    fakes.make_model(tmp_path / "plain", id="plain")
    with Engine(Catalogue([tmp_path]), providers=("cpu",), threads=1) as engine:
        (finding,) = engine.ask(fakes.make_case(), "fake-chest").findings
        assert finding.neighbours is not None
        assert finding.neighbours.n == 3
        (plain,) = engine.ask(fakes.make_case(), "plain").findings
        assert plain.neighbours is None
        assert replace(finding, neighbours=None) == plain


@pytest.fixture
def _one_direction_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "LEAST_DIRECTIONS", 1)


@pytest.mark.usefixtures("_one_direction_is_enough")
def test_how_near_the_nearest_is_is_a_share_of_the_way_from_the_middle() -> None:
    memory = Memory(**{name: np.asarray(array) for name, array in arrays().items()})
    places = np.concatenate([features(at) for at in (8.0, 8.2, 9.0, 20.0, 0.0)])  # halved by the scale
    assert memory.nearness(places) == pytest.approx([0, 0.1 / 4.1, 0.5 / 4.5, 0.5, 0])
    away = Memory(**{name: np.asarray(array) for name, array in arrays(points=np.ones((6, 1), np.float16)).items()})
    assert away.nearness(features(0.0))[0] > 1  # in the very middle, where no training case is


def test_few_directions_cannot_tell_a_training_case() -> None:
    memory = Memory(**{name: np.asarray(array) for name, array in arrays().items()})
    assert memory.nearness(features(8.0)).tolist() == [np.inf]


def warnings_of(answer: Answer) -> list[tuple[str, str]]:
    return [(guard.level, guard.text) for guard in answer.guards if guard.code == "learned_from"]


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "The model learned from this very image"), ("zh", "该模型曾用这幅图像进行训练")],
)
@pytest.mark.usefixtures("_one_direction_is_enough")
def test_an_image_that_was_learned_from_is_answered_with_a_warning(tmp_path: Path, language: str, words: str) -> None:
    """Its features are those of a training case, or all but; at a tenth of the way it is another image."""
    case = fakes.make_case()
    tensors = tensors_of(gather(case, read_card(fakes.make_model(tmp_path / "plain", id="plain"))).encode())
    with Engine(Catalogue([tmp_path]), providers=("cpu",), threads=1) as engine:
        batch = {name: tensor[None] for name, tensor in tensors.items()}
        (seen,) = engine.run("plain", batch, outputs=("features",))["features"]
    scale, truth = np.ones(fakes.FILTERS, np.float32), np.array([[1], [1], [0]], np.uint8)
    for share, expected in ((1.0, True), (1.02, True), (1.1, False), (0.5, False)):
        folder = tmp_path / f"{share}"
        points = np.array([[seen[0] * share]] * 3, np.float32)
        card_with(folder / "near", points=points, truth=truth, scale=scale)
        with Engine(Catalogue([folder]), providers=("cpu",), threads=1) as engine:
            answer = engine.ask(case, "fake-chest", language=language)
        warnings = warnings_of(answer)
        assert [(level, text.startswith(words)) for level, text in warnings] == [("warn", True)] * expected
        assert answer.findings


@pytest.mark.usefixtures("_one_direction_is_enough")
def test_what_is_no_image_is_called_a_case() -> None:
    memory = Memory(**{name: np.asarray(array) for name, array in arrays().items()})
    (said,) = check_unseen(features(8.0), memory, "en", ".data")
    assert said.text.startswith("The model learned from this very case")
    assert check_unseen(features(9.0), memory, "en", ".data") == ()


@pytest.mark.usefixtures("_one_direction_is_enough")
def test_where_there_is_no_answer_nothing_is_said_of_how_good_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Memory, "nearness", lambda _self, features: np.zeros(len(features)))
    card_with(tmp_path / "near")
    with Engine(Catalogue([tmp_path]), providers=("cpu",), threads=1) as engine:
        assert len(warnings_of(engine.ask(fakes.make_case(), "fake-chest"))) == 1
        monkeypatch.setattr(guards, "check_distribution", lambda *_: guards.say("no_image", "abstain", "en"))
        answer = engine.ask(fakes.make_case(), "fake-chest")
    assert answer.status == "abstained"
    assert warnings_of(answer) == []


def test_a_model_that_knows_nothing_of_strangeness_still_knows_its_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Memory, "nearness", lambda _self, features: np.zeros(len(features)))
    card_with(tmp_path / "near")
    without = json.loads((tmp_path / "near/model.json").read_text(encoding="utf-8"))
    del without["ood"]
    without["files"] = [file for file in without["files"] if file["role"] != "ood"]
    (tmp_path / "near/model.json").write_text(json.dumps(without), encoding="utf-8")
    with Engine(Catalogue([tmp_path]), providers=("cpu",), threads=1) as engine:
        answer = engine.ask(fakes.make_case(), "fake-chest")
    assert len(warnings_of(answer)) == 1
    assert not any(guard.code.startswith("out_of_distribution") for guard in answer.guards)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"truth": None}, "lacks one of"),
        ({"points": np.zeros(6, np.float16)}, "another number of axes"),
        ({"points": np.full((6, 1), np.nan, np.float16)}, "values that are not numbers"),
        ({"scale": np.zeros(fakes.FILTERS, np.float32)}, "divides by nothing"),
        ({"truth": np.full((6, 1), 2, np.uint8)}, "labels other than 0 and 1"),
        ({"truth": np.zeros((5, 1), np.uint8)}, "do not fit each other"),
        ({"points": np.zeros((6, 2), np.float16)}, "do not fit each other"),
        ({"mean": np.zeros(3, np.float32)}, "do not fit each other"),
        ({"truth": np.zeros((6, 2), np.uint8)}, "not of this network"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, changes: Mapping[str, Any], says: str) -> None:
    card = card_with(tmp_path / "near", **changes)
    with pytest.raises(CardError, match=says):
        neighbours_of(card, features(0.0), "en")


def test_features_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="not of this network"):
        neighbours_of(card_with(tmp_path / "near"), np.zeros((1, 9), np.float32), "en")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"output": "nowhere"}, "name an output that is not listed"),
        ({"file": "ood.npz"}, "not among the files with the role “neighbours”"),
        ({"seen": {"mass": []}}, "a label that is not listed"),
        (
            {"seen": {"pneumonia": [{"least": 0, "most": 1, "n": 4, "n_wrong": 40}]}},
            "counts of the neighbours cannot be",
        ),
        (
            {"seen": {"pneumonia": [{"least": 2, "most": 1, "n": 4, "n_wrong": 0}]}},
            "counts of the neighbours cannot be",
        ),
        (
            {"seen": {"pneumonia": [{"least": 0, "most": 4, "n": 4, "n_wrong": 0}]}},
            "counts of the neighbours cannot be",
        ),
        (
            {
                "seen": {
                    "pneumonia": [
                        {"least": 0, "most": 2, "n": 4, "n_wrong": 0},
                        {"least": 2, "most": 3, "n": 4, "n_wrong": 0},
                    ]
                }
            },
            "counts of the neighbours cannot be",
        ),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(tmp_path: Path, change: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        card_with(tmp_path / "near", {**SECTION, **change})


@pytest.mark.parametrize(
    ("section", "changes", "says"),
    [
        (SECTION, {"truth": np.zeros((6, 2), np.uint8)}, "not of this network"),
        ({**SECTION, "output": "cam"}, {}, "not of this network"),
        ({**SECTION, "k": 7, "seen": {}}, {}, "fewer cases than are counted"),
    ],
)
def test_a_model_whose_neighbours_cannot_be_counted_is_not_installed(
    tmp_path: Path, section: Any, changes: Mapping[str, Any], says: str
) -> None:
    with pytest.raises(CardError, match=says):
        accept(card_with(tmp_path / "near", section, **changes))


def test_a_model_with_neighbours_is_accepted(tmp_path: Path) -> None:
    accept(card_with(tmp_path / "near"))

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from medviewer.domain.errors import CardError
from medviewer.inference.card import ResidualSpec, Text, TextureSpec, read_card
from medviewer.inference.card_json import CARD_LIMIT_BYTES
from medviewer.inference.card_schema import CARD_SCHEMA
from tests import fakes

Card = dict[str, Any]


def read(folder: Path) -> Card:
    document: Card = json.loads((folder / "model.json").read_text())
    return document


def test_schema_is_itself_valid() -> None:
    jsonschema_rs.meta.validate(CARD_SCHEMA)


def test_card_says_what_the_file_says(model_folder: Path) -> None:
    card, document = read_card(model_folder), read(model_folder)
    assert (card.id, card.version, card.task) == ("fake-chest", "1.2.3", "multilabel")
    assert card.sha256 == next(f["sha256"] for f in document["files"] if f["role"] == "model")
    assert card.inputs[0].shape == (None, 1, fakes.SIZE, fakes.SIZE)
    assert card.labels[0].code == "SCT:233604007"
    assert card.labels[0].operating_point.n == 100
    assert card.calibration.slope == (0.5,)
    assert card.population.age_years == (1, 5)
    assert card.ood is not None
    assert card.ood.output == "features"
    assert card.explain is not None
    assert card.explain.grid == (8, 8)
    assert card.ranges == {"x": (-2.0, 2.0)}
    assert card.file("cam") is None
    assert card.label_index("pneumonia") == 0


def test_unknown_label_and_missing_role_name_what_there_is(model_folder: Path) -> None:
    card = read_card(model_folder)
    with pytest.raises(CardError, match="reports pneumonia"):
        card.label_index("fracture")
    with pytest.raises(CardError, match="“cam”"):
        card.require("cam")


@pytest.mark.parametrize(("language", "said"), [("en", "yes"), ("zh", "是"), ("zh_CN", "是"), ("fr", "yes")])
def test_text_falls_back_to_english(language: str, said: str) -> None:
    assert Text("yes", "是").say(language) == said
    assert Text("yes").say(language) == "yes"


def drop(name: str) -> Callable[[Card], None]:
    return lambda card: card.pop(name)


def put(value: Any, *path: Any) -> Callable[[Card], None]:
    def change(card: Card) -> None:
        place: Any = card
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def twice(name: str) -> Callable[[Card], None]:
    return lambda card: card[name].append(card[name][0])


RESIDUAL = {"output": "features", "warn_above": 2.0, "abstain_above": 5.0}


def test_the_residual_is_read_and_may_be_absent(model_folder: Path) -> None:
    ood = read_card(model_folder).ood
    assert ood is not None
    assert (ood.residual, ood.outputs) == (None, ("features",))
    card = read(model_folder)
    put({**RESIDUAL, "output": "cam"}, "ood", "residual")(card)
    fakes.write_card(model_folder, card)
    ood = read_card(model_folder).ood
    assert ood is not None
    assert ood.residual == ResidualSpec("cam", 2.0, 5.0)
    assert ood.outputs == ("features", "cam")


TEXTURE = {"warn_above": 2.0, "abstain_above": 5.0}


def test_the_texture_is_read_and_may_be_absent(model_folder: Path) -> None:
    ood = read_card(model_folder).ood
    assert ood is not None
    assert ood.texture is None
    card = read(model_folder)
    put(TEXTURE, "ood", "texture")(card)
    fakes.write_card(model_folder, card)
    ood = read_card(model_folder).ood
    assert ood is not None
    assert (ood.texture, ood.outputs) == (TextureSpec(2.0, 5.0), ("features",))


@pytest.mark.parametrize("shape", [[None, 1, 27, 32], [None, 1, 32, 27]])
def test_the_texture_of_a_smaller_image_is_not_judged(model_folder: Path, shape: list[int | None]) -> None:
    card = read(model_folder)
    put(TEXTURE, "ood", "texture")(card)
    put(shape, "inputs", 0, "shape")(card)
    fakes.write_card(model_folder, card)
    with pytest.raises(CardError, match="judges the texture of what is no single grey image"):
        read_card(model_folder)


@pytest.mark.reliability
def test_figures_of_an_unknown_threshold_are_not_said_of_the_cards_own(model_folder: Path) -> None:
    assert "95 of 100" in read_card(model_folder).labels[0].meaning.en
    card = read(model_folder)
    del card["labels"][0]["operating_point"]["threshold"]
    fakes.write_card(model_folder, card)
    assert read_card(model_folder).labels[0].meaning == Text("")


TOO_LARGE = ["9007199254740993", "1" + "0" * 400, "-1" + "0" * 400, "1e400", "-1e400", "1e300", "NaN", "Infinity"]


@pytest.mark.parametrize("number", TOO_LARGE, ids=lambda number: f"{number[:6]}-{len(number)}")
@pytest.mark.parametrize("place", [("reference_tolerance",), ("ood", "abstain_above"), ("ranges", "x", 1)])
def test_a_number_that_no_computer_holds_is_refused(
    model_folder: Path, place: tuple[str | int, ...], number: str
) -> None:
    card = read(model_folder)
    put("@", *place)(card)
    (model_folder / "model.json").write_text(json.dumps(card).replace('"@"', number))
    with pytest.raises(CardError, match="not a number a card may hold"):
        read_card(model_folder)


@pytest.mark.parametrize("half", ["first \ud800", "\udc00 last"])
@pytest.mark.parametrize("place", [("title",), ("references",)])
def test_half_a_character_is_refused(model_folder: Path, place: tuple[str, ...], half: str) -> None:
    card = read(model_folder)
    put([half] if place == ("references",) else {"en": half}, *place)(card)
    (model_folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(CardError, match="holds half of a character"):
        read_card(model_folder)


def test_a_whole_character_written_as_two_halves_is_read(model_folder: Path) -> None:
    card = read(model_folder)
    put({"en": "\U0001f600"}, "title")(card)
    (model_folder / "model.json").write_text(json.dumps(card))
    assert "\\ud83d" in (model_folder / "model.json").read_text()
    assert read_card(model_folder).title.en == "\U0001f600"


@pytest.mark.parametrize(
    "name", ["schema", "id", "title", "files", "labels", "calibration", "population", "regulatory"]
)
def test_a_missing_field_is_named(model_folder: Path, name: str) -> None:
    card = read(model_folder)
    del card[name]
    fakes.write_card(model_folder, card)
    with pytest.raises(CardError, match=name):
        read_card(model_folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("../model.onnx", "files", 0, "path"), "files/0/path"),
        (put("sub/model.onnx", "files", 0, "path"), "files/0/path"),
        (put("ABC", "files", 0, "sha256"), "files/0/sha256"),
        (put("pickle", "files", 0, "role"), "files/0/role"),
        (put("Not An Id", "id"), "at id"),
        (put(1.5, "labels", 0, "threshold"), "labels/0/threshold"),
        (put(0.01, "labels", 0, "threshold"), "threshold of pneumonia is not the one at which"),
        (put(0.4, "labels", 0, "operating_point", "threshold"), "threshold of pneumonia is not the one at which"),
        (put(-1, "calibration", "parameters", "temperature"), "calibration"),
        (put("platt", "calibration", "method"), "calibrates by platt"),
        (put({"slope": [-1], "intercept": [0]}, "calibration", "parameters"), "calibrates by temperature"),
        (put("99A:B", "labels", 0, "code", "scheme"), "scheme or the value of the code of pneumonia holds"),
        (put("2:3", "labels", 0, "code", "value"), "scheme or the value of the code of pneumonia holds"),
        (put(1, "misspelt"), "misspelt"),
        (put([5, 1], "population", "age_years"), "youngest age"),
        (put(200.0, "ood", "warn_above"), "abstains before it warns"),
        (put("model.onnx", "ood", "file"), "out-of-distribution file"),
        (put("nothing", "ood", "output"), "output that is not listed"),
        (put({**RESIDUAL, "output": "nothing"}, "ood", "residual"), "output that is not listed"),
        (put({**RESIDUAL, "warn_above": 9.0}, "ood", "residual"), "abstains before it warns"),
        (put({**RESIDUAL, "abstain_above": 0}, "ood", "residual"), "at ood/residual"),
        (put({**RESIDUAL, "abstain_abvoe": 5}, "ood", "residual"), "at ood/residual"),
        (put({"output": "features", "warn_above": 1}, "ood", "residual"), "at ood/residual"),
        (put({**TEXTURE, "warn_above": 9.0}, "ood", "texture"), "abstains before it warns"),
        (put({**TEXTURE, "abstain_above": 0}, "ood", "texture"), "at ood/texture"),
        (put({**TEXTURE, "output": "features"}, "ood", "texture"), "at ood/texture"),
        (put({"abstain_above": 1}, "ood", "texture"), "at ood/texture"),
        (put([None, 2], "outputs", 0, "shape"), "one column for each label"),
        (put("other", "outputs", 0, "name"), "no output named"),
        (put([None, 3, 32, 32], "inputs", 0, "shape"), r"\[null, 1, h, w\]"),
        (put([None, 1, None, 32], "inputs", 0, "shape"), "only the batch"),
        (put([0.2, 0.1], "inputs", 0, "spacing_mm"), "range of spacing_mm of x is empty"),
        (put([0, 0.1], "inputs", 0, "spacing_mm"), "inputs/0"),
        (put([0.1], "inputs", 0, "spacing_mm"), "inputs/0"),
        (put(["L"], "inputs", 0, "laterality"), "x names a side and is not chosen by view"),
        (put([{"op": "exec"}], "preprocessing"), "unknown preprocessing step exec"),
        (put({"y": [0, 1]}, "ranges"), "not an input"),
        (put({"x": [1, 1]}, "ranges"), "range is empty"),
        (put("multiclass", "task"), "two labels or more"),
        (twice("files"), "same role"),
        (twice("outputs"), "same name"),
    ],
)
def test_a_contradiction_is_named(model_folder: Path, change: Callable[[Card], None], says: str) -> None:
    card = read(model_folder)
    change(card)
    fakes.write_card(model_folder, card)
    with pytest.raises(CardError, match=says):
        read_card(model_folder)


def test_two_labels_never_have_one_code(tmp_path: Path) -> None:
    """Reports and other programs would take them for one finding."""
    folder = fakes.make_model(tmp_path / "m", labels=("left", "right"))
    card = read(folder)
    card["labels"][1]["code"] = card["labels"][0]["code"]
    fakes.write_card(folder, card)
    with pytest.raises(CardError, match="two labels have the same code"):
        read_card(folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b'{"id": NaN}', "NaN"),
        (b'{"id": 1, "id": 2}', "given twice"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b" " * (CARD_LIMIT_BYTES + 1), "larger than"),
    ],
)
def test_what_is_no_card_is_refused(model_folder: Path, content: bytes, says: str) -> None:
    (model_folder / "model.json").write_bytes(content)
    with pytest.raises(CardError, match=says):
        read_card(model_folder)


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"no readable model\.json"):
        read_card(tmp_path)


def test_platt_parameters_reach_the_card(tmp_path: Path) -> None:
    calibration = {
        "method": "platt",
        "parameters": {"slope": [1.5, 2.0], "intercept": [0.1, -0.2]},
        "ece_before": 0.1,
        "ece_after": 0.02,
        "on": "made-up images",
    }
    card = read_card(fakes.make_model(tmp_path / "m", labels=("a", "b"), calibration=calibration))
    assert (card.calibration.slope, card.calibration.intercept) == ((1.5, 2.0), (0.1, -0.2))

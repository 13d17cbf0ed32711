"""Settings as text: read as what they replace, and refused in one sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from medviewer.domain.errors import UsageError
from medviewer.domain.recipe_settings import PathSetting, kind_of, range_problem, read_settings, read_value
from medviewer.training import configs

DEFAULTS: dict[str, Any] = {"batch": 32, "rate": 0.01, "mixed": True, "sizes": (160, 224), "word": "a"}
PATHS = {
    "weights": PathSetting("file", {}),
    "beside": PathSetting("folder", {}),
    "curves": PathSetting("folder", {}, is_read=False),
    "refresh": PathSetting("folder", {}),
}


def test_each_value_is_read_as_the_kind_that_it_replaces(tmp_path: Path) -> None:
    (tmp_path / "w").touch()
    given = {"batch": "8", "rate": "1", "mixed": "False", "sizes": "(96,)", "word": "b"}
    paths = {"weights": str(tmp_path / "w"), "beside": str(tmp_path), "curves": str(tmp_path / "new")}
    values, places = read_settings(DEFAULTS, given | paths, PATHS)
    assert values == {"batch": 8, "rate": 1.0, "mixed": False, "sizes": (96,), "word": "b"}
    assert isinstance(values["rate"], float)
    assert places == {name: Path(text) for name, text in paths.items()}


@pytest.mark.parametrize("value", DEFAULTS.values(), ids=DEFAULTS)
def test_a_default_survives_its_text(value: Any) -> None:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    assert read_value(text, kind_of(value)) == value


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("rates", "1", "There is no setting 'rates'; there are: batch, rate, mixed, sizes, word, weights, beside, curves, "),
        ("batch", "8.5", "The setting batch cannot be '8.5'; an example is 32."),
        ("mixed", "1", "The setting mixed cannot be '1'; an example is True."),
        ("sizes", "()", "The setting sizes cannot be '()'; an example is (160, 224)."),
        ("weights", "PLACE", "The setting weights names PLACE, where there is no file; give one that is there."),
        ("beside", "PLACE/w", "The setting beside names PLACE/w, where there is no folder; give one that is there."),
        ("curves", " ", "The setting curves names no folder; give its path, or leave the setting out."),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / "w").touch()
    with pytest.raises(UsageError) as refused:
        read_settings(DEFAULTS, {name: text.replace("PLACE", str(tmp_path))}, PATHS)
    assert str(refused.value).replace(str(tmp_path), "PLACE").startswith(sentence)


@pytest.mark.parametrize(
    ("name", "default", "given", "refused", "words"),
    [
        ("n_folds", 5, ("2", "9"), ("0", "1", "-3"), "at least 2"),
        ("epochs", 5, ("1", "40"), ("0", "-1"), "at least 1"),
        ("finish", 3, ("0", "4"), ("-1",), "at least 0"),
        ("patience", 0, ("0", "4"), ("-1",), "at least 0"),
        ("seed", 0, ("0", "4294967295"), ("4294967296",), "at most 4294967295"),
        ("seed", 0, (), ("-1",), "at least 0"),
        ("sizes", (96, 96), ("96,16",), ("96,0", "-96"), "at least 16"),
        ("rate", 0.1, ("0.2", "7"), ("0", "-1", "nan", "inf"), "a number above 0"),
        ("penalty", 0.0, ("0", "50"), ("-1", "nan", "inf"), "a number of at least 0"),
        ("penalty", 0.03, ("50",), ("0",), "a number above 0"),
        ("backbone_rate", 4e-4, ("0",), ("-0.1", "nan"), "a number of at least 0"),
        ("weight_decay", 0.1, ("0",), ("-0.1",), "a number of at least 0"),
        ("dropout", 0.3, ("0", "0.9"), ("1", "-0.1", "nan"), "at least 0 and below 1"),
        ("warmup", 0.3, ("0", "1"), ("1.1", "nan"), "from 0 to 1"),
    ],
)
def test_a_value_out_of_its_range_is_refused_before_anything_is_learned(
    name: str, default: Any, given: tuple[str, ...], refused: tuple[str, ...], words: str
) -> None:
    for text in given:
        assert read_settings({name: default}, {name: text}, {})[0][name] is not None
    for text in refused:
        with pytest.raises(UsageError) as told:
            read_settings({name: default}, {name: text}, {})
        assert str(told.value) == f"The setting {name} cannot be {text!r}; it must be {words}."


@pytest.mark.parametrize("config", [getattr(configs, name) for name in dir(configs) if name.endswith("Config")])
def test_every_recipes_own_values_are_in_their_ranges(config: Any) -> None:
    for field in dataclasses.fields(config):
        assert not range_problem(field.name, field.default, field.default), field.name


def test_refresh_takes_no_other_setting_beside_it(tmp_path: Path) -> None:
    read_settings(DEFAULTS, {"refresh": str(tmp_path)}, PATHS)
    with pytest.raises(UsageError, match="takes no other setting beside it"):
        read_settings(DEFAULTS, {"refresh": str(tmp_path), "batch": "8"}, PATHS)

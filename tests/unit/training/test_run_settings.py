"""The page of a model tells how it was really trained: settings that were given, and those that a search chose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from medviewer.domain.recipe_settings import read_settings
from medviewer.resources import models_dir
from medviewer.training.card_page import readme
from medviewer.training.recipes.abouts import ABOUTS
from medviewer.training.run_settings import command_of, settings_lines

BUNDLED = {
    document["training"]["recipe"]: document
    for path in sorted(models_dir().glob("*/model.json"))
    if "training" in (document := json.loads(path.read_text(encoding="utf-8")))
}


def page(recipe: str, config: Mapping[str, Any], **training: Any) -> str:
    card = BUNDLED[recipe]
    told = card["training"] | {"config": {**card["training"]["config"], **config}} | training
    return readme(card | {"training": told})


def test_the_command_carries_each_setting_that_is_not_the_recipes() -> None:
    text = page("survival", {"penalty": 50.0, "n_folds": 3}, seed=5)
    assert "`medviewer train survival --data DIR --out DIR --set n_folds=3 --set penalty=50.0 --seed 5`" in text
    assert "- `penalty` is 50.0; the recipe's is 0.0 (of Cox's model; 0: none)." in text


def test_the_command_is_taken_as_it_stands() -> None:
    """Lists and switches too: what the settings read from it are the values of the run."""
    config = {"sizes": [64, 96], "mixed": False, "head_rate": 1e-05}
    words = command_of({"recipe": "chest-xray", "config": config, "seed": 0}).split()
    given = dict(words[at + 1].split("=") for at, word in enumerate(words) if word == "--set")
    defaults = {name: getattr(ABOUTS["chest-xray"].config, name) for name in config}
    assert read_settings(defaults, given, {})[0] == {**config, "sizes": (64, 96)}


def test_weights_that_were_given_are_in_the_command() -> None:
    training = {"recipe": "chest-xray-vit", "config": {"pretrained": True}, "seed": 0, "given": ["weights"]}
    assert " --set weights=FILE --seed" in command_of(training)
    assert "pretrained" not in command_of(training)  # follows from them, and cannot be given without
    assert "- `weights` was given. Weights of a vision transformer" in "\n".join(settings_lines(training))


@pytest.mark.parametrize("recipe", ABOUTS)
def test_a_search_is_told_with_what_it_judged_on(recipe: str) -> None:
    search = {"trials": 20, "names": ["rate", "penalty"]}
    lines = settings_lines({"recipe": recipe, "config": {}, "seed": 0, "search": search})
    assert lines == [f"A search chose `rate`, `penalty`: the best of 20 trials on {ABOUTS[recipe].searched_on}.", ""]
    assert ABOUTS[recipe].searched_on


@pytest.mark.parametrize("recipe", BUNDLED)
def test_a_model_with_the_recipes_own_settings_has_the_short_command(recipe: str) -> None:
    assert f"`medviewer train {recipe} --data DIR --out DIR --seed 0`" in readme(BUNDLED[recipe])
    assert settings_lines(BUNDLED[recipe]["training"]) == []


def test_a_recipe_of_somebodys_own_is_no_error() -> None:
    training = {"recipe": "knee", "config": {"x": 1}, "seed": 2, "given": ["weights"]}
    assert command_of(training) == "medviewer train knee --data DIR --out DIR --seed 2"
    assert settings_lines(training) == []

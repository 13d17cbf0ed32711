"""The settings of a run that are not the recipe's own, as a model's page tells them.

Whoever repeats a run needs every one of them, and whoever reads the figures must know whether a search chose some.
All comes from the card: its ``config``, and :attr:`medviewer.training.request.Request.asked`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from medviewer.domain.recipe_settings import PathSetting
from medviewer.training.about import as_text, settings_of
from medviewer.training.recipes.abouts import ABOUTS

# Tells only whether weights were given; the setting of their file says that already.
_PRETRAINED = ("pretrained", "weights")


def is_recipes_own(recipe: str, config: Any) -> bool:
    """Whether every setting of a run, but the seed, is the recipe's own."""
    return not _changed(recipe, dataclasses.asdict(config))


def with_folds(told: Any, n_folds: int) -> Any:
    """Return a card, or a part of one, whose texts tell how many folds there were; they speak of the usual five."""
    if isinstance(told, str):
        return told.replace("five folds", f"{n_folds} folds").replace("五折", f"{n_folds}折")
    if isinstance(told, Mapping):
        return {name: with_folds(one, n_folds) for name, one in told.items()}
    return [with_folds(one, n_folds) for one in told] if isinstance(told, (list, tuple)) else told


def command_of(training: Mapping[str, Any]) -> str:
    """Return the command that trains a model like this one, with each setting that is not the recipe's own."""
    sets = [f"{name}={text}" for name, text, _ in _changed(training["recipe"], training.get("config", {}))]
    sets += [f"{name}={path.kind.upper()}" for name, path in _given(training)]
    told = "".join(f" --set {one}" for one in sets)
    return f"medviewer train {training['recipe']} --data DIR --out DIR{told} --seed {training['seed']}"


def settings_lines(training: Mapping[str, Any]) -> list[str]:
    """Return what the page says of settings that are not the recipe's own; nothing where all are."""
    if (about := ABOUTS.get(training["recipe"])) is None:
        return []
    meanings = {one["name"]: one["about"]["en"].rstrip(".") for one in settings_of(about.config)}
    lines = [
        f"- `{name}` is {text}; the recipe's is {default} ({meanings[name]})."
        for name, text, default in _changed(training["recipe"], training.get("config", {}))
    ]
    lines += [f"- `{name}` was given. {path.about['en']}" for name, path in _given(training)]
    if lines:
        lines = ["Settings that are not the recipe's own:", "", *lines, ""]
    if search := training.get("search"):
        names = ", ".join(f"`{name}`" for name in search["names"])
        lines += [f"A search chose {names}: the best of {search['trials']} trials on {about.searched_on}.", ""]
    return lines


def _given(training: Mapping[str, Any]) -> list[tuple[str, PathSetting]]:
    about = ABOUTS.get(training["recipe"])
    return [(name, about.paths[name]) for name in training.get("given", ())] if about else []


def _changed(recipe: str, config: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, value and the recipe's value, as ``--set`` takes them; the seed has an option of its own."""
    if (about := ABOUTS.get(recipe)) is None:
        return []
    left_out = {"seed", _PRETRAINED[0] if _PRETRAINED[1] in about.paths else ""}
    found = []
    for field in dataclasses.fields(about.config):
        if field.name in left_out or field.name not in config:  # an older card lacks what came later
            continue
        value, default = config[field.name], getattr(about.config, field.name)
        text = as_text(tuple(value) if isinstance(value, list) else value)
        if text != as_text(default):
            found.append((field.name, text, as_text(default)))
    return found

"""What people should know of a recipe before they start it.

:data:`medviewer.training.recipes.abouts.ABOUTS` says it by name. A recipe that is not there is shown by its module's
docstring and with the settings of its own config, so that naming a module in ``RECIPES`` is all that it needs.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from dataclasses import field
from types import ModuleType
from typing import Any, TypeAlias

from medviewer.domain.frozen import dataclass
from medviewer.domain.recipe_settings import PathSetting, kind_of
from medviewer.training.configs import LoopConfig

Words: TypeAlias = Mapping[str, str]
"""The same words by language: ``{"en": ..., "zh": ...}``."""
_MEANING = re.compile(r"^    (\w+): (.+(?:\n {8,}.+)*)", re.MULTILINE)  # of an attribute, in a docstring


@dataclass(frozen=True, slots=True)
class About:
    """A recipe for people.

    Attributes:
        title: what it makes.
        data: which folder or file it wants.
        duration: how long it takes, and on what.
        config: its default settings, a dataclass.
        needs: the packages without which it cannot learn, as they are imported.
        files: suffixes of the files, such as ``.csv``, that it takes in the place of a folder; none: folders only.
        paths: its settings that are paths, which the config has not.
        searched_on: what a search of its settings judges them on, for the page of the model.
    """

    title: Words
    data: Words
    duration: Words
    config: Any
    needs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    paths: Mapping[str, PathSetting] = field(default_factory=dict)
    searched_on: str = ""


def described(name: str, about: About) -> dict[str, Any]:
    """Return one entry of ``medviewer.recipes/1``; see ``docs/json.md``."""
    return {
        "recipe": name,
        "title": dict(about.title),
        "data": dict(about.data),
        "duration": dict(about.duration),
        "files": list(about.files),
        "settings": settings_of(about.config),
        "paths": [{"name": name} | dataclasses.asdict(path) for name, path in about.paths.items()],
    }


def settings_of(config: Any) -> list[dict[str, Any]]:
    """Return ``name`` and ``value`` of each field, as :func:`medviewer.training.settings.configure` reads them.

    Beside them ``kind``, which kind of value it is, and ``about``, what the config's docstring says of it.
    """
    if config is None:
        return []
    told = _meanings(type(config))
    found = [(one.name, getattr(config, one.name)) for one in dataclasses.fields(config)]
    return [
        {"name": name, "value": as_text(value), "kind": kind_of(value)}
        | {"about": {"en": told[name]} if name in told else {}}
        for name, value in found
    ]


def undescribed(name: str, module: ModuleType) -> About:
    """Return what can be told of a recipe by its module alone: its own ``ABOUT``, if it has one."""
    if isinstance(told := getattr(module, "ABOUT", None), About):
        return told
    title = (module.__doc__ or name).strip().splitlines()[0].rstrip(".")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, LoopConfig)]
    own = next((kind for kind in kinds if kind is not LoopConfig), None)
    return About({"en": title}, {}, {}, own() if own else None)


def as_text(value: Any) -> str:
    """Return the value of a setting as ``--set`` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meanings(config: type) -> dict[str, str]:
    """Return what the docstrings of a config, and of those that it adds to, say of each attribute."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        _, _, listed = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
        found |= {name: " ".join(text.split()) for name, text in _MEANING.findall(listed)}
    return found

"""What people should know of a recipe before they start it.

A recipe's module says it in a constant ``ABOUT``. One without is shown by its docstring and with the
settings of its own config, so that naming a module in ``RECIPES`` is all that a recipe needs to appear.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from medviewer.training.lesson import LoopConfig

Words: TypeAlias = Mapping[str, str]
"""The same words by language: ``{"en": ..., "zh": ...}``."""


@dataclass(frozen=True, slots=True)
class About:
    """A recipe for people.

    Attributes:
        title: what it makes.
        data: which folder it wants.
        duration: how long it takes, and on what.
        config: its default settings, a dataclass.
    """

    title: Words
    data: Words
    duration: Words
    config: Any


def described(name: str, module: ModuleType) -> dict[str, Any]:
    """Return one entry of ``medviewer.recipes/1``; see ``docs/json.md``.

    Args:
        name: of the recipe.
        module: the recipe.
    """
    about = getattr(module, "ABOUT", None) or _undescribed(name, module)
    return {
        "recipe": name,
        "title": dict(about.title),
        "data": dict(about.data),
        "duration": dict(about.duration),
        "settings": settings_of(about.config),
    }


def settings_of(config: Any) -> list[dict[str, str]]:
    """Return ``name`` and ``value`` of each field, as :func:`medviewer.training.settings.configure` reads them."""
    if config is None:
        return []
    return [
        {"name": field.name, "value": _as_text(getattr(config, field.name))} for field in dataclasses.fields(config)
    ]


def _undescribed(name: str, module: ModuleType) -> About:
    title = (module.__doc__ or name).strip().splitlines()[0].rstrip(".")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, LoopConfig)]
    own = next((kind for kind in kinds if kind is not LoopConfig), None)
    return About({"en": title}, {}, {}, own() if own else None)


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)

"""What people should know of a recipe before they start it.

:data:`medviewer.training.recipes.abouts.ABOUTS` says it by name. A recipe that is not there is shown by its module's
docstring and with the settings of its own config, so that naming a module in ``RECIPES`` is all that it needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from medviewer.training.configs import LoopConfig

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
        needs: the packages without which it cannot learn, as they are imported.
    """

    title: Words
    data: Words
    duration: Words
    config: Any
    needs: tuple[str, ...] = ()


def described(name: str, about: About) -> dict[str, Any]:
    """Return one entry of ``medviewer.recipes/1``; see ``docs/json.md``."""
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


def undescribed(name: str, module: ModuleType) -> About:
    """Return what can be told of a recipe by its module alone: its own ``ABOUT``, if it has one."""
    if isinstance(told := getattr(module, "ABOUT", None), About):
        return told
    title = (module.__doc__ or name).strip().splitlines()[0].rstrip(".")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, LoopConfig)]
    own = next((kind for kind in kinds if kind is not LoopConfig), None)
    return About({"en": title}, {}, {}, own() if own else None)


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)

"""The settings of a recipe with those replaced that were given as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.domain.recipe_settings import PathSetting, read_settings

if TYPE_CHECKING:
    from typing import TypeVar

    from _typeshed import DataclassInstance

    C = TypeVar("C", bound=DataclassInstance)


def configure(default: C, overrides: Mapping[str, str], paths: Mapping[str, PathSetting]) -> tuple[C, dict[str, Path]]:
    """Return the settings, with those given as text replaced.

    Args:
        default: a recipe's config.
        overrides: by name.
        paths: the settings that are no fields of the config but paths.

    Raises:
        UsageError: as :func:`medviewer.domain.recipe_settings.read_settings` says.
    """
    defaults = {field.name: getattr(default, field.name) for field in dataclasses.fields(default)}
    values, places = read_settings(defaults, overrides, paths)
    return dataclasses.replace(default, **values), places

"""Settings of a recipe, given as text: read as the kind of value that they replace."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from medviewer.domain.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    C = TypeVar("C", bound=DataclassInstance)


def configure(default: C, overrides: Mapping[str, str], folders: Sequence[str]) -> tuple[C, dict[str, Path]]:
    """Return the settings, with those given as text replaced.

    Args:
        default: a recipe's config.
        overrides: by name.
        folders: names that are no fields of the config but paths.

    Raises:
        UsageError: an unknown setting, a value that is not of its kind, or another setting beside ``refresh``.
    """
    changed: dict[str, Any] = {}
    paths: dict[str, Path] = {}
    known = [field.name for field in dataclasses.fields(default)]
    for name, text in overrides.items():
        if name in folders:
            paths[name] = Path(text)
            continue
        if name not in known:
            raise UsageError(f"There is no setting {name!r}; there are: {', '.join([*known, *folders])}.")
        try:
            changed[name] = _value(text, getattr(default, name))
        except ValueError as error:
            raise UsageError(
                f"The setting {name} cannot be {text!r}; an example is {getattr(default, name)!r}."
            ) from error
    if "refresh" in paths and len(overrides) > 1:
        raise UsageError("The setting refresh keeps a model as it was trained; it takes no other setting beside it.")
    return dataclasses.replace(default, **changed), paths


def _value(text: str, like: Any) -> Any:
    """Read ``text`` as the kind of value that ``like`` is."""
    if isinstance(like, bool):
        if text.lower() not in {"true", "false"}:
            raise ValueError(text)
        return text.lower() == "true"
    if isinstance(like, tuple):
        return tuple(int(part) for part in text.strip("()").split(",") if part.strip())
    return type(like)(text)

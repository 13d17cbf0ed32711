"""Settings of a training recipe, given as text: read as the kind of value that they replace, or as a path.

The recipes read them here, and so does the window before it starts one: both refuse the same, in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from medviewer.domain.errors import UsageError

Kind: TypeAlias = Literal["bool", "int", "float", "ints", "text"]


@dataclass(frozen=True, slots=True)
class PathSetting:
    """A setting that is a path; it has no default.

    Attributes:
        kind: what lies there.
        about: what it is for, by language.
        suffixes: of a file, such as ``.csv``; none: any.
        is_read: whether it is read, so that it must be there; else it is written.
    """

    kind: Literal["file", "folder"]
    about: Mapping[str, str]
    suffixes: tuple[str, ...] = ()
    is_read: bool = True


def kind_of(value: Any) -> Kind:
    """Return which kind of value it is.

    >>> kind_of(True), kind_of(3), kind_of((160, 224))
    ('bool', 'int', 'ints')
    """
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, tuple):
        return "ints"
    return "int" if isinstance(value, int) else "float" if isinstance(value, float) else "text"


def read_value(text: str, kind: Kind) -> Any:
    """Return what a text says, as that kind of value.

    Raises:
        ValueError: it is none of that kind.
    """
    if kind == "bool":
        if text.lower() not in {"true", "false"}:
            raise ValueError(text)
        return text.lower() == "true"
    if kind == "ints":
        found = tuple(int(part) for part in text.strip("()").split(",") if part.strip())
        if not found:
            raise ValueError(text)
        return found
    return {"int": int, "float": float, "text": str}[kind](text)


def read_settings(
    defaults: Mapping[str, Any], given: Mapping[str, str], paths: Mapping[str, PathSetting]
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return the values and the paths that were given.

    Args:
        defaults: value by name; which kind it is says how text for it is read.
        given: text by name.
        paths: the settings that are paths.

    Raises:
        UsageError: an unknown setting, a value that is not of its kind, a path where nothing lies that is to be
            read, or another setting beside ``refresh``.
    """
    values: dict[str, Any] = {}
    places: dict[str, Path] = {}
    for name, text in given.items():
        if name in paths:
            places[name] = _place(name, text, paths[name])
            continue
        if name not in defaults:
            raise UsageError(f"There is no setting {name!r}; there are: {', '.join([*defaults, *paths])}.")
        try:
            values[name] = read_value(text, kind_of(defaults[name]))
        except ValueError as error:
            raise UsageError(f"The setting {name} cannot be {text!r}; an example is {defaults[name]!r}.") from error
    if "refresh" in places and len(given) > 1:
        raise UsageError("The setting refresh keeps a model as it was trained; it takes no other setting beside it.")
    return values, places


def _place(name: str, text: str, setting: PathSetting) -> Path:
    path = Path(text)
    if not text.strip():
        raise UsageError(f"The setting {name} names no {setting.kind}; give its path, or leave the setting out.")
    is_there = path.is_file() if setting.kind == "file" else path.is_dir()
    if setting.is_read and not is_there:
        raise UsageError(f"The setting {name} names {text}, where there is no {setting.kind}; give one that is there.")
    return path

"""Settings of a training recipe, given as text: read as the kind of value that they replace, or as a path.

The recipes read them here, and so does the window before it starts one: both refuse the same, in the same words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass

Kind: TypeAlias = Literal["bool", "int", "float", "ints", "text"]
_SHARES = frozenset({"warmup", "balance"})  # 0 to 1
_PARTS = frozenset({"average", "dropout", "graph_dropout", "hidden_variables", "smoothing"})  # 0 to 1, but never all
_MAY_BE_NONE = frozenset({  # a backbone that does not learn is one way to begin
    "backbone_rate", "clip_norm", "finish", "finish_strength", "n_taught", "patience", "seed", "strength",
    "weight_decay",
})  # fmt: skip
_FEWEST = {"n_folds": 2, "sizes": 16, "size": 16}
_MOST_SEED = 2**32 - 1  # of NumPy


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


def range_problem(name: str, value: Any, default: Any) -> str:
    """Return what a value of a setting must be, in words; empty if it is.

    With a value out of its range a run would break late, or worse: judge nothing and seem complete.

    Args:
        name: of the setting.
        value: of the kind of the default.
        default: the recipe's own value; where it is 0, 0 is allowed.

    >>> range_problem("n_folds", 0, 5), range_problem("rate", float("nan"), 0.001), range_problem("epochs", 3, 5)
    ('at least 2', 'a number above 0', '')
    """
    kind = kind_of(default)
    may_be_none = name in _MAY_BE_NONE or default == 0
    if kind in {"bool", "text"}:
        return ""
    if kind == "float":
        return _problem_of_number(name, value, may_be_none=may_be_none)
    least = _FEWEST.get(name, 0 if may_be_none else 1)
    if min(value if kind == "ints" else (value,)) < least:
        return f"at least {least}"
    return f"at most {_MOST_SEED}" if name == "seed" and value > _MOST_SEED else ""


def _problem_of_number(name: str, value: float, *, may_be_none: bool) -> str:
    if name in _SHARES:
        return "" if 0 <= value <= 1 else "from 0 to 1"
    if name in _PARTS:
        return "" if 0 <= value < 1 else "at least 0 and below 1"
    if may_be_none:
        return "" if 0 <= value < math.inf else "a number of at least 0"
    return "" if 0 < value < math.inf else "a number above 0"


def read_settings(
    defaults: Mapping[str, Any], given: Mapping[str, str], paths: Mapping[str, PathSetting]
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return the values and the paths that were given.

    Args:
        defaults: value by name; which kind it is says how text for it is read.
        given: text by name.
        paths: the settings that are paths.

    Raises:
        UsageError: an unknown setting, a value that is not of its kind or out of its range, a path where nothing lies
            that is to be read, or another setting beside ``refresh``.
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
        if problem := range_problem(name, values[name], defaults[name]):
            raise UsageError(f"The setting {name} cannot be {text!r}; it must be {problem}.")
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

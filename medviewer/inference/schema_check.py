"""Whether a document keeps to a JSON Schema, and where it first does not.

Compiled once and answered by ``jsonschema-rs``: the cards of all models are read while the window opens, and a
validator in Python took a sixth of a second for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from medviewer.domain.errors import CardError

_LONGEST = 300  # characters of a library's sentence, which repeats the value


class _Problem(Protocol):
    """An error of the library, as far as it is read here."""

    message: str
    instance_path: list[str | int]
    kind: Any


def check_document(document: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Check a model's card, or a part of one, against one of our own schemas (JSON Schema 2020-12).

    Raises:
        CardError: it breaks the schema; the message names the field by its path, e.g. ``inputs/0/kind``.
    """
    validator = _compiled(schema)
    try:
        if validator.is_valid(document):
            return
        problem = best_match(validator.iter_errors(document))
    except (ValueError, RecursionError) as error:  # the library follows a document to a depth of 255
        raise CardError(f"The model's card is not valid: {str(error)[:_LONGEST]}.") from error
    where = "/".join(str(part) for part in problem.instance_path) or "the card"
    raise CardError(f"The model's card is not valid at {where}: {problem.message[:_LONGEST]}.")


def best_match(problems: Iterable[_Problem]) -> _Problem:
    """The one of several errors that helps most: the one nearest to the top, and of alternatives that of the one meant.

    Which was meant says a name that alternatives give each its own (``const``), else the depth to which it fits; where
    neither does, nobody knows, and the error is the whole's.
    """
    best = min(problems, key=lambda problem: len(problem.instance_path))
    while branches := [branch for branch in getattr(best.kind, "context", ()) if branch]:
        named = [branch for branch in branches if all(inner.kind.name != "const" for inner in branch)]
        if len(named) == 1:
            best = min(named[0], key=lambda inner: len(inner.instance_path))
            continue
        alternatives = [inner for branch in named or branches for inner in branch]
        depth = max(len(inner.instance_path) for inner in alternatives)
        deepest = [inner for inner in alternatives if len(inner.instance_path) == depth]
        if len(deepest) > 1:
            break
        best = deepest[0]
    return best


_made: dict[int, tuple[Mapping[str, Any], Any]] = {}  # with the schema itself, so that its id stays its own


def _compiled(schema: Mapping[str, Any]) -> Any:
    import jsonschema_rs  # noqa: PLC0415 - 15 MB that only who reads a card needs

    if id(schema) not in _made:
        _made[id(schema)] = (schema, jsonschema_rs.Draft202012Validator(dict(schema)))
    return _made[id(schema)][1]

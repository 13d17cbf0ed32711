"""The JSON of a model's card, read so that every reader of it sees the same and no number surprises.

A card comes from elsewhere. Whatever is wrong with one must be one sentence about
that card, never a failure far from here that takes the other models away.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from medviewer.domain.errors import CardError

CARD_NAME = "model.json"
CARD_LIMIT_BYTES = 1 << 20
# Above this a double no longer holds every integer, and nothing on a card is that large.
NUMBER_LIMIT = 1 << 53


def read_document(folder: Path) -> dict[str, Any]:
    """Read ``model.json`` of a model folder; what it says is checked elsewhere.

    Raises:
        CardError: there is no card, it is too large, it is not JSON or not an object, a
            field is given twice, a number is not one that a computer can hold, or a text holds
            half of a character.
    """
    path = folder / CARD_NAME
    try:
        with path.open("rb") as stream:
            raw = stream.read(CARD_LIMIT_BYTES + 1)
    except OSError as error:
        raise CardError(f"The model folder “{folder.name}” has no readable {CARD_NAME}: {error.strerror}.") from error
    if len(raw) > CARD_LIMIT_BYTES:
        raise CardError(f"The card of “{folder.name}” is larger than {CARD_LIMIT_BYTES >> 20} MB; it is not a card.")
    try:
        document = json.loads(
            raw.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_bounded_float,
            parse_int=_bounded_int,
            object_pairs_hook=_without_twins,
        )
    except (ValueError, RecursionError) as error:
        raise CardError(f"The card of “{folder.name}” is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise CardError(f"The card of “{folder.name}” is not a JSON object.")
    _refuse_half_characters(folder, raw, document)
    return document


def _refuse_half_characters(folder: Path, raw: bytes, document: dict[str, Any]) -> None:
    """JSON can write half of a surrogate pair, which no file that we write can hold."""
    if b"\\ud" in raw.lower():
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise CardError(f"The card of “{folder.name}” holds half of a character (\\ud800 to \\udfff).") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number a card may hold")


def _bounded_float(text: str) -> float:
    """Refuse what JSON can write and no computer can hold: 1e400 is infinite, and an infinite limit guards nothing."""
    value = float(text)
    if not abs(value) <= NUMBER_LIMIT:
        _refuse_constant(text[:20])
    return value


def _bounded_int(text: str) -> int:
    """Refuse a number of hundreds of digits: it cannot become a float, which fails far from here."""
    value = int(text)
    if abs(value) > NUMBER_LIMIT:
        _refuse_constant(text[:20])
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a field given twice: readers disagree about which one counts."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a field is given twice")
    return result

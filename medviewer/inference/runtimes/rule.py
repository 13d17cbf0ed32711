"""Runs rules of our own code: plain arithmetic, so that it needs no library and no process of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import EngineError
from medviewer.inference.card import Card
from medviewer.inference.rules import RULES

TITLE = "Python"
REQUIRES = ""


def is_available() -> bool:
    """Always: it is part of the program."""
    return True


def sha256_of(name: str) -> str:
    """The identity of a rule: the digest of its name, version and published table."""
    rule = RULES[name]
    known = {"name": name, "version": rule.VERSION, "fields": rule.FIELDS, "table": dict(rule.TABLE)}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def problem_of(card: Card) -> str:
    """Why this program cannot run the rule of a card; empty if it can."""
    wanted = card.rule
    if wanted is None or wanted.name not in RULES:
        return f"This program has no rule “{wanted.name if wanted else ''}”; get a newer version of the program."
    rule = RULES[wanted.name]
    if (wanted.version, wanted.sha256) != (rule.VERSION, sha256_of(wanted.name)):
        return (
            f"The card is for version {wanted.version} of the rule {wanted.name} and this program has {rule.VERSION}; "
            "install the model that comes with this program."
        )
    names = tuple(field["name"] for field in card.inputs[0].document.get("fields", ()))
    parts = {tensor.part for tensor in card.inputs[0].tensors}
    if len(card.inputs) != 1 or names != rule.FIELDS or parts != {"values", "mask"} or card.inputs[0].preprocessing:
        return f"The card's table is not the one that the rule {wanted.name} reads: {', '.join(rule.FIELDS)}."
    return ""


def run(
    card: Card, inputs: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Compute some outputs of a card's rule (all, if None), for a batch.

    Raises:
        EngineError: an array is missing, or an output is wanted that there is not.
    """
    assert card.rule is not None  # noqa: S101 - the catalogue lists no other
    part = {tensor.part: tensor.name for tensor in card.inputs[0].tensors}
    try:
        found: dict[str, npt.NDArray[Any]] = RULES[card.rule.name].run(
            np.asarray(inputs[part["values"]]), np.asarray(inputs[part["mask"]])
        )
        return {name: found[name] for name in (outputs or found)}
    except (KeyError, IndexError) as error:
        raise EngineError("The rule was asked with other values than its card names; there is no result.") from error

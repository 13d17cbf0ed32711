"""Whether two models can be measured on the same cases, beside each other: known from their cards alone."""

from __future__ import annotations

from typing import Any

from medviewer.inference.card import Card
from medviewer.inference.card_checks import CLASSIFYING


def incomparable(first: Card, second: Card) -> str:
    """Return why two models cannot be compared, as a sentence; "" if they can.

    Models of one kind (:func:`comparable_kind`) that report the same labels or outcomes; of forecasts it is enough
    that they share an hour of one variable.
    """
    if not comparable_kind(first):
        return (
            f"{first.id} cannot be compared yet: that needs models of one finding in an image or a stay, of notes, "
            "molecules, survival or forecasts; evaluate each by itself."
        )
    if comparable_kind(first) == "forecast" == comparable_kind(second):
        is_same = bool(shared_forecasts(first, second))
    else:
        is_same = _question(first) == _question(second)
    if not is_same:
        names = " and ".join(f"{card.id} {card.version}" for card in (first, second))
        return f"{names} do not answer the same question; compare two models that report the same."
    return ""


def comparable_kind(card: Card) -> str:
    """Return of what the model is: images, stays, notes, molecules, survival, forecast; "" of what is not compared."""
    kinds = _kinds(card)
    if card.task == "forecast":
        return "forecast"
    if card.task == "survival" and kinds == ("table",) and len(card.inputs[0].tensors) == 1:
        return "survival"
    if card.task == "multiclass" and kinds == ("text",):
        return "notes"
    if card.task not in CLASSIFYING or not card.labels:
        return ""
    if kinds == ("molecule",):
        return "molecules"
    if len(card.labels) == 1 and "series" in kinds:
        return "stays"
    return "images" if len(card.labels) == 1 and card.is_of_one_image else ""


def shared_forecasts(first: Card, second: Card) -> dict[str, tuple[float, ...]]:
    """Return at which times both forecast the same variable in the same unit, by name; only where there are some."""
    others = {(one.name, one.code, one.unit): one.times for one in second.outcomes}
    found = {
        one.name: tuple(time for time in one.times if time in others.get((one.name, one.code, one.unit), ()))
        for one in first.outcomes
    }
    return {name: times for name, times in found.items() if times}


def _question(card: Card) -> tuple[Any, ...]:
    """Return what two models must have alike: which data they are asked of, and what they say of them."""
    outcomes = tuple((one.name, one.code, one.unit, one.horizon) for one in card.outcomes)
    return comparable_kind(card), _kinds(card), tuple(label.name for label in card.labels), outcomes


def _kinds(card: Card) -> tuple[str, ...]:
    return tuple(spec.kind for spec in card.inputs)

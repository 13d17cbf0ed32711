"""Whether two models can be measured on the same cases, beside each other: known from their cards alone."""

from __future__ import annotations

from medviewer.inference.card import Card


def incomparable(first: Card, second: Card) -> str:
    """Return why two models cannot be compared, as a sentence; "" if they can.

    Models of one finding in one image, or in a stay of intensive care, that report the same finding from the same
    kinds of inputs.
    """
    if not ({"image", "series"} & set(_kinds(first))) or len(first.labels) != 1:
        return f"{first.id} is no model of one finding in images or stays; it cannot be compared yet."
    asked = [(tuple(label.name for label in card.labels), _kinds(card)) for card in (first, second)]
    if asked[0] != asked[1]:
        names = " and ".join(f"{card.id} {card.version}" for card in (first, second))
        return f"{names} do not answer the same question; compare two models of one finding."
    if "series" not in _kinds(first) and not first.is_of_one_image:
        return f"{first.id} is no model of images or stays; two such models cannot be compared yet."
    return ""


def _kinds(card: Card) -> tuple[str, ...]:
    return tuple(spec.kind for spec in card.inputs)

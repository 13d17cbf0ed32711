"""Smaller or faster copies of a network (int8, fp16, pruned), each a model of its own with the drift that was measured.

A copy in fewer bits, or with fewer channels, is another network: as a rule faster, and different by as much as two
images are where nobody looked. So a card names it with the test that it passed against the full network; it is listed
only beside that, is used only if somebody chooses it by name, and its answers carry its own digest and version.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from medviewer.inference.card import Card, Text, VariantSpec

SEPARATOR = "@"  # between a model's id and its variant's name
# What needs no other graph than the one that answered: a gradient of the full network explains the full network.
_METHODS = frozenset({"occlusion"})


def variants_of(card: Card) -> Iterator[tuple[str, Card | None, str]]:
    """Give every variant of a model as (id, card, problem); the card is None where there is a problem."""
    for variant in card.variants:
        variant_id = f"{card.id}{SEPARATOR}{variant.name}"
        problem = _problem_of(card, variant)
        yield variant_id, None if problem else _card_of(card, variant, variant_id), problem


def is_variant(model_id: str) -> bool:
    """Whether an id names a variant, which is never chosen for anybody."""
    return SEPARATOR in model_id


def _problem_of(card: Card, variant: VariantSpec) -> str:
    if card.runtime != "onnx":
        return "Only ONNX networks have variants; choose the model itself."
    if next((file for file in card.files if file.path == variant.file and file.role == variant.name), None) is None:
        return f"“{variant.file}” is not among its files with the role “{variant.name}”; install the model again."
    if not (math.isfinite(variant.measured) and 0 <= variant.measured <= variant.bound):
        return (
            f"Its answers differ from those of the full model by up to {variant.measured:g}, and at most "
            f"{variant.bound:g} is allowed; choose the full model."
        )
    return ""


def _card_of(card: Card, variant: VariantSpec, variant_id: str) -> Card:
    """The model's card as it holds for the variant."""
    own = next(file for file in card.files if file.path == variant.file)
    kept = [file for file in card.files if file.role in ("reference", "ood", "vocabulary")]
    en = f"{card.title.en} ({variant.name}, differs by up to {variant.measured:g})"
    zh = f"{card.title.say('zh')}（{variant.name}，差异至多 {variant.measured:g}）"
    explain = card.explain
    return replace(
        card,
        id=variant_id,
        version=f"{card.version}+{variant.name}",
        title=Text(en, zh),
        files=(replace(own, role="model"), *kept),
        explain=replace(explain, methods=tuple(m for m in explain.methods if m in _METHODS)) if explain else None,
        neighbours=None,  # training cases lie elsewhere in features of another network
        reference_tolerance=variant.reference_tolerance,
        variants=(),
    )

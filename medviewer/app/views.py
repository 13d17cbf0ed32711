"""The images of a study that a model of several views is given together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medviewer.app.state import Selection
from medviewer.domain.study import Image
from medviewer.inference.card import Card, InputSpec
from medviewer.inference.inputs.image import takes
from medviewer.inference.suitability import input_refusal

_MOST = 2  # images for one view: with a second one the model abstains, however many there are


def is_of_views(card: Card) -> bool:
    """Whether a model chooses among several images of a study by their views."""
    return len(_inputs(card)) > 1


def views_beside(now: Selection, card: Card) -> tuple[Image, ...]:
    """The other images of the study of the image on screen that a model of several views needs.

    The image on screen is itself the one of its view: another one of the same is not given. Where it names its side,
    images of the other side are not given either, unless the card asks for that side. Beside an image that is none of
    the views nothing is given: an answer that does not rest on it must not stand there.
    """
    if not any(_fits(now.image, card, spec) for spec in _inputs(card)):
        return ()
    side = now.image.description.image_laterality
    found: dict[tuple[str, str, int], Image] = {}
    for spec in _inputs(card):
        if _fits(now.image, card, spec):
            continue
        fitting = (image for image in _images(now) if image.key != now.image.key and _fits(image, card, spec))
        wanted = [one for one in fitting if _has_laterality(spec) or _is_same_side(side, one)]
        found |= {image.key: image for image in wanted[:_MOST]}
    return tuple(found.values())


def views_among(selections: Sequence[Selection], card: Card) -> tuple[Selection, ...]:
    """Those of the selections that some view of the card takes, the first view's first; two at most for each."""
    found: dict[tuple[str, str, int], Selection] = {}
    for spec in _inputs(card):
        wanted = [one for one in selections if _fits(one.image, card, spec)]
        found |= {one.image.key: one for one in wanted[:_MOST]}
    return tuple(found.values())


def _inputs(card: Card) -> list[InputSpec]:
    return [spec for spec in card.inputs if spec.kind == "image" and spec.document.get("choose") == "view"]


def _has_laterality(spec: InputSpec) -> bool:
    return bool(spec.document.get("laterality"))


def _fits(image: Image, card: Card, spec: InputSpec) -> bool:
    return takes(image.description, spec) and not input_refusal(image, card, spec)


def _is_same_side(side: str, image: Image) -> bool:
    """What one of the two does not name is no contradiction."""
    return not side or not image.description.image_laterality or side == image.description.image_laterality


def _images(now: Selection) -> Iterator[Image]:
    for series in now.study.series:
        for stack in series.stacks:
            yield from stack.images

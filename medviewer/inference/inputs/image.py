"""One radiograph of a case, as the network's input."""

from __future__ import annotations

from medviewer.domain.case import Case
from medviewer.domain.errors import CardError, InputError
from medviewer.domain.frame import Frame
from medviewer.imaging.display import to_grey
from medviewer.inference.card import Card
from medviewer.inference.preprocessing import Prepared, prepare


def pull(case: Case) -> Frame | None:
    """The image to analyse, or None if the case has none. Of several, the first."""
    return case.images[0] if case.images else None


def encode(frame: Frame, card: Card) -> Prepared:
    """Prepare an image exactly as it was prepared when the network learned.

    Returns:
        The tensor, ``(1, rows, columns)`` float32 as the card's input shape says, and its
        place on the image.

    Raises:
        InputError: a colour image, or one that cannot be prepared.
        CardError: the card's steps do not lead to the card's input shape.
    """
    if frame.is_color:
        raise InputError("The model needs a greyscale image; this one is in colour.")
    prepared = prepare(to_grey(frame), card.preprocessing)
    expected = card.inputs[0].shape[1:]
    if prepared.tensor.shape != expected:
        raise CardError(
            f"The image was prepared to {prepared.tensor.shape} but the model takes {expected}; "
            "its card is at fault: install the model again."
        )
    return prepared

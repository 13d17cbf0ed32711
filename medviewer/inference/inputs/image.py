"""One image of a case, as the network's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from medviewer.domain.anchor import PixelBox
from medviewer.domain.case import Case
from medviewer.domain.errors import CardError, InputError
from medviewer.domain.frame import Frame
from medviewer.domain.study import PixelDescription
from medviewer.imaging.display import to_grey
from medviewer.imaging.scale import pixel_aspect
from medviewer.inference.card import InputSpec
from medviewer.inference.inputs.adapter import Arrays, Doubt, Encoded, Group, Missing, Used
from medviewer.inference.preprocessing import OPERATIONS, prepare

BOXES_ACROSS = 7


def problems(spec: InputSpec) -> Iterator[str]:
    """Contradictions of the card's input."""
    unknown = [step["op"] for step in spec.preprocessing if step["op"] not in OPERATIONS]
    if len(spec.shape) != 4 or spec.shape[1] != 1:
        yield "an image has the shape [null, 1, h, w]"
    if None in spec.shape[1:]:
        yield "only the batch may be left open in the input's shape"
    if unknown:
        yield f"unknown preprocessing step {', '.join(unknown)}"
    bounds = spec.document.get("spacing_mm")
    if bounds is not None and bounds[0] > bounds[1]:
        yield f"the range of spacing_mm of {spec.name} is empty"
    if spec.document.get("laterality") and spec.document.get("choose") != "view":
        yield f"{spec.name} names a side and is not chosen by view"
    if spec.document.get("choose") == "view" and not spec.view:
        yield f"{spec.name} is chosen by view and names none"


def pull(case: Case, spec: InputSpec) -> Frame | Missing:
    """The image to analyse. Of several the first, or, for a model of several views, the one of its view.

    Two images of the wanted view are one too many: nothing is guessed between them.
    """
    if spec.document.get("choose") != "view":
        return case.images[0] if case.images else Missing((spec.name,), (Doubt("no_image", "abstain"),))
    own = [frame for frame in case.images if takes(frame.description, spec)]
    if len(own) == 1:
        return own[0]
    code = "several_views" if own else "no_view"
    return Missing((spec.name,), (Doubt(code, "abstain", spec.name, {"expected": ", ".join(spec.view)}),))


def takes(seen: PixelDescription, spec: InputSpec) -> bool:
    """Whether an image is of the view, and of the side where the card names one, that the input is chosen by."""
    sides = spec.document.get("laterality", ())
    is_of_side = not sides or seen.image_laterality.strip().upper() in sides
    return is_of_side and seen.view_position.strip().upper() in spec.view


def examine(raw: Frame, spec: InputSpec) -> tuple[Sequence[Doubt], Sequence[Used]]:  # noqa: ARG001 - as of every kind
    """Nothing here: what an image's header says is examined by :func:`medviewer.inference.guards.check_input`."""
    return (), ()


def encode(raw: Frame, spec: InputSpec) -> Encoded:
    """Prepare an image exactly as it was prepared when the network learned.

    Returns:
        The tensor, ``(1, rows, columns)`` float32 as the card's input shape says, and its
        place on the image.

    Raises:
        InputError: a colour image, or one that cannot be prepared.
        CardError: the card's steps do not lead to the card's input shape.
    """
    if raw.is_color:
        raise InputError("The model needs a greyscale image; this one is in colour.")
    prepared = prepare(to_grey(raw), spec.preprocessing, pixel_aspect=pixel_aspect(raw.description))
    expected = spec.shape[1:]
    if prepared.tensor.shape != expected:
        raise CardError(
            f"The image was prepared to {prepared.tensor.shape} but the model takes {expected}; "
            "its card is at fault: install the model again."
        )
    return Encoded({spec.name: prepared.tensor}, prepared.model_to_image)


def groups(raw: Frame, spec: InputSpec) -> list[Group]:
    """Boxes, seven across, with their places on the image. Maps of one image alone are finer."""
    encoded = encode(raw, spec)
    shape = encoded.tensors[spec.name].shape
    found = []
    for r in np.array_split(np.arange(shape[1]), BOXES_ACROSS):
        for c in np.array_split(np.arange(shape[2]), BOXES_ACROSS):
            mask = np.zeros(shape, np.bool_)
            mask[:, r[:, None], c] = True
            found.append(Group(_box(spec.name, r, c, encoded), {spec.name: mask}))
    return found


def baseline(raw: Frame, spec: InputSpec) -> Arrays:
    """The image's own mean grey: black would not be nothing on a radiograph."""
    tensor = encode(raw, spec).tensors[spec.name]
    return {spec.name: np.full_like(tensor, tensor.mean(dtype=np.float64))}


def _box(name: str, rows: np.ndarray, columns: np.ndarray, encoded: Encoded) -> PixelBox:
    """Edges, not centres: half a pixel of the network's grid beyond the outermost centres."""
    assert encoded.place is not None  # noqa: S101 - an image has a place
    first = encoded.place @ (rows[0] - 0.5, columns[0] - 0.5, 1.0)
    last = encoded.place @ (rows[-1] + 0.5, columns[-1] + 0.5, 1.0)
    low, high = np.minimum(first, last) + 0.5, np.maximum(first, last) + 0.5  # pixel 0 reaches from 0 to 1
    return PixelBox(name, (float(low[0]), float(high[0])), (float(low[1]), float(high[1])))

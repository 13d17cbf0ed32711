"""Whether an image, or a stack of slices, is one that a model may be shown, told from its header alone.

The rule is that of the guards (:func:`~medviewer.inference.guards.check_input`), so that what is
chosen for a model is exactly what the model would not refuse by its header.
"""

from __future__ import annotations

import numpy as np

from medviewer.domain.case import Case
from medviewer.domain.frame import Frame
from medviewer.domain.study import Image, PixelDescription, Stack
from medviewer.inference import guards
from medviewer.inference.card import Card, InputSpec, Text
from medviewer.inference.inputs.volume import header_doubts, stack_input

_NOT_OF_ONE_IMAGE = Text(
    "The model is not one of single images: choose it in the window, beside the patient's record.",
    "该模型不针对单幅图像：请在窗口中结合患者病历选择。",
)
_NOT_A_STACK = "This model looks at a whole stack of slices, and the series holds a single image."
UNPLACED = (
    "The files do not say where each slice lies in the patient, so a model of a whole stack cannot be asked about them."
)
_MIXED = (
    "Several images lie at the same place and the files do not tell which of them belong together, so a model of a "
    "whole stack cannot be asked about them."
)
_UNLIKE = "The slices are stored in different ways, so a model of a whole stack cannot be asked about them."
_IN_COLOR = "The slices are in colour; a model of a whole stack needs greyscale ones."
_NO_HEADER = "identity.none"  # a file that is no DICOM could be anything
_COLOR_MODELS = ("RGB", "PALETTE COLOR", "YBR")


def unsuited_because(image: Image, card: Card, language: str = "en") -> str:
    """Why a model would refuse an image whatever its pixels are; empty if it may be asked.

    What makes one file doubtful (truncated, two files with one UID) is not looked at here: the image is of
    the right kind, and the answer will say what is wrong with it.

    Args:
        image: of a scan; no pixel is read.
        card: the model's.
        language: of the sentence, ``"en"`` or ``"zh"``.
    """
    return joint_unsuited_because(image, card, language) if card.is_of_one_image else _NOT_OF_ONE_IMAGE.say(language)


def joint_unsuited_because(image: Image, card: Card, language: str = "en") -> str:
    """As :func:`unsuited_because`, also of models that take more beside the image: none of their inputs takes it."""
    said = [input_refusal(image, card, spec, language) for spec in card.inputs if spec.kind == "image"]
    return "" if "" in said else said[0] if said else _NOT_OF_ONE_IMAGE.say(language)


def input_refusal(image: Image, card: Card, spec: InputSpec, language: str = "en") -> str:
    """Why one input of a model would refuse an image by its header; empty if it may be given."""
    caveats = tuple(caveat for caveat in image.warnings if caveat.code == _NO_HEADER)
    frame = Frame(_without_pixels(image.description), image.description, caveats)
    results = guards.check_input(Case(), frame, card, language, spec)
    return next((result.text for result in results if result.level == "abstain"), "")


def stack_unsuited_because(stack: Stack, card: Card, language: str = "en") -> str:
    """Why a model of whole stacks would refuse the slices whatever their pixels are; empty if it may be asked.

    Args:
        stack: one volume, as :meth:`~medviewer.domain.study.Stack.volume_at` gives it; no pixel is read.
        card: the model's.
        language: of the sentence about the header; what is wrong with the stack itself is said in English, as errors
            are (:func:`stack_problem`).
    """
    spec = stack_input(card)
    if spec is None:
        return _NOT_OF_ONE_IMAGE.say(language)
    if problem := stack_problem(stack):
        return problem
    results = guards.check_data(header_doubts(stack.images[0].description, spec), language)
    return next((result.text for result in results if result.level == "abstain"), "")


def stack_problem(stack: Stack) -> str:
    """Why slices are no volume that a model could be given, in one sentence; empty if they are."""
    codes = {caveat.code for caveat in stack.warnings}
    if len(stack.images) < 2:
        return _NOT_A_STACK
    if _is_color(stack.images[0].description):
        return _IN_COLOR
    if stack.order != "position" or any(image.description.pixel_spacing_mm is None for image in stack.images):
        return UNPLACED
    if len({_form(image.description) for image in stack.images}) > 1:
        return _UNLIKE
    return _MIXED if codes & {"slices.duplicate", "axis.incomplete"} else ""


def _form(d: PixelDescription) -> tuple[object, ...]:
    """What slices must have in common to be one block of numbers."""
    return d.rows, d.columns, d.is_signed, d.bits_stored > 8, d.photometric_interpretation


def _is_color(description: PixelDescription) -> bool:
    return description.samples_per_pixel > 1 or description.photometric_interpretation.startswith(_COLOR_MODELS)


def _without_pixels(description: PixelDescription) -> np.ndarray:
    """An array of the image's shape that takes no memory: guards look at its shape alone."""
    shape = (description.rows, description.columns)
    return np.broadcast_to(np.uint16(0), (*shape, 3) if _is_color(description) else shape)

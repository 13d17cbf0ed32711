"""Whether an image is one that a model may be shown, told from its header alone.

The rule is that of the guards (:func:`~medviewer.inference.guards.check_input`), so that what is
chosen for a model is exactly what the model would not refuse by its header.
"""

from __future__ import annotations

import numpy as np

from medviewer.domain.case import Case
from medviewer.domain.frame import Frame
from medviewer.domain.study import Image, PixelDescription
from medviewer.inference import guards
from medviewer.inference.card import Card, Text

_NOT_OF_ONE_IMAGE = Text(
    "The model is not one of single images: choose it in the window, beside the patient's record.",
    "该模型不针对单幅图像：请在窗口中结合患者病历选择。",
)
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
    if not card.is_of_one_image:
        return _NOT_OF_ONE_IMAGE.say(language)
    caveats = tuple(caveat for caveat in image.warnings if caveat.code == _NO_HEADER)
    frame = Frame(_without_pixels(image.description), image.description, caveats)
    results = guards.check_input(Case(), frame, card, language)
    return next((result.text for result in results if result.level == "abstain"), "")


def _without_pixels(description: PixelDescription) -> np.ndarray:
    """An array of the image's shape that takes no memory: guards look at its shape alone."""
    is_color = description.samples_per_pixel > 1 or description.photometric_interpretation.startswith(_COLOR_MODELS)
    shape = (description.rows, description.columns)
    return np.broadcast_to(np.uint16(0), (*shape, 3) if is_color else shape)

"""Results into files that others can read: JSON, pictures, DICOM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medviewer.domain.answer import Answer, Attribution, Decision
from medviewer.domain.frame import Frame
from medviewer.domain.study import Image, Window


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One answer with all that is saved beside it.

    ``image`` and ``frame`` are the image that the answer is about. ``window`` None
    means the image's own default. ``attributions`` are the heat maps, in the order wanted.
    """

    image: Image
    frame: Frame
    answer: Answer
    attributions: tuple[Attribution, ...] = ()
    decision: Decision | None = None
    window: Window | None = None
    inverted: bool = False
    color_map: str = "magma"
    opacity: float = 0.5
    threshold: float = 0.2


def save_results(out: Path, result: Result) -> list[Path]:
    """Save ``result.json``, the overlays, the structured report and the capture; all of them or none."""
    raise NotImplementedError

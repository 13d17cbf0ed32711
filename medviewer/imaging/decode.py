"""One frame's pixels, from a file that may be hostile."""

from __future__ import annotations

from medviewer.domain.frame import Frame
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Image


def read_frame(image: Image, *, stop: StopToken | None = None) -> Frame:
    """Read and decode one frame."""
    raise NotImplementedError


def shutdown() -> None:
    """End the decoding processes; the next compressed frame starts them again."""
    raise NotImplementedError

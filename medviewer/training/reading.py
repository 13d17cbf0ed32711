"""Images of a data folder as grey, read when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, overload

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError, MedViewerError
from medviewer.domain.study import Image
from medviewer.imaging.decode import read_frame
from medviewer.imaging.display import to_grey

Grey: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""``(rows, columns)``, bright is dense: uint8 of a picture, or float32 in 0..1 as a DICOM image is served."""

PICTURES = frozenset({".jpeg", ".jpg", ".png"})


def read_dicom_grey(image: Image) -> npt.NDArray[np.float32]:
    """Return a DICOM image as a model is given it when it is served: float32 in 0..1.

    Raises:
        InputError: it cannot be decoded, is in colour, holds less than it says, or values that are no numbers.
    """
    try:
        frame = read_frame(image)
    except MedViewerError as error:
        raise InputError(str(error)) from error
    if frame.is_color:
        raise InputError("The image is in colour; the model takes greyscale images.")
    if any(caveat.code.split(".")[0] == "truncated" for caveat in frame.caveats):
        raise InputError("The file does not hold its whole image.")
    grey = np.asarray(to_grey(frame), dtype=np.float32)
    if not np.isfinite(grey).all():
        raise InputError("The image holds values that are not numbers.")
    return grey


def as_bytes(grey: Grey) -> npt.NDArray[np.uint8]:
    """Return grey as a picture holds it: uint8."""
    if grey.dtype == np.uint8:
        return np.asarray(grey, dtype=np.uint8)
    return np.asarray(np.rint(np.clip(grey, 0, 1) * 255), dtype=np.uint8)


class Mapped(Sequence[Grey]):
    """Images made from others when they are asked for, so that an archive need not fit into memory.

    Args:
        source: images, or files of them.
        make: makes one image.
        keep_bytes: how much of what was made is kept, the first that was asked for.
    """

    def __init__(self, source: Sequence[object], make: Callable[..., Grey], keep_bytes: int = 0) -> None:
        self._source, self._make, self._left = source, make, keep_bytes
        self._kept: dict[int, Grey] = {}

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, index: int) -> Grey: ...
    @overload
    def __getitem__(self, index: slice) -> list[Grey]: ...
    def __getitem__(self, index: int | slice) -> Grey | list[Grey]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        if (grey := self._kept.get(index)) is None:
            grey = self._make(self._source[index])
            if grey.nbytes <= self._left:
                self._kept[index], self._left = grey, self._left - grey.nbytes
        return grey

"""What every film asks of its images: one size, not too large, and one of them at least."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError, TooLargeError


class FilmWriter(ABC):
    """Writes one image after the other; the file is a film once :meth:`finish` was called.

    A format adds its largest images, and how one is written and the file ended.

    Args:
        file: open for writing and seeking, empty.
        rate_hz: images a second.
    """

    most_side_px: int
    most_px: int  # rows times columns

    def __init__(self, file: BinaryIO, rate_hz: float) -> None:
        self._file, self._rate_hz = file, rate_hz
        self._shape: tuple[int, ...] = ()

    def add(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Add one image.

        Args:
            pixels: (rows, columns, 3), RGB; all of one shape.

        Raises:
            InputError: the images are not of one size, or cannot be encoded.
            TooLargeError: they, or the film, would be larger than players can read.
        """
        self._shape = self._shape or pixels.shape
        if pixels.shape != self._shape:
            raise InputError("The pictures of a film must be of one size: leave the window as it is and try again.")
        rows, columns = self._shape[:2]
        if max(rows, columns) > self.most_side_px or rows * columns > self.most_px:
            raise TooLargeError("The pictures are too large for a film; export the view as it is on screen.")
        self._write(pixels)

    def finish(self) -> None:
        """Write what waits, and what is known only now.

        Raises:
            InputError: there is no image, or the last ones cannot be encoded.
            TooLargeError: as for :meth:`add`.
        """
        if not self._shape:
            raise InputError("A film needs at least one image.")
        self._complete()

    @abstractmethod
    def _write(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Write one image of the film's size, or keep it until there are enough."""

    @abstractmethod
    def _complete(self) -> None:
        """Write the rest of a film that has images."""

"""What every film asks of its images: one size, not too large, and one of them at least."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError, TooLargeError


class FilmImages:
    """Counts the images of a film and refuses what cannot be one.

    Args:
        most_side_px: what the format holds.
        most_px: rows times columns.
    """

    def __init__(self, most_side_px: int, most_px: int) -> None:
        self._most_side_px, self._most_px = most_side_px, most_px
        self.shape: tuple[int, ...] = ()
        self.count = 0

    def admit(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Count one image, ``(rows, columns, 3)``.

        Raises:
            InputError: the images are not of one size.
            TooLargeError: the format does not hold such images.
        """
        self.shape = self.shape or pixels.shape
        if pixels.shape != self.shape:
            raise InputError("The pictures of a film must be of one size: leave the window as it is and try again.")
        rows, columns = self.shape[:2]
        if max(rows, columns) > self._most_side_px or rows * columns > self._most_px:
            raise TooLargeError("The pictures are too large for a film; export the view as it is on screen.")
        self.count += 1

    def check_any(self) -> None:
        """Refuse a film without images.

        Raises:
            InputError: there is no image.
        """
        if not self.count:
            raise InputError("A film needs at least one image.")

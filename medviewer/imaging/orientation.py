"""Which way the patient lies: the letters at the edges of an image."""

from __future__ import annotations

from typing import NamedTuple

from medviewer.domain.study import PixelDescription, Plane

# A direction is named by every axis that makes up at least this much of it (17.5 degrees out of the other plane).
_NAMED_SHARE = 0.3
_AXES = (("R", "L"), ("A", "P"), ("F", "H"))  # towards negative, towards positive x, y, z of the patient (LPS)
_OPPOSITES = {"R": "L", "L": "R", "A": "P", "P": "A", "F": "H", "H": "F"}


class Letters(NamedTuple):
    """The letter at each edge of the image as it is displayed; empty where nothing is known."""

    left: str
    right: str
    top: str
    bottom: str


def orientation_letters(
    description: PixelDescription,
    *,
    quarter_turns: int = 0,
    flip_horizontal: bool = False,
    flip_vertical: bool = False,
) -> Letters:
    """Name the patient's side at each edge of a displayed image.

    A letter on the wrong side is the worst that a viewer can do, so the letters
    are computed from the geometry and from what was done to the picture, never
    remembered; where the file does not say, there is no letter.

    Args:
        description: holds the plane (cross-sectional images) or the Patient
            Orientation (projection images); the plane is preferred.
        quarter_turns: turns of 90 degrees counter-clockwise, as the reader sees
            it, after the flips; any integer.
        flip_horizontal: the stored image is first mirrored left to right.
        flip_vertical: the stored image is first mirrored top to bottom.

    Returns:
        Letters of A, P, R, L, H, F; oblique directions have several, the
        strongest first.

    Source: PS3.3 C.7.6.1.1.1 (Patient Orientation), C.7.6.2.1.1 (Image Orientation).
    """
    right, bottom = _stored_directions(description)
    left, top = _opposite(right), _opposite(bottom)
    if flip_horizontal:
        left, right = right, left
    if flip_vertical:
        top, bottom = bottom, top
    for _ in range(quarter_turns % 4):
        # Counter-clockwise: what was at the top comes to lie on the left.
        left, bottom, right, top = top, left, bottom, right
    return Letters(left, right, top, bottom)


def _stored_directions(description: PixelDescription) -> tuple[str, str]:
    """Letters for the stored image's right edge and bottom edge."""
    plane = description.plane
    if plane is not None:
        return _plane_directions(plane)
    if description.patient_orientation is not None:
        along_row, along_column = description.patient_orientation
        return _known(along_row), _known(along_column)
    return "", ""


def _plane_directions(plane: Plane) -> tuple[str, str]:
    return _direction_letters(plane.row_cosine), _direction_letters(plane.column_cosine)


def _direction_letters(cosine: tuple[float, float, float]) -> str:
    named = [
        (abs(share), positive if share > 0 else negative)
        for share, (negative, positive) in zip(cosine, _AXES, strict=True)
        if abs(share) >= _NAMED_SHARE
    ]
    named.sort(key=lambda pair: -pair[0])
    return "".join(letter for _, letter in named)


def _known(letters: str) -> str:
    """Letters of the biped vocabulary only: anything else is not shown rather than guessed."""
    cleaned = letters.strip().upper()
    is_known = all(letter in _OPPOSITES for letter in cleaned) and len(set(cleaned)) == len(cleaned) <= 3
    is_consistent = not any(_OPPOSITES[letter] in cleaned for letter in cleaned) if is_known else False
    return cleaned if is_consistent else ""


def _opposite(letters: str) -> str:
    return "".join(_OPPOSITES[letter] for letter in letters)

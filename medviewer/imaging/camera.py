"""From where and how a volume is looked at: a parallel projection with its directions in the patient."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Plane
from medviewer.imaging.transfer import Transfer

Floats = npt.NDArray[np.float64]
Triple = tuple[float, float, float]
Side = Literal["A", "P", "R", "L", "H", "F"]

# Right and down on the screen in LPS, seen from each side; the patient stands upright, or lies on the back.
_SEEN_FROM: dict[Side, tuple[Triple, Triple]] = {
    "A": ((1, 0, 0), (0, 0, -1)),
    "P": ((-1, 0, 0), (0, 0, -1)),
    "R": ((0, -1, 0), (0, 0, -1)),
    "L": ((0, 1, 0), (0, 0, -1)),
    "H": ((-1, 0, 0), (0, 1, 0)),
    "F": ((1, 0, 0), (0, 1, 0)),
}
SIDES: tuple[Side, ...] = tuple(_SEEN_FROM)
"""The six standard views, by the side of the patient that the reader looks at."""
_MARGIN = 1.1  # times the volume's largest extent: what fits has air around it
_HEIGHT_MM = (1.0, 1e4)


@dataclass(frozen=True, slots=True)
class Camera:
    """A parallel projection: no perspective, so that near and far are of one size.

    Attributes:
        center: LPS mm, what lies in the middle of the picture.
        right, down: LPS unit vectors of the picture's axes, perpendicular to each other.
        height_mm: of the patient, that the picture shows from its top to its bottom.
    """

    center: Triple
    right: Triple
    down: Triple
    height_mm: float

    @property
    def ahead(self) -> Triple:
        """LPS unit vector from the reader into the screen."""
        return _triple(np.cross(self.right, self.down))

    @property
    def plane(self) -> Plane:
        """The picture's directions, for orientation letters; its position means nothing."""
        return Plane(self.center, self.right, self.down)


Box = tuple[tuple[float, float, float], tuple[float, float, float]]


class Look(NamedTuple):
    """One picture that is wanted.

    Attributes:
        camera: from where.
        transfer: how values are seen.
        shape: (rows, columns) of the picture; pixels are square.
        front_mm: what lies nearer to the reader than this, from the camera's centre, is cut away; None for nothing.
        box_mm: the least and the greatest LPS coordinates that are shown; None for no limit.
    """

    camera: Camera
    transfer: Transfer
    shape: tuple[int, int]
    front_mm: float | None = None
    box_mm: Box | None = None


def look_from(side: Side, corners: Floats) -> Camera:
    """One of the six standard views of a whole volume.

    Args:
        side: of the patient, that faces the reader.
        corners: ``(n, 3)`` LPS mm, between which the volume lies.
    """
    right, down = _SEEN_FROM[side]
    low, high = corners.min(axis=0), corners.max(axis=0)
    return Camera(_triple((low + high) / 2), right, down, _bounded(_MARGIN * float((high - low).max())))


def turned(camera: Camera, across_deg: float, down_deg: float) -> Camera:
    """The view after the volume was turned about its middle: its front follows the mouse to the right and down."""
    right, down, ahead = (np.array(axis) for axis in (camera.right, camera.down, camera.ahead))
    across, below = np.radians(across_deg), np.radians(down_deg)
    right, ahead = np.cos(across) * right - np.sin(across) * ahead, np.cos(across) * ahead + np.sin(across) * right
    down = np.cos(below) * down - np.sin(below) * ahead
    return _with_axes(camera, right, down)


def rolled(camera: Camera, clockwise_deg: float) -> Camera:
    """The view after the picture was turned within the screen."""
    right, down = np.array(camera.right), np.array(camera.down)
    angle = np.radians(clockwise_deg)
    return _with_axes(
        camera, np.cos(angle) * right - np.sin(angle) * down, np.cos(angle) * down + np.sin(angle) * right
    )


def moved(camera: Camera, right_share: float, down_share: float) -> Camera:
    """The view after the picture was dragged, by shares of its height."""
    by = np.array(camera.right) * right_share + np.array(camera.down) * down_share
    return replace(camera, center=_triple(np.array(camera.center) - by * camera.height_mm))


def zoomed(camera: Camera, factor: float) -> Camera:
    """The view with everything as many times larger."""
    return replace(camera, height_mm=_bounded(camera.height_mm / factor))


def _with_axes(camera: Camera, right: Floats, down: Floats) -> Camera:
    """Kept perpendicular: a thousand small turns must not shear the patient."""
    right = right / np.linalg.norm(right)
    down = down - right * float(down @ right)
    return replace(camera, right=_triple(right), down=_triple(down / np.linalg.norm(down)))


def _bounded(height_mm: float) -> float:
    return min(max(height_mm, _HEIGHT_MM[0]), _HEIGHT_MM[1])


def _triple(vector: npt.ArrayLike) -> Triple:
    x, y, z = (float(value) for value in np.asarray(vector))
    return x, y, z

"""The crop box's faces: named by the sides of the patient, never out of the volume, never through each other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from medviewer.imaging.camera import SIDES, Box, look_from
from medviewer.imaging.crop_box import (
    EDGES,
    FACES,
    LEAST_SHARE,
    corners_of,
    extent_mm,
    face_of,
    is_whole,
    middle_of_face,
    taken_mm,
    whole_box,
    with_face,
)

WHOLE: Box = ((-100.0, -80.0, 10.0), (100.0, 60.0, 300.0))


def test_a_face_is_on_the_side_of_the_patient_that_faces_who_looks_from_there() -> None:
    for side in SIDES:
        camera = look_from(side, corners_of(WHOLE))
        others = [middle_of_face(WHOLE, other) for other in SIDES if other != side]
        nearest = float(middle_of_face(WHOLE, side) @ camera.ahead)
        assert all(nearest < float(middle @ camera.ahead) for middle in others)


@pytest.mark.parametrize("side", SIDES)
def test_a_face_stays_in_the_volume_and_before_the_face_across(side) -> None:  # type: ignore[no-untyped-def]
    _, way = FACES[side]
    face = face_of(WHOLE, side)
    assert with_face(WHOLE, side, face + way * 50, WHOLE) == WHOLE
    inner = with_face(WHOLE, side, face - way * 30, WHOLE)
    assert taken_mm(inner, side, WHOLE) == pytest.approx(30)
    assert [taken_mm(inner, other, WHOLE) for other in SIDES if other != side] == [0.0] * 5
    least = with_face(WHOLE, side, face - way * 1e6, WHOLE)
    assert extent_mm(least, side) == pytest.approx(LEAST_SHARE * extent_mm(WHOLE, side))
    assert is_whole(with_face(least, side, face, WHOLE), WHOLE)
    assert not is_whole(least, WHOLE)


def test_twelve_edges_each_along_one_axis() -> None:
    corners = corners_of(WHOLE)
    assert len(EDGES) == 12
    assert all(np.count_nonzero(corners[a] - corners[b]) == 1 for a, b in EDGES)
    assert whole_box(corners) == WHOLE
    assert len({tuple(corner) for corner in corners.tolist()}) == 8
    assert all(a < b for a, b in pairwise(sorted(edge[0] for edge in EDGES)) if a != b)

"""The right letter on the right side, whatever was done to the picture (PS3.3 C.7.6.1.1.1)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.domain.study import PixelDescription, Plane
from medviewer.imaging.orientation import Letters, orientation_letters

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def minus(axis: tuple[float, float, float]) -> tuple[float, float, float]:
    return (-axis[0], -axis[1], -axis[2])


def cross_section(row: tuple[float, float, float], column: tuple[float, float, float]) -> PixelDescription:
    return PixelDescription("CT", 4, 4, plane=Plane((0, 0, 0), row, column))


def radiograph(row: str, column: str) -> PixelDescription:
    return PixelDescription("CR", 4, 4, patient_orientation=(row, column))


@pytest.mark.parametrize(
    ("row", "column", "letters"),
    [
        (X, Y, Letters("R", "L", "A", "P")),  # axial, from the feet: the patient's right is on the left
        (X, minus(Z), Letters("R", "L", "H", "F")),  # coronal
        (Y, minus(Z), Letters("A", "P", "H", "F")),  # sagittal
        (minus(X), minus(Y), Letters("L", "R", "P", "A")),  # prone
        ((0.8, 0.6, 0.0), minus(Z), Letters("RA", "LP", "H", "F")),  # oblique: the stronger letter first
        ((0.999, 0.04, 0.0), Y, Letters("R", "L", "A", "P")),  # a slight tilt has one letter
    ],
)
def test_cross_sections(row: tuple[float, float, float], column: tuple[float, float, float], letters: Letters) -> None:
    assert orientation_letters(cross_section(row, column)) == letters


@pytest.mark.parametrize(
    ("row", "column", "letters"),
    [
        ("L", "F", Letters("R", "L", "H", "F")),  # PA or AP chest
        ("A", "F", Letters("P", "A", "H", "F")),  # lateral chest
        ("P", "FR", Letters("A", "P", "HL", "FR")),  # mammography, MLO
        ("", "", Letters("", "", "", "")),
        ("LR", "F", Letters("", "", "H", "F")),  # contradicts itself: no letter
        ("X", "F", Letters("", "", "H", "F")),
        ("l", "f ", Letters("R", "L", "H", "F")),
    ],
)
def test_projections(row: str, column: str, letters: Letters) -> None:
    assert orientation_letters(radiograph(row, column)) == letters


def test_no_tag_no_letter() -> None:
    assert orientation_letters(PixelDescription("CR", 4, 4)) == Letters("", "", "", "")


@pytest.mark.parametrize(
    ("options", "letters"),
    [
        ({"flip_horizontal": True}, Letters("L", "R", "H", "F")),
        ({"flip_vertical": True}, Letters("R", "L", "F", "H")),
        ({"quarter_turns": 1}, Letters("H", "F", "L", "R")),  # counter-clockwise: the head goes to the left
        ({"quarter_turns": 2}, Letters("L", "R", "F", "H")),
        ({"quarter_turns": -1}, Letters("F", "H", "R", "L")),
        ({"quarter_turns": 1, "flip_horizontal": True}, Letters("H", "F", "R", "L")),
    ],
)
def test_a_chest_turned_and_mirrored(options: dict[str, int], letters: Letters) -> None:
    assert orientation_letters(radiograph("L", "F"), **options) == letters  # type: ignore[arg-type]


AXES = st.sampled_from([X, Y, Z, minus(X), minus(Y), minus(Z)])


@given(AXES, AXES, st.integers(-9, 9), st.booleans(), st.booleans())
def test_letters_move_with_the_pixels(
    row: tuple[float, float, float], column: tuple[float, float, float], turns: int, horizontal: bool, vertical: bool
) -> None:
    """A picture whose edges hold their letters' numbers is flipped and turned by numpy; the letters must follow."""
    if abs(np.dot(row, column)) > 0.5:
        return
    description = cross_section(row, column)
    start = orientation_letters(description)
    picture = np.full((3, 3), -1)
    picture[1, 0], picture[1, 2], picture[0, 1], picture[2, 1] = range(4)
    picture = picture[:, ::-1] if horizontal else picture
    picture = picture[::-1] if vertical else picture
    picture = np.rot90(picture, turns)  # counter-clockwise, as displayed
    moved = [start[picture[1, 0]], start[picture[1, 2]], start[picture[0, 1]], start[picture[2, 1]]]
    found = orientation_letters(description, quarter_turns=turns, flip_horizontal=horizontal, flip_vertical=vertical)
    assert list(found) == moved


# PS3.3 C.7.3.1.1.2: where the gantry's right, its floor and its inside point in the patient, seen from its front.
PATIENT_POSITIONS = {
    "HFS": "LPH", "HFP": "RAH", "HFDR": "PRH", "HFDL": "ALH", "FFS": "RPF", "FFP": "LAF", "FFDR": "ARF", "FFDL": "PLF",
}  # fmt: skip
TOWARDS = {"L": X, "R": minus(X), "P": Y, "A": minus(Y), "H": Z, "F": minus(Z)}
OTHER = dict(zip("LRPAHF", "RLAPFH", strict=True))
# What the reader does (flip left-right, flip up-down, quarter turns counter-clockwise) and which edge of the picture
# (left, right, top, bottom) then lies at each edge; written down from turning a sheet of paper.
MOVES = {
    (False, False, 0): "lrtb", (True, False, 0): "rltb", (False, True, 0): "lrbt", (False, False, 2): "rlbt",
    (False, False, 1): "tbrl", (False, False, 3): "btlr", (True, False, 1): "tblr", (False, True, 1): "btrl",
}  # fmt: skip


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
@pytest.mark.parametrize("plane", ["transverse", "lying flat", "standing on its side"])
@pytest.mark.parametrize("move", MOVES)
def test_every_position_plane_and_move(position: str, plane: str, move: tuple[bool, bool, int]) -> None:
    right, floor, inside = PATIENT_POSITIONS[position]
    row, column = {
        "transverse": (right, floor),
        "lying flat": (right, OTHER[inside]),
        "standing on its side": (floor, OTHER[inside]),
    }[plane]
    edges = {"l": OTHER[row], "r": row, "t": OTHER[column], "b": column}
    found = orientation_letters(
        cross_section(TOWARDS[row], TOWARDS[column]),
        flip_horizontal=move[0],
        flip_vertical=move[1],
        quarter_turns=move[2],
    )
    assert "".join(found) == "".join(edges[edge] for edge in MOVES[move])


def test_the_patient_positions_are_those_of_the_standard() -> None:
    """Right, floor and inside must be one right-handed system in every position, or a person would be mirrored."""
    for axes in PATIENT_POSITIONS.values():
        right, floor, inside = (np.array(TOWARDS[letter]) for letter in axes)
        np.testing.assert_array_equal(np.cross(right, floor), inside)

"""Regions of a structure set: on the slice that they were drawn on, as large as they are, cut where other planes meet them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from medviewer.domain.errors import GeometryError, InputError
from medviewer.domain.layer import LabelPlane, StructureSet
from medviewer.domain.study import Patient, Plane, Study
from medviewer.imaging.planes import to_image, to_patient
from medviewer.imaging.reslice import PlaneGrid
from medviewer.imaging.scan import scan
from medviewer.imaging.structure_set import StructureFile, find_structure_set, lay_structures, read_structure_set
from tests.layer_objects import FRAME_OF_REFERENCE, circle, write_ct, write_structures

AXIAL = Plane((-78, -78, 0), (1, 0, 0), (0, 1, 0))


def axial(z: float) -> PlaneGrid:
    return PlaneGrid(Plane((-78, -78, z), (1, 0, 0), (0, 1, 0)), (2.0, 1.0), (80, 160))


def read(path: Path, reference: str = FRAME_OF_REFERENCE) -> StructureSet:
    uid = str(pydicom.dcmread(path).SOPInstanceUID)
    return read_structure_set(path, sop_instance_uid=uid, frame_of_reference_uid=reference)


def area_mm2(plane: LabelPlane, number: int, grid: PlaneGrid) -> float:
    """By Gauss: holes run the other way, or count as one more outline inside another."""
    total = 0.0
    for outline in plane.outlines.get(number, ()):
        x, y = outline[:, 0] * grid.spacing_mm[1], outline[:, 1] * grid.spacing_mm[0]
        total += abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return total


@pytest.fixture
def sphere(tmp_path: Path) -> StructureSet:
    """Outlines every 3 mm of a ball of 30 mm around (-20, 10, 0)."""
    heights = range(-27, 28, 3)
    return read(
        write_structures(tmp_path / "s.dcm", {"Ball": [circle((-20, 10, z), math.sqrt(30**2 - z**2)) for z in heights]})
    )


def test_an_outline_is_as_large_as_it_was_drawn_and_on_its_own_slice(sphere: StructureSet) -> None:
    for z in range(-27, 28, 3):
        grid = axial(z)
        plane = lay_structures(sphere, grid, 3.0)
        assert area_mm2(plane, 1, grid) == pytest.approx(math.pi * (30**2 - z**2), rel=1e-3)
    assert lay_structures(sphere, axial(30), 3.0).outlines == {}
    assert lay_structures(sphere, axial(-30), 3.0).outlines == {}


def test_an_outline_lies_where_it_was_drawn(sphere: StructureSet) -> None:
    grid = axial(0)
    (outline,) = lay_structures(sphere, grid, 3.0).outlines[1]
    points = np.array([to_patient(grid, *point) for point in outline])
    assert points == pytest.approx(circle((-20, 10, 0), 30), abs=1e-3)


@pytest.mark.parametrize(("away", "is_drawn"), [(0.9, True), (1.0, True), (1.2, False), (-0.9, True), (-1.2, False)])
def test_an_outline_is_drawn_within_half_a_slice_and_no_farther(tmp_path: Path, away: float, is_drawn: bool) -> None:
    layer = read(write_structures(tmp_path / "s.dcm", {"One": [circle((0, 0, 0), 20)]}))
    assert bool(lay_structures(layer, axial(away), 2.0).outlines) == is_drawn


def test_of_outlines_closer_than_slices_the_nearest_is_drawn(sphere: StructureSet) -> None:
    grid = axial(2.0)
    plane = lay_structures(sphere, grid, 10.0)
    assert area_mm2(plane, 1, grid) == pytest.approx(math.pi * (30**2 - 3**2), rel=1e-3)


def turned(points: np.ndarray, tilt: float, turn: float = 0.0) -> np.ndarray:
    """Points turned about the patient's left-right axis after the front-back one, in degrees."""
    a, b = math.radians(tilt), math.radians(turn)
    about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    about_y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    return np.asarray(points @ (about_x @ about_y).T)


def turned_grid(grid: PlaneGrid, tilt: float, turn: float = 0.0) -> PlaneGrid:
    own = [
        turned(np.array(d), tilt, turn) for d in (grid.plane.position, grid.plane.row_cosine, grid.plane.column_cosine)
    ]
    return PlaneGrid(Plane(*((float(d[0]), float(d[1]), float(d[2])) for d in own)), grid.spacing_mm, grid.shape)


@pytest.mark.parametrize("decimals", [1, 2, 4])
@pytest.mark.parametrize(("tilt", "turn"), [(10, 0), (30, 0), (20, 15)])
@pytest.mark.parametrize("count", [16, 60])
@pytest.mark.parametrize(
    "radii", [{-45: 1.0, 15: 40.0}, {20: 17.0}, {0: 2.5}, {-55: 1.5, 55: 2.0}], ids=["mixed", "large", "small", "apart"]
)
def test_rounded_outlines_on_tilted_slices_are_drawn_whole(
    tmp_path: Path, radii: dict[int, float], count: int, tilt: float, turn: float, decimals: int
) -> None:
    """Ten slices 3 mm apart, one or two outlines on each, written as text of so many decimals."""
    heights = range(0, 30, 3)
    outlines = [
        turned(circle((x, 8, z), radius, count), tilt, turn).round(decimals)
        for z in heights
        for x, radius in radii.items()
    ]
    layer = read(write_structures(tmp_path / "s.dcm", {"A": outlines}))
    assert layer.remark == ""
    of_circles = count / 2 * math.sin(2 * math.pi / count) * sum(radius**2 for radius in radii.values())
    for z in heights:
        grid = turned_grid(axial(z), tilt, turn)
        plane = lay_structures(layer, grid, 3.0)
        assert len(plane.outlines[1]) == len(radii)
        assert area_mm2(plane, 1, grid) == pytest.approx(of_circles, rel=0.05)
    assert lay_structures(layer, turned_grid(axial(-3), tilt, turn), 3.0).outlines == {}
    grid = turned_grid(PlaneGrid(Plane((-60.125, 8, 40), (1, 0, 0), (0, 0, -1)), (0.25, 0.25), (200, 480)), tilt, turn)
    cut = lay_structures(layer, grid, None)
    assert len(cut.outlines[1]) == len(radii), "without a gap between two slices"
    assert area_mm2(cut, 1, grid) == pytest.approx(30 * sum(2 * radius for radius in radii.values()), rel=0.06)


@pytest.mark.parametrize("decimals", [1, 2])
def test_a_rounded_outline_alone_is_drawn_on_its_tilted_slice_only(tmp_path: Path, decimals: int) -> None:
    outline = turned(circle((5, 8, 0), 2.5, 16), 20, 15).round(decimals)
    layer = read(write_structures(tmp_path / "s.dcm", {"One": [outline]}))
    for z, is_drawn in ((0.0, True), (1.4, True), (1.6, False), (-1.6, False)):
        assert bool(lay_structures(layer, turned_grid(axial(z), 20, 15), 3.0).outlines) == is_drawn, z


def test_outlines_of_slices_a_tenth_of_a_millimetre_apart_are_not_taken_together(tmp_path: Path) -> None:
    """Rounding bends them by almost as much as they lie apart: a chain of them is no slice."""
    heights = [round(index * 0.1, 1) for index in range(30)]
    outlines = [turned(circle((0, 0, z), 20), 20, 15).round(1) for z in heights]
    layer = read(write_structures(tmp_path / "s.dcm", {"A": outlines}))
    for z in heights:
        assert len(lay_structures(layer, turned_grid(axial(z), 20, 15), 0.1).outlines[1]) == 1


@pytest.mark.parametrize("tilt", [0.0, 0.05, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("decimals", [1, 4])
@pytest.mark.parametrize("radius", [3.0, 30.0], ids=["vessels", "kidneys"])
def test_outlines_that_lie_apart_sideways_are_all_drawn_on_a_plane_that_is_turned_a_little(
    tmp_path: Path, radius: float, decimals: int, tilt: float
) -> None:
    """Each alone is flat along the plane, and yet the two of a slice lie at other depths."""
    outlines = [circle((x, 0, z), radius).round(decimals) for z in range(-9, 10, 3) for x in (-70, 70)]
    layer = read(write_structures(tmp_path / "s.dcm", {"Both": outlines}))
    grid = turned_grid(PlaneGrid(Plane((-110, -40, 0), (1, 0, 0), (0, 1, 0)), (0.5, 0.5), (160, 440)), 0, tilt)
    plane = lay_structures(layer, grid, 3.0)
    assert len(plane.outlines[1]) == 2
    assert area_mm2(plane, 1, grid) == pytest.approx(2 * math.pi * radius**2, rel=0.05)


def test_a_slice_with_outlines_far_apart_is_drawn_whole_where_the_plane_is_hardly_turned(tmp_path: Path) -> None:
    layer = read(write_structures(tmp_path / "s.dcm", {"Both": [circle((x, 0, 0), 30) for x in (-70, 70)]}))
    assert len(lay_structures(layer, turned_grid(axial(0), 0, 0.05), 3.0).outlines[1]) == 2
    assert lay_structures(layer, turned_grid(axial(0), 0, 0.15), 3.0).outlines == {}, "all or nothing of it"


def test_outlines_in_other_directions_are_drawn_on_their_own_planes(tmp_path: Path) -> None:
    """A narrow one is flat from the side too, and yet no part of the planes that are seen so."""
    upright = circle((0, 0, 0), 20)[:, [2, 0, 1]]
    narrow = circle((0, 0, 0), 20) * [0.004, 1, 1]
    layer = read(write_structures(tmp_path / "s.dcm", {"A": [circle((0, 0, 0), 20), upright], "B": [narrow]}))
    sagittal = PlaneGrid(Plane((0, -60, 60), (0, 1, 0), (0, 0, -1)), (1.0, 1.0), (121, 121))
    for grid in (axial(0), sagittal):
        assert len(lay_structures(layer, grid, 2.0).outlines[1]) == 1
    assert list(lay_structures(layer, sagittal, 2.0).outlines) == [1]


def test_a_region_in_one_plane_is_not_drawn_on_cuts_and_that_is_said(tmp_path: Path, sphere: StructureSet) -> None:
    two = [circle((0, 0, z), 9) for z in (0, 3)]
    layer = read(write_structures(tmp_path / "t.dcm", {"A": [circle((0, 0, 0), 9)], "B": two}))
    coronal = PlaneGrid(Plane((-60, 0, 40), (1, 0, 0), (0, 0, -1)), (1.0, 1.0), (81, 121))
    assert list(lay_structures(layer, coronal, None).outlines) == [2]
    assert layer.remark == "Regions that lie in one plane only are not drawn where other planes cut it: 1."
    assert sphere.remark == ""


def test_a_cut_plane_meets_the_region_where_it_is(sphere: StructureSet) -> None:
    """The ball's coronal cut through its middle: each pixel belongs to the nearest outline's circle."""
    grid = PlaneGrid(Plane((-60, 10, 40), (1, 0, 0), (0, 0, -1)), (1.0, 1.0), (81, 81))
    plane = lay_structures(sphere, grid, None)
    for row, column in np.ndindex(grid.shape):
        x, _, z = to_patient(grid, column + 0.5, row + 0.5)
        nearest = 3 * round(z / 3)
        radius = math.sqrt(30**2 - nearest**2) if abs(nearest) <= 27 else 0.0
        if abs(abs(x + 20) - radius) > 0.6 and abs(abs(z - nearest) - 1.5) > 0.01:
            assert bool(plane.segments_at(column + 0.5, row + 0.5)) == (abs(x + 20) < radius), (x, z)


def test_an_oblique_plane_meets_the_region_where_it_is(sphere: StructureSet) -> None:
    tilted = (0.0, math.sqrt(0.5), math.sqrt(0.5))
    grid = PlaneGrid(Plane((-60, 10 - 28, -28), (1, 0, 0), tilted), (1.0, 1.0), (81, 81))
    plane = lay_structures(sphere, grid, None)
    inside = np.array([[bool(plane.segments_at(c + 0.5, r + 0.5)) for c in range(81)] for r in range(81)])
    assert inside.sum() == pytest.approx(math.pi * 30**2, rel=0.06)  # a disc through the middle, but for the steps
    rows, columns = np.nonzero(inside)
    middle = to_patient(grid, columns.mean() + 0.5, rows.mean() + 0.5)
    assert middle == pytest.approx([-20, 10, 0], abs=1.0)


def test_an_outline_inside_another_is_a_hole(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "s.dcm", {"Ring": [circle((0, 0, 0), 30), circle((0, 0, 0), 10)]})
    grid = axial(0)
    plane = lay_structures(read(path), grid, 2.0)
    for x, is_in in ((0, False), (5, False), (15, True), (-25, True), (35, False)):
        column, row, _ = to_image(grid, np.array([x, 0.0, 0.0]))
        assert plane.segments_at(column, row) == ((1,) if is_in else ())


def test_names_and_colours_are_the_files(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "s.dcm", {"PTV": [circle((0, 0, 0), 9)], "Cord": [circle((0, 40, 0), 9)]})
    assert [(s.number, s.label, s.color) for s in read(path).segments] == [(1, "PTV", (255, 0, 0)), (2, "Cord", None)]


def test_regions_of_another_frame_of_reference_are_left_out(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "s.dcm", {"Here": [circle((0, 0, 0), 9)], "There": [circle((0, 0, 0), 9)]})
    dataset = pydicom.dcmread(path)
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3"
    dataset.save_as(path)
    assert [segment.label for segment in read(path).segments] == ["Here"]
    with pytest.raises(GeometryError, match="another frame of reference"):
        read(path, "1.2.4")


def test_what_is_not_closed_or_not_flat_is_left_out_and_said(tmp_path: Path) -> None:
    bent = circle((0, 0, 0), 20)
    bent[:90, 2] += 3
    path = write_structures(tmp_path / "s.dcm", {"A": [circle((0, 0, 0), 9), circle((0, 0, 3), 9), bent]})
    dataset = pydicom.dcmread(path)
    dataset.ROIContourSequence[0].ContourSequence[1].ContourGeometricType = "OPEN_PLANAR"
    dataset.save_as(path)
    layer = read(path)
    assert len(layer.contours) == 1
    left_out, single = layer.remark.splitlines()
    assert left_out.startswith("2 of its outlines")
    assert single.endswith("1.")


def test_outlines_with_damaged_numbers_are_left_out(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "s.dcm", {"A": [circle((0, 0, 0), 9), circle((0, 0, 3), 9, 12)]})
    raw = path.read_bytes()
    last = b"%.4f" % circle((0, 0, 3), 9, 12)[3][1]
    assert raw.count(last) >= 1
    at = raw.rindex(last)
    path.write_bytes(raw[:at] + b"x" * len(last) + raw[at + len(last) :])
    assert len(read(path).contours) == 1


def test_a_set_without_a_closed_outline_is_refused(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "s.dcm", {"A": []})
    with pytest.raises(InputError, match="no closed outline"):
        read(path)


def test_another_object_at_the_path_is_refused(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "s.dcm", {"A": [circle((0, 0, 0), 9)]})
    with pytest.raises(InputError, match="changed"):
        read_structure_set(path, sop_instance_uid="1.2.3", frame_of_reference_uid=FRAME_OF_REFERENCE)


def test_it_is_found_among_files_and_says_whose_it_is(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "s.dcm", {"A": [circle((0, 0, 0), 9)]})
    found = find_structure_set(path)
    assert found is not None
    assert found.references == {FRAME_OF_REFERENCE}
    assert found.patient.patient_id == "PHANTOM-2"
    assert find_structure_set(write_ct(tmp_path / "ct")[0]) is None
    assert find_structure_set(Path(str(get_testdata_file("rtstruct.dcm")))) is not None


def test_the_problem_list_says_where_structures_are_shown(tmp_path: Path) -> None:
    path = write_structures(tmp_path / "s.dcm", {"A": [circle((0, 0, 0), 9)]})
    (problem,) = scan([path]).problems
    assert problem.status == "read"
    assert "panel Layers" in problem.reason


@pytest.mark.parametrize(
    ("changes", "is_theirs"),
    [
        ({}, True),
        ({"patient_id": "OTHER"}, False),
        ({"sex": "M"}, True),
        ({"birth_date": "19990101"}, False),
        ({"name": "Somebody^Else", "birth_date": ""}, False),
        ({"patient_id": ""}, False),
    ],
)
def test_the_structures_of_another_person_are_not_this_ones(changes: dict[str, str], is_theirs: bool) -> None:
    own = {"patient_id": "P1", "name": "Phantom^Layers", "birth_date": "19700101", "sex": "O"}
    file = StructureFile(Path("s.dcm"), "1.2", "1.3", Patient(**own), frozenset())
    assert file.is_of(Patient(**own | changes, studies=(Study("1.9"),))) == is_theirs


def test_without_a_number_the_study_must_be_the_same() -> None:
    file = StructureFile(Path("s.dcm"), "1.2", "1.3", Patient("", name="A^B"), frozenset())
    assert file.is_of(Patient("", name="A^B", studies=(Study("1.3"),)))
    assert not file.is_of(Patient("", name="A^B", studies=(Study("1.4"),)))

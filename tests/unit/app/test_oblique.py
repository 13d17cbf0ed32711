"""Oblique planes: what they show lies where the phantom has it, and what is measured on them is right and stays."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from medviewer.app.linking import shown_grid
from medviewer.app.measurement_files import offered
from medviewer.app.measurement_keeper import NOT_CUT
from medviewer.app.measuring import Drawn, why_not
from medviewer.app.oblique import PlaneMoved, cuts_of, is_tilted, meeting_place
from medviewer.app.on_screen import measured_image, measurements_of, pane_state, selections, value_of, with_measurement
from medviewer.app.state import Cut
from medviewer.domain.measurement import KINDS, new_measurement
from medviewer.imaging.measurement_reading import read_measurement_report
from medviewer.imaging.measurement_shapes import graphics_of
from medviewer.imaging.planes import to_image, to_patient
from medviewer.imaging.reslice import across, axes_of
from tests.dicom_maker import make_dataset, write_dataset
from tests.unit.app.test_measurement_files import close, reopened

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine

SIDE, SPACING, APART = 60, 1.0, 1.5
# Two balls in the patient, LPS mm: their centres are 40.0 mm apart and on no axis.
BALL_A, BALL_B = np.array([22.0, 24.0, 20.0]), np.array([22.0 + 24.0, 24.0 + 16.0, 20.0 + 16.0 * math.sqrt(3)])
WIDTH = 2.5  # mm, of the balls, which have no edge: their middle is known better than a pixel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Axial slices with two soft balls in air."""
    made = tmp_path / "balls"
    made.mkdir()
    n = int(66 / APART)
    for index in range(n):
        z = index * APART
        y, x = np.mgrid[:SIDE, :SIDE] * SPACING
        away = [(x - x0) ** 2 + (y - y0) ** 2 + (z - z0) ** 2 for x0, y0, z0 in (BALL_A, BALL_B)]
        pixels = -1000 + 2000 * sum(np.exp(-square / (2 * WIDTH**2)) for square in away)
        dataset = make_dataset(
            np.rint(pixels).astype(np.int16), ImagePositionPatient=[0, 0, z], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[SPACING, SPACING], InstanceNumber=index + 1, FrameOfReferenceUID="1.2.7",
        )  # fmt: skip
        write_dataset(made / f"{index:03d}.dcm", dataset)
    return made


@pytest.fixture
def planes(application: Application, folder: Path) -> Application:
    application.run_command("file.open_folder", folder)
    application.run_command("layout.planes")
    return application


def go_through(app: Application, place: np.ndarray) -> None:
    app.run_command("layout.point", tuple(float(value) for value in place))
    # The active plane does not move by itself to what is pointed at on it.
    app.run_command("layout.move_plane", PlaneMoved(app.state.active, tuple(float(value) for value in place)))


def center_of(app: Application, pane: int, about: np.ndarray) -> tuple[float, float]:
    """The (column, row) of the middle of the ball around a place, as the plane's pixels show it."""
    state = pane_state(app.state, pane)
    grid = shown_grid(state)
    assert grid is not None
    assert state.frame is not None
    column, row, away = to_image(grid, about)
    assert abs(away) < 1e-6
    rows, columns = np.mgrid[: grid.shape[0], : grid.shape[1]]
    is_near = (rows + 0.5 - row) ** 2 + (columns + 0.5 - column) ** 2 < (4 * WIDTH / grid.spacing_mm[0]) ** 2
    weight = np.where(is_near, state.frame.stored + 1000.0, 0.0)
    assert weight.max() > 1800
    return tuple(float((weight * (axis + 0.5)).sum() / weight.sum()) for axis in (columns, rows))  # type: ignore[return-value]


def test_turning_goes_about_the_meeting_place_and_keeps_right_angles(planes: Application) -> None:
    go_through(planes, BALL_A)
    for pane, degrees in ((0, 20.0), (1, -35.0), (2, 77.0)):
        planes.run_command("layout.activate", pane)
        planes.run_command("layout.turn", degrees)
    cuts = cuts_of(planes.state)
    normals = [across(cut.plane, cut.axes) for cut in cuts.values()]
    np.testing.assert_allclose([float(a @ b) for a, b in pairwise([*normals, normals[0]])], 0, atol=1e-9)
    np.testing.assert_allclose(meeting_place(cuts), BALL_A, atol=1e-6)
    for index in range(3):
        column, row, away = to_image(shown_grid(pane_state(planes.state, index)), BALL_A)  # type: ignore[arg-type]
        assert abs(away) < 1e-6
        np.testing.assert_allclose(center_of(planes, index, BALL_A), (column, row), atol=0.1)


@pytest.mark.parametrize(("flip", "sign"), [(False, 1), (True, -1)])
def test_a_positive_turn_is_counter_clockwise_on_the_screen(planes: Application, flip: bool, sign: int) -> None:
    """Axial seen from the feet: right on the screen is L (+x), up is A (-y)."""
    if flip:
        planes.run_command("view.flip_horizontal")
    planes.run_command("layout.turn", 30.0)
    cut = cuts_of(planes.state)[1]
    assert cut.axes is not None
    # The coronal plane's own line ran along x; counter-clockwise by 30 degrees its left end goes up, to the front.
    np.testing.assert_allclose(cut.axes[0], (math.cos(math.pi / 6), -sign * math.sin(math.pi / 6), 0), atol=1e-12)


def test_keys_turn_by_steps_and_back_to_where_it_began(planes: Application) -> None:
    assert not is_tilted(planes.state)
    before = cuts_of(planes.state)
    for _ in range(3):
        planes.run_command("layout.turn_left")
    assert is_tilted(planes.state)
    for _ in range(3):
        planes.run_command("layout.turn_right")
    assert not is_tilted(planes.state)
    after = cuts_of(planes.state)
    assert [after[i].at_mm for i in range(3)] == pytest.approx([before[i].at_mm for i in range(3)])


def test_straightening_goes_through_the_same_place(planes: Application) -> None:
    go_through(planes, BALL_B)
    planes.run_command("layout.turn", 33.0)
    planes.run_command("layout.straighten")
    cuts = cuts_of(planes.state)
    assert all(cut.axes is None for cut in cuts.values())
    np.testing.assert_allclose(meeting_place(cuts), BALL_B, atol=1e-6)


def along_both_balls(app: Application) -> int:
    """Turn the planes until one holds both balls; give its pane."""
    go_through(app, BALL_A)
    way = BALL_B - BALL_A
    app.run_command("layout.activate", 0)
    app.run_command("layout.turn", -math.degrees(math.atan2(way[1], way[0])))
    app.run_command("layout.activate", 2)
    for index, cut in cuts_of(app.state).items():
        if abs(float(across(cut.plane, cut.axes) @ way)) < 1e-6:
            return index
    raise AssertionError("no plane holds both balls")


def test_a_known_distance_is_measured_right_in_an_oblique_plane(planes: Application) -> None:
    pane = along_both_balls(planes)
    planes.run_command("layout.activate", pane)
    assert is_tilted(planes.state)
    ends = center_of(planes, pane, BALL_A), center_of(planes, pane, BALL_B)
    where = measured_image(planes.state)
    assert where is not None
    assert where[2] is not None
    planes.run_command("measure.add", Drawn("length", ends, where))
    (made,) = measurements_of(planes.state)
    value = value_of(planes.state, made)
    assert value is not None
    (length,) = value.quantities
    assert length.unit == "mm"
    assert length.basis == "patient plane"
    assert length.value == pytest.approx(40.0, abs=0.1)


@pytest.mark.parametrize("pane", [0, 1, 2])
def test_a_known_distance_is_measured_right_in_every_plane(planes: Application, pane: int) -> None:
    """Between two places of the patient that are known."""
    go_through(planes, BALL_A)
    planes.run_command("layout.activate", pane)
    grid = shown_grid(planes.state)
    assert grid is not None
    right, down = (np.array(axis) for axis in axes_of(cuts_of(planes.state)[pane].plane))
    places = BALL_A - 9 * right + 4 * down, BALL_A + 15 * right - 28 * down
    places = tuple(np.clip(place, 1, 58) for place in places)
    points = tuple(to_image(grid, place)[:2] for place in places)
    where = measured_image(planes.state)
    assert where is not None
    planes.run_command("measure.add", Drawn("length", points, where))  # type: ignore[arg-type]
    (made,) = measurements_of(planes.state)
    value = value_of(planes.state, made)
    assert value is not None
    assert value.quantities[0].value == pytest.approx(float(np.linalg.norm(places[1] - places[0])), abs=0.1)


def test_a_measurement_belongs_to_its_plane_alone(planes: Application) -> None:
    where = measured_image(planes.state)
    assert where is not None
    planes.run_command("measure.add", Drawn("length", ((10.0, 10.0), (20.0, 10.0)), where))
    assert len(measurements_of(planes.state)) == 1
    for change in (
        lambda: planes.run_command("image.next"),
        lambda: planes.run_command("layout.activate", 1),
        lambda: planes.run_command("layout.activate", 3),
    ):
        change()
        assert measurements_of(planes.state) == ()
    planes.run_command("layout.activate", 0)
    planes.run_command("image.previous")
    assert len(measurements_of(planes.state)) == 1
    planes.run_command("layout.slab", (10.0, "max"))
    assert measurements_of(planes.state) == ()
    planes.run_command("layout.slab", (0.0, "mean"))
    planes.run_command("layout.turn", 10.0)
    assert len(measurements_of(planes.state)) == 1
    planes.run_command("layout.activate", 1)
    planes.run_command("layout.turn", 10.0)
    planes.run_command("layout.activate", 0)
    assert measurements_of(planes.state) == ()


def test_what_was_drawn_on_a_plane_is_not_kept_for_another(planes: Application) -> None:
    where = measured_image(planes.state)
    assert where is not None
    planes.run_command("image.next")
    planes.run_command("measure.add", Drawn("length", ((10.0, 10.0), (20.0, 10.0)), where))
    assert not any(planes.state.measurements.values())
    assert planes.state.notice is not None
    assert "changed meanwhile" in planes.state.notice.text


def test_it_can_be_undone_and_done_again(planes: Application) -> None:
    where = measured_image(planes.state)
    assert where is not None
    planes.run_command("measure.add", Drawn("length", ((10.0, 10.0), (20.0, 10.0)), where))
    planes.run_command("edit.undo")
    assert measurements_of(planes.state) == ()
    assert planes.records.store().measurements_among({where[0]}) == ()
    planes.run_command("edit.redo")
    assert len(measurements_of(planes.state)) == 1
    assert planes.records.store().measurements_among({where[0]}) == measurements_of(planes.state)


def test_planes_cannot_be_calibrated(planes: Application) -> None:
    planes.run_command("tool.calibration")
    assert "cannot be calibrated" in why_not(planes.state)
    where = measured_image(planes.state)
    assert where is not None
    planes.run_command("measure.add", Drawn("calibration", ((10.0, 10.0), (20.0, 10.0)), where))
    assert not any(planes.state.measurements.values())


def test_it_survives_closing_and_is_shown_again_on_its_own_plane(
    fake_engine: FakeEngine, folder: Path, tmp_path: Path
) -> None:
    planes = reopened(fake_engine, tmp_path / "home", folder)
    planes.run_command("layout.planes")
    pane = along_both_balls(planes)
    planes.run_command("layout.activate", pane)
    planes.run_command("layout.slab", (3.0, "max"))
    where = measured_image(planes.state)
    assert where is not None
    drawn = ((10.0, 10.0), (30.0, 12.0))
    planes.run_command("measure.add", Drawn("length", drawn, where))
    planes.run_command("measure.add", Drawn("ellipse", drawn, where))
    made = measurements_of(planes.state)
    numbers = [value_of(planes.state, one) for one in made]
    grid = shown_grid(planes.state)
    close(planes)
    again = reopened(fake_engine, tmp_path / "home", folder)
    assert measurements_of(again.state) == ()
    assert {one.uid for own in again.state.measurements.values() for one in own} == {one.uid for one in made}
    assert all(again.state.values[one.uid].problem == NOT_CUT for one in made)
    again.run_command("measure.go_to", made[0].uid)
    assert measurements_of(again.state) == made
    assert shown_grid(again.state) == grid
    assert [value_of(again.state, one) for one in made] == numbers
    cut = again.state.cut
    assert isinstance(cut, Cut)
    assert (cut.slab_mm, cut.slab) == (3.0, "max")
    close(again)


def test_the_place_that_a_point_has_does_not_depend_on_the_plane(planes: Application) -> None:
    go_through(planes, BALL_A)
    planes.run_command("layout.turn", 25.0)
    for index in range(3):
        grid = shown_grid(pane_state(planes.state, index))
        assert grid is not None
        column, row, _ = to_image(grid, BALL_A)
        np.testing.assert_allclose(to_patient(grid, column, row), BALL_A, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"calibration"}))
def test_a_report_takes_what_lies_on_planes_to_others_and_back(
    planes: Application, fake_engine: FakeEngine, folder: Path, tmp_path: Path, kind: str
) -> None:
    pane = along_both_balls(planes)
    planes.run_command("layout.activate", pane)
    where = measured_image(planes.state)
    assert where is not None
    grid = shown_grid(planes.state)
    assert grid is not None
    far = grid.shape[1] - 3.0
    assert far > SIDE, "farther than any stored image reaches"
    points = ((far, 10.0), (24.0, 12.5), (30.0, 40.0), (12.0, 37.0))[: KINDS[kind].fewest]  # type: ignore[index]
    planes.run_command("measure.add", Drawn(kind, points, where))  # type: ignore[arg-type]
    (made,) = measurements_of(planes.state)
    numbers = value_of(planes.state, made)
    planes.run_command("measure.save_report", folder)
    report = pydicom.dcmread(folder / "measurements.sr.dcm")
    assert report.SOPClassUID == pydicom.uid.Comprehensive3DSRStorage
    drawn = [item for item in report.iterall() if item.keyword == "GraphicData"]
    places = np.array([item.value for item in drawn]).reshape(-1, 3)
    expected = [to_patient(grid, *point) for _, line in graphics_of(made) for point in line]  # type: ignore[arg-type]
    for place in expected:
        assert np.abs(places - place).max(axis=1).min() < 1e-3
    again = reopened(fake_engine, tmp_path / "other-home", folder)
    assert offered(again.state) == (made,)
    again.run_command("measure.take_offered")
    again.run_command("measure.go_to", made.uid)
    assert measurements_of(again.state) == (made,)
    assert value_of(again.state, made) == numbers
    close(again)


def test_a_report_whose_places_were_changed_is_not_taken_over(planes: Application, tmp_path: Path) -> None:
    where = measured_image(planes.state)
    assert where is not None
    planes.run_command("measure.add", Drawn("length", ((10.0, 10.0), (20.0, 10.0)), where))
    planes.run_command("measure.save_report", tmp_path)
    path = tmp_path / "measurements.sr.dcm"
    assert len(read_measurement_report(path).measurements) == 1
    report = pydicom.dcmread(path)
    for element in report.iterall():
        if element.keyword == "GraphicData":
            element.value = [*element.value[:2], element.value[2] + 1.0, *element.value[3:]]
    report.save_as(path)
    read = read_measurement_report(path)
    assert read.measurements == ()
    assert "not those of its plane" in read.not_understood[0]


@pytest.mark.parametrize(
    ("was", "damaged"),
    [
        ('"points":[[10.0', '"points":[[1' + 400 * "0"),
        (',0],"points"', ',Infinity],"points"'),
        ('"shape":[60', '"shape":[Infinity'),
    ],
)
def test_a_plane_of_numbers_without_end_costs_its_own_measurement_only(
    planes: Application, tmp_path: Path, was: str, damaged: str
) -> None:
    where = measured_image(planes.state)
    assert where is not None
    planes.run_command("measure.add", Drawn("length", ((10.0, 10.0), (20.0, 10.0)), where))
    planes.run_command("measure.save_report", tmp_path)
    path = tmp_path / "measurements.sr.dcm"
    report = pydicom.dcmread(path)
    (told,) = (one for one in report.iterall() if one.keyword == "TextValue" and "points" in one.value)
    assert was in told.value
    told.value = told.value.replace(was, damaged)
    report.save_as(path)
    read = read_measurement_report(path)
    assert read.measurements == ()
    assert "not told in a way that is understood" in read.not_understood[0]


def test_a_report_says_what_has_no_numbers_yet(fake_engine: FakeEngine, folder: Path, tmp_path: Path) -> None:
    app = reopened(fake_engine, tmp_path / "home", folder)
    image = measured_image(app.state)
    app.run_command("layout.planes")
    where = measured_image(app.state)
    assert where is not None
    app.run_command("measure.add", Drawn("length", ((10.0, 10.0), (20.0, 10.0)), where))
    close(app)
    again = reopened(fake_engine, tmp_path / "home", folder)
    out = tmp_path / "out"
    out.mkdir()
    again.run_command("measure.save_report", out)
    assert again.state.notice is not None
    assert "no numbers yet" in again.state.notice.text
    assert not list(out.iterdir())
    assert image is not None
    again.run_command("measure.add", Drawn("length", ((10.0, 10.0), (20.0, 10.0)), image))
    again.run_command("measure.save_report", out)
    assert "without 1 on planes" in again.state.notice.text
    close(again)


@pytest.mark.parametrize("change", ["place", "tilt"])
def test_a_plane_that_is_still_being_cut_has_no_measurements(planes: Application, change: str) -> None:
    """The pixels on screen are those of the place before: what is drawn now would be kept for another plane."""
    state = planes.state
    assert state.cut is not None
    assert measured_image(state) is not None
    axes = ((1.0, 0.0, 0.0), (0.0, math.cos(0.1), math.sin(0.1)))
    cut = replace(state.cut, at_mm=state.cut.at_mm + 3) if change == "place" else replace(state.cut, axes=axes)
    coming = replace(state, cut=cut)
    assert measured_image(coming) is None
    assert measurements_of(coming) == ()
    assert "still being cut" in why_not(coming)


def test_the_numbers_of_one_series_are_never_taken_from_another(
    fake_engine: FakeEngine, folder: Path, tmp_path: Path
) -> None:
    for path in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = "2.25.99"
        dataset.SeriesNumber = 99
        dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID[:50]}.99"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"other-{path.name}")
    first = reopened(fake_engine, tmp_path / "home", folder)
    first.run_command("layout.planes")
    where = measured_image(first.state)
    assert where is not None
    first.run_command("measure.add", Drawn("ellipse", ((10.0, 10.0), (30.0, 30.0)), where))
    (made,) = measurements_of(first.state)
    close(first)
    again = reopened(fake_engine, tmp_path / "home", folder)
    other = next(
        one for one in selections(again.state.collection) if one.index == 0 and one.image.sop_instance_uid != where[0]
    )
    again.run_command("image.select", other)
    again.run_command("layout.planes")
    assert again.volume is not None
    again.measured.volume_arrived()
    value = again.state.values[made.uid]
    assert value.problem == NOT_CUT
    assert not value.quantities
    again.run_command("measure.go_to", made.uid)
    assert measurements_of(again.state) == (made,)
    assert value_of(again.state, made).quantities  # type: ignore[union-attr]
    close(again)


def test_a_plane_is_known_again_however_its_numbers_are_rounded(planes: Application) -> None:
    """Scrolling away and back, and cutting it anew, give other last digits: what was drawn there must not be lost."""
    drawn = {}
    for degrees in (7.0, 31.0, 50.0, -20.0, 13.0, 17.0):
        planes.run_command("layout.activate", 0)
        planes.run_command("layout.turn", degrees)
        planes.run_command("layout.activate", 1 + len(drawn) % 2)
        where = measured_image(planes.state)
        assert where is not None
        planes.run_command("measure.add", Drawn("probe", ((9.5, 9.5),), where))
        (made,) = measurements_of(planes.state)
        drawn[made.uid] = value_of(planes.state, made)
        for step in ("image.next", "image.next", "image.next", "image.previous", "image.previous", "image.previous"):
            planes.run_command(step)
        assert [one.uid for one in measurements_of(planes.state)] == [made.uid]
    planes.run_command("layout.straighten")
    for uid, value in drawn.items():
        planes.run_command("measure.go_to", uid)
        (shown,) = measurements_of(planes.state)
        assert shown.uid == uid
        assert value is not None
        assert value_of(planes.state, shown) == value
    where = measured_image(planes.state)
    assert where is not None
    planes.run_command("layout.slab", (5.0, "max"))
    assert measured_image(planes.state) != where
    assert measurements_of(planes.state) == ()


def test_all_that_was_measured_on_one_plane_is_shown_on_it(planes: Application) -> None:
    """A report from elsewhere names the same plane with other last digits."""
    planes.run_command("layout.turn", 31.0)
    planes.run_command("layout.activate", 1)
    where = measured_image(planes.state)
    assert where is not None
    assert where[2] is not None
    planes.run_command("measure.add", Drawn("probe", ((9.5, 9.5),), where))
    x, y, z = where[2].plane.position
    nearly = replace(where[2], plane=replace(where[2].plane, position=(x, y + 1e-12, z)))
    other = new_measurement("probe", ((3.5, 3.5),), (*where[:2], nearly))
    assert other.where != where
    known = with_measurement(planes.state.measurements, other.where, other.uid, other)
    planes.session.update(measurements=known)
    assert [one.points for one in measurements_of(planes.state)] == [((9.5, 9.5),), ((3.5, 3.5),)]
    planes.run_command("image.next")
    planes.run_command("image.next")
    assert measurements_of(planes.state) == ()
    planes.run_command("measure.go_to", other.uid)
    assert len(measurements_of(planes.state)) == 2

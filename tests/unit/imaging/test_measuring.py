"""Numbers of measurements: right on phantoms whose answer is known, and never in mm where the image has none."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.domain.errors import GeometryError, UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.measurement import KINDS, Measurement, MeasurementKind, Point, Quantity, new_measurement
from medviewer.domain.study import PixelDescription, UltrasoundRegion
from medviewer.imaging import measuring
from medviewer.imaging.description import describe_images
from medviewer.imaging.header import read_header
from medviewer.imaging.measuring import distance_mm, measure
from medviewer.imaging.scale import calibrated_spacing
from tests import samples
from tests.dicom_maker import make_dataset, write_dataset

CT = PixelDescription(
    "CT", 40, 60, is_signed=True, rescale_intercept=-1024.0, rescale_type="HU",
    pixel_spacing_mm=(0.5, 2.0), spacing_source="patient plane",
)  # fmt: skip


def frame(description: PixelDescription = CT, stored: np.ndarray | None = None) -> Frame:
    if stored is None:
        stored = np.arange(description.rows * description.columns, dtype=np.int16)
        stored = stored.reshape(description.rows, description.columns)
    return Frame(stored, description)


def drawn(kind: MeasurementKind, *points: Point, **more: Any) -> Measurement:
    return new_measurement(kind, points, ("1.2.3", 0), **more)


def named(quantities: tuple[Quantity, ...]) -> dict[str, Quantity]:
    assert len({q.name for q in quantities}) == len(quantities)
    return {q.name: q for q in quantities}


def values(quantities: tuple[Quantity, ...]) -> dict[str, float]:
    return {q.name: q.value for q in quantities}


def one(kind: MeasurementKind, *points: Point, description: PixelDescription = CT, **more: Any) -> Quantity:
    return measure(drawn(kind, *points, **more), frame(description))[0]


def without_spacing(**changes: Any) -> PixelDescription:
    known = {"pixel_spacing_mm": None, "spacing_source": None, "no_measuring_because": "The file gives no spacing."}
    return replace(CT, **{**known, **changes})


def test_every_kind_is_measured() -> None:
    assert set(measuring._BY_KIND) == set(KINDS)


# --- lengths ---------------------------------------------------------------------------------------------------


@pytest.mark.reliability
def test_a_length_uses_the_spacing_of_each_direction() -> None:
    # 0.5 mm between rows, 2 mm between columns.
    assert one("length", (10, 10), (20, 10)) == Quantity("length", 20.0, "mm", "patient plane")
    assert one("length", (10, 10), (10, 20)) == Quantity("length", 5.0, "mm", "patient plane")
    assert one("length", (10, 10), (12, 22)).value == pytest.approx(math.sqrt(4**2 + 6**2))


@pytest.mark.parametrize(
    ("spacing", "decimals"),
    [((0.7, 0.7), 1), ((0.05, 0.05), 1), ((0.02, 0.02), 2), ((0.0057, 0.0039), 3), ((1, 1e-4), 4)],
)
def test_a_length_is_told_with_as_many_decimals_as_the_pixels_bear(spacing: tuple[float, float], decimals: int) -> None:
    fine = replace(CT, pixel_spacing_mm=spacing)
    assert one("length", (1, 1), (9, 9), description=fine).decimals == decimals
    assert one("length", (1, 1), (9, 9), description=without_spacing()).decimals == 1


def test_what_the_file_says_of_a_calibrations_line_is_told_with_as_many_decimals_as_it_takes() -> None:
    fine = replace(CT, pixel_spacing_mm=(0.0057, 0.0039))
    found = one("calibration", (10, 10), (20, 10), description=fine, known_mm=0.04)
    assert found.remark == "By the file's own spacing (patient plane) the line is 0.039 mm long."
    assert found.decimals == 3


@given(
    st.tuples(*[st.floats(0, 40)] * 4), st.floats(0.01, 10), st.floats(0.01, 10)
)  # fmt: skip
def test_a_length_is_the_distance_of_the_points_in_the_patient(
    ends: tuple[float, ...], between_rows: float, between_columns: float
) -> None:
    description = replace(CT, pixel_spacing_mm=(between_rows, between_columns))
    measurement = drawn("length", ends[:2], ends[2:])
    affine = np.diag([between_columns, between_rows, 3.0, 1.0])
    affine[:3, 3] = (-100.0, 20.0, 7.0)
    a, b = (affine @ (column - 0.5, row - 0.5, 2.0, 1.0) for column, row in measurement.points)
    expected = float(np.linalg.norm(a - b))
    assert measure(measurement, frame(description))[0].value == pytest.approx(expected, rel=1e-9, abs=1e-9)
    ends_3d = [(column - 0.5, row - 0.5, 2.0) for column, row in measurement.points]
    assert distance_mm(affine, *ends_3d) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("source", ["patient plane", "at detector", "calibrated"])
def test_a_length_says_what_it_rests_on(source: Any) -> None:
    assert one("length", (0, 0), (1, 1), description=replace(CT, spacing_source=source)).basis == source


@pytest.mark.reliability
@pytest.mark.parametrize("kind", ["length", "bidirectional", "rectangle", "ellipse", "freehand", "cardiothoracic"])
def test_without_spacing_nothing_is_in_mm_and_the_reason_is_told(kind: MeasurementKind) -> None:
    points = [(10.0, 10.0), (20.0, 10.0), (15.0, 5.0), (15.0, 14.0)][: KINDS[kind].most]
    found = measure(drawn(kind, *points), frame(without_spacing()))
    assert not [q for q in found if "mm" in q.unit]
    told = [q for q in found if q.unit.startswith("px")]
    assert told
    for quantity in told:
        assert quantity.basis == "px"
        assert "The file gives no spacing." in quantity.remark


def test_a_length_in_pixels_is_counted_in_pixels() -> None:
    assert one("length", (10, 10), (13, 14), description=without_spacing()).value == 5.0


@pytest.mark.reliability
@pytest.mark.parametrize("point", [(-0.01, 5.0), (60.01, 5.0), (5.0, -0.01), (5.0, 40.01)])
def test_a_point_outside_the_image_is_refused(point: Point) -> None:
    with pytest.raises(UsageError, match="outside the image"):
        one("length", (1, 1), point)
    one("length", (0, 0), (60, 40))  # the very corners are on it


@pytest.mark.reliability
def test_a_number_that_is_not_finite_is_never_given() -> None:
    with pytest.raises(UsageError, match="no finite number"):
        one("length", (0, 0), (1, 1), description=replace(CT, pixel_spacing_mm=(math.nan, 1.0)))
    empty = Frame(np.full((40, 60), np.nan, np.float32), CT)
    with pytest.raises(UsageError, match="no finite number"):
        measure(drawn("probe", (3, 3)), empty)


# --- angles ----------------------------------------------------------------------------------------------------


@pytest.mark.reliability
@pytest.mark.parametrize("degrees", [0.001, 30.0, 45.0, 90.0, 135.0, 179.0])
def test_an_angle_is_that_of_the_patient_not_of_the_stored_pixels(degrees: float) -> None:
    # Drawn in mm, then brought to pixels of 2 mm x 0.5 mm.
    end = 8 * math.cos(math.radians(degrees)), 8 * math.sin(math.radians(degrees))
    points = ((30 + 8 / 2, 10.0), (30.0, 10.0), (30 + end[0] / 2, 10 + end[1] / 0.5))
    found = one("angle", *points)
    assert found.value == pytest.approx(degrees, abs=1e-4)
    assert (found.unit, found.basis) == ("deg", "patient plane")


def test_an_angle_without_spacing_is_that_of_the_pixels_shape() -> None:
    points = ((40, 10), (30, 10), (40, 20))
    square = one("angle", *points, description=without_spacing())
    assert (square.value, square.basis) == (pytest.approx(45.0), "px")
    assert square.remark == "The file gives no spacing."
    tall = one("angle", *points, description=without_spacing(pixel_aspect_ratio=2.0))
    assert tall.value == pytest.approx(math.degrees(math.atan(2)))


@pytest.mark.parametrize("flipped", [False, True])
def test_cobb_is_the_smaller_angle_however_the_lines_were_drawn(flipped: bool) -> None:
    square = replace(CT, pixel_spacing_mm=(1.0, 1.0))
    second = ((10.0, 30.0), (10 + 10 * math.cos(0.5), 30 - 10 * math.sin(0.5)))
    found = one("cobb", (10, 10), (20, 10), *(second[::-1] if flipped else second), description=square)
    assert found.value == pytest.approx(math.degrees(0.5), abs=1e-4)


@pytest.mark.reliability
@pytest.mark.parametrize("turn", [0, 90, 137])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize(
    ("leans", "told", "other"),
    [
        ((50.0, -50.0), 80.0, "100.0"),  # a curve of 100 degrees
        ((60.0, -35.0), 85.0, "95.0"),
        ((40.0, -40.0), 80.0, ""),
        ((-20.0, 25.0), 45.0, ""),
        ((86.0, -84.0), 10.0, ""),  # along a bone, not across a spine
    ],
)
def test_of_a_curve_beyond_a_right_angle_the_other_angle_is_said(
    leans: tuple[float, float], told: float, other: str, flipped: bool, turn: int
) -> None:
    def line(lean: float, down: float) -> list[Point]:
        """Ten pixels long, below each other, all of it turned on the image."""
        angle, turned = math.radians(lean), math.radians(turn)
        ends = [(side * 5 * math.cos(angle), down + side * 5 * math.sin(angle)) for side in (-1, 1)]
        back = math.cos(turned), math.sin(turned)
        return [(100 + x * back[0] - y * back[1], (100 + x * back[1] + y * back[0]) / 2) for x, y in ends]

    first, second = line(leans[0], -30.0), line(leans[1], 30.0)
    tall = replace(CT, rows=200, columns=200, pixel_spacing_mm=(2.0, 1.0))
    found = one("cobb", *first, *(second[::-1] if flipped else second), description=tall)
    assert found.value == pytest.approx(told, abs=1e-3)
    assert (f"is {other} degrees." in found.remark) if other else found.remark == ""


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("angle", ((1, 1), (1, 1), (2, 2))),
        ("cobb", ((1, 1), (2, 2), (3, 3), (3, 3))),
        ("cardiothoracic", ((1, 1), (2, 2), (3, 3), (3, 3))),
    ],
)
def test_a_line_without_length_has_no_direction(kind: MeasurementKind, points: tuple[Point, ...]) -> None:
    with pytest.raises(UsageError, match="no direction"):
        one(kind, *points)


def test_bidirectional_gives_both_axes_and_doubts_a_short_one_that_is_longer() -> None:
    square = replace(CT, pixel_spacing_mm=(1.0, 1.0))
    long, short = measure(drawn("bidirectional", (5, 5), (15, 5), (10, 2), (10, 8)), frame(square))
    assert (long.name, long.value, long.remark) == ("long axis", 10.0, "")
    assert (short.name, short.value, short.remark) == ("short axis", 6.0, "")
    _, doubted = measure(drawn("bidirectional", (10, 2), (10, 8), (5, 5), (15, 5)), frame(square))
    assert "longer than the long axis" in doubted.remark


# --- cardiothoracic ratio --------------------------------------------------------------------------------------


def test_the_ratio_needs_no_millimetres_and_has_no_unit() -> None:
    lines = ((20.0, 20.0), (35.0, 20.0), (10.0, 25.0), (40.0, 25.0))
    for description in (CT, without_spacing()):
        found = named(measure(drawn("cardiothoracic", *lines), frame(description)))
        ratio = found["cardiothoracic ratio"]
        assert (ratio.value, ratio.unit, ratio.remark) == (0.5, "", "")
    assert found["heart width"].unit == found["thorax width"].unit == "px"
    mm = named(measure(drawn("cardiothoracic", *lines), frame()))
    assert (mm["heart width"].value, mm["thorax width"].value) == (30.0, 60.0)


@pytest.mark.parametrize(("degrees", "is_doubtful"), [(0, False), (9.9, False), (10.1, True), (90, True), (179, False)])
def test_lines_that_are_not_parallel_within_ten_degrees_are_said(degrees: float, is_doubtful: bool) -> None:
    square = replace(CT, pixel_spacing_mm=(1.0, 1.0))
    turn = math.radians(degrees)
    end = 30 + 10 * math.cos(turn), 20 + 10 * math.sin(turn)
    ratio = one("cardiothoracic", (10, 10), (20, 10), (30, 20), end, description=square)
    assert ("parallel" in ratio.remark) == is_doubtful


# --- calibration -----------------------------------------------------------------------------------------------


@pytest.mark.reliability
def test_a_calibration_gives_this_image_a_spacing() -> None:
    calibration = drawn("calibration", (10, 10), (30, 10), known_mm=50.0)
    line = drawn("length", (10, 10), (13, 14))
    (found,) = measure(line, frame(without_spacing()), calibration=calibration)
    assert (found.value, found.unit, found.basis, found.remark) == (12.5, "mm", "calibrated", "")


def test_a_calibration_keeps_the_shape_that_the_file_gives_its_pixels() -> None:
    upright = drawn("calibration", (10, 10), (10, 30), known_mm=50.0)
    assert calibrated_spacing(upright, CT) == (2.5, 10.0)  # rows are a quarter of the columns, as in the file
    assert calibrated_spacing(upright, without_spacing(pixel_aspect_ratio=0.5)) == (2.5, 5.0)
    assert calibrated_spacing(upright, without_spacing()) == (2.5, 2.5)


def test_a_calibration_tells_what_it_gives_and_what_the_file_says() -> None:
    found = named(measure(drawn("calibration", (10, 10), (30, 10), known_mm=50.0), frame()))
    assert found["length"].value == pytest.approx(50.0)
    assert found["spacing between columns"].value == 2.5
    assert found["spacing between rows"].value == 0.625
    assert "40.0 mm" in found["length"].remark
    assert {q.basis for q in found.values()} == {"calibrated"}


@pytest.mark.reliability
@pytest.mark.parametrize("changes", [{"sop_instance_uid": "1.2.4"}, {"frame": 1}])
def test_the_calibration_of_another_image_is_refused(changes: dict[str, Any]) -> None:
    calibration = replace(drawn("calibration", (10, 10), (30, 10), known_mm=50.0), **changes)
    with pytest.raises(UsageError, match="another image"):
        measure(drawn("length", (1, 1), (2, 2)), frame(), calibration=calibration)


def test_what_cannot_calibrate_is_refused() -> None:
    with pytest.raises(UsageError, match="no length"):
        one("calibration", (1, 1), (1, 1), known_mm=50.0)
    with pytest.raises(UsageError, match="draw a calibration"):
        measure(drawn("length", (1, 1), (2, 2)), frame(), calibration=drawn("length", (1, 1), (3, 1)))
    with pytest.raises(UsageError, match="cannot be calibrated"):
        one("calibration", (1, 1), (9, 9), known_mm=9.0, description=ULTRASOUND)


# --- regions of interest ---------------------------------------------------------------------------------------


@pytest.mark.reliability
def test_a_rectangle_tells_area_and_statistics_in_hounsfield_units() -> None:
    found = named(measure(drawn("rectangle", (10, 20), (14, 25)), frame()))
    inside = (np.arange(2400).reshape(40, 60)[20:25, 10:14] - 1024).ravel()
    assert (found["area"].value, found["area"].unit, found["area"].basis) == (20.0, "mm2", "patient plane")
    assert found["mean"].value == pytest.approx(inside.mean())
    assert found["SD"].value == pytest.approx(math.sqrt(((inside - inside.mean()) ** 2).sum() / (inside.size - 1)))
    assert (found["minimum"].value, found["maximum"].value) == (inside.min(), inside.max())
    assert {found[name].unit for name in ("mean", "SD", "minimum", "maximum")} == {"HU"}
    assert (found["pixels"].value, found["pixels"].unit) == (20, "")


def test_areas_are_those_of_geometry() -> None:
    assert one("ellipse", (10, 10), (20, 30)).value == pytest.approx(math.pi * 10 * 5)  # half axes in mm
    assert one("rectangle", (14.5, 25), (10, 20)).value == pytest.approx(4.5 * 5)
    assert one("freehand", (10, 10), (20, 10), (10, 30)).value == pytest.approx(100.0)
    assert one("freehand", (10, 30), (20, 10), (10, 10)).value == pytest.approx(100.0)
    assert one("rectangle", (10, 10), (12, 13), description=without_spacing()) == Quantity(
        "area", 6.0, "px2", "px", "The file gives no spacing."
    )


def test_an_outline_that_crosses_itself_is_counted_in_pixels() -> None:
    bow_tie = ((10.0, 10.0), (20.0, 20.0), (20.0, 10.0), (10.0, 20.0))
    found = named(measure(drawn("freehand", *bow_tie), frame()))
    assert "crosses itself" in found["area"].remark
    assert found["area"].value == found["pixels"].value * 1.0  # 2 mm x 0.5 mm a pixel
    assert 40 <= found["area"].value <= 60, "two triangles of 25 px2, where the formula would give 0"


@pytest.mark.reliability
def test_padding_is_left_out_and_said() -> None:
    stored = np.full((40, 60), 100, np.int16)
    stored[20:22] = -2000
    found = named(
        measure(drawn("rectangle", (10, 18), (15, 24)), frame(replace(CT, pixel_padding_range=(-2000, -1990)), stored))
    )
    assert found["mean"].value == 100 - 1024
    assert found["minimum"].value == 100 - 1024
    assert found["pixels"].value == 20
    assert "10 pixels of padding" in found["pixels"].remark
    assert found["area"].value == pytest.approx(30.0), "the area is that of the outline"


def test_pixels_without_a_number_are_left_out_and_said() -> None:
    stored = np.full((40, 60), 7.0, np.float32)
    stored[20, 10:13] = (np.nan, np.inf, -np.inf)
    found = named(measure(drawn("rectangle", (10, 20), (15, 22)), frame(replace(CT, modality="MR"), stored)))
    assert (found["pixels"].value, "3 pixels" in found["pixels"].remark) == (7, True)


@pytest.mark.parametrize(("corner", "count"), [((10.2, 10.2), 0), ((11.0, 11.0), 1)])
def test_too_few_pixels_give_no_statistics_that_need_more(corner: Point, count: int) -> None:
    found = named(measure(drawn("rectangle", (10, 10), corner), frame()))
    assert found["pixels"].value == count
    assert ("mean" in found) == (count > 0)
    assert "SD" not in found
    assert ("No pixel" in found["pixels"].remark) == (count == 0)


@pytest.mark.reliability
@pytest.mark.parametrize("kind", ["rectangle", "ellipse", "freehand"])
def test_rows_that_the_file_does_not_hold_are_not_measured(kind: MeasurementKind) -> None:
    stored = np.full((40, 60), 1024 + 50, np.int16)
    stored[30:] = 900  # as decoding fills them
    cut = replace(frame(CT, stored), missing_rows=10)
    corners = [(10, 20), (20, 20), (20, 40), (10, 40)]
    found = named(measure(drawn(kind, *(corners if kind == "freehand" else (corners[0], corners[2]))), cut))
    assert (found["mean"].value, found["SD"].value, found["minimum"].value) == (50, 0, 50)
    left_out = 100 if kind != "ellipse" else found["pixels"].value  # the lower half
    assert found["pixels"].remark == (
        f"{left_out:.0f} pixels that the file does not hold, of padding or without a number, are left out."
    )
    missing = measure(drawn("rectangle", (10, 32), (20, 38)), cut)
    assert [one.name for one in missing] == ["area", "pixels"]
    assert missing[1].value == 0


@pytest.mark.reliability
@pytest.mark.parametrize("stored", [np.full((40, 60), 900, np.int16), np.zeros((40, 60, 3), np.uint8)])
def test_a_probe_where_the_file_has_no_pixel_gives_no_value(stored: np.ndarray) -> None:
    cut = replace(frame(CT, stored), missing_rows=10)
    assert measure(drawn("probe", (5, 29.9)), cut)
    for row in (30, 40):
        with pytest.raises(UsageError, match="ends before this pixel"):
            measure(drawn("probe", (5, row)), cut)


def test_a_colour_image_has_an_area_but_no_statistics() -> None:
    stored = np.zeros((40, 60, 3), np.uint8)
    found = named(measure(drawn("ellipse", (10, 10), (20, 20)), frame(CT, stored)))
    assert set(found) == {"area", "pixels"}
    assert "colour" in found["area"].remark


def test_a_rescale_slope_and_the_unit_that_the_file_names_are_used() -> None:
    description = replace(CT, modality="MR", rescale_type="OD", rescale_slope=0.001, rescale_intercept=0.0)
    found = named(measure(drawn("rectangle", (0, 0), (2, 1)), frame(description)))
    assert (found["maximum"].value, found["maximum"].unit) == (0.001, "OD")


# --- probe -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "pixel"), [((10, 20), (20, 10)), ((10.99, 20.99), (20, 10)), ((60, 40), (39, 59)), ((0, 0), (0, 0))]
)
def test_a_probe_reads_the_pixel_under_it(point: Point, pixel: tuple[int, int]) -> None:
    found = named(measure(drawn("probe", point), frame()))
    stored = pixel[0] * 60 + pixel[1]
    assert found["stored value"] == Quantity("stored value", stored, "")
    assert found["value"] == Quantity("value", stored - 1024, "HU")


def test_a_probe_on_padding_or_colour_says_what_is_there() -> None:
    (found,) = measure(drawn("probe", (1, 0)), frame(replace(CT, pixel_padding_range=(1, 1))))
    assert (found.name, found.value) == ("stored value", 1)
    assert "padding" in found.remark
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[2, 3] = (7, 8, 9)
    assert values(measure(drawn("probe", (3.5, 2.5)), frame(CT, stored))) == {"red": 7, "green": 8, "blue": 9}


# --- SUV -------------------------------------------------------------------------------------------------------

PET = PixelDescription("PT", 40, 60, rescale_slope=2.0, value_unit="Bq/ml", suv_factor=0.01)


def test_regions_and_probes_of_a_pet_add_suv() -> None:
    found = named(measure(drawn("rectangle", (10, 20), (14, 25)), frame(PET)))
    for name in ("mean", "SD", "minimum", "maximum"):
        assert found[name].unit == "Bq/ml"
        assert found[f"SUVbw {name}"].value == pytest.approx(found[name].value * 0.01)
        assert found[f"SUVbw {name}"].unit == "g/ml"
    assert values(measure(drawn("probe", (1, 0)), frame(PET))) == {"stored value": 1, "value": 2, "SUVbw": 0.02}


@pytest.mark.reliability
def test_without_suv_the_reason_is_told_and_the_values_stay() -> None:
    description = replace(PET, suv_factor=None, no_suv_because="The file gives no sensible half-life.")
    for kind, points in {"rectangle": ((10, 20), (14, 25)), "probe": ((1, 0),)}.items():
        found = measure(drawn(kind, *points), frame(description))  # type: ignore[arg-type]
        assert not [q for q in found if "SUV" in q.name]
        assert [q.unit for q in found if "No SUV: The file gives no sensible half-life." in q.remark] == ["Bq/ml"]


# --- ultrasound ------------------------------------------------------------------------------------------------

FIRST = UltrasoundRegion((0, 0), (19, 29), ("cm", "cm"), (0.01, 0.02))
SECOND = UltrasoundRegion((20, 0), (39, 29), ("cm", "cm"), (0.01, 0.02))
DOPPLER = UltrasoundRegion((0, 30), (39, 39), ("s", "cm/s"), (0.005, -2.0))
M_MODE = UltrasoundRegion((40, 0), (59, 19), ("s", "cm"), (0.005, 0.03))
TRACE = UltrasoundRegion((40, 20), (59, 29), ("s", ""), (0.005, 0.0))
BARE = UltrasoundRegion((40, 30), (59, 39), ("", ""), (0.0, 0.0))
ULTRASOUND = PixelDescription(
    "US", 40, 60, no_measuring_because="The file gives no pixel spacing.",
    ultrasound_regions=(FIRST, SECOND, DOPPLER, M_MODE, TRACE, BARE),
)  # fmt: skip


def seen(kind: MeasurementKind, *points: Point) -> tuple[Quantity, ...]:
    return measure(drawn(kind, *points), frame(ULTRASOUND))


@pytest.mark.reliability
def test_inside_a_region_its_centimetres_become_millimetres() -> None:
    assert seen("length", (2, 2), (12, 2)) == (Quantity("length", pytest.approx(1.0), "mm", "ultrasound region"),)
    assert seen("length", (2, 2), (2, 12))[0].value == pytest.approx(2.0)
    assert seen("rectangle", (2, 2), (12, 12))[0].value == pytest.approx(2.0)
    assert seen("angle", (12, 2), (2, 2), (12, 7))[0].value == pytest.approx(45.0)


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("end", "words"),
    [((25, 2), "different ultrasound regions"), ((50, 35), "different ultrasound regions")],
)
def test_across_regions_there_are_only_pixels(end: Point, words: str) -> None:
    (found,) = seen("length", (2, 2), end)
    assert (found.unit, found.basis) == ("px", "px")
    assert words in found.remark


@pytest.mark.reliability
def test_outside_and_without_units_there_are_only_pixels() -> None:
    (found,) = seen("length", (45, 32), (55, 32))
    assert (found.unit, found.value, "no physical units" in found.remark) == ("px", 10.0, True)
    alone = replace(ULTRASOUND, ultrasound_regions=(FIRST,), pixel_spacing_mm=(1.0, 1.0), spacing_source="calibrated")
    (found,) = measure(drawn("length", (2, 2), (25, 2)), frame(alone))
    assert (found.unit, "outside the ultrasound regions" in found.remark) == ("px", True)


@pytest.mark.reliability
def test_overlapping_regions_must_agree() -> None:
    bar = UltrasoundRegion((2, 2), (5, 9), ("", ""), (0.0, 0.0))
    box = replace(FIRST, first=(5, 5), last=(15, 15))
    line = drawn("length", (3, 3), (12, 12))
    (found,) = measure(line, frame(replace(ULTRASOUND, ultrasound_regions=(FIRST, bar))))
    assert (found.unit, "overlap" in found.remark) == ("px", True)
    (found,) = measure(line, frame(replace(ULTRASOUND, ultrasound_regions=(FIRST, box))))
    assert (found.unit, found.basis) == ("mm", "ultrasound region")


@pytest.mark.reliability
def test_time_and_velocity_have_components_and_no_hypotenuse() -> None:
    found = named(seen("length", (2, 38), (22, 33)))
    assert (found["horizontal"].value, found["horizontal"].unit) == (pytest.approx(0.1), "s")
    assert (found["vertical"].value, found["vertical"].unit) == (pytest.approx(10.0), "cm/s")
    depth = named(seen("length", (42, 2), (52, 12)))
    assert (depth["horizontal"].unit, depth["vertical"].unit) == ("s", "mm")
    assert depth["vertical"].value == pytest.approx(3.0)
    assert set(named(seen("length", (42, 22), (52, 28)))) == {"horizontal"}, "an axis without a unit tells nothing"
    for kind in ("angle", "cobb", "bidirectional", "cardiothoracic"):
        points = [(2.0, 32.0), (20.0, 38.0), (10.0, 32.0), (12.0, 38.0)][: KINDS[kind].most]  # type: ignore[index]
        with pytest.raises(UsageError, match="not both lengths"):
            seen(kind, *points)  # type: ignore[arg-type]
    area = seen("rectangle", (2, 32), (12, 37))[0]
    assert (area.value, area.unit, "not both lengths" in area.remark) == (50.0, "px2", True)


def _region(x0: int, y0: int, x1: int, y1: int, **changes: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    known = {
        "RegionSpatialFormat": 1, "RegionDataType": 1, "RegionFlags": 0, "RegionLocationMinX0": x0,
        "RegionLocationMinY0": y0, "RegionLocationMaxX1": x1, "RegionLocationMaxY1": y1, "ReferencePixelX0": -3,
        "ReferencePixelY0": 4, "PhysicalUnitsXDirection": 3, "PhysicalUnitsYDirection": 7,
        "ReferencePixelPhysicalValueX": 1.5, "ReferencePixelPhysicalValueY": -2.5, "PhysicalDeltaX": 0.25,
        "PhysicalDeltaY": -0.5,
    }  # fmt: skip
    for keyword, value in {**known, **changes}.items():
        setattr(item, keyword, value)
    return item


def test_regions_are_read_from_the_file(tmp_path: Path) -> None:
    regions = [_region(1, 2, 5, 6), _region(5, 2, 1, 6), _region(0, 0, 7, 7, PhysicalUnitsXDirection=99)]
    dataset = make_dataset(Modality="US", SequenceOfUltrasoundRegions=regions)
    path = write_dataset(tmp_path / "us.dcm", dataset)
    first, other = describe_images(read_header(path), path)[0].description.ultrasound_regions
    assert first == UltrasoundRegion((1, 2), (5, 6), ("cm", "cm/s"), (0.25, -0.5), (-3, 4), (1.5, -2.5))
    assert other.units == ("", "cm/s")


def test_a_real_ultrasound_is_measured_in_its_regions() -> None:
    corpus = samples.corpus()
    if corpus is None:
        pytest.skip("no corpus: set MEDVIEWER_CORPUS")
    path = corpus / "pydicom_data" / "gdcm-US-ALOKA-16.dcm"
    description = describe_images(read_header(path), path)[0].description
    pixels = frame(description, np.zeros((480, 640), np.uint8))
    (inside,) = measure(drawn("length", (100, 200), (200, 200)), pixels)
    assert (inside.value, inside.unit) == (pytest.approx(100 * 0.03826530650258064 * 10), "mm")
    (across,) = measure(drawn("length", (100, 200), (400, 200)), pixels)
    assert across.unit == "px"
    (bar,) = measure(drawn("length", (40, 50), (60, 90)), pixels)
    assert bar.unit == "px", "the grey bar lies on the picture"


def test_the_aspect_ratio_is_read_where_it_makes_sense(tmp_path: Path) -> None:
    for value, expected in (
        (["4", "3"], 4 / 3),
        (["0", "1"], None),
        (["1", "0"], None),
        (["-1", "1"], None),
        (["1", "1000"], None),
    ):
        path = write_dataset(tmp_path / "x.dcm", make_dataset(PixelAspectRatio=value))
        assert describe_images(read_header(path), path)[0].description.pixel_aspect_ratio == expected


# --- between slices --------------------------------------------------------------------------------------------


def test_the_distance_of_two_voxels_follows_an_oblique_stack() -> None:
    turn = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.7, 0.5, 3.0])
    assert distance_mm(affine, (0, 0, 0), (10, 0, 0)) == pytest.approx(7.0)
    assert distance_mm(affine, (1, 1, 1), (1, 1, 3)) == pytest.approx(6.0)
    assert distance_mm(affine, (0, 0, 0), (3, 4, 5)) == pytest.approx(math.sqrt(2.1**2 + 2**2 + 15**2))


def test_a_distance_without_a_place_or_a_number_is_refused() -> None:
    with pytest.raises(GeometryError, match="not known"):
        distance_mm(None, (0, 0, 0), (1, 1, 1))
    with pytest.raises(GeometryError, match="finite"):
        distance_mm(np.eye(4), (0, 0, math.nan), (1, 1, 1))

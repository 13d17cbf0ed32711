"""Slices lie where an independent reader says, and what is odd about them is said."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name
from hypothesis import given
from hypothesis import strategies as st

from medviewer.domain.errors import GeometryError
from medviewer.domain.study import Image, PixelDescription, Plane, Stack
from medviewer.imaging import decode
from medviewer.imaging.geometry import order_stack
from medviewer.imaging.scan import scan
from medviewer.imaging.volume import read_volume
from tests.dicom_maker import make_dataset, write_dataset


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    """A proper rotation by three angles in radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        c, s = np.cos(angle), np.sin(angle)
        turn = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turn[i, i], turn[j, j], turn[i, j], turn[j, i] = c, c, -s, s
        matrix = matrix @ turn
    return matrix


def image_at(position: np.ndarray, axes: np.ndarray | None = None, number: int | None = None) -> Image:
    frame = np.eye(3) if axes is None else axes
    plane = Plane(tuple(position.tolist()), tuple(frame[:, 0].tolist()), tuple(frame[:, 1].tolist()))
    description = PixelDescription("CT", 4, 6, plane=plane, pixel_spacing_mm=(0.7, 0.5))
    return Image(Path(f"{number}.dcm"), 0, f"2.25.{number}", description, instance_number=number)


def stack_at(heights: list[float], **options: object) -> Stack:
    return order_stack([image_at(np.array([0.0, 0.0, height]), number=index) for index, height in enumerate(heights)])


def codes(stack: Stack) -> list[str]:
    return [warning.code for warning in stack.warnings]


def test_a_series_lies_where_simpleitk_says(tmp_path: Path) -> None:
    axes = rotation((0.3, -0.2, 0.5))
    order = list(range(12))
    random.Random(3).shuffle(order)  # noqa: S311 - any shuffle will do
    paths = []
    for file_number, index in enumerate(order):
        position = np.array([-50.0, 20.0, 7.0]) + 2.5 * index * axes[:, 2]
        dataset = make_dataset(
            np.full((5, 7), index, np.int16),
            ImagePositionPatient=[f"{value:.9f}" for value in position],
            ImageOrientationPatient=[f"{value:.9f}" for value in (*axes[:, 0], *axes[:, 1])],
            PixelSpacing=["0.7", "0.5"],
            SliceThickness="9",  # a lie that must not matter
            InstanceNumber=100 - index,  # and another
            SOPInstanceUID=f"2.25.1{index:02d}",
        )
        paths.append(write_dataset(tmp_path / f"{file_number}.dcm", dataset))
    (stack,) = scan([tmp_path]).patients[0].studies[0].series[0].stacks
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(image.path) for image in stack.images])
    volume = reader.Execute()
    direction = np.array(volume.GetDirection()).reshape(3, 3)
    expected = np.eye(4)
    expected[:3, :3] = direction * np.array(volume.GetSpacing())
    expected[:3, 3] = volume.GetOrigin()
    assert stack.order == "position"
    assert stack.warnings == ()
    assert stack.affine is not None
    np.testing.assert_allclose(stack.affine, expected, atol=1e-5)
    np.testing.assert_allclose([value or 0 for value in stack.spacing_mm], volume.GetSpacing(), atol=1e-6)
    ours = np.stack([decode.read_frame(image).stored for image in stack.images])
    np.testing.assert_array_equal(ours, sitk.GetArrayFromImage(volume))
    np.testing.assert_array_equal(ours[:, 0, 0], range(12))


@given(
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.floats(0.2, 20),
    st.integers(2, 40),
    st.randoms(use_true_random=False),
)
def test_any_even_stack_is_ordered_and_placed(
    angles: tuple[float, float, float], spacing: float, count: int, random_: random.Random
) -> None:
    axes = rotation(angles)
    images = [
        image_at(np.array([5.0, -6.0, 7.0]) + index * spacing * axes[:, 2], axes, index) for index in range(count)
    ]
    shuffled = images[:]
    random_.shuffle(shuffled)
    stack = order_stack(shuffled)
    assert [image.instance_number for image in stack.images] == list(range(count))
    assert stack.warnings == ()
    assert stack.affine is not None
    for index, image in enumerate(stack.images):
        assert image.description.plane is not None
        np.testing.assert_allclose((stack.affine @ [0, 0, index, 1])[:3], image.description.plane.position, atol=1e-6)
    # Column 3, row 2: columns run along the first cosine at the second spacing value.
    expected = stack.affine[:3, 3] + 3 * 0.5 * axes[:, 0] + 2 * 0.7 * axes[:, 1]
    np.testing.assert_allclose((stack.affine @ [3, 2, 0, 1])[:3], expected, atol=1e-9)


def test_missing_slices_are_counted_and_not_placed() -> None:
    stack = stack_at([0, 2, 4, 10, 12])
    assert codes(stack) == ["slices.missing"]
    assert "2 slices" in stack.warnings[0].text
    assert stack.affine is None
    assert stack.spacing_mm[2] == pytest.approx(2)


def test_uneven_distances_are_said_and_not_placed() -> None:
    stack = stack_at([0, 2, 4, 7.1, 9])
    assert codes(stack) == ["slices.irregular"]
    assert stack.affine is None


def test_a_small_unevenness_is_said_but_placed() -> None:
    stack = stack_at([0, 2, 4.05, 6, 8])
    assert codes(stack) == ["slices.irregular"]
    assert stack.affine is not None


def test_images_at_one_place_are_said_and_not_placed() -> None:
    stack = stack_at([0, 2, 2, 4])
    assert codes(stack) == ["slices.duplicate"]
    assert stack.affine is None
    assert [image.instance_number for image in stack.images] == [0, 1, 2, 3]


def test_gantry_tilt_is_said_and_the_affine_leans_with_it() -> None:
    images = [image_at(np.array([0.0, 0.5 * index, 2.0 * index]), number=index) for index in range(5)]
    stack = order_stack(images)
    assert codes(stack) == ["slices.tilt"]
    assert "14.0 degrees" in stack.warnings[0].text
    assert stack.affine is not None
    np.testing.assert_allclose(stack.affine[:3, 2], [0, 0.5, 2.0])
    assert stack.spacing_mm[2] == pytest.approx(2.0)


def turned_stack(degrees: float, step_mm: float, *, around_middle: bool = False) -> Stack:
    """Two slices of 512 x 512 pixels of half a millimetre, the second turned about the columns."""
    side, pixel = 512, 0.5
    images = []
    for number, angle in enumerate((0.0, np.radians(degrees))):
        row = np.array([np.cos(angle), 0.0, np.sin(angle)])
        position = np.array([0.0, 0.0, number * step_mm])
        if around_middle:
            position += (np.array([1.0, 0.0, 0.0]) - row) * (side - 1) * pixel / 2
        plane = Plane(tuple(position.tolist()), tuple(row.tolist()), (0.0, 1.0, 0.0))
        description = PixelDescription("MR", side, side, plane=plane, pixel_spacing_mm=(pixel, pixel))
        images.append(Image(Path(f"{number}.dcm"), 0, f"2.25.{number}", description, instance_number=number))
    return order_stack(images)


def test_slices_that_are_turned_a_little_are_told_with_how_far_places_may_be_off() -> None:
    """Half a degree at 255.5 mm from the first pixel is 2.2 mm: a lesion would be measured there in another place."""
    stack = turned_stack(0.5, 5.0)
    assert codes(stack) == ["slices.turned"]
    assert "0.50 degrees" in stack.warnings[0].text
    assert "2.2 mm" in stack.warnings[0].text
    assert stack.affine is None, "it would not put every slice in its place"


@pytest.mark.parametrize("rounding_degrees", [0.0, 1e-5, 0.01])
def test_rounded_cosines_say_nothing(rounding_degrees: float) -> None:
    stack = turned_stack(rounding_degrees, 5.0)
    assert codes(stack) == []
    assert stack.affine is not None


def test_slices_around_an_axis_cross_and_make_no_volume() -> None:
    """A radial acquisition: one place in the middle, the corners of the slices apart on both sides of it."""
    stack = turned_stack(0.5, 0.0, around_middle=True)
    assert codes(stack) == ["slices.crossing"]
    assert stack.affine is None
    assert stack.spacing_mm[2] is None, "they lie at no distance from each other"
    with pytest.raises(GeometryError, match="cross each other"):
        read_volume(stack)


def plain_image(name: str, number: int | None, time: str = "") -> Image:
    return Image(Path(name), 0, name, PixelDescription("CR", 4, 4), instance_number=number, acquisition_time=time)


def test_without_positions_numbers_decide_then_times_then_names() -> None:
    images = [plain_image("a", 2, "110000"), plain_image("b", 1, "120000")]
    by_number = order_stack(images)
    assert (by_number.order, [image.path.name for image in by_number.images]) == ("instance number", ["b", "a"])
    by_time = order_stack([replace(image, instance_number=None) for image in reversed(images)])
    assert (by_time.order, [image.path.name for image in by_time.images]) == ("acquisition time", ["a", "b"])
    by_name = order_stack([plain_image("b", None), plain_image("a", None)])
    assert (by_name.order, [image.path.name for image in by_name.images]) == ("file name", ["a", "b"])
    assert by_name.affine is None


def test_one_slice_has_no_slice_spacing() -> None:
    stack = order_stack([image_at(np.array([1.0, 2.0, 3.0]))])
    assert stack.order == "single"
    assert stack.spacing_mm == (0.5, 0.7, None)
    assert stack.affine is not None
    np.testing.assert_allclose(stack.affine[:3, 3], [1, 2, 3])

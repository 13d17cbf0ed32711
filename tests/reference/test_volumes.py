"""NIfTI and NRRD as SimpleITK writes and reads them: the same voxels in the same place, to the sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the alias of its own documentation

from medviewer.domain.study import Stack
from medviewer.imaging.decode import read_frame
from medviewer.imaging.display import modality_values
from medviewer.imaging.scan import scan

DIRECTIONS = {
    "LPS": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "RAS": (-1, 0, 0, 0, -1, 0, 0, 0, 1),
    "sagittal": (0, 0, 1, 1, 0, 0, 0, -1, 0),
    "oblique": tuple(np.array([[0.8, -0.6, 0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]]).flatten().tolist()),
}
TYPES = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]


def make(direction: str, dtype: Any = np.int16, shape: tuple[int, ...] = (5, 4, 3)) -> sitk.Image:
    values = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    image = sitk.GetImageFromArray(values, isVector=False)
    if len(shape) == 3:
        image.SetDirection(DIRECTIONS[direction])
        image.SetSpacing((0.5, 0.75, 2.0))
        image.SetOrigin((-10.0, 20.0, 30.5))
    return image


def stacks(path: Path) -> tuple[Stack, ...]:
    collection = scan([path])
    assert collection.problems == ()
    (patient,) = collection.patients
    return patient.studies[0].series[0].stacks


def check_against(path: Path) -> None:
    """Each voxel's value and place, as SimpleITK gives them."""
    reference = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(reference)
    (stack,) = stacks(path)
    assert stack.affine is not None
    for place, image in enumerate(stack.images):
        frame = read_frame(image)
        np.testing.assert_array_equal(modality_values(frame), values[image.frame].astype(np.float32))
        assert frame.stored.dtype == values.dtype
        for column, row in ((0, 0), (2, 1), (1, 3)):
            ours = stack.affine @ [column, row, place, 1]
            theirs = reference.TransformIndexToPhysicalPoint((column, row, image.frame))
            np.testing.assert_allclose(ours[:3], theirs, atol=1e-4)
    np.testing.assert_allclose(stack.spacing_mm, reference.GetSpacing(), rtol=1e-5)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("direction", list(DIRECTIONS))
def test_every_voxel_is_where_simpleitk_puts_it(ending: str, direction: str, tmp_path: Path) -> None:
    path = tmp_path / f"v{ending}"
    sitk.WriteImage(make(direction), str(path), useCompression=ending != ".nii")
    check_against(path) if ending != ".nhdr" else check_detached(path)


def check_detached(path: Path) -> None:
    collection = scan([path.parent])
    assert [problem.path.suffix for problem in collection.problems] == [".gz"]  # the voxels, named by themselves
    check_against(path)


@pytest.mark.parametrize("ending", [".nii", ".nrrd"])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_is_read_as_it_is(ending: str, dtype: Any, tmp_path: Path) -> None:
    path = tmp_path / f"v{ending}"
    sitk.WriteImage(make("oblique", dtype), str(path))
    check_against(path)


def test_each_time_is_a_stack_of_its_own(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 100, (2, 5, 4, 3)).astype(np.int16)
    image = sitk.JoinSeries([sitk.GetImageFromArray(volume) for volume in values])
    sitk.WriteImage(image, str(tmp_path / "v.nii"))
    found = stacks(tmp_path / "v.nii")
    assert [len(stack.images) for stack in found] == [5, 5]
    for stack, volume in zip(found, values, strict=True):
        for image_ in stack.images:
            np.testing.assert_array_equal(read_frame(image_).stored, volume[image_.frame % 5])


def test_a_rescaled_volume_keeps_its_stored_values(tmp_path: Path) -> None:
    import struct

    path = tmp_path / "v.nii"
    sitk.WriteImage(make("RAS"), str(path))
    data = bytearray(path.read_bytes())
    struct.pack_into("<ff", data, 112, 2.5, -1000.0)
    path.write_bytes(data)
    reference = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    for image in stacks(path)[0].images:
        frame = read_frame(image)
        assert frame.stored.dtype == np.int16
        np.testing.assert_allclose(modality_values(frame), reference[image.frame], rtol=1e-6)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1)])
def test_the_place_comes_from_either_form(codes: tuple[int, int], tmp_path: Path) -> None:
    import struct

    path = tmp_path / "v.nii"
    sitk.WriteImage(make("oblique"), str(path))
    data = bytearray(path.read_bytes())
    struct.pack_into("<hh", data, 252, *codes)
    path.write_bytes(data)
    check_against(path)


def test_colours(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 255, (5, 4, 3, 3)).astype(np.uint8)
    image = sitk.GetImageFromArray(values, isVector=True)
    for ending in (".nii", ".nrrd"):
        sitk.WriteImage(image, str(tmp_path / f"v{ending}"))
        collection = scan([tmp_path / f"v{ending}"])
        if collection.problems:  # written as a vector of three, which is not shown
            assert "not supported" in collection.problems[0].reason
            continue
        for one in stacks(tmp_path / f"v{ending}")[0].images:
            np.testing.assert_array_equal(read_frame(one).stored, values[one.frame])

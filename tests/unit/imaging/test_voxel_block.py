"""Volumes made ready for a 3D view: values and places kept, uneven stacks refused, large ones averaged and said so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.errors import GeometryError, InputError, TooLargeError
from medviewer.domain.study import PixelDescription, Plane
from medviewer.domain.volume import Volume
from medviewer.imaging.scan import scan
from medviewer.imaging.voxel_block import VoxelBlock, check_stack, make_block, slices_of
from tests.dicom_maker import make_dataset, write_dataset


def make_volume(stored: np.ndarray, step: Any = (0, 0, 2.0), along: Any = None, **changes: Any) -> Volume:
    steps = np.arange(len(stored)) if along is None else np.array(along)
    positions = np.array([-10.0, 20.0, 30.0]) + steps[:, None] * np.array(step)
    description = PixelDescription(
        "CT", *stored.shape[1:], is_signed=stored.dtype.kind == "i", rescale_type="HU", pixel_spacing_mm=(0.8, 0.6),
        plane=Plane(tuple(positions[0]), (1, 0, 0), (0, 1, 0)),
    )  # fmt: skip
    return Volume(stored, positions, replace(description, **changes))


def noise(shape: tuple[int, int, int] = (5, 6, 7), dtype: Any = np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000 if np.dtype(dtype).kind == "i" else 0, 2000, shape).astype(dtype)


def codes_of(volume: Volume, block: VoxelBlock) -> np.ndarray:
    return np.stack(list(slices_of(volume, block)))


def test_hounsfield_units_come_back_exactly() -> None:
    stored = noise(dtype=np.uint16)
    volume = make_volume(stored, rescale_intercept=-1024.0)
    block = make_block(volume)
    assert (block.unit, block.percentiles) == ("HU", None)
    np.testing.assert_array_equal(block.values()[codes_of(volume, block)], stored.astype(float) - 1024)


def test_other_values_come_back_to_a_sixty_thousandth_of_their_range() -> None:
    stored = np.random.default_rng(1).normal(size=(5, 6, 7)).astype(np.float32) * 1e-3
    volume = make_volume(stored, rescale_type="", modality="MR")
    block = make_block(volume)
    found = block.values()[codes_of(volume, block)]
    assert np.abs(found - stored).max() <= np.ptp(stored) / 60000
    assert block.percentiles is not None
    assert block.percentiles[50.0] == pytest.approx(np.percentile(stored, 50), rel=1e-5)


def test_padding_and_what_is_no_number_are_nothing() -> None:
    stored = noise()
    stored[1, 2, 3] = -2000
    volume = make_volume(stored, pixel_padding_range=(-2000, -2000))
    codes = codes_of(volume, make_block(volume))
    assert np.argwhere(codes == 0).tolist() == [[1, 2, 3]]
    holed = stored.astype(np.float32)
    holed[0, 0, 0] = np.nan
    volume = make_volume(holed)
    assert np.argwhere(codes_of(volume, make_block(volume)) == 0).tolist() == [[0, 0, 0]]
    with pytest.raises(InputError, match="no values"):
        make_block(make_volume(np.full((3, 4, 5), np.nan, np.float32)))


def test_the_affine_is_that_of_a_leaning_stack() -> None:
    volume = make_volume(noise(), step=(0.0, 0.5, 2.0))
    block = make_block(volume)
    place = block.to_patient @ [3, 2, 4, 1]
    np.testing.assert_allclose(place[:3], [-10 + 3 * 0.6, 20 + 2 * 0.8 + 4 * 0.5, 30 + 4 * 2.0])
    np.testing.assert_allclose(block.corners[-1], (block.to_patient @ [6, 5, 4, 1])[:3])


@pytest.mark.parametrize("along", [[0, 1, 2, 4, 5], [0, 1, 2.2, 3, 4], [0, 0.5, 2, 3, 4]])
def test_uneven_slices_and_gaps_are_refused_in_one_sentence(along: list[float]) -> None:
    with pytest.raises(GeometryError, match=r"even distances.*MPR"):
        make_block(make_volume(noise(), along=along))


def test_positions_rounded_by_the_scanner_are_even() -> None:
    assert make_block(make_volume(noise(), along=[0, 1.04, 1.97, 3.02, 4])).shape == (5, 6, 7)


def test_a_slice_shifted_sideways_is_refused() -> None:
    volume = make_volume(noise())
    positions = volume.positions.copy()
    positions[2, 0] += 3
    with pytest.raises(GeometryError):
        make_block(replace(volume, positions=positions))


def test_what_is_too_large_is_averaged_where_it_lies_and_it_is_said() -> None:
    stored = noise((5, 8, 12))
    volume = make_volume(stored)
    block = make_block(volume, max_voxels=130)
    assert block.shrunk == (1, 2, 2)
    assert block.shape == (5, 4, 6)
    means = stored.reshape(5, 4, 2, 6, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(block.values()[codes_of(volume, block)], means, atol=0.5)
    np.testing.assert_allclose((block.to_patient @ [0, 0, 0, 1])[:3], [-10 + 0.3, 20 + 0.4, 30])  # amid the four
    np.testing.assert_allclose((block.to_patient @ [1, 1, 1, 1])[:3], [-10 + 0.3 + 1.2, 20 + 0.4 + 1.6, 32])
    assert [caveat.text for caveat in block.caveats] == [
        "The series is large: 2 x 2 x 1 voxels are averaged into one for the 3D view."
    ]
    assert not make_block(volume).caveats


def test_means_leave_out_padding_and_lose_no_border() -> None:
    stored = np.full((2, 5, 5), 100, np.int16)
    stored[0, 0, 0] = -2000
    volume = make_volume(stored, pixel_padding_range=(-2000, -2000), rescale_intercept=0.0)
    block = make_block(volume, max_voxels=20)
    assert block.shape[1:] == (3, 3)
    np.testing.assert_array_equal(block.values()[codes_of(volume, block)], 100)
    with pytest.raises(TooLargeError):
        make_block(volume, max_voxels=0)


def stack_of(folder: Path, **attributes: Any) -> Any:
    folder.mkdir()
    for z in range(3):
        given = {
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, z], "PixelSpacing": [1, 1],
            "InstanceNumber": z + 1,
        } | attributes  # fmt: skip
        kept = {name: value for name, value in given.items() if value is not None}
        write_dataset(folder / f"{z}.dcm", make_dataset(np.full((4, 4), z, np.int16), **kept))
    (stack,) = scan([folder]).patients[0].studies[0].series[0].stacks
    return stack


def test_no_3d_view_without_places_or_of_colours(tmp_path: Path) -> None:
    check_stack(stack_of(tmp_path / "a"))
    with pytest.raises(GeometryError, match="where each slice lies"):
        check_stack(stack_of(tmp_path / "b", ImagePositionPatient=None, ImageOrientationPatient=None))
    with pytest.raises(GeometryError, match="where each slice lies"):
        check_stack(stack_of(tmp_path / "c", PixelSpacing=None))
    stack = stack_of(tmp_path / "d")
    first = stack.images[0]
    colour = replace(first, description=replace(first.description, photometric_interpretation="RGB"))
    with pytest.raises(InputError, match="greyscale"):
        check_stack(replace(stack, images=(colour, *stack.images[1:])))

"""A stack's files become one volume: every slice at its place, values as stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from medviewer.domain.errors import GeometryError, InputError, Stopped
from medviewer.domain.measurement import new_measurement
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Plane, Stack, Window
from medviewer.imaging.display import to_modality, window_ends
from medviewer.imaging.layout import open_layout
from medviewer.imaging.measuring import measure
from medviewer.imaging.native import read_raw
from medviewer.imaging.reslice import PlaneGrid, reslice, standard_grid
from medviewer.imaging.scalar_layer import read_scalar_layer
from medviewer.imaging.scan import scan
from medviewer.imaging.units import value_unit
from medviewer.imaging.volume import read_volume
from medviewer.imaging.voxel_block import make_block, slices_of
from tests.dicom_maker import make_dataset, write_dataset
from tests.layer_objects import write_pet

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
AXIAL = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.8, 0.6]}


def write_stack(folder: Path, positions: list[float], changes: list[dict[str, Any]] | None = None) -> np.ndarray:
    """Slices of noise, written in another order than they lie in; (slices, rows, columns) as they lie."""
    pixels = np.random.default_rng(0).integers(-1000, 2000, (len(positions), 5, 7)).astype(np.int16)
    for index, z in enumerate(positions):
        own = (changes or [{}] * len(positions))[index]
        attributes = {**AXIAL, "ImagePositionPatient": [1, 2, z], "InstanceNumber": index + 1, **own}
        given = {name: value for name, value in attributes.items() if value is not None}
        write_dataset(folder / f"{(index * 7) % 10}{index}.dcm", make_dataset(pixels[index], **given))
    return pixels


def stack_in(folder: Path) -> Stack:
    (stack,) = scan([folder]).patients[0].studies[0].series[0].stacks
    return stack


def test_slices_lie_in_order_of_position_as_stored(tmp_path: Path) -> None:
    pixels = write_stack(tmp_path, [10.0, 4.0, 6.5, 2.0])
    steps: list[tuple[int, int, str]] = []
    volume = read_volume(stack_in(tmp_path), progress=lambda *step: steps.append(step))
    np.testing.assert_array_equal(volume.stored, pixels[[3, 1, 2, 0]])
    assert volume.stored.dtype == np.int16
    assert not volume.stored.flags.writeable
    np.testing.assert_array_equal(volume.positions, [[1, 2, z] for z in (2, 4, 6.5, 10)])
    assert volume.spacing_mm == (0.8, 0.6)
    assert volume.slice_spacing_mm == 2.5
    assert "slices.irregular" in [caveat.code for caveat in volume.caveats]
    assert max(steps)[:2] == (4, 4)


def test_slices_that_are_scaled_differently_become_modality_values(tmp_path: Path) -> None:
    """As in PET: the same stored value means another activity in the next slice."""
    scales = [{"RescaleSlope": slope, "RescaleIntercept": -slope} for slope in (1, 2, 3)]
    pixels = write_stack(tmp_path, [0.0, 1.0, 2.0], scales)
    volume = read_volume(stack_in(tmp_path))
    expected = pixels * np.array([1, 2, 3])[:, None, None] - np.array([1, 2, 3])[:, None, None]
    np.testing.assert_array_equal(volume.stored, expected)
    assert (volume.description.rescale_slope, volume.description.rescale_intercept) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "unit"),
    [
        ([{"RescaleIntercept": -1024}, {"RescaleIntercept": -1000}], "HU"),
        ([{"RescaleType": "HU"}, {"RescaleType": "HU", "RescaleSlope": 2}], "HU"),
        ([{"RescaleType": "HU"}, {"RescaleType": "OD", "RescaleSlope": 2}], ""),
        ([{"Modality": "MR"}, {"Modality": "MR", "RescaleSlope": 2}], ""),
    ],
)
def test_slices_in_hounsfield_units_stay_so_when_they_are_scaled_differently(
    tmp_path: Path, changes: list[dict[str, Any]], unit: str
) -> None:
    common = {
        "SOPClassUID": CT_STORAGE,
        "Modality": "CT",
        "PixelRepresentation": 0,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
    }
    for index, own in enumerate(changes):
        attributes = {**AXIAL, **common, "ImagePositionPatient": [1, 2, index], "InstanceNumber": index + 1, **own}
        write_dataset(tmp_path / f"{index}.dcm", make_dataset(np.full((5, 7), 1000, np.uint16), **attributes))
    volume = read_volume(stack_in(tmp_path))
    assert volume.stored.dtype == np.float32
    assert value_unit(volume.description) == unit


@pytest.mark.reliability
@pytest.mark.parametrize("own", [[{"RescaleSlope": slope} for slope in (1, 2, 3)], [{}, {"PixelPaddingValue": -1999}]])
def test_padding_of_slices_that_are_scaled_differently_is_nothing(own: list[dict[str, Any]], tmp_path: Path) -> None:
    """Rescaled, the padding of each slice is another value, which no padding value of the volume can name."""
    for index, scaling in enumerate(own):
        pixels = np.full((8, 8), 100, np.int16)
        pixels[:, :4] = -1999 if "PixelPaddingValue" in scaling else -2000
        given = {**AXIAL, "FrameOfReferenceUID": "1.2.9", "ImagePositionPatient": [0, 0, index]}
        given |= {"PixelPaddingValue": -2000, "RescaleIntercept": 0}
        write_dataset(tmp_path / f"{index}.dcm", make_dataset(pixels, **{"RescaleSlope": 1, **given, **scaling}))
    volume = read_volume(stack_in(tmp_path))
    slopes = [scaling.get("RescaleSlope", 1) for scaling in own]
    assert np.isnan(volume.stored[:, :, :4]).all()
    assert [float(values.max()) for values in volume.stored[:, :, 4:]] == [100 * slope for slope in slopes]

    (window,) = volume.description.windows
    assert window_ends(window)[0] >= 50, "padding has no share in the window"
    for slab_mm in (0.0, 2.0):
        plane = reslice(volume, standard_grid(volume, "coronal", 2.0), slab_mm=slab_mm)
        rows, columns = plane.stored.shape
        whole = new_measurement("rectangle", [(0, 0), (columns, rows)], ("1.2.3", 0))
        found = {one.name: one for one in measure(whole, plane)}
        assert found["minimum"].value >= 100
        assert found["mean"].value == pytest.approx(100 * np.mean(slopes), rel=0.2)
        assert "padding" in found["pixels"].remark
    block = make_block(volume)
    codes = np.stack(list(slices_of(volume, block)))
    assert (codes[:, :, :4] == 0).all()
    assert (codes[:, :, 4:] > 0).all()
    assert block.offset == 100
    layer = read_scalar_layer(stack_in(tmp_path))
    assert np.isnan(layer.volume.stored[:, :, :4]).all()
    assert layer.range[0] >= 50


def test_slices_with_different_factors_have_no_suv(tmp_path: Path) -> None:
    """Each slice by itself has one; of a plane through them all there is no single one."""
    paths = write_pet(tmp_path, lambda points: np.full(points.shape[:-1], 5000.0), slices=5)
    factor = stack_in(tmp_path).images[0].description.suv_factor
    assert factor is not None
    assert read_volume(stack_in(tmp_path)).description.suv_factor == factor
    dataset = pydicom.dcmread(paths[3])
    dataset.PatientWeight = "90"
    dataset.save_as(paths[3])
    description = read_volume(stack_in(tmp_path)).description
    assert description.suv_factor is None
    assert "different factors" in description.no_suv_because


def test_of_two_slices_at_one_place_the_first_counts_and_it_is_said(tmp_path: Path) -> None:
    pixels = write_stack(tmp_path, [0.0, 1.0, 1.0, 2.0])
    volume = read_volume(stack_in(tmp_path))
    np.testing.assert_array_equal(volume.stored, pixels[[0, 1, 3]])
    assert "slices.left-out" in [caveat.code for caveat in volume.caveats]


@pytest.mark.parametrize(
    "change", [{"PixelSpacing": None}, {"ImagePositionPatient": None, "ImageOrientationPatient": None}]
)
def test_without_a_place_in_the_patient_there_is_no_volume(tmp_path: Path, change: dict[str, Any]) -> None:
    write_stack(tmp_path, [0.0, 1.0, 2.0], [change] * 3)
    with pytest.raises(GeometryError, match="do not say where"):
        read_volume(stack_in(tmp_path))


def test_slices_at_one_place_are_no_volume(tmp_path: Path) -> None:
    write_stack(tmp_path, [1.0, 1.0])
    with pytest.raises(GeometryError, match="at one place"):
        read_volume(stack_in(tmp_path))


def test_slices_stored_in_different_ways_are_no_volume(tmp_path: Path) -> None:
    write_stack(tmp_path, [0.0, 1.0])
    write_dataset(
        tmp_path / "u.dcm", make_dataset(np.zeros((5, 7), np.uint16), **AXIAL, ImagePositionPatient=[1, 2, 2])
    )
    with pytest.raises(InputError, match="in different ways"):
        read_volume(stack_in(tmp_path))


def test_colour_is_no_volume(tmp_path: Path) -> None:
    for z in range(2):
        dataset = make_dataset(np.zeros((4, 4, 3), np.uint8), **AXIAL, ImagePositionPatient=[0, 0, z])
        write_dataset(tmp_path / f"{z}.dcm", dataset)
    with pytest.raises(InputError, match="Colour"):
        read_volume(stack_in(tmp_path))


def test_a_missing_file_is_an_error_and_a_stop_stops(tmp_path: Path) -> None:
    write_stack(tmp_path, [0.0, 1.0, 2.0])
    stack = stack_in(tmp_path)
    stop = StopToken()
    stop.stop()
    with pytest.raises(Stopped):
        read_volume(stack, stop=stop)
    stack.images[1].path.unlink()
    with pytest.raises(InputError):
        read_volume(stack)


def test_a_window_that_all_slices_share_is_the_volumes(tmp_path: Path) -> None:
    write_stack(tmp_path, [0.0, 1.0, 2.0], [{"WindowCenter": 40, "WindowWidth": 400}] * 3)
    assert read_volume(stack_in(tmp_path)).description.windows == (Window(40, 400),)


@pytest.mark.parametrize("windows", [[(11, 22), (300, 600), (200, 500)], [None, None, None]])
def test_without_one_the_whole_volume_decides(tmp_path: Path, windows: list[tuple[int, int] | None]) -> None:
    """The first slice of an MR series is often air: its window would show all else white."""
    changes = [{} if one is None else {"WindowCenter": one[0], "WindowWidth": one[1]} for one in windows]
    pixels = write_stack(tmp_path, [0.0, 1.0, 2.0], changes)
    (window,) = read_volume(stack_in(tmp_path)).description.windows
    assert window.center == pytest.approx((pixels.min() + pixels.max()) / 2, abs=20)
    assert window.width == pytest.approx(np.ptp(pixels), abs=40)


@pytest.mark.parametrize(
    "changes",
    [
        [{}] * 3,
        [{"PixelPaddingValue": -2000}] * 3,
        [{"BitsStored": 12, "HighBit": 11}] * 3,
        [{"RescaleSlope": slope} for slope in (1, 2, 3)],
    ],
    ids=["all bits used", "padding of its own", "bits to spare", "scaled one by one"],
)
def test_rows_that_a_file_does_not_hold_are_no_tissue(tmp_path: Path, changes: list[dict[str, Any]]) -> None:
    """On a cut plane there is nothing where they would lie, and the values around them are as they were."""
    written = write_stack(tmp_path, [0.0, 1.0, 2.0], changes)
    cut = tmp_path / "71.dcm"
    cut.write_bytes(cut.read_bytes()[: -2 * written.shape[2] * 2])
    volume = read_volume(stack_in(tmp_path))
    assert "truncated.rows" in [caveat.code for caveat in volume.caveats]
    grid = PlaneGrid(Plane((1, 2, 2), (0, 1, 0), (0, 0, -1)), (1.0, volume.spacing_mm[0]), (3, 5))
    frame = reslice(volume, grid)
    values = to_modality(frame.stored.astype(float), frame.description)
    padding = frame.description.pixel_padding_range
    if padding is not None:
        values[(frame.stored >= padding[0]) & (frame.stored <= padding[1])] = np.nan
    expected = written[::-1, :, 0].astype(float)
    if changes[0].get("BitsStored"):
        expected = ((expected.astype(np.int16) << 4) >> 4).astype(float)
    expected *= np.array([[float(one.get("RescaleSlope", 1))] for one in reversed(changes)])
    expected[1, 3:] = np.nan
    np.testing.assert_allclose(values, expected)


def test_a_slice_that_ends_early_leaves_nothing_of_what_was_in_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_stack(tmp_path, [0.0, 1.0, 2.0], [{"PixelPaddingValue": -2000}] * 3)
    cut = tmp_path / "71.dcm"
    whole = cut.read_bytes()
    rows, columns = written.shape[1:]
    cut.write_bytes(whole[: -(rows // 2) * columns * 2])
    stack = stack_in(tmp_path)
    monkeypatch.setattr(np, "empty", lambda shape, dtype: np.full(shape, 77, dtype))
    volume = read_volume(stack)
    read = volume.stored[1]
    there = rows - rows // 2
    np.testing.assert_array_equal(read[:there], written[1][:there])
    assert (read[there:] == -2000).all()
    assert "truncated.rows" in [caveat.code for caveat in volume.caveats]


def test_bits_beyond_the_end_of_a_file_are_zero_where_overlays_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (written,) = write_stack(tmp_path, [0.0])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[: -written[2:].nbytes])
    monkeypatch.setattr(np, "empty", lambda shape, dtype: np.full(shape, 77, dtype))
    with path.open("rb") as file:
        layout, source = open_layout(path, file)
        raw = read_raw(source, layout.header, layout.format, 0)
    assert raw is not None
    np.testing.assert_array_equal(raw[:2], written[:2])
    assert not raw[2:].any()

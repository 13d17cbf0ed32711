"""PET, dose and maps lie where their files say, in the unit that they allow; compared with arithmetic and SimpleITK."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.data import get_testdata_file

from medviewer.domain.errors import GeometryError, InputError, TooLargeError, UnsupportedError
from medviewer.domain.study import Stack
from medviewer.imaging import scalar_layer as module
from medviewer.imaging.planes import to_image, to_patient
from medviewer.imaging.reslice import PlaneGrid, standard_grid
from medviewer.imaging.scalar_layer import lay_scalar, read_scalar_layer
from medviewer.imaging.scan import scan
from medviewer.imaging.volume import read_volume
from tests.layer_objects import (
    CT_FIRST,
    CT_SIZE,
    CT_SPACING,
    pet_attributes,
    voxels,
    write_ct,
    write_dose,
    write_map,
    write_pet,
)

HOT = np.array([30.0, -20.0, 10.0])  # left, front, head


def hot_spot(points: np.ndarray) -> np.ndarray:
    return np.asarray(500 + 40000 * np.exp(-((points - HOT) ** 2).sum(axis=-1) / (2 * 9.0**2)))


def only_stack(*paths: Path) -> Stack:
    collection = scan(paths)
    (series,) = collection.patients[0].studies[0].series
    (stack,) = series.stacks
    return stack


def ct_grids(folder: Path) -> list[PlaneGrid]:
    volume = read_volume(only_stack(folder))
    return [
        standard_grid(volume, name, float(HOT[axis])) for name, axis in (("axial", 2), ("coronal", 1), ("sagittal", 0))
    ]


def hottest(values: np.ndarray, grid: PlaneGrid) -> np.ndarray:
    """Where the highest value lies in the patient: the middle of all that is above nine tenths."""
    rows, columns = np.nonzero(values > 0.9 * np.nanmax(values))
    return to_patient(grid, float(columns.mean()) + 0.5, float(rows.mean()) + 0.5)


@pytest.mark.parametrize("turned", [False, True], ids=["axial", "coronal upside down"])
def test_a_hot_spot_lies_where_it_is_in_the_patient_on_every_plane(tmp_path: Path, turned: bool) -> None:
    write_ct(tmp_path / "ct")
    write_pet(tmp_path / "pt", hot_spot, turned=turned)
    layer = read_scalar_layer(only_stack(tmp_path / "pt"))
    for grid in ct_grids(tmp_path / "ct"):
        found = hottest(lay_scalar(layer, grid).values, grid)
        assert found == pytest.approx(HOT, abs=CT_SPACING / 2), grid


def test_values_between_voxels_are_simpleitks(tmp_path: Path) -> None:
    paths = write_pet(tmp_path / "pt", hot_spot, turned=True)
    layer = read_scalar_layer(only_stack(tmp_path / "pt"))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "pt")))
    image = SimpleITK.Cast(reader.Execute(), SimpleITK.sitkFloat64)
    write_ct(tmp_path / "ct")
    for grid in ct_grids(tmp_path / "ct"):
        wanted = SimpleITK.Image([grid.shape[1], grid.shape[0], 1], SimpleITK.sitkFloat64)
        wanted.SetOrigin(grid.plane.position)
        wanted.SetSpacing([grid.spacing_mm[1], grid.spacing_mm[0], 1.0])
        directions = np.stack([grid.plane.row_cosine, grid.plane.column_cosine, grid.plane.normal], axis=1)
        wanted.SetDirection(directions.ravel())
        expected = SimpleITK.GetArrayFromImage(
            SimpleITK.Resample(image, wanted, SimpleITK.Transform(), SimpleITK.sitkLinear, -1.0)
        )[0]
        values = lay_scalar(layer, grid).values
        inside = np.isfinite(values) & (expected >= 0)
        assert inside.sum() > 500
        scale = 80_000 / (4e8 * 2 ** (-3600 / 6000))  # the SUV by hand: grams over the activity when the scan began
        assert values[inside] == pytest.approx(expected[inside] * scale, rel=1e-4)
    assert len(paths) == 24


def test_outside_of_the_volume_there_is_nothing_and_not_zero(tmp_path: Path) -> None:
    write_pet(tmp_path / "pt", lambda points: np.full(points.shape[:-1], 1000.0), slices=6)
    layer = read_scalar_layer(only_stack(tmp_path / "pt"))
    write_ct(tmp_path / "ct")
    coronal = ct_grids(tmp_path / "ct")[1]
    values = lay_scalar(layer, coronal).values
    reach = 2.5 * 4.2  # from the middle of the first to that of the last of six slices
    for row in range(coronal.shape[0]):
        z = to_patient(coronal, 10.5, row + 0.5)[2]
        middle = values[row, coronal.shape[1] // 2]
        assert np.isfinite(middle) == (abs(z) <= reach), z
    assert np.nanmin(values) == pytest.approx(np.nanmax(values))


def test_padding_of_the_layer_is_nothing(tmp_path: Path) -> None:
    write_pet(tmp_path, lambda points: np.where(points[..., 0] < 0, 0.0, 5000.0), PixelPaddingValue=0)
    values = read_scalar_layer(only_stack(tmp_path)).volume.stored
    assert np.isnan(values).any()
    assert np.nanmin(values) > 0


def test_the_suv_is_the_one_calculated_by_hand(tmp_path: Path) -> None:
    """5000 Bq/ml everywhere: 5000 x 80 kg / (400 MBq x 2^(-1 h / 6000 s))."""
    write_pet(tmp_path, lambda points: np.full(points.shape[:-1], 5000.0))
    layer = read_scalar_layer(only_stack(tmp_path))
    assert (layer.name, layer.unit) == ("SUVbw", "g/ml")
    assert layer.volume.stored == pytest.approx(5000 * 80_000 / (4e8 * 2 ** (-0.6)), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "unit", "said"),
    [
        ({"PatientWeight": None}, "Bq/ml", "weight"),
        ({"Units": "CNTS"}, "{counts}", "counts"),
    ],
)
def test_without_what_an_suv_needs_values_stay_what_they_are(
    tmp_path: Path, changes: dict[str, Any], unit: str, said: str
) -> None:
    kept = {name: value for name, value in changes.items() if value is not None}
    paths = write_pet(tmp_path, lambda points: np.full(points.shape[:-1], 5000.0), **kept)
    if None in changes.values():
        for path in paths:
            dataset = pydicom.dcmread(path)
            del dataset.PatientWeight
            dataset.save_as(path)
    layer = read_scalar_layer(only_stack(tmp_path))
    assert layer.name == ""
    assert layer.unit == unit
    assert said in layer.remark
    assert layer.volume.stored == pytest.approx(5000.0)


def test_slices_with_different_factors_have_no_suv(tmp_path: Path) -> None:
    paths = write_pet(tmp_path, lambda points: np.full(points.shape[:-1], 5000.0))
    dataset = pydicom.dcmread(paths[3])
    dataset.PatientWeight = "90"
    dataset.save_as(paths[3])
    layer = read_scalar_layer(only_stack(tmp_path))
    assert (layer.name, layer.unit) == ("", "Bq/ml")
    assert "different factors" in layer.remark


def test_slices_in_different_units_are_refused(tmp_path: Path) -> None:
    paths = write_pet(tmp_path, hot_spot)
    dataset = pydicom.dcmread(paths[3])
    dataset.Units = "CNTS"
    dataset.save_as(paths[3])
    with pytest.raises(UnsupportedError, match="different units"):
        read_scalar_layer(only_stack(tmp_path))


def slope(points: np.ndarray) -> np.ndarray:
    """A dose that is linear in each direction, so that interpolation gives it exactly."""
    return np.asarray(20 + 0.05 * points[..., 0] - 0.1 * points[..., 1] + 0.15 * points[..., 2])


def test_a_dose_is_the_one_that_was_planned(tmp_path: Path) -> None:
    layer = read_scalar_layer(only_stack(write_dose(tmp_path / "dose.dcm", slope)))
    assert (layer.name, layer.unit) == ("PHYSICAL", "Gy")
    assert layer.range == pytest.approx((0.0, float(slope(np.array([75.0, -65.0, 50.0])))), rel=1e-6)
    write_ct(tmp_path / "ct")
    for grid in ct_grids(tmp_path / "ct"):
        values = lay_scalar(layer, grid).values
        for row, column in np.argwhere(np.isfinite(values))[::37]:
            place = to_patient(grid, column + 0.5, row + 0.5)
            assert values[row, column] == pytest.approx(float(slope(place)), abs=1e-4)


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("summed", "name"),
    [
        ("PLAN", "PHYSICAL"), ("BEAM", "PHYSICAL, BEAM"), ("FRACTION", "PHYSICAL, FRACTION"),
        ("MULTI_PLAN", "PHYSICAL, MULTI PLAN"), ("", "PHYSICAL"),
    ],
)  # fmt: skip
def test_a_dose_of_a_part_of_the_plan_says_of_which(summed: str, name: str, tmp_path: Path) -> None:
    dose = write_dose(tmp_path / "dose.dcm", slope, DoseSummationType=summed)
    assert read_scalar_layer(only_stack(dose)).name == name


def test_all_32_bits_of_a_dose_survive_a_plane_of_its_own(tmp_path: Path) -> None:
    """Its highest value is the highest that 32 bits hold: it must not become negative."""
    stack = only_stack(write_dose(tmp_path / "dose.dcm", slope))
    volume = read_volume(stack)
    assert volume.stored.max() > 2**31
    from medviewer.imaging.display import modality_values
    from medviewer.imaging.reslice import reslice

    frame = reslice(volume, standard_grid(volume, "sagittal", 75.0))
    assert modality_values(frame).max() == pytest.approx(float(slope(np.array([75.0, -65.0, 50.0]))), rel=1e-5)


OFFSETS: dict[str, tuple[list[float], list[float], Callable[[int], float] | None]] = {
    "relative": ([1, 0, 0, 0, 1, 0], [0, 5, 10], lambda i: -50 + 5 * i),
    "relative, downwards": ([1, 0, 0, 0, 1, 0], [0, -5, -10], lambda i: -50 - 5 * i),
    "relative, normal to the feet": ([1, 0, 0, 0, -1, 0], [0, 5, 10], lambda i: -50 - 5 * i),
    "absolute": ([1, 0, 0, 0, 1, 0], [-50, -45, -40], lambda i: -50 + 5 * i),
    "neither": ([1, 0, 0, 0, 1, 0], [3, 8, 13], None),
    "too few": ([1, 0, 0, 0, 1, 0], [0, 5], None),
}


@pytest.mark.parametrize("name", OFFSETS)
def test_planes_of_a_dose_lie_where_their_offsets_say(tmp_path: Path, name: str) -> None:
    """PS3.3 C.8.8.3.2: from the first plane along the normal, or the coordinates themselves."""
    orientation, offsets, z_of = OFFSETS[name]
    path = write_dose(tmp_path / "d.dcm", slope, frames=3, offsets=offsets, ImageOrientationPatient=orientation)
    collection = scan([path])
    images = sorted(collection.patients[0].studies[0].series[0].stacks[0].images, key=lambda image: image.frame)
    planes = [image.description.plane for image in images]
    if z_of is None:
        assert planes == [None] * 3
        assert "dose.frames" in {caveat.code for caveat in images[0].warnings}
        return
    assert [plane.position for plane in planes if plane] == [(-75.0, -65.0, z_of(i)) for i in range(3)]


def test_a_dose_whose_offsets_fit_both_ways_to_opposite_sides_is_not_placed(tmp_path: Path) -> None:
    path = write_dose(
        tmp_path / "d.dcm", slope, frames=3, offsets=[0, 5, 10], ImageOrientationPatient=[1, 0, 0, 0, -1, 0],
        ImagePositionPatient=[-75, 65, 0],
    )  # fmt: skip
    (image, *_others) = scan([path]).patients[0].studies[0].series[0].stacks[0].images
    assert image.description.plane is None


def test_pydicoms_own_dose_is_read_as_pydicom_reads_it() -> None:
    path = Path(str(get_testdata_file("rtdose.dcm")))
    layer = read_scalar_layer(only_stack(path))
    dataset = pydicom.dcmread(path)
    assert layer.volume.stored == pytest.approx(dataset.pixel_array * float(dataset.DoseGridScaling), rel=1e-6)
    expected = np.array(dataset.ImagePositionPatient, float) + np.outer(dataset.GridFrameOffsetVector, [0, 0, 1])
    assert layer.volume.positions == pytest.approx(expected)
    assert layer.unit == ""  # its units are RELATIVE
    assert "Gy" in layer.remark


def test_a_map_has_its_own_unit_and_its_real_world_values(tmp_path: Path) -> None:
    ct = write_ct(tmp_path / "ct")
    points = voxels(ct)
    stored = points[..., 0] / 100
    path = write_map(tmp_path / "map.dcm", ct, stored, slope=0.5, intercept=3.0)
    layer = read_scalar_layer(only_stack(path))
    assert (layer.name, layer.unit) == ("ADC", "mm2/s")
    grid = ct_grids(tmp_path / "ct")[1]
    values = lay_scalar(layer, grid).values
    for row, column in np.argwhere(np.isfinite(values))[::53]:
        x = to_patient(grid, column + 0.5, row + 0.5)[0]
        assert values[row, column] == pytest.approx(x / 100 * 0.5 + 3.0, abs=1e-4)


def test_values_beyond_what_a_map_maps_are_nothing(tmp_path: Path) -> None:
    ct = write_ct(tmp_path / "ct")
    path = write_map(tmp_path / "map.dcm", ct, voxels(ct)[..., 0])
    dataset = pydicom.dcmread(path)
    for group in (dataset.SharedFunctionalGroupsSequence[0], *dataset.PerFrameFunctionalGroupsSequence):
        for item in group.get("RealWorldValueMappingSequence", []):
            item.DoubleFloatRealWorldValueFirstValueMapped = 0.0
    dataset.save_as(path)
    values = read_scalar_layer(only_stack(path)).volume.stored
    assert np.nanmin(values) >= 0
    assert np.isnan(values[..., : CT_SIZE // 2]).all()


def test_a_slab_of_the_layer_is_combined_as_that_of_the_image(tmp_path: Path) -> None:
    layer = read_scalar_layer(only_stack(write_dose(tmp_path / "dose.dcm", slope)))
    write_ct(tmp_path / "ct")
    axial = ct_grids(tmp_path / "ct")[0]
    thick = lay_scalar(layer, axial, slab_mm=20.0, slab="max").values
    column, row, _ = to_image(axial, np.array([0.0, 0.0, HOT[2]]))
    place = to_patient(axial, int(column) + 0.5, int(row) + 0.5)
    assert thick[int(row), int(column)] == pytest.approx(float(slope(place)) + 0.15 * 10, abs=1e-3)


def test_without_a_frame_of_reference_nothing_is_laid(tmp_path: Path) -> None:
    write_pet(tmp_path, hot_spot, FrameOfReferenceUID="")
    with pytest.raises(GeometryError, match="frame of reference"):
        read_scalar_layer(only_stack(tmp_path))


def test_what_lies_twice_at_one_place_is_refused(tmp_path: Path) -> None:
    write_pet(tmp_path, hot_spot, SeriesInstanceUID="2.25.77")
    write_pet(tmp_path, hot_spot, SeriesInstanceUID="2.25.77", name="again", AcquisitionTime="110000")
    with pytest.raises(GeometryError, match="lie at one place"):
        read_scalar_layer(only_stack(tmp_path))


def test_slices_without_a_place_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "read_volume", lambda *_args, **_words: pytest.fail("it was read"))
    with pytest.raises(GeometryError, match="where each slice lies"):
        read_scalar_layer(only_stack(write_dose(tmp_path / "d.dcm", slope, offsets=[3.0])))


def test_one_slice_is_no_volume(tmp_path: Path) -> None:
    write_pet(tmp_path, hot_spot, slices=1)
    with pytest.raises(GeometryError, match="no volume"):
        read_scalar_layer(only_stack(tmp_path))


def test_a_volume_beyond_the_budget_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    write_pet(tmp_path, hot_spot)
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    monkeypatch.setattr(module, "read_volume", lambda *_args, **_words: pytest.fail("it was read"))
    with pytest.raises(TooLargeError, match="too large"):
        read_scalar_layer(only_stack(tmp_path))


def test_a_series_without_any_value_is_refused(tmp_path: Path) -> None:
    write_pet(tmp_path, lambda points: np.zeros(points.shape[:-1]), PixelPaddingValue=0)
    with pytest.raises(InputError, match="no value"):
        read_scalar_layer(only_stack(tmp_path))


def test_the_maker_places_its_ct(tmp_path: Path) -> None:
    """What the other tests rest on."""
    image = only_stack(*write_ct(tmp_path)).images[3]
    assert image.description.plane is not None
    assert image.description.plane.position == (*CT_FIRST[:2], CT_FIRST[2] + 15)
    assert set(pet_attributes()) >= {"Units", "PatientWeight"}

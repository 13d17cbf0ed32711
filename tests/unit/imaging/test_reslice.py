"""Other planes through a volume lie where the files say, equal to SimpleITK's where that is right."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medviewer.domain.errors import GeometryError, UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.measurement import new_measurement
from medviewer.domain.study import PixelDescription, Plane, UltrasoundRegion
from medviewer.domain.volume import Volume
from medviewer.imaging import reslice as module
from medviewer.imaging.measuring import measure
from medviewer.imaging.orientation import orientation_letters
from medviewer.imaging.reslice import PlaneGrid, range_mm, reslice, standard_grid


def rotation(seed: int) -> np.ndarray:
    """Any proper rotation."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def make_volume(
    stored: np.ndarray,
    axes: np.ndarray | None = None,
    spacing: tuple[float, float, float] = (1.5, 0.8, 0.7),
    *,
    step: np.ndarray | None = None,
    along: np.ndarray | None = None,
    **changes: Any,
) -> Volume:
    """A volume; ``axes`` has the directions of columns, rows and slices as its columns, ``spacing`` is (z, y, x)."""
    axes = np.eye(3) if axes is None else axes
    way = axes[:, 2] * spacing[0] if step is None else step
    count = np.arange(len(stored)) if along is None else along
    positions = np.array([-40.0, 30.0, 100.0]) + count[:, None] * way
    description = PixelDescription(
        modality="CT", rows=stored.shape[1], columns=stored.shape[2], is_signed=stored.dtype.kind == "i",
        bits_stored=12, pixel_spacing_mm=spacing[1:], spacing_source="patient plane",
        plane=Plane(tuple(positions[0]), tuple(axes[:, 0]), tuple(axes[:, 1])),
    )  # fmt: skip
    return Volume(stored, positions, replace(description, **changes))


def noise(shape: tuple[int, int, int], dtype: type = np.int16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000 if dtype == np.int16 else 0, 2000, shape).astype(dtype)


def is_padding(frame: Frame) -> np.ndarray:
    padding = frame.description.pixel_padding_range
    return np.zeros(frame.stored.shape, bool) if padding is None else frame.stored == padding[0]


def with_simpleitk(volume: Volume, grid: PlaneGrid) -> np.ndarray:
    """The same plane by ITK's resampling; NaN outside."""
    sitk = pytest.importorskip("SimpleITK")
    axes = np.stack([volume.plane.row_cosine, volume.plane.column_cosine, volume.plane.normal], axis=1)
    image = sitk.GetImageFromArray(volume.stored.astype(np.float32))
    image.SetSpacing((volume.spacing_mm[1], volume.spacing_mm[0], volume.slice_spacing_mm))
    image.SetDirection(axes.ravel().tolist())
    image.SetOrigin(volume.positions[0].tolist())
    own = np.stack([grid.plane.row_cosine, grid.plane.column_cosine, grid.plane.normal], axis=1)
    found = sitk.Resample(
        image, (grid.shape[1], grid.shape[0], 1), sitk.Transform(), sitk.sitkLinear, grid.plane.position,
        (grid.spacing_mm[1], grid.spacing_mm[0], 1.0), own.ravel().tolist(), float("nan"), sitk.sitkFloat32,
    )  # fmt: skip
    return np.asarray(sitk.GetArrayFromImage(found)[0])


def is_inner(volume: Volume, grid: PlaneGrid) -> np.ndarray:
    """Pixels among the voxel centres, not in the outer half voxel, which ITK fills and we do not."""
    rows, columns = np.indices(grid.shape)
    points = (
        np.array(grid.plane.position)
        + columns[..., None] * grid.spacing_mm[1] * np.array(grid.plane.row_cosine)
        + rows[..., None] * grid.spacing_mm[0] * np.array(grid.plane.column_cosine)
        - volume.positions[0]
    )
    axes = np.stack([volume.plane.row_cosine, volume.plane.column_cosine, volume.plane.normal], axis=1)
    index = points @ axes / (volume.spacing_mm[1], volume.spacing_mm[0], volume.slice_spacing_mm)
    size = np.array(volume.stored.shape[::-1]) - 1
    return np.asarray(((index > 1e-4) & (index < size - 1e-4)).all(axis=-1))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.sampled_from([np.int16, np.uint16]))
def test_any_plane_through_any_volume_is_simpleitks(seed: int, view: int, dtype: type) -> None:
    volume = make_volume(noise((9, 11, 13), dtype, seed), rotation(seed))
    axes = rotation(view)
    centre = volume.corners.mean(axis=0) - axes[:, 0] * 6 - axes[:, 1] * 5
    grid = PlaneGrid(Plane(tuple(centre), tuple(axes[:, 0]), tuple(axes[:, 1])), (0.9, 0.6), (14, 19))
    found, expected = reslice(volume, grid), with_simpleitk(volume, grid)
    inner = is_inner(volume, grid)
    assert not is_padding(found)[inner].any()
    assert np.abs(found.stored[inner] - expected[inner]).max(initial=0) <= 0.51  # rounding to the stored type
    assert is_padding(found)[np.isnan(expected)].all()


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1)])
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=2)))
def test_standard_planes_of_any_scan_direction_are_simpleitks(
    name: Any, order: tuple[int, int, int], signs: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = np.eye(3)[:, list(order)]
    axes[:, 0] *= signs[0]
    axes[:, 1] *= signs[1]
    axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])
    volume = make_volume(noise((8, 10, 12)), axes)
    low, high = range_mm(volume, name)
    grid = standard_grid(volume, name, low + 0.37 * (high - low))
    quick = reslice(volume, grid)
    assert not is_padding(quick).any()  # the whole extent and nothing more
    assert np.abs(quick.stored - with_simpleitk(volume, grid)).max() <= 0.51
    monkeypatch.setattr(module._Sampler, "_is_separable", lambda *_: False)
    assert np.abs(quick.stored.astype(int) - reslice(volume, grid).stored).max() <= 1
    letters = orientation_letters(quick.description)
    expected = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "H", "F"), "sagittal": ("A", "P", "H", "F")}
    assert tuple(letters) == expected[name]


def blob(volume_shape: tuple[int, int, int], places: np.ndarray, index_of: Any) -> np.ndarray:
    """Small smooth balls at places in LPS mm; ``index_of`` gives mm of every voxel centre."""
    points = index_of(volume_shape)
    total = np.zeros(volume_shape)
    for place in places:
        total += 3000 * np.exp(-((points - place) ** 2).sum(axis=-1) / (2 * 2.5**2))
    return np.rint(total).astype(np.int16)


@pytest.mark.parametrize("tilt_degrees", [0.0, 20.0])
@pytest.mark.parametrize("is_uneven", [False, True])
def test_distances_in_every_plane_are_those_of_the_phantom(tilt_degrees: float, is_uneven: bool) -> None:
    """Balls of known places: a tilted or uneven stack must not distort what is measured."""
    rise = np.radians(tilt_degrees)
    step = np.array([0.0, 1.5 * np.tan(rise), 1.5])
    along = np.arange(40.0)
    if is_uneven:
        along += 0.3 * np.sin(along)
    offsets = np.array([[14.0, 22.0, 20.0], [44.0, 22.0, 20.0], [14.0, 38.0, 20.0], [14.0, 22.0, 44.0]])
    places = np.array([-40.0, 30.0, 100.0]) + offsets

    def millimetres(shape: tuple[int, int, int]) -> np.ndarray:
        z, y, x = np.indices(shape)
        away = np.stack([x * 0.7, y * 0.8, np.zeros(shape)], axis=-1)
        return np.asarray(np.array([-40.0, 30.0, 100.0]) + away + along[z][..., None] * step)

    shape = (40, 100, 90)
    volume = make_volume(blob(shape, places, millimetres), step=step, along=along)

    def centre(name: Any, at: float, near: np.ndarray) -> np.ndarray:
        frame = reslice(volume, standard_grid(volume, name, at))
        plane, spacing = frame.description.plane, frame.description.pixel_spacing_mm
        assert plane is not None
        assert spacing is not None
        rows, columns = np.indices(frame.stored.shape)
        points = (
            np.array(plane.position)
            + columns[..., None] * spacing[1] * np.array(plane.row_cosine)
            + rows[..., None] * spacing[0] * np.array(plane.column_cosine)
        )
        weight = np.where(is_padding(frame), 0, frame.stored).astype(float)
        weight *= np.linalg.norm(points - near, axis=-1) < 8
        return np.asarray((points * weight[..., None]).sum(axis=(0, 1)) / weight.sum())

    a, b, c, d = places
    for name, at, first, second in (("axial", a[2], a, b), ("coronal", a[1], a, d), ("sagittal", a[0], c, d)):
        measured = np.linalg.norm(centre(name, at, first) - centre(name, at, second))
        assert measured == pytest.approx(np.linalg.norm(first - second), abs=0.1)


def test_where_slices_are_missing_there_is_nothing() -> None:
    along = np.array([0.0, 1, 2, 3, 7, 8, 9])
    volume = make_volume(noise((7, 6, 6)), along=along)
    frame = reslice(volume, standard_grid(volume, "coronal", 31.0))
    plane = frame.description.plane
    assert plane is not None
    heights = plane.position[2] - np.arange(frame.stored.shape[0]) * frame.description.pixel_spacing_mm[0]  # type: ignore[index]
    is_missing = (heights > 100 + 3 * 1.5 + 1e-3) & (heights < 100 + 7 * 1.5 - 1e-3)
    assert is_missing.any()
    np.testing.assert_array_equal(is_padding(frame).all(axis=1), is_missing)
    np.testing.assert_array_equal(is_padding(frame).any(axis=1), is_missing)


@pytest.mark.parametrize(("kind", "reduce"), [("max", np.max), ("min", np.min), ("mean", np.mean)])
def test_slabs_combine_the_planes_in_them(kind: Any, reduce: Any) -> None:
    volume = make_volume(noise((9, 8, 8)), spacing=(1.0, 1.0, 1.0))
    grid = standard_grid(volume, "axial", 104.0)
    thick = reslice(volume, grid, slab_mm=4.0, slab=kind)
    layers = [
        reslice(volume, standard_grid(volume, "axial", 104.0 + offset)).stored for offset in np.arange(-2, 2.1, 0.5)
    ]
    assert np.abs(thick.stored - reduce(np.array(layers, float), axis=0)).max() <= 0.8  # the layers are rounded too


def test_a_slab_at_the_border_is_of_what_is_there() -> None:
    volume = make_volume(np.full((9, 8, 8), 100, np.int16), spacing=(1.0, 1.0, 1.0))
    thick = reslice(volume, standard_grid(volume, "axial", 100.0), slab_mm=6.0)
    assert (thick.stored == 100).all()


def test_padding_never_mixes_with_anatomy() -> None:
    stored = np.full((4, 6, 6), 1000, np.int16)
    stored[:, :, :3] = -2000
    volume = make_volume(stored, pixel_padding_range=(-2000, -2000))
    grid = standard_grid(volume, "axial", 100.7)
    values = reslice(volume, replace(grid, spacing_mm=(0.35, 0.35), shape=(10, 14))).stored
    assert set(np.unique(values)) == {-2000, 1000}


@pytest.mark.reliability
def test_regions_of_a_stored_ultrasound_calibrate_no_plane_that_is_cut() -> None:
    """They lie on the pixels of the stored image, which those of the plane are not."""
    region = UltrasoundRegion((0, 0), (59, 49), ("cm", "cm"), (0.03, 0.02))
    volume = make_volume(noise((30, 50, 60), np.uint8), spacing=(0.5, 0.2, 0.3), ultrasound_regions=(region,))
    frame = reslice(volume, standard_grid(volume, "coronal", volume.corners[:, 1].mean()))
    (found,) = measure(new_measurement("length", [(10.5, 5.5), (40.5, 5.5)], ("1.2.3", 0)), frame)
    assert frame.description.pixel_spacing_mm is not None
    assert found.value == pytest.approx(30 * frame.description.pixel_spacing_mm[1])
    assert (found.unit, found.basis) == ("mm", "patient plane")


def test_all_sixteen_bits_leave_room_for_padding() -> None:
    stored = np.full((4, 6, 6), 65535, np.uint16)
    volume = make_volume(stored, bits_stored=16)
    grid = standard_grid(volume, "axial", 100.7)
    moved = replace(grid, shape=(grid.shape[0] + 5, grid.shape[1]))
    frame = reslice(volume, moved)
    assert is_padding(frame).any(axis=1).sum() >= 4
    assert (frame.stored[~is_padding(frame)] == 65535).all()


def test_nearest_gives_stored_values_only() -> None:
    volume = make_volume(noise((5, 6, 7)), rotation(3))
    frame = reslice(volume, standard_grid(volume, "axial", volume.corners[:, 2].mean()), smooth=False)
    assert set(frame.stored[~is_padding(frame)]) <= set(volume.stored.ravel())


@pytest.mark.parametrize("at", [99.0, 1e9, float("nan")])
def test_a_plane_beside_the_volume_is_refused_with_its_extent(at: float) -> None:
    with pytest.raises(UsageError, match=r"reaches from 100\.0 to 106\.0 mm"):
        standard_grid(make_volume(noise((5, 6, 7))), "axial", at)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (1 << 20, 1 << 20)}, {"shape": (0, 5)}, {"spacing_mm": (0.0, 1.0)},
        {"plane": Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0))},
        {"plane": Plane((float("nan"), 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))},
    ],
)  # fmt: skip
def test_an_impossible_plane_is_refused(change: dict[str, Any]) -> None:
    volume = make_volume(noise((5, 6, 7)))
    with pytest.raises(GeometryError):
        reslice(volume, replace(standard_grid(volume, "axial", 101.0), **change))


@pytest.mark.parametrize("slab_mm", [-1.0, float("nan"), float("inf")])
def test_an_impossible_slab_is_refused(slab_mm: float) -> None:
    volume = make_volume(noise((5, 6, 7)))
    with pytest.raises(UsageError, match="thickness in mm"):
        reslice(volume, standard_grid(volume, "axial", 101.0), slab_mm=slab_mm)

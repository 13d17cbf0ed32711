"""Segments lie where each frame says, whatever its number: compared with highdicom's reading and with arithmetic."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest

from medviewer.domain.errors import GeometryError, InputError, TooLargeError, UnsupportedError
from medviewer.domain.layer import LabelPlane, Segmentation
from medviewer.domain.study import Stack
from medviewer.imaging import label_planes
from medviewer.imaging import segmentation as module
from medviewer.imaging.cielab import rgb_of_lab
from medviewer.imaging.label_planes import outlines_of
from medviewer.imaging.planes import grid_of, to_patient
from medviewer.imaging.reslice import PlaneGrid, standard_grid
from medviewer.imaging.scan import scan
from medviewer.imaging.segmentation import lay_segmentation, read_segmentation
from medviewer.imaging.volume import read_volume
from tests.layer_objects import CT_SIZE, CT_SLICES, ball, voxels, write_ct, write_segmentation
from tests.samples import package_file

TUMOUR, ORGAN = ((30.0, -20.0, 10.0), 18.0), ((-20.0, 10.0, 0.0), 26.0)


def stacks(*paths: Path) -> list[Stack]:
    return [
        stack
        for patient in scan(paths).patients
        for study in patient.studies
        for series in study.series
        for stack in series.stacks
    ]


def only_stack(*paths: Path) -> Stack:
    (stack,) = stacks(*paths)
    return stack


def filled(plane: LabelPlane, number: int, grid: PlaneGrid) -> np.ndarray:
    """Which pixels' centres are inside a segment."""
    rows, columns = np.indices(grid.shape)
    inside = [number in plane.segments_at(c + 0.5, r + 0.5) for r, c in zip(rows.ravel(), columns.ravel(), strict=True)]
    return np.array(inside).reshape(grid.shape)


@pytest.fixture
def ct(tmp_path: Path) -> list[Path]:
    return write_ct(tmp_path / "ct")


def masks(ct: list[Path]) -> list[np.ndarray]:
    points = voxels(ct)
    return [ball(points, *TUMOUR), ball(points, *ORGAN)]


@pytest.mark.parametrize("shuffled", [False, True], ids=["in order", "shuffled"])
def test_each_segment_is_drawn_on_the_slice_where_it_lies(ct: list[Path], tmp_path: Path, shuffled: bool) -> None:
    made = masks(ct)
    path = write_segmentation(tmp_path / "seg.dcm", ct, made, shuffled=shuffled)
    layer = read_segmentation(only_stack(path))
    for index, image in enumerate(only_stack(*ct).images):
        grid = grid_of(image.description)
        assert grid is not None
        plane = lay_segmentation(layer, grid)
        for number, mask in enumerate(made, start=1):
            assert np.array_equal(filled(plane, number, grid), mask[index]), (index, number)


def test_the_shuffled_object_is_read_as_highdicom_reads_it(ct: list[Path], tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "seg.dcm", ct, masks(ct), shuffled=True)
    known = hd.seg.segread(path)
    layer = read_segmentation(only_stack(path))
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in ct]
    expected = known.get_pixels_by_source_instance(source_sop_instance_uids=uids, segment_numbers=[1, 2])
    for index, image in enumerate(only_stack(*ct).images):
        grid = grid_of(image.description)
        assert grid is not None
        plane = lay_segmentation(layer, grid)
        for number in (1, 2):
            assert np.array_equal(filled(plane, number, grid), expected[index, ..., number - 1] > 0)


@pytest.mark.parametrize("name", ["coronal", "sagittal"])
def test_segments_are_cut_like_the_image(ct: list[Path], tmp_path: Path, name: Any) -> None:
    layer = read_segmentation(only_stack(write_segmentation(tmp_path / "seg.dcm", ct, masks(ct))))
    volume = read_volume(only_stack(*ct))
    grid = standard_grid(volume, name, -20.0 if name == "coronal" else 30.0)
    shown = filled(lay_segmentation(layer, grid), 1, grid)
    for row, column in np.ndindex(grid.shape):
        place = to_patient(grid, column + 0.5, row + 0.5)
        voxel = np.rint((place - np.array([-78.0, -78.0, -50.0])) / (4.0, 4.0, 5.0)).astype(int)
        corner = np.array([-78.0, -78.0, -50.0]) + voxel * (4.0, 4.0, 5.0)
        if np.abs(place - corner).max() < 1.9:  # not on the border between two voxels
            assert shown[row, column] == ball(corner, *TUMOUR), place


def test_between_planes_that_are_not_there_nothing_is_drawn(ct: list[Path], tmp_path: Path) -> None:
    """Two slices of a segment, six apart, are two slices and no block."""
    mask = np.zeros((CT_SLICES, CT_SIZE, CT_SIZE), bool)
    mask[4, 10:20, 10:20] = mask[10, 10:20, 10:20] = True
    layer = read_segmentation(only_stack(write_segmentation(tmp_path / "seg.dcm", ct, [mask])))
    drawn = []
    for index, image in enumerate(only_stack(*ct).images):
        grid = grid_of(image.description)
        assert grid is not None
        if lay_segmentation(layer, grid).outlines:
            drawn.append(index)
    assert drawn == [4, 10]


def test_a_fraction_counts_from_half_on(ct: list[Path], tmp_path: Path) -> None:
    fraction = np.zeros((CT_SLICES, CT_SIZE, CT_SIZE))
    fraction[7, 5, 5:9] = (0.25, 0.45, 0.5, 1.0)
    path = write_segmentation(tmp_path / "seg.dcm", ct, [fraction], kind="FRACTIONAL")
    layer = read_segmentation(only_stack(path))
    grid = grid_of(only_stack(*ct).images[7].description)
    assert grid is not None
    assert np.argwhere(filled(lay_segmentation(layer, grid), 1, grid)).tolist() == [[5, 7], [5, 8]]
    assert "at least half" in layer.remark


def test_a_label_map_is_read_by_its_numbers_and_not_its_colours(ct: list[Path], tmp_path: Path) -> None:
    made = masks(ct)
    path = write_segmentation(tmp_path / "seg.dcm", ct, [made[0], made[1] & ~made[0]], kind="LABELMAP")
    layer = read_segmentation(only_stack(path))
    grid = grid_of(only_stack(*ct).images[11].description)
    assert grid is not None
    plane = lay_segmentation(layer, grid)
    assert np.array_equal(filled(plane, 1, grid), made[0][11])
    assert np.array_equal(filled(plane, 2, grid), (made[1] & ~made[0])[11])


def test_a_label_map_with_a_palette_is_read_by_its_numbers(ct: list[Path], tmp_path: Path) -> None:
    made = masks(ct)
    path = write_segmentation(tmp_path / "seg.dcm", ct, [made[0], made[1] & ~made[0]], kind="LABELMAP")
    dataset = pydicom.dcmread(path)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for color in ("Red", "Green", "Blue"):
        setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [3, 0, 16])
        dataset[f"{color}PaletteColorLookupTableDescriptor"].VR = "US"
        setattr(dataset, f"{color}PaletteColorLookupTableData", np.array([0, 30000, 65535], "<u2").tobytes())
    dataset.save_as(path)
    layer = read_segmentation(only_stack(path))
    assert {frame.segment for frame in layer.frames} == {1, 2}


def test_segments_have_their_names_and_colours(ct: list[Path], tmp_path: Path) -> None:
    layer = read_segmentation(only_stack(write_segmentation(tmp_path / "seg.dcm", ct, masks(ct))))
    assert [(segment.number, segment.label) for segment in layer.segments] == [(1, "Segment 1"), (2, "Segment 2")]
    hues = [colorsys.rgb_to_hsv(*(segment.color or (0, 0, 0)))[0] * 360 for segment in layer.segments]
    assert hues == pytest.approx([0, 120], abs=3)  # red and green


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [((100, 0, 0), (255, 255, 255)), ((0, 0, 0), (0, 0, 0)), ((53.24, 80.09, 67.2), (255, 0, 0)),
     ((87.73, -86.18, 83.18), (0, 255, 0)), ((32.3, 79.19, -107.86), (0, 0, 255)), ((53.59, 0, 0), (128, 128, 128))],
)  # fmt: skip
def test_cielab_is_the_colour_of_the_tables(lab: tuple[float, float, float], rgb: tuple[int, int, int]) -> None:
    """The CIELab values of sRGB's corners (D65), as in every table of them."""
    stored = (lab[0] / 100 * 65535, (lab[1] + 128) / 255 * 65535, (lab[2] + 128) / 255 * 65535)
    assert rgb_of_lab(stored) == pytest.approx(rgb, abs=2)


def test_objects_of_one_frame_each_are_not_taken_for_one(ct: list[Path], tmp_path: Path) -> None:
    """Segment 1 of one file is not segment 1 of the next, though both are of one series."""
    for index, (slice_, kept) in enumerate(((5, 0), (9, 1))):
        mask = np.zeros((CT_SLICES, CT_SIZE, CT_SIZE), bool)
        mask[slice_, 10:20, 10:20] = True
        write_segmentation(tmp_path / f"s{index}.dcm", ct, [mask], SeriesInstanceUID="2.25.99", SeriesNumber=kept)
    found = stacks(tmp_path / "s0.dcm", tmp_path / "s1.dcm")
    assert [len(stack.images) for stack in found] == [1, 1]
    assert all(len({frame.position for frame in read_segmentation(stack).frames}) == 1 for stack in found)


def test_a_single_frame_is_as_thick_as_it_says(ct: list[Path], tmp_path: Path) -> None:
    mask = np.zeros((CT_SLICES, CT_SIZE, CT_SIZE), bool)
    mask[5, 10:20, 10:20] = True
    layer = read_segmentation(only_stack(write_segmentation(tmp_path / "seg.dcm", ct, [mask])))
    assert layer.thickness_mm == 5.0


def test_pydicoms_own_segmentation_is_read_as_highdicom_reads_it() -> None:
    path = package_file("liver.dcm")
    known = hd.seg.segread(path)
    layer = read_segmentation(only_stack(path))
    assert {segment.number for segment in layer.segments} == set(known.segment_numbers)
    counted = {}
    for frame, item in zip(known.pixel_array, known.PerFrameFunctionalGroupsSequence, strict=True):
        place = tuple(float(v) for v in item.PlanePositionSequence[0].ImagePositionPatient)
        counted[item.SegmentIdentificationSequence[0].ReferencedSegmentNumber, place] = int(frame.sum())
    assert {(f.segment, f.position): int(f.mask.sum()) for f in layer.frames} == {k: n for k, n in counted.items() if n}


def test_without_a_place_nothing_is_drawn(ct: list[Path], tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "seg.dcm", ct, masks(ct))
    dataset = pydicom.dcmread(path)
    for item in dataset.PerFrameFunctionalGroupsSequence:
        del item.PlanePositionSequence
    dataset.save_as(path)
    with pytest.raises(GeometryError, match="where it lies"):
        read_segmentation(stacks(path)[0])


def test_a_frame_that_names_no_segment_is_refused(ct: list[Path], tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "seg.dcm", ct, masks(ct))
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence[4].SegmentIdentificationSequence
    dataset.save_as(path)
    with pytest.raises(InputError, match="which segment"):
        read_segmentation(only_stack(path))


def test_another_object_at_the_path_is_refused(ct: list[Path], tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "seg.dcm", ct, masks(ct))
    stack = only_stack(path)
    write_segmentation(path, ct, masks(ct)[::-1])
    with pytest.raises(InputError, match="changed"):
        read_segmentation(stack)


def test_an_unknown_kind_is_named(ct: list[Path], tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "seg.dcm", ct, masks(ct), SegmentationType="SURFACE")
    with pytest.raises(UnsupportedError, match="SURFACE"):
        read_segmentation(only_stack(path))


def test_segments_beyond_the_budget_are_refused(ct: list[Path], tmp_path: Path, monkeypatch: Any) -> None:
    path = write_segmentation(tmp_path / "seg.dcm", ct, masks(ct))
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(TooLargeError, match="memory"):
        read_segmentation(only_stack(path))


def test_it_knows_the_images_that_it_was_made_on(ct: list[Path], tmp_path: Path) -> None:
    layer = read_segmentation(only_stack(write_segmentation(tmp_path / "seg.dcm", ct, masks(ct))))
    assert set(layer.references) <= {str(pydicom.dcmread(file).SOPInstanceUID) for file in ct}
    assert layer.references
    assert set(layer.references.values()) == {frozenset()}  # images of one frame: no frame is named


def test_it_knows_the_frames_that_it_was_made_on(ct: list[Path], tmp_path: Path) -> None:
    """One object may hold all times of a beating heart: its UID alone would name them all."""
    path = write_segmentation(tmp_path / "seg.dcm", ct, masks(ct))
    dataset = pydicom.dcmread(path)
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber = "1.2.3", number
    dataset.save_as(path)
    frames = dataset.NumberOfFrames
    assert read_segmentation(only_stack(path)).references["1.2.3"] == frozenset(range(frames))


def test_an_empty_segmentation_draws_nothing() -> None:
    layer = Segmentation((), (), (1, 0, 0), (0, 1, 0), (1.0, 1.0), 1.0, "1.2")
    grid = grid_of(only_stack(package_file("liver.dcm")).images[0].description)
    assert grid is not None
    assert lay_segmentation(layer, grid).outlines == {}


@pytest.mark.parametrize("seed", range(6))
def test_outlines_enclose_exactly_the_mask(seed: int) -> None:
    """Noise, with holes, islands and pixels that meet at corners."""
    mask = np.random.default_rng(seed).random((13, 17)) < 0.5
    plane = LabelPlane({1: outlines_of(mask)})
    inside = [[bool(plane.segments_at(c + 0.5, r + 0.5)) for c in range(17)] for r in range(13)]
    assert np.array_equal(inside, mask)


def test_noise_is_laid_as_its_pixels_and_not_traced(
    ct: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segmentation of noise, as of an untrained network, must not hold up whoever lays it over an image."""
    monkeypatch.setattr(label_planes, "MOST_CORNERS", 200)
    noise = np.random.default_rng(0).random(masks(ct)[0].shape) < 0.5
    layer = read_segmentation(only_stack(write_segmentation(tmp_path / "s.dcm", ct, [noise, masks(ct)[1]])))
    for number, image in enumerate(only_stack(*ct).images):
        grid = grid_of(image.description)
        assert grid is not None
        plane = lay_segmentation(layer, grid)
        np.testing.assert_array_equal(plane.ragged[1].mask, noise[number])
        assert 1 not in plane.outlines
        assert set(plane.outlines) <= {2}

"""Several images at each place become volumes one after the other, or nothing is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from medviewer.domain.errors import GeometryError
from medviewer.domain.study import Series, Stack
from medviewer.imaging.decode import read_frame
from medviewer.imaging.scan import scan
from medviewer.imaging.volume import read_volume
from tests.dicom_maker import AXIAL, Attributes, make_dataset, write_dataset, write_volumes


def series_in(folder: Path) -> Series:
    (series,) = scan([folder]).patients[0].studies[0].series
    return series


def stack_in(folder: Path) -> Stack:
    (stack,) = series_in(folder).stacks
    return stack


def codes(stack: Stack) -> list[str]:
    return [caveat.code for caveat in stack.warnings]


def marks(stack: Stack) -> list[int]:
    return [int(read_frame(image).stored[0, 0]) for image in stack.images]


@pytest.mark.parametrize(
    ("own", "name", "unit", "values"),
    [
        (lambda v, _p: {"TriggerTime": 40.5 * v}, "time", "ms", [0, 40.5, 81]),
        (lambda v, _p: {"DiffusionBValue": (0.0, 500.0, 1000.0)[v]}, "b-value", "s/mm²", [0, 500, 1000]),
        (lambda v, _p: {"EchoTime": 2.4 * (v + 1), "EchoNumbers": v + 1}, "echo", "ms", [2.4, 4.8, 7.2]),
        (lambda v, _p: {"EchoNumbers": v + 1}, "echo", "", [1, 2, 3]),
        (lambda v, _p: {"EchoNumbers": v + 1, "TemporalPositionIdentifier": v + 1}, "time", "", [1, 2, 3]),
        (lambda v, _p: {"InversionTime": 100 + 80 * v}, "inversion", "ms", [100, 180, 260]),
        (lambda v, _p: {"FrameReferenceTime": 1000 * v}, "time", "ms", [0, 1000, 2000]),
        (lambda v, _p: {"TemporalPositionIdentifier": v + 1}, "time", "", [1, 2, 3]),
        (lambda v, _p: {"AcquisitionTime": f"1200{10 + 5 * v}.5"}, "time", "s", [0, 5, 10]),
        (lambda v, _p: {"AcquisitionNumber": v + 1}, "acquisition", "", [1, 2, 3]),
    ],
)
def test_volumes_follow_each_other_along_what_the_files_say(
    tmp_path: Path, own: Attributes, name: str, unit: str, values: list[float]
) -> None:
    write_volumes(tmp_path, 3, own)
    stack = stack_in(tmp_path)
    assert stack.axis is not None
    assert (stack.axis.name, stack.axis.unit, stack.axis.slices, stack.axis.size) == (name, unit, 4, 3)
    assert stack.axis.values == pytest.approx(np.repeat(values, 4))
    assert marks(stack) == [100 * volume + place for volume in range(3) for place in range(4)]
    assert (stack.order, stack.warnings, stack.spacing_mm) == ("position", (), (2, 2, 5))


def test_a_quantity_counts_before_a_number_that_tells_the_same_volumes_apart(tmp_path: Path) -> None:
    write_volumes(tmp_path, 3, lambda v, _p: {"TemporalPositionIdentifier": 3 - v, "TriggerTime": 40 * v})
    stack = stack_in(tmp_path)
    assert stack.axis is not None
    assert stack.axis.unit == "ms"
    assert marks(stack)[::4] == [0, 100, 200]


def test_each_volume_is_the_one_that_simpleitk_reads_of_its_files(tmp_path: Path) -> None:
    write_volumes(tmp_path, 3, lambda v, _p: {"TriggerTime": 40 * v})
    stack = stack_in(tmp_path)
    by_time: dict[float, list[Path]] = {}
    for path in sorted(tmp_path.iterdir(), key=lambda one: pydicom.dcmread(one).ImagePositionPatient[2]):
        by_time.setdefault(float(pydicom.dcmread(path).TriggerTime), []).append(path)
    for index, time in enumerate(sorted(by_time)):
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([str(path) for path in by_time[time]])
        volume = read_volume(stack.volume_at(index * 4 + 2))
        np.testing.assert_array_equal(volume.stored, sitk.GetArrayFromImage(reader.Execute()))


def test_hearts_beat_a_little_differently_at_each_slice(tmp_path: Path) -> None:
    """Trigger times of one phase differ between breath-holds; each image keeps its own."""
    write_volumes(tmp_path, 3, lambda v, p: {"TriggerTime": (40 + p) * v})
    stack = stack_in(tmp_path)
    assert stack.axis is not None
    assert stack.axis.values == (0, 0, 0, 0, 40, 41, 42, 43, 80, 82, 84, 86)


def test_phases_that_reach_into_each_other_are_no_volumes(tmp_path: Path) -> None:
    write_volumes(tmp_path, 3, lambda v, p: {"TriggerTime": (40 + 20 * p) * v})
    stack = stack_in(tmp_path)
    assert stack.axis is None
    assert {"axis.incomplete", "slices.duplicate"} <= set(codes(stack))
    with pytest.raises(GeometryError, match="which of them belong together"):
        read_volume(stack)


def test_one_missing_slice_and_nothing_is_told_apart(tmp_path: Path) -> None:
    write_volumes(tmp_path, 3, lambda v, _p: {"TriggerTime": 40 * v}, left_out=[5])
    stack = stack_in(tmp_path)
    assert stack.axis is None
    assert "axis.incomplete" in codes(stack)


def test_one_missing_slice_of_numbered_times_leaves_each_time_a_stack(tmp_path: Path) -> None:
    write_volumes(tmp_path, 3, lambda v, _p: {"TemporalPositionIdentifier": v + 1}, left_out=[5])
    stacks = series_in(tmp_path).stacks
    assert [(len(stack.images), stack.axis) for stack in stacks].count((4, None)) == 2
    assert all("axis.incomplete" in codes(stack) for stack in stacks)


def test_two_ways_to_tell_volumes_apart_are_none(tmp_path: Path) -> None:
    write_volumes(tmp_path, 2, lambda v, p: {"TriggerTime": 40 * v, "DiffusionBValue": 500.0 * ((v + p) % 2)})
    stack = stack_in(tmp_path)
    assert stack.axis is None
    assert "axis.incomplete" in codes(stack)


def test_two_files_that_claim_to_be_one_image_are_no_volumes(tmp_path: Path) -> None:
    write_volumes(tmp_path, 2, lambda v, p: {"TriggerTime": 40 * v, "SOPInstanceUID": f"2.25.9{p}"})
    assert stack_in(tmp_path).axis is None


def test_images_shifted_within_their_plane_do_not_lie_at_one_place(tmp_path: Path) -> None:
    for volume in range(2):
        for place in range(3):
            position = [1 + volume, 2, 5 * place]
            dataset = make_dataset(**AXIAL, ImagePositionPatient=position, TriggerTime=40 * volume)
            write_dataset(tmp_path / f"{volume}{place}.dcm", dataset)
    assert stack_in(tmp_path).axis is None


def test_echoes_of_several_times_are_a_stack_each(tmp_path: Path) -> None:
    """Two echoes at three times: no single attribute tells six volumes apart."""
    write_volumes(tmp_path, 6, lambda v, _p: {"EchoNumbers": v % 2 + 1, "TemporalPositionIdentifier": v // 2})
    stacks = series_in(tmp_path).stacks
    assert [(stack.axis.name, stack.axis.size) for stack in stacks if stack.axis is not None] == [("time", 3)] * 2
    for stack in stacks:
        assert len({mark // 100 % 2 for mark in marks(stack)}) == 1


def test_times_of_the_day_need_a_date_to_go_over_midnight(tmp_path: Path) -> None:
    times = ("235950", "000010")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_volumes(tmp_path / "a", 2, lambda v, _p: {"AcquisitionTime": times[v]})
    assert stack_in(tmp_path / "a").axis is None
    write_volumes(
        tmp_path / "b", 2, lambda v, _p: {"AcquisitionTime": times[v], "AcquisitionDate": ("20240131", "20240201")[v]}
    )
    stack = stack_in(tmp_path / "b")
    assert stack.axis is not None
    assert stack.axis.values == (0, 0, 0, 0, 20, 20, 20, 20)
    assert marks(stack)[::4] == [0, 100]


def test_slices_made_one_after_the_other_are_one_volume(tmp_path: Path) -> None:
    write_volumes(tmp_path, 1, lambda _v, p: {"AcquisitionTime": f"12000{p}", "AcquisitionNumber": p + 1})
    stack = stack_in(tmp_path)
    assert (stack.axis, stack.warnings) == (None, ())


def test_frames_of_an_enhanced_object_are_told_apart_by_their_functional_groups(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "enhanced.dcm", enhanced_mr())
    stack = stack_in(path)
    assert stack.axis is not None
    assert (stack.axis.name, stack.axis.unit, stack.axis.slices) == ("b-value", "s/mm²", 3)
    frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    expected = sorted(
        range(6),
        key=lambda n: (
            frames[n].MRDiffusionSequence[0].DiffusionBValue,
            frames[n].PlanePositionSequence[0].ImagePositionPatient[2],
        ),
    )
    assert [image.frame for image in stack.images] == expected


def enhanced_mr() -> Dataset:
    """Two b-values of three places in one object, places changing fastest and from above."""
    dataset = make_dataset(np.zeros((4, 4), np.uint16), SOPClassUID=EnhancedMRImageStorage, Modality="MR")
    dataset.PixelData = np.arange(6, dtype=np.uint16).repeat(16).tobytes()
    dataset.NumberOfFrames = 6
    shared = Dataset()
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = AXIAL["ImageOrientationPatient"]
    measures.PixelSpacing = AXIAL["PixelSpacing"]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for number in range(6):
        group, position, diffusion = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, -5 * (number % 3)]
        diffusion.DiffusionBValue = 800.0 * (number < 3)
        group.PlanePositionSequence, group.MRDiffusionSequence = [position], [diffusion]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.SOPInstanceUID = generate_uid()
    return dataset


def test_a_volume_is_never_made_of_parts_of_two(tmp_path: Path) -> None:
    write_volumes(tmp_path, 3, lambda v, _p: {"TriggerTime": 40 * v})
    stack = stack_in(tmp_path)
    assert [stack.volume_at(index).images for index in (4, 7)] == [stack.images[4:8]] * 2
    with pytest.raises(GeometryError, match="3 volumes"):
        read_volume(stack)


def test_images_of_one_place_are_scrolled_in_time(tmp_path: Path) -> None:
    write_volumes(tmp_path, 5, lambda v, _p: {"TriggerTime": 40 * v}, places=(3.0,))
    stack = stack_in(tmp_path)
    assert stack.axis is not None
    assert (stack.axis.slices, stack.scroll_span(2), stack.volume_span(2)) == (1, range(5), range(2, 3))
    assert stack.warnings == ()

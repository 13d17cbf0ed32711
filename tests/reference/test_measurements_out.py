"""Reports of measurements, judged by others: dciodvfy, dcentvfy, dcmtk and highdicom."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from medviewer.domain.measurement import KINDS, CutPlane, new_measurement
from medviewer.domain.study import Image
from medviewer.imaging.decode import read_frame
from medviewer.imaging.measurement_report import Measured, write_measurement_report
from medviewer.imaging.measurement_shapes import graphics_of
from medviewer.imaging.measuring import measure
from medviewer.imaging.reslice import range_mm, reslice, standard_grid
from medviewer.imaging.scan import scan
from medviewer.imaging.volume import read_volume
from tests import samples
from tests.phantoms import write_chest
from tests.reference.test_dicom_out import (
    KINDS as SOURCES,
)
from tests.reference.test_dicom_out import (
    _one_a_folder,
    errors_of,
    inconsistencies,
    make_source,
    run,
    scanned,
    tool,
)
from tests.unit.imaging.test_measurement_report import POINTS


def measurements(image: Image) -> list[Measured]:
    """One of each kind; a calibration only where there is nothing against it."""
    frame = read_frame(image)
    found = []
    for kind in KINDS:
        if kind == "calibration" and image.description.ultrasound_regions:
            continue
        known = 55.5 if kind == "calibration" else None
        made = new_measurement(
            kind, POINTS[kind], (image.sop_instance_uid, image.frame), label=f"{kind} 肿块", known_mm=known
        )
        found.append(Measured(image, made, measure(made, frame)))
    return found


@pytest.mark.reliability
@pytest.mark.parametrize("kind", SOURCES)
def test_others_find_no_error_and_one_patient(kind: str, tmp_path: Path) -> None:
    source, path = make_source(kind, tmp_path), tmp_path / "m.sr.dcm"
    write_measurement_report(measurements(source), path=path)
    assert errors_of(path) == []
    assert inconsistencies(source.path, path) == []
    tree = run(tool("dsrdump"), "-Er", "+Pl", path)
    assert tree.returncode == 0, tree.stderr
    assert "Cobb angle" in tree.stdout


def test_highdicom_reads_the_same_values_and_places(tmp_path: Path) -> None:
    source, path = make_source("RG1", tmp_path), tmp_path / "m.sr.dcm"
    items = measurements(source)
    write_measurement_report(items, path=path)
    content = hd.sr.srread(path).content
    for item in items:
        uid = item.measurement.uid
        groups = content.get_image_measurement_groups(tracking_uid=uid)
        groups += content.get_planar_roi_measurement_groups(tracking_uid=uid)
        (group,) = groups
        assert [m.value for m in group.get_measurements()] == pytest.approx([q.value for q in item.quantities])
        if item.measurement.kind in ("rectangle", "ellipse", "freehand"):
            ((kind, points),) = graphics_of(item.measurement)
            assert group.roi.graphic_type.value == kind
            assert np.array_equal(group.roi.value, np.array(points, np.float32))


def test_others_read_what_was_drawn_on_a_plane_where_it_lies_in_the_patient(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    write_chest(tmp_path / "ct", size=40, spacing_mm=8.0, slice_mm=10.0, n_slices=30)
    (stack,) = scan([tmp_path / "ct"]).patients[0].studies[0].series[0].stacks
    axes = ((1.0, 0.0, 0.0), (0.0, 0.6, -0.8))
    volume = read_volume(stack)
    grid = standard_grid(volume, "coronal", sum(range_mm(volume, "coronal", axes)) / 2, axes)
    cut = CutPlane(grid.plane, grid.spacing_mm, grid.shape)
    image, frame, path = stack.images[0], reslice(volume, grid), tmp_path / "m.sr.dcm"
    where = (image.sop_instance_uid, image.frame, cut)
    points = ((10.0, 10.0), (24.0, 12.0), (18.0, 26.0), (9.0, 20.0))
    items = [
        Measured(image, made, measure(made, frame))
        for kind, rule in KINDS.items()
        if kind != "calibration"
        for made in [new_measurement(kind, points[: rule.fewest], where, label=kind)]
    ]
    write_measurement_report(items, path=path)
    assert errors_of(path) == []
    assert run(tool("dsrdump"), "-Er", "+Pl", path).returncode == 0
    content = hd.sr.srread(path).content
    right, down = (np.array(axis) for axis in axes)
    for item in items:
        uid = item.measurement.uid
        groups = content.get_image_measurement_groups(tracking_uid=uid)
        groups += content.get_planar_roi_measurement_groups(tracking_uid=uid)
        (group,) = groups
        assert [m.value for m in group.get_measurements()] == pytest.approx([q.value for q in item.quantities])
        if item.measurement.kind == "freehand":
            first = item.measurement.points[0]
            place = np.array(grid.plane.position) + right * (first[0] - 0.5) * 8 + down * (first[1] - 0.5) * 8
            np.testing.assert_allclose(group.roi.value[0], place, atol=1e-3)
            assert group.roi.frame_of_reference_uid == str(pydicom.dcmread(image.path).FrameOfReferenceUID)


def test_the_corpus_is_measured_and_written_without_errors_of_ours(tmp_path: Path) -> None:
    corpus = samples.corpus()
    if corpus is None:
        pytest.skip("no corpus: set MEDVIEWER_CORPUS")
    special = [corpus / "pydicom_data" / "gdcm-US-ALOKA-16.dcm", corpus / "pydicom_data" / "emri_small.dcm"]
    for number, source in enumerate([*_one_a_folder(corpus), *special]):
        images = [image for image in scanned(source) if image.description.rows > 60 and image.description.columns > 70]
        if not images:
            continue
        path, known = tmp_path / f"{number}.dcm", set(errors_of(source))
        write_measurement_report(measurements(images[-1]), path=path)
        assert [error for error in errors_of(path) if error not in known] == [], source.name

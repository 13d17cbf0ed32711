"""Reports of measurements, judged by others: dciodvfy, dcentvfy, dcmtk and highdicom."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest

from medviewer.domain.measurement import KINDS, new_measurement
from medviewer.domain.study import Image
from medviewer.imaging.decode import read_frame
from medviewer.imaging.measurement_report import Measured, graphics, write_measurement_report
from medviewer.imaging.measuring import measure
from tests import samples
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
            ((kind, points),) = graphics(item.measurement)
            assert group.roi.graphic_type.value == kind
            assert np.array_equal(group.roi.value, np.array(points, np.float32))


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

"""What MedViewer writes, judged by others: dciodvfy, dcentvfy, dcmtk, SimpleITK and highdicom."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest

from medviewer.domain.answer import Decision
from medviewer.domain.study import Image
from medviewer.imaging.orientation import orientation_letters
from medviewer.imaging.scan import scan
from medviewer.imaging.secondary_capture import with_strip, write_secondary_capture
from medviewer.imaging.structured_report import write_structured_report
from tests import samples
from tests.answers import EFFUSION, PNEUMONIA, make_answer, make_attribution, make_radiograph

RG1 = "RG1_UNCR.dcm"
DECISION = Decision("changed", "Masses, not pneumonia", "2025-06-01T12:34:56+00:00", "Metastases")
CHINESE = Decision("rejected", "肿块,不是肺炎", "2025-06-01T12:34:56+00:00")


def scanned(path: Path) -> list[Image]:
    collection = scan([path])
    return [
        image
        for patient in collection.patients
        for study in patient.studies
        for series in study.series
        for stack in series.stacks
        for image in stack.images
    ]


def written(source: Image, out: Path, decision: Decision | None = DECISION) -> tuple[Path, Path]:
    report, capture = out / "finding.sr.dcm", out / "capture.sc.dcm"
    rows, columns = source.description.rows, source.description.columns
    answer = make_answer(PNEUMONIA, EFFUSION)
    attribution = make_attribution(rows, columns, error=0.01, error_name="completeness gap")
    write_structured_report(source, answer, attributions=[attribution], decision=decision, path=report)
    rgb = np.random.default_rng(3).integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    write_secondary_capture(source, rgb, text=["pneumonia: probability 0.87", "肺炎"], path=capture)
    return report, capture


def make_source(kind: str, tmp_path: Path) -> Image:
    if kind == "RG1":
        return scanned(samples.package_file(RG1))[0]
    changes: dict[str, Any] = {
        "plain": {},
        "hand": {"BodyPartExamined": "HAND", "ImageLaterality": "R", "PatientAge": "064Y", "PatientSize": "1.6"},
        "hand-series-side": {"BodyPartExamined": "HAND", "Laterality": "L"},
        "lossy": {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12", "LossyImageCompressionMethod": "ISO_10918_1"},
        "utf8": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Wang^XiaoDong=王^小东", "TimezoneOffsetFromUTC": "+0800"},
        "gb18030": {"SpecificCharacterSet": "GB18030", "PatientName": "Wang^XiaoDong=王^小东", "StudyDescription": "胸部"},
    }[kind]  # fmt: skip
    return make_radiograph(tmp_path / "source.dcm", **changes)


KINDS = ["RG1", "plain", "hand", "hand-series-side", "lossy", "utf8", "gb18030"]


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian packages dicom3tools and dcmtk)")
    return path


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, errors="replace")


def errors_of(path: Path) -> list[str]:
    done = run(tool("dciodvfy"), path)
    return [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(kind: str, tmp_path: Path) -> None:
    for path in written(make_source(kind, tmp_path), tmp_path):
        assert errors_of(path) == [], path.name


def test_dciodvfy_would_find_one(tmp_path: Path) -> None:
    _, capture = written(make_source("plain", tmp_path), tmp_path)
    broken = pydicom.dcmread(capture)
    del broken.ConversionType
    broken.save_as(tmp_path / "broken.dcm")
    assert errors_of(tmp_path / "broken.dcm")


def inconsistencies(*paths: Path) -> list[str]:
    done = run(tool("dcentvfy"), *paths)
    # It also remarks that RG1 writes a study's attribute where another tool would write a series'.
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if line.strip() and "Different information entities for attribute" not in line]


@pytest.mark.parametrize("kind", KINDS)
def test_dcentvfy_sees_one_patient_and_one_study(kind: str, tmp_path: Path) -> None:
    source = make_source(kind, tmp_path)
    assert inconsistencies(source.path, *written(source, tmp_path)) == []


def test_dcentvfy_would_see_another_patient(tmp_path: Path) -> None:
    source = make_source("plain", tmp_path)
    report, _ = written(source, tmp_path)
    other = pydicom.dcmread(report)
    other.PatientBirthDate = "19010101"
    other.save_as(tmp_path / "other.dcm")
    assert inconsistencies(source.path, tmp_path / "other.dcm")


@pytest.mark.parametrize("kind", KINDS)
def test_dcmtk_reads_them(kind: str, tmp_path: Path) -> None:
    source = make_source(kind, tmp_path)
    report, capture = written(source, tmp_path)
    header = pydicom.dcmread(source.path)
    for path in (report, capture):
        done = run(tool("dcmdump"), "+P", "StudyInstanceUID", path)
        assert done.returncode == 0, done.stderr
        assert header.StudyInstanceUID in done.stdout
    tree = run(tool("dsrdump"), "-Er", "+Pl", report)
    assert tree.returncode == 0, tree.stderr
    assert "not for diagnosis" in tree.stdout
    assert re.search(r'"Probability"\)="?0?\.873', tree.stdout)
    assert re.search(r"\(60046008,SCT|effusion", tree.stdout)
    # The reader's assessment, in the words of IHE AI Result Assessment, with what they report instead.
    assert re.search(r'"Reader.s decision"\)=\(changed,99MEDVIEWER,"Modified"\)', tree.stdout)
    assert re.search(r'"Reported instead"\)="Metastases"', tree.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_simpleitk_and_the_scan_see_the_picture(kind: str, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    source = make_source(kind, tmp_path)
    _, capture = written(source, tmp_path)
    rows, columns = source.description.rows, source.description.columns
    rgb = np.random.default_rng(3).integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    seen = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(capture))))
    expected = with_strip(rgb, [], orientation_letters(source.description))
    assert np.array_equal(seen[:rows, :columns], expected[:rows, :columns])
    [image] = scanned(capture)
    assert image.description.patient_orientation == source.description.patient_orientation
    assert image.description.pixel_spacing_mm is None


@pytest.mark.parametrize("kind", KINDS)
def test_highdicom_reads_back_what_was_said(kind: str, tmp_path: Path) -> None:
    report, _ = written(make_source(kind, tmp_path), tmp_path)
    document = hd.sr.srread(report)
    first, second = document.content.get_image_measurement_groups()
    [probability, low, high] = first.get_measurements(name=hd.sr.CodedConcept("122157", "DCM", "Probability"))
    [threshold] = first.get_measurements(name=hd.sr.CodedConcept("122411", "DCM", "Threshold Value"))
    assert [m.value for m in (probability, low, high, threshold)] == pytest.approx([0.873, 0.81, 0.92, 0.41])
    assert first.finding_type.value == "233604007"
    assert second.finding_type is None


@pytest.mark.reliability
@pytest.mark.parametrize("decision", [None, DECISION, CHINESE])
@pytest.mark.parametrize("kind", ["utf8", "gb18030", "RG1"])
def test_the_patient_is_the_same_for_every_reader(kind: str, decision: Decision | None, tmp_path: Path) -> None:
    source = make_source(kind, tmp_path)
    before = scan([source.path]).patients[0]
    for path in written(source, tmp_path, decision):
        after = scan([path])
        # The report has no image; pydicom reads both.
        header, found = pydicom.dcmread(source.path), pydicom.dcmread(path)
        assert str(found.PatientName) == str(header.PatientName)
        assert found.PatientID == header.PatientID
        assert found.StudyDescription == header.StudyDescription if "StudyDescription" in header else True
        if after.patients:
            assert after.patients[0].name == before.name
            assert after.patients[0].patient_id == before.patient_id


def test_both_join_the_source_in_one_study_of_one_patient(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    source = make_radiograph(folder / "source.dcm", SpecificCharacterSet="GB18030", PatientName="Wang=王^小东")
    written(source, folder, CHINESE)
    collection = scan([folder])
    [patient] = collection.patients
    [study] = patient.studies
    assert len(study.series) == 2
    assert {problem.status for problem in collection.problems} <= {"read"}


def test_the_corpus_is_written_without_errors_of_ours(tmp_path: Path) -> None:
    corpus = samples.corpus()
    if corpus is None:
        pytest.skip("no corpus: set MEDVIEWER_CORPUS")
    tried = 0
    for number, path in enumerate(_one_a_folder(corpus)):
        images = scanned(path)
        source_errors = set(errors_of(path))
        if not images:
            continue
        out = tmp_path / str(number)
        out.mkdir()
        for made in written(images[0], out):
            # An error in what is copied is the source's: it must not be repaired behind the reader's back.
            left = [error for error in errors_of(made) if error not in source_errors]
            assert left == [], (path.name, made.name)
        tried += 1
    assert tried >= 3


def _one_a_folder(corpus: Path) -> list[Path]:
    folders = sorted(folder for folder in corpus.iterdir() if folder.is_dir())
    return [files[0] for folder in folders if (files := sorted(folder.rglob("*.dcm")))][:12]

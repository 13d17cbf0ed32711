"""Objects that lie over a CT of a phantom whose every number is known: PET, dose, map, segmentation, structures.

The CT is axial, 40 x 40 pixels of 4 mm, 20 slices 5 mm apart: its first pixel is at (-78, -78), z from -50 to 45.
All share one frame of reference, study and patient unless a test says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import generate_uid

from tests.dicom_maker import make_dataset, write_dataset

Points = np.ndarray
FRAME_OF_REFERENCE = "1.2.826.0.1.3680043.8.498.1"
STUDY = "1.2.826.0.1.3680043.8.498.2"
CT_SIZE, CT_SPACING, CT_SLICES, CT_STEP = 40, 4.0, 20, 5.0
CT_FIRST = (-78.0, -78.0, -50.0)
RT_DOSE_STORAGE = "1.2.840.10008.5.1.4.1.1.481.2"
PET_STORAGE = "1.2.840.10008.5.1.4.1.1.128"
STRUCTURES_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"

COMMON: dict[str, Any] = {
    "PatientID": "PHANTOM-2", "PatientName": "Phantom^Layers", "PatientSex": "O", "PatientBirthDate": "19700101",
    "StudyInstanceUID": STUDY, "StudyDate": "20240301", "StudyTime": "101500",
    "FrameOfReferenceUID": FRAME_OF_REFERENCE,
}  # fmt: skip


def grid_points(
    first: Sequence[float],
    right: Sequence[float],
    down: Sequence[float],
    spacing: tuple[float, float],
    shape: tuple[int, int],
) -> Points:
    """``(rows, columns, 3)`` LPS mm of the pixels' centres; spacing is (rows, columns)."""
    columns = np.arange(shape[1])[None, :, None] * spacing[1] * np.array(right)
    rows = np.arange(shape[0])[:, None, None] * spacing[0] * np.array(down)
    return np.array(first) + columns + rows


def write_ct(folder: Path, *, series: str = "", reference: str = FRAME_OF_REFERENCE, **attributes: Any) -> list[Path]:
    """The CT: a cylinder of soft tissue in air."""
    folder.mkdir(parents=True, exist_ok=True)
    series = series or generate_uid()
    paths = []
    for index in range(CT_SLICES):
        z = CT_FIRST[2] + index * CT_STEP
        points = grid_points((*CT_FIRST[:2], z), (1, 0, 0), (0, 1, 0), (CT_SPACING,) * 2, (CT_SIZE,) * 2)
        hu = np.where(np.hypot(points[..., 0], points[..., 1]) < 70, 40, -1000)
        own = {
            "BitsStored": 12, "HighBit": 11, "RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU",
            "SeriesInstanceUID": series, "SeriesNumber": 2, "SeriesDescription": "CT", "InstanceNumber": index + 1,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [*CT_FIRST[:2], z],
            "PixelSpacing": [CT_SPACING] * 2, "SliceThickness": CT_STEP, "WindowCenter": "40", "WindowWidth": "400",
            "FrameOfReferenceUID": reference,
        }  # fmt: skip
        dataset = make_dataset((hu + 1024).astype(np.uint16), **COMMON | own | attributes)
        paths.append(write_dataset(folder / f"ct{index:03d}.dcm", dataset))
    return paths


def pet_attributes(**changes: Any) -> dict[str, Any]:
    """What a PET needs for an SUV: 400 MBq at 09:00, scanned at 10:00, half-life 6000 s, 80 kg."""
    item = Dataset()
    item.RadionuclideTotalDose = "4e8"
    item.RadionuclideHalfLife = "6000"
    item.RadiopharmaceuticalStartTime = "090000"
    return {
        "SOPClassUID": PET_STORAGE, "Modality": "PT", "Units": "BQML", "CorrectedImage": ["ATTN", "DECY"],
        "DecayCorrection": "START", "PatientWeight": "80", "SeriesDate": "20240301", "SeriesTime": "100000",
        "AcquisitionDate": "20240301", "AcquisitionTime": "100000",
        "RadiopharmaceuticalInformationSequence": DicomSequence([item]),
    } | changes  # fmt: skip


def write_pet(
    folder: Path,
    activity: Callable[[Points], np.ndarray],
    *,
    turned: bool = False,
    name: str = "pt",
    slices: int = 24,
    slope: float = 2.0,
    **changes: Any,
) -> list[Path]:
    """A PET of another spacing (6.5 mm, 4.2 mm apart): axial, or (``turned``) coronal and upside down."""
    folder.mkdir(parents=True, exist_ok=True)
    right, down = ((1, 0, 0), (0, 1, 0)) if not turned else ((-1, 0, 0), (0, 0, 1))
    normal = np.cross(right, down)
    spacing, shape = (6.5, 6.5), (22, 25)
    middle = (shape[1] - 1) / 2 * spacing[1] * np.array(right) + (shape[0] - 1) / 2 * spacing[0] * np.array(down)
    series = generate_uid()
    paths = []
    for index in range(slices):
        first = -middle + normal * (index - (slices - 1) / 2) * 4.2
        values = activity(grid_points(first, right, down, spacing, shape)) / slope
        attributes = {
            "RescaleSlope": slope, "RescaleIntercept": 0, "SeriesInstanceUID": series, "SeriesNumber": 3,
            "SeriesDescription": "PET", "InstanceNumber": index + 1, "ImageOrientationPatient": [*right, *down],
            "ImagePositionPatient": [float(v) for v in first], "PixelSpacing": list(spacing), "SliceThickness": 4.2,
        }  # fmt: skip
        dataset = make_dataset(np.rint(values).astype(np.uint16), **pet_attributes(**COMMON | attributes | changes))
        paths.append(write_dataset(folder / f"{name}{index:03d}.dcm", dataset))
    return paths


def write_dose(
    path: Path,
    dose_gy: Callable[[Points], np.ndarray],
    *,
    offsets: Sequence[float] | None = None,
    frames: int = 21,
    **changes: Any,
) -> Path:
    """An RT Dose with all of its 32 bits in use: 27 x 31 pixels of 5 mm, planes 5 mm apart from z = -50."""
    first, spacing, shape = np.array([-75.0, -65.0, -50.0]), (5.0, 5.0), (27, 31)
    points = np.stack([
        grid_points(first + np.array([0, 0, index * 5.0]), (1, 0, 0), (0, 1, 0), spacing, shape) for index in range(frames)
    ])  # fmt: skip
    dose = dose_gy(points)
    scaling = float(dose.max()) / (2**32 - 1)
    attributes = {
        "SOPClassUID": RT_DOSE_STORAGE, "Modality": "RTDOSE", "NumberOfFrames": frames,
        "GridFrameOffsetVector": [index * 5.0 for index in range(frames)] if offsets is None else list(offsets),
        "DoseGridScaling": f"{scaling:.10e}", "DoseUnits": "GY", "DoseType": "PHYSICAL",
        "DoseSummationType": "PLAN", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": first.tolist(), "PixelSpacing": list(spacing), "SeriesNumber": 4,
        "SeriesInstanceUID": generate_uid(), "SeriesDescription": "Plan 1",
    }  # fmt: skip
    stored = np.rint(dose / float(f"{scaling:.10e}")).clip(0, 2**32 - 1).astype(np.uint32)
    dataset = make_dataset(stored[0], **COMMON | attributes | changes)
    dataset.PixelData = stored.tobytes()
    return write_dataset(path, dataset)


def voxels(ct: Sequence[Path]) -> Points:
    """``(slices, rows, columns, 3)`` LPS mm of the CT's voxel centres."""
    return np.stack([
        grid_points((*CT_FIRST[:2], CT_FIRST[2] + index * CT_STEP), (1, 0, 0), (0, 1, 0), (CT_SPACING,) * 2, (CT_SIZE,) * 2)
        for index in range(len(ct))
    ])  # fmt: skip


def ball(points: Points, middle: Sequence[float], radius: float) -> np.ndarray:
    """Which points lie within a ball."""
    return np.asarray(((points - np.array(middle)) ** 2).sum(axis=-1) <= radius**2)


def write_segmentation(
    path: Path,
    ct: Sequence[Path],
    masks: Sequence[np.ndarray],
    *,
    kind: str = "BINARY",
    shuffled: bool = False,
    **changes: Any,
) -> Path:
    """A segmentation of the CT made by highdicom: one segment for each mask ``(slices, rows, columns)``."""
    import highdicom as hd
    from highdicom.sr.coding import CodedConcept
    from pydicom import dcmread

    sources = [dcmread(file) for file in ct]
    for source in sources:  # what highdicom copies into its own object
        source.PatientBirthDate, source.AccessionNumber, source.ReferringPhysicianName = "19700101", "", ""
        source.StudyID = ""
    organ = CodedConcept("91723000", "SCT", "Anatomical Structure")
    described = [
        hd.seg.SegmentDescription(
            number, f"Segment {number}", organ, organ, hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            display_color=hd.color.CIELabColor(*[(53.2, 80.1, 67.2), (87.7, -86.2, 83.2)][number - 1]),
        )
        for number in range(1, len(masks) + 1)
    ]  # fmt: skip
    stack = np.stack(masks, axis=-1)
    made = hd.seg.Segmentation(
        source_images=sources, pixel_array=stack.astype(np.float32 if kind == "FRACTIONAL" else np.uint8),
        segmentation_type=kind, segment_descriptions=described, series_instance_uid=generate_uid(), series_number=5,
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer="Nobody", manufacturer_model_name="None",
        software_versions="1", device_serial_number="1",
        **({"fractional_type": "OCCUPANCY", "max_fractional_value": 200} if kind == "FRACTIONAL" else {}),
    )  # fmt: skip
    for name, value in changes.items():
        setattr(made, name, value)
    if shuffled:
        _shuffle(made)
    made.save_as(path)
    return path


def _shuffle(made: Any) -> None:
    """The same frames in another order, each with its own functional groups."""
    from pydicom.pixels import pack_bits

    frames = made.pixel_array
    order = np.random.default_rng(1).permutation(len(frames))
    made.PerFrameFunctionalGroupsSequence = [made.PerFrameFunctionalGroupsSequence[int(index)] for index in order]
    made.PixelData = pack_bits(frames[order].ravel())


def write_map(
    path: Path, ct: Sequence[Path], values: np.ndarray, *, slope: float = 1.0, intercept: float = 0.0
) -> Path:
    """A parametric map of floats made by highdicom on the CT's grid, in mm2/s."""
    import highdicom as hd
    from pydicom import dcmread

    sources = [dcmread(file) for file in ct]
    for source in sources:
        source.PatientBirthDate, source.AccessionNumber, source.ReferringPhysicianName = "19700101", "", ""
        source.StudyID = ""
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="ADC", lut_explanation="Diffusion", unit=hd.sr.CodedConcept("mm2/s", "UCUM", "mm2/s"),
        value_range=(-1e6, 1e6), slope=slope, intercept=intercept,
    )  # fmt: skip
    made = hd.pm.ParametricMap(
        source_images=sources, pixel_array=values.astype(np.float32), series_instance_uid=generate_uid(),
        series_number=6, sop_instance_uid=generate_uid(), instance_number=1, manufacturer="Nobody",
        manufacturer_model_name="None", software_versions="1", device_serial_number="1",
        contains_recognizable_visual_features=False, real_world_value_mappings=[mapping],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1.0)],
    )  # fmt: skip
    made.save_as(path)
    return path


def circle(middle: Sequence[float], radius: float, count: int = 360) -> np.ndarray:
    """``(count, 3)`` LPS mm on a circle in an axial plane."""
    angles = np.arange(count) * 2 * np.pi / count
    return np.stack(
        [middle[0] + radius * np.cos(angles), middle[1] + radius * np.sin(angles), np.full(count, middle[2])], axis=1
    )


def write_structures(path: Path, regions: dict[str, Sequence[np.ndarray]], **changes: Any) -> Path:
    """A structure set with closed outlines; the first region is red, the others have no colour."""
    dataset = Dataset()
    for name, value in {
        **COMMON, "SOPClassUID": STRUCTURES_STORAGE, "SOPInstanceUID": generate_uid(), "Modality": "RTSTRUCT",
        "SeriesInstanceUID": generate_uid(), "SeriesNumber": 7, "StructureSetLabel": "Plan",
        "SpecificCharacterSet": "ISO_IR 192",
    }.items():  # fmt: skip
        setattr(dataset, name, value)
    named, drawn = [], []
    for number, (name, outlines) in enumerate(regions.items(), start=1):
        roi = Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, "MANUAL"
        roi.ReferencedFrameOfReferenceUID = FRAME_OF_REFERENCE
        named.append(roi)
        contours = []
        for outline in outlines:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(outline)
            contour.ContourData = [f"{value:.4f}" for value in np.asarray(outline).ravel()]
            contours.append(contour)
        item = Dataset()
        item.ReferencedROINumber, item.ContourSequence = number, contours
        if number == 1:
            item.ROIDisplayColor = [255, 0, 0]
        drawn.append(item)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = named, drawn
    for name, value in changes.items():
        setattr(dataset, name, value)
    return write_dataset(path, dataset)

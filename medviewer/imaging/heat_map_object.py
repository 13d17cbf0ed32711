"""A heat map as DICOM: its values as a Parametric Map, where they are high as a Segmentation.

Other systems can then lay it over the image, measure in it and compare it, instead of looking at a
coloured copy. It lies pixel on pixel on its source. What the model never saw is NaN: not zero.
Nowhere is it called a lesion: it is where a model looked.
"""

from __future__ import annotations

import math
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

from medviewer.domain.answer import Attribution, Finding
from medviewer.domain.errors import UsageError
from medviewer.domain.study import Image
from medviewer.imaging.derived_frame import (
    BY_SEGMENT,
    add_one_frame,
    describe_maker,
    describe_pixels,
    describe_segmentation,
    describe_shape,
    has_place,
    leave_unplaced,
    place_as_source,
)
from medviewer.imaging.derived_object import (
    BANNER,
    ObjectReference,
    read_header,
    reference_of,
    start_object,
    write_object,
)
from medviewer.imaging.parametric_map import PARAMETRIC_MAP_STORAGE
from medviewer.imaging.report_items import parameters_of
from medviewer.imaging.structured_report import finding_code

_MAP_SERIES, _SEGMENT_SERIES = 9806, 9807
_NOT_AN_OUTLINE = "where the model looked, not the outline of a lesion"
_AMBER_CIELAB = (51_000, 36_500, 50_000)  # of the segment; 0 to 65535 each (PS3.3 C.10.7.1.1)
_TITLE_CHARACTERS = 64  # LO
# By the method; CID 217 has no other words, so that what weighs no feature maps is the general one, saliency.
_KINDS = {
    "class-activation": codes.DCM.ClassActivation,
    "grad-cam": codes.DCM.GradientWeightedClassActivation,
    "grad-cam-plus-plus": codes.DCM.GradientWeightedClassActivation,
}


def write_heat_map(
    source: Image, attribution: Attribution, finding: Finding, *, strongest: float, path: Path
) -> ObjectReference:
    """Write the values of a heat map as a Parametric Map of 32-bit floats in the study of its image.

    The values are those of the method, without unit; what they stand for (CID 218, the method, the finding, the
    model with the digest of its file) is said in the real-world value mapping.

    Args:
        source: the image that was analysed, of the map's size.
        attribution: ``placed`` is written as it is; NaN where nothing was examined.
        finding: which the map explains.
        strongest: the value that a window should show as the strongest; above 0.
        path: where the file goes.

    Returns:
        How a report names it.

    Raises:
        UsageError: the map is of another finding or size, or holds no value.
        InputError: the source's file is gone or is another one now.
        StorageError: the disk is full, read-only or gone; no half file remains.

    Source: PS3.3 A.75 (Parametric Map IOD), C.7.6.24 (Floating Point Image Pixel), C.7.6.16.2.11; PS3.16 CID 217.
    """
    values = _checked(source, attribution, finding)
    header = read_header(source)
    result = started_map(header, source, attribution)
    shared = add_one_frame(result, header, source, derivation=codes.DCM.VisualExplanation)
    describe_values(result, shared, values, attribution, finding, strongest=strongest)
    if has_place(source):
        place_as_source(result, header, source)
    else:
        leave_unplaced(result, header, source)
        # on which it depends that no spacing need be said
        shared.ParametricMapFrameTypeSequence[0].VolumetricProperties = "DISTORTED"
    result.add_new("FloatPixelData", "OF", np.ascontiguousarray(values, "<f4").tobytes())
    write_object(result, header, path)
    return reference_of(result)


def started_map(header: Dataset, source: Image, attribution: Attribution) -> Dataset:
    """Begin a Parametric Map in the study of its source."""
    return _started(header, source, attribution, PARAMETRIC_MAP_STORAGE, "OT", _MAP_SERIES)


def describe_values(
    result: Dataset,
    shared: Dataset,
    values: np.ndarray,
    attribution: Attribution,
    finding: Finding,
    *,
    strongest: float,
) -> None:
    """Say of a Parametric Map what its values stand for and how they should be windowed; ``shared`` of all frames."""
    result.ImageType = ["DERIVED", "PRIMARY", "OTHER", "QUANTITY"]
    result.ContentQualification = "RESEARCH"
    result.ContentLabel = "HEAT_MAP"
    result.AcquisitionContextSequence = []
    result.RecognizableVisualFeatures = "NO"
    result.BitsAllocated = 32
    frame_type, plain, window = Dataset(), Dataset(), Dataset()
    frame_type.FrameType = result.ImageType
    plain.RescaleIntercept, plain.RescaleSlope, plain.RescaleType = 0, 1, "US"
    high = strongest if strongest > 0 and math.isfinite(strongest) else 1.0
    window.WindowWidth = f"{high:.6g}"
    window.WindowCenter = f"{float(f'{high:.6g}') / 2:.9g}"  # so that it begins at 0 exactly
    window.VOILUTFunction = "LINEAR_EXACT"  # LINEAR is for whole numbers: it knows no window narrower than 1
    shared.ParametricMapFrameTypeSequence = [frame_type]
    shared.PixelValueTransformationSequence, shared.FrameVOILUTSequence = [plain], [window]
    shared.RealWorldValueMappingSequence = [_meaning(values, attribution, finding)]


def write_heat_map_segment(
    source: Image, attribution: Attribution, finding: Finding, *, mask: np.ndarray, criterion: str, path: Path
) -> ObjectReference:
    """Write where a heat map is high as a Segmentation with one segment, in the study of its image.

    Args:
        source: the image that was analysed.
        attribution: the map.
        finding: which the map explains.
        mask: ``(rows, columns)`` bool, of the image's size; somewhere true.
        criterion: in words, what the mask's places have in common.
        path: where the file goes.

    Returns:
        How a report names it.

    Raises:
        UsageError: the map is of another finding or size, or the mask is empty.
        InputError, StorageError: as :func:`write_heat_map`.

    Source: PS3.3 A.51 (Segmentation IOD), C.8.20. Without a frame of reference where the source has none: the
    frame is placed by its derivation (A.51.3, Frame of Reference).
    """
    _checked(source, attribution, finding)
    if mask.shape != attribution.placed.shape or not mask.any():
        raise UsageError("Nowhere is the heat map above its threshold, so there is nothing to segment; lower it.")
    header = read_header(source)
    result = _started(header, source, attribution, SegmentationStorage, "SEG", _SEGMENT_SERIES)
    derivation = codes.DCM.SegmentationImageDerivation
    shared = add_one_frame(result, header, source, derivation=derivation, dimension=BY_SEGMENT)
    describe_segmentation(result, [mask])
    result.ContentLabel = "MODEL_ATTENTION"
    result.SegmentSequence = [_segment(attribution, finding, criterion)]
    if has_place(source):
        place_as_source(result, header, source)
    else:
        describe_shape(result, source)
    identification = Dataset()
    identification.ReferencedSegmentNumber = 1
    shared.SegmentIdentificationSequence = [identification]
    write_object(result, header, path)
    return reference_of(result)


def _checked(source: Image, attribution: Attribution, finding: Finding) -> np.ndarray:
    d, values = source.description, attribution.placed
    if values.shape != (d.rows, d.columns):
        raise UsageError("The heat map is not of the image's size; explain this image again before saving it.")
    if attribution.finding != finding.label:
        raise UsageError("The heat map explains another finding; explain this one before saving it.")
    if not np.isfinite(values).any():
        raise UsageError("The heat map holds no value, so there is nothing to save.")
    return values


def _started(
    header: Dataset, source: Image, attribution: Attribution, sop_class_uid: str, modality: str, series_number: int
) -> Dataset:
    result = start_object(header, sop_class_uid=sop_class_uid, modality=modality, series_number=series_number)
    result.SeriesDescription = f"{attribution.method_title}, {attribution.finding}: {BANNER}"[:_TITLE_CHARACTERS]
    result.ContentDescription = f"{attribution.method_title}: {_NOT_AN_OUTLINE}"[:_TITLE_CHARACTERS]
    describe_maker(result, attribution.provenance)
    describe_pixels(result, header, source)
    return result


def _meaning(values: np.ndarray, attribution: Attribution, finding: Finding) -> hd.pm.RealWorldValueMapping:
    """What the values stand for: the kind of explanation, by which method, of which finding, by which model."""
    kind = _KINDS.get(attribution.method, codes.DCM.Saliency)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=attribution.method_title[:16],
        lut_explanation=f"{finding.label}: {_NOT_AN_OUTLINE}"[:_TITLE_CHARACTERS],
        unit=codes.UCUM.NoUnits,
        value_range=(float(np.nanmin(values)), float(np.nanmax(values))),
        slope=1.0,
        intercept=0.0,
        quantity_definition=kind,
    )
    made_by = attribution.provenance
    said: list[Dataset] = [
        *mapping.QuantityDefinitionSequence,
        hd.sr.TextContentItem(codes.SCT.MeasurementMethod, attribution.method_title),
        hd.sr.CodeContentItem(codes.DCM.Finding, finding_code(finding)),
        hd.sr.TextContentItem(codes.DCM.AlgorithmName, made_by.model_id),
        hd.sr.TextContentItem(codes.DCM.AlgorithmVersion, made_by.model_version),
        *(hd.sr.TextContentItem(codes.DCM.AlgorithmParameters, text) for text in parameters_of(made_by)),
    ]
    mapping.add_new("QuantityDefinitionSequence", "SQ", said)
    return mapping


def _segment(attribution: Attribution, finding: Finding, criterion: str) -> hd.seg.SegmentDescription:
    made_by = attribution.provenance
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=f"Where the model looked ({finding.label})"[:_TITLE_CHARACTERS],
        segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
        segmented_property_type=codes.DCM.VisualExplanation,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=f"{made_by.model_id}, {attribution.method_title}"[:_TITLE_CHARACTERS],
            family=codes.DCM.ArtificialIntelligence,
            version=made_by.model_version,
            parameters={"criterion": criterion, **dict(text.split(": ", 1) for text in parameters_of(made_by))},
        ),
        tracking_uid=hd.UID(),
        tracking_id=f"{attribution.method} {finding.label}"[:_TITLE_CHARACTERS],
    )
    segment.SegmentDescription = f"{criterion}: {_NOT_AN_OUTLINE}"
    segment.RecommendedDisplayCIELabValue = list(_AMBER_CIELAB)
    return segment

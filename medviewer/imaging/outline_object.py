"""What a segmentation model outlined, as a DICOM Segmentation: a segment a label, pixel on pixel with the image."""

from __future__ import annotations

import copy
from pathlib import Path

import highdicom as hd
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

from medviewer.domain.answer import Answer, Provenance, Region
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
from medviewer.imaging.report_items import parameters_of

_SERIES = 9808
_TITLE_CHARACTERS = 64  # LO


def write_outlines(source: Image, answer: Answer, *, path: Path) -> ObjectReference:
    """Write the masks of an answer as a binary Segmentation in the study of its image.

    Every label is described as a segment, numbered in the answer's order; one of which nothing was outlined has no
    frame. Without a frame of reference where the source has none: the frames are placed by their derivation.

    Args:
        source: the image that was analysed, of the masks' size.
        answer: with regions, of which at least one is not empty.
        path: where the file goes.

    Returns:
        How a report names it.

    Raises:
        UsageError: nothing was outlined, or on an image of another size.
        InputError: the source's file is gone or is another one now.
        StorageError: the disk is full, read-only or gone; no half file remains.

    Source: PS3.3 A.51 (Segmentation IOD), C.8.20 (Segmentation modules); PS3.16 CID 7150, 7151.
    """
    drawn = drawn_segments(answer)
    if not drawn:
        raise UsageError("Nothing was outlined above the threshold, so there is no segment to write.")
    size = (source.description.rows, source.description.columns)
    if any(region.shape != size for region in answer.regions):
        raise UsageError("The outlines are not of the image's size; run the model on this image again before saving.")
    header, made_by = read_header(source), answer.provenance
    result = start_object(header, sop_class_uid=SegmentationStorage, modality="SEG", series_number=_SERIES)
    result.SeriesDescription = f"{made_by.model_id}: {BANNER}"[:_TITLE_CHARACTERS]
    result.ContentDescription = f"Outlines by {made_by.model_id}"[:_TITLE_CHARACTERS]
    result.ContentLabel = "MODEL_OUTLINES"
    describe_maker(result, made_by)
    describe_pixels(result, header, source)
    add_one_frame(result, header, source, derivation=codes.DCM.SegmentationImageDerivation, dimension=BY_SEGMENT)
    if has_place(source):
        place_as_source(result, header, source)
    else:
        describe_shape(result, source)
    describe_segmentation(result, [region.mask for _, region in drawn])
    result.SegmentSequence = [_segment(n, region, made_by) for n, region in enumerate(answer.regions, start=1)]
    _add_frames(result, [number for number, _ in drawn])
    write_object(result, header, path)
    return reference_of(result)


def drawn_segments(answer: Answer) -> list[tuple[int, Region]]:
    """The regions that are not empty, with the numbers of their segments; one frame each, in this order."""
    return [(number, region) for number, region in enumerate(answer.regions, start=1) if region.pixels]


def _add_frames(result: Dataset, numbers: list[int]) -> None:
    """Make of the one frame that there is one for each segment: at the same place, of its own number."""
    (first,) = result.PerFrameFunctionalGroupsSequence
    frames = []
    for at, number in enumerate(numbers, start=1):
        own, identification = copy.deepcopy(first), Dataset()
        identification.ReferencedSegmentNumber = number
        own.SegmentIdentificationSequence = [identification]
        own.FrameContentSequence[0].DimensionIndexValues = [at]
        frames.append(own)
    result.NumberOfFrames = len(frames)
    result.PerFrameFunctionalGroupsSequence = frames


def _segment(number: int, region: Region, made_by: Provenance) -> hd.seg.SegmentDescription:
    criterion = f"the network's probability of the pixel is {region.threshold:g} or more"
    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=region.label[:_TITLE_CHARACTERS],
        segmented_property_category=_concept(region.category, region.category_meaning),
        segmented_property_type=_concept(region.code, region.code_meaning),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=made_by.model_id[:_TITLE_CHARACTERS],
            family=codes.DCM.ArtificialIntelligence,
            version=made_by.model_version,
            parameters={"criterion": criterion, **dict(text.split(": ", 1) for text in parameters_of(made_by))},
        ),
        tracking_uid=hd.UID(),
        tracking_id=f"{made_by.model_id} {region.label}"[:_TITLE_CHARACTERS],
    )
    found = criterion if region.pixels else "nothing reached the threshold"
    segment.SegmentDescription = f"{BANNER}. {found}."
    segment.RecommendedDisplayCIELabValue = list(CIELabColor.from_rgb(*region.color).value)
    return segment


def _concept(code: str, meaning: str) -> hd.sr.CodedConcept:
    scheme, _, value = code.partition(":")
    return hd.sr.CodedConcept(value, scheme, meaning)

"""What a segmentation model outlined, as measurement groups of a structured report (TID 1410, TID 1501)."""

from __future__ import annotations

import highdicom as hd
from highdicom import sr
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from medviewer.domain.answer import Answer, Region
from medviewer.imaging.derived_object import ObjectReference
from medviewer.imaging.report_items import NETWORK_OUTPUT, algorithm_of, comment, own_code

Group = sr.PlanarROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations


def region_groups(
    answer: Answer, source: sr.SourceImageForMeasurementGroup, outlines: ObjectReference | None
) -> list[Group]:
    """One measurement group a region: what it is, its area, the network's mean output inside, the threshold.

    Args:
        answer: with regions.
        source: the image that was analysed.
        outlines: the Segmentation that holds the masks, of which each group that is not empty names its
            segment (TID 1410); None if there is none: then the groups name the image alone (TID 1501).
    """
    drawn = [number for number, region in enumerate(answer.regions, start=1) if region.pixels]
    return [
        _group(region, answer, source, _place(number, drawn, source, outlines))
        for number, region in enumerate(answer.regions, start=1)
    ]


def _place(
    number: int, drawn: list[int], source: sr.SourceImageForMeasurementGroup, outlines: ObjectReference | None
) -> sr.ReferencedSegmentationFrame | None:
    """The segment that holds a region; None if it is empty or there is no such object."""
    if outlines is None or number not in drawn:
        return None
    place = sr.ReferencedSegmentationFrame(
        outlines.sop_class_uid,
        outlines.sop_instance_uid,
        drawn.index(number) + 1,
        number,
        _for_segmentation(source),
    )
    # Either the segment or the frame is named, never both (PS3.3 Table C.18.4-1): it is the one frame of its segment.
    del place[0].ReferencedSOPSequence[0].ReferencedFrameNumber
    return place


def _group(
    region: Region,
    answer: Answer,
    source: sr.SourceImageForMeasurementGroup,
    place: sr.ReferencedSegmentationFrame | None,
) -> Group:
    concept, category = _concept(region.code, region.code_meaning), _concept(region.category, region.category_meaning)
    outcome = (
        own_code("outlined", "Outlined at or above the threshold")
        if region.pixels
        else own_code("nothing-outlined", "Nothing outlined above the threshold")
    )
    tracking = sr.TrackingIdentifier(hd.UID(), region.label)
    evaluations = [sr.QualitativeEvaluation(concept, outcome)]
    group: Group
    if place is not None:
        group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            referenced_segment=place,
            finding_type=concept,
            finding_category=category,
            algorithm_id=algorithm_of(answer.provenance),
            measurements=_measurements(region),
            qualitative_evaluations=evaluations,
        )
    else:
        group = sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            finding_type=concept if region.pixels else None,
            algorithm_id=algorithm_of(answer.provenance),
            measurements=_measurements(region),
            qualitative_evaluations=evaluations,
            source_images=[source],
        )
    texts = ["The network's output inside is not calibrated.", region.measured]
    texts.append(f"No area in mm2: {region.remark}" if region.area_mm2 is None else f"The area: {region.basis}.")
    group[0].ContentSequence.extend(comment(text) for text in texts if text)
    return group


def _measurements(region: Region) -> list[sr.Measurement]:
    none = codes.UCUM.NoUnits
    numbers = [
        sr.Measurement(own_code("pixels", "Number of pixels inside"), region.pixels, none),
        sr.Measurement(codes.DCM.ThresholdValue, region.threshold, none),
    ]
    if region.area_mm2 is not None:
        numbers.insert(0, sr.Measurement(codes.SCT.Area, region.area_mm2, codes.UCUM.SquareMillimeter))
    if region.mean_probability is not None:
        numbers.append(sr.Measurement(NETWORK_OUTPUT, region.mean_probability, none, derivation=codes.SCT.Mean))
    return numbers


def _for_segmentation(source: sr.SourceImageForMeasurementGroup) -> sr.SourceImageForSegmentation:
    named = source.ReferencedSOPSequence[0]
    frames = named.get("ReferencedFrameNumber")
    numbers = None if frames is None else [int(frames)]
    return sr.SourceImageForSegmentation(named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID, numbers)


def _concept(code: str, meaning: str) -> sr.CodedConcept | Code:
    scheme, _, value = code.partition(":")
    return sr.CodedConcept(value, scheme, meaning)

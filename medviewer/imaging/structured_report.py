"""A model's answer as a DICOM structured report (TID 1500, Imaging Measurement Report).

Any archive or workstation can then show what the model said, with what
probability, against which threshold, and who (which model, which file) said it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import highdicom as hd
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ComprehensiveSRStorage
from pydicom.valuerep import DT

from medviewer.domain.answer import Answer, Attribution, Decision, Finding
from medviewer.domain.errors import UsageError
from medviewer.domain.study import Image
from medviewer.imaging.derived_object import (
    BANNER,
    ObjectReference,
    now_at,
    read_header,
    reference_of,
    start_object,
    write_object,
)
from medviewer.imaging.region_report import region_groups
from medviewer.imaging.report_items import NETWORK_OUTPUT, SCHEME, algorithm_of, comment, own_code

_SERIES_NUMBER = 9801
_MEANING_CHARACTERS = 64  # LO
_ASSESSMENTS = {"accept": "Accepted", "reject": "Rejected", "modify": "Modified"}  # as IHE RAD AIRA has them
_CODES_THAT_NEED_NO_NAME = frozenset({"DCM", "SCT", "SRT", "UCUM", "LN", "UMLS", "RADLEX", SCHEME})


def write_structured_report(  # noqa: PLR0913 - each is another part of what is told
    source: Image,
    answer: Answer,
    *,
    attributions: Sequence[Attribution] = (),
    decision: Decision | None = None,
    shown_by: Sequence[ObjectReference] = (),
    slices: Sequence[Image] = (),
    path: Path,
) -> None:
    """Write an answer as a DICOM SR in the study of the image that it is about.

    Each label becomes a measurement group: the calibrated probability and its
    threshold as numbers, flagged or not as a code (concept: the label, as IHE AI
    Results has it). Only a flagged label is also a "Finding": software that lists
    findings must not list what the model denied. The model is the observer.
    Texts say that this is research, what the guards warned of, on whom the model
    was validated, how far each heat map can be believed, and what the reader decided.

    Args:
        source: the image that was analysed; patient and study are copied from its file.
        answer: findings or regions. An abstention cannot be written: a failure is not a finding.
        attributions: heat maps of this answer; their faithfulness is told in words.
        decision: what the reader thought of it. It does not verify the report:
            that needs a named, accountable person.
        shown_by: objects in the same study that hold heat maps of this answer, or of an answer with regions the
            Segmentation that holds their masks; the report names them.
        slices: of the stack that was analysed as a whole, ``source`` being one of them; empty for one image.
        path: where the file goes.

    Raises:
        UsageError: the model abstained, or a heat map belongs to another answer.
        InputError: the source's file is gone or is another one now.
        StorageError: the disk is full, read-only or gone; no half file remains.

    Source: PS3.16 TID 1500, TID 1501, TID 1004; PS3.3 A.35.3; IHE RAD AI Results (AIR).
    """
    if answer.status != "answer" or not (answer.findings or answer.regions):
        raise UsageError("The model gave no answer, so there is no finding to report; its reasons are in result.json.")
    if not all(attribution.provenance.is_same_question(answer.provenance) for attribution in attributions):
        raise UsageError("A heat map belongs to another answer; explain this answer again before saving it.")
    header = read_header(source)
    report = start_object(header, sop_class_uid=ComprehensiveSRStorage, modality="SR", series_number=_SERIES_NUMBER)
    report.CompletionFlag = "COMPLETE"
    report.VerificationFlag = "UNVERIFIED"
    report.PreliminaryFlag = "PRELIMINARY"
    report.PerformedProcedureCodeSequence = []
    report.ReferencedPerformedProcedureStepSequence = []
    report.CurrentRequestedProcedureEvidenceSequence = [_evidence(header, slices, shown_by)]
    report.CodingSchemeIdentificationSequence = [
        hd.coding_schemes.CodingSchemeIdentificationItem(
            SCHEME, name="MedViewer", responsible_organization="The MedViewer project"
        )
    ]
    content = _content(slices or [source], answer, shown_by)
    remarks = _remarks(answer, attributions, decision, header)
    if not answer.regions:  # their groups name their segments
        remarks.ContentSequence.extend(_explanation(one) for one in shown_by)
    content[0].ContentSequence.append(remarks)
    report.update(content[0])
    write_object(report, header, path)


def _evidence(header: Dataset, slices: Sequence[Image], shown_by: Sequence[ObjectReference]) -> Dataset:
    own = {one.sop_instance_uid: one.description.sop_class_uid for one in slices}
    study, source = Dataset(), reference_of(header)
    study.StudyInstanceUID = header.StudyInstanceUID
    study.ReferencedSeriesSequence = [
        _series(source.series_instance_uid, own or {source.sop_instance_uid: source.sop_class_uid}),
        *(_series(one.series_instance_uid, {one.sop_instance_uid: one.sop_class_uid}) for one in shown_by),
    ]
    return study


def _series(uid: str, instances: Mapping[str, str]) -> Dataset:
    """One series with the SOP classes of its instances, by their UIDs."""
    series = Dataset()
    series.SeriesInstanceUID = uid
    series.ReferencedSOPSequence = []
    for instance_uid, sop_class_uid in instances.items():
        instance = Dataset()
        instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = sop_class_uid, instance_uid
        series.ReferencedSOPSequence.append(instance)
    return series


def _content(slices: Sequence[Image], answer: Answer, shown_by: Sequence[ObjectReference]) -> sr.MeasurementReport:
    sources = _sources(slices)
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, model_observer(answer))
        ),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[
            *(_group(finding, answer, sources) for finding in answer.findings),
            *region_groups(answer, sources[0], shown_by[0] if shown_by else None),
        ],
    )


def _sources(slices: Sequence[Image]) -> list[sr.SourceImageForMeasurementGroup]:
    """The images that were analysed: each object once, with the frames that were."""
    frames: dict[str, list[int]] = {}
    for one in slices:
        frames.setdefault(one.sop_instance_uid, []).append(one.frame + 1)
    first = {one.sop_instance_uid: one for one in reversed(slices)}
    return [
        sr.SourceImageForMeasurementGroup(
            first[uid].description.sop_class_uid, uid, own if first[uid].number_of_frames > 1 else None
        )
        for uid, own in frames.items()
    ]


def model_observer(answer: Answer) -> sr.DeviceObserverIdentifyingAttributes:
    """Name the model as the observer; its UID follows from the model file's sha256 alone."""
    made_by = answer.provenance
    identity = uuid.uuid5(uuid.NAMESPACE_OID, f"medviewer model {made_by.model_sha256}")
    return sr.DeviceObserverIdentifyingAttributes(
        uid=f"2.25.{identity.int}",
        name=answer.model_title,
        model_name=f"{made_by.model_id} {made_by.model_version}",
        serial_number=made_by.model_sha256,
    )


def _group(
    finding: Finding, answer: Answer, sources: Sequence[sr.SourceImageForMeasurementGroup]
) -> sr.MeasurementsAndQualitativeEvaluations:
    concept = finding_code(finding)
    outcome = (
        own_code("flagged", "Flagged: at or above the threshold")
        if finding.flagged
        else own_code("not-flagged", "Not flagged: below the threshold")
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(hd.UID(), finding.label),
        finding_type=concept if finding.flagged else None,
        algorithm_id=algorithm_of(answer.provenance),
        measurements=_measurements(finding, codes.DCM.Probability if answer.is_calibrated else NETWORK_OUTPUT),
        qualitative_evaluations=[sr.QualitativeEvaluation(concept, outcome)],
        source_images=sources,
    )
    calibrated, raw = "The probability is calibrated.", "The number is the network's own output, no probability."
    texts = [calibrated if answer.is_calibrated else raw, finding.meaning]
    if finding.stability is not None:
        texts.append("Minimum and maximum: over small changes of the image that do not change what it shows.")
    group[0].ContentSequence.extend(comment(text) for text in texts if text)
    return group


def _measurements(finding: Finding, kind: sr.CodedConcept | Code) -> list[sr.Measurement]:
    none = codes.UCUM.NoUnits
    numbers = [
        sr.Measurement(kind, finding.probability, none),
        sr.Measurement(codes.DCM.ThresholdValue, finding.threshold, none),
    ]
    if finding.stability is not None:
        low, high = finding.stability
        numbers.append(sr.Measurement(kind, low, none, derivation=codes.SCT.Minimum))
        numbers.append(sr.Measurement(kind, high, none, derivation=codes.SCT.Maximum))
    return numbers


def _remarks(
    answer: Answer, attributions: Sequence[Attribution], decision: Decision | None, header: Dataset
) -> sr.ContainerContentItem:
    """Say in words what bounds the numbers (TID 1500, Qualitative Evaluations)."""
    remarks = sr.ContainerContentItem(
        sr.CodedConcept("C0034375", "UMLS", "Qualitative Evaluations"), relationship_type="CONTAINS"
    )
    texts = [f"{BANNER}."]
    texts += [f"Check {guard.code}: {guard.level}. {guard.text}" for guard in answer.guards]
    texts += [f"Validated on: {answer.validated_on}"] if answer.validated_on else []
    texts += [_on_map(attribution) for attribution in attributions]
    remarks.ContentSequence = sr.ContentSequence([comment(text) for text in texts])
    if decision is not None and decision.kind != "withdrawn":
        remarks.ContentSequence.extend(_on_decision(decision, header))
    return remarks


def _explanation(one: ObjectReference) -> sr.ImageContentItem:
    """Name an object that shows where the model looked (IHE RAD AIR: the report is the root of all results)."""
    return sr.ImageContentItem(
        codes.DCM.VisualExplanation,
        referenced_sop_class_uid=one.sop_class_uid,
        referenced_sop_instance_uid=one.sop_instance_uid,
        relationship_type="CONTAINS",
    )


def _on_map(attribution: Attribution) -> str:
    parts = [f"Heat map {attribution.method_title} for {attribution.finding}, not the outline of a lesion."]
    if attribution.faithfulness is not None:
        parts.append(attribution.faithfulness.sentence)
    if attribution.error is not None:
        parts.append(f"{attribution.error_name}: {attribution.error:.3g}.")
    return " ".join(parts)


def _on_decision(decision: Decision, header: Dataset) -> list[sr.ContentItem]:
    name = own_code("decision", "Reader's decision")
    time = datetime.fromisoformat(decision.time)
    if time.tzinfo is not None:
        time = time.astimezone(now_at(header).tzinfo)
    # dcmtk up to 3.6.9 refuses the offset +0000; without one, the zone is that of the object's other dates.
    written = DT(time.strftime("%Y%m%d%H%M%S.%f%z").removesuffix("+0000"))
    items: list[sr.ContentItem] = [
        sr.CodeContentItem(name, own_code(decision.kind, _ASSESSMENTS[decision.assessment]), "CONTAINS"),
        sr.DateTimeContentItem(own_code("decision-time", "Time of the reader's decision"), written, "CONTAINS"),
    ]
    if decision.value:
        items.append(sr.TextContentItem(own_code("decision-value", "Reported instead"), decision.value, "CONTAINS"))
    if decision.reason:
        items.append(
            sr.TextContentItem(own_code("decision-reason", "Reason of the decision"), decision.reason, "CONTAINS")
        )
    return items


def finding_code(finding: Finding) -> sr.CodedConcept:
    """Give the card's code, or, where it has none that everyone can look up, our own for the label."""
    scheme, _, value = finding.code.partition(":")
    meaning = finding.code_meaning or finding.label
    if not value or scheme not in _CODES_THAT_NEED_NO_NAME:
        scheme, value, meaning = SCHEME, finding.code or finding.label, finding.label
    return sr.CodedConcept(value, scheme, meaning[:_MEANING_CHARACTERS])

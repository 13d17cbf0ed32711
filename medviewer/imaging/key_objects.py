"""Key images as a DICOM Key Object Selection document.

Source: PS3.3 A.35.4 and C.17.6 (Key Object Document), PS3.16 TID 2010, CID 7010; IHE RAD TF-1, 11 (KIN).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from medviewer.domain.answer import Answer, probability_words, threshold_of
from medviewer.domain.errors import UsageError
from medviewer.domain.study import Image
from medviewer.imaging import derived_object
from medviewer.imaging.key_object_reading import KEY_OBJECT_SELECTION
from medviewer.imaging.measurement_report import evidence, observer
from medviewer.imaging.structured_report import model_observer

_SERIES_NUMBER = 9805
KEY_IMAGE_BANNER = "Key images, research use only, not for diagnosis"
_PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")


def write_key_objects(images: Sequence[Image], *, path: Path) -> None:
    """Write which images are key images ("Of Interest", 113000 DCM) as a file in their study.

    Raises:
        UsageError: no image, or images of two studies or patients.
        InputError: an image's file is gone or is another one now.
        StorageError: the disk is full, read-only or gone; no half file remains.
    """
    if not images:
        raise UsageError("There is no key image to save: mark one first.")
    _write(images, observer(), KEY_IMAGE_BANNER, KEY_IMAGE_BANNER, path)


def write_flagged_image(image: Image, answer: Answer, *, path: Path) -> None:
    """Write that a model flagged an image, as a selection ("Of Interest") whose observer is the model.

    Raises:
        UsageError: nothing is flagged.
        InputError, StorageError: as :func:`write_key_objects`.
    """
    kind = "probability" if answer.is_calibrated else "output"
    flagged = [
        f"{finding.label}: {kind} {probability_words(finding.probability, finding.threshold)}, "
        f"threshold {threshold_of(finding)}"
        for finding in answer.findings
        if finding.flagged
    ]
    if answer.status != "answer" or not flagged:
        raise UsageError("The model flagged nothing, so there is no image to name for it.")
    made_by = answer.provenance
    words = "; ".join(flagged)
    description = f"{derived_object.BANNER}. Flagged by {made_by.model_id} {made_by.model_version}: {words}."
    _write([image], model_observer(answer), derived_object.BANNER, description, path)


def _write(
    images: Sequence[Image],
    device: sr.DeviceObserverIdentifyingAttributes,
    series_description: str,
    description: str,
    path: Path,
) -> None:
    headers = {image.sop_instance_uid: derived_object.read_header(image) for image in images}
    header = _one_study(list(headers.values()))
    document = derived_object.start_object(
        header, sop_class_uid=KEY_OBJECT_SELECTION, modality="KO", series_number=_SERIES_NUMBER
    )
    document.SeriesDescription = series_description
    document.ReferencedPerformedProcedureStepSequence = []
    document.CurrentRequestedProcedureEvidenceSequence = [evidence(list(headers.values()))]
    content = sr.ContainerContentItem(name=codes.DCM.OfInterest, template_id="2010")
    content.ContentSequence = sr.ContentSequence(
        [
            *sr.ObserverContext(codes.DCM.Device, device),
            sr.TextContentItem(codes.DCM.KeyObjectDescription, description, sr.RelationshipTypeValues.CONTAINS),
            *(_named(headers[uid], [one for one in images if one.sop_instance_uid == uid]) for uid in headers),
        ]
    )
    document.update(content)
    derived_object.write_object(document, header, path)


def _named(header: Dataset, frames: Sequence[Image]) -> sr.ImageContentItem:
    numbers = [one.frame + 1 for one in frames] if frames[0].number_of_frames > 1 else None
    return sr.ImageContentItem(
        name=hd.sr.CodedConcept("121080", "DCM", "Best illustration of finding"),
        referenced_sop_class_uid=header.SOPClassUID,
        referenced_sop_instance_uid=header.SOPInstanceUID,
        referenced_frame_numbers=numbers,
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )


def _one_study(headers: Sequence[Dataset]) -> Dataset:
    first = headers[0]
    for header in headers[1:]:
        if header.StudyInstanceUID != first.StudyInstanceUID:
            raise UsageError("The key images are of two studies: save each study by itself.")
        if any(str(header.get(keyword) or "") != str(first.get(keyword) or "") for keyword in _PATIENT):
            raise UsageError("The key images name two different patients, so no document can be about both.")
    return first

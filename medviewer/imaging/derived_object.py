"""What every DICOM object that MedViewer writes shares: patient and study, dates, equipment, character set.

A result belongs to the study of the image it is about, as a new series. The
patient and study modules are therefore copied attribute by attribute, with the
values that the source has, wrong or empty as they may be: an archive that sees
two versions of a patient splits the study or refuses it.
"""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pydicom
from pydicom import charset, config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medviewer import __version__
from medviewer.domain.errors import InputError, NotDicomError
from medviewer.domain.study import Image
from medviewer.imaging.whole_file import write_whole

BANNER = "AI result - research use only - not for diagnosis"

# Patient, clinical trial subject, general study, patient study and clinical trial study modules
# (PS3.3 C.7.1.1, C.7.1.3, C.7.2.1, C.7.2.2, C.7.2.3) with the retired attributes that files still carry.
_KEYWORDS = """
    ReferencedPatientSequence PatientName PatientID IssuerOfPatientID TypeOfPatientID
    IssuerOfPatientIDQualifiersSequence SourcePatientGroupIdentificationSequence GroupOfPatientsIdentificationSequence
    PatientBirthDate PatientBirthTime PatientBirthDateInAlternativeCalendar PatientDeathDateInAlternativeCalendar
    PatientAlternativeCalendar PatientSex QualityControlSubject StrainDescription StrainNomenclature
    StrainStockSequence StrainAdditionalInformation StrainCodeSequence GeneticModificationsSequence
    OtherPatientIDs OtherPatientNames OtherPatientIDsSequence ReferencedPatientPhotoSequence EthnicGroup
    EthnicGroupCodeSequence PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription
    PatientBreedCodeSequence BreedRegistrationSequence ResponsiblePerson ResponsiblePersonRole
    ResponsibleOrganization PatientComments PatientIdentityRemoved DeidentificationMethod
    DeidentificationMethodCodeSequence LongitudinalTemporalInformationModified

    ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName IssuerOfClinicalTrialProtocolID
    OtherClinicalTrialProtocolIDsSequence ClinicalTrialSiteID ClinicalTrialSiteName IssuerOfClinicalTrialSiteID
    ClinicalTrialSubjectID IssuerOfClinicalTrialSubjectID ClinicalTrialSubjectReadingID
    IssuerOfClinicalTrialSubjectReadingID ClinicalTrialProtocolEthicsCommitteeName
    ClinicalTrialProtocolEthicsCommitteeApprovalNumber

    StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence ReferringPhysicianName
    ReferringPhysicianIdentificationSequence ConsultingPhysicianName ConsultingPhysicianIdentificationSequence
    StudyDescription ProcedureCodeSequence PhysiciansOfRecord PhysiciansOfRecordIdentificationSequence
    NameOfPhysiciansReadingStudy PhysiciansReadingStudyIdentificationSequence ReferencedStudySequence
    StudyInstanceUID StudyID RequestingService RequestingServiceCodeSequence
    ReasonForPerformedProcedureCodeSequence

    AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence PatientAge PatientSize PatientSizeCodeSequence
    PatientBodyMassIndex MeasuredAPDimension MeasuredLateralDimension PatientWeight MedicalAlerts Allergies
    Occupation SmokingStatus AdditionalPatientHistory PregnancyStatus LastMenstrualDate PatientSexNeutered
    ReasonForVisit ReasonForVisitCodeSequence AdmissionID IssuerOfAdmissionIDSequence ServiceEpisodeID
    ServiceEpisodeDescription IssuerOfServiceEpisodeIDSequence PatientState

    ClinicalTrialTimePointID ClinicalTrialTimePointDescription LongitudinalTemporalOffsetFromEvent
    LongitudinalTemporalEventType ClinicalTrialTimePointTypeCodeSequence IssuerOfClinicalTrialTimePointID
    ConsentForClinicalTrialUseSequence
"""
PATIENT_AND_STUDY = tuple(_KEYWORDS.split())
# Type 2: must be there, may be empty. What the source does not say stays empty.
_MUST_BE_PRESENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
)  # fmt: skip
_UNREADABLE = (
    InvalidDicomError,
    ValueError,
    LookupError,
    NotImplementedError,
    AttributeError,
    TypeError,
    RecursionError,
)
_TEXT_VRS = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})


def read_header(image: Image) -> Dataset:
    """Read what the file of an image says of itself, without its pixels.

    Raises:
        InputError: the file is gone, is not DICOM, or is not the one that was opened: a
            result must never be filed under whoever lies at that path now.
    """
    try:
        with _quietly():
            header = pydicom.dcmread(image.path, stop_before_pixels=True, force=True)
            _decode_texts(header)
    except OSError as error:
        raise InputError(
            f"The image's file cannot be read ({error.strerror or error}); open the study again."
        ) from error
    except _UNREADABLE as error:
        raise NotDicomError("The image's file is no longer readable DICOM; open the study again.") from error
    if str(header.get("SOPInstanceUID", "")) != image.sop_instance_uid:
        raise InputError("The image's file has been replaced since it was opened; open the study again.")
    for keyword, name in (("StudyInstanceUID", "Study"), ("SeriesInstanceUID", "Series"), ("SOPClassUID", "SOP Class")):
        if not header.get(keyword):
            raise InputError(f"The image has no {name} UID, so no DICOM result can refer to it; save as JSON instead.")
    return header


def start_object(header: Dataset, *, sop_class_uid: str, modality: str, series_number: int) -> Dataset:
    """Begin an object in the source's study: same patient, same study, new series, our equipment."""
    result = Dataset()
    with _quietly():
        for keyword in PATIENT_AND_STUDY:
            if keyword in header:
                result[keyword] = copy.deepcopy(header[keyword])
        for keyword in _MUST_BE_PRESENT:
            if keyword not in result:
                setattr(result, keyword, None)
        _forget_item_character_sets(result)
    result.SOPClassUID = sop_class_uid
    result.SOPInstanceUID = generate_uid(prefix=None)
    result.SeriesInstanceUID = generate_uid(prefix=None)
    result.SeriesNumber = series_number
    result.InstanceNumber = 1
    result.Modality = modality
    result.SeriesDescription = BANNER
    result.Manufacturer = "MedViewer"
    result.ManufacturerModelName = "MedViewer"
    result.SoftwareVersions = __version__
    _stamp(result, header)
    return result


def now_at(header: Dataset) -> datetime:
    """Give the present time in the time zone that the source's own dates are in.

    Timezone Offset From UTC speaks of every date of an object, the copied study date
    included, so ours must be told in the source's zone (PS3.3 C.12.1.1.8). Where the
    source names none, dates are local, as everywhere in DICOM.
    """
    offset = str(header.get("TimezoneOffsetFromUTC", "") or "").strip()
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdigit():
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        if minutes <= 14 * 60:
            return datetime.now(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))
    return datetime.now().astimezone()


def _stamp(result: Dataset, header: Dataset) -> None:
    now = now_at(header)
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    result.InstanceCreationDate = result.SeriesDate = result.ContentDate = date
    result.InstanceCreationTime = result.SeriesTime = result.ContentTime = time
    if header.get("TimezoneOffsetFromUTC"):
        result.TimezoneOffsetFromUTC = now.strftime("%z")


def write_object(result: Dataset, header: Dataset, path: Path) -> None:
    """Write the object as a DICOM file, whole or not at all, in a character set that can carry its text.

    The source's own character set is kept where it can hold every text, ours included, so
    that the patient's name is the same byte for byte; otherwise the file is in UTF-8.

    Raises:
        StorageError: the disk is full, read-only or gone.
    """
    wanted = header.get("SpecificCharacterSet")
    if not can_carry(wanted, result):
        wanted = "ISO_IR 192"
    if wanted:
        result.SpecificCharacterSet = wanted
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = result.SOPClassUID
    meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    result.file_meta = meta
    buffer = io.BytesIO()
    with _quietly():
        pydicom.dcmwrite(buffer, result, enforce_file_format=True)
    write_whole(path, buffer.getvalue())


def can_carry(character_set: object, dataset: Dataset) -> bool:
    """Whether every text of the data set comes back the same from this Specific Character Set."""
    names = [character_set] if isinstance(character_set, str) else list(character_set or ())  # type: ignore[call-overload]
    if not any(names) or names in (["ISO_IR 6"], ["ISO 2022 IR 6"]):
        return all(text.isascii() for text in _texts(dataset))
    try:
        encodings = charset.convert_encodings([str(name) for name in names])
    except (LookupError, ValueError):
        return False
    return all(_returns(text, encodings) for text in _texts(dataset))


def _returns(text: str, encodings: list[str]) -> bool:
    # First every character by itself: pydicom would put "?" for one that no set has.
    if not all(any(_encodes(character, encoding) for encoding in encodings) for character in set(text)):
        return False
    return charset.decode_string(charset.encode_string(text, encodings), encodings, set()) == text


def _encodes(character: str, encoding: str) -> bool:
    try:
        return character.encode(encoding).decode(encoding) == character
    except UnicodeError:
        return False


def _texts(dataset: Dataset) -> Iterator[str]:
    for element in dataset.iterall():
        if element.VR in _TEXT_VRS and element.value is not None:
            values = (
                [element.value]
                if isinstance(element.value, str) or not hasattr(element.value, "__iter__")
                else element.value
            )
            for value in values:
                yield from str(value).split("=")


def _decode_texts(header: Dataset) -> None:
    """Turn raw bytes into text while the character set that they are in is still known.

    Text in no declared set is read as the scan reads it: UTF-8 where it is valid, else
    Latin-1. A declared set is pydicom's part.
    """
    is_declared = bool(header.get("SpecificCharacterSet"))
    for keyword in PATIENT_AND_STUDY:
        if keyword in header:
            element = header[keyword]
            for inner in (
                [element, *(i for item in element.value for i in item.iterall())] if element.VR == "SQ" else [element]
            ):
                if not is_declared and inner.VR in _TEXT_VRS:
                    _read_as_utf8(inner)


def _read_as_utf8(element: DataElement) -> None:
    text = str(element.value or "")
    if text.isascii() or element.VM > 1:
        return
    try:
        element.value = text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Take values as they are, and keep pydicom's warnings, which quote them, from every log."""
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _forget_item_character_sets(result: Dataset) -> None:
    """Drop the character sets inside sequence items: the file's own, chosen later, rules them all."""
    for element in result.iterall():
        if element.VR == "SQ":
            for item in element.value:
                if "SpecificCharacterSet" in item:
                    del item.SpecificCharacterSet

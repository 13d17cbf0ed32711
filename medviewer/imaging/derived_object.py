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
import logging
import re
import struct
import warnings
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medviewer import __version__
from medviewer.domain.errors import InputError, NotDicomError
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Image, zone_of
from medviewer.imaging.charset import decode_text
from medviewer.imaging.header import stamp_of
from medviewer.imaging.layout import scan_header
from medviewer.whole_file import write_whole

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings quote values, names among them

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
    BytesLengthException,
    struct.error,
    EOFError,
    ValueError,
    LookupError,
    NotImplementedError,
    AttributeError,
    TypeError,
    RecursionError,
)
# Single-valued sets that one codec writes as every reader reads them (PS3.3 C.12.1.1.2).
_CODECS = {
    "ISO_IR 100": "latin-1", "ISO_IR 101": "iso8859-2", "ISO_IR 109": "iso8859-3", "ISO_IR 110": "iso8859-4",
    "ISO_IR 144": "iso8859-5", "ISO_IR 127": "iso8859-6", "ISO_IR 126": "iso8859-7", "ISO_IR 138": "iso8859-8",
    "ISO_IR 148": "iso8859-9", "ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk",
}  # fmt: skip
_LINE_ENDS = re.compile(rb"([\t\n\f\r]+)")
_TEXT_VRS = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """What another object needs to name one that was written."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


def reference_of(result: Dataset) -> ObjectReference:
    """Name an object that was begun by :func:`start_object`."""
    return ObjectReference(str(result.SOPClassUID), str(result.SOPInstanceUID), str(result.SeriesInstanceUID))


def read_header(image: Image) -> Dataset:
    """Read what the file of an image says of itself, without its pixels.

    Raises:
        InputError: the file is gone, is not DICOM, or is not the one that was opened: a
            result must never be filed under whoever lies at that path now.
    """
    if image.kind != "DICOM":
        raise InputError("The image is no DICOM object, so no DICOM result can refer to it; save as JSON instead.")
    try:
        with _quietly():
            header = pydicom.dcmread(image.file, stop_before_pixels=True, force=True)
    except OSError as error:
        raise InputError(
            f"The image's file cannot be read ({error.strerror or error}); open the study again."
        ) from error
    except _UNREADABLE as error:
        raise NotDicomError("The image's file is no longer readable DICOM; open the study again.") from error
    is_same = str(value_of(header, "SOPInstanceUID") or "") == image.sop_instance_uid
    if not is_same or image.stamp not in ("", stamp_of(scan_header(image.file))):
        raise InputError("The image's file has been replaced since it was opened; open the study again.")
    for keyword, name in _NAMED_BY:
        uid = str(value_of(header, keyword) or "")
        if not _UID.fullmatch(uid):
            has = "an invalid" if uid else "no"
            raise InputError(
                f"The image has {has} {name} UID, so no DICOM result can refer to it; save as JSON instead."
            )
    return header


_NAMED_BY = (
    ("StudyInstanceUID", "Study"), ("SeriesInstanceUID", "Series"), ("SOPClassUID", "SOP Class"),
    ("SOPInstanceUID", "SOP Instance"),
)  # fmt: skip
# Numbers and dots, at most 64 characters (PS3.5 section 9.1). Leading zeros are wrong too, but archives live with them.
_UID = re.compile(r"(?=.{1,64}\Z)[0-9]+(\.[0-9]+)+")


def value_of(header: Dataset, keyword: str) -> Any:
    """What the source says; None if it says nothing.

    Raises:
        InputError: it is damaged, so that nobody can tell what it says.
    """
    with _reading(keyword):
        return header.get(keyword)


@contextlib.contextmanager
def _reading(keyword: str) -> Iterator[None]:
    """Tell of an element that pydicom cannot read, such as a number of too few bytes, as of a source that lacks one."""
    try:
        with _quietly():
            yield
    except (*_UNREADABLE, OSError) as error:
        raise InputError(
            f"The image's header holds a damaged value ({keyword}), so no DICOM result can be filed with it; "
            "save as JSON instead."
        ) from error


def start_object(header: Dataset, *, sop_class_uid: str, modality: str, series_number: int) -> Dataset:
    """Begin an object in the source's study: same patient, same study, new series, our equipment.

    Raises:
        InputError: what the source says of these is damaged.
    """
    result = Dataset()
    copy_elements(header, result, PATIENT_AND_STUDY)
    for keyword in _MUST_BE_PRESENT:
        if keyword not in result:
            setattr(result, keyword, None)
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
    return datetime.now().astimezone(zone_of(str(value_of(header, "TimezoneOffsetFromUTC") or "")))


def _stamp(result: Dataset, header: Dataset) -> None:
    now = now_at(header)
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    result.InstanceCreationDate = result.SeriesDate = result.ContentDate = date
    result.InstanceCreationTime = result.SeriesTime = result.ContentTime = time
    if value_of(header, "TimezoneOffsetFromUTC"):
        result.TimezoneOffsetFromUTC = now.strftime("%z")


def copy_elements(source: Dataset, target: Dataset, keywords: Iterable[str]) -> None:
    """Copy elements with the values that they have; texts as bytes, so that they are not read and written again.

    Raises:
        InputError: one is damaged, so that it cannot be written either.
    """
    for keyword in keywords:
        if keyword in source:
            with _reading(keyword):
                _copy_element(source, target, tag_for_keyword(keyword) or 0)


def _copy_element(source: Dataset, target: Dataset, tag: int) -> None:
    element = _element(source, tag)
    written = element.VR if element.VR not in (None, "UN") else dictionary_VR(tag)
    if isinstance(element, RawDataElement) and written in _TEXT_VRS:
        value = element.value or b""
        target[tag] = element._replace(VR=written, value=value + b" " * (len(value) % 2))
    elif written == "SQ":
        items = [Dataset() for _ in source[tag].value]
        for item, copied in zip(source[tag].value, items, strict=True):
            for inner in list(item.keys()):
                _copy_element(item, copied, inner)
        target[tag] = DataElement(tag, "SQ", items)
    else:
        target[tag] = copy.deepcopy(source[tag])


def _element(dataset: Dataset, tag: int) -> DataElement | RawDataElement:
    """Give an element as it is kept: still in bytes, if nobody has asked for its value."""
    return dataset.get_item(tag)


def write_object(result: Dataset, header: Dataset, path: Path) -> None:
    """Write the object as a DICOM file, whole or not at all, in a character set that can carry its text.

    The source's own character set is kept where it can hold our texts, so that the
    patient's name is the same byte for byte; otherwise the file is in UTF-8, and the
    copied texts are those that the viewer shows.

    Raises:
        StorageError: the disk is full, read-only or gone.
    """
    wanted = value_of(header, "SpecificCharacterSet")
    if not can_carry(wanted, result):
        _turn_into_utf8(result, _as_list(wanted))
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
        _keep_bytes(result)
        pydicom.dcmwrite(buffer, result, enforce_file_format=True)
    write_whole(path, buffer.getvalue())


def _keep_bytes(dataset: Dataset) -> None:
    """Have elements that are still bytes written as they are: pydicom would read and write them anew."""
    for tag in list(dataset.keys()):
        element = _element(dataset, tag)
        if isinstance(element, DataElement) and element.VR == "SQ":
            for item in element.value:
                _keep_bytes(item)
    dataset.set_original_encoding(False, True, dataset._character_set)


def can_carry(character_set: object, dataset: Dataset) -> bool:
    """Whether our own texts in the data set come back the same from this Specific Character Set."""
    names = _as_list(character_set)
    texts = "".join(_own_texts(dataset))
    if "ISO_IR 13" in names or "ISO 2022 IR 13" in names:
        return texts.isascii() and not set(texts) & set("\\~\x1b")  # JIS X 0201 has a yen sign and an overline there
    codec = _CODECS.get(names[0]) if len(names) == 1 else None
    if codec is None:  # the default repertoire; of code extensions, only ASCII needs no escape
        return texts.isascii() and "\x1b" not in texts
    return all(_returns(character, codec) for character in set(texts))


def _returns(character: str, codec: str) -> bool:
    try:
        return character != "\x1b" and character.encode(codec).decode(codec) == character
    except UnicodeError:
        return False


def _as_list(character_set: object) -> list[str]:
    if isinstance(character_set, str):
        return [character_set]
    return [str(name or "") for name in character_set] if isinstance(character_set, Iterable) else []


def _own_texts(dataset: Dataset) -> Iterator[str]:
    """Give the texts that are not copies: those still are the bytes that the source has."""
    for tag in list(dataset.keys()):
        element = _element(dataset, tag)
        if isinstance(element, RawDataElement):
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from _own_texts(item)
        elif element.VR in _TEXT_VRS and element.value:
            for value in [element.value] if element.VM == 1 else element.value:
                yield from str(value).split("=")


def _turn_into_utf8(dataset: Dataset, character_sets: list[str]) -> None:
    """Read the copied texts as the viewer reads them, so that one character set can rule the file."""
    for tag in list(dataset.keys()):
        element = _element(dataset, tag)
        if isinstance(element, RawDataElement):
            if element.VR in _TEXT_VRS:
                text = _decoded(element.value or b"", character_sets, element.VR or "")
                dataset[tag] = DataElement(tag, element.VR, text, validation_mode=config.IGNORE)
        elif element.VR == "SQ":
            for item in element.value:
                own = _as_list(item.get("SpecificCharacterSet"))
                _turn_into_utf8(item, own or character_sets)
                if "SpecificCharacterSet" in item:
                    del item.SpecificCharacterSet


def _decoded(value: bytes, character_sets: list[str], representation: str) -> str:
    # The standard's escapes end with the line (PS3.5 6.1.2.5.3), and line ends must not be made visible.
    parts = _LINE_ENDS.split(value)
    return "".join(
        part.decode("ascii") if i % 2 else "\\".join(decode_text(part, character_sets, representation))
        for i, part in enumerate(parts)
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Take values as they are, and keep pydicom's warnings, which quote them, from every log."""
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

"""What an object that was made pixel on pixel from one image says of its source, its place and its side.

A slice has its place in the patient, and so has what was made from it. A projection has none:
nothing is invented for it. What it was made from is named, with the pixels where they were.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from medviewer.domain.answer import Provenance
from medviewer.domain.errors import InputError
from medviewer.domain.study import Image, Plane
from medviewer.imaging.derived_object import copy_elements, value_of
from medviewer.imaging.orientation import orientation_letters
from medviewer.imaging.report_items import parameters_of
from medviewer.imaging.scale import pixel_aspect

_KEPT = (
    "BodyPartExamined", "Laterality", "ImageLaterality", "AnatomicRegionSequence",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
_SIDES = frozenset({"R", "L", "U", "B"})
# PS3.16 annex L: parts of which there are not two.
_UNPAIRED = frozenset(
    """
    ABDOMEN ABDOMENPELVIS AORTA BACK BLADDER BRAIN CEREBELLUM CHEST CHESTABDOMEN CHESTABDPELVIS COCCYX COLON CSPINE
    CTSPINE DUODENUM ESOPHAGUS FACE GALLBLADDER HEAD HEADNECK HEART ILEUM ILIUM JAW JEJUNUM LARYNX LIVER LSPINE
    LSSPINE MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE PANCREAS PELVIS PENIS
    PHARYNX PROSTATE RECTUM SCALP SKULL SPINE SPLEEN SSPINE STERNUM STOMACH THYMUS THYROID TLSPINE TONGUE TRACHEA
    TSPINE URETER URETHRA UTERUS VAGINA VULVA WHOLEBODY
    """.split()  # noqa: SIM905 - a list of words, not of strings
)
BY_PLACE = (0x00209057, 0x00209111, "In-Stack Position Number")
BY_SEGMENT = (0x0062000B, 0x0062000A, "Referenced Segment Number")
"""What the one frame is found by: attribute, its functional group, in words (PS3.3 C.7.6.17)."""


def describe_side(result: Dataset, header: Dataset, source: Image) -> None:
    """Say which side the pixels show: whatever the source says of it, and nothing that it does not."""
    letters = orientation_letters(source.description)
    result.PatientOrientation = [letters.right, letters.bottom] if letters.right and letters.bottom else None
    # Once lossy, always lossy (PS3.3 C.7.6.1.1.5).
    copy_elements(header, result, [keyword for keyword in _KEPT if value_of(header, keyword)])
    side = source.description.image_laterality
    if side in _SIDES and side not in (result.get("Laterality"), result.get("ImageLaterality")):
        result.ImageLaterality = side  # as enhanced objects say it, of each frame (PS3.3 C.7.6.16.2.8)
        result.pop("Laterality", None)
    is_told = "Laterality" in result or "ImageLaterality" in result
    if not is_told and str(result.get("BodyPartExamined")) not in _UNPAIRED:
        result.Laterality = None  # type 2C: empty says that it is not known, absent that there are no two sides
    if source.description.is_lossy:
        result.LossyImageCompression = "01"


def describe_maker(result: Dataset, made_by: Provenance) -> None:
    """Name the model as equipment that contributed (PS3.3 C.12.1.1.5): its file's digest is its serial number."""
    item, purpose = Dataset(), _code(codes.DCM.ProcessingEquipment)
    item.Manufacturer = "unknown"
    item.ManufacturerModelName = made_by.model_id
    item.SoftwareVersions = made_by.model_version
    item.DeviceSerialNumber = made_by.model_sha256
    item.ContributionDescription = "; ".join(parameters_of(made_by))
    item.PurposeOfReferenceCodeSequence = [purpose]
    result.ContentCreatorName = None
    result.DeviceSerialNumber = made_by.model_sha256
    result.ContributingEquipmentSequence = [item]


def describe_pixels(result: Dataset, header: Dataset, source: Image) -> None:
    """Say what values that were computed from an image's pixels have in common with them."""
    describe_side(result, header, source)
    if "LossyImageCompression" not in result:
        result.LossyImageCompression = "00"
    result.BurnedInAnnotation = "NO"
    result.SamplesPerPixel = 1
    result.PhotometricInterpretation = "MONOCHROME2"
    result.PresentationLUTShape = "IDENTITY"


def describe_shape(result: Dataset, source: Image) -> None:
    """Say that pixels are no squares, where nothing else does: Pixel Aspect Ratio (type 1C, PS3.3 C.7.6.3.1.7)."""
    shape = Fraction(pixel_aspect(source.description)).limit_denominator(10_000)
    if shape > 0 and shape != 1:
        result.PixelAspectRatio = [shape.numerator, shape.denominator]


def describe_segmentation(result: Dataset, masks: Sequence[np.ndarray]) -> None:
    """Put masks in as the frames of a binary segmentation, one bit a pixel (PS3.3 C.8.20.2, PS3.5 8.1.1).

    Args:
        result: has been given its pixels' description.
        masks: ``(rows, columns)`` bool, one a frame.
    """
    if "Laterality" in result:  # of a series of images; a segmentation's frame says it of itself
        if result.Laterality:
            result.ImageLaterality = result.Laterality
        del result.Laterality
    result.ImageType = ["DERIVED", "PRIMARY"]
    result.SegmentationType = "BINARY"
    result.SegmentsOverlap = "YES" if (np.sum(masks, axis=0, dtype=np.uint16) > 1).any() else "NO"
    result.BitsAllocated = result.BitsStored = 1
    result.HighBit = result.PixelRepresentation = 0
    bits = np.concatenate([np.ascontiguousarray(mask, np.uint8).ravel() for mask in masks])
    packed = np.packbits(bits, bitorder="little").tobytes()
    result.add_new("PixelData", "OB", packed + b"\0" * (len(packed) % 2))


def place_frames(  # noqa: PLR0913 - where each frame lies, and what it was made of
    result: Dataset,
    header: Dataset,
    slices: Sequence[Image],
    *,
    planes: Sequence[Plane],
    spacing_mm: tuple[float, float],
    shape: tuple[int, int],
    derivation: object = codes.DCM.VisualExplanation,
) -> Dataset:
    """Give a multi-frame object a frame for each slice of a stack, each with its own place in the patient.

    Args:
        result: gets dimensions, references and functional groups.
        header: of the file of one of the slices.
        slices: of one series and one frame of reference, in the order of the frames.
        planes: where each frame lies; its orientation is that of the first one.
        spacing_mm: between rows and between columns of each frame.
        shape: rows and columns of each frame.
        derivation: the code of what was done to the slices (CID 7203).

    Returns:
        The item of the shared functional groups, for what else belongs there.
    """
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [_decimal(value) for value in spacing_mm]
    if (thickness := _thickness(header)) is not None:
        measures.SliceThickness = thickness
    orientation.ImageOrientationPatient = [
        _decimal(value) for value in (*planes[0].row_cosine, *planes[0].column_cosine)
    ]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    frames = []
    for number, (source, plane) in enumerate(zip(slices, planes, strict=True), start=1):
        own, content, position = Dataset(), Dataset(), Dataset()
        content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", number, [number]
        position.ImagePositionPatient = [_decimal(value) for value in plane.position]
        own.FrameContentSequence, own.PlanePositionSequence = [content], [position]
        own.DerivationImageSequence = [derived_from([source], derivation)]
        frames.append(own)
    result.NumberOfFrames = len(frames)
    result.Rows, result.Columns = shape
    result.SharedFunctionalGroupsSequence, result.PerFrameFunctionalGroupsSequence = [shared], frames
    index_by(result, BY_PLACE)
    result.ReferencedSeriesSequence = [series_of(header, slices)]
    result.FrameOfReferenceUID = slices[0].frame_of_reference_uid
    result.PositionReferenceIndicator = value_of(header, "PositionReferenceIndicator") or None
    return shared


def derived_from(slices: Sequence[Image], derivation: object) -> Dataset:
    """From which images a frame was made, and how (an item of the Derivation Image Sequence)."""
    derived = Dataset()
    derived.DerivationCodeSequence = [_code(derivation)]
    derived.SourceImageSequence = [_reference(one.description.sop_class_uid, one) for one in slices]
    return derived


def series_of(header: Dataset, slices: Sequence[Image]) -> Dataset:
    """Name the instances of one series, each once (an item of the Referenced Series Sequence)."""
    series = Dataset()
    series.SeriesInstanceUID = header.SeriesInstanceUID
    series.ReferencedInstanceSequence = []
    for uid, sop_class in {one.sop_instance_uid: one.description.sop_class_uid for one in slices}.items():
        instance = Dataset()
        instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = sop_class, uid
        series.ReferencedInstanceSequence.append(instance)
    return series


def reference_to(header: Dataset, source: Image) -> Dataset:
    """Name the image that pixels were made from, with its frame; they lie where its own do."""
    return _reference(header.SOPClassUID, source)


def _reference(sop_class_uid: str, source: Image) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class_uid
    reference.ReferencedSOPInstanceUID = source.sop_instance_uid
    if source.number_of_frames > 1:
        reference.ReferencedFrameNumber = source.frame + 1
    reference.PurposeOfReferenceCodeSequence = [_code(codes.DCM.SourceImageForImageProcessingOperation)]
    reference.SpatialLocationsPreserved = "YES"
    return reference


def add_one_frame(
    result: Dataset, header: Dataset, source: Image, *, derivation: object, dimension: tuple[int, int, str] = BY_PLACE
) -> Dataset:
    """Give a multi-frame object its one frame, made pixel on pixel from the source.

    Args:
        result: gets dimensions, references and functional groups.
        header: of the source's file.
        source: its plane and frame of reference become the frame's own, where it has both.
        derivation: the code of what was done to the source (CID 7203).
        dimension: what the frame is found by.

    Returns:
        The item of the shared functional groups, for what else belongs there.

    Source: PS3.3 C.7.6.16 (functional groups), C.7.6.17 (dimensions), C.12.2 (common instance reference).
    """
    shared, own, content = Dataset(), Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", 1, [1]
    own.FrameContentSequence = [content]
    own.DerivationImageSequence = [derived_from([source], derivation)]
    result.NumberOfFrames = 1
    result.Rows, result.Columns = source.description.rows, source.description.columns
    result.SharedFunctionalGroupsSequence, result.PerFrameFunctionalGroupsSequence = [shared], [own]
    index_by(result, dimension)
    result.ReferencedSeriesSequence = [series_of(header, [source])]
    return shared


def has_place(source: Image) -> bool:
    """Whether the source says where its pixels lie in the patient."""
    d = source.description
    return d.plane is not None and d.pixel_spacing_mm is not None and bool(source.frame_of_reference_uid)


def place_as_source(result: Dataset, header: Dataset, source: Image) -> None:
    """Give the one frame the source's place in the patient; the source must have one."""
    plane, spacing = source.description.plane, source.description.pixel_spacing_mm
    assert plane is not None and spacing is not None  # noqa: S101, PT018 - the caller asked has_place
    shared, own = result.SharedFunctionalGroupsSequence[0], result.PerFrameFunctionalGroupsSequence[0]
    measures, orientation, position = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [_decimal(value) for value in spacing]
    thickness = _thickness(header)
    if thickness is not None:
        measures.SliceThickness = thickness
    orientation.ImageOrientationPatient = [_decimal(value) for value in (*plane.row_cosine, *plane.column_cosine)]
    position.ImagePositionPatient = [_decimal(value) for value in plane.position]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    own.PlanePositionSequence = [position]
    result.FrameOfReferenceUID = source.frame_of_reference_uid
    result.PositionReferenceIndicator = value_of(header, "PositionReferenceIndicator") or None


def leave_unplaced(result: Dataset, header: Dataset, source: Image) -> None:
    """Say that the one frame has no place in the patient, in an object that must have a frame of reference.

    The frame of reference is one of the image alone: nothing else is in it, so nothing can be laid beside it
    by numbers. Spacing, orientation and position are left out, as DISTORTED allows (PS3.3 C.7.6.16.2.1, 2.3, 2.4).
    """
    shared, own = result.SharedFunctionalGroupsSequence[0], result.PerFrameFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [Dataset()], [Dataset()]
    own.PlanePositionSequence = [Dataset()]
    alone = uuid.uuid5(uuid.NAMESPACE_OID, f"medviewer frame of {header.SOPInstanceUID} {source.frame}")
    result.FrameOfReferenceUID = f"2.25.{alone.int}"
    result.PositionReferenceIndicator = None


def index_by(result: Dataset, *dimensions: tuple[int, int, str]) -> None:
    """Say by which attributes frames are found, the first one first: attribute, its functional group, in words."""
    organization, uid = Dataset(), generate_uid(prefix=None)
    organization.DimensionOrganizationUID = uid
    result.DimensionOrganizationSequence, result.DimensionIndexSequence = [organization], []
    for pointer, group, label in dimensions:
        index = Dataset()
        index.DimensionOrganizationUID = uid
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, group
        index.DimensionDescriptionLabel = label
        result.DimensionIndexSequence.append(index)


def _thickness(header: Dataset) -> str | None:
    """The slice thickness, from the image itself or from what all its frames share; what is no number is not known."""
    shared = _item(header, "SharedFunctionalGroupsSequence")
    for place in (header, _item(shared, "PixelMeasuresSequence")):
        try:
            value = float(value_of(place, "SliceThickness"))
        except (InputError, TypeError, ValueError, OverflowError):  # nothing, "5,0", several
            continue
        if 0 < value < math.inf:
            return _decimal(value)
    return None


def _item(dataset: Dataset, keyword: str) -> Dataset:
    """The first item of a sequence; an empty one where there is none."""
    try:
        return Dataset() if not (items := value_of(dataset, keyword)) else items[0]
    except InputError:
        return Dataset()


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2) with as many digits as it can hold."""
    for digits in range(15, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{value:.1g}"


def _code(code: object) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning  # type: ignore[attr-defined]
    return item

"""Patients, studies, series and images, as read from files. No pixels here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from medviewer.domain.frozen import dataclass

VoiFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
SpacingSource = Literal["patient plane", "at detector", "calibrated"]
FileKind = Literal["DICOM", "NIfTI", "NRRD", "picture"]
AxisName = Literal["time", "b-value", "echo", "inversion", "acquisition"]
DocumentKind = Literal["report", "pdf", "waveform"]
StackOrder = Literal["position", "frame number", "instance number", "acquisition time", "file name", "single"]


@dataclass(frozen=True, slots=True)
class Window:
    """A window: which modality values are spread over black to white (PS3.3 C.11.2.1.2).

    With a ``voi_lut`` it stands for that one of the image's VOI look-up tables, and spans what it maps; an image that
    has no such table is shown with the window itself.
    """

    center: float
    width: float
    function: VoiFunction = "LINEAR"
    name: str = ""
    voi_lut: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LookUpTable:
    """A modality or VOI look-up table (PS3.3 C.11.1, C.11.2): ``values[stored - first]``, clamped."""

    values: np.ndarray  # (n,) integer
    first: int
    bits: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Plane:
    """Where an image lies in the patient (PS3.3 C.7.6.2): LPS, mm.

    ``row_cosine`` is the direction in which the column index grows (the first
    triple of Image Orientation), ``column_cosine`` the one in which the row
    index grows; ``position`` is the centre of the first pixel.
    """

    position: tuple[float, float, float]
    row_cosine: tuple[float, float, float]
    column_cosine: tuple[float, float, float]

    @property
    def normal(self) -> tuple[float, float, float]:
        """The unit normal, row x column."""
        # Asked for many times a frame: numpy takes fifty times as long for three numbers.
        (ax, ay, az), (bx, by, bz) = self.row_cosine, self.column_cosine
        return (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)


@dataclass(frozen=True, slots=True)
class UltrasoundRegion:
    """A part of an ultrasound image with physical axes of its own (PS3.3 C.8.5.5).

    Attributes:
        first: (column, row) of the first pixel, 0-based.
        last: (column, row) of the last pixel; it belongs to the region.
        units: along (columns, rows), UCUM: "cm", "s", "cm/s", ...; "" where the file names none.
        delta: change a pixel along (columns, rows), in ``units``; negative where the axis runs the other way.
        reference_pixel: (column, row) of the baseline from ``first``, which may lie outside the region.
        reference_value: what ``reference_pixel`` stands for, in ``units``.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    units: tuple[str, str]
    delta: tuple[float, float]
    reference_pixel: tuple[int, int] | None = None
    reference_value: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class RealWorldValues:
    """What stored values stand for: ``stored x slope + intercept`` in ``unit``, from ``first`` to ``last`` (stored)."""

    slope: float
    intercept: float
    unit: str
    name: str = ""
    first: float | None = None  # None: all values are mapped
    last: float | None = None
    is_explanation: bool = False  # of why a model said something (PS3.16 CID 217), not of anything in the patient


@dataclass(frozen=True, slots=True, eq=False)
class PixelDescription:
    """How to read, show and measure an image's pixels. Holds no identity.

    ``None`` and empty mean that the file does not say; nothing is guessed.
    ``pixel_spacing_mm`` is (between rows, between columns), only if it is
    usable for measuring; otherwise ``no_measuring_because`` says why not.
    """

    modality: str
    rows: int
    columns: int
    samples_per_pixel: int = 1
    photometric_interpretation: str = "MONOCHROME2"
    bits_stored: int = 16
    is_signed: bool = False
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    rescale_type: str = ""
    modality_lut: LookUpTable | None = None
    windows: tuple[Window, ...] = ()
    voi_luts: tuple[LookUpTable, ...] = ()
    presentation_lut: LookUpTable | None = None  # over the grey levels; of a presentation state, never of an image
    pixel_padding_range: tuple[float, float] | None = None  # stored values
    body_part_examined: str = ""
    view_position: str = ""
    image_laterality: str = ""
    patient_orientation: tuple[str, str] | None = None  # (row direction, column direction), e.g. ("L", "F")
    plane: Plane | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    spacing_source: SpacingSource | None = None
    no_measuring_because: str = ""
    pixel_aspect_ratio: float | None = None  # height over width, where it stands in the place of a spacing
    ultrasound_regions: tuple[UltrasoundRegion, ...] = ()
    value_unit: str = ""  # of a PET's or a dose's modality values: "Bq/ml", "{counts}", "Gy", ...
    value_name: str = ""  # of a dose: its type, and what part of the plan it is of, as the file says ("PHYSICAL, BEAM")
    real_world: RealWorldValues | None = None  # of a parametric map
    suv_factor: float | None = None  # PET: SUVbw in g/ml = modality value x this; identity-free, unlike its parts
    no_suv_because: str = ""
    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    is_lossy: bool | None = False  # None: it may be
    lossy_ratio: float | None = None
    has_burnt_in_annotation: bool | None = None


@dataclass(frozen=True, slots=True)
class Caveat:
    """A repair or a doubt that the reader must see: a stable code and one sentence."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One frame of one DICOM object, volume or picture: where it is and what it is. Pixels are read on demand.

    ``path`` is the one to show: of a file in an archive it is the archive's path with the
    member's name behind it, and ``unpacked`` is where its bytes lie. A file may be written
    over under the same UID, and what is no DICOM has none: ``stamp`` tells whether it is still
    the same; "" where nobody asked. ``scratch`` is a place for its pixels where they have to be
    inflated. ``axis_values`` tell it from other images of the same place: the number by the
    attribute's keyword, where the file says one.
    """

    path: Path
    frame: int  # 0-based
    sop_instance_uid: str
    description: PixelDescription
    instance_number: int | None = None
    number_of_frames: int = 1
    acquisition_time: str = ""
    frame_rate_hz: float | None = None  # at which the file wishes to be played; None where it does not say
    is_rate_mean: bool = False  # of frames that did not follow each other evenly
    axis_values: Mapping[str, float] = field(default_factory=lambda: _NO_VALUES)
    warnings: tuple[Caveat, ...] = ()
    unpacked: Path | None = None
    kind: FileKind = "DICOM"
    stamp: str = ""
    scratch: Path | None = None
    frame_of_reference_uid: str = ""  # in which its plane's numbers mean a place; "" where the file does not say
    made_on: tuple[str, int | None] | None = None  # of a map: the image (UID, frame if told) on whose pixels it lies

    @property
    def file(self) -> Path:
        """The file on the disk to read."""
        return self.unpacked or self.path

    @property
    def key(self) -> tuple[str, str, int]:
        """Identifies the image in this session: (path, SOP Instance UID, frame)."""
        return (str(self.path), self.sop_instance_uid, self.frame)

    def bears(self, made_on: tuple[str, int | None] | None) -> bool:
        """Whether a map that was made on an image lies on this one; without a frame only if there is one frame."""
        if made_on is None or made_on[0] != self.sop_instance_uid:
            return False
        return made_on[1] == self.frame or (made_on[1] is None and self.number_of_frames == 1)


_NO_VALUES: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SecondAxis:
    """Along what the volumes of a stack follow each other, where several images lie at each place.

    Attributes:
        name: what changes from one volume to the next.
        unit: of the values ("ms", "s", "s/mm²"); "" where volumes are only counted.
        values: of each image of the stack, as its own file says. Slices of one volume may differ a little, as
            hearts do, but never so much that they reach into the next volume.
        slices: images in one volume.
    """

    name: AxisName
    unit: str
    values: tuple[float, ...]
    slices: int

    @property
    def size(self) -> int:
        """How many volumes there are."""
        return len(self.values) // self.slices


@dataclass(frozen=True, slots=True)
class Acquisition:
    """How the images of a stack were made, as the first file of it says: what is alike in an earlier study.

    Attributes:
        image_type: the words of Image Type (PS3.3 C.7.6.1.1.2) in capitals: ``ORIGINAL``, ``PRIMARY``, ``LOCALIZER``.
        protocol_name: what the scanner calls the way in which it was acquired.
        kernel: of a CT's reconstruction.
        thickness_mm: of a slice; None where the file does not say.
        contrast_agent: "" where none is named.
    """

    image_type: tuple[str, ...] = ()
    protocol_name: str = ""
    kernel: str = ""
    thickness_mm: float | None = None
    contrast_agent: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Images of one series that share a geometry, in display order.

    With a second ``axis`` they are volumes of the same places one after the other, each in
    the order of its places; order, affine and spacing are those of every one of them.
    """

    images: tuple[Image, ...]
    order: StackOrder = "single"
    affine: np.ndarray | None = None  # (4, 4) voxel (column, row, slice) -> LPS mm; None where there is none
    spacing_mm: tuple[float | None, float | None, float | None] = (None, None, None)  # columns, rows, slices
    warnings: tuple[Caveat, ...] = ()
    axis: SecondAxis | None = None
    acquisition: Acquisition = Acquisition()

    @property
    def slices(self) -> int:
        """How many images lie in one volume: all, where there is no second axis."""
        return self.axis.slices if self.axis is not None else len(self.images)

    def volume_span(self, index: int) -> range:
        """The indices of the images of the volume that the image belongs to."""
        first = index // self.slices * self.slices
        return range(first, first + self.slices)

    def scroll_span(self, index: int) -> range:
        """The indices that scrolling goes through: one volume; all volumes where each is a single image."""
        return range(len(self.images)) if self.slices == 1 else self.volume_span(index)

    def volume_at(self, index: int) -> Stack:
        """The volume that the image belongs to, as a stack of its own; never parts of two."""
        if self.axis is None:
            return self
        span = self.volume_span(index)
        return replace(self, images=self.images[span.start : span.stop], axis=None)


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One DICOM object that is read instead of looked at: a structured report, an encapsulated PDF, a waveform.

    ``path`` and ``unpacked`` are as those of an :class:`Image`. ``title`` is what the file calls it, or the
    name of its kind in the standard; it may hold identity.
    """

    path: Path
    kind: DocumentKind
    title: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str = ""
    modality: str = ""
    date: str = ""  # DICOM DA, of its content
    time: str = ""
    unpacked: Path | None = None

    @property
    def file(self) -> Path:
        """The file on the disk to read."""
        return self.unpacked or self.path

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the document in this session: (path, SOP Instance UID)."""
        return (str(self.path), self.sop_instance_uid)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One DICOM series."""

    series_instance_uid: str
    modality: str
    description: str = ""
    number: int | None = None
    date: str = ""  # DICOM DA, YYYYMMDD
    time: str = ""
    body_part_examined: str = ""
    frame_of_reference_uid: str = ""
    stacks: tuple[Stack, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One DICOM study."""

    study_instance_uid: str
    description: str = ""
    date: str = ""
    time: str = ""
    accession_number: str = ""
    study_id: str = ""
    patient_age: str = ""  # DICOM AS as the file gives it
    referring_physician: str = ""
    institution: str = ""
    series: tuple[Series, ...] = ()
    documents: tuple[Document, ...] = ()  # by date and time
    utc_offset: str = ""  # of date and time, as the file gives it: "+0800"; "" where they are local time

    @property
    def zone(self) -> timezone | None:
        """The time zone that date and time are in; None where the file names none: local time is meant."""
        return zone_of(self.utc_offset)


def zone_of(offset: str) -> timezone | None:
    """The time zone behind a DICOM Timezone Offset From UTC (``&ZZXX``, PS3.3 C.12.1.1.8); None if it is none."""
    text = offset.strip()
    if len(text) != 5 or text[0] not in "+-" or not (text[1:].isascii() and text[1:].isdigit()):
        return None
    hours, minutes = int(text[1:3]), int(text[3:])
    if minutes > 59 or 60 * hours + minutes > 14 * 60:
        return None
    return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes))


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """Who the studies belong to, as the files say. Names are shown as plain text only.

    ``key`` tells one patient of a scan from every other, also where all that the files say is the same
    (no number, no name); it stays when a later file completes who the patient is. Empty outside a scan.
    """

    patient_id: str
    issuer: str = ""
    name: str = ""  # decoded, alphabetic group first, e.g. "Yamada^Tarou=山田^太郎=やまだ^たろう"
    birth_date: str = ""
    sex: str = ""
    studies: tuple[Study, ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One file that cannot be used, or that is used with a caveat."""

    path: Path
    reason: str
    status: Literal["refused", "read"] = "refused"  # "read": understood, but nothing to show
    unpacked: Path | None = None  # where its bytes lie if not at ``path``, as long as something may be read of it

    @property
    def file(self) -> Path:
        """The file on the disk to read."""
        return self.unpacked or self.path


def _nothing() -> None:
    """What is to be removed where nothing was unpacked."""


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """All that a scan of some paths found: every file is shown or in ``problems``.

    ``release`` removes what was unpacked for it, when it is not needed any more;
    ``remarks`` are sentences for the reader about the scan itself.
    """

    patients: tuple[Patient, ...] = ()
    problems: tuple[Problem, ...] = ()
    shown: tuple[Path, ...] = field(default=())
    release: Callable[[], None] = _nothing
    remarks: tuple[str, ...] = ()

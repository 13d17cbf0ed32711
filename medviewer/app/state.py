"""The state: everything that the window shows, frozen and replaced whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from medviewer.app.data_questions import DataAnswer, ModelOffer
from medviewer.app.hanging_protocol import Protocols, Vacancy
from medviewer.app.presets import CT_PRESETS, Presets
from medviewer.app.shortcuts import Changes
from medviewer.app.told import Told
from medviewer.domain.answer import Answer, Attribution, Decision, Impression, Subject
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.layer import LayerPlane, LayerSource
from medviewer.domain.measurement import Measurement, MeasurementKind, Quantity, Where
from medviewer.domain.presentation import KeyObjects, PresentationState
from medviewer.domain.report import Report
from medviewer.domain.study import Collection, Document, Image, Patient, Series, Stack, Study, Window
from medviewer.domain.waveform import Waveform
from medviewer.imaging.camera import Box, Camera, Look
from medviewer.imaging.pdf import Pdf
from medviewer.imaging.reslice import Axes, PlaneGrid, PlaneName, Slab
from medviewer.imaging.structure_set import StructureFile
from medviewer.imaging.transfer import Transfer
from medviewer.imaging.voxel_block import VoxelBlock
from medviewer.records.record import PatientRecord

Tool = Literal["window", "pan", "zoom", "scroll"] | MeasurementKind
CornerText = Literal["all", "minimal", "none"]
HeatMap = Literal["first", "second", "difference", "none"]
Key = tuple[str, str, int]  # of an image: path, SOP Instance UID, frame
Measured = Where
Stored = tuple[str, int]  # a stored image: SOP Instance UID, frame
Measurements = Mapping[Measured, tuple[Measurement, ...]]
Content = Report | Waveform | Pdf
EMPTY: Mapping[Any, Any] = MappingProxyType({})


def _empty() -> Mapping[Any, Any]:
    return EMPTY


@dataclass(frozen=True, slots=True)
class View:
    """How the selected image is shown. Turns are counter-clockwise quarters, after the flips.

    ``zoom`` is screen pixels per image pixel, ``center`` the (column, row) in the middle of
    the viewport; both None mean "fit": the whole image, or what a presentation state wishes to be seen.
    """

    window: Window | None = None  # None: the image's own default
    inverted: bool = False
    palette: str = ""  # one of the standard's colour palettes for greyscale; "" is grey
    quarter_turns: int = 0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    zoom: float | None = None
    center: tuple[float, float] | None = None
    smooth: bool = True
    presentation: str = ""  # SOP Instance UID of the presentation state that the images are shown with


@dataclass(frozen=True, slots=True)
class Overlay:
    """How heat maps are drawn over the image, and of what. ``second`` is the method that the first is compared with.

    ``chosen`` names the finding that the reader chose, and the answer that it is one of: it counts for that answer
    only (ask ``finding_shown``).
    """

    visible: bool = True
    method: str = "grad-cam"
    second: str = ""
    opacity: float = 0.5
    threshold: float = 0.2
    color_map: str = "magma"
    chosen: Subject | None = None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One running job, for the status bar. ``total`` 0 means that the end is not known."""

    name: str
    text: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence for the reader, with its weight.

    ``job`` is the kind of work whose failure it tells of: when such work succeeds, it has had its day.
    """

    level: Literal["info", "caution", "alarm"]
    text: str
    job: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """The numbers of a measurement as it was when they were found; ``problem`` says why there are none."""

    measurement: Measurement
    calibration: Measurement | None
    quantities: tuple[Quantity, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The image on screen and all it belongs to. ``index`` counts in ``stack.images``."""

    patient: Patient
    study: Study
    series: Series
    stack: Stack
    index: int

    @property
    def image(self) -> Image:
        """The selected image."""
        return self.stack.images[self.index]

    @property
    def stack_key(self) -> tuple[str, str, int]:
        """Identifies the stack in this session by its first image (another one may come first while a scan goes on)."""
        return self.stack.images[0].key

    @property
    def volume_number(self) -> int:
        """Which volume of the stack the image belongs to, from 0."""
        return self.index // self.stack.slices

    @property
    def volume_key(self) -> tuple[str, str, int]:
        """Identifies the volume by its first image: planes are cut from one, never from the next one in time."""
        return self.stack.images[self.stack.volume_span(self.index).start].key

    def in_volume(self, number: int) -> Selection:
        """The image at the same place in another volume of the stack."""
        return replace(self, index=number * self.stack.slices + self.index % self.stack.slices)


QueueStatus = Literal["waiting", "running", "answered", "abstained", "failed"]


@dataclass(frozen=True, slots=True, eq=False)
class QueueItem:
    """One image that a model is to be asked about behind the reader's back. What it says lies in ``State.answers``."""

    number: int  # tells it from every other of the session
    selection: Selection
    model_id: str
    status: QueueStatus = "waiting"
    reason: str = ""  # why it failed

    @property
    def is_open(self) -> bool:
        """Whether it still waits or runs."""
        return self.status in ("waiting", "running")


class Given(NamedTuple):
    """What an answer rests on beside the pixels: what is ``known`` of the image by its files, what a model was told."""

    known: tuple[object, ...]
    told: Told


@dataclass(frozen=True, slots=True)
class Cut:
    """A plane cut out of the selected stack, instead of one of its images (multiplanar reformatting).

    ``at_mm`` is along :func:`~medviewer.imaging.reslice.across` (LPS: axial z, coronal y, sagittal x). ``axes``
    are right and down of a plane that was tilted from the one of its name.
    """

    plane: PlaneName
    at_mm: float
    slab_mm: float = 0.0
    slab: Slab = "mean"
    axes: Axes | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """What lies over a stack and how it is drawn. ``source`` is the image key by which it was chosen.

    ``range`` is what the colours span, in the layer's unit (None: its own wish); ``hidden`` are the
    numbers of the segments that are not drawn.
    """

    source: Key
    opacity: float = 0.5
    color_map: str = "inferno"
    range: tuple[float, float] | None = None
    hidden: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class ShownPlane:
    """The plane that a layer is cut with: equal only if every pixel lies at the same place in the patient.

    ``slice_mm`` is the distance to the next stored image; None for a plane that was cut.
    """

    grid: PlaneGrid
    slab_mm: float = 0.0
    slab: Slab = "mean"
    slice_mm: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A point of the patient, which means something only in its own frame of reference."""

    lps_mm: tuple[float, float, float]
    frame_of_reference_uid: str


@dataclass(frozen=True, slots=True, eq=False)
class ScenePicture:
    """A picture of a 3D view, ``(rows, columns, 3)`` uint8, and what it was made for."""

    pixels: npt.NDArray[np.uint8]
    look: Look


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The 3D view of a volume. Ask :func:`scene_of`, which gives only that of the volume on screen."""

    volume_key: Key
    block: VoxelBlock
    camera: Camera
    transfer: Transfer
    front_mm: float | None = None  # what lies nearer than this is cut away
    box_mm: Box | None = None  # the part of the patient that is shown; None: all of the volume
    has_handles: bool = False  # the box is drawn, and its faces can be dragged
    room: tuple[int, int] = (512, 512)  # width and height on the screen, in its pixels
    is_moving: bool = False  # the reader drags: small pictures will do
    picture: ScenePicture | None = None  # the last one that came; it may be of a moment ago
    problem: str = ""  # why there is none


@dataclass(frozen=True, slots=True, eq=False)
class Pane:
    """What one viewport of the layout shows: the fields of the same names of :class:`State`."""

    selection: Selection | None = None
    cut: Cut | None = None
    frame: Frame | None = None
    frame_problem: str = ""
    view: View = field(default_factory=View)
    vacancy: Vacancy | None = None
    heat_map: HeatMap = "first"


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The document on screen and whose it is.

    ``content`` is None while it is being read; ``problem`` says why it cannot be. ``picture`` is the page of a
    PDF, (rows, columns, 3) uint8 RGB, None while it is drawn; ``page_problem`` says why it cannot be. ``zoom`` is 1
    where it fits. ``behind`` is what the active viewport showed before; ``beside`` what the others showed, which
    are empty while a document of another patient is read.
    """

    patient: Patient
    study: Study
    document: Document
    content: Content | None = None
    problem: str = ""
    page: int = 0  # 0-based
    picture: np.ndarray | None = None
    page_problem: str = ""
    zoom: float = 1.0
    shares_record: bool = False  # the patient is the one whose images were on screen, and their record stays
    behind: Pane = field(default_factory=Pane)
    beside: Mapping[int, Pane] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True)
class RestorablePane:
    """What one viewport showed. ``view`` without zoom and place, which hang on its size."""

    number: int
    path: str
    sop_instance_uid: str
    frame: int
    view: View = field(default_factory=View)


@dataclass(frozen=True, slots=True)
class Restorable:
    """What was open when the program ended without being closed; the viewport in which the reader worked first."""

    paths: tuple[str, ...]
    panes: tuple[RestorablePane, ...]
    layout: tuple[int, int] = (1, 1)
    second: tuple[int, int] | None = None  # of the second window; None: it was closed
    has_planes: bool = False  # cut from the stack of the first image, in its window
    files: tuple[str, ...] = ()  # that tell of it, to be removed


@dataclass(frozen=True, slots=True)
class RecordQuestion:
    """A record at the moment of a study, and the language in which it is asked about."""

    record: PatientRecord
    study_instance_uid: str
    at: datetime
    language: str


@dataclass(frozen=True, slots=True, eq=False)
class RecordAnswer:
    """What a model of recorded values says, or, without ``answer``, that it may be run; ``problem``: why it failed.

    ``title`` is the model's, by language; ``targets`` are those of what it reports, by name.
    """

    question: RecordQuestion
    model_id: str
    title: Mapping[str, str]
    answer: Answer | None = None
    attribution: Attribution | None = None
    problem: str = ""
    targets: Mapping[str, Mapping[str, str]] = field(default_factory=_empty)
    is_rule: bool = False  # a published score, worked out from what the record shows anyway


@dataclass(frozen=True, slots=True)
class NoteQuestion:
    """One note of a record beside a study (``number`` counts its documents), and the language of the question."""

    record: PatientRecord
    number: int
    study_instance_uid: str
    language: str


@dataclass(frozen=True, slots=True, eq=False)
class NoteAnswer:
    """What a model of text said of a note."""

    question: NoteQuestion
    model_id: str
    said: DataAnswer


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Everything that the window shows. Replaced, never changed.

    ``selection``, ``cut``, ``frame``, ``frame_problem``, ``view``, ``vacancy`` and ``heat_map`` are those of the active
    viewport; what the others of both windows show lies in ``parked``, by their number
    (:func:`pane_state` gives the state as any of them shows it). All show one patient.
    ``frame`` belongs to ``selection.image`` (or is the plane ``cut``) or is None while it is
    being read; ``frame_problem`` says why it cannot be read. Answers, attributions and
    decisions are kept by their :class:`Subject`; ask :func:`current_answer` and
    friends, which return only what belongs to the image on screen, or to the stack that it is of. ``measurements`` has
    an entry, which may be empty, for each image whose own have been read from the record
    store; ask :func:`measurements_of`. What lies over the image on screen gives :func:`laid_on`.
    """

    collection: Collection = field(default_factory=Collection)
    reading: Reading | None = None  # a document in the place of the images; there is no selection then
    selection: Selection | None = None
    cut: Cut | None = None
    frame: Frame | None = None
    frame_problem: str = ""
    view: View = field(default_factory=View)
    scene: Scene | None = None  # the 3D view, instead of all viewports; ask scene_of
    vacancy: Vacancy | None = None  # why a hanging protocol left the viewport empty
    heat_map: HeatMap = "first"  # which one is drawn: only a comparison has another than that of the chosen method
    layout: tuple[int, int] = (1, 1)  # rows and columns of viewports
    second: tuple[int, int] | None = None  # those of the second image window; None while it is closed
    active: int = 0  # which of them the reader works in, row by row; those of the second window begin at SECOND
    parked: Mapping[int, Pane] = field(default_factory=_empty)
    maximised: frozenset[int] = frozenset()  # viewports that alone are shown in their window, the others are kept
    is_playing: bool = False  # cine: the images of the active viewport follow each other by themselves
    cine_pace: float = 1.0  # times the pace that the files say
    plays_other_way: bool = False  # cine along the slices where it goes in time by itself, and the reverse
    is_linked: bool = True  # viewports scroll together
    crosshair: Place | None = None  # what the reader points at
    tool: Tool = "window"
    corner_text: CornerText = "all"
    identity_hidden: bool = False
    is_magnifying: bool = False  # a glass follows the mouse over the image
    drawings_shown: bool = True  # overlay planes, which the file lays over its image
    shutters_shown: bool = True  # else what they cover is seen; ask shutters_of
    overlay: Overlay = field(default_factory=Overlay)
    layers: Mapping[Key, tuple[Layer, ...]] = field(default_factory=_empty)  # by the stack that they lie over
    layers_shown: bool = True
    layer_sources: Mapping[Key, LayerSource] = field(default_factory=_empty)  # what of them has been read
    structure_files: tuple[StructureFile, ...] = ()  # that lie beside the images; ask offers
    laid: Mapping[tuple[Key, ShownPlane], LayerPlane] = field(default_factory=_empty)  # their cuts; ask laid_on
    model_id: str = ""
    models_changed: int = 0  # counts how often models came or went
    replaced_models: frozenset[str] = frozenset()  # those that became others or went, the last time
    finding_titles: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=_empty)  # by model and label
    stack_models: frozenset[str] = frozenset()  # those that look at a whole stack of slices; ask asked_key
    answers: Mapping[Subject, Answer] = field(default_factory=_empty)
    given: Mapping[Subject, Given] = field(default_factory=_empty)  # what each of them rests on beside the pixels
    attributions: Mapping[Subject, Attribution] = field(default_factory=_empty)
    decisions: Mapping[Subject, Decision] = field(default_factory=_empty)
    read_first: bool = False  # what models say is withheld until the reader has written an impression; ask is_withheld
    impressions: Mapping[Key, tuple[Impression, ...]] = field(default_factory=_empty)  # all versions, the first first
    seen_answers: frozenset[Key] = frozenset()  # images of which a model's result has been on screen
    analysis_problem: Mapping[tuple[Key, str], str] = field(default_factory=_empty)  # (image, model id) -> why none
    queue: tuple[QueueItem, ...] = ()  # what models are asked in the background, in this order
    is_partial: bool = False  # opening ended before all files were looked at: images may be missing
    measurements: Measurements = field(default_factory=_empty)
    values: Mapping[str, Value] = field(default_factory=_empty)  # by the measurement's UID; ask value_of
    selected_measurement: str = ""  # its UID
    is_measured_known: bool = False  # the store was asked what was measured on this patient's images
    offered_measurements: tuple[Measurement, ...] = ()  # of reports beside the images; ask offered
    key_images: Mapping[Stored, bool] = field(default_factory=_empty)  # of images that the store was asked about
    keys_only: bool = False  # scrolling goes from key image to key image
    key_objects: tuple[KeyObjects, ...] = ()  # documents beside the images; ask key_objects_of
    presentations: tuple[PresentationState, ...] = ()  # that lie beside the images; ask presentations_of
    measurement_problem: str = ""  # why those of this patient cannot be read
    record: PatientRecord | None = None
    record_mismatch: str = ""  # image and record contradict: shown red, blocks AI
    record_problem: str = ""
    record_answers: tuple[RecordAnswer, ...] = ()  # of models that take recorded values; ask record_answers_of
    note_models: tuple[ModelOffer, ...] = ()  # that take text alone; ask note_offers
    note_answers: tuple[NoteAnswer, ...] = ()  # what they said of notes; ask note_answer_of
    note_asked: tuple[NoteQuestion, str] | None = None  # the note and model of the last job; ask note_work
    jobs: tuple[JobStatus, ...] = ()
    provider: str = ""  # "Running on: ..." of the engine; "Will run on: ..." until a model has run
    notice: Notice | None = None
    recent: tuple[str, ...] = ()
    restorable: Restorable | None = None
    language: str = "en"
    theme: str = "dark"
    density: str = "comfortable"
    up_brightens: bool = True  # dragging up makes the image brighter
    ct_presets: Presets = field(default_factory=lambda: CT_PRESETS)  # the windows on the digits, as the reader has them
    shortcuts: Changes = field(default_factory=_empty)  # the reader's own keys
    hanging: Protocols = ()  # the first that fits a study is used for it
    confirmed: Mapping[Subject, frozenset[str]] = field(default_factory=_empty)  # guard codes; ask confirmed_for
    panels_hidden: bool = False  # only the image is shown
    record_of: tuple[str, ...] = ()  # whom the store was asked about, as identity_of says; ask is_record_checked

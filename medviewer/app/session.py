"""The session: one frozen state, replaced whole, told to watchers as (old, new)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from medviewer.app.shortcuts import Changes
from medviewer.domain.answer import Answer, Attribution, Decision, Subject
from medviewer.domain.frame import Frame
from medviewer.domain.measurement import Measurement, MeasurementKind, Quantity
from medviewer.domain.study import Collection, Image, Patient, Series, Stack, Study, VoiFunction, Window
from medviewer.imaging.reslice import PlaneName, Slab
from medviewer.records.record import PatientRecord

Tool = Literal["window", "pan", "zoom", "scroll"] | MeasurementKind
CornerText = Literal["all", "minimal", "none"]
Key = tuple[str, str, int]  # of an image: path, SOP Instance UID, frame
Measured = tuple[str, int]  # where measurements belong: SOP Instance UID, frame
Measurements = Mapping[Measured, tuple[Measurement, ...]]
EMPTY: Mapping[Any, Any] = MappingProxyType({})


def _empty() -> Mapping[Any, Any]:
    return EMPTY


@dataclass(frozen=True, slots=True)
class View:
    """How the selected image is shown. Turns are counter-clockwise quarters, after the flips.

    ``zoom`` is screen pixels per image pixel, ``center`` the (column, row) in the middle of
    the viewport; both None mean "fit".
    """

    window: Window | None = None  # None: the image's own default
    inverted: bool = False
    quarter_turns: int = 0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    zoom: float | None = None
    center: tuple[float, float] | None = None
    smooth: bool = True


@dataclass(frozen=True, slots=True)
class Overlay:
    """How heat maps are drawn over the image."""

    visible: bool = True
    method: str = "grad-cam"
    opacity: float = 0.5
    threshold: float = 0.2
    color_map: str = "magma"


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


@dataclass(frozen=True, slots=True)
class Cut:
    """A plane cut out of the selected stack, instead of one of its images (multiplanar reformatting).

    ``at_mm`` is on the patient axis across the plane (LPS: axial z, coronal y, sagittal x).
    """

    plane: PlaneName
    at_mm: float
    slab_mm: float = 0.0
    slab: Slab = "mean"


@dataclass(frozen=True, slots=True)
class Place:
    """A point of the patient, which means something only in its own frame of reference."""

    lps_mm: tuple[float, float, float]
    frame_of_reference_uid: str


@dataclass(frozen=True, slots=True, eq=False)
class Pane:
    """What one viewport of the layout shows: the fields of the same names of :class:`State`."""

    selection: Selection | None = None
    cut: Cut | None = None
    frame: Frame | None = None
    frame_problem: str = ""
    view: View = field(default_factory=View)


@dataclass(frozen=True, slots=True)
class Restorable:
    """What was open when the program ended without being closed. ``window`` is (center, width, function)."""

    paths: tuple[str, ...]
    sop_instance_uid: str
    frame: int
    window: tuple[float, float, VoiFunction] | None = None
    files: tuple[str, ...] = ()  # that tell of it, to be removed


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Everything that the window shows. Replaced, never changed.

    ``selection``, ``cut``, ``frame``, ``frame_problem`` and ``view`` are those of the active
    viewport; what the others of the layout show lies in ``parked``, by their place in it
    (:func:`pane_state` gives the state as any of them shows it). All show one patient.
    ``frame`` belongs to ``selection.image`` (or is the plane ``cut``) or is None while it is
    being read; ``frame_problem`` says why it cannot be read. Answers, attributions and
    decisions are kept by their :class:`Subject`; ask :func:`current_answer` and
    friends, which return only what belongs to the image on screen. ``measurements`` has
    an entry, which may be empty, for each image whose own have been read from the record
    store; ask :func:`measurements_of`.
    """

    collection: Collection = field(default_factory=Collection)
    selection: Selection | None = None
    cut: Cut | None = None
    frame: Frame | None = None
    frame_problem: str = ""
    view: View = field(default_factory=View)
    layout: tuple[int, int] = (1, 1)  # rows and columns of viewports
    active: int = 0  # which of them the reader works in, row by row
    parked: Mapping[int, Pane] = field(default_factory=_empty)
    is_maximised: bool = False  # the active viewport alone is shown, the others are kept
    is_playing: bool = False  # cine: the images of the active viewport follow each other by themselves
    is_linked: bool = True  # viewports of one frame of reference scroll together
    crosshair: Place | None = None  # what the reader points at
    tool: Tool = "window"
    corner_text: CornerText = "all"
    identity_hidden: bool = False
    drawings_shown: bool = True  # overlay planes, which the file lays over its image
    overlay: Overlay = field(default_factory=Overlay)
    model_id: str = ""
    answers: Mapping[Subject, Answer] = field(default_factory=_empty)
    attributions: Mapping[Subject, Attribution] = field(default_factory=_empty)
    decisions: Mapping[Subject, Decision] = field(default_factory=_empty)
    analysis_problem: Mapping[tuple[Key, str], str] = field(default_factory=_empty)  # (image, model id) -> why none
    measurements: Measurements = field(default_factory=_empty)
    values: Mapping[str, Value] = field(default_factory=_empty)  # by the measurement's UID; ask value_of
    selected_measurement: str = ""  # its UID
    is_measured_known: bool = False  # the store was asked what was measured on this patient's images
    offered_measurements: tuple[Measurement, ...] = ()  # of reports beside the images; ask offered
    measurement_problem: str = ""  # why those of this patient cannot be read
    record: PatientRecord | None = None
    record_mismatch: str = ""  # image and record contradict: shown red, blocks AI
    record_problem: str = ""
    jobs: tuple[JobStatus, ...] = ()
    provider: str = ""  # "Running on: ..." of the engine; "Will run on: ..." until a model has run
    notice: Notice | None = None
    recent: tuple[str, ...] = ()
    restorable: Restorable | None = None
    language: str = "en"
    theme: str = "dark"
    density: str = "comfortable"
    up_brightens: bool = True  # dragging up makes the image brighter
    shortcuts: Changes = field(default_factory=_empty)  # the reader's own keys
    confirmed: Mapping[Key, frozenset[str]] = field(default_factory=_empty)  # image key -> guard codes confirmed
    panels_hidden: bool = False  # only the image is shown
    is_record_checked: bool = False  # the store was asked about the patient on screen


Watcher = Callable[[State, State], None]


class Session:
    """Holds the state, the undo list of views, and the watchers. GUI thread only."""

    def __init__(self, state: State | None = None) -> None:
        self._state = state or State()
        self._watchers: list[Watcher] = []
        self._undo: list[State] = []
        self._redo: list[State] = []
        self._gesture = ""
        self._changes: deque[tuple[State, State]] = deque()
        self._is_telling = False

    @property
    def state(self) -> State:
        """The present state."""
        return self._state

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Have ``watcher(old, new)`` called after each change; returns how to stop it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def update(self, **changes: Any) -> None:
        """Replace some fields of the state and tell the watchers."""
        self._set(replace(self._state, **changes))

    def change(self, *, gesture: str = "", **changes: Any) -> None:
        """Like :meth:`update`, for what the reader did: it can be undone.

        Changes that follow each other with the same ``gesture`` (the steps of one drag)
        are undone together, until :meth:`settle`.
        """
        goes_on = bool(gesture) and gesture == self._gesture and self.can_undo
        if not goes_on:
            self._undo.append(_remembered(self._state))
            del self._undo[:-200]
        self._gesture = gesture
        self._redo.clear()
        self.update(**changes)

    def settle(self) -> None:
        """End the gesture: the next change is undone by itself."""
        self._gesture = ""

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo on the image on screen."""
        return bool(self._undo) and _may_restore(self._undo[-1], self._state)

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo on the image on screen."""
        return bool(self._redo) and _may_restore(self._redo[-1], self._state)

    @property
    def has_past(self) -> bool:
        """Whether there is something to undo on any image."""
        return bool(self._undo)

    def undo(self) -> None:
        """Bring back how things looked before the last change."""
        self.settle()
        if self.can_undo:
            self._redo.append(_remembered(self._state))
            self._restore(self._undo.pop())

    def redo(self) -> None:
        """Do again what was undone."""
        self.settle()
        if self.can_redo:
            self._undo.append(_remembered(self._state))
            self._restore(self._redo.pop())

    def take_back(self, subject: Subject, stored: Decision | None) -> None:
        """A decision could not be kept: show the one that is, here and where undo or redo would bring it back."""
        lost = self._state.decisions.get(subject)

        def corrected(decisions: Mapping[Subject, Decision]) -> Mapping[Subject, Decision]:
            others = {s: d for s, d in decisions.items() if s != subject}
            return MappingProxyType(others if stored is None else {**others, subject: stored})

        for past in (self._undo, self._redo):
            past[:] = [
                replace(state, decisions=corrected(state.decisions))
                if lost is not None and state.decisions.get(subject) is lost
                else state
                for state in past
            ]
        self.update(decisions=corrected(self._state.decisions))

    def take_back_measurement(self, lost: Measurement | None, stored: Measurement | None) -> None:
        """A measurement (None: its deletion) could not be kept: show the one that is, here and in undo and redo."""
        known = lost or stored
        if known is None:
            return
        where, uid = (known.sop_instance_uid, known.frame), known.uid

        def corrected(state: State, *, is_deletion_undone: bool) -> State:
            there = next((m for m in state.measurements.get(where, ()) if m.uid == uid), None)
            if where not in state.measurements or there != lost or (there is None and not is_deletion_undone):
                return state
            return replace(state, measurements=with_measurement(state.measurements, where, uid, stored))

        # A deletion that failed never was, for all that came after it; before the drawing there was nothing either.
        has_been = False
        for index, state in enumerate(self._undo):
            has_been = has_been or any(m.uid == uid for m in state.measurements.get(where, ()))
            self._undo[index] = corrected(state, is_deletion_undone=has_been)
        self._redo[:] = [corrected(state, is_deletion_undone=False) for state in self._redo]
        now = corrected(self._state, is_deletion_undone=True)
        self.update(measurements=now.measurements)

    def _restore(self, past: State) -> None:
        """Take back what readers change; what arrived from workers since then stays."""
        decisions = _restored_decisions(past, self._state)
        measurements = _restored_measurements(past, self._state)
        self.update(
            view=past.view, overlay=past.overlay, decisions=decisions, corner_text=past.corner_text,
            measurements=measurements,
        )  # fmt: skip

    def _set(self, new: State) -> None:
        """Take a new state, and tell the watchers of one change after the other.

        A watcher may change the state too. Its change is told when all have heard of the
        first: told at once, those that come later would hear the newer state before the older
        one, and go on showing that.
        """
        self._changes.append((self._state, new))
        self._state = new
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._changes:
                old, latest = self._changes.popleft()
                for watcher in tuple(self._watchers):
                    watcher(old, latest)
        finally:
            self._is_telling = False
            self._changes.clear()


def _remembered(state: State) -> State:
    """What undo needs of a state: not its pixels, maps and records, which would all stay in memory."""
    return replace(
        state, collection=Collection(), frame=None, attributions=EMPTY, record=None, parked=EMPTY, values=EMPTY
    )


def _may_restore(past: State, now: State) -> bool:
    """How an image looks is shared by its stack; a decision is undone only while its answer is on screen."""
    if past.selection is None or now.selection is None or past.active != now.active or _plane(past) != _plane(now):
        return False
    measured = _restored_measurements(past, now)
    if any(measured[where] != now.measurements[where] for where in measured):
        changed_images = {where for where in measured if measured[where] != now.measurements[where]}
        if changed_images != {measured_image(now)}:
            return False
    restored = _restored_decisions(past, now)
    if restored != now.decisions:
        shown = decidable_answer(now)
        changed = {s for s in {**restored, **now.decisions} if restored.get(s) != now.decisions.get(s)}
        return shown is not None and changed == {shown[0]}
    return past.selection.stack_key == now.selection.stack_key


def _plane(state: State) -> str:
    return state.cut.plane if state.cut is not None else ""


def _restored_decisions(past: State, now: State) -> Mapping[Subject, Decision]:
    """The decisions of the past, each only on the very answer that it was made on.

    Where the model has run again since, what was decided on its new answer stays: undoing a change
    of the window must not sign an answer that the reader has not judged.
    """
    restored: dict[Subject, Decision] = {}
    for subject in {**past.decisions, **now.decisions}:
        is_same_answer = past.answers.get(subject) is now.answers.get(subject)
        decision = (past if is_same_answer else now).decisions.get(subject)
        if decision is not None:
            restored[subject] = decision
    return MappingProxyType(restored) if restored != now.decisions else now.decisions


def _restored_measurements(past: State, now: State) -> Measurements:
    """The measurements of the past; of images whose own had not been read by then, those of now."""
    restored = {where: past.measurements.get(where, own) for where, own in now.measurements.items()}
    return MappingProxyType(restored) if restored != now.measurements else now.measurements


def with_measurement(
    measurements: Measurements, where: Measured, uid: str, measurement: Measurement | None
) -> Measurements:
    """The same with one measurement put in, changed in its place, or (None) taken out."""
    own = list(measurements.get(where, ()))
    at = next((index for index, one in enumerate(own) if one.uid == uid), len(own))
    own[at : at + 1] = [] if measurement is None else [measurement]
    return MappingProxyType({**measurements, where: tuple(own)})


def measured_image(state: State) -> Measured | None:
    """The image on screen, as measurements name it; None for a plane that was cut, which is no stored image."""
    if state.selection is None or state.cut is not None:
        return None
    return state.selection.image.sop_instance_uid, state.selection.image.frame


def measurements_of(state: State) -> tuple[Measurement, ...]:
    """The measurements of the image on screen."""
    where = measured_image(state)
    return state.measurements.get(where, ()) if where is not None else ()


def calibration_of(state: State, where: Measured) -> Measurement | None:
    """The reader's calibration of an image: the last one drawn."""
    return next((m for m in reversed(state.measurements.get(where, ())) if m.kind == "calibration"), None)


def value_of(state: State, measurement: Measurement) -> Value | None:
    """The numbers of a measurement; None while they are being found, never those from before it was changed."""
    found = state.values.get(measurement.uid)
    calibration = calibration_of(state, (measurement.sop_instance_uid, measurement.frame))
    is_of_now = found is not None and found.measurement.points == measurement.points
    is_of_now = is_of_now and found is not None and found.calibration == calibration
    return found if is_of_now else None


def pane_state(state: State, index: int) -> State:
    """The state as one viewport of the layout shows it: itself for the active one."""
    if index == state.active:
        return state
    pane = state.parked.get(index, _NO_PANE)
    shown = {name: getattr(pane, name) for name in Pane.__dataclass_fields__}
    return replace(state, **shown)


_NO_PANE = Pane()


def active_pane(state: State) -> Pane:
    """What the active viewport shows, to be parked."""
    return Pane(state.selection, state.cut, state.frame, state.frame_problem, state.view)


def selections(collection: Collection) -> Iterator[Selection]:
    """Every image of a collection with all that it belongs to, in display order."""
    for patient in collection.patients:
        for study in patient.studies:
            for series in study.series:
                for stack in series.stacks:
                    for index in range(len(stack.images)):
                        yield Selection(patient, study, series, stack, index)


def current_answer(state: State) -> tuple[Subject, Answer] | None:
    """The answer of the chosen model for the image on screen, if there is one."""
    if state.selection is None or state.cut is not None:  # no model has seen a plane that was cut
        return None
    key = state.selection.image.key
    for subject, answer in state.answers.items():
        if subject.image_key == key and subject.model_id == state.model_id:
            return subject, answer
    return None


def decidable_answer(state: State) -> tuple[Subject, Answer] | None:
    """The answer that the reader sees and may judge: none that is hidden, and no abstention."""
    found = current_answer(state)
    return found if found is not None and found[1].status == "answer" and not state.record_mismatch else None


def current_attribution(state: State) -> Attribution | None:
    """The heat map of the chosen method for the answer on screen, if there is one."""
    found = current_answer(state)
    if found is None:
        return None
    asked, _ = found
    for subject, attribution in state.attributions.items():
        if (
            subject.image_key == asked.image_key
            and subject.model_id == asked.model_id
            and subject.model_sha256 == asked.model_sha256
            and subject.method == state.overlay.method
        ):
            return attribution
    return None

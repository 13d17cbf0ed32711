"""Measurements follow the image: read when a patient comes on screen, written as they change, their numbers found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from medviewer.app.analysis import cut_again
from medviewer.app.on_screen import calibration_of, name_of, value_of
from medviewer.app.patient import keep_measurement
from medviewer.app.state import EMPTY, Measured, State, Value
from medviewer.app.whole_stacks import VolumeInMemory
from medviewer.domain.errors import MedViewerError, UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import CutPlane, Measurement
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.study import Collection, Image
from medviewer.imaging.decode import read_frame
from medviewer.imaging.measuring import measure
from medviewer.imaging.scan import images_of

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

NOT_SAVED = "Your measurement was not saved and was taken back."
NOT_DELETED = "The measurement was not deleted and is back."
NOT_CUT = "Measured on a plane cut from the series: choose Other planes (MPR) to see the numbers."
SLOW_KINDS = frozenset(("rectangle", "ellipse", "freehand"))
"""What looks at many pixels: never in the window's own thread."""


@dataclass(slots=True, eq=False)
class _Kept:
    """What the store holds of one measurement, and how many of its states were handed to it."""

    stored: Measurement | None
    handed: int = 0


class MeasurementKeeper:
    """Reads, writes and measures. What cannot be written is taken back: none reads as kept that is not."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._kept: dict[str, _Kept] = {}
        self._asked: set[Measured] = set()  # images whose measurements were asked for; a new set for each opening
        self.images: Mapping[Measured, Image] = EMPTY  # of the patient on screen, where a UID means one image only
        self._is_taking_back = False
        self._taken_back: object = None  # what came of it, told later where another change is being told

    def watch(self, old: State, new: State) -> None:
        """Follow the state."""
        if new.collection is not old.collection and not new.collection.patients:
            self._asked = set()
            self._kept.clear()
        is_another = _patient_key(old) != _patient_key(new)
        if new.collection is not old.collection or is_another:
            self._follow(new)
        if is_another:  # not for each report of a scan: what is being measured would begin again and again
            self._find_values()
        if new.measurements is not old.measurements:
            if not self._is_taking_back and new.measurements is not self._taken_back:
                self._write_changes(old, new)
            self._find_values()

    def _follow(self, state: State) -> None:
        """Know the images of the patient on screen, and ask the store for what was measured on them."""
        self.images = _own_images(state)
        doubtful = _names_of_own(state).intersection(state.measurements).difference(self.images)
        if doubtful:  # a second file that claims to be the same image was found later
            known = {where: own for where, own in state.measurements.items() if (*where[:2], None) not in doubtful}
            self._app.session.update(measurements=MappingProxyType(known))
        # Without any image that can be told from the others, that is all there is to know.
        is_known = all(where in state.measurements for where in self.images)
        if state.selection is not None and is_known != state.is_measured_known:
            self._app.session.update(is_measured_known=is_known)
        wanted = [where for where in self.images if where not in self._asked]
        if not wanted:
            return
        asked = self._asked
        asked.update(wanted)
        uids = {uid for uid, *_ in wanted}

        def done(found: tuple[Measurement, ...]) -> None:
            if asked is not self._asked:
                return  # of an opening before
            # Whoever is on screen by now: they come back, and are not asked about again.
            told_apart = _told_apart(self._app.state.collection)
            own: dict[Measured, tuple[Measurement, ...]] = {where: () for where in wanted if where in told_apart}
            for one in found:
                if (*one.where[:2], None) in own:
                    own[one.where] = (*own.get(one.where, ()), one)
            measurements = MappingProxyType({**own, **self._app.state.measurements})
            is_known = all(where in measurements for where in self.images)
            self._app.session.update(measurements=measurements, measurement_problem="", is_measured_known=is_known)

        def failed(error: MedViewerError) -> None:
            if asked is self._asked:
                asked.difference_update(wanted)
                self._app.session.update(measurement_problem=str(error))

        self._app.write(lambda: self._app.records.store().measurements_among(uids), done, failed)

    def _write_changes(self, old: State, new: State) -> None:
        """Save what the reader changed; what has just been read from the store, or is closed, is not a change."""
        for where in old.measurements.keys() | new.measurements.keys():
            image = (*where[:2], None)  # a plane has an entry once something is on it, its image from the first
            if image not in old.measurements or image not in new.measurements:
                continue
            before, after = old.measurements.get(where, ()), new.measurements.get(where, ())
            if before is after:
                continue
            had, has = ({one.uid: one for one in own} for own in (before, after))
            for uid in {**had, **has}:
                if had.get(uid) != has.get(uid):
                    self._write(had.get(uid), has.get(uid))

    def _write(self, before: Measurement | None, after: Measurement | None) -> None:
        known = after or before
        assert known is not None  # noqa: S101 - the caller found one of them
        kept = self._kept.setdefault(known.uid, _Kept(before))
        kept.handed += 1
        number = kept.handed

        def done() -> None:
            kept.stored = after

        def failed(error: MedViewerError) -> None:
            if number == kept.handed:  # else a later one is on its way and says what holds
                self._take_back(after, kept.stored)
                error = MedViewerError(f"{NOT_SAVED if after is not None else NOT_DELETED} {error}")
            self._app.lose(error)

        keep_measurement(self._app, known, is_deleted=after is None, done=done, failed=failed)

    def _take_back(self, lost: Measurement | None, stored: Measurement | None) -> None:
        before = self._app.state.measurements
        self._is_taking_back = True
        try:
            self._app.session.take_back_measurement(lost, stored)
        finally:
            self._is_taking_back = False
        if self._app.state.measurements is not before:
            self._taken_back = self._app.state.measurements

    def _find_values(self) -> None:
        """Measure what has no numbers yet: at once where that is quick, the rest off this thread."""
        state = self._app.state
        quick: dict[str, Value] = {}
        slow: list[tuple[Image, Frame | None, Measurement, Measurement | None]] = []
        planes: list[tuple[CutPlane, Image, Measurement]] = []
        for where, own in state.measurements.items():
            image = self.images.get((*where[:2], None))
            if image is None:
                continue
            if where[2] is not None:
                planes += [(where[2], image, one) for one in own if value_of(state, one) is None]
                continue
            picture = self._app.frames.get(image.key) if own else None
            for one in own:
                if value_of(state, one) is not None:
                    continue
                calibration = calibration_of(state, where)
                if picture is not None and one.kind not in SLOW_KINDS:
                    quick[one.uid] = value_in(picture.frame, one, calibration)
                else:
                    slow.append((image, picture.frame if picture else None, one, calibration))
        if quick:
            self._take_values(quick)
        if slow:
            work = _measuring(slow)
            self._app.background.start("measure", work, self._take_values, lambda _error: None)
        if planes:
            on_planes = _measuring_on_planes(planes, self._app.volume)
            self._app.background.start("measure planes", on_planes, self._take_values, lambda _error: None)

    def volume_arrived(self) -> None:
        """The slices of a stack are in memory: what was measured on planes cut through it has its numbers now."""
        state = self._app.state
        waiting = {uid for uid, value in state.values.items() if value.problem == NOT_CUT}
        if waiting:
            known = {uid: value for uid, value in state.values.items() if uid not in waiting}
            self._app.session.update(values=MappingProxyType(known))
            self._find_values()

    def _take_values(self, found: Mapping[str, Value]) -> None:
        self._app.session.update(values=MappingProxyType({**self._app.state.values, **found}))


def value_in(frame: Frame, measurement: Measurement, calibration: Measurement | None) -> Value:
    """The numbers of a measurement in the pixels of its image, or why there are none."""
    of_others = None if measurement.kind == "calibration" else calibration
    try:
        return Value(measurement, calibration, measure(measurement, frame, calibration=of_others))
    except UsageError as error:
        return Value(measurement, calibration, problem=str(error))


def _measuring(
    wanted: list[tuple[Image, Frame | None, Measurement, Measurement | None]],
) -> Callable[[StopToken, Progress], dict[str, Value]]:
    def work(stop: StopToken, _progress: Progress) -> dict[str, Value]:
        found: dict[str, Value] = {}
        read: dict[Measured, Frame] = {}
        for image, frame, one, calibration in wanted:
            stop.raise_if_stopped()
            where = one.where
            try:
                pixels = frame or read.get(where) or read_frame(image, stop=stop)
            except MedViewerError as error:
                found[one.uid] = Value(one, calibration, problem=str(error))
                continue
            read = {where: pixels}  # those of one image follow each other
            found[one.uid] = value_in(pixels, one, calibration)
        return found

    return work


def _measuring_on_planes(
    wanted: list[tuple[CutPlane, Image, Measurement]], kept: VolumeInMemory | None
) -> Callable[[StopToken, Progress], dict[str, Value]]:
    """Each is measured on its own plane, cut anew: what is on screen may be another one."""

    def work(stop: StopToken, _progress: Progress) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for cut, image, one in wanted:
            stop.raise_if_stopped()
            if kept is None or image.key not in kept.images:  # its volume may have another first image by now
                found[one.uid] = Value(one, None, problem=NOT_CUT)
                continue
            try:
                found[one.uid] = value_in(cut_again(kept.volume, cut), one, None)
            except MedViewerError as error:
                found[one.uid] = Value(one, None, problem=str(error))
        return found

    return work


def _patient_key(state: State) -> str:
    """Whose images are on screen, in the active viewport or, while that is empty, in another."""
    shown = [state.selection, *(pane.selection for pane in state.parked.values())]
    return next((one.patient.key for one in shown if one is not None), "")


def _names_of_own(state: State) -> set[Measured]:
    """What the images of the patient on screen are called, whether that means one image or several."""
    key = _patient_key(state)
    own = tuple(patient for patient in state.collection.patients if patient.key == key)
    return {name_of(image) for image in images_of(Collection(own))}


def _own_images(state: State) -> dict[Measured, Image]:
    """The images of the patient on screen by what measurements call them.

    Where two files claim to be the same image, nobody knows which one was measured: neither is in.
    """
    key, told_apart = _patient_key(state), _told_apart(state.collection)
    own = next((patient for patient in state.collection.patients if patient.key == key), None)
    if own is None:
        return {}
    return {
        where: image
        for study in own.studies
        for series in study.series
        for stack in series.stacks
        for image in stack.images
        if (where := name_of(image)) in told_apart
    }


def _told_apart(collection: Collection) -> set[Measured]:
    """What is the name of one image only, whoever's it is."""
    named = Counter(name_of(image) for image in images_of(collection))
    return {where for where, count in named.items() if count == 1 and where[0]}

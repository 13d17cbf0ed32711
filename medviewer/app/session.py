"""The session: the state replaced whole, told to watchers as (old, new), and what can be undone of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from medviewer.app.arrangement import arranged, rearranged, without_pixels
from medviewer.app.on_screen import decidable_answer, measured_image, stored_image, with_measurement
from medviewer.app.state import EMPTY, Key, Layer, Measured, Measurements, Pane, Scene, State, Stored
from medviewer.domain.answer import Decision, Subject
from medviewer.domain.frozen import dataclass
from medviewer.domain.measurement import Measurement
from medviewer.domain.study import Collection

Watcher = Callable[[State, State], None]


@dataclass(frozen=True, slots=True)
class _Past:
    """A state to go back to. ``is_arrangement``: the change was one of the layout, and only that is brought back."""

    state: State
    is_arrangement: bool = False


class Session:
    """Holds the state, the undo list of views, and the watchers. GUI thread only."""

    def __init__(self, state: State | None = None) -> None:
        self._state = state or State()
        self._watchers: list[Watcher] = []
        self._undo: list[_Past] = []
        self._redo: list[_Past] = []
        self._is_arranging = False
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
        self._keep(self._state, gesture)
        self.update(**changes)

    @contextmanager
    def arranging(self, gesture: str = "") -> Iterator[None]:
        """Have what is done meanwhile to the viewports undone together, as one change; nothing, where nothing changes.

        The steps of a ``gesture`` are undone together, as with :meth:`change`.
        """
        # What is done behind a 3D view or a document is not undone there.
        if self._is_arranging or self._state.scene is not None or self._state.reading is not None:
            yield
            return
        before = self._state
        self._is_arranging = True
        try:
            yield
        finally:
            self._is_arranging = False
            if arranged(before) != arranged(self._state):
                self._keep(before, gesture, is_arrangement=True)

    def _keep(self, past: State, gesture: str, *, is_arrangement: bool = False) -> None:
        if past.selection is None and not is_arrangement:
            return  # nothing is on screen that could show it undone: it would stand before all that can be
        goes_on = bool(gesture) and gesture == self._gesture and self.can_undo
        if not goes_on:
            self._undo.append(_Past(_remembered(past, with_panes=is_arrangement), is_arrangement))
            del self._undo[:-200]
        self._gesture = gesture
        self._redo.clear()

    def settle(self) -> None:
        """End the gesture: the next change is undone by itself."""
        self._gesture = ""

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo on the image on screen."""
        return bool(self._undo) and _may_bring_back(self._undo[-1], self._state)

    @property
    def can_redo(self) -> bool:
        """Whether there is something to redo on the image on screen."""
        return bool(self._redo) and _may_bring_back(self._redo[-1], self._state)

    @property
    def has_past(self) -> bool:
        """Whether there is something to undo on any image."""
        return bool(self._undo)

    def undo(self) -> None:
        """Bring back how things looked before the last change."""
        self.settle()
        if self.can_undo:
            self._swap(self._undo, self._redo)

    def redo(self) -> None:
        """Do again what was undone."""
        self.settle()
        if self.can_redo:
            self._swap(self._redo, self._undo)

    def _swap(self, source: list[_Past], target: list[_Past]) -> None:
        """Go to the last state of one list; that of now goes to the other."""
        past = source.pop()
        now = self._state
        target.append(_Past(_remembered(now, with_panes=past.is_arrangement), past.is_arrangement))
        changes = rearranged(past.state, now) if past.is_arrangement else None
        if changes is not None:
            self.update(**changes)
        else:
            self._restore(past.state)

    def take_back(self, subject: Subject, stored: Decision | None) -> None:
        """A decision could not be kept: show the one that is, here and where undo or redo would bring it back."""
        lost = self._state.decisions.get(subject)

        def corrected(decisions: Mapping[Subject, Decision]) -> Mapping[Subject, Decision]:
            others = {s: d for s, d in decisions.items() if s != subject}
            return MappingProxyType(others if stored is None else {**others, subject: stored})

        for past in (self._undo, self._redo):
            past[:] = [
                replace(one, state=replace(one.state, decisions=corrected(one.state.decisions)))
                if lost is not None and one.state.decisions.get(subject) is lost
                else one
                for one in past
            ]
        self.update(decisions=corrected(self._state.decisions))

    def take_back_measurement(self, lost: Measurement | None, stored: Measurement | None) -> None:
        """A measurement (None: its deletion) could not be kept: show the one that is, here and in undo and redo."""
        known = lost or stored
        if known is None:
            return
        where, uid = known.where, known.uid

        def corrected(state: State, *, is_deletion_undone: bool) -> State:
            there = next((m for m in state.measurements.get(where, ()) if m.uid == uid), None)
            if where not in state.measurements or there != lost or (there is None and not is_deletion_undone):
                return state
            return replace(state, measurements=with_measurement(state.measurements, where, uid, stored))

        # A deletion that failed never was, for all that came after it; before the drawing there was nothing either.
        has_been = False
        for index, past in enumerate(self._undo):
            has_been = has_been or any(m.uid == uid for m in past.state.measurements.get(where, ()))
            self._undo[index] = replace(past, state=corrected(past.state, is_deletion_undone=has_been))
        self._redo[:] = [replace(past, state=corrected(past.state, is_deletion_undone=False)) for past in self._redo]
        now = corrected(self._state, is_deletion_undone=True)
        self.update(measurements=now.measurements)

    def know_key_image(self, where: Stored, *, is_marked: bool) -> None:
        """Show what holds of an image, here and where undo or redo would bring back something else."""

        def corrected(state: State) -> State:
            if where not in state.key_images:
                return state
            return replace(state, key_images=MappingProxyType({**state.key_images, where: is_marked}))

        for past in (self._undo, self._redo):
            past[:] = [replace(one, state=corrected(one.state)) for one in past]
        self.update(key_images=corrected(self._state).key_images)

    def know_measurements(self, found: Iterable[Measurement]) -> None:
        """Show measurements that came from elsewhere, here and where undo or redo would leave them out.

        They are no change that the reader made on screen: undoing one made before must not delete them.
        """
        new = tuple(found)

        def joined(state: State) -> State:
            measurements = state.measurements
            for one in new:
                if (*one.where[:2], None) in measurements:  # else those of its image had not been read by then
                    measurements = with_measurement(measurements, one.where, one.uid, one)
            return replace(state, measurements=measurements)

        for past in (self._undo, self._redo):
            past[:] = [replace(one, state=joined(one.state)) for one in past]
        self.update(measurements=joined(self._state).measurements)

    def prefer_smooth(self, smooth: bool) -> None:
        """Draw all images smoothly or by their pixels: a preference, which undo and redo leave as it is."""

        def drawn(pane: Pane) -> Pane:
            return replace(pane, view=replace(pane.view, smooth=smooth))

        def all_drawn(panes: Mapping[int, Pane]) -> Mapping[int, Pane]:
            return MappingProxyType({index: drawn(pane) for index, pane in panes.items()})

        def corrected(state: State) -> State:
            reading = state.reading
            if reading is not None:
                reading = replace(reading, behind=drawn(reading.behind), beside=all_drawn(reading.beside))
            view = replace(state.view, smooth=smooth)
            return replace(state, view=view, parked=all_drawn(state.parked), reading=reading)

        for past in (self._undo, self._redo):
            past[:] = [replace(one, state=corrected(one.state)) for one in past]
        now = corrected(self._state)
        self.update(view=now.view, parked=now.parked, reading=now.reading)

    def forget_past(self) -> None:
        """Other studies are opened: what was done to the ones before can be undone no more, and is not kept."""
        self._undo.clear()
        self._redo.clear()
        self.settle()

    def forget_scene(self) -> None:
        """The 3D view is closed, and its volume gone: what was changed in it can be undone no more."""
        for past in (self._undo, self._redo):
            past[:] = [one for one in past if one.state.scene is None]
        self.settle()

    def _restore(self, past: State) -> None:
        """Take back what readers change; what arrived from workers since then stays."""
        decisions = _restored_decisions(past, self._state)
        measurements = _restored_measurements(past, self._state)
        self.update(
            view=past.view, overlay=past.overlay, decisions=decisions, corner_text=past.corner_text,
            measurements=measurements, key_images=_restored_key_images(past, self._state),
            layers=_restored_layers(past, self._state), scene=_restored_scene(past, self._state),
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


def _remembered(state: State, *, with_panes: bool = False) -> State:
    """What undo needs of a state: not its pixels, maps and records, which would all stay in memory."""
    bare = without_pixels(state)
    return replace(
        bare,
        collection=Collection(),
        reading=None,
        attributions=EMPTY,
        record=None,
        parked=bare.parked if with_panes else EMPTY,
        values=EMPTY,
        scene=replace(state.scene, picture=None) if state.scene is not None else None,
        layer_sources=EMPTY,
        laid=EMPTY,
    )


def _may_bring_back(past: _Past, now: State) -> bool:
    if past.is_arrangement:
        return rearranged(past.state, now) is not None
    return _may_restore(past.state, now)


def _may_restore(past: State, now: State) -> bool:
    """How an image looks is shared by its stack; a decision is undone only while its answer is on screen."""
    if not _is_same_scene(past.scene, now.scene):
        return False
    if past.selection is None or now.selection is None or past.active != now.active or _plane(past) != _plane(now):
        return False
    measured = _restored_measurements(past, now)
    if any(measured[where] != now.measurements[where] for where in measured):
        changed_images = {where for where in measured if measured[where] != now.measurements[where]}
        if changed_images != {measured_image(now)}:
            return False
    marks = _restored_key_images(past, now)
    if any(marks[where] != now.key_images[where] and where != stored_image(now) for where in marks):
        return False
    restored = _restored_decisions(past, now)
    if restored != now.decisions:
        shown = decidable_answer(now)
        changed = {s for s in {**restored, **now.decisions} if restored.get(s) != now.decisions.get(s)}
        return shown is not None and changed == {shown[0]}
    return past.selection.stack_key == now.selection.stack_key


def _is_same_scene(past: Scene | None, now: Scene | None) -> bool:
    """Images are not changed behind a 3D view, nor it behind them; and one volume's box means nothing in another."""
    if past is None or now is None:
        return past is now
    return past.block is now.block


def _restored_scene(past: State, now: State) -> Scene | None:
    """The 3D view as it was looked at; its picture, its room and a drag are those of now."""
    if past.scene is None or now.scene is None:
        return now.scene
    was = past.scene
    return replace(now.scene, camera=was.camera, transfer=was.transfer, front_mm=was.front_mm, box_mm=was.box_mm)


def _measured_then(past: State, where: Measured, now: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
    """What was measured there; on a plane nothing, where its image had been asked for and it had no entry."""
    image = (*where[:2], None)
    return past.measurements.get(where, () if where[2] is not None and image in past.measurements else now)


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
    restored = {where: _measured_then(past, where, own) for where, own in now.measurements.items()}
    return MappingProxyType(restored) if restored != now.measurements else now.measurements


def _restored_layers(past: State, now: State) -> Mapping[Key, tuple[Layer, ...]]:
    """The layers of the past that are still in memory: none is said to lie where nothing is drawn."""
    known = now.layer_sources
    return MappingProxyType(
        {stack: tuple(one for one in own if one.source in known) for stack, own in past.layers.items()}
    )


def _restored_key_images(past: State, now: State) -> Mapping[Stored, bool]:
    """The key images of the past; of images that the store had not been asked about by then, those of now."""
    restored = {where: past.key_images.get(where, is_key) for where, is_key in now.key_images.items()}
    return MappingProxyType(restored) if restored != now.key_images else now.key_images

"""Opening files and moving through them: what is on screen, and whose it is."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from medviewer.app import analysis, documents
from medviewer.app.findings import continue_run, forget_doubted, keep_wish, run_if_wished
from medviewer.app.layering import look_for_structures
from medviewer.app.linking import follow, scroll_cut
from medviewer.app.measurement_files import look_for_reports
from medviewer.app.on_screen import (
    identity_of,
    is_record_checked,
    keys_of_stack,
    patient_beside_record,
    seen_selection,
    selections,
    wished_profile,
)
from medviewer.app.panes import brought_back, forget_panes, grown_panes, grown_queue, prefetch, read_missing, read_pane
from medviewer.app.patient import NO_RECORD, check_record, import_sample_record
from medviewer.app.picture import Picture
from medviewer.app.presentations import look_for_presentations
from medviewer.app.state import EMPTY, Selection, State, View
from medviewer.app.whole_stacks import all_found
from medviewer.domain.errors import InputError, MedViewerError
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.study import Collection, Document, Image
from medviewer.imaging.element_list import ElementList, list_elements
from medviewer.imaging.scan import documents_of
from medviewer.resources import resource

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application


class Wanted(Protocol):
    """Chooses what is shown of what is found."""

    def __call__(self, collection: Collection, /, *, is_whole: bool) -> None:
        """Look at what has been found so far, or at all of it."""


THUMBNAIL_SIZE = 96
_FIRST_IMAGE_S = 0.3  # that it may keep the rest of a scan waiting
_LOOK_EVERY_S = 0.004
_ALL_STEPS = 1_000_000  # further than any plane can move
SAMPLE_FILE = "RG1_UNCR.dcm"
CUT_SHORT = (
    "Opening was stopped before all files were looked at: images may be missing. Open it again to have them all."
)


def open_folder(app: Application, path: str | Path | None) -> None:
    """Open a folder, asking for it if none is given."""
    chosen = Path(path) if path is not None else app.front.choose_folder("Open folder")
    if chosen is not None:
        open_paths(app, [chosen])


def open_files(app: Application, paths: Sequence[str | Path] | None) -> None:
    """Open files (or what was dropped on the window), asking for them if none are given."""
    chosen = [Path(p) for p in paths] if paths is not None else app.front.choose_files("Open files")
    if chosen:
        open_paths(app, list(chosen))


def open_recent(app: Application, path: str) -> None:
    """Open something again."""
    if not os.path.exists(path):  # Path.exists raises where it may not look, or where the name is too long
        app.remember(recent=tuple(p for p in app.settings.recent if p != path))
        app.session.update(recent=app.settings.recent)
        raise InputError(
            "That folder is no longer there or may not be looked at; it was taken off the list."
            " Open it from where it is now."
        )
    open_paths(app, [Path(path)])


def open_sample(app: Application, _argument: object) -> None:
    """Open the sample radiograph, with the invented record that goes with it."""
    path = sample_path()
    if path is None:
        raise InputError("The sample study is not installed: install the package pydicom-data to have it.")
    import_sample_record(app, then=lambda: open_paths(app, [path], remember=False))


def sample_path() -> Path | None:
    """The sample radiograph: carried by a packaged program, else in the package pydicom-data."""
    with contextlib.suppress(FileNotFoundError):
        return resource(f"sample/{SAMPLE_FILE}")
    spec = importlib.util.find_spec("data_store")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "data" / SAMPLE_FILE
        if path.is_file():
            return path
    return None


def open_paths(app: Application, paths: list[Path], *, remember: bool = True, wanted: Wanted | None = None) -> None:
    """Scan paths in the background; the first image is shown as soon as it is found.

    ``wanted`` is told whatever is found, to show another one; without it the study is hung by its protocol.

    What was open stays until there is something new to show, so that a wrong choice costs nothing.
    """
    has_arrived = False
    folder = app.home
    chosen = wanted or app.when_opened()

    def arrived(collection: Collection) -> None:
        nonlocal has_arrived
        if not has_arrived and (any(selections(collection)) or any(documents_of(collection))):
            has_arrived = True
            _start_over(app, tuple(paths))
        if has_arrived:
            take_collection(app, collection)
            chosen(collection, is_whole=False)

    def work(stop: StopToken, progress: Progress) -> Collection:
        teller = _Teller(app, arrived, lambda: has_arrived, stop)
        return analysis.open_paths(paths, stop, teller.counting(progress), teller.found, folder)

    def done(collection: Collection) -> None:
        app.succeeded("open")
        arrived(collection)
        app.wishes.is_whole = app.wishes.is_whole or has_arrived
        if not has_arrived:
            collection.release()  # nothing of it is shown
        _tell_outcome(app, collection, has_arrived)
        chosen(collection, is_whole=True)
        _show_lone_document(app, collection)
        if has_arrived:
            check_record(app, patient_beside_record(app.state))  # again: later studies are known only now
        if has_arrived and remember:
            _remember(app, paths)
        all_found(app)

    def failed(error: MedViewerError) -> None:
        app.wishes.when_found = None
        app.notify("alarm", str(error), job="open")
        cut_short(app, is_said=False)

    _end_scan(app)
    app.jobs.start("open", work, done, failed)


def _end_scan(app: Application) -> None:
    """The scan before ends here, and what waits for it; what it found stays, if nothing comes of the next one."""
    app.wishes.when_found = None
    if "open" in app.jobs.running:
        app.jobs.stop("open")
        cut_short(app, is_said=False)
    app.notify("info", "")


def cut_short(app: Application, *, is_said: bool) -> None:
    """Opening ended before its time: what was found stays, says from now on that it may not be all, and is looked into.

    What is on screen may also be of an opening before, and whole.
    """
    if app.wishes.is_whole or app.state.is_partial:
        return
    app.session.update(is_partial=True)
    if is_said:
        app.notify("caution", CUT_SHORT)
    _look_beside(app, app.state.collection)
    _show_lone_document(app, app.state.collection)
    check_record(app, patient_beside_record(app.state))  # again: later studies are known only now


class _Teller:
    """Hands what a scan finds to the GUI thread; if more is to come, it first waits until the first image is drawn."""

    def __init__(
        self, app: Application, arrived: Callable[[Collection], None], has_arrived: Callable[[], bool], stop: StopToken
    ) -> None:
        self._app, self._arrived, self._has_arrived, self._stop = app, arrived, has_arrived, stop
        self._is_first, self._is_whole = True, False

    def counting(self, progress: Progress) -> Progress:
        """The same, noting when everything has been read: then there is nothing to hold back."""

        def count(done: int, total: int, text: str) -> None:
            self._is_whole = done >= total
            progress(done, total, text)

        return count

    def found(self, collection: Collection) -> None:
        """Tell of what is there so far."""
        self._app.post(lambda: None if self._stop.is_stopped else self._arrived(collection))
        if self._is_first and not self._is_whole:
            _wait(self._is_drawn, self._stop)
        self._is_first = False

    def _is_drawn(self) -> bool:
        return self._has_arrived() and is_drawable(self._app.state) and self._app.front.has_drawn()


def is_drawable(state: State) -> bool:
    """Whether there is something to see: an image, why there is none, or a document."""
    return state.frame is not None or bool(state.frame_problem) or state.reading is not None


def _wait(until: Callable[[], bool], stop: StopToken) -> None:
    """Let the first image reach the screen before the rest is read: both would hold up each other.

    Not for long: an image that takes its time must not keep the others.
    """
    end = time.monotonic() + _FIRST_IMAGE_S
    while not until() and not stop.is_stopped and time.monotonic() < end:
        time.sleep(_LOOK_EVERY_S)


def _remember(app: Application, paths: list[Path]) -> None:
    for path in reversed(paths[:3]):
        app.settings = app.settings.with_recent(str(path))
    app.remember()
    app.session.update(recent=app.settings.recent)


def close_all(app: Application, _argument: object) -> None:
    """Close what is open; nothing of it stays on screen."""
    app.jobs.stop_all()
    _start_over(app, ())
    app.session.update(
        reading=None, selection=None, frame=None, frame_problem="", record=None, record_mismatch="", record_problem=""
    )


def take_collection(app: Application, collection: Collection) -> None:
    """Show a collection that has grown, keeping the image on screen."""
    state, old = app.state, app.state.selection
    changes: dict[str, object] = {
        "collection": collection,
        "parked": grown_panes(state.parked, collection),
        "queue": grown_queue(state.queue, collection),
    }
    kept: Selection | None = None
    if state.reading is not None:
        changes["reading"] = documents.take_grown(state, collection)
    elif old is not None:
        # The same image in the grown stack: nobody's scrolling is undone by what is found later.
        kept = next((s for s in selections(collection) if s.image.key == old.image.key), None)
        changes["selection"] = kept or old
    if old is not None and kept is not None:
        keep_wish(app, old, kept)
    before, now = (patient_beside_record(one) for one in (state, replace(state, **changes)))  # type: ignore[arg-type]
    # A later file may complete who the patient is: what the record was compared with is then no longer all.
    is_completed = before is not None and now is not None and identity_of(before) != identity_of(now)
    app.session.update(**changes, **(NO_RECORD if is_completed else {}))
    forget_doubted(app)
    if is_completed:
        check_record(app, patient_beside_record(app.state))
    if old is None and seen_selection(app.state) is None and state.reading is None:  # else one viewport was emptied
        first = next(selections(collection), None)
        if first is not None:
            select(app, first)
    if kept is not None and app.state.frame is not None:
        prefetch(app, kept, 1)


def select(app: Application, selection: Selection) -> None:
    """Show an image. The only way by which what is on screen changes."""
    old = app.state.selection
    is_cut = app.state.cut is not None
    if old is not None and not is_cut:
        app.wishes.views[old.stack_key] = app.state.view
    stays = old is not None and old.stack_key == selection.stack_key and not is_cut
    view = app.state.view if stays else app.wishes.views.get(selection.stack_key, View(smooth=app.state.view.smooth))
    picture = app.frames.get(selection.image.key)
    profile = wished_profile(replace(app.state, selection=selection, cut=None, view=view), selection.image)
    picture = picture if picture is not None and picture.has_colors_of(profile) else None
    is_unchecked = app.state.reading is not None and not is_record_checked(app.state)  # a document of another patient
    # While a document of another patient is read, what was seen before waits beside it.
    beside = app.state.reading.beside if app.state.reading is not None else EMPTY
    before = seen_selection(replace(app.state, parked=beside or app.state.parked))
    is_other_patient = before is None or _who(before) != _who(selection)
    changes: dict[str, object] = {
        "reading": None,
        "selection": selection,
        "cut": None,
        "frame": picture.frame if picture else None,
        "frame_problem": "",
        "view": view,
        "vacancy": None,
    }
    if is_other_patient:
        changes |= NO_RECORD
        changes |= {"parked": EMPTY, "crosshair": None}  # never two patients side by side
    elif beside:
        changes["parked"] = brought_back(app.state, beside)
    if not stays:  # what plays is a stack; another one is looked at, and may be of one image
        changes["is_playing"] = False
    app.session.settle()
    app.session.update(**changes)
    if not stays:
        run_if_wished(app, selection)
    if is_other_patient or is_unchecked:
        check_record(app, selection.patient)
    if picture is None:
        read_pane(app, app.state.active)
    else:
        app.jobs.stop(f"read {app.state.active}")
        continue_run(app)
        prefetch(app, selection, 1 if old is None or old.index <= selection.index else -1)
    if beside:
        read_missing(app)


def show_index(app: Application, index: int) -> None:
    """Show an image of this stack by its place; before the first of its volume is that one."""
    now = app.state.selection
    if now is None:
        return
    if app.state.cut is not None:
        scroll_cut(app, index - now.index)
        return
    span = now.stack.scroll_span(now.index)
    bounded = min(max(int(index), span.start), span.stop - 1)
    if bounded != now.index:
        select(app, replace(now, index=bounded))
        follow(app, before=now)


def scroll_to(app: Application, index: int) -> None:
    """Scroll to an image of this stack by its place; among key images only, as many of them further, if that is wished.

    Where the series has no key image, all of its images are scrolled through.
    """
    now = app.state.selection
    keys = keys_of_stack(app.state) if app.state.keys_only and app.state.cut is None else []
    if now is None or not keys or index == now.index:
        show_index(app, index)
        return
    span = now.stack.scroll_span(now.index)
    ahead = [key for key in keys if key in span and (key > now.index if index > now.index else key < now.index)]
    in_order = ahead if index > now.index else ahead[::-1]
    if in_order:
        show_index(app, in_order[min(abs(index - now.index), len(in_order)) - 1])


def step_image(step: int) -> Callable[[Application, object], None]:
    """A command that moves through the stack."""

    def run(app: Application, _argument: object) -> None:
        if app.state.selection is not None:
            scroll_to(app, app.state.selection.index + step)

    return run


def first_image(app: Application, _argument: object) -> None:
    """Show the first image of the stack."""
    if app.state.cut is not None:
        scroll_cut(app, -_ALL_STEPS)
    else:
        scroll_to(app, 0)


def last_image(app: Application, _argument: object) -> None:
    """Show the last image of the stack."""
    if app.state.cut is not None:
        scroll_cut(app, _ALL_STEPS)
    elif app.state.selection is not None:
        scroll_to(app, len(app.state.selection.stack.images) - 1)


def step_series(step: int) -> Callable[[Application, object], None]:
    """A command that moves through the series of this patient; it never goes on to another patient."""

    def run(app: Application, _argument: object) -> None:
        now = app.state.selection
        if now is None:
            return
        # Two files that name nobody are not known to be of one person.
        is_named = any(_who(now))
        same = (s for s in selections(app.state.collection) if is_named or s.patient is now.patient)
        own = [s for s in same if _who(s) == _who(now) and s.index == 0]
        at = next((i for i, s in enumerate(own) if s.stack_key == now.stack_key), None)
        if at is not None and 0 <= at + step < len(own):
            select(app, own[at + step])

    return run


def show_elements(app: Application, _argument: object) -> None:
    """Show every element of the file on screen; a cut plane has the file of the image it began from."""
    shown = _file_on_screen(app.state)
    if shown is None:
        return

    def work(stop: StopToken, _progress: Progress) -> ElementList:
        return list_elements(shown.path, stop, sop_instance_uid=shown.sop_instance_uid)

    def done(listed: ElementList) -> None:
        now = _file_on_screen(app.state)
        if now is not None and now.key == shown.key:  # else they would be taken for another file's
            app.front.show_elements(listed)

    app.session.update(is_playing=False)
    app.start_job("elements", work, done)


def _file_on_screen(state: State) -> Image | Document | None:
    if state.reading is not None:
        return state.reading.document
    return state.selection.image if state.selection is not None else None


def make_thumbnail(app: Application, image: Image, deliver: Callable[[np.ndarray], None]) -> None:
    """Deliver a small uint8 picture of an image later, on the GUI thread; nothing if it cannot be read."""

    def work(stop: StopToken, _progress: Progress) -> np.ndarray | None:
        try:
            picture = analysis.make_picture(image, stop)
        except MedViewerError:
            return None  # the panel keeps its placeholder; opening the image says why
        return _small(picture)

    def done(thumbnail: np.ndarray | None) -> None:
        if thumbnail is not None:
            deliver(thumbnail)

    app.background.start(f"thumbnail {image.key}", work, done, lambda _error: None)


def _small(picture: Picture) -> np.ndarray:
    display = picture.whole()
    step = max(1, -(-max(display.shape[:2]) // THUMBNAIL_SIZE))
    down, across = (min(step, n) for n in display.shape[:2])  # a strip thinner than a step keeps a line
    rows, columns = display.shape[0] // down * down, display.shape[1] // across * across
    blocks = display[:rows, :columns].reshape(rows // down, down, columns // across, across, -1)
    small: np.ndarray = blocks.mean(axis=(1, 3)).astype(np.uint8)
    return small[..., 0] if display.ndim == 2 else small


def _start_over(app: Application, paths: tuple[Path, ...]) -> None:
    """Forget what belonged to the studies open before, and remove what was unpacked for them."""
    for slot in app.jobs.running:
        if slot != "open":
            app.jobs.stop(slot)
    app.background.stop_all()
    app.frames.clear()
    forget_panes(app)
    app.wishes.views.clear()
    app.session.forget_past()
    app.wishes.run = None
    app.wishes.opened, app.wishes.is_whole = paths, not paths
    app.saves.let_go(app.state.collection)
    fresh = State()
    forgotten = (
        "collection", "reading", "selection", "frame", "frame_problem", "vacancy", "answers", "given", "attributions",
        "decisions", "queue",
        "analysis_problem", "confirmed", "record", "record_mismatch", "record_problem", "record_of",
        "measurements", "values", "selected_measurement", "measurement_problem", "is_measured_known",
        "offered_measurements", "presentations", "key_images", "keys_only", "key_objects",
        "layers", "layers_shown", "layer_sources", "laid", "structure_files", "is_partial",
    )  # fmt: skip
    view = View(smooth=app.state.view.smooth)
    app.session.update(view=view, **{name: getattr(fresh, name) for name in forgotten})


def _show_lone_document(app: Application, collection: Collection) -> None:
    """Where there is no image, the first document is what was opened."""
    first = next(documents_of(collection), None)
    if first is not None and app.state.reading is None and not any(selections(app.state.collection)):
        documents.show(app, first)


def _tell_outcome(app: Application, collection: Collection, has_arrived: bool) -> None:
    count = len(collection.problems)
    for remark in collection.remarks:
        app.notify("info", remark)
    if has_arrived:
        refused = sum(problem.status == "refused" for problem in collection.problems)
        if refused:
            words = "1 file" if refused == 1 else f"{refused} files"
            app.notify("caution", f"{words} could not be shown; the problem list says why.")
        _look_beside(app, collection)
        return
    app.session.update(collection=replace(app.state.collection, problems=collection.problems))
    if count == 1:
        app.notify("alarm", collection.problems[0].reason)
    else:
        app.notify("alarm", "Nothing here can be shown: choose a folder with DICOM images; the problem list says more.")


def _look_beside(app: Application, collection: Collection) -> None:
    """Find what lies beside the images and is about them."""
    look_for_reports(app, collection)
    look_for_presentations(app, collection)
    look_for_structures(app, collection)


def _who(selection: Selection) -> tuple[str, ...]:
    return identity_of(selection.patient)

"""The application without a window: session, jobs, engine, records and settings, and the commands that use them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from medviewer.app import volume_view
from medviewer.app.commands import command
from medviewer.app.comparing import keep_together
from medviewer.app.decisions import DecisionKeeper
from medviewer.app.exporting import Drawn, ExportWish, What
from medviewer.app.filming import Draw, FilmWish
from medviewer.app.findings import continue_run, forget_outdated, warm_up
from medviewer.app.frame_cache import FrameCache
from medviewer.app.hanging import HangingWhenOpened
from medviewer.app.hanging_file import HangingFile
from medviewer.app.impressions import AnswerWatcher
from medviewer.app.jobs import Jobs, Post, Work
from medviewer.app.key_image_keeper import KeyImageKeeper
from medviewer.app.layer_planes import LayerCutter
from medviewer.app.linking import Heights, share_view
from medviewer.app.measurement_keeper import MeasurementKeeper
from medviewer.app.model_choice import ModelChooser
from medviewer.app.model_queue import ModelQueue
from medviewer.app.note_models import NoteReader
from medviewer.app.patient import RecordRoom
from medviewer.app.picture import Picture
from medviewer.app.printing import PrintWish, Sheet
from medviewer.app.record_models import RecordReader, finding_titles, is_for_screen, stack_models
from medviewer.app.result import Result
from medviewer.app.save_jobs import SaveJobs, kind_of
from medviewer.app.saving import Document, Saved, SaveWish
from medviewer.app.session import Session
from medviewer.app.settings import Settings, SettingsFile
from medviewer.app.state import JobStatus, Notice, State, View
from medviewer.app.whole_stacks import VolumeInMemory
from medviewer.domain.errors import MedViewerError
from medviewer.domain.frozen import dataclass
from medviewer.imaging.element_list import ElementList
from medviewer.imaging.renderer import Renderer
from medviewer.inference.engine import Engine
from medviewer.inference.variants import is_variant

if TYPE_CHECKING:
    from medviewer.app.trainer import Trainer

T = TypeVar("T")
Key = tuple[str, str, int]
Level = Literal["info", "caution", "alarm"]
Dialog = Literal["palette", "shortcuts", "preferences", "protocols", "models", "training", "molecule", "about"]

log = logging.getLogger(__name__)

_OF_MODELS = frozenset({"model.run", "model.select"})

SHOWN_JOBS = {
    "open": "Opening", "volume": "Reading slices", "model": "Running the model", "explain": "Explaining",
    "compare": "Explaining by the second method",
    "save": "Saving", "elements": "Reading the file's elements",
    "layer": "Reading the layer", "document": "Reading the document", "export": "Saving the image",
    "film": "Saving the film", "print": "Saving the page", "models": "Checking the model",
    "record model": "Running the model", "note model": "Running the model", "molecule": "Running the model",
}  # fmt: skip
"""The jobs that the status bar shows, and with which words until they say more."""


class Front(Protocol):
    """What only a window can do for the application; None means that the reader cancelled."""

    def choose_folder(self, title: str) -> Path | None:
        """Ask for a folder."""

    def choose_files(self, title: str) -> Sequence[Path] | None:
        """Ask for files."""

    def ask_text(self, title: str, question: str) -> str | None:
        """Ask for a line of text."""

    def placement(self) -> tuple[float, tuple[float, float]] | None:
        """The zoom and centre that are drawn now, whatever the wish in the state."""

    def has_drawn(self) -> bool:
        """Whether what is to be seen has been drawn; asked from any thread."""

    def show_dialog(self, what: Dialog) -> None:
        """Show a dialog."""

    def ask_export(self) -> ExportWish | None:
        """Ask what of the image is saved, and where."""

    def draw_image(self, what: What, *, with_identity: bool) -> Drawn | None:
        """Draw the image on screen as a picture that leaves the program."""

    def ask_film(self) -> FilmWish | None:
        """Ask what of the stack is filmed, and where to."""

    def film_painter(self, what: What, *, with_identity: bool) -> Draw | None:
        """Draws images of the stack on screen as pictures that leave the program, all alike."""

    def ask_print(self) -> PrintWish | None:
        """Ask what is printed, and how."""

    def draw_sheet(self, wish: PrintWish) -> Sheet | None:
        """Draw the page that was asked for."""

    def ask_save(self) -> SaveWish | None:
        """Ask what of the result on screen is saved, and where."""

    def draw_result(self, result: Result, *, with_identity: bool) -> Document | None:
        """Draw a result on a page for people."""

    def show_saved(self, saved: Saved) -> None:
        """Say what lies where now."""

    def copy_image(self, *, with_identity: bool) -> bool:
        """Put the image on the clipboard; says whether there was one."""

    def screen_facts(self) -> Sequence[tuple[str, str]]:
        """What a report of a problem needs to say of the screen."""

    def screen_count(self) -> int:
        """How many screens there are to put windows on."""

    def second_layout(self) -> tuple[int, int]:
        """Rows and columns that the second image window had when it was last open on these screens."""

    def to_next_screen(self) -> bool:
        """Move the window in which the reader works to the next screen; says whether there is another."""

    def copy_text(self, text: str) -> bool:
        """Put text on the clipboard; says whether there is one."""

    def show_elements(self, listed: ElementList) -> None:
        """Show the elements of the file of the image on screen."""

    def close_window(self) -> None:
        """End the window."""


class NoFront:
    """Nobody to ask: every question is cancelled."""

    def choose_folder(self, title: str) -> Path | None:
        """No folder."""

    def choose_files(self, title: str) -> Sequence[Path] | None:
        """No files."""

    def ask_text(self, title: str, question: str) -> str | None:
        """No text."""

    def placement(self) -> tuple[float, tuple[float, float]] | None:
        """Nothing is drawn."""

    def has_drawn(self) -> bool:
        """Nothing is waited for."""
        return True

    def show_dialog(self, what: Dialog) -> None:
        """Nothing to show it on."""

    def ask_export(self) -> ExportWish | None:
        """No answer."""

    def draw_image(self, what: What, *, with_identity: bool) -> Drawn | None:
        """Nothing is drawn."""

    def ask_film(self) -> FilmWish | None:
        """No answer."""

    def film_painter(self, what: What, *, with_identity: bool) -> Draw | None:
        """Nothing is drawn."""

    def ask_print(self) -> PrintWish | None:
        """No answer."""

    def draw_sheet(self, wish: PrintWish) -> Sheet | None:
        """Nothing is drawn."""

    def ask_save(self) -> SaveWish | None:
        """No answer."""

    def draw_result(self, result: Result, *, with_identity: bool) -> Document | None:
        """Nothing is drawn."""

    def show_saved(self, saved: Saved) -> None:
        """Nobody to say it to."""

    def copy_image(self, *, with_identity: bool) -> bool:  # noqa: ARG002 - as those that have one
        """There is no clipboard."""
        return False

    def screen_facts(self) -> Sequence[tuple[str, str]]:
        """There is none."""
        return ()

    def screen_count(self) -> int:
        """There is none."""
        return 0

    def second_layout(self) -> tuple[int, int]:
        """It was never open."""
        return 1, 1

    def to_next_screen(self) -> bool:
        """There is nothing to move."""
        return False

    def copy_text(self, text: str) -> bool:  # noqa: ARG002 - what a window is asked
        """There is no clipboard."""
        return False

    def show_elements(self, listed: ElementList) -> None:
        """Nothing to show them on."""

    def close_window(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class Wishes:
    """What was asked for and waits for something else."""

    run: Key | None = None  # run the model on this image as soon as its pixels and the record check are there
    runs_when_opened: bool = False  # this session's wish (the demo's); the setting is the reader's and stays theirs
    views: dict[Key, View] = field(default_factory=dict)  # how each stack was looked at last
    opened: tuple[Path, ...] = ()  # what the collection was made from
    when_found: Callable[[], None] | None = None  # what is done when all that was opened has been looked at
    record_model: str = ""  # the model that was last asked of the record
    is_whole: bool = True  # all that was opened has been looked at; not so where that goes on, or was stopped


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What an application is put together from.

    ``jobs`` runs what the reader waits for and may cancel; ``background`` what nobody asked
    for (thumbnails, reading ahead); ``writes`` keeps the order and loses nothing, so it
    runs on one thread; ``hours`` waits for processes that go on whatever is opened; ``saves`` writes the reader's
    files, which is shown and waited for. ``frames`` holds decoded pixels.
    """

    session: Session
    jobs: Jobs
    background: Jobs
    writes: Jobs
    hours: Jobs
    saves: Jobs
    post: Post
    engine: Engine
    records: RecordRoom
    settings_file: SettingsFile
    frames: FrameCache


class Application:
    """Runs commands on the session. GUI thread only; work goes through ``jobs``."""

    def __init__(self, parts: Parts, front: Front | None = None) -> None:
        self.session = parts.session
        self.jobs, self.background, self.writes = parts.jobs, parts.background, parts.writes
        self.saves = SaveJobs(self, parts.saves)
        self.post = parts.post
        self.engine = parts.engine
        self.records = parts.records
        self.frames = parts.frames
        self.volume: VolumeInMemory | None = None  # the one whose planes are cut
        self.cuts: dict[int, Picture] = {}  # the planes on screen, by viewport
        self.renderer = Renderer()  # of the 3D view; its process starts with the first one
        self.is_drafting = False  # the picture that it makes is a small one
        self.presented: dict[int, tuple[object, Picture]] = {}  # pictures as presentation states wish, by viewport
        self.front: Front = front or NoFront()
        self.wishes, self.heights = Wishes(), Heights()
        self._settings_file = parts.settings_file
        self.settings: Settings = parts.settings_file.load()
        self.when_opened = partial(HangingWhenOpened, self)  # what arranges a study that was opened
        self.hanging_file = HangingFile(parts.settings_file.folder)
        self.lost: list[MedViewerError] = []
        self._writing = 0
        self._adopt_settings()
        self._adopt_hanging()
        self.measured = MeasurementKeeper(self)
        self.has_models = False  # until adopt_models has been called
        self._chooser = ModelChooser(self)
        self.session.watch(self._chooser.watch)
        self.session.watch(DecisionKeeper(self).watch)
        self.session.watch(AnswerWatcher(self).watch)
        self.session.watch(self.measured.watch)
        self.session.watch(lambda old, new: volume_view.follow(self, old, new))
        self.session.watch(KeyImageKeeper(self).watch)
        self.session.watch(LayerCutter(self).watch)
        self._hours = parts.hours
        self.queue = ModelQueue(self)
        self.session.watch(self.queue.watch)
        self.session.watch(RecordReader(self).watch)
        self.session.watch(lambda old, new: forget_outdated(self, old, new))
        self.session.watch(NoteReader(self).watch)
        self.session.watch(lambda old, new: share_view(self, old) if old.view is not new.view and new.parked else None)
        self.session.watch(lambda old, new: keep_together(self, old, new))

    @property
    def state(self) -> State:
        """The present state."""
        return self.session.state

    @cached_property
    def training(self) -> Trainer:
        """The trainings of models; made for whoever asks for it, with all that it imports."""
        from medviewer.app.trainer import Trainer  # noqa: PLC0415 - see above

        return Trainer(self, self._hours)

    @property
    def is_training(self) -> bool:
        """Whether a model is being trained."""
        return "training" in self.__dict__ and self.training.is_running

    @property
    def home(self) -> Path:
        """The folder of settings and records."""
        return self._settings_file.folder

    def run_command(self, command_id: str, argument: Any = None) -> None:
        """Run a command of the table, as menus, shortcuts and panels do.

        What goes wrong on purpose becomes a notice; bugs are left to the caller's edge.

        Raises:
            UsageError: there is no such command.
        """
        chosen = command(command_id)
        if command_id in _OF_MODELS and not self.has_models:
            self.adopt_models()  # who asks so early waits for their files
        if not chosen.enabled(self.state):
            return
        try:
            chosen.run(self, argument)
        except MedViewerError as error:
            self.notify("alarm", str(error))

    def notify(self, level: Level, text: str, *, job: str = "") -> None:
        """Show the reader one sentence; one about a failed ``job`` stays until such a job :meth:`succeeded`."""
        self.session.update(notice=Notice(level, text, job) if text else None)

    def succeeded(self, job: str) -> None:
        """Work of this kind succeeded: what the last failure of its kind said holds no more."""
        if self.state.notice is not None and self.state.notice.job == job:
            self.session.update(notice=None)

    def write(
        self,
        work: Callable[[], T],
        done: Callable[[T], None] = lambda _result: None,
        failed: Callable[[MedViewerError], None] | None = None,
    ) -> None:
        """Have the record store asked or written, in order, off this thread; a failure becomes a notice."""
        self._writing += 1
        refuse = failed or self.lose
        self.writes.start(f"write {self._writing}", lambda _stop, _progress: work(), done, refuse)

    def lose(self, error: MedViewerError, *, job: str = "") -> None:
        """Something was not written: say so, and remember it for whoever closes the window."""
        self.lost.append(error)
        self.notify("alarm", str(error), job=job)

    def run_waiting(self) -> None:
        """Start the model run that waited for pixels or for the record, if there is one."""
        continue_run(self)

    def start_job(self, slot: str, work: Work[T], done: Callable[[T], None]) -> None:
        """Start latest-wins work whose failure is a notice, until work of the same slot succeeds."""

        def succeed(result: T) -> None:
            self.succeeded(slot)
            done(result)

        self.jobs.start(slot, work, succeed, lambda error: self.notify("alarm", str(error), job=slot))

    def remember(self, **changes: Any) -> None:
        """Change the settings and have them saved, in order, off this thread; a full disk is said, not fatal."""
        self.settings = settings = replace(self.settings, **changes)
        self.write(lambda: self._settings_file.save(settings), failed=lambda error: self.notify("caution", str(error)))

    def show_progress(self, slot: str, done: int, total: int, text: str) -> None:
        """Show how far a job is; reading one image is shown in the viewport instead."""
        kind = kind_of(slot)
        if kind in SHOWN_JOBS:
            status = JobStatus(slot, text or SHOWN_JOBS[kind], done, total)
            jobs = self.state.jobs
            if any(job.name == slot for job in jobs):  # it keeps its place: two that tell in turn do not change it
                self.session.update(jobs=tuple(status if job.name == slot else job for job in jobs))
            else:
                self.session.update(jobs=(*jobs, status))

    def hide_progress(self, slot: str) -> None:
        """The job ended."""
        if any(job.name == slot for job in self.state.jobs):
            self.session.update(jobs=tuple(job for job in self.state.jobs if job.name != slot))

    def close(self) -> None:
        """Stop all work and remember the reader's choices. What is being written goes on until it is on the disk."""
        self.jobs.stop_all()
        self.background.stop_all()
        self.saves.close()
        self._hours.stop_all()
        self.renderer.close()
        state = self.state
        self.remember(
            overlay=replace(state.overlay, visible=True, second="", chosen=None),
            corner_text=state.corner_text,
            smooth=state.view.smooth,
            model_id=state.model_id or self.settings.model_id,
        )

    def _adopt_settings(self) -> None:
        settings = self.settings
        self.session.update(
            language=settings.language,
            shortcuts=settings.shortcuts,
            ct_presets=settings.ct_presets,
            theme=settings.theme,
            density=settings.density,
            up_brightens=settings.up_brightens,
            read_first=settings.read_first,
            recent=settings.recent,
            overlay=replace(settings.overlay, visible=True),
            corner_text=settings.corner_text,
            view=View(smooth=settings.smooth),
        )

    def adopt_models(self) -> None:
        """Learn which models there are, and choose one for the image on screen; waits until their files are hashed."""
        self.has_models = True
        is_open = self.state.selection is not None or self.state.record is not None
        self.session.update(
            models_changed=self.state.models_changed + is_open,  # who has looked for models in vain looks again
            model_id=_first_usable(self.engine, self.settings.model_id),
            finding_titles=finding_titles(self.engine.catalogue),
            stack_models=stack_models(self.engine.catalogue),
        )
        self._chooser.choose(self.state)
        if self.state.frame is not None:
            warm_up(self)

    def _adopt_hanging(self) -> None:
        loaded = self.hanging_file.load()
        self.session.update(hanging=loaded.protocols)
        if loaded.problem:
            self.notify("caution", loaded.problem)


def _first_usable(engine: Engine, wanted: str) -> str:
    """The remembered model of images or stacks if it can still be used, else the first that can."""
    entries = engine.catalogue.entries
    usable = [entry.id for entry in entries if entry.card is not None and is_for_screen(entry.card)]
    return wanted if wanted in usable else next((one for one in usable if not is_variant(one)), "")

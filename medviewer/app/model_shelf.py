"""The models that the reader has: brought in, tried, replaced only after a yes, given back, taken away.

What takes time runs in one job slot; what needs the reader's yes waits here, whole and
tried, until it is given. Models run in their own process as always.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from medviewer.app.analysis import build_case
from medviewer.app.findings import REPLACED, forget_replaced
from medviewer.app.own_process import run_command
from medviewer.app.record_models import finding_titles, is_for_screen, stack_models
from medviewer.app.state import State
from medviewer.domain.answer import Answer
from medviewer.domain.case import Case
from medviewer.domain.errors import MedViewerError, ModelError, RuntimeMissingError, Stopped
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken
from medviewer.inference.acceptance import OneModel
from medviewer.inference.card import Card
from medviewer.inference.catalogue import Entry
from medviewer.inference.engine import Engine
from medviewer.inference.importing.monai import Brought, is_bundle, is_bundle_archive, read_bundle, unpack_bundle
from medviewer.inference.importing.onnx_file import import_onnx
from medviewer.inference.importing.questions import Answers, GraphFacts, Question, questions
from medviewer.inference.importing.workshop import WEIGHTS, inspect
from medviewer.inference.installing import Candidate, ModelStore

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

JOB = "models"
CPU = ("cpu",)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A network of which something must be asked before it can be imported."""

    source: Brought
    facts: GraphFacts
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """An imported model, not installed yet, and what it says of the image on screen; None if there is none."""

    card: Card
    answer: Answer | None


class ModelShelf:
    """The reader's models, as a window shows them.

    Attributes:
        problem: why the last wish was refused; empty if it was not.
        waiting: a model that was tried and replaces another one: it waits for a yes.
        asked: a network whose questions wait for answers.
        tried: what was imported with the answers.
        done: one sentence on what was last done.

    Args:
        app: whose models they are.
        told: called on the GUI thread whenever one of these changed.
    """

    def __init__(self, app: Application, told: Callable[[], None]) -> None:
        self._app = app
        self._told = told
        self._held = ExitStack()
        self._unpacked = ExitStack()  # the bundle that is asked about: it outlasts each try with other answers
        self._brought = ""  # what it is called, for the note of where a model came from
        self._wish: object = object()  # what is under way is for this one; work for an earlier one is given back
        self._lock = Lock()
        own = app.home / "models"
        self.store = ModelStore(app.home, next((f for f in app.engine.catalogue.folders if f != own), None))
        self.problem = ""
        self.done = ""
        self.waiting: Candidate | None = None
        self.asked: Asked | None = None
        self.tried: Tried | None = None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The models in use, and those that cannot be used with their reason."""
        return self._app.engine.catalogue.entries

    @property
    def is_busy(self) -> bool:
        """Whether work is under way."""
        return JOB in self._app.jobs.running

    def bring(self, path: Path) -> None:
        """Take what was chosen or dropped: a model is installed, a bare network is asked about first."""
        self.let_go()
        self._brought = path.absolute().name
        suffix = path.suffix.lower()
        if suffix == ".onnx" or is_bundle(path):
            self._start(lambda stop, _progress: _look_at(path, stop), self._ask)
        elif path.is_file() and suffix not in WEIGHTS:
            self._start(lambda _stop, _progress: is_bundle_archive(path), partial(self._bring_file, path))
        else:
            self._examine(path)

    def _bring_file(self, path: Path, is_bundle_in_it: bool) -> None:
        if not is_bundle_in_it:
            self._examine(path)
            return
        wish = self._wish

        def work(stop: StopToken, _progress: Progress) -> Asked:
            with ExitStack() as mine:
                folder = Path(mine.enter_context(tempfile.TemporaryDirectory(prefix="medviewer-bundle-")))
                unpack_bundle(path, folder, stop)
                asked = _look_at(folder, stop)
                with self._lock:
                    if wish is self._wish:
                        self._unpacked = mine.pop_all()
                        return asked
            raise Stopped  # it was cancelled at the last moment

        self._start(work, self._ask)

    def make(self, answers: Answers) -> None:
        """Import the network with its answers, and try it on the image on screen."""
        if self.asked is None:
            return
        asked, case = self.asked, open_case(self._app.state)
        language = self._app.state.language
        self._give_back()
        folder = Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="medviewer-model-")))
        self.tried = None

        def work(stop: StopToken, progress: Progress) -> Tried:
            source = asked.source
            card = import_onnx(
                source.network, asked.facts, answers, folder, more=source.card, stop=stop, progress=progress
            )
            return Tried(card, _ask(card, case, language, stop) if case is not None else None)

        self._start(work, self._show_tried)

    def install_tried(self) -> None:
        """Put what was imported beside the other models."""
        if self.tried is not None:
            folder, self.asked, self.tried = self.tried.card.folder, None, None
            self._examine(folder)

    def confirm(self) -> None:
        """The reader's yes: the waiting model takes the other one's place."""
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            self._commit(waiting)

    def rollback(self, model_id: str) -> None:
        """Take the version before back into use."""
        self.let_go()
        self._change(lambda: self.store.rollback(model_id), "The version before is in use again.")

    def remove(self, model_id: str) -> None:
        """Remove a model of the reader's own."""
        self.let_go()
        self._change(lambda: self.store.remove(model_id), "The model was removed.")

    def cancel(self) -> None:
        """Stop what is under way."""
        self.close()
        self._told()

    def close(self) -> None:
        """Stop what is under way; nobody looks any more."""
        self._app.jobs.stop(JOB)
        self.let_go()

    def let_go(self) -> None:
        """Forget what waits; nothing of it stays on the disk."""
        self._give_back()
        with self._lock:
            unpacked, self._unpacked = self._unpacked, ExitStack()
        unpacked.close()
        self.waiting, self.asked, self.tried = None, None, None
        self.problem = self.done = ""

    def _give_back(self) -> None:
        with self._lock:
            self._wish, held, self._held = object(), self._held, ExitStack()
        held.close()

    def _start(self, work: Callable[[StopToken, Progress], Any], done: Callable[[Any], None]) -> None:
        self.problem = self.done = ""
        self._app.jobs.start(JOB, work, done, self._refuse)
        self._told()

    def _refuse(self, error: MedViewerError) -> None:
        self.problem = str(error)
        self._told()

    def _ask(self, asked: Asked) -> None:
        self.asked = asked
        self._told()

    def _show_tried(self, tried: Tried) -> None:
        self.tried = tried
        self._told()

    def _examine(self, path: Path) -> None:
        wish, called = self._wish, self._brought

        def work(stop: StopToken, progress: Progress) -> Candidate:
            mine = ExitStack()
            with _as_model(path, stop, progress) as source:  # of which the store makes a copy
                candidate = mine.enter_context(self.store.examined(source, called=called, stop=stop, progress=progress))
            with self._lock:
                if wish is self._wish:
                    self._held.push(mine)
                    return candidate
            mine.close()  # it was cancelled at the last moment
            raise Stopped

        def examined(candidate: Candidate) -> None:
            if candidate.is_same:
                self.let_go()
                self.done = "It is installed already; nothing was changed."
                self._told()
            elif candidate.replaces is not None:
                self.waiting = candidate
                self._told()
            else:
                self._commit(candidate)

        self._start(work, examined)

    def _commit(self, candidate: Candidate) -> None:
        self._change(lambda: self.store.commit(candidate), "The model is installed.")

    def _change(self, change: Callable[[], Any], done: str) -> None:
        app = self._app

        def work(_stop: StopToken, _progress: Progress) -> None:
            change()
            gone = app.engine.catalogue.refresh()
            # Posted and not left to what follows: who cancels at the last moment has another model all the same.
            app.post(partial(_adopt, app, gone))

        def changed(_nothing: None) -> None:
            self.let_go()
            self.done = done
            self._told()

        self._start(work, changed)


def _adopt(app: Application, gone: frozenset[str]) -> None:
    """Have the window list the models that there are now; one that went is not chosen any more, nor is its answer.

    Args:
        app: whose window.
        gone: the models that are others now, or are not there.
    """
    entries = app.engine.catalogue.entries
    usable = [entry.id for entry in entries if entry.card is not None and is_for_screen(entry.card)]
    chosen = app.state.model_id
    model_id = chosen if chosen in usable else next(iter(usable), "")
    app.session.update(
        models_changed=app.state.models_changed + 1,
        replaced_models=gone,
        model_id=model_id,
        provider="",
        finding_titles=finding_titles(app.engine.catalogue),
        stack_models=stack_models(app.engine.catalogue),
    )
    if forget_replaced(app, gone):
        app.notify("caution", REPLACED)


def open_case(state: State) -> Case | None:
    """The image on screen as a model would be given it; None if there is none, or its record is somebody else's.

    A new model is given nothing that the reader confirmed for another one.
    """
    now = state.selection
    if now is None or state.frame is None or state.cut is not None or state.record_mismatch:
        return None
    return build_case(state.frame, now.patient, now.study, state.record)


@contextmanager
def _as_model(path: Path, stop: StopToken, progress: Progress) -> Iterator[Path]:
    """What was chosen as a model folder or archive: weights are imported by a process of their own, with torch."""
    if path.suffix.lower() not in WEIGHTS or not path.is_file():
        yield path
        return
    if getattr(sys, "frozen", False):
        raise RuntimeMissingError(
            "The packaged program cannot read files of weights; install MedViewer with Python: "
            "pip install 'medviewer[torch,cpu]'."
        )
    progress(0, 1, "Importing the weights (a minute or two)")
    with tempfile.TemporaryDirectory(prefix="medviewer-weights-") as folder:
        made = Path(folder) / "model"
        words = ["models", "import", str(path.absolute()), "--out", str(made), "--json"]
        ending = run_command(words, lambda _line: None, stop)
        if ending.how == "stopped":
            raise Stopped
        if ending.how == "failed":
            raise ModelError(ending.text)
        yield made


def _look_at(path: Path, stop: StopToken) -> Asked:
    """What a network says of itself, and what must be asked."""
    source = read_bundle(path) if path.is_dir() else Brought(path)
    facts = inspect(source.network, stop=stop)
    return Asked(source, facts, questions(facts, source.hints))


def _ask(card: Card, case: Case, language: str, stop: StopToken) -> Answer:
    with Engine(OneModel(card), providers=CPU) as engine:
        return engine.ask(case, card.id, stop=stop, language=language)


def reasons(candidate: Candidate) -> Mapping[str, str]:
    """What a yes would do: the versions, by ``old`` and ``new``."""
    old = candidate.replaces.card.version if candidate.replaces and candidate.replaces.card else "?"
    return {"old": old, "new": candidate.card.version}

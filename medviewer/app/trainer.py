"""Training from the window: recipes, one run at a time in a process of its own, and what becomes of its model.

All that belongs to a recipe lies in ``trained`` of the data folder: ``NAME.json`` says what was begun,
``NAME.chosen.json`` which data were chosen last, ``NAME.training`` keeps the run until it is complete, ``NAME`` is
the model that came of it. A model is only put
into use by a yes, through the model store, which keeps the one before.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from medviewer.app.jobs import Jobs
from medviewer.app.model_shelf import ModelShelf
from medviewer.app.own_process import Ending, Line, check_trainable, run_command
from medviewer.app.training_progress import RunProgress
from medviewer.app.training_recipe import Recipe, read_recipe
from medviewer.domain.errors import MedViewerError, ModelError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken
from medviewer.inference.card import Card, read_card
from medviewer.inference.card_json import CARD_NAME
from medviewer.inference.catalogue import Entry
from medviewer.inference.installing import version_key
from medviewer.inference.signing import replace_card
from medviewer.whole_file import is_writable, storage_error, write_whole

if TYPE_CHECKING:  # commands act on the application, which holds the trainer
    from medviewer.app.application import Application

_HELD_OUT = ("b", "test", "test-1")  # of stays, molecules and notes
JOB, LIST_JOB, DATA_JOB, COMPARE_JOB = "training", "recipes", "training data", "model comparison"
Stage = Literal["new", "running", "unfinished", "trained"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is, or was, trained: ``settings`` are those that differ from the recipe's."""

    recipe: str
    data: str
    settings: Mapping[str, str]
    begun: str = ""  # ISO 8601, UTC
    is_complete: bool = False


class Trainer:
    """Trains for the window. GUI thread only; ``jobs`` are such as go on whatever is opened and closed.

    Attributes:
        recipes: what can be trained; empty until it was listed.
        live: how far the run is that goes on now; None if there is none. The last one's stays to be looked at.
        problems: why the last wish failed, by recipe; that of the list by "".
        reports: what the data hold, by recipe: ``medviewer-data/1``.
        comparisons: the new model against the one in use, by recipe: ``medviewer-comparison/1``.
    """

    def __init__(self, app: Application, jobs: Jobs) -> None:
        self._app, self._jobs = app, jobs
        self.folder = app.home / "trained"
        self.recipes: tuple[Recipe, ...] = ()
        self.live: RunProgress | None = None
        self.plan: Plan | None = None
        self.problems: dict[str, str] = {}
        self.reports: dict[str, Mapping[str, Any]] = {}
        self.comparisons: dict[str, Mapping[str, Any]] = {}
        self.told: Callable[[], None] = lambda: None
        self._stop: StopToken | None = None
        self._about: dict[str, str] = {}  # which recipe each job was last started for
        self._chosen: dict[str, str] = {}
        self._inbox: deque[Line] = deque()
        self._lock = Lock()

    # what there is

    def model_folder(self, recipe: str) -> Path:
        """Where the model of a recipe lies once it is complete."""
        return self.folder / recipe

    def report_page(self, recipe: str) -> Path:
        """The page of the last look at a recipe's data."""
        return self.folder / f"{recipe}.data" / "data.html"

    def comparison_page(self, recipe: str) -> Path:
        """The page of the last comparison."""
        return self.folder / f"{recipe}.comparison" / "comparison.html"

    @property
    def is_running(self) -> bool:
        """Whether a training goes on."""
        return JOB in self._jobs.running

    @property
    def is_busy(self) -> bool:
        """Whether anything of this goes on."""
        return self.is_running or any(job in self._jobs.running for job in (LIST_JOB, DATA_JOB, COMPARE_JOB))

    def is_doing(self, job: str) -> bool:
        """Whether this goes on: one of the jobs of this module."""
        return job in self._jobs.running

    def stage(self, recipe: str) -> Stage:
        """How far a recipe is."""
        if self.is_running and self.plan is not None and self.plan.recipe == recipe:
            return "running"
        plan = self.planned(recipe)
        if plan is None:
            return "new"
        if plan.is_complete:
            return "trained" if (self.model_folder(recipe) / CARD_NAME).is_file() else "new"
        return "unfinished" if self._run_folder(recipe).is_dir() else "new"

    def planned(self, recipe: str) -> Plan | None:
        """What was last begun of a recipe; None if nothing was, or its file is damaged."""
        try:
            kept = json.loads((self.folder / f"{recipe}.json").read_text(encoding="utf-8"))
            settings = {str(name): str(value) for name, value in dict(kept["settings"]).items()}
            return Plan(recipe, str(kept["data"]), settings, str(kept["begun"]), kept["is_complete"] is True)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def data_of(self, recipe: str) -> str:
        """Where the data lie that were last chosen for a recipe, in this window or one before; "" if none were."""
        if recipe not in self._chosen:
            plan = self.planned(recipe)
            self._chosen[recipe] = self._read_chosen(recipe) or (plan.data if plan is not None else "")
        return self._chosen[recipe]

    def _read_chosen(self, recipe: str) -> str:
        try:
            kept = json.loads(self._chosen_file(recipe).read_text(encoding="utf-8"))
            return kept["data"] if isinstance(kept["data"], str) else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _chosen_file(self, recipe: str) -> Path:
        return self.folder / f"{recipe}.chosen.json"

    # what is done

    def choose_data(self, recipe: str, data: Path) -> None:
        """Take a folder or file for a recipe's data and remember it; what was seen of other data goes."""
        self.problems.pop(recipe, None)
        try:
            self._of(recipe).check_data(data)
            self._chosen[recipe] = str(data)
            self.forget_data(recipe)
            self._write(self._chosen_file(recipe), {"data": str(data)})
        except MedViewerError as error:
            self._refuse(recipe, error)

    def _of(self, recipe: str) -> Recipe:
        return next(one for one in self.recipes if one.name == recipe)

    def list_recipes(self) -> None:
        """Have the recipes listed, by a process that loads what they need."""
        self.problems.pop("", None)
        try:
            check_trainable()
        except ModelError as error:
            self._refuse("", error)
            return

        def listed(ended: tuple[Ending, list[Line]]) -> None:
            ending, said = ended
            if ending.how == "failed":
                self.problems[""] = ending.text
            self.recipes = tuple(read_recipe(one) for line in said for one in line.get("recipes", ()))

        self._start(LIST_JOB, "", lambda stop: _collected(["recipes", "--json"], stop), listed)

    def look_at_data(self, recipe: str, data: Path, settings: Mapping[str, str]) -> None:
        """Have the data described, before anything is learned."""
        if not self._is_startable(recipe, data, settings):
            return
        out = self.folder / f"{recipe}.data"
        self.forget_data(recipe)
        own = self._of(recipe).own_settings(settings)
        words = ["train", recipe, "--data", str(data), "--out", str(out), "--report-only", *_set(own)]

        def work(stop: StopToken) -> tuple[Ending, Mapping[str, Any]]:
            shutil.rmtree(out, ignore_errors=True)
            ending, _ = _collected(words, stop)
            return ending, _document(out / "data.json") if ending.how == "done" else {}

        def described(ended: tuple[Ending, Mapping[str, Any]]) -> None:
            ending, report = ended
            if ending.how == "failed":
                self.problems[recipe] = ending.text
            elif report:
                self.reports[recipe] = report

        self._start(DATA_JOB, recipe, work, described)

    def forget_data(self, recipe: str) -> None:
        """Drop what was seen of a recipe's data, and what is just being seen of them: others were chosen."""
        self.reports.pop(recipe, None)
        self._forget(DATA_JOB, recipe)

    def _forget(self, job: str, recipe: str) -> None:
        """Stop a job if it is about this recipe; what it still says is not heard."""
        if self._about.get(job) == recipe:
            self._jobs.stop(job)

    def begin(self, recipe: str, data: Path, settings: Mapping[str, str]) -> None:
        """Train anew; an unfinished run of the recipe goes, and so does a model of it that was not put into use."""
        if not self._is_startable(recipe, data, settings):
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._run(Plan(recipe, str(data), self._of(recipe).own_settings(settings), now), is_new=True)

    def _is_startable(self, recipe: str, data: Path, settings: Mapping[str, str]) -> bool:
        """Refuse at once what the recipe would refuse later, when the run before is gone."""
        try:
            self._of(recipe).check_data(data)
            self._of(recipe).check_settings(settings)
        except UsageError as error:
            self._refuse(recipe, error)
            return False
        return True

    def go_on(self, recipe: str) -> None:
        """Go on with an unfinished run from its last checkpoint."""
        plan = self.planned(recipe)
        if plan is not None:
            self._run(plan, is_new=False)

    def stop(self) -> None:
        """Stop the run; its last checkpoint is kept."""
        if self.is_running and self._stop is not None and self.live is not None:
            self.live.is_stopping = True
            self._stop.stop()
            self.told()

    def stop_looking(self) -> None:
        """Stop what is looked at or compared; a training goes on."""
        for job in (DATA_JOB, COMPARE_JOB):
            self._jobs.stop(job)
        self.told()

    def _run(self, plan: Plan, *, is_new: bool) -> None:
        if self.is_running:
            self._refuse(plan.recipe, UsageError("One model is being trained already; stop it, or wait for its end."))
            return
        recipe = plan.recipe
        self.comparisons.pop(recipe, None)
        self._forget(COMPARE_JOB, recipe)
        self.live, self.plan = RunProgress(), plan
        words = ["train", recipe, "--data", plan.data, "--out", str(self.model_folder(recipe)), "--force", "--json"]
        words += _set(plan.settings)

        def work(stop: StopToken) -> Ending:
            check_trainable()
            try:
                with self._alone(recipe):
                    if is_new:
                        shutil.rmtree(self._run_folder(recipe), ignore_errors=True)
                        self._keep(plan)
                    ending = run_command(words, self._hear, stop)
                    if ending.how == "done":
                        self._keep(replace(plan, is_complete=True))
                    return ending
            except OSError as error:
                raise storage_error("The training", error) from error

        self._stop = self._start(JOB, recipe, work, self._ended)

    @contextlib.contextmanager
    def _alone(self, recipe: str) -> Iterator[None]:
        """Let no other window train this recipe meanwhile."""
        from filelock import FileLock, Timeout  # noqa: PLC0415 - not before something is trained

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / f"{recipe}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            if not is_writable(self.folder):  # a file that cannot be made there looks like one that is locked
                raise storage_error("The training", OSError(errno.EACCES, "")) from error
            raise UsageError("Another window of MedViewer trains this; wait for its end.") from error
        try:
            yield
        finally:
            lock.release()

    def _keep(self, plan: Plan) -> None:
        self._write(self.folder / f"{plan.recipe}.json", asdict(plan))

    def _write(self, path: Path, document: Mapping[str, Any]) -> None:
        """Write a file of this folder.

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("The training", error) from error
        write_whole(path, json.dumps(document, indent=1).encode(), is_private=True)

    def _ended(self, ending: Ending) -> None:
        self._drain()
        plan = self.plan
        assert plan is not None  # noqa: S101 - it was begun
        if ending.how == "failed":
            self.problems[plan.recipe] = ending.text
            self._app.notify("alarm", "The training failed; Train a model says why.")
        elif ending.how == "done":
            self._app.notify("info", "The training is complete; Train a model compares the new model.")

    def _hear(self, line: Line) -> None:
        """Take a line of the process, in the thread that reads it; many of them make one call to the window's."""
        with self._lock:
            is_first = not self._inbox
            self._inbox.append(line)
        if is_first:
            self._app.post(self._drain)

    def _drain(self) -> None:
        with self._lock:
            lines = list(self._inbox)
            self._inbox.clear()
        if self.live is not None and lines:
            for line in lines:
                self.live.take(line)
            self.told()

    # what becomes of the model

    def new_card(self, recipe: str) -> Card | None:
        """The card of the model that was trained; None without a valid one."""
        try:
            return read_card(self.model_folder(recipe))
        except ModelError:
            return None

    def present(self, recipe: str) -> Entry | None:
        """The model in use that the new one would replace, or else one of the same recipe; None if there is none."""
        new = self.new_card(recipe)
        usable = [entry for entry in self._app.engine.catalogue.entries if entry.card is not None]
        same = [entry for entry in usable if new is not None and entry.id == new.id]
        like = [entry for entry in usable if entry.card and entry.card.training.get("recipe") == recipe]
        return next(iter([*same, *like]), None)

    def is_in_use(self, recipe: str) -> bool:
        """Whether the model that was trained is the one in use."""
        new, old = self.new_card(recipe), self.present(recipe)
        return new is not None and old is not None and old.card is not None and old.card.document == new.document

    def compare(self, recipe: str) -> None:
        """Have the new model and the one in use answer the same held-out cases."""
        new, old, plan = self.new_card(recipe), self.present(recipe), self.planned(recipe)
        if new is None or old is None or plan is None:
            return
        out = self.comparison_page(recipe).parent
        words = ["evaluate", str(new.folder), "--against", str(old.folder), "--data", plan.data, "--out", str(out)]
        words += ["--split", split] if (split := _held_out(new)) else []

        def work(stop: StopToken) -> tuple[Ending, Mapping[str, Any]]:
            ending, _ = _collected(words, stop)
            return ending, _document(out / "comparison.json") if ending.how == "done" else {}

        def compared(ended: tuple[Ending, Mapping[str, Any]]) -> None:
            ending, report = ended
            if ending.how == "failed":
                self.problems[recipe] = ending.text
            elif report:
                self.comparisons[recipe] = report

        self._start(COMPARE_JOB, recipe, work, compared)

    def promote(self, recipe: str, shelf: ModelShelf) -> None:
        """Have the new model tried and put into use by the shelf, which asks before it replaces another one."""
        card, old = self.new_card(recipe), self.present(recipe)
        if card is None:
            return
        if old is not None and old.card is not None and old.id == card.id and not self.is_in_use(recipe):
            plan = self.planned(recipe)
            try:
                _renumber(card, version_after(card.version, old.card.version, plan.begun if plan else ""))
            except MedViewerError as error:
                self._refuse(recipe, error)
                return
        shelf.bring(card.folder)

    def take_back(self, recipe: str, shelf: ModelShelf) -> None:
        """Take the model before back into use; one that came with the program comes back as the newer one goes."""
        card = self.new_card(recipe)
        if card is not None and shelf.store.has_previous(card.id):
            shelf.rollback(card.id)
        elif card is not None:
            shelf.remove(card.id)

    def _run_folder(self, recipe: str) -> Path:
        return self.folder / f"{recipe}.training"

    def _start(self, job: str, recipe: str, work: Callable[[StopToken], Any], done: Callable[[Any], None]) -> StopToken:
        self.problems.pop(recipe, None)

        def end(result: Any) -> None:
            done(result)
            self.told()

        def fail(error: MedViewerError) -> None:
            self._refuse(recipe, error)

        def run(stop: StopToken, _progress: Progress) -> Any:
            return work(stop)

        self._about[job] = recipe
        token = self._jobs.start(job, run, end, fail)
        self.told()
        return token

    def _refuse(self, recipe: str, error: MedViewerError) -> None:
        self.problems[recipe] = str(error)
        self.told()


def version_after(new: str, old: str, begun: str) -> str:
    """The version of a model that was trained here, higher than that of the model that it replaces.

    Args:
        new: what its recipe calls it; kept if it is higher.
        old: of the model in use.
        begun: when the training began (ISO 8601): what tells trained models apart.
    """
    if version_key(new) > version_key(old):
        return new
    major, minor, patch, is_release, _ = version_key(old)
    moment = "".join(c for c in begun[:19] if c.isdigit())
    return f"{major}.{minor}.{patch + 1 if is_release else patch}-trained.{moment}"


def _renumber(card: Card, version: str) -> None:
    """Write another version on the card and its page."""
    if version == card.version:
        return
    document = dict(card.document) | {"version": version}
    replace_card(card.folder, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
    page = card.folder / "README.md"
    if page.is_file():
        name = f"`{card.id}` "
        text = page.read_text(encoding="utf-8").replace(f"{name}{card.version}", f"{name}{version}", 1)
        write_whole(page, text.encode())


def _held_out(card: Card) -> str:
    """The part of a recipe's data that chose nothing of a model; "" where there is no such part, as of folds."""
    judged = {str(entry.get("split")) for entry in card.evidence}
    return "report" if "split" in card.training else next((s for s in _HELD_OUT if s in judged), "")


def _collected(words: list[str], stop: StopToken) -> tuple[Ending, list[Line]]:
    lines: list[Line] = []
    return run_command(words, lines.append, stop), lines


def _document(path: Path) -> Mapping[str, Any]:
    """A report that was just written.

    Raises:
        UsageError: it is not there or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return dict(found)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path.name} was not written; try again.") from error


def _set(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]

"""Many studies put to models, one question after the other, so that nothing is lost and nothing done twice.

A result is in its folder whole or not there (:func:`~medviewer.app.results.save_results`), and the journal says
of each question whether it was begun and how it ended. Whatever ends the program, the same call goes on
where it was: what was answered is not asked again, what was only begun or failed is.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from pathlib import Path
from typing import TypeAlias

from medviewer.app.answering import Asking, answer_image, answer_stack
from medviewer.app.batch_journal import Entry, Journal, Outcome
from medviewer.app.batch_plan import BatchQuestion
from medviewer.app.result_objects import OURS
from medviewer.app.results import RESULT_NAME, RESULT_SCHEMA, Result, clear_results, save_results
from medviewer.domain.errors import EngineError, InputError, ModelError, UsageError, WorkerDiedError
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import StopToken
from medviewer.imaging.decode import read_frame
from medviewer.inference.engine import Engine
from medviewer.whole_file import storage_error

ATTEMPTS = 3  # a worker may be killed from outside; one question that always kills it must not stop the others
_READ_AHEAD = 2  # images decoded while a network runs: each may take a hundred megabytes
_LONGEST_RESULT = 4 << 20  # bytes


_Unsaved: TypeAlias = tuple[BatchQuestion, Result, Future[list[Path]]]


@dataclass(frozen=True, slots=True)
class Done:
    """How one question ended. ``is_new`` is False for one that an earlier call had answered."""

    question: BatchQuestion
    outcome: Outcome
    reason: str = ""
    is_new: bool = True
    is_engines_fault: bool = False
    result: Result | None = None


@dataclass(slots=True)
class Pace:
    """How long the rest will take: the median of the last questions that were really asked, times what is left."""

    clock: Callable[[], float] = time.monotonic
    _lasted_s: deque[float] = field(default_factory=lambda: deque(maxlen=50))
    _since: float = 0.0

    def start(self) -> None:
        """A question begins."""
        self._since = self.clock()

    def stop(self) -> None:
        """It ended."""
        self._lasted_s.append(self.clock() - self._since)

    def left_s(self, left: int) -> float | None:
        """Seconds for so many more questions; None before the first one ended."""
        return statistics.median(self._lasted_s) * left if self._lasted_s else None


def run_batch(
    engine: Engine,
    questions: Sequence[BatchQuestion],
    out: Path,
    *,
    asking: Asking,
    journal: Journal,
    before_saving: Callable[[Result], Result],
) -> Iterator[Done]:
    """Ask every question that has no answer yet, save each result, and tell of each question as it ends.

    A worker that dies is asked again, up to :data:`ATTEMPTS` times. ``before_saving`` looks at each answer and adds
    what is known of it, such as whether it is in the audit trail. Results go into folders of ``out``.

    Raises:
        StorageError: a result or the journal could not be written; the rest would fare no better.
    """
    earlier = {question.name: earlier_outcome(out, question, journal) for question in questions}
    unasked = [question for question in questions if earlier[question.name] is None]
    with _reading_ahead(unasked) as frames, ThreadPoolExecutor(1, thread_name_prefix="medviewer-save") as saving:
        unsaved: _Unsaved | None = None  # while the next one is asked
        try:
            for question in questions:
                if (known := earlier[question.name]) is None:
                    _clear(out / question.name)  # before it is begun: what lies there afterwards is today's
                    journal.begin(question.name, question.stamp, question.manner)
                    asked = _ask(engine, question, asking, frames[question.name])
                else:
                    asked = Done(question, known, is_new=False)
                if unsaved is not None:
                    before, unsaved = unsaved, None
                    yield _note(journal, _saved(before))
                if isinstance(asked, Done):
                    yield _note(journal, asked)
                else:
                    result = before_saving(asked)
                    files = saving.submit(save_results, out / question.name, result, outputs=asking.outputs)
                    unsaved = question, result, files
        finally:
            last = _note(journal, _saved(unsaved)) if unsaved is not None else None  # also when the rest is stopped
        if last is not None:
            yield last


def _note(journal: Journal, done: Done) -> Done:
    """Put into the journal how a question ended; also where a kill came between an earlier result and its line."""
    if journal.entries[done.question.name].outcome != done.outcome:
        journal.end(done.question.name, done.outcome, done.reason)
    return done


def _saved(unsaved: _Unsaved) -> Done:
    """Wait until a result is on the disk."""
    question, result, saving = unsaved
    try:
        saving.result()
    except UsageError as error:
        return Done(question, "failed", str(error))
    is_answer = result.answer.status == "answer"
    return Done(question, "answer" if is_answer else "abstained", "; ".join(result.answer.reasons), result=result)


def clear_refused(out: Path, refused: Iterable[str]) -> None:
    """Take away earlier results of questions that are not asked any more: image or model were others when they were.

    Raises:
        StorageError: they cannot be taken away.
    """
    for name in refused:
        if (out / name).is_dir():
            _clear(out / name)
            with contextlib.suppress(OSError):  # something else lies there
                (out / name).rmdir()


def _clear(folder: Path) -> None:
    """Take away an earlier result, and what a killed call left of one: nobody else writes there.

    A result that was only half taken away has lost the list of its other files, so they go by their names.

    Raises:
        StorageError: they cannot be taken away.
    """
    clear_results(folder)
    for path in folder.glob(".medviewer-*"):
        shutil.rmtree(path, ignore_errors=True)
    try:
        for path in folder.glob("*"):
            if OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error("The result", error) from error


def earlier_outcome(out: Path, question: BatchQuestion, journal: Journal) -> Outcome | None:
    """How a question ended in an earlier call; None if it has to be asked, perhaps again.

    The result itself is what counts: it lies there whole, of this very image asked in this very manner.
    """
    entry: Entry | None = journal.entries.get(question.name)
    if entry is None or (entry.stamp, entry.manner) != (question.stamp, question.manner) or not question.stamp:
        return None
    status = result_status(out / question.name)
    return status if entry.outcome in ("", status) else None


def result_status(folder: Path) -> Outcome | None:
    """What the result in a folder says; None if there is no whole one."""
    document = read_result(folder / RESULT_NAME)
    if document is None or document.get("schema") != RESULT_SCHEMA:
        return None
    outputs, status = document.get("outputs"), document.get("status")
    if not isinstance(outputs, list) or not all((folder / str(name)).is_file() for name in outputs):
        return None
    return status if status in ("answer", "abstained") else None


def read_result(path: Path) -> dict[str, object] | None:
    """The content of a JSON file of ours; None if it is none."""
    try:
        if path.stat().st_size > _LONGEST_RESULT:
            return None
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _ask(engine: Engine, question: BatchQuestion, asking: Asking, frame: Callable[[], Frame]) -> Result | Done:
    """One question, asked again while the worker dies; what fails is said and costs the others nothing."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if question.is_of_stack:
                return answer_stack(engine, question.model_id, question.selection, asking=asking)
            return answer_image(engine, question.model_id, question.selection, frame(), asking=asking)
        except EngineError as error:
            if isinstance(error, WorkerDiedError) and attempt < ATTEMPTS:
                continue
            return Done(question, "failed", str(error), is_engines_fault=True)
        except (InputError, ModelError) as error:
            return Done(question, "failed", _without_path(str(error), question))
    raise AssertionError  # the last attempt has returned


def _without_path(text: str, question: BatchQuestion) -> str:
    """Say what is wrong with a file without its name: it may be the patient's, and goes into files without identity."""
    path = question.selection.image.path
    for name in (str(path), path.name):
        text = text.replace(name, "the file")
    return text


@contextlib.contextmanager
def _reading_ahead(questions: Sequence[BatchQuestion]) -> Iterator[_Frames]:
    """Decode the next images while a network runs; whatever ends the block ends the reading too."""
    stop = StopToken()
    with ThreadPoolExecutor(1, thread_name_prefix="medviewer-read-ahead") as pool:
        try:
            yield _Frames(questions, pool, stop)
        finally:
            stop.stop()
            pool.shutdown(wait=False, cancel_futures=True)


class _Frames:
    """Pixels by question, in the order of the questions: each image is read once for all its models."""

    def __init__(self, questions: Sequence[BatchQuestion], pool: ThreadPoolExecutor, stop: StopToken) -> None:
        self._questions, self._pool, self._stop = questions, pool, stop
        self._place = {question.name: place for place, question in enumerate(questions)}
        self._futures: dict[tuple[str, str, int], Future[Frame]] = {}

    def __getitem__(self, name: str) -> Callable[[], Frame]:
        place = self._place[name]
        near = [one for one in self._questions[place : place + 1 + _READ_AHEAD] if not one.is_of_stack]
        keys = {question.selection.image.key for question in near}
        self._futures = {key: future for key, future in self._futures.items() if key in keys}
        for question in near:
            image = question.selection.image
            if image.key not in self._futures:
                self._futures[image.key] = self._pool.submit(read_frame, image, stop=self._stop)
        if self._questions[place].is_of_stack:
            return _nothing_to_read
        wanted = self._futures[self._questions[place].selection.image.key]
        return wanted.result


def _nothing_to_read() -> Frame:
    raise AssertionError  # the slices of a stack are read where they are asked about

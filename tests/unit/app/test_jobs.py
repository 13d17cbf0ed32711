"""Late answers are dropped, superseded work is told to stop, and a bug is said without patient data."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from medviewer.app.jobs import UNEXPECTED, Jobs
from medviewer.domain.errors import InputError, MedViewerError, Stopped
from medviewer.domain.progress import Progress, StopToken


class LaterExecutor(Executor):
    """Keeps work until the test runs it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], Any]] = []

    def submit(self, work: Callable[..., Any], /, *_args: Any, **_kwargs: Any) -> Future[Any]:
        self.waiting.append(work)
        return Future()

    def run(self, number: int) -> None:
        self.waiting[number]()


class Told:
    def __init__(self) -> None:
        self.executor = LaterExecutor()
        self.progress: list[tuple[str, int, int, str]] = []
        self.idle: list[str] = []
        self.results: list[Any] = []
        self.errors: list[MedViewerError] = []
        self.jobs = Jobs(
            self.executor,
            lambda call: call(),
            on_progress=lambda *args: self.progress.append(args),
            on_idle=self.idle.append,
        )

    def start(self, slot: str, work: Callable[[StopToken, Progress], Any]) -> StopToken:
        return self.jobs.start(slot, work, self.results.append, self.errors.append)


def test_a_result_arrives_once_and_the_slot_is_free() -> None:
    told = Told()
    told.start("a", lambda _stop, _progress: 7)
    assert told.jobs.running == ("a",)
    told.executor.run(0)
    assert (told.results, told.idle, told.jobs.running) == ([7], ["a"], ())


def test_a_superseded_job_is_stopped_and_its_late_answer_dropped() -> None:
    told = Told()
    first = told.start("a", lambda _stop, _progress: "old")
    told.start("a", lambda _stop, _progress: "new")
    assert first.is_stopped
    told.executor.run(1)
    told.executor.run(0)
    assert told.results == ["new"]


def test_slots_do_not_disturb_each_other() -> None:
    told = Told()
    first = told.start("a", lambda _stop, _progress: 1)
    told.start("b", lambda _stop, _progress: 2)
    told.executor.run(1)
    told.executor.run(0)
    assert told.results == [2, 1]
    assert not first.is_stopped


def test_a_stopped_job_tells_nobody_but_that_it_is_idle() -> None:
    told = Told()

    def work(stop: StopToken, _progress: Progress) -> None:
        stop.raise_if_stopped()

    told.start("a", work)
    told.jobs.stop_all()
    told.executor.run(0)
    assert (told.results, told.errors, told.idle) == ([], [], ["a"])


def test_work_that_stops_by_itself_frees_the_slot() -> None:
    told = Told()

    def work(_stop: StopToken, _progress: Progress) -> None:
        raise Stopped

    told.start("a", work)
    told.executor.run(0)
    assert (told.errors, told.jobs.running) == ([], ())


def test_progress_comes_from_the_live_job_only_and_is_paced() -> None:
    told = Told()

    def work(_stop: StopToken, progress: Progress) -> None:
        for n in range(1, 1001):
            progress(n, 1000, "reading")

    told.start("a", work)
    told.executor.run(0)
    assert told.progress[0] == ("a", 0, 0, "")
    assert told.progress[-1] == ("a", 1000, 1000, "reading")
    assert len(told.progress) < 500
    told.start("a", work)
    told.jobs.stop("a")
    count = len(told.progress)
    told.executor.run(1)
    assert len(told.progress) == count


def test_what_we_meant_arrives_as_it_is() -> None:
    told = Told()
    error = InputError("The file is empty; choose another.")

    def work(_stop: StopToken, _progress: Progress) -> None:
        raise error

    told.start("a", work)
    told.executor.run(0)
    assert told.errors == [error]


@pytest.mark.parametrize("kind", [ValueError, KeyError, MemoryError, KeyboardInterrupt, UnicodeDecodeError])
def test_a_bug_is_unexpected_and_logged_without_its_message(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    name = "^".join(["DOE", "JANE"])  # in pieces: a traceback quotes source lines

    def work(_stop: StopToken, _progress: Progress) -> None:
        if kind is UnicodeDecodeError:
            raise UnicodeDecodeError("ascii", name.encode("utf-16"), 0, 1, name)
        raise kind(name)

    told.start("a", work)
    with caplog.at_level(logging.ERROR):
        told.executor.run(0)
    assert told.errors == [UNEXPECTED]
    assert "in work" in caplog.text
    assert name not in caplog.text

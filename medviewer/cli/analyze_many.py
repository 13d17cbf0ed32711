"""``analyze`` on folders, several paths or several models: every study, one folder of results each."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medviewer.app.answering import Asking
from medviewer.app.batch import Done, Pace, clear_refused, earlier_outcome, run_batch
from medviewer.app.batch_journal import Journal
from medviewer.app.batch_plan import BatchPlan, NotAsked, plan_batch
from medviewer.app.batch_tables import SUMMARY_CSV, result_row, write_study, write_summary
from medviewer.app.patient import RecordRoom
from medviewer.app.results import NOTICE, Result
from medviewer.app.settings import home
from medviewer.app.stack_outlines import StackOutlines
from medviewer.cli.analyze_data import UNVERIFIED, finding_words
from medviewer.cli.terminal import clear_progress, print_json, progress, say, tell
from medviewer.domain.digits import area_number
from medviewer.domain.errors import InputError, StorageError
from medviewer.domain.study import Collection
from medviewer.imaging.decode import shutdown
from medviewer.imaging.scan import scan
from medviewer.inference.card import Card
from medviewer.inference.engine import Engine

Keep = Callable[[RecordRoom, str, Result], bool]


def analyze_many(
    arguments: argparse.Namespace, cards: list[Card], asking: Asking, make_engine: Callable[[], Engine], keep: Keep
) -> int:
    """Ask each model about each study's images; 1 or 3 if a question failed or a file was refused, 4 if one abstained.

    Args:
        arguments: of the command line.
        cards: the models'.
        asking: with which heat maps, in which language, saved as what.
        make_engine: starts what runs them.
        keep: puts an event into the audit trail, and says whether it is there.
    """
    collection = scan(arguments.paths, progress=progress)
    clear_progress()
    try:
        for problem in collection.problems:
            tell(f"{problem.path}: {problem.reason}")
        plan = plan_batch(collection, cards, asking.words, arguments.out)
        if not plan.questions and any((arguments.out / name).is_dir() for name in plan.refused):
            with Journal(arguments.out):
                _take_away_refused(arguments.out, plan)
                write_summary(arguments.out, plan, {})
        _check_there_is_work(plan, collection)
        with contextlib.closing(RecordRoom(home())) as room, Journal(arguments.out) as journal:
            run = _Run(arguments, plan, asking, room, keep)
            run.go(make_engine, journal)
    finally:
        shutdown()
        collection.release()
    has_refused = any(problem.status == "refused" for problem in collection.problems)
    return run.exit_code(has_refused=has_refused)


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _take_away_refused(out: Path, plan: BatchPlan) -> None:
    """Take earlier results away of what is not asked any more; a study of which nothing is asked says so."""
    clear_refused(out, plan.refused)
    asked = {question.study for question in plan.questions}
    for study in plan.studies:
        if study not in asked:
            write_study(out, study, [], plan.not_asked)


def _check_there_is_work(plan: BatchPlan, collection: Collection) -> None:
    if plan.questions:
        return
    if plan.not_asked:
        reasons = Counter({one.reason: 0 for one in plan.not_asked})
        for one in plan.not_asked:
            reasons[one.reason] += one.count
        told = "; ".join(f"{_count(count, 'image')}: {reason}" for reason, count in reasons.most_common(3))
        raise InputError(f"No image suits the model. {told}")
    reasons_of_files = [problem.reason for problem in collection.problems]
    if len(reasons_of_files) == 1:
        raise InputError(reasons_of_files[0])
    raise InputError("There is no image in what was named; `medviewer inspect` says why for each file.")


class _Run:
    """One call: what is told, what is written when, and how it ended."""

    def __init__(
        self, arguments: argparse.Namespace, plan: BatchPlan, asking: Asking, room: RecordRoom, keep: Keep
    ) -> None:
        self._arguments, self._plan, self._asking = arguments, plan, asking
        self._room, self._keep = room, keep
        self._out, self._pace = arguments.out, Pace()
        self._rows: dict[str, dict[str, Any]] = {q.name: result_row(self._out, q, None) for q in plan.questions}
        self._done: list[Done] = []
        self._stacks = StackOutlines(self._out, plan.questions)

    def go(self, make_engine: Callable[[], Engine], journal: Journal) -> None:
        """Ask all questions; however it ends, the tables say how far it came."""
        document: dict[str, Any] = {}
        try:
            with make_engine() as engine:
                self._ask_all(engine, journal)
        except StorageError:
            raise  # the tables could not be written either
        except BaseException:
            clear_progress()
            self._take_in_what_was_saved(journal)
            with contextlib.suppress(StorageError):
                write_summary(self._out, self._plan, self._rows)
            left = len(self._plan.questions) - len(self._done)
            tell(f"{len(self._done)} questions are answered, {left} are left; the same command goes on with them.")
            raise
        clear_progress()
        document = write_summary(self._out, self._plan, self._rows)
        if self._arguments.json:
            print_json(document)
            return
        self._say_sums(document)

    def _take_in_what_was_saved(self, journal: Journal) -> None:
        """Count the result that was on its way to the disk when the rest was stopped."""
        told = {done.question.name for done in self._done}
        for question in self._plan.questions:
            known = earlier_outcome(self._out, question, journal) if question.name not in told else None
            if known is not None:
                self._done.append(Done(question, known))
                self._rows[question.name] = result_row(self._out, question, self._done[-1])

    def _ask_all(self, engine: Engine, journal: Journal) -> None:
        questions = self._plan.questions
        _take_away_refused(self._out, self._plan)
        left = Counter(question.study for question in questions)
        asked = run_batch(
            engine, questions, self._out, asking=self._asking, journal=journal, before_saving=self._keep_run
        )
        self._tell_progress()
        self._pace.start()
        for done in asked:
            if done.is_new:
                self._pace.stop()
            self._done.append(done)
            self._take(done)
            study = done.question.study
            left[study] -= 1
            if not left[study]:
                rows = [self._rows[question.name] for question in questions if question.study == study]
                write_study(self._out, study, rows, self._plan.not_asked, self._stacks.of_study(study))
            self._tell_progress()
            self._pace.start()

    def _keep_run(self, result: Result) -> Result:
        """Put the run into the audit trail, and say in the result whether it is there."""
        return replace(result, is_in_audit_trail=self._keep(self._room, "model.run", result))

    def _take(self, done: Done) -> None:
        if done.result is not None and done.result.is_in_audit_trail:
            self._keep(self._room, "results.saved", done.result)
        row = self._rows[done.question.name] = result_row(self._out, done.question, done)
        if self._arguments.json or not done.is_new:
            return
        clear_progress()
        answer = done.result.answer if done.result is not None else None
        told = [finding_words(finding, answer) for finding in answer.findings] if answer is not None else []
        told += [f"{region['label']} {_size_of(region)}" for region in row.get("regions", ())]
        said = "; ".join(told) or f"{row['status']}: {row['reason']}"
        marked = " (unverified)" if row["verified"] is False else ""
        say(f"{len(self._done)}/{len(self._plan.questions)} {done.question.name}{marked}: {said}")

    def _tell_progress(self) -> None:
        total, done = len(self._plan.questions), len(self._done)
        seconds = self._pace.left_s(total - done)
        left = f", {_words(seconds)} left" if seconds is not None else ""
        progress(done, total, f" {done} of {total} questions{left}")

    def _say_sums(self, document: dict[str, Any]) -> None:
        counts = document["counts"]
        again = sum(not done.is_new for done in self._done)
        known = f" ({again} of them answered by an earlier call)" if again else ""
        say(
            f"{_count(counts['studies'], 'study', 'studies')}, {_count(counts['questions'], 'question')}{known}: "
            f"{_count(counts['answer'], 'answer')}, {_count(counts['abstained'], 'abstention')}, "
            f"{_count(counts['failed'], 'failure')}."
        )
        for (model_id, reason), studies in _by_reason(self._plan.not_asked).items():
            images = sum(one.count for one in studies)
            where = f"{_count(images, 'image')} of {_count(len(studies), 'study', 'studies')}"
            say(f"  {model_id} was not asked about {where}: {reason}")
        rows = (self._rows[question.name] for question in self._plan.questions)
        for model_id in dict.fromkeys(row["model"] for row in rows if row["verified"] is False):
            say(f"  {model_id}: {UNVERIFIED.strip()}")
        say(f"  saved: {self._out / SUMMARY_CSV}")
        say(NOTICE)

    def exit_code(self, *, has_refused: bool) -> int:
        """Say by a number what went wrong at all."""
        if any(done.is_engines_fault for done in self._done):
            return 1
        if has_refused or any(done.outcome == "failed" for done in self._done):
            return 3
        return 4 if any(done.outcome == "abstained" for done in self._done) else 0


def _by_reason(not_asked: Sequence[NotAsked]) -> dict[tuple[str, str], list[NotAsked]]:
    """Together what has one reason: a folder of a thousand CTs must not hide the answers."""
    found: dict[tuple[str, str], list[NotAsked]] = {}
    for one in not_asked:
        found.setdefault((one.model_id, one.reason), []).append(one)
    return found


def _size_of(region: Mapping[str, Any]) -> str:
    """How large an outline is, of a row of the summary."""
    return f"{region['pixels']} pixels" if region["area_mm2"] is None else f"{area_number(region['area_mm2'])} mm2"


def _words(seconds: float) -> str:
    """A time to wait, as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""A decision stands on the very answer that the reader saw, and reads as kept only if it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app.application import NoFront
from medviewer.app.decisions import NO_REASON, NO_VALUE, RESULT_CHANGED, TAKEN_BACK, Judged
from medviewer.app.on_screen import current_answer
from medviewer.app.start import running_application
from medviewer.domain.answer import Answer, Decision, Subject
from medviewer.domain.errors import StorageError
from medviewer.records.audit import AuditTrail
from medviewer.records.store import RecordStore
from tests.conftest import InlineExecutor
from tests.fakes import MODEL_ID
from tests.radiographs import write_radiograph
from tests.unit.app.conftest import OTHER_ID

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine


class Distracted(NoFront):
    """A reader who answers a question after something else has happened."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self.happens = happens

    def ask_text(self, title: str, question: str) -> str | None:  # noqa: ARG002 - what a window is asked
        self.happens()
        return "motion blur"


def shown(app: Application) -> tuple[Subject, Answer]:
    found = current_answer(app.state)
    assert found is not None
    return found


def kinds(app: Application, subject: Subject) -> list[str]:
    """What the store holds, oldest first."""
    return [kept.decision.kind for kept in reversed(app.records.store().decisions_for(subject.image_key))]


def decided(app: Application) -> str:
    decision = app.state.decisions.get(shown(app)[0])
    return decision.kind if decision else ""


def assert_refused(app: Application, subject: Subject) -> None:
    assert not app.state.decisions
    assert kinds(app, subject) == []
    assert app.state.notice is not None
    assert app.state.notice.text == RESULT_CHANGED


@pytest.mark.parametrize("happens", ["a new run", "another image", "another model", "a mismatch"])
def test_a_decision_is_never_put_on_an_answer_that_came_while_the_reader_was_asked(
    two_models: Application, tmp_path: Path, happens: str
) -> None:
    app = two_models
    other = write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")
    app.run_command("model.select", OTHER_ID)
    app.run_command("model.run")
    app.run_command("model.select", MODEL_ID)
    app.run_command("model.run")
    subject, _ = shown(app)
    acts: dict[str, Callable[[], None]] = {
        "a new run": lambda: app.run_command("model.run"),
        "another image": lambda: app.run_command("file.open_files", [other]),
        "another model": lambda: app.run_command("model.select", OTHER_ID),
        "a mismatch": lambda: app.session.update(record_mismatch="They contradict each other."),
    }
    app.front = Distracted(acts[happens])
    app.run_command("finding.reject")
    assert_refused(app, subject)


def test_a_reason_typed_for_one_answer_is_not_put_on_the_next(opened: Application) -> None:
    opened.run_command("model.run")
    subject, judged = shown(opened)
    opened.run_command("model.run")
    opened.run_command("finding.change", Judged(judged, "no shadow", "effusion"))
    assert_refused(opened, subject)
    opened.run_command("finding.change", Judged(shown(opened)[1], "no shadow", "effusion"))
    assert kinds(opened, subject) == ["changed"]


def test_an_abstention_cannot_be_accepted(application: Application, tmp_path: Path) -> None:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "l.dcm", ViewPosition="LL")])
    application.run_command("model.run")
    subject, answer = shown(application)
    assert answer.status == "abstained"
    application.run_command("finding.accept")
    assert not application.state.decisions
    assert kinds(application, subject) == []


def test_what_a_mismatch_hides_is_neither_decided_nor_undone(opened: Application) -> None:
    opened.run_command("model.run")
    subject, _ = shown(opened)
    opened.run_command("finding.accept")
    opened.session.update(record_mismatch="They contradict each other.")
    opened.run_command("finding.reject", "no")
    opened.run_command("edit.undo")
    assert kinds(opened, subject) == ["accepted"]
    opened.session.update(record_mismatch="")
    opened.run_command("edit.undo")
    assert kinds(opened, subject) == ["accepted", "withdrawn"]


def test_a_decision_on_another_models_answer_is_not_undone(two_models: Application) -> None:
    two_models.run_command("model.run")
    two_models.run_command("finding.accept")
    subject, _ = shown(two_models)
    two_models.run_command("model.select", OTHER_ID)
    two_models.run_command("model.run")
    two_models.run_command("edit.undo")
    assert two_models.state.decisions[subject].kind == "accepted"
    two_models.run_command("model.select", MODEL_ID)
    two_models.run_command("edit.undo")
    assert not two_models.state.decisions


class FullDisk:
    """Decisions cannot be written while ``is_full``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = True
        real = RecordStore.save_decision

        def save(store: RecordStore, subject: Subject, decision: Decision) -> Any:
            if self.is_full:
                raise StorageError("The disk is full.")
            return real(store, subject, decision)

        monkeypatch.setattr(RecordStore, "save_decision", save)


def test_a_decision_that_cannot_be_written_is_taken_back_and_said(
    opened: Application, medviewer_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.run_command("model.run")
    subject, _ = shown(opened)
    disk = FullDisk(monkeypatch)
    opened.run_command("finding.accept")
    assert decided(opened) == ""
    assert opened.state.notice is not None
    assert (opened.state.notice.level, opened.state.notice.text) == ("alarm", f"{TAKEN_BACK} The disk is full.")
    assert [str(error) for error in opened.lost] == [f"{TAKEN_BACK} The disk is full."]
    trail = AuditTrail(opened.records.store().database, medviewer_home / "audit")
    assert not [entry for entry in trail.entries() if entry.event.what.startswith("finding.")]
    disk.is_full = False
    opened.run_command("finding.accept")
    assert decided(opened) == "accepted"
    disk.is_full = True
    opened.run_command("finding.reject", "no")  # the one that is kept comes back
    assert decided(opened) == "accepted"
    opened.run_command("edit.undo")  # of the rejection, of which nothing is left
    opened.run_command("edit.undo")  # a withdrawal that cannot be written is none
    assert decided(opened) == "accepted"
    assert kinds(opened, subject) == ["accepted"]


class Waiting(Executor):
    """Keeps what is to be written until the test lets it be."""

    def __init__(self) -> None:
        self.held: list[Callable[[], Any]] = []

    def submit(self, work: Callable[..., Any], /, *_args: Any, **_kwargs: Any) -> Future[Any]:
        self.held.append(work)
        return Future()

    def write(self, count: int = -1) -> None:
        """Let the next ``count`` be written, or all."""
        while self.held and count:
            self.held.pop(0)()
            count -= 1


@pytest.fixture
def slow(fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path) -> Iterator[tuple[Application, Waiting]]:
    """The model has answered; what is written from now on waits."""
    waiting = Waiting()

    def make(_threads: int, name: str) -> Executor:
        return waiting if name == "medviewer-write" else InlineExecutor()

    with running_application(medviewer_home, lambda call: call(), fake_engine, make) as app:
        app.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
        waiting.write()
        app.run_command("model.run")
        waiting.write()
        yield app, waiting


def test_no_undo_brings_back_what_was_taken_back(
    slow: tuple[Application, Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, waiting = slow
    disk = FullDisk(monkeypatch)
    app.run_command("finding.accept")
    app.run_command("view.invert")
    assert decided(app) == "accepted"  # until it is known that it cannot be kept
    waiting.write()
    assert decided(app) == ""
    disk.is_full = False
    app.run_command("edit.undo")  # of the inversion
    waiting.write()
    assert (app.state.view.inverted, decided(app)) == (False, "")
    assert kinds(app, shown(app)[0]) == []


def test_a_late_failure_takes_no_later_decision_away(
    slow: tuple[Application, Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, waiting = slow
    disk = FullDisk(monkeypatch)
    app.run_command("finding.accept")
    app.run_command("finding.reject", "no")
    waiting.write(1)
    assert decided(app) == "rejected"
    assert [str(error) for error in app.lost] == ["The disk is full."]  # it was not taken back, but replaced
    disk.is_full = False
    waiting.write()
    assert kinds(app, shown(app)[0]) == ["rejected"]
    disk.is_full = True
    app.run_command("finding.accept")
    app.run_command("model.run")
    app.run_command("finding.change", Judged(shown(app)[1], "no shadow", "effusion"))  # on the new answer
    waiting.write(1)
    assert decided(app) == "changed"
    disk.is_full = False
    waiting.write()
    assert kinds(app, shown(app)[0]) == ["rejected", "changed"]


def test_a_failure_never_brings_the_decision_on_an_earlier_answer_back(
    opened: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.run_command("model.run")
    opened.run_command("finding.accept")
    opened.run_command("model.run")
    FullDisk(monkeypatch)
    opened.run_command("finding.reject", "no")
    assert decided(opened) == ""


class Answers(NoFront):
    """A reader who answers each question in turn; None cancels."""

    def __init__(self, *said: str | None) -> None:
        self.said = list(said)
        self.asked: list[str] = []

    def ask_text(self, title: str, question: str) -> str | None:  # noqa: ARG002 - what a window is asked
        self.asked.append(question)
        return self.said.pop(0)


def test_a_change_says_what_is_reported_instead_and_why(opened: Application) -> None:
    opened.run_command("model.run")
    opened.front = front = Answers(" Lobar collapse ", "Seen on the lateral view")
    opened.run_command("finding.change")
    assert front.asked == ["What would you report instead?", "Why? The reason is kept beside the result."]
    subject, _ = shown(opened)
    kept = opened.records.store().decisions_for(subject.image_key)[0].decision
    assert (kept.kind, kept.value, kept.reason) == ("changed", "Lobar collapse", "Seen on the lateral view")
    assert kept.assessment == "modify"
    assert opened.state.decisions[subject] == kept
    opened.run_command("edit.undo")
    assert kinds(opened, subject) == ["changed", "withdrawn"]
    assert not opened.state.decisions


@pytest.mark.parametrize("said", [(None,), ("Lobar collapse", None)])
def test_a_change_can_be_cancelled_at_either_question(opened: Application, said: tuple[str | None, ...]) -> None:
    opened.run_command("model.run")
    opened.front = Answers(*said)
    opened.run_command("finding.change")
    assert not opened.state.decisions


@pytest.mark.parametrize(
    ("command_id", "said", "told"),
    [
        ("finding.reject", [" "], NO_REASON),
        ("finding.change", ["Lobar collapse", ""], NO_REASON),
        ("finding.change", ["", "Seen on the lateral view"], NO_VALUE),
    ],
)
def test_nothing_is_decided_without_a_reason_or_without_saying_what_instead(
    opened: Application, command_id: str, said: list[str], told: str
) -> None:
    opened.run_command("model.run")
    opened.front = Answers(*said)
    opened.run_command(command_id)
    assert not opened.state.decisions
    assert opened.state.notice is not None
    assert opened.state.notice.text == told
    opened.run_command(command_id, Judged(shown(opened)[1], "", ""))
    assert not opened.state.decisions

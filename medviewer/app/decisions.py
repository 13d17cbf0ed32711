"""What the reader decides of an answer: only of the very one they saw, and shown only as long as it can be kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from medviewer.app.on_screen import decidable_answer
from medviewer.app.patient import keep_decision
from medviewer.app.state import State
from medviewer.domain.answer import Answer, Decision, DecisionKind, Subject
from medviewer.domain.errors import MedViewerError, UsageError
from medviewer.domain.frozen import dataclass

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

RESULT_CHANGED = "The result changed while you decided, so nothing was kept: look at it and decide again."
NO_VALUE = "Nothing was kept: say what you would report instead."
NO_REASON = "Nothing was kept: a reason is needed."
TAKEN_BACK = "Your decision was not saved and was taken back."


class Judged(NamedTuple):
    """What the reader says of the answer that was on screen when they were asked."""

    answer: Answer | None
    reason: str = ""
    value: str = ""  # what they report instead


def decide(kind: DecisionKind) -> Callable[[Application, Any], None]:
    """A command with which the reader accepts, rejects or changes a result, with the reason.

    It takes what was :class:`Judged`; from a menu or a key the answer on screen is meant, and a
    reason is asked for. Meanwhile the model may run again, or another image may be opened.
    """

    def run(app: Application, argument: Judged | str | None) -> None:
        shown = decidable_answer(app.state)
        if shown is None:
            return
        judged = argument if isinstance(argument, Judged) else _asked(app, kind, shown[1], argument)
        if judged is None:
            return
        now = decidable_answer(app.state)
        if now is None or now[1] is not judged.answer:
            app.notify("caution", RESULT_CHANGED)
            return
        decision = Decision(kind, judged.reason.strip(), _now(), judged.value.strip())
        if kind == "changed" and not decision.value:
            raise UsageError(NO_VALUE)
        if kind != "accepted" and not decision.reason:
            raise UsageError(NO_REASON)
        app.session.change(decisions=MappingProxyType(dict(app.state.decisions) | {now[0]: decision}))

    return run


def _asked(app: Application, kind: DecisionKind, answer: Answer, reason: str | None) -> Judged | None:
    """What the reader says of the answer on screen when only the kind is known; None if they say nothing."""
    value: str | None = ""
    if reason is None and kind == "changed":
        value = app.front.ask_text("Your decision", "What would you report instead?")
    if reason is None and kind != "accepted" and value is not None:
        reason = app.front.ask_text("Your decision", "Why? The reason is kept beside the result.")
    is_cancelled = value is None or (reason is None and kind != "accepted")
    return None if is_cancelled else Judged(answer, reason or "", value or "")


@dataclass(slots=True, eq=False)
class _Kept:
    """What the store holds of the decisions on one answer, and how many were handed to it."""

    answer: Answer
    stored: Decision | None = None
    handed: int = 0


class DecisionKeeper:
    """Has every decision written; one that cannot be is taken back, so that none reads as kept that is not."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._kept: dict[Subject, _Kept] = {}
        self._is_taking_back = False
        self._taken_back: Mapping[Subject, Decision] | None = None  # the last ones that are already as stored

    def watch(self, old: State, new: State) -> None:
        """Save each decision that was made, changed, or taken back by undo."""
        if self._is_taking_back or new.decisions is self._taken_back:
            return  # the second: told only after the one who wrote had heard of the failure
        if old.decisions is new.decisions or not new.answers:
            return
        for subject in old.decisions.keys() | new.decisions.keys():
            before, after = old.decisions.get(subject), new.decisions.get(subject)
            if before != after and subject in new.answers:
                self._write(subject, new.answers[subject], after)

    def _write(self, subject: Subject, answer: Answer, decision: Decision | None) -> None:
        kept = self._kept.get(subject)
        if kept is None or kept.answer is not answer:
            kept = self._kept[subject] = _Kept(answer)
        kept.handed += 1
        number = kept.handed

        def done() -> None:
            kept.stored = decision

        def failed(error: MedViewerError) -> None:
            if number == kept.handed:  # else a later one is on its way and says what holds
                self._take_back(subject, kept)
                error = MedViewerError(f"{TAKEN_BACK} {error}")
            self._app.lose(error)

        keep_decision(self._app, subject, decision or Decision("withdrawn", "", _now()), done, failed)

    def _take_back(self, subject: Subject, kept: _Kept) -> None:
        if self._app.state.answers.get(subject) is not kept.answer:
            return
        self._is_taking_back = True
        try:
            self._app.session.take_back(subject, kept.stored)
            self._taken_back = self._app.state.decisions
        finally:
            self._is_taking_back = False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Read first, AI after: what the reader sees by themselves is written down before a model's result is shown.

A result that is seen first is hard to unsee (automation bias). So the impression comes first, goes into the audit
trail, and only what is there lets the result appear. It is never changed: another one may follow, and says whether
the result had been seen by then. Undo does not reach it.

Source: Dratsch et al., "Automation bias in mammography: the impact of artificial intelligence BI-RADS suggestions
on reader performance", Radiology 2023.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from medviewer.app.on_screen import asked_key, asks_of_stack, current_answer, pane_state
from medviewer.app.preferences import prefer
from medviewer.app.state import State
from medviewer.domain.answer import Impression
from medviewer.domain.errors import MedViewerError, UsageError

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

EVENT = "impression.written"
LONGEST = 2000  # characters
_SHOW = ("answers", "selection", "cut", "parked", "impressions", "read_first", "model_id", "record_mismatch")
NOT_KEPT = "Your impression was not saved, so the result stays withheld."


def write(app: Application, text: str | None) -> None:
    """Write down what the reader sees on what is on screen, an image or a stack; from a menu or a key it is asked for.

    Raises:
        UsageError: there are no words, or too many.
    """
    key = asked_key(app.state)
    if not can_write(app.state) or key is None:
        return
    _, uid, frame = key
    if text is None:
        text = app.front.ask_text("Your impression", "What do you see? It is kept with the time, before the result.")
        if text is None:
            return
    words = text.strip()
    if not words:
        raise UsageError("Write what you see before it is kept.")
    if len(words) > LONGEST:
        raise UsageError("The impression is too long: shorten it to 2000 characters.")
    impression = Impression(words, _now(), key in app.state.seen_answers)
    detail = json.dumps(
        {"text": impression.text, "time": impression.time, "after_ai": impression.after_ai, "frame": frame},
        ensure_ascii=False,
    )

    def done(_none: object) -> None:
        kept = (*app.state.impressions.get(key, ()), impression)
        app.session.update(impressions=MappingProxyType({**app.state.impressions, key: kept}))

    def failed(error: MedViewerError) -> None:
        app.lose(MedViewerError(f"{NOT_KEPT} {error}"))

    # The trail has it before the result is shown, or it is not shown.
    app.write(lambda: app.records.note(EVENT, uid, detail), done, failed)


def can_write(state: State) -> bool:
    """Whether there is a stored image on screen, or a stack that is asked about, of which something can be written."""
    return state.selection is not None and (state.cut is None or asks_of_stack(state))


def toggle(app: Application, _argument: object) -> None:
    """Withhold results until the reader has written an impression, or do not."""
    prefer(app, ("read_first", not app.state.read_first))
    words = "What models say is shown at once."
    if app.state.read_first:
        words = "What models say is shown after you have written your impression."
    app.notify("info", words)


class AnswerWatcher:
    """Remembers of which images a result has been on screen: an impression written then is no first one."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def watch(self, old: State, new: State) -> None:
        """Note the images whose results are shown now, in any viewport."""
        if not new.answers or all(getattr(old, name) is getattr(new, name) for name in _SHOW):
            return
        panes = (pane_state(new, index) for index in {new.active, *new.parked})
        shown = {
            key
            for pane in panes
            if (key := asked_key(pane)) is not None and current_answer(pane) is not None and not pane.record_mismatch
        }
        if not shown <= new.seen_answers:
            self._app.session.update(seen_answers=self._app.state.seen_answers | shown)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

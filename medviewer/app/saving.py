"""Saving the answer on screen: what of it, where to, and whether with the patient's identity."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from medviewer.app.asking import ask_of_screen, shown
from medviewer.app.on_screen import appearance_of, asks_of_stack, current_answer, finding_shown, impressions_of
from medviewer.app.result import USUAL, Output, Result
from medviewer.app.save_jobs import Noted
from medviewer.app.state import State
from medviewer.domain.answer import Answer, Attribution, Subject
from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken
from medviewer.explain.stack_map import on_image

if TYPE_CHECKING:  # commands act on the application, which holds their table; writing DICOM takes a while to load
    from medviewer.app.application import Application, Level


@dataclass(frozen=True, slots=True)
class SaveWish:
    """What is saved of a result beside its JSON and pictures, and where.

    Without identity no DICOM object can be: each says whose image it is about.
    """

    folder: Path
    outputs: frozenset[Output] = USUAL
    with_pdf: bool = False
    with_identity: bool = True


@dataclass(frozen=True, slots=True)
class Saved:
    """What lies in the folder now: names, ``result.json`` first; and (name, reason) of what could not be made."""

    folder: Path
    names: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]


class Document(Protocol):
    """A page that a window has drawn."""

    def pdf(self) -> bytes:
        """As a PDF document; may be called from any thread."""


def save(app: Application, wish: SaveWish | str | Path | None) -> None:
    """Save the answer on screen with its heat maps, asking how if nothing is given; of a folder alone, the usual.

    Raises:
        UsageError: there is no answer, image and record contradict each other, or identity is hidden and wanted.
    """
    _, asked_of = _answer_to_save(app.state)
    is_asked = wish is None
    wish = ask_of_screen(app, app.front.ask_save, partial(_concerned, asked_of)) if wish is None else wish
    if wish is None:
        return
    if not isinstance(wish, SaveWish):
        wish = SaveWish(Path(wish))
    elif wish.with_identity and app.state.identity_hidden:
        raise UsageError("Identity is hidden: show it first, or save without it.")
    subject, answer = _answer_to_save(app.state)
    result = result_on_screen(app.state, subject, answer)
    sheet = app.front.draw_result(result, with_identity=wish.with_identity) if wish.with_pdf else None
    outputs = wish.outputs if wish.with_identity else frozenset()
    out, state = wish.folder, app.state

    def work(_stop: StopToken, _progress: Progress) -> Saved:
        from medviewer.app.results import save_results  # noqa: PLC0415 - see the top

        pdf = sheet.pdf() if sheet is not None else None
        paths = save_results(out, result, outputs=outputs, pdf=pdf)
        refused = json.loads(paths[0].read_bytes())["not_written"]
        return Saved(out, tuple(path.name for path in paths), tuple((one["file"], one["reason"]) for one in refused))

    def saved(done: Saved) -> None:
        is_hidden = state.identity_hidden or app.state.identity_hidden
        app.notify(*_said(len(done.names), carries_hidden=is_hidden and wish.with_identity))
        if is_asked and not app.saves.is_closing:  # else its window is gone
            app.front.show_saved(done)

    what = "results.saved" if wish.with_identity else "results.saved-without-identity"
    app.saves.start("save", work, Noted(what, subject.image_key[1]), saved)


def result_on_screen(state: State, subject: Subject, answer: Answer) -> Result:
    """The answer on screen as it is saved: with its maps, the decision, and the image as it is shown."""
    if state.selection is None or state.frame is None:
        raise UsageError("There is no result to save: run a model first.")
    if state.cut is not None:
        raise UsageError("Show an image of the series instead of a plane that was cut, then save the result.")
    now = state.selection
    span = now.stack.volume_span(now.index) if asks_of_stack(state) else range(0)
    return Result(
        image=now.image,
        frame=state.frame,
        answer=answer,
        attributions=tuple(on_image(one, now.image.description) for one in _attributions(state, subject, answer)),
        slices=now.stack.images[span.start : span.stop],
        decision=state.decisions.get(subject),
        window=state.view.window,
        inverted=state.view.inverted,
        color_map=state.overlay.color_map,
        opacity=state.overlay.opacity,
        threshold=state.overlay.threshold,
        impressions=impressions_of(state),
        appearance=appearance_of(state),
        is_covered=state.shutters_shown,
    )


def _concerned(asked_of: Answer, state: State) -> object:
    """What is on screen, and whether that answer stands beside it: another run may have given another one."""
    found = current_answer(state)
    return shown(state), found is not None and found[1] is asked_of


def _answer_to_save(state: State) -> tuple[Subject, Answer]:
    found = current_answer(state)
    if found is None or state.frame is None:
        raise UsageError("There is no result to save: run a model first.")
    if state.record_mismatch:
        raise UsageError(state.record_mismatch)
    return found


def _said(n: int, *, carries_hidden: bool) -> tuple[Level, str]:
    """What is said afterwards; no folder's name, which is often the patient's."""
    if not carries_hidden:
        return "info", "1 file was saved." if n == 1 else f"{n} files were saved."
    one = "1 file was saved. It carries the patient's name and number; hiding affects the screen only."
    several = f"{n} files were saved. They carry the patient's name and number; hiding affects the screen only."
    return "caution", one if n == 1 else several


def _attributions(state: State, subject: Subject, answer: Answer) -> tuple[Attribution, ...]:
    """The heat maps of one answer, of the finding that is looked at; that of the chosen method first."""
    finding = finding_shown(state, subject, answer)
    own = [
        (s.method != state.overlay.method, s.method, a)
        for s, a in state.attributions.items()
        if (s.image_key, s.model_id, s.model_sha256) == (subject.image_key, subject.model_id, subject.model_sha256)
        and (s.finding == finding or not finding)
    ]
    return tuple(a for _, _, a in sorted(own, key=lambda row: row[:2]))

"""Undo takes back what the reader did to the image on screen, and nothing else."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from medviewer.app.on_screen import current_answer, current_attribution
from medviewer.app.session import Session
from medviewer.app.state import Selection, State, View
from medviewer.domain.answer import Answer, Attribution, Decision, Provenance, Subject
from medviewer.domain.frame import Frame
from medviewer.domain.measurement import new_measurement
from medviewer.domain.study import Image, Patient, PixelDescription, Series, Stack, Study

DESCRIPTION = PixelDescription(modality="CR", rows=4, columns=4)
PROVENANCE = Provenance("m", "1", "sha", "onnx", "cpu", "", "", "", 0.0)


def selection(name: str = "a", count: int = 2, index: int = 0) -> Selection:
    images = tuple(Image(Path(f"{name}{n}"), 0, f"{name}.{n}", DESCRIPTION) for n in range(count))
    stack = Stack(images)
    series = Series("1", "CR", stacks=(stack,))
    study = Study("1", series=(series,))
    return Selection(Patient(name, studies=(study,)), study, series, stack, index)


def attribution(method: str = "grad-cam") -> Attribution:
    empty = np.zeros((4, 4), np.float32)
    return Attribution(method, method, "f", empty, np.eye(3), empty, None, "", None, 0.0, PROVENANCE)


def test_watchers_get_old_and_new_until_they_stop() -> None:
    session, seen = Session(), []
    stop = session.watch(lambda old, new: seen.append((old.language, new.language)))
    session.update(language="zh")
    stop()
    session.update(language="en")
    assert seen == [("en", "zh")]


def test_undo_and_redo_go_back_and_forth() -> None:
    session = Session(State(selection=selection()))
    session.change(view=View(zoom=2.0))
    session.change(view=View(zoom=3.0))
    session.undo()
    assert session.state.view.zoom == 2.0
    session.undo()
    assert session.state.view.zoom is None
    assert not session.can_undo
    session.redo()
    session.redo()
    assert session.state.view.zoom == 3.0
    assert not session.can_redo


def test_the_steps_of_a_drag_are_undone_together() -> None:
    session = Session(State(selection=selection()))
    session.change(view=View(inverted=True))
    for zoom in (1.0, 2.0, 3.0):
        session.change(gesture="place", view=View(inverted=True, zoom=zoom))
    session.settle()
    session.change(gesture="place", view=View(inverted=True, zoom=4.0))
    session.undo()
    assert session.state.view.zoom == 3.0
    session.undo()
    assert session.state.view == View(inverted=True)


def test_a_new_change_forgets_what_could_be_redone() -> None:
    session = Session(State(selection=selection()))
    session.change(view=View(zoom=2.0))
    session.undo()
    session.change(view=View(zoom=5.0))
    assert not session.can_redo


def test_how_a_stack_looks_can_be_undone_from_its_next_image_but_not_from_another_stack() -> None:
    session = Session(State(selection=selection("a")))
    session.change(view=View(zoom=2.0))
    session.update(selection=selection("b"))
    assert not session.can_undo
    session.update(selection=selection("a", index=1))
    assert session.can_undo


def test_a_decision_is_not_undone_behind_the_readers_back() -> None:
    subject = Subject(("a0", "a.0", 0), "m", "sha")
    answers = MappingProxyType({subject: Answer("answer", "M", (), PROVENANCE)})
    session = Session(State(selection=selection("a"), answers=answers, model_id="m"))
    session.change(decisions=MappingProxyType({subject: Decision("accepted", "", "")}))
    session.update(selection=selection("a", index=1))
    session.undo()
    assert session.state.decisions
    session.update(selection=selection("a", index=0))
    for unseen in ({"model_id": "another"}, {"model_id": "m", "record_mismatch": "They contradict each other."}):
        session.update(**unseen)
        session.undo()
        assert session.state.decisions
    session.update(record_mismatch="")
    session.undo()
    assert not session.state.decisions
    session.update(model_id="another")
    session.redo()
    assert not session.state.decisions


def test_undo_keeps_what_arrived_from_workers_meanwhile() -> None:
    subject = Subject(("a0", "a.0", 0), "m", "sha")
    session = Session(State(selection=selection("a")))
    session.change(view=View(zoom=2.0))
    answer = Answer("answer", "M", (), PROVENANCE)
    session.update(answers=MappingProxyType({subject: answer}))
    session.undo()
    assert session.state.answers[subject] is answer


def test_undo_keeps_no_pixels_in_memory() -> None:
    pixels = np.zeros((4, 4), np.uint8)
    kept = weakref.ref(pixels)
    session = Session(State(selection=selection("a"), frame=Frame(pixels, DESCRIPTION)))
    session.change(view=View(zoom=2.0))
    session.undo()
    session.redo()
    session.update(frame=None)
    del pixels
    gc.collect()
    assert kept() is None
    assert session.can_undo


def test_an_answer_shows_only_beside_its_own_image_and_model() -> None:
    subject = Subject(("a0", "a.0", 0), "m", "sha")
    state = State(selection=selection("a"), model_id="m", answers={subject: Answer("answer", "M", (), PROVENANCE)})
    assert current_answer(state) is not None
    assert current_answer(replace(state, selection=selection("b"))) is None
    assert current_answer(replace(state, selection=selection("a", index=1))) is None
    assert current_answer(replace(state, model_id="other")) is None
    assert current_answer(replace(state, selection=None)) is None


def test_a_heat_map_shows_only_beside_its_own_answer_and_method() -> None:
    asked = Subject(("a0", "a.0", 0), "m", "sha")
    answers = {asked: Answer("answer", "M", (), PROVENANCE)}
    own = attribution()
    state = State(
        selection=selection("a"),
        model_id="m",
        answers=answers,
        attributions={replace(asked, method="grad-cam", finding="f"): own},
    )
    assert current_attribution(state) is own
    assert current_attribution(replace(state, overlay=replace(state.overlay, method="occlusion"))) is None
    assert current_attribution(replace(state, selection=selection("b"))) is None
    # The same model id with other weights: not the model that answered.
    other = {replace(asked, method="grad-cam", finding="f", model_sha256="new"): own}
    assert current_attribution(replace(state, attributions=other)) is None


def test_a_watcher_that_changes_the_state_is_told_in_order() -> None:
    """Or a viewport goes on showing the state before the last."""
    session = Session()
    seen: list[tuple[str, str]] = []

    def follow(old: State, new: State) -> None:
        if new.tool == "pan" and new.corner_text == "all":
            session.update(corner_text="none")

    session.watch(follow)
    session.watch(lambda _old, new: seen.append((new.tool, new.corner_text)))
    session.update(tool="pan")
    assert seen == [("pan", "all"), ("pan", "none")]
    assert (session.state.tool, session.state.corner_text) == seen[-1]


def test_a_watcher_that_fails_does_not_keep_later_changes_from_being_told() -> None:
    session = Session()
    seen: list[str] = []

    def fail(_old: State, new: State) -> None:
        if new.tool == "pan":
            raise ValueError("a bug")

    session.watch(fail)
    session.watch(lambda _old, new: seen.append(new.tool))
    with pytest.raises(ValueError, match="a bug"):
        session.update(tool="pan")
    session.update(tool="zoom")
    assert seen == ["zoom"]


def test_what_comes_from_elsewhere_is_not_known_of_an_image_that_was_not_read() -> None:
    """Else it would look as if that were all that was measured on it."""
    line = new_measurement("length", ((0.0, 0.0), (3.0, 4.0)), ("1.2.3", 0, None))
    session = Session()
    session.know_measurements([line])
    assert not session.state.measurements
    session.update(measurements=MappingProxyType({("1.2.3", 0, None): ()}))
    session.know_measurements([line])
    assert session.state.measurements == {("1.2.3", 0, None): (line,)}

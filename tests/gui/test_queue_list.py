"""The list of what models are asked in the background: what is seen of it, and that it can be stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from PySide6.QtWidgets import QAbstractButton, QWidget

from medviewer.app.on_screen import selections
from medviewer.app.state import QueueItem, State
from medviewer.domain.answer import Impression
from medviewer.gui.queue_list import MOST_ROWS, QueueList
from medviewer.gui.text import use_language
from medviewer.gui.window import MainWindow
from tests.fakes import FakeEngine
from tests.gui import panel_states as made
from tests.gui.reader import Reader
from tests.gui.seen import Asked, all_words, press, settle, show
from tests.radiographs import write_radiograph


@pytest.fixture
def panel(qtbot) -> Iterator[QueueList]:
    host = QWidget()
    qtbot.addWidget(host)
    panel = QueueList(made.MODELS, host)
    panel.resize(340, 300)
    yield panel
    host.close()


def queued(*statuses: str, **changes: object) -> State:
    state = made.opened(**changes)
    assert state.selection is not None
    model_id = made.MODELS[0].id
    reasons = {"failed": "The model needs more memory than it is allowed; no result."}
    items = [QueueItem(n, state.selection, model_id, s, reasons.get(s, "")) for n, s in enumerate(statuses)]  # type: ignore[arg-type]
    return replace(state, queue=tuple(items))


def press_named(panel: QueueList, name: str, number: int = 0) -> None:
    settle()
    [*buttons] = [b for b in panel.findChildren(QAbstractButton) if b.accessibleName() == name and b.isVisibleTo(panel)]
    buttons[number].click()


def test_there_is_nothing_to_see_without_a_queue(panel: QueueList) -> None:
    show(panel, made.opened())
    assert panel.isHidden()
    show(panel, queued("waiting"))
    assert not panel.isHidden()
    show(panel, queued("waiting"), made.opened())
    assert panel.isHidden()


def test_each_state_has_its_word_and_the_count_is_right(panel: QueueList) -> None:
    show(panel, queued("answered", "abstained", "failed", "running", "waiting"))
    seen = all_words(panel)
    for words in (
        "Queue: 3 of 5", "Running…", "Waiting", "Answered", "Abstained",
        "There is no result: The model needs more memory than it is allowed; no result.",
    ):  # fmt: skip
        assert words in seen


def test_what_a_model_said_is_not_in_the_list(panel: QueueList) -> None:
    answered = made.answered()
    state = replace(queued("answered"), answers=answered.answers)
    show(panel, state)
    assert "0." not in all_words(panel)


@pytest.mark.parametrize("status", ["answered", "abstained"])
def test_who_reads_first_does_not_see_whether_a_model_abstained(panel: QueueList, status: str) -> None:
    before = queued("answered", status, "waiting", read_first=True)
    assert before.selection is not None
    show(panel, before)
    seen = all_words(panel)
    assert seen.count("Has run") == 2
    assert "Abstained" not in seen
    assert "Answered" not in seen
    written = MappingProxyType({before.selection.image.key: (Impression("Clear.", "2024-05-02T10:00:00Z", False),)})
    after = replace(before, impressions=written)
    show(panel, before, after)
    assert status.capitalize() in all_words(panel)
    assert "Has run" not in all_words(panel)


def test_nor_does_the_order_tell(panel: QueueList) -> None:
    state = queued("answered", "abstained", read_first=True)
    first, second = state.queue
    show(panel, replace(state, queue=(first, replace(second, model_id="another"))))
    seen = all_words(panel)
    assert seen.index("Pneumonia in children") < seen.index("another")


def test_a_long_queue_shows_what_runs_and_what_failed_first(panel: QueueList) -> None:
    show(panel, queued(*["answered"] * 20, *["waiting"] * 30, "failed", "running"))
    seen = all_words(panel)
    assert f"and {52 - MOST_ROWS} more" in seen
    assert seen.index("Running…") < seen.index("There is no result") < seen.index("Waiting")
    assert "Answered" not in seen


def test_one_and_all_can_be_stopped_and_an_image_be_shown(panel: QueueList) -> None:
    asked = Asked(panel)
    state = queued("answered", "running", "waiting")
    show(panel, state)
    press_named(panel, "Take out of the queue", 1)
    press(panel, "Cancel all")
    press_named(panel, "Show this image")
    assert asked.calls == [("queue.cancel", 2), ("queue.cancel_all", None), ("image.select", state.selection)]
    show(panel, queued("answered"))
    press(panel, "Clear")
    assert asked.calls[-1] == ("queue.clear", None)


def test_names_are_told_only_where_several_people_are_open_and_identity_is_not_hidden(panel: QueueList) -> None:
    state = queued("waiting")
    assert state.selection is not None
    show(panel, state)
    assert "Kowalska" not in all_words(panel)
    name = state.selection.patient.name.split("^")[0]
    two = replace(state.collection, patients=(*state.collection.patients, replace(state.selection.patient, key="x")))
    several = replace(state, collection=two)
    show(panel, several)
    assert name in all_words(panel)
    show(panel, several, replace(several, identity_hidden=True))
    assert name not in all_words(panel)


def test_a_series_that_names_the_patient_loses_the_name_with_the_identity(panel: QueueList) -> None:
    state = queued("waiting")
    now = state.queue[0].selection
    named = replace(now, series=replace(now.series, description="Kowalska PA"))
    state = replace(state, queue=(replace(state.queue[0], selection=named),))
    show(panel, state)
    assert "Kowalska PA" in all_words(panel)
    show(panel, state, replace(state, identity_hidden=True))
    assert "Kowalska" not in all_words(panel)
    assert " PA" in all_words(panel)


def test_it_speaks_chinese(panel: QueueList) -> None:
    try:
        use_language("zh")
        show(panel, queued("failed", "waiting", language="zh"))
        seen = all_words(panel)
    finally:
        use_language("en")
    for words in ("队列：1 / 2", "等待中", "没有结果：模型所需内存超过允许值", "全部取消"):
        assert words in seen


def test_all_open_studies_are_analysed_while_the_reader_looks_on(
    main_window: MainWindow, fake_engine: FakeEngine, qtbot, tmp_path: Path
) -> None:
    for number in range(3):
        write_radiograph(tmp_path / f"{number}.dcm", patient_id=f"P{number}", name=f"Person{number}^P")
    reader = Reader(main_window, qtbot)
    reader.open(tmp_path)
    fake_engine.gate.clear()
    main_window.app.run_command("model.ask_open")
    reader.wait(fake_engine.entered.is_set)
    queue = main_window.findings.queue
    reader.wait(queue.isVisible)
    assert "Queue: 0 of 3" in all_words(queue)
    fake_engine.gate.set()
    reader.wait(lambda: "Queue: 3 of 3" in all_words(queue))
    reader.settle()
    keys = {subject.image_key for subject in reader.state.answers}
    assert keys == {selection.image.key for selection in selections(reader.state.collection)}
    press(queue, "Clear")
    reader.wait(queue.isHidden)

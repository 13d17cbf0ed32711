from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QProgressBar

from medviewer.app.state import JobStatus, State
from medviewer.domain.study import Collection, Image, Problem, Study
from medviewer.gui import problem_list
from medviewer.gui.problem_list import ProblemList
from medviewer.gui.studies_panel import StudiesPanel
from tests.gui import panel_states as made
from tests.gui.seen import Asked, all_words, press, show

Deliver = Callable[[np.ndarray], None]


class Thumbnails:
    """Holds what was asked for until the test delivers it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Image, Deliver]] = []

    def __call__(self, image: Image, deliver: Deliver) -> None:
        self.asked.append((image, deliver))


@pytest.fixture
def thumbnails() -> Thumbnails:
    return Thumbnails()


@pytest.fixture
def panel(qtbot, thumbnails: Thumbnails) -> StudiesPanel:
    one = StudiesPanel(thumbnails)
    qtbot.addWidget(one)
    one.resize(240, 900)
    return one


def rows(panel: StudiesPanel) -> list[str]:
    return [row.words for row in panel.rows.rows]


def two_patients() -> State:
    state = made.opened()
    other = made.patient("<b>Bold</b>\u202eevil^Name", "")
    return replace(state, collection=Collection((*state.collection.patients, other), made.problems()))


def test_nothing_open_offers_to_open_a_folder(panel) -> None:
    asked = Asked(panel)
    show(panel, State())
    assert "No study is open" in all_words(panel)
    press(panel, "Open folder")
    assert asked.calls == [("file.open_folder", None)]


def test_patient_then_studies_newest_first_then_series(panel) -> None:
    show(panel, made.opened())
    assert [row.kind for row in panel.rows.rows] == ["patient", "study", "series", "series", "study", "series"]
    assert rows(panel)[0] == "\u2068Kowalska, Maria\u2069\n63 years, female\nID HD-4711"
    assert rows(panel)[1].startswith("2004-03-02  CR\nChest PA and lateral")
    assert rows(panel)[4].startswith("2003-11-20  CT")
    assert rows(panel)[5] == "Lung 1.0 B60f\n312 images\n1 caution\nSlices are not evenly spaced."


def test_hidden_identity_is_hidden_everywhere(panel) -> None:
    state = two_patients()
    show(panel, state, replace(state, identity_hidden=True))
    whole = "\n".join(rows(panel))
    assert "Identity hidden" in whole
    assert "Kowalska" not in whole
    assert "HD-4711" not in whole
    assert "evil" not in whole
    everything = [
        str(panel.rows.data(panel.rows.index(i), role))
        for i in range(panel.rows.rowCount())
        for role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.DisplayRole)
    ]
    assert not [text for text in everything if "Kowalska" in text or "HD-4711" in text]


def test_descriptions_that_name_the_patient_lose_the_name_with_the_identity(panel) -> None:
    """Technicians type names into them."""
    who = made.patient()
    study = who.studies[1]
    named = replace(study.series[0], description="Maria Kowalska PA")
    study = replace(study, description="Chest KOWALSKA HD-4711", series=(named, *study.series[1:]))
    state = made.opened(replace(who, studies=(who.studies[0], study)))
    show(panel, state)
    assert "Maria Kowalska PA" in rows(panel)[2]
    assert "Chest KOWALSKA HD-4711" in rows(panel)[1]
    show(panel, state, replace(state, identity_hidden=True))
    whole = "\n".join(rows(panel))
    assert not [word for word in ("kowalska", "maria", "4711") if word in whole.lower()]
    assert "Chest" in rows(panel)[1]
    assert " PA" in rows(panel)[2]


def test_the_selected_series_is_highlighted(panel) -> None:
    state = made.opened()
    show(panel, state)
    assert panel.list.currentIndex().row() == 2
    assert state.selection is not None
    lateral = state.selection.study.series[1]
    show_other = replace(state, selection=replace(state.selection, series=lateral, stack=lateral.stacks[0]))
    panel.show_state(state, show_other)
    assert panel.list.currentIndex().row() == 3


def test_highlighting_asks_for_nothing(panel) -> None:
    asked = Asked(panel)
    state = made.opened()
    show(panel, State(), state, two_patients(), replace(state, selection=None), State())
    assert asked.calls == []


def test_arrow_keys_go_from_series_to_series(panel, qtbot) -> None:
    asked = Asked(panel)
    show(panel, made.opened())
    qtbot.keyClick(panel.list, Qt.Key.Key_Down)
    qtbot.keyClick(panel.list, Qt.Key.Key_Down)
    qtbot.keyClick(panel.list, Qt.Key.Key_Up)
    chosen = [argument.series.description for _, argument in asked.calls]
    assert {command for command, _ in asked.calls} == {"image.select"}
    assert chosen == ["Lateral", "Lung 1.0 B60f", "Lateral"]


def test_a_click_asks_for_the_series(panel, qtbot) -> None:
    asked = Asked(panel)
    show(panel, made.opened())
    panel.show()
    place = panel.list.visualRect(panel.rows.index(5)).center()
    qtbot.mouseClick(panel.list.viewport(), Qt.MouseButton.LeftButton, pos=place)
    ((command, selection),) = asked.calls
    assert command == "image.select"
    assert (selection.series.series_instance_uid, selection.index) == ("s3", 0)
    assert selection.study.study_instance_uid == "1.9.2"


def test_thumbnails_are_asked_for_once_and_only_when_seen(panel, thumbnails, qtbot) -> None:
    show(panel, made.opened())
    assert thumbnails.asked == []
    panel.show()
    panel.grab()
    qtbot.waitUntil(lambda: len(thumbnails.asked) == 3)
    panel.grab()
    assert len(thumbnails.asked) == 3
    middle = thumbnails.asked[2][0]
    assert middle.path.name == "s3-156.dcm"


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)])
def test_a_delivered_thumbnail_is_drawn(panel, thumbnails, qtbot, shape) -> None:
    show(panel, made.opened())
    panel.show()
    panel.grab()
    qtbot.waitUntil(lambda: len(thumbnails.asked) == 3)
    before = panel.grab().toImage()
    for _, deliver in thumbnails.asked:
        deliver(np.full(shape, 200, np.uint8))
    after = panel.grab().toImage()
    spot = panel.list.visualRect(panel.rows.index(3)).topLeft() + panel.list.mapTo(panel, panel.list.rect().topLeft())
    place = (spot.x() + 12 + 28, spot.y() + 8 + 28)
    assert before.pixelColor(*place).lightness() < 190
    assert after.pixelColor(*place).name() == "#c8c8c8"


def test_the_thumbnail_is_of_the_middle_image_also_when_more_are_found_later(panel, thumbnails, qtbot) -> None:
    """A scan shows what it has found so far: the first image of a stack, which is often empty."""
    whole = made.series("s4", "MR", "T1", 9)
    stack = whole.stacks[0]

    def found(n: int) -> State:
        part = replace(whole, stacks=(replace(stack, images=stack.images[:n]),))
        study = Study("1.9.4", "Brain", "20040302", series=(part,))
        return State(collection=Collection((replace(made.patient(), studies=(study,)),)))

    show(panel, found(1))
    panel.show()
    panel.grab()
    qtbot.waitUntil(lambda: len(thumbnails.asked) == 1)
    panel.show_state(found(1), found(9))
    panel.grab()
    qtbot.waitUntil(lambda: len(thumbnails.asked) == 2)
    (first, early), (middle, late) = thumbnails.asked
    assert (first, middle) == (stack.images[0], stack.images[4])
    late(np.full((4, 4), 200, np.uint8))
    early(np.zeros((4, 4), np.uint8))  # comes last, and is dropped
    (picture,) = panel._pictures.values()
    assert picture is not None
    assert picture.pixelColor(0, 0).name() == "#c8c8c8"


def test_a_thumbnail_that_comes_after_closing_is_dropped(panel, thumbnails, qtbot) -> None:
    show(panel, made.opened())
    panel.show()
    panel.grab()
    qtbot.waitUntil(lambda: len(thumbnails.asked) == 3)
    panel.show_state(made.opened(), State())
    for _, deliver in thumbnails.asked:
        deliver(np.zeros((4, 4), np.uint8))
    assert panel._pictures == {}


def test_every_problem_is_a_line_with_its_reason(panel) -> None:
    show(panel, two_patients())
    assert panel.problems.header.text() == "Problems (2)"
    assert panel.problems.body.isHidden()
    panel.problems.header.click()
    assert not panel.problems.body.isHidden()
    listed = panel.findChild(ProblemList).model()
    assert listed.rowCount() == 2
    assert listed.index(1).data() == "<b>broken<b>.dcm\nThe file holds 1,024 of the 524,288 bytes of its image."
    assert "&lt;b&gt;" in listed.index(1).data(Qt.ItemDataRole.ToolTipRole)


def test_the_words_of_thousands_of_problems_are_made_only_when_they_are_seen(panel, monkeypatch) -> None:
    made_words: list[str] = []
    monkeypatch.setattr(problem_list, "visible", lambda words: made_words.append(words) or words)
    many = tuple(Problem(Path(f"/data/{n}.txt"), f"{n}.txt is not a DICOM file.") for n in range(5000))
    state = made.opened()
    panel.show()
    show(panel, State(), replace(state, collection=replace(state.collection, problems=many)))
    panel.grab()
    assert panel.problems.header.text() == "Problems (5000)"
    assert made_words == []
    panel.problems.header.click()
    panel.grab()
    assert "0.txt" in made_words
    assert len(set(made_words)) < 1000
    listed = panel.findChild(ProblemList)
    listed.scrollToBottom()
    QCoreApplication.processEvents()
    assert listed.model().index(4999).data() == "4999.txt\n4999.txt is not a DICOM file."


def test_file_names_of_the_problem_list_hide_with_the_identity(panel) -> None:
    state = two_patients()
    names = [problem.path.name for problem in state.collection.problems]
    show(panel, state, replace(state, identity_hidden=True))
    listed = panel.findChild(ProblemList).model()
    roles = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole)
    shown = "".join(listed.index(i).data(role) for i in range(listed.rowCount()) for role in roles)
    assert shown
    assert not any(name in shown for name in names)
    assert panel.problems.header.text() == "Problems (2)"


def test_without_problems_there_is_no_list(panel) -> None:
    show(panel, two_patients(), made.opened())
    assert panel.problems.isHidden()


def test_reading_shows_how_far_it_is(panel) -> None:
    show(panel, State(jobs=(JobStatus("open", "Reading headers", 312, 512),)))
    assert "Reading files: 312 of 512" in all_words(panel)
    assert "No study is open" not in all_words(panel)
    bar = panel.findChild(QProgressBar)
    assert (bar.value(), bar.maximum()) == (312, 512)
    show(panel, State(jobs=(JobStatus("open", ""),)))
    assert "Reading files…" in all_words(panel)
    assert bar.maximum() == 0


def test_hostile_names_are_painted_as_text(panel) -> None:
    show(panel, two_patients())
    row = next(row for row in panel.rows.rows if "evil" in row.title)
    assert row.title == "\u2068<b>Bold</b>⟨U+202E⟩evil, Name\u2069"


def test_the_panel_speaks_chinese(panel) -> None:
    show(panel, made.opened(), replace(made.opened(), language="zh"))
    assert "63 岁, 女" in rows(panel)[0]
    assert "312 幅图像" in rows(panel)[5]


def test_the_age_is_worked_out_where_the_file_does_not_state_it(panel) -> None:
    who = made.patient()
    studies = tuple(replace(study, patient_age="") for study in who.studies)
    show(panel, made.opened(replace(who, studies=studies)))
    assert "63 years, female" in rows(panel)[0]
    baby = replace(who, birth_date="20030901", studies=studies)
    show(panel, made.opened(baby))
    assert "6 months" in rows(panel)[0]
    show(panel, made.opened(replace(who, birth_date="", studies=studies)))
    assert rows(panel)[0].split("\n")[1] == "female"

"""The second image window: one state in two windows, one patient, and nothing left over when it is closed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app.hanging import protocol_of
from medviewer.app.hanging_protocol import DisplaySet, HangingProtocol
from medviewer.app.on_screen import identity_of, pane_state, selections
from medviewer.app.panes import SECOND, activate, pane_numbers, seen_in
from tests.document_maker import write_report
from tests.phantoms import SMALL_CHEST, write_chest
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application


@pytest.fixture
def reader(application: Application, tmp_path: Path) -> Application:
    """A chest CT, an earlier one of the same person, and one of somebody else."""
    write_chest(tmp_path / "a", **SMALL_CHEST)
    write_chest(tmp_path / "b", **SMALL_CHEST, date="20230301")
    write_chest(tmp_path / "c", **SMALL_CHEST, patient="Other^Person")
    application.run_command("file.open_folder", tmp_path)
    first = next(s for s in selections(application.state.collection) if s.study.date == "20240301")
    application.run_command("image.select", first)
    return application


def patients(app: Application) -> set[tuple[str, ...]]:
    shown = (pane_state(app.state, index).selection for index in pane_numbers(app.state))
    return {identity_of(one.patient) for one in shown if one is not None}


def dates(app: Application) -> list[str]:
    shown = (pane_state(app.state, index).selection for index in pane_numbers(app.state))
    return [one.study.date if one is not None else "" for one in shown]


def test_it_opens_with_the_patients_next_series(reader: Application) -> None:
    reader.run_command("layout.second_window")
    assert pane_numbers(reader.state) == (0, SECOND)
    assert dates(reader) == ["20240301", "20230301"]
    assert pane_state(reader.state, SECOND).frame is not None
    assert reader.state.active == 0


def test_two_windows_never_show_two_patients(reader: Application) -> None:
    reader.run_command("layout.second_window")
    other = next(s for s in selections(reader.state.collection) if s.patient.name.startswith("Other"))
    for active in (0, SECOND):
        activate(reader, active)
        reader.run_command("image.select", other)
        assert len(patients(reader)) == 1
        assert reader.state.selection is not None
        assert reader.state.selection.patient.name.startswith("Other")
        back = next(s for s in selections(reader.state.collection) if not s.patient.name.startswith("Other"))
        reader.run_command("image.select", back)
        assert len(patients(reader)) == 1


def test_the_layout_is_that_of_the_window_in_which_the_reader_works(reader: Application) -> None:
    reader.run_command("layout.second_window")
    activate(reader, SECOND)
    reader.run_command("layout.use", (2, 2))
    assert (reader.state.layout, reader.state.second) == ((1, 1), (2, 2))
    activate(reader, SECOND + 3)
    reader.run_command("layout.use", (1, 2))
    assert reader.state.active == SECOND
    assert pane_numbers(reader.state) == (0, SECOND, SECOND + 1)
    activate(reader, 0)
    reader.run_command("layout.use", (1, 3))
    assert (reader.state.layout, reader.state.second) == ((1, 3), (1, 2))


def test_one_viewport_has_the_room_of_its_own_window_only(reader: Application) -> None:
    reader.run_command("layout.use", (1, 2))
    reader.run_command("layout.second_window")
    activate(reader, SECOND)
    reader.run_command("layout.use", (1, 2))
    reader.run_command("layout.maximise")
    assert (seen_in(reader.state, 0), seen_in(reader.state, 1)) == ((0, 1), (SECOND,))
    reader.run_command("layout.next")
    assert seen_in(reader.state, 1) == (SECOND + 1,)
    reader.run_command("layout.next")  # to the first window: the second stays as it is
    assert reader.state.active == 0
    assert (seen_in(reader.state, 0), seen_in(reader.state, 1)) == ((0, 1), (SECOND + 1,))
    activate(reader, SECOND + 1)
    reader.run_command("layout.maximise")
    assert seen_in(reader.state, 1) == (SECOND, SECOND + 1)


def test_planes_lie_in_the_window_where_they_were_asked_for(reader: Application) -> None:
    reader.run_command("layout.second_window")
    activate(reader, SECOND)
    reader.run_command("layout.planes")
    assert (reader.state.layout, reader.state.second) == ((1, 1), (2, 2))
    cuts = {index: pane_state(reader.state, index).cut for index in pane_numbers(reader.state)}
    assert [index for index, cut in cuts.items() if cut is not None] == [SECOND, SECOND + 1, SECOND + 2]
    assert all(pane_state(reader.state, index).frame is not None for index in pane_numbers(reader.state))
    reader.run_command("layout.turn_left")
    assert cuts[SECOND + 1] != pane_state(reader.state, SECOND + 1).cut
    reader.run_command("layout.planes")
    assert (reader.state.layout, reader.state.second) == ((1, 1), (1, 1))
    assert reader.state.cut is None
    assert pane_state(reader.state, 0).selection is not None


def test_linked_viewports_scroll_together_across_the_windows(reader: Application) -> None:
    reader.run_command("layout.second_window")
    activate(reader, SECOND)
    same = next(s for s in selections(reader.state.collection) if s.study.date == "20240301")
    reader.run_command("image.select", same)
    activate(reader, 0)
    reader.run_command("image.show", 12)
    there = pane_state(reader.state, SECOND).selection
    assert there is not None
    assert there.index == 12


def test_closing_it_leaves_nothing_and_the_reader_goes_on_in_the_first(reader: Application) -> None:
    reader.run_command("layout.second_window")
    activate(reader, SECOND)
    reader.run_command("layout.planes")
    reader.run_command("layout.second_window")
    assert reader.state.second is None
    assert reader.state.active == 0
    assert reader.state.cut is None
    assert reader.state.selection is not None
    assert reader.state.selection.study.date == "20240301"
    assert all(index < SECOND for index in (*reader.state.parked, *reader.cuts, *reader.presented))
    assert not [slot for slot in reader.jobs.running if slot.startswith("read ")]


def test_a_document_is_read_in_the_first_window(reader: Application, tmp_path: Path) -> None:
    who = {"PatientName": "Phantom^Chest", "PatientID": "PHANTOM-1", "PatientSex": "O", "PatientBirthDate": "19700101"}
    write_report(tmp_path / "a" / "report.dcm", **who)  # of another patient nothing may stay in the second window
    reader.run_command("file.open_folder", tmp_path)
    reader.run_command("layout.second_window")
    activate(reader, SECOND)
    document = next(d for p in reader.state.collection.patients for s in p.studies for d in s.documents)
    reader.run_command("document.show", document)
    assert reader.state.active == 0
    assert pane_state(reader.state, SECOND).selection is not None
    reader.run_command("document.close")
    assert pane_state(reader.state, 0).selection is not None


def test_studies_that_are_opened_come_to_both_windows(application: Application, tmp_path: Path) -> None:
    application.run_command("layout.second_window")
    assert application.state.second == (1, 1)
    write_chest(tmp_path / "a", **SMALL_CHEST)
    write_chest(tmp_path / "b", **SMALL_CHEST, date="20230301")
    application.run_command("file.open_folder", tmp_path)
    assert sorted(dates(application)) == ["20230301", "20240301"]
    application.run_command("file.close")
    assert application.state.second == (1, 1)
    assert not application.state.parked


TWO = HangingProtocol(
    "Two screens", "CR", layout=(1, 1), second=(1, 1), priors=1,
    display_sets=(DisplaySet(view="PA"), DisplaySet(prior=1, view="PA")),
)  # fmt: skip


@pytest.mark.parametrize(("screens", "expected"), [(1, None), (2, (1, 1))])
def test_a_protocol_for_two_screens_is_used_by_itself_only_where_there_are_two(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screens: int, expected: object
) -> None:
    for date in ("20040101", "20050203"):
        write_radiograph(tmp_path / f"{date}.dcm", StudyDate=date, ViewPosition="PA")
    application.run_command("layout.use_protocols", (TWO, *application.state.hanging))
    monkeypatch.setattr(application.front, "screen_count", lambda: screens)
    application.run_command("file.open_folder", tmp_path)
    assert application.state.second == expected
    assert dates(application) == ["20050203", "20040101"]
    assert application.state.layout == ((1, 1) if expected else (1, 2))


def test_a_protocol_without_a_second_window_leaves_that_as_it_is(application: Application, tmp_path: Path) -> None:
    for date in ("20040101", "20050203"):
        write_radiograph(tmp_path / f"{date}.dcm", StudyDate=date, ViewPosition="PA")
    application.run_command("layout.use_protocols", (replace(TWO, when_opening=False),))
    application.run_command("file.open_folder", tmp_path)
    latest = next(s for s in selections(application.state.collection) if s.study.date == "20050203")
    application.run_command("image.select", latest)
    application.run_command("layout.hang", 0)
    plain = replace(TWO, name="plain", second=None, display_sets=(DisplaySet(view="PA"),), when_opening=False)
    application.run_command("layout.use_protocols", (plain,))
    activate(application, SECOND)
    application.run_command("layout.hang", 0)
    assert application.state.second == (1, 1)
    assert dates(application) == ["20050203", "20040101"]


def test_the_layout_of_both_windows_becomes_a_protocol(application: Application, tmp_path: Path) -> None:
    for date in ("20040101", "20050203"):
        write_radiograph(tmp_path / f"{date}.dcm", StudyDate=date, ViewPosition="PA")
    application.run_command("layout.use_protocols", (replace(TWO, when_opening=False),))
    application.run_command("file.open_folder", tmp_path)
    latest = next(s for s in selections(application.state.collection) if s.study.date == "20050203")
    application.run_command("image.select", latest)
    application.run_command("layout.hang", 0)
    mine = protocol_of(application.state, "Mine")
    assert (mine.layout, mine.second) == ((1, 1), (1, 1))
    assert [one.prior for one in mine.display_sets] == [0, 1]


def test_with_one_screen_it_is_said(application: Application) -> None:
    application.run_command("layout.next_screen")
    assert application.state.notice is not None
    assert application.state.notice.text == "There is only one screen."

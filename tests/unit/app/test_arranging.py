"""Layouts, hanging, planes and tilts are undone and redone, never to another patient and never behind something."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app.hanging_protocol import DisplaySet, HangingProtocol
from medviewer.app.on_screen import pane_state
from medviewer.app.panes import pane_numbers
from medviewer.app.state import Selection, State
from medviewer.app.undoing import UNDO_ELSEWHERE
from tests.document_maker import item, the_document, write_report
from tests.phantoms import SMALL_CHEST, write_chest
from tests.radiographs import write_radiograph
from tests.unit.app.test_hanging import breast

if TYPE_CHECKING:
    from medviewer.app.application import Application


def panes(app: Application) -> Mapping[int, State]:
    return {index: pane_state(app.state, index) for index in pane_numbers(app.state)}


def seen(app: Application) -> dict[int, Any]:
    """What each viewport shows and which way round; and that its pixels are those."""
    found = {}
    for index, one in panes(app).items():
        now = one.selection
        if now is not None:
            assert one.frame is not None
            if one.cut is None:
                assert one.frame.description.plane == now.image.description.plane
        found[index] = (now.image.key if now else None, one.cut, one.view)
    return found


def test_a_layout_is_undone_and_redone(reader: Application) -> None:
    before = seen(reader)
    reader.run_command("layout.use", (1, 2))
    after = seen(reader)
    assert after[1][0] is not None
    reader.run_command("edit.undo")
    assert reader.state.layout == (1, 1)
    assert seen(reader) == before
    assert not reader.state.parked
    reader.run_command("edit.redo")
    assert reader.state.layout == (1, 2)
    assert seen(reader) == after


def test_where_the_reader_has_scrolled_to_stays(reader: Application) -> None:
    reader.run_command("layout.prior")
    reader.run_command("image.show", 20)
    reader.run_command("edit.undo")
    assert reader.state.layout == (1, 1)
    assert reader.state.selection is not None
    assert reader.state.selection.index == 20
    assert reader.state.frame is not None


def test_a_layout_that_changes_nothing_is_no_step(reader: Application) -> None:
    reader.run_command("view.invert")
    reader.run_command("layout.use", (1, 1))
    reader.run_command("edit.undo")
    assert not reader.state.view.inverted


def test_what_was_done_in_the_layout_is_undone_before_it(reader: Application) -> None:
    reader.run_command("layout.use", (1, 2))
    reader.run_command("view.rotate_left")
    reader.run_command("edit.undo")
    assert (reader.state.layout, reader.state.view.quarter_turns) == ((1, 2), 0)
    reader.run_command("edit.undo")
    assert reader.state.layout == (1, 1)
    reader.run_command("edit.redo")
    reader.run_command("edit.redo")
    assert (reader.state.layout, reader.state.view.quarter_turns) == ((1, 2), 1)


def test_a_viewport_that_is_gone_comes_back_with_what_it_showed(reader: Application) -> None:
    reader.run_command("layout.use", (1, 2))
    reader.run_command("layout.activate", 1)
    reader.run_command("view.rotate_left")
    before = seen(reader)
    reader.run_command("layout.use", (1, 1))
    reader.run_command("edit.undo")
    assert reader.state.active == 1
    assert seen(reader) == before


def test_planes_slabs_and_tilts_are_undone(reader: Application) -> None:
    reader.run_command("image.show", 12)
    images = seen(reader)
    reader.run_command("layout.planes")
    straight = seen(reader)
    reader.run_command("layout.slab", (10.0, "max"))
    slab = seen(reader)
    for _ in range(3):  # the steps of one drag
        reader.run_command("layout.turn", 7.0)
    reader.run_command("view.settle")
    tilted = seen(reader)
    assert len({str(one) for one in (straight, slab, tilted)}) == 3
    for expected in (slab, straight):
        reader.run_command("edit.undo")
        assert {i: one[1] for i, one in seen(reader).items()} == {i: one[1] for i, one in expected.items()}
        for index, one in panes(reader).items():
            if one.cut is not None:
                assert one.frame is reader.cuts[index].frame
                assert one.frame is not None
                assert one.frame.description.plane is not None
    reader.run_command("edit.undo")
    assert (reader.state.layout, reader.state.cut) == ((1, 1), None)
    assert seen(reader) == images
    reader.volume = None  # another series was cut meanwhile: the slices are read again
    reader.run_command("edit.redo")
    assert {i: one[1] for i, one in seen(reader).items()} == {i: one[1] for i, one in straight.items()}


def test_leaving_the_planes_is_undone(reader: Application) -> None:
    reader.run_command("layout.planes")
    planes = seen(reader)
    reader.run_command("layout.planes")
    reader.run_command("edit.undo")
    assert seen(reader) == planes


def test_the_second_window_comes_and_goes_with_undo(reader: Application) -> None:
    reader.run_command("layout.second_window")
    both = seen(reader)
    reader.run_command("edit.undo")
    assert reader.state.second is None
    reader.run_command("edit.redo")
    assert seen(reader) == both
    reader.run_command("layout.second_window")
    reader.run_command("edit.undo")
    assert seen(reader) == both


def test_a_flip_by_hanging_is_undone(application: Application, tmp_path: Path) -> None:
    """Also one that came when the study was opened."""
    breast(tmp_path, "R", "MLO", ["A", "FL"])
    protocol = HangingProtocol("Facing right", "MG", layout=(1, 1), display_sets=(DisplaySet(front="right"),))
    other = HangingProtocol("Facing left", "MG", layout=(1, 1), display_sets=(DisplaySet(front="left"),))
    application.session.update(hanging=(other, protocol))
    application.run_command("file.open_folder", tmp_path)
    opened = application.state.view
    assert opened.flip_horizontal
    application.run_command("edit.undo")
    plain = application.state.view
    assert not plain.flip_horizontal
    assert not application.session.can_undo
    application.run_command("edit.redo")
    assert application.state.view == opened
    application.run_command("layout.hang", 1)
    assert not application.state.view.flip_horizontal
    application.run_command("edit.undo")
    assert application.state.view == opened


def test_hanging_beside_a_prior_is_undone(reader: Application) -> None:
    before = seen(reader)
    protocol = HangingProtocol(
        "Prior", "CT", layout=(1, 2), priors=1, display_sets=(DisplaySet(), DisplaySet(prior=1, inverted=True))
    )
    reader.session.update(hanging=(protocol,))
    reader.run_command("layout.hang", 0)
    hung = seen(reader)
    assert hung != before
    reader.run_command("edit.undo")
    assert seen(reader) == before
    reader.run_command("edit.redo")
    assert seen(reader) == hung


def test_undo_never_goes_to_another_patient(application: Application, tmp_path: Path) -> None:
    write_chest(tmp_path / "a", **SMALL_CHEST)
    write_radiograph(tmp_path / "other.dcm", PatientID="OTHER", PatientName="Other^One")
    application.run_command("file.open_folder", tmp_path)
    first = application.state.selection
    assert first is not None
    application.run_command("layout.use", (1, 2))
    other = next(p for p in application.state.collection.patients if p.patient_id != first.patient.patient_id)
    series = other.studies[0].series[0]
    application.run_command("image.select", Selection(other, other.studies[0], series, series.stacks[0], 0))
    application.run_command("edit.undo")
    assert application.state.selection is not None
    assert application.state.selection.patient is other
    assert application.state.notice is not None
    assert application.state.notice.text == UNDO_ELSEWHERE


def test_nothing_is_rearranged_behind_a_document(application: Application, tmp_path: Path) -> None:
    who = {"PatientID": "A1", "PatientName": "Alpha^Anna", "PatientBirthDate": "20010203", "PatientSex": "F"}
    for name in ("a", "c"):
        write_radiograph(
            tmp_path / f"{name}.dcm", StudyInstanceUID="2.25.77", SeriesInstanceUID=f"2.25.77.{ord(name)}", **who
        )
    written = write_report(
        tmp_path / "b.dcm", item("TEXT", "Finding", TextValue="A shadow"), StudyInstanceUID="2.25.77", **who
    )
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    assert application.state.parked[1].selection is not None
    document = the_document(written)
    application.run_command("document.show", document)
    assert application.state.reading is not None
    assert not application.session.can_undo
    application.run_command("document.close")
    application.run_command("edit.undo")
    assert application.state.layout == (1, 1)


@pytest.mark.parametrize("whose", ["A1", "B2"])
def test_what_is_rearranged_behind_a_document_is_not_undone(
    application: Application, tmp_path: Path, whose: str
) -> None:
    """Its undoing would show the empty viewport that a document leaves, or stand for good before all that can be."""
    who = {"PatientID": whose, "PatientName": "Alpha^Anna", "PatientBirthDate": "20010203", "PatientSex": "F"}
    write_radiograph(tmp_path / "a.dcm", StudyInstanceUID="2.25.77")
    study = "2.25.77" if whose == "A1" else "2.25.78"
    written = write_report(tmp_path / "b.dcm", item("TEXT", "Finding", TextValue="No"), StudyInstanceUID=study, **who)
    application.run_command("file.open_folder", tmp_path)
    application.run_command("view.invert")
    application.run_command("layout.second_window")
    application.run_command("document.show", the_document(written))
    application.run_command("layout.second_window")
    application.run_command("document.close")
    assert application.state.second is None
    application.run_command("edit.undo")
    assert application.state.selection is not None
    assert application.state.frame is not None
    application.run_command("edit.undo")
    assert not application.state.view.inverted


def test_what_was_closed_comes_not_back(reader: Application, tmp_path: Path) -> None:
    reader.run_command("layout.use", (1, 2))
    reader.run_command("file.open_files", [write_radiograph(tmp_path / "r.dcm")])
    reader.run_command("edit.undo")
    assert reader.state.layout == (1, 1)
    assert reader.state.selection is not None
    assert reader.state.selection.series.modality != "CT"


def test_undo_keeps_no_pixels_of_other_viewports(reader: Application) -> None:
    reader.run_command("layout.use", (1, 2))
    reader.run_command("layout.use", (1, 1))
    kept = [past.state for past in reader.session._undo if past.is_arrangement]
    assert kept
    assert all(pane.frame is None for state in kept for pane in state.parked.values())
    assert all(state.frame is None for state in kept)

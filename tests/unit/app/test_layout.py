"""Several viewports: what each shows, what scrolls together, and that one patient is never beside another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

from medviewer.app.hanging_protocol import DisplaySet, HangingProtocol
from medviewer.app.linking import Heights, goes_along, values_ratio
from medviewer.app.on_screen import current_answer, pane_state, selections
from medviewer.app.panes import SECOND, picture_of
from medviewer.app.state import Cut, State
from medviewer.domain.answer import Subject
from medviewer.domain.study import VoiFunction, Window
from medviewer.imaging.display import window_ends
from medviewer.imaging.reslice import reslice, standard_grid
from medviewer.imaging.volume import read_volume
from tests.answers import make_answer
from tests.layer_objects import COMMON, FRAME_OF_REFERENCE, write_ct, write_pet
from tests.phantoms import SMALL_CHEST, write_chest
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine


def panes(app: Application) -> list[State]:
    return [pane_state(app.state, index) for index in range(app.state.layout[0] * app.state.layout[1])]


def hang(app: Application, name: str) -> None:
    app.run_command("layout.hang", [one.name for one in app.state.hanging].index(name))


def z_of(state: State) -> float:
    assert state.selection is not None
    plane = state.selection.image.description.plane
    assert plane is not None
    return plane.position[2]


def test_a_prior_comes_beside_the_image_as_far_along(reader: Application) -> None:
    reader.run_command("image.show", 15)
    reader.run_command("view.window", Window(40, 400))
    reader.run_command("layout.prior")
    now, prior = panes(reader)
    assert now.selection is not None
    assert prior.selection is not None
    assert (now.selection.study.date, prior.selection.study.date) == ("20240301", "20230301")
    assert prior.selection.index == 7
    assert prior.frame is not None
    assert prior.view.window == Window(40, 400)


def write_hands(folder: Path, date: str, sides: str, **changes: Any) -> None:
    """A study of hands, each in a series of its own."""
    for number, side in enumerate(sides, start=1):
        uids = {"StudyInstanceUID": f"2.25.{date}", "SeriesInstanceUID": f"2.25.{date}{number}"}
        own = {"StudyDate": date, "SeriesNumber": number, "BodyPartExamined": "HAND", "ImageLaterality": side}
        write_radiograph(folder / f"{date}{side}.dcm", **uids | own | changes)


def go_to_the_last_study(app: Application, side: str = "") -> None:
    found = [one for one in selections(app.state.collection) if one.study.date == "20050203" and one.index == 0]
    wanted = (one for one in found if side in ("", one.image.description.image_laterality))
    app.run_command("image.select", next(wanted))


def side_of(state: State) -> str:
    assert state.selection is not None
    return state.selection.image.description.image_laterality


@pytest.mark.reliability
@pytest.mark.parametrize("side", ["L", "R"])
def test_a_prior_is_of_the_same_side(application: Application, tmp_path: Path, side: str) -> None:
    write_hands(tmp_path, "20040101", "RL")
    write_hands(tmp_path, "20030101", "LR", ViewPosition="AP")
    write_hands(tmp_path, "20050203", "RL")
    application.run_command("file.open_folder", tmp_path)
    go_to_the_last_study(application, side)
    application.run_command("layout.prior")
    now, prior = panes(application)
    assert (side_of(now), side_of(prior)) == (side, side)
    assert prior.selection is not None
    assert prior.selection.study.date == "20040101"


@pytest.mark.reliability
@pytest.mark.parametrize("told", ["by the file", "by words"])
def test_the_other_side_is_never_a_prior(told: str, application: Application, tmp_path: Path) -> None:
    for date, side in (("20040101", "Right"), ("20050203", "Left")):
        if told == "by the file":
            write_hands(tmp_path, date, side[0])
        else:
            write_knee(tmp_path, date, series=f"{side} knee")
    application.run_command("file.open_folder", tmp_path)
    go_to_the_last_study(application)
    application.run_command("layout.prior")
    assert application.state.layout == (1, 1)
    assert application.state.notice is not None
    assert "show the other side" in application.state.notice.text


def write_knee(folder: Path, date: str, *, study: str = "", series: str = "", **changes: Any) -> None:
    """A film that no attribute says the side of."""
    uids = {"StudyInstanceUID": f"2.25.{date}", "SeriesInstanceUID": f"2.25.{date}1", "StudyDate": date}
    words = {
        "SpecificCharacterSet": "ISO_IR 192", "StudyDescription": study, "SeriesDescription": series,
        "BodyPartExamined": "KNEE", "ViewPosition": "AP",
    }  # fmt: skip
    write_radiograph(folder / f"{date}.dcm", **uids | words | changes)


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"study": "XR knee left"}, {"study": "XR knee right"}),
        ({"series": "KNEE_LT_AP"}, {"series": "KNEE_RT_AP"}),
        ({"series": "左膝正位"}, {"series": "右膝正位"}),
        ({"series": "Left knee", "study": "Knees left and right"}, {"series": "AP", "ImageLaterality": "R"}),
    ],
)
def test_where_only_words_name_the_side_a_prior_is_of_it_too(
    left: dict[str, Any], right: dict[str, Any], application: Application, tmp_path: Path
) -> None:
    write_knee(tmp_path, "20010101", **left)
    write_knee(tmp_path, "20040101", **right)
    write_knee(tmp_path, "20050203", **left)
    application.run_command("file.open_folder", tmp_path)
    go_to_the_last_study(application)
    application.run_command("layout.prior")
    prior = panes(application)[1].selection
    assert prior is not None
    assert prior.study.date == "20010101"


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("Chest right lateral", "Chest left lateral"),
        ("右侧位", "左侧位"),
        ("Right and left knee", "Left knee"),
        ("RT planning", "Left hip"),
    ],
)
def test_words_that_name_a_view_or_both_sides_are_no_other_side(
    before: str, now: str, application: Application, tmp_path: Path
) -> None:
    write_knee(tmp_path, "20040101", series=before)
    write_knee(tmp_path, "20050203", series=now)
    application.run_command("file.open_folder", tmp_path)
    go_to_the_last_study(application)
    application.run_command("layout.prior")
    assert application.state.layout == (1, 2)


@pytest.mark.parametrize(("sides", "shown"), [("B", "B"), ("BL", "L"), ("LB", "L"), ("RB", "B")])
def test_what_is_of_both_sides_is_a_prior_where_there_is_none_of_this_one(
    application: Application, tmp_path: Path, sides: str, shown: str
) -> None:
    write_hands(tmp_path, "20040101", sides)
    write_hands(tmp_path, "20050203", "L")
    application.run_command("file.open_folder", tmp_path)
    go_to_the_last_study(application)
    application.run_command("layout.prior")
    assert [side_of(pane) for pane in panes(application)] == ["L", shown]


def test_in_a_stack_of_several_views_the_prior_is_of_the_same_view(application: Application, tmp_path: Path) -> None:
    for date, views in (("20040101", ("LL", "PA")), ("20050203", ("PA", "LL"))):
        uids = {"StudyInstanceUID": f"2.25.{date}", "SeriesInstanceUID": f"2.25.{date}1", "BodyPartExamined": "KNEE"}
        for number, view in enumerate(views, start=1):
            own = {"StudyDate": date, "InstanceNumber": number, "ViewPosition": view}
            write_radiograph(tmp_path / f"{date}{view}.dcm", **uids | own)
    application.run_command("file.open_folder", tmp_path)
    for number in range(2):
        application.run_command("layout.use", (1, 1))
        go_to_the_last_study(application)
        application.run_command("image.show", number)
        application.run_command("layout.prior")
        views = [pane.selection.image.description.view_position for pane in panes(application) if pane.selection]
        assert views == [("PA", "LL")[number]] * 2


def test_a_study_without_a_date_is_no_earlier_one(reader: Application) -> None:
    (patient,) = reader.state.collection.patients
    undated = tuple(replace(one, date="" if one.date == "20230301" else one.date) for one in patient.studies)
    patient = replace(patient, studies=undated)
    reader.session.update(collection=replace(reader.state.collection, patients=(patient,)))
    reader.run_command("layout.prior")
    assert reader.state.layout == (1, 1)
    assert "No earlier study" in reader.state.notice.text


def test_without_a_prior_it_is_said(application: Application, tmp_path: Path) -> None:
    write_chest(tmp_path, **SMALL_CHEST)
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.prior")
    assert application.state.layout == (1, 1)
    assert application.state.notice is not None
    assert "No earlier study" in application.state.notice.text
    assert application.state.notice.level == "info"


def test_planes_are_cut_where_the_image_is(reader: Application) -> None:
    reader.run_command("image.show", 12)
    shown = reader.state
    assert shown.selection is not None
    reader.run_command("layout.planes")
    assert reader.state.layout == (2, 2)
    cuts = [pane.cut for pane in panes(reader)]
    assert [cut.plane if cut else None for cut in cuts] == ["axial", "coronal", "sagittal", None]
    volume = read_volume(shown.selection.stack)
    for pane in panes(reader)[:3]:
        assert pane.cut is not None
        assert pane.frame is not None
        expected = reslice(volume, standard_grid(volume, pane.cut.plane, pane.cut.at_mm))
        np.testing.assert_array_equal(pane.frame.stored, expected.stored)
    assert panes(reader)[0].cut.at_mm == pytest.approx(z_of(shown))  # type: ignore[union-attr]
    reader.run_command("layout.planes")
    assert reader.state.layout == (1, 1)
    assert reader.state.cut is None
    assert reader.state.frame is not None
    assert z_of(reader.state) == z_of(shown)


def test_a_plane_is_never_kept_or_shown_as_the_stored_image(reader: Application) -> None:
    """One cache for both would show a coronal plane as an axial image."""
    reader.run_command("layout.planes")
    for index, pane in enumerate(panes(reader)[:3]):
        picture = picture_of(reader, index, pane)
        assert picture is not None
        assert picture.frame is pane.frame
    reader.run_command("layout.planes")
    assert reader.state.frame is not None
    assert reader.state.frame.stored.shape == (40, 40)
    assert reader.state.frame.description.plane == reader.state.selection.image.description.plane  # type: ignore[union-attr]


def test_no_model_answers_about_a_plane_and_no_answer_shows_beside_it(reader: Application) -> None:
    assert reader.state.selection is not None
    subject = Subject(reader.state.selection.image.key, "one", "sha")
    reader.session.update(model_id="one", answers={subject: make_answer()})
    assert current_answer(reader.state) is not None
    reader.run_command("layout.planes")
    before = reader.state
    reader.run_command("model.run")
    assert reader.state.answers == before.answers
    assert reader.wishes.run is None
    assert current_answer(reader.state) is None


def test_a_run_that_waited_does_not_start_on_a_plane(reader: Application, fake_engine: FakeEngine) -> None:
    asked = len(fake_engine.calls)
    reader.run_command("layout.planes")
    reader.wishes.run = reader.state.selection.image.key  # type: ignore[union-attr]
    reader.run_waiting()
    assert reader.wishes.run is None
    assert len(fake_engine.calls) == asked
    assert reader.state.answers == {}


def test_scrolling_a_plane_moves_it_and_stops_at_the_ends(reader: Application) -> None:
    reader.run_command("layout.planes")
    start = reader.state.cut
    assert start is not None
    reader.run_command("image.next")
    assert reader.state.cut is not None
    assert reader.state.cut.at_mm > start.at_mm
    reader.run_command("image.last")
    end = reader.state.cut.at_mm
    reader.run_command("image.next")
    assert reader.state.cut.at_mm == end == pytest.approx(145.0)
    reader.run_command("image.first")
    assert reader.state.cut.at_mm == pytest.approx(-145.0)


def test_images_follow_the_plane_and_the_plane_the_images(reader: Application) -> None:
    reader.run_command("layout.planes")
    for _ in range(4):
        reader.run_command("image.next")
    assert reader.state.cut is not None
    assert abs(z_of(panes(reader)[3]) - reader.state.cut.at_mm) <= 5.0
    reader.run_command("layout.activate", 3)
    reader.run_command("image.show", 25)
    axial = panes(reader)[0].cut
    assert axial is not None
    assert axial.at_mm == pytest.approx(z_of(reader.state))
    assert axial.at_mm == pytest.approx(panes(reader)[0].frame.description.plane.position[2])  # type: ignore[union-attr]
    reader.run_command("layout.link")
    reader.run_command("image.show", 3)
    assert panes(reader)[0].cut == axial


@pytest.mark.parametrize("how", ["layout", "protocol", "second window"])
@pytest.mark.parametrize("is_linked", [True, False])
def test_series_of_one_frame_of_reference_stand_at_one_place_from_the_beginning(
    application: Application, tmp_path: Path, how: str, is_linked: bool
) -> None:
    """Not only once the reader scrolls: until then two levels of the patient would stand beside each other."""
    write_ct(tmp_path / "a", SeriesNumber=1)
    for path in write_ct(tmp_path / "b", SeriesNumber=2)[10:]:  # half as long: as far along is another place
        path.unlink()
    application.run_command("file.open_folder", tmp_path)
    application.run_command("image.show", 4)
    if not is_linked:
        application.run_command("layout.link")
    if how == "layout":
        application.run_command("layout.use", (1, 2))
    elif how == "second window":
        application.run_command("layout.second_window")
    else:
        sets = (DisplaySet(series=1), DisplaySet(series=2))
        application.run_command("layout.use_protocols", (HangingProtocol("x", layout=(1, 2), display_sets=sets),))
        application.run_command("layout.hang", 0)
    other = pane_state(application.state, SECOND if how == "second window" else 1)
    assert (z_of(other) == z_of(application.state)) == is_linked


def test_an_earlier_study_goes_as_far_as_the_reader_scrolls(reader: Application) -> None:
    """Its slices are of another thickness: what is missed at one step is not missed at the next ones too."""
    reader.run_command("image.show", 15)
    reader.run_command("layout.prior")
    now, prior = map(z_of, panes(reader))
    for index in (16, 17, 18, 20, 25, 29, 12, 3, 15):
        reader.run_command("image.show", index)
        here, there = map(z_of, panes(reader))
        assert abs((there - prior) - (here - now)) <= 10  # half of a slice of the earlier study
    assert (here, there) == (now, prior)


def test_an_earlier_study_waits_at_its_end(reader: Application) -> None:
    reader.run_command("image.show", 3)
    reader.run_command("layout.prior")
    reader.run_command("layout.link")
    reader.run_command("layout.activate", 1)
    reader.run_command("image.show", 12)
    reader.run_command("layout.activate", 0)
    reader.run_command("layout.link")
    seen = []
    for index in (4, 5, 29, 5, 4):
        reader.run_command("image.show", index)
        seen.append(z_of(panes(reader)[1]))
    assert seen[:2] == seen[:2:-1]
    assert max(seen) == seen[2] > seen[1]


def test_what_the_reader_brought_elsewhere_stays_there_and_goes_on_from_there(reader: Application) -> None:
    reader.run_command("image.show", 10)
    reader.run_command("layout.prior")
    reader.run_command("image.show", 12)
    reader.run_command("layout.link")
    before = z_of(panes(reader)[1])
    reader.run_command("image.show", 16)
    assert z_of(panes(reader)[1]) == before
    reader.run_command("layout.activate", 1)
    reader.run_command("image.show", 2)
    reader.run_command("layout.activate", 0)
    reader.run_command("layout.link")
    moved, here = z_of(panes(reader)[1]), z_of(reader.state)
    assert moved != before
    reader.run_command("image.show", 20)
    assert abs((z_of(panes(reader)[1]) - moved) - (z_of(reader.state) - here)) <= 10


def test_the_later_study_goes_along_with_the_earlier_one(reader: Application) -> None:
    reader.run_command("image.show", 14)
    reader.run_command("layout.prior")
    now, prior = map(z_of, panes(reader))
    reader.run_command("layout.activate", 1)
    for index in (8, 9, 5, 7):
        reader.run_command("image.show", index)
        here, there = map(z_of, panes(reader))
        assert abs((there - prior) - (here - now)) <= 5
    assert (here, there) == (now, prior)


def test_a_study_that_is_counted_from_the_other_end_goes_the_same_way_in_the_patient(
    application: Application, tmp_path: Path
) -> None:
    write_ct(tmp_path / "a")
    turned = {"ImageOrientationPatient": [1, 0, 0, 0, -1, 0]}
    write_ct(tmp_path / "b", reference="2.25.77", StudyInstanceUID="2.25.78", StudyDate="20200101", **turned)
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    application.run_command("layout.link")
    for index in (1, 0):
        application.run_command("layout.activate", index)
        application.run_command("image.show", 10)
    application.run_command("layout.link")
    now, other = map(z_of, panes(application))
    application.run_command("image.show", 14)
    here, there = map(z_of, panes(application))
    assert here != now
    assert there - other == here - now


@pytest.mark.parametrize(
    ("change", "goes"),
    [
        ({}, True),
        ({"PatientID": "OTHER"}, False),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, False),
        ({"reference": FRAME_OF_REFERENCE}, False),
        ({"reference": ""}, True),
        ({"StudyInstanceUID": COMMON["StudyInstanceUID"]}, False),
    ],
)
@pytest.mark.parametrize("reference", [FRAME_OF_REFERENCE, ""])
def test_parallel_slices_of_the_same_patient_go_along_whose_place_is_not_shared(
    application: Application, tmp_path: Path, change: dict[str, Any], goes: bool, reference: str
) -> None:
    write_ct(tmp_path / "a", reference=reference)
    write_ct(tmp_path / "b", **{"reference": "2.25.77", "StudyInstanceUID": "2.25.78"} | change)
    application.run_command("file.open_folder", tmp_path)
    one, *others = [first for first in selections(application.state.collection) if first.index == 5]
    state = replace(application.state, selection=one)
    other = replace(state, selection=others[0])
    goes = goes or change.get("reference", reference) != reference
    assert goes_along(state, other) == goes_along(other, state) == goes
    assert not goes_along(state, state)
    assert not goes_along(replace(state, cut=Cut("axial", 0.0)), other)
    assert not goes_along(state, replace(other, cut=Cut("axial", 0.0)))


def test_of_many_pairs_the_latest_are_kept() -> None:
    heights = Heights()
    for number in range(300):
        pair = ("a", str(number), 0), ("b", "", 0)
        assert heights.target((pair[0], 1.0, 3.0), (pair[1], 10.0), -1.0) == 8.0
        heights.note(pair[0], 3.0, pair[1], 8.0)
    assert len(heights._last) == len(heights._began) < 100


def test_pointing_shows_the_place_in_every_viewport(reader: Application) -> None:
    reader.run_command("layout.planes")
    reader.run_command("layout.point", (55.0, 4.0, 20.0))
    assert reader.state.crosshair is not None
    assert reader.state.crosshair.lps_mm == (55.0, 4.0, 20.0)
    _, coronal, sagittal, stored = panes(reader)
    assert coronal.cut is not None
    assert sagittal.cut is not None
    assert coronal.cut.at_mm == 4.0
    assert sagittal.cut.at_mm == 55.0
    assert abs(z_of(stored) - 20) <= 5.0


def test_the_planes_of_one_series_have_one_window(reader: Application) -> None:
    reader.run_command("layout.planes")
    reader.run_command("view.window", Window(40, 400))
    assert {pane.view.window for pane in panes(reader)} == {Window(40, 400)}
    reader.run_command("edit.undo")
    assert {pane.view.window for pane in panes(reader)} == {None}


def test_slabs_are_for_all_planes(reader: Application) -> None:
    reader.run_command("layout.planes")
    thin = [pane.frame for pane in panes(reader)[:3]]
    reader.run_command("layout.slab", (40.0, "max"))
    for pane, before in zip(panes(reader)[:3], thin, strict=True):
        assert pane.cut is not None
        assert (pane.cut.slab_mm, pane.cut.slab) == (40.0, "max")
        assert pane.frame is not None
        assert before is not None
        assert (pane.frame.stored >= before.stored.astype(int) - 1).all()


def test_another_patient_is_never_beside_the_first(application: Application, tmp_path: Path) -> None:
    write_chest(tmp_path / "a", **SMALL_CHEST)
    write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")
    application.run_command("file.open_folder", tmp_path)
    stranger = next(
        replace(application.state.selection, patient=p, study=s, series=r, stack=r.stacks[0], index=0)  # type: ignore[type-var]
        for p in application.state.collection.patients
        for s in p.studies
        for r in s.series
        if p.name == ("Beta^Ben" if application.state.selection.patient.name == "Phantom^Chest" else "Phantom^Chest")  # type: ignore[union-attr]
    )
    application.run_command("layout.use", (2, 2))
    who = application.state.selection.patient.name  # type: ignore[union-attr]
    assert {p.selection.patient.name for p in panes(application) if p.selection is not None} == {who}
    application.run_command("layout.activate", 3)
    application.run_command("image.select", stranger)
    names = {p.selection.patient.name for p in panes(application) if p.selection is not None}
    assert names == {stranger.patient.name}


def test_an_empty_viewport_takes_the_series_that_is_chosen(reader: Application) -> None:
    reader.run_command("layout.use", (2, 2))
    first, second, third, fourth = panes(reader)
    assert first.selection is not None
    assert second.selection is not None
    assert first.selection.stack_key != second.selection.stack_key
    assert third.selection is fourth.selection is None
    reader.run_command("layout.activate", 2)
    assert reader.state.selection is None
    reader.run_command("image.select", first.selection)
    assert reader.state.frame is not None
    assert panes(reader)[0].selection is first.selection


def test_fewer_viewports_keep_the_one_in_use(reader: Application) -> None:
    reader.run_command("layout.use", (1, 2))
    reader.run_command("layout.activate", 1)
    used = reader.state.selection
    reader.run_command("layout.use", (1, 1))
    assert reader.state.active == 0
    assert reader.state.selection is used
    assert reader.state.frame is not None
    assert not reader.state.parked


def test_undo_belongs_to_the_viewport_in_which_it_was_done(reader: Application) -> None:
    reader.run_command("layout.planes")
    reader.run_command("view.rotate_left")
    reader.run_command("layout.activate", 1)
    assert not reader.session.can_undo
    reader.run_command("layout.activate", 0)
    reader.run_command("edit.undo")
    assert reader.state.view.quarter_turns == 0


def test_a_series_that_cannot_be_cut_says_why(application: Application, tmp_path: Path) -> None:
    for index in range(3):
        write_radiograph(tmp_path / f"{index}.dcm", SeriesInstanceUID="2.25.8", StudyInstanceUID="2.25.7")
    application.run_command("file.open_folder", tmp_path)
    assert len(application.state.selection.stack.images) == 3  # type: ignore[union-attr]
    application.run_command("layout.planes")
    assert application.state.layout == (1, 1)
    assert application.state.frame is not None
    assert application.state.notice is not None
    assert "do not say where each slice lies" in application.state.notice.text


def test_opening_something_else_leaves_one_viewport(reader: Application, tmp_path: Path) -> None:
    reader.run_command("layout.planes")
    other = tmp_path.parent / "other.dcm"
    write_radiograph(other, patient_id="B2", name="Beta^Ben")
    reader.run_command("file.open_files", [other])
    assert reader.state.layout == (1, 1)
    assert not reader.state.parked
    assert reader.volume is None
    assert reader.state.cut is None
    assert reader.state.frame is not None


def test_the_cine_goes_round_and_stops_for_another_patient(reader: Application) -> None:
    reader.run_command("image.last")
    last = reader.state.selection
    assert last is not None
    reader.run_command("image.play_on")
    assert reader.state.selection is last  # it was not started
    reader.run_command("image.cine")
    reader.run_command("image.play_on")
    assert reader.state.selection.index == 0
    reader.run_command("image.play_on")
    assert reader.state.selection.index == 1
    reader.run_command("layout.planes")
    reader.run_command("image.last")
    reader.run_command("image.play_on")
    assert reader.state.cut is not None
    assert reader.state.cut.at_mm == pytest.approx(-145.0)
    reader.run_command("file.close")
    assert not reader.state.is_playing


def test_the_cine_waits_for_images_that_are_not_there_yet(reader: Application) -> None:
    reader.run_command("image.cine")
    shown = reader.state.selection
    reader.session.update(frame=None)
    reader.run_command("image.play_on")
    assert reader.state.selection is shown


def test_the_cine_goes_on_after_an_image_that_cannot_be_read(reader: Application) -> None:
    reader.run_command("image.show", 20)
    reader.run_command("image.cine")
    reader.session.update(frame=None, frame_problem="The file ends before its pixels.")
    reader.run_command("image.play_on")
    assert reader.state.selection.index == 21
    assert reader.state.frame is not None
    assert reader.state.is_playing


def two_series(app: Application, folder: Path) -> None:
    """Two series of one examination: one frame of reference, other pixels."""
    write_chest(folder / "a", **SMALL_CHEST)
    for index, path in enumerate(write_chest(folder / "b", **SMALL_CHEST | {"size": 80, "spacing_mm": 4.0})):
        other, first = pydicom.dcmread(path), pydicom.dcmread(folder / "a" / f"{index:03d}.dcm")
        other.StudyInstanceUID, other.FrameOfReferenceUID = first.StudyInstanceUID, first.FrameOfReferenceUID
        other.save_as(path)
    app.run_command("file.open_folder", folder)
    app.run_command("layout.use", (1, 2))


def test_linked_series_look_at_the_same_place_as_large(application: Application, tmp_path: Path) -> None:
    two_series(application, tmp_path)
    application.run_command("view.place", (4.0, (10.0, 12.0)))
    here, there = panes(application)
    ratio = 1 if here.frame.stored.shape[0] > there.frame.stored.shape[0] else -1  # type: ignore[union-attr]
    scale = 2.0**ratio
    assert there.view.zoom == pytest.approx(4.0 * scale)
    # The first pixel's corner lies 160 mm from the middle in both: half a pixel beyond its centre.
    assert there.view.center == pytest.approx((10.0 / scale, 12.0 / scale))
    application.run_command("view.window", Window(40, 400))
    assert panes(application)[1].view.window == Window(40, 400)
    application.run_command("view.fit")
    assert panes(application)[1].view.zoom is None
    application.run_command("layout.link")
    application.run_command("view.place", (4.0, (10.0, 12.0)))
    application.run_command("view.window", Window(50, 350))
    assert panes(application)[1].view.zoom is None
    assert panes(application)[1].view.window == Window(40, 400)


def test_planes_that_cross_keep_their_own_place_and_size(reader: Application) -> None:
    reader.run_command("layout.planes")
    assert reader.state.is_linked
    before = [(pane.view.zoom, pane.view.center) for pane in panes(reader)[1:3]]
    reader.run_command("view.place", (4.0, (10.0, 12.0)))
    assert panes(reader)[0].view.zoom == 4.0
    assert [(pane.view.zoom, pane.view.center) for pane in panes(reader)[1:3]] == before


def test_the_prior_keeps_its_own_view(reader: Application) -> None:
    reader.run_command("layout.prior")
    before = panes(reader)[1].view
    reader.run_command("view.place", (4.0, (10.0, 12.0)))
    reader.run_command("view.window", Window(50, 350))
    assert panes(reader)[1].view == before


def write_pets(folder: Path, *changes: dict[str, Any], reference: str = "2.25.9") -> None:
    for index, own in enumerate(changes):
        given = {"StudyInstanceUID": "2.25.11", "FrameOfReferenceUID": reference, "SeriesNumber": index + 1, **own}
        write_pet(folder / str(index), lambda points: np.full(points.shape[:-1], 5000.0), slices=3, **given)


def factors(app: Application) -> list[float | None]:
    return [pane.selection.image.description.suv_factor for pane in panes(app) if pane.selection is not None]


def suv_ends(state: State) -> tuple[float, float]:
    assert state.selection is not None
    factor = state.selection.image.description.suv_factor
    assert factor is not None
    assert state.view.window is not None
    low, high = window_ends(state.view.window)
    return low * factor, high * factor


@pytest.mark.reliability
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT"])
@pytest.mark.parametrize("other", [{"PatientWeight": "140"}, {"Units": "GML"}])
def test_linked_pets_show_the_same_uptake(
    other: dict[str, Any], function: VoiFunction, application: Application, tmp_path: Path
) -> None:
    write_pets(tmp_path, {}, other)
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    first, second = factors(application)
    assert first is not None
    assert second is not None
    assert first != pytest.approx(second)
    application.run_command("view.window", Window(15000, 30000, function))
    here, there = panes(application)
    assert suv_ends(there) == pytest.approx(suv_ends(here))
    application.run_command("view.invert")
    assert panes(application)[1].view.inverted


@pytest.mark.reliability
@pytest.mark.parametrize("other", [{"PatientWeight": ""}, {"Units": "CNTS"}])
def test_linked_pets_whose_values_cannot_be_compared_keep_their_own_windows(
    other: dict[str, Any], application: Application, tmp_path: Path
) -> None:
    write_pets(tmp_path, {}, other)
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    assert None in factors(application)
    application.run_command("view.window", Window(15000, 30000))
    assert panes(application)[1].view.window is None


def test_windows_that_a_protocol_or_a_series_brought_stay_apart_until_the_reader_changes_one(
    application: Application, tmp_path: Path
) -> None:
    two_series(application, tmp_path)
    lung, soft = DisplaySet(series=1, preset=7), DisplaySet(series=2, preset=5)
    application.run_command(
        "layout.use_protocols", (HangingProtocol("x", "CT", layout=(1, 2), display_sets=(lung, soft)),)
    )
    hang(application, "x")
    hung = [pane.view.window for pane in panes(application)]
    assert hung[0] != hung[1]
    for index in (1, 0):
        application.run_command("layout.activate", index)
        assert [pane.view.window for pane in panes(application)] == hung
    application.run_command("view.window", Window(40, 400))
    assert [pane.view.window for pane in panes(application)] == [Window(40, 400)] * 2


def test_one_series_beside_itself_has_two_windows_while_apart(application: Application, tmp_path: Path) -> None:
    write_chest(tmp_path, **SMALL_CHEST)
    application.run_command("file.open_folder", tmp_path)
    twice = (DisplaySet(series=1), DisplaySet(series=1))
    application.run_command("layout.use_protocols", (HangingProtocol("x", "CT", layout=(1, 2), display_sets=twice),))
    hang(application, "x")
    one, other = panes(application)
    assert one.selection is not None
    assert other.selection is not None
    assert one.selection.stack_key == other.selection.stack_key
    application.run_command("layout.link")
    application.run_command("view.window", Window(-600, 1500))
    assert [pane.view.window for pane in panes(application)].count(Window(-600, 1500)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"RescaleType": "US"}),
        ({"RescaleType": ""}, {"RescaleType": "", "RescaleIntercept": 0}),
        ({"RescaleType": "US"}, {"RescaleType": "", "RescaleIntercept": 0}),
    ],
    ids=["another type", "another unit", "neither is known"],
)
def test_linked_series_in_other_units_keep_their_own_windows(
    one: dict[str, Any], other: dict[str, Any], application: Application, tmp_path: Path
) -> None:
    write_ct(tmp_path / "1", SeriesNumber=1, **one)
    write_ct(tmp_path / "2", SeriesNumber=2, **other)
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    before = panes(application)[1].view.window
    application.run_command("view.window", Window(15000, 30000))
    assert panes(application)[1].view.window == before


T1: dict[str, Any] = {
    "Modality": "MR", "RescaleType": "US", "RescaleIntercept": 0, "SeriesDescription": "t1 tse", "ProtocolName": "t1",
    "ImageType": ["ORIGINAL", "PRIMARY", "M"],
}  # fmt: skip


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        ({}, {"SeriesDescription": "ADC", "ProtocolName": "dwi"}, False),
        ({}, {"ProtocolName": "t1 of the other knee"}, False),
        ({}, {"ImageType": ["DERIVED", "PRIMARY", "PHASE MAP"]}, False),
        ({"SeriesDescription": ""}, {"SeriesDescription": ""}, False),
        ({"RescaleType": "normalized"}, {"RescaleType": "normalized", "SeriesDescription": "t2"}, False),
        ({}, {"RescaleType": "normalized"}, False),
        ({}, {"SeriesDescription": "T1 TSE"}, True),
        ({}, {"StudyInstanceUID": "2.25.77", "StudyDate": "20200101"}, True),
    ],
    ids=["T1 and ADC", "protocol", "calculated", "no name", "normalized", "another type", "repeated", "prior"],
)
def test_values_without_a_unit_share_a_window_with_the_same_sequence_only(
    one: dict[str, Any], other: dict[str, Any], is_shared: bool, application: Application, tmp_path: Path
) -> None:
    """Of current and prior too, as long as they lie in one frame of reference."""
    write_ct(tmp_path / "1", SeriesNumber=1, **T1 | one)
    write_ct(tmp_path / "2", SeriesNumber=2, **T1 | other)
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    before = panes(application)[1].view
    application.run_command("view.window", Window(15000, 30000))
    application.run_command("view.invert")
    application.run_command("view.palette", "PET")
    here, there = panes(application)[0].view, panes(application)[1].view
    changed = before if not is_shared else replace(before, window=here.window, inverted=True, palette="PET")
    assert there == changed


@pytest.mark.parametrize("image_type", [T1["ImageType"], ["DERIVED", "PRIMARY", "ADC"]])
def test_two_stacks_of_one_series_share_a_window_without_a_name_unless_one_was_calculated(
    application: Application, tmp_path: Path, image_type: list[str]
) -> None:
    known = T1 | {"SeriesDescription": "", "ProtocolName": ""}
    write_ct(tmp_path / "1", series="2.25.55", **known)
    other = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "ImageType": image_type}
    write_ct(tmp_path / "2", series="2.25.55", **known | other)
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    application.run_command("view.window", Window(15000, 30000))
    assert (panes(application)[1].view.window == Window(15000, 30000)) == (image_type == T1["ImageType"])


def test_linked_series_of_one_unit_share_a_window_whether_the_file_names_it_or_not(
    application: Application, tmp_path: Path
) -> None:
    write_ct(tmp_path / "1", SeriesNumber=1)
    write_ct(tmp_path / "2", SeriesNumber=2, RescaleType="")
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    application.run_command("view.window", Window(15000, 30000))
    assert panes(application)[1].view.window == Window(15000, 30000)


@pytest.mark.reliability
def test_a_plane_without_suv_shares_no_window_of_suv(application: Application, tmp_path: Path) -> None:
    """Its slices have different factors, so that no single one holds for it."""
    write_pets(tmp_path, {}, {"PatientWeight": "140"})
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.use", (1, 2))
    there = panes(application)[1]
    application.run_command("layout.planes")
    here = application.state
    assert here.cut is not None
    assert here.frame is not None
    assert values_ratio(here, there) is not None
    description = replace(here.frame.description, suv_factor=None)
    assert values_ratio(replace(here, frame=replace(here.frame, description=description)), there) is None


@pytest.mark.reliability
@pytest.mark.parametrize("weight", ["140", ""])
def test_an_earlier_pet_shows_the_same_uptake_or_its_own_window(
    weight: str, application: Application, tmp_path: Path
) -> None:
    prior = {"StudyInstanceUID": "2.25.12", "StudyDate": "20200101", "FrameOfReferenceUID": "2.25.10"}
    write_pets(tmp_path, {}, {**prior, "PatientWeight": weight})
    application.run_command("file.open_folder", tmp_path)
    application.run_command("view.window", Window(15000, 30000))
    application.run_command("layout.prior")
    here, there = panes(application)
    assert there.selection is not None
    assert there.selection.study.date == "20200101"
    if not weight:
        assert there.view.window is None
    else:
        assert there.view.window != here.view.window
        assert suv_ends(there) == pytest.approx(suv_ends(here))


def test_studies_are_closed_from_an_empty_viewport_too(application: Application, tmp_path: Path) -> None:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm", BodyPartExamined="HAND")])
    application.run_command("layout.use", (1, 2))
    application.run_command("layout.activate", 1)
    assert application.state.selection is None
    application.run_command("file.close")
    assert not application.state.collection.patients
    assert all(pane.selection is None for pane in panes(application))

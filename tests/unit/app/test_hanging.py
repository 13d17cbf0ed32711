"""Hanging protocols: the right image in the right viewport, of one patient only, and words where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.uid import generate_uid

from medviewer.app.commands import COMMANDS, choices_now, named
from medviewer.app.hanging import protocol_of
from medviewer.app.hanging_protocol import BUILT_IN, DisplaySet, HangingProtocol
from medviewer.app.on_screen import pane_state, selections
from medviewer.app.state import State
from medviewer.domain.study import Window
from medviewer.imaging.reslice import reslice, standard_grid
from medviewer.imaging.volume import read_volume
from tests.dicom_maker import write_volumes
from tests.phantoms import SMALL_CHEST, write_chest
from tests.radiographs import write_radiograph, write_slices

if TYPE_CHECKING:
    from medviewer.app.application import Application

STUDY = {"StudyInstanceUID": generate_uid()}


def panes(app: Application) -> list[State]:
    return [pane_state(app.state, index) for index in range(app.state.layout[0] * app.state.layout[1])]


def shown(app: Application) -> list[tuple[str, str] | None]:
    """Study date and view of each viewport."""
    return [
        (s.selection.study.date, s.selection.image.description.view_position) if s.selection else None
        for s in panes(app)
    ]


def hang(app: Application, name: str) -> None:
    app.run_command("layout.hang", [one.name for one in app.state.hanging].index(name))


def write_chests(folder: Path, *dates: str, view: str = "PA", **changes: Any) -> None:
    for date in dates:
        write_radiograph(folder / f"{view}{date}.dcm", StudyDate=date, ViewPosition=view, **changes)


def open_all(app: Application, folder: Path) -> None:
    app.run_command("file.open_folder", folder)


def test_a_chest_radiograph_hangs_beside_its_prior_when_it_is_opened(application: Application, tmp_path: Path) -> None:
    write_chests(tmp_path, "20040101", "20050203", "20030101")
    open_all(application, tmp_path)
    assert application.state.layout == (1, 2)
    assert shown(application) == [("20050203", "PA"), ("20040101", "PA")]
    assert all(pane.frame is not None for pane in panes(application))


@pytest.mark.parametrize("first", ["20040101", "20050203"])
def test_what_is_on_screen_stays_what_the_reader_works_on(application: Application, tmp_path: Path, first: str) -> None:
    """The file found first is shown at once, whichever it is; hanging puts it in its place and does not leave it."""
    write_chests(tmp_path / "a", first)
    write_chests(tmp_path / "b", *({"20040101", "20050203"} - {first}))
    application.run_command("file.open_files", [tmp_path / "a", tmp_path / "b"])
    assert shown(application) == [("20050203", "PA"), ("20040101", "PA")]
    assert application.state.selection is not None
    assert application.state.selection.study.date == first
    again = application.state.selection.image.key
    hang(application, "Chest PA, current and prior")
    assert shown(application) == [("20050203", "PA"), ("20040101", "PA")]
    assert application.state.selection.image.key == again


def test_another_patient_is_never_hung_beside(application: Application, tmp_path: Path) -> None:
    write_chests(tmp_path / "a", "20050203")
    write_chests(tmp_path / "b", "20040101", patient_id="B2", name="Beta^Bert")
    open_all(application, tmp_path)
    assert application.state.layout == (1, 1)
    hang(application, "Chest PA, current and prior")
    now, prior = panes(application)
    assert now.selection is not None
    assert prior.selection is None
    assert prior.vacancy is not None
    assert prior.vacancy.sentence == "No prior radiograph is open."
    assert prior.vacancy.wanted == "CHEST/THORAX · PA"


@pytest.mark.parametrize("changes", [{"StudyDate": ""}, {"StudyDate": "20050203"}])
def test_a_study_that_is_not_known_to_be_earlier_is_no_prior(
    application: Application, tmp_path: Path, changes: dict[str, str]
) -> None:
    write_radiograph(tmp_path / "a.dcm", StudyDate="20050203")
    write_radiograph(tmp_path / "b.dcm", **changes)
    open_all(application, tmp_path)
    hang(application, "Chest PA, current and prior")
    assert application.state.layout == (1, 2)
    assert [pane.selection is None for pane in panes(application)] == [False, True]


def test_another_view_or_body_part_is_no_prior_image(application: Application, tmp_path: Path) -> None:
    write_chests(tmp_path, "20050203")
    write_chests(tmp_path / "a", "20040101", view="AP")
    write_chests(tmp_path / "b", "20030101", BodyPartExamined="ABDOMEN")
    open_all(application, tmp_path)
    assert shown(application) == [("20050203", "PA"), None]
    vacancy = panes(application)[1].vacancy
    assert vacancy is not None
    assert vacancy.sentence == "The prior study has no such image."


def test_a_body_part_that_the_file_states_is_believed_before_its_description(
    application: Application, tmp_path: Path
) -> None:
    write_chests(tmp_path, "20050203")
    write_chests(tmp_path / "b", "20040101", BodyPartExamined="ABDOMEN", StudyDescription="Chest and abdomen")
    open_all(application, tmp_path)
    hang(application, "Chest PA, current and prior")
    assert shown(application) == [("20050203", "PA"), None]


def test_the_series_on_screen_stays_where_several_fit(application: Application, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        changes = STUDY | {"SeriesNumber": number, "SeriesInstanceUID": f"1.2.{number}", "ViewPosition": "AP"}
        write_radiograph(tmp_path / f"{number}.dcm", **changes)
    open_all(application, tmp_path)
    application.run_command("series.next")
    assert application.state.selection is not None
    before = application.state.selection.image.key
    hang(application, "As it comes")
    assert application.state.selection.image.key == before


def test_pa_and_lateral_hang_beside_each_other_though_they_are_one_series(
    application: Application, tmp_path: Path
) -> None:
    same = STUDY | {"SeriesInstanceUID": generate_uid(), "StudyDate": "20050203"}
    write_radiograph(tmp_path / "1.dcm", ViewPosition="LL", InstanceNumber=1, **same)
    write_radiograph(tmp_path / "2.dcm", ViewPosition="PA", InstanceNumber=2, **same)
    open_all(application, tmp_path)
    assert shown(application) == [("20050203", "PA"), ("20050203", "LL")]
    keys = [pane.selection.image.key for pane in panes(application) if pane.selection]
    assert len(set(keys)) == 2


def breast(path: Path, side: str, view: str, orientation: list[str], **changes: Any) -> None:
    write_radiograph(
        path / f"{side}{view}{changes.get('StudyDate', '')}.dcm", Modality="MG", BodyPartExamined="BREAST", ViewPosition=view, ImageLaterality=side,
        PatientOrientation=orientation, **({"StudyDate": "20050203"} | STUDY | changes),
    )  # fmt: skip


def test_mammograms_hang_back_to_back(application: Application, tmp_path: Path) -> None:
    """All are stored as a machine may: the front to the right, and one also with the inner side up."""
    breast(tmp_path, "L", "CC", ["A", "R"])
    breast(tmp_path, "R", "CC", ["A", "R"])  # its upper edge is L, the inner side
    breast(tmp_path, "L", "MLO", ["A", "FR"])
    breast(tmp_path, "R", "MLO", ["A", "FL"])
    open_all(application, tmp_path)
    assert application.state.layout == (2, 2)
    found = [
        (s.selection.image.description.image_laterality, s.selection.image.description.view_position)
        for s in panes(application)
        if s.selection
    ]
    assert found == [("R", "MLO"), ("L", "MLO"), ("R", "CC"), ("L", "CC")]
    flips = [(s.view.flip_horizontal, s.view.flip_vertical) for s in panes(application)]
    assert flips == [(True, False), (False, False), (True, True), (False, False)]


def test_a_mammogram_that_does_not_say_which_way_it_lies_is_not_flipped(
    application: Application, tmp_path: Path
) -> None:
    breast(tmp_path, "R", "MLO", [])
    open_all(application, tmp_path)
    first, *others = panes(application)
    assert first.selection is not None
    assert not first.view.flip_horizontal
    assert not first.view.flip_vertical
    assert [s.vacancy.wanted for s in others if s.vacancy] == ["L · MLO", "R · CC", "L · CC"]


def test_a_side_that_the_file_does_not_say_is_not_guessed(application: Application, tmp_path: Path) -> None:
    breast(tmp_path, "", "MLO", ["A", "FR"], SeriesDescription="R MLO")
    open_all(application, tmp_path)
    assert application.state.layout == (1, 1)


def test_mammograms_hang_above_their_prior(application: Application, tmp_path: Path) -> None:
    for side, view in (("R", "MLO"), ("L", "MLO"), ("R", "CC"), ("L", "CC")):
        breast(tmp_path, side, view, ["P", "F"])
        breast(tmp_path, side, view, ["P", "F"], StudyDate="20040101", StudyInstanceUID="1.2.3")
    open_all(application, tmp_path)
    assert application.state.layout == (2, 4)
    assert [s.selection.study.date for s in panes(application) if s.selection] == ["20050203"] * 4 + ["20040101"] * 4


def test_the_latest_study_is_hung_first_whichever_file_is_found_first(application: Application, tmp_path: Path) -> None:
    for number, date in enumerate(("20030101", "20050203", "20040101")):
        write_chests(tmp_path / str(number), date)
    application.run_command("file.open_files", [tmp_path / str(number) for number in range(3)])
    assert shown(application) == [("20050203", "PA"), ("20040101", "PA")]


def test_opening_never_goes_over_to_a_study_of_another_kind(application: Application, tmp_path: Path) -> None:
    write_chests(tmp_path / "a", "20040101")
    write_radiograph(tmp_path / "b" / "1.dcm", StudyDate="20050203", Modality="CT")
    application.run_command("file.open_files", [tmp_path / "a", tmp_path / "b"])
    assert application.state.selection is not None
    assert application.state.selection.series.modality == "CR"
    assert len(application.state.collection.patients) == 1


def test_nothing_is_hung_once_the_reader_has_begun(application: Application, tmp_path: Path) -> None:
    write_chests(tmp_path, "20040101", "20050203")
    application.session.watch(
        lambda old, new: (
            application.run_command("layout.use", (2, 1))
            if old.selection is None and new.selection is not None
            else None
        )
    )
    open_all(application, tmp_path)
    assert application.state.layout == (2, 1)


def test_a_study_of_another_kind_comes_as_it_is(application: Application, tmp_path: Path) -> None:
    write_slices(tmp_path, 4)
    open_all(application, tmp_path)
    assert application.state.layout == (1, 1)
    before = application.state
    hang(application, "Chest PA, current and prior")
    assert application.state.selection is before.selection
    assert application.state.layout == (1, 1)
    assert application.state.notice is not None
    assert application.state.notice.text.startswith("Nothing of this study fits")


def test_three_planes_are_cut_where_the_image_is(application: Application, tmp_path: Path) -> None:
    write_chest(tmp_path, **SMALL_CHEST)
    open_all(application, tmp_path)
    application.run_command("image.show", 12)
    shown_before = application.state.selection
    assert shown_before is not None
    hang(application, "CT or MR, three planes")
    assert [s.cut.plane if s.cut else None for s in panes(application)] == ["axial", "coronal", "sagittal", None]
    assert application.state.selection is not None
    assert (application.state.active, application.state.selection.index) == (3, 12)
    volume = read_volume(shown_before.stack)
    for pane in panes(application)[:3]:
        assert pane.cut is not None
        assert pane.frame is not None
        expected = reslice(volume, standard_grid(volume, pane.cut.plane, pane.cut.at_mm))
        np.testing.assert_array_equal(pane.frame.stored, expected.stored)
    plane = shown_before.image.description.plane
    assert plane is not None
    assert panes(application)[0].cut.at_mm == pytest.approx(plane.position[2])  # type: ignore[union-attr]


def test_window_plane_words_and_series_order_are_asked_for(application: Application, tmp_path: Path) -> None:
    write_chest(tmp_path, **SMALL_CHEST)
    open_all(application, tmp_path)
    sets = (
        DisplaySet(plane="coronal"), DisplaySet(plane="axial", preset=7, inverted=True), DisplaySet(words="NOT THERE"),
        DisplaySet(series=2), DisplaySet(series=1), DisplaySet(),
    )  # fmt: skip
    application.run_command("layout.use_protocols", (HangingProtocol("x", "CT", layout=(2, 3), display_sets=sets),))
    hang(application, "x")
    coronal, first, *others = panes(application)
    assert coronal.selection is None
    assert first.view.window == Window(-600, 1500, name="Lung")
    assert first.view.inverted
    assert [s.selection is not None for s in others] == [False, False, True, False]


def test_a_preset_in_hounsfield_units_is_not_used_for_other_values(application: Application, tmp_path: Path) -> None:
    write_chests(tmp_path, "20050203")
    open_all(application, tmp_path)
    application.run_command("layout.use_protocols", (HangingProtocol("x", display_sets=(DisplaySet(preset=7),)),))
    hang(application, "x")
    assert application.state.view.window is None


def test_the_layout_on_screen_becomes_a_protocol_that_brings_it_back(application: Application, tmp_path: Path) -> None:
    write_chests(tmp_path, "20040101", "20050203")
    open_all(application, tmp_path)
    application.run_command("layout.activate", 0)
    application.run_command("view.invert")
    application.run_command("view.palette", "PET")
    made = protocol_of(application.state, "Mine")
    assert made.priors == 1
    assert (made.modality, made.body_part, made.layout) == ("CR", "CHEST", (1, 2))
    assert [(one.prior, one.view) for one in made.display_sets] == [(0, "PA"), (1, "PA")]
    assert made.display_sets[application.state.active].inverted
    assert [one.palette for one in made.display_sets] == ["PET", ""]
    application.run_command("view.reset")
    application.run_command("layout.use", (1, 1))
    application.run_command("layout.use_protocols", (made,))
    hang(application, "Mine")
    assert shown(application) == [("20050203", "PA"), ("20040101", "PA")]
    assert (application.state.view.palette, application.state.view.inverted) == ("PET", True)


def test_only_a_protocol_that_is_on_is_used_when_opening(application: Application, tmp_path: Path) -> None:
    write_chests(tmp_path, "20040101", "20050203")
    application.run_command("layout.use_protocols", tuple(replace(one, when_opening=False) for one in BUILT_IN))
    open_all(application, tmp_path)
    assert application.state.layout == (1, 1)


def test_the_first_that_fits_is_used(application: Application, tmp_path: Path) -> None:
    write_chests(tmp_path, "20040101", "20050203")
    tall = HangingProtocol("Tall", "CR", layout=(2, 1), display_sets=(DisplaySet(), DisplaySet(prior=1)))
    application.run_command("layout.use_protocols", (tall, *BUILT_IN))
    open_all(application, tmp_path)
    assert application.state.layout == (2, 1)


KNEES = HangingProtocol("Knees", "CR", "KNEE", layout=(1, 2), display_sets=(DisplaySet(), DisplaySet(prior=1)))


@pytest.mark.reliability
@pytest.mark.parametrize("prior_first", [False, True])
@pytest.mark.parametrize("told", ["by the file", "by words", "by a letter"])
def test_a_protocol_that_asks_for_no_side_hangs_no_prior_of_the_other(
    told: str, prior_first: bool, application: Application, tmp_path: Path
) -> None:
    def write(date: str, side: str, **changes: Any) -> None:
        words = {"StudyDescription": f"Knee {side if told == 'by words' else side[0]}"}
        own = {"ImageLaterality": side[0]} if told == "by the file" else words
        write_chests(tmp_path, date, BodyPartExamined="KNEE", **own, **changes)

    write("20050203", "Left")
    write("20040101", "Right")
    sets = KNEES.display_sets[:: -1 if prior_first else 1]
    application.run_command("layout.use_protocols", (replace(KNEES, display_sets=sets),))
    open_all(application, tmp_path)
    now, prior = panes(application)[:: -1 if prior_first else 1]
    assert now.selection is not None
    assert now.selection.study.date == "20050203"
    assert prior.selection is None
    assert prior.vacancy is not None
    assert prior.vacancy.sentence == "The prior study has no such image."
    assert prior.vacancy.wanted == ("" if told == "by a letter" else "L"), "a letter is no claim of a side"
    uid = application.state.collection.patients[0].studies[-1].study_instance_uid
    write("20040101", "Left", view="AP", StudyInstanceUID=uid)  # of the prior study there is one of this side too
    open_all(application, tmp_path)
    assert shown(application)[:: -1 if prior_first else 1] == [("20050203", "PA"), ("20040101", "AP")]


def test_beside_a_phase_of_a_beating_heart_the_prior_is_at_the_same_height(
    application: Application, tmp_path: Path
) -> None:
    """The third of four slices, in the first of five phases: not the third of twenty images."""
    for date in ("20200101", "20210101"):
        (tmp_path / date).mkdir()
        changes = {
            "Modality": "MR", "StudyDate": date, "StudyInstanceUID": f"2.25.{date}",
            "SeriesInstanceUID": f"2.25.{date}1", "FrameOfReferenceUID": f"2.25.{date}2",
        }  # fmt: skip
        write_volumes(tmp_path / date, 5, lambda v, _p, changes=changes: {"TriggerTime": 40 * v, **changes})
    application.run_command("file.open_folder", tmp_path)
    latest = next(one for one in selections(application.state.collection) if one.study.date == "20210101")
    application.run_command("image.select", replace(latest, index=2))
    sets = (DisplaySet(), DisplaySet(prior=1))
    application.run_command("layout.use_protocols", (HangingProtocol("x", "MR", layout=(1, 2), display_sets=sets),))
    hang(application, "x")
    prior = pane_state(application.state, 1).selection
    assert prior is not None
    assert prior.study.date == "20200101"
    assert prior.index == 2


def test_protocols_are_offered_by_their_names(application: Application) -> None:
    row = COMMANDS["layout.hang"]
    mine = HangingProtocol("Mine")
    application.run_command("layout.use_protocols", (mine, *BUILT_IN))
    offered = choices_now(row, application.state)
    assert [choice.title["en"] for choice in offered] == ["Mine", *(one.name for one in BUILT_IN)]
    assert [choice.shortcut for choice in offered][:2] == ["Ctrl+Alt+1", "Ctrl+Alt+2"]
    assert all(named(one.name)["zh"] != one.name for one in BUILT_IN)
    assert len(choices_now(row, replace(application.state, hanging=(mine,) * 30))) == 30


def test_a_model_that_runs_when_a_series_is_opened_runs_on_what_is_hung(
    application: Application, tmp_path: Path
) -> None:
    application.remember(run_when_opened=True)
    write_chests(tmp_path / "1", "20050203", view="LL", StudyInstanceUID="1.2.3")  # found first, shown at once
    write_chests(tmp_path / "2", "20050203", StudyInstanceUID="1.2.3")
    write_chests(tmp_path / "3", "20040101")
    application.run_command("file.open_files", [tmp_path / name for name in "123"])
    now = application.state.selection
    assert now is not None
    assert now.image.description.view_position == "PA"
    assert [subject.image_key for subject in application.state.answers][-1] == now.image.key


def test_a_study_that_grew_while_it_was_hung_is_hung_again(application: Application, tmp_path: Path) -> None:
    write_chests(tmp_path, "20040101", "20050203")
    open_all(application, tmp_path)
    application.run_command("layout.activate", 0)
    now = application.state.selection
    assert now is not None
    # The same study as another object, as a scan that goes on leaves it in a viewport whose image it did not find.
    application.session.update(selection=replace(now, study=replace(now.study)))
    hang(application, "Chest PA, current and prior")
    assert shown(application)[0] == ("20050203", "PA")

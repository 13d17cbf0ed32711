"""Presentation states in the application: only for the images that they name, undone and put aside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medviewer.app.on_screen import appearance_of, overlays_of, presentations_of, shown_presentation
from medviewer.app.panes import picture_of
from medviewer.app.state import View
from medviewer.domain.study import Window
from tests.dicom_maker import AXIAL, make_dataset, write_dataset
from tests.presentations import window, write_state

if TYPE_CHECKING:
    from medviewer.app.application import Application

PIXELS = np.arange(48, dtype=np.uint16).reshape(6, 8) * 10


def source(number: int, **attributes: Any) -> Any:
    return make_dataset(
        PIXELS, SOPInstanceUID=f"2.25.4{number}", ImagePositionPatient=[0, 0, number], InstanceNumber=number,
        WindowCenter="200", WindowWidth="300", **AXIAL, **attributes,
    )  # fmt: skip


@pytest.fixture
def opened(application: Application, tmp_path: Path) -> Application:
    """Two images; one state is for the first of them, one for both."""
    images = [source(number) for number in (1, 2)]
    for number, image in enumerate(images):
        write_dataset(tmp_path / f"{number}.dcm", image)
    write_state(
        tmp_path / "one.dcm", images[0], SOPInstanceUID="2.25.91", ImageRotation=90, ImageHorizontalFlip="Y",
        SoftcopyVOILUTSequence=[window(100, 50)],
    )  # fmt: skip
    write_state(
        tmp_path / "two.dcm", *images, SOPInstanceUID="2.25.92", PresentationLUTShape="INVERSE",
        SoftcopyVOILUTSequence=[window(300, 60)],
    )  # fmt: skip
    application.run_command("file.open_folder", tmp_path)
    application.run_command("image.first")
    return application


def drawn(app: Application) -> np.ndarray:
    """The grey levels on screen."""
    picture = picture_of(app, 0, app.state)
    assert picture is not None
    patch = picture.draw(app.state.view.window, app.state.view.inverted, 0, (0, 0, 6, 8))
    return patch.pixels & 0xFF


def expected(center: float, width: float, *, is_inverse: bool = False) -> np.ndarray:
    levels = np.clip((PIXELS - (center - 0.5)) / (width - 1) + 0.5, 0, 1)
    return np.rint(255 * (1 - levels if is_inverse else levels))


def test_brighter_is_brighter_also_where_a_state_inverts(opened: Application) -> None:
    for inverted in (False, True):
        for state in ("", "2.25.91", "2.25.92"):
            opened.session.update(view=View(presentation=state, inverted=inverted))
            before = drawn(opened).mean()
            opened.run_command("view.adjust", (0, 2))
            assert drawn(opened).mean() > before, (state, inverted)


def test_states_are_offered_for_the_images_that_they_name(opened: Application) -> None:
    assert [one.sop_instance_uid for one in presentations_of(opened.state)] == ["2.25.91", "2.25.92"]
    opened.run_command("image.next")
    assert [one.sop_instance_uid for one in presentations_of(opened.state)] == ["2.25.92"]


def test_the_image_is_shown_as_each_state_says_and_then_as_it_is(opened: Application) -> None:
    np.testing.assert_allclose(drawn(opened), expected(200, 300), atol=1)
    opened.run_command("view.next_presentation")
    assert opened.state.view == View(presentation="2.25.91", quarter_turns=1, flip_horizontal=True)
    np.testing.assert_allclose(drawn(opened), expected(100, 50), atol=1)
    opened.run_command("view.next_presentation")
    assert opened.state.view == View(presentation="2.25.92")
    np.testing.assert_allclose(drawn(opened), expected(300, 60, is_inverse=True), atol=1)
    opened.run_command("view.next_presentation")
    assert opened.state.view == View()
    np.testing.assert_allclose(drawn(opened), expected(200, 300), atol=1)


def test_the_reader_may_window_and_invert_on_top(opened: Application) -> None:
    opened.run_command("view.presentation", "2.25.92")
    opened.run_command("view.window", Window(150, 80))
    np.testing.assert_allclose(drawn(opened), expected(150, 80, is_inverse=True), atol=1)
    opened.run_command("view.invert")
    np.testing.assert_allclose(drawn(opened), expected(150, 80), atol=1)


def test_undo_and_reset_put_a_state_aside(opened: Application) -> None:
    opened.run_command("view.rotate_left")
    opened.run_command("view.presentation", "2.25.92")
    opened.run_command("edit.undo")
    assert opened.state.view == View(quarter_turns=1)
    opened.run_command("edit.redo")
    assert shown_presentation(opened.state) is not None
    opened.run_command("view.reset")
    assert opened.state.view == View()


def test_on_an_image_that_it_does_not_name_a_state_changes_no_pixel(opened: Application) -> None:
    opened.run_command("view.presentation", "2.25.91")
    opened.run_command("image.next")
    assert opened.state.view.presentation == "2.25.91"
    assert shown_presentation(opened.state) is None
    assert appearance_of(opened.state) is None
    np.testing.assert_allclose(drawn(opened), expected(200, 300), atol=1)


def test_a_state_that_is_not_for_this_image_cannot_be_chosen(opened: Application) -> None:
    opened.run_command("image.next")
    opened.run_command("view.presentation", "2.25.91")
    assert opened.state.view == View()


@pytest.mark.parametrize("other", [{"StudyInstanceUID": "2.25.5"}, {"PatientID": "T2"}, {"PatientID": ""}])
def test_a_state_of_another_study_or_patient_is_never_offered(
    application: Application, tmp_path: Path, other: dict[str, str]
) -> None:
    image = source(1)
    write_dataset(tmp_path / "image.dcm", image)
    write_state(tmp_path / "state.dcm", image, **other)
    application.run_command("file.open_folder", tmp_path)
    assert len(application.state.presentations) == 1
    assert presentations_of(application.state) == ()


def test_a_cut_plane_has_no_presentation_state(opened: Application) -> None:
    opened.run_command("view.presentation", "2.25.92")
    opened.run_command("layout.planes")
    assert opened.state.cut is not None
    assert presentations_of(opened.state) == ()


def test_measuring_goes_on_with_the_images_own_values(opened: Application) -> None:
    opened.run_command("view.presentation", "2.25.92")
    assert opened.state.frame is not None
    assert opened.state.frame.description.windows == (Window(200, 300),)


def test_the_view_of_a_state_is_not_saved_as_the_readers(opened: Application, tmp_path: Path) -> None:
    opened.run_command("view.presentation", "2.25.92")
    opened.run_command("measure.save_state", tmp_path)
    assert opened.state.notice is not None
    assert "“Reset view” puts it aside" in opened.state.notice.text
    assert not list(tmp_path.glob("*.pr.dcm"))


def test_states_of_what_was_open_before_are_forgotten(opened: Application, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    write_dataset(tmp_path / "new" / "a.dcm", source(1))
    opened.run_command("file.open_folder", tmp_path / "new")
    assert opened.state.presentations == ()


def with_overlay(dataset: Any, group: int, row: int) -> None:
    """An overlay plane that is one line of the image."""
    mask = np.zeros((6, 8), np.uint8)
    mask[row] = 1
    for element, kind, value in (
        (0x10, "US", 6), (0x11, "US", 8), (0x40, "CS", "G"), (0x50, "SS", [1, 1]), (0x100, "US", 1), (0x102, "US", 0),
        (0x3000, "OW", np.packbits(mask, bitorder="little").tobytes()),
    ):  # fmt: skip
        dataset.add_new((group, element), kind, value)


def test_only_the_overlay_planes_are_seen_that_the_state_switches_on(application: Application, tmp_path: Path) -> None:
    from tests.presentations import make_state

    image = source(1)
    for number in range(3):
        with_overlay(image, 0x6000 + 2 * number, number)
    write_dataset(tmp_path / "image.dcm", image)
    state = make_state(image, SOPInstanceUID="2.25.93")
    state.add_new((0x6002, 0x1001), "CS", "ONE")  # the image's own second plane
    with_overlay(state, 0x6004, 5)  # brings a plane for the third
    state.add_new((0x6004, 0x1001), "CS", "ONE")
    write_dataset(tmp_path / "state.dcm", state)
    application.run_command("file.open_folder", tmp_path)
    assert [int(np.nonzero(plane.mask)[0][0]) for plane in overlays_of(application.state)] == [0, 1, 2]
    application.run_command("view.presentation", "2.25.93")
    assert [int(np.nonzero(plane.mask)[0][0]) for plane in overlays_of(application.state)] == [1, 5]


def test_a_state_that_cannot_be_shown_is_named_and_the_others_are_offered(
    application: Application, tmp_path: Path
) -> None:
    image = source(1)
    write_dataset(tmp_path / "image.dcm", image)
    write_state(tmp_path / "a.dcm", image, ImageRotation=45)
    write_state(tmp_path / "b.dcm", image)
    application.run_command("file.open_folder", tmp_path)
    assert len(presentations_of(application.state)) == 1
    assert application.state.notice is not None
    assert "turns images by 45 degrees" in application.state.notice.text

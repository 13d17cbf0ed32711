"""Presets, flips and turns as the reader means them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from medviewer.app.panes import picture_of
from medviewer.app.presets import CT_PRESETS
from medviewer.app.state import Selection, State, View
from medviewer.app.viewing import preset_window
from medviewer.domain.errors import UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.study import LookUpTable, PixelDescription, Window
from medviewer.imaging.display import to_display
from medviewer.imaging.units import is_in_hounsfield
from tests.radiographs import write_radiograph, write_slices

if TYPE_CHECKING:
    from medviewer.app.application import Application


def state(modality: str, **changes: object) -> State:
    stored = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
    return State(frame=Frame(stored, PixelDescription(modality=modality, rows=100, columns=100, **changes)))  # type: ignore[arg-type]


@pytest.fixture
def opened(application: Application, tmp_path: Path) -> Application:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    assert application.state.frame is not None
    return application


def test_ct_presets_are_the_known_ones() -> None:
    known = {
        1: (80, 40), 2: (40, 40), 3: (200, 75), 4: (400, 40), 5: (350, 50), 6: (150, 90), 7: (1500, -600),
        8: (2000, 400), 9: (600, 300),
    }  # fmt: skip
    assert {n: (w.width, w.center) for n, w in CT_PRESETS.items()} == known
    assert preset_window(state("CT", rescale_type="HU"), 7) == CT_PRESETS[7]


@pytest.mark.parametrize(
    ("modality", "said", "is_it"),
    [
        ("CT", {"rescale_type": "HU"}, True),
        ("CT", {"rescale_intercept": -1024.0}, True),
        ("CT", {"is_signed": True}, True),
        ("CT", {}, False),  # air cannot be -1000 in unsigned values
        ("CT", {"rescale_type": "US", "rescale_intercept": -1024.0}, False),  # unspecified, says the file
        ("CT", {"rescale_type": "HU_MOD", "rescale_intercept": -1024.0}, False),
        ("MR", {"is_signed": True}, False),
    ],
)
def test_hounsfield_units_are_not_guessed(modality: str, said: dict[str, Any], is_it: bool) -> None:
    description = replace(PixelDescription(modality, 4, 4), **said)
    assert is_in_hounsfield(description) == is_it


def test_presets_in_hounsfield_units_are_not_used_for_other_values() -> None:
    window = preset_window(state("CT", rescale_type="HU_MOD"), 7)
    assert window is not None
    assert window != CT_PRESETS[7]


def test_elsewhere_the_files_windows_come_first_then_percentiles() -> None:
    own = (Window(10, 20, name="A"), Window(30, 40, name="B"))
    shown = state("CR", windows=own)
    assert [preset_window(shown, n) for n in (1, 2)] == list(own)
    full = preset_window(shown, 3)
    assert full is not None
    assert (full.center - full.width / 2, full.center + full.width / 2) == (0, 9999)


def test_percentile_presets_follow_the_image() -> None:
    window = preset_window(state("CR"), 4)
    assert window is not None
    assert window.center - window.width / 2 == pytest.approx(0.05 * 9999, rel=0.02)
    assert window.center + window.width / 2 == pytest.approx(0.95 * 9999, rel=0.02)


def test_percentile_presets_fit_values_below_one_and_leave_padding_out() -> None:
    stored = np.linspace(0, 0.01, 10_000, dtype=np.float32).reshape(100, 100)
    shown = State(frame=Frame(stored, PixelDescription(modality="PT", rows=100, columns=100)))
    window = preset_window(shown, 1)
    assert window is not None
    picture = to_display(shown.frame, window) if shown.frame is not None else stored
    assert (int(picture.min()), int(picture.max()), len(np.unique(picture))) == (0, 255, 256)
    padded = preset_window(state("CR", pixel_padding_range=(5_000, 9_999)), 1)
    assert padded is not None
    assert (padded.center - padded.width / 2, padded.center + padded.width / 2) == (0, 4_999)


def test_zero_is_made_of_the_values_and_there_are_ten() -> None:
    assert preset_window(state("CT"), 0) is None, "as such an image is opened"
    made = preset_window(state("CT", windows=(Window(99999, 1), Window(40, 400))), 0)
    assert made is not None
    assert (made.name, made.center) == ("Automatic", pytest.approx(5000, abs=1))
    table = LookUpTable(np.arange(10_000, dtype=np.uint16), 0, 16)
    assert preset_window(state("CR", voi_luts=(table,)), 0) == made
    assert preset_window(State(), 3) is None
    with pytest.raises(UsageError, match="presets"):
        preset_window(state("CT"), 10)


def seen(view: View) -> np.ndarray:
    """What the view shows of a 3 x 4 image, by numpy: flips, then counter-clockwise turns."""
    picture = np.arange(12).reshape(3, 4)
    picture = picture[:, ::-1] if view.flip_horizontal else picture
    picture = picture[::-1] if view.flip_vertical else picture
    return np.rot90(picture, view.quarter_turns)


STEPS = {
    "view.flip_horizontal": lambda p: p[:, ::-1],
    "view.flip_vertical": lambda p: p[::-1],
    "view.rotate_left": lambda p: np.rot90(p, 1),
    "view.rotate_right": lambda p: np.rot90(p, -1),
}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=8))
def test_flips_and_turns_do_to_the_picture_what_they_say(steps: list[str]) -> None:
    from medviewer.app.commands import command
    from medviewer.app.session import Session

    class Held:
        """Only the session: what these commands act on."""

        def __init__(self) -> None:
            self.session = Session()

        @property
        def state(self) -> State:
            return self.session.state

    held = Held()
    expected = seen(View())
    for step in steps:
        command(step).run(held, None)  # type: ignore[arg-type]
        expected = STEPS[step](expected)
    np.testing.assert_array_equal(seen(held.state.view), expected)


def test_reset_brings_back_how_it_was_opened_and_can_be_undone(opened: Application) -> None:
    opened.run_command("view.smooth")
    for step in ("view.invert", "view.rotate_left", "view.flip_horizontal"):
        opened.run_command(step)
    opened.run_command("view.window", Window(1, 2))
    opened.run_command("view.place", (3.0, (4.0, 5.0)))
    changed = opened.state.view
    opened.run_command("view.reset")
    assert opened.state.view == View(smooth=False)
    opened.run_command("edit.undo")
    assert opened.state.view == changed
    opened.run_command("edit.redo")
    assert opened.state.view == View(smooth=False)


def test_an_impossible_window_and_zoom_are_refused_or_bounded(opened: Application) -> None:
    opened.run_command("view.window", Window(1, 0))
    opened.run_command("view.window", Window(1, float("nan")))
    assert opened.state.view.window is None
    opened.run_command("view.place", (1e9, (0.0, 0.0)))
    assert opened.state.view.zoom == 64.0


def test_a_linear_window_does_not_become_narrower_than_the_standard_allows(opened: Application) -> None:
    """PS3.3 C.11.2.1.2.1: of LINEAR the width is 1 or more; a saved view with less could not be read back."""
    for window, least in ((Window(40, 3), 1.0), (Window(40, 3, "LINEAR_EXACT"), 3 / 1.1**20)):
        opened.run_command("view.window", window)
        for _ in range(20):
            opened.run_command("view.adjust", (-1, 0))
        assert opened.state.view.window is not None
        assert opened.state.view.window.width == pytest.approx(least)
        assert opened.state.view.window.function == window.function


def test_corner_text_goes_around(opened: Application) -> None:
    texts = []
    for _ in range(3):
        opened.run_command("view.corner_text")
        texts.append(opened.state.corner_text)
    assert texts == ["minimal", "none", "all"]


def test_a_stack_keeps_how_it_is_looked_at_and_remembers_it(application: Application, tmp_path: Path) -> None:
    same = {"patient_id": "C1", "name": "Gamma^Carl", "PatientBirthDate": "19500101", "PatientSex": "M"}
    write_radiograph(tmp_path / "z.dcm", **same)
    write_slices(tmp_path, 4)
    application.run_command("file.open_folder", tmp_path)
    stacks = [
        Selection(patient, study, series, series.stacks[0], 0)
        for patient in application.state.collection.patients
        for study in patient.studies
        for series in study.series
    ]
    slices = next(s for s in stacks if s.series.modality == "CT")
    radiograph = next(s for s in stacks if s.series.modality == "CR")
    application.run_command("image.select", slices)
    application.run_command("view.preset", 7)
    application.run_command("image.next")
    assert application.state.view.window == CT_PRESETS[7]
    application.run_command("image.select", radiograph)
    assert application.state.view.window is None
    application.run_command("image.select", slices)
    assert application.state.view.window == CT_PRESETS[7]


def inverting(explanation: str) -> Dataset:
    table = Dataset()
    table.LUTDescriptor, table.LUTExplanation = [4096, 0, 8], explanation
    table.add_new("LUTData", "OW", np.linspace(255, 0, 4096).astype("<u2").tobytes())
    return table


def grey_on_screen(app: Application) -> np.ndarray:
    """What the active viewport draws, as grey levels."""
    picture = picture_of(app, app.state.active, app.state)
    assert picture is not None
    rows, columns = picture.frame.stored.shape
    return picture.draw(app.state.view.window, False, 0, (0, 0, rows, columns)).pixels & 0xFF


def test_all_of_the_files_windows_and_tables_are_reached_by_a_key_and_undone(
    application: Application, tmp_path: Path
) -> None:
    path = write_radiograph(
        tmp_path / "a.dcm", WindowCenter=[2000, 40], WindowWidth=[4000, 400],
        WindowCenterWidthExplanation=["WIDE", "SOFT"], VOILUTSequence=[inverting("UPSIDE DOWN"), inverting("")],
    )  # fmt: skip
    application.run_command("file.open_files", [path])
    opened = grey_on_screen(application)
    names = []
    for _ in range(4):
        application.run_command("view.own_window")
        window = application.state.view.window
        assert window is not None
        names.append(window.name)
        if window.name == "UPSIDE DOWN":
            assert np.corrcoef(grey_on_screen(application).ravel(), opened.ravel())[0, 1] < -0.99
    assert names == ["SOFT", "UPSIDE DOWN", "VOI look-up table 2", "WIDE"]
    np.testing.assert_array_equal(grey_on_screen(application), opened)
    application.run_command("edit.undo")
    application.run_command("edit.undo")
    assert application.state.view.window is not None
    assert application.state.view.window.name == "UPSIDE DOWN"
    application.run_command("view.window", replace(application.state.view.window, name=""))  # as a session is restored
    application.run_command("view.own_window")
    assert application.state.view.window.name == "VOI look-up table 2"
    application.run_command("view.adjust", (1, 0))
    assert application.state.view.window.voi_lut is None, "what the reader makes of it is a window"


def test_a_file_without_windows_of_its_own_says_so(opened: Application) -> None:
    opened.run_command("view.own_window")
    assert opened.state.view.window is None
    assert opened.state.notice is not None
    assert "no window" in opened.state.notice.text


@pytest.mark.reliability
def test_a_useless_window_is_not_opened_with_and_the_strip_says_so(application: Application, tmp_path: Path) -> None:
    path = write_radiograph(tmp_path / "a.dcm", WindowCenter=[99999, 2000], WindowWidth=[1, 4000])
    application.run_command("file.open_files", [path])
    assert application.state.frame is not None
    assert [caveat.code for caveat in application.state.frame.caveats] == ["window.outside"]
    assert len(np.unique(grey_on_screen(application))) > 200
    application.run_command("view.own_window")
    assert application.state.view.window is not None
    assert application.state.view.window.center == 99999
    application.run_command("view.own_window")
    assert application.state.view.window.center == 2000

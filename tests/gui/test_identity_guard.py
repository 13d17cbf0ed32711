"""A heat map is never drawn on another image, whenever it arrives and whatever that image has of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app import analysis
from medviewer.app.on_screen import current_answer, is_record_checked
from medviewer.domain.answer import Attribution
from medviewer.domain.errors import EngineError
from tests.gui.reader import Reader, has_color, pixels
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.gui.window import MainWindow

A, B = "Alpha^Anna", "Beta^Ben"


class HeldExplanation:
    """Explains as always, but not before the test lets it; or fails."""

    def __init__(self) -> None:
        self.entered, self.gate = threading.Event(), threading.Event()
        self.is_failing = False
        self._real = analysis.explain

    def __call__(self, *args: Any, **kwargs: Any) -> Attribution:
        if self.is_failing:
            raise EngineError("No heat map today.")
        self.entered.set()
        assert self.gate.wait(30)
        return self._real(*args, **kwargs)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldExplanation]:
    explanation = HeldExplanation()
    monkeypatch.setattr(analysis, "explain", explanation)
    yield explanation
    explanation.gate.set()


@pytest.fixture
def reader(main_window: MainWindow, qtbot: Any, tmp_path: Path) -> Reader:
    acting = Reader(main_window, qtbot)
    acting.open(write_radiograph(tmp_path / "a.dcm"), write_radiograph(tmp_path / "b.dcm", patient_id="B2", name=B))
    return acting


def run_until_explaining(reader: Reader, held: HeldExplanation) -> None:
    reader.window.app.run_command("model.run")
    reader.wait(lambda: current_answer(reader.state) is not None and held.entered.is_set())


@pytest.mark.reliability
@pytest.mark.parametrize("other_has_an_answer", [False, True])
def test_another_image_is_opened_while_the_heat_map_is_made(
    reader: Reader, held: HeldExplanation, other_has_an_answer: bool
) -> None:
    viewport = reader.window.viewport
    if other_has_an_answer:
        # B has an answer of the same model but no heat map of its own: A's is the only one there is.
        reader.select(B)
        held.is_failing = True
        reader.window.app.run_command("model.run")
        reader.settle()
        assert current_answer(reader.state) is not None
        held.is_failing = False
    reader.select(A)
    reader.wait(lambda: is_record_checked(reader.state) and reader.state.frame is not None)
    run_until_explaining(reader, held)
    reader.select(B)
    reader.wait(lambda: reader.state.frame is not None)
    held.gate.set()
    reader.wait(lambda: any(subject.method for subject in reader.state.attributions))
    reader.settle()
    assert not has_color(viewport)
    assert viewport.painted_attribution is None
    # It was not lost: beside its own image it is shown.
    reader.select(A)
    reader.wait(lambda: reader.state.frame is not None)
    assert has_color(viewport)
    assert viewport.painted_attribution is not None


@pytest.mark.reliability
def test_another_study_is_opened_while_the_heat_map_is_made(
    reader: Reader, held: HeldExplanation, tmp_path: Path
) -> None:
    reader.select(A)
    reader.wait(lambda: is_record_checked(reader.state) and reader.state.frame is not None)
    run_until_explaining(reader, held)
    opened = write_radiograph(tmp_path / "other" / "c.dcm", patient_id="C3", name="Gamma^Gil")
    reader.window.app.run_command("file.open_files", [opened])
    reader.wait(lambda: reader.state.selection.patient.name == "Gamma^Gil" and reader.state.frame is not None)
    held.gate.set()
    reader.settle()
    assert reader.window.viewport.painted_attribution is None
    assert not has_color(reader.window.viewport)
    assert not reader.state.attributions


@pytest.mark.reliability
def test_a_contradicting_record_takes_the_heat_map_off_the_image(reader: Reader) -> None:
    reader.select(A)
    reader.wait(lambda: is_record_checked(reader.state) and reader.state.frame is not None)
    reader.window.app.run_command("model.run")
    reader.wait(lambda: bool(reader.state.attributions))
    assert has_color(reader.window.viewport)
    reader.window.app.session.update(record_mismatch="The image and the record contradict each other.")
    assert not has_color(reader.window.viewport)
    reader.settle()


def test_one_key_hides_the_heat_map_and_brings_it_back(reader: Reader) -> None:
    from PySide6.QtCore import Qt

    reader.select(A)
    reader.wait(lambda: is_record_checked(reader.state) and reader.state.frame is not None)
    reader.window.app.run_command("model.run")
    reader.wait(lambda: bool(reader.state.attributions))
    for is_shown in (False, True):
        reader.key(Qt.Key.Key_X)
        assert has_color(reader.window.viewport) is is_shown
    reader.settle()


def test_the_heat_map_lies_on_the_image_as_the_file_export_lays_it(reader: Reader) -> None:
    """The same colours at the same places as explain.overlay.blend, with the image flipped and turned or not."""
    import numpy as np

    from medviewer.explain.overlay import blend
    from medviewer.imaging.display import to_display

    app, viewport = reader.window.app, reader.window.viewport
    reader.select(A)
    reader.wait(lambda: is_record_checked(reader.state) and reader.state.frame is not None)
    app.run_command("model.run")
    reader.settle()
    app.session.update(corner_text="none")
    attribution = next(iter(reader.state.attributions.values()))
    overlay = reader.state.overlay
    expected = blend(
        to_display(reader.state.frame),
        attribution.placed,
        color_map=overlay.color_map,
        opacity=overlay.opacity,
        threshold=overlay.threshold,
    )
    app.run_command("view.flip_horizontal")
    app.run_command("view.rotate_left")
    expected = np.rot90(expected[:, ::-1], 1)
    placed = viewport.placement()
    assert placed is not None
    height, width = placed.size.height(), placed.size.width()
    app.run_command("view.place", (1.0, (40.0 + (height % 2) / 2, 48.0 + (width % 2) / 2)))
    transform = viewport.placement().transform
    (x0, y0), (x1, y1) = transform.map(0.0, 0.0), transform.map(80.0, 96.0)
    top, left = round(min(y0, y1)), round(min(x0, x1))
    seen = pixels(viewport)[top : top + 80, left : left + 96]
    # Where the map is drawn smooth between its values, a level of colour may differ.
    difference = np.abs(seen.astype(int) - expected.astype(int))
    assert np.percentile(difference, 99) <= 3
    assert has_color(viewport)

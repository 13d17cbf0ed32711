"""Two explanation methods in the window: four viewports with their own maps, and what the panel says of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from medviewer.app.on_screen import is_record_checked
from medviewer.app.state import State
from medviewer.explain.comparison import difference, difference_levels, difference_table
from medviewer.explain.overlay import to_levels
from medviewer.gui.cards import SignalRow
from medviewer.gui.comparison_controls import ComparisonControls
from medviewer.gui.explain_controls import MethodRow
from tests.gui import panel_states as made
from tests.gui.reader import Reader
from tests.gui.seen import all_words
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.gui.window import MainWindow


@pytest.fixture
def reader(main_window: MainWindow, qtbot: Any, tmp_path: Path) -> Reader:
    acting = Reader(main_window, qtbot)
    acting.open(write_radiograph(tmp_path / "a.dcm"))
    acting.wait(lambda: is_record_checked(acting.state))
    main_window.app.run_command("model.run")
    acting.settle()
    return acting


def test_each_viewport_draws_its_own_map_at_the_same_place(reader: Reader) -> None:
    window = reader.window
    window.findings.comparison.second.activated.emit(window.findings.comparison.second.findData("occlusion"))
    reader.settle()
    shown = window.viewports.visible
    assert len(shown) == 4
    for viewport in shown:
        viewport.grab()
    maps = [viewport.painted_heat_maps for viewport in shown]
    first, second, both, bare = maps
    assert bare is None, "the image by itself"
    assert first is not None
    assert second is not None
    assert both is not None
    assert (first.attribution.method, first.against) == ("grad-cam", None)
    assert (second.attribution.method, second.against) == ("occlusion", None)
    assert (both.attribution, both.against) == (first.attribution, second.attribution)
    levels = [viewport._overlay._levels for viewport in shown[:3]]
    assert np.array_equal(levels[0], to_levels(first.attribution.placed))
    assert np.array_equal(levels[1], to_levels(second.attribution.placed))
    assert np.array_equal(levels[2], difference_levels(difference(first.attribution.placed, second.attribution.placed)))
    window.app.run_command("layout.activate", 1)
    window.app.run_command("view.place", (4.0, (30.0, 40.0)))
    placed = [viewport.placement() for viewport in shown]
    assert {(p.zoom, p.view.center) for p in placed if p is not None} == {(4.0, (30.0, 40.0))}
    window.app.run_command("explain.toggle")
    for viewport in shown:
        viewport.grab()
    assert [viewport.painted_heat_maps for viewport in shown] == [None] * 4, "one key hides all"
    reader.settle()


def test_the_difference_is_yellow_for_the_first_and_blue_for_the_second(reader: Reader) -> None:
    """Looked at in the picture: where only one of the methods marks the image, the difference has its colour."""
    app = reader.window.app
    app.run_command("explain.compare", "occlusion")
    reader.settle()
    app.session.update(corner_text="none", drawings_shown=False)
    app.run_command("explain.threshold", 0.0)
    app.run_command("explain.opacity", 1.0)
    viewport = reader.window.viewports.visible[2]
    viewport.grab()
    layer = viewport._overlay
    colors = layer._color(app.state.overlay.color_map, 1.0, 0.0)
    rows, columns = np.unravel_index([layer._levels.argmax(), layer._levels.argmin()], layer._levels.shape)
    table = difference_table(opacity=1.0, threshold=0.0)
    for row, column, is_yellow in zip(rows, columns, (True, False), strict=True):
        if abs(int(layer._levels[row, column]) - 128) < 30:
            continue  # nowhere one method alone
        color = colors.pixelColor(int(column), int(row))
        assert (color.red() > color.blue()) is is_yellow
        assert color.alpha() == table[layer._levels[row, column], 3]
    assert layer._levels.max() > 158 or layer._levels.min() < 98


def compared(first: np.ndarray, second: np.ndarray) -> State:
    state = replace(made.explained(), overlay=replace(made.explained().overlay, second="occlusion"))
    one = replace(made.attribution(98, 97), saliency=first)
    other = replace(made.attribution(50, 40), method="occlusion", method_title="Occlusion", saliency=second)
    keys = {made.subject(state, a.method, "Pneumonia"): a for a in (one, other)}
    return replace(state, attributions=MappingProxyType(keys))


@pytest.fixture
def panel(qtbot: Any) -> ComparisonControls:
    rows = [
        MethodRow("grad-cam", "Grad-CAM"),
        MethodRow("occlusion", {"en": "Occlusion", "zh": "遮挡"}),
        MethodRow("rise", "RISE", frozenset({"another-model"})),
    ]
    controls = ComparisonControls(rows)
    qtbot.addWidget(controls)
    return controls


MAP = np.random.default_rng(2).normal(size=(14, 14)).astype(np.float32)


def test_only_what_the_model_can_be_asked_by_is_offered_and_not_what_is_shown(panel: ComparisonControls) -> None:
    panel.show_state(made.explained(), "")
    offered = [panel.second.itemData(i) for i in range(panel.second.count())]
    assert offered == ["", "occlusion"]
    assert panel.end.isHidden()


def test_two_methods_that_agree_are_said_to_and_that_it_is_no_proof(panel: ComparisonControls) -> None:
    panel.show_state(compared(MAP, MAP * 3), "")
    text = all_words(panel)
    assert "Agreement: 1.00" in text
    assert "largely the same places" in text
    assert "Agreement is no proof" in text
    assert "Occlusion: not clearly better than chance" in text
    assert "Grad-CAM: better than chance" in text
    assert not panel.end.isHidden()


def test_two_methods_that_disagree_are_a_caution(panel: ComparisonControls) -> None:
    panel.show_state(compared(MAP, -MAP), "")
    text = all_words(panel)
    assert "at most one of them shows where the model looked" in text
    assert [row.level for row in panel.findChildren(SignalRow)] == ["caution"]


def test_a_second_map_under_way_is_said_in_both_languages(panel: ComparisonControls) -> None:
    state = replace(made.explained(), overlay=replace(made.explained().overlay, second="occlusion"))
    panel.show_state(state, "Occlusion 3/9")
    assert "Working out the second heat map" in all_words(panel)
    assert "Agreement" not in all_words(panel)


def test_maps_leave_and_come_back_by_themselves_with_the_impression(reader: Reader, qtbot: Any) -> None:
    """Looked at as the screen does, which is drawn again only where it is asked for; not by a picture taken anew."""
    app, window = reader.window.app, reader.window
    app.run_command("explain.compare", "occlusion")
    reader.settle()
    shown = window.viewports.visible
    qtbot.waitUntil(lambda: [v.painted_heat_maps is not None for v in shown] == [True, True, True, False])
    app.run_command("model.read_first")
    qtbot.waitUntil(lambda: all(v.painted_heat_maps is None for v in shown))
    app.run_command("model.impression", "Clear lungs.")
    reader.settle()
    qtbot.waitUntil(lambda: [v.painted_heat_maps is not None for v in shown] == [True, True, True, False])

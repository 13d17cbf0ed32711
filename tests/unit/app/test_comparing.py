"""Two methods side by side: four viewports of one image, each with its own map, together until another layout comes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from medviewer.app import analysis
from medviewer.app.comparing import HEAT_MAPS, is_comparing
from medviewer.app.on_screen import current_attribution, pane_state, second_attribution, selections
from medviewer.domain.errors import EngineError
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine


@pytest.fixture
def compared(opened: Application) -> Application:
    opened.run_command("model.run")
    opened.run_command("explain.compare", "occlusion")
    return opened


def methods_shown(app: Application) -> list[str]:
    return [pane_state(app.state, index).heat_map for index in range(app.state.layout[0] * app.state.layout[1])]


def test_the_second_method_stands_beside_the_first(compared: Application) -> None:
    state = compared.state
    assert is_comparing(state)
    assert methods_shown(compared) == list(HEAT_MAPS)
    first, second = current_attribution(state), second_attribution(state)
    assert first is not None
    assert second is not None
    assert (first.method, second.method) == ("grad-cam", "occlusion")
    assert second.faithfulness is not None, "the second is judged as the first"
    assert {pane_state(state, index).selection for index in range(len(HEAT_MAPS))} == {state.selection}
    assert state.jobs == ()


def test_what_is_done_to_one_happens_to_all(compared: Application) -> None:
    compared.run_command("layout.activate", 2)
    compared.run_command("view.place", (3.0, (10.0, 20.0)))
    compared.run_command("view.invert")
    views = [pane_state(compared.state, index).view for index in range(len(HEAT_MAPS))]
    assert views[0] == views[1] == views[2] == views[3]
    assert views[0].zoom == 3.0
    assert views[0].inverted
    assert sorted(methods_shown(compared)) == sorted(HEAT_MAPS)


def test_another_image_comes_into_all_of_them_and_brings_no_map_of_the_first(
    application: Application, tmp_path: Path
) -> None:
    files = [write_radiograph(tmp_path / "a.dcm"), write_radiograph(tmp_path / "b.dcm")]
    application.run_command("file.open_files", files)
    a, b = selections(application.state.collection)
    application.run_command("image.select", a)
    application.run_command("model.run")
    application.run_command("explain.compare", "occlusion")
    application.run_command("layout.activate", 1)
    application.run_command("image.select", b)
    assert application.state.selection is b
    for index in range(len(HEAT_MAPS)):
        shown = pane_state(application.state, index)
        assert shown.selection is b
        assert current_attribution(shown) is None
        assert second_attribution(shown) is None


def test_none_ends_it_and_so_does_its_command(compared: Application) -> None:
    for end in (("explain.compare", ""), ("explain.end_comparison", None)):
        compared.run_command(*end)
        assert compared.state.layout == (1, 1)
        assert not compared.state.overlay.second
        assert compared.state.heat_map == "first"
        assert current_attribution(compared.state) is not None
        compared.run_command("explain.compare", "occlusion")
        assert is_comparing(compared.state)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 2)])
def test_another_layout_ends_it(compared: Application, shape: tuple[int, int]) -> None:
    compared.run_command("layout.activate", 1)
    compared.run_command("layout.use", shape)
    assert compared.state.layout == shape
    assert not compared.state.overlay.second
    assert set(methods_shown(compared)) == {"first"}


def test_choosing_the_second_as_the_first_exchanges_them(compared: Application) -> None:
    compared.run_command("explain.method", "occlusion")
    assert (compared.state.overlay.method, compared.state.overlay.second) == ("occlusion", "grad-cam")
    assert second_attribution(compared.state) is not None


def test_another_second_takes_its_place(compared: Application, fake_engine: FakeEngine) -> None:
    compared.run_command("explain.compare", "integrated-gradients")
    assert is_comparing(compared.state)
    found = second_attribution(compared.state)
    assert found is not None
    assert found.method == "integrated-gradients"
    calls = len(fake_engine.calls)
    compared.run_command("explain.compare", "occlusion")
    assert len(fake_engine.calls) == calls, "what is there is not worked out again"


def test_undo_does_not_leave_half_a_comparison(compared: Application) -> None:
    compared.run_command("explain.opacity", 0.9)
    compared.run_command("explain.compare", "")
    compared.run_command("edit.undo")
    assert is_comparing(compared.state)
    assert second_attribution(compared.state) is not None
    compared.run_command("edit.undo")
    assert is_comparing(compared.state)
    assert compared.state.overlay.opacity != 0.9
    compared.run_command("edit.undo")
    assert not compared.state.overlay.second
    assert compared.state.layout == (1, 1)
    opened_before = replace(compared.state.overlay)
    compared.run_command("explain.threshold", 0.5)
    compared.run_command("explain.compare", "occlusion")
    compared.run_command("edit.undo")
    assert compared.state.overlay.second == opened_before.second == ""
    assert compared.state.layout == (1, 1)
    assert set(methods_shown(compared)) == {"first"}


def test_nothing_is_compared_without_an_answer_or_with_itself(opened: Application) -> None:
    opened.run_command("explain.compare", "occlusion")
    assert opened.state.notice is not None
    assert "Run a model" in opened.state.notice.text
    opened.run_command("model.run")
    for method, words in (("grad-cam", "shown already"), ("tea-leaves", "no method"), ("rise", "by this method")):
        opened.run_command("explain.compare", method)
        assert opened.state.notice is not None
        assert words in opened.state.notice.text
    assert opened.state.layout == (1, 1)


def test_a_second_method_that_fails_leaves_the_first(opened: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.run_command("model.run")
    real = analysis.explain

    def failing(*args: object, **kwargs: object) -> object:
        if args[3] == "occlusion":
            raise EngineError("No heat map today.")
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(analysis, "explain", failing)
    opened.run_command("explain.compare", "occlusion")
    assert opened.state.notice is not None
    assert opened.state.notice.text == "No heat map today."
    assert not opened.state.analysis_problem
    assert current_attribution(opened.state) is not None
    assert second_attribution(opened.state) is None


def test_running_again_explains_by_both(compared: Application) -> None:
    old = second_attribution(compared.state)
    compared.run_command("model.run")
    again = second_attribution(compared.state)
    assert again is not None
    assert again is not old
    assert old is not None
    assert np.array_equal(again.saliency, old.saliency)


def test_a_comparison_is_not_remembered(compared: Application) -> None:
    compared.close()
    assert compared.settings.overlay.second == ""
    assert compared.settings.overlay.method == "grad-cam"


def test_a_method_that_the_model_does_not_know_is_exchanged_for_one_that_it_does(opened: Application) -> None:
    opened.session.update(overlay=replace(opened.state.overlay, method="smooth-grad"))
    opened.run_command("model.run")
    assert opened.state.overlay.method == "grad-cam"
    assert current_attribution(opened.state) is not None
    assert not opened.state.analysis_problem

"""Each method is right on a network whose every number is known, and a wrong question is named."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.answer import Attribution
from medviewer.domain.case import Case
from medviewer.domain.errors import EngineError, InputError, Stopped, UsageError
from medviewer.domain.progress import StopToken
from medviewer.explain.methods import METHODS, explain, methods_for, weigh
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.placement import place_saliency
from tests import fakes, outline_models

CELLS = (fakes.SIZE // fakes.STRIDE) ** 2


OF_CNN = [row.id for row in METHODS if row.id != "attention-rollout"]  # the fake network has no attention


def make_engine(folder: Path, **changes: Any) -> fakes.FakeEngine:
    allowed = {"explain": {"target_layer": "feature_map", "grid": [8, 8], "methods": [row.id for row in METHODS]}}
    fakes.make_model(folder / fakes.MODEL_ID, **(allowed | changes))
    return fakes.FakeEngine(Catalogue([folder]))


@pytest.fixture
def engine(tmp_path: Path) -> fakes.FakeEngine:
    return make_engine(tmp_path)


@pytest.fixture
def case() -> Case:
    return fakes.make_case()


def ask(engine: fakes.FakeEngine, case: Case, method: str, **options: Any) -> Attribution:
    return explain(engine, case, fakes.MODEL_ID, method, **({"n_random": 0} | options))


def tensor_of(engine: fakes.FakeEngine, case: Case) -> np.ndarray:
    return engine.encode(case, fakes.MODEL_ID).tensor[None]


def test_grad_cam_is_the_logit_laid_out_in_one_forward(engine: fakes.FakeEngine, case: Case) -> None:
    found = ask(engine, case, "grad-cam")
    logit = fakes.forward(tensor_of(engine, case))["logits"][0, 0]
    assert found.saliency.sum() + fakes.BIAS[0] == pytest.approx(logit, abs=1e-5)
    assert engine.calls == [(fakes.MODEL_ID, "model")]
    assert (found.error, found.error_name) == (None, "")


def test_grad_cam_from_gradients_equals_the_analytic_map(tmp_path: Path, case: Case) -> None:
    analytic, general = make_engine(tmp_path / "a"), make_engine(tmp_path / "b", outputs=_without_cam())
    a, b = ask(analytic, case, "grad-cam"), ask(general, case, "grad-cam")
    np.testing.assert_allclose(a.saliency, b.saliency, atol=1e-6)
    assert general.calls == [(fakes.MODEL_ID, "explain")]


def _without_cam() -> list[dict[str, Any]]:
    card = fakes.card_document(["pneumonia"], [])
    return [output for output in card["outputs"] if output["name"] != "cam"]


def test_integrated_gradients_add_up_to_the_logits_rise(engine: fakes.FakeEngine, case: Case) -> None:
    found = ask(engine, case, "integrated-gradients")
    x = tensor_of(engine, case)
    rise = np.subtract(*fakes.forward(np.concatenate([x, np.full_like(x, x.mean())]))["logits"][:, 0])
    gap = abs(found.saliency.sum() - rise) / abs(rise)
    assert found.error == pytest.approx(gap, abs=1e-4)
    assert found.error is not None
    assert found.error <= 0.05
    assert found.error_name == "completeness gap"
    assert found.saliency.shape == (fakes.SIZE, fakes.SIZE)


def test_integrated_gradients_report_a_gap_that_stays(
    engine: fakes.FakeEngine, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph whose gradients are half of what they should be is found out by the method's own error."""
    whole = fakes.gradients

    def halved(x: np.ndarray, selector: np.ndarray) -> dict[str, np.ndarray]:
        found = whole(x, selector)
        return {**found, "d_x": found["d_x"] / 2}

    monkeypatch.setattr(fakes, "gradients", halved)
    assert ask(engine, case, "integrated-gradients").error == pytest.approx(0.5, abs=0.02)


def test_occlusion_is_the_mean_fall_over_the_windows_that_cover_a_pixel(engine: fakes.FakeEngine, case: Case) -> None:
    found = ask(engine, case, "occlusion")
    x = tensor_of(engine, case)
    window, stride = 5, 3  # a seventh and a fourteenth of 32, rounded up
    whole = fakes.forward(x)["logits"][0, 0]
    falls: dict[tuple[int, int], list[float]] = {}
    for top in range(0, fakes.SIZE, stride):
        for left in range(0, fakes.SIZE, stride):
            if max(top, left) > fakes.SIZE - window + stride - 1:
                continue
            covered = x.copy()
            covered[..., top : top + window, left : left + window] = x.mean()
            fall = whole - fakes.forward(covered)["logits"][0, 0]
            for row in range(top, min(top + window, fakes.SIZE)):
                for column in range(left, min(left + window, fakes.SIZE)):
                    falls.setdefault((row, column), []).append(fall)
    assert len(falls) == fakes.SIZE**2
    for (row, column), values in falls.items():
        assert found.saliency[row, column] == pytest.approx(np.mean(values), abs=1e-5)


@pytest.mark.parametrize("method", OF_CNN)
def test_a_map_knows_where_it_came_from_and_where_it_lies(method: str, engine: fakes.FakeEngine, case: Case) -> None:
    found = ask(engine, case, method)
    answer = engine.ask(case, fakes.MODEL_ID)
    of_map, of_answer = found.provenance, answer.provenance
    assert of_map.input_sha256 == of_answer.input_sha256
    assert (of_map.model_id, of_map.model_version, of_map.model_sha256) == (
        of_answer.model_id,
        of_answer.model_version,
        of_answer.model_sha256,
    )
    assert (of_map.provider, of_map.provider_reason, set(of_map.versions)) == (
        of_answer.provider,
        of_answer.provider_reason,
        set(of_answer.versions),
    )
    assert found.finding == "pneumonia"
    assert found.placed.shape == case.images[0].stored.shape
    assert not np.isnan(found.placed).any()
    np.testing.assert_array_equal(
        found.placed, place_saliency(found.saliency, found.model_to_image, found.placed.shape)
    )
    corner = found.model_to_image @ (-0.5, -0.5, 1)
    assert corner[:2] == pytest.approx((-0.5, -0.5))
    far = found.model_to_image @ (found.saliency.shape[0] - 0.5, found.saliency.shape[1] - 0.5, 1)
    assert far[:2] == pytest.approx((found.placed.shape[0] - 0.5, found.placed.shape[1] - 0.5))
    assert not found.placed.flags.writeable


@pytest.mark.parametrize("method", OF_CNN)
def test_the_same_question_has_the_same_map(method: str, engine: fakes.FakeEngine, case: Case) -> None:
    a, b = (ask(engine, case, method, n_random=3) for _ in range(2))
    assert np.array_equal(a.saliency, b.saliency)
    assert a.faithfulness == b.faithfulness


def test_the_map_is_of_the_finding_that_was_asked_for(tmp_path: Path, case: Case) -> None:
    engine = make_engine(tmp_path, labels=("pneumonia", "effusion", "mass"))
    logits = fakes.forward(tensor_of(engine, case), 3)["logits"][0]
    maps = {name: ask(engine, case, "grad-cam", finding=name) for name in ("pneumonia", "effusion", "mass")}
    for i, (name, found) in enumerate(maps.items()):
        assert found.finding == name
        assert found.saliency.sum() + fakes.BIAS[i] == pytest.approx(logits[i], abs=1e-5)
    by_gradient = ask(engine, case, "integrated-gradients", finding="effusion")
    x = tensor_of(engine, case)
    rise = float(logits[1] - fakes.forward(np.full_like(x, x.mean()), 3)["logits"][0, 1])
    assert float(by_gradient.saliency.sum()) == pytest.approx(rise, rel=0.05)
    most_probable = ("pneumonia", "effusion", "mass")[int(np.argmax(logits))]
    assert ask(engine, case, "occlusion").finding == most_probable


def test_without_a_name_it_is_of_the_flagged_finding_though_another_is_more_probable(
    tmp_path: Path, case: Case
) -> None:
    fakes.make_model(tmp_path / "three", labels=("pneumonia", "effusion", "mass"))
    card = json.loads((tmp_path / "three" / "model.json").read_text(encoding="utf-8"))
    for label, threshold in zip(card["labels"], (0.99, 0.01, 0.99), strict=True):
        label["threshold"] = label["operating_point"]["threshold"] = threshold
    fakes.write_card(tmp_path / "three", card)
    engine = fakes.FakeEngine(Catalogue([tmp_path]))
    answer = engine.ask(case, fakes.MODEL_ID)
    assert max(answer.findings, key=lambda one: one.probability).label != "effusion"
    assert ask(engine, case, "occlusion").finding == "effusion"


def test_wrong_questions_are_named(engine: fakes.FakeEngine, case: Case) -> None:
    with pytest.raises(UsageError, match=r"grad-cam, .*integrated-gradients, .*occlusion"):
        ask(engine, case, "tea-leaves")
    with pytest.raises(UsageError, match="it reports: pneumonia"):
        ask(engine, case, "grad-cam", finding="fracture")
    with pytest.raises(UsageError, match="There is no model"):
        explain(engine, case, "another", "grad-cam")
    with pytest.raises(InputError, match="no image"):
        ask(engine, Case(), "grad-cam")


def test_a_model_is_explained_only_by_what_its_card_allows(tmp_path: Path, case: Case) -> None:
    spec = {"target_layer": "feature_map", "grid": [8, 8], "methods": ["occlusion"]}
    narrow = make_engine(tmp_path / "a", explain=spec)
    assert [row.id for row in methods_for(narrow.catalogue.card(fakes.MODEL_ID))] == ["occlusion"]
    with pytest.raises(UsageError, match="possible are: occlusion"):
        ask(narrow, case, "integrated-gradients")
    silent = make_engine(tmp_path / "b", explain=None)
    assert [row.id for row in methods_for(silent.catalogue.card(fakes.MODEL_ID))] == ["occlusion"]
    full = make_engine(tmp_path / "c")
    assert [row.id for row in methods_for(full.catalogue.card(fakes.MODEL_ID))] == OF_CNN


def test_without_a_gradient_graph_only_what_needs_none_is_offered(tmp_path: Path, case: Case) -> None:
    fakes.make_model(tmp_path / fakes.MODEL_ID)
    folder = tmp_path / fakes.MODEL_ID
    files = [("model", "model.onnx"), ("ood", "ood.npz"), ("reference", "reference.npz")]
    card = fakes.card_document(["pneumonia"], [fakes.file_entry(role, folder / name) for role, name in files])
    card["explain"]["methods"] = [row.id for row in METHODS]
    fakes.write_card(folder, card)
    engine = fakes.FakeEngine(Catalogue([tmp_path]))
    assert [row.id for row in methods_for(engine.catalogue.card(fakes.MODEL_ID))] == [
        "grad-cam",
        "class-activation",
        "occlusion",
        "rise",
    ]
    with pytest.raises(UsageError, match="possible are: grad-cam, class-activation, occlusion, rise"):
        ask(engine, case, "integrated-gradients")


@pytest.mark.parametrize("method", OF_CNN)
def test_stop_ends_a_run_that_is_under_way(method: str, engine: fakes.FakeEngine, case: Case) -> None:
    """The network is held in the middle of a run; only stopping lets it go."""
    stop, caught = StopToken(), []
    engine.gate.clear()

    def work() -> None:
        try:
            ask(engine, case, method, stop=stop, n_random=50)
        except Stopped as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert engine.entered.wait(30)
        stop.stop()
        thread.join(30)
        assert not thread.is_alive()
    finally:
        engine.gate.set()
        thread.join(30)
    assert len(caught) == 1
    assert len(engine.calls) == 1, "nothing was run after the stop"


def test_stop_between_runs_of_occlusion(engine: fakes.FakeEngine, case: Case) -> None:
    stop = StopToken()

    def progress(done: int, total: int, text: str) -> None:
        assert 0 <= done <= total
        if done > 0:
            stop.stop()

    with pytest.raises(Stopped):
        ask(engine, case, "occlusion", stop=stop, progress=progress)
    assert len(engine.calls) <= 3


def test_progress_reaches_its_end(engine: fakes.FakeEngine, case: Case) -> None:
    told: list[tuple[int, int, str]] = []
    ask(engine, case, "occlusion", n_random=4, progress=lambda *step: told.append(step))
    for text in ("Occlusion", "Comparing with random maps"):
        steps = [(done, total) for done, total, what in told if what == text]
        assert steps[-1][0] == steps[-1][1] > 0
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_a_map_shown_first_and_judged_later_is_the_same(engine: fakes.FakeEngine, case: Case) -> None:
    live = ask(engine, case, "grad-cam")
    assert live.faithfulness is None
    assert weigh(engine, case, live, n_random=6).faithfulness == ask(engine, case, "grad-cam", n_random=6).faithfulness


def test_a_map_is_not_judged_on_another_image(engine: fakes.FakeEngine, case: Case) -> None:
    live = ask(engine, case, "grad-cam")
    other = Case(images=(fakes.make_frame(seed=6),), age_years=3.0)
    with pytest.raises(UsageError, match="another image"):
        weigh(engine, other, live)


def test_a_failed_run_makes_no_map(engine: fakes.FakeEngine, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.failure = EngineError("out of memory")
    with pytest.raises(EngineError, match="out of memory"):
        ask(engine, case, "grad-cam")
    whole = fakes.forward
    monkeypatch.setattr(
        fakes, "forward", lambda x, labels=1: {k: np.full_like(v, np.nan) for k, v in whole(x, labels).items()}
    )
    with pytest.raises(EngineError, match="not numbers"):
        ask(engine, case, "grad-cam")


def test_every_row_of_the_table_says_what_it_is() -> None:
    assert len({row.id for row in METHODS}) == len(METHODS) == 11
    for row in METHODS:
        assert row.title
        assert row.say("zh_CN") == row.title_zh
        assert row.say("en") == row.title
        assert any(character.isdigit() for character in row.citation)
        assert row.needs or row.output


def test_no_runtime_is_loaded_to_explain() -> None:
    code = (
        "import sys, medviewer.explain.methods, medviewer.explain.overlay\n"
        "print(sorted({'torch', 'onnxruntime', 'captum', 'onnx', 'PySide6', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_outline_is_its_own_explanation(tmp_path: Path) -> None:
    """No method is offered of a model that outlines, and whoever asks is told so in a sentence."""
    outline_models.make(tmp_path / "m")
    engine = outline_models.OutlineEngine(Catalogue([tmp_path]))
    assert methods_for(engine.catalogue.card(outline_models.MODEL_ID)) == ()
    case = outline_models.case_of(outline_models.picture())
    for method in ("occlusion", "grad-cam"):
        with pytest.raises(UsageError, match="its own explanation"):
            explain(engine, case, outline_models.MODEL_ID, method)
    assert engine.calls == []

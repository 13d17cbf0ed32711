"""The engine with its real worker process and a tiny real network."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import onnx
import pytest
import scipy.special

from medviewer.domain.errors import CardError, EngineError, InputError, ModelError, Stopped, UsageError
from medviewer.domain.progress import StopToken
from medviewer.inference.acceptance import accept
from medviewer.inference.card import read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.stability import variants
from tests import fakes

ASKED = "fake-chest"


def test_outputs_are_those_worked_out_by_hand(engine: Engine) -> None:
    x = fakes.images(3)
    found, expected = engine.run(ASKED, {"x": x}), fakes.forward(x)
    assert set(found) == {"logits", "features", "cam"}
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], atol=1e-5)


def test_gradients_are_those_worked_out_by_hand(engine: Engine) -> None:
    x, selector = fakes.images(2), np.array([[0, 1, 0], [1, 0, -1]], np.float32)
    found, expected = engine.run("three", {"x": x, "selector": selector}, role="explain"), fakes.gradients(x, selector)
    assert set(found) == set(expected)
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], atol=1e-5)


def test_the_gradient_is_the_slope_of_the_logit(engine: Engine) -> None:
    x = fakes.images(1).astype(np.float64)
    direction = np.random.default_rng(0).normal(size=x.shape)
    slope = np.sum(engine.run(ASKED, _explain(x), role="explain")["d_x"] * direction)
    step = 1e-3
    up, down = (engine.run(ASKED, _input(x + sign * step * direction))["logits"][0, 0] for sign in (1, -1))
    assert slope == pytest.approx((up - down) / (2 * step), rel=0.02)


def _input(x: np.ndarray) -> dict[str, np.ndarray]:
    return {"x": x.astype(np.float32)}


def _explain(x: np.ndarray) -> dict[str, np.ndarray]:
    return {**_input(x), "selector": np.ones((len(x), 1), np.float32)}


@pytest.mark.parametrize("n", [2, 3, 8])
def test_a_batch_equals_its_singles(engine: Engine, n: int) -> None:
    x = fakes.images(n)
    together = engine.run(ASKED, {"x": x})
    for index in range(n):
        alone = engine.run(ASKED, {"x": x[index : index + 1]})
        for name, array in alone.items():
            np.testing.assert_allclose(array[0], together[name][index], atol=1e-6)


def test_only_the_outputs_asked_for_come_in_that_order(engine: Engine) -> None:
    assert list(engine.run(ASKED, {"x": fakes.images(1)}, outputs=["cam", "logits"])) == ["cam", "logits"]


def test_results_are_the_callers_own(engine: Engine) -> None:
    first = engine.run(ASKED, {"x": fakes.images(1)})["logits"]
    kept = first.copy()
    engine.run(ASKED, {"x": fakes.images(1, seed=9)})
    np.testing.assert_array_equal(first, kept)


def test_the_same_question_again_is_answered_from_its_own_values(engine: Engine) -> None:
    for seed in range(6):
        x = fakes.images(2, seed=seed)
        np.testing.assert_allclose(engine.run(ASKED, {"x": x})["logits"], fakes.forward(x)["logits"], atol=1e-5)


def test_outputs_of_any_size_come_back(engine: Engine) -> None:
    x = np.tile(fakes.images(1), (600, 1, 1, 1))  # its gradients are larger than the first block
    found = engine.run(ASKED, _explain(x), role="explain")
    np.testing.assert_array_equal(found["d_x"][0], found["d_x"][-1])
    np.testing.assert_allclose(engine.run(ASKED, {"x": x[:1]})["logits"], found["logits"][:1], atol=1e-6)


def test_arrays_that_are_not_contiguous_are_taken(engine: Engine) -> None:
    x = fakes.images(2)
    turned = np.ascontiguousarray(x.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    np.testing.assert_array_equal(engine.run(ASKED, {"x": turned})["logits"], engine.run(ASKED, {"x": x})["logits"])


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"y": fakes.images(1)}, None),
        ({"x": fakes.images(1)[:, :, :5]}, None),
        ({"x": fakes.images(1).astype(np.float64)}, None),
        ({"x": fakes.images(1)}, ["nothing"]),
        ({}, None),
    ],
)
def test_wrong_arrays_are_refused_and_the_worker_lives(
    engine: Engine, inputs: dict[str, np.ndarray], outputs: list[str] | None
) -> None:
    engine.start()
    before = engine.worker_pid
    with pytest.raises(EngineError, match="could not be run"):
        engine.run(ASKED, inputs, outputs=outputs)
    assert engine.worker_pid == before
    engine.run(ASKED, {"x": fakes.images(1)})


def test_unknown_models_and_roles_are_named(engine: Engine) -> None:
    with pytest.raises(UsageError, match="the models here are: fake-chest"):
        engine.run("absent", {"x": fakes.images(1)})
    with pytest.raises(CardError, match="“cam”"):
        engine.run(ASKED, {"x": fakes.images(1)}, role="cam")
    with pytest.raises(CardError, match="not a network"):
        engine.run(ASKED, {"x": fakes.images(1)}, role="ood")


def test_an_unknown_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="auto, cuda"):
        Engine(Catalogue([tmp_path]), providers=("fastest",))


def test_threads_share_the_engine(engine: Engine) -> None:
    batches = [fakes.images(1 + index % 3, seed=index) for index in range(24)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda x: engine.run(ASKED, {"x": x})["logits"], batches))
    for x, logits in zip(batches, found, strict=True):
        np.testing.assert_allclose(logits, fakes.forward(x)["logits"], atol=1e-5)


def test_a_stopped_token_ends_before_it_begins(engine: Engine) -> None:
    stop = StopToken()
    stop.stop()
    with pytest.raises(Stopped):
        engine.run(ASKED, {"x": fakes.images(1)}, stop=stop)


def test_whoever_waits_for_a_turn_can_be_stopped(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "slow", graph=fakes.slow_graph(), control_flow=["Loop"], reference=False)
    first, second = StopToken(), StopToken()
    with Engine(Catalogue([tmp_path]), providers=("cpu",)) as engine, ThreadPoolExecutor(2) as pool:
        running = pool.submit(engine.run, ASKED, {"x": fakes.images(1)}, stop=first)
        waiting = pool.submit(engine.run, ASKED, {"x": fakes.images(1)}, stop=second)
        second.stop()
        first_done = threading.Event()
        running.add_done_callback(lambda _: first_done.set())
        with pytest.raises(Stopped):
            waiting.result()
        assert not first_done.is_set()
        first.stop()
        with pytest.raises(Stopped):
            running.result()


def test_the_case_is_encoded_as_the_card_says(engine: Engine) -> None:
    prepared = engine.encode(fakes.make_case(), ASKED)
    assert prepared.tensor.shape == (1, fakes.SIZE, fakes.SIZE)
    corner = prepared.model_to_image @ [fakes.SIZE - 0.5, fakes.SIZE - 0.5, 1]
    np.testing.assert_allclose(corner, [95.5, 79.5, 1])
    with pytest.raises(InputError, match="no image"):
        engine.encode(replace(fakes.make_case(), images=()), ASKED)


def test_a_card_whose_steps_miss_the_input_shape_is_refused(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "m", preprocessing=[{"op": "resize", "rows": 8, "columns": 8}])
    with pytest.raises(CardError, match="install the model again"):
        Engine(Catalogue([tmp_path])).encode(fakes.make_case(), ASKED)


def test_an_answer_holds_all_that_it_can_be_weighed_by(engine: Engine) -> None:
    case = fakes.make_case()
    tensor = engine.encode(case, ASKED).tensor
    answer = engine.ask(case, ASKED)
    logit = fakes.forward(tensor[None])["logits"][0, 0]
    (finding,) = answer.findings
    assert answer.status == "answer"
    assert finding.probability == pytest.approx(scipy.special.expit(logit / 2.0), abs=1e-6)
    assert finding.flagged == (finding.probability >= 0.5)
    assert (finding.label, finding.code, finding.code_meaning) == ("pneumonia", "SCT:233604007", "Pneumonia")
    assert finding.threshold == 0.5
    changed = scipy.special.expit(fakes.forward(variants(tensor, (-2, 2)))["logits"][:, 0] / 2.0)
    every = [finding.probability, *changed]
    assert finding.stability == pytest.approx((min(every), max(every)), abs=1e-6)
    assert answer.calibration["temperature"] == 2.0
    assert answer.validated_on == "Children of 1 to 5 years in one made-up hospital."
    assert "95 of 100" in finding.meaning
    made = answer.provenance
    assert made.input_sha256 == hashlib.sha256(tensor.tobytes()).hexdigest()
    assert made.model_sha256 == engine.catalogue.card(ASKED).sha256
    assert (made.runtime, made.provider, made.provider_reason) == ("onnx", "CPUExecutionProvider", "it was asked for")
    assert {"medviewer", "onnxruntime", "numpy", "python"} <= made.versions.keys()
    assert datetime.fromisoformat(made.started).utcoffset() == timedelta(0)
    assert not made.is_verified


def test_the_same_question_has_the_same_answer(engine: Engine) -> None:
    first, second = (engine.ask(fakes.make_case(), "three") for _ in range(2))
    assert first.findings == second.findings
    assert len(first.findings) == 3
    assert first.provenance.input_sha256 == second.provenance.input_sha256


def test_an_adult_gets_an_answer_with_a_warning(engine: Engine) -> None:
    answer = engine.ask(fakes.make_case(age_years=64), ASKED)
    assert answer.status == "answer"
    (age,) = (guard for guard in answer.guards if guard.code == "age")
    assert (age.level, age.text) == ("warn", "Validated on ages 1-5; this patient is 64.")


def test_an_answer_speaks_chinese(engine: Engine) -> None:
    answer = engine.ask(fakes.make_case(), ASKED, language="zh")
    assert answer.model_title == "胸片测试模型"
    assert answer.findings[0].meaning.startswith("灵敏度")


def test_a_wrong_image_is_not_run(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "m")
    with Engine(Catalogue([tmp_path])) as engine:
        answer = engine.ask(fakes.make_case(view_position="LL"), ASKED)
        assert engine.worker_pid is None
    assert (answer.status, answer.findings) == ("abstained", ())
    assert answer.reasons == ("The view is LL; the model is only for frontal views (PA, AP).",)
    assert (answer.provenance.provider, answer.provenance.input_sha256) == ("", "")


def test_progress_is_told_to_the_end(engine: Engine) -> None:
    told: list[tuple[int, int, str]] = []
    engine.ask(fakes.make_case(), ASKED, progress=lambda *step: told.append(step))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize(("model_id", "level"), [("odd", "warn"), ("odder", "abstain")])
def test_a_strange_image_is_warned_of_or_refused(engine: Engine, model_id: str, level: str) -> None:
    answer = engine.ask(fakes.make_case(), model_id)
    (guard,) = (guard for guard in answer.guards if guard.code == "out_of_distribution")
    assert guard.level == level
    assert answer.status == ("abstained" if level == "abstain" else "answer")
    assert bool(answer.findings) == (level == "warn")
    assert answer.provenance.provider == "CPUExecutionProvider"


def test_weights_that_are_not_numbers_give_no_result(engine: Engine) -> None:
    answer = engine.ask(fakes.make_case(), "nan")
    assert (answer.status, answer.findings) == ("abstained", ())
    assert any(guard.code == "no_result" for guard in answer.guards)


def test_a_model_that_misses_its_reference_is_not_used(engine: Engine) -> None:
    with pytest.raises(ModelError, match="differs by"):
        engine.ask(fakes.make_case(), "other")
    (result,) = engine.verify("other")
    assert not result.passed
    assert result.largest_error > result.tolerance
    assert "do not use this model" in result.detail


@pytest.mark.parametrize(("model_id", "level"), [("rest", "warn"), ("restless", "abstain")])
def test_what_lies_outside_of_the_known_directions_is_warned_of_or_refused(
    engine: Engine, model_id: str, level: str
) -> None:
    answer = engine.ask(fakes.make_case(), model_id)
    found = {guard.code: guard.level for guard in answer.guards if guard.code.startswith("out_of_distribution")}
    assert found == {"out_of_distribution": "ok", "out_of_distribution.residual": level}
    assert answer.status == ("abstained" if level == "abstain" else "answer")


@pytest.mark.parametrize(("model_id", "level"), [("grain", "warn"), ("grainier", "abstain")])
def test_what_is_composed_otherwise_is_warned_of_or_refused(engine: Engine, model_id: str, level: str) -> None:
    answer = engine.ask(fakes.make_case(), model_id)
    found = {guard.code: guard.level for guard in answer.guards if guard.code.startswith("out_of_distribution")}
    assert found == {"out_of_distribution": "ok", "out_of_distribution.texture": level}
    assert answer.status == ("abstained" if level == "abstain" else "answer")


def test_a_card_from_before_the_residual_and_the_texture_is_still_used(engine: Engine) -> None:
    answer = engine.ask(fakes.make_case(), ASKED)
    assert answer.status == "answer"
    assert not any(guard.code.startswith("out_of_distribution.") for guard in answer.guards)


@pytest.mark.parametrize(
    ("model_id", "says"), [("no-grain", "lacks"), ("grain-misfit", "do not fit"), ("grain-nan", "not numbers")]
)
def test_a_texture_that_cannot_be_measured_is_no_answer(engine: Engine, model_id: str, says: str) -> None:
    with pytest.raises(CardError, match=says):
        engine.ask(fakes.make_case(), model_id)


def test_a_model_whose_texture_cannot_be_measured_is_not_taken_in(tmp_path: Path) -> None:
    ood = {"file": "ood.npz", "method": "mahalanobis", "warn_above": 1e8, "abstain_above": 1e9}
    limits = ood | {"texture": {"warn_above": 1e8, "abstain_above": 1e9}}
    accept(read_card(fakes.make_model(tmp_path / "whole", ood=limits, statistics=fakes.texture_arrays())))
    with pytest.raises(CardError, match="lacks one of “texture_means”, “texture_whitening”"):
        accept(read_card(fakes.make_model(tmp_path / "lacking", ood=limits)))


@pytest.mark.parametrize(
    ("model_id", "says"),
    [("no-rest", "lacks"), ("rest-misfit", "do not fit"), ("rest-nan", "not numbers"), ("rest-flat", "divide by")],
)
def test_a_residual_that_cannot_be_measured_is_no_answer(engine: Engine, model_id: str, says: str) -> None:
    with pytest.raises(CardError, match=says):
        engine.ask(fakes.make_case(), model_id)


def test_statistics_of_another_network_are_refused(engine: Engine) -> None:
    with pytest.raises(CardError, match="do not fit"):
        engine.ask(fakes.make_case(), "misfit")


def test_verify_runs_every_reference_input(engine: Engine) -> None:
    (result,) = engine.verify(ASKED)
    assert (result.passed, result.provider, result.n, result.detail) == (True, "cpu", 3, "")
    assert result.largest_error < 1e-5


def test_the_provider_and_its_reason_are_said(engine: Engine) -> None:
    assert engine.describe_provider(ASKED) == "Running on: CPU, because it was asked for"


@pytest.mark.slow
def test_least_used_sessions_are_released_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two files of 70 MB do not stay warm together in a quarter of 1 GiB; the third model is small.
    for name in ("a", "b"):
        model = fakes.model_graph()
        ballast = onnx.numpy_helper.from_array(np.zeros(70 << 18, np.float32), f"ballast-{name}")
        model.graph.initializer.append(ballast)
        fakes.make_model(tmp_path / name, id=name, graph=model, reference=False)
    fakes.make_model(tmp_path / "c", id="c", reference=False)
    x = fakes.images(1)
    verbs: list[str] = []
    with Engine(Catalogue([tmp_path]), memory_limit_bytes=1 << 30, providers=("cpu",)) as engine:
        ask = engine._supervisor.ask

        def counting(verb: str, *rest: object, **options: object) -> list[object]:
            verbs.append(verb)
            return ask(verb, *rest, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(engine._supervisor, "ask", counting)
        for name in ("a", "c", "b", "c", "a"):
            np.testing.assert_allclose(engine.run(name, {"x": x})["logits"], fakes.forward(x)["logits"], atol=1e-5)
    assert verbs.count("load") == 4  # a and b once each, c once and for good, a again


def test_a_closed_engine_starts_anew(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "m")
    engine = Engine(Catalogue([tmp_path]))
    with engine:
        engine.start(ASKED)
        first = engine.worker_pid
    assert engine.worker_pid is None
    with engine:
        engine.run(ASKED, {"x": fakes.images(1)})
        assert engine.worker_pid not in (None, first)


def test_a_worker_that_cannot_be_started_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.make_model(tmp_path / "m")

    def refused(_process: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    with Engine(Catalogue([tmp_path])) as engine:
        with monkeypatch.context() as patched:
            patched.setattr(SpawnProcess, "start", refused)
            with pytest.raises(EngineError, match="could not be started"):
                engine.run(ASKED, {"x": fakes.images(1)})
        assert engine.run(ASKED, {"x": fakes.images(1)})

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from medviewer.domain.errors import InputError, MedViewerError, ModelError, Stopped, UnsafeModelError, UsageError
from medviewer.domain.progress import StopToken, no_progress
from medviewer.explain.methods import methods_for
from medviewer.explain.question import Question
from medviewer.inference.card import read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.importing import gradients, graphs
from medviewer.inference.importing.gradients import NoGradientsError, differentiate
from medviewer.inference.importing.onnx_file import import_onnx, new_folder
from medviewer.inference.importing.questions import Answers, GraphFacts, questions, read_answers
from medviewer.inference.importing.workshop import inspect
from medviewer.inference.loading import check_graph
from tests import fakes

_CHANCE = np.random.default_rng(11)
KERNELS = _CHANCE.normal(0, 0.4, (5, 3, 3, 3)).astype(np.float32)
HEAD = _CHANCE.normal(0, 1.5, (2, 5)).astype(np.float32)


def bare_file(path: Path, **changes: Any) -> Path:
    """The tiny network of the fakes as somebody would send it: no card, one output, no names."""
    model = fakes.model_graph(3)
    del model.graph.output[1:]
    for change in changes.values():
        change(model)
    path.write_bytes(model.SerializeToString())
    return path


def colour_file(path: Path, *, tail: str = "Sigmoid", pool: str = "MaxPool", batch: Any = 1, **options: Any) -> Path:
    """A colour network in the order of TensorFlow that takes ``batch`` images at a time and gives probabilities."""
    nodes = [
        helper.make_node("Transpose", ["image"], ["chw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["chw", "kernels"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node(pool, ["relu"], ["small"], kernel_shape=[2, 2], strides=[2, 2], **options),
        helper.make_node("GlobalAveragePool", ["small"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head"], ["scores"], transB=1),
        helper.make_node(tail, ["scores"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 24, 32, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, 2])],
        [numpy_helper.from_array(KERNELS, "kernels"), numpy_helper.from_array(HEAD, "head")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"names": "{0: 'pleural effusion', 1: 'mass'}"})
    path.write_bytes(model.SerializeToString())
    return path


def answered(facts: GraphFacts, **given: Any) -> Answers:
    wanted = {
        "labels": ["a", "b", "c"][: facts.labels],
        "task": "multilabel",
        "output": "probabilities" if facts.tail else "logits",
        "modality": ["CR"],
        "values": "unit",
        "intended_use": "Tests.",
    }
    return read_answers(questions(facts), wanted | given, facts)


def imported(path: Path, folder: Path, **given: Any) -> Any:
    facts = inspect(path)
    folder.mkdir(parents=True, exist_ok=True)
    return import_onnx(path, facts, answered(facts, **given), folder)


def session(data: bytes) -> Any:
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def test_a_graph_says_what_it_knows(tmp_path: Path) -> None:
    facts = inspect(colour_file(tmp_path / "Chest Net.onnx"))
    assert (facts.layout, facts.shape, facts.batch, facts.labels) == ("NHWC", (3, 24, 32), 1, 2)
    assert (facts.tail, facts.names) == ("Sigmoid", ("pleural_effusion", "mass"))
    guesses = {q.id: q.guess for q in questions(facts)}
    assert guesses["labels"] == ["pleural_effusion", "mass"]
    assert (guesses["id"], guesses["task"], guesses["output"]) == ("chest-net", "multilabel", "probabilities")
    assert (guesses["rows"], guesses["columns"]) == (24, 32)
    assert (guesses["modality"], guesses["values"], guesses["intended_use"]) == (None, None, None)
    plain = inspect(bare_file(tmp_path / "plain.onnx"))
    assert (plain.layout, plain.shape, plain.batch, plain.tail) == ("NCHW", (1, 32, 32), None, "")
    assert {q.id: q.guess for q in questions(plain)}["task"] is None


@pytest.mark.parametrize(
    "names",
    [
        json.dumps({str(n): f"L{n}" for n in range(12)}, sort_keys=True),
        json.dumps({f"L{n}": n for n in reversed(range(12))}),
        str([f"L{n}" for n in range(12)]),
        ",".join(f"L{n}" for n in range(12)),
    ],
)
def test_names_in_the_file_are_guessed_in_the_order_of_its_numbers(names: str) -> None:
    model = fakes.model_graph(3)
    helper.set_model_props(model, {"names": names})
    assert list(graphs._names(model)) == [f"L{n}" for n in range(12)]


def test_gradients_of_an_imported_network_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    card = imported(bare_file(tmp_path / "net.onnx"), tmp_path / "out")
    assert card.explain is not None
    assert set(card.explain.methods) == SERVED
    assert card.explain.grid == (8, 8)
    assert all(error < 0.02 for error in card.document["explain"]["differs_from_finite_differences_by"].values())
    x = fakes.images(5)
    selector = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    names = ["logits", "feature_map", "d_feature_map", "d_x"]
    graph = (tmp_path / "out" / "model.explain.onnx").read_bytes()
    found = dict(zip(names, session(graph).run(names, {"x": x, "selector": selector}), strict=True))
    expected = fakes.gradients(x, selector)
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
    check_graph(graph, name="explain", control_flow=("Scan",))


SERVED = {
    "grad-cam", "grad-cam-plus-plus", "integrated-gradients", "gradient-shap", "smooth-grad", "saliency",
    "input-x-gradient", "occlusion", "rise",
}  # fmt: skip


def test_every_method_that_is_offered_gives_the_map_of_the_network_itself(tmp_path: Path) -> None:
    """The same network with gradients that were worked out by hand, asked the same."""
    card = imported(bare_file(tmp_path / "net.onnx"), tmp_path / "models" / "net")
    explain = {**read_card(fakes.make_model(tmp_path / "own" / "a")).document["explain"], "methods": sorted(SERVED)}
    own = fakes.make_model(tmp_path / "models" / "own", labels=("a", "b", "c"), explain=explain)
    with Engine(Catalogue([tmp_path / "models"]), threads=1) as engine:
        tensor = fakes.images(1)[0]
        assert {row.id for row in methods_for(card)} == SERVED
        for row in methods_for(card):
            found, expected = (
                row.run(Question(engine, each, tensor, 1, None, no_progress)) for each in (card, read_card(own))
            )
            np.testing.assert_allclose(found.values, expected.values, rtol=1e-3, atol=1e-5, err_msg=row.id)
            assert found.error == pytest.approx(expected.error, abs=1e-3), row.id


def _not_rectified(model: onnx.ModelProto) -> None:
    """Without the rectification: its feature map has negative values."""
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Identity"


def test_grad_cam_plus_plus_is_offered_only_where_the_feature_map_is_nowhere_negative(tmp_path: Path) -> None:
    card = imported(bare_file(tmp_path / "net.onnx", change=_not_rectified), tmp_path / "out")
    assert card.explain is not None
    assert set(card.explain.methods) == SERVED - {"grad-cam-plus-plus"}


def test_a_colour_network_of_one_image_at_a_time_answers_about_many_grey_ones(tmp_path: Path) -> None:
    path = colour_file(tmp_path / "net.onnx")
    card = imported(path, tmp_path / "models" / "net", values="imagenet")
    assert card.file("model").control_flow == ("Scan",)  # type: ignore[union-attr]
    grey = _CHANCE.uniform(0, 1, (3, 1, 24, 32)).astype(np.float32)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    image = ((np.repeat(grey, 3, axis=1).transpose(0, 2, 3, 1) - mean) / std).astype(np.float32)
    original = session(path.read_bytes())
    p = np.concatenate([original.run(None, {"image": one[None]})[0] for one in image]).astype(np.float64)
    with Engine(Catalogue([tmp_path / "models"]), providers=("cpu",), threads=2) as engine:
        found = engine.run(card.id, {"x": grey}, outputs=["logits"])["logits"]
    np.testing.assert_allclose(1 / (1 + np.exp(-found)), p, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch", [2, 5])
def test_a_network_of_several_images_at_once_answers_about_any_number(tmp_path: Path, batch: int) -> None:
    path = colour_file(tmp_path / "net.onnx", batch=batch)
    card = imported(path, tmp_path / "models" / "net", values="unit")
    assert card.document["files"][0]["control_flow"] == ["Scan"]
    grey = _CHANCE.uniform(0, 1, (3 * batch, 1, 24, 32)).astype(np.float32)
    image = np.repeat(grey, 3, axis=1).transpose(0, 2, 3, 1)
    original = session(path.read_bytes())
    p = np.concatenate([original.run(None, {"image": image[n : n + batch]})[0] for n in range(0, len(image), batch)])
    with Engine(Catalogue([tmp_path / "models"]), providers=("cpu",), threads=2) as engine:
        found = engine.run(card.id, {"x": grey[:-1]}, outputs=["logits"])["logits"]
        alone = engine.run(card.id, {"x": grey[4:5]}, outputs=["logits"])["logits"]
    np.testing.assert_allclose(1 / (1 + np.exp(-found.astype(float))), p[:-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(alone, found[4:5], atol=1e-6)


def test_a_network_whose_images_depend_on_each_other_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = colour_file(tmp_path / "net.onnx", batch=3, tail="Identity")
    model = onnx.load_model_from_string(path.read_bytes())
    model.graph.node.append(helper.make_node("ReduceMean", ["probabilities"], ["mean"], axes=[0], keepdims=1))
    model.graph.node[-1].output[0] = "batch_mean"
    model.graph.node.append(helper.make_node("Sub", ["probabilities", "batch_mean"], ["out"]))
    model.graph.output[0].name = "out"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="takes 3 images at once, and what it gives one of them depends on the others"):
        imported(path, tmp_path / "out", output="logits")


def test_a_network_of_very_many_images_at_once_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"takes 64 images at once, no more and no fewer; export it for any number"):
        inspect(colour_file(tmp_path / "net.onnx", batch=64))


@pytest.mark.parametrize("tail", ["Sigmoid", "Softmax"])
def test_probabilities_that_are_not_the_last_operator_become_logits_again(tmp_path: Path, tail: str) -> None:
    path = colour_file(tmp_path / "net.onnx", tail=tail)
    model = onnx.load_model_from_string(path.read_bytes())
    model.graph.node.append(helper.make_node("Identity", ["probabilities"], ["out"]))
    model.graph.output[0].name = "out"
    path.write_bytes(model.SerializeToString())
    task = "multiclass" if tail == "Softmax" else "multilabel"
    assert inspect(path).tail == tail
    imported(path, tmp_path / "out", output="probabilities", task=task)
    stored = np.load(tmp_path / "out" / "reference.npz")
    logits = stored["output.logits"].astype(np.float64)
    image = np.repeat(stored["input.x"], 3, axis=1).transpose(0, 2, 3, 1)
    p = np.concatenate([session(path.read_bytes()).run(None, {"image": one[None]})[0] for one in image])
    e = np.exp(logits)
    np.testing.assert_allclose(e / e.sum(1, keepdims=True) if task == "multiclass" else e / (1 + e), p, atol=1e-5)


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("tail", "task", "output", "says"),
    [
        ("Identity", "multilabel", "probabilities", r"numbers from \S+ to \S+ for trial images, and they were said to"),
        ("Sigmoid", "multiclass", "probabilities", "do not add up to 1"),
        ("Sigmoid", "multilabel", "logits", "ends in Sigmoid, so that its numbers are no scores of any size"),
        ("Softmax", "multiclass", "logits", "ends in Softmax, so that its numbers are no scores of any size"),
    ],
)
def test_numbers_are_not_taken_for_what_they_cannot_be(
    tmp_path: Path, tail: str, task: str, output: str, says: str
) -> None:
    path = colour_file(tmp_path / "net.onnx", tail=tail)
    model = onnx.load_model_from_string(path.read_bytes())
    head = next(one for one in model.graph.initializer if one.name == "head")
    head.CopyFrom(numpy_helper.from_array(np.abs(HEAD), "head"))  # all scores are above 0
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=says):
        imported(path, tmp_path / "out", task=task, output=output)


@pytest.mark.reliability
def test_probabilities_of_one_finding_behind_another_operator_are_not_taken_for_logits(tmp_path: Path) -> None:
    path = colour_file(tmp_path / "net.onnx", tail="Softmax")
    model = onnx.load_model_from_string(path.read_bytes())
    model.graph.node.append(helper.make_node("Abs", ["probabilities"], ["out"]))
    model.graph.output[0].name = "out"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="gives numbers from 0 to 1 that add up to 1 for trial images"):
        imported(path, tmp_path / "out", task="multiclass", output="logits")


_BEHIND: dict[str, list[Any]] = {
    "identity": [helper.make_node("Identity", ["p"], ["out"])],
    "reshape": [helper.make_node("Reshape", ["p", "shape"], ["out"])],
    "squeeze": [
        helper.make_node("Unsqueeze", ["p", "axis"], ["wide"]), helper.make_node("Squeeze", ["wide", "axis"], ["out"])
    ],
    "clip": [helper.make_node("Clip", ["p", "low", "high"], ["out"])],
    "transpose": [
        helper.make_node("Transpose", ["p"], ["turned"]), helper.make_node("Transpose", ["turned"], ["out"])
    ],
    "concat": [
        helper.make_node("Split", ["p"], ["first", "second"], axis=1),
        helper.make_node("Concat", ["second", "first"], ["out"], axis=1),
    ],
    "of two kinds": [
        helper.make_node("Gather", ["scores", "zero"], ["raw"], axis=1),
        helper.make_node("Gather", ["p", "zero"], ["one"], axis=1),
        helper.make_node("Concat", ["raw", "one"], ["out"], axis=1),
    ],
}  # fmt: skip


@pytest.mark.reliability
@pytest.mark.parametrize("behind", _BEHIND)
@pytest.mark.parametrize("tail", ["Sigmoid", "Softmax"])
def test_probabilities_are_found_behind_what_only_moves_them(tmp_path: Path, tail: str, behind: str) -> None:
    """Taken for logits, 0.02 would be a finding of 50%."""
    path = colour_file(tmp_path / "net.onnx", tail=tail)
    model = onnx.load_model_from_string(path.read_bytes())
    model.graph.node[-1].output[0] = "p"
    model.graph.node.extend(_BEHIND[behind])
    numbers = {"shape": np.array([1, 2]), "axis": np.array([2]), "zero": np.array([0])}
    limits = {"low": np.array(1e-6, np.float32), "high": np.array(1 - 1e-6, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in (numbers | limits).items())
    model.graph.output[0].name = "out"
    path.write_bytes(model.SerializeToString())
    facts = inspect(path)
    assert facts.tail == tail
    asked = {q.id: q for q in questions(facts)}
    assert asked["output"].guess == "probabilities"
    assert asked["output"].why.en == f"It ends in {tail}."
    task = "multiclass" if tail == "Softmax" else "multilabel"
    with pytest.raises(ModelError, match=f"ends in {tail}, so that its numbers are no scores of any size"):
        imported(path, tmp_path / "out", task=task, output="logits")


def test_a_network_that_goes_on_reckoning_with_probabilities_does_not_end_in_them(tmp_path: Path) -> None:
    path = colour_file(tmp_path / "net.onnx")
    model = onnx.load_model_from_string(path.read_bytes())
    model.graph.node[-1].output[0] = "p"
    model.graph.node.append(helper.make_node("Gemm", ["p", "weights"], ["out"]))
    model.graph.initializer.append(numpy_helper.from_array(np.eye(2, dtype=np.float32) * 9, "weights"))
    model.graph.output[0].name = "out"
    path.write_bytes(model.SerializeToString())
    assert inspect(path).tail == ""


def test_without_gradients_the_reason_stands_on_the_card_and_what_needs_none_remains(tmp_path: Path) -> None:
    path = colour_file(tmp_path / "net.onnx", pool="AveragePool", ceil_mode=1)
    card = imported(path, tmp_path / "out")
    assert card.explain is not None
    assert card.explain.methods == ("occlusion", "rise")
    assert {row.id for row in methods_for(card)} == {"occlusion", "rise"}
    assert "ceil_mode=1 is not differentiated" in card.document["explain"]["without_gradients"]["en"]
    assert card.file("explain") is None


def test_a_wrong_gradient_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx_ad

    path = bare_file(tmp_path / "net.onnx")
    data = path.read_bytes()
    model = graphs.parse(data, "net.onnx")
    facts = graphs.facts_of(model, data, "net.onnx")
    one = graphs.single(model, facts, answered(facts), batch=1)
    right = differentiate(one, fakes.images(3), 3, session)
    assert max(right.errors.values()) < 0.02
    reverse = onnx_ad.reverse

    def a_twentieth_too_large(*args: Any, **options: Any) -> onnx.ModelProto:
        wrong: onnx.ModelProto = reverse(*args, **options)
        for node in wrong.graph.node:
            for index, name in enumerate(node.output):
                if name == "adj_x":
                    node.output[index] = "adj_x_right"
        wrong.graph.initializer.append(numpy_helper.from_array(np.float32(1.05), "too.much"))
        wrong.graph.node.append(helper.make_node("Mul", ["adj_x_right", "too.much"], ["adj_x"]))
        return wrong

    monkeypatch.setattr(onnx_ad, "reverse", a_twentieth_too_large)
    with pytest.raises(NoGradientsError, match="differ from the network's own differences by 5%"):
        differentiate(one, fakes.images(3), 3, session)
    monkeypatch.setattr(gradients, "TOLERATED", 0.1)
    assert differentiate(one, fakes.images(3), 3, session).errors["d_x"] > 0.02


def turned_file(path: Path, layout: str) -> Path:
    """A network that learned on arrays of (x, y): 32 columns come before 24 rows. It maps and classifies."""
    shape = [1, 1, 32, 24] if layout == "NCHW" else [1, 32, 24, 1]
    order = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 3, 1, 2)}[layout]
    nodes = [
        helper.make_node("Transpose", ["image"], ["cxy"], perm=order),
        helper.make_node("Conv", ["cxy", "kernels"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("AveragePool", ["relu"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["small"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "turned",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2]),
            helper.make_tensor_value_info("small", TensorProto.FLOAT, [1, 5, 16, 12]),
        ],
        [numpy_helper.from_array(KERNELS[:, :1], "kernels"), numpy_helper.from_array(HEAD, "head")],
    )
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )
    return path


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_network_whose_first_axis_runs_across_sees_the_image_so_and_maps_it_back(tmp_path: Path, layout: str) -> None:
    path = turned_file(tmp_path / "net.onnx", layout)
    card = imported(path, tmp_path / "out", first_axis="across", rows=24, columns=32)
    assert card.inputs[0].shape == (None, 1, 24, 32)
    assert card.document["training"]["config"]["first_axis"] == "across"
    assert card.explain is not None
    assert "grad-cam" in card.explain.methods
    assert card.explain.grid == (12, 16)
    x = _CHANCE.uniform(0, 1, (3, 1, 24, 32)).astype(np.float32)
    as_learned = x.transpose(0, 1, 3, 2) if layout == "NCHW" else x.transpose(0, 3, 2, 1)
    original = session(path.read_bytes())
    expected = [original.run(["scores", "small"], {"image": one[None]}) for one in as_learned]
    selector = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    explaining = session((tmp_path / "out" / "model.explain.onnx").read_bytes())
    names = ["logits", "feature_map", "d_feature_map"]
    logits, maps, gradients_of_maps = explaining.run(names, {"x": x, "selector": selector})
    (served,) = session((tmp_path / "out" / "model.onnx").read_bytes()).run(["logits"], {"x": x})
    for found in (logits, served):
        np.testing.assert_allclose(found, np.concatenate([one[0] for one in expected]), rtol=1e-4, atol=1e-5)
    seen = np.concatenate([one[1] for one in expected]).transpose(0, 1, 3, 2)
    np.testing.assert_allclose(maps, seen, rtol=1e-4, atol=1e-5)
    weights = np.broadcast_to((selector @ HEAD)[:, :, None, None] / (12 * 16), maps.shape)
    np.testing.assert_allclose(gradients_of_maps, weights, rtol=1e-4, atol=1e-6)


def test_networks_of_attention_have_no_map_to_look_at() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "kernels"], ["map"]),
        helper.make_node("Softmax", ["map"], ["attention"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 24, 32])],
        [helper.make_tensor_value_info("attention", TensorProto.FLOAT, [1, 5, 22, 30])],
        [numpy_helper.from_array(KERNELS, "kernels")],
    )
    model = onnx.shape_inference.infer_shapes(helper.make_model(graph))
    assert graphs.last_feature_map(model) is None
    del model.graph.node[1:]
    model.graph.output[0].name = "map"
    assert graphs.last_feature_map(onnx.shape_inference.infer_shapes(model)) == ("map", (1, 5, 22, 30))


def test_the_card_says_that_nothing_is_known(tmp_path: Path) -> None:
    card = imported(bare_file(tmp_path / "net.onnx"), tmp_path / "models" / "net")
    assert (card.calibration.method, card.evidence, card.population.age_years) == ("none", (), None)
    with Engine(Catalogue([tmp_path / "models"]), providers=("cpu",), threads=2) as engine:
        answer = engine.ask(fakes.make_case(), card.id)
        chinese = engine.ask(fakes.make_case(), card.id, language="zh")
    warned = {guard.code for guard in answer.guards if guard.level == "warn"}
    assert {"uncalibrated", "unmeasured"} <= warned
    assert (answer.status, answer.is_calibrated, answer.provenance.is_verified) == ("answer", False, False)
    assert all(finding.meaning == "" for finding in answer.findings)
    assert "不是概率" in next(guard.text for guard in chinese.guards if guard.code == "uncalibrated")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"labels": ["a", "b"]}, "gives 3 numbers an image; 2 labels"),
        ({"labels": ["a", "b", "a"]}, "names something twice"),
        ({"labels": ["a", "b", "<c>"]}, "is not a word"),
        ({"labels": None}, "“labels” must be answered"),
        ({"modality": []}, "at least one kind of image"),
        ({"modality": ["x-ray"]}, "is not a DICOM code"),
        ({"values": "other"}, "must be one of"),
        ({"values": ""}, "“values” must be answered"),
        ({"rows": "many"}, "must be a number"),
        ({"rows": 1e9}, "whole number from 8"),
        ({"rows": 32.5}, "whole number from 8"),
        ({"rows": float("inf")}, "whole number from 8"),
        ({"rows": float("nan")}, "whole number from 8"),
        ({"threshold": 1}, "between 0 and 1"),
        ({"id": "../x"}, "small letters"),
        ({"colour": "red"}, "is no question"),
        ({"title": 7}, "must be a text"),
    ],
)
def test_a_wrong_answer_is_named(given: dict[str, Any], says: str) -> None:
    facts = GraphFacts("n.onnx", "0" * 64, "", 18, "x", "NCHW", (1, 32, 32), None, "y", 3, "")
    with pytest.raises(UsageError, match=says):
        answered(facts, **given)


def _two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def _five_channels(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5


def _no_row(model: onnx.ModelProto) -> None:
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("cam", TensorProto.FLOAT, [None, 3, 8, 8]))


def _outside(model: onnx.ModelProto) -> None:
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (_two_inputs, ModelError, "takes 2 inputs"),
        (_five_channels, ModelError, "takes 5 channels"),
        (_no_row, ModelError, "neither a row of numbers an image nor masks"),
        (_outside, UnsafeModelError, "Save it as one file first"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_what_to_do(
    tmp_path: Path, change: Any, kind: type[MedViewerError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        inspect(bare_file(tmp_path / "net.onnx", change=change))


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"hello")
    with pytest.raises(UnsafeModelError, match="not a complete ONNX file"):
        inspect(path)
    with pytest.raises(InputError, match="cannot be read"):
        inspect(tmp_path / "gone.onnx")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        inspect(tmp_path)


def test_a_file_that_changed_since_the_questions_is_not_imported(tmp_path: Path) -> None:
    path = bare_file(tmp_path / "net.onnx")
    facts = inspect(path)
    bare_file(path, change=lambda model: model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(fakes.KERNELS * 2, model.graph.initializer[0].name)))  # fmt: skip
    with new_folder(tmp_path / "scratch") as folder:
        with pytest.raises(InputError, match="changed while it was imported"):
            import_onnx(path, facts, answered(facts), folder)


def test_a_stop_ends_the_import_and_leaves_nothing(tmp_path: Path) -> None:
    path = bare_file(tmp_path / "net.onnx")
    stop = StopToken()
    facts = inspect(path)

    def stop_at_once(_done: int, _total: int, _text: str) -> None:
        stop.stop()

    with pytest.raises(Stopped), new_folder(tmp_path / "out") as folder:
        import_onnx(path, facts, answered(facts), folder, stop=stop, progress=stop_at_once)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx"]
    assert not [thread for thread in threading.enumerate() if "import" in thread.name]


def test_a_folder_that_is_there_is_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="already there"), new_folder(tmp_path / "out"):
        pass


def test_the_command_asks_and_imports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from medviewer.cli import main

    path, out = colour_file(tmp_path / "net.onnx"), tmp_path / "out"
    assert main(["models", "import", str(path), "--questions"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["answers"]["labels"]) == (
        "medviewer.import-questions/1",
        ["pleural_effusion", "mass"],
    )
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps(document["answers"] | {"modality": ["CR", "DX"], "intended_use": "Tests."}))
    assert main(["models", "import", str(path), "--answers", str(answers), "--out", str(out)]) == 2
    assert "“values” must be answered" in capsys.readouterr().err
    words = ["models", "import", str(path), "--answers", str(answers), "--set", "values=unit", "--out", str(out)]
    assert main(words) == 0
    assert main(words) == 2
    assert "already there" in capsys.readouterr().err
    assert main(["models", "import", str(path)]) == 2
    assert main(["models", "import", str(path), "--set", "values", "--out", str(tmp_path / "o")]) == 2
    (entry,) = Catalogue([tmp_path]).entries
    assert (entry.id, entry.signer.word, entry.problem) == ("net", "unverified", "")

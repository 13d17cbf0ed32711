"""A narrower copy: what others can stand in for goes, the output is rebuilt, and other networks are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from medviewer.domain.errors import UsageError
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.training import lighter
from medviewer.training.pruning import pruned, rebuilt
from medviewer.training.scoring import silent
from tests import fakes
from tests.radiographs import write_films

WIDTH = 32


def with_block(*, act: str = "Relu", steps: int = 1, also: str = "") -> onnx.ModelProto:
    """The network behind a block that gives what it is given, with four times as many channels as that needs.

    Half of the channels are what is above 0, half what is below: their difference is the image.

    Args:
        act: what stands behind the first convolution.
        steps: of the last convolution.
        also: an output of the block's inside that the network has besides.
    """
    sign = np.where(np.arange(WIDTH) % 2 == 0, 1.0, -1.0).astype(np.float32)
    centre = np.zeros((WIDTH, 1, 3, 3), np.float32)
    centre[:, 0, 1, 1] = 1
    weights = {
        "widen": sign[:, None, None, None], "widen_bias": np.zeros(WIDTH, np.float32),
        "filter": centre, "filter_bias": np.zeros(WIDTH, np.float32),
        "narrow": 2 * sign[None, :, None, None] / WIDTH, "narrow_bias": np.zeros(1, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "widen", "widen_bias"], ["wide"]),
        helper.make_node(act, ["wide"], ["wide_on"]),
        helper.make_node(
            "Conv", ["wide_on", "filter", "filter_bias"], ["filtered"], group=WIDTH, pads=[1] * 4, kernel_shape=[3, 3]
        ),
        helper.make_node("Relu", ["filtered"], ["filtered_on"]),
        helper.make_node("Conv", ["filtered_on", "narrow", "narrow_bias"], ["x_again"], strides=[steps, steps]),
    ]
    model = fakes.model_graph()
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == "x":
                node.input[index] = "x_again"
    behind = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *behind])
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in weights.items())
    if also:
        model.graph.output.append(helper.make_empty_tensor_value_info(also))
    return model


def said(content: bytes, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"x": x})[0])


def shapes(content: bytes) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tuple(tensor.dims) for tensor in onnx.load_from_string(content).graph.initializer}


def test_what_others_can_stand_in_for_goes_and_nothing_changes() -> None:
    images = [image.astype(np.float32) for image in fakes.images(20)]
    content = with_block().SerializeToString()
    small = pruned(content, "x", images, silent, share=0.25)
    assert shapes(small)["widen"] == (8, 1, 1, 1)
    assert shapes(small)["filter"] == (8, 1, 3, 3)
    assert shapes(small)["narrow"] == (1, 8, 1, 1)
    assert len(small) < len(content)
    x = np.stack(images)
    np.testing.assert_allclose(said(content, x), fakes.forward(x)["logits"], atol=1e-4)
    np.testing.assert_allclose(said(small, x), fakes.forward(x)["logits"], atol=2e-3)


def test_channels_stay_in_eights_and_all_of_them_where_all_are_asked_for() -> None:
    images = [image.astype(np.float32) for image in fakes.images(4)]
    content = with_block().SerializeToString()
    assert shapes(pruned(content, "x", images, silent, share=0.01))["widen"][0] == 8
    assert shapes(pruned(content, "x", images, silent, share=0.6))["widen"][0] == 16
    assert shapes(pruned(content, "x", images, silent, share=1.0))["widen"][0] == WIDTH


@pytest.mark.parametrize(
    "model",
    [
        fakes.model_graph(),
        with_block(act="Softmax"),  # a channel of it depends on the others
        with_block(steps=2),  # its ends are seen at other places
        with_block(also="filtered_on"),  # somebody else reads the inside
    ],
    ids=["no block", "softmax", "steps", "read by others"],
)
def test_a_network_without_such_a_block_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(UsageError, match="no inverted residual blocks"):
        pruned(model.SerializeToString(), "x", [np.zeros((1, 32, 32), np.float32)], silent)


@pytest.mark.parametrize(("middle", "last"), [(1, 1), (WIDTH, WIDTH)])
def test_channels_that_are_mixed_before_or_kept_apart_behind_are_left_alone(middle: int, last: int) -> None:
    """Convolutions in other numbers of groups than those of the block."""
    shapes = {"a": (WIDTH, 1, 1, 1), "b": (WIDTH, WIDTH // middle, 3, 3), "c": (WIDTH, WIDTH // last, 1, 1)}
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()]
    weights += [numpy_helper.from_array(np.zeros(WIDTH, np.float32), f"{name}_bias") for name in shapes]
    nodes = [
        helper.make_node("Conv", ["x", "a", "a_bias"], ["wide"]),
        helper.make_node("Conv", ["wide", "b", "b_bias"], ["filtered"], group=middle, pads=[1] * 4),
        helper.make_node("Conv", ["filtered", "c", "c_bias"], ["y"], group=last),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "other", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", fakes.OPSET)], ir_version=9)
    with pytest.raises(UsageError, match="no inverted residual blocks"):
        pruned(model.SerializeToString(), "x", [np.zeros((1, 32, 32), np.float32)], silent)


def test_weights_that_two_convolutions_share_are_left_alone() -> None:
    model = with_block()
    model.graph.node[0].input[2] = model.graph.node[2].input[2] = "filter_bias"
    with pytest.raises(UsageError, match="no inverted residual blocks"):
        pruned(model.SerializeToString(), "x", [np.zeros((1, 32, 32), np.float32)], silent)


def test_each_time_the_channel_goes_whose_loss_is_made_up_for_best() -> None:
    """One step, held against trying each of them."""
    chance = np.random.default_rng(2)
    x = chance.normal(0, 1, (400, 5)) @ chance.normal(0, 1, (5, 5))
    y = x @ chance.normal(0, 1, (5, 3)) + 4

    def error(kept: list[int]) -> float:
        given = np.column_stack([x[:, kept], np.ones(len(x))])
        return float(((given @ np.linalg.lstsq(given, y, rcond=None)[0] - y) ** 2).sum())

    least = min(range(5), key=lambda goes: error([one for one in range(5) if one != goes]))
    kept, weights, bias = rebuilt(x, y, 4)
    assert kept.tolist() == [one for one in range(5) if one != least]
    assert ((x[:, kept] @ weights + bias - y) ** 2).sum() == pytest.approx(error(kept.tolist()), rel=1e-2)
    fewer, _, _ = rebuilt(x, y, 2)
    assert set(fewer) < set(kept)


def test_channels_that_never_change_are_no_obstacle() -> None:
    x = np.zeros((50, 4))
    x[:, 2] = np.arange(50)
    kept, weights, bias = rebuilt(x, 3 * x[:, 2:3] + 1, 1)
    assert kept.tolist() == [2]
    np.testing.assert_allclose(x[:, kept] @ weights + bias, 3 * x[:, 2:3] + 1, rtol=1e-2)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    return write_films(tmp_path / "films", 40)


@pytest.mark.parametrize("has_block", [True, False])
def test_a_narrower_copy_lies_beside_the_network_and_answers(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_block: bool
) -> None:
    monkeypatch.setattr(lighter, "_speed", lambda *_: 2.0)
    model = fakes.make_model(tmp_path / "models" / fakes.MODEL_ID, graph=with_block() if has_block else None)
    card = json.loads((model / "model.json").read_text(encoding="utf-8"))
    card["training"]["split"] = {"seed": 0, "block": 0.2, "tune": 0.3, "report": 0.1}
    fakes.write_card(model, card)
    out = tmp_path / "out" / fakes.MODEL_ID
    if not has_block:
        with pytest.raises(UsageError, match="no inverted residual blocks"):
            lighter.lighten(model, films, out, how="pruned")
        assert not out.exists()
        return
    found = lighter.lighten(model, films, out, how="pruned")
    assert (found.how, found.problems) == ("pruned", ())
    assert shapes((out / "model.pruned.onnx").read_bytes())["widen"][0] == WIDTH // 2
    (variant,) = json.loads((out / "model.json").read_text(encoding="utf-8"))["variants"]
    assert variant["drift"]["auc_copy"] == round(found.auc_copy, 4)
    variant_id = f"{fakes.MODEL_ID}@pruned"
    assert next(entry for entry in Catalogue([out.parent]).entries if entry.id == variant_id).problem == ""
    with Engine(Catalogue([out.parent]), providers=("cpu",), threads=1) as engine:
        assert [found.passed for found in engine.verify(variant_id)] == [True]
    with pytest.raises(UsageError, match="has the variant pruned already"):
        lighter.lighten(out, films, tmp_path / "again", how="pruned")


def test_another_way_is_refused(films: Path, tmp_path: Path) -> None:
    model = fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)
    with pytest.raises(UsageError, match="can be int8 or pruned, not 'thin'"):
        lighter.lighten(model, films, tmp_path / "out", how="thin")

"""Gradient graphs that decide in double precision: PyTorch's gradients in double precision, also at the kinks."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

pytest.importorskip("torch", reason="needs the torch extra")
import torch
import torch.nn.functional as F  # noqa: N812
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from medviewer.inference.card import CardFile
from medviewer.inference.runtimes import onnx as onnx_runtime
from medviewer.inference.runtimes.exact import in_double
from medviewer.inference.runtimes.onnx import Source
from medviewer.training.gradient_graph import export_gradient_graph
from tests.unit.training.test_gradient_graph import N_CLASSES, TinyMobileNet, TinyResNet, TinyVit, disagreement, settled

pytestmark = pytest.mark.torch

Run = Callable[[Tensor, Tensor], dict[str, np.ndarray]]


class Pooled(TinyResNet):
    """The same without groups; uneven filters, and a normalisation in each place that one can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.bn_a = nn.Conv2d(8, 4, (3, 1), 2, (1, 0)), nn.BatchNorm2d(4)
        self.b = nn.Sequential(nn.Conv2d(4, 16, 3, 1, 2, dilation=2), nn.BatchNorm2d(16))
        self.short = nn.Sequential(nn.Conv2d(8, 16, 1, 2), nn.BatchNorm2d(16))


class Dense(nn.Module):
    """Normalisation before ReLU, concatenation, ReLU6, averages with and without an edge."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, 2, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6 + 4 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(6 + 4 * i, 4, 3, 1, 1) for i in range(3))
        self.pools = nn.AvgPool2d((3, 2)), nn.AvgPool2d(2, 2, 1)
        self.linear = nn.Linear(18, N_CLASSES)

    def features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            x = torch.cat([x, conv((F.relu6 if i else F.relu)(norm(x)))], 1)
            if i < len(self.pools):
                x = self.pools[i](x)
        return F.relu(x)

    def head(self, f: Tensor) -> Tensor:
        return self.linear(f.mean(dim=(2, 3)))


class OnTheEdge(nn.Module):
    """Of an even grey, filters whose weights sum to all but zero: which units are on is a matter of rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 64, 5, bias=False)
        with torch.no_grad():
            flat = self.conv.weight.flatten(1)
            flat[:, -1] = -flat[:, :-1].double().sum(dim=1).float()
        self.linear = nn.Linear(64, N_CLASSES)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))

    def head(self, f: Tensor) -> Tensor:
        return self.linear(f.mean(dim=(2, 3)))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "pooled": (Pooled, (1, 45, 38)),
    "dense": (Dense, (1, 42, 36)),
    "on the edge": (OnTheEdge, (1, 12, 11)),
    "smooth": (TinyVit, (1, 32, 32)),
    "grouped": (TinyResNet, (1, 45, 38)),
    "depthwise": (TinyMobileNet, (1, 37, 40)),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[nn.Module, Path]]:
    made: dict[str, tuple[nn.Module, Path]] = {}

    def get(name: str) -> tuple[nn.Module, Path]:
        if name not in made:
            build, shape = NETWORKS[name]
            network, path = settled(build, shape), tmp_path_factory.mktemp("exact") / "model.explain.onnx"
            export_gradient_graph(network, path, input_shape=shape, n_classes=N_CLASSES)
            made[name] = network, path
        return made[name]

    return get


def runner(model: onnx.ModelProto) -> Run:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda x, selector: dict(
        zip(names, session.run(names, {"x": x.numpy(), "selector": selector.numpy()}), strict=True)
    )


def in_torch(network: nn.Module, x: Tensor, selector: Tensor) -> dict[str, np.ndarray]:
    exact: Any = copy.deepcopy(network).double()
    given = x.double().requires_grad_(True)
    f = exact.features(given)
    logits = exact.head(f)
    d_f, d_x = torch.autograd.grad((logits * selector).sum(), [f, given])
    tensors = {"logits": logits, "feature_map": f, "d_feature_map": d_f, "d_x": d_x}
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def question(n: int, shape: tuple[int, int, int], seed: int = 4) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=chance), torch.eye(N_CLASSES)[torch.arange(n) % N_CLASSES]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("name", ["pooled", "dense"])
def test_all_outputs_are_those_of_double_precision(
    name: str, n: int, exported: Callable[[str], tuple[nn.Module, Path]]
) -> None:
    network, path = exported(name)
    before = path.read_bytes()
    model = onnx.load(path)
    exact = in_double(model)
    assert exact is not None
    assert model.SerializeToString() == onnx.load_model_from_string(before).SerializeToString()
    x, selector = question(n, NETWORKS[name][1])
    found, expected = runner(exact)(x, selector), in_torch(network, x, selector)
    assert list(found) == list(expected)
    for output, truth in expected.items():
        assert found[output].dtype == np.float32
        assert np.abs(found[output] - truth).max() <= 1e-5 * np.abs(truth).max(), output
    assert disagreement(found["d_x"], expected["d_x"]) <= 1e-11


def test_units_within_rounding_of_their_kink_are_on_and_off_as_in_double_precision(
    exported: Callable[[str], tuple[nn.Module, Path]],
) -> None:
    network, path = exported("on the edge")
    model = onnx.load(path)
    exact = in_double(model)
    assert exact is not None
    x, selector = torch.full((2, 1, 12, 11), 0.7), torch.eye(N_CLASSES)[:2]
    truth = in_torch(network, x, selector)["d_x"]
    assert disagreement(runner(exact)(x, selector)["d_x"], truth) <= 1e-11
    assert disagreement(runner(model)(x, selector)["d_x"], truth) >= 1e-2  # else this proves nothing


def test_the_winner_of_a_pooling_is_that_of_double_precision() -> None:
    """Of two neighbours that differ by less than single precision can tell, the greater one; the first of equals."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["small"]),
        helper.make_node("Add", ["small", "one"], ["near"]),
        helper.make_node("ArgMax", ["near"], ["winner"], axis=3, keepdims=0),
        helper.make_node("Cast", ["winner"], ["place"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["selector"], ["weight"], keepdims=1),
        helper.make_node("Mul", ["place", "weight"], ["d_x"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [value("x", TensorProto.FLOAT, ["n", 1, 1, 3]), value("selector", TensorProto.FLOAT, ["n", 2])],
        [value("d_x", TensorProto.FLOAT, None)],
        [helper.make_tensor("scale", TensorProto.FLOAT, [], [1e-9]), helper.make_tensor("one", TensorProto.FLOAT, [], [1])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    exact = in_double(model)
    assert exact is not None
    x, selector = torch.tensor([[[[1.0, 3.0, 3.0]]]]), torch.tensor([[1.0, 0.0]])
    assert runner(model)(x, selector)["d_x"].item() == 0
    assert runner(exact)(x, selector)["d_x"].item() == 1


def test_weights_are_written_as_they_were_learned(exported: Callable[[str], tuple[nn.Module, Path]]) -> None:
    """A normalisation folded into them rounds them once more, and units near their kinks are others then."""
    network, path = exported("pooled")
    written = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    for name, weights in network.state_dict().items():
        if "num_batches" not in name and "linear" not in name:
            assert any(np.array_equal(one, weights.numpy()) for one in written), name


@pytest.mark.parametrize("name", ["smooth", "grouped", "depthwise"])
def test_what_decides_nothing_or_would_take_too_long_stays_as_it_is(
    name: str, exported: Callable[[str], tuple[nn.Module, Path]]
) -> None:
    assert in_double(onnx.load(exported(name)[1])) is None


def test_a_graph_without_a_selector_stays_as_it_is(exported: Callable[[str], tuple[nn.Module, Path]]) -> None:
    model = onnx.load(exported("dense")[1])
    for value in model.graph.input:
        value.name = value.name.replace("selector", "other")
    for node in model.graph.node:
        node.input[:] = [name.replace("selector", "other") for name in node.input]
    assert in_double(model) is None


# the runtime that opens it


def source(path: Path, *, is_exact: bool) -> Source:
    data = path.read_bytes()
    file = CardFile("explain", path.name, hashlib.sha256(data).hexdigest(), len(data))
    return Source(path.parent, file, None, 1e-4, ("cpu",), False, 1, is_exact=is_exact)


def test_the_runtime_opens_it_where_it_is_asked_for(exported: Callable[[str], tuple[nn.Module, Path]]) -> None:
    network, path = exported("on the edge")
    plain, exact = source(path, is_exact=False), source(path, is_exact=True)
    assert plain.key != exact.key, "else the worker would take one for the other"
    x, selector = torch.full((1, 1, 12, 11), 0.7), torch.eye(N_CLASSES)[:1]
    truth = in_torch(network, x, selector)["d_x"]
    gaps = []
    for one in (plain, exact):
        (found,) = onnx_runtime.open(one).run({"x": x.numpy(), "selector": selector.numpy()}, ["d_x"])
        gaps.append(disagreement(found, truth))
    assert gaps[0] >= 1e-2
    assert gaps[1] <= 1e-11
    shapes = {"x": (4, 1, 12, 11), "selector": (4, N_CLASSES)}
    opened = [onnx_runtime.open(one) for one in (plain, exact)]
    sizes = [one.outline.peak_bytes(shapes) for one in opened]
    assert sizes[1] > 1.3 * sizes[0], "the memory of a run is that of what is run"
    assert opened[1].size_bytes > opened[0].size_bytes, "and so is that of a model that stays open"


@pytest.mark.parametrize("way", ["not written", "not opened"])
def test_where_it_cannot_be_had_the_graph_itself_answers(
    way: str, exported: Callable[[str], tuple[nn.Module, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = exported("dense")

    def unknown(model: onnx.ModelProto) -> onnx.ModelProto:
        written = onnx.ModelProto()
        written.CopyFrom(model)
        for node in written.graph.node:
            node.op_type = node.op_type.replace("Relu", "Unheard")
        return written

    monkeypatch.setattr(onnx_runtime, "in_double", unknown if way == "not opened" else lambda _model: None)
    x, selector = question(2, NETWORKS["dense"][1])
    given = {"x": x.numpy(), "selector": selector.numpy()}
    expected, found = (onnx_runtime.open(source(path, is_exact=e)).run(given, ["d_x"])[0] for e in (False, True))
    assert np.array_equal(found, expected)

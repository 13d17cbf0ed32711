"""From a PyTorch network to an ONNX file that holds its gradients too.

An explanation such as Grad-CAM or integrated gradients asks how a logit would
change if the input, or the last feature map, changed a little. Runtimes only
run forwards, so the backward pass is written into the file as ordinary
operations: the window then explains a finding without PyTorch.

How: the network and ``torch.autograd.grad`` of one chosen logit are traced
together on tensors without data, in which only the batch size is a symbol.
What is left is a flat list of primitive operations, forward and backward, whose
weights are shared; :mod:`medviewer.training.gradient_operations` says in
forward operations what ONNX has no backward for.

The file (``model.explain.onnx``), all float32:

==================  ====================  ==========================================
input               shape                 meaning
==================  ====================  ==========================================
``x``               (batch, c, h, w)      what the network is given
``selector``        (batch, n_classes)    weights of the logits: 1 at the class to be
                                          explained, 0 elsewhere (or any mixture; -1
                                          for what speaks against it)
==================  ====================  ==========================================

==================  ====================  ==========================================
output              shape                 meaning
==================  ====================  ==========================================
``logits``          (batch, n_classes)    as the plain model
``feature_map``     (batch, k, ...)       the network cut at its last feature map
``d_feature_map``   as ``feature_map``    d(selected logit) / d(feature map)
``d_x``             as ``x``              d(selected logit) / d(x)
==================  ====================  ==========================================

A selector rather than a class number: no index can then be out of range, and
the difference of two classes is one run.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import onnx
import torch
import torch.hub
from onnxscript import optimizer
from torch import Tensor, fx, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.source import ConstantSource
from torch._functorch.compile_utils import fx_graph_cse
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.fusion import fuse_conv_bn_eval

from medviewer.domain.errors import ModelError
from medviewer.training.gradient_folding import fold_scales
from medviewer.training.gradient_operations import decompositions

INPUTS = ("x", "selector")
OUTPUTS = ("logits", "feature_map", "d_feature_map", "d_x")
CAM_OUTPUTS = ("logits", "feature_map", "d_feature_map")
OPSET = 18
_WEIGHT = "weight_"  # how the names of the network's own weights begin

_State = dict[str, Tensor]


class CutNetwork(Protocol):
    """A network that can be cut at its last feature map: ``head(features(x))`` is the logits."""

    def features(self, x: Tensor) -> Tensor:
        """Return the last feature map of ``x``."""

    def head(self, f: Tensor) -> Tensor:
        """Return the logits ``(n, n_classes)`` of a feature map."""


def export_gradient_graph(
    network: CutNetwork, path: Path, *, input_shape: tuple[int, ...] = (1, 224, 224), n_classes: int = 1
) -> None:
    """Write ``model.explain.onnx``: the network, and its gradients, as one ONNX file.

    Takes about half a minute for a network of a hundred layers: work for
    training, never for the window. The network itself is left as it is.

    Args:
        network: an ``nn.Module`` with ``features`` and ``head``; explained as it
            behaves in evaluation mode.
        path: the file to write. Standard operators only, nothing outside the file,
            any batch size, no trace of the machine that made it.
        input_shape: one input without its batch axis, (channels, rows, columns).
        n_classes: how many logits the head gives.

    Raises:
        ModelError: the network holds an operation whose gradient cannot be written in
            ONNX; the message names it.
    """
    frozen = copy.deepcopy(cast("nn.Module", network)).eval().requires_grad_(False)
    x = torch.randn(2, *input_shape)
    selector = torch.eye(n_classes)[torch.zeros(2, dtype=torch.long)]
    with quiet_exporter():
        graph = _trace(_Explained(frozen), x, selector)
    batch = torch.export.Dim("batch", min=1, max=4096)
    with quiet_exporter():
        program = torch.onnx.export(
            graph,
            (x, selector),
            dynamo=True,
            verbose=False,
            optimize=False,
            opset_version=OPSET,
            dynamic_shapes=({0: batch}, {0: batch}),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
        )
    if program is None:
        raise AssertionError("the exporter gave nothing")
    # Weights stay as they were learned, so that the graph can be calculated in double precision too
    # (medviewer/inference/runtimes/exact.py); what normalisation adds to them runtimes fold in as they open it.
    optimizer.optimize_ir(program.model, should_fold=_is_folded)
    model = program.model_proto
    fold_scales(model)
    remove_traces(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def cut_cam_graph(explain_path: Path, cam_path: Path) -> None:
    """Write the part of a gradient graph that Grad-CAM needs: no gradient of the input.

    About a forward pass in cost; asking the whole graph for fewer outputs would
    save nothing, because a session computes and keeps all of them.

    Args:
        explain_path: a file made by :func:`export_gradient_graph`.
        cam_path: the file to write: inputs ``x`` and ``selector``; outputs ``logits``,
            ``feature_map`` and ``d_feature_map``.
    """
    onnx.utils.extract_model(
        explain_path, cam_path, list(INPUTS), list(CAM_OUTPUTS), check_model=False, infer_shapes=False
    )
    model = onnx.load(cam_path)
    remove_traces(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, cam_path)


def _is_folded(node: Any) -> bool | None:
    """False for what is worked out from filters and matrices: the exporter folds the next layer into such copies."""
    given = [value.const_value for value in node.inputs if value is not None and value.name.startswith(_WEIGHT)]
    return False if any(value is not None and len(value.shape) > 1 for value in given) else None


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence what PyTorch's exporter says of its own inner workings; errors still come through."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    # The progress bar that PyTorch makes, even when it shows none, leaves a thread behind.
    progress_bar: Any = vars(torch.hub)["tqdm"]
    interval = getattr(progress_bar, "monitor_interval", 0)
    progress_bar.monitor_interval = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        progress_bar.monitor_interval = interval


def remove_traces(model: onnx.ModelProto) -> None:
    """Take out of ``model`` what tells of the machine that exported it, in place.

    The exporter stores on every node the source lines, with their paths, that it
    came from. They have no use in a shipped file and no place there.
    """
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    graph.doc_string = ""
    parts: list[Any] = [graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""


def fold_batch_norm(network: nn.Module) -> None:
    """Fold each batch normalisation into the convolution that alone feeds it, in place.

    In evaluation both are linear, so one convolution does the work of the two, and
    so does its gradient. Pairs are found by tracing; a network that cannot be
    traced so (its path depends on its data) keeps its layers, which is
    slower but no less right.
    """
    try:
        graph = fx.symbolic_trace(_Whole(network)).graph
    except (fx.proxy.TraceError, TypeError, ValueError, NotImplementedError):
        return
    modules = dict(_Whole(network).named_modules())
    calls = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[str(node.target)], nn.BatchNorm2d):
            continue
        before = node.args[0]
        if before.op != "call_module" or len(before.users) > 1 or not isinstance(modules[before.target], nn.Conv2d):
            continue
        # A layer that is used twice cannot take the other's scale into its weights.
        if calls.count(before.target) > 1 or calls.count(str(node.target)) > 1:
            continue
        _replace(network, before.target, fuse_conv_bn_eval(modules[before.target], modules[str(node.target)]))
        _replace(network, str(node.target), nn.Identity())


def _replace(network: nn.Module, name: str, layer: nn.Module) -> None:
    """Put ``layer`` in the place of the one that the wrapper calls ``network.<name>``."""
    parent, _, child = name.removeprefix("network.").rpartition(".")
    setattr(network.get_submodule(parent), child, layer.requires_grad_(False))


class _Whole(nn.Module):
    """The network as one forward, for tracing its layers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        network = cast("CutNetwork", self.network)
        return network.head(network.features(x))


class _Explained(nn.Module):
    """The network with its own gradients as outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, selector: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        network = cast("CutNetwork", self.network)
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            x = x.detach().requires_grad_(True)
            f = network.features(x)
            logits = network.head(f)
            # Samples of a batch do not meet in the network, so the gradient of the
            # sum is each sample's own gradient.
            d_f, d_x = torch.autograd.grad((logits * selector).sum(), [f, x])
        return logits, f, d_f, d_x


def _trace(explained: _Explained, x: Tensor, selector: Tensor) -> fx.GraphModule:
    """Trace forward and backward together into primitive operations, the batch size left open."""
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)

    def fake(value: Tensor, name: str) -> Tensor:
        sizes = [DimDynamic.DYNAMIC] + [DimDynamic.STATIC] * (value.dim() - 1)
        context: Any = StatelessSymbolicContext(dynamic_sizes=sizes)
        return mode.from_tensor(value, symbolic_context=context, source=ConstantSource(name))

    state: _State = {**dict(explained.named_parameters()), **dict(explained.named_buffers())}
    fakes = {name: mode.from_tensor(value, static_shapes=True) for name, value in state.items()}

    def run(weights: _State, a: Tensor, b: Tensor) -> Any:
        return torch.func.functional_call(explained, weights, (a, b))

    tracer: Any = make_fx(run, tracing_mode="real", decomposition_table=decompositions())
    # Without the Python dispatcher some operations ask the open batch size for a number, and fix it.
    with mode, enable_python_dispatcher():
        core: fx.GraphModule = tracer(fakes, fake(x, "x"), fake(selector, "selector"))
    left = sorted({str(node.target) for node in core.graph.nodes if "backward" in str(node.target)})
    if left:
        raise ModelError(
            f"The gradients of this network cannot be written in ONNX: no forward form of {', '.join(left)} "
            "is known. Add one to medviewer/training/gradient_operations.py."
        )
    # What the backward computes again from the forward becomes one node, so that
    # runtimes can still fuse a convolution with its activation.
    return _bind(core, fx_graph_cse(core.graph), state)


def _bind(core: fx.GraphModule, graph: fx.Graph, state: _State) -> fx.GraphModule:
    """Turn the traced weights from arguments into buffers, shared by forward and backward."""
    for i, (placeholder, value) in enumerate(zip(graph.find_nodes(op="placeholder"), state.values(), strict=False)):
        core.register_buffer(f"{_WEIGHT}{i}", value.detach())
        with graph.inserting_before(placeholder):
            placeholder.replace_all_uses_with(graph.get_attr(f"{_WEIGHT}{i}"))
        graph.erase_node(placeholder)
    return fx.GraphModule(core, graph)

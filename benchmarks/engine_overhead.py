"""What the engine's own process costs: ``Engine.run`` against a bare ONNX Runtime session on the same input.

Both run the same bytes with the same number of threads, in turns. The bare session lives in
this process; ours is asked in another one, with the arrays crossing through shared memory.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.timing import Comparison, compare

THREADS = 2
RUNS_A_TURN = 10  # the peer lives in this process: its run leaves our side's code out of the processor's cache
SIZE = 224
# MobileNetV2 (Sandler 2018, table 2): expansion, channels, repeats, stride.
BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def stand_in(folder: Path) -> Path:
    """A model folder with a MobileNetV2 of random weights: what there is to time before a model is trained."""
    from onnx import TensorProto, helper, numpy_helper

    from tests import fakes

    chance = np.random.default_rng(0)
    nodes, weights = [], []

    def conv(source: str, inside: int, outside: int, *, side: int, stride: int = 1, groups: int = 1) -> str:
        index = len(nodes)
        scale = np.sqrt(2 / (inside // groups * side * side))
        kernel = chance.normal(0, scale, (outside, inside // groups, side, side)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{index}"))
        settings = {"strides": [stride] * 2, "pads": [side // 2] * 4, "group": groups}
        nodes.append(helper.make_node("Conv", [source, f"w{index}"], [f"c{index}"], **settings))
        return f"c{index}"

    def active(source: str) -> str:
        nodes.append(helper.make_node("Clip", [source, "zero", "six"], [f"{source}a"]))
        return f"{source}a"

    now, channels = active(conv("x", 1, 32, side=3, stride=2)), 32
    for expansion, outside, repeats, first_stride in BLOCKS:
        for turn in range(repeats):
            stride = first_stride if turn == 0 else 1
            wide = channels * expansion
            inner = active(conv(now, channels, wide, side=1)) if expansion > 1 else now
            inner = active(conv(inner, wide, wide, side=3, stride=stride, groups=wide))
            inner = conv(inner, wide, outside, side=1)
            if stride == 1 and channels == outside:
                nodes.append(helper.make_node("Add", [now, inner], [f"{inner}s"]))
                inner = f"{inner}s"
            now, channels = inner, outside
    last = active(conv(now, channels, 1280, side=1))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("MatMul", ["features", "head"], ["logits"]),
    ]
    head = chance.normal(0, 0.02, (1280, 1)).astype(np.float32)
    for name, array in (("head", head), ("zero", np.float32(0)), ("six", np.float32(6))):
        weights.append(numpy_helper.from_array(np.asarray(array), name))

    def value(name: str, *shape: object) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])

    outputs = [value("logits", 1), value("features", 1280)]
    graph = helper.make_graph(nodes, "mobilenet", [value("x", 1, SIZE, SIZE)], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    inputs = [{**fakes.card_document(["made-up"], [])["inputs"][0], "shape": [None, 1, SIZE, SIZE]}]
    return fakes.make_model(folder, graph=model, reference=False, id="stand-in", inputs=inputs)


def compare_engine(models: Path, model_id: str, rounds: int, *, batch: int = 1, target: str = "<= 1.05") -> Comparison:
    """Time both on made-up images, and check that they agree to the last bit."""
    import onnxruntime

    from medviewer.inference.catalogue import Catalogue
    from medviewer.inference.engine import Engine

    catalogue = Catalogue([models])
    card = catalogue.card(model_id)
    wanted = ["logits", "features"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as the engine does
    path = card.folder / card.require("model").path
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    name = card.inputs[0].name
    turns = max(1, RUNS_A_TURN // batch)
    shape = [batch, *(int(size or 1) for size in card.inputs[0].shape[1:])]
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    with Engine(catalogue, threads=THREADS) as engine:
        ours = engine.run(model_id, {name: x}, outputs=wanted)
        theirs = session.run(wanted, {name: x})
        if not all(np.array_equal(ours[output], array) for output, array in zip(wanted, theirs, strict=True)):
            raise SystemExit("the engine's outputs differ from those of the bare session")

        def run_ours() -> None:
            for _ in range(turns):
                engine.run(model_id, {name: x}, outputs=wanted)

        def run_bare() -> None:
            for _ in range(turns):
                session.run(wanted, {name: x})

        return compare(
            f"{turns} x Engine.run, batch {batch}, {model_id}",
            run_ours,
            ("ONNX Runtime, bare session", run_bare),
            rounds=rounds,
            target=target,
        )


def run(rounds: int = 40) -> list[Comparison]:
    """The bundled model if there is one, else a stand-in of its size."""
    from medviewer.resources import models_dir

    bundled = "chest-xray-pneumonia"
    if (models_dir() / bundled / "model.json").is_file():
        return _both(models_dir(), bundled, rounds)
    with tempfile.TemporaryDirectory() as folder:
        stand_in(Path(folder) / "stand-in")
        return _both(Path(folder), "stand-in", rounds)


def _both(models: Path, model_id: str, rounds: int) -> list[Comparison]:
    """One image, as a reader asks, and a batch, as explanations and folders of studies do."""
    return [
        compare_engine(models, model_id, rounds),
        compare_engine(models, model_id, rounds, batch=16, target="<= 1.02"),
    ]


if __name__ == "__main__":
    for result in run(int(sys.argv[1]) if len(sys.argv) > 1 else 40):
        both = f"{result.ours_ms:.2f} ms, {result.peer}: {result.peer_ms:.2f} ms"
        print(f"{result.name}: {both}; ratio {result.ratio:.3f} (target {result.target})")

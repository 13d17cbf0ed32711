"""A blend as one ONNX graph, held against what was learned before anybody can pick it up.

The graph also says how far a molecule is from the nearest one that was learned from: 100 times (1 - Tanimoto
similarity of the fingerprints), so 0 for a known one and 100 for one that has nothing in common with any. For
that the fingerprints are folded to half of their length, which is RDKit's own of that length: the file holds one
of each molecule that was learned from.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from medviewer.domain.errors import ModelError
from medviewer.inference.inputs.molecule import NODE_FEATURES
from medviewer.training.gradient_graph import OPSET, quiet_exporter, remove_traces
from medviewer.training.metrics import Floats
from medviewer.training.molecule_blend import BLENDED, PARTS, Blend
from medviewer.training.molecule_networks import COLUMNS, MoleculeParts
from medviewer.training.molecule_tensors import ARRAYS, BITS, MOST_ATOMS, Bytes, MoleculeTensors
from medviewer.training.trees import ML_OPSET, tree_node

OUTPUTS = ("logits", "parts", "novelty")
TOLERANCE = 1e-3
FAR = 100.0
_BATCHES = (1, 3, 8)
_SUMMARY = "molecule.summary"
_ORDERS = (2, 2, 2, 3, 3, 4)  # twice the order of a bond, the common ones more often


def write_graph(blend: Blend, known: Bytes, path: Path) -> float:
    """Write ``model.onnx``: the input's five arrays in; ``logits``, ``parts`` and ``novelty`` out.

    Args:
        blend: what was learned.
        known: ``(n, bits)``, the fingerprints that it was learned from.
        path: of the file.

    Returns:
        The largest difference from what was learned, over batches of 1, 3 and 8 made-up molecules.

    Raises:
        ModelError: it is above :data:`TOLERANCE`.
    """
    onnx.save(_completed(_exported(blend), blend, known), path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return check_graph_of(blend, known, path)


def check_graph_of(blend: Blend, known: Bytes, path: Path) -> float:
    """Return the largest difference between a file and what was learned; see :func:`write_graph`."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    largest = 0.0
    for n in _BATCHES:
        molecules = synthetic_molecules(n, known)
        logits, parts, novelty = session.run(list(OUTPUTS), molecules.feed())
        expected = blend.logits(molecules)
        far = np.abs(novelty[:, 0] - FAR + FAR * nearest(molecules.fingerprint, known)).max() / FAR
        found = np.concatenate([parts, logits[:, None]], 1)
        difference = float(max(np.abs(found - expected).max(), far)) if found.shape == expected.shape else np.inf
        if not difference <= TOLERANCE:
            raise ModelError(f"The exported {path.name} differs from what was learned by {difference:.1e}.")
        largest = max(largest, difference)
    return largest


def nearest(fingerprints: Bytes, known: Bytes) -> Floats:
    """Return the Tanimoto similarity ``(n,)`` to the nearest of the known fingerprints; 0 where neither has a bit."""
    rows, others = folded(fingerprints).astype(np.float32), folded(known).astype(np.float32)
    of_others = others.sum(1)
    found = []
    for start in range(0, len(rows), 512):
        some = rows[start : start + 512]
        common = some @ others.T
        either = some.sum(1)[:, None] + of_others[None] - common
        found.append((common / np.maximum(either, 1)).max(1))
    return np.concatenate(found).astype(np.float64)


def far_in_folds(fingerprints: Bytes, folds: npt.NDArray[np.int64]) -> Floats:
    """Return how far each molecule is from the nearest one of another fold, ``(n,)``, 0 to 100."""
    found = np.zeros(len(folds))
    for index in range(int(folds.max()) + 1):
        found[folds == index] = FAR - FAR * nearest(fingerprints[folds == index], fingerprints[folds != index])
    return found


def folded(fingerprints: Bytes) -> Bytes:
    """Return fingerprints of half the length, ``(n, bits / 2)``."""
    return np.asarray(fingerprints.reshape(len(fingerprints), 2, -1).max(1), np.uint8)


def write_reference(blend: Blend, known: Bytes, path: Path) -> None:
    """Write made-up molecules with the answers that were learned, of which the graph must remind."""
    molecules = synthetic_molecules(4, known)
    said = blend.logits(molecules).astype(np.float32)
    novelty = FAR - FAR * nearest(molecules.fingerprint, known)[:, None]
    named = {f"input.{name}": array for name, array in molecules.feed().items()}
    named |= {"output.logits": said[:, -1], "output.parts": said[:, :-1]}
    named["output.novelty"] = novelty.astype(np.float32)
    np.savez_compressed(path, **named)  # type: ignore[arg-type]


def write_distance(path: Path, scaffolds: npt.NDArray[np.uint64]) -> None:
    """Write what makes the guard's distance of the graph's own novelty: one centre, at nothing, and no scaling.

    Beside it lie marks of the skeletons that were learned from, by which an evaluation tells new ones.
    """
    statistics = {"means": np.zeros((1, 1), np.float32), "whitening": np.ones((1, 1), np.float32)}
    np.savez_compressed(path, scaffolds=scaffolds, **statistics)  # type: ignore[arg-type]


def synthetic_molecules(n: int, known: Bytes) -> MoleculeTensors:
    """Return made-up molecules, the same on every machine: chains with rings, and atoms of made-up properties.

    The first has a fingerprint that was learned from, the others have bits by chance.
    """
    chance = np.random.default_rng(20140915)
    fingerprint = (chance.random((n, BITS)) < 0.02).astype(np.uint8)
    fingerprint[0] = known[0]
    atoms = np.zeros((n, MOST_ATOMS, len(COLUMNS)), np.float32)
    bonds, mask = np.zeros((n, MOST_ATOMS, MOST_ATOMS), np.uint8), np.zeros((n, MOST_ATOMS), np.float32)
    for row, size in enumerate(chance.integers(5, 40, n)):
        mask[row, :size] = 1
        atoms[row, np.arange(size), chance.integers(0, 12, size)] = 1
        atoms[row, :size, len(NODE_FEATURES) :] = np.round(chance.normal(0, 1, (size, len(COLUMNS) - 18)), 2)
        ends = [(index, index + 1) for index in range(size - 1)] + [(0, size - 1)]
        for (a, b), order in zip(ends, chance.choice(_ORDERS, len(ends)), strict=True):
            bonds[row, a, b] = bonds[row, b, a] = order
    return MoleculeTensors(fingerprint, atoms, bonds, mask, np.full((n, 1), np.nan))


def _logit(part: str) -> str:
    """Return a part's name in the graph, where the exporter uses the plain words itself."""
    return f"logit.{part}"


def _exported(blend: Blend) -> onnx.ModelProto:
    """Return the networks, the linear model and the summary as a graph of any batch."""
    parts = MoleculeParts(blend.graph, blend.dense, blend.linear).eval()
    molecules = synthetic_molecules(2, np.zeros((1, BITS), np.uint8))
    example = tuple(torch.from_numpy(array.copy()) for array in molecules.feed().values())
    batch = torch.export.Dim("batch", min=1, max=4096)
    with tempfile.TemporaryDirectory() as folder, quiet_exporter():
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            parts, example, raw, dynamo=True, verbose=False, opset_version=OPSET, external_data=False,
            dynamic_shapes=tuple({0: batch} for _ in example), input_names=list(ARRAYS),
            output_names=[_logit("graph"), _logit("dense"), _logit("linear"), _SUMMARY],
        )  # fmt: skip
        model = onnx.load(raw)
    remove_traces(model)
    return model


def _completed(model: onnx.ModelProto, blend: Blend, known: Bytes) -> onnx.ModelProto:
    """Add the trees, the mean of the blended parts, and how far the nearest known molecule is."""
    graph, n_assays = model.graph, len(blend.trees)
    named = [f"{_logit('trees')}.{index}" for index in range(n_assays)]
    for name, trees in zip(named, blend.trees, strict=True):
        graph.node.append(tree_node(trees, source=_SUMMARY, result=name))
    graph.node.append(helper.make_node("Concat", named, [_logit("trees")], axis=1))
    _constant(graph, "parts.axis", np.array([1], np.int64))
    for part in PARTS:
        graph.node.append(helper.make_node("Unsqueeze", [_logit(part), "parts.axis"], [f"part.{part}"]))
    graph.node.append(helper.make_node("Concat", [f"part.{part}" for part in PARTS], ["parts"], axis=1))
    graph.node.append(helper.make_node("Mean", [_logit(part) for part in PARTS[:BLENDED]], ["logits"]))
    _add_novelty(graph, known)
    del graph.output[:]
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    shapes = {"logits": [batch, n_assays], "parts": [batch, len(PARTS), n_assays], "novelty": [batch, 1]}
    for name, shape in shapes.items():
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    return model


def _add_novelty(graph: Any, known: Bytes) -> None:
    """Add 100 * (1 - Tanimoto similarity to the nearest of ``known``), whose bits take a byte each."""
    known = folded(known)
    _constant(graph, "known", np.ascontiguousarray(known.T))
    _constant(graph, "known.shape", np.array([-1, 2, known.shape[1]], np.int64))
    _constant(graph, "known.bits", known.sum(1).astype(np.float32)[None])
    for name, value in (("one", 1.0), ("far", FAR)):
        _constant(graph, f"known.{name}", np.array(value, np.float32))
    _constant(graph, "known.axis", np.array([1], np.int64))
    node = helper.make_node
    graph.node.extend(
        [
            node("Reshape", ["fingerprint", "known.shape"], ["novelty.halves"]),
            node("ReduceMax", ["novelty.halves", "known.axis"], ["novelty.folded"], keepdims=0),
            node("Cast", ["novelty.folded"], ["novelty.bytes"], to=TensorProto.UINT8),
            node("MatMulInteger", ["novelty.bytes", "known"], ["novelty.whole"]),
            node("Cast", ["novelty.whole"], ["novelty.common"], to=TensorProto.FLOAT),
            node("ReduceSum", ["novelty.folded", "known.axis"], ["novelty.own"], keepdims=1),
            node("Add", ["novelty.own", "known.bits"], ["novelty.sum"]),
            node("Sub", ["novelty.sum", "novelty.common"], ["novelty.union"]),
            node("Max", ["novelty.union", "known.one"], ["novelty.either"]),
            node("Div", ["novelty.common", "novelty.either"], ["novelty.similar"]),
            node("ReduceMax", ["novelty.similar", "known.axis"], ["novelty.nearest"], keepdims=1),
            node("Sub", ["known.one", "novelty.nearest"], ["novelty.apart"]),
            node("Mul", ["novelty.apart", "known.far"], ["novelty"]),
        ]
    )


def _constant(graph: Any, name: str, value: np.ndarray) -> None:
    graph.initializer.append(numpy_helper.from_array(value, name))

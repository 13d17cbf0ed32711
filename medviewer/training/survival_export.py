"""Cox's model as an ONNX graph, held against what was fitted before anybody can pick it up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from medviewer.domain.errors import ModelError
from medviewer.training.cox import Cox
from medviewer.training.gradient_graph import OPSET
from medviewer.training.metrics import Floats

INPUT, OUTPUTS = "values", ("survival", "log_hazard")
TOLERANCE = 1e-5
_BATCHES = (1, 3, 8)


def write_graph(model: Cox, times: Sequence[float], path: Path) -> float:
    """Write ``model.onnx``: ``values`` ``(N, p)`` in; ``survival`` ``(N, t)`` and ``log_hazard`` ``(N, 1)`` out.

    Returns:
        The largest difference from what was fitted, over batches of 1, 3 and 8 made-up patients.

    Raises:
        ModelError: it is above :data:`TOLERANCE`.
    """
    constants = {
        "beta": model.beta[:, None].astype(np.float32),
        "minus_hazard": -model.hazard_at(np.asarray(times, np.float64))[None].astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", [INPUT, "beta"], ["log_hazard"]),
        helper.make_node("Exp", ["log_hazard"], ["ratio"]),
        helper.make_node("MatMul", ["ratio", "minus_hazard"], ["log_free"]),
        helper.make_node("Exp", ["log_free"], ["survival"]),
    ]
    graph = helper.make_graph(
        nodes,
        "cox",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", len(model.beta)])],
        [
            helper.make_tensor_value_info("survival", TensorProto.FLOAT, ["n", len(times)]),
            helper.make_tensor_value_info("log_hazard", TensorProto.FLOAT, ["n", 1]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    path.write_bytes(made.SerializeToString())
    return check_graph_of(model, times, path)


def check_graph_of(model: Cox, times: Sequence[float], path: Path) -> float:
    """Return the largest difference between a file and a model; see :func:`write_graph`."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    largest = 0.0
    for n in _BATCHES:
        x = synthetic_patients(n, len(model.beta))
        free, hazard = session.run(list(OUTPUTS), {INPUT: x.astype(np.float32)})
        apart = [free - model.free(x, np.asarray(times, np.float64)), hazard[:, 0] - model.log_hazard(x)]
        difference = max(float(np.abs(one).max()) for one in apart)
        if not difference <= TOLERANCE:
            raise ModelError(f"The exported {path.name} differs from what was fitted by {difference:.1e}.")
        largest = max(largest, difference)
    return largest


def write_reference(model: Cox, times: Sequence[float], path: Path) -> None:
    """Write made-up patients with the answers that were fitted, of which the graph must remind."""
    x = synthetic_patients(4, len(model.beta))
    free, hazard = model.free(x, np.asarray(times, np.float64)), model.log_hazard(x)[:, None]
    named = {f"input.{INPUT}": x, "output.survival": free, "output.log_hazard": hazard}
    np.savez_compressed(path, **{name: array.astype(np.float32) for name, array in named.items()})  # type: ignore[arg-type]


def synthetic_patients(n: int, columns: int) -> Floats:
    """Return made-up standardised values ``(n, columns)``, the same on every machine; the first are means."""
    x = np.random.default_rng(20080611).normal(0, 1, (max(n, 8), columns))[:n]
    x[0] = 0.0
    return np.asarray(x.astype(np.float32), np.float64)

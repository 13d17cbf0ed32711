"""Model folders with a copy of the tiny network in fewer bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tests import fakes

FP16 = f"{fakes.MODEL_ID}@fp16"


def coarse_graph() -> onnx.ModelProto:
    """The network with weights of half precision, as a conversion would write them; computed in float32."""
    model = fakes.model_graph()
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16).astype(np.float32), tensor.name))
    return model


def make(folder: Path, graph: onnx.ModelProto | None = None, **drift: Any) -> Path:
    """A model folder with an fp16 variant."""
    fakes.make_model(folder)
    data = (graph or coarse_graph()).SerializeToString()
    (folder / "model.fp16.onnx").write_bytes(data)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    card["files"].append(fakes.file_entry("fp16", folder / "model.fp16.onnx"))
    known = {"bound": 0.01, "measured": 0.002, "n": 100, "data": "made-up images"}
    card["variants"] = [
        {"name": "fp16", "file": "model.fp16.onnx", "drift": {**known, **drift}, "reference_tolerance": 0.05}
    ]
    fakes.write_card(folder, card)
    return folder

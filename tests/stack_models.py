"""A tiny network in three dimensions with a known answer, and stacks of one phantom stored in many ways.

The network sums its input over one of 64 boxes: the one towards the patient's left, back and head next to the corner.
The phantom is a cube of 64 mm, dark but for that very box, so that wherever left, back and head are stored the answer
is the same and the map is hot there. ``ORIENTATIONS`` are the ways in which its slices are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from medviewer.inference.catalogue import Catalogue
from medviewer.inference.preprocessing import filtered
from tests import fakes
from tests.dicom_maker import make_dataset, write_dataset

MODEL_ID = "tiny-stack"
SLICES, ROWS, COLUMNS = 4, 8, 8  # of the network's input
SIDE_MM, CORNER = 64.0, np.array([-20.0, 10.0, -300.0])  # of the cube: its outer corner to the right, front and feet
# The bright box as parts of the side, by L, P and H: no two alike, so that no two axes can be taken for each other.
LOW, HIGH = np.array([0.75, 0.50, 0.25]), np.array([1.00, 0.75, 0.50])
HOT = CORNER + (LOW + HIGH) / 2 * SIDE_MM  # its middle, LPS mm
SPOT = 500  # HU; the rest is -500

Axis = tuple[float, float, float]
ORIENTATIONS: Mapping[str, tuple[Axis, Axis]] = {  # row and column cosines
    "axial": ((1, 0, 0), (0, 1, 0)),
    "axial turned by half": ((-1, 0, 0), (0, -1, 0)),
    "axial seen from above": ((-1, 0, 0), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "sagittal mirrored": ((0, -1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "coronal upside down": ((1, 0, 0), (0, 0, 1)),
    "axial on its side": ((0, 1, 0), (1, 0, 0)),
}


def weights() -> np.ndarray:
    """``(1, slices, rows, columns)`` of the network: 1 over the number of voxels in its box, else 0."""
    found = np.zeros((1, SLICES, ROWS, COLUMNS), np.float32)
    low, high = LOW * (COLUMNS, ROWS, SLICES), HIGH * (COLUMNS, ROWS, SLICES)
    box = tuple(slice(round(a), round(b)) for a, b in zip(low[::-1], high[::-1], strict=True))
    found[(0, *box)] = 1 / found[(0, *box)].size
    return found


def forward(x: np.ndarray) -> np.ndarray:
    """Logits ``(n, 1)``: 8 x the mean of the box, which is at most 1, less 2."""
    return (8 * np.tensordot(x.astype(np.float64), weights().astype(np.float64), 4)[:, None] - 2).astype(np.float32)


def known_probability(voxels: int = 16) -> float:
    """What the network must say of the phantom: its block is made here in the network's own order, never turned."""
    step = SIDE_MM / voxels
    places = [CORNER[axis] + (np.arange(voxels) + 0.5) * step for axis in range(3)]
    h, p, left = np.meshgrid(places[2], places[1], places[0], indexing="ij")
    block = np.clip((value_at(np.stack([left, p, h], axis=-1)).astype(np.float32) + 500) / 1000, 0, 1)
    for axis, size in enumerate((SLICES, ROWS, COLUMNS)):
        front = np.moveaxis(block, axis, 0)
        flat = filtered(np.ascontiguousarray(front).reshape(len(front), -1), size)
        block = np.moveaxis(flat.reshape(size, *front.shape[1:]), 0, axis)
    return float(1 / (1 + np.exp(-forward(block[None, None])[0, 0] / 2)))  # the card's temperature


def make(folder: Path, *, orient: bool = True, spec: Mapping[str, Any] | None = None, **changes: Any) -> Path:
    """Write a whole model folder; ``spec`` replaces fields of its input, ``changes`` those of its card."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [
        helper.make_node("Mul", ["ct", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Mul", ["column", "eight"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "two"], ["logits"]),
    ]
    constants = {
        "weights": weights()[None], "axes": np.array([1, 2, 3, 4], np.int64), "one": np.array([1], np.int64),
        "eight": np.float32(8), "two": np.float32(2),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "stack",
        [helper.make_tensor_value_info("ct", TensorProto.FLOAT, ["n", 1, SLICES, ROWS, COLUMNS])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", fakes.OPSET)], ir_version=9)
    (folder / "model.onnx").write_bytes(network.SerializeToString())
    steps: list[dict[str, Any]] = [{"op": "orient", "slices": "H", "rows": "P", "columns": "L"}] if orient else []
    steps += [
        {"op": "window", "low": -500, "high": 500},
        {"op": "resize", "slices": SLICES, "rows": ROWS, "columns": COLUMNS},
    ]
    ct = {"kind": "volume", "name": "ct", "modality": ["CT"], "body_part": [], "dtype": "float32", "layout": "NCDHW"}
    ct |= {"shape": [None, 1, SLICES, ROWS, COLUMNS], "preprocessing": steps, **(spec or {})}
    document = fakes.card_document(["spot"], [fakes.file_entry("model", folder / "model.onnx")])
    document |= {"id": MODEL_ID, "title": {"en": "Spot in a stack", "zh": "断层亮点"}, "inputs": [ct]}
    document |= {"outputs": [{"name": "logits", "shape": [None, 1]}], "preprocessing": []}
    document["population"] |= {"age_years": [1, 90], "sexes": []}
    document["explain"] = {"target_layer": "", "grid": [1, 1], "methods": ["occlusion"]}
    for absent in ("ood", "ranges"):
        del document[absent]
    fakes.write_card(folder, {**document, **changes})
    return folder


class StackEngine(fakes.FakeEngine):
    """An engine without a process for the model of this module."""

    def run(self, model_id: str, inputs: Mapping[str, np.ndarray], **more: Any) -> dict[str, np.ndarray]:  # type: ignore[override]
        """What the network gives, worked out here."""
        if model_id != MODEL_ID:
            return super().run(model_id, inputs, **more)
        self._take(model_id, "model", more.get("stop"))
        return {"logits": forward(inputs["ct"])}


@contextmanager
def open_engine(folder: Path) -> Iterator[StackEngine]:
    """An engine whose models are that of this module and any others in ``folder``."""
    make(folder / MODEL_ID)
    engine = StackEngine(Catalogue([folder]))
    yield engine
    engine.close()


def value_at(points: np.ndarray) -> np.ndarray:
    """HU of the phantom at ``(..., 3)`` LPS mm."""
    part = (points - CORNER) / SIDE_MM
    return np.where(((part > LOW) & (part < HIGH)).all(axis=-1), SPOT, -500).astype(np.int16)


def write_stack(folder: Path, orientation: str = "axial", *, voxels: int = 16, **changes: Any) -> list[Path]:
    """Write the phantom as CT slices of ``voxels`` cubed; ``changes`` are attributes by keyword."""
    right, down = (np.array(axis, np.float64) for axis in ORIENTATIONS[orientation])
    return write_slices(folder, right, down, voxels=voxels, **changes)


def write_slices(
    folder: Path, right: np.ndarray, down: np.ndarray, *, voxels: int = 16, slices: int | None = None, **changes: Any
) -> list[Path]:
    """The same with any row and column cosines; fewer ``slices`` are farther apart."""
    folder.mkdir(parents=True, exist_ok=True)
    count = slices or voxels
    step, apart, normal = SIDE_MM / voxels, SIDE_MM / count, np.cross(right, down)
    middle = CORNER + SIDE_MM / 2
    grid = (np.arange(voxels) - (voxels - 1) / 2) * step
    paths = []
    for number in range(count):
        centre = middle + normal * (number - (count - 1) / 2) * apart
        points = centre + grid[:, None, None] * down + grid[None, :, None] * right
        known = {
            "ImagePositionPatient": [float(v) for v in points[0, 0]], "PixelSpacing": [step, step],
            "ImageOrientationPatient": [*(float(v) for v in right), *(float(v) for v in down)],
            "FrameOfReferenceUID": "2.25.9", "InstanceNumber": number + 1, "PatientAge": "050Y", "StudyDate": "20240301",
            "StudyID": "1", "SeriesNumber": 1, "RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "HU",
            "WindowCenter": 0, "WindowWidth": 1000, "SOPInstanceUID": f"{changes.get('SeriesInstanceUID', '2.25.2')}.{7000 + number}", "SliceThickness": apart,
        }  # fmt: skip
        said = {name: value for name, value in {**known, **changes}.items() if value is not None}
        dataset = make_dataset(value_at(points), **said)
        paths.append(write_dataset(folder / f"{number:03d}.dcm", dataset))
    return paths


def box_of(placed: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The middle (LPS mm) of what is hottest on a plane: of the pixels within a percent of its highest value."""
    hot = placed >= np.nanmax(placed) * 0.99
    return np.asarray(points[hot].mean(axis=0))

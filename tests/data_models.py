"""Tiny real models of every kind of data and task, each a linear network whose numbers can be worked out by hand.

``make(kind, folder)`` writes a whole model folder; ``case_for(kind)`` is a case that it answers.
``KINDS`` are all of them. The networks: all arrays of all inputs, flattened one after the other
(``arrays``), times ``weights`` plus a bias.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from medviewer.domain.case import Case, Observation, TextObservation
from medviewer.domain.errors import MedViewerError
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Plane
from medviewer.domain.volume import Volume
from medviewer.inference.catalogue import Catalogue
from tests import fakes, outline_models

START = datetime(2024, 3, 1, 8, 0)  # noqa: DTZ001 - local, as recorded
NOTE = "The patient has a cough and fever. She denies chest pain and was not short of breath."

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "patient", "has", "a", "cough", "and", "fever", ".",
              "she", "den", "##ies", "chest", "pain", "was", "not", "short", "of", "breath"]  # fmt: skip
TERMS = {"terms": ["cough", "fever", "chest", "chest pain", "breath"], "idf": [1.5, 1.2, 2.0, 2.5, 1.9]}

VITALS: tuple[tuple[str, str, str, float, float], ...] = (
    ("pulse", "8867-4", "/min", 85.0, 15.0),
    ("temperature", "8310-5", "Cel", 37.0, 0.7),
    ("lactate", "2524-7", "mmol/L", 1.5, 1.0),
)


@dataclass(frozen=True)
class Made:
    """How a kind is made: its inputs, its graph inputs (name, type, shape without batch), its files, its case."""

    inputs: Callable[[], list[dict[str, Any]]]
    case: Callable[[], Case]
    files: Mapping[str, str] = None  # type: ignore[assignment]
    task: str = "multilabel"


def table_input(**changes: Any) -> dict[str, Any]:
    fields = [
        {"name": name, "title": {"en": name.capitalize(), "zh": "项目"}, "codes": [code], "unit": unit, "mean": mean,
         "std": std, "range": [0, 300]}
        for name, code, unit, mean, std in VITALS
    ]  # fmt: skip
    fields.append({"name": "age", "title": "Age", "from": "age_years", "mean": 60.0, "std": 15.0})
    word = {"name": "smoking", "title": "Smoking", "codes": ["72166-2"], "categories": {"never": 0, "current": 1}}
    fields.append({**word, "mean": 0.0, "std": 1.0})
    shape = [None, len(fields)]
    tensors = [tensor("values", "table_values", shape), tensor("mask", "table_mask", shape)]
    document = {"kind": "table", "name": "values", "tensors": tensors, "fields": fields}
    return {**document, "preprocessing": [{"op": "z_score"}], "together_h": 6, "warn_older_h": 24, **changes}


def series_input(**changes: Any) -> dict[str, Any]:
    variables = [
        {"name": name, "title": {"en": name.capitalize(), "zh": "项目"}, "codes": [code], "unit": unit, "mean": mean,
         "std": std, "range": [0, 300], "required": name == "pulse"}
        for name, code, unit, mean, std in VITALS
    ]  # fmt: skip
    shape = [None, 12, 3 * len(variables)]
    steps = [{"op": "carry_forward"}, {"op": "z_score"}, {"op": "age", "cap_h": 12}]
    document = {"kind": "series", "name": "vitals", "tensors": [tensor("joined", "series", shape)], "hours": 12}
    document |= {"step_h": 1, "origin": "first", "variables": variables, "preprocessing": steps, "group_h": 4}
    return {**document, **changes}


def wordpiece_input(**changes: Any) -> dict[str, Any]:
    tensors = [tensor("ids", "ids", [None, 24], "int64"), tensor("mask", "attention", [None, 24], "int64")]
    steps = [{"op": "lowercase"}, {"op": "strip_accents"}, {"op": "wordpiece", "length": 24}]
    document = {"kind": "text", "name": "note", "tensors": tensors, "vocabulary": "vocab.txt", "languages": ["en"]}
    return {**document, "preprocessing": steps, **changes}


def tfidf_input(**changes: Any) -> dict[str, Any]:
    steps = [{"op": "lowercase"}, {"op": "tfidf", "most": 2, "sublinear": True}]
    document = {"kind": "text", "name": "note", "tensors": [tensor("counts", "counts", [None, 5])]}
    return {**document, "vocabulary": "terms.json", "languages": ["en"], "preprocessing": steps, **changes}


def molecule_input(**changes: Any) -> dict[str, Any]:
    tensors = [tensor("fingerprint", "bits", [None, 64]), tensor("nodes", "nodes", [None, 16, 18])]
    tensors += [tensor("bonds", "bonds", [None, 16, 16]), tensor("mask", "atoms", [None, 16])]
    tensors.append(tensor("properties", "properties", [None, 16, 21]))
    steps = [{"op": "fingerprint", "radius": 2, "bits": 64}, {"op": "graph", "atoms": 16}]
    return {"kind": "molecule", "name": "molecule", "tensors": tensors, "preprocessing": steps, **changes}


def volume_input(**changes: Any) -> dict[str, Any]:
    steps = [
        {"op": "window", "low": -1000, "high": 400},
        {"op": "resize", "slices": 4, "rows": 6, "columns": 6},
        {"op": "normalise", "mean": 0.5, "std": 0.5},
    ]
    document = {"kind": "volume", "name": "ct", "modality": ["CT"], "body_part": [], "dtype": "float32"}
    return {**document, "layout": "NCDHW", "shape": [None, 1, 4, 6, 6], "preprocessing": steps, **changes}


def view_input(name: str, view: str) -> dict[str, Any]:
    document = fakes.card_document(["x"], [])["inputs"][0]
    steps = [{"op": "resize", "rows": 8, "columns": 8}, {"op": "percentile_window", "low": 1, "high": 99}]
    return {
        **document,
        "name": name,
        "view": [view],
        "choose": "view",
        "shape": [None, 1, 8, 8],
        "preprocessing": steps,
    }


def tensor(part: str, name: str, shape: Sequence[int | None], dtype: str = "float32") -> dict[str, Any]:
    return {"part": part, "name": name, "dtype": dtype, "shape": list(shape)}


def table_case() -> Case:
    """Recorded an hour before the moment of the case; the temperature in another, safe unit."""
    at = START + timedelta(hours=5)
    return Case(
        age_years=64.5,
        sex="F",
        observations=(
            Observation("8867-4", "Pulse", 96.0, "/min", at),
            Observation("8867-4", "Pulse", 70.0, "/min", START),
            Observation("8310-5", "Temperature", 100.4, "[degF]", at),
            Observation("2524-7", "Lactate", 2.5, "mmol/L", at - timedelta(hours=1)),
        ),
        text_observations=(TextObservation("72166-2", "Smoking", "Current", at),),
        at=at + timedelta(hours=1),
    )


def series_case() -> Case:
    rows = [(0, 0, 80), (1, 0, 84), (5, 0, 120), (11, 0, 100), (2, 1, 36.5), (6.5, 1, 39), (6.75, 1, 39.4), (9, 2, 4)]
    made = (
        Observation(VITALS[column][1], "", value, VITALS[column][2], START + timedelta(hours=hours))
        for hours, column, value in rows
    )
    return Case(age_years=64.0, sex="M", observations=tuple(made), at=START + timedelta(hours=12))


def text_case() -> Case:
    return Case(age_years=50.0, note=NOTE)


def molecule_case() -> Case:
    return Case(smiles=("CC(=O)Oc1ccccc1C(=O)O",))  # aspirin


def volume_case(slices: int = 8, spacing_mm: float = 5.0) -> Case:
    stored = np.random.default_rng(4).integers(0, 1400, (slices, 12, 12)).astype(np.int16)
    stored.setflags(write=False)
    plane = Plane((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    description = replace(
        fakes.make_frame(12, 12).description, modality="CT", rescale_intercept=-1000.0, plane=plane,
        pixel_spacing_mm=(1.0, 1.0),
    )  # fmt: skip
    positions = np.array([(0.0, 0.0, spacing_mm * i) for i in range(slices)])
    return Case(volumes=(Volume(stored, positions, description),), age_years=50.0)


def view_case() -> Case:
    views = (fakes.make_frame(view_position="PA", seed=1), fakes.make_frame(view_position="LL", seed=2))
    return Case(images=views, age_years=3.0, sex="F")


def film_case() -> Case:
    return replace(table_case(), images=view_case().images[:1])


def fusion_case() -> Case:
    return replace(table_case(), note=NOTE)


KINDS: Mapping[str, Made] = {
    "table": Made(lambda: [table_input()], table_case),
    "series": Made(lambda: [series_input()], series_case),
    "wordpiece": Made(
        lambda: [wordpiece_input()], text_case, {"vocab.txt": "\n".join(VOCABULARY) + "\n"}, "multiclass"
    ),
    "tfidf": Made(lambda: [tfidf_input()], text_case, {"terms.json": json.dumps(TERMS)}, "multiclass"),
    "molecule": Made(lambda: [molecule_input()], molecule_case),
    "volume": Made(lambda: [volume_input()], volume_case),
    "views": Made(lambda: [view_input("frontal", "PA"), view_input("lateral", "LL")], view_case),
    "film": Made(lambda: [view_input("frontal", "PA"), table_input()], film_case),
    "fusion": Made(lambda: [table_input(), tfidf_input()], fusion_case, {"terms.json": json.dumps(TERMS)}),
    "score": Made(lambda: [table_input()], table_case, task="score"),
    "survival": Made(lambda: [table_input()], table_case, task="survival"),
    "forecast": Made(lambda: [series_input()], series_case, task="forecast"),
    "segmentation": Made(lambda: [view_input("film", "PA")], view_case, task="segmentation"),
}

_OUTPUTS = {
    "multilabel": ("logits", [2]),
    "multiclass": ("logits", [3]),
    "score": ("score", [1]),
    "survival": ("survival", [3]),
    "forecast": ("quantiles", [4, 3]),
    "segmentation": ("masks", [2, 8, 8]),
}


def case_for(kind: str) -> Case:
    """A case that the model of that kind answers."""
    return KINDS[kind].case()


def make(kind: str, folder: Path, *, inputs: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
    """Write a whole, valid model folder of one kind; ``changes`` replace top-level fields of the card."""
    made = KINDS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    used = made.inputs() if inputs is None else inputs
    for name, text in (made.files or {}).items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "model.onnx").write_bytes(_graph(used, made.task))
    entries = [("model", "model.onnx"), *(("vocabulary", name) for name in made.files or {})]
    files = [fakes.file_entry(role, folder / name) for role, name in entries]
    fakes.write_card(folder, {**card(kind, used, files), **changes})
    return folder


def card(kind: str, inputs: Sequence[Mapping[str, Any]], files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A complete, valid card for a kind."""
    task = KINDS[kind].task
    name, shape = _OUTPUTS[task]
    document = fakes.card_document(["first", "second", "third"][: shape[0]], files)
    document |= {"id": f"tiny-{kind}", "task": task, "inputs": list(inputs), "preprocessing": []}
    document |= {"outputs": [{"name": name, "shape": [None, *shape]}], "population": {**document["population"]}}
    document["population"] |= {"age_years": [1, 90], "sexes": []}
    document["explain"] = {"target_layer": "", "grid": [1, 1], "methods": ["occlusion"]}
    for absent in ("ood", "ranges"):
        del document[absent]
    if task == "segmentation":
        del document["calibration"], document["explain"]
        outlined = [outline_models.label_document(name, "轮廓", (255, 160, 40)) for name in ("first", "second")]
        return {**document, "labels": outlined, "masks": {"values": "logits", "classes": "independent"}}
    if task in ("multilabel", "multiclass"):
        return document
    del document["calibration"]
    return {**document, "labels": [], "outcomes": [_outcome(task)]}


def arrays(inputs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, list[int]]]:
    """The graph's inputs: (name, type, shape without the batch)."""
    found = []
    for spec in inputs:
        own = {"name": spec["name"], "dtype": "float32", "shape": spec.get("shape")}
        found += [(t["name"], t["dtype"], t["shape"][1:]) for t in spec.get("tensors", [own])]
    return found


def weights(inputs: Sequence[Mapping[str, Any]], columns: int) -> np.ndarray:
    """The network's weights, ``(all numbers of all arrays, columns)``: the same each time."""
    rows = sum(int(np.prod(shape)) for _, _, shape in arrays(inputs))
    return np.random.default_rng(11).normal(0, 0.3, (rows, columns)).astype(np.float32)


def forward(inputs: Sequence[Mapping[str, Any]], task: str, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the network gives, worked out in numpy."""
    shape = _OUTPUTS[task][1]
    flat = np.concatenate(
        [batch[name].reshape(len(batch[name]), -1).astype(np.float64) for name, _, _ in arrays(inputs)], 1
    )
    raw = (flat @ weights(inputs, int(np.prod(shape)))).reshape(-1, *shape)
    if task == "score":
        return 10 / (1 + np.exp(-raw))
    if task == "survival":
        return np.cumprod(1 / (1 + np.exp(-raw)), axis=1)
    if task == "forecast":
        return np.cumsum(np.log1p(np.exp(raw)), axis=2)
    return raw


def _graph(inputs: Sequence[Mapping[str, Any]], task: str) -> bytes:
    name, shape = _OUTPUTS[task]
    columns = int(np.prod(shape))
    nodes, parts = [], []
    for array, dtype, _ in arrays(inputs):
        source = array
        if dtype != "float32":
            nodes.append(helper.make_node("Cast", [array], [f"{array}.float"], to=TensorProto.FLOAT))
            source = f"{array}.float"
        nodes.append(helper.make_node("Flatten", [source], [f"{array}.flat"]))
        parts.append(f"{array}.flat")
    nodes.append(helper.make_node("Concat", parts, ["flat"], axis=1))
    nodes.append(helper.make_node("MatMul", ["flat", "weights"], ["product"]))
    nodes.append(helper.make_node("Reshape", ["product", "shape"], ["raw"]))
    nodes += _tail(task, name)
    constants = {
        "weights": weights(inputs, columns),
        "shape": np.array([-1, *shape], np.int64),
        "ten": np.float32(10),
        "axis": np.array(1 if task == "survival" else 2, np.int64),
        "up": np.triu(np.ones((shape[-1], shape[-1]), np.float32)),
    }
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(a, kinds[dtype], ["n", *sizes]) for a, dtype, sizes in arrays(inputs)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])],
        [numpy_helper.from_array(np.asarray(array), key) for key, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", fakes.OPSET)], ir_version=9)
    return bytes(model.SerializeToString())


def _tail(task: str, name: str) -> list[Any]:
    if task == "score":
        return [helper.make_node("Sigmoid", ["raw"], ["part"]), helper.make_node("Mul", ["part", "ten"], [name])]
    if task == "survival":  # a product of parts below one: falls
        nodes = [helper.make_node("Sigmoid", ["raw"], ["part"]), helper.make_node("Log", ["part"], ["log"])]
        return [*nodes, helper.make_node("MatMul", ["log", "up"], ["sum"]), helper.make_node("Exp", ["sum"], [name])]
    if task == "forecast":  # a sum of parts above zero: low, median, high in order
        return [helper.make_node("Softplus", ["raw"], ["part"]), helper.make_node("CumSum", ["part", "axis"], [name])]
    return [helper.make_node("Identity", ["raw"], [name])]


def _outcome(task: str) -> dict[str, Any]:
    code = {"scheme": "LOINC", "value": "0-0", "meaning": "made up"}
    common = {"name": "risk", "code": code, "title": {"en": "Risk", "zh": "风险"}}
    common |= {"measured": {"en": "Made up.", "zh": "虚构。"}}
    if task == "score":
        bands = [
            {"from": 0, "title": {"en": "Low", "zh": "低"}},
            {"from": 5, "title": {"en": "High", "zh": "高"}, "flagged": True},
        ]
        return {**common, "lowest": 0, "highest": 10, "bands": bands}
    if task == "survival":
        return {**common, "unit": "d", "times": [30, 90, 365], "horizon": 90}
    return {**common, "unit": "mm[Hg]", "times": [1, 2, 3, 4], "nominal": 0.8}


class DataEngine(fakes.FakeEngine):
    """An engine without a process for the models of this module; ``failures`` are raised by the run of that number."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(Catalogue([folder]), **options)
        self.failures: dict[int, MedViewerError] = {}

    def run(  # type: ignore[override]
        self, model_id: str, inputs: Mapping[str, np.ndarray], *, stop: StopToken | None = None, **_more: Any
    ) -> dict[str, np.ndarray]:
        """What the network gives, worked out here."""
        self._wait(stop)
        self.calls.append((model_id, "model"))
        if failure := self.failures.pop(len(self.calls), None):
            raise failure
        card = self.catalogue.card(model_id)
        found = forward([spec.document for spec in card.inputs], card.task, inputs)
        return {_OUTPUTS[card.task][0]: found.astype(np.float32)}

"""Tiny real segmentation models: they outline what is bright and what is dark, so that every mask is known.

The network: of a prepared image ``x`` in 0..1, bright has the logit 20 (x - 0.75) and dark 20 (0.25 - x), each pixel by
itself. ``exclusive`` ones have a background of logit 0 before them and a softmax over the three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from medviewer.domain.answer import Answer, Region
from medviewer.domain.case import Case
from medviewer.domain.frame import Frame
from medviewer.domain.study import PixelDescription
from medviewer.imaging.label_planes import is_ragged, outlines_of
from tests import fakes
from tests.answers import make_answer

SIZE = 16  # rows and columns of the network's input
MODEL_ID = "tiny-outlines"
LABELS = ("bright", "dark")
GREY = {"bright": 4000, "middle": 2000, "dark": 0}  # stored values, prepared to 1, 0.5 and 0
CHEST: Mapping[str, Any] = {
    "modality": "CR", "bits_stored": 12, "body_part_examined": "CHEST", "view_position": "PA",
    "pixel_spacing_mm": (0.5, 0.4), "spacing_source": "at detector",
}  # fmt: skip


def graph(values: str = "logits", classes: str = "independent", size: int = SIZE, **changes: Any) -> bytes:
    """The network; ``scale``, ``channels`` or ``tail`` (an operator after it) break it.

    With ``features`` it also gives the mean of the prepared image, ``(n, 1)``.
    """
    given = {"scale": 1, "channels": None, "tail": "", "features": False, **changes}
    nodes = [
        helper.make_node("Sub", ["x", "high"], ["above"]),
        helper.make_node("Mul", ["above", "steep"], ["bright"]),
        helper.make_node("Sub", ["low", "x"], ["below"]),
        helper.make_node("Mul", ["below", "steep"], ["dark"]),
        helper.make_node("Mul", ["x", "nothing"], ["ground"]),
    ]
    parts = ["bright", "dark"] if classes == "independent" else ["ground", "bright", "dark"]
    parts = parts[: given["channels"]]
    nodes.append(helper.make_node("Concat", parts, ["all"], axis=1))
    last = "all"
    if values == "probabilities":
        kind = "Sigmoid" if classes == "independent" else "Softmax"
        options = {} if kind == "Sigmoid" else {"axis": 1}
        nodes.append(helper.make_node(kind, [last], ["p"], **options))
        last = "p"
    if given["tail"]:
        nodes.append(helper.make_node(given["tail"], [last], ["t"]))
        last = "t"
    if given["scale"] != 1:
        nodes.append(helper.make_node("Resize", [last, "", "scales"], ["r"], mode="nearest"))
        last = "r"
    nodes.append(helper.make_node("Identity", [last], ["masks"]))
    numbers = {"high": 0.75, "low": 0.25, "steep": 20.0, "nothing": 0.0}
    weights = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in numbers.items()]
    scales = np.array([1, 1, given["scale"], given["scale"]], np.float32)
    weights.append(numpy_helper.from_array(scales, "scales"))
    out = round(size * given["scale"])
    outputs = [helper.make_tensor_value_info("masks", TensorProto.FLOAT, ["n", len(parts), out, out])]
    if given["features"]:
        nodes += [
            helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["features"]),
        ]
        outputs.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1]))
    made = helper.make_graph(
        nodes,
        "outlines",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, size, size])],
        outputs,
        weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", fakes.OPSET)], ir_version=9)
    return bytes(model.SerializeToString())


def forward(x: np.ndarray, values: str = "logits", classes: str = "independent") -> np.ndarray:
    """What the network gives, worked out in numpy."""
    channels = [20 * (x - 0.75), 20 * (0.25 - x)]
    found = np.concatenate(channels if classes == "independent" else [0 * x, *channels], axis=1)
    if values == "probabilities" and classes == "independent":
        found = 1 / (1 + np.exp(-found))
    elif values == "probabilities":
        found = np.exp(found) / np.exp(found).sum(axis=1, keepdims=True)
    return found.astype(np.float32)


def card_document(
    files: list[dict[str, Any]], values: str = "logits", classes: str = "independent", size: int = SIZE
) -> dict[str, Any]:
    """A complete, valid card."""
    document = fakes.card_document([], files)
    for absent in ("calibration", "ood", "explain"):
        del document[absent]
    channels = len(LABELS) + (classes == "exclusive")
    document["inputs"][0] |= {"shape": [None, 1, size, size]}
    document["population"] |= {"age_years": None, "sexes": []}
    return document | {
        "id": MODEL_ID,
        "title": {"en": "Bright and dark", "zh": "亮区与暗区"},
        "task": "segmentation",
        "outputs": [{"name": "masks", "shape": [None, channels, size, size]}],
        "masks": {"values": values, "classes": classes},
        "preprocessing": [
            {"op": "resize", "rows": size, "columns": size},
            {"op": "percentile_window", "low": 0, "high": 100},
        ],
        "labels": [label_document("bright", "骨", (255, 160, 40)), label_document("dark", "肺", (60, 190, 255))],
        "ranges": {"x": [0, 1]},
    }


def label_document(name: str, zh: str, color: tuple[int, int, int]) -> dict[str, Any]:
    """One label of a card."""
    code = ("39607008", "Lung") if name == "dark" else ("272673000", "Bone")
    return {
        "name": name,
        "code": {"scheme": "SCT", "value": code[0], "meaning": code[1]},
        "category": {"scheme": "SCT", "value": "91723000", "meaning": "Anatomical Structure"},
        "title": {"en": name.capitalize(), "zh": zh},
        "threshold": 0.5,
        "color": list(color),
        "measured": {"en": "Dice 0.95 on 20 made-up images.", "zh": "在 20 幅虚构图像上 Dice 为 0.95。"},
    }


def make(
    folder: Path,
    values: str = "logits",
    classes: str = "independent",
    *,
    size: int = SIZE,
    network: bytes | None = None,
    reference: bool = True,
    more: Sequence[tuple[str, str]] = (),
    **changes: Any,
) -> Path:
    """Write a whole, valid model folder; ``more`` are other files in it by role, ``changes`` replace top-level fields of the card, None removes one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(network or graph(values, classes, size))
    roles = [("model", "model.onnx"), *more]
    if reference:
        x = np.random.default_rng(2).uniform(0, 1, (3, 1, size, size)).astype(np.float32)
        np.savez(folder / "reference.npz", **{"input.x": x, "output.masks": forward(x, values, classes)})
        roles.append(("reference", "reference.npz"))
    files = [fakes.file_entry(role, folder / name) for role, name in roles]
    fakes.write_card(folder, {**card_document(files, values, classes, size), **changes})
    return folder


def picture(rows: int = SIZE, columns: int = SIZE, *, bright: bool = True) -> np.ndarray:
    """Middle grey with a bright block in the upper left and a dark one in the lower right, in sixteenths of the image.

    Bright: rows 2-7, columns 3-6; dark: rows 9-13, columns 8-14. Without ``bright`` it is left out.
    """
    stored = np.full((rows, columns), GREY["middle"], np.uint16)
    stored[block("dark", rows, columns)] = GREY["dark"]
    if bright:
        stored[block("bright", rows, columns)] = GREY["bright"]
    return stored


def block(label: str, rows: int, columns: int) -> tuple[slice, slice]:
    """Where a block of :func:`picture` lies."""
    top, bottom, left, right = {"bright": (2, 8, 3, 7), "dark": (9, 14, 8, 15)}[label]
    return (
        slice(top * rows // 16, bottom * rows // 16),
        slice(left * columns // 16, right * columns // 16),
    )


def block_mask(label: str, rows: int, columns: int) -> np.ndarray:
    """The mask that is known of a block."""
    mask = np.zeros((rows, columns), bool)
    mask[block(label, rows, columns)] = True
    return mask


def frame_of(stored: np.ndarray, **changes: Any) -> Frame:
    """Pixels as a chest radiograph; ``changes`` go to its description."""
    described = {**CHEST, "rows": stored.shape[0], "columns": stored.shape[1], **changes}
    return Frame(stored, PixelDescription(**described))


def case_of(stored: np.ndarray, **changes: Any) -> Case:
    """A child with that radiograph."""
    return Case(images=(frame_of(stored, **changes),), age_years=3.0, sex="F")


def make_region(label: str, mask: np.ndarray, **changes: Any) -> Region:
    """An outline as an answer has it."""
    pixels = int(mask.sum())
    document = label_document(label, "轮廓", (255, 160, 40) if label == "bright" else (60, 190, 255))
    known: dict[str, Any] = {
        "label": label, "code": f"SCT:{document['code']['value']}", "code_meaning": document["code"]["meaning"],
        "category": "SCT:91723000", "category_meaning": "Anatomical Structure", "title": label.capitalize(),
        "threshold": 0.5, "shape": mask.shape, "packed": np.packbits(mask), "outlines": () if is_ragged(mask) else outlines_of(mask), "pixels": pixels, "area_mm2": pixels * 0.2,
        "basis": "at detector", "remark": "", "mean_probability": 0.93 if pixels else None,
        "stability": (0.9 * pixels / mask.size, 1.1 * pixels / mask.size), "color": tuple(document["color"]),
        "measured": "Dice 0.95 on 20 made-up images.",
    }  # fmt: skip
    return Region(**{**known, **changes})


def make_outlines(rows: int, columns: int, *, empty: frozenset[str] = frozenset(), **changes: Any) -> Answer:
    """An answer that outlines the two blocks of :func:`picture`, but for those that are ``empty``."""
    nothing = np.zeros((rows, columns), bool)
    masks = {label: nothing if label in empty else block_mask(label, rows, columns) for label in LABELS}
    regions = tuple(make_region(label, mask) for label, mask in masks.items())
    known = {"findings": (), "regions": regions, "calibration": {"method": "none"}, "model_title": "Bright and dark"}
    return replace(make_answer(), **{**known, **changes})


class OutlineEngine(fakes.FakeEngine):
    """An engine without a process for the models of this module."""

    def run(self, model_id: str, inputs: Mapping[str, np.ndarray], **more: Any) -> dict[str, np.ndarray]:  # type: ignore[override]
        """What the network gives, worked out here."""
        card = self.catalogue.card(model_id)
        if card.task != "segmentation":
            return super().run(model_id, inputs, **more)
        self._take(model_id, "model", more.get("stop"))
        assert card.masks is not None
        return {"masks": forward(inputs["x"], card.masks.values, card.masks.classes)}

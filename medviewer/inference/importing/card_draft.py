"""The card of an imported model: what was answered, what was measured on the way, and what nobody knows.

It is valid as it is, and honest: no calibration, no operating point, no population. Whoever
knows more completes it in the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medviewer import __version__
from medviewer.inference.card_masks import MASKS
from medviewer.inference.card_schema import SCHEMA_ID
from medviewer.inference.importing.questions import CATEGORIES, VALUES, Answers, GraphFacts

_NAMES = {"model": "model.onnx", "explain": "model.explain.onnx", "reference": "reference.npz"}
# They need the input's gradient; the feature map's; a feature map that is nowhere negative; only the network's answer.
GRADIENT_METHODS = ("integrated-gradients", "gradient-shap", "smooth-grad", "saliency", "input-x-gradient")
MAP_METHODS = ("grad-cam",)
RECTIFIED_METHODS = ("grad-cam-plus-plus",)
ALWAYS = ("occlusion", "rise")
_TOLERANCE = 1e-3


def value_range(answers: Answers) -> tuple[float, float]:
    """The smallest and largest value that a prepared image can hold."""
    _, mean, std = VALUES[answers.values]
    return (0.0 - mean) / std, (1.0 - mean) / std


def preprocessing(answers: Answers) -> list[dict[str, Any]]:
    """The card's steps: to size, to 0..1 over the image's own range, to the network's range."""
    _, mean, std = VALUES[answers.values]
    steps: list[dict[str, Any]] = [
        {"op": "resize", "rows": answers.rows, "columns": answers.columns, "aspect": answers.aspect},
        {"op": "percentile_window", "low": 0, "high": 100},
    ]
    return [*steps, *([{"op": "normalise", "mean": mean, "std": std}] if (mean, std) != (0.0, 1.0) else [])]


def draft(
    folder: Path, facts: GraphFacts, answers: Answers, report: Mapping[str, Any], more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The card of a folder whose files have been built.

    Args:
        folder: holds the files.
        facts: of the file that was imported.
        answers: what was asked.
        report: what :func:`medviewer.inference.importing.workshop.build` found.
        more: fields that the importer of another format knows.
    """
    low, high = value_range(answers)
    return {
        "schema": SCHEMA_ID,
        "id": answers.id,
        "version": answers.version,
        "title": answers.title,
        "task": "segmentation" if facts.is_masks else answers.task,
        "intended_use": answers.intended_use,
        "not_for": _NOT_FOR,
        "languages": ["en"],
        "files": [_file(folder, role, report) for role, name in _NAMES.items() if (folder / name).is_file()],
        "inputs": [
            {
                "name": "x",
                "modality": list(answers.modality),
                "body_part": list(answers.body_part),
                "view": list(answers.view),
                "photometric_interpretation": ["MONOCHROME1", "MONOCHROME2"],
                "dtype": "float32",
                "layout": "NCHW",
                "shape": [None, 1, answers.rows, answers.columns],
            }
        ],
        "preprocessing": preprocessing(answers),
        **(_of_masks(answers) if facts.is_masks else _of_classes(answers, report)),
        "ranges": {"x": [low, high]},
        "population": {"age_years": None, "sexes": [], "site": _SITE},
        "evidence": [],
        "training": _training(facts, answers, report),
        "licences": {"weights": answers.licence, "data": "unknown"},
        "regulatory": {"en": "Research use only.", "zh": "仅供科研使用。"},
        "reference_tolerance": _TOLERANCE,
        **(more or {}),
    }


def _of_classes(answers: Answers, report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "outputs": [{"name": "logits", "shape": [None, len(answers.labels)]}],
        "labels": [_label(name, answers.threshold) for name in answers.labels],
        "calibration": {"method": "none", "parameters": {}, "ece_before": None, "ece_after": None, "on": _NOTHING},
        "explain": _explain(report),
    }


def _of_masks(answers: Answers) -> dict[str, Any]:
    code, meaning, _ = CATEGORIES[answers.category]
    category = {"scheme": "SCT", "value": code, "meaning": meaning}
    return {
        "outputs": [{"name": MASKS, "shape": [None, answers.channels, answers.rows, answers.columns]}],
        MASKS: {"values": answers.output, "classes": answers.task},
        "labels": [
            {**_label(name, answers.threshold), "category": category, "color": list(_COLORS[at % len(_COLORS)])}
            for at, name in enumerate(answers.labels)
        ],
    }


# Told apart from their neighbours, also on grey.
_COLORS = (
    (76, 201, 240), (242, 181, 68), (92, 197, 143), (255, 107, 107), (180, 140, 255), (244, 154, 193), (155, 229, 100),
    (255, 159, 90), (111, 140, 255), (229, 224, 107),
)  # fmt: skip
_NOT_FOR = {
    "en": "Diagnosis or treatment. Nobody has measured how well it does on images like yours.",
    "zh": "诊断或治疗。没有人测量过它在此类图像上的表现。",
}
_CODE_LENGTH = 16
_NOTHING = {"en": "nothing", "zh": "无"}
_SITE = {
    "en": "Not known: the model was imported, and nobody has measured on whom it can be relied on.",
    "zh": "未知：该模型为导入模型，没有人测量过它适用于哪些人群。",
}


def _file(folder: Path, role: str, report: Mapping[str, Any]) -> dict[str, Any]:
    path = folder / _NAMES[role]
    content = path.read_bytes()
    entry: dict[str, Any] = {
        "role": role,
        "path": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
    }
    flow = report["control_flow"].get(role)
    return entry | ({"control_flow": flow} if flow else {})


def _label(name: str, threshold: float) -> dict[str, Any]:
    title = name.replace("_", " ")
    code = {"scheme": "99MEDVIEWER", "value": _code_value(name), "meaning": title[:64]}
    return {"name": name, "code": code, "title": title, "threshold": threshold}


def _code_value(name: str) -> str:
    """A name as a code of at most 16 characters (PS3.5 6.2, SH); two long names that begin alike stay two codes."""
    if len(name) <= _CODE_LENGTH:
        return name
    return f"{name[:9]}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _explain(report: Mapping[str, Any]) -> dict[str, Any]:
    """Which methods may be used; where gradients are missing, why."""
    why = report.get("why_no_gradients")
    if why:
        reason = {"en": f"No gradients: {why}.", "zh": f"没有梯度：{why}。"}
        return {"target_layer": "", "grid": [1, 1], "methods": list(ALWAYS), "without_gradients": reason}
    of_map: tuple[str, ...] = ()
    if report["feature_map"]:
        of_map = (*MAP_METHODS, *(RECTIFIED_METHODS if report["is_rectified"] else ()))
    return {
        "target_layer": report["feature_map"],
        "grid": report["grid"],
        "methods": [*of_map, *GRADIENT_METHODS, *ALWAYS],
        "gradients_by": report["gradients_by"],
        "differs_from_finite_differences_by": {n: round(e, 5) for n, e in report["gradient_errors"].items()},
    }


def _training(facts: GraphFacts, answers: Answers, report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "recipe": "imported",
        "config": {
            "file": facts.file,
            "sha256": facts.sha256,
            "producer": facts.producer,
            "values": answers.values,
            "output": answers.output,
            "first_axis": answers.first_axis,
        },
        "data_digest": "unknown",
        "split_rule": "unknown",
        "seed": 0,
        "code_version": __version__,
        "libraries": report["libraries"],
    }

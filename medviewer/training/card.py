"""Writes a model's card, and the page for people that is made from it.

A recipe says what only it knows (purpose, population, preprocessing, decisions);
here come the digests of the files, the figures of the evaluation and the README,
which are the same for every recipe and must never be typed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medviewer.inference.card import read_card
from medviewer.training.card_page import readme
from medviewer.training.run_settings import with_folds

ROLES = {
    "model": "model.onnx",
    "explain": "model.explain.onnx",
    "cam": "model.cam.onnx",
    "reference": "reference.npz",
    "ood": "ood.npz",
    "neighbours": "neighbours.npz",
    "vocabulary": "vocab.txt",
}
LIBRARIES = ("torch", "numpy", "onnx", "onnxscript", "onnxruntime", "pillow")
# Whose subgroups go on the card: the split that chose nothing.
_JUDGING = ("report", "b", "test", "test-1")
# Of which the recipes' texts speak.
_USUAL_FOLDS = 5


def write_card(
    folder: Path, document: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write ``model.json``, ``README.md`` and ``LICENSE`` of a model folder.

    Args:
        folder: holds the model's files already; their digests go on the card.
        document: the card, all but ``files``, ``evidence`` and ``subgroups``; the key
            ``licence_text`` is the LICENSE file and does not go on the card.
        reports: by split, what :func:`medviewer.training.evaluate.evaluate` returned.

    Raises:
        CardError: the result is not a valid card; nothing should be published.
    """
    from medviewer.training.export import file_entry  # noqa: PLC0415 - loads torch, which a card alone does not need

    reports = reports or {}
    card = {key: value for key, value in document.items() if key != "licence_text"}
    card["files"] = [file_entry(role, folder / name) for role, name in ROLES.items() if (folder / name).is_file()]
    declared = bool(card["training"].get("split", {}).get("is_declared"))
    card["evidence"] = [_evidence(split, report, declared) for split, report in reports.items()]
    judging = next((reports[split] for split in _JUDGING if split in reports), next(iter(reports.values()), {}))
    card["subgroups"] = [
        {"name": group["name"], "n": group["n"], "metrics": _numbers(group["metrics"])}
        | ({"gaps": told} if (told := _numbers(group.get("gaps", {}))) else {})
        for group in judging.get("subgroups", [])
    ]
    if (n_folds := card["training"].get("config", {}).get("n_folds", _USUAL_FOLDS)) != _USUAL_FOLDS:
        card = with_folds(card, n_folds)
    (folder / "model.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    read_card(folder)
    (folder / "README.md").write_text(readme(card), encoding="utf-8")
    (folder / "LICENSE").write_text(str(document["licence_text"]), encoding="utf-8")


def library_versions(*more: str) -> dict[str, str]:
    """Return the versions of what the result depends on, and of ``more`` packages."""
    found = {}
    for name in (*LIBRARIES, *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


_SPLIT_TEXT = {
    "report": {
        "en": "Held-out patients of the training archive, drawn at random; chose nothing",
        "zh": "训练数据来源中随机留出的患者；未用于任何选择",
    },
    "block": {
        "en": "Patients with the lowest numbers of the training archive; "
        "took part in choosing epoch, calibration and threshold",
        "zh": "训练数据来源中编号最小的患者；参与了轮次、校准和阈值的选择",
    },
}


_DECLARED_TEXT = {
    "report": {
        "en": "Patients whom the label table holds out; chose nothing",
        "zh": "标签表中留出的患者；未用于任何选择",
    },
    "block": {
        "en": "Patients whom the label table puts into block; took part in choosing epoch, calibration and threshold",
        "zh": "标签表中归入block的患者；参与了轮次、校准和阈值的选择",
    },
}


def _evidence(split: str, report: Mapping[str, Any], is_declared: bool) -> dict[str, Any]:
    """Return one entry of the card's evidence; ``is_declared``: the data say themselves who is in which split."""
    data, texts = report["data"], _DECLARED_TEXT if is_declared else _SPLIT_TEXT
    found = {
        "data": data.get("text", texts.get(split, split)),
        "split": split,
        "n": data["n"],
        **{name: data[name] for name in ("n_patients", "n_scaffolds") if name in data},
        "per_class": data["per_class"],
        "digest": data["digest"],
        "metrics": _numbers(report["metrics"]),
    }
    if "assays" in report:
        found["assays"] = {
            name: {"n": one["n"], "active": one["active"], "metrics": _numbers(one["metrics"])}
            for name, one in report["assays"].items()
        }
    found |= {"unit": data["unit"]} if "unit" in data else {}
    return found | {
        name: report[name] for name in ("robustness", "novelty", "classes", "forecasts") if report.get(name)
    }


def _numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measures that exist, rounded to what their intervals can bear."""
    found: dict[str, Any] = {}
    for name, entry in metrics.items():
        if entry["value"] is None:
            continue
        found[name] = {"value": round(entry["value"], 4)}
        if entry["ci95"] is not None:
            found[name]["ci95"] = [round(bound, 4) for bound in entry["ci95"]]
    return found

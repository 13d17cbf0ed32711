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
from medviewer.training.sanity_card import MADE, sanity_lines

ROLES = {
    "model": "model.onnx",
    "explain": "model.explain.onnx",
    "cam": "model.cam.onnx",
    "reference": "reference.npz",
    "ood": "ood.npz",
}
LIBRARIES = ("torch", "numpy", "onnx", "onnxscript", "onnxruntime", "pillow")


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
    card["subgroups"] = [
        {"name": group["name"], "n": group["n"], "metrics": _numbers(group["metrics"])}
        for group in (reports.get("report") or reports.get("b") or reports.get("test") or {}).get("subgroups", [])
    ]
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
    return found | {name: report[name] for name in ("robustness", "novelty") if report.get(name)}


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


def readme(card: Mapping[str, Any]) -> str:
    """Return the model card for people, in Markdown, made from the card alone."""
    lines = [
        f"# {_en(card['title'])}",
        "",
        f"`{card['id']}` {card['version']} · {_zh(card['title'])} · {_en(card['regulatory'])}",
        "",
        MADE,
        "",
        "## What it is for",
        "",
        _en(card["intended_use"]),
        "",
        f"**Not for:** {_en(card['not_for'])}",
        "",
        f"用途：{_zh(card['intended_use'])}",
        "",
        f"**不适用于：** {_zh(card['not_for'])}",
        "",
        "## On whom it was made",
        "",
        _en(card["population"]["site"]),
        "",
        "## How well it does",
        "",
    ]
    for entry in card["evidence"]:
        lines += _evidence_table(entry)
    lines += _subgroup_table(card["subgroups"])
    lines += [
        "## How a probability is made and called",
        "",
        *_decision_lines(card),
        *_novelty_lines(card),
        *sanity_lines(card),
        *_training_lines(card),
        "## Licences",
        "",
        f"Weights: {card['licences']['weights']}. Data: {card['licences']['data']}.",
        "",
        *[f"- {reference}" for reference in card.get("references", [])],
    ]
    return "\n".join(lines).rstrip() + "\n"


def _en(text: Any) -> str:
    return text if isinstance(text, str) else str(text["en"])


def _zh(text: Any) -> str:
    return text if isinstance(text, str) else str(text.get("zh", text["en"]))


def _figure(entry: Mapping[str, Any]) -> str:
    if "ci95" not in entry:
        return f"{entry['value']:.3f}"
    return f"{entry['value']:.3f} ({entry['ci95'][0]:.3f} to {entry['ci95'][1]:.3f})"


def _evidence_table(entry: Mapping[str, Any]) -> list[str]:
    counts = ", ".join(f"{count} {name}" for name, count in entry["per_class"].items())
    unit = "skeletons" if "n_scaffolds" in entry else "patients"
    cases = f"{entry['n']} cases of {entry.get('n_scaffolds', entry.get('n_patients'))} {unit}"
    alone = [name for name in entry["metrics"] if not name.startswith("auc ")]  # of an assay: in a table below
    lines = [
        f"**{_en(entry['data'])}** ({cases}: {counts})",
        "",
        f"| measure | value (95% interval, bootstrap over {unit}) |",
        "|---|---|",
        *[f"| {name} | {_figure(entry['metrics'][name])} |" for name in alone],
        "",
        *_assay_table(entry.get("assays", {})),
    ]
    if "robustness" in entry:
        names = ["auc", "sensitivity", "specificity", "ece_balanced"]
        lines += [
            "The same patients, filmed otherwise:",
            "",
            f"| shift | {' | '.join(names)} |",
            "|---|" + "---|" * len(names),
        ]
        lines += [
            f"| {shift} | " + " | ".join(f"{values[name]:.3f}" for name in names) + " |"
            for shift, values in entry["robustness"].items()
        ]
        lines.append("")
    return lines


def _assay_table(assays: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one row an assay, of a model that reports several."""
    if not assays:
        return []
    names = ["auc", "pr_auc", "balanced_accuracy", "brier", "ece"]
    rows = [
        f"| {assay} | {found['n']} | {found['active']} | "
        + " | ".join(_figure(found["metrics"][name]) if name in found["metrics"] else "–" for name in names)
        + " |"
        for assay, found in assays.items()
    ]
    return [f"| assay | n | active | {' | '.join(names)} |", "|---|---|---|" + "---|" * len(names), *rows, ""]


def _subgroup_table(groups: list[Mapping[str, Any]]) -> list[str]:
    if not groups:
        return []
    names = ["auc", "sensitivity", "specificity"]
    rows = [
        f"| {_en(group['name'])} | {group['n']} | "
        + " | ".join(_figure(group["metrics"][name]) if name in group["metrics"] else "–" for name in names)
        + " |"
        for group in groups
    ]
    return [
        "Subgroups of what was held out:",
        "",
        f"| group | n | {' | '.join(names)} |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]


def _decision_lines(card: Mapping[str, Any]) -> list[str]:
    """Return how calibration and thresholds were chosen."""
    calibration = card["calibration"]
    error = f"Expected calibration error {calibration['ece_before']:.3f} before, {calibration['ece_after']:.3f} after"
    lines = [f"Calibration: {calibration['method']}, {_en(calibration['on'])}. {error}.", ""]
    if len(card["labels"]) == 1:
        label, point = card["labels"][0], card["labels"][0]["operating_point"]
        reached = f"sensitivity {point['sensitivity']:.3f}, specificity {point['specificity']:.3f}, n = {point['n']}"
        return [
            *lines, f"Threshold {label['threshold']}: {_en(point['meaning'])} ({reached}, {_en(point['on'])}).", ""
        ]  # fmt: skip
    lines += [f"Thresholds: {_en(card['labels'][0]['operating_point']['on'])}.", ""]
    lines += ["| label | | threshold | sensitivity | specificity | n |", "|---|---|---|---|---|---|"]
    for label in card["labels"]:
        point = label["operating_point"]
        reached = f"{point['sensitivity']:.3f} | {point['specificity']:.3f} | {point['n']}"
        lines.append(f"| {label['name']} | {_en(label['title'])} | {label['threshold']} | {reached} |")
    return [*lines, ""]


def _novelty_lines(card: Mapping[str, Any]) -> list[str]:
    """Return how images unlike the training images are told, and how often held-out films are taken for such."""
    if not (ood := card.get("ood")):
        return []
    rest = ood.get("residual")
    is_image = card["inputs"][0].get("kind", "image") == "image"
    what = "images" if is_image else "cases"
    limits = [("inside of the directions in which the training images vary" if is_image else "to the nearest", ood)]
    limits += [("outside of them", rest)] if rest else []
    lines = [f"## {what.capitalize()} unlike the training {what}", ""]
    lines += ["| distance | measured in | warns above | no result above | limits from |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | `{spec.get('output', 'features')}` | {spec['warn_above']} | {spec['abstain_above']} "
        f"| {_en(spec.get('on', ''))} |"
        for name, spec in limits
    ]
    shares = [(entry, entry["novelty"]) for entry in card["evidence"] if entry.get("novelty")]
    told = [f"- {_en(e['data'])}: {n['warned']:.1%} warned, {n['abstained']:.1%} refused." for e, n in shares]
    lines += ["", *told] if told else []
    return [
        *lines,
        "",
        f"No warning does not mean that the model knows {'patients' if is_image else 'cases'} like this one.",
        "",
    ]


def _training_lines(card: Mapping[str, Any]) -> list[str]:
    """Return how it was trained, epoch by epoch where the card says."""
    training = card["training"]
    lines = [
        "## How it was trained",
        "",
        f"`medviewer train {training['recipe']} --data DIR --out DIR --seed {training['seed']}`",
        "",
        str(training["split_rule"]),
        "",
    ]
    if history := training.get("history"):
        lines += ["| epoch | size | loss | worst AUC, tune | worst AUC, block | chosen |", "|---|---|---|---|---|---|"]
        for epoch in history:
            worst = " | ".join(f"{min(epoch['auc'][name].values()):.4f}" for name in ("tune", "block"))
            chosen = "yes" if epoch.get("chosen") else ""
            lines.append(f"| {epoch['epoch']} | {epoch['size']} | {epoch['loss']:.4f} | {worst} | {chosen} |")
        lines.append("")
        notes = [f"- Epoch {epoch['epoch']}: {epoch['note']}." for epoch in history if epoch.get("note")]
        lines += [*notes, ""] if notes else []
    return lines

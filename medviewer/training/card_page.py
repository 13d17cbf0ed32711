"""The page for people, made from a model's card alone: README.md of the model folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medviewer.training.run_settings import command_of, settings_lines

MADE = "<!-- Made from model.json by the training recipe. Do not edit. -->"


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
        *(_forecast_lines(card) if card["task"] == "forecast" else _decision_lines(card)),
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
    if entry.get("ci95") is None:
        return "not known" if entry["value"] is None else f"{entry['value']:.3f}"
    return f"{entry['value']:.3f} ({entry['ci95'][0]:.3f} to {entry['ci95'][1]:.3f})"


def _evidence_table(entry: Mapping[str, Any]) -> list[str]:
    counts = ", ".join(f"{count} {name}" for name, count in entry.get("per_class", {}).items())
    unit = entry.get("unit", "skeletons" if "n_scaffolds" in entry else "patients")
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
    if "classes" in entry:
        lines += ["| class | n | called | precision | recall |", "|---|---|---|---|---|"]
        lines += [
            f"| {one['name']} | {one['n']} | {one['called']} | {_share(one['precision'])} | {_share(one['recall'])} |"
            for one in entry["classes"]
        ]
        lines.append("")
    return lines


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


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
    known = {name for group in groups for name in group["metrics"]}
    wanted = ("auc", "sensitivity", "specificity", "accuracy", "top3_accuracy")
    names = [name for name in wanted if name in known][:3] or list(groups[0]["metrics"])
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
        "|---|---|" + "---|" * len(names),
        *rows,
        "",
        *_gap_table(groups),
    ]


def _gap_table(groups: list[Mapping[str, Any]]) -> list[str]:
    """Return how far each group is from all others; nothing where the card does not tell it."""
    apart = [group for group in groups if group.get("gaps")]
    if not apart:
        return []
    names = list(dict.fromkeys(name for group in apart for name in group["gaps"]))
    return [
        "Gaps: the group's figure less that of all other cases; an interval without 0 is more than chance explains.",
        "",
        f"| group | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
        *(
            f"| {_en(group['name'])} | "
            + " | ".join(_figure(group["gaps"][name]) if name in group["gaps"] else "–" for name in names)
            + " |"
            for group in apart
        ),
        "",
    ]


def _decision_lines(card: Mapping[str, Any]) -> list[str]:
    """Return how calibration and thresholds were chosen; of a survival curve how true it was."""
    if not card["labels"]:
        return ["## What the curve was worth", "", _en(card["outcomes"][0]["measured"]), "", *_risk_lines(card)]
    calibration = card["calibration"]
    error = f"Expected calibration error {calibration['ece_before']:.3f} before, {calibration['ece_after']:.3f} after"
    lines = ["## How a probability is made and called", ""]
    lines += [f"Calibration: {calibration['method']}, {_en(calibration['on'])}. {error}.", ""]
    if card["task"] == "multiclass":
        return [*lines, *_thresholds(card["labels"])]
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


def _thresholds(labels: list[Mapping[str, Any]]) -> list[str]:
    """Return each class's threshold, and what it means where that was measured."""
    rows = ["| class | | threshold | what it means |", "|---|---|---|---|"]
    for label in labels:
        point = label.get("operating_point")
        meaning = _en(point["meaning"]) if point else "Too few cases to say."
        rows.append(f"| {label['name']} | {_en(label['title'])} | {label['threshold']} | {meaning} |")
    return [*rows, ""]


def _forecast_lines(card: Mapping[str, Any]) -> list[str]:
    """Return how each forecast did at each hour ahead, and what is not forecast, with the reason."""
    lines = ["## What is forecast, hour by hour", ""]
    for entry in card["evidence"]:
        lines += ["| variable | hours ahead | n | error | of the last value | of the mean of 6 h | held by the band |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for one in entry["forecasts"]:
            for hour in one["hours"]:
                figures = (_figure(hour[key]) for key in ("mae", "mae_last", "mae_mean", "coverage"))
                lines.append(f"| {one['name']} | {hour['hour']} | {hour['n']} | {' | '.join(figures)} |")
        lines.append("")
    refused = card["training"]["not_offered"]
    lines += [f"- **{name} is not forecast:** {why}." for name, why in refused.items()]
    return [*lines, "", *(f"{_en(one['title'])}: {_en(one['measured'])}" for one in card["outcomes"]), ""]


def _risk_lines(card: Mapping[str, Any]) -> list[str]:
    """Return what was said and what was seen in groups of rising risk, at each time where that was measured."""
    lines: list[str] = []
    for time, groups in card["training"].get("calibration", {}).items():
        lines += [f"| at {time} {card['outcomes'][0]['unit']}: n | events | chance given | share seen (95%) |"]
        lines += ["|---|---|---|---|"]
        lines += [
            f"| {g['n']} | {g['events']} | {g['said']:.3f} | {_figure({'value': g['seen'], 'ci95': g['ci95']})} |"
            for g in groups
        ]
        lines.append("")
    return lines


def _novelty_lines(card: Mapping[str, Any]) -> list[str]:
    """Return how images unlike the training images are told, and how often held-out films are taken for such."""
    if not (ood := card.get("ood")):
        return []
    rest, look = ood.get("residual"), ood.get("texture")
    is_image = card["inputs"][0].get("kind", "image") == "image"
    what = "images" if is_image else "cases"
    limits = [("inside of the directions in which the training images vary" if is_image else "to the nearest", ood)]
    limits += [("outside of them", rest)] if rest else []
    limits += [("how it is composed: light, and grain at every scale", {"output": "texture", **look})] if look else []
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
        *(line for _, novelty in shares for line in _others_table(novelty)),
        *(["", _en(ood["elsewhere"])] if "elsewhere" in ood else []),
        "",
        f"No warning does not mean that the model knows {'patients' if is_image else 'cases'} like this one.",
        "",
    ]


def _others_table(novelty: Mapping[str, Any]) -> list[str]:
    """Return how pictures that are none of the kind are told from held-out images; nothing where none were tried."""
    if not (others := novelty.get("others")):
        return []
    shifts = [f"{shift} {one['warned']:.1%} ({one['abstained']:.1%})" for shift, one in novelty["shifts"].items()]
    missed = [f"{one['kind']} ({1 - one['warned']:.1%})" for one in others if one["warned"] < 1]
    return [
        f"- The same, filmed otherwise, warned or refused (refused): {', '.join(shifts)}.",
        "",
        (
            "Pictures that are none of the kind, made up or changed. AUC: how well the largest of the distances, each "
            "as a share of its limit of warning, tells them from the held-out images:"
        ),
        "",
        "| pictures | n | AUC | warned or refused | refused |",
        "|---|---|---|---|---|",
        *(
            f"| {one['kind']} | {one['n']} | {one['auc']:.3f} | {one['warned']:.1%} | {one['abstained']:.1%} |"
            for one in others
        ),
        "",
        f"Answered without any warning: {', '.join(missed) or 'none of them'}.",
    ]


def _beside_lines(beside: Mapping[str, Any]) -> list[str]:
    """Return how it does beside another model, on the same held-out patients."""
    lines = [
        (
            f"Beside `{beside['model']}` {beside['version']}, on the same {beside['n']} films of "
            f"{beside['n_patients']} held-out patients (split {beside['split']}); difference with its paired 95% "
            "interval, above zero if this model is better:"
        ),
        "",
        f"| films | AUC | AUC of `{beside['model']}` | difference |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {one['auc']:.3f} | {one['auc_beside']:.3f} | {_figure(one['difference'])} |"
        for name, one in beside["auc"].items()
    ]
    return [*lines, ""]


def _training_lines(card: Mapping[str, Any]) -> list[str]:
    """Return how it was trained, epoch by epoch where the card says."""
    training = card["training"]
    lines = [
        "## How it was trained",
        "",
        f"`{command_of(training)}`",
        "",
        *settings_lines(training),
        str(training["split_rule"]),
        "",
    ]
    if beside := training.get("beside"):
        lines += _beside_lines(beside)
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


def sanity_lines(card: Mapping[str, Any]) -> list[str]:
    """What the page for people says of the model's explanations."""
    sanity = card.get("explain", {}).get("sanity")
    if not sanity:
        return []
    whose = "held-out images" if sanity["held_out"] else "images"
    about = (
        f"Up to {sanity['n']} {whose} with the finding (split {sanity['split']}). Deletion and insertion: on which "
        f"share of them the map beats 95% of {sanity['n_random']} random maps of the same smoothness; chance is 5%. "
        f"Shuffled weights, grain and repetition: {sanity['n_few']} images."
    )
    lines = [
        "## How far its heat maps can be believed",
        "",
        about,
        "",
        "| method | n | deletion | insertion | both | like the map of a shuffled network | with a grain | repeated |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in sanity["methods"].items():
        shuffled = found.get("randomised")
        row = [
            name,
            str(found["n"]),
            *(_share_words(found[key]) for key in ("deletion", "insertion", "both")),
            f"{shuffled['rank'][-1]:.2f}" if shuffled else "not measured",
            f"{found['grain']['rank']:.2f}" if "grain" in found else "not measured",
            f"{found['repeated']['largest_difference']:.1g}" if "repeated" in found else "not measured",
        ]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", *(f"- {name}: {found['verdict']['en']}" for name, found in sanity["methods"].items()), ""]
    return lines


def _share_words(share: Mapping[str, Any]) -> str:
    return f"{share['value']:.0%} ({share['ci95'][0]:.0%} to {share['ci95'][1]:.0%})"

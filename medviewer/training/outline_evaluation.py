"""How well do the outlines of a segmentation model fit those of people?

Runs the shipped files as the viewer does: what is compared is the mask on the stored image that a reader would see.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medviewer import __version__
from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.explain.sanity import interval
from medviewer.inference.card import Card, read_card
from medviewer.inference.card_masks import MASKS
from medviewer.inference.inputs import image as image_input
from medviewer.inference.masks import Ground, are_possible, check_shape, masks_of
from medviewer.training.intervals import group_draws, interval_entry
from medviewer.training.outline_data import Outlined, OutlinedCase, find_outlined, spacing_mm
from medviewer.training.outline_metrics import Fit, Floats, fit_of
from medviewer.training.report_page import figure, interval_words, number_words, page_head, table, write_report
from medviewer.training.scoring import Progress, open_session

SCHEMA = "medviewer-evaluation/1"
_RESAMPLES = 1000
_SHARES = frozenset({"found", "quiet"})
_WORST = 20  # cases that the page lists
_MEANING = {
    "dice": "overlap, twice the common area over both areas; mean over cases where one of the two outlined something",
    "jaccard": "common area over the area of either; likewise",
    "hd95_mm": "95th percentile of the distance between edges, in mm; median over cases where both outlined something",
    "hd95_px": "the same in pixels",
    "found": "share of the cases with a reference outline in which the model outlined something",
    "quiet": "share of the cases without one in which it outlined nothing",
}


@dataclass(frozen=True, slots=True)
class _Row:
    """One label of one case: ``mm`` is measured with the file's pixel size, None where it gives none to trust."""

    case: OutlinedCase
    label: str
    px: Fit
    mm: Fit | None


def evaluate_outlines(
    model: Path, data: Path, out: Path, *, split: str | None, progress: Progress
) -> Mapping[str, Any]:
    """Run a segmentation model over images with masks and write ``report.json`` and ``report.html``.

    Args:
        model: the model folder.
        data: see :func:`~medviewer.training.outline_data.find_outlined`.
        out: receives the report.
        split: must be None: the data have no parts.
        progress: called with one line of text at a time.

    Raises:
        ModelError, UsageError, InputError, StorageError: as :func:`medviewer.training.evaluate.evaluate`.
    """
    started = time.time()
    card = read_card(model)
    if split is not None:
        raise UsageError("Images with masks have no parts; leave --split out.")
    labels = [label.name for label in card.labels]
    found = find_outlined(data, labels)
    rows, unusable = _rows(card, found, progress)
    if not rows:
        raise InputError(f"None of the images could be used: {unusable[0][0]}: {unusable[0][1]}")
    report = {
        "schema": SCHEMA,
        "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
        "data": _describe(card, data, found, rows, unusable),
        "metrics": {
            name if len(labels) == 1 else f"{name} {label}": entry
            for label in labels
            for name, entry in _measures([row for row in rows if row.label == label]).items()
        },
        "cases": [_case(row) for row in rows],
        "versions": {"medviewer": __version__, "numpy": np.__version__},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "elapsed_s": round(time.time() - started, 1),
    }
    write_report(out, report, outlines_page(report, labels))
    progress(f"report written to {out}")
    return report


def _rows(card: Card, found: Outlined, progress: Progress) -> tuple[list[_Row], list[tuple[str, str]]]:
    """What each label of each case is worth, and what cannot be used."""
    session, spec = open_session(card, "model"), card.inputs[0]
    rows: list[_Row] = []
    unusable = list(found.unusable)
    for number, case in enumerate(found.cases, start=1):
        try:
            frame, reference = case.read()
            encoded = image_input.encode(frame, spec)
        except InputError as error:
            unusable.append((case.name, str(error)))
            continue
        given = session.run([MASKS], {spec.name: encoded.tensors[spec.name][None]})[0]
        check_shape(card, given, 1)
        if not np.isfinite(given).all() or not are_possible(card, given):
            unusable.append((case.name, "The model gives what are no masks."))
            continue
        assert encoded.place is not None  # noqa: S101 - an image has a place
        drawn = masks_of(card, given, Ground(frame, encoded.place))
        spacing = spacing_mm(frame)
        for label, mask in zip(card.labels, drawn, strict=True):
            in_mm = fit_of(reference[label.name], mask, spacing) if spacing is not None else None
            rows.append(_Row(case, label.name, fit_of(reference[label.name], mask), in_mm))
        if number % 50 == 0:
            progress(f"{number} of {len(found.cases)} images")
    return rows, unusable


def _describe(
    card: Card, data: Path, found: Outlined, rows: Sequence[_Row], unusable: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    used = {row.case.name: row.case for row in rows}
    drawn = {label.name: sum(row.px.reference > 0 for row in rows if row.label == label.name) for label in card.labels}
    return {
        "path": str(data),
        "split": None,
        "n": len(used),
        "n_patients": len({case.patient for case in used.values()}),
        "digest": found.digest,
        "per_class": drawn,
        "unusable": [{"file": name, "reason": reason} for name, reason in unusable],
        "was_learned_from": found.digest == card.training.get("data_digest"),
    }


def _measures(rows: Sequence[_Row]) -> dict[str, dict[str, Any]]:
    """The measures of one label with their intervals; each over the cases for which it is defined, ``n`` of them."""
    in_mm = [row for row in rows if row.mm is not None]
    defined: dict[str, tuple[Sequence[_Row], Callable[[_Row], float | None], Callable[[Floats], float]]] = {
        "dice": (rows, lambda row: row.px.dice, _mean),
        "jaccard": (rows, lambda row: row.px.jaccard, _mean),
        "hd95_mm": (in_mm, lambda row: row.mm.hd95 if row.mm is not None else None, _median),
        "hd95_px": (rows, lambda row: row.px.hd95, _median),
        "found": (rows, lambda row: float(row.px.found > 0) if row.px.reference else None, _mean),
        "quiet": (rows, lambda row: float(row.px.found == 0) if not row.px.reference else None, _mean),
    }
    return {
        name: _entry(own, value, summary, is_share=name in _SHARES) for name, (own, value, summary) in defined.items()
    }


def _entry(
    rows: Sequence[_Row],
    value: Callable[[_Row], float | None],
    summary: Callable[[Floats], float],
    *,
    is_share: bool,
) -> dict[str, Any]:
    """One measure, with an interval over draws of patients."""
    pairs = [(row.case.patient, found) for row in rows if (found := value(row)) is not None]
    values = np.array([found for _, found in pairs])
    names = sorted({patient for patient, _ in pairs})
    groups = np.array([names.index(patient) for patient, _ in pairs], dtype=np.int64)
    draws = [summary(np.repeat(values, times[groups])) for times in group_draws(len(names), _RESAMPLES)]
    told = summary(values) if len(values) else float("nan")
    entry = interval_entry(told, draws)
    if is_share and len(names) > 1 and len(set(values.tolist())) == 1:
        # Every draw of what is the same for all is the same; that nobody was missed is known of so many only.
        low, high = interval(int(values[0]) * len(names), len(names))
        entry["ci95"] = [round(low, 5), round(high, 5)]
    return {**entry, "n": len(values)}


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _case(row: _Row) -> dict[str, Any]:
    mm = row.mm.hd95 if row.mm is not None else None
    return {
        "file": row.case.name,
        "label": row.label,
        "reference_pixels": row.px.reference,
        "model_pixels": row.px.found,
        **{name: _rounded(value) for name, value in (
            ("dice", row.px.dice), ("jaccard", row.px.jaccard), ("hd95_mm", mm), ("hd95_px", row.px.hd95),
        )},
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def outlines_page(report: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Return the report as one HTML page: no script, no link, images inside."""
    data = report["data"]
    counts = ", ".join(f"{count} with {name}" for name, count in data["per_class"].items())
    what = f"{data['n']} images of {data['n_patients']} patients, {counts}"
    parts = page_head(report, what, row="image", checks="")
    rows = [
        [name, interval_words(entry), str(entry["n"]), _MEANING[name.split(" ", maxsplit=1)[0]]]
        for name, entry in report["metrics"].items()
    ]
    parts += ["<h2>Measures</h2>", table(["measure", "value (95% interval)", "images", "meaning"], rows)]
    parts += [
        f"<figure><img alt='Dice of {html.escape(label)}' src='{figure(partial(_draw_dice, report, label))}'></figure>"
        for label in labels
    ]
    defined = [case for case in report["cases"] if case["dice"] is not None]
    worst = sorted(defined, key=lambda case: case["dice"])[:_WORST]
    head = ["image", "label", "Dice", "Jaccard", "HD95 (mm)", "HD95 (px)", "pixels of people", "of the model"]
    listed = [
        [
            case["file"],
            case["label"],
            *(number_words(case[name]) for name in ("dice", "jaccard", "hd95_mm", "hd95_px")),
            str(case["reference_pixels"]),
            str(case["model_pixels"]),
        ]
        for case in worst
    ]
    parts += ["<h2>Where it fits worst</h2>", table(head, listed)]
    return "\n".join([*parts, "</html>"])


def _draw_dice(report: Mapping[str, Any], label: str, axes: Any) -> None:
    values = [case["dice"] for case in report["cases"] if case["label"] == label and case["dice"] is not None]
    axes.hist(values, bins=np.linspace(0, 1, 21))
    axes.set(title=f"Dice of {label} (n = {len(values)})", xlabel="Dice", ylabel="images", xlim=(0, 1))

"""Answers about recorded values, notes and molecules as files: the same document as for images, without pictures.

No dates: evidence says how many hours before the moment that was asked about each value was recorded. No words of a
note: an explanation names the places in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from medviewer.domain.anchor import Anchor, Atom, CharacterSpan, Field, PixelBox, TimeCell
from medviewer.domain.answer import Answer, Attribution, Evidence, Forecast, Outcome, Score, SurvivalCurve
from medviewer.domain.case import is_whole_day
from medviewer.domain.digits import three_digits
from medviewer.records.record import time_words
from medviewer.whole_file import storage_error, write_whole

_KINDS = {Score: "score", SurvivalCurve: "survival", Forecast: "forecast"}
_ANCHORS = {
    PixelBox: "pixel_box",
    TimeCell: "time_cell",
    CharacterSpan: "character_span",
    Field: "field",
    Atom: "atom",
}


def save_document(out: Path, document: dict[str, Any], name: str) -> Path:
    """Save a result as JSON, whole or not at all.

    Raises:
        StorageError: the disk is full, read-only or gone.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error("The result", error) from error
    content = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode()
    write_whole(out / name, content + b"\n")
    return out / name


def outcomes_of(answer: Answer) -> list[dict[str, Any]]:
    """Scores, survival curves and forecasts, each with its ``kind``."""
    return [_outcome(one) for one in answer.outcomes]


def evidence_of(answer: Answer, at: datetime | None) -> list[dict[str, Any]]:
    """The recorded values that were used; ``hours_before`` the moment ``at`` instead of a date, null if not known."""
    return [_evidence(one, at) for one in answer.evidence]


def parts_of(attribution: Attribution) -> list[dict[str, Any]]:
    """What each value of an explanation lies on; nothing for a heat map."""
    pairs = zip(attribution.anchors, attribution.saliency.tolist(), strict=True) if attribution.anchors else ()
    return [{**_anchor(anchor), "value": value} for anchor, value in pairs]


def stack_of(attribution: Attribution) -> dict[str, Any] | None:
    """Where the boxes of a stack's map lie in the patient (LPS mm); None for what is no map of a stack."""
    boxes = attribution.volume
    if boxes is None:
        return None
    hottest = boxes.hottest
    return {
        "voxels": list(boxes.voxels),
        "spacing_mm": list(boxes.spacing_mm),
        "row_cosine": list(boxes.plane.row_cosine),
        "column_cosine": list(boxes.plane.column_cosine),
        "positions_mm": boxes.positions.tolist(),
        "hottest_mm": None if hottest is None else hottest.tolist(),
    }


def summary_of(answer: Answer, attributions: Sequence[Attribution], zone: tzinfo | None = None) -> list[str]:
    """The outcomes in a few lines, and what they rest on, with times by the clock of ``zone`` (None: ours)."""
    lines: list[str] = []
    for one in answer.outcomes:
        if isinstance(one, Score):
            lines.append(f"  {one.title}: {one.value:g} of {one.highest:g}, {one.band}")
            lines += [f"    {part.title}: {part.value:+g}" for part in one.parts if part.value]
        elif isinstance(one, SurvivalCurve):
            free = one.survival[one.times.index(one.horizon)]
            lines.append(f"  {one.title}: free of it up to {one.horizon:g} {one.time_unit}: {free:.3f}")
        else:
            ends = f"{three_digits(one.low[-1])} to {three_digits(one.high[-1])}"
            lines.append(f"  {one.title} in {one.hours[-1]:g} h: {three_digits(one.median[-1])} {one.unit} ({ends})")
    lines += used_lines(answer, zone)
    for attribution in attributions:
        judged = attribution.faithfulness
        lines.append(
            f"  {attribution.method_title}: {judged.sentence if judged else 'not tested against random orders'}"
        )
        lines += _part_lines(attribution)
    return lines


def used_lines(answer: Answer, zone: tzinfo | None = None) -> list[str]:
    """The recorded values that an answer rests on, each with when it was recorded."""
    return [_used(one, zone) for one in answer.evidence]


def _part_lines(attribution: Attribution) -> list[str]:
    pairs = sorted(zip(attribution.saliency.tolist(), attribution.anchors, strict=True), key=lambda p: -abs(p[0]))
    return [f"    {value:+.3f} {_words(anchor)}" for value, anchor in pairs[:8]]


def _outcome(one: Outcome) -> dict[str, Any]:
    return {"kind": _KINDS[type(one)], **json.loads(json.dumps(asdict(one)))}


def _evidence(one: Evidence, at: datetime | None) -> dict[str, Any]:
    hours = None
    if one.time is not None and at is not None and not is_whole_day(one.time):
        hours = round((at.timestamp() - one.time.timestamp()) / 3600, 2)
    return {"name": one.name, "title": one.title, "value": one.value, "hours_before": hours, "note": one.note}


def _anchor(anchor: Anchor) -> dict[str, Any]:
    found = {"kind": _ANCHORS[type(anchor)], **json.loads(json.dumps(asdict(anchor)))}
    if isinstance(anchor, CharacterSpan):
        del found["text"]  # a word of a note may be a name
    return found


def _used(one: Evidence, zone: tzinfo | None) -> str:
    when = f", {time_words(one.time, zone)}" if one.time is not None else ""
    return f"  used: {one.title} {one.value}{when}" + (f" ({one.note})" if one.note else "")


def _words(anchor: Anchor) -> str:
    if isinstance(anchor, Field):
        return anchor.field
    if isinstance(anchor, TimeCell):
        return f"{anchor.variable}, hours {anchor.hours[0]:g} to {anchor.hours[1]:g}"
    if isinstance(anchor, CharacterSpan):
        return anchor.text
    if isinstance(anchor, Atom):
        return f"{anchor.symbol} {anchor.index + 1}"
    return f"{anchor.input}, rows {anchor.rows[0]:.0f} to {anchor.rows[1]:.0f}"

"""What came of many studies, as tables: one result a study, and one summary of all, as JSON and CSV.

Only ``sources.csv``, which is for its owner alone, says which file a result is of: the others hold no identity.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medviewer.app.batch import Done, read_result
from medviewer.app.batch_plan import BatchPlan, BatchQuestion, NotAsked
from medviewer.app.results import NOTICE, RESULT_NAME, RESULT_SCHEMA
from medviewer.app.stack_outlines import StackFile
from medviewer.whole_file import write_whole

STUDY_SCHEMA = "medviewer.study-result/1"
BATCH_SCHEMA = "medviewer.batch/1"
SUMMARY_JSON, SUMMARY_CSV, SOURCES_CSV = "summary.json", "summary.csv", "sources.csv"
COLUMNS = (
    "study", "result", "model", "version", "status", "label", "code", "probability", "threshold", "flagged",
    "low", "high", "warnings", "reason", "area_mm2", "share", "verified", "calibrated",
)  # fmt: skip
_WAITING = "waiting"


def write_study(
    out: Path,
    study: str,
    rows: Sequence[Mapping[str, Any]],
    not_asked: Iterable[NotAsked],
    stacks: Sequence[StackFile] = (),
) -> None:
    """Write ``result.json`` of a study, of which all questions have ended; what earlier calls left there is listed too.

    Raises:
        StorageError: the disk is full, read-only or gone.
    """
    document = {
        "schema": STUDY_SCHEMA,
        "notice": NOTICE,
        "study": study,
        "results": [*rows, *_rows_of_other_calls(out / study, {row["result"] for row in rows})],
        "stacks": [asdict(one) for one in stacks],
        "not_asked": [_left_out(one) for one in not_asked if one.study == study],
    }
    (out / study).mkdir(parents=True, exist_ok=True)
    write_whole(out / study / RESULT_NAME, _json(document))


def result_row(out: Path, question: BatchQuestion, done: Done | None) -> dict[str, Any]:
    """What is told of one question: from the result that lies in its folder, so that nothing else can be told."""
    row: dict[str, Any] = {
        "result": f"{question.image}-{question.model_id}",
        "model": question.model_id,
        "version": None,
        "verified": None,
        "calibrated": None,
        "status": done.outcome if done is not None else _WAITING,
        "reason": done.reason if done is not None else "",
        "warnings": [],
        "findings": [],
        "regions": [],
    }
    if done is None or done.outcome == "failed":
        return row
    document: Any = read_result(out / question.name / RESULT_NAME) or {}
    return row | _said(document)


def _said(document: Any) -> dict[str, Any]:
    """What a row tells of a whole result."""
    return {
        "version": document["model"]["version"],
        "verified": document["model"].get("verified"),
        "calibrated": document.get("calibration", {}).get("method") != "none",
        "reason": "; ".join(document["reasons"]),
        "warnings": [guard["text"] for guard in document["guards"] if guard["level"] == "warn"],
        "findings": document["findings"],
        "regions": document.get("regions", []),
    }


def _rows_of_other_calls(folder: Path, known: set[Any]) -> Iterable[dict[str, Any]]:
    """The results of a study that lie there from calls with other models or other images."""
    for path in sorted(folder.glob(f"*/{RESULT_NAME}")):
        document: Any = read_result(path)
        if path.parent.name not in known and document is not None and document.get("schema") == RESULT_SCHEMA:
            start = {"result": path.parent.name, "model": document["model"]["id"], "status": document["status"]}
            yield start | _said(document)


def write_summary(out: Path, plan: BatchPlan, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write the summary of all studies as JSON and CSV, and where the images lie; give what the JSON holds.

    Args:
        out: the folder of all results.
        plan: all questions.
        rows: of :func:`result_row`, by the question's name.

    Raises:
        StorageError: the disk is full, read-only or gone.
    """
    document = _summary(plan, rows)
    write_whole(out / SUMMARY_CSV, _csv(COLUMNS, _csv_rows(document)))
    sources = [(q.study, q.image, str(q.selection.image.path), q.selection.image.frame) for q in plan.questions]
    content = _csv(("study", "image", "path", "frame"), dict.fromkeys(sources))
    write_whole(out / SOURCES_CSV, content, is_private=True)
    write_whole(out / SUMMARY_JSON, _json(document))
    return document


def _summary(plan: BatchPlan, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    statuses = [str(rows[question.name]["status"]) for question in plan.questions]
    studies = []
    for study in plan.studies:
        results = [rows[question.name] for question in plan.questions if question.study == study]
        not_asked = [_left_out(one) for one in plan.not_asked if one.study == study]
        studies.append({"study": study, "results": results, "not_asked": not_asked})
    return {
        "schema": BATCH_SCHEMA,
        "notice": NOTICE,
        "counts": {
            "studies": len(plan.studies),
            "questions": len(plan.questions),
            **{status: statuses.count(status) for status in ("answer", "abstained", "failed", _WAITING)},
        },
        "studies": studies,
    }


def _left_out(one: NotAsked) -> dict[str, Any]:
    return {"model": one.model_id, "images": one.count, "reason": one.reason}


def _csv_rows(document: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    """One row a finding or region; one without says why there is none."""
    for study in document["studies"]:
        for result in study["results"]:
            folder = f"{study['study']}/{result['result']}"
            start = (study["study"], folder, result["model"], result["version"], result["status"])
            end = ("; ".join(result["warnings"]), result["reason"])
            kind = (result["verified"], result["calibrated"])
            regions = result.get("regions", [])
            for finding in result["findings"] or ([{}] if not regions else []):
                band = finding.get("stability") or {}
                numbers = [finding.get(name) for name in COLUMNS[5:10]]
                yield (*start, *numbers, band.get("low"), band.get("high"), *end, None, None, *kind)
            for region in regions:
                said = (region["label"], region["code"], region["mean_probability"], region["threshold"])
                yield (*start, *said, None, None, None, *end, region["area_mm2"], region["share"], *kind)
        for one in study["not_asked"]:
            reason = f"{one['images']} images: {one['reason']}"
            yield (study["study"], None, one["model"], None, "not asked", *(None,) * 8, reason, *(None,) * 4)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A table as spreadsheets read it: RFC 4180, UTF-8 with a mark that says so."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8-sig", "backslashreplace")


def _cell(value: Any) -> Any:
    """A spreadsheet would run a text that begins like a formula: words of a card or of a path are only words."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _json(document: Any) -> bytes:
    return (
        json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"
    )

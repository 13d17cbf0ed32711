"""Results into files that others can read: JSON, pictures, DICOM.

``docs/json.md`` documents every field of ``result.json``.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from medviewer import __version__
from medviewer.app.data_results import evidence_of, outcomes_of, parts_of, stack_of
from medviewer.app.region_results import regions_of
from medviewer.app.result import USUAL, Output, Result
from medviewer.app.result_objects import OURS, OUTLINES_NAME, MapNames, map_names, write_files
from medviewer.domain.answer import Answer, Attribution, Decision, Finding
from medviewer.domain.errors import UsageError
from medviewer.imaging.derived_object import BANNER
from medviewer.whole_file import storage_error, write_whole

__all__ = ["NOTICE", "RESULT_NAME", "Result", "clear_results", "result_document", "save_results"]

RESULT_SCHEMA = "medviewer.result/1"
RESULT_NAME = "result.json"
NOTICE = BANNER  # the same words in files and in pictures
_LONGEST_OLD_RESULT = 4 << 20  # bytes


def save_results(
    out: Path, result: Result, *, outputs: frozenset[Output] = USUAL, pdf: bytes | None = None
) -> list[Path]:
    """Save an answer as JSON, pictures and DICOM: all of the files, or none of them.

    They are made in a folder of their own inside ``out`` and moved into place when all
    are whole, ``result.json`` last: where it lies, all that it lists lies too. What an
    earlier result left in ``out`` is taken away first, so that no old finding can be
    mistaken for the new one's. An abstention leaves ``result.json`` alone: there is
    nothing to draw or to report. A DICOM object that cannot be made, because the
    image lacks what it must refer to, is named in ``result.json`` with its reason.

    Args:
        out: the folder; it is made if it is not there.
        result: what to save. ``result.json`` holds no identity; the DICOM files
            hold the patient and study of the image.
        outputs: which DICOM objects are wanted; a Key Object document is written of a flagged finding only.
        pdf: a page for people, drawn already; None for none.

    Returns:
        The files, ``result.json`` first.

    Raises:
        UsageError: a heat map belongs to another answer or another image, or the image's own file would be replaced.
        StorageError: the disk is full, read-only or gone; nothing new remains.
    """
    _check_belonging(result)
    with _staging(out) as staged:
        written = write_files(staged, replace(result, attributions=_maps(result.attributions)), outputs, pdf)
        names = written.names
        document = result_document(result, names, written.refused)
        content = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode()
        write_whole(staged / RESULT_NAME, content + b"\n")
        _put_in_place(staged, out, names, result.image.path)
    return [out / name for name in (RESULT_NAME, *names)]


def result_document(result: Result, names: list[str], refused: list[tuple[str, str]]) -> dict[str, Any]:
    """Give the content of ``result.json``; ``names`` are the files beside it, in order.

    ``refused`` are (file, reason) of those that could not be made.
    """
    document = answer_document(
        result.answer,
        result.attributions,
        names=names,
        is_in_audit_trail=result.is_in_audit_trail,
        decision=result.decision,
        at=result.at,
    )
    if result.at is not None:
        document["problems"] = [{"status": one.status, "reason": one.reason} for one in result.problems]
    return document | {
        "slices": len(result.slices) or None,
        "impressions": [{"text": i.text, "time": i.time, "after_ai": i.after_ai} for i in result.impressions],
        "outputs": names,
        "not_written": [{"file": name, "reason": reason} for name, reason in refused],
    }


def answer_document(
    answer: Answer,
    attributions: tuple[Attribution, ...],
    *,
    is_in_audit_trail: bool | None,
    names: Sequence[str] = (),
    decision: Decision | None = None,
    at: datetime | None = None,
) -> dict[str, Any]:
    """Give what is said of an answer whatever it is about; ``names`` are the files beside it.

    ``at`` is the moment that recorded values are told the age of.
    """
    made_by = answer.provenance
    own = dict(zip(_maps(attributions), map_names(_maps(attributions)), strict=True))
    return {
        "schema": RESULT_SCHEMA,
        "notice": NOTICE,
        "model": {
            "id": made_by.model_id,
            "version": made_by.model_version,
            "sha256": made_by.model_sha256,
            "title": answer.model_title,
            "verified": made_by.is_verified,
        },
        "status": answer.status,
        "reasons": list(answer.reasons),
        "findings": [_finding(finding) for finding in answer.findings],
        "slices": None,
        "regions": regions_of(answer.regions, OUTLINES_NAME if OUTLINES_NAME in names else None),
        "outcomes": outcomes_of(answer),
        "evidence": evidence_of(answer, at),
        "calibration": {name: _finite(value) for name, value in answer.calibration.items()},
        "validated_on": answer.validated_on,
        "guards": [{"code": guard.code, "level": guard.level, "text": guard.text} for guard in answer.guards],
        "explanations": [_explanation(a, own.get(a), names) for a in attributions],
        "decision": _decision(decision),
        "impressions": [],
        "audit_written": is_in_audit_trail,
        "provenance": {
            "runtime": made_by.runtime,
            "provider": made_by.provider,
            "provider_reason": made_by.provider_reason,
            "card_sha256": made_by.card_sha256,
            "input_sha256": made_by.input_sha256,
            "started": made_by.started,
            "elapsed_s": made_by.elapsed_s,
            "versions": {"medviewer": __version__, **made_by.versions},
        },
        "outputs": [],
        "not_written": [],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    stability, near = finding.stability, finding.neighbours
    return {
        "label": finding.label,
        "code": finding.code,
        "probability": finding.probability,
        "threshold": finding.threshold,
        "flagged": finding.flagged,
        "stability": None if stability is None else {"low": stability[0], "high": stability[1]},
        "meaning": finding.meaning,
        "neighbours": None if near is None else asdict(near),
    }


def _maps(attributions: tuple[Attribution, ...]) -> tuple[Attribution, ...]:
    """Those that lie on the image or the stack; others lie on values and have no picture."""
    return tuple(a for a in attributions if a.is_map)


def _explanation(attribution: Attribution, own: MapNames | None, names: Sequence[str]) -> dict[str, Any]:
    judged = attribution.faithfulness
    return {
        "method": attribution.method,
        "title": attribution.method_title,
        "target": attribution.finding,
        "file": own.overlay if own else None,
        "map_file": own.values if own and own.values in names else None,
        "segment_file": own.segment if own and own.segment in names else None,
        "faithfulness": None
        if judged is None
        else {
            "deletion_percentile": _finite(judged.deletion_percentile),
            "insertion_percentile": _finite(judged.insertion_percentile),
            "n_random": judged.n_random,
            "sentence": judged.sentence,
        },
        "error": _finite(attribution.error),
        "error_name": attribution.error_name,
        "parts": parts_of(attribution),
        "stack": stack_of(attribution),
        "elapsed_s": attribution.elapsed_s,
    }


def _decision(decision: Decision | None) -> Mapping[str, str | None] | None:
    if decision is None:
        return None
    return {
        "kind": decision.kind,
        "assessment": decision.assessment or None,
        "value": decision.value or None,
        "reason": decision.reason,
        "time": decision.time,
    }


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: a number that is none is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_belonging(result: Result) -> None:
    """Refuse to put a heat map beside an answer or on an image that it does not belong to."""
    of_answer = result.answer.provenance
    shape = result.frame.stored.shape[:2]
    described = (result.image.description.rows, result.image.description.columns)
    if shape != described:
        raise UsageError("The pixels are not those of the image; open the image again before saving.")
    if result.answer.status != "answer" and result.attributions:
        raise UsageError("The model abstained, so that there is nothing to explain; save without heat maps.")
    if any(region.shape != shape for region in result.answer.regions):
        raise UsageError("An outline is of another image; run the model on this one again before saving.")
    for attribution in result.attributions:
        is_placed = not attribution.is_map or attribution.placed.shape == shape
        if not attribution.provenance.is_same_question(of_answer) or not is_placed:
            raise UsageError("A heat map belongs to another answer; explain this answer again before saving it.")


@contextlib.contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """Give a folder inside ``out`` that vanishes with what is still in it, and ``out`` too if made in vain."""
    was_there = False
    try:
        was_there = out.is_dir()
        out.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(dir=out, prefix=".medviewer-"))
    except OSError as error:
        raise storage_error("The result", error) from error
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        if not was_there:
            with contextlib.suppress(OSError):  # not empty: it was not in vain
                out.rmdir()


def clear_results(out: Path) -> None:
    """Take an earlier result out of a folder, so that what is found there afterwards is today's.

    Raises:
        StorageError: it cannot be taken away.
    """
    try:
        old = _earlier_outputs(out)
        for name in (RESULT_NAME, *old):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error("The result", error) from error


def _put_in_place(staged: Path, out: Path, names: list[str], source: Path) -> None:
    try:
        old = _earlier_outputs(out)
        for name in (*names, RESULT_NAME, *old):
            if (out / name).exists() and source.exists() and (out / name).samefile(source):
                raise UsageError(f"The image itself lies there as {name} and would be lost; choose another folder.")
        (out / RESULT_NAME).unlink(missing_ok=True)
        for name in old - set(names):
            (out / name).unlink(missing_ok=True)
        for name in (*names, RESULT_NAME):
            (staged / name).replace(out / name)
    except OSError as error:
        raise storage_error("The result", error) from error


def _earlier_outputs(out: Path) -> set[str]:
    """Name the files of an earlier result of ours in this folder; nothing that it could not have written."""
    path = out / RESULT_NAME
    try:
        if path.stat().st_size > _LONGEST_OLD_RESULT:
            return set()
        old = json.loads(path.read_bytes())
        outputs = old["outputs"] if old["schema"] == RESULT_SCHEMA else []
        names = {name for name in outputs if isinstance(name, str)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    return {name for name in names if OURS.fullmatch(name)}

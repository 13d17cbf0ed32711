"""Results into files that others can read: JSON, pictures, DICOM.

``docs/json.md`` documents every field of ``result.json``.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medviewer import __version__
from medviewer.domain.answer import Answer, Attribution, Decision, Finding, probability_words, threshold_words
from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.frame import Frame
from medviewer.domain.study import Image, Window
from medviewer.explain.faithfulness import CONVINCING_PERCENTILE
from medviewer.explain.overlay import blend
from medviewer.imaging.derived_object import BANNER
from medviewer.imaging.display import to_display
from medviewer.imaging.png import write_png
from medviewer.imaging.secondary_capture import Caution, write_secondary_capture
from medviewer.imaging.structured_report import write_structured_report
from medviewer.whole_file import storage_error, write_whole

RESULT_SCHEMA = "medviewer.result/1"
RESULT_NAME = "result.json"
NOTICE = BANNER  # the same words in files and in pictures
_REPORT_NAME, _CAPTURE_NAME, _OVERLAY_NAME = "finding.sr.dcm", "capture.sc.dcm", "overlay.png"
_LONGEST_OLD_RESULT = 4 << 20  # bytes


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One answer with all that is saved beside it.

    ``image`` and ``frame`` are the image that the answer is about. ``window`` None
    means the image's own default. ``attributions`` are the heat maps, in the order wanted.
    ``is_in_audit_trail`` tells whether the run was recorded; None if that is not known yet.
    """

    image: Image
    frame: Frame
    answer: Answer
    attributions: tuple[Attribution, ...] = ()
    decision: Decision | None = None
    window: Window | None = None
    inverted: bool = False
    color_map: str = "magma"
    opacity: float = 0.5
    threshold: float = 0.2
    is_in_audit_trail: bool | None = None


def save_results(out: Path, result: Result) -> list[Path]:
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

    Returns:
        The files, ``result.json`` first.

    Raises:
        UsageError: a heat map belongs to another answer or another image, or the image's own file would be replaced.
        StorageError: the disk is full, read-only or gone; nothing new remains.
    """
    _check_belonging(result)
    with _staging(out) as staged:
        names, refused = _write_files(staged, result)
        document = result_document(result, names, refused)
        content = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode()
        write_whole(staged / RESULT_NAME, content + b"\n")
        _put_in_place(staged, out, names, result.image.path)
    return [out / name for name in (RESULT_NAME, *names)]


def result_document(result: Result, names: list[str], refused: list[tuple[str, str]]) -> dict[str, Any]:
    """Give the content of ``result.json``; ``names`` are the files beside it, in order.

    ``refused`` are (file, reason) of those that could not be made.
    """
    answer = result.answer
    made_by = answer.provenance
    files = dict(zip(_keys(result.attributions), _overlay_names(result.attributions), strict=True))
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
        "calibration": {name: _finite(value) for name, value in answer.calibration.items()},
        "validated_on": answer.validated_on,
        "guards": [{"code": guard.code, "level": guard.level, "text": guard.text} for guard in answer.guards],
        "explanations": [_explanation(a, files[_key(a)]) for a in result.attributions],
        "decision": _decision(result.decision),
        "audit_written": result.is_in_audit_trail,
        "provenance": {
            "runtime": made_by.runtime,
            "provider": made_by.provider,
            "provider_reason": made_by.provider_reason,
            "input_sha256": made_by.input_sha256,
            "started": made_by.started,
            "elapsed_s": made_by.elapsed_s,
            "versions": {"medviewer": __version__, **made_by.versions},
        },
        "outputs": names,
        "not_written": [{"file": name, "reason": reason} for name, reason in refused],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    stability = finding.stability
    return {
        "label": finding.label,
        "code": finding.code,
        "probability": finding.probability,
        "threshold": finding.threshold,
        "flagged": finding.flagged,
        "stability": None if stability is None else {"low": stability[0], "high": stability[1]},
        "meaning": finding.meaning,
    }


def _explanation(attribution: Attribution, file: str) -> dict[str, Any]:
    judged = attribution.faithfulness
    return {
        "method": attribution.method,
        "title": attribution.method_title,
        "target": attribution.finding,
        "file": file,
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
        "elapsed_s": attribution.elapsed_s,
    }


def _decision(decision: Decision | None) -> Mapping[str, str] | None:
    return None if decision is None else {"kind": decision.kind, "reason": decision.reason, "time": decision.time}


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
    for attribution in result.attributions:
        if not attribution.provenance.is_same_question(of_answer) or attribution.placed.shape != shape:
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


def _write_files(folder: Path, result: Result) -> tuple[list[str], list[tuple[str, str]]]:
    """Make all files but ``result.json``; give their names, and those that could not be made with the reason."""
    names: list[str] = []
    refused: list[tuple[str, str]] = []
    if result.answer.status != "answer":
        return names, refused
    display = to_display(result.frame, result.window, invert=result.inverted)
    shown = np.repeat(display[..., None], 3, axis=2) if display.ndim == 2 else display
    for index, (name, attribution) in enumerate(
        zip(_overlay_names(result.attributions), result.attributions, strict=True)
    ):
        drawn = _overlay(display, attribution, result)
        if index == 0:
            shown = drawn
            names.append(_OVERLAY_NAME)
            write_png(folder / _OVERLAY_NAME, drawn)
        write_png(folder / name, drawn)
        names.append(name)
    try:
        write_structured_report(
            result.image,
            result.answer,
            attributions=result.attributions,
            decision=result.decision,
            path=folder / _REPORT_NAME,
        )
        names.append(_REPORT_NAME)
        write_secondary_capture(result.image, shown, text=_capture_text(result), path=folder / _CAPTURE_NAME)
        names.append(_CAPTURE_NAME)
    except InputError as error:
        refused = [(name, str(error)) for name in (_REPORT_NAME, _CAPTURE_NAME) if name not in names]
    return names, refused


def _overlay(display: np.ndarray, attribution: Attribution, result: Result) -> np.ndarray:
    return blend(
        display,
        attribution.placed,
        color_map=result.color_map,
        opacity=result.opacity,
        threshold=result.threshold,
    )


def _capture_text(result: Result) -> list[str]:
    """Say on the picture what the structured report says, in as few words as a picture bears."""
    answer = result.answer
    lines = [_finding_words(finding) for finding in answer.findings]
    decision = result.decision
    if decision is not None and decision.kind != "withdrawn":
        reason = " ".join(decision.reason.split())
        lines.append(f"Reader: {decision.kind}" + (f" - {reason}" if reason else ""))
    lines += [Caution(f"Warning: {guard.text}") for guard in answer.guards if guard.level == "warn"]
    if result.attributions:
        lines += _map_words(result.attributions[0])
    lines.append(f"Model: {answer.provenance.model_id} {answer.provenance.model_version}")
    return lines


def _finding_words(finding: Finding) -> str:
    probability = probability_words(finding.probability, finding.threshold)
    outcome = "flagged" if finding.flagged else "not flagged"
    return f"{finding.label}: probability {probability}, threshold {threshold_words(finding.threshold)}, {outcome}"


def _map_words(attribution: Attribution) -> list[str]:
    """What the colours are, and whether they are better than those of a random map."""
    what = f"Colours: {attribution.method_title}, where the model looked, not a lesion's outline"
    judged = attribution.faithfulness
    if judged is None:
        return [what, Caution("Whether this map is better than a random one was not checked.")]
    worst = min(judged.deletion_percentile, judged.insertion_percentile)
    is_convincing = worst >= CONVINCING_PERCENTILE
    return [what, judged.sentence if is_convincing else Caution(judged.sentence)]


def _key(attribution: Attribution) -> tuple[str, str]:
    return (attribution.method, attribution.finding)


def _keys(attributions: tuple[Attribution, ...]) -> list[tuple[str, str]]:
    return [_key(attribution) for attribution in attributions]


def _overlay_names(attributions: tuple[Attribution, ...]) -> list[str]:
    """Name one picture a heat map: by its method, and by its finding too where a method explains several."""
    methods = [attribution.method for attribution in attributions]
    return [
        f"overlay-{_slug(a.method)}.png"
        if methods.count(a.method) == 1
        else f"overlay-{_slug(a.method)}-{_slug(a.finding)}.png"
        for a in attributions
    ]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "map"


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
    ours = re.compile(r"overlay[a-z0-9-]*\.png|" + "|".join(map(re.escape, (_REPORT_NAME, _CAPTURE_NAME))))
    return {name for name in names if ours.fullmatch(name)}

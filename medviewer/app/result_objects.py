"""The files of a result beside its JSON: which are wanted, what they are called, and how each is made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from medviewer.app.region_results import region_lines
from medviewer.app.result import Output, Result, as_shown, outlined, overlay_of
from medviewer.domain.answer import Attribution, Finding, probability_words, threshold_of
from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.explain.faithfulness import CONVINCING_PERCENTILE
from medviewer.explain.overlay import normalise_map
from medviewer.imaging.derived_object import ObjectReference
from medviewer.imaging.heat_map_object import write_heat_map, write_heat_map_segment
from medviewer.imaging.key_objects import write_flagged_image
from medviewer.imaging.outline_object import write_outlines
from medviewer.imaging.png import write_png
from medviewer.imaging.secondary_capture import Caution, write_secondary_capture
from medviewer.imaging.stack_map_object import write_stack_map
from medviewer.imaging.structured_report import write_structured_report

PDF_NAME = "report.pdf"
OUTLINES_NAME = "outlines.seg.dcm"
_REPORT_NAME, _CAPTURE_NAME, _OVERLAY_NAME, _KEYS_NAME = (
    "finding.sr.dcm",
    "capture.sc.dcm",
    "overlay.png",
    "flagged.ko.dcm",
)
OURS = re.compile(
    r"overlay[a-z0-9-]*\.png|map-[a-z0-9-]+\.pm\.dcm|attention-[a-z0-9-]+\.seg\.dcm|"
    + "|".join(map(re.escape, (_REPORT_NAME, _CAPTURE_NAME, _KEYS_NAME, PDF_NAME, OUTLINES_NAME)))
)
"""Names that files of a result can have."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was made in a folder: names in order, and (name, reason) of what could not be."""

    names: list[str]
    refused: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class MapNames:
    """What the files of one heat map are called."""

    overlay: str
    values: str
    segment: str


def map_names(attributions: Sequence[Attribution]) -> list[MapNames]:
    """Name the files of each heat map: by its method, and by its finding too where a method explains several."""
    methods = [attribution.method for attribution in attributions]
    found = []
    for a in attributions:
        slug = _slug(a.method) if methods.count(a.method) == 1 else f"{_slug(a.method)}-{_slug(a.finding)}"
        found.append(MapNames(f"overlay-{slug}.png", f"map-{slug}.pm.dcm", f"attention-{slug}.seg.dcm"))
    return found


def write_files(folder: Path, result: Result, outputs: frozenset[Output], pdf: bytes | None) -> Written:
    """Make all files but ``result.json``."""
    written = Written([], [])
    if result.answer.status == "answer":
        shown = _write_pictures(folder, result, written)
        _write_objects(folder, result, shown, outputs, written)
    if pdf is not None:
        (folder / PDF_NAME).write_bytes(pdf)
        written.names.append(PDF_NAME)
    return written


def _write_pictures(folder: Path, result: Result, written: Written) -> np.ndarray:
    """Write one picture a heat map, or one of what was outlined; returns the one for archives."""
    display = as_shown(result)
    shown = np.repeat(display[..., None], 3, axis=2) if display.ndim == 2 else display
    for index, (names, attribution) in enumerate(zip(map_names(result.attributions), result.attributions, strict=True)):
        drawn = overlay_of(display, attribution, result)
        if index == 0:
            shown = drawn
            written.names.append(_OVERLAY_NAME)
            write_png(folder / _OVERLAY_NAME, drawn)
        write_png(folder / names.overlay, drawn)
        written.names.append(names.overlay)
    if result.answer.regions and not result.attributions:
        shown = outlined(display, result)
        write_png(folder / _OVERLAY_NAME, shown)
        written.names.append(_OVERLAY_NAME)
    return shown


def _write_objects(
    folder: Path, result: Result, shown: np.ndarray, outputs: frozenset[Output], written: Written
) -> None:
    """Write the DICOM objects that are wanted; what the image lacks for one, or a map for its own, is told."""
    for name, write in _wanted(result, shown, outputs):
        try:
            write(path=folder / name)
            written.names.append(name)
        except (InputError, _NothingThereError) as error:
            written.refused.append((name, str(error)))


class _Write(Protocol):
    def __call__(self, *, path: Path) -> None: ...


class _NothingThereError(UsageError):
    """There is nothing that one of the objects could hold."""


def _wanted(result: Result, shown: np.ndarray, outputs: frozenset[Output]) -> Iterator[tuple[str, _Write]]:
    image, answer, maps = result.image, result.answer, result.attributions
    shown_by: list[ObjectReference] = []  # grows as they are written: the report, which names them, comes after
    if answer.regions and "report" in outputs:  # which names their segments
        yield OUTLINES_NAME, partial(_write_outlines, result, shown_by)
    for names, attribution in zip(map_names(maps), maps, strict=True):
        if "maps" in outputs:
            yield names.values, partial(_write_map, result, attribution, shown_by)
        if "segments" in outputs:
            yield names.segment, partial(_write_segment, result, attribution, shown_by)
    if "report" in outputs and not (answer.findings or answer.regions):
        yield _REPORT_NAME, _no_finding
    elif "report" in outputs:
        said = partial(write_structured_report, image, answer, attributions=maps, decision=result.decision)
        said = partial(said, slices=result.slices)
        yield _REPORT_NAME, partial(said, shown_by=shown_by)
    if "capture" in outputs:
        yield _CAPTURE_NAME, partial(write_secondary_capture, image, shown, text=capture_text(result))
    if "keys" in outputs and any(finding.flagged for finding in answer.findings):
        yield _KEYS_NAME, partial(write_flagged_image, image, answer)


def _write_outlines(result: Result, made: list[ObjectReference], *, path: Path) -> None:
    if not any(region.pixels for region in result.answer.regions):
        raise _NothingThereError("Nothing was outlined above the threshold, so there is no segment to write.")
    made.append(write_outlines(result.image, result.answer, path=path))


def _no_finding(*, path: Path) -> None:
    raise _NothingThereError(f"{path.name} tells findings, and the answer is of another kind; it is in result.json.")


def _write_map(result: Result, attribution: Attribution, made: list[ObjectReference], *, path: Path) -> None:
    finding = _explained(result, attribution)
    if attribution.volume is not None:
        made.append(write_stack_map(result.slices, attribution, finding, path=path))
        return
    _, strongest = normalise_map(attribution.placed)
    made.append(write_heat_map(result.image, attribution, finding, strongest=strongest, path=path))


def _write_segment(result: Result, attribution: Attribution, made: list[ObjectReference], *, path: Path) -> None:
    if attribution.volume is not None:
        raise _NothingThereError("The heat map of a stack is of a few large boxes: it is saved as values only.")
    parts, strongest = normalise_map(attribution.placed)
    mask = np.nan_to_num(parts, nan=0.0) >= max(result.threshold, 1 / 255)
    if strongest <= 0 or not mask.any():
        raise _NothingThereError("Nowhere does the heat map speak for the finding, so there is nothing to segment.")
    criterion = f"{attribution.method_title} at {result.threshold:.2f} of its strongest value or more"
    finding = _explained(result, attribution)
    write = partial(write_heat_map_segment, result.image, attribution, finding)
    made.append(write(mask=mask, criterion=criterion, path=path))


def _explained(result: Result, attribution: Attribution) -> Finding:
    found = next((finding for finding in result.answer.findings if finding.label == attribution.finding), None)
    if found is None:
        raise _NothingThereError("The heat map explains a finding that the answer does not name.")
    return found


def capture_text(result: Result) -> list[str]:
    """Say on the picture what the structured report says, in as few words as a picture bears."""
    answer = result.answer
    kind = "probability" if answer.is_calibrated else "output"
    lines = [_finding_words(finding, kind) for finding in answer.findings]
    lines += [line for region in answer.regions for line in region_lines(region)]
    decision = result.decision
    if decision is not None and decision.kind != "withdrawn":
        reason = " ".join(decision.reason.split())
        value = " ".join(decision.value.split())
        lines.append(f"Reader: {decision.kind}" + (f": {value}" if value else "") + (f" - {reason}" if reason else ""))
    if result.slices:
        shown = [one.key for one in result.slices].index(result.image.key) + 1
        lines.append(f"Analysed: {len(result.slices)} slices as a whole; this is slice {shown}")
    lines += [Caution(f"Warning: {guard.text}") for guard in answer.guards if guard.level == "warn"]
    if result.attributions:
        lines += _map_words(result.attributions[0], has_others=len(answer.findings) > 1)
    made_by = answer.provenance
    signature = "" if made_by.is_verified else " (unverified)"
    lines.append(f"Model: {made_by.model_id} {made_by.model_version}{signature}")
    return lines


def _finding_words(finding: Finding, kind: str) -> str:
    probability = probability_words(finding.probability, finding.threshold)
    outcome = "flagged" if finding.flagged else "not flagged"
    return f"{finding.label}: {kind} {probability}, threshold {threshold_of(finding)}, {outcome}"


def _map_words(attribution: Attribution, *, has_others: bool) -> list[str]:
    """What the colours are and, where there are ``has_others``, of which finding; whether a random map's are worse."""
    of = f" for {attribution.finding}" if has_others else ""
    what = f"Colours: {attribution.method_title}{of}, where the model looked, not a lesion's outline"
    judged = attribution.faithfulness
    if judged is None:
        return [what, Caution("Whether this map is better than a random one was not checked.")]
    worst = min(judged.deletion_percentile, judged.insertion_percentile)
    is_convincing = worst >= CONVINCING_PERCENTILE
    return [what, judged.sentence if is_convincing else Caution(judged.sentence)]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "map"

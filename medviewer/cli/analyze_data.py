"""``analyze`` without an image: a model asked about a record, a note or a molecule."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from medviewer.app.data_results import save_document, summary_of
from medviewer.app.patient import RecordRoom
from medviewer.app.results import NOTICE, RESULT_NAME, answer_document, clear_results
from medviewer.app.settings import home
from medviewer.cli.models import open_catalogue
from medviewer.cli.terminal import clear_progress, print_json, progress, say, tell
from medviewer.cli.trail import keep_in_trail
from medviewer.domain.answer import Answer, Attribution, Finding, probability_words, threshold_of
from medviewer.domain.case import Case
from medviewer.domain.errors import InputError, StorageError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Problem
from medviewer.explain.methods import explain, methods_for
from medviewer.inference.engine import Engine
from medviewer.records.record import PatientRecord, parse_moment, snapshot, with_zone

UNVERIFIED = "  unverified: the files match the card, but no publisher that you trust has signed it"
_NOTE_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Told:
    """What a model said of a case without an image.

    Attributes:
        problems: parts of the record that could not be used.
        zone: by whose clock its values are told; None: each by this computer's as it was then, in summer or winter.
    """

    answer: Answer
    attributions: tuple[Attribution, ...]
    at: datetime | None
    problems: tuple[Problem, ...] = ()
    zone: tzinfo | None = None

    def document(self, *, is_in_audit_trail: bool) -> dict[str, Any]:
        """The content of ``result.json``."""
        document = answer_document(self.answer, self.attributions, at=self.at, is_in_audit_trail=is_in_audit_trail)
        return {**document, "problems": [{"status": one.status, "reason": one.reason} for one in self.problems]}


def is_of_data(arguments: argparse.Namespace) -> bool:
    """Whether something else than an image was given."""
    return arguments.record is not None or arguments.note is not None or arguments.smiles is not None


def analyze_data(arguments: argparse.Namespace) -> int:
    """Ask a model about recorded values, a note or a molecule, and save what it says.

    Returns:
        The exit code: 4 if it abstained, else 3 if parts of the record could not be used.

    Raises:
        UsageError: the model needs an image, or has no such method; the moment is none.
        InputError, RecordError, StorageError: a file cannot be used.
    """
    catalogue = open_catalogue(arguments.models_folder)
    if len(set(arguments.model)) > 1:
        raise UsageError("Name one model: only images are put to several at once.")
    card = catalogue.card(arguments.model[0])
    if any(spec.kind in ("image", "volume") for spec in card.inputs):
        raise UsageError(f"The model {card.id} needs an image: give its path too, or choose another model.")
    if arguments.also or arguments.pdf or arguments.identity or arguments.frame is not None:
        raise UsageError("Pages, frames and DICOM objects are made of images; without one only result.json is saved.")
    known = [row.id for row in methods_for(card)]
    for method in arguments.explain:
        if method not in known:
            raise UsageError(
                f"The model {card.id} has no explanation method “{method}”; there are: {', '.join(known) or 'none'}."
            )
    moment = moment_of(arguments.at)
    record, problems = (None, ()) if arguments.record is None else read_patient(arguments.record)
    case = make_case(record, arguments.note, arguments.smiles, moment)
    with Engine(catalogue) as engine:
        answer = engine.ask(case, card.id, progress=progress, language=arguments.language)
        wanted = tuple(dict.fromkeys(arguments.explain)) if answer.status == "answer" else ()
        why = tuple(explain(engine, case, card.id, method, progress=progress) for method in wanted)
    clear_progress()
    _tell(Told(answer, why, case.at, problems, zone_of(arguments.at)), arguments)
    if answer.status != "answer":
        return 4
    return 3 if any(problem.status == "refused" for problem in problems) else 0


def moment_of(at: str | None) -> datetime:
    """Up to when a record counts: now, or the moment or whole day that was given in ISO 8601.

    Raises:
        UsageError: it is none, or not told to the day.
    """
    if at is None:
        return datetime.now().astimezone()
    parsed = parse_moment(at)
    if parsed is None or parsed[1] not in ("day", "time"):
        raise UsageError(f"“{at}” is no moment; give one as 2024-05-02T14:30, or a whole day as 2024-05-02.")
    # The end of a day first and its zone then: on some days of the year the clocks are changed in between.
    return with_zone(parsed[0] if parsed[1] == "time" else parsed[0].replace(hour=23, minute=59, second=59))


def zone_of(at: str | None) -> tzinfo | None:
    """The time zone that was given with the moment; None where none was: today's offset is not that of all the year."""
    parsed = None if at is None else parse_moment(at)
    return None if parsed is None else parsed[0].tzinfo


def make_case(record: PatientRecord | None, note: Path | None, smiles: str | None, at: datetime) -> Case:
    """Put a case together.

    Args:
        record: of the patient.
        note: a text file in UTF-8.
        smiles: a molecule.
        at: up to when the record counts.

    Raises:
        InputError: the note cannot be used.
    """
    case = Case(at=at) if record is None else snapshot(record, at)
    if note is not None:
        case = replace(case, note=_text(note))
    return replace(case, smiles=(smiles,)) if smiles is not None else case


def read_patient(path: Path) -> tuple[PatientRecord, tuple[Problem, ...]]:
    """The record of a FHIR file with one patient, and what of it could not be used, which is told.

    Raises:
        InputError: it holds several patients, or none.
        RecordError, StorageError: the file cannot be used.
    """
    from medviewer.records.fhir import read_bundle  # noqa: PLC0415 - brings fhir.resources with it

    imported = read_bundle(path)
    for problem in imported.problems:
        tell(f"{path.name}: {problem.reason}")
    if len(imported.records) != 1:
        raise InputError(f"{path.name} holds {len(imported.records)} patients; give a file with one.")
    return imported.records[0], imported.problems


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_NOTE_LIMIT_BYTES + 1)
        if len(raw) > _NOTE_LIMIT_BYTES:
            raise InputError(f"{path.name} is larger than {_NOTE_LIMIT_BYTES >> 20} MB; it is not a note.")
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not text in UTF-8; save it as UTF-8 and try again.") from error


def finding_words(finding: Finding, answer: Answer) -> str:
    """A finding with its number as what it is, its threshold and its flag, none of which contradicts another."""
    kind = "probability" if answer.is_calibrated else "output of the network, no probability,"
    number = f"{kind} {probability_words(finding.probability, finding.threshold)}"
    flag = "flagged" if finding.flagged else "not flagged"
    return f"{finding.label}: {number}, threshold {threshold_of(finding)}, {flag}"


def _tell(told: Told, arguments: argparse.Namespace) -> None:
    answer, out = told.answer, arguments.out
    with contextlib.closing(RecordRoom(home())) as room:
        document = told.document(is_in_audit_trail=keep_in_trail(room, "model.run", "", answer.provenance.model_id))
    if not arguments.json:
        for line in _lines(told):
            say(line)
    clear_results(out)
    try:
        path = save_document(out, document, RESULT_NAME)
    except StorageError:
        if arguments.json:
            print_json(document)
        raise
    if arguments.json:
        print_json(json.loads(path.read_bytes()))
    else:
        say(f"  saved: {path}")
        say(NOTICE)


def _lines(told: Told) -> Sequence[str]:
    answer = told.answer
    made_by = answer.provenance
    lines = [f"{answer.model_title} ({made_by.model_id} {made_by.model_version})"]
    if not made_by.is_verified:
        lines.append(UNVERIFIED)
    if answer.status != "answer":
        lines.append("  The model abstained:")
    lines += [f"  {finding_words(finding, answer)}" for finding in answer.findings]
    lines += [f"  {guard.level}: {guard.text}" for guard in answer.guards if guard.level != "ok"]
    return [*lines, *summary_of(answer, told.attributions, told.zone)]

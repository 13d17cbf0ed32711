"""Two accounts of the same patient become one, and nothing that was recorded is lost."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from itertools import zip_longest
from typing import TypeVar

from medviewer.domain.errors import RecordError
from medviewer.domain.study import Patient
from medviewer.records.identity import mismatch
from medviewer.records.record import PatientRecord, StudyMark

Fact = TypeVar("Fact")


def merge(existing: PatientRecord, incoming: PatientRecord, *, trusts_existing_identity: bool = True) -> PatientRecord:
    """The existing record with what the incoming one adds or renews; importing twice changes nothing.

    The same allergy, problem, medicine or study comes newer from ``incoming``;
    measurements are all kept. A statement of "none known" never removes what
    another source recorded.

    Args:
        existing: as stored.
        incoming: as imported; shares an identifier with ``existing``.
        trusts_existing_identity: False if name, birth date and sex of ``existing`` came
            from an image's header alone, which an import may correct.

    Raises:
        RecordError: name, birth date or sex contradict: two people with one number.
    """
    if trusts_existing_identity and mismatch(existing, _as_patient(incoming)):
        raise RecordError(
            "An imported patient has the number of a stored one but another name, birth date or sex, and was not"
            " merged: correct the number at its source and import again."
        )
    return replace(
        existing,
        identifiers=tuple(dict.fromkeys(existing.identifiers + incoming.identifiers)),
        name=_fuller_name(incoming.name, existing.name) if trusts_existing_identity else incoming.name or existing.name,
        birth_date=max(incoming.birth_date, existing.birth_date, key=len)
        if trusts_existing_identity
        else incoming.birth_date or existing.birth_date,
        sex=incoming.sex or existing.sex,
        allergies=_renew_stated(existing.allergies, incoming.allergies, lambda a: a.code or a.text.casefold()),
        conditions=_renew_stated(
            existing.conditions, incoming.conditions, lambda c: (c.code or c.text.casefold(), c.onset)
        ),
        medications=_renew_stated(
            existing.medications, incoming.medications, lambda m: (m.code or m.text.casefold(), m.started)
        ),
        observations=_renew(
            existing.observations, incoming.observations, lambda o: (o.code, o.display, o.value, o.unit, str(o.time))
        ),
        text_results=_renew(existing.text_results, incoming.text_results, lambda t: (t.code or t.display, t.time)),
        encounters=_renew(existing.encounters, incoming.encounters, lambda e: (e.kind, e.text, e.start)),
        documents=_renew(existing.documents, incoming.documents, lambda d: d),
        studies=merge_studies(existing.studies, incoming.studies),
        is_sample=existing.is_sample or incoming.is_sample,
    )


def merge_studies(existing: tuple[StudyMark, ...], incoming: tuple[StudyMark, ...]) -> tuple[StudyMark, ...]:
    """Each study once, as the incoming marks have it."""
    return _renew(existing, incoming, lambda s: s.study_instance_uid)


def _renew(existing: tuple[Fact, ...], incoming: tuple[Fact, ...], key: Callable[[Fact], Hashable]) -> tuple[Fact, ...]:
    renewed = {key(fact) for fact in incoming}
    return tuple(fact for fact in existing if key(fact) not in renewed) + incoming


def _renew_stated(
    existing: tuple[Fact, ...] | None, incoming: tuple[Fact, ...] | None, key: Callable[[Fact], Hashable]
) -> tuple[Fact, ...] | None:
    """As ``_renew``; None (nothing was said) stays None only if both say nothing."""
    if existing is None or incoming is None:
        return existing if incoming is None else incoming
    return _renew(existing, incoming, key)


def _fuller_name(first: str, second: str) -> str:
    """Two names that do not contradict each other as one: each writing as the one says it that says more."""
    groups = zip_longest(first.split("="), second.split("="), fillvalue="")
    return "=".join(max(pair, key=len) for pair in groups).rstrip("=")


def _as_patient(record: PatientRecord) -> Patient:
    return Patient(patient_id="", name=record.name, birth_date=record.birth_date, sex=record.sex)

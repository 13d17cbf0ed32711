"""Two accounts of the same patient become one, and nothing that was recorded is lost."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields, replace
from datetime import datetime
from itertools import zip_longest
from typing import Any, TypeVar

from medviewer.domain.case import Observation
from medviewer.domain.errors import RecordError
from medviewer.domain.study import Patient
from medviewer.records import origin
from medviewer.records.identity import mismatch
from medviewer.records.record import PatientRecord, StudyMark, TextResult, parse_moment, with_zone
from medviewer.records.withdrawal import STATES, is_same_resource, plain, still_said, still_stated, without

Fact = TypeVar("Fact")
Result = TypeVar("Result", Observation, TextResult)

_RISKS = {"": 0, "low": 1, "unable-to-assess": 2, "high": 3}  # FHIR criticality of an allergy
# States, of any kind of fact, in which it is over.
_ENDED = frozenset({"completed", "stopped", "cancelled", "not-taken", "inactive", "resolved", "remission"})


def merge(existing: PatientRecord, incoming: PatientRecord, *, trusts_existing_identity: bool = True) -> PatientRecord:
    """The existing record with what the incoming one adds or renews; importing twice changes nothing.

    An allergy, problem, medicine, visit or study is the same if code, words and
    beginning are. Of two accounts of it the one that was stated later counts;
    where they do not say when, that of ``incoming``, unless it would take back an
    end: then both stay, for a reader to settle. What only one of them says is
    kept, and the graver risk of an allergy. Results are all kept. But what its source
    takes back or corrects leaves the record (see ``withdrawal``): it must not be read or
    scored again. A statement of "none known" never removes what another source recorded.

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
        allergies=_renew_stated(
            still_stated(existing, incoming, "allergies"),
            incoming.allergies,
            lambda a: (a.code, plain(a.text)),
        ),
        conditions=_renew_stated(
            still_stated(existing, incoming, "conditions"),
            incoming.conditions,
            lambda c: (c.code, plain(c.text), c.onset),
        ),
        medications=_renew_stated(
            still_stated(existing, incoming, "medications"),
            incoming.medications,
            lambda m: (m.code, plain(m.text), m.started),
        ),
        observations=_add_results(
            still_said(existing.observations, incoming),
            incoming.observations,
            lambda o: (o.code, o.display, o.value, o.unit, str(o.time)),
        ),
        text_results=_add_results(
            still_said(existing.text_results, incoming),
            incoming.text_results,
            lambda t: (t.code or t.display, t.time, plain(t.text)),
        ),
        encounters=_renew(existing.encounters, incoming.encounters, lambda e: (e.kind, e.text, e.start)),
        documents=_add(existing.documents, incoming.documents, lambda d: d),
        studies=merge_studies(existing.studies, incoming.studies),
        is_sample=existing.is_sample or incoming.is_sample,
    )


def merge_studies(existing: tuple[StudyMark, ...], incoming: tuple[StudyMark, ...]) -> tuple[StudyMark, ...]:
    """Each study once, as the incoming marks have it, with what only the existing one says."""
    known = {mark.study_instance_uid: mark for mark in existing if mark.study_instance_uid}
    renewed = tuple(_joined(known.get(mark.study_instance_uid, mark), mark) for mark in incoming)
    return _add(existing, renewed, lambda mark: mark.study_instance_uid)


def _add(existing: tuple[Fact, ...], incoming: tuple[Fact, ...], key: Callable[[Fact], Hashable]) -> tuple[Fact, ...]:
    """What was measured or written: all of it is kept, each once."""
    added = {key(fact) for fact in incoming}
    return tuple(fact for fact in existing if key(fact) not in added) + incoming


def _add_results(
    existing: tuple[Result, ...], incoming: tuple[Result, ...], key: Callable[[Result], Hashable]
) -> tuple[Result, ...]:
    """As ``_add``; a result that is known already keeps who else states it."""
    known: dict[Hashable, str] = {}
    for fact in existing:
        other = known.setdefault(key(fact), fact.origin)
        if other != fact.origin:  # two resources state the same
            known[key(fact)] = origin.joined(other, fact.origin)

    def joined(new: Result) -> Result:
        other = known.get(key(new), "")
        return new if other in ("", new.origin) else replace(new, origin=origin.joined(other, new.origin))

    return _add(existing, tuple(map(joined, incoming)), key)


def _renew(existing: tuple[Fact, ...], incoming: tuple[Fact, ...], key: Callable[[Fact], Hashable]) -> tuple[Fact, ...]:
    """What may change: each incoming fact renews one of the existing in its place, or comes behind them."""
    kept, added = dict(enumerate(existing)), dict(enumerate(incoming))
    places: dict[Hashable, list[int]] = {}
    for place, old in kept.items():
        places.setdefault(key(old), []).append(place)
        for name in origin.keys(_said(old, "origin")):
            places.setdefault(name, []).append(place)

    free = set(kept)
    # A resource renews itself. Then what says the same goes together: two prescriptions of one medicine must not mix.
    for is_pair in (_are_versions, _say_the_same, _may_be_versions, _may_renew):
        for number, new in tuple(added.items()):
            by = (key(new),) if is_pair in (_say_the_same, _may_renew) else origin.keys(_said(new, "origin"))
            found = sorted({place for one in by for place in places.get(one, ()) if place in free})
            own = next((place for place in found if is_pair(existing[place], new)), None)
            if own is not None:
                free.remove(own)
                kept[own] = _joined(existing[own], added.pop(number))
    # An account that only said that it had not ended yet is settled by one that says that it has.
    ended = {without(new, *STATES) for new in incoming if _has_ended(new)}
    for place in free:
        old = existing[place]
        if not _has_ended(old) and _stated(old) is None and without(old, *STATES) in ended:
            del kept[place]
    return (*kept.values(), *added.values())


def _renew_stated(
    existing: tuple[Fact, ...] | None, incoming: tuple[Fact, ...] | None, key: Callable[[Fact], Hashable]
) -> tuple[Fact, ...] | None:
    """As ``_renew``; None (nothing was said) stays None only if both say nothing."""
    if existing is None or incoming is None:
        return existing if incoming is None else incoming
    return _renew(existing, incoming, key)


def _are_versions(old: Any, new: Any) -> bool:
    return is_same_resource(old, new, by="place") and not _goes_back(old, new)


def _may_be_versions(old: Any, new: Any) -> bool:
    return is_same_resource(old, new) and not _goes_back(old, new)


def _say_the_same(old: Any, new: Any) -> bool:
    return without(old, "stated") == without(new, "stated")


def _may_renew(old: Any, new: Any) -> bool:
    """Whether the two are accounts of one fact that can become one without a loss."""
    reactions = {reaction for reaction in (_said(old, "reaction"), _said(new, "reaction")) if reaction}
    return len(reactions) < 2 and not _goes_back(old, new)


def _goes_back(old: object, new: object) -> bool:
    """Whether what had ended goes on by an account of unknown age: nobody knows which is right, so both stay."""
    return _has_ended(old) and bool(_status(new)) and not _has_ended(new) and None in (_stated(old), _stated(new))


def _joined(old: Fact, new: Fact) -> Fact:
    """The newer of two accounts, with what only the older one says, and the graver risk of both."""
    before, now = _stated(old), _stated(new)
    is_age_known = before is not None and now is not None and before != now
    newer, older = (old, new) if before is not None and now is not None and now < before else (new, old)
    # What goes on by the newer account ends when that one says; of unknown age it may only be the sparser one.
    goes_on = bool(_status(newer)) and not _has_ended(newer) and (is_age_known or _has_ended(older))
    said = {field.name: getattr(newer, field.name) or getattr(older, field.name) for field in fields(newer)}  # type: ignore[arg-type]
    if goes_on and "ended" in said:
        said["ended"] = _end(newer)
    if "stated" in said and _state(old) != _state(new):
        # Of another age than its state, the account would win against one that is newer than what it says.
        telling = next(one for says in (_status, _end) for one in (newer, older) if says(one))
        said["stated"] = _said(telling, "stated")
    if "origin" in said:
        said["origin"] = origin.joined(_said(old, "origin"), _said(new, "origin"))
    if "criticality" in said:
        said["criticality"] = max(_said(old, "criticality"), _said(new, "criticality"), key=_risk)
    return type(newer)(**said)


def _risk(criticality: str) -> int:
    return _RISKS.get(criticality, 1)


def _has_ended(fact: object) -> bool:
    return _status(fact) in _ENDED


def _status(fact: object) -> str:
    return _said(fact, "status") or _said(fact, "clinical_status")


def _state(fact: object) -> tuple[str, str]:
    return _status(fact), _end(fact)


def _end(fact: object) -> str:
    return _said(fact, "ended")


def _stated(fact: object) -> datetime | None:
    parsed = parse_moment(_said(fact, "stated"))
    return with_zone(parsed[0]) if parsed is not None else None


def _said(fact: object, name: str) -> str:
    return str(getattr(fact, name, ""))


def _fuller_name(first: str, second: str) -> str:
    """Two names that do not contradict each other as one: each writing as the one says it that says more."""
    groups = zip_longest(first.split("="), second.split("="), fillvalue="")
    return "=".join(max(pair, key=len) for pair in groups).rstrip("=")


def _as_patient(record: PatientRecord) -> Patient:
    return Patient(patient_id="", name=record.name, birth_date=record.birth_date, sex=record.sex)

"""FHIR R4 resources, one at a time, as facts of the record.

Every function takes a resource that has passed validation, as plain JSON, so
that values and dates stay exactly as they were written. What cannot be used
raises RecordError with the reason; the caller lists it and goes on.
"""

from __future__ import annotations

import base64
import binascii
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from medviewer.domain.case import Observation
from medviewer.domain.errors import RecordError
from medviewer.records.fhir_codes import LOINC, NAME_WRITING, NULL_FLAVOR, UCUM, WRITINGS, code_of, text_of
from medviewer.records.record import (
    Allergy,
    Condition,
    Document,
    Encounter,
    Identifier,
    Medication,
    PatientRecord,
    StudyMark,
    TextResult,
    parse_moment,
)
from medviewer.records.rows import well_formed

Json: TypeAlias = Mapping[str, Any]

_SEX = {"male": "M", "female": "F", "other": "O"}
_NAME_RANK = {"official": 0, "usual": 1, None: 2, "temp": 3, "nickname": 4, "anonymous": 5}
_WITHDRAWN = frozenset({"entered-in-error", "cancelled"})
_NO_ORDERS = frozenset({"proposal", "plan", "option"})
# Parts of a resource that are read and that may say of themselves that they mean something else.
_PARTS = ("component", "reaction", "dosage", "dosageInstruction", "content")
# Of the values that an observation may have, those that are words; the others have their own rule.
_PLAIN_VALUES = ("valueString", "valueInteger", "valueBoolean", "valueDateTime", "valueTime")


def check_meaning(resource: Json) -> None:
    """See that the resource is a fact, and that it means what its elements say.

    Raises:
        RecordError: it never happened or no longer counts, is about another than its patient (a fetus, a donor), or an
            extension that is not known here changes what it means: R4 forbids to read on then.
    """
    parts = [part for name in _PARTS for part in resource.get(name) or () if isinstance(part, Mapping)]
    if any(part.get("modifierExtension") for part in (resource, *parts)):
        raise RecordError("an extension that MedViewer does not know changes what it means")
    kind, status = resource.get("resourceType"), resource.get("status")
    if kind == "MedicationRequest" and resource.get("intent") in _NO_ORDERS:
        raise RecordError("the medicine was only proposed or planned, not ordered")
    if kind == "Observation" and any(_reference(one) != _reference(resource["subject"]) for one in _focuses(resource)):
        raise RecordError("it is about somebody or something else than its patient")
    if kind in ("Encounter", "ImagingStudy") and status == "cancelled":
        raise RecordError("it was called off")
    if kind == "DocumentReference" and status == "superseded":
        raise RecordError("a newer document has taken its place")


def patient_of(resource: Json) -> PatientRecord:
    """A Patient as a record that holds nothing else yet, under a new key."""
    identifiers = tuple(
        Identifier(_text(i.get("system")).strip(), _text(i["value"]).strip())
        for i in resource.get("identifier") or ()
        # A retired number may since have been given to someone else.
        if _text(i.get("value")).strip() and i.get("use") != "old"
    )
    if not identifiers:
        raise RecordError("the patient has no identifier and could never be matched safely")
    return PatientRecord(
        key=uuid.uuid4().hex,
        identifiers=tuple(dict.fromkeys(identifiers)),
        name=_person_name(resource.get("name") or ()),
        birth_date=_text(resource.get("birthDate")),
        sex=_SEX.get(_text(resource.get("gender")), ""),
    )


def allergy_of(resource: Json) -> Allergy:
    """An allergy."""
    concept = resource.get("code") or {}
    reactions = (
        text_of(manifestation)
        for reaction in resource.get("reaction") or ()
        for manifestation in reaction.get("manifestation") or ()
    )
    return Allergy(
        text=_required(text_of(concept), "the allergy does not say to what"),
        code=_text(code_of(concept)),
        criticality=_text(resource.get("criticality")),
        reaction=_text(", ".join(dict.fromkeys(filter(None, reactions)))),
        recorded=_first(resource, "recordedDate", "onsetDateTime"),
        status=_status(resource, "clinicalStatus"),
    )


def condition_of(resource: Json) -> Condition:
    """A problem."""
    concept = resource.get("code") or {}
    return Condition(
        text=_required(text_of(concept), "the problem has no name"),
        code=_text(code_of(concept)),
        clinical_status=_status(resource, "clinicalStatus"),
        onset=_first(resource, "onsetDateTime", "onsetPeriod.start"),
        verification=_status(resource, "verificationStatus"),
        ended=_first(resource, "abatementDateTime", "abatementPeriod.end"),
    )


def medication_of(resource: Json, concept: Json) -> Medication:
    """A MedicationStatement or MedicationRequest; ``concept`` names the medicine, wherever it was written."""
    status = _text(resource.get("status"))
    if resource.get("doNotPerform"):
        raise RecordError("the order says not to give a medicine, which is not understood")
    dosages = resource.get("dosage") or resource.get("dosageInstruction") or ()
    return Medication(
        text=_required(text_of(concept), "the medicine has no name"),
        code=_text(code_of(concept)),
        status="" if status == "unknown" else status,
        started=_first(resource, "effectivePeriod.start", "effectiveDateTime", "authoredOn"),
        dosage_text=_text("; ".join(dosage["text"] for dosage in dosages if dosage.get("text"))),
        ended=_first(resource, "effectivePeriod.end"),
    )


def observations_of(resource: Json, *, at: str = "") -> Iterator[Observation | TextResult]:
    """An Observation's value and those of its components (systolic and diastolic are two values).

    One of a period (a collection, a mean of hours) is there at its end: nobody knew it before. ``at`` is another
    moment to put it at.
    """
    parts = [part for part in (resource, *(resource.get("component") or ())) if _has_value(part)]
    if not parts:
        raise RecordError("the observation has no value")
    for part in parts:
        yield _observation(part, at or _moment(resource))


def withdrawn_observations_of(resource: Json) -> Iterator[Observation | TextResult]:
    """What an Observation that is taken back was of, and its values where it still tells them."""
    for part in (resource, *(resource.get("component") or ())):
        try:
            yield _observation(part, _moment(resource))
        except RecordError:
            concept = part.get("code") or {}
            yield TextResult(_observed(concept), _text(text_of(concept)), "", _moment(resource))


def beginning_of(resource: Json) -> str:
    """When the period of an Observation began; empty if it is of a moment, or goes on."""
    is_period = _moment(resource) == _first(resource, "effectivePeriod.end")
    return _first(resource, "effectivePeriod.start") if is_period else ""


def study_of(resource: Json) -> StudyMark:
    """An ImagingStudy, known by its DICOM Study Instance UID."""
    values = (
        _text(i.get("value")) for i in resource.get("identifier") or () if i.get("system") in (None, "urn:dicom:uid")
    )
    uid = next((value.removeprefix("urn:oid:") for value in values if value.startswith("urn:oid:")), "")
    modalities = {coding["code"] for coding in resource.get("modality") or () if coding.get("code")}
    return StudyMark(
        study_instance_uid=_required(uid, "the imaging study has no Study Instance UID"),
        date=_text(resource.get("started"))[:10],
        modality=_text("/".join(sorted(modalities))),
        description=_text(resource.get("description")),
    )


def encounter_of(resource: Json) -> Encounter:
    """A visit or a stay."""
    period = resource.get("period") or {}
    kind = resource.get("class") or {}
    concepts = [*(resource.get("type") or ()), *(resource.get("reasonCode") or ())]
    return Encounter(
        text=_text(", ".join(filter(None, map(text_of, concepts)))),
        kind="" if kind.get("system") == NULL_FLAVOR else _text(kind.get("code")),
        start=_text(period.get("start")),
        end=_text(period.get("end")),
    )


def document_of(resource: Json) -> Document:
    """A DocumentReference with its plain text; other contents are named in the title only."""
    attachments = [content["attachment"] for content in resource.get("content") or () if content.get("attachment")]
    texts = [_plain_text(a) for a in attachments if _text(a.get("contentType")).startswith("text/plain")]
    titles = [_text(resource.get("description")), *(_text(attachment.get("title")) for attachment in attachments)]
    titles.append(_text(text_of(resource.get("type") or {})))
    created = next((_text(a["creation"]) for a in attachments if a.get("creation")), "")
    return Document(
        title=next(filter(None, titles), "Document"),
        date=created or _first(resource, "date", "context.period.start"),
        text="\n\n".join(filter(None, texts)),
    )


def is_withdrawn(resource: Json) -> bool:
    """Whether the source says that the resource should never have been, or was called off before it happened."""
    if _status(resource, "verificationStatus") == "entered-in-error":
        return True
    status = resource.get("status")
    return "entered-in-error" in (status, resource.get("docStatus")) or (
        resource.get("resourceType") == "Observation" and status in _WITHDRAWN
    )


def is_refuted(resource: Json) -> bool:
    """Whether an allergy or a problem was looked into and is none."""
    return _status(resource, "verificationStatus") == "refuted"


def holds_now(resource: Json) -> bool:
    """Whether a statement that there are none is still made, and by someone who is sure of it."""
    state = _status(resource, "clinicalStatus") or _text(resource.get("status"))
    is_over = _first(resource, "effectivePeriod.end") or any(name.startswith("abatement") for name in resource)
    return (
        # A statement about medicines has no word for "unknown" but this one.
        state in ("", "active", "unknown")
        and _status(resource, "verificationStatus") in ("", "confirmed")
        and not is_over
    )


def _observation(part: Json, time: str) -> Observation | TextResult:
    concept = part.get("code") or {}
    code = _observed(concept)
    display = _text(text_of(concept))
    _required(code or display.strip(), "the observation does not say what was observed")
    quantity = part.get("valueQuantity")
    if quantity is None or quantity.get("value") is None:
        return TextResult(code, display, _required(_words(part), "the observation's value is of a kind not read"), time)
    value = float(quantity["value"])
    if not math.isfinite(value):
        raise RecordError("the observation's value is not a finite number")
    unit = quantity.get("code") if quantity.get("system") == UCUM else quantity.get("unit")
    unit = _text(unit or quantity.get("unit") or quantity.get("code"))
    moment = parse_moment(time)
    comparator = _text(quantity.get("comparator"))
    # A bound is not a measurement, and a value of "some day in August" cannot be placed: both stay words.
    if not comparator and moment is not None and moment[1] in ("day", "time"):
        return Observation(code, display, value, unit, moment[0])
    if not time:
        raise RecordError("the observation has no time")
    return TextResult(code, display, f"{comparator} {value:.12g} {unit}".strip(), time)


def _observed(concept: Json) -> str:
    """The code of what was observed: that of LOINC if there is one."""
    loinc = next((c["code"] for c in concept.get("coding") or () if c.get("system") == LOINC and c.get("code")), None)
    return _text(loinc or code_of(concept))


def _moment(resource: Json) -> str:
    moments = ("effectiveDateTime", "effectivePeriod.end", "effectivePeriod.start", "effectiveInstant")
    return _first(resource, *moments)


def _words(part: Json) -> str:
    if part.get("valueCodeableConcept"):
        return text_of(part["valueCodeableConcept"])
    for name in _PLAIN_VALUES:
        if part.get(name) is not None:
            value = part[name]
            return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return ""


def _focuses(resource: Json) -> Iterable[Json]:
    """What an observation is about where that is not its patient; of an observation of nobody it does not matter."""
    return (resource.get("focus") or ()) if resource.get("subject") else ()


def _reference(to: Json) -> str:
    return _text(to.get("reference")).partition("/_history/")[0]


def _has_value(part: Json) -> bool:
    return any(name.startswith("value") and value is not None for name, value in part.items())


def _person_name(names: Iterable[Json]) -> str:
    """The name in use as a DICOM person name, with its writings in DICOM's order."""
    current = [name for name in names if name.get("use") not in ("old", "maiden")]
    if not current:
        return ""
    rank = min(_NAME_RANK.get(name.get("use"), 9) for name in current)
    chosen = [name for name in current if _NAME_RANK.get(name.get("use"), 9) == rank]
    groups: dict[str, str] = {}
    for name in chosen:
        groups.setdefault(_writing(name), _name_group(name))
    return "=".join(groups.get(writing, "") for writing in WRITINGS).rstrip("=")


def _writing(name: Json) -> str:
    for extension in name.get("extension") or ():
        if extension.get("url") == NAME_WRITING and extension.get("valueCode") in WRITINGS:
            return str(extension["valueCode"])
    return "ABC"


def _name_group(name: Json) -> str:
    given = [part for part in name.get("given") or () if part]
    parts = (
        name.get("family"),
        given[0] if given else "",
        " ".join(given[1:]),
        " ".join(part for part in name.get("prefix") or () if part),
        " ".join(part for part in name.get("suffix") or () if part),
    )
    # The signs that separate the parts of a DICOM name cannot be inside one.
    cleaned = [_text(part).replace("^", " ").replace("=", " ") for part in parts]
    group = "^".join(cleaned).rstrip("^")
    return group or _text(name.get("text")).replace("^", " ").replace("=", " ")


def _plain_text(attachment: Json) -> str:
    try:
        # FHIR lets base64 be broken into lines.
        data = base64.b64decode("".join((attachment.get("data") or "").split()), validate=True)
        return _text(data.decode("utf-8"))
    except (binascii.Error, UnicodeDecodeError) as error:
        raise RecordError("the document's text cannot be decoded") from error


def _status(resource: Json, field: str) -> str:
    codings = (resource.get(field) or {}).get("coding") or ()
    return next((_text(coding["code"]) for coding in codings if coding.get("code")), "")


def _first(resource: Json, *names: str) -> str:
    """The first of these dates that is there; "a.b" looks inside a."""
    for name in names:
        value: Any = resource
        for step in name.split("."):
            value = (value or {}).get(step)
        if value:
            return _text(value)
    return ""


def _required(text: str, reason: str) -> str:
    if not text:
        raise RecordError(reason)
    return _text(text)


def _text(value: Any) -> str:
    return well_formed(str(value)) if value is not None else ""

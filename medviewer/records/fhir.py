"""FHIR R4 in: a Bundle or NDJSON file becomes patient records and a list of what could not be used."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from medviewer.domain.case import Observation
from medviewer.domain.errors import RecordError, StorageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Problem
from medviewer.records import fhir_facts, origin
from medviewer.records.fhir_codes import NO_INFORMATION, NONE_KNOWN, code_of, is_test_data
from medviewer.records.merge import merge
from medviewer.records.record import PatientRecord, parse_moment, with_zone

_MAX_BYTES = 256 * 2**20
_MEDICINES = ("MedicationStatement", "MedicationRequest")
_CORRECTED = ("amended", "corrected")  # states of an observation that was final with another value
_WITHDRAWN = "withdrawn by its source and left out"
_DELETED = "deleted by its source and left out"
_DELETED_OF_NOBODY = "deleted by its source, but what of whose record came from it cannot be told: nothing was removed"
# Resource type -> the record's field and how a resource becomes one of its facts.
_FACTS = {
    "AllergyIntolerance": ("allergies", fhir_facts.allergy_of),
    "Condition": ("conditions", fhir_facts.condition_of),
    "ImagingStudy": ("studies", fhir_facts.study_of),
    "Encounter": ("encounters", fhir_facts.encounter_of),
    "DocumentReference": ("documents", fhir_facts.document_of),
}
# Kinds of resource whose facts keep where they came from -> the record's field.
_FIELDS = {
    "AllergyIntolerance": "allergies",
    "Condition": "conditions",
    "MedicationStatement": "medications",
    "MedicationRequest": "medications",
    "Observation": "observations",
}
_PLACE = re.compile(r"(?:\S*/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/\S*)?")
# Whatever a validator written by others may raise on input that nobody foresaw; never hides our own code's errors.
_INVALID = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class ImportedRecords:
    """What a file holds: one record a patient, and one line for each resource that could not be used."""

    records: tuple[PatientRecord, ...]
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class _Entry:
    where: str  # for the problem list: position and type, never an identity
    full_url: str
    resource: dict[str, Any]
    gathered: str = ""  # when the bundle around it was put together
    is_deleted: bool = False  # the resource holds its type and id alone

    @property
    def stated(self) -> str:
        """When its source last said so; empty if that is not known to the second."""
        updated = str((self.resource.get("meta") or {}).get("lastUpdated") or "")
        return next((text for text in (updated, self.gathered) if (parse_moment(text) or ("", ""))[1] == "time"), "")

    @property
    def kind(self) -> str:
        return str(self.resource["resourceType"])

    @property
    def version_of(self) -> tuple[str, ...]:
        """The same for all versions of one resource; nothing where it has no name."""
        owner = self.resource.get("subject") or self.resource.get("patient") or {}
        reference = str(owner.get("reference") or "").partition("/_history/")[0]
        return (*self.names, reference) if self.names and reference else ()

    @property
    def names(self) -> tuple[str, ...]:
        """What a reference may call this resource."""
        named = f"{self.kind}/{self.resource['id']}" if self.resource.get("id") else ""
        return tuple(dict.fromkeys(filter(None, (self.full_url, named))))

    @property
    def place(self) -> str:
        """Where the resource lies, which another file tells too; what names it in this bundle alone does not count."""
        place = f"{self.kind}/{self.resource['id']}" if self.resource.get("id") else ""
        url = self.full_url.partition("/_history/")[0]
        is_of_server = url.startswith(("http://", "https://"))
        return url if is_of_server and (url.endswith(f"/{place}") if place else _PLACE.fullmatch(url)) else place

    @property
    def origin(self) -> str:
        """What the resource is known again by."""
        given = self.resource.get("identifier") or ()
        named = (f"{i['system']}|{i['value']}" for i in given if i.get("system") and i.get("value"))
        return origin.origin_of((self.place, *named))


@dataclass(slots=True)
class _Gathered:
    """A patient while the facts are being collected."""

    record: PatientRecord
    facts: dict[str, list[Any]] = field(default_factory=dict)
    states_none: set[str] = field(default_factory=set)
    unsaid: set[str] = field(default_factory=set)

    def add(self, name: str, fact: Any) -> None:
        self.facts.setdefault(name, []).append(fact)

    def finish(self) -> PatientRecord:
        found: dict[str, tuple[Any, ...]] = {name: tuple(facts) for name, facts in self.facts.items()}
        # A statement of "none known" beside a real entry is out of date: the entry is what may do harm.
        return replace(self.record, unsaid=frozenset(self.unsaid), **(dict.fromkeys(self.states_none, ()) | found))


def read_bundle(path: Path) -> ImportedRecords:
    """The patients of a FHIR R4 file (Bundle, NDJSON or a single resource), each with their facts.

    Every resource is checked by itself: a bad one is one line in the problem
    list and never hides the rest. Nothing is guessed: a fact whose patient is not
    in the file is not given to the only patient there. Units stay as given.

    Raises:
        RecordError: the file is not FHIR JSON.
        StorageError: the file cannot be read.
    """
    reader = _Reader(path)
    entries = [entry for entry in _entries(path, reader.refuse) if reader.is_valid(entry)]
    for entry in entries:
        if entry.kind == "Patient":
            reader.add_patient(entry)
        elif entry.kind == "Medication":
            reader.add_medicine(entry)
    for entry in entries:
        if not reader.is_taken_back(entry):
            reader.add_fact(entry)
    reader.add_withdrawn()
    reader.add_deleted()
    return reader.finish()


class _Reader:
    """Collects patients, their facts and the problems of one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._problems: list[Problem] = []
        self._patients: list[_Gathered] = []
        self._by_name: dict[str, _Gathered | None] = {}  # None: two patients share the name
        self._seen: set[tuple[str, str]] = set()
        self._not_shown: Counter[str] = Counter()
        self._withdrawn: dict[tuple[str, ...], list[_Entry]] = {}  # by what they are versions of
        self._deletions: list[_Entry] = []
        self._deleted: dict[str, list[_Entry]] = {}  # the same by their names
        self._newest: dict[tuple[str, ...], _Entry] = {}  # of several versions of a resource
        self._taken_back: list[_Entry] = []
        self.medicines: dict[str, dict[str, Any]] = {}

    def refuse(self, where: str, reason: str) -> None:
        self._problems.append(Problem(self._path, f"{where}: {reason}."))

    def is_valid(self, entry: _Entry) -> bool:
        """Whether the resource has R4's form; exact repetitions are passed over in silence."""
        repeated = (entry.kind, json.dumps(entry.resource, sort_keys=True)) if entry.resource.get("id") else None
        if repeated in self._seen:
            return False
        if repeated is not None:
            self._seen.add(repeated)
        if entry.is_deleted:
            self._deletions.append(entry)
            for name in entry.names:
                self._deleted.setdefault(name, []).append(entry)
            return False
        reason = _why_invalid(entry.resource)
        if reason:
            self.refuse(entry.where, f"not valid FHIR R4 ({reason})")
        elif fhir_facts.is_withdrawn(entry.resource) or fhir_facts.is_refuted(entry.resource):
            if not fhir_facts.is_refuted(entry.resource):
                self.refuse(entry.where, _WITHDRAWN)
            self._withdrawn.setdefault(entry.version_of, []).append(entry)
            self._taken_back.append(entry)
        else:
            if entry.version_of and not _is_newer(self._newest.setdefault(entry.version_of, entry), entry):
                self._newest[entry.version_of] = entry
            return True
        return False

    def add_patient(self, entry: _Entry) -> None:
        try:
            fhir_facts.check_meaning(entry.resource)
            record = fhir_facts.patient_of(entry.resource)
            record = replace(record, is_sample=is_test_data(entry.resource))
            same = next((p for p in self._patients if set(p.record.identifiers) & set(record.identifiers)), None)
            if same is not None:
                same.record = merge(same.record, record)
        except RecordError as error:
            self.refuse(entry.where, str(error).rstrip("."))
            return
        gathered = same or _Gathered(record)
        if same is None:
            self._patients.append(gathered)
        for name in entry.names:
            known = self._by_name.setdefault(name, gathered)
            self._by_name[name] = gathered if known is gathered else None

    def add_medicine(self, entry: _Entry) -> None:
        try:
            fhir_facts.check_meaning(entry.resource)
        except RecordError as error:
            self.refuse(entry.where, str(error))
        else:
            self.medicines.update(dict.fromkeys(entry.names, entry.resource.get("code") or {}))

    def add_fact(self, entry: _Entry) -> None:
        kind = entry.kind
        if kind in ("Patient", "Medication"):
            return
        if kind not in _FACTS and kind not in _MEDICINES and kind != "Observation":
            self._not_shown[kind] += 1
            return
        try:
            fhir_facts.check_meaning(entry.resource)
            patient = self._patient_of(entry.resource)
            for name, fact in list(self._facts_of(patient, entry)):
                patient.add(name, fact)
                if kind == "Observation" and entry.resource.get("status") in _CORRECTED:
                    patient.add("corrected", fact)
            self._add_misplaced(patient, entry)
        except RecordError as error:
            self.refuse(entry.where, str(error).rstrip("."))

    def is_taken_back(self, entry: _Entry) -> bool:
        """Whether the file has a newer version of the resource, or withdraws it and this one is not surely newer."""
        if entry.version_of and _is_newer(self._newest[entry.version_of], entry):
            return True
        others = self._withdrawn.get(entry.version_of, []) if entry.version_of else []
        deleted = [one for name in entry.names for one in self._deleted.get(name, ())]
        if all(_is_newer(entry, one) for one in (*others, *deleted)):
            return False
        self.refuse(entry.where, _WITHDRAWN)
        self._taken_back.append(entry)
        return True

    def add_withdrawn(self) -> None:
        """Note which facts are taken back: an earlier import may have brought them."""
        for entry in (one for one in self._taken_back if one.kind in _FIELDS):
            with contextlib.suppress(RecordError):  # of nobody here
                self._add_taken_back(self._patient_of(entry.resource), entry)

    def _add_taken_back(self, patient: _Gathered, entry: _Entry) -> None:
        try:
            if entry.kind == "Observation":
                for value in list(fhir_facts.withdrawn_observations_of(entry.resource)):
                    patient.add("withdrawn", replace(value, origin=entry.origin))
                self._add_misplaced(patient, entry)
            else:
                for _, fact in list(self._facts_of(patient, entry, is_withdrawn=True)):
                    patient.add("withdrawn", fact)
        except RecordError:  # it does not tell any more what it was of, but where it lies
            patient.add("deleted", entry.place)

    def add_deleted(self) -> None:
        """Note which resources are not there any more: theirs of whom the file is, if it is of one patient."""
        versions = {name for entry in self._taken_back for name in entry.names}
        for entry in self._deletions:
            if entry.kind in _FIELDS and len(self._patients) == 1:
                (patient,) = self._patients
                patient.add("deleted", entry.place)
                patient.unsaid.add(_FIELDS[entry.kind])
                self.refuse(entry.where, _DELETED)
            elif versions.isdisjoint(entry.names):
                self.refuse(entry.where, _DELETED_OF_NOBODY)

    def _facts_of(self, patient: _Gathered, entry: _Entry, *, is_withdrawn: bool = False) -> Iterator[tuple[str, Any]]:
        """What a resource says, as facts of the record's fields; a statement that there are none is noted."""
        resource = entry.resource
        if entry.kind == "Observation":
            for value in fhir_facts.observations_of(resource):
                name = "observations" if isinstance(value, Observation) else "text_results"
                yield name, replace(value, origin=entry.origin)
            return
        if entry.kind in _MEDICINES:
            name, concept = "medications", self._medicine(resource)
        else:
            name, concept = _FACTS[entry.kind][0], resource.get("code") or {}
        if _states_absence(patient, name, concept, resource, is_withdrawn=is_withdrawn):
            return
        is_medicine = entry.kind in _MEDICINES
        fact: Any = fhir_facts.medication_of(resource, concept) if is_medicine else _FACTS[entry.kind][1](resource)
        yield name, replace(fact, stated=entry.stated, origin=entry.origin) if name in _FIELDS.values() else fact

    @staticmethod
    def _add_misplaced(patient: _Gathered, entry: _Entry) -> None:
        beginning = fhir_facts.beginning_of(entry.resource) if entry.kind == "Observation" else ""
        if beginning:
            for value in list(fhir_facts.observations_of(entry.resource, at=beginning)):
                patient.add("misplaced", value)

    def finish(self) -> ImportedRecords:
        for kind, count in sorted(self._not_shown.items()):
            plural = "s" if count > 1 else ""
            reason = f"{count} {kind} resource{plural}: understood, but MedViewer has no place for them yet."
            self._problems.append(Problem(self._path, reason, "read"))
        return ImportedRecords(tuple(p.finish() for p in self._patients), tuple(self._problems))

    def _patient_of(self, resource: dict[str, Any]) -> _Gathered:
        reference = (resource.get("subject") or resource.get("patient") or {}).get("reference")
        if not reference:
            raise RecordError("it does not say whose it is")
        patient = self._by_name.get(str(reference).partition("/_history/")[0])
        if patient is None:
            raise RecordError("its patient is not in this file, is not usable, or is named twice")
        return patient

    def _medicine(self, resource: dict[str, Any]) -> dict[str, Any]:
        if resource.get("medicationCodeableConcept"):
            return dict(resource["medicationCodeableConcept"])
        reference = str((resource.get("medicationReference") or {}).get("reference") or "")
        for contained in resource.get("contained") or ():
            if reference == f"#{contained.get('id')}":
                if fhir_facts.is_withdrawn(contained):
                    raise RecordError("its medicine was withdrawn by its source")
                fhir_facts.check_meaning(contained)
                return dict(contained.get("code") or {})
        if reference not in self.medicines:
            raise RecordError("its medicine is not in this file")
        return self.medicines[reference]


def _is_newer(entry: _Entry, other: _Entry) -> bool:
    own, others = parse_moment(entry.stated), parse_moment(other.stated)
    return own is not None and others is not None and with_zone(own[0]) > with_zone(others[0])


def _states_absence(
    patient: _Gathered, name: str, concept: dict[str, Any], resource: dict[str, Any], *, is_withdrawn: bool
) -> bool:
    """Whether the code says "none" or "no information" instead of naming something; noted if it says none."""
    code = code_of(concept)
    if code in NONE_KNOWN.get(name, ()):
        holds = fhir_facts.holds_now(resource) and not is_withdrawn
        (patient.states_none if holds else patient.unsaid).add(name)
        return True
    return code in NO_INFORMATION


def _why_invalid(resource: dict[str, Any]) -> str:
    """Why the resource does not have R4's form, in a few words without its values; empty if it does."""
    # Loaded only for an import: the models of FHIR take a quarter of a second. R4B, since the default is R5.
    from fhir.resources.R4B import get_fhir_model_class  # noqa: PLC0415
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        message = first["msg"].removeprefix("Value error, ").rstrip(".")[:120]
        return f"{place}: {message}" if place else message
    except _INVALID:
        return "unknown type or broken structure"
    return ""


def _entries(path: Path, refuse: Any) -> Iterator[_Entry]:
    """Every resource of the file, bundles opened, with its place; what is no resource is refused."""
    for where, value in _documents(_read_text(path), refuse):
        yield from _unbundled(where, value, refuse)


def _unbundled(where: str, value: Any, refuse: Any) -> Iterator[_Entry]:
    if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
        refuse(where or "File", "not a FHIR resource")
        return
    if value["resourceType"] != "Bundle":
        yield _Entry(f"{where} {value['resourceType']}".strip(), "", value)
        return
    listed = value.get("entry")
    is_sample = is_test_data(value)
    gathered = str(value.get("timestamp") or "")
    for number, item in enumerate(listed if isinstance(listed, list) else (), start=1):
        resource = item.get("resource") if isinstance(item, dict) else None
        place = f"{where} entry {number}".strip()
        request = item.get("request") if isinstance(item, dict) else None
        if isinstance(request, dict) and request.get("method") == "DELETE":
            yield from _deletion(place, item, gathered, refuse)
            continue
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            refuse(place, "not a FHIR resource")
            continue
        full_url = item.get("fullUrl")
        url = full_url if isinstance(full_url, str) else ""
        entry = _Entry(f"{place} {resource['resourceType']}", url, resource, gathered)
        yield _tagged(entry, value) if is_sample and entry.kind == "Patient" else entry


def _deletion(place: str, item: dict[str, Any], gathered: str, refuse: Any) -> Iterator[_Entry]:
    """That a resource is not there any more, as a transaction or a history says it."""
    response = item.get("response")
    time = str(response.get("lastModified") or "") if isinstance(response, dict) else ""
    names = [name for name in (item.get("fullUrl"), item["request"].get("url")) if isinstance(name, str)]
    for name, found in ((name, _PLACE.fullmatch(name)) for name in names):
        if found is not None:
            resource = {"resourceType": found[1], "id": found[2]}
            url = name.partition("/_history/")[0] if "://" in name else ""
            yield _Entry(f"{place} {found[1]}", url, resource, time or gathered, is_deleted=True)
            return
    refuse(place, _DELETED_OF_NOBODY)


def _tagged(entry: _Entry, bundle: dict[str, Any]) -> _Entry:
    """The patient of a bundle of test data is test data too."""
    meta = entry.resource.get("meta")
    own = dict(meta) if isinstance(meta, dict) else {}
    tags = own.get("tag", [])
    if not isinstance(tags, list):
        return entry  # not valid: the check of the resource says so
    own["tag"] = [*tags, *bundle["meta"]["tag"]]
    return replace(entry, resource={**entry.resource, "meta": own})


def _documents(text: str, refuse: Any) -> Iterator[tuple[str, Any]]:
    """The JSON documents of the file: one, or one a line."""
    whole, whole_error = None, None
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        whole_error = error
    if whole_error is None:
        yield "", whole
        return
    # Not splitlines(): JSON may hold other line separators inside a string.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    values = [(number, _json_object(line)) for number, line in lines]
    if not any(value is not None and "resourceType" in value for _, value in values):
        raise RecordError(
            "The file is not FHIR JSON (a Bundle, or one resource a line): export it again and retry."
        ) from whole_error
    for number, value in values:
        if value is None:
            refuse(f"Line {number}", "not JSON")
        else:
            yield f"Line {number}", value


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise RecordError(f"The file is larger than {_MAX_BYTES // 2**20} MB: split it and import the parts.")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError("The file is not text in UTF-8, as FHIR JSON must be: export it again and retry.") from error
    except OSError as error:
        raise StorageError("The file cannot be read: check that it exists and may be read.") from error

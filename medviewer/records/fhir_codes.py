"""The code systems and fixed codes that FHIR import and export share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SCHEMES = {
    "SCT": "http://snomed.info/sct",
    "LN": "http://loinc.org",
    "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "ATC": "http://www.whocc.no/atc",
    "ICD10": "http://hl7.org/fhir/sid/icd-10",
    "ICD10CM": "http://hl7.org/fhir/sid/icd-10-cm",
    "IPS": "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips",
}
_SCHEME_OF = {system: scheme for scheme, system in SCHEMES.items()}
LOINC = SCHEMES["LN"]
UCUM = "http://unitsofmeasure.org"
DICOM_CODES = "http://dicom.nema.org/resources/ontology/DCM"
ACT_CODES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
NULL_FLAVOR = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
TEST_DATA = ("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HTEST")
NAME_WRITING = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
WRITINGS = ("ABC", "IDE", "SYL")  # alphabetic, ideographic, syllabic: the groups of a DICOM name, in order

# What says that there are none at all, and what says that nothing is known. SNOMED CT and IPS.
NONE_KNOWN = {
    "allergies": frozenset({"SCT:716186003", "SCT:160244002", "IPS:no-known-allergies"}),
    "conditions": frozenset({"SCT:160245001", "IPS:no-known-problems"}),
    "medications": frozenset({"SCT:787481004", "IPS:no-known-medications"}),
}
NO_INFORMATION = frozenset({"IPS:no-allergy-info", "IPS:no-problem-info", "IPS:no-medication-info"})

_LOINC_CODE = re.compile(r"\d{1,7}-\d")


def code_of(concept: Mapping[str, Any]) -> str:
    """The first code of a CodeableConcept as ``scheme:value`` (``system|value`` for a rarer system), or empty."""
    for coding in concept.get("coding") or ():
        if coding.get("code"):
            return coded(coding.get("system") or "", str(coding["code"]))
    return ""


def coded(system: str, value: str) -> str:
    """A code as the record writes it."""
    if not system:
        return value
    scheme = _SCHEME_OF.get(system)
    return f"{scheme}:{value}" if scheme else f"{system}|{value}"


def coding_of(code: str) -> dict[str, str]:
    """The FHIR coding behind a code of the record; a bare LOINC number is LOINC."""
    if _LOINC_CODE.fullmatch(code):
        return {"system": LOINC, "code": code}
    system, bar, value = code.partition("|")
    if bar:
        return {"system": system, "code": value}
    scheme, colon, value = code.partition(":")
    if colon and scheme in SCHEMES:
        return {"system": SCHEMES[scheme], "code": value}
    return {"code": code}


def text_of(concept: Mapping[str, Any]) -> str:
    """What a CodeableConcept says in words: its text, else its first display, else its code."""
    if concept.get("text"):
        return str(concept["text"])
    codings = concept.get("coding") or ()
    words = next((coding["display"] for coding in codings if coding.get("display")), None)
    return str(words) if words else next((str(c["code"]) for c in codings if c.get("code")), "")


def is_test_data(resource: Mapping[str, Any]) -> bool:
    """Whether a resource is tagged as test data: about nobody. The resource need not be valid."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    if not isinstance(tags, list):
        return False
    return any(isinstance(tag, dict) and (tag.get("system"), tag.get("code")) == TEST_DATA for tag in tags)

"""Whether an image and a record can belong to the same person."""

from __future__ import annotations

import re
import unicodedata

from medviewer.domain.study import Patient
from medviewer.records.record import Identifier, PatientRecord, iso_date, parse_moment

_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "å": "aa", "æ": "ae"})
_APOSTROPHES = re.compile(r"['’ʼ`´.]")


def identifier_of(patient: Patient) -> Identifier | None:
    """The patient's identifier as the file gives it; None if the file holds no Patient ID."""
    value = patient.patient_id.strip()
    return Identifier(patient.issuer.strip(), value) if value else None


def mismatch(record: PatientRecord, patient: Patient) -> str:
    """One sentence if image and record contradict each other; empty if they can be the same person.

    A result shown beside another person's record is worse than no result, so
    identifier, name, birth date and sex are all compared. What one side does
    not know is no contradiction. Names are compared without case, accents and
    order; a Latin and a Chinese writing cannot be compared with each other.
    The sentence names no value, so that it may stand in a report.
    """
    parts = []
    identifier = identifier_of(patient)
    if identifier is not None and record.identifiers and identifier not in record.identifiers:
        parts.append("patient ID")
    if _names_differ(record.name, patient.name):
        parts.append("name")
    if _dates_differ(iso_date(record.birth_date), iso_date(patient.birth_date)):
        parts.append("birth date")
    image_sex = patient.sex.strip().upper()
    if record.sex and image_sex and record.sex != image_sex:
        parts.append("sex")
    if not parts:
        return ""
    named = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return (
        f"The image and the patient record contradict each other in {named}: they may belong to different people,"
        " so no model is run until this is settled."
    )


def _dates_differ(first: str, second: str) -> bool:
    if parse_moment(first) is None or parse_moment(second) is None:
        return False
    length = min(len(first), len(second), 10)  # "1940" agrees with "1940-03-05"
    return first[:length] != second[:length]


def _names_differ(first: str, second: str) -> bool:
    """Whether the names have writings in the same script, and none of those agrees."""
    comparable = [
        _tokens_agree(a, b) if is_latin_a else "".join(a) == "".join(b)
        for a, is_latin_a in _writings(first)
        for b, is_latin_b in _writings(second)
        if is_latin_a == is_latin_b
    ]
    return bool(comparable) and not any(comparable)


def _writings(name: str) -> list[tuple[tuple[str, ...], bool]]:
    """Each writing of a person name as its words, and whether it is in an alphabet with words."""
    writings = []
    for group in name.split("="):
        folded = unicodedata.normalize("NFKC", group).casefold()
        # Prefix and suffix ("Dr", "Jr") come and go between systems: they do not tell people apart.
        core = " ".join(folded.split("^")[:3])
        words = tuple(re.sub(r"[\s,\-‐‑]+", " ", _APOSTROPHES.sub("", core)).split())
        if words:
            writings.append((words, not any(_is_wordless(character) for character in core)))
    return writings


def _is_wordless(character: str) -> bool:
    """Chinese, Japanese and Korean names are written without a reliable space between their parts."""
    return unicodedata.name(character, "").startswith(("CJK ", "HIRAGANA", "KATAKANA", "HANGUL"))


def _tokens_agree(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    shorter, longer = sorted((first, second), key=len)
    remaining = list(longer)
    for word in shorter:
        match = next((other for other in remaining if _words_agree(word, other)), None)
        if match is None:
            return False
        remaining.remove(match)
    return True


def _words_agree(first: str, second: str) -> bool:
    if len(first) == 1 or len(second) == 1:
        return first[0] == second[0]  # an initial
    return bool(_spellings(first) & _spellings(second))


def _spellings(word: str) -> set[str]:
    bare = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    return {bare, word.translate(_GERMAN)}

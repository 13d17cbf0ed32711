"""Which language a note is in, told from its script and its commonest words: enough to refuse the wrong one.

A model that learned English notes answers German ones too, and nothing in its answer says so.
Short notes without a function word stay unknown, which is said.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

# The commonest words that hardly occur in the other languages of the table.
_COMMON: Mapping[str, frozenset[str]] = {
    "en": frozenset(
        [
            "the",
            "and",
            "of",
            "is",
            "was",
            "with",
            "for",
            "that",
            "has",
            "had",
            "she",
            "he",
            "her",
            "his",
            "not",
            "on",
            "this",
            "no",
            "from",
            "are",
            "be",
            "been",
            "were",
            "which",
            "or",
            "by",
            "to",
            "patient",
            "history",
            "denies",
        ]
    ),
    "de": frozenset(
        [
            "der",
            "die",
            "das",
            "und",
            "ist",
            "mit",
            "nicht",
            "ein",
            "eine",
            "von",
            "den",
            "zu",
            "wurde",
            "bei",
            "auf",
            "keine",
            "im",
            "dem",
            "des",
            "sich",
            "als",
        ]
    ),
    "fr": frozenset(
        [
            "le",
            "la",
            "les",
            "et",
            "est",
            "une",
            "des",
            "du",
            "dans",
            "pas",
            "pour",
            "avec",
            "qui",
            "sur",
            "il",
            "elle",
            "au",
            "patient",
            "aux",
            "ce",
            "cette",
        ]
    ),
    "es": frozenset(
        [
            "el",
            "los",
            "las",
            "y",
            "es",
            "una",
            "del",
            "con",
            "por",
            "para",
            "que",
            "se",
            "no",
            "su",
            "al",
            "como",
            "más",
            "sin",
            "paciente",
            "fue",
        ]
    ),
    "it": frozenset(
        [
            "il",
            "gli",
            "e",
            "è",
            "una",
            "della",
            "con",
            "per",
            "che",
            "non",
            "di",
            "si",
            "al",
            "nel",
            "come",
            "sono",
            "paziente",
            "dei",
            "alla",
        ]
    ),
    "pt": frozenset(
        [
            "o",
            "os",
            "as",
            "e",
            "é",
            "uma",
            "do",
            "da",
            "com",
            "por",
            "para",
            "que",
            "não",
            "se",
            "ao",
            "como",
            "sem",
            "paciente",
            "foi",
            "dos",
        ]
    ),
    "nl": frozenset(
        [
            "de",
            "het",
            "en",
            "is",
            "een",
            "van",
            "met",
            "niet",
            "voor",
            "op",
            "aan",
            "zijn",
            "werd",
            "geen",
            "bij",
            "te",
            "patiënt",
            "dat",
        ]
    ),
}
_SCRIPTS: Mapping[str, str] = {
    "CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CYRILLIC": "ru", "ARABIC": "ar", "GREEK": "el",
    "HEBREW": "he", "THAI": "th", "DEVANAGARI": "hi",
}  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")
_LEAST_WORDS = 3  # function words: fewer say nothing
_FOREIGN_SHARE = 0.3  # of letters in another script
_LOOKED_AT = 20_000  # characters


def language_of(text: str) -> str:
    """The language as ISO 639-1 ("en"); "" if it cannot be told."""
    start = text[:_LOOKED_AT]
    script = _script(start)
    if script:
        return script
    counts = Counter(word.casefold() for word in _WORD.findall(start))
    scores = {language: sum(counts[word] for word in common) for language, common in _COMMON.items()}
    best, second = sorted(scores, key=lambda one: -scores[one])[:2]
    return best if scores[best] >= _LEAST_WORDS and scores[best] > scores[second] else ""


def _script(text: str) -> str:
    """The language of a script that only one of ours is written in; "" for Latin letters."""
    letters = [letter for letter in text if letter.isalpha()]
    names = Counter(_SCRIPTS.get(unicodedata.name(letter, "").split(" ", 1)[0], "") for letter in letters)
    foreign = {name: count for name, count in names.items() if name}
    if not foreign or sum(foreign.values()) < _FOREIGN_SHARE * len(letters):
        return ""
    return "ja" if "ja" in foreign else max(foreign, key=lambda name: foreign[name])

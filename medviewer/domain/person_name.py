"""Whether two person names can be one person's, however they were typed (PS3.5 section 6.2.1).

Names are compared without case, accents, order, prefix and suffix; an initial stands for
a name; a Latin and a Chinese writing cannot be compared with each other.
"""

from __future__ import annotations

import re
import unicodedata

_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "å": "aa", "æ": "ae"})
_APOSTROPHES = re.compile(r"['’ʼ`´.]")


def names_differ(first: str, second: str) -> bool:
    """Whether the names have writings in the same script, and none of those agrees."""
    comparable = [
        _tokens_agree(a, b) if is_latin_a else "".join(a) == "".join(b)
        for a, is_latin_a in _writings(first)
        for b, is_latin_b in _writings(second)
        if is_latin_a == is_latin_b
    ]
    return bool(comparable) and not any(comparable)


def names_match(first: str, second: str) -> bool:
    """Whether the names are the same in every writing that both have, and have one at least.

    Stricter than "not :func:`names_differ`": for keeping people apart where only a number
    speaks for one person. Two names without a letter cannot contradict each other.
    """
    ours, theirs = ([_letters(group) for group in name.split("=")] for name in (first, second))
    if not any(ours) or not any(theirs):
        return True
    both = [(a, b) for a, b in zip(ours, theirs, strict=False) if a and b]
    if both:
        return all(a == b for a, b in both)
    return not {one for one in ours if one}.isdisjoint(theirs)


def _letters(group: str) -> str:
    return "".join(character for character in unicodedata.normalize("NFKC", group).casefold() if character.isalnum())


def names_share_nothing(first: str, second: str) -> bool:
    """Whether the names have writings in the same script, and no word (or character) of any occurs in the other.

    Less than :func:`names_differ`: a new family name or a wrong given name still shares the other.
    """
    comparable = [
        _share_a_word(a, b) if is_latin_a else not set("".join(a)).isdisjoint("".join(b))
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
            writings.append((words, not any(is_wordless(character) for character in core)))
    return writings


def is_wordless(character: str) -> bool:
    """Whether the character is Chinese, Japanese or Korean: such names have no reliable space between their parts."""
    return unicodedata.name(character, "").startswith(("CJK ", "HIRAGANA", "KATAKANA", "HANGUL"))


def _share_a_word(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether a word of one occurs in the other; an initial is none, unless a name has nothing else."""
    has_words = all(any(len(word) > 1 for word in words) for words in (first, second))
    return any(_words_agree(x, y) for x in first for y in second if not has_words or (len(x) > 1 and len(y) > 1))


def _tokens_agree(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether every word of the shorter name stands in the longer one; not by initials alone ("Smith J", "Jones S")."""
    if not _share_a_word(first, second):
        return False
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

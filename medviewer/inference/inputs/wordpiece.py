"""Words of a text with their places, and BERT's pieces of them.

The rules are those of BERT's released tokenizer: control characters are nothing, CJK characters
are words of their own, punctuation stands alone, and a word is cut into the longest pieces that the
vocabulary has. Every character keeps its place in the text, through lower case and lost accents.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from medviewer.domain.frozen import dataclass

_LONGEST_WORD = 100  # characters; a longer one is [UNK]
_CJK = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
_SPACES = ("Zs", "Zl", "Zp")  # spaces, and what parts lines and paragraphs: BERT splits a text there last of all
_ASCII_PUNCTUATION = ((33, 47), (58, 64), (91, 96), (123, 126))


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it is looked up; ``places`` says where each of its characters stands in the text."""

    text: str
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the ``word``-th word, from ``start`` up to ``end`` in the text."""

    id: int
    word: int
    start: int
    end: int


def words(text: str, *, lowercase: bool, strip_accents: bool, keeps_all: bool = False) -> Iterator[Word]:
    """The words and punctuation marks of a text.

    Args:
        text: any.
        lowercase: whether capitals are lost.
        strip_accents: whether é is e.
        keeps_all: one word that is the whole text, for who cuts it in another way.
    """
    letters: list[str] = []
    places: list[int] = []
    for at, character in enumerate(text):
        for letter in _plain(character, lowercase=lowercase, strip_accents=strip_accents):
            if keeps_all or not (_is_space(letter) or _is_nothing(letter) or _stands_alone(letter)):
                letters.append(letter)
                places.append(at)
                continue
            if letters and not _is_nothing(letter):
                yield Word("".join(letters), tuple(places))
                letters, places = [], []
            if _stands_alone(letter):
                yield Word(letter, (at,))
    if letters:
        yield Word("".join(letters), tuple(places))


def pieces(found: Iterator[Word], vocabulary: Mapping[str, int]) -> list[Token]:
    """The longest pieces of each word that the vocabulary has; [UNK] for a word that cannot be made of them."""
    tokens: list[Token] = []
    for number, word in enumerate(found):
        cut = _cut(word.text, vocabulary)
        if cut is None:
            tokens.append(Token(vocabulary["[UNK]"], number, word.places[0], word.places[-1] + 1))
            continue
        tokens += [Token(piece, number, word.places[a], word.places[b - 1] + 1) for piece, a, b in cut]
    return tokens


def _cut(word: str, vocabulary: Mapping[str, int]) -> list[tuple[int, int, int]] | None:
    if len(word) > _LONGEST_WORD:
        return None
    found = []
    start = 0
    while start < len(word):
        end = len(word)
        while end > start and ("##" if start else "") + word[start:end] not in vocabulary:
            end -= 1
        if end == start:
            return None
        found.append((vocabulary[("##" if start else "") + word[start:end]], start, end))
        start = end
    return found


def _plain(character: str, *, lowercase: bool, strip_accents: bool) -> str:
    shown = character.lower() if lowercase else character
    if not strip_accents or shown.isascii():
        return shown
    return "".join(c for c in unicodedata.normalize("NFD", shown) if unicodedata.category(c) != "Mn")


def _stands_alone(letter: str) -> bool:
    return _is_punctuation(letter) or _is_between(ord(letter), _CJK)


def _is_punctuation(letter: str) -> bool:
    return _is_between(ord(letter), _ASCII_PUNCTUATION) or unicodedata.category(letter).startswith("P")


def _is_space(letter: str) -> bool:
    return letter in " \t\n\r" or unicodedata.category(letter) in _SPACES


def _is_nothing(letter: str) -> bool:
    if letter in "\t\n\r":
        return False
    return ord(letter) in (0, 0xFFFD) or unicodedata.category(letter).startswith("C")


def _is_between(point: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= point <= high for low, high in ranges)

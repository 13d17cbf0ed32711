"""Which characters could hide in a text or reorder it: names are identity, so these are spelled out wherever read."""

from __future__ import annotations

import unicodedata

_JOINERS = frozenset("\u200c\u200d")  # Persian and Indic names are spelled with them
_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def is_hidden(character: str) -> bool:
    """Whether the character is not seen: a control, a direction mark, a zero-width or private one, a half surrogate."""
    return unicodedata.category(character) in _CATEGORIES and character not in _JOINERS

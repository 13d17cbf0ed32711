"""The language of the window: English as it stands in the code, or Simplified Chinese from a table.

What the other layers say (errors, notices, caveats) comes as whole English sentences with their values in
them. The table has such a sentence with ``#`` for each number, or with ``{name}`` for each value. Values stay
as they are (a file may be called "name"), but for ``{what}`` and ``{reason}``, which are words themselves.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from medviewer.resources import resource

Language = Literal["en", "zh"]

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_ENTRY = re.compile(r"(Line \d+)? ?(entry \d+)?( [A-Z][A-Za-z]+)?|File")  # of a file of records
_LEAST_WORDS = 15  # letters that a row must have beside its values, to be sure that the sentence is meant
_SAID = frozenset(("what", "reason"))
_language: Language = "en"


def use_language(language: str) -> None:
    """Speak this language from now on: ``zh`` for Simplified Chinese, otherwise English."""
    global _language  # noqa: PLW0603 - one window speaks one language
    _language = "zh" if language.lower().startswith("zh") else "en"


def language() -> Language:
    """The language in use."""
    return _language


def tr(text: str) -> str:
    """The text in the language in use; English where the table has no translation.

    Call it with a literal, which a test looks up in the table, or with a sentence of another layer.
    """
    if _language == "en":
        return text
    return _chinese().get(text) or _with_its_numbers(text) or _with_its_values(text) or text


def tr_pick(words: Mapping[str, str] | str, language: str | None = None) -> str:
    """The words in ``language`` (default: the one in use) from ``{en, zh}``, English if it has no other."""
    if isinstance(words, str):
        return words
    wanted = "zh" if (language or _language).startswith("zh") else "en"
    return words.get(wanted) or words.get("en", "")


def _with_its_numbers(sentence: str) -> str:
    words = _chinese().get(_NUMBER.sub("#", sentence), "")
    for number in _NUMBER.findall(sentence) if words else ():
        words = words.replace("#", number, 1)
    return words


@lru_cache(maxsize=256)  # a notice or an alarm is drawn again and again
def _with_its_values(sentence: str) -> str:
    for pattern, words in _patterns():
        found = pattern.fullmatch(sentence)
        if found is not None:
            values = found.groupdict().items()
            return words.format_map({name: _value(v) if name in _SAID else v for name, v in values})
    return ""


def _value(text: str) -> str:
    """A reason or a list of words in Chinese."""
    whole = tr(text)
    if whole != text:
        return whole
    where, colon, reason = text.rpartition(": ")
    if colon and (known := _chinese().get(reason.rstrip("."))):
        return f"{_place(where)}：{known}。"
    parts = [_chinese().get(part) for part in re.split(r", | and ", text)]
    return "、".join(part for part in parts if part) if all(parts) else text


def _place(where: str) -> str:
    """Which entry of a file of records a reason is about; the name of anything else as it is."""
    if not _ENTRY.fullmatch(where):
        return where
    words = _chinese().get(where, where)
    return re.sub(r"(?:Line|entry) \d+", lambda found: _with_its_numbers(found[0]) or found[0], words)


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """The rows with values: how to find each, and the Chinese; the most telling first."""
    rows = []
    for english, chinese in _chinese().items():
        parts = list(string.Formatter().parse(english))
        letters = sum(len(literal.strip()) for literal, *_ in parts)
        if letters < _LEAST_WORDS or not any(name for _, name, *_ in parts):
            continue
        pattern = "".join(re.escape(literal) + (f"(?P<{name}>.+)" if name else "") for literal, name, *_ in parts)
        rows.append((letters, re.compile(pattern, re.DOTALL), chinese))
    rows.sort(key=lambda row: -row[0])
    return tuple((pattern, chinese) for _, pattern, chinese in rows)


@lru_cache(maxsize=1)
def _chinese() -> dict[str, str]:
    table: dict[str, str] = json.loads(resource("translations/zh.json").read_text(encoding="utf-8"))
    return table

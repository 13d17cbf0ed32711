"""What an element is called, what its bytes say, and whether that may say who somebody is.

Source: PS3.6 (the dictionary, as pydicom has it), PS3.5 6.2 (value representations),
PS3.15 annex E (which attributes identify).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable
from dataclasses import field
from typing import TYPE_CHECKING

from medviewer.domain.frozen import dataclass
from medviewer.imaging import tags
from medviewer.imaging.charset import decode_text
from medviewer.imaging.header import uid_name

if TYPE_CHECKING:  # the list is made with this module
    from medviewer.imaging.dataset import ElementHeader
    from medviewer.imaging.element_list import Element

BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "SV": "q", "UV": "Q"}
_TEXTS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_MOST_NUMBERS = 64
_FIRST_BYTES = 16
_MORE = " …"

# Whole groups about people and places; of 0040 what is text, of private ones everything.
_IDENTIFYING_GROUPS = frozenset({0x0010, 0x0012, 0x0032, 0x0038, 0x0400, 0x4008})
_FREE_TEXT = frozenset({"AE", "LT", "PN", "ST", "UC", "UN", "UR", "UT"})
_NAMED = frozenset({"LO", "SH"})
_IDENTIFYING = frozenset({
    0x00080050, 0x00080080, 0x00080081, 0x00080092, 0x00080094, 0x00081010, 0x00081040, 0x00081080, 0x00080055,
    0x00181000, 0x00181004, 0x00181005, 0x00181007, 0x00181008, 0x00200010, 0x00201070, 0x00700080, 0x00700081,
    0x00189424, 0x0018A003, 0x00880906, 0x00880910, 0x00880912, 0x00102160,
})  # fmt: skip
_STANDARD_UIDS = frozenset({0x00020002, 0x00020010, 0x00080016, 0x00081150, 0x0008001A, 0x00020012})
_PATIENTS_WORDS = (0x00100010, 0x00100020, 0x00080050, 0x00101000, 0x00101001)
_LEAST_WORD = 3


@dataclass(slots=True)
class Context:
    """What elements of a data set depend on that came before them in it."""

    is_little_endian: bool = True
    character_sets: tuple[str, ...] = ()
    is_signed: bool = False
    creators: dict[int, str] = field(default_factory=dict)  # of private blocks: group and block -> who made them

    def note(self, element: Element, raw: bytes) -> None:
        """Remember what later elements depend on."""
        group, number = divmod(element.tag, 0x10000)
        if element.tag == tags.SPECIFIC_CHARACTER_SET:
            self.character_sets = tuple(part.strip(" \0") for part in raw.decode("latin-1").split("\\"))
        elif element.tag == tags.PIXEL_REPRESENTATION:
            self.is_signed = any(raw[:2])
        elif group % 2 and 0x10 <= number <= 0xFF:
            self.creators[group << 8 | number] = raw.decode("latin-1").strip(" \0")


def named(header: ElementHeader, context: Context) -> tuple[str, str, str]:
    """The value representation, keyword and name of an element, from the file or the dictionary."""
    from pydicom import datadict  # noqa: PLC0415 - importing pydicom takes longer than opening a study does

    group, number = divmod(header.tag, 0x10000)
    representation, keyword, name = "UN", "", ""
    if number == 0:
        representation, name = "UL", "Group Length"
    elif group % 2 and 0x10 <= number <= 0xFF:
        representation, name = "LO", "Private Creator"
    elif group % 2:
        creator = context.creators.get(group << 8 | number >> 8, "")
        try:
            representation, _, name, _ = datadict.get_private_entry(header.tag, creator)
        except KeyError:
            name = ""
    else:
        try:
            representation, _, name, _, keyword = datadict.get_entry(header.tag)
        except KeyError:
            name = ""
    if header.representation not in ("", "UN"):
        representation = header.representation
    return _one_of(representation, context), keyword, name


def _one_of(representation: str, context: Context) -> str:
    """The dictionary leaves some to other elements: "US or SS"."""
    if " or " not in representation:
        return representation
    if representation.startswith("US or SS"):
        return "SS" if context.is_signed else "US"
    return "OW" if "OW" in representation else representation.partition(" ")[0]


def value_text(raw: bytes, representation: str, context: Context, length: int) -> tuple[str, bool]:
    """What a value's first bytes say, and whether its length fits its representation."""
    more = _MORE if length > len(raw) else ""
    if representation in _TEXTS:
        return "\\".join(decode_text(raw, context.character_sets, representation)) + more, True
    order = "<" if context.is_little_endian else ">"
    if representation == "AT":
        pairs = struct.unpack_from(f"{order}{len(raw) // 4 * 2}H", raw)
        shown = [tag_text(a << 16 | b) for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
        return "\\".join(shown[:_MOST_NUMBERS]) + (more or _MORE * (len(shown) > _MOST_NUMBERS)), length % 4 == 0
    code = _NUMBERS.get(representation)
    if code is None:
        return first_bytes_text(raw, length), True
    size = struct.calcsize(code)
    numbers = struct.unpack_from(f"{order}{len(raw) // size}{code}", raw)
    shown = [_number(value, representation) for value in numbers[:_MOST_NUMBERS]]
    return "\\".join(shown) + (more or _MORE * (len(numbers) > _MOST_NUMBERS)), length % size == 0


def first_bytes_text(raw: bytes, length: int) -> str:
    """The first bytes of what is no text."""
    return raw[:_FIRST_BYTES].hex(" ").upper() + (_MORE if length > _FIRST_BYTES else "")


def tag_text(tag: int) -> str:
    """A tag as the standard writes it: ``(0010,0020)``."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _number(value: float, representation: str) -> str:
    if isinstance(value, int):
        return str(value)
    if representation == "FL" and math.isfinite(value):
        # As short as tells it from its neighbours in single precision.
        shortest = (f"{value:.{n}g}" for n in (6, 7, 8, 9))
        return next(text for text in shortest if struct.pack("f", float(text)) == struct.pack("f", value))
    return repr(value)


def patient_words(elements: Iterable[Element]) -> frozenset[str]:
    """What the file calls the patient: wherever else it stands, it tells who that is."""
    texts = [e.value for e in elements if e.tag in _PATIENTS_WORDS]
    parts = (part.strip().casefold() for text in texts for part in re.split(r"[\^=\\\s,]", text))
    return frozenset(part for part in parts if len(part) >= _LEAST_WORD or not part.isascii()) - {""}


def is_identity(element: Element, words: frozenset[str]) -> bool:
    """Whether an element may tell who the patient, the staff or the place is; in doubt it may."""
    group = element.tag >> 16
    representation = element.representation
    if representation == "SQ" or not element.value:
        return False
    if group % 2 or group in _IDENTIFYING_GROUPS or element.tag in _IDENTIFYING or representation in _FREE_TEXT:
        return True
    if representation == "UI":
        return element.tag not in _STANDARD_UIDS and not uid_name(element.value)
    if group == 0x0040 and representation in _NAMED:
        return True
    if representation not in _NAMED:
        return False  # codes, dates and numbers, which may have a patient's number in them by chance
    said = element.value.casefold()
    return any(word in said for word in words)

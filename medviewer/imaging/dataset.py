"""A DICOM data set taken apart, element by element, without trusting a single length.

pydicom reads every element, recurses into sequences and allocates what a length field
asks for; on hostile files that ends in RecursionError, gigabytes, or warnings that quote
the patient's name. This reader walks the elements with an explicit stack, skips what
MedViewer does not use and copies only the values listed in :mod:`medviewer.imaging.tags`.
Its values are compared with pydicom's in the tests.

Source: PS3.5 section 7 (the data set), 7.5 (sequences), annex A (transfer syntaxes).
"""

from __future__ import annotations

import math
import struct
from dataclasses import field
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from medviewer.domain.errors import InputError
from medviewer.domain.frozen import dataclass
from medviewer.imaging import tags
from medviewer.imaging.charset import decode_paragraphs, decode_text
from medviewer.imaging.source import ByteSource

UNDEFINED_LENGTH = 0xFFFFFFFF
MAX_NESTING = 64
MAX_ELEMENTS = 1_000_000
MAX_VALUE_BYTES = 16 * 2**20

_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT_VRS = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS"}
    | {b"ST", b"TM", b"UI", b"UL", b"US"}
)
_BINARY_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "OV": "Q"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are written: with or without value representations, and in which byte order."""

    is_explicit: bool = True
    is_little_endian: bool = True


class PixelElement(NamedTuple):
    """Where pixel data or a payload lie: the first byte of the value and its length, or ``UNDEFINED_LENGTH``."""

    tag: int
    offset: int
    length: int
    representation: str


@dataclass(slots=True)
class DataSet:
    """The wanted elements of a data set or of one item, as raw bytes; values are converted when asked for.

    A value that cannot be understood is the same as no value: ``""``, ``None`` or an
    empty tuple, never an exception. ``payloads`` says where the values of
    :data:`medviewer.imaging.tags.PAYLOAD_TAGS` lie, which are not read here, and those of overlay planes
    that are too large for that.
    """

    is_little_endian: bool = True
    character_sets: tuple[str, ...] = ()
    values: dict[int, bytes] = field(default_factory=dict)
    representations: dict[int, str] = field(default_factory=dict)
    sequences: dict[int, list[DataSet]] = field(default_factory=dict)
    payloads: dict[int, PixelElement] = field(default_factory=dict)

    def keep(self, tag: int, representation: str, value: bytes) -> None:
        """Take an element; ``representation`` is "" where the file does not say it."""
        self.values[tag] = value
        if representation:
            self.representations[tag] = representation
        if tag == tags.SPECIFIC_CHARACTER_SET:
            self.character_sets = tuple(name.strip(" \0") for name in value.decode("latin-1").split("\\"))

    def raw(self, tag: int) -> bytes:
        """Give the element's bytes."""
        return self.values.get(tag, b"")

    def texts(self, tag: int) -> tuple[str, ...]:
        """Give the element's values as text, in the character set of the file."""
        value = self.values.get(tag)
        if not value:
            return ()
        decode = _decode_short if len(value) <= _SHORT_BYTES else decode_text
        return decode(value, self.character_sets, self._representation(tag))

    def text(self, tag: int) -> str:
        """Give the element's first value as text."""
        if tag not in self.values:
            return ""
        texts = self.texts(tag)
        return texts[0] if texts else ""

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Give all values as numbers; NaN stands where one is not a number. Infinities come through."""
        value = self.values.get(tag)
        if not value:
            return ()
        representation = self._representation(tag)
        code = _BINARY_FORMATS.get(representation)
        if code is None:
            return _short_numbers(value) if len(value) <= _SHORT_BYTES else _text_numbers(value)
        count = len(value) // struct.calcsize(code)
        order = "<" if self.is_little_endian else ">"
        return struct.unpack_from(f"{order}{count}{code}", value)

    def number(self, tag: int) -> float | None:
        """Give the first value as a finite number, or None."""
        numbers = self.numbers(tag)
        return float(numbers[0]) if numbers and math.isfinite(numbers[0]) else None

    def integer(self, tag: int) -> int | None:
        """Give the first value as a whole number, or None."""
        number = self.number(tag)
        return int(number) if number is not None and number == int(number) else None

    def items(self, tag: int) -> list[DataSet]:
        """Give the items of a sequence."""
        return self.sequences.get(tag, [])

    def paragraphs(self, tag: int, most_bytes: int) -> str:
        """Give the text of an element of one value with its line breaks, of at most ``most_bytes`` bytes."""
        return decode_paragraphs(self.values.get(tag, b"")[:most_bytes], self.character_sets)

    def item(self, tag: int) -> DataSet:
        """Give the first item of a sequence, or an empty data set."""
        items = self.sequences.get(tag)
        return items[0] if items else DataSet()

    def _representation(self, tag: int) -> str:
        written = self.representations.get(tag, "")
        if written in _VAGUE:
            written = tags.VALUE_REPRESENTATIONS[tag]
        return "US" if written == "US/SS" else written


_VAGUE = frozenset({"", "UN", "OB", "OW"})  # the dictionary says what is meant
# The files of a series say nearly all the same, so that most texts and numbers have been read before.
_SHORT_BYTES = 128
_decode_short = lru_cache(maxsize=4096)(decode_text)


def _text_numbers(value: bytes) -> tuple[float, ...]:
    return tuple(_number(part) for part in value.decode("latin-1").split("\\"))


_short_numbers = lru_cache(maxsize=4096)(_text_numbers)


def _number(text: str) -> float:
    cleaned = text.strip(" \0")
    # Python would take "1_000", which no DICOM writer means.
    if not cleaned or "_" in cleaned:
        return math.nan
    try:
        return float(cleaned)
    except ValueError:
        return math.nan


class _Elements(NamedTuple):
    """Inside a data set or an item: ``end`` is None until a delimiter says so."""

    dataset: DataSet | None  # None: nothing here is wanted
    end: int | None
    encoding: Encoding


class _Items(NamedTuple):
    """Inside a sequence, or inside the fragments of an encapsulated value (``is_fragments``)."""

    items: list[DataSet] | None
    parent: DataSet | None
    end: int | None
    encoding: Encoding
    is_fragments: bool


_Level: TypeAlias = _Elements | _Items


class ElementHeader(NamedTuple):
    """The tag of an element, how its value is written, and where that begins."""

    tag: int
    representation: str  # "" where the encoding is implicit
    length: int
    value_offset: int


class DataSetReader:
    """Walks one data set from ``offset`` to its pixel data or its end.

    Attributes:
        dataset: the wanted elements found.
        pixels: where the pixel data are; None if there are none.
        is_truncated: an element reached past the end of the file before any pixel data.
    """

    def __init__(self, source: ByteSource, offset: int, encoding: Encoding) -> None:
        self._source = source
        self._position = offset
        self.dataset = DataSet(encoding.is_little_endian)
        self.pixels: PixelElement | None = None
        self.is_truncated = False
        self._stack: list[_Level] = [_Elements(self.dataset, source.size, encoding)]
        self._count = 0

    def read(self) -> None:
        """Do the walk.

        Raises:
            InputError: nested too deeply, too many elements, or bytes that are no data set.
        """
        self._read_plain()
        while self._stack and self.pixels is None and not self.is_truncated:
            level = self._stack[-1]
            if level.end is not None and self._position >= level.end:
                self._position = level.end
                self._stack.pop()
            elif isinstance(level, _Elements):
                self._read_element(level)
            else:
                self._read_item(level)
            if len(self._stack) == 1 and self.pixels is None and not self.is_truncated:
                self._read_plain()
            self._count += 1
            if self._count > MAX_ELEMENTS:
                raise InputError(
                    f"The file's header holds more than {MAX_ELEMENTS:,} elements; "
                    "it is damaged or not meant to be read."
                )

    def _read_plain(self) -> None:
        """Take the ordinary elements that lie whole in the block that was read: nearly all, in one tight loop.

        What is out of the ordinary is left to the walk, and does not even have to be recognised here.
        """
        block, start = self._source.block
        at, count = read_plain(block, self._position - start, self._stack[0].encoding, self.dataset)
        self._position = start + at
        self._count += count

    def _push(self, level: _Level) -> None:
        if len(self._stack) > 2 * MAX_NESTING:
            raise InputError(
                f"The file's header is nested deeper than {MAX_NESTING} levels; it is damaged or not meant to be read."
            )
        self._stack.append(level)

    def _read_element(self, level: _Elements) -> None:
        header = read_element_header(self._source, self._position, level.encoding)
        if header is None:
            # Padding after the last element (some writers align files) is not a loss.
            self.is_truncated = any(self._source.at(self._position, 12))
            self._position = self._source.size
            return
        self._position = header.value_offset
        is_top = len(self._stack) == 1
        if header.tag == tags.ITEM_DELIMITER and level.end is None:
            self._stack.pop()
        elif header.tag in tags.PIXEL_TAGS and is_top:
            self.pixels = PixelElement(header.tag, header.value_offset, header.length, header.representation)
        elif _is_sequence(header):
            self._open_sequence(level, header)
        else:
            self._take_value(level, header)

    def _open_sequence(self, level: _Elements, header: ElementHeader) -> None:
        is_wanted = level.dataset is not None and tags.VALUE_REPRESENTATIONS.get(header.tag) == "SQ"
        is_undefined = header.length == UNDEFINED_LENGTH
        if not is_wanted and not is_undefined:
            self._skip(header.length)
            return
        items: list[DataSet] | None = None
        if is_wanted and level.dataset is not None:
            items = level.dataset.sequences.setdefault(header.tag, [])
        # PS3.5 6.2.2 note 2: the content of an UN of undefined length is implicit VR little endian.
        encoding = Encoding(is_explicit=False) if header.representation == "UN" else level.encoding
        is_fragments = header.representation not in ("", "SQ", "UN")
        end = None if is_undefined else self._position + header.length
        if end is not None and end > self._source.size:
            self.is_truncated = True
        self._push(_Items(items, level.dataset, end, encoding, is_fragments))

    def _take_value(self, level: _Elements, header: ElementHeader) -> None:
        dataset = level.dataset
        is_large = header.length > MAX_VALUE_BYTES
        if dataset is not None and (
            header.tag in tags.PAYLOAD_TAGS or (is_large and header.tag in tags.ALL_OVERLAY_DATA)
        ):
            place = PixelElement(header.tag, header.value_offset, header.length, header.representation)
            dataset.payloads[header.tag] = place
        elif dataset is not None and header.tag in tags.VALUE_REPRESENTATIONS and not is_large:
            dataset.keep(header.tag, header.representation, self._source.at(header.value_offset, header.length))
        self._skip(header.length)

    def _skip(self, length: int) -> None:
        self._position += length
        if self._position > self._source.size:
            self.is_truncated = True

    def _read_item(self, level: _Items) -> None:
        head = self._source.at(self._position, 8)
        if len(head) < 8:
            self.is_truncated = True
            return
        order = "<" if level.encoding.is_little_endian else ">"
        group, element, length = struct.unpack(f"{order}HHI", head)
        tag = group << 16 | element
        self._position += 8
        if tag == tags.SEQUENCE_DELIMITER:
            self._stack.pop()
        elif tag != tags.ITEM:
            raise InputError("The file's header is damaged: a sequence holds something that is not an item.")
        elif level.is_fragments:
            self._skip(length)
        else:
            item: DataSet | None = None
            if level.items is not None and level.parent is not None:
                item = DataSet(level.encoding.is_little_endian, level.parent.character_sets)
                level.items.append(item)
            end = None if length == UNDEFINED_LENGTH else self._position + length
            self._push(_Elements(item, end, level.encoding))


def _is_sequence(header: ElementHeader) -> bool:
    if header.length == UNDEFINED_LENGTH or header.representation == "SQ":
        return True
    # Implicit VR and UN leave it to the dictionary; only the wanted sequences matter.
    return header.representation in ("", "UN") and tags.VALUE_REPRESENTATIONS.get(header.tag) == "SQ"


_EXPLICIT = {True: struct.Struct("<HH2sH"), False: struct.Struct(">HH2sH")}
_IMPLICIT = {True: struct.Struct("<HHI"), False: struct.Struct(">HHI")}
_LONG_LENGTH = {True: struct.Struct("<I"), False: struct.Struct(">I")}
_SHORT_NAMES = {name: name.decode() for name in _SHORT_VRS}
_FIRST_PIXEL_TAG = 0x7FE00000  # pixels, and the delimiters of items and sequences, are not ordinary


def read_plain(
    block: bytes, at: int, encoding: Encoding, dataset: DataSet, group: int | None = None
) -> tuple[int, int]:
    """Put ordinary elements of a block into ``dataset``, up to the first one that is not.

    Ordinary is what lies whole in the block, is no sequence, has a length, and has a value
    representation where the encoding asks for one.

    Args:
        block: bytes of a file.
        at: where the first element begins in it; outside of it there is nothing to do.
        encoding: how the elements are written.
        dataset: gets the values of the wanted ones.
        group: read elements of this group only, as of the file meta information.

    Returns:
        Where the first element that was not read begins, and how many were.
    """
    if at < 0:
        return at, 0
    first, end = (0, _FIRST_PIXEL_TAG) if group is None else (group << 16, group + 1 << 16)
    read = _read_plain_explicit if encoding.is_explicit else _read_plain_implicit
    return read(block, at, encoding.is_little_endian, dataset, range(first, end))


_Form: TypeAlias = tuple[int, str, int]  # tag, value representation or "" where the value is not wanted, whole length
_MAX_FORMS = 8192
# How elements of a short form begin: the files of a series begin them alike, so that most have been understood before.
_forms: dict[tuple[bool, range], dict[bytes, _Form]] = {}


def _read_plain_explicit(block: bytes, at: int, is_little: bool, dataset: DataSet, readable: range) -> tuple[int, int]:
    forms = _forms.setdefault((is_little, readable), {})
    values, representations = dataset.values, dataset.representations
    size, count = len(block), 0
    while at + 12 <= size:
        begin = at + 8
        form = forms.get(block[at:begin]) or _understand(block, at, is_little, readable, forms)
        if form is None:
            break
        tag, representation, length = form
        end = at + length
        if end > size:
            break
        if representation:
            values[tag], representations[tag] = block[begin:end], representation
            if tag == tags.SPECIFIC_CHARACTER_SET:
                dataset.keep(tag, representation, values[tag])
        at = end
        count += 1
    return at, count


def _understand(block: bytes, at: int, is_little: bool, readable: range, forms: dict[bytes, _Form]) -> _Form | None:
    """Tell what the element at ``at`` is; None if it is not ordinary."""
    group, element, name, length = _EXPLICIT[is_little].unpack_from(block, at)
    tag = group << 16 | element
    if tag not in readable:
        return None
    is_wanted = tag in tags.VALUE_REPRESENTATIONS
    representation = _SHORT_NAMES.get(name)
    if representation is not None:
        if len(forms) >= _MAX_FORMS:
            forms.clear()
        form = forms[block[at : at + 8]] = (tag, representation if is_wanted else "", 8 + length)
        return form
    if name in _LONG_VRS and not is_wanted:  # its length comes after what is looked up
        return tag, "", 12 + int(_LONG_LENGTH[is_little].unpack_from(block, at + 8)[0])
    return None


def _read_plain_implicit(block: bytes, at: int, is_little: bool, dataset: DataSet, readable: range) -> tuple[int, int]:
    unpack, wanted = _IMPLICIT[is_little].unpack_from, tags.VALUE_REPRESENTATIONS
    first, last = readable.start, readable.stop
    size, count = len(block), 0
    while at + 12 <= size:
        group, element, length = unpack(block, at)
        tag, end = group << 16 | element, at + 8 + length
        if not first <= tag < last or end > size:
            break
        representation = wanted.get(tag)
        if representation is not None:
            if representation == "SQ" or tag in tags.PAYLOAD_TAGS:
                break
            dataset.keep(tag, "", block[at + 8 : end])
        at = end
        count += 1
    return at, count


def read_element_header(source: ByteSource, offset: int, encoding: Encoding) -> ElementHeader | None:
    """Read a tag, its value representation and length; None where the file ends first (PS3.5 7.1)."""
    head = source.at(offset, 12)
    if len(head) < 8:
        return None
    order = "<" if encoding.is_little_endian else ">"
    group, element = struct.unpack_from(f"{order}HH", head)
    tag = group << 16 | element
    representation = head[4:6]
    if not encoding.is_explicit or group == 0xFFFE:
        return ElementHeader(tag, "", struct.unpack_from(f"{order}I", head, 4)[0], offset + 8)
    if representation in _SHORT_VRS:
        return ElementHeader(tag, representation.decode(), struct.unpack_from(f"{order}H", head, 6)[0], offset + 8)
    if representation in _LONG_VRS or representation.isalpha():
        if len(head) < 12:
            return None
        name = representation.decode() if representation in _LONG_VRS else "UN"
        return ElementHeader(tag, name, struct.unpack_from(f"{order}I", head, 8)[0], offset + 12)
    # Some writers fall back to implicit VR in the middle of an explicit file.
    return ElementHeader(tag, "", struct.unpack_from(f"{order}I", head, 4)[0], offset + 8)


def has_short_length(representation: str) -> bool:
    """Whether elements of a value representation say their length in two bytes where the encoding is explicit."""
    return representation in _SHORT_NAMES.values()


def guess_encoding(source: ByteSource, offset: int, declared: Encoding) -> Encoding:
    """Tell from the first element how the data set is really written; headers are known to lie.

    The first group is small (0008 in practice), so the byte order that makes it small
    is the right one, and a value representation is two capital letters of the list.
    """
    head = source.at(offset, 6)
    if len(head) < 6:
        return declared
    little, big = int.from_bytes(head[:2], "little"), int.from_bytes(head[:2], "big")
    is_little = declared.is_little_endian if little == big else little < big
    is_explicit = head[4:6] in _SHORT_VRS or head[4:6] in _LONG_VRS
    return Encoding(is_explicit, is_little)

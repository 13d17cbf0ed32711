"""Headers of files that are written alike, as the slices of a series are: only where they differ is read anew.

A reader that walks a header decides each step by the bytes that it meets. Where a file repeats, byte
for byte, what another one had between the values that differ, and each of these is as long as the
file says, the walk would take the same steps again; so its outcome is known but for those values.
Any other file is walked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from medviewer.imaging import tags
from medviewer.imaging.codecs import MAYBE_LOSSY_SYNTAXES
from medviewer.imaging.dataset import (
    DataSet,
    DataSetReader,
    ElementHeader,
    Encoding,
    PixelElement,
    has_short_length,
    read_element_header,
)
from medviewer.imaging.header import DEFLATED_LITTLE_ENDIAN, META_START, Header, parse_header, read_file_meta
from medviewer.imaging.source import ByteSource

_MAX_KNOWN = 4  # series whose files lie between each other
_MAX_OWN = 48  # more values that differ cost more than a walk
_MAX_FAILURES = 12  # in a row: files that are not alike are hardly compared any further
_TRY_AGAIN = 64
_MAX_BYTES = 256 * 2**10  # a header with more in it is walked
_SPARE_BYTES = 512  # by which values of the next file may be longer
# Of the file meta information all else decides how the rest is read.
_OWN_META = frozenset({0x00020000, 0x00020003})


class _Own(NamedTuple):
    """A value that differs: what comes before it, byte for byte, and how its length is written."""

    before: bytes
    tag: int
    length_bytes: int
    order: Literal["little", "big"]
    is_wanted: bool


class _Sample:
    """A file that was walked, and what is known of others that are written like it."""

    def __init__(self, block: bytes, header: Header, places: Sequence[ElementHeader]) -> None:
        self.block, self.header, self.places = block, header, places
        self.own: frozenset[int] = frozenset()  # by its number among the places
        self._stretches: tuple[_Own, ...] = ()
        self._last = b""

    def learn(self, other: _Sample) -> bool:
        """Take what differs in another file as its own; give whether the two are written alike."""
        if [place.tag for place in self.places] != [place.tag for place in other.places]:
            return False
        differing = {number for number in range(len(self.places)) if self._value(number) != other._value(number)}
        if len(differing | self.own) > _MAX_OWN:
            return False
        self.own |= differing
        self._stretches, self._last = self._split()
        return self.header_of(other.block, other.header.file_size) is not None

    def _split(self) -> tuple[tuple[_Own, ...], bytes]:
        """The header as what is repeated and what differs; and what is repeated behind that, up to the pixels."""
        stretches, at = [], 0
        order: Literal["little", "big"] = "little" if self.header.encoding.is_little_endian else "big"
        for number in sorted(self.own):
            place = self.places[number]
            length_bytes = 2 if has_short_length(place.representation) else 4
            before = self.block[at : place.value_offset - length_bytes]
            is_meta = place.tag >> 16 == 2
            is_wanted = place.tag in self.header.dataset.values
            stretches.append(_Own(before, place.tag, length_bytes, "little" if is_meta else order, is_wanted))
            at = place.value_offset + place.length
        return tuple(stretches), self.block[at:]

    def header_of(self, block: bytes, size: int) -> Header | None:
        """Give the header of a file of ``size`` bytes that begins with ``block``; None if it is not written alike."""
        if not self._stretches:
            return None
        values = self.header.dataset.values.copy()
        at = 0
        for before, tag, length_bytes, order, is_wanted in self._stretches:
            if not block.startswith(before, at):
                return None
            at += len(before)
            begin = at + length_bytes
            at = begin + int.from_bytes(block[at:begin], order)
            if is_wanted:
                values[tag] = block[begin:at]
        if not block.startswith(self._last, at):  # as well where a length leads out of the block
            return None
        return self._with(values, at + len(self._last), size)

    def _with(self, values: dict[int, bytes], offset: int, size: int) -> Header:
        known = self.header
        dataset, pixels = known.dataset, known.pixels
        assert pixels is not None  # noqa: S101 - it would be no sample
        return Header(
            DataSet(
                dataset.is_little_endian, dataset.character_sets, values, dataset.representations, dataset.sequences
            ),
            known.transfer_syntax_uid,
            known.sop_class_uid,
            known.encoding,
            PixelElement(pixels.tag, offset, pixels.length, pixels.representation),
            size,
            size,
            is_deflated=False,
            is_truncated=False,
        )

    def _value(self, number: int) -> bytes:
        place = self.places[number]
        return self.block[place.value_offset : place.value_offset + place.length]


class AlikeReader:
    """Reads the headers of many files one after the other. Used by one thread."""

    def __init__(self) -> None:
        self._known: list[_Sample] = []
        self._failures = 0
        self._longest = 0

    def parse(self, source: ByteSource) -> Header:
        """Give what :func:`parse_header` gives.

        Raises:
            As :func:`parse_header`.
        """
        source.at(0, self._longest + _SPARE_BYTES)
        block, _ = source.block  # from the beginning of the file: nothing was asked for that lies behind it
        for index, sample in enumerate(self._known):
            header = sample.header_of(block, source.size)
            if header is not None:
                self._failures = 0
                if index:
                    self._known.insert(0, self._known.pop(index))
                return header
        header = parse_header(source)
        self._failures += 1
        is_worth_it = self._failures <= _MAX_FAILURES or self._failures % _TRY_AGAIN < _MAX_KNOWN
        if is_worth_it and header.pixels is not None and header.pixels.offset <= _MAX_BYTES:
            self._learn(source.at(0, header.pixels.offset), header)
        return header

    def _learn(self, block: bytes, header: Header) -> None:
        places = _places(block, header)
        if places is None:
            return
        new = _Sample(block, header, places)
        if not any(sample.learn(new) for sample in self._known):
            self._known.insert(0, new)
            del self._known[_MAX_KNOWN:]
        self._longest = max(len(sample.block) for sample in self._known)


def _places(block: bytes, header: Header) -> list[ElementHeader] | None:
    """Where the values lie that may differ from file to file, in order; None where nothing may be taken from this file.

    Not in a header from which more is taken than the values of its elements.

    Args:
        block: the file up to its pixels.
        header: what was read of it.
    """
    if header.transfer_syntax_uid in _NOT_BY_ITS_HEADER or _has_payloads(header.dataset):
        return None
    source = ByteSource.of_bytes(block)
    _, begin = read_file_meta(source)
    places: list[ElementHeader] = []
    position = META_START if block[META_START - 4 : META_START] == b"DICM" else 0
    while position < begin and (element := read_element_header(source, position, Encoding())) is not None:
        if element.tag in _OWN_META:
            places.append(element)
        position = element.value_offset + element.length
    walk = _Places(source, begin, header.encoding)
    walk.read()
    return places + walk.places


def _has_payloads(dataset: DataSet) -> bool:
    return bool(dataset.payloads) or any(_has_payloads(one) for items in dataset.sequences.values() for one in items)


class _Places(DataSetReader):
    """Walks every element of the outermost level, and notes where those with a value lie."""

    def __init__(self, source: ByteSource, offset: int, encoding: Encoding) -> None:
        super().__init__(source, offset, encoding)
        self.places: list[ElementHeader] = []
        self._is_first = True

    def _read_plain(self) -> None:
        """Leave all to the walk."""

    def _take_value(self, level: object, header: ElementHeader) -> None:
        super()._take_value(level, header)  # type: ignore[arg-type]
        if len(self._stack) == 1 and header.tag not in _DECISIVE and not self._is_first:
            self.places.append(header)
        self._is_first = False


# Outside of the values of elements, or before their header is known, something of these files is read.
_NOT_BY_ITS_HEADER = MAYBE_LOSSY_SYNTAXES | {DEFLATED_LITTLE_ENDIAN}
# On these rests how others are read; so it does on the first element, by which the encoding is guessed.
_DECISIVE = frozenset({tags.SPECIFIC_CHARACTER_SET, tags.SOP_CLASS_UID})

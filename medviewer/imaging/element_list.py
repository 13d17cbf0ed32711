"""Every element of a DICOM file, one by one, for reading: a damaged one is shown as damaged and stops none of the rest.

Nothing is allocated on the word of a length field, and depth, count and text are capped, as
files are known to lie about all of them. Where an element reaches past what holds it, reading
goes on behind the item or sequence around it, as far as that has a length.

Source: PS3.5 section 7 (the data set), annex A (transfer syntaxes).
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

from medviewer.domain.errors import InputError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import StopToken
from medviewer.imaging import tags
from medviewer.imaging.dataset import (
    UNDEFINED_LENGTH,
    ElementHeader,
    Encoding,
    read_element_header,
)
from medviewer.imaging.element_values import (
    BINARY,
    Context,
    first_bytes_text,
    is_identity,
    named,
    patient_words,
    value_text,
)
from medviewer.imaging.header import DEFLATED_LITTLE_ENDIAN, encoding_of, inflated, read_file_meta, unreadable
from medviewer.imaging.source import ByteSource

MAX_DEPTH = 32
MAX_LISTED = 20_000
MAX_TEXT = 4_000_000  # bytes of values that are put into words, of all elements together
VALUE_BYTES = 2_048  # of one value

PAST_END = "Damaged: its length reaches past the end of what holds it"
NO_ITEM = "Damaged: it holds something that is not an item"
TOO_DEEP = "Not read further: nested too deeply"
LEFT_OVER = "Damaged: bytes that are no element"
WRONG_LENGTH = "Damaged: its length does not fit its values"


@dataclass(frozen=True, slots=True)
class Element:
    """One element as it is shown.

    Attributes:
        tag: group and element, as one number.
        keyword: of the standard; "" for private and unknown ones.
        name: in words; a private one's if it is known.
        value: text with hidden characters spelled out; the first bytes of what is no text; "" of a sequence.
        size: in bytes, as the file says; None where it says "until the delimiter".
        damage: what is wrong with it; "" for nothing.
        is_identity: it may say who the patient, the staff or the place is.
        items: of a sequence.
    """

    tag: int
    representation: str
    keyword: str
    name: str
    value: str = ""
    size: int | None = None
    damage: str = ""
    is_identity: bool = False
    items: tuple[tuple[Element, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ElementList:
    """All elements of a file; ``is_cut`` when there are more than are listed."""

    elements: tuple[Element, ...]
    is_cut: bool = False


def list_elements(path: Path, stop: StopToken | None = None, *, sop_instance_uid: str = "") -> ElementList:
    """Read every element of a file.

    Args:
        path: the file.
        stop: ends the reading.
        sop_instance_uid: of the object that must lie there; "" for any.

    Raises:
        InputError: it is no DICOM file, cannot be read, or holds another object now.
        Stopped: the reader cancelled.
    """
    try:
        with path.open("rb") as file:
            listed = _list(ByteSource(file), stop or StopToken())
    except OSError as error:
        raise unreadable(error) from error
    found = next((e.value for e in listed.elements if e.tag == tags.SOP_INSTANCE_UID), "")
    if sop_instance_uid and found != sop_instance_uid:
        raise InputError("The file has changed since it was opened; open it again.")
    return listed


def _list(source: ByteSource, stop: StopToken) -> ElementList:
    meta, offset = read_file_meta(source)
    syntax = meta.text(tags.TRANSFER_SYNTAX_UID)
    walk = _Walk(source, stop)
    start = 132 if source.at(128, 4) == b"DICM" else 0
    elements, _ = walk.elements(_Place(start, offset, Encoding(), 0))
    if syntax == DEFLATED_LITTLE_ENDIAN:
        walk.source, offset = ByteSource.of_bytes(inflated(source)), 0
    place = _Place(offset, walk.source.size, encoding_of(walk.source, offset, syntax), 0)
    more, _ = walk.elements(place)
    words = patient_words(more)
    return ElementList(tuple(_marked(element, words) for element in (*elements, *more)), walk.is_cut)


def _marked(element: Element, words: frozenset[str]) -> Element:
    items = tuple(tuple(_marked(e, words) for e in item) for item in element.items)
    return replace(element, items=items, is_identity=is_identity(element, words))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where elements lie: from ``start`` to ``end``, or to a delimiter before that."""

    start: int
    end: int
    encoding: Encoding
    depth: int
    has_delimiter: bool = False
    character_sets: tuple[str, ...] = ()


class _Walk:
    """Reads elements from a source, within the caps."""

    def __init__(self, source: ByteSource, stop: StopToken) -> None:
        self.source = source
        self.is_cut = False
        self._stop = stop
        self._count = 0
        self._text = 0

    def elements(self, place: _Place) -> tuple[list[Element], int]:
        """The elements of a data set or item, and where reading goes on behind them."""
        found: list[Element] = []
        context = Context(place.encoding.is_little_endian, place.character_sets)
        position = place.start
        while position < place.end and not self._is_full():
            header = read_element_header(self.source, position, place.encoding)
            if header is None:
                if any(self.source.at(position, 12)):  # some writers pad files with zeros
                    found.append(Element(0, "", "", "", size=place.end - position, damage=LEFT_OVER))
                return found, place.end
            if header.tag == tags.ITEM_DELIMITER and place.has_delimiter:
                return found, header.value_offset
            element, position = self._element(header, place, context)
            found.append(element)
            context.note(element, self.source.at(header.value_offset, min(header.length, 256)))
        return found, min(position, place.end)

    def _is_full(self) -> bool:
        self._stop.raise_if_stopped()
        self._count += 1
        self.is_cut = self.is_cut or self._count > MAX_LISTED
        return self.is_cut

    def _element(self, header: ElementHeader, place: _Place, context: Context) -> tuple[Element, int]:
        representation, keyword, name = named(header, context)
        begin, length = header.value_offset, header.length
        is_undefined = length == UNDEFINED_LENGTH
        element = Element(header.tag, representation, keyword, name, size=None if is_undefined else length)
        end = place.end if is_undefined else begin + length
        if end > place.end:
            element, end = replace(element, damage=PAST_END), place.end
        if representation == "SQ" or (is_undefined and representation not in BINARY):
            encoding = Encoding(is_explicit=False) if header.representation == "UN" else place.encoding
            inside = _Place(begin, end, encoding, place.depth + 1, is_undefined, context.character_sets)
            return self._sequence(replace(element, representation="SQ"), inside)
        if is_undefined:
            return self._fragments(element, begin, place.end)
        raw = self.source.at(begin, min(end - begin, VALUE_BYTES, max(MAX_TEXT - self._text, 0)))
        self._text += len(raw)
        value, fits = value_text(raw, representation, context, length)
        damage = element.damage or ("" if fits else WRONG_LENGTH)
        return replace(element, value=value, damage=damage), end

    def _sequence(self, element: Element, inside: _Place) -> tuple[Element, int]:
        if inside.depth > MAX_DEPTH:
            return replace(element, damage=TOO_DEEP), inside.end
        items: list[tuple[Element, ...]] = []
        position = inside.start
        order = "<" if inside.encoding.is_little_endian else ">"
        while position < inside.end and not self._is_full():
            head = self.source.at(position, 8)
            group, number, length = struct.unpack(f"{order}HHI", head) if len(head) == 8 else (0, 0, 0)
            tag = group << 16 | number
            if tag == tags.SEQUENCE_DELIMITER and inside.has_delimiter:
                return replace(element, items=tuple(items)), position + 8
            if tag != tags.ITEM:
                return replace(element, items=tuple(items), damage=NO_ITEM), inside.end
            is_undefined = length == UNDEFINED_LENGTH
            end = inside.end if is_undefined else position + 8 + length
            if end > inside.end:
                element, end = replace(element, damage=element.damage or PAST_END), inside.end
            place = replace(inside, start=position + 8, end=end, has_delimiter=is_undefined)
            item, after = self.elements(place)
            items.append(tuple(item))
            position = after if is_undefined else end
        return replace(element, items=tuple(items)), inside.end if not self.is_cut else position

    def _fragments(self, element: Element, begin: int, end: int) -> tuple[Element, int]:
        """Compressed pixels: how many bytes they have together, and how they begin."""
        position, total, first = begin, 0, b""
        while position < end and not self._is_full():
            head = self.source.at(position, 8)
            if len(head) < 8:
                break
            group, number, length = struct.unpack("<HHI", head)
            tag = group << 16 | number
            if tag == tags.SEQUENCE_DELIMITER:
                return replace(element, value=first_bytes_text(first, total), size=total), position + 8
            if tag != tags.ITEM:
                break
            # The first item is the table of offsets.
            if position > begin:
                first = first or self.source.at(position + 8, min(length, 16))
                total += min(length, max(end - position - 8, 0))
            position += 8 + length
            self._count -= 1  # not listed
        value = first_bytes_text(first, total)
        return replace(element, value=value, size=total, damage=PAST_END), end

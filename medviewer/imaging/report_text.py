"""The content tree of a structured report as text for reading: every item once, in the order of the report.

Reports come from anywhere, so they are read by the same bounded reader as images: deeper trees
than it allows are refused there. Nothing is interpreted: what is not known by kind is named by its kind.

Source: PS3.3 C.17.3 (SR document content), C.17.2 (general), C.18 (content macros).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from medviewer.domain.errors import InputError
from medviewer.domain.report import ImageReference, ItemKind, Report, ReportItem
from medviewer.domain.study import Document
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.document import opened_document
from medviewer.imaging.header import uid_name

MOST_ITEMS = 5_000
MOST_CHARACTERS = 4_000_000
MOST_TEXT_BYTES = 2**20
_MOST_POINTS = 6
_MOST_FRAMES = 1000
_MOST_QUOTED = 60  # characters
# What says who somebody is (PS3.16 TID 1003, 1006, 1007, 1008): observers, the subject, the mother of a fetus.
_IDENTITY_CODES = frozenset({"121008", "121009", "121028", "121029", "121030", "121031", "121036"})
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)")
_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)?(\.\d+)?")
_DATE_TIME = re.compile(r"(\d{8})(\d{4}(?:\d\d(?:\.\d+)?)?)?([+-]\d{4})?")


def read_report(document: Document) -> Report:
    """Give a structured report as text.

    Raises:
        InputError: it cannot be read, is nested too deeply, or holds nothing.
    """
    with opened_document(document) as (header, _source):
        root = header.dataset
    items, left_out = _bounded(_walk(root))
    if not items:
        raise InputError("The report is empty: it holds no content; ask for it to be sent again.")
    template = root.item(tags.CONTENT_TEMPLATE_SEQUENCE)
    number, resource = template.text(tags.TEMPLATE_IDENTIFIER), template.text(tags.MAPPING_RESOURCE)
    return Report(
        title=_concept(root) or document.title,
        completion=root.text(tags.COMPLETION_FLAG),
        verification=root.text(tags.VERIFICATION_FLAG),
        verifiers=tuple(
            (one.text(tags.VERIFYING_OBSERVER_NAME), one.text(tags.VERIFICATION_DATE_TIME))
            for one in root.items(tags.VERIFYING_OBSERVER_SEQUENCE)
        ),
        template=f"TID {number}{f' ({resource})' if resource else ''}" if number else "",
        items=items,
        left_out=left_out,
    )


def _bounded(items: Iterator[tuple[str, ReportItem]]) -> tuple[tuple[ReportItem, ...], str]:
    found: list[ReportItem] = []
    places: dict[str, int] = {}
    characters = 0
    left_out = ""
    for place, item in items:
        characters += len(item.value) + len(item.concept)
        if len(found) == MOST_ITEMS or characters > MOST_CHARACTERS:
            left_out = f"The report is longer than is shown here: only its first {len(found)} items are."
            break
        places[place] = len(found)
        found.append(item)
    return tuple(_resolved(item, found, places) for item in found), left_out


def _resolved(item: ReportItem, items: list[ReportItem], places: dict[str, int]) -> ReportItem:
    """Name the item of this report that is pointed at, where it stands by its number only."""
    if item.kind != "link":
        return item
    target = items[places[item.value]] if item.value in places else None
    if target is None:
        return replace(item, value="(refers to an item that is not there)")
    said = "" if target.kind == "identity" else target.value.partition("\n")[0][:_MOST_QUOTED]
    words = ": ".join(part for part in (target.concept, said) if part)
    return replace(item, value=f"see {words}" if words else "see another item of this report")


def _walk(root: DataSet) -> Iterator[tuple[str, ReportItem]]:
    """Give every item below the root with its number ("1.3.2", PS3.3 C.17.3.2.5), without recursion."""
    stack = [(enumerate(root.items(tags.CONTENT_SEQUENCE), start=1), "1")]
    while stack:
        level, above = stack[-1]
        number, item = next(level, (0, None))
        if item is None:
            stack.pop()
            continue
        place = f"{above}.{number}"
        yield place, _item(item, len(stack) - 1)
        stack.append((enumerate(item.items(tags.CONTENT_SEQUENCE), start=1), place))


def _item(item: DataSet, depth: int) -> ReportItem:
    value_type = item.text(tags.VALUE_TYPE)
    concept, relationship = _concept(item), item.text(tags.RELATIONSHIP_TYPE)
    if not value_type and (place := item.numbers(tags.REFERENCED_CONTENT_ITEM_IDENTIFIER)):
        return ReportItem(depth, relationship, "link", concept, ".".join(f"{n:g}" for n in place))
    known = _VALUES.get(value_type)
    if known is None:
        return ReportItem(depth, relationship, "value", concept, f"({value_type or 'no value type'}: not shown)")
    kind, value = known
    code = item.item(tags.CONCEPT_NAME_CODE_SEQUENCE).text(tags.CODE_VALUE)
    if code in _IDENTITY_CODES and kind == "value":
        kind = "identity"
    return ReportItem(depth, relationship, kind, concept, value(item), _image(item) if value_type == "IMAGE" else None)


def _concept(item: DataSet) -> str:
    return code_words(item.item(tags.CONCEPT_NAME_CODE_SEQUENCE))


def code_words(code: DataSet) -> str:
    """Give what a code means; the code itself with its scheme where the file leaves the meaning out."""
    meaning = code.text(tags.CODE_MEANING)
    if meaning:
        return meaning
    value = code.text(tags.CODE_VALUE) or code.text(tags.LONG_CODE_VALUE) or code.text(tags.URN_CODE_VALUE)
    scheme = code.text(tags.CODING_SCHEME_DESIGNATOR)
    return f"{value} ({scheme})" if value and scheme else value


def unit_words(code: DataSet) -> str:
    """Give a unit as it is written beside a number: UCUM's own signs ("mm"), "" where the number has none."""
    value = code.text(tags.CODE_VALUE)
    if code.text(tags.CODING_SCHEME_DESIGNATOR) != "UCUM" or not value:
        return code_words(code)
    if value in ("1", "{no units}"):
        return ""
    if value == "[hnsf'U]":
        return "HU"
    return code_words(code) if value.startswith("{") else value


def _text(item: DataSet) -> str:
    whole = item.raw(tags.TEXT_VALUE)
    text = item.paragraphs(tags.TEXT_VALUE, MOST_TEXT_BYTES)
    return f"{text}\n(cut: the text is longer than is shown here)" if len(whole) > MOST_TEXT_BYTES else text


def _number(item: DataSet) -> str:
    qualifier = code_words(item.item(tags.NUMERIC_VALUE_QUALIFIER_CODE_SEQUENCE))
    measured = item.item(tags.MEASURED_VALUE_SEQUENCE)
    number = " \\ ".join(measured.texts(tags.NUMERIC_VALUE))  # as it is written: no digit is added or lost
    code = measured.item(tags.MEASUREMENT_UNITS_CODE_SEQUENCE)
    unit = unit_words(code)
    return " ".join(part for part in (number, unit, f"({qualifier})" if qualifier else "") if part) or "(no value)"


def _names(item: DataSet) -> str:
    return person_words(item.text(tags.PERSON_NAME))


def person_words(name: str) -> str:
    """Give a DICOM person name on one line, its first two groups: "Yamada Tarou (山田 太郎)"."""
    groups = [" ".join(part for part in group.split("^") if part) for group in name.split("=")[:2]]
    main, *others = [group for group in groups if group] or [""]
    return f"{main} ({others[0]})" if others and others[0] != main else main


def _date(text: str) -> str:
    found = _DATE.fullmatch(text)
    return "-".join(found.groups()) if found else text


def _time(text: str) -> str:
    found = _TIME.fullmatch(text)
    return ":".join(part for part in found.groups()[:3] if part) if found else text


def date_time_words(text: str) -> str:
    """Give a DICOM date and time as "2004-01-31 14:05:00 +0100"; anything else as it stands."""
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        return _date(text)
    return " ".join(part for part in (_date(found[1]), _time(found[2] or ""), found[3]) if part)


def _reference(item: DataSet) -> str:
    """Name what is pointed at by its kind and UID: the reader of the words may know which object that is."""
    words = []
    for reference in item.items(tags.REFERENCED_SOP_SEQUENCE):
        kind = uid_name(reference.text(tags.REFERENCED_SOP_CLASS_UID)).removesuffix(" Storage")
        words.append(" ".join(part for part in (kind, reference.text(tags.REFERENCED_SOP_INSTANCE_UID)) if part))
    return "; ".join(words) or "(refers to nothing)"


def _image(item: DataSet) -> ImageReference | None:
    reference = item.item(tags.REFERENCED_SOP_SEQUENCE)
    uid = reference.text(tags.REFERENCED_SOP_INSTANCE_UID)
    frames = reference.numbers(tags.REFERENCED_FRAME_NUMBER)[:_MOST_FRAMES]
    return ImageReference(uid, tuple(int(n) for n in frames if 1 <= n <= 1e9)) if uid else None


def _coordinates(item: DataSet) -> str:
    """Give a shape by its name and points; many points are counted."""
    graphic = item.text(tags.GRAPHIC_TYPE)
    width = 3 if item.text(tags.VALUE_TYPE) == "SCOORD3D" else 2
    numbers = item.numbers(tags.GRAPHIC_DATA)
    points = [numbers[i : i + width] for i in range(0, len(numbers) - width + 1, width)]
    if len(points) > _MOST_POINTS:
        return f"{graphic}, {len(points)} points"
    where = " ".join(f"({', '.join(f'{value:g}' for value in point)})" for point in points)
    return f"{graphic} {where} {'mm' if width == 3 else 'px'}" if points else graphic


def _moments(item: DataSet) -> str:
    kind = item.text(tags.TEMPORAL_RANGE_TYPE)
    samples = [f"{n:g}" for n in item.numbers(tags.REFERENCED_SAMPLE_POSITIONS)]
    offsets = [f"{text} s" for text in item.texts(tags.REFERENCED_TIME_OFFSETS)]
    moments = [date_time_words(text) for text in item.texts(tags.REFERENCED_DATE_TIME)]
    where = (f"samples {', '.join(samples)}" if samples else "", ", ".join(offsets), ", ".join(moments))
    return " ".join(part for part in (kind, *where) if part)


_VALUES: Mapping[str, tuple[ItemKind, Callable[[DataSet], str]]] = MappingProxyType(
    {
        "CONTAINER": ("section", lambda _item: ""),
        "TEXT": ("value", _text),
        "CODE": ("value", lambda item: code_words(item.item(tags.CONCEPT_CODE_SEQUENCE)) or "(no code)"),
        "NUM": ("value", _number),
        "PNAME": ("identity", _names),
        "DATE": ("value", lambda item: _date(item.text(tags.CONTENT_ITEM_DATE))),
        "TIME": ("value", lambda item: _time(item.text(tags.CONTENT_ITEM_TIME))),
        "DATETIME": ("value", lambda item: date_time_words(item.text(tags.CONTENT_ITEM_DATE_TIME))),
        "UIDREF": ("value", lambda item: item.text(tags.CONTENT_UID)),
        "IMAGE": ("reference", _reference),
        "WAVEFORM": ("reference", _reference),
        "COMPOSITE": ("reference", _reference),
        "SCOORD": ("value", _coordinates),
        "SCOORD3D": ("value", _coordinates),
        "TCOORD": ("value", _moments),
    }
)

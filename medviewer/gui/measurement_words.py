"""What a measurement says: each number with its unit and what it rests on, in the reader's language."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from PySide6.QtCore import QTextBoundaryFinder

from medviewer.app.measuring import LONGEST_LABEL
from medviewer.app.state import State, Value
from medviewer.domain.digits import length_number
from medviewer.domain.measurement import Measurement, MeasurementKind, Quantity
from medviewer.gui.document_words import words_of_file
from medviewer.gui.text import tr, visible

_UNITS = {"mm2": "mm²", "px2": "px²"}
_PAIRS = (("mean", "SD"), ("minimum", "maximum"), ("SUVbw mean", "SUVbw SD"), ("SUVbw minimum", "SUVbw maximum"))
_REMARK_COLUMNS = 40  # of a line over the image, so that it fits the narrowest; a Chinese character takes two


def kind_word(kind: MeasurementKind) -> str:
    """What a kind of measurement is called."""
    return {
        "length": tr("Length"),
        "angle": tr("Angle"),
        "cobb": tr("Cobb angle"),
        "bidirectional": tr("Long and short axis"),
        "rectangle": tr("Rectangle region"),
        "ellipse": tr("Ellipse region"),
        "freehand": tr("Freehand region"),
        "probe": tr("Value at a point"),
        "cardiothoracic": tr("Cardiothoracic ratio"),
        "calibration": tr("Calibration"),
    }[kind]


def quantity_word(name: str) -> str:
    """What a number is called; a name that is not known here stays as it is."""
    words = {
        "length": tr("Length"),
        "horizontal": tr("Horizontal"),
        "vertical": tr("Vertical"),
        "angle": tr("Angle"),
        "Cobb angle": tr("Cobb angle"),
        "long axis": tr("Long axis"),
        "short axis": tr("Short axis"),
        "heart width": tr("Heart"),
        "thorax width": tr("Thorax"),
        "cardiothoracic ratio": tr("CTR"),
        "spacing between rows": tr("Rows apart"),
        "spacing between columns": tr("Columns apart"),
        "area": tr("Area"),
        "mean": tr("Mean"),
        "SD": tr("SD"),
        "minimum": tr("Min"),
        "maximum": tr("Max"),
        "pixels": tr("Pixels"),
        "stored value": tr("Stored"),
        "value": tr("Value"),
        "red": tr("Red"),
        "green": tr("Green"),
        "blue": tr("Blue"),
    }
    scheme, _, rest = name.partition(" ")
    if scheme == "SUVbw":
        return f"SUVbw {words.get(rest, rest)}".strip()
    return words.get(name, name)


def value_lines(value: Value | None) -> tuple[str, ...]:
    """The numbers of a measurement line by line; three dots while they are being found."""
    if value is None:
        return ("…",)
    if value.problem:
        return (visible(tr(value.problem)),)
    told = {quantity.name: quantity for quantity in value.quantities}
    second = {after: before for before, after in _PAIRS if before in told}
    firsts = {before: after for before, after in _PAIRS if after in told}
    lines: list[str] = []
    reasons: set[str] = set()  # why there are only pixels: said once
    for quantity in value.quantities:
        if quantity.name in second:
            continue
        is_alone = len(value.quantities) == 1 and quantity.name in ("length", "angle")
        number = _number(quantity, is_told=quantity.remark in reasons)
        reasons.add(quantity.remark)
        line = number if is_alone else f"{quantity_word(quantity.name)} {number}"
        if quantity.name in firsts:
            other = told[firsts[quantity.name]]
            line += f"   {quantity_word(other.name)} {_number(other)}"
        lines.append(line)
        if quantity.remark and quantity.unit not in ("px", "px2"):
            lines.append(visible(tr(quantity.remark)))
    return tuple(lines)


def has_remark(value: Value) -> bool:
    """Whether something must be read with the numbers, on a line of its own."""
    return any(quantity.remark and quantity.unit not in ("px", "px2") for quantity in value.quantities)


def image_lines(measurement: Measurement, value: Value | None, state: State | None = None) -> tuple[str, ...]:
    """What stands beside a measurement on the image: its name, its numbers; long sentences in several lines.

    With a state in which identity is hidden, a name says nothing of the patient.
    """
    name = (title(measurement, state),) if measurement.label else ()
    return (*name, *(part for line in value_lines(value) for part in _wrapped(line)))


def _wrapped(line: str) -> Iterator[str]:
    """Parts of a line, each of :data:`_REMARK_COLUMNS` at most, as Unicode breaks it, also without spaces."""
    units = line.encode("utf-16-le", "surrogatepass")  # in which Qt counts
    finder = QTextBoundaryFinder(QTextBoundaryFinder.BoundaryType.Line, line)
    ends = iter(finder.toNextBoundary, -1)
    part = ""
    begin = 0
    for end in ends:
        piece = units[2 * begin : 2 * end].decode("utf-16-le", "surrogatepass")
        if part and _columns((part + piece).rstrip()) > _REMARK_COLUMNS:
            yield part.rstrip()
            part = ""
        part, begin = part + piece, end
    yield part.rstrip()


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "FW" else 1 for character in text)


def title(measurement: Measurement, state: State | None = None) -> str:
    """The reader's name for a measurement, or what kind it is; without identity where the state hides it."""
    # A label that came with a report may be of any length.
    label = measurement.label[:LONGEST_LABEL]
    return (words_of_file(state, label) if state is not None else visible(label)) or kind_word(measurement.kind)


def _number(quantity: Quantity, *, is_told: bool = False) -> str:
    unit = _UNITS.get(quantity.unit, quantity.unit)
    words = f"{quantity.value:.1f}°" if quantity.unit == "deg" else f"{_digits(quantity)} {visible(unit)}".rstrip()
    if quantity.unit in ("px", "px2"):
        reason = visible(tr(quantity.remark)).rstrip(".。")
        return f"{words}: {_clause(reason)}" if reason and not is_told else words
    basis = quantity.basis if quantity.basis not in ("", "px") else ""
    return f"{words}, {tr(basis)}" if basis else words


def _digits(quantity: Quantity) -> str:
    value, unit = quantity.value, quantity.unit
    if unit in ("mm2", "px2"):
        return length_number(value, 0 if value >= 100 else 1)
    if unit in ("mm", "px"):
        return length_number(value, 4 if quantity.name.startswith("spacing") else quantity.decimals)
    if quantity.name == "cardiothoracic ratio":
        return f"{value:.2f}"
    if quantity.name in ("mean", "SD") and 0.1 <= abs(value) < 1e6:
        return f"{value:.1f}"
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.4g}"


def _clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence

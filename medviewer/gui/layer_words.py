"""The words of a layer: what it is, in which unit, what lies under the mouse. Its texts are of files: made visible."""

from __future__ import annotations

from collections.abc import Sequence

from medviewer.app.layer_planes import Laid
from medviewer.domain.layer import LabelPlane, LayerSource, ScalarLayer, ScalarPlane, Segment
from medviewer.gui.text import tr, visible
from medviewer.imaging.scalar_layer import NOT_AN_OUTLINE

_MOST_SEGMENTS = 3  # named under the mouse


def unit_word(unit: str) -> str:
    """A UCUM unit for reading."""
    return {"{counts}": tr("counts"), "{counts}/s": tr("counts/s")}.get(unit, visible(unit))


def quantity_words(source: ScalarLayer) -> str:
    """What the values are: "SUVbw", "Bq/ml"; for a name that needs it, with the unit in brackets."""
    unit, name = unit_word(source.unit), visible(source.name)
    if source.name == "SUVbw":
        return "SUVbw"
    if source.modality == "RTDOSE":
        return ", ".join(part for part in (unit or tr("no unit"), name.lower()) if part)
    return f"{name} ({unit})" if name and unit and name != unit else name or unit or tr("no unit")


def layer_lines(laid: Sequence[Laid], over: str, *, is_slab: bool) -> tuple[tuple[str, bool], ...]:
    """What lies over what, for the strip that says how faithful the picture is: (words, whether it is a caution)."""
    lines: list[tuple[str, bool]] = []
    for one in laid:
        source = one.source
        values = {"layer": visible(source.modality), "image": visible(over)}
        if isinstance(source, ScalarLayer):
            words = tr("{layer} over {image}, {quantity}, interpolated")
            if source.on is not None:
                words = tr("{layer} over {image}, {quantity}")
            lines.append((words.format(quantity=quantity_words(source), **values), False))
            if source.remark == NOT_AN_OUTLINE:
                lines.append((tr(source.remark).rstrip(".。"), True))
        else:
            words = tr("{layer} over {image}, in the middle of the slab") if is_slab else tr("{layer} over {image}")
            lines.append((words.format(**values), False))
        lines += [(f"{visible(source.modality)}: {visible(tr(c.text).rstrip('.。'))}", True) for c in source.caveats]
    return tuple(lines)


def absent_lines(sources: Sequence[LayerSource]) -> tuple[tuple[str, bool], ...]:
    """Which layers are not drawn, as they were made on another volume of the stack: (words, whether a caution)."""
    words = tr("{layer}: made at another time, echo or b-value, not drawn here")
    return tuple((words.format(layer=visible(source.modality)), True) for source in sources)


def probe_lines(laid: Sequence[Laid], column: float, row: float) -> tuple[str, ...]:
    """What the layers say of a place of the image, (column, row) from the corner of its first pixel."""
    found = (_probe_line(one, column, row) for one in laid)
    return tuple(line for line in found if line)


def segment_word(segment: Segment) -> str:
    """The name of a segment, as the file gives it."""
    return visible(segment.label) or tr("Segment {n}").format(n=segment.number)


def short_number(value: float) -> str:
    """Three digits that count, as at the ends of a colour bar."""
    return f"{value:.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"


def _probe_line(laid: Laid, column: float, row: float) -> str:
    source, plane = laid.source, laid.plane
    if isinstance(source, ScalarLayer) and isinstance(plane, ScalarPlane):
        x, y = int(column // 1), int(row // 1)
        rows, columns = plane.values.shape
        if not (0 <= x < columns and 0 <= y < rows):
            return ""
        value = float(plane.values[y, x])
        what = f"{value:.4g} {quantity_words(source)}" if value == value else tr("outside")  # noqa: PLR0124 - NaN
        return f"{visible(source.modality)} {what}"
    if isinstance(plane, LabelPlane):
        return _segments_line(source, plane, laid, column, row)
    return ""


def _segments_line(source: LayerSource, plane: LabelPlane, laid: Laid, column: float, row: float) -> str:
    if isinstance(source, ScalarLayer):
        return ""
    here = set(plane.segments_at(column, row)) - laid.layer.hidden
    names = [segment_word(segment) for segment in source.segments if segment.number in here]
    more = f" +{len(names) - _MOST_SEGMENTS}" if len(names) > _MOST_SEGMENTS else ""
    return ", ".join(names[:_MOST_SEGMENTS]) + more

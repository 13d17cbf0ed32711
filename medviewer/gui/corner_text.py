"""The words in the corners of the viewport, from the state: who, what, how it is shown."""

from __future__ import annotations

from dataclasses import replace
from unicodedata import east_asian_width

from medviewer.app.cine import has_mean_rate, own_rate_hz, rate_hz
from medviewer.app.linking import goes_along
from medviewer.app.on_screen import (
    appearance_of,
    calibration_of,
    has_misfit,
    is_key_image,
    key_objects_of,
    keys_of_stack,
    measured_image,
    measurements_of,
    overlays_of,
    presentations_of,
    shown_presentation,
    shutters_of,
    withholds_overlays,
)
from medviewer.app.state import Cut, Scene, Selection, State
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.presentation import KeyObjects
from medviewer.domain.study import PixelDescription, SecondAxis, Window
from medviewer.gui.document_words import words_of_file
from medviewer.gui.layer_words import short_number, unit_word
from medviewer.gui.study_rows import age_words
from medviewer.gui.text import dicom_date, isolated, person_name, sex_word, tr, visible
from medviewer.imaging.covering import reaches_under
from medviewer.imaging.display import modality_value, window_ends
from medviewer.imaging.palettes import PALETTE_NAMES
from medviewer.imaging.presenting import changes_values
from medviewer.imaging.scale import pixel_aspect
from medviewer.imaging.spacing import why_unmeasured
from medviewer.imaging.units import value_unit

_LONG_LINE = 13  # Latin letters that stand beside the letter of the edge in the smallest viewport


@dataclass(frozen=True, slots=True)
class Corners:
    """Lines for each corner, the outermost first (the lower ones upside down); ``top_left`` begins with the name."""

    top_left: tuple[str, ...] = ()
    top_right: tuple[str, ...] = ()
    bottom_left: tuple[str, ...] = ()
    bottom_right: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """What the viewport knows and the state does not: how it is really drawn."""

    zoom: float
    is_fit: bool
    window: Window | None
    level: int  # 0: from full resolution; n: from a copy of 1 / 2**n
    probe: str = ""
    layer_probe: tuple[str, ...] = ()  # what the layers say of the place under the mouse
    layers: tuple[tuple[str, bool], ...] = ()  # what lies over the image, and what is doubtful of it


def corners(state: State, shown: Shown | None, *, is_small: bool = False, most: int = 99) -> Corners:
    """The corner texts for an image on screen.

    The name, who it is and which image it is are what "minimal" keeps. A small viewport has room for them,
    the day of the study and the view, which tell it from the ones beside it. Of them it has ``most`` lines above
    and below, so that no word stands over the letter of a side: the number goes before the day, which tells a prior.
    """
    now = state.selection
    if now is None or state.corner_text == "none":
        return Corners()
    place = cut_words(state.cut) if state.cut is not None else _frame_line(now)
    mark = f"★ {tr('Key image')}" if is_key_image(state) else ""
    frame_lines = tuple(line for line in (place, axis_words(now, is_whole_volume=state.cut is not None), mark) if line)
    if state.corner_text == "minimal":
        return Corners(top_left=_patient(state)[: min(2, most)], bottom_left=frame_lines[:most])
    if is_small:
        view = " ".join(visible(part) for part in _view(_described(state, now)))
        who_and_when = tuple(line for line in (*_patient(state)[:2], dicom_date(now.study.date)) if line)
        # Where a plane lies is longer than the half beside the letter: it stands above.
        is_long = state.cut is not None or (frame_lines and _is_long(frame_lines[0]))
        below = ("", *frame_lines) if is_long else frame_lines
        # So is many a name: a long one stands below the letter of the upper edge.
        above = ("", *who_and_when) if _is_long(who_and_when[0]) else who_and_when
        if len(above) > most and len(who_and_when) > 2:
            above = tuple(line for line in above if line != who_and_when[1])
        return Corners(_of_height(above, most), (), _of_height(below, most), (view,) if view else ())
    drawn = _drawn(shown, state) if shown is not None else ()
    probe = (shown.probe, *shown.layer_probe) if shown is not None and shown.probe else ()
    below = (*frame_lines, *(line for line in (*drawn, *probe) if line))
    return Corners(_patient(state), _study(state, now), below, _series(state, now))


def _of_height(lines: tuple[str, ...], most: int) -> tuple[str, ...]:
    """So many lines from the edge inwards; the gap beside the edge's letter goes first."""
    return (lines[1:] if len(lines) > most and not lines[0] else lines)[:most]


def spoken(state: State) -> str:
    """What a viewport shows, in one line for screen readers: the kind of series and which image or plane of it."""
    now = state.selection
    if now is None:
        return tr(state.vacancy.sentence) if state.vacancy is not None else tr("Empty viewport")
    place = cut_words(state.cut) if state.cut is not None else _frame_line(now)
    words = (visible(now.series.modality), words_of_file(state, now.series.description), place)
    return ", ".join(part for part in words if part)


def fidelity(state: State, shown: Shown | None) -> tuple[tuple[str, bool], ...]:
    """What to know before the picture is trusted: (words, whether it is a caution)."""
    now = state.selection
    if now is None:
        return ()
    d = _described(state, now)
    parts = [*_company(state), _loss(d)]
    if shown is not None and shown.level:
        parts.append((tr("drawn at 1/{n} of full resolution").format(n=2**shown.level), False))
    if state.cut is None and _is_smoothed(state, shown, d):
        parts.append((tr("enlarged, interpolated"), False))
    if state.cut is not None:
        parts.append((tr("cut from the series, interpolated"), False))
    elif now.stack.slices > 1:
        guessed = now.stack.order not in ("position", "frame number", "single")
        parts.append((tr("order: {order}").format(order=tr(now.stack.order)), guessed))
    parts += _lack(state) + _presentation(state, now, shown)
    parts += [(_document_words(state, one), one.is_rejection) for one in key_objects_of(state)]
    keys = keys_of_stack(state) if state.keys_only and state.cut is None else []
    if keys:
        words = tr("key images only: {n} of {total}").format(n=len(keys), total=len(now.stack.images))
        parts.append((words, True))
    parts += _drawings(state) + _shutters(state) + _colors(state)
    if shown is not None:
        parts += shown.layers
    parts += _lengths(state, d)
    parts += [(visible(text), True) for text in _caveats(now, state)]
    return tuple(parts)


def _company(state: State) -> list[tuple[str, bool]]:
    """Whether what stands beside the image only scrolls along: before all else, as two heights may pass for one."""
    is_along = state.is_linked and any(goes_along(state, pane) for pane in state.parked.values())
    return [(tr("another study goes along by distance, not by place"), False)] if is_along else []


def _is_smoothed(state: State, shown: Shown | None, d: PixelDescription) -> bool:
    """Whether what is seen between the pixels' middles was calculated, not stored."""
    return shown is not None and state.view.smooth and shown.zoom * max(1.0, pixel_aspect(d)) > 1


def _lengths(state: State, d: PixelDescription) -> list[tuple[str, bool]]:
    """What lengths rest on, by the same order as they are measured: regions, the reader's calibration, the file."""
    where = measured_image(state)
    source: str | None = d.spacing_source
    reason = d.no_measuring_because
    if d.ultrasound_regions:
        source, reason = "ultrasound region", why_unmeasured(d.ultrasound_regions)
    elif where is not None and calibration_of(state, where) is not None:
        source, reason = "calibrated by hand", ""
    if reason:
        return [(tr("no measuring: {reason}").format(reason=visible(_clause(tr(reason)))), True)]
    return [(tr("lengths: {source}").format(source=tr(source)), False)] if source is not None else []


def scene_corners(state: State, scene: Scene) -> Corners:
    """The corner texts beside a 3D view: who and what as over the image, and how the volume is seen."""
    if state.corner_text == "none":
        return Corners()
    t = scene.transfer
    words = corners(replace(state, cut=None), None)
    axis = axis_words(state.selection, is_whole_volume=True) if state.selection is not None else ""
    title = "  ".join(part for part in (tr("3D view"), tr(t.name), axis) if part)
    if state.corner_text == "minimal":
        return replace(words, bottom_left=(title,))
    unit = f" {scene.block.unit}" if scene.block.unit else ""
    window = f"W {_number(t.window.width)}  L {_number(t.window.center)}{unit}"
    height = tr("{mm} mm from top to bottom").format(mm=_number(round(scene.camera.height_mm)))
    cut = tr("cut open in front") if scene.front_mm is not None else ""
    cropped = tr("cropped: only a part of the volume") if scene.box_mm is not None else ""
    ways = (words for words in (cut, cropped) if words)
    return replace(words, bottom_left=(title, window, height, *ways))


def scene_fidelity(state: State, scene: Scene) -> tuple[tuple[str, bool], ...]:
    """What to know before a 3D view is trusted: (words, whether it is a caution)."""
    now = state.selection
    if now is None:
        return ()
    parts: list[tuple[str, bool]] = [_loss(now.image.description)]
    parts += _lack(state)
    parts.append((tr("3D view, for orientation: colours are chosen, nothing can be measured"), False))
    if state.identity_hidden:
        parts.append((tr("a face in 3D can be recognised"), True))
    picture = scene.picture
    if picture is not None and not picture.pixels.any():
        parts.append((tr("nothing to be seen with this preset and window: choose others"), True))
    if picture is not None and picture.look.shape[0] < scene.room[1]:
        millimetres = picture.look.camera.height_mm / picture.look.shape[0]
        parts.append((tr("drawn with pixels of {mm} mm").format(mm=f"{millimetres:.2g}"), False))
    texts = dict.fromkeys(caveat.text for caveat in (*now.stack.warnings, *scene.block.caveats))
    parts += [(visible(tr(text).rstrip(".。")), True) for text in texts]
    return tuple(parts)


def cine_words(state: State) -> tuple[str, bool]:
    """How fast the images follow each other, and whether that is another pace than theirs."""
    shown, own = rate_hz(state), own_rate_hz(state)
    if own is None:
        return tr("cine {hz} images/s; the file gives no rate").format(hz=f"{shown:.3g}"), False
    if abs(shown - own) < 0.01 * own and has_mean_rate(state):
        return tr("cine at the mean rate, {hz} images/s; the images followed unevenly").format(hz=f"{own:.3g}"), True
    if abs(shown - own) < 0.01 * own:
        return tr("cine at its own rate, {hz} images/s").format(hz=f"{own:.3g}"), False
    return tr("cine {hz} images/s instead of {own}").format(hz=f"{shown:.3g}", own=f"{own:.3g}"), True


def _lack(state: State) -> list[tuple[str, bool]]:
    """Whether there may be more images than were found."""
    return [(tr("opening was stopped: images may be missing"), True)] if state.is_partial else []


def _drawings(state: State) -> list[tuple[str, bool]]:
    """Whether overlay planes, or graphics and words of a presentation state, lie over the image on screen."""
    appearance = appearance_of(state)
    parts = []
    if overlays_of(state) or (appearance is not None and appearance.annotations):
        words = tr("with the file's drawings") if state.drawings_shown else tr("the file's drawings are hidden")
        parts.append((words, not state.drawings_shown))
    if withholds_overlays(state):
        # Regions and shapes stay: of all drawings it must not be said both that they are there and that they are not.
        some = tr("some of the file's drawings are hidden with the identity")
        parts.append((some if parts else tr("the file's drawings are hidden with the identity"), True))
    return parts


def _presentation(state: State, now: Selection, seen: Shown | None) -> list[tuple[str, bool]]:
    """Whose wish the picture follows, and what of it is not there; else how many wishes there are."""
    shown, appearance = shown_presentation(state), appearance_of(state)
    if shown is None or appearance is None:
        if state.view.presentation and state.cut is None:
            return [(tr("the presentation state is not for this image"), True)]
        count = len(presentations_of(state))
        return [(tr("presentation states: {n}").format(n=count), False)] if count else []
    described = "" if state.identity_hidden else shown.description  # a line of anybody's words
    name = words_of_file(state, shown.label or described) or tr("without a name")
    parts = [(tr("shown as in presentation state {name}").format(name=name), False)]
    if state.identity_hidden and any(annotation.texts for annotation in appearance.annotations):
        parts.append((tr("its words are hidden with the identity"), False))
    if shown.not_understood:
        parts.append((tr("not shown: {what}").format(what=", ".join(map(tr, shown.not_understood))), True))
    wished, used = appearance.voi, seen.window if seen is not None and state.view.window is None else None
    if isinstance(wished, Window) and used is not None and (used.center, used.width) != (wished.center, wished.width):
        parts.append((tr("its window lies outside of the image's values: one made of them is used"), True))
    if changes_values(now.image.description, appearance):
        parts.append((tr("values and measurements are the image's own, not the presentation state's"), True))
    return parts


def _shutters(state: State) -> list[tuple[str, bool]]:
    """Whether a part of the image is covered, and whether something was measured there."""
    parts = [(tr("not shown: {what}").format(what=tr("a bitmap shutter")), True)] if has_misfit(state) else []
    shutters = shutters_of(state)
    if shutters is None or state.frame is None:
        return parts
    if not state.shutters_shown:
        return [*parts, (tr("shutters are off"), True)]
    parts.append((tr("covered in part by a shutter"), False))
    aspect = pixel_aspect(state.frame.description)
    rows, columns = state.frame.stored.shape[:2]
    if any(reaches_under(shutters, one, (rows, columns), aspect) for one in measurements_of(state)):
        parts.append((tr("measurements reach under the shutter"), True))
    return parts


def _colors(state: State) -> list[tuple[str, bool]]:
    """By whose profile colours are shown."""
    frame, appearance = state.frame, appearance_of(state)
    if frame is None or not frame.is_color:
        return []
    if appearance is not None and appearance.profile is not None:
        return [(tr("colours by the presentation state's ICC profile"), False)]
    return [(tr("colours by the file's ICC profile"), False)] if frame.profile is not None else []


def _document_words(state: State, document: KeyObjects) -> str:
    title = words_of_file(state, tr(document.title)) or tr("without a name")
    if document.is_rejection:
        return tr("rejected by a document: {title}").format(title=title)
    return tr("named by a document: {title}").format(title=title)


def probe_text(frame: Frame, column: float, row: float) -> str:
    """The stored value under the cursor, and what it means in the modality's unit; empty outside the image."""
    x, y = int(column // 1), int(row // 1)
    rows, columns = frame.stored.shape[:2]
    if not (0 <= x < columns and 0 <= y < rows):
        return ""
    where = f"({x}, {y})"
    if y >= rows - frame.missing_rows:
        return f"{where}  {tr('not in the file')}"
    if frame.is_color:
        red, green, blue = (int(v) for v in frame.stored[y, x])
        return f"{where}  R {red} G {green} B {blue}"
    stored = frame.stored[y, x].item()
    d = frame.description
    if d.pixel_padding_range is not None and d.pixel_padding_range[0] <= stored <= d.pixel_padding_range[1]:
        return f"{where}  {_number(stored)} {tr('(padding)')}"
    value = modality_value(frame, y, x)
    unit = unit_word(value_unit(d))
    if value == stored and not unit:
        return f"{where}  {_number(stored)}"
    suv = f" = {_number(value * d.suv_factor)} SUVbw" if d.suv_factor is not None else ""
    return f"{where}  {_number(stored)} = {_number(value)} {unit}".rstrip() + suv


def _patient(state: State) -> tuple[str, ...]:
    now = state.selection
    if now is None:
        return ()
    if state.identity_hidden:
        return (tr("Identity hidden"),)
    p = now.patient
    about = (dicom_date(p.birth_date), age_words(p, now.study), sex_word(p.sex))
    return (
        person_name(p.name) or tr("No name"),
        tr("ID {number}").format(number=isolated(p.patient_id)) if p.patient_id else tr("No patient ID"),
        "  ".join(part for part in about if part),
    )


def _study(state: State, now: Selection) -> tuple[str, ...]:
    s = now.study
    place = "" if state.identity_hidden else visible(s.institution)
    lines = (words_of_file(state, s.description), _date_time(s.date, s.time), place)
    return tuple(line for line in lines if line)


def _described(state: State, now: Selection) -> PixelDescription:
    """Of what is on screen: the image, or the plane that was cut."""
    return state.frame.description if state.cut is not None and state.frame is not None else now.image.description


def cut_words(cut: Cut) -> str:
    """Where a plane lies and how thick it is; letters say the side, as minus signs are overlooked."""
    negative, positive = {"axial": ("F", "H"), "coronal": ("A", "P"), "sagittal": ("R", "L")}[cut.plane]
    name = tr(cut.plane.capitalize())
    name = name if cut.axes is None else tr("{plane}, tilted").format(plane=name)
    where = f"{name}  {positive if cut.at_mm >= 0 else negative} {abs(cut.at_mm):.1f} mm"
    kind = {"mean": tr("Mean"), "max": "MIP", "min": "MinIP"}[cut.slab]
    return f"{where}  {kind} {cut.slab_mm:g} mm" if cut.slab_mm else where


def _series(state: State, now: Selection) -> tuple[str, ...]:
    s, d = now.series, _described(state, now)
    number = tr("Series {n}").format(n=s.number) if s.number is not None else ""
    what = " ".join(visible(part) for part in (s.modality, s.body_part_examined, *_view(d)) if part)
    lines = (f"{d.columns} × {d.rows}", " ".join(p for p in (number, words_of_file(state, s.description)) if p), what)
    return tuple(line for line in lines if line)


def _view(d: PixelDescription) -> tuple[str, ...]:
    """Of which side, and from where."""
    return tuple(part for part in (d.image_laterality, d.view_position) if part)


def _drawn(shown: Shown, state: State) -> tuple[str, ...]:
    window = suv = ""
    if shown.window is not None:
        name = f"  {tr(shown.window.name)}" if shown.window.name else ""
        window = f"W {_number(shown.window.width)}  L {_number(shown.window.center)}{visible(name)}"
        suv = _suv_span(shown.window, state)
        window += f"  {tr('inverted')}" if state.view.inverted else ""
        window += f"  {tr(PALETTE_NAMES[state.view.palette])}" if state.view.palette else ""
    fit = f"  {tr('fit')}" if shown.is_fit else ""
    return (window, suv, f"{tr('Zoom')} {shown.zoom:.2f}{fit}")


def _suv_span(window: Window, state: State) -> str:
    """From where to where a window spans in SUV, where the file allows it; never of values that a state has made."""
    factor = _described(state, state.selection).suv_factor if state.selection is not None else None
    if factor is None or state.view.presentation or window.function == "SIGMOID":
        return ""
    low, high = (short_number(end * factor) for end in window_ends(window))
    return f"SUVbw {low} – {high}"


def _frame_line(now: Selection) -> str:
    count = now.stack.slices
    return f"{tr('Image')} {now.index % count + 1} / {count}" if count > 1 else ""


def axis_name(axis: SecondAxis) -> str:
    """What changes from one volume to the next."""
    return {
        "time": tr("Time"), "b-value": tr("b-value"), "echo": tr("Echo"), "inversion": tr("Inversion time"),
        "acquisition": tr("Acquisition"),
    }[axis.name]  # fmt: skip


def axis_words(now: Selection, *, is_whole_volume: bool = False) -> str:
    """Which of the volumes is on screen, and its time, echo or b-value; empty where there is one volume.

    A plane that was cut has pixels of many slices: where their values differ, all that they span is said.
    """
    axis = now.stack.axis
    if axis is None:
        return ""
    which = f"{axis_name(axis)} {now.volume_number + 1} / {axis.size}"
    if not axis.unit:
        return which
    span = now.stack.volume_span(now.index)
    values = axis.values[span.start : span.stop] if is_whole_volume else (axis.values[now.index],)
    numbers = dict.fromkeys(_decimals(value) for value in (min(values), max(values)))
    return f"{which}  {'–'.join(numbers)} {axis.unit}"


def _loss(d: PixelDescription) -> tuple[str, bool]:
    if d.is_lossy is None:
        return tr("may be lossy"), True
    if not d.is_lossy:
        return tr("lossless"), False
    return (tr("lossy {ratio}:1").format(ratio=f"{d.lossy_ratio:g}") if d.lossy_ratio else tr("lossy")), True


def _caveats(now: Selection, state: State) -> tuple[str, ...]:
    own = now.image.warnings if state.cut is None else ()
    all_of_them = (*own, *now.stack.warnings, *(state.frame.caveats if state.frame is not None else ()))
    appearance = appearance_of(state)
    is_replaced = appearance is not None and appearance.profile is not None  # then the file's own does not matter
    told = (caveat for caveat in all_of_them if not (is_replaced and caveat.code == "color.profile"))
    return tuple(dict.fromkeys(tr(caveat.text).rstrip(".。") for caveat in told))


def _clause(sentence: str) -> str:
    """A sentence as the end of another: no full stop, no capital unless the word is all capitals."""
    bare = sentence.strip().rstrip(".。")
    return bare[:1].lower() + bare[1:] if bare[1:2].islower() else bare


def _is_long(line: str) -> bool:
    """Whether a line is cut beside the letter of the edge in a small viewport; Chinese characters are twice as wide."""
    return sum(2 if east_asian_width(character) in "WF" else character.isprintable() for character in line) > _LONG_LINE


def _date_time(date: str, time: str) -> str:
    clock = f"{time[:2]}:{time[2:4]}" if len(time) >= 4 and time[:4].isdigit() else ""
    return f"{dicom_date(date)} {clock}".strip()


def _decimals(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"

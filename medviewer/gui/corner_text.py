"""The words in the corners of the viewport, from the state: who, what, how it is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

from medviewer.app.state import Cut, Scene, Selection, State
from medviewer.domain.frame import Frame
from medviewer.domain.study import PixelDescription, Window
from medviewer.gui.study_rows import age_words
from medviewer.gui.text import dicom_date, isolated, person_name, sex_word, tr, visible
from medviewer.imaging.display import modality_value
from medviewer.imaging.units import is_in_hounsfield


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


def corners(state: State, shown: Shown | None, *, is_small: bool = False) -> Corners:
    """The corner texts for an image on screen.

    The name, who it is and which image it is are what "minimal" keeps. A small viewport has room for them,
    the day of the study and the view, which tell it from the ones beside it.
    """
    now = state.selection
    if now is None or state.corner_text == "none":
        return Corners()
    frame_line = cut_words(state.cut) if state.cut is not None else _frame_line(now)
    if state.corner_text == "minimal":
        return Corners(top_left=_patient(state)[:2], bottom_left=(frame_line,) if frame_line else ())
    if is_small:
        view = " ".join(visible(part) for part in _view(_described(state, now)))
        who_and_when = tuple(line for line in (*_patient(state)[:2], dicom_date(now.study.date)) if line)
        return Corners(who_and_when, (), *((line,) if line else () for line in (frame_line, view)))
    drawn = _drawn(shown, state) if shown is not None else ()
    probe = (shown.probe,) if shown is not None and shown.probe else ()
    below = tuple(line for line in (frame_line, *drawn, *probe) if line)
    return Corners(_patient(state), _study(now, state.identity_hidden), below, _series(now, _described(state, now)))


def fidelity(state: State, shown: Shown | None) -> tuple[tuple[str, bool], ...]:
    """What to know before the picture is trusted: (words, whether it is a caution)."""
    now = state.selection
    if now is None:
        return ()
    d = _described(state, now)
    parts: list[tuple[str, bool]] = [_loss(d)]
    if state.cut is not None:
        parts.append((tr("cut from the series, interpolated"), False))
    elif len(now.stack.images) > 1:
        guessed = now.stack.order not in ("position", "single")
        parts.append((tr("order: {order}").format(order=tr(now.stack.order)), guessed))
    if state.frame is not None and state.frame.overlays:
        words = tr("with the file's drawings") if state.drawings_shown else tr("the file's drawings are hidden")
        parts.append((words, not state.drawings_shown))
    if shown is not None and shown.level:
        parts.append((tr("drawn at 1/{n} of full resolution").format(n=2**shown.level), False))
    if d.no_measuring_because:
        parts.append((tr("no measuring: {reason}").format(reason=visible(_clause(tr(d.no_measuring_because)))), True))
    elif d.spacing_source is not None:
        parts.append((tr("lengths: {source}").format(source=tr(d.spacing_source)), False))
    parts += [(visible(text), True) for text in _caveats(now, state)]
    return tuple(parts)


def scene_corners(state: State, scene: Scene) -> Corners:
    """The corner texts beside a 3D view: who and what as over the image, and how the volume is seen."""
    if state.corner_text == "none":
        return Corners()
    t = scene.transfer
    words = corners(replace(state, cut=None), None)
    title = f"{tr('3D view')}  {tr(t.name)}"
    if state.corner_text == "minimal":
        return replace(words, bottom_left=(title,))
    unit = f" {scene.block.unit}" if scene.block.unit else ""
    window = f"W {_number(t.window.width)}  L {_number(t.window.center)}{unit}"
    height = tr("{mm} mm from top to bottom").format(mm=_number(round(scene.camera.height_mm)))
    cut = (tr("cut open in front"),) if scene.front_mm is not None else ()
    return replace(words, bottom_left=(title, window, height, *cut))


def scene_fidelity(state: State, scene: Scene) -> tuple[tuple[str, bool], ...]:
    """What to know before a 3D view is trusted: (words, whether it is a caution)."""
    now = state.selection
    if now is None:
        return ()
    parts: list[tuple[str, bool]] = [_loss(now.image.description)]
    parts.append((tr("3D view, for orientation: colours are chosen, nothing can be measured"), False))
    if state.identity_hidden:
        parts.append((tr("a face in 3D can be recognised"), True))
    picture = scene.picture
    if picture is not None and picture.look.shape[0] < scene.room[1]:
        millimetres = picture.look.camera.height_mm / picture.look.shape[0]
        parts.append((tr("drawn with pixels of {mm} mm").format(mm=f"{millimetres:.2g}"), False))
    texts = dict.fromkeys(caveat.text for caveat in (*now.stack.warnings, *scene.block.caveats))
    parts += [(visible(tr(text).rstrip(".。")), True) for text in texts]
    return tuple(parts)


def probe_text(frame: Frame, column: float, row: float) -> str:
    """The stored value under the cursor, and what it means in the modality's unit; empty outside the image."""
    x, y = int(column // 1), int(row // 1)
    rows, columns = frame.stored.shape[:2]
    if not (0 <= x < columns and 0 <= y < rows):
        return ""
    where = f"({x}, {y})"
    if frame.is_color:
        red, green, blue = (int(v) for v in frame.stored[y, x])
        return f"{where}  R {red} G {green} B {blue}"
    stored = frame.stored[y, x].item()
    d = frame.description
    if d.pixel_padding_range is not None and d.pixel_padding_range[0] <= stored <= d.pixel_padding_range[1]:
        return f"{where}  {_number(stored)} {tr('(padding)')}"
    value = modality_value(frame, y, x)
    unit = "HU" if is_in_hounsfield(d) else "" if d.rescale_type in ("", "US", "HU") else d.rescale_type
    if value == stored and not unit:
        return f"{where}  {_number(stored)}"
    return f"{where}  {_number(stored)} = {_number(value)} {visible(unit)}".rstrip()


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


def _study(now: Selection, identity_hidden: bool) -> tuple[str, ...]:
    s = now.study
    lines = (visible(s.description), _date_time(s.date, s.time), "" if identity_hidden else visible(s.institution))
    return tuple(line for line in lines if line)


def _described(state: State, now: Selection) -> PixelDescription:
    """Of what is on screen: the image, or the plane that was cut."""
    return state.frame.description if state.cut is not None and state.frame is not None else now.image.description


def cut_words(cut: Cut) -> str:
    """Where a plane lies and how thick it is; letters say the side, as minus signs are overlooked."""
    negative, positive = {"axial": ("F", "H"), "coronal": ("A", "P"), "sagittal": ("R", "L")}[cut.plane]
    name = tr(cut.plane.capitalize())
    name = name if cut.axes is None else f"{name}, {tr('tilted')}"
    where = f"{name}  {positive if cut.at_mm >= 0 else negative} {abs(cut.at_mm):.1f} mm"
    kind = {"mean": tr("Mean"), "max": "MIP", "min": "MinIP"}[cut.slab]
    return f"{where}  {kind} {cut.slab_mm:g} mm" if cut.slab_mm else where


def _series(now: Selection, d: PixelDescription) -> tuple[str, ...]:
    s = now.series
    number = tr("Series {n}").format(n=s.number) if s.number is not None else ""
    what = " ".join(visible(part) for part in (s.modality, s.body_part_examined, *_view(d)) if part)
    lines = (f"{d.columns} × {d.rows}", " ".join(p for p in (number, visible(s.description)) if p), what)
    return tuple(line for line in lines if line)


def _view(d: PixelDescription) -> tuple[str, ...]:
    """Of which side, and from where."""
    return tuple(part for part in (d.image_laterality, d.view_position) if part)


def _drawn(shown: Shown, state: State) -> tuple[str, ...]:
    window = ""
    if shown.window is not None:
        name = f"  {tr(shown.window.name)}" if shown.window.name else ""
        window = f"W {_number(shown.window.width)}  L {_number(shown.window.center)}{visible(name)}"
        window += f"  {tr('inverted')}" if state.view.inverted else ""
    fit = f"  {tr('fit')}" if shown.is_fit else ""
    return (window, f"{tr('Zoom')} {shown.zoom:.2f}{fit}")


def _frame_line(now: Selection) -> str:
    count = len(now.stack.images)
    return f"{tr('Image')} {now.index + 1} / {count}" if count > 1 else ""


def _loss(d: PixelDescription) -> tuple[str, bool]:
    if d.is_lossy is None:
        return tr("may be lossy"), True
    if not d.is_lossy:
        return tr("lossless"), False
    return (tr("lossy {ratio}:1").format(ratio=f"{d.lossy_ratio:g}") if d.lossy_ratio else tr("lossy")), True


def _caveats(now: Selection, state: State) -> tuple[str, ...]:
    own = now.image.warnings if state.cut is None else ()
    all_of_them = (*own, *now.stack.warnings, *(state.frame.caveats if state.frame is not None else ()))
    return tuple(dict.fromkeys(tr(caveat.text).rstrip(".。") for caveat in all_of_them))


def _clause(sentence: str) -> str:
    """A sentence as the end of another: no full stop, no capital unless the word is all capitals."""
    bare = sentence.strip().rstrip(".。")
    return bare[:1].lower() + bare[1:] if bare[1:2].islower() else bare


def _date_time(date: str, time: str) -> str:
    clock = f"{time[:2]}:{time[2:4]}" if len(time) >= 4 and time[:4].isdigit() else ""
    return f"{dicom_date(date)} {clock}".strip()


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"

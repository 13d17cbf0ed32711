"""How an image is looked at: window, place, turns, tools. Each function is one command's work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from medviewer.app import documents
from medviewer.app.on_screen import is_white_low
from medviewer.app.panes import picture_of
from medviewer.app.state import State, View
from medviewer.domain.errors import UsageError
from medviewer.domain.study import Window
from medviewer.imaging.display import (
    automatic_window,
    has_useless_window,
    own_windows,
    value_percentiles,
    window_between,
)
from medviewer.imaging.palettes import PALETTES
from medviewer.imaging.units import is_in_hounsfield

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

ZOOM_STEP = 1.25
WIDTH_STEP = 1.1
_LEVEL_SHARE = 0.05  # of the window's width
_MOVE_SHARE = 0.1  # of the image's longer side
ZOOM_RANGE = (0.01, 64.0)
CORNER_TEXTS = ("all", "minimal", "none")

SHARE_PRESETS: dict[int, tuple[float, float, str]] = {
    1: (0.0, 100.0, "Full range"),
    2: (0.1, 99.9, "Without tails"),
    3: (1.0, 99.0, "1-99 %"),
    4: (5.0, 95.0, "5-95 %"),
    5: (0.0, 50.0, "Dark half"),
    6: (50.0, 100.0, "Bright half"),
    7: (25.0, 100.0, "Without the darkest quarter"),
    8: (0.0, 75.0, "Without the brightest quarter"),
    9: (25.0, 75.0, "Middle half"),
}
"""For modalities without a fixed unit: percentiles of this image's own values that become black and white."""


def preset_window(state: State, number: int) -> Window | None:
    """The window of a digit for the image on screen; None is the image's own default.

    0 is made of the image's values, which is the default of files that wish nothing. CT has presets in Hounsfield
    units, which the reader may change. Elsewhere the file's own windows come first, in its order, then percentiles
    of the image.

    Raises:
        UsageError: not a digit.
    """
    if not 0 <= number <= 9:
        msg = f"There is no preset {number}: presets are 0 (automatic) to 9."
        raise UsageError(msg)
    if state.frame is None or state.frame.is_color:
        return None
    description = state.frame.description
    if number == 0:
        return automatic_window(state.frame) if description.windows or description.voi_luts else None
    if is_in_hounsfield(description):
        return state.ct_presets[number]
    windows = description.windows
    if number <= len(windows):
        return windows[number - 1]
    low, high, name = SHARE_PRESETS[number - len(windows)]
    return window_between(state.frame, *value_percentiles(state.frame, (low, high)), name)


def change_view(app: Application, gesture: str = "", **changes: Any) -> None:
    """Look at the image in another way, undoably; the same steps of a ``gesture`` are one."""
    view = replace(app.state.view, **changes)
    if view != app.state.view:
        app.session.change(gesture=gesture, view=view)


def set_window(app: Application, window: Window) -> None:
    """Use this window; a drag's steps are undone together."""
    if not window.width > 0:
        return
    change_view(app, "window", window=window)


def set_place(app: Application, place: tuple[float, tuple[float, float]]) -> None:
    """Use this zoom (screen per image pixel) and centre (column, row); a drag's steps are undone together."""
    zoom, center = place
    change_view(app, "place", zoom=_bounded(zoom), center=center)


def fit(app: Application, _argument: object) -> None:
    """Show the whole image, as large as the viewport allows; a document as large as it fits."""
    if app.state.reading is not None:
        documents.fit(app)
        return
    change_view(app, zoom=None, center=None)


def actual_size(app: Application, _argument: object) -> None:
    """Give each image pixel one pixel of the screen."""
    placed = app.front.placement()
    change_view(app, zoom=1.0, center=placed[1] if placed else None)


def zoom_by(factor: float) -> Callable[[Application, object], None]:
    """A command that zooms about the middle of the viewport, or into a document."""

    def run(app: Application, _argument: object) -> None:
        if app.state.reading is not None:
            documents.zoom_by(app, factor)
            return
        placed = app.front.placement()
        if placed is not None:
            change_view(app, "zoom", zoom=_bounded(placed[0] * factor), center=placed[1])

    return run


def move_by(app: Application, way: tuple[int, int]) -> None:
    """Move the picture on the screen by steps to the right and down, a tenth of the image each."""
    placed, frame = app.front.placement(), app.state.frame
    if placed is None or frame is None:
        return
    view, (zoom, (column, row)) = app.state.view, placed
    right, down = way
    for _ in range(view.quarter_turns):  # from the screen back to the image: turns, then flips
        right, down = -down, right
    right, down = (-right if view.flip_horizontal else right), (-down if view.flip_vertical else down)
    rows, columns = frame.stored.shape[:2]
    step = max(rows, columns) * _MOVE_SHARE
    change_view(app, "place", zoom=zoom, center=(column - right * step, row - down * step))


def adjust_window(app: Application, by: tuple[int, int]) -> None:
    """Make the window wider (or narrower) and the image brighter (or darker) by steps."""
    state = app.state
    picture = picture_of(app, state.active, state)
    window = state.view.window or (picture.default_window if picture is not None else None)
    if window is None or state.frame is None:
        return
    wider, brighter = by
    shift = (brighter if is_white_low(state) else -brighter) * _LEVEL_SHARE * window.width
    changed = Window(window.center + shift, window.width * WIDTH_STEP**wider, window.function)
    # The standard's plain LINEAR knows no window narrower than 1; ours would not read one back.
    least = min(1.0, window.width) if window.function == "LINEAR" else 0.0
    change_view(app, "window", window=replace(changed, width=max(changed.width, least)))


def invert(app: Application, _argument: object) -> None:
    """Swap black and white."""
    change_view(app, inverted=not app.state.view.inverted)


def use_palette(app: Application, name: str) -> None:
    """Show grey levels in the colours of one of the standard's palettes; "" is grey again."""
    if name and name not in PALETTES:
        raise UsageError(f"There is no colour palette “{name}”.")
    change_view(app, palette=name)


def rotate(quarters: int) -> Callable[[Application, object], None]:
    """A command that turns the picture counter-clockwise."""

    def run(app: Application, _argument: object) -> None:
        change_view(app, quarter_turns=(app.state.view.quarter_turns + quarters) % 4)

    return run


def flip_sideways(app: Application, _argument: object) -> None:
    """Mirror the picture left to right, as the reader sees it."""
    _flip(app, is_sideways=True)


def flip_upside_down(app: Application, _argument: object) -> None:
    """Mirror the picture top to bottom, as the reader sees it."""
    _flip(app, is_sideways=False)


def reset(app: Application, _argument: object) -> None:
    """Look at the image as it was opened; what is in front of it, a document, is closed first."""
    if app.state.reading is not None:
        documents.close(app, None)
        return
    change_view(app, **{f: getattr(View(), f) for f in View.__dataclass_fields__ if f != "smooth"})


def use_preset(app: Application, number: int) -> None:
    """Use the window of a digit."""
    change_view(app, window=preset_window(app.state, int(number)))


def use_next_own(app: Application, _argument: object) -> None:
    """Use the next window or VOI look-up table of the file; after the last, the first."""
    picture = picture_of(app, app.state.active, app.state)
    if picture is None or picture.frame.is_color:
        return
    frame, window = picture.frame, app.state.view.window
    ways = own_windows(frame)
    if not ways:
        app.notify("info", "The file gives no window and no look-up table of its own.")
        return
    # What a last session has kept has no name.
    shown = next((n for n, one in enumerate(ways) if window and replace(one, name=window.name) == window), -1)
    if window is None and not has_useless_window(frame):
        shown = 0
    change_view(app, window=ways[(shown + 1) % len(ways)])


def toggle_smooth(app: Application, _argument: object) -> None:
    """Smooth the enlarged image, or show its pixels."""
    change_view(app, smooth=not app.state.view.smooth)


def toggle_magnifier(app: Application, _argument: object) -> None:
    """Have a glass follow the mouse over the image, or put it away."""
    app.session.update(is_magnifying=not app.state.is_magnifying)


def next_text(app: Application, _argument: object) -> None:
    """All corner texts, the most needed ones, none, and again."""
    now = CORNER_TEXTS.index(app.state.corner_text)
    app.session.change(corner_text=CORNER_TEXTS[(now + 1) % len(CORNER_TEXTS)])


def toggle_drawings(app: Application, _argument: object) -> None:
    """Hide what the file draws over its image, or show it."""
    app.session.update(drawings_shown=not app.state.drawings_shown)


def toggle_shutters(app: Application, _argument: object) -> None:
    """Show what shutters cover, or cover it again."""
    app.session.update(shutters_shown=not app.state.shutters_shown)


def toggle_identity(app: Application, _argument: object) -> None:
    """Hide who the patient is, everywhere in the window, or show it again."""
    is_hidden = not app.state.identity_hidden
    app.session.update(identity_hidden=is_hidden)
    if is_hidden:
        app.notify("info", "")  # what it says came before: it may quote a file


def toggle_panels(app: Application, _argument: object) -> None:
    """Leave the screen to the image, or bring the panels back."""
    app.session.update(panels_hidden=not app.state.panels_hidden)


def settle(app: Application, _argument: object) -> None:
    """A drag ended: what comes next is undone by itself."""
    app.session.settle()


def use_tool(name: str) -> Callable[[Application, object], None]:
    """A command that gives the left button a tool."""

    def run(app: Application, _argument: object) -> None:
        app.session.update(tool=name)

    return run


def _bounded(zoom: float) -> float:
    return min(max(zoom, ZOOM_RANGE[0]), ZOOM_RANGE[1])


def _flip(app: Application, *, is_sideways: bool) -> None:
    """Flips are kept before turns, so on a picture turned by a quarter the other flip is meant."""
    view = app.state.view
    if is_sideways != bool(view.quarter_turns % 2):
        change_view(app, flip_horizontal=not view.flip_horizontal)
    else:
        change_view(app, flip_vertical=not view.flip_vertical)

"""How MedViewer looks: the tokens (the only place with literal colours), fonts, palette, style sheet.

A reading room is dark and the reader is tired: the image owns the screen and everything else is
quiet until it matters. A signal is never colour alone: it comes as shape, word and colour.
"""

from __future__ import annotations

import string
from dataclasses import asdict
from typing import Literal

from PySide6.QtCore import QDir
from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette
from PySide6.QtWidgets import QApplication

from medviewer.domain.frozen import dataclass
from medviewer.resources import resource

ThemeName = Literal["dark", "light", "high-contrast"]
Density = Literal["comfortable", "compact"]

FONT_FAMILIES = ("MedViewer Inter", "MedViewer Noto Sans SC")  # cut copies, named so that no other is taken
FONT_FILES = (
    "Inter-Regular.otf",
    "Inter-Medium.otf",
    "Inter-SemiBold.otf",
    "NotoSansSC-Regular.otf",
    "NotoSansSC-Bold.otf",
)

GRID = 4  # px: every gap and margin is a multiple
TEXT_PX = 13
SMALL_PX = 12
TITLE_PX = 15
VALUE_PX = 28
RADIUS_PX = 6
PAPER, INK = "#ffffff", "#000000"  # of a printed page, whatever the theme
FADE_MS = 120
STUDIES_WIDTH_PX = 240
FINDINGS_WIDTH_PX = 360
SEGMENT_COLORS = (
    "#4cc9f0", "#f2b544", "#5cc58f", "#ff6b6b", "#b48cff", "#f49ac1", "#9be564", "#ff9f5a", "#6f8cff", "#e5e06b",
)  # fmt: skip
"""For segments without a colour of their own, in every theme: told apart from their neighbours, also on grey."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The colours of one theme, by what they are for.

    ``viewport`` is black in every theme: the eye adapts to the image, not to the program.
    """

    viewport: str  # behind the image
    overlay_text: str  # corner text and letters on the image
    ground: str  # behind everything else
    panel: str  # side panels, tool bar
    raised: str  # cards, menus, controls
    hover: str  # a raised thing under the mouse, a selected row
    line: str  # separators; decoration, never the only sign of anything
    edge: str  # the outline of what can be typed into or dragged (3:1 on panel and raised)
    text: str
    secondary: str
    accent: str  # selection, focus, links
    on_accent: str  # text on accent
    caution: str  # with a triangle
    alarm: str  # with an octagon
    good: str  # with a tick
    speaks_for: str  # words and atoms that an answer rests on: with a solid line
    speaks_against: str  # with a broken line
    # Lines and crosshairs on the image, by the patient axis along which they run (PS3.17 annex A).
    axis_left_right: str = "#7aaeff"
    axis_front_back: str = "#ff8078"
    axis_foot_head: str = "#63d98b"
    measure: str = "#ffe27a"  # what readers measured; on the image, which is dark in every theme
    measure_selected: str = "#62e4ff"


THEMES: dict[ThemeName, Tokens] = {
    "dark": Tokens(
        viewport="#000000",
        overlay_text="#e8eaed",
        ground="#14161a",
        panel="#1b1e24",
        raised="#242830",
        hover="#2d333d",
        line="#323843",
        edge="#727c8c",
        text="#e8eaed",
        secondary="#9aa3b2",
        accent="#5aa9ff",
        on_accent="#0b1420",
        caution="#f2b544",
        alarm="#ff6b6b",
        good="#5cc58f",
        speaks_for="#5aa9ff",
        speaks_against="#ff9f5a",
    ),
    "light": Tokens(
        viewport="#000000",
        overlay_text="#e8eaed",
        ground="#e9ecf0",
        panel="#f6f7f9",
        raised="#ffffff",
        hover="#e6ecf4",
        line="#d2d8e0",
        edge="#717b89",
        text="#14161a",
        secondary="#4b5563",
        accent="#0a5cb8",
        on_accent="#ffffff",
        caution="#805200",
        alarm="#b3202a",
        good="#14693c",
        speaks_for="#0a5cb8",
        speaks_against="#a84300",
    ),
    "high-contrast": Tokens(
        viewport="#000000",
        overlay_text="#ffffff",
        ground="#000000",
        panel="#000000",
        raised="#0c0e11",
        hover="#26303f",
        line="#8b95a5",
        edge="#ffffff",
        text="#ffffff",
        secondary="#d9dee6",
        accent="#8fc7ff",
        on_accent="#000000",
        caution="#ffd166",
        alarm="#ff9d9d",
        good="#86efb4",
        speaks_for="#8fc7ff",
        speaks_against="#ffb37a",
    ),
}

_active: Tokens = THEMES["dark"]
_worn: tuple[ThemeName, Density] | None = None


def tokens() -> Tokens:
    """The tokens of the theme in use."""
    return _active


def color(value: str, alpha: float = 1.0) -> QColor:
    """A token as Qt's colour, for what paints itself; ``alpha`` 0..1."""
    made = QColor(value)
    made.setAlphaF(alpha)
    return made


def apply_theme(app: QApplication, name: ThemeName = "dark", density: Density = "comfortable") -> Tokens:
    """Dress the application; may be called again to change the theme while it runs.

    Raises:
        FileNotFoundError: the installation lacks its fonts or style sheet.
    """
    global _active, _worn
    _active, _worn = THEMES[name], (name, density)
    load_fonts()
    QDir.setSearchPaths("marks", [str(resource(f"themes/{name}"))])
    app.setStyle("Fusion")
    app.setFont(text_font())
    app.setPalette(_palette(_active))
    app.setStyleSheet(style_sheet(_active, density))
    return _active


def is_worn(name: str, density: str) -> bool:
    """Whether the application is dressed so."""
    return (name, density) == _worn


def load_fonts() -> None:
    """Make the bundled fonts known to Qt, once: a bare Linux has no Chinese font.

    Raises:
        FileNotFoundError: a font file is missing or is no font.
    """
    if load_fonts.__dict__.get("done"):
        return
    for name in FONT_FILES:
        path = resource(f"fonts/{name}")
        if QFontDatabase.addApplicationFont(str(path)) < 0:
            msg = f"MedViewer's installation is damaged: {path.name} is not a font; install it again."
            raise FileNotFoundError(msg)
    load_fonts.__dict__["done"] = True


def text_font(size_px: int = TEXT_PX, weight: QFont.Weight = QFont.Weight.Normal) -> QFont:
    """The program's font, for what paints its own text. Its digits all have one width."""
    font = QFont(list(FONT_FAMILIES))
    font.setPixelSize(size_px)
    font.setWeight(weight)
    return font


def style_sheet(t: Tokens, density: Density = "comfortable") -> str:
    """The style sheet of a theme, built from its tokens."""
    template = string.Template(resource("themes/medviewer.qss").read_text(encoding="utf-8"))
    control_px = 28 if density == "comfortable" else 24
    sizes = {"control": control_px, "inner": control_px - 2, "radius": RADIUS_PX, "text_px": TEXT_PX}
    sizes |= {"small_px": SMALL_PX, "title_px": TITLE_PX, "value_px": VALUE_PX}
    families = ", ".join(f'"{family}"' for family in FONT_FAMILIES)
    return template.substitute(asdict(t) | {k: f"{v}px" for k, v in sizes.items()} | {"families": families})


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, 1..21 (WCAG 2.2, relative luminance).

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    brighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def blended(over: str, under: str, alpha: float) -> str:
    """The colour that is seen where ``over`` lies on ``under`` with ``alpha`` 0..1.

    >>> blended("#ffffff", "#000000", 0.5)
    '#808080'
    """
    pairs = ((int(over[i : i + 2], 16), int(under[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(alpha * a + (1 - alpha) * b):02x}" for a, b in pairs)


def _luminance(value: str) -> float:
    channels = [int(value[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _palette(t: Tokens) -> QPalette:
    """What style sheets do not reach (native dialogs drawn by Qt, pyqtgraph menus) takes its colours here."""
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: t.panel,
        QPalette.ColorRole.WindowText: t.text,
        QPalette.ColorRole.Base: t.ground,
        QPalette.ColorRole.AlternateBase: t.panel,
        QPalette.ColorRole.Text: t.text,
        QPalette.ColorRole.PlaceholderText: t.secondary,
        QPalette.ColorRole.Button: t.raised,
        QPalette.ColorRole.ButtonText: t.text,
        QPalette.ColorRole.ToolTipBase: t.raised,
        QPalette.ColorRole.ToolTipText: t.text,
        QPalette.ColorRole.Highlight: t.accent,
        QPalette.ColorRole.HighlightedText: t.on_accent,
        QPalette.ColorRole.Link: t.accent,
        QPalette.ColorRole.Light: t.hover,
        QPalette.ColorRole.Mid: t.line,
        QPalette.ColorRole.Dark: t.ground,
    }
    for role, value in roles.items():
        palette.setColor(role, QColor(value))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText, QPalette.ColorRole.WindowText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(t.edge))
    return palette

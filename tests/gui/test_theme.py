from __future__ import annotations

import io
import itertools
import re
import tokenize
from dataclasses import asdict
from pathlib import Path

import pytest
from PySide6.QtGui import QFontInfo, QFontMetricsF, QPalette, QRawFont, QTextLayout
from PySide6.QtWidgets import QApplication, QPushButton

import medviewer.gui
from medviewer.gui import theme
from medviewer.resources import resource

GUI = Path(medviewer.gui.__file__).parent
TEXT_TOKENS = ("text", "secondary", "accent", "caution", "alarm", "good")
GROUNDS = ("ground", "panel", "raised", "hover")
# In the design document; changing one means changing both.
DARK = {
    "viewport": "#000000", "ground": "#14161a", "panel": "#1b1e24", "raised": "#242830", "line": "#323843",
    "text": "#e8eaed", "secondary": "#9aa3b2", "accent": "#5aa9ff", "caution": "#f2b544", "alarm": "#ff6b6b",
    "good": "#5cc58f",
}  # fmt: skip


def test_the_dark_theme_has_the_designed_tokens() -> None:
    made = asdict(theme.THEMES["dark"])
    assert {name: made[name] for name in DARK} == DARK


@pytest.mark.parametrize("name", list(theme.THEMES))
@pytest.mark.parametrize(("text", "ground"), list(itertools.product(TEXT_TOKENS, GROUNDS)))
def test_every_text_can_be_read_on_every_ground(name: theme.ThemeName, text: str, ground: str) -> None:
    made = asdict(theme.THEMES[name])
    needed = 7.0 if name == "high-contrast" and text in ("text", "secondary") else 4.5  # WCAG 2.2: AAA, AA
    assert theme.contrast(made[text], made[ground]) >= needed


@pytest.mark.parametrize("name", list(theme.THEMES))
def test_what_can_be_used_can_be_seen(name: theme.ThemeName) -> None:
    t = theme.THEMES[name]
    assert theme.contrast(t.on_accent, t.accent) >= 4.5
    assert theme.contrast(t.overlay_text, t.viewport) >= 7
    for ground in (t.ground, t.panel, t.raised):
        assert theme.contrast(t.edge, ground) >= 3  # WCAG 2.2, 1.4.11: outlines of controls
        assert theme.contrast(t.accent, ground) >= 3  # focus rings


def test_contrast_is_that_of_the_standard() -> None:
    assert theme.contrast("#ffffff", "#000000") == pytest.approx(21)
    assert theme.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # W3C's own example of a near miss
    assert theme.contrast("#14161a", "#14161a") == pytest.approx(1)


@pytest.mark.parametrize("path", sorted(GUI.rglob("*.py")), ids=lambda p: p.name)
def test_no_colour_is_written_outside_the_theme(path: Path) -> None:
    if path.name == "theme.py":
        return
    named = re.compile(
        r"Qt\.(GlobalColor\.)?(white|black|red|green|blue|yellow|gray|cyan|magenta|darkGray|lightGray)\b"
    )
    source = path.read_text(encoding="utf-8")
    strings = [t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.STRING]
    found = [s for s in strings if re.search(r"#[0-9a-fA-F]{3}([0-9a-fA-F]{3,5})?\b", s)]
    found += [m.group() for m in named.finditer(source)]
    found += re.findall(r"QColor\(\s*\d[^)]*\)|QColor\([\"'][a-z]+[\"']\)|\brgba?\(\s*\d", source)
    assert not found


def test_the_style_sheet_has_no_colour_of_its_own() -> None:
    template = resource("themes/medviewer.qss").read_text(encoding="utf-8")
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(", template)


@pytest.mark.parametrize("name", list(theme.THEMES))
@pytest.mark.parametrize("density", ["comfortable", "compact"])
def test_every_theme_dresses_the_program(qapp: QApplication, name: theme.ThemeName, density: theme.Density) -> None:
    tokens = theme.apply_theme(qapp, name, density)
    assert theme.tokens() is tokens is theme.THEMES[name]
    assert qapp.palette().color(QPalette.ColorRole.WindowText).name() == tokens.text
    assert "$" not in qapp.styleSheet()
    assert tokens.alarm in qapp.styleSheet()


@pytest.mark.parametrize("name", list(theme.THEMES))
def test_the_marks_inside_controls_wear_the_theme(name: theme.ThemeName) -> None:
    tokens = theme.THEMES[name]
    marks = {"chevron-down": tokens.secondary, "check": tokens.on_accent}
    for mark, tint in marks.items():
        assert tint in resource(f"themes/{name}/{mark}.svg").read_text(encoding="utf-8")


def test_controls_have_the_designed_height(qtbot) -> None:
    made = QPushButton("Run")
    qtbot.addWidget(made)
    made.ensurePolished()
    assert made.sizeHint().height() == 28


def test_the_bundled_fonts_are_the_ones_in_use() -> None:
    assert QFontInfo(theme.text_font()).family() == "MedViewer Inter"
    assert QFontInfo(theme.text_font()).pixelSize() == theme.TEXT_PX


def test_chinese_is_drawn_with_the_bundled_font() -> None:
    layout = QTextLayout("肺炎", theme.text_font())
    layout.beginLayout()
    layout.createLine()
    layout.endLayout()
    assert [run.rawFont().familyName() for run in layout.glyphRuns()] == ["MedViewer Noto Sans SC"]


def test_all_digits_have_one_width() -> None:
    metrics = QFontMetricsF(theme.text_font(theme.VALUE_PX))
    widths = {metrics.horizontalAdvance(digit) for digit in "0123456789"}
    assert len(widths) == 1


def test_the_fonts_cover_latin_greek_cyrillic_and_gb2312() -> None:
    inter = QRawFont(str(resource("fonts/Inter-Regular.otf")), 13)
    chinese = QRawFont(str(resource("fonts/NotoSansSC-Regular.otf")), 13)
    assert all(inter.supportsCharacter(ord(c)) for c in "AzÄéñçŁőŞ ΑΩαω АЯая ≥ ≤ ± × µ ° ₂ – … → ⟨⟩")
    gb2312 = [bytes((high, low)) for high in range(0xB0, 0xF8) for low in range(0xA1, 0xFF)]
    characters = {c for pair in gb2312 if len(c := pair.decode("gb2312", errors="ignore")) == 1}
    assert len(characters) == 6763
    assert [c for c in characters if not chinese.supportsCharacter(ord(c))] == []

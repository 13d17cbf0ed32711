from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QIcon

import medviewer.gui
from medviewer.app.commands import COMMANDS
from medviewer.gui import icons, theme
from medviewer.gui.tool_bar import _ROW
from medviewer.resources import resource

FILES = sorted(resource("icons").glob("*.svg"))
GUI = Path(medviewer.gui.__file__).parent


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_icon_draws_something_in_its_tint(path: Path) -> None:
    picture = icons.pixmap(path.stem, theme.tokens().accent, 24, ratio=2.0).toImage()
    assert picture.width() == 48
    seen = {
        picture.pixelColor(x, y).name() for x in range(48) for y in range(48) if picture.pixelColor(x, y).alpha() == 255
    }
    assert theme.tokens().accent in seen
    corner = picture.pixelColor(0, 0)
    assert corner.alpha() == 0


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_icon_is_a_plain_drawing_of_one_style(path: Path) -> None:
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))  # noqa: S314 - our own files
    assert root.get("viewBox") == "0 0 24 24"
    assert root.get("stroke") == "currentColor"
    assert root.get("stroke-width") == "2"
    allowed = {"svg", "path", "circle", "rect", "line", "polyline", "polygon", "ellipse"}
    assert {element.tag.split("}")[-1] for element in root.iter()} <= allowed


def test_tools_can_be_told_apart_by_their_icons_alone() -> None:
    row = [COMMANDS[command_id].icon for command_id in _ROW if command_id in COMMANDS]
    shown = [*row, COMMANDS["help.palette"].icon, "layout-grid"]
    assert len(set(shown)) == len(shown)
    drawn = {name: icons.pixmap(name, "#ffffff", 16, ratio=1.0).toImage() for name in shown}
    ink = {
        name: {(x, y) for x in range(16) for y in range(16) if picture.pixelColor(x, y).alpha() > 96}
        for name, picture in drawn.items()
    }
    for first, second in combinations(shown, 2):
        both = ink[first] & ink[second]
        assert len(both) < 0.75 * len(ink[first] | ink[second]), (first, second)


def test_every_icon_that_is_named_is_there() -> None:
    there = {path.stem for path in FILES}
    named = {row.icon for row in COMMANDS.values() if row.icon}
    pattern = re.compile(r"(?:icon|pixmap|IconLabel)\(\s*\"([a-z0-9-]+)\"|\"([a-z]+(?:-[a-z0-9]+)+)\"")
    for path in GUI.rglob("*.py"):
        for first, _ in pattern.findall(path.read_text(encoding="utf-8")):
            if first:
                named.add(first)
    assert named <= there


def test_an_icon_is_sharp_on_a_fine_screen(qapp) -> None:
    made = icons.icon("folder-open")
    assert made.pixmap(QSize(16, 16), 2.0).size() == QSize(32, 32)
    assert made.pixmap(QSize(16, 16), 1.0).size() == QSize(16, 16)


def test_a_disabled_icon_is_quieter(qapp) -> None:
    made = icons.icon("play")
    normal = made.pixmap(QSize(24, 24), 1.0, QIcon.Mode.Normal).toImage()
    disabled = made.pixmap(QSize(24, 24), 1.0, QIcon.Mode.Disabled).toImage()
    assert normal != disabled


def test_an_unknown_icon_is_an_error(qapp) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-icon"):
        icons.icon("no-such-icon")

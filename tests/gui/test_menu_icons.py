"""Icons of menus: drawn when a menu is opened, in the theme in use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from PySide6.QtCore import QPoint, QSize
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QMenu

from medviewer.app.commands import COMMANDS
from medviewer.gui import theme
from medviewer.gui.icons import icon
from medviewer.gui.text import for_button, tr_pick
from medviewer.gui.window import MainWindow


@pytest.fixture(autouse=True)
def plain_theme(main_window: MainWindow) -> Iterator[None]:
    yield
    main_window.app.run_command("app.prefer", ("theme", "dark"))


def shown(menu: QMenu) -> QMenu:
    """Open a menu as the reader would, and shut it again."""
    menu.popup(QPoint(0, 0))
    QApplication.processEvents()
    menu.close()
    return menu


def menus_of(window: MainWindow) -> list[QMenu]:
    """The menus behind the menu button."""
    whole = window.tools.menu_button.menu()
    assert isinstance(whole, QMenu)
    return [action.menu() for action in whole.actions()]


def picture(worn: Any) -> QImage:
    image: QImage = worn.pixmap(QSize(16, 16)).toImage()
    return image


def wanted() -> dict[str, str]:
    """The icon that each title has in the table of commands."""
    return {for_button(tr_pick(row.title)): row.icon for row in COMMANDS.values() if row.icon and row.menu}


def test_every_row_of_every_menu_has_its_icon_once_it_is_seen(main_window: MainWindow) -> None:
    icons, seen = wanted(), set()
    for menu in menus_of(main_window):
        for action in shown(menu).actions():
            if action.text() in icons:
                assert picture(action.icon()) == picture(icon(icons[action.text()])), action.text()
                seen.add(action.text())
    assert seen == set(icons)


@pytest.mark.parametrize("make", ["image_menu", "measuring_menu"])
def test_so_have_the_menus_over_the_image_and_of_the_tools(main_window: MainWindow, make: str) -> None:
    menu = shown(getattr(main_window.actions_, make)(main_window))
    rows = [action for action in menu.actions() if action.text() in wanted()]
    assert rows
    assert not [action.text() for action in rows if action.icon().isNull()]


def test_what_was_never_looked_at_is_not_drawn(main_window: MainWindow) -> None:
    rows = {action.text(): action for menu in menus_of(main_window) for action in menu.actions()}
    undrawn = [text for text, action in rows.items() if text in wanted() and action.icon().isNull()]
    assert len(undrawn) > 50


def test_an_action_that_is_asked_for_brings_its_icon(main_window: MainWindow) -> None:
    assert not main_window.actions_.action("file.print").icon().isNull()


def test_icons_are_of_the_theme_in_which_the_menu_is_opened(main_window: MainWindow) -> None:
    menu = shown(menus_of(main_window)[0])
    action = next(action for action in menu.actions() if action.text() in wanted())
    before = picture(action.icon())
    main_window.app.run_command("app.prefer", ("theme", "light"))
    assert theme.tokens() is theme.THEMES["light"]
    for menu in menus_of(main_window):
        for row in shown(menu).actions():
            if row.text() in wanted():
                assert picture(row.icon()) == picture(icon(wanted()[row.text()])), row.text()
    assert picture(action.icon()) != before

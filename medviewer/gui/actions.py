"""Qt's actions, made from the command table: menus, tool bar and shortcuts all share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QWidget

from medviewer.app.commands import COMMANDS, MENUS, Choice, Command, choices_now, command
from medviewer.app.shortcuts import choice_place, normal_keys, with_changes
from medviewer.app.state import State
from medviewer.app.viewing import preset_window
from medviewer.gui.icons import icon
from medviewer.gui.text import for_button, plain_tooltip, tr, tr_pick, visible

# Shorter words for the tool bar, where a menu's title would be too long.
_SHORT = {
    "file.open_folder": "Open", "tool.window": "W/L", "view.fit": "Fit", "view.actual_size": "Actual size",
    "view.rotate_right": "Rotate", "view.flip_horizontal": "Flip", "view.reset": "Reset",
    "explain.toggle": "Heat map", "model.run": "Run", "help.palette": "Search", "tool.cobb": "Cobb",
    "tool.bidirectional": "Axes", "tool.rectangle": "Rectangle", "tool.ellipse": "Ellipse",
    "tool.freehand": "Freehand", "tool.probe": "Probe", "tool.cardiothoracic": "CTR",
}  # fmt: skip
# Keys that move the focus or a selection elsewhere: they mean the image only while it has the focus.
_IMAGE_KEYS = frozenset({
    "Up", "Down", "Left", "Right", "Home", "End", "PgUp", "PgDown", "Tab", "Backtab", "Space", "Return", "Enter",
    "Ctrl+A", "Ctrl+C", "Ctrl+V", "Ctrl+X",
})  # fmt: skip
_SEPARATED = frozenset({
    "file.save_results", "file.export_image", "file.print", "file.close", "app.quit", "view.preset", "view.rotate_left",
    "view.reset", "view.hide_identity", "series.previous", "image.first", "image.cine",
    "image.key", "image.tags", "layer.toggle", "job.cancel",
    "volume.preset", "volume.roll_left", "volume.cut_deeper", "volume.fit",
    "tool.rectangle", "tool.calibration", "measure.rename", "measure.save_report",
    "explain.toggle", "finding.accept", "app.language", "layout.hang", "layout.prior",
})  # fmt: skip
_IMAGE_MENU = (
    "view.fit", "view.actual_size", "view.preset", "", "view.invert", "view.rotate_left", "view.rotate_right",
    "view.flip_horizontal", "view.flip_vertical", "view.reset", "", "layout.planes", "volume.show", "image.key", "",
    "measure.rename", "measure.delete",
    "", "model.run", "explain.toggle", "", "view.corner_text", "view.hide_identity", "view.panels", "",
    "file.copy_image", "file.export_image", "image.tags",
)  # fmt: skip

TOOLS = tuple(command_id for command_id in COMMANDS if command_id.startswith("tool."))
MEASURING_TOOLS = tuple(command_id for command_id in TOOLS if COMMANDS[command_id].menu == "measure")

Run = Callable[[str, Any], None]


def native_keys(shortcut: str) -> str:
    """A key sequence as this system writes it: ``Ctrl+O``, ``⌘O``."""
    return QKeySequence(shortcut).toString(QKeySequence.SequenceFormat.NativeText) if shortcut else ""


class Actions:
    """One action a command, and one for each choice of those that offer some."""

    def __init__(self, window: QWidget, run: Run) -> None:
        self._window = window
        self._run = run
        self._actions: dict[str, QAction] = {}
        self._choices: dict[tuple[str, int], QAction] = {}
        self._homes: list[tuple[QWidget, QWidget]] = []  # windows that listen to keys, each with its images
        self._twins: dict[str, QAction] = {}  # by place: further keys, for the image alone
        self._undrawn: dict[
            str, str
        ] = {}  # icons by command, until somebody looks: to draw all takes a tenth of a second
        self._table: Mapping[str, Command] = COMMANDS  # with the reader's own keys
        self._first_keys: dict[str, str] = {}
        self._state = State()
        for row in COMMANDS.values():
            if not row.needs_argument:
                self._actions[row.id] = self._make(row)
            for number, choice in enumerate(row.choices):
                self._choices[row.id, number] = self._make_choice(row, choice)
        for command_id in TOOLS:
            self._actions[command_id].setCheckable(True)
        self._actions["explain.toggle"].setCheckable(True)

    def commands(self) -> tuple[Command, ...]:
        """The table that they are made from, with the reader's own keys."""
        return tuple(self._table.values())

    def shortcuts(self) -> Mapping[str, str]:
        """The first shortcut of each command, as this system writes it; it follows the reader's changes."""
        return self._first_keys

    def action(self, command_id: str) -> QAction:
        """The action of a command, with its icon."""
        self._draw(command_id)
        return self._actions[command_id]

    def focus_on(self, homes: Iterable[tuple[QWidget, QWidget]]) -> None:
        """Let the keys work in windows, each with its images; those that also move a focus only while those have it.

        Before the first state is shown, which gives the keys.
        """
        self._homes = list(homes)

    def show_state(self, old: State | None, new: State) -> None:
        """Enable what makes sense now; check the tool in use; speak the language."""
        self._state = new
        if old is None or old.shortcuts is not new.shortcuts:
            self._table = with_changes(COMMANDS, new.shortcuts)
            self._use_keys()
            self._translate()
        elif old.language != new.language:
            self._translate()
        if old is None or old.hanging is not new.hanging:
            self._offer_choices()
        for command_id, action in self._actions.items():
            action.setEnabled(command(command_id).enabled(new))
        for (command_id, _), action in self._choices.items():
            action.setEnabled(command(command_id).enabled(new))
        self._actions["explain.toggle"].setChecked(new.overlay.visible)
        if old is None or old.tool != new.tool:
            for command_id in TOOLS:
                self._actions[command_id].setChecked(command_id == f"tool.{new.tool}")

    def whole_menu(self, parent: QWidget) -> QMenu:
        """All menus as one, for the menu button."""
        whole = QMenu(parent)
        for name, title in MENUS.items():
            self._fill(whole.addMenu(for_button(tr_pick(title))), name)
        return whole

    def measuring_menu(self, parent: QWidget) -> QMenu:
        """The tools to measure with, for the tool bar."""
        menu = QMenu(parent)
        for command_id in MEASURING_TOOLS:
            if command_id in _SEPARATED:
                menu.addSeparator()
            self._add(menu, command(command_id))
        return menu

    def menu_of(self, name: str, parent: QWidget) -> QMenu:
        """One of the menus by itself, for a button of its own."""
        menu = QMenu(parent)
        self._fill(menu, name)
        return menu

    def image_menu(self, parent: QWidget) -> QMenu:
        """What is wanted over the image."""
        menu = QMenu(parent)
        for command_id in _IMAGE_MENU:
            if command_id:
                self._add(menu, command(command_id))
            else:
                menu.addSeparator()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        return menu

    def _fill(self, menu: QMenu, name: str) -> None:
        for row in COMMANDS.values():
            if row.menu == name:
                if row.id in _SEPARATED:
                    menu.addSeparator()
                self._add(menu, row)

    def _add(self, menu: QMenu, row: Command) -> None:
        if not row.choices:
            menu.addAction(self._actions[row.id])
            menu.aboutToShow.connect(partial(self._draw, row.id))
            return
        sub = menu.addMenu(for_button(tr_pick(row.title)))
        if row.icon:
            menu.aboutToShow.connect(lambda: sub.setIcon(icon(row.icon)))
        for number in range(len(row.choices)):
            sub.addAction(self._choices[row.id, number])
        # What a preset does depends on the image on screen, and takes a while to find out: named when it is looked at.
        sub.aboutToShow.connect(partial(self._name_choices, row))

    def _draw(self, command_id: str) -> None:
        """Give an action its icon, if it has none yet."""
        name = self._undrawn.pop(command_id, "")
        if name:
            self._actions[command_id].setIcon(icon(name))

    def _offer_choices(self) -> None:
        """Hide the choices that there are not now, at once and not only in an open menu: what is hidden has no keys."""
        counts = {row.id: len(choices_now(row, self._state)) for row in COMMANDS.values() if row.choices}
        for (command_id, number), action in self._choices.items():
            action.setVisible(number < counts[command_id])

    def _name_choices(self, row: Command) -> None:
        choices = choices_now(row, self._state)
        for number in range(len(row.choices)):
            action = self._choices[row.id, number]
            if number < len(choices):
                action.setText(for_button(visible(self._choice_title(row, choices[number]))))

    def _choice_title(self, row: Command, choice: Choice) -> str:
        """A preset is called what it does to the image on screen."""
        if row.id == "view.preset" and choice.argument and self._state.frame is not None:
            window = preset_window(self._state, choice.argument)
            if window is not None:
                name = tr(window.name) if window.name else tr_pick(choice.title)
                return f"{name}  ({window.width:g} / {window.center:g})"
        return tr_pick(choice.title)

    def _make(self, row: Command) -> QAction:
        action = QAction("", self._window)
        if row.icon:
            self._undrawn[row.id] = row.icon
        # A checkable action hands over whether it is checked: not an argument of the command.
        action.triggered.connect(partial(self._trigger, row.id, None))
        return action

    def _make_choice(self, row: Command, choice: Choice) -> QAction:
        action = QAction("", self._window)
        action.triggered.connect(partial(self._trigger, row.id, choice.argument))
        return action

    def _trigger(self, command_id: str, argument: Any, _is_checked: bool = False) -> None:
        self._run(command_id, argument)
        if command_id == "explain.toggle":  # Qt has turned the check round, also where the command did nothing
            self._actions[command_id].setChecked(self._state.overlay.visible)
        if command_id.startswith("tool."):  # clicking the tool in use must not leave the left button without one
            self._actions[command_id].setChecked(self._state.tool == command_id.removeprefix("tool."))

    def _translate(self) -> None:
        for command_id, action in self._actions.items():
            row = self._table[command_id]
            title = tr_pick(row.title)
            action.setText(for_button(title))
            action.setIconText(for_button(tr(_SHORT[command_id]) if command_id in _SHORT else title))
            keys = f" ({native_keys(row.shortcut)})" if row.shortcut else ""
            action.setToolTip(plain_tooltip(f"{title}{keys}"))
        for (command_id, number), action in self._choices.items():
            action.setText(for_button(tr_pick(command(command_id).choices[number].title)))

    def _use_keys(self) -> None:
        """Give every action its keys, and each key the place where it works."""
        self._first_keys.clear()
        self._first_keys.update({row.id: native_keys(row.shortcut) for row in self._table.values() if row.shortcut})
        for row in self._table.values():
            if row.id in self._actions:
                self._give_keys(self._actions[row.id], row.id, [k for k in (row.shortcut, *row.more_shortcuts) if k])
            for number, choice in enumerate(row.choices):
                keys = [choice.shortcut] if choice.shortcut else []
                self._give_keys(self._choices[row.id, number], choice_place(row.id, number), keys)

    def _give_keys(self, action: QAction, place: str, keys: list[str]) -> None:
        """All keys to the action; of both kinds, those of the image alone to its twin."""
        images = [k for k in keys if _is_image_key(k)]
        others = [k for k in keys if k not in images]
        self._listen(action, others or images, in_image_only=bool(images) and not others)
        if images and others and place not in self._twins:
            twin = self._twins[place] = QAction(self._window)
            twin.triggered.connect(action.trigger)
        if place in self._twins:
            self._listen(self._twins[place], images if others else [], in_image_only=True)

    def _listen(self, action: QAction, keys: list[str], *, in_image_only: bool) -> None:
        action.setShortcuts([QKeySequence(k) for k in keys])
        context = Qt.ShortcutContext.WidgetShortcut if in_image_only else Qt.ShortcutContext.WindowShortcut
        action.setShortcutContext(context)
        for window, images in self._homes:
            here, there = (images, window) if in_image_only else (window, images)
            there.removeAction(action)
            if action not in here.actions():
                here.addAction(action)


def _is_image_key(keys: str) -> bool:
    """Whether fields, lists and buttons need it too: with Shift it marks text."""
    return normal_keys(keys).removeprefix("Shift+") in _IMAGE_KEYS

"""The settings of a recipe: values in a table, paths below it, and what is wrong with any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtWidgets import QVBoxLayout, QWidget

from medviewer.app.training_recipe import Recipe
from medviewer.domain.errors import UsageError
from medviewer.gui.cards import SignalRow, clear
from medviewer.gui.path_field import PathField
from medviewer.gui.settings_table import SettingsTable
from medviewer.gui.text import PlainLabel, tr, tr_pick, visible


class RecipeSettings(QWidget):
    """Shows every setting with its value; ``changed`` is told of each that the reader changes, wrong ones too."""

    def __init__(self, recipe: Recipe, given: Mapping[str, str], changed: Callable[[str, str], None]) -> None:
        super().__init__()
        self.setProperty("kind", "clear")
        self._recipe, self._given, self._changed = recipe, dict(given), changed
        self._fields: dict[str, PathField] = {}
        self._refused: dict[str, str] = {}
        self._at = ""  # the setting at which the reader is
        self._meaning = PlainLabel("", "secondary", wrap=True)
        self._sentences = QVBoxLayout()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        hint = tr("Leave them as they are unless you know why: they were chosen on validation patients.")
        column.addWidget(PlainLabel(hint, "secondary", wrap=True))
        self._table = self._add_table(column)
        for name in recipe.paths:
            self._add_path(column, name)
        column.addLayout(self._sentences)
        self._check()

    def _add_table(self, column: QVBoxLayout) -> SettingsTable | None:
        if not self._recipe.settings:
            return None
        meanings = {name: tr(tr_pick(words)) for name, words in self._recipe.meanings.items()}
        values = {name: self._given.get(name, value) for name, value in self._recipe.settings.items()}
        table = SettingsTable(values, self._change, meanings)
        table.chosen.connect(self._tell)
        column.addWidget(table)
        column.addWidget(self._meaning)
        self._tell("")
        return table

    def _tell(self, name: str) -> None:
        """Say the whole of what the setting is at which the reader is; there is no room for that in the table."""
        self._at = name
        said = self._refused.get(name) or tr(tr_pick(self._recipe.meanings.get(name, "")))
        self._meaning.setText(f"{name}: {said}" if said else "")
        self._meaning.set_role("alarm" if name in self._refused else "secondary")
        self._meaning.setVisible(bool(said))

    def _add_path(self, column: QVBoxLayout, name: str) -> None:
        """A setting that is a path: its name, what it is for, and its field."""
        setting = self._recipe.paths[name]
        field = PathField(
            name,
            (setting.kind,),
            lambda path: self._change(name, str(path)),
            files=setting.suffixes,
            forget=lambda: self._change(name, ""),
        )
        self._fields[name] = field
        group = QVBoxLayout()
        group.setContentsMargins(0, 8, 0, 0)
        group.setSpacing(2)
        group.addWidget(PlainLabel(name))
        group.addWidget(PlainLabel(visible(tr_pick(setting.about)), "small", wrap=True))
        group.addSpacing(4)
        group.addWidget(field)
        column.addLayout(group)

    def _change(self, name: str, text: str) -> None:
        self._given[name] = text
        self._changed(name, text)
        self._check()

    def _check(self) -> None:
        """Say what the recipe would refuse, of each setting by itself."""
        refused = {name: self._refusal({name: text}) for name, text in self._given.items()}
        self._refused = {name: sentence for name, sentence in refused.items() if sentence}
        together = "" if self._refused else self._refusal(self._given)
        clear(self._sentences)
        for sentence in filter(None, (*self._refused.values(), together)):
            self._sentences.addWidget(SignalRow("alarm", sentence, word=tr("This cannot be used")))
        if self._table is not None:
            self._table.show_refused(self._refused)
            self._tell(self._at)
        for name, field in self._fields.items():
            is_folder = self._recipe.paths[name].kind == "folder"
            hint = tr("Choose a folder, or drop it here.") if is_folder else tr("Choose a file, or drop it here.")
            field.show_path(self._given.get(name, ""), hint, self._refused.get(name, ""))

    def _refusal(self, given: Mapping[str, str]) -> str:
        try:
            self._recipe.check_settings(given)
        except UsageError as error:
            return visible(tr(str(error)))
        return ""

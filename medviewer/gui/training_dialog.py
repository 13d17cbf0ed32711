"""Training: choose a recipe and data, look at them, watch it learn, compare, and put the model into use.

It is not modal: the viewer stays usable, and a training goes on when this is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from medviewer.app.application import Application
from medviewer.app.model_shelf import ModelShelf
from medviewer.app.state import State
from medviewer.app.trainer import COMPARE_JOB, DATA_JOB, LIST_JOB, Stage
from medviewer.app.training_recipe import Recipe
from medviewer.gui.buttons import ButtonRow
from medviewer.gui.cards import Card, Disclosure, ScrollColumn, SignalRow, button, clear, section
from medviewer.gui.dialogs import Dialog, add_close, size_on_screen
from medviewer.gui.path_field import PathField, Way
from medviewer.gui.recipe_settings import RecipeSettings
from medviewer.gui.replacing import replacing_words
from medviewer.gui.save_dialog import open_path
from medviewer.gui.text import (
    ElidedLabel,
    PlainLabel,
    for_button,
    language,
    set_tooltip,
    tr,
    tr_pick,
    use_language,
    visible,
)
from medviewer.gui.training_cards import about_rows, comparison_card, data_card, figures_card, unmeasurable
from medviewer.gui.training_live import LiveTraining

_LIST_PX = 240
_LINE_PX = 14  # around the two lines of a recipe in the list
_REDRAW_MS = 200  # a step may take a hundredth of a second


class TrainingDialog(Dialog):
    """One recipe at the right, as far as it is: its data and settings, its run, or its model."""

    def __init__(self, app: Application, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._app, self.trainer = app, app.training
        self.shelf = ModelShelf(app, self._show)
        self._edited: dict[str, dict[str, str]] = {}
        self._unfolded: set[str] = set()  # the recipes whose settings are looked at
        self._live: LiveTraining | None = None
        self._drawn: tuple[object, ...] = ()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(size_on_screen(QSize(960, 720), self.screen().availableSize()))
        self.list = QListWidget()
        self._right = ScrollColumn(margin=4)
        self._title, self._said_below = PlainLabel("", "hero"), PlainLabel("", "secondary", wrap=True)
        self._close = self._lay_out()
        self._translate()
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._show)
        self.list.currentRowChanged.connect(lambda _row: self._show())
        self.trainer.told = self._show_soon
        self._unwatch = app.session.watch(self._follow)
        self.finished.connect(self._end)
        if not self.trainer.recipes:
            self.trainer.list_recipes()
        self._show()

    def _lay_out(self) -> QPushButton:
        """Put everything in its place; returns the button that closes."""
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 16, 0, 12)
        whole.setSpacing(12)
        head = QVBoxLayout()
        head.setContentsMargins(20, 0, 20, 0)
        head.setSpacing(4)
        head.addWidget(self._title)
        head.addWidget(self._said_below)
        whole.addLayout(head)
        halves = QHBoxLayout()
        halves.setContentsMargins(20, 0, 20, 0)
        halves.setSpacing(16)
        self.list.setFixedWidth(self._list_px)
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        halves.addWidget(self.list)
        halves.addWidget(self._right, 1)
        whole.addLayout(halves, 1)
        return add_close(self, whole)

    def _translate(self) -> None:
        """Say what stays, whatever is shown, in the language in use."""
        self.setWindowTitle(tr("Train a model"))
        self._title.setText(tr("Train a model"))
        self._said_below.setText(tr("It learns in a process of its own while you go on reading. Research use only."))
        self.list.setAccessibleName(tr("Recipes"))
        self._right.setAccessibleName(tr("The recipe"))
        self._close.setText(for_button(tr("Close")))

    def _follow(self, old: State, new: State) -> None:
        """Speak another language at once: this dialog stays open beside the window in which it is chosen."""
        if old.language != new.language:
            use_language(new.language)
            self._translate()
            self._show()

    def _end(self, _result: int) -> None:
        self._unwatch()
        self.trainer.told = lambda: None
        self._later.stop()
        self.shelf.close()
        if self.trainer.is_running:
            self._app.notify("info", "The training goes on; Train a model shows how far it is.")

    # what is shown

    @property
    def chosen(self) -> Recipe | None:
        """The recipe that is chosen in the list."""
        row, recipes = self.list.currentRow(), self.trainer.recipes
        return recipes[row] if 0 <= row < len(recipes) else None

    def _show_soon(self) -> None:
        if not self._later.isActive():
            self._later.start(_REDRAW_MS)

    def _show(self) -> None:
        """Draw what differs: a run that goes on moves its bar and curves only."""
        self._fill_list()
        recipe = self.chosen
        now = self._looks()
        if now != self._drawn:
            self._redraw(recipe, now)
        if self._live is not None and self.trainer.live is not None and recipe is not None:
            self._live.show_progress(self.trainer.live, is_running=self.trainer.stage(recipe.name) == "running")

    def _redraw(self, recipe: Recipe | None, looks: tuple[object, ...]) -> None:
        """Draw the right half anew; the keyboard stays in it, and the reader's place unless something is said above."""
        before, self._drawn = self._drawn, looks
        place = self._right.verticalScrollBar().value() if before[:3] == looks[:3] else 0
        had_keyboard = self._right.isAncestorOf(self.focusWidget() or self)
        self._live = None
        self._right.setUpdatesEnabled(False)  # until it has its sizes
        clear(self._right.column)
        for part in self._parts(recipe):
            self._right.column.addWidget(part)
        if had_keyboard:
            self._right.setFocus(Qt.FocusReason.OtherFocusReason)
        QTimer.singleShot(0, self._right, lambda: self._settle(place))

    def _settle(self, place: int) -> None:
        """Show what was drawn anew, once its layout has its sizes."""
        self._right.verticalScrollBar().setValue(place)
        self._right.setUpdatesEnabled(True)

    def _looks(self) -> tuple[object, ...]:
        """What the right half is drawn from, but for the run that goes on: recipe, stage, what is said, the rest."""
        recipe, trainer, shelf = self.chosen, self.trainer, self.shelf
        spoken = language()
        jobs = tuple(trainer.is_doing(job) for job in (LIST_JOB, DATA_JOB, COMPARE_JOB))
        if recipe is None:
            return (None, trainer.problems.get(""), jobs, spoken)
        name = recipe.name
        said = (trainer.problems.get(name), id(shelf.waiting), shelf.problem, shelf.done)
        found = (id(trainer.reports.get(name)), id(trainer.comparisons.get(name)), trainer.data_of(name))
        return (name, trainer.stage(name), said, trainer.is_running, found, jobs, shelf.is_busy, spoken)

    def _fill_list(self) -> None:
        lines = [f"{visible(tr_pick(one.title))}\n{_stage_words(self.trainer.stage(one.name))}" for one in self.recipes]
        if [self.list.item(row).text() for row in range(self.list.count())] == lines:
            return
        row = max(self.list.currentRow(), 0)
        self.list.blockSignals(True)
        self.list.clear()
        for line in lines:
            self.list.addItem(QListWidgetItem(line))
        self._give_rows_room()
        self.list.setCurrentRow(min(row, len(lines) - 1))
        self.list.blockSignals(False)

    @property
    def _list_px(self) -> int:
        """As wide as it may be: on a small screen the recipe itself needs the room."""
        return min(_LIST_PX, self.width() * 2 // 5)

    def _give_rows_room(self) -> None:
        width = self._list_px - 2 * _LINE_PX
        metrics, flags = self.list.fontMetrics(), int(Qt.TextFlag.TextWordWrap)
        for item in (self.list.item(row) for row in range(self.list.count())):
            tall = metrics.boundingRect(0, 0, width, 1000, flags, item.text()).height()
            item.setSizeHint(QSize(0, tall + _LINE_PX))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """The list gives way in a narrow window."""
        super().resizeEvent(event)
        if self.list.width() != self._list_px:
            self.list.setFixedWidth(self._list_px)
            self._give_rows_room()

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """What can be trained."""
        return self.trainer.recipes

    def _parts(self, recipe: Recipe | None) -> list[QWidget]:
        trainer = self.trainer
        if recipe is None:
            if trainer.is_doing(LIST_JOB):
                return [SignalRow("info", tr("The recipes are being listed…"), word="")]
            problem = trainer.problems.get("", "")
            return [SignalRow("alarm", tr(problem), word=tr("Nothing can be trained here"))] if problem else []
        stage = trainer.stage(recipe.name)
        parts = about_rows(recipe)
        parts += self._said(recipe)
        if recipe.problem:
            return [*parts, SignalRow("alarm", visible(tr(recipe.problem)), word=tr("It cannot be trained here"))]
        if stage == "running":
            return [*parts, *self._live_part()]
        if stage == "trained":
            again = Disclosure(tr("Train it again"))
            for part in self._preparation(recipe, stage):
                again.content.addWidget(part)
            return [*parts, *self._model_part(recipe), *self._past_part(recipe), again]
        if stage == "unfinished":
            parts += self._unfinished_part(recipe)
        return parts + self._preparation(recipe, stage)

    def _said(self, recipe: Recipe) -> list[QWidget]:
        """What was refused or done, or the question that waits for an answer."""
        problems = filter(None, (self.trainer.problems.get(recipe.name), self.shelf.problem))
        found: list[QWidget] = [SignalRow("alarm", visible(tr(one)), word=tr("It did not work")) for one in problems]
        if self.shelf.done:
            found.append(SignalRow("good", tr(self.shelf.done)))
        waiting = self.shelf.waiting
        if waiting is not None:
            said = replacing_words(self.shelf.store, waiting, tr_pick(recipe.title))
            found.append(self._question(said, tr("Replace"), self.shelf.confirm, waiting.objections))
        return found

    def _question(self, said: str, yes: str, then: Callable[[], None], objections: tuple[str, ...] = ()) -> Card:
        card = Card(signal="caution")
        card.add(SignalRow("caution", said, word=yes + "?"))
        for objection in objections:
            card.add(SignalRow("alarm", tr(objection), word=tr("Against it")))
        agree, leave = button(yes), button(tr("Leave it as it is"), kind="primary")
        agree.clicked.connect(then)
        leave.clicked.connect(self.shelf.cancel)
        card.add(ButtonRow((leave, agree)))
        return card

    # before it learns

    def _preparation(self, recipe: Recipe, stage: Stage) -> list[QWidget]:
        """Data, settings, and the beginning."""
        trainer, name = self.trainer, recipe.name
        where = trainer.data_of(name)
        look = button(tr("Look at the data"), "list-tree")
        begin = button(tr("Begin anew") if stage != "new" else tr("Begin"), "play", kind="primary")
        look.clicked.connect(lambda: trainer.look_at_data(name, Path(where), self._settings(recipe)))
        begin.clicked.connect(lambda: self._begin(recipe))
        is_looking = trainer.is_doing(DATA_JOB)
        look.setEnabled(bool(where) and not is_looking)
        begin.setEnabled(bool(where) and not trainer.is_running)
        parts: list[QWidget] = [section(tr("Training data")), self._data_field(recipe), ButtonRow((look,))]
        if is_looking:
            parts += [SignalRow("info", tr("The data are being read…"), word=""), self._cancel()]
        report = trainer.reports.get(name)
        if report is not None:
            whole = button(tr("Open the whole report"), "file-text")
            whole.clicked.connect(lambda: open_path(trainer.report_page(name)))
            parts += [data_card(report), ButtonRow((whole,))]
        if recipe.settings or recipe.paths:
            parts.append(self._settings_fold(recipe))
        if stage == "unfinished":
            parts.append(PlainLabel(tr("To begin anew removes the unfinished run."), "secondary", wrap=True))
        if stage == "trained" and not trainer.is_in_use(name):
            words = tr("To begin anew removes the model that was trained before and is not in use.")
            parts.append(PlainLabel(words, "secondary", wrap=True))
        if trainer.is_running:
            parts.append(SignalRow("info", tr("Another recipe is being trained; one at a time."), word=""))
        return [*parts, ButtonRow((begin,))]

    def _data_field(self, recipe: Recipe) -> PathField:
        ways: tuple[Way, ...] = ("folder", "file") if recipe.files else ("folder",)
        title = tr("Training data")
        field = PathField(title, ways, lambda path: self.use_data(recipe.name, path), files=recipe.files)
        hint = tr("Choose a folder, or drop it here.")
        if recipe.files:
            words = tr("Choose a folder or a file ({kinds}), or drop it here.")
            hint = words.format(kinds=", ".join(recipe.files))
        field.show_path(self.trainer.data_of(recipe.name), hint)
        return field

    def _settings_fold(self, recipe: Recipe) -> Disclosure:
        name = recipe.name
        fold = Disclosure(tr("Settings"), is_open=name in self._unfolded)
        fold.toggled.connect(lambda is_open: (self._unfolded.add if is_open else self._unfolded.discard)(name))
        changed = self._edited.setdefault(name, {}).__setitem__
        fold.content.addWidget(RecipeSettings(recipe, self._settings(recipe), changed))
        return fold

    def _settings(self, recipe: Recipe) -> dict[str, str]:
        return {**recipe.settings, **self._edited.get(recipe.name, {})}

    def use_data(self, name: str, path: Path) -> None:
        """Take a folder or file for a recipe's data; what was seen of another one goes."""
        self.trainer.choose_data(name, path)
        self._show()

    def _begin(self, recipe: Recipe) -> None:
        self.shelf.let_go()
        self.trainer.begin(recipe.name, Path(self.trainer.data_of(recipe.name)), self._settings(recipe))
        self._show()

    def _unfinished_part(self, recipe: Recipe) -> list[QWidget]:
        plan = self.trainer.planned(recipe.name)
        if plan is None:
            return []
        box = Card()
        words = tr("A run of {date} was stopped; it goes on from its last checkpoint.").format(date=plan.begun[:10])
        box.add(SignalRow("info", words, word=tr("Unfinished")))
        box.add(ElidedLabel(plan.data, "secondary"))
        if plan.settings:
            said = ", ".join(f"{name} = {value}" for name, value in plan.settings.items())
            box.add(PlainLabel(visible(said), "secondary", wrap=True))
        go_on = button(tr("Go on"), "play", kind="primary")
        go_on.setEnabled(not self.trainer.is_running)
        go_on.clicked.connect(lambda: self.trainer.go_on(recipe.name))
        box.add(ButtonRow((go_on,)))
        return [box]

    # while it learns

    def _live_part(self) -> list[QWidget]:
        self._live = LiveTraining()
        self._live.stop.clicked.connect(self.trainer.stop)
        return [self._live]

    def _past_part(self, recipe: Recipe) -> list[QWidget]:
        """The curves of a run that this window has seen to its end."""
        plan = self.trainer.plan
        if self.trainer.live is None or plan is None or plan.recipe != recipe.name:
            return []
        self._live = LiveTraining()
        fold = Disclosure(tr("How it learned"))
        fold.content.addWidget(self._live)
        return [fold]

    # after it has learned

    def _model_part(self, recipe: Recipe) -> list[QWidget]:
        trainer, shelf, name = self.trainer, self.shelf, recipe.name
        new, old = trainer.new_card(name), trainer.present(name)
        if new is None:
            words = tr("The model that was trained is damaged; train it again.")
            return [SignalRow("alarm", words)]
        is_used, is_comparing = trainer.is_in_use(name), trainer.is_doing(COMPARE_JOB)
        parts: list[QWidget] = []
        if is_used:
            parts.append(SignalRow("good", tr("The trained model is in use."), word=f"{new.id} {new.version}"))
        other = old.card if old is not None and not is_used else None
        report = trainer.comparisons.get(name) if other is not None else None
        parts += [section(tr("How well it does")), figures_card(new, other)]
        if other is None and not is_used:
            parts.append(SignalRow("info", tr("There is no model in use to compare it with."), word=""))
        if report is not None:
            parts.append(comparison_card(report, new))
        if is_comparing:
            parts += [SignalRow("info", tr("Both models answer the held-out cases…"), word=""), self._cancel()]
        measure = button(tr("Measure both on the same cases"), "columns-2")
        page = button(tr("Open the whole report"), "file-text")
        use = button(tr("Put it into use"), "check", kind="primary")
        back = button(tr("Version before"), "history")
        measure.clicked.connect(lambda: trainer.compare(name))
        page.clicked.connect(lambda: open_path(trainer.comparison_page(name)))
        use.clicked.connect(lambda: trainer.promote(name, shelf))
        back.clicked.connect(lambda: trainer.take_back(name, shelf))
        for one in (measure, use, back):
            one.setEnabled(not is_comparing and not shelf.is_busy and shelf.waiting is None)
        if other is not None and (reason := unmeasurable(new, other)):
            measure.setEnabled(False)
            set_tooltip(measure, tr(reason))
            parts.append(SignalRow("info", visible(tr(reason)), word=""))
        row = [back] if is_used else [*([measure] if other is not None else []), use]
        parts.append(ButtonRow([*([page] if report is not None else []), *row]))
        if shelf.is_busy:
            parts.append(SignalRow("info", tr("Checking the model"), word=""))
        return parts

    def _cancel(self) -> QWidget:
        cancel = button(tr("Cancel"), "circle-x")
        cancel.clicked.connect(self.trainer.stop_looking)
        return ButtonRow((cancel,))


def _stage_words(stage: Stage) -> str:
    return {
        "new": tr("not trained here"),
        "running": tr("being trained"),
        "unfinished": tr("unfinished"),
        "trained": tr("trained"),
    }[stage]

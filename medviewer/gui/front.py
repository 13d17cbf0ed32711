"""What the application asks of its window: files, words, dialogs, pictures of what is on screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QStandardPaths, qVersion
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QFileDialog, QInputDialog, QMainWindow, QWidget

from medviewer.app.application import Application, Dialog
from medviewer.app.commands import COMMANDS
from medviewer.app.exporting import ExportWish, What
from medviewer.app.filming import Draw, FilmWish, way_of
from medviewer.app.hanging import protocol_of
from medviewer.app.on_screen import current_answer, current_attribution, pane_state, scene_of
from medviewer.app.panes import numbers_in, picture_of, seen_in, shape_of, window_of
from medviewer.app.picture import Picture
from medviewer.app.preferences import preferred
from medviewer.app.printing import PrintWish, page_of
from medviewer.app.result import Result
from medviewer.app.saving import Saved, SaveWish
from medviewer.app.shortcuts import Changes
from medviewer.app.state import State
from medviewer.gui.screens import kept_for_now, place_of, to_next_screen
from medviewer.gui.second_window import SecondWindow
from medviewer.gui.text import tr
from medviewer.gui.viewport import Viewport
from medviewer.gui.viewports import Viewports
from medviewer.imaging.element_list import ElementList

if TYPE_CHECKING:
    from medviewer.gui.command_palette import CommandPalette
    from medviewer.gui.image_export import DrawnImage
    from medviewer.gui.print_sheet import PrintedSheet
    from medviewer.gui.result_page import ResultPage
    from medviewer.gui.training_dialog import TrainingDialog
    from medviewer.gui.volume_view import VolumeView

# ruff: noqa: PLC0415 - what a dialog or a page needs is imported when it is first asked for: the window opens sooner

SECOND_NAME = "second"  # of the second image window, in what is kept of the layout


@contextmanager
def _answered(dialog: QDialog) -> Iterator[bool]:
    """Whether a dialog was accepted; it is let go once its answer was read, with what it holds about a patient."""
    try:
        yield dialog.exec() == QDialog.DialogCode.Accepted
    finally:
        dialog.deleteLater()


def _run(dialog: QDialog) -> None:
    """Show a dialog that has no answer, until it is closed."""
    with _answered(dialog):
        pass


class WindowFront(QMainWindow):
    """The half of the window that the application knows (:class:`medviewer.app.application.Front`)."""

    viewports: Viewports
    second: SecondWindow

    def __init__(self, app: Application) -> None:
        super().__init__()
        self.app = app
        self.training: TrainingDialog | None = None
        self.asks_before_closing = True  # while a model is being trained or a film saved
        app.front = self

    @cached_property
    def volume(self) -> VolumeView:
        """The 3D view."""
        raise NotImplementedError

    @cached_property
    def palette_(self) -> CommandPalette:
        """All commands, to be searched."""
        raise NotImplementedError

    @property
    def viewport(self) -> Viewport:
        """The viewport in which the reader works."""
        return self._images.active

    @property
    def _images(self) -> Viewports:
        """The viewports of the window in which the reader works."""
        return self.second.viewports if window_of(self.app.state.active) else self.viewports

    @property
    def over(self) -> QWidget:
        """The window in which the reader works: questions are asked over it."""
        return self.second if window_of(self.app.state.active) and self.second.isActiveWindow() else self

    def choose_folder(self, title: str) -> Path | None:
        """Ask for a folder."""
        chosen = QFileDialog.getExistingDirectory(self.over, tr(title), self._last_place())
        return Path(chosen) if chosen else None

    def choose_files(self, title: str) -> Sequence[Path] | None:
        """Ask for files."""
        chosen, _ = QFileDialog.getOpenFileNames(self.over, tr(title), self._last_place())
        return [Path(path) for path in chosen] or None

    def ask_text(self, title: str, question: str) -> str | None:
        """Ask for a line of text."""
        text, is_given = QInputDialog.getText(self.over, tr(title), tr(question))
        return text if is_given else None

    def placement(self) -> tuple[float, tuple[float, float]] | None:
        """The zoom and centre that are drawn now."""
        placed = self.viewport.placement()
        return (placed.zoom, placed.center) if placed is not None else None

    def has_drawn(self) -> bool:
        """Whether what is to be seen has been drawn; asked from any thread."""
        frame = self.app.state.frame
        try:
            return frame is None or self.viewport.painted_frame is frame
        except IndexError:  # the viewports of a new layout are just being made
            return False

    def show_dialog(self, what: Dialog) -> None:
        """Show one of the dialogs."""
        if what == "palette":
            self.palette_.show_for(self.app.state)
        elif what == "shortcuts":
            from medviewer.gui.shortcuts_dialog import ShortcutsDialog

            _run(ShortcutsDialog(COMMANDS.values(), self.app.state.shortcuts, self._use_shortcuts, self.over))
        elif what == "preferences":
            self._show_preferences()
        elif what == "protocols":
            self._show_protocols()
        elif what == "models":
            from medviewer.gui.models_dialog import ModelsDialog

            _run(ModelsDialog(self.app, self))
        elif what == "training":
            self._show_training()
        elif what == "molecule":
            from medviewer.gui.molecule_dialog import MoleculeDialog

            _run(MoleculeDialog(self.app, self.over))
        else:
            from medviewer.gui.about_dialog import AboutDialog

            _run(AboutDialog(self.over))

    def _show_training(self) -> None:
        """Show it beside the window, once: who trains goes on reading."""
        from medviewer.gui.training_dialog import TrainingDialog

        if self.training is None:
            self.training = TrainingDialog(self.app, self)
            self.training.finished.connect(self._forget_training)
        self.training.show()
        self.training.raise_()
        self.training.activateWindow()

    def _forget_training(self, _result: int) -> None:
        self.training = None

    def _show_preferences(self) -> None:
        from medviewer.gui.preferences_dialog import PreferencesDialog

        app = self.app
        dialog = PreferencesDialog(
            lambda name: preferred(app, name),
            lambda name, value: app.run_command("app.prefer", (name, value)),
            lambda: app.run_command("app.reset_preferences"),
            self.over,
        )
        _run(dialog)

    def _show_protocols(self) -> None:
        from medviewer.gui.hanging_dialog import HangingDialog

        app = self.app
        dialog = HangingDialog(
            app.state.hanging,
            lambda name: protocol_of(app.state, name),
            lambda protocols: app.run_command("layout.use_protocols", protocols),
            self.over,
        )
        _run(dialog)

    def ask_export(self) -> ExportWish | None:
        """Ask what of the image is saved, and where."""
        from medviewer.gui.image_export import ExportDialog

        dialog = ExportDialog(self.over, identity_hidden=self.app.state.identity_hidden)
        with _answered(dialog) as is_wanted:
            what, with_identity = dialog.what, dialog.is_identity_wanted
        if not is_wanted:
            return None
        folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation)
        proposed = str(Path(folder or Path.home()) / "image.png")
        chosen, _ = QFileDialog.getSaveFileName(self.over, tr("Export image"), proposed, "PNG (*.png)")
        return ExportWish(Path(chosen), what, with_identity=with_identity) if chosen else None

    def draw_image(self, what: What, *, with_identity: bool) -> DrawnImage | None:
        """Draw the image on screen as a picture that leaves the program."""
        from medviewer.gui.image_export import DrawnImage, stored_image, with_foot

        state = replace(self.app.state, identity_hidden=not with_identity)
        if scene_of(state) is not None:
            seen = self.volume.drawn(state, plain=what == "stored")
            return DrawnImage(with_foot(seen, state, with_identity=with_identity)) if seen is not None else None
        picture = picture_of(self.app, state.active, state)
        if picture is None:
            return None
        image = stored_image(picture, state) if what == "stored" else self.viewport.drawn(state)
        return DrawnImage(with_foot(image, state, with_identity=with_identity))

    def ask_film(self) -> FilmWish | None:
        """Ask what of the stack is filmed, and where to."""
        from medviewer.gui.film_dialog import FilmDialog

        now = self.app.state.selection
        if now is None:
            return None
        hidden, before = self.app.state.identity_hidden, self.app.settings.film
        dialog = FilmDialog(now, self.over, identity_hidden=hidden, last=before, way=way_of(self.app.state))
        with _answered(dialog) as is_wanted:
            if not is_wanted:  # what stands in its fields may be no number then
                return None
            wish = dialog.wish
        folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.MoviesLocation)
        suffix = wish.kind.suffix
        proposed = str(Path(folder or Path.home()) / f"film{suffix}")
        pattern = f"{suffix[1:].upper()} (*{suffix})"
        chosen, _ = QFileDialog.getSaveFileName(self.over, tr("Export film"), proposed, pattern)
        if not chosen:
            return None
        self.app.remember(film=suffix)
        return replace(wish, path=Path(chosen))

    def film_painter(self, what: What, *, with_identity: bool) -> Draw | None:
        """Draw images of the stack as the viewport that is active now would, whichever is active then."""
        from medviewer.gui.image_export import DrawnImage, stored_image, with_foot

        viewport = self.viewport

        def draw(shown: State, picture: Picture) -> DrawnImage:
            state = replace(shown, identity_hidden=not with_identity)
            assert state.selection is not None  # noqa: S101 - an image of the stack
            key = state.selection.image.key
            before = self.app.frames.get(key)
            self.app.frames.put(key, picture)
            seen = picture_of(self.app, state.active, state) or picture  # as a presentation state wishes it
            image = stored_image(seen, state) if what == "stored" else viewport.drawn(state)
            if before is not None:  # it may be on screen, and would have to be made again there
                self.app.frames.put(key, before)
            return DrawnImage(with_foot(image, state, with_identity=with_identity))

        return draw

    def ask_print(self) -> PrintWish | None:
        """Ask what is printed, and how; the page is seen before."""
        from medviewer.gui.print_dialog import PrintDialog

        is_hidden = self.app.state.identity_hidden
        first = PrintWish(page=page_of(self.app.settings.page))
        dialog = PrintDialog(first, self.draw_sheet, self.over, identity_hidden=is_hidden)
        with _answered(dialog) as is_wanted:
            return dialog.wish if is_wanted else None

    def draw_sheet(self, wish: PrintWish) -> PrintedSheet | None:
        """Draw the viewports on a page."""
        from medviewer.gui.print_sheet import PRINTED_SHARPNESS, PrintedSheet, are_of_several_days, head_of, panel_of

        state = replace(self.app.state, identity_hidden=not wish.with_identity)
        if state.selection is None:
            return None
        window = window_of(state.active)
        numbers = seen_in(state, window) if wish.every_viewport else (state.active,)
        is_all = len(numbers) == len(numbers_in(state, window))
        shape = shape_of(state, window) if is_all else (1, 1)
        panes = [pane_state(state, number) for number in numbers]
        is_dated = are_of_several_days(panes)
        panels = []
        for number, shown in zip(numbers, panes, strict=True):
            viewport = self._images.visible[number - numbers_in(state, window).start]
            image = viewport.drawn(shown, sharpness=PRINTED_SHARPNESS)
            panels.append(panel_of(image, shown, viewport.placed_for(shown), is_dated=is_dated))
        foot = tr("Research use only - not for diagnosis")
        return PrintedSheet(wish.page, shape, tuple(panels), head_of(state, panes), foot)

    def ask_save(self) -> SaveWish | None:
        """Ask what of the result is saved, and where."""
        from medviewer.gui.save_dialog import SaveDialog

        found = current_answer(self.app.state)
        if found is None:
            return None
        has_map = current_attribution(self.app.state) is not None
        dialog = SaveDialog(found[1], self.over, has_map=has_map, identity_hidden=self.app.state.identity_hidden)
        with _answered(dialog) as is_wanted:
            return dialog.wish if is_wanted else None

    def draw_result(self, result: Result, *, with_identity: bool) -> ResultPage | None:
        """Draw a result on a page for people."""
        from medviewer.gui.catalogue_rows import model_rows
        from medviewer.gui.result_words import result_page

        now = self.app.state.selection
        if now is None:
            return None
        row = next((one for one in model_rows(self.app) if one.id == result.answer.provenance.model_id), None)
        return result_page(result, now, row, with_identity=with_identity)

    def show_saved(self, saved: Saved) -> None:
        """Say what lies in the folder now."""
        from medviewer.gui.save_dialog import SavedDialog

        _run(SavedDialog(saved, self.over, identity_hidden=self.app.state.identity_hidden))

    def copy_image(self, *, with_identity: bool) -> bool:
        """Put the image on the clipboard."""
        drawn = self.draw_image("view", with_identity=with_identity)
        if drawn is not None:
            QGuiApplication.clipboard().setImage(drawn.image)
        return drawn is not None

    def screen_facts(self) -> Sequence[tuple[str, str]]:
        """Platform, size and scale of the screen that the window is on."""
        screen, window = self.screen(), self.size()
        size = screen.size()
        return (
            ("Qt", f"{qVersion()}, platform {QGuiApplication.platformName()}"),
            ("screen", f"{size.width()} x {size.height()}, scale {screen.devicePixelRatio():g}"),
            ("screens", str(len(QGuiApplication.screens()))),
            ("window", f"{window.width()} x {window.height()}, scale {self.devicePixelRatioF():g}"),
        )

    def screen_count(self) -> int:
        """How many screens there are."""
        return len(QGuiApplication.screens())

    def second_layout(self) -> tuple[int, int]:
        """Rows and columns that the second image window had when it was last open on these screens."""
        return place_of(kept_for_now(self.app.settings.layout, SECOND_NAME)).shape

    def to_next_screen(self) -> bool:
        """Move the window in which the reader works to the next screen."""
        return to_next_screen(self.over)

    def copy_text(self, text: str) -> bool:
        """Put text on the clipboard."""
        QGuiApplication.clipboard().setText(text)
        return True

    def show_elements(self, listed: ElementList) -> None:
        """Show the elements of a file."""
        from medviewer.gui.elements_dialog import ElementsDialog

        _run(ElementsDialog(listed, self.over, identity_hidden=self.app.state.identity_hidden))

    def _use_shortcuts(self, changes: Changes) -> None:
        self.app.run_command("app.shortcuts", changes)

    def close_window(self) -> None:
        """Close the window."""
        self.close()

    def _last_place(self) -> str:
        recent = self.app.state.recent
        return str(Path(recent[0]).parent) if recent else str(Path.home())

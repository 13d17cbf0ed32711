"""What is on screen, on paper or as a PDF document: which viewports, on which page, with whose identity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from medviewer.app.asking import ask_of_screen, shown_everywhere
from medviewer.app.exporting import PDF, checked_path
from medviewer.app.layer_planes import refuse_uncut
from medviewer.app.on_screen import pane_state
from medviewer.app.panes import pane_numbers, picture_of
from medviewer.app.patient import keep_event
from medviewer.app.save_jobs import Noted
from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken
from medviewer.whole_file import write_whole

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

PAPERS_MM: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"A4": (210.0, 297.0), "A3": (297.0, 420.0), "A5": (148.0, 210.0), "Letter": (215.9, 279.4)}
)
"""Width and height of the papers, upright."""


@dataclass(frozen=True, slots=True)
class Page:
    """A paper and which way it lies."""

    paper: str = "A4"
    is_landscape: bool = False

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height as it lies."""
        width, height = PAPERS_MM[self.paper]
        return (height, width) if self.is_landscape else (width, height)

    @property
    def text(self) -> str:
        """As the settings keep it."""
        return f"{self.paper} {'landscape' if self.is_landscape else 'portrait'}"


def page_of(text: str) -> Page:
    """The page that the settings keep; the usual one if they hold something else."""
    paper, _, way = text.partition(" ")
    return Page(paper, way == "landscape") if paper in PAPERS_MM and way in ("landscape", "portrait") else Page()


@dataclass(frozen=True, slots=True)
class PrintWish:
    """What is printed. ``path`` is of the PDF document; None is a printer, which is asked for then."""

    path: Path | None = None
    page: Page = Page()
    every_viewport: bool = True
    with_identity: bool = True


class Sheet(Protocol):
    """A page that a window has drawn."""

    def pdf(self) -> bytes:
        """As a PDF document; may be called from any thread."""

    def send(self) -> bool:
        """Ask for a printer and send it the page; says whether that was done. On the GUI thread."""


def print_images(app: Application, wish: PrintWish | None) -> None:
    """Print the viewports, asking how if nothing is given.

    Raises:
        UsageError: identity is hidden and wanted, or an image is not there yet.
        InputError: another kind of file has that name.
    """
    _refuse_unread(app)
    wish = wish or ask_of_screen(app, app.front.ask_print, shown_everywhere)
    now = app.state.selection
    if wish is None or now is None:
        return
    if wish.with_identity and app.state.identity_hidden:
        raise UsageError("Identity is hidden: show it first, or print without it.")
    _refuse_unread(app)
    path = checked_path(wish.path, PDF) if wish.path is not None else None
    sheet = app.front.draw_sheet(wish)
    if sheet is None:
        return
    app.remember(page=wish.page.text)
    event = "image.printed-with-identity" if wish.with_identity else "image.printed"
    uid = now.image.sop_instance_uid
    if path is None:
        if sheet.send():
            keep_event(app, event, uid)
            app.notify("info", "The page was sent to the printer.")
        return

    def work(_stop: StopToken, _progress: Progress) -> None:
        write_whole(path, sheet.pdf())

    def saved(_none: None) -> None:
        app.notify("info", "The page was saved." if wish.with_identity else "The page was saved, without identity.")

    app.saves.start("print", work, Noted(event, uid), saved)


def _refuse_unread(app: Application) -> None:
    """A page with an image or a layer missing would look complete to whoever gets it."""
    for index in pane_numbers(app.state):
        pane = pane_state(app.state, index)
        if pane.selection is not None and not pane.frame_problem and picture_of(app, index, pane) is None:
            raise UsageError("An image is still being read: wait a moment and print again.")
        refuse_uncut(pane)

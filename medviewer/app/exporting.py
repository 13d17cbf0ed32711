"""The image on screen as a picture: into a PNG file or onto the clipboard, without identity unless it is asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from medviewer.app.asking import ask_of_screen
from medviewer.app.layer_planes import refuse_uncut
from medviewer.app.on_screen import scene_of
from medviewer.app.save_jobs import Noted
from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken
from medviewer.whole_file import write_whole

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

What = Literal["view", "stored"]
"""The viewport as it is on screen, or the plain image at its stored size."""

_SAVED_FACE = (
    "The image was saved, without name and number. A face in 3D can be recognised: look at the picture before you "
    "pass it on."
)
_COPIED_FACE = (
    "The image was copied, without name and number. A face in 3D can be recognised: look at the picture before you "
    "pass it on."
)

_COPIED_IDENTITY = (
    "The image was copied with name, number and birth date: whoever gets this picture will know who the patient is."
)


class Kind(NamedTuple):
    """A kind of file that is exported: how its name ends, what stands ``at`` its beginning, what it is called."""

    suffix: str
    magic: bytes
    name: str
    at: int = 0


PNG = Kind(".png", b"\x89PNG\r\n\x1a\n", "a PNG picture")
AVI = Kind(".avi", b"RIFF", "an AVI film")
MP4 = Kind(".mp4", b"ftyp", "an MP4 film", at=4)
PDF = Kind(".pdf", b"%PDF-", "a PDF document")


@dataclass(frozen=True, slots=True)
class ExportWish:
    """What is exported, and where to."""

    path: Path
    what: What = "view"
    with_identity: bool = False


class Drawn(Protocol):
    """A picture that a window has drawn."""

    def png(self) -> bytes:
        """As a PNG file; may be called from any thread."""

    def pixels(self) -> npt.NDArray[np.uint8]:
        """As (rows, columns, 3) RGB; may be called from any thread."""


def export_image(app: Application, wish: ExportWish | None) -> None:
    """Save the image on screen as a PNG file, asking how if nothing is given."""
    wish = wish or ask_of_screen(app, app.front.ask_export)
    now = app.state.selection
    if wish is None or now is None:
        return
    if wish.with_identity and app.state.identity_hidden:
        raise UsageError("Identity is hidden: show it first, or export without it.")
    path = checked_path(wish.path)
    if wish.what == "view":
        refuse_uncut(app.state)
    drawn = app.front.draw_image(wish.what, with_identity=wish.with_identity)
    if drawn is None:
        return
    uid = now.image.sop_instance_uid
    may_show_face = scene_of(app.state) is not None

    def work(_stop: StopToken, _progress: Progress) -> None:
        write_whole(path, drawn.png())

    def saved(_none: None) -> None:
        if wish.with_identity:
            app.notify("info", "The image was saved.")
        elif may_show_face:
            app.notify("caution", _SAVED_FACE)
        else:
            app.notify("info", "The image was saved, without identity.")

    noted = Noted("image.exported-with-identity" if wish.with_identity else "image.exported", uid)
    app.saves.start("export", work, noted, saved)


def copy_image(app: Application, _argument: object) -> None:
    """Put the viewport as it is on screen onto the clipboard, without identity."""
    refuse_uncut(app.state)
    if not app.front.copy_image(with_identity=False):
        return
    if scene_of(app.state) is not None:
        app.notify("caution", _COPIED_FACE)
    else:
        app.notify("info", "The image was copied, without identity.")


def copy_image_with_identity(app: Application, _argument: object) -> None:
    """Put the viewport as it is on screen onto the clipboard, with whose image it is; the audit trail says so."""
    now = app.state.selection
    if now is None:
        return
    if app.state.identity_hidden:
        raise UsageError("Identity is hidden: show it first, or copy without it.")
    refuse_uncut(app.state)
    if app.front.copy_image(with_identity=True):
        app.notify("caution", _COPIED_IDENTITY)
        app.write(partial(app.records.note, "image.copied-with-identity", now.image.sop_instance_uid))


def checked_path(path: Path, kind: Kind = PNG) -> Path:
    """The path of a file of that kind that may be written there.

    Raises:
        InputError: another kind of file has that name, or one that nobody has been asked about.
    """
    wanted = path if path.suffix.lower() == kind.suffix else path.with_name(f"{path.name}{kind.suffix}")
    if not wanted.exists():
        return wanted
    if wanted != path:  # the reader agreed to replace the one without the ending
        raise InputError(f"A file of that name with {kind.suffix} at its end is there already; choose another name.")
    try:
        with wanted.open("rb") as file:
            file.seek(kind.at)
            is_of_kind = file.read(len(kind.magic)) == kind.magic
    except OSError:
        is_of_kind = False
    if not is_of_kind:
        raise InputError(f"What has that name is not {kind.name} and would be lost; choose another name.")
    return wanted

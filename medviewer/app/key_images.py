"""Key images: the ones that matter, marked, found again, and told to others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from medviewer.app.measurement_files import free_path, images_of_study
from medviewer.app.on_screen import identity_of, keys_of_stack, named_key_images, selections, stored_image
from medviewer.app.opening import select
from medviewer.app.save_jobs import Noted
from medviewer.app.state import Selection, State
from medviewer.domain.errors import UsageError
from medviewer.domain.progress import Progress, StopToken

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

FILE_NAME = "key-images.ko.dcm"


def can_mark(state: State) -> bool:
    """Whether a stored image is on screen."""
    return stored_image(state) is not None


def has_own(state: State) -> bool:
    """Whether the reader has marked an image."""
    return any(state.key_images.values())


def has_any(state: State) -> bool:
    """Whether there is a key image to go to."""
    return has_own(state) or any(not one.is_rejection for one in state.key_objects)


def can_take(state: State) -> bool:
    """Whether documents name key images that the reader has not marked."""
    return any(not state.key_images.get(where, True) for where in named_key_images(state))


def toggle(app: Application, _argument: object) -> None:
    """Mark the image on screen as a key image, or take the mark away. Can be undone.

    Raises:
        UsageError: nothing tells this image from others.
    """
    where = stored_image(app.state)
    if where is None:
        return
    if where not in app.state.key_images:
        raise UsageError(
            "The image has no number of its own, or the patient records cannot be read: it cannot be a key image."
        )
    is_key = app.state.key_images[where]
    app.session.settle()
    app.session.change(key_images=MappingProxyType({**app.state.key_images, where: not is_key}))


def may_filter(state: State) -> bool:
    """Whether there are key images to scroll through, or nothing else is scrolled through now."""
    return state.keys_only or has_any(state)


def toggle_only(app: Application, _argument: object) -> None:
    """Scroll through key images only, or through all again."""
    is_wanted = not app.state.keys_only
    app.session.update(keys_only=is_wanted)
    if is_wanted and not keys_of_stack(app.state):
        app.notify("info", "This series has no key image: all of its images are scrolled through.")


def take_named(app: Application, _argument: object) -> None:
    """Mark the images that documents name as key images as the reader's own."""
    named = {where for where in named_key_images(app.state) if app.state.key_images.get(where) is False}
    for where in named:
        app.session.know_key_image(where, is_marked=True)
    app.notify("info", "1 key image was marked." if len(named) == 1 else f"{len(named)} key images were marked.")


def step(direction: int) -> Callable[[Application, object], None]:
    """A command that goes to the next key image of the patient on screen, in the order of display; round and round."""

    def run(app: Application, _argument: object) -> None:
        state = app.state
        now = state.selection
        if now is None:
            return
        own = [one for one in selections(state.collection) if identity_of(one.patient) == identity_of(now.patient)]
        wanted = {where for where, is_key in state.key_images.items() if is_key} | named_key_images(state)
        found = [index for index, one in enumerate(own) if _where(one) in wanted]
        at = next((index for index, one in enumerate(own) if one.image.key == now.image.key), 0)
        ahead = [index for index in found if (index - at) * direction > 0]
        if not found:
            app.notify("info", "There is no key image yet: “Mark or unmark as key image” marks the image on screen.")
        else:
            nearest = min(ahead or found, key=lambda index: index * direction)
            select(app, own[nearest])

    return run


def save(app: Application, folder: str | Path | None) -> None:
    """Save which images of the study on screen are key images as a DICOM Key Object Selection document."""
    state = app.state
    images = [image for where, image in images_of_study(state).items() if state.key_images.get(where[:2])]
    if not images:
        raise UsageError("There is no key image in this study: “Mark or unmark as key image” makes one.")
    out = Path(folder) if folder is not None else app.front.choose_folder("Save key images in")
    if out is None:
        return

    def work(_stop: StopToken, _progress: Progress) -> Path:
        from medviewer.imaging.key_objects import write_key_objects  # noqa: PLC0415 - what writes DICOM loads slowly

        path = free_path(out / FILE_NAME)
        write_key_objects(images, path=path)
        return path

    def saved(path: Path) -> None:
        app.notify("info", f"Saved in that folder as {path.name}.")

    app.saves.start("save", work, Noted("results.saved", images[0].sop_instance_uid), saved)


def _where(one: Selection) -> tuple[str, int]:
    return one.image.sop_instance_uid, one.image.frame

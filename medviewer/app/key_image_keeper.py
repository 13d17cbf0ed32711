"""Key images follow the images: read when a patient comes on screen, written as the reader marks them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from medviewer.app.patient import keep_key_image
from medviewer.app.state import EMPTY, Measured, State, Stored
from medviewer.domain.errors import MedViewerError
from medviewer.domain.study import Image

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

NOT_MARKED = "The key image was not saved and was taken back."


class KeyImageKeeper:
    """Reads and writes. What cannot be written is taken back: none reads as kept that is not."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._asked: set[Stored] = set()  # images that the store was asked about; a new set for each opening
        self._stored: dict[Stored, bool] = {}
        self._handed: dict[Stored, int] = {}  # how many states of an image were handed to the store
        self._is_ours = False
        self._images: Mapping[Measured, Image] = EMPTY  # of the patient on screen, when they were last looked at

    def watch(self, old: State, new: State) -> None:
        """Follow the state; the images that a UID tells from all others are those that can be measured."""
        if new.collection is not old.collection and not new.collection.patients:
            self._asked, self._stored = set(), {}
        is_other = self._app.measured.images is not self._images
        if is_other or new.measurements is not old.measurements or new.collection is not old.collection:
            self._images = self._app.measured.images
            self._follow(new)
        if new.key_images is not old.key_images and not self._is_ours:
            self._write_changes(old, new)

    def _follow(self, state: State) -> None:
        # An image whose measurements are known is told from all others by its UID.
        own = {where[:2] for where in self._app.measured.images if where in state.measurements}
        known = {where: is_key for where, is_key in state.key_images.items() if (*where, None) in state.measurements}
        if len(known) != len(state.key_images):  # a second file that claims to be the same image was found later
            self._set(known)
        wanted = own - self._asked
        if not wanted:
            return
        asked = self._asked
        asked |= wanted

        def done(found: frozenset[Stored]) -> None:
            if asked is self._asked:  # else of an opening before
                self._stored |= {where: where in found for where in wanted}
                self._set({**{where: where in found for where in wanted}, **self._app.state.key_images})

        def failed(_error: MedViewerError) -> None:
            asked.difference_update(wanted)  # that the store cannot be read is said with the measurements

        self._app.write(lambda: self._app.records.store().key_images_among({uid for uid, _ in wanted}), done, failed)

    def _set(self, key_images: dict[Stored, bool]) -> None:
        self._is_ours = True
        try:
            self._app.session.update(key_images=MappingProxyType(key_images))
        finally:
            self._is_ours = False

    def _write_changes(self, old: State, new: State) -> None:
        for where in old.key_images.keys() & new.key_images.keys():
            if old.key_images[where] != new.key_images[where]:
                self._write(where, is_marked=new.key_images[where])

    def _write(self, where: Stored, *, is_marked: bool) -> None:
        number = self._handed[where] = self._handed.get(where, 0) + 1

        def done() -> None:
            self._stored[where] = is_marked

        def failed(error: MedViewerError) -> None:
            if number == self._handed[where]:  # else a later one is on its way and says what holds
                self._is_ours = True
                try:
                    self._app.session.know_key_image(where, is_marked=self._stored.get(where, False))
                finally:
                    self._is_ours = False
                error = MedViewerError(f"{NOT_MARKED} {error}")
            self._app.lose(error)

        keep_key_image(self._app, where, is_marked=is_marked, done=done, failed=failed)

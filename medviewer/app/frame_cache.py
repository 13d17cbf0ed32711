"""Decoded frames and their pictures, within a memory budget."""

from __future__ import annotations

from collections import OrderedDict

from medviewer.app.picture import Picture

Key = tuple[str, str, int]


class FrameCache:
    """Keeps the pictures looked at last; the oldest go first. GUI thread only.

    Args:
        budget_bytes: what all pictures together may take. One that is larger by itself is kept
            as long as it is the latest: the reader is looking at it.
    """

    def __init__(self, budget_bytes: int = 1 << 30) -> None:
        self.budget_bytes = budget_bytes
        self._pictures: OrderedDict[Key, Picture] = OrderedDict()
        self._size_bytes = 0

    def get(self, key: Key) -> Picture | None:
        """The picture of that image if it is there, now the latest used."""
        picture = self._pictures.get(key)
        if picture is not None:
            self._pictures.move_to_end(key)
        return picture

    def put(self, key: Key, picture: Picture) -> None:
        """Keep a picture; forget the oldest ones that no longer fit."""
        before = self._pictures.pop(key, None)
        self._size_bytes += picture.size_bytes - (before.size_bytes if before is not None else 0)
        self._pictures[key] = picture
        while len(self._pictures) > 1 and self._size_bytes > self.budget_bytes:
            self._size_bytes -= self._pictures.popitem(last=False)[1].size_bytes

    def clear(self) -> None:
        """Forget everything."""
        self._pictures.clear()
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """What the kept pictures take."""
        return self._size_bytes

    def __contains__(self, key: Key) -> bool:
        return key in self._pictures

"""From any thread to the GUI thread."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, Signal, Slot


class GuiPost(QObject):
    """Call it from any thread with a function: the function runs on the thread that made this object.

    Calls keep their order. After :meth:`close` they are dropped: nothing may reach a window that is gone.
    """

    _posted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._is_open = True
        self._posted.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def __call__(self, call: Callable[[], None]) -> None:
        """Have ``call`` run on the GUI thread, soon."""
        if self._is_open:
            self._posted.emit(call)

    def close(self) -> None:
        """Drop what is still to be delivered."""
        self._is_open = False

    @Slot(object)
    def _run(self, call: Callable[[], None]) -> None:
        if self._is_open:
            call()

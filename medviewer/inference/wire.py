"""Messages over a :class:`multiprocessing.connection.Connection`, with one system call each way where that can be.

Connection reads the four bytes that say how long a message is, then the message, through several Python calls.
Beside a network of a few milliseconds that is half a per cent. Its framing is kept, so that either side may be an
ordinary Connection; Windows has pipes of another kind and uses those.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

_HEAD_BYTES = 4  # the length of what follows, most significant byte first
_AT_ONCE = 1 << 16  # what a pipe holds on Linux
_LONGEST = 0x7FFFFFFF  # longer ones have another head

_HAS_DESCRIPTORS = sys.platform != "win32"


class Wire:
    """One end of a connection on which a message is answered before the next is sent."""

    __slots__ = ("_connection", "_descriptor")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._descriptor = connection.fileno() if _HAS_DESCRIPTORS else -1

    def close(self) -> None:
        """End the connection; the other side notices."""
        self._descriptor = -1  # it may be another file's soon
        self._connection.close()

    def send(self, message: bytes) -> None:
        """Write one message.

        Raises:
            OSError: nobody reads any more, or the connection is closed.
        """
        if self._descriptor < 0 or len(message) > _AT_ONCE - _HEAD_BYTES:
            self._connection.send_bytes(message)
            return
        framed = len(message).to_bytes(_HEAD_BYTES, "big") + message
        n = os.write(self._descriptor, framed)
        while n < len(framed):
            n += os.write(self._descriptor, framed[n:])

    def receive(self, limit: int = _LONGEST) -> bytes:
        """Wait for one message of up to ``limit`` bytes.

        Raises:
            EOFError: the other side is gone.
            OSError: the message is longer, or the connection is closed.
        """
        if self._descriptor < 0:
            return self._connection.recv_bytes(limit)
        read = os.read(self._descriptor, _AT_ONCE)
        size = int.from_bytes(read[:_HEAD_BYTES], "big")
        if len(read) == size + _HEAD_BYTES and size <= limit:
            return read[_HEAD_BYTES:]
        return self._rest(read, limit)

    def _rest(self, read: bytes, limit: int) -> bytes:
        """The message that begins with ``read``, which is not all of it."""
        parts = bytearray(read)
        while len(parts) < _HEAD_BYTES or len(parts) < _HEAD_BYTES + self._length(parts, limit):
            more = os.read(self._descriptor, _AT_ONCE)
            if not more:
                raise EOFError
            parts += more
        if len(parts) > _HEAD_BYTES + self._length(parts, limit):
            raise OSError("a message of another length than it says")
        return bytes(parts[_HEAD_BYTES:])

    def _length(self, parts: bytes | bytearray, limit: int) -> int:
        size = int.from_bytes(parts[:_HEAD_BYTES], "big")
        if size > limit:
            raise OSError("a message of another length than is allowed")
        return size

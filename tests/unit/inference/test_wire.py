"""The messages between the window's process and the worker."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading

import pytest

from medviewer.inference.wire import Wire

SIZES = (0, 1, 300, (1 << 16) - 4, (1 << 16) - 3, 1 << 20)


@pytest.mark.parametrize("size", SIZES)
def test_it_speaks_with_itself_and_with_an_ordinary_connection(size: int) -> None:
    ours, theirs = multiprocessing.Pipe()
    message = os.urandom(size)
    for send, receive in (
        (Wire(ours).send, Wire(theirs).receive),
        (Wire(ours).send, theirs.recv_bytes),
        (theirs.send_bytes, Wire(ours).receive),
    ):
        sender = threading.Thread(target=send, args=(message,))
        sender.start()
        assert receive() == message
        sender.join()


on_descriptors = pytest.mark.skipif(sys.platform == "win32", reason="pipes without descriptors")


@on_descriptors
def test_a_message_that_comes_in_pieces_is_put_together() -> None:
    ours, theirs = multiprocessing.Pipe()

    def drip() -> None:
        for byte in (5).to_bytes(4, "big") + b"abcde":
            os.write(theirs.fileno(), bytes([byte]))

    sender = threading.Thread(target=drip)
    sender.start()
    assert Wire(ours).receive() == b"abcde"
    sender.join()


@on_descriptors
@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\5abc"])
def test_an_end_before_the_end_of_a_message_is_an_end(sent: bytes) -> None:
    ours, theirs = multiprocessing.Pipe()
    os.write(theirs.fileno(), sent) if sent else None
    theirs.close()
    with pytest.raises(EOFError):
        Wire(ours).receive()


@on_descriptors
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\0\0\0\5abcde", id="longer than allowed"),
        pytest.param(b"\x7f\xff\xff\xffabcde", id="says that it is much longer"),
        pytest.param(b"\xff\xff\xff\xff" + bytes(8), id="the head of a huge one"),
        pytest.param(b"\0\0\0\1ab", id="more than one message"),
        pytest.param(b"\0\0\0\0a", id="more than an empty message"),
    ],
)
def test_a_message_of_another_length_than_allowed_or_said_is_an_error(sent: bytes) -> None:
    ours, theirs = multiprocessing.Pipe()
    os.write(theirs.fileno(), sent)
    theirs.close()  # without the check it would end as an end, and not wait for ever
    with pytest.raises(OSError, match="length"):
        Wire(ours).receive(limit=4)


def test_a_closed_wire_reads_and_writes_nothing_else() -> None:
    """Its descriptor may be that of another file by now."""
    ours, theirs = multiprocessing.Pipe()
    wire = Wire(ours)
    wire.close()
    read, write = os.pipe()
    with pytest.raises(OSError, match="closed"):
        wire.send(b"a")
    with pytest.raises(OSError, match="closed"):
        wire.receive()
    with pytest.raises(EOFError):
        theirs.recv_bytes()
    for descriptor in (read, write):
        os.close(descriptor)

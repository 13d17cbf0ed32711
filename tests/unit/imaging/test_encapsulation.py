"""Which fragments make which frame: told by tables, else by how code streams begin, else not at all."""

from __future__ import annotations

import struct

import pytest

from medviewer.domain.errors import InputError
from medviewer.imaging.encapsulation import frame_fragments, read_fragments
from medviewer.imaging.source import ByteSource

DELIMITER = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
START, END = b"\xff\xd8", b"\xff\xd9"


def item(value: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def stream(number: int) -> tuple[bytes, bytes]:
    """One frame's code stream in two fragments, each unlike those of every other frame."""
    return START + bytes([number]) * 8, bytes([number]) * 8 + END


def element(fragments: list[bytes], table: tuple[int, ...] = (), *, is_complete: bool = True) -> bytes:
    items = b"".join(item(fragment) for fragment in fragments)
    return item(struct.pack(f"<{len(table)}I", *table)) + items + (DELIMITER if is_complete else b"")


def frames(data: bytes, count: int, extended: tuple[int, ...] = ()) -> list[bytes]:
    source = ByteSource.of_bytes(b"123" + data)
    return [read_fragments(source, pieces) for pieces in frame_fragments(source, 3, count, extended)]


PIECES = [piece for number in range(6) for piece in stream(number)]
STREAMS = [b"".join(stream(number)) for number in range(6)]


def test_several_fragments_a_frame_by_their_start_markers() -> None:
    assert frames(element(PIECES), 6) == STREAMS


@pytest.mark.reliability
@pytest.mark.parametrize("kept", range(1, 12))
@pytest.mark.parametrize("is_complete", [False, True])
def test_a_file_that_was_cut_off_never_gives_one_frame_for_another(kept: int, is_complete: bool) -> None:
    """Six pieces for six promised frames are three frames here: counting alone would show the wrong ones."""
    found = frames(element(PIECES[:kept], is_complete=is_complete), 6)
    assert len(found) == (kept + 1) // 2
    for number, data in enumerate(found):
        assert STREAMS[number].startswith(data)


@pytest.mark.reliability
def test_a_frame_whose_start_is_damaged_does_not_move_the_ones_after_it() -> None:
    whole = [b"".join(stream(number)) for number in range(6)]
    damaged = [*whole[:2], b"\0\0" + whole[2][2:], *whole[3:]]
    assert frames(element(damaged), 6) == damaged  # as many pieces as frames: one each
    with pytest.raises(InputError, match="without saying which belong together"):
        frames(element(damaged[:5], is_complete=False), 6)
    with pytest.raises(InputError, match="without saying which belong together"):
        frames(element([*damaged, b"\0\0"]), 6)
    odd = [piece + b"\0\0\0" for piece in damaged[:5]]  # padded
    with pytest.raises(InputError, match="without saying which belong together"):
        frames(element(odd, is_complete=False), 6)
    with pytest.raises(InputError, match="without saying which belong together"):
        frames(element([b"\0\0" + PIECES[0][2:], *PIECES[1:]]), 6)


def offsets(pieces: list[bytes], begins: list[int]) -> tuple[int, ...]:
    return tuple(sum(8 + len(piece) for piece in pieces[:begin]) for begin in begins)


@pytest.mark.parametrize("is_extended", [False, True])
def test_offset_tables_come_first(is_extended: bool) -> None:
    """Pieces without markers, three of them in the second frame."""
    pieces = [b"a0", b"b0", b"b1", b"b2", b"c0"]
    table = offsets(pieces, [0, 1, 4])
    data = element(pieces, () if is_extended else table)
    assert frames(data, 3, table if is_extended else ()) == [b"a0", b"b0b1b2", b"c0"]


@pytest.mark.reliability
def test_a_table_of_a_file_that_was_cut_off() -> None:
    table = offsets(PIECES, [0, 2, 4, 6, 8, 10])
    assert frames(element(PIECES[:6], table, is_complete=False), 6) == STREAMS[:3]
    bare = [piece.replace(START, b"..") for piece in PIECES]
    assert frames(element(bare[:6], table, is_complete=False), 6) == [b"".join(bare[i : i + 2]) for i in (0, 2, 4)]


@pytest.mark.reliability
@pytest.mark.parametrize(
    "begins",
    [[0, 2, 4, 6, 8, 9], [0, 2, 4, 6, 6, 10], [2, 4, 6, 8, 10, 11], [0, 4, 2, 6, 8, 10], [0, 2, 4, 6, 8]],
)
def test_a_table_that_contradicts_the_code_streams_is_not_used(begins: list[int]) -> None:
    assert frames(element(PIECES, offsets(PIECES, begins)), 6) == STREAMS


@pytest.mark.reliability
def test_a_table_that_points_between_the_pieces_is_not_used() -> None:
    assert frames(element(PIECES, (0, 36, 72, 108, 144, 181)), 6) == STREAMS
    pieces = [b"a0", b"b0", b"c0"]
    assert frames(element(pieces, (0, 11, 20)), 3) == pieces


def test_without_markers_each_frame_is_one_piece() -> None:
    pieces = [b"\1\0\0\0" + bytes([number]) * 4 for number in range(5)]
    assert frames(element(pieces), 5) == pieces
    assert frames(element(pieces[:3], is_complete=False), 5) == pieces[:3]
    with pytest.raises(InputError, match="without saying which belong together"):
        frames(element(pieces), 4)


@pytest.mark.reliability
def test_what_cannot_be_attributed_is_refused() -> None:
    refused = "without saying which belong together"
    with pytest.raises(InputError, match=refused):
        frames(element(STREAMS), 5)  # more beginnings than frames
    damaged = [STREAMS[0], b"\0\0" + STREAMS[1][2:], *STREAMS[2:]]
    with pytest.raises(InputError, match=refused):
        frames(element(damaged, is_complete=False), 6)  # as many pieces as frames, but who knows what followed
    bare = [b"a0", b"b0", b"b1", b"c0"]
    with pytest.raises(InputError, match=refused):
        frames(element(bare, offsets(bare, [1, 2, 3])), 3)  # what would the first piece be?
    with pytest.raises(InputError, match=refused):
        frames(element(bare, offsets(bare, [0, 1])), 3)

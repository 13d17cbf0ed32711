from __future__ import annotations

from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medviewer.domain.errors import EngineError, UsageError
from medviewer.inference import shared
from medviewer.inference.shared import AttachedBlock, OwnedBlock, plan, views

KINDS = st.sampled_from(["<f4", "<f8", "<f2", "<i8", "<i4", "|u1", "|b1"])


@given(st.lists(KINDS.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, min_side=0))), max_size=5))
def test_arrays_come_out_as_they_went_in(arrays: list[np.ndarray]) -> None:
    named = {str(index): array for index, array in enumerate(arrays)}
    layout = plan(named)
    buffer = memoryview(bytearray(max(layout.size, 1)))
    for name, view in views(buffer, layout.slots).items():
        view[...] = named[name]
    for name, view in views(buffer, layout.slots).items():
        np.testing.assert_array_equal(view, named[name])
        assert view.dtype == named[name].dtype


@pytest.mark.parametrize("array", [np.zeros(1, object), np.zeros(1, "U3"), np.zeros(1, ">f4"), np.zeros(1, complex)])
def test_other_types_are_refused(array: np.ndarray) -> None:
    with pytest.raises(UsageError, match="“x”"):
        plan({"x": array})


def test_a_request_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_LIMIT_BYTES", 100)
    with pytest.raises(EngineError, match="smaller batches"):
        plan({"x": np.zeros(1000, np.float32)})


@pytest.mark.parametrize(
    "slot", [("x", "<f4", [10], 0), ("x", "<f4", [1], 8), ("x", "|O8", [1], 0), ("x", "<f4", [-1], 0)]
)
def test_a_slot_out_of_the_block_is_refused(slot: tuple[str, str, list[int], int]) -> None:
    with pytest.raises(EngineError):
        views(memoryview(bytearray(8)), [slot])  # type: ignore[list-item]


def test_a_block_is_unlinked_when_it_grows_and_when_it_closes() -> None:
    owner, other = OwnedBlock(), AttachedBlock()
    owner.reserve(10)
    first = owner.name
    owner.buffer[:3] = b"abc"
    assert bytes(other.buffer(first)[:3]) == b"abc"
    owner.reserve(100)
    assert owner.name == first
    owner.reserve(3 << 20)
    assert len(other.buffer(owner.name)) >= 3 << 20
    last = owner.name
    owner.close()
    for name in (first, last):
        with pytest.raises(FileNotFoundError):
            SharedMemory(name=name)
    assert owner.name == ""
    with pytest.raises(EngineError, match="closed"):
        _ = owner.buffer


def test_a_forgotten_block_is_unlinked() -> None:
    owner = OwnedBlock()
    owner.reserve(1)
    name = owner.name
    del owner
    with pytest.raises(FileNotFoundError):
        SharedMemory(name=name)


def test_no_memory_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    owner = OwnedBlock()
    with pytest.raises(EngineError, match="no shared memory left"):
        owner.reserve(1)
    assert owner.name == ""


def test_what_was_seen_of_a_block_goes_with_it() -> None:
    """A view kept over a new reservation would show memory that is gone, or keep the block from closing."""
    block = OwnedBlock()
    first = {"x": np.arange(4, dtype=np.float32)}
    layout = plan(first)
    block.reserve(layout.size)
    block.write(layout.slots, first)
    assert block.views(layout.slots) is block.views(layout.slots)
    np.testing.assert_array_equal(block.views(layout.slots)["x"], first["x"])
    large = {"x": np.ones(1 << 20, np.float32)}
    grown = plan(large)
    block.reserve(grown.size)
    block.write(grown.slots, large)
    np.testing.assert_array_equal(block.views(grown.slots)["x"], large["x"])
    block.reserve(1)
    block.write(layout.slots, first)
    np.testing.assert_array_equal(block.views(layout.slots)["x"], first["x"])
    block.close()
    with pytest.raises(EngineError):
        block.views(layout.slots)

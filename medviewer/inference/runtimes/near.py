"""The same image with a small part changed, again and again: only what a change reaches is worked out anew.

What a lower part of the network makes of the whole image is kept. Of each changed image that part sees a crop
around the change, what came of it is put into what was kept, and the part above sees the result: the same numbers
up to rounding, for less work. Occlusion asks so, 169 times.

Source: Nakandala, Kumar and Papakonstantinou, "Incremental and approximate inference for faster occlusion-based
deep CNN explanations", SIGMOD 2019, section 4 (incremental inference).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from medviewer.inference.runtimes.locality import Cut, Pair, chain, cuts, parts

if TYPE_CHECKING:
    import onnx

Arrays = Mapping[str, npt.NDArray[Any]]
Whole = Callable[[Arrays], list[npt.NDArray[Any]]]
_Key = tuple[tuple[str, ...], tuple[int, ...], Pair]  # outputs, channels, rows and columns, size of the change

_MOST_WAYS = 4  # one for the usual size of a change, and a few for what reaches over the border
_ROUNDING = 1e-4  # in logits and as a fraction: sums of another order differ by a tenth of that


class Near:
    """One network's two parts, made when they are first of use.

    Args:
        read: gives the network's graph, checked.
        open_session: opens a part of it, given its bytes, on the CPU.
    """

    def __init__(self, read: Callable[[], onnx.ModelProto], open_session: Callable[[bytes], Any]) -> None:
        self._read, self._open = read, open_session
        self._made: dict[_Key, _Chain | None] = {}
        self._is_sound = True

    def run(self, inputs: Arrays, base: Arrays, names: tuple[str, ...], whole: Whole, options: Any) -> list[Any] | None:
        """The outputs ``names`` of images that differ from one in a rectangle each.

        Args:
            inputs: the network's one input, ``(n, channels, rows, columns)`` float32.
            base: the same of the image that they differ from, ``(1, channels, rows, columns)``.
            names: of the outputs.
            whole: runs the network as it is; the first answer is compared with it.
            options: of ONNX Runtime, by which a run can be ended.

        Returns:
            The outputs in order; None where the network cannot be cut, where nothing is gained, and where its parts
            did not run or gave something else.
        """
        if not self._is_sound or set(inputs) != set(base) or len(inputs) != 1:
            return None
        (name, batch), first = next(iter(inputs.items())), next(iter(base.values()))
        if batch.ndim != 4 or first.shape != (1, *batch.shape[1:]):
            return None
        changes = [_change(item, first[0]) for item in batch]
        size = max(change.shape[0] for change in changes), max(change.shape[1] for change in changes)
        key = (names, batch.shape[1:], size)
        made = self._way(name, key, options)
        if made is None:
            return None
        try:
            found = made.run(batch, first, changes, options)
        except Exception:
            if _is_stopped(options):
                raise
            self._made[key] = None  # and its memory is given back, where that is what was lacking
            return None
        if not made.is_proven:
            expected = whole({name: batch[-1:]})
            pairs = zip(found, expected, strict=True)
            if not all(np.allclose(part[-1:], one, rtol=_ROUNDING, atol=_ROUNDING) for part, one in pairs):
                self._is_sound = False
                self._made.clear()
                return None
            made.is_proven = True
        return found

    def _way(self, name: str, key: _Key, options: Any) -> _Chain | None:
        """The parts for changes of this size, the same as before if there were any."""
        if key not in self._made:
            if len(self._made) >= _MOST_WAYS:  # each holds the weights once more
                del self._made[next(iter(self._made))]
            names, image, size = key
            try:
                self._made[key] = self._taken_apart(name, image, names, size, options)
            except Exception:
                if _is_stopped(options):
                    raise
                self._made[key] = None  # it can still be run as it is
        return self._made[key]

    def _taken_apart(
        self, name: str, image: tuple[int, ...], names: tuple[str, ...], size: Pair, options: Any
    ) -> _Chain | None:
        model = self._read()
        _look(options)
        channels, rows, columns = image
        places, work = cuts(model, (channels, rows, columns), names)
        if not places or places[0].name != name:
            return None
        _look(options)
        chosen = chain(places, work, size)
        if len(chosen) == 1:
            return None
        sessions = []
        for part in parts(model, chosen, names):
            _look(options)
            sessions.append(self._open(part))
        stages = [_Stage(*cuts, session) for cuts, session in zip(pairwise(chosen), sessions[:-1], strict=True)]
        return _Chain(stages, names, sessions[-1])


def _is_stopped(options: Any) -> bool:
    return options is not None and bool(options.terminate)


def _look(options: Any) -> None:
    """Give up if somebody does not want the answer any more: taking a network apart takes up to a second."""
    if _is_stopped(options):
        raise InterruptedError("the run was ended")


class _Change(NamedTuple):
    """The smallest rectangle that holds all that differs; one pixel where nothing does."""

    rows: Pair  # the first and the last
    columns: Pair

    @property
    def shape(self) -> Pair:
        return self.rows[1] - self.rows[0] + 1, self.columns[1] - self.columns[0] + 1


def _change(item: npt.NDArray[Any], base: npt.NDArray[Any]) -> _Change:
    # A value that is no number differs from itself, and is passed on wherever it lies.
    differs = (item != base).any(axis=0)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return _Change((0, 0), (0, 0))
    return _Change((int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1])))


class _Stage:
    """The part of a network from one cut to the next, and what it made of the image that was asked about last."""

    def __init__(self, first: Cut, second: Cut, session: Any) -> None:
        self._first, self._second, self._session = first, second, session
        self._reach = second.reach_from(first)
        self.kept = np.empty(0, np.float32)

    @property
    def makes(self) -> str:
        """The name of its map."""
        return self._second.name

    def keep(self, base: npt.NDArray[Any], options: Any) -> npt.NDArray[Any]:
        """Make the map of a whole image, from the map below."""
        self.kept = self._run(base, options)
        return self.kept

    def run(
        self, maps: npt.NDArray[Any], changes: Sequence[_Change], options: Any
    ) -> tuple[npt.NDArray[Any], list[_Change]]:
        """Make the maps of changed images, and say where they differ from the one that was kept."""
        touched = [_Change(*(self._touched(axis, ends) for axis, ends in enumerate(change))) for change in changes]
        seen = [_Change(*(self._seen(axis, ends) for axis, ends in enumerate(change))) for change in touched]
        size = maps.shape[2:]
        height, width = (self._crop(axis, size[axis], [one[axis] for one in seen]) for axis in (0, 1))
        # On a cell of the map above, and never over the edge: from there no less than the crop is left.
        corners = [(min(one.rows[0], size[0] - height), min(one.columns[0], size[1] - width)) for one in seen]
        crops = np.stack([item[:, r : r + height, c : c + width] for item, (r, c) in zip(maps, corners, strict=True)])
        fresh = self._run(crops, options)
        found = np.repeat(self.kept, len(maps), axis=0)
        for whole, part, change, corner in zip(found, fresh, touched, corners, strict=True):
            # The rest of the crop's cells lack neighbours.
            (r0, r1), (c0, c1) = change
            top, left = (begin // step for begin, step in zip(corner, self._reach.step, strict=True))
            whole[:, r0 : r1 + 1, c0 : c1 + 1] = part[:, r0 - top : r1 - top + 1, c0 - left : c1 - left + 1]
        return found, touched

    def _run(self, maps: npt.NDArray[Any], options: Any) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = self._session.run([self._second.name], {self._first.name: maps}, options)[0]
        return found

    def _touched(self, axis: int, ends: Pair) -> Pair:
        return self._reach.touched(axis, *ends, self._second.shape[axis + 1])

    def _seen(self, axis: int, ends: Pair) -> Pair:
        first, last = self._reach.seen(axis, *ends, self._first.shape[axis + 1])
        return first // self._reach.step[axis] * self._reach.step[axis], last

    def _crop(self, axis: int, size: int, seen: Sequence[Pair]) -> int:
        """How many rows or columns all crops have: whole steps fewer than the map, so that they may lie at its end."""
        wanted = max(last - first + 1 for first, last in seen)
        step = self._reach.step[axis]
        return size - (size - wanted) // step * step


class _Chain:
    """A network in parts: all but the last are run on crops."""

    def __init__(self, stages: Sequence[_Stage], names: tuple[str, ...], last: Any) -> None:
        self._stages, self._names, self._last = stages, names, last
        self._base: npt.NDArray[Any] | None = None
        self.is_proven = False

    def run(
        self, batch: npt.NDArray[Any], base: npt.NDArray[Any], changes: Sequence[_Change], options: Any
    ) -> list[npt.NDArray[Any]]:
        """The outputs of images that differ from ``base`` in these rectangles."""
        if self._base is None or not np.array_equal(self._base, base):
            self._base, kept = None, base
            for stage in self._stages:
                kept = stage.keep(kept, options)
            self._base = base.copy()  # what was given lies in memory that others write to
        maps = batch
        for stage in self._stages:
            maps, changes = stage.run(maps, changes, options)
        return list(self._last.run(list(self._names), {self._stages[-1].makes: maps}, options))

"""Fair comparisons: the contestants take turns in one run, and only medians and ratios are told."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours against a named peer: ``ratio`` is ours / peer for times (smaller is faster)."""

    name: str
    peer: str
    ours_ms: float
    peer_ms: float
    ratio: float
    rounds: int
    target: str = ""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def interleave(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Time each contestant ``rounds`` times, in turns, so that a busy moment hits all alike.

    Returns:
        Elapsed seconds by contestant.
    """
    elapsed: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(warmup + rounds):
        for name, call in contestants.items():
            start = time.perf_counter()
            call()
            if turn >= warmup:
                elapsed[name].append(time.perf_counter() - start)
    return elapsed


def compare(
    name: str,
    ours: Callable[[], object],
    peer: tuple[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = 2,
    target: str = "",
) -> Comparison:
    """Time ours against one peer; the ratio is the median of the paired ratios."""
    peer_name, peer_call = peer
    elapsed = interleave({"ours": ours, "peer": peer_call}, rounds=rounds, warmup=warmup)
    paired = [a / b for a, b in zip(elapsed["ours"], elapsed["peer"], strict=True)]
    return Comparison(
        name=name,
        peer=peer_name,
        ours_ms=1e3 * statistics.median(elapsed["ours"]),
        peer_ms=1e3 * statistics.median(elapsed["peer"]),
        ratio=statistics.median(paired),
        rounds=rounds,
        target=target,
    )

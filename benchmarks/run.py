"""Run every benchmark and write docs/benchmarks.md: ``make bench``."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    batch_throughput,
    decoding,
    engine_overhead,
    explanations,
    first_image,
    large_folder,
    planes,
    series_load,
    training_loop,
    viewport_steps,
    volume_rendering,
    window_steps,
)
from benchmarks.timing import Comparison

MODULES = (
    engine_overhead, batch_throughput, explanations, first_image, series_load, large_folder, decoding, planes,
    viewport_steps, volume_rendering, window_steps, training_loop,
)  # fmt: skip
PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Measured by `make bench`, {date}, on {machine}. Every row compares two contestants that took turns in one run; times
are medians, the ratio is the median of the paired ratios (ours / peer: below 1 is faster). Times differ between
machines, ratios much less.

| what | against | ours | peer | ratio | wanted |
|---|---|---|---|---|---|
"""


def machine() -> str:
    """The processor, its usable cores, and the versions that matter."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def row(result: Comparison) -> str:
    """One line of the table."""
    times = f"{result.ours_ms:.1f} ms | {result.peer_ms:.1f} ms | {result.ratio:.2f}"
    return f"| {result.name} | {result.peer} | {times} | {result.target} |\n"


def main() -> None:
    """Measure, print, write."""
    text = HEAD.format(date=datetime.now(UTC).date().isoformat(), machine=machine())
    for module in MODULES:
        for result in module.run():
            text += row(result)
            sys.stdout.write(row(result))
            sys.stdout.flush()
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

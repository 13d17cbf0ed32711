"""Damaged files never crash, hang or blow up the reader: each is shown or named."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import samples
from tests.faults import mutants

CHUNKS = 2


def chosen_files() -> list[Path]:
    folder = samples.corpus()
    more = sorted(p for p in folder.rglob("*.dcm") if p.stat().st_size <= mutants.MAX_BYTES) if folder else []
    # Long series count with a few of their slices.
    return mutants.seeds() + [p for p in more if p.parent.name not in ("cranium_ct", "sag_anon_mr", "CTHeadAxialDicom")]


@pytest.mark.reliability
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory of child processes is not known on Windows")
def test_mutated_files_are_shown_or_named(tmp_path: Path) -> None:
    """MEDVIEWER_MUTANTS=2000 for the whole set; the seeds are fixed, so a failing number fails again."""
    count = int(os.environ.get("MEDVIEWER_MUTANTS", "150"))
    bounds = [count * index // CHUNKS for index in range(CHUNKS + 1)]
    for first, last in itertools.pairwise(bounds):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tests.faults.mutants", str(first), str(last), str(tmp_path)]
            + [str(path) for path in chosen_files()],
            capture_output=True,
            text=True,
            check=False,
            cwd=samples.ROOT,
            env={**os.environ, "PYTHONPATH": str(samples.ROOT)},
            timeout=60 + 3 * count,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        report = json.loads(done.stdout)
        assert report["wrong"] == []
        assert report["n"] == last - first
        assert report["drawn"] > report["n"] // 10, "the damage is too great to say anything about decoding"
        assert report["longest_scan_s"] < 5
        assert report["longest_read_s"] < 5 + 1 + 5, "a decoder's deadline (5 s and 1 s a MB) was not kept"
        assert max(report["peak_mb"]) < 1024

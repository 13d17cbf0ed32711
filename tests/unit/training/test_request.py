"""What becomes of a run's folder when the model is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from medviewer.training.processes import Processes  # noqa: E402
from medviewer.training.request import Request  # noqa: E402
from tests import fakes  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("rank", "given", "stays"), [(0, False, False), (0, True, True), (1, False, True)])
def test_only_the_first_process_removes_the_checkpoints(tmp_path: Path, rank: int, given: bool, stays: bool) -> None:
    """The others come to their end while the first still writes, and the model is not there yet."""
    lines: list[str] = []
    processes = Processes(rank, 2, torch.device("cpu"))
    request = Request("toxicity", tmp_path, tmp_path / "model", progress=lines.append, processes=processes)
    request.run_folder.mkdir()
    if rank == 0:
        fakes.make_model(request.out)
    assert request.completed({"checkpoints": request.run_folder} if given else {}) == request.out
    assert request.run_folder.is_dir() == stays
    assert bool(lines) == (rank == 0)

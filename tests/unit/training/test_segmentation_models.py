"""What measures classifiers refuses models that outline, in a sentence and before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from medviewer.domain.errors import UsageError
from medviewer.training.assess import assess
from medviewer.training.lighter import lighten
from tests import outline_models


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that outlines one thing."""
    document = outline_models.card_document([])
    outputs = [{"name": "masks", "shape": [None, 1, 16, 16]}]
    network = outline_models.graph(channels=1)
    return outline_models.make(
        tmp_path / "m", labels=document["labels"][:1], outputs=outputs, network=network, reference=False
    )


def test_assess(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be assessed"):
        assess(model, tmp_path, work=tmp_path / "work.jsonl")


def test_lighten(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Only an image classifier"):
        lighten(model, tmp_path, tmp_path / "out")

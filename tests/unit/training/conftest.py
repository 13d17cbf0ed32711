from __future__ import annotations

import pytest

from medviewer.training import evaluate as evaluation


@pytest.fixture
def no_explanations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations without their heat maps: those of a real network take a minute, and test_robustness looks at them."""
    monkeypatch.setattr(evaluation, "_explanations", lambda *_: None)

"""The engine that the window's tests use must behave as the real one does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medviewer.domain.errors import Stopped, WorkerDiedError
from medviewer.domain.progress import StopToken
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from tests import fakes


@pytest.fixture
def fake(model_folder: Path) -> fakes.FakeEngine:
    return fakes.FakeEngine(Catalogue([model_folder.parent]))


def test_it_answers_as_the_real_one(fake: fakes.FakeEngine, engine: Engine) -> None:
    mine, real = fake.ask(fakes.make_case(), fakes.MODEL_ID), engine.ask(fakes.make_case(), fakes.MODEL_ID)
    assert mine.guards == real.guards
    assert mine.findings[0].probability == pytest.approx(real.findings[0].probability, abs=1e-6)
    x = {"x": fakes.images(1), "selector": np.ones((1, 1), np.float32)}
    assert set(fake.run(fakes.MODEL_ID, x, role="explain")) == set(engine.run(fakes.MODEL_ID, x, role="explain"))


def test_it_can_be_held_and_stopped(fake: fakes.FakeEngine) -> None:
    fake.gate.clear()
    stop = StopToken()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(fake.run, fakes.MODEL_ID, {"x": fakes.images(1)}, stop=stop)
        assert fake.entered.wait(5)
        assert not running.done()
        stop.stop()
        with pytest.raises(Stopped):
            running.result()


def test_it_can_be_held_and_released(fake: fakes.FakeEngine) -> None:
    fake.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(fake.run, fakes.MODEL_ID, {"x": fakes.images(1)})
        assert fake.entered.wait(5)
        fake.gate.set()
        assert "logits" in running.result()


def test_it_can_fail_once(fake: fakes.FakeEngine) -> None:
    fake.failure = WorkerDiedError("gone")
    with pytest.raises(WorkerDiedError):
        fake.ask(fakes.make_case(), fakes.MODEL_ID)
    assert fake.ask(fakes.make_case(), fakes.MODEL_ID).status == "answer"

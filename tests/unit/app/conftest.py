"""The application with an image open, and with a second model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app.start import running_application
from medviewer.inference.catalogue import Catalogue
from tests.conftest import InlineExecutor
from tests.fakes import MODEL_ID, make_model
from tests.phantoms import SMALL_CHEST, write_chest
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine

OTHER_ID = "other-model"


@pytest.fixture
def reader(application: Application, tmp_path: Path) -> Application:
    """The application with a chest CT and an earlier one of the same person."""
    write_chest(tmp_path / "a", **SMALL_CHEST)
    write_chest(tmp_path / "b", **SMALL_CHEST | {"n_slices": 15, "slice_mm": 20.0}, date="20230301")
    application.run_command("file.open_folder", tmp_path)
    return application


@pytest.fixture
def opened(application: Application, tmp_path: Path) -> Application:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    return application


@pytest.fixture
def two_models(fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path) -> Iterator[Application]:
    """An image is open; the engine has a second model. All work is done at once."""
    models = tmp_path / "models"
    make_model(models / MODEL_ID)
    make_model(models / OTHER_ID, id=OTHER_ID, title={"en": "Other model", "zh": "另一模型"})
    fake_engine.catalogue = Catalogue([models])
    with running_application(medviewer_home, lambda call: call(), fake_engine, InlineExecutor) as app:
        app.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
        app.run_command("model.select", MODEL_ID)
        yield app

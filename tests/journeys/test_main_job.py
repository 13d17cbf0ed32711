"""The main job, whole: open the sample radiograph, run a model, see why, beside the record, save, find it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PySide6.QtGui import QImage

from medviewer.app.on_screen import current_answer, current_attribution
from medviewer.gui.run import grab_window
from medviewer.records.audit import AuditTrail
from medviewer.records.store import RecordStore
from medviewer.resources import models_dir
from tests import samples
from tests.fakes import MODEL_ID, make_model


@pytest.fixture(params=["tiny", "bundled"])
def model_id(request: pytest.FixtureRequest, medviewer_home: Path) -> str:
    """A tiny model beside the user's data, and the real one that MedViewer carries."""
    if request.param == "tiny":
        make_model(medviewer_home / "models" / MODEL_ID)
        return MODEL_ID
    bundled = models_dir() / "chest-xray-pneumonia" / "model.json"
    if not bundled.is_file():
        pytest.skip("the bundled model is not there: run `medviewer train chest-xray`")
    return "chest-xray-pneumonia"


@pytest.mark.slow
def test_the_main_job(qapp: Any, model_id: str, medviewer_home: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    state = grab_window(tmp_path / "window.png", results=out)

    # The radiograph of the package, as it is: nothing may be measured on it.
    assert state.selection is not None
    dataset = pydicom.dcmread(samples.package_file("RG1_UNCR.dcm"))
    assert state.selection.image.sop_instance_uid == dataset.SOPInstanceUID
    assert state.frame is not None
    np.testing.assert_array_equal(state.frame.stored, dataset.pixel_array)
    assert "spacing of 0" in state.frame.description.no_measuring_because

    # An answer with its warning: the model knows children only. A heat map of its own.
    found = current_answer(state)
    assert found is not None
    subject, answer = found
    assert subject.model_id == model_id
    assert any(guard.code == "age" and guard.level == "warn" for guard in answer.guards)
    attribution = current_attribution(state)
    assert attribution is not None
    assert attribution.placed.shape == state.frame.stored.shape
    assert attribution.faithfulness is not None

    # Beside the patient's own record.
    assert state.record is not None
    assert state.record.allergies
    assert state.record_mismatch == ""
    assert dataset.StudyInstanceUID in [mark.study_instance_uid for mark in state.record.studies]

    # The picture shows the radiograph in grey, with the colours of the heat map over it.
    picture = QImage(str(tmp_path / "window.png")).convertToFormat(QImage.Format.Format_RGB888)
    assert (picture.width(), picture.height()) == (1920, 1080)
    rows = np.frombuffer(picture.constBits(), np.uint8).reshape(1080, picture.bytesPerLine())[:, : 1920 * 3]
    middle = rows.reshape(1080, 1920, 3)[200:800, 400:1000].astype(int)
    assert middle.mean() > 60
    assert (np.ptp(middle, axis=2) > 20).mean() > 0.02

    # Results, record and audit trail are on the disk.
    document = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert document["model"]["sha256"] == answer.provenance.model_sha256
    with RecordStore(medviewer_home / "records.sqlite") as store:
        assert len(store.answers_for(subject.image_key)) == 1
        trail = AuditTrail(store.database, medviewer_home / "audit")
        assert trail.verify().ok
        done = [entry.event.what for entry in trail.entries()]
    assert {"study.opened", "model.run", "results.saved"} <= set(done)

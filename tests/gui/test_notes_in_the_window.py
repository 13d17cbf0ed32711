"""A note in the real window, with real threads: unfolded, a model run on it, stopped, run to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.note_models import note_answer_of
from medviewer.app.start import running_application
from medviewer.gui.anchored_text import AnchoredText
from medviewer.gui.post import GuiPost
from medviewer.gui.window import MainWindow
from tests import data_models
from tests.gui.reader import Reader
from tests.gui.seen import is_offered, press
from tests.gui.test_notes_section import unfold
from tests.radiographs import write_radiograph
from tests.unit.app.test_note_models import KNOWN, STUDY

MODEL = "tiny-tfidf"


@pytest.fixture
def engine(tmp_path: Path) -> data_models.DataEngine:
    data_models.make("tfidf", tmp_path / "models" / "tfidf")
    return data_models.DataEngine(tmp_path / "models")


@pytest.fixture
def reader(engine: data_models.DataEngine, medviewer_home: Path, tmp_path: Path, qtbot: Any) -> Iterator[Reader]:
    post = GuiPost()
    with running_application(medviewer_home, post, engine) as app:
        app.records.store().save_record(KNOWN)
        window = MainWindow(app)
        qtbot.addWidget(window)
        window.show()
        acting = Reader(window, qtbot)
        acting.open(write_radiograph(tmp_path / "a.dcm", **STUDY))  # type: ignore[arg-type]
        yield acting
        engine.gate.set()
        window.close()
        post.close()


def test_a_run_is_stopped_by_its_button_and_the_next_one_marks_the_words(
    reader: Reader, engine: data_models.DataEngine
) -> None:
    panel = reader.window.record
    reader.window._tabs.setCurrentWidget(panel)
    unfold(panel)
    reader.wait(lambda: is_offered(panel, "Run"))
    engine.gate.clear()
    press(panel, "Run")
    reader.wait(lambda: engine.entered.is_set() and is_offered(panel, "Stop it"))
    press(panel, "Stop it")
    reader.settle()
    assert note_answer_of(reader.state, 0, MODEL) is None
    assert reader.state.jobs == ()
    engine.gate.set()
    reader.wait(lambda: is_offered(panel, "Run"))
    press(panel, "Run")

    def is_judged() -> bool:
        said = note_answer_of(reader.state, 0, MODEL)
        return said is not None and said.attribution is not None and said.attribution.faithfulness is not None

    reader.wait(is_judged)
    text = panel.findChild(AnchoredText)
    assert {text.toPlainText()[one.start : one.end] for one in text.painted} <= {
        "cough", "fever", "chest", "pain", "breath",
    }  # fmt: skip
    assert text.painted

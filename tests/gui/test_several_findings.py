"""Of several findings the window shows the map of one, says which one it is, and lets the reader choose another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from medviewer.app.on_screen import is_record_checked
from medviewer.explain.comparison import agreement
from medviewer.gui import viewport_marks
from medviewer.gui.trust_panel import TrustCard
from medviewer.inference.catalogue import Catalogue
from tests.fakes import MODEL_ID, make_model, make_model_of_three
from tests.gui.reader import Reader
from tests.gui.seen import all_words, settle, words
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.gui.window import MainWindow
    from tests.fakes import FakeEngine


@pytest.fixture
def several(fake_engine: FakeEngine, tmp_path: Path) -> None:
    """The engine's one model has three findings."""
    make_model_of_three(tmp_path / "models" / MODEL_ID)
    fake_engine.catalogue = Catalogue([tmp_path / "models"])


@pytest.fixture
def reader(several: None, main_window: MainWindow, qtbot: Any, tmp_path: Path) -> Reader:
    return analysed(main_window, qtbot, tmp_path)


def analysed(window: MainWindow, qtbot: Any, tmp_path: Path) -> Reader:
    acting = Reader(window, qtbot)
    window.resize(1440, 900)
    acting.open(write_radiograph(tmp_path / "a.dcm"))
    acting.wait(lambda: is_record_checked(acting.state))
    window.app.run_command("model.run")
    acting.settle()
    return acting


def written(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words that stand beside the colour bars."""
    said: list[str] = []
    real = viewport_marks._write
    with monkeypatch.context() as patched:
        patched.setattr(
            viewport_marks, "_write", lambda p, r, text, *more: (said.append(text), real(p, r, text, *more))
        )
        for viewport in reader.window.viewports.visible:
            viewport.grab()
    return said


def trust(reader: Reader) -> list[str]:
    """The lines of the card that says how far the answer can be believed."""
    settle()
    [card] = reader.window.findings.findChildren(TrustCard)
    return words(card)


def test_the_finding_of_the_map_is_named_and_the_keyboard_chooses_another(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = reader.window.findings.explain
    reader.wait(lambda: controls.finding.isVisibleTo(reader.window.findings))
    assert [controls.finding.itemText(i) for i in range(3)] == ["Pneumonia", "Effusion", "Nodule"]
    assert controls.finding.currentData() == "pneumonia"
    assert "Grad-CAM: Pneumonia" in written(reader, monkeypatch)
    reader.wait(lambda: "Pneumonia" in trust(reader))
    controls.finding.setFocus(Qt.FocusReason.TabFocusReason)
    QTest.keyClick(controls.finding, Qt.Key.Key_Down)
    reader.settle()
    assert controls.finding.currentData() == "effusion"
    assert "Grad-CAM: Effusion" in written(reader, monkeypatch)
    reader.wait(lambda: "Effusion" in trust(reader))
    assert "Pneumonia" not in trust(reader)
    reader.window.app.run_command("edit.undo")
    assert controls.finding.currentData() == "pneumonia"
    assert "Grad-CAM: Pneumonia" in written(reader, monkeypatch)


def test_a_comparison_names_its_finding_and_tells_one_agreement(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.window.app.run_command("explain.compare", "occlusion")
    reader.settle()
    beside = written(reader, monkeypatch)
    for title in ("Grad-CAM: Pneumonia", "Occlusion: Pneumonia", "Difference: Pneumonia"):
        assert title in beside
    panel = reader.window.findings
    reader.wait(lambda: "Both heat maps are of: Pneumonia" in all_words(panel.comparison))
    first, second = (v.painted_heat_maps.attribution for v in reader.window.viewports.visible[:2])
    found = agreement(first.saliency, second.saliency)
    assert found is not None
    reader.wait(lambda: f"Agreement: {found:.2f}" in all_words(panel.comparison))
    reader.wait(lambda: f"Agreement with Occlusion: {found:.2f} (" in all_words(panel.explain))


def test_a_single_finding_needs_no_name(main_window: MainWindow, qtbot: Any, tmp_path: Path, monkeypatch: Any) -> None:
    reader = analysed(main_window, qtbot, tmp_path)
    assert not reader.window.findings.explain.finding.isVisibleTo(reader.window.findings)
    assert "Grad-CAM" in written(reader, monkeypatch)
    reader.wait(lambda: bool(trust(reader)))
    assert "Pneumonia" not in trust(reader)


@pytest.fixture
def long_named(fake_engine: FakeEngine, tmp_path: Path) -> str:
    """The engine's one model has a finding with a long name; this is it."""
    long = "consolidation-of-both-lower-lobes-with-effusion-on-the-left"
    make_model(tmp_path / "models" / MODEL_ID, labels=(long, "effusion"))
    fake_engine.catalogue = Catalogue([tmp_path / "models"])
    return long


def test_a_long_name_is_elided_in_the_bar(
    long_named: str, main_window: MainWindow, qtbot: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    reader = analysed(main_window, qtbot, tmp_path)
    reader.window.app.run_command("explain.finding", long_named)
    reader.settle()
    [title] = [one for one in written(reader, monkeypatch) if one.startswith("Grad-CAM: ")]
    assert "…" in title
    assert title.endswith("left")

"""What a segmentation model outlined, in the window: drawn where it lies, named, hidden by a key, never on another image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PySide6.QtCore import Qt

from medviewer.app.on_screen import current_answer
from medviewer.app.saving import SaveWish
from medviewer.app.state import State
from medviewer.domain.answer import Answer, Region, Subject
from medviewer.gui.findings_panel import FindingsPanel, ModelRow
from medviewer.gui.region_layer import shown_regions
from medviewer.gui.region_words import area_words, share_words
from medviewer.gui.save_dialog import SaveDialog
from medviewer.inference.catalogue import Catalogue
from tests import fakes, outline_models
from tests.answers import make_answer, make_radiograph
from tests.gui import panel_states as made
from tests.gui.reader import Reader, has_color, pixels
from tests.gui.seen import TURNS, Asked, all_words, press, show
from tests.outline_models import OutlineEngine, block_mask, make_outlines, make_region, picture

if TYPE_CHECKING:
    from medviewer.gui.window import MainWindow

ROWS, COLUMNS = 64, 48
STEPS = {
    "view.flip_horizontal": lambda p: p[:, ::-1],
    "view.flip_vertical": lambda p: p[::-1],
    "view.rotate_left": lambda p: np.rot90(p, 1),
    "view.rotate_right": lambda p: np.rot90(p, -1),
}


@pytest.fixture
def fake_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OutlineEngine]:
    """The engine of the main window, with a model that outlines and one that classifies."""
    folder = tmp_path_factory.mktemp("models")
    outline_models.make(folder / outline_models.MODEL_ID)
    fakes.make_model(folder / fakes.MODEL_ID)
    engine = OutlineEngine(Catalogue([folder]))
    yield engine
    engine.close()


@pytest.fixture
def reader(main_window: MainWindow, qtbot: Any, tmp_path: Path) -> Reader:
    acting = Reader(main_window, qtbot)
    acting.open(film(tmp_path / "a.dcm"), film(tmp_path / "b.dcm", PatientID="B2", PatientName="Beta^Ben"))
    acting.select("Doe^Jane")
    acting.window.app.run_command("model.select", outline_models.MODEL_ID)
    acting.window.app.session.update(corner_text="none")
    acting.settle()
    return acting


def film(path: Path, **changes: Any) -> Path:
    known = {"ImagerPixelSpacing": [0.5, 0.5], "PixelData": picture(ROWS, COLUMNS).astype("<u2").tobytes()}
    return make_radiograph(path, rows=ROWS, columns=COLUMNS, **{**known, **changes}).path


def run(reader: Reader) -> Answer:
    reader.window.app.run_command("model.run")
    reader.settle()
    found = current_answer(reader.state)
    assert found is not None
    return found[1]


# On the image


@pytest.mark.parametrize("steps", TURNS)
def test_each_outline_lies_on_what_it_outlines(reader: Reader, steps: tuple[str, ...]) -> None:
    answer, zoom = run(reader), 4
    app, viewport = reader.window.app, reader.window.viewport
    app.run_command("explain.opacity", 1.0)
    expected = {region.label: region.mask for region in answer.regions}
    for step in steps:
        app.run_command(step)
        expected = {label: STEPS[step](mask) for label, mask in expected.items()}
    app.run_command("view.place", (float(zoom), (24.0, 32.0)))
    transform = viewport.placement().transform
    (x0, y0), (x1, y1) = transform.map(0.0, 0.0), transform.map(float(COLUMNS), float(ROWS))
    top, left = round(min(y0, y1)), round(min(x0, x1))
    rows, columns = expected["bright"].shape
    seen = pixels(viewport)[top : top + zoom * rows, left : left + zoom * columns].astype(int)
    for region in answer.regions:
        ink = np.array(region.color)
        tint = seen - seen.mean(axis=2, keepdims=True)
        drawn = (tint @ (ink - ink.mean())) / np.linalg.norm(ink - ink.mean()) > 20
        wanted = expected[region.label].repeat(zoom, axis=0).repeat(zoom, axis=1)
        inner, outer = shrunk(wanted, 3), ~shrunk(~wanted, 3)  # the line has a width, and an edge of its own
        assert drawn[inner].all()
        assert not drawn[~outer].any()


def shrunk(mask: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        padded = np.pad(mask, 1, constant_values=True)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def test_the_outline_stays_where_the_fill_is_taken_away(reader: Reader) -> None:
    run(reader)
    app, viewport = reader.window.app, reader.window.viewport
    app.run_command("explain.opacity", 1.0)
    filled = coloured(viewport)
    app.run_command("explain.opacity", 0.0)
    bare = coloured(viewport)
    assert 0 < bare < filled / 3


def coloured(viewport: Any) -> int:
    return int((np.ptp(pixels(viewport)[:-24].astype(int), axis=2) > 30).sum())


def test_one_key_hides_outlines_and_legend_and_brings_them_back(reader: Reader) -> None:
    run(reader)
    assert has_color(reader.window.viewport)
    for is_shown in (False, True):
        reader.key(Qt.Key.Key_X)
        assert has_color(reader.window.viewport) is is_shown
    reader.settle()


def test_what_is_on_screen_says_that_it_is_an_ais_result(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    run(reader)
    painted = painted_words(reader, monkeypatch)
    assert "AI result, research use only" in painted
    assert any(words.startswith("Dark  ") and words.endswith("mm²") for words in painted)


def painted_words(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written over the image."""
    from medviewer.gui import region_layer

    painted: list[str] = []
    write = region_layer._write

    def heard(painter: Any, where: Any, font: Any, words: str, room: float, ink: Any) -> None:
        painted.append(words)
        write(painter, where, font, words, room, ink)

    monkeypatch.setattr(region_layer, "_write", heard)
    reader.window.viewport.grab()
    return painted


def test_the_legend_never_leaves_the_image_and_tells_how_many_do_not_fit(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = run(reader)
    many = tuple(replace(answer.regions[1], label=f"r{n}", title=f"Label {n}") for n in range(60))
    put(reader, replace(answer, regions=many))
    painted = painted_words(reader, monkeypatch)
    assert painted[-1].startswith("+")
    assert len(painted) - 2 + int(painted[-1]) == 60


def put(reader: Reader, answer: Answer) -> None:
    found = current_answer(reader.state)
    assert found is not None
    reader.window.app.session.update(answers=MappingProxyType({found[0]: answer}))


@pytest.mark.reliability
def test_an_outline_is_never_drawn_on_another_image(reader: Reader) -> None:
    run(reader)
    reader.select("Beta^Ben")
    reader.wait(lambda: reader.state.frame is not None)
    reader.settle()
    assert not has_color(reader.window.viewport)
    assert shown_regions(reader.state) == ()
    reader.select("Doe^Jane")
    reader.wait(lambda: reader.state.frame is not None)
    reader.settle()
    assert has_color(reader.window.viewport)


@pytest.mark.reliability
def test_an_outline_is_hidden_where_image_and_record_contradict_each_other(reader: Reader) -> None:
    run(reader)
    reader.window.app.session.update(record_mismatch="The image and the record contradict each other.")
    assert not has_color(reader.window.viewport)
    reader.settle()


@pytest.mark.reliability
def test_an_outline_is_withheld_until_the_reader_has_written_an_impression(reader: Reader) -> None:
    run(reader)
    reader.window.app.session.update(read_first=True)
    assert not has_color(reader.window.viewport)
    assert "mm²" not in all_words(reader.window.findings)
    reader.settle()


@pytest.mark.reliability
def test_an_outline_of_another_size_is_never_drawn(reader: Reader) -> None:
    answer = run(reader)
    put(reader, replace(answer, regions=(make_region("dark", block_mask("dark", COLUMNS, ROWS)),)))
    assert shown_regions(reader.state) == ()
    assert not has_color(reader.window.viewport)


@pytest.mark.parametrize(
    ("mm2", "said"),
    [(1234.4, "1,234 mm²"), (99.94, "99.9 mm²"), (9.26, "9.3 mm²"), (0.0432, "0.043 mm²"), (0.0, "0.0 mm²")],
)
def test_a_small_area_is_not_none(mm2: float, said: str) -> None:
    mask = block_mask("dark", ROWS, COLUMNS)
    assert area_words(make_region("dark", mask, area_mm2=mm2)) == said
    tiny = np.zeros((2000, 2000), bool)
    tiny[3, 3:6] = True
    assert share_words(make_region("dark", tiny)).startswith("0.000075% of the image; ")


@pytest.mark.reliability
def test_a_failed_run_takes_the_outlines_away(reader: Reader, fake_engine: OutlineEngine) -> None:
    from medviewer.domain.errors import EngineError

    run(reader)
    fake_engine.failure = EngineError("No result today.")
    reader.window.app.run_command("model.run")
    reader.settle()
    assert not has_color(reader.window.viewport)
    reader.wait(lambda: "There is no result" in all_words(reader.window.findings))


def test_another_method_is_answered_with_a_sentence_and_not_with_a_failure(reader: Reader) -> None:
    run(reader)
    reader.window.app.run_command("explain.method", "occlusion")
    reader.settle()
    assert reader.state.notice.text.startswith("The outline of this model is its own explanation")
    assert reader.state.attributions == {}
    assert has_color(reader.window.viewport)


# In the panel


ROW = ModelRow(
    made.MODEL,
    {"en": "Lung fields", "zh": "肺野"},
    findings={"dark": {"en": "Lung", "zh": "肺"}, "bright": {"en": "Bone", "zh": "骨"}},
)


@pytest.fixture
def panel(qtbot: Any) -> FindingsPanel:
    one = FindingsPanel([ROW], made.METHODS, {"explain.toggle": "X"})
    qtbot.addWidget(one)
    return one


def outlined(*regions: Region, **changes: Any) -> State:
    answer = make_outlines(ROWS, COLUMNS, **({"regions": regions} if regions else {}), guards=made.GUARDS)
    return replace(made.answered(said=answer), **changes)


def test_each_label_has_its_name_area_and_what_it_rests_on(panel: FindingsPanel) -> None:
    mask = block_mask("dark", ROWS, COLUMNS)
    show(panel, outlined(make_region("dark", mask, area_mm2=123.4)))
    said = all_words(panel)
    for words in (
        "AI result, research use only", "Lung", "123 mm²", "Measured at the detector: larger than in the patient.",
        "% of the image", "mean probability inside 0.93, not calibrated", "Dice 0.95",
        "The outline of this model is its own explanation: there is no heat map of it.", "Hide outlines (X)",
    ):  # fmt: skip
        assert words in said
    assert panel.explain.isHidden()
    assert panel.comparison.isHidden()
    assert not panel.decision.isHidden()


def test_pixels_are_told_with_the_reason_where_there_is_no_size(panel: FindingsPanel) -> None:
    mask = block_mask("dark", ROWS, COLUMNS)
    because = "The file gives no pixel spacing."
    region = make_region("dark", mask, area_mm2=None, basis="", remark=because)
    show(panel, outlined(region))
    assert f"{mask.sum()} pixels" in all_words(panel)
    assert f"No area in mm²: {because}" in all_words(panel)
    assert "mm²\n" not in all_words(panel)
    show(panel, outlined(region, language="zh"))
    assert "文件未给出像素间距。" in all_words(panel)


def test_nothing_outlined_is_said_and_is_no_error(panel: FindingsPanel) -> None:
    show(panel, outlined(make_region("dark", np.zeros((ROWS, COLUMNS), bool))))
    said = all_words(panel)
    assert "nothing outlined" in said
    assert "Nothing outlined above the threshold 0.5" in said
    assert "There is no result" not in said
    assert "mean probability" not in said


def test_the_panel_speaks_chinese(panel: FindingsPanel) -> None:
    show(panel, outlined(), outlined(language="zh"))
    said = all_words(panel)
    for words in ("AI 结果，仅供科研使用", "肺", "骨", "在探测器平面测量", "隐藏轮廓（X）", "该模型的轮廓本身就是解释"):
        assert words in said


def test_controls_ask_for_what_the_heat_maps_controls_ask(panel: FindingsPanel) -> None:
    asked = Asked(panel)
    show(panel, outlined())
    press(panel, "Hide outlines (X)")
    panel.outlines.opacity.slider.setValue(80)
    assert asked.calls == [("explain.toggle", None), ("explain.opacity", 0.8)]
    hidden = outlined()
    show(panel, replace(hidden, overlay=replace(hidden.overlay, visible=False, opacity=0.2)))
    assert "Show outlines (X)" in all_words(panel)
    assert panel.outlines.opacity.slider.value() == 20
    assert len(asked.calls) == 2  # showing asks for nothing


def test_a_finding_has_no_controls_of_outlines(panel: FindingsPanel) -> None:
    show(panel, outlined(), made.answered())
    assert panel.outlines.isHidden()
    assert not panel.explain.isHidden()
    assert "mm²" not in all_words(panel)


@pytest.mark.reliability
def test_outlines_of_another_image_or_model_are_not_told(panel: FindingsPanel) -> None:
    state = outlined()
    show(panel, state, replace(state, model_id="other"))
    assert "mm²" not in all_words(panel)
    other = Subject(("x", "y", 0), made.MODEL, made.SHA)
    show(panel, replace(state, answers=MappingProxyType({other: next(iter(state.answers.values()))})))
    assert "mm²" not in all_words(panel)
    assert panel.outlines.isHidden()


# Saving


def test_what_is_saved_is_what_was_wished_and_without_identity_no_object(reader: Reader, tmp_path: Path) -> None:
    run(reader)
    app = reader.window.app
    app.run_command("file.save_results", SaveWish(tmp_path / "with"))
    reader.settle()
    names = {path.name for path in (tmp_path / "with").iterdir()}
    assert names == {"result.json", "overlay.png", "outlines.seg.dcm", "finding.sr.dcm", "capture.sc.dcm"}
    app.run_command("file.save_results", SaveWish(tmp_path / "without", with_pdf=True, with_identity=False))
    reader.settle()
    assert {p.name for p in (tmp_path / "without").iterdir()} == {"result.json", "overlay.png", "report.pdf"}
    document = json.loads((tmp_path / "without" / "result.json").read_text(encoding="utf-8"))
    assert [region["file"] for region in document["regions"]] == [None, None]


def test_the_dialog_offers_outlines_in_the_place_of_heat_maps(qtbot: Any) -> None:
    dialog = SaveDialog(make_outlines(ROWS, COLUMNS), has_map=False)
    qtbot.addWidget(dialog)
    assert list(dialog.boxes) == ["report", "capture"]
    assert "Outlines and report (DICOM SEG, SR)" in [box.text() for box in dialog.boxes.values()]
    usual = SaveDialog(make_answer())
    qtbot.addWidget(usual)
    assert list(usual.boxes) == ["report", "capture", "maps", "segments", "keys"]


def test_the_page_for_people_tells_and_shows_what_was_outlined(reader: Reader, tmp_path: Path) -> None:
    import pypdfium2

    run(reader)
    wish = SaveWish(tmp_path / "out", with_pdf=True, with_identity=False)
    reader.window.app.run_command("file.save_results", wish)
    reader.settle()
    document = pypdfium2.PdfDocument(tmp_path / "out" / "report.pdf")
    try:
        page = document[0]
        text = " ".join(page.get_textpage().get_text_range().split())
        drawn = page.render(scale=2).to_numpy().astype(int)
    finally:
        document.close()
    assert "What the model outlined. AI result, research use only" in text
    assert "mm²" in text
    assert "Dark:" in text
    assert (np.ptp(drawn, axis=2) > 60).sum() > 200

"""A printed page: the viewports as on screen, true rulers or none, and who it is only where that may be said."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QImage, QPainter
from PySide6.QtPrintSupport import QPrinter
from PySide6.QtWidgets import QFileDialog

from medviewer.app.on_screen import measured_image
from medviewer.app.opening import sample_path
from medviewer.app.printing import PAPERS_MM, Page, PrintWish, page_of
from medviewer.app.state import Pane
from medviewer.domain.errors import StorageError
from medviewer.domain.measurement import new_measurement
from medviewer.domain.study import UltrasoundRegion
from medviewer.gui.placing import Placement
from medviewer.gui.print_dialog import PrintDialog
from medviewer.gui.print_sheet import PrintedSheet, page_layout, paint_on, panel_of, ruler_mm
from tests.gui.reader import Reader
from tests.gui.seen import all_words, press
from tests.phantoms import write_chest
from tests.radiographs import write_radiograph

RESEARCH = "Research use only - not for diagnosis"
DOTS = 10  # a millimetre


@pytest.fixture
def reader(main_window, qtbot, tmp_path: Path) -> Reader:
    made = Reader(main_window, qtbot)
    made.open(write_plate(tmp_path / "a.dcm"))
    return made


def write_plate(path: Path, **changes: Any) -> Path:
    """A dark plate of 80 mm x 48 mm with a bright bar from 20 to 70 mm: 50 mm long, whatever the zoom."""
    pixels = np.full((96, 80), 100, np.uint16)
    pixels[20:24, 20:70] = 4000
    write_radiograph(path, **({"PixelSpacing": [0.5, 1.0]} | changes))
    dataset = pydicom.dcmread(path)
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path)
    return path


@pytest.fixture
def drawn_words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    real: Any = QPainter.drawText

    def draw(self: QPainter, *args: Any) -> Any:
        found.extend(a for a in args if isinstance(a, str))
        return real(self, *args)

    monkeypatch.setattr(QPainter, "drawText", draw)
    return found


def painted(sheet: PrintedSheet) -> np.ndarray:
    """The page as grey (rows, columns), ten dots a millimetre."""
    width, height = (round(side * DOTS) for side in sheet.page.size_mm)
    image = QImage(width, height, QImage.Format.Format_Grayscale8)
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    painter.scale(DOTS, DOTS)
    sheet.paint(painter)
    painter.end()
    return grey_of(image)


def grey_of(image: QImage) -> np.ndarray:
    image = image.convertToFormat(QImage.Format.Format_Grayscale8)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width()].copy().astype(int)


def sheet_of(reader: Reader, **changes: Any) -> PrintedSheet:
    made = reader.window.draw_sheet(replace(PrintWish(), **changes))
    assert made is not None
    return made


def ruler_dots(page: np.ndarray) -> float:
    """The length of the ruler: the longest thin dark line on white, below the picture."""
    longest = 0
    for row in page:
        dark = np.flatnonzero(np.diff(np.concatenate([[0], (row < 128).astype(int), [0]])))
        runs = dark[1::2] - dark[::2]
        if runs.size and (row > 200).sum() > 0.55 * row.size:
            longest = max(longest, int(runs.max()))
    return float(longest)


def bar_dots(page: np.ndarray) -> int:
    """How long the bright bar of the plate is on the page: the longest bright run between dark ones in a dark line."""
    longest = 0
    for line in page:
        if (line < 100).mean() < 0.3:
            continue  # a line of the paper
        edges = np.flatnonzero(np.diff(np.concatenate([[0], (line > 200).astype(int), [0]])))
        inside = [
            int(end - start) for start, end in zip(edges[::2], edges[1::2], strict=True) if 0 < start < end < line.size
        ]
        longest = max([longest, *inside])
    return longest


@pytest.mark.parametrize("command", ["", "view.flip_horizontal", "view.zoom_in"])
@pytest.mark.parametrize("page", [Page(), Page("A3", True), Page("Letter")])
def test_the_ruler_is_as_long_as_what_is_as_long_in_the_patient(reader: Reader, command: str, page: Page) -> None:
    if command:
        reader.window.app.run_command(command)
    reader.window.app.run_command("view.corner_text")  # words over the image would cut the bar
    reader.window.app.run_command("view.corner_text")
    sheet = sheet_of(reader, page=page)
    dots = painted(sheet)
    ruler = ruler_dots(dots)
    placed = reader.window.viewport.placement()
    # Of the 80 mm wide plate: paper millimetres a patient millimetre, from the zoom that is on screen.
    width_px = placed.transform.mapRect(QRectF(0, 0, 80, 96)).width()
    inner_w, inner_h = sheet.page.size_mm[0] - 24, sheet.page.size_mm[1] - 24 - 18 - 7
    view = reader.window.viewport
    share = min(inner_w / view.width(), inner_h / view.height()) * width_px / 80.0
    expected = ruler_mm(share, view.width() * min(inner_w / view.width(), inner_h / view.height()))
    assert expected > 0
    assert ruler == pytest.approx(expected * share * DOTS, abs=5)  # and the ends are 2.5 wide


def test_the_bar_and_the_ruler_agree_on_paper(reader: Reader) -> None:
    for _ in range(2):
        reader.window.app.run_command("view.corner_text")
    dots = painted(sheet_of(reader))
    panel = sheet_of(reader).panels[0]
    assert panel.mm_per_px is not None
    bar, ruler = bar_dots(dots), ruler_dots(dots)
    lengths = [n for n in (200, 100, 50, 20, 10, 5, 2, 1) if ruler / n == pytest.approx(bar / 50, rel=0.03)]
    assert len(lengths) == 1  # the bar is 50 mm long in the patient


def test_a_turned_image_is_measured_along_the_paper(reader: Reader) -> None:
    upright = sheet_of(reader).panels[0].mm_per_px
    reader.window.app.run_command("view.rotate_left")
    turned = sheet_of(reader).panels[0].mm_per_px
    placed = reader.window.viewport.placement()
    assert upright is not None
    assert turned is not None
    # Turned, a step to the right is one along the rows, 0.5 mm each.
    rows_per_px = 1 / (placed.zoom / placed.ratio * placed.aspect)
    assert turned == pytest.approx(rows_per_px * 0.5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PixelSpacing": None}, "No scale: the file gives no usable pixel spacing."),
        ({"PixelSpacing": [0, 0]}, "No scale: the file gives no usable pixel spacing."),
    ],
)
def test_without_a_spacing_there_is_no_ruler_and_it_is_said(
    main_window, qtbot, tmp_path: Path, drawn_words: list[str], changes: dict[str, Any], words: str
) -> None:
    reader = Reader(main_window, qtbot)
    reader.open(write_plate(tmp_path / "a.dcm", **changes))
    sheet = sheet_of(reader)
    assert (sheet.panels[0].mm_per_px, sheet.panels[0].words) == (None, words)
    drawn_words.clear()
    painted(sheet)
    assert words in drawn_words
    assert not any(re.search(r"\d mm|Scale", text) for text in drawn_words)


def test_an_image_that_the_reader_calibrated_has_no_ruler_of_the_file(reader: Reader) -> None:
    where = measured_image(reader.state)
    assert where is not None
    by_hand = new_measurement("calibration", ((1.0, 1.0), (40.0, 1.0)), where, known_mm=10.0)
    reader.window.app.session.update(measurements={where: (by_hand,)})
    panel = sheet_of(reader).panels[0]
    assert (panel.mm_per_px, panel.words) == (None, "No scale: this image was calibrated by hand.")


def test_ultrasound_regions_have_no_ruler_of_the_spacing(reader: Reader) -> None:
    assert sheet_of(reader).panels[0].mm_per_px is not None
    region = UltrasoundRegion((0, 0), (9, 9), ("cm", "cm"), (0.05, 0.05))
    frame = reader.state.frame
    described = replace(frame, description=replace(frame.description, ultrasound_regions=(region,)))
    panel = panel_of(QImage(9, 9, QImage.Format.Format_RGB32), replace(reader.state, frame=described), placed(reader))
    words = "No scale: this image's ultrasound regions have scales of their own."
    assert (panel.mm_per_px, panel.words) == (None, words)


def placed(reader: Reader) -> Placement:
    found = reader.window.viewport.placement()
    assert found is not None
    return found


def test_who_it_is_and_what_it_is_not_for(reader: Reader, drawn_words: list[str]) -> None:
    painted(sheet_of(reader))
    assert any(
        text.startswith("\u2068Alpha, Anna\u2069") and "A1" in text and "2001-02-03" in text for text in drawn_words
    )
    assert RESEARCH in drawn_words
    drawn_words.clear()
    painted(sheet_of(reader, with_identity=False))
    assert "Identity hidden" in drawn_words
    assert RESEARCH in drawn_words
    assert not any("Alpha" in text or "A1" in text or "2001" in text for text in drawn_words)


@pytest.mark.reliability
def test_each_image_of_a_page_with_several_studies_has_its_own_date(
    main_window, qtbot, tmp_path: Path, drawn_words: list[str]
) -> None:
    """Corner text may be off: the prior must not stand under the date of the current study."""
    for name, date in (("a", "20050203"), ("b", "20010406")):
        write_plate(tmp_path / f"{name}.dcm", StudyDate=date, StudyInstanceUID=f"2.25.{date}")
    reader = Reader(main_window, qtbot)
    reader.open(tmp_path)
    app = reader.window.app
    if reader.state.layout == (1, 1):
        app.run_command("layout.prior")
    app.run_command("view.corner_text")
    reader.settle()
    assert reader.state.corner_text == "minimal"
    dates = {0: "2005-02-03", 1: "2001-04-06"}
    sheet = sheet_of(reader)
    assert [panel.words.split()[0] for panel in sheet.panels] == list(dates.values())
    drawn_words.clear()
    painted(sheet)
    below = [text for text in drawn_words if "Scale" in text]
    assert [[date in text for date in dates.values()] for text in below] == [[True, False], [False, True]]
    assert all("lengths: at detector" in text for text in below), "a shorter ruler leaves room for where they hold"
    assert not any(date in line for line in sheet.head for date in dates.values())
    alone = sheet_of(reader, every_viewport=False)
    assert "2005-02-03" in alone.head[1]
    assert "2005" not in alone.panels[0].words


def test_hidden_identity_is_neither_offered_nor_printed(reader: Reader, tmp_path: Path, qtbot) -> None:
    app = reader.window.app
    app.run_command("view.hide_identity")
    app.run_command("file.print", PrintWish(tmp_path / "a.pdf"))
    assert "Identity is hidden" in reader.state.notice.text
    assert not (tmp_path / "a.pdf").exists()
    dialog = PrintDialog(PrintWish(), reader.window.draw_sheet, identity_hidden=True)
    qtbot.addWidget(dialog)
    assert not dialog.identity.isEnabled()
    assert not dialog.wish.with_identity
    app.run_command("file.print", PrintWish(tmp_path / "a.pdf", with_identity=False))
    reader.settle()
    assert reader.state.notice.text == "The page was saved, without identity."


@pytest.mark.parametrize("page", [Page(name, way) for name in PAPERS_MM for way in (False, True)], ids=lambda p: p.text)
def test_a_pdf_has_one_page_of_that_paper(reader: Reader, page: Page) -> None:
    content = sheet_of(reader, page=page).pdf()
    assert content.startswith(b"%PDF-")
    (box,) = re.findall(rb"/MediaBox \[([0-9. ]+)\]", content)
    size = [float(part) / 72 * 25.4 for part in box.split()][2:]
    assert size == pytest.approx(page.size_mm, abs=0.5)
    assert b"Alpha" not in content


@pytest.mark.skipif(shutil.which("gs") is None, reason="Ghostscript reads PDF files: apt-get install ghostscript")
def test_another_program_reads_the_page_as_it_was_drawn(reader: Reader, tmp_path: Path) -> None:
    app = reader.window.app
    app.run_command("file.print", PrintWish(tmp_path / "a.pdf", Page("A4")))
    reader.settle()
    drawn = painted(sheet_of(reader))
    command = ["gs", "-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pnggray", f"-r{DOTS * 25.4}"]
    subprocess.run([*command, f"-sOutputFile={tmp_path / 'a.png'}", str(tmp_path / "a.pdf")], check=True, timeout=60)
    read = grey_of(QImage(str(tmp_path / "a.png")))
    rows, columns = (min(a, b) for a, b in zip(read.shape, drawn.shape, strict=True))
    assert abs(rows - drawn.shape[0]) <= 2
    assert np.abs(read[:rows, :columns] - drawn[:rows, :columns]).mean() < 6
    assert ruler_dots(read) == pytest.approx(ruler_dots(drawn), abs=4)


def test_a_printer_of_another_resolution_gets_the_same_sizes(reader: Reader, tmp_path: Path) -> None:
    scales: list[float] = []
    for dpi in (150, 600):
        printer = QPrinter(QPrinter.PrinterMode.HighResolution)
        printer.setOutputFormat(QPrinter.OutputFormat.PdfFormat)
        printer.setOutputFileName(str(tmp_path / f"{dpi}.pdf"))
        printer.setResolution(dpi)
        printer.setPageLayout(page_layout(Page()))
        printer.setFullPage(True)
        sheet = sheet_of(reader)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PrintedSheet, "paint", lambda _self, painter: scales.append(painter.transform().m11()))
            paint_on(printer, sheet)
        assert (tmp_path / f"{dpi}.pdf").read_bytes().startswith(b"%PDF-")
    assert scales == pytest.approx([150 / 25.4, 600 / 25.4])


def test_a_printer_that_does_not_answer_is_said(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QPainter, "begin", lambda *_: False)
    printer = QPrinter()
    sheet = (
        sheet_of.__wrapped__(reader) if hasattr(sheet_of, "__wrapped__") else PrintedSheet(Page(), (1, 1), (), (), "")
    )
    with pytest.raises(StorageError, match="does not answer"):
        paint_on(printer, sheet)


def test_all_viewports_or_the_one_in_use(main_window, qtbot, tmp_path: Path) -> None:
    reader = Reader(main_window, qtbot)
    write_chest(tmp_path / "ct", size=40, spacing_mm=8.0, slice_mm=10.0, n_slices=12)
    reader.open(tmp_path / "ct")
    reader.window.app.run_command("layout.planes")
    reader.settle()
    every = sheet_of(reader)
    assert (every.layout, len(every.panels)) == ((2, 2), 4)
    assert all(panel.mm_per_px for panel in every.panels)
    one = sheet_of(reader, every_viewport=False)
    assert (one.layout, len(one.panels)) == ((1, 1), 1)
    assert one.panels[0].mm_per_px == every.panels[0].mm_per_px
    reader.window.app.run_command("layout.maximise")
    assert sheet_of(reader).layout == (1, 1)
    page = painted(every)
    assert (page[:, : page.shape[1] // 2] < 60).mean() > 0.1
    assert (page[:, page.shape[1] // 2 :] < 60).mean() > 0.1


def test_a_page_is_not_printed_while_an_image_is_missing(reader: Reader, tmp_path: Path) -> None:
    app = reader.window.app
    app.run_command("layout.use", (1, 2))
    app.session.update(parked={1: Pane(selection=reader.state.selection)})
    app.run_command("file.print", PrintWish(tmp_path / "a.pdf"))
    assert "still being read" in reader.state.notice.text
    assert not (tmp_path / "a.pdf").exists()


def test_paper_is_sharper_than_the_screen(main_window, qtbot, tmp_path: Path) -> None:
    sample = sample_path()
    if sample is None:
        pytest.skip("the sample study is in pydicom-data")
    reader = Reader(main_window, qtbot)
    reader.open(sample)
    screen = reader.window.viewport.drawn(reader.state)
    paper = reader.window.viewport.drawn(reader.state, sharpness=3.0)
    assert paper.width() == 3 * screen.width()
    small = grey_of(paper.scaled(screen.size(), mode=Qt.TransformationMode.SmoothTransformation))
    assert np.abs(small - grey_of(screen))[100:-100, 100:-100].mean() < 4
    blown = grey_of(screen.scaled(paper.size(), mode=Qt.TransformationMode.SmoothTransformation))
    middle = np.s_[900:-900, 900:-900]
    assert np.abs(np.diff(grey_of(paper)[middle])).mean() > 1.2 * np.abs(np.diff(blown[middle])).mean()
    assert reader.window.viewport._sharpness == 1.0


def test_the_page_is_remembered(reader: Reader, tmp_path: Path) -> None:
    reader.window.app.run_command("file.print", PrintWish(tmp_path / "a.pdf", Page("Letter", True)))
    reader.settle()
    assert page_of(reader.window.app.settings.page) == Page("Letter", True)
    assert [page_of(text) for text in ("", "A9 portrait", "A4", "A4 sideways", "A3 landscape")] == [
        Page(), Page(), Page(), Page(), Page("A3", True),
    ]  # fmt: skip


def test_the_dialog_shows_the_page_and_gives_the_wish(reader: Reader, qtbot, tmp_path, monkeypatch) -> None:
    seen: list[PrintWish] = []

    def draw(wish: PrintWish) -> Any:
        seen.append(wish)
        return reader.window.draw_sheet(wish)

    dialog = PrintDialog(PrintWish(page=Page("A3")), draw, identity_hidden=False)
    qtbot.addWidget(dialog)
    dialog.resize(900, 700)
    dialog.paper.setCurrentIndex(dialog.paper.findData("Letter"))
    dialog.way.setCurrentIndex(1)
    dialog.what.setCurrentIndex(1)
    dialog.identity.setChecked(False)
    assert seen[0] == PrintWish(page=Page("A3"))
    assert seen[-1] == dialog.wish == PrintWish(None, Page("Letter", True), False, False)
    assert (grey_of(dialog.preview.grab().toImage()) > 250).mean() > 0.1
    assert "actual size" in all_words(dialog)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "p"), ""))
    press(dialog, "Save as PDF…")
    assert dialog.wish.path == tmp_path / "p"
    assert dialog.result() == PrintDialog.DialogCode.Accepted


def test_the_key_of_basic_image_review(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "p"), ""))
    monkeypatch.setattr(PrintDialog, "exec", lambda dialog: (dialog.pdf.click(), dialog.result())[1])
    reader.key(Qt.Key.Key_P)
    reader.settle()
    assert (tmp_path / "p.pdf").read_bytes().startswith(b"%PDF-")
    assert reader.state.notice.text == "The page was saved."


def test_a_file_of_another_kind_is_not_replaced(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"my thesis")
    reader.window.app.run_command("file.print", PrintWish(tmp_path / "a.pdf"))
    assert "not a PDF document" in reader.state.notice.text
    assert (tmp_path / "a.pdf").read_bytes() == b"my thesis"

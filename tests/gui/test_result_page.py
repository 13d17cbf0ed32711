"""The page of a result: everything is on it, nothing is cut, and whose it is only where that is wanted."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from PySide6.QtGui import QImage, QPainter

from medviewer.app.result import Result
from medviewer.app.state import Selection
from medviewer.domain.answer import Decision, GuardResult
from medviewer.gui.explain_controls import _belief_rows
from medviewer.gui.findings_panel import ModelRow
from medviewer.gui.language import use_language
from medviewer.gui.own_error import own_error_words
from medviewer.gui.result_page import ResultPage
from medviewer.gui.result_words import result_page
from medviewer.gui.text import PlainLabel
from medviewer.imaging.scan import scan
from tests.answers import EFFUSION, PNEUMONIA, PROVENANCE, frame_of, make_abstention, make_answer, make_attribution
from tests.answers import make_radiograph as write
from tests.unit.app.test_results import CURVE, FORECAST, SCORE

A4_POINTS = (595.0, 842.0)
ROW = ModelRow(
    "fake-chest", {"en": "Fake chest model", "zh": "虚构的胸片模型"}, "", "", "",
    {"pneumonia": {"en": "Pneumonia", "zh": "肺炎"}, "effusion": {"en": "Effusion", "zh": "积液"}},
)  # fmt: skip
DECISION = Decision("changed", "Seen on the lateral view", "2026-05-04T10:20:00+00:00", "Lobar collapse")


@pytest.fixture(autouse=True)
def english(qapp: Any) -> Any:
    use_language("en")
    yield
    use_language("en")


def page_of(tmp_path: Path, *, with_identity: bool = True, **changes: Any) -> ResultPage:
    known = {
        "PatientName": "Doe^Jane",
        "PatientID": "SECRET-4711",
        "StudyDescription": "Thorax",
        "AccessionNumber": "ACC-9",
    }
    image = write(tmp_path / "a.dcm", **known)
    patient = scan([tmp_path / "a.dcm"]).patients[0]
    series = patient.studies[0].series[0]
    selection = Selection(patient, patient.studies[0], series, series.stacks[0], 0)
    frame = frame_of(image)
    made = {"answer": make_answer(PNEUMONIA), "attributions": (make_attribution(96, 80, method_title="Grad-CAM"),)}
    return result_page(Result(image, frame, **{**made, **changes}), selection, ROW, with_identity=with_identity)


def text_of(page: ResultPage) -> str:
    """What another program reads from the PDF, without line ends."""
    document = pypdfium2.PdfDocument(page.pdf())
    assert len(document) == 1
    assert document[0].get_size() == pytest.approx(A4_POINTS, abs=2)
    return re.sub(r"\s+", " ", document[0].get_textpage().get_text_range().replace("\ufffe", ""))


def test_every_fact_is_on_the_page(tmp_path: Path) -> None:
    text = text_of(page_of(tmp_path, answer=make_answer(PNEUMONIA, EFFUSION), decision=DECISION))
    for words in (
        "Research use only - not for diagnosis", "Doe, Jane", "SECRET-4711", "2020-01-01", "2024-06-01", "ACC-9",
        "Pneumonia: flagged", "calibrated probability 0.87, threshold 0.41", "0.81 to 0.92 under small changes",
        "Finds 95 of 100.", "Effusion: not flagged", "calibrated probability 0.07, threshold 0.50",
        "Caution: The patient is 64 years old", "1 check passed", "Children of 1 to 5 years in one hospital.",
        "not the outline of a lesion", "Against 50 random maps: better than 97% when deleting, than 88% when inserting",
        "Changed at 2026-05-04", "Lobar collapse", "Seen on the lateral view",
        "fake-chest 1.2.3 (Unverified)", "ab" * 32, "cd" * 32, "Ran on: CPU", "onnx 1.31.0", "MedViewer",
    ):  # fmt: skip
        assert words in text, words
    assert text.count("Research use only") == 2
    assert [text.count(f"threshold {t}") for t in ("0.41", "0.50")] == [2, 2]  # each beside its number and on its scale


def test_the_page_names_the_finding_that_the_map_is_of_where_there_are_others(tmp_path: Path) -> None:
    several = text_of(page_of(tmp_path, answer=make_answer(EFFUSION, PNEUMONIA)))
    assert "Grad-CAM: Pneumonia: where the model looked" in several
    assert "For the finding: Pneumonia" in several
    single = text_of(page_of(tmp_path))
    assert "Grad-CAM: where the model looked" in single
    assert "For the finding" not in single
    use_language("zh")
    chinese = text_of(page_of(tmp_path, answer=make_answer(EFFUSION, PNEUMONIA)))
    assert "对应的结果：肺炎" in chinese


@pytest.mark.reliability
@pytest.mark.parametrize("with_identity", [True, False])
def test_the_page_says_of_which_side_and_which_image_of_several_it_is(tmp_path: Path, with_identity: bool) -> None:
    """Of a knee or a breast, and of frames that look alike, nothing else tells."""
    for number in (1, 2, 3):
        uids = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1", "SOPInstanceUID": f"1.2.1.{number}"}
        write(tmp_path / f"{number}.dcm", ImageLaterality="R", InstanceNumber=number, **uids)
    patient = scan([tmp_path]).patients[0]
    series = patient.studies[0].series[0]
    selection = Selection(patient, patient.studies[0], series, series.stacks[0], 1)
    result = Result(selection.image, frame_of(selection.image), make_answer(PNEUMONIA))
    text = text_of(result_page(result, selection, ROW, with_identity=with_identity))
    assert "CR CHEST R PA" in text
    assert "image 2 of 3" in text
    assert "image 1 of 1" not in text_of(page_of(tmp_path))


def test_chinese(tmp_path: Path) -> None:
    use_language("zh")
    text = text_of(page_of(tmp_path, decision=DECISION))
    for words in (
        "仅供研究，不用于诊断",
        "肺炎：已标记",
        "校准概率 0.87，阈值 0.41",
        "模型关注的位置",
        "已更改",
        "改为报告",
    ):
        assert words in text, words


@pytest.mark.reliability
def test_without_identity_nothing_says_whose_it_is(tmp_path: Path) -> None:
    page = page_of(tmp_path, with_identity=False)
    text = text_of(page)
    assert "Without identity" in text
    for secret in ("Doe,", "Doe^", "Jane", "SECRET", "4711", "2020", "2024", "ACC-9", "Thorax"):
        assert secret not in text
        assert secret.encode() not in page.pdf()


def test_an_abstention_has_reasons_and_neither_number_nor_map(tmp_path: Path) -> None:
    text = text_of(page_of(tmp_path, answer=make_abstention(), attributions=()))
    assert "The model gave no answer" in text
    assert "this one is lateral" in text
    for words in ("probability", "threshold", "where the model looked", "decision"):
        assert words not in text


@pytest.mark.reliability
def test_what_was_not_judged_or_signed_or_decided_is_said(tmp_path: Path) -> None:
    unjudged = make_attribution(96, 80, faithfulness=None)
    page = page_of(tmp_path, attributions=(unjudged,), answer=make_answer(guards=()))
    text = text_of(page)
    assert "Whether this map is better than a random one was not checked." in text
    assert "Nothing was checked before this answer." in text
    assert "No decision was recorded." in text
    verified = make_answer(provenance=replace(PROVENANCE, is_verified=True))
    assert "(Verified)" in text_of(page_of(tmp_path, answer=verified, attributions=()))


def test_other_outcomes_stand_in_the_place_of_findings(tmp_path: Path) -> None:
    answer = replace(make_answer(), findings=(), outcomes=(SCORE, CURVE, FORECAST))
    text = text_of(page_of(tmp_path, answer=answer, attributions=()))
    assert "NEWS2: 7 of 20, high" in text
    assert "Death: free of it up to 2 a with probability 0.80" in text
    assert "Heart rate: 90 /min in 6 h, between 75 and 110" in text
    assert "no answer" not in text


LONG = "The image is unlike those that the model learned from, in a way that takes many words to describe. "


@pytest.mark.reliability
@pytest.mark.parametrize("many", [0, 4, 12, 30])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_cut_however_much_there_is_to_say(tmp_path: Path, many: int, language: str) -> None:
    use_language(language)
    guards = tuple(GuardResult(f"range.{n}", "warn", f"{LONG}No. {n}.") for n in range(many))
    reason = "W" * 120 + " " + "reasons " * 50
    page = page_of(tmp_path, answer=make_answer(guards=guards), decision=replace(DECISION, reason=reason))
    text = text_of(page)
    for n in range(many):
        assert f"No. {n}." in text
    assert text.replace(" ", "").count("reasons") == 50
    assert text.replace(" ", "").count("W") >= 120
    document = pypdfium2.PdfDocument(page.pdf())
    letters = document[0].get_textpage()
    boxes = [letters.get_charbox(n) for n in range(letters.count_chars())]
    drawn = [box for box in boxes if box[2] > box[0]]
    lefts, bottoms, rights, tops = zip(*drawn, strict=True)
    margin = 14 / 25.4 * 72 - 3
    assert min(lefts) >= margin
    assert max(rights) <= A4_POINTS[0] - margin
    assert min(bottoms) >= margin
    assert max(tops) <= A4_POINTS[1] - margin


def test_the_columns_end_above_the_small_print(tmp_path: Path) -> None:
    for many in (0, 8, 20):
        guards = tuple(GuardResult(f"range.{n}", "warn", LONG) for n in range(many))
        page = page_of(tmp_path, answer=make_answer(guards=guards))
        image = QImage(10, 10, QImage.Format.Format_RGB32)
        painter = QPainter(image)
        scale, _ = page._fitting()
        end = page.paint(painter)
        painter.end()
        assert end <= page._inner.bottom() - page._foot_mm(scale)


def test_the_pictures_are_those_of_the_image_with_its_proportions(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    document = pypdfium2.PdfDocument(page.pdf())
    drawn = np.asarray(document[0].render(scale=4).to_pil()).astype(int)
    grey = (np.ptp(drawn, axis=2) < 6) & (drawn.mean(axis=2) < 235)
    assert grey.mean() > 0.1
    warm = drawn[..., 0] - drawn[..., 2] > 20
    share = np.arange(len(drawn))[:, None] / len(drawn)  # without the headings, which have colours too
    rows, columns = np.nonzero(warm & (share > 0.17) & (share < 0.42))
    assert columns.min() > drawn.shape[1] / 2  # the map lies on the picture at the right only
    # Of the map's own hot square, a quarter to a half of the picture each way.
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(96 / 80, rel=0.15)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (0.012, "completeness gap 1.2%"),
        (float("inf"), "completeness gap is not defined here, because the network's answer does not change."),
        (float("nan"), "is not defined here"),
        (None, ""),
    ],
)
def test_an_error_that_is_no_number_is_said_in_words(error: float | None, says: str) -> None:
    words = own_error_words(make_attribution(96, 80, error=error, error_name="completeness gap"))
    assert says in words
    assert bool(words) is (error is not None)
    assert "inf" not in words
    assert "nan" not in words


def test_the_panel_tells_no_infinite_error(qtbot: Any) -> None:
    endless = make_attribution(96, 80, error=float("inf"), error_name="completeness gap")
    rows = _belief_rows(endless)
    for row in rows:
        qtbot.addWidget(row)
    said = " ".join(row.text() for row in rows if isinstance(row, PlainLabel))
    assert "is not defined here" in said
    assert "inf" not in said


def test_the_page_tells_no_infinite_error(tmp_path: Path) -> None:
    endless = make_attribution(96, 80, method_title="Integrated gradients", error=float("inf"),
                               error_name="completeness gap")  # fmt: skip
    told = text_of(page_of(tmp_path, attributions=(endless,)))
    assert "inf%" not in told
    assert "not defined here" in told

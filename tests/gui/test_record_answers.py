"""The score beside the vital signs: its number, its parts, what is missing, of what date; and explanations without a map."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from PySide6.QtWidgets import QWidget

from medviewer.app.data_results import evidence_of, summary_of
from medviewer.app.record_models import question_of
from medviewer.app.state import RecordAnswer, State
from medviewer.domain.anchor import Anchor, Atom, CharacterSpan, Field, PixelBox, TimeCell
from medviewer.domain.answer import (
    Answer,
    Attribution,
    Faithfulness,
    Forecast,
    Impression,
    Score,
    Subject,
    SurvivalCurve,
)
from medviewer.gui.anchor_bars import Bar, Strip, explanation
from medviewer.gui.findings_panel import FindingsPanel
from medviewer.gui.record_answers import record_answer_cards
from medviewer.gui.record_panel import RecordPanel
from medviewer.gui.text import use_language
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.resources import models_dir
from tests.gui import panel_states as made
from tests.gui.seen import Asked, all_words, press, show, words
from tests.news2 import news2_case
from tests.time_zones import in_zone


@pytest.fixture
def panel(qtbot) -> RecordPanel:
    one = RecordPanel()
    qtbot.addWidget(one)
    return one


def scored(case, language: str = "en") -> Answer:
    with Engine(Catalogue([models_dir()])) as engine:
        return engine.ask(case, "news2", language=language)


def state_with(answer: Answer | None, language: str = "en", **changes) -> State:
    state = made.opened(record=made.record(), language=language)
    question = question_of(state)
    assert question is not None
    row = RecordAnswer(question, "news2", {"en": "NEWS2 early warning score", "zh": "NEWS2 早期预警评分"}, answer)
    return replace(state, record_answers=(replace(row, **changes),))


ILL = {"respiration_rate": 22, "spo2": 93, "pulse": 94}


def test_the_score_its_band_its_parts_and_their_values(panel) -> None:
    show(panel, state_with(scored(news2_case(**ILL))))
    text = all_words(panel)
    for said in (
        "NEWS2 early warning score",
        "5",
        "of 20",
        "Medium",
        "+2",
        "+1",
        "22 /min",
        "93%",
        "120 mmHg",
        "Alert",
    ):
        assert said in text.split("\n"), said
    assert "the model takes “scale 1”" in text
    bars = [bar.accessibleName() for bar in panel.findChildren(Bar)]
    assert bars[:2] == ["Respiration rate: +2", "Oxygen saturation: +2"]
    assert len(bars) == 7


def test_the_dates_of_the_values_are_there_to_be_read(panel) -> None:
    show(panel, state_with(scored(news2_case(**ILL))))
    press(panel, "Values used, with their dates")
    assert "22 /min, 2024-05-02 14:30" in words(panel)
    assert "scale 1, not recorded; taken as the card says" in words(panel)


def test_a_value_of_which_only_the_day_is_known_has_no_time_of_day(panel) -> None:
    case = news2_case(**ILL)
    day = datetime(2024, 5, 2)  # noqa: DTZ001
    answer = scored(case)
    answer = replace(answer, evidence=tuple(replace(one, time=day) for one in answer.evidence))
    show(panel, state_with(answer))
    press(panel, "Values used, with their dates")
    assert "22 /min, 2024-05-02" in words(panel)
    (rate,) = [one for one in evidence_of(answer, case.at) if one["name"] == "respiration_rate"]
    assert rate["hours_before"] is None, "nobody knows how many hours"
    assert "  used: Respiration rate 22 /min, 2024-05-02" in summary_of(answer, ())


def test_the_values_used_are_dated_by_the_studys_clock(panel) -> None:
    state = state_with(scored(news2_case(**ILL)))
    assert state.selection is not None
    study = replace(state.selection.study, utc_offset="+0800")
    state = replace(state, selection=replace(state.selection, study=study))
    question = question_of(state)
    assert question is not None
    rows = tuple(replace(row, question=question) for row in state.record_answers)
    with in_zone("UTC"):  # the values are in local time
        show(panel, replace(state, record_answers=rows))
        press(panel, "Values used, with their dates")
    assert "22 /min, 2024-05-02 22:30" in words(panel)


def test_an_abstention_names_what_is_missing_and_shows_no_number(panel) -> None:
    show(panel, state_with(scored(news2_case(consciousness="", **ILL))))
    text = all_words(panel)
    assert "Not calculated" in text
    assert "Consciousness (ACVPU) is not recorded; the model needs it." in text
    assert "of 20" not in text.split("\n")
    assert panel.findChildren(Bar) == []


def test_three_points_in_one_parameter_are_said_whatever_the_total(panel) -> None:
    show(panel, state_with(scored(news2_case(respiration_rate=25))))
    assert "3 in one parameter" in all_words(panel)
    show(panel, state_with(scored(news2_case(**ILL))))
    assert "3 in one parameter" not in all_words(panel)


def test_nothing_stands_beside_another_record(panel) -> None:
    state = state_with(scored(news2_case(**ILL)))
    show(panel, replace(state, record=made.record(birth_date="1939-03-05")))
    assert "NEWS2" not in all_words(panel)
    show(panel, replace(state, record_mismatch="They contradict each other."))
    assert "NEWS2" not in all_words(panel)


def test_an_answer_that_comes_later_is_drawn_and_nothing_else_anew(panel) -> None:
    before = state_with(None)
    show(panel, before)
    assert "of 20" not in words(panel)
    heading = next(w for w in panel.findChildren(QWidget) if getattr(w, "text", lambda: "")() == "Problems")
    panel.show_state(before, state_with(scored(news2_case(**ILL))))
    assert "of 20" in words(panel)
    assert heading.isVisibleTo(panel)


def test_a_model_that_has_not_run_is_offered_and_a_failure_said(panel) -> None:
    asked = Asked(panel)
    show(panel, state_with(None, problem="The model took longer than its time budget; no result."))
    assert "There is no result" in all_words(panel)
    press(panel, "Run")
    assert asked.calls == [("model.run_record", "news2")]


def test_a_network_of_the_record_waits_for_the_impression_and_a_score_does_not(panel) -> None:
    state = state_with(made.answer(), is_rule=False)
    said = "output of the network, no probability"
    before = replace(state, read_first=True)
    show(panel, before)
    assert "Scores and models of the record" not in all_words(panel)
    assert state.selection is not None
    written = {state.selection.image.key: (Impression("Clear.", "2024-05-02T10:00:00Z", after_ai=False),)}
    panel.show_state(before, replace(before, impressions=written))
    assert "Scores and models of the record" in words(panel)
    assert said not in words(panel)
    score = state_with(scored(news2_case(**ILL)), is_rule=True)
    show(panel, replace(score, read_first=True))
    assert "of 20" in words(panel)


def test_what_made_it_and_what_its_number_is_are_said(panel) -> None:
    show(panel, state_with(made.answer()))
    assert "calibrated probability" in words(panel)
    press(panel, "Details")
    assert "Unverified" in words(panel)
    show(panel, state_with(made.answer(calibration={"method": "none"}, provenance=made.provenance(is_verified=True))))
    assert "output of the network, no probability" in words(panel)
    assert "calibrated probability" not in words(panel)
    press(panel, "Details")
    assert "Verified" in words(panel)


def test_in_chinese_everything_is_chinese(panel) -> None:
    show(panel, state_with(scored(news2_case(**ILL), "zh"), "zh"))
    text = all_words(panel)
    for said in ("NEWS2 早期预警评分", "满分 20", "呼吸频率", "评分与基于患者记录的模型"):
        assert said in text
    use_language("en")


def attribution(anchors: tuple[Anchor, ...], values: list[float]) -> Attribution:
    judged = Faithfulness(99.0, 98.0, 50, "Better than chance: 2% of random orders do as well.")
    provenance = scored(news2_case()).provenance
    return Attribution(
        "occlusion", "Occlusion", "risk", np.array(values, np.float32), np.eye(3), np.empty((0, 0), np.float32), None, "",
        judged, 0.1, provenance, anchors,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("anchor", "said"),
    [
        (Field("t", "pulse"), "Pulse"),
        (CharacterSpan("n", "<b>cough</b>", ((0, 5), (9, 14))), "<b>cough</b>"),
        (Atom("m", 2, "Cl"), "Cl 3"),
        (PixelBox("x", (0, 4), (0, 4)), "part of the image"),
    ],
)
def test_a_bar_for_each_anchor_the_strongest_first(qtbot, anchor: Anchor, said: str) -> None:
    weak = Field("t", "weak")
    box = explanation(attribution((weak, anchor), [0.1, -2.0]), {"pulse": "Pulse"}, {"pulse": "94 /min"})
    qtbot.addWidget(box)
    bars = [bar.accessibleName() for bar in box.findChildren(Bar)]
    assert bars == [f"{said}: -2.00", "weak: +0.10"]
    assert not box.grab().isNull()


def test_hours_are_strips(qtbot) -> None:
    cells = (TimeCell("v", "pulse", (0, 6)), TimeCell("v", "pulse", (6, 12)), TimeCell("v", "lactate", (6, 12)))
    box = explanation(attribution(cells, [0.1, 2.0, -1.0]), {"pulse": "Pulse", "lactate": "Lactate"}, {})
    qtbot.addWidget(box)
    box.resize(300, 60)
    strips = box.findChildren(Strip)
    assert [strip.accessibleName() for strip in strips] == ["strongest from hour 6 to 12"] * 2
    picture = strips[0].grab().toImage()
    ratio = picture.width() / strips[0].width()
    middle = picture.height() // 2
    early, late = (picture.pixelColor(int(x * strips[0].width() * ratio), middle) for x in (0.25, 0.75))
    assert late.blue() - late.red() > early.blue() - early.red()  # the accent is blue: the stronger, the more of it
    assert "hours 0 to 12" in words(box)


def test_curves_and_forecasts_in_words(qtbot) -> None:
    answer = scored(news2_case())
    curve = SurvivalCurve("death", "x:1", "Death", (30, 90), "d", (0.9, 0.8), 90, "Measured on 500.")
    forecast = Forecast("bp", "x:2", "Pressure", "mm[Hg]", (1, 2), (90, 92), (80, 81), (99, 100), 0.8, "It held 79.")
    why = attribution((Field("t", "pulse"),), [1.0])
    question = question_of(made.opened(record=made.record()))
    assert question is not None
    rows = (RecordAnswer(question, "m", {"en": "M"}, replace(answer, outcomes=(curve, forecast)), why),)
    text = ""
    for card in record_answer_cards(rows, lambda _id: None):
        qtbot.addWidget(card)
        text += all_words(card)
    for said in ("Death: free of it up to 90 d with a probability of 0.80", "Measured on 500.", "92 mmHg (81–100)"):
        assert said in text
    assert "The range is meant to hold 80 of 100. It held 79." in text
    assert "Better than chance: 2% of random orders do as well." in text
    use_language("zh")
    said = "".join(all_words(card) for card in record_answer_cards(rows, lambda _id: None))
    use_language("en")
    assert "优于随机: 2%的随机顺序能达到同样效果。" in said


def test_large_numbers_are_told_whole_and_never_as_powers_of_ten(qtbot) -> None:
    score = Score("x", "x:1", "Calcium", 1543.25, 0, 5000, "High", flagged=True)
    forecast = Forecast("u", "x:2", "Urine", "mL", (1,), (1234.4,), (999.7,), (23456.0,), 0.8, "")
    answer = replace(scored(news2_case()), outcomes=(score, forecast))
    question = question_of(made.opened(record=made.record()))
    assert question is not None
    (card,) = list(record_answer_cards((RecordAnswer(question, "m", {"en": "M"}, answer),), lambda _id: None))[1:]
    qtbot.addWidget(card)
    assert "1543.25\nof 5000" in all_words(card)
    assert "1234 mL (1000–23456)" in all_words(card)
    (line,) = [line for line in summary_of(answer, ()) if "Urine" in line]
    assert line == "  Urine in 1 h: 1234 mL (1000 to 23456)"


def test_a_score_of_an_image_is_shown_with_the_findings(qtbot) -> None:
    one = FindingsPanel(made.MODELS, made.METHODS)
    qtbot.addWidget(one)
    state = made.opened()
    subject = Subject(state.selection.image.key, made.MODEL, made.SHA)
    show(one, replace(state, model_id=made.MODEL, answers={subject: scored(news2_case(**ILL))}))
    assert "of 20" in words(one)
    assert "Medium" in words(one)


def test_no_record_no_section(panel) -> None:
    show(panel, made.opened())
    assert "Scores" not in all_words(panel)
    assert list(record_answer_cards((), lambda _id: None)) == []

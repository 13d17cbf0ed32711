from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton

from medviewer.app.state import State
from medviewer.domain.case import Observation
from medviewer.gui import values_section
from medviewer.gui.more_rows import MoreRows
from medviewer.gui.record_panel import RecordPanel
from medviewer.gui.record_sections import reference_of
from medviewer.gui.text import PlainLabel
from medviewer.gui.timeline_chart import TimelineChart
from medviewer.records.record import Allergy, Condition, Document, Encounter, Identifier, Medication, StudyMark
from tests.gui import panel_states as made
from tests.gui.seen import Asked, all_words, is_offered, press, settle, show, words
from tests.time_zones import in_zone


@pytest.fixture
def panel(qtbot) -> RecordPanel:
    one = RecordPanel()
    qtbot.addWidget(one)
    return one


def test_without_a_patient_nothing_is_claimed(panel) -> None:
    show(panel, State())
    assert "No patient on screen" in all_words(panel)
    assert "Allergies" not in all_words(panel)


def test_the_banner_says_who_it_is(panel) -> None:
    show(panel, made.opened(record=made.record()))
    text = all_words(panel)
    assert "\u2068Kowalska, Maria\u2069" in text
    assert "63 years at the study, female, born 1940-03-05" in text
    assert "ID HD-4711" in text
    assert "Source: sample record, invented data of nobody" in text


def test_a_record_of_a_person_is_not_called_a_sample(panel) -> None:
    show(panel, made.opened(record=made.record(is_sample=False)))
    assert "Source: patient record" in all_words(panel)
    assert "sample" not in all_words(panel)


def test_without_a_record_the_header_speaks(panel) -> None:
    show(panel, made.opened())
    text = all_words(panel)
    assert "Kowalska, Maria" in text
    assert "Source: DICOM header" in text
    assert "No record for this patient" in text
    assert "Import a FHIR bundle" in text
    assert "Allergies: not recorded" in text


@pytest.mark.parametrize(
    "state",
    [
        made.opened(),
        made.opened(record=made.record(allergies=None, conditions=None, medications=None, observations=())),
    ],
    ids=["no record", "only what image files say"],
)
def test_where_little_is_known_a_record_can_be_imported(panel, state: State) -> None:
    asked = Asked(panel)
    show(panel, state)
    press(panel, "Import patient records (FHIR)…")
    assert asked.calls == [("file.import_records", None)]


def test_a_full_record_does_not_ask_for_another(panel) -> None:
    show(panel, made.opened(record=made.record()))
    assert not is_offered(panel, "Import patient records (FHIR)…")


def test_while_the_record_is_looked_for_nothing_is_claimed(panel) -> None:
    show(panel, made.opened(record_of=()))
    assert "Looking for the patient's record…" in all_words(panel)
    assert "No record for this patient" not in all_words(panel)


def test_a_store_that_cannot_be_read_says_so(panel) -> None:
    show(panel, made.opened(record_problem="The file is damaged."))
    assert "The file is damaged." in all_words(panel)
    assert "No record for this patient" not in all_words(panel)


NO_DRUG_ALLERGY = Allergy("No known drug allergy", "SCT:409137002")


@pytest.mark.parametrize(
    ("allergies", "seen", "not_seen"),
    [
        (None, "Allergies: not recorded", "No known"),
        ((), "No known allergies", "not recorded"),
        ((Allergy("Penicillin", reaction="rash"),), "Penicillin (rash)", "No known"),
        ((Allergy("Latex", criticality="high"),), "Latex (high risk)", "No known"),
        ((NO_DRUG_ALLERGY,), "Allergies: recorded in part", "No known allergies"),
        ((NO_DRUG_ALLERGY, Allergy("Nuts")), "Nuts", "recorded in part"),
        ((Allergy("Penicillin", status="resolved"),), "Penicillin (resolved)", "No known"),
    ],
)
def test_allergies_say_what_is_known_and_no_more(panel, allergies, seen: str, not_seen: str) -> None:
    show(panel, made.opened(record=made.record(allergies=allergies)))
    assert seen in all_words(panel)
    assert not_seen not in all_words(panel)


def test_allergies_stay_in_sight_while_the_rest_scrolls(panel) -> None:
    panel.resize(360, 320)
    show(panel, made.opened(record=made.record()))
    panel.show()
    panel.grab()
    bar = panel._scroll.verticalScrollBar()
    assert bar.maximum() > 0
    assert not any("Penicillin (" in text for text in words(panel._scroll))
    assert any("Penicillin (" in text for text in words(panel))


def test_a_mismatch_shows_both_sides(panel) -> None:
    record = made.record(name="Nowak^Ewa", identifiers=(Identifier("Hospital", "ZZ-1"),))
    sentence = "The image and the patient record contradict each other in name."
    show(panel, made.opened(record=record, record_mismatch=sentence))
    text = all_words(panel)
    assert sentence in text
    assert "Image and record contradict each other" in text
    assert "\u2068Kowalska, Maria\u2069, 1940-03-05, female, HD-4711" in text
    assert "\u2068Nowak, Ewa\u2069, 1940-03-05, female, ZZ-1" in text


def test_a_small_screen_does_not_cut_the_mismatch(panel) -> None:
    """There is room for it, but for little below it, as on 1920 x 1080 at 200 %."""
    sentence = (
        "The image and the patient record contradict each other in name, birth date and sex: they may belong to "
        "different people, so no model is run until this is settled."
    )
    show(panel, made.opened(record=made.record(allergies=None), record_mismatch=sentence))
    panel.show()
    panel.resize(310, panel._banner.heightForWidth(310) + 24)
    QApplication.processEvents()
    (said,) = [one for one in panel.findChildren(PlainLabel) if one.text() == sentence]
    assert said.height() >= said.heightForWidth(said.width())


def test_hidden_identity_is_hidden_in_a_mismatch_too(panel) -> None:
    record = made.record(name="Nowak^Ewa", identifiers=(Identifier("Hospital", "ZZ-1"),))
    show(panel, made.opened(record=record, record_mismatch="They contradict.", identity_hidden=True))
    text = all_words(panel)
    assert "Identity hidden" in text
    for secret in ("Nowak", "Kowalska", "ZZ-1", "HD-4711", "1940"):
        assert secret not in text


def test_problems_and_medicines_tell_unknown_from_none(panel) -> None:
    show(panel, made.opened(record=made.record(conditions=None, medications=())))
    text = all_words(panel)
    assert "Problems\nNot recorded" in text
    assert "Medicines\nNone, the record states" in text


def test_active_problems_come_first(panel) -> None:
    first, second, resolved = made.record().conditions or ()
    show(panel, made.opened(record=made.record(conditions=(resolved, first, second))))
    text = all_words(panel)
    assert text.index("Renal cell carcinoma") < text.index("Appendicitis")
    assert "active, confirmed, since 2002-06" in text
    assert "resolved, 1961" in text


def test_what_has_ended_is_not_told_as_going_on(panel) -> None:
    gout = Condition("Gout", "", "active", "2001", ended="2003-05")
    warfarin = Medication("Warfarin", "", "active", "2002", "1 a day", ended="2003-06-01T08:00:00+02:00")
    going_on = (Condition("Asthma", "", "active", "1999"), Medication("Ramipril", "", "active", "1996"))
    record = made.record(conditions=(gout, going_on[0]), medications=(warfarin, going_on[1]))
    with in_zone("UTC"):
        show(panel, made.opened(record=record))
    text = all_words(panel)
    assert "Gout\n2001, until 2003-05\n" in text
    assert "Warfarin\n1 a day, 2002, until 2003-06-01 06:00\n" in text
    assert "2001  problem, until 2003-05\n" in text
    assert "2002  medicine, 1 a day, until 2003-06-01 06:00\n" in text
    assert text.index("Asthma") < text.index("Gout")
    assert text.index("Ramipril") < text.index("Warfarin")


def test_events_and_overview_say_the_same_of_an_end_in_the_readers_language(panel) -> None:
    """By one clock, that of the study, and without "active" behind an end that is over."""
    warfarin = Medication("Warfarin", "", "active", "2002-01-02T20:00:00+00:00", ended="2003-06-01T23:00:00+00:00")
    stay = Encounter("Ward", "IMP", "2003-05-30T23:30:00+00:00", "2003-06-01T23:00:00+00:00")
    record = made.record(
        medications=(warfarin,), encounters=(stay,), conditions=(Condition("Gout", "", "resolved", "2001"),)
    )
    state = made.opened(record=record, language="zh")
    assert state.selection is not None
    study = replace(state.selection.study, utc_offset="+0800")
    show(panel, replace(state, selection=replace(state.selection, study=study)))
    text = all_words(panel)
    assert "Warfarin\n2002-01-03 04:00, 至 2003-06-02 07:00\n" in text
    assert "2002-01-03 04:00  药物, 至 2003-06-02 07:00\n" in text
    assert "2003-05-31 07:30  就诊, 至 2003-06-02 07:00\n" in text
    assert "2001  问题, 已痊愈\n" in text
    assert "until" not in text
    assert "active" not in text.replace("C reactive protein", "")


def test_each_state_of_a_medicine_is_said_in_the_readers_language(panel) -> None:
    states = ("completed", "stopped", "on-hold", "not-taken", "intended", "draft", "cancelled")
    medicines = tuple(Medication(f"药 {number}", "", status) for number, status in enumerate(states))
    show(panel, made.opened(record=made.record(medications=medicines), language="zh"))
    for button in panel.findChildren(QPushButton):
        if "显示" in button.text():
            button.click()
    text = all_words(panel)
    for status in states:
        assert status not in text
    for word in ("计划使用", "草稿", "已取消"):
        assert word in text


def test_vital_signs_have_their_age_and_say_against_what(panel) -> None:
    show(panel, made.opened(record=made.record()))
    text = all_words(panel)
    assert "Latest vital signs, age at the study of 2004-03-02" in text
    assert "Heart rate\n112 /min\n3 h before" in text
    assert "Blood pressure\n108/66 mmHg\n3 h before" in text


def test_without_a_study_date_ages_are_told_from_now() -> None:
    state = made.opened()
    assert state.selection is not None
    undated = replace(state.selection, study=replace(state.selection.study, date=""))
    reference = reference_of(replace(state, selection=undated))
    assert not reference.is_study
    assert abs((datetime.now().astimezone() - reference.moment).total_seconds()) < 60


@pytest.mark.parametrize(("time", "expected"), [("101500", (10, 15, True)), ("", (0, 0, False)), ("99", (0, 0, False))])
def test_the_time_of_the_study_is_used_only_if_it_is_one(time: str, expected: tuple[int, int, bool]) -> None:
    state = made.opened()
    assert state.selection is not None
    dated = replace(state.selection, study=replace(state.selection.study, time=time))
    reference = reference_of(replace(state, selection=dated))
    assert (reference.moment.hour, reference.moment.minute, reference.has_time) == expected


def test_ages_are_told_in_the_zone_of_the_study(panel) -> None:
    pulse = Observation("8867-4", "", 70, "/min", datetime.fromisoformat("2004-03-02T09:45:00+08:00"))
    state = made.opened(record=made.record(observations=(pulse,)))
    assert state.selection is not None
    before = None
    for offset, age in (("+0800", "30 min before"), ("+0900", "30 min after")):
        study = replace(state.selection.study, time="101500", utc_offset=offset)
        now = replace(state, selection=replace(state.selection, study=study))
        with in_zone("America/Los_Angeles"):
            panel.show_state(before, now)
        assert f"70 /min\n{age}" in all_words(panel)
        before = now


def test_all_times_of_the_panel_are_told_by_the_studys_clock(panel) -> None:
    pulse = Observation("8867-4", "", 70, "/min", datetime.fromisoformat("2004-03-02T01:45:00+00:00"))
    visit = Encounter("Clinic", "AMB", "2004-03-01T22:30:00+00:00")
    note = Document("Round", "2004-02-29T23:00:00+00:00", "x")
    record = made.record(observations=(pulse,), encounters=(visit,), documents=(note,))
    state = made.opened(record=record)
    assert state.selection is not None
    study = replace(state.selection.study, time="101500", utc_offset="+0800")
    with in_zone("UTC"):
        show(panel, replace(state, selection=replace(state.selection, study=study)))
    text = all_words(panel)
    assert "2004-03-02 06:30  visit" in text
    assert "Round · 2004-03-01 07:00" in text
    (age,) = [one for one in panel.findChildren(PlainLabel) if one.text() == "30 min before"]
    assert "2004-03-02 09:45" in age.toolTip()


def test_observations_are_drawn(panel) -> None:
    show(panel, made.opened(record=made.record()))
    chart = panel.findChild(TimelineChart)
    assert "C reactive protein 148 mg/L" in chart.accessibleName()
    show(panel, made.opened(record=made.record(observations=())))
    panel.grab()
    assert "Values over time" not in all_words(panel)


def test_a_study_that_is_open_can_be_shown_and_another_cannot(panel) -> None:
    asked = Asked(panel)
    show(panel, made.opened(record=made.record()))
    press(panel, "Show")  # one button: the study of 1999 is not open
    ((command, selection),) = asked.calls
    assert command == "image.select"
    assert selection.study.study_instance_uid == "1.9.1"


def test_a_record_never_leads_to_another_patients_image(panel) -> None:
    state = made.opened(record=made.record(studies=(StudyMark("1.7", "2004-03-02", "CR", "Chest"),)))
    other = made.patient("Other^Person", "X")
    other = replace(other, studies=(replace(other.studies[0], study_instance_uid="1.7"),))
    collection = replace(state.collection, patients=(*state.collection.patients, other))
    show(panel, replace(state, collection=collection))
    assert not is_offered(panel, "Show")


def test_a_mismatched_record_leads_nowhere(panel) -> None:
    show(panel, made.opened(record=made.record(), record_mismatch="They contradict."))
    assert not is_offered(panel, "Show")


def test_a_long_record_is_shown_in_parts(panel) -> None:
    marks = tuple(StudyMark(f"1.{n}", f"{1950 + n}-01-01", "CR", f"Chest {n}") for n in range(45))
    bare = made.record(studies=marks, conditions=None, medications=None, allergies=None, encounters=(), documents=())
    show(panel, made.opened(record=bare))
    assert "Chest 44" in all_words(panel)
    assert "Chest 3\n" not in all_words(panel)
    press(panel, "Show 15 more")
    assert "Chest 3\n" in all_words(panel)


def test_long_lists_of_facts_are_made_in_parts(panel) -> None:
    problems = tuple(Condition(f"Problem {n}", "", "active", "2001", "") for n in range(200))
    medicines = tuple(Medication(f"Medicine {n}", "", "active", "2001", "") for n in range(35))
    show(panel, made.opened(record=made.record(conditions=problems, medications=medicines)))

    def count(word: str) -> int:
        facts = panel._scroll.findChildren(MoreRows)[word == "Medicine"]
        return len([label for label in facts.findChildren(QLabel) if label.text().startswith(word)])

    assert (count("Problem"), count("Medicine")) == (30, 30)
    press(panel, "Show 50 of 170 more")
    press(panel, "Show 5 more")
    assert (count("Problem"), count("Medicine")) == (80, 35)
    assert "Problem 79" in words(panel)
    for left in (120, 70):
        press(panel, f"Show 50 of {left} more")
    press(panel, "Show 20 more")
    assert count("Problem") == 200
    assert not is_offered(panel, "Show 0 more")


def test_charts_are_drawn_in_parts(panel) -> None:
    one = made.record().observations[0]
    values = tuple(replace(one, code=f"{n}-1", display=f"Value {n:02}") for n in range(40))
    show(panel, made.opened(record=made.record(observations=values)))
    assert len(panel.findChild(TimelineChart).accessibleName().split("Value ")) == 13
    press(panel, "Show 12 of 28 more")
    settle()
    assert len(panel.findChild(TimelineChart).accessibleName().split("Value ")) == 25
    assert is_offered(panel, "Show 12 of 16 more")


def test_the_same_record_read_again_is_not_drawn_again(panel) -> None:
    state = made.opened(record=made.record())
    show(panel, state)
    before = panel.findChild(TimelineChart)
    again = made.opened(record=made.record())
    assert again.record is not state.record
    panel.show_state(state, again)
    settle()
    assert panel.findChild(TimelineChart) is before


@pytest.mark.parametrize(
    "changes",
    [
        {"record": made.record(name="Nowak^Ewa")},
        {"record": None},
        {"record_mismatch": "They contradict."},
        {"identity_hidden": True},
        {"language": "zh"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_said_differently_is_drawn_again(panel, changes) -> None:
    state = made.opened(record=made.record())
    show(panel, state)
    before = all_words(panel)
    panel.show_state(state, replace(state, **changes))
    assert all_words(panel) != before


def test_a_study_that_a_scan_finds_later_can_be_chosen(panel) -> None:
    state = made.opened(record=made.record())
    assert state.selection is not None
    grown = replace(
        made.patient(),
        studies=(*made.patient().studies, replace(made.patient().studies[0], study_instance_uid="1.9.9")),
    )
    asked = Asked(panel)
    show(panel, state, replace(state, selection=replace(state.selection, patient=grown)))
    settle()
    buttons = [b for b in panel.findChildren(QPushButton) if b.text() == "Show" and b.isVisibleTo(panel)]
    assert len(buttons) == 2
    buttons[0].click()
    assert asked.calls[0][1].patient is grown


def test_the_chart_comes_when_what_draws_it_is_there(qtbot, monkeypatch) -> None:
    waiting: list[Callable[[], None]] = []
    panel = RecordPanel(waiting.append)
    qtbot.addWidget(panel)
    monkeypatch.setattr(values_section, "_MODULE", "not imported yet")
    state = made.opened(record=made.record())
    show(panel, state)
    assert "Drawing…" in all_words(panel)
    assert "Studies and events" in all_words(panel)
    assert panel.findChild(TimelineChart) is None
    monkeypatch.undo()
    waiting[0]()
    assert panel.findChild(TimelineChart) is not None
    assert "Drawing…" not in all_words(panel)


def test_a_chart_whose_callback_was_forgotten_is_drawn_with_the_next_change(qtbot) -> None:
    panel = RecordPanel(lambda _then: None)
    qtbot.addWidget(panel)
    state = made.opened(record=made.record())
    show(panel, state)
    assert panel.findChild(TimelineChart) is None
    panel.show_state(state, replace(state, view=replace(state.view, zoom=2.0)))
    assert panel.findChild(TimelineChart) is not None


def test_charts_that_come_after_the_record_is_gone_are_not_drawn(qtbot) -> None:
    waiting: list[Callable[[], None]] = []
    panel = RecordPanel(waiting.append)
    qtbot.addWidget(panel)
    show(panel, made.opened(record=made.record()), State())
    settle()
    waiting[0]()
    assert panel.findChild(TimelineChart) is None


def test_hostile_text_in_a_record_stays_text(panel) -> None:
    record = made.record(allergies=(Allergy('<img src="x">\u202enuts'),), name="<b>Bold</b>^\u202eName")
    show(panel, made.opened(record=record))
    text = all_words(panel)
    assert '<img src="x">⟨U+202E⟩nuts' in text
    assert "<b>Bold</b>, ⟨U+202E⟩Name" in text


def test_scrolling_through_images_does_not_rebuild_the_panel(panel) -> None:
    state = made.opened(record=made.record())
    show(panel, state)
    before = panel.findChild(TimelineChart)
    panel.show_state(state, replace(state, view=replace(state.view, zoom=2.0)))
    assert panel.findChild(TimelineChart) is before


def test_the_panel_speaks_chinese(panel) -> None:
    show(panel, made.opened(record=made.record(), language="zh"))
    assert "过敏" in all_words(panel)
    assert "3 小时前" in all_words(panel)

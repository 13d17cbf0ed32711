from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.domain.answer import Finding, probability_words, threshold_of, threshold_words
from medviewer.domain.case import Observation
from medviewer.explain.overlay import color_table
from medviewer.gui import theme
from medviewer.gui.explain_controls import COLOR_MAPS, _swatch
from medviewer.gui.probability_bar import ProbabilityBar
from medviewer.gui.vital_signs import Reference, age_words, latest_vitals
from tests.gui import panel_states as made
from tests.time_zones import in_zone

STUDY = datetime(2004, 3, 2, 10, 15, tzinfo=UTC)
PROBABILITIES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("probability", "threshold", "shown"),
    [
        (0.81, 0.35, "0.81"), (0.3481, 0.35, "0.348"), (0.34999, 0.35, "0.349990"), (0.35, 0.35, "0.35"),
        (0.285, 0.285, "0.285"), (0.35 - 1e-9, 0.35, "<0.35"), (0.35 + 1e-9, 0.35, ">0.35"),
        (0.997, 0.35, ">0.99"), (0.003, 0.35, "<0.01"), (0.5, None, "0.50"),
    ],
)  # fmt: skip
def test_probabilities_never_round_to_certainty_or_onto_the_threshold(probability, threshold, shown: str) -> None:
    assert probability_words(probability, threshold) == shown


@pytest.mark.parametrize(("threshold", "shown"), [(0.35, "0.35"), (0.285, "0.285"), (0.5, "0.50"), (0.1239, "0.124")])
def test_a_threshold_keeps_the_digits_that_it_was_chosen_with(threshold: float, shown: str) -> None:
    assert threshold_words(threshold) == shown


@pytest.mark.parametrize(
    ("probability", "threshold", "stability", "shown"),
    [
        (0.0549, 0.05461, None, ("0.0549", "0.0546")), (0.0272, 0.02735, None, ("0.0272", "0.0273")),
        (0.2846, 0.285, None, ("0.2846", "0.285")), (0.3, 0.05461, (0.0549, 0.4), ("0.30", "0.0546")),
    ],
)  # fmt: skip
def test_a_threshold_has_the_digits_that_tell_it_from_what_stands_beside_it(
    probability: float, threshold: float, stability: tuple[float, float] | None, shown: tuple[str, str]
) -> None:
    finding = Finding("f", "99MEDVIEWER:f", probability, threshold, probability >= threshold, stability)
    assert (probability_words(probability, threshold), threshold_of(finding)) == shown


@given(st.data())
def test_the_words_never_contradict_the_flag(data: st.DataObject) -> None:
    threshold = data.draw(PROBABILITIES)
    near = st.floats(max(threshold - 0.002, 0), min(threshold + 0.002, 1))
    probability, low, high = (data.draw(st.one_of(PROBABILITIES, near)) for _ in range(3))
    finding = Finding("f", "99MEDVIEWER:f", probability, threshold, probability >= threshold, (low, high))
    limit = float(threshold_of(finding))
    assert limit == pytest.approx(threshold, abs=0.00051)
    for value in (probability, low, high):
        words = probability_words(value, threshold)
        if words in ("<0.01", ">0.99"):
            continue
        if words[0] in "<>":
            assert (words[0] == ">") == (value > threshold)
            assert float(words[1:]) == limit
            continue
        assert (float(words) >= limit) == (value >= threshold)
        assert abs(float(words) - value) <= 0.0051


@given(PROBABILITIES)
def test_a_probability_that_is_not_certain_is_not_shown_as_certain(probability: float) -> None:
    if probability < 1:
        assert probability_words(probability) != "1.00"
    if probability > 0:
        assert probability_words(probability) != "0.00"


@given(PROBABILITIES, PROBABILITIES)
def test_the_scale_is_linear_and_stays_inside(a: float, b: float) -> None:
    # No widget is shown: only the arithmetic of the scale is asked.
    bar = ProbabilityBar(made.PNEUMONIA)
    bar.resize(300, 48)
    assert 0 < bar.x_of(0) <= bar.x_of(a) <= bar.x_of(1) < 300
    if a != b:
        assert math.isclose(bar.x_of(a) - bar.x_of(b), (bar.x_of(1) - bar.x_of(0)) * (a - b), abs_tol=1e-6)
    bar.deleteLater()


@pytest.mark.parametrize("name", COLOR_MAPS)
def test_the_swatch_of_a_colour_map_shows_the_colours_that_are_painted(name: str) -> None:
    picture = _swatch(name).pixmap(96, 24).toImage()
    table = color_table(name, opacity=1, threshold=0)
    for x, level in ((0, 0), (95, 255)):
        assert picture.pixelColor(x, 12).getRgb()[:3] == tuple(int(part) for part in table[level, :3])


def drawn(bar: ProbabilityBar, probability: float, dy: int = 0) -> str:
    picture = bar.grab().toImage()
    return picture.pixelColor(round(bar.x_of(probability)), 14 + dy).name()


def test_flagged_and_not_flagged_have_different_shapes(qtbot) -> None:
    t = theme.tokens()
    flagged = ProbabilityBar(made.PNEUMONIA)
    clear = ProbabilityBar(replace(made.PNEUMONIA, flagged=False))
    for bar in (flagged, clear):
        qtbot.addWidget(bar)
        bar.resize(300, 48)
    assert drawn(flagged, 0.81) == t.caution  # a filled diamond
    assert drawn(clear, 0.81) == t.raised  # a hollow ring
    assert drawn(clear, 0.81, dy=6) == t.accent


def test_threshold_and_band_are_where_they_belong(qtbot) -> None:
    bar = ProbabilityBar(made.PNEUMONIA)
    bare = ProbabilityBar(replace(made.PNEUMONIA, stability=None))
    for one in (bar, bare):
        qtbot.addWidget(one)
        one.resize(300, 48)
    assert drawn(bar, 0.35, dy=10) == theme.tokens().text
    assert drawn(bar, 0.35 + 0.05, dy=10) != theme.tokens().text
    assert drawn(bar, 0.875, dy=3) != drawn(bare, 0.875, dy=3)
    assert drawn(bar, 0.95, dy=3) == drawn(bare, 0.95, dy=3)


def test_the_bar_speaks(qtbot) -> None:
    bar = ProbabilityBar(Finding("X", "SCT:1", 0.2, 0.35, flagged=False))
    qtbot.addWidget(bar)
    assert bar.accessibleName() == "Probability 0.20, threshold 0.35"


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (-3, "3 h before"), (-0.5, "30 min before"), (0, "0 min before"), (5, "5 h after"), (-47, "47 h before"),
        (-72, "3 days before"), (-24 * 90, "3 months before"), (-24 * 1000, "2 yr before"), (24 * 3, "3 days after"),
    ],
)  # fmt: skip
def test_ages_say_before_or_after(hours: float, words: str) -> None:
    assert age_words(STUDY + timedelta(hours=hours), Reference(STUDY, is_study=True)) == words


def test_a_study_without_a_time_of_day_counts_whole_days() -> None:
    reference = Reference(STUDY.replace(hour=0, minute=0), is_study=True, has_time=False)
    assert age_words(STUDY, reference) == "same day"
    assert age_words(STUDY - timedelta(days=1), reference) == "1 day before"
    assert age_words(STUDY + timedelta(days=2), reference) == "2 days after"


@pytest.mark.parametrize("years", range(2, 30))
def test_on_the_day_itself_so_many_years_have_passed(years: int) -> None:
    for month, day in ((1, 1), (3, 1), (5, 2), (12, 31)):
        reference = Reference(datetime(2023, month, day, 12, tzinfo=UTC), is_study=True)
        measured = datetime(2023 - years, month, day, 12, tzinfo=UTC)
        assert age_words(measured, reference) == f"{years} yr before"
        assert age_words(measured + timedelta(days=2), reference) != f"{years} yr before"


@pytest.mark.parametrize(
    ("day", "is_study", "words"),
    [(2, True, "same day"), (1, True, "1 day before"), (4, True, "2 days after"), (2, False, "today")],
)
def test_the_age_of_a_value_of_which_only_the_day_is_known_is_told_in_days(
    day: int, is_study: bool, words: str
) -> None:
    study = datetime.fromisoformat("2004-03-02T10:15:00+08:00")
    assert age_words(datetime(2004, 3, day), Reference(study, is_study=is_study)) == words  # noqa: DTZ001


def test_days_are_those_of_the_studys_own_zone() -> None:
    reference = Reference(datetime.fromisoformat("2004-03-02T00:00:00+08:00"), is_study=True, has_time=False)
    assert age_words(datetime.fromisoformat("2004-03-01T18:00:00+00:00"), reference) == "same day"


def test_ages_from_now_say_ago() -> None:
    assert age_words(STUDY - timedelta(hours=3), Reference(STUDY, is_study=False)) == "3 h ago"
    assert age_words(STUDY + timedelta(hours=3), Reference(STUDY, is_study=False)) == "3 h in the future"


def test_pressures_stand_together_only_if_measured_together() -> None:
    upper = Observation("8480-6", "Systolic", 120, "mm[Hg]", STUDY)
    lower = Observation("8462-4", "Diastolic", 80, "mm[Hg]", STUDY)
    assert [row[:2] for row in latest_vitals((upper, lower))] == [("Blood pressure", "120/80 mmHg")]
    later = replace(lower, time=STUDY + timedelta(hours=1))
    assert [row[:2] for row in latest_vitals((upper, later))] == [
        ("Systolic pressure", "120 mmHg"), ("Diastolic pressure", "80 mmHg"),
    ]  # fmt: skip


def test_the_newest_vital_sign_is_found_by_the_studys_clock() -> None:
    film = datetime.fromisoformat("2024-05-01T18:00:00-05:00")
    pulse = [Observation("8867-4", "HR", v, "/min", at) for v, at in ((80, datetime(2024, 5, 2)), (90, film))]  # noqa: DTZ001
    with in_zone("Asia/Shanghai"):
        assert [row[1] for row in latest_vitals(pulse, film.tzinfo)] == ["80 /min"]


def test_the_newest_value_of_each_vital_sign_is_taken() -> None:
    pulse = [
        Observation("8867-4", "HR", v, "/min", STUDY + timedelta(hours=h)) for v, h in ((80, -5), (112, -3), (90, -9))
    ]
    (row,) = latest_vitals(pulse)
    assert row == ("Heart rate", "112 /min", STUDY - timedelta(hours=3))

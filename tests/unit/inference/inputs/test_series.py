"""Series on a grid of hours, worked out by hand: what is in a cell, how it is carried, how old it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.anchor import TimeCell
from medviewer.domain.case import Case, Observation, TextObservation
from medviewer.domain.errors import CardError
from medviewer.inference.card import InputSpec, input_spec, read_card
from medviewer.inference.inputs import series
from medviewer.inference.inputs.adapter import Missing
from tests import data_models

NO = np.nan
# Hours 0..11 of pulse, temperature and lactate, as series_case() has them; the last of several in an hour.
MEASURED = {
    0: [80, 84, NO, NO, NO, 120, NO, NO, NO, NO, NO, 100],
    1: [NO, NO, 36.5, NO, NO, NO, 39.4, NO, NO, NO, NO, NO],
    2: [NO, NO, NO, NO, NO, NO, NO, NO, NO, 4, NO, NO],
}
CARRIED = {
    0: [80, 84, 84, 84, 84, 120, 120, 120, 120, 120, 120, 100],
    1: [NO, NO, 36.5, 36.5, 36.5, 36.5, 39.4, 39.4, 39.4, 39.4, 39.4, 39.4],
    2: [NO, NO, NO, NO, NO, NO, NO, NO, NO, 4, 4, 4],
}
AGE = {
    0: [0, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 0],
    1: [12, 12, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5],
    2: [12, 12, 12, 12, 12, 12, 12, 12, 12, 0, 1, 2],
}


def spec_of(folder: Path, **changes: Any) -> InputSpec:
    return read_card(data_models.make("series", folder / "m", inputs=[data_models.series_input(**changes)])).inputs[0]


@pytest.fixture
def spec(tmp_path: Path) -> InputSpec:
    return spec_of(tmp_path)


def columns(table: dict[int, list[float]]) -> np.ndarray:
    return np.array([table[i] for i in range(3)], float).T


def pulled(case: Case, spec: InputSpec) -> series.SeriesRaw:
    raw = series.pull(case, spec)
    assert not isinstance(raw, Missing), raw
    return raw


def test_values_mask_and_age_by_hand(spec: InputSpec) -> None:
    found = series.encode(pulled(data_models.series_case(), spec), spec).tensors["series"]
    mean, std = (np.array([row[i] for row in data_models.VITALS], float) for i in (3, 4))
    np.testing.assert_allclose(found[:, :3], np.nan_to_num((columns(CARRIED) - mean) / std), rtol=1e-6)
    np.testing.assert_array_equal(found[:, 3:6], ~np.isnan(columns(MEASURED)))
    np.testing.assert_allclose(found[:, 6:], columns(AGE) / 12, rtol=1e-6)


def test_without_carrying_a_cell_without_a_value_is_the_mean(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, preprocessing=[{"op": "z_score"}, {"op": "age", "cap_h": 6}])
    found = series.encode(pulled(data_models.series_case(), spec), spec).tensors["series"]
    mean, std = (np.array([row[i] for row in data_models.VITALS], float) for i in (3, 4))
    np.testing.assert_allclose(found[:, :3], np.nan_to_num((columns(MEASURED) - mean) / std), rtol=1e-6)
    np.testing.assert_allclose(found[:, 6:], np.minimum(columns(AGE) / 6, 1), rtol=1e-6)


def test_several_values_of_one_cell_are_averaged_where_the_card_says_so(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, preprocessing=[{"op": "mean"}, {"op": "age", "cap_h": 12}])
    found = series.encode(pulled(data_models.series_case(), spec), spec).tensors["series"]
    assert found[6, 1] == pytest.approx((39 + 39.4) / 2)


def test_training_gives_what_serving_gives(spec: InputSpec) -> None:
    case = data_models.series_case()
    names = {code: name for name, code, *_ in data_models.VITALS}
    hours = [(o.time - data_models.START).total_seconds() / 3600 for o in case.observations]
    raw = series.observations(
        hours, [names[o.code] for o in case.observations], [o.value for o in case.observations], spec
    )
    np.testing.assert_array_equal(
        series.encode(raw, spec).tensors["series"], series.encode(pulled(case, spec), spec).tensors["series"]
    )


def test_training_prepares_data_before_there_is_a_card(spec: InputSpec) -> None:
    before = input_spec(data_models.series_input())
    raw = pulled(data_models.series_case(), spec)
    np.testing.assert_array_equal(*(series.encode(raw, one).tensors["series"] for one in (spec, before)))
    with pytest.raises(CardError, match="whole number"):
        input_spec(data_models.series_input(step_h=5))
    with pytest.raises(CardError, match="not valid at hours"):
        input_spec(data_models.series_input(hours="two"))


def test_the_order_in_which_values_come_does_not_matter(spec: InputSpec) -> None:
    case = data_models.series_case()
    turned = replace(case, observations=case.observations[::-1])
    np.testing.assert_array_equal(*(series.encode(pulled(c, spec), spec).tensors["series"] for c in (case, turned)))


def test_a_grid_that_ends_at_the_cases_moment(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, origin="last")
    case = data_models.series_case()
    first = pulled(case, spec)
    assert first.start == data_models.START
    later = pulled(replace(case, at=data_models.START + timedelta(hours=14)), spec)
    assert later.start == data_models.START + timedelta(hours=2)
    assert later.hours.tolist() == [0, 3, 4.5, 4.75, 7, 9]


def test_a_grid_begins_with_the_stay_of_the_cases_moment(spec: InputSpec) -> None:
    """And not with the oldest value of the record: that may be of another stay, years ago."""
    case = data_models.series_case()
    years_ago = (replace(one, time=one.time - timedelta(days=2000), value=one.value + 1) for one in case.observations)
    raw = pulled(replace(case, observations=(*years_ago, *case.observations)), spec)
    alone = pulled(case, spec)
    assert raw.start == alone.start == data_models.START
    assert raw.values.tolist() == alone.values.tolist()


@pytest.mark.parametrize(("after_h", "is_over"), [(0.0, False), (12.0, False), (12.1, True)])
def test_a_stay_that_ended_long_before_the_cases_moment_is_not_judged(
    spec: InputSpec, after_h: float, is_over: bool
) -> None:
    case = data_models.series_case()
    newest = max(one.time for one in case.observations)
    found = series.pull(replace(case, at=newest + timedelta(hours=after_h)), spec)
    assert isinstance(found, Missing) is is_over
    if isinstance(found, Missing):
        assert [(doubt.code, doubt.level) for doubt in found.doubts] == [("stay_is_over", "abstain")]


@pytest.mark.parametrize(
    ("at_h", "found"), [(0.0, "0"), (6.0, "6"), (10.9, "10"), (11.0, ""), (12.0, ""), (-1.0, "0"), (10.99, "10")]
)
def test_a_stay_that_has_not_lasted_the_hours_of_the_grid_is_not_judged(
    spec: InputSpec, at_h: float, found: str
) -> None:
    """Hours to come are not hours in which nothing was measured; the last one need not be over."""
    at = data_models.START + timedelta(hours=at_h)
    early = tuple(one for one in data_models.series_case().observations if one.time <= max(at, data_models.START))
    raw = series.pull(replace(data_models.series_case(), observations=early, at=at), spec)
    if not found:
        assert isinstance(raw, series.SeriesRaw)
        return
    assert isinstance(raw, Missing)
    told = [(doubt.code, doubt.level, doubt.facts["found"], doubt.facts["hours"]) for doubt in raw.doubts]
    assert told == [("stay_goes_on", "abstain", found, "12")]


def test_a_grid_that_ends_at_the_moment_needs_no_stay_of_its_length(tmp_path: Path) -> None:
    case = data_models.series_case()
    at = data_models.START + timedelta(hours=2)
    early = tuple(one for one in case.observations if one.time <= at)
    pulled(replace(case, observations=early, at=at), spec_of(tmp_path, origin="last"))


@pytest.mark.parametrize(("after_h", "is_said"), [(0.0, False), (1.0, False), (1.1, True), (240.0, True)])
def test_hours_after_the_grid_that_are_not_looked_at_are_said(spec: InputSpec, after_h: float, is_said: bool) -> None:
    """On the twelfth day about the first two: without a word it reads as an answer about the twelfth."""
    case = data_models.series_case()
    end = data_models.START + timedelta(hours=12)
    pulse = Observation("8867-4", "", 90, "/min", end)
    daily = tuple(replace(pulse, time=end + timedelta(hours=h)) for h in np.arange(0, after_h + 0.1, 6).tolist())
    asked = replace(case, observations=(*case.observations, *daily), at=end + timedelta(hours=after_h))
    doubts, _ = series.examine(pulled(asked, spec), spec)
    told = [(doubt.code, doubt.level, doubt.facts["hours"], doubt.facts["age"].en) for doubt in doubts]  # type: ignore
    assert told == ([("grid_is_over", "warn", "12", "1 h" if after_h < 2 else "10 days")] if is_said else [])


DAY = data_models.START.replace(hour=0)  # of which nothing but the day is known


def test_a_bound_on_the_grid_is_left_out_and_said(spec: InputSpec) -> None:
    """A laboratory gives the worst values as bounds: without a word they would pass for not measured."""
    case = data_models.series_case()
    start = min(one.time for one in case.observations)
    bounds = tuple(
        TextObservation("2524-7", "Lactate", "> 20 mmol/L", time)
        for time in (start + timedelta(hours=1), start + timedelta(hours=2), start - timedelta(days=9), None)
    )
    other = TextObservation("72166-2", "Smoking", "never", start)
    raw = pulled(replace(case, text_observations=(*bounds, other)), spec)
    doubts, _ = series.examine(raw, spec)
    assert [(d.code, d.level, d.name, d.facts["n"]) for d in doubts if d.code == "no_numbers"] == [
        ("no_numbers", "warn", "lactate", "2")
    ]
    assert np.array_equal(raw.values, pulled(case, spec).values)
    without = replace(case, observations=tuple(one for one in case.observations if one.code != "8867-4"))
    fast = TextObservation("8867-4", "Pulse", "> 200 /min", start + timedelta(hours=3))
    missing = series.pull(replace(without, text_observations=(fast,)), spec)
    assert isinstance(missing, Missing)
    assert missing.doubts[0].code == "no_number"


def test_a_value_of_which_only_the_day_is_known_has_no_place_on_a_grid_of_hours(spec: InputSpec) -> None:
    """Neither does it begin the grid, eight hours before anything was measured, nor is it in an hour of it."""
    case = data_models.series_case()
    lactate = Observation("2524-7", "", 9, "mmol/L", DAY)
    years_ago = replace(lactate, time=DAY - timedelta(days=2000))
    raw = pulled(replace(case, observations=(lactate, years_ago, *case.observations)), spec)
    alone = pulled(case, spec)
    assert raw.start == alone.start == data_models.START
    assert raw.values.tolist() == alone.values.tolist()
    doubts, used = series.examine(raw, spec)
    told = [(doubt.code, doubt.level, doubt.name, doubt.facts["n"]) for doubt in doubts]
    assert told == [("no_time_of_day", "warn", "lactate", "1")]
    assert [one.time for one in used] == [one.time for one in series.examine(alone, spec)[1]]


def test_what_is_needed_and_recorded_to_the_day_only_is_not_called_unrecorded(tmp_path: Path, spec: InputSpec) -> None:
    case = data_models.series_case()
    days = tuple(replace(one, time=DAY) if one.code == "8867-4" else one for one in case.observations)
    found = series.pull(replace(case, observations=days, at=data_models.START + timedelta(hours=15)), spec)
    assert isinstance(found, Missing)
    assert [(d.code, d.level, d.name, d.facts["n"]) for d in found.doubts] == [
        ("no_time_of_day", "abstain", "pulse", "4")
    ]
    alone = tuple(replace(one, time=DAY) for one in case.observations)
    variables = [{**one, "required": False} for one in data_models.series_input()["variables"]]
    few = series.pull(replace(case, observations=alone), spec_of(tmp_path / "few", variables=variables))
    assert isinstance(few, Missing)
    assert [(d.code, d.level) for d in few.doubts] == [("too_few", "abstain"), *[("no_time_of_day", "warn")] * 3]


def test_days_have_their_place_on_a_grid_of_days(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, hours=288, step_h=24)
    case = data_models.series_case()
    pulse = next(one for one in case.observations if one.code == "8867-4")
    days = tuple(replace(pulse, time=DAY + timedelta(days=n)) for n in range(12))
    raw = pulled(Case(observations=days, at=DAY + timedelta(days=12)), spec)
    assert raw.hours.tolist() == [24.0 * n for n in range(12)]
    assert series.examine(raw, spec)[1][0].time == days[-1].time


def test_evidence_has_the_time_that_was_recorded(spec: InputSpec) -> None:
    """And not one worked out from the grid: a measurement at midnight would pass for one known to the day only."""
    case = data_models.series_case()
    midnight = (DAY + timedelta(days=1)).astimezone()
    pulse = Observation("8867-4", "", 90, "/min", midnight)
    later = tuple(replace(one, time=one.time + timedelta(hours=6)) for one in case.observations)
    raw = pulled(replace(case, observations=(*later, pulse), at=data_models.START + timedelta(hours=18)), spec)
    assert raw.start is not None
    assert raw.start.tzinfo is None
    _, used = series.examine(raw, spec)
    alone = pulled(replace(case, observations=(*later[:1], pulse), at=data_models.START + timedelta(hours=18)), spec)
    assert series.examine(alone, spec)[1][0].time == midnight
    assert used[0].time == later[3].time


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not hasattr(time, "tzset"):
        pytest.skip("this system cannot change its time zone for one test")
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("day", ["2026-10-25T12:00", "2026-03-29T12:00"])
def test_the_newest_values_stay_the_newest_on_the_day_that_clocks_are_changed(
    tmp_path: Path, berlin: None, day: str
) -> None:
    spec = spec_of(tmp_path, origin="last", hours=24, step_h=2)
    pulse = next(one for one in data_models.series_case().observations if one.code == "8867-4")
    wall = datetime.fromisoformat(day)
    utc, hours = wall.astimezone(UTC), (20.0, 1.5, 0.75, 0.25)
    observations = tuple(replace(pulse, time=utc - timedelta(hours=h)) for h in hours)
    for at in (wall, utc):
        raw = pulled(Case(observations=observations, at=at), spec)
        np.testing.assert_allclose(raw.hours, [24 - h for h in hours])
        _, used = series.examine(raw, spec)
        assert used[0].time is not None
        assert used[0].time.timestamp() == observations[-1].time.timestamp()


@pytest.mark.parametrize(("after_h", "is_said"), [(0.0, False), (0.9, False), (2.0, True)])
def test_a_grid_that_ends_after_the_newest_value_says_so(tmp_path: Path, after_h: float, is_said: bool) -> None:
    spec = spec_of(tmp_path, origin="last")
    case = data_models.series_case()
    newest = max(one.time for one in case.observations if one.code in {"8867-4", "8310-5", "2524-7"})
    doubts, _ = series.examine(pulled(replace(case, at=newest + timedelta(hours=after_h)), spec), spec)
    assert [doubt.code for doubt in doubts if doubt.level == "warn"] == (["grid_ends_later"] if is_said else [])


def test_a_grid_that_begins_with_the_first_value_may_end_when_it_likes(spec: InputSpec) -> None:
    case = data_models.series_case()
    until = data_models.START + timedelta(hours=9)  # hours before the grid of twelve ends
    early = tuple(one for one in case.observations if one.time < until)
    raw = pulled(replace(case, observations=early), spec)
    assert raw.hours.max() < 10
    doubts, _ = series.examine(raw, spec)
    assert "grid_ends_later" not in [doubt.code for doubt in doubts]


def test_what_lies_beyond_the_grid_is_left_out(spec: InputSpec) -> None:
    case = data_models.series_case()
    late = Observation("8867-4", "", 66, "/min", data_models.START + timedelta(hours=12, minutes=1))
    last = Observation("8867-4", "", 77, "/min", data_models.START + timedelta(hours=12))
    raw = pulled(replace(case, observations=(*case.observations, late, last)), spec)
    assert 66 not in raw.values
    assert series.encode(raw, spec).tensors["series"][11, 0] == pytest.approx((77 - 85) / 15)


def test_one_wrong_unit_among_many_values_refuses_the_case(spec: InputSpec) -> None:
    case = data_models.series_case()
    odd = Observation("2524-7", "", 30, "mg/dL", data_models.START)
    found = series.pull(replace(case, observations=(*case.observations, odd)), spec)
    assert isinstance(found, Missing)
    assert [(d.code, d.name) for d in found.doubts] == [("unit", "lactate")]


def test_implausible_values_are_left_out_and_said(spec: InputSpec) -> None:
    case = data_models.series_case()
    odd = Observation("8867-4", "", 8000, "/min", data_models.START + timedelta(hours=3))
    raw = pulled(replace(case, observations=(*case.observations, odd)), spec)
    np.testing.assert_array_equal(
        series.encode(raw, spec).tensors["series"],
        series.encode(pulled(case, spec), spec).tensors["series"],
    )
    doubts, _ = series.examine(raw, spec)
    assert [(d.code, d.level, d.name, d.facts["n"]) for d in doubts] == [("left_out", "warn", "pulse", "1")]


def test_too_few_values_and_a_required_variable(tmp_path: Path, spec: InputSpec) -> None:
    case = data_models.series_case()
    none = replace(case, observations=tuple(o for o in case.observations if o.code != "8867-4"))
    found = series.pull(none, spec)
    assert isinstance(found, Missing)
    # Without the pulse the stay begins with the temperature, two hours later, and its twelve hours are not over.
    assert [(d.code, d.name) for d in found.doubts] == [("missing", "pulse"), ("stay_goes_on", "vitals")]
    assert found.fields == ("pulse",)
    few = series.pull(case, spec_of(tmp_path / "few", least_values=9))
    assert isinstance(few, Missing)
    assert [(d.code, d.facts["found"]) for d in few.doubts] == [("too_few", "8")]


def test_the_last_value_of_each_variable_is_the_evidence(spec: InputSpec) -> None:
    _, used = series.examine(pulled(data_models.series_case(), spec), spec)
    found = [(one.name, one.value, one.time) for one in used]
    assert found == [
        ("pulse", "100 /min", data_models.START + timedelta(hours=11)),
        ("temperature", "39.4 Cel", data_models.START + timedelta(hours=6.75)),
        ("lactate", "4 mmol/L", data_models.START + timedelta(hours=9)),
    ]


def test_a_group_holds_the_cells_to_which_its_values_were_carried(spec: InputSpec) -> None:
    groups = {g.anchor: g.mask["series"] for g in series.groups(pulled(data_models.series_case(), spec), spec)}
    pulse = groups[TimeCell("vitals", "pulse", (4.0, 8.0))]
    assert np.flatnonzero(pulse[:, 0]).tolist() == [5, 6, 7, 8, 9, 10]  # up to the next value, at 11
    assert np.flatnonzero(pulse[:, 3]).tolist() == [5]  # measured once
    assert np.flatnonzero(pulse[:, 6]).tolist() == [5, 6, 7, 8, 9, 10]
    assert not pulse[:, [1, 2, 4, 5, 7, 8]].any()
    assert len(groups) == 6


def test_what_is_recent_was_measured_within_the_hours_and_is_plausible(spec: InputSpec) -> None:
    case = data_models.series_case()  # twelve hours; the lactate was taken at the ninth
    raw = pulled(case, spec)
    assert series.is_recent(raw, spec, "lactate", 3.5)
    assert not series.is_recent(raw, spec, "lactate", 3)  # exactly so long ago is too long
    wild = Observation("2524-7", "Lactate", 900.0, "mmol/L", data_models.START + timedelta(hours=11.5))
    assert not series.is_recent(
        pulled(replace(case, observations=(*case.observations, wild)), spec), spec, "lactate", 3
    )

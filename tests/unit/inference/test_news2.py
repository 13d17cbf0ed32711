"""NEWS2 against the printed chart, every cell of it, and through the engine with what may be missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from medviewer.domain.answer import Answer, Score
from medviewer.domain.case import Observation, TextObservation
from medviewer.explain.methods import explain
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.rules import news2
from medviewer.resources import models_dir
from tests.news2 import AT, CODES, LIMITS, news2_case, points_by_chart


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(Catalogue([models_dir()])) as made:
        yield made


def parts(*, scale: float = 1, alert: float = 0, **values: float) -> dict[str, float]:
    """The points of each part for one patient, from the rule itself."""
    well = {"respiration_rate": 16, "spo2": 97, "spo2_scale": scale, "oxygen": 0, "systolic_pressure": 120, "pulse": 70}
    row = {**well, "consciousness": alert, "temperature": 37.0, **values}
    found = news2.run(np.array([[row[name] for name in news2.FIELDS]], np.float32), np.ones((1, 8), np.float32))
    return dict(zip(news2.PARTS, found["parts"][0].tolist(), strict=True))


@pytest.mark.parametrize("name", ["respiration_rate", "systolic_pressure", "pulse", "temperature"])
def test_every_cell_of_the_chart(name: str) -> None:
    low, high = LIMITS[name]
    step = 0.1 if name == "temperature" else 1
    tried = [round(low + step * i, 1) for i in range(round((high - low) / step) + 1)]
    assert len(tried) > 50
    for value in tried:
        assert parts(**{name: value})[name] == points_by_chart(name, value), value


@pytest.mark.parametrize(
    ("row", "scale", "oxygen"),
    [("spo2 scale 1", 1, 0), ("spo2 scale 1", 1, 2), ("spo2 scale 2 air", 2, 0), ("spo2 scale 2 oxygen", 2, 0.5)],
)
def test_both_scales_of_oxygen_saturation(row: str, scale: int, oxygen: float) -> None:
    for value in range(LIMITS["spo2"][0], LIMITS["spo2"][1] + 1):
        found = parts(scale=scale, oxygen=oxygen, spo2=value)
        assert found["spo2"] == points_by_chart(row, value), value
        assert found["oxygen"] == (2 if oxygen else 0)


@pytest.mark.parametrize(("state", "points"), [(0, 0), (1, 3), (2, 3), (3, 3), (4, 3)])
def test_all_but_alert_has_three_points(state: int, points: int) -> None:
    assert parts(alert=state)["consciousness"] == points


@pytest.mark.parametrize(
    ("value", "points"), [(35.04, 3), (35.05, 1), (36.04, 1), (36.05, 0), (38.04, 0), (38.05, 1), (39.05, 2)]
)
def test_a_temperature_between_two_cells_is_rounded_to_tenths(value: float, points: int) -> None:
    assert parts(temperature=value)["temperature"] == points


def scores(answer: Answer) -> dict[str, Score]:
    return {one.label: one for one in answer.outcomes if isinstance(one, Score)}


# Totals and bands added up by hand from the chart.
@pytest.mark.parametrize(
    ("values", "total", "band", "highest"),
    [
        ({}, 0, "Low", 0),
        ({"respiration_rate": 22, "spo2": 93, "pulse": 94}, 5, "Medium", 2),
        ({"respiration_rate": 25}, 3, "Low", 3),
        ({"respiration_rate": 26, "spo2": 90, "oxygen": 4, "systolic_pressure": 88, "pulse": 135, "consciousness": "Voice",
          "temperature": 34.5}, 20, "High", 3),
        ({"spo2": 96, "oxygen": 2, "scale": "Scale 2"}, 4, "Low", 2),
        ({"spo2": 96, "oxygen": 2}, 2, "Low", 2),
        ({"consciousness": "New confusion", "temperature": 38.5, "pulse": 115, "respiration_rate": 21}, 8, "High", 3),
    ],
)  # fmt: skip
def test_totals_and_bands(engine: Engine, values: dict[str, object], total: int, band: str, highest: int) -> None:
    answer = engine.ask(news2_case(**values), "news2")  # type: ignore[arg-type]
    assert answer.status == "answer", answer.reasons
    found = scores(answer)
    assert (found["total"].value, found["total"].band, found["highest_parameter"].value) == (total, band, highest)
    assert sum(part.value for part in found["total"].parts) == total
    assert found["total"].flagged == (total >= 5)
    assert found["highest_parameter"].flagged == (highest == 3)


def test_every_value_is_evidence_with_its_date(engine: Engine) -> None:
    answer = engine.ask(news2_case(), "news2")
    assert [(one.name, one.time) for one in answer.evidence] == [
        (name, None if name == "spo2_scale" else AT) for name in news2.FIELDS
    ]
    assert answer.provenance.runtime == "rule"
    assert answer.provenance.versions["rule"] == news2.VERSION


def test_scale_1_is_taken_and_said_and_scale_2_only_where_it_is_recorded(engine: Engine) -> None:
    assumed = engine.ask(news2_case(), "news2")
    assert [g.code for g in assumed.guards if g.level == "warn"] == ["assumed.spo2_scale"]
    stated = engine.ask(news2_case(scale="scale 2"), "news2")
    assert [g.code for g in stated.guards if g.level == "warn"] == []


@pytest.mark.parametrize("hours", [-4, -24 * 400, 2])
def test_scale_2_holds_from_one_set_of_vital_signs_to_the_next(engine: Engine, hours: int) -> None:
    """It is decided once for the patient: taken for scale 1, 2 points would be 5."""
    case = news2_case(spo2=91)
    scale = TextObservation("NEWS2:spo2-scale", "SpO2 scale", "scale 2", AT + timedelta(hours=hours))
    case = replace(case, text_observations=(*case.text_observations, scale), at=AT + timedelta(hours=3))
    answer = engine.ask(case, "news2")
    assert answer.status == "answer", answer.reasons
    assert scores(answer)["total"].value == 0
    assert [g.code for g in answer.guards if g.level == "warn"] == (["stands.spo2_scale"] if hours < 0 else [])
    assert {one.name: one.time for one in answer.evidence}["spo2_scale"] == scale.time


def test_a_scale_of_which_nobody_knows_when_it_was_recorded_is_no_scale_1(engine: Engine) -> None:
    case = news2_case(spo2=91)
    scale = TextObservation("NEWS2:spo2-scale", "SpO2 scale", "scale 2", None)
    answer = engine.ask(replace(case, text_observations=(*case.text_observations, scale)), "news2")
    assert [g.code for g in answer.guards if g.level == "abstain"] == ["undated.spo2_scale"]
    of_a_day = replace(scale, time=AT.replace(hour=0, minute=0) - timedelta(days=1))
    answer = engine.ask(replace(case, text_observations=(*case.text_observations, of_a_day)), "news2")
    assert scores(answer)["total"].value == 0


@pytest.mark.parametrize(
    ("other", "code"),
    [
        (Observation(CODES["pulse"][0], "Pulse", 200.0, "/min", AT), "contradiction.pulse"),
        (Observation(CODES["temperature"][0], "Temperature", 102.2, "[degF]", AT), "contradiction.temperature"),
        (Observation(CODES["temperature"][0], "Temperature", 98.6, "F", AT), "unit.temperature"),
        (Observation(CODES["oxygen"][0], "Oxygen", 2.0, "L/min", AT), "contradiction.oxygen"),
        (TextObservation("67775-7", "Consciousness", "Confusion", AT), "contradiction.consciousness"),
        (TextObservation("67775-7", "Consciousness", "agitated", AT), "not_understood.consciousness"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_of_two_records_of_one_moment_that_contradict_each_other_none_is_scored(
    engine: Engine, other: Observation | TextObservation, code: str, *, is_first: bool
) -> None:
    case = news2_case()
    name = "observations" if isinstance(other, Observation) else "text_observations"
    known = getattr(case, name)
    answer = engine.ask(replace(case, **{name: (other, *known) if is_first else (*known, other)}), "news2")
    assert [g.code for g in answer.guards if g.level == "abstain"] == [code]


@pytest.mark.parametrize("of_a_day", [("pulse",), tuple(CODES)])
def test_a_number_of_which_only_the_day_is_known_is_not_put_with_those_of_an_hour(
    engine: Engine, of_a_day: tuple[str, ...]
) -> None:
    """At half past midnight it would else pass for one of midnight, and all of a day for one set."""
    early = AT.replace(hour=0, minute=30)
    day, untimed = AT.replace(hour=0, minute=0), {CODES[name][0] for name in of_a_day}
    case = news2_case()
    values = tuple(replace(one, time=day if one.code in untimed else early) for one in case.observations)
    words = tuple(replace(one, time=early) for one in case.text_observations)
    told = replace(case, observations=values, text_observations=words, at=AT + timedelta(days=1))
    answer = engine.ask(told, "news2")
    assert {g.code for g in answer.guards if g.level == "abstain"} == {f"undated.{name}" for name in of_a_day}
    again = tuple(replace(one, time=early) for one in case.observations)
    assert engine.ask(replace(told, observations=(*values, *again)), "news2").status == "answer"


def test_a_bound_is_no_number_and_is_called_what_it_is(engine: Engine) -> None:
    case = news2_case()
    bound = TextObservation(CODES["pulse"][0], "Pulse", "> 200 /min", AT)  # as an import keeps it
    others = tuple(one for one in case.observations if one.code != CODES["pulse"][0])
    answer = engine.ask(replace(case, observations=others, text_observations=(*case.text_observations, bound)), "news2")
    assert [(g.code, g.text) for g in answer.guards if g.level == "abstain"] == [
        ("no_number.pulse", "What is recorded for Pulse is a bound or words, not a number; it is not used.")
    ]


def test_what_is_recorded_twice_and_alike_is_scored(engine: Engine) -> None:
    case = news2_case()
    fahrenheit = Observation(CODES["temperature"][0], "Temperature", 98.7, "[degF]", AT)  # 37.06 °C, beside 37.0
    again = (*(replace(one) for one in case.observations), fahrenheit)
    answer = engine.ask(replace(case, observations=(*case.observations, *again)), "news2")
    assert (answer.status, answer.outcomes) == ("answer", engine.ask(case, "news2").outcomes)
    breathing = news2_case(oxygen=2)
    given = TextObservation(CODES["oxygen"][0], "Oxygen", "Supplemental oxygen", AT)
    told = replace(breathing, text_observations=(*breathing.text_observations, given))
    assert engine.ask(told, "news2").outcomes == engine.ask(breathing, "news2").outcomes
    assert engine.ask(replace(told, observations=case.observations), "news2").status == "abstained"


@pytest.mark.parametrize("name", [*CODES, "consciousness"])
def test_what_is_missing_is_named_and_nothing_is_added_up(engine: Engine, name: str) -> None:
    case = news2_case(consciousness="" if name == "consciousness" else "Alert")
    if name != "consciousness":
        case = replace(case, observations=tuple(o for o in case.observations if o.code != CODES[name][0]))
    answer = engine.ask(case, "news2")
    assert answer.status == "abstained"
    assert [g.code for g in answer.guards if g.level == "abstain"] == [f"missing.{name}"]
    assert answer.outcomes == ()


def test_children_get_no_score(engine: Engine) -> None:
    assert engine.ask(news2_case(age_years=15.9), "news2").status == "abstained"
    assert engine.ask(news2_case(age_years=16.0), "news2").status == "answer"
    unknown = engine.ask(news2_case(age_years=None), "news2")
    assert [g.level for g in unknown.guards if g.code == "age.unknown"] == ["warn"]


def test_values_of_another_hour_are_not_mixed_in(engine: Engine) -> None:
    case = news2_case()
    later = Observation("8867-4", "", 140, "/min", AT + timedelta(hours=2))
    answer = engine.ask(replace(case, observations=(*case.observations, later)), "news2")
    assert answer.status == "abstained"
    assert {g.code.split(".")[0] for g in answer.guards if g.level == "abstain"} == {"stale"}


@pytest.mark.parametrize(
    ("values", "code"),
    [({"spo2": 0.97}, "implausible.spo2"), ({"temperature": 98.6}, "implausible.temperature")],
)
def test_a_value_in_the_wrong_unit_is_seen(engine: Engine, values: dict[str, float], code: str) -> None:
    answer = engine.ask(news2_case(**values), "news2")
    assert [g.code for g in answer.guards if g.level == "abstain"] == [code]


def test_a_state_that_is_not_of_the_scale_is_not_guessed(engine: Engine) -> None:
    answer = engine.ask(news2_case(consciousness="drowsy"), "news2")
    assert [g.code for g in answer.guards if g.level == "abstain"] == ["not_understood.consciousness"]
    assert "drowsy" not in str(answer)


def test_oxygen_in_words_and_in_litres(engine: Engine) -> None:
    case = news2_case()
    dry = tuple(o for o in case.observations if o.code != "3151-8")
    for word, points in (("Room air", 0), ("Supplemental oxygen", 2)):
        words = (*case.text_observations, TextObservation("3151-8", "", word, AT))
        answer = engine.ask(replace(case, observations=dry, text_observations=words), "news2")
        assert scores(answer)["total"].value == points


def test_the_rules_identity_is_its_table(tmp_path: Path) -> None:
    shutil.copytree(models_dir() / "news2", tmp_path / "news2")
    path = tmp_path / "news2" / "model.json"
    card = json.loads(path.read_bytes())
    for change in ({"sha256": "0" * 64}, {"version": "2.0.0"}, {"name": "news3"}):
        path.write_text(json.dumps({**card, "rule": {**card["rule"], **change}}), encoding="utf-8")
        (entry,) = Catalogue([tmp_path]).entries
        assert "program" in entry.problem
    card["inputs"][0]["fields"].reverse()
    path.write_text(json.dumps(card), encoding="utf-8")
    (entry,) = Catalogue([tmp_path]).entries
    assert "not the one that the rule news2 reads" in entry.problem


def test_no_process_is_started_for_a_rule(engine: Engine) -> None:
    engine.ask(news2_case(), "news2")
    assert engine.worker_pid is None


def test_a_score_that_is_a_sum_is_taken_apart_into_its_points(engine: Engine) -> None:
    case = news2_case(respiration_rate=22, spo2=93, pulse=94, oxygen=2, consciousness="Pain")
    answer = engine.ask(case, "news2")
    points = {part.name: part.value for part in answer.outcomes[0].parts}  # type: ignore[union-attr]
    found = explain(engine, case, "news2", "occlusion", n_random=0)
    values = dict(zip((anchor.field for anchor in found.anchors), found.saliency.tolist(), strict=True))
    assert values.pop("spo2_scale") == 0
    assert values == points
    assert sum(values.values()) == 10

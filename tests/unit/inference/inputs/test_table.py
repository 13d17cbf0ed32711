"""Tables: which recorded value counts, in which unit, from when; and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.case import Case, Observation, TextObservation
from medviewer.domain.errors import CardError
from medviewer.inference.card import InputSpec, Text, read_card
from medviewer.inference.inputs import table
from medviewer.inference.inputs.adapter import Missing
from tests import data_models, fakes

AT = data_models.START + timedelta(hours=5)


@pytest.fixture
def spec(tmp_path: Path) -> InputSpec:
    return spec_of(tmp_path)


def spec_of(folder: Path, **changes: Any) -> InputSpec:
    return read_card(data_models.make("table", folder / "m", inputs=[data_models.table_input(**changes)])).inputs[0]


def with_(case: Case, *observations: Observation) -> Case:
    return replace(case, observations=(*case.observations, *observations))


def codes(found: Missing) -> list[str]:
    return [f"{doubt.code}.{doubt.name}" for doubt in found.doubts]


def test_the_newest_value_of_each_field_in_the_cards_unit(spec: InputSpec) -> None:
    raw = table.pull(data_models.table_case(), spec)
    assert not isinstance(raw, Missing)
    np.testing.assert_allclose(raw.values, [96, 38, 2.5, 64.5, 1])  # 100.4 degrees Fahrenheit are 38 Celsius
    found = table.encode(raw, spec).tensors
    np.testing.assert_allclose(found["table_values"], [11 / 15, 1 / 0.7, 1.0, 4.5 / 15, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(found["table_mask"], np.ones(5))
    doubts, used = table.examine(raw, spec)
    assert doubts == []
    assert [(one.name, one.value) for one in used] == [
        ("pulse", "96 /min"), ("temperature", "38 Cel"), ("lactate", "2.5 mmol/L"), ("age", "64"), ("smoking", "Current")
    ]  # fmt: skip
    assert [one.note.en for one in used if one.note.en] == ["converted from 100.4 [degF]"]
    assert used[0].time == AT


def test_training_and_serving_give_the_same_row(spec: InputSpec) -> None:
    raw = table.pull(data_models.table_case(), spec)
    trained = table.encode(table.row([96, 38, 2.5, 64.5, 1], spec), spec).tensors
    for name, array in table.encode(raw, spec).tensors.items():
        np.testing.assert_array_equal(trained[name], array)


def test_a_unit_that_cannot_be_converted_is_refused_by_name(spec: InputSpec) -> None:
    case = with_(data_models.table_case(), Observation("2524-7", "Lactate", 22.5, "mg/dL", AT))
    found = table.pull(case, spec)
    assert isinstance(found, Missing)
    assert (found.fields, codes(found)) == (("lactate",), ["unit.lactate"])
    assert found.doubts[0].facts["found"] == "mg/dL"


def test_values_from_another_time_do_not_count(spec: InputSpec) -> None:
    later = Observation("8867-4", "Pulse", 99, "/min", AT + timedelta(hours=8))
    found = table.pull(with_(data_models.table_case(), later), spec)
    assert isinstance(found, Missing)
    assert codes(found) == ["stale.temperature", "stale.lactate", "stale.smoking"]


def test_old_values_are_said_to_be_old(spec: InputSpec) -> None:
    raw = table.pull(replace(data_models.table_case(), at=AT + timedelta(hours=30)), spec)
    doubts, _ = table.examine(raw, spec)
    assert [(doubt.code, doubt.level, doubt.facts["age"]) for doubt in doubts] == [
        ("old", "warn", Text("30 h", "30 小时"))
    ]


@pytest.mark.parametrize(("hours", "code", "level"), [(30, "old", "warn"), (49, "too_old", "abstain")])
def test_values_older_than_the_card_allows_give_no_result(tmp_path: Path, hours: int, code: str, level: str) -> None:
    inputs = [data_models.table_input(abstain_older_h=48)]
    spec = read_card(data_models.make("table", tmp_path / "m", inputs=inputs)).inputs[0]
    raw = table.pull(replace(data_models.table_case(), at=AT + timedelta(hours=hours)), spec)
    doubts, _ = table.examine(raw, spec)
    assert [(doubt.code, doubt.level) for doubt in doubts] == [(code, level)]


def test_an_implausible_value_is_no_value(spec: InputSpec) -> None:
    raw = table.pull(
        with_(data_models.table_case(), Observation("8867-4", "", 9600, "/min", AT + timedelta(minutes=1))), spec
    )
    doubts, _ = table.examine(raw, spec)
    assert [(doubt.code, doubt.level, doubt.name) for doubt in doubts] == [("implausible", "abstain", "pulse")]


def test_only_the_cards_own_words_are_understood(spec: InputSpec) -> None:
    case = data_models.table_case()
    odd = replace(case, text_observations=(TextObservation("72166-2", "", "Mr Smith smokes", AT),))
    found = table.pull(odd, spec)
    assert isinstance(found, Missing)
    assert codes(found) == ["not_understood.smoking"]
    assert "Smith" not in str(found)
    number = replace(with_(case, Observation("72166-2", "", 1.0, "", AT + timedelta(minutes=1))))
    assert codes(table.pull(number, spec)) == ["not_understood.smoking"]  # type: ignore[arg-type]


def test_a_default_is_taken_and_said(tmp_path: Path) -> None:
    fields = data_models.table_input()["fields"]
    fields[4]["default"] = 0
    spec = spec_of(tmp_path, fields=fields)
    raw = table.pull(replace(data_models.table_case(), text_observations=()), spec)
    assert not isinstance(raw, Missing)
    assert raw.values[4] == 0
    doubts, used = table.examine(raw, spec)
    assert [(doubt.code, doubt.level, doubt.facts["found"]) for doubt in doubts] == [("assumed", "warn", "never")]
    assert used[-1].time is None


SCALE = "72166-2"  # a field with a default: a record of it holds until another one
DAY = AT.replace(hour=0)


def standing(tmp_path: Path) -> InputSpec:
    fields = data_models.table_input()["fields"]
    fields[4]["default"] = 0
    return spec_of(tmp_path, fields=fields, together_h=1.5)


def said(*words: tuple[str, datetime | None]) -> Case:
    texts = tuple(TextObservation(SCALE, "", word, time) for word, time in words)
    return replace(data_models.table_case(), text_observations=texts)


@pytest.mark.parametrize(
    ("time", "age"),
    [
        (AT - timedelta(hours=4), "4 h"),
        (AT - timedelta(hours=1), ""),
        (AT + timedelta(hours=4), ""),
        (AT - timedelta(days=2000), "5 years"),
        (DAY - timedelta(days=1), "1 day"),
        (DAY - timedelta(days=3), "3 days"),
        (DAY, ""),
    ],
)
def test_a_record_of_what_has_a_default_holds_until_another_one(tmp_path: Path, time: datetime, age: str) -> None:
    """Neither is it "not recorded" where the others are newer, nor are they stale where it is."""
    spec = standing(tmp_path)
    raw = table.pull(replace(said(("current", time)), at=AT + timedelta(hours=5)), spec)
    assert isinstance(raw, table.TableRaw)
    assert raw.values.tolist() == table.pull(data_models.table_case(), spec).values.tolist()  # type: ignore[union-attr]
    assert raw.newest == AT
    doubts, used = table.examine(raw, spec)
    assert [(doubt.code, doubt.level, doubt.facts["age"].en) for doubt in doubts] == (  # type: ignore[union-attr]
        [("stands", "warn", age)] if age else []
    )
    assert used[-1].time == time


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([("current", AT - timedelta(hours=8)), ("never", AT - timedelta(hours=4))], 0),
        ([("never", AT - timedelta(hours=8)), ("current", AT - timedelta(hours=4))], 1),
        ([("never", AT - timedelta(days=3)), ("current", DAY - timedelta(days=1))], 1),
        ([("never", DAY - timedelta(days=1)), ("current", AT)], 1),
        ([("current", AT), ("current", DAY)], 1),
        ([("current", AT), ("current", None)], 1),
        ([("never", AT), ("current", DAY)], None),  # perhaps after it
        ([("never", DAY), ("current", DAY)], None),
        ([("never", AT), ("current", None)], None),
        ([("current", None)], None),
        ([("never", AT), ("whatever", DAY)], None),
    ],
)
def test_the_last_record_of_what_has_a_default_is_taken_or_none(
    tmp_path: Path, words: list[tuple[str, datetime | None]], value: float | None
) -> None:
    for case in (said(*words), said(*words[::-1])):
        raw = table.pull(case, standing(tmp_path))
        if value is None:
            assert isinstance(raw, Missing)
            assert codes(raw) == ["undated.smoking"]
        else:
            assert isinstance(raw, table.TableRaw)
            assert raw.values[4] == value


def test_a_word_that_is_not_the_cards_own_is_no_default_however_old(tmp_path: Path) -> None:
    found = table.pull(said(("scale 3", AT - timedelta(days=2))), standing(tmp_path))
    assert isinstance(found, Missing)
    assert codes(found) == ["not_understood.smoking"]


@pytest.mark.parametrize("time", [DAY, None])
def test_a_word_of_no_known_time_is_not_mixed_in_and_not_called_unrecorded(
    spec: InputSpec, time: datetime | None
) -> None:
    """Half an hour after midnight a word of that day would else pass for one of the same hour."""
    found = table.pull(said(("current", time)), spec)
    assert isinstance(found, Missing)
    assert codes(found) == ["undated.smoking"]
    known = table.pull(said(("current", time), ("never", AT)), spec)
    assert isinstance(known, table.TableRaw)
    assert known.values[4] == 0


def test_an_optional_field_that_is_missing_is_masked(tmp_path: Path) -> None:
    fields = data_models.table_input()["fields"]
    fields[2]["required"] = False
    spec = spec_of(tmp_path, fields=fields)
    case = data_models.table_case()
    raw = table.pull(replace(case, observations=tuple(o for o in case.observations if o.code != "2524-7")), spec)
    found = table.encode(raw, spec).tensors
    assert (found["table_values"][2], found["table_mask"].tolist()) == (0.0, [1, 1, 0, 1, 1])
    assert len(table.groups(raw, spec)) == 4


def test_log1p_comes_in_its_place_among_the_steps(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, preprocessing=[{"op": "log1p", "fields": ["lactate"]}])
    raw = table.pull(data_models.table_case(), spec)
    found = table.encode(raw, spec).tensors["table_values"]
    np.testing.assert_allclose(found, [96, 38, np.log(3.5), 64.5, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["fields"].append(dict(d["fields"][0])), "the same name"),
        (lambda d: d["fields"][0].pop("codes"), "no code"),
        (lambda d: d["fields"][0].pop("std"), "no mean and standard deviation"),
        (lambda d: d["fields"][0].update(range=[5, 1]), "range of pulse is empty"),
        (lambda d: d["tensors"][0].update(shape=[None, 4]), "one column for each field"),
        (lambda d: d["preprocessing"].append({"op": "log1p", "fields": ["none"]}), "names a field"),
        (lambda d: d["preprocessing"].append({"op": "exec"}), "not valid at inputs/0/preprocessing"),
        (lambda d: d["fields"][0].update(surprise=1), "surprise"),
        (lambda d: d["tensors"][1].update(name="table_values"), "one input of the graph"),
        (lambda d: d["tensors"][0].update(shape=[None, None]), "one column for each field"),
    ],
)
def test_a_card_that_contradicts_itself_says_where(tmp_path: Path, change: Any, words: str) -> None:
    document = data_models.table_input()
    folder = data_models.make("table", tmp_path / "m")
    change(document)
    card = data_models.card("table", [document], [fakes.file_entry("model", folder / "model.onnx")])
    fakes.write_card(folder, card)
    with pytest.raises(CardError, match=words):
        read_card(folder)


def test_times_without_a_zone_are_local(spec: InputSpec) -> None:
    case = data_models.table_case()
    zoned = tuple(replace(o, time=o.time.astimezone()) for o in case.observations[:1]) + case.observations[1:]
    raw = table.pull(replace(case, observations=zoned), spec)
    assert not isinstance(raw, Missing)
    assert isinstance(raw.newest, datetime)

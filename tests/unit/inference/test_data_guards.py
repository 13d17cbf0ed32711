"""What stands between recorded data and a reader, asked through the engine; and outputs that cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from medviewer.domain.answer import Answer, Forecast, SurvivalCurve
from medviewer.domain.case import Case, Observation
from medviewer.domain.errors import CardError, UsageError
from medviewer.explain.methods import explain
from medviewer.inference.card import OperatingPoint, Text, read_card
from medviewer.inference.card_checks import OUTCOME_OUTPUTS
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.data_guard_texts import DATA_TEXTS, span
from medviewer.inference.engine import Engine
from medviewer.inference.gathering import gather, tensors_of
from medviewer.inference.guards import check_evidence, check_population
from medviewer.inference.outcomes import explained_scores
from tests import data_models, fakes

AT = data_models.START + timedelta(hours=5)


# Two forecasts in the four rows of the tiny model, each of something that must have been measured lately.
TWO = tuple(
    {"name": name, "code": {"scheme": "LN", "value": "0-0", "meaning": "made up"}, "title": {"en": name, "zh": "预测"},
     "unit": unit, "times": times, "nominal": 0.8, "recent": {"variable": name, "hours": 4},
     "measured": {"en": "Made up.", "zh": "虚构。"}}
    for name, unit, times in (("pulse", "/min", [1]), ("lactate", "mmol/L", [1, 2, 6]))
)  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("models")
    for kind in ("table", "series", "tfidf", "survival", "forecast", "score", "fusion"):
        data_models.make(kind, folder / kind)
    data_models.make("table", folder / "narrow", id="narrow", ranges={"table_values": [-2, 0.5]})
    for kind in ("survival", "forecast", "score"):
        data_models.make(kind, folder / f"broken-{kind}", id=f"broken-{kind}")
        _break(folder / f"broken-{kind}", kind)
    data_models.make("forecast", folder / "two", id="two", outcomes=list(TWO))
    with Engine(Catalogue([folder]), providers=["cpu"], threads=2) as made:
        yield made


def _break(folder: Path, kind: str) -> None:
    """Turn the network's outputs round: survival that rises, quantiles that fall, a score below its scale."""
    name = OUTCOME_OUTPUTS[kind][0]
    model = onnx.load_model_from_string((folder / "model.onnx").read_bytes())
    for node in model.graph.node:
        node.output[:] = [f"{o}.before" if o == name else o for o in node.output]
    model.graph.node.append(helper.make_node("Neg", [f"{name}.before"], [name]))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    card = json.loads((folder / "model.json").read_bytes())
    card["files"][0] = fakes.file_entry("model", folder / "model.onnx")
    fakes.write_card(folder, card)


def stops(answer: Answer) -> list[str]:
    assert (answer.status == "abstained") == bool(answer.reasons)
    return [guard.code for guard in answer.guards if guard.level == "abstain"]


def test_a_unit_a_constant_and_an_implausible_value(engine: Engine) -> None:
    case = data_models.table_case()
    for observation, code in (
        (Observation("2524-7", "", 20, "mg/dL", AT), "unit.lactate"),
        (Observation("8867-4", "", 9000, "/min", AT + timedelta(minutes=1)), "implausible.pulse"),
    ):
        answer = engine.ask(replace(case, observations=(*case.observations, observation)), "tiny-table")
        assert stops(answer) == [code]


def test_an_age_outside_of_the_population_is_warned_of(engine: Engine) -> None:
    answer = engine.ask(replace(data_models.table_case(), age_years=95.0), "tiny-table")
    assert [g.code for g in answer.guards if g.level == "warn"] == ["age"]
    series = engine.ask(replace(data_models.series_case(), age_years=None), "tiny-series")
    assert [g.code for g in series.guards if g.level == "warn"] == ["age.unknown"]


def test_ages_that_contradict_each_other_are_told_to_a_model_that_takes_the_age(engine: Engine) -> None:
    """Also where its card says nothing of the ages of a population: the age is a value that it works with."""
    case = replace(data_models.table_case(), age_years=None, ages_told=(34, 64))
    card = engine.catalogue.card("tiny-table")
    unlimited = replace(card, population=replace(card.population, age_years=None))
    for one in (card, unlimited):
        assert [g.code for g in check_population(case, one) if g.level == "warn"] == ["age.contradiction"]
    of_images = replace(unlimited, inputs=engine.catalogue.card("tiny-series").inputs)
    assert [g.code for g in check_population(case, of_images) if g.level == "warn"] == []
    answer = engine.ask(case, "tiny-table")
    assert "34, 64" in next(g.text for g in answer.guards if g.code == "age.contradiction")


def test_prepared_values_that_training_never_had(engine: Engine) -> None:
    assert stops(engine.ask(data_models.table_case(), "narrow")) == ["range"]
    assert "data" in engine.ask(data_models.table_case(), "narrow").reasons[0]


def test_a_note_in_another_language(engine: Engine) -> None:
    german = "Der Patient klagt über Husten und Fieber, die Lunge ist frei, es wurde nicht geröntgt. cough"
    answer = engine.ask(Case(age_years=50.0, note=german), "tiny-tfidf")
    assert stops(answer) == ["language.note"]
    assert "(de)" in answer.reasons[0]
    assert "Husten" not in str(answer)


def test_a_fusion_model_names_what_each_input_lacks(engine: Engine) -> None:
    assert stops(engine.ask(Case(age_years=50.0), "tiny-fusion")) == [
        "missing.pulse", "missing.temperature", "missing.lactate", "missing.smoking", "no_note.note"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["survival", "forecast", "score"])
def test_an_output_that_cannot_be_is_no_result(engine: Engine, kind: str) -> None:
    assert stops(engine.ask(data_models.case_for(kind), f"broken-{kind}")) == ["no_result"]


def test_a_survival_curve_and_a_forecast(engine: Engine) -> None:
    (curve,) = engine.ask(data_models.case_for("survival"), "tiny-survival").outcomes
    assert isinstance(curve, SurvivalCurve)
    assert (curve.times, curve.time_unit, curve.horizon) == ((30, 90, 365), "d", 90)
    assert list(curve.survival) == sorted(curve.survival, reverse=True)
    (forecast,) = engine.ask(data_models.case_for("forecast"), "tiny-forecast").outcomes
    assert isinstance(forecast, Forecast)
    assert (forecast.unit, forecast.hours, forecast.nominal) == ("mm[Hg]", (1, 2, 3, 4), 0.8)
    assert all(
        low < middle < high for low, middle, high in zip(forecast.low, forecast.median, forecast.high, strict=True)
    )


def test_two_forecasts_lie_one_after_the_other(engine: Engine) -> None:
    card = engine.catalogue.card("two")
    outputs = {"quantiles": np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3)}
    assert explained_scores(card, outputs, 0).tolist() == [1, 13]
    assert explained_scores(card, outputs, 1).tolist() == [10, 22]  # of the last of its own times
    case = data_models.case_for("forecast")
    pulse, lactate = engine.ask(case, "two").outcomes
    assert isinstance(pulse, Forecast)
    assert isinstance(lactate, Forecast)
    tensors = tensors_of(gather(case, card).encode())
    rows = engine.run("two", {"series": tensors["series"][None]}, outputs=["quantiles"])["quantiles"][0]
    np.testing.assert_allclose([pulse.low, pulse.median, pulse.high], rows[:1].T)
    np.testing.assert_allclose([lactate.low, lactate.median, lactate.high], rows[1:].T)
    assert (pulse.hours, lactate.hours, lactate.unit) == ((1,), (1, 2, 6), "mmol/L")


def test_nothing_is_forecast_of_what_was_not_measured_lately(engine: Engine) -> None:
    case = data_models.case_for("forecast")  # twelve hours from the first value; the lactate was taken at the ninth
    old = replace(case, observations=tuple(o for o in case.observations if o.code != "8867-4" or o.value < 90))
    answer = engine.ask(old, "two")
    assert [one.label for one in answer.outcomes] == ["lactate"]
    assert [(g.code, g.level) for g in answer.guards if g.code.startswith("not_recent")] == [
        ("not_recent.pulse", "warn")
    ]
    why = explain(engine, old, "two", "occlusion", n_random=0)
    assert why.finding == "lactate"  # of what is given
    gone = replace(old, observations=tuple(o for o in old.observations if o.code != "2524-7"))
    assert stops(engine.ask(gone, "two")) == ["not_recent.pulse", "not_recent.lactate"]
    assert "最近 4 小时内未测量" in engine.ask(gone, "two", language="zh").reasons[0]


def test_in_a_proportional_hazards_model_the_explained_number_is_the_log_hazard(engine: Engine) -> None:
    card = engine.catalogue.card("tiny-survival")
    log_hazard = np.array([-1.0, 0.0, 1.5])
    survival = np.array([0.9, 0.8, 0.5])[None] ** np.exp(log_hazard)[:, None]
    found = explained_scores(card, {"survival": survival}, 0)
    np.testing.assert_allclose(found - found[1], log_hazard, atol=1e-9)


def test_an_image_cannot_be_prepared_for_a_model_of_values(engine: Engine) -> None:
    with pytest.raises(UsageError, match="single image"):
        engine.encode(fakes.make_case(), "tiny-table")


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("survival", lambda d: d["outcomes"][0].update(horizon=60), "horizon"),
        ("survival", lambda d: d["outcomes"][0].update(times=[30, 90, 80]), "times do not rise|has not the shape"),
        ("survival", lambda d: d["outcomes"].append({**d["outcomes"][0], "name": "other"}), "only a score"),
        ("forecast", lambda d: d["outcomes"][0].update(nominal=0), "nominal"),
        ("forecast", lambda d: d["outcomes"][0].update(recent={"variable": "x", "hours": 6}), "no series has"),
        ("forecast", lambda d: d["outcomes"].append({**d["outcomes"][0], "name": "other"}), "has not the shape"),
        ("forecast", lambda d: d["outputs"][0].update(shape=[None, 4, 2]), "quantiles"),
        ("score", lambda d: d["outcomes"][0]["bands"].reverse(), "bands"),
        ("score", lambda d: d["outcomes"][0].update(highest=0), "empty"),
        ("score", lambda d: d.update(labels=[fakes.label_document("x")]), "for classification"),
        ("score", lambda d: d.update(outcomes=[]), "no outcome"),
        ("table", lambda d: d.update(labels=[]), "no label"),
        ("table", lambda d: d.update(runtime="rule"), "names no rule"),
        ("table", lambda d: d.pop("training"), "training"),
        ("tfidf", lambda d: d["inputs"][0].update(vocabulary="model.onnx"), "vocabulary"),
        ("tfidf", lambda d: d["inputs"][0].update(vocabulary="none.txt"), "vocabulary"),
        ("wordpiece", lambda d: d["inputs"][0]["tensors"][0].update(dtype="float32"), "wrong type"),
        ("wordpiece", lambda d: d["inputs"][0]["preprocessing"].pop(), "wordpiece and tfidf"),
        ("series", lambda d: d["inputs"][0].update(step_h=5), "whole number|has not the shape"),
        ("series", lambda d: d["inputs"][0]["preprocessing"].pop(), "age of values"),
        ("volume", lambda d: d["inputs"][0]["preprocessing"].pop(1), "not resized"),
        ("molecule", lambda d: d["inputs"][0]["preprocessing"].pop(), "needs the preprocessing step graph"),
        ("views", lambda d: d["inputs"][0].update(view=[]), "chosen by view"),
        ("fusion", lambda d: d["inputs"].append(d["inputs"][0]), "two inputs"),
    ],
)  # fmt: skip
def test_a_card_that_contradicts_itself_is_refused(tmp_path: Path, kind: str, change: Any, words: str) -> None:
    folder = data_models.make(kind, tmp_path / kind)
    card = json.loads((folder / "model.json").read_bytes())
    change(card)
    fakes.write_card(folder, card)
    with pytest.raises(CardError, match=words):
        read_card(folder)


def test_every_sentence_is_in_both_languages() -> None:
    for code, text in DATA_TEXTS.items():
        assert text.zh, code
        names = {part.split("}")[0] for part in text.en.split("{")[1:]}
        assert names == {part.split("}")[0] for part in text.zh.split("{")[1:]}, code


@pytest.mark.parametrize(
    ("hours", "en", "zh"),
    [(30, "30 h", "30 小时"), (47.9, "48 h", "48 小时"), (48, "2 days", "2 天"), (24 * 729, "729 days", "729 天"),
     (24 * 731, "2 years", "2 年"), (195105, "22 years", "22 年")],
)  # fmt: skip
def test_an_age_is_told_in_the_unit_that_people_use(hours: float, en: str, zh: str) -> None:
    assert (span(hours).en, span(hours).say("zh")) == (en, zh)


def test_labels_that_nobody_measured_are_named_and_the_others_are_not_doubted(tmp_path: Path) -> None:
    card = read_card(data_models.make("table", tmp_path / "m"))
    first, *others = card.labels
    measured = replace(first, operating_point=OperatingPoint(0.9, 0.8, 50, Text("measured"), Text("cases"), None))
    (some,) = check_evidence(replace(card, labels=(measured, *(replace(one, operating_point=None) for one in others))))
    assert some.code == "unmeasured.some"
    assert first.title.en not in some.text
    assert all(one.title.en in some.text for one in others)
    (none,) = check_evidence(replace(card, labels=tuple(replace(one, operating_point=None) for one in card.labels)))
    assert none.code == "unmeasured"

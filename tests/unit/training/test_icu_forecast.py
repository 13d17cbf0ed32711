"""The whole recipe on made-up stays, and its parts: moments, bands, what is offered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the training extra")
import torch

from medviewer.domain.errors import InputError, ModelError, TrainingError
from medviewer.explain.methods import explain
from medviewer.inference.card import input_spec
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.inputs import series
from medviewer.training import report_data, train
from medviewer.training.configs import ForecastConfig
from medviewer.training.evaluate import evaluate
from medviewer.training.forecast_data import AHEAD_H, TARGETS, Moments, documents_of, moments_of
from medviewer.training.forecast_evaluation import _figures
from medviewer.training.forecast_export import Offered, ServedForecast, check_forecast, write_forecast
from medviewer.training.forecast_learning import (
    Forecaster,
    ForecastLesson,
    folds_of,
    moved_by,
    new_net,
    pinball,
    scale_of,
)
from medviewer.training.forecast_scores import MEASURES, measure_forecasts, offered_of
from medviewer.training.lesson import Epoch
from medviewer.training.physionet import Stay
from medviewer.training.recipes.icu_forecast import read_both
from medviewer.training.report_page import figure
from medviewer.training.request import Request
from medviewer.training.stays import FIELDS, VARIABLES
from tests.stay_maker import case_of, make_walks, write_stays

pytestmark = pytest.mark.torch

SETTINGS = {"epochs": "6", "n_folds": "2", "batch": "32", "hidden": "8", "average": "0.8", "rate": "0.01"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    write_stays(root, "a", make_walks(120, seed=1))
    write_stays(root, "b", make_walks(120, seed=2, first_id=200_000))
    return root


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    lines: list[str] = []
    out = tmp_path_factory.mktemp("models") / "icu-forecast"
    return train("icu-forecast", data, out, SETTINGS, lines.append), lines


def card(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return document


def test_it_learns_and_beats_both_baselines(made: tuple[Path, list[str]]) -> None:
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in made[1] if line.startswith("epoch")]
    assert losses[5] < losses[0]
    (evidence,) = card(made[0])["evidence"]
    assert evidence["split"] == "b"
    for one in evidence["forecasts"]:
        for hour in one["hours"]:
            assert hour["mae"]["value"] < min(hour["mae_last"]["value"], hour["mae_mean"]["value"])
            assert 0.85 < hour["coverage"]["value"] < 0.95


def test_what_nobody_measured_is_not_in_the_model(made: tuple[Path, list[str]]) -> None:
    document = card(made[0])
    names = [one["name"] for one in document["outcomes"]]
    assert "SaO2" not in names
    assert "nothing was measured" in document["training"]["not_offered"]["SaO2"]
    assert "SaO2 is not forecast" in (made[0] / "README.md").read_text(encoding="utf-8")
    assert document["outputs"][0]["shape"] == [None, sum(len(one["times"]) for one in document["outcomes"]), 3]


def test_the_graph_answers_as_it_was_learned_and_a_patient_is_asked_about(made: tuple[Path, list[str]]) -> None:
    stay = make_walks(2, seed=9)[0]
    names = [one["name"] for one in card(made[0])["outcomes"]]
    assert {"HR", "RespRate"} <= set(names)
    with Engine(Catalogue([made[0].parent]), providers=("cpu",)) as engine:
        (found,) = engine.verify("icu-forecast-own")
        answer = engine.ask(case_of(stay), "icu-forecast-own")
        silent = replace(stay, observations=tuple(o for o in stay.observations if o[1] != "RespRate" or o[0] < 40))
        partly = engine.ask(case_of(silent), "icu-forecast-own")
        late = replace(case_of(stay), at=case_of(stay).observations[-1].time.replace(hour=23))
        nothing = engine.ask(late, "icu-forecast-own")
        why = explain(engine, case_of(stay), "icu-forecast-own", "occlusion", finding="RespRate", n_random=5)
    assert found.passed
    assert found.largest_error < 1e-4
    assert [one.label for one in answer.outcomes] == names
    assert [one.label for one in partly.outcomes] == [name for name in names if name != "RespRate"]
    assert [guard.level for guard in partly.guards if guard.code == "not_recent.RespRate"] == ["warn"]
    assert nothing.status == "abstained"
    assert why.finding == "RespRate"


def test_it_is_evaluated_on_other_stays(made: tuple[Path, list[str]], data: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    write_stays(new, "c", make_walks(80, seed=3, first_id=300_000))
    (new / "Outcomes-c.txt").unlink()  # what becomes of the patients is not needed
    report = evaluate(made[0], new, tmp_path / "out")
    assert report["data"]["n_patients"] == 80
    assert report["data"]["was_learned_from"] is False
    assert report["metrics"]["HR less_than_last"]["ci95"][0] > 0
    groups = {group["name"]: group for group in report["subgroups"]}
    for measure in ("HR mae", "HR coverage"):
        women, men = (groups[sex]["metrics"][measure]["value"] for sex in ("women", "men"))
        assert groups["women"]["gaps"][measure]["value"] == pytest.approx(women - men, abs=2e-5)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "of the last value" in page
    assert "does not measure how unlike a case is to those that it learned from; its guards check units" in page
    assert evaluate(made[0], data, tmp_path / "again", split="a")["data"]["was_learned_from"] is True
    assert evaluate(made[0], data, tmp_path / "b", split="b")["data"]["was_learned_from"] is False


def test_both_sets_are_needed(tmp_path: Path) -> None:
    write_stays(tmp_path, "a", make_walks(4))
    with pytest.raises(InputError, match="lacks set-b"):
        train("icu-forecast", tmp_path, tmp_path / "out", SETTINGS, lambda _: None)


def test_outcomes_are_not_needed(tmp_path: Path) -> None:
    """Neither the report nor the recipe asks what became of the patients."""
    for letter, first_id in (("a", 100_000), ("b", 200_000)):
        write_stays(tmp_path, letter, make_walks(8, first_id=first_id, seed=first_id))
    given = report_data("icu-forecast", tmp_path, tmp_path / "report", {})
    assert given["per_class"] == {"survived": 8, "died": 8}
    for letter in "ab":
        (tmp_path / f"Outcomes-{letter}.txt").unlink()
    report = report_data("icu-forecast", tmp_path, tmp_path / "report", {})
    assert report["per_class"] == {"outcome not given": 16}
    assert not any("no case" in problem["text"] or problem["stops_training"] for problem in report["problems"])
    assert len(read_both(Request("icu-forecast", tmp_path, tmp_path / "out"))["b"].stays) == 8


def test_a_model_that_forecasts_nothing_better_is_none(tmp_path: Path) -> None:
    write_stays(tmp_path, "a", make_walks(8, seed=1))
    write_stays(tmp_path, "b", make_walks(8, seed=2, first_id=200_000))
    with pytest.raises(TrainingError, match="No variable"):
        train("icu-forecast", tmp_path, tmp_path / "out", SETTINGS | {"epochs": "1"}, lambda _: None)
    assert not (tmp_path / "out").exists()


# Moments


def stay_of(*rows: tuple[float, str, float]) -> Stay:
    return Stay(1, {"Age": 60.0, "Gender": 1.0}, tuple(sorted(rows)))


def test_truth_last_and_mean_of_a_moment_by_hand() -> None:
    documents = documents_of(make_walks(10))
    rows = [(5.0, "HR", 50.0), (9.0, "HR", 80.0), (11.5, "HR", 100.0)]
    after = [(11.75, "Temp", 37.0), (12.25, "HR", 90.0), (12.75, "HR", 94.0), (13.0, "HR", 70.0), (17.75, "HR", 60.0)]
    found = moments_of([stay_of(*rows, *after)], documents)
    hr = TARGETS.index("HR")
    # The first moment is the temperature at 11:45, the last observation up to 12 hours.
    assert found.last[0, hr] == 100.0
    assert found.mean[0, hr] == 90.0  # 5.0 is more than six hours ago
    np.testing.assert_array_equal(found.truth[0, hr], [92.0, 70.0, np.nan, np.nan, np.nan, 60.0])
    assert np.isnan(found.truth[:, TARGETS.index("MAP")]).all()
    assert np.isnan(found.last[:, TARGETS.index("MAP")]).all()


def test_a_variable_without_a_recent_value_takes_no_part() -> None:
    documents = documents_of(make_walks(10))
    rows = [(1.0, "HR", 80.0), (1.0, "MAP", 70.0), (11.0, "MAP", 75.0), (12.5, "HR", 90.0), (12.5, "MAP", 72.0)]
    found = moments_of([stay_of(*rows)], documents)
    assert np.isnan(found.truth[0, TARGETS.index("HR")]).all()
    assert found.truth[0, TARGETS.index("MAP"), 1] == 72.0


def test_nothing_of_the_hours_to_come_is_in_the_input() -> None:
    documents = documents_of(make_walks(10))
    one = make_walks(1, seed=4)[0]
    now = max(time for time, _, _ in one.observations if time <= 12)
    other = replace(one, observations=tuple((t, n, v if t <= now else v + 50) for t, n, v in one.observations))
    first, second = (moments_of([stay], documents) for stay in (one, other))
    np.testing.assert_array_equal(first.joined[0], second.joined[0])
    assert not np.allclose(first.truth[0, 0], second.truth[0, 0])


def test_a_record_that_ends_at_the_moment_is_the_same_array() -> None:
    documents = documents_of(make_walks(10))
    stay = make_walks(1, seed=5)[0]
    until = replace(stay, observations=tuple(one for one in stay.observations if one[0] <= 42))
    spec = input_spec(documents[0])
    case = replace(case_of(until), at=None)
    raw = series.pull(case, spec)
    assert isinstance(raw, series.SeriesRaw)
    found = moments_of([stay], documents)
    np.testing.assert_allclose(series.encode(raw, spec).tensors["joined"], found.joined[-1], atol=1e-5)


def test_all_moments_of_a_stay_lie_in_one_fold() -> None:
    stay = np.repeat(np.arange(40), 6)
    fold = folds_of(stay, 4, seed=0)
    assert all(len(set(fold[stay == one].tolist())) == 1 for one in range(40))
    assert sorted(np.bincount(fold).tolist()) == [60] * 4
    assert (folds_of(stay, 4, seed=1) != fold).any()


# Bands


def test_the_pinball_loss_is_least_at_the_quantiles() -> None:
    chance = np.random.default_rng(0)
    truth = torch.from_numpy(chance.normal(0, 1, (4000, 1, 1)).astype(np.float32))
    truth[::7] = float("nan")
    best = torch.tensor([-1.645, 0.0, 1.645]).expand(4000, 1, 1, 3)
    least = pinball(best, truth)
    for end in range(3):
        for step in (-0.4, 0.4):
            other = best.clone()
            other[..., end] += step
            assert pinball(other, truth) > least


def test_a_band_that_is_too_narrow_or_too_wide_is_moved_until_it_holds_nine_of_ten() -> None:
    chance = np.random.default_rng(1)
    truth = chance.normal(0, 1, (20_000, 1, 2))
    truth[:, 0, 1] += 1.0  # and one that lies askew
    said = np.broadcast_to([-0.5, 0.0, 3.0], (20_000, 1, 2, 3))
    moved = moved_by(said[:10_000], truth[:10_000])
    low, high = said[10_000:, ..., 0] - moved[..., 0], said[10_000:, ..., 2] + moved[..., 1]
    new = truth[10_000:]
    assert np.allclose((new < low).mean((0, 1)), 0.05, atol=0.01)
    assert np.allclose((new > high).mean((0, 1)), 0.05, atol=0.01)
    assert moved[0, 0, 0] > 0 > moved[0, 0, 1]


def test_ends_never_cross_the_middle_and_stay_within_what_is_plausible(tmp_path: Path) -> None:
    document = documents_of(make_walks(10))[0]
    saturation = next(one for one in document["variables"] if one["name"] == "SaO2")
    saturation |= {"mean": 97.0, "std": 2.0}  # nobody's is measured in these stays
    torch.manual_seed(0)
    net = new_net(2 * len(FIELDS), ForecastConfig(hidden=8)).eval()
    moved = np.full((len(TARGETS), AHEAD_H, 2), -50.0)  # far inwards
    offered = [Offered("MAP", (2, 6)), Offered("SaO2", (1,))]
    inwards = ServedForecast(Forecaster([net], moved), document, offered)
    outwards = ServedForecast(Forecaster([net], -moved), document, offered)
    given = [torch.randn(5, 24, 3 * len(VARIABLES)), torch.zeros(5, len(FIELDS)), torch.zeros(5, len(FIELDS))]
    with torch.inference_mode():
        narrow, wide = inwards(*given), outwards(*given)
    assert narrow.shape == (5, 3, 3)
    assert (narrow.diff(dim=2) >= 0).all()
    assert (wide[:, :2, 0] == 10).all()  # of a pressure
    assert (wide[:, 2, 2] == 100).all()  # of a saturation
    assert write_forecast(inwards, tmp_path / "model.onnx") < 1e-3
    with pytest.raises(ModelError, match="differs from what was learned"):
        check_forecast(outwards, tmp_path / "model.onnx")


def test_what_is_forecast_is_never_hidden_from_the_net() -> None:
    stays = make_walks(4)
    documents = documents_of(stays)
    moments = moments_of(stays, documents)
    scale = scale_of(documents[0])
    lesson = ForecastLesson(moments, moments, scale, ForecastConfig(hidden_variables=1.0))
    batch = lesson.batch(torch.arange(4), Epoch(1, 0, 0), torch.Generator().manual_seed(0))
    names = [one.name for one in VARIABLES]
    kept = [names.index(name) for name in TARGETS]
    given = torch.from_numpy(moments.joined[:4])
    assert torch.equal(batch["joined"][:, :, kept], given[:, :, kept])
    others = [i for i in range(len(names)) if i not in kept]
    assert batch["joined"][:, :, [len(names) + i for i in others]].sum() == 0


# What is offered


def moments(n: int, truth: float = 100.0, last: float = 90.0, mean: float = 95.0) -> Moments:
    def full(value: float, *shape: int) -> np.ndarray:
        return np.full((n, *shape), value, np.float32)

    v = len(TARGETS)
    return Moments(
        full(0, 24, 3), full(0, 8), np.arange(n), full(truth, v, AHEAD_H), full(last, v), full(mean, v)
    )  # fmt: skip


def said(n: int, middle: float = 99.0, held: float = 0.9) -> np.ndarray:
    found = np.tile(np.array([90.0, middle, 110.0], np.float32), (n, AHEAD_H, 1))
    found[round(n * held) :, :, 2] = 99.5  # the truth lies above
    return found


def test_measures_by_hand() -> None:
    found = measure_forecasts(moments(100), said(100), "HR")
    hour = found["hours"][3]
    assert hour["hour"] == 4
    assert hour["n"] == 100
    values = {name: hour[name]["value"] for name in ("mae", "mae_last", "mae_mean", "less_than_last", "coverage")}
    assert values == {"mae": 1, "mae_last": 10, "mae_mean": 5, "less_than_last": 9, "coverage": 0.9}
    low, high = hour["coverage"]["ci95"]
    assert low < 0.9 < high
    assert found["all"]["n"] == 600
    assert np.isclose(hour["width"]["value"], 0.9 * 20 + 0.1 * 9.5)


def test_stays_are_the_unit_of_chance() -> None:
    many = moments(200)
    few = replace(many, stay=np.arange(200) // 40)
    quantiles = said(200)
    width = [np.ptp(measure_forecasts(one, quantiles, "HR")["hours"][0]["coverage"]["ci95"]) for one in (many, few)]
    assert width[1] > 2 * width[0]


def test_moments_of_one_stay_have_no_interval_and_are_not_offered() -> None:
    found = measure_forecasts(replace(moments(200), stay=np.zeros(200, np.int64)), said(200), "HR")
    assert {found["hours"][0][name]["ci95"] for name in MEASURES} == {None}
    assert offered_of([found])[0] == []
    figure(dict(_figures(found))["HR coverage"])  # is drawn without


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"held": 0.8}, "meant to hold 90%, held 80.0% 1 h ahead"),
        ({"held": 0.98}, "held 98.0%"),
        ({"middle": 94.0}, "the mean of the last hours"),
        ({"middle": 85.0}, "the last value and the mean"),
    ],
)
def test_a_variable_is_offered_only_if_its_band_holds_and_its_error_is_smaller(
    change: dict[str, float], words: str | None
) -> None:
    offered, refused = offered_of([measure_forecasts(moments(400), said(400, **change), "HR")])
    assert [one.name for one in offered] == ([] if words else ["HR"])
    assert words is None or words in refused["HR"]


def test_one_hour_whose_band_fails_takes_the_variable_away() -> None:
    quantiles = said(400)
    quantiles[:100, 4, 2] = 99.5
    offered, refused = offered_of([measure_forecasts(moments(400), quantiles, "HR")])
    assert offered == []
    assert refused["HR"].endswith("held 65.0% 5 h ahead")


def test_an_hour_at_which_a_baseline_is_as_good_is_left_out_alone() -> None:
    quantiles = said(400)
    quantiles[:, 0, 1] = 94.0
    offered, _ = offered_of([measure_forecasts(moments(400), quantiles, "HR")])
    assert offered == [Offered("HR", (2, 3, 4, 5, 6))]

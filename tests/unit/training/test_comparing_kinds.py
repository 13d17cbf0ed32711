"""Two models of notes, molecules, survival or forecasts on the same cases: known answers, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("rdkit", reason="RDKit is not installed")

from medviewer.cli import main
from medviewer.domain.errors import InputError, UsageError
from medviewer.inference.card import Card, read_card
from medviewer.inference.comparable import comparable_kind, incomparable
from medviewer.resources import models_dir
from medviewer.training import (
    comparing,
    forecast_evaluation,
    molecule_evaluation,
    molecule_scores,
    note_evaluation,
    survival_evaluation,
)
from medviewer.training.cohorts import Cohort
from medviewer.training.comparing import compare
from medviewer.training.dialogues import Dialogue
from medviewer.training.forecast_data import AHEAD_H, TARGETS, Moments
from medviewer.training.molecule_scores import ScoredMolecules, figures_by_weight, summarise_molecules
from medviewer.training.molecules import ASSAYS, Molecules
from medviewer.training.note_evaluation import ScoredNotes, label_name
from medviewer.training.paired import Judged, differences
from tests import dialogue_maker, fakes
from tests.molecule_maker import make_molecules, rows_of, write_table
from tests.stay_maker import make_walks, write_stays
from tests.survival_maker import NAMES, make_patients, write_csv

MODELS = {"notes": "note-section", "molecules": "toxicity", "survival": "survival-heart-attack"}
MODELS |= {"forecast": "icu-forecast"}
UNITS = {"notes": "dialogues", "molecules": "skeletons", "survival": "patients", "forecast": "stays"}
N_DRAWS = 250
# Of each kind a measure of which more is better, or less.
TOLD = {"notes": ("accuracy", 1), "molecules": ("auc", 1), "survival": ("concordance", 1), "forecast": ("HR mae", -1)}


def model(kind: str, folder: Path, name: str) -> Path:
    """A card as that of a bundled model, without files: what it says comes from :func:`answer`."""
    document = json.loads((models_dir() / MODELS[kind] / "model.json").read_text(encoding="utf-8"))
    folder = folder / f"{kind}-{name}"
    folder.mkdir(parents=True)
    return written(folder, document | {"id": name, "version": "1.0.0"})


def written(folder: Path, document: Mapping[str, Any]) -> Path:
    fakes.write_card(folder, document)
    return folder


@pytest.fixture
def known_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models called "good" are nearly always right, others half of the time."""
    monkeypatch.setattr(comparing, "differences", partial(differences, n_resamples=N_DRAWS))
    monkeypatch.setattr(molecule_scores, "N_RESAMPLES", 40)
    for place, name, answer in (
        (note_evaluation, "score_notes", notes_of),
        (molecule_evaluation, "score_molecules", molecules_of),
        (survival_evaluation, "survival_of", survival_of),
        (forecast_evaluation, "said_by", forecasts_of),
    ):
        monkeypatch.setattr(place, name, answer)


def is_right(card: Card, n: int) -> np.ndarray:
    """Which cases are answered rightly."""
    return np.random.default_rng(7).random(n) < (0.97 if card.id.startswith("good") else 0.5)


def notes_of(card: Card, rows: list[Dialogue]) -> ScoredNotes:
    names = [label.name for label in card.labels]
    truth = np.array([names.index(label_name(row.section)) for row in rows])
    called = np.where(is_right(card, len(rows)), truth, (truth + 1) % len(names))
    said = np.full((len(rows), len(names)), 0.1 / len(names))
    said[np.arange(len(rows)), called] += 0.9
    return ScoredNotes(rows, truth, said, said[:, None])


def molecules_of(card: Card, found: Molecules) -> ScoredMolecules:
    truth = np.nan_to_num(found.truth)
    right = is_right(card, truth.size).reshape(truth.shape)
    ones = np.ones(len(truth), np.int64)
    said = np.where(right, 0.1 + 0.8 * truth, 0.9 - 0.8 * truth)
    return ScoredMolecules(found.scaffolds, found.truth, said, np.zeros((len(truth), 0, len(ASSAYS))), ones, ones)


def survival_of(card: Card, cohort: Cohort) -> np.ndarray:
    right = is_right(card, len(cohort.time))
    length = np.where(right, cohort.time, np.random.default_rng(1).permutation(cohort.time))
    return np.exp(-np.array(card.outcomes[0].times) / length[:, None])


def forecasts_of(card: Card, moments: Moments) -> Mapping[str, np.ndarray]:
    found = {}
    for outcome in card.outcomes:
        truth = np.nan_to_num(moments.truth[:, TARGETS.index(outcome.name)].astype(np.float64), nan=70.0)
        off = np.where(is_right(card, truth.size), 1.0, 6.0).reshape(truth.shape)
        said = np.stack([truth + off - 4, truth + off, truth + off + 4], axis=2)
        not_offered = [hour not in outcome.times for hour in range(1, AHEAD_H + 1)]
        said[:, not_offered] = np.nan
        found[outcome.name] = said
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    root = tmp_path_factory.mktemp("data")
    write_stays(root / "stays", "b", make_walks(25))
    return {
        "notes": dialogue_maker.write_table(root / "notes.csv", dialogue_maker.make_rows(60)),
        "molecules": write_table(root / "molecules.csv", rows_of(make_molecules())),
        "survival": write_csv(root / "patients.csv", make_patients(120)),
        "forecast": root / "stays",
    }


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.usefixtures("known_answers")
def test_a_worse_model_is_found_worse_and_the_order_turns_the_sign(
    kind: str, data: Mapping[str, Path], tmp_path: Path
) -> None:
    good, bad = model(kind, tmp_path, "good"), model(kind, tmp_path, "bad")
    report = compare(good, bad, data[kind], tmp_path / "out")
    turned = compare(bad, good, data[kind], tmp_path / "turned")
    name, sign = TOLD[kind]
    told = report["differences"][name]
    assert sign * told["value"] > 0.1
    assert min(sign * end for end in told["ci95"]) > 0
    assert told["p"] < 0.01
    first, second = (one["metrics"][name]["value"] for one in report["models"])
    assert told["value"] == pytest.approx(first - second, abs=2e-5)
    assert [one["id"] for one in report["models"]] == ["good", "bad"]
    for measure, entry in report["differences"].items():
        other = turned["differences"][measure]
        assert (other["value"], other["p"]) == (-entry["value"], entry["p"])
        if entry["ci95"] is None:  # both name the true section among three each time: all draws agree
            assert (kind, measure, other["ci95"]) == ("notes", "top3_accuracy", None)
            continue
        assert other["ci95"] == pytest.approx([-end for end in reversed(entry["ci95"])], abs=2e-5)
    assert report["unit"] == UNITS[kind]
    assert (report["mcnemar"] is not None) == (kind == "notes")
    assert {one["threshold"] for one in report["models"]} == {None}
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert f"bootstrap over {UNITS[kind]}" in page
    assert "good 1.0.0 against bad 1.0.0" in page
    assert page.count("data:image/png") == 1  # no curve of one finding
    assert ("McNemar" in page) == (kind == "notes")


@pytest.mark.parametrize("kind", MODELS)
def test_a_bundled_model_does_not_differ_from_itself(
    kind: str,
    data: Mapping[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparing, "differences", partial(differences, n_resamples=50))
    monkeypatch.setattr(molecule_scores, "N_RESAMPLES", 40)
    one = str(models_dir() / MODELS[kind])
    words = ["evaluate", one, "--against", one, "--data", str(data[kind]), "--out", str(tmp_path), "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert TOLD[kind][0] in report["differences"]
    for entry in report["differences"].values():
        assert entry == {"value": 0.0, "ci95": [0.0, 0.0], "p": 1.0}
    assert report["models"][0] == report["models"][1]
    assert report["models"][0]["was_learned_from"] is False
    assert report == json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("known_answers")
def test_the_command_says_the_differences_of_what_is_neither_right_nor_wrong(
    data: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = model("survival", tmp_path, "good"), model("survival", tmp_path, "bad")
    words = ["evaluate", str(good), "--against", str(bad), "--data", str(data["survival"]), "--out", str(tmp_path)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "concordance: 0." in said
    assert "right alone" not in said


@pytest.mark.usefixtures("known_answers")
def test_dialogues_are_counted_by_who_is_right_and_copies_are_drawn_together(tmp_path: Path) -> None:
    rows = dialogue_maker.make_rows(30)
    table = dialogue_maker.write_table(tmp_path / "notes.csv", [*rows, *rows])
    good, bad = model("notes", tmp_path, "good"), model("notes", tmp_path, "bad")
    report = compare(good, bad, table, tmp_path / "out")
    right = [is_right(read_card(folder), 60) for folder in (good, bad)]
    assert report["mcnemar"]["only_first"] == int((right[0] & ~right[1]).sum())
    assert report["mcnemar"]["neither"] == int((~right[0] & ~right[1]).sum())
    assert (report["data"]["n"], report["data"]["n_patients"]) == (60, 30)
    gaps = (right[0].astype(float) - right[1]).reshape(2, 30).mean(0)  # of each dialogue, which is there twice
    chance = np.random.default_rng(0)
    drawn = [chance.multinomial(30, np.full(30, 1 / 30)) for _ in range(N_DRAWS)]
    names = np.unique([Dialogue("", "", row[3]).group for row in rows], return_inverse=True)[1]
    low, high = np.percentile([draw[names] @ gaps / 30 for draw in drawn], (2.5, 97.5))
    assert report["differences"]["accuracy"]["ci95"] == pytest.approx([low, high], abs=2e-5)


@pytest.mark.usefixtures("known_answers")
def test_the_assays_of_a_draw_are_told_together_and_each(tmp_path: Path) -> None:
    """A mean by hand; an assay without both results is left out, and a draw that lacks one of them tells nothing."""
    rows = [row | {"SR-p53": "0"} for row in rows_of(make_molecules())]
    table = write_table(tmp_path / "molecules.csv", rows)
    report = compare(model("molecules", tmp_path, "good"), model("molecules", tmp_path, "bad"), table, tmp_path / "out")
    found = report["differences"]
    each = [entry["value"] for name, entry in found.items() if name.startswith("auc ")]
    assert len(each) == 11
    assert "auc SR-p53" not in found
    assert found["auc"]["value"] == pytest.approx(np.mean(each), abs=2e-5)
    truth = np.array([[1.0, 1.0], [0.0, 0.0], [1.0, np.nan], [0.0, np.nan]])
    ones = np.ones(4, np.int64)
    given = ScoredMolecules(["a", "b", "c", "d"], truth, np.full((4, 2), 0.4), np.zeros((4, 0, 2)), ones, ones)
    figures = figures_by_weight(given, {"one": 0.5, "two": 0.5})
    whole = figures(np.ones(4))
    expected = summarise_molecules(given, {"one": 0.5, "two": 0.5})["metrics"]
    assert whole == pytest.approx({name: expected[name]["value"] for name in whole})
    drawn = figures(np.array([0.0, 0.0, 2.0, 2.0]))
    assert drawn["auc one"] == 0.5
    assert np.isnan(drawn["auc two"])
    assert np.isnan(drawn["auc"])


@pytest.mark.usefixtures("known_answers")
def test_molecules_that_are_too_large_for_one_are_left_out_for_both(data: Mapping[str, Path], tmp_path: Path) -> None:
    large, small = model("molecules", tmp_path, "good"), model("molecules", tmp_path, "small")
    document = json.loads((small / "model.json").read_text(encoding="utf-8"))
    [graph] = [step for step in document["inputs"][0]["preprocessing"] if step["op"] == "graph"]
    graph["atoms"] = 10
    for tensor in document["inputs"][0]["tensors"]:
        tensor["shape"] = [
            10 if size == read_card(large).inputs[0].tensors[1].shape[1] else size for size in tensor["shape"]
        ]
    fakes.write_card(small, document)
    for number, pair in enumerate(((large, small), (small, large))):
        report = compare(*pair, data["molecules"], tmp_path / f"out{number}")
        assert any("takes up to 10" in entry["reason"] for entry in report["data"]["unusable"])


@pytest.mark.usefixtures("known_answers")
def test_molecules_without_results_are_refused(tmp_path: Path) -> None:
    rows = [row | dict.fromkeys(ASSAYS, "") for row in rows_of(make_molecules())]
    table = write_table(tmp_path / "molecules.csv", rows)
    good = model("molecules", tmp_path, "good")
    with pytest.raises(InputError, match="nothing to measure"):
        compare(good, good, table, tmp_path / "out")


def without_field(folder: Path, name: str) -> Path:
    """Take a field from a model of a table."""
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    entry = document["inputs"][0]
    entry["fields"] = [field for field in entry["fields"] if field["name"] != name]
    entry["tensors"][0]["shape"][1] -= 1
    return written(folder, document)


@pytest.mark.usefixtures("known_answers")
def test_survival_models_of_other_fields_are_measured_on_the_patients_of_both(tmp_path: Path) -> None:
    table = patients_without(tmp_path / "patients.csv", make_patients(90), {3: "bmi"})
    whole, less = model("survival", tmp_path, "good"), without_field(model("survival", tmp_path, "less"), "bmi")
    for number, pair in enumerate(((whole, less), (less, whole))):
        report = compare(*pair, table, tmp_path / f"out{number}")
        assert report["data"]["n"] == 89
        assert report["data"]["unusable"] == [{"file": "row 5", "reason": "bmi is missing"}]
    patients = make_patients(40)
    twice = write_csv(tmp_path / "twice.csv", [*patients, *({**one, "bmi": one["bmi"] + n % 2} for n, one in
                                                            enumerate(patients))])  # fmt: skip
    for pair in ((whole, less), (less, whole)):  # those that differ in a field of one are two patients for both
        assert compare(*pair, twice, tmp_path / "out")["data"]["n_patients"] == 60
    with pytest.raises(UsageError, match="no parts"):
        compare(whole, less, table, tmp_path / "out", split="test")


@pytest.mark.usefixtures("known_answers")
def test_patients_of_both_models_of_whom_nobody_has_the_event_are_refused(tmp_path: Path) -> None:
    rows = [row | {"event": float(number in (3, 5))} for number, row in enumerate(make_patients(40))]
    table = patients_without(tmp_path / "patients.csv", rows, {3: "bmi", 5: "heart_rate"})
    one = without_field(model("survival", tmp_path, "one"), "bmi")
    other = without_field(model("survival", tmp_path, "other"), "heart_rate")
    with pytest.raises(InputError, match="Nobody of whom both models have all values"):
        compare(one, other, table, tmp_path / "out")


def patients_without(path: Path, rows: list[dict[str, float]], lacking: Mapping[int, str]) -> Path:
    """A table of patients, some of whom lack a value."""
    lines = list(csv.reader(write_csv(path, rows).read_text(encoding="utf-8").splitlines()))
    for number, name in lacking.items():
        lines[number + 1][NAMES.index(name)] = ""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return path


def with_outcomes(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    change(document["outcomes"])
    document["outputs"][0]["shape"][1] = sum(len(one["times"]) for one in document["outcomes"])
    return written(folder, document)


@pytest.mark.usefixtures("known_answers")
def test_forecasts_are_compared_where_both_forecast(data: Mapping[str, Path], tmp_path: Path) -> None:
    good, bad = model("forecast", tmp_path, "good"), model("forecast", tmp_path, "bad")
    with_outcomes(bad, lambda outcomes: (outcomes.pop(1), outcomes[0].update(times=[1, 2])))
    report = compare(good, bad, data["forecast"], tmp_path / "out")
    assert list(report["differences"]) == ["HR mae", "HR coverage", "RespRate mae", "RespRate coverage"]
    own = compare(good, good, data["forecast"], tmp_path / "own")
    assert own["models"][0]["metrics"]["RespRate mae"] == report["models"][0]["metrics"]["RespRate mae"]
    assert own["models"][0]["metrics"]["HR mae"] != report["models"][0]["metrics"]["HR mae"]  # of two hours of six


@pytest.mark.usefixtures("known_answers")
def test_forecasts_that_are_judged_on_other_values_are_refused(data: Mapping[str, Path], tmp_path: Path) -> None:
    good, other = model("forecast", tmp_path, "good"), model("forecast", tmp_path, "other")
    document = json.loads((other / "model.json").read_text(encoding="utf-8"))
    [pulse] = [one for one in document["inputs"][0]["variables"] if one["name"] == "HR"]
    pulse["range"] = [80, 90]
    fakes.write_card(other, document)
    with pytest.raises(UsageError, match=r"good 1\.0\.0 and other 1\.0\.0 take other values for plausible"):
        compare(good, other, data["forecast"], tmp_path / "out")


@pytest.mark.usefixtures("known_answers")
def test_stays_are_drawn_and_not_moments(data: Mapping[str, Path], tmp_path: Path) -> None:
    good = model("forecast", tmp_path, "good")
    report = compare(good, good, data["forecast"], tmp_path / "out")
    assert report["data"]["n"] > report["data"]["n_patients"] == 25
    assert set(report["data"]["per_class"]) == {f"values of {name}" for name in TARGETS}


@pytest.mark.parametrize("kind", MODELS)
def test_models_that_report_something_else_are_not_compared(kind: str, tmp_path: Path) -> None:
    one, other = model(kind, tmp_path, "good"), model(kind, tmp_path, "other")
    document = json.loads((other / "model.json").read_text(encoding="utf-8"))
    if kind in ("notes", "molecules"):
        document["labels"][0]["name"] = "another"
    for outcome in document.get("outcomes", []):
        outcome["code"]["value"] = "another"
    fakes.write_card(other, document)
    with pytest.raises(UsageError, match=r"good 1\.0\.0 and other 1\.0\.0 do not answer the same question"):
        compare(one, other, tmp_path, tmp_path / "out")
    third = read_card(model("survival" if kind == "notes" else "notes", tmp_path, "third"))
    for pair in ((read_card(one), third), (third, read_card(one))):
        assert "do not answer the same question" in incomparable(*pair)


def test_survival_at_another_horizon_is_another_question(tmp_path: Path) -> None:
    one, other = model("survival", tmp_path, "good"), model("survival", tmp_path, "other")
    with_outcomes(other, lambda outcomes: outcomes[0].update(horizon=730.0))
    assert incomparable(read_card(one), read_card(other))
    assert not incomparable(read_card(one), read_card(one))


@pytest.mark.parametrize(
    ("model_id", "kind"),
    [("chest-xray-pneumonia", "images"), ("breast-ultrasound", "images"), ("icu-mortality", "stays"), ("news2", "")]
    + [(model_id, kind) for kind, model_id in MODELS.items()],
)
def test_every_bundled_model_is_of_a_kind_that_is_compared_or_says_so(model_id: str, kind: str) -> None:
    card = read_card(models_dir() / model_id)
    assert comparable_kind(card) == kind
    assert incomparable(card, card) == (
        ""
        if kind
        else "news2 cannot be compared yet: that needs models of one finding in an image or a stay, of notes, molecules, "
        "survival or forecasts; evaluate each by itself."
    )


def test_cases_of_one_group_are_drawn_together() -> None:
    """Ten copies of each case are no more evidence than one."""
    card, gaps = read_card(models_dir() / "toxicity"), np.random.default_rng(3).normal(0, 1, 20)

    def judged(n_copies: int, values: np.ndarray) -> Judged:
        groups = [str(number) for number in range(20)] * n_copies
        return Judged(card, {}, groups, "x", lambda w: {"m": float(np.tile(values, n_copies) @ w / w.sum())}, {})

    alone, copied = (differences(judged(n, gaps), judged(n, 0 * gaps), n_resamples=50)["m"] for n in (1, 10))
    assert copied == alone
    assert alone["ci95"][0] < alone["value"] < alone["ci95"][1]


def test_another_task_is_another_question() -> None:
    card = read_card(models_dir() / "note-section")
    assert "same question" in incomparable(card, replace(card, task="multilabel"))


def test_measures_that_one_lacks_are_not_told() -> None:
    card = read_card(models_dir() / "toxicity")
    first = Judged(card, {}, ["a", "b"], "x", lambda _: {"a": 1.0, "b": float("nan"), "d": 1.0}, {})
    second = Judged(card, {}, ["a", "b"], "x", lambda _: {"b": 1.0, "a": 0.5, "c": 1.0}, {})
    found = differences(first, second, n_resamples=10)
    assert found == {
        "a": {"value": 0.5, "ci95": None, "p": None},
        "b": {"value": None, "ci95": None, "p": None},
    }

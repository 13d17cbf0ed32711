"""Two models on the same cases: tests against other libraries, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from medviewer.cli import main
from medviewer.domain.errors import InputError, UsageError
from medviewer.inference.card import read_card
from medviewer.training.comparing import COMPARED, compare, judged_finding
from medviewer.training.data import LabelledImage
from medviewer.training.metrics import patient_draws, roc_auc, with_intervals
from medviewer.training.paired import Judged, differences, mcnemar
from medviewer.training.report_page import learned_words
from medviewer.training.scoring import Scored
from medviewer.training.sums import FILE
from tests import data_models, fakes


def judged(card_folder: Path, probability: np.ndarray, truth: np.ndarray, patients: list[str]) -> Judged:
    return judged_finding(read_card(card_folder), truth, probability, patients, {"was_learned_from": False})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.make_model(tmp_path_factory.mktemp("compared") / "one", id="one")


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (7, 2), (40, 41), (0, 30), (1500, 1400)])
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    both, neither = 5, 3
    first = np.repeat([True, True, False, False], [both, only_first, only_second, neither])
    second = np.repeat([True, False, True, False], [both, only_first, only_second, neither])
    found = mcnemar(first, second)
    assert [found[name] for name in ("both", "only_first", "only_second", "neither")] == [
        both, only_first, only_second, neither,
    ]  # fmt: skip
    n = only_first + only_second
    expected = binomtest(only_first, n, 0.5).pvalue if n else 1.0
    assert found["p"] == pytest.approx(expected, abs=6e-6)


def test_a_model_does_not_differ_from_itself(model: Path) -> None:
    chance = np.random.default_rng(0)
    truth = chance.random(80) < 0.5
    one = judged(model, np.clip(truth * 0.3 + chance.random(80) * 0.6, 0, 1), truth, [str(n) for n in range(80)])
    for entry in differences(one, one, n_resamples=50).values():
        assert entry == {"value": 0.0, "ci95": [0.0, 0.0], "p": 1.0}


def test_where_all_draws_agree_chance_is_not_known(model: Path) -> None:
    """Neither is ever wrong on forty cases: that is no proof that they never differ."""
    truth, patients = np.arange(40) % 2 == 0, [str(n) for n in range(40)]
    right, also = (judged(model, np.where(truth, sure, 1 - sure), truth, patients) for sure in (0.9, 0.8))
    found = differences(right, also, n_resamples=50)
    for name in ("auc", "accuracy", "balanced_accuracy", "sensitivity", "specificity"):
        assert found[name] == {"value": 0.0, "ci95": None, "p": None}
    always, never = (judged(model, np.full(40, sure), truth, patients) for sure in (1.0, 0.0))
    found = differences(always, never, n_resamples=50)
    assert found["sensitivity"] == {"value": 1.0, "ci95": None, "p": None}
    assert found["accuracy"]["ci95"] is not None
    # Another threshold calls cases otherwise, though on these it does not show.
    labels = (replace(right.card.labels[0], threshold=0.7),)
    called = replace(right, card=replace(right.card, labels=labels))
    assert differences(right, called, n_resamples=50)["accuracy"]["ci95"] is None


def test_differences_are_those_of_draws_of_patients_with_both_answers(model: Path) -> None:
    """By hand: the same draws, an AUC each, and percentiles of the differences."""
    chance = np.random.default_rng(1)
    truth = chance.random(120) < 0.4
    patients = [str(number // 2) for number in range(120)]
    first = np.clip(0.4 * truth + 0.6 * chance.random(120), 0, 1)
    second = np.clip(0.15 * truth + 0.8 * chance.random(120), 0, 1)
    found = differences(judged(model, first, truth, patients), judged(model, second, truth, patients))["auc"]
    drawn = [roc_auc(truth, first, w) - roc_auc(truth, second, w) for w in patient_draws(truth, patients)]
    assert found["value"] == pytest.approx(roc_auc(truth, first) - roc_auc(truth, second), abs=1e-5)
    np.testing.assert_allclose(found["ci95"], np.percentile(drawn, (2.5, 97.5)), atol=1e-5)
    assert found["p"] == pytest.approx(2 / (len(drawn) + 1), abs=1e-5)  # no draw is on the other side
    assert found["ci95"][0] > 0


def test_answers_that_are_alike_are_told_apart_where_intervals_overlap(model: Path) -> None:
    """Both models err on the same cases: paired draws see the small difference, two intervals do not."""
    chance = np.random.default_rng(2)
    truth = np.arange(300) % 2 == 0
    first = np.clip(0.3 * truth + 0.7 * chance.random(300), 0, 1)
    second = first.copy()
    second[::20] = np.where(truth[::20], 0.05, 0.95)
    patients = [str(number) for number in range(300)]
    gap = differences(judged(model, first, truth, patients), judged(model, second, truth, patients))["auc"]
    own = [with_intervals({"auc": roc_auc}, truth, p, patients)["auc"]["ci95"] for p in (first, second)]
    assert own[0][0] < own[1][1]
    assert gap["ci95"][0] > 0


def test_a_draw_that_lacks_a_class_tells_nothing(model: Path) -> None:
    one = judged(model, np.array([0.9, 0.1, 0.8]), np.array([True, False, False]), ["a", "b", "c"])
    assert all(np.isnan(value) for value in one.measured(np.array([0.0, 1.0, 2.0])).values())
    assert one.measured(np.array([1.0, 1.0, 1.0]))["auc"] == 1.0


def test_of_cases_of_one_class_the_measures_of_it_are_compared(model: Path) -> None:
    truth = np.zeros(40, bool)
    patients = [str(number) for number in range(40)]
    first = judged(model, np.full(40, 0.1), truth, patients)
    found = differences(first, judged(model, np.r_[np.full(20, 0.1), np.full(20, 0.9)], truth, patients))
    assert found["specificity"]["value"] == found["accuracy"]["value"] == 0.5
    assert found["specificity"]["ci95"][0] > 0
    for name in ("auc", "sensitivity", "balanced_accuracy"):
        assert found[name] == {"value": None, "ci95": None, "p": None}, name


def test_each_draw_has_both_classes_and_whole_patients() -> None:
    truth = np.array([True, True, False, False, False])
    patients = ["a", "a", "b", "c", "c"]
    draws = list(patient_draws(truth, patients, n_resamples=200))
    assert 0 < len(draws) < 200
    for weights in draws:
        assert weights[truth].sum() > 0
        assert weights[~truth].sum() > 0
        assert weights[0] == weights[1]
        assert weights[3] == weights[4]
        assert weights[0] + weights[2] + weights[3] == 3


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up films: the sick are brighter at the left, some of both kinds are in doubt."""
    root = tmp_path_factory.mktemp("films")
    chance = np.random.default_rng(3)
    for number in range(40):
        is_sick = number % 2 == 1
        image = chance.uniform(60, 140, (40, 36))
        image[:, :18] += 60 * is_sick * chance.uniform(0.2, 1)
        name = f"PNEUMONIA/person{number}_virus_{number}.png" if is_sick else f"NORMAL/IM-{number:04d}-0001.png"
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.uint8(np.clip(image, 0, 255))).save(root / name)
    return root


def other_model(folder: Path) -> Path:
    """Another threshold, and probabilities on another scale."""
    known = read_card(fakes.make_model(folder)).document
    calibration = known["calibration"] | {"parameters": {"temperature": 2.0}}
    point = known["labels"][0]["operating_point"] | {"threshold": 0.8}
    labels = [known["labels"][0] | {"threshold": 0.8, "operating_point": point}]
    return _with(folder, calibration=calibration, labels=labels)


def _with(folder: Path, **changes: object) -> Path:
    document = json.loads((folder / "model.json").read_text()) | {"id": "two", "version": "2.0.0"} | changes
    fakes.write_card(folder, document)
    return folder


@pytest.mark.slow
def test_both_answer_the_same_films_and_the_report_says_it(
    model: Path, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    other = other_model(tmp_path / "two")
    words = ["evaluate", str(model), "--against", str(other), "--data", str(films), "--out", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert printed == report
    assert report["schema"] == "medviewer-comparison/1"
    assert [(one["id"], one["version"]) for one in report["models"]] == [("one", "1.2.3"), ("two", "2.0.0")]
    assert (report["data"]["n"], report["data"]["per_class"]) == (40, {"NORMAL": 20, "PNEUMONIA": 20})
    assert set(report["differences"]) == set(COMPARED)
    assert report["differences"]["auc"]["value"] == 0.0  # another scale and threshold, the same order
    assert sum(report["mcnemar"][name] for name in ("both", "only_first", "only_second", "neither")) == 40
    first, second = (one["metrics"]["accuracy"]["value"] for one in report["models"])
    assert report["differences"]["accuracy"]["value"] == pytest.approx(first - second, abs=2e-5)
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "one 1.2.3 against two 2.0.0" in page
    assert "<script" not in page
    assert page.count("data:image/png") == 2
    assert main(words) == 0
    assert "accuracy: " in capsys.readouterr().out


def test_films_of_one_patient_give_figures_without_intervals(
    model: Path, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    data = shutil.copytree(films, tmp_path / "films")
    rows = [f"{path.relative_to(data).as_posix()},one" for path in sorted(data.rglob("*.png"))]
    (tmp_path / "films.csv").write_text("\n".join(["file,patient_group", *rows]))
    other = other_model(tmp_path / "two")
    assert main(["evaluate", str(model), "--against", str(other), "--data", str(data), "--out", str(tmp_path)]) == 0
    assert "auc: 0.0000, p not defined" in capsys.readouterr().out
    report = json.loads((tmp_path / "comparison.json").read_text())
    assert report["data"]["n_patients"] == 1
    told = report["differences"]["auc"]
    assert told == {"value": 0.0, "ci95": None, "p": None}
    assert {one["metrics"]["auc"]["ci95"] for one in report["models"]} == {None}
    page = (tmp_path / "comparison.html").read_text()
    assert "<td>0.000</td><td>–</td>" in page
    assert main(["evaluate", str(model), "--data", str(data), "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert {entry["ci95"] for entry in report["metrics"].values()} == {None}
    auc = report["metrics"]["auc"]["value"]
    assert f"<td>auc</td><td>{auc:.3f}</td>" in (tmp_path / "report.html").read_text()


def test_models_of_two_findings_are_not_compared(model: Path, films: Path, tmp_path: Path) -> None:
    other = fakes.make_model(tmp_path / "other", labels=("effusion",), id="other")
    with pytest.raises(UsageError, match="do not answer the same question"):
        compare(model, other, films, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_that_cannot_be_compared_yet_say_so(films: Path, tmp_path: Path) -> None:
    table = data_models.make("table", tmp_path / "table")
    with pytest.raises(UsageError, match="cannot be compared yet"):
        compare(table, table, films, tmp_path / "out")


def test_the_class_folders_are_those_that_the_card_names(model: Path, films: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    named = shutil.copytree(model, tmp_path / model.name)
    card = json.loads((named / "model.json").read_text(encoding="utf-8"))
    card["training"]["classes"] = ["CLEAR", "SICK"]
    fakes.write_card(named, card)
    for old, new in (("NORMAL", "CLEAR"), ("PNEUMONIA", "SICK")):
        shutil.copytree(films / old, tmp_path / "renamed" / new)
    assert compare(named, named, tmp_path / "renamed", tmp_path / "out")["data"]["per_class"].keys() == {
        "CLEAR",
        "SICK",
    }


def test_that_one_learned_from_the_data_is_said(model: Path, films: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = compare(model, model, films, tmp_path / "first")
    digest = report["data"]["digest"]
    training = dict(read_card(model).document["training"]) | {"data_digest": digest}
    learned = _with(fakes.make_model(tmp_path / "learned"), training=training)
    report = compare(learned, model, films, tmp_path / "out")
    assert [one["was_learned_from"] for one in report["models"]] == [True, False]
    assert "two 2.0.0 learned from these data" in (tmp_path / "out" / "comparison.html").read_text()


def test_each_model_is_asked_by_its_own_split_whether_it_learned_from_the_images(
    model: Path, films: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    digest = compare(model, model, films, tmp_path / "first")["data"]["digest"]
    cards = []
    for seed in (7, 8):
        rule = {"seed": seed, "block": 0.1, "tune": 0.1, "report": 0.4}
        training = dict(read_card(model).document["training"]) | {"data_digest": digest, "split": rule}
        cards.append(_with(fakes.make_model(tmp_path / f"seed {seed}"), training=training, id=f"by-{seed}"))
    report = compare(cards[0], cards[1], films, tmp_path / "out", split="report")
    assert [one["was_learned_from"] for one in report["models"]] == [False, True]
    alike = compare(cards[0], cards[0], films, tmp_path / "same", split="report")
    assert [one["was_learned_from"] for one in alike["models"]] == [False, False]


def test_data_that_differ_from_their_sums_are_not_compared_on(model: Path, films: Path, tmp_path: Path) -> None:
    shutil.copytree(films, tmp_path / "films")
    name, told = "NORMAL/IM-0000-0001.png", list[str]()
    digest = hashlib.sha256((films / name).read_bytes()).hexdigest()
    (tmp_path / "films" / FILE).write_text(f"{digest}  {name}\n", encoding="utf-8")
    compare(model, other_model(tmp_path), tmp_path / "films", tmp_path / "good", progress=told.append)
    assert told[0] == "files that are as SHA256SUMS says: 1"
    (tmp_path / "films" / FILE).write_text(f"{'0' * 64}  {name}\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"^{name} is not the file"):
        compare(model, model, tmp_path / "films", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_that_one_learned_from_are_named(
    model: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    known = {"PNEUMONIA/b.png": 0.0, "NORMAL/a.png": 0.05}

    def nearest(scored: Scored) -> list[str] | None:
        return list(known) if len(asked) % 2 else None

    asked: list[int] = []
    monkeypatch.setattr(Scored, "learned_from", property(lambda scored: asked.append(1) or nearest(scored)))
    assert (
        main(["evaluate", str(model), "--data", str(films), "--against", str(model), "--out", str(tmp_path / "o")]) == 0
    )
    said = capsys.readouterr().out
    words = "one 1.2.3 learned from 2 of these images: leave out what the report names, for its figures are too good."
    assert said.count(words) == 1
    report = json.loads((tmp_path / "o/comparison.json").read_text(encoding="utf-8"))
    assert [one["learned_from"] for one in report["models"]] == [list(known), None]
    assert "learned_from" not in report["data"]
    page = (tmp_path / "o/comparison.html").read_text(encoding="utf-8")
    assert all(page.count(name) == 1 for name in known)


@pytest.mark.parametrize(
    ("judged", "words"),
    [
        ({}, ""),
        ({"was_learned_from": False, "learned_from": None}, ""),
        ({"was_learned_from": False, "learned_from": []}, ""),
        ({"was_learned_from": False, "learned_from": ["a"]}, "learned from one of these images: leave out"),
        ({"was_learned_from": False, "learned_from": ["a", "b"]}, "learned from 2 of these images: leave out"),
        ({"was_learned_from": True, "learned_from": ["a", "b"]}, "learned from these data: its figures are no"),
        ({"was_learned_from": True}, "learned from these data: its figures are no evidence"),
    ],
)
def test_what_is_said_of_what_was_learned_from(judged: dict[str, object], words: str) -> None:
    assert learned_words(judged).startswith(words)
    assert bool(learned_words(judged)) is bool(words)


def test_what_keeps_no_training_cases_names_none() -> None:
    image = LabelledImage(Path("a.png"), "A/a.png", 0, "g", "")
    one, both = (np.zeros(n) for n in (1, 2))
    assert Scored((image,), one > 0, one, one, {}).learned_from is None
    assert Scored((image,), one > 0, one, one, {"nearest": np.array([np.inf])}).learned_from is None
    images = (image, replace(image, name="A/b.png"))
    assert Scored(images, both > 0, both, both, {"nearest": np.array([0.06, 0.05])}).learned_from == ["A/b.png"]

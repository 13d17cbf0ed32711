"""Images changed more and more: the attack's known answers and bounds, and curves that begin at the image as it is."""

from __future__ import annotations

import html
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medviewer.domain.errors import EngineError, ModelError, Stopped
from medviewer.inference.card import read_card
from medviewer.training import assess
from medviewer.training import evaluate as evaluation
from medviewer.training.data import find_images
from medviewer.training.evaluate import evaluate
from medviewer.training.metrics import counted, decision_curve
from medviewer.training.robustness import EPSILONS, Attacker, strength_curves
from medviewer.training.scoring import Classifier, Scored, score, silent
from medviewer.training.shifts import STRENGTHS, blur, contrast, jpeg, noise
from tests import fakes


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up films; what makes one sick is what the fake network answers to."""
    root = tmp_path_factory.mktemp("films")
    chance = np.random.default_rng(5)
    for number in range(24):
        is_sick = number % 2 == 1
        image = chance.uniform(0, 255, (fakes.SIZE + 8, fakes.SIZE))
        name = f"PNEUMONIA/person{number}_virus_{number}.png" if is_sick else f"NORMAL/IM-{number:04d}-0001.png"
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.uint8(image)).save(root / name)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.make_model(tmp_path_factory.mktemp("attacked") / "one", id="one")


@pytest.fixture(scope="module")
def scored(model: Path, films: Path) -> Scored:
    card = read_card(model)
    return score(Classifier(card), find_images(films, ("NORMAL", "PNEUMONIA")).images, silent)[0]


def linear(slope: float = 1.0) -> tuple[Attacker, np.ndarray]:
    """An attacker of a network without preprocessing whose gradient is the same everywhere."""
    signs = np.where(np.random.default_rng(1).random((6, 5)) < 0.5, -1.0, 1.0).astype(np.float32)
    card = SimpleNamespace(preprocessing=(), require_calibration=lambda: SimpleNamespace(slope=(slope,)))
    classifier: Any = SimpleNamespace(card=card, index=0)
    return Attacker(classifier, lambda x: np.broadcast_to(signs, x.shape)), signs


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_of_a_linear_network_the_attack_finds_the_worst_image(epsilon: int) -> None:
    """Every grey value at its bound, down where the finding is there and up where it is not."""
    attacker, signs = linear()
    start = np.random.default_rng(2).integers(0, 256, (2, 6, 5)).astype(np.uint8)
    found = attacker.changed(start, np.array([True, False]), epsilon, np.random.default_rng(0))
    assert found.dtype == np.uint8
    expected = np.stack([start[0] - epsilon * signs, start[1] + epsilon * signs])
    np.testing.assert_array_equal(found, np.clip(expected, 0, 255))


def test_a_falling_calibration_turns_the_attack_round() -> None:
    start = np.full((1, 6, 5), 100, np.uint8)
    rising, falling = (
        linear(slope)[0].changed(start, np.array([True]), 4, np.random.default_rng(0)).astype(int) for slope in (1, -1)
    )
    np.testing.assert_array_equal(rising - 100, 100 - falling)


def test_no_grey_value_is_further_away_than_said(model: Path, scored: Scored) -> None:
    attacker = Attacker.of(Classifier(read_card(model)))
    assert attacker is not None
    start = np.stack([attacker.displayed(image.read()) for image in scored.images])
    for epsilon in EPSILONS:
        found = attacker.changed(start, scored.truth, epsilon, np.random.default_rng(0))
        assert np.abs(found.astype(int) - start).max() <= epsilon


def test_the_attack_is_stronger_than_chance_and_never_weaker_at_a_higher_strength(model: Path, scored: Scored) -> None:
    classifier = Classifier(read_card(model))
    attacker = Attacker.of(classifier)
    assert attacker is not None
    start = np.stack([attacker.displayed(image.read()) for image in scored.images])
    found = attacker.attack(start, scored.truth)
    way = np.where(scored.truth, -1, 1)
    by_strength = np.stack([way * found[epsilon] for epsilon in (0, *EPSILONS)])
    assert (np.diff(by_strength, axis=0) >= 0).all()
    chance = np.random.default_rng(3)
    for epsilon in EPSILONS:
        grain = epsilon * np.where(chance.random(start.shape) < 0.5, -1, 1)
        grained = np.clip(start + grain, 0, 255).astype(np.uint8)
        by_chance = attacker._probability(grained)
        assert (way * (found[epsilon] - by_chance)).mean() > 0.3 * (way * (found[epsilon] - found[0])).mean()
        assert (way * found[epsilon]).mean() > (way * by_chance).mean()


def test_what_a_weaker_attack_reached_counts_for_a_stronger_one() -> None:
    attacker, _ = linear()
    said = iter([[0.5, 0.5], [0.2, 0.6], [0.4, 0.9], [0.3, 0.7], [0.1, 0.8]])
    attacker.classifier.run = lambda _batch: (np.array(next(said)), {})
    found = attacker.attack(np.full((2, 6, 5), 100, np.uint8), np.array([True, False]))
    assert [found[epsilon].tolist() for epsilon in (0, *EPSILONS)] == [
        [0.5, 0.5], [0.2, 0.6], [0.2, 0.9], [0.2, 0.9], [0.1, 0.9],
    ]  # fmt: skip


def test_a_model_without_gradients_is_not_attacked(films: Path, tmp_path: Path, scored: Scored) -> None:
    bare = fakes.make_model(tmp_path / "bare")
    document = json.loads((bare / "model.json").read_text())
    document["files"] = [file for file in document["files"] if file["role"] != "explain"]
    (bare / "model.explain.onnx").unlink()
    fakes.write_card(bare, document)
    classifier = Classifier(read_card(bare))
    assert Attacker.of(classifier) is None
    assert set(strength_curves(classifier, scored, silent)) == set(STRENGTHS)


def test_images_are_attacked_at_the_size_that_the_network_sees(model: Path, tmp_path: Path) -> None:
    card = read_card(model)
    attacker = Attacker.of(Classifier(card))
    assert attacker is not None
    assert attacker.displayed(np.zeros((70, 50), np.uint8)).shape == (fakes.SIZE, fakes.SIZE)
    others = [step for step in card.preprocessing if step["op"] != "resize"]
    unsized = fakes.make_model(tmp_path / "unsized", preprocessing=others)
    assert Attacker.of(Classifier(read_card(unsized))) is None


def test_curves_begin_at_the_image_as_it_is(model: Path, scored: Scored) -> None:
    curves = strength_curves(Classifier(read_card(model)), scored, silent)
    assert set(curves) == {"noise", "blur", "contrast", "jpeg", "attack"}
    first = [curve["points"][0] for curve in curves.values()]
    assert all(point["strength"] == 0 for point in first)
    assert len({point["auc"] for point in first}) == 1
    for curve in curves.values():
        strengths = [point["strength"] for point in curve["points"]]
        assert strengths == sorted(set(strengths))
        assert curve["n"] == 24
    assert [point["strength"] for point in curves["attack"]["points"]] == [0, *EPSILONS]
    aucs = [point["auc"] for point in curves["attack"]["points"]]
    assert aucs == sorted(aucs, reverse=True)
    assert aucs[-1] < aucs[0]


def test_changes_grow_with_their_strength() -> None:
    image = np.uint8(np.random.default_rng(0).uniform(60, 200, (224, 224)))
    for kind, (_, changes) in STRENGTHS.items():
        gaps = [
            np.abs(change(image).astype(int) - image).mean() if kind != "jpeg" else 0 for change in changes.values()
        ]
        assert gaps[0] == 0
        assert kind == "jpeg" or (np.diff(gaps) > 0).all(), kind
    np.testing.assert_array_equal(STRENGTHS["noise"][1][0.04](image), noise(image))
    np.testing.assert_array_equal(STRENGTHS["blur"][1][1.5](image), blur(image))
    np.testing.assert_array_equal(STRENGTHS["jpeg"][1][85](image), jpeg(image))
    np.testing.assert_array_equal(contrast(image, 1.0), image)
    assert set(np.unique(contrast(image, 0.0))) == {128}


def test_the_report_has_curves_and_their_plots(model: Path, films: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = evaluate(model, films, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    page = (tmp_path / "out" / "report.html").read_text()
    for kind in (*report["curves"], "decision curve"):
        assert f"alt='{kind}'" in page
    assert len(report["decision_curve"]) == 99
    methods = report["explanations"]["methods"]
    assert set(methods) == {"grad-cam", "integrated-gradients", "occlusion"}
    assert report["explanations"]["n"] == 8
    for name, found in methods.items():
        assert f"<td>{name}</td>" in page
        assert html.escape(found["verdict"]["en"]) in page
        assert found["n"] == 8
        assert found["repeated"]["largest_difference"] == 0
    without = evaluate(model, films, tmp_path / "quick", with_curves=False)
    assert without["curves"] == {}
    assert without["explanations"] is None
    assert "<h2>Explanations</h2>" not in (tmp_path / "quick" / "report.html").read_text()
    assert "alt='attack'" not in (tmp_path / "quick" / "report.html").read_text()


def test_a_report_is_whole_without_the_time_for_explanations(
    model: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(evaluation, "_EXPLAINING_MINUTES", -1)
    report = evaluate(model, films, tmp_path / "out")
    found = report["explanations"]
    assert (found["methods"], found["not_measured"]) == ({}, ["grad-cam", "integrated-gradients", "occlusion"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "no time to measure grad-cam, integrated-gradients, occlusion;" in page
    assert "alt='attack'" in page


@pytest.mark.parametrize("problem", [EngineError("The <model> ran out of memory."), ModelError("The graph is odd.")])
def test_a_report_is_whole_where_explanations_fail(
    problem: Exception, model: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")

    def fail(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr(assess, "measure_explanations", fail)
    told: list[str] = []
    report = evaluate(model, films, tmp_path / "out", progress=told.append)
    assert report["explanations"] == {"problem": str(problem)}
    assert f"explanations were not measured: {problem}" in told
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"They were not measured: {html.escape(str(problem))}" in page


def test_who_stops_during_the_explanations_stops_the_evaluation(
    model: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise Stopped("Cancelled.")

    monkeypatch.setattr(assess, "measure_explanations", stop)
    with pytest.raises(Stopped):
        evaluate(model, films, tmp_path / "out")
    assert not (tmp_path / "out" / "report.json").exists()


def test_long_work_tells_each_tenth_once() -> None:
    told: list[str] = []
    tell = evaluation.Tenths(told.append)
    for done in range(101):
        tell(done, 100, f"step {done}")
    assert told == [f"{n} % step {n}" for n in range(10, 101, 10)]
    evaluation.Tenths(told.append)(0, 0, "nothing is known")
    assert len(told) == 10


def test_the_net_benefit_is_that_of_the_paper() -> None:
    truth = np.repeat([True, False], [30, 70])
    right = np.where(truth, 0.995, 0.001)
    curve = decision_curve(truth, right)
    assert {point["model"] for point in curve} == {0.3}  # everyone sick is found, and nobody else acted on
    assert curve[29] == {
        "threshold": 0.3,
        "model": 0.3,
        "everybody": 0.0,
    }  # at the frequency, acting on all gains nothing
    flat = decision_curve(truth, np.full(100, 0.5))
    assert [point["model"] for point in flat[:50]] == [point["everybody"] for point in flat[:50]]
    assert {point["model"] for point in flat[50:]} == {0.0}
    # By hand, at 0.2 (odds 1 to 4): 20 of 30 found, 8 called for nothing.
    some = np.concatenate([np.full(20, 0.9), np.full(10, 0.1), np.full(8, 0.4), np.full(62, 0.1)])
    assert counted(truth, some, 0.5)["decision_curve"][19]["model"] == pytest.approx((20 - 8 / 4) / 100)

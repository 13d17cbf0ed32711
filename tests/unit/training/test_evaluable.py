"""Models with several findings are judged by one of them; every kind that cannot be measured has its own sentence."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from medviewer.domain.errors import UsageError
from medviewer.inference.card import read_card
from medviewer.inference.preprocessing import prepare
from medviewer.resources import models_dir
from medviewer.training.evaluate import evaluate
from medviewer.training.scoring import Classifier
from tests import data_models, fakes

FINDINGS = ("Mass", "Pleural_Thickening", "Hernia")
N = 16


def write_films(root: Path, *classes: str) -> Path:
    chance = np.random.default_rng(5)
    for number in range(N):
        path = root / classes[number % len(classes)] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8(chance.uniform(0, 255, (fakes.SIZE, fakes.SIZE)))).save(path)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three findings, each with a threshold and a calibration of its own."""
    folder = fakes.make_model(tmp_path_factory.mktemp("several") / "three", labels=FINDINGS, id="three")
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    for index, label in enumerate(document["labels"]):
        label["threshold"] = 0.3 + 0.2 * index
        label.pop("operating_point", None)
    parameters = {"slope": [1.0, 2.0, 3.0], "intercept": [0.0, -0.5, 0.5]}
    document["calibration"] |= {"method": "platt", "parameters": parameters}
    fakes.write_card(folder, document)
    return folder


def said_of(model: Path, data: Path, folder: str, index: int) -> list[float]:
    """The calibrated probabilities of one finding, worked out without the code that is tested."""
    paths = sorted((data / folder).iterdir())
    pixels = np.stack([np.asarray(Image.open(path), np.float32) for path in paths])
    classifier = Classifier(read_card(model))
    x = np.stack([prepare(one, classifier.card.preprocessing).tensor for one in pixels])
    logit = fakes.forward(x, len(FINDINGS))["logits"][:, index].astype(float)
    calibration = classifier.card.require_calibration()
    return list(1 / (1 + np.exp(-(calibration.slope[index] * logit + calibration.intercept[index]))))


@pytest.mark.parametrize(("folder", "index"), [("MASS", 0), ("pleural thickening", 1), ("Hernia", 2)])
def test_the_finding_that_the_data_name_is_judged_by_its_own_threshold_and_calibration(
    model: Path, tmp_path: Path, folder: str, index: int
) -> None:
    data = write_films(tmp_path / "films", "NORMAL", folder)
    report = evaluate(model, data, tmp_path / "out")
    assert report["label"] == FINDINGS[index]
    assert report["threshold"] == pytest.approx(0.3 + 0.2 * index)
    sick, well = (np.array(said_of(model, data, one, index)) for one in (folder, "NORMAL"))
    assert report["confusion"]["true_positive"] == (sick >= report["threshold"]).sum()
    assert report["confusion"]["false_positive"] == (well >= report["threshold"]).sum()
    brier = np.mean([*((1 - sick) ** 2), *(well**2)])
    assert report["metrics"]["brier"]["value"] == pytest.approx(brier, abs=1e-5)
    points = report["curves"]["attack"]["points"]
    assert points[0]["auc"] == pytest.approx(report["metrics"]["auc"]["value"], abs=1e-4)
    assert points[-1]["auc"] < points[0]["auc"]
    assert "several findings" in report["explanations"]["problem"]
    assert f"the finding “{FINDINGS[index]}”" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_of_a_label_table_the_label_that_is_a_finding_counts(model: Path, tmp_path: Path) -> None:
    data = write_films(tmp_path / "films", "a", "b")
    with (data / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "patient"])
        for path in sorted(data.glob("*/*.png")):
            rows.writerow(
                [f"{path.parent.name}/{path.name}", {"a": "NORMAL", "b": "hernia"}[path.parent.name], path.stem]
            )
    report = evaluate(model, data, tmp_path / "out", with_curves=False)
    assert (report["label"], report["data"]["n"]) == ("Hernia", N)


def test_a_finding_can_be_asked_for_and_must_be_one_of_the_models(model: Path, tmp_path: Path) -> None:
    data = write_films(tmp_path / "films", "NORMAL", "MASS")
    assert evaluate(model, data, tmp_path / "out", label="mass", with_curves=False)["label"] == "Mass"
    with pytest.raises(UsageError, match="no finding 'Nodule'; there are: Mass, Pleural_Thickening, Hernia"):
        evaluate(model, data, tmp_path / "out", label="Nodule")
    one = fakes.make_model(tmp_path / "one")
    with pytest.raises(UsageError, match="no finding 'Nodule'"):
        evaluate(one, data, tmp_path / "out", label="Nodule")


@pytest.mark.parametrize(("classes", "how_many"), [(("NORMAL", "SICK"), "none"), (("MASS", "HERNIA"), "several")])
def test_data_that_do_not_say_which_finding_are_asked_about(
    model: Path, tmp_path: Path, classes: tuple[str, str], how_many: str
) -> None:
    data = write_films(tmp_path / "films", *classes)
    with pytest.raises(UsageError, match=f"name {how_many} of them; choose one with --label: Mass, Pleural"):
        evaluate(model, data, tmp_path / "out")


def test_of_classes_of_which_one_holds_the_probability_is_the_shared_one(tmp_path: Path) -> None:
    """A softmax, so that the other classes count; and no attack, whose gradient is that of one logit."""
    folder = fakes.make_model(tmp_path / "multi", labels=FINDINGS, task="multiclass")
    classifier = Classifier(read_card(folder), 1)
    x = fakes.images(3)
    logits = fakes.forward(x, 3)["logits"].astype(float)
    calibration = classifier.card.require_calibration()
    raised = np.exp(logits * np.array(calibration.slope) + np.array(calibration.intercept))
    np.testing.assert_allclose(classifier.run(x)[0], (raised / raised.sum(1, keepdims=True))[:, 1], rtol=1e-5)
    report = evaluate(folder, write_films(tmp_path / "films", "NORMAL", "HERNIA"), tmp_path / "out")
    assert "attack" not in report["curves"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("volume", "takes a stack of slices; evaluate handles models of one image, not of stacks yet"),
        ("views", r"takes several inputs together \(frontal, lateral\)"),
        ("film", "takes several inputs together"),
        ("table", "takes a table of values and gives no survival curve"),
        ("score", "takes a table of values and gives no survival curve"),
    ],
)
def test_every_other_kind_is_refused_in_a_sentence(tmp_path: Path, kind: str, said: str) -> None:
    folder = data_models.make(kind, tmp_path / kind)
    with pytest.raises(UsageError, match=said):
        evaluate(folder, write_films(tmp_path / "films", "NORMAL", "MASS"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_rule_is_refused_and_the_check_that_there_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(models_dir() / "news2", tmp_path / "news2")
    with pytest.raises(UsageError, match=r"rule of the viewer's own code.*medviewer models verify"):
        evaluate(folder, tmp_path, tmp_path / "out")


@pytest.mark.parametrize("kind", ["segmentation", "tfidf", "table"])
def test_a_pytorch_module_is_refused_whatever_it_is_of(tmp_path: Path, kind: str) -> None:
    folder = data_models.make(kind, tmp_path / "module")
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    entry = next(one for one in document["files"] if one["role"] == "model")
    shutil.move(folder / entry["path"], folder / "model.pt2")
    rest = [one for one in document["files"] if one["role"] == "vocabulary"]
    files = [fakes.file_entry("model", folder / "model.pt2"), *rest]
    fakes.write_card(folder, {**document, "runtime": "torch", "files": files})
    with pytest.raises(UsageError, match="runs as a PyTorch module"):
        evaluate(folder, tmp_path, tmp_path / "out")


def test_a_finding_of_other_data_than_images_is_refused(tmp_path: Path) -> None:
    folder = data_models.make("segmentation", tmp_path / "outlines")
    with pytest.raises(UsageError, match="leave --label out"):
        evaluate(folder, tmp_path, tmp_path / "out", label="nodule")

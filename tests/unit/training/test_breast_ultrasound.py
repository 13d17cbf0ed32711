"""The whole recipe on made-up pictures: judged by folds, shipped as one network, and measured part by part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.errors import InputError, TrainingError, UsageError
from medviewer.inference.card import read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.training import Manner, report_data, train
from medviewer.training.batches import Part
from medviewer.training.evaluate import evaluate
from medviewer.training.image_folds import FoldAnswers
from medviewer.training.novelty import load_statistics
from medviewer.training.recipes import breast_ultrasound
from medviewer.training.shifts import SHIFTS
from medviewer.training.strange import CHANGES, made_up
from tests.breast_maker import arrays, breast_case, write_npz

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.usefixtures("no_explanations"),
    pytest.mark.torch,
    pytest.mark.slow,
    # The exporter and its parts warn about themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:torch"),
]

SETTINGS = {
    "width": "4", "n_members": "2", "n_folds": "2", "n_repeats": "1", "epochs": "2", "passes": "8", "batch": "16",
    "n_statistics": "3", "rate": "0.01", "average": "0.8", "dropout": "0.0",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "breast.npz", 80)


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    lines: list[str] = []
    out = tmp_path_factory.mktemp("models") / "breast-ultrasound"
    return train("breast-ultrasound", data, out, SETTINGS, lines.append), lines


def test_it_learns_and_its_card_tells_how_that_was_judged(made: tuple[Path, list[str]]) -> None:
    out, lines = made
    card = read_card(out)
    (evidence,) = card.evidence
    metrics = evidence["metrics"]
    assert metrics["auc"]["value"] > 0.85
    assert metrics["auc"]["ci95"][0] <= metrics["auc"]["value"] <= metrics["auc"]["ci95"][1]
    assert (evidence["n"], evidence["per_class"]) == (120, {"BENIGN_OR_NORMAL": 90, "MALIGNANT": 30})
    assert evidence["unit"] == "groups of near copies"  # nobody knows how many patients they are of
    assert "of one woman may still be on both sides" in evidence["data"]["en"]
    page = (out / "README.md").read_text(encoding="utf-8")
    assert f"120 cases of {evidence['n_patients']} groups of near copies" in page
    assert set(evidence["robustness"]) >= {"as it is", "noise", "black frame"}
    assert set(evidence["novelty"]) == {"warned", "abstained", "shifts", "others"}
    assert card.training["validation"]["value"] == pytest.approx(metrics["auc"]["value"], abs=1e-4)
    assert card.labels[0].operating_point is not None
    assert card.labels[0].operating_point.n == 120
    assert card.population.age_years is None  # these are not the published images
    assert (card.inputs[0].modality, card.inputs[0].body_part) == (("US",), ("BREAST",))
    assert any("judged by folds" in line for line in lines)
    assert lines[-2] == f"the model breast-ultrasound-own is complete: {out}"  # what to name after --model
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_its_limits_are_of_held_out_images_and_its_card_tells_what_passes_them(made: tuple[Path, list[str]]) -> None:
    out, _ = made
    card = read_card(out)
    assert card.ood is not None
    assert card.ood.texture is not None
    novelty = card.evidence[0]["novelty"]
    others = {one["kind"]: one for one in novelty["others"]}
    assert set(novelty["shifts"]) == set(SHIFTS) - {"as it is"}
    assert set(others) == {f"these images {name}" for name in CHANGES} | set(made_up())
    assert all(0 <= one["abstained"] <= one["warned"] <= 1 for one in (*others.values(), *novelty["shifts"].values()))
    assert (others["ramps in four directions"]["n"], others["these images inverted"]["n"]) == (12, 120)
    for kind in ("noise", "checkerboards", "stripes", "these images turned by 90 degrees to the left"):
        assert others[kind]["auc"] > 0.95, others[kind]
    with np.load(out / "ood.npz") as stored:
        assert load_statistics(dict(stored))[2] is not None
    page = (out / "README.md").read_text(encoding="utf-8")
    assert f"| `texture` | {card.ood.texture.warn_above} | {card.ood.texture.abstain_above} |" in page
    passed = [one["kind"] for one in others.values() if one["warned"] < 1]
    said = next(line for line in page.splitlines() if line.startswith("Answered without any warning: "))
    assert all(kind in said for kind in passed)
    assert passed or said.endswith("none of them.")
    assert "elsewhere" not in card.document["ood"]  # measured of the published model only


def test_limits_are_percentiles_of_images_that_the_statistics_did_not_learn_from(
    made: tuple[Path, list[str]], data: Path
) -> None:
    from medviewer.inference.preprocessing import prepare
    from medviewer.inference.texture import texture
    from medviewer.training.copies import grouped_folds, near_copies
    from medviewer.training.novelty import fit_texture

    card = read_card(made[0])
    with np.load(data) as stored:
        named = {
            (part, index): (int(label), image)
            for part in ("train", "val")
            for index, (image, label) in enumerate(
                zip(stored[f"{part}_images"], stored[f"{part}_labels"].ravel(), strict=True)
            )
        }
    # As the recipe finds them: by class, the malignant ones, which are 0 there, last.
    found = sorted(named.items(), key=lambda one: (-one[1][0], f"{one[0][0]}-{one[0][1]:05d}"))
    pixels = [image for _, (_, image) in found]
    labels = np.array([1 - label for _, (label, _) in found])
    folds = grouped_folds(labels, near_copies(pixels), 2, 0)
    far = {}
    for shift, change in SHIFTS.items():
        seen, plain = (
            texture(np.stack([prepare(make(one).astype(np.float32), card.preprocessing).tensor for one in pixels]))
            for make in (change, lambda one: one)
        )
        far[shift] = np.zeros(len(pixels))
        for fold in (0, 1):
            far[shift][folds == fold] = fit_texture(plain[folds != fold]).distance(seen[folds == fold])
    assert card.ood is not None
    assert card.ood.texture is not None
    assert card.ood.texture.warn_above == pytest.approx(np.percentile(far["as it is"], 97), abs=2e-3)
    every = np.concatenate([one for shift, one in far.items() if shift != "black frame"])
    assert card.ood.texture.abstain_above == pytest.approx(np.percentile(every, 99.9), abs=2e-3)


def test_the_loss_falls_in_every_network(made: tuple[Path, list[str]]) -> None:
    """Two in each of two folds, and two from all images."""
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in made[1] if line.startswith("epoch ")]
    runs = np.reshape(losses, (6, int(SETTINGS["epochs"])))
    assert (runs[:, -1] < runs[:, 0]).all(), runs


def test_malignant_is_what_is_reported(made: tuple[Path, list[str]], data: Path, tmp_path: Path) -> None:
    """A fold of new pictures: were the labels turned round anywhere, this would be near 0."""
    np.savez(tmp_path / "test.npz", **arrays(60, seed=7, prefix="test"))
    report = evaluate(made[0], tmp_path / "test.npz", tmp_path / "out", split="test")
    assert report["metrics"]["auc"]["value"] > 0.85
    assert report["data"]["was_learned_from"] is False
    assert report["data"]["per_class"] == {"BENIGN_OR_NORMAL": 45, "MALIGNANT": 15}
    card, novelty = read_card(made[0]), report["novelty"]
    assert card.ood is not None
    assert card.ood.texture is not None
    limits = {"warn_above": card.ood.texture.warn_above, "abstain_above": card.ood.texture.abstain_above}
    assert novelty["limits"]["texture"] == limits
    assert 0 < novelty["median_texture"] < limits["warn_above"]  # new pictures of the kind
    assert "<td>texture</td>" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_one_network_answers_as_the_ensemble_did(made: tuple[Path, list[str]]) -> None:
    import onnxruntime

    out, _ = made
    with Engine(Catalogue([out.parent]), providers=("cpu",)) as engine:
        (found,) = engine.verify("breast-ultrasound-own")
        answer = engine.ask(breast_case(), "breast-ultrasound-own")
    assert found.passed
    assert found.largest_error < 1e-4
    assert answer.provenance.model_id == "breast-ultrasound-own"
    with np.load(out / "reference.npz") as stored:
        reference = dict(stored)
    assert reference["output.features"].shape == (4, 2 * 2 * 16)
    said, feature_map, gradient, _ = onnxruntime.InferenceSession((out / "model.explain.onnx").read_bytes()).run(
        None, {"x": reference["input.x"], "selector": np.ones((4, 1), np.float32)}
    )
    np.testing.assert_allclose(said, reference["output.logits"], atol=1e-4)
    grad_cam = np.einsum("nk,nkhw->nhw", gradient.sum(axis=(2, 3)), feature_map)
    np.testing.assert_allclose(grad_cam, reference["output.cam"][:, 0], atol=1e-4)


def test_parts_that_were_learned_from_are_known_by_their_digest(
    made: tuple[Path, list[str]], data: Path, tmp_path: Path
) -> None:
    with np.load(data) as stored:
        published = dict(stored)
    new = arrays(40, seed=7, prefix="test")
    copied = int(np.flatnonzero(published["train_labels"] == new["test_labels"][3])[0])
    new["test_images"][3] = published["train_images"][copied]
    np.savez(tmp_path / "all.npz", **published, **new)
    assert evaluate(made[0], tmp_path / "all.npz", tmp_path / "a", split="val")["data"]["was_learned_from"] is True
    assert evaluate(made[0], tmp_path / "all.npz", tmp_path / "b")["data"]["was_learned_from"] is True
    report = evaluate(made[0], tmp_path / "all.npz", tmp_path / "c", split="test")
    assert report["data"]["was_learned_from"] is False
    groups = {entry["name"]: entry["n"] for entry in report["subgroups"]}
    assert groups["without a near copy in another part of the file"] <= 39
    with pytest.raises(UsageError, match="no split 'block'; there are test, train, val"):
        evaluate(made[0], tmp_path / "all.npz", tmp_path / "d", split="block")


def test_noise_and_flat_images_get_no_answer(made: tuple[Path, list[str]]) -> None:
    from dataclasses import replace

    from medviewer.domain.frame import Frame

    case = breast_case()
    description = case.images[0].description
    noise = np.random.default_rng(0).integers(0, 256, (112, 112)).astype(np.uint16)
    chess = np.kron(np.indices((28, 28)).sum(0) % 2 * 255, np.ones((4, 4))).astype(np.uint16)
    flat = [np.full((112, 112), grey, np.uint16) for grey in (0, 128)]
    with Engine(Catalogue([made[0].parent]), providers=("cpu",)) as engine:
        for stored in (noise, chess, *flat):
            stored.setflags(write=False)
            answer = engine.ask(replace(case, images=(Frame(stored, description),)), "breast-ultrasound-own")
            assert answer.status == "abstained", answer.guards
        chest = replace(description, body_part_examined="CHEST")
        other = engine.ask(replace(case, images=(Frame(case.images[0].stored, chest),)), "breast-ultrasound-own")
        assert other.status == "abstained"


def test_folds_that_say_the_opposite_end_it_before_all_images_are_learned(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opposite(images: Part, groups: np.ndarray, *_: Any) -> FoldAnswers:
        n, chance = len(groups), np.random.default_rng(0)
        said = chance.normal(0, 1, n) - 2.0 * images.labels
        folds = np.arange(n) // 2 % 2  # of each class in both
        return FoldAnswers(images.labels.astype(bool), groups, folds[None], dict.fromkeys(SHIFTS, said[None]))

    monkeypatch.setattr(breast_ultrasound, "answer_by_folds", opposite)
    monkeypatch.setattr(breast_ultrasound, "learn_ensemble", lambda *_: pytest.fail("it went on learning"))
    with pytest.raises(TrainingError, match=r"Nothing was learned: in the folds, images .*another --out"):
        train("breast-ultrasound", data, tmp_path / "out", SETTINGS, lambda _: None)


def test_the_data_are_described_with_their_folds(data: Path, tmp_path: Path) -> None:
    report = report_data("breast-ultrasound", data, tmp_path, {})
    assert report["n"] == 120
    assert set(report["splits"]) == {f"fold {index}" for index in range(1, 6)}
    assert report["unit"] == "groups of near copies"
    page = (tmp_path / "data.html").read_text(encoding="utf-8")
    assert f"120 cases of {report['n_patients']} groups of near copies." in page
    assert "<th>groups of near copies</th>" in page
    assert "patients" not in page
    assert not any(problem["stops_training"] for problem in report["problems"])
    assert json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))["n"] == 120


def test_the_part_that_judges_is_never_learned_from(tmp_path: Path) -> None:
    write_npz(tmp_path / "breastmnist.npz", 80, **arrays(40, seed=7, prefix="test"))
    for data in (tmp_path / "breastmnist.npz", tmp_path):  # the file, or the folder that it lies in
        assert report_data("breast-ultrasound", data, tmp_path / "out", {})["n"] == 120


@pytest.mark.parametrize("grey", [0, 128])
def test_images_of_one_grey_are_refused_before_anything_is_learned(tmp_path: Path, grey: int) -> None:
    made = arrays(40)
    made["train_images"][:] = grey
    np.savez(tmp_path / "flat.npz", **made)
    steps: list[object] = []
    why = r"'BENIGN_OR_NORMAL' .* has no usable image; .* as not usable: 40; the first is .* is one grey all over and shows"
    with pytest.raises(InputError, match=why):
        train(
            "breast-ultrasound",
            tmp_path / "flat.npz",
            tmp_path / "model",
            {},
            print,
            Manner(lambda *step: steps.append(step)),
        )
    with pytest.raises(InputError, match=why):
        report_data("breast-ultrasound", tmp_path / "flat.npz", tmp_path / "report", {})
    assert steps == []
    assert [path.name for path in tmp_path.iterdir()] == ["flat.npz"]


def test_the_data_report_names_the_images_of_one_grey(tmp_path: Path) -> None:
    made = arrays(80)
    made["train_images"][[4, 9]] = 0
    np.savez(tmp_path / "some.npz", **made)
    report = report_data("breast-ultrasound", tmp_path / "some.npz", tmp_path / "report", {})
    assert report["n"] == 78
    assert [one["name"] for one in report["unusable"]] == ["BENIGN_OR_NORMAL/train-00009", "MALIGNANT/train-00004"]
    assert all("is one grey all over" in one["reason"] for one in report["unusable"])
    assert "2 of 80 rows cannot be used; they are listed below." in [one["text"] for one in report["problems"]]


@pytest.mark.parametrize("malignant", [0, 3])
def test_too_few_of_a_class_leave_no_folder(tmp_path: Path, malignant: int) -> None:
    made = arrays(20)
    made["train_labels"][:] = 1
    made["train_labels"][:malignant] = 0
    np.savez(tmp_path / "few.npz", **made)
    with pytest.raises(InputError, match=r"no usable image|too few for 5 folds"):
        train("breast-ultrasound", tmp_path / "few.npz", tmp_path / "model", {}, print)
    assert [path.name for path in tmp_path.iterdir()] == ["few.npz"]

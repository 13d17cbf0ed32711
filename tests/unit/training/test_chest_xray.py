"""The whole path on a sample made here: train, export, card, evaluate; and its refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medviewer.domain.errors import DigestError, InputError, StorageError, UsageError
from medviewer.explain.methods import METHODS
from medviewer.inference.card import read_card
from medviewer.training import Manner, train
from medviewer.training.data import find_images, read_class_folders
from medviewer.training.evaluate import evaluate, split_images
from medviewer.training.export import PARITY_BATCHES, PARITY_TOLERANCE, open_forward, whole_folder
from medviewer.training.novelty import load_statistics
from medviewer.training.shifts import SHIFTS

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.usefixtures("no_explanations"),
    pytest.mark.torch,
    pytest.mark.slow,
    # The exporter and its parts warn about themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:torch"),
]

SETTINGS = {"sizes": "32,32", "finish": "1", "batch": "16", "strength": "0.2", "head_rate": "0.01", "average": "0.8"}
N_PATIENTS = 60


def film(chance: np.random.Generator, is_sick: bool) -> np.ndarray:
    """Two dark ovals; a bright patch in one of them if sick."""
    row, column = np.mgrid[0:48, 0:40] / 48
    image = 0.7 - 0.4 * ((np.abs(column - 0.42) > 0.08) & (np.abs(column - 0.42) < 0.28) & (np.abs(row - 0.5) < 0.35))
    if is_sick:
        y, x = chance.uniform(0.3, 0.7), chance.choice([0.24, 0.6])
        image = image + 0.5 * np.exp(-((row - y) ** 2 + (column - x) ** 2) / 0.01)
    return np.clip(image + chance.normal(0, 0.03, image.shape), 0, 1)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "films"
    chance = np.random.default_rng(0)
    for number in range(N_PATIENTS):
        for path, is_sick in (
            (root / f"NORMAL/IM-{number:04d}-0001.jpeg", False),
            (root / f"PNEUMONIA/person{number}_{('virus', 'bacteria')[number % 2]}_{number}.jpeg", True),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.uint8(255 * film(chance, is_sick))).save(path, quality=95)
    return root


@pytest.fixture(scope="module")
def trained(films, tmp_path_factory):
    """A model folder, the lines told on the way, and the checkpoints."""
    place = tmp_path_factory.mktemp("trained")
    told: list[str] = []
    settings = SETTINGS | {"checkpoints": str(place / "epochs")}
    bar = Manner(bar=lambda done, total, text: told.append(f"{done}/{total} {text}"))
    out = train("chest-xray", films, place / "model", settings, told.append, bar)
    return out, told, place / "epochs"


def test_the_loss_falls_and_the_card_tells_the_run(trained):
    out, told, _ = trained
    card = read_card(out)
    losses = [entry["loss"] for entry in card.training["history"]]
    assert losses[-1] < losses[0]
    assert [entry["chosen"] for entry in card.training["history"]].count(True) == 1
    assert card.training["config"]["sizes"] == [32, 32]
    assert card.inputs[0].shape == (None, 1, 32, 32)
    assert 0 < card.labels[0].threshold < 1
    assert {entry["split"] for entry in card.evidence} == {"block", "report"}
    assert any(line.startswith("1/") and "epoch 1 of 3" in line and line.endswith("left") for line in told)
    assert told[-2] == f"the model chest-xray-pneumonia is complete: {out}"  # the published names
    # Two runs are compared by what the last line says.
    assert told[-1] == f"sha256 of its weights: {sha256((out / 'model.onnx').read_bytes()).hexdigest()}"


def test_the_folder_is_whole_and_nothing_else_is_left(trained):
    out, _, _ = trained
    assert {path.name for path in out.iterdir()} >= {
        "model.json", "model.onnx", "model.explain.onnx", "reference.npz", "ood.npz", "README.md", "LICENSE",
    }  # fmt: skip
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []
    readme = (out / "README.md").read_text(encoding="utf-8")
    assert "儿童" in readme
    assert "Research use only" in readme


def test_onnx_equals_torch(trained):
    import onnxruntime

    from medviewer.training.export import synthetic_inputs
    from medviewer.training.networks import EfficientNetLite0, Served

    out, _, epochs = trained
    chosen = next(e for e in json.loads((epochs / "history.json").read_text()) if e.get("chosen"))
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(epochs / f"epoch-{chosen['epoch']}.pt", weights_only=True))
    served = Served(network).eval()
    session = onnxruntime.InferenceSession((out / "model.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    for n in PARITY_BATCHES:
        x = synthetic_inputs(n, 32)
        with torch.inference_mode():
            expected = served(torch.from_numpy(x))
        for mine, theirs in zip(session.run(None, {"x": x}), expected, strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(), atol=PARITY_TOLERANCE)


def test_the_live_map_sums_to_the_logit_and_is_the_gradient_map(trained):
    import onnxruntime

    out, _, _ = trained
    with np.load(out / "reference.npz") as stored:
        reference = dict(stored)
    logits, cam = reference["output.logits"], reference["output.cam"]
    bias = logits[:, 0] - cam.mean(axis=(2, 3))[:, 0]
    np.testing.assert_allclose(bias, bias[0], atol=1e-5)
    explain = onnxruntime.InferenceSession((out / "model.explain.onnx").read_bytes())
    said, feature_map, gradient, _ = explain.run(
        None, {"x": reference["input.x"], "selector": np.ones((len(logits), 1), np.float32)}
    )
    np.testing.assert_allclose(said, logits, atol=PARITY_TOLERANCE)
    grad_cam = np.einsum("nk,nkhw->nhw", gradient.sum(axis=(2, 3)), feature_map)
    np.testing.assert_allclose(grad_cam, cam[:, 0], atol=1e-4)


def test_a_refreshed_model_keeps_its_networks_and_gets_its_statistics_as_training_makes_them(trained, films, tmp_path):
    from medviewer.training.recipes.chest_xray_card import VERSION

    out, _, _ = trained
    old = tmp_path / "old"
    shutil.copytree(out, old)
    (old / "ood.npz").unlink()
    card = json.loads((old / "model.json").read_text(encoding="utf-8"))
    made = card.pop("ood")
    card["files"] = [entry for entry in card["files"] if entry["role"] != "ood"]
    card["version"] = "0.0.1"
    (old / "model.json").write_text(json.dumps(card), encoding="utf-8")
    again = train("chest-xray", films, tmp_path / "again", {"refresh": str(old)}, print)
    for name in ("model.onnx", "model.explain.onnx", "reference.npz", "LICENSE", "README.md"):
        assert (again / name).read_bytes() == (out / name).read_bytes(), name
    refreshed = json.loads((again / "model.json").read_text(encoding="utf-8"))
    assert refreshed["ood"] == made
    assert refreshed["version"] == VERSION
    with np.load(out / "ood.npz") as first, np.load(again / "ood.npz") as second:
        assert sorted(first) == sorted(second)
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


def test_limits_come_from_validation_patients_and_the_far_one_from_shifted_films_too(trained, films):
    """The limits, found again from the very films that they are said to come from."""
    from medviewer.training.parts import split_parts
    from medviewer.training.recipes.chest_xray import CLASSES
    from medviewer.training.validation import run_over

    out, _, _ = trained
    card = read_card(out)
    parts = split_parts(*read_class_folders(films, CLASSES), seed=0)
    with np.load(out / "ood.npz") as stored:
        residual = load_statistics(dict(stored))[1]
    served = open_forward(out / "model.onnx", card.ood.residual.output)
    validation = [image for part in ("tune", "block") for image in parts[part].pixels]
    far = {
        name: residual.distance(run_over(served, [shift(image) for image in validation], card.preprocessing)[1])
        for name, shift in SHIFTS.items()
    }
    assert card.ood.residual.warn_above == pytest.approx(np.percentile(far["as it is"], 97.5), abs=1e-3)
    every = np.concatenate(list(far.values()))
    assert card.ood.residual.abstain_above == pytest.approx(np.percentile(every, 99.9), abs=1e-3)


def test_a_refresh_with_other_images_or_other_settings_is_refused(trained, films, tmp_path):
    out, _, _ = trained
    other = tmp_path / "other"
    shutil.copytree(films, other)
    next(other.glob("NORMAL/*")).unlink()
    with pytest.raises(InputError, match="does not hold the images"):
        train("chest-xray", other, tmp_path / "model", {"refresh": str(out)}, print)
    with pytest.raises(UsageError, match="no other setting"):
        train("chest-xray", films, tmp_path / "model", {"refresh": str(out), "batch": "8"}, print)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_both_distances_count_in_the_report(trained, films, tmp_path):
    out, _, _ = trained
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    card = json.loads((copy / "model.json").read_text(encoding="utf-8"))
    card["ood"] |= {"warn_above": 1e8, "abstain_above": 1e9}
    card["ood"]["residual"] |= {"warn_above": 1e-3, "abstain_above": 1e9}
    (copy / "model.json").write_text(json.dumps(card), encoding="utf-8")
    novelty = evaluate(copy, films, tmp_path / "report", split="report")["novelty"]
    assert (novelty["warned"], novelty["abstained"]) == (1.0, 0.0)
    assert novelty["median_residual"] > 1e-3
    assert novelty["limits"]["distance"] == {"warn_above": 1e8, "abstain_above": 1e9}
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "100.0% of these cases lie farther from what the model learned from than the limit of its warning" in page
    assert "0.0% so far that they get no answer" in page
    assert f"<td>residual</td><td>{novelty['median_residual']:.1f}</td><td>0.001</td><td>1e+09</td>" in page
    assert "does not measure how unlike" not in page


def test_an_evaluation_repeats_the_card(trained, films, tmp_path):
    out, _, _ = trained
    report = evaluate(out, films, tmp_path / "a", split="report")
    on_card = next(entry for entry in read_card(out).evidence if entry["split"] == "report")
    assert report["data"]["digest"] == on_card["digest"]
    assert report["metrics"]["auc"]["value"] == pytest.approx(on_card["metrics"]["auc"]["value"], abs=1e-4)
    assert json.loads((tmp_path / "a/report.json").read_text(encoding="utf-8"))["threshold"] == report["threshold"]
    page = (tmp_path / "a/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 10  # four of the figures, the decision curve, five of strengths
    assert "<script" not in page
    assert "http" not in page


def test_an_evaluation_of_the_training_images_says_so(trained, films, tmp_path):
    out, _, _ = trained
    report = evaluate(out, films, tmp_path / "b")
    assert report["data"]["was_learned_from"]
    assert report["data"]["n"] == 2 * N_PATIENTS
    assert len(report["data"]["learned_from"]) == 88  # the rest is held out, but chose the network and its threshold
    said = "The model learned from these data: its figures are no evidence."
    assert said in (tmp_path / "b/report.html").read_text(encoding="utf-8")


def test_training_images_in_another_folder_are_known(trained, films, tmp_path):
    """By what the network sees, whatever the file is called and however it is kept."""
    out, _, _ = trained
    found = find_images(films, ("NORMAL", "PNEUMONIA"))
    train_part = {image.name for image in split_images(read_card(out), found, "train")}
    learned, data = [], tmp_path / "copied"
    for number, image in enumerate(found.images):
        if number % 3 == 0:
            target = data / image.name.split("/")[0] / f"film-{number}.png"
            learned += [f"{target.parent.name}/{target.name}"] * (image.name in train_part)
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(image.path) as film:
                film.save(target)
    report = evaluate(out, data, tmp_path / "d", with_curves=False)
    assert 0 < len(learned) < report["data"]["n"]
    assert sorted(report["data"]["learned_from"]) == sorted(learned)
    assert report["data"]["was_learned_from"] is False  # the archive is another
    assert "median_nearest" not in report["novelty"]
    page = (tmp_path / "d/report.html").read_text(encoding="utf-8")
    assert f"learned from {len(learned)} of these images: leave out what the report names" in page
    assert all(name in page for name in learned)


def test_held_out_images_are_not_taken_for_training_images(trained, films, tmp_path):
    out, _, _ = trained
    report = evaluate(out, films, tmp_path / "e", split="report", with_curves=False)
    assert (report["data"]["learned_from"], report["data"]["was_learned_from"]) == ([], False)


def test_an_evaluation_takes_any_size_and_names_what_it_left_out(trained, films, tmp_path):
    out, _, _ = trained
    data = tmp_path / "other"
    for source in sorted(films.glob("*/*"))[::5]:
        target = data / source.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(source) as image:
            image.convert("RGB").resize((900, 1000)).save(target)
    (data / "NORMAL/IM-0999-0001.jpeg").write_bytes(b"no image")
    large = evaluate(out, data, tmp_path / "c")
    assert [entry["file"] for entry in large["data"]["unusable"]] == ["NORMAL/IM-0999-0001.jpeg"]
    assert large["data"]["n"] == len(list(data.glob("*/*"))) - 1
    assert not large["data"]["was_learned_from"]


def test_a_changed_model_file_is_not_evaluated(trained, films, tmp_path):
    out, _, _ = trained
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    content = bytearray((copy / "model.onnx").read_bytes())
    content[-1] ^= 1
    (copy / "model.onnx").write_bytes(content)
    with pytest.raises(DigestError):
        evaluate(copy, films, tmp_path / "d")


@pytest.mark.parametrize("split", ["test", "reports"])
def test_an_unknown_split_is_refused(trained, films, tmp_path, split):
    with pytest.raises(UsageError, match="no split"):
        evaluate(trained[0], films, tmp_path / "e", split=split)


def test_the_card_allows_only_methods_that_exist(trained):
    assert {method.id for method in METHODS} >= set(read_card(trained[0]).explain.methods)


def test_a_place_that_is_taken_is_refused(films, tmp_path):
    (tmp_path / "letters.txt").write_text("somebody's")
    with pytest.raises(UsageError, match="already there and holds no model"):
        train("chest-xray", films, tmp_path, {}, print, Manner(force=True))
    assert (tmp_path / "letters.txt").read_text() == "somebody's"


def test_a_model_that_is_no_better_does_not_take_the_place(trained, films):
    out, _, epochs = trained
    before = (out / "model.json").read_bytes()
    again = SETTINGS | {"resume": str(epochs)}
    with pytest.raises(UsageError, match=r"holds a model that is no worse: worst AUC .*--force"):
        train("chest-xray", films, out, again, print)
    assert (out / "model.json").read_bytes() == before


def test_an_ended_training_is_exported_by_the_same_command(trained, films, tmp_path, monkeypatch):
    """What was learned stays beside the place until the model is complete, and is not learned again."""
    from medviewer.training.recipes import chest_xray

    def fail(*_):
        raise OSError(28, "No space left on device")

    _, _, epochs = trained
    shutil.copytree(epochs, tmp_path / "model.training")
    monkeypatch.setattr(chest_xray, "write_graphs", fail)
    steps = []
    with pytest.raises(StorageError, match="No space left"):
        train("chest-xray", films, tmp_path / "model", SETTINGS, print, Manner(bar=lambda *words: steps.append(words)))
    assert steps == []
    assert {path.name for path in tmp_path.iterdir()} == {"model.training"}
    assert {"run.pt", "data.html", "data.json"} <= {path.name for path in (tmp_path / "model.training").iterdir()}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"epochs": "3"}, "no setting 'epochs'"),
        ({"batch": "many"}, "cannot be 'many'"),
        ({"pretrained": "1"}, "cannot"),
    ],
)
def test_a_wrong_setting_is_refused(films, tmp_path, overrides, sentence):
    with pytest.raises(UsageError, match=sentence):
        train("chest-xray", films, tmp_path / "model", overrides, print)
    assert not list(tmp_path.iterdir())


def test_an_unknown_recipe_is_refused(films, tmp_path):
    with pytest.raises(UsageError, match="no recipe 'knee'"):
        train("knee", films, tmp_path / "model", {}, print)


def test_too_few_patients_leave_no_folder(films, tmp_path):
    small = tmp_path / "small"
    for source in [*sorted(films.glob("NORMAL/*"))[:3], *sorted(films.glob("PNEUMONIA/*"))[:3]]:
        (small / source.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(source, small / source.parent.name)
    with pytest.raises(InputError, match="Too few patients"):
        train("chest-xray", small, tmp_path / "model", {}, print)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_full_disk_leaves_nothing(tmp_path):
    def fill(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"), whole_folder(tmp_path / "model") as partial:
        fill(partial)
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_one_sentence(trained, films, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        evaluate(trained[0], films, tmp_path / "file" / "report", split="report")


def test_importing_training_loads_nothing_heavy():
    heavy = ("torch", "onnxruntime", "onnx", "matplotlib", "PIL")
    code = (
        f"import sys, medviewer.training, medviewer.training.evaluate; print([n for n in {heavy} if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

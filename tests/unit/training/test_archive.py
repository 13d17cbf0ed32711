"""A hospital's own archive, from the table to the network: learned from, searched, measured."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from medviewer.domain.errors import InputError
from medviewer.training import Manner, report_data, train
from medviewer.training.evaluate import evaluate
from medviewer.training.neighbours import N_NEIGHBOURS
from medviewer.training.recipes import chest_xray
from medviewer.training.request import Request
from tests import fakes
from tests.radiographs import write_radiograph

pytestmark = [pytest.mark.usefixtures("no_explanations"), pytest.mark.torch, pytest.mark.slow]

SPLITS = ("train", "block", "tune", "report")
SETTINGS = {
    "sizes": "32", "finish": "0", "batch": "2", "n_statistics": "1", "n_validation": "1", "pretrained": "false",
    "threads": "1",
}  # fmt: skip


def write_archive(folder: Path, n_learned: int) -> Path:
    """``n_learned`` films to learn from and two for each other split, half of each class; and one that is not there."""
    rows = ["file,label,patient,split,sex"]
    n = n_learned + 6
    for number in range(n):
        write_radiograph(folder / f"{number}.dcm", patient_id=f"P{number}")
        label = ("NORMAL", "PNEUMONIA")[number % 2]
        split = SPLITS[max(0, (number - n_learned) // 2 + 1)]
        rows.append(f"{number}.dcm,{label},p{number},{split},{'FM'[number * 2 // n]}")
    rows.append("gone.dcm,NORMAL,p9,train,F")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films for each split, one of each class."""
    return write_archive(tmp_path_factory.mktemp("archive"), 2)


def test_a_search_learns_from_dicom_files_and_its_best_run_is_there_already(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    (tmp_path / "archive").mkdir()
    archive = write_archive(tmp_path / "archive", N_NEIGHBOURS)
    told: list[str] = []
    request = Request("chest-xray", archive, tmp_path / "model", SETTINGS, told.append)
    best = chest_xray.explore(request, 2)
    assert any(line.startswith("not used: gone.dcm: cannot be read") for line in told)
    assert best.folder.parent == tmp_path / "model.training"
    for name, tried in best.settings.items():
        assert chest_xray.RANGES[name].low <= float(tried) <= chest_xray.RANGES[name].high
    # The model of the best settings is that run: nothing is learned again.
    steps: list[int] = []
    overrides = {**SETTINGS, **best.settings, "checkpoints": str(best.folder)}
    config, folders = chest_xray.configure(chest_xray.Config(), overrides, chest_xray.FOLDERS)
    found, parts = chest_xray.read_parts(archive, chest_xray.CLASSES, config.seed, told.append)
    again = Request(
        "chest-xray", archive, tmp_path / "model", overrides, told.append, lambda done, *_: steps.append(done)
    )
    _, history = chest_xray.learn(found, parts, config, again, folders)
    assert steps == []
    assert [entry["score"] for entry in history if entry["chosen"]] == [best.score]


def test_a_search_takes_one_process(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []
    monkeypatch.setattr(chest_xray, "run", lambda request: asked.append(request) or request.out)
    monkeypatch.setattr(
        chest_xray, "explore", lambda *_: chest_xray.Trial({"dropout": "0.125"}, tmp_path / "trial-004", 0.75)
    )
    told: list[str] = []
    train("chest-xray", archive, tmp_path / "model", {"seed": "3"}, told.append, Manner(search=5))
    (request,) = asked
    assert request.overrides == {"seed": "3", "dropout": "0.125", "checkpoints": str(tmp_path / "trial-004")}
    assert told == ["best of 5 trials: validation score 0.7500 with dropout=0.125"]


@pytest.mark.parametrize("recipe", ["chest-xray", "chest-xray-vit"])
def test_fewer_films_than_an_answer_is_shown_beside_are_refused_before_anything_is_learned(
    tmp_path: Path, recipe: str
) -> None:
    (tmp_path / "archive").mkdir()
    archive = write_archive(tmp_path / "archive", N_NEIGHBOURS - 2)
    small = {"patch": "8", "width": "16", "depth": "1", "heads": "2", "sizes": "32,32,32"}
    settings = SETTINGS | (small if recipe == "chest-xray-vit" else {})
    why = "Too few images to learn from: the part train has 18, and at least 20 are needed; add more data."
    for manner in (Manner(), Manner(search=1)):
        with pytest.raises(InputError) as refused:
            train(recipe, archive, tmp_path / "model", settings, lambda _: None, manner)
        assert str(refused.value) == why
    report = report_data(recipe, archive, tmp_path / "report", settings)
    assert [one["text"] for one in report["problems"] if one["stops_training"]] == [why]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "report"]
    write_archive(archive, N_NEIGHBOURS)
    report = report_data(recipe, archive, tmp_path / "report", settings)
    assert [one["text"] for one in report["problems"] if one["stops_training"]] == []


def test_the_report_names_what_cannot_be_used(archive: Path, tmp_path: Path) -> None:
    report = report_data("chest-xray", archive, tmp_path / "report", {})
    assert report["n"] == 8
    assert [entry["name"] for entry in report["unusable"]] == ["gone.dcm"]
    assert report["splits"]["tune"]["per_class"] == {"NORMAL": 1, "PNEUMONIA": 1}
    assert report["columns"]["sex"]["values"]["F"] == {"NORMAL": 2, "PNEUMONIA": 2}
    assert (tmp_path / "report/data.html").is_file()
    assert list(tmp_path.iterdir()) == [tmp_path / "report"]


def test_a_model_is_measured_on_it(archive: Path, tmp_path: Path) -> None:
    model = fakes.make_model(tmp_path / "model")
    report = evaluate(model, archive, tmp_path / "report")
    assert report["data"]["n"] == 8
    assert report["data"]["per_class"] == {"NORMAL": 4, "PNEUMONIA": 4}
    assert [entry["file"] for entry in report["data"]["unusable"]] == ["gone.dcm"]

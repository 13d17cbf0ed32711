"""``train`` and ``evaluate`` hand over what was asked, and name what is not installed."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import medviewer.training
from medviewer.cli import main
from medviewer.domain.errors import RuntimeMissingError, Stopped, TrainingError
from medviewer.gui.text import tr, use_language
from medviewer.training import evaluate as evaluation
from medviewer.training import heap
from tests import fakes

REPORT = {
    "schema": "medviewer-evaluation/1",
    "data": {"n": 9, "unusable": []},
    "metrics": {"auc": {"value": 0.987654, "ci95": [0.98, 0.99]}},
}


@pytest.fixture(autouse=True)
def kept_memory(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the process was told to keep its memory: not this one, which tests more than training."""
    calls: list[str] = []
    monkeypatch.setattr(heap, "keep_freed_memory", lambda: calls.append("kept"))
    return calls


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []

    def train(
        recipe: str,
        data: Path,
        out: Path,
        overrides: Mapping[str, str],
        progress: Callable[[str], None],
        manner: medviewer.training.Manner,
    ) -> Path:
        calls.append((recipe, data, out, dict(overrides), manner.force, manner.search))
        manner.bar(1, 200, "step 1")
        manner.bar(2, 200, "step 2")
        manner.bar(3, 200, "step 3")
        manner.bar(3, 200, "validating")
        progress("epoch 1")
        return out

    monkeypatch.setattr(medviewer.training, "train", train)
    return calls


def test_train_hands_over_recipe_and_settings(trained: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "train",
        "chest-xray",
        "--data",
        "D",
        "--out",
        "O",
        "--seed",
        "3",
        "--set",
        "epochs=2",
        "--set",
        "rate=1e-3",
    ]
    assert main(words) == 0
    settings = {"seed": "3", "epochs": "2", "rate": "1e-3"}
    assert trained == [("chest-xray", Path("D"), Path("O"), settings, False, 0)]
    told = capsys.readouterr()
    # Nobody sees a bar here: a line for each percent, and for what takes long between two steps.
    assert (told.out, told.err) == ("O\n", "  0 % step 1\n  1 % step 2\n  1 % validating\nepoch 1\n")


def test_a_process_that_trains_keeps_its_memory_and_no_other(trained: list[Any], kept_memory: list[str]) -> None:
    assert main(["recipes"]) == 0
    assert kept_memory == []
    assert main(["train", "chest-xray", "--data", "D", "--out", "O"]) == 0
    assert kept_memory == ["kept"]


def test_a_model_of_no_given_place_is_named_after_its_recipe(trained: list[Any]) -> None:
    assert main(["train", "chest-xray", "--data", "D", "--seed", "0"]) == 0
    assert trained == [("chest-xray", Path("D"), Path("chest-xray"), {"seed": "0"}, False, 0)]


def test_a_report_of_no_given_place_lies_beside_the_model(
    trained: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Path] = []

    def report_data(recipe: str, data: Path, out: Path, overrides: Mapping[str, str]) -> Mapping[str, Any]:
        places.append(out)
        return {"problems": [], "unusable": []}

    monkeypatch.setattr(medviewer.training, "report_data", report_data)
    assert main(["train", "chest-xray", "--data", "D", "--report-only"]) == 0
    assert places == [Path("chest-xray-data")]
    assert capsys.readouterr().out == f"{Path('chest-xray-data') / 'data.html'}\n"


def test_train_hands_over_how(trained: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "chest-xray", "--data", "D", "--out", "O", "--force", "--search", "7"]) == 0
    assert trained[0][-2:] == (True, 7)


def test_other_processes_than_the_first_say_nothing(
    trained: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert main(["train", "chest-xray", "--data", "D", "--out", "O"]) == 0
    assert capsys.readouterr().out == ""


def test_a_cancelled_training_says_where_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any) -> Path:
        raise Stopped("Cancelled. The same command goes on.")

    monkeypatch.setattr(medviewer.training, "train", train)
    assert main(["train", "chest-xray", "--data", "D", "--out", "O"]) == 130
    assert capsys.readouterr().err == "Cancelled. The same command goes on.\n"


def test_lines_of_json_tell_a_program_what_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*words: Any) -> Path:
        *_, progress, manner = words
        progress("a film é")
        manner.bar(1, 9, "epoch 1")
        manner.record("fold-1", {"kind": "step", "step": 1, "epoch": 1, "loss": 0.5, "rate": 0.1})
        manner.record(
            "", {"kind": "epoch", "step": 1, "epoch": 1, "loss": 0.5, "score": None, "auc": {"a": float("nan")}}
        )
        planned = {"score": None, "by_plan": True, "measured": "auc", "auc": 0.75, "stage": 1}
        manner.record("", {"kind": "epoch", "step": 2, "epoch": 2, "loss": 0.5, **planned})
        return Path("O")

    monkeypatch.setattr(medviewer.training, "train", train)
    assert main(["train", "chest-xray", "--data", "D", "--out", "O", "--json"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.isascii()
    assert [json.loads(line) for line in told.out.splitlines()] == [
        {"kind": "text", "text": "a film é"},
        {"kind": "progress", "done": 1, "total": 9, "text": "epoch 1"},
        {"run": "fold-1", "kind": "step", "step": 1, "epoch": 1, "loss": 0.5},
        {"run": "", "kind": "epoch", "step": 1, "epoch": 1, "loss": 0.5, "score": None},
        {
            "run": "",
            "kind": "epoch",
            "step": 2,
            "epoch": 2,
            "loss": 0.5,
            "score": None,
            "by_plan": True,
            "measured": "auc",
            "auc": 0.75,
        },
        {"kind": "done", "folder": "O"},
    ]


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (Stopped("Cancelled."), "stopped", 130),
        (KeyboardInterrupt(), "stopped", 130),
        (TrainingError("No."), "failed", 1),
    ],
)
def test_a_line_of_json_says_how_it_ended(
    error: BaseException, kind: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any) -> Path:
        raise error

    monkeypatch.setattr(medviewer.training, "train", train)
    assert main(["train", "chest-xray", "--data", "D", "--out", "O", "--json"]) == code
    told = capsys.readouterr()
    assert json.loads(told.out) == {"kind": kind, "text": str(error)}
    assert str(error) in told.err


def test_every_recipe_says_what_it_is_in_both_languages(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert main(["recipes", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "medviewer.recipes/1"
    assert [one["recipe"] for one in document["recipes"]] == list(medviewer.training.RECIPES)
    for recipe in document["recipes"]:
        for words in ("title", "data", "duration"):
            assert recipe[words].keys() == {"en", "zh"}, f"ABOUT of {recipe['recipe']} lacks its {words}"
        assert all(path["about"].keys() == {"en", "zh"} for path in recipe["paths"])
        assert {"checkpoints", "tensorboard"} <= {path["name"] for path in recipe["paths"]}
    taken = {one["recipe"]: one["files"] for one in document["recipes"]}
    assert taken["breast-ultrasound"] == [".npz", ".csv"]
    assert taken["icu-mortality"] == []
    assert main(["recipes"]) == 0
    said = capsys.readouterr().out
    assert "chest-xray\n  Pneumonia on children's" in said
    assert " heads=3 checkpoints=FOLDER resume=FOLDER tensorboard=FOLDER weights=FILE beside=FOLDER\n" in said


def test_settings_are_told_with_their_kind_and_what_they_mean() -> None:
    from medviewer.training.about import settings_of
    from medviewer.training.recipes.abouts import ABOUTS

    found = {one["name"]: one for one in settings_of(ABOUTS["chest-xray-vit"].config)}
    assert found["batch"]["about"] == {"en": "cases a step, over all processes."}  # of the config that it adds to
    assert found["heads"] == {"name": "heads", "value": "3", "kind": "int", "about": {"en": "of the attention."}}
    assert [found[name]["kind"] for name in ("mixed", "sizes", "average")] == ["bool", "ints", "float"]
    for name, about in ABOUTS.items():
        assert not [one["name"] for one in settings_of(about.config) if not one["about"]], name


def test_a_recipe_that_lacks_a_package_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    known = dict(medviewer.training.RECIPES)
    monkeypatch.setattr(medviewer.training, "RECIPES", {**known, "odd": "a_package_that_is_nowhere.recipe"})
    assert main(["recipes", "--json"]) == 0
    found = {one["recipe"]: one["problem"] for one in json.loads(capsys.readouterr().out)["recipes"]}
    assert found.pop("odd").startswith("Training needs the package a_package_that_is_nowhere")
    assert set(found.values()) == {""}
    monkeypatch.setattr(medviewer.training, "RECIPES", {"odd": "a_package_that_is_nowhere.recipe"})
    assert main(["recipes"]) == 3
    assert "pip install" in capsys.readouterr().err


def test_a_described_setting_is_read_as_it_is_written() -> None:
    pytest.importorskip("torch")
    from medviewer.training.about import settings_of
    from medviewer.training.configs import FilmConfig
    from medviewer.training.settings import configure

    config = FilmConfig(sizes=(32, 64), pretrained=False, dropout=0.25)
    given = {one["name"]: one["value"] for one in settings_of(config)}
    assert configure(FilmConfig(), given, {}) == (config, {})


def test_a_recipe_without_words_is_shown_by_its_docstring_and_config() -> None:
    pytest.importorskip("torch")
    from types import ModuleType

    from medviewer.training.about import described, undescribed
    from medviewer.training.configs import FilmConfig, LoopConfig

    module = ModuleType("bare", "Something on films (Who, 2012).\n\nRead run first.")
    vars(module).update(LoopConfig=LoopConfig, Config=FilmConfig)
    found = described("bare", undescribed("bare", module))
    assert found["title"] == {"en": "Something on films (Who, 2012)"}
    assert "sizes" in [one["name"] for one in found["settings"]]
    assert undescribed("none", ModuleType("none")).title == {"en": "none"}


def test_recipes_are_listed_without_loading_what_they_learn_with() -> None:
    words = "import sys; from medviewer.training import describe_recipes; found = describe_recipes(); "
    words += "print(len(found), sorted({'torch', 'sklearn', 'rdkit', 'onnxruntime'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout
    assert said.split(maxsplit=1) == [str(len(medviewer.training.RECIPES)), "[]\n"]


def test_every_recipe_has_its_words_and_settings_where_they_are_listed() -> None:
    from medviewer.training.recipes.abouts import ABOUTS

    assert ABOUTS.keys() == medviewer.training.RECIPES.keys()
    pytest.importorskip("torch")
    for name, module in medviewer.training.RECIPES.items():
        assert importlib.import_module(module).ABOUT is ABOUTS[name]


@pytest.mark.parametrize(
    ("package", "extra", "lacking"),
    [
        ("rdkit", "chem", {"toxicity"}),
        ("sklearn", "torch,cpu", {"breast-ultrasound", "icu-mortality", "note-section", "toxicity"}),
    ],
)
def test_a_package_that_is_not_there_is_named_with_its_own_extra(
    package: str, extra: str, lacking: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for needed in ("torch", "onnxruntime", "onnxscript", "matplotlib", "sklearn", "rdkit"):
        pytest.importorskip(needed)
    monkeypatch.setitem(sys.modules, package, None)
    found = {one["recipe"]: one["problem"] for one in medviewer.training.describe_recipes()}
    assert {name for name, problem in found.items() if problem} == lacking
    words = f"Training needs the package {package}: pip install 'medviewer[{extra}]'."
    assert {found[name] for name in lacking} == {words}
    with pytest.raises(RuntimeMissingError, match=re.escape(words)):  # before the data are looked at
        medviewer.training.train("toxicity", Path("nowhere"), Path("nowhere"), {}, print)
    use_language("zh")
    assert tr(words) == f"训练需要 {package} 包：pip install 'medviewer[{extra}]'。"
    use_language("en")


@pytest.mark.parametrize(("package", "extra"), [("rdkit.Chem", "chem"), ("torch", "torch,cpu")])
def test_one_that_is_missing_in_the_midst_is_named_with_its_own_extra_too(
    package: str, extra: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any) -> Path:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(medviewer.training, "train", train)
    assert main(["train", "toxicity", "--data", "D", "--out", "O"]) == 3
    assert capsys.readouterr().err.endswith(f"pip install 'medviewer[{extra}]'\n")


@pytest.mark.parametrize("stops", [True, False])
def test_a_report_alone_trains_nothing(
    trained: list[Any], stops: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [{"text": "The part tune has no case of NORMAL.", "stops_training": stops}]
    monkeypatch.setattr(medviewer.training, "report_data", lambda *_: {"problems": problems, "unusable": []})
    assert main(["train", "chest-xray", "--data", "D", "--out", "O", "--report-only"]) == (3 if stops else 0)
    told = capsys.readouterr()
    assert told.err == "The part tune has no case of NORMAL.\n"
    assert told.out == f"{Path('O') / 'data.html'}\n"
    assert trained == []


@pytest.mark.parametrize("settings", [["--set", "epochs"], ["--set", "=2"], ["--seed", "1", "--set", "seed=2"]])
def test_a_setting_that_is_none_is_wrong_use(
    trained: list[Any], settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "chest-xray", "--data", "D", "--out", "O", *settings]) == 2
    assert trained == []
    assert "--set" in capsys.readouterr().err


def test_an_unknown_recipe_names_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "tea-leaves", "--data", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "chest-xray" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_without_torch_the_package_to_install_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("medviewer.training.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it now fails as if it were not there
    (tmp_path / "NORMAL").mkdir()
    (tmp_path / "PNEUMONIA").mkdir()
    assert main(["train", "chest-xray", "--data", str(tmp_path), "--out", str(tmp_path / "o")]) == 3
    told = capsys.readouterr().err
    assert "pip install 'medviewer[torch" in told
    assert "torch" in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_a_missing_module_of_ours_is_a_bug_not_a_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any) -> Path:
        raise ModuleNotFoundError("No module named 'medviewer.oops'", name="medviewer.oops")

    monkeypatch.setattr(medviewer.training, "train", train)
    assert main(["train", "chest-xray", "--data", "D", "--out", "O"]) == 1
    assert "pip install" not in capsys.readouterr().err


@pytest.mark.parametrize("by_path", [True, False])
def test_evaluate_finds_the_model_by_id_or_folder(
    tmp_path: Path, by_path: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)
    calls: list[Any] = []

    def evaluate(model: Path, data: Path, out: Path, *, progress: Any, **asked: str | None) -> Mapping[str, Any]:
        calls.append((model, data, out, asked))
        return REPORT

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    model = str(folder) if by_path else fakes.MODEL_ID
    words = ["--models", str(tmp_path / "models"), "evaluate", model, "--data", "D", "--out", "O", "--split", "report"]
    assert main(words) == 0
    assert calls == [(folder, Path("D"), Path("O"), {"split": "report", "label": None})]
    assert main([*words, "--label", "Mass"]) == 0
    assert calls[1][3]["label"] == "Mass"
    assert main([*words, "--label", "Mass", "--against", model]) == 2
    assert len(calls) == 2
    assert "auc: 0.9877 (95% 0.9800 to 0.9900)" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == REPORT


@pytest.mark.parametrize("against", [True, False])
def test_evaluate_takes_no_id_that_two_folders_have_and_either_folder_by_its_path(
    tmp_path: Path, against: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [
        fakes.make_model(tmp_path / "models" / name, version=version)
        for name, version in (("a", "1.0.0"), ("b", "2.0.0"))
    ]
    monkeypatch.setattr(evaluation, "evaluate", lambda model, *_, **__: calls.append(model) or REPORT)
    calls: list[Path] = []
    words = ["--models", str(tmp_path / "models"), "evaluate", "--data", "D", "--out", "O"]
    named = [str(folders[0]), "--against", fakes.MODEL_ID] if against else [fakes.MODEL_ID]
    assert main([*words, *named]) == 3
    assert f"{folders[0]}, {folders[1]}" in capsys.readouterr().err
    assert main([*words, str(folders[1])]) == 0
    assert calls == [folders[1]]


@pytest.mark.parametrize("was_learned_from", [True, False])
def test_figures_on_what_the_model_learned_from_are_called_no_evidence(
    tmp_path: Path, was_learned_from: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fakes.make_model(tmp_path / fakes.MODEL_ID)
    report = {**REPORT, "data": {**REPORT["data"], "was_learned_from": was_learned_from}}
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: report)
    assert main(["evaluate", str(folder), "--data", "D", "--out", "O"]) == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert ("no evidence" in first) is was_learned_from


def test_images_that_cannot_be_read_are_named_and_are_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fakes.make_model(tmp_path / fakes.MODEL_ID)
    unusable = [{"file": "NORMAL/a.png", "reason": "It is truncated."}]
    report = {"data": {"unusable": unusable}, "metrics": {"auc": {"value": None, "ci95": None}}}
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: report)
    assert main(["evaluate", str(folder), "--data", "D", "--out", "O"]) == 3
    told = capsys.readouterr()
    assert "NORMAL/a.png: It is truncated." in told.err
    assert "auc: not defined\n" in told.out


def test_evaluate_of_an_unknown_model_names_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)
    assert main(["--models", str(tmp_path / "models"), "evaluate", "other", "--data", "D", "--out", "O"]) == 2
    assert fakes.MODEL_ID in capsys.readouterr().err

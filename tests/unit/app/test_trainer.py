"""Training as the window asks for it: begun, stopped, gone on with, compared, put into use and taken back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from medviewer.app import own_process
from medviewer.app import trainer as trainer_module
from medviewer.app.application import Application
from medviewer.app.jobs import Jobs
from medviewer.app.model_shelf import ModelShelf
from medviewer.app.own_process import Ending
from medviewer.app.trainer import COMPARE_JOB, DATA_JOB, Plan, Trainer, _held_out, version_after
from medviewer.app.training_recipe import read_recipe
from medviewer.inference import installing
from medviewer.inference.card import read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.signing import TrustFile
from medviewer.resources import models_dir
from tests import fakes, training_program
from tests.conftest import LaterExecutor


@pytest.fixture
def trainer(application: Application, medviewer_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A trainer whose processes are quick, beside a bundled model of the id that the recipe makes."""
    monkeypatch.setattr(own_process, "program", lambda: (sys.executable, training_program.__file__))
    monkeypatch.setattr(installing, "accept", lambda *_args, **_options: None)
    monkeypatch.setenv("MEDVIEWER_TEST_MODEL", str(trained_model(tmp_path / "made")))
    bundled = application.engine.catalogue.folders[0]
    fakes.make_model(bundled / "mine", id="mine", version="1.0.0")
    application.engine.catalogue = Catalogue([medviewer_home / "models", bundled], TrustFile(medviewer_home))
    application.training.list_recipes()
    return application.training


def trained_model(folder: Path) -> Path:
    split = {"seed": 0, "block": 0.1, "tune": 0.1, "report": 0.1}
    training = fakes.card_document(("pneumonia",), [])["training"] | {"recipe": "films", "split": split}
    made = fakes.make_model(folder, id="mine", version="1.0.0", title={"en": "Newer", "zh": "更新"}, training=training)
    (made / "README.md").write_text("# Newer\n\n`mine` 1.0.0 · since 1.0.0\n")
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def asked(data: Path) -> list[list[str]]:
    return [json.loads(line) for line in (data / "asked").read_text().splitlines()]


def test_recipes_are_listed_with_their_settings(trainer: Trainer) -> None:
    assert [recipe.name for recipe in trainer.recipes] == ["films", "bare", "lacking"]
    assert trainer.recipes[0].settings == {"batch": "32", "rate": "0.01"}
    assert trainer.recipes[1].settings == {}
    assert [bool(recipe.problem) for recipe in trainer.recipes] == [False, False, True]
    assert trainer.stage("films") == "new"


def test_without_torch_nothing_is_started(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_process.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(own_process, "program", lambda: pytest.fail("a process was started"))
    trainer.recipes = ()
    trainer.list_recipes()
    assert trainer.problems[""] == "Training needs PyTorch; install it with: pip install 'medviewer[torch,cpu]'."
    assert trainer.recipes == ()


def test_data_are_described_before_anything_is_learned(trainer: Trainer, data: Path) -> None:
    trainer.look_at_data("films", data, {"batch": "32", "rate": "3"})
    assert trainer.reports["films"]["problems"][0]["stops_training"] is True
    (words,) = asked(data)
    assert words[:2] == ["train", "films"]
    assert "--report-only" in words
    assert [word for word in words if "=" in word] == ["rate=3"]  # the others are the recipe's own
    assert trainer.stage("films") == "new"


def test_a_training_gives_a_model_and_its_curves(trainer: Trainer, data: Path) -> None:
    trainer.begin("films", data, {"batch": "32", "rate": "0.5"})
    assert trainer.stage("films") == "trained"
    assert trainer.problems == {}
    (words,) = asked(data)
    assert [word for word in words if "=" in word] == ["rate=0.5"]  # the others are the recipe's own
    assert trainer.live is not None
    assert trainer.live.curves[""].losses == [1 / step for step in range(1, 7)]
    assert trainer.live.curves[""].scores == [0.6, 0.7, 0.8]
    assert trainer.live.lines[0] == "train 8, report 4"
    assert read_card(trainer.model_folder("films")).id == "mine"


@pytest.mark.parametrize(
    ("behaviour", "content", "sentence"),
    [
        ("fails", "The memory is used up; make the setting batch smaller.", "The memory is used up"),
        ("dies", "", "The process ended unexpectedly (signal 9)"),
    ],
)
def test_a_failure_is_one_sentence_and_the_run_goes_on_from_its_checkpoint(
    trainer: Trainer, data: Path, behaviour: str, content: str, sentence: str
) -> None:
    (data / behaviour).write_text(content)
    trainer.begin("films", data, {})
    assert trainer.problems["films"].startswith(sentence)
    assert trainer.stage("films") == "unfinished"
    assert (trainer.folder / "films.training" / "run.pt").read_text() == "3"
    (data / behaviour).unlink()
    trainer.go_on("films")
    assert trainer.problems == {}
    assert trainer.stage("films") == "trained"
    assert trainer.live is not None
    assert trainer.live.lines[0] == "going on from step 3"
    assert len(trainer.live.curves[""].losses) == training_program.N_STEPS


def test_an_unfinished_run_is_found_by_the_next_window(trainer: Trainer, application: Application, data: Path) -> None:
    (data / "dies").touch()
    trainer.begin("films", data, {"rate": "0.5"})
    later = Trainer(application, trainer._jobs)
    assert later.stage("films") == "unfinished"
    plan = later.planned("films")
    assert plan is not None
    assert (plan.data, plan.settings, plan.is_complete) == (str(data), {"rate": "0.5"}, False)


def test_to_begin_anew_forgets_the_unfinished_run(trainer: Trainer, data: Path) -> None:
    (data / "dies").touch()
    trainer.begin("films", data, {})
    (data / "dies").unlink()
    trainer.begin("films", data, {})
    assert trainer.live is not None
    assert trainer.live.lines[0] == "train 8, report 4"


@pytest.mark.parametrize("content", ["", "[]", '{"data": 1}', "\x00"])
def test_a_damaged_plan_is_none(trainer: Trainer, data: Path, content: str) -> None:
    trainer.begin("films", data, {})
    (trainer.folder / "films.json").write_text(content)
    assert trainer.planned("films") is None
    assert trainer.stage("films") == "new"


@pytest.mark.parametrize("start", [Trainer.begin, Trainer.look_at_data])
@pytest.mark.parametrize(
    ("asked_for", "settings", "sentence"),
    [
        (("films", "nowhere"), {}, "The training data are not at PATH; choose them again."),
        (("films", "a.txt"), {}, "a.txt is no file of this recipe; choose a folder or one of these files: .csv, .npz."),
        (("bare", "a.csv"), {}, "a.csv is a file; this recipe takes a folder: choose the one with its data."),
        (("films", "a.csv"), {"rate": "much"}, "The setting rate cannot be 'much'; an example is 0.01."),
        (("films", "a.csv"), {"weights": "PATH"}, "The setting weights names PATH, where there is no file; "),
    ],
)
def test_what_the_recipe_would_refuse_is_refused_before_the_run_before_goes(
    trainer: Trainer, tmp_path: Path, start: Any, asked_for: tuple[str, str], settings: dict[str, str], sentence: str
) -> None:
    recipe, name = asked_for
    run = trainer.folder / f"{recipe}.training"
    run.mkdir(parents=True)
    for made in ("a.txt", "a.csv"):
        (tmp_path / made).touch()
    given = {key: text.replace("PATH", str(tmp_path / "none")) for key, text in settings.items()}
    start(trainer, recipe, tmp_path / name, given)
    said = trainer.problems[recipe].replace(str(tmp_path / "none"), "PATH").replace(str(tmp_path / name), "PATH")
    assert said.startswith(sentence)
    assert run.is_dir()
    assert trainer.planned(recipe) is None
    assert not (tmp_path / "asked").exists()


def test_a_file_is_passed_on_to_the_report_the_run_and_the_comparison(trainer: Trainer, data: Path) -> None:
    file = data / "table.CSV"
    file.touch()
    trainer.look_at_data("films", file, {})
    trainer.begin("films", file, {})
    trainer.compare("films")
    assert trainer.problems == {}
    found = asked(data)
    assert [words[words.index("--data") + 1] for words in found] == [str(file)] * 3
    assert [words[0] for words in found] == ["train", "train", "evaluate"]


def test_paths_are_settings_like_others_but_for_where_the_run_is_kept(trainer: Trainer, data: Path) -> None:
    weights = data / "w.safetensors"
    weights.touch()
    films = trainer.recipes[0]
    assert list(films.paths) == ["weights", "curves"]
    trainer.begin("films", data, {**films.settings, "weights": str(weights), "curves": ""})
    (words,) = asked(data)
    assert [word for word in words if "=" in word] == [f"weights={weights}"]
    plan = trainer.planned("films")
    assert plan is not None
    assert plan.settings == {"weights": str(weights)}


def test_which_data_were_chosen_last_is_remembered_for_each_recipe(
    trainer: Trainer, application: Application, data: Path
) -> None:
    assert trainer.data_of("films") == ""
    (data / "a.npz").touch()
    trainer.choose_data("films", data / "a.npz")
    trainer.choose_data("bare", data)
    later = Trainer(application, trainer._jobs)
    assert (later.data_of("films"), later.data_of("bare")) == (str(data / "a.npz"), str(data))
    assert (trainer.folder / "films.chosen.json").stat().st_mode & 0o077 == 0
    (trainer.folder / "films.chosen.json").write_text('{"data": 1}')
    assert Trainer(application, trainer._jobs).data_of("films") == ""


def test_data_that_were_begun_with_are_those_that_were_chosen_last(
    trainer: Trainer, application: Application, data: Path
) -> None:
    trainer.begin("films", data, {})
    assert Trainer(application, trainer._jobs).data_of("films") == str(data)


def test_a_choice_that_is_refused_changes_nothing(trainer: Trainer, data: Path) -> None:
    trainer.choose_data("films", data)
    trainer.reports["films"] = {"n": 1}
    trainer.choose_data("films", data / "nowhere")
    assert "choose them again" in trainer.problems["films"]
    assert trainer.data_of("films") == str(data)
    assert "films" in trainer.reports
    trainer.choose_data("films", data)
    assert trainer.problems == {}
    assert trainer.reports == {}


def test_two_windows_do_not_train_into_one_folder(trainer: Trainer, data: Path) -> None:
    trainer.folder.mkdir(parents=True)
    with FileLock(trainer.folder / "films.lock"):
        trainer.begin("films", data, {})
    assert trainer.problems["films"] == "Another window of MedViewer trains this; wait for its end."
    assert not (data / "asked").exists()


@pytest.mark.reliability
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no folder in which nobody can write")
def test_where_nothing_can_be_written_no_other_window_is_said_to_train(trainer: Trainer, data: Path) -> None:
    trainer.folder = Path("/proc")
    trainer.begin("films", data, {})
    assert (
        trainer.problems["films"]
        == "The training was not saved: writing there is not permitted; choose another folder."
    )


def test_the_new_model_is_compared_with_the_one_in_use(trainer: Trainer, data: Path, tmp_path: Path) -> None:
    trainer.begin("films", data, {})
    old = trainer.present("films")
    assert old is not None
    trainer.compare("films")
    assert trainer.comparisons["films"]["mcnemar"]["only_first"] == 7
    words = asked(data)[-1]
    assert words[:4] == ["evaluate", str(trainer.model_folder("films")), "--against", str(old.folder)]
    assert words[-2:] == ["--split", "report"]


@pytest.mark.parametrize(
    ("model", "split"),
    [
        ("icu-mortality", "b"),
        ("icu-forecast", "b"),
        ("toxicity", "test"),
        ("note-section", "test-1"),
        ("chest-xray-pneumonia", "report"),
        ("breast-ultrasound", ""),
        ("survival-heart-attack", ""),
    ],
)
def test_models_are_compared_on_the_part_that_chose_nothing(model: str, split: str) -> None:
    assert _held_out(read_card(models_dir() / model)) == split


def test_a_comparison_that_fails_says_why(trainer: Trainer, data: Path) -> None:
    trainer.begin("films", data, {})
    (data / "dies").touch()
    trainer.compare("films")
    assert "ended unexpectedly" in trainer.problems["films"]
    assert "films" not in trainer.comparisons


@pytest.fixture
def slow(application: Application, monkeypatch: pytest.MonkeyPatch) -> tuple[Trainer, LaterExecutor]:
    """A trainer whose work is done when it is asked for."""
    later = LaterExecutor()
    monkeypatch.setattr(trainer_module, "_collected", lambda *_: (Ending("done", ""), []))
    monkeypatch.setattr(trainer_module, "_document", lambda path: {"of": path.parent.name})
    jobs = Jobs(later, lambda call: call(), on_progress=lambda *_: None, on_idle=lambda _: None)
    made = Trainer(application, jobs)
    made.recipes = tuple(read_recipe(entry) for entry in training_program.RECIPES)
    return made, later


def test_what_was_seen_of_other_data_is_not_shown(slow: tuple[Trainer, LaterExecutor], data: Path) -> None:
    trainer, later = slow
    trainer.look_at_data("films", data, {})
    trainer.forget_data("bare")
    assert trainer.is_doing(DATA_JOB)
    trainer.forget_data("films")
    assert not trainer.is_doing(DATA_JOB)
    later.step()
    assert trainer.reports == {}


def test_a_model_that_is_learned_anew_is_not_shown_beside_what_was_measured_of_the_one_before(
    trainer: Trainer, data: Path, slow: tuple[Trainer, LaterExecutor]
) -> None:
    trainer.begin("films", data, {})
    late, later = slow
    late.compare("films")
    assert late.is_doing(COMPARE_JOB)
    late.begin("films", data, {})
    assert not late.is_doing(COMPARE_JOB)
    later.step()
    assert late.comparisons == {}


def test_a_promoted_model_is_newer_and_the_one_before_comes_back(
    trainer: Trainer, application: Application, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = ModelShelf(application, lambda: None)
    trainer.begin("films", data, {})
    trainer.promote("films", shelf)
    assert shelf.waiting is not None
    assert shelf.waiting.objections == ()  # neither older nor another one of the same version
    assert present_version(trainer) == "1.0.0"  # nothing is replaced without a yes
    shelf.confirm()
    first = present_version(trainer)
    assert first.startswith("1.0.1-trained.20")
    assert trainer.is_in_use("films")
    page = (trainer.model_folder("films") / "README.md").read_text()
    assert page == f"# Newer\n\n`mine` {first} · since 1.0.0\n"
    begin_later(trainer, data, monkeypatch)
    trainer.promote("films", shelf)
    assert shelf.waiting is not None
    assert shelf.waiting.objections == ()
    shelf.confirm()
    second = present_version(trainer)
    assert second > first
    trainer.take_back("films", shelf)
    assert present_version(trainer) == first
    shelf.close()


def test_the_model_that_came_with_the_program_comes_back_too(
    trainer: Trainer, application: Application, data: Path
) -> None:
    shelf = ModelShelf(application, lambda: None)
    trainer.begin("films", data, {})
    trainer.promote("films", shelf)
    shelf.confirm()
    assert present_version(trainer) != "1.0.0"
    trainer.take_back("films", shelf)
    assert present_version(trainer) == "1.0.0"
    assert trainer.stage("films") == "trained"  # it can be put into use again
    shelf.close()


def begin_later(trainer: Trainer, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train again, as if a day had passed."""
    kept: Any = trainer._keep

    def keep(plan: Plan) -> None:
        kept(Plan(plan.recipe, plan.data, plan.settings, "2099-01-01T00:00:00+00:00", plan.is_complete))

    monkeypatch.setattr(trainer, "_keep", keep)
    trainer.begin("films", data, {})


def present_version(trainer: Trainer) -> str:
    entry = trainer.present("films")
    assert entry is not None
    assert entry.card is not None
    return entry.card.version


@pytest.mark.parametrize(
    ("new", "old", "version"),
    [
        ("1.0.2", "1.0.2", "1.0.3-trained.20261128101500"),
        ("1.0.2", "1.0.3", "1.0.4-trained.20261128101500"),
        ("1.0.2", "1.0.3-trained.20251128101500", "1.0.3-trained.20261128101500"),
        ("1.1.0", "1.0.9", "1.1.0"),
    ],
)
def test_a_version_is_higher_than_that_in_use(new: str, old: str, version: str) -> None:
    found = version_after(new, old, "2026-11-28T10:15:00+00:00")
    assert found == version
    assert installing.version_key(found) > installing.version_key(old)

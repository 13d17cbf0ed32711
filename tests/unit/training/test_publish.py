"""A model gives its place to a better one, and to no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from medviewer.domain.errors import StorageError, UsageError
from medviewer.training.configs import NoteConfig, SurvivalConfig
from medviewer.training.publish import check_better, check_comparable, check_place, folds_of, model_folder
from tests import fakes

pytestmark = pytest.mark.torch

METRIC = "AUC on tune"


def model(folder: Path, **training: Any) -> Path:
    fakes.make_model(folder)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    card["training"] |= {"recipe": "knee", "data_digest": "d1"} | training
    (folder / "model.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def new(value: float, metric: str = METRIC, data: str = "d1") -> dict[str, Any]:
    return {"recipe": "knee", "data_digest": data, "validation": {"metric": metric, "value": value}}


def said(value: float, metric: str = METRIC) -> dict[str, Any]:
    return {"validation": {"metric": metric, "value": value}}


def test_an_empty_place_is_free(tmp_path: Path) -> None:
    assert check_place(tmp_path / "model", "knee") is None
    check_better(tmp_path / "model", new(0.1))


def test_a_better_model_may_take_the_place(tmp_path: Path) -> None:
    check_better(model(tmp_path / "model", **said(0.9)), new(0.91))


@pytest.mark.parametrize(
    ("old", "ours", "sentence"),
    [
        (said(0.9), new(0.9), r"no worse: AUC on tune 0.9000, the new one's 0.9000"),
        (said(0.9), new(0.8), "holds a model that is no worse"),
        (said(0.9), new(float("nan")), "holds a model that is no worse"),
        (said(0.9), new(0.95, data="d2"), "holds a model of other data"),
        (said(0.9, "C index"), new(0.95), "does not say its AUC on tune"),
        ({}, new(0.95), "does not say its AUC on tune"),
        ({"history": [{"chosen": True, "worst": 0.97}]}, new(0.95), r"AUC on tune 0.9700, the new one's 0.9500"),
    ],
)
def test_any_other_needs_force_and_says_why(tmp_path: Path, old, ours, sentence: str) -> None:
    folder = model(tmp_path / "model", **old)
    with pytest.raises(UsageError, match=sentence) as refused:
        check_better(folder, ours)
    assert "--force" in str(refused.value)
    check_better(folder, ours, force=True)


def test_what_is_known_before_learning_is_refused_without_a_value(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", **said(0.9), config={"n_folds": 3})
    known = new(0.95) | {"validation": {"metric": METRIC}}
    assert check_comparable(folder, known, folds={"n_folds": 3}) == said(0.9)["validation"]
    assert check_comparable(folder, known | {"data_digest": "d2"}, force=True) is None
    assert check_comparable(tmp_path / "nothing", known) is None
    with pytest.raises(UsageError, match=r"holds a model of other data.*--force"):
        check_comparable(folder, known | {"data_digest": "d2"})
    with pytest.raises(UsageError, match=r"judged by other folds.*--force"):
        check_comparable(folder, known, folds={"n_folds": 2})


def test_a_model_validated_on_other_patients_is_not_compared(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", **said(0.9), split={"seed": 0})
    check_better(folder, new(0.91) | {"split": {"seed": 0}})
    with pytest.raises(UsageError, match=r"validated on other patients of the same data.*--force"):
        check_better(folder, new(0.91) | {"split": {"seed": 1}})


@pytest.mark.parametrize("config", [{"n_folds": 2, "seed": 0}, {"n_folds": 3, "seed": 1}, {"seed": 0}, None])
def test_a_model_judged_by_other_folds_is_not_compared(tmp_path: Path, config: dict[str, Any] | None) -> None:
    """The same model gets another figure by other folds; an older card may not say by which."""
    folds = {"n_folds": 3, "seed": 0}
    asked = {"config": config} if config else {}
    folder = model(tmp_path / "model", **said(0.9), **asked)
    with pytest.raises(
        UsageError, match=r"holds a model judged by other folds, which cannot be compared: \w+ .*--force"
    ) as refused:
        check_better(folder, new(0.95), folds=folds)
    assert ("n_folds 2, the new one's 3" in str(refused.value)) == (config == {"n_folds": 2, "seed": 0})
    check_better(folder, new(0.95), folds=folds, force=True)


def test_a_model_judged_by_the_same_folds_is_compared(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", **said(0.9), config={"n_folds": 3, "seed": 0, "rate": 0.1})
    check_better(folder, new(0.91), folds={"n_folds": 3, "seed": 0})
    with pytest.raises(UsageError, match="no worse"):
        check_better(folder, new(0.9), folds={"n_folds": 3, "seed": 0})


def test_which_folds_judge_is_told_by_the_settings_that_draw_them() -> None:
    assert folds_of(SurvivalConfig(n_folds=3)) == {"n_folds": 3, "n_repeats": 5, "seed": 0}
    assert folds_of(NoteConfig(seed=2)) == {"n_folds": 5, "seed": 2}


def test_force_overwrites_no_other_recipe_and_nothing_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of another recipe"):
        check_better(model(tmp_path / "model", recipe="hip"), new(0.95), force=True)
    (tmp_path / "letters").mkdir()
    with pytest.raises(UsageError, match="holds no model"):
        check_better(tmp_path / "letters", new(0.95), force=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_old_model_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    out = model(tmp_path / "model")
    before = names(out)

    def fill(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError), model_folder(out) as partial:
        fill(partial)
    assert names(out) == before
    assert names(tmp_path) == ["model"]
    with model_folder(out) as partial:
        (partial / "new").write_bytes(b"whole")
        assert names(out) == before
    assert names(out) == ["new"]
    assert names(tmp_path) == ["model"]


def test_the_old_model_comes_back_where_the_new_one_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = model(tmp_path / "model", **said(0.9))
    before, rename = names(out), Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == ".model.medviewer-new":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    making = model_folder(out)
    (making.__enter__() / "new.txt").write_text("new")
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(StorageError, match="cannot be moved"):
        making.__exit__(None, None, None)
    assert names(out) == before


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    out = model(tmp_path / "model")
    model(tmp_path / ".model.medviewer-new")
    model(tmp_path / ".model.medviewer-old")
    with model_folder(out) as partial:
        (partial / "new").write_bytes(b"whole")
    assert names(tmp_path) == ["model"]

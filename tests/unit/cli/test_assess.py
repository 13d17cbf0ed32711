"""``models assess``: which model may be written on, wrong use, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medviewer.cli import main
from medviewer.inference.card import read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.signing import sign_model
from medviewer.training import assess as training
from tests import fakes
from tests.unit.inference.test_signing import key_pair
from tests.unit.training.test_assess import sanity_of


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDVIEWER_HOME", str(tmp_path / "home"))
    return fakes.make_model(tmp_path / "home" / "models" / fakes.MODEL_ID)


@pytest.fixture
def asked(installed: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Path, Path, training.Plan]]:
    calls: list[tuple[Path, Path, Path, training.Plan]] = []

    def assess(model: Path, data: Path, *, work: Path, plan: training.Plan, progress: Any) -> dict[str, Any]:
        calls.append((model, data, work, plan))
        progress(1, 1, "Assessed")
        return sanity_of(installed)

    monkeypatch.setattr(training, "assess", assess)
    return calls


def test_the_card_of_an_installed_model_is_written(
    installed: Path, asked: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", "D", "--images", "50", "--random", "39", "--split", "report", "--minutes", "5", "--json"]
    assert main(["models", "assess", fakes.MODEL_ID, *words]) == 0
    assert asked == [
        (
            installed,
            Path("D"),
            tmp_path / "home" / "assessments" / f"{fakes.MODEL_ID}.jsonl",
            training.Plan(n=50, n_random=39, splits=("report",), minutes=5.0),
        )
    ]
    printed = json.loads(capsys.readouterr().out)
    assert (printed["schema"], printed["version"]) == ("medviewer.models-assess/1", "1.2.4")
    assert printed["sanity"]["methods"]["grad-cam"]["n"] == 9
    assert read_card(installed).version == "1.2.4"


def test_people_read_a_sentence_and_the_shares(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "assess", fakes.MODEL_ID, "--data", "D"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == "grad-cam: So so."
    assert "deletion: 50.0% (40.0% to 60.0%) of 9 images" in told.out
    assert "version 1.2.4" in told.err
    assert asked[0][3] == training.Plan()


def test_a_signed_model_stays_usable_and_is_said_to_be_unverified(
    installed: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    sign_model(installed, key_pair()[0])
    assert main(["models", "assess", fakes.MODEL_ID, "--data", "D", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["signature_removed"] is True
    before, after = told.err.splitlines()[0], told.err.splitlines()[-1]
    assert "will be removed" in before
    assert "unverified until it is signed again with: medviewer models sign" in after
    (entry,) = Catalogue([installed.parent]).entries
    assert (entry.problem, entry.signer.word) == ("", "unverified")
    assert entry.card is not None
    assert entry.card.version == "1.2.4"


@pytest.mark.parametrize(
    "words",
    [
        ["models", "assess", "--data", "D"],
        ["models", "assess", fakes.MODEL_ID],
        ["models", "assess", "no-such-model", "--data", "D"],
        ["models", "assess", fakes.MODEL_ID, "--data", "D", "--random", "18"],
        ["models", "assess", fakes.MODEL_ID, "--data", "D", "--images", "0"],
        ["models", "list", "--data", "D"],
        ["models", "verify", "--minutes", "3"],
    ],
)
def test_wrong_use_measures_nothing(asked: list[Any], words: list[str]) -> None:
    assert main(words) == 2
    assert asked == []


def test_a_model_from_anywhere_else_is_not_written_on(
    asked: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = fakes.make_model(tmp_path / "elsewhere" / fakes.MODEL_ID)
    before = (other / "model.json").read_bytes()
    assert main(["models", "--models", str(other.parent), "assess", fakes.MODEL_ID, "--data", "D"]) == 2
    assert "installed" in capsys.readouterr().err
    assert asked == []
    assert (other / "model.json").read_bytes() == before


def test_of_two_models_with_one_id_no_card_is_written_on(
    asked: list[Any], installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = fakes.make_model(installed.parent / "second", version="2.0.0")
    assert main(["models", "assess", fakes.MODEL_ID, "--data", "D"]) == 2
    assert f"{installed}, {other}" in capsys.readouterr().err
    assert asked == []

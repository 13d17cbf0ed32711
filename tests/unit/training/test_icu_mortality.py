"""The whole recipe on made-up stays: it learns, exports what it learned, and its card says how that was judged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.case import Case
from medviewer.domain.errors import InputError, UsageError
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.training import report_data, train
from medviewer.training.evaluate import evaluate
from medviewer.training.report_page import interval_words
from tests.stay_maker import ADMITTED, make_stays, whole_stay, write_stays

SETTINGS = {"epochs": "3", "n_folds": "2", "n_nets": "1", "n_trees": "8", "batch": "16", "penalty": "0.05"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    write_stays(root, "a", make_stays(60, seed=1))
    write_stays(root, "b", make_stays(60, seed=2, first_id=200_000))
    return root


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    lines: list[str] = []
    out = tmp_path_factory.mktemp("models") / "icu-mortality"
    yield train("icu-mortality", data, out, SETTINGS, lines.append), lines
    shutil.rmtree(out)


def card(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return document


def test_it_learns(made: tuple[Path, list[str]]) -> None:
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in made[1] if line.startswith("epoch")]
    assert losses[2] < losses[0]
    (evidence,) = card(made[0])["evidence"]
    assert evidence["split"] == "b"
    assert evidence["metrics"]["auc"]["value"] > 0.9
    assert {"event_1", "event_2", "ece", "auc_recurrent", "auc_trees", "auc_linear"} <= evidence["metrics"].keys()


def test_the_proof_is_of_a_blend_that_has_not_seen_what_it_is_judged_on(made: tuple[Path, list[str]]) -> None:
    """The shipped blend learned from both sets, and the card says so."""
    (evidence,) = card(made[0])["evidence"]
    assert "that did not learn from it" in evidence["data"]["en"]
    assert evidence["n"] == 60
    page = (made[0] / "README.md").read_text(encoding="utf-8")
    assert "in 2 folds, each stay judged" in page
    assert "five folds" not in page


def test_the_graph_answers_as_it_was_learned(made: tuple[Path, list[str]]) -> None:
    with Engine(Catalogue([made[0].parent]), providers=("cpu",)) as engine:
        (found,) = engine.verify("icu-mortality-own")
    assert found.passed
    assert found.largest_error < 1e-4


def test_a_patient_is_asked_about_through_the_record(made: tuple[Path, list[str]]) -> None:
    ill, well = make_stays(2, seed=9)[1], make_stays(3, seed=9)[2]
    with Engine(Catalogue([made[0].parent]), providers=("cpu",)) as engine:
        answers = [engine.ask(whole_stay(stay), "icu-mortality-own") for stay in (ill, well)]
        without = engine.ask(Case(age_years=60.0, sex="F", at=ADMITTED), "icu-mortality-own")
    assert [answer.status for answer in answers] == ["answer", "answer"]
    said = [answer.findings[0].probability for answer in answers]
    assert ill.died is True
    assert well.died is False
    assert said[0] > said[1]
    assert without.status == "abstained"


def test_it_is_evaluated_on_stays_in_their_published_layout(
    made: tuple[Path, list[str]], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medviewer.training.stay_evaluation.FEWEST", 10)
    new = tmp_path / "new"
    first, *others = make_stays(60, seed=3, first_id=300_000)
    odd = replace(first, descriptors={**first.descriptors, "Height": 1.8})
    odd = replace(odd, observations=((0.5, "HR", 900.0), *odd.observations))
    again = replace(others[0], record_id=300_100)
    write_stays(new, "c", [odd, *others, again])
    report = evaluate(made[0], new, tmp_path / "out")
    assert report["data"]["implausible"] == {"HR": 1, "Height": 1}
    assert (report["data"]["n"], report["data"]["n_patients"]) == (61, 60)
    assert report["data"]["copies"] == [[str(others[0].record_id), "300100"]]
    assert report["data"]["was_learned_from"] is False
    assert report["metrics"]["auc"]["value"] > 0.9
    assert np.isfinite(report["metrics"]["event_2"]["value"])
    groups = {group["name"]: group for group in report["subgroups"]}
    women, men = (groups[sex]["metrics"]["auc"]["value"] for sex in ("women", "men"))
    assert groups["women"]["gaps"]["auc"]["value"] == pytest.approx(women - men, abs=2e-5)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "event_1" in page
    assert "Values that no patient can have were left out, of so many: HR 1, Height 1." in page
    assert "Gaps between groups" in page
    assert "copies, equal in every value and time: 2 RecordIDs stand for only 1." in page
    assert "Under shifts" not in page  # stays are not shifted
    assert f"<td>{interval_words(groups['women']['metrics']['ece'])}</td>" in page
    assert "<td>–</td>" not in page
    assert "does not measure how unlike a case is to those that it learned from; its guards check units" in page
    assert "AUC of the part “" in page
    assert evaluate(made[0], data, tmp_path / "again", split="a")["data"]["was_learned_from"] is True
    with pytest.raises(UsageError, match="no set 'z'"):
        evaluate(made[0], data, tmp_path / "z", split="z")


def test_a_set_without_outcomes_is_no_evidence(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    write_stays(tmp_path, "c", make_stays(5))
    (tmp_path / "Outcomes-c.txt").unlink()
    with pytest.raises(InputError, match="Outcomes"):
        evaluate(made[0], tmp_path, tmp_path / "out")


def test_both_sets_are_needed(tmp_path: Path) -> None:
    write_stays(tmp_path, "a", make_stays(10))
    with pytest.raises(InputError, match="lacks set-b"):
        train("icu-mortality", tmp_path, tmp_path / "out", SETTINGS, lambda _: None)
    assert not (tmp_path / "out").exists()


def test_nothing_is_learned_from_one_outcome(tmp_path: Path) -> None:
    write_stays(tmp_path, "a", make_stays(10))
    write_stays(tmp_path, "b", [stay for stay in make_stays(10, first_id=200_000) if not stay.died])
    with pytest.raises(InputError, match="one outcome"):
        train("icu-mortality", tmp_path, tmp_path / "out", SETTINGS, lambda _: None)


@pytest.mark.parametrize("recipe", ["icu-mortality", "icu-forecast"])
def test_a_stay_of_both_sets_is_refused(tmp_path: Path, recipe: str) -> None:
    """Set B judges: whoever is in A too would be learned from and judged on."""
    write_stays(tmp_path, "a", make_stays(10))
    write_stays(tmp_path, "b", make_stays(10, seed=1, first_id=100_009))
    for ask in (train, lambda *given: report_data(*given[:4])):
        with pytest.raises(InputError, match=r"The stay 100009 is in set-a and in set-b; remove it from one"):
            ask(recipe, tmp_path, tmp_path / "out", {}, lambda _: None)

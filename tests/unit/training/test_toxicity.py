"""The whole recipe on made-up molecules: it learns, exports what it learned, and its card says how that was judged."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rdkit", reason="RDKit is not installed")

from medviewer.domain.case import Case
from medviewer.domain.errors import InputError, TrainingError, UsageError
from medviewer.explain.methods import explain
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.training import molecule_scores, report_data, train
from medviewer.training.evaluate import evaluate
from medviewer.training.metrics import roc_auc
from medviewer.training.molecule_blend import PARTS
from medviewer.training.molecule_decision import decide, probabilities_of
from medviewer.training.molecule_scores import ScoredMolecules, mean_auc, report_on
from medviewer.training.molecule_tensors import MoleculeTensors
from medviewer.training.molecules import ASSAYS
from medviewer.training.recipes import toxicity
from tests.molecule_maker import OTHER_RINGS, RINGS, make_molecules, rows_of, write_table

SETTINGS = {
    "epochs": "6", "graph_epochs": "10", "n_folds": "2", "n_nets": "1", "n_trees": "4", "batch": "16", "hidden": "16",
    "graph_hidden": "16", "graph_rate": "0.01", "rate": "0.005", "average": "0",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(molecule_scores, "N_RESAMPLES", 60)
        patch.setattr(molecule_scores, "N_RESAMPLES_BRIEF", 20)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("table")
    write_table(root / "tox21.csv", rows_of(make_molecules()))
    return root


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    lines: list[str] = []
    out = tmp_path_factory.mktemp("models") / "toxicity"
    yield train("toxicity", data, out, SETTINGS, lines.append), lines
    shutil.rmtree(out)


@pytest.fixture(scope="module")
def engine(made: tuple[Path, list[str]]) -> Iterator[Engine]:
    with Engine(Catalogue([made[0].parent]), providers=("cpu",)) as one:
        yield one


def card(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return document


def test_every_part_learns(made: tuple[Path, list[str]]) -> None:
    """The graph and the bits say the same of these molecules, so that every part can find it."""
    by_split = {one["split"]: one for one in card(made[0])["evidence"]}
    assert list(by_split) == ["folds", "valid", "test"]
    for part in ("graph", "dense", "trees", "linear"):
        assert by_split["folds"]["metrics"][f"auc_{part}"]["value"] > 0.8, part
    assert by_split["test"]["metrics"]["auc"]["value"] > 0.95


def test_each_assay_has_its_figures_with_intervals(made: tuple[Path, list[str]]) -> None:
    folds = card(made[0])["evidence"][0]
    assert list(folds["assays"]) == list(ASSAYS)
    for name, found in folds["assays"].items():
        assert {"auc", "pr_auc", "balanced_accuracy", "brier", "ece"} <= found["metrics"].keys()
        low, high = found["metrics"]["auc"]["ci95"]
        assert low <= found["metrics"]["auc"]["value"] <= high
        assert folds["metrics"][f"auc {name}"] == found["metrics"]["auc"]
    mean = np.mean([found["metrics"]["auc"]["value"] for found in folds["assays"].values()])
    assert folds["metrics"]["auc"]["value"] == pytest.approx(mean, abs=1e-4)
    page = (made[0] / "README.md").read_text(encoding="utf-8")
    assert page.count("| SR-p53 |") == 4  # three splits, and the thresholds


def test_the_proof_is_of_skeletons_that_were_not_learned_from(made: tuple[Path, list[str]], data: Path) -> None:
    """The parts do not overlap, and are all that there is."""
    entries = {one["split"]: one for one in card(made[0])["evidence"]}
    assert sum(one["n"] for one in entries.values()) == 240
    assert sum(one["n_scaffolds"] for one in entries.values()) == 12
    assert "that did not learn from it" in entries["test"]["data"]["en"]


def test_the_graph_answers_as_it_was_learned(engine: Engine) -> None:
    (found,) = engine.verify("toxicity-own")
    assert found.passed
    assert found.largest_error < 1e-4


def test_a_molecule_is_asked_about(engine: Engine) -> None:
    active, other = (engine.ask(Case(smiles=(smiles,)), "toxicity-own") for smiles, _ in make_molecules()[1::-1])
    assert [answer.status for answer in (active, other)] == ["answer", "answer"]
    assert all(finding.flagged for finding in active.findings)
    assert not any(finding.flagged for finding in other.findings)
    assert active.findings[0].meaning


@pytest.mark.parametrize(
    ("smiles", "code"),
    [("CC(=O)[O-].[Na+]", "mixture"), ("C1CC", "not_a_molecule"), ("C" * 140, "large_molecule"),
     ("[Hg]", "out_of_distribution")],
)  # fmt: skip
def test_what_it_cannot_judge_is_refused(engine: Engine, smiles: str, code: str) -> None:
    answer = engine.ask(Case(smiles=(smiles,)), "toxicity-own")
    assert answer.status == "abstained"
    assert any(guard.code.startswith(code) and guard.level == "abstain" for guard in answer.guards)


def test_a_known_molecule_is_at_no_distance(engine: Engine) -> None:
    answer = engine.ask(Case(smiles=(make_molecules()[0][0],)), "toxicity-own")
    (guard,) = [one for one in answer.guards if one.code == "out_of_distribution"]
    assert guard.level == "ok"
    assert "0.0" in guard.text


def test_the_explanation_is_the_group_that_makes_it_active(engine: Engine) -> None:
    smiles = "CCC(CC)c1ccccc1C(C)[N+](=O)[O-]"
    found = explain(engine, Case(smiles=(smiles,)), "toxicity-own", "occlusion", finding="SR-p53", n_random=0)
    values = found.saliency
    symbols = [anchor.symbol for anchor in found.anchors]  # type: ignore[union-attr]
    nitro = [index for index, symbol in enumerate(symbols) if symbol in ("N", "O")]
    assert max(values[nitro]) == max(values)


def test_it_is_evaluated_on_a_table_of_molecules(made: tuple[Path, list[str]], data: Path, tmp_path: Path) -> None:
    rows = rows_of(make_molecules((*RINGS[:2], *OTHER_RINGS)))
    rows = [row | {"SR-p53": "0"} for row in rows]
    rows[0]["smiles"] = "C1CC"
    table = write_table(tmp_path / "new.csv", rows)
    report = evaluate(made[0], table, tmp_path / "out")
    assert report["data"]["was_learned_from"] is False
    assert report["data"]["unusable"][0]["file"] == "M0"
    assert report["left_out"] == ["SR-p53"]
    assert report["assays"]["SR-p53"]["metrics"] == {}
    assert "auc SR-p53" not in report["metrics"]
    assert report["metrics"]["auc"]["value"] > 0.9
    groups = {group["name"]: group["n"] for group in report["subgroups"]}
    assert (groups["of a known skeleton"], groups["of a new skeleton"]) == (39, 40)
    assert 0 <= report["novelty"]["warned"] <= 1
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "SR-p53" in page
    assert "http" not in page
    measured = [name for name, found in report["assays"].items() if found["metrics"]]
    drawn = ["ROC", "precision-recall", "reliability", *(f"decision curve {name}" for name in measured)]
    assert re.findall("alt='([^']*)'", page) == drawn
    cells = report["assays"]["NR-AhR"]["confusion"]
    told = [cells[name] for name in ("true_positive", "false_negative", "false_positive", "true_negative")]
    assert "".join(f"<td>{count}</td>" for count in told) in page
    assert f"{report['novelty']['warned']:.1%} of these cases lie farther" in page
    assert report["novelty"]["limits"]["distance"]["warn_above"] == card(made[0])["ood"]["warn_above"]
    assert "does not measure how unlike" not in page
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["metrics"] == report["metrics"]


def test_what_was_learned_from_is_no_evidence(made: tuple[Path, list[str]], data: Path, tmp_path: Path) -> None:
    report = evaluate(made[0], data, tmp_path / "out", split="test")
    assert report["data"]["was_learned_from"] is True
    assert report["data"]["n"] == card(made[0])["evidence"][2]["n"]
    assert "no evidence" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="no split 'a'"):
        evaluate(made[0], data, tmp_path / "z", split="a")


def test_a_table_without_an_assay_or_without_results_is_refused(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    rows = rows_of(make_molecules()[:20])
    with pytest.raises(InputError, match="lacks the column NR-AhR"):
        evaluate(made[0], write_table(tmp_path / "a.csv", rows, without=["NR-AhR"]), tmp_path / "out")
    empty = [row | dict.fromkeys(ASSAYS, "") for row in rows]
    with pytest.raises(InputError, match="nothing to measure"):
        evaluate(made[0], write_table(tmp_path / "b.csv", empty), tmp_path / "out")


def test_nothing_is_learned_from_one_result(tmp_path: Path) -> None:
    rows = [row | {"SR-ARE": "0"} for row in rows_of(make_molecules())]
    write_table(tmp_path / "tox21.csv", rows)
    with pytest.raises(InputError, match=r"SR-ARE .* one result"):
        train("toxicity", tmp_path, tmp_path / "out", SETTINGS, lambda _: None)
    assert not (tmp_path / "out").exists()
    stopping = [one["text"] for one in report_data("toxicity", tmp_path, tmp_path / "report", SETTINGS)["problems"]
                if one["stops_training"]]  # fmt: skip
    assert stopping == ["Of SR-ARE all but one fold have one result only; nothing can be learned from that."]


def test_an_assay_of_which_nothing_was_learned_is_named_before_the_rest_is_learned(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folds the answers on NR-AhR are the wrong way round; its card would contradict itself in the end."""
    chance = np.random.default_rng(0)

    def out_of_fold(learned: MoleculeTensors, *_: Any) -> Any:
        said = 2 * np.nan_to_num(learned.truth) + chance.normal(0, 1, learned.truth.shape)
        said[:, ASSAYS.index("NR-AhR")] *= -1
        return np.repeat(said[:, None], len(PARTS) + 1, axis=1)

    monkeypatch.setattr(toxicity, "out_of_fold", out_of_fold)
    monkeypatch.setattr(toxicity, "learn_blend", lambda *_, **__: pytest.fail("it went on learning"))
    with pytest.raises(TrainingError, match=r"Nothing was learned of NR-AhR: .*more molecules .*--out"):
        train("toxicity", data, tmp_path / "out", SETTINGS, lambda _: None)


def test_the_data_are_described_before_anything_is_learned(data: Path, tmp_path: Path) -> None:
    rows = rows_of(make_molecules())
    rows += [rows[0] | {"mol_id": "again", "NR-ER": "1"}, {"mol_id": "broken", "smiles": "C1CC"}]
    report = report_data("toxicity", write_table(tmp_path / "t.csv", rows), tmp_path / "out", {})
    assert report["n"] == 240
    assert (report["n_patients"], report["unit"]) == (12, "skeletons")
    assert report["per_class"] == {"active in none": 120, "active in some": 120}
    assert [entry["name"] for entry in report["unusable"]] == ["again", "broken"]
    assert "contradict each other in NR-ER" in report["unusable"][0]["reason"]
    assert report["columns"]["SR-p53"]["missing"] == pytest.approx(240 / 9, abs=1)
    assert not any(problem["stops_training"] for problem in report["problems"])


def scored(n: int = 300, seed: int = 0) -> ScoredMolecules:
    """Molecules of 30 skeletons and two assays: the one is known of all, the other of half."""
    chance = np.random.default_rng(seed)
    truth = (chance.random((n, 2)) < 0.3).astype(float)
    logits = truth * 2 + chance.normal(0, 1.5, (n, 2))
    truth[::2, 1] = np.nan
    ones = np.ones(n, np.int64)
    return ScoredMolecules(
        [str(i % 30) for i in range(n)], truth, 1 / (1 + np.exp(-logits)), logits[:, None], ones, ones
    )


def test_figures_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score, balanced_accuracy_score, brier_score_loss, roc_auc_score

    found, given = report_on(scored(), {"a": 0.4, "b": 0.6}, ("only",)), scored()
    for column, (name, threshold) in enumerate((("a", 0.4), ("b", 0.6))):
        known = np.isfinite(given.truth[:, column])
        truth, said = given.truth[known, column], given.probability[known, column]
        expected = {
            "auc": roc_auc_score(truth, said), "pr_auc": average_precision_score(truth, said),
            "balanced_accuracy": balanced_accuracy_score(truth, said >= threshold),
            "brier": brier_score_loss(truth, said),
        }  # fmt: skip
        measured = found["assays"][name]["metrics"]
        assert {key: measured[key]["value"] for key in expected} == pytest.approx(expected, abs=1e-5)
        assert found["assays"][name]["n"] == known.sum()
    both = [found["assays"][name]["metrics"]["auc"]["value"] for name in "ab"]
    assert found["metrics"]["auc"]["value"] == pytest.approx(np.mean(both), abs=1e-5)
    assert found["metrics"]["auc_only"]["value"] == found["metrics"]["auc"]["value"]
    assert mean_auc(given.truth, given.parts[:, 0]) == pytest.approx(found["metrics"]["auc"]["value"], abs=1e-5)


def test_intervals_count_skeletons_and_not_molecules() -> None:
    """Ten copies of each molecule are no more evidence than one, if they are of its skeleton."""
    one = scored(100)
    copies = ScoredMolecules(
        list(one.scaffolds) * 10,
        *(
            np.concatenate([array] * 10)
            for array in (one.truth, one.probability, one.parts, one.n_atoms, one.n_molecules)
        ),
    )
    narrow = dataclasses.replace(copies, scaffolds=[str(i) for i in range(1000)])
    widths = []
    for given in (one, copies, narrow):
        low, high = report_on(given, {"a": 0.4, "b": 0.6}, ())["metrics"]["auc"]["ci95"]
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0], rel=1e-6)
    assert widths[2] < widths[0] / 2


def test_an_assay_of_which_nothing_is_known_is_left_out() -> None:
    given = scored()
    given.truth[:, 1] = np.nan
    found = report_on(given, {"a": 0.4, "b": 0.6}, ())
    assert found["left_out"] == ["b"]
    assert found["metrics"]["auc"] == found["assays"]["a"]["metrics"]["auc"]


def test_probabilities_are_frequencies_and_the_threshold_lies_between_the_classes() -> None:
    chance = np.random.default_rng(4)
    truth = (chance.random((4000, 2)) < (0.05, 0.4)).astype(float)
    logits = 3 * (2 * truth - 1 + chance.normal(0, 1, truth.shape))
    truth[chance.random(truth.shape) < 0.2] = np.nan
    decisions = decide(truth, logits, ASSAYS[:2])
    said = probabilities_of(logits, decisions)
    for column, decision in enumerate(decisions):
        known = np.isfinite(truth[:, column])
        assert decision.n == known.sum()
        assert said[known, column].mean() == pytest.approx(truth[known, column].mean(), abs=0.01)
        assert decision.sensitivity == pytest.approx(decision.specificity, abs=0.04)
        assert decision.ece_after < decision.ece_before
        called = said[known, column] >= decision.threshold
        assert called[truth[known, column] == 1].mean() == pytest.approx(decision.sensitivity)
    assert decisions[0].threshold < 0.25 < decisions[1].threshold
    assert roc_auc(truth[known, 1] == 1, said[known, 1]) == pytest.approx(
        roc_auc(truth[known, 1] == 1, logits[known, 1])
    )

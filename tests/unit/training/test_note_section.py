"""The whole recipe on made-up dialogues: it learns, exports what it learned, and its card says how that was judged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from medviewer.domain.anchor import CharacterSpan
from medviewer.domain.case import Case
from medviewer.domain.errors import InputError, ModelError, UsageError
from medviewer.explain.methods import explain
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.training import report_data, train
from medviewer.training.evaluate import evaluate
from tests import data_models, fakes
from tests.dialogue_maker import PUBLISHED, SECOND_TEST, make_rows, write_encoder, write_published, write_table

SETTINGS = {
    "epochs": "2", "lstm_epochs": "12", "n_folds": "2", "hidden": "16", "batch": "4", "length": "48", "window": "32",
    "lstm_rate": "0.01",
}  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def made(data: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    lines: list[str] = []
    out = tmp_path_factory.mktemp("models") / "note-section"
    yield train("note-section", data, out, {**SETTINGS, "encoder": str(encoder)}, lines.append), lines
    shutil.rmtree(out)


def card(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return document


def test_every_part_learns(made: tuple[Path, list[str]]) -> None:
    """Chance is a third; each part is judged by dialogues that it did not learn from."""
    folds = next(one for one in card(made[0])["evidence"] if one["split"] == "folds")
    assert folds["metrics"]["accuracy_linear"]["value"] > 0.9
    assert folds["metrics"]["accuracy_probe"]["value"] > 0.6
    assert folds["metrics"]["accuracy_lstm"]["value"] > 0.6
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in made[1] if line.startswith("epoch 1:")]
    later = [float(line.split("loss ")[1].split(",")[0]) for line in made[1] if line.startswith("epoch 2:")]
    assert np.mean(later) < np.mean(losses)


def test_the_card_tells_what_chose_and_what_judged(made: tuple[Path, list[str]]) -> None:
    found = card(made[0])
    assert [one["split"] for one in found["evidence"]] == ["folds", "validation", "test-1"]
    compared = found["training"]["compared"]
    assert len(compared) == 15
    assert compared["+".join(found["training"]["parts"])] == max(compared.values())
    assert found["training"]["validation"]["value"] == pytest.approx(max(compared.values()), abs=1e-4)
    assert found["evidence"][2]["metrics"]["accuracy"]["ci95"]
    assert [one["name"] for one in found["evidence"][2]["classes"]] == ["ALLERGY", "FAM_SOCHX", "MEDICATIONS"]
    text = (made[0] / "README.md").read_text(encoding="utf-8")
    assert "| FAM_SOCHX | 7 |" in text
    licence = (made[0] / "LICENSE").read_text(encoding="utf-8")
    assert "MTS-Dialog" not in text + licence  # these are not the published dialogues
    assert found["licences"]["weights"].endswith("training began with the encoder all-MiniLM-L6-v2 (Apache-2.0)")


def test_the_graph_answers_as_it_was_learned(made: tuple[Path, list[str]]) -> None:
    with Engine(Catalogue([made[0].parent]), providers=("cpu",)) as engine:
        (found,) = engine.verify("note-section-own")
    assert found.passed
    assert found.largest_error < 1e-4


def test_a_note_is_answered_explained_by_its_words_and_refused_in_another_language(
    made: tuple[Path, list[str]],
) -> None:
    note = make_rows(1, seed=77)[0][3]
    german = "Der Patient hat seit dem Morgen Schmerzen und ist nicht mit dem Auto gekommen, sagt die Frau."
    with Engine(Catalogue([made[0].parent]), providers=("cpu",)) as engine:
        answer = engine.ask(Case(note=note), "note-section-own")
        why = explain(engine, Case(note=note), "note-section-own", "occlusion", finding="ALLERGY")
        foreign = engine.ask(Case(note=german), "note-section-own")
    assert answer.status == "answer"
    assert max(answer.findings, key=lambda one: one.probability).label == "ALLERGY"
    assert sum(one.probability for one in answer.findings) == pytest.approx(1)
    strongest = why.anchors[int(np.argmax(why.saliency))]
    assert isinstance(strongest, CharacterSpan)
    assert strongest.text in {"allergic", "penicillin", "rash", "latex"}
    assert foreign.status == "abstained"
    assert any(guard.code.startswith("language") for guard in foreign.guards)


def test_it_is_evaluated_on_a_table(made: tuple[Path, list[str]], data: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "new.csv", make_rows(30, seed=9))
    report = evaluate(made[0], table, tmp_path / "out")
    assert report["data"]["n"] == 30
    assert report["data"]["was_learned_from"] is False
    assert report["metrics"]["accuracy"]["value"] > 0.9
    assert set(report["metrics"]) >= {"top3_accuracy", "macro_f1", "ece", "log_loss"}
    assert np.trace(report["confusion"]["counts"]) == round(30 * report["metrics"]["accuracy"]["value"])
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    matrix = page.split("Confusion matrix")[1]
    assert "<tr><th></th><th></th><th>1</th><th>2</th><th>3</th></tr>" in matrix
    assert f"<tr><td>3</td><td>{report['confusion']['classes'][2]}</td><td></td><td></td><td>10</td></tr>" in matrix
    assert "http" not in page
    assert [entry["n"] for entry in report["one_against_rest"]["classes"]] == [10, 10, 10]
    assert report["one_against_rest"]["macro"]["auc"]["value"] > 0.9
    assert "alt='ROC'" in page
    assert "alt='precision-recall'" in page
    assert "Drawn are all 3 classes" in page
    assert "does not measure how unlike a case is to those that it learned from; its guards check language" in page
    again = evaluate(made[0], data, tmp_path / "again", split="training")
    assert again["data"]["was_learned_from"] is True
    with pytest.raises(UsageError, match="no table 'z'"):
        evaluate(made[0], data, tmp_path / "z", split="z")


def test_short_and_long_dialogues_are_set_against_each_other(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    rows = [(*row[:3], row[3] if n < 15 else "\n".join([row[3]] * 4)) for n, row in enumerate(make_rows(30, seed=9))]
    report = evaluate(made[0], write_table(tmp_path / "new.csv", rows), tmp_path / "out")
    groups = {group["name"]: group for group in report["subgroups"]}
    short, long = groups["up to 40 words"], groups["41 to 100 words"]
    assert short["n"] == long["n"] == 15
    gap = short["metrics"]["accuracy"]["value"] - long["metrics"]["accuracy"]["value"]
    assert short["gaps"]["accuracy"]["value"] == pytest.approx(gap, abs=2e-5)
    assert "Gaps between groups" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_table_of_one_section_has_no_curves(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    rows = [row for row in make_rows(30, seed=9) if row[1] == "ALLERGY"]
    report = evaluate(made[0], write_table(tmp_path / "one.csv", rows), tmp_path / "out")
    assert report["one_against_rest"]["macro"]["auc"] == {"value": None, "ci95": None}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "nothing to tell apart" in page
    assert "alt='ROC'" not in page


def test_rows_that_cannot_be_used_are_listed(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    rows = make_rows(12, seed=9)
    odd = [("90", "ALLERGY", "", " "), ("91", "PLAN", "", "Doctor: Come again."), ("92", "NaN", "", "Doctor: Yes.")]
    odd += [("93", "ALLERGY", "", "nan")]
    report = evaluate(made[0], write_table(tmp_path / "odd.csv", [*rows, *odd]), tmp_path / "out")
    assert report["data"]["n"] == 12
    said = {entry["file"].split("(ID ")[1].rstrip(")"): entry["reason"] for entry in report["data"]["unusable"]}
    assert said == {
        "90": "its dialogue is empty",
        "91": "the model does not know its section PLAN",
        "92": "it names no section",
        "93": "its dialogue is empty",
    }


def test_a_class_without_a_case_has_no_figure(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    rows = [row for row in make_rows(30, seed=9) if row[1] != "ALLERGY"]
    report = evaluate(made[0], write_table(tmp_path / "two.csv", rows), tmp_path / "out")
    one = next(entry for entry in report["classes"] if entry["name"] == "ALLERGY")
    assert (one["n"], one["recall"]) == (0, None)
    assert report["metrics"]["macro_f1"]["value"] > 0.9
    assert "No case is of these classes" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_what_the_viewer_would_refuse_is_counted(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    german = "Arzt: Der Patient ist nicht mit dem Auto gekommen, und die Frau sagt, das Kind ist auch krank."
    rows = [*make_rows(9, seed=9), ("90", "ALLERGY", "", german), ("91", "ALLERGY", "", "Doctor: " + "the rash " * 60)]
    report = evaluate(made[0], write_table(tmp_path / "odd.csv", rows), tmp_path / "out")
    assert report["guards"]["abstain: language"] == 1
    assert report["guards"]["warn: cut_note"] >= 1


def test_answers_that_are_no_numbers_are_an_error(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder = shutil.copytree(made[0], tmp_path / "broken")
    network = onnx.load(folder / "model.onnx")
    for tensor in network.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            nothing = np.full_like(onnx.numpy_helper.to_array(tensor), np.nan)
            tensor.CopyFrom(onnx.numpy_helper.from_array(nothing, tensor.name))
    onnx.save(network, folder / "model.onnx")
    document = card(folder)
    entries = [fakes.file_entry(one["role"], folder / one["path"]) for one in document["files"]]
    fakes.write_card(folder, {**document, "files": entries})
    with pytest.raises(ModelError, match="not numbers"):
        evaluate(folder, write_table(tmp_path / "a.csv", make_rows(6)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_that_needs_more_than_a_note_is_refused(tmp_path: Path) -> None:
    folder = data_models.make("fusion", tmp_path / "fusion")
    with pytest.raises(UsageError, match="one class of a note"):
        evaluate(folder, write_table(tmp_path / "a.csv", make_rows(6)), tmp_path / "out")


def test_a_table_of_other_sections_is_refused(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    rows = [(row[0], "PLAN", row[2], row[3]) for row in make_rows(6)]
    with pytest.raises(InputError, match="No dialogue is of a section"):
        evaluate(made[0], write_table(tmp_path / "a.csv", rows), tmp_path / "out")


def test_the_training_table_by_itself_is_known_by_its_name(tmp_path: Path) -> None:
    rows = make_rows(12, seed=9)
    table = write_table(tmp_path / "MTS-Dialog-TrainingSet-2.csv", rows)
    assert report_data("note-section", table, tmp_path, {})["n"] == 12
    with pytest.raises(
        InputError, match=r"^new\.csv is not the training table; its name must begin with MTS-Dialog-Tr"
    ):
        report_data("note-section", write_table(tmp_path / "new.csv", rows), tmp_path, {})


def test_a_dialogue_that_judges_is_not_learned_from(data: Path, encoder: Path, tmp_path: Path) -> None:
    """The same words with other spaces and capitals are the same dialogue."""
    for name in PUBLISHED.values():
        shutil.copy(data / name, tmp_path / name)
    copy = make_rows(21, seed=1)[5]
    shouted = (copy[0], copy[1], copy[2], copy[3].upper().replace(" ", "  "))
    write_table(tmp_path / PUBLISHED["training"], [*make_rows(45), shouted])
    report = report_data("note-section", tmp_path, tmp_path / "report", {})
    assert report["splits"]["training"]["n"] == 45
    (told,) = report["unusable"]
    assert told["reason"] == "the same dialogue is in validation"


def test_the_second_test_table_judges_and_is_not_learned_from(
    made: tuple[Path, list[str]], data: Path, tmp_path: Path
) -> None:
    """Not even as that which takes copies out of the training table: what it holds changes nothing there."""
    for name in PUBLISHED.values():
        shutil.copy(data / name, tmp_path / name)
    write_table(tmp_path / SECOND_TEST, [*make_rows(24, seed=5), make_rows(45)[0]])
    report = evaluate(made[0], tmp_path, tmp_path / "out", split="test-2")
    assert report["data"]["split"] == "test-2"
    assert report["data"]["n"] == 25
    assert report["data"]["was_learned_from"] is False
    assert evaluate(made[0], tmp_path, tmp_path / "all")["data"]["n"] == 45 + 2 * 21 + 25
    held = report_data("note-section", tmp_path, tmp_path / "report", {})
    assert list(held["splits"]) == ["training", "validation", "test-1"]
    assert held["splits"]["training"]["n"] == 45
    told: list[str] = []
    (tmp_path / PUBLISHED["training"]).unlink()
    with pytest.raises(InputError, match="lacks the training table"):
        train("note-section", tmp_path, tmp_path / "model", SETTINGS, told.append)
    assert told == [f"not used: {SECOND_TEST}: left for `medviewer evaluate`"]


def test_nothing_is_learned_without_a_training_table(data: Path, tmp_path: Path) -> None:
    shutil.copy(data / PUBLISHED["validation"], tmp_path / PUBLISHED["validation"])
    with pytest.raises(InputError, match="lacks the training table"):
        train("note-section", tmp_path, tmp_path / "out", SETTINGS, lambda _: None)
    assert not (tmp_path / "out").exists()


def test_nothing_is_learned_of_two_sections(tmp_path: Path) -> None:
    write_table(tmp_path / PUBLISHED["training"], [row for row in make_rows(30) if row[1] != "ALLERGY"])
    with pytest.raises(InputError, match="2 sections"):
        train("note-section", tmp_path, tmp_path / "out", SETTINGS, lambda _: None)


def test_a_section_that_only_one_table_has_stops_nothing(tmp_path: Path) -> None:
    write_published(tmp_path)
    rows = [row for row in make_rows(21, seed=1) if row[1] != "ALLERGY"]
    rows[0] = (rows[0][0], "IMAGING", *rows[0][2:])
    write_table(tmp_path / PUBLISHED["validation"], rows)
    report = report_data("note-section", tmp_path, tmp_path / "report", {})
    told = {one["text"]: one["stops_training"] for one in report["problems"]}
    assert told["The part validation has no case of ALLERGY."] is False
    assert told["The part training has no case of IMAGING."] is False
    assert not any(told.values())


def test_a_table_of_nothing_that_is_learned_is_refused_before_anything_is(tmp_path: Path) -> None:
    write_published(tmp_path)
    write_table(tmp_path / PUBLISHED["validation"], [(n, "IMAGING", *rest) for n, _, *rest in make_rows(9, seed=1)])
    for ask in (train, lambda *given: report_data(*given[:4])):
        with pytest.raises(InputError, match="no dialogue of a section that is learned"):
            ask("note-section", tmp_path, tmp_path / "out", {}, lambda _: None)

"""Assessing a model on images made here: what lands on its card, what is refused, and going on after a stop."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medviewer.domain.errors import CardError, InputError, Stopped, UsageError
from medviewer.domain.progress import StopToken
from medviewer.explain import methods as table
from medviewer.explain.question import Question, Saliency
from medviewer.inference.card import read_card
from medviewer.training import assess as assessing
from medviewer.training import sanity_card
from medviewer.training.assess import Plan, assess
from medviewer.training.card_page import MADE, sanity_lines
from medviewer.training.sanity_card import next_version, write_sanity
from tests import fakes

PLAN = Plan(n=6, n_few=2, splits=("all",))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "films"
    for number, image in enumerate(fakes.images(12)):
        folder = root / ("NORMAL" if number % 2 else "PNEUMONIA")
        folder.mkdir(parents=True, exist_ok=True)
        grey = (image[0] - image.min()) / np.ptp(image) * 255
        Image.fromarray(np.uint8(grey)).save(folder / f"person{number}_virus_{number}.png")
    return root


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)


def test_what_was_measured_lands_on_the_card_and_the_networks_stay(model: Path, films: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir() if path.name != "model.json"}
    (model / "README.md").write_text("written by hand", encoding="utf-8")
    seen: list[tuple[int, int]] = []
    found = assess(
        model,
        films,
        work=tmp_path / "work.jsonl",
        plan=PLAN,
        progress=lambda done, total, _: seen.append((done, total)),
    )
    assert write_sanity(model, found) == ("1.2.4", False)
    card = read_card(model)
    assert card.version == "1.2.4"
    assert card.explain is not None
    assert set(card.explain.verdicts) == {"grad-cam", "integrated-gradients", "occlusion"}
    for figures in card.document["explain"]["sanity"]["methods"].values():
        assert figures["n"] == 6
        assert figures["repeated"] == {"n": 2, "largest_difference": 0.0, "passed": True}
        assert figures["randomised"]["layers"] == [1, 2]
    assert {name: (model / name).read_bytes() for name in before} == before
    assert (model / "README.md").read_text(encoding="utf-8") == "written by hand"
    assert [done for done, _ in seen] == list(range(len(seen)))
    assert {total for _, total in seen} == {seen[-1][0]}


def test_a_model_beside_it_of_its_id_is_not_measured_in_its_place(model: Path, films: Path, tmp_path: Path) -> None:
    alone = assess(model, films, work=tmp_path / "alone.jsonl", plan=PLAN)
    graph = fakes.model_graph(head=-fakes.HEAD)
    fakes.make_model(model.parent / "another", version="2.0.0", graph=graph, reference=False)  # the first by its name
    assert assess(model, films, work=tmp_path / "beside.jsonl", plan=PLAN)["methods"] == alone["methods"]


def test_a_trained_network_is_told_from_a_shuffled_one(
    model: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grad-CAM follows the weights; a method that draws the edges of the picture does not, and is found out."""

    def edges(question: Question) -> Saliency:
        return Saliency(np.abs(np.gradient(question.tensor[0])[0]).astype(np.float32))

    occlusion = next(row for row in table.METHODS if row.id == "occlusion")  # it needs nothing but the network
    row = replace(occlusion, id="edges", title="Edges", run=edges)
    monkeypatch.setattr(table, "METHODS", (*table.METHODS, row))
    document = json.loads((model / "model.json").read_text(encoding="utf-8"))
    document["explain"]["methods"] = ["grad-cam", "edges"]
    fakes.write_card(model, document)
    found = assess(model, films, work=tmp_path / "work.jsonl", plan=PLAN)["methods"]
    assert found["edges"]["randomised"]["rank"] == [1.0, 1.0]
    assert not found["edges"]["randomised"]["passed"]
    assert "hardly change" in found["edges"]["verdict"]["en"]
    assert found["grad-cam"]["randomised"]["rank"][-1] < 0.5
    assert found["grad-cam"]["randomised"]["passed"]


def test_a_run_that_was_stopped_goes_on_where_it_ended(model: Path, films: Path, tmp_path: Path) -> None:
    stop, work = StopToken(), tmp_path / "work.jsonl"

    def stop_at_seven(done: int, _total: int, _text: str) -> None:
        if done == 7:
            stop.stop()

    with pytest.raises(Stopped):
        assess(model, films, work=work, plan=PLAN, stop=stop, progress=stop_at_seven)
    kept = work.read_text(encoding="utf-8").splitlines()
    assert len(kept) >= 7
    work.write_text("\n".join(kept) + '\n{"kind": "judg', encoding="utf-8")  # killed in the middle of a line
    found = assess(model, films, work=work, plan=PLAN)
    assert work.read_text(encoding="utf-8").splitlines()[: len(kept)] == kept
    assert found == assess(model, films, work=tmp_path / "anew.jsonl", plan=PLAN)


def test_what_was_measured_of_another_question_is_not_taken(model: Path, films: Path, tmp_path: Path) -> None:
    work = tmp_path / "work.jsonl"
    assess(model, films, work=work, plan=PLAN)
    first = work.read_text(encoding="utf-8")
    changed = first.replace('"deletion": false', '"deletion": true')
    work.write_text(changed.replace('"n_random": 19', '"n_random": 39'), encoding="utf-8")
    assess(model, films, work=work, plan=PLAN)
    assert sorted(work.read_text(encoding="utf-8").splitlines()) == sorted(first.splitlines())


def test_when_the_time_is_over_what_there_is_counts(model: Path, films: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--minutes"):
        assess(model, films, work=tmp_path / "none.jsonl", plan=replace(PLAN, minutes=-1))
    work = tmp_path / "work.jsonl"
    assess(model, films, work=work, plan=replace(PLAN, n=3))
    found = assess(model, films, work=work, plan=replace(PLAN, n_few=3, minutes=-1))
    assert {figures["n"] for figures in found["methods"].values()} == {3}
    assert {figures["grain"]["n"] for figures in found["methods"].values()} == {2}


def test_methods_share_the_time(model: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a slow machine ends in the midst of the second image: no method goes without."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(assessing, "time", clock)

    def run_out(done: int, _total: int, _text: str) -> None:
        clock.now = 1e12 if done > 3 else 0.0

    found = assess(model, films, work=tmp_path / "work.jsonl", plan=replace(PLAN, minutes=1), progress=run_out)
    assert [figures["n"] for figures in found["methods"].values()] == [2, 1, 1]


def test_boxes_say_where_to_point(model: Path, films: Path, tmp_path: Path) -> None:
    """A box over the whole image is hit always, one beside it never; blind luck is what they cover."""
    names = sorted(path.name for path in (films / "PNEUMONIA").iterdir())
    table_path = films.parent / "films.boxes.csv"
    rows = [f"{name},0,0,{32 if number else 1},{32 if number else 0}" for number, name in enumerate(names)]
    table_path.write_text("\n".join(["file,x,y,width,height", *rows]), encoding="utf-8")
    try:
        found = assess(model, films, work=tmp_path / "work.jsonl", plan=PLAN)["methods"]["occlusion"]["pointing"]
        assert (found["n"], round(found["value"] * 6), found["blind"]) == (6, 5, pytest.approx(5 / 6, abs=1e-3))
        table_path.write_text("file,x\na,1", encoding="utf-8")
        with pytest.raises(InputError, match=r"films\.boxes\.csv cannot be used"):
            assess(model, films, work=tmp_path / "other.jsonl", plan=PLAN)
    finally:
        table_path.unlink()


def test_an_image_that_cannot_be_used_is_named(model: Path, films: Path, tmp_path: Path) -> None:
    shutil.copytree(films, tmp_path / "films")
    for path in (tmp_path / "films" / "PNEUMONIA").iterdir():
        Image.new("L", (32, 32), 90).save(path)
    with pytest.raises(InputError, match=r"^PNEUMONIA/person\d+_virus_\d+\.png: The image is one grey all over"):
        assess(model, tmp_path / "films", work=tmp_path / "work.jsonl", plan=PLAN)


def test_only_held_out_patients_are_used(model: Path, films: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--split all"):
        assess(model, films, work=tmp_path / "work.jsonl", plan=replace(PLAN, splits=("tune", "block")))
    document = json.loads((model / "model.json").read_text(encoding="utf-8"))
    document["training"]["split"] = {"seed": 0, "block": 0.34, "tune": 0.0, "report": 0.0}
    fakes.write_card(model, document)
    found = assess(model, films, work=tmp_path / "work.jsonl", plan=replace(PLAN, splits=("block",)))
    assert found["held_out"]
    assert 0 < found["n"] < 6
    used = {json.loads(line)["image"] for line in (tmp_path / "work.jsonl").read_text().splitlines()[1:]}
    from medviewer.training.data import find_images, split_patients

    where = split_patients((i.group for i in find_images(films, ("NORMAL", "PNEUMONIA")).images), 0,
                           block=0.34, tune=0.0, report=0.0)  # fmt: skip
    groups = {i.name: i.group for i in find_images(films, ("NORMAL", "PNEUMONIA")).images}
    assert {where[groups[name]] for name in used} == {"block"}


def sanity_of(model: Path, **changes: Any) -> dict[str, Any]:
    share = {"value": 0.5, "ci95": [0.4, 0.6]}
    figures = {
        "n": 9,
        "deletion": share,
        "insertion": share,
        "both": share,
        "verdict": {"en": "So so.", "zh": "一般。"},
    }
    return {
        "network_sha256": read_card(model).sha256,
        "held_out": True,
        "split": "tune",
        "digest": "0" * 64,
        "n": 9,
        "n_random": 19,
        "n_few": 2,
        "methods": {"grad-cam": figures},
    } | changes


def test_figures_of_another_network_are_refused(model: Path) -> None:
    before = (model / "model.json").read_bytes()
    with pytest.raises(CardError, match="assess it again"):
        write_sanity(model, sanity_of(model, network_sha256="1" * 64))
    assert (model / "model.json").read_bytes() == before
    document = json.loads(before)
    document["explain"]["sanity"] = sanity_of(model, network_sha256="1" * 64)
    fakes.write_card(model, document)
    with pytest.raises(CardError, match="another network"):
        read_card(model)


def test_what_would_be_no_valid_card_is_not_written(model: Path) -> None:
    before = (model / "model.json").read_bytes()
    with pytest.raises(CardError):
        write_sanity(model, sanity_of(model, methods={"grad-cam": {"n": 9}}))
    assert (model / "model.json").read_bytes() == before


def test_the_page_made_from_the_card_says_it_too(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model / "README.md").write_text(MADE, encoding="utf-8")
    monkeypatch.setattr(sanity_card, "readme", lambda card: "\n".join([MADE, *sanity_lines(card)]))
    write_sanity(model, sanity_of(model))
    written = (model / "README.md").read_text(encoding="utf-8")
    assert "| grad-cam | 9 | 50% (40% to 60%) |" in written
    assert "- grad-cam: So so." in written


def test_versions_go_up() -> None:
    assert [next_version(v) for v in ("1.0.9", "2.1.0-beta")] == ["1.0.10", "2.1.1"]

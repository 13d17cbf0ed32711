"""Which model is ready: the reader's choice stays wherever it may be asked, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.application import Application
from medviewer.app.conditions import may_run
from medviewer.app.model_choice import refusal, suited_model
from medviewer.app.start import running_application
from medviewer.domain.study import Image
from medviewer.inference.card import Card, read_card
from medviewer.inference.catalogue import Catalogue
from tests import data_models, fakes
from tests.conftest import InlineExecutor
from tests.radiographs import write_radiograph


@pytest.fixture
def cards(tmp_path: Path) -> tuple[Card, Card, Card]:
    """Of the breast (first by its name), of the chest, and a copy of it in fewer bits."""
    chest = read_card(fakes.make_model(tmp_path / "chest"))
    spec = chest.inputs[0]
    breast = replace(chest, id="breast", inputs=(replace(spec, modality=("US",), body_part=("BREAST",), view=()),))
    return breast, chest, replace(chest, id=f"{chest.id}@int8")


def image(**changes: Any) -> Image:
    return Image(Path("a.dcm"), 0, "1.2", fakes.make_frame(**changes).description)


def test_an_image_that_the_chosen_model_would_refuse_gets_one_that_may_be_asked(cards: tuple[Card, ...]) -> None:
    film, scan = image(), image(modality="US", body_part_examined="BREAST", view_position="")
    breast, chest, small = cards
    assert suited_model(cards, "breast", film) == chest.id
    assert suited_model(cards, "", film) == chest.id
    assert suited_model(cards, chest.id, scan) == "breast"
    assert suited_model(cards, chest.id, film) == chest.id
    assert suited_model(cards, small.id, film) == small.id, "what the reader chose stays"
    assert suited_model((breast, small), "breast", film) == "breast", "a copy is never chosen by itself"


def test_a_model_of_an_image_and_a_record_may_be_asked_in_the_window_and_comes_after_those_of_an_image(
    cards: tuple[Card, ...], tmp_path: Path
) -> None:
    _, chest, _ = cards
    both = read_card(data_models.make("film", tmp_path / "film"))
    assert refusal(both, image()) == ""
    assert "CT" in refusal(both, image(modality="CT"))
    assert suited_model((both, chest), "", image()) == chest.id
    assert suited_model((both, chest), both.id, image()) == both.id


def test_where_no_model_may_be_asked_the_choice_stays(cards: tuple[Card, ...]) -> None:
    knee = image(body_part_examined="KNEE")
    assert suited_model(cards, "breast", knee) == "breast"
    assert suited_model((), "gone", knee) == "gone"


def test_what_is_ready_follows_the_images_on_screen(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chest = fakes.make_model(tmp_path / "models" / "chest")
    document = json.loads((chest / "model.json").read_text(encoding="utf-8"))
    breast = fakes.make_model(tmp_path / "models" / "breast")
    fakes.write_card(breast, {**document, "id": "a-breast", "inputs": [{**document["inputs"][0], "modality": ["US"]}]})
    monkeypatch.setattr(application.engine, "catalogue", Catalogue([tmp_path / "models"]))
    application.session.update(model_id="a-breast")
    film = write_radiograph(tmp_path / "film.dcm")
    scan = write_radiograph(tmp_path / "scan.dcm", patient_id="B2", Modality="US")
    for path, expected in ((film, fakes.MODEL_ID), (scan, "a-breast"), (film, fakes.MODEL_ID)):
        application.run_command("file.open_files", [path])
        assert application.state.selection is not None
        assert application.state.model_id == expected


def test_an_image_that_was_there_before_the_models_gets_one_that_may_be_asked(
    tmp_path: Path, medviewer_home: Path
) -> None:
    chest = fakes.make_model(tmp_path / "models" / "chest")
    document = json.loads((chest / "model.json").read_text(encoding="utf-8"))
    breast = fakes.make_model(tmp_path / "models" / "breast")
    fakes.write_card(breast, {**document, "id": "a-breast", "inputs": [{**document["inputs"][0], "modality": ["US"]}]})
    engine = fakes.FakeEngine(Catalogue([tmp_path / "models"]))
    with running_application(medviewer_home, lambda call: call(), engine, InlineExecutor, has_models=False) as app:
        app.run_command("file.open_files", [write_radiograph(tmp_path / "film.dcm")])
        assert app.state.frame is not None
        assert (app.state.model_id, may_run(app.state)) == ("", False)
        app.adopt_models()
        assert (app.state.model_id, may_run(app.state)) == (fakes.MODEL_ID, True)
        assert app.state.provider.startswith("Will run on"), "it is opened ahead, as with every image"
    engine.close()


def test_why_there_would_be_no_result_is_told_in_the_readers_language(cards: tuple[Card, ...]) -> None:
    breast, chest, _ = cards
    assert refusal(chest, image()) == ""
    assert refusal(breast, image()) == "The image is CR; the model is only for US."
    assert "US" in refusal(breast, image(), language="zh")
    assert refusal(breast, image(), language="zh") != refusal(breast, image())

"""An int8 copy: it computes the same network, it is measured, and what is not worth it is not written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from medviewer.cli import main
from medviewer.domain.errors import UsageError
from medviewer.inference.card import read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.training import lighter
from tests import fakes
from tests.radiographs import write_films

VARIANT = f"{fakes.MODEL_ID}@int8"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_films(tmp_path_factory.mktemp("data") / "films", 60)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    card["training"]["split"] = {"seed": 0, "block": 0.2, "tune": 0.3, "report": 0.1}
    fakes.write_card(folder, card)
    return folder


@pytest.fixture
def is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lighter, "_speed", lambda *_: 2.0)


def test_eight_bits_give_nearly_what_the_network_gives() -> None:
    images = [image.astype(np.float32) for image in fakes.images(40)]
    small = lighter.quantised(fakes.model_graph().SerializeToString(), "x", images)
    session = onnxruntime.InferenceSession(small, providers=["CPUExecutionProvider"])
    said = session.run(["logits"], {"x": np.stack(images)})[0]
    exact = fakes.forward(np.stack(images))["logits"]
    assert 0 < np.abs(said - exact).max() < 0.1
    assert np.corrcoef(said[:, 0], exact[:, 0])[0, 1] > 0.99


@pytest.mark.usefixtures("is_fast")
def test_a_copy_that_is_worth_it_lies_beside_the_network_and_answers(model: Path, films: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    out = tmp_path / "out" / fakes.MODEL_ID
    found = lighter.lighten(model, films, out)
    assert found.problems == ()
    assert found.n >= 20
    assert found.size == (out / lighter.file_name("int8")).stat().st_size
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    entry = next(entry for entry in Catalogue([out.parent]).entries if entry.id == VARIANT)
    assert entry.problem == ""
    assert entry.card is not None
    assert entry.card.version == "1.2.4+int8"
    drift = json.loads((out / "model.json").read_text(encoding="utf-8"))["variants"][0]["drift"]
    assert drift["measured"] == round(found.drift, 6)
    assert 0 < drift["measured"] <= drift["bound"]
    with Engine(Catalogue([out.parent]), providers=("cpu",), threads=1) as engine:
        assert [found.passed for found in engine.verify(VARIANT)] == [True]


def test_what_is_no_faster_is_not_written(
    model: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lighter, "_speed", lambda *_: 1.49)
    told: list[str] = []
    found = lighter.lighten(model, films, tmp_path / "out", progress=told.append)
    assert found.problems == ("it is 1.49 times as fast on this machine, 1.5 times is wanted",)
    assert f"not worth it: {found.problems[0]}" in told
    assert not (tmp_path / "out").exists()
    lighter.lighten(model, films, tmp_path / "out", force=True)
    assert (tmp_path / "out" / lighter.file_name("int8")).is_file()


@pytest.mark.usefixtures("is_fast")
@pytest.mark.parametrize(("bound", "value"), [("DRIFT_ALLOWED", 1e-9), ("AUC_LOST", -1.0)])
def test_what_differs_too_much_is_never_written(
    model: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: float
) -> None:
    monkeypatch.setattr(lighter, bound, value)
    found = lighter.lighten(model, films, tmp_path / "out", force=True)
    assert len(found.problems) == 1
    assert not (tmp_path / "out").exists()


def test_the_two_are_timed_beside_each_other() -> None:
    class Session:
        def __init__(self, took: float) -> None:
            self.took = took

        def run(self, *_: object) -> None:
            clock[0] += self.took

    clock = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lighter, "perf_counter", lambda: clock[0])
        assert lighter._speed([Session(0.3), Session(0.1)], {}) == pytest.approx(3.0)


@pytest.mark.usefixtures("is_fast")
def test_wrong_models_and_places_are_refused_first(model: Path, films: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already there"):
        lighter.lighten(model, films, tmp_path / "models")
    out = tmp_path / "out" / fakes.MODEL_ID
    lighter.lighten(model, films, out)
    with pytest.raises(UsageError, match="has the variant int8"):
        lighter.lighten(out, films, tmp_path / "again")
    with pytest.raises(UsageError, match="one label"):
        lighter._check(replace(read_card(model), runtime="rule"), tmp_path / "other", "int8")


def test_on_the_command_line_what_is_not_kept_ends_with_3(
    model: Path, films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["models", "--models", str(model.parent), "lighten", fakes.MODEL_ID, "--data", str(films)]
    monkeypatch.setattr(lighter, "_speed", lambda *_: 1.0)
    assert main([*words, "--out", str(tmp_path / "out")]) == 3
    assert "Not kept: it is 1.00 times as fast on this machine" in capsys.readouterr().out
    monkeypatch.setattr(lighter, "_speed", lambda *_: 1.6)
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["schema"], printed["kept"], printed["problems"]) == ("medviewer.models-lighten/2", True, [])

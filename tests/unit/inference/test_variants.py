"""A copy of a network in fewer bits: listed with its own test, used only by name, and its answers say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.errors import CardError, ModelError, UsageError
from medviewer.explain.methods import methods_for
from medviewer.inference.card import read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.variants import is_variant, variants_of
from tests import fakes
from tests.unit.inference.test_neighbours import SECTION
from tests.unit.inference.test_neighbours import arrays as near_arrays
from tests.variant_models import FP16, make


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    make(tmp_path / fakes.MODEL_ID)
    with Engine(Catalogue([tmp_path]), providers=("cpu",), threads=1) as engine:
        yield engine


def test_it_is_listed_beside_its_model_and_says_what_it_is(tmp_path: Path) -> None:
    make(tmp_path / fakes.MODEL_ID)
    first, second = Catalogue([tmp_path]).entries
    assert (first.id, second.id) == (fakes.MODEL_ID, FP16)
    assert not is_variant(first.id)
    assert is_variant(second.id)
    assert second.card is not None
    assert second.card.title.en == "Fake chest model (fp16, differs by up to 0.002)"
    assert second.card.title.zh == "胸片测试模型（fp16，差异至多 0.002）"
    assert [method.id for method in methods_for(second.card)] == ["occlusion"]  # no gradient of another network


@pytest.mark.reliability
def test_its_answers_are_its_own_and_say_so(engine: Engine) -> None:
    """Other digest, other version: never to be taken for the full model's, which stays as it was."""
    case = fakes.make_case()
    full, coarse = engine.ask(case, fakes.MODEL_ID), engine.ask(case, FP16)
    assert coarse.provenance.model_id == FP16
    assert coarse.provenance.model_version == "1.2.3+fp16"
    file = next(f for f in engine.catalogue.card(fakes.MODEL_ID).files if f.role == "fp16")
    assert coarse.provenance.model_sha256 == file.sha256 != full.provenance.model_sha256
    assert not coarse.provenance.is_same_question(full.provenance)
    gap = abs(coarse.findings[0].probability - full.findings[0].probability)
    assert 0 < gap < 0.01
    x = fakes.images(2)
    np.testing.assert_allclose(engine.run(fakes.MODEL_ID, {"x": x})["logits"], fakes.forward(x)["logits"], atol=1e-6)


def test_training_cases_of_the_full_model_are_not_held_against_its_variant(tmp_path: Path) -> None:
    """Features of fewer bits lie elsewhere."""
    folder = tmp_path / fakes.MODEL_ID
    make(folder)
    np.savez(folder / "neighbours.npz", **near_arrays())
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    card["files"].append(fakes.file_entry("neighbours", folder / "neighbours.npz"))
    fakes.write_card(folder, card | {"neighbours": SECTION})
    with Engine(Catalogue([tmp_path]), providers=("cpu",), threads=1) as engine:
        (full,), (coarse,) = (engine.ask(fakes.make_case(), name).findings for name in (fakes.MODEL_ID, FP16))
    assert full.neighbours is not None
    assert coarse.neighbours is None


@pytest.mark.reliability
@pytest.mark.parametrize("measured", [0.0101, 1.0])
def test_one_that_drifts_beyond_its_bound_cannot_be_used(tmp_path: Path, measured: float) -> None:
    make(tmp_path / fakes.MODEL_ID, measured=measured)
    catalogue = Catalogue([tmp_path])
    assert catalogue.card(fakes.MODEL_ID).id == fakes.MODEL_ID
    with pytest.raises(ModelError, match=rf"up to {measured:g}, and at most 0.01 is allowed; choose the full model"):
        catalogue.card(FP16)


@pytest.mark.reliability
def test_one_that_does_not_give_its_reference_answers_here_is_not_run(tmp_path: Path) -> None:
    """What its card says is not believed: on this computer it is compared with the full network's known answers."""
    make(tmp_path / fakes.MODEL_ID, graph=fakes.model_graph(head=2 * fakes.HEAD[:1]))
    with Engine(Catalogue([tmp_path]), providers=("cpu",), threads=1) as engine:
        assert engine.ask(fakes.make_case(), fakes.MODEL_ID).status == "answer"
        with pytest.raises(ModelError, match="differs by"):
            engine.ask(fakes.make_case(), FP16)


def test_why_one_of_a_model_that_cannot_be_used_is_refused_is_said(tmp_path: Path) -> None:
    """“No model” would send the reader to look for a file that is there."""
    make(tmp_path / "a")
    make(tmp_path / "b")
    card = json.loads((tmp_path / "b" / "model.json").read_text(encoding="utf-8"))
    fakes.write_card(tmp_path / "b", card | {"version": "9.9.9"})
    models = Catalogue([tmp_path])
    with pytest.raises(ModelError, match=f"{FP16} cannot be used. More than one model folder has the id"):
        models.card(FP16)
    with pytest.raises(UsageError, match="There is no model “other@int8”"):
        models.card("other@int8")
    one = Catalogue([tmp_path / "nowhere", make(tmp_path / "c" / fakes.MODEL_ID).parent])
    with pytest.raises(UsageError, match=f"There is no model “{fakes.MODEL_ID}@int8”"):
        one.card(f"{fakes.MODEL_ID}@int8")


def test_changed_bytes_are_not_run(tmp_path: Path) -> None:
    folder = make(tmp_path / fakes.MODEL_ID)
    (folder / "model.fp16.onnx").write_bytes(fakes.model_graph().SerializeToString())
    assert {entry.id for entry in Catalogue([tmp_path]).entries if entry.card} == set()


@pytest.mark.parametrize(
    ("name", "value"), [("bound", 0), ("measured", -1), ("n", 0), ("n", None), ("data", None), ("bound", "0.1")]
)
def test_a_variant_without_a_whole_test_is_no_valid_card(tmp_path: Path, name: str, value: Any) -> None:
    folder = make(tmp_path / fakes.MODEL_ID)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    drift = card["variants"][0]["drift"]
    if value is None:
        del drift[name]
    else:
        drift[name] = value
    fakes.write_card(folder, card)
    with pytest.raises(CardError, match="not valid at variants/0/drift"):
        read_card(folder)


def test_a_file_of_another_role_is_no_variant(tmp_path: Path) -> None:
    folder = make(tmp_path / fakes.MODEL_ID)
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    card["variants"][0]["file"] = "model.onnx"
    fakes.write_card(folder, card)
    [(variant_id, found, problem)] = variants_of(read_card(folder))
    assert (variant_id, found) == (FP16, None)
    assert "not among its files with the role “fp16”" in problem


def test_a_card_without_variants_has_none(tmp_path: Path) -> None:
    assert list(variants_of(read_card(fakes.make_model(tmp_path / "m")))) == []

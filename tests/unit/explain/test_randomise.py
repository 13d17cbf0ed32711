"""Shuffled networks: both graphs forget the same, from the output down, and the files of the model stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from medviewer.domain.errors import ModelError
from medviewer.explain import randomise
from medviewer.inference.card import Card, read_card
from medviewer.inference.catalogue import Catalogue
from tests import fakes


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return read_card(fakes.make_model(tmp_path_factory.mktemp("models") / "fake"))


def answer(folder: Path, role: str, x: np.ndarray) -> dict[str, np.ndarray]:
    name = {"model": "model.onnx", "explain": "model.explain.onnx"}[role]
    session = ort.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
    inputs = {"x": x} | ({"selector": np.ones((len(x), 1), np.float32)} if role == "explain" else {})
    outputs = [output.name for output in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, inputs), strict=True))


def test_layers_are_shuffled_from_the_output_down(card: Card, tmp_path: Path) -> None:
    assert randomise.n_layers(card) == 2
    x = fakes.images(2)
    trained = fakes.forward(x)
    upper = answer(randomise.write_randomised(card, tmp_path / "one", 1), "model", x)
    assert np.allclose(upper["features"], trained["features"], atol=1e-5)
    assert not np.allclose(upper["logits"], trained["logits"], atol=1e-2)
    whole = answer(randomise.write_randomised(card, tmp_path / "two", 2), "model", x)
    assert not np.allclose(whole["features"], trained["features"], atol=1e-2)
    none = answer(randomise.write_randomised(card, tmp_path / "none", 0), "model", x)
    assert np.array_equal(none["logits"], answer(card.folder, "model", x)["logits"])


@pytest.mark.parametrize("layers", [1, 2])
def test_both_graphs_forget_the_same_and_the_gradients_are_those_of_the_shuffled_network(
    card: Card, tmp_path: Path, layers: int
) -> None:
    """The gradient is compared with finite differences of the graph that answers."""
    folder = randomise.write_randomised(card, tmp_path / "shuffled", layers)
    x = fakes.images(1)
    logits, found = answer(folder, "model", x)["logits"], answer(folder, "explain", x)
    assert np.allclose(found["logits"], logits, atol=1e-5)
    randomise.check_agreement({"model": logits, "explain": found["logits"]}, card.id)
    step, at = 1e-2, (0, 0, 9, 13)
    moved = [x.copy(), x.copy()]
    moved[0][at] -= step
    moved[1][at] += step
    low, high = (float(answer(folder, "model", one)["logits"][0, 0]) for one in moved)
    assert (high - low) / (2 * step) == pytest.approx(float(found["d_x"][at]), rel=2e-2, abs=1e-5)


def test_a_graph_that_still_knows_what_the_other_forgot_is_noticed(card: Card, tmp_path: Path) -> None:
    folder = randomise.write_randomised(card, tmp_path / "shuffled", 2)
    x = fakes.images(2)
    half = {"model": answer(folder, "model", x)["logits"], "explain": answer(card.folder, "explain", x)["logits"]}
    with pytest.raises(ModelError, match="cannot be randomised alike"):
        randomise.check_agreement(half, card.id)


def test_weights_are_found_however_the_gradient_lays_them_out() -> None:
    chance = np.random.default_rng(0)
    before, after = chance.random((6, 4, 3, 3)), chance.random((6, 4, 3, 3))
    for layout in (
        lambda w: w,
        lambda w: w.swapaxes(0, 1),
        lambda w: w[..., ::-1, ::-1],
        lambda w: w[..., ::-1, ::-1].swapaxes(0, 1),
        lambda w: w.reshape(24, 9),
    ):
        assert np.array_equal(randomise._like(layout(before), before, after), layout(after))
    assert randomise._like(chance.random((6, 4, 3, 3)), before, after) is None


def test_the_model_itself_is_not_touched_and_the_shuffled_one_is_a_valid_model(card: Card, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in card.folder.iterdir()}
    folder = randomise.write_randomised(card, tmp_path / "models" / "shuffled", 2)
    assert {path.name: path.read_bytes() for path in card.folder.iterdir()} == before
    entry = Catalogue([folder.parent]).entries[0]
    assert entry.problem == ""
    assert entry.card is not None
    assert entry.card.sha256 != card.sha256
    assert entry.card.file("reference") is None  # it holds the answers of the trained network

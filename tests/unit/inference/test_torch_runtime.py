"""PyTorch files: run only where this machine's own training wrote them, and only in the worker."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medviewer.domain.errors import ModelError, UnsafeModelError
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.runtimes import torch as runtime
from medviewer.inference.trust import TrustList
from tests import data_models, fakes

pytestmark = [pytest.mark.torch]
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
CASE = data_models.table_case


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with an exported module; the same arithmetic as the tiny network for ONNX."""

    class Linear(torch.nn.Module):
        def __init__(self, weights: np.ndarray) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.from_numpy(weights))

        def forward(self, table_values: torch.Tensor, table_mask: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": torch.cat([table_values, table_mask], dim=1) @ self.weights}

    folder = tmp_path_factory.mktemp("models") / "linear"
    data_models.make("table", folder)
    (folder / "model.onnx").unlink()
    inputs = [data_models.table_input()]
    example = {"table_values": torch.zeros(2, 5), "table_mask": torch.ones(2, 5)}
    batch = torch.export.Dim("batch", max=64)
    shapes = {name: {0: batch} for name in example}
    network = Linear(data_models.weights(inputs, 2))
    exported = torch.export.export(network, (), kwargs=example, dynamic_shapes=shapes)
    torch.export.save(exported, folder / "model.pt2")
    x = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    arrays = {"table_values": x, "table_mask": np.ones_like(x)}
    known = data_models.forward(inputs, "multilabel", arrays).astype(np.float32)
    np.savez(folder / "reference.npz", **{f"input.{k}": v for k, v in arrays.items()}, **{"output.logits": known})
    files = [
        fakes.file_entry(role, folder / name) for role, name in (("model", "model.pt2"), ("reference", "reference.npz"))
    ]
    fakes.write_card(folder, {**data_models.card("table", inputs, files), "runtime": "torch"})
    return folder


def trusting(folder: Path, tmp_path: Path) -> TrustList:
    trust = TrustList(tmp_path / "trained-here.json")
    trust.add(json.loads((folder / "model.json").read_bytes())["files"][0]["sha256"])
    return trust


def test_what_was_trained_here_gives_what_its_arithmetic_says(made: Path, tmp_path: Path) -> None:
    with Engine(Catalogue([made.parent], trust=trusting(made, tmp_path)), threads=2) as engine:
        answer = engine.ask(CASE(), "tiny-table")
        assert answer.status == "answer"
        assert (answer.provenance.runtime, answer.provenance.provider) == ("torch", "CPUExecutionProvider")
        assert answer.provenance.versions["torch"] == torch.__version__
        x = np.random.default_rng(2).normal(size=(8, 5)).astype(np.float32)
        for n in (1, 3, 8):
            batch = {"table_values": x[:n], "table_mask": np.ones_like(x[:n])}
            found = engine.run("tiny-table", batch)["logits"]
            expected = data_models.forward([data_models.table_input()], "multilabel", batch)
            np.testing.assert_allclose(found, expected, atol=1e-5)
        (verified,) = engine.verify("tiny-table")
        assert (verified.passed, verified.runtime, verified.n) == (True, "torch", 3)


def test_anybody_elses_file_is_never_opened(made: Path, tmp_path: Path) -> None:
    for trust in (None, TrustList(tmp_path / "none.json")):
        (entry,) = Catalogue([made.parent], trust=trust).entries
        assert "own training did not write it" in entry.problem
    with Engine(Catalogue([made.parent], trust=trusting(made, tmp_path))) as engine:
        source = engine._source(engine.catalogue.card("tiny-table"), "model")
    assert source.is_trusted
    with pytest.raises(UnsafeModelError, match="any code"):
        runtime.open(replace(source, is_trusted=False))


def test_a_trusted_digest_does_not_cover_a_changed_file(made: Path, tmp_path: Path) -> None:
    trust = trusting(made, tmp_path)
    copy = tmp_path / "models" / "linear"
    shutil.copytree(made, copy)
    data = bytearray((copy / "model.pt2").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.pt2").write_bytes(data)
    (entry,) = Catalogue([copy.parent], trust=trust).entries
    assert "not the file that its card describes" in entry.problem


def test_a_file_that_does_not_give_its_reference_answer_is_not_used(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "models" / "linear"
    shutil.copytree(made, copy)
    with np.load(copy / "reference.npz") as known:
        arrays = {name: known[name] + (name == "output.logits") for name in known.files}
    np.savez(copy / "reference.npz", **arrays)
    card = json.loads((copy / "model.json").read_bytes())
    card["files"][1] = fakes.file_entry("reference", copy / "reference.npz")
    fakes.write_card(copy, card)
    with Engine(Catalogue([copy.parent], trust=trusting(made, tmp_path))) as engine:
        with pytest.raises(ModelError, match="reference"):
            engine.ask(CASE(), "tiny-table")


def test_where_torch_is_absent_the_model_is_listed_with_that_reason(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = trusting(made, tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    (entry,) = Catalogue([made.parent], trust=trust).entries
    assert r"medviewer[torch]" in entry.problem


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"sha256": 3}', b'{"sha256": ["abc", 1]}', b"x" * (2 << 20)])
def test_a_list_that_is_none_trusts_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trained-here.json"
    path.write_bytes(content)
    assert TrustList(path).digests() == frozenset()


def test_a_list_behind_a_link_trusts_nothing(tmp_path: Path) -> None:
    trust = TrustList(tmp_path / "real.json")
    trust.add("a" * 64)
    trust.add("b" * 64)
    assert trust.digests() == {"a" * 64, "b" * 64}
    (tmp_path / "link.json").symlink_to(trust.path)
    assert TrustList(tmp_path / "link.json").digests() == frozenset()
    with pytest.raises(ValueError, match="not-a-digest"):
        trust.add("not-a-digest")

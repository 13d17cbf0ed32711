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
from medviewer.domain.progress import no_progress
from medviewer.explain.methods import methods_for
from medviewer.explain.question import Question
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.memory import is_out_of_memory
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


class Tiny(torch.nn.Module):
    """The tiny network of :mod:`tests.fakes`, with its weights."""

    def __init__(self, *, gives_map: bool = True) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, fakes.FILTERS, fakes.STRIDE, fakes.STRIDE)
        self.head = torch.nn.Linear(fakes.FILTERS, len(fakes.BIAS))
        self.gives_map = gives_map
        with torch.no_grad():
            for parameter, values in zip(
                self.parameters(), (fakes.KERNELS, fakes.SHIFTS, fakes.HEAD, fakes.BIAS), strict=True
            ):
                parameter.copy_(torch.from_numpy(values))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        feature_map = torch.relu(self.first(x))
        features = feature_map.mean(dim=(2, 3))
        found = {"logits": self.head(features), "features": features}
        return found | {"feature_map": feature_map} if self.gives_map else found


def image_model(folder: Path, *, gives_map: bool = True) -> Path:
    """The tiny network as this machine's own training would export it: a ``.pt2`` file and no gradient graph."""
    fakes.make_model(folder, labels=("pneumonia", "effusion", "nodule"))
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    example = torch.zeros(2, 1, fakes.SIZE, fakes.SIZE)
    shapes = {"x": {0: torch.export.Dim("batch", max=64)}}
    exported = torch.export.export(Tiny(gives_map=gives_map).eval(), (), kwargs={"x": example}, dynamic_shapes=shapes)
    torch.export.save(exported, folder / "model.pt2")
    for name in ("model.onnx", "model.explain.onnx"):
        (folder / name).unlink()
    kept = [entry for entry in card["files"] if entry["role"] in {"reference", "ood"}]
    with np.load(folder / "reference.npz") as known:
        arrays = {name: known[name] for name in known.files if name != "output.cam"}
    np.savez(folder / "reference.npz", **arrays)
    kept = [fakes.file_entry(entry["role"], folder / entry["path"]) for entry in kept]
    outputs = [entry for entry in card["outputs"] if entry["name"] != "cam"]
    changes = {"files": [fakes.file_entry("model", folder / "model.pt2"), *kept], "outputs": outputs}
    card["explain"]["methods"] = ["grad-cam", "saliency", "integrated-gradients", "gradient-shap", "occlusion"]
    fakes.write_card(folder, {**card, **changes, "runtime": "torch"})
    return folder


def test_a_module_is_differentiated_as_it_is(tmp_path: Path) -> None:
    """Gradients as worked out by hand in :func:`tests.fakes.gradients`, and as captum gives them."""
    from captum.attr import IntegratedGradients, Saliency

    folder = image_model(tmp_path / "models" / "tiny")
    images = fakes.images(3)
    selector = np.zeros((3, 3), np.float32)
    selector[:, 1] = 1
    expected = fakes.gradients(images, selector)
    with Engine(Catalogue([folder.parent], trust=trusting(folder, tmp_path)), threads=1) as engine:
        card = engine.catalogue.card(fakes.MODEL_ID)
        found = engine.run(card.id, {"x": images, "selector": selector}, role="explain", outputs=list(expected))
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-5, err_msg=name)
        assert {row.id for row in methods_for(card)} == set(card.explain.methods if card.explain else ())
        question = Question(engine, card, images[0], 1, None, no_progress)
        mine = {row.id: row.run(question).values for row in methods_for(card)}
    network = Tiny().eval()
    given = torch.from_numpy(images[:1]).requires_grad_()
    theirs = Saliency(lambda x: network(x)["logits"]).attribute(given, target=1, abs=False)[0, 0].detach().numpy()
    np.testing.assert_allclose(mine["saliency"], np.abs(theirs), atol=1e-5)
    baseline = torch.full_like(given, float(images[0].mean(dtype=np.float64)))
    by = IntegratedGradients(lambda x: network(x)["logits"])
    theirs = by.attribute(given, baseline, target=1, n_steps=32, method="gausslegendre")[0, 0].detach().numpy()
    assert 1 - np.corrcoef(mine["integrated-gradients"].ravel(), theirs.ravel())[0, 1] < 1e-6


def test_a_module_without_a_feature_map_says_so_and_the_worker_lives(tmp_path: Path) -> None:
    folder = image_model(tmp_path / "models" / "tiny", gives_map=False)
    with Engine(Catalogue([folder.parent], trust=trusting(folder, tmp_path)), threads=1) as engine:
        card = engine.catalogue.card(fakes.MODEL_ID)
        question = Question(engine, card, fakes.images(1)[0], 0, None, no_progress)
        rows = {row.id: row for row in methods_for(card)}
        with pytest.raises(ModelError, match="does not give its last feature map"):
            rows["grad-cam"].run(question)
        assert np.isfinite(rows["saliency"].run(question).values).all()


def test_gradients_of_a_model_of_values_are_refused(made: Path, tmp_path: Path) -> None:
    x = np.ones((1, 5), np.float32)
    with Engine(Catalogue([made.parent], trust=trusting(made, tmp_path)), threads=1) as engine:
        inputs = {"table_values": x, "table_mask": x, "selector": np.ones((1, 2), np.float32)}
        with pytest.raises(ModelError, match="one image"):
            engine.run("tiny-table", inputs, role="explain", outputs=["d_x"])


def test_pytorch_really_says_so_where_memory_runs_out() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(1 << 45)
    assert is_out_of_memory(failed.value)
    assert is_out_of_memory(torch.OutOfMemoryError("any words"))

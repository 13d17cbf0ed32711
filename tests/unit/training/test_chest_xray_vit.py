"""The transformer's recipe on made-up films; weights from elsewhere; and whether one model is better than another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medviewer.domain.errors import InputError, UsageError
from medviewer.explain.methods import explain, methods_for
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.training import train

pytest.importorskip("torch", reason="needs the training extra")
import torch

from medviewer.training.film_comparison import ALL, paired
from medviewer.training.networks import EfficientNetLite0, Served
from medviewer.training.networks_vit import SmallViT, at_side
from medviewer.training.parts import read_parts
from medviewer.training.recipes import chest_xray, chest_xray_vit
from medviewer.training.recipes.chest_xray_vit_card import card_document
from medviewer.training.request import Request
from medviewer.training.vit_weights import load_timm_weights
from tests import fakes

pytestmark = [
    pytest.mark.torch,
    # The exporter and its parts warn about themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:torch"),
]

SETTINGS = {
    "sizes": "32,32,32", "finish": "0", "batch": "16", "strength": "0.2", "average": "0.8", "n_validation": "4",
    "patch": "8", "width": "16", "depth": "2", "heads": "2", "backbone_rate": "0.01", "head_rate": "0.02", "threads": "1",
}  # fmt: skip
SHAPE: dict[str, Any] = {"size": 32, "patch": 8, "width": 16, "depth": 2, "heads": 2}


def film(chance: np.random.Generator, is_sick: bool) -> np.ndarray:
    """Two dark ovals; a bright patch in one of them if sick."""
    row, column = np.mgrid[0:48, 0:40] / 48
    image = 0.7 - 0.4 * ((np.abs(column - 0.42) > 0.08) & (np.abs(column - 0.42) < 0.28) & (np.abs(row - 0.5) < 0.35))
    if is_sick:
        y, x = chance.uniform(0.3, 0.7), chance.choice([0.24, 0.6])
        image = image + 0.5 * np.exp(-((row - y) ** 2 + (column - x) ** 2) / 0.01)
    return np.asarray(np.clip(image + chance.normal(0, 0.03, image.shape), 0, 1))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("data") / "films"
    chance = np.random.default_rng(0)
    for number in range(48):
        for path, is_sick in (
            (root / f"NORMAL/IM-{number:04d}-0001.jpeg", False),
            (root / f"PNEUMONIA/person{number}_{('virus', 'bacteria')[number % 2]}_{number}.jpeg", True),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.uint8(255 * film(chance, is_sick))).save(path, quality=95)
    return root


@pytest.fixture(scope="module")
def trained(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train("chest-xray-vit", films, tmp_path_factory.mktemp("models") / "model", SETTINGS, lambda _: None)


@pytest.fixture(scope="module")
def beside(trained: Path, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second one, compared with the first."""
    settings = SETTINGS | {"depth": "1", "beside": str(trained)}
    return train("chest-xray-vit", films, tmp_path_factory.mktemp("models") / "model", settings, lambda _: None)


def card(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return document


@pytest.mark.slow
def test_the_loss_falls_and_the_card_says_what_it_is(trained: Path) -> None:
    document = card(trained)
    losses = [entry["loss"] for entry in document["training"]["history"]]
    assert losses[-1] < losses[0]
    assert document["id"] == document["training"]["recipe"] == "chest-xray-vit"
    assert document["explain"]["grid"] == [4, 4]
    assert document["training"]["config"]["pretrained"] is False
    assert [output["name"] for output in document["outputs"]] == [
        "logits", "features", "cam", "appearance", "rollout",
    ]  # fmt: skip
    assert "EfficientNet" not in (trained / "LICENSE").read_text(encoding="utf-8")
    assert "EfficientNet" not in (trained / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_it_is_loaded_and_its_attention_and_gradients_are_shown(trained: Path) -> None:
    with Engine(Catalogue([trained.parent]), providers=("cpu",)) as engine:
        (found,) = engine.verify("chest-xray-vit")
        ids = [method.id for method in methods_for(engine.catalogue.card("chest-xray-vit"))]
        case = fakes.make_case()
        maps = {name: explain(engine, case, "chest-xray-vit", name, n_random=0) for name in ids}
    assert found.passed
    assert set(ids) == {"attention-rollout", "grad-cam", "integrated-gradients", "occlusion"}
    assert np.isclose(maps["attention-rollout"].saliency.sum(), 1, atol=1e-4)
    assert maps["grad-cam"].saliency.shape == (4, 4)
    assert maps["integrated-gradients"].saliency.shape == (32, 32)
    assert maps["integrated-gradients"].error is not None
    assert maps["integrated-gradients"].error < 0.05  # what the gradients add up to is the change of the logit


@pytest.mark.slow
def test_it_is_compared_on_the_held_out_patients(trained: Path, beside: Path) -> None:
    found = card(beside)["training"]["beside"]
    report = next(one for one in card(beside)["evidence"] if one["split"] == "report")
    assert found["split"] == "report"
    assert found["n"] == report["n"]
    assert found["sha256"] == sha_of(trained)
    plain = found["auc"]["as it is"]
    assert np.isclose(plain["auc"], report["metrics"]["auc"]["value"], atol=1e-3)
    theirs = next(one for one in card(trained)["evidence"] if one["split"] == "report")
    assert np.isclose(plain["auc_beside"], theirs["metrics"]["auc"]["value"], atol=1e-3)
    assert "above zero if this model is better" in (beside / "README.md").read_text(encoding="utf-8")


def sha_of(folder: Path) -> str:
    from medviewer.inference.card import read_card

    return read_card(folder).sha256


@pytest.mark.slow
def test_a_model_of_another_split_or_other_data_is_not_compared(trained: Path, films: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"sizes": "32", "beside": str(trained)}
    with pytest.raises(UsageError, match="another split"):
        train("chest-xray-vit", films, tmp_path / "seed", settings | {"seed": "1"}, lambda _: None)
    more = tmp_path / "more"
    for path in films.rglob("*.jpeg"):
        (more / path.parent.name).mkdir(parents=True, exist_ok=True)
        (more / path.parent.name / path.name).write_bytes(path.read_bytes())
    next(more.rglob("person7_*.jpeg")).unlink()
    with pytest.raises(UsageError, match="other data"):
        train("chest-xray-vit", more, tmp_path / "other", settings, lambda _: None)


def test_published_weights_must_be_given(films: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="weights=FILE"):
        train("chest-xray-vit", films, tmp_path / "out", SETTINGS | {"pretrained": "true"}, lambda _: None)


# The network


def test_another_size_is_another_grid_and_the_attention_still_sums_to_one() -> None:
    torch.manual_seed(0)
    network = SmallViT(1, **SHAPE, is_early=True).eval()
    with torch.inference_mode():
        for size in (32, 48):
            f, (flow,) = network.maps(torch.randn(2, 1, size, size))
            assert f.shape == (2, 16, size // 8, size // 8)
            torch.testing.assert_close(flow.sum(dim=(1, 2)), torch.ones(2))


def test_positions_of_another_grid_keep_their_places() -> None:
    grid = torch.linspace(0, 1, 16).reshape(1, 4, 4, 1).expand(1, 4, 4, 8)  # rises along rows and columns
    found = at_side(grid.reshape(1, 16, 8), 8).reshape(8, 8, 8)
    assert (found[:, :, 0].diff(dim=0) > 0).all()
    assert (found[:, :, 0].diff(dim=1) > 0).all()
    assert at_side(found.reshape(1, 64, 8), 8).shape == (1, 64, 8)


def test_what_is_served_names_its_outputs() -> None:
    for network in (SmallViT(1, **SHAPE).eval(), EfficientNetLite0().eval()):
        served = Served(network)
        with torch.inference_mode():
            given = served(torch.randn(2, 1, 32, 32))
        assert len(given) == len(served.outputs)
        bias = given[0] - given[2].mean(dim=(2, 3))
        torch.testing.assert_close(bias, network.linear.bias.expand(2, 1))


# Weights from elsewhere, by timm's names


def timm_file(path: Path, changes: Mapping[str, torch.Tensor | None] | None = None, prefixes: int = 1) -> Path:
    import safetensors.torch

    changes = changes or {}
    torch.manual_seed(3)
    state = {
        "cls_token": torch.randn(1, 1, 16),
        "pos_embed": torch.randn(1, prefixes + 16, 16),
        "patch_embed.proj.weight": torch.randn(16, 3, 8, 8),
        "patch_embed.proj.bias": torch.randn(16),
        "norm.weight": torch.randn(16),
        "norm.bias": torch.randn(16),
        "head.weight": torch.randn(1000, 16),
        "head.bias": torch.randn(1000),
    }
    for i in range(2):
        for name, shape in (
            ("norm1", (16,)), ("norm2", (16,)), ("attn.qkv", (48, 16)), ("attn.proj", (16, 16)),
            ("mlp.fc1", (64, 16)), ("mlp.fc2", (16, 64)),
        ):  # fmt: skip
            state[f"blocks.{i}.{name}.weight"] = torch.randn(*shape)
            state[f"blocks.{i}.{name}.bias"] = torch.randn(shape[0])
    state |= {name: tensor for name, tensor in changes.items() if tensor is not None}
    kept = {name: tensor for name, tensor in state.items() if changes.get(name, tensor) is not None}
    safetensors.torch.save_file(kept, path)
    return path


def timm_forward(state: dict[str, torch.Tensor], colour: torch.Tensor) -> torch.Tensor:
    """The mean of the last tokens as timm's blocks give it, without a class token, written out anew."""
    layer_norm, linear = torch.nn.functional.layer_norm, torch.nn.functional.linear
    x = torch.nn.functional.conv2d(colour, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], 8)
    x = x.flatten(2).transpose(1, 2) + state["pos_embed"][:, 1:]
    for i in range(2):
        own = {name.removeprefix(f"blocks.{i}."): t for name, t in state.items() if name.startswith(f"blocks.{i}.")}
        y = layer_norm(x, (16,), own["norm1.weight"], own["norm1.bias"], 1e-6)
        q, k, v = linear(y, own["attn.qkv.weight"], own["attn.qkv.bias"]).reshape(2, 16, 3, 2, 8).permute(2, 0, 3, 1, 4)
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 16, 16)
        x = x + linear(y, own["attn.proj.weight"], own["attn.proj.bias"])
        y = layer_norm(x, (16,), own["norm2.weight"], own["norm2.bias"], 1e-6)
        y = torch.nn.functional.gelu(linear(y, own["mlp.fc1.weight"], own["mlp.fc1.bias"]))
        x = x + linear(y, own["mlp.fc2.weight"], own["mlp.fc2.bias"])
    return layer_norm(x, (16,), state["norm.weight"], state["norm.bias"], 1e-6).mean(1)


def test_published_weights_give_what_they_gave_in_colour(tmp_path: Path) -> None:
    import safetensors.torch

    path = timm_file(tmp_path / "vit.safetensors")
    network = SmallViT(1, **SHAPE).eval()
    load_timm_weights(network, path)
    grey = torch.randn(2, 1, 32, 32)
    expected = timm_forward(safetensors.torch.load_file(path), grey.expand(2, 3, 32, 32))
    with torch.inference_mode():
        torch.testing.assert_close(network.features(grey).mean(dim=(2, 3)), expected, atol=1e-4, rtol=1e-4)


def test_positions_are_fitted_to_the_grid_and_those_of_other_tokens_left_out(tmp_path: Path) -> None:
    positions = torch.cat([torch.full((1, 2, 16), 99.0), torch.zeros(1, 49, 16)], dim=1)
    path = timm_file(tmp_path / "deit.safetensors", {"pos_embed": positions, "dist_token": torch.zeros(1, 1, 16)})
    network = SmallViT(1, **SHAPE)
    load_timm_weights(network, path)
    assert network.positions.shape == (1, 16, 16)
    assert network.positions.abs().max() == 0


def test_a_model_that_averages_keeps_its_last_norm_under_another_name(tmp_path: Path) -> None:
    none: dict[str, Any] = {"norm.weight": None, "norm.bias": None, "cls_token": None}
    named = {"fc_norm.weight": torch.ones(16), "fc_norm.bias": torch.full((16,), 0.5)}
    path = timm_file(tmp_path / "gap.safetensors", none | named, prefixes=0)
    network = SmallViT(1, **SHAPE)
    load_timm_weights(network, path)
    assert (network.norm.bias == 0.5).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blocks.1.mlp.fc1.bias": None}, "lacks “blocks.1.mlp.fc1.bias”"),
        ({"blocks.2.norm1.weight": torch.zeros(16)}, "holds “blocks.2.norm1.weight”"),
        ({"blocks.0.attn.qkv.weight": torch.zeros(96, 32)}, r"“blocks.0.attn.qkv.weight”.*\(96, 32\).*\(48, 16\)"),
        ({"patch_embed.proj.weight": torch.zeros(16, 3, 16, 16)}, r"“patch_embed.proj.weight”.*\(16, 1, 16, 16\)"),
        ({"pos_embed": torch.zeros(1, 17, 32)}, "“pos_embed”"),
        ({"pos_embed": torch.zeros(1, 13, 16)}, "12 squares"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_taken(
    changes: dict[str, torch.Tensor | None], words: str, tmp_path: Path
) -> None:
    network = SmallViT(1, **SHAPE)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError, match=words):
        load_timm_weights(network, timm_file(tmp_path / "bad.safetensors", changes))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_what_is_no_tensor_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "not.safetensors"
    path.write_bytes(b"PK" * 100)
    with pytest.raises(InputError, match=r"not\.safetensors"):
        load_timm_weights(SmallViT(1, **SHAPE), path)


def test_training_begins_with_the_weights_that_are_given(films: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"sizes": "32", "weights": str(timm_file(tmp_path / "vit.safetensors"))}
    still = {"backbone_rate": "0", "weight_decay": "0", "checkpoints": str(tmp_path / "run")}
    config, folders = chest_xray_vit.configured(settings | still)
    request = Request("chest-xray-vit", films, tmp_path / "out", progress=lambda _: None)
    found, parts = read_parts(films, chest_xray.CLASSES, 0, request.progress)
    network, history = chest_xray_vit.learn(found, parts, config, request, folders)
    learned = network.state_dict()
    expected = SmallViT(1, **SHAPE)
    load_timm_weights(expected, tmp_path / "vit.safetensors")
    for name, tensor in expected.state_dict().items():
        assert name.startswith("linear.") or torch.allclose(learned[name], tensor), name
    steps = chest_xray.preprocessing(32)
    document = card_document(found, config, steps, history, chest_xray.METRIC)
    assert document["training"]["config"]["pretrained"] is True
    assert str(tmp_path) not in json.dumps(document)
    assert "weights that training began with" in document["licence_text"]


# Whose AUC is higher


def test_the_difference_of_two_models_is_judged_on_the_same_draws() -> None:
    chance = np.random.default_rng(0)
    truth = np.arange(300) % 2 == 1
    hard = chance.normal(0, 1, 300)  # hard for both: alone each is uncertain, the difference is not
    first = 1.5 * truth + hard + 0.05 * chance.normal(0, 1, 300)
    second = 1.2 * truth + hard + 0.05 * chance.normal(0, 1, 300)
    patients = [str(i) for i in range(300)]
    found = paired(truth, {"plain": (first, second), "same": (first, first)}, patients)
    low, high = found["plain"]["difference"]["ci95"]
    assert 0 < low < found["plain"]["difference"]["value"] < high < 0.08
    assert found["same"]["difference"] == {"value": 0.0, "ci95": [0.0, 0.0]}
    assert np.isclose(found[ALL]["difference"]["value"], found["plain"]["difference"]["value"] / 2, atol=1e-4)
    back = paired(truth, {"plain": (second, first)}, patients)["plain"]["difference"]
    assert back["value"] == -found["plain"]["difference"]["value"]


def test_films_of_one_child_are_one_draw() -> None:
    chance = np.random.default_rng(0)
    truth = np.arange(200) // 20 % 2 == 1
    first, second = truth + chance.normal(0, 1, 200), truth + chance.normal(0, 1, 200)
    first[:20] += 3
    few = [str(i // 20) for i in range(200)]
    widths = [
        np.ptp(paired(truth, {"x": (first, second)}, whose)["x"]["difference"]["ci95"])
        for whose in ([str(i) for i in range(200)], few)
    ]
    assert widths[1] > widths[0]

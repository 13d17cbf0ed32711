from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")
pytest.importorskip("safetensors", reason="needs the torch extra")

from medviewer.cli import main  # noqa: E402
from medviewer.domain.errors import InputError  # noqa: E402
from medviewer.inference.card import read_card  # noqa: E402
from medviewer.inference.catalogue import Catalogue  # noqa: E402
from medviewer.inference.engine import Engine  # noqa: E402
from medviewer.inference.preprocessing import prepare  # noqa: E402
from medviewer.training import xrayvision  # noqa: E402
from medviewer.training.networks_densenet import DenseNet121  # noqa: E402
from medviewer.training.xrayvision import FINDINGS, import_weights, read_weights  # noqa: E402

pytestmark = pytest.mark.torch


def weights(labels: int = 18, points: bool = True) -> dict[str, Any]:
    """Random weights under TorchXRayVision's names, with or without its operating points."""
    torch.manual_seed(5)
    network = DenseNet121(n_classes=labels, n_channels=1).eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if points:
        state["op_threshs"] = torch.linspace(0.1, 0.6, labels)
    return state


def saved(path: Path, state: Any) -> Path:
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path)
    return path


class _Opens:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def op_norm(p: Any, points: Any) -> Any:
    """torchxrayvision.models.op_norm, written as its makers do."""
    expected = np.zeros_like(p)
    for n in range(len(p)):
        for i, t in enumerate(points):
            expected[n, i] = p[n, i] / (t * 2) if p[n, i] < t else 1.0 - (1.0 - p[n, i]) / ((1 - t) * 2)
    return expected


def centre_crop(film: Any) -> Any:
    """torchxrayvision.datasets.XRayCenterCrop, written as its makers do."""
    y, x = film.shape
    size = min(y, x)
    startx, starty = x // 2 - (size // 2), y // 2 - (size // 2)
    return film[starty : starty + size, startx : startx + size]


# As of the weights of CheXpert: the others have NaN, because nothing was learned for them.
SOME = tuple(i for i in range(18) if i not in (2, 5, 6, 9, 11, 12, 13))


def of_some(state: dict[str, Any]) -> dict[str, Any]:
    for index in set(range(18)) - set(SOME):
        state["op_threshs"][index] = float("nan")
    return state


@pytest.mark.slow
def test_weights_become_a_model_whose_answers_are_those_of_the_published_way(tmp_path: Path) -> None:
    state = of_some(weights())
    folder = tmp_path / "models" / "xrv"
    path = saved(tmp_path / "xrv.safetensors", state)
    assert main(["models", "import", str(path), "--set", "id=mine", "--out", str(folder)]) == 0
    card = read_card(folder)
    assert card.id == "mine"
    assert tuple(label.name for label in card.labels) == tuple(FINDINGS[i] for i in SOME)
    assert card.explain is not None
    assert card.explain.grid == (7, 7)
    x = np.random.default_rng(3).uniform(-1024, 1024, (2, 1, 224, 224)).astype(np.float32)
    with Engine(Catalogue([tmp_path / "models"]), providers=("cpu",), threads=2) as engine:
        logits = engine.run(card.id, {"x": x}, outputs=["logits"])["logits"]
    network = DenseNet121(n_classes=18, n_channels=1)
    points = state.pop("op_threshs").numpy()
    network.load_state_dict(state)
    with torch.inference_mode():
        p = torch.sigmoid(network.eval()(torch.from_numpy(x))).numpy()
    expected = op_norm(p, points)[:, SOME]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, atol=1e-5)
    assert "published operating point" in card.document["references"][1]
    assert "left out: Infiltration, Emphysema" in card.document["references"][3]
    assert "XRayCenterCrop" in card.document["references"][2]
    film = np.random.default_rng(4).integers(0, 256, (131, 90)).astype(np.float32)
    own, square = prepare(film, card.preprocessing), prepare(centre_crop(film), card.preprocessing)
    np.testing.assert_array_equal(own.tensor, square.tensor)
    assert (own.tensor.min(), own.tensor.max()) == (-1024, 1024)
    assert "each of 11 findings" in card.intended_use.en


@pytest.mark.parametrize("learned", [SOME, (8, 16), tuple(range(18)), ()])
def test_outputs_that_nothing_was_learned_for_are_no_findings(learned: tuple[int, ...]) -> None:
    """Each other output answers as in the whole network, by its own operating point."""
    state = weights()
    points = state.pop("op_threshs")
    given = torch.tensor([float(t) if i in learned else float("nan") for i, t in enumerate(points)])
    network = DenseNet121(n_classes=18, n_channels=1)
    network.load_state_dict(state)
    features = torch.rand(3, 1024, 7, 7)
    with torch.inference_mode():
        p = torch.sigmoid(network.eval().head(features)).numpy()
        served = xrayvision._served(network, given)
        found = torch.sigmoid(served.head(features)).numpy()
    kept = learned or tuple(range(18))  # NaN of all of them tells nothing of any
    assert served.findings == tuple(FINDINGS[i] for i in kept)
    expected = op_norm(p, points.numpy())[:, kept] if learned else p
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_file_without_operating_points_has_all_findings() -> None:
    state = weights(points=False)
    served = xrayvision._served(xrayvision._network(state, "w.pt"), None)
    assert (served.findings, served.points) == (FINDINGS, None)


def test_only_tensors_are_read(tmp_path: Path) -> None:
    evil = tmp_path / "was-made"
    for name, content in (
        ("whole-pickle.pt", pickle.dumps(_Opens(evil))),
        ("rubbish.pt", b"hello"),
        ("rubbish.safetensors", b"\xff" * 64),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="holds more than tensors"):
            read_weights(tmp_path / name)
    with pytest.raises(InputError, match="holds more than tensors"):
        read_weights(saved(tmp_path / "network.pt", {"a": _Opens(evil)}))
    assert not evil.exists()
    with pytest.raises(InputError, match="no state dictionary"):
        read_weights(saved(tmp_path / "list.pt", [torch.zeros(2)]))
    with pytest.raises(InputError, match="cannot be read"):
        read_weights(tmp_path / "gone.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_both_formats_give_the_same_tensors(tmp_path: Path, suffix: str) -> None:
    given = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}
    found = read_weights(saved(tmp_path / f"w{suffix}", given))
    assert set(found) == {"a", "b"}
    assert torch.equal(found["a"], given["a"])


def _broken(change: Any) -> dict[str, Any]:
    state = weights(points=False)
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("classifier.weight"), "no classifier of 18 findings"),
        (lambda s: s.update({"classifier.weight": torch.zeros(30, 1024)}), "no classifier of 18 findings"),
        (lambda s: s.pop("features.conv0.weight"), "lacks “features.conv0.weight”"),
        (lambda s: s.update({"features.conv0.weight": torch.zeros(64, 3, 7, 7)}), "has another shape"),
        (lambda s: s["features.conv0.weight"].fill_(float("nan")), "not numbers"),
    ],
)
def test_other_weights_are_refused_with_what_is_wrong(tmp_path: Path, change: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        import_weights(saved(tmp_path / "w.pt", _broken(change)), tmp_path)


@pytest.mark.parametrize("points", [None, [0.5], [0.5] * 17 + [1.5], [float("nan")] * 18])
def test_operating_points_are_used_only_where_there_is_one_for_each(points: Any) -> None:
    given = None if points is None else torch.tensor(points)
    assert xrayvision._operating_points(given, 18) is None


def test_the_command_says_what_is_missing_where_torch_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    path = tmp_path / "w.safetensors"
    path.write_bytes(b"x")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "torch" else find(name, *a))
    assert main(["models", "import", str(path), "--out", str(tmp_path / "out")]) == 3
    assert "pip install 'medviewer[torch]'" in capsys.readouterr().err

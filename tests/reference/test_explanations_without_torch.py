"""Every gradient method where PyTorch cannot even be imported, and captum's map where it can.

The same DenseNet-121 and vision transformer, with made-up weights, on both sides: ONNX Runtime in
the application's own engine there, PyTorch and captum here.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("captum", reason="needs the torch extra")
pytest.importorskip("torch", reason="needs the torch extra")
import captum.attr as captum_attr
import torch
from torch import Tensor, nn

from medviewer.domain.progress import no_progress
from medviewer.explain import gradient_shap as gradient_shap_module
from medviewer.explain import integrated_gradients as integrated_gradients_module
from medviewer.explain import smooth_grad as smooth_grad_module
from medviewer.explain.methods import METHODS
from medviewer.explain.question import Question, mean_grey
from medviewer.explain.rise import draw_masks
from medviewer.explain.sampling import chance_of
from medviewer.training.export import GRADIENT_MEDIAN, GRADIENT_WORST
from medviewer.training.networks_densenet import DenseNet121
from medviewer.training.networks_vit import SmallViT
from tests import fakes
from tests.reference import captum_maps
from tests.reference.captum_maps import GRADIENT_METHODS, by_captum, gap, worst_difference
from tests.reference.direct_engine import DirectEngine, make_card, write_folder
from tests.reference.exact_engine import ExactEngine, export_in_double
from tests.reference.explain_without_torch import FINDINGS, MASKS, STEPS
from tests.reference.explained_networks import settle, write_graphs
from tests.reference.peer_algorithms import attention_rollout_of, cam_by_hooks, rise_map

pytestmark = [pytest.mark.torch, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SIZE, N_CLASSES = 64, 3
# Of the largest value. Where a ReLU is at its kink, rounding decides: PyTorch's own float32 gradients of DenseNet-121 lie
# up to 3e-2 from its float64 ones, and which pixels do differs between processors.
BOUND = 3e-2
NETWORKS = ("densenet", "vit")
EXACT_METHODS = ("smooth-grad", "gradient-shap")


class Both:
    """A network, and the maps that a process without PyTorch made of it."""

    def __init__(self, name: str, folder: Path) -> None:
        torch.manual_seed(5)
        network: Any = DenseNet121(N_CLASSES)
        if name == "vit":
            network = SmallViT(N_CLASSES, size=SIZE, width=48, depth=4)
        settle(network, SIZE)
        self.network = network.eval().requires_grad_(False)
        self.exact = copy.deepcopy(self.network).double()
        graphs = write_graphs(self.network, folder, SIZE)
        grid = SIZE // (16 if name == "vit" else 32)
        write_folder(folder / "models" / fakes.MODEL_ID, graphs, size=SIZE, n_classes=N_CLASSES, grid=grid)
        self.maps = made_without_torch(folder)
        self.direct = DirectEngine(graphs, threads=1)

    def tensor(self, image: int) -> Tensor:
        return torch.from_numpy(self.maps[f"{image} tensor"][None]).requires_grad_(True)

    def question(self, image: int) -> Question:
        return Question(cast("Any", None), cast("Any", None), self.maps[f"{image} tensor"], 0, None, no_progress)


def made_without_torch(folder: Path) -> dict[str, np.ndarray]:
    """What the program makes when the first torch and captum on the path are modules that cannot be imported."""
    for name in ("torch", "captum"):
        (folder / "refused" / name).mkdir(parents=True)
        (folder / "refused" / name / "__init__.py").write_text("raise ImportError('not installed here')\n")
    paths = os.pathsep.join([str(folder / "refused"), str(ROOT)])
    program = [sys.executable, "-P", "-m", "tests.reference.explain_without_torch"]
    subprocess.run(
        [*program, str(folder / "models"), str(folder / "maps.npz")], env=os.environ | {"PYTHONPATH": paths}, check=True
    )
    with np.load(folder / "maps.npz") as file:
        return dict(file)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Both]:
    made: dict[str, Both] = {}

    def get(name: str) -> Both:
        if name not in made:
            made[name] = Both(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


def bounded_gap(ours: np.ndarray, theirs: np.ndarray, bound: float) -> float:
    """1 - correlation; fails if a value differs by more than ``bound`` of the largest."""
    assert ours.shape == theirs.shape
    assert worst_difference(ours, theirs) <= bound
    return gap(ours, theirs)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_methods_are_captums(name: str, method: str, both: Callable[[str], Both]) -> None:
    """Held against captum in double precision, as a median over images.

    Where a ReLU's input is all but zero, rounding decides whether its gradient counts: single precision is then itself
    further from exact than 1e-6. Ours may be about as far as PyTorch's own, within what an exported network may be
    anyway; but for the methods that decide in double precision, which are exact.
    """
    b, ours, theirs = both(name), [], []
    for image, finding in enumerate(FINDINGS):
        question, target = b.question(image), int(finding[-1])
        if method in EXACT_METHODS:
            exact = by_captum(Rounded(b.exact), question, method, target, steps=STEPS)
            assert bounded_gap(b.maps[f"{image} {method}"], exact, 1e-5) <= 1e-10
            continue
        exact = by_captum(b.exact, question, method, target, steps=STEPS)
        ours.append(bounded_gap(b.maps[f"{image} {method}"], exact, BOUND))
        theirs.append(bounded_gap(by_captum(b.network, question, method, target, steps=STEPS), exact, BOUND))
    if method in EXACT_METHODS:
        return
    limit = 1e-6 if max(theirs) <= 1e-6 else max(GRADIENT_MEDIAN, 3 * np.median(theirs))
    assert np.median(ours) <= limit
    assert max(ours) <= GRADIENT_WORST


class Rounded(nn.Module):
    """A network of doubles that is given what single precision can hold, as the program gives it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, self.linear = network, network.linear

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x + (x.float().double() - x).detach())
        return y


@pytest.mark.parametrize("name", NETWORKS)
def test_without_rounding_gradient_methods_are_captums(
    name: str, both: Callable[[str], Both], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same exporter and the same methods in double precision: what single precision hides would be seen here."""
    few, b = 3, both(name)
    for module in (smooth_grad_module, captum_maps):
        monkeypatch.setattr(module, "COPIES", few)
    for module in (gradient_shap_module, captum_maps):
        monkeypatch.setattr(module, "SAMPLES", few)
    monkeypatch.setattr(integrated_gradients_module, "STEPS", (few,))
    export_in_double(b.exact, tmp_path / "explain.onnx", size=SIZE, n_classes=N_CLASSES)
    engine = ExactEngine(tmp_path / "explain.onnx")
    card = make_card(tmp_path, N_CLASSES, has_map=True, has_cam_graph=False)
    question = Question(cast("Any", engine), card, b.maps["0 tensor"], 1, None, no_progress)
    for row in METHODS:
        if row.id in GRADIENT_METHODS:
            theirs = by_captum(Rounded(b.exact), question, row.id, 1, steps=few)
            assert bounded_gap(row.run(question).values, theirs, 1e-5) <= 1e-9, row.id


@pytest.mark.parametrize("name", NETWORKS)
def test_activation_maps_are_captums_grad_cam(name: str, both: Callable[[str], Both]) -> None:
    b = both(name)
    for image, finding in enumerate(FINDINGS):
        theirs = captum_attr.LayerGradCam(b.network, b.network.last).attribute(b.tensor(image), target=int(finding[-1]))
        for method in ("grad-cam", "class-activation"):
            assert bounded_gap(b.maps[f"{image} {method}"], theirs.detach().numpy()[0, 0], 1e-4) <= 1e-6


def test_grad_cam_plus_plus_is_that_of_pytorch_grad_cam(both: Callable[[str], Both]) -> None:
    b = both("densenet")
    for image, finding in enumerate(FINDINGS):
        theirs = cam_by_hooks(b.network, b.network.last, b.tensor(image), int(finding[-1]), plus_plus=True)
        assert bounded_gap(b.maps[f"{image} grad-cam-plus-plus"], theirs[0], 1e-4) <= 1e-6


def test_grad_cam_plus_plus_is_refused_for_features_that_were_not_rectified(both: Callable[[str], Both]) -> None:
    assert "use Grad-CAM" in str(both("vit").maps["0 grad-cam-plus-plus refused"])


@pytest.mark.parametrize("name", NETWORKS)
def test_occlusion_is_captums(name: str, both: Callable[[str], Both]) -> None:
    b = both(name)
    window, stride = -(-SIZE // 7), -(-SIZE // 14)
    for image, finding in enumerate(FINDINGS):
        x = b.tensor(image).detach()
        theirs = captum_attr.Occlusion(b.network).attribute(
            x,
            sliding_window_shapes=(1, window, window),
            strides=(1, stride, stride),
            baselines=float(x.double().mean()),
            target=int(finding[-1]),
            perturbations_per_eval=16,
        )
        assert bounded_gap(b.maps[f"{image} occlusion"], theirs.numpy()[0, 0], 1e-3) <= 1e-6


@pytest.mark.parametrize("name", NETWORKS)
def test_rise_is_its_authors(name: str, both: Callable[[str], Both]) -> None:
    b = both(name)
    for image, finding in enumerate(FINDINGS):
        question = b.question(image)
        chance = chance_of(question, "rise")
        sizes = [part.stop - part.start for part in question.batches(MASKS)]
        masks = torch.from_numpy(np.concatenate([draw_masks(chance, n, (SIZE, SIZE)) for n in sizes]))
        flat = torch.from_numpy(mean_grey(question.tensor))
        theirs = rise_map(b.network, b.tensor(image).detach(), flat, masks, int(finding[-1]))
        assert bounded_gap(b.maps[f"{image} rise"], theirs, 1e-3) <= 1e-6


def test_attention_rollout_is_its_authors(both: Callable[[str], Both]) -> None:
    b = both("vit")
    for image in range(len(FINDINGS)):
        theirs = attention_rollout_of(b.network, b.tensor(image).detach())
        ours = b.maps[f"{image} attention-rollout"]
        assert bounded_gap(ours, theirs, 1e-4) <= 1e-6
        assert ours.sum() == pytest.approx(1, abs=1e-5)
    assert "0 attention-rollout" not in both("densenet").maps


@pytest.mark.parametrize("name", NETWORKS)
def test_any_batch_gives_what_its_images_give_alone(name: str, both: Callable[[str], Both]) -> None:
    """The batch is a symbol, forwards and backwards."""
    b = both(name)
    images = np.random.default_rng(9).normal(size=(5, 1, SIZE, SIZE)).astype(np.float32)
    selector = np.eye(N_CLASSES, dtype=np.float32)[[0, 2, 1, 1, 0]]
    for role in ("explain", "cam"):
        alone = [
            b.direct.run("", {"x": images[i : i + 1], "selector": selector[i : i + 1]}, role=role) for i in range(5)
        ]
        for n in (3, 5):
            together = b.direct.run("", {"x": images[:n], "selector": selector[:n]}, role=role)
            for output, values in together.items():
                expected = np.concatenate([one[output] for one in alone[:n]])
                np.testing.assert_allclose(values, expected, atol=1e-5 + 1e-3 * np.abs(expected).max())

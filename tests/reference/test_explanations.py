"""Every method gives captum's map: same network, same image, PyTorch there and ONNX Runtime here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("captum", reason="needs the torch extra")
pytest.importorskip("torch", reason="needs the torch extra")
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion

from medviewer.explain.class_activation import class_activation_maps
from medviewer.explain.grad_cam import grad_cam
from medviewer.explain.integrated_gradients import integrate, integrated_gradients
from medviewer.explain.occlusion import occlusion
from medviewer.explain.question import Question, mean_grey
from medviewer.training.networks import EfficientNetLite0, load_imagenet_weights
from tests.reference.direct_engine import DirectEngine, make_card, make_question
from tests.reference.explained_networks import TinyNetwork, settle, write_graphs

pytestmark = pytest.mark.torch

N_CLASSES = 3
SIZES = {"tiny": 56, "efficientnet": 64}
NETWORKS = ["tiny", pytest.param("efficientnet", marks=pytest.mark.slow)]


class Explained:
    """A network, its files, and questions about it."""

    def __init__(self, name: str, folder: Path) -> None:
        torch.manual_seed(11)
        self.size, self.folder = SIZES[name], folder
        network: Any = TinyNetwork(N_CLASSES) if name == "tiny" else EfficientNetLite0(n_classes=N_CLASSES)
        if name == "tiny":
            settle(network, self.size)
        else:
            load_imagenet_weights(network)
        self.network = network.eval().requires_grad_(False)
        self.engine = DirectEngine(write_graphs(self.network, folder, self.size), threads=1)
        grain = np.random.default_rng(12).normal(size=(4, self.size, self.size))
        self.images = (ndimage.gaussian_filter(grain, (0, 2, 2)) * 5).astype(np.float32)[:, None]

    def ask(self, image: int, finding: int, *, has_map: bool = True, has_cam_graph: bool = False) -> Question:
        card = make_card(self.folder, N_CLASSES, has_map=has_map, has_cam_graph=has_cam_graph)
        return make_question(self.engine, card, self.images[image], finding)

    def tensor(self, image: int) -> torch.Tensor:
        return torch.from_numpy(self.images[image][None]).requires_grad_(True)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine PyTorch's threads wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Explained]:
    made: dict[str, Explained] = {}

    def get(name: str) -> Explained:
        if name not in made:
            made[name] = Explained(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


def agree(ours: np.ndarray, theirs: np.ndarray, bound: float) -> float:
    """The correlation's distance from 1; fails if a value differs by more than ``bound`` of the largest."""
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= bound * np.abs(theirs).max()
    return float(1 - np.corrcoef(ours.ravel().astype(np.float64), theirs.ravel().astype(np.float64))[0, 1])


@pytest.mark.parametrize("name", NETWORKS)
def test_grad_cam_is_captums_by_all_three_ways(name: str, explained: Callable[[str], Explained]) -> None:
    e = explained(name)
    for image, finding in ((0, 0), (1, 2), (2, 1)):
        theirs = LayerGradCam(e.network, e.network.last).attribute(e.tensor(image), target=finding)
        theirs = theirs.detach().numpy()[0, 0]
        by_map = grad_cam(e.ask(image, finding))
        by_explain = grad_cam(e.ask(image, finding, has_map=False))
        by_cam = grad_cam(e.ask(image, finding, has_map=False, has_cam_graph=True))
        for ours in (by_map, by_explain, by_cam):
            assert agree(ours.values, theirs, 1e-4) <= 1e-6
        assert np.array_equal(class_activation_maps(e.ask(image, 0))[finding], by_map.values)


@pytest.mark.parametrize("name", NETWORKS)
def test_integrated_gradients_are_captums(name: str, explained: Callable[[str], Explained]) -> None:
    """Where activations lie on a kink of ReLU the two may differ in single pixels: hence a median over images."""
    e, gaps = explained(name), []
    for image, finding in ((0, 0), (1, 2), (2, 1), (3, 0)):
        question = e.ask(image, finding)
        baseline = mean_grey(question.tensor)
        ours = integrate(question, baseline, 16)
        theirs = IntegratedGradients(e.network).attribute(
            e.tensor(image), torch.from_numpy(baseline[None]), target=finding, n_steps=16, method="gausslegendre"
        )
        gaps.append(agree(ours, theirs.detach().numpy()[0, 0], 2e-2))
    assert np.median(gaps) <= 1e-6
    assert max(gaps) <= 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_the_completeness_gap_is_captums_convergence_delta(
    name: str, explained: Callable[[str], Explained], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medviewer.explain.integrated_gradients.STEPS", (8,))
    e = explained(name)
    question = e.ask(0, 1)
    baseline = torch.from_numpy(mean_grey(question.tensor)[None])
    _, delta = IntegratedGradients(e.network).attribute(
        e.tensor(0), baseline, target=1, n_steps=8, method="gausslegendre", return_convergence_delta=True
    )
    with torch.no_grad():
        rise = float((e.network(e.tensor(0)) - e.network(baseline))[0, 1])
    found = integrated_gradients(question)
    assert found.error == pytest.approx(abs(float(delta)) / abs(rise), rel=0.02, abs=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_occlusion_is_captums(name: str, explained: Callable[[str], Explained]) -> None:
    e = explained(name)
    window, stride = -(-e.size // 7), -(-e.size // 14)
    for image, finding in ((0, 0), (3, 2)):
        question = e.ask(image, finding)
        with torch.no_grad():
            theirs = Occlusion(e.network).attribute(
                e.tensor(image),
                sliding_window_shapes=(1, window, window),
                strides=(1, stride, stride),
                baselines=float(mean_grey(question.tensor)[0, 0, 0]),
                target=finding,
                perturbations_per_eval=16,
            )
        assert agree(occlusion(question).values, theirs.numpy()[0, 0], 1e-3) <= 1e-6

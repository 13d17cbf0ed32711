"""Explanations in ONNX Runtime against captum on PyTorch: same network, same image, two threads each.

The methods are those of the application, on a session of this process: what the engine's own
process adds is measured in ``engine_overhead``. The networks are the one that is bundled and
DenseNet-121; their weights are made up, which changes nothing in the time. Where captum has no
method, or another implementation is what people use, the peer is the algorithm of pytorch-grad-cam.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import Comparison, compare

THREADS = 2
SIZE = 224
STEPS = 32  # of integrated gradients
ROUNDS = 15
AT_ONCE = 16  # images that captum is given at a time where it may choose

NETWORKS = ("EfficientNet-Lite0", "DenseNet-121")

Row = tuple[str, Callable[[], object], str, Callable[[], object], str]


@dataclass(frozen=True)
class Setting:
    """One network on both sides: what is asked of ours, and what captum is given."""

    network: Any
    live: Any  # the question to a model that gives its activation maps
    cut: Any  # the question to one that has only gradients
    image: np.ndarray


def set_up(name: str, folder: Path) -> Setting:
    """Make a network and its graphs in ``folder``, or take those that are there."""
    import torch

    from medviewer.training.networks import EfficientNetLite0
    from medviewer.training.networks_densenet import DenseNet121
    from tests.reference.direct_engine import DirectEngine, make_card, make_question
    from tests.reference.explained_networks import settle, write_graphs

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    network: Any = EfficientNetLite0() if name == NETWORKS[0] else DenseNet121()
    settle(network, 64)
    network.eval().requires_grad_(False)
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    paths = {role: own / f"{role}.onnx" for role in ("model", "explain", "cam")}
    if not all(path.is_file() for path in paths.values()):
        sys.stderr.write(f"writing the graphs of {name}: a minute or two\n")
        write_graphs(network, own, SIZE)
    engine = DirectEngine(paths, threads=THREADS)
    image = np.random.default_rng(0).normal(size=(1, SIZE, SIZE)).astype(np.float32)
    n = network.linear.out_features
    live = make_question(engine, make_card(own / "live", n, has_map=True, has_cam_graph=False), image)
    cut = make_question(engine, make_card(own / "cut", n, has_map=False, has_cam_graph=True), image)
    return Setting(network, live, cut, image)


def by_captum(setting: Setting) -> dict[str, Callable[[], object]]:
    """The peers by their names."""
    import captum.attr as captum_attr
    import torch

    from medviewer.explain.question import mean_grey
    from medviewer.explain.smooth_grad import COPIES
    from tests.reference.peer_algorithms import cam_by_hooks

    network = setting.network
    x = torch.from_numpy(setting.image[None])
    flat = torch.from_numpy(mean_grey(setting.image)[None])
    cam, saliency = captum_attr.LayerGradCam(network, network.last), captum_attr.Saliency(network)
    integral, cover = captum_attr.IntegratedGradients(network), captum_attr.Occlusion(network)
    tunnel = captum_attr.NoiseTunnel(saliency)

    def given() -> torch.Tensor:
        return x.clone().requires_grad_(True)

    def captum_integral() -> object:
        return integral.attribute(
            given(), flat, target=0, n_steps=STEPS, method="gausslegendre", internal_batch_size=AT_ONCE
        )

    def captum_occlusion() -> object:
        with torch.no_grad():
            return cover.attribute(
                x, (1, 32, 32), strides=(1, 16, 16), baselines=flat, target=0, perturbations_per_eval=AT_ONCE
            )

    def captum_tunnel() -> object:
        return tunnel.attribute(
            given(), nt_samples=COPIES, nt_samples_batch_size=AT_ONCE, stdevs=1.0, target=0, abs=False
        )

    return {
        "captum LayerGradCam": lambda: cam.attribute(given(), target=0),
        "pytorch-grad-cam's GradCAM": lambda: cam_by_hooks(network, network.last, x, 0),
        "pytorch-grad-cam's GradCAMPlusPlus": lambda: cam_by_hooks(network, network.last, x, 0, plus_plus=True),
        "captum Saliency": lambda: saliency.attribute(given(), target=0),
        "captum IntegratedGradients": captum_integral,
        "captum NoiseTunnel": captum_tunnel,
        "captum Occlusion": captum_occlusion,
    }


def contestants(setting: Setting) -> list[Row]:
    """Rows of (what, ours, peer's name, peer, target)."""
    from medviewer.explain.grad_cam import grad_cam
    from medviewer.explain.grad_cam_plus_plus import grad_cam_plus_plus
    from medviewer.explain.integrated_gradients import integrate
    from medviewer.explain.occlusion import occlusion
    from medviewer.explain.question import mean_grey
    from medviewer.explain.saliency import saliency
    from medviewer.explain.smooth_grad import smooth_grad

    live, cut, peers = setting.live, setting.cut, by_captum(setting)
    baseline = mean_grey(setting.image)

    def row(what: str, ours: Callable[[], object], peer: str, target: str) -> Row:
        return what, ours, peer, peers[peer], target

    return [
        row("Grad-CAM, from the forward pass", lambda: grad_cam(live), "captum LayerGradCam", "<= 0.5"),
        row("Grad-CAM, cut graph", lambda: grad_cam(cut), "captum LayerGradCam", "<= 0.5"),
        row("Grad-CAM, cut graph", lambda: grad_cam(cut), "pytorch-grad-cam's GradCAM", "<= 0.5"),
        row("Grad-CAM++, cut graph", lambda: grad_cam_plus_plus(cut), "pytorch-grad-cam's GradCAMPlusPlus", "<= 0.5"),
        row("Saliency", lambda: saliency(live), "captum Saliency", "<= 0.67"),
        row(
            f"Integrated gradients, {STEPS} steps",
            lambda: integrate(live, baseline, STEPS),
            "captum IntegratedGradients",
            "<= 1.0",
        ),
        # Of DenseNet-121 in double precision, which captum is not: no time is wanted of it.
        row("SmoothGrad, 50 copies", lambda: smooth_grad(live), "captum NoiseTunnel", ""),
        row("Occlusion, 169 windows", lambda: occlusion(live), "captum Occlusion", "<= 0.56"),
    ]


def run(
    rounds: int = ROUNDS, networks: tuple[str, ...] = NETWORKS, keep: Path | None = None, only: str = ""
) -> list[Comparison]:
    """Every method against its peer, on each network."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in networks:
            setting = set_up(name, keep or Path(folder))
            for what, ours, peer_name, peer, target in contestants(setting):
                if only.lower() in what.lower():
                    title = f"{name}: {what}"
                    found.append(compare(title, ours, (peer_name, peer), rounds=rounds, warmup=1, target=target))
                    sys.stderr.write(f"{sentence(found[-1])}\n")
    return found


def sentence(result: Comparison) -> str:
    """One result in one line."""
    return (
        f"{result.name}: {result.ours_ms:.1f} ms, {result.peer}: {result.peer_ms:.1f} ms, "
        f"ours / peer {result.ratio:.2f}" + (f" (wanted {result.target})" if result.target else "")
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--network", choices=NETWORKS, action="append", help="only this one; may be repeated")
    parser.add_argument("--only", default="", help="only methods with this word in their name")
    parser.add_argument("--keep", type=Path, help="a folder in which graphs are kept for the next time")
    parser.add_argument("--json", type=Path, help="also write the results there")
    arguments = parser.parse_args()
    results = run(arguments.rounds, tuple(arguments.network or NETWORKS), arguments.keep, arguments.only)
    for result in results:
        print(sentence(result))
    if arguments.json:
        arguments.json.write_text(json.dumps([result.as_dict() for result in results], indent=2) + "\n")
        sys.stderr.write(f"written to {arguments.json}\n")

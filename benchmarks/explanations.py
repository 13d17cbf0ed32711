"""Explanations in ONNX Runtime against captum on PyTorch: same network, same image, two threads each.

The methods are those of the application, on a session of this process: what the engine's own
process adds is measured in ``engine_overhead``. The network is the one that is bundled; its
weights are made up, which changes nothing in the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.timing import Comparison, compare

THREADS = 2
SIZE = 224
STEPS = 32  # of integrated gradients
ROUNDS = 15


def contestants(folder: Path) -> list[tuple[str, Callable[[], object], str, Callable[[], object], str]]:
    """Rows of (what, ours, peer's name, peer, target)."""
    import torch
    from captum.attr import IntegratedGradients, LayerGradCam, Occlusion, Saliency

    from medviewer.explain.grad_cam import grad_cam
    from medviewer.explain.integrated_gradients import integrate
    from medviewer.explain.occlusion import occlusion
    from medviewer.explain.question import mean_grey
    from medviewer.training.networks import EfficientNetLite0
    from tests.reference.direct_engine import DirectEngine, make_card, make_question
    from tests.reference.explained_networks import settle, write_graphs

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    network = EfficientNetLite0()
    settle(network, 64)
    network.eval().requires_grad_(False)
    engine = DirectEngine(write_graphs(network, folder, SIZE), threads=THREADS)
    image = np.random.default_rng(0).normal(size=(1, SIZE, SIZE)).astype(np.float32)
    live = make_question(engine, make_card(folder, 1, has_map=True, has_cam_graph=False), image)
    cut = make_question(engine, make_card(folder, 1, has_map=False, has_cam_graph=True), image)
    baseline = mean_grey(image)
    x, flat = torch.from_numpy(image[None]), torch.from_numpy(baseline[None])
    cam, saliency = LayerGradCam(network, network.last), Saliency(network)
    integral, cover = IntegratedGradients(network), Occlusion(network)

    def given() -> torch.Tensor:
        return x.clone().requires_grad_(True)

    def captum_integral() -> object:
        return integral.attribute(
            given(), flat, target=0, n_steps=STEPS, method="gausslegendre", internal_batch_size=16
        )

    def captum_occlusion() -> object:
        with torch.no_grad():
            return cover.attribute(
                x, (1, 32, 32), strides=(1, 16, 16), baselines=flat, target=0, perturbations_per_eval=16
            )

    def captum_cam() -> object:
        return cam.attribute(given(), target=0)

    return [
        ("Grad-CAM, from the forward pass", lambda: grad_cam(live), "captum LayerGradCam", captum_cam, "<= 0.5"),
        ("Grad-CAM, cut graph", lambda: grad_cam(cut), "captum LayerGradCam", captum_cam, "<= 0.5"),
        (
            "Gradient of the input",
            lambda: live.run(image[None], "explain", ["d_x"]),
            "captum Saliency",
            lambda: saliency.attribute(given(), target=0),
            "<= 1.0",
        ),
        (
            f"Integrated gradients, {STEPS} steps",
            lambda: integrate(live, baseline, STEPS),
            "captum IntegratedGradients",
            captum_integral,
            "<= 1.0",
        ),
        ("Occlusion, 169 windows", lambda: occlusion(live), "captum Occlusion", captum_occlusion, "<= 1.0"),
    ]


def run(rounds: int = ROUNDS) -> list[Comparison]:
    """Every method against captum's."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            compare(what, ours, (name, peer), rounds=rounds, target=target)
            for what, ours, name, peer, target in contestants(Path(folder))
        ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="also write the results there")
    arguments = parser.parse_args()
    results = run(arguments.rounds)
    for result in results:
        print(
            f"{result.name}: {result.ours_ms:.1f} ms, {result.peer}: {result.peer_ms:.1f} ms, "
            f"ours / peer {result.ratio:.2f} (wanted {result.target})"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps([result.as_dict() for result in results], indent=2) + "\n")
        sys.stderr.write(f"written to {arguments.json}\n")

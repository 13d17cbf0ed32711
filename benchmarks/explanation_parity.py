"""How close gradient maps of ONNX Runtime come to captum's, beside how close PyTorch comes to itself.

The yardstick is captum in double precision: a ReLU whose input is all but zero is on or off by rounding, so
that two single-precision programs differ there, and neither is the true one. Printed for each method are
1 - correlation and the largest difference (as a part of the largest value), as medians and worst over
the images: of ours, and of captum in single precision. The networks have made-up weights of a fixed seed, and
images of the size that they are made for: in a smaller one each place of the last layers, and so each ReLU
that is on here and off there, counts for more. Two to three minutes an image of DenseNet-121.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 224
STEPS = 32  # of integrated gradients, on both sides: what the program begins with
IMAGES = 3
N_CLASSES = 3
NETWORKS = ("DenseNet-121", "ViT")


def images(n: int) -> np.ndarray:
    """Made-up images ``(n, 1, rows, columns)``: shadows of several sizes with a little noise, from -1 to 1."""
    chance = np.random.default_rng(0)
    made = np.zeros((n, SIZE, SIZE))
    for cells in (4, 16, 56):
        coarse = chance.normal(size=(n, cells, cells))
        made += np.kron(coarse, np.ones((SIZE // cells, SIZE // cells))) / cells**0.5
    made += chance.normal(size=made.shape) * 0.05
    made /= np.abs(made).max(axis=(1, 2), keepdims=True)
    return made[:, None].astype(np.float32)


def compare(name: str, n: int, folder: Path) -> None:
    """Print one line for each method of one network."""
    import torch

    from medviewer.explain.methods import METHODS
    from medviewer.training.networks_densenet import DenseNet121
    from medviewer.training.networks_vit import SmallViT
    from tests.reference.captum_maps import GRADIENT_METHODS, by_captum, gap, worst_difference
    from tests.reference.direct_engine import DirectEngine, make_card, make_question
    from tests.reference.explained_networks import settle, write_graphs

    torch.manual_seed(5)
    network: Any = DenseNet121(N_CLASSES) if name == NETWORKS[0] else SmallViT(N_CLASSES, size=SIZE)
    settle(network, SIZE)
    network.eval().requires_grad_(False)
    exact = copy.deepcopy(network).double()
    sys.stderr.write(f"writing the graphs of {name}: a minute or two\n")
    folder.mkdir()
    engine = DirectEngine(write_graphs(network, folder, SIZE))
    card = make_card(folder / "card", N_CLASSES, has_map=True, has_cam_graph=False)
    run = {row.id: row.run for row in METHODS}
    for method in GRADIENT_METHODS:
        found = []
        for place, image in enumerate(images(n)):
            question = make_question(engine, card, image, place % N_CLASSES)
            truth, theirs = (
                by_captum(side, question, method, place % N_CLASSES, steps=STEPS) for side in (exact, network)
            )
            ours = run[method](question).values
            found.append([measure(side, truth) for side in (ours, theirs) for measure in (gap, worst_difference)])
        middle, worst = np.median(found, axis=0), np.max(found, axis=0)
        print(
            f"{name}, {method}, {n} images: 1-r ours {middle[0]:.1e} (worst {worst[0]:.1e}), "
            f"captum in single precision {middle[2]:.1e} (worst {worst[2]:.1e}); "
            f"largest difference {worst[1]:.1e}, {worst[3]:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    from medviewer.explain import integrated_gradients

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--network", choices=NETWORKS, action="append", help="only this one; may be repeated")
    arguments = parser.parse_args()
    integrated_gradients.STEPS = (STEPS,)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.network or NETWORKS:
            compare(name, arguments.images, Path(folder) / name)

"""How well the bundled model tells a child's chest film from anything else.

``python -m benchmarks.out_of_distribution --data DIR --dicom DIR``. Chest films are those of the split
``report``, which chose nothing, no limit either. Against them stand the images of a folder of DICOM files
but chest radiographs, and the same films inverted, turned, and noise. An image counts as flagged if either
distance makes the viewer warn or abstain; the score of the AUROC is the larger of the two distances, each
divided by its limit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import MedViewerError
from medviewer.imaging.decode import read_frame, shutdown
from medviewer.imaging.display import to_grey
from medviewer.imaging.scan import scan
from medviewer.inference.card import Card, read_card
from medviewer.inference.preprocessing import prepare
from medviewer.resources import models_dir
from medviewer.training.data import find_images, read_grey
from medviewer.training.evaluate import split_images
from medviewer.training.metrics import roc_auc
from medviewer.training.scoring import BATCH, Classifier

MODEL = "chest-xray-pneumonia"
KINDS = frozenset({"CR", "DX", "CT", "MR", "US", "OT", "PT", "NM", "SM"})  # SEG is no picture
RADIOGRAPHS, CHEST = frozenset({"CR", "DX"}), frozenset({"CHEST", "THORAX"})
N_NOISE = 200
SMALLEST = 32  # rows or columns; below it there is nothing to see

Grey = npt.NDArray[np.floating]
Score = npt.NDArray[np.float64]


def score(classifier: Classifier, card: Card, images: Sequence[Grey]) -> tuple[Score, Score]:
    """For each image the larger distance as a part of its limit to warn at, and to abstain at."""
    ood = card.ood
    if ood is None or ood.residual is None:
        raise SystemExit(f"{card.id} has no two distances to measure.")
    warn, abstain = [], []
    for start in range(0, len(images), BATCH):
        batch = [
            prepare(image.astype(np.float32), card.preprocessing).tensor for image in images[start : start + BATCH]
        ]
        far = classifier.run(np.stack(batch))[1]
        pairs = ((far["distance"], ood), (far["residual"], ood.residual))
        warn.append(np.max([values / spec.warn_above for values, spec in pairs], axis=0))
        abstain.append(np.max([values / spec.abstain_above for values, spec in pairs], axis=0))
    return np.concatenate(warn), np.concatenate(abstain)


def others(folder: Path) -> Iterator[tuple[str, Grey]]:
    """Images that are no chest radiographs: of each stack and file the middle one, by modality."""
    for patient in scan([folder]).patients:
        for study in patient.studies:
            for series in study.series:
                for stack in series.stacks:
                    image = stack.images[len(stack.images) // 2]
                    seen = image.description
                    is_chest_film = seen.modality in RADIOGRAPHS and seen.body_part_examined in CHEST
                    if seen.modality not in KINDS or is_chest_film:
                        continue
                    if min(seen.rows, seen.columns) < SMALLEST:
                        continue
                    try:
                        frame = read_frame(image)
                        grey = frame.stored[..., :3].mean(axis=-1) if frame.is_color else to_grey(frame) * 255
                    except MedViewerError:  # a broken file has no picture to be told apart
                        continue
                    yield seen.modality, np.asarray(grey, np.float32)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for each kind of image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the class folders that the model learned from")
    parser.add_argument("--dicom", type=Path, required=True, help="a folder of other images")
    given = parser.parse_args(arguments)
    card = read_card(models_dir() / MODEL)
    classifier = Classifier(card)
    folders = find_images(given.data, ("NORMAL", "PNEUMONIA"))
    films = [read_grey(image.path) for image in split_images(card, folders, "report")]
    chance = np.random.default_rng(0)
    sets: dict[str, Sequence[Grey]] = {
        "held-out chest films (false alarms)": films,
        "the same, inverted": [255 - film for film in films],
        "the same, turned by 90 degrees": [np.rot90(film) for film in films],
        "the same, turned by 270 degrees": [np.rot90(film, 3) for film in films],
        "the same, turned by 180 degrees": [np.rot90(film, 2) for film in films],
        "the same, left and right exchanged": [film[:, ::-1] for film in films],
        "noise": [chance.integers(0, 256, films[0].shape) for _ in range(N_NOISE)],
    }
    found = list(others(given.dicom))
    shutdown()
    kinds = sorted({kind for kind, _ in found})
    sets |= {f"{kind}, other than chest films": [image for k, image in found if k == kind] for kind in kinds}
    sys.stdout.write("| images | n | flagged | no result |\n|---|---|---|---|\n")
    scores = {}
    for name, images in sets.items():
        scores[name], abstain = score(classifier, card, images)
        flagged = np.mean(scores[name] > 1)
        sys.stdout.write(f"| {name} | {len(abstain)} | {flagged:.1%} | {np.mean(abstain > 1):.1%} |\n")
    near = next(iter(scores.values()))
    far = score(classifier, card, [image for _, image in found])[0]
    truth = np.repeat([False, True], [len(near), len(far)])
    area = roc_auc(truth, np.concatenate([near, far]))
    sys.stdout.write(f"\nAUROC, chest films against the {len(far)} others: {area:.4f}\n")


if __name__ == "__main__":
    main()

"""Pixels that are not square: what a network is measured on has the shape that it is served."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from medviewer.imaging.decode import read_frame
from medviewer.imaging.scan import images_of, scan
from medviewer.inference.card import Card, read_card
from medviewer.inference.inputs.image import encode
from medviewer.training import assess, lighter
from medviewer.training.data import LabelledImage, find_images
from medviewer.training.robustness import Attacker, strength_curves, under_shifts
from medviewer.training.scoring import Classifier, Scored, score, silent
from tests import fakes
from tests.radiographs import write_radiograph

ROUNDED = 0.05  # a picture holds whole numbers; another shape differs by 1 and more


class Seen(Classifier):
    """A classifier that keeps what it was given."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.tensors: list[npt.NDArray[np.float32]] = []

    def run(self, batch: npt.NDArray[np.float32]) -> tuple[Any, Any]:
        self.tensors += list(batch)
        return super().run(batch)

    def nearest(self, served: npt.NDArray[np.float32]) -> float:
        """The largest difference from what is served, of the tensor that differs least."""
        return min(float(np.abs(tensor - served).max()) for tensor in self.tensors)


@pytest.fixture
def card(tmp_path: Path) -> Card:
    steps = [
        {"op": "resize", "rows": fakes.SIZE, "columns": fakes.SIZE, "aspect": "pad"},
        {"op": "percentile_window", "low": 1, "high": 99},
        {"op": "normalise", "mean": 0.5, "std": 0.25},
    ]
    return read_card(fakes.make_model(tmp_path / "model", preprocessing=steps))


@pytest.fixture
def images(tmp_path: Path) -> tuple[LabelledImage, ...]:
    """One of each class, of 96 rows and 80 columns; a pixel is twice as high as wide."""
    rows = ["file,label,patient"]
    for number, label in enumerate(("NORMAL", "PNEUMONIA")):
        path = tmp_path / "films" / f"{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        write_radiograph(path, patient_id=f"P{number}", PixelSpacing=[0.4, 0.2])
        rows.append(f"films/{number}.dcm,{label},p{number}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    return find_images(tmp_path, ("NORMAL", "PNEUMONIA")).images


def served(card: Card, image: LabelledImage) -> npt.NDArray[np.float32]:
    (found,) = images_of(scan([image.path]))
    spec = card.inputs[0]
    return np.asarray(encode(read_frame(found), spec).tensors[spec.name])


@pytest.fixture
def scored(card: Card, images: tuple[LabelledImage, ...]) -> Scored:
    return score(Classifier(card), images, silent)[0]


def test_what_is_scored(card: Card, images: tuple[LabelledImage, ...]) -> None:
    classifier = Seen(card)
    score(classifier, images, silent)
    np.testing.assert_array_equal(classifier.tensors, [served(card, image) for image in images])


@pytest.mark.parametrize("measure", [under_shifts, strength_curves])
def test_what_is_changed(card: Card, scored: Scored, measure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Attacker, "of", lambda _: None)
    classifier = Seen(card)
    measure(classifier, scored, silent)
    for image in scored.images:
        assert classifier.nearest(served(card, image)) < ROUNDED


def test_what_is_attacked(card: Card, scored: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medviewer.training.robustness.STRENGTHS", {})
    classifier = Seen(card)
    assert set(strength_curves(classifier, scored, silent)) == {"attack"}
    for image in scored.images:
        assert classifier.nearest(served(card, image)) < ROUNDED


def test_what_is_explained(card: Card, images: tuple[LabelledImage, ...]) -> None:
    run: Any = SimpleNamespace(card=card, boxes={images[0].path.name: [(0, 0, 96, 80)]}, stop=None)
    question, boxes = assess._question(run, None, images[0])  # type: ignore[arg-type]
    np.testing.assert_array_equal(question.tensor, served(card, images[0]))
    ((top, left, rows, columns),) = boxes
    assert rows == pytest.approx(fakes.SIZE)
    assert columns == pytest.approx(fakes.SIZE * 80 / 192, abs=1)
    assert (top, left) == (pytest.approx(0), pytest.approx((fakes.SIZE - columns) / 2, abs=1))


def test_what_the_ranges_of_eight_bits_are_measured_on(card: Card, images: tuple[LabelledImage, ...]) -> None:
    np.testing.assert_array_equal(lighter._prepared(card, images), [served(card, image) for image in images])

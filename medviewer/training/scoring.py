"""Runs a model folder over image files, as the viewer would."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError, RuntimeMissingError
from medviewer.domain.frozen import dataclass
from medviewer.inference.calibration import probabilities
from medviewer.inference.card import Card, Role
from medviewer.inference.guards import FeatureStatistics, ResidualStatistics
from medviewer.inference.loading import check_graph, read_arrays, read_file
from medviewer.inference.neighbours import SAME, memory_of
from medviewer.inference.preprocessing import prepare
from medviewer.inference.texture import texture
from medviewer.training.calibration import sigmoid
from medviewer.training.data import LabelledImage, patients_of
from medviewer.training.metrics import Floats, Truth
from medviewer.training.novelty import Novelty, load_statistics

BATCH = 16

Distances: TypeAlias = Mapping[str, Floats]
Progress: TypeAlias = Callable[[str], None]


def silent(line: str) -> None:
    """Tell nobody."""


def open_session(card: Card, role: Role) -> Any:
    """Return an ONNX Runtime session of one of a model's files, on the processor.

    Raises:
        ModelError: the file is missing, changed, unsafe or not runnable.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - an extra; its absence is explained
    except ImportError as error:
        raise RuntimeMissingError("Evaluation needs ONNX Runtime: pip install 'medviewer[cpu]'.") from error
    file = card.require(role)
    content = read_file(card.folder, file)
    check_graph(content, name=file.path, control_flow=file.control_flow)
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


class Classifier:
    """A model folder's network, calibration and novelty statistics, opened once.

    Args:
        card: of a model of one image.
        index: which of its findings is asked about.

    Raises:
        ModelError: a file is missing, changed, unsafe or not runnable.
    """

    def __init__(self, card: Card, index: int = 0) -> None:
        self.card = card
        self.index = index
        self._session = open_session(card, "model")
        self._novelty: Novelty | None = None
        self._residual: ResidualStatistics | None = None
        self._texture: FeatureStatistics | None = None
        if card.ood is not None:
            known = load_statistics(read_arrays(card.folder, card.require("ood")))
            self._novelty, self._residual, self._texture = known

    @property
    def threshold(self) -> float:
        """Return from which probability on the finding is called."""
        return self.card.labels[self.index].threshold

    def run(self, batch: npt.NDArray[np.float32]) -> tuple[Floats, Distances]:
        """Return calibrated probability ``(n,)`` and how far from the training images each image is.

        Args:
            batch: ``(n, 1, rows, columns)``, prepared as the card says.
        """
        calibration, ood, near = self.card.require_calibration(), self.card.ood, self.card.neighbours
        wanted = ["logits", *(ood.outputs if ood else ()), *([near.output] if near else ())]
        names = list(dict.fromkeys(wanted))
        found = dict(zip(names, self._session.run(names, {self.card.inputs[0].name: batch}), strict=True))
        far: dict[str, Floats] = {}
        if ood is not None and self._novelty is not None:
            far["distance"] = self._novelty.distance(found[ood.output])
            if ood.residual is not None and self._residual is not None:
                far["residual"] = self._residual.distance(found[ood.residual.output])
            if ood.texture is not None and self._texture is not None:
                far["texture"] = self._texture.distance(texture(batch))
        if near is not None:
            far["nearest"] = memory_of(self.card, found[near.output]).nearness(found[near.output])
        if self.card.task == "multiclass":
            return probabilities(found["logits"], calibration, self.card.task)[:, self.index], far
        logit = found["logits"][:, self.index].astype(np.float64)
        return sigmoid(calibration.slope[self.index] * logit + calibration.intercept[self.index]), far


@dataclass(frozen=True, slots=True)
class Scored:
    """What the model said of each usable image.

    Attributes:
        images: the images, in order.
        truth: ``(n,)`` whether the finding is there.
        probability: ``(n,)`` calibrated.
        brightness: ``(n,)`` mean grey of the file, 0..255; stands for exposure.
        far: out-of-distribution ``distance``, ``residual`` and ``texture``, and ``nearest``, how far the nearest
            training image is; each ``(n,)``, as far as the model has them.
    """

    images: tuple[LabelledImage, ...]
    truth: Truth
    probability: Floats
    brightness: Floats
    far: Distances

    @property
    def learned_from(self) -> list[str] | None:
        """The names of the images that the model learned from, as they are; None where it cannot tell."""
        near = self.far.get("nearest")
        if near is None or np.isinf(near).all():
            return None
        return [image.name for image, share in zip(self.images, near, strict=True) if share <= SAME]

    @property
    def patients(self) -> list[str]:
        """Return what is drawn as one in the bootstrap: patients, and those of whom there is one and the same file."""
        patient = patients_of(self.images)
        names = [patient[image.group] for image in self.images]
        joined: dict[str, str] = {}  # the patient whom copies show to be the same

        def first_name(name: str) -> str:
            while name in joined:
                name = joined[name]
            return name

        seen: dict[str, str] = {}
        for image, name in zip(self.images, names, strict=True):
            one, other = first_name(name), first_name(seen.setdefault(image.digest, name))
            if one != other:
                joined[one] = other
        return [first_name(name) for name in names]

    @property
    def copies(self) -> list[list[str]]:
        """The names of images that are one and the same file, those of each file together."""
        return [[image.name for image in same] for same in self._copied()]

    @property
    def contradicted(self) -> list[list[str]]:
        """Those of :attr:`copies` that the labels put into both classes: one of the labels must be wrong."""
        return [[image.name for image in same] for same in self._copied() if len({image.label for image in same}) > 1]

    def _copied(self) -> list[list[LabelledImage]]:
        same: dict[str, list[LabelledImage]] = defaultdict(list)
        for image in self.images:
            same[image.digest].append(image)
        return [images for images in same.values() if len(images) > 1]

    def where(self, chosen: Truth) -> Scored:
        """Return the chosen cases."""
        images = tuple(image for image, keep in zip(self.images, chosen, strict=True) if keep)
        far = {name: values[chosen] for name, values in self.far.items()}
        return Scored(images, self.truth[chosen], self.probability[chosen], self.brightness[chosen], far)


def score(
    classifier: Classifier, images: Sequence[LabelledImage], progress: Progress
) -> tuple[Scored, list[tuple[str, str]]]:
    """Run the model over image files, one batch in memory at a time.

    Returns:
        The usable images with their answers, and ``(name, reason)`` of each other one.

    Raises:
        InputError: a class has no usable image.
    """
    usable: list[LabelledImage] = []
    unusable: list[tuple[str, str]] = []
    probability: list[Floats] = []
    distances: list[Distances] = []
    brightness: list[float] = []
    for start in range(0, len(images), BATCH):
        batch = []
        for image in images[start : start + BATCH]:
            try:
                grey = image.read()
            except InputError as error:
                unusable.append((image.name, str(error)))
                continue
            steps, aspect = classifier.card.preprocessing, image.pixel_aspect
            batch.append(prepare(grey.astype(np.float32), steps, pixel_aspect=aspect).tensor)
            brightness.append(float(grey.mean()))
            usable.append(image)
        if batch:
            said, far = classifier.run(np.stack(batch))
            probability.append(said)
            distances.append(far)
        if start // BATCH % 10 == 9:
            progress(f"{start + BATCH} of {len(images)} images")
    truth = np.array([image.label == 1 for image in usable], dtype=bool)
    if truth.all() or not truth.any():
        raise InputError("After leaving out unusable files one class has no image left; check the data folder.")
    together = {name: np.concatenate([far[name] for far in distances]) for name in distances[0]}
    return Scored(tuple(usable), truth, np.concatenate(probability), np.array(brightness), together), unusable

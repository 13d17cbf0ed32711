"""How an image classifier holds when its images are changed: as other archives do, more and more, and by an attack.

The attack is projected gradient descent on the grey values as they are displayed (0..255), rounded as a picture
holds them, with the gradients of the model's own explanation graph in ONNX Runtime. Preprocessing is run in full at
each step; where it has no gradient of its own (percentiles) its values are taken as fixed, the rounding too.

Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (ICLR 2018), L-infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.inference.preprocessing import prepare
from medviewer.training.metrics import Floats, Truth, measures
from medviewer.training.reading import Grey, as_bytes
from medviewer.training.scoring import BATCH, Classifier, Progress, Scored, open_session
from medviewer.training.shifts import SHIFTS, STRENGTHS

# Changed copies are made of at most this many images of each class, and no larger.
N_SHIFTED, N_CURVE, N_ATTACKED = 250, 100, 25
SHIFTED_SIDE = 672
BRIEF = ("auc", "sensitivity", "specificity", "ece_balanced")
ATTACK = "attack"
EPSILONS = (1, 2, 4, 8)  # of 255
N_STEPS = 10

Bytes: TypeAlias = npt.NDArray[np.uint8]


def under_shifts(classifier: Classifier, scored: Scored, progress: Progress) -> dict[str, dict[str, Any]]:
    """Return AUC, sensitivity and specificity under each of :data:`SHIFTS`, on an even choice of the images."""
    chosen = _evenly(scored.truth, N_SHIFTED)
    images = (scored.images[index] for index in chosen)
    said = _said(classifier, ((image.read(), image.pixel_aspect) for image in images), SHIFTS)
    progress(f"robustness measured on {len(chosen)} images under {len(SHIFTS)} shifts")
    truth = scored.truth[chosen]
    return {name: {"n": len(chosen), **_brief(classifier, truth, p)} for name, p in said.items()}


def strength_curves(classifier: Classifier, scored: Scored, progress: Progress) -> dict[str, dict[str, Any]]:
    """Return the same measures for growing strengths of noise, blur, contrast, JPEG, and an attack.

    Returns:
        By kind: ``n``, ``unit`` of the strength, and ``points``: ``strength`` (0: as it is) and the measures.
        ``attack`` is missing if :meth:`Attacker.of` gives none.
    """
    chosen = _evenly(scored.truth, N_CURVE)
    truth, images = scored.truth[chosen], [scored.images[index] for index in chosen]
    shown = [(_reduced(image.read()), image.pixel_aspect) for image in images]
    found: dict[str, dict[str, Any]] = {}
    for kind, (unit, changes) in STRENGTHS.items():
        said = _said(classifier, shown, {str(strength): change for strength, change in changes.items()})
        points = [_point(classifier, truth, strength, said[str(strength)]) for strength in changes]
        found[kind] = {"n": len(chosen), "unit": unit, "points": points}
        progress(f"robustness measured on {len(chosen)} images at {len(changes)} strengths of {kind}")
    attacked = _attack_curve(classifier, scored, progress)
    return found | ({ATTACK: attacked} if attacked else {})


def _attack_curve(classifier: Classifier, scored: Scored, progress: Progress) -> dict[str, Any] | None:
    chosen = _evenly(scored.truth, N_ATTACKED)
    truth = scored.truth[chosen]
    attacker = Attacker.of(classifier)
    if attacker is None:
        return None
    images = [scored.images[index] for index in chosen]
    start = np.stack([attacker.displayed(as_bytes(image.read()), image.pixel_aspect) for image in images])
    parts = [slice(begin, begin + BATCH) for begin in range(0, len(start), BATCH)]
    by_strength = [attacker.attack(start[part], truth[part]) for part in parts]
    points = [
        _point(classifier, truth, strength, np.concatenate([part[strength] for part in by_strength]))
        for strength in (0, *EPSILONS)
    ]
    progress(f"attacked {len(chosen)} images at {len(EPSILONS)} strengths, {N_STEPS} steps each")
    return {"n": len(chosen), "unit": "largest change of a grey value, of 255", "steps": N_STEPS, "points": points}


@dataclass(frozen=True, slots=True, eq=False)
class Attacker:
    """Changes images, within a largest change of each grey value, so that a model errs.

    Attributes:
        classifier: the model; its calibrated probability is what is driven the wrong way.
        gradients: ``(n, 1, rows, columns)`` prepared images to the gradient of the logit, of that shape.
    """

    classifier: Classifier
    gradients: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]

    @classmethod
    def of(cls, classifier: Classifier) -> Attacker | None:
        """Return the attacker of a model; None if it has no graph of its gradients, or does not resize images once.

        Of classes of which one holds there is none either: the gradient of one logit does not show what harms most.
        """
        card = classifier.card
        if (
            card.task == "multiclass"
            or card.file("explain") is None
            or [step["op"] for step in card.preprocessing].count("resize") != 1
        ):
            return None
        session = open_session(card, "explain")
        if "d_x" not in {output.name for output in session.get_outputs()}:
            return None

        def gradients(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            selector = np.zeros((len(x), len(card.labels)), np.float32)
            selector[:, classifier.index] = 1
            (found,) = session.run(["d_x"], {card.inputs[0].name: x, "selector": selector})
            return np.asarray(found, np.float32)

        return cls(classifier, gradients)

    def displayed(self, image: Bytes, pixel_aspect: float = 1.0) -> Bytes:
        """Return an image at the size that the network sees, ``(rows, columns)``.

        Args:
            image: as it is displayed, of any size.
            pixel_aspect: the height of a pixel over its width.
        """
        steps = [step for step in self.classifier.card.preprocessing if step["op"] == "resize"]
        resized = prepare(image.astype(np.float32), steps, pixel_aspect=pixel_aspect).tensor[0]
        return np.asarray(np.rint(np.clip(resized, 0, 255)), np.uint8)

    def attack(self, start: Bytes, truth: Truth) -> dict[int, Floats]:
        """Return the probability ``(n,)`` at strength 0 and after an attack of each of :data:`EPSILONS`.

        What a weaker attack reached a stronger one may use too, so that no image is easier at a higher strength.

        Args:
            start: ``(n, rows, columns)``.
            truth: ``(n,)`` whether the finding is there.
        """
        said = self._probability(start)
        found, chance = {0: said}, np.random.default_rng(0)
        for epsilon in EPSILONS:
            reached = self._probability(self.changed(start, truth, epsilon, chance))
            said = np.where(truth, np.minimum(said, reached), np.maximum(said, reached))
            found[epsilon] = said
        return found

    def changed(self, start: Bytes, truth: Truth, epsilon: int, chance: np.random.Generator) -> Bytes:
        """Return the attacked images, ``(n, rows, columns)``, none of whose values is further than ``epsilon`` away."""
        centre = start.astype(np.float32)
        low, high = np.maximum(centre - epsilon, 0), np.minimum(centre + epsilon, 255)
        # Down with what is there, up with what is not; a falling calibration turns it round.
        slope = self.classifier.card.require_calibration().slope[self.classifier.index]
        way = (np.where(truth, -1, 1) * np.sign(slope)).astype(np.float32)[:, None, None]
        image = np.clip(centre + chance.uniform(-epsilon, epsilon, centre.shape).astype(np.float32), low, high)
        for _ in range(N_STEPS):
            gradient = self.gradients(self._prepared(image)).sum(axis=1)
            image = np.clip(image + 2.5 * epsilon / N_STEPS * way * np.sign(gradient), low, high)
        return np.asarray(np.rint(image), np.uint8)

    def _prepared(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        steps = self.classifier.card.preprocessing
        return np.stack([prepare(image.astype(np.float32), steps).tensor for image in images])

    def _probability(self, images: Bytes) -> Floats:
        return self.classifier.run(self._prepared(images))[0]


def _said(
    classifier: Classifier, images: Iterable[tuple[Grey, float]], changes: Mapping[str, Callable[[Grey], Grey]]
) -> dict[str, Floats]:
    """Return the probability ``(n,)`` of the images under each change; each is pixels and their aspect."""
    steps = classifier.card.preprocessing
    said: dict[str, list[float]] = {name: [] for name in changes}
    for image, aspect in images:
        grey = _reduced(image)
        changed = [
            prepare(change(grey).astype(np.float32), steps, pixel_aspect=aspect).tensor for change in changes.values()
        ]
        for name, p in zip(changes, classifier.run(np.stack(changed))[0], strict=True):
            said[name].append(float(p))
    return {name: np.array(p) for name, p in said.items()}


def _point(classifier: Classifier, truth: Truth, strength: float, probability: Floats) -> dict[str, Any]:
    return {"strength": strength, **_brief(classifier, truth, probability)}


def _brief(classifier: Classifier, truth: Truth, probability: Floats) -> dict[str, float]:
    wanted = measures(classifier.threshold)
    return {name: round(wanted[name](truth, probability, None), 4) for name in BRIEF}


def _evenly(truth: Truth, n: int) -> npt.NDArray[np.int64]:
    """Return the places of at most ``n`` cases of each class, spread over all."""
    members = [np.flatnonzero(truth == value) for value in (False, True)]
    return np.sort(np.concatenate([m[np.linspace(0, len(m) - 1, min(len(m), n)).astype(int)] for m in members]))


def _reduced(image: Grey) -> Bytes:
    """Shrink a large image: changing it at full size would cost minutes and change nothing."""
    from PIL import Image  # noqa: PLC0415 - an extra; only who decodes needs it

    grey = as_bytes(image)
    if max(grey.shape) <= SHIFTED_SIDE:
        return grey
    scale = SHIFTED_SIDE / max(grey.shape)
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR), dtype=np.uint8)

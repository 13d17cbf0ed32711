"""How unlike the training images an image is, in the network's own features.

A network gives a confident answer to anything, a hand or a hat included. The
distance of its pooled features from those of the training images tells such inputs
from radiographs like the ones it learned from.

Two distances, since either alone misses what the other sees (Hotelling's T2 and Q of
process control): how far an image lies inside of the directions in which training
images vary, and how much of it lies outside. Noise has no structure, so inside it is
close to the mean; outside it is far from every film. Where the images have a texture of
their own, a third one of how they are composed sees what is too smooth for both: a ramp.

Sources: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution
Samples" (2018), the last layer only; covariance after Ledoit and Wolf (2004), since
1280 features have more covariances than we have images. Jackson and Mudholkar,
"Control Procedures for Residuals Associated With Principal Component Analysis" (1979).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import TrainingError
from medviewer.domain.frozen import dataclass
from medviewer.inference.guards import FeatureStatistics, ResidualStatistics
from medviewer.training.metrics import Floats

_SAME = 1e-5  # of the largest feature: what single precision may leave between two equal images
_NO_VARIANCE = 1e-12  # of the largest


@dataclass(frozen=True, slots=True)
class Novelty:
    """Mahalanobis distance to the nearest class.

    Attributes:
        means: ``(classes, features)``.
        whitening: ``(directions, features)``; the distance is the length of
            ``whitening @ (features - mean)``.
    """

    means: npt.NDArray[np.floating]
    whitening: npt.NDArray[np.floating]

    def distance(self, features: npt.NDArray[np.floating]) -> Floats:
        """Return the distance ``(n,)`` of each row of ``features`` ``(n, features)``."""
        to_each = [np.linalg.norm((features - mean) @ self.whitening.T, axis=1) for mean in self.means]
        return np.asarray(np.min(to_each, axis=0), dtype=np.float64)


def save_statistics(
    path: Path, novelty: Novelty, residual: ResidualStatistics, texture: FeatureStatistics | None = None
) -> None:
    """Write all as arrays of an ``.npz`` file, by the names that the card's schema gives them."""
    of_texture: dict[str, Any] = {}
    if texture is not None:
        of_texture = {"texture_means": texture.means, "texture_whitening": texture.whitening}
    np.savez_compressed(
        path,
        means=novelty.means.astype(np.float32),
        whitening=novelty.whitening.astype(np.float32),
        residual_mean=residual.mean,
        residual_scale=residual.scale,
        residual_directions=residual.directions,
        **of_texture,
    )


def load_statistics(
    arrays: Mapping[str, npt.NDArray[Any]],
) -> tuple[Novelty, ResidualStatistics | None, FeatureStatistics | None]:
    """Return what :func:`save_statistics` wrote; None for what a file does not hold."""
    names = ("residual_mean", "residual_scale", "residual_directions")
    residual = ResidualStatistics(*(arrays[name] for name in names)) if set(names) <= set(arrays) else None
    own = ("texture_means", "texture_whitening")
    texture = FeatureStatistics(*(arrays[name] for name in own)) if set(own) <= set(arrays) else None
    return Novelty(arrays["means"], arrays["whitening"]), residual, texture


def fit_novelty(features: Floats, labels: npt.NDArray[np.int64], n_directions: int = 256) -> Novelty:
    """Learn what training features look like.

    Args:
        features: ``(n, f)`` pooled features of training images.
        labels: ``(n,)`` class of each.
        n_directions: keep this many directions of largest variance. The rest
            hold little but rounding, which whitening would blow up.

    Raises:
        TrainingError: the images of each class all look the same.
    """
    classes = np.unique(labels)
    means = np.stack([features[labels == label].mean(axis=0) for label in classes])
    centred = features - means[np.searchsorted(classes, labels)]
    _check_varied(centred, features)
    covariance, _ = shrunk_covariance(centred)
    variances, directions = np.linalg.eigh(covariance)
    kept = np.argsort(variances)[::-1][:n_directions]
    kept = kept[variances[kept] > _NO_VARIANCE * variances.max()]  # of few kinds of image the others are rounding
    return Novelty(means, (directions[:, kept] / np.sqrt(variances[kept])).T)


def fit_residual(features: Floats, n_directions: int = 256) -> ResidualStatistics:
    """Learn in which directions training features vary; what is outside of them is the residual.

    Each feature is divided by its standard deviation, since some of the network's
    features vary ten times as much as others and would be all that is seen.

    Args:
        features: ``(n, f)`` pooled features of training images.
        n_directions: keep this many directions of largest variance.

    Returns:
        The statistics as they are stored, so that limits are measured with the rounded
        ones: directions in half precision, which halves a file that git keeps for ever.

    Raises:
        TrainingError: the images all look the same.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0)
    _check_varied(features - mean, features)
    # A feature that no training image has must count when it appears, but not infinitely.
    scale = np.maximum(spread, 0.01 * spread.mean())
    scaled = (features - mean) / scale
    variances, directions = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    kept = directions[:, np.argsort(variances)[::-1][:n_directions]].T
    return ResidualStatistics(mean.astype(np.float32), scale.astype(np.float32), kept.astype(np.float16))


def fit_texture(textures: Floats) -> FeatureStatistics:
    """Learn how training images are composed.

    Each number is divided by its standard deviation first, so that the shrinking of the covariance, which moves it
    towards a sphere, treats logarithms of energy and greys alike.

    Args:
        textures: ``(n, t)``, what :func:`medviewer.inference.texture.texture` gives of training images.

    Returns:
        The statistics as they are stored, so that limits are measured with the rounded ones.

    Raises:
        TrainingError: the images all look the same.
    """
    mean, spread = textures.mean(axis=0), textures.std(axis=0)
    _check_varied(textures - mean, textures)
    scale = np.maximum(spread, 0.01 * spread.mean())  # as of the residual
    of_scaled = fit_novelty((textures - mean) / scale, np.zeros(len(textures), dtype=np.int64), textures.shape[1])
    return FeatureStatistics(mean[None].astype(np.float32), (of_scaled.whitening / scale).astype(np.float32))


def _check_varied(centred: Floats, features: Floats) -> None:
    """Refuse features that nothing tells apart: to be unlike them would mean nothing, and takes a division by it."""
    if np.abs(centred).max() <= _SAME * np.abs(features).max():
        raise TrainingError(
            "The images that were learned from all look the same to the network, so that nothing can be told from "
            "them. Look at them: they may be empty or nearly so. Give others, and another --out."
        )


def shrunk_covariance(centred: Floats) -> tuple[Floats, float]:
    """Return the Ledoit-Wolf covariance ``(f, f)`` of centred rows ``(n, f)``, and its shrinkage."""
    n, f = centred.shape
    sample = centred.T @ centred / n
    sphere = np.trace(sample) / f
    spread = float(np.sum(sample**2)) - f * sphere**2
    squares = centred**2
    noise = (float(np.sum(squares.T @ squares)) / n - float(np.sum(sample**2))) / n
    shrinkage = min(noise, spread) / spread if spread > 0 else 0.0
    return (1 - shrinkage) * sample + shrinkage * sphere * np.eye(f), float(shrinkage)

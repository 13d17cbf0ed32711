"""How unlike the training images an image is, in the network's own features.

A network gives a confident answer to anything, a hand or a hat included. The
distance of its pooled features from those of the training images tells such inputs
from radiographs like the ones it learned from.

Source: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution
Samples" (2018), the last layer only; covariance after Ledoit and Wolf (2004), since
1280 features have more covariances than we have images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medviewer.training.metrics import Floats


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

    def save(self, path: Path) -> None:
        """Write ``means`` and ``whitening`` as float32 arrays of an ``.npz`` file."""
        np.savez_compressed(path, means=self.means.astype(np.float32), whitening=self.whitening.astype(np.float32))


def fit_novelty(features: Floats, labels: npt.NDArray[np.int64], n_directions: int = 256) -> Novelty:
    """Learn what training features look like.

    Args:
        features: ``(n, f)`` pooled features of training images.
        labels: ``(n,)`` class of each.
        n_directions: keep this many directions of largest variance. The rest
            hold little but rounding, which whitening would blow up.
    """
    classes = np.unique(labels)
    means = np.stack([features[labels == label].mean(axis=0) for label in classes])
    centred = features - means[np.searchsorted(classes, labels)]
    covariance, _ = shrunk_covariance(centred)
    variances, directions = np.linalg.eigh(covariance)
    kept = np.argsort(variances)[::-1][:n_directions]
    return Novelty(means, (directions[:, kept] / np.sqrt(variances[kept])).T)


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

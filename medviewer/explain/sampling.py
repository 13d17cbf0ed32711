"""Chance for methods that need it: drawn from the image itself, so that the same question has the same answer."""

from __future__ import annotations

import numpy as np

from medviewer.explain.question import Question
from medviewer.inference.provenance import tensor_sha256


def chance_of(question: Question, method: str) -> np.random.Generator:
    """Return the random numbers of a method on this image: the same each time, others for another image or method."""
    digest = int(tensor_sha256(question.tensor), 16)
    return np.random.default_rng([int.from_bytes(method.encode(), "big"), digest])

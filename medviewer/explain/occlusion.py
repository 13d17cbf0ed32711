"""Occlusion: cover a part of the image, ask again, see how far the logit falls.

The plainest of all explanations, and the one that needs nothing of the network
but its answer. Its unit is the covered square: it sees what matters alone, not
two findings that stand in for each other.

Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks",
ECCV 2014, section 4.2.
"""

from __future__ import annotations

import numpy as np

from medviewer.explain.question import Question, Saliency, mean_grey

WINDOWS_ACROSS = 7  # a window is a seventh of the image's side ...
STRIDES_ACROSS = 14  # ... and moves by half of itself


def occlusion(question: Question) -> Saliency:
    """Return how far the logit falls when each place is covered with the image's mean grey.

    On the network's input grid, in logits; each pixel has the mean over the windows
    that covered it.
    """
    rows, columns = question.shape
    window = (-(-rows // WINDOWS_ACROSS), -(-columns // WINDOWS_ACROSS))
    stride = (-(-rows // STRIDES_ACROSS), -(-columns // STRIDES_ACROSS))
    cover = mean_grey(question.tensor)
    places = [(slice(r, r + window[0]), slice(c, c + window[1]))
              for r in _starts(rows, window[0], stride[0])
              for c in _starts(columns, window[1], stride[1])]  # fmt: skip
    whole = float(question.scores(question.tensor[None])[0])
    fall, times = np.zeros((rows, columns)), np.zeros((rows, columns))
    for part in question.batches(len(places)):
        question.progress(part.start, len(places), "Occlusion")
        batch = np.repeat(question.tensor[None], part.stop - part.start, axis=0)
        for covered, (r, c) in zip(batch, places[part], strict=True):
            covered[:, r, c] = cover[:, r, c]
        for score, place in zip(question.scores(batch, is_near=True), places[part], strict=True):
            fall[place] += whole - score
            times[place] += 1
    question.progress(len(places), len(places), "Occlusion")
    return Saliency((fall / times).astype(np.float32))


def _starts(size: int, window: int, stride: int) -> range:
    """Return where windows begin so that every pixel is covered; the last may reach over the edge."""
    return range(0, stride * -(-max(size - window, 0) // stride) + 1, stride)

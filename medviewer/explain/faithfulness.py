"""Is this map better than a random one, on this very image?

A heat map always looks convincing. So its hottest pixels are taken out of the
image, more and more of them, and the logit should fall fast (deletion); and
they are put into an empty image, and it should rise fast (insertion). What "fast"
means is settled by doing the same with random maps.

The random maps are the map itself, moved round the image by a random distance
(what leaves one side comes in at the other) and turned or mirrored at random.
They have exactly its smoothness and its values, and only point elsewhere. If the
place did not matter, the map would be one draw among them, and its percentile
would be anything with equal chance.

Cost: 8 levels, two curves, 51 maps are 816 forward passes, in batches of 8; for the
bundled network on two processor cores about six seconds. More levels would not
tell maps apart better, since all are compared at the same ones.

Source: Petsiuk, Das and Saenko, "RISE: randomized input sampling for explanation of
black-box models", BMVC 2018, section 4.2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.domain.answer import Faithfulness
from medviewer.explain.question import FloatArray, Question, mean_grey
from medviewer.inference.placement import grid_to_network, place_saliency

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85)
"""Which part of the pixels has been taken; dense where good maps act."""

CONVINCING_PERCENTILE = 95.0
SEED = 2018
_BLUR_PARTS = 12  # insertion starts from the image blurred by a twelfth of its side, as in the source


def judge(question: Question, saliency: FloatArray, n_random: int) -> Faithfulness:
    """Compare a map with ``n_random`` random ones of the same smoothness, by deletion and insertion.

    The same question and map always give the same result.

    Args:
        question: what the map explains.
        saliency: ``(h, w)`` on the network's input grid or coarser; larger is hotter.
        n_random: how many random maps, at least one; each costs 16 forward passes.

    Returns:
        Percentiles (how many of the random maps it beats), and what they mean in one
        sentence.
    """
    fine = _on_input(question, saliency)
    if float(np.ptp(fine)) == 0:
        return Faithfulness(0.0, 0.0, n_random, "This map is the same everywhere: it points at nothing.")
    chance = np.random.default_rng(SEED)
    empty, soft = mean_grey(question.tensor), blurred(question.tensor)
    ends = question.scores(np.stack([question.tensor, empty, soft]))
    areas = np.empty((1 + n_random, 2))
    for i in range(1 + n_random):
        question.progress(i, 1 + n_random, "Comparing with random maps")
        ranks = _ranks(fine if i == 0 else _moved(fine, chance), chance)
        areas[i] = _curve_areas(question, ranks, (empty, soft), ends)
    question.progress(1 + n_random, 1 + n_random, "Comparing with random maps")
    deletion = _percentile(-areas[0, 0], -areas[1:, 0])
    insertion = _percentile(areas[0, 1], areas[1:, 1])
    return Faithfulness(deletion, insertion, n_random, sentence(deletion, insertion))


def beats_random(question: Question, saliency: FloatArray, n_random: int) -> tuple[bool, bool]:
    """Whether a map beats 95% of ``n_random`` random ones, by deletion and by insertion.

    The same verdict as that of :func:`judge`, for less: a curve is not drawn again once so many random maps have
    done as well that the others cannot change it (Besag and Clifford, "Sequential Monte Carlo p-values", 1991).

    Args:
        question: what the map explains.
        saliency: ``(h, w)`` on the network's input grid or coarser; larger is hotter.
        n_random: how many random maps at most; with 19, 39 or 99 a random map passes in one of twenty cases.
    """
    fine = _on_input(question, saliency)
    if float(np.ptp(fine)) == 0:
        return False, False
    chance = np.random.default_rng(SEED)
    canvases = mean_grey(question.tensor), blurred(question.tensor)
    ends = question.scores(np.stack([question.tensor, *canvases]))
    own = _curve_areas(question, _ranks(fine, chance), canvases, ends)
    allowed = (1 - CONVINCING_PERCENTILE / 100) * n_random
    lost = {0: 0.0, 1: 0.0}
    for _ in range(n_random):
        curves = tuple(curve for curve in (0, 1) if lost[curve] <= allowed)
        if not curves:
            break
        areas = _curve_areas(question, _ranks(_moved(fine, chance), chance), canvases, ends, curves)
        for curve in curves:
            better = own[curve] - areas[curve] if curve else areas[curve] - own[curve]
            lost[curve] += 1.0 if better < 0 else 0.5 if better == 0 else 0.0
    return lost[0] <= allowed, lost[1] <= allowed


def is_convincing(found: Faithfulness) -> bool:
    """Whether a map does better than chance, by deletion and by insertion."""
    return min(found.deletion_percentile, found.insertion_percentile) >= CONVINCING_PERCENTILE


def sentence(deletion: float, insertion: float) -> str:
    """Say in one plain sentence what two percentiles mean; the worse of the two decides.

    A map that falls short is not proven to be a random one: it is "not clearly better", here and
    in everything that is written (the window shows the same verdict).
    """
    as_good = 100 - min(deletion, insertion)
    is_convincing = min(deletion, insertion) >= CONVINCING_PERCENTILE
    verdict = "Better than chance" if is_convincing else "Not clearly better than chance"
    if as_good == 0:
        return f"{verdict}: none of the random maps does as well."
    return f"{verdict}: {as_good:.0f}% of random maps do as well."


def blurred(tensor: FloatArray) -> FloatArray:
    """The image blurred until no detail is left, by a Gaussian in the frequency domain with mirrored borders."""
    rows, columns = tensor.shape[-2:]
    mirrored = np.concatenate([tensor, tensor[..., ::-1, :]], axis=-2)
    mirrored = np.concatenate([mirrored, mirrored[..., ::-1]], axis=-1)
    sigma = max(rows, columns) / _BLUR_PARTS
    low_pass = _gaussian(np.fft.fftfreq(2 * rows), sigma)[:, None] * _gaussian(np.fft.rfftfreq(2 * columns), sigma)
    smooth = np.fft.irfft2(np.fft.rfft2(mirrored) * low_pass, s=(2 * rows, 2 * columns))
    return np.asarray(smooth[..., :rows, :columns], np.float32)


def _gaussian(frequency: npt.NDArray[np.floating], sigma: float) -> npt.NDArray[np.float64]:
    return np.asarray(np.exp(-2 * (np.pi * sigma * frequency) ** 2), np.float64)


def _on_input(question: Question, saliency: FloatArray) -> FloatArray:
    """The map on the network's input grid."""
    grid = (saliency.shape[0], saliency.shape[1])
    return place_saliency(saliency, grid_to_network(grid, question.shape), question.shape)


def _moved(values: FloatArray, chance: np.random.Generator) -> FloatArray:
    """Return the map mirrored or turned, and moved round the image, at random."""
    if chance.random() < 0.5:
        values = values[::-1]
    if chance.random() < 0.5:
        values = values[:, ::-1]
    if values.shape[0] == values.shape[1] and chance.random() < 0.5:
        values = values.T
    shift = (int(chance.integers(values.shape[0])), int(chance.integers(values.shape[1])))
    return np.roll(values, shift, axis=(0, 1))


def _ranks(values: FloatArray, chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return each pixel's rank from 0 (hottest) to 1; equals in random order, or the upper left would win."""
    order = np.lexsort((chance.random(values.size), -values.ravel()))
    ranks = np.empty(values.size)
    ranks[order] = np.arange(values.size) / values.size
    return ranks.reshape(values.shape)


def _curve_areas(
    question: Question,
    ranks: npt.NDArray[np.float64],
    canvases: tuple[FloatArray, FloatArray],
    ends: npt.NDArray[np.float64],
    curves: tuple[int, ...] = (0, 1),
) -> tuple[float, float]:
    """Return the areas under the deletion (0) and insertion (1) curves; NaN for one that is not asked for.

    ``ends`` are the logits where they begin and end.
    """
    empty, soft = canvases
    hot = [ranks < level for level in LEVELS]
    images = [np.where(mask, empty, question.tensor) for mask in hot if 0 in curves]
    images += [np.where(mask, question.tensor, soft) for mask in hot if 1 in curves]
    scores = np.concatenate([question.scores(np.stack(images[part])) for part in question.batches(len(images))])
    at = np.array([0.0, *LEVELS, 1.0])
    whole, nothing, blur = ends
    areas = [float("nan"), float("nan")]
    for place, curve in enumerate(curves):
        between = scores[place * len(LEVELS) : (place + 1) * len(LEVELS)]
        first, last = ((whole, nothing), (blur, whole))[curve]
        areas[curve] = float(np.trapezoid([first, *between, last], at))
    return areas[0], areas[1]


def _percentile(value: float, others: npt.NDArray[np.float64]) -> float:
    """Return how many per cent of ``others`` are below ``value``; equals count half."""
    return float(100 * (np.mean(others < value) + np.mean(others == value) / 2))

"""Can a method be believed for this model? What is measured once, over many images, and written on the card.

On one image :mod:`medviewer.explain.faithfulness` says whether a map beats random ones. Whether a method does so as a
rule is a property of method and model together, and so are the three things that a map must do to be about the
network at all: change when the network forgets what it learned, stay when the image gets a grain that nobody sees,
and be the same when it is asked for twice.

Sources: Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018; Arun et al., "Assessing the trustworthiness
of saliency maps for localizing abnormalities in medical imaging", Radiology AI 2021; Zhang et al., "Top-down neural
attention by excitation backprop", ECCV 2016 (pointing game); Wang et al., "Image quality assessment", IEEE TIP 2004
(structural similarity).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medviewer.domain.frozen import dataclass
from medviewer.explain.question import FloatArray, Question
from medviewer.inference.card import Text
from medviewer.inference.placement import grid_to_network, place_saliency

DEPENDS_BELOW = 0.5
"""Mean rank correlation with the randomised network's maps below which a map is about the network (our convention)."""

STEADY_ABOVE = 0.5
"""Mean rank correlation with the maps of slightly grainy images above which a method is steady (our convention)."""

GRAIN = 0.01
"""Standard deviation of the grain, as a part of the range of the image's values: below what is seen on a radiograph."""

RELIABLE_SHARE = 0.7
CHANCE_SHARE = 0.05
"""How often a random map beats 95% of the others."""

_Z95 = 1.959964
_SSIM_WINDOW = 7

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two maps are: 1 if they are the same.

    Attributes:
        rank: Spearman's correlation of the values, -1 to 1; 0 where a map is the same everywhere.
        structure: mean structural similarity of the maps, each scaled to 0..1.
    """

    rank: float
    structure: float


def likeness(a: FloatArray, b: FloatArray) -> Likeness:
    """Compare two maps ``(h, w)`` of one shape."""
    flat = np.ptp(a) == 0 or np.ptp(b) == 0
    rank = 0.0 if flat else float(np.corrcoef(_ranks(a.ravel()), _ranks(b.ravel()))[0, 1])
    return Likeness(rank, structural_similarity(_scaled(a), _scaled(b)))


def _ranks(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Ranks from 0; equal values share the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2)[where], np.float64)


def _scaled(values: FloatArray) -> npt.NDArray[np.float64]:
    spread = float(np.ptp(values))
    return np.asarray((values - values.min()) / spread if spread else np.zeros_like(values), np.float64)


def structural_similarity(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Mean structural similarity of two images with values in 0..1, over all windows of 7 x 7 that fit in."""
    size = min(_SSIM_WINDOW, *a.shape)
    n = size * size

    def mean(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size))
        return np.asarray(windows.mean(axis=(2, 3)), np.float64)

    mean_a, mean_b = mean(a), mean(b)
    unbiased = n / (n - 1) if n > 1 else 1.0
    var_a, var_b = unbiased * (mean(a * a) - mean_a**2), unbiased * (mean(b * b) - mean_b**2)
    together = unbiased * (mean(a * b) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_a * mean_b + c1) * (2 * together + c2)
    return float((above / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def agreement(first: FloatArray, second: FloatArray) -> float:
    """Spearman's correlation of two methods' maps of one question, cell by cell of the coarser grid.

    Args:
        first: ``(h, w)`` over the whole of the network's input, on the method's own grid.
        second: the same of another method.

    Returns:
        -1 to 1; 1 where both put the same places in the same order, 0 where they have nothing to do with each other.
    """
    grid = min(first.shape, second.shape, key=lambda shape: shape[0] * shape[1])
    return likeness(_cells(first, grid), _cells(second, grid)).rank


def _cells(values: FloatArray, grid: tuple[int, ...]) -> FloatArray:
    """Mean of the values in each cell of a grid that is not finer."""
    row, column = (np.arange(size) * cells // size for size, cells in zip(values.shape, grid, strict=True))
    at = (row[:, None] * grid[1] + column).ravel()
    total = np.bincount(at, values.ravel().astype(np.float64), grid[0] * grid[1])
    return np.asarray((total / np.bincount(at, minlength=grid[0] * grid[1])).reshape(grid), np.float32)


def on_input_grid(values: FloatArray, question: Question) -> FloatArray:
    """A map on the network's input grid, where maps of all methods can be compared."""
    grid = (values.shape[0], values.shape[1])
    return place_saliency(values, grid_to_network(grid, question.shape), question.shape)


def grainy(tensor: FloatArray, chance: np.random.Generator) -> FloatArray:
    """The image with a grain that a reader would not see; values stay within those that it has."""
    low, high = float(tensor.min()), float(tensor.max())
    grain = chance.normal(0, GRAIN * (high - low), tensor.shape)
    return np.asarray(np.clip(tensor + grain, low, high), np.float32)


def difference(first: FloatArray, second: FloatArray) -> float:
    """The largest difference between two maps of the same question, as a part of the range of the first."""
    spread = float(np.ptp(first))
    return float(np.abs(first - second).max()) / spread if spread else float(np.abs(second - first).max())


def points_at(saliency: FloatArray, boxes: Sequence[Box], question: Question) -> bool:
    """Whether the hottest place of a map lies in one of the boxes (pointing game, without a margin).

    Args:
        saliency: the map, on its own grid.
        boxes: (row, column, rows, columns) each, in pixels of the network's input.
        question: what the map explains.
    """
    placed = on_input_grid(saliency, question)
    row, column = np.unravel_index(int(np.argmax(placed)), placed.shape)
    return any(r <= row < r + height and c <= column < c + width for r, c, height, width in boxes)


def covered(boxes: Sequence[Box], shape: tuple[int, int]) -> float:
    """Which part of the image the boxes cover: how often a blind finger would hit."""
    is_in = np.zeros(shape, bool)
    for row, column, rows, columns in boxes:
        is_in[round(row) : round(row + rows), round(column) : round(column + columns)] = True
    return float(is_in.mean())


def interval(hits: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share, after Wilson (1927)."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, _Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def verdict(
    n: int,
    deletion: float,
    insertion: float,
    *,
    depends: bool | None,
    is_steady: bool | None = None,
    are_held_out: bool = True,
) -> Text:
    """What the figures on the card mean, in plain sentences.

    Args:
        n: how many images.
        deletion: on which share of them the method beat 95% of random maps when deleting.
        insertion: the same when inserting.
        depends: whether its maps change with the network's weights; None if that was not found out.
        is_steady: whether they bear a grain that nobody sees; None if that was not found out.
        are_held_out: whether training had held the images out.
    """
    if depends is False:
        return Text(
            "This method's maps hardly change when the network's weights are shuffled: "
            "they show the image, not what the model uses.",
            "打乱网络权重后，该方法的热力图几乎不变：它显示的是图像本身，而非模型所依据的内容。",
        )
    images, images_zh = (f"{n} held-out images", f"{n} 张留出图像") if are_held_out else (f"{n} images", f"{n} 张图像")
    parts = f"{100 * deletion:.0f}%", f"{100 * insertion:.0f}%"
    if interval(round(deletion * n), n)[0] <= CHANCE_SHARE:
        said = Text(f"On {images} this method did no better than chance.", f"在 {images_zh}上，该方法并不优于随机。")
    elif deletion < RELIABLE_SHARE:
        said = Text(
            f"Often no better than chance: on {images} this method did better than 95% of random maps "
            f"on only {parts[0]} when deleting, {parts[1]} when inserting.",
            f"常常不优于随机：在 {images_zh}中，该方法仅在 {parts[0]}（删除法）和 {parts[1]}（插入法）的图像上"
            "优于 95% 的随机图。",
        )
    else:
        said = Text(
            f"On {images} this method did better than 95% of random maps on {parts[0]} when deleting, "
            f"{parts[1]} when inserting.",
            f"在 {images_zh}中，该方法在 {parts[0]}（删除法）和 {parts[1]}（插入法）的图像上优于 95% 的随机图。",
        )
    if is_steady is False:
        return Text(
            f"{said.en} A grain that nobody sees changes its maps.", f"{said.zh}肉眼不可见的噪点就会改变它的热力图。"
        )
    return said

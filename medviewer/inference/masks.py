"""From a segmentation network's numbers to outlines on the image as it is stored.

The network's grid is coarser than the image as a rule. Probabilities are placed on the image's own pixels
(:mod:`medviewer.inference.placement`, as heat maps are) and cut at the threshold there, so that an outline is
as smooth as the network is sure, and lies where its pixels do to within half a cell of the network's grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from medviewer.domain.answer import Region
from medviewer.domain.errors import CardError
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import StopToken
from medviewer.imaging.label_planes import is_ragged, outlines_of
from medviewer.imaging.scale import scale_at
from medviewer.inference.card import Card, Label
from medviewer.inference.card_masks import MASKS, MaskSpec, OutlineSpec
from medviewer.inference.placement import place_saliency

Arrays = Mapping[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Share = tuple[float, float]
_One = TypeVar("_One")

_SLACK = 1e-3  # of probabilities that a network has rounded
_LONGEST_SIDE = 1024  # of the image when shares are counted: of seven runs at full size it would take minutes
NOT_BOTH_LENGTHS = "The axes here are not both lengths."


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """Where masks lie: the image, and the ``(3, 3)`` map of the network's (row, column) to the image's."""

    frame: Frame
    model_to_image: npt.NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the stored image."""
        return self.frame.stored.shape[0], self.frame.stored.shape[1]

    def thinned(self, grid: tuple[int, int]) -> tuple[npt.NDArray[np.float64], tuple[int, int]]:
        """Every n-th pixel of the image: the map to them from the network's ``grid``, and how many there are.

        All of them up to a side of 1024, or of twice the grid's if that is more, so that none of its cells is left out.
        """
        step = max(1, max(self.shape) // max(_LONGEST_SIDE, 2 * max(grid)))
        rows, columns = (-(-(side - step // 2) // step) for side in self.shape)
        to_thin = np.array([[1 / step, 0, -(step // 2) / step], [0, 1 / step, -(step // 2) / step], [0, 0, 1]])
        return to_thin @ self.model_to_image, (rows, columns)


def check_shape(card: Card, masks: npt.NDArray[Any], images: int) -> None:
    """Refuse masks of another size than the card's, which would lie somewhere else, and those of other images.

    Args:
        card: of a segmentation model.
        masks: what its network gives.
        images: how many it was given.

    Raises:
        CardError: they are of another size, or of more or fewer images.
    """
    output = card.output(MASKS)
    expected = output.shape[1:] if output is not None else ()
    if masks.shape[1:] != expected:
        gives, names = (" x ".join(map(str, shape)) or "no" for shape in (masks.shape[1:], expected))
        raise CardError(f"The network of {card.id} gives masks of {gives} numbers and its card says {names}; refused.")
    if len(masks) != images:
        raise CardError(f"The network of {card.id} gives masks of {len(masks)} images for {images}; refused.")


def are_possible(card: Card, masks: npt.NDArray[Any]) -> bool:
    """Whether masks can be what the card says: probabilities lie in 0..1, and those of one pixel's classes add up."""
    spec = _spec(card)
    if spec.values == "logits":
        return True
    if not ((masks >= -_SLACK) & (masks <= 1 + _SLACK)).all():
        return False
    return spec.classes == "independent" or bool((np.abs(masks.sum(axis=1) - 1) <= 10 * _SLACK).all())


def probabilities(card: Card, masks: npt.NDArray[Any]) -> Floats:
    """The network's own probability of each channel at each of its pixels; nobody has calibrated it.

    Args:
        card: of a segmentation model.
        masks: ``(n, channels, rows, columns)``, the output.

    Returns:
        The same shape, float32 in 0..1.
    """
    spec, values = _spec(card), np.asarray(masks, np.float32)
    if spec.values == "probabilities":
        return np.clip(values, 0, 1)
    if spec.classes == "exclusive":
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
    small = np.exp(-np.abs(values))  # written so that neither tail overflows
    return np.asarray(np.where(values >= 0, 1, small) / (1 + small), np.float32)


def shares(
    card: Card, masks: npt.NDArray[Any], ground: Ground, stop: StopToken | None = None
) -> npt.NDArray[np.float64]:
    """Which share of the image each label takes, ``(n, labels)``, by the rule of :func:`regions_of`.

    Placed and cut on the image, as what is drawn is: on the network's grid a threshold below a half, or a class that
    wins between two cells, would give another share. Of a large image on every n-th pixel.

    Raises:
        Stopped: the reader cancelled; looked at for each channel.
    """
    to_image, shape = ground.thinned((masks.shape[2], masks.shape[3]))
    counted = []
    for channels in probabilities(card, masks):
        placed = (place_saliency(channel, to_image, shape) for channel in _until(stop, channels))
        counted.append([mask.mean() for mask, _ in _cut(card, placed)])
    return np.asarray(counted, np.float64)


def regions_of(
    card: Card,
    masks: npt.NDArray[Any],
    ground: Ground,
    bands: Sequence[Share],
    language: str = "en",
    stop: StopToken | None = None,
) -> tuple[Region, ...]:
    """What the network outlines on the first image of a batch; a label of which it found nothing has an empty mask.

    Args:
        card: of a segmentation model.
        masks: ``(n, channels, rows, columns)``, the output.
        ground: the image, and where the network's grid lies on it.
        bands: for each label, the smallest and largest share of the image under small changes of it.
        language: of titles.
        stop: to cancel; looked at for each channel and each label.

    Raises:
        Stopped: the reader cancelled.
    """
    channels = _until(stop, probabilities(card, masks[:1])[0])
    cut = _cut(card, (place_saliency(channel, ground.model_to_image, ground.shape) for channel in channels))
    return tuple(
        _region(label, mask, inside, ground.frame, band, language)
        for label, (mask, inside), band in _until(stop, zip(card.labels, cut, bands, strict=True))
    )


def masks_of(card: Card, masks: npt.NDArray[Any], ground: Ground) -> list[Mask]:
    """The mask of each label on the first image of a batch, ``(rows, columns)``, as :func:`regions_of` has them."""
    channels = probabilities(card, masks[:1])[0]
    placed = (place_saliency(channel, ground.model_to_image, ground.shape) for channel in channels)
    return [mask for mask, _ in _cut(card, placed)]


def _until(stop: StopToken | None, many: Iterable[_One]) -> Iterator[_One]:
    """One after the other, until somebody asks to stop."""
    for one in many:
        if stop is not None:
            stop.raise_if_stopped()
        yield one


def _spec(card: Card) -> MaskSpec:
    if card.masks is None:
        raise CardError(f"The model {card.id} outlines nothing.")
    return card.masks


def _outline(label: Label) -> OutlineSpec:
    if label.outline is None:
        raise CardError(f"The label {label.name} is not of an outline.")
    return label.outline


def _cut(card: Card, channels: Iterator[Floats]) -> Iterator[tuple[Mask, float | None]]:
    """The mask of each label with the mean probability inside; None where it is empty.

    Args:
        card: says how channels belong together.
        channels: the probabilities of each, all of one shape; one at a time, since images are large. NaN is outside.
    """
    if _spec(card).classes == "independent":
        for label, channel in zip(card.labels, channels, strict=True):
            mask = channel >= label.threshold
            yield mask, _mean(channel, mask)
        return
    highest = next(channels).copy()  # of the background
    winner = np.zeros(highest.shape, np.int32)
    for number, channel in enumerate(channels, start=1):
        is_higher = channel > highest
        winner[is_higher] = number
        highest[is_higher] = channel[is_higher]
    for number, label in enumerate(card.labels, start=1):
        mask = (winner == number) & (highest >= label.threshold)
        yield mask, _mean(highest, mask)


def _mean(values: Floats, mask: Mask) -> float | None:
    return float(values[mask].mean(dtype=np.float64)) if mask.any() else None


def _region(label: Label, mask: Mask, inside: float | None, frame: Frame, band: Share, language: str) -> Region:
    outline, pixels = _outline(label), int(mask.sum())
    area, basis, remark = _area(mask, pixels, frame)
    share = pixels / mask.size
    return Region(
        label=label.name,
        code=label.code,
        code_meaning=label.code_meaning,
        category=f"{outline.category.scheme}:{outline.category.value}",
        category_meaning=outline.category.meaning,
        title=label.title.say(language),
        threshold=label.threshold,
        shape=(mask.shape[0], mask.shape[1]),
        packed=np.packbits(mask),
        outlines=() if is_ragged(mask) else outlines_of(mask),
        pixels=pixels,
        area_mm2=area,
        basis=basis,
        remark=remark,
        mean_probability=inside,
        stability=(min(band[0], share), max(band[1], share)),
        color=outline.color,
        measured=outline.measured.say(language),
    )


def _area(mask: Mask, pixels: int, frame: Frame) -> tuple[float | None, str, str]:
    """The area in mm2 with what that rests on; None with the reason where the file's pixels have no size to trust."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    corners = [(float(c[0]), float(r[0])) for r, c in ((rows, columns),) if len(r)]
    corners += [(float(c[-1] + 1), float(r[-1] + 1)) for r, c in ((rows, columns),) if len(r)]
    whole = [(0.0, 0.0), (float(mask.shape[1]), float(mask.shape[0]))]
    scale = scale_at(corners or whole, frame.description)
    if scale.units != ("mm", "mm"):
        return None, "", scale.remark or NOT_BOTH_LENGTHS
    return pixels * scale.across * scale.down, scale.basis, ""

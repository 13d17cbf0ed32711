"""What a segmentation model outlines, as its card describes it: what its masks hold, and what each outline is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from medviewer.domain.frozen import dataclass

if TYPE_CHECKING:
    from medviewer.inference.card import Card, Label, Text

MASKS = "masks"  # the graph's output, and the card's field
_LONGEST_VALUE, _LONGEST_MEANING = 16, 64  # of a code in DICOM (SH, LO)

Values = Literal["logits", "probabilities"]
Classes = Literal["independent", "exclusive"]


@dataclass(frozen=True, slots=True)
class MaskSpec:
    """How the output ``masks`` ``(n, channels, rows, columns)`` is read.

    ``independent``: a channel a label, each by itself (sigmoid). ``exclusive``: the first channel is the
    background and each pixel is of one class (softmax over the channels). ``values`` says whether sigmoid or
    softmax has been taken already.
    """

    values: Values
    classes: Classes

    def channels(self, labels: int) -> int:
        """How many channels there are for so many labels."""
        return labels + (self.classes == "exclusive")


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded word, as DICOM writes it."""

    scheme: str
    value: str
    meaning: str

    @property
    def is_for_dicom(self) -> bool:
        """Whether each part is there, fits into its element, and can be told apart as ``scheme:value``."""
        fits = 0 < len(self.value) <= _LONGEST_VALUE and 0 < len(self.meaning) <= _LONGEST_MEANING
        return fits and 0 < len(self.scheme) <= _LONGEST_VALUE and ":" not in self.scheme + self.value


@dataclass(frozen=True, slots=True)
class OutlineSpec:
    """What a label's outline is of: the codes of a DICOM segment, its colour, and how true it was.

    ``category`` and ``type`` are Segmented Property Category and Type (PS3.16 CID 7150, 7151). ``measured`` says how
    well the outlines fitted those of people (Dice, of how many, on whom); empty if nobody measured it.
    """

    category: Coded
    type: Coded
    color: tuple[int, int, int]  # red, green, blue; 0 to 255
    measured: Text


def read_masks(d: Mapping[str, Any]) -> MaskSpec | None:
    """The field ``masks`` of a validated card."""
    return MaskSpec(d[MASKS]["values"], d[MASKS]["classes"]) if MASKS in d else None


def read_outline(d: Mapping[str, Any]) -> OutlineSpec | None:
    """What an entry of a validated card's ``labels`` says of an outline; None if it is of no segmentation."""
    from medviewer.inference.card import Text  # noqa: PLC0415 - cards are made of this

    if "category" not in d or "color" not in d:
        return None
    red, green, blue = d["color"]
    return OutlineSpec(Coded(**d["category"]), Coded(**d["code"]), (red, green, blue), Text.read(d.get("measured")))


def mask_problems(card: Card) -> Iterator[tuple[bool, str]]:
    """What contradicts itself in the card of a segmentation model, each with whether it does."""
    names, spec, output = [label.name for label in card.labels], card.masks, card.output(MASKS)
    is_image = card.is_of_one_image
    shape = card.inputs[0].shape[2:] if is_image else ()
    channels = spec.channels(len(names)) if spec is not None else 0
    yield not is_image, "a segmentation model takes one image and nothing else"
    yield not names, "it reports no label"
    yield len(set(names)) != len(names), "two labels have the same name"
    yield spec is None, "it does not say what its masks hold (“masks”)"
    yield output is None, "there is no output named “masks”"
    if output is not None and is_image:
        yield (
            output.shape[2:] != shape or len(output.shape) != 4,
            "the masks have not the size of its input",
        )
        has_ground = channels > len(names)
        wanted = "one channel for the background and one for each label" if has_ground else "one channel a label"
        yield output.shape[1:2] != (channels,), f"the masks have not {wanted}"
    yield card.calibration is not None, "calibration is for classification"
    yield bool(card.outcomes), "a segmentation model has labels and no other outcomes"
    yield card.explain is not None, "an outline is its own explanation: it names no methods"
    yield any(card.file(role) for role in ("explain", "cam")), "an outline is its own explanation: it has no such graph"
    for label in card.labels:
        yield from _label_problems(label)


def _label_problems(label: Label) -> Iterator[tuple[bool, str]]:
    outline = label.outline
    yield outline is None, f"{label.name} has no colour or no category"
    if outline is not None:
        yield (
            not outline.type.is_for_dicom,
            (
                f"the code of {label.name} is none that DICOM can hold"
                " (scheme and value of 1 to 16 characters without “:”, a meaning of 1 to 64)"
            ),
        )
        yield (
            not outline.category.is_for_dicom,
            (
                f"the category of {label.name} is no code that DICOM can hold"
                " (scheme and value of 1 to 16 characters without “:”, a meaning of 1 to 64)"
            ),
        )
    yield label.threshold <= 0, f"the threshold of {label.name} is 0, so that every pixel would be inside"
    yield label.operating_point is not None, f"{label.name} has an operating point, which is for classification"

"""What a model said, why, and how far it can be believed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np

from medviewer.domain.anchor import Anchor
from medviewer.domain.frozen import dataclass
from medviewer.domain.volume_map import VolumeMap

GuardLevel = Literal["ok", "warn", "abstain"]
AnswerStatus = Literal["answer", "abstained"]
_MOST_DECIMALS = 6  # of a probability; two that are nearer are told apart in words
DecisionKind = Literal["accepted", "rejected", "changed", "withdrawn"]  # withdrawn: taken back by undo


@dataclass(frozen=True, slots=True)
class Subject:
    """Which question a result answers. A view shows a result only beside its own subject."""

    image_key: tuple[str, str, int]
    model_id: str
    model_sha256: str
    method: str = ""
    finding: str = ""


@dataclass(frozen=True, slots=True)
class GuardResult:
    """One check before or after the network: a stable code, a level, one sentence."""

    code: str
    level: GuardLevel
    text: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of the ``n`` training cases most like this one, as the network sees them, ``positive`` had the finding.

    ``sentence`` says so, and how often the model was wrong in validation on cases with such neighbours; ``on`` says of
    which cases that was counted, and is empty where it was not or the card does not say.
    """

    n: int
    positive: int
    sentence: str
    on: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One label with its calibrated probability and the threshold that flags it.

    ``code`` is ``scheme:value`` (for example ``SCT:233604007``) and ``code_meaning`` what its scheme calls it, which
    the label need not be. ``stability`` is the range (low, high) of the calibrated probability under small changes of
    the image that do not change what it shows; None where it was not computed.
    """

    label: str
    code: str
    probability: float
    threshold: float
    flagged: bool
    stability: tuple[float, float] | None = None
    meaning: str = ""  # what the threshold means, in numbers: one sentence from the card
    neighbours: Neighbours | None = None  # where the model's card has its training cases
    code_meaning: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A value that an answer rests on, as it was recorded, and when.

    ``note`` says what was done to it ("converted from 98.6 [degF]") or that it was not
    recorded and what was taken instead.
    """

    name: str
    title: str
    value: str
    time: datetime | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScorePart:
    """What one value adds to a score."""

    name: str
    title: str
    value: float


@dataclass(frozen=True, slots=True)
class Score:
    """A number on a fixed scale, in a band that has a name. ``parts`` add up to it where it is a sum."""

    label: str
    code: str
    title: str
    value: float
    lowest: float
    highest: float
    band: str
    flagged: bool
    meaning: str = ""
    parts: tuple[ScorePart, ...] = ()


@dataclass(frozen=True, slots=True)
class SurvivalCurve:
    """The probability of being free of an event up to each of ``times``; ``measured`` says how true it was."""

    label: str
    code: str
    title: str
    times: tuple[float, ...]
    time_unit: str  # UCUM: "d", "mo", "a"
    survival: tuple[float, ...]
    horizon: float  # one of times: that at which the model was measured
    measured: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A quantity at times to come: the middle, and a band that held ``nominal`` of what came true.

    ``measured`` says how often it did, on whom.
    """

    label: str
    code: str
    title: str
    unit: str  # UCUM
    hours: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    nominal: float
    measured: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """What a segmentation model outlined of one label, on the image as it is stored. An empty mask is an answer too.

    Attributes:
        label: its name on the card.
        code: of what is outlined, ``scheme:value``: the Segmented Property Type; ``code_meaning`` in words.
        category: Segmented Property Category, likewise.
        title: for people.
        threshold: of a pixel's probability, from which on it is inside.
        shape: rows and columns of the stored image, and of ``mask``.
        packed: ``mask`` in bits, row after row: a reader may have many answers open, on large images.
        outlines: its edges as closed outlines, ``(n, 2)`` (column, row) from the corner of the first pixel; a pixel
            is inside if its centre is inside an odd number of them. None of a mask that is too ragged to be traced.
        pixels: how many there are inside.
        area_mm2: None where the file's pixels have no size that can be trusted; ``remark`` says why.
        basis: what the area rests on ("patient plane", "at detector", "calibrated", "ultrasound region").
        remark: one sentence; empty where there is an area.
        mean_probability: the network's own, not calibrated, over the mask; None if that is empty.
        stability: the smallest and largest share of the image that it took under small changes that do not change
            what the image shows.
        color: red, green, blue; 0 to 255.
        measured: how well such outlines fitted those of people, one sentence from the card; may be empty.
    """

    label: str
    code: str
    code_meaning: str
    category: str
    category_meaning: str
    title: str
    threshold: float
    shape: tuple[int, int]
    packed: np.ndarray
    outlines: tuple[np.ndarray, ...]
    pixels: int
    area_mm2: float | None
    basis: str
    remark: str
    mean_probability: float | None
    stability: tuple[float, float]
    color: tuple[int, int, int]
    measured: str = ""

    @property
    def mask(self) -> np.ndarray:
        """``(rows, columns)`` bool, of the stored image; not to be written to. Unpacked anew each time."""
        rows, columns = self.shape
        unpacked = np.unpackbits(self.packed, count=rows * columns).reshape(rows, columns).view(np.bool_)
        unpacked.setflags(write=False)
        return unpacked

    @property
    def is_ragged(self) -> bool:
        """Whether it has too many corners to be traced, so that there is its mask and no outline."""
        return bool(self.pixels) and not self.outlines

    @property
    def share(self) -> float:
        """Which part of the image it takes, 0 to 1."""
        return self.pixels / (self.shape[0] * self.shape[1])


Outcome: TypeAlias = Score | SurvivalCurve | Forecast


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a result came about, so that it can be made again."""

    model_id: str
    model_version: str
    model_sha256: str
    runtime: str
    provider: str
    provider_reason: str  # why this provider, e.g. "no GPU runtime installed"
    input_sha256: str
    started: str  # ISO 8601, UTC
    elapsed_s: float
    versions: Mapping[str, str] = field(default_factory=dict)
    is_verified: bool = False  # the model's signature is known
    card_sha256: str = ""  # of the card as it was then: the names of labels, thresholds and calibration are its

    def is_same_question(self, other: Provenance) -> bool:
        """Whether both are of the same model and the same input: then one may stand beside the other."""
        mine, others = ((one.model_sha256, one.card_sha256, one.input_sha256) for one in (self, other))
        return mine == others


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The outcome of one run: findings, regions or other outcomes, or an abstention whose reasons are in ``guards``."""

    status: AnswerStatus
    model_title: str
    guards: tuple[GuardResult, ...]
    provenance: Provenance
    findings: tuple[Finding, ...] = ()
    calibration: Mapping[str, float | str] = field(default_factory=dict)
    validated_on: str = ""  # one sentence: where and on whom the model was validated
    outcomes: tuple[Outcome, ...] = ()  # of tasks other than classification
    evidence: tuple[Evidence, ...] = ()  # the recorded values that were used; of an image there are none
    regions: tuple[Region, ...] = ()  # of segmentation, one a label in the card's order

    @property
    def is_calibrated(self) -> bool:
        """Whether its numbers may be called probabilities; else they are the network's own output."""
        return self.calibration.get("method") != "none"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the model abstained; empty if it answered."""
        return tuple(g.text for g in self.guards if g.level == "abstain")


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How a map does against random maps of the same smoothness, on this very image.

    Percentiles in 0..100: 98 means better than 98% of the random maps. ``deletion``
    removes the hottest pixels first, ``insertion`` adds them first (Petsiuk 2018).
    """

    deletion_percentile: float
    insertion_percentile: float
    n_random: int
    sentence: str


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """Where a model looked for one finding, on the image that was analysed, or on other data by anchors.

    Attributes:
        saliency: ``(h, w)`` float32 on the network's input grid or coarser, signed or not
            as the method defines; larger speaks more for the finding.
        model_to_image: ``(3, 3)`` map of saliency-grid (row, column) to image (row, column).
        placed: ``(rows, columns)`` float32 on the image; NaN where the network saw nothing.
        error: the method's own error, e.g. the completeness gap of integrated gradients
            relative to the explained difference; None where the method has none.
        anchors: what each value lies on, where the data is not one image: then ``saliency`` is
            ``(len(anchors),)`` in the same order, and ``placed`` is empty, ``(0, 0)``.
        volume: of a stack of slices, where the values of its boxes lie; ``placed`` is then empty until the map is
            laid on one plane. None where there is no stack.
    """

    method: str
    method_title: str
    finding: str
    saliency: np.ndarray
    model_to_image: np.ndarray
    placed: np.ndarray
    error: float | None
    error_name: str
    faithfulness: Faithfulness | None
    elapsed_s: float
    provenance: Provenance
    anchors: tuple[Anchor, ...] = ()
    volume: VolumeMap | None = None

    @property
    def is_map(self) -> bool:
        """Whether it lies on an image or a stack of slices, so that it can be drawn there."""
        return not self.anchors or self.volume is not None


@dataclass(frozen=True, slots=True)
class Decision:
    """What the reader thought of a result: kept beside it, with reason and time.

    Accepted, rejected, or changed into ``value``, which is what the reader reports instead. IHE RAD AI Result
    Assessment (AIRA, 2025) calls these assessments accept, reject and modify.
    """

    kind: DecisionKind
    reason: str
    time: str  # ISO 8601, UTC
    value: str = ""

    @property
    def assessment(self) -> str:
        """In the words of IHE AIRA; empty for a decision that was taken back."""
        return {"accepted": "accept", "rejected": "reject", "changed": "modify"}.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class Impression:
    """What the reader saw, in their own words; never changed, only followed by another one.

    ``after_ai`` tells whether a model's result on the image had been on screen by then.
    """

    text: str
    time: str  # ISO 8601, UTC
    after_ai: bool


def place_in_question(chances: Sequence[tuple[float, bool]]) -> int:
    """Which of several findings is the one in question, where nobody has chosen one.

    The most probable of those that are flagged; where none is, the most probable one. A finding that its own
    threshold flags is what a reader must look at, however probable another one is that stays below its threshold.

    Args:
        chances: of each finding its calibrated probability and whether it is flagged; at least one.

    >>> place_in_question([(0.60, False), (0.40, True)])
    1
    """
    return max(range(len(chances)), key=lambda place: (chances[place][1], chances[place][0]))


def finding_in_question(findings: Sequence[Finding]) -> Finding | None:
    """The finding that a heat map and the trust in an answer are about; None where there is none.

    The rule is :func:`place_in_question`'s.
    """
    return findings[place_in_question([(one.probability, one.flagged) for one in findings])] if findings else None


def probability_words(probability: float, threshold: float | None = None) -> str:
    """A probability with two decimals that never rounds to certainty, onto the threshold or past it.

    >>> probability_words(0.997), probability_words(0.3481, 0.35)
    ('>0.99', '0.348')
    """
    if probability > 0.995:
        return ">0.99" if probability < 1 or threshold is None else "1.00"
    if 0 <= probability < 0.005:
        return "<0.01"
    if threshold is None or math.isnan(probability):
        return f"{probability:.2f}"
    for decimals in (2, 3, 4, _MOST_DECIMALS):
        words = f"{probability:.{decimals}f}"
        if words != f"{threshold:.{decimals}f}":
            return words
    sign = "<" if probability < threshold else ">" if probability > threshold else ""
    return sign + _trimmed(threshold, _MOST_DECIMALS)


def threshold_words(threshold: float, *beside: float) -> str:
    """A threshold with the digits that it was chosen with: two decimals, a third where it has one.

    It has as many as the words of each probability that it stands ``beside``, so that none of them reads as if it lay
    on the other side.

    >>> threshold_words(0.35), threshold_words(0.285), threshold_words(0.05461, 0.0549)
    ('0.35', '0.285', '0.0546')
    """
    shown = (probability_words(one, threshold).partition(".")[2] for one in beside)
    return _trimmed(threshold, max([3, *map(len, shown)]))


def threshold_of(finding: Finding) -> str:
    """The words of a finding's threshold beside its probability and the bounds of its stability."""
    return threshold_words(finding.threshold, finding.probability, *(finding.stability or ()))


def _trimmed(value: float, decimals: int) -> str:
    """A number without zeros at its end, but for two decimals."""
    whole, _, part = f"{value:.{decimals}f}".partition(".")
    return f"{whole}.{part[:2]}{part[2:].rstrip('0')}"

"""What stands between a network and a reader: checks before it runs and after.

A network answers anything, a knee or a hat included, and nothing in its answer
says so. Each check has a stable code, a level and one sentence. ``abstain`` means that
there is no result; ``warn`` that there is one, with a reservation that is shown
beside it. What a file does not say is *unknown*, never assumed: the reader is told
and may confirm it once (``Case.confirmed`` holds the code, such as ``view.unknown``).

No warning does not mean that the image is like those the model knows: these checks
find some of what can be wrong, not all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.answer import GuardLevel, GuardResult
from medviewer.domain.case import Case
from medviewer.domain.digits import percent_number
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Caveat, PixelDescription
from medviewer.domain.volume import Volume
from medviewer.imaging.scale import pixel_sizes_mm
from medviewer.inference.card import Card, InputSpec, Label, OodSpec, ResidualSpec, Text, TextureSpec
from medviewer.inference.card_outcomes import OutcomeSpec
from medviewer.inference.guard_texts import TEXTS
from medviewer.inference.inputs.adapter import Doubt
from medviewer.inference.neighbours import SAME, Memory
from medviewer.inference.texture import texture

# PS3.4 B.5: Secondary Capture and its multi-frame kinds: a picture of a picture.
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Caveats of a frame whose pixels are not all there, not certain, or perhaps another image's: nothing may be
# concluded from them.
_BROKEN = frozenset({"truncated", "jpeg2000.sign", "uid.duplicate", "photometric.guessed", "sign.guessed"})
_NO_HEADER = "identity.none"  # the caveat of a file that is no DICOM
_FRONTAL = frozenset({"AP", "PA"})
_RANGE_SLACK = 1e-3
_FLAT = 1e-5  # as much as resizing leaves of rounding, of the largest value or of 1
# How many times the smallest outline the largest may be: shifts and turns leave an area as it is, and a window 5% wider
# or narrower moves its edge a little. At twice it is another outline.
_MOST_GROWTH = 2.0


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """The pooled features of the training images: where they lie and how far they spread.

    Attributes:
        means: ``(classes, features)``.
        whitening: ``(directions, features)``.
    """

    means: npt.NDArray[np.float32]
    whitening: npt.NDArray[np.float32]

    def distance(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Mahalanobis distance of each row of ``features`` ``(n, features)`` to the nearest class (Lee 2018)."""
        away = features[:, None, :].astype(np.float64) - self.means[None].astype(np.float64)
        return np.asarray(np.linalg.norm(away @ self.whitening.T.astype(np.float64), axis=2).min(axis=1))


@dataclass(frozen=True, slots=True)
class ResidualStatistics:
    """The directions in which the features of the training images vary, to measure what lies outside of them.

    An image without structure (noise, a ramp) lies near the *mean* of many features, so a
    distance inside of these directions calls it usual; what it has and no film has is outside.

    Attributes:
        mean: ``(features,)``.
        scale: ``(features,)``, standard deviations.
        directions: ``(directions, features)``, orthonormal, of the scaled features.
    """

    mean: npt.NDArray[np.floating]
    scale: npt.NDArray[np.floating]
    directions: npt.NDArray[np.floating]

    def distance(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Root of the squared prediction error of each row of ``features`` (Jackson & Mudholkar 1979)."""
        directions = self.directions.astype(np.float64)
        scaled = (features.astype(np.float64) - self.mean.astype(np.float64)) / self.scale.astype(np.float64)
        return np.asarray(np.linalg.norm(scaled - (scaled @ directions.T) @ directions, axis=1))


def say(code: str, level: GuardLevel, language: str, key: str = "", **facts: Any) -> GuardResult:
    """One result in the reader's language; ``key`` names another sentence than the code's own."""
    return GuardResult(code, level, TEXTS[key or code].say(language).format(**facts))


def is_abstention(results: Iterable[GuardResult]) -> bool:
    """Whether there must be no result."""
    return any(result.level == "abstain" for result in results)


def check_input(
    case: Case, frame: Frame | None, card: Card, language: str = "en", spec: InputSpec | None = None
) -> tuple[GuardResult, ...]:
    """Everything that the file's header and the patient's age say before a network runs.

    Args:
        case: the patient, without identity.
        frame: the image to analyse; None if the case has none.
        card: the model's.
        language: of the sentences, ``"en"`` or ``"zh"``.
        spec: which of the card's inputs the image is for; None for the first.

    Returns:
        One result a check, in the order of the checks; those that pass say so.
    """
    if frame is None:
        return (say("no_image", "abstain", language),)
    spec, seen = spec or card.inputs[0], frame.description
    gate = _Gate(case.confirmed, language, any(caveat.code == _NO_HEADER for caveat in frame.caveats))
    results = [
        gate.tag("modality", seen.modality, spec.modality),
        gate.tag("body_part", seen.body_part_examined, spec.body_part),
        gate.view(seen.view_position, seen.patient_orientation, spec.view),
        _photometric(frame, spec, language),
        gate.sop_class(seen.sop_class_uid, spec.sop_class_uids),
        gate.spacing(seen, spec),
        gate.burnt_in(frame.description),
        gate.age(case, card),
        gate.sex(case.sex, card),
        *_caveats(frame.caveats, language),
    ]
    return tuple(result for result in results if result is not None)


def check_population(case: Case, card: Card, language: str = "en") -> tuple[GuardResult, ...]:
    """How far the patient is from those on whom the model was validated, for a model that is given no image."""
    gate = _Gate(case.confirmed, language)
    results = (gate.age(case, card), gate.sex(case.sex, card))
    return tuple(result for result in results if result is not None)


def check_stack(case: Case, volume: Volume, spec: InputSpec, language: str = "en") -> tuple[GuardResult, ...]:
    """What the files of a stack of slices say of themselves, as :func:`check_input` says of an image's."""
    has_header = all(caveat.code != _NO_HEADER for caveat in volume.caveats)
    gate = _Gate(case.confirmed, language, has_no_header=not has_header)
    seen = volume.description
    tags = (
        gate.tag("modality", seen.modality, spec.modality),
        gate.tag("body_part", seen.body_part_examined, spec.body_part),
    )
    # What does not fit is told by the input's own examination, but for what no header says.
    told = [
        one
        for one in tags
        if one is not None and (one.level == "ok" or (not has_header and one.code == "modality.unknown"))
    ]
    doubts = (gate.sop_class(seen.sop_class_uid, ()), gate.burnt_in(seen))
    return (*told, *(one for one in doubts if one is not None), *_caveats(volume.caveats, language))


def check_sides(sides: Collection[str], language: str = "en") -> tuple[GuardResult, ...]:
    """Refuse views of both sides of the body, taken for views of one."""
    if len(sides) < 2:
        return ()
    return (say("sides_differ", "abstain", language, found=", ".join(sorted(sides))),)


def check_data(doubts: Iterable[Doubt], language: str = "en") -> tuple[GuardResult, ...]:
    """What an input's own examination found, in the reader's language; the code ends with the field's name."""
    results = []
    for doubt in doubts:
        facts = {key: fact.say(language) if isinstance(fact, Text) else fact for key, fact in doubt.facts.items()}
        code = f"{doubt.code}.{doubt.name}" if doubt.name else doubt.code
        results.append(say(code, doubt.level, language, doubt.code, **facts))
    return tuple(results)


def check_recent(too_old: Sequence[OutcomeSpec], n_outcomes: int, language: str = "en") -> tuple[GuardResult, ...]:
    """Which outcomes are not given, since what they go on from was not measured recently; no result, if it is all."""
    level: GuardLevel = "abstain" if too_old and len(too_old) == n_outcomes else "warn"
    return tuple(
        say(
            f"not_recent.{one.name}", level, language, "not_recent",
            name=one.title.say(language), hours=f"{one.recent[1]:g}",
        )
        for one in too_old
        if one.recent is not None
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Gate:
    """The checks that the reader may confirm."""

    confirmed: frozenset[str]
    language: str
    has_no_header: bool = False

    def _doubt(self, code: str, key: str = "", **facts: Any) -> GuardResult:
        """Warn of something unknown, unless the reader has confirmed it; ``key`` as in :func:`say`."""
        if code in self.confirmed:
            return say(code, "ok", self.language, f"{key or code}.confirmed", **facts)
        # A volume or picture could be anything: without somebody who says what it is, there is no answer.
        is_anything = self.has_no_header and code == "modality.unknown"
        return say(code, "abstain" if is_anything else "warn", self.language, key, **facts)

    def tag(self, code: str, value: str, allowed: tuple[str, ...], special: str = "") -> GuardResult | None:
        """Compare one header field with the values that the model knows; ``special`` ends the key of its sentences."""
        found = value.strip().upper()
        expected = ", ".join(allowed)
        if not allowed:
            return None
        if not found:
            return self._doubt(f"{code}.unknown", f"{code}.unknown{special}", expected=expected)
        if found in allowed:
            return say(code, "ok", self.language, f"{code}.ok", found=found, expected=expected)
        return say(code, "abstain", self.language, f"{code}.abstain{special}", found=found, expected=expected)

    def view(self, found: str, orientation: tuple[str, str] | None, allowed: tuple[str, ...]) -> GuardResult | None:
        """Compare the view; where rows run from front to back, the film is a lateral whatever is left out."""
        name, expected = found.strip().upper(), ", ".join(allowed)
        is_lateral = orientation is not None and orientation[0][:1] in ("A", "P")
        is_frontal = _FRONTAL.issuperset(allowed)
        if not is_lateral or not allowed or not is_frontal or (name and name not in allowed):
            return self.tag("view", found, allowed, ".frontal" if is_frontal else "")
        key = "view.contradiction" if name else "view.lateral"
        return say("view", "abstain", self.language, key, found=name, expected=expected)

    def sop_class(self, found: str, allowed: tuple[str, ...]) -> GuardResult | None:
        """Refuse kinds of object that the model was not made for; doubt pictures of pictures."""
        if allowed and found and found not in allowed:
            return say("sop_class", "abstain", self.language)
        if found == _SECONDARY_CAPTURE or found.startswith(f"{_SECONDARY_CAPTURE}."):
            return self._doubt("secondary_capture")
        return None

    def spacing(self, seen: PixelDescription, spec: InputSpec) -> GuardResult | None:
        """Compare the size of a pixel, both ways, with what the model is for; pixels of unknown size are doubted.

        It is the spacing by which lengths are measured: what the files say is at a radiograph's detector stays so.
        """
        if (bounds := spec.document.get("spacing_mm")) is None:
            return None
        facts = {"low": f"{bounds[0]:g}", "high": f"{bounds[1]:g}"}
        sizes = pixel_sizes_mm(seen)
        if not sizes:
            return self._doubt("spacing.unknown", **facts)
        found = " × ".join(dict.fromkeys(f"{size:.4g}" for size in (min(sizes), max(sizes))))
        if bounds[0] <= min(sizes) and max(sizes) <= bounds[1]:
            return say("spacing", "ok", self.language, "spacing.ok", found=found, **facts)
        return say("spacing", "abstain", self.language, found=found, **facts)

    def burnt_in(self, seen: PixelDescription) -> GuardResult | None:
        """Letters in the picture are something that a network can read instead of the anatomy."""
        return self._doubt("burnt_in_annotation") if seen.has_burnt_in_annotation else None

    def age(self, case: Case, card: Card) -> GuardResult | None:
        """Say how far the patient is from those on whom the model was validated."""
        population, age = card.population.age_years, case.age_years
        if case.ages_told and (population is not None or _takes_age(card)):
            return self._doubt("age.contradiction", found=", ".join(map(str, case.ages_told)))
        if population is None:
            return None
        low, high = (_plain(value) for value in population)
        if age is None or not np.isfinite(age):
            return self._doubt("age.unknown", low=low, high=high)
        # "Ages 1-5" is meant as people say it: a child is 5 until the sixth birthday.
        if population[0] <= age < population[1] + 1:
            return say("age", "ok", self.language, "age.ok", low=low, high=high)
        shown = _plain(age if age < 1 else int(age))
        level: GuardLevel = "abstain" if card.population.is_strict else "warn"
        key = "age.abstain" if card.population.is_strict else "age"
        return say("age", level, self.language, key, low=low, high=high, age=shown)

    def sex(self, sex: str | None, card: Card) -> GuardResult | None:
        """Warn if nobody of this sex was among the validated, or if nobody knows."""
        known = card.population.sexes
        expected = ", ".join(known)
        if not known or sex in known:
            return None
        if not sex:
            return self._doubt("sex.unknown", expected=expected)
        return say("sex", "warn", self.language, expected=expected, found=sex)


def _takes_age(card: Card) -> bool:
    return any(one.get("from") == "age_years" for spec in card.inputs for one in spec.document.get("fields", ()))


def _photometric(frame: Frame, spec: InputSpec, language: str) -> GuardResult | None:
    allowed = spec.photometric_interpretation
    if frame.is_color:
        key = "color" if spec.modality else "color.any"
        return say("color", "abstain", language, key, expected=", ".join(spec.modality))
    found = frame.description.photometric_interpretation.strip().upper()
    level: GuardLevel = "ok" if found in allowed or not allowed else "abstain"
    return say("photometric_interpretation", level, language, f"photometric_interpretation.{level}", found=found)


def _caveats(caveats: Iterable[Caveat], language: str) -> list[GuardResult]:
    """A file that had to be repaired: no result where pixels are missing, else a warning with the repair.

    Where the image lies in the patient is nothing that a network sees, nor is a colour profile. How the slices of a
    stack lie to each other is examined by their numbers.
    """
    results: list[GuardResult] = []
    for caveat in caveats:
        kind = caveat.code.split(".")[0]
        if kind not in ("geometry", "color", "slices"):
            level: GuardLevel = "abstain" if kind in _BROKEN or caveat.code in _BROKEN else "warn"
            results.append(say(f"image.{caveat.code}", level, language, f"image.{level}", text=caveat.text))
    return results


def check_evidence(card: Card, language: str = "en") -> tuple[GuardResult, ...]:
    """Warn of a model of which nobody measured how far its numbers can be believed."""
    doubts = []
    if card.calibration is not None and card.calibration.method == "none":
        doubts.append(say("uncalibrated", "warn", language))
    unmeasured = [label.title.say(language) for label in card.labels if not _is_measured(label)]
    if unmeasured and len(unmeasured) == len(card.labels):
        doubts.append(say("unmeasured", "warn", language))
    elif unmeasured:
        names = "; ".join(unmeasured)
        doubts.append(say("unmeasured.some", "warn", language, names=names))
    return tuple(doubts)


def _is_measured(label: Label) -> bool:
    return label.operating_point is not None or (label.outline is not None and bool(label.outline.measured.en))


def check_range(tensor: npt.NDArray[Any], card: Card, language: str = "en", name: str = "") -> tuple[GuardResult, ...]:
    """Refuse prepared data with values that the network never met; ``name`` is the array's, else the first input's."""
    key = "range" if card.is_of_one_image else "range.data"
    if not np.isfinite(tensor).all():
        return (say("range", "abstain", language, key),)
    bounds = card.ranges.get(name or card.inputs[0].name)
    if bounds is None:
        return ()
    slack = _RANGE_SLACK * (bounds[1] - bounds[0])
    inside = tensor.min() >= bounds[0] - slack and tensor.max() <= bounds[1] + slack
    return (say("range", "ok", language, "range.ok") if inside else say("range", "abstain", language, key),)


def check_content(pictures: Iterable[npt.NDArray[Any]], language: str = "en") -> tuple[GuardResult, ...]:
    """Refuse an image in which there is nothing: a network answers it all the same, and may find it like the others.

    Args:
        pictures: each image or stack as the network is given it.
        language: of the sentence.
    """
    for tensor in pictures:
        low, high = float(tensor.min()), float(tensor.max())
        if high - low <= _FLAT * max(1.0, abs(low), abs(high)):
            return (say("flat", "abstain", language),)
    return ()


def check_outputs(outputs: Mapping[str, npt.NDArray[Any]], language: str = "en") -> tuple[GuardResult, ...]:
    """Refuse an answer that is not a number: a broken network must never look like a finding."""
    if all(np.isfinite(array).all() for array in outputs.values()):
        return ()
    return (say("no_result", "abstain", language),)


def check_distribution(
    features: npt.NDArray[np.float32],
    statistics: FeatureStatistics,
    spec: OodSpec,
    language: str = "en",
    suffix: str = "",
) -> GuardResult:
    """Say how unlike the training images this one is, in the network's own features.

    Args:
        features: ``(1, features)`` pooled features of the image.
        statistics: of the training images, from the file that the card names.
        spec: the card's limits.
        language: of the sentence.
        suffix: ``".data"`` for what is no image.
    """
    return _far("out_of_distribution", float(statistics.distance(features)[0]), spec, language, suffix)


def check_unseen(
    features: npt.NDArray[np.floating], memory: Memory, language: str = "en", suffix: str = ""
) -> tuple[GuardResult, ...]:
    """Say so if the network learned from this very case: then it repeats what it was told.

    Silent otherwise: of cases that only helped to choose it, and of changed copies, nothing is known.

    Args:
        features: ``(1, features)`` of the case, the graph output that the card names.
        memory: the training cases.
        language: of the sentence.
        suffix: ``".data"`` for what is no image.
    """
    if memory.nearness(features)[0] > SAME:
        return ()
    return (say("learned_from", "warn", language, f"learned_from{suffix}"),)


def check_residual(
    features: npt.NDArray[np.float32],
    statistics: ResidualStatistics,
    spec: ResidualSpec,
    language: str = "en",
    suffix: str = "",
) -> GuardResult:
    """Say how much of this image is nothing that varies among the training images.

    Args:
        features: ``(1, features)`` pooled features of the image.
        statistics: of the training images, from the file that the card names.
        spec: the card's limits.
        language: of the sentence.
        suffix: ``".data"`` for what is no image.
    """
    return _far("out_of_distribution.residual", float(statistics.distance(features)[0]), spec, language, suffix)


def check_texture(
    picture: npt.NDArray[np.floating], statistics: FeatureStatistics, spec: TextureSpec, language: str = "en"
) -> GuardResult:
    """Say how unlike the training images this one is composed: its grain, its light, and their directions.

    Args:
        picture: ``(1, rows, columns)`` the image as the network is given it.
        statistics: of the training images' textures, from the file that the card names.
        spec: the card's limits.
        language: of the sentence.
    """
    return _far("out_of_distribution.texture", float(statistics.distance(texture(picture[None]))[0]), spec, language)


def _far(
    code: str, distance: float, spec: OodSpec | ResidualSpec | TextureSpec, language: str, suffix: str = ""
) -> GuardResult:
    level: GuardLevel = "ok"
    if not distance <= spec.abstain_above:  # also when it is not a number
        level = "abstain"
    elif distance > spec.warn_above:
        level = "warn"
    facts = {"distance": f"{distance:.1f}", "warn": _plain(spec.warn_above), "abstain": _plain(spec.abstain_above)}
    return say(code, level, language, f"{code}.{level}{suffix}", **facts)


def check_stability(label: Label, band: tuple[float, float], language: str = "en") -> GuardResult:
    """Warn when small changes of the picture, which change nothing in the patient, change the answer."""
    flips = band[0] < label.threshold <= band[1]
    facts = {"low": f"{band[0]:.2f}", "high": f"{band[1]:.2f}", "label": label.title.say(language)}
    level: GuardLevel = "warn" if flips else "ok"
    return say("stability", level, language, f"stability.{level}", **facts)


def check_outline(label: Label, band: tuple[float, float], language: str = "en") -> GuardResult:
    """Warn when small changes of the picture, which change nothing in the patient, make an outline come, go or double.

    Args:
        label: what is outlined.
        band: the smallest and largest share of the image that its outline takes under them, the drawn one included.
        language: of the sentence.
    """
    comes_and_goes = band[0] == 0 < band[1]
    level: GuardLevel = "warn" if comes_and_goes or band[1] > _MOST_GROWTH * band[0] else "ok"
    key = "outline.none" if band[1] == 0 else f"outline.{level}"
    if level == "warn" and not comes_and_goes:
        key = "outline.grows"
    low, high = (percent_number(value) for value in band)
    return say("stability", level, language, key, label=label.title.say(language), low=low, high=high)


def _plain(value: float) -> str:
    """A number as people write it: 5, not 5.0."""
    return f"{value:.2f}".rstrip("0").rstrip(".")

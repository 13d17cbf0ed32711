"""A model's card: what it is for, what it may be given, and how far it can be believed.

:func:`read_card` gives frozen data that has been checked against
:mod:`medviewer.inference.card_schema` and for what a schema cannot say. The
card is trusted for nothing else: the files that it names are checked, when they
are opened, against the digests it gives (:mod:`medviewer.inference.loading`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medviewer.domain.errors import CardError
from medviewer.inference.card_json import CARD_NAME, read_document
from medviewer.inference.card_schema import CARD_SCHEMA
from medviewer.inference.preprocessing import OPERATIONS

Role = Literal["model", "explain", "cam", "reference", "ood"]
Task = Literal["multilabel", "multiclass"]


@dataclass(frozen=True, slots=True)
class Text:
    """Words for people, in English and, where the card gives them, Chinese."""

    en: str
    zh: str = ""

    def say(self, language: str = "en") -> str:
        """The text in ``language`` (``"en"``, ``"zh"``, ``"zh_CN"``...), English if it has no other."""
        return self.zh if language.lower().startswith("zh") and self.zh else self.en


@dataclass(frozen=True, slots=True)
class CardFile:
    """One file of the model folder; ``sha256`` is what its bytes must hash to."""

    role: Role
    path: str  # a name beside the card
    sha256: str
    size: int  # bytes
    opset: int | None = None
    control_flow: tuple[str, ...] = ()  # operators of If, Loop, Scan that the graph may hold


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the network may be shown. An empty tuple means "not checked"."""

    name: str
    modality: tuple[str, ...]
    body_part: tuple[str, ...]
    view: tuple[str, ...]
    photometric_interpretation: tuple[str, ...]
    dtype: str
    layout: str
    shape: tuple[int | None, ...]  # None is the batch
    sop_class_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """A named output of the graph: ``logits`` (N, C), ``features`` (N, F), ``cam`` (N, C, h, w), ..."""

    name: str
    shape: tuple[int | None, ...]
    meaning: Text


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """How the threshold did where it was chosen: ``n`` cases of ``on``.

    ``threshold`` is the one that was measured; None if the card does not say which it was.
    """

    sensitivity: float
    specificity: float
    n: int
    on: Text
    meaning: Text
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """One finding that the model can report. ``code`` is written ``scheme:value``."""

    name: str
    code: str
    code_meaning: str
    title: Text
    threshold: float  # on the calibrated probability, 0..1
    operating_point: OperatingPoint

    @property
    def meaning(self) -> Text:
        """What the threshold means, in numbers; nothing unless they were measured at this very threshold."""
        return self.operating_point.meaning if self.operating_point.threshold == self.threshold else Text("")


@dataclass(frozen=True, slots=True)
class CalibrationSpec:
    """How logits become probabilities, and how well (expected calibration error) on what."""

    method: Literal["temperature", "platt"]
    slope: tuple[float, ...]  # one a label; a temperature T is the slope 1 / T for each
    intercept: tuple[float, ...]
    parameters: Mapping[str, Any]  # as the card writes them
    ece_before: float
    ece_after: float
    on: Text


@dataclass(frozen=True, slots=True)
class ResidualSpec:
    """When too much of an image is nothing that varies among the training images (Jackson & Mudholkar 1979)."""

    output: str
    warn_above: float
    abstain_above: float


@dataclass(frozen=True, slots=True)
class OodSpec:
    """When an image is too unlike the training images, in Mahalanobis distance of pooled features.

    A card without ``residual`` (written before that existed) stays valid: its one distance is
    what its makers measured and published, and the reader sees which checks were made.
    """

    file: str
    method: str
    output: str
    warn_above: float
    abstain_above: float
    residual: ResidualSpec | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The graph's outputs that the checks need, each once."""
        return tuple(dict.fromkeys([self.output, *([self.residual.output] if self.residual else [])]))


@dataclass(frozen=True, slots=True)
class ExplainSpec:
    """Where in the network to look for an explanation, and which methods were checked."""

    target_layer: str
    grid: tuple[int, int]  # rows, columns of the feature map
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Population:
    """On whom the model was validated. ``age_years`` is (youngest, oldest), or None if not known."""

    age_years: tuple[float, float] | None
    sexes: tuple[str, ...]
    site: Text


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """One model: identity, purpose, files, and everything that bounds what it may say."""

    folder: Path
    id: str
    version: str
    title: Text
    task: Task
    intended_use: Text
    not_for: Text
    languages: tuple[str, ...]
    files: tuple[CardFile, ...]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    preprocessing: tuple[Mapping[str, Any], ...]
    labels: tuple[Label, ...]
    calibration: CalibrationSpec
    population: Population
    evidence: tuple[Mapping[str, Any], ...]
    training: Mapping[str, Any]
    licences: Mapping[str, str]
    regulatory: Text
    ood: OodSpec | None = None
    explain: ExplainSpec | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    subgroups: tuple[Mapping[str, Any], ...] = ()
    references: tuple[str, ...] = ()
    reference_tolerance: float = 1e-3
    document: Mapping[str, Any] = field(default_factory=dict)  # the whole card as it was read

    @property
    def sha256(self) -> str:
        """The digest of the network itself: what "which model was it" means."""
        return self.require("model").sha256

    def file(self, role: Role) -> CardFile | None:
        """The file with this role, or None if the model has none."""
        return next((file for file in self.files if file.role == role), None)

    def require(self, role: Role) -> CardFile:
        """The file with this role.

        Raises:
            CardError: the model has none.
        """
        file = self.file(role)
        if file is None:
            raise CardError(f"The model {self.id} has no file for “{role}”; choose another model or method.")
        return file

    def label_index(self, name: str) -> int:
        """Which column of the logits belongs to the label ``name``.

        Raises:
            CardError: the model has no such label.
        """
        names = [label.name for label in self.labels]
        if name not in names:
            raise CardError(f"The model {self.id} does not report “{name}”; it reports {', '.join(names)}.")
        return names.index(name)


def read_card(folder: Path) -> Card:
    """Read and check the card of a model folder.

    Args:
        folder: the model's folder, which holds ``model.json``.

    Returns:
        The card. Its files are not opened here.

    Raises:
        CardError: there is no card, it is not JSON, it breaks the schema, or it
            contradicts itself; the message names the field.
    """
    document = read_document(folder)
    _validate(document)
    card = _build(folder, document)
    _check(card)
    return card


def _validate(document: Mapping[str, Any]) -> None:
    # Loading the validator takes longer than reading a card: only who reads one pays.
    import jsonschema  # noqa: PLC0415

    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(CARD_SCHEMA).iter_errors(document))
    if error is not None:
        where = "/".join(str(part) for part in error.absolute_path) or "the card"
        raise CardError(f"The model's card is not valid at {where}: {error.message[:300]}.")


def _text(value: str | Mapping[str, str] | None) -> Text:
    if value is None:
        return Text("")
    return Text(value) if isinstance(value, str) else Text(value["en"], value.get("zh", ""))


def _build(folder: Path, d: dict[str, Any]) -> Card:
    """Turn a validated document into data."""
    population = d["population"]
    ages = population["age_years"]
    explain, ood = d.get("explain"), d.get("ood")
    return Card(
        folder=folder,
        id=d["id"],
        version=d["version"],
        title=_text(d["title"]),
        task=d["task"],
        intended_use=_text(d["intended_use"]),
        not_for=_text(d["not_for"]),
        languages=tuple(d["languages"]),
        files=tuple(CardFile(**{**f, "control_flow": tuple(f.get("control_flow", ()))}) for f in d["files"]),
        inputs=tuple(_input(i) for i in d["inputs"]),
        outputs=tuple(OutputSpec(o["name"], tuple(o["shape"]), _text(o.get("meaning"))) for o in d["outputs"]),
        preprocessing=tuple(d["preprocessing"]),
        labels=tuple(_label(label) for label in d["labels"]),
        calibration=_calibration(d["calibration"], len(d["labels"])),
        population=Population(
            (ages[0], ages[1]) if ages else None, tuple(population["sexes"]), _text(population["site"])
        ),
        evidence=tuple(d["evidence"]),
        training=d["training"],
        licences=d["licences"],
        regulatory=_text(d["regulatory"]),
        ood=_ood(ood) if ood else None,
        explain=_explain(explain) if explain else None,
        ranges={name: (float(low), float(high)) for name, (low, high) in d.get("ranges", {}).items()},
        subgroups=tuple(d.get("subgroups", ())),
        references=tuple(d.get("references", ())),
        reference_tolerance=float(d.get("reference_tolerance", 1e-3)),
        document=d,
    )


def _input(d: Mapping[str, Any]) -> InputSpec:
    lists = ("modality", "body_part", "view", "photometric_interpretation", "sop_class_uids", "shape")
    values = {name: tuple(d.get(name, ())) for name in lists}
    return InputSpec(name=d["name"], dtype=d["dtype"], layout=d["layout"], **values)


def _label(d: Mapping[str, Any]) -> Label:
    code, point = d["code"], d["operating_point"]
    return Label(
        name=d["name"],
        code=f"{code['scheme']}:{code['value']}",
        code_meaning=code["meaning"],
        title=_text(d["title"]),
        threshold=float(d["threshold"]),
        operating_point=OperatingPoint(
            float(point["sensitivity"]),
            float(point["specificity"]),
            int(point["n"]),
            _text(point["on"]),
            _text(point["meaning"]),
            float(point["threshold"]) if "threshold" in point else None,
        ),
    )


def _calibration(d: Mapping[str, Any], labels: int) -> CalibrationSpec:
    parameters = d["parameters"]
    expected = {"temperature": {"temperature"}, "platt": {"slope", "intercept"}}[d["method"]]
    if set(parameters) != expected:
        raise CardError(f"The model's card calibrates by {d['method']} but gives {', '.join(sorted(parameters))}.")
    if d["method"] == "temperature":
        slope: tuple[float, ...] = (1.0 / float(parameters["temperature"]),) * labels
        intercept: tuple[float, ...] = (0.0,) * labels
    else:
        slope, intercept = tuple(map(float, parameters["slope"])), tuple(map(float, parameters["intercept"]))
    if not all(math.isfinite(value) for value in (*slope, *intercept)):
        raise CardError("The model's card gives calibration parameters that are not finite numbers.")
    return CalibrationSpec(
        d["method"], slope, intercept, parameters, float(d["ece_before"]), float(d["ece_after"]), _text(d["on"])
    )


def _ood(d: Mapping[str, Any]) -> OodSpec:
    rest = d.get("residual")
    return OodSpec(
        d["file"],
        d["method"],
        d.get("output", "features"),
        float(d["warn_above"]),
        float(d["abstain_above"]),
        ResidualSpec(rest["output"], float(rest["warn_above"]), float(rest["abstain_above"])) if rest else None,
    )


def _explain(d: Mapping[str, Any]) -> ExplainSpec:
    return ExplainSpec(d["target_layer"], (d["grid"][0], d["grid"][1]), tuple(d["methods"]))


def _check(card: Card) -> None:
    """Find what a schema cannot see: the first contradiction, in words."""
    problem = next((text for is_wrong, text in _contradictions(card) if is_wrong), "")
    if problem:
        raise CardError(f"The card of {card.id} contradicts itself: {problem}.")


def _contradictions(card: Card) -> list[tuple[bool, str]]:
    roles = [file.role for file in card.files]
    paths = [file.path.lower() for file in card.files]
    outputs = {output.name: output for output in card.outputs}
    labels = [label.name for label in card.labels]
    logits = outputs.get("logits")
    ages = card.population.age_years
    calibration, ood = card.calibration, card.ood
    moved = [label.name for label in card.labels if label.operating_point.threshold not in (None, label.threshold)]
    unknown = [step["op"] for step in card.preprocessing if step["op"] not in OPERATIONS]
    return [
        ("model" not in roles, "no file has the role “model”"),
        (len(set(roles)) != len(roles), "two files have the same role"),
        (len(set(paths)) != len(paths) or CARD_NAME in paths, "two entries name the same file"),
        (len(outputs) != len(card.outputs), "two outputs have the same name"),
        (logits is None, "there is no output named “logits”"),
        (logits is not None and logits.shape[1:] != (len(labels),), "the logits have not one column for each label"),
        (len(set(labels)) != len(labels), "two labels have the same name"),
        (bool(moved), f"the threshold of {', '.join(moved)} is not the one at which its operating point was measured"),
        (card.task == "multiclass" and len(labels) < 2, "a multiclass model needs two labels or more"),
        (card.task == "multiclass" and calibration.method == "platt", "Platt scaling is for multilabel models"),
        (len(calibration.slope) != len(labels), "calibration gives not one slope for each label"),
        (len(calibration.intercept) != len(labels), "calibration gives not one intercept for each label"),
        (not all(slope > 0 for slope in calibration.slope), "a calibration slope is not positive"),
        (
            len(card.inputs[0].shape) != 4 or card.inputs[0].shape[1] != 1,
            "an image has the shape [null, 1, h, w]",
        ),
        (None in card.inputs[0].shape[1:], "only the batch may be left open in the input's shape"),
        (bool(unknown), f"unknown preprocessing step {', '.join(unknown)}"),
        (not set(card.ranges) <= {spec.name for spec in card.inputs}, "a range is given for something not an input"),
        (any(low >= high for low, high in card.ranges.values()), "a range is empty"),
        (ages is not None and ages[0] > ages[1], "the youngest age is above the oldest"),
        (
            any(limits.warn_above > limits.abstain_above for limits in (ood, ood and ood.residual) if limits),
            "out-of-distribution abstains before it warns",
        ),
        (
            ood is not None and not set(ood.outputs) <= set(outputs),
            "out-of-distribution names an output that is not listed",
        ),
        (
            ood is not None and ood.file not in {file.path for file in card.files if file.role == "ood"},
            "the out-of-distribution file is not among the files with the role “ood”",
        ),
    ]

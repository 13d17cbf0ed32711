"""A model's card: what it is for, what it may be given, and how far it can be believed.

:func:`read_card` gives frozen data that has been checked against
:mod:`medviewer.inference.card_schema` and for what a schema cannot say. The
card is trusted for nothing else: the files that it names are checked, when they
are opened, against the digests it gives (:mod:`medviewer.inference.loading`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medviewer.domain.errors import CardError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card_checks import contradictions
from medviewer.inference.card_json import read_document
from medviewer.inference.card_schema import CARD_SCHEMA
from medviewer.inference.input_schema import INPUT
from medviewer.inference.schema_check import check_document

if TYPE_CHECKING:
    from medviewer.inference.card_masks import MaskSpec, OutlineSpec
    from medviewer.inference.card_outcomes import OutcomeSpec
    from medviewer.inference.neighbours import NeighbourSpec

Role = Literal["model", "explain", "cam", "reference", "ood", "neighbours", "vocabulary", "int8", "fp16", "pruned"]
Task = Literal["multilabel", "multiclass", "segmentation", "score", "survival", "forecast"]
Kind = Literal["image", "volume", "series", "text", "table", "molecule"]
RuntimeName = Literal["onnx", "torch", "rule"]


@dataclass(frozen=True, slots=True)
class Text:
    """Words for people, in English and, where the card gives them, Chinese."""

    en: str
    zh: str = ""

    @classmethod
    def read(cls, value: str | Mapping[str, str] | None) -> Text:
        """Words of a card, in one language or two; empty if there are none."""
        if value is None:
            return cls("")
        return cls(value) if isinstance(value, str) else cls(value["en"], value.get("zh", ""))

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
class TensorSpec:
    """One array of an input. ``part`` says what of the input it holds, ``name`` which input of the graph it is."""

    part: str
    name: str
    dtype: str
    shape: tuple[int | None, ...]  # None is the batch


@dataclass(frozen=True, slots=True, eq=False)
class InputSpec:
    """What the network may be shown. An empty tuple means "not checked".

    The fields from ``modality`` to ``sop_class_uids`` are those of images. ``document`` is the
    input as the card writes it: the adapter of its kind (:mod:`medviewer.inference.inputs`) reads
    its own fields there. ``folder`` and ``file`` are the model's folder and the vocabulary in it.
    """

    name: str
    modality: tuple[str, ...]
    body_part: tuple[str, ...]
    view: tuple[str, ...]
    photometric_interpretation: tuple[str, ...]
    dtype: str
    layout: str
    shape: tuple[int | None, ...]  # None is the batch
    sop_class_uids: tuple[str, ...] = ()
    kind: Kind = "image"
    tensors: tuple[TensorSpec, ...] = ()
    preprocessing: tuple[Mapping[str, Any], ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    file: CardFile | None = None

    def tensor(self, part: str) -> TensorSpec | None:
        """The array that holds ``part``; None if the network does not take it."""
        return next((one for one in self.tensors if one.part == part), None)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """A named output of the graph: ``logits`` (N, C), ``masks`` (N, C, h, w), ``features`` (N, F), ..."""

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
    """One finding that the model can report, or one thing that it outlines. ``code`` is written ``scheme:value``."""

    name: str
    code: str
    code_meaning: str
    title: Text
    threshold: float  # on the calibrated probability, or on that of each pixel; 0..1
    operating_point: OperatingPoint | None  # None: nobody measured what the threshold means
    outline: OutlineSpec | None = None  # of segmentation

    @property
    def meaning(self) -> Text:
        """What the threshold means, in numbers; nothing unless they were measured at this very threshold."""
        point = self.operating_point
        return point.meaning if point is not None and point.threshold == self.threshold else Text("")


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """Which rule of our own code a card is for; ``sha256`` is the digest of its published table."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CalibrationSpec:
    """How logits become probabilities, and how well (expected calibration error) on what."""

    method: Literal["temperature", "platt", "none"]  # none: nothing was fitted
    slope: tuple[float, ...]  # one a label; a temperature T is the slope 1 / T for each
    intercept: tuple[float, ...]
    parameters: Mapping[str, Any]  # as the card writes them
    ece_before: float | None  # None with the method none only
    ece_after: float | None
    on: Text


@dataclass(frozen=True, slots=True)
class ResidualSpec:
    """When too much of an image is nothing that varies among the training images (Jackson & Mudholkar 1979)."""

    output: str
    warn_above: float
    abstain_above: float


@dataclass(frozen=True, slots=True)
class TextureSpec:
    """When an image is composed too unlike the training images (:mod:`medviewer.inference.texture`)."""

    warn_above: float
    abstain_above: float


@dataclass(frozen=True, slots=True)
class OodSpec:
    """When an image is too unlike the training images, in Mahalanobis distance of pooled features.

    A card without ``residual`` or ``texture`` (written before they existed) stays valid: its one distance
    is what its makers measured and published, and the reader sees which checks were made.
    """

    file: str
    method: str
    output: str
    warn_above: float
    abstain_above: float
    residual: ResidualSpec | None = None
    texture: TextureSpec | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The graph's outputs that the checks need, each once."""
        return tuple(dict.fromkeys([self.output, *([self.residual.output] if self.residual else [])]))


@dataclass(frozen=True, slots=True)
class ExplainSpec:
    """Where in the network to look for an explanation, and which methods were checked.

    ``verdicts`` are one sentence a method, from what was measured over many images; empty if that was never done.
    """

    target_layer: str
    grid: tuple[int, int]  # rows, columns of the feature map
    methods: tuple[str, ...]
    verdicts: Mapping[str, Text] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Population:
    """On whom the model was validated. ``age_years`` is (youngest, oldest), or None if not known.

    ``is_strict``: it is made for those ages alone, so that it abstains on any other.
    """

    age_years: tuple[float, float] | None
    sexes: tuple[str, ...]
    site: Text
    is_strict: bool = False


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """A copy of the network in fewer bits, and how far its answers were from the full network's.

    ``bound`` and ``measured`` are the largest absolute difference of the calibrated probability (or other outcome)
    that is allowed and that was found on ``n`` cases of ``data``. ``reference_tolerance`` is for the reference file.
    """

    name: Literal["int8", "fp16", "pruned"]
    file: str
    bound: float
    measured: float
    n: int
    data: Text
    reference_tolerance: float


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """One model: identity, purpose, files, and everything that bounds what it may say.

    ``labels`` and ``calibration`` are of classification, ``labels`` and ``masks`` of segmentation,
    ``outcomes`` of every other task.
    """

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
    calibration: CalibrationSpec | None
    population: Population
    evidence: tuple[Mapping[str, Any], ...]
    training: Mapping[str, Any]
    licences: Mapping[str, str]
    regulatory: Text
    ood: OodSpec | None = None
    neighbours: NeighbourSpec | None = None
    explain: ExplainSpec | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    subgroups: tuple[Mapping[str, Any], ...] = ()
    references: tuple[str, ...] = ()
    reference_tolerance: float = 1e-3
    document: Mapping[str, Any] = field(default_factory=dict)  # the whole card as it was read
    document_sha256: str = ""  # of it as JSON with its keys in order: it names every file, so of the whole model
    runtime: RuntimeName = "onnx"
    rule: RuleSpec | None = None
    outcomes: tuple[OutcomeSpec, ...] = ()
    masks: MaskSpec | None = None
    variants: tuple[VariantSpec, ...] = ()
    signed_by: str = ""  # the trusted key that signed it, by its name; empty: unverified

    @property
    def sha256(self) -> str:
        """The digest of the network itself, or of a rule's table: what "which model was it" means."""
        return self.rule.sha256 if self.rule is not None else self.require("model").sha256

    @property
    def is_of_one_image(self) -> bool:
        """Whether all that it is given is one image: then its explanations are maps on that image."""
        return len(self.inputs) == 1 and self.inputs[0].kind == "image"

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of what it reports, labels or other outcomes: each can be explained."""
        return tuple(label.name for label in self.labels) or tuple(outcome.name for outcome in self.outcomes)

    def title_of(self, target: str) -> Text:
        """What one of :attr:`targets` is called."""
        titles = {one.name: one.title for one in self.labels} | {one.name: one.title for one in self.outcomes}
        return titles.get(target, Text(target))

    def require_calibration(self) -> CalibrationSpec:
        """How its logits become probabilities.

        Raises:
            CardError: it is not for classification.
        """
        if self.calibration is None:
            raise CardError(f"The model {self.id} gives no probabilities.")
        return self.calibration

    def output(self, name: str) -> OutputSpec | None:
        """The output of that name, or None if the network has none."""
        return next((output for output in self.outputs if output.name == name), None)

    def file(self, role: Role) -> CardFile | None:
        """The file with this role, or None if the model has none."""
        return next((file for file in self.files if file.role == role), None)

    def graph(self, role: Role) -> CardFile | None:
        """The file that computes what is asked in this role, or None if none does.

        A PyTorch module is differentiated as it is, so one file answers in every role.
        """
        return self.file("model" if self.runtime == "torch" else role)

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
    check_document(document, CARD_SCHEMA)
    card = _build(folder, document)
    problem = next((text for is_wrong, text in contradictions(card) if is_wrong), "")
    if problem:
        raise CardError(f"The card of {card.id} contradicts itself: {problem}.")
    return card


def input_spec(document: Mapping[str, Any], folder: Path = Path(), files: tuple[CardFile, ...] = ()) -> InputSpec:
    """One input as a card would have it, for training, which prepares data before there is a card.

    Args:
        document: the entry of the card's ``inputs``.
        folder: where its vocabulary lies, if it has one.
        files: the card's entry for the vocabulary.

    Raises:
        CardError: it breaks the schema, or contradicts itself.
    """
    from medviewer.inference.inputs import INPUTS  # noqa: PLC0415 - the adapters read cards

    check_document(document, INPUT)
    spec = _input(document, folder, files, ())
    problem = next(INPUTS[spec.kind].problems(spec), "")
    if problem:
        raise CardError(f"The input {spec.name} contradicts itself: {problem}.")
    return spec


def _text(value: str | Mapping[str, str] | None) -> Text:
    return Text.read(value)


def _build(folder: Path, d: dict[str, Any]) -> Card:
    """Turn a validated document into data."""
    from medviewer.inference.card_masks import read_masks  # noqa: PLC0415 - made of the words of a card
    from medviewer.inference.card_outcomes import read_outcome  # noqa: PLC0415
    from medviewer.inference.neighbours import read_spec  # noqa: PLC0415

    population = d["population"]
    ages = population["age_years"]
    explain, ood = d.get("explain"), d.get("ood")
    files = tuple(CardFile(**{**f, "control_flow": tuple(f.get("control_flow", ()))}) for f in d["files"])
    steps = tuple(d["preprocessing"])
    rule = d.get("rule")
    return Card(
        folder=folder,
        id=d["id"],
        version=d["version"],
        title=_text(d["title"]),
        task=d["task"],
        intended_use=_text(d["intended_use"]),
        not_for=_text(d["not_for"]),
        languages=tuple(d["languages"]),
        files=files,
        inputs=tuple(_input(i, folder, files, steps) for i in d["inputs"]),
        outputs=tuple(OutputSpec(o["name"], tuple(o["shape"]), _text(o.get("meaning"))) for o in d["outputs"]),
        preprocessing=steps,
        labels=tuple(_label(label) for label in d["labels"]),
        calibration=_calibration(d["calibration"], len(d["labels"])) if "calibration" in d else None,
        population=Population(
            (ages[0], ages[1]) if ages else None,
            tuple(population["sexes"]),
            _text(population["site"]),
            bool(population.get("is_strict", False)),
        ),
        evidence=tuple(d["evidence"]),
        training=d.get("training", {}),
        licences=d["licences"],
        regulatory=_text(d["regulatory"]),
        ood=_ood(ood) if ood else None,
        neighbours=read_spec(d["neighbours"]) if "neighbours" in d else None,
        explain=_explain(explain) if explain else None,
        ranges={name: (float(low), float(high)) for name, (low, high) in d.get("ranges", {}).items()},
        subgroups=tuple(d.get("subgroups", ())),
        references=tuple(d.get("references", ())),
        reference_tolerance=float(d.get("reference_tolerance", 1e-3)),
        document=d,
        document_sha256=hashlib.sha256(json.dumps(d, sort_keys=True).encode()).hexdigest(),
        runtime=d.get("runtime", "onnx"),
        rule=RuleSpec(rule["name"], rule["version"], rule["sha256"]) if rule else None,
        variants=tuple(_variant(variant) for variant in d.get("variants", ())),
        outcomes=tuple(read_outcome(outcome) for outcome in d.get("outcomes", ())),
        masks=read_masks(d),
    )


def _variant(d: Mapping[str, Any]) -> VariantSpec:
    drift = d["drift"]
    return VariantSpec(
        d["name"], d["file"], float(drift["bound"]), float(drift["measured"]), int(drift["n"]), _text(drift["data"]),
        float(d["reference_tolerance"]),
    )  # fmt: skip


def _input(
    d: Mapping[str, Any], folder: Path, files: tuple[CardFile, ...], steps: tuple[Mapping[str, Any], ...]
) -> InputSpec:
    """One input; the card's own ``preprocessing`` is that of images which have none themselves."""
    lists = ("modality", "body_part", "view", "photometric_interpretation", "sop_class_uids", "shape")
    values = {name: tuple(d.get(name, ())) for name in lists}
    kind: Kind = d.get("kind", "image")
    dtype, layout, own = d.get("dtype", "float32"), d.get("layout", ""), d.get("preprocessing")
    tensors = tuple(TensorSpec(t["part"], t["name"], t["dtype"], tuple(t["shape"])) for t in d.get("tensors", ()))
    if not tensors:
        tensors = (TensorSpec(kind, d["name"], dtype, values["shape"]),)
    return InputSpec(
        name=d["name"],
        dtype=dtype,
        layout=layout,
        kind=kind,
        tensors=tensors,
        preprocessing=tuple(own) if own is not None else steps if kind == "image" else (),
        document=d,
        folder=folder,
        file=next((file for file in files if file.path == d.get("vocabulary")), None),
        **values,
    )


def _label(d: Mapping[str, Any]) -> Label:
    from medviewer.inference.card_masks import read_outline  # noqa: PLC0415 - made of the words of a card

    code, point = d["code"], d.get("operating_point")
    return Label(
        name=d["name"],
        code=f"{code['scheme']}:{code['value']}",
        code_meaning=code["meaning"],
        title=_text(d["title"]),
        threshold=float(d["threshold"]),
        operating_point=_operating_point(point) if point else None,
        outline=read_outline(d),
    )


def _operating_point(d: Mapping[str, Any]) -> OperatingPoint:
    return OperatingPoint(
        float(d["sensitivity"]),
        float(d["specificity"]),
        int(d["n"]),
        _text(d["on"]),
        _text(d["meaning"]),
        float(d["threshold"]) if "threshold" in d else None,
    )


def _calibration(d: Mapping[str, Any], labels: int) -> CalibrationSpec:
    parameters = d["parameters"]
    expected: set[str] = {"temperature": {"temperature"}, "platt": {"slope", "intercept"}}.get(d["method"], set())
    if set(parameters) != expected:
        raise CardError(f"The model's card calibrates by {d['method']} but gives {', '.join(sorted(parameters))}.")
    errors = (d["ece_before"], d["ece_after"])
    if (d["method"] == "none") != (errors == (None, None)) or (None in errors and errors != (None, None)):
        raise CardError("The model's card must give the calibration error before and after, or calibrate by none.")
    if d["method"] in ("temperature", "none"):
        slope: tuple[float, ...] = (1.0 / float(parameters.get("temperature", 1.0)),) * labels
        intercept: tuple[float, ...] = (0.0,) * labels
    else:
        slope, intercept = tuple(map(float, parameters["slope"])), tuple(map(float, parameters["intercept"]))
    if not all(math.isfinite(value) for value in (*slope, *intercept)):
        raise CardError("The model's card gives calibration parameters that are not finite numbers.")
    before, after = (None if error is None else float(error) for error in errors)
    return CalibrationSpec(d["method"], slope, intercept, parameters, before, after, _text(d["on"]))


def _ood(d: Mapping[str, Any]) -> OodSpec:
    rest, look = d.get("residual"), d.get("texture")
    return OodSpec(
        d["file"],
        d["method"],
        d.get("output", "features"),
        float(d["warn_above"]),
        float(d["abstain_above"]),
        ResidualSpec(rest["output"], float(rest["warn_above"]), float(rest["abstain_above"])) if rest else None,
        TextureSpec(float(look["warn_above"]), float(look["abstain_above"])) if look else None,
    )


def _explain(d: Mapping[str, Any]) -> ExplainSpec:
    assessed = d.get("sanity", {}).get("methods", {})
    verdicts = {method: _text(found["verdict"]) for method, found in assessed.items()}
    return ExplainSpec(d["target_layer"], (d["grid"][0], d["grid"][1]), tuple(d["methods"]), verdicts)

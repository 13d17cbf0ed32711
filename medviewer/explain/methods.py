"""The table of explanation methods, and the one way to use them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from medviewer.domain.anchor import Anchor
from medviewer.domain.answer import Attribution, place_in_question
from medviewer.domain.case import Case
from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.domain.volume_map import VolumeMap
from medviewer.explain.attention_rollout import attention_rollout
from medviewer.explain.class_activation import class_activation
from medviewer.explain.faithfulness import judge
from medviewer.explain.grad_cam import grad_cam
from medviewer.explain.grad_cam_plus_plus import grad_cam_plus_plus
from medviewer.explain.gradient_shap import gradient_shap
from medviewer.explain.groups import ask_about, group_occlusion, judge_groups
from medviewer.explain.input_x_gradient import input_x_gradient
from medviewer.explain.integrated_gradients import integrated_gradients
from medviewer.explain.occlusion import occlusion
from medviewer.explain.question import FloatArray, Question, Saliency
from medviewer.explain.rise import rise
from medviewer.explain.saliency import saliency
from medviewer.explain.smooth_grad import smooth_grad
from medviewer.inference.calibration import probabilities
from medviewer.inference.card import Card, Role
from medviewer.inference.engine import Engine
from medviewer.inference.gathering import gather
from medviewer.inference.inputs import volume
from medviewer.inference.placement import grid_to_network, place_saliency
from medviewer.inference.provenance import inputs_sha256, provenance_of, tensor_sha256


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table.

    Attributes:
        needs: the graphs of which the model must have one.
        output: or else the output that its forward pass must have.
        error_name: how the method's own error is measured; empty if it has none of its
            own. Faithfulness is measured for all.
    """

    id: str
    title: str
    title_zh: str
    citation: str
    needs: tuple[Role, ...]
    error_name: str
    run: Callable[[Question], Saliency]
    output: str = ""

    def say(self, language: str = "en") -> str:
        """The title in ``language``, English if it has no other."""
        return self.title_zh if language.lower().startswith("zh") else self.title

    def suits(self, card: Card) -> bool:
        """Whether the card allows the method and the model has a graph for it."""
        if is_own_explanation(card):
            return False
        if not card.is_of_one_image:  # values, words and atoms are taken away one by one: no graph is needed
            return self.id == "occlusion" and (card.explain is None or self.id in card.explain.methods)
        has_graph = any(card.graph(role) for role in self.needs)
        has_map = any(output.name == self.output for output in card.outputs)
        allowed = card.explain.methods if card.explain else ("occlusion",)
        return self.id in allowed and (has_graph or has_map)


METHODS: tuple[Method, ...] = (
    Method(
        "grad-cam",
        "Grad-CAM",
        "梯度加权类激活图",
        "Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based localization, ICCV 2017",
        ("cam", "explain"),
        "",
        grad_cam,
        output="cam",
    ),
    Method(
        "grad-cam-plus-plus",
        "Grad-CAM++",
        "Grad-CAM++",
        "Chattopadhay et al., Grad-CAM++: generalized gradient-based visual explanations, WACV 2018",
        ("cam", "explain"),
        "",
        grad_cam_plus_plus,
    ),
    Method(
        "class-activation",
        "Class activation map",
        "类激活图",
        "Zhou et al., Learning deep features for discriminative localization, CVPR 2016",
        (),
        "",
        class_activation,
        output="cam",
    ),
    Method(
        "integrated-gradients",
        "Integrated gradients",
        "积分梯度",
        "Sundararajan, Taly, Yan, Axiomatic attribution for deep networks, ICML 2017",
        ("explain",),
        "completeness gap",
        integrated_gradients,
    ),
    Method(
        "gradient-shap",
        "GradientSHAP",
        "梯度SHAP",
        "Lundberg, Lee, A unified approach to interpreting model predictions, NIPS 2017",
        ("explain",),
        "completeness gap",
        gradient_shap,
    ),
    Method(
        "smooth-grad",
        "SmoothGrad",
        "平滑梯度",
        "Smilkov et al., SmoothGrad: removing noise by adding noise, 2017",
        ("explain",),
        "sampling error",
        smooth_grad,
    ),
    Method(
        "saliency",
        "Saliency",
        "显著图",
        "Simonyan, Vedaldi, Zisserman, Deep inside convolutional networks, ICLR workshop 2014",
        ("explain",),
        "",
        saliency,
    ),
    Method(
        "input-x-gradient",
        "Input × gradient",
        "输入×梯度",
        "Shrikumar et al., Not just a black box: learning important features through propagating activation "
        "differences, 2016",
        ("explain",),
        "",
        input_x_gradient,
    ),
    Method(
        "occlusion",
        "Occlusion",
        "遮挡",
        "Zeiler, Fergus, Visualizing and understanding convolutional networks, ECCV 2014",
        ("model",),
        "",
        occlusion,
    ),
    Method(
        "rise",
        "RISE",
        "RISE随机遮挡",
        "Petsiuk, Das, Saenko, RISE: randomized input sampling for explanation of black-box models, BMVC 2018",
        ("model",),
        "sampling error",
        rise,
    ),
    Method(
        "attention-rollout",
        "Attention rollout",
        "注意力展开",
        "Abnar, Zuidema, Quantifying attention flow in transformers, ACL 2020",
        (),
        "",
        attention_rollout,
        output="rollout",
    ),
)


OWN_EXPLANATION = "The outline of this model is its own explanation: there is no heat map of it."


def is_own_explanation(card: Card) -> bool:
    """Whether what a model says lies on the image already: where it found something is its answer."""
    return card.task == "segmentation"


def methods_for(card: Card) -> tuple[Method, ...]:
    """The methods that a model can be explained by."""
    return tuple(method for method in METHODS if method.suits(card))


def explain(  # noqa: PLR0913 - the one signature that window, command line and tests share
    engine: Engine,
    case: Case,
    model_id: str,
    method: str,
    *,
    finding: str | None = None,
    n_random: int = 50,
    stop: StopToken | None = None,
    progress: Progress = no_progress,
) -> Attribution:
    """Where a model looked for one finding, on the image, and whether that is better than chance.

    The same case, model and method always give the same map.

    Args:
        engine: runs the model.
        case: the image first in ``images``, as it was asked about.
        model_id: which model.
        method: an ``id`` of :data:`METHODS`.
        finding: the name of one of the model's labels; None for the one in question
            (:func:`~medviewer.domain.answer.place_in_question`).
        n_random: against how many random maps the map is judged; 0 for none, which is
            for the live map (judge it later with :func:`weigh`).
        stop: to cancel.
        progress: told of each step.

    Returns:
        The map with its place, its own error, and its faithfulness.

    Raises:
        UsageError: no such model, method or finding, or the method does not suit the model;
            the message names what there is.
        InputError: the case has no image that can be prepared.
        Stopped: the reader cancelled.
        ModelError, EngineError: as :meth:`medviewer.inference.engine.Engine.run`.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    card = engine.catalogue.card(model_id)
    row = _suitable(method, card)
    if not card.is_of_one_image:
        of_groups = _explain_groups(engine, case, card, row, _Asking(finding, n_random, stop, progress))
        engine.catalogue.check_unchanged(card)
        return of_groups
    prepared = engine.encode(case, model_id)
    index = _finding_index(engine, card, prepared.tensor, finding, stop)
    question = Question(engine, card, prepared.tensor, index, stop, progress)
    found = row.run(question)
    height, width = found.values.shape
    to_image = prepared.model_to_image @ grid_to_network((height, width), question.shape)
    stored = case.images[0].stored
    placed = place_saliency(found.values, to_image, (stored.shape[0], stored.shape[1]))
    faithfulness = judge(question, found.values, n_random) if n_random > 0 else None
    loaded = engine.load(card.id, stop=stop)
    engine.catalogue.check_unchanged(card)
    return Attribution(
        method=row.id,
        method_title=row.title,
        finding=card.labels[index].name,
        saliency=_frozen(found.values),
        model_to_image=to_image,
        placed=_frozen(placed),
        error=found.error,
        error_name=row.error_name,
        faithfulness=faithfulness,
        elapsed_s=time.monotonic() - clock,
        provenance=provenance_of(card, loaded, question.tensor, started, clock),
    )


def weigh(
    engine: Engine,
    case: Case,
    attribution: Attribution,
    *,
    n_random: int = 50,
    stop: StopToken | None = None,
    progress: Progress = no_progress,
) -> Attribution:
    """A map that is there already, with its faithfulness: shown first, judged while the reader looks.

    Args:
        engine: as for :func:`explain`.
        case: the case that ``attribution`` explains.
        attribution: a result of :func:`explain`.
        n_random: against how many random maps, at least one.
        stop: to cancel.
        progress: told of each step.

    Raises:
        UsageError: the map is not of this case and model.
        Stopped, ModelError, EngineError: as :func:`explain`.
    """
    clock = time.monotonic()
    card = engine.catalogue.card(attribution.provenance.model_id)
    of_map = attribution.provenance
    if not card.is_of_one_image:
        target = _target_index(card, attribution.finding)
        asked = ask_about(engine, case, card, target, stop, progress)
        is_of_these = of_map.input_sha256 == inputs_sha256(card, asked.arrays) and attribution.anchors == asked.anchors
        if of_map.card_sha256 != card.document_sha256 or not is_of_these:
            raise UsageError("The explanation belongs to other data or another model; explain these again.")
        judged = judge_groups(asked, attribution.saliency, max(1, n_random))
        engine.catalogue.check_unchanged(card)
        return replace(attribution, faithfulness=judged, elapsed_s=attribution.elapsed_s + time.monotonic() - clock)
    tensor = engine.encode(case, card.id).tensor
    if (of_map.card_sha256, of_map.input_sha256) != (card.document_sha256, tensor_sha256(tensor)):
        raise UsageError("The heat map belongs to another image or model; explain this one again.")
    question = Question(engine, card, tensor, card.label_index(attribution.finding), stop, progress)
    faithfulness = judge(question, attribution.saliency, max(1, n_random))
    engine.catalogue.check_unchanged(card)
    elapsed_s = attribution.elapsed_s + time.monotonic() - clock
    return replace(attribution, faithfulness=faithfulness, elapsed_s=elapsed_s)


@dataclass(frozen=True, slots=True)
class _Asking:
    """What else was asked for."""

    finding: str | None
    n_random: int
    stop: StopToken | None
    progress: Progress


def _explain_groups(engine: Engine, case: Case, card: Card, row: Method, asking: _Asking) -> Attribution:
    """Which values, words, hours or atoms an answer rests on, by taking each away."""
    started, clock = datetime.now(UTC), time.monotonic()
    target = _target_index(card, asking.finding)
    if asking.finding is None and (too_old := gather(case, card).too_old()):  # explain what is given
        target = next((i for i, one in enumerate(card.outcomes) if one not in too_old), 0)
    question = ask_about(engine, case, card, target, asking.stop, asking.progress)
    if asking.finding is None and len(card.labels) > 1:
        batch = {name: array[None] for name, array in question.arrays.items()}
        logits = engine.run(card.id, batch, outputs=["logits"], stop=asking.stop)["logits"]
        question = replace(question, target=_in_question(card, logits))
    values = group_occlusion(question)
    return Attribution(
        method=row.id,
        method_title=row.title,
        finding=card.targets[question.target],
        saliency=_frozen(values),
        model_to_image=np.eye(3),
        placed=_frozen(np.empty((0, 0), np.float32)),
        error=None,
        error_name=row.error_name,
        faithfulness=judge_groups(question, values, asking.n_random) if asking.n_random > 0 else None,
        elapsed_s=time.monotonic() - clock,
        provenance=provenance_of(card, engine.load(card.id, stop=asking.stop), question.arrays, started, clock),
        anchors=question.anchors,
        volume=_volume_map(case, card, question.anchors, values),
    )


def check_finding(card: Card, finding: str | None) -> None:
    """Refuse a finding that the model does not report, before anything is read or run; None is the one in question.

    Raises:
        UsageError: the message names the findings that there are.
    """
    if finding is not None:
        _finding_place([label.name for label in card.labels] if card.is_of_one_image else card.targets, card, finding)


def _finding_place(names: Sequence[str], card: Card, finding: str) -> int:
    if finding not in names:
        raise UsageError(f"The model {card.id} does not report “{finding}”; it reports: {', '.join(names)}.")
    return names.index(finding)


def has_map(card: Card) -> bool:
    """Whether an explanation of it is drawn on an image or a stack of slices."""
    return (card.is_of_one_image or volume.stack_input(card) is not None) and not is_own_explanation(card)


def _volume_map(case: Case, card: Card, anchors: Sequence[Anchor], values: FloatArray) -> VolumeMap | None:
    spec = volume.stack_input(card)
    return None if spec is None else volume.map_of(case.volumes[0], spec, anchors, values)


def _target_index(card: Card, finding: str | None) -> int:
    """Which label or other outcome to explain; the first one, if None."""
    return _finding_place(card.targets, card, finding) if finding is not None else 0


def _suitable(method: str, card: Card) -> Method:
    row = next((row for row in METHODS if row.id == method), None)
    if row is None:
        known = ", ".join(row.id for row in METHODS)
        raise UsageError(f"There is no explanation method “{method}”; there are: {known}.")
    if is_own_explanation(card):
        raise UsageError(OWN_EXPLANATION)
    if not row.suits(card):
        possible = ", ".join(row.id for row in methods_for(card)) or "none"
        raise UsageError(f"The model {card.id} cannot be explained by {row.title}; possible are: {possible}.")
    return row


def _finding_index(engine: Engine, card: Card, tensor: FloatArray, finding: str | None, stop: StopToken | None) -> int:
    """Which column of the logits to explain."""
    names = [label.name for label in card.labels]
    if finding is not None:
        return _finding_place(names, card, finding)
    if len(names) == 1:
        return 0
    logits = Question(engine, card, tensor, 0, stop, no_progress).run(tensor[None], "model", ["logits"])["logits"]
    return _in_question(card, logits)


def _in_question(card: Card, logits: FloatArray) -> int:
    """Which label the heat map of an answer is about, where nobody has chosen one."""
    chances = probabilities(logits, card.require_calibration(), card.task)[0].tolist()
    pairs = zip(chances, card.labels, strict=True)
    return place_in_question([(chance, chance >= label.threshold) for chance, label in pairs])


def _frozen(array: FloatArray) -> FloatArray:
    array.setflags(write=False)
    return array

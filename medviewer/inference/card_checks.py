"""What a schema cannot see in a card: where two of its parts contradict each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from medviewer.inference.card_json import CARD_NAME
from medviewer.inference.texture import SMALLEST

if TYPE_CHECKING:
    from medviewer.inference.card import Card, InputSpec
    from medviewer.inference.card_outcomes import OutcomeSpec

CLASSIFYING = frozenset({"multilabel", "multiclass"})
# What each other task's answer is read from: the output's name, and its number of axes.
OUTCOME_OUTPUTS = {"score": ("score", 2), "survival": ("survival", 2), "forecast": ("quantiles", 3)}

Checks = list[tuple[bool, str]]


def contradictions(card: Card) -> Checks:
    """Everything that may be wrong, worst first, each with whether it is."""
    return [*_of_files(card), *_of_task(card), *_of_inputs(card), *_of_guards(card)]


def _of_task(card: Card) -> Checks:
    if card.task == "segmentation":
        from medviewer.inference.card_masks import mask_problems  # noqa: PLC0415 - cards are made of it

        return list(mask_problems(card))
    masks = [(card.masks is not None, f"masks are for segmentation, and its task is “{card.task}”")]
    return [*masks, *(_of_classes(card) if card.task in CLASSIFYING else _of_outcomes(card))]


def _of_files(card: Card) -> Checks:
    roles = [file.role for file in card.files if file.role != "vocabulary"]
    paths = [file.path.lower() for file in card.files]
    outputs = {output.name for output in card.outputs}
    is_rule = card.runtime == "rule"
    return [
        (is_rule and card.rule is None, "its runtime is “rule” and it names no rule"),
        (not is_rule and card.rule is not None, "it names a rule, and its runtime is not “rule”"),
        (is_rule and "model" in roles, "a rule has no file with the role “model”"),
        (not is_rule and "model" not in roles, "no file has the role “model”"),
        (not is_rule and not card.training, "nothing is said of its training"),
        (_is_of_another_network(card), "its explanations were assessed with another network"),
        (len(set(roles)) != len(roles), "two files have the same role"),
        (len(set(paths)) != len(paths) or CARD_NAME in paths, "two entries name the same file"),
        (len(outputs) != len(card.outputs), "two outputs have the same name"),
    ]


def _is_of_another_network(card: Card) -> bool:
    """Whether what is said of the explanations was measured before the network was replaced."""
    assessed = card.document.get("explain", {}).get("sanity", {}).get("network_sha256")
    return assessed is not None and assessed not in [file.sha256 for file in card.files if file.role == "model"]


def _of_classes(card: Card) -> Checks:
    labels = [label.name for label in card.labels]
    logits = next((output for output in card.outputs if output.name == "logits"), None)
    points = [(label, label.operating_point) for label in card.labels]
    moved = [label.name for label, point in points if point and point.threshold not in (None, label.threshold)]
    return [
        (not labels, "it reports no label"),
        (logits is None, "there is no output named “logits”"),
        (logits is not None and logits.shape[1:] != (len(labels),), "the logits have not one column for each label"),
        (len(set(labels)) != len(labels), "two labels have the same name"),
        (len({label.code for label in card.labels}) != len(labels), "two labels have the same code"),
        (bool(moved), f"the threshold of {', '.join(moved)} is not the one at which its operating point was measured"),
        (card.task == "multiclass" and len(labels) < 2, "a multiclass model needs two labels or more"),
        *_of_codes([(label.name, label.code) for label in card.labels]),
        *_of_calibration(card, len(labels)),
    ]


def _of_codes(codes: Iterable[tuple[str, str]]) -> Checks:
    """Answers and reports write a code as ``scheme:value``, and must be able to tell its parts apart."""
    return [(code.count(":") > 1, f"the scheme or the value of the code of {name} holds a “:”") for name, code in codes]


def _of_calibration(card: Card, labels: int) -> Checks:
    calibration = card.calibration
    if calibration is None:
        return [(True, "it gives no calibration for its probabilities")]
    return [
        (card.task == "multiclass" and calibration.method == "platt", "Platt scaling is for multilabel models"),
        (len(calibration.slope) != labels, "calibration gives not one slope for each label"),
        (len(calibration.intercept) != labels, "calibration gives not one intercept for each label"),
        (not all(slope > 0 for slope in calibration.slope), "a calibration slope is not positive"),
    ]


def _of_outcomes(card: Card) -> Checks:
    names = [outcome.name for outcome in card.outcomes]
    wanted, axes = OUTCOME_OUTPUTS[card.task]
    output = next((one for one in card.outputs if one.name == wanted), None)
    parts = next((one for one in card.outputs if one.name == "parts"), None)
    first = card.outcomes[0] if card.outcomes else None
    sizes: tuple[int, ...] = ()
    if first is not None:
        n_times = sum(len(outcome.times) for outcome in card.outcomes)
        sizes = (len(names),) if card.task == "score" else (n_times, 3)[: axes - 1]
    return [
        (bool(card.labels), f"labels are for classification, and its task is “{card.task}”"),
        (not names, "it reports no outcome"),
        (len(set(names)) != len(names), "two outcomes have the same name"),
        (card.task == "survival" and len(names) > 1, "only a score or a forecast may have more than one outcome"),
        (output is None, f"there is no output named “{wanted}”"),
        (output is not None and output.shape[1:] != sizes, f"the output “{wanted}” has not the shape of its outcomes"),
        (
            bool(first and first.parts) and (parts is None or parts.shape[1:] != (len(first.parts) if first else 0,)),
            "the output “parts” has not one column for each part of the score",
        ),
        *_of_codes([(outcome.name, outcome.code) for outcome in card.outcomes]),
        *(check for outcome in card.outcomes for check in _of_outcome(card.task, outcome)),
        *((True, f"{outcome.name} needs a variable that no series has") for outcome in card.outcomes
          if outcome.recent is not None and not _has_variable(card, outcome.recent[0])),
    ]  # fmt: skip


def _has_variable(card: Card, name: str) -> bool:
    variables = (one for spec in card.inputs if spec.kind == "series" for one in spec.document["variables"])
    return any(one["name"] == name for one in variables)


def _of_outcome(task: str, outcome: OutcomeSpec) -> Checks:
    starts, times = [band.start for band in outcome.bands], outcome.times
    is_score = task == "score"
    return [
        (is_score and outcome.lowest >= outcome.highest, f"the scale of {outcome.name} is empty"),
        (is_score and starts[:1] != [outcome.lowest], f"the bands of {outcome.name} do not begin where its scale does"),
        (starts != sorted(set(starts)), f"the bands of {outcome.name} are not in order"),
        (not is_score and not times, f"the outcome {outcome.name} has no times"),
        (list(times) != sorted(set(times)) or any(time <= 0 for time in times), "times do not rise from above zero"),
        (task == "survival" and outcome.horizon not in times, f"the horizon of {outcome.name} is not one of its times"),
        (task == "forecast" and not 0 < outcome.nominal < 1, f"the band of {outcome.name} has no nominal coverage"),
    ]


def _of_inputs(card: Card) -> Checks:
    from medviewer.inference.inputs import INPUTS  # noqa: PLC0415 - the adapters read cards

    names = [spec.name for spec in card.inputs]
    graph = [tensor.name for spec in card.inputs for tensor in spec.tensors]
    return [
        (len(set(names)) != len(names), "two inputs have the same name"),
        (len(set(graph)) != len(graph), "two arrays are given to one input of the graph"),
        *((True, f"{problem}") for spec in card.inputs for problem in INPUTS[spec.kind].problems(spec)),
        *((None in tensor.shape[1:], "only the batch may be left open in the input's shape")
          for spec in card.inputs for tensor in spec.tensors),
        *((_lacks_file(spec), f"the vocabulary of {spec.name} is not among the files with the role “vocabulary”")
          for spec in card.inputs),
    ]  # fmt: skip


def _lacks_file(spec: InputSpec) -> bool:
    is_named = "vocabulary" in spec.document
    return is_named and (spec.file is None or spec.file.role != "vocabulary")


def _has_texture(card: Card) -> bool:
    shape = card.inputs[0].shape if card.is_of_one_image else ()
    return len(shape) == 4 and shape[1] == 1 and all(side is not None and side >= SMALLEST for side in shape[2:])


def _of_guards(card: Card) -> Checks:
    ages, ood, near = card.population.age_years, card.ood, card.neighbours
    outputs = {output.name for output in card.outputs}
    return [
        (
            not set(card.ranges) <= {tensor.name for spec in card.inputs for tensor in spec.tensors},
            "a range is given for something not an input",
        ),
        (any(low >= high for low, high in card.ranges.values()), "a range is empty"),
        (ages is not None and ages[0] > ages[1], "the youngest age is above the oldest"),
        (
            ood is not None
            and any(far.warn_above > far.abstain_above for far in (ood, ood.residual, ood.texture) if far is not None),
            "out-of-distribution abstains before it warns",
        ),
        (
            ood is not None and ood.texture is not None and not _has_texture(card),
            "out-of-distribution judges the texture of what is no single grey image, or of one that is too small",
        ),
        (
            ood is not None and not set(ood.outputs) <= outputs,
            "out-of-distribution names an output that is not listed",
        ),
        (
            ood is not None and ood.file not in {file.path for file in card.files if file.role == "ood"},
            "the out-of-distribution file is not among the files with the role “ood”",
        ),
        (
            near is not None and near.output not in outputs,
            "the neighbours name an output that is not listed",
        ),
        (
            near is not None and near.file not in {file.path for file in card.files if file.role == "neighbours"},
            "the neighbours' file is not among the files with the role “neighbours”",
        ),
        (
            near is not None and not set(near.seen) <= {label.name for label in card.labels},
            "the neighbours were counted for a label that is not listed",
        ),
        (
            near is not None and not near.are_counts_possible,
            "the counts of the neighbours cannot be",
        ),
    ]

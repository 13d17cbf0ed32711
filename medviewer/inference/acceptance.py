"""Whether a model that somebody brings does what its card says: tried before it is installed.

Digests say that the files are those of the card. They do not say that the network has the
card's labels, gives numbers, gives the known answers, ends in time, or that its
gradient graph is of the same network: a heat map of another network would be a lie.
All of it is run here once, in the engine's worker process, with limits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from medviewer.domain.errors import CardError, ModelError, TimeBudgetError
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.inference.asking import feature_statistics, residual_statistics, texture_statistics
from medviewer.inference.card import Card, Role
from medviewer.inference.card_masks import MASKS
from medviewer.inference.catalogue import Catalogue, Entry
from medviewer.inference.engine import Arrays, Engine
from medviewer.inference.masks import are_possible, check_shape
from medviewer.inference.neighbours import memory_of
from medviewer.inference.preprocessing import prepare
from medviewer.inference.runtimes import onnx
from medviewer.inference.runtimes.onnx import largest_error, read_reference

TIME_BUDGET_S = 60.0
MEMORY_LIMIT_BYTES = 6 << 30
_MOST_CASES = 16
_EXPLAIN_OUTPUTS = frozenset({"logits", "feature_map", "d_feature_map", "d_x"})


class OneModel(Catalogue):
    """A catalogue of a single model that is not installed yet, without the reference that the engine would check."""

    def __init__(self, card: Card) -> None:
        tried = replace(card, files=tuple(file for file in card.files if file.role != "reference"))
        super().__init__([])
        self._list([Entry(card.id, card.folder, tried)])


def accept(
    card: Card, *, time_budget_s: float = TIME_BUDGET_S, stop: StopToken | None = None, progress: Progress = no_progress
) -> None:
    """Run a model's reference inputs and hold what it gives against its card.

    Args:
        card: of a folder whose files have been checked against it.
        time_budget_s: how long one run may take.
        stop: to cancel.
        progress: told of each step.

    Raises:
        ModelError: the model does not do what its card says; the message says what.
        EngineError: it could not be run here, e.g. for lack of memory.
        Stopped: the reader cancelled.
    """
    if card.file("reference") is None:
        raise CardError(
            f"The model {card.id} has no inputs with known answers (role “reference”), so that nobody could tell "
            "whether it still gives them here; ask its publisher for a complete folder."
        )
    progress(0, 3, "Checking the model")
    _check_preprocessing(card)
    inputs, expected = _reference(card)
    with Engine(OneModel(card), time_budget_s=time_budget_s, memory_limit_bytes=MEMORY_LIMIT_BYTES) as engine:
        progress(1, 3, "Running the model's reference inputs")
        try:
            found = _run(engine, card, inputs, expected, stop)
            progress(2, 3, "Checking the explanations")
            for role in ("explain", "cam"):
                if card.file(role) is not None and card.is_of_one_image:
                    _check_gradients(engine, card, role, inputs, found, stop)
        except TimeBudgetError as error:
            raise ModelError(f"The model {card.id} does not answer within {time_budget_s:.0f} s; refused.") from error
    progress(3, 3, "Done")


def _check_preprocessing(card: Card) -> None:
    """The card's steps must lead to the card's shape, whatever image they are given."""
    if not card.is_of_one_image:
        return
    shape = card.inputs[0].shape[1:]
    row, column = np.mgrid[0:300, 0:200]
    tensor = prepare((row + 2 * column).astype(np.float32), card.preprocessing).tensor
    if tensor.shape != shape:
        raise CardError(f"The card of {card.id} prepares images to {tensor.shape} but its network takes {shape}.")


def _reference(card: Card) -> tuple[Arrays, Arrays]:
    inputs, expected = read_reference(card.folder, card.require("reference"))
    inputs = {name: array[:_MOST_CASES] for name, array in inputs.items()}
    expected = {name: array[:_MOST_CASES] for name, array in expected.items()}
    is_image, name = card.is_of_one_image, card.inputs[0].name
    is_wrong_image = is_image and (set(inputs) != {name} or inputs[name].shape[1:] != card.inputs[0].shape[1:])
    if is_wrong_image or not {output.name for output in card.outputs} & set(expected):
        raise CardError(f"The reference inputs of {card.id} are not for the input and output that its card names.")
    numbers = [array for array in (*inputs.values(), *expected.values()) if array.dtype.kind == "f"]
    if not all(np.isfinite(array).all() for array in numbers):
        raise CardError(f"The reference inputs of {card.id} hold values that are not numbers.")
    _check_labels(card, expected, len(next(iter(inputs.values()))))
    return inputs, expected


def _check_labels(card: Card, answers: onnx.Arrays, images: int) -> None:
    logits = answers.get("logits")
    if card.labels and logits is not None and logits.shape[1:] != (len(card.labels),):
        gives = " x ".join(map(str, logits.shape[1:])) or "no"
        raise CardError(
            f"The network of {card.id} gives {gives} numbers an image and its card names {len(card.labels)} labels."
        )
    if card.task == "segmentation" and MASKS in answers:
        check_shape(card, answers[MASKS], images)
        if not are_possible(card, answers[MASKS]):
            raise CardError(
                f"The masks of {card.id} are not the probabilities that its card says they are: they lie outside of 0 "
                "to 1, or those of a pixel's classes do not add up to 1."
            )


def _run(engine: Engine, card: Card, inputs: Arrays, expected: Arrays, stop: StopToken | None) -> Arrays:
    """All cases at once, and the first alone: a network whose batch is fixed gives one of the two only."""
    near = (card.neighbours.output,) if card.neighbours else ()
    outputs = tuple(dict.fromkeys([*expected, *(card.ood.outputs if card.ood else ()), *near]))
    missing = set(outputs) - set(engine.load(card.id, stop=stop).outputs)
    if missing:
        raise CardError(f"The network of {card.id} has no output “{min(missing)}”, which its card or reference names.")
    found = engine.run(card.id, inputs, outputs=outputs, stop=stop)
    if not all(np.isfinite(array).all() for array in found.values()):
        raise ModelError(f"The network of {card.id} gives values that are not numbers (NaN): its weights are damaged.")
    _check_labels(card, found, len(next(iter(inputs.values()))))
    _compare(card, {name: found[name] for name in expected}, expected, "its known answers")
    first = engine.run(card.id, {n: a[:1] for n, a in inputs.items()}, outputs=tuple(expected), stop=stop)
    _compare(card, first, {n: found[n][:1] for n in expected}, "itself when images are asked about together")
    if card.ood is not None:
        feature_statistics(card, found[card.ood.output].shape[1])
        if card.ood.residual is not None:
            residual_statistics(card, found[card.ood.residual.output].shape[1])
        if card.ood.texture is not None:
            texture_statistics(card)
    if card.neighbours is not None:
        memory_of(card, found[card.neighbours.output])
    return found


def _check_gradients(
    engine: Engine, card: Card, role: Role, inputs: Arrays, found: Arrays, stop: StopToken | None
) -> None:
    """The graph of an explanation must be of the same network, and give numbers in the place of the input."""
    outputs = set(engine.load(card.id, role=role, stop=stop).outputs)
    if "logits" not in outputs or not outputs <= _EXPLAIN_OUTPUTS:
        raise CardError(f"The graph for “{role}” of {card.id} has not the outputs of one; it is refused.")
    n = len(found["logits"])
    selector = np.zeros((n, len(card.labels)), np.float32)
    selector[:, 0] = 1
    explained = engine.run(card.id, {**inputs, "selector": selector}, role=role, stop=stop)
    if not all(np.isfinite(array).all() for array in explained.values()):
        raise ModelError(f"The graph for “{role}” of {card.id} gives values that are not numbers (NaN).")
    gap = largest_error({"logits": explained["logits"]}, {"logits": found["logits"]})
    if not gap <= card.reference_tolerance:
        raise ModelError(
            f"The graph for “{role}” of {card.id} is not of the same network: its answers differ by {gap:.2g}, "
            "so that its heat maps would explain something else."
        )
    if "d_x" in explained and explained["d_x"].shape != inputs[card.inputs[0].name].shape:
        raise CardError(f"The gradients of {card.id} have not the shape of its input.")


def _compare(card: Card, found: onnx.Arrays, expected: onnx.Arrays, with_what: str) -> None:
    gap = largest_error(found, expected)
    if not gap <= card.reference_tolerance:
        raise ModelError(
            f"The answers of {card.id} differ from {with_what} by {gap:.2g}; allowed is {card.reference_tolerance:.2g}."
        )

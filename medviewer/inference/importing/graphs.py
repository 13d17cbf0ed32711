"""A network from elsewhere, rebuilt so that it takes one grey image and gives logits, whatever its own habits.

Only for the import's own process: it parses a foreign file. The network itself is left
as it is; a few operators before it repeat the grey image for its channels and bring the
axes into its order, and after it probabilities become logits again. A network that takes one image at
a time is put inside a ``Scan``, which gives it one after the other.
"""

from __future__ import annotations

import ast
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, compose, helper, numpy_helper, version_converter

from medviewer.domain.errors import ModelError, UnsafeModelError
from medviewer.inference.importing.questions import IMAGENET_MEAN, IMAGENET_STD, Answers, GraphFacts
from medviewer.inference.loading import check_graph

OPSET = 18
ACROSS = (0, 1, 3, 2)
"""The order of the axes that swaps rows and columns; it is its own way back."""
_PREFIX, _INNER = "net.", "in."
_TAILS = ("Sigmoid", "Softmax")
# What leaves numbers what they are, but for their place, form or rounding: probabilities stay such behind it.
_CARRIERS = frozenset({"Cast", "Clip", "Concat", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape",
                       "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})  # fmt: skip
_MOVERS = frozenset(
    {"Transpose", "Reshape", "MatMul", "Gather", "Slice", "Expand"}
)  # after them axes mean other things
_AS_THEY_LIE = (0, 1, 2, 3)
_ORDERS: Mapping[tuple[str, bool], tuple[int, ...]] = {
    # by layout, and whether the first axis of an image runs across: from (n, channels, rows, columns) to the network's
    ("NCHW", False): _AS_THEY_LIE,
    ("NCHW", True): ACROSS,
    ("NHWC", False): (0, 2, 3, 1),
    ("NHWC", True): (0, 3, 2, 1),
}
_ORDERS_BACK = {key: tuple(order.index(axis) for axis in _AS_THEY_LIE) for key, order in _ORDERS.items()}
_MOST_CHANNELS = 120  # of masks; more is a slip of the axes
_SLACK = 1e-3  # of probabilities that a network has rounded
_SMALLEST = 1e-6  # a probability of 0 has no logit
MOST_AT_ONCE = 16  # images of a fixed batch: each image is asked about with so many copies of itself


def parse(data: bytes, name: str) -> ModelProto:
    """Parse and check a foreign file, and bring it to an opset that the rest here speaks.

    Raises:
        UnsafeModelError: it asks for something that is refused.
        ModelError: it is too old to be converted.
    """
    try:
        check_graph(data, name=name)
    except UnsafeModelError as error:
        if "outside the file" in str(error):
            raise UnsafeModelError(
                f"{error} Save it as one file first: onnx.save(onnx.load(path), new, save_as_external_data=False)."
            ) from error
        raise
    model = onnx.load_model_from_string(data)
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in constants]:
        model.graph.input.remove(value)  # before IR version 4, weights were inputs too
    version = max(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    if version < OPSET:
        try:
            model = version_converter.convert_version(model, OPSET)
        except Exception as error:
            raise ModelError(
                f"“{name}” uses ONNX opset {version}, which cannot be brought to {OPSET}; export it with that one."
            ) from error
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
    except Exception as error:
        raise ModelError(f"The shapes of “{name}” contradict each other; export it again.") from error


def facts_of(model: ModelProto, data: bytes, name: str) -> GraphFacts:
    """What the graph says of itself.

    Raises:
        ModelError: it is not a network that takes one image and gives one row of numbers, or masks of its size.
    """
    if len(model.graph.input) != 1:
        raise ModelError(f"“{name}” takes {len(model.graph.input)} inputs; only networks of one image can be imported.")
    given = model.graph.input[0]
    shape = _dims(given)
    if given.type.tensor_type.elem_type != TensorProto.FLOAT or len(shape) != 4:
        raise ModelError(f"“{name}” must take float32 images of four axes (n, channels, rows, columns).")
    layout = "NCHW" if shape[1] in (1, 3) else "NHWC" if shape[3] in (1, 3) else ""
    if not layout:
        raise ModelError(f"“{name}” takes {shape[1]} channels; networks of 1 (grey) or 3 (colour) can be imported.")
    if shape[0] is not None and shape[0] > MOST_AT_ONCE:
        raise ModelError(
            f"“{name}” takes {shape[0]} images at once, no more and no fewer; export it for any number of images (an "
            f"open batch axis), for 1, or for at most {MOST_AT_ONCE}."
        )
    sides = (shape[1], shape[2], shape[3]) if layout == "NCHW" else (shape[3], shape[1], shape[2])
    output, axes = _used_output(model, sides, layout, name)
    return GraphFacts(
        file=name,
        sha256=hashlib.sha256(data).hexdigest(),
        producer=f"{model.producer_name} {model.producer_version}".strip()[:100],
        opset=OPSET,
        input=given.name,
        layout=layout,
        shape=(int(sides[0] or 0), sides[1], sides[2]),
        batch=shape[0],
        output=output.name,
        labels=int(_dims(output)[3 if axes == "NHWC" else 1] or 0),
        tail=_tail_of(model, output.name),
        names=tuple(_names(model)),
        axes=axes,
    )


def _tail_of(model: ModelProto, output: str) -> str:
    """What makes probabilities of all or some of the numbers of an output, if anything does."""
    makers = {name: node for node in model.graph.node for name in node.output}
    wanted, seen = [output], set()
    while wanted:
        name = wanted.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in _TAILS:
            return str(node.op_type)
        if node.op_type in _CARRIERS:  # what else it takes says how
            wanted += node.input if node.op_type == "Concat" else node.input[:1]
    return ""


def _used_output(model: ModelProto, sides: Sequence[int | None], layout: str, name: str) -> tuple[Any, str]:
    """The first row of numbers, or else the first masks of the input's size, with the order of their axes."""
    for value in model.graph.output:
        if _is_row(value):
            return value, ""
    for value in model.graph.output:
        if axes := _axes_of_masks(value, sides[1:], layout):
            return value, axes
    raise ModelError(
        f"“{name}” gives neither a row of numbers an image nor masks of the image's size (n, channels, rows, columns); "
        "only networks that classify or outline can be imported."
    )


def _axes_of_masks(value: Any, size: Sequence[int | None], layout: str) -> str:
    """The order of the axes of masks; empty if these are none. What is left open may be the size."""
    shape = _dims(value)
    if value.type.tensor_type.elem_type != TensorProto.FLOAT or len(shape) != 4:
        return ""
    for axes in (layout, "NHWC" if layout == "NCHW" else "NCHW"):
        channels, *found = shape[1:] if axes == "NCHW" else (shape[3], *shape[1:3])
        fits = all(one is None or other is None or one == other for one, other in zip(found, size, strict=True))
        if channels is not None and 1 <= channels <= _MOST_CHANNELS and fits:
            return axes
    return ""


def result_of(facts: GraphFacts, answers: Answers) -> tuple[str, tuple[int, ...]]:
    """What the rebuilt network gives: ``logits`` (n, labels), or ``masks`` (n, channels, rows, columns)."""
    if facts.is_masks:
        return "masks", (facts.labels, answers.rows, answers.columns)
    return "logits", (facts.labels,)


def single(model: ModelProto, facts: GraphFacts, answers: Answers, batch: int | None) -> ModelProto:
    """The network as ``x`` (batch, 1, rows, columns) -> :func:`result_of`; ``batch`` None leaves it open.

    One that takes several images at once, no more and no fewer, is given as many copies of one; the first is read.
    """
    core = compose.add_prefix(model, _PREFIX)
    graph = core.graph
    before, weights = _before(facts, answers)
    after, more, made = _after(core, facts, answers, last=_PREFIX + facts.output)
    if (copies := facts.batch or 1) > 1:
        before.append(helper.make_node("Concat", [before[-1].output[0]] * copies, ["pre.copies"], axis=0))
        name, after[-1].output[0] = after[-1].output[0], "post.copies"
        more["post.first"] = np.array([0], np.int64)
        after.append(helper.make_node("Gather", ["post.copies", "post.first"], [name], axis=0))
    before[-1].output[0] = _PREFIX + facts.input
    kept = [node for node in graph.node if made is None or made not in node.output]
    n: int | str = "n" if batch is None else batch
    result = result_of(facts, answers)
    built = helper.make_graph(
        [*before, *kept, *after],
        "imported",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [n, 1, answers.rows, answers.columns])],
        [helper.make_tensor_value_info(result[0], TensorProto.FLOAT, [n, *result[1]])],
        [*graph.initializer, *(numpy_helper.from_array(a, name) for name, a in {**weights, **more}.items())],
    )
    return _model(built)


def batched(model: ModelProto, inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, Sequence[int]]) -> ModelProto:
    """The same network for any number of images, taken one after the other.

    Args:
        model: for a batch of one; it takes ``inputs`` and gives ``outputs``.
        inputs: by name, the shape of each without the batch axis.
        outputs: likewise.
    """
    body = compose.add_prefix(model, _INNER).graph  # what is inside may not be called like what is outside
    axis = numpy_helper.from_array(np.array([0], np.int64), "scan.axis")
    enter = [helper.make_node("Unsqueeze", [f"one.{name}", "scan.axis"], [_INNER + name]) for name in inputs]
    leave = [helper.make_node("Squeeze", [_INNER + name, "scan.axis"], [f"one.{name}"]) for name in outputs]
    inner = helper.make_graph(
        [*enter, *body.node, *leave],
        "one",
        [helper.make_tensor_value_info(f"one.{name}", TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(f"one.{name}", TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [*body.initializer, axis],
    )
    scan = helper.make_node("Scan", list(inputs), list(outputs), num_scan_inputs=len(inputs), body=inner)
    return _model(
        helper.make_graph(
            [scan],
            "imported",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", *s]) for n, s in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", *s]) for n, s in outputs.items()],
        )
    )


def last_feature_map(model: ModelProto, *, is_across: bool = False) -> tuple[str, tuple[int, ...]] | None:
    """The last tensor of a convolutional network, for one image, that still lies as the image does, and its shape.

    With ``is_across`` it lies with rows and columns swapped; the shape is then in the image's own order. None if there
    is none, and for networks of attention: what their tensors hold has no such places.
    """
    shapes = {value.name: _dims(value) for value in (*model.graph.value_info, *model.graph.input)}
    rows, columns = shapes["x"][2:]
    if any(node.op_type == "Softmax" for node in model.graph.node) or not rows or not columns:
        return None
    found = None
    for node in model.graph.node:
        for name in node.output if node.op_type not in _MOVERS else ():
            shape = shapes.get(name, ())
            if len(shape) != 4 or None in shape:
                continue
            sizes = tuple(int(shape[axis] or 0) for axis in (ACROSS if is_across else _AS_THEY_LIE))
            lies_alike = abs(sizes[2] * columns - sizes[3] * rows) <= max(rows, columns)
            if min(sizes[2:]) >= 2 and sizes[1] > 3 and lies_alike:
                found = (name, sizes)
    return found


def own_answers(session: Any, facts: GraphFacts, answers: Answers, x: np.ndarray) -> np.ndarray:
    """What the file as it came gives for ``x`` (n, 1, rows, columns), with numpy around it: logits, or masks.

    Raises:
        ModelError: the numbers cannot be what the answers say they are, or masks are of another size than the image.
    """
    image = np.repeat(x, facts.shape[0], axis=1) if answers.values != "imagenet" else _imagenet(x, facts.shape[0])
    order = _ORDERS[facts.layout, answers.is_across]
    image = image.transpose(order)
    if facts.is_masks:
        return _own_masks(session, facts, answers, image)
    rows = np.concatenate([some.reshape(len(some), -1) for some in _runs(session, facts, image)])
    found = np.asarray(rows[: len(image)], np.float64)
    _check_trial_numbers(facts, answers, found)
    if answers.output == "logits":
        return found.astype(np.float32)
    p = np.clip(found, _SMALLEST, 1 - _SMALLEST)
    logits = np.log(p) if answers.task == "multiclass" else np.log(p) - np.log1p(-p)
    return np.asarray(logits, np.float32)


def _check_trial_numbers(facts: GraphFacts, answers: Answers, found: np.ndarray) -> None:
    """Refuse numbers ``(n, labels)`` that cannot be what the answers say they are: every answer would be wrong."""
    is_between = bool(((found >= -_SLACK) & (found <= 1 + _SLACK)).all())
    adds_up = bool((np.abs(found.sum(axis=1) - 1) <= 10 * _SLACK).all())
    if answers.output == "probabilities" and not is_between:
        raise ModelError(
            f"“{facts.file}” gives numbers from {found.min():.3g} to {found.max():.3g} for trial images, and they were "
            "said to lie from 0 to 1; answer “output” with logits."
        )
    if answers.output == "probabilities" and answers.task == "multiclass" and not adds_up:
        raise ModelError(
            f"“{facts.file}” gives numbers for trial images that do not add up to 1, so that they are not the "
            "probabilities of exactly one finding; answer “task” with multilabel, or “output” as it was exported."
        )
    is_softmax = len(answers.labels) > 1 and is_between and adds_up
    _check_tail(facts, answers, is_softmax=is_softmax)


def _check_tail(facts: GraphFacts, answers: Answers, *, is_softmax: bool = False) -> None:
    if answers.output == "logits" and (facts.tail or is_softmax):
        why = f"ends in {facts.tail}" if facts.tail else "gives numbers from 0 to 1 that add up to 1 for trial images"
        raise ModelError(
            f"“{facts.file}” {why}, so that its numbers are no scores of any size; answer “output” with probabilities."
        )


def _runs(session: Any, facts: GraphFacts, image: np.ndarray) -> Iterator[np.ndarray]:
    """What the file gives, as many images at once as it takes; what is lacking to a whole number of these is repeated.

    Different images stand in one batch, as its makers ran it: a network that mixes them is found out, since the
    rebuilt one sees copies of one image.
    """
    size = facts.batch or 1
    for start in range(0, len(image), size):
        batch = np.resize(image[start : start + size], (size, *image.shape[1:]))
        yield session.run([facts.output], {facts.input: np.ascontiguousarray(batch)})[0]


def _own_masks(session: Any, facts: GraphFacts, answers: Answers, image: np.ndarray) -> np.ndarray:
    _check_tail(facts, answers)
    found = np.concatenate(list(_runs(session, facts, image)))[: len(image)]
    masks = found.transpose(_ORDERS_BACK[facts.axes, answers.is_across])
    expected = result_of(facts, answers)[1]
    if masks.shape[1:] != expected:
        gives, wanted = (" x ".join(map(str, shape)) for shape in (masks.shape[1:], expected))
        raise ModelError(
            f"“{facts.file}” gives masks of {gives} numbers, and {wanted} are needed: as many rows and columns as its "
            "input has; export it with an output of that size, or answer “rows” and “columns” as it was trained."
        )
    return np.ascontiguousarray(masks, np.float32)


def check_trial_masks(facts: GraphFacts, answers: Answers, masks: np.ndarray) -> None:
    """Refuse masks that cannot be what the answers say they are; they would lie over every image to come.

    Args:
        facts: of the network.
        answers: how its numbers are to be read.
        masks: ``(n, channels, rows, columns)``, what it gives for trial images.

    Raises:
        ModelError: they are whole numbers only, as maps of classes and cut masks are, or cover all of every image.
    """
    wanted = "the numbers before sigmoid or softmax (logits), or the probabilities after it, a channel a class"
    if (masks == np.round(masks)).all():
        raise ModelError(
            f"“{facts.file}” gives whole numbers only for trial images, as a map of classes or a mask that has been "
            f"cut does; export {wanted}, without argmax or a threshold."
        )
    if _covers_all(answers, masks):
        raise ModelError(
            f"“{facts.file}” outlines all of every trial image when its numbers are read as {answers.output}; answer "
            f"“output” as it was exported, or export {wanted}."
        )


def _covers_all(answers: Answers, masks: np.ndarray) -> bool:
    """Whether each label by itself, or one of exclusive classes, is everywhere on every image."""
    if answers.task == "exclusive":
        found = masks.astype(np.float64)
        if answers.output == "logits":
            found = np.exp(found - found.max(axis=1, keepdims=True))
            found /= found.sum(axis=1, keepdims=True)
        winner = found.argmax(axis=1)
        is_one = bool((winner == winner.flat[0]).all()) and winner.flat[0] > 0  # the background, which is first, may be
        return is_one and bool((found.max(axis=1) >= answers.threshold).all())
    limit = answers.threshold
    return bool((masks >= (math.log(limit / (1 - limit)) if answers.output == "logits" else limit)).all())


def _model(graph: Any) -> ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    model.producer_name = "MedViewer import"
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _dims(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(int(d.dim_value) if d.WhichOneof("value") == "dim_value" else None for d in dims)


def _is_row(value: Any) -> bool:
    shape = _dims(value)
    is_float = value.type.tensor_type.elem_type == TensorProto.FLOAT
    return is_float and len(shape) == 2 and shape[1] is not None and 1 <= shape[1] <= 500


def _names(model: ModelProto) -> Iterator[str]:
    """Names of the outputs in the file's metadata, as exporters write them: JSON, a Python dict, or with commas."""
    for entry in model.metadata_props:
        if entry.key.lower() in ("names", "labels", "classes", "class_names") and len(entry.value) < 20_000:
            try:
                value = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                value = entry.value.split(",")
            words = _in_order(value) if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            yield from (str(word).strip().replace(" ", "_") for word in words)
            return


def _in_order(names: Mapping[Any, Any]) -> Sequence[Any]:
    """Names by the number of their output, whichever of the two stands first; JSON has "10" before "2" as a rule."""
    numbered = {**names} if all(str(key).isdecimal() for key in names) else {n: name for name, n in names.items()}
    if not all(str(key).isdecimal() for key in numbered) or len(numbered) != len(names):
        return list(names.values())
    return [numbered[key] for key in sorted(numbered, key=lambda key: int(str(key)))]


def _before(facts: GraphFacts, answers: Answers) -> tuple[list[Any], dict[str, np.ndarray]]:
    """From one grey channel to what the network takes; the last node's output is its input."""
    channels, nodes, weights, last = facts.shape[0], [], {}, "x"
    if answers.values == "imagenet":
        weights["pre.mean"], weights["pre.std"] = _imagenet_constants(channels)
        nodes += [helper.make_node("Sub", ["x", "pre.mean"], ["pre.0"])]
        nodes += [helper.make_node("Div", ["pre.0", "pre.std"], ["pre.1"])]
        last = "pre.1"
    elif channels > 1:
        nodes.append(helper.make_node("Concat", ["x"] * channels, ["pre.1"], axis=1))
        last = "pre.1"
    order = _ORDERS[facts.layout, answers.is_across]
    if order != _AS_THEY_LIE:
        nodes.append(helper.make_node("Transpose", [last], ["pre.2"], perm=order))
    if not nodes:
        nodes.append(helper.make_node("Identity", ["x"], ["pre.1"]))
    return nodes, weights


def _after(
    core: ModelProto, facts: GraphFacts, answers: Answers, *, last: str
) -> tuple[list[Any], dict[str, np.ndarray], str | None]:
    """From the network's output to logits or masks: nodes, their constants, and an output whose node is left out."""
    if facts.is_masks:
        order = _ORDERS_BACK[facts.axes, answers.is_across]
        if order != _AS_THEY_LIE:
            return [helper.make_node("Transpose", [last], ["masks"], perm=order)], {}, None
        return [helper.make_node("Identity", [last], ["masks"])], {}, None
    if answers.output == "logits":
        return [helper.make_node("Identity", [last], ["logits"])], {}, None
    wanted = "Softmax" if answers.task == "multiclass" else "Sigmoid"
    maker = next((node for node in core.graph.node if last in node.output), None)
    users = [node for node in core.graph.node if last in node.input]
    if maker is not None and maker.op_type == wanted == facts.tail and not users:
        return [helper.make_node("Identity", [maker.input[0]], ["logits"])], {}, last
    limits = {"post.low": _SMALLEST, "post.high": 1 - _SMALLEST, "post.one": 1.0}
    weights = {name: np.asarray(value, np.float32) for name, value in limits.items()}
    nodes = [helper.make_node("Clip", [last, "post.low", "post.high"], ["post.p"])]
    if answers.task == "multiclass":
        return [*nodes, helper.make_node("Log", ["post.p"], ["logits"])], weights, None
    nodes += [
        helper.make_node("Sub", ["post.one", "post.p"], ["post.q"]),
        helper.make_node("Div", ["post.p", "post.q"], ["post.odds"]),
        helper.make_node("Log", ["post.odds"], ["logits"]),
    ]
    return nodes, weights, None


def _imagenet_constants(channels: int) -> tuple[np.ndarray, np.ndarray]:
    mean = np.array(IMAGENET_MEAN if channels == 3 else [math.fsum(IMAGENET_MEAN) / 3], np.float32)
    std = np.array(IMAGENET_STD if channels == 3 else [math.fsum(IMAGENET_STD) / 3], np.float32)
    return mean.reshape(1, -1, 1, 1), std.reshape(1, -1, 1, 1)


def _imagenet(x: np.ndarray, channels: int) -> np.ndarray:
    mean, std = _imagenet_constants(channels)
    return np.asarray((x - mean) / std, np.float32)

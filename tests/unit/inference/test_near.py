"""Images that differ in a small part: the same answers as from the whole network, for less work."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from medviewer.inference import worker as worker_module
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.runtimes.locality import Reach, chain, cuts
from medviewer.inference.runtimes.near import Near
from tests import fakes

NAMES = ("logits",)


class Net:
    """Writes a network layer by layer; the name of the newest map is what each layer gives back."""

    def __init__(self, rows: int = 61, columns: int = 54, seed: int = 0) -> None:
        self.rows, self.columns = rows, columns
        self.chance = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def conv(self, x: str, wide: int, out: int, size: tuple[int, int] = (3, 3), **attributes: Any) -> str:
        each = wide // attributes.get("group", 1)
        kernel = self.chance.normal(size=(out, each, *size)) / np.sqrt(each * size[0] * size[1])
        return self.add("Conv", x, self.constant(kernel), self.constant(self.chance.normal(size=out)), **attributes)

    def head(self, x: str, wide: int) -> onnx.ModelProto:
        pooled = self.add("Flatten", self.add("GlobalAveragePool", x))
        weights = self.constant(self.chance.normal(size=(wide, 2)))
        self.nodes.append(helper.make_node("Gemm", [pooled, weights], ["logits"]))
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, "g",
            [value("x", TensorProto.FLOAT, ["n", 1, self.rows, self.columns])],
            [value("logits", TensorProto.FLOAT, ["n", 2])],
            self.weights,
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model


def plain(net: Net) -> onnx.ModelProto:
    x = net.conv("x", 1, 4, (5, 3), pads=[2, 1, 2, 1], strides=[2, 2])
    x = net.add("Relu", x)
    x = net.conv(x, 4, 6, pads=[1, 1, 1, 1])
    x = net.add("Clip", x, net.constant(0), net.constant(6))
    return net.head(net.conv(x, 6, 6, strides=[2, 3]), 6)


def residual(net: Net) -> onnx.ModelProto:
    x = net.add(
        "MaxPool", net.conv("x", 1, 4, pads=[0, 1, 2, 1]), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    for _ in range(3):
        x = net.add("Add", net.add("Relu", net.conv(x, 4, 4, pads=[1, 1, 1, 1])), x)
    scale = [net.constant(values) for values in (np.arange(1, 5), np.ones(4), np.zeros(4), np.ones(4))]
    return net.head(net.add("BatchNormalization", x, *scale), 4)


def dense(net: Net) -> onnx.ModelProto:
    x, wide = net.add("AveragePool", net.conv("x", 1, 4), kernel_shape=[2, 2], strides=[2, 2], pads=[1, 0, 0, 1]), 4
    for _ in range(3):
        x, wide = net.add("Concat", x, net.conv(x, wide, 2, dilations=[2, 1], pads=[2, 1, 2, 1]), axis=1), wide + 2
    x = net.add("Mul", x, net.constant(net.chance.normal(size=(1, wide, 1, 1))))
    return net.head(net.conv(x, wide, wide, group=wide, strides=[2, 2], pads=[1, 0, 0, 0]), wide)


def sparse(net: Net) -> onnx.ModelProto:
    """Strides wider than the kernel: a change may fall between what the network looks at."""
    return net.head(net.add("Relu", net.conv(net.conv("x", 1, 4, (1, 1), strides=[3, 3]), 4, 4, pads=[1, 1, 1, 1])), 4)


def session(data: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class Scene:
    """A network whole, and the same for images that are near to one."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.whole = model, session(model.SerializeToString())
        self.runs: list[tuple[int, ...]] = []
        self.near = Near(lambda: model, session)

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        self.runs.append(batch.shape)
        return self.whole.run(list(NAMES), {"x": batch})

    def run_near(self, batch: np.ndarray, base: np.ndarray) -> list[np.ndarray] | None:
        return self.near.run({"x": batch}, {"x": base}, NAMES, lambda given: self.run(given["x"]), None)


def changed(base: np.ndarray, places: list[tuple[int, int]], size: tuple[int, int]) -> np.ndarray:
    batch = np.repeat(base, len(places), axis=0)
    for item, (row, column) in zip(batch, places, strict=True):
        item[:, row : row + size[0], column : column + size[1]] += 3
    return batch


@pytest.mark.parametrize("make", [plain, residual, dense, sparse])
@pytest.mark.parametrize("size", [(9, 9), (1, 1), (4, 17)])
@pytest.mark.parametrize("shape", [(61, 54), (64, 64), (48, 75)])
def test_what_a_change_does_is_the_same_as_in_the_whole_network(
    make: Callable[[Net], onnx.ModelProto], size: tuple[int, int], shape: tuple[int, int]
) -> None:
    net = Net(*shape)
    scene = Scene(make(net))
    base = net.chance.normal(size=(1, 1, *shape)).astype(np.float32)
    rows, columns = ([0, 1, 7, (end - wide) // 2, end - wide] for end, wide in zip(shape, size, strict=True))
    places = [(row, column) for row in rows for column in columns]
    batch = changed(base, places, size)
    found = scene.run_near(batch, base)
    assert found is not None
    np.testing.assert_allclose(found[0], scene.run(batch)[0], rtol=1e-5, atol=1e-5)
    assert np.ptp(found[0]) > 0.01, "the changes must matter"
    # One at a time too: then the crop is as small as it can be, and lies where the change does.
    for item in batch:
        alone = scene.run_near(item[None], base)
        assert alone is not None
        np.testing.assert_allclose(alone[0], scene.run(item[None])[0], rtol=1e-5, atol=1e-5)


def test_the_next_image_is_not_answered_from_the_one_before() -> None:
    net = Net()
    scene = Scene(plain(net))
    for _ in range(2):
        base = net.chance.normal(size=(1, 1, 61, 54)).astype(np.float32)
        given = base.copy()
        batch = changed(base, [(5, 5), (30, 30)], (9, 9))
        found = scene.run_near(batch, given)
        assert found is not None
        given[:] = 0  # shared memory is written to again
        again = scene.run_near(batch, base)
        assert again is not None
        for one in (found, again):
            np.testing.assert_allclose(one[0], scene.run(batch)[0], rtol=1e-5, atol=1e-5)


def test_nothing_changed_and_all_changed_are_answered_too() -> None:
    net = Net()
    scene = Scene(plain(net))
    base = net.chance.normal(size=(1, 1, 61, 54)).astype(np.float32)
    same = scene.run_near(base.copy(), base)
    assert same is not None
    np.testing.assert_allclose(same[0], scene.run(base)[0], rtol=1e-5, atol=1e-5)
    assert scene.run_near(base + 1, base) is None, "there is nothing to gain"


def test_a_value_that_is_no_number_reaches_the_answer() -> None:
    net = Net()
    scene = Scene(residual(net))
    base = net.chance.normal(size=(1, 1, 61, 54)).astype(np.float32)
    batch = changed(base, [(5, 5), (30, 30)], (9, 9))
    assert scene.run_near(batch, base) is not None
    batch[1, 0, 33, 33] = np.nan
    found = scene.run_near(batch, base)
    assert found is None or np.isnan(found[0][1]).all()


def squeezed(net: Net) -> onnx.ModelProto:
    x = net.conv("x", 1, 4, pads=[1, 1, 1, 1])
    return net.head(net.conv(net.add("Mul", x, net.add("GlobalAveragePool", x)), 4, 4), 4)


def turned(net: Net) -> onnx.ModelProto:
    x = net.add("Transpose", net.conv("x", 1, 4, pads=[1, 1, 1, 1]), perm=[0, 1, 3, 2])
    return net.head(net.conv(x, 4, 4), 4)


def placed(net: Net) -> onnx.ModelProto:
    x = net.add("Add", "x", net.constant(net.chance.normal(size=(net.rows, net.columns))))
    return net.head(net.conv(x, 1, 4), 4)


def by_columns(net: Net) -> onnx.ModelProto:
    x = net.add("Mul", "x", net.constant(net.chance.normal(size=net.columns)))
    return net.head(net.conv(x, 1, 4), 4)


def by_rows_joined(net: Net) -> onnx.ModelProto:
    x = net.add("Concat", "x", "x", axis=2)
    return net.head(net.conv(x, 1, 4), 4)


def of_each_image(net: Net) -> onnx.ModelProto:
    x = net.add("Add", "x", net.constant(net.chance.normal(size=(2, 1, 1, 1))))
    return net.head(net.conv(x, 1, 4), 4)


def normalised_place_by_place(net: Net) -> onnx.ModelProto:
    x = net.add("BatchNormalization", "x", *[net.constant([1])] * 4)
    model = net.head(net.conv(x, 1, 4), 4)
    model.opset_import[0].version = 7  # later ones know no such thing
    values = net.chance.random(size=(1, net.rows, net.columns)).astype(np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, model.graph.initializer[0].name))
    model.graph.node[0].attribute.append(helper.make_attribute("spatial", 0))
    return model


def normalised_by_the_batch(net: Net) -> onnx.ModelProto:
    x = net.add("BatchNormalization", "x", *[net.constant([1])] * 4, training_mode=1)
    net.nodes[-1].output.extend(["mean", "variance"])
    return net.head(net.conv(x, 1, 4), 4)


def by_what_nobody_knows(net: Net) -> onnx.ModelProto:
    """A constant of which the shape cannot be told before the network runs, a slope for each place."""
    whole = {"to": TensorProto.INT64}
    count = net.add("Cast", net.add("Size", net.add("NonZero", net.constant(net.chance.normal(size=3)))), **whole)
    zero = net.add("Sub", count, count)
    sizes = net.add("Cast", net.constant([0, 1, net.rows, net.columns]), **whole)
    begins, ends = (net.add("Cast", net.constant([at]), **whole) for at in (1, 4))
    sizes = net.add("Slice", net.add("Add", sizes, zero), begins, ends)
    slopes = net.add("Reshape", net.constant(net.chance.normal(size=(net.rows * net.columns))), sizes)
    return net.head(net.conv(net.add("PRelu", "x", slopes), 1, 4), 4)


_NOT_LOCAL = [squeezed, turned, placed, by_columns, by_rows_joined, of_each_image, normalised_place_by_place]
_NOT_LOCAL += [normalised_by_the_batch, by_what_nobody_knows]


@pytest.mark.parametrize("make", _NOT_LOCAL)
def test_no_cut_lies_above_what_is_not_local(make: Callable[[Net], onnx.ModelProto]) -> None:
    """All above sees the whole image, or another place of it, or is not the same at every place."""
    net = Net()
    model = make(net)
    places, _ = cuts(model, (1, net.rows, net.columns), NAMES)
    kinds = {node.output[0]: node.op_type for node in model.graph.node}
    barrier = next(i for i, node in enumerate(model.graph.node) if node.op_type != "Conv")
    allowed = {node.output[0] for node in model.graph.node[:barrier]}
    assert {place.name for place in places[1:]} <= allowed, kinds


def with_rounded_pool(net: Net) -> onnx.ModelProto:
    x = net.add("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    return net.head(net.conv(x, 1, 4), 4)


def with_padding_told_by_name(net: Net) -> onnx.ModelProto:
    return net.head(net.conv("x", 1, 4, auto_pad="SAME_UPPER", strides=[2, 2]), 4)


def with_padding_beyond_the_kernel(net: Net) -> onnx.ModelProto:
    return net.head(net.conv("x", 1, 4, (1, 1), pads=[2, 2, 2, 2]), 4)


@pytest.mark.parametrize("make", [with_rounded_pool, with_padding_told_by_name, with_padding_beyond_the_kernel])
def test_windows_whose_place_cannot_be_told_are_not_cut_behind(make: Callable[[Net], onnx.ModelProto]) -> None:
    net = Net()
    places, _ = cuts(make(net), (1, net.rows, net.columns), NAMES)
    assert len(places) == 1


def test_a_map_that_is_still_needed_further_up_prevents_a_cut_between() -> None:
    net = Net()
    first = net.conv("x", 1, 4, pads=[1, 1, 1, 1])
    inner = net.add("Relu", net.conv(first, 4, 4, pads=[1, 1, 1, 1]))
    joined = net.add("Add", inner, first)
    places, _ = cuts(net.head(joined, 4), (1, net.rows, net.columns), NAMES)
    assert [place.name for place in places] == ["x", first, joined]


def test_only_what_leads_to_the_outputs_that_are_wanted_counts() -> None:
    net = Net()
    model = plain(net)
    model.graph.node.append(helper.make_node("GlobalAveragePool", ["x"], ["brightness"]))
    model.graph.output.append(helper.make_tensor_value_info("brightness", TensorProto.FLOAT, ["n", 1, 1, 1]))
    size = (1, net.rows, net.columns)
    assert len(cuts(model, size, NAMES)[0]) > 1
    assert len(cuts(model, size, ("logits", "brightness"))[0]) == 1


def test_what_a_cell_sees_is_worked_out_as_by_hand() -> None:
    # 3 wide, stride 2, one cell of padding: cell i sees 2i - 1 to 2i + 1. Again: 4i - 3 to 4i + 3.
    once = Reach().through((3, 3), (2, 2), (1, 1), (1, 1))
    twice = once.through((3, 3), (2, 2), (1, 1), (1, 1))
    assert (once.step, once.before, once.after) == ((2, 2), (1, 1), (1, 1))
    assert (twice.step, twice.before, twice.after) == ((4, 4), (3, 3), (3, 3))
    assert twice.touched(0, 10, 12, 100) == (2, 3)  # cells 2 (5 to 11) and 3 (9 to 15)
    assert twice.seen(0, 2, 3, 100) == (5, 15)
    assert twice.touched(0, 0, 0, 100) == (0, 0)
    assert twice.seen(0, 0, 0, 100) == (0, 3)
    assert twice.touched(0, 99, 99, 25) == (24, 24)


def test_the_chain_leaves_a_network_whole_where_the_change_is_as_large_as_the_image() -> None:
    net = Net()
    places, work = cuts(plain(net), (1, net.rows, net.columns), NAMES)
    assert len(chain(places, work, (61, 54))) == 1
    assert len(chain(places, work, (5, 5))) > 1


def test_a_part_that_answers_otherwise_is_noticed_and_never_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    scene = Scene(plain(net))
    base = net.chance.normal(size=(1, 1, 61, 54)).astype(np.float32)
    batch = changed(base, [(5, 5), (30, 30)], (9, 9))
    right = Reach.through
    with monkeypatch.context() as patch:  # a mistake of ours: cells are said to see less than they do
        patch.setattr(
            Reach, "through", lambda self, kernel, *rest: right(self, (kernel[0], max(1, kernel[1] - 1)), *rest)
        )
        assert scene.run_near(batch, base) is None
    assert scene.runs, "it was compared"
    assert scene.run_near(batch, base) is None


def test_a_network_that_was_found_out_is_not_asked_about_changes_of_another_size_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = Net()
    scene = Scene(plain(net))
    base = net.chance.normal(size=(1, 1, 61, 54)).astype(np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(np, "allclose", lambda *_arrays, **_tolerances: False)
        assert scene.run_near(changed(base, [(5, 5)], (9, 9)), base) is None
    assert scene.run_near(changed(base, [(5, 5)], (7, 7)), base) is None


class Broken:
    """Parts that open and then do not run."""

    def __init__(self, _data: bytes) -> None:
        self.opened.append(self)

    opened: ClassVar[list[Broken]] = []

    def run(self, *_given: object) -> None:
        raise RuntimeError("bad allocation")


def test_parts_that_cannot_be_run_are_let_go_and_the_whole_network_answers() -> None:
    net = Net()
    model, options = plain(net), ort.RunOptions()
    base = net.chance.normal(size=(1, 1, 61, 54)).astype(np.float32)
    batch = changed(base, [(5, 5)], (9, 9))
    near = Near(lambda: model, Broken)
    Broken.opened.clear()
    for _ in range(2):
        assert near.run({"x": batch}, {"x": base}, NAMES, lambda _: pytest.fail("not asked here"), options) is None
        parts = len(Broken.opened)
        assert parts > 1, "they are opened once"

    class Ended(Broken):
        """A part that was running when somebody stopped it."""

        def run(self, *given: Any) -> list[np.ndarray]:
            options.terminate = True
            return super().run(*given)

    with pytest.raises(RuntimeError):  # a run that was ended is not made again by the whole network
        Near(lambda: model, Ended).run({"x": batch}, {"x": base}, NAMES, lambda _: pytest.fail("ended"), options)


def test_changes_of_ever_other_sizes_do_not_fill_the_memory() -> None:
    net = Net()
    model, opened = plain(net), list[weakref.ref[Any]]()

    class Part:
        """A session that can be seen to be gone."""

        def __init__(self, data: bytes) -> None:
            self.run = session(data).run
            opened.append(weakref.ref(self))

    whole, near = session(model.SerializeToString()), Near(lambda: model, Part)
    base = net.chance.normal(size=(1, 1, 61, 54)).astype(np.float32)
    for size in range(1, 13):
        batch = changed(base, [(5, 5)], (size, size))
        found = near.run({"x": batch}, {"x": base}, NAMES, lambda given: whole.run(list(NAMES), given), None)
        assert found is not None
        np.testing.assert_allclose(found[0], whole.run(list(NAMES), {"x": batch})[0], rtol=1e-5, atol=1e-5)
    gc.collect()
    assert len(opened) >= 24
    assert sum(one() is not None for one in opened) <= 16


def test_a_network_whose_parts_do_not_open_is_run_whole() -> None:
    net = Net()
    model = plain(net)
    base = net.chance.normal(size=(1, 1, 61, 54)).astype(np.float32)

    def refuse(_data: bytes) -> None:
        raise RuntimeError("no kernel for it")

    near = Near(lambda: model, refuse)
    batch = changed(base, [(5, 5)], (9, 9))
    for _ in range(2):
        assert near.run({"x": batch}, {"x": base}, NAMES, lambda _: pytest.fail("nothing to compare"), None) is None


@pytest.mark.parametrize(
    "given",
    [
        lambda batch, base: ({"x": batch}, {"y": base}),
        lambda batch, base: ({"x": batch, "age": batch}, {"x": base, "age": base}),
        lambda batch, base: ({"x": batch.astype(np.float64)}, {"x": base}),
        lambda batch, base: ({"x": batch}, {"x": base[:, :, :-1]}),
    ],
)
def test_requests_of_another_form_are_left_to_the_whole_network(given: Callable[..., Any]) -> None:
    net = Net()
    scene = Scene(plain(net))
    base = net.chance.normal(size=(1, 1, 61, 54)).astype(np.float32)
    inputs, near = given(changed(base, [(5, 5)], (9, 9)), base)
    assert scene.near.run(inputs, near, NAMES, lambda batch: scene.run(batch["x"]), None) is None


def write_model(folder: Path, model: onnx.ModelProto, size: tuple[int, int]) -> None:
    """A model folder around a network of one grey image."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    card: dict[str, Any] = fakes.card_document(["a", "b"], [fakes.file_entry("model", folder / "model.onnx")])
    card["inputs"][0]["shape"] = [None, 1, *size]
    card["preprocessing"][0] |= {"rows": size[0], "columns": size[1]}
    fakes.write_card(folder, {**card, "id": "near", "outputs": [{"name": "logits", "shape": [None, 2]}], "ood": None})


def test_the_engine_gives_the_same_either_way(tmp_path: Path) -> None:
    net = Net(64, 64)
    write_model(tmp_path / "near", residual(net), (64, 64))
    base = net.chance.normal(size=(1, 1, 64, 64)).astype(np.float32)
    batch = changed(base, [(0, 0), (20, 31), (50, 55)], (9, 9))
    with Engine(Catalogue([tmp_path]), providers=["cpu"], threads=1) as engine:

        def ask(**more: Mapping[str, np.ndarray]) -> np.ndarray:
            return engine.run("near", {"x": batch}, outputs=NAMES, **more)["logits"]

        expected = ask()
        for _ in range(3):  # the third time, a request that is repeated is not prepared anew
            np.testing.assert_allclose(ask(near={"x": base}), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(ask(), expected, rtol=1e-5, atol=1e-5)


def test_a_stop_while_a_network_is_taken_apart_is_passed_on_and_is_no_failure() -> None:
    net = Net()
    model = plain(net)
    whole = session(model.SerializeToString())
    options = SimpleNamespace(terminate=False)
    opened: list[bytes] = []

    def open_one(data: bytes) -> ort.InferenceSession:
        opened.append(data)
        options.terminate = len(opened) == 1
        return session(data)

    near = Near(lambda: model, open_one)
    base = net.chance.normal(size=(1, 1, 61, 54)).astype(np.float32)
    batch = changed(base, [(5, 5), (30, 30)], (9, 9))

    def ask() -> list[np.ndarray] | None:
        return near.run({"x": batch}, {"x": base}, NAMES, lambda given: whole.run(list(NAMES), dict(given)), options)

    with pytest.raises(InterruptedError):
        ask()
    assert len(opened) == 1
    options.terminate = False
    near._open = session  # the options of a test are none that ONNX Runtime takes
    options = None
    found = ask()
    assert found is not None
    np.testing.assert_allclose(found[0], whole.run(list(NAMES), {"x": batch})[0], rtol=1e-5, atol=1e-5)


def test_memory_in_which_another_image_lies_now_is_not_taken_for_the_one_before() -> None:
    net = Net()
    scene = Scene(plain(net))
    shared = np.zeros((1, 1, 61, 54), np.float32)
    for _ in range(2):
        shared[:] = net.chance.normal(size=shared.shape)
        batch = changed(shared, [(5, 5), (30, 30)], (9, 9))
        found = scene.run_near(batch, shared)
        assert found is not None
        np.testing.assert_allclose(found[0], scene.run(batch)[0], rtol=1e-5, atol=1e-5)


def test_a_change_between_what_is_looked_at_reaches_one_cell_at_least() -> None:
    every_third = Reach(step=(3, 3))
    assert every_third.touched(0, 1, 1, 10) == (1, 1)
    assert every_third.touched(0, 29, 29, 10) == (9, 9)


def test_the_worker_asks_by_parts_of_the_batch_and_by_parts_of_the_network() -> None:
    asked: list[tuple[int, Any]] = []

    def run_near(inputs: Mapping[str, np.ndarray], base: Any, _names: Any, _options: Any) -> list[np.ndarray]:
        asked.append((len(inputs["x"]), base))
        return [2 * inputs["x"]]

    worker: Any = worker_module._Worker(None, 6 << 30)  # type: ignore[arg-type]
    worker._models["it"] = SimpleNamespace(run_near=run_near)
    x, base = np.arange(5.0), {"x": np.zeros(1)}
    [y] = worker._run_in_parts("it", {"x": x}, base, ("y",), None, 2)
    assert np.array_equal(y, 2 * x)
    assert asked == [(2, base), (2, base), (1, base)]

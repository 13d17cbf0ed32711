"""Bare networks that outline: recognised by their masks, asked about, rebuilt, tried."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from medviewer.cli import main
from medviewer.domain.errors import CardError, ModelError, UsageError
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.importing.card_draft import _label
from medviewer.inference.importing.onnx_file import import_onnx
from medviewer.inference.importing.questions import Answers, GraphFacts, questions, read_answers
from medviewer.inference.importing.workshop import inspect
from tests import outline_models
from tests.outline_models import block_mask, case_of, picture


def bare(path: Path, values: str = "logits", classes: str = "independent", *changes: Any) -> Path:
    """A network as somebody would send it."""
    model = onnx.load_model_from_string(outline_models.graph(values, classes))
    for change in changes:
        change(model)
    path.write_bytes(model.SerializeToString())
    return path


def colour_last(model: onnx.ModelProto) -> None:
    """Three equal channels, channels last on both sides, one image at a time: as TensorFlow's exporters write it."""
    graph, size = model.graph, outline_models.SIZE
    graph.input[0].CopyFrom(helper.make_tensor_value_info("image", 1, [1, size, size, 3]))
    channels = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    graph.output[0].CopyFrom(helper.make_tensor_value_info("segmentation", 1, [1, size, size, channels]))
    graph.initializer.append(numpy_helper.from_array(np.array([3], np.int64), "last"))
    before = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[3], keepdims=1),
        helper.make_node("Transpose", ["grey"], ["x"], perm=[0, 3, 1, 2]),
    ]
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *nodes, helper.make_node("Transpose", ["masks"], ["segmentation"], perm=[0, 2, 3, 1])])
    model.opset_import[0].version = 13


def softmax_last(model: onnx.ModelProto) -> None:
    """The softmax is the operator that gives the output."""
    graph = model.graph
    graph.node[-2].output[0] = "masks"
    del graph.node[-1]


def open_sides(model: onnx.ModelProto) -> None:
    """Any size of image."""
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis, name in ((2, "h"), (3, "w")):
            value.type.tensor_type.shape.dim[axis].dim_param = name


def answered(facts: GraphFacts, **given: Any) -> Answers:
    wanted = {
        "labels": ["bright", "dark"],
        "category": "structure",
        "task": "independent",
        "output": "logits",
        "modality": ["CR"],
        "values": "unit",
        "intended_use": "Tests.",
    }
    return read_answers(questions(facts), wanted | given, facts)


def imported(path: Path, folder: Path, **given: Any) -> Any:
    facts = inspect(path)
    folder.mkdir(parents=True, exist_ok=True)
    return import_onnx(path, facts, answered(facts, **given), folder)


def test_masks_are_recognised_and_asked_about(tmp_path: Path) -> None:
    facts = inspect(bare(tmp_path / "Lung Net.onnx"))
    assert (facts.axes, facts.is_masks, facts.labels, facts.batch, facts.output) == ("NCHW", True, 2, None, "masks")
    asked = {q.id: q for q in questions(facts)}
    assert [value for value, _ in asked["task"].choices] == ["independent", "exclusive"]
    assert (asked["task"].guess, asked["labels"].guess, asked["category"].guess) == (None, None, None)
    assert "2 channels" in asked["labels"].why.en
    assert all(q.title.zh and q.why.zh for q in asked.values())


def test_a_softmax_over_channels_is_guessed_to_have_a_background(tmp_path: Path) -> None:
    facts = inspect(bare(tmp_path / "net.onnx", "probabilities", "exclusive", softmax_last))
    guesses = {q.id: q.guess for q in questions(facts)}
    assert (facts.labels, facts.tail) == (3, "Softmax")
    assert (guesses["task"], guesses["output"]) == ("exclusive", "probabilities")
    named = {q.id: q.guess for q in questions(facts, {"labels": ["Background", "bright", "dark"]})}
    assert named["labels"] == ["bright", "dark"]


@pytest.mark.parametrize(("values", "classes"), [
    (values, classes) for values in ("logits", "probabilities") for classes in ("independent", "exclusive")
])  # fmt: skip
def test_an_imported_network_outlines_what_the_file_outlines(tmp_path: Path, values: str, classes: str) -> None:
    card = imported(
        bare(tmp_path / "net.onnx", values, classes), tmp_path / "models" / "net", task=classes, output=values
    )
    assert (card.task, card.masks.values, card.masks.classes) == ("segmentation", values, classes)
    assert card.file("explain") is None
    assert card.explain is None
    with Engine(Catalogue([tmp_path / "models"]), providers=("cpu",), threads=2) as engine:
        answer = engine.ask(case_of(picture()), card.id)
        (verified,) = engine.verify(card.id)
    assert verified.passed
    for region in answer.regions:
        np.testing.assert_array_equal(region.mask, block_mask(region.label, 16, 16))
    assert [label.code for label in card.labels] == ["99MEDVIEWER:bright", "99MEDVIEWER:dark"]
    assert card.labels[0].outline.category.meaning == "Anatomical Structure"
    assert len({label.outline.color for label in card.labels}) == 2
    warned = {guard.code for guard in answer.guards if guard.level == "warn"}
    assert "unmeasured" in warned


def test_masks_of_probabilities_are_not_taken_for_logits(tmp_path: Path) -> None:
    """Above a threshold of 90% it would outline nothing on any image, and below a half all of it."""
    path = bare(tmp_path / "net.onnx", "probabilities", "independent")
    assert inspect(path).tail == "Sigmoid"
    with pytest.raises(ModelError, match="ends in Sigmoid, so that its numbers are no scores of any size"):
        imported(path, tmp_path / "models" / "net", task="independent", output="logits", threshold=0.9)


def test_a_colour_network_with_channels_last_answers_about_many_grey_images(tmp_path: Path) -> None:
    path = bare(tmp_path / "net.onnx", "logits", "exclusive", colour_last)
    facts = inspect(path)
    assert (facts.layout, facts.axes, facts.batch, facts.labels) == ("NHWC", "NHWC", 1, 3)
    card = imported(path, tmp_path / "models" / "net", task="exclusive")
    assert card.require("model").control_flow == ("Scan",)
    x = np.random.default_rng(3).uniform(0, 1, (3, 1, 16, 16)).astype(np.float32)
    original = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    expected = [original.run(None, {"image": np.repeat(one, 3, 0).transpose(1, 2, 0)[None]})[0] for one in x]
    with Engine(Catalogue([tmp_path / "models"]), providers=("cpu",), threads=2) as engine:
        found = engine.run(card.id, {"x": x}, outputs=["masks"])["masks"]
    np.testing.assert_allclose(found, np.concatenate(expected).transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


def two_at_once(model: onnx.ModelProto) -> None:
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 2


def test_a_network_that_outlines_two_images_at_once_outlines_any_number(tmp_path: Path) -> None:
    path = bare(tmp_path / "net.onnx", "logits", "independent", two_at_once)
    assert inspect(path).batch == 2
    card = imported(path, tmp_path / "models" / "net", task="independent", output="logits")
    x = np.random.default_rng(3).uniform(0, 1, (3, 1, 16, 16)).astype(np.float32)
    original = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    expected = np.concatenate([original.run(None, {"x": x[:2]})[0], original.run(None, {"x": x[1:]})[0][1:]])
    with Engine(Catalogue([tmp_path / "models"]), providers=("cpu",), threads=2) as engine:
        found = engine.run(card.id, {"x": x}, outputs=["masks"])["masks"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_network_for_any_size_is_imported_at_the_size_that_is_answered(tmp_path: Path) -> None:
    path = bare(tmp_path / "net.onnx", "logits", "independent", open_sides)
    facts = inspect(path)
    assert facts.shape == (1, None, None)
    with pytest.raises(UsageError, match="“rows” must be answered"):
        answered(facts)
    card = imported(path, tmp_path / "net", rows=24, columns=40)
    assert card.outputs[0].shape == (None, 2, 24, 40)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_masks_of_a_network_whose_first_axis_runs_across_lie_as_the_image_does(tmp_path: Path, layout: str) -> None:
    kernels = np.random.default_rng(8).normal(0, 1, (2, 1, 3, 3)).astype(np.float32)
    is_last = layout == "NHWC"
    nodes = [
        helper.make_node("Transpose", ["image"], ["cxy"], perm=[0, 3, 1, 2] if is_last else [0, 1, 2, 3]),
        helper.make_node("Conv", ["cxy", "kernels"], ["found"], pads=[1, 1, 1, 1]),
        helper.make_node("Transpose", ["found"], ["masks"], perm=[0, 2, 3, 1] if is_last else [0, 1, 2, 3]),
    ]
    graph = helper.make_graph(
        nodes,
        "turned",
        [helper.make_tensor_value_info("image", 1, [1, 32, 24, 1] if is_last else ["n", 1, 32, 24])],
        [helper.make_tensor_value_info("masks", 1, [1, 32, 24, 2] if is_last else ["n", 2, 32, 24])],
        [numpy_helper.from_array(kernels, "kernels")],
    )
    path = tmp_path / "net.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    card = imported(path, tmp_path / "net", first_axis="across", rows=24, columns=32)
    assert card.outputs[0].shape == (None, 2, 24, 32)
    x = np.random.default_rng(4).uniform(0, 1, (1, 1, 24, 32)).astype(np.float32)
    original, served = (
        onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
        for file in (path, tmp_path / "net" / "model.onnx")
    )
    (expected,) = original.run(None, {"image": x.transpose(0, 3, 2, 1) if is_last else x.transpose(0, 1, 3, 2)})
    (found,) = served.run(["masks"], {"x": x})
    back = expected.transpose(0, 3, 2, 1) if is_last else expected.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(found, back, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"labels": ["bright"]}, "gives 2 channels of masks; 1 labels were named"),
        ({"labels": ["bright", "dark"], "task": "exclusive"}, "2 labels beside the background were named"),
        ({"labels": []}, "0 labels were named"),
        ({"category": ""}, "“category” must be answered"),
        ({"category": "organ"}, "must be one of"),
        ({"task": "multilabel"}, "must be one of: independent, exclusive"),
        ({"threshold": 0}, "between 0 and 1"),
    ],
)
def test_a_wrong_answer_is_named(given: dict[str, Any], says: str) -> None:
    facts = GraphFacts("n.onnx", "0" * 64, "", 18, "x", "NCHW", (1, 32, 32), None, "y", 2, "", axes="NCHW")
    with pytest.raises(UsageError, match=says):
        answered(facts, **given)


@pytest.mark.reliability
def test_masks_that_are_not_of_the_images_size_are_refused(tmp_path: Path) -> None:
    (tmp_path / "half.onnx").write_bytes(outline_models.graph(scale=0.5))
    with pytest.raises(ModelError, match="neither a row of numbers an image nor masks of the image's size"):
        inspect(tmp_path / "half.onnx")
    model = onnx.load_model_from_string(outline_models.graph(scale=0.5))
    open_sides(model)  # the file does not say it: it is found when it is tried
    (tmp_path / "open.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="2 x 8 x 8 numbers, and 2 x 16 x 16 are needed"):
        imported(tmp_path / "open.onnx", tmp_path / "net", rows=16, columns=16)


@pytest.mark.reliability
def test_logits_are_not_taken_for_probabilities(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="are not the probabilities"):
        imported(bare(tmp_path / "net.onnx"), tmp_path / "net", output="probabilities")


def ending(*nodes: Any, channels: int, **constants: float) -> Any:
    """The network's own masks go through some operators more: from ``inner`` to ``masks``."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        graph.node[-1].output[0] = "inner"
        graph.node.extend(nodes)
        graph.initializer.extend(numpy_helper.from_array(np.array(n, np.float32), k) for k, n in constants.items())
        graph.output[0].type.tensor_type.shape.dim[1].dim_value = channels

    return change


@pytest.mark.reliability
def test_a_map_of_classes_is_not_taken_for_logits(tmp_path: Path) -> None:
    node = helper.make_node
    classes = ending(
        node("ArgMax", ["inner"], ["i"], axis=1, keepdims=1), node("Cast", ["i"], ["masks"], to=1), channels=1
    )
    path = bare(tmp_path / "argmax.onnx", "logits", "exclusive", classes)
    with pytest.raises(ModelError, match=r"whole numbers only .* without argmax or a threshold"):
        imported(path, tmp_path / "net", labels=["bright"])
    cut = ending(node("Greater", ["inner", "half"], ["i"]), node("Cast", ["i"], ["masks"], to=1), channels=2, half=0.5)
    path = bare(tmp_path / "cut.onnx", "probabilities", "independent", cut)
    for output in ("logits", "probabilities"):
        with pytest.raises(ModelError, match="whole numbers only"):
            imported(path, tmp_path / output, output=output)


@pytest.mark.reliability
def test_masks_that_cover_all_of_every_image_are_refused(tmp_path: Path) -> None:
    """Probabilities taken for logits, made by whatever: none is below 0, so that each pixel would be inside."""
    unseen = ending(helper.make_node("Abs", ["inner"], ["masks"]), channels=2)
    with pytest.raises(ModelError, match=r"outlines all of every trial image when .* as logits; answer “output”"):
        imported(bare(tmp_path / "net.onnx", "probabilities", "independent", unseen), tmp_path / "net")
    add = ending(helper.make_node("Add", ["inner", "more"], ["masks"]), channels=3)

    def one_class(model: onnx.ModelProto, large: float = 99.5) -> None:
        add(model)
        more = np.array([0, large, 0], np.float32).reshape(1, 3, 1, 1)
        model.graph.initializer.append(numpy_helper.from_array(more, "more"))

    with pytest.raises(ModelError, match="outlines all of every trial image"):
        imported(bare(tmp_path / "one.onnx", "logits", "exclusive", one_class), tmp_path / "one", task="exclusive")

    def ground_only(model: onnx.ModelProto) -> None:
        one_class(model, -99.5)
        model.graph.initializer[-1].CopyFrom(
            numpy_helper.from_array(np.array([99.5, 0, 0], np.float32).reshape(1, 3, 1, 1), "more")
        )

    path = bare(tmp_path / "ground.onnx", "logits", "exclusive", ground_only)
    assert imported(path, tmp_path / "ground", task="exclusive").task == "segmentation"


def test_the_command_asks_imports_installs_and_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDVIEWER_HOME", str(tmp_path / "home"))
    path, out = bare(tmp_path / "net.onnx"), tmp_path / "models" / "net"
    assert main(["models", "import", str(path), "--questions"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["graph"]["axes"] == "NCHW"
    document["answers"] |= {
        "labels": ["bright", "dark"],
        "category": "tissue",
        "task": "independent",
        "output": "logits",
    }
    document["answers"] |= {"modality": ["CR"], "values": "unit", "intended_use": "Tests."}
    (tmp_path / "answers.json").write_text(json.dumps(document))
    words = ["models", "import", str(path), "--answers", str(tmp_path / "answers.json"), "--out", str(out), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["id"], told["explain"]) == ("net", {})
    assert main(["--models", str(out.parent), "models", "verify", "net", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["passed"]
    assert main(["--models", str(out.parent), "models", "show", "net", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["models"][0]
    assert (shown["task"], shown["methods"]) == ("segmentation", [])


@pytest.mark.slow
def test_a_u_net_from_pytorch_gives_the_masks_that_pytorch_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skips, pooling, transposed convolution and interpolation, exported as people export it, for any size."""
    torch, tqdm = pytest.importorskip("torch"), pytest.importorskip("tqdm")
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # it would start a thread that never ends
    nn, f = torch.nn, torch.nn.functional

    class UNet(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = (nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 6), (6, 8), (8, 8)))
            self.up, self.middle = nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv2d(16, 8, 3, padding=1)
            self.norm, self.last = nn.BatchNorm2d(8), nn.Conv2d(14, 3, 1)

        def forward(self, x: Any) -> Any:
            fine = f.relu(self.first(x))
            half = f.relu(self.second(f.max_pool2d(fine, 2)))
            coarse = f.relu(self.third(f.max_pool2d(half, 2)))
            joined = f.relu(self.norm(self.middle(torch.cat([self.up(coarse), half], 1))))
            back = f.interpolate(joined, size=fine.shape[2:], mode="bilinear", align_corners=False)
            return self.last(torch.cat([back, fine], 1)).softmax(1)

    torch.manual_seed(3)
    network = UNet().eval()
    dim = torch.export.Dim
    sizes = {"x": {0: dim("n"), 2: 4 * dim("h"), 3: 4 * dim("w")}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.rand(2, 3, 32, 40),), str(tmp_path / "unet.onnx"), input_names=["x"], dynamo=True,
            external_data=False, dynamic_shapes=sizes, verbose=False,
        )  # fmt: skip
    facts = inspect(tmp_path / "unet.onnx")
    assert (facts.labels, facts.tail, facts.shape) == (3, "Softmax", (3, None, None))
    answers = answered(facts, task="exclusive", output="probabilities", rows=48, columns=32)
    (tmp_path / "models" / "unet").mkdir(parents=True)
    card = import_onnx(tmp_path / "unet.onnx", facts, answers, tmp_path / "models" / "unet")
    x = np.random.default_rng(1).uniform(0, 1, (3, 1, 48, 32)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(np.repeat(x, 3, axis=1))).numpy()
    with Engine(Catalogue([tmp_path / "models"]), providers=("cpu",), threads=2) as engine:
        found = engine.run(card.id, {"x": x}, outputs=["masks"])["masks"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_labels_that_begin_alike_have_codes_of_their_own() -> None:
    names = ["left_ventricle_endocardium", "left_ventricle_epicardium", "left_ventricle", "left_ventricles_"]
    codes = [_label(name, 0.5)["code"]["value"] for name in names]
    assert len(set(codes)) == 4
    assert max(map(len, codes)) <= 16
    assert codes[2:] == names[2:], "what fits stays as it is"
    assert codes == [_label(name, 0.5)["code"]["value"] for name in names]

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from medviewer.domain.errors import CardError, DigestError, UnsafeModelError
from medviewer.inference import loading
from medviewer.inference.card import CardFile
from medviewer.inference.loading import check_file, check_graph, read_arrays, read_file
from tests import fakes

Opened = Callable[[Path, CardFile], Any]


def entry(path: Path, role: Any = "model", **changes: Any) -> CardFile:
    data = path.read_bytes()
    facts = {"role": role, "path": path.name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return CardFile(**{**facts, **changes})


def test_the_bytes_are_those_of_the_card(model_folder: Path) -> None:
    path = model_folder / "model.onnx"
    assert read_file(model_folder, entry(path)) == path.read_bytes()


@pytest.fixture(params=[read_file, check_file])
def opened(request: pytest.FixtureRequest) -> Opened:
    """What opens a file of a model folder: to use it, or to list it."""
    chosen: Opened = request.param
    return chosen


@pytest.mark.parametrize("size", [0, 1, loading._BLOCK_BYTES - 1, loading._BLOCK_BYTES, 2 * loading._BLOCK_BYTES + 7])
def test_a_file_of_any_length_is_checked_to_its_last_byte(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(os.urandom(size))
    described = entry(path)
    check_file(tmp_path, described)
    if size:
        with path.open("r+b") as stream:
            stream.seek(size - 1)
            last = stream.read(1)
            stream.seek(size - 1)
            stream.write(bytes([last[0] ^ 1]))
        with pytest.raises(DigestError):
            check_file(tmp_path, described)


def test_a_file_that_grows_while_it_is_hashed_is_refused_and_not_read_for_ever(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x" * 10)
    described, fstat = entry(path), os.fstat

    def grown_after(descriptor: int) -> os.stat_result:
        seen = fstat(descriptor)
        path.write_bytes(b"x" * 5 * loading._BLOCK_BYTES)
        return seen

    monkeypatch.setattr(loading.os, "fstat", grown_after)
    hashed = []
    real = hashlib.sha256

    class Counting:
        def __init__(self, data: bytes = b"") -> None:
            self.one = real()
            self.update(data)

        def update(self, data: bytes) -> None:
            hashed.append(len(data))
            self.one.update(data)

        def hexdigest(self) -> str:
            return self.one.hexdigest()

    monkeypatch.setattr(loading.hashlib, "sha256", Counting)
    with pytest.raises(DigestError):
        opened(tmp_path, described)
    assert sum(hashed) <= 11


def test_a_folder_named_like_a_model_is_refused_and_closed(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        with pytest.raises(UnsafeModelError, match="plain file"):
            opened(tmp_path, CardFile("model", "model.onnx", "0" * 64, 10))
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before


def test_a_wrong_digest_is_refused(opened: Opened, model_folder: Path) -> None:
    with pytest.raises(DigestError, match="install the model again"):
        opened(model_folder, entry(model_folder / "model.onnx", sha256="0" * 64))


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_file_of_another_size_is_refused(opened: Opened, model_folder: Path, difference: int) -> None:
    path = model_folder / "model.onnx"
    with pytest.raises(DigestError):
        opened(model_folder, entry(path, size=path.stat().st_size + difference))


def test_a_symbolic_link_is_refused(opened: Opened, model_folder: Path, tmp_path: Path) -> None:
    path = model_folder / "model.onnx"
    elsewhere = tmp_path / "elsewhere.onnx"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(UnsafeModelError, match="link"):
        opened(model_folder, entry(path))


def test_a_hard_link_gives_only_the_hashed_bytes(opened: Opened, model_folder: Path, tmp_path: Path) -> None:
    path, secret = model_folder / "model.onnx", tmp_path / "secret"
    described = entry(path)
    secret.write_bytes(b"x" * described.size)
    path.unlink()
    os.link(secret, path)
    with pytest.raises(DigestError):
        opened(model_folder, described)


def test_a_pipe_is_refused_without_waiting_for_a_writer(opened: Opened, model_folder: Path) -> None:
    os.mkfifo(model_folder / "pipe.onnx")
    with pytest.raises(UnsafeModelError, match="plain file"):
        opened(model_folder, CardFile("model", "pipe.onnx", "0" * 64, 10))


@pytest.mark.parametrize("name", ["model.pt", "model.pt2", "model.pkl", "model.bin", "model"])
def test_formats_that_can_run_code_are_refused(opened: Opened, model_folder: Path, name: str) -> None:
    (model_folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(UnsafeModelError, match="never read"):
        opened(model_folder, entry(model_folder / name))


def test_a_path_out_of_the_folder_is_refused(opened: Opened, model_folder: Path) -> None:
    with pytest.raises(UnsafeModelError, match="own folder"):
        opened(model_folder, CardFile("model", "../x.onnx", "0" * 64, 10))


def test_an_absurd_size_is_refused_before_reading(opened: Opened, model_folder: Path) -> None:
    with pytest.raises(UnsafeModelError, match="more than a model may have"):
        opened(model_folder, CardFile("model", "model.onnx", "0" * 64, 1 << 40))


def test_a_missing_file_is_named(opened: Opened, model_folder: Path) -> None:
    with pytest.raises(CardError, match=r"gone\.onnx"):
        opened(model_folder, CardFile("model", "gone.onnx", "0" * 64, 10))


def test_a_good_graph_passes_and_gives_its_opset() -> None:
    assert check_graph(fakes.model_graph().SerializeToString(), name="m") == fakes.OPSET
    assert check_graph(fakes.explain_graph().SerializeToString(), name="m") == fakes.OPSET


def foreign_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.microsoft"


def own_function(model: onnx.ModelProto) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("own", "f", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))


def external_data(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_reference_alone(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def external_constant(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "c")
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def loop(model: onnx.ModelProto) -> None:
    model.CopyFrom(fakes.slow_graph(turns=1))


def external_inside_loop(model: onnx.ModelProto) -> None:
    model.CopyFrom(fakes.slow_graph(turns=1))
    body = next(a.g for node in model.graph.node if node.op_type == "Loop" for a in node.attribute)
    body.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "inner"))
    body.initializer[0].data_location = TensorProto.EXTERNAL


def sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


def huge_claim(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    del tensor.dims[:]
    tensor.dims.extend([1 << 20, 1 << 20])


def negative_size(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -4


def blown_up(model: onnx.ModelProto) -> None:
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "big")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["big"], ["filled"]))


def blown_up_by_a_constant(model: onnx.ModelProto) -> None:
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "big")
    model.graph.node.append(helper.make_node("Constant", [], ["big"], value=shape))
    model.graph.node.append(helper.make_node("Expand", ["zero", "big"], ["filled"]))


def empty(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


def no_opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]


def opset_zero(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 0


def training(model: onnx.ModelProto) -> None:
    model.training_info.add()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (foreign_domain, "outside the ONNX standard"),
        (foreign_operator, "foreign domain com.microsoft"),
        (own_function, "functions of its own"),
        (external_data, "outside the file"),
        (external_reference_alone, "outside the file"),
        (external_constant, "outside the file"),
        (loop, "Loop, which its card does not declare"),
        (sparse, "sparse"),
        (huge_claim, "claim"),
        (negative_size, "negative"),
        (blown_up, "ConstantOfShape would make"),
        (blown_up_by_a_constant, "Expand would make"),
        (empty, "empty"),
        (no_opset, "no ONNX opset"),
        (opset_zero, "no ONNX opset"),
        (training, "training information"),
    ],
)
def test_a_dangerous_graph_is_refused(change: Callable[[onnx.ModelProto], None], says: str) -> None:
    model = fakes.model_graph()
    change(model)
    with pytest.raises(UnsafeModelError, match=says):
        check_graph(model.SerializeToString(), name="m")


def test_declared_control_flow_passes_but_not_what_is_hidden_in_it() -> None:
    model = fakes.slow_graph(turns=1)
    check_graph(model.SerializeToString(), name="m", control_flow=("Loop",))
    external_inside_loop(model)
    with pytest.raises(UnsafeModelError, match="outside the file"):
        check_graph(model.SerializeToString(), name="m", control_flow=("Loop",))


def test_deep_nesting_is_refused() -> None:
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [])
    for _ in range(10):
        inner = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=inner)], "g", [], [])
    model = helper.make_model(inner, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(UnsafeModelError, match="8 deep"):
        check_graph(model.SerializeToString(), name="m", control_flow=("If",))


def test_too_many_operators_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "NODE_LIMIT", 3)
    with pytest.raises(UnsafeModelError, match="more than 3 operators"):
        check_graph(fakes.model_graph().SerializeToString(), name="m")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_graph_is_refused(share: float) -> None:
    data = fakes.model_graph().SerializeToString()
    with pytest.raises(UnsafeModelError):
        check_graph(data[: int(len(data) * share)], name="m")


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_byte_passes_or_is_refused(position: int, value: int) -> None:
    data = bytearray(fakes.model_graph().SerializeToString())
    data[position % len(data)] = value
    with contextlib.suppress(UnsafeModelError):  # anything else, or an end of the process, fails
        assert check_graph(bytes(data), name="m") > 0


def write_npz(folder: Path, **arrays: Any) -> CardFile:
    np.savez(folder / "ood.npz", **arrays)
    return entry(folder / "ood.npz", "ood")


def test_arrays_come_back_as_written(tmp_path: Path) -> None:
    means = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = read_arrays(tmp_path, write_npz(tmp_path, means=means))
    np.testing.assert_array_equal(found["means"], means)


def test_objects_in_an_npz_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeModelError, match="not a plain npz"):
        read_arrays(tmp_path, write_npz(tmp_path, means=np.array([{"a": 1}], dtype=object)))


def test_an_npz_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "ARRAYS_LIMIT_BYTES", 1000)
    np.savez_compressed(tmp_path / "ood.npz", means=np.zeros(100_000, np.float32))
    with pytest.raises(UnsafeModelError, match="unpack"):
        read_arrays(tmp_path, entry(tmp_path / "ood.npz", "ood"))


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + b"\0" * 18, b"not a zip"])
def test_what_is_no_npz_is_refused_or_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ood.npz").write_bytes(content)
    if content.startswith(b"PK"):
        assert read_arrays(tmp_path, entry(tmp_path / "ood.npz", "ood")) == {}
    else:
        with pytest.raises(UnsafeModelError):
            read_arrays(tmp_path, entry(tmp_path / "ood.npz", "ood"))


def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(tmp_path / "ood.npz", "w") as archive:
        archive.writestr("means.npy", header.getvalue())
    with pytest.raises(UnsafeModelError):
        read_arrays(tmp_path, entry(tmp_path / "ood.npz", "ood"))

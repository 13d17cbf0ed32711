"""Model folders and archives that want more than to be a model, each with the reason for which it must be refused.

Run as a program it tries to install them all and prints what was said of each, so that
another program (strace) can watch what is opened meanwhile.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests import fakes

LOOP_BUDGET_S = 20.0  # long enough to load a library on a busy machine while it is watched


class _Opens:
    """An object that opens a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path),)


def _with(folder: Path, role: str, content: bytes, **entry: Any) -> None:
    """Put ``content`` in the place of a file; the card is true to it."""
    card = json.loads((folder / "model.json").read_bytes())
    index = next(i for i, file in enumerate(card["files"]) if file["role"] == role)
    path = folder / card["files"][index]["path"]
    path.write_bytes(content)
    card["files"][index] = fakes.file_entry(role, path) | entry
    fakes.write_card(folder, card)


def _graph(folder: Path, change: Callable[[onnx.ModelProto], object], **entry: Any) -> None:
    model = fakes.model_graph()
    change(model)
    _with(folder, "model", model.SerializeToString(), **entry)


def _external(folder: Path, location: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        weights = next(tensor for tensor in model.graph.initializer if tensor.name == "kernels")
        size = len(weights.raw_data)
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(size))):
            weights.external_data.add(key=key, value=value)

    _graph(folder, change)


def _linked(folder: Path, outside: Path, link: Callable[[Path, Path], None]) -> None:
    link(outside / "weights.bin", folder / "weights.bin")
    _external(folder, "weights.bin")


def _foreign(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Evil", ["x"], ["y"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _claiming(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=[1 << 10, 1 << 20]))


def _blown_up(model: onnx.ModelProto) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 15, 1 << 15])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["ones"]))


def _nested(model: onnx.ModelProto) -> None:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "inner", [], [value])
    for depth in range(10):
        branches = {"then_branch": inner, "else_branch": inner}
        node = helper.make_node("If", ["yes"], [f"y{depth}"], **branches)
        out = helper.make_tensor_value_info(f"y{depth}", TensorProto.FLOAT, None)
        inner = helper.make_graph([node], f"g{depth}", [], [out])
    model.graph.node.append(helper.make_node("If", ["yes"], ["never"], then_branch=inner, else_branch=inner))


def _card(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    card = json.loads((folder / "model.json").read_bytes())
    change(card)
    fakes.write_card(folder, card)


def _renamed(folder: Path, name: str) -> None:
    """Name another file on the card, in the place of the network."""
    content = pickle.dumps(_Opens(folder.parent.parent / "outside" / "secret.txt"))
    if "/" not in name:
        (folder / name).write_bytes(content)
    digest = fakes.file_entry("model", folder / "model.onnx")
    _card(folder, lambda card: card["files"][0].update(digest | {"path": name}))


def _npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _overwritten(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def _linked_network(folder: Path, outside: Path) -> None:
    (outside / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(outside / "model.onnx")


Break = Callable[[Path, Path], object]
FOLDERS: dict[str, tuple[Break, str]] = {
    "external data by a path upwards": (
        lambda f, _o: _external(f, "../../outside/weights.bin"),
        "“kernels” lie outside the file",
    ),
    "external data by an absolute path": (
        lambda f, o: _external(f, str(o / "weights.bin")),
        "“kernels” lie outside the file",
    ),
    "external data behind a symbolic link": (
        lambda f, o: _linked(f, o, lambda a, b: b.symlink_to(a)),
        "“kernels” lie outside the file",
    ),
    "external data behind a hard link": (lambda f, o: _linked(f, o, os.link), "“kernels” lie outside the file"),
    "a network that is a symbolic link": (_linked_network, "“model.onnx” is refused: it is a link"),
    "an operator of another domain": (lambda f, _o: _graph(f, _foreign), "outside the ONNX standard (com.example)"),
    "a Loop that the card does not declare": (
        lambda f, _o: _with(f, "model", fakes.slow_graph(10**9).SerializeToString()),
        "contains Loop, which its card does not declare",
    ),
    "a Loop that never ends": (
        lambda f, _o: _with(f, "model", fakes.slow_graph(10**9).SerializeToString(), control_flow=["Loop"]),
        "does not answer within",
    ),
    "weights that claim 4 GB": (lambda f, _o: _graph(f, _claiming), "“huge” claim 1073741824 numbers"),
    "a constant that grows to 4 GB": (
        lambda f, _o: _graph(f, _blown_up),
        "ConstantOfShape would make a tensor of 1073741824 numbers",
    ),
    "a pickle by its name": (lambda f, _o: _renamed(f, "model.pkl"), "formats that can run code when opened"),
    "a pickle in the place of a network": (
        lambda f, o: _with(f, "model", pickle.dumps(_Opens(o / "secret.txt"))),
        "“model.onnx” is refused: it is not a complete ONNX file",
    ),
    "a pickle inside the reference": (
        lambda f, o: _with(f, "reference", _npz(**{"input.x": np.array([_Opens(o / "secret.txt")], object)})),
        "“reference.npz” is refused: it is not a plain npz file",
    ),
    "an array that grows to 800 MB": (
        lambda f, _o: _with(f, "reference", _npz(**{"input.x": np.zeros((100, 1, 1 << 20), np.float64)})),
        "would unpack to 800 MB",
    ),
    "a network that was cut off": (
        lambda f, _o: _with(f, "model", (f / "model.onnx").read_bytes()[:-100]),
        "not a complete ONNX file",
    ),
    "more labels than the network has": (
        lambda f, _o: _card(
            f,
            lambda card: card.update(
                labels=[fakes.label_document("a"), fakes.label_document("b")],
                outputs=[{"name": "logits", "shape": [None, 2]}, {"name": "features", "shape": [None, 4]}],
            ),
        ),
        "its card names 2 labels",
    ),
    "weights that are not numbers": (
        lambda f, _o: _with(
            f, "model", fakes.model_graph(head=np.full((1, 4), np.nan, np.float32)).SerializeToString()
        ),
        "gives values that are not numbers (NaN)",
    ),
    "a field of the card given twice": (
        lambda f, _o: _overwritten(f / "model.json", b'"id":', b'"id": "other", "id":'),
        "a field is given twice",
    ),
    "a card that nests 100,000 deep": (
        lambda f, _o: (f / "model.json").write_bytes(b"[" * 100_000),
        "is not valid JSON",
    ),
    "a path out of the folder on the card": (
        lambda f, _o: _renamed(f, "../../outside/secret.onnx"),
        "not valid at files/0/path",
    ),
    "a file that is not the card's": (
        lambda f, _o: _overwritten(f / "ood.npz", b"means", b"meany"),
        "is not the file that its card describes",
    ),
    "control flow nested ten deep": (
        lambda f, _o: _graph(f, _nested, control_flow=["If"]),
        "nested more than 8 deep",
    ),
    "a signature that is not of this card": (
        lambda f, _o: (f / "model.json.sig").write_text(
            json.dumps(
                {
                    "schema": "medviewer.signature/1",
                    "algorithm": "ed25519",
                    "public_key": "A" * 43 + "=",
                    "signature": "A" * 86 + "==",
                }
            )
        ),
        "changed after it was signed",
    ),
}


def _zip_info(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _link_member(file: zipfile.ZipFile, outside: Path) -> None:
    file.writestr(_zip_info("README.md", stat.S_IFLNK | 0o777), str(outside / "secret.txt"))


def _twice(file: zipfile.ZipFile, _outside: Path) -> None:
    file.writestr("README.md", "one")
    file.writestr("./README.md", "two")


Add = Callable[[zipfile.ZipFile, Path], object]
ARCHIVES: dict[str, tuple[Add, str]] = {
    "a member that leads upwards": (
        lambda z, _o: z.writestr(_zip_info("../../outside/planted.txt"), "x"),
        "leads out of the archive",
    ),
    "a member with an absolute name": (
        lambda z, o: z.writestr(_zip_info(f"{o}/planted.txt"), "x"),
        "A name in the ZIP archive leads out of it",
    ),
    "a member that is a link": (_link_member, "A link inside the ZIP archive"),
    "an archive that grows a thousandfold": (
        lambda z, _o: z.writestr(_zip_info("LICENSE"), bytes(300 << 20)),
        "would grow to more than 200 times its size",
    ),
    "ten thousand members": (
        lambda z, _o: [z.writestr(f"m{i}", "") for i in range(10_000)],
        "holds more than a model may",
    ),
    "two models in one archive": (lambda z, _o: z.writestr("b/model.json", "{}"), "holds more than one model"),
    "one name twice": (_twice, "holds “README.md” twice"),
}


def make_all(root: Path) -> dict[str, tuple[Path, str]]:
    """Make every folder and archive below ``root``; what none of them may reach lies in ``root / "outside"``."""
    outside = root / "outside"
    outside.mkdir()
    for name in ("weights.bin", "secret.txt", "secret.onnx"):
        (outside / name).write_bytes(fakes.KERNELS.tobytes())
    made: dict[str, tuple[Path, str]] = {}
    for index, (name, (break_it, reason)) in enumerate(FOLDERS.items()):
        folder = fakes.make_model(root / "models" / f"m{index}")
        break_it(folder, outside)
        made[name] = (folder, reason)
    good = fakes.make_model(root / "good")
    for index, (name, (add, reason)) in enumerate(ARCHIVES.items()):
        path = root / f"a{index}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for part in good.iterdir():
                file.write(part, part.name)
            add(file, outside)
        made[name] = (path, reason)
    return made


def main() -> None:
    """Try to install what the JSON file of the first argument names, into the home of the second."""
    from medviewer.domain.errors import MedViewerError
    from medviewer.inference.installing import ModelStore

    store = ModelStore(Path(sys.argv[2]))
    said = {}
    for name, path in json.loads(Path(sys.argv[1]).read_bytes()).items():
        try:
            with store.examined(Path(path), time_budget_s=LOOP_BUDGET_S) as candidate:
                store.commit(candidate)
                said[name] = ""
        except MedViewerError as error:
            said[name] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()

"""From a trained network to the files of a model folder, checked against the network.

A file that does not give what the network gives is never written where a reader
could pick it up: the folder is made beside its place and renamed when it is whole.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from medviewer.domain.errors import ModelError, StorageError, UsageError
from medviewer.inference.preprocessing import prepare
from medviewer.training.gradient_graph import (
    OPSET,
    export_gradient_graph,
    fold_batch_norm,
    quiet_exporter,
    remove_traces,
)
from medviewer.training.networks import PooledClassifier, Served
from medviewer.training.place import PART, beside
from medviewer.training.validation import Forward

Arrays = Mapping[str, npt.NDArray[np.float32]]

PARITY_BATCHES = (1, 3, 8)
PARITY_TOLERANCE = 1e-4
# Gradients jump where a unit switches on, so rounding alone moves single pixels, and now and
# then a whole map: PyTorch's own float32 gradients of this network lie 1e-6 (median) and up to
# 9e-5 from its float64 ones, as 1 - correlation. The median shows a wrong graph, the worst a
# wrong branch of it.
GRADIENT_MEDIAN, GRADIENT_WORST = 1e-5, 1e-3
GRADIENT_SAMPLES = 12


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a temporary sibling of ``out`` that becomes ``out`` when the block ends well.

    What is left of it when the process is killed goes with the next one that has the place
    (:func:`medviewer.training.place.own_place`).

    Raises:
        UsageError: ``out`` is already there.
        StorageError: the disk is full or cannot be written. Nothing is left behind.
    """
    if out.exists():
        raise UsageError(f"{out} is already there; choose another folder or remove it first.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=beside(out, "").name, suffix=PART, dir=out.parent))
    except OSError as error:
        raise StorageError(f"The folder {out} cannot be made ({error.strerror}).") from error
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(out)
    except OSError as error:
        raise StorageError(f"The model cannot be written to {out} ({error.strerror}); free some space.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_graphs(network: PooledClassifier, folder: Path, size: int, progress: Callable[[str], None]) -> None:
    """Write ``model.onnx`` and ``model.explain.onnx`` and hold both against the network.

    Args:
        network: as it will be served.
        folder: receives the two files.
        size: rows and columns of the input.
        progress: called with a line at a time.

    Raises:
        ModelError: a file gives something else than the network.
    """
    network = copy.deepcopy(network).eval()
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # missing in torch's stubs
    plain, explain = folder / "model.onnx", folder / "model.explain.onnx"
    progress("exporting the forward graph")
    with quiet_exporter():
        _write_forward(network, plain, size)
    progress(f"largest difference from the network: {check_forward(network, plain, size):.1e}")
    progress("exporting the gradient graph (about a minute)")
    with quiet_exporter():
        export_gradient_graph(network, explain, input_shape=(1, size, size), n_classes=network.linear.out_features)
    progress(f"1 - correlation of its gradients with the network's: {check_gradients(network, explain, size):.1e}")


def _write_forward(network: PooledClassifier, path: Path, size: int) -> None:
    """Export the forward pass: any batch, one file, no trace of this machine."""
    folded = copy.deepcopy(network)
    fold_batch_norm(folded)
    served = Served(folded).eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            served,
            (torch.randn(2, 1, size, size),),
            raw,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            dynamic_shapes=({0: batch},),
            external_data=False,
            input_names=["x"],
            output_names=list(served.outputs),
        )
        model = onnx.load(raw)
    remove_traces(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def check_forward(network: PooledClassifier, path: Path, size: int) -> float:
    """Return the largest difference between the file and the network, over batches of 1, 3 and 8.

    Raises:
        ModelError: it is above :data:`PARITY_TOLERANCE`.
    """
    session = _session(path)
    served = Served(copy.deepcopy(network)).eval()
    largest = 0.0
    for n in PARITY_BATCHES:
        x = synthetic_inputs(n, size)
        with torch.inference_mode():
            expected = [value.numpy() for value in served(torch.from_numpy(x))]
        for name, mine, theirs in zip(
            served.outputs, session.run(list(served.outputs), {"x": x}), expected, strict=True
        ):
            difference = float(np.abs(mine - theirs).max())
            if mine.shape != theirs.shape or not difference <= PARITY_TOLERANCE:
                raise ModelError(f"The exported {path.name} differs from the network: {name} by {difference:.1e}.")
            largest = max(largest, difference)
    return largest


def check_gradients(network: PooledClassifier, path: Path, size: int) -> float:
    """Return the median, over made-up inputs, of 1 - correlation of the file's input gradients with the exact ones.

    Raises:
        ModelError: they disagree by more than :data:`GRADIENT_MEDIAN` or, on one input,
            :data:`GRADIENT_WORST`; or the logits by more than :data:`PARITY_TOLERANCE`.
    """
    x = synthetic_inputs(GRADIENT_SAMPLES, size)
    selector = np.zeros((len(x), network.linear.out_features), dtype=np.float32)
    selector[:, 0] = 1
    logits, _, _, mine = _session(path).run(None, {"x": x, "selector": selector})
    exact = copy.deepcopy(network).double()
    given = torch.from_numpy(x).double().requires_grad_()
    expected = exact(given)
    (theirs,) = torch.autograd.grad(expected[:, 0].sum(), given)
    difference = float(np.abs(logits - expected.detach().numpy()).max())
    pairs = zip(mine, theirs.numpy(), strict=True)
    apart = np.array([1 - float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in pairs])
    median, worst = float(np.median(apart)), float(apart.max())
    if not (difference <= PARITY_TOLERANCE and median <= GRADIENT_MEDIAN and worst <= GRADIENT_WORST):
        raise ModelError(f"The exported {path.name} differs from the network: gradients by {median:.1e} ({worst:.1e}).")
    return median


def open_forward(path: Path, second: str = "features") -> Forward:
    """Return how a written ``model.onnx`` answers: logits, and a second output."""
    session = _session(path)

    def run(batch: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        logits, values = session.run(["logits", second], {"x": batch})
        return logits, values

    return run


def _session(path: Path) -> Any:
    import onnxruntime  # noqa: PLC0415 - slow to load, and only the checks need it

    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


def synthetic_inputs(n: int, size: int, steps: Sequence[Mapping[str, Any]] = ()) -> npt.NDArray[np.float32]:
    """Return ``(n, 1, size, size)`` smooth made-up images: the same ones on every machine.

    Two dark ovals on a bright ground with noise of several scales: enough like a chest
    to reach every layer, and nobody's.
    """
    chance = np.random.default_rng(20180222)
    row, column = np.mgrid[0:size, 0:size] / size
    images = []
    for _ in range(n):
        image = 0.7 + 0.1 * row
        for centre in (0.3, 0.7):
            width, height = chance.uniform(0.1, 0.18), chance.uniform(0.2, 0.35)
            oval = ((column - centre) / width) ** 2 + ((row - 0.5) / height) ** 2
            image = image - 0.4 / (1 + oval**4)
        for grain in (4, 16, 56):
            coarse = chance.normal(0, 0.06, (grain, grain))
            index = np.arange(size) * grain // size
            image = image + coarse[np.ix_(index, index)]
        images.append(prepare(image.astype(np.float32), steps).tensor if steps else image[None].astype(np.float32))
    return np.stack(images)


def write_reference(network: PooledClassifier, path: Path, size: int, steps: Sequence[Mapping[str, Any]]) -> None:
    """Write inputs with known answers: what the network itself gives, in float32.

    Keys ``input.x`` and ``output.<name>``, each with the batch first.
    """
    x = synthetic_inputs(4, size, steps)
    served = Served(copy.deepcopy(network)).eval()
    with torch.inference_mode():
        answers = served(torch.from_numpy(x))
    named = {f"output.{name}": value.numpy() for name, value in zip(served.outputs, answers, strict=True)}
    np.savez_compressed(path, **{"input.x": x}, **named)  # type: ignore[arg-type]


def file_entry(role: str, path: Path) -> dict[str, Any]:
    """Return a file's entry on the card: role, name, sha256, size, opset."""
    content = path.read_bytes()
    entry: dict[str, Any] = {
        "role": role,
        "path": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
    }
    if path.suffix == ".onnx":
        entry["opset"] = OPSET
    return entry

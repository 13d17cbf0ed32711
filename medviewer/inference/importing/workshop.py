"""The process in which foreign networks are parsed, rebuilt and tried: bounded, harmless, ended with us.

Parsing a file that somebody made may take any time and memory, and the libraries that do
it were not written against malice. What comes back is JSON and files in a folder of our
own; the one who asked never loads an ONNX library.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from medviewer.domain import errors
from medviewer.domain.errors import EngineError, InputError, MedViewerError, ModelError, Stopped
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.imaging.worker_process import become_harmless, follow_parent, limit_address_space
from medviewer.inference.importing.card_draft import value_range
from medviewer.inference.importing.questions import Answers, GraphFacts
from medviewer.inference.loading import MODEL_LIMIT_BYTES
from medviewer.inference.preprocessing import prepare

Work = Callable[[dict[str, Any], Progress], dict[str, Any]]

WEIGHTS = (".safetensors", ".pt", ".pth")
"""What files of weights alone are called; only those of a network that is known can be imported."""

TIME_LIMIT_S = 600.0
MEMORY_LIMIT_BYTES = 12 << 30  # of addresses; a third of it is libraries
_LOOK_S = 0.2
_MESSAGE_LIMIT_BYTES = 1 << 20
_IMAGES = 4
_MASKS = 2  # images whose masks are kept: each is as large as the image, once a channel
_PARITY = 1e-3


def inspect(path: Path, *, stop: StopToken | None = None) -> GraphFacts:
    """What an ONNX file says of itself.

    Raises:
        InputError: it cannot be read.
        ModelError: it is refused, or no network that can be imported.
        EngineError: it could not be parsed within time and memory.
        Stopped: the user cancelled.
    """
    found = _ask(_inspect, {"path": str(path)}, stop, no_progress)
    return GraphFacts(**{**found, "shape": tuple(found["shape"]), "names": tuple(found["names"])})


def build(
    path: Path,
    facts: GraphFacts,
    answers: Answers,
    folder: Path,
    *,
    stop: StopToken | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Write ``model.onnx``, ``reference.npz`` and, where it has gradients, ``model.explain.onnx``.

    Args:
        path: the file that :func:`inspect` gave ``facts`` of.
        facts: what it said; the file must not have changed since.
        answers: what it did not say.
        folder: receives the files.
        stop: to cancel.
        progress: told of each step.

    Returns:
        What the card needs to know: ``control_flow`` by role, ``feature_map``, ``grid``, ``is_rectified``,
        ``gradient_errors``, ``why_no_gradients``, ``libraries``; of masks, which have no gradients, the first and the
        last only.

    Raises:
        As :func:`inspect`; ModelError also if the rebuilt network does not give what the file gives.
    """
    request = {
        "path": str(path),
        "facts": {name: getattr(facts, name) for name in facts.__dataclass_fields__},
        "answers": {name: getattr(answers, name) for name in answers.__dataclass_fields__},
        "folder": str(folder),
    }
    return _ask(_build, request, stop, progress)


def read_network(path: Path) -> bytes:
    """The bytes of a file that the user chose; a plain one, and not larger than a network may be.

    Raises:
        InputError: it is not, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > MODEL_LIMIT_BYTES:
                raise InputError(f"“{path.name}” is no plain file of at most {MODEL_LIMIT_BYTES >> 30} GB.")
            return stream.read(MODEL_LIMIT_BYTES + 1)
    except OSError as error:
        raise InputError(f"“{path.name}” cannot be read: {error.strerror}.") from error


def _ask(
    work: Work,
    request: dict[str, Any],
    stop: StopToken | None,
    progress: Progress,
) -> dict[str, Any]:
    """Run ``work`` in a process of its own and give its answer."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_main, args=(theirs, work, request), name="medviewer-import", daemon=True)
    try:
        process.start()
    except OSError as error:
        ours.close()
        raise EngineError("The process that imports models could not be started; close other programs.") from error
    finally:
        theirs.close()
    withdraw = stop.on_stop(process.kill) if stop is not None else None
    try:
        return _listen(ours, process.sentinel, stop, progress)
    finally:
        if withdraw is not None:
            withdraw()
        process.kill()
        process.join()
        process.close()
        ours.close()


def _listen(pipe: Connection, sentinel: int, stop: StopToken | None, progress: Progress) -> dict[str, Any]:
    waited = 0.0
    while waited < TIME_LIMIT_S:
        ready = wait([pipe, sentinel], timeout=_LOOK_S)
        waited += 0 if ready else _LOOK_S
        if stop is not None and stop.is_stopped:
            raise Stopped
        if pipe.poll():
            try:
                kind, *rest = json.loads(pipe.recv_bytes(_MESSAGE_LIMIT_BYTES))
            except (EOFError, OSError, ValueError) as error:
                raise _ended() from error
            if kind == "progress":
                progress(*rest)
            elif kind == "error":
                raise _error(*rest)
            else:
                answer: dict[str, Any] = rest[0]
                return answer
        elif sentinel in ready:
            raise _ended()
    raise EngineError(f"The model could not be read within {TIME_LIMIT_S:.0f} s; it was not imported.")


def _ended() -> EngineError:
    return EngineError("The model needs more memory than an import may have, or is damaged; it was not imported.")


def _error(name: str, text: str) -> MedViewerError:
    kind = getattr(errors, name, EngineError)
    error: MedViewerError = kind(text) if issubclass(kind, MedViewerError) else EngineError(text)
    return error


def _main(
    pipe: Connection, work: Callable[[dict[str, Any], Progress], dict[str, Any]], request: dict[str, Any]
) -> None:
    """The life of the process."""
    become_harmless()
    follow_parent()
    limit_address_space(MEMORY_LIMIT_BYTES)

    def tell(*message: Any) -> None:
        pipe.send_bytes(json.dumps(message).encode())

    try:
        tell("done", work(request, lambda done, total, text: tell("progress", done, total, text)))
    except MedViewerError as error:
        tell("error", type(error).__name__, str(error))
    except MemoryError:
        tell("error", "EngineError", str(_ended()))
    except Exception as error:  # noqa: BLE001 - the edge of the process: nothing may be lost silently
        text = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        tell("error", "ModelError", f"The model cannot be imported: {text}")


def _inspect(request: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    from medviewer.inference.importing.graphs import facts_of, parse  # noqa: PLC0415 - only this process loads onnx

    path = Path(request["path"])
    data = read_network(path)
    facts = facts_of(parse(data, path.name), data, path.name)
    return {name: getattr(facts, name) for name in facts.__dataclass_fields__}


def _build(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    from medviewer.inference.importing import graphs  # noqa: PLC0415
    from medviewer.inference.importing.gradients import NoGradientsError, differentiate  # noqa: PLC0415

    path, folder = Path(request["path"]), Path(request["folder"])
    given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in request["answers"].items()}
    answers = Answers(**given)
    data = read_network(path)
    progress(0, 4, "Reading the model")
    model = graphs.parse(data, path.name)
    facts = graphs.facts_of(model, data, path.name)
    if facts.sha256 != request["facts"]["sha256"]:
        raise InputError(f"“{path.name}” changed while it was imported; try again.")
    images = _made_up_images(answers)[: _MASKS if facts.is_masks else _IMAGES]
    session = _session(data)
    expected = graphs.own_answers(session, facts, answers, images)
    if not np.isfinite(expected).all():
        raise ModelError(f"“{path.name}” gives values that are not numbers (NaN); its weights are damaged.")
    if facts.is_masks:
        graphs.check_trial_masks(facts, answers, expected)
    progress(1, 4, "Rebuilding the network")
    one = graphs.single(model, facts, answers, batch=1)
    served, control_flow = _served(graphs, model, facts, answers, images, expected)
    (folder / "model.onnx").write_bytes(served)
    known: dict[str, Any] = {"input.x": images, f"output.{graphs.result_of(facts, answers)[0]}": expected}
    np.savez_compressed(folder / "reference.npz", **known)
    report: dict[str, Any] = {"control_flow": {"model": control_flow}, "libraries": _libraries()}
    if facts.is_masks:  # an outline is its own explanation
        return report
    progress(2, 4, "Writing its gradients")
    try:
        made = differentiate(one, images, facts.labels, _session, is_across=answers.is_across)
    except NoGradientsError as error:
        return report | {"why_no_gradients": str(error)}
    progress(3, 4, "Checking its gradients")
    (folder / "model.explain.onnx").write_bytes(made.model.SerializeToString())
    name, grid = made.feature_map or ("", (1, 1))
    report["control_flow"]["explain"] = ["Scan"]
    report["gradients_by"] = f"onnx-ad {report['libraries']['onnx-ad']}"
    of_map = {"feature_map": name, "grid": list(grid), "is_rectified": made.is_rectified}
    return report | of_map | {"gradient_errors": dict(made.errors)}


def _served(
    graphs: Any, model: Any, facts: GraphFacts, answers: Answers, images: Any, expected: Any
) -> tuple[bytes, list[str]]:
    """The network for any number of images: as it is if its batch is open, else one image after the other.

    Raises:
        ModelError: neither gives what the file gives.
    """
    ways: list[tuple[Callable[[], Any], list[str]]] = []
    name, shape = graphs.result_of(facts, answers)
    if facts.batch is None:
        ways.append((lambda: graphs.single(model, facts, answers, batch=None), []))

    def one_by_one() -> Any:
        one = graphs.single(model, facts, answers, batch=1)
        return graphs.batched(one, {"x": images.shape[1:]}, {name: shape})

    ways.append((one_by_one, ["Scan"]))
    reason = ""
    for make, control_flow in ways:
        try:
            data: bytes = make().SerializeToString()
            session = _session(data)
            found = [session.run([name], {"x": x})[0] for x in (images, images[:1])]
            gap = max(float(np.abs(a - expected[: len(a)]).max()) for a in found)
        except Exception as error:  # noqa: BLE001 - whatever the runtime says of it, the next way is tried
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            continue
        if gap <= _PARITY * max(1.0, float(np.abs(expected).max())):
            return data, control_flow
        reason = f"its answers differ from the file's by {gap:.2g}"
    if (facts.batch or 1) > 1:
        raise ModelError(
            f"“{facts.file}” takes {facts.batch} images at once, and what it gives one of them depends on the others "
            f"({reason}); export it for any number of images (an open batch axis), or for 1."
        )
    raise ModelError(f"“{facts.file}” could not be rebuilt for several images at once: {reason}")


def _made_up_images(answers: Answers) -> Any:
    """``(n, 1, rows, columns)`` float32: soft noise of several grains, over the whole range of the values."""
    chance = np.random.default_rng(20261128)
    low, high = value_range(answers)
    size = [{"op": "resize", "rows": answers.rows, "columns": answers.columns}]
    images = []
    for _ in range(_IMAGES):
        # A little of every pixel's own, or windows of equal values would have no largest one, and no gradient.
        image = chance.normal(0, 0.05, (answers.rows, answers.columns))
        for grain in (3, 9, 27):
            coarse = chance.normal(size=(grain, grain)) / np.sqrt(grain)
            image += prepare(coarse.astype(np.float32), size).tensor[0]
        images.append(low + (high - low) * (image - image.min()) / np.ptp(image))
    return np.stack(images)[:, None].astype(np.float32)


def _session(data: bytes) -> Any:
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _libraries() -> dict[str, str]:
    from importlib.metadata import version  # noqa: PLC0415

    return {name: version(name) for name in ("onnx", "onnx-ad", "numpy")}

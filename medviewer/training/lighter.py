"""A lighter copy of a finished network, in eight bits or with fewer channels, kept only where it is worth its drift.

Whether eight bits are faster is a property of the processor: one with dot products of bytes (VNNI, AMX) gains two to
four times. Without them AVX2 multiplies 32 bytes in three instructions and 8 floats in one, so that even the inner loop
alone cannot gain more than a third. Fewer channels (:mod:`medviewer.training.pruning`) are faster on any, and change
more. So both speed and drift are measured here, and what is not worth it is not written.

Source of the eight bits: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2018); weights per channel, activations per
tensor, by their range over calibration images.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import Card, CardFile, read_card
from medviewer.inference.loading import check_graph, read_arrays, read_file
from medviewer.inference.preprocessing import prepare
from medviewer.training.data import LabelledImage, find_images
from medviewer.training.evaluate import classes_of, split_images
from medviewer.training.export import file_entry, whole_folder
from medviewer.training.gradient_graph import remove_traces
from medviewer.training.metrics import roc_auc
from medviewer.training.place import own_place
from medviewer.training.pruning import pruned
from medviewer.training.sanity_card import next_version
from medviewer.training.scoring import Classifier, Progress, score, silent

INT8, PRUNED = "int8", "pruned"
WAYS: Mapping[str, str] = {INT8: "in eight bits", PRUNED: "with half of the channels inside its blocks"}
# Ranges of values need few images; what stands in for a channel that is gone needs more.
N_IMAGES: Mapping[str, int] = {INT8: 128, PRUNED: 512}
N_PAIRS = 30
HELD_OUT = ("tune", "block")
# A copy that is not half as fast again is not worth a second network to validate.
SPEED_WANTED, AUC_LOST, DRIFT_ALLOWED = 1.5, 0.005, 0.05
QUANTISED = ("Conv", "Gemm", "MatMul", "Add", "Clip", "Relu", "GlobalAveragePool")


@dataclass(frozen=True, slots=True)
class Lighter:
    """How a lighter copy compares with the network that it was made of.

    Attributes:
        how: one of :data:`WAYS`.
        speed: time of the full network over the copy's, medians of alternating single images on this machine.
        auc: of the full network on ``n`` held-out images.
        auc_copy: of the copy.
        drift: largest absolute difference of the calibrated probability over them.
        drift_p99: the 99th percentile of it.
        reference_drift: largest absolute difference of the reference file's outputs.
        size: bytes of the copy.
        full_size: bytes of the full network.
        n: number of images.
    """

    how: str
    speed: float
    auc: float
    auc_copy: float
    drift: float
    drift_p99: float
    reference_drift: float
    size: int
    full_size: int
    n: int

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it is not worth keeping, a clause each; empty if it is."""
        found = {
            f"it is {self.speed:.2f} times as fast on this machine, {SPEED_WANTED:g} times is wanted": self.speed
            < SPEED_WANTED,
            f"its AUC is {self.auc - self.auc_copy:.4f} lower, {AUC_LOST:g} is allowed": self.auc - self.auc_copy
            > AUC_LOST,
            f"a probability differs by {self.drift:.3f}, {DRIFT_ALLOWED:g} is allowed": self.drift > DRIFT_ALLOWED,
        }
        return tuple(clause for clause, is_so in found.items() if is_so)


def lighten(
    model: Path, data: Path, out: Path, *, how: str = INT8, force: bool = False, progress: Progress = silent
) -> Lighter:
    """Make a lighter copy of an image classifier, measure it and, if it is worth it, write the model with it.

    Args:
        model: the finished model folder; it is not touched.
        data: the images that it was trained on; the card says which patients are held out.
        out: the model folder to make, with the copy as the variant ``how``; nothing is made if it is not worth it.
        how: one of :data:`WAYS`.
        force: write it even if it is no faster; a drift beyond the bound is never written.
        progress: called with one line of text at a time.

    Raises:
        UsageError: the model is of another kind, has the variant already or nothing to take out, or ``out`` is there.
        InputError: the data cannot be used.
        StorageError: ``out`` cannot be written.
    """
    card = read_card(model)
    _check(card, out, how)
    found = find_images(data, classes_of(card))
    learned = _evenly(split_images(card, found, "train"), N_IMAGES[how])
    held_out = [image for split in HELD_OUT for image in split_images(card, found, split)]
    content = read_file(card.folder, card.require("model"))
    progress(f"the network {WAYS[how]}, by {len(learned)} training images")
    images, name = _prepared(card, learned), card.inputs[0].name
    small = quantised(content, name, images) if how == INT8 else pruned(content, name, images, progress)
    check_graph(small, name=file_name(how))
    progress(f"both networks on {len(held_out)} held-out images")
    with tempfile.TemporaryDirectory(prefix="medviewer-lighter-") as folder:
        copy = Path(folder) / file_name(how)
        lighter = Lighter(how, **_measured(card, content, small, held_out, copy, progress))
    for clause in lighter.problems:
        progress(f"not worth it: {clause}")
    if not lighter.problems or (force and _is_faithful(lighter)):
        _write(card, small, lighter, found.digest, out)
        progress(f"the model with its lighter copy: {out}")
    return lighter


def file_name(how: str) -> str:
    """Return what the copy's file is called in its model folder."""
    return f"model.{how}.onnx"


def quantised(content: bytes, input_name: str, images: Sequence[npt.NDArray[np.float32]]) -> bytes:
    """Return an ONNX network with int8 weights (per channel) and uint8 activations.

    Args:
        content: a float32 network.
        input_name: its input.
        images: ``(channels, rows, columns)`` each, prepared as the card says: their ranges are the activations'.
    """
    import onnx  # noqa: PLC0415 - an extra
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="medviewer-int8-") as folder:
        full, ready, small = (Path(folder) / name for name in ("full.onnx", "ready.onnx", "small.onnx"))
        full.write_bytes(content)
        quant_pre_process(str(full), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(small),
            _Ranges(input_name, iter(images)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(QUANTISED),
        )
        made = onnx.load(str(small))
    remove_traces(made)
    used = {node.domain for node in made.graph.node}
    for entry in [entry for entry in made.opset_import if entry.domain and entry.domain not in used]:
        made.opset_import.remove(entry)
    written: bytes = made.SerializeToString()
    return written


class _Ranges:
    """Gives one image after the other, as the quantiser asks for them."""

    def __init__(self, name: str, images: Iterator[npt.NDArray[np.float32]]) -> None:
        self._name, self._images = name, images

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        image = next(self._images, None)
        return None if image is None else {self._name: image[None]}

    def set_range(self, start_index: int, end_index: int) -> None:
        """Only very large data are read in strides."""
        raise NotImplementedError


def _check(card: Card, out: Path, how: str) -> None:
    is_classifier = card.calibration is not None and len(card.labels) == 1
    if card.runtime != "onnx" or not is_classifier or [spec.kind for spec in card.inputs] != ["image"]:
        raise UsageError(f"Only an image classifier with one label can be made lighter; {card.id} is none.")
    if how not in WAYS:
        raise UsageError(f"A copy can be {' or '.join(WAYS)}, not {how!r}.")
    if any(variant.name == how for variant in card.variants):
        raise UsageError(f"{card.id} has the variant {how} already.")
    if out.exists():
        raise UsageError(f"{out} is already there; choose another folder or remove it first.")


def _evenly(images: Sequence[LabelledImage], most: int) -> list[LabelledImage]:
    """As many images of each class, spread over the patients."""
    found: list[LabelledImage] = []
    for label in sorted({image.label for image in images}):
        members = [image for image in images if image.label == label]
        found += [members[i] for i in np.linspace(0, len(members) - 1, min(len(members), most // 2)).astype(int)]
    return found


def _prepared(card: Card, images: Sequence[LabelledImage]) -> list[npt.NDArray[np.float32]]:
    tensors = []
    for image in images:
        try:
            grey = image.read().astype(np.float32)
            tensors.append(prepare(grey, card.preprocessing, pixel_aspect=image.pixel_aspect).tensor)
        except InputError:  # one unusable file moves no range; evaluation names it
            continue
    if not tensors:
        raise InputError("None of the training images can be read; check the data folder.")
    return tensors


def _measured(
    card: Card, content: bytes, small: bytes, images: Sequence[LabelledImage], copy: Path, progress: Progress
) -> dict[str, Any]:
    """All of :class:`Lighter` but how: both networks on the same images, through the same calibration.

    The copy, ``small``, is put at ``copy`` for it.
    """
    copy.write_bytes(small)
    entry = file_entry("model", copy)
    own = CardFile(**{name: entry[name] for name in ("role", "path", "sha256", "size", "opset")})
    plain = replace(card, ood=None, neighbours=None)  # how strange an image is changes nothing of its answer
    full, _ = score(Classifier(plain), images, progress)
    light, _ = score(Classifier(replace(plain, folder=copy.parent, files=(own,))), images, progress)
    apart = np.abs(full.probability - light.probability)
    reference = read_arrays(card.folder, card.require("reference"))
    names = [name.removeprefix("output.") for name in reference if name.startswith("output.")]
    feed = {name.removeprefix("input."): reference[name] for name in reference if name.startswith("input.")}
    sessions = [_session(each) for each in (content, small)]
    answers = zip(names, sessions[1].run(names, feed), strict=True)
    return {
        "speed": _speed(sessions, {name: value[:1] for name, value in feed.items()}),
        "auc": roc_auc(full.truth, full.probability),
        "auc_copy": roc_auc(light.truth, light.probability),
        "drift": float(apart.max()),
        "drift_p99": float(np.percentile(apart, 99)),
        "reference_drift": max(float(np.abs(value - reference[f"output.{name}"]).max()) for name, value in answers),
        "size": len(small),
        "full_size": len(content),
        "n": len(full.images),
    }


def _session(content: bytes) -> Any:
    import onnxruntime  # noqa: PLC0415 - an extra

    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def _speed(sessions: Sequence[Any], feed: Mapping[str, npt.NDArray[np.float32]]) -> float:
    """Return the first one's time over the second one's, each run beside the other."""
    took: list[list[float]] = [[], []]
    for _ in range(N_PAIRS):
        for index, session in enumerate(sessions):
            began = perf_counter()
            session.run(None, feed)
            took[index].append(perf_counter() - began)
    return float(np.median(took[0]) / np.median(took[1]))


def _is_faithful(lighter: Lighter) -> bool:
    return lighter.drift <= DRIFT_ALLOWED and lighter.auc - lighter.auc_copy <= AUC_LOST


def _write(card: Card, small: bytes, lighter: Lighter, digest: str, out: Path) -> None:
    """The whole model beside its copy, with the card's next version: another set of files is another version."""
    with own_place(out), whole_folder(out) as partial:
        for path in card.folder.iterdir():
            if path.is_file() and path.suffix != ".sig":
                shutil.copyfile(path, partial / path.name)
        copy = partial / file_name(lighter.how)
        copy.write_bytes(small)
        drift = {
            "bound": DRIFT_ALLOWED,
            "measured": round(lighter.drift, 6),
            "n": lighter.n,
            "data": {"en": "held-out patients of the training archive", "zh": "训练数据来源中留出的患者"},
            "p99": round(lighter.drift_p99, 6),
            "auc": round(lighter.auc, 4),
            "auc_copy": round(lighter.auc_copy, 4),
            "speed": round(lighter.speed, 2),
            "digest": digest,
        }
        document = dict(card.document)
        document["version"] = next_version(card.version)
        document["files"] = [*document["files"], file_entry(lighter.how, copy)]
        tolerance = float(f"{2 * lighter.reference_drift:.2g}")
        document["variants"] = [
            *document.get("variants", ()),
            {"name": lighter.how, "file": copy.name, "drift": drift, "reference_tolerance": tolerance},
        ]
        (partial / "model.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        read_card(partial)

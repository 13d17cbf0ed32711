"""TorchXRayVision's DenseNet-121: its weights from a local file, turned into a model folder with gradients.

Only tensors are read: safetensors, or a PyTorch file under ``weights_only=True``, which
refuses everything else a pickle could hold. The network is our own, with the same names.
Published operating points are used where the file has them, in the way their makers do:
a probability at the operating point becomes one half. Weights of one collection (NIH, CheXpert, ...) have
18 outputs all the same; those that nothing was learned for have NaN for an operating point, and are cut off.

Source: Cohen et al., "TorchXRayVision: a library of chest X-ray datasets and models", MIDL 2022;
torchxrayvision/models.py (``op_norm``, 18 pathologies, grey from -1024 to 1024, 224 x 224), datasets.py
(``XRayCenterCrop``: films are cut to their middle square), utils.py (``normalize``, ``read_xray_dcm``).
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from medviewer.domain.errors import InputError, ModelError
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.inference.acceptance import accept
from medviewer.inference.card import Card, read_card
from medviewer.inference.card_json import CARD_NAME
from medviewer.inference.importing.card_draft import draft
from medviewer.inference.importing.questions import Answers, GraphFacts
from medviewer.inference.importing.workshop import read_network
from medviewer.training.export import file_entry
from medviewer.training.gradient_graph import (
    OPSET,
    export_gradient_graph,
    fold_batch_norm,
    quiet_exporter,
    remove_traces,
)
from medviewer.training.networks_densenet import DenseNet121

FINDINGS = (
    "Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis", "Effusion",
    "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung_Lesion", "Fracture",
    "Lung_Opacity", "Enlarged_Cardiomediastinum",
)  # fmt: skip
SIZE = 224
_PREPARED = (
    "Films are cut to their middle square, as by TorchXRayVision's XRayCenterCrop. Two things differ from it: -1024 to "
    "1024 are the darkest and brightest grey of each film as it is displayed, there the least and most that its stored "
    "bits can hold; and films are made small by another filter."
)
_OPERATING_POINTS = "op_threshs"
_PARITY = 1e-3
_WORST_GRADIENT = 1e-3  # 1 - correlation, as for the networks that are trained here


def import_weights(
    path: Path,
    folder: Path,
    *,
    model_id: str = "xrv-densenet121",
    stop: StopToken | None = None,
    progress: Progress = no_progress,
) -> Card:
    """Write a whole model folder of a weights file and try it as an installation would.

    Args:
        path: ``.safetensors``, or a state dictionary saved by ``torch.save``.
        folder: an empty folder.
        model_id: what the model is to be called.
        stop: to cancel, between the steps.
        progress: told of each step.

    Raises:
        InputError: the file holds anything but tensors, or is not of this network.
        ModelError: the exported network does not give what PyTorch gives.
        Stopped: the user cancelled.
    """
    progress(0, 4, "Reading the weights")
    weights = read_weights(path)
    points = weights.pop(_OPERATING_POINTS, None)
    served = _served(_network(weights, path.name), points)
    progress(1, 4, "Exporting the network")
    _write_forward(served, folder / "model.onnx")
    if stop is not None:
        stop.raise_if_stopped()
    progress(2, 4, "Exporting its gradients (about a minute)")
    _write_gradients(served, folder)
    if stop is not None:
        stop.raise_if_stopped()
    progress(3, 4, "Comparing with PyTorch")
    _write_reference(served, folder)
    return _write_card(path, folder, model_id, served, stop, progress)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name; nothing else of it is looked at.

    Raises:
        InputError: it cannot be read, or holds anything but tensors.
    """
    data = read_network(path)
    try:
        if path.suffix.lower() == ".safetensors":
            import safetensors.torch  # noqa: PLC0415 - only this format needs it

            found: Any = safetensors.torch.load(data)
        else:
            found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"“{path.name}” holds more than tensors, or is damaged; it is not opened. Save it where you trust it: "
            "safetensors.torch.save_file(model.state_dict(), NEW.safetensors)."
        ) from error
    is_plain = isinstance(found, dict) and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in found.items())
    if not is_plain or not found:
        raise InputError(f"“{path.name}” is no state dictionary: it must hold tensors by name.")
    return dict(found)


def _network(weights: Mapping[str, Tensor], name: str) -> DenseNet121:
    head = weights.get("classifier.weight")
    if head is None or head.ndim != 2 or not 1 <= head.shape[0] <= len(FINDINGS):
        raise InputError(f"“{name}” is not of TorchXRayVision's DenseNet-121: it has no classifier of 18 findings.")
    network = DenseNet121(n_classes=int(head.shape[0]), n_channels=1)
    expected = network.state_dict()
    # Counters of batch normalisation are of training only; old files do not have them.
    given = {n: t for n, t in weights.items() if n in expected}
    missing = sorted(n for n in expected if n not in given and not n.endswith("num_batches_tracked"))
    if missing:
        raise InputError(f"“{name}” is not of TorchXRayVision's DenseNet-121: it lacks “{missing[0]}”.")
    wrong = next((n for n, t in given.items() if t.shape != expected[n].shape), "")
    if wrong:
        raise InputError(f"“{name}” is not of TorchXRayVision's DenseNet-121: “{wrong}” has another shape.")
    if not all(torch.isfinite(t).all() for t in given.values() if t.is_floating_point()):
        raise InputError(f"“{name}” holds weights that are not numbers (NaN); it is damaged.")
    network.load_state_dict(given, strict=False)
    return network.eval()


def _served(network: DenseNet121, points: Tensor | None) -> _Served:
    """The network with the outputs that something was learned for, scaled by their operating points if it has them."""
    learned = _learned(points, network.classifier.out_features)
    keep = torch.tensor(learned)
    of_these = None if points is None else points.detach().reshape(-1)
    if len(learned) < network.classifier.out_features:
        head = nn.Linear(network.classifier.in_features, len(learned))
        head.load_state_dict({name: tensor[keep] for name, tensor in network.classifier.state_dict().items()})
        network.classifier = head
        of_these = of_these[keep] if of_these is not None else None
    findings = tuple(FINDINGS[index] for index in learned)
    return _Served(network, _operating_points(of_these, len(learned)), findings).eval()


def _learned(points: Tensor | None, outputs: int) -> list[int]:
    """Which outputs were trained: those whose operating point is no NaN; all, where the file does not tell."""
    if points is None or points.numel() != outputs:
        return list(range(outputs))
    is_learned = ~torch.isnan(points.detach().reshape(-1).float())
    return [int(index) for index in is_learned.nonzero()] or list(range(outputs))


def _operating_points(points: Tensor | None, labels: int) -> Tensor | None:
    """The published thresholds, one a finding, or None if the file has not one for each."""
    if points is None or points.numel() != labels:
        return None
    flat = points.detach().reshape(-1).float()
    return flat if bool((torch.isfinite(flat) & (flat > 0) & (flat < 1)).all()) else None


class _Served(nn.Module):
    """Logits whose sigmoid is what TorchXRayVision gives: scaled so that one half is the operating point, if known.

    ``op_norm`` maps p below the point t to p / 2t, and above it to 1 - (1 - p) / 2(1 - t).
    """

    def __init__(self, network: DenseNet121, points: Tensor | None, findings: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.findings = findings
        self.points: Tensor | None
        self.register_buffer("points", points)

    def features(self, x: Tensor) -> Tensor:
        """Return the last feature map."""
        y: Tensor = self.network.features(x)
        return y

    def head(self, f: Tensor) -> Tensor:
        """Return the logits of a feature map."""
        logits = self.network.head(f)
        if self.points is None:
            return logits
        p = torch.sigmoid(logits).clamp(1e-6, 1 - 1e-6)
        scaled = torch.where(p < self.points, p / (2 * self.points), 1 - (1 - p) / (2 * (1 - self.points)))
        return torch.log(scaled) - torch.log1p(-scaled)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``(n, findings)``, of ``x`` ``(n, 1, 224, 224)`` in -1024 to 1024."""
        return self.head(self.features(x))


def _write_forward(served: _Served, path: Path) -> None:
    folded = copy.deepcopy(served).eval()
    fold_batch_norm(folded)
    with quiet_exporter():
        program = torch.onnx.export(
            folded,
            (torch.randn(2, 1, SIZE, SIZE),),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            input_names=["x"],
            output_names=["logits"],
        )
    if program is None:
        raise AssertionError("the exporter gave nothing")
    model = program.model_proto
    remove_traces(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _write_gradients(served: _Served, folder: Path) -> None:
    labels = served.network.classifier.out_features
    export_gradient_graph(served, folder / "model.explain.onnx", input_shape=(1, SIZE, SIZE), n_classes=labels)


def _write_reference(served: _Served, folder: Path) -> None:
    """Write inputs with the answers that PyTorch gives, and hold both graphs against it."""
    import onnxruntime  # noqa: PLC0415

    chance = np.random.default_rng(20220101)
    coarse = chance.uniform(-1024, 1024, (3, 1, 14, 14)).repeat(16, axis=2).repeat(16, axis=3)
    x = np.clip(coarse + chance.normal(0, 40, coarse.shape), -1024, 1024).astype(np.float32)
    labels = served.network.classifier.out_features
    selector = np.eye(labels, dtype=np.float32)[np.arange(len(x)) % labels]
    given = torch.from_numpy(x).double().requires_grad_()
    exact = served.double()
    answers = exact(given)
    (gradient,) = torch.autograd.grad((answers * torch.from_numpy(selector)).sum(), given)
    served.float()
    expected = answers.detach().numpy().astype(np.float32)
    sessions = [
        onnxruntime.InferenceSession((folder / name).read_bytes(), providers=["CPUExecutionProvider"])
        for name in ("model.onnx", "model.explain.onnx")
    ]
    found = sessions[0].run(["logits"], {"x": x})[0]
    logits, d_x = sessions[1].run(["logits", "d_x"], {"x": x, "selector": selector})
    gap = max(float(np.abs(found - expected).max()), float(np.abs(logits - expected).max()))
    pairs = zip(d_x, gradient.numpy(), strict=True)
    apart = max(1 - float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in pairs)
    if not (gap <= _PARITY * max(1.0, float(np.abs(expected).max())) and apart <= _WORST_GRADIENT):
        raise ModelError(f"The exported network differs from PyTorch's: logits by {gap:.1e}, gradients by {apart:.1e}.")
    np.savez_compressed(folder / "reference.npz", **{"input.x": x, "output.logits": expected})


def _write_card(
    path: Path, folder: Path, model_id: str, served: _Served, stop: StopToken | None, progress: Progress
) -> Card:
    labels = served.findings
    entry = file_entry("model", folder / "model.onnx")
    facts = GraphFacts(path.name, entry["sha256"], "TorchXRayVision", OPSET, "x", "NCHW", (1, SIZE, SIZE), None,
                       "logits", len(labels), "")  # fmt: skip
    answers = Answers(
        id=model_id,
        title="Chest radiograph findings (TorchXRayVision DenseNet-121)",
        labels=labels,
        task="multilabel",
        output="logits",
        modality=("CR", "DX"),
        body_part=("CHEST",),
        view=("PA", "AP"),
        rows=SIZE,
        columns=SIZE,
        values="xrv",
        aspect="crop",
        threshold=0.5,
        intended_use=f"Research: how typical a frontal chest radiograph is of each of {len(labels)} findings.",
        licence="unknown; TorchXRayVision's own code and weights are Apache-2.0",
    )
    report: dict[str, Any] = {
        "control_flow": {},
        "feature_map": "features",
        "grid": [SIZE // 32, SIZE // 32],
        "is_rectified": True,  # it ends with a ReLU
        "gradient_errors": {},
        "gradients_by": "PyTorch, traced into the graph",
        "libraries": {"torch": str(torch.__version__)},
    }
    document = draft(folder, facts, answers, report, _more(served))
    content = json.dumps(document, ensure_ascii=False, indent=1)
    (folder / CARD_NAME).write_text(content + "\n", encoding="utf-8")
    card = read_card(folder)
    accept(card, stop=stop, progress=progress)
    return card


def _more(served: _Served) -> dict[str, Any]:
    where = (
        "One half is each finding's published operating point, which the weights file holds."
        if served.points is not None
        else "The weights file holds no operating points; one half is not more than one half."
    )
    left_out = ", ".join(name for name in FINDINGS if name not in served.findings)
    return {
        "references": [
            "Cohen et al., TorchXRayVision: a library of chest X-ray datasets and models, MIDL 2022",
            where,
            _PREPARED,
            *(
                [f"Nothing was learned for these outputs of the weights, which are left out: {left_out}."]
                if left_out
                else []
            ),
        ]
    }

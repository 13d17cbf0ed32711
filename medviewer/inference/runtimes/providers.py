"""Which processor runs a model, chosen by what works, and the reason in words.

ONNX Runtime falls back to the CPU in silence when a GPU's library is missing
or too old. A reader who waits eight seconds instead of one must be told why, and
a GPU that gives other numbers than the card's reference must not be used.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from medviewer.domain.errors import RuntimeMissingError, UsageError

T = TypeVar("T")

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
# TensorRT rebuilds a model for minutes and is left out of "auto": it must be asked for.
AUTOMATIC = ("cuda", "directml", "coreml", "openvino", "cpu")
TITLES = {
    "cuda": "CUDA GPU",
    "directml": "DirectML GPU",
    "coreml": "Core ML",
    "openvino": "OpenVINO",
    "tensorrt": "TensorRT GPU",
    "cpu": "CPU",
}
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn")


class ProviderFailedError(Exception):
    """One provider cannot run this model; the text says why and ends up in the reason for the next one."""


def resolve(names: Sequence[str]) -> tuple[str, ...]:
    """The providers to try, in order, for what the user asked for.

    Raises:
        UsageError: a name is unknown; the message lists the known ones.
    """
    wanted: list[str] = []
    for name in names:
        if name != "auto" and name not in PROVIDERS:
            raise UsageError(f"There is no provider “{name}”; choose from auto, {', '.join(PROVIDERS)}.")
        wanted += AUTOMATIC if name == "auto" else (name,)
    return tuple(dict.fromkeys(wanted)) or AUTOMATIC


def choose(
    names: Sequence[str], available: Sequence[str], attempt: Callable[[str], T], *, is_automatic: bool
) -> tuple[T, str, str]:
    """Open a model on the first provider that works.

    Args:
        names: short names in order of preference (:func:`resolve`).
        available: ONNX Runtime's names of what this installation was built with.
        attempt: opens the model on one provider and checks it; raises
            :class:`ProviderFailedError` with the reason if it is of no use.
        is_automatic: whether the order is ours and not the user's.

    Returns:
        What ``attempt`` gave, the provider's short name, and why this one: a clause
        that reads after "because".

    Raises:
        RuntimeMissingError: none works; the message says why each did not.
    """
    failures: list[str] = []
    for name in names:
        if PROVIDERS[name] not in available:
            if not is_automatic:
                failures.append(f"{TITLES[name]} is not part of the installed ONNX Runtime")
            continue
        try:
            opened = attempt(name)
        except ProviderFailedError as error:
            failures.append(f"{TITLES[name]} was tried: {error}")
            continue
        return opened, name, _reason(name, failures, available, is_automatic=is_automatic)
    raise RuntimeMissingError(f"No processor can run this model: {'; '.join(failures) or 'none was asked for'}.")


def _reason(name: str, failures: Sequence[str], available: Sequence[str], *, is_automatic: bool) -> str:
    if failures:
        reason = "; ".join(failures)
    elif not is_automatic:
        reason = "it was asked for"
    elif name != "cpu":
        reason = "it is the fastest here that gives the model's reference answer"
    elif any(PROVIDERS[other] in available for other in AUTOMATIC if other != "cpu"):
        reason = "nothing faster is usable"
    else:
        reason = "no GPU runtime is installed" + _missing_extra()
    twins = installed_distributions()
    if len(twins) > 1:
        reason += (
            f"; note that {' and '.join(twins)} are installed at once and hide each other: "
            "uninstall them all and install one"
        )
    return reason


def _missing_extra() -> str:
    """Which extra would use the GPU of this computer, where it is certain that there is one."""
    has_nvidia = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    return " for the NVIDIA GPU here: uninstall onnxruntime, then pip install 'medviewer[gpu]'" if has_nvidia else ""


def installed_distributions() -> tuple[str, ...]:
    """Which packages that provide ``onnxruntime`` are installed: more than one is a broken set-up."""
    import importlib.metadata  # noqa: PLC0415 - a fiftieth of a second that the window need not wait for

    found = []
    for name in _DISTRIBUTIONS:
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(name)
    return tuple(found)

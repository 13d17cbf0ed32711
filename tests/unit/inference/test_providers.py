from __future__ import annotations

import importlib.metadata

import pytest

from medviewer.domain.errors import RuntimeMissingError, UsageError
from medviewer.inference.runtimes import providers
from medviewer.inference.runtimes.providers import ProviderFailedError, choose, resolve

CPU_ONLY = ("AzureExecutionProvider", "CPUExecutionProvider")
WITH_CUDA = ("CUDAExecutionProvider", "CPUExecutionProvider")


def works(name: str) -> str:
    return name


def only_cpu_works(name: str) -> str:
    if name != "cpu":
        raise ProviderFailedError("its answer to the reference input differs by 0.5")
    return name


def test_names_are_resolved_in_order() -> None:
    assert resolve(("auto",)) == providers.AUTOMATIC
    assert resolve(("tensorrt", "auto"))[0] == "tensorrt"
    assert resolve(()) == providers.AUTOMATIC
    assert "tensorrt" not in resolve(("auto",))
    with pytest.raises(UsageError, match="cuda"):
        resolve(("gpu",))


def test_cpu_because_nothing_else_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_missing_extra", str)
    assert choose(resolve(("auto",)), CPU_ONLY, works, is_automatic=True) == (
        "cpu",
        "cpu",
        "no GPU runtime is installed",
    )


def test_an_nvidia_gpu_without_its_runtime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers.shutil, "which", lambda name: f"/usr/bin/{name}")
    _, _, reason = choose(resolve(("auto",)), CPU_ONLY, works, is_automatic=True)
    assert reason.startswith("no GPU runtime is installed for the NVIDIA GPU here: ")
    assert "pip install 'medviewer[gpu]'" in reason
    _, _, with_gpu = choose(resolve(("auto",)), WITH_CUDA, only_cpu_works, is_automatic=True)
    assert "medviewer[gpu]" not in with_gpu


def test_a_gpu_that_works_is_taken() -> None:
    opened, name, reason = choose(resolve(("auto",)), WITH_CUDA, works, is_automatic=True)
    assert (opened, name) == ("cuda", "cuda")
    assert "reference answer" in reason


def test_a_gpu_that_fails_is_named_in_the_reason_for_the_cpu() -> None:
    _, name, reason = choose(resolve(("auto",)), WITH_CUDA, only_cpu_works, is_automatic=True)
    assert name == "cpu"
    assert reason == "CUDA GPU was tried: its answer to the reference input differs by 0.5"


def test_what_was_asked_for_and_is_not_there_is_said() -> None:
    _, name, reason = choose(("cuda", "cpu"), CPU_ONLY, works, is_automatic=False)
    assert (name, reason) == ("cpu", "CUDA GPU is not part of the installed ONNX Runtime")
    with pytest.raises(RuntimeMissingError, match="CUDA GPU is not part"):
        choose(("cuda",), CPU_ONLY, works, is_automatic=False)


def test_two_installed_runtimes_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"onnxruntime", "onnxruntime-gpu"}

    def distribution(name: str) -> object:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return object()

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    _, _, reason = choose(("cpu",), CPU_ONLY, works, is_automatic=True)
    assert "onnxruntime and onnxruntime-gpu are installed at once" in reason
    installed.remove("onnxruntime-gpu")
    assert "at once" not in choose(("cpu",), CPU_ONLY, works, is_automatic=True)[2]

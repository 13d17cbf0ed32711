"""What importing costs: the window must open without loading a runtime."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "onnxruntime", "onnx", "captum", "jsonschema_rs", "PySide6", "pydicom")


@pytest.mark.parametrize("module", ["medviewer.inference.engine", "medviewer.inference.worker"])
def test_importing_loads_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_worker_needs_no_window_and_no_dicom() -> None:
    code = (
        "import sys, medviewer.inference.worker; "
        "print([name for name in sys.modules if name.startswith(('medviewer.imaging', 'medviewer.records', 'medviewer.gui'))])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""What can run a model. One row a runtime: a module with ``is_available()``, ``REQUIRES`` and ``open(source)``."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from medviewer.inference.runtimes import onnx

RUNTIMES: Mapping[str, ModuleType] = {"onnx": onnx}
"""Runtime name to its module. The modules import their library only when a model is opened."""

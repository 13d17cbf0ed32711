"""What can run a model. One row a runtime.

A module that works in the worker process has ``TITLE``, ``REQUIRES``, ``is_available()``,
``version()``, ``run_options()`` and ``open(source) -> OpenModel``. Rules are our own code and run
where they are asked: :mod:`medviewer.inference.runtimes.rule` has ``run(card, inputs, outputs)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from medviewer.inference.runtimes import onnx, rule, torch

RUNTIMES: Mapping[str, ModuleType] = {"onnx": onnx, "torch": torch, "rule": rule}
"""Runtime name to its module. The modules import their library only when a model is opened."""

"""Clinical scores as plain code: each is a published table, whose digest is its identity."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from medviewer.inference.rules import news2

RULES: Mapping[str, ModuleType] = {"news2": news2}
"""Name, as a card gives it, to its module: ``VERSION``, ``TABLE``, ``FIELDS`` and ``run(values, mask)``."""

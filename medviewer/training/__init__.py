"""Rebuilds what lies in ``models/``: recipes, data, networks, evaluation, export.

Importing this package costs nothing: torch is loaded by the module that needs it,
when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from medviewer.domain.errors import RuntimeMissingError, UsageError

RECIPES = ("chest-xray",)


def train(recipe: str, data: Path, out: Path, overrides: Mapping[str, str], progress: Callable[[str], None]) -> Path:
    """Train a recipe and write a complete model folder.

    Args:
        recipe: one of :data:`RECIPES`.
        data: the folder with the training data, as the recipe describes it.
        out: the model folder to make; it must not exist yet.
        overrides: settings of the recipe by name, as text, such as ``{"seed": "1"}``.
        progress: called with one line of text at a time.

    Returns:
        ``out``, complete. On any error nothing is left there.

    Raises:
        UsageError: an unknown recipe or setting, or ``out`` exists.
        InputError: the data cannot be used.
        StorageError: the folder cannot be written.
        RuntimeMissingError: a package that training needs is not installed.
    """
    if recipe not in RECIPES:
        raise UsageError(f"There is no recipe {recipe!r}; there are: {', '.join(RECIPES)}.")
    try:
        from medviewer.training.recipes import chest_xray  # noqa: PLC0415 - torch, and only now
    except ModuleNotFoundError as error:
        missing = f"Training needs the package {error.name}"
        raise RuntimeMissingError(f"{missing}: pip install 'medviewer[torch,cpu]'.") from error

    return chest_xray.run(data, out, overrides, progress)

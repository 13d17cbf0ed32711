"""Rebuilds what lies in ``models/``: recipes, data, networks, evaluation, export.

Importing this package costs nothing: torch is loaded by the module that needs it,
when it is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from medviewer.domain.errors import RuntimeMissingError, TrainingError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, no_progress
from medviewer.training.extras import check_installed, install
from medviewer.training.sums import check_sums, say_sums

# Each recipe is a module with run(request), describe(request) and explore(request, n_trials); what people should know
# of it is in medviewer.training.recipes.abouts.
RECIPES: Mapping[str, str] = {
    "breast-ultrasound": "medviewer.training.recipes.breast_ultrasound",
    "chest-xray": "medviewer.training.recipes.chest_xray",
    "chest-xray-vit": "medviewer.training.recipes.chest_xray_vit",
    "icu-forecast": "medviewer.training.recipes.icu_forecast",
    "icu-mortality": "medviewer.training.recipes.icu_mortality",
    "note-section": "medviewer.training.recipes.note_section",
    "toxicity": "medviewer.training.recipes.toxicity",
    "survival": "medviewer.training.recipes.survival",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How a recipe is trained.

    Attributes:
        bar: called after each step, and before each validation, with (steps done, steps in all, text).
        force: replace a model that is no worse, too.
        search: first try so many settings within the recipe's ranges, and take the best; 0: none.
        record: called with (run, line) for each line of a run's record, those of before included where it
            goes on; ``run`` names the part of a recipe that has several.
    """

    bar: Progress = no_progress
    force: bool = False
    search: int = 0
    record: Callable[[str, Mapping[str, Any]], None] = lambda *_: None


_PLAINLY = Manner()


def train(
    recipe: str,
    data: Path,
    out: Path,
    overrides: Mapping[str, str],
    progress: Callable[[str], None],
    manner: Manner = _PLAINLY,
) -> Path:
    """Train a recipe and write a complete model folder.

    Started by ``torchrun``, all processes learn together and the first one writes the folder.

    Args:
        recipe: one of :data:`RECIPES`.
        data: the folder with the training data, as the recipe describes it.
        out: the model folder to make. A model of the recipe that lies there is replaced by a better one.
        overrides: settings of the recipe by name, as text, such as ``{"seed": "1"}``.
        progress: called with one line of text at a time.
        manner: see there.

    Returns:
        ``out``, complete. On any error what was there before is there still.

    Raises:
        UsageError: an unknown recipe or setting, or ``out`` holds something else, or a model that is no worse, or
            another process makes one there, or keeps its run in the same folder of checkpoints.
        InputError: the data cannot be used, or are not those whose sums lie beside them.
        StorageError: the disk is full or cannot be written.
        TrainingError: out of memory, or a loss that is no number.
        Stopped: the user cancelled; the same call goes on from the last checkpoint.
        RuntimeMissingError: a package that training needs is not installed.
    """
    module = _recipe(recipe)
    from medviewer.training.place import own_checkpoints, own_place  # noqa: PLC0415 - only who trains needs it
    from medviewer.training.processes import joined_processes  # noqa: PLC0415 - torch, and only now
    from medviewer.training.request import Request  # noqa: PLC0415

    with joined_processes() as processes, contextlib.ExitStack() as stack, _decoders():
        if processes.is_first:
            stack.enter_context(own_place(out))
            if kept := overrides.get("checkpoints", "").strip():  # else the run lies beside out, and is its own with it
                stack.enter_context(own_checkpoints(Path(kept)))
        line, bar = (progress, manner.bar) if processes.is_first else (_silent, no_progress)
        request = Request(recipe, data, out, overrides, line, bar, manner.force, processes, manner.record)
        say_sums(data, line)
        try:
            if manner.search:
                request = _with_best(module, request, manner.search)
            made: Path = module.run(request)
        except MemoryError as error:
            raise TrainingError("The memory is used up; close other programs, and give the same command.") from error
        return made


def report_data(recipe: str, data: Path, out: Path, overrides: Mapping[str, str]) -> Mapping[str, Any]:
    """Write what the data of a recipe hold, before anything is learned: ``data.json`` and ``data.html``.

    Args:
        recipe: one of :data:`RECIPES`.
        data: as for :func:`train`.
        out: the folder for the report.
        overrides: settings; the seed decides the split.

    Returns:
        The content of ``data.json``; see ``docs/json.md``.

    Raises:
        UsageError, InputError, StorageError, RuntimeMissingError: as :func:`train`.
    """
    module = _recipe(recipe)
    from medviewer.training.data_report import write_data_report  # noqa: PLC0415
    from medviewer.training.request import Request  # noqa: PLC0415

    check_sums(data)
    with _decoders():
        return write_data_report(module.describe(Request(recipe, data, out, overrides, _silent)), out, recipe)


def describe_recipes() -> list[dict[str, Any]]:
    """Return what people should know of each recipe: the content of ``medviewer.recipes/1``.

    A recipe that needs a package which is not installed says so in its place; the others can be used. Nothing that
    learns is loaded.

    Raises:
        RuntimeMissingError: a package that all training needs is not installed.
    """
    from medviewer.training.about import About, described, undescribed  # noqa: PLC0415 - only who lists needs them
    from medviewer.training.recipes.abouts import ABOUTS  # noqa: PLC0415

    found: list[dict[str, Any]] = []
    missing: list[RuntimeMissingError] = []
    for name in RECIPES:
        about, problem = ABOUTS.get(name), ""
        try:
            about = about or undescribed(name, _recipe(name))
            check_installed(about.needs)
        except RuntimeMissingError as error:
            missing.append(error)
            problem = str(error)
        found.append(described(name, about or About({"en": name}, {}, {}, None)) | {"problem": problem})
    if missing and len(missing) == len(found):
        raise missing[0]
    return found


def _silent(_: str) -> None:
    """Tell nobody."""


def _recipe(name: str) -> ModuleType:
    """Import a recipe, and torch with it; what it needs must be there."""
    if name not in RECIPES:
        raise UsageError(f"There is no recipe {name!r}; there are: {', '.join(RECIPES)}.")
    from medviewer.training.recipes.abouts import ABOUTS  # noqa: PLC0415 - only who trains or lists needs it

    if name in ABOUTS:  # what is loaded only in the midst of a training is missed before it
        check_installed(ABOUTS[name].needs)
    try:
        return importlib.import_module(RECIPES[name])
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("medviewer"):
            raise
        package = error.name or ""
        raise RuntimeMissingError(f"Training needs the package {package}: {install(package)}.") from error


def _with_best(module: ModuleType, request: Any, n_trials: int) -> Any:
    """Search, and return the request with the best settings; their run is there already."""
    if request.processes.n > 1:
        raise UsageError("A search runs in one process; start it without torchrun.")
    best = module.explore(request, n_trials)
    told = ", ".join(f"{name}={value}" for name, value in best.settings.items())
    request.progress(f"best of {n_trials} trials: validation score {best.score:.4f} with {told}")
    overrides = {**request.overrides, **best.settings, "checkpoints": str(best.folder)}
    search = {"trials": n_trials, "names": list(best.settings)}
    return dataclasses.replace(request, overrides=overrides, search=search)


@contextlib.contextmanager
def _decoders() -> Iterator[None]:
    """End the decoders of DICOM images with the work."""
    from medviewer.imaging.decode import shutdown  # noqa: PLC0415

    try:
        yield
    finally:
        shutdown()

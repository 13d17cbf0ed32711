"""``train`` and ``evaluate``: make a model folder, and measure one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medviewer.cli.models import open_catalogue
from medviewer.cli.terminal import print_json, say, tell
from medviewer.domain.errors import RuntimeMissingError, UsageError

_OURS = "medviewer"


def train(arguments: argparse.Namespace) -> int:
    """Train a recipe and write a whole model folder, or nothing."""
    overrides = dict(_setting(text) for text in arguments.set)
    if arguments.seed is not None and "seed" in overrides:
        raise UsageError("The seed is given twice; keep one of --seed and --set seed=.")
    if arguments.seed is not None:
        overrides["seed"] = str(arguments.seed)
    with _needing_the_extra():
        from medviewer.training import train as make  # noqa: PLC0415 - may lack a package

        folder = make(arguments.recipe, arguments.data, arguments.out, overrides, tell)
    say(str(folder))
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure a model on labelled images and write report.json and report.html; 3 if some cannot be read."""
    folder = _model_folder(arguments.model, arguments.models_folder)
    with _needing_the_extra():
        from medviewer.training.evaluate import evaluate as measure  # noqa: PLC0415 - may lack a package

        report = measure(folder, arguments.data, arguments.out, split=arguments.split, progress=tell)
    if arguments.json:
        print_json(dict(report))
    else:
        for name, metric in report["metrics"].items():
            interval = metric["ci95"] or (None, None)
            say(f"{name}: {_number(metric['value'])} (95% {' to '.join(map(_number, interval))})")
        say(str(arguments.out / "report.html"))
    unusable = report["data"]["unusable"]
    for file in unusable:
        tell(f"{file['file']}: {file['reason']}")
    return 3 if unusable else 0


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def _setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise UsageError(f"“{text}” is no setting; write --set name=value.")
    return name.strip(), value.strip()


def _model_folder(model: str, models_folder: Path | None) -> Path:
    """Take an id from the catalogue, or a folder by its path."""
    catalogue = open_catalogue(models_folder)
    if model not in [entry.id for entry in catalogue.entries] and os.path.isdir(model):
        return Path(model)
    return catalogue.card(model).folder


@contextmanager
def _needing_the_extra() -> Iterator[None]:
    """Turn a package that is not installed into the one command that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", _OURS):
            raise
        raise RuntimeMissingError(
            f"This needs the package {package}, which is not installed; run: pip install 'medviewer[torch,cpu]'"
        ) from error

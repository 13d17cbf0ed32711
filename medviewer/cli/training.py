"""``train``, ``recipes`` and ``evaluate``: make a model folder, what there is to make, and measure one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medviewer.cli.models import open_catalogue
from medviewer.cli.terminal import clear_progress, is_watched, print_json, print_json_line, progress, say, tell
from medviewer.domain.errors import MedViewerError, RuntimeMissingError, Stopped, UsageError
from medviewer.domain.progress import VALIDATING

_OURS = "medviewer"


def train(arguments: argparse.Namespace) -> int:
    """Train a recipe and write a whole model folder, or nothing."""
    overrides = dict(_setting(text) for text in arguments.set)
    if arguments.seed is not None and "seed" in overrides:
        raise UsageError("The seed is given twice; keep one of --seed and --set seed=.")
    if arguments.seed is not None:
        overrides["seed"] = str(arguments.seed)
    if arguments.report_only:  # beside the model that is made next, not where it goes
        return _report(arguments, arguments.out or Path(f"{arguments.recipe}-data"), overrides)
    out = arguments.out or Path(arguments.recipe)
    with _needing_the_extra():
        from medviewer.training import Manner  # noqa: PLC0415 - may lack a package
        from medviewer.training import train as make  # noqa: PLC0415
        from medviewer.training.heap import keep_freed_memory  # noqa: PLC0415

        keep_freed_memory()
        if arguments.json:
            with _failure_as_line():
                lines = Manner(_bar_line, arguments.force, arguments.search, _record_line)
                folder = make(arguments.recipe, arguments.data, out, overrides, _text_line, lines)
        else:
            manner = Manner(Bar(), arguments.force, arguments.search)
            folder = make(arguments.recipe, arguments.data, out, overrides, _line, manner)
    if is_first_process():
        if arguments.json:
            print_json_line({"kind": "done", "folder": str(folder)})
        else:
            say(str(folder))
    return 0


def recipes(arguments: argparse.Namespace) -> int:
    """Say what can be trained, from which data, and with which settings."""
    with _needing_the_extra():
        from medviewer.training import describe_recipes  # noqa: PLC0415 - may lack a package

        found = describe_recipes()
    if arguments.json:
        print_json_line({"schema": "medviewer.recipes/1", "recipes": found})
        return 0
    for recipe in found:
        say(recipe["recipe"])
        words = (recipe[name].get("en", "") for name in ("title", "data", "duration"))
        for said in filter(None, (*words, recipe["problem"])):
            say(f"  {said}")
        taken = [f"{setting['name']}={setting['value']}" for setting in recipe["settings"]]
        taken += [f"{path['name']}={path['kind'].upper()}" for path in recipe["paths"]]
        say("  " + " ".join(taken))
    return 0


def _text_line(text: str) -> None:
    print_json_line({"kind": "text", "text": text})


def _bar_line(done: int, total: int, text: str) -> None:
    print_json_line({"kind": "progress", "done": done, "total": total, "text": text})


_RECORDED = ("kind", "step", "epoch", "loss", "score", "by_plan", "measured", "seconds")


def _record_line(run: str, line: Mapping[str, Any]) -> None:
    """Tell what every recipe's record has, and the figure that it measured; the rest of its own stays in the file."""
    names = (*_RECORDED, *([line["measured"]] if "measured" in line else []))
    print_json_line({"run": run, **{name: line[name] for name in names if name in line}})


@contextmanager
def _failure_as_line() -> Iterator[None]:
    """Say how it ended in the form of all other lines too."""
    try:
        yield
    except (KeyboardInterrupt, Stopped) as end:
        print_json_line({"kind": "stopped", "text": str(end)})
        raise
    except MedViewerError as error:
        print_json_line({"kind": "failed", "text": str(error)})
        raise


def _report(arguments: argparse.Namespace, out: Path, overrides: Mapping[str, str]) -> int:
    """Write what the data hold; 3 if a training would refuse them, or some of them cannot be used."""
    with _needing_the_extra():
        from medviewer.training import report_data  # noqa: PLC0415 - may lack a package

        report = report_data(arguments.recipe, arguments.data, out, overrides)
    for problem in report["problems"]:
        tell(problem["text"])
    say(str(out / "data.html"))
    return 3 if report["unusable"] or any(problem["stops_training"] for problem in report["problems"]) else 0


def is_first_process() -> bool:
    """Whether this is the process that speaks, of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


class Bar:
    """A line that is written over where somebody can see it, else a line for each percent and each validation."""

    def __init__(self) -> None:
        self._told = (-1, False)

    def __call__(self, done: int, total: int, text: str) -> None:
        """Show (steps done, steps in all, what is being done)."""
        if is_watched():
            progress(done, total, text)
            return
        percent = 100 * done // max(total, 1)
        stage = percent, VALIDATING in text
        if stage != self._told:
            self._told = stage
            tell(f"{percent:3d} % {text}")


def _line(text: str) -> None:
    """Tell a line; a bar that stands there goes."""
    clear_progress()
    tell(text)


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure a model on labelled data and write report.json and report.html; 3 if some cannot be read."""
    folder = _model_folder(arguments.model, arguments.models_folder)
    if arguments.against and arguments.label:
        raise UsageError("Two models are compared on their one finding; leave --label out.")
    if arguments.against:
        return _compare(arguments, folder)
    with _needing_the_extra():
        from medviewer.training.evaluate import evaluate as measure  # noqa: PLC0415 - may lack a package
        from medviewer.training.report_page import learned_words  # noqa: PLC0415 - likewise

        asked = {"split": arguments.split, "label": arguments.label}
        report = measure(folder, arguments.data, arguments.out, **asked, progress=tell)
    if arguments.json:
        print_json(dict(report))
    else:
        if words := learned_words(report["data"]):
            say(f"The model {words}")
        for name, metric in report["metrics"].items():
            say(f"{name}: {_with_interval(metric)}")
        say(str(arguments.out / "report.html"))
    unusable = report["data"]["unusable"]
    for file in unusable:
        tell(f"{file['file']}: {file['reason']}")
    return 3 if unusable else 0


def _compare(arguments: argparse.Namespace, folder: Path) -> int:
    """Measure two models on the same cases; 3 if some cannot be read."""
    other = _model_folder(arguments.against, arguments.models_folder)
    with _needing_the_extra():
        from medviewer.training.comparing import compare  # noqa: PLC0415 - may lack a package
        from medviewer.training.report_page import learned_words  # noqa: PLC0415 - likewise

        report = compare(folder, other, arguments.data, arguments.out, split=arguments.split, progress=tell)
    if arguments.json:
        print_json(dict(report))
    else:
        for model in report["models"]:
            if words := learned_words(model):
                say(f"{model['id']} {model['version']} {words}")
        for name, entry in report["differences"].items():
            say(f"{name}: {_with_interval(entry)}, p {_p_words(entry['p'])}")
        if test := report["mcnemar"]:
            say(f"right alone: {test['only_first']} and {test['only_second']} cases, p {_p_words(test['p'])}")
        say(str(arguments.out / "comparison.html"))
    unusable = report["data"]["unusable"]
    for file in unusable:
        tell(f"{file['file']}: {file['reason']}")
    return 3 if unusable else 0


def _with_interval(entry: Mapping[str, Any]) -> str:
    told = _number(entry["value"])
    return told if entry["ci95"] is None else f"{told} (95% {' to '.join(map(_number, entry['ci95']))})"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def _p_words(p: float | None) -> str:
    return "below 0.0001" if p is not None and p < 1e-4 else _number(p)


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
        from medviewer.training.extras import install  # noqa: PLC0415 - only where something is missing

        raise RuntimeMissingError(
            f"This needs the package {package}, which is not installed; run: {install(package)}"
        ) from error

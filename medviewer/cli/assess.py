"""``models assess``: measure how far a model's heat maps can be believed, and write it on its card."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medviewer.app.settings import home
from medviewer.cli.terminal import clear_progress, print_json, progress, say, tell
from medviewer.domain.errors import RuntimeMissingError, UsageError
from medviewer.inference.catalogue import Entry
from medviewer.inference.signing import is_signed
from medviewer.resources import models_dir

ASSESS_SCHEMA = "medviewer.models-assess/1"
_LEAST_RANDOM = 19  # fewer cannot be beaten at 95%


def assess(arguments: argparse.Namespace, entries: Sequence[Entry]) -> int:
    """Assess one model; its card gets what was found and a new version, its networks stay untouched."""
    entry = _one(arguments, entries)
    try:
        from medviewer.training import assess as training  # noqa: PLC0415 - may lack a package
        from medviewer.training.sanity_card import write_sanity  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise RuntimeMissingError(
            f"This needs the package {error.name}, which is not installed; run: pip install 'medviewer[torch,cpu]'"
        ) from error
    given: dict[str, Any] = {"n": arguments.images, "n_random": arguments.random, "minutes": arguments.minutes}
    if arguments.split:
        given["splits"] = tuple(arguments.split)
    plan = training.Plan(**{name: value for name, value in given.items() if value is not None})
    if plan.n < 1 or plan.n_random < _LEAST_RANDOM:
        raise UsageError(f"--images must be 1 or more and --random {_LEAST_RANDOM} or more.")
    if is_signed(entry.folder):
        tell(f"  caution: {entry.id} is signed; its signature will be removed with the change of its card.")
    work = home() / "assessments" / f"{entry.id}.jsonl"
    try:
        found = training.assess(entry.folder, arguments.data, work=work, plan=plan, progress=progress)
    finally:
        clear_progress()
    version, was_signed = write_sanity(entry.folder, found)
    if arguments.json:
        document = {"schema": ASSESS_SCHEMA, "id": entry.id, "version": version, "signature_removed": was_signed}
        print_json(document | {"sanity": found})
    else:
        for method, figures in found["methods"].items():
            for line in _lines(method, figures):
                say(line)
        tell(f"Written on the card of {entry.id}, which is now version {version}.")
    if was_signed:
        tell(
            f"  caution: the signature of {entry.id} was of its former card and is removed; the model is unverified "
            f"until it is signed again with: medviewer models sign {entry.folder} --key PEM"
        )
    return 0


def _one(arguments: argparse.Namespace, entries: Sequence[Entry]) -> Entry:
    """The model to assess: one of the reader's own or a bundled one, whose card may be written on."""
    if len(arguments.ids) != 1 or arguments.data is None:
        raise UsageError("Name one model and its data: medviewer models assess ID --data DIR.")
    entry = entries[0]
    if entry.card is None:
        raise UsageError(f"The model {entry.id} cannot be assessed: {entry.problem}")
    own = [Path(folder).resolve() for folder in (home() / "models", models_dir())]
    if entry.folder.resolve().parent not in own:
        raise UsageError("Only a model that is installed here can be assessed: install it first, without --models.")
    return entry


def _lines(method: str, figures: Mapping[str, Any]) -> list[str]:
    """What was found of one method, for people."""
    lines = [f"{method}: {figures['verdict']['en']}"]
    for name in ("deletion", "insertion", "both"):
        share = figures[name]
        low, high = share["ci95"]
        lines.append(f"  {name}: {share['value']:.1%} ({low:.1%} to {high:.1%}) of {figures['n']} images")
    if shuffled := figures.get("randomised"):
        steps = ", ".join(f"{k}: {rank:.2f}" for k, rank in zip(shuffled["layers"], shuffled["rank"], strict=True))
        lines.append(f"  rank correlation after shuffling layers: {steps}")
    others = (name for name in ("grain", "repeated", "pointing") if name in figures)
    return lines + [f"  {name}: {figures[name]}" for name in others]

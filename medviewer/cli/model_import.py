"""``models import``: a network that was made elsewhere, turned into a model folder that can be completed."""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medviewer.cli.terminal import clear_progress, print_json, progress, say, tell
from medviewer.domain.errors import InputError, RuntimeMissingError, UsageError
from medviewer.imaging.archive import is_archive
from medviewer.inference.card import Card
from medviewer.inference.importing.monai import Brought, is_bundle, read_bundle, unpack_bundle
from medviewer.inference.importing.onnx_file import import_onnx, new_folder
from medviewer.inference.importing.questions import questions, questions_document, read_answers
from medviewer.inference.importing.workshop import WEIGHTS, inspect

IMPORT_SCHEMA = "medviewer.models-import/1"
_ANSWERS_LIMIT_BYTES = 1 << 20


def import_model(arguments: argparse.Namespace) -> int:
    """Say what must be asked of a network, or import it with the answers."""
    if arguments.path.suffix.lower() in WEIGHTS:
        return _import_weights(arguments)
    with _brought(arguments.path) as source:
        facts = inspect(source.network)
        asked = questions(facts, source.hints)
        if arguments.questions:
            print_json(questions_document(asked, facts))
            return 0
        if arguments.out is None:
            raise UsageError("Name the model folder to make with --out DIR; --questions prints what will be asked.")
        answers = read_answers(asked, _given(arguments), facts)
        try:
            with new_folder(arguments.out) as folder:
                card = import_onnx(source.network, facts, answers, folder, more=source.card, progress=progress)
        finally:
            clear_progress()
    return _told(card, arguments)


def _import_weights(arguments: argparse.Namespace) -> int:
    """TorchXRayVision's weights: all that must be known of them is known."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("safetensors") is None:
        raise RuntimeMissingError(
            "Weights files are read with PyTorch, which is not installed; install it with: "
            "pip install 'medviewer[torch]'."
        )
    if arguments.questions:
        raise UsageError("Nothing is asked of TorchXRayVision weights; import them with --out DIR.")
    if arguments.out is None:
        raise UsageError("Name the model folder to make with --out DIR.")
    from medviewer.training.xrayvision import import_weights  # noqa: PLC0415 - loads PyTorch

    given = _given(arguments)
    if set(given) - {"id"}:
        raise UsageError("Only “id” can be set of TorchXRayVision weights; the rest is known.")
    try:
        with new_folder(arguments.out) as folder:
            name = str(given.get("id", "xrv-densenet121"))
            card = import_weights(arguments.path, folder, model_id=name, progress=progress)
    finally:
        clear_progress()
    return _told(card, arguments)


def _told(card: Card, arguments: argparse.Namespace) -> int:
    explain = card.document.get("explain", {})
    if "without_gradients" in explain:
        tell(f"  caution: {explain['without_gradients']['en']} Heat maps by: {', '.join(explain['methods'])}.")
    tell("  caution: nothing is known of how well it does; complete model.json before anybody relies on it.")
    if arguments.json:
        document = {"schema": IMPORT_SCHEMA, "folder": str(arguments.out), "id": card.id, "explain": explain}
        print_json(document)
    else:
        say(f"Imported {card.id} into {arguments.out}; install it with: medviewer models install {arguments.out}")
    return 0


@contextmanager
def _brought(path: Path) -> Iterator[Brought]:
    """The network of what was named: an ONNX file, or a MONAI bundle as a folder or an archive."""
    if path.is_dir():
        if not is_bundle(path):
            raise InputError(f"{path} is no MONAI bundle: it holds no configs/metadata.json.")
        yield read_bundle(path)
        return
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if not is_archive(head, path):
        yield Brought(path)
        return
    with tempfile.TemporaryDirectory(prefix="medviewer-") as folder:
        unpack_bundle(path, Path(folder), None)
        yield read_bundle(Path(folder))


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Answers of the file, and those of ``--set`` over them; a list is written with commas."""
    given: dict[str, Any] = {}
    if arguments.answers is not None:
        try:
            with arguments.answers.open("rb") as stream:
                given = json.loads(stream.read(_ANSWERS_LIMIT_BYTES))
        except OSError as error:
            raise InputError(f"{arguments.answers} cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{arguments.answers} is no JSON: {error}.") from error
        if not isinstance(given, dict):
            raise InputError(f"{arguments.answers} must be a JSON object of answers by question.")
        given = given.get("answers", given)  # as --questions prints it
    for text in arguments.set:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"“{text}” must be QUESTION=ANSWER.")
        given[name] = _value(name, value)
    return {name: value for name, value in given.items() if value is not None}


def _value(name: str, text: str) -> Any:
    if name in ("labels", "modality", "body_part", "view"):
        return [word.strip() for word in text.split(",") if word.strip()]
    if name in ("rows", "columns", "threshold"):
        try:
            return float(text)
        except ValueError as error:
            raise UsageError(f"“{name}” must be a number.") from error
    return text

"""``models``: which there are, whose they are, what their cards say, whether they still give their known answers."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medviewer.app.settings import home
from medviewer.cli import model_import, model_store
from medviewer.cli.models_parser import READ_ONLY
from medviewer.cli.terminal import print_json, say
from medviewer.domain.errors import InputError, ModelError, UsageError
from medviewer.inference.catalogue import Catalogue, Entry
from medviewer.inference.engine import Engine, Verification
from medviewer.inference.installing import origin_of
from medviewer.inference.signing import TrustFile
from medviewer.inference.trust import FILE_NAME as TRUST_FILE
from medviewer.inference.trust import TrustList
from medviewer.resources import models_dir

MODELS_SCHEMA = "medviewer.models/1"
VERIFY_SCHEMA = "medviewer.models-verify/1"
_NONE = "No models are installed."
_CHANGES: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "install": model_store.install,
    "import": model_import.import_model,
    "remove": model_store.remove,
    "rollback": model_store.rollback,
    "sign": model_store.sign,
    "trust": model_store.trust,
}


def models(arguments: argparse.Namespace) -> int:
    """List models, show their cards, verify them, or change which there are; 3 if one of them cannot be used."""
    if arguments.action not in READ_ONLY and arguments.models_folder is not None:
        raise UsageError(
            f"`models {arguments.action}` changes the installed models; --models goes with list, show and verify."
        )
    if arguments.action in _CHANGES:
        return _CHANGES[arguments.action](arguments)
    catalogue = open_catalogue(arguments.models_folder)
    entries = _wanted(catalogue, arguments.ids)
    if arguments.action in {"assess", "lighten"}:
        return _measure(arguments, entries)
    _check_of_assess(arguments)
    if arguments.action == "verify":
        return _verify(catalogue, entries, as_json=arguments.json)
    if arguments.action == "show" and not arguments.ids:
        raise UsageError("Name the model to show: medviewer models show ID; `medviewer models list` names them.")
    document: dict[str, Any] = {
        "schema": MODELS_SCHEMA,
        "models": [_model(entry, arguments.action == "show") for entry in entries],
    }
    if arguments.json:
        print_json(document)
    else:
        for model in document["models"]:
            for line in _lines(model):
                say(line)
        if not entries:
            say(_NONE)
    return 3 if any(entry.problem for entry in entries) else 0


def _measure(arguments: argparse.Namespace, entries: Sequence[Entry]) -> int:
    """What runs a model over images; listing models loads nothing of it."""
    if arguments.action == "assess":
        from medviewer.cli.assess import assess  # noqa: PLC0415

        return assess(arguments, entries)
    from medviewer.cli.lighten import lighten  # noqa: PLC0415

    return lighten(arguments, entries[0])


def _check_of_assess(arguments: argparse.Namespace) -> None:
    names = ("data", "images", "minutes", "random", "split")
    if any(getattr(arguments, name) is not None for name in names):
        raise UsageError(f"--{', --'.join(names)} go with `medviewer models assess ID` only.")


def open_catalogue(folder: Path | None) -> Catalogue:
    """Open the models in ``folder``; if None, the user's own and the bundled ones, as the window does.

    Raises:
        UsageError: the folder that was named does not exist.
        InputError: it may not be read, which is not the same as empty.
    """
    if folder is not None and not os.path.isdir(folder):
        raise UsageError(f"There is no folder of models {folder}; name an existing one with --models.")
    if folder is not None and not os.access(folder, os.R_OK | os.X_OK):
        raise InputError(f"You are not permitted to read the folder of models {folder}; ask its owner.")
    folders = [folder] if folder is not None else [home() / "models", models_dir()]
    return Catalogue(folders, TrustFile(home()), trust=TrustList(home() / TRUST_FILE))


def _wanted(catalogue: Catalogue, ids: list[str]) -> list[Entry]:
    known = [entry.id for entry in catalogue.entries]
    for model_id in ids:
        if model_id not in known:
            raise UsageError(f"There is no model “{model_id}”; the models here are: {', '.join(known) or 'none'}.")
    return [entry for entry in catalogue.entries if not ids or entry.id in ids]


def _model(entry: Entry, is_whole: bool) -> dict[str, Any]:
    card = entry.card
    known = {
        "id": entry.id,
        "usable": not entry.problem,
        "problem": entry.problem,
        "folder": str(entry.folder),
        "version": card.version if card else None,
        "signature": entry.signer.word,
        "signer": entry.signer.name,
        "key": entry.signer.key,
        "origin": _origin(entry),
        "title": card.title.en if card else None,
        "task": card.task if card else None,
        "sha256": card.sha256 if card else None,
        "labels": [{"label": x.name, "code": x.code, "threshold": x.threshold} for x in card.labels] if card else [],
        "methods": list(card.explain.methods) if card and card.explain else [],
        "validated_on": card.population.site.en if card else None,
        "regulatory": card.regulatory.en if card else None,
    }
    if is_whole:
        known["card"] = card.document if card else None
    return known


def _lines(model: dict[str, Any]) -> list[str]:
    if not model["usable"]:
        return [f"{model['id']}: cannot be used: {model['problem']}"]
    labels = ", ".join(label["label"] for label in model["labels"])
    title = f"{model['title']} ({labels})" if labels else model["title"]  # a score has no labels
    lines = [
        f"{model['id']} {model['version']}: {title}; {model['regulatory']}",
        f"  {_signature(model)}; {_whence(model['origin'])}",
    ]
    document = model.get("card")
    if document is not None:
        lines += [
            f"  intended use: {_english(document['intended_use'])}",
            f"  not for: {_english(document['not_for'])}",
            f"  validated on: {model['validated_on']}",
            f"  sha256: {model['sha256']}",
        ]
        if document["task"] == "segmentation":
            lines += [f"  {label['name']}: {_measured(label)}" for label in document["labels"]]
        for evidence in document["evidence"]:
            metrics = ", ".join(f"{name} {metric['value']:.3f}" for name, metric in evidence["metrics"].items())
            lines.append(f"  {_english(evidence['data'])}, n = {evidence['n']}: {metrics}")
    return lines


def _origin(entry: Entry) -> dict[str, Any]:
    came = origin_of(entry)
    kind = "bundled" if entry.folder.parent == models_dir() else "installed" if came.installed else "folder"
    return {"kind": kind, "source": came.source, "installed": came.installed}


def _signature(model: dict[str, Any]) -> str:
    if model["signer"]:
        return f"verified, signed by “{model['signer']}”"
    return f"unverified, signed by the unknown key {model['key'][:16]}" if model["key"] else "unverified, not signed"


def _whence(origin: dict[str, Any]) -> str:
    if origin["kind"] == "installed":
        return f"installed {origin['installed'][:10]} from “{origin['source']}”"
    return "came with MedViewer" if origin["kind"] == "bundled" else "put there by hand"


def _measured(label: Mapping[str, Any]) -> str:
    """How well a segmentation label's outlines fitted those of people."""
    return (_english(label["measured"]) if label.get("measured") else "") or "nobody measured how well its outlines fit"


def _english(text: Any) -> str:
    return str(text["en"] if isinstance(text, dict) else text)


def _verify(catalogue: Catalogue, entries: list[Entry], *, as_json: bool) -> int:
    """Run the reference inputs of each model on every provider here."""
    results: list[Verification] = []
    problems: dict[str, str] = {}
    with Engine(catalogue) as engine:
        for entry in entries:
            try:
                results += engine.verify(entry.id)
            except ModelError as error:
                problems[entry.id] = str(error)
    if as_json:
        print_json(
            {
                "schema": VERIFY_SCHEMA,
                "results": [_result(result) for result in results],
                "problems": [{"id": model_id, "reason": reason} for model_id, reason in problems.items()],
            }
        )
    else:
        for result in results:
            outcome = "the known answers" if result.passed else result.detail
            say(f"{result.model_id} on {result.provider}: {outcome} (largest error {result.largest_error:.2g})")
        for reason in problems.values():
            say(reason)
        if not entries:
            say(_NONE)
    return 0 if all(result.passed for result in results) and not problems else 3


def _result(result: Verification) -> dict[str, Any]:
    return {
        "id": result.model_id,
        "runtime": result.runtime,
        "provider": result.provider,
        "passed": result.passed,
        "n": result.n,
        "largest_error": result.largest_error if math.isfinite(result.largest_error) else None,
        "tolerance": result.tolerance,
        "elapsed_s": result.elapsed_s,
        "detail": result.detail,
    }

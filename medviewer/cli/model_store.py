"""``models install | remove | rollback | sign | trust``: what changes which models there are and whom they are from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from medviewer.app.settings import home
from medviewer.cli.terminal import clear_progress, print_json, progress, say, tell
from medviewer.domain.errors import InputError, ModelError, UsageError
from medviewer.inference.catalogue import Entry
from medviewer.inference.installing import ModelStore
from medviewer.inference.signing import TrustedKey, TrustFile, sign_model
from medviewer.resources import models_dir

INSTALL_SCHEMA = "medviewer.models-install/1"
TRUST_SCHEMA = "medviewer.models-trust/1"
_KEY_LIMIT_BYTES = 1 << 16


def open_store() -> ModelStore:
    """The user's models, beside those that came with the program."""
    return ModelStore(home(), models_dir())


def install(arguments: argparse.Namespace) -> int:
    """Try a model and put it into use; what it replaces is kept."""
    store = open_store()
    try:
        with store.examined(arguments.path, progress=progress) as candidate:
            clear_progress()
            old = candidate.replaces
            if candidate.is_same:
                return _told(candidate.replaces, "It is installed already; nothing was changed.", arguments.json)
            if candidate.objections and not arguments.force:
                back = "rollback" if old is not None and store.is_own(old) else "remove"
                raise ModelError(
                    f"The model {candidate.card.id} was not installed. {' '.join(candidate.objections)} "
                    f"Give --force to install it all the same; the present one is kept and comes back with {back}."
                )
            for objection in candidate.objections:
                tell(f"  caution: {objection}")
            entry = store.commit(candidate)
    finally:
        clear_progress()
    text = f"Installed {entry.id} {_version(entry)}, {entry.signer.word}."
    if old is not None and old.card is not None:
        # The ones that came with the program are never touched: what hides one of them is taken away.
        back = "rollback" if store.is_own(old) else "remove"
        text += f" It takes the place of {old.card.version}, which comes back with: medviewer models {back} {entry.id}."
    return _told(entry, text, arguments.json)


def remove(arguments: argparse.Namespace) -> int:
    """Remove one of the user's models."""
    open_store().remove(arguments.id)
    return _told(None, f"The model {arguments.id} was removed.", arguments.json)


def rollback(arguments: argparse.Namespace) -> int:
    """Take the version before back into use."""
    entry = open_store().rollback(arguments.id)
    return _told(entry, f"{entry.id} {_version(entry)} is in use again, {entry.signer.word}.", arguments.json)


def sign(arguments: argparse.Namespace) -> int:
    """Sign a model folder's card with a private key."""
    found = sign_model(arguments.path, _key(arguments.key))
    if arguments.json:
        print_json({"schema": TRUST_SCHEMA, "signed": str(arguments.path), "key": found})
    else:
        say(f"Signed {arguments.path} with the key {found}.")
    return 0


def trust(arguments: argparse.Namespace) -> int:
    """List the trusted keys, add one, or remove one."""
    keys = TrustFile(home())
    if arguments.what == "add":
        if not arguments.name or arguments.key is None:
            raise UsageError("Name the publisher and its public key: medviewer models trust add NAME PUBLIC.pem.")
        added = keys.add(arguments.name, _key(arguments.key))
        tell(f"Trusted from now on: “{added.name}”. Compare its fingerprint with the publisher: {added.fingerprint}")
    elif arguments.what == "remove":
        if not arguments.name:
            raise UsageError("Name the key to remove: medviewer models trust remove NAME.")
        gone = keys.remove(arguments.name)
        tell(f"No longer trusted: “{gone.name}”. Its models are unverified from now on.")
    listed = keys.listed()
    if arguments.json:
        print_json({"schema": TRUST_SCHEMA, "keys": [_key_document(key) for key in listed]})
    else:
        for key in listed:
            say(f"{key.name}: {key.fingerprint}, added {key.added}")
        if not listed:
            say("No key is trusted: every model counts as unverified.")
    return 0


def _key(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(_KEY_LIMIT_BYTES + 1)
    except OSError as error:
        raise InputError(f"The key {path} cannot be read: {error.strerror}.") from error
    if len(content) > _KEY_LIMIT_BYTES:
        raise InputError(f"The file {path} is too large to be a key.")
    return content


def _key_document(key: TrustedKey) -> dict[str, Any]:
    return {"name": key.name, "fingerprint": key.fingerprint, "added": key.added}


def _told(entry: Entry | None, text: str, as_json: bool) -> int:
    if as_json:
        known = None
        if entry is not None:
            known = {"id": entry.id, "version": _version(entry), "signature": entry.signer.word}
        print_json({"schema": INSTALL_SCHEMA, "text": text, "model": known})
    else:
        say(text)
    return 0


def _version(entry: Entry) -> str:
    return entry.card.version if entry.card else ""

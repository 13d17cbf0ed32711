"""``audit verify``: proof that nobody changed what was recorded."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from medviewer.app.settings import HOME_VARIABLE, home
from medviewer.cli.terminal import print_json, say
from medviewer.domain.errors import InputError, RecordError, StorageError
from medviewer.records.audit import START, AuditReport, AuditTrail
from medviewer.records.store import RecordStore

AUDIT_SCHEMA = "medviewer.audit/1"


def audit(arguments: argparse.Namespace) -> int:
    """Check the audit trail of this user's record store; 3 if it is not whole."""
    report = _verify()
    if arguments.json:
        print_json(
            {
                "schema": AUDIT_SCHEMA,
                "ok": report.ok,
                "count": report.count,
                "first_bad": report.first_bad,
                "head": report.head,
                "sentence": report.sentence,
            }
        )
    else:
        say(f"{report.sentence} {report.count} entries; the last one's digest is {report.head}.")
    return 0 if report.ok else 3


def _verify() -> AuditReport:
    store_file, anchor_folder = home() / "records.sqlite", home() / "audit"
    if not _is_there(store_file) and not _is_there(anchor_folder):
        # Checking must not make a store; without either there is nothing that could have been cut off.
        _check_that_one_could_be_written(home())
        return AuditReport(True, None, START, 0, "The audit trail is empty.")
    try:
        with RecordStore(store_file) as store:
            return AuditTrail(store.database, anchor_folder).verify()
    except (RecordError, StorageError) as error:  # a trail that cannot be read is not whole
        raise InputError(f"The audit trail in {home()} cannot be read. {error}") from error


def _check_that_one_could_be_written(folder: Path) -> None:
    """Where nothing can be recorded, "the trail is empty" would be no proof that nothing was done.

    Raises:
        InputError: the folder, or the one that it would be made in, may not be written.
    """
    place = next((place for place in (folder, *folder.absolute().parents) if _is_there(place)), folder)
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        raise InputError(
            f"There is no audit trail in {folder}, and none can be written there, so nothing is known of what was "
            f"done; set {HOME_VARIABLE} to the folder that holds the records."
        )


def _is_there(path: Path) -> bool:
    """Whether it exists; what may not be looked at is no proof that nothing is there.

    Raises:
        InputError: the system does not say.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(
            f"The audit trail in {home()} cannot be read ({error.strerror}); check that this folder may be read, or "
            f"set {HOME_VARIABLE} to the one that holds the records."
        ) from error
    return True

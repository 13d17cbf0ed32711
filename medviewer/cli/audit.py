"""``audit verify``: proof that nobody changed what was recorded."""

from __future__ import annotations

import argparse
from pathlib import Path

from medviewer.app.settings import home
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
        return AuditReport(True, None, START, 0, "The audit trail is empty.")
    try:
        with RecordStore(store_file) as store:
            return AuditTrail(store.database, anchor_folder).verify()
    except (RecordError, StorageError) as error:  # a trail that cannot be read is not whole
        raise InputError(str(error)) from error


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
            f"The audit trail cannot be read ({error.strerror}); check that the folder of the records may be read."
        ) from error
    return True

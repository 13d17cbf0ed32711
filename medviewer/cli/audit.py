"""``audit verify``: proof that nobody changed what was recorded."""

from __future__ import annotations

import argparse

from medviewer.app.settings import home
from medviewer.cli.terminal import print_json, say
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
    if not store_file.exists() and not anchor_folder.exists():
        # Checking must not make a store; without either there is nothing that could have been cut off.
        return AuditReport(True, None, START, 0, "The audit trail is empty.")
    with RecordStore(store_file) as store:
        return AuditTrail(store.database, anchor_folder).verify()

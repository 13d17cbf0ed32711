"""What a command leaves in the audit trail."""

from __future__ import annotations

from medviewer.app.patient import RecordRoom
from medviewer.app.settings import HOME_VARIABLE, home
from medviewer.cli.terminal import tell
from medviewer.domain.errors import MedViewerError, StorageError


def keep_in_trail(room: RecordRoom, what: str, subject: str, detail: str) -> bool:
    """Record who asked which model about what; a trail that cannot be written costs nobody the answer.

    ``subject`` is the image's SOP Instance UID, or nothing; ``detail`` names the model, and of an explanation the rest.
    """
    try:
        room.note(what, subject, detail)
    except StorageError:
        tell(
            f"The audit trail was not written in {home()}: make sure that this folder can be written and its disk has "
            f"space, or set {HOME_VARIABLE} to a folder that you may write to."
        )
        return False
    except MedViewerError as error:
        tell(f"The audit trail was not written in {home()}. {error}")
        return False
    return True

"""Which model files this machine's own training wrote: their digests, in a file of the user's data folder.

A digest on the list is what lets a PyTorch file be opened at all. Nothing but training adds to it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from medviewer.domain.errors import StorageError
from medviewer.domain.frozen import dataclass
from medviewer.whole_file import write_whole

FILE_NAME = "trained-here.json"
_SHA256 = re.compile("[0-9a-f]{64}")
_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TrustList:
    """The list in one file; a file that is not there, or is none of ours, trusts nothing."""

    path: Path

    def digests(self) -> frozenset[str]:
        """The SHA-256 of every file that is trusted."""
        try:
            if self.path.is_symlink() or self.path.stat().st_size > _LIMIT_BYTES:
                return frozenset()
            found = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return frozenset()
        listed = found.get("sha256") if isinstance(found, dict) else None
        entries = listed if isinstance(listed, list) else []
        return frozenset(one for one in entries if isinstance(one, str) and _SHA256.fullmatch(one))

    def add(self, sha256: str) -> None:
        """Trust a file that has just been trained here.

        Raises:
            StorageError: the list cannot be written.
            ValueError: not a SHA-256.
        """
        if not _SHA256.fullmatch(sha256):
            raise ValueError(sha256)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"The list of trained models was not saved: {error.strerror}.") from error
        document = {"sha256": sorted(self.digests() | {sha256})}
        write_whole(self.path, json.dumps(document, indent=1).encode() + b"\n")

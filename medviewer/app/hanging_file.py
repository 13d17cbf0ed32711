"""The reader's hanging protocols: one JSON file beside the settings; a file that cannot be used is kept aside."""

from __future__ import annotations

import json
from pathlib import Path

from medviewer.app.hanging_protocol import BUILT_IN, Protocols, as_data, checked
from medviewer.domain.errors import InputError, StorageError
from medviewer.domain.frozen import dataclass
from medviewer.whole_file import storage_error, write_whole

VERSION = 1
_SIZE_LIMIT_BYTES = 1 << 20
_MOST_ASIDE = 1000


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is used, and one sentence on what could not be."""

    protocols: Protocols
    problem: str = ""


class HangingFile:
    """Reads and writes the protocols in one folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hanging_protocols.json"

    def load(self) -> Loaded:
        """The reader's protocols; those of the program where there is no file, or none that can be used."""
        try:
            return Loaded(self._read())
        except FileNotFoundError:
            return Loaded(BUILT_IN)
        except InputError as error:
            try:
                return Loaded(BUILT_IN, f"{error} The program's own are used; the file is kept as {self._set_aside()}.")
            except StorageError:  # said again before anything is written over it
                return Loaded(BUILT_IN, f"{error} The program's own are used.")

    def save(self, protocols: Protocols) -> None:
        """Write the protocols: the old file stays whole until the new one is.

        Raises:
            StorageError: the folder cannot be written.
        """
        try:
            self._read()
        except FileNotFoundError:
            pass
        except InputError:
            self._set_aside()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("The hanging protocols", error) from error
        data = {"version": VERSION, "protocols": as_data(protocols)}
        write_whole(self.path, json.dumps(data, ensure_ascii=False, indent=1).encode())

    def _read(self) -> Protocols:
        try:
            if self.path.stat().st_size > _SIZE_LIMIT_BYTES:
                raise InputError("The file of the hanging protocols is too large.")
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise InputError("The file of the hanging protocols cannot be read.") from error
        if not isinstance(data, dict) or data.get("version") != VERSION:
            raise InputError("The file of the hanging protocols is not of this version.")
        return checked(data.get("protocols"))

    def _set_aside(self) -> str:
        """Move the file to a name of its own, so that nothing written later replaces it; gives that name.

        It may be a newer version's, or one slip of the pen away from being right.
        """
        for number in range(1, _MOST_ASIDE):
            aside = self.path.with_name(f"hanging_protocols.{number}.kept")
            if not aside.exists():
                try:
                    self.path.rename(aside)
                except OSError as error:
                    raise storage_error("The hanging protocols", error) from error
                return aside.name
        raise StorageError("Too many files of hanging protocols were kept; remove some from the settings folder.")

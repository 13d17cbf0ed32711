"""A model folder out of a ZIP archive: bounded, by our own names, and nothing that its card does not name."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from medviewer.domain.errors import InputError, TooLargeError, UnsafeModelError
from medviewer.domain.progress import StopToken
from medviewer.imaging.archive import Archive, Budget, Member
from medviewer.inference.card import read_card
from medviewer.inference.card_json import CARD_LIMIT_BYTES, CARD_NAME
from medviewer.inference.signing import SIGNATURE_NAME

MAX_MEMBERS = 64
MAX_BYTES = 4 << 30
_BESIDE = (SIGNATURE_NAME, "README.md", "LICENSE")
_BESIDE_LIMIT_BYTES = 1 << 20


def unpack_model(path: Path, folder: Path, stop: StopToken | None) -> None:
    """Unpack the one model folder that an archive holds, at its top or in a folder of it.

    Args:
        path: the archive.
        folder: an empty folder of our own.
        stop: to cancel.

    Raises:
        InputError: the archive is damaged, too large, or holds no model or several.
        UnsafeModelError: a member leads out of the archive, is a link or encrypted, or two have one name.
        CardError: the card is not valid.
        Stopped: ``stop`` was used.
    """
    archive = Archive(path, path, Budget(path.stat().st_size, shutil.disk_usage(folder).free))
    try:
        members = _checked(archive.members, path)
        cards = [name for name in members if name.name == CARD_NAME]
        if len(cards) != 1:
            what = "no model" if not cards else "more than one model"
            raise InputError(f"The ZIP archive holds {what}: it must hold one folder with {CARD_NAME} in it.")
        home = cards[0].parent

        def unpack(name: str, limit: int) -> None:
            member = members.get(home / name)
            if member is None:
                return
            if member.info.file_size > limit:
                raise TooLargeError(f"“{name}” in the ZIP archive claims {member.info.file_size} bytes; it is refused.")
            archive.unpack(member, folder / name, stop)

        unpack(CARD_NAME, CARD_LIMIT_BYTES)
        for file in read_card(folder).files:
            unpack(file.path, file.size)
        for name in _BESIDE:
            unpack(name, _BESIDE_LIMIT_BYTES)
    finally:
        archive.close()


def _checked(members: tuple[Member, ...], path: Path) -> dict[PurePosixPath, Member]:
    """The members by their names, none of which may be other than plain."""
    if len(members) > MAX_MEMBERS or sum(member.info.file_size for member in members) > MAX_BYTES:
        raise TooLargeError(
            f"The ZIP archive holds more than a model may: {MAX_MEMBERS} files, {MAX_BYTES >> 30} GB in all."
        )
    found: dict[PurePosixPath, Member] = {}
    for member in members:
        name = PurePosixPath(member.info.filename.replace("\\", "/"))
        if name.is_absolute() or ":" in name.parts[0]:
            raise UnsafeModelError("A name in the ZIP archive leads out of it; the archive is refused.")
        if member.refusal is not None:
            raise UnsafeModelError(f"“{member.path.relative_to(path)}” in the archive is refused. {member.refusal}")
        if name in found:
            raise UnsafeModelError(f"The ZIP archive holds “{name}” twice; the archive is refused.")
        found[name] = member
    return found

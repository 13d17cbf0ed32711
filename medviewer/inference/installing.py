"""Models in the user's data folder: brought in whole, replaced only knowingly, and given back.

``models/<id>/`` is the model in use and ``models/.previous/<id>/`` the one before it,
whole. A new model is put together beside them, tried, and moved into place; whatever
ends the program in between leaves the old one or the new one, never a mixture
(:meth:`ModelStore.recover`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medviewer.domain.errors import CardError, InputError, ModelError, UnsafeModelError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.imaging.archive import is_archive
from medviewer.inference.acceptance import TIME_BUDGET_S, accept
from medviewer.inference.card import Card, read_card
from medviewer.inference.card_json import CARD_NAME
from medviewer.inference.catalogue import Catalogue, Entry
from medviewer.inference.loading import read_file
from medviewer.inference.model_archive import unpack_model
from medviewer.inference.signing import SIGNATURE_NAME, Signer, TrustFile, signer_of
from medviewer.inference.trust import FILE_NAME as TRAINED_HERE
from medviewer.inference.trust import TrustList
from medviewer.whole_file import storage_error

ORIGIN_NAME = "origin.json"
PREVIOUS = ".previous"
_STAGE = ".incoming-"
_TRIED = "tried"  # marks a stage whose model was only being tried: it is not wanted after a crash
_PAGES = ("README.md", "LICENSE")  # what people read beside the card; nothing of it is ever run
_PAGE_LIMIT_BYTES = 1 << 20
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(.*)")


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model that was tried and may be installed.

    Attributes:
        replaces: the model of this id that is in use now, or None.
        objections: why it should not replace that one without the user's word; one sentence each.
        is_same: it is the one that is in use already.
    """

    folder: Path
    card: Card
    signer: Signer
    replaces: Entry | None
    objections: tuple[str, ...] = ()
    is_same: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an installed model came from: a file or folder's name, and when (ISO 8601, UTC)."""

    source: str = ""
    installed: str = ""


class ModelStore:
    """The user's own models.

    Args:
        home: the data folder; models lie in its ``models``.
        bundled: the folder of the models that came with the program, which are never touched.
    """

    def __init__(self, home: Path, bundled: Path | None = None) -> None:
        self.folder = home / "models"
        self.trusted = TrustFile(home)
        self._bundled = bundled

    def catalogue(self) -> Catalogue:
        """The models in use: the user's own, then those that came with the program."""
        folders = [self.folder, *([self._bundled] if self._bundled else [])]
        return Catalogue(folders, self.trusted, trust=TrustList(self.folder.parent / TRAINED_HERE))

    def is_own(self, entry: Entry) -> bool:
        """Whether a model was installed by the user, so that it can be removed."""
        return entry.folder.parent == self.folder

    def has_previous(self, model_id: str) -> bool:
        """Whether the version before is kept."""
        return _is_id(model_id) and (self.folder / PREVIOUS / model_id / CARD_NAME).is_file()

    @contextlib.contextmanager
    def examined(
        self,
        source: Path,
        *,
        called: str = "",
        time_budget_s: float = TIME_BUDGET_S,
        stop: StopToken | None = None,
        progress: Progress = no_progress,
    ) -> Iterator[Candidate]:
        """Copy a model in beside the others, try it, and give what may be installed; gone when the block ends.

        Args:
            source: a model folder, or a ZIP archive of one.
            called: the name of what it was made from, where the folder's own tells nothing; default: that.
            time_budget_s: how long one run of it may take.
            stop: to cancel.
            progress: told of each step.

        Raises:
            ModelError, InputError, EngineError: it is refused; the message says why.
            StorageError: there is no room for it.
            Stopped: the user cancelled.
        """
        self.recover()
        with self._stage() as stage:
            progress(0, 3, "Reading the model")
            folder, signer = self._bring_in(source, called or source.name, stage, stop)
            card = read_card(folder)
            self._in_use(card.id)  # before the time that trying takes
            accept(card, time_budget_s=time_budget_s, stop=stop, progress=progress)
            yield self._weighed(Candidate(folder, card, signer, None))

    def commit(self, candidate: Candidate) -> Entry:
        """Put an examined model into use; the one before it is kept.

        Raises:
            StorageError: the folder cannot be written; the old model stays in use.
            UsageError: a copy of the one in use lies beside it, and would have the id of the new one.
            ModelError: several own models have its id.
        """
        own, kept = self.folder / candidate.card.id, self.folder / PREVIOUS / candidate.card.id
        present = self._in_use(candidate.card.id)
        # One that was put there by hand may lie under another name; left there, it would have the id of the new one.
        old = present.folder if present is not None and self.is_own(present) else own
        same = (one for one in self.catalogue().entries if one.id == candidate.card.id and self.is_own(one))
        if copies := [one.folder.name for one in same if one.folder != old]:
            raise UsageError(f"{old.name} and {copies[0]} hold models of one id; remove one of the two folders.")
        try:
            with self._away(kept):
                if old.exists():
                    old.rename(kept)
                candidate.folder.rename(own)
            _sync_folder(self.folder)
        except OSError as error:
            self.recover()
            raise storage_error(f"The model {candidate.card.id}", error) from error
        return self._entry(candidate.card.id)

    def remove(self, model_id: str) -> None:
        """Remove one of the user's models, with the version before it that is kept.

        Raises:
            UsageError: there is no such model, or it came with the program.
            ModelError: several own models have this id.
            StorageError: it cannot be removed.
        """
        own = self._own(model_id)
        try:
            with self._away(self.folder / PREVIOUS / own.name), self._away(own):
                _sync_folder(self.folder)
        except OSError as error:
            raise storage_error(f"The removal of the model {model_id}", error) from error

    def rollback(self, model_id: str) -> Entry:
        """Take the version before back into use; the present one is kept in its place.

        Raises:
            UsageError: no version before is kept.
            ModelError: several own models have this id.
            StorageError: the folder cannot be written; the present one stays in use.
        """
        own = self._own(model_id)
        kept = self.folder / PREVIOUS / own.name
        if not self.has_previous(own.name):
            raise UsageError(f"No version before this one is kept of the model {model_id}.")
        try:
            with self._away(kept) as aside:
                own.rename(kept)
                if aside is not None:
                    aside.rename(own)
            _sync_folder(self.folder)
        except OSError as error:
            self.recover()
            raise storage_error(f"The model {model_id}", error) from error
        return self._entry(own.name)

    def recover(self) -> None:
        """Put right what an interrupted change left: what was in use is in use again, what was kept is kept.

        Changes that another program makes at this moment are left alone.
        """
        if not self.folder.is_dir():
            return
        previous = self.folder / PREVIOUS
        stages = [stage for stage in sorted(self.folder.glob(f"{_STAGE}*")) if not _is_at_work(stage)]
        for kept in sorted(previous.iterdir()) if previous.is_dir() else []:
            if not (self.folder / kept.name).exists():
                kept.rename(self.folder / kept.name)
        for stage in stages:
            for aside in sorted(path for path in stage.iterdir() if (path / CARD_NAME).is_file()):
                is_kept = not (stage / _TRIED).exists() and (self.folder / aside.name).exists()
                if is_kept and not (previous / aside.name).exists():
                    aside.rename(previous / aside.name)
            shutil.rmtree(stage, ignore_errors=True)

    def _bring_in(self, source: Path, called: str, stage: Path, stop: StopToken | None) -> tuple[Path, Signer]:
        """Copy what the card names, and only that; each file as its digest says."""
        (stage / _TRIED).touch()
        if source.is_file():
            source_folder = stage / "unpacked"
            source_folder.mkdir()
            with source.open("rb") as stream:
                head = stream.read(4)
            if not is_archive(head, source):
                raise InputError(f"“{source.name}” is neither a model folder nor a ZIP archive of one.")
            unpack_model(source, source_folder, stop)
        elif source.is_dir():
            source_folder = source
        else:
            raise UsageError(f"There is no model folder or archive {source}.")
        card = read_card(source_folder)
        signer = signer_of(source_folder, card.document, self.trusted.listed_or_none())
        folder = stage / card.id
        try:
            folder.mkdir()
            for file in card.files:
                if stop is not None:
                    stop.raise_if_stopped()
                _write(folder / file.path, read_file(source_folder, file))
            for name in (CARD_NAME, SIGNATURE_NAME, *_PAGES):
                _copy_page(source_folder / name, folder / name)
            origin = {"source": called, "installed": datetime.now(UTC).isoformat(timespec="seconds")}
            _write(folder / ORIGIN_NAME, json.dumps(origin, ensure_ascii=False).encode())
        except OSError as error:
            raise storage_error(f"The model {card.id}", error) from error
        if read_card(folder).document != card.document:
            raise ModelError(f"The card of {card.id} changed while it was read; try again.")
        if signer_of(folder, card.document, self.trusted.listed_or_none()) != signer:
            raise ModelError(f"The signature of {card.id} changed while it was read; try again.")
        return folder, signer

    def _weighed(self, candidate: Candidate) -> Candidate:
        """Compare with the model of the same id that is in use."""
        new = candidate.card
        entry = self._in_use(new.id)
        if entry is None or entry.card is None:
            return replace(candidate, replaces=entry)
        old = entry.card
        is_same = old.document == new.document and entry.signer == candidate.signer
        objections = []
        if version_key(new.version) < version_key(old.version):
            objections.append(f"It is version {new.version} and {old.version} is installed: older.")
        elif old.document != new.document and version_key(new.version) == version_key(old.version):
            objections.append(f"It calls itself version {new.version} as the installed one, but it is not the same.")
        if entry.signer.is_verified and not candidate.signer.is_verified:
            objections.append(f"The installed one was signed by “{entry.signer.name}”, and this one is unverified.")
        elif entry.signer.is_verified and candidate.signer.name != entry.signer.name:
            other = candidate.signer.name
            objections.append(f"The installed one was signed by “{entry.signer.name}”, and this one by “{other}”.")
        return replace(candidate, replaces=entry, objections=tuple(objections), is_same=is_same)

    def _in_use(self, model_id: str) -> Entry | None:
        """The model of an id; None if there is none.

        Raises:
            ModelError: several have it, and a change of one of them may be of the wrong one.
        """
        entry = next((e for e in self.catalogue().entries if e.id == model_id), None)
        if entry is not None and entry.rivals:
            raise ModelError(entry.problem)
        return entry

    def _own(self, model_id: str) -> Path:
        self.recover()
        entry = self._in_use(model_id)
        if entry is None:
            raise UsageError(f"There is no model “{model_id}”.")
        if not self.is_own(entry):
            raise UsageError(f"The model {model_id} came with the program; it cannot be removed or rolled back.")
        return entry.folder

    def _entry(self, model_id: str) -> Entry:
        return next(entry for entry in self.catalogue().entries if entry.id == model_id)

    @contextlib.contextmanager
    def _stage(self) -> Iterator[Path]:
        """A folder beside the models, on the same disk, that vanishes with what is still in it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / PREVIOUS).mkdir(exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=f"{_STAGE}{os.getpid()}-", dir=self.folder))
        except OSError as error:
            raise storage_error("The model", error) from error
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    @contextlib.contextmanager
    def _away(self, path: Path) -> Iterator[Path | None]:
        """Take a folder out of the way, for good if the block ends well; else it comes back.

        Gives where it lies meanwhile; None if it is not there.
        """
        with self._stage() as stage:
            aside = path.rename(stage / path.name) if path.exists() else None
            try:
                yield aside
            except BaseException:
                if aside is not None and aside.exists():
                    if path.exists():  # a rename of the block took its place: back with that one first
                        path.rename(self.folder / path.name)
                    aside.rename(path)
                raise


def _is_at_work(stage: Path) -> bool:
    """Whether the program that made a stage still runs, this one included."""
    import psutil  # noqa: PLC0415 - only where a stage was left behind

    pid = stage.name.removeprefix(_STAGE).split("-", maxsplit=1)[0]
    return pid.isdigit() and psutil.pid_exists(int(pid))


def origin_of(entry: Entry) -> Origin:
    """Where an installed model came from; empty for one that came with the program."""
    try:
        raw = (entry.folder / ORIGIN_NAME).read_bytes()[:_PAGE_LIMIT_BYTES]
        document: Any = json.loads(raw)
        return Origin(str(document["source"])[:200], str(document["installed"])[:40])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Origin()


def version_key(version: str) -> tuple[int, int, int, bool, str]:
    """What orders versions as Semantic Versioning 2.0.0 does: 1.0.0-rc1 before 1.0.0; build metadata counts not."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise CardError(f"“{version}” is no version.")
    rest = found[4].split("+", maxsplit=1)[0]
    return int(found[1]), int(found[2]), int(found[3]), not rest.startswith("-"), rest


def _is_id(model_id: str) -> bool:
    return re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", model_id) is not None


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _copy_page(source: Path, target: Path) -> None:
    """Copy a small plain file, if it is there; a link is refused like any other."""
    if source.is_symlink():
        raise UnsafeModelError(f"“{source.name}” is refused: it is a link; a model's files must be in its folder.")
    if not source.is_file():
        return
    with source.open("rb") as stream:
        content = stream.read(_PAGE_LIMIT_BYTES + 1)
    if len(content) > _PAGE_LIMIT_BYTES:
        raise UnsafeModelError(f"“{source.name}” is refused: it is larger than {_PAGE_LIMIT_BYTES >> 20} MB.")
    _write(target, content)


def _sync_folder(folder: Path) -> None:
    """Have the system put renames on the disk (POSIX)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

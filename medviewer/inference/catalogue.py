"""Which models there are, and what is wrong with those that cannot be used."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from medviewer.domain.answer import Provenance
from medviewer.domain.errors import ModelError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import Card, read_card
from medviewer.inference.card_json import CARD_NAME
from medviewer.inference.loading import check_file
from medviewer.inference.runtimes import rule, torch
from medviewer.inference.signing import UNSIGNED, Signer, TrustedKey, TrustFile, signer_of
from medviewer.inference.trust import TrustList
from medviewer.inference.variants import SEPARATOR, is_variant, variants_of

_log = logging.getLogger(__name__)

_THREADS = 4  # that hash

Found = list[list[Callable[[], "Entry"]]]
"""What lies in each folder; to call one waits until its files are hashed."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One model folder. ``problem`` is empty if it can be used, else what says why not.

    Attributes:
        rivals: the folders of other models beside it that have its id too; none of them can be used.
    """

    id: str
    folder: Path
    card: Card | None
    problem: str = ""
    signer: Signer = UNSIGNED
    rivals: tuple[Path, ...] = ()


class Catalogue:
    """The models in some folders, each a sub-folder with a card.

    A bad card or a changed file makes an entry with its reason, never a failure:
    one broken download must not take the other models away. Every file is
    hashed here, so a list of models is also a list of intact models; the engine
    checks again when it opens them. Nothing is read before somebody asks, or has it begun.

    Args:
        folders: where to look; a folder that does not exist holds no models. A model of an
            earlier folder stands in for one of the same id in a later one: what the user
            installed comes before what came with the program. Of different models that have one
            id in one folder none can be used: which one is meant would be a guess.
        trusted: whose signatures make a model verified; nobody's, if None.
        trust: the list of what this machine's own training wrote; None trusts nothing.
    """

    def __init__(
        self, folders: Sequence[Path], trusted: TrustFile | None = None, *, trust: TrustList | None = None
    ) -> None:
        self.folders = tuple(Path(folder) for folder in folders)
        self.trusted = trusted
        self._trust = trust
        self._lock = threading.Lock()
        self._begun: Found | None = None
        self._pool: Executor | None = None  # that hashes for the first list
        self._hashing: list[Future[None]] = []
        self._list(())
        self._is_read = False

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All model folders, those that cannot be used among them."""
        self.finish()
        return self._entries

    @property
    def is_hashed(self) -> bool:
        """Whether who asks for models now does not wait for their files."""
        return self._is_read or (self._begun is not None and all(one.done() for one in self._hashing))

    def _list(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)
        self._by_id = {entry.id: entry for entry in reversed(entries)}  # the first of an id counts
        self._begun, self._is_read = None, True

    def begin(self) -> None:
        """Read the cards, and have threads hash the files meanwhile: who then asks for models waits for less."""
        with self._lock:
            if not self._is_read and self._begun is None:
                self._begun = self._look()

    def finish(self) -> None:
        """Wait for the first list, whichever thread asks first."""
        with self._lock:
            if self._is_read:
                return
            begun, self._begun = self._begun or self._look(), None  # what fails now may succeed when asked again
            self._list(_merged(begun))

    def close(self) -> None:
        """Hash no more files; the one that is being read is read to its end."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _entry(self, model_id: str) -> Entry | None:
        self.finish()
        return self._by_id.get(model_id)

    def refresh(self) -> frozenset[str]:
        """Look again: models may have been added, removed or repaired.

        Returns:
            The ids of those that could be used before and are others now, or are not there.
        """
        before = {entry.id: entry.card for entry in self.entries if entry.card is not None}
        entries = _merged(self._look())
        self._list(entries)
        now = {entry.id: entry.card.document_sha256 for entry in entries if entry.card is not None}
        return frozenset(name for name, card in before.items() if now.get(name) != card.document_sha256)

    def _look(self) -> Found:
        """Read the cards here, and have their files hashed by threads, on which nothing is imported."""
        keys = self.trusted.listed_or_none() if self.trusted else ()
        pool = ThreadPoolExecutor(_THREADS, "medviewer-hash")
        self._pool, self._hashing = pool, []
        try:
            return [
                [self._read_entry(pool, keys, path) for path in self._folders_in(folder)] for folder in self.folders
            ]
        finally:
            pool.shutdown(wait=False)

    def card(self, model_id: str) -> Card:
        """The card of a model.

        Raises:
            UsageError: there is no such model; the message names those there are.
            ModelError: there is, but it cannot be used; the message says why.
        """
        entry = self._entry(model_id)
        if entry is None and is_variant(model_id):  # those of a model that cannot be used are not listed
            full = self._entry(model_id.partition(SEPARATOR)[0])
            entry = full if full is not None and full.card is None else None
        if entry is None:
            known = ", ".join(dict.fromkeys(entry.id for entry in self.entries)) or "none"
            raise UsageError(f"There is no model “{model_id}”; the models here are: {known}.")
        if entry.card is None:
            cure = "" if entry.rivals else " Put its whole folder there again, or choose another model."
            raise ModelError(f"The model {model_id} cannot be used. {entry.problem}{cure}")
        return entry.card

    def check_unchanged(self, card: Card) -> None:
        """See that a model is still the one of this card.

        A model may be replaced while it is asked: runs made later are of the new network, and its numbers must not
        be read by the old card. Asked once all runs are done, this finds it wherever it happened.

        Raises:
            UsageError, ModelError: it is another one by now, or there is none.
        """
        if self.card(card.id).document_sha256 != card.document_sha256:
            raise ModelError(f"The model {card.id} was replaced while it was asked; run it again.")

    def has_given(self, said: Provenance) -> bool:
        """Whether what was said is of a model that is here now, and not of one that it has replaced.

        A card may be corrected while the network and the version stay, and then a label has another name.
        """
        entry = self._entry(said.model_id)
        return entry is not None and entry.card is not None and said.card_sha256 == entry.card.document_sha256

    def trusts(self, card: Card) -> bool:
        """Whether this machine's own training wrote the model's network."""
        return self._trust is not None and card.sha256 in self._trust.digests()

    def _folders_in(self, folder: Path) -> list[Path]:
        return _model_folders(folder)

    def _read_entry(self, pool: Executor, publishers: Sequence[TrustedKey], folder: Path) -> Callable[[], Entry]:
        try:
            card = read_card(folder)
        except ModelError as error:
            bad = Entry(folder.name, folder, None, str(error))
            return lambda: bad
        try:
            problem, signer = self._runtime_problem(card), signer_of(folder, card.document, publishers)
        except ModelError as error:
            problem, signer = str(error), UNSIGNED
        files = card.files if not problem else ()
        hashed = [pool.submit(check_file, folder, file, is_trusted=card.runtime == "torch") for file in files]
        self._hashing += hashed

        def entry() -> Entry:
            why = problem
            try:
                for one in hashed:
                    one.result()
            except ModelError as error:
                why = str(error)
            except OSError as error:
                why = f"One of its files cannot be read: {error.strerror or type(error).__name__}."
            if why:
                _log.info("the model %s cannot be used: %s", card.id, why)
                return Entry(card.id, folder, None, why)
            return Entry(card.id, folder, replace(card, signed_by=signer.name), "", signer)

        return entry

    def _runtime_problem(self, card: Card) -> str:
        """Why what the card's network runs on cannot run it here; empty if it can."""
        if card.runtime == "rule":
            return rule.problem_of(card)
        if card.runtime == "torch" and not self.trusts(card):
            return (
                "It is a PyTorch file, which can run any code when it is opened, and this machine's own training did "
                "not write it; ask for the model as ONNX."
            )
        if card.runtime == "torch" and not torch.is_available():
            return f"{torch.TITLE} is not installed; install it with: {torch.REQUIRES}."
        return ""


class OneFolder(Catalogue):
    """The model of one folder, whatever lies beside it: another one there may have its id.

    Args:
        folder: of the model.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__([folder])

    def _folders_in(self, folder: Path) -> list[Path]:
        return [folder]


def _merged(found: Found) -> list[Entry]:
    """All models of all folders; those of an earlier folder come before those of a later one."""
    entries: list[Entry] = []
    seen: set[str] = set()
    for in_folder in found:
        stood_in_for = frozenset(entry.id for entry in entries if entry.card is not None)
        read = [one() for one in in_folder]
        for candidate in _with_rivals([one for one in read if one.id not in stood_in_for]):
            entry = _second_of(candidate) if candidate.id in seen and not candidate.rivals else candidate
            seen.add(entry.id)
            entries.append(entry)
            if entry.card is not None:  # a copy of a network that cannot be trusted is not listed at all
                entries += [Entry(name, entry.folder, card, why) for name, card, why in variants_of(entry.card)]
    return entries


def _with_rivals(in_folder: Sequence[Entry]) -> list[Entry]:
    """The models of one folder; those that share an id without being the same model name each other."""
    of_id: dict[str, list[Entry]] = defaultdict(list)
    for entry in in_folder:
        of_id[entry.id].append(entry)
    doubtful = {name for name, same in of_id.items() if len(set(map(_content_of, same))) > 1}
    return [_rival(entry, of_id[entry.id]) if entry.id in doubtful else entry for entry in in_folder]


def _content_of(entry: Entry) -> tuple[object, ...]:
    """What two folders have in common if it matters to nobody which of them is meant: a copy, or a link to one."""
    if entry.card is None:
        return (entry.folder,)
    return entry.card.document_sha256, entry.signer


def _rival(entry: Entry, same: Sequence[Entry]) -> Entry:
    folders = ", ".join(str(one.folder) for one in same)
    problem = (
        f"More than one model folder has the id {entry.id}, and nobody can tell which is meant: {folders}. "
        "Keep one of them there, and remove the others or move them elsewhere."
    )
    rivals = tuple(one.folder for one in same if one is not entry)
    return Entry(entry.id, entry.folder, None, problem, rivals=rivals)


def _second_of(entry: Entry) -> Entry:
    problem = f"Another model folder already has the id {entry.id}; remove one of the two."
    return Entry(entry.id, entry.folder, None, problem)


def _model_folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if _has_card(path))
    except OSError:
        return []


def _has_card(folder: Path) -> bool:
    """Whether it is a model's folder; one without a card, or that may not be entered, is listed with that reason."""
    try:
        card = folder / CARD_NAME
        return card.is_file() or (not card.exists() and any(folder.glob("*.onnx")))
    except PermissionError:
        return True

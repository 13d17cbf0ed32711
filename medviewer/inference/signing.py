"""Who published a model: a detached Ed25519 signature over its card, and the keys that this reader trusts.

The card names the digest of every file, so one signature over the card's bytes covers
the whole model. It lies beside the card and says which key made it; whether that key is
anybody's is for the reader to say (:class:`TrustFile`). Without a signature, or with
one of an unknown key, a model is *unverified*: it may be used, and the word stands on
all that comes of it. A signature that does not fit its card is no doubt but a fact:
the card was changed, and the model is refused.

Source: RFC 8032 (Ed25519). Any tool can check one: the message is ``model.json`` as it lies there.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medviewer.domain.errors import DigestError, InputError, ModelError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card_json import CARD_LIMIT_BYTES, CARD_NAME, read_document
from medviewer.whole_file import storage_error, write_whole

_log = logging.getLogger(__name__)

SIGNATURE_NAME = "model.json.sig"
SIGNATURE_SCHEMA = "medviewer.signature/1"
TRUST_NAME = "trusted-keys.json"
TRUST_SCHEMA = "medviewer.trusted-keys/1"
_FILE_LIMIT_BYTES = 1 << 16
_NAME_LIMIT = 100
_MOST_KEYS = 200


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A publisher's public key under the name that the reader gave it. ``added`` is ISO 8601, UTC."""

    name: str
    public_key: bytes  # 32 bytes
    added: str

    @property
    def fingerprint(self) -> str:
        """What publisher and reader can compare by telephone."""
        return fingerprint(self.public_key)


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a model. No ``key``: nobody. No ``name``: somebody whose key is not trusted."""

    name: str = ""
    key: str = ""  # the fingerprint

    @property
    def is_verified(self) -> bool:
        """Whether a key that the reader trusts has signed the card."""
        return bool(self.name)

    @property
    def word(self) -> str:
        """The word that stands on all that comes of the model."""
        return "verified" if self.is_verified else "unverified"


UNSIGNED = Signer()


def fingerprint(public_key: bytes) -> str:
    """The SHA-256 of a raw public key, in hexadecimal."""
    return hashlib.sha256(public_key).hexdigest()


def sign_model(folder: Path, private_key: bytes) -> str:
    """Sign a model folder's card; an earlier signature is replaced.

    Args:
        folder: the model folder.
        private_key: an Ed25519 private key in PEM (PKCS #8), as ``openssl genpkey -algorithm ed25519`` makes it.

    Returns:
        The fingerprint of the key.

    Raises:
        InputError: it is no such key.
        CardError: the folder has no card.
        StorageError: the folder cannot be written.
    """
    read_document(folder)
    key = _private_key(private_key)
    public = key.public_key().public_bytes_raw()
    document = {
        "schema": SIGNATURE_SCHEMA,
        "algorithm": "ed25519",
        "public_key": base64.b64encode(public).decode(),
        "signature": base64.b64encode(key.sign((folder / CARD_NAME).read_bytes())).decode(),
    }
    write_whole(folder / SIGNATURE_NAME, json.dumps(document, indent=1).encode() + b"\n")
    return fingerprint(public)


def is_signed(folder: Path) -> bool:
    """Whether a signature lies beside the card, of whatever key."""
    return (folder / SIGNATURE_NAME).exists()


def replace_card(folder: Path, content: bytes) -> bool:
    """Write another card into a model folder; a signature of the old card goes with it.

    It would not fit the new card, and a card beside a signature that does not fit is refused. So the signature is
    put aside first: at every moment the card lies there with its own signature, or with none.

    Args:
        folder: the model folder.
        content: the whole new card.

    Returns:
        Whether there was a signature: the model is unverified from now on, until it is signed again.

    Raises:
        StorageError: the folder cannot be written; card and signature are as before.
    """
    signature = folder / SIGNATURE_NAME
    aside = folder / f".medviewer-{secrets.token_hex(8)}.part"
    try:
        signature.rename(aside)
    except FileNotFoundError:
        write_whole(folder / CARD_NAME, content)
        return False
    except OSError as error:
        raise storage_error(CARD_NAME, error) from error
    try:
        write_whole(folder / CARD_NAME, content)
    except BaseException:
        aside.rename(signature)
        raise
    with contextlib.suppress(OSError):  # under its hidden name it is nobody's signature
        aside.unlink()
    return True


def signer_of(folder: Path, document: Mapping[str, Any], trusted: Iterable[TrustedKey]) -> Signer:
    """Who signed a model.

    Args:
        folder: the model folder.
        document: the card as it was read: what is signed must be what is used.
        trusted: the keys that the reader trusts.

    Raises:
        DigestError: there is a signature, and it is not of this card.
    """
    try:
        raw = _bounded(folder / SIGNATURE_NAME, _FILE_LIMIT_BYTES)
    except FileNotFoundError:
        return UNSIGNED
    except (OSError, ValueError) as error:
        raise DigestError(f"The signature of “{folder.name}” cannot be read; install the model again.") from error
    public, signature = _parse_signature(raw, folder.name)
    if not _fits(folder, document, public, signature):
        raise DigestError(
            f"The card of “{folder.name}” was changed after it was signed; get the model from its publisher again."
        )
    name = next((key.name for key in trusted if key.public_key == public), "")
    return Signer(name, fingerprint(public))


def _fits(folder: Path, document: Mapping[str, Any], public: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - most starts meet no signature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _bounded(folder / CARD_NAME, CARD_LIMIT_BYTES))
    except (InvalidSignature, OSError, ValueError):
        return False
    return read_document(folder) == document


def _parse_signature(raw: bytes, name: str) -> tuple[bytes, bytes]:
    try:
        document = json.loads(raw)
        is_ours = document["schema"] == SIGNATURE_SCHEMA and document["algorithm"] == "ed25519"
        public = base64.b64decode(document["public_key"], validate=True)
        signature = base64.b64decode(document["signature"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise DigestError(f"The signature of “{name}” is damaged; get the model from its publisher again.") from error
    if not is_ours or len(public) != 32 or len(signature) != 64:
        raise DigestError(f"The signature of “{name}” is of a kind that is not known; update MedViewer.")
    return public, signature


class TrustFile:
    """The keys whose models count as verified: a small JSON file in the data folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / TRUST_NAME

    def listed(self) -> tuple[TrustedKey, ...]:
        """The keys in the order in which they were added; none if there is no file.

        Raises:
            ModelError: the file is damaged.
        """
        try:
            raw = _bounded(self.path, _FILE_LIMIT_BYTES)
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise ModelError(f"The list of trusted keys cannot be read; see to {self.path}.") from error
        try:
            document = json.loads(raw)
            keys = tuple(
                TrustedKey(_text(k["name"]), base64.b64decode(k["public_key"], validate=True), _text(k["added"]))
                for k in document["keys"][: _MOST_KEYS + 1]
            )
            is_whole = document["schema"] == TRUST_SCHEMA and all(len(k.public_key) == 32 and k.name for k in keys)
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
            raise _damaged(self.path) from error
        if not is_whole:
            raise _damaged(self.path)
        return keys

    def listed_or_none(self) -> tuple[TrustedKey, ...]:
        """The keys; none if the list is damaged, because then nothing may count as verified."""
        try:
            return self.listed()
        except ModelError:
            _log.info("the list of trusted keys is damaged; every model counts as unverified")
            return ()

    def add(self, name: str, public_key: bytes) -> TrustedKey:
        """Trust a key from now on.

        Args:
            name: whose it is, in the reader's words.
            public_key: in PEM, as ``openssl pkey -pubout`` writes it.

        Raises:
            UsageError: the name or the key is in the list already, or the name is not fit to be shown.
            InputError: it is no Ed25519 public key.
            ModelError, StorageError: the list is damaged or cannot be written.
        """
        shown = " ".join(name.split())
        if not shown or len(shown) > _NAME_LIMIT or not shown.isprintable():
            raise UsageError(f"Give the key a name of 1 to {_NAME_LIMIT} characters: whose it is.")
        keys, raw = self.listed(), _public_key(public_key)
        if any(key.name == shown for key in keys):
            raise UsageError(f"A key named “{shown}” is trusted already; remove that one first or choose another name.")
        twin = next((key.name for key in keys if key.public_key == raw), "")
        if twin:
            raise UsageError(f"This key is trusted already, under the name “{twin}”.")
        if len(keys) >= _MOST_KEYS:
            raise UsageError(f"No more than {_MOST_KEYS} keys can be trusted; remove one first.")
        added = TrustedKey(shown, raw, datetime.now(UTC).isoformat(timespec="seconds"))
        self._save((*keys, added))
        return added

    def remove(self, name: str) -> TrustedKey:
        """Trust a key no longer; its models are unverified from then on.

        Raises:
            UsageError: there is no key of this name.
            ModelError, StorageError: the list is damaged or cannot be written.
        """
        keys = self.listed()
        gone = next((key for key in keys if key.name == name), None)
        if gone is None:
            known = ", ".join(f"“{key.name}”" for key in keys) or "none"
            raise UsageError(f"No key named “{name}” is trusted; those that are: {known}.")
        self._save(tuple(key for key in keys if key is not gone))
        return gone

    def _save(self, keys: tuple[TrustedKey, ...]) -> None:
        entries = [
            {"name": k.name, "public_key": base64.b64encode(k.public_key).decode(), "added": k.added} for k in keys
        ]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        document = {"schema": TRUST_SCHEMA, "keys": entries}
        write_whole(self.path, json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n")


def _damaged(path: Path) -> ModelError:
    return ModelError(f"The list of trusted keys is damaged; remove {path} and add the keys again.")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _bounded(path: Path, limit: int) -> bytes:
    with path.open("rb") as stream:
        raw = stream.read(limit + 1)
    if len(raw) > limit:
        raise ValueError("too large")
    return raw


def _private_key(pem: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise InputError("The private key has a passphrase; decrypt it first (openssl pkey -in KEY).") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError("This is not a private key; make one with: openssl genpkey -algorithm ed25519.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("This key is not of the kind Ed25519; make one with: openssl genpkey -algorithm ed25519.")
    return key


def _public_key(pem: bytes) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    if b"PRIVATE KEY" in pem:
        raise InputError("This is the private key, which is its publisher's secret; ask for the public one.")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError("This is not a public key in PEM; ask the publisher for one.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError("This key is not of the kind Ed25519; ask the publisher for that kind.")
    return key.public_bytes_raw()

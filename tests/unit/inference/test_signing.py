from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from medviewer.domain.errors import CardError, DigestError, InputError, ModelError, StorageError, UsageError
from medviewer.inference import signing
from medviewer.inference.card import read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.signing import (
    SIGNATURE_NAME,
    UNSIGNED,
    TrustFile,
    fingerprint,
    is_signed,
    replace_card,
    sign_model,
    signer_of,
)
from tests import fakes


def key_pair() -> tuple[bytes, bytes]:
    """A new private and public key in PEM."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_model_signed_by_a_trusted_key_is_verified_under_its_name(model_folder: Path, tmp_path: Path) -> None:
    private, public = key_pair()
    trusted = TrustFile(tmp_path)
    assert sign_model(model_folder, private) == trusted.add("Radiology, example hospital", public).fingerprint
    (entry,) = Catalogue([model_folder.parent], trusted).entries
    assert entry.signer.name == "Radiology, example hospital"
    assert (entry.signer.word, entry.card and entry.card.signed_by) == ("verified", "Radiology, example hospital")


def test_without_a_signature_or_with_an_unknown_key_a_model_is_unverified(model_folder: Path, tmp_path: Path) -> None:
    trusted = TrustFile(tmp_path)
    (entry,) = Catalogue([model_folder.parent], trusted).entries
    assert (entry.signer, entry.signer.word) == (UNSIGNED, "unverified")
    unknown = sign_model(model_folder, key_pair()[0])
    trusted.add("Somebody else", key_pair()[1])
    (entry,) = Catalogue([model_folder.parent], trusted).entries
    assert entry.card is not None
    assert (entry.signer.word, entry.signer.name, entry.signer.key) == ("unverified", "", unknown)
    assert entry.card.signed_by == ""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is the independent source here")
def test_openssl_accepts_the_signature_and_ours_accepts_openssl(model_folder: Path, tmp_path: Path) -> None:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    sign_model(model_folder, private.read_bytes())
    ours = json.loads((model_folder / SIGNATURE_NAME).read_bytes())
    raw, theirs = tmp_path / "raw.sig", tmp_path / "theirs.sig"
    raw.write_bytes(base64.b64decode(ours["signature"]))
    card = model_folder / "model.json"
    check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", card, "-sigfile", raw]
    assert b"Success" in subprocess.run(check, check=True, capture_output=True).stdout
    sign = ["openssl", "pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", card, "-out", theirs]
    subprocess.run(sign, check=True)
    (model_folder / SIGNATURE_NAME).write_text(
        json.dumps(ours | {"signature": base64.b64encode(theirs.read_bytes()).decode()})
    )
    trusted = TrustFile(tmp_path)
    trusted.add("openssl", public.read_bytes())
    assert signer_of(model_folder, read_card(model_folder).document, trusted.listed()).name == "openssl"


@pytest.mark.parametrize("file", ["model.json", "model.onnx", "model.explain.onnx", "ood.npz", "reference.npz"])
def test_a_byte_changed_after_signing_is_refused_whatever_file_it_is_in(
    model_folder: Path, tmp_path: Path, file: str
) -> None:
    private, public = key_pair()
    trusted = TrustFile(tmp_path)
    trusted.add("Publisher", public)
    sign_model(model_folder, private)
    path = model_folder / file
    content = bytearray(path.read_bytes())
    at = content.index(b"Tests.") if file == "model.json" else len(content) // 2
    content[at] ^= 1
    path.write_bytes(content)
    (entry,) = Catalogue([model_folder.parent], trusted).entries
    assert entry.card is None
    assert "changed after it was signed" in entry.problem or "is not the file that its card describes" in entry.problem


def test_a_card_with_new_digests_does_not_pass_under_the_old_signature(model_folder: Path) -> None:
    sign_model(model_folder, key_pair()[0])
    card = json.loads((model_folder / "model.json").read_bytes())
    other = fakes.model_graph(head=fakes.HEAD[1:2]).SerializeToString()
    (model_folder / "model.onnx").write_bytes(other)
    card["files"][0] = fakes.file_entry("model", model_folder / "model.onnx")
    fakes.write_card(model_folder, card)
    (entry,) = Catalogue([model_folder.parent]).entries
    assert "changed after it was signed" in entry.problem


def test_what_is_signed_is_what_is_used(model_folder: Path) -> None:
    private, _ = key_pair()
    sign_model(model_folder, private)
    read_before = read_card(model_folder).document | {"version": "9.9.9"}
    with pytest.raises(DigestError, match="changed after it was signed"):
        signer_of(model_folder, read_before, ())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "damaged"),
        (b"{", "damaged"),
        (b"[]", "damaged"),
        (b'{"schema": "medviewer.signature/1", "algorithm": "ed25519"}', "damaged"),
        (b'{"schema":"other","algorithm":"ed25519","public_key":"","signature":""}', "kind that is not known"),
        (b'{"schema":"medviewer.signature/1","algorithm":"none","public_key":"","signature":""}', "not known"),
        (b"[" * 60_000, "damaged"),
        (b" " * 70_000, "cannot be read"),
    ],
)
def test_a_signature_that_is_none_is_refused_not_passed_over(model_folder: Path, content: bytes, says: str) -> None:
    (model_folder / SIGNATURE_NAME).write_bytes(content)
    with pytest.raises(DigestError, match=says):
        signer_of(model_folder, read_card(model_folder).document, ())


def test_only_an_open_ed25519_private_key_signs(model_folder: Path) -> None:
    rsa = generate_private_key(65537, 2048)
    other = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    for pem, says in ((other, "not of the kind"), (locked, "passphrase"), (b"no key", "not a private key")):
        with pytest.raises(InputError, match=says):
            sign_model(model_folder, pem)
    assert not (model_folder / SIGNATURE_NAME).exists()
    with pytest.raises(CardError):
        sign_model(model_folder.parent, key_pair()[0])


def test_keys_are_added_listed_and_removed(tmp_path: Path) -> None:
    trusted = TrustFile(tmp_path / "not-there-yet")
    assert trusted.listed() == ()
    first, second = key_pair()[1], key_pair()[1]
    added = trusted.add("  One \n publisher ", first)
    assert added.name == "One publisher"
    trusted.add("另一家", second)
    assert [key.name for key in TrustFile(tmp_path / "not-there-yet").listed()] == ["One publisher", "另一家"]
    assert trusted.remove("One publisher") == added
    assert [key.name for key in trusted.listed()] == ["另一家"]


def test_one_name_has_one_key_and_one_key_one_name(tmp_path: Path) -> None:
    trusted = TrustFile(tmp_path)
    _, public = key_pair()
    trusted.add("A", public)
    with pytest.raises(UsageError, match="already, under the name “A”"):
        trusted.add("B", public)
    with pytest.raises(UsageError, match="“A” is trusted already"):
        trusted.add("A", key_pair()[1])
    with pytest.raises(UsageError, match="those that are: “A”"):
        trusted.remove("C")
    for name in ("", " ", "x" * 101, "a\u202eb"):
        with pytest.raises(UsageError, match="Give the key a name"):
            trusted.add(name, key_pair()[1])


def test_only_public_ed25519_keys_are_trusted(tmp_path: Path) -> None:
    private, _ = key_pair()
    rsa = generate_private_key(65537, 2048).public_key()
    other = rsa.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    trusted = TrustFile(tmp_path)
    for pem, says in ((private, "secret"), (other, "not of the kind"), (b"no key", "not a public key")):
        with pytest.raises(InputError, match=says):
            trusted.add("A", pem)
    assert trusted.listed() == ()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "x", "keys": []}', '{"keys": [1]}', " " * 70_000])
def test_a_damaged_list_trusts_nobody(model_folder: Path, tmp_path: Path, content: str) -> None:
    private, public = key_pair()
    trusted = TrustFile(tmp_path)
    trusted.add("Publisher", public)
    sign_model(model_folder, private)
    trusted.path.write_text(content)
    with pytest.raises(ModelError):
        trusted.listed()
    (entry,) = Catalogue([model_folder.parent], trusted).entries
    assert entry.signer.word == "unverified"


def test_the_fingerprint_is_the_digest_of_the_raw_key(tmp_path: Path) -> None:
    import hashlib

    key = Ed25519PrivateKey.generate().public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    added = TrustFile(tmp_path).add("A", pem)
    assert added.fingerprint == hashlib.sha256(key.public_bytes_raw()).hexdigest() == fingerprint(added.public_key)


def test_a_signature_goes_with_the_card_that_it_was_of(model_folder: Path) -> None:
    card = (model_folder / "model.json").read_bytes()
    assert not replace_card(model_folder, card)
    sign_model(model_folder, key_pair()[0])
    assert is_signed(model_folder)
    before = {path.name for path in model_folder.iterdir()}
    assert replace_card(model_folder, card + b"\n")
    assert not is_signed(model_folder)
    assert (model_folder / "model.json").read_bytes() == card + b"\n"
    assert {path.name for path in model_folder.iterdir()} == before - {SIGNATURE_NAME}
    (entry,) = Catalogue([model_folder.parent]).entries
    assert (entry.problem, entry.signer.word) == ("", "unverified")


def test_no_moment_has_a_new_card_beside_an_old_signature(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended at the worst moment the model is unsigned; refused by the disk it is as before."""
    sign_model(model_folder, key_pair()[0])
    before = {path.name: path.read_bytes() for path in model_folder.iterdir() if path.is_file()}
    seen: list[bool] = []

    def full(path: Path, content: bytes) -> None:
        seen.append(is_signed(model_folder))
        raise StorageError("The disk is full.")

    monkeypatch.setattr(signing, "write_whole", full)
    with pytest.raises(StorageError):
        replace_card(model_folder, b"{}")
    assert seen == [False]
    assert {path.name: path.read_bytes() for path in model_folder.iterdir() if path.is_file()} == before

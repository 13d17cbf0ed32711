from __future__ import annotations

import json
from pathlib import Path

import pytest

from medviewer.cli import main, model_store
from medviewer.inference import installing
from tests import fakes
from tests.unit.inference.test_signing import key_pair

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "accept", lambda *_args, **_options: None)


def listed(capsys: Capture) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    main(["models", "--json"])
    return {model["id"]: model for model in json.loads(capsys.readouterr().out)["models"]}


@pytest.mark.usefixtures("_unchecked")
def test_a_signed_model_is_installed_listed_rolled_back_and_removed(tmp_path: Path, capsys: Capture) -> None:
    private, public = key_pair()
    (tmp_path / "private.pem").write_bytes(private)
    (tmp_path / "public.pem").write_bytes(public)
    old, new = fakes.make_model(tmp_path / "old"), fakes.make_model(tmp_path / "new", version="1.3.0")
    assert main(["models", "sign", str(new), "--key", str(tmp_path / "private.pem")]) == 0
    assert main(["models", "trust", "add", "A hospital", str(tmp_path / "public.pem")]) == 0
    assert main(["models", "install", str(old)]) == 0
    assert "Installed fake-chest 1.2.3, unverified." in capsys.readouterr().out
    assert main(["models", "install", str(new)]) == 0
    assert "Installed fake-chest 1.3.0, verified. It takes the place of 1.2.3" in capsys.readouterr().out
    assert main(["models", "rollback", "fake-chest"]) == 0
    assert main(["models", "install", str(new), "--force"]) == 0
    assert "which comes back with: medviewer models rollback fake-chest." in capsys.readouterr().out
    model = listed(capsys)["fake-chest"]
    assert (model["version"], model["signature"], model["signer"]) == ("1.3.0", "verified", "A hospital")
    assert isinstance(model["origin"], dict)
    assert (model["origin"]["kind"], model["origin"]["source"]) == ("installed", "new")
    assert main(["models", "install", str(old)]) == 3
    told = capsys.readouterr().err
    assert "older" in told
    assert "--force" in told
    assert main(["models", "install", str(new)]) == 0
    assert "installed already" in capsys.readouterr().out
    assert main(["models", "rollback", "fake-chest"]) == 0
    assert listed(capsys)["fake-chest"]["version"] == "1.2.3"
    assert main(["models", "trust", "remove", "A hospital"]) == 0
    assert main(["models", "rollback", "fake-chest"]) == 0
    assert listed(capsys)["fake-chest"]["signature"] == "unverified"
    assert main(["models", "remove", "fake-chest"]) == 0
    assert "fake-chest" not in listed(capsys)


@pytest.mark.usefixtures("_unchecked")
def test_what_takes_the_place_of_a_bundled_model_says_how_that_comes_back(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.make_model(tmp_path / "bundled" / fakes.MODEL_ID)
    monkeypatch.setattr(model_store, "models_dir", lambda: tmp_path / "bundled")
    older, newer = (
        fakes.make_model(tmp_path / "old", version="1.0.0"),
        fakes.make_model(tmp_path / "n", version="2.0.0"),
    )
    assert main(["models", "install", str(older)]) == 3
    assert "the present one is kept and comes back with remove." in capsys.readouterr().err
    assert main(["models", "install", str(newer)]) == 0
    told = capsys.readouterr().out
    assert "It takes the place of 1.2.3, which comes back with: medviewer models remove fake-chest." in told
    assert main(["models", "remove", "fake-chest"]) == 0
    assert model_store.open_store().catalogue().card("fake-chest").version == "1.2.3"


@pytest.mark.usefixtures("_unchecked")
def test_force_installs_an_older_version_and_says_what_that_means(tmp_path: Path, capsys: Capture) -> None:
    assert main(["models", "install", str(fakes.make_model(tmp_path / "new", version="2.0.0"))]) == 0
    assert main(["models", "install", str(fakes.make_model(tmp_path / "old")), "--force"]) == 0
    assert "caution: It is version 1.2.3 and 2.0.0 is installed: older." in capsys.readouterr().err
    assert listed(capsys)["fake-chest"]["version"] == "1.2.3"
    assert main(["models", "rollback", "fake-chest", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == {"id": "fake-chest", "version": "2.0.0", "signature": "unverified"}


def test_a_score_without_labels_is_listed_without_brackets(capsys: Capture) -> None:
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("news2 1.0.0: NEWS2 early warning score; ") for line in lines)
    assert any("(Pneumonia); " in line for line in lines)


def test_the_list_says_whose_each_model_is(tmp_path: Path, capsys: Capture) -> None:
    assert main(["models"]) == 0
    assert "unverified, not signed; came with MedViewer" in capsys.readouterr().out
    folder = fakes.make_model(tmp_path / "models" / "fake")
    (tmp_path / "private.pem").write_bytes(key_pair()[0])
    assert main(["models", "sign", str(folder), "--key", str(tmp_path / "private.pem"), "--json"]) == 0
    key = json.loads(capsys.readouterr().out)["key"]
    assert main(["models", "list", "--models", str(tmp_path / "models")]) == 0
    assert f"unverified, signed by the unknown key {key[:16]}; put there by hand" in capsys.readouterr().out


def test_trust_lists_keys_and_says_what_it_needs(tmp_path: Path, capsys: Capture) -> None:
    assert main(["models", "trust"]) == 0
    assert "No key is trusted" in capsys.readouterr().out
    for words in (["add"], ["add", "A"], ["remove"], ["remove", "nobody"]):
        assert main(["models", "trust", *words]) == 2
    assert main(["models", "trust", "add", "A", str(tmp_path / "gone.pem")]) == 3
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "key.pem").write_bytes(key_pair()[1])
    assert main(["models", "trust", "add", "A", str(tmp_path / "key.pem"), "--json"]) == 0
    (key,) = json.loads(capsys.readouterr().out)["keys"]
    assert (key["name"], len(key["fingerprint"])) == ("A", 64)


@pytest.mark.parametrize("words", [["install", "x"], ["remove", "x"], ["rollback", "x"], ["trust"]])
def test_what_changes_the_installed_models_takes_no_other_folder(
    tmp_path: Path, capsys: Capture, words: list[str]
) -> None:
    assert main(["models", *words, "--models", str(tmp_path)]) == 2
    assert "changes the installed models" in capsys.readouterr().err

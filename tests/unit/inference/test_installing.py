from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.errors import (
    CardError,
    InputError,
    MedViewerError,
    ModelError,
    Stopped,
    StorageError,
    UnsafeModelError,
    UsageError,
)
from medviewer.domain.progress import StopToken
from medviewer.inference import installing
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.installing import PREVIOUS, ModelStore, origin_of, version_key
from medviewer.inference.signing import TrustFile, sign_model
from tests import fakes
from tests.unit.inference.test_signing import key_pair


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


@pytest.fixture
def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out running the network, which other tests are about."""
    monkeypatch.setattr(installing, "accept", lambda *_args, **_options: None)


def install(store: ModelStore, source: Path) -> None:
    with store.examined(source) as candidate:
        store.commit(candidate)


def versions(store: ModelStore) -> list[str]:
    return [entry.card.version if entry.card else entry.problem for entry in store.catalogue().entries]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "origin.json"}


def test_an_installed_model_is_the_one_that_was_brought_and_answers(store: ModelStore, model_folder: Path) -> None:
    (model_folder / "README.md").write_text("read me")
    (model_folder / "LICENSE").write_text("as you like")
    (model_folder / "extra.py").write_text("import os")
    expected = content(model_folder)
    with store.examined(model_folder) as candidate:
        assert (candidate.replaces, candidate.objections) == (None, ())
        entry = store.commit(candidate)
    assert content(entry.folder) == {name: data for name, data in expected.items() if name != "extra.py"}
    assert store.is_own(entry)
    assert origin_of(entry).source == model_folder.name
    assert sorted(path.name for path in store.folder.iterdir()) == [PREVIOUS, "fake-chest"]


@pytest.mark.parametrize("top", ["", "inner/"])
@pytest.mark.usefixtures("_unchecked")
def test_an_archive_gives_the_same_model(store: ModelStore, model_folder: Path, tmp_path: Path, top: str) -> None:
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in model_folder.iterdir():
            file.write(path, top + path.name)
        file.writestr(top + "extra.py", "import os")
    install(store, archive)
    (entry,) = store.catalogue().entries
    assert content(entry.folder) == content(model_folder)
    assert origin_of(entry).source == "model.zip"


@pytest.mark.usefixtures("_unchecked")
def test_the_version_before_is_kept_whole_and_comes_back_and_forth(store: ModelStore, tmp_path: Path) -> None:
    old, new = fakes.make_model(tmp_path / "old"), fakes.make_model(tmp_path / "new", version="1.3.0")
    install(store, old)
    with store.examined(new) as candidate:
        assert candidate.replaces is not None
        assert candidate.objections == ()
        store.commit(candidate)
    assert versions(store) == ["1.3.0"]
    assert content(store.folder / PREVIOUS / "fake-chest") == content(old)
    assert store.rollback("fake-chest").card is not None
    assert versions(store) == ["1.2.3"]
    assert content(store.folder / "fake-chest") == content(old)
    store.rollback("fake-chest")
    assert versions(store) == ["1.3.0"]
    assert content(store.folder / "fake-chest") == content(new)


@pytest.mark.usefixtures("_unchecked")
def test_a_model_that_was_put_there_under_another_name_is_replaced_too(store: ModelStore, tmp_path: Path) -> None:
    """Beside it the new one would lie idle, and the old one would go on to answer."""
    old, new = fakes.make_model(store.folder / "by hand"), fakes.make_model(tmp_path / "new", version="1.3.0")
    before = content(old)
    install(store, new)
    assert versions(store) == ["1.3.0"]
    assert not old.exists()
    store.rollback("fake-chest")
    assert content(store.folder / "fake-chest") == before
    for copy in ("a copy", "the copy"):  # before the one in use by its name, and behind it
        fakes.make_model(store.folder / copy)
        with store.examined(new) as candidate, pytest.raises(UsageError, match="hold models of one id"):
            store.commit(candidate)
        assert content(store.folder / "fake-chest") == before
        shutil.rmtree(store.folder / copy)


@pytest.mark.usefixtures("_unchecked")
def test_only_the_last_version_is_kept(store: ModelStore, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        install(store, fakes.make_model(tmp_path / version, version=version))
    assert json.loads((store.folder / PREVIOUS / "fake-chest" / "model.json").read_bytes())["version"] == "1.1.0"
    assert sorted(path.name for path in store.folder.iterdir()) == [PREVIOUS, "fake-chest"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": "1.2.2"}, "older"),
        ({"version": "1.2.3-rc1"}, "older"),
        ({"threshold": 1}, "not the same"),
    ],
)
@pytest.mark.usefixtures("_unchecked")
def test_an_older_or_changed_version_is_objected_to(
    store: ModelStore, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    install(store, fakes.make_model(tmp_path / "first"))
    changed = {"intended_use": "Other."} if "threshold" in changes else changes
    with store.examined(fakes.make_model(tmp_path / "second", **changed)) as candidate:
        (objection,) = candidate.objections
    assert says in objection
    assert versions(store) == ["1.2.3"]


@pytest.mark.usefixtures("_unchecked")
def test_the_same_model_again_is_known_as_such(store: ModelStore, model_folder: Path) -> None:
    install(store, model_folder)
    with store.examined(model_folder) as candidate:
        assert candidate.is_same
        assert candidate.objections == ()


@pytest.mark.usefixtures("_unchecked")
def test_a_signature_is_not_lost_or_exchanged_in_silence(store: ModelStore, tmp_path: Path) -> None:
    (mine, mine_public), (other, other_public) = key_pair(), key_pair()
    store.trusted.add("Mine", mine_public)
    store.trusted.add("Other", other_public)
    first = fakes.make_model(tmp_path / "first")
    sign_model(first, mine)
    install(store, first)
    (entry,) = store.catalogue().entries
    assert entry.signer.name == "Mine"
    newer = fakes.make_model(tmp_path / "newer", version="2.0.0")
    with store.examined(newer) as candidate:
        assert "this one is unverified" in candidate.objections[0]
    sign_model(newer, other)
    with store.examined(newer) as candidate:
        assert "this one by “Other”" in candidate.objections[0]
    sign_model(newer, mine)
    with store.examined(newer) as candidate:
        assert candidate.objections == ()


@pytest.mark.usefixtures("_unchecked")
def test_a_changed_card_with_a_signature_is_not_even_tried(store: ModelStore, model_folder: Path) -> None:
    sign_model(model_folder, key_pair()[0])
    card = model_folder / "model.json"
    card.write_bytes(card.read_bytes().replace(b"Patients.", b"Anything."))
    with pytest.raises(ModelError, match="changed after it was signed"), store.examined(model_folder):
        pass


@pytest.mark.usefixtures("_unchecked")
def test_a_bundled_model_is_never_touched_but_can_be_stood_in_for(tmp_path: Path) -> None:
    bundled = tmp_path / "bundled"
    fakes.make_model(bundled / "fake-chest")
    before = content(bundled / "fake-chest")
    store = ModelStore(tmp_path / "home", bundled)
    for change in (store.remove, store.rollback):
        with pytest.raises(UsageError, match="came with the program"):
            change("fake-chest")
    with store.examined(fakes.make_model(tmp_path / "old", version="1.0.0")) as candidate:
        assert "older" in candidate.objections[0]
    install(store, fakes.make_model(tmp_path / "new", version="2.0.0"))
    assert versions(store) == ["2.0.0"]
    store.remove("fake-chest")
    assert versions(store) == ["1.2.3"]
    assert content(bundled / "fake-chest") == before


@pytest.mark.usefixtures("_unchecked")
def test_removing_takes_the_kept_version_too_and_nothing_else(store: ModelStore, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        install(store, fakes.make_model(tmp_path / version, version=version))
    install(store, fakes.make_model(tmp_path / "other", id="other"))
    store.remove("fake-chest")
    assert [entry.id for entry in store.catalogue().entries] == ["other"]
    assert list((store.folder / PREVIOUS).iterdir()) == []
    with pytest.raises(UsageError, match="There is no model"):
        store.remove("fake-chest")


def test_without_a_version_before_there_is_no_way_back(store: ModelStore, tmp_path: Path) -> None:
    fakes.make_model(store.folder / "fake-chest")
    with pytest.raises(UsageError, match="No version before"):
        store.rollback("fake-chest")


def test_versions_are_ordered_as_semantic_versioning_says() -> None:
    shuffled = ["1.10.0", "1.0.0", "2.0.0", "1.0.0-beta", "0.9.9", "1.2.0", "1.0.0-alpha"]
    ordered = ["0.9.9", "1.0.0-alpha", "1.0.0-beta", "1.0.0", "1.2.0", "1.10.0", "2.0.0"]
    assert sorted(shuffled, key=version_key) == ordered
    assert version_key("1.0.0+a") == version_key("1.0.0+b")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot end half a program")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("change", ["install", "rollback", "remove"])
@pytest.mark.parametrize("nth", range(4))
@pytest.mark.usefixtures("_unchecked")
def test_a_program_that_is_killed_leaves_one_whole_model_or_the_other(
    store: ModelStore, tmp_path: Path, change: str, nth: int
) -> None:
    for version in ("1.0.0", "1.1.0"):
        install(store, fakes.make_model(tmp_path / version, version=version))
    newest = fakes.make_model(tmp_path / "1.2.0", version="1.2.0")
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the process that ends
        _die_at_rename(nth)
        if change == "install":
            install(store, newest)
        else:
            getattr(store, change)("fake-chest")
        os._exit(0)
    os.waitpid(pid, 0)
    again = ModelStore(store.folder.parent)
    again.recover()
    kept = again.folder / PREVIOUS / "fake-chest" / "model.json"
    found = (versions(again), [json.loads(kept.read_bytes())["version"]] if kept.exists() else [])
    before, after = (
        (["1.1.0"], ["1.0.0"]),
        {
            "install": (["1.2.0"], ["1.1.0"]),
            "rollback": (["1.0.0"], ["1.1.0"]),
            "remove": ([], []),
        }[change],
    )
    assert found in (before, after)
    assert sorted(path.name for path in again.folder.iterdir()) in ([PREVIOUS, "fake-chest"], [PREVIOUS])


def _die_at_rename(nth: int) -> None:
    """Have this process end, without cleaning up, at its ``nth`` rename."""
    rename, count = Path.rename, [0]

    def counted(self: Path, target: Path) -> Path:
        if count[0] == nth:
            os._exit(9)
        count[0] += 1
        return rename(self, target)

    Path.rename = counted  # type: ignore[method-assign]


@pytest.mark.parametrize("nth", range(3))
@pytest.mark.usefixtures("_unchecked")
def test_a_disk_that_refuses_leaves_what_was_there(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    for version in ("1.0.0", "1.1.0"):
        install(store, fakes.make_model(tmp_path / version, version=version))
    newest = fakes.make_model(tmp_path / "1.2.0", version="1.2.0")
    rename, count = Path.rename, [0]

    def refusing(self: Path, target: Path) -> Path:
        count[0] += 1
        if count[0] == nth + 1:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(StorageError, match="the disk is full"), store.examined(newest) as candidate:
        store.commit(candidate)
    assert versions(store) == ["1.1.0"]
    kept = store.folder / PREVIOUS / "fake-chest" / "model.json"
    assert json.loads(kept.read_bytes())["version"] == "1.0.0"


@pytest.mark.usefixtures("_unchecked")
def test_a_stop_leaves_nothing(store: ModelStore, model_folder: Path) -> None:
    stop = StopToken()
    stop.stop()
    with pytest.raises(Stopped), store.examined(model_folder, stop=stop):
        pass
    assert [path.name for path in store.folder.iterdir()] == [PREVIOUS]


def _without_reference(folder: Path) -> None:
    card = json.loads((folder / "model.json").read_bytes())
    card["files"] = [file for file in card["files"] if file["role"] != "reference"]
    fakes.write_card(folder, card)


def _replaced(folder: Path, role: str, write: Callable[[Path], None]) -> None:
    """Put another file in the place of one of the model's, with a card that is true to its digest."""
    card = json.loads((folder / "model.json").read_bytes())
    index = next(i for i, file in enumerate(card["files"]) if file["role"] == role)
    path = folder / card["files"][index]["path"]
    write(path)
    card["files"][index] = fakes.file_entry(role, path)
    fakes.write_card(folder, card)


def _graph(folder: Path, role: str, **options: Any) -> None:
    _replaced(folder, role, lambda path: path.write_bytes(fakes.model_graph(**options).SerializeToString()) and None)


def _reference(folder: Path, **arrays: np.ndarray) -> None:
    known = dict(np.load(folder / "reference.npz"))
    _replaced(folder, "reference", lambda path: np.savez(path, **(known | arrays)))


def _card(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / "model.json").read_bytes())
    fakes.write_card(folder, card | changes)


def _of_another_network(path: Path) -> None:
    graph = fakes.explain_graph()
    weights = next(tensor for tensor in graph.graph.initializer if tensor.name == "head")
    weights.raw_data = (np.frombuffer(weights.raw_data, np.float32) * 2).tobytes()
    path.write_bytes(graph.SerializeToString())


def _without_logits(path: Path) -> None:
    graph = fakes.explain_graph()
    graph.graph.output.remove(graph.graph.output[0])
    path.write_bytes(graph.SerializeToString())


NOT_AS_THE_CARD_SAYS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no reference": (_without_reference, "no inputs with known answers"),
    "another network": (lambda f: _graph(f, "model", head=fakes.HEAD[1:2]), "differ from its known answers"),
    "NaN weights": (
        lambda f: _graph(f, "model", head=np.array([[np.nan, 0, 0, 0]], np.float32)),
        "values that are not numbers",
    ),
    "more labels than the network has": (
        lambda f: _card(
            f,
            labels=[fakes.label_document(name) for name in ("a", "b")],
            outputs=[{"name": "logits", "shape": [None, 2]}],
            explain=None,
            ood=None,
        ),
        "names 2 labels",
    ),
    "reference of NaN": (lambda f: _reference(f, **{"output.logits": np.full((3, 1), np.nan)}), "not numbers"),
    "reference for another input": (
        lambda f: _reference(f, **{"input.x": np.zeros((3, 1, 8, 8), np.float32)}),
        "not for the input",
    ),
    "an output that is not there": (
        lambda f: _card(f, ood={"file": "ood.npz", "method": "mahalanobis", "output": "pooled", "warn_above": 1,
                                "abstain_above": 2}, outputs=[{"name": "logits", "shape": [None, 1]},
                                                              {"name": "pooled", "shape": [None, 4]}]),
        "has no output “pooled”",
    ),
    "steps to another size": (
        lambda f: _card(f, preprocessing=[{"op": "resize", "rows": 16, "columns": 16}]),
        "prepares images to",
    ),
    "gradients of another network": (lambda f: _replaced(f, "explain", _of_another_network), "not of the same network"),
    "gradients without logits": (lambda f: _replaced(f, "explain", _without_logits), "not the outputs of one"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_AS_THE_CARD_SAYS)
def test_a_model_that_is_not_what_its_card_says_is_not_installed(
    store: ModelStore, model_folder: Path, case: str
) -> None:
    break_it, says = NOT_AS_THE_CARD_SAYS[case]
    break_it(model_folder)
    with pytest.raises(ModelError, match=says), store.examined(model_folder):
        pass
    assert store.catalogue().entries == ()


def test_a_network_whose_batch_is_fixed_is_not_installed(store: ModelStore, model_folder: Path) -> None:
    graph = fakes.model_graph()
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    _replaced(model_folder, "model", lambda path: path.write_bytes(graph.SerializeToString()) and None)
    with pytest.raises(MedViewerError), store.examined(model_folder):
        pass
    assert store.catalogue().entries == ()


def test_what_is_no_model_is_refused_with_its_reason(store: ModelStore, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    empty = tmp_path / "empty"
    empty.mkdir()
    bad_zip = tmp_path / "bad.zip"
    bad_zip.write_bytes(b"PK\x03\x04rubbish")
    for source, kind, says in (
        (text, InputError, "neither a model folder nor a ZIP archive"),
        (empty, CardError, "no readable model.json"),
        (bad_zip, InputError, "incomplete or damaged"),
        (tmp_path / "gone", UsageError, "There is no model folder"),
    ):
        with pytest.raises(kind, match=says), store.examined(source):
            pass


def test_a_link_beside_the_card_is_refused(store: ModelStore, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (model_folder / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeModelError, match="it is a link"), store.examined(model_folder):
        pass


@pytest.mark.usefixtures("_unchecked")
def test_an_own_model_comes_before_a_bundled_one_of_the_same_id(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "own" / "fake-chest", version="2.0.0")
    fakes.make_model(tmp_path / "bundled" / "fake-chest")
    found = Catalogue([tmp_path / "own", tmp_path / "bundled"], TrustFile(tmp_path)).entries
    assert [entry.card and entry.card.version for entry in found] == ["2.0.0"]
    shutil.rmtree(tmp_path / "own")
    assert [e.card and e.card.version for e in Catalogue([tmp_path / "own", tmp_path / "bundled"]).entries] == ["1.2.3"]


@pytest.mark.usefixtures("_unchecked")
def test_of_two_own_models_of_one_id_none_is_removed_rolled_back_or_replaced(store: ModelStore, tmp_path: Path) -> None:
    for name, version in (("a", "1.0.0"), ("b", "2.0.0")):
        fakes.make_model(store.folder / name, version=version)
    for change in (store.remove, store.rollback):
        with pytest.raises(ModelError, match="More than one model folder has the id fake-chest"):
            change("fake-chest")
    with pytest.raises(ModelError, match="More than one"), store.examined(fakes.make_model(tmp_path / "new")):
        pass
    assert sorted(path.name for path in store.folder.iterdir() if not path.name.startswith(".")) == ["a", "b"]

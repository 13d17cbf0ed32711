from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.case import Case
from medviewer.domain.errors import ModelError, UsageError
from medviewer.explain.methods import explain, weigh
from medviewer.inference import catalogue as catalogue_module
from medviewer.inference.acceptance import OneModel
from medviewer.inference.catalogue import Catalogue, OneFolder
from tests import data_models, fakes


def test_good_models_are_found_in_every_folder(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "bundled" / "a", id="first")
    fakes.make_model(tmp_path / "own" / "b", id="second")
    catalogue = Catalogue([tmp_path / "bundled", tmp_path / "own", tmp_path / "absent"])
    assert [(entry.id, entry.problem) for entry in catalogue.entries] == [("first", ""), ("second", "")]
    assert catalogue.card("second").folder == tmp_path / "own" / "b"


def test_nothing_is_read_before_somebody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    check = catalogue_module.check_file

    def noted(folder: Path, file: Any, *, is_trusted: bool) -> None:
        hashed.append(threading.current_thread().name)
        check(folder, file, is_trusted=is_trusted)

    monkeypatch.setattr(catalogue_module, "check_file", noted)
    fakes.make_model(tmp_path / "a")
    catalogue = Catalogue([tmp_path])
    assert hashed == []
    catalogue.begin()
    catalogue.begin()
    assert catalogue.card("fake-chest").folder == tmp_path / "a"
    once = len(hashed)
    assert once == len(catalogue.card("fake-chest").files)
    assert all(name.startswith("medviewer-hash") for name in hashed)
    assert catalogue.refresh() == frozenset()
    assert len(hashed) == 2 * once


def test_a_list_that_was_given_is_not_read_anew(tmp_path: Path) -> None:
    card = Catalogue([fakes.make_model(tmp_path / "a").parent]).card("fake-chest")
    one = OneModel(card)
    one.begin()
    assert [entry.id for entry in one.entries] == ["fake-chest"]
    assert one.card("fake-chest").file("reference") is None


def test_many_threads_may_ask_first(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "a")
    catalogue = Catalogue([tmp_path])
    with ThreadPoolExecutor(8) as pool:
        lists = list(pool.map(lambda _n: catalogue.entries, range(8)))
    assert all(one is lists[0] for one in lists)
    assert len(lists[0]) == 1


def test_a_changed_file_is_an_entry_with_a_reason(tmp_path: Path) -> None:
    folder = fakes.make_model(tmp_path / "a")
    fakes.make_model(tmp_path / "b", id="good")
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)
    catalogue = Catalogue([tmp_path])
    bad, good = catalogue.entries
    assert bad.card is None
    assert "SHA-256" in bad.problem
    assert good.problem == ""
    with pytest.raises(ModelError, match="SHA-256"):
        catalogue.card("fake-chest")


def test_a_file_that_cannot_be_read_is_an_entry_with_a_reason_and_may_be_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.make_model(tmp_path / "a")
    with monkeypatch.context() as patched:

        def fail(*_args: Any, **_more: Any) -> None:
            raise OSError(5, "Input/output error")

        patched.setattr(catalogue_module, "check_file", fail)
        catalogue = Catalogue([tmp_path])
        (entry,) = catalogue.entries
    assert entry.card is None
    assert "Input/output error" in entry.problem
    catalogue.refresh()
    assert catalogue.entries[0].card is not None


def test_it_says_when_nobody_waits_for_it_any_more_and_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes.make_model(tmp_path / "a")
    let_go, begun = threading.Event(), []

    def slow(*_args: Any, **_more: Any) -> None:
        begun.append(True)
        let_go.wait(20)

    monkeypatch.setattr(catalogue_module, "check_file", slow)
    monkeypatch.setattr(catalogue_module, "_THREADS", 1)
    catalogue = Catalogue([tmp_path])
    assert not catalogue.is_hashed
    catalogue.begin()
    assert not catalogue.is_hashed
    threading.Timer(0.2, let_go.set).start()
    catalogue.close()
    assert len(begun) == 1, "those that had not begun are left"
    assert not any(one.name.startswith("medviewer-hash") for one in threading.enumerate())
    whole = Catalogue([tmp_path])
    whole.begin()
    whole.finish()
    assert whole.is_hashed


def test_a_bad_card_is_an_entry_with_a_reason(tmp_path: Path) -> None:
    folder = fakes.make_model(tmp_path / "broken")
    (folder / "model.json").write_text("{")
    (entry,) = Catalogue([tmp_path]).entries
    assert (entry.id, entry.card) == ("broken", None)
    assert "not valid JSON" in entry.problem


def test_a_model_without_a_card_is_an_entry_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "model.onnx").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    [entry] = Catalogue([tmp_path]).entries
    assert entry.id == "bare"
    assert "has no readable model.json" in entry.problem


def test_a_missing_file_is_an_entry_with_a_reason(tmp_path: Path) -> None:
    folder = fakes.make_model(tmp_path / "a")
    (folder / "ood.npz").unlink()
    (entry,) = Catalogue([tmp_path]).entries
    assert entry.card is None
    assert "ood.npz" in entry.problem


def test_of_two_models_with_one_id_none_is_used_and_both_are_named(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "a")
    fakes.make_model(tmp_path / "b", version="9.9.9")
    fakes.make_model(tmp_path / "c", id="other")
    catalogue = Catalogue([tmp_path])
    first, second, third = catalogue.entries
    assert (first.card, second.card) == (None, None)
    assert (first.rivals, second.rivals, third.rivals) == ((tmp_path / "b",), (tmp_path / "a",), ())
    assert third.card is not None
    with pytest.raises(ModelError) as refused:
        catalogue.card(fakes.MODEL_ID)
    assert f"{tmp_path / 'a'}, {tmp_path / 'b'}. Keep one of them there" in str(refused.value)
    assert "Put its whole folder there again" not in str(refused.value)
    shutil.rmtree(tmp_path / "b")
    catalogue.refresh()
    assert catalogue.card(fakes.MODEL_ID).folder == tmp_path / "a"


def test_a_damaged_model_beside_one_of_its_id_may_be_the_one_that_is_meant(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "a")
    (fakes.make_model(tmp_path / "b", version="9.9.9") / "model.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match="More than one model folder has the id"):
        Catalogue([tmp_path]).card(fakes.MODEL_ID)


def test_a_copy_of_a_model_and_a_link_to_it_take_it_from_nobody(tmp_path: Path) -> None:
    folder = fakes.make_model(tmp_path / "a")
    shutil.copytree(folder, tmp_path / "b")
    (tmp_path / "c").symlink_to(folder, target_is_directory=True)
    catalogue = Catalogue([tmp_path])
    assert catalogue.card(fakes.MODEL_ID).folder == folder
    assert ["already has the id" in entry.problem for entry in catalogue.entries] == [False, True, True]


def test_two_own_models_of_the_id_of_a_bundled_one_do_not_give_way_to_it(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "own" / "a", version="2.0.0")
    fakes.make_model(tmp_path / "own" / "b", version="3.0.0")
    fakes.make_model(tmp_path / "bundled" / "a")
    with pytest.raises(ModelError, match="More than one model folder has the id"):
        Catalogue([tmp_path / "own", tmp_path / "bundled"]).card(fakes.MODEL_ID)
    shutil.rmtree(tmp_path / "own" / "b")
    assert Catalogue([tmp_path / "own", tmp_path / "bundled"]).card(fakes.MODEL_ID).version == "2.0.0"


def test_two_bundled_models_of_one_id_are_stood_in_for_by_an_own_one(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "own" / "a", version="2.0.0")
    fakes.make_model(tmp_path / "bundled" / "a")
    fakes.make_model(tmp_path / "bundled" / "b", version="1.0.0")
    (entry,) = Catalogue([tmp_path / "own", tmp_path / "bundled"]).entries
    assert entry.card is not None
    assert entry.card.version == "2.0.0"


def test_a_folder_that_is_named_itself_is_its_own_model_whatever_lies_beside_it(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "a")
    folder = fakes.make_model(tmp_path / "b", version="9.9.9")
    assert OneFolder(folder).card(fakes.MODEL_ID).folder == folder


def test_an_unknown_id_names_the_known_ones(tmp_path: Path) -> None:
    fakes.make_model(tmp_path / "a", id="first")
    with pytest.raises(UsageError, match="first"):
        Catalogue([tmp_path]).card("second")
    with pytest.raises(UsageError, match="none"):
        Catalogue([]).card("second")


def test_refresh_sees_what_came_and_went(tmp_path: Path) -> None:
    catalogue = Catalogue([tmp_path])
    assert catalogue.entries == ()
    folder = fakes.make_model(tmp_path / "a")
    catalogue.refresh()
    assert [entry.id for entry in catalogue.entries] == ["fake-chest"]
    shutil.rmtree(folder)
    catalogue.refresh()
    assert catalogue.entries == ()


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e400", "1" + "0" * 5000])
@pytest.mark.parametrize("name", ["reference_tolerance", "size"])
def test_an_absurd_number_in_one_card_hides_no_other_model(tmp_path: Path, number: str, name: str) -> None:
    fakes.make_model(tmp_path / "good", id="good")
    bad = fakes.make_model(tmp_path / "bad", id="other")
    document = json.loads((bad / "model.json").read_text())
    (document if name == "reference_tolerance" else document["files"][0])[name] = "@"
    (bad / "model.json").write_text(json.dumps(document).replace('"@"', number))
    entries = {entry.id: entry.problem for entry in Catalogue([tmp_path]).entries}
    assert entries["good"] == ""
    assert "not valid JSON" in entries["bad"]


def test_a_folder_that_may_not_be_entered_hides_no_other_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.make_model(tmp_path / "good", id="good")
    locked = fakes.make_model(tmp_path / "locked", id="locked")
    real_stat, real_open = Path.stat, Path.open

    def stat(path: Path, **options: Any) -> Any:
        if path.parent == locked:
            raise PermissionError(13, "Permission denied")
        return real_stat(path, **options)

    def opened(path: Path, *arguments: Any) -> Any:
        if path.parent == locked:
            raise PermissionError(13, "Permission denied")
        return real_open(path, *arguments)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(Path, "open", opened)
    entries = {entry.id: entry.problem for entry in Catalogue([tmp_path]).entries}
    assert entries["good"] == ""
    assert "Permission denied" in entries["locked"]


def test_a_model_that_was_replaced_meanwhile_is_another_one(tmp_path: Path) -> None:
    folder = fakes.make_model(tmp_path / "a", id="one")
    fakes.make_model(tmp_path / "b", id="other")
    catalogue = Catalogue([tmp_path])
    held = catalogue.card("one")
    catalogue.refresh()
    catalogue.check_unchanged(held)
    shutil.rmtree(folder)
    fakes.make_model(folder, id="one", version="7.0.0")
    catalogue.refresh()
    with pytest.raises(ModelError, match="was replaced while it was asked"):
        catalogue.check_unchanged(held)
    catalogue.check_unchanged(catalogue.card("other"))


class Overtaken(fakes.FakeEngine):
    """An engine whose model is replaced as soon as a run has been made, from the moment that a test wishes it."""

    is_near = True
    times = 0

    def run(self, *arguments: Any, **more: Any) -> dict[str, np.ndarray]:
        found = super().run(*arguments, **more)
        if self.is_near:
            (folder,) = (entry.folder for entry in self.catalogue.entries)
            shutil.rmtree(folder)
            fakes.make_model(folder, version=f"7.0.{self.times}")
            self.catalogue.refresh()
            self.is_near, self.times = False, self.times + 1
        return found


def test_a_model_that_is_replaced_while_it_is_asked_gives_neither_answer_nor_map(tmp_path: Path) -> None:
    """Its numbers would be the new network's, read by the old card."""
    fakes.make_model(tmp_path / "m")
    engine, case = Overtaken(Catalogue([tmp_path])), fakes.make_case()
    with pytest.raises(ModelError, match="was replaced"):
        engine.ask(case, fakes.MODEL_ID)
    assert engine.ask(case, fakes.MODEL_ID).provenance.model_version == "7.0.0"
    engine.is_near = True
    with pytest.raises(ModelError, match="was replaced"):
        explain(engine, case, fakes.MODEL_ID, "occlusion", n_random=0)
    shown = explain(engine, case, fakes.MODEL_ID, "occlusion", n_random=0)
    engine.is_near = True
    with pytest.raises(ModelError, match="was replaced"):
        weigh(engine, case, shown, n_random=2)


def test_a_model_of_words_that_is_replaced_while_it_explains_gives_no_explanation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_models.make("tfidf", tmp_path / "m")
    engine, case = data_models.DataEngine(tmp_path), Case(note=data_models.NOTE)
    real, name, versions = engine.run, "tiny-tfidf", iter(("7.0.0", "7.0.1"))

    def replaced(*arguments: Any, **more: Any) -> dict[str, np.ndarray]:
        found = real(*arguments, **more)
        monkeypatch.setattr(engine, "run", real)
        shutil.rmtree(tmp_path / "m")
        data_models.make("tfidf", tmp_path / "m", version=next(versions))
        engine.catalogue.refresh()
        return found

    monkeypatch.setattr(engine, "run", replaced)
    with pytest.raises(ModelError, match="was replaced"):
        explain(engine, case, name, "occlusion", n_random=0)
    shown = explain(engine, case, name, "occlusion", n_random=0)
    monkeypatch.setattr(engine, "run", replaced)
    with pytest.raises(ModelError, match="was replaced"):
        weigh(engine, case, shown, n_random=2)


def test_a_map_of_another_card_of_the_same_network_is_not_weighed(tmp_path: Path) -> None:
    """A finding may be another label by now."""
    fakes.make_model(tmp_path / "m")
    engine, case = fakes.FakeEngine(Catalogue([tmp_path])), fakes.make_case()
    shown = explain(engine, case, fakes.MODEL_ID, "occlusion", n_random=0)
    shutil.rmtree(tmp_path / "m")
    fakes.make_model(tmp_path / "m", version="7.0.0")
    engine.catalogue.refresh()
    with pytest.raises(UsageError, match="belongs to another image or model"):
        weigh(engine, case, shown, n_random=2)

"""Hanging protocols in their file: what is written comes back, what cannot be used is kept aside and said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app.hanging_file import HangingFile
from medviewer.app.hanging_protocol import BUILT_IN, DisplaySet, HangingProtocol, as_data, checked
from medviewer.app.start import running_application
from medviewer.domain.errors import InputError, StorageError
from tests.conftest import InlineExecutor

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine

MINE = HangingProtocol("甲 <b>x</b>", "MR", "BRAIN", "PA, LL/RL", 2, (1, 2), (DisplaySet(plane="axial"), DisplaySet(1)))


@pytest.fixture
def file(tmp_path: Path) -> HangingFile:
    return HangingFile(tmp_path / "home")


def written(file: HangingFile, content: str) -> HangingFile:
    file.path.parent.mkdir(exist_ok=True)
    file.path.write_text(content, encoding="utf-8")
    return file


def test_what_is_written_comes_back_in_its_order(file: HangingFile) -> None:
    file.save((MINE, *BUILT_IN))
    assert file.load().protocols == (MINE, *BUILT_IN)
    assert file.load().problem == ""
    assert json.loads(file.path.read_text(encoding="utf-8"))["protocols"][0]["display_sets"][1]["prior"] == 1


def test_without_a_file_there_are_those_of_the_program(file: HangingFile) -> None:
    assert file.load().protocols == BUILT_IN
    assert file.load().problem == ""


def test_those_of_the_program_are_as_they_must_be() -> None:
    assert checked(as_data(BUILT_IN)) == BUILT_IN
    assert len({one.name for one in BUILT_IN}) == len(BUILT_IN)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[" * 100_000, "[]", '{"version": 99, "protocols": []}', '{"version": 1, "protocols": [{"name": ""}]}'],
    ids=["empty", "cut off", "deep", "a list", "a newer version", "a bad protocol"],
)
def test_a_file_that_cannot_be_used_is_kept_aside_and_said(file: HangingFile, content: str) -> None:
    loaded = written(file, content).load()
    assert loaded.protocols == BUILT_IN
    assert "kept as hanging_protocols.1.kept" in loaded.problem
    assert (file.path.parent / "hanging_protocols.1.kept").read_text(encoding="utf-8") == content
    assert not file.path.exists()
    file.save((MINE,))
    assert file.load().protocols == (MINE,)


def test_files_that_were_kept_are_never_replaced(file: HangingFile) -> None:
    for content in ("first", "second"):
        written(file, content).load()
    kept = sorted(path.read_text() for path in file.path.parent.glob("*.kept"))
    assert kept == ["first", "second"]


def test_a_file_that_went_bad_meanwhile_is_not_written_over(file: HangingFile) -> None:
    written(file, "by hand").save((MINE,))
    assert (file.path.parent / "hanging_protocols.1.kept").read_text() == "by hand"


def test_a_file_that_is_too_large_is_not_read(file: HangingFile) -> None:
    whole = {"version": 1, "protocols": as_data((MINE,)), "more": " " * (1 << 20)}
    assert "too large" in written(file, json.dumps(whole)).load().problem


def test_what_cannot_be_moved_aside_is_not_written_over(file: HangingFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _target: object) -> None:
        raise PermissionError(13, "refused")

    monkeypatch.setattr(Path, "rename", refuse)
    assert written(file, "bad").load().protocols == BUILT_IN
    with pytest.raises(StorageError, match="not permitted"):
        file.save((MINE,))
    assert file.path.read_text() == "bad"


BAD: list[dict[str, Any]] = [
    {"name": "   "},
    {"name": "x" * 81},
    {"name": 3},
    {"layout": [5, 1]},
    {"layout": [0, 2]},
    {"layout": [1, 3]},  # two viewports are described
    {"layout": [True, 2]},
    {"layout": 2},
    {"priors": -1},
    {"priors": 10},
    {"priors": 1.5},
    {"when_opening": 1},
    {"modality": "x" * 201},
    {"unknown": 1},
    {"display_sets": [{}, {"prior": 10}]},
    {"display_sets": [{}, {"series": -1}]},
    {"display_sets": [{}, {"preset": 10}]},
    {"display_sets": [{}, {"laterality": "LEFT"}]},
    {"display_sets": [{}, {"plane": "oblique"}]},
    {"display_sets": [{}, {"cut": "oblique"}]},
    {"display_sets": [{}, {"front": "up"}]},
    {"display_sets": [{}, {"inverted": "no"}]},
    {"display_sets": [{}, 3]},
]


@pytest.mark.parametrize("change", BAD, ids=str)
def test_each_field_is_taken_only_as_what_it_must_be(change: dict[str, Any]) -> None:
    good = as_data((MINE,))[0]
    assert checked([good]) == (MINE,)
    with pytest.raises(InputError, match="Hanging protocol 1"):
        checked([good | change])


def test_there_are_only_so_many(file: HangingFile) -> None:
    with pytest.raises(InputError, match="at most"):
        checked(as_data((MINE,) * 201))


def test_the_reader_hears_of_a_bad_file_at_the_start(fake_engine: FakeEngine, medviewer_home: Path) -> None:
    written(HangingFile(medviewer_home), "{")
    with running_application(medviewer_home, lambda call: call(), fake_engine, InlineExecutor) as app:
        assert app.state.hanging == BUILT_IN
        assert app.state.notice is not None
        assert "hanging_protocols.1.kept" in app.state.notice.text


def test_protocols_that_cannot_be_kept_are_not_used(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("The hanging protocols were not saved: the disk is full.")

    application.run_command("layout.use_protocols", (replace(MINE, layout=(9, 9)),))
    assert application.state.hanging == BUILT_IN
    monkeypatch.setattr(HangingFile, "save", refuse)
    application.run_command("layout.use_protocols", (MINE,))
    assert application.state.hanging == BUILT_IN
    assert application.state.notice is not None
    assert "disk is full" in application.state.notice.text

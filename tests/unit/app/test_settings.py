"""Settings survive a broken file, and the old file survives a failed save."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medviewer.app.settings import Settings, SettingsFile, home
from medviewer.app.state import Overlay
from medviewer.domain.errors import StorageError


def test_the_environment_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDVIEWER_HOME", str(tmp_path / "here"))
    assert home() == tmp_path / "here"


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    settings = Settings(
        language="zh",
        recent=("/a", "/b c/é"),
        overlay=Overlay(method="occlusion", opacity=0.25, threshold=0.75, color_map="viridis"),
        corner_text="minimal",
        smooth=False,
        model_id="m",
        run_when_opened=True,
        layout={"splitter": "AAAA"},
    )
    file = SettingsFile(tmp_path / "new" / "folder")
    file.save(settings)
    assert SettingsFile(tmp_path / "new" / "folder").load() == settings
    assert [p.name for p in file.folder.iterdir()] == ["settings.json"]


def test_no_file_gives_the_defaults(tmp_path: Path) -> None:
    assert SettingsFile(tmp_path).load() == Settings()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[1]", b"\xff\xfe", b'{"language": ' + b"[" * 10_000, b" " * (2 << 20)],
    ids=["empty", "cut", "null", "list", "bytes", "deep", "huge"],
)
def test_a_broken_file_gives_the_defaults(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "settings.json").write_bytes(content)
    assert SettingsFile(tmp_path).load() == Settings()


@given(
    st.dictionaries(
        st.sampled_from([*Settings.__dataclass_fields__, "unknown"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=8,
        ),
    )
)
def test_any_json_gives_usable_settings(tmp_path_factory: pytest.TempPathFactory, document: dict[str, object]) -> None:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "settings.json").write_text(json.dumps(document))
    settings = SettingsFile(folder).load()
    assert isinstance(settings.language, str)
    assert all(isinstance(p, str) for p in settings.recent)
    assert 0 <= settings.overlay.opacity <= 1
    assert 0 <= settings.overlay.threshold <= 1
    assert settings.corner_text in ("all", "minimal", "none")
    SettingsFile(folder).save(settings)
    assert SettingsFile(folder).load() == settings


def test_one_broken_entry_does_not_take_the_others_away(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"language": 7, "model_id": "m", "overlay": {"opacity": 9}}))
    assert SettingsFile(tmp_path).load() == Settings(model_id="m")


def test_a_heat_map_that_nothing_here_can_draw_gives_the_default(tmp_path: Path) -> None:
    for name in ("method", "color_map"):
        (tmp_path / "settings.json").write_text(json.dumps({"overlay": {name: "turbo", "opacity": 0.25}}))
        assert SettingsFile(tmp_path).load().overlay == Overlay(opacity=0.25)


def test_a_failed_save_is_said_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SettingsFile(tmp_path)
    file.save(Settings(language="zh"))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medviewer.whole_file.os.fsync", full)
    with pytest.raises(StorageError, match="free some space"):
        file.save(Settings(language="en"))
    assert file.load().language == "zh"
    assert [p.name for p in tmp_path.iterdir()] == ["settings.json"]


def test_recent_has_each_path_once_newest_first_and_ends() -> None:
    settings = Settings()
    for name in ["a", "b", "a", *map(str, range(20))]:
        settings = settings.with_recent(name)
    assert settings.recent[:2] == ("19", "18")
    assert len(settings.recent) == len(set(settings.recent)) == 12
    assert replace(settings, recent=()).with_recent("x").recent == ("x",)

"""Resources are found the same way from a source tree, a wheel and a frozen program."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from medviewer import resources


def test_source_tree_has_resources_beside_the_package() -> None:
    assert resources.models_dir().parent == Path(resources.__file__).resolve().parents[1]


def test_wheel_carries_them_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "medviewer"
    (package / "_data" / "resources").mkdir(parents=True)
    (package / "_data" / "resources" / "a.txt").write_text("a", encoding="utf-8")
    monkeypatch.setattr(resources, "__file__", str(package / "resources.py"))
    assert resources.resource("a.txt").read_text(encoding="utf-8") == "a"
    assert resources.models_dir() == package / "_data" / "models"


def test_frozen_program_carries_them_beside_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    assert resources.models_dir() == tmp_path / "models"


def test_a_missing_resource_says_what_to_do() -> None:
    with pytest.raises(FileNotFoundError, match="install it again"):
        resources.resource("no-such-thing")

"""Each import contract is proven by breaking it once, in a copy of the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import samples

BREAKS = [
    ("Imports point down", "domain/errors.py", "import medviewer.imaging"),
    ("Imports point down", "records/record.py", "import medviewer.imaging"),
    ("Qt only in gui", "app/session.py", "import PySide6"),
    ("pydicom, SimpleITK and highdicom", "inference/card.py", "import pydicom"),
    ("torch, onnxruntime and captum", "gui/theme.py", "import torch"),
    ("torch, onnxruntime and captum", "app/session.py", "import onnxruntime"),
    ("The model side never imports records", "explain/methods.py", "import medviewer.records"),
]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(program), "--no-cache"],
        cwd=root,
        env={"PYTHONPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    shutil.copytree(samples.ROOT / "medviewer", root / "medviewer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(samples.ROOT / "pyproject.toml", root)
    return root


@pytest.mark.slow
def test_contracts_hold(tree: Path) -> None:
    result = lint_imports(tree)
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("contract", "module", "line"), BREAKS)
def test_each_contract_notices_its_break(tree: Path, contract: str, module: str, line: str) -> None:
    path = tree / "medviewer" / module
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(f"{text}\n{line}\n", encoding="utf-8")
        result = lint_imports(tree)
    finally:
        path.write_text(text, encoding="utf-8")
    broken = [row for row in result.stdout.splitlines() if "BROKEN" in row]
    assert result.returncode != 0
    assert any(contract in row for row in broken), result.stdout


@pytest.mark.slow
def test_a_new_package_must_find_its_layer(tree: Path) -> None:
    stray = tree / "medviewer" / "utils"
    stray.mkdir()
    try:
        (stray / "__init__.py").write_text("", encoding="utf-8")
        result = lint_imports(tree)
    finally:
        shutil.rmtree(stray)
    assert result.returncode != 0
    assert "utils" in result.stdout

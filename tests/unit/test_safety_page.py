"""The safety page promises tests by name; every one of them must exist."""

from __future__ import annotations

import re

from tests import samples


def test_every_test_that_the_page_names_exists() -> None:
    page = (samples.ROOT / "docs" / "clinical-safety.md").read_text(encoding="utf-8")
    files = list((samples.ROOT / "tests").rglob("test_*.py"))
    there = {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))}
    named = set(re.findall(r"`(test_\w+)`", page))
    paths = set(re.findall(r"`(tests/[\w/]+\.py)`", page))
    assert len(named) > 30
    assert not named - there
    assert not {path for path in paths if not (samples.ROOT / path).is_file()}

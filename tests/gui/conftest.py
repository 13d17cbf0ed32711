"""Every window test is dressed like the program and speaks English, whatever ran before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication

from medviewer.gui.text import use_language
from medviewer.gui.theme import apply_theme


@pytest.fixture(autouse=True)
def _dressed(qapp: QApplication) -> Iterator[None]:
    apply_theme(qapp)
    use_language("en")
    yield
    use_language("en")

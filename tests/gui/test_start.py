"""What the first image does not need is not imported before it, and Qt comes after what needs no Qt."""

from __future__ import annotations

import subprocess
import sys

from tests import samples

SCRIPT = """
import sys
import medviewer.cli.window

seen = []

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("medviewer.", "PySide6.Qt")):
            seen.append(name)

sys.meta_path.insert(0, Finder())
import medviewer.app.start
import medviewer.gui.run

print("|".join(seen))
"""


def test_what_the_first_image_does_not_need_is_not_imported_for_it() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT], cwd=samples.ROOT, capture_output=True, text=True, check=True
    )
    imported = done.stdout.strip().split("|")
    later = (
        "gui.findings_panel", "gui.record_panel", "gui.measurements_panel", "gui.layers_panel", "gui.command_palette",
        "gui.empty_view", "gui.catalogue_rows", "gui.document_page", "gui.volume_view", "app.trainer",
        "app.model_shelf", "training",
    )  # fmt: skip
    assert [name for name in later if f"medviewer.{name}" in imported] == []
    assert "medviewer.gui.viewport" in imported

"""What is dropped on the window."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtGui import QDropEvent


def dropped_paths(event: QDropEvent) -> list[Path]:
    """The files and folders of this computer in what is dragged; a URL without a path means no place at all."""
    found = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
    return [Path(text) for text in found if text]  # Path("") would be the folder the program was started in

"""Take the icons that MedViewer uses out of Lucide, and tint the marks that style sheets draw.

Run once, by hand, when icons or colours change::

    npm pack lucide-static && tar xzf lucide-static-*.tgz
    python packaging/make_icons.py package

Icons drawn for MedViewer itself (``OURS``) stay as they are. A style sheet cannot tint an SVG,
so the few marks inside controls (arrows, ticks) are written once for each theme.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from medviewer.gui.theme import THEMES

RESOURCES = Path(__file__).resolve().parent.parent / "resources"
OURS = ("actual-size", "chest", "cobb", "heart-width", "heat-map", "invert", "long-short", "probability")
LUCIDE = (
    "activity", "angle", "app-window", "arrow-down", "arrow-left", "arrow-right", "arrow-up", "box", "captions",
    "check", "chevron-down", "chevron-right", "circle-check", "circle-minus", "circle-play", "circle-x",
    "clipboard-list", "columns-2", "contrast", "copy", "cpu", "crosshair", "ellipse", "eye", "eye-off", "file",
    "file-text", "file-up", "flag", "flip-horizontal-2", "flip-vertical-2", "folder-open", "history", "image",
    "image-down", "images", "info", "keyboard", "languages", "lasso", "layers", "layers-2", "layout-grid", "link",
    "list-tree", "locate", "log-out", "maximize", "maximize-2", "menu", "monitor", "move", "octagon-alert",
    "palette", "panel-left", "pencil", "pill", "play", "redo-2", "refresh-ccw", "rotate-ccw-clock",
    "rotate-ccw-square", "rotate-cw-square", "ruler", "ruler-dimension-line", "save", "settings", "skip-back",
    "skip-forward", "square-arrow-right", "square-dashed", "stethoscope", "text-search", "trash-2",
    "triangle-alert", "undo-2", "user", "x", "zoom-in", "zoom-out",
)  # fmt: skip
MARKS = {"chevron-down": "secondary", "check": "on_accent"}


def tidy(svg: str) -> str:
    """The drawing alone: no comment, no class, on few lines."""
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+class="[^"]*"', "", svg)
    return re.sub(r"\s*\n\s+(?=[a-z-]+=)", " ", svg).replace("\n>", ">").strip() + "\n"


def main(package: Path) -> None:
    """Write resources/icons and resources/themes/<theme>."""
    icons = RESOURCES / "icons"
    for old in icons.glob("*.svg"):
        if old.stem not in OURS:
            old.unlink()
    for name in LUCIDE:
        (icons / f"{name}.svg").write_text(tidy((package / "icons" / f"{name}.svg").read_text("utf-8")), "utf-8")
    shutil.copyfile(package / "LICENSE", icons / "LICENSE-Lucide.txt")
    for theme, tokens in THEMES.items():
        folder = RESOURCES / "themes" / theme
        folder.mkdir(parents=True, exist_ok=True)
        for mark, token in MARKS.items():
            svg = (icons / f"{mark}.svg").read_text("utf-8")
            (folder / f"{mark}.svg").write_text(svg.replace("currentColor", getattr(tokens, token)), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

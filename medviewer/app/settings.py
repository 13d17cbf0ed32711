"""What MedViewer remembers between two starts: one small JSON file that may be missing or broken."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import platformdirs

from medviewer.app.commands import COMMANDS
from medviewer.app.preferences import DENSITIES, THEMES
from medviewer.app.presets import CT_PRESETS, Presets, as_data, from_data
from medviewer.app.shortcuts import NO_CHANGES, Changes, checked
from medviewer.app.state import Overlay
from medviewer.app.viewing import CORNER_TEXTS
from medviewer.domain.frozen import dataclass
from medviewer.explain.methods import METHODS
from medviewer.explain.overlay import COLOR_MAPS
from medviewer.whole_file import storage_error, write_whole

log = logging.getLogger(__name__)

HOME_VARIABLE = "MEDVIEWER_HOME"
RECENT_LIMIT = 12
_SIZE_LIMIT_BYTES = 1 << 20


def home() -> Path:
    """The folder that holds settings and records: ``MEDVIEWER_HOME``, or the system's place for user data."""
    given = os.environ.get(HOME_VARIABLE)
    return Path(given) if given else platformdirs.user_data_path("MedViewer", appauthor=False, roaming=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of the reader. Everything has a default, so that no file is needed.

    ``layout`` holds what the window wants back (sizes as text that Qt made); it means
    nothing to anyone else.
    """

    language: str = "en"
    recent: tuple[str, ...] = ()
    overlay: Overlay = field(default_factory=Overlay)
    corner_text: str = "all"
    smooth: bool = True
    theme: str = "dark"
    density: str = "comfortable"
    up_brightens: bool = True
    model_id: str = ""
    run_when_opened: bool = False
    read_first: bool = False
    page: str = ""  # the last one printed on: app.printing reads it
    film: str = ""  # how the name of the last one saved ended
    ct_presets: Presets = field(default_factory=lambda: CT_PRESETS)
    shortcuts: Changes = field(default_factory=lambda: NO_CHANGES)
    layout: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def with_recent(self, path: str) -> Settings:
        """The same with ``path`` as the latest thing opened."""
        return replace(self, recent=(path, *(p for p in self.recent if p != path))[:RECENT_LIMIT])


class SettingsFile:
    """Reads and writes :class:`Settings` in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "settings.json"

    def load(self) -> Settings:
        """The settings; a missing or broken file, or a broken entry, gives its default."""
        try:
            if self.path.stat().st_size > _SIZE_LIMIT_BYTES:
                raise ValueError("too large")  # noqa: TRY301 - the same cure as for any broken file
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Settings()
        except (OSError, ValueError, RecursionError):
            log.info("the settings file cannot be read; starting with defaults")
            return Settings()
        return _settings(data) if isinstance(data, dict) else Settings()

    def save(self, settings: Settings) -> None:
        """Write the settings: the old file stays whole until the new one is.

        Raises:
            StorageError: the folder cannot be written.
        """
        mappings = {
            "layout": dict(settings.layout),
            "shortcuts": dict(settings.shortcuts),
            "ct_presets": as_data(settings.ct_presets),
        }
        data = asdict(replace(settings, layout={}, shortcuts={}, ct_presets={})) | mappings
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error("The settings file", error) from error
        write_whole(self.path, json.dumps(data, ensure_ascii=False, indent=1).encode())


def _settings(data: dict[str, Any]) -> Settings:
    """Take what has the right type, entry by entry; unknown entries (a newer version's) are left out."""
    kept: dict[str, Any] = {}
    defaults = Settings()
    for entry in fields(Settings):
        value = data.get(entry.name)
        default = getattr(defaults, entry.name)
        if isinstance(default, bool | str) and type(value) is type(default):
            kept[entry.name] = value
    kept["recent"] = _texts(data.get("recent"))[:RECENT_LIMIT]
    kept["overlay"] = _overlay(data.get("overlay"))
    kept["ct_presets"] = from_data(data.get("ct_presets"))
    kept["shortcuts"] = checked(COMMANDS, data.get("shortcuts"))
    layout = data.get("layout")
    if isinstance(layout, dict):
        kept["layout"] = {k: v for k, v in layout.items() if isinstance(v, str)}
    for name, known in (("corner_text", CORNER_TEXTS), ("theme", THEMES), ("density", DENSITIES)):
        if kept.get(name) not in known:
            kept.pop(name, None)
    return Settings(**kept)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()


def _overlay(value: object) -> Overlay:
    default = Overlay()
    given = value if isinstance(value, dict) else {}

    def one_of(name: str, known: Collection[str]) -> str:
        found = given.get(name)  # a newer version's choice, or a slip of the pen: nothing here could draw it
        return found if isinstance(found, str) and found in known else str(getattr(default, name))

    def share(name: str) -> float:
        found = given.get(name)
        is_share = isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= 1
        return float(found) if is_share and found is not None else float(getattr(default, name))

    return Overlay(
        method=one_of("method", [method.id for method in METHODS]),
        opacity=share("opacity"),
        threshold=share("threshold"),
        color_map=one_of("color_map", COLOR_MAPS),
    )

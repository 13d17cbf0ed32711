"""A recipe as the window is told of it, and what it takes: which data, and which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from medviewer.domain.errors import UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.recipe_settings import PathSetting, read_settings, read_value

Text = Mapping[str, str]
# The trainer keeps a run where it finds it again, and says itself when its checkpoints go.
_OURS = frozenset(("checkpoints",))


@dataclass(frozen=True, slots=True)
class Recipe:
    """What can be trained.

    Attributes:
        name: as the command line calls it.
        title: what it makes.
        data: which data it wants.
        duration: how long it takes.
        settings: its defaults, as text.
        problem: why it cannot be trained here; else "".
        files: suffixes of the files that it takes in the place of a folder; none: folders only.
        paths: its settings that are paths and have no default.
        defaults: the values of ``settings``.
        meanings: what a setting means, where the recipe says.
    """

    name: str
    title: Text
    data: Text
    duration: Text
    settings: Mapping[str, str]
    problem: str = ""
    files: tuple[str, ...] = ()
    paths: Mapping[str, PathSetting] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    meanings: Mapping[str, Text] = field(default_factory=dict)

    def check_data(self, path: Path) -> None:
        """Refuse a place where no data of this recipe can lie; what is in it, the recipe itself finds out.

        Raises:
            UsageError: there is nothing, or a file of a kind that the recipe does not take.
        """
        if path.is_dir():
            return
        if not path.exists():
            raise UsageError(f"The training data are not at {path}; choose them again.")
        if not self.files:
            raise UsageError(f"{path.name} is a file; this recipe takes a folder: choose the one with its data.")
        if path.suffix.lower() not in self.files:
            kinds = ", ".join(self.files)
            raise UsageError(f"{path.name} is no file of this recipe; choose a folder or one of these files: {kinds}.")

    def own_settings(self, given: Mapping[str, str]) -> dict[str, str]:
        """Give those that differ from the recipe's own."""
        return {name: text for name, text in given.items() if text != self.settings.get(name, "")}

    def check_settings(self, given: Mapping[str, str]) -> None:
        """Refuse what the recipe itself would refuse as soon as it started, in its words.

        Raises:
            UsageError: an unknown setting, or one with a value or path that cannot be used.
        """
        read_settings(self.defaults, self.own_settings(given), self.paths)


def read_recipe(entry: Mapping[str, Any]) -> Recipe:
    """Read one entry of ``medviewer.recipes/1``."""
    settings = entry["settings"]
    return Recipe(
        name=entry["recipe"],
        title=entry["title"],
        data=entry["data"],
        duration=entry["duration"],
        settings={one["name"]: one["value"] for one in settings},
        problem=entry["problem"],
        files=tuple(entry["files"]),
        paths={
            one["name"]: PathSetting(one["kind"], one["about"], tuple(one["suffixes"]), one["is_read"])
            for one in entry["paths"]
            if one["name"] not in _OURS
        },
        defaults={one["name"]: read_value(one["value"], one["kind"]) for one in settings},
        meanings={one["name"]: one["about"] for one in settings},
    )

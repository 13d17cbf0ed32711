"""What was asked of a recipe, and where its run takes place."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, no_progress
from medviewer.inference.card import read_card
from medviewer.training.configs import LoopConfig
from medviewer.training.lesson import Surroundings
from medviewer.training.processes import Processes, this_device
from medviewer.training.publish import check_comparable

# Settings that are paths, and without which the same command would give another model.
_MADE_FROM = ("encoder", "resume", "weights")


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a recipe.

    Attributes:
        recipe: its name.
        data: the data, as the recipe describes them.
        out: the model folder to make.
        overrides: settings by name, as text.
        progress: called with one line of text at a time.
        bar: called with (done, total, text) after each step, and before each validation.
        force: whether a model in ``out`` is replaced by one that is not better.
        processes: who learns together.
        record: called with (run, line) for each line of a run's record.
        search: what chose settings among the overrides: how many ``trials``, and the ``names``; empty: nothing did.
    """

    recipe: str
    data: Path
    out: Path
    overrides: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[str], None] = print
    bar: Progress = no_progress
    force: bool = False
    processes: Processes = field(default_factory=lambda: Processes(0, 1, this_device()))
    record: Callable[[str, Mapping[str, Any]], None] = lambda *_: None
    search: Mapping[str, Any] = field(default_factory=dict)

    @property
    def asked(self) -> dict[str, Any]:
        """Return what the card's ``training`` says of the request beside the config; paths by name only.

        ``given`` are the paths of what the model was made from, ``search`` is as above; neither where there is none.
        """
        found = {"given": [name for name in _MADE_FROM if name in self.overrides], "search": dict(self.search)}
        return {name: value for name, value in found.items() if value}

    @property
    def run_folder(self) -> Path:
        """Return where the run keeps its checkpoints until the model is complete: beside ``out``."""
        out = self.out.absolute()
        return out.with_name(f"{out.name}.training")

    def surroundings(self, config: LoopConfig, data_digest: str, folders: Mapping[str, Path]) -> Surroundings:
        """Return where the loop works: in the folder ``checkpoints`` if it is given, else in :attr:`run_folder`.

        Args:
            config: every setting of the run.
            data_digest: of the data; with the settings it says which run it is.
            folders: ``checkpoints`` and ``tensorboard``, where given.
        """
        folder = folders.get("checkpoints", self.run_folder)

        def record(run: Path, line: Mapping[str, Any]) -> None:
            self.record("" if run == folder else run.relative_to(folder).as_posix(), line)

        return Surroundings(
            folder,
            {"recipe": self.recipe, "config": dataclasses.asdict(config), "data": data_digest},
            self.progress,
            self.bar,
            folders.get("tensorboard"),
            self.processes,
            record,
        )

    def check_comparable(
        self,
        data_digest: str,
        metric: str,
        folds: Mapping[str, Any] | None = None,
        split: Mapping[str, Any] | None = None,
    ) -> None:
        """Refuse, before anything is learned, a place whose model the new one could not be compared with in the end.

        Args:
            data_digest: as the card will tell it.
            metric: of the validation.
            folds: the settings that decide which folds the validation is of, where it is of folds.
            split: who is validated on, where the card will tell that.

        Raises:
            UsageError: as :func:`medviewer.training.publish.check_comparable`.
        """
        known = {"recipe": self.recipe, "data_digest": data_digest, "validation": {"metric": metric}}
        known |= {} if split is None else {"split": split}
        check_comparable(self.out, known, force=self.force, folds=folds)

    def completed(self, folders: Mapping[str, Path]) -> Path:
        """Return the model folder; remove the run's own, and say what the model is called and which weights it has.

        A folder for checkpoints that was given stays, and so does a search. Only the first process does any of it: the
        others are done while it still writes.
        """
        if not self.processes.is_first:
            return self.out
        if "checkpoints" not in folders:
            shutil.rmtree(self.run_folder, ignore_errors=True)
        card = read_card(self.out)
        self.progress(f"the model {card.id} is complete: {self.out}")
        self.progress(f"sha256 of its weights: {card.sha256}")
        return self.out

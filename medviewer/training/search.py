"""Tries settings of a recipe within the ranges that it declares, and remembers every trial.

The study lies in a file beside the trials' own folders. A search that was broken off goes on:
the trial that was running from its checkpoint, then the rest. Wherever it was broken off, it tries
the same settings: what is drawn depends on the run's seed and on the trials before, on nothing else.

Source: Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework" (2019);
new settings are drawn by its tree-structured Parzen estimator.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medviewer.domain.errors import RuntimeMissingError, StorageError, TrainingError, UsageError
from medviewer.domain.frozen import dataclass

FILE = "search.log"
_STUDY = "search"


@dataclass(frozen=True, slots=True)
class Range:
    """Values from ``low`` to ``high``, whole numbers if both are."""

    low: float
    high: float
    is_logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values."""

    options: tuple[str, ...]


Ranges = Mapping[str, Range | Choice]


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried: settings as text, the folder of its run, and the validation score."""

    settings: Mapping[str, str]
    folder: Path
    score: float


def search(
    ranges: Ranges,
    n_trials: int,
    folder: Path,
    learn: Callable[[Mapping[str, str], Path], float],
    *,
    identity: Mapping[str, Any],
    progress: Callable[[str], None],
) -> Trial:
    """Return the best of ``n_trials`` trials, those of an earlier call included.

    Args:
        ranges: by name of the setting.
        n_trials: how many trials are to be complete in the end.
        folder: of the study and, below it, of each trial.
        learn: trains with some settings in a folder and returns the validation score (higher is better).
        identity: settings (``config``, whose ``seed`` decides what is drawn) and data that all trials share.
        progress: called with a line at a time.

    Raises:
        UsageError: no trial is wanted, or the folder keeps the search of something else.
        RuntimeMissingError: Optuna is not installed.
        TrainingError: no trial came to its end.
        StorageError: the disk is full or cannot be written; the trials that are complete stay.
    """
    if n_trials < 1:
        raise UsageError("A search needs at least one trial; write --search 20, for example.")
    with _kept(folder):
        study, optuna = _open_study(folder, ranges, identity)
    states, drawn = optuna.trial.TrialState, _distributions(optuna, ranges)
    while (number := sum(t.state == states.COMPLETE for t in study.trials)) < n_trials:
        if sum(t.state == states.FAIL for t in study.trials) >= n_trials:
            raise TrainingError("Every trial of the search failed; see what is said above of each.")
        # One that was not drawn to its end is no trial: what it would have been is drawn again.
        whole = [t for t in study.trials if t.params.keys() == ranges.keys()]
        running = [t for t in whole if t.state == states.RUNNING]
        with _kept(folder):
            # A sampler of its own for each trial: one for all would go on elsewhere after a break.
            study.sampler = optuna.samplers.TPESampler(seed=_seed(identity, len(whole)))
            trial = running[0] if running else study.ask(drawn)
        settings = {name: str(value) for name, value in trial.params.items()}
        progress(f"trial {number + 1} of {n_trials}: {', '.join(f'{k}={v}' for k, v in settings.items())}")
        try:
            score = learn(settings, _trial_folder(folder, trial.number))
        except TrainingError as error:
            with _kept(folder):
                study.tell(trial.number, state=states.FAIL)
            progress(f"trial {number + 1} failed: {error}")
            continue
        with _kept(folder):
            study.tell(trial.number, score)
        progress(f"trial {number + 1}: validation score {score:.4f}, best so far {study.best_value:.4f}")
    best = study.best_trial
    settings = {name: str(value) for name, value in best.params.items()}
    return Trial(settings, _trial_folder(folder, best.number), float(best.value))


def _seed(identity: Mapping[str, Any], number: int) -> int:
    """Return what a trial is drawn with: another one for each trial of a run, and for each seed of runs."""
    return zlib.crc32(f"{identity.get('config', {}).get('seed', 0)} {number}".encode())


def _trial_folder(folder: Path, number: int) -> Path:
    return folder / f"trial-{number + 1:03d}"


@contextlib.contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Say in one sentence that the study cannot be written."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The search cannot be kept in {folder} ({error.strerror}); make room there, and the same command goes on "
            "after the trials that are complete."
        ) from error


def _without_half_a_line(log: Path) -> None:
    """Take away what a full disk cut off: a line that is added to it would make both unreadable."""
    if not log.is_file():
        return
    whole = log.read_bytes().rfind(b"\n") + 1
    if whole < log.stat().st_size:
        with log.open("r+b") as file:
            file.truncate(whole)


def _open_study(folder: Path, ranges: Ranges, identity: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the study of a folder, new or as it stands, and the package."""
    try:
        import optuna  # noqa: PLC0415 - an extra
        from optuna.storages import JournalStorage  # noqa: PLC0415
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock  # noqa: PLC0415
    except ImportError as error:
        raise RuntimeMissingError("A search needs the package optuna: pip install 'medviewer[torch,cpu]'.") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    _without_half_a_line(folder / FILE)
    file = str(folder / FILE)
    storage = JournalStorage(JournalFileBackend(file, JournalFileOpenLock(file)))
    study = optuna.create_study(storage=storage, study_name=_STUDY, direction="maximize", load_if_exists=True)
    ours = json.dumps({"ranges": {k: asdict(v) for k, v in ranges.items()}, **identity}, sort_keys=True)
    theirs = study.user_attrs.get("identity", ours)
    if theirs != ours:
        raise UsageError(f"{folder} keeps a search with other settings, ranges or data; choose another --out.")
    study.set_user_attr("identity", ours)
    return study, optuna


def _distributions(optuna: Any, ranges: Ranges) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, given in ranges.items():
        if isinstance(given, Choice):
            found[name] = optuna.distributions.CategoricalDistribution(given.options)
        elif isinstance(given.low, int) and isinstance(given.high, int):
            found[name] = optuna.distributions.IntDistribution(given.low, given.high, log=given.is_logarithmic)
        else:
            found[name] = optuna.distributions.FloatDistribution(given.low, given.high, log=given.is_logarithmic)
    return found

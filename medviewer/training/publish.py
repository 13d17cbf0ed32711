"""From files to a model: the card with its figures, in a place where no better model stands."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medviewer.domain.errors import ModelError, StorageError, UsageError
from medviewer.inference.card import Card, read_card
from medviewer.training.card import write_card
from medviewer.training.configs import LoopConfig
from medviewer.training.evaluate import evaluate
from medviewer.training.export import whole_folder
from medviewer.training.place import beside

PUBLISHED_SPLITS = ("block", "report")
_FOLDS = ("n_folds", "n_repeats", "seed")
_REST = "Give --force to replace it all the same, or another --out"


def check_place(out: Path, recipe: str) -> Card | None:
    """Return the model that lies where another is to be made, if there is one.

    Raises:
        UsageError: something else lies there, which is never overwritten.
    """
    if not out.exists():
        return None
    try:
        card = read_card(out)
    except ModelError as error:
        raise UsageError(f"{out} is already there and holds no model; choose another folder or remove it.") from error
    if card.training.get("recipe") != recipe:
        raise UsageError(f"{out} is already there, the model {card.id} of another recipe; choose another folder.")
    return card


def folds_of(config: LoopConfig) -> dict[str, Any]:
    """Return the settings that decide which folds judge, of a recipe that draws them."""
    return {name: getattr(config, name) for name in _FOLDS if hasattr(config, name)}


def check_comparable(
    out: Path, training: Mapping[str, Any], *, force: bool = False, folds: Mapping[str, Any] | None = None
) -> Mapping[str, Any] | None:
    """Refuse to replace a model with which the new one could not be compared; asked before anything is learned.

    Args:
        out: the model folder to make.
        training: as for :func:`check_better`; of ``validation`` only the ``metric``, which is known before its value.
        force: replace it whatever it is.
        folds: the settings that decide which folds the validation is of, where it is of folds.

    Returns:
        How good the model that lies there is, as ``training`` tells it; None where none lies there, or by force.

    Raises:
        UsageError: a model that cannot be compared lies there; says why.
    """
    old = check_place(out, str(training["recipe"]))
    if old is None or force:
        return None
    metric = str(training["validation"]["metric"])
    theirs = _validation(old.training, metric)
    if theirs is None or theirs["metric"] != metric:
        raise UsageError(f"{out} holds a model whose card does not say its {metric}. {_REST}.")
    if old.training.get("data_digest") != training["data_digest"]:
        raise UsageError(f"{out} holds a model of other data, with which no validation can be compared. {_REST}.")
    if "split" in training and old.training.get("split") != training["split"]:
        raise UsageError(f"{out} holds a model that was validated on other patients of the same data. {_REST}.")
    if other := _other_folds(dict(old.training.get("config", {})), folds or {}):
        raise UsageError(f"{out} holds a model judged by other folds, which cannot be compared: {other}. {_REST}.")
    return theirs


def check_better(
    out: Path, training: Mapping[str, Any], *, force: bool = False, folds: Mapping[str, Any] | None = None
) -> None:
    """Refuse to replace a model by one that is not better on the recipe's own validation patients.

    Args:
        out: the model folder to make.
        training: the new card's section of that name: ``recipe``, ``data_digest``, and ``validation``
            with ``metric`` and ``value`` (higher is better); and ``split``, where that says who was validated on.
        force: replace it whatever it is.
        folds: the settings that decide which folds the validation is of, where it is of folds.

    Raises:
        UsageError: a model that is as good, or cannot be compared, lies there; says why.
    """
    theirs = check_comparable(out, training, force=force, folds=folds)
    if theirs is None:
        return
    new_value, metric = float(training["validation"]["value"]), str(training["validation"]["metric"])
    if not new_value > float(theirs["value"]):
        said = f"{metric} {float(theirs['value']):.4f}, the new one's {new_value:.4f}"
        raise UsageError(f"{out} holds a model that is no worse: {said}. {_REST}; what was learned is kept.")


def _other_folds(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Name the settings of folds that are others, with both values; an older card may lack one."""
    other = [name for name in ours if theirs.get(name) != ours[name]]
    return ", ".join(f"{name} {theirs.get(name, 'not told')}, the new one's {ours[name]}" for name in other)


def _validation(training: Mapping[str, Any], metric: str) -> Mapping[str, Any] | None:
    """Return how good a model was in validation; of older cards, what their history says of the chosen epoch."""
    if "validation" in training:
        return dict(training["validation"])
    for epoch in training.get("history", ()):
        if epoch.get("chosen") and "worst" in epoch:
            return {"metric": metric, "value": epoch["worst"]}
    return None


@contextlib.contextmanager
def model_folder(out: Path) -> Iterator[Path]:
    """Give a folder that becomes ``out`` when the block ends well; a model that lies there goes only then.

    Raises:
        StorageError: the disk is full or cannot be written. What was in ``out`` is still there.
    """
    if not out.exists():
        with whole_folder(out) as partial:
            yield partial
        return
    out = out.absolute()
    new, old = beside(out, "new"), beside(out, "old")
    for remains in (new, old):
        shutil.rmtree(remains, ignore_errors=True)
    with whole_folder(new) as partial:
        yield partial
    try:
        out.rename(old)
        new.rename(out)
    except OSError as error:
        if old.exists() and not out.exists():
            with contextlib.suppress(OSError):
                old.rename(out)
        raise StorageError(f"The model cannot be moved to {out} ({error.strerror}); it lies in {new}.") from error
    shutil.rmtree(old, ignore_errors=True)


def publish(partial: Path, data: Path, document: Mapping[str, Any], progress: Callable[[str], None]) -> None:
    """Write the card, measure the files just written as anyone can, and write the figures on the card."""
    write_card(partial, document)
    reports = {
        split: evaluate(partial, data, partial / "report", split=split, progress=progress, with_curves=False)
        for split in PUBLISHED_SPLITS
    }
    for name in ("report.json", "report.html"):
        (partial / "report" / name).unlink()
    (partial / "report").rmdir()
    write_card(partial, document, reports)

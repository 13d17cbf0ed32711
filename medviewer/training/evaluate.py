"""How good is a model folder on a folder of labelled images?

Runs the shipped files, not the training code: card, preprocessing, ONNX Runtime,
calibration and threshold are those that a reader of the viewer gets.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from medviewer import __version__
from medviewer.domain.errors import InputError, MedViewerError, Stopped, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.inference.card import Card, read_card
from medviewer.training.data import ClassFolders, LabelledImage, find_images, splits_of
from medviewer.training.evaluable import check_is_of_one_image, check_runs_here, finding_of, spelled_in
from medviewer.training.metrics import counted, measures, with_intervals
from medviewer.training.report_page import check_can_be_written, report_page, write_report
from medviewer.training.robustness import strength_curves, under_shifts
from medviewer.training.scoring import Classifier, Progress, Scored, score, silent
from medviewer.training.subgroups import subgroups
from medviewer.training.sums import say_sums

REPORT_SCHEMA = "medviewer-evaluation/1"
NEGATIVE_FOLDER = "NORMAL"
_SHARES = ("block", "tune", "report")
_N_EXPLAINED, _N_CHANGED, _EXPLAINING_MINUTES = 8, 2, 4.0


def evaluate(  # noqa: PLR0913 - what a person may ask of it
    model: Path,
    data: Path,
    out: Path,
    *,
    split: str | None = None,
    label: str | None = None,
    progress: Progress = silent,
    with_curves: bool = True,
) -> Mapping[str, Any]:
    """Run a model over labelled data and write a report: an image classifier here, other kinds in their modules.

    Args:
        model: the model folder; of one image with one finding or several, of which one is judged, by its own
            threshold and calibration.
        data: holds ``NORMAL/`` and one folder named as the finding (or the classes that the card
            names), with JPEG or PNG files of any size, grey or colour; or a label table
            (:mod:`medviewer.training.labels`), or a file (:mod:`medviewer.training.breastmnist`).
        out: receives ``report.json`` and ``report.html``; made if it is not there.
        split: ``train``, ``block``, ``tune`` or ``report``: only the patients whom the
            card's training section puts there, to repeat the internal validation; or a part that
            the data declare themselves; None: every image.
        label: of a model of images with several findings, the one to judge; None: the one that the data's classes name.
        progress: called with one line of text at a time.
        with_curves: measure images at growing strengths of change, and attacked, and a few explanations, too:
            some minutes.

    Returns:
        The content of ``report.json``; see ``docs/json.md``.

    Raises:
        ModelError: the model folder is invalid, or the runtime is not installed.
        UsageError: the model is of a kind that cannot be measured, has no such finding, or several and the data do
            not say which; or there is no such split.
        InputError: the data cannot be used, or are not those whose sums lie beside them.
        StorageError: the report cannot be written.
    """
    card = read_card(model)
    check_runs_here(card)
    check_can_be_written(out)
    say_sums(data, progress)
    other = _of_another_kind(card)
    if label is not None and other is not None:
        raise UsageError(f"{card.id} is not judged by one finding of an image; leave --label out.")
    if other is not None:
        return other(model, data, out, split=split, progress=progress)
    check_is_of_one_image(card)
    return _evaluate_images(card, finding_of(card, data, label), data, out, _Wishes(split, progress, with_curves))


def _of_another_kind(card: Card) -> Callable[..., Mapping[str, Any]] | None:
    """Return what evaluates models of other data than images that show a finding; None for those."""
    kinds = {spec.kind for spec in card.inputs}
    if card.task == "segmentation":
        from medviewer.training.outline_evaluation import evaluate_outlines  # noqa: PLC0415 - of another kind of data

        return evaluate_outlines
    if card.task == "forecast":
        from medviewer.training.forecast_evaluation import evaluate_forecasts  # noqa: PLC0415 - of another kind of data

        return evaluate_forecasts
    if "series" in kinds:
        from medviewer.training.stay_evaluation import evaluate_stays  # noqa: PLC0415 - of another kind of data

        return evaluate_stays
    if "text" in kinds:
        from medviewer.training.note_evaluation import evaluate_notes  # noqa: PLC0415 - of another kind of data

        return evaluate_notes
    if "molecule" in kinds:
        from medviewer.training.molecule_evaluation import evaluate_molecules  # noqa: PLC0415 - likewise

        return evaluate_molecules
    if card.task == "survival":
        from medviewer.training.survival_evaluation import evaluate_survival  # noqa: PLC0415 - of another kind too

        return evaluate_survival
    return None


@dataclass(frozen=True, slots=True)
class _Wishes:
    """As for :func:`evaluate`."""

    split: str | None
    progress: Progress
    with_curves: bool


def _evaluate_images(card: Card, index: int, data: Path, out: Path, wishes: _Wishes) -> Mapping[str, Any]:
    """Judge one finding of a model of one image and write the report."""
    started, progress, label = time.time(), wishes.progress, card.labels[index]
    classes = classes_of(card)
    if len(card.labels) > 1:
        progress(f"judging the finding {label.name}")
        classes = NEGATIVE_FOLDER, spelled_in(data, label.name)
    classifier = Classifier(card, index)
    found = find_images(data, classes)
    chosen = split_images(card, found, wishes.split)
    scored, unusable = score(classifier, chosen, progress)
    report = {
        "schema": REPORT_SCHEMA,
        "model": {"id": card.id, "version": card.version, "sha256": card.sha256},
        "label": label.name,
        "data": describe_images(card, found, scored, unusable, wishes.split),
        **summarise(scored, label.threshold),
        "subgroups": subgroups(scored, label.threshold),
        "robustness": under_shifts(classifier, scored, progress),
        "curves": strength_curves(classifier, scored, progress) if wishes.with_curves else {},
        "novelty": _novelty(card, scored),
        "explanations": _explanations(card, found, chosen, progress) if wishes.with_curves else None,
        "versions": _versions(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "elapsed_s": round(time.time() - started, 1),
    }
    page = report_page(report, scored.truth, scored.probability)
    write_report(out, report, page)
    progress(f"report written to {out}")
    return report


def _explanations(
    card: Card, found: ClassFolders, chosen: Sequence[LabelledImage], progress: Progress
) -> Mapping[str, Any] | None:
    """Return how far the model's heat maps can be believed on a few of these images; None where it has none.

    A few images say whether something is wrong; ``medviewer models assess`` measures on hundreds.
    """
    from medviewer.explain.methods import methods_for  # noqa: PLC0415 - of heat maps alone
    from medviewer.training.assess import Plan, Pool, measure_explanations  # noqa: PLC0415 - uses this module

    methods = methods_for(card)
    if not methods:
        return None
    if len(card.labels) > 1:
        return {"problem": "the maps of a model with several findings cannot be measured yet."}
    progress(f"measuring explanations, at most {_EXPLAINING_MINUTES:g} minutes and a little")
    plan = Plan(n=_N_EXPLAINED, n_few=_N_CHANGED, minutes=_EXPLAINING_MINUTES, splits=("evaluated",))
    with tempfile.TemporaryDirectory(prefix="medviewer-evaluate-") as folder:
        try:
            measured = measure_explanations(
                card.folder, Pool(found, chosen), work=Path(folder) / "rows.jsonl", plan=plan, progress=Tenths(progress)
            )
        except Stopped:
            raise
        except MedViewerError as error:  # all else has been measured, and is worth its report
            progress(f"explanations were not measured: {error}")
            return {"problem": str(error)}
    kept = {name: measured[name] for name in ("n", "n_random", "n_few", "methods")}
    return kept | {"not_measured": [method.id for method in methods if method.id not in measured["methods"]]}


class Tenths:
    """Tells of long work by a line of text at each tenth of it."""

    def __init__(self, tell: Progress) -> None:
        self._tell = tell
        self._told = 0

    def __call__(self, done: int, total: int, text: str) -> None:
        """Say (steps done, steps in all, what is being done), if another tenth is done."""
        tenth = 10 * done // max(total, 1)
        if tenth > self._told:
            self._told = tenth
            self._tell(f"{10 * tenth} % {text}")


def summarise(scored: Scored, threshold: float) -> dict[str, Any]:
    """Return metrics with intervals, the confusion matrix and the reliability table."""
    found = with_intervals(measures(threshold), scored.truth, scored.probability, scored.patients)
    return {"threshold": threshold, "metrics": found, **counted(scored.truth, scored.probability, threshold)}


def classes_of(card: Card) -> tuple[str, str]:
    """Return the names of the classes in the data of a model of one finding: without it, with it."""
    named = card.training.get("classes")
    return (str(named[0]), str(named[1])) if named else (NEGATIVE_FOLDER, card.labels[0].name.upper())


def split_images(card: Card, found: ClassFolders, split: str | None) -> list[LabelledImage]:
    """Return the images of the asked split, by the rule on the card or by the data; all, if None.

    Raises:
        UsageError: the card records no split and the data declare none, or there is none of that name.
        InputError: it lacks a class.
    """
    if split is None:
        return list(found.images)
    rule = card.training.get("split")
    if not isinstance(rule, Mapping) and (declared := sorted({image.split for image in found.images} - {""})):
        return _with_both_classes([image for image in found.images if image.split == split], split, found, declared)
    if not isinstance(rule, Mapping):
        raise UsageError(f"The card of {card.id} records no split; evaluate the whole folder instead.")
    where = _where(rule, found)
    chosen = [image for image in found.images if where[image.group] == split]
    return _with_both_classes(chosen, split, found, ["train", *_SHARES])


def _with_both_classes(
    chosen: list[LabelledImage], split: str, found: ClassFolders, known: Sequence[str]
) -> list[LabelledImage]:
    if split not in known:
        raise UsageError(f"There is no split {split!r}; there are {', '.join(known)}.")
    if len({image.label for image in chosen}) < 2:
        raise InputError(f"The split {split!r} of {found.root} lacks a class; evaluate more data.")
    return chosen


def describe_images(
    card: Card, found: ClassFolders, scored: Scored, unusable: Sequence[tuple[str, str]], split: str | None
) -> dict[str, Any]:
    """Say what was evaluated, and whether the model has seen it before."""
    used = replace(found, images=scored.images)
    return {
        "path": str(found.root),
        "split": split,
        "n": len(scored.images),
        "n_patients": len(set(scored.patients)),
        "digest": used.digest,
        "per_class": used.per_class,
        "unusable": [{"file": name, "reason": reason} for name, reason in (*found.unusable, *unusable)],
        # A figure from images that were learned from is no evidence, and says so.
        "was_learned_from": _holds_learned(card, found, used, split)
        and any(_was_learned_from(card, whole, used) for whole in (found, _without(found, unusable))),
        "learned_from": scored.learned_from,
        "copies": scored.copies,
        "contradicted": scored.contradicted,
    }


def _without(found: ClassFolders, unusable: Sequence[tuple[str, str]]) -> ClassFolders:
    """Leave out what could not be decoded, as training does before it says what it learned from."""
    names = {name for name, _ in unusable}
    return replace(found, images=tuple(image for image in found.images if image.name not in names))


def _holds_learned(card: Card, found: ClassFolders, used: ClassFolders, split: str | None) -> bool:
    """Whether one of the images used was for training by the model's own split: it may not be the one asked for."""
    rule = card.training.get("split")
    if card.training.get("data_digests"):  # names the parts themselves
        return True
    if not isinstance(rule, Mapping):
        return split in {None, "train"}
    where = _where(rule, found)
    return any(where[image.group] == "train" for image in used.images)


def _where(rule: Mapping[str, Any], found: ClassFolders) -> dict[str, str]:
    """Return patient group -> split by the rule on a card, as training did."""
    shares = {name: float(rule[name]) for name in _SHARES}
    return splits_of(found, int(rule["seed"]), **shares)


def _was_learned_from(card: Card, found: ClassFolders, used: ClassFolders) -> bool:
    """Whether the model learned from these data, or from a part of them that the card names by its digest."""
    learned = set(dict(card.training.get("data_digests", {})).values())
    whole = [
        replace(found, images=tuple(i for i in found.images if i.split == p)) for p in {i.split for i in used.images}
    ]
    if learned:
        return bool(learned & {part.digest for part in whole})
    return found.digest == card.training.get("data_digest")


def _novelty(card: Card, scored: Scored) -> dict[str, Any] | None:
    """Return the share of images that an out-of-distribution guard would warn of or stop."""
    if card.ood is None:
        return None
    limits = {"distance": card.ood, "residual": card.ood.residual, "texture": card.ood.texture}
    pairs = [(scored.far[name], spec) for name, spec in limits.items() if spec is not None and name in scored.far]
    warned = np.any([far > spec.warn_above for far, spec in pairs], axis=0)
    abstained = np.any([far > spec.abstain_above for far, spec in pairs], axis=0)
    medians = {f"median_{name}": round(float(np.median(far)), 3) for name, far in scored.far.items() if name in limits}
    return {
        "warned": round(float(np.mean(warned)), 4),
        "abstained": round(float(np.mean(abstained)), 4),
        **medians,
        "limits": {
            name: {"warn_above": spec.warn_above, "abstain_above": spec.abstain_above}
            for name, spec in limits.items()
            if spec is not None and name in scored.far
        },
    }


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("onnxruntime", "numpy", "pillow")} | {"medviewer": __version__}

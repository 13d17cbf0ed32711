"""Measures how far a model's explanations can be believed, on held-out images, and writes it on the model's card.

Nothing is trained and no network file is touched; torch is not needed. What has been measured is kept line by line
in a work file, so that a run that was stopped goes on where it ended.
"""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medviewer.domain.errors import InputError, ModelError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.explain import randomise, sanity
from medviewer.explain.faithfulness import beats_random
from medviewer.explain.methods import Method, methods_for
from medviewer.explain.question import FloatArray, Question
from medviewer.inference.card import Card, read_card
from medviewer.inference.catalogue import Catalogue, OneFolder
from medviewer.inference.engine import Engine
from medviewer.inference.preprocessing import prepare
from medviewer.training.data import ClassFolders, LabelledImage, find_images
from medviewer.training.evaluate import classes_of, split_images
from medviewer.whole_file import storage_error

HELD_OUT = ("tune", "block")
ALL = "all"
_ROUNDING = 1e-6
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        n: images with the finding, for deletion and insertion.
        minutes: after which nothing more is begun; what there is counts then. None: no limit.
        n_random: random maps for each map; with 19, 39 or 99 a random map beats 95% of them in one of twenty images.
        n_few: of these images for randomised weights, grain and repetition.
        splits: which patients, by the rule on the card; ``("all",)`` takes every image.
        seed: of the choice of images.
    """

    n: int = 200
    n_random: int = 19
    n_few: int = 4
    minutes: float | None = None
    splits: tuple[str, ...] = HELD_OUT
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Images of a data set of which those with the finding may be taken; ``boxes`` say where it is, by file name."""

    found: ClassFolders
    images: Sequence[LabelledImage]
    boxes: Mapping[str, Sequence[sanity.Box]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Run:
    """One assessment under way."""

    card: Card
    plan: Plan
    images: tuple[LabelledImage, ...]
    boxes: Mapping[str, Sequence[sanity.Box]]
    kept: _Kept
    stop: StopToken | None
    progress: Progress
    methods: tuple[Method, ...]
    total: int = 0
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    maps: dict[tuple[str, str], FloatArray] = field(default_factory=dict)  # of the trained network, on its input grid

    @property
    def is_late(self) -> bool:
        """Whether the time is over."""
        limit = self.plan.minutes
        return limit is not None and time.monotonic() - self.began > 60 * limit

    def measured(self, row: Row, measure: Callable[[], Row]) -> list[Row]:
        """The row, measured now or before; nothing if that would have to be begun when the time is over."""
        return [] if self.is_late and not self.kept.has(row) else [self.kept.once(row, measure)]

    def map_of(self, method: Method, image: LabelledImage, engine: Engine) -> FloatArray:
        """The map of the trained network, made once."""
        key = method.id, image.name
        if key not in self.maps:
            question, _ = _question(self, engine, image)
            self.maps[key] = sanity.on_input_grid(method.run(question).values, question)
        return self.maps[key]

    def step(self, text: str) -> None:
        """Tell of one more thing done, and look whether to stop."""
        if self.stop is not None:
            self.stop.raise_if_stopped()
        self.progress(self.done, self.total, text)
        self.done += 1


class _Kept:
    """Rows in a file, each written as it is found; those of another question are put away."""

    def __init__(self, path: Path, head: Row) -> None:
        self._path = path
        self._rows: dict[tuple[str, ...], Row] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
            if not lines or _read_row(lines[0]) != head:
                path.write_text(json.dumps(head) + "\n", encoding="utf-8")
                return
        except OSError as error:
            raise storage_error("What was measured", error) from error
        for line in lines[1:]:
            if (row := _read_row(line)) is not None:  # the last one may have been cut off
                self._rows[_key(row)] = row

    def has(self, row: Row) -> bool:
        """Whether that was measured before."""
        return _key(row) in self._rows

    def once(self, row: Row, measure: Callable[[], Row]) -> Row:
        """The row that is there already, or ``row`` with what ``measure`` finds, kept."""
        key = _key(row)
        if key not in self._rows:
            self._rows[key] = found = row | measure()
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
            except OSError as error:
                raise storage_error("What was measured", error) from error
        return self._rows[key]


def _read_row(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(name, "")) for name in ("kind", "method", "image", "layers"))


def assess(
    model: Path,
    data: Path,
    *,
    work: Path,
    plan: Plan | None = None,
    stop: StopToken | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Measure every explanation method that the card allows.

    Args:
        model: the model folder; a model with one label.
        data: holds ``NORMAL/`` and a folder named as the label, as for
            :func:`medviewer.training.evaluate.evaluate`. A table ``DATA.boxes.csv`` beside it (``file``, ``x``, ``y``,
            ``width``, ``height`` in pixels of the file) says where the findings are.
        work: the file in which what was measured is kept; a run that was stopped goes on from it.
        plan: how much; the default, if None.
        stop: to cancel.
        progress: told of each step.

    Returns:
        What :func:`write_sanity` writes on the card as ``explain.sanity``.

    Raises:
        UsageError: the model has several labels or no method, or there is no such split.
        InputError: no image can be used, or the time was over before every method had one.
        ModelError, EngineError: the model cannot be run.
        StorageError: the work file cannot be written.
        Stopped: cancelled.
    """
    plan = plan or Plan()
    card = read_card(model)
    if not card.is_of_one_image or len(card.labels) != 1 or not methods_for(card):
        raise UsageError(
            f"The model {card.id} cannot be assessed: that needs one image, one label and an explanation method."
        )
    found = find_images(data, classes_of(card))
    pool = _held_out(card, found, plan)
    figures = measure_explanations(
        model, Pool(found, pool, _read_boxes(data)), work=work, plan=plan, stop=stop, progress=progress
    )
    if len(figures["methods"]) < len(methods_for(card)):
        raise InputError("There was no time for a single image with every method; give --minutes more.")
    return figures


def measure_explanations(
    model: Path,
    pool: Pool,
    *,
    work: Path,
    plan: Plan,
    stop: StopToken | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Measure the explanation methods on images that have been chosen already; see :func:`assess`.

    Args:
        model: the model folder; a model with one label and a method.
        pool: the images that may be taken.
        work: the file in which what was measured is kept.
        plan: how much; its ``splits`` only say where ``pool`` is from.
        stop: to cancel.
        progress: told of each step.

    Returns:
        As :func:`assess`; a method that had no time for a single image is missing among ``methods``.
    """
    card = read_card(model)
    methods, images = methods_for(card), _chosen(pool.images, plan)
    head = {
        "model": card.sha256,
        "data": pool.found.digest,
        "n_random": plan.n_random,
        "seed": plan.seed,
        "splits": list(plan.splits),
    }
    few = min(plan.n_few, len(images))
    run = _Run(card, plan, images, pool.boxes, _Kept(work, head), stop, progress, methods)
    stages = randomise.stages(randomise.n_layers(card))
    run.total = len(methods) * (len(images) + few * (len(stages) + 2))
    with Engine(OneFolder(model), providers=("cpu",)) as engine:
        judged = _judged(run, engine)
        steady = _steady(run, engine, few)
        cascade = _cascade(run, engine, few, stages)
    run.progress(run.total, run.total, "Assessed")
    return _document(run, pool.found, judged, steady, cascade)


def _held_out(card: Card, found: ClassFolders, plan: Plan) -> list[LabelledImage]:
    """The images of the patients whom the card says were held out, or all."""
    if plan.splits != (ALL,) and not isinstance(card.training.get("split"), Mapping):
        raise UsageError(f"The card of {card.id} does not say which patients training held out; use --split all.")
    splits = [None] if plan.splits == (ALL,) else plan.splits
    return [image for split in splits for image in split_images(card, found, split)]


def _chosen(pool: Sequence[LabelledImage], plan: Plan) -> tuple[LabelledImage, ...]:
    """Images with the finding, in an order that depends on nothing but their names and the seed."""
    with_it = [image for image in pool if image.label == 1]
    with_it.sort(key=lambda image: hashlib.sha256(f"{plan.seed}/{image.name}".encode()).hexdigest())
    return tuple(with_it[: plan.n])


def _read_boxes(data: Path) -> dict[str, list[sanity.Box]]:
    """Where the findings are, by file name: (row, column, rows, columns) in pixels of the file."""
    table = data.parent / f"{data.name}.boxes.csv"
    if not table.is_file():
        return {}
    boxes: dict[str, list[sanity.Box]] = {}
    try:
        with table.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                y, x, height, width = (float(row[name]) for name in ("y", "x", "height", "width"))
                boxes.setdefault(row["file"], []).append((y, x, height, width))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{table.name} cannot be used: it needs the columns file, x, y, width and height, the last four in numbers."
        ) from error
    return boxes


def _question(run: _Run, engine: Engine, image: LabelledImage) -> tuple[Question, Sequence[sanity.Box]]:
    try:
        grey = image.read()
    except InputError as error:
        raise InputError(f"{image.name}: {error}") from error
    prepared = prepare(grey.astype(np.float32), run.card.preprocessing, pixel_aspect=image.pixel_aspect)
    to_model = np.linalg.inv(prepared.model_to_image)
    boxes = [_moved(box, to_model) for box in run.boxes.get(image.path.name, ())]
    return Question(engine, run.card, prepared.tensor, 0, run.stop, no_progress), boxes


def _moved(box: sanity.Box, to_model: FloatArray) -> sanity.Box:
    """A box of the file as a box of the network's input; its edges lie half a pixel before pixel centres."""
    row, column, rows, columns = box
    top, left, _ = to_model @ (row - 0.5, column - 0.5, 1)
    bottom, right, _ = to_model @ (row + rows - 0.5, column + columns - 0.5, 1)
    return float(top + 0.5), float(left + 0.5), float(bottom - top), float(right - left)


def _judged(run: _Run, engine: Engine) -> list[Row]:
    """Deletion, insertion and pointing game of every method on every image, as far as there is time."""
    rows = []
    for image in run.images:  # image by image: when the time is over, every method has had its share of it
        for method in run.methods:
            name = {"kind": "judged", "method": method.id, "image": image.name}
            run.step(f"{method.title}: against random maps")

            def measure(method: Method = method, image: LabelledImage = image) -> Row:
                question, boxes = _question(run, engine, image)
                saliency = method.run(question)
                deletion, insertion = beats_random(question, saliency.values, run.plan.n_random)
                row: Row = {"deletion": deletion, "insertion": insertion}
                if saliency.error is not None and np.isfinite(saliency.error):
                    row["error"] = saliency.error
                if boxes:
                    row["hit"] = sanity.points_at(saliency.values, boxes, question)
                    row["blind"] = sanity.covered(boxes, question.shape)
                return row

            rows += run.measured(name, measure)
    return rows


def _steady(run: _Run, engine: Engine, few: int) -> list[Row]:
    """How maps bear a grain that nobody sees, and being asked for twice."""
    rows = []
    for method in run.methods:
        for image in run.images[:few]:

            def grain(method: Method = method, image: LabelledImage = image) -> Row:
                question, _ = _question(run, engine, image)
                tensor = sanity.grainy(question.tensor, np.random.default_rng(run.plan.seed))
                changed = method.run(replace(question, tensor=tensor)).values
                return _alike(run.map_of(method, image, engine), sanity.on_input_grid(changed, question))

            def twice(method: Method = method, image: LabelledImage = image) -> Row:
                question, _ = _question(run, engine, image)
                again = sanity.on_input_grid(method.run(question).values, question)
                return {"difference": sanity.difference(run.map_of(method, image, engine), again)}

            name = {"method": method.id, "image": image.name}
            run.step(f"{method.title}: with a grain")
            rows += run.measured({"kind": "grain", **name}, grain)
            run.step(f"{method.title}: twice")
            rows += run.measured({"kind": "twice", **name}, twice)
    return rows


def _cascade(run: _Run, engine: Engine, few: int, stages: Sequence[int]) -> list[Row] | None:
    """How like the trained network's maps those of shuffled networks are; None if it cannot be shuffled."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="medviewer-assess-") as folder:
        try:
            for layers in reversed(stages):  # the whole network first: it decides
                place = randomise.write_randomised(run.card, Path(folder) / str(layers) / run.card.id, layers)
                with Engine(Catalogue([place.parent]), providers=("cpu",)) as shuffled:
                    rows += _compared(run, (engine, shuffled), few, layers)
        except ModelError as error:
            run.progress(run.done, run.total, str(error))
            return None
    return rows


def _compared(run: _Run, engines: tuple[Engine, Engine], few: int, layers: int) -> Iterator[Row]:
    trained, shuffled = engines
    for number, image in enumerate(run.images[:few]):
        question, _ = _question(run, shuffled, image)
        if number == 0 and not run.is_late:
            _check_alike(question)
        for method in run.methods:

            def measure(method: Method = method, image: LabelledImage = image, question: Question = question) -> Row:
                after = sanity.on_input_grid(method.run(question).values, question)
                return _alike(run.map_of(method, image, trained), after)

            run.step(f"{method.title}: {layers} layers shuffled")
            name = {"kind": "shuffled", "method": method.id, "image": image.name, "layers": layers}
            yield from run.measured(name, measure)


def _alike(a: FloatArray, b: FloatArray) -> Row:
    found = sanity.likeness(a, b)
    return {"rank": found.rank, "structure": found.structure}


def _check_alike(question: Question) -> None:
    roles = [role for role in randomise.NETWORKS if question.card.file(role)]
    answers = {role: question.run(question.tensor[None], role, ["logits"])["logits"] for role in roles}
    randomise.check_agreement(answers, question.card.id)


def _document(
    run: _Run, found: ClassFolders, judged: list[Row], steady: list[Row], cascade: list[Row] | None
) -> dict[str, Any]:
    from medviewer import __version__  # noqa: PLC0415

    used = ClassFolders(found.root, found.classes, tuple(sorted(run.images, key=lambda image: image.name)))
    is_held_out = run.plan.splits != (ALL,)
    return {
        "network_sha256": run.card.sha256,
        "split": ", ".join(run.plan.splits),
        "held_out": is_held_out,
        "digest": used.digest,
        "n": len(run.images),
        "n_random": run.plan.n_random,
        "n_few": min(run.plan.n_few, len(run.images)),
        "code_version": __version__,
        "methods": {
            method.id: _figures(
                [row for row in judged if row["method"] == method.id],
                [row for row in steady if row["method"] == method.id],
                None if cascade is None else [row for row in cascade if row["method"] == method.id],
                n_layers=randomise.n_layers(run.card),
                are_held_out=is_held_out,
            )
            for method in run.methods
            if any(row["method"] == method.id for row in judged)
        },
    }


def _figures(
    judged: list[Row], steady: list[Row], cascade: list[Row] | None, *, n_layers: int, are_held_out: bool
) -> dict[str, Any]:
    """What the card says of one method."""
    n = len(judged)
    figures: dict[str, Any] = {
        "n": n,
        "deletion": _share(sum(row["deletion"] for row in judged), n),
        "insertion": _share(sum(row["insertion"] for row in judged), n),
        "both": _share(sum(row["deletion"] and row["insertion"] for row in judged), n),
    }
    grain = [row["rank"] for row in steady if row["kind"] == "grain"]
    twice = [row["difference"] for row in steady if row["kind"] == "twice"]
    if grain:
        mean = float(np.mean(grain))
        figures["grain"] = {"n": len(grain), "rank": round(mean, 3), "passed": mean >= sanity.STEADY_ABOVE}
    if twice:
        largest = float(max(twice))
        figures["repeated"] = {"n": len(twice), "largest_difference": largest, "passed": largest <= _ROUNDING}
    if cascade and max(int(row["layers"]) for row in cascade) == n_layers:
        figures["randomised"] = _cascade_figures(cascade)
    if errors := [row["error"] for row in judged if "error" in row]:
        figures["median_error"] = round(float(np.median(errors)), 4)
    if pointed := [row for row in judged if "hit" in row]:
        hits = _share(sum(row["hit"] for row in pointed), len(pointed))
        figures["pointing"] = {
            **hits,
            "n": len(pointed),
            "blind": round(float(np.mean([r["blind"] for r in pointed])), 3),
        }
    words = sanity.verdict(
        n,
        figures["deletion"]["value"],
        figures["insertion"]["value"],
        depends=figures.get("randomised", {}).get("passed"),
        is_steady=figures.get("grain", {}).get("passed"),
        are_held_out=are_held_out,
    )
    figures["verdict"] = {"en": words.en, "zh": words.zh}
    return figures


def _share(hits: int, n: int) -> dict[str, Any]:
    low, high = sanity.interval(hits, n)
    return {"value": round(hits / n, 4), "ci95": [round(low, 4), round(high, 4)]}


def _cascade_figures(rows: list[Row]) -> dict[str, Any]:
    layers = sorted({int(row["layers"]) for row in rows})
    rank = [float(np.mean([abs(row["rank"]) for row in rows if row["layers"] == k])) for k in layers]
    structure = [float(np.mean([row["structure"] for row in rows if row["layers"] == k])) for k in layers]
    return {
        "n": sum(int(row["layers"]) == layers[-1] for row in rows),
        "layers": layers,
        "rank": [round(value, 3) for value in rank],
        "structure": [round(value, 3) for value in structure],
        "passed": rank[-1] <= sanity.DEPENDS_BELOW,
    }

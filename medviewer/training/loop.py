"""The training loop: read it from top to bottom.

It knows nothing of images, notes or vital signs. A recipe gives it a :class:`Lesson`: which
cases in which order, what a batch of them is, how wrong the network is on it, and how good
on validation patients. Each step takes a gradient step and moves a slow average of the
weights; the average is what is validated and kept, and the epoch of the best score is chosen,
or the last one by plan.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from medviewer.domain.errors import TrainingError
from medviewer.domain.progress import MEASURED, VALIDATING
from medviewer.training.checkpoint import write_tensors
from medviewer.training.configs import LoopConfig
from medviewer.training.lesson import Batch, History, Lesson, Surroundings
from medviewer.training.processes import count_in_batch_norm, own_batch_norm, share_batch_norm
from medviewer.training.run import Run, begin_stage, exact, half_precision, keep, make_folder, recorded, resumed, told
from medviewer.whole_file import write_whole


def fit(network: nn.Module, lesson: Lesson, config: LoopConfig, around: Surroundings) -> History:
    """Train ``network`` in place and leave the chosen epoch's averaged weights in it.

    A folder that holds a run of the same identity is gone on from, and gives the weights that
    the run would have given without the break; a finished run gives them at once.

    Returns:
        One entry an epoch: ``epoch``, ``stage``, ``loss``, ``score``, what the lesson tells,
        ``seconds``, and whether it was ``chosen``.

    Raises:
        Stopped: the user cancelled. The last checkpoint is whole, and the sentence names it.
        TrainingError: out of memory, or a loss or score that is no number; likewise.
        StorageError: the disk is full; likewise.
        UsageError: the folder keeps a run with other settings.
    """
    torch.set_num_threads(config.threads)
    processes = around.processes
    network.to(processes.device)
    if processes.n > 1:
        share_batch_norm(network)
    with told(around), exact(processes.device):
        make_folder(around.folder)
        run = resumed(network, lesson, config, around)
        keep(run)  # a disk that is full, or may not be written, is told before hours of work
        with recorded(run) as run.record:
            while run.stage < len(lesson.stages):
                _teach_stage(run)
                _take_best(run)
                run.stage, run.index = run.stage + 1, 0
                begin_stage(run)
                keep(run)
    _take_best(run)
    own_batch_norm(network)
    network.cpu().eval()
    return run.history


def _teach_stage(run: Run) -> None:
    """Learn, settle, validate and keep, epoch by epoch, until the stage ends or nothing gets better."""
    lesson, around = run.lesson, run.around
    while run.index < lesson.stages[run.stage].epochs and not _has_stalled(run):
        epoch, started = run.epoch, time.monotonic()
        loss = _learn(run)
        learned = time.monotonic()
        found: tuple[float | None, Mapping[str, Any]] | None = None
        if around.processes.is_first:
            _tell(run, VALIDATING)  # which may take as long as the epoch took
            lesson.settle(run.average, epoch)
            found = lesson.validate(run.average, epoch)
        score, details = around.processes.share(found)
        run.between_s = time.monotonic() - learned
        entry = {"epoch": epoch.number, "stage": epoch.stage + 1, **details, "loss": loss, "score": score}
        entry["seconds"] = round(time.monotonic() - started)
        if score is not None and not math.isfinite(score):
            raise TrainingError(f"The validation of epoch {epoch.number} gave no number; see that it has every class.")
        run.history.append(entry)
        run.index, run.order, run.losses = run.index + 1, [], []
        if around.processes.is_first:
            write_tensors(around.folder / f"epoch-{epoch.number}.pt", run.average.state_dict())
            _write_history(run)
        if run.record:
            run.record.epoch(run.n_steps, entry)
        keep(run)
        if around.processes.is_first:
            around.progress(f"epoch {epoch.number}: loss {loss:.4f}{_judged(entry)}")


def _judged(entry: Mapping[str, Any]) -> str:
    """Say how good an epoch was found, or what was measured of it without choosing by it."""
    if not entry.get("by_plan"):
        return "" if entry["score"] is None else f", validation score {entry['score']:.4f}"
    name = entry.get("measured")
    figure = f", {MEASURED.get(name, name)} {entry[name]:.4f}" if name else ""
    return f"{figure}, the last epoch is taken by plan"


def _learn(run: Run) -> float:
    """Learn for the rest of an epoch and return its mean loss."""
    config, lesson, epoch, processes = run.config, run.lesson, run.epoch, run.around.processes
    if not run.order:
        run.order = processes.share(lesson.order(epoch, run.chance))
    rate, total = lesson.stages[run.stage].rate, len(run.order) * lesson.stages[run.stage].epochs
    run.joined.train()
    begun, started = len(run.losses), time.monotonic()
    for chosen in run.order[begun:]:
        own, weight = processes.own(chosen)
        count_in_batch_norm(run.network, counts=weight > 0)
        batch = {name: x.to(processes.device) for name, x in lesson.batch(own, epoch, run.chance).items()}
        step = epoch.index * len(run.order) + len(run.losses)
        share = _schedule(step / total, config.warmup)
        for group in run.optimiser.param_groups:
            group["lr"] = group["peak"] * rate * share
        loss = _step(run, batch, weight)
        _follow(run.average, run.network, min(config.average, (2 + step) / (11 + step)))
        run.losses.append(loss)
        run.n_steps += 1
        if run.record:
            run.record.step(run.n_steps, epoch.number, loss, rate * share)
        run.pace_s = (time.monotonic() - started) / (len(run.losses) - begun)
        _tell(run)
        if len(run.losses) % config.keep_every == 0 and len(run.losses) < len(run.order):
            keep(run)
    return float(np.mean(run.losses))


def _step(run: Run, batch: Batch, share: float) -> float:
    """Take one gradient step and return the loss of the whole batch."""
    device, config = run.around.processes.device, run.config
    half = half_precision(device, config)
    with torch.autocast(device.type, half) if half else contextlib.nullcontext():
        loss = run.lesson.loss(run.joined, batch)
    run.optimiser.zero_grad()
    run.scaler.scale(loss * share if share != 1 else loss).backward()  # type: ignore[no-untyped-call]
    if config.clip_norm:
        run.scaler.unscale_(run.optimiser)
        nn.utils.clip_grad_norm_(run.network.parameters(), config.clip_norm)
    run.scaler.step(run.optimiser)
    run.scaler.update()
    value = run.around.processes.mean(loss, share / run.around.processes.n)
    if not math.isfinite(value):
        raise TrainingError(
            f"The loss of step {run.n_steps + 1} is no number; lower the learning rates or look for such values in the "
            "data."
        )
    return value


def _schedule(done: float, warmup: float) -> float:
    """Return the share of the peak learning rate: a straight rise, then half a cosine."""
    if done < warmup:
        return (done + 1e-3) / warmup
    return 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average, batch-normalisation statistics included, towards the network."""
    for slow, fast in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - decay)
        else:
            slow.copy_(fast)


def _has_stalled(run: Run) -> bool:
    """Whether this stage has seen ``patience`` epochs since its best."""
    scores = [entry["score"] for entry in run.history if entry["stage"] == run.stage + 1]
    usable = [index for index, score in enumerate(scores) if score is not None]
    if not run.config.patience or not usable:
        return False
    best = max(usable, key=lambda index: scores[index])
    return len(scores) - 1 - best >= run.config.patience


def _take_best(run: Run) -> None:
    """Mark the best epoch so far and load its weights; a tie goes to the later one, and by plan it is the last."""
    by_plan = run.lesson.takes_last
    usable = [entry for entry in run.history if by_plan or entry["score"] is not None]
    if not usable:
        raise TrainingError("No epoch has a score, so none can be chosen; see how the recipe validates.")
    best = max(usable, key=lambda entry: (0 if by_plan else entry["score"], entry["epoch"]))
    for entry in run.history:
        entry["chosen"] = entry is best
    weights = None
    if run.around.processes.is_first:
        _write_history(run)
        weights = torch.load(run.around.folder / f"epoch-{best['epoch']}.pt", map_location="cpu", weights_only=True)
    run.network.load_state_dict(run.around.processes.share(weights))
    run.network.eval()


def _write_history(run: Run) -> None:
    write_whole(run.around.folder / "history.json", json.dumps(run.history, indent=1).encode())


def _tell(run: Run, doing: str = "") -> None:
    """Say how far the run is, and how long the rest may take; ``doing``: what is done between steps."""
    around, stages = run.around, run.lesson.stages
    if not around.processes.is_first:
        return
    n_epochs, n = sum(stage.epochs for stage in stages), len(run.order)
    left = (n_epochs - run.epoch.number) * n + n - len(run.losses)
    seconds = left * run.pace_s + (n_epochs - run.epoch.number + 1) * run.between_s
    place = doing or f"step {len(run.losses)}/{n}"
    part, of_part = (f"{around.part}  ", " of this part") if around.part else ("", "")
    text = f"{part}epoch {run.epoch.number} of {n_epochs}  {place}  loss {np.mean(run.losses[-10:]):.4f}"
    rest = (f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left") + of_part
    around.bar(n_epochs * n - left, n_epochs * n, f"{text}  {run.pace_s:.2f} s/step  {rest}")

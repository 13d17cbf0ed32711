"""A run between two steps: what is learned and where it stands; begun, kept, and gone on from."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from medviewer.domain.errors import Stopped, StorageError, TrainingError
from medviewer.domain.frozen import dataclass
from medviewer.inference.memory import is_out_of_memory
from medviewer.training.checkpoint import read_checkpoint, write_checkpoint
from medviewer.training.configs import LoopConfig
from medviewer.training.lesson import Epoch, History, Lesson, Surroundings
from medviewer.training.processes import own_batch_norm
from medviewer.training.run_record import BY_PLAN, RunRecord
from medviewer.whole_file import storage_error


@dataclass(slots=True)
class Run:
    """A run between two steps: what was given, what is learned, and where it stands."""

    network: nn.Module
    lesson: Lesson
    config: LoopConfig
    around: Surroundings
    joined: nn.Module  # the network, as several processes learn together
    average: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    chance: Generator
    record: RunRecord | None = None
    stage: int = 0
    index: int = 0  # epochs done in this stage
    n_steps: int = 0  # done in the whole run
    order: list[Tensor] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # of the steps done in this epoch
    history: History = field(default_factory=list)
    pace_s: float = 0.0  # of a step
    between_s: float = 0.0  # of what follows an epoch

    @property
    def epoch(self) -> Epoch:
        """Return the epoch that is learned next, or now."""
        return Epoch(len(self.history) + 1, self.stage, self.index)


def begin_stage(run: Run) -> None:
    """Draw, average and step anew, from the weights that there are."""
    if run.stage >= len(run.lesson.stages):
        return
    # Each process draws for itself; the first draws what it would draw alone.
    seed = run.lesson.stages[run.stage].seed + 1_000_003 * run.around.processes.rank
    torch.manual_seed(seed)
    run.chance = Generator().manual_seed(seed)
    run.average = copy.deepcopy(run.network).eval()
    own_batch_norm(run.average)
    groups = run.lesson.parameters(run.network)
    run.optimiser = torch.optim.AdamW(groups, weight_decay=run.config.weight_decay)
    scales = half_precision(run.around.processes.device, run.config) is torch.float16
    run.scaler = torch.amp.GradScaler("cuda", enabled=scales)


def keep(run: Run) -> None:
    """Write where the run stands."""
    around = run.around
    chance = around.processes.gather([run.chance.get_state(), torch.get_rng_state(), *_cuda_state(run)])
    if around.processes.is_first:
        state = {
            "network": run.network.state_dict(),
            "average": run.average.state_dict(),
            "optimiser": run.optimiser.state_dict(),
            "scaler": run.scaler.state_dict(),
            "chance": chance,
            "history": json.dumps(run.history),
            **{name: getattr(run, name) for name in _PLACE},
        }
        write_checkpoint(around.folder, state, {**around.identity, "processes": around.processes.n})


_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # how NVIDIA's library is told to add in one order
_PLACE = ("stage", "index", "n_steps", "order", "losses")


def _cuda_state(run: Run) -> list[Tensor]:
    device = run.around.processes.device
    return [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []


def resumed(network: nn.Module, lesson: Lesson, config: LoopConfig, around: Surroundings) -> Run:
    """Return a new run, or the one of the folder where it stands."""
    processes = around.processes
    idle = torch.optim.AdamW(network.parameters())
    scaler = torch.amp.GradScaler("cuda", enabled=False)
    run = Run(network, lesson, config, around, processes.joined(network), network, idle, scaler, Generator())
    identity = {**around.identity, "processes": processes.n}
    held = read_checkpoint(around.folder, identity, around.whole) if processes.is_first else None
    (state,) = processes.share([held])
    if state is None:
        begin_stage(run)
        return run
    for name in _PLACE:
        setattr(run, name, state[name])
    run.history = [entry | BY_PLAN if lesson.takes_last else entry for entry in json.loads(state["history"])]
    begin_stage(run)
    run.network.load_state_dict(state["network"])
    run.average.load_state_dict(state["average"])
    if run.stage < len(lesson.stages):
        run.optimiser.load_state_dict(state["optimiser"])
        run.scaler.load_state_dict(state["scaler"])
    own, shared, *card = state["chance"][processes.rank]
    run.chance.set_state(own)
    torch.set_rng_state(shared)
    for drawn in card:
        torch.cuda.set_rng_state(drawn, processes.device)
    if processes.is_first and run.stage < len(lesson.stages):
        around.progress(f"going on from {around.folder}, epoch {run.epoch.number}, step {len(run.losses)}")
    return run


def half_precision(device: torch.device, config: LoopConfig) -> torch.dtype | None:
    """Return the half precision to calculate in, None on a processor: there nothing changes."""
    if device.type != "cuda" or not config.mixed:
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


@contextlib.contextmanager
def recorded(run: Run) -> Iterator[RunRecord | None]:
    """Give the record to the first process, and to no other."""
    if not run.around.processes.is_first:
        yield None
        return
    around, is_by_plan = run.around, run.lesson.takes_last
    with RunRecord(around.folder, run.n_steps, around.tensorboard, around.record, is_by_plan=is_by_plan) as record:
        yield record


@contextlib.contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Have a graphics card calculate the same twice, as far as PyTorch has a way; a processor does so by itself.

    What it has no way for is calculated all the same, and PyTorch warns of it.
    """
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = (cudnn.benchmark, cudnn.deterministic)
    modes = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    workspace = os.environ.get(_WORKSPACE)
    cudnn.benchmark, cudnn.deterministic = False, True
    os.environ.setdefault(_WORKSPACE, ":4096:8")  # before the card multiplies for the first time
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])
        cudnn.benchmark, cudnn.deterministic = before
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)


def make_folder(folder: Path) -> None:
    """Make the folder of a run.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder.name, error) from error


@contextlib.contextmanager
def told(around: Surroundings) -> Iterator[None]:
    """Turn what ends a run into one sentence that says where it can go on from."""
    rest = f"What was learned until the last checkpoint is kept in {around.folder}; the same command goes on from it."
    try:
        yield
    except KeyboardInterrupt as error:
        raise Stopped(f"Cancelled. {rest}") from error
    except (TrainingError, StorageError) as error:
        raise type(error)(f"{error} {rest}") from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(f"The memory is used up; make the setting batch smaller. {rest}") from error

"""What a running explanation costs and how fast it ends: the worker's peak memory, and the time from stop to stopped.

In the application's own engine, on the bundled model. The peak is what the kernel counted for the worker
(Linux), taken anew before each run.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medviewer.domain.errors import Stopped
from medviewer.domain.progress import StopToken, no_progress
from medviewer.explain import integrated_gradients, rise, smooth_grad
from medviewer.explain.methods import METHODS
from medviewer.explain.question import Question
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.resources import models_dir

MODEL = "chest-xray-pneumonia"
MB = 1 << 20
STOPS = 30  # a method
LONG = ("integrated-gradients", "gradient-shap", "smooth-grad", "occlusion", "rise")


def question(engine: Engine, stop: StopToken | None = None) -> Question:
    """A question about an image of noise."""
    card = engine.catalogue.card(MODEL)
    shape = tuple(int(n or 1) for n in card.inputs[0].shape[1:])
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Question(engine, card, image, 0, stop, no_progress)


def peak_mb(engine: Engine, work: Callable[[], object]) -> float:
    """The worker's largest resident memory while it works, in MB."""
    work()  # what stays allocated afterwards is there before the peak is taken anew
    process = Path(f"/proc/{engine.worker_pid}")
    (process / "clear_refs").write_text("5")
    work()
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    return int(status["VmHWM"].split()[0]) * 1024 / MB


def memory(engine: Engine) -> None:
    """Print the peak at several lengths of each method that has one."""
    asked = question(engine)
    settings: list[tuple[str, str, Any, tuple[Any, ...], Callable[[Question], object]]] = [
        ("integrated gradients, steps", "STEPS", integrated_gradients, ((16,), (64,), (256,)),
         integrated_gradients.integrated_gradients),
        ("SmoothGrad, copies", "COPIES", smooth_grad, (16, 64, 256), smooth_grad.smooth_grad),
        ("RISE, masks", "MASKS", rise, (64, 256, 1024), rise.rise),
    ]  # fmt: skip
    for what, name, module, values, run in settings:
        before = getattr(module, name)
        try:
            for value in values:
                setattr(module, name, value)
                print(f"{what} {value}: worker's peak {peak_mb(engine, lambda run=run: run(asked)):.0f} MB")
        finally:
            setattr(module, name, before)


def stopping(engine: Engine) -> None:
    """Print the median and the worst of the times from a stop to its end, at moments spread over a batch."""
    for method in LONG:
        run = next(row.run for row in METHODS if row.id == method)
        times = [_stop_during(engine, run, batch=1 + i % 3, late_s=0.1 * i / STOPS) for i in range(STOPS)]
        print(f"{method}: stopped in {1e3 * np.median(times):.0f} ms, worst of {STOPS} {1e3 * max(times):.0f} ms")


def _stop_during(engine: Engine, run: Callable[[Question], object], *, batch: int, late_s: float) -> float:
    """Stop ``late_s`` after a batch has begun; gives how long it then took to end, in seconds."""
    stop, has_begun, ended, told = StopToken(), threading.Event(), [], []

    def progress(_done: int, _total: int, _text: str) -> None:
        told.append(None)
        if len(told) == batch:
            has_begun.set()

    def work() -> None:
        try:
            run(replace(question(engine, stop), progress=progress))
        except Stopped:
            ended.append(time.perf_counter())

    thread = threading.Thread(target=work)
    thread.start()
    has_begun.wait()
    time.sleep(late_s)
    asked = time.perf_counter()
    stop.stop()
    thread.join()
    return ended[0] - asked


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=("memory", "stopping"))
    arguments = parser.parse_args()
    with Engine(Catalogue([models_dir()]), providers=("cpu",), threads=arguments.threads) as running:
        if arguments.only != "stopping":
            memory(running)
        if arguments.only != "memory":
            stopping(running)

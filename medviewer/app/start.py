"""Puts an application together and takes it apart again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from medviewer.app.application import Application, Parts
from medviewer.app.frame_cache import FrameCache
from medviewer.app.jobs import Jobs, Post
from medviewer.app.patient import RecordRoom
from medviewer.app.session import Session
from medviewer.app.settings import SettingsFile
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.resources import models_dir

_THREADS = 4
_CACHE_BYTES = 1 << 30


def build_application(folder: Path, post: Post, engine: Engine) -> tuple[Application, list[ThreadPoolExecutor]]:
    """An application that keeps its settings and records in ``folder``, with the threads that it works on."""
    pools = [
        ThreadPoolExecutor(_THREADS, "medviewer-job"),
        ThreadPoolExecutor(2, "medviewer-background"),
        ThreadPoolExecutor(1, "medviewer-write"),
    ]
    made: list[Application] = []

    def on_progress(slot: str, done: int, total: int, text: str) -> None:
        if made:
            made[0].show_progress(slot, done, total, text)

    def on_idle(slot: str) -> None:
        if made:
            made[0].hide_progress(slot)

    def quiet(_slot: str, _done: int, _total: int, _text: str) -> None:
        """Nobody waits for this."""

    parts = Parts(
        session=Session(),
        jobs=Jobs(pools[0], post, on_progress=on_progress, on_idle=on_idle),
        background=Jobs(pools[1], post, on_progress=quiet, on_idle=lambda _slot: None),
        writes=Jobs(pools[2], post, on_progress=quiet, on_idle=lambda _slot: None),
        post=post,
        engine=engine,
        records=RecordRoom(folder),
        settings_file=SettingsFile(folder),
        frames=FrameCache(_CACHE_BYTES),
    )
    made.append(Application(parts))
    return made[0], pools


@contextmanager
def running_application(folder: Path, post: Post, engine: Engine | None = None) -> Iterator[Application]:
    """An application for as long as the block lasts; at its end nothing of it runs any more.

    What was being written is written to the end first: nothing acknowledged is lost.
    """
    used = engine or Engine(Catalogue([folder / "models", models_dir()]))
    app, pools = build_application(folder, post, used)
    try:
        yield app
    finally:
        app.close()
        used.close()
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=pool is not pools[2])
        app.records.close()

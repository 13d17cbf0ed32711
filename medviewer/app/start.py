"""Puts an application together and takes it apart again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
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
from medviewer.inference.signing import TrustFile
from medviewer.inference.trust import FILE_NAME as TRUST_FILE
from medviewer.inference.trust import TrustList
from medviewer.resources import models_dir

_THREADS = 4
_CACHE_BYTES = 1 << 30


MakeExecutor = Callable[[int, str], Executor]
"""Makes what work runs on, from the number of threads and their name."""


def build_application(folder: Path, post: Post, engine: Engine, pools: Sequence[Executor]) -> Application:
    """An application that keeps its settings and records in ``folder``.

    ``pools`` run its work: what the reader waits for, what nobody waits for, what is written (on one thread), what
    waits for processes of hours, whatever is opened and closed meanwhile, and what writes the reader's files.
    """
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
        hours=Jobs(pools[3], post, on_progress=quiet, on_idle=lambda _slot: None),
        saves=Jobs(pools[4], post, on_progress=on_progress, on_idle=on_idle),
        post=post,
        engine=engine,
        records=RecordRoom(folder),
        settings_file=SettingsFile(folder),
        frames=FrameCache(_CACHE_BYTES),
    )
    made.append(Application(parts))
    return made[0]


@contextmanager
def running_application(
    folder: Path,
    post: Post,
    engine: Engine | None = None,
    make_executor: MakeExecutor = ThreadPoolExecutor,
    *,
    has_models: bool = True,
) -> Iterator[Application]:
    """An application for as long as the block lasts; at its end nothing of it runs any more.

    What was being written is written to the end first: nothing acknowledged is lost. Without ``has_models`` it knows
    of no model until ``adopt_models`` is called, and does not wait for the files of all to be hashed.
    """
    trained_here = TrustList(folder / TRUST_FILE)
    used = engine or Engine(Catalogue([folder / "models", models_dir()], TrustFile(folder), trust=trained_here))
    sizes = {"job": _THREADS, "background": 2, "write": 1, "hours": 3, "save": 3}
    pools = [make_executor(n, f"medviewer-{name}") for name, n in sizes.items()]
    app = build_application(folder, post, used, pools)
    if has_models:
        app.adopt_models()
    try:
        yield app
    finally:
        app.close()
        used.close()
        used.catalogue.close()
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=pool not in (pools[2], pools[4]))
        app.saves.end()
        app.state.collection.release()
        app.records.close()

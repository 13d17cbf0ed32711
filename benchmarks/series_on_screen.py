"""From process start to a CT series on a real screen (Xvfb): MedViewer against Aeskulap, a native viewer.

Both are given the same uncompressed slices and watched from outside: the first image is there when
the middle of the screen shows its noise. Then ours is started once more, asked for the whole series as soon as its
window is there, as one who wants other planes asks for it, and says when all slices are decoded.
Needs ``Xvfb`` and ``aeskulap`` (Debian's packages of these names); without them there is nothing to
compare and it says so. Not part of ``make bench``.
"""

from __future__ import annotations

import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.screen_watch import Screen
from benchmarks.series_load import N_SLICES, make_series

SIZE = (1600, 1000)
_SIDE = 60  # pixels in the middle of the screen that are watched
_NOISE = 0.9  # share of neighbours that differ: in an image of noise, and in nothing else that a window shows
_PATIENCE_S = 30.0


def seconds_to_image(command: Sequence[str], screen: Screen, env: dict[str, str]) -> float:
    """Start a program and wait for the image on the screen."""
    start = time.perf_counter()
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - start < _PATIENCE_S:
            seen = screen.grab(rows=_SIDE, columns=_SIDE)
            if float(np.mean(seen[:, 1:] != seen[:, :-1])) > _NOISE:
                return time.perf_counter() - start
            time.sleep(0.005)
    finally:
        child.kill()
        child.wait()
    raise SystemExit(f"{command[0]} showed no image within {_PATIENCE_S:.0f} s")


def seconds_to_all_slices(command: Sequence[str], env: dict[str, str]) -> float:
    """Start our program by :func:`decode_all` and wait for its line."""
    start = time.perf_counter()
    child = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None  # noqa: S101 - a pipe
    try:
        if child.stdout.readline() != f"{N_SLICES} slices\n":
            raise SystemExit("the slices were not decoded")
        return time.perf_counter() - start
    finally:
        child.kill()
        child.wait()


def decode_all(folder: Path) -> None:
    """The program as a reader starts it, that reads all slices of what it shows and says so."""
    gc.disable()  # as the program's own beginning does, medviewer.cli.window
    import medviewer.app.start  # noqa: F401 - before Qt, as there
    from medviewer.app.layout import read_volume_of
    from medviewer.gui import run
    from medviewer.gui.window import MainWindow

    def show(window: MainWindow) -> None:
        shown(window)
        selection = window.app.state.selection
        if selection is None:
            raise SystemExit("no image yet")
        read_volume_of(window.app, selection, lambda volume: print(f"{len(volume.stored)} slices", flush=True))

    shown, MainWindow.show = MainWindow.show, show  # type: ignore[method-assign, assignment]
    run.run_window([folder])


def main(rounds: int = 7) -> None:
    """Take turns and print medians."""
    missing = [name for name in ("Xvfb", "aeskulap") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    read_end, write_end = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write_end), "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24"],
        pass_fds=(write_end,), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write_end)
    try:
        with os.fdopen(read_end) as told, tempfile.TemporaryDirectory() as name:
            display = f":{told.readline().strip()}"
            folder, home = Path(name) / "series", Path(name) / "home"
            folder.mkdir()
            files = make_series(folder)
            env = {**os.environ, "DISPLAY": display, "MEDVIEWER_HOME": str(home), "QT_QPA_PLATFORM": "xcb"}
            # Compiled once and kept, as on a user's computer, whatever is set where this runs.
            env.pop("PYTHONDONTWRITEBYTECODE", None)
            env |= {"PYTHONPYCACHEPREFIX": str(Path(name) / "compiled"), "PYTHONPATH": "."}
            commands = {
                "MedViewer": [sys.executable, "-P", "-m", "medviewer", str(folder)],
                "Aeskulap": ["aeskulap", *map(str, files)],
            }
            whole = [sys.executable, "-P", "-m", "benchmarks.series_on_screen", str(folder)]
            screen = Screen(display, SIZE)
            times: dict[str, list[float]] = {who: [] for who in (*commands, "all slices")}
            for turn in range(rounds + 1):
                for who, command in commands.items():
                    taken = seconds_to_image(command, screen, env)
                    if turn:
                        times[who].append(taken)
                taken = seconds_to_all_slices(whole, env)
                if turn:
                    times["all slices"].append(taken)
            screen.close()
    finally:
        server.kill()
        server.wait()
    ours, theirs = times["MedViewer"], times["Aeskulap"]
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    sys.stdout.write(
        f"process start to first of {len(files)} slices on screen: MedViewer {statistics.median(ours):.2f} s, "
        f"Aeskulap {statistics.median(theirs):.2f} s, ratio {ratio:.2f} (wanted <= 1.0)\n"
    )
    ours = times["all slices"]
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    sys.stdout.write(
        f"process start to all slices decoded: MedViewer {statistics.median(ours):.2f} s, "
        f"ratio to Aeskulap's first image {ratio:.2f} (wanted <= 1.5)\n"
    )


if __name__ == "__main__":
    if len(sys.argv) == 2:  # our program in its second role
        decode_all(Path(sys.argv[1]))
    else:
        main()

"""``demo``: the main job on a real chest radiograph, beside an invented patient record."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

from medviewer.app.opening import sample_path
from medviewer.app.results import RESULT_NAME, clear_results
from medviewer.cli.terminal import say, tell
from medviewer.domain.answer import probability_words, threshold_words
from medviewer.domain.errors import InputError, MedViewerError
from medviewer.whole_file import storage_error

PICTURE_NAME = "window.png"
_DEFAULT_OUT = Path("demo-output")


def demo(arguments: argparse.Namespace) -> int:
    """Open the sample study, run the model, explain and save; in a window if there is a display."""
    if sample_path() is None:
        raise InputError("The demo's radiograph is not installed; run: pip install 'medviewer[demo]'")
    shows_window = has_display()
    out: Path | None = arguments.out or (None if shows_window else _DEFAULT_OUT)
    code = 0
    if out is not None:
        say(f"Drawing the window off screen and saving the results in {out} (about half a minute)...")
        code = _draw(out) if not shows_window else _draw_elsewhere(out)
        if code in (0, 4):
            for line in _outcome(out):
                say(line)
    if shows_window and code in (0, 4):
        say("Opening the window with the sample study; close it to end.")
        from medviewer.gui.run import run_window  # noqa: PLC0415 - Qt, where there is a display

        code = run_window(sample=True) or code
    elif not shows_window:
        say("There is no display, so no window was opened.")
    return code


def has_display() -> bool:
    """Whether a window would be seen by somebody."""
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal", "vnc"):
        return False
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _draw(out: Path) -> int:
    """Draw the window without a screen, and save its picture and the results."""
    from medviewer.gui.run import grab_window  # noqa: PLC0415 - Qt only once it is certain that it is needed

    try:
        out.mkdir(parents=True, exist_ok=True)
        clear_results(out)  # or, where this run gives none, an earlier run's finding would be told as today's
        (out / PICTURE_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(f"The result in {out.name}", error) from error
    grab_window(out / PICTURE_NAME, results=out)
    return 4 if _result(out)["status"] == "abstained" else 0


def _draw_elsewhere(out: Path) -> int:
    """Do the same in another process: one Qt cannot be both off screen and on it."""
    process = multiprocessing.get_context("spawn").Process(target=_draw_and_exit, args=(out,))
    process.start()
    try:
        process.join()
    except KeyboardInterrupt:
        process.terminate()
        process.join()
        raise
    return 1 if process.exitcode is None else process.exitcode


def _draw_and_exit(out: Path) -> None:
    from medviewer.cli import exit_code  # noqa: PLC0415 - the package that this module is imported by

    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    try:
        code = _draw(out)
    except MedViewerError as error:
        tell(f"medviewer: {error}")
        code = exit_code(error)
    sys.exit(code)


def _result(out: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads((out / RESULT_NAME).read_bytes())
    except (OSError, ValueError) as error:
        raise MedViewerError(
            f"The model gave no result to save in {out.name}; the window's picture says why."
        ) from error
    return result


def _outcome(out: Path) -> list[str]:
    """Say what was found and where it lies."""
    result = _result(out)
    lines = [f"  {reason}" for reason in result["reasons"]]
    for finding in result["findings"]:
        flag = "flagged" if finding["flagged"] else "not flagged"
        probability, threshold = finding["probability"], finding["threshold"]
        numbers = f"probability {probability_words(probability, threshold)}"
        numbers += f", threshold {threshold_words(threshold, probability)}"
        lines.append(f"  {finding['label']}: {numbers}, {flag}")
    lines += [f"  {guard['level']}: {guard['text']}" for guard in result["guards"] if guard["level"] == "warn"]
    lines += [f"  {out / name}" for name in (PICTURE_NAME, RESULT_NAME, *result["outputs"])]
    return [*lines, str(result["notice"])]

"""The same application without a window: every command of ``medviewer`` on a terminal.

Exit codes: 0 done; 2 wrong use; 3 some inputs could not be used; 4 the model
abstained; 130 cancelled; 143 ended by SIGTERM; 1 anything else. What a program may read goes to standard
output, what a person should know to standard error. Importing this package costs
nothing: each command imports what it needs, when it is run.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence

from medviewer.cli.ending import like_ctrl_c
from medviewer.cli.parser import COMMANDS, USE_MODELS, WINDOW, parse
from medviewer.cli.terminal import tell
from medviewer.domain.errors import InputError, MedViewerError, ModelError, Stopped, UsageError

DONE, UNEXPECTED, WRONG_USE, UNUSABLE_INPUT, ABSTAINED, CANCELLED = 0, 1, 2, 3, 4, 130
TERMINATED = 128 + 15  # as a shell says it of a process that SIGTERM ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; nothing is raised.

    Args:
        argv: the words after ``medviewer``; those that the program was started with, if None.
    """
    try:
        arguments = parse(sys.argv[1:] if argv is None else list(argv))
    except SystemExit as end:  # argparse ends so, having said why
        return end.code if isinstance(end.code, int) else WRONG_USE
    with like_ctrl_c() as termination:
        code = _run(arguments)
    return TERMINATED if termination.was_asked else code


def _run(arguments: argparse.Namespace) -> int:
    """Run the command; what it raises becomes one sentence and an exit code."""
    try:
        _check_models_option(arguments)
        return _runner(arguments.command)(arguments)
    except (KeyboardInterrupt, Stopped) as end:
        tell(str(end) or "Cancelled.")
        return CANCELLED
    except BrokenPipeError:
        return UNEXPECTED  # whoever read our output has gone (`| head`): nobody is left to be told
    except MedViewerError as error:
        tell(f"medviewer: {error}")
        return exit_code(error)
    except Exception:  # noqa: BLE001 - the edge of the program: a bug is one sentence, its traceback on request
        tell("medviewer: Something unexpected went wrong, nothing was changed; run it again with --debug to see where.")
        if arguments.debug:
            traceback.print_exc()
        return UNEXPECTED


def _check_models_option(arguments: argparse.Namespace) -> None:
    """Refuse ``--models`` where it would be passed over in silence, and another model be used than the one meant."""
    if arguments.models_folder is not None and arguments.command not in USE_MODELS:
        which = "The window" if arguments.command == WINDOW else f"`medviewer {arguments.command}`"
        raise UsageError(f"{which} uses the installed models; --models goes with {', '.join(USE_MODELS)}.")


def exit_code(error: MedViewerError) -> int:
    """Say by a number what kind of failure it was."""
    if isinstance(error, UsageError):
        return WRONG_USE
    if isinstance(error, InputError | ModelError):
        return UNUSABLE_INPUT
    return UNEXPECTED


def _runner(command: str) -> Callable[[argparse.Namespace], int]:
    """Import the command that was asked for, and only that: ``--version`` must not wait for a window."""
    # ruff: noqa: PLC0415
    if command == WINDOW:
        from medviewer.cli.window import open_window as run
    elif command in ("inspect", "render"):
        from medviewer.cli import studies

        run = studies.inspect if command == "inspect" else studies.render
    elif command == "analyze":
        from medviewer.cli.analyze import analyze as run
    elif command == "demo":
        from medviewer.cli.demo import demo as run
    elif command == "models":
        from medviewer.cli.models import models as run
    elif command in ("train", "recipes", "evaluate"):
        from medviewer.cli import training

        run = {"train": training.train, "recipes": training.recipes, "evaluate": training.evaluate}[command]
    else:
        from medviewer.cli.audit import audit as run
    return run


__all__ = ["COMMANDS", "exit_code", "main"]

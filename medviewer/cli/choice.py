"""From a path and a frame number to the one image that is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medviewer.app.on_screen import selections
from medviewer.app.state import Selection
from medviewer.app.views import views_among
from medviewer.cli.terminal import clear_progress, progress, tell
from medviewer.domain.errors import InputError, UsageError
from medviewer.domain.study import Stack
from medviewer.imaging.scan import scan
from medviewer.inference.card import Card
from medviewer.inference.suitability import joint_unsuited_because


def choose_image(path: Path, frame: int | None, *, needs_frame: bool) -> Selection:
    """Find the image to work on; more than one file is never guessed between.

    Args:
        path: a file, or a folder with one image in it.
        frame: counted from 0; None means the only one, or the first if ``needs_frame`` is False.
        needs_frame: several frames and no number is wrong use.

    Raises:
        InputError: there is no image there; the message says why.
        UsageError: there are several, or none with that number.
    """
    collection = scan([path], progress=progress)
    clear_progress()
    found = list(selections(collection))
    if not found:
        reasons = [problem.reason for problem in collection.problems]
        raise InputError(reasons[0] if len(reasons) == 1 else _nothing(path, len(reasons)))
    for problem in collection.problems:
        tell(f"{problem.path}: {problem.reason}")
    files = {selection.image.path for selection in found}
    if len(files) > 1:
        raise UsageError(f"{path} holds {len(files)} image files; name the one that is meant.")
    numbers = sorted(selection.image.frame for selection in found)
    if frame is None and needs_frame and len(found) > 1:
        raise UsageError(f"{path.name} has {len(found)} frames; choose one with --frame {numbers[0]} to {numbers[-1]}.")
    wanted = numbers[0] if frame is None else frame
    for selection in found:
        if selection.image.frame == wanted:
            return selection
    raise UsageError(f"{path.name} has no frame {wanted}; choose --frame {numbers[0]} to {numbers[-1]}.")


def choose_views(paths: Sequence[Path], card: Card) -> tuple[Selection, ...]:
    """Find the images of one study that a model of several views may be given; between studies nothing is guessed.

    Raises:
        InputError: there is no image there that one of the views takes.
        UsageError: they are of several studies.
    """
    collection = scan(list(paths), progress=progress)
    clear_progress()
    for problem in collection.problems:
        tell(f"{problem.path}: {problem.reason}")
    found = list(selections(collection))
    if not found:
        raise InputError(_nothing(paths[0], len(collection.problems)))
    views = views_among(found, card)
    if not views:
        reason = joint_unsuited_because(found[0].image, card)
        raise InputError(f"No image is of a view that the model {card.id} takes. {reason}".rstrip())
    studies = {id(one.study) for one in views}
    if len(studies) > 1:
        raise UsageError(f"There are images of {len(studies)} studies; name those of one, whose views belong together.")
    return views


def choose_stack(path: Path) -> Stack:
    """Find the one stack of slices in a folder; between several nothing is guessed.

    Raises:
        InputError: there is no image there; the message says why.
        UsageError: there is no stack of slices, or several.
    """
    collection = scan([path], progress=progress)
    clear_progress()
    stacks = {one.stack_key: one for one in selections(collection) if len(one.stack.images) > 1}
    for problem in collection.problems:
        tell(f"{problem.path}: {problem.reason}")
    if not collection.shown:
        raise InputError(_nothing(path, len(collection.problems)))
    if len(stacks) != 1:
        raise UsageError(
            f"{path} holds {len(stacks)} stacks of slices; name the folder of one series."
            if stacks
            else f"{path} holds no stack of slices; name the folder of a series."
        )
    return next(iter(stacks.values())).stack


def choose_volume(stack: Stack, number: int | None) -> Stack:
    """Find the one volume of a stack that planes are cut through; between several nothing is guessed.

    Raises:
        UsageError: there are several and none is named, or none has that number.
    """
    size = stack.axis.size if stack.axis is not None else 1
    name = f" ({stack.axis.name})" if stack.axis is not None else ""
    if number is None and size > 1:
        raise UsageError(f"The series holds {size} volumes{name}; choose one with --volume 0 to {size - 1}.")
    wanted = number or 0
    if not 0 <= wanted < size:
        raise UsageError(f"The series has no volume {wanted}; choose --volume 0 to {size - 1}.")
    return stack.volume_at(wanted * stack.slices)


def _nothing(path: Path, n_problems: int) -> str:
    if n_problems:
        return f"None of the {n_problems} files in {path} holds an image; `medviewer inspect` says why for each."
    return f"There is no image in {path}; name a DICOM file or a folder that holds one."

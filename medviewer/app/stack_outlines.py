"""What a segmentation model outlined on the slices of one stack, as one file beside the results of its slices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from medviewer.app.batch import read_result, result_status
from medviewer.app.batch_plan import BatchQuestion
from medviewer.app.result_objects import OUTLINES_NAME
from medviewer.app.results import RESULT_NAME
from medviewer.app.state import Key
from medviewer.domain.errors import GeometryError, InputError
from medviewer.domain.frozen import dataclass
from medviewer.imaging.stack_outlines import NOT_TOGETHER, write_stack_outlines

_LEAST = 2  # slices


@dataclass(frozen=True, slots=True)
class StackFile:
    """One file of a stack, as the study's ``result.json`` tells it.

    ``file`` lies in the study's folder, "" where there is none, for which ``reason`` says why. ``slices`` are those
    that were asked about, ``outlined`` those of them on which something was outlined.
    """

    model: str
    file: str
    slices: int
    outlined: int
    reason: str = ""


class StackOutlines:
    """Puts the outlines of each stack together when the last of its slices was asked about.

    It reads what lies in the folders of the slices, so that a call that goes on where another was ended has all of it.
    """

    def __init__(self, out: Path, questions: Sequence[BatchQuestion]) -> None:
        self._out = out
        self._groups: dict[tuple[str, str, Key], list[BatchQuestion]] = {}
        for question in questions:
            if not question.is_of_stack and question.selection.stack.order == "position":
                self._groups.setdefault(_group_of(question), []).append(question)

    def of_study(self, study: str) -> list[StackFile]:
        """Write the files of a study, of which all questions have ended, and tell of each.

        Raises:
            StorageError: the disk is full, read-only or gone.
        """
        return [one for key, group in self._groups.items() if key[0] == study for one in self._written(key[1], group)]

    def _written(self, model_id: str, group: Sequence[BatchQuestion]) -> Iterator[StackFile]:
        slices = sorted(group, key=lambda question: question.selection.index)
        parts = [(one.selection.image, self._out / one.name / OUTLINES_NAME) for one in slices]
        there = [(image, path) for image, path in parts if _is_of_result(path)]
        name = f"outlines-{slices[0].image}-{model_id}.seg.dcm"
        path = self._out / slices[0].study / name
        path.unlink(missing_ok=True)  # of an earlier call
        if len(slices) < _LEAST or not there:
            return
        first = slices[0].selection
        every = len(first.stack.volume_span(first.index))  # also those that the model was not asked about
        if without := every - sum(result_status(self._out / one.name) == "answer" for one in slices):
            yield StackFile(model_id, "", len(slices), len(there), _lacking(without, every))
            return
        try:
            write_stack_outlines(there, path=path)
        except (GeometryError, InputError) as error:
            yield StackFile(model_id, "", len(slices), len(there), str(error))
        else:
            yield StackFile(model_id, name, len(slices), len(there))


def _lacking(without: int, slices: int) -> str:
    """In a file of all slices one without a result would look like one on which there is nothing."""
    has = "has" if without == 1 else "have"
    return f"{without} of the {slices} slices {has} no result, {NOT_TOGETHER}"


def _is_of_result(path: Path) -> bool:
    """Whether the result in a file's folder lists it; else it is what a killed call left of an earlier one."""
    document = read_result(path.parent / RESULT_NAME) or {}
    outputs = document.get("outputs")
    return isinstance(outputs, list) and path.name in outputs and path.is_file()


def _group_of(question: BatchQuestion) -> tuple[str, str, Key]:
    return question.study, question.model_id, question.selection.volume_key

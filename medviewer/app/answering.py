"""One question to one model with all that belongs to its answer: what goes into files without a window."""

from __future__ import annotations

from medviewer.app.analysis import build_case, build_stack_case
from medviewer.app.result import USUAL, Output, Result
from medviewer.app.stack_asking import nearest_slice, read_stack
from medviewer.app.state import Selection
from medviewer.domain.answer import Answer, Attribution
from medviewer.domain.case import Case
from medviewer.domain.frame import Frame
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.explain.methods import explain
from medviewer.explain.stack_map import on_image
from medviewer.imaging.decode import read_frame
from medviewer.inference.engine import Engine


@dataclass(frozen=True, slots=True)
class Asking:
    """How models are asked: with which heat maps, in which language, and which files are made of the answers."""

    methods: tuple[str, ...] = ()
    finding: str = ""  # which one the heat maps are of; "" for the one in question
    language: str = "en"
    outputs: frozenset[Output] = USUAL

    @property
    def words(self) -> tuple[str, ...]:
        """All of it, the same for the same wishes."""
        return (
            *dict.fromkeys(self.methods),
            *((f"of {self.finding}",) if self.finding else ()),
            f"in {self.language}",
            *(f"saves {name}" for name in sorted(self.outputs)),
        )


def answer_image(
    engine: Engine,
    model_id: str,
    selection: Selection,
    frame: Frame,
    *,
    asking: Asking,
    progress: Progress = no_progress,
) -> Result:
    """Give a model's answer, with one heat map a method, of one image.

    Args:
        engine: that runs the model.
        model_id: which model.
        selection: the image and all it belongs to.
        frame: its pixels.
        asking: a method that is named twice is used once, an abstention is not explained.
        progress: told of each step.

    Raises:
        As :meth:`~medviewer.inference.engine.Engine.ask`.
    """
    case = build_case(frame, selection.patient, selection.study, None)
    answer, maps = _asked(engine, case, model_id, asking, progress)
    return Result(image=selection.image, frame=frame, answer=answer, attributions=maps)


def answer_stack(
    engine: Engine,
    model_id: str,
    selection: Selection,
    *,
    asking: Asking,
    progress: Progress = no_progress,
) -> Result:
    """Give a model's answer, with its heat map, of the whole stack of slices that an image is of.

    What is shown of it is the slice where the map speaks most for the finding; without a map the one in the middle.

    Args:
        engine: that runs the model.
        model_id: which model.
        selection: any image of the volume.
        asking: as of :func:`answer_image`.
        progress: told of each step.

    Raises:
        InputError: the slices are no volume that a model could be given, or cannot be read.
        As :meth:`~medviewer.inference.engine.Engine.ask`.
    """
    volume = read_stack(selection.stack.volume_at(selection.index), StopToken(), progress)
    case = build_stack_case(volume, selection.patient, selection.study, None)
    answer, maps = _asked(engine, case, model_id, asking, progress)
    span = selection.stack.volume_span(selection.index)
    slices = selection.stack.images[span.start : span.stop]
    hottest = next((one.volume.hottest for one in maps if one.volume is not None), None)
    index = nearest_slice(selection, hottest) if hottest is not None else span[len(span) // 2]
    image = selection.stack.images[index]
    placed = tuple(on_image(one, image.description) for one in maps)
    return Result(image=image, frame=read_frame(image), answer=answer, attributions=placed, slices=slices)


def _asked(
    engine: Engine, case: Case, model_id: str, asking: Asking, progress: Progress
) -> tuple[Answer, tuple[Attribution, ...]]:
    """What a model says of a case, and why by each method that is wanted."""
    answer = engine.ask(case, model_id, progress=progress, language=asking.language)
    wanted = tuple(dict.fromkeys(asking.methods)) if answer.status == "answer" else ()
    of = asking.finding or None
    return answer, tuple(explain(engine, case, model_id, method, finding=of, progress=progress) for method in wanted)

"""One question to one model with all that belongs to its answer: what goes into files without a window."""

from __future__ import annotations

from dataclasses import dataclass

from medviewer.app.analysis import build_case
from medviewer.app.result import USUAL, Output, Result
from medviewer.app.state import Selection
from medviewer.domain.frame import Frame
from medviewer.domain.progress import Progress, no_progress
from medviewer.explain.methods import explain
from medviewer.inference.engine import Engine


@dataclass(frozen=True, slots=True)
class Asking:
    """How models are asked: with which heat maps, in which language, and which files are made of the answers."""

    methods: tuple[str, ...] = ()
    language: str = "en"
    outputs: frozenset[Output] = USUAL

    @property
    def words(self) -> tuple[str, ...]:
        """All of it, the same for the same wishes."""
        return (
            *dict.fromkeys(self.methods),
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
    answer = engine.ask(case, model_id, progress=progress, language=asking.language)
    wanted = tuple(dict.fromkeys(asking.methods)) if answer.status == "answer" else ()
    maps = tuple(explain(engine, case, model_id, method, progress=progress) for method in wanted)
    return Result(image=selection.image, frame=frame, answer=answer, attributions=maps)

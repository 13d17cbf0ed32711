"""One question to one model with all that belongs to its answer: what goes into files without a window."""

from __future__ import annotations

from collections.abc import Sequence

from medviewer.app.analysis import build_case
from medviewer.app.result import Result
from medviewer.app.state import Selection
from medviewer.domain.frame import Frame
from medviewer.domain.progress import Progress, no_progress
from medviewer.explain.methods import explain
from medviewer.inference.engine import Engine


def answer_image(
    engine: Engine,
    model_id: str,
    selection: Selection,
    frame: Frame,
    *,
    methods: Sequence[str] = (),
    language: str = "en",
    progress: Progress = no_progress,
) -> Result:
    """Give a model's answer, with one heat map a method, of one image.

    Args:
        engine: that runs the model.
        model_id: which model.
        selection: the image and all it belongs to.
        frame: its pixels.
        methods: explanation methods; one that is named twice is used once, an abstention is not explained.
        language: of titles and sentences, ``"en"`` or ``"zh"``.
        progress: told of each step.

    Raises:
        As :meth:`~medviewer.inference.engine.Engine.ask`.
    """
    case = build_case(frame, selection.patient, selection.study, None)
    answer = engine.ask(case, model_id, progress=progress, language=language)
    wanted = tuple(dict.fromkeys(methods)) if answer.status == "answer" else ()
    maps = tuple(explain(engine, case, model_id, method, progress=progress) for method in wanted)
    return Result(image=selection.image, frame=frame, answer=answer, attributions=maps)

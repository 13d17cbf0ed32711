"""From a bare ONNX file and answers to a model folder that was tried."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medviewer.domain.errors import UsageError
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.inference.acceptance import accept
from medviewer.inference.card import Card, read_card
from medviewer.inference.card_json import CARD_NAME
from medviewer.inference.importing.card_draft import draft
from medviewer.inference.importing.questions import Answers, GraphFacts
from medviewer.inference.importing.workshop import build
from medviewer.whole_file import storage_error, write_whole

_PAGE = """# {title}

`{id}` {version}, imported by MedViewer from `{file}`. Research use only.

Nobody has measured how well this model does: its numbers are the network's own output, not calibrated, and what its
threshold means is not known. Complete `model.json` with what its makers say (population, evidence, calibration,
operating points, codes of the labels, licences) before you rely on anything here.
"""


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out`` that becomes ``out`` when the block ends well, and vanishes if not.

    Raises:
        UsageError: ``out`` is already there.
        StorageError: it cannot be written.
    """
    if out.exists():
        raise UsageError(f"{out} is already there; choose another folder or remove it first.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise storage_error("The model", error) from error
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(out)
    except OSError as error:
        raise storage_error("The model", error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def import_onnx(  # noqa: PLR0913 - file, what it says, what was answered, where to, and how to be stopped
    path: Path,
    facts: GraphFacts,
    answers: Answers,
    folder: Path,
    *,
    more: Mapping[str, Any] | None = None,
    stop: StopToken | None = None,
    progress: Progress = no_progress,
) -> Card:
    """Write a whole model folder and try it as an installation would.

    Args:
        path: the ONNX file.
        facts: what :func:`~medviewer.inference.importing.workshop.inspect` gave of it.
        answers: what it does not say.
        folder: an empty folder.
        more: fields of the card that the importer of another format knows.
        stop: to cancel.
        progress: told of each step.

    Returns:
        The card.

    Raises:
        ModelError: the network is refused, or does not do what its card says.
        InputError, EngineError: it cannot be read or run.
        StorageError: the folder cannot be written.
        Stopped: the user cancelled.
    """
    report = build(path, facts, answers, folder, stop=stop, progress=progress)
    document = draft(folder, facts, answers, report, more)
    content = json.dumps(document, ensure_ascii=False, indent=1)
    write_whole(folder / CARD_NAME, content.encode() + b"\n")
    page = _PAGE.format(title=answers.title, id=answers.id, version=answers.version, file=facts.file)
    write_whole(folder / "README.md", page.encode())
    card = read_card(folder)
    accept(card, stop=stop, progress=progress)
    return card

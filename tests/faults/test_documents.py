"""Documents with random damage: each is read, or costs one sentence; nothing else comes out."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from medviewer.domain.errors import MedViewerError
from medviewer.domain.study import Document
from medviewer.gui.waveform_paper import lay_out, polylines
from medviewer.imaging import pdf
from medviewer.imaging.pdf import draw_page, open_pdf, shutdown
from medviewer.imaging.report_text import read_report
from medviewer.imaging.scan import documents_of, scan
from medviewer.imaging.waveform import read_waveform
from tests.document_maker import channel, image_item, item, make_pdf, multiplex_group, shipped, write_pdf, write_report
from tests.document_maker import write_waveform as write_ecg

MUTANTS = int(os.environ.get("MEDVIEWER_MUTANTS", "60"))


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    logging.getLogger(pdf.__name__).disabled = True  # what ends a process is said there
    yield
    logging.getLogger(pdf.__name__).disabled = False
    shutdown()


def read(document: Document) -> None:
    """All that the window does with a document."""
    if document.kind == "report":
        read_report(document)
    elif document.kind == "waveform":
        for row in lay_out(read_waveform(document)).rows:
            for line in polylines(row, 0.0, 10.0, 800):
                assert line.shape[1] == 2
    else:
        opened = open_pdf(document)
        for page in range(min(len(opened.sizes_pt), 2)):
            assert draw_page(opened, page, pixels_per_point=0.5).ndim == 3


def originals(folder: Path) -> list[bytes]:
    import numpy as np

    signal = multiplex_group(np.arange(400, dtype="<i2").reshape(200, 2), [channel("I"), channel("II")], "SS")
    finding = item("CONTAINER", "Findings", item("TEXT", "Finding", image_item("1.2.3", 2), TextValue="A shadow"))
    paths = [
        write_pdf(folder / "p.dcm", make_pdf(2)),
        write_ecg(folder / "w.dcm", signal),
        write_report(folder / "r.dcm", finding),
        shipped("test-SR.dcm"),
    ]
    return [path.read_bytes() for path in paths]


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """A few bytes changed behind the preamble, or a piece cut out."""
    data = bytearray(whole)
    for _ in range(chance.choice((1, 3, 12))):
        data[chance.randrange(132, len(data))] = chance.randrange(256)
    if chance.random() < 0.3:
        at = chance.randrange(132, len(data))
        del data[at : at + chance.randrange(1, 60)]
    return bytes(data)


@pytest.mark.slow
def test_damage_is_one_sentence_or_nothing(tmp_path: Path) -> None:
    chance = random.Random(20240131)  # noqa: S311 - the same damage each time
    found = originals(tmp_path)
    path = tmp_path / "damaged.dcm"
    count_read, refusals = 0, []
    for number in range(MUTANTS):
        path.write_bytes(damaged(found[number % len(found)], chance))
        collection = scan([path])
        assert all(not problem.reason.startswith("Unexpected") for problem in collection.problems), number
        for document in documents_of(collection):
            try:
                read(document)
                count_read += 1
            except MedViewerError as error:
                refusals.append(str(error))
    assert count_read > 0
    assert refusals
    assert [reason for reason in refusals if not reason.endswith(".")] == []

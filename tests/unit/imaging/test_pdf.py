"""Pages of a PDF are drawn in a process of their own: whatever that does, it costs one sentence."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.errors import DecodeError, InputError, Stopped, TooLargeError, UnsupportedError
from medviewer.domain.progress import StopToken
from medviewer.imaging import pdf
from medviewer.imaging.pdf import Pdf, draw_page, open_pdf, read_pdf_bytes, shutdown
from medviewer.imaging.pdf_worker import Answer
from tests.document_maker import LOCKED, make_pdf, the_document, write_pdf

RED, WHITE = (255, 0, 0), (255, 255, 255)


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    shutdown()


@pytest.fixture
def quiet() -> Iterator[None]:
    """What the process does is said in the log, which is expected here."""
    logging.getLogger(pdf.__name__).disabled = True
    yield
    logging.getLogger(pdf.__name__).disabled = False


def opened(tmp_path: Path, data: bytes, **attributes: Any) -> Pdf:
    return open_pdf(the_document(write_pdf(tmp_path / "a.dcm", data, **attributes)))


def worker_pid() -> int:
    worker = pdf._drawer._worker
    assert worker is not None
    assert worker.process.pid is not None
    return worker.process.pid


@pytest.mark.parametrize("size", [(200, 300), (300, 200)])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_page_has_its_size_and_its_colours_where_they_are(
    tmp_path: Path, size: tuple[int, int], scale: float
) -> None:
    found = opened(tmp_path, make_pdf(3, size))
    assert found.sizes_pt == (size,) * 3
    pixels = draw_page(found, 2, pixels_per_point=scale)
    assert pixels.shape == (round(size[1] * scale), round(size[0] * scale), 3)
    for (x, y), color in {
        (100, 100): RED,
        (60, 60): RED,
        (140, 140): RED,
        (40, 100): WHITE,
        (160, 100): WHITE,
        (100, 160): WHITE,
    }.items():
        assert tuple(pixels[int(y * scale), int(x * scale)]) == color
    assert abs((pixels == RED).all(axis=2).sum() / (100 * scale) ** 2 - 1) < 0.03


@pytest.mark.parametrize("more", [b"", b" "])
def test_the_bytes_come_out_as_they_went_in(tmp_path: Path, more: bytes) -> None:
    data = make_pdf() + more
    assert read_pdf_bytes(the_document(write_pdf(tmp_path / "a.dcm", data))) == data


def test_scripts_and_actions_do_not_keep_a_page_from_being_drawn(tmp_path: Path) -> None:
    target = tmp_path / "made"
    action = b"/OpenAction << /S /Launch /F (touch) /Win << /F (cmd) /P (%b) >> >>" % os.fsencode(target)
    script = b"/OpenAction << /S /JavaScript /JS (while \\(true\\) {}) >>"
    for catalog in (action, script):
        assert tuple(draw_page(opened(tmp_path, make_pdf(catalog=catalog)), 0, pixels_per_point=1)[100, 100]) == RED
    assert not target.exists()


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", InputError, "holds no PDF"),
        (b"GIF89a not a PDF at all", InputError, "is not a PDF"),
        (b"%PDF-1.4\n" + bytes(range(256)) * 8, DecodeError, "The PDF is damaged or"),
        (make_pdf(trailer=LOCKED), UnsupportedError, "protected with a password"),
        (make_pdf(0), DecodeError, "has no pages"),
    ],
    ids=["empty", "no PDF", "damaged", "password", "no pages"],
)
def test_what_cannot_be_shown_is_one_sentence(tmp_path: Path, data: bytes, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        opened(tmp_path, data)


def test_a_damaged_page_is_one_sentence_and_the_others_are_drawn(tmp_path: Path) -> None:
    data = make_pdf(2)
    data = data.replace(b"/Kids [3 0 R 5 0 R]", b"/Kids [3 0 R 9 0 R]")
    found = opened(tmp_path, data)
    assert tuple(draw_page(found, 0, pixels_per_point=1)[100, 100]) == RED
    with pytest.raises(DecodeError, match="This page of the PDF is damaged"):
        draw_page(found, 1, pixels_per_point=1)
    assert tuple(draw_page(found, 0, pixels_per_point=1)[100, 100]) == RED


def test_a_page_that_fails_while_it_is_drawn_is_not_shown_blank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(tmp_path, make_pdf())
    monkeypatch.setattr(pdf._drawer, "_ask", lambda *_request: Answer(error="Failed to load page."))
    with pytest.raises(DecodeError, match="This page of the PDF is damaged"):
        draw_page(found, 0, pixels_per_point=1)


def test_a_pdf_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MOST_BYTES", 100)
    with pytest.raises(TooLargeError, match="larger than"):
        opened(tmp_path, make_pdf())


def test_a_page_is_never_drawn_larger_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(tmp_path, make_pdf(size=(14_400, 100)))
    monkeypatch.setattr(pdf, "MOST_PIXELS", 10_000)
    pixels = draw_page(found, 0, pixels_per_point=1000)
    assert pixels.shape[0] * pixels.shape[1] <= 10_100


def test_a_process_that_dies_costs_one_sentence(tmp_path: Path, quiet: None) -> None:
    found = opened(tmp_path, make_pdf())
    pid = worker_pid()
    os.kill(pid, signal.SIGSTOP if hasattr(signal, "SIGSTOP") else signal.SIGTERM)
    os.kill(pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    with pytest.raises(DecodeError, match="what draws it stopped"):
        draw_page(found, 0, pixels_per_point=1)
    assert tuple(draw_page(found, 0, pixels_per_point=1)[100, 100]) == RED
    assert worker_pid() != pid


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes are halted by a signal")
def test_a_process_that_hangs_is_stopped(tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(tmp_path, make_pdf())
    pid = worker_pid()
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(pdf, "DEADLINE_S", 0.2)
    with pytest.raises(DecodeError, match="took longer than"):
        draw_page(found, 0, pixels_per_point=1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    monkeypatch.undo()
    assert tuple(draw_page(found, 0, pixels_per_point=1)[100, 100]) == RED


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes are halted by a signal")
def test_a_reader_who_stops_does_not_wait(tmp_path: Path) -> None:
    found = opened(tmp_path, make_pdf())
    os.kill(worker_pid(), signal.SIGSTOP)
    stop = StopToken()
    stop.on_stop(lambda: None)
    import threading

    threading.Timer(0.1, stop.stop).start()
    with pytest.raises(Stopped):
        draw_page(found, 0, pixels_per_point=1, stop=stop)


def test_each_pdf_is_drawn_from_its_own_bytes(tmp_path: Path) -> None:
    """Two that are open in turn never lend each other a page."""
    first = opened(tmp_path, make_pdf())
    second = opened(tmp_path, make_pdf(size=(400, 300)))
    for _ in range(2):
        for found, shape in ((first, (300, 200, 3)), (second, (300, 400, 3))):
            pixels = draw_page(found, 0, pixels_per_point=1)
            assert pixels.shape == shape
            assert tuple(pixels[145, 145]) == RED


def test_no_shared_memory_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(tmp_path, make_pdf())
    made: list[str] = []
    make = pdf.make_memory

    def watched(size: int) -> SharedMemory:
        memory = make(size)
        made.append(memory.name)
        return memory

    monkeypatch.setattr(pdf, "make_memory", watched)
    pixels = draw_page(found, 0, pixels_per_point=1)
    assert isinstance(pixels, np.ndarray)
    (name,) = made
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)

"""Encapsulated PDF: its bytes out of the DICOM file, and its pages drawn by a process of their own.

PDFium is native code and PDFs come from anywhere: a damaged one costs one sentence, not the window.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading

import numpy as np

from medviewer.domain.errors import DecodeError, InputError, TooLargeError, UnsupportedError
from medviewer.domain.frozen import dataclass
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Document
from medviewer.imaging import tags
from medviewer.imaging.confined import HungUpError, LateError, Worker, ask, end, make_memory, start
from medviewer.imaging.dataset import UNDEFINED_LENGTH
from medviewer.imaging.document import opened_document, payload
from medviewer.imaging.pdf_worker import Answer, Draw, Open, run

logger = logging.getLogger(__name__)

MOST_BYTES = 256 * 2**20
MOST_PIXELS = 32_000_000
DEADLINE_S = 20.0
_SIGNATURE = b"%PDF-"
_SIGNATURE_WITHIN = 1024  # bytes, as readers of PDF do


@dataclass(frozen=True, slots=True, eq=False)
class Pdf:
    """A PDF that can be drawn: ``sizes_pt`` are the (width, height) of its pages, in points of 1/72 inch.

    A page whose size cannot be read has (0, 0).
    """

    data: bytes
    sizes_pt: tuple[tuple[float, float], ...]


def read_pdf_bytes(document: Document) -> bytes:
    """Give the PDF that a DICOM file encapsulates, byte for byte, without the padding.

    Raises:
        InputError: it cannot be read, or there is none in it.
        TooLargeError: it is larger than is read.
    """
    with opened_document(document) as (header, source):
        place = header.dataset.payloads.get(tags.ENCAPSULATED_DOCUMENT)
        if place is None or place.length in (0, UNDEFINED_LENGTH):
            raise InputError("The document is empty: the file holds no PDF; ask for it to be sent again.")
        if place.length > MOST_BYTES:
            raise TooLargeError(f"The PDF is larger than {MOST_BYTES >> 20} MB; it is not opened.")
        data = payload(source, place)
        length = header.dataset.integer(tags.ENCAPSULATED_DOCUMENT_LENGTH)
    if length is not None and length == len(data) - 1:
        data = data[:length]  # PS3.3 C.24.2: the value has an even length, the PDF need not
    if _SIGNATURE not in data[:_SIGNATURE_WITHIN]:
        raise InputError("What the file holds is not a PDF, though it says so; ask for it to be sent again.")
    return data


def open_pdf(document: Document, *, stop: StopToken | None = None) -> Pdf:
    """Give the PDF of a document, ready to be drawn.

    Raises:
        InputError: as :func:`read_pdf_bytes`.
        UnsupportedError: it needs a password.
        DecodeError: it is damaged, or has no pages.
        Stopped: ``stop`` was used.
    """
    data = read_pdf_bytes(document)
    answer = _drawer.open(data, stop)
    if answer.needs_password:
        raise UnsupportedError(
            "The PDF is protected with a password and cannot be shown here; save it and open it in a program that "
            "asks for the password."
        )
    if answer.error or not answer.sizes:
        raise DecodeError("The PDF is damaged or has no pages and cannot be shown; ask for it to be sent again.")
    return Pdf(data, answer.sizes)


def draw_page(pdf: Pdf, index: int, *, pixels_per_point: float, stop: StopToken | None = None) -> np.ndarray:
    """Give a page as (rows, columns, 3) uint8 RGB on white; smaller than asked for above ``MOST_PIXELS``.

    Raises:
        DecodeError: the page is damaged, or took too long.
        Stopped: ``stop`` was used.
    """
    width, height = pdf.sizes_pt[index]
    if not width * height:
        raise DecodeError("This page of the PDF is damaged; the other pages are not affected.")
    scale = min(pixels_per_point, (MOST_PIXELS / (width * height)) ** 0.5)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    memory = make_memory(rows * columns * 3)
    try:
        answer = _drawer.draw(pdf.data, Draw(index, columns, rows, memory.name, DEADLINE_S), stop)
        if answer.error:
            raise DecodeError("This page of the PDF is damaged; the other pages are not affected.")
        view: np.ndarray = np.ndarray((rows, columns, 3), np.uint8, buffer=memory.buf)
        pixels = view.copy()
        del view
        return pixels
    finally:
        memory.close()
        with contextlib.suppress(FileNotFoundError):
            memory.unlink()


def shutdown() -> None:
    """End the process; the next page starts another."""
    _drawer.close()


class _Drawer:
    """One process with one PDF open in it. Safe to use from any thread, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._open: bytes | None = None

    def open(self, data: bytes, stop: StopToken | None) -> Answer:
        """Open a PDF."""
        with self._lock:
            return self._opened(data, stop)

    def draw(self, data: bytes, request: Draw, stop: StopToken | None) -> Answer:
        """Draw a page, in a process that has this PDF open."""
        with self._lock:
            if self._worker is None or self._open is not data:
                answer = self._opened(data, stop)
                if answer.error:
                    return answer
            return self._ask(request, (), stop)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _opened(self, data: bytes, stop: StopToken | None) -> Answer:
        self._end()  # what one PDF left behind must not meet the next
        self._worker = start(run, "medviewer-pdf")
        answer = self._ask(Open(DEADLINE_S), (data,), stop)
        self._open = data
        return answer

    def _ask(self, request: Open | Draw, data: tuple[bytes, ...], stop: StopToken | None) -> Answer:
        assert self._worker is not None  # noqa: S101 - it was started above
        is_well = False
        try:
            answer = Answer(*ask(self._worker, request, data, request.deadline_s, stop))
            is_well = True
        except HungUpError:
            logger.warning("The PDF process ended while drawing")
            raise DecodeError("The PDF is damaged: what draws it stopped; ask for it to be sent again.") from None
        except LateError:
            logger.warning("The PDF process was stopped after its deadline of %.0f s", request.deadline_s)
            raise DecodeError(
                f"Drawing the PDF took longer than {request.deadline_s:.0f} s and was stopped; save it and open it in "
                "another program."
            ) from None
        finally:
            if not is_well:
                self._end()
        return answer

    def _end(self) -> None:
        worker, self._worker, self._open = self._worker, None, None
        if worker is not None:
            end(worker)


_drawer = _Drawer()
atexit.register(shutdown)

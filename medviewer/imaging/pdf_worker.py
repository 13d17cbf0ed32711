"""The process in which PDF pages are drawn: it may die without taking anything along.

PDFium is built without a JavaScript engine here and is never asked to follow a link, to open a file or
to run an action: it is given bytes and draws pages.

The parent sends a :class:`Open` with the PDF's bytes once, then a :class:`Draw` for each page, whose
pixels go into shared memory that the parent made and will remove.
"""

from __future__ import annotations

import faulthandler
import os
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple

import numpy as np

from medviewer.imaging.confined import READY
from medviewer.imaging.worker_process import (
    address_space_bytes,
    become_harmless,
    follow_parent,
    limit_address_space,
)

MOST_PAGES = 5_000
_GROWTH_BYTES = 1024 * 2**20  # fonts, pictures and tables of a page, beside the PDF itself and the page's pixels
_BYTES_PER_PIXEL = 12
# The parent ends a late worker itself; this is for a worker whose parent is gone.
_WATCHDOG_SLACK_S = 10.0
_PASSWORD = 4  # FPDF_ERR_PASSWORD
_POINTS = (1.0, 14_400.0)  # a page's side as PDF 1.7 allows it


class Open(NamedTuple):
    """A PDF to draw from; its bytes follow as a message of their own."""

    deadline_s: float


class Draw(NamedTuple):
    """A page (0-based) to draw, ``columns`` x ``rows`` RGB pixels large."""

    page: int
    columns: int
    rows: int
    memory_name: str
    deadline_s: float


class Answer(NamedTuple):
    """How it went: the pages' (width, height) in points after Open, or why not."""

    sizes: tuple[tuple[float, float], ...] = ()
    error: str = ""
    needs_password: bool = False


def run(connection: Connection) -> None:
    """Answer requests until the parent closes the pipe."""
    become_harmless()
    import pypdfium2 as pdfium  # noqa: PLC0415 - a library that only this process loads

    follow_parent()
    floor = address_space_bytes()
    opened: Any = None
    connection.send(READY)
    with open(os.devnull, "w", encoding="ascii") as silence:
        while True:
            try:
                request: Open | Draw = connection.recv()
                data = connection.recv_bytes() if isinstance(request, Open) else b""
            except (EOFError, OSError):
                return
            faulthandler.dump_traceback_later(request.deadline_s + _WATCHDOG_SLACK_S, exit=True, file=silence)
            try:
                if isinstance(request, Open):
                    limit_address_space(floor + 2 * len(data) + _GROWTH_BYTES)
                    floor += 2 * len(data)
                    opened = pdfium.PdfDocument(data)
                    answer = Answer(_sizes(opened))
                else:
                    limit_address_space(floor + _GROWTH_BYTES + _BYTES_PER_PIXEL * request.columns * request.rows)
                    _draw(opened, request)
                    answer = Answer()
            except pdfium.PdfiumError as error:
                answer = Answer(error=str(error), needs_password=getattr(error, "err_code", None) == _PASSWORD)
            except MemoryError:
                answer = Answer(error="it needs more memory than it may have")
            except Exception as error:  # noqa: BLE001 - the edge of a process that is there to fail
                answer = Answer(error=f"{type(error).__name__}: {error}")
            faulthandler.cancel_dump_traceback_later()
            try:
                connection.send(answer)
            except OSError:
                return


def _sizes(opened: Any) -> tuple[tuple[float, float], ...]:
    if opened.get_formtype():
        opened.init_forms()  # else what is filled in would be missing; without an engine no script can run
    return tuple(_page_size(opened, index) for index in range(min(len(opened), MOST_PAGES)))


def _page_size(opened: Any, index: int) -> tuple[float, float]:
    try:
        sides = opened.get_page_size(index)
    except Exception:  # noqa: BLE001 - one damaged page is said when it is drawn
        return (0.0, 0.0)
    width, height = (min(max(float(side), _POINTS[0]), _POINTS[1]) for side in sides)
    return width, height


def _draw(opened: Any, request: Draw) -> None:
    page = opened[request.page]
    width, height = page.get_size()
    scale = min(request.columns / max(width, 1.0), request.rows / max(height, 1.0))
    drawn = page.render(scale=scale, rev_byteorder=True, prefer_bgrx=False).to_numpy()[..., :3]
    page.close()
    memory = SharedMemory(request.memory_name)
    try:
        target: np.ndarray = np.ndarray((request.rows, request.columns, 3), np.uint8, buffer=memory.buf)
        target[...] = 255
        rows, columns = (min(a, b) for a, b in zip(drawn.shape[:2], target.shape[:2], strict=True))
        target[:rows, :columns] = drawn[:rows, :columns]
        del target  # a view keeps the memory from being closed
    finally:
        memory.close()

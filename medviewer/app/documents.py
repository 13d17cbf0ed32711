"""Documents of a study: reports, PDFs and waveforms, shown in the place of the images until they are closed.

While a document is read no image is on screen, so that nothing said of an image, and no command on one,
can be taken for the document's; what was on screen waits in :class:`Reading` and comes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medviewer.app.measurement_files import free_path
from medviewer.app.on_screen import active_pane, identity_of, is_record_checked, seen_selection, selections
from medviewer.app.panes import activate, brought_back, grown_panes, read_missing, window_of
from medviewer.app.patient import NO_RECORD, check_record
from medviewer.app.save_jobs import Noted
from medviewer.app.state import EMPTY, Content, Pane, Reading, Selection, State
from medviewer.domain.errors import InputError, MedViewerError
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.report import ImageReference
from medviewer.domain.study import Collection, Document, Patient
from medviewer.imaging.pdf import Pdf, draw_page, open_pdf, read_pdf_bytes
from medviewer.imaging.report_text import read_report
from medviewer.imaging.waveform import read_waveform
from medviewer.whole_file import write_whole

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

ZOOM_RANGE = (0.25, 8.0)
PDF_NAME = "document.pdf"


def is_reading(state: State) -> bool:
    """Whether a document is on screen."""
    return state.reading is not None


def has_pages(state: State) -> bool:
    """Whether a document of several pages is on screen."""
    return page_count(state) > 1


def is_pdf(state: State) -> bool:
    """Whether a PDF is on screen, or one that cannot be drawn."""
    return state.reading is not None and state.reading.document.kind == "pdf"


def page_count(state: State) -> int:
    """How many pages the document on screen has; 0 where it has none."""
    content = state.reading.content if state.reading is not None else None
    return len(content.sizes_pt) if isinstance(content, Pdf) else 0


def readings(collection: Collection) -> Iterator[Reading]:
    """Every document of a collection with whose it is, in display order."""
    for patient in collection.patients:
        for study in patient.studies:
            for document in study.documents:
                yield Reading(patient, study, document)


def show(app: Application, document: Document) -> None:
    """Show a document in the place of the images."""
    found = next((one for one in readings(app.state.collection) if one.document.key == document.key), None)
    if found is None:
        return
    now = app.state.reading
    if now is None and window_of(app.state.active):
        activate(app, 0)  # documents are in front of the images of the first window
    behind, beside = (now.behind, now.beside) if now is not None else (active_pane(app.state), EMPTY)
    shown = None if now is not None else seen_selection(app.state)
    before = now.patient if now is not None else shown.patient if shown is not None else None
    if now is None and behind.selection is not None and behind.cut is None:
        app.wishes.views[behind.selection.stack_key] = behind.view
    is_other_patient = before is None or identity_of(before) != identity_of(found.patient)
    shares_record = not is_other_patient and (now is None or now.shares_record)
    parked = app.state.parked
    if is_other_patient and not beside:
        beside, parked = parked, EMPTY  # never two patients side by side, nor in two windows
    app.session.settle()
    app.session.update(
        reading=replace(found, shares_record=shares_record, behind=behind, beside=beside), is_playing=False,
        selection=None, cut=None, frame=None, frame_problem="", parked=parked,
        **(NO_RECORD if is_other_patient else {}),
    )  # fmt: skip
    _read(app, found.document)


def _read(app: Application, document: Document) -> None:
    def work(stop: StopToken, _progress: Progress) -> Content:
        if document.kind == "report":
            return read_report(document)
        return read_waveform(document) if document.kind == "waveform" else open_pdf(document, stop=stop)

    app.jobs.stop("page")
    app.jobs.start(
        "document",
        work,
        lambda content: change(app, document, content=content),
        lambda error: change(app, document, problem=str(error)),
    )


def change(app: Application, document: Document, **changes: Any) -> None:
    """Change how a document is read, if it is still the one on screen."""
    now = app.state.reading
    if now is not None and now.document.key == document.key:
        app.session.update(reading=replace(now, **changes))


def close(app: Application, _argument: object) -> None:
    """Show again what was on screen before."""
    reading = app.state.reading
    if reading is None:
        return
    for slot in ("document", "page"):
        app.jobs.stop(slot)
    parked = brought_back(app.state, reading.beside) if reading.beside else app.state.parked
    back = grown_panes({0: reading.behind}, app.state.collection)[0]
    if not _filled(back, *parked.values()):
        back = Pane(selection=_first_image(app.state.collection, reading.patient))
    shown = next(iter(_filled(back, *parked.values())), None)
    is_other_patient = shown is None or identity_of(shown.patient) != identity_of(reading.patient)
    changes = {name: getattr(back, name) for name in Pane.__dataclass_fields__}
    app.session.update(reading=None, parked=parked, **changes, **(NO_RECORD if is_other_patient else {}))
    if shown is None:
        return
    if not is_record_checked(app.state):
        check_record(app, shown.patient)
    read_missing(app)


def _filled(*panes: Pane) -> list[Selection]:
    return [pane.selection for pane in panes if pane.selection is not None]


def _first_image(collection: Collection, patient: Patient) -> Selection | None:
    """Where there was no image on screen: the first one of whom was read of; else the first one."""
    of_patient = (one for one in selections(collection) if one.patient.key == patient.key)
    return next(of_patient, None) or next(selections(collection), None)


def take_grown(state: State, collection: Collection) -> Reading | None:
    """The document on screen in a collection that has grown: its patient may be known better by now."""
    now = state.reading
    if now is None:
        return None
    found = next((one for one in readings(collection) if one.document.key == now.document.key), now)
    return replace(now, patient=found.patient, study=found.study)


def step_page(app: Application, step: int) -> None:
    """Turn to another page of the document."""
    reading = app.state.reading
    if reading is not None:
        page = min(max(reading.page + step, 0), page_count(app.state) - 1)
        if page >= 0 and page != reading.page:
            change(app, reading.document, page=page, picture=None, page_problem="")


def next_page(app: Application, _argument: object) -> None:
    """Turn to the next page."""
    step_page(app, 1)


def previous_page(app: Application, _argument: object) -> None:
    """Turn to the previous page."""
    step_page(app, -1)


def zoom_by(app: Application, factor: float) -> None:
    """Show the document larger or smaller; 1 is as large as it fits."""
    reading = app.state.reading
    if reading is not None:
        zoom = min(max(reading.zoom * factor, ZOOM_RANGE[0]), ZOOM_RANGE[1])
        change(app, reading.document, zoom=zoom)


def fit(app: Application) -> None:
    """Show the document as large as it fits."""
    reading = app.state.reading
    if reading is not None:
        change(app, reading.document, zoom=1.0)


def draw(app: Application, pixels_per_point: float) -> None:
    """Have the page on screen drawn for a screen of so many pixels a point."""
    reading = app.state.reading
    if reading is None or not isinstance(reading.content, Pdf) or app.state.identity_hidden:
        return
    pdf, page, document = reading.content, reading.page, reading.document

    def work(stop: StopToken, _progress: Progress) -> np.ndarray:
        return draw_page(pdf, page, pixels_per_point=pixels_per_point, stop=stop)

    def is_wanted() -> bool:
        now = app.state.reading
        return now is not None and now.content is pdf and now.page == page

    def done(picture: np.ndarray) -> None:
        if is_wanted():
            change(app, document, picture=picture, page_problem="")

    def failed(error: MedViewerError) -> None:
        if is_wanted():
            change(app, document, picture=None, page_problem=str(error))

    app.jobs.start("page", work, done, failed)


def save_pdf(app: Application, folder: str | Path | None) -> None:
    """Save the PDF on screen as a file, byte for byte."""
    reading = app.state.reading
    if reading is None or reading.document.kind != "pdf":
        return
    out = Path(folder) if folder is not None else app.front.choose_folder("Save the PDF in")
    if out is None:
        return
    document = reading.document

    def work(_stop: StopToken, _progress: Progress) -> Path:
        data = read_pdf_bytes(document)
        path = free_path(out / PDF_NAME)
        write_whole(path, data)
        return path

    def saved(path: Path) -> None:
        app.notify("info", f"Saved in that folder as {path.name}; the PDF may say who the patient is.")

    app.saves.start("save", work, Noted("document.saved", document.sop_instance_uid), saved)


def referenced(state: State, reference: ImageReference) -> Selection | None:
    """The image that the report on screen points at, if it is open: of the same patient, and only one of that name."""
    reading = state.reading
    if reading is None:
        return None
    frame = reference.frames[0] - 1 if reference.frames else 0
    patient = next((one for one in state.collection.patients if one.key == reading.patient.key), reading.patient)
    found = [
        one
        for one in selections(Collection((patient,)))
        if one.image.sop_instance_uid == reference.sop_instance_uid and one.image.frame == frame
    ]
    return found[0] if len(found) == 1 else None


def show_image(app: Application, reference: ImageReference) -> None:
    """Show the image that the report on screen points at.

    Raises:
        InputError: it is not open.
    """
    found = referenced(app.state, reference)
    if found is None:
        raise InputError("That image is not open: open the folder that it lies in, together with the report.")
    app.run_command("image.select", found)

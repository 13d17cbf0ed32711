"""Measurements into files that others can read, and back from such files that lie beside the images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from medviewer.app.on_screen import (
    calibration_of,
    measured_image,
    name_of,
    shown_presentation,
    value_of,
)
from medviewer.app.save_jobs import Noted
from medviewer.app.state import Measured, State, Value
from medviewer.domain.errors import MedViewerError, UsageError, without_data
from medviewer.domain.frame import Frame
from medviewer.domain.measurement import Measurement
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.study import Collection, Image, Study
from medviewer.imaging.decode import read_frame
from medviewer.imaging.display import default_window
from medviewer.imaging.measuring import measure

if TYPE_CHECKING:  # commands act on the application, which holds their table; what writes DICOM takes a while to load
    from medviewer.app.application import Application
    from medviewer.imaging.measurement_report import Measured as MeasuredImage

log = logging.getLogger(__name__)

REPORT_NAME, STATE_NAME = "measurements.sr.dcm", "measurements.pr.dcm"
_MOST_REPORTS = 200  # that are looked into


class _Item(NamedTuple):
    """What a measurement is found from again when it is written."""

    image: Image
    frame: Frame | None
    measurement: Measurement
    calibration: Measurement | None


def has_measured(state: State) -> bool:
    """Whether anything was measured in the study on screen."""
    measured = {where[:2] for where, own in state.measurements.items() if own}
    if not measured or state.selection is None:  # asked at every step of the wheel: most studies end here
        return False
    return any(name_of(image)[:2] in measured for image in _images(state.selection.study))


def can_save_state(state: State) -> bool:
    """Whether a stored image is on screen, whose view others can be told."""
    return state.cut is None and measured_image(state) is not None and state.frame is not None


def save_report(app: Application, folder: str | Path | None) -> None:
    """Save all that was measured in the study on screen as a DICOM Structured Report (TID 1500)."""
    items = _items(app, images_of_study(app.state))
    on_planes, left_out = _on_planes(app.state)
    if not items and not on_planes and left_out:
        raise UsageError("What was measured on planes has no numbers yet: choose Other planes (MPR), then save again.")
    if not items and not on_planes:
        raise UsageError("There is no measurement to save: draw one first.")
    out = Path(folder) if folder is not None else app.front.choose_folder("Save measurements in")
    if out is None:
        return

    def write(path: Path, stop: StopToken) -> None:
        from medviewer.imaging.measurement_report import write_measurement_report  # noqa: PLC0415 - see the top

        write_measurement_report([*_measured(items, stop), *_as_measured(on_planes)], path=path)

    first = items[0].measurement if items else on_planes[0][1].measurement
    _save(app, out / REPORT_NAME, first, write, left_out=left_out)


def save_state(app: Application, folder: str | Path | None) -> None:
    """Save how the image on screen is looked at, with what was measured on it, as a presentation state (GSPS)."""
    state = app.state
    where = measured_image(state)
    if where is None or state.cut is not None or state.selection is None or state.frame is None:
        raise UsageError("Planes cut from a series have no presentation state: show one of the series' own images.")
    if shown_presentation(state) is not None:
        raise UsageError("A presentation state is shown already: “Reset view” puts it aside for a view of your own.")
    items = _items(app, {where: state.selection.image})
    out = Path(folder) if folder is not None else app.front.choose_folder("Save presentation state in")
    if out is None:
        return
    image, frame, view = state.selection.image, state.frame, state.view
    if view.palette:
        app.notify("info", "A presentation state of a greyscale image keeps no colours: it will be shown in grey.")

    def write(path: Path, stop: StopToken) -> None:
        from medviewer.imaging import presentation_state as gsps  # noqa: PLC0415 - see the top

        # The window that is on screen, the file's own too: without one, readers spread the full range of values.
        described = frame.description
        has_no_window = frame.is_color or bool(described.voi_luts and not described.windows)
        shown = gsps.Presentation(
            view.window or (None if has_no_window else default_window(frame)),
            view.inverted,
            view.quarter_turns,
            view.flip_horizontal,
            view.flip_vertical,
            frame.shutters if state.shutters_shown else None,
        )
        gsps.write_presentation_state(image, shown, _measured(items, stop), path=path)

    _save(app, out / STATE_NAME, items[0].measurement if items else None, write, image.sop_instance_uid)


def look_for_reports(app: Application, collection: Collection) -> None:
    """Offer the measurements of reports that lie beside the images and belong to them, as far as they are new.

    A report that names another patient belongs to none of them, whatever UIDs it names.
    """
    reports = [
        (patient.key, document)
        for patient in collection.patients
        for study in patient.studies
        for document in study.documents
        if document.kind == "report"
    ][:_MOST_REPORTS]
    if not reports:
        return
    images = {
        (patient.key, study.study_instance_uid, image.sop_instance_uid, image.frame): image
        for patient in collection.patients
        for study in patient.studies
        for image in _images(study)
    }

    def work(stop: StopToken, _progress: Progress) -> tuple[Measurement, ...]:
        from medviewer.imaging.measurement_reading import read_measurement_report  # noqa: PLC0415 - see the top

        found: dict[str, Measurement] = {}
        for who, document in reports:
            stop.raise_if_stopped()
            try:
                report = read_measurement_report(document.file)
            except MedViewerError:
                continue  # no report of measurements: it can be read as text
            except Exception as error:  # reports come from anywhere: one must not cost all the others
                log.error("a report could not be read", exc_info=without_data(error))  # noqa: TRY400 - no message
                continue
            for one in report.measurements:
                image = images.get((who, report.study_instance_uid, one.sop_instance_uid, one.frame))
                if image is None or not report.names_frame(one, image.number_of_frames):
                    continue  # of another patient or study, of an image that is not open, or of no frame that is known
                one = report.drawn_on(one, image.description)  # noqa: PLW2901 - the same, on the pixels of its image
                own = (image.description.rows, image.description.columns)
                rows, columns = one.plane.shape if one.plane is not None else own
                is_inside = all(0 <= x <= columns and 0 <= y <= rows for x, y in one.points)
                # What the store has known is not new, even if the reader deleted it since.
                if is_inside and not app.records.store().measurement_history(one.uid):
                    found.setdefault(one.uid, one)
        return tuple(found.values())

    def done(found: tuple[Measurement, ...]) -> None:
        app.session.update(offered_measurements=found)

    app.background.start("reports", work, done, lambda _error: None)


def offered(state: State) -> tuple[Measurement, ...]:
    """What reports hold of the patient on screen that is not among the measurements yet."""
    return tuple(
        one
        for one in state.offered_measurements
        if one.uid not in {own.uid for own in state.measurements.get(one.where, ())}
        and (*one.where[:2], None) in state.measurements
    )


def take_offered(app: Application, _argument: object) -> None:
    """Add the measurements that reports hold to those of their images, as the reader's own rows."""
    new = offered(app.state)
    app.session.know_measurements(new)
    app.session.update(offered_measurements=())
    app.notify("info", "1 measurement was added." if len(new) == 1 else f"{len(new)} measurements were added.")


def _save(
    app: Application,
    wanted: Path,
    first: Measurement | None,
    write: Callable[[Path, StopToken], None],
    image_uid: str = "",
    *,
    left_out: int = 0,
) -> None:
    def work(stop: StopToken, _progress: Progress) -> Path:
        path = free_path(wanted)
        write(path, stop)
        return path

    def saved(path: Path) -> None:
        # The file's name is ours; the folder's, which the reader chose, may be the patient's.
        if left_out:
            app.notify(
                "caution",
                f"Saved in that folder as {path.name}, without {left_out} on planes that have no numbers yet.",
            )
        else:
            app.notify("info", f"Saved in that folder as {path.name}.")

    subject = first.sop_instance_uid if first is not None else image_uid
    app.saves.start("save", work, Noted("results.saved", subject), saved)


def free_path(path: Path) -> Path:
    """The path, or with a number where something lies already: nothing is written over."""
    stem, ending = path.name.split(".", 1)
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{stem}-{number}.{ending}")
    return path


def _items(app: Application, images: Mapping[Measured, Image]) -> list[_Item]:
    state, found = app.state, []
    for where, image in images.items():
        own = state.measurements.get(where, ())
        picture = app.frames.get(image.key) if own else None
        for one in own:
            frame = picture.frame if picture is not None else None
            found.append(_Item(image, frame, one, calibration_of(state, where)))
    return found


def _measured(items: list[_Item], stop: StopToken) -> list[MeasuredImage]:
    """The numbers of measurements, found anew in the pixels of their images."""
    from medviewer.imaging.measurement_report import Measured as MeasuredImage  # noqa: PLC0415 - see the top

    made: list[MeasuredImage] = []
    read: dict[Measured, Frame] = {}
    for image, frame, one, calibration in items:
        stop.raise_if_stopped()
        where = one.where
        pixels = frame or read.get(where) or read_frame(image, stop=stop)
        read = {where: pixels}  # those of one image follow each other
        of_others = None if one.kind == "calibration" else calibration
        made.append(MeasuredImage(image, one, measure(one, pixels, calibration=of_others)))
    return made


def images_of_study(state: State) -> Mapping[Measured, Image]:
    """The images of the study on screen that have been asked for measurements."""
    if state.selection is None:
        return MappingProxyType({})
    return {name_of(image): image for image in _images(state.selection.study) if name_of(image) in state.measurements}


def _on_planes(state: State) -> tuple[list[tuple[Image, Value]], int]:
    """What was measured on planes cut through the stacks of the study on screen, and how much has no numbers here."""
    if state.selection is None:
        return [], 0
    images = {name_of(image): image for image in _images(state.selection.study)}
    known: list[tuple[Image, Value]] = []
    left_out = 0
    for where, own in state.measurements.items():
        image = images.get((*where[:2], None)) if where[2] is not None else None
        if image is None:
            continue
        for one in own:
            value = value_of(state, one)
            if value is not None and value.quantities:
                known.append((image, replace(value, measurement=one)))
            else:
                left_out += 1
    return known, left_out


def _as_measured(on_planes: list[tuple[Image, Value]]) -> list[MeasuredImage]:
    from medviewer.imaging.measurement_report import Measured as MeasuredImage  # noqa: PLC0415 - see the top

    return [MeasuredImage(image, value.measurement, value.quantities) for image, value in on_planes]


def _images(study: Study) -> list[Image]:
    return [image for series in study.series for stack in series.stacks for image in stack.images]

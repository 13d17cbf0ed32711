"""A document takes the place of the images, of whoever it is, and gives it back; late answers are dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app import documents
from medviewer.app.application import NoFront
from medviewer.app.documents import page_count, readings
from medviewer.app.last_session import what_is_open
from medviewer.app.on_screen import is_record_checked, pane_state, patient_beside_record, selections
from medviewer.app.opening import take_collection
from medviewer.app.panes import SECOND, pane_numbers
from medviewer.app.start import running_application
from medviewer.app.state import EMPTY
from medviewer.domain.report import ImageReference, Report
from medviewer.domain.study import Document
from medviewer.domain.waveform import Waveform
from medviewer.imaging.element_list import ElementList
from medviewer.imaging.pdf import Pdf, shutdown
from medviewer.imaging.scan import scan
from tests.conftest import InlineExecutor
from tests.document_maker import (
    LOCKED,
    channel,
    image_item,
    item,
    make_pdf,
    multiplex_group,
    write_pdf,
    write_report,
    write_waveform,
)
from tests.radiographs import write_radiograph, write_slices

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine

WHO = {"PatientID": "A1", "PatientName": "Alpha^Anna", "PatientBirthDate": "20010203", "PatientSex": "F"}
STUDY = "2.25.77"


@pytest.fixture(autouse=True)
def _ended() -> Any:
    yield
    shutdown()


def folder(tmp_path: Path, *, references: str = "1.2.3.4") -> Path:
    """A radiograph, a report on it, a letter and an ECG of one patient, and a letter of another."""
    made = tmp_path / "in"
    made.mkdir()
    write_radiograph(made / "a.dcm", SOPInstanceUID="1.2.3.4", StudyInstanceUID=STUDY)
    finding = item("TEXT", "Finding", image_item(references), TextValue="A shadow")
    write_report(made / "b.dcm", finding, StudyInstanceUID=STUDY, **WHO)
    write_pdf(made / "c.dcm", make_pdf(3), StudyInstanceUID=STUDY, **WHO)
    group = multiplex_group(_samples(), [channel("II")], "SS")
    write_waveform(made / "d.dcm", group, StudyInstanceUID=STUDY, **WHO)
    write_pdf(made / "e.dcm", make_pdf(), PatientID="B2", PatientName="Beta^Ben")
    return made


def _samples() -> Any:
    import numpy as np

    return np.arange(100, dtype="<i2").reshape(100, 1)


def document(app: Application, name: str) -> Document:
    return next(one.document for one in readings(app.state.collection) if one.document.path.name == name)


@pytest.fixture
def app(application: Application, tmp_path: Path) -> Application:
    application.run_command("file.open_folder", folder(tmp_path))
    return application


@pytest.mark.parametrize(("name", "kind"), [("b.dcm", Report), ("c.dcm", Pdf), ("d.dcm", Waveform)])
def test_a_document_is_read_and_no_image_is_on_screen(app: Application, name: str, kind: type) -> None:
    assert app.state.selection is not None  # images come first
    app.run_command("document.show", document(app, name))
    reading = app.state.reading
    assert reading is not None
    assert isinstance(reading.content, kind)
    assert reading.patient.name == "Alpha^Anna"
    assert (app.state.selection, app.state.frame) == (None, None)


def test_what_was_on_screen_comes_back_as_it_was(app: Application) -> None:
    app.run_command("view.invert")
    before = app.state
    app.run_command("document.show", document(app, "b.dcm"))
    app.run_command("document.show", document(app, "c.dcm"))
    app.run_command("view.reset")  # Esc
    after = app.state
    assert after.reading is None
    assert after.selection is not None
    assert before.selection is not None
    assert after.selection.image.key == before.selection.image.key
    assert after.frame is before.frame
    assert after.view == before.view
    assert after.view.inverted


def test_the_record_of_one_patient_does_not_stand_beside_the_document_of_another(app: Application) -> None:
    assert app.state.record is not None
    app.run_command("document.show", document(app, "b.dcm"))
    assert app.state.record is not None
    for _ in range(2):
        app.run_command("document.show", document(app, "e.dcm"))
        assert app.state.record is None
        assert patient_beside_record(app.state) is None, "the store is asked when images come back"
    app.run_command("document.close")
    assert app.state.record is not None
    assert app.state.record.name == "Alpha^Anna" or app.state.selection is not None


def test_choosing_an_image_leaves_the_document(app: Application) -> None:
    app.run_command("document.show", document(app, "b.dcm"))
    app.run_command("image.select", next(selections(app.state.collection)))
    assert app.state.reading is None
    assert app.state.frame is not None


def test_commands_on_images_do_nothing_while_a_document_is_read(app: Application) -> None:
    app.run_command("document.show", document(app, "b.dcm"))
    before = app.state
    for command_id in ("view.invert", "view.rotate_left", "layout.planes", "model.run", "file.copy_image"):
        app.run_command(command_id)
    assert app.state is before


@pytest.mark.parametrize("command", [("layout.next", None), ("layout.activate", 1), ("layout.maximise", None)])
def test_other_viewports_stay_as_they_are_behind_a_document(app: Application, command: tuple[str, Any]) -> None:
    app.run_command("layout.use", (1, 2))
    app.run_command("layout.activate", 1)
    app.run_command("image.select", next(selections(app.state.collection)))
    app.run_command("layout.activate", 0)
    before = app.state
    app.run_command("document.show", document(app, "b.dcm"))
    shown = app.state
    app.run_command(*command)
    assert app.state is shown
    app.run_command("document.close")
    assert (app.state.layout, app.state.active) == (before.layout, before.active)
    assert app.state.parked is before.parked
    assert app.state.selection is not None


def two_patients(app: Application, tmp_path: Path) -> None:
    """Images of Alpha and of Beta, and a letter about each."""
    made = folder(tmp_path)
    write_radiograph(made / "f.dcm", patient_id="B2", name="Beta^Ben", SOPInstanceUID="1.2.3.5")
    app.run_command("file.open_folder", made)


def names_on_screen(app: Application) -> list[str | None]:
    panes = [pane_state(app.state, index).selection for index in pane_numbers(app.state)]
    return [pane.patient.name if pane is not None else None for pane in panes]


def push_out_what_waits(app: Application) -> None:
    """As where the images were still being read when the document came."""
    reading = app.state.reading
    assert reading is not None
    beside = {index: replace(pane, frame=None) for index, pane in reading.beside.items()}
    app.session.update(reading=replace(reading, beside=beside))


def test_a_document_of_another_patient_leaves_no_image_beside_it(application: Application, tmp_path: Path) -> None:
    """Neither in the other viewports nor in the second window, which has the same title; they come back."""
    two_patients(application, tmp_path)
    application.run_command("layout.use", (1, 2))
    application.run_command("layout.activate", 1)
    application.run_command("image.select", next(selections(application.state.collection)))
    application.run_command("layout.activate", 0)
    assert names_on_screen(application) == ["Alpha^Anna", "Alpha^Anna"]
    application.run_command("document.show", document(application, "e.dcm"))
    assert names_on_screen(application) == [None, None]
    remembered = what_is_open(application)
    assert remembered is not None
    assert len(remembered.panes) == 2, "what comes back is what is open"
    application.run_command("document.show", document(application, "b.dcm"))
    assert names_on_screen(application) == [None, None]
    push_out_what_waits(application)
    application.run_command("document.close")
    assert names_on_screen(application) == ["Alpha^Anna", "Alpha^Anna"]
    assert all(pane_state(application.state, index).frame is not None for index in (0, 1))
    assert is_record_checked(application.state)


def test_viewports_that_are_gone_meanwhile_do_not_come_back(application: Application, tmp_path: Path) -> None:
    two_patients(application, tmp_path)
    application.run_command("layout.second_window")
    application.run_command("layout.activate", SECOND)
    application.run_command("image.select", next(selections(application.state.collection)))
    application.run_command("layout.activate", 0)
    application.run_command("document.show", document(application, "e.dcm"))
    application.run_command("layout.second_window")
    assert application.state.second is None
    application.run_command("document.close")
    assert names_on_screen(application) == ["Alpha^Anna"]
    assert SECOND not in application.state.parked


@pytest.mark.parametrize(("patient", "left"), [("Alpha^Anna", "Alpha^Anna"), ("Beta^Ben", None)])
def test_an_image_chosen_beside_anothers_document_has_its_viewports_again(
    application: Application, tmp_path: Path, patient: str, left: str | None
) -> None:
    two_patients(application, tmp_path)
    application.run_command("layout.use", (1, 2))
    application.run_command("layout.activate", 1)
    application.run_command("image.select", next(selections(application.state.collection)))
    application.run_command("document.show", document(application, "e.dcm"))
    push_out_what_waits(application)
    chosen = next(one for one in selections(application.state.collection) if one.patient.name == patient)
    application.run_command("image.select", chosen)
    assert names_on_screen(application) == [left, patient]
    assert application.state.record is not None
    assert application.state.record.name == patient
    if left:
        assert pane_state(application.state, 0).frame is not None


def test_closing_a_document_over_an_empty_viewport_brings_nobody_else(application: Application, tmp_path: Path) -> None:
    two_patients(application, tmp_path)
    beta = next(one for one in selections(application.state.collection) if one.patient.name == "Beta^Ben")
    application.run_command("image.select", beta)
    application.run_command("layout.use", (1, 2))
    application.run_command("layout.activate", 1)
    assert names_on_screen(application) == ["Beta^Ben", None]
    application.run_command("document.show", document(application, "e.dcm"))
    assert application.state.record is not None, "it is the same patient's"
    application.run_command("document.close")
    assert names_on_screen(application) == ["Beta^Ben", None]
    assert application.state.record is not None
    assert application.state.record.name == "Beta^Ben"


def test_closing_a_document_without_an_image_on_screen_shows_one_of_its_patient(
    application: Application, tmp_path: Path
) -> None:
    two_patients(application, tmp_path)
    letter = document(application, "e.dcm")
    application.run_command("layout.use", (1, 2))
    application.session.update(selection=None, frame=None, parked=EMPTY)
    application.run_command("document.show", letter)
    application.run_command("document.close")
    assert names_on_screen(application) == ["Beta^Ben", None]


def test_a_plane_that_was_cut_comes_back(application: Application, tmp_path: Path) -> None:
    write_slices(tmp_path, 5)
    write_report(tmp_path / "r.dcm", item("TEXT", "Finding", TextValue="-"))
    application.run_command("file.open_folder", tmp_path)
    application.run_command("layout.planes")
    application.run_command("layout.turn_left")
    before = application.state
    assert before.cut is not None
    application.run_command("document.show", document(application, "r.dcm"))
    assert application.state.cut is None
    for command_id, argument in (
        ("layout.slab", (10.0, "max")),
        ("layout.turn_left", None),
        ("layout.straighten", None),
    ):
        application.run_command(command_id, argument)
    application.run_command("document.close")
    assert application.state.cut == before.cut
    assert application.state.frame is before.frame
    assert application.state.parked.keys() == before.parked.keys()
    for index, pane in application.state.parked.items():
        was = before.parked[index]
        assert (pane.cut, pane.view) == (was.cut, was.view)
        assert pane.frame is was.frame
        assert pane.selection is not None
        assert was.selection is not None
        assert pane.selection.image.key == was.selection.image.key


def test_a_folder_with_documents_alone_opens_the_first(application: Application, tmp_path: Path) -> None:
    write_pdf(tmp_path / "b.dcm", make_pdf(), ContentTime="080000")
    write_report(tmp_path / "a.dcm", item("TEXT", "Finding", TextValue="None"), ContentTime="090000")
    application.run_command("file.open_folder", tmp_path)
    reading = application.state.reading
    assert reading is not None
    assert reading.document.path.name == "b.dcm"
    application.run_command("document.close")
    assert application.state.reading is None
    assert application.state.selection is None


def test_closing_the_studies_closes_the_document(app: Application) -> None:
    app.run_command("document.show", document(app, "b.dcm"))
    app.run_command("file.close")
    assert app.state.reading is None
    assert not app.state.collection.patients


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "holds no PDF"), (make_pdf(trailer=LOCKED), "password"), (b"%PDF-1.7 rubbish", "damaged")],
)
def test_a_document_that_cannot_be_read_says_why(
    application: Application, tmp_path: Path, data: bytes, words: str
) -> None:
    application.run_command("file.open_files", [write_pdf(tmp_path / "a.dcm", data)])
    reading = application.state.reading
    assert reading is not None
    assert reading.content is None
    assert words in reading.problem


def test_pages_turn_and_stop_at_the_ends(app: Application) -> None:
    app.run_command("document.show", document(app, "c.dcm"))
    assert page_count(app.state) == 3
    shown = []
    for command_id in ("previous", "next", "next", "next", "previous"):
        app.run_command(f"document.{command_id}_page")
        assert app.state.reading is not None
        shown.append(app.state.reading.page)
    assert shown == [0, 1, 2, 2, 1]


def test_a_page_is_drawn_for_the_screen_and_forgotten_when_it_turns(app: Application) -> None:
    app.run_command("document.show", document(app, "c.dcm"))
    app.run_command("document.draw", 1.5)
    assert app.state.reading is not None
    assert app.state.reading.picture is not None
    assert app.state.reading.picture.shape == (450, 300, 3)
    app.run_command("document.next_page")
    assert app.state.reading.picture is None


def test_a_pdf_is_not_drawn_while_the_identity_is_hidden(app: Application) -> None:
    app.run_command("document.show", document(app, "c.dcm"))
    app.run_command("view.hide_identity")
    app.run_command("document.draw", 1.0)
    assert app.state.reading is not None
    assert app.state.reading.picture is None


def test_zoom_is_bounded_and_fit_undoes_it(app: Application) -> None:
    app.run_command("document.show", document(app, "d.dcm"))
    for _ in range(50):
        app.run_command("view.zoom_in")
    assert app.state.reading is not None
    assert app.state.reading.zoom == documents.ZOOM_RANGE[1]
    for _ in range(100):
        app.run_command("view.zoom_out")
    assert app.state.reading.zoom == documents.ZOOM_RANGE[0]
    app.run_command("view.fit")
    assert app.state.reading.zoom == 1.0


def test_the_pdf_is_saved_byte_for_byte_and_nothing_is_replaced(app: Application, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    app.run_command("document.show", document(app, "c.dcm"))
    app.run_command("document.save_pdf", out)
    app.run_command("document.save_pdf", out)
    assert sorted(path.name for path in out.iterdir()) == ["document-2.pdf", "document.pdf"]
    assert {path.read_bytes() for path in out.iterdir()} == {make_pdf(3)}


def test_a_protected_pdf_can_still_be_saved(application: Application, tmp_path: Path) -> None:
    data = make_pdf(trailer=LOCKED)
    application.run_command("file.open_files", [write_pdf(tmp_path / "a.dcm", data)])
    application.run_command("document.save_pdf", tmp_path)
    assert (tmp_path / "document.pdf").read_bytes() == data


def test_an_image_that_the_report_points_at_is_shown(app: Application) -> None:
    app.run_command("document.show", document(app, "b.dcm"))
    app.run_command("document.show_image", ImageReference("1.2.3.4"))
    assert app.state.reading is None
    assert app.state.selection is not None
    assert app.state.selection.image.sop_instance_uid == "1.2.3.4"


@pytest.mark.parametrize("reference", [ImageReference("9.9"), ImageReference("1.2.3.4", (2,))])
def test_an_image_that_is_not_open_is_said(app: Application, reference: ImageReference) -> None:
    app.run_command("document.show", document(app, "b.dcm"))
    app.run_command("document.show_image", reference)
    assert app.state.reading is not None
    assert app.state.notice is not None
    assert "not open" in app.state.notice.text


def test_a_report_never_leads_to_another_patients_image(application: Application, tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm", SOPInstanceUID="1.2.3.4")
    finding = item("TEXT", "Finding", image_item("1.2.3.4"), TextValue="A shadow")
    write_report(tmp_path / "b.dcm", finding, PatientID="B2", PatientName="Beta^Ben")
    application.run_command("file.open_folder", tmp_path)
    application.run_command("document.show", document(application, "b.dcm"))
    assert documents.referenced(application.state, ImageReference("1.2.3.4")) is None


def test_two_images_of_one_name_are_none(application: Application, tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm", SOPInstanceUID="1.2.3.4", StudyInstanceUID=STUDY)
    write_radiograph(tmp_path / "c.dcm", SOPInstanceUID="1.2.3.4", StudyInstanceUID=STUDY, ViewPosition="AP")
    write_report(tmp_path / "b.dcm", item("TEXT", "Finding", TextValue="-"), StudyInstanceUID=STUDY, **WHO)
    application.run_command("file.open_folder", tmp_path)
    application.run_command("document.show", document(application, "b.dcm"))
    assert documents.referenced(application.state, ImageReference("1.2.3.4")) is None


class Held(InlineExecutor):
    """Keeps work until it is let go."""

    def __init__(self, *_like_a_pool: object) -> None:
        super().__init__()
        HELD.append(self)
        self.work: list[Callable[[], Any]] = []
        self.is_holding = False

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not self.is_holding:
            return super().submit(work, *args, **kwargs)
        self.work.append(lambda: work(*args, **kwargs))
        return None


HELD: list[Held] = []


def test_an_answer_that_comes_late_is_not_shown_in_another_document(
    fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path
) -> None:
    HELD.clear()
    with running_application(medviewer_home, lambda call: call(), fake_engine, Held) as app:
        app.run_command("file.open_folder", folder(tmp_path))
        for held in HELD:
            held.is_holding = True
        app.run_command("document.show", document(app, "b.dcm"))
        app.run_command("document.show", document(app, "d.dcm"))
        for held in HELD:
            held.is_holding = False
            for work in held.work:
                work()
        assert app.state.reading is not None
        assert isinstance(app.state.reading.content, Waveform)


def test_what_comes_of_one_document_is_not_put_into_another(app: Application) -> None:
    app.run_command("document.show", document(app, "b.dcm"))
    before = app.state.reading
    documents.change(app, document(app, "d.dcm"), problem="of the other")
    assert app.state.reading is before


def test_files_that_are_found_later_leave_the_document_on_screen(app: Application, tmp_path: Path) -> None:
    app.run_command("document.show", document(app, "b.dcm"))
    write_radiograph(tmp_path / "in" / "z.dcm", StudyInstanceUID=STUDY)
    grown = scan([tmp_path / "in"])
    take_collection(app, grown)
    reading = app.state.reading
    assert reading is not None
    assert isinstance(reading.content, Report)
    assert reading.patient is grown.patients[0]
    assert app.state.selection is None
    app.run_command("document.close")
    assert app.state.selection is not None
    assert app.state.selection.patient is grown.patients[0]


def test_the_elements_are_those_of_the_document(app: Application) -> None:
    class Front(NoFront):
        listed: ElementList | None = None

        def show_elements(self, listed: ElementList) -> None:
            Front.listed = listed

    app.front = Front()
    app.run_command("document.show", document(app, "c.dcm"))
    app.run_command("image.tags")
    assert Front.listed is not None
    assert "EncapsulatedDocument" in {one.keyword for one in Front.listed.elements}

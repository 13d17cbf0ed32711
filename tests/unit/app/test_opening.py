"""Opening shows the first image at once, loses nothing, and never goes to another patient by itself."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

from medviewer.app.application import NoFront
from medviewer.app.on_screen import is_record_checked, pane_state, selections
from medviewer.app.opening import take_collection
from medviewer.app.picture import Picture
from medviewer.app.start import running_application
from medviewer.domain.frame import Frame
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Collection, PixelDescription
from medviewer.imaging.element_list import ElementList
from medviewer.imaging.scan import scan
from tests.presentations import write_state
from tests.radiographs import write_radiograph, write_slices
from tests.scanning import let_scan

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine


def name_shown(app: Application) -> str:
    assert app.state.selection is not None
    return app.state.selection.patient.name


def test_a_file_is_opened_and_its_pixels_are_shown(application: Application, tmp_path: Path) -> None:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    state = application.state
    assert name_shown(application) == "Alpha^Anna"
    assert state.frame is not None
    assert state.frame.stored.shape == (96, 80)
    assert state.jobs == ()
    assert state.recent == (str(tmp_path / "a.dcm"),)


def test_nothing_usable_leaves_what_was_open(application: Application, tmp_path: Path) -> None:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    shown = application.state.selection
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("not an image")
    application.run_command("file.open_folder", tmp_path / "other")
    assert application.state.selection is shown
    assert application.state.notice is not None
    assert application.state.notice.level == "alarm"
    assert [p.path.name for p in application.state.collection.problems] == ["notes.txt"]


def test_a_bad_file_is_one_line_and_the_rest_is_shown(application: Application, tmp_path: Path) -> None:
    write_radiograph(tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes(b"\0" * 200)
    application.run_command("file.open_folder", tmp_path)
    assert name_shown(application) == "Alpha^Anna"
    assert len(application.state.collection.problems) == 1
    assert application.state.notice is not None
    assert "1 file" in application.state.notice.text


def test_a_presentation_state_beside_its_image_is_no_failure(application: Application, tmp_path: Path) -> None:
    image = write_radiograph(tmp_path / "a.dcm")
    write_state(tmp_path / "b.dcm", pydicom.dcmread(image))
    application.run_command("file.open_folder", tmp_path)
    assert application.state.notice is None
    assert [problem.reason for problem in application.state.collection.problems] == [
        "A presentation state: understood; it is offered for the images that it names when they are opened with it."
    ]
    (tmp_path / "c.dcm").write_bytes(b"\0" * 200)
    application.run_command("file.open_folder", tmp_path)
    assert application.state.notice is not None
    assert application.state.notice.text == "1 file could not be shown; the problem list says why."


def test_pixels_that_cannot_be_read_are_said_and_other_images_work(application: Application, tmp_path: Path) -> None:
    a, b = write_radiograph(tmp_path / "a.dcm"), write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")
    application.run_command("file.open_files", [a, b])
    first = application.state.selection
    b.unlink()
    application.run_command("image.select", selection_of(application, "Beta^Ben"))
    assert application.state.frame is None
    assert application.state.frame_problem
    application.run_command("image.select", first)
    assert application.state.frame is not None
    assert not application.state.frame_problem


def selection_of(app: Application, name: str) -> Any:
    from medviewer.app.state import Selection

    patient = next(p for p in app.state.collection.patients if p.name == name)
    series = patient.studies[0].series[0]
    return Selection(patient, patient.studies[0], series, series.stacks[0], 0)


class HeldExecutor(Executor):
    """Runs at once, but for what the test holds back by the slot's order of submission."""

    held: list[Callable[[], Any]]

    def __init__(self, *_like_a_pool: object) -> None:
        self.held = []

    def submit(self, work: Callable[..., Any], /, *_args: Any, **_kwargs: Any) -> Future[Any]:
        self.held.append(work)
        return Future()


def test_what_is_found_later_never_changes_the_image_on_screen(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when the scan goes on, not when an earlier patient in the list turns up."""
    write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")
    partly = scan([tmp_path])
    write_radiograph(tmp_path / "a.dcm", patient_id="A1", name="Alpha^Anna")
    whole = scan([tmp_path])
    seen: list[str] = []
    let_scan(monkeypatch, partly, lambda: seen.append(name_shown(application)), whole)
    application.run_command("file.open_folder", tmp_path)
    assert seen == ["Beta^Ben"]
    assert name_shown(application) == "Beta^Ben"
    assert [p.name for p in application.state.collection.patients] == ["Alpha^Anna", "Beta^Ben"]


def test_what_is_found_later_does_not_fill_a_viewport_that_the_reader_emptied(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")
    partly = scan([tmp_path])
    write_radiograph(tmp_path / "a.dcm", patient_id="A1", name="Alpha^Anna")
    whole = scan([tmp_path])

    def empty_a_viewport() -> None:
        application.run_command("layout.use", (1, 2))
        application.run_command("layout.activate", 1)

    let_scan(monkeypatch, partly, empty_a_viewport, whole)
    application.run_command("file.open_folder", tmp_path)
    shown = [pane_state(application.state, index).selection for index in (0, 1)]
    assert [one.patient.name if one else None for one in shown] == ["Beta^Ben", None]


def test_a_growing_stack_keeps_the_image_and_learns_its_new_place(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_slices(tmp_path, 5)
    partly, whole = scan(paths[3:]), scan(paths)
    let_scan(monkeypatch, partly, whole)
    application.run_command("file.open_folder", tmp_path)
    now = application.state.selection
    assert now is not None
    assert now.image.path in paths[3:]
    assert now.stack.images[now.index].key == now.image.key
    assert len(now.stack.images) == 5


def test_a_stack_grows_behind_an_empty_viewport(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_slices(tmp_path, 5)

    def look_away() -> None:
        application.run_command("layout.use", (1, 2))
        application.run_command("layout.activate", 1)

    let_scan(monkeypatch, scan(paths[3:]), look_away, scan(paths))
    application.run_command("file.open_folder", tmp_path)
    behind = pane_state(application.state, 0).selection
    assert application.state.selection is None
    assert behind is not None
    assert len(behind.stack.images) == 5


def test_series_steps_stay_with_the_patient(application: Application, tmp_path: Path) -> None:
    for patient_id, name in (("A1", "Alpha^Anna"), ("B2", "Beta^Ben")):
        write_radiograph(tmp_path / f"{patient_id}1.dcm", patient_id=patient_id, name=name)
    application.run_command("file.open_folder", tmp_path)
    shown = name_shown(application)
    for step in ("series.next", "series.next", "series.previous", "series.previous", "series.previous"):
        application.run_command(step)
        assert name_shown(application) == shown


def test_scrolling_ends_at_the_ends(application: Application, tmp_path: Path) -> None:
    write_slices(tmp_path, 6)
    application.run_command("file.open_folder", tmp_path)
    shown = []
    for command_id, argument in (
        ("image.last", None), ("image.next", None), ("image.show", 2), ("image.previous", None), ("image.first", None),
        ("image.previous", None), ("image.show", 99), ("image.show", -5),
    ):  # fmt: skip
        application.run_command(command_id, argument)
        now, frame = application.state.selection, application.state.frame
        assert now is not None
        assert frame is not None
        shown.append(now.index)
        # The pixels are those of the slice that is named.
        assert int(frame.stored[0, 0]) - 1000 == int(now.image.path.stem)
    assert shown == [5, 5, 2, 1, 0, 0, 5, 0]


def test_scrolling_finds_its_images_already_read(application: Application, tmp_path: Path) -> None:
    write_slices(tmp_path, 12)
    application.run_command("file.open_folder", tmp_path)
    now = application.state.selection
    assert now is not None
    assert all(image.key in application.frames for image in now.stack.images)


def test_of_a_series_that_does_not_fit_what_is_near_is_read_ahead(application: Application, tmp_path: Path) -> None:
    write_slices(tmp_path / "one", 1)
    application.run_command("file.open_folder", tmp_path / "one")
    application.frames.budget_bytes = 10 * application.frames.size_bytes
    write_slices(tmp_path / "many", 40)
    application.run_command("file.open_folder", tmp_path / "many")
    application.run_command("image.show", 20)
    now = application.state.selection
    assert now is not None
    ready = [i for i, image in enumerate(now.stack.images) if image.key in application.frames]
    assert set(range(19, 25)) <= set(ready)
    assert len(ready) <= 10
    assert application.frames.size_bytes <= application.frames.budget_bytes


def test_a_late_frame_is_not_shown_for_another_image(
    fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path
) -> None:
    a = write_radiograph(tmp_path / "a.dcm")
    b = write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")
    pools: list[HeldExecutor] = []

    def make(threads: int, name: str) -> HeldExecutor:
        pools.append(HeldExecutor(threads, name))
        return pools[-1]

    with running_application(medviewer_home, lambda call: call(), fake_engine, make) as app:
        app.run_command("file.open_files", [a, b])
        jobs = pools[0].held
        jobs.pop(0)()  # the scan: reading A begins
        read_a = jobs.pop(0)
        app.run_command("image.select", selection_of(app, "Beta^Ben"))
        read_b = jobs.pop(0)
        read_b()
        shown = app.state.frame
        read_a()
        assert shown is not None
        assert app.state.frame is shown
        assert name_shown(app) == "Beta^Ben"


def test_cancel_keeps_what_was_found(fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path) -> None:
    pools: list[HeldExecutor] = []

    def make(threads: int, name: str) -> HeldExecutor:
        pools.append(HeldExecutor(threads, name))
        return pools[-1]

    with running_application(medviewer_home, lambda call: call(), fake_engine, make) as app:
        app.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
        assert [job.name for job in app.state.jobs] == ["open"]
        app.run_command("job.cancel", "open")
        assert app.state.jobs == ()
        pools[0].held.pop(0)()
        assert app.state.selection is None


def test_cancel_does_not_stop_the_reading_of_the_image_on_screen(
    fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would start it again: the viewport would say "Reading" for good."""
    path = write_radiograph(tmp_path / "a.dcm")
    whole = scan([path])

    def endless(
        paths: object, *, progress: object, stop: StopToken, on_found: Callable[[Collection], None], index: object
    ) -> None:
        on_found(whole)
        app.run_command("job.cancel")
        stop.raise_if_stopped()

    monkeypatch.setattr("medviewer.app.analysis.scan", endless)
    pools: list[HeldExecutor] = []

    def make(threads: int, name: str) -> HeldExecutor:
        pools.append(HeldExecutor(threads, name))
        return pools[-1]

    with running_application(medviewer_home, lambda call: call(), fake_engine, make) as app:
        app.run_command("file.open_files", [path])
        scanning = pools[0].held.pop(0)
        scanning()
        assert app.jobs.running == ("read 0",)
        pools[0].held.pop(0)()
        assert app.state.frame is not None


def test_closing_leaves_nothing_of_the_patient(application: Application, tmp_path: Path) -> None:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    application.run_command("model.run")
    application.run_command("file.close")
    state = application.state
    assert (state.selection, state.frame, state.record, state.collection.patients) == (None, None, None, ())
    assert not state.answers
    assert not state.attributions
    assert application.frames.size_bytes == 0


def test_opening_again_forgets_the_results_of_before(application: Application, tmp_path: Path) -> None:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    application.run_command("model.run")
    assert application.state.answers
    application.run_command("file.open_files", [write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")])
    assert not application.state.answers
    assert name_shown(application) == "Beta^Ben"


def test_what_was_done_to_other_studies_cannot_be_undone_and_is_not_kept(
    application: Application, tmp_path: Path
) -> None:
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    application.run_command("view.invert")
    application.run_command("edit.undo")
    application.run_command("view.invert")
    assert application.session.has_past
    application.run_command("file.open_files", [write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")])
    assert not application.session.has_past
    assert not application.session.can_redo
    application.run_command("view.invert")
    application.run_command("file.close")
    assert not application.session.has_past


def test_cine_ends_where_another_stack_is_shown(application: Application, tmp_path: Path) -> None:
    write_slices(tmp_path / "ct", 4)
    write_radiograph(tmp_path / "film.dcm")
    application.run_command("file.open_folder", tmp_path)
    stack = next(one for one in selections(application.state.collection) if len(one.stack.images) > 1)
    application.run_command("image.select", stack)
    application.run_command("image.cine")
    application.run_command("image.next")
    assert application.state.is_playing
    film = next(one for one in selections(application.state.collection) if len(one.stack.images) == 1)
    application.run_command("image.select", film)
    assert not application.state.is_playing


def test_a_recent_path_that_is_gone_is_said_and_forgotten(application: Application, tmp_path: Path) -> None:
    path = write_radiograph(tmp_path / "a.dcm")
    application.run_command("file.open_files", [path])
    path.unlink()
    application.run_command("file.open_recent", str(path))
    assert application.state.recent == ()
    assert application.state.notice is not None
    assert "no longer there" in application.state.notice.text


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENAMETOOLONG])
def test_a_recent_path_that_cannot_be_looked_at_is_said_and_forgotten(
    application: Application, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = "/locked/DOE" if code == errno.EACCES else "/" + "x" * 300
    real = os.stat

    def refuse(place: Any, *more: Any, **named: Any) -> os.stat_result:
        if os.fspath(place) == path:
            raise OSError(code, os.strerror(code))
        return real(place, *more, **named)

    application.remember(recent=(path,))
    monkeypatch.setattr(os, "stat", refuse)
    application.run_command("file.open_recent", path)
    assert application.state.recent == ()
    assert application.state.notice is not None
    assert "may not be looked at" in application.state.notice.text


def test_a_patient_completed_by_a_later_file_is_compared_anew(application: Application, tmp_path: Path) -> None:
    """The first file names nobody; who it is comes with the next one, while the scan still runs."""
    known = write_radiograph(tmp_path / "known.dcm", patient_id="7", name="Kowalska^Maria")
    application.run_command("file.open_files", [known])
    nameless = write_radiograph(tmp_path / "nameless.dcm", patient_id="7", name="")
    application.run_command("file.open_files", [nameless])
    assert is_record_checked(application.state)
    assert not application.state.record_mismatch
    (patient,) = application.state.collection.patients
    completed = replace(patient, name="Other^Person")
    take_collection(application, Collection((completed,)))
    assert application.state.record_mismatch
    assert application.state.frame is not None  # it is still the same patient: the image stays


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Nothing tells them apart but that the files are of two studies.
        (
            {"patient_id": "", "name": "", "PatientBirthDate": ""},
            {"patient_id": "", "name": "", "PatientBirthDate": ""},
        ),
        # One number, name and birth date; the sex contradicts.
        ({"PatientSex": "F"}, {"PatientSex": "M"}),
    ],
)
def test_people_of_whom_the_files_say_the_same_are_never_taken_for_one_another(
    application: Application, tmp_path: Path, one: dict[str, str], other: dict[str, str]
) -> None:
    """Each has the record compared anew, and no step leads from one to the other."""
    files = [write_radiograph(tmp_path / f"{n}.dcm", **facts) for n, facts in enumerate((one, other))]
    application.run_command("file.open_files", files)
    assert len(application.state.collection.patients) == 2
    compared = []
    for selection in list(selections(application.state.collection)):
        application.run_command("image.select", selection)
        record, shown = application.state.record, selection.study.study_instance_uid
        mismatch = application.state.record_mismatch
        assert mismatch or (record is not None and [m.study_instance_uid for m in record.studies] == [shown])
        compared.append(bool(mismatch))
        application.run_command("series.next")
        application.run_command("series.previous")
        assert application.state.selection is selection
    assert compared == ([False, True] if other.get("PatientSex") else [False, False])


@pytest.mark.parametrize("shape", [(3, 2000), (2000, 3), (1, 1), (97, 96)])
def test_a_thumbnail_of_the_thinnest_strip_is_there(shape: tuple[int, int]) -> None:
    from medviewer.app.opening import THUMBNAIL_SIZE, _small

    frame = Frame(np.full(shape, 7, np.uint16), PixelDescription(modality="CR", rows=shape[0], columns=shape[1]))
    small = _small(Picture(frame))
    assert 1 <= min(small.shape) <= max(small.shape) <= THUMBNAIL_SIZE


def test_thumbnails_are_small_and_right_and_missing_ones_are_silent(application: Application, tmp_path: Path) -> None:
    from medviewer.app.opening import make_thumbnail
    from medviewer.imaging.display import to_display

    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm")])
    state, got = application.state, []
    assert state.selection is not None
    assert state.frame is not None
    make_thumbnail(application, state.selection.image, got.append)
    np.testing.assert_array_equal(got[0], to_display(state.frame))  # already small: every pixel
    (tmp_path / "a.dcm").unlink()
    make_thumbnail(application, state.selection.image, got.append)
    assert len(got) == 1


def test_the_elements_of_an_image_are_never_shown_beside_another(opened: Application, tmp_path: Path) -> None:
    shown: list[object] = []

    class Front(NoFront):
        def show_elements(self, listed: ElementList) -> None:
            shown.append(listed)

    opened.front = Front()
    opened.run_command("image.tags")
    assert len(shown) == 1
    held: list[Callable[[], None]] = []
    start = opened.jobs.start

    def late(slot: str, work: Any, done: Any, failed: Any) -> Any:
        if slot != "elements":
            return start(slot, work, done, failed)
        held.append(lambda: done(work(StopToken(), lambda *_: None)))
        return StopToken()

    opened.jobs.start = late  # type: ignore[method-assign]
    opened.run_command("image.tags")
    opened.run_command("file.open_files", [write_radiograph(tmp_path / "b.dcm")])
    held[0]()
    assert len(shown) == 1


def zipped(path: Path, *files: Path) -> Path:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return path


def test_what_was_unpacked_is_removed_when_another_study_is_opened(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "system"
    system.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(system))
    a, b = write_radiograph(tmp_path / "a.dcm"), write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben")
    application.run_command("file.open_files", [zipped(tmp_path / "a.zip", a)])
    assert application.state.frame is not None
    assert application.state.collection.shown == (tmp_path / "a.zip" / "a.dcm",)
    (first,) = system.iterdir()
    application.run_command("file.open_files", [zipped(tmp_path / "none.zip", write_note(tmp_path))])
    assert list(system.iterdir()) == [first]  # nothing new to show: what was open stays, with its files
    application.run_command("file.open_files", [b])
    assert list(system.iterdir()) == []
    application.run_command("file.open_files", [tmp_path / "a.zip"])
    application.run_command("file.close", None)
    assert list(system.iterdir()) == []


def write_note(folder: Path) -> Path:
    (folder / "note.txt").write_text("no image")
    return folder / "note.txt"


def test_series_steps_do_not_go_from_one_unknown_person_to_another(application: Application, tmp_path: Path) -> None:
    from tests.unit.imaging.test_volume_file import VALUES, nifti

    for name in ("a.nii", "b.nii"):
        (tmp_path / name).write_bytes(nifti(VALUES))
    application.run_command("file.open_folder", tmp_path)
    before = application.state.selection
    assert before is not None
    assert application.state.frame is not None
    application.run_command("series.next", None)
    assert application.state.selection is before


def test_what_lies_beside_the_images_is_found_in_an_archive_too(application: Application, tmp_path: Path) -> None:
    """Regions, presentation states and key objects, as in a folder; and nothing of them stays on the disk."""
    import pydicom

    from medviewer.app.layering import offers
    from medviewer.app.on_screen import key_objects_of, presentations_of
    from tests.key_objects import write_document
    from tests.layer_objects import circle, write_ct, write_structures
    from tests.presentations import write_state

    files = write_ct(tmp_path / "in")
    image = pydicom.dcmread(files[0])
    outline = circle((0.0, 0.0, float(image.ImagePositionPatient[2])), 20.0)
    beside = [
        write_structures(tmp_path / "rt.dcm", {"heart": [outline]}),
        write_state(tmp_path / "state.dcm", image),
        write_document(tmp_path / "keys.dcm", image),
    ]
    application.run_command("file.open_files", [zipped(tmp_path / "all.zip", *files, *beside)])
    uid = image.SOPInstanceUID
    shown = next(s for s in selections(application.state.collection) if s.image.sop_instance_uid == uid)
    application.run_command("image.select", shown)
    assert [one.kind for one in offers(application.state)] == ["structures"]
    application.run_command("layer.lay", offers(application.state)[0].key)
    assert [one.segments[0].label for one in application.state.layer_sources.values()] == ["heart"]  # type: ignore[union-attr]
    assert len(presentations_of(application.state)) == 1
    assert len(key_objects_of(application.state)) == 1
    unpacked = [one.unpacked for one in application.state.collection.problems if one.unpacked is not None]
    assert len(unpacked) == 2
    application.run_command("file.close")
    assert not any(path.exists() for path in unpacked)

"""A model of whole stacks in the application: run on the stack on screen, shown on each of its slices and planes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from medviewer.app import analysis
from medviewer.app.model_choice import suited_model
from medviewer.app.on_screen import (
    asked_key,
    current_answer,
    current_attribution,
    impressions_of,
    is_record_checked,
    is_withheld,
    pane_state,
    selections,
)
from medviewer.app.result_objects import capture_text
from medviewer.app.saving import result_on_screen
from medviewer.app.stack_asking import CUT_SHORT, STILL_FOUND, nearest_slice, question_behind, read_stack
from medviewer.app.start import running_application
from medviewer.domain.answer import Answer
from medviewer.domain.errors import Stopped, WorkerDiedError
from medviewer.domain.progress import Progress, StopToken, no_progress
from medviewer.domain.study import Collection
from medviewer.imaging.scan import scan
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.suitability import stack_problem, stack_unsuited_because
from tests import fakes, stack_models
from tests.dicom_maker import make_dataset, write_dataset, write_volumes
from tests.radiographs import write_radiograph
from tests.stack_models import HOT, MODEL_ID, StackEngine, known_probability, write_slices, write_stack
from tests.unit.imaging.test_volume_file import nifti

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from medviewer.app.state import Selection


@pytest.fixture
def fake_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackEngine]:
    folder = tmp_path_factory.mktemp("models")
    fakes.make_model(folder / fakes.MODEL_ID)
    with stack_models.open_engine(folder) as engine:
        yield engine


@pytest.fixture
def app(application: Application, tmp_path: Path) -> Application:
    write_stack(tmp_path / "ct", "sagittal")
    application.run_command("file.open_files", [tmp_path / "ct"])
    return application


def selection(app: Application) -> Selection:
    assert app.state.selection is not None
    return app.state.selection


def said(app: Application) -> Answer:
    found = current_answer(app.state)
    assert found is not None
    return found[1]


def problem(app: Application) -> str:
    key = asked_key(app.state)
    assert key is not None
    return app.state.analysis_problem.get((key, MODEL_ID), "")


def test_the_model_of_stacks_is_ready_where_a_stack_is_on_screen(app: Application, tmp_path: Path) -> None:
    assert app.state.model_id == MODEL_ID
    write_radiograph(tmp_path / "a.dcm")
    app.run_command("file.open_files", [tmp_path / "a.dcm"])
    film = next(s for s in selections(app.state.collection) if s.series.modality in ("CR", "DX"))
    app.run_command("image.select", film)
    assert app.state.model_id == fakes.MODEL_ID
    cards = [entry.card for entry in app.engine.catalogue.entries if entry.card is not None]
    assert suited_model(cards, fakes.MODEL_ID, selection(app).image) == fakes.MODEL_ID


def test_it_is_said_once_and_shown_on_every_slice_and_plane(app: Application) -> None:
    app.run_command("image.show", 3)
    app.run_command("model.run")
    answer = said(app)
    assert answer.status == "answer", answer.reasons
    assert answer.findings[0].probability == pytest.approx(known_probability(), abs=1e-5)
    attribution = current_attribution(app.state)
    assert attribution is not None
    assert attribution.faithfulness is not None
    for index in (0, 9, 15):
        app.run_command("image.show", index)
        assert said(app) is answer
        assert current_attribution(app.state) is attribution
    app.run_command("layout.planes")
    for pane in (pane_state(app.state, index) for index in (0, 1, 2, 3)):
        found = current_answer(pane)
        assert found is not None
        assert found[1] is answer
    calls = len(app.engine.calls)  # type: ignore[attr-defined]
    app.run_command("model.run")  # from a plane too; its slices are in memory already
    assert said(app) is not answer
    assert len(app.engine.calls) > calls  # type: ignore[attr-defined]


def test_nothing_of_it_is_shown_beside_another_stack(app: Application, tmp_path: Path) -> None:
    app.run_command("model.run")
    write_stack(tmp_path / "other", "axial", SeriesInstanceUID="2.25.88", SeriesNumber=2, StudyInstanceUID="2.25.1")
    app.run_command("file.open_files", [tmp_path / "ct", tmp_path / "other"])
    other = next(s for s in selections(app.state.collection) if s.series.series_instance_uid == "2.25.88")
    app.run_command("image.select", other)
    assert app.state.model_id == MODEL_ID
    assert current_answer(app.state) is None
    assert current_attribution(app.state) is None


def test_one_goes_to_where_the_map_is_strongest(app: Application) -> None:
    assert not app.state.jobs
    app.run_command("explain.hottest")  # there is nothing yet
    assert selection(app).index == 0
    app.run_command("model.run")
    app.run_command("explain.hottest")
    index = nearest_slice(selection(app), HOT)
    assert selection(app).index == index
    plane = selection(app).image.description.plane
    assert plane is not None
    assert abs(float((HOT - np.array(plane.position)) @ np.array(plane.normal))) <= stack_models.SIDE_MM / 32 + 1e-6
    app.run_command("layout.planes")
    app.run_command("image.show", 0)
    app.run_command("explain.hottest")
    shown = {}
    for pane in (pane_state(app.state, number) for number in (0, 1, 2)):
        assert pane.cut is not None
        shown[pane.cut.plane] = pane.cut.at_mm
    assert shown == pytest.approx({"axial": HOT[2], "coronal": HOT[1], "sagittal": HOT[0]}, abs=1e-6)


def test_a_map_that_speaks_nowhere_for_the_finding_has_no_such_place(app: Application) -> None:
    app.run_command("model.run")
    found = current_attribution(app.state)
    assert found is not None
    assert found.volume is not None
    against = replace(found, volume=replace(found.volume, values=-np.abs(found.volume.values)))
    key = next(s for s, a in app.state.attributions.items() if a is found)
    app.session.update(attributions={key: against})
    app.run_command("explain.hottest")
    assert app.state.notice is not None
    assert "Nowhere does the heat map speak" in app.state.notice.text


def test_read_first_is_of_the_stack(app: Application) -> None:
    app.run_command("model.read_first")
    app.run_command("model.run")
    assert is_withheld(app.state)
    assert current_answer(app.state) is None
    app.run_command("image.show", 5)
    app.run_command("model.impression", "a bright spot")
    for index in (5, 0):
        app.run_command("image.show", index)
        assert current_answer(app.state) is not None
        assert [one.text for one in impressions_of(app.state)] == ["a bright spot"]
    assert not impressions_of(app.state)[0].after_ai


def test_a_decision_is_of_the_stack(app: Application) -> None:
    app.run_command("model.run")
    app.run_command("finding.accept", "seen")
    app.run_command("image.show", 7)
    found = current_answer(app.state)
    assert found is not None
    assert app.state.decisions[found[0]].kind == "accepted"


def test_a_failure_is_said_on_every_slice_and_takes_the_old_result_away(
    app: Application, fake_engine: StackEngine
) -> None:
    app.run_command("model.run")
    fake_engine.failure = WorkerDiedError("The model's process ended; run it again.")
    app.run_command("model.run")
    app.run_command("image.show", 4)
    assert current_answer(app.state) is None
    assert problem(app) == "The model's process ended; run it again."


@pytest.mark.parametrize(
    ("kept", "changes", "words"),
    [
        (1, {}, "a single image"),
        (16, {"ImagePositionPatient": None}, "do not say where each slice lies"),
        (16, {"PixelSpacing": None}, "do not say where each slice lies"),
    ],
)
def test_what_is_no_stack_is_refused_in_one_sentence(
    application: Application, tmp_path: Path, kept: int, changes: dict[str, object], words: str
) -> None:
    for path in write_stack(tmp_path / "ct", **changes)[kept:]:  # type: ignore[arg-type]
        path.unlink()
    application.run_command("file.open_files", [tmp_path / "ct"])
    application.run_command("model.select", MODEL_ID)
    application.run_command("model.run")
    assert current_answer(application.state) is None
    assert words in problem(application)
    assert problem(application).count(". ") == 0


def test_slices_of_two_kinds_at_one_place_are_refused(application: Application, tmp_path: Path) -> None:
    """One slice twice: nobody can tell which of the two belongs to the stack."""
    write_stack(tmp_path / "ct")
    twin = make_dataset(np.zeros((16, 16), np.int16))
    for element in pydicom.dcmread(tmp_path / "ct" / "003.dcm"):
        if element.keyword not in ("PixelData", "SOPInstanceUID"):
            twin[element.tag] = element
    write_dataset(tmp_path / "ct" / "twin.dcm", twin)
    application.run_command("file.open_files", [tmp_path / "ct"])
    application.run_command("model.select", MODEL_ID)
    application.run_command("model.run")
    assert current_answer(application.state) is None
    assert "Several images lie at the same place" in problem(application)


def test_slices_that_are_stored_in_different_ways_are_refused(tmp_path: Path) -> None:
    write_stack(tmp_path / "ct")
    stack = next(selections(scan([tmp_path / "ct"]))).stack
    assert stack_problem(stack) == ""
    for changes in ({"is_signed": False}, {"bits_stored": 8}, {"photometric_interpretation": "MONOCHROME1"}):
        other = replace(stack.images[5], description=replace(stack.images[5].description, **changes))  # type: ignore[arg-type]
        mixed = replace(stack, images=(*stack.images[:5], other, *stack.images[6:]))
        assert "stored in different ways" in stack_problem(mixed)
    color = replace(stack.images[0].description, samples_per_pixel=3, photometric_interpretation="RGB")
    assert "in colour" in stack_problem(replace(stack, images=(replace(stack.images[0], description=color),) * 3))


def test_gaps_and_a_tilt_are_refused_by_the_checks(application: Application, tmp_path: Path) -> None:
    paths = write_stack(tmp_path / "gap")
    paths[7].unlink()
    application.run_command("file.open_files", [tmp_path / "gap"])
    application.run_command("model.select", MODEL_ID)
    application.run_command("model.run")
    answer = said(application)
    assert answer.status == "abstained"
    assert [g.code for g in answer.guards if g.level == "abstain"] == ["uneven_volume.ct"]
    assert current_attribution(application.state) is None


class Growing:
    """Opens files in two steps, as a scan does that has told of some of them; ``meanwhile`` runs in between."""

    def __init__(self, first: list[Path], meanwhile: Callable[[], None]) -> None:
        self.first, self.meanwhile = first, meanwhile

    def __call__(
        self,
        paths: Sequence[Path],
        _stop: StopToken,
        _progress: Progress,
        on_found: Callable[[Collection], None],
        _home: Path,
    ) -> Collection:
        on_found(scan(self.first))
        self.meanwhile()
        return scan(paths)


def test_a_stack_is_asked_about_when_all_files_have_been_looked_at(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of a part would be shown beside all slices."""
    app, paths = application, write_stack(tmp_path / "ct")
    notices: list[str] = []

    def ask() -> None:
        for command in ("model.run", "model.ask_all", "model.ask_study"):
            app.run_command("model.select", MODEL_ID)
            app.notify("info", "")
            app.run_command(command)
            assert app.state.notice is not None
            notices.append(app.state.notice.text)

    monkeypatch.setattr(analysis, "open_paths", Growing(paths[4:9], ask))
    app.run_command("file.open_files", [tmp_path / "ct"])
    assert notices == [STILL_FOUND] * 3
    assert not app.state.answers
    assert not app.state.queue
    app.run_command("model.run")
    assert said(app).findings[0].probability == pytest.approx(known_probability(), abs=1e-5)


def test_what_was_opened_in_part_is_not_asked_about(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, paths = application, write_stack(tmp_path / "ct")

    def stop() -> None:
        app.run_command("job.cancel", "open")
        raise Stopped("Cancelled.")

    with monkeypatch.context() as patch:
        patch.setattr(analysis, "open_paths", Growing(paths[4:9], stop))
        app.run_command("file.open_files", [tmp_path / "ct"])
    app.run_command("model.select", MODEL_ID)
    for command in ("model.run", "model.ask_all"):
        app.notify("info", "")
        app.run_command(command)
        assert app.state.notice is not None
        assert app.state.notice.text == CUT_SHORT
    assert not app.state.answers
    app.run_command("file.open_files", [tmp_path / "ct"])
    app.run_command("model.run")
    assert said(app).findings[0].probability == pytest.approx(known_probability(), abs=1e-5)
    app.run_command("file.open_files", [tmp_path / "empty"])  # nothing new to show: what is open stays
    app.run_command("model.run")
    assert said(app).status == "answer"
    assert app.wishes.is_whole


def test_a_run_that_was_wished_for_waits_for_the_rest_of_the_stack(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, paths = application, write_stack(tmp_path / "ct")
    app.wishes.runs_when_opened = True
    app.run_command("model.select", MODEL_ID)
    monkeypatch.setattr(analysis, "open_paths", Growing(paths[4:9], lambda: None))
    app.run_command("file.open_files", [tmp_path / "ct"])
    answer = said(app)
    assert answer.findings[0].probability == pytest.approx(known_probability(), abs=1e-5)
    assert [subject.image_key for subject in app.state.answers] == [selection(app).volume_key]


def test_slices_that_no_model_is_given_are_refused_beside_their_planes_too(
    application: Application, tmp_path: Path
) -> None:
    """Planes are cut through more than a model may be asked about."""
    app, paths = application, write_stack(tmp_path / "ct")
    other = pydicom.dcmread(paths[5])
    other.PhotometricInterpretation = "MONOCHROME1"
    other.save_as(paths[5])
    app.run_command("file.open_files", [tmp_path / "ct"])
    app.run_command("model.select", MODEL_ID)
    app.run_command("layout.planes")
    assert app.volume is not None
    app.run_command("model.run")
    assert current_answer(app.state) is None
    assert "stored in different ways" in problem(app)


def test_each_volume_in_time_has_its_own_answer(application: Application, tmp_path: Path) -> None:
    write_volumes(tmp_path, 3, lambda v, _p: {"TriggerTime": 40 * v, "PatientAge": "050Y"})
    application.run_command("file.open_folder", tmp_path)
    application.run_command("model.select", MODEL_ID)
    application.run_command("image.show_volume", 1)
    application.run_command("model.run")
    assert problem(application) == ""
    first = said(application)
    application.run_command("image.show_volume", 2)
    assert current_answer(application.state) is None
    application.run_command("image.show_volume", 1)
    assert said(application) is first


def test_stopping_ends_the_reading_and_leaves_no_result(
    medviewer_home: Path, fake_engine: StackEngine, tmp_path: Path
) -> None:
    write_stack(tmp_path / "ct")
    calls: Queue[Callable[[], None]] = Queue()
    with running_application(medviewer_home, calls.put, fake_engine, ThreadPoolExecutor) as app:

        def go_on(until: Callable[[], bool]) -> None:
            end = time.monotonic() + 20
            while not until():
                assert time.monotonic() < end
                while not calls.empty():
                    calls.get()()
                time.sleep(0.002)

        app.run_command("file.open_files", [tmp_path / "ct"])
        go_on(lambda: app.state.frame is not None and is_record_checked(app.state) and not app.jobs.running)
        app.run_command("model.select", MODEL_ID)
        go_on(lambda: not app.background.running)
        fake_engine.entered.clear()
        fake_engine.gate.clear()
        app.run_command("model.run")
        go_on(fake_engine.entered.is_set)
        go_on(lambda: any(job.name == "model" for job in app.state.jobs))
        app.run_command("job.cancel", "model")
        go_on(lambda: not app.jobs.running)
        assert current_answer(app.state) is None
        assert problem(app) == ""
        fake_engine.gate.set()


def test_reading_tells_how_far_it_is_and_stops_between_slices(tmp_path: Path) -> None:
    write_stack(tmp_path / "ct")
    stack, stop = next(selections(scan([tmp_path / "ct"]))).stack, StopToken()
    told: list[tuple[int, int, str]] = []

    def progress(done: int, total: int, text: str) -> None:
        told.append((done, total, text))
        if done == 3:
            stop.stop()

    with pytest.raises(Stopped):
        read_stack(stack, stop, progress)
    assert told == [(number, 16, "Reading slices") for number in (1, 2, 3)]


def test_the_queue_asks_about_a_stack_once(app: Application) -> None:
    app.run_command("image.show", 4)
    app.run_command("model.ask_study")
    assert [(item.model_id, item.status) for item in app.state.queue] == [(MODEL_ID, "answered")]
    assert said(app).status == "answer"
    app.run_command("model.ask_all")
    assert len(app.state.queue) <= 1


def test_a_header_that_the_model_does_not_know_is_refused_unread(tmp_path: Path) -> None:
    write_stack(tmp_path / "mr", Modality="MR")
    stack_models.make(tmp_path / "models" / MODEL_ID)
    stack = next(selections(scan([tmp_path / "mr"]))).stack
    [card] = [entry.card for entry in Catalogue([tmp_path / "models"]).entries]
    assert card is not None
    assert "MR" in stack_unsuited_because(stack, card)


def test_what_is_saved_is_of_the_slice_on_screen_with_its_place(app: Application, tmp_path: Path) -> None:
    app.run_command("model.run")
    app.run_command("explain.hottest")
    app.run_command("file.save_results", tmp_path / "out")
    assert app.state.notice is not None
    assert app.state.notice.level == "info", app.state.notice.text
    document = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert document["slices"] == 16
    [why] = document["explanations"]
    assert why["file"] == "overlay-occlusion.png"
    assert why["stack"]["hottest_mm"] == pytest.approx(HOT.tolist())
    assert len(why["parts"]) == 64
    strongest = max(why["parts"], key=lambda part: part["value"])
    middle = [sum(strongest[axis]) / 2 for axis in ("slices", "rows", "columns")]
    at, spacing = why["stack"], why["stack"]["spacing_mm"]
    positions = np.array(at["positions_mm"])
    along = [np.interp(middle[0], np.arange(16) + 0.5, positions[:, axis]) for axis in range(3)]
    place = np.array(along) + np.array(at["column_cosine"]) * (middle[1] - 0.5) * spacing[0]
    place += np.array(at["row_cosine"]) * (middle[2] - 0.5) * spacing[1]
    assert place == pytest.approx(HOT, abs=1e-6)
    assert {"overlay.png", "finding.sr.dcm", "capture.sc.dcm"} <= set(document["outputs"])
    subject, answer = current_answer(app.state)  # type: ignore[misc]
    result = result_on_screen(app.state, subject, answer)
    assert f"Analysed: 16 slices as a whole; this is slice {selection(app).index + 1}" in capture_text(result)
    app.run_command("layout.planes")
    app.run_command("file.save_results", tmp_path / "again")
    assert app.state.notice is not None
    assert "instead of a plane" in app.state.notice.text
    assert not (tmp_path / "again").exists()


def test_a_volume_without_a_header_is_asked_about_once_somebody_says_what_it_is(
    application: Application, tmp_path: Path
) -> None:
    """NIfTI counts to the right, to the front and to the head: the sides are those of the patient all the same."""
    values = np.full((16, 16, 16), -500, np.int16)  # by H, A and R
    (left, back, head), (left_end, back_end, head_end) = stack_models.LOW * 16, stack_models.HIGH * 16
    values[int(head) : int(head_end), 16 - int(back_end) : 16 - int(back), 16 - int(left_end) : 16 - int(left)] = 500
    (tmp_path / "v.nii").write_bytes(nifti(values))
    application.run_command("file.open_files", [tmp_path / "v.nii"])
    application.run_command("model.select", MODEL_ID)
    application.run_command("model.run")
    assert said(application).status == "abstained"
    assert [g.code for g in said(application).guards if g.level == "abstain"] == ["modality.unknown"]
    application.run_command("image.show", 5)
    application.run_command("model.confirm", "modality.unknown")
    answer = said(application)
    assert answer.status == "answer", answer.reasons
    assert answer.findings[0].probability == pytest.approx(known_probability(), abs=1e-5)
    behind = question_behind(application, selection(application), MODEL_ID)(StopToken(), no_progress)
    assert behind.case.confirmed == {"modality.unknown"}, "of the stack, whichever of its slices is on screen"
    application.run_command("explain.hottest")
    assert selection(application).index in (4, 5, 6, 7)  # towards the head


def test_few_slices_far_apart_are_warned_of(application: Application, tmp_path: Path) -> None:
    write_slices(tmp_path / "ct", np.array([0, 1.0, 0]), np.array([0, 0, -1.0]), slices=3)
    application.run_command("file.open_files", [tmp_path / "ct"])
    application.run_command("model.select", MODEL_ID)
    application.run_command("model.run")
    assert [g.code for g in said(application).guards if g.level == "warn"] == ["few_slices.ct"]

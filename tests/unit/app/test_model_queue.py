"""The queue: models asked behind the reader's back, each answer beside its own image, the reader's question first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medviewer.app import analysis
from medviewer.app.application import Application
from medviewer.app.findings import DOUBTED, REPLACED
from medviewer.app.model_queue import MOST
from medviewer.app.on_screen import current_answer, selections
from medviewer.app.opening import take_collection
from medviewer.app.start import running_application
from medviewer.app.state import QueueItem
from medviewer.domain.errors import EngineError, UsageError
from medviewer.domain.study import Caveat, Collection, Stack
from medviewer.inference.catalogue import Catalogue
from medviewer.records.record import Identifier, PatientRecord
from medviewer.records.store import RecordStore
from medviewer.resources import models_dir
from tests import fakes, variant_models
from tests.conftest import InlineExecutor
from tests.radiographs import write_radiograph, write_slices

SECOND = "second"


class HeldExecutor(Executor):
    """Runs work when a test says so."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] = []

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.held.append(lambda: work(*args, **kwargs))
        return Future()

    def go(self) -> None:
        """Run what was submitted first."""
        self.held.pop(0)()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[fakes.FakeEngine]:
    for model_id in (fakes.MODEL_ID, SECOND):
        fakes.make_model(tmp_path / "models" / model_id, id=model_id)
    engine = fakes.FakeEngine(Catalogue([tmp_path / "models"]))
    yield engine
    engine.close()


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two people with a film each, and a third with a CT."""
    folder = tmp_path / "in"
    write_radiograph(folder / "a.dcm", patient_id="A1", name="Alpha^Anna")
    write_radiograph(folder / "b.dcm", patient_id="B2", name="Beta^Bernd", PatientSex="M")
    write_slices(folder / "ct", 2)
    return folder


@pytest.fixture
def held() -> HeldExecutor:
    return HeldExecutor()


@pytest.fixture
def app(engine: fakes.FakeEngine, films: Path, medviewer_home: Path, held: HeldExecutor) -> Iterator[Application]:
    """All work is done at once but that of the queue, which waits for the test."""

    def make(_n: int, name: str) -> Executor:
        return held if name == "medviewer-background" else InlineExecutor()

    with running_application(medviewer_home, lambda call: call(), engine, make) as app:
        app.run_command("file.open_files", [films])
        app.background.stop_all()
        held.held.clear()
        yield app


def statuses(app: Application) -> list[str]:
    return [item.status for item in app.state.queue]


def go_all(app: Application, held: HeldExecutor) -> None:
    while any(item.status == "running" for item in app.state.queue):
        held.go()


def asked(app: Application) -> set[tuple[str, str]]:
    """(file, model) of all that was answered."""
    return {(Path(subject.image_key[0]).name, subject.model_id) for subject in app.state.answers}


def test_every_suiting_image_of_all_open_studies_is_asked_of_every_model(app: Application, held: HeldExecutor) -> None:
    app.run_command("model.ask_open")
    assert statuses(app) == ["running", "waiting", "waiting", "waiting"]
    go_all(app, held)
    assert statuses(app) == ["answered"] * 4
    assert asked(app) == {(file, model) for file in ("a.dcm", "b.dcm") for model in (fakes.MODEL_ID, SECOND)}


def test_the_study_or_the_image_on_screen_alone(app: Application, held: HeldExecutor) -> None:
    app.run_command("model.ask_study")
    go_all(app, held)
    assert asked(app) == {("a.dcm", fakes.MODEL_ID), ("a.dcm", SECOND)}
    other = next(s for s in selections(app.state.collection) if s.image.path.name == "b.dcm")
    app.run_command("image.select", other)
    held.held.clear()
    app.run_command("model.ask_all")
    go_all(app, held)
    assert ("b.dcm", SECOND) in asked(app)


@pytest.mark.reliability
def test_an_answer_is_seen_beside_its_own_image_only(app: Application, held: HeldExecutor) -> None:
    """Each is what the model says of that very film, asked by itself."""
    app.run_command("model.ask_open")
    go_all(app, held)
    for selection in [s for s in selections(app.state.collection) if s.image.path.name in ("a.dcm", "b.dcm")]:
        app.run_command("image.select", selection)
        found = current_answer(app.state)
        assert found is not None
        frame = app.state.frame
        assert frame is not None
        case = fakes.Case(images=(frame,), age_years=4.0, sex=selection.patient.sex)
        alone = app.engine.ask(case, fakes.MODEL_ID)
        assert found[1].provenance.input_sha256 == alone.provenance.input_sha256
        assert found[1].findings == alone.findings
    ct = next(s for s in selections(app.state.collection) if s.series.modality == "CT")
    app.run_command("image.select", ct)
    assert current_answer(app.state) is None


@pytest.mark.reliability
@pytest.mark.parametrize("when", ["waiting", "running"])
def test_who_is_completed_meanwhile_is_compared_anew_before_anything_is_said(
    app: Application, held: HeldExecutor, when: str
) -> None:
    """What a later file says of the patient contradicts the record: nothing may be said of the images any more."""
    app.run_command("model.ask_study")
    if when == "waiting":
        app.run_command("queue.cancel_all")
        held.held.clear()
        assert app.state.selection is not None
        app.session.update(queue=(QueueItem(90, app.state.selection, fakes.MODEL_ID),))
    grown = [
        replace(one, birth_date="19500101") if one.patient_id == "A1" else one for one in app.state.collection.patients
    ]
    take_collection(app, replace(app.state.collection, patients=tuple(grown)))
    assert app.state.record_mismatch
    app.queue.go_on()
    go_all(app, held)
    assert {(item.status, "contradict" in item.reason) for item in app.state.queue} == {("failed", True)}
    assert not app.state.answers
    app.run_command("image.select", app.state.queue[0].selection)  # as "Show this image" of its row does
    assert app.state.record_mismatch
    assert app.state.selection is not None
    assert app.state.selection.patient.birth_date == "19500101"


def with_doubt(app: Application) -> Collection:
    """The collection once another file has turned out to claim to be a.dcm."""
    twin = Caveat("uid.duplicate", "Another file with other content claims to be this very image.")

    def doubted(stack: Stack) -> Stack:
        images = [replace(one, warnings=(twin,)) if one.path.name == "a.dcm" else one for one in stack.images]
        return replace(stack, images=tuple(images))

    patients = []
    for patient in app.state.collection.patients:
        studies = []
        for study in patient.studies:
            own = [replace(one, stacks=tuple(map(doubted, one.stacks))) for one in study.series]
            studies.append(replace(study, series=tuple(own)))
        patients.append(replace(patient, studies=tuple(studies)))
    return replace(app.state.collection, patients=tuple(patients))


@pytest.mark.reliability
def test_an_answer_goes_once_another_file_claims_to_be_its_image_and_the_model_abstains(
    app: Application, held: HeldExecutor
) -> None:
    app.run_command("model.ask_open")
    go_all(app, held)
    app.run_command("model.run")
    assert app.state.selection is not None
    assert app.state.selection.image.path.name == "a.dcm"
    take_collection(app, with_doubt(app))
    assert asked(app) == {("b.dcm", fakes.MODEL_ID), ("b.dcm", SECOND)}
    assert {item.selection.image.path.name for item in app.state.queue} <= {"b.dcm"}
    assert app.state.notice is not None
    assert app.state.notice.text == DOUBTED
    app.run_command("model.run")  # of the pixels that were read before
    found = current_answer(app.state)
    assert found is not None
    assert found[1].status == "abstained"
    assert any(guard.code == "image.uid.duplicate" for guard in found[1].guards)
    take_collection(app, app.state.collection)
    assert current_answer(app.state) == found


@pytest.mark.reliability
def test_what_is_found_out_of_an_image_while_it_is_asked_about_counts(app: Application, held: HeldExecutor) -> None:
    app.run_command("model.ask_study")
    ask = held.held.pop(0)
    take_collection(app, with_doubt(app))
    held.held.insert(0, ask)
    go_all(app, held)
    assert {item.status for item in app.state.queue} == {"abstained"}
    assert {answer.status for answer in app.state.answers.values()} == {"abstained"}


@pytest.mark.reliability
def test_an_answer_that_comes_after_another_file_has_claimed_its_image_is_not_taken(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = analysis.ask

    def ask(*arguments: Any) -> analysis.Asked:
        answer = real(*arguments)
        take_collection(app, with_doubt(app))
        return answer

    monkeypatch.setattr(analysis, "ask", ask)
    app.run_command("model.run")
    assert not app.state.answers
    assert app.state.notice is not None
    assert app.state.notice.text == DOUBTED


def test_a_record_that_comes_while_the_queue_asks_counts(app: Application, held: HeldExecutor, tmp_path: Path) -> None:
    app.run_command("file.open_files", [write_radiograph(tmp_path / "d.dcm", patient_id="D4", PatientBirthDate="")])
    held.held.clear()
    app.run_command("model.ask_all")
    patient = {"resourceType": "Patient", "id": "p", "identifier": [{"value": "D4"}], "birthDate": "1960-02-03"}
    (tmp_path / "records.json").write_text(json.dumps(patient))
    app.run_command("file.import_records", [tmp_path / "records.json"])
    go_all(app, held)
    told = [{g.code for g in answer.guards if g.code.startswith("age")} for answer in app.state.answers.values()]
    assert told == [{"age"}, {"age"}]


def test_what_is_answered_or_waits_is_not_asked_again(app: Application, held: HeldExecutor) -> None:
    app.run_command("model.ask_open")
    app.run_command("model.ask_open")
    assert len(app.state.queue) == 4
    go_all(app, held)
    app.run_command("model.ask_open")
    assert not any(item.is_open for item in app.state.queue)
    assert app.state.notice is not None
    assert app.state.notice.text == "All of this is answered or waits already."


def test_one_is_cancelled_and_the_others_go_on(app: Application, held: HeldExecutor) -> None:
    app.run_command("model.ask_open")
    first, second = app.state.queue[:2]
    app.run_command("queue.cancel", second.number)
    assert statuses(app) == ["running", "waiting", "waiting"]
    app.run_command("queue.cancel", first.number)  # while it runs
    assert statuses(app) == ["running", "waiting"]
    go_all(app, held)
    assert statuses(app) == ["answered"] * 2
    assert len(app.state.answers) == 2


def test_all_are_cancelled_and_what_has_ended_stays(app: Application, held: HeldExecutor) -> None:
    app.run_command("model.ask_open")
    held.go()
    assert "queue" in app.background.running
    app.run_command("queue.cancel_all")
    assert "queue" not in app.background.running  # what runs is stopped, not only forgotten
    assert statuses(app) == ["answered"]
    for late in list(held.held):
        late()
    assert len(app.state.answers) == 1
    app.run_command("queue.clear")
    assert app.state.queue == ()
    assert len(app.state.answers) == 1


def test_the_readers_own_question_goes_first(app: Application, held: HeldExecutor) -> None:
    app.jobs._live["model"] = object()  # type: ignore[assignment] - the reader waits for an answer
    app.run_command("model.ask_open")
    assert statuses(app) == ["waiting"] * 4
    del app.jobs._live["model"]
    app.show_progress("model", 1, 1, "")
    app.hide_progress("model")
    assert statuses(app) == ["running", "waiting", "waiting", "waiting"]


def test_an_answer_that_the_reader_has_meanwhile_is_kept_with_its_decision(
    app: Application, held: HeldExecutor
) -> None:
    app.run_command("model.ask_all")
    app.run_command("model.run")
    found = current_answer(app.state)
    assert found is not None
    app.run_command("finding.accept")
    go_all(app, held)
    assert current_answer(app.state) == found
    assert app.state.decisions[found[0]].kind == "accepted"


def test_an_answer_of_a_model_that_was_replaced_meanwhile_is_not_taken(
    app: Application, held: HeldExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = analysis.ask_behind

    def replaced_meanwhile(*given: Any) -> Any:
        asked = ask(*given)
        fakes.make_model(tmp_path / "new" / fakes.MODEL_ID, version="9.9.9")
        app.engine.catalogue = Catalogue([tmp_path / "new"])
        return asked

    monkeypatch.setattr(analysis, "ask_behind", replaced_meanwhile)
    app.run_command("model.ask_all")
    held.go()
    assert statuses(app)[0] == "failed"
    assert app.state.queue[0].reason == REPLACED
    assert not app.state.answers


def test_one_that_fails_says_so_and_costs_the_others_nothing(
    app: Application, held: HeldExecutor, engine: fakes.FakeEngine
) -> None:
    app.run_command("model.ask_open")
    engine.failure = EngineError("The model needs more memory than it is allowed; no result.")
    go_all(app, held)
    assert statuses(app) == ["failed", "answered", "answered", "answered"]
    assert app.state.queue[0].reason.startswith("The model needs more memory")
    app.run_command("model.ask_open")  # what failed may be asked again
    go_all(app, held)
    assert len(app.state.answers) == 4


@pytest.mark.reliability
def test_an_image_that_contradicts_the_record_is_not_asked_about(
    app: Application, held: HeldExecutor, medviewer_home: Path
) -> None:
    with RecordStore(medviewer_home / "records.sqlite") as store:
        store.save_record(PatientRecord("k", (Identifier("", "B2"),), "Other^Olga", "1950-01-01", "F"))
    app.run_command("model.ask_open")
    go_all(app, held)
    failed = [item for item in app.state.queue if item.status == "failed"]
    assert {item.selection.image.path.name for item in failed} == {"b.dcm"}
    assert len(failed) == 2
    assert {file for file, _ in asked(app)} == {"a.dcm"}


@pytest.mark.reliability
def test_the_queue_knows_of_the_patient_what_the_record_tells_as_a_run_on_screen_does(
    app: Application, held: HeldExecutor, films: Path
) -> None:
    """Whose age the file leaves out: the same model must not give an answer in one way and abstain in the other."""
    write_radiograph(films / "a.dcm", patient_id="A1", name="Alpha^Anna", PatientBirthDate="")
    app.records.store().save_record(PatientRecord("k", (Identifier("", "A1"),), "Alpha^Anna", "1950-01-01", "F"))
    app.run_command("file.open_files", [films / "a.dcm"])
    held.held.clear()
    app.run_command("model.ask_all")
    go_all(app, held)
    behind = {subject: answer.guards for subject, answer in app.state.answers.items()}
    assert behind
    assert all("this patient is 55" in " ".join(one.text for one in guards) for guards in behind.values())
    app.run_command("model.run")
    [(subject, answer)] = [pair for pair in app.state.answers.items() if pair[0].model_id == app.state.model_id]
    assert answer.guards == behind[subject]


@pytest.mark.reliability
def test_closing_the_studies_ends_the_queue_and_a_late_answer_goes_nowhere(
    app: Application, held: HeldExecutor, engine: fakes.FakeEngine
) -> None:
    app.run_command("model.ask_open")
    late = held.held[-1]
    app.run_command("file.close")
    assert app.state.queue == ()
    late()
    assert app.state.answers == {}
    assert app.state.queue == ()


def test_where_no_model_suits_it_is_said(app: Application) -> None:
    ct = next(s for s in selections(app.state.collection) if s.series.modality == "CT")
    app.run_command("image.select", ct)
    app.run_command("model.ask_study")
    assert app.state.queue == ()
    assert app.state.notice is not None
    assert app.state.notice.text.startswith("No model suits these images. ")
    assert "CT" in app.state.notice.text


def test_models_of_the_record_do_not_hide_that_all_is_answered(app: Application, held: HeldExecutor) -> None:
    """A score stands beside the record: that it takes no image is no answer to who asked about an image."""
    shutil.copytree(models_dir() / "news2", app.engine.catalogue.folders[0] / "a-score")
    app.engine.catalogue.refresh()
    app.run_command("model.ask_all")
    assert len(app.state.queue) == 2
    go_all(app, held)
    app.run_command("queue.clear")
    app.run_command("model.ask_all")
    assert app.state.notice is not None
    assert app.state.notice.text == "All of this is answered or waits already."
    ct = next(s for s in selections(app.state.collection) if s.series.modality == "CT")
    app.run_command("image.select", ct)
    app.run_command("model.ask_all")
    assert app.state.notice.text.startswith("No model suits these images. ")
    assert "CT" in app.state.notice.text, "the reason of a model of images"


def test_too_many_are_refused_whole(app: Application) -> None:
    selection = app.state.selection
    assert selection is not None
    many = ((selection, f"model-{n}") for n in range(MOST + 1))
    with pytest.raises(UsageError, match=f"{MOST + 1} questions, more than {MOST}"):
        app.queue.add(many)
    assert app.state.queue == ()


@pytest.mark.reliability
def test_a_variant_is_never_asked_or_chosen_by_itself(
    tmp_path: Path, films: Path, medviewer_home: Path, held: HeldExecutor
) -> None:
    variant_models.make(tmp_path / "more" / fakes.MODEL_ID)
    engine = fakes.FakeEngine(Catalogue([tmp_path / "more"]))
    with running_application(medviewer_home, lambda call: call(), engine, InlineExecutor) as app:
        assert app.state.model_id == fakes.MODEL_ID
        app.run_command("file.open_files", [films])
        app.run_command("model.ask_open")
        assert {model for _, model in asked(app)} == {fakes.MODEL_ID}
        app.run_command("model.select", variant_models.FP16)
        assert app.state.model_id == variant_models.FP16  # but chosen by its name it is
    (tmp_path / "more" / fakes.MODEL_ID / "model.onnx").write_bytes(b"broken")
    broken = fakes.FakeEngine(Catalogue([tmp_path / "more"]))
    with running_application(medviewer_home / "other", lambda call: call(), broken, InlineExecutor) as app:
        assert app.state.model_id == ""

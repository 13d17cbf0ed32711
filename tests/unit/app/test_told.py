"""What a model is told of a patient beside the images, and that no answer outlives it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medviewer.app import analysis
from medviewer.app.findings import OUTDATED, forget_doubted
from medviewer.app.on_screen import current_answer, current_attribution, selections
from medviewer.app.record_models import case_of
from medviewer.app.told import Age, age_of
from medviewer.domain.case import Observation
from medviewer.domain.study import Patient, Study
from medviewer.records.record import PatientRecord
from tests.fakes import make_frame
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application

FILM = "20040826"


@pytest.mark.parametrize(
    ("birth", "date", "stated", "expected"),
    [
        ("19400305", "20040826", "", 64.477),
        ("19400305", "20040826", "063Y", 64.477),  # the dates are the better witness
        ("", "20040826", "063Y", 63.0),
        ("", "", "006M", 0.5),
        ("", "", "004W", 28 / 365.25),
        ("", "", "010D", 10 / 365.25),
        ("1940", "20040826", "", None),
        ("", "20040826", "63Y", None),
        ("", "", "", None),
    ],
)
def test_age_at_the_study(birth: str, date: str, stated: str, expected: float | None) -> None:
    age = age_of(Patient("1", birth_date=birth), Study("1", date=date, patient_age=stated))
    assert age == (Age(None) if expected is None else (pytest.approx(expected, abs=2e-3), ()))


@pytest.mark.parametrize(
    ("birth", "stated", "recorded", "told"),
    [
        ("19400305", "034Y", "", (34, 64)),
        ("", "034Y", "1940-03-05", (34, 64)),
        ("", "034Y", "1940", (34, 63)),
        ("", "034Y", "1940-03", (34, 64)),
        ("20060101", "034Y", "", (-2, 34)),  # born behind the study
        ("20030801", "006M", "", ()),  # of one year, and of half a year: a birthday, or a day of writing, in between
        ("19400305", "066Y", "", (64, 66)),
        ("19400305", "065Y", "", ()),
        ("19400305", "062Y", "", (62, 64)),
        ("", "063Y", "1940", ()),
        ("19400305", "", "1940", ()),
    ],
)
def test_none_of_ages_that_contradict_each_other_is_taken(
    birth: str, stated: str, recorded: str, told: tuple[int, ...]
) -> None:
    patient, study = Patient("1", birth_date=birth), Study("1", date=FILM, patient_age=stated)
    record = PatientRecord("k", birth_date=recorded)
    age = age_of(patient, study, record)
    assert age.told == told
    assert (age.years is None) == bool(told)
    case = analysis.build_case(make_frame(), patient, study, record)
    assert (case.age_years, case.ages_told) == (age.years, told)
    at = analysis.minute_of(study)
    assert at is not None
    of_values = case_of(record, at, age, "")
    assert (of_values.age_years, of_values.ages_told) == (age.years, told)


def _import(app: Application, folder: Path, *facts: dict[str, Any], **who: Any) -> None:
    patient = {"resourceType": "Patient", "id": "p", "identifier": [{"value": "A1"}], **who}
    entries = [{"resource": one} for one in (patient, *facts)]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    (folder / "records.json").write_text(json.dumps(bundle))
    app.run_command("file.import_records", [folder / "records.json"])


@pytest.fixture
def ageless(application: Application, tmp_path: Path) -> Application:
    """A film that tells no age is open, and a model has answered about it."""
    application.run_command("file.open_files", [write_radiograph(tmp_path / "a.dcm", PatientBirthDate="")])
    application.run_command("model.run")
    found = current_answer(application.state)
    assert found is not None
    assert "age.unknown" in {guard.code for guard in found[1].guards}
    return application


def test_an_answer_goes_when_a_record_tells_the_age_that_it_lacked(ageless: Application, tmp_path: Path) -> None:
    _import(ageless, tmp_path, birthDate="1960-02-03")
    assert current_answer(ageless.state) is None
    assert current_attribution(ageless.state) is None
    assert ageless.state.notice is not None
    assert ageless.state.notice.text == OUTDATED
    ageless.run_command("model.run")
    found = current_answer(ageless.state)
    assert found is not None
    assert "Validated on ages 1-5; this patient is 45." in {guard.text for guard in found[1].guards}


def test_an_answer_stays_when_a_record_tells_nothing_that_it_lacked(ageless: Application, tmp_path: Path) -> None:
    before = current_answer(ageless.state)
    pulse = {"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/p"}}
    pulse |= {"code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}}
    pulse |= {"effectiveDateTime": "2005-02-03", "valueQuantity": {"value": 90, "unit": "/min"}}
    _import(ageless, tmp_path, pulse)
    assert ageless.state.record is not None
    assert ageless.state.record.observations
    assert current_answer(ageless.state) == before, "a model of images alone is not given values"
    assert ageless.state.given


def test_an_answer_goes_also_where_the_record_came_while_another_patient_was_seen(
    application: Application, tmp_path: Path
) -> None:
    write_radiograph(tmp_path / "a.dcm", PatientBirthDate="")
    write_radiograph(tmp_path / "b.dcm", patient_id="B2", name="Beta^Ben", PatientBirthDate="")
    application.run_command("file.open_folder", tmp_path)
    first, second = selections(application.state.collection)
    for one in (first, second):
        application.run_command("image.select", one)
        application.run_command("model.run")
    assert len(application.state.answers) == 2
    _import(application, tmp_path, birthDate="1960-02-03")
    application.run_command("image.select", first)
    assert [subject.image_key for subject in application.state.answers] == [second.image.key]


def test_an_answer_that_comes_after_the_record_told_the_age_is_not_taken(
    ageless: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = analysis.ask

    def ask(*arguments: Any) -> analysis.Asked:
        answer = real(*arguments)
        _import(ageless, tmp_path, birthDate="1960-02-03")
        return answer

    monkeypatch.setattr(analysis, "ask", ask)
    ageless.run_command("model.run")
    assert not ageless.state.answers
    assert ageless.state.notice is not None
    assert ageless.state.notice.text == OUTDATED


def test_values_that_come_later_outdate_a_model_that_takes_them(
    ageless: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = current_answer(ageless.state)
    assert before is not None
    record = ageless.state.record
    assert record is not None
    pulse = Observation("8867-4", "Heart rate", 90, "/min", datetime(2005, 2, 3, 9, tzinfo=UTC))
    told = replace(record, observations=(pulse,))
    ageless.session.update(record=told)
    assert current_answer(ageless.state) == before
    monkeypatch.setattr("medviewer.app.findings.takes_only_images", lambda _card: False)
    ageless.session.update(record=replace(told, key="again"))
    assert current_answer(ageless.state) is None
    assert not ageless.state.given


def test_one_look_at_the_images_tells_whether_answers_stand(
    ageless: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on the thread of the window, each time that more files are found."""
    looks: list[object] = []

    def counted(collection: Any) -> Any:
        looks.append(collection)
        return selections(collection)

    monkeypatch.setattr("medviewer.app.findings.selections", counted)
    forget_doubted(ageless)
    assert len(looks) == 1
    assert current_answer(ageless.state) is not None

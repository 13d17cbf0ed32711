"""Scores beside the record: of this patient, up to this study, asked by nobody; other models where they are asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medviewer.app import model_shelf
from medviewer.app.analysis import build_case
from medviewer.app.on_screen import current_answer, current_attribution
from medviewer.app.record_models import JOB, record_answers_of, takes_images, takes_records
from medviewer.app.start import running_application
from medviewer.app.state import State
from medviewer.domain.answer import Score
from medviewer.explain.methods import explain
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.records.record import Identifier, PatientRecord, TextResult, snapshot
from medviewer.resources import models_dir
from tests import data_models
from tests.conftest import InlineExecutor, LaterExecutor
from tests.fakes import MODEL_ID, make_model
from tests.news2 import AT, news2_case
from tests.radiographs import write_radiograph

if TYPE_CHECKING:
    from medviewer.app.application import Application
    from tests.fakes import FakeEngine

STUDY = {"StudyDate": "20240502", "StudyTime": "180000", "PatientBirthDate": "19600101"}


def record(patient_id: str = "A1", **values: float) -> PatientRecord:
    """A record with one set of vital signs of the study's day."""
    case = news2_case(**values)
    words = tuple(
        TextResult(one.code, one.display, one.text, one.time.isoformat() if one.time else "")
        for one in case.text_observations
    )
    return PatientRecord(
        "", (Identifier("", patient_id),), "Alpha^Anna", "1960-01-01", "F", observations=case.observations,
        text_results=words,
    )  # fmt: skip


@pytest.fixture
def app(fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path) -> Iterator[Application]:
    """All work is done at once; there are the tiny chest model and NEWS2."""
    make_model(tmp_path / "models" / MODEL_ID)
    shutil.copytree(models_dir() / "news2", tmp_path / "models" / "news2")
    fake_engine.catalogue = Catalogue([tmp_path / "models"])
    with running_application(medviewer_home, lambda call: call(), fake_engine, InlineExecutor) as made:
        yield made


def opened(app: Application, path: Path, **changes: object) -> Application:
    app.run_command("file.open_files", [write_radiograph(path, **{**STUDY, **changes})])  # type: ignore[arg-type]
    return app


def total(state: State) -> float | None:
    """What NEWS2 says of the record on screen."""
    rows = [one for one in record_answers_of(state) if one.model_id == "news2"]
    if not rows or rows[0].answer is None or not rows[0].answer.outcomes:
        return None
    score = rows[0].answer.outcomes[0]
    assert isinstance(score, Score)
    return score.value


def test_the_score_is_there_with_the_record(app: Application, tmp_path: Path) -> None:
    app.records.store().save_record(record(respiration_rate=22, pulse=94))
    opened(app, tmp_path / "a.dcm")
    assert total(app.state) == 3
    (row,) = record_answers_of(app.state)
    assert row.answer is not None
    assert row.attribution is not None
    assert {one.time.timestamp() for one in row.answer.evidence if one.time} == {AT.timestamp()}
    assert app.engine.worker_pid is None


def test_models_of_values_are_not_offered_for_images(app: Application) -> None:
    cards = {entry.id: entry.card for entry in app.engine.catalogue.entries}
    assert cards["news2"] is not None
    assert (takes_images(cards["news2"]), takes_records(cards["news2"])) == (False, True)
    chest = cards[MODEL_ID]
    assert chest is not None
    assert (takes_images(chest), takes_records(chest)) == (True, False)
    assert app.state.model_id == MODEL_ID


def test_networks_of_the_record_wait_for_the_impression_and_scores_do_not(
    app: Application, fake_engine: FakeEngine, tmp_path: Path
) -> None:
    data_models.make("series", tmp_path / "models" / "a-network", id="a-network")
    fake_engine.catalogue.refresh()
    app.records.store().save_record(record(respiration_rate=22, pulse=94))
    opened(app, tmp_path / "a.dcm")
    named = [(one.model_id, one.is_rule) for one in record_answers_of(app.state)]
    assert named == [("news2", True), ("a-network", False)]
    app.run_command("model.read_first")
    assert [one.model_id for one in record_answers_of(app.state)] == ["news2"]
    app.run_command("model.run_record", "a-network")
    assert app.state.notice is not None
    assert app.state.notice.level == "alarm", "nor can it be run"
    app.run_command("model.impression", "Clear lungs.")
    assert [one.model_id for one in record_answers_of(app.state)] == ["news2", "a-network"]


def test_a_model_of_values_cannot_be_chosen_for_images(app: Application) -> None:
    app.run_command("model.select", "news2")
    assert app.state.model_id == MODEL_ID
    assert app.state.notice is not None
    assert "stands beside the record" in app.state.notice.text


def test_an_answer_about_an_image_and_values_has_no_heat_map(medviewer_home: Path, tmp_path: Path) -> None:
    """What it rests on is no map over the image: none is made, and none is drawn."""
    data_models.make("film", tmp_path / "networks" / "film")
    rows = data_models.table_case()
    words = TextResult("72166-2", "Smoking", "Current", rows.text_observations[0].time.isoformat())  # type: ignore[union-attr]
    with Engine(Catalogue([tmp_path / "networks"]), providers=["cpu"], threads=2) as engine:
        with running_application(medviewer_home, lambda call: call(), engine, InlineExecutor) as made:
            known = replace(record(), observations=rows.observations, text_results=(words,))
            made.records.store().save_record(known)
            opened(made, tmp_path / "a.dcm", StudyDate="20240301", StudyTime="140000")
            made.run_command("model.run")
            found = current_answer(made.state)
            assert found is not None
            subject, answer = found
            assert answer.status == "answer", answer.reasons
            assert [one.name for one in answer.evidence] == ["pulse", "temperature", "lactate", "age", "smoking"]
            assert made.state.attributions == {}
            now = made.state.selection
            assert now is not None
            case = build_case(made.state.frame, now.patient, now.study, made.state.record)  # type: ignore[arg-type]
            why = explain(engine, case, "tiny-film", "occlusion", n_random=0)
            state = replace(
                made.state,
                overlay=replace(made.state.overlay, method="occlusion"),
                attributions={replace(subject, method="occlusion", finding=why.finding): why},
            )
            assert current_attribution(state) is None


@pytest.mark.parametrize("hours", [4, 12], ids=["later that day", "the next day"])
def test_what_came_after_the_study_is_not_counted(app: Application, tmp_path: Path, hours: int) -> None:
    known = record()
    later = tuple(
        replace(o, value=140, time=AT + timedelta(hours=hours)) for o in known.observations if o.code == "8867-4"
    )
    app.records.store().save_record(replace(known, observations=(*known.observations, *later)))
    opened(app, tmp_path / "a.dcm")
    assert total(app.state) == 0


def test_what_is_missing_is_said_and_no_number_is_there(app: Application, tmp_path: Path) -> None:
    app.records.store().save_record(replace(record(), text_results=()))
    opened(app, tmp_path / "a.dcm")
    (row,) = record_answers_of(app.state)
    assert row.answer is not None
    assert row.answer.status == "abstained"
    assert [g.code for g in row.answer.guards if g.level == "abstain"] == ["missing.consciousness"]
    assert row.attribution is None


def test_nothing_is_said_of_another_patients_record(app: Application, tmp_path: Path) -> None:
    app.records.store().save_record(record(respiration_rate=30))
    app.records.store().save_record(replace(record("B2"), name="Beta^Bea"))
    opened(app, tmp_path / "a.dcm")
    first = app.state
    assert total(first) == 3
    opened(app, tmp_path / "b.dcm", patient_id="B2", name="Beta^Bea")
    assert total(app.state) == 0
    # The old answers beside the new record, or beside a contradiction, are nobody's.
    mixed = replace(app.state, record_answers=first.record_answers)
    assert record_answers_of(mixed) == ()
    assert record_answers_of(replace(first, record_mismatch="They contradict each other.")) == ()
    assert record_answers_of(replace(first, record=None)) == ()
    assert record_answers_of(replace(first, selection=None)) == ()


def test_a_contradiction_asks_nothing(app: Application, tmp_path: Path) -> None:
    app.records.store().save_record(replace(record(), birth_date="1930-07-07", sex="M", name="Other^Otto"))
    opened(app, tmp_path / "a.dcm")
    assert app.state.record_mismatch
    assert app.state.record_answers == ()


def test_another_language_asks_again(app: Application, tmp_path: Path) -> None:
    app.records.store().save_record(record(respiration_rate=22))
    opened(app, tmp_path / "a.dcm")
    app.run_command("app.language", "zh")
    (row,) = record_answers_of(app.state)
    assert row.answer is not None
    assert row.answer.model_title == "NEWS2 早期预警评分"


def test_it_stands_in_the_audit_trail(app: Application, tmp_path: Path) -> None:
    app.records.store().save_record(record())
    opened(app, tmp_path / "a.dcm")
    now = app.state.selection
    assert now is not None
    events = [(one.event.what, one.event.subject, one.event.detail) for one in app.records._opened()[1].entries()]
    uid = now.study.study_instance_uid
    assert ("model.run", uid, "news2") in events
    version = app.engine.catalogue.card("news2").version
    assert ("model.explain", uid, f"news2 {version} occlusion total") in events


def test_a_network_runs_on_the_record_only_where_it_is_asked_for(
    app: Application, medviewer_home: Path, tmp_path: Path
) -> None:
    data_models.make("series", tmp_path / "networks" / "series")
    case = data_models.series_case()
    assert case.at is not None
    rows = tuple(replace(one, time=AT - (case.at - one.time)) for one in case.observations)  # of the stay of the study
    app.records.store().save_record(replace(record(), observations=rows))
    app.close()
    with Engine(Catalogue([tmp_path / "networks"]), providers=["cpu"], threads=2) as engine:
        with running_application(medviewer_home, lambda call: call(), engine, InlineExecutor) as made:
            opened(made, tmp_path / "a.dcm")
            (row,) = record_answers_of(made.state)
            assert (row.model_id, row.answer, engine.worker_pid) == ("tiny-series", None, None)
            made.run_command("model.run_record", "tiny-series")
            (row,) = record_answers_of(made.state)
            assert row.answer is not None
            assert row.answer.status == "answer"
            assert row.attribution is not None
            assert row.attribution.faithfulness is not None


def test_a_case_holds_words_with_a_code_and_a_time_up_to_the_moment() -> None:
    when = datetime(2024, 5, 2, 18).astimezone()
    words = (
        TextResult("67775-7", "Consciousness", "Alert", "2024-05-02T14:30:00"),
        TextResult("67775-7", "Consciousness", "Pain", "2024-05-02T19:30:00"),
        TextResult("", "Remark", "seen by Dr Who", "2024-05-02T14:30:00"),
        TextResult("72166-2", "Smoking", "Ex-smoker", "2024-05-03"),
    )
    case = snapshot(replace(record(), text_results=words), when)
    assert [(one.code, one.text) for one in case.text_observations] == [("67775-7", "Alert")]
    assert case.at == when


@pytest.mark.parametrize(
    ("recorded", "time"),
    [
        ("2024-05-01", datetime(2024, 5, 1)),  # noqa: DTZ001 - only the day is known
        ("2024-05-02", None),  # perhaps in the evening
        ("2024-05", None),
        ("2024", None),
        ("", None),
        ("2024-05-03", "later"),
        ("2024-06", "later"),
    ],
)
def test_words_without_a_time_are_held_as_such_unless_they_are_surely_from_later(
    recorded: str, time: datetime | str | None
) -> None:
    """Left out, "scale 2" would pass for "nothing was recorded"."""
    when = datetime(2024, 5, 2, 18).astimezone()
    words = (TextResult("NEWS2:spo2-scale", "SpO2 scale", "scale 2", recorded),)
    case = snapshot(replace(record(), text_results=words), when)
    assert [one.time for one in case.text_observations] == ([] if time == "later" else [time])
    if recorded == "2024-05-02":
        evening = snapshot(replace(record(), text_results=words), when.replace(hour=23, minute=59, second=59))
        assert evening.text_observations[0].time == datetime(2024, 5, 2)  # noqa: DTZ001


def test_what_has_its_answer_at_once_stands_before_what_is_run_on_request(app: Application, tmp_path: Path) -> None:
    data_models.make("series", tmp_path / "models" / "a-series")  # its name comes first
    app.engine.catalogue = Catalogue([tmp_path / "models"])
    app.records.store().save_record(record())
    opened(app, tmp_path / "a.dcm")
    assert [one.model_id for one in record_answers_of(app.state)] == ["news2", "tiny-series"]


def test_models_that_come_and_go_change_what_is_said_of_the_record(app: Application, tmp_path: Path) -> None:
    app.records.store().save_record(record(respiration_rate=22, pulse=94))
    opened(app, tmp_path / "a.dcm")
    (before,) = record_answers_of(app.state)
    data_models.make("series", tmp_path / "models" / "series")
    model_shelf._adopt(app, app.engine.catalogue.refresh())
    score, network = record_answers_of(app.state)
    assert score is before, "what was said by a model that stays is not asked again"
    assert (network.model_id, network.answer) == ("tiny-series", None)
    card = tmp_path / "models" / "news2" / "model.json"
    card.write_text(card.read_text().replace('"version": "', '"version": "9', 1))
    model_shelf._adopt(app, app.engine.catalogue.refresh())
    again, _ = record_answers_of(app.state)
    assert again is not before
    assert again.answer is not None
    assert again.answer.provenance.model_version.startswith("9")


def test_what_is_asked_of_a_model_goes_on_while_another_one_comes(
    fake_engine: FakeEngine, medviewer_home: Path, tmp_path: Path
) -> None:
    for kind in ("series", "tfidf"):
        data_models.make(kind, tmp_path / "models" / kind)
    fake_engine.catalogue = Catalogue([tmp_path / "models"])
    held = LaterExecutor()

    def executor(_threads: int, name: str) -> Executor:
        return held if name == "medviewer-job" else InlineExecutor()

    with running_application(medviewer_home, lambda call: call(), fake_engine, executor) as app:
        app.records.store().save_record(record(respiration_rate=22, pulse=94))
        opened(app, tmp_path / "a.dcm")
        while held.waiting:
            held.step()
        app.run_command("model.run_record", "tiny-series")
        assert JOB in app.jobs.running
        data_models.make("series", tmp_path / "models" / "another", id="another")
        model_shelf._adopt(app, app.engine.catalogue.refresh())
        assert JOB in app.jobs.running
        data_models.make("series", tmp_path / "models" / "another", id="another", version="9.9.9")
        model_shelf._adopt(app, app.engine.catalogue.refresh())
        assert JOB in app.jobs.running
        shutil.rmtree(tmp_path / "models" / "series")
        data_models.make("series", tmp_path / "models" / "series", version="9.9.9")
        model_shelf._adopt(app, app.engine.catalogue.refresh())
        assert JOB not in app.jobs.running

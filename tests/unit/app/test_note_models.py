"""Models of text at the notes of the record: of this note, record, study and language; asked for, stopped, kept in the trail."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medviewer.app import model_shelf
from medviewer.app.application import Application
from medviewer.app.data_questions import DataAnswer, offers_for
from medviewer.app.note_models import JOB, note_answer_of, note_offers, note_question, note_work
from medviewer.app.record_models import record_answers_of
from medviewer.app.start import running_application
from medviewer.app.state import State
from medviewer.domain.anchor import CharacterSpan
from medviewer.domain.answer import Impression
from medviewer.domain.case import Case
from medviewer.domain.errors import EngineError
from medviewer.inference.engine import Engine
from medviewer.records.record import Document
from tests import data_models
from tests.conftest import InlineExecutor, LaterExecutor
from tests.radiographs import write_radiograph
from tests.unit.app.test_record_models import STUDY, record

NOTE = data_models.NOTE
GERMAN = "Der Patient hat seit drei Tagen Husten und Fieber, keine Schmerzen in der Brust und ist nicht kurzatmig."
NOTES = (
    Document("Letter", "2024-04-25", NOTE),
    Document("Scan", "2024-01-01", "  "),
    Document("Brief", "2023-11-01", GERMAN),
    Document("Undated", "", NOTE + " " + NOTE),
)
KNOWN = replace(record(), documents=NOTES)


@pytest.fixture
def engine(tmp_path: Path) -> data_models.DataEngine:
    for kind in ("tfidf", "wordpiece", "fusion", "series", "molecule", "views"):
        data_models.make(kind, tmp_path / "models" / kind)
    return data_models.DataEngine(tmp_path / "models")


@pytest.fixture
def app(engine: data_models.DataEngine, medviewer_home: Path, tmp_path: Path) -> Iterator[Application]:
    """A record with notes beside its image; all work is done at once."""
    with running_application(medviewer_home, lambda call: call(), engine, InlineExecutor) as made:
        opened(made, tmp_path)
        yield made


def opened(app: Application, folder: Path) -> None:
    app.records.store().save_record(KNOWN)
    app.run_command("file.open_files", [write_radiograph(folder / "a.dcm", **STUDY)])  # type: ignore[arg-type]


@pytest.fixture
def later(
    engine: data_models.DataEngine, medviewer_home: Path, tmp_path: Path
) -> Iterator[tuple[Application, LaterExecutor]]:
    """The same, where what the reader waits for is run step by step."""
    held = LaterExecutor()

    def executor(_threads: int, name: str) -> Executor:
        return held if name == "medviewer-job" else InlineExecutor()

    with running_application(medviewer_home, lambda call: call(), engine, executor) as made:
        opened(made, tmp_path)
        while held.waiting:
            held.step()
        yield made, held


def said(state: State, number: int = 0, model_id: str = "tiny-tfidf") -> DataAnswer | None:
    return note_answer_of(state, number, model_id)


def events(app: Application) -> list[tuple[str, str, str]]:
    return [(one.event.what, one.event.subject, one.event.detail) for one in app.records._opened()[1].entries()]


def test_models_of_text_alone_are_offered_at_each_note_with_text(app: Application) -> None:
    named = [[one.id for one in note_offers(app.state, number)] for number in range(-1, 5)]
    both = ["tiny-tfidf", "tiny-wordpiece"]
    assert named == [[], both, [], both, both, []]
    assert [one.model_id for one in record_answers_of(app.state)] == ["tiny-series"]
    assert note_offers(app.state, 0)[0].task == "multiclass"


def test_what_cannot_be_used_and_lighter_copies_are_not_offered(engine: data_models.DataEngine) -> None:
    entry = next(one for one in engine.catalogue.entries if one.id == "tiny-tfidf")
    assert entry.card is not None
    copy = replace(entry, id="tiny-tfidf@int8", card=replace(entry.card, id="tiny-tfidf@int8"))
    rows = (entry, copy, replace(entry, problem="A file was changed."), replace(entry, card=None, problem="No card."))
    catalogue: Any = SimpleNamespace(entries=rows)
    assert [one.id for one in offers_for(catalogue, "text")] == ["tiny-tfidf"]


def test_a_real_network_answers_and_is_explained(engine: data_models.DataEngine, tmp_path: Path) -> None:
    with (
        Engine(engine.catalogue, providers=["cpu"], threads=1) as real,
        running_application(tmp_path / "home", lambda call: call(), real, InlineExecutor) as made,
    ):
        opened(made, tmp_path)
        made.run_command("model.run_note", (0, "tiny-wordpiece"))
        found = said(made.state, 0, "tiny-wordpiece")
    assert found is not None
    assert found.answer is not None
    assert found.answer.status == "answer"
    assert sum(one.probability for one in found.answer.findings) == pytest.approx(1)
    assert found.attribution is not None
    assert found.attribution.faithfulness is not None


def test_nothing_runs_unasked(app: Application, engine: data_models.DataEngine) -> None:
    assert engine.calls == []
    assert app.state.note_answers == ()


def test_an_answer_with_the_words_it_rests_on(app: Application) -> None:
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    found = said(app.state)
    assert found is not None
    assert found.answer is not None
    assert len(found.answer.findings) == 3
    assert found.problem == ""
    why = found.attribution
    assert why is not None
    assert why.finding == max(found.answer.findings, key=lambda one: one.probability).label
    assert why.faithfulness is not None
    words = {
        anchor.text: [NOTE[slice(*span)].lower() for span in anchor.spans]
        for anchor in why.anchors
        if isinstance(anchor, CharacterSpan)
    }
    assert words == {word: [word] for word in ("cough", "fever", "chest", "pain", "breath")}
    assert said(app.state, 3) is None
    assert said(app.state, 0, "tiny-wordpiece") is None


def test_where_it_ran_is_said_and_nothing_where_a_check_stopped_it(app: Application) -> None:
    app.session.update(provider="")
    app.run_command("model.run_note", (2, "tiny-tfidf"))
    assert app.state.provider == ""
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    assert app.state.provider.startswith("Running on: ")


def test_another_label_is_explained_on_request(app: Application) -> None:
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    before = said(app.state)
    assert before is not None
    assert before.attribution is not None
    name = next(one for one in note_offers(app.state, 0)[0].targets if one != before.attribution.finding)
    app.run_command("model.explain_note", (0, "tiny-tfidf", name))
    after = said(app.state)
    assert after is not None
    assert after.attribution is not None
    assert after.attribution.finding == name
    assert after.answer is before.answer
    assert after.attribution.saliency.tolist() != before.attribution.saliency.tolist()


def test_what_is_not_there_cannot_be_run_or_explained(app: Application, engine: data_models.DataEngine) -> None:
    for argument in ((1, "tiny-tfidf"), (9, "tiny-tfidf"), (0, "tiny-fusion"), (0, "nobody")):
        app.run_command("model.run_note", argument)
        assert app.state.notice is not None
        assert app.state.notice.text == "There is no note on screen that this model could be run on."
    app.run_command("model.explain_note", (0, "tiny-tfidf", "first"))
    assert app.state.notice.text == "There is no answer about a note on screen that could be explained."
    assert engine.calls == []


def test_before_the_impression_nothing_is_offered_run_or_said(app: Application, engine: data_models.DataEngine) -> None:
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    app.run_command("model.read_first")
    ran = len(engine.calls)
    assert note_offers(app.state, 0) == ()
    assert said(app.state) is None
    app.run_command("model.run_note", (0, "tiny-wordpiece"))
    app.run_command("model.explain_note", (0, "tiny-tfidf", "first"))
    assert len(engine.calls) == ran
    assert app.state.selection is not None
    written = {app.state.selection.image.key: (Impression("Clear.", "2024-05-02T10:00:00Z", after_ai=False),)}
    state = replace(app.state, impressions=written)
    assert said(state) is not None
    assert len(note_offers(state, 0)) == 2


def test_nothing_of_it_shows_beside_another_record_note_study_or_language(app: Application) -> None:
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    state = app.state
    assert state.selection is not None
    assert said(state) is not None
    changed = replace(KNOWN, documents=(replace(NOTES[0], text=NOTE + " No cough."), *NOTES[1:]))
    study = replace(state.selection.study, study_instance_uid="1.2.3")
    for other in (
        replace(state, record=replace(KNOWN, key="another", birth_date="1950-01-01")),
        replace(state, record=changed),
        replace(state, record=None),
        replace(state, selection=replace(state.selection, study=study)),
        replace(state, selection=None),
        replace(state, language="zh"),
        replace(state, record_mismatch="They contradict each other."),
    ):
        assert said(other) is None
    assert said(state, 3) is None  # the note of the same first sentence


def test_while_image_and_record_contradict_each_other_no_model_is_offered_or_run(
    app: Application, engine: data_models.DataEngine
) -> None:
    app.session.update(record_mismatch="They contradict each other.")
    assert note_offers(app.state, 0) == ()
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    assert engine.calls == []
    assert app.state.note_answers == ()


@pytest.mark.parametrize(
    "change",
    [
        {"record": replace(KNOWN, birth_date="1950-01-01")},
        {"record_mismatch": "They contradict each other."},
        {"language": "zh"},
        {"selection": None},
    ],
    ids=["record", "mismatch", "language", "image"],
)
def test_what_was_asked_beside_something_else_is_stopped_and_forgotten(
    later: tuple[Application, LaterExecutor], engine: data_models.DataEngine, change: dict[str, Any]
) -> None:
    app, held = later
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    assert note_work(app.state, 0, "tiny-tfidf") is not None
    app.session.update(**change)
    assert note_work(app.state, 0, "tiny-tfidf") is None
    assert [job.name for job in app.state.jobs] == []
    while held.waiting:
        held.step()
    assert engine.calls == []
    assert app.state.note_answers == ()
    assert not [one for one in events(app) if one[0].startswith("model.")]


def test_answers_are_let_go_with_what_they_stand_beside(app: Application) -> None:
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    app.run_command("app.language", "zh")
    assert app.state.note_answers == ()
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    found = said(app.state)
    assert found is not None
    assert found.answer is not None
    assert "验证" in "".join(guard.text for guard in found.answer.guards)


def test_the_answer_shows_before_its_explanation_and_work_is_shown_at_its_own_note(
    later: tuple[Application, LaterExecutor],
) -> None:
    app, held = later
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    held.step()
    first = said(app.state)
    assert first is not None
    assert first.answer is not None
    assert first.attribution is None
    assert note_work(app.state, 0, "tiny-tfidf") is not None
    assert note_work(app.state, 3, "tiny-tfidf") is None
    assert note_work(app.state, 0, "tiny-wordpiece") is None
    held.step()
    second = said(app.state)
    assert second is not None
    assert second.attribution is not None
    assert second.attribution.faithfulness is None
    held.step()
    third = said(app.state)
    assert third is not None
    assert third.attribution is not None
    assert third.attribution.faithfulness is not None
    assert note_work(app.state, 0, "tiny-tfidf") is None


def test_stopped_while_it_is_explained_the_answer_stays(
    later: tuple[Application, LaterExecutor], engine: data_models.DataEngine
) -> None:
    app, held = later
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    held.step()
    ran = len(engine.calls)
    app.run_command("job.cancel", JOB)
    held.step()
    found = said(app.state)
    assert found is not None
    assert found.answer is not None
    assert (found.attribution, found.problem, len(engine.calls)) == (None, "", ran)
    assert note_work(app.state, 0, "tiny-tfidf") is None


def test_what_is_asked_again_shows_nothing_of_the_run_before(later: tuple[Application, LaterExecutor]) -> None:
    app, held = later
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    while held.waiting:
        held.step()
    assert said(app.state) is not None
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    assert said(app.state) is None


def test_another_question_ends_the_first_and_keeps_what_it_said(later: tuple[Application, LaterExecutor]) -> None:
    app, held = later
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    held.step()
    app.run_command("model.run_note", (3, "tiny-tfidf"))
    while held.waiting:
        held.step()
    first, second = said(app.state, 0), said(app.state, 3)
    assert first is not None
    assert first.attribution is None
    assert second is not None
    assert second.attribution is not None


@pytest.mark.parametrize("step", [1, 2])
def test_a_failure_is_said_and_nothing_of_an_earlier_run_stays(
    app: Application, engine: data_models.DataEngine, step: int
) -> None:
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    engine.failures[len(engine.calls) + step] = EngineError("The process that runs models ended unexpectedly.")
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    found = said(app.state)
    assert found is not None
    assert found.problem == "The process that runs models ended unexpectedly."
    assert (found.answer is None) == (step == 1)
    assert found.attribution is None


def test_a_check_that_fails_leaves_the_explanation(app: Application, engine: data_models.DataEngine) -> None:
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    whole = len(engine.calls)
    engine.failures[2 * whole] = EngineError("The process that runs models ended unexpectedly.")
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    found = said(app.state)
    assert found is not None
    assert found.problem
    assert found.attribution is not None
    assert found.attribution.faithfulness is None
    assert [what for what, _subject, _detail in events(app)].count("model.explain") == 2  # one a run


def test_another_language_than_the_models_gets_no_answer_and_no_explanation(app: Application) -> None:
    app.run_command("model.run_note", (2, "tiny-tfidf"))
    found = said(app.state, 2)
    assert found is not None
    assert found.answer is not None
    assert found.answer.status == "abstained"
    assert "language.note" in [guard.code for guard in found.answer.guards if guard.level == "abstain"]
    assert found.attribution is None


def test_a_text_that_is_longer_than_any_note_gets_no_answer(app: Application) -> None:
    long = replace(KNOWN, documents=(Document("Book", "2024-01-01", "A cough. " * 30_000),))
    app.session.update(record=long)
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    found = said(app.state)
    assert found is not None
    assert found.answer is not None
    assert [guard.code for guard in found.answer.guards if guard.level == "abstain"] == ["long_note.note"]


def test_a_note_that_is_read_in_part_says_so(app: Application) -> None:
    app.run_command("model.run_note", (3, "tiny-wordpiece"))
    found = said(app.state, 3, "tiny-wordpiece")
    assert found is not None
    assert found.answer is not None
    assert [guard.level for guard in found.answer.guards if guard.code == "cut_note.note"] == ["warn"]


def test_what_was_run_and_explained_is_in_the_trail_without_a_word_of_the_note(app: Application) -> None:
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    assert app.state.selection is not None
    uid = app.state.selection.study.study_instance_uid
    found = said(app.state)
    assert found is not None
    assert found.attribution is not None
    kept = [one for one in events(app) if one[0].startswith("model.")]
    explained = f"tiny-tfidf note 1 occlusion {found.attribution.finding}"
    assert kept == [("model.run", uid, "tiny-tfidf note 1"), ("model.explain", uid, explained)]


def test_a_model_sees_the_note_and_the_patients_age_and_sex_then_and_nothing_else(
    app: Application, engine: data_models.DataEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Case] = []
    real = engine.ask

    def ask(case: Case, *args: Any, **kwargs: Any) -> Any:
        seen.append(case)
        return real(case, *args, **kwargs)

    monkeypatch.setattr(engine, "ask", ask)
    early = replace(KNOWN, documents=(replace(NOTES[0], date="1990-01-01"), *NOTES[1:]))
    app.session.update(record=early)
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    app.run_command("model.run_note", (3, "tiny-tfidf"))
    dated, undated = seen
    assert (dated.note, dated.sex, dated.at) == (NOTE, "F", datetime(1990, 1, 1))  # noqa: DTZ001 - as recorded
    assert (undated.note, undated.sex, undated.at) == (NOTES[3].text, "F", None)
    assert dated.age_years == pytest.approx(30.0)
    assert undated.age_years == pytest.approx(64.3, abs=0.05)
    study = replace(app.state.selection.study, patient_age="012Y")  # type: ignore[union-attr]
    app.session.update(selection=replace(app.state.selection, study=study))
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    assert (seen[-1].age_years, seen[-1].ages_told) == (None, (12, 64))
    for case in seen:
        assert (case.images, case.observations, case.text_observations, case.medicines) == ((), (), (), None)
        assert case.allergies is None
        assert case.smiles == ()


def test_a_model_that_is_installed_meanwhile_is_offered_and_answers_stay(
    app: Application, engine: data_models.DataEngine, tmp_path: Path
) -> None:
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    data_models.make("tfidf", tmp_path / "models" / "new", id="new")
    model_shelf._adopt(app, engine.catalogue.refresh())
    assert [one.id for one in note_offers(app.state, 0)] == ["new", "tiny-tfidf", "tiny-wordpiece"]
    assert said(app.state) is not None


def test_what_a_model_said_of_a_note_goes_with_the_model(
    app: Application, engine: data_models.DataEngine, tmp_path: Path
) -> None:
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    folder = next(entry.folder for entry in engine.catalogue.entries if entry.id == "tiny-tfidf")
    shutil.rmtree(folder)
    data_models.make("tfidf", folder, version="9.9.9")
    model_shelf._adopt(app, engine.catalogue.refresh())
    assert said(app.state) is None
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    assert said(app.state) is not None


def test_what_a_replaced_model_failed_at_is_not_said_of_the_new_one(
    app: Application, engine: data_models.DataEngine
) -> None:
    engine.failures[len(engine.calls) + 1] = EngineError("It ended.")
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    failed = said(app.state)
    assert failed is not None
    assert failed.problem == "It ended."
    folder = engine.catalogue.card("tiny-tfidf").folder
    shutil.rmtree(folder)
    data_models.make("tfidf", folder, version="9.9.9")
    model_shelf._adopt(app, engine.catalogue.refresh())
    assert said(app.state) is None


@pytest.mark.parametrize("has_heard", [True, False])
def test_a_model_that_is_replaced_while_it_explains_leaves_nothing(
    later: tuple[Application, LaterExecutor],
    engine: data_models.DataEngine,
    monkeypatch: pytest.MonkeyPatch,
    has_heard: bool,
) -> None:
    """Whether the window has heard of the other model by then or not."""
    app, held = later
    app.run_command("model.run_note", (0, "tiny-tfidf"))
    held.step()  # the answer is there, and its explanation begins
    folder = engine.catalogue.card("tiny-tfidf").folder
    real, gone = engine.run, []

    def run(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        if not gone:
            shutil.rmtree(folder)
            data_models.make("tfidf", folder, version="9.9.9")
            gone.append(engine.catalogue.refresh())
            if has_heard:
                model_shelf._adopt(app, gone[0])
        return found

    monkeypatch.setattr(engine, "run", run)
    while held.waiting:
        held.step()
    if not has_heard:
        model_shelf._adopt(app, gone[0])
    assert said(app.state) is None
    assert app.state.note_asked is None


def test_a_note_is_asked_about_without_any_recorded_value(app: Application) -> None:
    app.session.update(record=replace(KNOWN, observations=()))
    assert note_question(app.state, 0) is not None
    assert len(note_offers(app.state, 0)) == 2

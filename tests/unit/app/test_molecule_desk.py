"""A molecule that was typed in: drawn, asked about, explained by its atoms; about nobody, and kept with nobody."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.application import Application
from medviewer.app.molecule_desk import JOB, MoleculeDesk
from medviewer.app.start import running_application
from medviewer.domain.anchor import Atom
from medviewer.domain.case import Case
from medviewer.domain.errors import EngineError
from medviewer.inference import molecule_drawing
from tests import data_models
from tests.conftest import InlineExecutor, LaterExecutor
from tests.unit.app.test_note_models import events, opened

pytest.importorskip("rdkit")

ASPIRIN, CAFFEINE = "CC(=O)Oc1ccccc1C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C"
MODEL = "tiny-molecule"


@pytest.fixture
def engine(tmp_path: Path) -> data_models.DataEngine:
    for kind in ("molecule", "tfidf", "series"):
        data_models.make(kind, tmp_path / "models" / kind)
    return data_models.DataEngine(tmp_path / "models")


@pytest.fixture
def app(engine: data_models.DataEngine, medviewer_home: Path) -> Iterator[Application]:
    with running_application(medviewer_home, lambda call: call(), engine, InlineExecutor) as made:
        yield made


class Shown:
    """Counts what the desk tells."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def desk(app: Application, shown: Shown) -> MoleculeDesk:
    return MoleculeDesk(app, shown)


@pytest.fixture
def later(
    engine: data_models.DataEngine, medviewer_home: Path, shown: Shown
) -> Iterator[tuple[MoleculeDesk, LaterExecutor]]:
    held = LaterExecutor()

    def executor(_threads: int, name: str) -> Executor:
        return held if name == "medviewer-job" else InlineExecutor()

    with running_application(medviewer_home, lambda call: call(), engine, executor) as made:
        yield MoleculeDesk(made, shown), held


def test_models_of_molecules_alone_are_offered(desk: MoleculeDesk) -> None:
    assert [(one.id, one.task) for one in desk.offers] == [(MODEL, "multilabel")]


def test_it_is_drawn_asked_about_and_explained_by_its_atoms(desk: MoleculeDesk, shown: Shown) -> None:
    desk.look_at(f" {ASPIRIN} ")
    assert desk.drawing is not None
    assert (desk.smiles, desk.problem, len(desk.drawing.atoms)) == (ASPIRIN, "", 13)
    assert desk.explained() is None
    before = shown.count
    desk.run(MODEL)
    said = desk.answer_of(MODEL)
    assert said is not None
    assert said.answer is not None
    assert said.answer.status == "answer"
    assert [one.label for one in said.answer.findings] == ["first", "second"]
    why = said.attribution
    assert why is not None
    assert why.faithfulness is not None
    assert [anchor.index for anchor in why.anchors if isinstance(anchor, Atom)] == list(range(13))
    assert desk.explained() == (desk.offers[0], said)
    assert shown.count > before


def test_another_label_is_explained_on_request(desk: MoleculeDesk) -> None:
    desk.look_at(ASPIRIN)
    desk.explain(MODEL, "first")  # nothing has been said yet
    assert desk.answer_of(MODEL) is None
    desk.run(MODEL)
    for name in ("first", "second"):
        desk.explain(MODEL, name)
        said = desk.answer_of(MODEL)
        assert said is not None
        assert said.attribution is not None
        assert said.attribution.finding == name


def test_of_another_molecule_nothing_of_the_first_is_left(desk: MoleculeDesk) -> None:
    desk.look_at(ASPIRIN)
    desk.run(MODEL)
    desk.look_at(CAFFEINE)
    assert desk.answer_of(MODEL) is None
    assert desk.explained() is None
    assert desk.drawing is not None
    assert desk.drawing.smiles == CAFFEINE


def test_what_was_asked_of_another_molecule_is_stopped_and_comes_nowhere(
    later: tuple[MoleculeDesk, LaterExecutor], engine: data_models.DataEngine
) -> None:
    desk, held = later
    desk.look_at(ASPIRIN)
    held.step()
    desk.run(MODEL)
    assert desk.work_of(MODEL) is not None
    desk.look_at(CAFFEINE)
    assert desk.work_of(MODEL) is None
    while held.waiting:
        held.step()
    assert engine.calls == []
    assert desk.answer_of(MODEL) is None


def test_a_late_drawing_of_the_molecule_before_is_not_shown(later: tuple[MoleculeDesk, LaterExecutor]) -> None:
    desk, held = later
    desk.look_at(ASPIRIN)
    desk.look_at("")
    held.step()
    assert desk.drawing is None
    desk.look_at(ASPIRIN)
    desk.look_at(CAFFEINE)
    held.step()
    assert desk.drawing is not None
    assert desk.drawing.smiles == CAFFEINE


def test_what_cannot_be_read_is_said_and_not_asked_about(desk: MoleculeDesk, engine: data_models.DataEngine) -> None:
    desk.look_at("CCX")
    assert desk.problem == "This is no SMILES that can be read; check it around position 3, at “X”."
    desk.run(MODEL)
    assert engine.calls == []
    assert desk.answer_of(MODEL) is None
    desk.look_at("CCO")
    assert desk.problem == ""
    desk.look_at("")
    assert (desk.drawing, desk.problem) == (None, "")


def test_nothing_is_run_before_it_is_drawn(
    later: tuple[MoleculeDesk, LaterExecutor], engine: data_models.DataEngine
) -> None:
    desk, held = later
    desk.look_at(ASPIRIN)
    desk.run(MODEL)
    while held.waiting:
        held.step()
    assert engine.calls == []


def test_without_the_extra_nothing_is_tried(app: Application, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(molecule_drawing, "is_available", lambda: False)
    desk = MoleculeDesk(app, shown)
    assert desk.is_missing
    assert "pip install 'medviewer[chem]'" in desk.problem
    desk.look_at(ASPIRIN)
    assert (desk.smiles, desk.drawing) == ("", None)


def test_it_is_about_nobody_though_a_patient_is_on_screen(
    app: Application, engine: data_models.DataEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(app, tmp_path)
    seen: list[Case] = []
    real = engine.ask

    def ask(case: Case, *args: Any, **kwargs: Any) -> Any:
        seen.append(case)
        return real(case, *args, **kwargs)

    monkeypatch.setattr(engine, "ask", ask)
    before, trail = app.state, len(events(app))
    desk = MoleculeDesk(app, lambda: None)
    desk.look_at(ASPIRIN)
    desk.run(MODEL)
    (case,) = seen
    assert case.smiles == (ASPIRIN,)
    assert (case.age_years, case.sex, case.note, case.observations, case.images, case.at) == (
        None, None, None, (), (), None,
    )  # fmt: skip
    after = app.state
    for name in ("answers", "attributions", "record_answers", "note_answers", "record", "decisions"):
        assert getattr(after, name) == getattr(before, name), name
    version = engine.catalogue.card(MODEL).version
    explained = [("model.explain", "", f"{MODEL} {version} occlusion first")]
    assert events(app)[trail:] == [("model.run", "", MODEL), *explained]


def test_a_failure_is_said_and_does_not_reach_what_was_said_before(
    desk: MoleculeDesk, engine: data_models.DataEngine
) -> None:
    desk.look_at(ASPIRIN)
    engine.failures[1] = EngineError("The process that runs models ended unexpectedly.")
    desk.run(MODEL)
    said = desk.answer_of(MODEL)
    assert said is not None
    assert (said.answer, said.problem) == (None, "The process that runs models ended unexpectedly.")


def test_stopped_while_it_is_explained_the_answer_stays(later: tuple[MoleculeDesk, LaterExecutor]) -> None:
    desk, held = later
    desk.look_at(ASPIRIN)
    held.step()
    desk.run(MODEL)
    held.step()
    desk.stop()
    held.step()
    said = desk.answer_of(MODEL)
    assert said is not None
    assert said.answer is not None
    assert said.attribution is None
    assert desk.work_of(MODEL) is None


def test_when_it_is_closed_nothing_is_told_or_runs_any_more(
    later: tuple[MoleculeDesk, LaterExecutor], engine: data_models.DataEngine, shown: Shown
) -> None:
    desk, held = later
    desk.look_at(ASPIRIN)
    held.step()
    desk.run(MODEL)
    desk.look_at(ASPIRIN)  # the same: nothing changes
    assert desk.work_of(MODEL) is not None
    count = shown.count
    desk.close()
    while held.waiting:
        held.step()
    assert engine.calls == []
    assert shown.count == count


def test_lines_are_dark_on_the_light_theme_alone(app: Application, desk: MoleculeDesk) -> None:
    desk.look_at(ASPIRIN)
    assert desk.drawing is not None
    assert b"#000000" not in desk.drawing.svg
    app.session.update(theme="light")
    desk.look_at(CAFFEINE)
    assert desk.drawing is not None
    assert b"#000000" in desk.drawing.svg


def test_its_work_is_shown_among_the_jobs(later: tuple[MoleculeDesk, LaterExecutor]) -> None:
    desk, held = later
    desk.look_at(ASPIRIN)
    held.step()
    desk.run(MODEL)
    job = desk.work_of(MODEL)
    assert job is not None
    assert (job.name, job.text) == (JOB, "Running the model")
    assert desk.work_of("another") is None


def test_a_model_of_molecules_is_not_chosen_for_images(app: Application) -> None:
    app.run_command("model.select", MODEL)
    assert app.state.notice is not None
    assert app.state.notice.text.endswith("it takes a molecule: see Molecule… in the menu Model.")

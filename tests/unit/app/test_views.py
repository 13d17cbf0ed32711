"""Which images of a study a model of several views is given together, in the window and for the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.on_screen import current_answer
from medviewer.app.stack_asking import VIEWS_STILL_FOUND
from medviewer.app.start import running_application
from medviewer.app.state import Selection
from medviewer.app.views import is_of_views, views_among, views_beside
from medviewer.domain.case import Case
from medviewer.domain.study import Image, Patient, Series, Stack, Study
from medviewer.inference.card import Card, read_card
from tests import data_models, fakes
from tests.conftest import InlineExecutor
from tests.radiographs import write_radiograph


def image(name: str, view: str, side: str = "", **changes: Any) -> Image:
    frame = fakes.make_frame(view_position=view, image_laterality=side, **changes)
    return Image(Path(f"{name}.dcm"), 0, f"1.{len(name)}.{sum(map(ord, name))}", frame.description)


def study_of(*images: Image) -> list[Selection]:
    """One study with a series for each image."""
    series = tuple(Series(str(n), "CR", stacks=(Stack((one,)),)) for n, one in enumerate(images))
    study = Study("1.2", series=series)
    patient = Patient("A1", studies=(study,))
    return [Selection(patient, study, one, one.stacks[0], 0) for one in series]


def names(found: Any) -> list[str]:
    return [getattr(one, "image", one).path.stem for one in found]


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return read_card(data_models.make("views", tmp_path / "views"))


def sided(tmp_path: Path) -> Card:
    """A card that wants the frontal view of each side."""
    inputs = [
        {**data_models.view_input("left", "PA"), "laterality": ["L"]},
        {**data_models.view_input("right", "PA"), "laterality": ["R"]},
    ]
    return read_card(data_models.make("views", tmp_path / "sided", inputs=inputs))


def test_only_a_card_of_several_views_is_one(card: Card, tmp_path: Path) -> None:
    assert is_of_views(card)
    assert not is_of_views(read_card(data_models.make("film", tmp_path / "film")))


def test_the_other_view_of_the_study_comes_with_the_image_on_screen(card: Card) -> None:
    now, *_ = study_of(image("a", "PA"), image("b", "LL"), image("c", "OBL"), image("d", "PA"))
    assert names(views_beside(now, card)) == ["b"], "and no second one of its own view"


def test_beside_an_image_that_is_none_of_the_views_nothing_is_given(card: Card) -> None:
    now, *_ = study_of(image("a", "OBL"), image("b", "LL"), image("c", "PA"))
    assert views_beside(now, card) == ()


def test_two_of_the_other_view_are_both_given_so_that_nothing_is_guessed(card: Card) -> None:
    now, *_ = study_of(image("a", "PA"), image("b", "LL"), image("c", "LL"), image("d", "LL"))
    assert names(views_beside(now, card)) == ["b", "c"]


def test_an_image_that_the_model_would_refuse_is_no_view(card: Card) -> None:
    now, *_ = study_of(image("a", "PA"), image("b", "LL", modality="CT"), image("c", "LL", body_part_examined="KNEE"))
    assert views_beside(now, card) == ()


@pytest.mark.parametrize(
    ("side", "expected"), [("L", ["b", "d"]), ("R", ["c", "d"]), ("", ["b", "c"])], ids=["left", "right", "unsaid"]
)
def test_the_other_side_is_never_given_beside_an_image_that_names_its_side(
    card: Card, side: str, expected: list[str]
) -> None:
    now, *_ = study_of(image("a", "PA", side), image("b", "LL", "L"), image("c", "LL", "R"), image("d", "LL"))
    assert names(views_beside(now, card)) == expected


def test_a_card_that_names_sides_gets_them(tmp_path: Path) -> None:
    now, *others = study_of(image("a", "PA", "R"), image("b", "PA", "L"), image("c", "PA"))
    wanted = sided(tmp_path)
    assert names(views_beside(now, wanted)) == ["b"]
    assert names(views_among([now, *others], wanted)) == ["b", "a"]


def engine_for(folder: Path) -> data_models.DataEngine:
    return data_models.DataEngine(folder)


def test_views_of_both_sides_are_refused_and_those_that_a_card_names_are_not(tmp_path: Path) -> None:
    data_models.make("views", tmp_path / "views")
    case = data_models.view_case()

    def asked(model_id: str, *sides: str, views: tuple[str, str] = ("PA", "LL")) -> Any:
        frames = tuple(
            fakes.make_frame(view_position=view, image_laterality=side, seed=n)
            for n, (view, side) in enumerate(zip(views, sides, strict=True))
        )
        with engine_for(tmp_path) as engine:
            return engine.ask(replace(case, images=frames), model_id)

    answer = asked("tiny-views", "L", "R")
    assert (answer.status, [g.code for g in answer.guards if g.level == "abstain"]) == ("abstained", ["sides_differ"])
    assert asked("tiny-views", "L", "L").status == asked("tiny-views", "", "R").status == "answer"
    sided(tmp_path)
    document = (tmp_path / "sided" / "model.json").read_text(encoding="utf-8")
    (tmp_path / "sided" / "model.json").write_text(document.replace('"tiny-views"', '"tiny-sided"'), encoding="utf-8")
    assert asked("tiny-sided", "L", "R", views=("PA", "PA")).status == "answer"
    wrong = asked("tiny-sided", "L", "L", views=("PA", "PA"))
    assert wrong.status == "abstained"


def test_what_two_views_have_in_common_is_said_once(tmp_path: Path) -> None:
    data_models.make("views", tmp_path / "views")
    with engine_for(tmp_path) as engine:
        answer = engine.ask(replace(data_models.view_case(), age_years=None), "tiny-views")
    assert [g.code for g in answer.guards].count("age.unknown") == 1


def test_the_window_asks_about_all_views_of_the_study(medviewer_home: Path, tmp_path: Path) -> None:
    data_models.make("views", tmp_path / "models" / "views")
    engine = engine_for(tmp_path / "models")
    cases: list[Case] = []
    ask = engine.ask
    engine.ask = lambda case, *a, **k: (cases.append(case), ask(case, *a, **k))[1]  # type: ignore[method-assign]
    same = {"StudyInstanceUID": "1.2.3", "StudyDate": "20240301", "PatientBirthDate": "20000101"}
    paths = [
        write_radiograph(tmp_path / "pa.dcm", SeriesInstanceUID="1.2.3.1", ViewPosition="PA", **same),
        write_radiograph(tmp_path / "ll.dcm", SeriesInstanceUID="1.2.3.2", ViewPosition="LL", **same),
        write_radiograph(tmp_path / "x.dcm", StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1", ViewPosition="LL"),
    ]
    with running_application(medviewer_home, lambda call: call(), engine, InlineExecutor) as app:
        app.run_command("file.open_files", paths)
        assert app.state.model_id == "tiny-views"
        app.run_command("model.run")
        found = current_answer(app.state)
        assert found is not None
        assert found[1].status == "answer", found[1].reasons
        assert sorted(frame.description.view_position for frame in cases[-1].images) == ["LL", "PA"]
        app.wishes.is_whole = False
        app.run_command("model.run")
        assert app.state.notice is not None
        assert app.state.notice.text == VIEWS_STILL_FOUND

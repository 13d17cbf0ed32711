"""``analyze`` of an image with the record of its patient: one answer of both, or one sentence on why not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medviewer.app import joint_answering
from medviewer.cli import analyze as analyze_module
from medviewer.cli import main
from medviewer.domain.case import TextObservation
from medviewer.records.fhir_export import write_bundle
from medviewer.records.record import Identifier, PatientRecord, TextResult
from tests import data_models, fakes
from tests.answers import make_radiograph

PATIENT: dict[str, Any] = {"PatientID": "A1", "PatientName": "Alpha^Anna", "PatientBirthDate": "19600101"}
STUDY: dict[str, Any] = {"StudyDate": "20240301", "StudyTime": "140000", "PatientSex": "F"}


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyze_module, "Engine", lambda catalogue: data_models.DataEngine(catalogue.folders[0]))


def record(**changes: Any) -> PatientRecord:
    case = data_models.table_case()
    (word,) = case.text_observations
    assert isinstance(word, TextObservation)
    assert word.time is not None
    words = (TextResult(word.code, word.display, word.text, word.time.isoformat()),)
    made = PatientRecord(
        "", (Identifier("", "A1"),), "Alpha^Anna", "1960-01-01", "F", observations=case.observations,
        text_results=words,
    )  # fmt: skip
    return replace(made, **changes)


def ask(folder: Path, *more: str, known: PatientRecord | None = None, image: dict[str, Any] | None = None) -> int:
    data_models.make("film", folder / "models" / "film")
    path = make_radiograph(folder / "a.dcm", **{**PATIENT, **STUDY, **(image or {})}).path
    words = ["--models", str(folder / "models"), "analyze", str(path), "--out", str(folder / "out")]
    if known is not None:
        write_bundle(known, folder / "record.json")
        words += ["--record", str(folder / "record.json")]
    return main([*words, *(more or ("--model", "tiny-film"))])


def saved(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "out" / "result.json").read_text(encoding="utf-8"))
    return document


def test_a_model_of_an_image_and_a_record_answers_about_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path, "--model", "tiny-film", "--explain", "occlusion", known=record()) == 0
    told = capsys.readouterr().out
    document = saved(tmp_path)
    assert document["status"] == "answer"
    used = {one["name"]: one for one in document["evidence"]}
    assert list(used) == ["pulse", "temperature", "lactate", "age", "smoking"]
    assert used["pulse"]["hours_before"] > 0
    assert document["problems"] == []
    assert "used: Pulse" in told
    kinds = {part["kind"] for why in document["explanations"] for part in why["parts"]}
    assert kinds == {"pixel_box", "field"}
    assert [path.name for path in (tmp_path / "out").iterdir() if "overlay" in path.name] == []
    for identity in ("A1", "Alpha", "1960", "20240301", "2024-03-01"):
        assert identity not in (tmp_path / "out" / "result.json").read_text(encoding="utf-8")


def test_without_the_record_the_model_says_what_is_missing(tmp_path: Path) -> None:
    assert ask(tmp_path) == 4
    assert any("not recorded" in reason for reason in saved(tmp_path)["reasons"])
    assert "problems" not in saved(tmp_path)


def test_what_was_recorded_after_the_study_is_not_used(tmp_path: Path) -> None:
    assert ask(tmp_path, known=record(), image={"StudyDate": "20240229"}) == 4


@pytest.mark.parametrize(
    ("changes", "image", "says"),
    [
        ({"identifiers": (Identifier("", "B2"),)}, {}, "does not hold the patient ID of the image"),
        ({"identifiers": (Identifier("urn:other", "A1"),)}, {}, "does not hold the patient ID of the image"),
        ({"identifiers": ()}, {}, "holds 0 patients"),
        ({}, {"PatientID": ""}, "holds no patient ID"),
        ({"name": "Beta^Bea"}, {}, "contradict each other in name"),
        ({"birth_date": "1930-07-07"}, {}, "contradict each other in birth date"),
        ({"sex": "M"}, {}, "contradict each other in sex"),
        ({}, {"StudyDate": ""}, "does not say when the image was made"),
    ],
)
def test_a_record_that_is_not_surely_of_the_patient_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], image: dict[str, Any], says: str
) -> None:
    assert ask(tmp_path, known=record(**changes), image=image) == 3
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert says in told
    assert not (tmp_path / "out" / "result.json").exists()
    assert not {"A1", "Alpha", "Beta"} & set(told.replace("^", " ").split())


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--model", fakes.MODEL_ID), "takes nothing of a record"),
        (("--model", "tiny-volume"), "a stack of slices and a record can be asked in the window only"),
        (("--model", "tiny-film", "--model", fakes.MODEL_ID), "name one image file and one model"),
        (("--model", "tiny-film", "--at", "2024-03-01"), "leave out --at"),
        (("--model", "tiny-film", "--note", "note.txt"), "or else --record, --note or --smiles alone"),
    ],
)
def test_a_record_beside_an_image_is_for_one_image_and_a_model_of_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], says: str
) -> None:
    fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)
    for kind in ("volume", "views"):
        data_models.make(kind, tmp_path / "models" / kind)
    assert ask(tmp_path, *more, known=record()) == 2
    assert says in capsys.readouterr().err


def test_a_folder_beside_a_record_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path, known=record()) == 0
    words = ["--models", str(tmp_path / "models"), "analyze", str(tmp_path), "--out", str(tmp_path / "other")]
    assert main([*words, "--model", "tiny-film", "--record", str(tmp_path / "record.json")]) == 2
    assert "name one image file and one model" in capsys.readouterr().err


def test_parts_of_the_record_that_cannot_be_used_are_told_and_are_3(tmp_path: Path) -> None:
    assert ask(tmp_path, known=record()) == 0
    path = tmp_path / "record.json"
    bundle = json.loads(path.read_text(encoding="utf-8"))
    bundle["entry"].append({"resource": {"resourceType": "Observation", "status": 5}})
    path.write_text(json.dumps(bundle), encoding="utf-8")
    words = ["--models", str(tmp_path / "models"), "analyze", str(tmp_path / "a.dcm"), "--out", str(tmp_path / "out")]
    assert main([*words, "--model", "tiny-film", "--record", str(path)]) == 3
    assert [one["status"] for one in saved(tmp_path)["problems"]] == ["refused"]


def views(folder: Path, **changes: Any) -> list[str]:
    """The command line for a model of two views and the two images of one study, the second with ``changes``."""
    data_models.make("views", folder / "models" / "views")
    for name, view in (("pa", "PA"), ("ll", "LL")):
        own = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": f"1.2.3.{len(name)}.{ord(name[0])}"}
        own |= {"ViewPosition": view, "PatientOrientation": None}
        make_radiograph(
            folder / "study" / f"{name}.dcm", **{**PATIENT, **STUDY, **own, **(changes if view == "LL" else {})}
        )
    words = ["--models", str(folder / "models"), "analyze", str(folder / "study"), "--out", str(folder / "out")]
    return [*words, "--model", "tiny-views"]


def test_a_model_of_several_views_is_given_those_of_the_study(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    words = views(tmp_path)
    assert main([*words, "--explain", "occlusion"]) == 0
    document = saved(tmp_path)
    assert document["status"] == "answer"
    named = {part["input"] for why in document["explanations"] for part in why["parts"]}
    assert named == {"frontal", "lateral"}
    both = [str(tmp_path / "study" / name) for name in ("pa.dcm", "ll.dcm")]
    assert main([*words[:3], *both, *words[4:]]) == 0
    assert main([*words[:3], both[0], *words[4:]]) == 4
    assert saved(tmp_path)["reasons"] == ["There is no image of the view LL; the model needs it."]


def test_a_heat_map_of_views_is_of_the_finding_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study").mkdir()
    words = views(tmp_path)
    name = json.loads((tmp_path / "models" / "views" / "model.json").read_text(encoding="utf-8"))["labels"][0]["name"]
    asked: list[object] = []
    whole = joint_answering.explain

    def explain(*given: Any, **more: Any) -> Any:
        asked.append(more["finding"])
        return whole(*given, **more)

    monkeypatch.setattr(joint_answering, "explain", explain)
    assert main([*words, "--explain", "occlusion", "--finding", name]) == 0
    assert main([*words, "--explain", "occlusion"]) == 0
    assert asked == [name, None]


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"StudyInstanceUID": "1.9"}, 2, "images of 2 studies"),
        ({"PatientID": "B2", "PatientName": "Beta^Bea"}, 2, "images of 2 studies"),
        ({"ImageLaterality": "L"}, 0, ""),
    ],
)
def test_views_of_two_studies_or_patients_are_never_put_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], code: int, says: str
) -> None:
    (tmp_path / "study").mkdir()
    assert main(views(tmp_path, **changes)) == code
    assert says in capsys.readouterr().err


def test_a_model_of_several_views_is_asked_by_itself_and_of_no_single_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study").mkdir()
    words = views(tmp_path)
    data_models.make("film", tmp_path / "models" / "film")
    assert main([*words, "--model", "tiny-film"]) == 2
    assert "asked by itself" in capsys.readouterr().err
    assert main([*words, "--frame", "0"]) == 2
    assert "several views" in capsys.readouterr().err
    make_radiograph(tmp_path / "study" / "x.dcm", **{**PATIENT, **STUDY, "ViewPosition": "OBL"})
    assert main([*words[:3], str(tmp_path / "study" / "x.dcm"), *words[4:]]) == 3
    assert "No image is of a view that the model tiny-views takes." in capsys.readouterr().err

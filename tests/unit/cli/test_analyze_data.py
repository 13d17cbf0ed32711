"""``analyze`` without an image: a record, a note, a molecule; what is saved of it, and what never is."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medviewer.app.results import Result
from medviewer.app.settings import home
from medviewer.cli import main
from medviewer.cli.analyze import summary
from medviewer.cli.analyze_data import Told, _lines, moment_of
from medviewer.resources import models_dir, resource
from tests import data_models
from tests.answers import PNEUMONIA, frame_of, make_answer, make_radiograph
from tests.time_zones import in_zone

SAMPLE = resource("sample-record.json")


def ask(out: Path, *more: str, models: Path | None = None, model: str = "news2") -> int:
    return main(["--models", str(models or models_dir()), "analyze", "--model", model, "--out", str(out), *more])


def saved(out: Path) -> dict[str, Any]:
    assert [path.name for path in out.iterdir()] == ["result.json"]
    document: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return document


def test_a_score_of_a_record_at_a_moment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert ask(out, "--record", str(SAMPLE), "--at", "2004-08-25T18:30:00-04:00", "--explain", "occlusion") == 0
    text = capsys.readouterr().out
    assert "NEWS2 total: 5 of 20, Medium" in text
    assert "Respiration rate: +2" in text
    assert "research use only" in text
    assert "unverified: " in text
    document = saved(out)
    total, highest = document["outcomes"]
    assert (total["kind"], total["value"], total["band"], highest["value"]) == ("score", 5, "Medium", 2)
    assert sum(part["value"] for part in total["parts"]) == 5
    evidence = {one["name"]: one for one in document["evidence"]}
    assert (evidence["pulse"]["value"], evidence["spo2_scale"]["hours_before"]) == ("94 /min", None)
    assert evidence["pulse"]["hours_before"] is not None
    (why,) = document["explanations"]
    assert why["file"] is None
    assert {part["field"]: part["value"] for part in why["parts"]}["spo2"] == 2
    assert why["parts"][0]["kind"] == "field"
    assert document["audit_written"] is True
    assert document["provenance"]["runtime"] == "rule"


def test_what_is_saved_holds_no_identity_and_no_date(tmp_path: Path) -> None:
    ask(tmp_path / "out", "--record", str(SAMPLE), "--at", "2004-08-25T18:30:00-04:00", "--explain", "occlusion")
    text = (tmp_path / "out" / "result.json").read_text(encoding="utf-8")
    for told in ("RG1", "CompressedSamples", "9RG1", str(SAMPLE)):
        assert told not in text, told
    assert not YEARS.search(text)


# Of the patient's birth and stay, alone or in a date; not where digests and decimals happen to hold these digits.
YEARS = re.compile(r"(?<![0-9a-f.])(?:1940|2004)(?:[01]\d[0-3]\d)?(?![0-9a-f])")


@pytest.mark.parametrize("date", ['"1940-03-05"', '"20040825"', '"2004-08-25T18:30:00"', "2004"])
def test_a_date_of_the_patient_would_be_seen(date: str) -> None:
    assert YEARS.search(f'{{"elapsed_s": 0.0007411940005, "digest": "ab1940f", "time": {date}}}')


def test_up_to_a_day_and_up_to_now(tmp_path: Path) -> None:
    assert ask(tmp_path / "day", "--record", str(SAMPLE), "--at", "2004-08-26") == 0
    assert ask(tmp_path / "now", "--record", str(SAMPLE)) == 0
    assert "old" in {guard["code"] for guard in saved(tmp_path / "now")["guards"]}
    assert ask(tmp_path / "before", "--record", str(SAMPLE), "--at", "2004-08-24") == 4
    assert {g["code"] for g in saved(tmp_path / "before")["guards"] if g["level"] == "abstain"} == {
        "missing.oxygen", "missing.consciousness"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("day", "offset"), [("2024-03-31", "+02:00"), ("2024-10-27", "+01:00"), ("2024-05-02", "+02:00")]
)
def test_a_whole_day_ends_when_its_own_clock_says_so(day: str, offset: str) -> None:
    with in_zone("Europe/Berlin"):  # where clocks are changed in the night of the first two
        assert moment_of(day).isoformat() == f"{day}T23:59:59{offset}"


@pytest.mark.parametrize(
    ("at", "hour"),
    [
        ("2005-01-10", "23:30"),  # in winter of a value of summer, which was taken by the clock of summer
        ("2005-01-10T12:00:00", "23:30"),
        ("2005-01-10T12:00:00-05:00", "16:30"),  # a zone that was named is that of all
    ],
)
def test_a_value_is_told_by_the_clock_of_its_own_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at: str, hour: str
) -> None:
    with in_zone("Europe/Berlin"):
        assert ask(tmp_path / "out", "--record", str(SAMPLE), "--at", at) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "used: Pulse" in line]
    assert f"2004-08-25 {hour}" in line


def test_json_is_the_document_that_was_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path / "out", "--record", str(SAMPLE), "--at", "2004-08-26", "--json") == 0
    assert json.loads(capsys.readouterr().out) == saved(tmp_path / "out")


def test_a_record_of_which_parts_were_refused_is_no_full_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = json.loads(SAMPLE.read_text(encoding="utf-8"))
    at = "2004-08-25T18:30:00-04:00"
    assert ask(tmp_path / "whole", "--record", str(SAMPLE), "--at", at) == 0
    assert [one for one in saved(tmp_path / "whole")["problems"] if one["status"] == "refused"] == []
    bundle["entry"].append({"resource": {"resourceType": "Observation", "note": [{"text": "canary"}]}})
    record = tmp_path / "record.json"
    record.write_text(json.dumps(bundle), encoding="utf-8")
    capsys.readouterr()
    assert ask(tmp_path / "part", "--record", str(record), "--at", at, "--json") == 3
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "answer"
    (problem,) = [one for one in document["problems"] if one["status"] == "refused"]
    assert problem["reason"].startswith(f"entry {len(bundle['entry'])} Observation: not valid FHIR R4")
    assert "canary" not in json.dumps(document)
    assert ask(tmp_path / "none", "--record", str(record), "--at", "2004-08-24") == 4, "an abstention says more"


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--record", str(SAMPLE), "--at", "2004-08"], 2, "a whole day as"),
        (["--record", str(SAMPLE), "--at", "2004"], 2, "a whole day as"),
        (["--record", str(SAMPLE), "--at", "yesterday"], 2, "no moment"),
        (["--record", "none.json"], 1, "cannot be read"),
        (["--record", str(SAMPLE), "--explain", "grad-cam"], 2, "occlusion"),
        ([], 2, "Give the path of an image"),
        (["picture.dcm", "--record", str(SAMPLE)], 2, "takes no image"),
        (["picture.dcm", "--note", "note.txt"], 2, "or else --record, --note or --smiles alone"),
        (["--record", str(SAMPLE), "--pdf"], 2, "made of images"),
        (["--record", str(SAMPLE), "--also", "maps"], 2, "made of images"),
        (["picture.dcm", "--at", "2004-08-25"], 2, "leave out --at"),
        (["picture.dcm"], 2, "takes no image"),
        (["one.dcm", "two.dcm"], 2, "takes no image"),
    ],
)
def test_wrong_use_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, words: str
) -> None:
    assert ask(tmp_path / "out", *more) == code
    told = capsys.readouterr().err
    assert words in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_model_of_images_needs_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path / "out", "--record", str(SAMPLE), model="chest-xray-pneumonia") == 2
    assert "needs an image" in capsys.readouterr().err


@pytest.mark.parametrize(("calibration", "said"), [({"method": "none"}, "output of the network"), ({}, "probability")])
def test_a_number_that_nobody_calibrated_is_no_probability(calibration: dict[str, str], said: str) -> None:
    answer = make_answer(calibration=calibration)
    (line,) = [line for line in _lines(Told(answer, (), None)) if "pneumonia: " in line]
    assert line.strip().startswith(f"pneumonia: {said}")


def test_lines_give_numbers_that_agree_with_the_flag(tmp_path: Path) -> None:
    finding = replace(PNEUMONIA, probability=0.2846, threshold=0.285, flagged=False, stability=(0.2846, 0.4))
    answer, image = make_answer(finding), make_radiograph(tmp_path / "a.dcm")
    said = "  pneumonia: probability 0.2846, threshold 0.285, not flagged"
    assert said in _lines(Told(answer, (), None))
    lines = summary(Result(image=image, frame=frame_of(image), answer=answer))
    assert lines[lines.index(said) + 1] == "    between 0.2846 and 0.40 under small changes of the image"


def test_a_note_is_read_and_none_of_its_words_is_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = tmp_path / "models"
    data_models.make("tfidf", models / "tfidf")
    note = tmp_path / "note.txt"
    note.write_text("\ufeff" + data_models.NOTE, encoding="utf-8")
    out = tmp_path / "out"
    assert ask(out, "--note", str(note), "--explain", "occlusion", models=models, model="tiny-tfidf") == 0
    document = saved(out)
    (why,) = document["explanations"]
    words = [[data_models.NOTE[a:b] for a, b in part["spans"]] for part in why["parts"]]
    assert ["cough"] in words
    assert "cough" not in (out / "result.json").read_text(encoding="utf-8")
    assert "cough" in capsys.readouterr().out
    for content, text in ((b"\xff\xfe\x00", "UTF-8"), (b"x" * (2 << 20), "not a note")):
        note.write_bytes(content)
        assert ask(tmp_path / "other", "--note", str(note), models=models, model="tiny-tfidf") == 3
        assert text in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("rdkit") is None, reason="RDKit is not installed")
def test_a_molecule_is_read(tmp_path: Path) -> None:
    data_models.make("molecule", tmp_path / "models" / "molecule")
    more = ("--smiles", "CCO", "--explain", "occlusion")
    assert ask(tmp_path / "out", *more, models=tmp_path / "models", model="tiny-molecule") == 0
    (why,) = saved(tmp_path / "out")["explanations"]
    assert [part["symbol"] for part in why["parts"]] == ["C", "C", "O"]
    assert ask(tmp_path / "bad", "--smiles", "C1CC", models=tmp_path / "models", model="tiny-molecule") == 4


def test_an_earlier_result_is_gone_where_the_new_one_cannot_be_had(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert ask(out, "--record", str(SAMPLE), "--at", "2004-08-26") == 0
    assert ask(out, "--record", str(SAMPLE), "--at", "2004-08-24") == 4
    assert saved(out)["status"] == "abstained"
    assert saved(out)["outcomes"] == []


def test_the_run_is_in_the_audit_trail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path / "out", "--record", str(SAMPLE), "--at", "2004-08-26") == 0
    assert home().is_dir()
    capsys.readouterr()
    assert main(["audit", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 1


def test_the_reference_patients_are_those_of_the_chart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--models", str(models_dir()), "models", "verify", "news2", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert (row["runtime"], row["n"], row["largest_error"], row["passed"]) == ("rule", 8, 0.0, True)

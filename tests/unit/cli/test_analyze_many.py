"""``analyze`` on folders of studies, with the tiny network in numpy: all found, none twice, each beside its own study."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pydicom
import pytest

from medviewer.app import batch
from medviewer.app.batch import Pace
from medviewer.app.batch_journal import JOURNAL_NAME
from medviewer.app.settings import home
from medviewer.cli import analyze as analyze_module
from medviewer.cli import main
from medviewer.domain.answer import probability_words, threshold_words
from medviewer.domain.errors import DecodeError, EngineError, WorkerDiedError
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.signing import TrustFile, sign_model
from medviewer.records.audit import AuditTrail
from medviewer.records.store import RecordStore
from tests import fakes
from tests.answers import make_radiograph
from tests.radiographs import write_slices
from tests.unit.inference.test_signing import key_pair

engines: list[fakes.FakeEngine] = []
NAME, NUMBER = "Canary^Carla", "CANARY4711"


class Remembered(fakes.FakeEngine):
    """The fake engine, kept for the test to look at."""

    def __init__(self, catalogue: Catalogue, **options: Any) -> None:
        super().__init__(catalogue, **options)
        engines.append(self)


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engines.clear()
    monkeypatch.setattr(analyze_module, "Engine", Remembered)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    fakes.make_model(tmp_path / "models" / fakes.MODEL_ID)
    return tmp_path / "models"


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Three studies: a frontal film, a frontal and a lateral one, and a CT of two slices."""
    folder = tmp_path / "in"
    folder.mkdir()
    child = {"PatientBirthDate": "20200101", "PatientName": NAME, "PatientID": NUMBER}
    make_radiograph(folder / "canary-a.dcm", StudyInstanceUID="1.2.1", SOPInstanceUID="1.2.1.1", **child)
    make_radiograph(folder / "canary-b.dcm", StudyInstanceUID="1.2.2", SOPInstanceUID="1.2.2.1", **child)
    lateral = {"SOPInstanceUID": "1.2.2.2", "ViewPosition": "LL", "SeriesNumber": 2}
    make_radiograph(folder / "canary-c.dcm", StudyInstanceUID="1.2.2", **child, **lateral)
    write_slices(folder / "ct", 2)
    return folder


def words(tmp_path: Path, models: Path, *paths: Path, more: tuple[str, ...] = ()) -> list[str]:
    named = [str(path) for path in paths]
    return [
        "--models", str(models), "analyze", *named, "--model", fakes.MODEL_ID, "--out", str(tmp_path / "out"), *more
    ]  # fmt: skip


def name_of(study_instance_uid: str) -> str:
    return f"study-{hashlib.sha256(study_instance_uid.encode()).hexdigest()[:16]}"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def results(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.glob("study-*/*/result.json")}


def questions_asked() -> int:
    """How many images the engines were shown: a run for the image and one for its small changes make two."""
    return sum(len(engine.calls) for engine in engines) // 2


def test_every_study_has_its_own_folder_with_its_own_result(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, models, studies)) == 0
    out = tmp_path / "out"
    told = capsys.readouterr().out
    for uid, sop in (("1.2.1", "1.2.1.1"), ("1.2.2", "1.2.2.1")):
        document = read(out / name_of(uid) / "result.json")
        assert document["schema"] == "medviewer.study-result/1"
        [row] = document["results"]
        folder = out / name_of(uid) / row["result"]
        whole = read(folder / "result.json")
        assert whole["schema"] == "medviewer.result/1"
        assert row["findings"] == whole["findings"]
        report = pydicom.dcmread(folder / "finding.sr.dcm")
        assert (str(report.StudyInstanceUID), str(report.PatientName)) == (uid, NAME)
        assert (
            report.CurrentRequestedProcedureEvidenceSequence[0]
            .ReferencedSeriesSequence[0]
            .ReferencedSOPSequence[0]
            .ReferencedSOPInstanceUID
            == sop
        )
        assert f"{name_of(uid)}/{row['result']} (unverified): pneumonia" in told
    assert "3 studies, 2 questions: 2 answers, 0 abstentions, 0 failures." in told
    assert told.splitlines()[-1] == "AI result - research use only - not for diagnosis"
    assert engines[0].is_closed


def test_what_was_not_asked_and_why_is_said(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(tmp_path, models, studies))
    told = capsys.readouterr().out
    summary = read(tmp_path / "out" / "summary.json")
    reasons = {one["reason"]: one["images"] for study in summary["studies"] for one in study["not_asked"]}
    assert sorted(reasons.values()) == [1, 2]
    assert {("LL" in reason, "CT" in reason) for reason in reasons} == {(True, False), (False, True)}
    assert all(
        f"was not asked about {n} image{'s' * (n != 1)} of 1 study: {reason}" in told for reason, n in reasons.items()
    )
    [ct] = [study for study in summary["studies"] if not study["results"]]
    assert read(tmp_path / "out" / ct["study"] / "result.json")["not_asked"] == ct["not_asked"]


def test_the_tables_say_the_same_as_the_results(tmp_path: Path, models: Path, studies: Path) -> None:
    fakes.make_model(models / "second", id="second", labels=("pneumonia", "effusion"))
    assert main([*words(tmp_path, models, studies), "--model", "second"]) == 0
    out = tmp_path / "out"
    with (out / "summary.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    answered = [row for row in table if row["status"] == "answer"]
    assert len(answered) == 2 * (1 + 2)
    for row in answered:
        whole = read(out / row["result"] / "result.json")
        assert (whole["model"]["id"], whole["model"]["version"]) == (row["model"], row["version"])
        [finding] = [finding for finding in whole["findings"] if finding["label"] == row["label"]]
        assert float(row["probability"]) == finding["probability"]
        assert (float(row["low"]), float(row["high"])) == tuple(finding["stability"].values())
        assert row["flagged"] == str(finding["flagged"])
    summary = read(out / "summary.json")
    assert summary["counts"] == {
        "studies": 3, "questions": 4, "answer": 4, "abstained": 0, "failed": 0, "waiting": 0
    }  # fmt: skip


@pytest.mark.parametrize("above", [0.0004, -0.0004])
def test_each_line_keeps_to_the_rules_of_one_answer(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str], above: float
) -> None:
    """A number never reads as if it lay on the other side of its threshold, and what is not verified says so."""
    main(words(tmp_path, models, studies, more=("--json",)))
    probability = read(tmp_path / "out" / "summary.json")["studies"][0]["results"][0]["findings"][0]["probability"]
    document = read(models / fakes.MODEL_ID / "model.json")
    threshold = round(probability + above, 5)
    document["labels"][0]["threshold"] = document["labels"][0]["operating_point"]["threshold"] = threshold
    fakes.write_card(models / fakes.MODEL_ID, document)
    capsys.readouterr()
    main(words(tmp_path, models, studies))
    told = capsys.readouterr().out
    for row in results(tmp_path / "out").values():
        (found,) = json.loads(row)["findings"]
        number = probability_words(found["probability"], threshold)
        limit = threshold_words(threshold, found["probability"], *found["stability"].values())
        flag = "flagged" if found["flagged"] else "not flagged"
        assert f" (unverified): pneumonia: probability {number}, threshold {limit}, {flag}\n" in told
    assert f"  {fakes.MODEL_ID}: unverified: the files match the card" in told


def test_a_number_that_nobody_calibrated_stands_nowhere_bare(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = read(models / fakes.MODEL_ID / "model.json")
    document["calibration"] |= {"method": "none", "parameters": {}, "ece_before": None, "ece_after": None}
    fakes.write_card(models / fakes.MODEL_ID, document)
    assert main(words(tmp_path, models, studies)) == 0
    told = capsys.readouterr().out
    assert told.count("pneumonia: output of the network, no probability, ") == 2
    summary = read(tmp_path / "out" / "summary.json")
    rows = [row for study in summary["studies"] for row in study["results"]]
    rows += read(tmp_path / "out" / name_of("1.2.1") / "result.json")["results"]
    assert [row["calibrated"] for row in rows] == [False] * 3


@pytest.mark.parametrize("is_signed", [True, False])
def test_whether_a_model_is_verified_stands_beside_every_answer(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str], is_signed: bool
) -> None:
    if is_signed:
        private, public = key_pair()
        sign_model(models / fakes.MODEL_ID, private)
        TrustFile(home()).add("A hospital", public)
    assert main(words(tmp_path, models, studies)) == 0
    out, told = tmp_path / "out", capsys.readouterr().out
    assert ("unverified" in told) is not is_signed
    summary = read(out / "summary.json")
    rows = [row for study in summary["studies"] for row in study["results"]]
    rows += read(out / name_of("1.2.1") / "result.json")["results"]
    assert [(row["verified"], row["calibrated"]) for row in rows] == [(is_signed, True)] * 3
    with (out / "summary.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    told_of = {(row["status"], row["verified"], row["calibrated"]) for row in table}
    assert told_of == {("answer", str(is_signed), "True"), ("not asked", "", "")}
    main(words(tmp_path, models, studies))  # all of it is known, and still it is said
    assert ("unverified" in capsys.readouterr().out) is not is_signed


def test_what_another_model_said_before_stays_in_the_studys_result(tmp_path: Path, models: Path, studies: Path) -> None:
    fakes.make_model(models / "second", id="second")
    main(words(tmp_path, models, studies))
    first = read(tmp_path / "out" / name_of("1.2.1") / "result.json")["results"]
    other = words(tmp_path, models, studies)
    other[other.index(fakes.MODEL_ID)] = "second"
    assert main(other) == 0
    results_now = read(tmp_path / "out" / name_of("1.2.1") / "result.json")["results"]
    assert [row["model"] for row in results_now] == ["second", fakes.MODEL_ID]
    assert [row for row in results_now if row["model"] == fakes.MODEL_ID] == first
    assert questions_asked() == 4


@pytest.mark.reliability
def test_names_and_tables_hold_no_identity_but_the_owners_list_says_which_file_it_was(
    tmp_path: Path, models: Path, studies: Path
) -> None:
    main(words(tmp_path, models, studies))
    out = tmp_path / "out"
    for path in out.rglob("*"):
        assert not any(part in path.name.lower() for part in ("canary", "4711", "1.2."))
        if path.suffix in (".json", ".jsonl") or path.name == "summary.csv":
            text = path.read_text(encoding="utf-8")
            for secret in ("canary", "4711", '"1.2.1', '"1.2.2', "20200101", str(tmp_path)):
                assert secret not in text.lower(), path.name
    sources = out / "sources.csv"
    assert str(studies / "canary-a.dcm") in sources.read_text(encoding="utf-8-sig")
    assert sources.stat().st_mode & 0o077 == 0


def test_asked_again_nothing_is_done_twice(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(tmp_path, models, studies))
    before, asked = results(tmp_path / "out"), questions_asked()
    assert (len(before), asked) == (2, 2)
    capsys.readouterr()
    assert main(words(tmp_path, models, studies)) == 0
    assert questions_asked() == asked
    assert results(tmp_path / "out") == before
    assert "2 questions (2 of them answered by an earlier call): 2 answers" in capsys.readouterr().out


def test_only_what_changed_is_asked_again(tmp_path: Path, models: Path, studies: Path) -> None:
    main(words(tmp_path, models, studies))
    child = {"PatientBirthDate": "20200101", "PatientName": NAME, "PatientID": NUMBER}
    make_radiograph(
        studies / "canary-a.dcm", rows=100, StudyInstanceUID="1.2.1", SOPInstanceUID="1.2.1.1", **child
    )  # the same image by its UIDs, another file
    main(words(tmp_path, models, studies))
    assert questions_asked() == 3
    document = read(models / fakes.MODEL_ID / "model.json")
    document["labels"][0]["threshold"] = document["labels"][0]["operating_point"]["threshold"] = 0.25
    fakes.write_card(models / fakes.MODEL_ID, document)
    main(words(tmp_path, models, studies))
    assert questions_asked() == 5
    assert all(json.loads(data)["findings"][0]["threshold"] == 0.25 for data in results(tmp_path / "out").values())
    main(words(tmp_path, models, studies, more=("--explain", "occlusion")))
    assert all(json.loads(data)["explanations"] for data in results(tmp_path / "out").values())


def test_each_heat_map_of_many_is_of_the_named_finding_and_in_the_audit_trail(
    tmp_path: Path, models: Path, studies: Path
) -> None:
    fakes.make_model_of_three(models / fakes.MODEL_ID)
    explain = ("--explain", "occlusion")
    assert main(words(tmp_path, models, studies, more=explain)) == 0
    assert main(words(tmp_path, models, studies, more=(*explain, "--finding", "effusion"))) == 0
    saved = [json.loads(data)["explanations"] for data in results(tmp_path / "out").values()]
    assert [[one["target"] for one in rows] for rows in saved] == [["effusion"]] * 2, "another finding is asked again"
    with RecordStore(home() / "records.sqlite") as store:
        events = [entry.event for entry in AuditTrail(store.database, home() / "audit").entries()]
    kept = [(one.subject, one.detail) for one in events if one.what == "model.explain"]
    assert sorted(kept) == sorted(
        (uid, f"{fakes.MODEL_ID} 1.2.3 occlusion {label}")
        for label in ("pneumonia", "effusion")
        for uid in ("1.2.1.1", "1.2.2.1")
    )


def test_language_and_further_files_are_those_that_were_asked_for(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, models, studies)) == 0
    more = ("--language", "zh", "--also", "keys", "--also", "maps", "--explain", "occlusion")
    assert main(words(tmp_path, models, studies, more=more)) == 0
    assert questions_asked() >= 4  # asked in another way, it is asked anew
    for data in results(tmp_path / "out").values():
        document = json.loads(data)
        assert document["model"]["title"] == "胸片测试模型"
        assert any(one["map_file"] for one in document["explanations"])
    assert main(words(tmp_path, models, studies, more=("--pdf",))) == 2
    assert "--pdf makes the page of one image" in capsys.readouterr().err


def test_stopped_by_ctrl_c_it_goes_on_where_it_was(
    tmp_path: Path, models: Path, studies: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = fakes.FakeEngine.run

    def interrupted(self: Any, *args: Any, **options: Any) -> Any:
        if len(self.calls) == 2:  # in the middle of the second question
            raise KeyboardInterrupt
        return whole(self, *args, **options)

    monkeypatch.setattr(fakes.FakeEngine, "run", interrupted)
    assert main(words(tmp_path, models, studies)) == 130
    told = capsys.readouterr().err
    assert "1 questions are answered, 1 are left; the same command goes on with them." in told
    assert engines[0].is_closed
    first = results(tmp_path / "out")
    assert len(first) == 1
    assert read(tmp_path / "out" / "summary.json")["counts"]["waiting"] == 1
    monkeypatch.setattr(fakes.FakeEngine, "run", whole)
    assert main(words(tmp_path, models, studies)) == 0
    after = results(tmp_path / "out")
    assert len(after) == 2
    assert first.items() <= after.items()
    assert questions_asked() == 2
    assert read(tmp_path / "out" / "summary.json")["counts"]["answer"] == 2


@pytest.mark.reliability
@pytest.mark.parametrize(("error", "code"), [(EngineError("No memory."), 1), (DecodeError("It is damaged."), 3)])
def test_one_question_that_fails_costs_the_others_nothing(
    tmp_path: Path, models: Path, studies: Path, monkeypatch: pytest.MonkeyPatch, error: Any, code: int
) -> None:
    real, failed = fakes.FakeEngine.run, []

    def fail_once(self: Any, *args: Any, **options: Any) -> Any:
        if not failed:
            failed.append(1)
            raise error
        return real(self, *args, **options)

    monkeypatch.setattr(fakes.FakeEngine, "run", fail_once)
    assert main(words(tmp_path, models, studies)) == code
    counts = read(tmp_path / "out" / "summary.json")["counts"]
    assert (counts["answer"], counts["failed"]) == (1, 1)
    assert len(results(tmp_path / "out")) == 1
    assert main(words(tmp_path, models, studies)) == 0  # what failed is asked again, and nothing else
    assert questions_asked() == 2
    assert len(results(tmp_path / "out")) == 2


def test_a_worker_that_always_dies_on_one_image_stops_no_other(
    tmp_path: Path, models: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = fakes.FakeEngine.run, []

    def die(self: Any, model_id: str, inputs: Any, **options: Any) -> Any:
        tries.append(1)
        if len(tries) <= batch.ATTEMPTS:
            raise WorkerDiedError("The process ended; try again.")
        return real(self, model_id, inputs, **options)

    monkeypatch.setattr(fakes.FakeEngine, "run", die)
    assert main(words(tmp_path, models, studies)) == 1
    counts = read(tmp_path / "out" / "summary.json")["counts"]
    assert (counts["answer"], counts["failed"]) == (1, 1)


def test_an_abstention_is_4_and_is_not_asked_again(tmp_path: Path, models: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    cut = make_radiograph(folder / "a.dcm").path
    cut.write_bytes(cut.read_bytes()[:-3000])  # of the right kind, but its pixels are not all there
    make_radiograph(folder / "b.dcm")
    for _ in range(2):
        assert main(words(tmp_path, models, folder)) == 4
    counts = read(tmp_path / "out" / "summary.json")["counts"]
    assert (counts["answer"], counts["abstained"]) == (1, 1)
    assert questions_asked() == 1


def test_a_file_that_is_refused_is_3_and_the_rest_is_done(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (studies / "bad.dcm").write_bytes(b"no DICOM at all" * 100)
    assert main(words(tmp_path, models, studies)) == 3
    assert f"{studies / 'bad.dcm'}: " in capsys.readouterr().err
    assert len(results(tmp_path / "out")) == 2


def test_where_nothing_suits_nothing_is_written(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_slices(tmp_path / "ct", 3)
    assert main(words(tmp_path, models, tmp_path / "ct")) == 3
    assert "No image suits the model. 3 images: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_are_never_analysed_themselves(tmp_path: Path, models: Path, studies: Path) -> None:
    """The folder of results may lie among the images; its captures are pictures of films, and would look like some."""
    words_ = words(tmp_path, models, tmp_path)
    main(words_)
    assert list((tmp_path / "out").glob("study-*/*/capture.sc.dcm"))
    asked, before = questions_asked(), read(tmp_path / "out" / "summary.json")
    main(words_)
    assert questions_asked() == asked
    assert read(tmp_path / "out" / "summary.json") == before  # nor named among what was not asked


def test_two_files_that_say_they_are_one_image_have_two_results(tmp_path: Path, models: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, rows in (("a.dcm", 96), ("b.dcm", 100)):
        make_radiograph(folder / name, rows=rows, StudyInstanceUID="1.2.3", SOPInstanceUID="1.2.3.4")
    main(words(tmp_path, models, folder))
    summary = read(tmp_path / "out" / "summary.json")
    names = [row["result"] for row in summary["studies"][0]["results"]]
    assert len(names) == len(set(names))


def test_two_at_once_do_not_write_to_one_folder(
    tmp_path: Path, models: Path, studies: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, codes = fakes.FakeEngine.run, []

    def run(self: Any, *args: Any, **options: Any) -> Any:
        if not codes:
            codes.append(None)
            codes[0] = main(words(tmp_path, models, studies))
        return real(self, *args, **options)

    monkeypatch.setattr(fakes.FakeEngine, "run", run)
    assert main(words(tmp_path, models, studies)) == 0
    assert codes == [2]
    assert "Another analysis is writing to out" in capsys.readouterr().err


def test_a_frame_is_chosen_of_one_file_only(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, models, studies, more=("--frame", "0"))) == 2
    assert "--frame chooses an image of one file" in capsys.readouterr().err


def test_json_prints_the_summary(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, models, studies, more=("--json",))) == 0
    assert json.loads(capsys.readouterr().out) == read(tmp_path / "out" / "summary.json")


def test_a_cell_never_begins_a_formula(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("=1+1").mkdir()
    make_radiograph(Path("=1+1/a.dcm"))
    assert main(words(tmp_path, models, Path("=1+1"))) == 0
    with (tmp_path / "out" / "sources.csv").open(encoding="utf-8-sig", newline="") as file:
        [row] = csv.DictReader(file)
    assert row["path"] == "'=1+1/a.dcm"


@pytest.mark.reliability
def test_killed_between_a_result_and_its_line_in_the_journal_it_is_not_asked_again(
    tmp_path: Path, models: Path, studies: Path
) -> None:
    main(words(tmp_path, models, studies))
    journal = tmp_path / "out" / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))
    before = results(tmp_path / "out")
    assert main(words(tmp_path, models, studies)) == 0
    assert (questions_asked(), results(tmp_path / "out")) == (2, before)
    assert json.loads(journal.read_bytes().splitlines()[-1]) == json.loads(lines[-1])


def test_what_a_killed_call_left_half_made_is_cleared_away(tmp_path: Path, models: Path, studies: Path) -> None:
    main(words(tmp_path, models, studies))
    [result] = (tmp_path / "out" / name_of("1.2.1")).glob("*/result.json")
    result.unlink()
    half = result.parent / ".medviewer-abcdef"
    half.mkdir()
    (half / "finding.sr.dcm").write_bytes(b"half")
    main(words(tmp_path, models, studies))
    assert result.exists()
    assert not half.exists()


@pytest.mark.reliability
def test_what_a_kill_left_of_an_old_result_goes_although_no_list_names_it(
    tmp_path: Path, models: Path, studies: Path
) -> None:
    main(words(tmp_path, models, studies))
    [result] = (tmp_path / "out" / name_of("1.2.1")).glob("*/result.json")
    result.unlink()
    (result.parent / "outlines.seg.dcm").write_bytes(b"of a call that was killed while it took it away")
    (result.parent / "notes.txt").write_text("somebody's own")
    main(words(tmp_path, models, studies))
    own = {path.name for path in result.parent.iterdir()}
    assert own == {"result.json", "notes.txt", *read(result)["outputs"]}


@pytest.mark.reliability
@pytest.mark.parametrize("lost", ["result.json", "finding.sr.dcm"])
def test_a_result_that_is_not_whole_is_made_again(tmp_path: Path, models: Path, studies: Path, lost: str) -> None:
    main(words(tmp_path, models, studies))
    for path in (tmp_path / "out" / name_of("1.2.1")).glob(f"*/{lost}"):
        path.unlink()
    main(words(tmp_path, models, studies))
    assert questions_asked() == 3
    assert len(list((tmp_path / "out").glob(f"study-*/*/{lost}"))) == 2


def test_the_time_left_is_the_median_times_what_is_left() -> None:
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    assert pace.left_s(10) is None
    for lasted in (1.0, 100.0, 3.0):  # one image that took long does not make the others long
        pace.start()
        now[0] += lasted
        pace.stop()
    assert pace.left_s(10) == 30.0


@pytest.mark.reliability
def test_an_earlier_answer_of_an_image_that_is_refused_by_now_is_taken_away(
    tmp_path: Path, models: Path, studies: Path
) -> None:
    """It would stand beside the sentence that the model is not for that view."""
    assert main(words(tmp_path, models, studies)) == 0
    uids = {"StudyInstanceUID": "1.2.2", "SOPInstanceUID": "1.2.2.1", "PatientName": NAME, "PatientID": NUMBER}
    make_radiograph(studies / "canary-b.dcm", ViewPosition="LL", PatientBirthDate="20200101", **uids)
    before = {path.parent for path in (tmp_path / "out").glob("study-*/*/result.json")}
    [mine] = [path for path in before if (path / "finding.sr.dcm").is_file() and "1.2.2.1" in _uids(path)]
    (mine / "notes.txt").write_text("somebody's own")
    assert main(words(tmp_path, models, studies)) == 0
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    document = json.loads((mine.parent / "result.json").read_bytes())
    assert document["results"] == []
    assert sum(one["images"] for one in document["not_asked"]) == 2
    assert before - {mine} == {path.parent for path in (tmp_path / "out").glob("study-*/*/result.json")}


@pytest.mark.reliability
def test_earlier_answers_are_taken_away_also_where_every_image_is_refused_by_now(
    tmp_path: Path, models: Path, studies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, models, studies)) == 0
    assert results(tmp_path / "out")
    document = read(models / fakes.MODEL_ID / "model.json")
    document["inputs"][0]["view"] = ["LATERAL"]
    fakes.write_card(models / fakes.MODEL_ID, document)
    capsys.readouterr()
    assert main(words(tmp_path, models, studies)) == 3
    assert "No image suits the model." in capsys.readouterr().err
    assert results(tmp_path / "out") == {}
    summary = read(tmp_path / "out" / "summary.json")
    assert summary["counts"]["questions"] == 0
    assert summary["counts"]["studies"] == 3
    assert [read(path)["results"] for path in (tmp_path / "out").glob("study-*/result.json")] == [[], [], []]


def test_another_version_of_the_program_asks_again(
    tmp_path: Path, models: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It checks, prepares and says things in another way: what an earlier one said is not what it would say."""
    main(words(tmp_path, models, studies))
    asked = questions_asked()
    monkeypatch.setattr("medviewer.app.batch_plan.__version__", "999.0")
    main(words(tmp_path, models, studies))
    assert questions_asked() == 2 * asked
    main(words(tmp_path, models, studies))
    assert questions_asked() == 2 * asked


def _uids(folder: Path) -> set[str]:
    evidence = pydicom.dcmread(folder / "finding.sr.dcm").CurrentRequestedProcedureEvidenceSequence[0]
    return {one.ReferencedSOPInstanceUID for s in evidence.ReferencedSeriesSequence for one in s.ReferencedSOPSequence}

from __future__ import annotations

from pathlib import Path

import pytest

from medviewer.app.batch_plan import BatchPlan, plan_batch
from medviewer.imaging.scan import scan
from medviewer.inference.card import read_card
from tests import fakes
from tests.answers import make_radiograph


@pytest.mark.reliability
def test_studies_of_two_patients_with_one_uid_are_two(tmp_path: Path) -> None:
    """In one folder the findings of one would be told as the other's."""
    card = read_card(fakes.make_model(tmp_path / "model"))
    for name in ("ann", "ann-2", "bert"):
        number = name.partition("-")[0]
        make_radiograph(tmp_path / f"{name}.dcm", StudyInstanceUID="1.2.3", PatientID=number, PatientName=number)

    def planned(*names: str) -> BatchPlan:
        return plan_batch(scan([tmp_path / f"{name}.dcm" for name in names]), [card], (), tmp_path / "out")

    both = planned("ann", "ann-2", "bert")
    owners = {(one.study, one.selection.patient.patient_id) for one in both.questions}
    assert len(owners) == len(both.studies) == 2
    assert planned("bert", "ann", "ann-2").studies in (both.studies, both.studies[::-1])
    alone = planned("ann", "ann-2")
    assert len(alone.studies) == 1
    assert alone.studies[0] not in both.studies  # what lies there may be of either


@pytest.mark.reliability
def test_a_question_is_another_one_once_another_file_says_something_of_its_image(tmp_path: Path) -> None:
    """Its earlier answer was given before anybody could doubt whose image it is, or knew how old the patient is."""
    card = read_card(fakes.make_model(tmp_path / "model"))
    uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4", "SOPInstanceUID": "1.2.5"}
    (tmp_path / "in").mkdir()
    path = make_radiograph(tmp_path / "in" / "a.dcm", PatientBirthDate="", **uids).path

    def stamp() -> str:
        plan = plan_batch(scan([tmp_path / "in"]), [card], (), tmp_path / "out")
        [question] = [one for one in plan.questions if one.selection.image.path == path]
        return question.stamp

    alone = stamp()
    assert stamp() == alone
    other = make_radiograph(tmp_path / "in" / "b.dcm", PatientBirthDate="", ViewPosition="AP", **uids).path
    assert stamp() != alone
    other.unlink()
    assert stamp() == alone
    make_radiograph(other, PatientBirthDate="20200101", **(uids | {"SOPInstanceUID": "1.2.6"}))
    assert stamp() != alone

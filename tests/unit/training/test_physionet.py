"""Stays of the challenge, in the layouts in which it is published, and what can be wrong with them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from medviewer.domain.errors import InputError
from medviewer.training.physionet import find_sets, read_stay, read_stays

HEAD = "Time,Parameter,Value\n00:00,RecordID,{id}\n00:00,Age,54\n00:00,Gender,0\n00:00,Height,-1\n00:00,Weight,-1\n"
OUTCOMES = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"


def stay(record_id: int, lines: str = "00:07,HR,73\n") -> bytes:
    return (HEAD.format(id=record_id) + lines).encode()


def write_set(root: Path, letter: str = "a", *, died: dict[int, str] | None = None, zipped: bool = False) -> Path:
    files = {f"{key}.txt": stay(key) for key in (132540, 132539)}
    if zipped:
        path = root / f"set-{letter}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(f"set-{letter}/{name}", content)
    else:
        path = root / f"set-{letter}"
        path.mkdir(parents=True)
        for name, content in files.items():
            (path / name).write_bytes(content)
    rows = {132539: "0", 132540: "1"} if died is None else died
    lines = "".join(f"{key},6,1,5,-1,{value}\n" for key, value in rows.items())
    (root / f"Outcomes-{letter}.txt").write_text(OUTCOMES + lines)
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_a_set_is_read_as_published(tmp_path: Path, zipped: bool) -> None:
    found = read_stays(write_set(tmp_path, zipped=zipped))
    assert [(one.record_id, one.died) for one in found.stays] == [(132539, False), (132540, True)]
    assert found.stays[0].descriptors == {"Age": 54, "Gender": 0}  # -1 is no height
    assert found.stays[0].observations == ((7 / 60, "HR", 73.0),)
    assert found.unusable == ()


def test_folder_and_archive_are_the_same_data(tmp_path: Path) -> None:
    (tmp_path / "zip").mkdir()
    folder, archive = read_stays(write_set(tmp_path / "dir")), read_stays(write_set(tmp_path / "zip", zipped=True))
    assert folder.stays == archive.stays
    assert folder.digest == archive.digest


def test_another_value_is_another_digest(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    before = read_stays(path).digest
    (path / "132539.txt").write_bytes(stay(132539, "00:07,HR,74\n"))
    assert read_stays(path).digest != before


def test_sets_are_found_by_letter(tmp_path: Path) -> None:
    paths = {"a": write_set(tmp_path, "a"), "b": write_set(tmp_path, "b", zipped=True)}
    assert find_sets(tmp_path) == paths


def test_a_folder_without_sets_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected set-a"):
        find_sets(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        find_sets(tmp_path / "none")


def test_a_later_weight_is_an_observation_and_the_first_a_descriptor() -> None:
    found = read_stay("1.txt", stay(1, "03:10,Weight,80.5\n").replace(b"Weight,-1", b"Weight,79"))
    assert found.descriptors["Weight"] == 79
    assert found.observations == ((pytest.approx(3 + 10 / 60), "Weight", 80.5),)


def test_what_is_missing_or_without_a_name_is_no_observation() -> None:
    assert read_stay("1.txt", stay(1, "01:00,HR,-1\n01:00,,12\n")).observations == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "first line"),
        (b"", "first line"),
        (stay(1, "00:61,HR,7\n"), "line 7"),
        (stay(1, "00:07,HR,nan\n"), "line 7"),
        (stay(1, "00:07,HR\n"), "line 7"),
        (stay(2), "the stay 2"),
    ],
)
def test_a_bad_file_is_named_and_the_rest_is_read(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write_set(tmp_path, died={132539: "0", 132540: "1", 1: "0"})
    (path / "1.txt").write_bytes(content)
    found = read_stays(path)
    assert [one.record_id for one in found.stays] == [132539, 132540]
    ((name, why),) = found.unusable
    assert name == "1.txt"
    assert reason in why


@pytest.mark.parametrize(
    ("died", "reason"),
    [
        ({132539: "0"}, "no outcome for the stay 132540"),
        ({132539: "0", 132540: "1", 5: "1"}, "the stay 5, which is not in the set"),
        ({132539: "0", 132540: "2"}, "expected 0 or 1"),
    ],
)
def test_outcomes_that_do_not_fit_are_refused(tmp_path: Path, died: dict[int, str], reason: str) -> None:
    path = write_set(tmp_path, died=died)
    with pytest.raises(InputError, match=reason):
        read_stays(path)


def test_an_outcome_given_twice_is_refused(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    table = tmp_path / "Outcomes-a.txt"
    table.write_text(table.read_text() + "132539,6,1,5,-1,1\n")
    with pytest.raises(InputError, match="twice"):
        read_stays(path)


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    (tmp_path / "Outcomes-a.txt").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="RecordID and In-hospital_death"):
        read_stays(path)


def test_without_outcomes_nothing_is_made_up(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    (tmp_path / "Outcomes-a.txt").unlink()
    assert [one.died for one in read_stays(path).stays] == [None, None]


def test_an_archive_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set-a.zip").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_stays(tmp_path / "set-a.zip")


def test_a_file_beyond_all_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_set(tmp_path)
    monkeypatch.setattr("medviewer.training.physionet._MAX_STAY_BYTES", 20)
    with pytest.raises(InputError, match="larger than any stay"):
        read_stays(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_more_stays_than_a_set_may_hold_are_refused_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    path = write_set(tmp_path, zipped=zipped)
    monkeypatch.setattr("medviewer.training.physionet._MAX_STAYS", 2)
    assert len(read_stays(path).stays) == 2
    monkeypatch.setattr("medviewer.training.physionet._MAX_STAYS", 1)
    with pytest.raises(InputError, match="holds 2 stays, and a set 1 at most"):
        read_stays(path)

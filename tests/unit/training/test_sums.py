"""Data whose sums lie beside them are read only if they are those."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from medviewer.domain.errors import InputError
from medviewer.training import report_data, train
from medviewer.training.evaluate import evaluate
from medviewer.training.sums import FILE, check_sums
from tests.survival_maker import make_patients, write_csv


def write_sums(folder: Path, *names: str, sign: str = " ") -> Path:
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()} {sign}{name}\n" for name in names]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")
    return folder / FILE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "NORMAL").mkdir()
    (tmp_path / "NORMAL" / "a film.png").write_bytes(b"film")
    (tmp_path / "table.csv").write_bytes(b"file,label\n")
    return tmp_path


def test_without_sums_nothing_is_compared(folder: Path) -> None:
    assert check_sums(folder) == 0
    assert check_sums(folder / "table.csv") == 0


@pytest.mark.parametrize("sign", [" ", "*"])
def test_files_as_they_were_pass(folder: Path, sign: str) -> None:
    write_sums(folder, "NORMAL/a film.png", "table.csv", sign=sign)
    assert check_sums(folder) == 2
    assert check_sums(folder / "table.csv") == 2  # of a file: those that lie beside it


def test_names_with_a_backslash_are_read_as_they_are_written(folder: Path) -> None:
    (folder / "a\\b").write_bytes(b"odd")
    digest = hashlib.sha256(b"odd").hexdigest()
    (folder / FILE).write_text(f"\\{digest.upper()}  a\\\\b\n\n", encoding="utf-8")
    assert check_sums(folder) == 1


def test_the_list_itself_among_the_files_is_passed_over(folder: Path) -> None:
    sums = write_sums(folder, "table.csv")
    sums.write_text(f"{'0' * 64}  {FILE}\n{sums.read_text(encoding='utf-8')}{'0' * 64}  ./{FILE}\n", encoding="utf-8")
    assert check_sums(folder) == 1


def test_the_first_that_differs_is_named(folder: Path) -> None:
    write_sums(folder, "NORMAL/a film.png", "table.csv")
    (folder / "table.csv").write_bytes(b"file,Label\n")
    with pytest.raises(InputError, match=r"^table.csv is not the file that .*SHA256SUMS names.*get it again\.$"):
        check_sums(folder)


def test_one_that_is_missing_is_named(folder: Path) -> None:
    write_sums(folder, "NORMAL/a film.png", "table.csv")
    (folder / "NORMAL" / "a film.png").unlink()
    with pytest.raises(
        InputError, match=r"^NORMAL/a film.png is named in .*SHA256SUMS, but is not there; get it again"
    ):
        check_sums(folder)


def test_what_is_no_list_of_sums_is_refused(folder: Path) -> None:
    sums = write_sums(folder, "table.csv")
    sums.write_text(f"{sums.read_text(encoding='utf-8')}table.csv\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"^Line 2 of .*SHA256SUMS is not as sha256sum writes it"):
        check_sums(folder)
    (folder / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read; make it again"):
        check_sums(folder)
    for empty in ("", "\n", f"{'0' * 64}  {FILE}\n"):  # as sha256sum leaves it where there are folders alone
        (folder / FILE).write_text(empty, encoding="utf-8")
        with pytest.raises(InputError, match="SHA256SUMS names no file; make it again"):
            check_sums(folder)
    (folder / FILE).write_text(f"{'0' * 64}  a\0b\n", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        check_sums(folder)
    (folder / FILE).write_text(f"{'0' * 64}  NORMAL\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"NORMAL cannot be read \(Is a directory\)"):
        check_sums(folder)


@pytest.mark.torch
def test_nothing_is_learned_from_a_damaged_file_or_said_of_it(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "hearts.csv", make_patients(80))
    write_sums(tmp_path, "hearts.csv")
    report = report_data("survival", table, tmp_path / "report", {})
    assert report["is_published"] is False
    assert report["origin"].endswith("the card will say that it is of your own data.")
    assert report["origin"] in (tmp_path / "report" / "data.html").read_text(encoding="utf-8")
    told: list[str] = []
    made = train("survival", table, tmp_path / "out", {"epochs": "1", "n_folds": "3", "n_repeats": "1"}, told.append)
    assert told[0] == "files that are as SHA256SUMS says: 1"
    assert report["origin"] in told
    write_csv(table, make_patients(79))
    with pytest.raises(InputError, match=r"hearts.csv is not the file"):
        report_data("survival", table, tmp_path / "report", {})
    with pytest.raises(InputError, match=r"hearts.csv is not the file"):
        train("survival", table, tmp_path / "again", {}, told.append)
    assert not (tmp_path / "again").exists()
    with pytest.raises(InputError, match=r"hearts.csv is not the file"):
        evaluate(made, table, tmp_path / "judged")
    assert not (tmp_path / "judged").exists()

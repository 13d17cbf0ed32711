"""ZIP archives: their files are seen like others, and nothing they claim or are called does harm."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medviewer.domain.errors import Stopped
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Collection
from medviewer.imaging import archive as module
from medviewer.imaging.decode import read_frame
from medviewer.imaging.derived_object import read_header
from medviewer.imaging.scan import images_of, scan
from tests.dicom_maker import make_dataset, write_dataset


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, empty, so that what is left in it shows."""
    folder = tmp_path_factory.mktemp("system")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def dicom(folder: Path, value: int = 1) -> bytes:
    return write_dataset(folder / "made.tmp", make_dataset(np.full((8, 8), value, np.uint16))).read_bytes()


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def reasons(collection: Collection, folder: Path) -> dict[str, str]:
    return {str(problem.path.relative_to(folder)): problem.reason for problem in collection.problems}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    members = {f"study/{n}.dcm": dicom(tmp_path, n) for n in (1, 2)}
    (tmp_path / "made.tmp").unlink()
    return write_zip(tmp_path / "study.zip", {"study/": b"", **members, "notes.txt": b"no image"})


def test_members_are_shown_under_the_name_of_their_archive(study: Path, temporary: Path) -> None:
    collection = scan([study.parent])
    assert list(collection.shown) == [study / "study/1.dcm", study / "study/2.dcm"]
    assert list(reasons(collection, study)) == ["notes.txt"]
    images = list(images_of(collection))
    assert [image.path for image in images] == list(collection.shown)
    assert [int(read_frame(image).stored[0, 0]) for image in images] == [1, 2]
    assert read_header(images[0]).SOPInstanceUID == images[0].sop_instance_uid
    collection.release()


@pytest.mark.skipif(sys.platform == "win32", reason="rights of another kind")
def test_what_is_unpacked_is_private_has_our_names_and_goes_when_released(study: Path, temporary: Path) -> None:
    collection = scan([study])
    (folder,) = temporary.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == ["000001", "000002"]  # the note is not kept
    collection.release()
    collection.release()
    assert list(temporary.iterdir()) == []
    assert study.exists()


def test_what_is_unpacked_goes_when_the_program_ends(study: Path, temporary: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from medviewer.imaging.scan import scan\n"
        "assert scan([Path(sys.argv[1])]).shown\n"
        "print(len(list(Path(sys.argv[2]).iterdir())))"
    )
    environment = {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary)}
    result = subprocess.run(
        [sys.executable, "-c", code, study, temporary], env=environment, check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "1"
    assert list(temporary.iterdir()) == []


def test_a_stopped_scan_leaves_nothing(study: Path, temporary: Path) -> None:
    stop = StopToken()
    with pytest.raises(Stopped):
        scan([study], stop=stop, progress=lambda *_step: stop.stop())
    assert list(temporary.iterdir()) == []


def test_a_stopped_scan_keeps_what_is_shown_until_it_is_released(study: Path, temporary: Path) -> None:
    stop = StopToken()
    told: list[Collection] = []

    def found(collection: Collection) -> None:
        told.append(collection)
        stop.stop()

    with pytest.raises(Stopped):
        scan([study], stop=stop, on_found=found)
    read_frame(next(images_of(told[0])))
    told[0].release()
    assert list(temporary.iterdir()) == []


def test_an_archive_is_known_by_its_first_bytes_and_documents_are_none(study: Path) -> None:
    study.rename(study.with_name("IMAGES"))
    document = write_zip(study.with_name("letter.docx"), {"word/document.xml": b"<w/>"})
    collection = scan([study.parent])
    assert len(collection.shown) == 2
    assert "packed as a ZIP" in reasons(collection, study.parent)[document.name]
    collection.release()


def test_members_never_lead_out_of_the_folder(tmp_path: Path, temporary: Path) -> None:
    data = dicom(tmp_path)
    names = ["../../escape.dcm", "a/../../b.dcm", "..\\back.dcm", "/absolute.dcm", "C:\\drive.dcm"]
    path = write_zip(tmp_path / "x.zip", dict.fromkeys(names, data))
    before = sorted(tmp_path.rglob("*"))
    collection = scan([path])
    assert sum("leads out" in reason for reason in reasons(collection, tmp_path).values()) == 3
    assert [str(shown.relative_to(path)) for shown in collection.shown] == ["absolute.dcm"]
    assert "exact copy" in reasons(collection, path)["C:/drive.dcm"]
    assert sorted(tmp_path.rglob("*")) == before
    assert len([one for one in temporary.rglob("*") if one.is_file()]) == 1
    collection.release()


def test_two_members_of_one_name_are_both_shown(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a (2)", dicom(tmp_path, 5))
        for value in (1, 2, 3):
            archive.writestr("a", dicom(tmp_path, value))
    collection = scan([tmp_path / "x.zip"])
    assert len(set(collection.shown)) == 4
    assert sorted(int(read_frame(image).stored[0, 0]) for image in images_of(collection)) == [1, 2, 3, 5]
    collection.release()


def test_one_archive_in_another_is_opened_and_no_deeper(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "i.zip", {"b.dcm": dicom(tmp_path, 2)}).read_bytes()
    deeper = write_zip(tmp_path / "d.zip", {"inner.zip": inner}).read_bytes()
    path = write_zip(tmp_path / "x.zip", {"a.dcm": dicom(tmp_path, 1), "inner.zip": inner, "deep.zip": deeper})
    collection = scan([path])
    assert [str(shown.relative_to(path)) for shown in collection.shown] == ["a.dcm", "inner.zip/b.dcm"]
    assert list(reasons(collection, path)) == ["deep.zip/inner.zip"]
    assert "only one archive in another" in reasons(collection, path)["deep.zip/inner.zip"]
    collection.release()


def test_links_and_encrypted_and_oddly_packed_members_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("packed", dicom(tmp_path), zipfile.ZIP_BZIP2)
        archive.writestr("locked", dicom(tmp_path))
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # say of the last member that it is encrypted
        at = data.rfind(signature) + flags
        data[at] |= 1
    path.write_bytes(data)
    found = reasons(scan([path]), path)
    assert "A link" in found["link"]
    assert "Packed in a way" in found["packed"]
    assert "Encrypted" in found["locked"]


def test_a_member_whose_claimed_size_lies_is_damaged(tmp_path: Path, temporary: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a": bytes(10_000)})
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert "damaged inside" in reasons(scan([path]), path)["a"]
    assert [one for one in temporary.rglob("*") if one.is_file()] == []


@pytest.mark.parametrize("cut", [30, 100, -1])
def test_an_incomplete_archive_is_said(study: Path, cut: int) -> None:
    study.write_bytes(study.read_bytes()[:cut])
    collection = scan([study])
    assert "incomplete or damaged" in reasons(collection, study.parent)["study.zip"]
    assert len(collection.problems) == 1


def test_an_empty_archive_is_said(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {})
    assert "empty" in reasons(scan([path]), tmp_path)["x.zip"]


def zeros(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "abcdefgh":
            archive.writestr(name, bytes(10 * 2**20))
    return folder / "x.zip"


def nested_zeros(folder: Path) -> Path:
    """Harmless by the size of its own members, but not by that of theirs."""
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("zeros.zip", zeros(folder).read_bytes())
    return folder / "x.zip"


def many(folder: Path) -> Path:
    return write_zip(folder / "x.zip", {str(n): b"" for n in range(11)})


def overlapping(folder: Path) -> Path:
    """Every entry of the list leads to the same bytes, as in the archive of 42 kB that gives 5 GB."""
    data = write_zip(folder / "x.zip", {"a": os.urandom(2**20)}).read_bytes()
    at = data.rfind(b"PK\x01\x02")
    entry, end = data[at:-22], bytearray(data[-22:])
    struct.pack_into("<HHI", end, 8, 300, 300, 300 * len(entry))
    (folder / "x.zip").write_bytes(data[:at] + entry * 300 + end)
    return folder / "x.zip"


def long_list(folder: Path) -> Path:
    path = write_zip(folder / "x.zip", {"a": b"1"})
    data = path.read_bytes()
    at, end = data.rfind(b"PK\x01\x02"), bytearray(data[-22:])
    filler = bytes(2**20)
    struct.pack_into("<I", end, 12, len(data[at:-22]) + len(filler))
    path.write_bytes(data[:at] + data[at:-22] + filler + end)
    return path


@pytest.mark.parametrize(
    ("make", "limits", "sentence"),
    [
        (zeros, {}, "200 times its size"),
        (nested_zeros, {}, "200 times its size"),
        (overlapping, {"MAX_RATIO": 150}, "150 times its size"),
        (many, {"MAX_MEMBERS": 10}, "more than 10 files"),
        (zeros, {"MAX_TOTAL_BYTES": 2**20, "MAX_RATIO": 10**6}, "to more than 0 GB"),
        (long_list, {"MAX_DIRECTORY_BYTES": 2**20}, "larger than 1 MB"),
    ],
)
def test_a_bomb_is_one_sentence_that_names_the_limit(
    make: Callable[[Path], Path],
    limits: dict[str, int],
    sentence: str,
    tmp_path: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = make(tmp_path)
    for name, value in limits.items():
        monkeypatch.setattr(module, name, value)
    collection = scan([path])
    assert len(collection.problems) == 1
    assert sentence in collection.problems[0].reason
    assert sum(one.stat().st_size for one in temporary.rglob("*") if one.is_file()) == 0


def test_an_archive_that_does_not_fit_the_disk_is_not_begun(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medviewer.imaging.private_folder.PrivateFolder.free_bytes", lambda _self: 100)
    (problem,) = scan([study]).problems
    assert "has only 0 MB free" in problem.reason


def test_a_disk_that_fills_up_is_said_for_each_member(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        if mode == "xb":
            raise OSError(28, "No space left on device")
        return real(path, mode, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    collection = scan([study])
    assert len(collection.problems) == 3
    assert all("No space left" in problem.reason for problem in collection.problems)


def test_damage_anywhere_never_stops_the_scan(study: Path) -> None:
    rng = np.random.default_rng(3)
    whole = study.read_bytes()
    for _ in range(150):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] = int(rng.integers(256))
        study.write_bytes(data)
        collection = scan([study])
        assert all(problem.reason.endswith(".") for problem in collection.problems)
        assert not any("Unexpected" in problem.reason for problem in collection.problems)
        collection.release()

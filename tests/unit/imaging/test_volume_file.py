"""Volumes of nobody: alone, bounded, and refused where they are not what they say."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from medviewer.domain.errors import DecodeError, InputError, Stopped, TruncatedError
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Collection, Image
from medviewer.imaging import volume_file as module
from medviewer.imaging import volume_header
from medviewer.imaging.decode import read_frame
from medviewer.imaging.derived_object import read_header
from medviewer.imaging.display import to_display
from medviewer.imaging.scan import images_of, scan


def nifti(values: np.ndarray, *, order: str = "<", version: int = 1) -> bytes:
    """A NIfTI file of (slices, rows, columns), two millimetres apart, in RAS."""
    codes = {"u1": 2, "i2": 4, "f4": 16}
    dim = (3, *values.shape[::-1], 1, 1, 1, 1)
    srow = (2.0, 0, 0, -5.0, 0, 2.0, 0, 6.0, 0, 0, 2.0, 7.0)
    code = codes[values.dtype.str[1:]]
    if version == 1:
        head = bytearray(352)
        struct.pack_into(order + "i", head, 0, 348)
        struct.pack_into(order + "8h", head, 40, *dim)
        struct.pack_into(order + "hh", head, 70, code, 8 * values.dtype.itemsize)
        struct.pack_into(order + "8f", head, 76, 1, 2, 2, 2, 1, 1, 1, 1)
        struct.pack_into(order + "f", head, 108, 352)
        struct.pack_into(order + "h", head, 254, 1)
        struct.pack_into(order + "12f", head, 280, *srow)
        head[344:348] = b"n+1\0"
    else:
        head = bytearray(544)
        struct.pack_into(order + "i", head, 0, 540)
        head[4:12] = b"n+2\0\r\n\x1a\n"
        struct.pack_into(order + "hh", head, 12, code, 8 * values.dtype.itemsize)
        struct.pack_into(order + "8q", head, 16, *dim)
        struct.pack_into(order + "8d", head, 104, 1, 2, 2, 2, 1, 1, 1, 1)
        struct.pack_into(order + "q", head, 168, 544)
        struct.pack_into(order + "i", head, 348, 1)
        struct.pack_into(order + "12d", head, 400, *srow)
    return bytes(head) + values.astype(values.dtype.newbyteorder(order)).tobytes()


def nrrd(extra: str = "", data: bytes = bytes(16), **changes: str) -> bytes:
    fields = {"type": "int16", "dimension": "3", "sizes": "2 2 2", "encoding": "raw", "endian": "little"} | changes
    return ("NRRD0004\n" + "".join(f"{k}: {v}\n" for k, v in fields.items() if v) + extra + "\n").encode() + data


VALUES = np.arange(24, dtype=np.int16).reshape(4, 3, 2)


def images(path: Path) -> list[Image]:
    return list(images_of(scan([path])))


def reason(path: Path) -> str:
    (problem,) = scan([path]).problems
    return problem.reason


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_in_both_byte_orders(order: str, version: int, tmp_path: Path) -> None:
    (tmp_path / "v.nii").write_bytes(nifti(VALUES, order=order, version=version))
    found = images(tmp_path / "v.nii")
    assert [read_frame(image).stored.tolist() for image in found] == VALUES.tolist()
    plane = found[0].description.plane
    assert plane is not None
    assert plane.position == (5.0, -6.0, 7.0)
    assert plane.row_cosine == (-1.0, 0.0, 0.0)
    assert found[0].description.pixel_spacing_mm == (2.0, 2.0)


@pytest.mark.parametrize("offset", [0, 351])
@pytest.mark.parametrize("version", [1, 2])
def test_the_header_is_not_taken_for_voxels(offset: int, version: int, tmp_path: Path) -> None:
    data = bytearray(nifti(VALUES, version=version))
    struct.pack_into("<f" if version == 1 else "<q", data, 108 if version == 1 else 168, offset)
    (tmp_path / "v.nii").write_bytes(data)
    assert "begin inside" in reason(tmp_path / "v.nii")


def test_each_file_is_of_nobody_and_stays_alone(tmp_path: Path) -> None:
    for name in ("a.nii", "b.nii"):
        (tmp_path / name).write_bytes(nifti(VALUES))
    collection = scan([tmp_path])
    assert [(p.patient_id, p.name, len(p.studies)) for p in collection.patients] == [("", "", 1)] * 2
    for image in images_of(collection):
        assert "identity.none" in [caveat.code for caveat in image.warnings]
        assert image.description.modality == ""
        with pytest.raises(InputError, match="no DICOM object"):
            read_header(image)


def test_a_file_that_changed_is_not_shown_as_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "v.nii"
    path.write_bytes(nifti(VALUES))
    times = path.stat()
    image = images(path)[0]
    other = bytearray(nifti(VALUES))
    other[148:152] = b"Mike"  # the description
    path.write_bytes(other)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(InputError, match="has changed"):
        read_frame(image)
    path.write_bytes(b"no volume")
    with pytest.raises(InputError, match="has changed"):
        read_frame(image)


def test_an_inflated_volume_goes_when_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "system").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "system"))
    path = tmp_path / "v.nii.gz"
    path.write_bytes(gzip.compress(nifti(VALUES)) + gzip.compress(b"more"))
    collection = scan([path])
    image = list(images_of(collection))[-1]
    assert not [one for one in (tmp_path / "system").rglob("*") if one.is_file()]  # not before it is needed
    assert read_frame(image).stored.tolist() == VALUES[-1].tolist()
    (inflated,) = [one for one in (tmp_path / "system").rglob("*") if one.is_file()]
    assert inflated.stat().st_size == len(nifti(VALUES))
    collection.release()
    assert not list((tmp_path / "system").iterdir())
    with pytest.raises(InputError):
        read_frame(image)


def test_bombs_and_damage_in_a_compressed_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.nii.gz"
    noise = np.random.default_rng(2).integers(0, 99, (64, 64, 64)).astype(np.int16)
    whole = gzip.compress(nifti(noise))
    claims = bytearray(nifti(VALUES))
    struct.pack_into("<8h", claims, 40, 3, 1000, 1000, 100, 1, 1, 1, 1)
    path.write_bytes(gzip.compress(bytes(claims)))
    assert "1,100 times its compressed size" in reason(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DecodeError, match="damaged"):
        read_frame(images(path)[0])
    path.write_bytes(gzip.compress(nifti(noise)[:-10]))
    with pytest.raises(TruncatedError):
        read_frame(images(path)[-1])
    path.write_bytes(whole)
    image = images(path)[0]
    stop = StopToken()
    stop.stop()
    with pytest.raises(Stopped):
        module.read_slice(image, stop)
    assert image.scratch is not None
    assert not image.scratch.exists()
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: type("Free", (), {"free": 5})())
    with pytest.raises(InputError, match="MB free"):
        read_frame(image)


@pytest.mark.parametrize(("limit", "value"), [("MAX_VOLUME_BYTES", 10), ("MAX_FRAMES", 3), ("MAX_FRAME_BYTES", 5)])
def test_claimed_sizes_are_limited(limit: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v.nii").write_bytes(nifti(VALUES))
    monkeypatch.setattr(volume_header, limit, value)
    assert "the limits are" in reason(tmp_path / "v.nii")


def test_a_volume_that_is_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.nii").write_bytes(nifti(VALUES)[:-1])
    assert "ends before" in reason(tmp_path / "v.nii")


@pytest.mark.parametrize(
    ("srow", "code"),
    [
        ((float("nan"), 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0), "geometry.orientation"),
        ((0.0,) * 12, "geometry.orientation"),
        ((2.0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 2, 0), "geometry.orientation"),  # sheared in the plane
    ],
)
def test_a_place_that_makes_no_sense_is_not_used(srow: tuple[float, ...], code: str, tmp_path: Path) -> None:
    data = bytearray(nifti(VALUES))
    struct.pack_into("<12f", data, 280, *srow)
    (tmp_path / "v.nii").write_bytes(data)
    image = images(tmp_path / "v.nii")[0]
    assert code in [caveat.code for caveat in image.warnings]
    assert image.description.plane is None
    assert image.description.pixel_spacing_mm is None
    assert image.description.no_measuring_because


def test_two_places_are_said(tmp_path: Path) -> None:
    data = bytearray(nifti(VALUES))
    struct.pack_into("<h", data, 252, 1)
    struct.pack_into("<3f", data, 268, -50.0, 6.0, 7.0)
    (tmp_path / "v.nii").write_bytes(data)
    assert "geometry.two-places" in [caveat.code for caveat in images(tmp_path / "v.nii")[0].warnings]


def test_numbers_that_are_none_are_drawn(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 3, 2)
    values[0, 0, 0], values[0, 0, 1] = np.nan, np.inf
    (tmp_path / "v.nii").write_bytes(nifti(values))
    assert to_display(read_frame(images(tmp_path / "v.nii")[0])).shape == (3, 2)


@pytest.mark.parametrize(
    "name", ["../v.raw", "/etc/passwd", "sub/v.raw", "link.raw", "v.nhdr", "..", "gone.raw", "a%03d.raw"]
)
def test_voxels_are_looked_for_in_the_same_folder_only(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path / "v.raw", folder / "sub" / "v.raw"):
        place.write_bytes(bytes(16))
    (folder / "link.raw").symlink_to(tmp_path / "v.raw")
    (folder / "v.nhdr").write_bytes(nrrd(f"data file: {name}\n", b""))
    assert any(
        words in reason(folder / "v.nhdr") for words in ("outside its own folder", "not beside", "several files")
    )


def test_voxels_beside_the_header_are_read(tmp_path: Path) -> None:
    (tmp_path / "v.raw").write_bytes(b"1234" + np.arange(8, dtype=np.int16).tobytes())
    for skip in ("4", "-1"):
        (tmp_path / "v.nhdr").write_bytes(nrrd(f"data file: v.raw\nbyte skip: {skip}\n", b""))
        assert read_frame(images(tmp_path / "v.nhdr")[1]).stored.tolist() == [[4, 5], [6, 7]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "long long int"}, "voxel type"),
        ({"encoding": "bzip2"}, "encoding"),
        ({"sizes": "2 2"}, ""),
        ({"sizes": "-2 2 2"}, "makes no sense"),
        ({"sizes": "a b c"}, "damaged"),
        ({"sizes": ""}, "damaged"),
        ({"endian": "middle"}, "damaged"),
        ({"line skip": "2"}, "line skip"),
        ({"sizes": "1 1 1 1 2"}, "number of dimensions"),
        ({"space directions": "none (1,0,0) (0,1,0)"}, "several values"),
        ({"space directions": "(1,0,0) none (0,1,0)"}, "several values"),
        ({"kinds": "RGBA-color domain domain"}, "several values"),
        ({"kinds": "RGB-color domain domain"}, "several values"),  # of which there are two
        ({"kinds": "vector domain domain domain", "sizes": "2 2 2 1"}, "several values"),
        ({"kinds": "time domain domain"}, "several values"),
        ({"kinds": "domain domain 2-vector"}, "several values"),
        ({"kinds": "domain domain time"}, ""),
        ({"kinds": "space space space list", "sizes": "2 2 1 2"}, ""),
        ({"kinds": "??? none space"}, ""),
        ({"kinds": "RGB-color domain domain", "sizes": "3 1 1"}, "colours of this type"),
        ({"kinds": "RGB-color domain domain", "sizes": "3 1 1", "type": "float"}, "colours of this type"),
        ({"kinds": "RGB-color domain domain", "sizes": "3 1 1", "type": "uint8"}, ""),
    ],
)
def test_what_an_nrrd_header_may_not_say_is_named(changes: dict[str, str], words: str, tmp_path: Path) -> None:
    (tmp_path / "v.nrrd").write_bytes(nrrd(**changes))
    collection = scan([tmp_path / "v.nrrd"])
    assert [words in problem.reason for problem in collection.problems] == ([True] if words else [])


AXES = "space: LPS\nspace directions: (0.5,0,0) (0,0.5,0) (0,0,0.5)\nspace origin: (4,0,0)\n"


@pytest.mark.reliability
@pytest.mark.parametrize(
    ("units", "unit_mm"),
    [
        ("", 1.0),
        ('"" "" ""', 1.0),
        ('"mm" "mm" "mm"', 1.0),
        ('"microns" "microns" "microns"', 0.001),
        ('"um" "\u00b5m" "micrometer"', 0.001),
        ('"cm" "cm" "cm"', 10.0),
        ('"m" "m" "m"', 1000.0),
        ('"mm" "mm" "um"', None),
        ('"inch" "inch" "inch"', None),
    ],
)
@pytest.mark.parametrize(
    "lines",
    [
        AXES + "space units: {}\n",
        AXES + "units: {}\n",
        "spacings: 0.5 0.5 0.5\nunits: {}\n",
        "space dimension: 3\nspace directions: (0.5,0,0) (0,0.5,0) (0,0,0.5)\nspace units: {}\n",
    ],
)
def test_lengths_are_in_the_unit_of_the_file(lines: str, units: str, unit_mm: float | None, tmp_path: Path) -> None:
    text = lines.format(units)
    head, _, body = nrrd().partition(b"\n\n")
    (tmp_path / "v.nrrd").write_bytes(head + b"\n" + text.encode() + b"\n" + body)
    image = images(tmp_path / "v.nrrd")[0]
    description = image.description
    assert ("geometry.unit" in [caveat.code for caveat in image.warnings]) is (unit_mm is None)
    if unit_mm is None:
        assert (description.pixel_spacing_mm, description.plane) == (None, None)
        return
    assert description.pixel_spacing_mm == pytest.approx((0.5 * unit_mm, 0.5 * unit_mm))
    if text.startswith("space: "):
        assert description.plane is not None
        assert description.plane.position[0] == pytest.approx(4 * unit_mm)


def test_damage_anywhere_never_stops_the_scan(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    space = "space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n"
    for name, whole in (("v.nii", nifti(VALUES)), ("w.nii", nifti(VALUES, version=2)), ("v.nrrd", nrrd(space))):
        for _ in range(150):
            data = bytearray(whole)
            for at in rng.integers(0, min(len(data), 352), 3):
                data[at] = int(rng.integers(256))
            (tmp_path / name).write_bytes(data)
            collection = scan([tmp_path / name])
            assert not any("Unexpected" in problem.reason for problem in collection.problems), bytes(data)
            show_all(collection)


def show_all(collection: Collection) -> None:
    for image in images_of(collection):
        try:
            to_display(read_frame(image))
        except InputError:
            continue

"""Every pixel that MedViewer decodes and shows equals what an independent reader gives."""

from __future__ import annotations

import logging
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing, pixel_array

from medviewer.domain.errors import InputError
from medviewer.domain.frame import Frame
from medviewer.domain.study import Image
from medviewer.imaging import decode, display
from medviewer.imaging.description import describe_images
from medviewer.imaging.header import read_header
from tests.reference.dicom_files import corpus_files, package_files

# pydicom follows the header here, MedViewer the code stream, and says so.
SIGN_DISAGREES = {"J2K_pixelrep_mismatch.dcm"}
# pydicom does not undo the byte order of an 8-bit palette written as big endian words; the little endian twin of each
# file, which it does read, is compared instead (test_big_endian_twins).
PALETTE_ORDER = {"OBXXXX1A_expb.dcm", "OBXXXX1A_expb_2frame.dcm"}


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    yield
    decode.shutdown()


@pytest.fixture(autouse=True)
def pydicom_may_warn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """pydicom warns about the oddities of its own test files, which is not our concern."""
    monkeypatch.setattr(logging.getLogger("pydicom"), "level", logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def first_images(paths: tuple[Path, ...]) -> Iterator[Image]:
    for path in paths:
        try:
            images = describe_images(read_header(path), path)
        except InputError:
            continue
        yield images[0]
        if len(images) > 1:
            yield images[-1]


def read_both(image: Image) -> tuple[Frame, np.ndarray, pydicom.Dataset] | None:
    """Our frame and pydicom's pixels; None where pydicom cannot read the file."""
    dataset = pydicom.dcmread(image.path, force=True)
    try:
        theirs = pixel_array(dataset, index=image.frame)
    except Exception:  # noqa: BLE001 - whatever the other reader says, it has nothing to compare with
        return None
    return decode.read_frame(image), theirs, dataset


def pydicom_display(stored: np.ndarray, dataset: pydicom.Dataset, frame: Frame) -> np.ndarray | None:
    """The same picture by pydicom's modality and VOI functions, as floats 0..255; None without a window or table."""
    dataset = flattened(dataset)
    values = apply_modality_lut(stored, dataset)
    if frame.description.windows:
        bits = dataset.BitsStored
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)
        if dataset.get("ModalityLUTSequence"):
            low, high = 0, 2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
        elif "RescaleSlope" in dataset:
            ends = (float(dataset.RescaleSlope) * end + float(dataset.RescaleIntercept) for end in (low, high))
            low, high = sorted(ends)
        shown = (np.asarray(apply_windowing(values, dataset), np.float64) - low) / (high - low)
    elif dataset.get("VOILUTSequence"):
        top = 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
        shown = np.asarray(apply_voi(values, dataset), np.float64) / top
    else:
        return None
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    return np.clip(shown, 0, 1) * 255


def flattened(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """An enhanced object's shared or first window and rescale where pydicom's functions look for them."""
    for sequence in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in dataset.get(sequence, [])[:1]:
            for name in ("FrameVOILUTSequence", "PixelValueTransformationSequence"):
                for item in group.get(name, []):
                    dataset.update(item)
    return dataset


def compare(paths: tuple[Path, ...]) -> tuple[int, int, list[str]]:
    """How many frames were compared as stored and as displayed, and what differs."""
    stored, displayed, wrong = 0, 0, []
    for image in first_images(paths):
        both = read_both(image)
        if both is None or image.path.name in SIGN_DISAGREES | PALETTE_ORDER:
            continue
        frame, theirs, dataset = both
        if frame.description.photometric_interpretation == "PALETTE COLOR":
            theirs = apply_color_lut(theirs, dataset)
            theirs = theirs >> 8 if theirs.dtype == np.uint16 else theirs
        stored += 1
        if theirs.shape != frame.stored.shape or not np.array_equal(theirs, frame.stored):
            wrong.append(f"{image.path.name} frame {image.frame}: stored values differ")
        shown = None if frame.is_color else pydicom_display(theirs, dataset, frame)
        if shown is not None:
            displayed += 1
            off = float(np.abs(display.to_display(frame) - shown)[~padded(frame)].max(initial=0))
            if off > 1:
                wrong.append(f"{image.path.name} frame {image.frame}: {off:.2f} grey levels off")
    return stored, displayed, wrong


def padded(frame: Frame) -> np.ndarray:
    """Where padding is, which other readers do not make black."""
    padding = frame.description.pixel_padding_range
    if padding is None or frame.is_color:
        return np.zeros(frame.stored.shape[:2], bool)
    return (frame.stored >= padding[0]) & (frame.stored <= padding[1])


def test_pixels_of_the_packages_equal_pydicoms() -> None:
    stored, displayed, wrong = compare(package_files())
    assert wrong == []
    assert stored >= 130
    assert displayed >= 20


@pytest.mark.slow
def test_pixels_of_the_corpus_equal_pydicoms() -> None:
    if not corpus_files():
        pytest.skip("no corpus: set MEDVIEWER_CORPUS")
    stored, displayed, wrong = compare(corpus_files())
    assert wrong == []
    assert stored >= 100
    assert displayed >= 40


def dcmtk_picture(path: Path, options: list[str], folder: Path) -> np.ndarray | None:
    """What DCMTK's dcm2pnm shows, or None where it cannot read the file."""
    out = folder / "out.pnm"
    done = subprocess.run(["dcm2pnm", "-O", *options, "+F", "1", str(path), str(out)], check=False, capture_output=True)
    if done.returncode != 0 or not out.is_file():
        return None
    data = out.read_bytes()
    out.unlink()
    kind, size, _, body = data.split(b"\n", 3) if data[2:3] == b"\n" else (b"", b"", b"", b"")
    columns, rows = (int(word) for word in size.split())
    picture = np.frombuffer(body, np.uint8, rows * columns * (3 if kind == b"P6" else 1))
    return picture.reshape((rows, columns, 3) if kind == b"P6" else (rows, columns))


@pytest.mark.skipif(which("dcm2pnm") is None, reason="DCMTK is not installed")
def test_pictures_equal_dcmtks(tmp_path: Path) -> None:
    wrong, compared = [], 0
    for image in first_images(package_files()):
        if image.frame or image.path.name in SIGN_DISAGREES:
            continue
        is_grey = image.description.samples_per_pixel == 1
        if is_grey and not image.description.windows:
            continue
        theirs = dcmtk_picture(image.path, ["+Wi", "1"] if is_grey else [], tmp_path)
        if theirs is None:
            continue
        try:
            frame = decode.read_frame(image)
        except InputError as error:
            wrong.append(f"{image.path.name}: {error}")
            continue
        ours = display.to_display(frame)
        compared += 1
        if ours.shape != theirs.shape:
            wrong.append(f"{image.path.name}: {ours.shape} for {theirs.shape}")
            continue
        off = np.abs(ours.astype(int) - theirs.astype(int))[~padded(frame)]
        # DCMTK converts YBR in integers; pydicom and MedViewer agree exactly on these files.
        if off.max(initial=0) > (2 if image.description.photometric_interpretation.startswith("YBR") else 1):
            wrong.append(f"{image.path.name}: {off.max()} grey levels, {100 * (off > 1).mean():.1f}% of pixels")
    assert wrong == []
    assert compared >= 45


def test_big_endian_twins() -> None:
    """The big endian copy of a palette image shows the same colours as the little endian one."""
    by_name = {path.name: path for path in package_files()}
    for name in PALETTE_ORDER:
        twin = by_name[name.replace("_expb", "")]
        pictures = [
            decode.read_frame(describe_images(read_header(path), path)[0]).stored for path in (by_name[name], twin)
        ]
        np.testing.assert_array_equal(*pictures)

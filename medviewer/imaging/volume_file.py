"""Volumes of research (NIfTI, NRRD) as images: a stack of slices for each volume, of nobody that is known.

Nothing in such a file says whose body it is or how it was made, so nothing is filled in:
no patient, no modality. A model that needs to know asks for confirmation.
"""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np

from medviewer.domain.errors import DecodeError, InputError, TooLargeError, TruncatedError
from medviewer.domain.frame import Frame
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Caveat, Image, PixelDescription, Plane
from medviewer.imaging.nifti import HEADER_BYTES, is_nifti, read_nifti
from medviewer.imaging.nrrd import MAX_HEADER_BYTES, is_nrrd, read_nrrd
from medviewer.imaging.volume_header import VolumeHeader, checked

NO_IDENTITY = Caveat("identity.none", "No patient data in this file: nobody can tell from it whose image this is.")
_CHUNK = 2**20
_inflating = Lock()


def read_volume_file(file: Path, shown: Path) -> VolumeHeader | None:
    """Give the header of a volume file, or None if it is none.

    Args:
        file: where it lies.
        shown: its name, of which only ``.gz`` counts.

    Raises:
        InputError: it is a volume, but cannot be used; the message says why.
    """
    with file.open("rb") as stream:
        head = stream.read(MAX_HEADER_BYTES)
    if is_nrrd(head):
        return checked(read_nrrd(head, file))
    is_gzip = head.startswith(b"\x1f\x8b") and shown.name.lower().endswith(".gz")
    if is_gzip:
        try:
            head = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, HEADER_BYTES)
        except zlib.error:
            return None
    return checked(read_nifti(head, file, is_gzip=is_gzip)) if is_nifti(head) else None


def describe_volume(header: VolumeHeader, image: Image) -> tuple[tuple[Image, ...], ...]:
    """Give the slices of each volume.

    Args:
        header: of the file.
        image: what all slices share: paths and stamp.
    """
    stacks = []
    common = _describe(header)
    for volume in range(header.volumes):
        slices = []
        for index in range(header.slices):
            plane = _plane(header.affine, index)
            description = replace(common, plane=plane)
            frame = volume * header.slices + index
            slices.append(replace(image, frame=frame, description=description, number_of_frames=header.frames))
        stacks.append(tuple(slices))
    return tuple(stacks)


def volume_image(header: VolumeHeader, file: Path, shown: Path) -> Image:
    """Give an image with all that the slices of a file share."""
    return Image(
        shown, 0, "", _describe(header), warnings=(NO_IDENTITY, *header.caveats), kind=header.kind,
        stamp=_stamp(header, file), unpacked=None if file == shown else file,
    )  # fmt: skip


def _describe(header: VolumeHeader) -> PixelDescription:
    spacing = header.spacing_mm
    if header.affine is not None:
        lengths = np.linalg.norm(header.affine[:3, :3], axis=0)
        spacing = (float(lengths[0]), float(lengths[1]), float(lengths[2]))
    return PixelDescription(
        modality="",
        rows=header.rows,
        columns=header.columns,
        samples_per_pixel=header.samples,
        photometric_interpretation="RGB" if header.samples == 3 else "MONOCHROME2",
        bits_stored=8 * header.dtype.itemsize,
        is_signed=header.dtype.kind != "u",
        rescale_slope=header.slope,
        rescale_intercept=header.intercept,
        pixel_spacing_mm=None if spacing is None else (spacing[1], spacing[0]),
        spacing_source=None if spacing is None else "patient plane",
        no_measuring_because="" if spacing is not None else "The file gives no usable voxel size.",
    )


def _plane(affine: np.ndarray | None, index: int) -> Plane | None:
    if affine is None:
        return None
    row, column = (affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in (0, 1))
    place = affine[:3, 3] + index * affine[:3, 2]
    return Plane(_triple(place), _triple(row), _triple(column))


def _triple(vector: np.ndarray) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])


def _stamp(header: VolumeHeader, file: Path) -> str:
    """What changes when another file lies at the path: there is no UID to compare."""
    times = [f"{status.st_size}:{status.st_mtime_ns}" for status in (file.stat(), header.data_file.stat())]
    with file.open("rb") as stream:
        return f"{':'.join(times)}:{zlib.crc32(stream.read(4096))}"


def read_slice(image: Image, stop: StopToken | None) -> Frame:
    """Read one slice; see :func:`medviewer.imaging.decode.read_frame`.

    Raises:
        InputError: the file is gone, changed, incomplete or damaged.
        Stopped: ``stop`` was used.
    """
    header = read_volume_file(image.file, image.path)
    if header is None or _stamp(header, image.file) != image.stamp:
        raise InputError("The file has changed since it was opened; open it again.")
    place = header.data_file if header.compressed_at is None else _inflated(header, image, stop)
    stored = np.empty(header.frame_bytes, np.uint8)
    with place.open("rb") as stream:
        stream.seek(header.offset + image.frame * header.frame_bytes)
        if stream.readinto(stored.data) != len(stored):
            raise TruncatedError("The file ends before this slice; it is incomplete, ask for it to be sent again.")
    values = stored.view(header.dtype)
    values = values.astype(header.dtype.newbyteorder("="), copy=False)
    shape = (header.rows, header.columns)
    values = values.reshape(*shape, 3) if header.samples == 3 else values.reshape(shape)
    values.setflags(write=False)
    return Frame(values, image.description, image.warnings)


def _inflated(header: VolumeHeader, image: Image, stop: StopToken | None) -> Path:
    """Give the file of the inflated bytes, which is written when the first slice is asked for."""
    if image.scratch is None:
        raise InputError("The study was closed; open it again.")
    with _inflating:
        if not image.scratch.exists():
            free = shutil.disk_usage(image.scratch.parent).free
            if header.end > free:
                raise TooLargeError(
                    f"Unpacking the volume takes {header.end / 2**20:,.0f} MB, and the disk has only "
                    f"{free / 2**20:,.0f} MB free; free some space and open it again."
                )
            part = image.scratch.with_suffix(".part")
            try:
                _inflate(header, part, stop)
                os.replace(part, image.scratch)
            finally:
                part.unlink(missing_ok=True)
    return image.scratch


def _inflate(header: VolumeHeader, target: Path, stop: StopToken | None) -> None:
    rest = header.end  # not a byte more than the header claims
    try:
        with header.data_file.open("rb") as packed, target.open("wb") as out:
            packed.seek(header.compressed_at or 0)
            with gzip.GzipFile(fileobj=packed, mode="rb") as source:
                while rest and (chunk := source.read(min(_CHUNK, rest))):
                    if stop is not None:
                        stop.raise_if_stopped()
                    out.write(chunk)
                    rest -= len(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DecodeError("The compressed voxels are damaged; ask for the file to be sent again.") from error
    if rest:
        raise TruncatedError("The file ends before its last voxels; it is incomplete, ask for it to be sent again.")

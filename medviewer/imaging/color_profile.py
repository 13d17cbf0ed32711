"""The colour profile of an image: where its file keeps it, and whether it is one that DICOM allows.

Source: PS3.3 C.11.15 (ICC Profile), C.8.12.5 (Optical Path; a frame names its own in the functional group Optical Path
Identification); ICC.1:2022 7.2 (profile header), 7.3 (tag table).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from medviewer.domain.study import Caveat
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.source import ByteSource

MAX_BYTES = 4 * 2**20  # the largest profiles of cameras and slide scanners in use have less than 1 MB
_HEADER_BYTES, _TAG_BYTES = 128, 12
_MAX_TAGS = 100  # more has none, and littleCMS refuses them
_CLASSES = (b"scnr", b"spac")  # input devices, and colour spaces without a device
_SPACES = (b"XYZ ", b"Lab ")  # into which it leads

DAMAGED = Caveat(
    "color.profile", "The file's colour profile is damaged, so it is not used: the colours are shown as sRGB."
)
NOT_TRIED = Caveat(
    "color.profile",
    "The file's colour profile could not be tried out, so it is not used: the colours are shown as sRGB.",
)
TOO_LARGE = Caveat(
    "color.profile", "The file's colour profile is larger than 4 MB, so it is not used: the colours are shown as sRGB."
)
OF_ANOTHER_KIND = Caveat(
    "color.profile",
    "The file's colour profile is not of an input device for RGB, so it is not used: the colours are shown as sRGB.",
)
AMBIGUOUS = Caveat(
    "color.profile",
    "The file has several colour profiles and does not say which one is this image's: the colours are shown as sRGB.",
)
ONLY_NAMED = Caveat(
    "color.profile",
    "The file names a colour space other than sRGB but holds no profile of it: the colours are shown as sRGB.",
)


class Found(NamedTuple):
    """A profile's bytes; None with what the reader must be told, and with nothing where the file has no profile."""

    data: bytes | None = None
    caveat: Caveat | None = None


def find_profile(dataset: DataSet, source: ByteSource, frame: int) -> Found:
    """Give the ICC profile of a colour image; it is yet to be tried out.

    Args:
        dataset: of the file.
        source: what its payloads point into.
        frame: 0-based.
    """
    if tags.ICC_PROFILE in dataset.payloads:
        return _read(dataset, source)
    paths = [path for path in dataset.items(tags.OPTICAL_PATH_SEQUENCE) if tags.ICC_PROFILE in path.payloads]
    if not paths:
        space = dataset.text(tags.COLOR_SPACE)
        return Found(caveat=ONLY_NAMED if space not in ("", "SRGB") else None)
    name = _optical_path(dataset, frame)
    named = [path for path in paths if name and path.text(tags.OPTICAL_PATH_IDENTIFIER) == name]
    found = {_read(path, source) for path in named or paths}
    return found.pop() if len(found) == 1 else Found(caveat=AMBIGUOUS)


def _optical_path(dataset: DataSet, frame: int) -> str:
    """The optical path that a frame was made with, by its functional groups; "" where they do not say it."""
    per_frame = dataset.items(tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
    own = per_frame[frame] if frame < len(per_frame) else DataSet()
    for groups in (own, dataset.item(tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE)):
        name = groups.item(tags.OPTICAL_PATH_IDENTIFICATION_SEQUENCE).text(tags.OPTICAL_PATH_IDENTIFIER)
        if name:
            return name
    return ""


def _read(holder: DataSet, source: ByteSource) -> Found:
    place = holder.payloads[tags.ICC_PROFILE]
    if place.length > MAX_BYTES:
        return Found(caveat=TOO_LARGE)
    data = source.at(place.offset, place.length)
    size = int.from_bytes(data[:4], "big")  # an odd one is padded
    fault = _fault(data[:size]) if len(data) >= size else DAMAGED
    return Found(data[:size]) if fault is None else Found(caveat=fault)


def _fault(data: bytes) -> Caveat | None:
    """What is wrong with a profile that can be told without reading more than its outline."""
    if len(data) < _HEADER_BYTES + 4 or data[36:40] != b"acsp":
        return DAMAGED
    if data[12:16] not in _CLASSES or data[16:20] != b"RGB " or data[20:24] not in _SPACES:
        return OF_ANOTHER_KIND
    (count,) = struct.unpack_from(">I", data, _HEADER_BYTES)
    first = _HEADER_BYTES + 4
    if not 0 < count <= _MAX_TAGS or first + count * _TAG_BYTES > len(data):
        return DAMAGED
    for at in range(first, first + count * _TAG_BYTES, _TAG_BYTES):
        offset, size = struct.unpack_from(">II", data, at + 4)
        if offset < first or offset + size > len(data):
            return DAMAGED
    return None

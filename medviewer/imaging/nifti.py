"""NIfTI-1 and NIfTI-2 headers: sizes, voxel type, and where the voxels lie in the patient.

NIfTI counts millimetres to the right, front and top (RAS), DICOM to the left, back and top
(LPS): two signs. Own code of one page instead of a library, because both libraries in use
read what a header claims before anybody can check it; both agree with it in the tests.

Source: NIfTI-1.1 (nifti1.h, R. Cox et al. 2003), NIfTI-2 (2011).
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medviewer.domain.errors import InputError, UnsupportedError
from medviewer.domain.study import Caveat
from medviewer.imaging.volume_header import VolumeHeader

HEADER_BYTES = 544
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 128: "u1", 256: "i1", 512: "u2", 768: "u4",
}  # fmt: skip
_RGB = 128
_OTHER_TYPES = {
    1: "1 bit", 32: "complex", 1024: "64-bit integer", 1280: "64-bit integer", 1536: "128-bit float",
    1792: "complex", 2048: "complex", 2304: "RGBA",
}  # fmt: skip
_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class _Fields(NamedTuple):
    """The fields of both versions that matter here, in one order."""

    dim: tuple[int, ...]
    datatype: int
    pixdim: tuple[float, ...]
    vox_offset: float
    slope: float
    intercept: float
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]  # b, c, d
    q_offset: tuple[float, ...]
    srow: tuple[float, ...]  # 3 x 4


def is_nifti(head: bytes) -> bool:
    """Whether a file that begins so is a NIfTI file with its voxels in it."""
    return head[344:348] == b"n+1\0" or _is_second(head)


def read_nifti(head: bytes, path: Path, *, is_gzip: bool) -> VolumeHeader:
    """Give what the header says.

    Args:
        head: the first ``HEADER_BYTES`` bytes, inflated.
        path: of the file.
        is_gzip: the file is compressed.

    Raises:
        UnsupportedError: a voxel type or number of dimensions that is not shown; names it.
        InputError: it is damaged.
    """
    try:
        fields, order = _fields(head)
    except struct.error as error:
        raise InputError("The NIfTI header is damaged; ask for the file to be sent again.") from error
    count = fields.dim[0]
    sizes = [*fields.dim[1 : 1 + count], *[1] * 7][:7]
    if not 2 <= count <= 7:
        raise InputError("The NIfTI header is damaged; ask for the file to be sent again.")
    if any(size > 1 for size in sizes[4:]):
        raise UnsupportedError("NIfTI files of more than four dimensions are not supported; save it with four.")
    if fields.datatype not in _TYPES:
        name = _OTHER_TYPES.get(fields.datatype, f"type {fields.datatype}")
        raise UnsupportedError(f"NIfTI voxels of the kind {name} are not supported; save it as 16-bit or float.")
    if 0 <= fields.vox_offset < _first_voxel(head):
        raise InputError("The NIfTI header says that its voxels begin inside it; ask for the file to be sent again.")
    caveats: list[Caveat] = []
    slope, intercept = _rescale(fields, caveats)
    scale = _UNITS_MM.get(fields.units & 7, 1.0)
    affine = _affine(fields, caveats)
    if affine is not None:
        affine = _TO_LPS @ np.diag([scale, scale, scale, 1.0]) @ affine
    spacing = tuple(abs(value) * scale for value in fields.pixdim[1:4])
    is_sane = all(math.isfinite(value) and value > 0 for value in spacing)
    return VolumeHeader(
        kind="NIfTI", columns=sizes[0], rows=sizes[1], slices=sizes[2], volumes=sizes[3],
        samples=3 if fields.datatype == _RGB else 1, dtype=np.dtype(order + _TYPES[fields.datatype]),
        affine=affine, spacing_mm=(spacing[0], spacing[1], spacing[2]) if is_sane else None,
        slope=slope, intercept=intercept, data_file=path, compressed_at=0 if is_gzip else None,
        offset=int(fields.vox_offset) if math.isfinite(fields.vox_offset) else -1, caveats=tuple(caveats),
    )  # fmt: skip


def _first_voxel(head: bytes) -> int:
    """Where voxels may begin: readers do not agree on what a smaller number means."""
    return 544 if _is_second(head) else 352


def _is_second(head: bytes) -> bool:
    return head[4:8] == b"n+2\0"


def _fields(head: bytes) -> tuple[_Fields, str]:
    is_second = _is_second(head)
    order = "<" if struct.unpack_from("<i", head)[0] == (540 if is_second else 348) else ">"

    def at(offset: int, form: str) -> tuple[Any, ...]:
        return struct.unpack_from(order + form, head, offset)

    if is_second:
        fields = _Fields(
            at(16, "8q"), at(12, "h")[0], at(104, "8d"), at(168, "q")[0], at(176, "d")[0], at(184, "d")[0],
            at(500, "i")[0], at(344, "i")[0], at(348, "i")[0], at(352, "3d"), at(376, "3d"), at(400, "12d"),
        )  # fmt: skip
    else:
        fields = _Fields(
            at(40, "8h"), at(70, "h")[0], at(76, "8f"), at(108, "f")[0], at(112, "f")[0], at(116, "f")[0],
            at(123, "B")[0], at(252, "h")[0], at(254, "h")[0], at(256, "3f"), at(268, "3f"), at(280, "12f"),
        )  # fmt: skip
    return fields, order


def _rescale(fields: _Fields, caveats: list[Caveat]) -> tuple[float, float]:
    if fields.slope == 0 or fields.datatype == _RGB:
        return 1.0, 0.0  # by the standard: not scaled
    if not (math.isfinite(fields.slope) and math.isfinite(fields.intercept)):
        caveats.append(
            Caveat("rescale.not-finite", "The rescale slope or intercept is not a number: stored values are shown.")
        )
        return 1.0, 0.0
    return fields.slope, fields.intercept


def _affine(fields: _Fields, caveats: list[Caveat]) -> np.ndarray | None:
    """Give voxel -> RAS in the file's unit: methods 3, 2 of nifti1.h; method 1 knows no orientation."""
    rotated = _from_quaternion(fields) if fields.qform_code > 0 else None
    if fields.sform_code <= 0:
        return rotated
    affine = np.vstack([np.reshape(fields.srow, (3, 4)), [0, 0, 0, 1]])
    # Half a voxel at the far corner: less than that is rounding.
    corner = np.array([*fields.dim[1:4], 1.0])
    voxel = float(np.linalg.norm(affine[:3, :3], axis=0).min())
    if rotated is not None and float(np.abs((rotated - affine) @ corner).max()) > 0.5 * voxel:
        caveats.append(
            Caveat("geometry.two-places", "The file gives two different places in the patient; the sform is used.")
        )
    return affine


def _from_quaternion(fields: _Fields) -> np.ndarray:
    b, c, d = fields.quaternion
    a = math.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    norm = math.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = (value / norm for value in (a, b, c, d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    q_factor = -1.0 if fields.pixdim[0] < 0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = rotation * [fields.pixdim[1], fields.pixdim[2], q_factor * fields.pixdim[3]]
    affine[:3, 3] = fields.q_offset
    return affine

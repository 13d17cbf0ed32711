"""What a volume file (NIfTI, NRRD) says before its voxels; checked before a byte of them is allocated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from medviewer.domain.errors import InputError, TooLargeError, TruncatedError
from medviewer.domain.frozen import dataclass
from medviewer.domain.study import Caveat, FileKind

MAX_VOLUME_BYTES = 16 * 2**30
MAX_FRAME_BYTES = 2**30
MAX_FRAMES = 100_000
MAX_EXPANSION = 1100  # deflate gives at most 1,032 bytes for one


@dataclass(frozen=True, slots=True, eq=False)
class VolumeHeader:
    """Where voxels are and what they mean.

    Attributes:
        kind: "NIfTI" or "NRRD".
        columns, rows, slices, volumes: how many; the first axis is the one that changes fastest.
        samples: values a voxel: 1, or 3 for RGB, which lie side by side.
        dtype: of one value, with its byte order.
        affine: ``(4, 4)`` voxel (column, row, slice) -> LPS mm; None where the file does not say it.
        spacing_mm: (columns, rows, slices) where there is no affine; None where there is none either.
        slope, intercept: what a stored value means.
        data_file: holds the voxels.
        compressed_at: where a gzip stream begins in it; None if it is not compressed.
        offset: of the first voxel, in the file or in the inflated bytes.
        caveats: what the reader must know of it.
    """

    kind: FileKind
    columns: int
    rows: int
    slices: int
    volumes: int
    samples: int
    dtype: np.dtype
    affine: np.ndarray | None
    spacing_mm: tuple[float, float, float] | None
    slope: float
    intercept: float
    data_file: Path
    compressed_at: int | None
    offset: int
    caveats: tuple[Caveat, ...] = ()

    @property
    def frame_bytes(self) -> int:
        """Of one slice."""
        return self.columns * self.rows * self.samples * self.dtype.itemsize

    @property
    def frames(self) -> int:
        """Slices of all volumes."""
        return self.slices * self.volumes

    @property
    def end(self) -> int:
        """Where the last voxel ends, as ``offset`` counts."""
        return self.offset + self.frame_bytes * self.frames


def checked(header: VolumeHeader) -> VolumeHeader:
    """Give the header if what it claims fits the limits and the file; an affine that places nothing is left out.

    Raises:
        TooLargeError: beyond a limit, which the message names.
        TruncatedError: the file is shorter than it says.
        InputError: sizes that make no sense, or no data file.
    """
    if min(header.columns, header.rows, header.slices, header.volumes) < 1 or header.offset < 0:
        raise InputError(f"The {header.kind} header gives a size that makes no sense; the file is damaged.")
    claimed = header.frame_bytes * header.frames
    if header.frame_bytes > MAX_FRAME_BYTES or claimed > MAX_VOLUME_BYTES or header.frames > MAX_FRAMES:
        raise TooLargeError(
            f"The file claims {claimed / 2**30:,.1f} GB of voxels in {header.frames:,} slices; the limits are "
            f"{MAX_VOLUME_BYTES >> 30} GB, {MAX_FRAMES:,} slices and {MAX_FRAME_BYTES >> 30} GB a slice."
        )
    size = header.data_file.stat().st_size
    if header.compressed_at is None:
        if header.end > size:
            raise TruncatedError("The file ends before its last voxels; it is incomplete, ask for it to be sent again.")
    elif header.end > MAX_EXPANSION * size:
        raise TooLargeError(
            f"The file claims more than {MAX_EXPANSION:,} times its compressed size, which cannot be; it is damaged."
        )
    return _with_sane_affine(header)


def _with_sane_affine(header: VolumeHeader) -> VolumeHeader:
    if header.affine is None:
        return header
    axes = header.affine[:3, :3]
    is_finite = bool(np.isfinite(header.affine).all()) and float(np.abs(header.affine).max()) < 1e6
    lengths = np.linalg.norm(axes, axis=0) if is_finite else np.zeros(3)
    if not is_finite or lengths.min() < 1e-4 or abs(np.linalg.det(axes / np.maximum(lengths, 1e-9))) < 0.01:
        caveat = Caveat("geometry.orientation", "The volume's place in the patient makes no sense and is not used.")
        return replace(header, affine=None, spacing_mm=None, caveats=(*header.caveats, caveat))
    unit = axes / lengths
    if abs(float(unit[:, 0] @ unit[:, 1])) > 0.01:
        caveat = Caveat("geometry.orientation", "The rows and columns are not perpendicular: no place or size is used.")
        return replace(header, affine=None, spacing_mm=None, caveats=(*header.caveats, caveat))
    return header

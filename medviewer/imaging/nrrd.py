"""NRRD headers (.nrrd, and .nhdr with its voxels in a file beside it).

Source: "Definition of NRRD file format" (teem.sourceforge.net/nrrd/format.html), versions 1 to 5.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from medviewer.domain.errors import InputError, UnsupportedError
from medviewer.domain.study import Caveat
from medviewer.imaging.volume_header import VolumeHeader

MAX_HEADER_BYTES = 64 * 2**10
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    "float": "f4",
    "double": "f8",
}
# Which signs turn a space into LPS.
_SPACES = {
    **dict.fromkeys(("left-posterior-superior", "lps"), (1.0, 1.0, 1.0)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0, 1.0)),
}
_UNITS_MM = {
    **dict.fromkeys(("", "mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometers"), 0.001),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), 10.0),
    **dict.fromkeys(("m", "meter", "meters"), 1000.0),
}
_UNKNOWN_UNIT = Caveat("geometry.unit", "The unit of length of this file is not known: nothing is placed or measured.")
_VECTOR = re.compile(r"none|\(([^()]*)\)")
_COLOURS = ("rgb-color", "3-color")
_OF_SPACE = frozenset({"domain", "space", "???", "none"})  # the last two: it does not say
_OF_VOLUMES = _OF_SPACE | {"time", "list"}


def is_nrrd(head: bytes) -> bool:
    """Whether a file begins like an NRRD header."""
    return head.startswith(b"NRRD000")


def read_nrrd(head: bytes, path: Path) -> VolumeHeader:
    """Give what the header says.

    Args:
        head: the first ``MAX_HEADER_BYTES`` bytes of the file, or fewer.
        path: of the file; voxels beside it are looked for in the same folder only.

    Raises:
        UnsupportedError: something that is not read; names it.
        InputError: it is damaged, or its voxels are not where they may be.
    """
    fields, offset = _fields(head)
    try:
        sizes = [int(size) for size in fields["sizes"].split()]
        directions = _vectors(fields.get("space directions", ""))
        kinds = fields.get("kinds", "").lower().split()
        samples, space, volumes = _axes(sizes, kinds, directions)
        unit_mm = _unit_mm(fields, len(space), samples)
        affine = _affine(fields, [vector for vector in directions if vector is not None], len(space), unit_mm)
        compressed_at, data_file, skip = _data(fields, path, offset)
        dtype = _dtype(fields)
        if samples == 3 and dtype != np.uint8:
            raise UnsupportedError("NRRD files with colours of this type are not supported; save it with 8 bits each.")
        spacing = _spacing(fields, len(sizes), directions, samples, unit_mm)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError("The NRRD header is damaged or incomplete; ask for the file to be sent again.") from error
    columns, rows, slices = [*space, 1][:3]
    total = columns * rows * slices * volumes * samples * dtype.itemsize
    if skip < 0:  # the voxels are the end of the file
        skip = data_file.stat().st_size - total
    return VolumeHeader(
        kind="NRRD", columns=columns, rows=rows, slices=slices, volumes=volumes, samples=samples, dtype=dtype,
        affine=affine, spacing_mm=spacing, slope=1.0, intercept=0.0, data_file=data_file, compressed_at=compressed_at,
        offset=skip, caveats=(_UNKNOWN_UNIT,) if unit_mm is None else (),
    )  # fmt: skip


def _fields(head: bytes) -> tuple[dict[str, str], int]:
    match = re.search(rb"\r?\n\r?\n", head)
    if match is None and len(head) >= MAX_HEADER_BYTES:
        raise InputError(f"The NRRD header is longer than {MAX_HEADER_BYTES >> 10} kB; the file is damaged.")
    text = head[: match.start() if match else len(head)].decode("utf-8", "replace")
    fields = {}
    for line in text.splitlines()[1:]:
        name, separator, value = line.partition(": ")
        if separator and not line.startswith("#"):
            fields[name.strip().lower()] = value.strip()
    return fields, match.end() if match else len(head)


def _vectors(text: str) -> list[tuple[float, ...] | None]:
    return [
        tuple(float(part) for part in match[1].split(",")) if match[1] is not None else None
        for match in _VECTOR.finditer(text)
    ]


def _axes(sizes: list[int], kinds: list[str], directions: list[tuple[float, ...] | None]) -> tuple[int, list[int], int]:
    """Give samples a voxel, the sizes in space, and how many volumes."""
    samples, volumes, space = 1, 1, list(sizes)
    if kinds and kinds[0] in _COLOURS and sizes[0] == 3:
        samples, space = 3, space[1:]
    first = len(sizes) - len(space)
    if not _are_places(kinds[first:], directions[first:], len(space)):
        raise UnsupportedError("NRRD files with several values a voxel are not supported, except for RGB.")
    if len(space) == 4:
        volumes = space.pop()
    if not 2 <= len(space) <= 3:
        raise UnsupportedError("NRRD files of this number of dimensions are not supported; save it with three or four.")
    return samples, space, volumes


def _are_places(kinds: list[str], directions: list[tuple[float, ...] | None], n_axes: int) -> bool:
    """Whether a voxel has one value: each axis leads to other places, the last one to other volumes maybe."""
    last = n_axes - 1
    is_known = all(kind in (_OF_VOLUMES if axis == last else _OF_SPACE) for axis, kind in enumerate(kinds))
    return is_known and not any(vector is None for vector in directions[:last])


def _unit_mm(fields: dict[str, str], n_axes: int, samples: int) -> float | None:
    """How many mm the file's unit of length is; None if it is another one, or not the same along all axes."""
    names = _units(fields.get("space units", ""))
    if not any(names):  # "units" has an entry for each axis, colours and times included
        first = 1 if samples == 3 else 0
        names = _units(fields.get("units", ""))[first : first + n_axes]
    found = {_UNITS_MM.get(name) for name in names or [""]}
    return found.pop() if len(found) == 1 else None


def _units(text: str) -> list[str]:
    names = re.findall(r'"([^"]*)"', text) if '"' in text else text.split()
    return ["" if name.strip() in ("???", "none") else name.strip().lower() for name in names]


def _affine(
    fields: dict[str, str], vectors: list[tuple[float, ...]], n_axes: int, unit_mm: float | None
) -> np.ndarray | None:
    signs = _SPACES.get(fields.get("space", "").lower())
    if (
        unit_mm is None
        or signs is None
        or n_axes != 3
        or len(vectors) < 3
        or any(len(vector) != 3 for vector in vectors)
    ):
        return None
    origin = _vectors(fields.get("space origin", ""))
    affine = np.eye(4)
    affine[:3, :3] = np.array(vectors[:3]).T
    if not origin or origin[0] is None or len(origin[0]) != 3:
        return None
    affine[:3, 3] = origin[0]
    affine[:3] *= unit_mm
    return np.diag([*signs, 1.0]) @ affine


def _spacing(
    fields: dict[str, str],
    n_axes: int,
    directions: list[tuple[float, ...] | None],
    samples: int,
    unit_mm: float | None,
) -> tuple[float, float, float] | None:
    if unit_mm is None:
        return None
    if directions:
        lengths = [math.hypot(*vector) for vector in directions if vector is not None]
    else:
        lengths = [abs(float(value)) for value in fields.get("spacings", "").split()][1 if samples == 3 else 0 : n_axes]
    lengths = [length * unit_mm for length in lengths]
    lengths = [*lengths, 1.0][:3] if len(lengths) >= 2 else []
    if len(lengths) < 3 or not all(math.isfinite(value) and value > 0 for value in lengths):
        return None
    return lengths[0], lengths[1], lengths[2]


def _dtype(fields: dict[str, str]) -> np.dtype:
    name = fields["type"].lower()
    if name not in _TYPES:
        raise UnsupportedError("The voxel type of this NRRD file is not supported; save it as 16-bit or float.")
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "little").lower())
    if order is None:
        raise ValueError("endian")
    return np.dtype(order + _TYPES[name])


def _data(fields: dict[str, str], path: Path, offset: int) -> tuple[int | None, Path, int]:
    """Give where the compressed stream begins (None: raw), the file, and how many bytes come before the voxels."""
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise UnsupportedError("The encoding of this NRRD file is not supported; save it as raw or gzip.")
    if int(fields.get("line skip", fields.get("lineskip", "0"))) != 0:
        raise UnsupportedError("NRRD files with a line skip are not supported; save it without.")
    skip = int(fields.get("byte skip", fields.get("byteskip", "0")))
    name = fields.get("data file", fields.get("datafile"))
    data_file = path if name is None else _beside(path, name)
    begin = offset if name is None else 0
    if encoding != "raw":
        if skip != 0:
            raise UnsupportedError("Compressed NRRD files with a byte skip are not supported; save it without.")
        return begin, data_file, 0
    return None, data_file, -1 if skip == -1 else begin + skip


def _beside(path: Path, name: str) -> Path:
    """Find a detached file: in the header's own folder, whatever the header says, links included."""
    folder = path.parent.resolve()
    if name.upper().startswith("LIST") or "%" in name:
        raise UnsupportedError("NRRD files with their voxels in several files are not supported; save it as one file.")
    found = (folder / name).resolve()
    if "/" in name or "\\" in name or found.parent != folder or found == path.resolve():
        raise InputError("The NRRD header leads to a file outside its own folder; that file is not opened.")
    if not found.is_file():
        raise InputError("The file with the voxels is not beside this NRRD header; put both into one folder.")
    return found

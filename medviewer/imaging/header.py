"""A file's header, read with suspicion: what it is, how it is encoded, where its pixels are.

The file meta information is looked at before anything else, because it says
whether the rest is deflated. Nothing is allocated on the word of a length field.

Source: PS3.10 section 7 (file meta information), PS3.5 annex A (transfer syntaxes).
"""

from __future__ import annotations

import errno
import io
import zlib
from pathlib import Path

from medviewer.domain.errors import InputError, NotDicomError, TruncatedError
from medviewer.domain.frozen import dataclass
from medviewer.imaging import tags
from medviewer.imaging.codecs import MAYBE_LOSSY_SYNTAXES
from medviewer.imaging.dataset import (
    UNDEFINED_LENGTH,
    DataSet,
    DataSetReader,
    Encoding,
    PixelElement,
    guess_encoding,
    read_element_header,
    read_plain,
)
from medviewer.imaging.encapsulation import first_bytes
from medviewer.imaging.source import ByteSource, inflate

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE_SYNTAXES = frozenset(
    {IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, DEFLATED_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN}
)
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"

_PREAMBLE = 128
META_START = _PREAMBLE + 4
_MAX_UID_BYTES = 256  # of 64 that are allowed
# What people drop on a viewer by mistake, told apart so that the sentence can help.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a document or program that is packed as a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"NRRD", "an NRRD volume of a kind that is not read"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"{", "a JSON text"),
    (b"<", "an XML or HTML text"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a DICOM file says before its pixels.

    Attributes:
        dataset: the attributes that MedViewer reads.
        transfer_syntax_uid: as the file says; the plain one that fits if it says nothing.
        sop_class_uid: the SOP Class; of the file meta information where the data set has none.
        encoding: how the data set is really written.
        pixels: where the pixel data are (in the inflated bytes, if ``is_deflated``).
        file_size: of the file on disk.
        content_size: of the bytes that ``pixels`` points into.
        is_truncated: the file ends inside its header.
        first_bytes: of the first code stream, where the transfer syntax does not tell whether it is lossy.
    """

    dataset: DataSet
    transfer_syntax_uid: str
    sop_class_uid: str
    encoding: Encoding
    pixels: PixelElement | None
    file_size: int
    content_size: int
    is_deflated: bool
    is_truncated: bool
    first_bytes: bytes = b""

    @property
    def is_encapsulated(self) -> bool:
        """Whether the pixel data are compressed fragments."""
        return self.pixels is not None and self.pixels.length == UNDEFINED_LENGTH


def stamp_of(header: Header) -> str:
    """A checksum of what the file says of its image and its patient, to tell a file that was written over since.

    A UID does not: whoever corrects a name, or turns MONOCHROME1 into MONOCHROME2, often keeps it.
    """
    return f"{zlib.crc32(bytes(1).join(header.dataset.values.values())):08x}"


def uid_name(uid: str) -> str:
    """Give a UID's name in the standard ("JPEG Baseline (Process 1)"), or "" for an unknown one."""
    # Importing pydicom takes longer than opening a study does; only sentences about problems need it.
    from pydicom.config import IGNORE  # noqa: PLC0415
    from pydicom.uid import UID  # noqa: PLC0415

    name = UID(uid, validation_mode=IGNORE).name  # validation would warn, and quote the file
    return "" if name == uid else name


def read_header(path: Path) -> Header:
    """Read what a DICOM file says before its pixels.

    Raises:
        NotDicomError: it is no DICOM file; the message says what it looks like.
        TruncatedError: it ends before anything useful.
        TooLargeError: its deflated content is too large.
        InputError: it cannot be read, or its structure is damaged.
    """
    try:
        with io.FileIO(path) as file:  # its own small buffer is all that a header needs
            return parse_header(ByteSource(file))
    except OSError as error:
        raise unreadable(error) from error


def unreadable(error: OSError) -> InputError:
    """Say why the system does not give a file or folder, and what to do."""
    if isinstance(error, FileNotFoundError):
        return InputError("It does not exist; check the path, or whether the disk was removed.")
    if isinstance(error, PermissionError):
        return InputError("You are not permitted to read it; ask its owner, or copy it to a folder of yours.")
    if error.errno == errno.ELOOP:
        return InputError("The link leads back to itself, so there is no file; open what it was meant to lead to.")
    if error.errno == errno.ENOTDIR:
        return InputError("A part of the path is a file, not a folder; check the path.")
    return InputError(f"It cannot be read ({error.strerror or 'unknown reason'}); check the disk and try again.")


def parse_header(source: ByteSource) -> Header:
    """Read the header from bytes; see :func:`read_header`."""
    if source.size == 0:
        raise NotDicomError("The file is empty; ask for it to be sent again.")
    meta, offset = read_file_meta(source)
    syntax = meta.text(tags.TRANSFER_SYNTAX_UID)
    is_deflated = syntax == DEFLATED_LITTLE_ENDIAN
    file_size = source.size
    if is_deflated:
        source, offset = ByteSource.of_bytes(inflated(source)), 0
    encoding = encoding_of(source, offset, syntax)
    if not syntax:
        syntax = _syntax_of(encoding)
    reader = DataSetReader(source, offset, encoding)
    reader.read()
    is_empty = not reader.dataset.values and not reader.dataset.sequences and reader.pixels is None
    if is_empty and (reader.is_truncated or offset >= source.size):
        raise TruncatedError("The file ends before anything useful; it is incomplete, ask for it to be sent again.")
    pixels = reader.pixels
    is_told_inside = syntax in MAYBE_LOSSY_SYNTAXES and pixels is not None and pixels.length == UNDEFINED_LENGTH
    return Header(
        dataset=reader.dataset,
        transfer_syntax_uid=syntax,
        sop_class_uid=reader.dataset.text(tags.SOP_CLASS_UID) or meta.text(tags.MEDIA_STORAGE_SOP_CLASS_UID),
        encoding=encoding,
        pixels=pixels,
        file_size=file_size,
        content_size=source.size,
        is_deflated=is_deflated,
        is_truncated=reader.is_truncated,
        first_bytes=first_bytes(source, pixels.offset) if is_told_inside and pixels is not None else b"",
    )


def encoding_of(source: ByteSource, offset: int, syntax: str) -> Encoding:
    """Tell how the data set at ``offset`` is really written, whatever its transfer syntax says."""
    declared = Encoding(syntax != IMPLICIT_LITTLE_ENDIAN, syntax != EXPLICIT_BIG_ENDIAN)
    return guess_encoding(source, offset, declared)


def inflated(source: ByteSource) -> bytes:
    """Give the content that a deflated file's pixel positions point into."""
    _, offset = read_file_meta(source)
    return inflate(source, offset)


def _syntax_of(encoding: Encoding) -> str:
    if not encoding.is_explicit:
        return IMPLICIT_LITTLE_ENDIAN
    return EXPLICIT_LITTLE_ENDIAN if encoding.is_little_endian else EXPLICIT_BIG_ENDIAN


def read_file_meta(source: ByteSource) -> tuple[DataSet, int]:
    """Give the file meta information and where the data set begins.

    Raises:
        NotDicomError: the file is not DICOM.
    """
    start = META_START if source.at(_PREAMBLE, 4) == b"DICM" else 0
    if start == 0 and not _looks_like_dicom(source):
        raise _not_dicom(source)
    meta = DataSet()
    position = start
    while True:
        block, begin = source.block
        at, _ = read_plain(block, position - begin, Encoding(), meta, group=2)
        position = begin + at
        element = read_element_header(source, position, Encoding())
        if element is None or element.tag >> 16 != 2 or element.length == UNDEFINED_LENGTH:
            # All that is wanted are UIDs, whatever the file says of what they are and how long.
            return DataSet(values={tag: value[:_MAX_UID_BYTES] for tag, value in meta.values.items()}), position
        if element.tag in tags.VALUE_REPRESENTATIONS:
            meta.values[element.tag] = source.at(element.value_offset, min(element.length, _MAX_UID_BYTES))
        position = element.value_offset + element.length


def _looks_like_dicom(source: ByteSource) -> bool:
    """Whether a file without a preamble begins like a data set: group 0002 or 0008, and a plausible length."""
    head = source.at(0, 12)
    if len(head) < 8:
        return False
    for order in ("little", "big"):
        group, element = (int.from_bytes(head[i : i + 2], order) for i in (0, 2))
        if group in (0x0002, 0x0008) and element <= 0x1200:
            encoding = guess_encoding(source, 0, Encoding(is_little_endian=order == "little"))
            found = read_element_header(source, 0, encoding)
            return found is not None and found.value_offset + found.length <= source.size
    return False


def _not_dicom(source: ByteSource) -> NotDicomError:
    head = source.at(0, 16)
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return NotDicomError(f"Not a DICOM file (it looks like {name}); open the DICOM file instead.")
    return NotDicomError("Not a DICOM file; open a file that your scanner or archive exported as DICOM.")

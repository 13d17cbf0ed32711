"""DICOM objects that are read instead of looked at: which files are ones, what they say of themselves, their payload.

Source: PS3.4 B.5 (SOP Classes), PS3.3 A.35 (structured reports), A.45.1 (encapsulated PDF), A.34 (waveforms).
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medviewer.domain.errors import InputError, TruncatedError
from medviewer.domain.study import Document, DocumentKind
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet, PixelElement
from medviewer.imaging.header import Header, inflated, parse_header, uid_name, unreadable
from medviewer.imaging.source import ByteSource

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLASSES: tuple[tuple[str, DocumentKind], ...] = (
    ("1.2.840.10008.5.1.4.1.1.88.", "report"),
    ("1.2.840.10008.5.1.4.1.1.104.1", "pdf"),
    ("1.2.840.10008.5.1.4.1.1.9.", "waveform"),
)
_MOST_TITLE_BYTES = 1024


def document_kind(header: Header) -> DocumentKind | None:
    """Tell what kind of document a file is by its SOP Class; None if it is none that is shown."""
    uid = header.sop_class_uid
    return next(
        (kind for start, kind in _CLASSES if uid == start or (start.endswith(".") and uid.startswith(start))), None
    )


def describe_document(header: Header, path: Path) -> Document | None:
    """Give the document that a file is, or None if it is none.

    Raises:
        TruncatedError: it ends before its end; half a report may say the opposite of the whole.
    """
    kind = document_kind(header)
    if kind is None or header.pixels is not None:
        return None
    if header.is_truncated:
        raise TruncatedError("The document is incomplete: the file ends before it does; ask for it to be sent again.")
    dataset = header.dataset
    return Document(
        path=path,
        kind=kind,
        title=_title(dataset) or uid_name(header.sop_class_uid).removesuffix(" Storage"),
        sop_instance_uid=dataset.text(tags.SOP_INSTANCE_UID),
        sop_class_uid=header.sop_class_uid,
        series_instance_uid=dataset.text(tags.SERIES_INSTANCE_UID),
        modality=dataset.text(tags.MODALITY),
        date=dataset.text(tags.CONTENT_DATE) or dataset.text(tags.SERIES_DATE) or dataset.text(tags.STUDY_DATE),
        time=dataset.text(tags.CONTENT_TIME) or dataset.text(tags.SERIES_TIME) or dataset.text(tags.STUDY_TIME),
    )


def _title(dataset: DataSet) -> str:
    """What the file calls itself, from the most to the least telling."""
    own = " ".join(dataset.paragraphs(tags.DOCUMENT_TITLE, _MOST_TITLE_BYTES).split())
    concept = dataset.item(tags.CONCEPT_NAME_CODE_SEQUENCE).text(tags.CODE_MEANING)
    return own or concept or dataset.text(tags.SERIES_DESCRIPTION)


@contextmanager
def opened_document(document: Document) -> Iterator[tuple[Header, ByteSource]]:
    """Give the header of a document and the bytes that its payloads point into.

    Raises:
        InputError: it cannot be read, or another object lies at its path by now.
        TruncatedError: it became shorter.
    """
    try:
        with io.FileIO(document.file) as file:
            source = ByteSource(file)
            header = parse_header(source)
            if header.dataset.text(tags.SOP_INSTANCE_UID) != document.sop_instance_uid:
                raise InputError("Another file lies there now; open the folder again to see what is in it.")
            if header.is_truncated:
                raise TruncatedError("The document is incomplete by now; ask for it to be sent again.")
            yield header, ByteSource.of_bytes(inflated(source)) if header.is_deflated else source
    except OSError as error:
        raise unreadable(error) from error


def payload(source: ByteSource, place: PixelElement) -> bytes:
    """Give the bytes of a payload.

    Raises:
        TruncatedError: the file holds fewer.
    """
    data = source.at(place.offset, place.length)
    if len(data) != place.length:
        raise TruncatedError("The document is incomplete: the file ends before it does; ask for it to be sent again.")
    return data

"""A structured report as text: its items in reading order, each with its place in the tree."""

from __future__ import annotations

from typing import Literal

from medviewer.domain.frozen import dataclass

ItemKind = Literal["section", "value", "identity", "reference", "link"]
"""A heading, something said, something said of who a person is, an object or an item of the report pointed at."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image that a report points at: its SOP Instance UID and frames, 1-based as in DICOM; no frame is all."""

    sop_instance_uid: str
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportItem:
    """One content item (PS3.3 C.17.3).

    Attributes:
        depth: 0 for what stands directly in the report.
        relationship: to the item around it, as DICOM names it: "CONTAINS", "HAS OBS CONTEXT", ...
        kind: what it is for the reader.
        concept: what is spoken of; "" where the report does not say.
        value: what is said, with its unit; may have several lines.
        image: the image that is pointed at.
    """

    depth: int
    relationship: str
    kind: ItemKind
    concept: str = ""
    value: str = ""
    image: ImageReference | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A structured report for reading. All text is of the file: show it as plain text.

    Attributes:
        title: its document title.
        completion: "COMPLETE", "PARTIAL" or "" where the file does not say.
        verification: "VERIFIED", "UNVERIFIED" or "".
        verifiers: who verified it: names and dates (DICOM PN and DT).
        template: of the root, as "TID 1500 (DCMR)"; "" if none is named.
        items: in reading order.
        left_out: one sentence if not all of it is here.
    """

    title: str
    completion: str
    verification: str
    verifiers: tuple[tuple[str, str], ...]
    template: str
    items: tuple[ReportItem, ...]
    left_out: str = ""

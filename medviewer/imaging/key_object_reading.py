"""Key Object Selection documents read: which images somebody found important, or rejected.

Not every document praises its images: some reject them, for their quality or for the patient's
safety (IHE Imaging Object Change Management). Those are told apart and never become key images.

Source: PS3.3 A.35.4 (Key Object Selection Document), PS3.16 CID 7010 and 7011 (titles); IHE RAD TF-1, 20 (IOCM).
"""

from __future__ import annotations

from pathlib import Path

from medviewer.domain.errors import UnsupportedError
from medviewer.domain.presentation import KeyObjects
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.header import read_header
from medviewer.imaging.presentation_reading import read_references

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
_REJECTIONS = frozenset({"113001", "113037", "113038", "113039"})
"""Rejected for quality, for the patient's safety, wrong worklist entry, retention expired (PS3.16 CID 7011)."""
_MOST_IMAGES = 10_000


def read_key_objects(path: Path) -> KeyObjects:
    """Give what a Key Object Selection document says.

    Raises:
        InputError: the file cannot be read.
        UnsupportedError: it is no such document.
    """
    header = read_header(path)
    root = header.dataset
    if header.sop_class_uid != KEY_OBJECT_SELECTION:
        raise UnsupportedError("The file is no Key Object Selection document; open one that is.")
    title = root.item(tags.CONCEPT_NAME_CODE_SEQUENCE)
    return KeyObjects(
        root.text(tags.SOP_INSTANCE_UID),
        root.text(tags.STUDY_INSTANCE_UID),
        root.text(tags.PATIENT_ID),
        title.text(tags.CODE_MEANING),
        title.text(tags.CODING_SCHEME_DESIGNATOR) == "DCM" and title.text(tags.CODE_VALUE) in _REJECTIONS,
        read_references(_images(root)),
    )


def _images(root: DataSet) -> list[DataSet]:
    items = [item for item in root.items(tags.CONTENT_SEQUENCE) if item.text(tags.VALUE_TYPE) == "IMAGE"]
    return [item.item(tags.REFERENCED_SOP_SEQUENCE) for item in items[:_MOST_IMAGES]]

"""The words of a document: what it is, when it was made, and its texts without who the patient is."""

from __future__ import annotations

import re
from functools import lru_cache

from medviewer.app.state import State
from medviewer.domain.person_name import is_wordless
from medviewer.domain.study import Document, Patient
from medviewer.gui.text import dicom_date, tr, visible
from medviewer.imaging.key_object_reading import KEY_OBJECT_SELECTION

ICONS = {"report": "file-text", "pdf": "file", "waveform": "activity"}
_HIDDEN = "▪▪▪"
_LEAST_LETTERS = 2  # shorter parts of a name are in every other word
_TIME = re.compile(r"(\d\d)(\d\d)(?:\d\d(?:\.\d+)?)?")


def kind_words(document: Document) -> str:
    """What kind of document it is."""
    if document.sop_class_uid == KEY_OBJECT_SELECTION:
        return tr("Image selection")  # which it praises or rejects, as its title says
    words = {"report": tr("Report"), "pdf": tr("PDF document"), "waveform": tr("Waveform")}
    return words[document.kind]


def title_words(document: Document, patient: Patient, *, identity_hidden: bool) -> str:
    """What the document is called, made visible."""
    title = " ".join(document.title.split())
    return words_about(patient, title, identity_hidden=identity_hidden) or kind_words(document)


def when_words(document: Document) -> str:
    """When it was made: date and, where it is known, time of day."""
    found = _TIME.fullmatch(document.time)
    time = f"{found[1]}:{found[2]}" if found else ""
    return "  ".join(part for part in (dicom_date(document.date), time if document.date else "") if part)


def without_identity(text: str, patient: Patient) -> str:
    """The text with the patient's name, number and birth date covered; what else a text tells stays in it."""
    pattern = _identity(patient.name, patient.patient_id, patient.birth_date)
    return pattern.sub(_HIDDEN, text) if pattern is not None else text


def words_of_file(state: State, text: str) -> str:
    """A line of anybody's words, made visible; without who the patient on screen is, once identity is hidden."""
    now = state.selection
    return words_about(now.patient, text, identity_hidden=state.identity_hidden) if now is not None else visible(text)


def words_about(patient: Patient, text: str, *, identity_hidden: bool) -> str:
    """A line of a file of that patient, made visible; without who that is, once identity is hidden."""
    return visible(without_identity(text, patient) if identity_hidden else text)


@lru_cache(maxsize=64)
def _identity(name: str, number: str, birth_date: str) -> re.Pattern[str] | None:
    words = {part for part in re.split(r"[\^=\s]+", name) if len(part) >= _LEAST_LETTERS or _is_character(part)}
    words |= {number.strip(), birth_date.strip(), dicom_date(birth_date)} - {""}
    if not words:
        return None
    longest_first = sorted(words, key=len, reverse=True)
    # Whole words only, where there are words: "Li" is not in "liver".
    return re.compile("|".join(f"{_edge(w[0], '<')}{re.escape(w)}{_edge(w[-1])}" for w in longest_first), re.IGNORECASE)


def _is_character(part: str) -> bool:
    return bool(part) and is_wordless(part[0])


def _edge(character: str, behind: str = "") -> str:
    """No letter or digit stands there; an underscore may, as in labels that may hold no space."""
    return rf"(?{behind}![^\W_])" if re.match(r"\w", character) and not is_wordless(character) else ""

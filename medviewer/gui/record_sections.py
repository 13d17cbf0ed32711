"""The sections of the record panel: who, allergies, problems, medicines, vital signs, what happened when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, tzinfo

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from medviewer.app.state import Selection, State
from medviewer.domain.study import Patient
from medviewer.gui import theme
from medviewer.gui.cards import FactRow, Level, SignalRow, button, section
from medviewer.gui.icons import IconLabel
from medviewer.gui.text import (
    PlainLabel,
    age_in_words,
    dicom_age,
    dicom_date,
    person_name,
    set_tooltip,
    sex_word,
    tr,
    visible,
)
from medviewer.gui.vital_signs import Reference, age_words, latest_vitals, reference_words
from medviewer.records.record import (
    Allergy,
    Condition,
    Medication,
    PatientRecord,
    TimelineEntry,
    age_at,
    is_over,
    iso_date,
    parse_moment,
    shown_moment,
    time_words,
)

_OVER = frozenset({"inactive", "resolved", "remission"})
_ICONS: Mapping[str, str] = {
    "study": "image",
    "text result": "file-text",
    "condition": "stethoscope",
    "medication": "pill",
    "allergy": "triangle-alert",
    "encounter": "user",
    "document": "file-text",
    "observation": "activity",
}


def reference_of(state: State) -> Reference:
    """The moment of the study on screen, or now if it has no date."""
    study = state.selection.study if state.selection else None
    made = parse_moment(iso_date(study.date)) if study is not None else None
    if study is None or made is None or made[1] not in ("day", "time"):
        return Reference(datetime.now().astimezone(), is_study=False)
    made_on = made[0].replace(tzinfo=study.zone)
    digits = study.time.strip().replace(":", "")[:4]
    if len(digits) == 4 and digits.isdigit() and int(digits[:2]) < 24 and int(digits[2:]) < 60:
        return Reference(made_on.replace(hour=int(digits[:2]), minute=int(digits[2:])), is_study=True)
    return Reference(made_on, is_study=True, has_time=False)


def identity_lines(state: State) -> list[str]:
    """Name, then age, sex and birth date, then numbers; of the record, else of the DICOM header."""
    record, selection = state.record, state.selection
    if record is None and selection is None:
        return []
    reference = reference_of(state)
    if record is not None:
        name, birth, sex = record.name, record.birth_date, record.sex
        numbers = [identifier.value for identifier in record.identifiers]
    else:
        patient = selection.patient if selection else Patient("")
        name, birth, sex, numbers = patient.name, iso_date(patient.birth_date), patient.sex, [patient.patient_id]
    facts = [_age(birth, reference, selection), sex_word(sex)]
    if state.identity_hidden:
        return [tr("Identity hidden"), _joined(facts)]
    facts.append(tr("born {date}").format(date=dicom_date(birth)) if birth else tr("birth date not recorded"))
    ids = _joined([visible(number) for number in numbers if number])
    return [person_name(name) or tr("No name recorded"), _joined(facts), tr("ID {id}").format(id=ids) if ids else ""]


def _age(birth: str, reference: Reference, selection: Selection | None) -> str:
    age = age_at(birth, reference.moment.date())
    if age is not None:
        words = age_in_words(age)
        return tr("{age} at the study").format(age=words) if reference.is_study else words
    stated = dicom_age(selection.study.patient_age) if selection else ""
    return tr("{age} as the file states").format(age=stated) if stated else tr("age unknown")


def source_words(record: PatientRecord | None) -> str:
    """Where what is shown comes from."""
    if record is None:
        return tr("Source: DICOM header")
    return tr("Source: sample record, invented data of nobody") if record.is_sample else tr("Source: patient record")


def mismatch_rows(state: State) -> Iterator[QWidget]:
    """What image and record say of the person, under each other, to settle which is right."""
    yield SignalRow("alarm", tr(state.record_mismatch), word=tr("Image and record contradict each other"))
    if state.identity_hidden or state.selection is None or state.record is None:
        return
    image, record = state.selection.patient, state.record
    numbers = _joined([visible(identifier.value) for identifier in record.identifiers])
    sides = (
        (tr("Image"), image.name, iso_date(image.birth_date), image.sex, visible(image.patient_id)),
        (tr("Record"), record.name, record.birth_date, record.sex, numbers),
    )
    for side, name, birth, sex, number in sides:
        yield FactRow(side, _joined([person_name(name), visible(birth), sex_word(sex), number]), name_px=56)


def allergy_rows(record: PatientRecord | None) -> Iterator[QWidget]:
    """Allergies; "not recorded" is never shown as "none"."""
    if record is None or record.allergies is None:
        yield SignalRow("info", tr("That does not mean that there are none."), word=tr("Allergies: not recorded"))
        return
    if not record.allergies:
        yield SignalRow("good", tr("The record states it."), word=tr("No known allergies"))
        return
    real = [a for a in record.allergies if not a.is_partial_absence]
    if real:
        level: Level = "alarm" if any(a.criticality == "high" for a in real) else "caution"
        words = "\n".join(_allergy_words(a) for a in real)
        yield SignalRow(level, words, word=tr("Allergies"))
    else:
        yield SignalRow("info", tr("Other kinds are not recorded."), word=tr("Allergies: recorded in part"))
    for stated in (a for a in record.allergies if a.is_partial_absence):
        yield SignalRow("info", visible(stated.text), word="")


def _allergy_words(allergy: Allergy) -> str:
    more = [visible(allergy.reaction), tr("high risk") if allergy.criticality == "high" else ""]
    if allergy.status in ("inactive", "resolved"):
        more.append(status_word(allergy.status))
    extra = _joined(more)
    return visible(allergy.text) + (f" ({extra})" if extra else "")


def status_word(status: str) -> str:
    """A FHIR status in a word."""
    words = {
        "active": tr("active"),
        "recurrence": tr("recurrence"),
        "relapse": tr("relapse"),
        "inactive": tr("inactive"),
        "remission": tr("in remission"),
        "resolved": tr("resolved"),
        "completed": tr("completed"),
        "stopped": tr("ended"),
        "on-hold": tr("on hold"),
        "not-taken": tr("not taken"),
        "intended": tr("intended"),
        "draft": tr("a draft"),
        "cancelled": tr("cancelled"),
        "confirmed": tr("confirmed"),
        "unconfirmed": tr("unconfirmed"),
        "provisional": tr("provisional"),
        "differential": tr("one of several possible"),
        "unknown": tr("status unknown"),
    }
    return words.get(status, visible(status))


def condition_rows(conditions: tuple[Condition, ...] | None, zone: tzinfo | None = None) -> Iterator[QWidget]:
    """Problems, the active ones first. Of ``zone`` see :func:`medviewer.records.record.time_words`."""
    yield section(tr("Problems"))
    if not conditions:
        yield _absence(conditions)
        return
    for one in sorted(conditions, key=_is_past_problem):
        state = _state(one.clinical_status, one.ended)
        since = _since(one.onset, one.ended, zone, is_active=one.clinical_status not in _OVER)
        yield item_row(visible(one.text), _joined([state, status_word(one.verification), since]))


def _is_past_problem(one: Condition) -> bool:
    return one.clinical_status not in ("active", "recurrence", "relapse", "") or _is_past(one.ended)


def medication_rows(medications: tuple[Medication, ...] | None, zone: tzinfo | None = None) -> Iterator[QWidget]:
    """Medicines as they were recorded. Of ``zone`` see :func:`medviewer.records.record.time_words`."""
    yield section(tr("Medicines"))
    if not medications:
        yield _absence(medications)
        return
    for one in sorted(medications, key=lambda m: m.status not in ("active", "") or _is_past(m.ended)):
        since = _since(one.started, one.ended, zone, is_active=one.status in ("active", ""))
        yield item_row(visible(one.text), _joined([visible(one.dosage_text), _state(one.status, one.ended), since]))


def _state(status: str, ended: str) -> str:
    """The recorded status in a word; "active" is out of date behind a recorded end."""
    return "" if status == "active" and _is_past(ended) else status_word(status)


def _is_past(ended: str) -> bool:
    return is_over(ended, datetime.now().astimezone())


def _since(date: str, ended: str, zone: tzinfo | None, *, is_active: bool) -> str:
    """A date as a beginning, or, of what is over, the date alone; with the end where one was recorded."""
    begun = visible(shown_moment(date, zone))
    if ended or not date or not is_active:
        return _joined([begun, _until(ended, zone)])
    return tr("since {date}").format(date=begun)


def _until(ended: str, zone: tzinfo | None) -> str:
    return tr("until {date}").format(date=visible(shown_moment(ended, zone))) if ended else ""


def _absence(known: tuple[object, ...] | None) -> PlainLabel:
    return PlainLabel(tr("Not recorded") if known is None else tr("None, the record states"), "secondary")


def vital_rows(record: PatientRecord, reference: Reference) -> Iterator[QWidget]:
    """The latest vital signs, each with its age."""
    rows = latest_vitals(record.observations, reference.zone)
    yield section(tr("Latest vital signs, {age}").format(age=reference_words(reference)))
    if not rows:
        yield PlainLabel(tr("Not recorded"), "secondary")
        return
    box = QWidget()
    box.setProperty("kind", "clear")
    grid = QGridLayout(box)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(4)
    grid.setColumnStretch(2, 1)
    for number, (name, value, moment) in enumerate(rows):
        grid.addWidget(PlainLabel(name, "secondary", wrap=True), number, 0)
        grid.addWidget(PlainLabel(value, "strong"), number, 1)
        age = PlainLabel(age_words(moment, reference), "small")
        set_tooltip(age, time_words(moment, reference.zone))
        age.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        grid.addWidget(age, number, 2)
    yield box


def item_row(title: str, detail: str) -> QWidget:
    """A fact and, quieter under it, what more is known."""
    box = QWidget()
    box.setProperty("kind", "clear")
    column = QVBoxLayout(box)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    column.addWidget(PlainLabel(title, wrap=True))
    if detail:
        column.addWidget(PlainLabel(detail, "small", wrap=True))
    return box


def event_row(entry: TimelineEntry, choose: Callable[[], None] | None, zone: tzinfo | None = None) -> QWidget:
    """One dated fact, told by the clock of ``zone`` as ``entry`` is; a study that is open can be chosen."""
    box = QWidget()
    box.setProperty("kind", "clear")
    row = QHBoxLayout(box)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(8)
    t = theme.tokens()
    mark: QLabel = IconLabel(_ICONS[entry.kind], t.accent if choose else t.secondary)
    row.addWidget(mark, 0, Qt.AlignmentFlag.AlignTop)
    column = QVBoxLayout()
    column.setSpacing(0)
    column.addWidget(PlainLabel(visible(entry.title), wrap=True))
    states = [_state(state, entry.ended) for state in entry.states]
    kind_and_detail = _joined([kind_word(entry.kind), visible(entry.detail), *states, _until(entry.ended, zone)])
    column.addWidget(PlainLabel(f"{visible(entry.when)}  {kind_and_detail}", "small", wrap=True))
    row.addLayout(column, 1)
    if choose is not None:
        shown = button(tr("Show"), kind="quiet")
        set_tooltip(shown, tr("Show this study"))
        shown.clicked.connect(choose)
        row.addWidget(shown, 0, Qt.AlignmentFlag.AlignTop)
    return box


def kind_word(kind: str) -> str:
    """What a dated fact is, in a word."""
    words = {
        "study": tr("study"),
        "observation": tr("value"),
        "text result": tr("result"),
        "condition": tr("problem"),
        "medication": tr("medicine"),
        "allergy": tr("allergy"),
        "encounter": tr("visit"),
        "document": tr("document"),
    }
    return words[kind]


def _joined(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)

"""The patient record beside the image: who it is, allergies always in sight, what is known and since when."""

from __future__ import annotations

from datetime import tzinfo

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from medviewer.app.on_screen import is_record_checked, is_withheld
from medviewer.app.record_models import record_answers_of
from medviewer.app.state import Selection, State
from medviewer.gui.cards import Card, ScrollColumn, SignalRow, button, clear, dress, line, section
from medviewer.gui.more_rows import MoreRows
from medviewer.gui.notes_section import NotesSection
from medviewer.gui.quantity import quantities
from medviewer.gui.record_answers import record_answer_cards
from medviewer.gui.record_sections import (
    allergy_rows,
    condition_rows,
    event_row,
    identity_lines,
    medication_rows,
    mismatch_rows,
    reference_of,
    source_words,
    vital_rows,
)
from medviewer.gui.text import PlainLabel, Role, tr, use_language
from medviewer.gui.values_section import LoadCharts, ValuesSection, load_now
from medviewer.records.record import PatientRecord, TimelineEntry, timeline

_SHOWN_FACTS = _SHOWN_EVENTS = 30
_LEAST_PX = 16  # of what scrolls below the banner


class RecordPanel(QWidget):
    """One patient: the one on screen. The banner stays while the rest scrolls."""

    requested = Signal(str, object)

    def __init__(self, load_charts: LoadCharts = load_now, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = State()
        self._load_charts = load_charts
        self._values: ValuesSection | None = None
        self._answers: QVBoxLayout | None = None
        self._notes: NotesSection | None = None
        self._banner = QVBoxLayout()
        self._banner.setContentsMargins(12, 12, 12, 8)
        self._banner.setSpacing(4)
        self._scroll = ScrollColumn()
        self._scroll.setMinimumHeight(_LEAST_PX)  # Qt's own would cut the alarm above it on a small screen
        dress(self, "panel")
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addLayout(self._banner)
        self._rule: QFrame = line()
        whole.addWidget(self._rule)
        whole.addWidget(self._scroll, 1)
        self.show_state(None, self._state)

    def show_state(self, old: State | None, new: State) -> None:
        """Draw what differs from ``old``; None draws everything."""
        use_language(new.language)
        self._state = new
        if old is None or _shown(old) != _shown(new):
            self._draw()
        else:
            if old.record_answers is not new.record_answers or is_withheld(old) != is_withheld(new):
                self._draw_answers()
            if self._notes is not None:
                self._notes.show_state(new)
            self._draw_values()  # opening something forgets work in the background, and its callbacks

    def _draw(self) -> None:
        clear(self._banner)
        clear(self._scroll.column)
        self._scroll.setAccessibleName(tr("Patient"))
        self._values = self._answers = self._notes = None
        state = self._state
        lines = identity_lines(state)
        self._rule.setVisible(bool(lines))
        if not lines:
            self._draw_nothing()
            return
        roles: tuple[Role, ...] = ("title", "secondary", "secondary")
        for words, role in zip(lines, roles, strict=False):
            if words:
                self._banner.addWidget(PlainLabel(words, role, wrap=True))
        self._banner.addWidget(PlainLabel(source_words(state.record), "small", wrap=True))
        if state.record_mismatch:
            card = Card(signal="alarm")
            card.add(*mismatch_rows(state))
            self._banner.addWidget(card)
        for row in allergy_rows(state.record):
            self._banner.addWidget(row)
        self._draw_below(state)

    def _draw_below(self, state: State) -> None:
        column = self._scroll.column
        if state.record_problem:
            column.addWidget(SignalRow("caution", tr(state.record_problem), word=tr("The record cannot be read")))
        if state.record is not None:
            self._draw_record(state, state.record)
        elif not is_record_checked(state):
            column.addWidget(PlainLabel(tr("Looking for the patient's record…"), "secondary", wrap=True))
        elif not state.record_problem:
            column.addWidget(PlainLabel(tr("No record for this patient"), "strong"))
            self._offer_import()

    def _offer_import(self) -> None:
        """How a record gets here, and the button that does it."""
        column = self._scroll.column
        column.addWidget(PlainLabel(tr("Import a FHIR bundle to see it here."), "secondary", wrap=True))
        wanted = button(tr("Import patient records (FHIR)…"), "user")
        wanted.clicked.connect(lambda: self.requested.emit("file.import_records", None))
        column.addWidget(wanted)

    def _draw_nothing(self) -> None:
        column = self._scroll.column
        column.addWidget(PlainLabel(tr("No patient on screen"), "strong"))
        words = tr("The record of the patient whose image is open is shown here.")
        column.addWidget(PlainLabel(words, "secondary", wrap=True))

    def _draw_record(self, state: State, record: PatientRecord) -> None:
        column = self._scroll.column
        reference = reference_of(state)
        for rows, total in (
            (condition_rows(record.conditions, reference.zone), len(record.conditions or ())),
            (medication_rows(record.medications, reference.zone), len(record.medications or ())),
        ):
            column.addWidget(next(rows))
            column.addWidget(MoreRows(rows, max(total, 1), _SHOWN_FACTS))  # without any, one says that there are none
            column.addWidget(line())
        for widget in vital_rows(record, reference):
            column.addWidget(widget)
        self._answers = QVBoxLayout()
        self._answers.setSpacing(8)
        column.addLayout(self._answers)
        self._draw_answers()
        column.addWidget(line())
        if record.observations:
            mark = reference.moment if reference.is_study else None
            self._values = ValuesSection(quantities(record.observations, reference.zone), mark)
            column.addWidget(self._values)
            self._load_charts(self._draw_values)
            column.addWidget(line())
        self._notes = NotesSection(state, self.requested.emit)
        column.addWidget(self._notes)
        column.addWidget(line())
        self._draw_events(record)
        has_facts = any(part is not None for part in (record.allergies, record.conditions, record.medications))
        if not has_facts and not record.observations:
            column.addWidget(line())
            self._offer_import()

    def _draw_answers(self) -> None:
        """What models say of these values: drawn by themselves, since they come after the record."""
        if self._answers is not None:
            clear(self._answers)
            rows = record_answers_of(self._state)
            for card in record_answer_cards(rows, lambda model_id: self.requested.emit("model.run_record", model_id)):
                self._answers.addWidget(card)

    def _draw_values(self) -> None:
        """Draw the chart, now or as soon as it can be; the record may be another one by then."""
        if self._values is not None:
            self._values.draw_if_ready()

    def _draw_events(self, record: PatientRecord) -> None:
        column = self._scroll.column
        zone = reference_of(self._state).zone
        events = [entry for entry in timeline(record, zone) if entry.kind != "observation"]
        column.addWidget(section(tr("Studies and events")))
        if not events:
            column.addWidget(PlainLabel(tr("Not recorded"), "secondary"))
        column.addWidget(MoreRows((self._event(entry, zone) for entry in events), len(events), _SHOWN_EVENTS))

    def _event(self, entry: TimelineEntry, zone: tzinfo | None) -> QWidget:
        uid = entry.study_instance_uid
        if not uid or first_of_study(self._state, uid) is None:
            return event_row(entry, None, zone)
        return event_row(entry, lambda: self._choose_study(uid), zone)

    def _choose_study(self, study_instance_uid: str) -> None:
        found = first_of_study(self._state, study_instance_uid)  # as it is now: a scan may have gone on
        if found is not None:
            self.requested.emit("image.select", found)


def first_of_study(state: State, study_instance_uid: str) -> Selection | None:
    """The first image of a study of the patient on screen, if that study is open.

    Other patients are not looked at: a record never leads to somebody else's image.
    """
    if state.selection is None or state.record_mismatch:
        return None
    patient = state.selection.patient
    for study in patient.studies:
        if study.study_instance_uid != study_instance_uid:
            continue
        for series in study.series:
            for stack in series.stacks:
                if stack.images:
                    return Selection(patient, study, series, stack, 0)
    return None


def _shown(state: State) -> tuple[object, ...]:
    """All that the panel is drawn from, compared by what it says: the same record may be read again."""
    selection = state.selection
    study, patient = (selection.study, selection.patient) if selection else (None, None)
    return (
        state.record,
        (study.date, study.time, study.utc_offset, study.patient_age) if study else None,
        (patient.name, patient.patient_id, patient.birth_date, patient.sex) if patient else None,
        frozenset(s.study_instance_uid for s in patient.studies if first_of_study(state, s.study_instance_uid))
        if patient
        else None,
        state.record_mismatch,
        state.record_problem,
        is_record_checked(state),
        state.identity_hidden,
        state.language,
    )

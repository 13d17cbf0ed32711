"""The patient record beside the image: who it is, allergies always in sight, what is known and since when."""

from __future__ import annotations

from datetime import datetime

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from medviewer.app.session import Selection, State
from medviewer.gui.cards import Card, ScrollColumn, SignalRow, button, clear, dress, line, section
from medviewer.gui.quantity import quantities
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
from medviewer.records.record import PatientRecord, TimelineEntry, timeline

_SHOWN_EVENTS = 30
_SHOWN_QUANTITIES = 12  # each costs the window 6 ms or more


class RecordPanel(QWidget):
    """One patient: the one on screen. The banner stays while the rest scrolls."""

    requested = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = State()
        self._shows_all = False
        self._banner = QVBoxLayout()
        self._banner.setContentsMargins(12, 12, 12, 8)
        self._banner.setSpacing(4)
        self._scroll = ScrollColumn()
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
        if old is not None and _shown(old) == _shown(new):
            return
        if old is None or old.record is not new.record:
            self._shows_all = False
        self._draw()

    def _draw(self) -> None:
        clear(self._banner)
        clear(self._scroll.column)
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
        elif not state.is_record_checked:
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
        for rows in (
            condition_rows(record.conditions),
            medication_rows(record.medications),
            vital_rows(record, reference),
        ):
            for widget in rows:
                column.addWidget(widget)
            column.addWidget(line())
        if record.observations:
            self._draw_values(record, reference.moment if reference.is_study else None)
            column.addWidget(line())
        self._draw_events(record)
        has_facts = any(part is not None for part in (record.allergies, record.conditions, record.medications))
        if not has_facts and not record.observations:
            column.addWidget(line())
            self._offer_import()

    def _draw_values(self, record: PatientRecord, mark: datetime | None) -> None:
        from medviewer.gui.timeline_chart import TimelineChart  # noqa: PLC0415 - brings pyqtgraph

        rows = quantities(record.observations)
        self._scroll.column.addWidget(section(tr("Values over time")))
        shown = rows if self._shows_all else rows[:_SHOWN_QUANTITIES]
        self._scroll.column.addWidget(TimelineChart(shown, mark, tr("study")))
        self._offer_more(len(rows) - len(shown))

    def _draw_events(self, record: PatientRecord) -> None:
        column = self._scroll.column
        events = [entry for entry in timeline(record) if entry.kind != "observation"]
        column.addWidget(section(tr("Studies and events")))
        if not events:
            column.addWidget(PlainLabel(tr("Not recorded"), "secondary"))
        for entry in events if self._shows_all else events[:_SHOWN_EVENTS]:
            column.addWidget(self._event(entry))
        self._offer_more(0 if self._shows_all else len(events) - _SHOWN_EVENTS)

    def _offer_more(self, hidden: int) -> None:
        if hidden > 0:
            more = button(tr("Show {n} more").format(n=hidden), kind="quiet")
            more.clicked.connect(self._show_all)
            self._scroll.column.addWidget(more)

    def _event(self, entry: TimelineEntry) -> QWidget:
        found = first_of_study(self._state, entry.study_instance_uid) if entry.study_instance_uid else None
        if found is None:
            return event_row(entry, None)
        return event_row(entry, lambda: self.requested.emit("image.select", found))

    def _show_all(self) -> None:
        self._shows_all = True
        self._draw()


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
    """All that the panel is drawn from; records and studies are compared by identity."""
    selection = state.selection
    return (
        id(state.record),
        id(selection.study) if selection else None,
        id(selection.patient) if selection else None,
        state.record_mismatch,
        state.record_problem,
        state.is_record_checked,
        state.identity_hidden,
        state.language,
    )

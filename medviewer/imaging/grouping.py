"""Which images belong together: patient, study, series, stack.

A mistake here puts one person's images beside another's, so the rule is: what is not
known to be the same is kept apart. Patients are the same if Patient ID and issuer are
the same *and* nothing else contradicts it; without an ID, only if name, birth date and
study agree.

Source: PS3.3 C.7.1.1 (Patient), C.7.2.1 (Study), C.7.3.1 (Series); PS3.3 annex A (information model).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path

from medviewer.domain.person_name import names_share_nothing
from medviewer.domain.study import Caveat, Collection, Image, Patient, Problem, Series, Stack, Study
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.geometry import order_stack
from medviewer.imaging.header import Header


@dataclass(slots=True)
class _SeriesEntry:
    facts: Series
    stacks: dict[Hashable, list[Image]] = field(default_factory=dict)
    orientations: set[Hashable] = field(default_factory=set)
    ordered: dict[Hashable, tuple[int, Stack]] = field(default_factory=dict)


@dataclass(slots=True)
class _StudyEntry:
    facts: Study
    series: dict[str, _SeriesEntry] = field(default_factory=dict)


@dataclass(slots=True)
class _PatientEntry:
    facts: Patient
    studies: dict[str, _StudyEntry] = field(default_factory=dict)


class Grouping:
    """Takes images in any order and gives them as patients, studies, series and stacks at any time."""

    def __init__(self) -> None:
        self._patients: list[_PatientEntry] = []
        self._by_key: dict[Hashable, list[_PatientEntry]] = {}
        self._shown: list[Path] = []

    def add(self, header: Header, images: tuple[Image, ...], *, is_duplicate: bool = False) -> None:
        """Put one file's images where they belong.

        Args:
            header: of the file.
            images: its frames.
            is_duplicate: another file with other content has the same SOP Instance UID.
        """
        dataset = header.dataset
        if is_duplicate:
            caveat = Caveat("uid.duplicate", "Another file with other content claims to be this very image.")
            images = tuple(replace(image, warnings=(*image.warnings, caveat)) for image in images)
        patient = self._patient(dataset)
        study_uid = dataset.text(tags.STUDY_INSTANCE_UID)
        study = patient.studies.get(study_uid)
        if study is None:
            study = patient.studies[study_uid] = _StudyEntry(_read_study(dataset, study_uid))
        series_uid = dataset.text(tags.SERIES_INSTANCE_UID)
        # Without a UID nothing says that two files are one series; with another modality they are not.
        modality = dataset.text(tags.MODALITY)
        series_key = f"{series_uid}|{modality}" if series_uid else f"file:{images[0].path}"
        series = study.series.get(series_key)
        if series is None:
            series = study.series[series_key] = _SeriesEntry(_read_series(dataset, series_uid))
        for image in images:
            series.stacks.setdefault(_stack_key(image, dataset), []).append(image)
            if image.description.plane is not None:
                series.orientations.add(_orientation(image))
        self._shown.append(images[0].path)

    def collect(self, problems: tuple[Problem, ...]) -> Collection:
        """Give all that was added so far."""
        patients = tuple(
            replace(
                patient.facts,
                studies=tuple(
                    replace(study.facts, series=_ordered_series(study))
                    for study in sorted(
                        patient.studies.values(), key=lambda study: (study.facts.date, study.facts.time), reverse=True
                    )
                ),
            )
            for patient in self._patients
        )
        return Collection(patients, problems, tuple(self._shown))

    def _patient(self, dataset: DataSet) -> _PatientEntry:
        facts = _read_patient(dataset)
        key: Hashable
        if facts.patient_id:
            key = (facts.patient_id, facts.issuer)
        else:
            key = ("", facts.name, facts.birth_date, dataset.text(tags.STUDY_INSTANCE_UID))
        entries = self._by_key.setdefault(key, [])
        for entry in entries:
            if _may_be_same(entry.facts, facts):
                entry.facts = _completed(entry.facts, facts)
                return entry
        entry = _PatientEntry(facts)
        entries.append(entry)
        self._patients.append(entry)
        return entry


def _read_patient(dataset: DataSet) -> Patient:
    return Patient(
        patient_id=dataset.text(tags.PATIENT_ID),
        issuer=dataset.text(tags.ISSUER_OF_PATIENT_ID),
        name=dataset.text(tags.PATIENT_NAME),
        birth_date=dataset.text(tags.PATIENT_BIRTH_DATE),
        sex=dataset.text(tags.PATIENT_SEX),
    )


def _may_be_same(one: Patient, other: Patient) -> bool:
    """Whether nothing speaks against one person but the ID for it: "1" and "ANON" are given to many.

    With one birth date a name may have changed in part, as by marriage; a wholly other name is another
    person, whose images must neither be shown under the first one's name nor pass the check of their record.
    """
    if {one.sex, other.sex} == {"M", "F"}:
        return False
    if one.birth_date and other.birth_date:
        return one.birth_date == other.birth_date and not names_share_nothing(one.name, other.name)
    names = _plain(one.name), _plain(other.name)
    return not all(names) or names[0] == names[1]


def _plain(name: str) -> str:
    return "".join(character for character in name.partition("=")[0].casefold() if character.isalnum())


def _completed(one: Patient, other: Patient) -> Patient:
    """Fill what the first file left out."""
    return replace(
        one,
        name=one.name or other.name,
        birth_date=one.birth_date or other.birth_date,
        sex=one.sex or other.sex,
    )


def _read_study(dataset: DataSet, uid: str) -> Study:
    return Study(
        study_instance_uid=uid,
        description=dataset.text(tags.STUDY_DESCRIPTION),
        date=dataset.text(tags.STUDY_DATE),
        time=dataset.text(tags.STUDY_TIME),
        accession_number=dataset.text(tags.ACCESSION_NUMBER),
        study_id=dataset.text(tags.STUDY_ID),
        patient_age=dataset.text(tags.PATIENT_AGE),
        referring_physician=dataset.text(tags.REFERRING_PHYSICIAN_NAME),
        institution=dataset.text(tags.INSTITUTION_NAME),
    )


def _read_series(dataset: DataSet, uid: str) -> Series:
    return Series(
        series_instance_uid=uid,
        modality=dataset.text(tags.MODALITY),
        description=dataset.text(tags.SERIES_DESCRIPTION),
        number=dataset.integer(tags.SERIES_NUMBER),
        date=dataset.text(tags.SERIES_DATE) or dataset.text(tags.STUDY_DATE),
        time=dataset.text(tags.SERIES_TIME),
        body_part_examined=dataset.text(tags.BODY_PART_EXAMINED),
        frame_of_reference_uid=dataset.text(tags.FRAME_OF_REFERENCE_UID),
    )


def _orientation(image: Image) -> Hashable:
    plane = image.description.plane
    if plane is None:
        return None
    # Two decimals (half a degree): scanners write cosines with different rounding within one series.
    return tuple(round(value, 2) + 0.0 for value in (*plane.row_cosine, *plane.column_cosine))


def _stack_key(image: Image, dataset: DataSet) -> Hashable:
    """What images must share to be scrolled and measured as one stack."""
    description = image.description
    spacing = description.pixel_spacing_mm
    return (
        description.rows,
        description.columns,
        description.samples_per_pixel,
        _orientation(image),
        None if spacing is None else (round(spacing[0], 4), round(spacing[1], 4)),
        # Each multi-frame object is a stack of its own: a cine loop must not run into the next one.
        (image.path, image.sop_instance_uid) if image.number_of_frames > 1 else None,
        dataset.text(tags.FRAME_OF_REFERENCE_UID),
        dataset.text(tags.TEMPORAL_POSITION_IDENTIFIER),
        dataset.text(tags.ECHO_NUMBERS),
    )


def _ordered_series(study: _StudyEntry) -> tuple[Series, ...]:
    series = [replace(entry.facts, stacks=_ordered_stacks(entry)) for entry in study.series.values()]
    series.sort(key=lambda one: (one.number is None, one.number or 0, one.date, one.time, one.series_instance_uid))
    return tuple(series)


def _ordered_stacks(entry: _SeriesEntry) -> tuple[Stack, ...]:
    stacks = []
    for key, images in entry.stacks.items():
        # Reports while a scan runs come back here often: a stack that did not grow is not ordered again.
        known = entry.ordered.get(key)
        if known is None or known[0] != len(images):
            known = entry.ordered[key] = (len(images), order_stack(images))
        stack = known[1]
        if len(entry.orientations) > 1 and stack.images[0].description.plane is not None:
            caveat = Caveat("orientation.mixed", "The series holds images of several orientations; each is a stack.")
            stack = replace(stack, warnings=(*stack.warnings, caveat))
        stacks.append(stack)
    return tuple(stacks)

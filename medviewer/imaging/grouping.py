"""Which images belong together: patient, study, series, stack.

A mistake here puts one person's images beside another's, so the rule is: what is not
known to be the same is kept apart. Patients are the same if Patient ID and issuer are
the same *and* nothing else contradicts it; without an ID, only if name, birth date and
study agree.

Source: PS3.3 C.7.1.1 (Patient), C.7.2.1 (Study), C.7.3.1 (Series); PS3.3 annex A (information model).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from medviewer.domain.frozen import dataclass
from medviewer.domain.person_name import names_match, names_share_nothing
from medviewer.domain.study import (
    Acquisition,
    Caveat,
    Collection,
    Document,
    Image,
    Patient,
    Problem,
    Series,
    Stack,
    Study,
)
from medviewer.imaging import tags
from medviewer.imaging.dataset import DataSet
from medviewer.imaging.description import SEGMENTATION_STORAGES
from medviewer.imaging.geometry import order_stack
from medviewer.imaging.header import Header
from medviewer.imaging.second_axis import shares_places, split_volumes

_COSINE_TOLERANCE = 0.01  # half a degree: scanners write cosines with different rounding within one series
_SPACING_TOLERANCE_MM = 1e-4


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the pixels of an image lie in the patient."""

    cosines: tuple[float, ...]  # of rows, then columns; none without a plane
    spacing_mm: tuple[float, ...]  # none where the file gives no usable one

    def is_close(self, other: _Layout) -> bool:
        """Whether images of both may be scrolled and measured as one stack."""
        return _are_close(self.cosines, other.cosines, _COSINE_TOLERANCE) and _are_close(
            self.spacing_mm, other.spacing_mm, _SPACING_TOLERANCE_MM
        )


def _are_close(one: tuple[float, ...], other: tuple[float, ...], tolerance: float) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


_Part = tuple[str, str]  # temporal position and echo, which set images of one geometry apart


@dataclass(slots=True)
class _SeriesEntry:
    facts: Series
    families: dict[Hashable, dict[_Part, list[Image]]] = field(default_factory=dict)  # images of one geometry
    layouts: list[_Layout] = field(default_factory=list)
    ordered: dict[Hashable, tuple[int, tuple[Stack, ...]]] = field(default_factory=dict)
    acquisitions: dict[Hashable, Acquisition] = field(default_factory=dict)  # of each family, by its first file


class Place(NamedTuple):
    """Where an image was put: its series, and there the images of its geometry and part."""

    series: _SeriesEntry
    family: Hashable
    part: _Part


@dataclass(slots=True)
class _StudyEntry:
    facts: Study
    series: dict[str, _SeriesEntry] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)


@dataclass(slots=True)
class _PatientEntry:
    facts: Patient
    studies: dict[Hashable, _StudyEntry] = field(default_factory=dict)


class Grouping:
    """Takes images in any order and gives them as patients, studies, series and stacks at any time."""

    def __init__(self) -> None:
        self._patients: list[_PatientEntry] = []
        self._by_key: dict[Hashable, list[_PatientEntry]] = {}
        self._shown: list[Path] = []
        self._last: tuple[Hashable, _PatientEntry] | None = None  # whose the file before was, by what it says
        self._places: dict[str, list[tuple[_SeriesEntry, Hashable]]] = {}  # of the images of a SOP Instance UID

    def add(self, header: Header, images: tuple[Image, ...]) -> Place:
        """Put one file's images where they belong.

        Args:
            header: of the file.
            images: its frames.

        Returns:
            Where the last of them is, for :meth:`add_beside`.
        """
        dataset = header.dataset
        study = self._study(dataset, images[0].path)
        series_uid = dataset.text(tags.SERIES_INSTANCE_UID)
        # Without a UID nothing says that two files are one series; with another modality they are not.
        modality = dataset.text(tags.MODALITY)
        series_key = f"{series_uid}|{modality}" if series_uid else f"file:{images[0].path}"
        series = study.series.get(series_key)
        if series is None:
            series = study.series[series_key] = _SeriesEntry(_read_series(dataset, series_uid))
        keys = [_family_key(image, dataset, _layout(image, series)) for image in images]
        part = (dataset.text(tags.TEMPORAL_POSITION_IDENTIFIER), dataset.text(tags.ECHO_NUMBERS))
        for image, key in zip(images, keys, strict=True):
            if key not in series.families:
                series.acquisitions[key] = _read_acquisition(dataset)
            series.families.setdefault(key, {}).setdefault(part, []).append(image)
        self._doubt_twins(images[0].sop_instance_uid, [(series, key) for key in dict.fromkeys(keys)])
        self._shown.append(images[0].path)
        return Place(series, keys[-1], part)

    def add_beside(self, place: Place, image: Image) -> None:
        """Put the only image of a file that says what another one says, but where it lies, beside that one's."""
        place.series.families[place.family][place.part].append(image)
        self._doubt_twins(image.sop_instance_uid, [(place.series, place.family)])
        self._shown.append(image.path)

    def add_document(self, header: Header, document: Document) -> None:
        """Put a document into its study, of its patient."""
        self._study(header.dataset, document.path).documents.append(document)
        self._shown.append(document.path)

    def add_unidentified(self, stacks: tuple[tuple[Image, ...], ...], description: str) -> None:
        """Put a file that says nothing of a patient where it stays alone: nobody knows that two are of one person.

        Args:
            stacks: its images, already apart.
            description: of the series.
        """
        series = _SeriesEntry(Series(series_instance_uid="", modality="", description=description))
        for index, images in enumerate(stacks):
            series.families[index] = {("", ""): list(images)}
        study = _StudyEntry(Study(study_instance_uid=""), {"": series})
        self._patients.append(_PatientEntry(Patient(patient_id=""), {"": study}))
        self._shown.append(stacks[0][0].path)

    def _doubt_twins(self, uid: str, new: list[tuple[_SeriesEntry, Hashable]]) -> None:
        """Warn on every image whose UID another file with other content has too: either may be the wrong one."""
        if not uid:
            return
        earlier = self._places.get(uid, [])
        self._places[uid] = earlier + new
        if earlier:
            for series, key in self._places[uid]:
                for images in series.families[key].values():
                    images[:] = [_with_doubt(image, uid) for image in images]
                series.ordered.pop(key, None)

    def collect(self, problems: tuple[Problem, ...]) -> Collection:
        """Give all that was added so far."""
        patients = tuple(
            replace(
                patient.facts,
                studies=tuple(
                    replace(study.facts, series=_ordered_series(study), documents=_ordered_documents(study))
                    for study in sorted(
                        patient.studies.values(), key=lambda study: (study.facts.date, study.facts.time), reverse=True
                    )
                ),
            )
            for patient in self._patients
        )
        return Collection(patients, problems, tuple(self._shown))

    def _study(self, dataset: DataSet, path: Path) -> _StudyEntry:
        patient = self._patient(dataset, path)
        key = _study_key(dataset)
        study = patient.studies.get(key)
        if study is None:
            study = patient.studies[key] = _StudyEntry(_read_study(dataset))
        return study

    def _patient(self, dataset: DataSet, path: Path) -> _PatientEntry:
        says = (dataset.character_sets, *(dataset.raw(tag) for tag in _IDENTITY_TAGS))
        if self._last is not None and self._last[0] == says:
            return self._last[1]
        study_uid = dataset.text(tags.STUDY_INSTANCE_UID)
        if not study_uid and not dataset.text(tags.PATIENT_ID):
            # Equal names, often empty ones, make no person of two: only a series is known to be the same.
            series_uid = dataset.text(tags.SERIES_INSTANCE_UID)
            return self._find_patient(dataset, ("series", series_uid) if series_uid else ("file", path))
        self._last = says, self._find_patient(dataset, study_uid)
        return self._last[1]

    def _find_patient(self, dataset: DataSet, within: Hashable) -> _PatientEntry:
        """The patient of a file; ``within`` is what files without an ID must share beside what they say of him."""
        facts = read_patient(dataset)
        is_known = bool(facts.patient_id)
        key = (facts.patient_id, facts.issuer) if is_known else ("", facts.name, facts.birth_date, within)
        entries = self._by_key.setdefault(key, [])
        for entry in entries:
            if may_be_same(entry.facts, facts):
                entry.facts = _completed(entry.facts, facts)
                return entry
        entry = _PatientEntry(replace(facts, key=uuid4().hex))
        entries.append(entry)
        self._patients.append(entry)
        return entry


_IDENTITY_TAGS = (
    tags.PATIENT_ID,
    tags.ISSUER_OF_PATIENT_ID,
    tags.PATIENT_NAME,
    tags.PATIENT_BIRTH_DATE,
    tags.PATIENT_SEX,
    tags.STUDY_INSTANCE_UID,
)
_TWIN = Caveat("uid.duplicate", "Another file with other content claims to be this very image.")


def _with_doubt(image: Image, uid: str) -> Image:
    if image.sop_instance_uid != uid or _TWIN in image.warnings:
        return image
    return replace(image, warnings=(*image.warnings, _TWIN))


def read_patient(dataset: DataSet) -> Patient:
    """Give who a file says that it is of."""
    return Patient(
        patient_id=dataset.text(tags.PATIENT_ID),
        issuer=dataset.text(tags.ISSUER_OF_PATIENT_ID),
        name=dataset.text(tags.PATIENT_NAME),
        birth_date=dataset.text(tags.PATIENT_BIRTH_DATE),
        sex=dataset.text(tags.PATIENT_SEX),
    )


def may_be_same(one: Patient, other: Patient) -> bool:
    """Whether, with the same ID, nothing else speaks against one person: "1" and "ANON" are given to many.

    With one birth date a name may have changed in part, as by marriage; a wholly other name is another
    person, whose images must neither be shown under the first one's name nor pass the check of their record.
    """
    if {one.sex, other.sex} == {"M", "F"}:
        return False
    if one.birth_date and other.birth_date:
        return one.birth_date == other.birth_date and not names_share_nothing(one.name, other.name)
    return names_match(one.name, other.name)


def _completed(one: Patient, other: Patient) -> Patient:
    """Fill what the first file left out."""
    return replace(
        one,
        name=one.name or other.name,
        birth_date=one.birth_date or other.birth_date,
        sex=one.sex or other.sex,
    )


def _study_key(dataset: DataSet) -> Hashable:
    """What images of one study share: its UID; without one, all that tells one visit from another."""
    uid = dataset.text(tags.STUDY_INSTANCE_UID)
    if uid:
        return uid
    visit = (tags.STUDY_DATE, tags.STUDY_TIME, tags.STUDY_ID, tags.ACCESSION_NUMBER, tags.PATIENT_AGE)
    return tuple(dataset.text(tag) for tag in visit)


def _read_study(dataset: DataSet) -> Study:
    return Study(
        study_instance_uid=dataset.text(tags.STUDY_INSTANCE_UID),
        description=dataset.text(tags.STUDY_DESCRIPTION),
        date=dataset.text(tags.STUDY_DATE),
        time=dataset.text(tags.STUDY_TIME),
        accession_number=dataset.text(tags.ACCESSION_NUMBER),
        study_id=dataset.text(tags.STUDY_ID),
        patient_age=dataset.text(tags.PATIENT_AGE),
        referring_physician=dataset.text(tags.REFERRING_PHYSICIAN_NAME),
        institution=dataset.text(tags.INSTITUTION_NAME),
        utc_offset=dataset.text(tags.TIMEZONE_OFFSET_FROM_UTC),
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


def _read_acquisition(dataset: DataSet) -> Acquisition:
    return Acquisition(
        image_type=tuple(word.strip().upper() for word in dataset.texts(tags.IMAGE_TYPE)),
        protocol_name=dataset.text(tags.PROTOCOL_NAME),
        kernel=" ".join(dataset.texts(tags.CONVOLUTION_KERNEL)),
        thickness_mm=dataset.number(tags.SLICE_THICKNESS),
        contrast_agent=dataset.text(tags.CONTRAST_BOLUS_AGENT),
    )


def _layout(image: Image, series: _SeriesEntry) -> _Layout:
    """The first layout of the series that the image's comes close to.

    Rounding would do for most, but splits a series whose values lie at the edge of a step.
    """
    plane, spacing = image.description.plane, image.description.pixel_spacing_mm
    own = _Layout((*plane.row_cosine, *plane.column_cosine) if plane is not None else (), spacing or ())
    for known in series.layouts:
        if known.is_close(own):
            return known
    series.layouts.append(own)
    return own


def _has_several_orientations(entry: _SeriesEntry) -> bool:
    oriented = [layout.cosines for layout in entry.layouts if layout.cosines]
    return any(not _are_close(oriented[0], cosines, _COSINE_TOLERANCE) for cosines in oriented[1:])


def _family_key(image: Image, dataset: DataSet, layout: _Layout) -> Hashable:
    """What images must share to lie in one stack, be it of several volumes."""
    description = image.description
    return (
        description.rows,
        description.columns,
        description.samples_per_pixel,
        layout,
        # Each multi-frame object is a stack of its own: a cine loop must not run into the next one. So is each
        # segmentation, whose segments have numbers of their own.
        (image.path, image.sop_instance_uid)
        if image.number_of_frames > 1 or description.sop_class_uid in SEGMENTATION_STORAGES
        else None,
        dataset.text(tags.FRAME_OF_REFERENCE_UID),
    )


def _ordered_series(study: _StudyEntry) -> tuple[Series, ...]:
    series = [replace(entry.facts, stacks=_ordered_stacks(entry)) for entry in study.series.values()]
    series.sort(key=lambda one: (one.number is None, one.number or 0, one.date, one.time, one.series_instance_uid))
    return tuple(series)


def _ordered_documents(study: _StudyEntry) -> tuple[Document, ...]:
    return tuple(sorted(study.documents, key=lambda one: (one.date, one.time, str(one.path))))


def _ordered_stacks(entry: _SeriesEntry) -> tuple[Stack, ...]:
    stacks: list[Stack] = []
    is_mixed = _has_several_orientations(entry)
    for key, parts in entry.families.items():
        # Reports while a scan runs come back here often: a family that did not grow is not ordered again.
        count = sum(map(len, parts.values()))
        known = entry.ordered.get(key)
        if known is None or known[0] != count:
            made = entry.acquisitions.get(key, Acquisition())
            known = entry.ordered[key] = (count, tuple(replace(one, acquisition=made) for one in _stacks_of(parts)))
        stacks += known[1]
    if not is_mixed:
        return tuple(stacks)
    caveat = Caveat("orientation.mixed", "The series holds images of several orientations; each is a stack.")
    return tuple(
        replace(stack, warnings=(*stack.warnings, caveat)) if stack.images[0].description.plane is not None else stack
        for stack in stacks
    )


def _stacks_of(parts: Mapping[_Part, list[Image]]) -> tuple[Stack, ...]:
    """The fewest stacks in which every volume is whole: one of all images, or one for each echo."""
    for shared in _SHARED_BY_STACK:
        joined: dict[Hashable, list[Image]] = {}
        for part, images in parts.items():
            joined.setdefault(shared(part), []).extend(images)
        stacks = [_stack_of_volumes(images) for images in joined.values()]
        if all(stack is not None for stack in stacks):
            return tuple(stack for stack in stacks if stack is not None)
    found = [_stack_of_volumes(images) or order_stack(images) for images in parts.values()]
    if shares_places([image for images in parts.values() for image in images]):
        found = [
            stack if stack.axis is not None else replace(stack, warnings=(*stack.warnings, _NOT_WHOLE))
            for stack in found
        ]
    return tuple(found)


_SHARED_BY_STACK: tuple[Callable[[_Part], Hashable], ...] = (lambda _part: None, lambda part: part[1])
_NOT_WHOLE = Caveat(
    "axis.incomplete",
    "Several images lie at the same place, and the files do not tell for every place to which time, echo or "
    "b-value each belongs: they are not shown as volumes one after the other.",
)


def _stack_of_volumes(images: list[Image]) -> Stack | None:
    """Volumes of the same places one after the other, with the geometry that they share; None if they are not whole."""
    found = split_volumes(images)
    if found is None:
        return None
    ordered, axis = found
    return replace(order_stack(ordered[: axis.slices]), images=ordered, axis=axis)

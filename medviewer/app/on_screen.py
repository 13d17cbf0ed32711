"""What of the state belongs to the image on screen: ask here, and another image's result can never be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from medviewer.app.state import Cut, Key, Layer, Measured, Measurements, Pane, Scene, Selection, State, Stored, Value
from medviewer.domain.answer import Answer, Attribution, Impression, Subject, finding_in_question
from medviewer.domain.frame import ColorProfile, OverlayPlane
from medviewer.domain.measurement import CutPlane, Measurement
from medviewer.domain.presentation import Appearance, KeyObjects, PresentationState, are_named
from medviewer.domain.shutter import Shutters
from medviewer.domain.study import Collection, Image, Patient, Plane
from medviewer.imaging.presenting import presented
from medviewer.imaging.reslice import across, axes_of


def with_measurement(
    measurements: Measurements, where: Measured, uid: str, measurement: Measurement | None
) -> Measurements:
    """The same with one measurement put in, changed in its place, or (None) taken out."""
    own = list(measurements.get(where, ()))
    at = next((index for index, one in enumerate(own) if one.uid == uid), len(own))
    own[at : at + 1] = [] if measurement is None else [measurement]
    return MappingProxyType({**measurements, where: tuple(own)})


def measured_image(state: State) -> Measured | None:
    """What is on screen, as measurements name it; None while a plane is being cut, and nobody sees it yet."""
    if state.selection is None:
        return None
    if state.cut is None:
        return name_of(state.selection.image)
    d = state.frame.description if state.frame is not None else None
    if d is None or d.plane is None or d.pixel_spacing_mm is None or not is_of(state.cut, d.plane):
        return None
    cut = CutPlane(d.plane, d.pixel_spacing_mm, (d.rows, d.columns), state.cut.slab_mm, state.cut.slab)
    # A cut plane goes by the first image of its volume, which is on no screen more than another.
    where = *state.selection.volume_key[1:], cut
    # A plane that was left and come back to differs in the last digits of its numbers: it is the one drawn on.
    return where if where in state.measurements else next(_same_plane(state, cut), where)


def _same_plane(state: State, cut: CutPlane) -> Iterator[Measured]:
    """By which names of the plane on screen something was measured on it.

    From elsewhere, as in a report, it may have another; and its volume may have had another first image then, by which
    it goes, as more files of a series were found since.
    """
    for known in state.measurements:
        if known[2] is not None and known[2].is_same(cut) and _is_in_volume(state, known):
            yield known


def _is_in_volume(state: State, where: Measured) -> bool:
    """Whether an image is of the volume on screen."""
    now = state.selection
    if now is None:
        return False
    span = now.stack.volume_span(now.index)
    return any(name_of(image)[:2] == where[:2] for image in now.stack.images[span.start : span.stop])


def name_of(image: Image) -> Measured:
    """An image, as measurements name it."""
    return image.sop_instance_uid, image.frame, None


def is_of(cut: Cut, plane: Plane) -> bool:
    """Whether a plane is the one that is wanted: the frame on screen may still be that of the place before."""
    right, down = cut.axes or axes_of(cut.plane)
    is_parallel = np.allclose((plane.row_cosine, plane.column_cosine), (right, down), atol=1e-9)
    return is_parallel and abs(float(across(cut.plane, cut.axes) @ np.array(plane.position)) - cut.at_mm) < 1e-6


def measurements_of(state: State) -> tuple[Measurement, ...]:
    """The measurements of the image on screen."""
    where = measured_image(state)
    if where is None or where[2] is None:
        return state.measurements.get(where, ()) if where is not None else ()
    return tuple(one for known in _same_plane(state, where[2]) for one in state.measurements[known])


def calibration_of(state: State, where: Measured) -> Measurement | None:
    """The reader's calibration of an image: the last one drawn, also where an older one came with a report since."""
    own = (m for m in reversed(state.measurements.get(where, ())) if m.kind == "calibration")
    return max(own, key=lambda m: m.created, default=None)


def value_of(state: State, measurement: Measurement) -> Value | None:
    """The numbers of a measurement; None while they are being found, never those from before it was changed."""
    found = state.values.get(measurement.uid)
    calibration = calibration_of(state, measurement.where)
    is_of_now = found is not None and found.measurement.points == measurement.points
    is_of_now = is_of_now and found is not None and found.calibration == calibration
    return found if is_of_now else None


def scene_of(state: State) -> Scene | None:
    """The 3D view of the volume on screen; never that of another one, as of another time."""
    scene, now = state.scene, state.selection
    return scene if scene is not None and now is not None and now.volume_key == scene.volume_key else None


def stored_image(state: State) -> Stored | None:
    """The stored image on screen, as SOP Instance UID and frame; None for a plane that was cut, and without a UID."""
    if state.selection is None or state.cut is not None or not state.selection.image.sop_instance_uid:
        return None
    return state.selection.image.sop_instance_uid, state.selection.image.frame


def presentations_of(state: State) -> tuple[PresentationState, ...]:
    """The presentation states for the image on screen: of its patient and study, and naming it themselves."""
    now, where = state.selection, stored_image(state)
    if now is None or where is None:
        return ()
    return tuple(one for one in state.presentations if _is_of_study(one, now) and one.names(*where))


def shown_presentation(state: State) -> PresentationState | None:
    """The presentation state that the image on screen is shown with; never one that is not for this image."""
    if not state.view.presentation:
        return None
    return next((one for one in presentations_of(state) if one.sop_instance_uid == state.view.presentation), None)


def appearance_of(state: State) -> Appearance | None:
    """What the presentation state that is shown says of the image on screen."""
    shown, where = shown_presentation(state), stored_image(state)
    return shown.for_image(*where) if shown is not None and where is not None else None


def is_white_low(state: State) -> bool:
    """Whether low values are drawn white: by the image or the presentation state in use, and the reader's inversion."""
    if state.frame is None:
        return state.view.inverted
    appearance = appearance_of(state)
    d = state.frame.description if appearance is None else presented(state.frame.description, appearance)
    return (d.photometric_interpretation == "MONOCHROME1") != state.view.inverted


def wished_profile(state: State, image: Image) -> ColorProfile | None:
    """With what profile the presentation state in use wishes an image of the study on screen; None: its own."""
    if state.selection is None or state.cut is not None or not state.view.presentation:
        return None
    of_study = (one for one in state.presentations if _is_of_study(one, state.selection))
    chosen = next((one for one in of_study if one.sop_instance_uid == state.view.presentation), None)
    return chosen.common.profile if chosen is not None and chosen.names(image.sop_instance_uid, image.frame) else None


def overlays_of(state: State) -> tuple[OverlayPlane, ...]:
    """The overlay planes over the image on screen; with a presentation state those that it wishes.

    Graphics may be words, a name among them: while identity is hidden only regions are left.
    """
    return tuple(plane for plane in _wished_overlays(state) if plane.is_region or not state.identity_hidden)


def withholds_overlays(state: State) -> bool:
    """Whether overlay planes are left out as identity is hidden."""
    return len(overlays_of(state)) < len(_wished_overlays(state))


def _wished_overlays(state: State) -> tuple[OverlayPlane, ...]:
    if state.frame is None:
        return ()
    appearance = appearance_of(state)
    if appearance is None:
        return state.frame.overlays
    own = (plane for plane in state.frame.overlays if plane.group in appearance.overlay_groups)
    return (*own, *appearance.overlays)


def shutters_of(state: State) -> Shutters | None:
    """What covers the image on screen: the file's own shutters; with a presentation state only those that it has."""
    found = _wished_shutters(state)
    if found is None or state.frame is None or found.fits(*state.frame.stored.shape[:2]):
        return found
    return _without_bitmap(found) if found.shapes else None


@lru_cache(maxsize=1)  # the same one each time, so that what is known of it stays known
def _without_bitmap(shutters: Shutters) -> Shutters:
    return replace(shutters, bitmap=None)


def has_misfit(state: State) -> bool:
    """Whether a bitmap shutter is not shown, as it is of another size than the image on screen."""
    found = _wished_shutters(state)
    return found is not None and state.frame is not None and not found.fits(*state.frame.stored.shape[:2])


def _wished_shutters(state: State) -> Shutters | None:
    if state.frame is None:
        return None
    appearance = appearance_of(state)
    return state.frame.shutters if appearance is None else appearance.shutters


def is_key_image(state: State) -> bool:
    """Whether the reader marked the image on screen as a key image."""
    where = stored_image(state)
    return where is not None and state.key_images.get(where, False)


def key_objects_of(state: State) -> tuple[KeyObjects, ...]:
    """The Key Object Selection documents that name the image on screen, of its own study and patient."""
    now, where = state.selection, stored_image(state)
    if now is None or where is None:
        return ()
    return tuple(one for one in state.key_objects if _is_of_study(one, now) and are_named(one.images, *where))


def named_key_images(state: State) -> set[Stored]:
    """The images of the study on screen that documents name as key images; none that they reject."""
    now = state.selection
    if now is None:
        return set()
    documents = [one for one in state.key_objects if _is_of_study(one, now) and not one.is_rejection]
    if not documents:
        return set()
    own = ((image.sop_instance_uid, image.frame) for image in _images_of(now))
    return {where for where in own if any(are_named(one.images, *where) for one in documents)}


def keys_of_stack(state: State) -> list[int]:
    """The places of the key images in the stack on screen: marked by the reader, or named by documents."""
    now = state.selection
    if now is None:
        return []
    wanted = {where for where, is_key in state.key_images.items() if is_key} | named_key_images(state)
    images = enumerate(now.stack.images) if wanted else ()
    return [index for index, image in images if (image.sop_instance_uid, image.frame) in wanted]


def _is_of_study(document: KeyObjects | PresentationState, now: Selection) -> bool:
    is_of_study = document.study_instance_uid == now.study.study_instance_uid
    return is_of_study and document.patient_id == now.patient.patient_id


def _images_of(now: Selection) -> Iterator[Image]:
    for series in now.study.series:
        for stack in series.stacks:
            yield from stack.images


def reference_of(state: State) -> str:
    """The frame of reference of the image on screen; "" where its file does not say it.

    Never the series': its images may lie in several, as those made before and after the patient moved.
    """
    return state.selection.image.frame_of_reference_uid if state.selection is not None else ""


def layers_of(state: State) -> tuple[Layer, ...]:
    """The layers that the reader has laid over the stack on screen."""
    return state.layers.get(state.selection.stack_key, ()) if state.selection is not None else ()


def pane_state(state: State, index: int) -> State:
    """The state as one viewport of the layout shows it: itself for the active one."""
    if index == state.active:
        return state
    pane = state.parked.get(index, _NO_PANE)
    shown = {name: getattr(pane, name) for name in Pane.__dataclass_fields__}
    return replace(state, **shown)


_NO_PANE = Pane()


def seen_selection(state: State) -> Selection | None:
    """The image in the active viewport; where that is empty, one of the others, which is of the same patient."""
    return next((one for one in (state.selection, *(p.selection for p in state.parked.values())) if one), None)


def identity_of(patient: Patient) -> tuple[str, ...]:
    """What tells one patient from another, and one who was completed by a later file from before.

    The key alone tells people apart whose files say the same of them, or nothing; what the files say
    is compared too, because a record that was compared with less of it must be compared anew.
    """
    return (patient.key, patient.issuer, patient.patient_id, patient.name, patient.birth_date, patient.sex)


def patient_beside_record(state: State) -> Patient | None:
    """Whose record stands, or is to stand, beside what is on screen.

    Of a document's patient only if it is the one whose images were on screen: for another one the store is asked
    when images come back.
    """
    if state.reading is not None:
        return state.reading.patient if state.reading.shares_record else None
    seen = seen_selection(state)
    return seen.patient if seen is not None else None


def is_record_checked(state: State) -> bool:
    """Whether the store was asked about the patient on screen, by all that is known of them now."""
    patient = patient_beside_record(state)
    return patient is not None and state.record_of == identity_of(patient)


def active_pane(state: State) -> Pane:
    """What the active viewport shows, to be parked."""
    return Pane(**{name: getattr(state, name) for name in Pane.__dataclass_fields__})


def selections(collection: Collection) -> Iterator[Selection]:
    """Every image of a collection with all that it belongs to, in display order."""
    for patient in collection.patients:
        for study in patient.studies:
            for series in study.series:
                for stack in series.stacks:
                    for index in range(len(stack.images)):
                        yield Selection(patient, study, series, stack, index)


def asks_of_stack(state: State) -> bool:
    """Whether the chosen model looks at the whole stack of slices that the image on screen is of."""
    return state.model_id in state.stack_models


def asked_key(state: State) -> Key | None:
    """By which image what the chosen model says goes: the one on screen, or of a whole stack its first slice.

    None where nothing can be asked: no model of single images has seen a plane that was cut. Planes of a stack show
    what was said of the stack.
    """
    now = state.selection
    if now is None:
        return None
    if asks_of_stack(state):
        return now.volume_key
    return now.image.key if state.cut is None else None


def is_withheld(state: State) -> bool:
    """Whether what models say of the image on screen is withheld until the reader has written an impression."""
    return state.selection is not None and withholds(state, asked_key(state) or state.selection.image.key)


def withholds(state: State, key: Key) -> bool:
    """Whether what models say of an image is withheld until the reader has written an impression of it."""
    return state.read_first and key not in state.impressions


def current_answer(state: State) -> tuple[Subject, Answer] | None:
    """The answer of the chosen model for the image on screen, if there is one and it is not withheld."""
    return None if is_withheld(state) else _answer_of(state)


def has_withheld_answer(state: State) -> bool:
    """Whether there is an answer that is shown once the reader has written an impression."""
    return is_withheld(state) and _answer_of(state) is not None


def _answer_of(state: State) -> tuple[Subject, Answer] | None:
    key = asked_key(state)
    if key is None:
        return None
    for subject, answer in state.answers.items():
        if subject.image_key == key and subject.model_id == state.model_id:
            return subject, answer
    return None


def decidable_answer(state: State) -> tuple[Subject, Answer] | None:
    """The answer that the reader sees and may judge: none that is hidden, and no abstention."""
    found = current_answer(state)
    return found if found is not None and found[1].status == "answer" and not state.record_mismatch else None


def impressions_of(state: State) -> tuple[Impression, ...]:
    """What the reader wrote of the image on screen (of a stack that is asked about, as a whole), the first first."""
    if state.selection is None:
        return ()
    return state.impressions.get(asked_key(state) or state.selection.image.key, ())


def current_attribution(state: State) -> Attribution | None:
    """The heat map of the chosen method for the answer on screen, if there is one."""
    return _attribution_by(state, state.overlay.method)


def second_attribution(state: State) -> Attribution | None:
    """The heat map of the method that the chosen one is compared with, for the answer on screen."""
    return _attribution_by(state, state.overlay.second) if state.overlay.second else None


def _attribution_by(state: State, method: str) -> Attribution | None:
    return next((one for one in attributions_of(state) if one.method == method), None)


def finding_shown(state: State, asked: Subject, answer: Answer) -> str:
    """The label of the finding that heat maps, trust and results of an answer are about; "" if it has none.

    The one that the reader chose for this very answer, else the one in question
    (:func:`~medviewer.domain.answer.place_in_question`).
    """
    chosen = state.overlay.chosen
    is_of_this = chosen is not None and replace(chosen, finding="") == replace(asked, finding="")
    if is_of_this and chosen is not None and any(one.label == chosen.finding for one in answer.findings):
        return chosen.finding
    found = finding_in_question(answer.findings)
    return found.label if found is not None else ""


def shown_finding(state: State) -> str:
    """The label of the finding that is looked at, of the answer on screen; "" if there is none."""
    found = current_answer(state)
    return finding_shown(state, *found) if found is not None else ""


def has_other_findings(state: State) -> bool:
    """Whether the answer on screen has more than one finding, so that it must be said which one a map is of."""
    found = current_answer(state)
    return found is not None and len(found[1].findings) > 1


def attributions_of(state: State) -> tuple[Attribution, ...]:
    """The heat maps of all methods for the answer on screen, of the finding that is looked at and of no other."""
    found = current_answer(state)
    if found is None:
        return ()
    asked, answer = found
    finding = finding_shown(state, asked, answer)
    return tuple(
        attribution
        for subject, attribution in state.attributions.items()
        if subject.method
        and (subject.image_key, subject.model_id, subject.model_sha256)
        == (asked.image_key, asked.model_id, asked.model_sha256)
        and attribution.is_map  # others lie on values, not on the image
        and (attribution.finding == finding or not finding)  # a score or a forecast has no finding
    )

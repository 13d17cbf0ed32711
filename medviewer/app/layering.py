"""Laying other objects of the patient over the image on screen: which can be, choosing them, how they are drawn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from medviewer.app.on_screen import layers_of, reference_of
from medviewer.app.state import EMPTY, Key, Layer, Selection, State
from medviewer.domain.errors import MedViewerError, TooLargeError, UsageError
from medviewer.domain.frozen import dataclass
from medviewer.domain.layer import LayerSource, ScalarLayer, Segmentation
from medviewer.domain.presentation import are_named
from medviewer.domain.progress import Progress, StopToken
from medviewer.domain.study import Collection, Image, Series, Stack
from medviewer.explain.overlay import COLOR_MAPS
from medviewer.imaging.description import SEGMENTATION_STORAGES
from medviewer.imaging.parametric_map import PARAMETRIC_MAP_STORAGE
from medviewer.imaging.planes import grid_of
from medviewer.imaging.rt_dose import RT_DOSE_STORAGE
from medviewer.imaging.scalar_layer import check_stack, is_made_on_image, read_scalar_layer
from medviewer.imaging.segmentation import check_segmentation, read_segmentation
from medviewer.imaging.structure_set import StructureFile, find_structure_set, read_structure_set

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

BUDGET_BYTES = 2 * 2**30  # of all that is laid over images
NO_REFERENCE = "This image does not say in which frame of reference it lies, so nothing can be laid over it."
NO_PLACE = "The file does not say where this image lies in the patient, so nothing can be laid over it."
STILL_OPENING = "The files are still being read; lay it over the image when all are there."
OTHER_IMAGES = "The segmentation was made on other images than these: show those to lay it over them."
OTHER_IMAGE = "It was made on another image, or on one of another size: show that one to lay it over it."
OTHER_REFERENCE = "It lies in another frame of reference, so where it belongs on this image is not known."

_MADE_FOR_IT = frozenset(
    {PARAMETRIC_MAP_STORAGE, RT_DOSE_STORAGE, *SEGMENTATION_STORAGES}
)  # always listed, if need be with the reason why not
_MODALITIES = frozenset({"PT", "NM"})
_MOST_FILES = 1000  # without images, looked into for structures
Kind = Literal["values", "segments", "structures"]
_ORDER: tuple[Kind, ...] = ("values", "segments", "structures")


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """An object of the patient that could be laid over the image on screen; ``why_not`` says why it cannot.

    ``title`` is the file's text. ``source`` is what it is read from.
    """

    key: Key
    kind: Kind
    modality: str
    title: str
    date: str
    source: Stack | StructureFile
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class LayerChange:
    """What the reader changes of a layer: fields of :class:`Layer` by name. One ``gesture`` is undone together."""

    source: Key
    changes: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    gesture: str = ""


def has_layers(state: State) -> bool:
    """Whether anything lies over the image on screen."""
    return bool(layers_of(state))


def offers(state: State) -> tuple[Offer, ...]:
    """What of the patient on screen could be laid over the image, and what cannot with the reason why.

    What is made to be laid over images comes first, and other series last.
    """
    now = state.selection
    if now is None:
        return ()
    found = [*_stack_offers(state, now), *_structure_offers(state, now)]
    return tuple(sorted(found, key=lambda one: (_ORDER.index(one.kind), not _is_made_for_it(one.source))))


def lay(app: Application, key: Key) -> None:
    """Lay an object over the stack on screen: values take the place of other values.

    Raises:
        UsageError: it cannot be laid over this image; says why.
    """
    asked, now = app.state, app.state.selection
    offer = next((one for one in offers(app.state) if one.key == key), None)
    if now is None or offer is None or key in {layer.source for layer in layers_of(app.state)}:
        return
    if offer.why_not:
        raise UsageError(offer.why_not)
    if "open" in app.jobs.running:  # what is there of a series now is not all of it
        raise UsageError(STILL_OPENING)
    known = app.state.layer_sources.get(key)
    if known is not None:
        _add(app, now, key, known)
        return

    def work(stop: StopToken, progress: Progress) -> LayerSource:
        return _read(offer, reference_of(asked), stop, progress)

    def done(source: LayerSource) -> None:
        latest = app.state.selection
        if latest is None or latest.stack_key != now.stack_key:
            return  # the reader went on to something else
        try:
            sources = _with_room(app.state, source.size_bytes)
            app.session.update(layer_sources=MappingProxyType({**sources, key: source}))
            _add(app, latest, key, source)
        except MedViewerError as error:
            app.notify("alarm", str(error), job="layer")

    app.start_job("layer", work, done)


def lay_next(app: Application, _argument: object) -> None:
    """Lay the next series that can be over the image; after the last one, none."""
    possible = [one.key for one in offers(app.state) if one.kind == "values" and not one.why_not]
    if not possible:
        refused = next((one.why_not for one in offers(app.state)), "")
        app.notify("info", refused or "No other series of this patient can be laid over this image.")
        return
    shown = next((layer.source for layer in layers_of(app.state) if layer.source in possible), None)
    at = possible.index(shown) + 1 if shown is not None else 0
    if at < len(possible):
        lay(app, possible[at])
    elif shown is not None:
        remove(app, shown)


def remove(app: Application, key: Key) -> None:
    """Take a layer away from the stack on screen."""
    own = layers_of(app.state)
    left = tuple(layer for layer in own if layer.source != key)
    if left != own:
        _use(app, left)


def change(app: Application, wish: LayerChange) -> None:
    """Draw a layer in another way.

    Raises:
        UsageError: a colour map that there is not, or a range without an extent.
    """
    own = layers_of(app.state)
    changed = tuple(_checked(replace(one, **wish.changes)) if one.source == wish.source else one for one in own)
    if changed != own:
        _use(app, changed, gesture=f"{wish.gesture} {wish.source}" if wish.gesture else "")


def toggle(app: Application, _argument: object) -> None:
    """Hide what lies over the images, or show it."""
    app.session.update(layers_shown=not app.state.layers_shown)


def look_for_structures(app: Application, collection: Collection) -> None:
    """Find the structure sets that lie beside the images: they hold no image, so the problem list names them."""
    paths = [problem.file for problem in collection.problems if problem.status == "read"][:_MOST_FILES]
    if not paths:
        return

    def work(stop: StopToken, _progress: Progress) -> tuple[StructureFile, ...]:
        found = []
        for path in paths:
            stop.raise_if_stopped()
            with contextlib.suppress(MedViewerError):  # the problem list has its reason
                found.append(find_structure_set(path))
        return tuple(one for one in found if one is not None)

    app.background.start(
        "structures", work, lambda found: app.session.update(structure_files=found), lambda _error: None
    )


def _stack_offers(state: State, now: Selection) -> Iterator[Offer]:
    for study in now.patient.studies:
        for series in study.series:
            for stack in series.stacks:
                key, kind = stack.images[0].key, _kind(stack)
                if kind is None or key == now.stack_key:
                    continue
                why_not = _why_not_map(stack, now) if is_made_on_image(stack) else _obstacle(state)
                why_not = why_not or _why_not(stack, kind, reference_of(state))
                if not why_not or _is_made_for_it(stack):
                    yield Offer(key, kind, series.modality, _title(series, stack), study.date, stack, why_not)


def _title(series: Series, stack: Stack) -> str:
    """What the file calls it; of a map, if need be, what it maps."""
    mapped = stack.images[0].description.real_world
    return series.description or (mapped.name if mapped is not None else "") or series.body_part_examined


def _structure_offers(state: State, now: Selection) -> Iterator[Offer]:
    for file in state.structure_files:
        if file.is_of(now.patient):
            reference = reference_of(state)
            is_here = reference in file.references
            why_not = _obstacle(state) or ("" if is_here else OTHER_REFERENCE)
            # Only the regions of one frame of reference are read: those of another one are another layer.
            key = (*file.key[:2], sorted(file.references).index(reference) if is_here else 0)
            yield Offer(key, "structures", "RTSTRUCT", file.label, "", file, why_not)


def _obstacle(state: State) -> str:
    """Why nothing at all can be laid over the image on screen."""
    if not reference_of(state):
        return NO_REFERENCE
    is_placed = state.selection is not None and grid_of(state.selection.image.description) is not None
    return "" if is_placed else NO_PLACE


def _kind(stack: Stack) -> Kind | None:
    d = stack.images[0].description
    if d.sop_class_uid in SEGMENTATION_STORAGES:
        return "segments"
    is_volume = len(stack.images) > 1 and d.samples_per_pixel == 1
    return "values" if is_volume or _is_made_for_it(stack) else None


def _is_made_for_it(source: Stack | StructureFile) -> bool:
    if isinstance(source, StructureFile):
        return True
    d = source.images[0].description
    return d.sop_class_uid in _MADE_FOR_IT or d.modality in _MODALITIES


def _read(offer: Offer, reference: str, stop: StopToken, progress: Progress) -> LayerSource:
    return replace(_source(offer, reference, stop, progress), title=offer.title)


def _source(offer: Offer, reference: str, stop: StopToken, progress: Progress) -> LayerSource:
    if isinstance(offer.source, StructureFile):
        file = offer.source
        return read_structure_set(file.path, sop_instance_uid=file.sop_instance_uid, frame_of_reference_uid=reference)
    if offer.kind == "segments":
        return read_segmentation(offer.source, progress=progress, stop=stop)
    return read_scalar_layer(offer.source, progress=progress, stop=stop)


def _why_not_map(stack: Stack, now: Selection) -> str:
    """Why a map that names its image cannot be laid over the stack on screen: the image is none of it."""
    own = stack.images[0]
    is_there = any(image.bears(own.made_on) and _size(image) == _size(own) for image in now.stack.images)
    return "" if is_there else OTHER_IMAGE


def _size(image: Image) -> tuple[int, int]:
    return image.description.rows, image.description.columns


def _why_not(stack: Stack, kind: Kind, reference: str) -> str:
    if is_made_on_image(stack):
        return ""
    own = stack.images[0].frame_of_reference_uid
    if own and own != reference:
        return OTHER_REFERENCE
    try:
        if kind == "values":
            check_stack(stack)
        else:
            check_segmentation(stack)
    except MedViewerError as error:
        return str(error)
    return ""


def _add(app: Application, now: Selection, key: Key, source: LayerSource) -> None:
    """Put a layer that has been read over the stack on screen."""
    is_map = isinstance(source, ScalarLayer | Segmentation) and source.on is not None
    if not is_map and source.frame_of_reference_uid != now.image.frame_of_reference_uid:
        raise UsageError(OTHER_REFERENCE)
    own = layers_of(app.state)
    if isinstance(source, Segmentation) and source.references:
        images = now.stack.images
        if not any(are_named(source.references, image.sop_instance_uid, image.frame) for image in images):
            raise UsageError(OTHER_IMAGES)
    if isinstance(source, ScalarLayer):
        own = tuple(layer for layer in own if not isinstance(app.state.layer_sources.get(layer.source), ScalarLayer))
    _use(app, (*own, Layer(key)))
    app.session.update(layers_shown=True)


def _use(app: Application, layers: tuple[Layer, ...], *, gesture: str = "") -> None:
    now = app.state.selection
    assert now is not None  # noqa: S101 - there is a stack whose layers these are
    app.session.change(
        gesture=gesture and f"layer {gesture}", layers=MappingProxyType({**app.state.layers, now.stack_key: layers})
    )


def _with_room(state: State, wanted: int) -> dict[Key, LayerSource]:
    """The sources that stay when another of so many bytes comes: those in use, and of the others what fits.

    Raises:
        TooLargeError: those in use leave no room.
    """
    used = {layer.source for own in state.layers.values() for layer in own}
    sources = dict(state.layer_sources)
    for key in [key for key in sources if key not in used]:
        if wanted + sum(source.size_bytes for source in sources.values()) <= BUDGET_BYTES:
            break
        del sources[key]
    if wanted + sum(source.size_bytes for source in sources.values()) > BUDGET_BYTES:
        raise TooLargeError("There is no memory left for another layer; take one away first.")
    return sources


def _checked(layer: Layer) -> Layer:
    if layer.color_map not in COLOR_MAPS:
        raise UsageError(f"There is no colour map “{layer.color_map}”; choose one of the list.")
    if layer.range is not None and not layer.range[0] < layer.range[1]:
        raise UsageError("The upper end of the colours must be above the lower one.")
    return replace(layer, opacity=min(max(layer.opacity, 0.0), 1.0))

"""The layers of each viewport, cut with the plane that it shows: off the GUI thread, kept for when it comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from medviewer.app.analysis import cut_grid
from medviewer.app.linking import shown_grid
from medviewer.app.on_screen import layers_of, pane_state, reference_of, scene_of, stored_image
from medviewer.app.panes import pane_numbers
from medviewer.app.state import Key, Layer, ShownPlane, State
from medviewer.domain.errors import MedViewerError, UsageError
from medviewer.domain.layer import LayerPlane, LayerSource, ScalarLayer, Segmentation, StructureSet
from medviewer.domain.presentation import are_named
from medviewer.domain.progress import StopToken
from medviewer.domain.study import Image
from medviewer.imaging.scalar_layer import lay_scalar
from medviewer.imaging.segmentation import lay_segmentation
from medviewer.imaging.structure_set import lay_structures

if TYPE_CHECKING:  # commands act on the application, which holds their table
    from medviewer.app.application import Application

BUDGET_BYTES = 256 * 2**20  # of the planes that are kept
_AHEAD = (1, -1, 2, -2, 3, -3)  # images
_WATCHED = ("layers", "layers_shown", "layer_sources", "selection", "cut", "frame", "parked", "layout", "active")


_Planes = Mapping[tuple[Key, ShownPlane], LayerPlane]


class Laid(NamedTuple):
    """A layer over the image on screen; ``plane`` is None while it is being cut."""

    layer: Layer
    source: LayerSource
    plane: LayerPlane | None


def laid_on(state: State) -> tuple[Laid, ...]:
    """What may be drawn over the image on screen: of its own frame of reference, cut with its very plane."""
    return _laid(state, shown_plane(state)) if state.frame is not None else ()


def _is_map(source: LayerSource) -> bool:
    """Whether it lies on the pixels of one image, and is never cut."""
    return not isinstance(source, StructureSet) and source.on is not None


def _on_pixels(source: LayerSource, state: State) -> LayerPlane | None:
    """What was made on the very image on screen, and has its size."""
    image = state.selection.image if state.selection is not None and stored_image(state) is not None else None
    if image is None or isinstance(source, StructureSet) or not image.bears(source.on):
        return None
    d = image.description
    return source.as_plane if source.shape == (d.rows, d.columns) else None


def _laid(state: State, where: ShownPlane | None) -> tuple[Laid, ...]:
    """What may be drawn on a plane of the stack on screen, also while the image itself is still being read."""
    if not state.layers_shown:
        return ()
    found = []
    for layer in layers_of(state):
        source = state.layer_sources.get(layer.source)
        if source is not None and _is_map(source):
            own = _on_pixels(source, state)
            found += [Laid(layer, source, own)] if own is not None else []
            continue
        if where is None:
            continue
        is_here = source is not None and source.frame_of_reference_uid == reference_of(state)
        if source is not None and is_here and not _is_of_other_volume(source, state):
            found.append(Laid(layer, source, state.laid.get((layer.source, where))))
    return tuple(found)


def of_other_volumes(state: State) -> tuple[LayerSource, ...]:
    """What the reader laid over the stack on screen, but was made on another volume of it: none of it is drawn."""
    if not state.layers_shown:
        return ()
    known = (state.layer_sources.get(layer.source) for layer in layers_of(state))
    return tuple(source for source in known if source is not None and _is_of_other_volume(source, state))


def _is_of_other_volume(source: LayerSource, state: State) -> bool:
    """Whether segments or structures were made on another time, echo or b-value of this stack than is shown."""
    now = state.selection
    if now is None or now.stack.axis is None or isinstance(source, ScalarLayer) or not source.references:
        return False
    span = now.stack.volume_span(now.index)
    if _is_named(source, now.stack.images[span.start : span.stop]):
        return False
    # Segments lie over what they were made on only; structures may be of another series of the same place.
    return isinstance(source, Segmentation) or _is_named(source, now.stack.images)


def _is_named(source: Segmentation | StructureSet, images: Sequence[Image]) -> bool:
    return any(are_named(source.references, image.sop_instance_uid, image.frame) for image in images)


def with_layers_cut(state: State, stop: StopToken) -> State:
    """The same state with every layer cut that lies over its image; may be called from any thread."""
    where = shown_plane(state)
    missing = {laid.layer.source: laid.source for laid in laid_on(state) if laid.plane is None}
    if where is None or not missing:
        return state
    return replace(state, laid=MappingProxyType({**state.laid, **_cut(missing, (where,), stop)}))


def refuse_uncut(state: State) -> None:
    """Refuse a picture on which a layer would be missing: it would look as if nothing were there.

    Raises:
        UsageError: a layer is not cut yet.
    """
    if scene_of(state) is None and any(laid.plane is None for laid in laid_on(state)):
        raise UsageError("A layer over the image is not there yet: wait a moment, or hide the layers.")


def shown_plane(state: State) -> ShownPlane | None:
    """The plane that a state shows; None where its place in the patient is not known."""
    grid = shown_grid(state)
    if grid is None or state.selection is None or not reference_of(state):
        return None
    if state.cut is not None:
        return ShownPlane(grid, state.cut.slab_mm, state.cut.slab)
    between = state.selection.stack.spacing_mm[2]
    return ShownPlane(grid, slice_mm=between if between is not None else min(grid.spacing_mm))


class LayerCutter:
    """Sees to it that every viewport has the planes of its layers, the latest wish first."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._wanted: dict[int, tuple[ShownPlane, Mapping[Key, LayerSource]]] = {}  # by viewport, while it is being cut

    def watch(self, old: State, new: State) -> None:
        """Cut what is missing."""
        if all(getattr(old, name) is getattr(new, name) for name in _WATCHED):
            return
        for index in pane_numbers(new):
            self._cut_missing(index, pane_state(new, index))

    def _cut_missing(self, index: int, state: State) -> None:
        where = self._coming_plane(state)
        wanted = {laid.layer.source: laid for laid in _laid(state, where)}
        missing = {key: laid.source for key, laid in wanted.items() if laid.plane is None}
        slot = f"layer {index}"
        if where is None or not missing:
            self._app.jobs.stop(slot)
            self._wanted.pop(index, None)  # it holds on to what was read
            if where is not None and wanted:
                self._cut_ahead(index, state)
            return
        if slot in self._app.jobs.running and self._wanted.get(index) == (where, missing):
            return  # what changed was another viewport
        self._wanted[index] = (where, missing)

        def done(planes: _Planes) -> None:
            self._wanted.pop(index, None)
            self._keep(planes, missing)
            self._cut_ahead(index, pane_state(self._app.state, index))

        self._app.jobs.start(
            slot,
            lambda stop, _progress: _cut(missing, (where,), stop),
            done,
            lambda error: self._app.notify("caution", str(error), job="layer"),
        )

    def _coming_plane(self, state: State) -> ShownPlane | None:
        """The plane that a viewport will show: one that is being cut gets its layers at the same time."""
        kept, now, cut = self._app.volume, state.selection, state.cut
        if cut is None or now is None or kept is None or kept.key != now.volume_key or not reference_of(state):
            return shown_plane(state)
        try:
            return ShownPlane(cut_grid(kept.volume, cut), cut.slab_mm, cut.slab)
        except MedViewerError:
            return None  # the viewport says why

    def _cut_ahead(self, index: int, state: State) -> None:
        """Cut what will be looked at next, so that an image never comes without its layers."""
        now = state.selection
        sources = {
            laid.layer.source: laid.source for laid in _laid(state, shown_plane(state)) if not _is_map(laid.source)
        }
        if now is None or state.cut is not None or not sources:
            return
        near = (now.index + step for step in _AHEAD)
        images = (replace(state, selection=replace(now, index=i)) for i in near if 0 <= i < len(now.stack.images))
        places = tuple(where for one in images if (where := shown_plane(one)) is not None)
        missing = tuple(where for where in places if any((key, where) not in state.laid for key in sources))
        if missing:
            self._app.background.start(
                f"layers ahead {index}",
                lambda stop, _progress: _cut(sources, missing, stop),
                lambda planes: self._keep(planes, sources),
                lambda _error: None,  # said when the reader gets there
            )

    def _keep(self, planes: _Planes, sources: Mapping[Key, LayerSource]) -> None:
        """Keep what was cut; not of a source that has been read anew since, which has planes of its own."""
        now = self._app.state
        own = {key: plane for key, plane in planes.items() if now.layer_sources.get(key[0]) is sources[key[0]]}
        if own:
            self._app.session.update(laid=_kept({**now.laid, **own}, now))


def _cut(sources: Mapping[Key, LayerSource], places: Sequence[ShownPlane], stop: StopToken) -> _Planes:
    planes = {}
    for where in places:
        for key, source in sources.items():
            stop.raise_if_stopped()
            planes[key, where] = cut_layer(source, where)
    return planes


def cut_layer(source: LayerSource, where: ShownPlane) -> LayerPlane:
    """A layer on one plane: of a slab, values as thick as it is, and labels in its middle."""
    if isinstance(source, ScalarLayer):
        return lay_scalar(source, where.grid, slab_mm=where.slab_mm, slab=where.slab)
    if isinstance(source, Segmentation):
        return lay_segmentation(source, where.grid)
    return lay_structures(source, where.grid, where.slice_mm)


def _kept(laid: dict[tuple[Key, ShownPlane], LayerPlane], state: State) -> _Planes:
    """Without the oldest planes that no longer fit; those on screen stay."""
    total = sum(plane.size_bytes for plane in laid.values())
    panes = [pane_state(state, index) for index in pane_numbers(state)]
    shown = {(layer.source, shown_plane(pane)) for pane in panes for layer in layers_of(pane)}
    for key in [key for key in laid if key not in shown]:
        if total <= BUDGET_BYTES:
            break
        total -= laid.pop(key).size_bytes
    return MappingProxyType(laid)

"""A stack of slices of a case, as a block for a network in three dimensions.

Where the card says towards which sides of the patient the network's axes rise, the stack is turned so, whatever
way it is stored: left and right, head and feet are those of the training data. Without that nothing is turned, and
a stack that lies otherwise than axial slices do is warned of. Nothing is interpolated to turn it: one that lies
obliquely, with gaps or leaning slices is refused, since a network would see another anatomy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.anchor import Anchor, PixelBox
from medviewer.domain.case import Case
from medviewer.domain.errors import CardError, InputError
from medviewer.domain.study import PixelDescription
from medviewer.domain.volume import Volume
from medviewer.domain.volume_map import VolumeMap
from medviewer.imaging.display import to_modality
from medviewer.inference.card import Card, InputSpec
from medviewer.inference.inputs.adapter import Arrays, Doubt, Encoded, Group, Missing
from medviewer.inference.preprocessing import filtered

BOXES_ACROSS = 4
_UNEVEN = 0.05  # of the usual distance between slices
_NEAR = float(np.cos(np.radians(30)))  # to an axis of the patient: what is farther from all of them is oblique
_AXIAL = {"op": "orient", "slices": "H", "rows": "P", "columns": "L"}
_SIDES = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}  # LPS
_AXES = ("slices", "rows", "columns")
_NO_HEADER = "identity.none"  # the guards ask what it is

FloatBlock = npt.NDArray[np.float32]
Turn = tuple[tuple[int, int, int], tuple[bool, bool, bool]]
"""Of each axis of the network: which axis of the stack it is, and whether it runs the other way."""


def stack_input(card: Card) -> InputSpec | None:
    """The stack of slices that a model is about; None if it takes none, or an image too."""
    kinds = [spec.kind for spec in card.inputs]
    return card.inputs[kinds.index("volume")] if kinds.count("volume") == 1 and "image" not in kinds else None


def problems(spec: InputSpec) -> Iterator[str]:
    """Contradictions of the card's input."""
    if len(spec.shape) != 5 or spec.shape[1] != 1 or None in spec.shape[1:]:
        yield "a volume has the shape [null, 1, slices, rows, columns]"
    sizes = [(1, s["slices"], s["rows"], s["columns"]) for s in spec.preprocessing if s["op"] == "resize"]
    if sizes[-1:] != [spec.shape[1:]]:
        yield f"{spec.name} is not resized to its shape"
    if any(step["op"] == "window" and step["low"] >= step["high"] for step in spec.preprocessing):
        yield f"the window of {spec.name} is empty"
    turns = [place for place, step in enumerate(spec.preprocessing) if step["op"] == "orient"]
    if turns and turns != [0]:
        yield f"{spec.name} is turned once and before all else, or not at all"
    if turns and len({abs(np.argmax(np.abs(_SIDES[spec.preprocessing[turns[0]][name]]))) for name in _AXES}) < 3:
        yield f"two axes of {spec.name} run along the same axis of the patient"
    for bounded in ("spacing_mm", "slices"):
        bounds = spec.document.get(bounded)
        if bounds is not None and bounds[0] > bounds[1]:
            yield f"the range of {bounded} of {spec.name} is empty"


def pull(case: Case, spec: InputSpec) -> Volume | Missing:
    """The case's only volume; between several nothing is guessed."""
    if len(case.volumes) == 1:
        return case.volumes[0]
    code = "several_volumes" if case.volumes else "no_volume"
    return Missing((spec.name,), (Doubt(code, "abstain", spec.name),))


def examine(raw: Volume, spec: InputSpec) -> tuple[list[Doubt], tuple[()]]:
    """Whether it is of the right kind, lies as the network must see it, evenly sliced, as finely as the card says."""
    has_header = all(caveat.code != _NO_HEADER for caveat in raw.caveats)
    found = list(header_doubts(raw.description, spec, has_header=has_header))
    if _is_uneven(raw):
        found.append(Doubt("uneven_volume", "abstain", spec.name))
    bounds = spec.document.get("spacing_mm")
    if bounds is not None and len(raw.positions) > 1 and not bounds[0] <= raw.slice_spacing_mm <= bounds[1]:
        facts = {"found": f"{raw.slice_spacing_mm:.2f}", "low": f"{bounds[0]:g}", "high": f"{bounds[1]:g}"}
        found.append(Doubt("slice_spacing", "abstain", spec.name, facts))
    turn = _turn(raw, _orientation(spec) or _AXIAL)
    if turn is None:
        found.append(Doubt("oblique_volume", "abstain", spec.name))
    elif _orientation(spec) is None and turn != ((0, 1, 2), (False, False, False)):
        found.append(Doubt("unturned_volume", "warn", spec.name))
    return [*found, *_count_doubts(raw, spec, turn)], ()


def header_doubts(seen: PixelDescription, spec: InputSpec, *, has_header: bool = True) -> Iterator[Doubt]:
    """What the header of its slices alone says against it."""
    pairs = (
        ("modality", seen.modality, spec.modality),
        ("body_part", seen.body_part_examined, spec.body_part),
        ("sop_class", seen.sop_class_uid, spec.sop_class_uids),
    )
    for code, value, allowed in pairs:
        is_known = bool(value.strip())
        if allowed and value.strip().upper() not in allowed and (is_known or has_header):
            key = "sop_class" if code == "sop_class" else f"{code}.{'abstain' if is_known else 'unknown'}"
            facts = {"found": value, "expected": ", ".join(allowed)}
            yield Doubt(key, "abstain" if is_known else "warn", spec.name, facts)


def encode(raw: Volume, spec: InputSpec) -> Encoded:
    """``(1, slices, rows, columns)`` float32 after the card's steps.

    Raises:
        CardError: the card's steps do not lead to its shape.
        InputError: it lies obliquely, so that it cannot be turned as the card says.
    """
    block = np.empty(raw.stored.shape, np.float32)
    padding = raw.description.pixel_padding_range  # of stored values; where slices are scaled differently it is NaN
    for place, values in enumerate(raw.stored):  # one slice at a time: a stack in float64 may be gigabytes
        block[place] = to_modality(values.astype(np.float64), raw.description)
        if padding is not None:
            block[place][(values >= padding[0]) & (values <= padding[1])] = np.nan
    if padding is not None or raw.stored.dtype.kind == "f":
        _fill(block)
    for step in spec.preprocessing:
        block = _turned(block, raw, step) if step["op"] == "orient" else _run(block, step)
    if (1, *block.shape) != spec.shape[1:]:
        raise CardError("The volume was not prepared to the model's size; its card is at fault: install it again.")
    return Encoded({spec.name: np.ascontiguousarray(block[None])})


def groups(raw: Volume, spec: InputSpec) -> list[Group]:
    """Boxes, four across each way, with their places in the stack as it is stored."""
    shape = tuple(size or 0 for size in spec.shape[1:])
    order, flipped = _turn(raw, _orientation(spec) or {}) or ((0, 1, 2), (False, False, False))
    step = [raw.stored.shape[axis] / size for axis, size in zip(order, shape[1:], strict=True)]
    parts = [np.array_split(np.arange(size), min(BOXES_ACROSS, size)) for size in shape[1:]]
    found = []
    for s in parts[0]:
        for r in parts[1]:
            for c in parts[2]:
                mask = np.zeros(shape, np.bool_)
                mask[:, s[0] : s[-1] + 1, r[0] : r[-1] + 1, c[0] : c[-1] + 1] = True
                edges = [(0.0, 0.0)] * 3
                for one, size, axis, is_flipped in zip((s, r, c), step, order, flipped, strict=True):
                    low, high = float(one[0] * size), float((one[-1] + 1) * size)
                    whole = float(raw.stored.shape[axis])
                    edges[axis] = (whole - high, whole - low) if is_flipped else (low, high)
                anchor = PixelBox(spec.name, rows=edges[1], columns=edges[2], slices=edges[0])
                found.append(Group(anchor, {spec.name: mask}))
    return found


def map_of(raw: Volume, spec: InputSpec, anchors: Sequence[Anchor], values: npt.NDArray[np.float32]) -> VolumeMap:
    """The values of :func:`groups` as a map with its place in the patient; those of other inputs are left out."""
    pairs = [(one, float(value)) for one, value in zip(anchors, values, strict=True) if isinstance(one, PixelBox)]
    own = [
        (((one.slices or (0.0, 0.0)), one.rows, one.columns), value) for one, value in pairs if one.input == spec.name
    ]
    begins = [sorted({box[axis][0] for box, _ in own}) for axis in range(3)]
    block = np.full([len(places) for places in begins], np.nan, np.float32)
    for box, value in own:
        block[tuple(places.index(box[axis][0]) for axis, places in enumerate(begins))] = value
    block.setflags(write=False)
    slices, rows, columns = (
        np.array([*places, size], np.float64) for places, size in zip(begins, raw.stored.shape, strict=True)
    )
    voxels = (raw.stored.shape[0], raw.stored.shape[1], raw.stored.shape[2])
    return VolumeMap(block, (slices, rows, columns), raw.positions, raw.plane, raw.spacing_mm, voxels)


def baseline(raw: Volume, spec: InputSpec) -> Arrays:
    """A block of the volume's own mean."""
    tensor = encode(raw, spec).tensors[spec.name]
    return {spec.name: np.full_like(tensor, tensor.mean(dtype=np.float64))}


def _fill(block: FloatBlock) -> None:
    """Make what has no value as low as the lowest that there is: one NaN would spread over all that a network sees."""
    is_empty = np.isnan(block)
    if is_empty.any():
        block[is_empty] = 0.0 if is_empty.all() else np.fmin.reduce(block, axis=None)


def _orientation(spec: InputSpec) -> Mapping[str, Any] | None:
    return next((step for step in spec.preprocessing if step["op"] == "orient"), None)


def _turn(raw: Volume, step: Mapping[str, Any]) -> Turn | None:
    """How the stack has to be turned; None if it lies obliquely. Without a step it stays as it is."""
    if not step:
        return (0, 1, 2), (False, False, False)
    stored = np.array([raw.plane.normal, raw.plane.column_cosine, raw.plane.row_cosine])
    order, flipped = [], []
    for name in _AXES:
        alike = stored @ np.array(_SIDES[step[name]], np.float64)
        axis = int(np.argmax(np.abs(alike)))
        if abs(alike[axis]) < _NEAR:
            return None
        order.append(axis)
        flipped.append(bool(alike[axis] < 0))
    return (order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2])


def _turned(block: FloatBlock, raw: Volume, step: Mapping[str, Any]) -> FloatBlock:
    turn = _turn(raw, step)
    if turn is None:
        raise InputError("The slices lie obliquely in the patient, so they cannot be turned as the model needs them.")
    order, flipped = turn
    backwards = tuple(axis for axis, is_flipped in enumerate(flipped) if is_flipped)
    return np.asarray(np.flip(block.transpose(order), backwards), np.float32)


def _count_doubts(raw: Volume, spec: InputSpec, turn: Turn | None) -> Iterator[Doubt]:
    """Whether there are as many slices as the card says; else whether there is much between them that nobody saw."""
    count, bounds = len(raw.positions), spec.document.get("slices")
    if bounds is not None and not bounds[0] <= count <= bounds[1]:
        facts = {"found": str(count), "low": f"{bounds[0]:g}", "high": f"{bounds[1]:g}"}
        yield Doubt("slice_count", "abstain", spec.name, facts)
        return
    order = turn[0] if turn is not None and _orientation(spec) is not None else (0, 1, 2)
    wanted = spec.shape[2 + order.index(0)] or 0
    if bounds is None and 2 * count < wanted:
        yield Doubt("few_slices", "warn", spec.name, {"found": str(count), "wanted": str(wanted)})


def _run(block: FloatBlock, step: Mapping[str, Any]) -> FloatBlock:
    # In place: the block is ours, and copies of a large stack would be gigabytes.
    if step["op"] == "window":
        low, high = np.float32(step["low"]), np.float32(step["high"])
        block -= low
        block /= high - low
        return np.clip(block, 0, 1, out=block)
    if step["op"] == "normalise":
        block -= np.float32(step["mean"])
        block /= np.float32(step["std"])
        return block
    for axis, name in enumerate(("slices", "rows", "columns")):
        front = np.moveaxis(block, axis, 0)
        flat = filtered(np.ascontiguousarray(front).reshape(front.shape[0], -1), int(step[name]))
        block = np.moveaxis(flat.reshape(int(step[name]), *front.shape[1:]), 0, axis)
    return block


def _is_uneven(volume: Volume) -> bool:
    """Whether slices are missing, or lean away from the normal (gantry tilt)."""
    if len(volume.positions) < 2:
        return False
    steps = np.diff(volume.positions, axis=0)
    along = np.diff(volume.along)
    usual = volume.slice_spacing_mm
    sideways = np.linalg.norm(steps - along[:, None] * np.array(volume.plane.normal), axis=1)
    return bool((np.abs(along - usual) > _UNEVEN * usual).any() or (sideways > _UNEVEN * usual).any())

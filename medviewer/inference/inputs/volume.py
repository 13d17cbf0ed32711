"""A stack of slices of a case, as a block for a network in three dimensions.

Slices stay along the normal as the volume has them; nothing is turned. A stack with gaps or leaning
slices is refused: a network would see another anatomy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from medviewer.domain.anchor import PixelBox
from medviewer.domain.case import Case
from medviewer.domain.errors import CardError
from medviewer.domain.volume import Volume
from medviewer.imaging.display import to_modality
from medviewer.inference.card import InputSpec
from medviewer.inference.inputs.adapter import Arrays, Doubt, Encoded, Group, Missing
from medviewer.inference.preprocessing import filtered

BOXES_ACROSS = 4
_UNEVEN = 0.05  # of the usual distance between slices

FloatBlock = npt.NDArray[np.float32]


def problems(spec: InputSpec) -> Iterator[str]:
    """Contradictions of the card's input."""
    if len(spec.shape) != 5 or spec.shape[1] != 1 or None in spec.shape[1:]:
        yield "a volume has the shape [null, 1, slices, rows, columns]"
    sizes = [(1, s["slices"], s["rows"], s["columns"]) for s in spec.preprocessing if s["op"] == "resize"]
    if sizes[-1:] != [spec.shape[1:]]:
        yield f"{spec.name} is not resized to its shape"
    if any(step["op"] == "window" and step["low"] >= step["high"] for step in spec.preprocessing):
        yield f"the window of {spec.name} is empty"


def pull(case: Case, spec: InputSpec) -> Volume | Missing:
    """The case's only volume; between several nothing is guessed."""
    if len(case.volumes) == 1:
        return case.volumes[0]
    code = "several_volumes" if case.volumes else "no_volume"
    return Missing((spec.name,), (Doubt(code, "abstain", spec.name),))


def examine(raw: Volume, spec: InputSpec) -> tuple[list[Doubt], tuple[()]]:
    """Whether it is of the right kind, evenly sliced, and as finely as the card says."""
    seen, found = raw.description, []
    pairs = (
        ("modality", seen.modality, spec.modality),
        ("body_part", seen.body_part_examined, spec.body_part),
        ("sop_class", seen.sop_class_uid, spec.sop_class_uids),
    )
    for code, value, allowed in pairs:
        is_known = bool(value.strip())
        if allowed and value.strip().upper() not in allowed:
            key = "sop_class" if code == "sop_class" else f"{code}.{'abstain' if is_known else 'unknown'}"
            facts = {"found": value, "expected": ", ".join(allowed)}
            found.append(Doubt(key, "abstain" if is_known else "warn", spec.name, facts))
    if _is_uneven(raw):
        found.append(Doubt("uneven_volume", "abstain", spec.name))
    bounds = spec.document.get("spacing_mm")
    if bounds is not None and len(raw.positions) > 1 and not bounds[0] <= raw.slice_spacing_mm <= bounds[1]:
        facts = {"found": f"{raw.slice_spacing_mm:.2f}", "low": f"{bounds[0]:g}", "high": f"{bounds[1]:g}"}
        found.append(Doubt("slice_spacing", "abstain", spec.name, facts))
    return found, ()


def encode(raw: Volume, spec: InputSpec) -> Encoded:
    """``(1, slices, rows, columns)`` float32 after the card's steps.

    Raises:
        CardError: the card's steps do not lead to its shape.
    """
    block = np.asarray(to_modality(raw.stored.astype(np.float64), raw.description), np.float32)
    for step in spec.preprocessing:
        block = _run(block, step)
    if (1, *block.shape) != spec.shape[1:]:
        raise CardError("The volume was not prepared to the model's size; its card is at fault: install it again.")
    return Encoded({spec.name: np.ascontiguousarray(block[None])})


def groups(raw: Volume, spec: InputSpec) -> list[Group]:
    """Boxes, four across each way, with their places in the stack."""
    shape = tuple(size or 0 for size in spec.shape[1:])
    step = [stored / size for stored, size in zip(raw.stored.shape, shape[1:], strict=True)]
    parts = [np.array_split(np.arange(size), min(BOXES_ACROSS, size)) for size in shape[1:]]
    found = []
    for s in parts[0]:
        for r in parts[1]:
            for c in parts[2]:
                mask = np.zeros(shape, np.bool_)
                mask[:, s[0] : s[-1] + 1, r[0] : r[-1] + 1, c[0] : c[-1] + 1] = True
                edges = [
                    (float(one[0] * size), float((one[-1] + 1) * size))
                    for one, size in zip((s, r, c), step, strict=True)
                ]
                anchor = PixelBox(spec.name, rows=edges[1], columns=edges[2], slices=edges[0])
                found.append(Group(anchor, {spec.name: mask}))
    return found


def baseline(raw: Volume, spec: InputSpec) -> Arrays:
    """A block of the volume's own mean."""
    tensor = encode(raw, spec).tensors[spec.name]
    return {spec.name: np.full_like(tensor, tensor.mean(dtype=np.float64))}


def _run(block: FloatBlock, step: Mapping[str, Any]) -> FloatBlock:
    if step["op"] == "window":
        low, high = np.float32(step["low"]), np.float32(step["high"])
        return np.asarray(np.clip((block - low) / (high - low), 0, 1), np.float32)
    if step["op"] == "normalise":
        return np.asarray((block - np.float32(step["mean"])) / np.float32(step["std"]), np.float32)
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
    sideways = np.linalg.norm(steps, axis=1) - np.abs(along)
    return bool((np.abs(along - usual) > _UNEVEN * usual).any() or (sideways > _UNEVEN * usual).any())

"""Images shown with presentation states of others look as DCMTK shows them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_windowing

from medviewer.domain.presentation import PresentationState
from medviewer.domain.study import Image
from medviewer.imaging.decode import read_frame
from medviewer.imaging.display import to_display
from medviewer.imaging.presentation_reading import read_presentation_state
from medviewer.imaging.presenting import presented
from tests.dicom_maker import make_dataset, write_dataset
from tests.presentations import area, item, table, window, write_state
from tests.reference.test_dicom_out import scanned
from tests.reference.test_presentation_out import dcmtk_picture

GREYS: dict[str, dict[str, Any]] = {
    "window": {"SoftcopyVOILUTSequence": [window(1500, 1800)]},
    "rescaled": {
        "RescaleSlope": "2", "RescaleIntercept": "-500", "RescaleType": "US",
        "SoftcopyVOILUTSequence": [window(900, 1800)],
    },
    "inverse": {"SoftcopyVOILUTSequence": [window(1500, 1800)], "PresentationLUTShape": "INVERSE"},
    "table": {"SoftcopyVOILUTSequence": [item(VOILUTSequence=[table([0, 9000, 9500, 30000] * 700, first=200)])]},
    "modality table": {
        "ModalityLUTSequence": [table([4095 - n for n in range(4096)], bits=12)],
        "SoftcopyVOILUTSequence": [window(2000, 3000)],
    },
    "shades": {
        "SoftcopyVOILUTSequence": [window(1500, 1800)], "PresentationLUTShape": None,
        "PresentationLUTSequence": [table([(n * n) // 65535 for n in range(0, 65536, 16)])],
    },
    "no window": {},
}  # fmt: skip


def shown(image: Image, path: Path) -> tuple[np.ndarray, PresentationState]:
    """Our picture at stored size, before it is turned."""
    state = read_presentation_state(path)
    seen = state.for_image(image.sop_instance_uid, image.frame)
    assert seen is not None
    frame = read_frame(image)
    return to_display(replace(frame, description=presented(frame.description, seen))).astype(int), state


def made(tmp_path: Path, photometric: str = "MONOCHROME2", **attributes: Any) -> tuple[Image, Path]:
    pixels = np.random.default_rng(3).integers(0, 4096, (20, 30)).astype(np.uint16)
    source = make_dataset(pixels, PhotometricInterpretation=photometric, BitsStored=12, HighBit=11)
    (image,) = scanned(write_dataset(tmp_path / "image.dcm", source))
    return image, write_state(tmp_path / "state.dcm", source, **attributes)


@pytest.mark.reliability
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("kind", GREYS)
def test_greys_are_those_of_dcmtk(kind: str, photometric: str, tmp_path: Path) -> None:
    image, path = made(tmp_path, photometric, **GREYS[kind])
    ours, _ = shown(image, path)
    assert np.abs(ours - dcmtk_picture(image, path, tmp_path)).max() <= 1


@pytest.mark.reliability
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["N", "Y"])
def test_turns_and_flips_are_those_of_dcmtk(rotation: int, flip: str, tmp_path: Path) -> None:
    corners = {(0, "N"): (0, 0), (90, "N"): (0, 1), (180, "N"): (1, 1), (270, "N"): (1, 0),
               (0, "Y"): (1, 0), (90, "Y"): (0, 0), (180, "Y"): (0, 1), (270, "Y"): (1, 1)}  # fmt: skip
    x, y = corners[rotation, flip]
    first, last = (1 + 29 * x, 1 + 19 * y), (1 + 29 * (1 - x), 1 + 19 * (1 - y))
    image, path = made(
        tmp_path, ImageRotation=rotation, ImageHorizontalFlip=flip, SoftcopyVOILUTSequence=[window(2000, 4000)],
        DisplayedAreaSelectionSequence=[area(make_dataset(np.zeros((20, 30), np.uint16)), first, last)],
    )  # fmt: skip
    ours, state = shown(image, path)
    ours = np.rot90(ours[:, ::-1] if state.flip_horizontal else ours, state.quarter_turns)
    assert np.abs(ours - dcmtk_picture(image, path, tmp_path)).max() <= 1


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_those_of_pydicom(function: str, tmp_path: Path) -> None:
    """DCMTK shows every window of a presentation state as a linear one."""
    own = window(1500, 1800, VOILUTFunction=function)
    image, path = made(tmp_path, SoftcopyVOILUTSequence=[own])
    ours, _ = shown(image, path)
    source = pydicom.dcmread(image.path)
    for element in own:
        source.add(element)
    levels = apply_windowing(source.pixel_array, source) / 4095
    assert np.abs(ours - 255 * levels).max() <= 1

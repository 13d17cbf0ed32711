"""What the bundled model does with images that it is not for: never a finding, always the reason, and it lives on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medviewer.domain.answer import Answer
from medviewer.domain.case import Case
from medviewer.domain.frame import Frame
from medviewer.imaging.decode import read_frame
from medviewer.imaging.scan import images_of, scan
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.resources import models_dir
from tests.samples import package_file

pytestmark = pytest.mark.reliability

MODEL = "chest-xray-pneumonia"


@pytest.fixture(scope="module")
def film() -> Frame:
    """A whole frontal chest radiograph that the model does answer about."""
    (image,) = images_of(scan([package_file("RG1_UNCR.dcm")]))
    return read_frame(image)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(Catalogue([models_dir()]), providers=("cpu",), threads=2) as running:
        yield running


def asked(engine: Engine, film: Frame, pixels: np.ndarray | None = None, **changes: Any) -> Answer:
    stored = film.stored if pixels is None else pixels
    confirmed = frozenset({"body_part.unknown", "view.unknown"})
    frame = replace(film, stored=stored, description=replace(film.description, **changes))
    return engine.ask(Case(images=(frame,), age_years=4.0, sex="F", confirmed=confirmed), MODEL)


def _inverted(stored: np.ndarray) -> np.ndarray:
    return (stored.max() - stored.astype(np.int64) + stored.min()).astype(stored.dtype)


def _colour(stored: np.ndarray) -> np.ndarray:
    grey = (stored.astype(np.float64) / stored.max() * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


WRONG: dict[str, tuple[Callable[[np.ndarray], np.ndarray] | None, dict[str, Any], str]] = {
    "another modality": (None, {"modality": "CT"}, "modality"),
    "another body part": (None, {"body_part_examined": "KNEE"}, "body_part"),
    "a lateral view": (None, {"view_position": "LL"}, "view"),
    "a lateral view that only its orientation tells": (None, {"patient_orientation": ("A", "F")}, "view"),
    "an inverted film": (_inverted, {}, "out_of_distribution"),
    "an all-black image": (np.zeros_like, {}, "flat"),
    "an all-white image": (lambda stored: np.full_like(stored, stored.max()), {}, "flat"),
    "noise": (
        lambda stored: np.random.default_rng(1).integers(0, 4096, stored.shape).astype(stored.dtype),
        {},
        "out_of_distribution",
    ),
    "a colour image": (_colour, {"samples_per_pixel": 3, "photometric_interpretation": "RGB"}, "color"),
}


def test_the_film_itself_is_answered(engine: Engine, film: Frame) -> None:
    assert asked(engine, film).status == "answer"


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_image_gets_no_finding_but_the_reason_and_the_next_one_is_answered(
    engine: Engine, film: Frame, case: str
) -> None:
    change, header, code = WRONG[case]
    before = asked(engine, film)
    pid = engine.worker_pid
    answer = asked(engine, film, None if change is None else _frozen(change(film.stored)), **header)
    stopped = {guard.code.split(".")[0]: guard.text for guard in answer.guards if guard.level == "abstain"}
    assert (answer.status, answer.findings) == ("abstained", ())
    assert code in stopped
    assert stopped[code]
    after = asked(engine, film)
    assert engine.worker_pid == pid
    assert [f.probability for f in after.findings] == [f.probability for f in before.findings]


def _frozen(pixels: np.ndarray) -> np.ndarray:
    pixels.setflags(write=False)
    return pixels

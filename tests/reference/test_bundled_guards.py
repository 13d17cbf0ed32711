"""What the models that MedViewer carries say of pictures that are none of their kind: nothing.

Each picture comes with the header of a child's chest film, or of a breast's ultrasound, so that only the image itself
can be refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from medviewer.domain.answer import Answer
from medviewer.domain.case import Case
from medviewer.domain.frame import Frame
from medviewer.domain.study import PixelDescription
from medviewer.imaging.decode import read_frame
from medviewer.imaging.scan import images_of, scan
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.resources import models_dir
from tests import samples
from tests.breast_maker import breast_case

MODEL, BREAST = "chest-xray-pneumonia", "breast-ultrasound"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
SIZES = (100, 300, 500, 1000, 2000)
SIGMAS = (1, 2, 3, 5, 8, 12, 20, 40, 60)
CELLS = (2, 4, 7, 14, 28, 56)

Picture = npt.NDArray[np.floating]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if not (models_dir() / MODEL / "model.json").is_file():
        pytest.skip("the bundled model is not there: run `medviewer train chest-xray`")
    with Engine(Catalogue([models_dir()]), providers=("cpu",), threads=2) as running:
        yield running


def ask(engine: Engine, picture: Picture) -> Answer:
    """Show a picture as the chest film of a child of four years, stretched to twelve bits."""
    low, width = float(picture.min()), float(np.ptp(picture)) or 1.0
    stored = np.uint16(np.rint((picture - low) / width * 4095))
    child = PixelDescription(
        modality="DX",
        rows=stored.shape[0],
        columns=stored.shape[1],
        body_part_examined="CHEST",
        view_position="PA",
        photometric_interpretation="MONOCHROME2",
        sop_class_uid=DX,
    )
    return engine.ask(Case(images=(Frame(stored, child),), age_years=4, sex="M"), MODEL)


def refused_by(answer: Answer) -> list[str]:
    return [guard.code for guard in answer.guards if guard.level == "abstain"]


def patterns() -> dict[str, Picture]:
    row, column = np.mgrid[0:500, 0:500] / 500
    far = (row - 0.5) ** 2 + (column - 0.5) ** 2
    found: dict[str, Picture] = {
        "ramp to the right": column,
        "ramp to the left": -column,
        "ramp down": row,
        "ramp up": -row,
        "diagonal ramp": row + column,
        "bowl": far,
        "dome": -far,
        "disc": np.float64(far < 0.1),
        "rings": np.sin(60 * np.sqrt(far)),
        "ramp with noise": column + np.random.default_rng(31).normal(0, 0.05, row.shape),
    }
    for n in CELLS:
        found[f"{n} x {n} squares"] = (np.floor(row * n) + np.floor(column * n)) % 2
        found[f"{n} bars"] = np.floor(column * n) % 2
        found[f"{n} steps"] = np.floor(column * n)
        found[f"{n} waves"] = np.sin(2 * np.pi * n * column)
    return found


PATTERNS = patterns()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_noise_of_any_size_is_refused(engine: Engine, kind: str, size: int) -> None:
    chance = np.random.default_rng(size)
    answer = ask(engine, chance.random((size, size)) if kind == "uniform" else chance.normal(size=(size, size)))
    assert answer.status == "abstained"
    assert answer.findings == ()
    # Near the mean of all films inside of the directions in which they vary: only the second distance is sure of it.
    assert "out_of_distribution.residual" in refused_by(answer)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("size", [224, 600])
def test_smooth_noise_is_refused(engine: Engine, size: int, sigma: int) -> None:
    noise = np.random.default_rng(100 * size + sigma).standard_normal((size, size))
    answer = ask(engine, gaussian_filter(noise, sigma))
    assert answer.status == "abstained"
    assert "out_of_distribution.residual" in refused_by(answer)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_refused(engine: Engine, name: str) -> None:
    answer = ask(engine, PATTERNS[name])
    assert (answer.status, answer.findings) == ("abstained", ())
    assert any(code.startswith("out_of_distribution") for code in refused_by(answer))


@pytest.mark.parametrize("name", ["mlut_18.dcm", "vlut_04.dcm"])
def test_a_test_pattern_of_a_real_file_is_refused(engine: Engine, name: str) -> None:
    folder = samples.corpus()
    path = next(folder.rglob(name), None) if folder else None
    if path is None:
        pytest.skip(f"{name} is in the corpus (MEDVIEWER_CORPUS)")
    frame = first_frame(path)
    chest: dict[str, Any] = {"modality": "DX", "body_part_examined": "CHEST", "view_position": "PA"}
    shown = Frame(frame.stored, replace(frame.description, sop_class_uid=DX, **chest))
    answer = engine.ask(Case(images=(shown,), age_years=4, sex="M"), MODEL)
    assert answer.status == "abstained"
    assert "out_of_distribution.residual" in refused_by(answer)


def test_the_chest_film_of_an_adult_is_answered_with_a_warning(engine: Engine) -> None:
    frame = first_frame(samples.package_file("RG1_UNCR.dcm"))
    answer = engine.ask(Case(images=(frame,), age_years=4, sex="M"), MODEL)
    assert answer.status == "answer"
    levels = {guard.code: guard.level for guard in answer.guards}
    assert levels["out_of_distribution.residual"] == "warn"


def first_frame(path: Path) -> Frame:
    return read_frame(next(iter(images_of(scan([path])))))


@pytest.mark.parametrize("stored", [0, 128, 255])
@pytest.mark.parametrize("size", [28, 112, 500])
def test_the_model_of_breast_ultrasound_has_no_answer_for_an_image_of_one_grey(
    engine: Engine, size: int, stored: int
) -> None:
    """Its appearance lies near that of the training pictures: malignant, said the network, and no check was in doubt."""
    case = breast_case()
    pixels = np.full((size, size), stored, np.uint16)
    pixels.setflags(write=False)
    flat = Frame(pixels, replace(case.images[0].description, rows=size, columns=size))
    answer = engine.ask(replace(case, images=(flat,)), BREAST)
    assert (answer.status, answer.findings, refused_by(answer)) == ("abstained", (), ["flat"])


def ask_of_breast(engine: Engine, picture: Picture) -> Answer:
    """Show a picture as ultrasound of a woman's breast, stretched to eight bits."""
    stored = np.uint16(np.rint((picture - picture.min()) / np.ptp(picture) * 255))
    stored.setflags(write=False)
    case = breast_case()
    shown = replace(case.images[0].description, rows=stored.shape[0], columns=stored.shape[1])
    return engine.ask(replace(case, images=(Frame(stored, shown),)), BREAST)


def breast_pictures() -> dict[str, Picture]:
    row, column = np.mgrid[0:200, 0:200] / 199
    chance = np.random.default_rng(41)
    found = dict(PATTERNS)
    for side, (down, right) in {"top left": (row, column), "bottom right": (1 - row, 1 - column)}.items():
        found[f"black, bright {side}"] = np.float64((down < 0.2) & (right < 0.2))
        found[f"black, a glow {side}"] = np.exp(-6 * (down + right))
    for name, ramp in {"right": column, "left": -column, "down": row, "up": -row}.items():
        found[f"ramp {name} with little noise"] = ramp + chance.normal(0, 0.02, row.shape)
        found[f"curved ramp {name}"] = np.abs(ramp) ** 1.7 * np.sign(ramp.sum())
    marks = np.pad(chance.random((10, 13, 5, 3)) < 0.6, ((0, 0), (0, 0), (1, 1), (0, 1)))
    lines = marks.transpose(0, 2, 1, 3).reshape(70, 52)
    found |= {"letters": np.float64(lines), "letters on white": -np.float64(lines)}
    for sigma in (20, 40, 80):
        found[f"noise, blurred by {sigma} of 200"] = gaussian_filter(chance.standard_normal((200, 200)), sigma)
    return found


BREAST_PICTURES = breast_pictures()


@pytest.mark.parametrize("name", BREAST_PICTURES)
def test_the_model_of_breast_ultrasound_has_no_answer_for_a_pattern(engine: Engine, name: str) -> None:
    """A ramp was answered with malignant, 0.69 to 0.86, and no check was in doubt: it is too smooth for the others."""
    answer = ask_of_breast(engine, BREAST_PICTURES[name])
    assert (answer.status, answer.findings) == ("abstained", ())
    assert any(code.startswith("out_of_distribution") for code in refused_by(answer))


@pytest.mark.parametrize("name", ["ramp to the right", "ramp to the left", "ramp down", "ramp up", "bowl", "dome"])
def test_only_its_texture_tells_a_smooth_picture_from_breast_ultrasound(engine: Engine, name: str) -> None:
    assert refused_by(ask_of_breast(engine, PATTERNS[name])) == ["out_of_distribution.texture"]


@pytest.mark.parametrize("size", [28, 100, 300, 1000])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_the_model_of_breast_ultrasound_has_no_answer_for_noise(engine: Engine, kind: str, size: int) -> None:
    chance = np.random.default_rng(size)
    noise = chance.random((size, size)) if kind == "uniform" else chance.normal(size=(size, size))
    assert ask_of_breast(engine, noise).status == "abstained"


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_model_of_breast_ultrasound_is_in_doubt_of_smooth_noise(engine: Engine, sigma: int) -> None:
    noise = gaussian_filter(np.random.default_rng(sigma).standard_normal((224, 224)), sigma)
    assert any(
        guard.level != "ok"
        for guard in ask_of_breast(engine, noise).guards
        if guard.code.startswith("out_of_distribution")
    )


def test_the_model_of_breast_ultrasound_has_no_answer_for_a_chest_film_of_an_adult(engine: Engine) -> None:
    film = first_frame(samples.package_file("RG1_UNCR.dcm"))
    assert ask_of_breast(engine, -film.stored.astype(np.float64)).status == "abstained"  # MONOCHROME1


def test_a_chest_film_of_one_grey_is_refused(engine: Engine) -> None:
    answer = ask(engine, np.zeros((500, 500)))
    assert (answer.status, answer.findings, refused_by(answer)) == ("abstained", (), ["flat"])

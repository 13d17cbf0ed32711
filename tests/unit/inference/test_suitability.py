"""What is chosen for a model by its header is what the guards do not refuse when they see the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.case import Case
from medviewer.domain.frame import Frame
from medviewer.domain.study import Caveat, Image
from medviewer.inference import guards
from medviewer.inference.card import Card, read_card
from medviewer.inference.suitability import joint_unsuited_because, unsuited_because
from tests import data_models, fakes


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return read_card(fakes.make_model(tmp_path_factory.mktemp("m") / fakes.MODEL_ID))


@pytest.mark.parametrize(
    ("changes", "is_suited"),
    [
        ({}, True),
        ({"modality": "CT"}, False),
        ({"modality": ""}, True),  # unknown: asked about, with a warning
        ({"view_position": "LL"}, False),
        ({"view_position": "", "patient_orientation": ("A", "F")}, False),
        ({"body_part_examined": "HAND"}, False),
        ({"photometric_interpretation": "RGB", "samples_per_pixel": 3}, False),
        ({"photometric_interpretation": "PALETTE COLOR"}, False),
    ],
)
def test_it_is_the_guards_own_rule(card: Card, changes: dict[str, Any], is_suited: bool) -> None:
    frame = fakes.make_frame(**changes)
    if changes.get("photometric_interpretation"):  # decoded, both are colours
        frame = Frame(np.zeros((96, 80, 3), np.uint8), frame.description)
    image = Image(Path("a.dcm"), 0, "1.2", frame.description)
    said = unsuited_because(image, card)
    refused = [r.text for r in guards.check_input(Case(), frame, card) if r.level == "abstain"]
    assert (said == "") is is_suited is (not refused)
    assert said == (refused[0] if refused else "")


def test_an_image_that_is_only_damaged_is_of_the_right_kind(card: Card) -> None:
    """It is asked about: the answer says what is wrong with it, and is counted as one that could not be given."""
    frame = fakes.make_frame()
    caveat = Caveat("truncated", "The file ends early.")
    assert unsuited_because(Image(Path("a.dcm"), 0, "1.2", frame.description, warnings=(caveat,)), card) == ""


def test_what_is_no_dicom_could_be_anything(card: Card) -> None:
    frame = fakes.make_frame(modality="")
    caveat = Caveat("identity.none", "The file says of nobody.")
    assert unsuited_because(Image(Path("a.nii"), 0, "", frame.description, warnings=(caveat,)), card)


@pytest.mark.parametrize("kind", ["table", "series"])
def test_a_model_of_other_data_is_not_asked_about_images(tmp_path: Path, kind: str) -> None:
    other = read_card(data_models.make(kind, tmp_path / kind))
    image = Image(Path("a.dcm"), 0, "1.2", fakes.make_frame().description)
    assert "not one of single images" in unsuited_because(image, other)
    assert "单幅图像" in unsuited_because(image, other, "zh")
    assert "not one of single images" in joint_unsuited_because(image, other)


def test_a_model_of_an_image_and_a_record_is_judged_by_the_image_where_the_record_stands_beside_it(
    tmp_path: Path,
) -> None:
    film = read_card(data_models.make("film", tmp_path / "film"))
    views = read_card(data_models.make("views", tmp_path / "views"))

    def said(card: Card, **changes: Any) -> str:
        return joint_unsuited_because(Image(Path("a.dcm"), 0, "1.2", fakes.make_frame(**changes).description), card)

    assert said(film) == ""
    assert "CT" in said(film, modality="CT")
    assert "LL" in said(film, view_position="LL")
    assert said(views, view_position="LL") == said(views) == ""
    assert said(views, view_position="XX") != ""
    image = Image(Path("a.dcm"), 0, "1.2", fakes.make_frame().description)
    assert "not one of single images" in unsuited_because(image, film)

"""How steady an outline is: counted by the rule by which it is drawn, and said by the numbers shown; stopped in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.answer import Answer
from medviewer.domain.errors import Stopped
from medviewer.domain.progress import StopToken
from medviewer.inference import masks as masks_module
from medviewer.inference.card import Card, read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.guards import check_outline
from medviewer.inference.masks import Ground, regions_of, shares
from tests import outline_models
from tests.outline_models import case_of, frame_of, picture

EXCLUSIVE = "probabilities-exclusive"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    outline_models.make(tmp_path / "own", id="own")
    labels = low_labels()
    outline_models.make(tmp_path / "exclusive", "probabilities", "exclusive", id=EXCLUSIVE, labels=labels)
    with Engine(Catalogue([tmp_path]), providers=["cpu"], threads=1) as made:
        yield made


def low_labels() -> list[dict[str, Any]]:
    """Both with a threshold below a half: of exclusive classes two can reach it at one pixel."""
    return [{**label, "threshold": 0.3} for label in outline_models.card_document([])["labels"]]


def striped() -> np.ndarray:
    """Background and “dark” by turns with 0.55, “bright” everywhere with 0.45: it wins only between two cells."""
    found = np.zeros((1, 3, 16, 16), np.float32)
    found[:, 0, :, 0::2], found[:, 1], found[:, 2, :, 1::2] = 0.55, 0.45, 0.55
    return found


def steadiness(answer: Answer) -> list[tuple[str, str]]:
    return [(guard.level, guard.text) for guard in answer.guards if guard.code == "stability"]


def give(monkeypatch: pytest.MonkeyPatch, engine: Engine, *masks: np.ndarray) -> None:
    """The network's output on the image, and then on each small change of it the next one, the last for all others."""
    left = list(masks)
    monkeypatch.setattr(engine, "run", lambda *_a, **_m: {"masks": left.pop(0) if len(left) > 1 else left[0]})


def test_what_is_drawn_between_two_cells_is_not_called_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, engine, striped())
    answer = engine.ask(case_of(picture(160, 160)), EXCLUSIVE)
    bright, dark = answer.regions
    assert bright.share > 0.5
    assert dark.share < 0.25
    for region, (level, text) in zip(answer.regions, steadiness(answer), strict=True):
        assert region.stability == (region.share, region.share)  # the changes changed nothing
        assert level == "ok"
        assert f"takes {100 * region.share:.1f}% to {100 * region.share:.1f}%" in text


@pytest.mark.parametrize("classes", ["independent", "exclusive"])
@pytest.mark.parametrize(("size", "within"), [((160, 120), 0.0), ((3000, 2200), 0.004)])
def test_a_share_is_that_of_the_drawn_mask(tmp_path: Path, classes: str, size: tuple[int, int], within: float) -> None:
    card = read_card(outline_models.make(tmp_path / "m", "logits", classes, labels=low_labels()))
    masks = np.random.default_rng(8).normal(0, 2, (1, 2 + (classes == "exclusive"), 16, 16)).astype(np.float32)
    ground = ground_of(size)
    drawn = [region.share for region in regions_of(card, masks, ground, [(0.0, 1.0)] * 2)]
    np.testing.assert_allclose(shares(card, masks, ground)[0], drawn, atol=within)


def ground_of(size: tuple[int, int]) -> Ground:
    """The network's 16 by 16 cells over the whole of an image."""
    to_image = np.diag([size[0] / 16, size[1] / 16, 1.0])
    to_image[:2, 2] = (np.diag(to_image)[:2] - 1) / 2
    return Ground(frame_of(np.zeros(size, np.uint16)), to_image)


def test_the_border_put_around_an_image_has_no_share(tmp_path: Path) -> None:
    card: Card = read_card(outline_models.make(tmp_path / "m"))
    masks = np.full((1, 2, 16, 16), -9.0, np.float32)
    masks[:, 0, :6], masks[:, 0, 10:] = 9.0, 9.0  # all of the border, nothing of the image
    wide = Ground(frame_of(picture(8, 32)), np.array([[2.0, 0, -12], [0, 2, 0.5], [0, 0, 1]]))
    assert shares(card, masks, wide)[0, 0] <= 1 / 8  # the row next to it, by interpolation
    masks[:, 0] = 9.0
    assert shares(card, masks, wide)[0].tolist() == [1.0, 0.0]


@pytest.mark.reliability
def test_an_outline_that_doubles_is_warned_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a hundredth of the image to more than half of it: it neither came nor went."""
    small = np.full((1, 2, 16, 16), -9.0, np.float32)
    large = small.copy()
    small[:, 0, 4:6, 4:6], large[:, 0, :, :10] = 9.0, 9.0
    large[:, 1], small[:, 1] = 9.0, 9.0
    give(monkeypatch, engine, small, small, large)
    answer = engine.ask(case_of(picture(160, 160)), "own")
    (level, text), (steady, _) = steadiness(answer)
    assert (level, steady) == ("warn", "ok")
    low, high = answer.regions[0].stability
    assert f"from {100 * low:.1f}% to {100 * high:.1f}% of the image, more than twice as much" in text
    assert (low < 0.03, high > 0.6) == (True, True)


@pytest.mark.parametrize(
    ("band", "level", "says"),
    [
        ((0.0, 0.0), "ok", "do not bring an outline either"),
        ((0.0, 0.2), "warn", "come or go"),
        ((0.2, 0.4), "ok", "takes 20.0% to 40.0%"),
        ((0.2, 0.41), "warn", "more than twice as much"),
        ((0.0001, 0.0002), "ok", "takes 0.010% to 0.020%"),
    ],
)
def test_the_bound_is_twice(band: tuple[float, float], level: str, says: str, engine: Engine) -> None:
    found = check_outline(engine.catalogue.card("own").labels[0], band)
    assert found.level == level
    assert says in found.text
    assert check_outline(engine.catalogue.card("own").labels[0], band, "zh").text != found.text


@pytest.mark.reliability
def test_a_changed_image_whose_masks_cannot_be_probabilities_gives_no_answer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, engine, striped(), striped(), striped() + 1)
    answer = engine.ask(case_of(picture()), EXCLUSIVE)
    assert (answer.status, answer.regions) == ("abstained", ())
    assert [guard.code for guard in answer.guards if guard.level == "abstain"] == ["no_result"]


@pytest.mark.reliability
@pytest.mark.parametrize("step", ["Trying", "Placing"])
@pytest.mark.parametrize("model", ["own", EXCLUSIVE])
def test_stop_is_heard_between_two_labels(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, model: str, step: str
) -> None:
    """While outlines are placed, and while their shares are counted: the first is the last."""
    stop, place = StopToken(), masks_module.place_saliency
    now, placed = [""], list[str]()

    def placing(*given: Any) -> Any:
        placed.append(now[0])
        if now[0] == step:
            stop.stop()
        return place(*given)

    def hear(_done: int, _total: int, what: str) -> None:
        now[0] = what.split(maxsplit=1)[0]

    give(monkeypatch, engine, outline_models.forward(np.full((1, 1, 16, 16), 0.9, np.float32)))
    if model == EXCLUSIVE:
        give(monkeypatch, engine, striped())
    monkeypatch.setattr(masks_module, "place_saliency", placing)
    with pytest.raises(Stopped):
        engine.ask(case_of(picture(64, 64)), model, stop=stop, progress=hear)
    assert placed.count(step) == 1


@pytest.mark.reliability
def test_a_mask_of_noise_is_an_answer_without_outlines_and_in_time(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(5).normal(0, 9, (1, 2, 16, 16)).astype(np.float32)
    give(monkeypatch, engine, noise)
    monkeypatch.setattr("medviewer.imaging.label_planes.MOST_CORNERS", 50)
    monkeypatch.setattr(masks_module, "outlines_of", lambda _mask: pytest.fail("it was traced"))
    for region in engine.ask(case_of(picture(160, 160)), "own").regions:
        assert region.is_ragged
        assert region.outlines == ()
        assert region.pixels == region.mask.sum() > 0

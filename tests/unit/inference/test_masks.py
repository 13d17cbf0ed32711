"""Segmentation: exact masks of a network that outlines what is bright, on the image as it is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.domain.answer import Answer, Region
from medviewer.domain.errors import CardError, ModelError
from medviewer.domain.study import UltrasoundRegion
from medviewer.inference.acceptance import accept
from medviewer.inference.card import Card, read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.masks import Ground, probabilities, regions_of
from medviewer.inference.placement import place_saliency
from tests import outline_models
from tests.outline_models import block_mask, case_of, frame_of, picture

WAYS = [(values, classes) for values in ("logits", "probabilities") for classes in ("independent", "exclusive")]
each_way = pytest.mark.parametrize(("values", "classes"), WAYS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("models")
    for values, classes in WAYS:
        outline_models.make(folder / f"{values}-{classes}", values, classes, id=f"{values}-{classes}")
    with Engine(Catalogue([folder]), providers=["cpu"], threads=2) as made:
        yield made


def outlined(answer: Answer) -> dict[str, Region]:
    assert answer.status == "answer", answer.reasons
    return {region.label: region for region in answer.regions}


@each_way
@pytest.mark.parametrize("shape", [(16, 16), (64, 48), (160, 320)])
def test_a_mask_is_exactly_where_the_image_is_bright(
    engine: Engine, values: str, classes: str, shape: tuple[int, int]
) -> None:
    found = outlined(engine.ask(case_of(picture(*shape)), f"{values}-{classes}"))
    assert list(found) == ["bright", "dark"]
    for label, region in found.items():
        expected = block_mask(label, *shape)
        if shape == (16, 16):  # the network's own grid: nothing is mixed
            np.testing.assert_array_equal(region.mask, expected)
        assert_edges_within_a_pixel(region.mask, expected)
        assert region.pixels == int(region.mask.sum())
        assert region.share == region.pixels / (shape[0] * shape[1])
        assert region.mean_probability is not None
        assert 0.5 <= region.mean_probability <= 1
        assert not region.mask.flags.writeable


def assert_edges_within_a_pixel(mask: np.ndarray, expected: np.ndarray) -> None:
    """Blocks end where cells of the network's grid do: half a cell off, which is up to ten pixels, would be seen."""
    for axis in (1, 0):
        ours, known = (np.flatnonzero(one.any(axis=axis)) for one in (mask, expected))
        assert abs(int(ours[0]) - int(known[0])) <= 1
        assert abs(int(ours[-1]) - int(known[-1])) <= 1


@each_way
def test_the_mask_is_the_placed_probability_cut_at_the_threshold(engine: Engine, values: str, classes: str) -> None:
    """Worked out apart: the numbers of numpy, placed by the code that places heat maps."""
    stored = np.random.default_rng(4).integers(0, 4096, (90, 70)).astype(np.uint16)
    case = case_of(stored)
    card = engine.catalogue.card(f"{values}-{classes}")
    prepared = engine.encode(case, card.id)
    p = outline_models.forward(prepared.tensor[None], "probabilities", classes)[0]
    placed = np.stack([place_saliency(channel, prepared.model_to_image, stored.shape) for channel in p])
    for number, region in enumerate(engine.ask(case, card.id).regions):
        expected = placed[number] >= 0.5
        if classes == "exclusive":
            expected = (placed.argmax(axis=0) == number + 1) & (placed[number + 1] >= 0.5)
        assert (region.mask != expected).mean() < 1e-3  # rounding on the threshold
        if expected.any():
            channel = placed[number + (classes == "exclusive")]
            assert region.mean_probability == pytest.approx(float(channel[region.mask].mean()), abs=1e-5)


def test_the_threshold_of_each_label_is_its_own(tmp_path: Path) -> None:
    labels = outline_models.card_document([])["labels"]
    labels[0]["threshold"], labels[1]["threshold"] = 0.9999, 0.001
    outline_models.make(tmp_path / "m", labels=labels)
    with Engine(Catalogue([tmp_path]), providers=["cpu"], threads=1) as engine:
        found = outlined(engine.ask(case_of(picture()), outline_models.MODEL_ID))
    assert found["bright"].pixels == 0  # its logit is 5: 0.9933
    assert found["dark"].pixels > block_mask("dark", 16, 16).sum()  # middle grey has 0.0067


def test_a_label_of_which_there_is_nothing_is_an_answer_with_an_empty_mask(tmp_path: Path) -> None:
    with picky_engine(tmp_path, 0.9999) as engine:
        answer = engine.ask(case_of(picture(64, 64)), outline_models.MODEL_ID)
    bright = outlined(answer)["bright"]
    assert (bright.pixels, bright.share, bright.area_mm2, bright.mean_probability) == (0, 0.0, 0.0, None)
    assert bright.outlines == ()
    assert not bright.mask.any()
    assert outlined(answer)["dark"].pixels > 0
    said = [guard.text for guard in answer.guards if guard.code == "stability"]
    assert said[0].endswith("do not bring an outline either.")


def picky_engine(folder: Path, threshold: float) -> Engine:
    """A model that calls bright only what reaches ``threshold``; on a whole block the network gives 0.9933."""
    labels = outline_models.card_document([])["labels"]
    labels[0]["threshold"] = threshold
    outline_models.make(folder / "m", labels=labels)
    return Engine(Catalogue([folder]), providers=["cpu"], threads=1)


def test_the_outlines_enclose_the_mask(engine: Engine) -> None:
    region = outlined(engine.ask(case_of(picture(64, 48)), "logits-independent"))["dark"]
    (points,) = region.outlines
    x, y = points.T
    area = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
    assert area == region.pixels


# Area


def test_an_area_is_in_mm2_with_what_it_rests_on(engine: Engine) -> None:
    region = outlined(engine.ask(case_of(picture(64, 48)), "logits-independent"))["dark"]
    assert region.area_mm2 == pytest.approx(region.pixels * 0.5 * 0.4)
    assert (region.basis, region.remark) == ("at detector", "")


def test_without_a_spacing_that_can_be_trusted_there_is_no_area_and_it_says_why(engine: Engine) -> None:
    because = "The file gives a pixel spacing of 0."
    case = case_of(picture(), pixel_spacing_mm=None, spacing_source=None, no_measuring_because=because)
    for region in engine.ask(case, "logits-independent").regions:
        assert region.area_mm2 is None
        assert (region.basis, region.remark) == ("", because)
        assert region.pixels > 0


def test_an_area_in_an_ultrasound_image_is_that_of_the_region_that_holds_it(engine: Engine) -> None:
    def region(delta: float, right: int, units: tuple[str, str]) -> UltrasoundRegion:
        return UltrasoundRegion(first=(0, 0), last=(right - 1, 63), units=units, delta=(delta, delta))

    for right, units, is_area in ((48, ("cm", "cm"), True), (10, ("cm", "cm"), False), (48, ("s", "cm"), False)):
        frame = frame_of(picture(64, 48), ultrasound_regions=(region(0.02, right, units),))
        dark = regions_for(engine, frame)["dark"]
        assert (dark.area_mm2 is not None) == is_area
        if is_area:
            assert dark.area_mm2 == pytest.approx(dark.pixels * 0.2 * 0.2)
            assert dark.basis == "ultrasound region"
        else:
            assert dark.remark


def regions_for(engine: Engine, frame: Any) -> dict[str, Region]:
    card = engine.catalogue.card("logits-independent")
    x = np.full((1, 1, 16, 16), 0.5, np.float32)
    x[0, 0][block_mask("dark", 16, 16)] = 0
    to_image = np.diag([frame.stored.shape[0] / 16, frame.stored.shape[1] / 16, 1.0])
    to_image[:2, 2] = (np.diag(to_image)[:2] - 1) / 2
    found = regions_of(card, outline_models.forward(x), Ground(frame, to_image), [(0.0, 1.0)] * 2)
    return {one.label: one for one in found}


def test_the_border_put_around_an_image_counts_for_nothing(tmp_path: Path) -> None:
    """A wide image on a square grid lies between two dark bars, which are no part of it."""
    steps = [
        {"op": "resize", "rows": 16, "columns": 16, "aspect": "pad"},
        {"op": "percentile_window", "low": 0, "high": 100},
    ]
    outline_models.make(tmp_path / "m", preprocessing=steps)
    stored = np.full((32, 64), outline_models.GREY["middle"], np.uint16)
    stored[:, :32] = outline_models.GREY["bright"]
    stored[:, 60:] = outline_models.GREY["dark"]
    with Engine(Catalogue([tmp_path]), providers=["cpu"], threads=1) as engine:
        found = outlined(engine.ask(case_of(stored), outline_models.MODEL_ID))
    assert found["bright"].share == pytest.approx(0.5, abs=0.02)
    assert found["dark"].share == pytest.approx(1 / 16, abs=0.04)
    assert found["bright"].stability[1] < 0.6
    assert found["dark"].stability[1] < 0.15  # with the bars it would be more than half


# Guards, stability, sameness


def test_it_is_the_same_answer_again(engine: Engine) -> None:
    first, second = (engine.ask(case_of(picture(64, 48)), "logits-exclusive") for _ in range(2))
    for one, other in zip(first.regions, second.regions, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        assert (one.stability, one.mean_probability) == (other.stability, other.mean_probability)
    assert first.provenance.input_sha256 == second.provenance.input_sha256 != ""


@pytest.mark.reliability
def test_another_kind_of_image_is_refused(engine: Engine) -> None:
    for changes in ({"modality": "MR"}, {"body_part_examined": "KNEE"}, {"view_position": "LL"}):
        answer = engine.ask(case_of(picture(), **changes), "logits-independent")
        assert (answer.status, answer.regions) == ("abstained", ())
        assert answer.reasons


@pytest.mark.reliability
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_masks_that_are_no_numbers_are_no_answer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, broken: float
) -> None:
    run = engine.run

    def damaged(*args: Any, **more: Any) -> Mapping[str, np.ndarray]:
        found = run(*args, **more)
        found["masks"][0, 0, 3, 3] = broken
        return found

    monkeypatch.setattr(engine, "run", damaged)
    answer = engine.ask(case_of(picture()), "logits-independent")
    assert (answer.status, answer.regions) == ("abstained", ())
    assert [g.code for g in answer.guards if g.level == "abstain"] == ["no_result"]


@pytest.mark.reliability
@pytest.mark.parametrize("model_id", ["probabilities-independent", "probabilities-exclusive"])
def test_probabilities_that_cannot_be_some_are_no_answer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, model_id: str
) -> None:
    monkeypatch.setattr(engine, "run", lambda *_a, **_m: {"masks": np.full((1, 2 + ("ex" in model_id), 16, 16), 1.5)})
    assert engine.ask(case_of(picture()), model_id).status == "abstained"
    if "exclusive" in model_id:  # each possible, but three halves for one pixel
        monkeypatch.setattr(engine, "run", lambda *_a, **_m: {"masks": np.full((1, 3, 16, 16), 0.5)})
        assert engine.ask(case_of(picture()), model_id).status == "abstained"


@pytest.mark.reliability
def test_masks_of_another_size_are_refused_and_not_stretched(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for shape in ((1, 2, 8, 8), (1, 3, 16, 16), (1, 2, 16)):
        monkeypatch.setattr(engine, "run", lambda *_a, shape=shape, **_m: {"masks": np.zeros(shape, np.float32)})
        with pytest.raises(CardError, match="its card says 2 x 16 x 16"):
            engine.ask(case_of(picture()), "logits-independent")


@pytest.mark.reliability
@pytest.mark.parametrize("images", [0, 2])
def test_masks_of_no_image_or_of_two_are_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    monkeypatch.setattr(engine, "run", lambda *_a, **_m: {"masks": np.zeros((images, 2, 16, 16), np.float32)})
    with pytest.raises(CardError, match=f"gives masks of {images} images for 1; refused"):
        engine.ask(case_of(picture()), "logits-independent")


def test_known_answers_of_another_number_of_images_are_refused(tmp_path: Path) -> None:
    folder = outline_models.make(tmp_path / "m", reference=False)
    x = np.random.default_rng(2).uniform(0, 1, (3, 1, 16, 16)).astype(np.float32)
    np.savez(folder / "reference.npz", **{"input.x": x, "output.masks": outline_models.forward(x[:2])})  # type: ignore[arg-type]
    outline_models.make(folder, reference=False, more=[("reference", "reference.npz")])
    with pytest.raises(CardError, match="gives masks of 2 images for 3"):
        accept(read_card(folder))


def test_how_far_an_outline_moves_under_small_changes_is_said(engine: Engine) -> None:
    answer = engine.ask(case_of(picture(64, 48)), "logits-independent")
    for region in outlined(answer).values():
        low, high = region.stability
        assert low <= region.share <= high
        assert low < high < 3 * region.share
    levels = [guard.level for guard in answer.guards if guard.code == "stability"]
    assert levels == ["ok", "ok"]


def test_an_outline_that_comes_and_goes_is_warned_of(tmp_path: Path) -> None:
    stored = picture(16, 16, bright=False)
    stored[4, 4] = outline_models.GREY["bright"]  # one pixel: a shift by a quarter of it takes its brightness away
    with picky_engine(tmp_path, 0.99) as engine:
        answer = engine.ask(case_of(stored), outline_models.MODEL_ID)
    assert outlined(answer)["bright"].pixels == 1
    warned = [guard.text for guard in answer.guards if guard.code == "stability" and guard.level == "warn"]
    assert len(warned) == 1
    assert warned[0].startswith("Bright")


def test_what_nobody_measured_is_warned_of(tmp_path: Path) -> None:
    labels = outline_models.card_document([])["labels"]
    del labels[0]["measured"]
    outline_models.make(tmp_path / "m", labels=labels)
    with Engine(Catalogue([tmp_path]), providers=["cpu"], threads=1) as engine:
        answer = engine.ask(case_of(picture()), outline_models.MODEL_ID)
        assert [g.level for g in answer.guards if g.code == "unmeasured.some"] == ["warn"]
        assert outlined(answer)["dark"].measured.startswith("Dice")
    assert not answer.is_calibrated


@pytest.mark.reliability
@pytest.mark.parametrize(("mean", "level"), [(0.47, "ok"), (0.2, "warn"), (0.0, "abstain")])
def test_an_image_unlike_those_that_were_learned_gets_no_outline(tmp_path: Path, mean: float, level: str) -> None:
    """The mean of the prepared image is the network's one feature; that of the picture is 0.47."""
    folder = tmp_path / "m"
    folder.mkdir()
    np.savez(folder / "ood.npz", means=np.array([[mean]], np.float32), whitening=np.array([[10.0]], np.float32))
    network = outline_models.graph(features=True)
    outputs = [*outline_models.card_document([])["outputs"], {"name": "features", "shape": [None, 1]}]
    ood = {"file": "ood.npz", "method": "mahalanobis", "warn_above": 1.0, "abstain_above": 4.0}
    outline_models.make(folder, network=network, outputs=outputs, ood=ood, more=[("ood", "ood.npz")])
    accept(read_card(folder))
    with Engine(Catalogue([tmp_path]), providers=["cpu"], threads=1) as engine:
        answer = engine.ask(case_of(picture()), outline_models.MODEL_ID)
    assert [guard.level for guard in answer.guards if guard.code == "out_of_distribution"] == [level]
    assert (answer.status == "abstained") == (level == "abstain") == (answer.regions == ())


def test_softmax_and_sigmoid_do_not_overflow(engine: Engine) -> None:
    for name, channels in (("logits-independent", 2), ("logits-exclusive", 3)):
        huge = np.full((1, channels, 16, 16), 1e4, np.float32)
        huge[:, 0] = -1e4
        found = probabilities(engine.catalogue.card(name), huge)
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert found.max() <= 1


# The card


def broken_card(tmp_path: Path, classes: str = "independent", **changes: Any) -> str:
    folder = outline_models.make(tmp_path / "m", classes=classes)
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    change = changes.pop("change", None)
    if change is not None:
        change(document)
    document |= changes
    (folder / "model.json").write_text(json.dumps({k: v for k, v in document.items() if v is not None}))
    with pytest.raises(CardError) as error:
        read_card(folder)
    return str(error.value)


def _set(path: str, value: Any) -> Any:
    def change(document: dict[str, Any]) -> None:
        *way, last = path.split("/")
        at: Any = document
        for step in way:
            at = at[int(step)] if step.isdigit() else at[step]
        key: Any = int(last) if last.isdigit() else last
        if value is None:
            del at[key]
        else:
            at[key] = value

    return change


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": []}, "reports no label"),
        ({"masks": None}, "does not say what its masks hold"),
        ({"masks": {"values": "votes", "classes": "independent"}}, "masks/values"),
        ({"outputs": [{"name": "logits", "shape": [None, 2]}]}, "no output named “masks”"),
        ({"outputs": [{"name": "masks", "shape": [None, 2, 8, 8]}]}, "not the size of its input"),
        ({"outputs": [{"name": "masks", "shape": [None, 2]}]}, "not the size of its input"),
        ({"outputs": [{"name": "masks", "shape": [None, 3, 16, 16]}]}, "one channel a label"),
        ({"change": _set("labels/1/name", "bright")}, "two labels have the same name"),
        ({"change": _set("labels/0/color", None)}, "bright has no colour or no category"),
        ({"change": _set("labels/0/category", None)}, "bright has no colour or no category"),
        ({"change": _set("labels/0/color", [0, 0, 256])}, "labels/0/color/2"),
        ({"change": _set("labels/0/code/value", "")}, "code of bright is none that DICOM can hold"),
        ({"change": _set("labels/0/code/value", "RID:58")}, "code of bright is none that DICOM can hold (scheme and value"),
        ({"change": _set("labels/0/code/scheme", "99:X")}, "code of bright is none that DICOM can hold"),
        ({"change": _set("labels/0/category/value", "9:1")}, "category of bright is no code"),
        ({"change": _set("labels/0/category/scheme", "99:X")}, "category of bright is no code"),
        ({"change": _set("labels/0/category/value", "1" * 17)}, "category of bright is no code"),
        ({"change": _set("labels/0/threshold", 0)}, "every pixel would be inside"),
        ({"explain": {"target_layer": "", "grid": [1, 1], "methods": []}}, "its own explanation"),
        (
            {"calibration": {"method": "none", "parameters": {}, "ece_before": None, "ece_after": None, "on": "x"}},
            "calibration is for classification",
        ),
    ],
)  # fmt: skip
def test_a_card_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    assert words in broken_card(tmp_path, **changes)


def test_exclusive_classes_have_a_background(tmp_path: Path) -> None:
    outputs = [{"name": "masks", "shape": [None, 2, 16, 16]}]
    assert "one channel for the background" in broken_card(tmp_path, "exclusive", outputs=outputs)


def test_masks_are_for_segmentation_alone(tmp_path: Path) -> None:
    from tests import fakes

    folder = fakes.make_model(tmp_path / "m", masks={"values": "logits", "classes": "independent"})
    with pytest.raises(CardError, match="masks are for segmentation"):
        read_card(folder)


def test_a_card_says_what_is_outlined(tmp_path: Path) -> None:
    card = read_card(outline_models.make(tmp_path / "m"))
    bright = card.labels[0].outline
    assert bright is not None
    assert (bright.color, bright.type.value, bright.category.meaning) == (
        (255, 160, 40),
        "272673000",
        "Anatomical Structure",
    )
    assert card.targets == ("bright", "dark")


# Installing and verifying


@each_way
def test_a_whole_folder_is_accepted_and_verified(tmp_path: Path, values: str, classes: str) -> None:
    card = read_card(outline_models.make(tmp_path / "m", values, classes))
    accept(card)
    with Engine(Catalogue([tmp_path]), providers=["cpu"], threads=1) as engine:
        (found,) = engine.verify(card.id)
    assert found.passed
    assert found.largest_error < 1e-4


@pytest.mark.reliability
def test_a_network_that_does_not_do_what_its_card_says_is_not_installed(tmp_path: Path) -> None:
    def card(name: str, **changes: Any) -> Card:
        return read_card(outline_models.make(tmp_path / name, **changes))

    small = card("small", network=outline_models.graph(scale=0.5))
    with pytest.raises(CardError, match="masks of 2 x 8 x 8 numbers and its card says 2 x 16 x 16"):
        accept(small)
    few = card("few", network=outline_models.graph(channels=1))
    with pytest.raises(CardError, match="masks of 1 x 16 x 16"):
        accept(few)
    logits = card("logits", values="probabilities", network=outline_models.graph("logits"))
    with pytest.raises(CardError, match="not the probabilities that its card says"):
        accept(logits)
    not_numbers = card("nan", network=outline_models.graph(tail="Log"))
    with pytest.raises(ModelError, match="not numbers"):
        accept(not_numbers)

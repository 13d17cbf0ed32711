"""Outlines of a model against those of people: measures worked out by hand, data in both layouts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from medviewer.cli import main
from medviewer.domain.errors import InputError, UsageError
from medviewer.imaging.outline_object import write_outlines
from medviewer.training.comparing import compare
from medviewer.training.evaluate import evaluate
from medviewer.training.outline_metrics import fit_of
from tests import outline_models
from tests.answers import make_radiograph
from tests.outline_models import block_mask, make_outlines, picture

ROWS, COLUMNS = 64, 48


def test_the_fit_of_two_squares_is_what_it_is_by_hand() -> None:
    a, b = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    a[4:10, 5:11] = True  # 36 pixels
    b[4:10, 8:14] = True  # three to the right: 18 in common
    fit = fit_of(a, b, spacing=(2.0, 0.5))
    assert (fit.reference, fit.found) == (36, 36)
    assert fit.dice == pytest.approx(0.5)
    assert fit.jaccard == pytest.approx(18 / 54)
    # The left edge of a is three columns of 0.5 mm from b, the right one of b likewise: farther than 95% of the rest.
    assert fit.hd95 == pytest.approx(1.5)
    assert fit_of(a, a).hd95 == 0


def test_the_distance_is_that_of_every_pair_of_edge_pixels() -> None:
    chance = np.random.default_rng(4)
    for _ in range(5):
        a, b = chance.random((18, 25)) < 0.3, chance.random((18, 25)) < 0.3
        found = fit_of(a, b, spacing=(1.5, 0.7)).hd95
        edges = []
        for mask in (a, b):
            edge = [
                (r * 1.5, c * 0.7)
                for r, c in np.argwhere(mask)
                if not all(
                    0 <= r + y < 18 and 0 <= c + x < 25 and mask[r + y, c + x]
                    for y, x in ((0, 1), (1, 0), (0, -1), (-1, 0))
                )
            ]
            edges.append(np.array(edge))
        one = [min(np.hypot(*(p - q)) for q in edges[1]) for p in edges[0]]
        other = [min(np.hypot(*(p - q)) for q in edges[0]) for p in edges[1]]
        assert found == pytest.approx(max(np.percentile(one, 95), np.percentile(other, 95)))


def test_nothing_has_no_fit_and_is_never_a_perfect_one() -> None:
    empty, block = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    block[2:4, 2:4] = True
    assert fit_of(empty, empty).dice is None
    for pair in ((empty, block), (block, empty)):
        fit = fit_of(*pair)
        assert (fit.dice, fit.jaccard, fit.hd95) == (0, 0, None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return outline_models.make(tmp_path / "models" / outline_models.MODEL_ID)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(pixels.astype(np.uint8)).save(path)


def grey(stored: np.ndarray) -> np.ndarray:
    return np.asarray((stored.astype(float) - stored.min()) / np.ptp(stored) * 255)


def folders(root: Path, count: int = 6) -> None:
    """Pictures with masks: of the dark block exactly, of the bright one moved down by ``number`` rows."""
    for number in range(count):
        save(root / "images" / f"case{number}.png", grey(picture(ROWS, COLUMNS)))
        save(root / "masks" / "dark" / f"case{number}.png", block_mask("dark", ROWS, COLUMNS) * 255)
        moved = np.roll(block_mask("bright", ROWS, COLUMNS), number, axis=0)
        save(root / "masks" / "bright" / f"case{number}.png", moved * 1)


def test_pictures_and_masks_of_the_same_names(model: Path, tmp_path: Path) -> None:
    folders(tmp_path / "data")
    save(tmp_path / "data" / "images" / "alone.png", grey(picture(ROWS, COLUMNS)))
    save(tmp_path / "data" / "images" / "wrong.png", grey(picture(ROWS, COLUMNS)))
    for label in ("bright", "dark"):
        save(tmp_path / "data" / "masks" / label / "wrong.png", np.ones((5, 5)))
    report = evaluate(model, tmp_path / "data", tmp_path / "out")
    assert report["data"]["n"] == 6
    assert {one["file"]: one["reason"] for one in report["data"]["unusable"]} == {
        "alone.png": "It has no mask of bright, dark.",
        "wrong.png": "The mask of bright has 5 x 5 pixels and the image 64 x 48.",
    }
    rows = [case for case in report["cases"] if case["label"] == "bright"]
    found = rows[0]["model_pixels"]
    height, width = 24, 12  # of the block
    for number, case in enumerate(rows):
        assert case["file"] == f"case{number}.png"
        assert case["reference_pixels"] == height * width
        common = (height - number) * width
        assert case["dice"] == pytest.approx(2 * common / (height * width + found), abs=0.03)
        assert case["hd95_mm"] is None  # a picture says nothing of its pixels' size
        assert case["hd95_px"] == pytest.approx(number, abs=1.0)
    metrics = report["metrics"]
    assert metrics["dice bright"]["value"] == pytest.approx(np.mean([case["dice"] for case in rows]), abs=1e-4)
    low, high = metrics["dice bright"]["ci95"]
    assert low < metrics["dice bright"]["value"] < high
    assert metrics["dice dark"]["value"] > 0.98
    assert metrics["hd95_mm bright"] == {"value": None, "ci95": None, "n": 0}
    assert metrics["found bright"]["value"] == 1
    assert metrics["found bright"]["ci95"] == [pytest.approx(0.6097, abs=1e-3), 1.0]  # Wilson, 6 of 6
    assert metrics["quiet bright"]["n"] == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(report))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Where it fits worst" in page
    assert page.count("data:image/png") == 2
    assert "<script" not in page


def test_a_model_that_is_quiet_where_nothing_is(model: Path, tmp_path: Path) -> None:
    """An image that is black all over: nothing bright is outlined, and nothing bright is there."""
    folders(tmp_path / "data", count=2)
    for name in ("dark0.png", "dark1.png"):
        save(tmp_path / "data" / "images" / name, np.zeros((ROWS, COLUMNS)))
        save(tmp_path / "data" / "masks" / "bright" / name, np.zeros((ROWS, COLUMNS)))
        save(tmp_path / "data" / "masks" / "dark" / name, np.ones((ROWS, COLUMNS)))
    metrics = evaluate(model, tmp_path / "data", tmp_path / "out")["metrics"]
    assert (metrics["quiet bright"]["value"], metrics["quiet bright"]["n"]) == (1, 2)
    assert metrics["dice bright"]["n"] == 2


def test_dicom_images_and_segmentations_have_millimetres_and_patients(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(4):
        known: dict[str, Any] = {"ImagerPixelSpacing": [0.5, 0.4], "PatientID": f"P{number // 2}"}
        pixels = picture(ROWS, COLUMNS).astype("<u2").tobytes()
        image = make_radiograph(data / f"{number}.dcm", rows=ROWS, columns=COLUMNS, PixelData=pixels, **known)
        write_outlines(image, make_outlines(ROWS, COLUMNS), path=data / f"{number}.seg.dcm")
    make_radiograph(data / "without.dcm", rows=ROWS, columns=COLUMNS)
    report = evaluate(model, data, tmp_path / "out")
    assert (report["data"]["n"], report["data"]["n_patients"]) == (4, 2)
    assert report["data"]["unusable"] == []
    for label in ("bright", "dark"):
        assert report["metrics"][f"dice {label}"]["value"] > 0.98
        assert report["metrics"][f"hd95_mm {label}"]["n"] == 4
        assert report["metrics"][f"hd95_mm {label}"]["value"] <= 0.5
    assert all(case["hd95_mm"] is not None for case in report["cases"])


def test_slices_of_one_segmentation_are_found_where_they_lie(tmp_path: Path) -> None:
    from medviewer.app.on_screen import selections
    from medviewer.imaging.scan import scan
    from medviewer.imaging.stack_outlines import write_stack_outlines
    from tests.reference.test_stack_outlines import COLUMNS as WIDTH
    from tests.reference.test_stack_outlines import ROWS as HEIGHT
    from tests.reference.test_stack_outlines import SLICES, write_series

    write_series(tmp_path / "data")
    images = next(selections(scan([tmp_path / "data"]))).stack.images
    parts = []
    for number, image in enumerate(images):
        parts.append((image, tmp_path / f"{number}.seg.dcm"))
        write_outlines(image, make_outlines(HEIGHT, WIDTH), path=parts[-1][1])
    write_stack_outlines(parts, path=tmp_path / "data" / "whole.seg.dcm")
    spec = dict(outline_models.card_document([])["inputs"][0])
    folder = outline_models.make(tmp_path / "m", inputs=[{**spec, "modality": ["CT"], "view": [], "body_part": []}])
    report = evaluate(folder, tmp_path / "data", tmp_path / "out")
    assert report["data"]["n"] == SLICES
    assert report["data"]["n_patients"] == 1
    assert report["metrics"]["dice dark"]["ci95"] is None  # one patient says nothing of how patients differ
    assert sorted(case["dice"] for case in report["cases"] if case["label"] == "dark")[1] > 0.97


def test_data_that_have_no_masks_are_refused_with_the_layout(model: Path, tmp_path: Path) -> None:
    save(tmp_path / "data" / "images" / "a.png", grey(picture(ROWS, COLUMNS)))
    with pytest.raises(InputError, match="must hold images/ and masks/"):
        evaluate(model, tmp_path / "data", tmp_path / "out")
    (tmp_path / "data" / "masks" / "bright").mkdir(parents=True)
    with pytest.raises(InputError, match="has no folder dark"):
        evaluate(model, tmp_path / "data", tmp_path / "out")
    with pytest.raises(UsageError, match="have no parts"):
        evaluate(model, tmp_path / "data", tmp_path / "out", split="tune")
    assert not (tmp_path / "out").exists()


def test_the_command_tells_measures_and_leaves_3_where_some_cannot_be_used(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders(tmp_path / "data", count=3)
    command = ["--models", str(model.parent), "evaluate", outline_models.MODEL_ID, "--data", str(tmp_path / "data")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert re.search(r"dice dark: (0\.99\d*|1\.0+)", capsys.readouterr().out)
    (tmp_path / "data" / "masks" / "dark" / "case1.png").write_bytes(b"no picture")
    assert main([*command, "--out", str(tmp_path / "out")]) == 3
    assert "case1.png" in capsys.readouterr().err


def test_two_models_that_outline_are_not_compared(model: Path, tmp_path: Path) -> None:
    folders(tmp_path / "data", count=2)
    with pytest.raises(UsageError):
        compare(model, model, tmp_path / "data", tmp_path / "out")
    assert not (tmp_path / "out").exists()

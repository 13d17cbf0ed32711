"""A model of a whole stack gives one answer and one map, whatever way the slices are stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medviewer.app.analysis import build_stack_case
from medviewer.app.on_screen import selections
from medviewer.app.state import Selection
from medviewer.domain.case import Case
from medviewer.domain.errors import CardError, InputError
from medviewer.domain.study import Caveat
from medviewer.explain.methods import explain
from medviewer.explain.stack_map import on_image, on_plane
from medviewer.imaging.planes import grid_of, to_patient
from medviewer.imaging.reslice import PlaneGrid, axes_of, standard_grid
from medviewer.imaging.scan import scan
from medviewer.imaging.volume import read_volume
from medviewer.imaging.volume_map import map_on_plane
from medviewer.inference.card import read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.engine import Engine
from medviewer.inference.inputs import volume
from tests import stack_models
from tests.stack_models import HOT, MODEL_ID, ORIENTATIONS, StackEngine, known_probability, write_slices, write_stack

CELL_MM = stack_models.SIDE_MM / 4


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[StackEngine]:
    with stack_models.open_engine(tmp_path / "models") as made:
        yield made


def case_of(folder: Path) -> tuple[Case, Selection]:
    found = next(selections(scan([folder])))
    return build_stack_case(read_volume(found.stack), found.patient, found.study, None), found


def codes(engine: Engine, case: Case) -> list[tuple[str, str]]:
    return [(g.code, g.level) for g in engine.ask(case, MODEL_ID).guards if g.level != "ok"]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_answer_and_the_place_are_the_same_however_it_is_stored(
    engine: StackEngine, tmp_path: Path, orientation: str
) -> None:
    write_stack(tmp_path / "ct", orientation)
    case, found = case_of(tmp_path / "ct")
    answer = engine.ask(case, MODEL_ID)
    assert answer.status == "answer", answer.reasons
    assert answer.findings[0].probability == pytest.approx(known_probability(), abs=1e-5)
    attribution = explain(engine, case, MODEL_ID, "occlusion", n_random=4)
    assert attribution.volume is not None
    assert attribution.volume.hottest == pytest.approx(HOT, abs=1e-6)
    assert attribution.faithfulness is not None
    for image in found.stack.images:
        d = image.description
        grid = grid_of(d)
        assert grid is not None
        placed = on_image(attribution, d).placed
        assert placed.shape == (d.rows, d.columns)
        assert np.isfinite(placed).all()
        points = np.array([[to_patient(grid, c + 0.5, r + 0.5) for c in range(d.columns)] for r in range(d.rows)])
        away = abs(float((HOT - points[0, 0]) @ np.cross(grid.plane.row_cosine, grid.plane.column_cosine)))
        if away < CELL_MM / 2 - 1e-6:  # within the box
            assert np.linalg.norm(stack_models.box_of(placed, points) - HOT) < CELL_MM / 2 + away
        elif away > 1.5 * CELL_MM:  # beyond the box's neighbours nothing speaks for it
            assert placed.max() < 0.01 * attribution.volume.strongest


@pytest.mark.parametrize("orientation", ["axial", "sagittal mirrored"])
@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
def test_the_map_lies_at_its_place_on_planes_that_are_cut(
    engine: StackEngine, tmp_path: Path, orientation: str, name: Any
) -> None:
    write_stack(tmp_path / "ct", orientation)
    case, _ = case_of(tmp_path / "ct")
    attribution = explain(engine, case, MODEL_ID, "occlusion", n_random=0)
    right, down = axes_of(name)
    at = float(HOT @ np.abs(np.cross(right, down)))
    grid = standard_grid(case.volumes[0], name, at)
    placed = on_plane(attribution, grid).placed
    points = np.array(
        [[to_patient(grid, c + 0.5, r + 0.5) for c in range(grid.shape[1])] for r in range(grid.shape[0])]
    )
    assert np.linalg.norm(stack_models.box_of(placed, points) - HOT) < CELL_MM / 2
    assert on_plane(attribution, grid) is on_plane(attribution, grid)  # what is drawn is told by what it is


def test_an_upright_plane_is_what_the_general_way_gives(engine: StackEngine, tmp_path: Path) -> None:
    write_stack(tmp_path / "ct", "coronal")
    case, _ = case_of(tmp_path / "ct")
    boxes = explain(engine, case, MODEL_ID, "occlusion", n_random=0).volume
    assert boxes is not None
    chance = replace(boxes, values=np.random.default_rng(3).normal(size=boxes.values.shape).astype(np.float32))
    axes = {"axial": 2, "coronal": 1, "sagittal": 0}
    for name, axis in axes.items():
        grid = standard_grid(case.volumes[0], name, float(HOT[axis]))  # type: ignore[arg-type]
        x, y, z = grid.plane.row_cosine
        turned = replace(grid.plane, row_cosine=(x + 1e-7, y + 1e-7, z + 1e-7))
        slow = map_on_plane(chance, PlaneGrid(turned, grid.spacing_mm, grid.shape))
        np.testing.assert_allclose(map_on_plane(chance, grid), slow, atol=1e-4)


@pytest.mark.parametrize("orientation", ["axial", "sagittal mirrored"])
def test_where_slices_lean_the_map_goes_with_them(engine: StackEngine, tmp_path: Path, orientation: str) -> None:
    """What is said of the voxels of a slice is drawn on these voxels, and the strongest place is where it is drawn."""
    write_stack(tmp_path / "ct", orientation)
    case, _ = case_of(tmp_path / "ct")
    boxes = explain(engine, case, MODEL_ID, "occlusion", n_random=0).volume
    assert boxes is not None
    right, down = np.array(boxes.plane.row_cosine), np.array(boxes.plane.column_cosine)
    lean = replace(boxes, positions=boxes.positions + np.arange(16)[:, None] * (0.7 * right - 0.4 * down))
    for straight, leaning in zip(boxes.positions, lean.positions, strict=True):
        expected, found = (
            map_on_plane(one, PlaneGrid(replace(boxes.plane, position=tuple(at)), boxes.spacing_mm, (16, 16)))
            for one, at in ((boxes, straight), (lean, leaning))
        )
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert lean.hottest is not None
    grid = PlaneGrid(replace(boxes.plane, position=tuple(lean.hottest)), boxes.spacing_mm, (1, 1))
    assert map_on_plane(lean, grid)[0, 0] == pytest.approx(lean.strongest, abs=1e-6)


def test_a_map_that_puts_the_one_box_first_is_better_than_chance(engine: StackEngine, tmp_path: Path) -> None:
    write_stack(tmp_path / "ct")
    case, _ = case_of(tmp_path / "ct")
    found = explain(engine, case, MODEL_ID, "occlusion", n_random=50)
    assert found.faithfulness is not None
    assert min(found.faithfulness.deletion_percentile, found.faithfulness.insertion_percentile) >= 95
    assert found.faithfulness.sentence.startswith("Better than chance")


def test_off_the_stack_there_is_nothing(engine: StackEngine, tmp_path: Path) -> None:
    write_stack(tmp_path / "ct")
    case, _ = case_of(tmp_path / "ct")
    attribution = explain(engine, case, MODEL_ID, "occlusion", n_random=0)
    grid = standard_grid(case.volumes[0], "axial", float(HOT[2]))
    wide = PlaneGrid(replace(grid.plane, position=(grid.plane.position[0] - 40, *grid.plane.position[1:])),
                     grid.spacing_mm, (grid.shape[0], grid.shape[1] + 10))  # fmt: skip
    placed = on_plane(attribution, wide).placed
    assert np.isnan(placed[:, :9]).all()
    assert np.isfinite(placed[:, 10:]).all()
    above = replace(grid.plane, position=(*grid.plane.position[:2], grid.plane.position[2] + 100))
    assert np.isnan(on_plane(attribution, PlaneGrid(above, grid.spacing_mm, grid.shape)).placed).all()


def test_the_real_network_says_the_same(tmp_path: Path) -> None:
    stack_models.make(tmp_path / "models" / MODEL_ID)
    write_stack(tmp_path / "ct", "sagittal")
    case, _ = case_of(tmp_path / "ct")
    with Engine(Catalogue([tmp_path / "models"]), providers=("cpu",), threads=1) as real:
        answer = real.ask(case, MODEL_ID)
        attribution = explain(real, case, MODEL_ID, "occlusion", n_random=0)
    assert answer.findings[0].probability == pytest.approx(known_probability(), abs=1e-5)
    assert attribution.volume is not None
    assert attribution.volume.hottest == pytest.approx(HOT, abs=1e-6)


def test_what_fits_is_told_too(engine: StackEngine, tmp_path: Path) -> None:
    write_stack(tmp_path / "ct")
    guards = engine.ask(case_of(tmp_path / "ct")[0], MODEL_ID).guards
    assert ("modality", "ok") in [(g.code, g.level) for g in guards]
    write_stack(tmp_path / "mr", Modality="MR")
    other = engine.ask(case_of(tmp_path / "mr")[0], MODEL_ID)
    assert [(g.code, g.level) for g in other.guards if g.code.startswith("modality")] == [
        ("modality.abstain.ct", "abstain")
    ]


def test_without_a_way_to_turn_it_a_sagittal_stack_is_warned_of_and_an_axial_one_is_not(tmp_path: Path) -> None:
    stack_models.make(tmp_path / "models" / MODEL_ID, orient=False)
    with StackEngine(Catalogue([tmp_path / "models"])) as engine:
        for orientation, doubts in (("axial", []), ("sagittal", [("unturned_volume.ct", "warn")])):
            write_stack(tmp_path / orientation, orientation)
            assert codes(engine, case_of(tmp_path / orientation)[0]) == doubts


def test_an_oblique_stack_is_refused_and_a_slightly_turned_one_is_not(engine: StackEngine, tmp_path: Path) -> None:
    for degrees, doubts in ((10, []), (40, [("oblique_volume.ct", "abstain")])):
        turn = np.radians(degrees)
        right = np.array([np.cos(turn), np.sin(turn), 0])
        down = np.array([-np.sin(turn), np.cos(turn), 0])
        write_slices(tmp_path / str(degrees), right, down)
        assert codes(engine, case_of(tmp_path / str(degrees))[0]) == doubts
    spec = read_card(tmp_path / "models" / MODEL_ID).inputs[0]
    with pytest.raises(InputError, match="obliquely"):
        volume.encode(case_of(tmp_path / "40")[0].volumes[0], spec)


def test_what_has_no_value_is_as_low_as_the_lowest(engine: StackEngine, tmp_path: Path) -> None:
    """Padding of slices that are scaled differently: one NaN would spread over all that a network sees."""
    write_stack(tmp_path / "ct", "axial")
    raw = case_of(tmp_path / "ct")[0].volumes[0]
    spec = read_card(tmp_path / "models" / MODEL_ID).inputs[0]
    lowest = raw.stored.astype(np.float32)
    lowest[:, :3] = lowest.min()
    padded = lowest.copy()
    padded[:, :3] = np.nan
    (found,) = volume.encode(replace(raw, stored=padded), spec).tensors.values()
    (expected,) = volume.encode(replace(raw, stored=lowest), spec).tensors.values()
    np.testing.assert_array_equal(found, expected)


def test_few_slices_are_warned_of_unless_the_card_says_how_many_there_must_be(tmp_path: Path) -> None:
    big = {"shape": [None, 1, 4, 8, 8]}
    for bounds, doubts in ((None, []), ([5, 40], [("slice_count.ct", "abstain")]), ([2, 40], [])):
        folder = tmp_path / f"models {bounds}"
        stack_models.make(folder / MODEL_ID, spec=big | ({"slices": bounds} if bounds else {}))
        write_slices(tmp_path / "few", np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), slices=4)
        with StackEngine(Catalogue([folder])) as engine:
            assert codes(engine, case_of(tmp_path / "few")[0]) == doubts
    write_slices(tmp_path / "fewer", np.array([0, 1.0, 0]), np.array([0, 0, -1.0]), slices=3)
    # Sagittal: its slices are the columns of the network, of which there are eight.
    stack_models.make(tmp_path / "models" / MODEL_ID)
    with StackEngine(Catalogue([tmp_path / "models"])) as engine:
        assert codes(engine, case_of(tmp_path / "fewer")[0]) == [("few_slices.ct", "warn")]


def test_what_its_files_say_of_themselves_is_heeded(engine: StackEngine, tmp_path: Path) -> None:
    write_stack(tmp_path / "ct")
    case, _ = case_of(tmp_path / "ct")
    (own,) = case.volumes
    broken = replace(own, caveats=(Caveat("truncated", "The file ends early."),))
    assert codes(engine, replace(case, volumes=(broken,))) == [("image.truncated", "abstain")]
    burnt = replace(own, description=replace(own.description, has_burnt_in_annotation=True))
    assert codes(engine, replace(case, volumes=(burnt,))) == [("burnt_in_annotation", "warn")]
    nobody = replace(
        own,
        description=replace(own.description, modality="", sop_class_uid=""),
        caveats=(Caveat("identity.none", "No patient data in this file."),),
    )
    assert ("modality.unknown", "abstain") in codes(engine, replace(case, volumes=(nobody,)))
    confirmed = replace(case, volumes=(nobody,), confirmed=frozenset({"modality.unknown"}))
    assert engine.ask(confirmed, MODEL_ID).status == "answer"


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"op": "orient", "slices": "H", "rows": "P", "columns": "A"}], "same axis"),
        (
            [
                {"op": "window", "low": 0, "high": 1},
                {"op": "orient", "slices": "H", "rows": "P", "columns": "L"},
            ],
            "before all else",
        ),
    ],
)
def test_a_card_that_turns_its_stack_wrongly_is_refused(tmp_path: Path, steps: list[Any], words: str) -> None:
    resize = {"op": "resize", "slices": 4, "rows": 8, "columns": 8}
    stack_models.make(tmp_path / MODEL_ID, spec={"preprocessing": [*steps, resize]})
    with pytest.raises(CardError, match=words):
        read_card(tmp_path / MODEL_ID)


def test_a_range_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    stack_models.make(tmp_path / MODEL_ID, spec={"slices": [9, 3]})
    with pytest.raises(CardError, match="the range of slices of ct is empty"):
        read_card(tmp_path / MODEL_ID)

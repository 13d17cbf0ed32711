"""What a 3D view shows lies where it lies in the patient: in any stack, from any side, the nearer before the farther."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medviewer.domain.study import PixelDescription, Plane, Window
from medviewer.domain.volume import Volume
from medviewer.imaging import ray_casting as module
from medviewer.imaging.camera import SIDES, Camera, Look, look_from, rolled, turned
from medviewer.imaging.ray_casting import Outdated, RayCaster
from medviewer.imaging.transfer import Transfer, presets
from medviewer.imaging.voxel_block import make_block, slices_of

AIR, BRIGHT, MIDDLE = -1000, 1000, 300
# Red for bright values, blue for middle ones; what lies between, as at the edge of a bright ball, is not seen.
OPAQUE = Transfer(
    "opaque",
    Window(500, 1000),
    (
        (0.26, 0.0, 0.1, 0.1, 1.0), (0.28, 0.95, 0.1, 0.1, 1.0), (0.32, 0.95, 0.1, 0.1, 1.0), (0.34, 0.0, 0.1, 0.1, 1.0),
        (0.6, 0.0, 1.0, 0.1, 0.1), (0.65, 0.95, 1.0, 0.1, 0.1),
    ),
)  # fmt: skip
MIP = replace(presets(None)[4], window=Window(0, 2000))
OPPOSITE = dict(zip("APRLHF", "PALRFH", strict=True))
CENTER = np.array([12.0, -30.0, 400.0])
TOWARDS = {"A": (0, -1, 0), "P": (0, 1, 0), "R": (-1, 0, 0), "L": (1, 0, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
# Standing there, head up (from head and feet: the front up): what is on the reader's left and above.
LEFT_AND_TOP = {"A": "RH", "P": "LH", "R": "PH", "L": "AH", "H": "LA", "F": "RA"}


def rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def phantom(
    balls: Mapping[tuple[float, float, float], int],
    axes: np.ndarray | None = None,
    spacing: tuple[float, float, float] = (2.5, 1.0, 1.5),
    lean: tuple[float, float, float] = (0, 0, 0),
    radius: float = 9.0,
) -> Volume:
    """Balls of some values around places (LPS mm from the middle); ``axes``: columns, rows, slices; spacing (z, y, x)."""
    axes = np.eye(3) if axes is None else axes
    shape = (64, 140, 96)
    columns, rows = axes[:, 0] * spacing[2], axes[:, 1] * spacing[1]
    step = axes[:, 2] * spacing[0] + np.array(lean)
    middle = (columns * (shape[2] - 1) + rows * (shape[1] - 1) + step * (shape[0] - 1)) / 2
    positions = CENTER - middle + np.arange(shape[0])[:, None] * step
    z, y, x = np.indices(shape)
    points = positions[0] + x[..., None] * columns + y[..., None] * rows + z[..., None] * step
    stored = np.full(shape, AIR, np.int16)
    for place, value in balls.items():
        stored[np.linalg.norm(points - CENTER - place, axis=-1) < radius] = value
    description = PixelDescription(
        "CT", shape[1], shape[2], is_signed=True, rescale_type="HU", pixel_spacing_mm=spacing[1:],
        plane=Plane(tuple(positions[0]), tuple(axes[:, 0]), tuple(axes[:, 1])),
    )  # fmt: skip
    return Volume(stored, positions, description)


def caster_of(volume: Volume) -> RayCaster:
    block = make_block(volume)
    return RayCaster(np.stack(list(slices_of(volume, block))), block)


def picture(volume: Volume, camera: Camera, transfer: Transfer = OPAQUE, **more: Any) -> np.ndarray:
    return caster_of(volume).picture(Look(camera, transfer, more.pop("shape", (120, 150)), **more)).astype(int)


def middle_of(seen: np.ndarray) -> np.ndarray:
    """The middle of what is lit, (column, row)."""
    rows, columns = np.nonzero(seen.max(axis=2) > 20)
    return np.array([columns.mean(), rows.mean()])


GEOMETRIES: dict[str, dict[str, Any]] = {
    "axial": {},
    "sagittal": {"axes": np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]])},
    "oblique": {"axes": rotation(3)},
    "leaning": {"lean": (0.0, 0.8, 0.0)},
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_markers_land_on_their_side_from_all_six_sides(geometry: str, side: Any) -> None:
    """One ball for each side of the patient, looked for where an onlooker standing there has it."""
    for letter, away in TOWARDS.items():
        if letter in (side, OPPOSITE[side]):
            continue  # in the middle of the picture
        volume = phantom({tuple(np.array(away) * 38.0): BRIGHT}, **GEOMETRIES[geometry])
        camera = replace(look_from(side, CENTER[None]), height_mm=180.0)
        column, row = middle_of(picture(volume, camera)) - (74.5, 59.5)
        left, top = LEFT_AND_TOP[side]
        expected = {left: (-1, 0), OPPOSITE[left]: (1, 0), top: (0, -1), OPPOSITE[top]: (0, 1)}[letter]
        np.testing.assert_allclose([column * 1.5, row * 1.5], np.array(expected) * 38.0, atol=1.5)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("size", [(60, 60), (240, 300)])
def test_a_place_is_projected_as_geometry_says_from_any_direction(geometry: str, size: tuple[int, int]) -> None:
    place = np.array([21.0, -17.0, 30.0])
    volume = phantom({tuple(place): BRIGHT}, **GEOMETRIES[geometry])
    for seed in range(3):
        chance = np.random.default_rng(seed).uniform(-180, 180, 3)
        camera = rolled(turned(look_from("A", CENTER[None]), *chance[:2]), chance[2])
        camera = replace(camera, height_mm=150.0, center=tuple(CENTER + np.array([3.0, 5.0, -4.0])))
        away = CENTER + place - camera.center
        expected = np.array([away @ camera.right, away @ camera.down]) / (150.0 / size[0])
        expected += (np.array(size[::-1]) - 1) / 2
        found = middle_of(picture(volume, camera, shape=size))
        np.testing.assert_allclose(found, expected, atol=max(1.0, 0.8 * size[0] / 150.0))


@pytest.mark.parametrize("side", SIDES)
def test_the_nearer_ball_hides_the_farther_one(side: Any) -> None:
    near = np.array(TOWARDS[side]) * 30.0
    camera = turned(replace(look_from(side, CENTER[None]), height_mm=150.0), 3, 2)

    def color(nearer: int, farther: int) -> np.ndarray:
        seen = picture(phantom({tuple(near): nearer, tuple(-near): farther}), camera)
        return np.median(seen[57:63, 72:78], axis=(0, 1))

    red_first, blue_first = color(BRIGHT, MIDDLE), color(MIDDLE, BRIGHT)
    assert red_first[0] > 2 * red_first[2]
    assert blue_first[2] > 2 * blue_first[0]


def test_cut_open_in_front_the_farther_one_is_seen() -> None:
    volume = phantom({(0, -30, 0): BRIGHT, (0, 30, 0): MIDDLE})
    camera = replace(look_from("A", CENTER[None]), height_mm=150.0)
    assert picture(volume, camera)[60, 75, 0] > 100
    opened = picture(volume, camera, front_mm=0.0)[60, 75]
    assert opened[2] > 2 * opened[0]
    assert picture(volume, camera, front_mm=60.0).max() == 0


@pytest.mark.parametrize(("look", "seed"), [(OPAQUE, None), (MIP, 3)])
@pytest.mark.parametrize("side", SIDES)
def test_outside_of_a_box_of_the_patient_nothing_is_seen(look: Transfer, side: Any, seed: int | None) -> None:
    """In any stack and from any side: of two balls the one in the box, and of that the half that lies in it."""
    axes = None if seed is None else rotation(seed)
    volume = phantom({(-20, -20, -20): BRIGHT, (20, 20, 20): BRIGHT}, axes)
    camera = replace(look_from(side, CENTER[None]), height_mm=150.0)
    low, high = CENTER - 60, CENTER + 60
    whole = picture(volume, camera, transfer=look)[..., 0] > 60
    for axis in range(3):
        cut = high.copy()
        cut[axis] = CENTER[axis] - 20  # through the middle of the first ball, in front of all of the second
        seen = picture(volume, camera, transfer=look, box_mm=(tuple(low), tuple(cut)))[..., 0] > 60
        rows, columns = np.nonzero(seen)
        assert len(rows) > 0
        right, down = np.array(camera.right), np.array(camera.down)
        mm = (columns - 74.5)[:, None] * right + (rows - 59.5)[:, None] * down  # of 150 mm over 120 rows
        mm = mm * 150 / 120
        across = max(abs(right[axis]), abs(down[axis]))
        if across > 0.9:  # the face of the box is seen edge on: it ends where it says
            assert mm[:, axis].max() < -20 + 2.5
            assert mm[:, axis].max() > -20 - 4
        assert seen.sum() < whole.sum() * 0.6
    assert not picture(volume, camera, transfer=look, box_mm=(tuple(CENTER - 5), tuple(CENTER + 5))).any()


@pytest.mark.parametrize(("side", "axis", "flip"), [("F", 0, None), ("A", 1, 0), ("L", 2, 0)])
def test_a_mip_is_the_maximum_along_each_ray(side: Any, axis: int, flip: int | None) -> None:
    """Against numpy's maximum of the voxels, with a pixel a voxel."""
    chance = np.random.default_rng(0)
    stored = chance.integers(-900, 900, (40, 40, 40)).astype(np.int16)
    positions = np.arange(40)[:, None] * np.array([0, 0, 1.0])
    description = PixelDescription(
        "CT", 40, 40, is_signed=True, rescale_type="HU", pixel_spacing_mm=(1, 1), plane=Plane((0, 0, 0), (1, 0, 0), (0, 1, 0)),
    )  # fmt: skip
    volume = Volume(stored, positions, description)
    camera = replace(look_from(side, make_block(volume).corners), height_mm=40.0)
    # The middle lies between two voxels: half a voxel nearer, every step meets one.
    camera = replace(camera, center=tuple(np.array(camera.center) - 0.5 * np.array(camera.ahead)))
    seen = picture(volume, camera, MIP, shape=(40, 40))[..., 0]
    expected = stored.max(axis=axis)
    expected = expected if flip is None else np.flip(expected, flip)
    np.testing.assert_allclose(seen, (expected + 1000) / 2000 * 255, atol=0.7)


def test_light_that_passes_fades_with_the_thickness() -> None:
    """A homogeneous slab: what it shows is 1 - (1 - opacity) ** thickness, at any length of step."""
    stored = np.full((60, 30, 30), AIR, np.int16)
    stored[20:40] = MIDDLE
    positions = np.arange(60)[:, None] * np.array([0, 0, 1.0])
    description = PixelDescription(
        "CT", 30, 30, is_signed=True, rescale_type="HU", pixel_spacing_mm=(1, 1), plane=Plane((0, 0, 0), (1, 0, 0), (0, 1, 0)),
    )  # fmt: skip
    volume = Volume(stored, positions, description)
    steep = Transfer("thin", Window(0, 600), ((0.99, 0.0, 1.0, 1.0, 1.0), (1.0, 0.03, 1.0, 1.0, 1.0)))
    camera = look_from("F", make_block(volume).corners)
    for pixel in (0.75, 1.5):
        seen = picture(volume, replace(camera, height_mm=pixel * 31), steep, shape=(31, 31))[15, 15, 0] / 255
        assert seen == pytest.approx(1 - (1 - 0.03) ** 20, abs=0.06)


def test_padding_and_what_lies_outside_are_nothing() -> None:
    """Also where the smallest value itself would be seen."""
    volume = phantom({(0, 0, 0): BRIGHT})
    stored = np.where(volume.stored == AIR, -2000, volume.stored).astype(np.int16)
    padded = Volume(stored, volume.positions, replace(volume.description, pixel_padding_range=(-2000, -2000)))
    everything = replace(OPAQUE, points=((0.0, 0.9, 1.0, 1.0, 1.0), (1.0, 0.9, 1.0, 1.0, 1.0)))
    camera = replace(look_from("A", CENTER[None]), height_mm=300.0)
    seen = picture(padded, camera, everything).max(axis=2) > 0
    assert seen[60, 75]
    assert 0 < seen.sum() < 1.5 * np.pi * (11.5 / 2.5) ** 2
    whole = picture(volume, camera, everything).max(axis=2) > 0
    assert not whole[0].any()
    assert whole[30:90, 50:100].all()


def test_leaving_out_empty_cells_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small things at the corners of cells, and a surface that only what lies between two cells shows."""
    volume = phantom({(21, -17, 30): BRIGHT, (-30, 25, -40): BRIGHT}, axes=rotation(5), radius=5.0)
    stored = volume.stored.copy()
    stored[16:32, 64:96, 40:64] = 500  # not seen itself: neither is the air beside it, but all values between are
    volume = Volume(stored, volume.positions, volume.description)
    shells = replace(
        OPAQUE,
        window=Window(0, 2000),
        points=((0.1, 0.0, 0.0, 1.0, 0.0), (0.2, 0.3, 0.0, 1.0, 0.0), (0.5, 0.3, 0.0, 1.0, 0.0), (0.6, 0.0, 0.0, 1.0, 0.0),
                (0.9, 0.0, 1.0, 0.0, 0.0), (0.95, 0.9, 1.0, 0.0, 0.0)),
    )  # fmt: skip
    camera = replace(turned(look_from("A", CENTER[None]), 33, 21), height_mm=190.0)
    look = Look(camera, shells, (48, 52))
    caster = caster_of(volume)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_is_drawn", lambda table, _transfer: np.ones_like(table.is_seen))
        expected = caster.picture(look).astype(int)
    monkeypatch.setattr(module, "_TILE", 2)  # far smaller than a cell: nothing that is left out hides in a tile
    monkeypatch.setattr(module, "_LAYER", 1)
    # Where layers begin decides when a ray counts as used up: as much as its last light may differ.
    np.testing.assert_allclose(caster.picture(look).astype(int), expected, atol=6)
    assert expected[..., 0].max() > 20
    assert expected[..., 1].max() > 20


def test_a_picture_that_nobody_wants_is_given_up() -> None:
    asked: list[int] = []

    def is_outdated() -> bool:
        asked.append(1)
        return len(asked) > 3

    caster = caster_of(phantom({(0, 0, 0): BRIGHT}))
    with pytest.raises(Outdated):
        caster.picture(Look(look_from("A", CENTER[None] + [[-50], [50]]), OPAQUE, (300, 300)), is_outdated)
    assert len(asked) == 4


def test_every_preset_shows_what_it_is_for() -> None:
    """Bone shows bone, not soft tissue; soft tissue is before bone; airways are seen in the lung preset only."""
    bone, vessels, lung, tissue, mip = presets(None)
    at = {
        one.name: one.at(np.array([-1000.0, -600, 40, 350, 1200]))[:, 0] for one in (bone, vessels, lung, tissue, mip)
    }
    assert at["Bone"][2] == 0
    assert at["Bone"][4] > 0.5
    assert at["Vessels"][2] == 0
    assert at["Vessels"][3] > 0.2
    assert at["Soft tissue"][2] > 0.1
    assert (at["Soft tissue"][:2] == 0).all()
    assert at["Lung and airways"][1] > 0
    assert (at["Lung and airways"][[0, 2, 3, 4]] == 0).all()


def test_without_a_unit_presets_are_percentiles() -> None:
    shares = {1.0: 0.0, 50.0: 10.0, 90.0: 50.0, 95.0: 60.0, 98.0: 70.0, 99.5: 90.0, 99.9: 95.0, 99.95: 99.0}
    made = presets(shares)
    assert len(made) == len(presets(None))
    surface = made[0]
    assert (surface.window.center, surface.window.width) == (35, 50)

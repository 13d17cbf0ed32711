"""The heat map of a stack of slices on one plane: a slice of it, or a plane that was cut through it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from medviewer.domain.answer import Attribution
from medviewer.domain.study import PixelDescription
from medviewer.imaging.planes import grid_of
from medviewer.imaging.reslice import PlaneGrid
from medviewer.imaging.volume_map import map_on_plane


@lru_cache(maxsize=8)  # as many as viewports show at once; a plane of a large stack takes tens of megabytes
def on_plane(attribution: Attribution, grid: PlaneGrid) -> Attribution:
    """The same map placed on a plane of the frame of reference of its stack; the same object each time."""
    assert attribution.volume is not None  # noqa: S101 - of a stack
    placed = map_on_plane(attribution.volume, grid)
    placed.setflags(write=False)
    return replace(attribution, placed=placed)


def on_image(attribution: Attribution, description: PixelDescription) -> Attribution:
    """The map of a stack placed on a slice; any other as it is, and so where the slice does not say where it lies."""
    grid = grid_of(description) if attribution.volume is not None else None
    return attribution if grid is None else on_plane(attribution, grid)

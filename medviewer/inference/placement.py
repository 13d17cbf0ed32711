"""From a map on the network's grid to its place on the image that was analysed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medviewer.domain.errors import GeometryError

FloatArray = npt.NDArray[np.float32]
Transform = npt.NDArray[np.float64]

_ROWS_AT_A_TIME = 256  # bounds the memory of an image of any size


def grid_to_network(grid: tuple[int, int], network: tuple[int, int]) -> Transform:
    """Return the map from cells of a coarse grid to pixels of the network's input.

    A feature map of 7 x 7 covers the same square as an input of 224 x 224: its first
    cell covers pixels 0 to 31 and has its centre between pixels 15 and 16, not on
    pixel 0. Forgetting that half cell moves a heat map by centimetres.

    Args:
        grid: rows and columns of the coarse grid.
        network: rows and columns of the network's input.

    Returns:
        ``(3, 3)`` homogeneous: grid (row, column) to network (row, column), both at centres.
    """
    transform = np.eye(3)
    for axis in (0, 1):
        step = network[axis] / grid[axis]
        transform[axis, axis] = step
        transform[axis, 2] = 0.5 * step - 0.5
    return transform


def place_saliency(saliency: FloatArray, model_to_image: Transform, shape: tuple[int, int]) -> FloatArray:
    """Draw a saliency map, made on the network's input grid, on the image it explains.

    The network saw a cropped and shrunken copy of the radiograph. This undoes
    that, so that the hot spot lies over the anatomy that caused it. Pixels the
    network never saw come back as NaN: "not examined" must not look like
    "examined and unimportant".

    Args:
        saliency: ``(h, w)`` float32 on the network's input grid, or on a coarser one
            whose ``model_to_image`` has :func:`grid_to_network` in it.
        model_to_image: ``(3, 3)`` homogeneous map from saliency (row, column) to
            image (row, column), at pixel centres; the inverse of what preprocessing did.
        shape: ``(rows, columns)`` of the stored image.

    Returns:
        ``(rows, columns)`` float32 in the units of ``saliency``, bilinear between
        its cell centres and constant over the outer half of its border cells; NaN off
        the grid.

    Raises:
        GeometryError: ``model_to_image`` cannot be inverted.
    """
    to_grid = _inverse(model_to_image)
    placed = np.empty(shape, np.float32)
    if to_grid[0, 1] == 0 and to_grid[1, 0] == 0:
        _place_upright(np.asarray(saliency, np.float32), to_grid, placed)
    else:
        _place_turned(np.asarray(saliency, np.float32), to_grid, placed)
    return placed


def _inverse(model_to_image: Transform) -> Transform:
    matrix = np.asarray(model_to_image, np.float64)
    is_affine = matrix.shape == (3, 3) and np.isfinite(matrix).all() and np.array_equal(matrix[2], (0, 0, 1))
    # Compared with what the matrix is made of, so that its units do not matter.
    if not is_affine or abs(np.linalg.det(matrix)) <= 1e-12 * np.abs(matrix[:2, :2]).max() ** 2:
        raise GeometryError("The heat map cannot be placed: the transform from model to image cannot be undone.")
    return np.asarray(np.linalg.inv(matrix), np.float64)


def _place_upright(saliency: FloatArray, to_grid: Transform, placed: FloatArray) -> None:
    """Without rotation, rows and columns are interpolated one after the other: fast on large images."""
    result = saliency
    for axis in (0, 1):
        at = to_grid[axis, axis] * np.arange(placed.shape[axis]) + to_grid[axis, 2]
        first, second, share = _neighbours(at, saliency.shape[axis])
        weight = share.astype(np.float32)[:, None] if axis == 0 else share.astype(np.float32)
        result = result.take(first, axis) * (1 - weight) + result.take(second, axis) * weight
    placed[...] = result


def _place_turned(saliency: FloatArray, to_grid: Transform, placed: FloatArray) -> None:
    columns = np.arange(placed.shape[1])
    for start in range(0, placed.shape[0], _ROWS_AT_A_TIME):
        rows = np.arange(start, min(start + _ROWS_AT_A_TIME, placed.shape[0]))[:, None]
        at_row = to_grid[0, 0] * rows + to_grid[0, 1] * columns + to_grid[0, 2]
        at_column = to_grid[1, 0] * rows + to_grid[1, 1] * columns + to_grid[1, 2]
        r0, r1, down = _neighbours(at_row, saliency.shape[0])
        c0, c1, right = _neighbours(at_column, saliency.shape[1])
        upper = saliency[r0, c0] * (1 - right) + saliency[r0, c1] * right
        lower = saliency[r1, c0] * (1 - right) + saliency[r1, c1] * right
        placed[rows[:, 0]] = upper * (1 - down) + lower * down


def _neighbours(
    at: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return the cells on both sides of each place and the share of the second; NaN off the grid."""
    # A cell reaches half a step to each side of its centre; rounding may not cut the border off.
    is_on = (at >= -0.5 - 1e-9) & (at <= size - 0.5 + 1e-9)
    inside = np.clip(at, 0, size - 1)
    first = np.minimum(inside.astype(np.intp), max(size - 2, 0))
    share = np.where(is_on, inside - first, np.nan)
    return first, np.minimum(first + 1, size - 1), share

"""An affine map improved by Gauss-Newton steps on squared differences: for CTs, whose values mean the same."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from scipy import ndimage
from torch import Tensor

from cst_core.field import sample
from cst_core.transform import slab_points
from cst_image.preparation.thumbnail import SPACING, Thumbnail

SMOOTHING_MM = (10.0, 4.0)
"""Gaussians of the two levels."""
STEPS = 12
"""At most, a level."""
MOST_MM = 60.0
"""How far the middle of the fixed scan may move from the start; beyond, something else was matched."""
VOLUME_RATIO = 1.8
"""How much a map may enlarge or shrink."""
LEAST_SHARED = 0.4
"""Of the known voxels of the scan that has fewer."""
_UNIT = 100.0  # mm: brings the columns of the normal equations to one scale
_ENOUGH = 1e-4  # relative fall of the cost that is worth another step


class Descent(NamedTuple):
    """What was found, and the root mean squared differences (of the window) before and after."""

    matrix: Float64[Tensor, "4 4"]
    before: float
    after: float


class _Level(NamedTuple):
    fixed: Float[Tensor, " N"]
    points: Float64[Tensor, "N 3"]
    """Of the fixed voxels, RAS mm."""
    moving: Float[Tensor, "4 X Y Z"]
    """Intensity, then its gradient along the array axes, per mm."""


def descend(fixed: Thumbnail, moving: Thumbnail, start: Float64[Tensor, "4 4"]) -> Descent:
    """The map (fixed world to moving world, RAS mm) improved from ``start``; ``start`` itself where nothing better is.

    Sec. 2 of Baker and Matthews (IJCV 2004), forwards additive, with Levenberg's damping.
    """
    middle = fixed.grid.points_to_world(fixed.grid.centre[None])[0]
    matrix, first, cost = start, float("inf"), float("inf")
    for sigma in SMOOTHING_MM:
        level = _level(fixed, moving, sigma)
        first = _difference(level, moving, start)[0]
        matrix, cost = _solve(level, moving, matrix, middle)
    moved = torch.linalg.vector_norm((matrix - start)[:3] @ torch.cat([middle, middle.new_ones(1)]))
    volume = float(torch.linalg.det(matrix[:3, :3]))
    if moved > MOST_MM or not 1 / VOLUME_RATIO < volume < VOLUME_RATIO or not cost < first:
        return Descent(start, first**0.5, first**0.5)
    return Descent(matrix, first**0.5, cost**0.5)


def _level(fixed: Thumbnail, moving: Thumbnail, sigma: float) -> _Level:
    a, b = (
        torch.from_numpy(ndimage.gaussian_filter(one.volume.numpy(), sigma / SPACING, mode="nearest"))
        for one in (fixed, moving)
    )
    shown = fixed.known.flatten().nonzero()[:, 0]
    gradient = torch.stack(torch.gradient(b, spacing=list(moving.grid.spacing)))
    points = slab_points(fixed.grid, 0, fixed.grid.shape[2])
    return _Level(a.flatten()[shown], points[shown], torch.cat([b[None], gradient]))


def _solve(level: _Level, moving: Thumbnail, matrix: Tensor, middle: Tensor) -> tuple[Tensor, float]:
    cost, residual, gradient, inside = _difference(level, moving, matrix)
    damping, local = 1e-3, torch.cat([(level.points - middle) / _UNIT, level.points.new_ones(len(level.points), 1)], 1)
    for _ in range(STEPS):
        # d moving(A x) / d A: the world gradient times (x - middle, 1)
        columns = (gradient[:, :, None] * local[inside][:, None, :]).flatten(1)
        normal, right = columns.T @ columns, columns.T @ residual
        if not normal.any():  # nothing is shared, or nothing varies
            break
        fallen, floor = 0.0, 1e-9 * normal.diagonal().max() * torch.eye(12, dtype=torch.float64)
        for _ in range(4):
            change = torch.linalg.solve(normal + floor + damping * normal.diagonal().diag(), -right).reshape(3, 4)
            tried = matrix.clone()
            tried[:3, :3] += change[:, :3] / _UNIT
            tried[:3, 3] += change[:, 3] - change[:, :3] @ middle / _UNIT
            found = _difference(level, moving, tried)
            if found[0] < cost:
                fallen = 1 - found[0] / cost
                matrix, (cost, residual, gradient, inside) = tried, found
                damping *= 0.3
                break
            damping *= 10
        if fallen < _ENOUGH:
            break
    return matrix, cost


def _difference(
    level: _Level, moving: Thumbnail, matrix: Float64[Tensor, "4 4"]
) -> tuple[float, Float64[Tensor, " M"], Float64[Tensor, "M 3"], Bool[Tensor, " N"]]:
    """Mean squared difference over the voxels known in both, residuals, world gradients, and which voxels these are."""
    world = level.points @ matrix[:3, :3].T + matrix[:3, 3]
    places = moving.grid.points_from_world(world).T
    inside = sample(moving.known[None], places, moving.grid.spacing, "nearest", "zeros")[0]
    if float(inside.sum()) < LEAST_SHARED * min(len(level.points), int(moving.known.sum())):
        return float("inf"), world.new_zeros(0), world.new_zeros(0, 3), inside
    found = sample(level.moving, places[:, inside].float(), moving.grid.spacing).double()
    residual = found[0] - level.fixed[inside].double()
    return float(residual.square().mean()), residual, found[1:].T @ moving.grid.directions.T, inside

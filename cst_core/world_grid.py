"""The voxels of a grid in the world, RAS mm, and the blocks in which large grids are worked through."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from cst_core.field import Grid

_SAME = 1e-3  # mm, by which the corners of one grid may lie off those of another that counts as the same
EDGE = 1e-6  # voxels, by which rounding may put a point beyond the face on which it lies
_SITES = 2**19  # voxels that are worked on at once


def slabs(shape: Sequence[int]) -> list[tuple[int, int]]:
    """Ranges of the third array axis that hold about half a million voxels each, in order."""
    step = max(1, _SITES // (shape[0] * shape[1]))
    return [(start, min(start + step, shape[2])) for start in range(0, shape[2], step)]


def slab_points(grid: Grid, start: int, stop: int) -> Float64[Tensor, "N 3"]:
    """World positions, RAS mm, of the voxels whose third index is in ``start .. stop - 1``; the third index fastest."""
    ranges = [torch.arange(n, dtype=torch.float64) for n in grid.shape[:2]]
    index = torch.cartesian_prod(*ranges, torch.arange(start, stop, dtype=torch.float64))
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def to_indices(grid: Grid, points: Float[Tensor, "N 3"]) -> Float64[Tensor, "N 3"]:
    """RAS mm to voxel indices, with fractions."""
    inverse = torch.linalg.inv(grid.affine)
    return points.double() @ inverse[:3, :3].T + inverse[:3, 3]


def is_inside(index: Float64[Tensor, "N 3"], shape: Sequence[int]) -> Bool[Tensor, "N"]:
    """Which indices lie within the outer voxel faces of a grid."""
    size = torch.tensor(list(shape), dtype=torch.float64)
    return ((index >= -0.5 - EDGE) & (index <= size - 0.5 + EDGE)).all(1)


def same_grid(one: Grid, other: Grid) -> bool:
    """Whether two grids place the same voxels at the same positions, to a thousandth of a millimetre."""
    if one.shape != other.shape:
        return False
    corners = torch.cartesian_prod(*[torch.tensor([0.0, n - 1.0], dtype=torch.float64) for n in one.shape])
    shift = corners @ (one.affine - other.affine)[:3, :3].T + (one.affine - other.affine)[:3, 3]
    return bool(shift.abs().max() < _SAME)

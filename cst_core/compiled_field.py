"""Displacements at points of the world, and the points that they lead to given ones, compiled.

A point is looked up, or searched for to its end, in one go: its eight voxels are read once a step, and nothing is
written in between. With whole arrays each step writes a dozen of them, a hundred bytes a point and more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from numba import njit, prange
from torch import Tensor

from cst_core.field import Grid
from cst_core.world_grid import EDGE

_BLOCK = 2**12  # points a thread works on before it takes others


class Search(NamedTuple):
    """How points are searched for."""

    solved_mm: float
    """A residual that is small enough."""
    within: bool
    """Only places inside the grid count; of a point that is to begin outside the residual is infinite."""
    steps: int = 200
    """At most; six or so where a field is smooth, many where it nearly folds."""
    smallest_step: float = 1e-3
    """Steps are halved where they lead no closer, from 1; at this length a point is left as it is."""


def displacements_at(
    vectors: Float[Tensor, "3 X Y Z"], grid: Grid, points: Float[Tensor, "N 3"], continued: bool
) -> Float64[Tensor, "N 3"]:
    """The field at ``points``, RAS mm, linear between voxels; float64, on the CPU.

    Beyond the outer voxel faces zero, or with ``continued`` that of the nearest border voxel.
    """
    points = points.detach().double().contiguous()
    found = torch.empty_like(points)
    _look_up(*_arrays(vectors, grid), continued, points.numpy(), found.numpy())
    return found


def search(
    vectors: Float[Tensor, "3 X Y Z"],
    grid: Grid,
    continued: bool,
    targets: Float64[Tensor, "N 3"],
    start: Float64[Tensor, "N 3"],
    backwards: Float64[Tensor, "3 3"],
    how: Search,
) -> tuple[Float64[Tensor, "N 3"], Float64[Tensor, "N"]]:
    """Points x with x + u(x) = target, from ``start``, and the distances that are left; RAS mm.

    Fixed-point steps (Chen et al., Med. Phys. 2008) that are taken where they lead closer. ``backwards`` turns what
    is missing in the moving world into a step in the fixed one, ``step = backwards @ missing``; the other arguments as
    in `displacements_at`.
    """
    places, residual = start.double().clone(memory_format=torch.contiguous_format), targets.new_empty(len(targets))
    _search(
        *_arrays(vectors, grid),
        continued,
        targets.contiguous().numpy(),
        backwards.double().contiguous().numpy(),
        *how,
        places.numpy(),
        residual.numpy(),
    )
    return places, residual


def _arrays(vectors: Tensor, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The field, and the upper rows of the matrix from RAS mm to its voxel indices."""
    return vectors.detach().contiguous().numpy(), torch.linalg.inv(grid.affine)[:3].contiguous().numpy()


@njit(parallel=True, cache=True, error_model="numpy")
def _look_up(vectors, to_index, continued, points, found):  # pragma: no cover - compiled
    for block in prange(-(-len(points) // _BLOCK)):
        for n in range(block * _BLOCK, min(len(points), (block + 1) * _BLOCK)):
            i, j, k = _index(to_index, points[n, 0], points[n, 1], points[n, 2])
            found[n, 0], found[n, 1], found[n, 2] = _displacement(vectors, i, j, k, continued)


@njit(parallel=True, cache=True, error_model="numpy")
def _search(
    vectors, to_index, continued, targets, backwards, solved, within, steps, smallest, places, residual
):  # pragma: no cover - compiled
    for block in prange(-(-len(targets) // _BLOCK)):
        for n in range(block * _BLOCK, min(len(targets), (block + 1) * _BLOCK)):
            x, y, z = places[n, 0], places[n, 1], places[n, 2]
            target = (targets[n, 0], targets[n, 1], targets[n, 2])
            mx, my, mz, best = _missing(vectors, to_index, target, x, y, z, continued, within)
            step = 1.0
            for _ in range(steps):
                if not solved < best < np.inf or step < smallest:
                    break
                # 1. a step that would be the last one if the field were `backwards`' affine map
                tx = x + step * (backwards[0, 0] * mx + backwards[0, 1] * my + backwards[0, 2] * mz)
                ty = y + step * (backwards[1, 0] * mx + backwards[1, 1] * my + backwards[1, 2] * mz)
                tz = z + step * (backwards[2, 0] * mx + backwards[2, 1] * my + backwards[2, 2] * mz)
                # 2. taken if it leads closer, else half of it is tried next
                sx, sy, sz, left = _missing(vectors, to_index, target, tx, ty, tz, continued, within)
                if left < best:
                    x, y, z, mx, my, mz, best = tx, ty, tz, sx, sy, sz, left
                else:
                    step *= 0.5
            places[n, 0], places[n, 1], places[n, 2], residual[n] = x, y, z, best


@njit
def _missing(vectors, to_index, target, x, y, z, continued, within):  # pragma: no cover - compiled
    """What lies between where the field leads from a place and the target, and its length."""
    i, j, k = _index(to_index, x, y, z)
    ux, uy, uz = _displacement(vectors, i, j, k, continued)
    mx, my, mz = target[0] - (x + ux), target[1] - (y + uy), target[2] - (z + uz)
    counts = not within or _inside(vectors, i, j, k)
    return mx, my, mz, np.sqrt(mx * mx + my * my + mz * mz) if counts else np.inf


@njit(inline="always")
def _index(to_index, x, y, z):  # pragma: no cover - compiled
    return (
        to_index[0, 0] * x + to_index[0, 1] * y + to_index[0, 2] * z + to_index[0, 3],
        to_index[1, 0] * x + to_index[1, 1] * y + to_index[1, 2] * z + to_index[1, 3],
        to_index[2, 0] * x + to_index[2, 1] * y + to_index[2, 2] * z + to_index[2, 3],
    )


@njit(inline="always")
def _inside(vectors, i, j, k):  # pragma: no cover - compiled
    """`cst_core.world_grid.is_inside` of one point."""
    low = -0.5 - EDGE
    _, nx, ny, nz = vectors.shape
    return low <= i <= nx - 1 - low and low <= j <= ny - 1 - low and low <= k <= nz - 1 - low


@njit(inline="always")
def _displacement(vectors, i, j, k, continued):  # pragma: no cover - compiled
    if not (continued or _inside(vectors, i, j, k)):
        return 0.0, 0.0, 0.0
    i0, i1, ti = _between(i, vectors.shape[1])
    j0, j1, tj = _between(j, vectors.shape[2])
    k0, k1, tk = _between(k, vectors.shape[3])
    return (
        _linear(vectors, 0, i0, i1, ti, j0, j1, tj, k0, k1, tk),
        _linear(vectors, 1, i0, i1, ti, j0, j1, tj, k0, k1, tk),
        _linear(vectors, 2, i0, i1, ti, j0, j1, tj, k0, k1, tk),
    )


@njit(inline="always")
def _linear(vectors, c, i0, i1, ti, j0, j1, tj, k0, k1, tk):  # pragma: no cover - compiled
    si, sj, sk = 1.0 - ti, 1.0 - tj, 1.0 - tk  # products with these are of double precision
    v0 = sj * (sk * vectors[c, i0, j0, k0] + tk * vectors[c, i0, j0, k1]) + tj * (
        sk * vectors[c, i0, j1, k0] + tk * vectors[c, i0, j1, k1]
    )
    v1 = sj * (sk * vectors[c, i1, j0, k0] + tk * vectors[c, i1, j0, k1]) + tj * (
        sk * vectors[c, i1, j1, k0] + tk * vectors[c, i1, j1, k1]
    )
    return si * v0 + ti * v1


@njit(inline="always")
def _between(p, n):  # pragma: no cover - compiled
    """The two voxels around an index, and how far it is from the first; of what is not a number, the first ones."""
    p = min(p, n - 1.0) if p > 0.0 else 0.0
    low = min(int(p), max(n - 2, 0))
    return low, min(low + 1, n - 1), p - low

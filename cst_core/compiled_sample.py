"""Volumes read between their voxels, compiled: what `cst_core.field` samples and warps by in float32 on the CPU.

A place's eight voxels are read once and its value is written once, where `grid_sample` is first given all places as
normalised coordinates in another order. Positions are computed in float64, so that whole voxels are hit exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

_F, _U = np.float32, np.uint64
_BLOCK = 2**12  # places that a thread works on before it takes others


def sampled(
    volume: Float[Tensor, "C X Y Z"], points: Float[Tensor, "3 *sites"], spacing: Sequence[float], zeros: bool
) -> Float[Tensor, "C *sites"]:
    """``volume`` at ``points``, grid mm, both float32 on the CPU; beyond the border ``zeros`` or the nearest voxel."""
    found = volume.new_empty(len(volume), *points.shape[1:])
    places = points.detach().reshape(3, -1)
    _sample(_array(volume), places.numpy(), *_per_mm(spacing), zeros, found.reshape(len(volume), -1).numpy())
    return found


def warped(
    volume: Float[Tensor, "C X Y Z"], vectors: Float[Tensor, "3 X Y Z"], spacing: Sequence[float], zeros: bool
) -> Float[Tensor, "C X Y Z"]:
    """``volume`` at x + u(x) for every voxel x, ``vectors`` in mm; the rest as in `sampled`."""
    found = torch.empty_like(volume, memory_format=torch.contiguous_format)
    _warp(_array(volume), _array(vectors), *_per_mm(spacing), zeros, found.numpy())
    return found


def _array(values: Tensor) -> np.ndarray:
    return values.detach().contiguous().numpy()


def _per_mm(spacing: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = spacing
    return 1.0 / x, 1.0 / y, 1.0 / z


@njit(parallel=True, cache=True)
def _sample(volume, points, per_x, per_y, per_z, zeros, found):  # pragma: no cover - compiled
    shape, values = volume.shape, volume.reshape(len(volume), -1)
    count = points.shape[1]
    for block in prange(-(-count // _BLOCK)):
        for n in range(block * _BLOCK, min(count, (block + 1) * _BLOCK)):
            _read(values, shape, points[0, n] * per_x, points[1, n] * per_y, points[2, n] * per_z, zeros, found, n)


@njit(parallel=True, cache=True)
def _warp(volume, vectors, per_x, per_y, per_z, zeros, found):  # pragma: no cover - compiled
    shape, values, to = volume.shape, volume.reshape(len(volume), -1), found.reshape(len(found), -1)
    nx, ny, nz = shape[1:]
    for row in prange(nx * ny):
        x, y = row // ny, row % ny
        ux, uy, uz = vectors[0, x, y], vectors[1, x, y], vectors[2, x, y]
        for z in range(nz):
            i, j, k = x + ux[z] * per_x, y + uy[z] * per_y, z + uz[z] * per_z
            _read(values, shape, i, j, k, zeros, to, row * nz + z)


@njit(inline="always")
def _read(values, shape, i, j, k, zeros, found, place):  # pragma: no cover - compiled
    """All channels at one place, in voxels; unsigned indices, as what may be negative is looked at twice."""
    _, nx, ny, nz = shape
    i0, i1, a0, a1 = _between(i, nx, zeros)
    j0, j1, b0, b1 = _between(j, ny, zeros)
    k0, k1, c0, c1 = _between(k, nz, zeros)
    start, to_y, to_z = _U((i0 * ny + j0) * nz + k0), _U((j1 - j0) * nz), _U(k1 - k0)
    to_x = _U((i1 - i0) * ny * nz)
    for c in range(len(values)):
        here = values[c]
        n00, n10 = start, start + to_x
        n01, n11 = n00 + to_y, n10 + to_y
        v0 = b0 * (c0 * here[n00] + c1 * here[n00 + to_z]) + b1 * (c0 * here[n01] + c1 * here[n01 + to_z])
        v1 = b0 * (c0 * here[n10] + c1 * here[n10 + to_z]) + b1 * (c0 * here[n11] + c1 * here[n11 + to_z])
        found[c, place] = a0 * v0 + a1 * v1


@njit(inline="always")
def _between(p, n, zeros):  # pragma: no cover - compiled
    """The two voxels around a position along one axis, and their weights; of what is not a number, the first ones."""
    if zeros:
        p = min(max(p, -1.0), n + 0.0)  # a voxel beyond the border counts nothing, nor does what lies farther out
        low = int(np.floor(p))
        after = _F(p - low)
        before = _F(1.0) - after if 0 <= low < n else _F(0.0)
        after = after if 0 <= low + 1 < n else _F(0.0)
        return min(max(low, 0), n - 1), min(max(low + 1, 0), n - 1), before, after
    p = min(p, n - 1.0) if p > 0.0 else 0.0
    low = min(int(p), max(n - 2, 0))
    after = _F(p - low)
    return low, min(low + 1, n - 1), _F(1.0) - after, after

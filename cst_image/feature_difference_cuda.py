"""`FeatureDifference` on CUDA, in Triton: a program takes a few voxels with all their channels.

Channels lie last in memory, so each of a voxel's eight neighbours is one read of adjacent numbers, and no warped copy
of the volume is written: the moving volume is read once from memory (its neighbours come out of the cache), the fixed
one once, and three numbers a voxel are written.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 1024  # numbers of one neighbour that a program holds: 8 a thread


@triton.jit
def _axis(p, n):
    """As `cst_image.feature_difference`: the voxel before a position, the step to the next, how far, whether free."""
    last = n - 1
    free = (p > 0) & (p < last)
    p = tl.minimum(tl.maximum(p, 0.0), last * 1.0)
    low = tl.maximum(tl.minimum(p.to(tl.int32), last - 1), 0)
    return low, tl.minimum(low + 1, last) - low, p - low.to(tl.float32), free


@triton.jit
def _kernel(
    fixed, moving, weight, u, share, gradient, partial, nx, ny, nz,
    CHANNELS: tl.constexpr, PADDED: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    count = nx * ny * nz
    at = tl.program_id(0) * VOXELS + tl.arange(0, VOXELS)
    inside = at < count
    x, y, z = at // (ny * nz), (at // nz) % ny, at % nz
    x0, dx, tx, free_x = _axis(x.to(tl.float32) + tl.load(u + at, mask=inside, other=0.0), nx)
    y0, dy, ty, free_y = _axis(y.to(tl.float32) + tl.load(u + count + at, mask=inside, other=0.0), ny)
    z0, dz, tz, free_z = _axis(z.to(tl.float32) + tl.load(u + 2 * count + at, mask=inside, other=0.0), nz)
    # where the channels of the first of the eight neighbours begin, and how far apart those along an axis are
    channel = tl.arange(0, PADDED)
    seen = inside[:, None] & (channel < CHANNELS)[None, :]
    start = ((x0 * ny + y0) * nz + z0).to(tl.int64) * CHANNELS
    to_x, to_y, to_z = (dx * ny * nz * CHANNELS)[:, None], (dy * nz * CHANNELS)[:, None], (dz * CHANNELS)[:, None]
    first = moving + start[:, None] + channel[None, :]
    tx, ty, tz = tx[:, None], ty[:, None], tz[:, None]
    # along z, then y, then x; differences along the way are the derivatives
    m = tl.load(first, mask=seen, other=0.0)
    d00 = tl.load(first + to_z, mask=seen, other=0.0) - m
    v00 = m + tz * d00
    m = tl.load(first + to_y, mask=seen, other=0.0)
    d01 = tl.load(first + to_y + to_z, mask=seen, other=0.0) - m
    e0 = m + tz * d01 - v00
    v0 = v00 + ty * e0
    dz0 = d00 + ty * (d01 - d00)
    m = tl.load(first + to_x, mask=seen, other=0.0)
    d10 = tl.load(first + to_x + to_z, mask=seen, other=0.0) - m
    v10 = m + tz * d10
    m = tl.load(first + to_x + to_y, mask=seen, other=0.0)
    d11 = tl.load(first + to_x + to_y + to_z, mask=seen, other=0.0) - m
    e1 = m + tz * d11 - v10
    slope_x = v10 + ty * e1 - v0
    slope_y = e0 + tx * (e1 - e0)
    slope_z = dz0 + tx * (d10 + ty * (d11 - d10) - dz0)
    here = tl.load(fixed + at.to(tl.int64)[:, None] * CHANNELS + channel[None, :], mask=seen, other=0.0)
    rest = v0 + tx * slope_x - here
    w = tl.load(share).to(tl.float32) * tl.load(weight + at, mask=inside, other=0.0)
    tl.store(partial + tl.program_id(0), tl.sum(w * tl.sum(rest * rest, axis=1), axis=0))
    tl.store(gradient + at, tl.where(free_x, 2.0 * w * tl.sum(rest * slope_x, axis=1), 0.0), mask=inside)
    tl.store(gradient + count + at, tl.where(free_y, 2.0 * w * tl.sum(rest * slope_y, axis=1), 0.0), mask=inside)
    tl.store(gradient + 2 * count + at, tl.where(free_z, 2.0 * w * tl.sum(rest * slope_z, axis=1), 0.0), mask=inside)


def feature_difference_cuda(
    fixed: Tensor, moving: Tensor, weight: Tensor, u: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """``share`` times the weighted sum of squared differences, ``()``, and its gradient in ``u``, ``(3, X, Y, Z)``.

    ``fixed`` and ``moving`` ``(X, Y, Z, C)``, ``weight`` ``(X, Y, Z)``, ``u`` ``(3, X, Y, Z)`` in voxels: float32 and
    contiguous; ``share`` ``()`` float64; all on CUDA.
    """
    nx, ny, nz, channels = fixed.shape
    padded = triton.next_power_of_2(channels)
    voxels = max(1, _TILE // padded)
    programs = triton.cdiv(nx * ny * nz, voxels)
    gradient, partial = torch.empty_like(u), u.new_empty(programs)
    _kernel[(programs,)](
        fixed, moving, weight, u, share, gradient, partial, nx, ny, nz,
        CHANNELS=channels, PADDED=padded, VOXELS=voxels,
    )  # fmt: skip
    return partial.sum(), gradient

"""How much two feature volumes differ under a displacement, and the gradient: the costly step of instance optimisation.

For every voxel x: w(x) sum_c (moving_c(x + u(x)) - fixed_c(x))^2. With textbook operations that is a warped copy of
all channels and, for the gradient, another one; here a voxel's eight neighbours are read once, channels last, and value
and gradient come out of the same registers. A read of 8 C values a voxel, of which neighbouring voxels share most:
a few slabs are walked together, row by row, so that what they share is still in the cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from cst_core.field import warp

_F, _U = np.float32, np.uint64
_SLABS = 4


class Difference(NamedTuple):
    """Value and gradient of `FeatureDifference`."""

    value: Float[Tensor, ""]
    gradient: Float[Tensor, "3 X Y Z"]


class FeatureDifference:
    """The weighted mean squared difference of two feature volumes, as a function of the displacement.

    ``fixed`` and ``moving`` ``(C, X, Y, Z)``; ``weight`` ``(X, Y, Z)``, not negative: where and how much the fixed one
    counts. The mean is over channels and weights. In float32 compiled, for the CPU or for CUDA; elsewhere in torch.
    """

    def __init__(
        self, fixed: Float[Tensor, "C X Y Z"], moving: Float[Tensor, "C X Y Z"], weight: Float[Tensor, "X Y Z"]
    ) -> None:
        self._kernel = fixed.device.type if fixed.dtype == torch.float32 else "none"
        # of the weights; it stays on the device, so that nobody waits for it
        self._share = 1.0 / (len(fixed) * weight.double().sum().clamp(min=1e-12))
        self._weight = weight.to(fixed.dtype).contiguous()
        if self._kernel in ("cpu", "cuda"):
            fixed, moving = (rearrange(f, "c x y z -> x y z c").contiguous() for f in (fixed, moving))
        self._fixed, self._moving = fixed, moving

    def __call__(self, u: Float[Tensor, "3 X Y Z"]) -> Difference:
        """At the displacement ``u``, in voxels of these volumes; beyond the border the moving one is continued."""
        if self._kernel == "cpu":
            return self._compiled(u)
        if self._kernel == "cuda":
            from cst_image.feature_difference_cuda import feature_difference_cuda

            return Difference(
                *feature_difference_cuda(self._fixed, self._moving, self._weight, u.contiguous(), self._share)
            )
        return self._textbook(u)

    def _compiled(self, u: Tensor) -> Difference:
        gradient = torch.empty_like(u, memory_format=torch.contiguous_format)
        partial = np.zeros(u.shape[1], np.float64)
        fixed, moving, weight, at = (
            t.detach().numpy() for t in (self._fixed, self._moving, self._weight, u.contiguous())
        )
        share = self._share.item()
        _difference(fixed, moving, weight, at, _F(2.0 * share), gradient.numpy(), partial)
        return Difference(torch.tensor(partial.sum() * share, dtype=u.dtype), gradient)

    def _textbook(self, u: Tensor) -> Difference:
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            warped = warp(self._moving, u, (1.0, 1.0, 1.0))
            value = ((warped - self._fixed).square() * self._weight).sum() * self._share.to(u.dtype)
            (gradient,) = torch.autograd.grad(value, u)
        return Difference(value.detach(), gradient)


@njit(parallel=True, fastmath=True, cache=True)
def _difference(fixed, moving, weight, u, scale, gradient, partial):  # pragma: no cover - compiled
    nx, ny = fixed.shape[:2]
    for block in prange(-(-nx // _SLABS)):
        for y in range(ny):
            for x in range(block * _SLABS, min(nx, (block + 1) * _SLABS)):
                partial[x] += _row(fixed[x, y], moving, weight[x, y], u[:, x, y], x, y, scale, gradient[:, x, y])


@njit(inline="always", fastmath=True)
def _row(fixed, moving, weight, u, x, y, scale, gradient):  # pragma: no cover - compiled
    """All voxels of one row along z: writes the gradient, returns the weighted sum of squares."""
    nx, ny, nz, channels = moving.shape
    here, there = fixed.reshape(-1), moving.reshape(-1)
    total = 0.0
    for z in range(nz):
        w = weight[z]
        if w == _F(0.0):  # padding, say: nothing there is read
            gradient[0, z] = gradient[1, z] = gradient[2, z] = _F(0.0)
            continue
        x0, x1, tx, free_x = _between(_F(x) + u[0, z], nx)
        y0, y1, ty, free_y = _between(_F(y) + u[1, z], ny)
        z0, z1, tz, free_z = _between(_F(z) + u[2, z], nz)
        # where the first of the eight neighbours' channels begin, and how far apart those along an axis are
        start = _U(((x0 * ny + y0) * nz + z0) * channels)
        to_x, to_y, to_z = _U((x1 - x0) * ny * nz * channels), _U((y1 - y0) * nz * channels), _U((z1 - z0) * channels)
        square, gx, gy, gz = _F(0.0), _F(0.0), _F(0.0), _F(0.0)
        for channel in range(channels):
            c = _U(channel)
            i00 = start + c
            i01, i10 = i00 + to_y, i00 + to_x
            i11 = i10 + to_y
            m00, m01, m10, m11 = there[i00], there[i01], there[i10], there[i11]
            # along z, then y, then x; differences along the way are the derivatives
            d00, d01 = there[i00 + to_z] - m00, there[i01 + to_z] - m01
            d10, d11 = there[i10 + to_z] - m10, there[i11 + to_z] - m11
            v00, v01 = m00 + tz * d00, m01 + tz * d01
            v10, v11 = m10 + tz * d10, m11 + tz * d11
            e0, e1 = v01 - v00, v11 - v10
            v0, v1 = v00 + ty * e0, v10 + ty * e1
            dx = v1 - v0
            dy = e0 + tx * (e1 - e0)
            dz0, dz1 = d00 + ty * (d01 - d00), d10 + ty * (d11 - d10)
            dz = dz0 + tx * (dz1 - dz0)
            rest = v0 + tx * dx - here[_U(z * channels) + c]
            square += rest * rest
            gx += rest * dx
            gy += rest * dy
            gz += rest * dz
        total += w * square
        gradient[0, z] = scale * w * free_x * gx
        gradient[1, z] = scale * w * free_y * gy
        gradient[2, z] = scale * w * free_z * gz
    return total


@njit(inline="always")
def _between(p, n):  # pragma: no cover - compiled
    """The two voxels around a position, how far it is from the first, and whether it is free to move."""
    last = n - 1
    free = _F(1.0) if 0 < p < last else _F(0.0)
    p = min(max(p, _F(0.0)), _F(last))
    low = max(min(int(p), last - 1), 0)  # also of what is not a number
    return low, min(low + 1, last), p - _F(low), free

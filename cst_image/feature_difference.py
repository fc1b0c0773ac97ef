"""How much two feature volumes differ under a displacement, and the gradient: the costly step of instance optimisation.

For every voxel x: w(x) sum_c (moving_c(x + u(x)) - fixed_c(x))^2. With textbook operations that is a warped copy of
all channels and, for the gradient, another one; here a voxel's eight neighbours are read once, channels last, and value
and gradient come out of the same registers. A read of 8 C values a voxel, of which neighbouring voxels share most.
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

_F = np.float32


class Difference(NamedTuple):
    """Value and gradient of `FeatureDifference`."""

    value: Float[Tensor, ""]
    gradient: Float[Tensor, "3 X Y Z"]


class FeatureDifference:
    """The weighted mean squared difference of two feature volumes, as a function of the displacement.

    ``fixed`` and ``moving`` ``(C, X, Y, Z)``; ``weight`` ``(X, Y, Z)``, not negative: where and how much the fixed one
    counts. The mean is over channels and weights. In float32 on the CPU compiled, elsewhere in torch.
    """

    def __init__(
        self, fixed: Float[Tensor, "C X Y Z"], moving: Float[Tensor, "C X Y Z"], weight: Float[Tensor, "X Y Z"]
    ) -> None:
        self._compiled = fixed.dtype == torch.float32 and fixed.device.type == "cpu"
        self._scale = 1.0 / (len(fixed) * weight.double().sum().clamp(min=1e-12).item())
        if self._compiled:
            self._fixed, self._moving = (rearrange(f, "c x y z -> x y z c").contiguous() for f in (fixed, moving))
        else:
            self._fixed, self._moving = fixed, moving
        self._weight = weight.to(fixed.dtype).contiguous()

    def __call__(self, u: Float[Tensor, "3 X Y Z"]) -> Difference:
        """At the displacement ``u``, in voxels of these volumes; beyond the border the moving one is continued."""
        return self._in_one_pass(u) if self._compiled else self._textbook(u)

    def _in_one_pass(self, u: Tensor) -> Difference:
        gradient = torch.empty_like(u, memory_format=torch.contiguous_format)
        partial = np.zeros(u.shape[1], np.float64)
        fixed, moving, weight, at = (
            t.detach().numpy() for t in (self._fixed, self._moving, self._weight, u.contiguous())
        )
        _difference(fixed, moving, weight, at, _F(2.0 * self._scale), gradient.numpy(), partial)
        return Difference(torch.tensor(partial.sum() * self._scale, dtype=u.dtype), gradient)

    def _textbook(self, u: Tensor) -> Difference:
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            warped = warp(self._moving, u, (1.0, 1.0, 1.0))
            value = ((warped - self._fixed).square() * self._weight).sum() * self._scale
            (gradient,) = torch.autograd.grad(value, u)
        return Difference(value.detach(), gradient)


@njit(parallel=True, fastmath=True, cache=True)
def _difference(fixed, moving, weight, u, scale, gradient, partial):  # pragma: no cover - compiled
    nx, ny, nz, channels = fixed.shape
    for x in prange(nx):
        total = 0.0
        for y in range(ny):
            for z in range(nz):
                px, py, pz = _F(x) + u[0, x, y, z], _F(y) + u[1, x, y, z], _F(z) + u[2, x, y, z]
                w = weight[x, y, z]
                x0, x1, tx, free_x = _between(px, nx)
                y0, y1, ty, free_y = _between(py, ny)
                z0, z1, tz, free_z = _between(pz, nz)
                m000, m001, m010, m011 = moving[x0, y0, z0], moving[x0, y0, z1], moving[x0, y1, z0], moving[x0, y1, z1]
                m100, m101, m110, m111 = moving[x1, y0, z0], moving[x1, y0, z1], moving[x1, y1, z0], moving[x1, y1, z1]
                here = fixed[x, y, z]
                square, gx, gy, gz = _F(0.0), _F(0.0), _F(0.0), _F(0.0)
                for c in range(channels):
                    # along z, then y, then x; differences along the way are the derivatives
                    d00, d01 = m001[c] - m000[c], m011[c] - m010[c]
                    d10, d11 = m101[c] - m100[c], m111[c] - m110[c]
                    v00, v01 = m000[c] + tz * d00, m010[c] + tz * d01
                    v10, v11 = m100[c] + tz * d10, m110[c] + tz * d11
                    e0, e1 = v01 - v00, v11 - v10
                    v0, v1 = v00 + ty * e0, v10 + ty * e1
                    dx = v1 - v0
                    dy = e0 + tx * (e1 - e0)
                    dz0, dz1 = d00 + ty * (d01 - d00), d10 + ty * (d11 - d10)
                    dz = dz0 + tx * (dz1 - dz0)
                    rest = v0 + tx * dx - here[c]
                    square += rest * rest
                    gx += rest * dx
                    gy += rest * dy
                    gz += rest * dz
                total += w * square
                gradient[0, x, y, z] = scale * w * free_x * gx
                gradient[1, x, y, z] = scale * w * free_y * gy
                gradient[2, x, y, z] = scale * w * free_z * gz
        partial[x] = total


@njit(inline="always")
def _between(p, n):  # pragma: no cover - compiled
    """The two voxels around a position, how far it is from the first, and whether it is free to move."""
    last = n - 1
    free = _F(1.0) if 0 < p < last else _F(0.0)
    p = min(max(p, _F(0.0)), _F(last))
    low = max(min(int(p), last - 1), 0)  # also of what is not a number
    return low, min(low + 1, last), p - _F(low), free

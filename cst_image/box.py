"""Repeated 3x3x3 means, compiled: a round is two additions and a multiplication a voxel and axis.

Rounds along different axes commute, so all of z and y are done in one slab and all of x in one sheet, each of which
stays in the cache: the volume itself is read and written twice, however many rounds there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

_F = np.float32


def compiled_box_means(field: Tensor, times: int) -> Tensor:
    """``times`` means over the 3x3x3 voxels that exist, of ``(..., X, Y, Z)``, float32 on the CPU; differentiable."""
    return _BoxMeans.apply(field, times)  # pyright: ignore[reportReturnType]


def compiled_box_means_adjoint(gradient: Tensor, times: int) -> Tensor:
    """Transposed: with n voxels in a mean and A the sum over them, (A / n)^T g = A (g / n) = n (A / n) (g / n)."""
    return _means(gradient, times, transposed=True)


class _BoxMeans(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, field: Tensor, times: int) -> Tensor:
        ctx.times = times
        return _means(field, times)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return compiled_box_means_adjoint(gradients[0], ctx.times), None


def _means(field: Tensor, times: int, transposed: bool = False) -> Tensor:
    result = torch.empty_like(field, memory_format=torch.contiguous_format)
    source, target = (t.detach().reshape(-1, *field.shape[-3:]).numpy() for t in (field.contiguous(), result))
    counts = [np.array([1.0 + (i > 0) + (i < n - 1) for i in range(n)], _F) for n in field.shape[-3:]]
    _rounds(source, target, times, transposed, *counts)
    return result


@njit(parallel=True, cache=True, error_model="numpy")
def _rounds(field, result, times, transposed, count_x, count_y, count_z):  # pragma: no cover - compiled
    """``count_x`` and so on: voxels in a mean along each axis, a product of three in one of a volume."""
    channels, nx, ny, nz = field.shape
    for slab in prange(channels * nx):
        c, x = slab // nx, slab % nx
        here, there = field[c, x].copy(), np.empty((ny, nz), np.float32)
        if transposed:
            for y in range(ny):
                for z in range(nz):
                    here[y, z] /= count_x[x] * count_y[y] * count_z[z]
        for _ in range(times):
            for y in range(ny):
                _along_row(here[y], there[y])
            _along_first(there, here)
        result[c, x] = here
    for sheet in prange(channels * ny):
        c, y = sheet // ny, sheet % ny
        here, there = result[c, :, y].copy(), np.empty((nx, nz), np.float32)
        for _ in range(times):
            _along_first(here, there)
            here, there = there, here
        if transposed:
            for x in range(nx):
                for z in range(nz):
                    here[x, z] *= count_x[x] * count_y[y] * count_z[z]
        result[c, :, y] = here


@njit(inline="always")
def _along_row(source, target):  # pragma: no cover - compiled
    last = len(source) - 1
    for i in range(1, last):
        target[i] = (source[i - 1] + source[i] + source[i + 1]) * _F(1.0 / 3.0)
    if last == 0:
        target[0] = source[0]
    else:
        target[0] = _F(0.5) * (source[0] + source[1])
        target[last] = _F(0.5) * (source[last - 1] + source[last])


@njit(inline="always")
def _along_first(source, target):  # pragma: no cover - compiled
    last, n = len(source) - 1, source.shape[1]
    for i in range(1, last):
        before, here, after, mean = source[i - 1], source[i], source[i + 1], target[i]
        for j in range(n):
            mean[j] = (before[j] + here[j] + after[j]) * _F(1.0 / 3.0)
    if last == 0:
        target[0] = source[0]
    else:
        target[0] = _F(0.5) * (source[0] + source[1])
        target[last] = _F(0.5) * (source[last - 1] + source[last])

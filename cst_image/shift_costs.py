"""The matching cost of every candidate shift before smoothing, compiled: inference on the CPU.

With both volumes padded, a shift is one offset for a whole slab of sites, and the sum over channels one long loop.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor
from torch.nn import functional

_F = np.float32


def compiled_shift_costs(fixed: Tensor, moving: Tensor, reach: int, moving_mask: Tensor | None) -> Tensor:
    """``(K, x, y, z)``: sum over channels of |fixed(x) - moving(x + d)|, float32; not differentiable.

    Where x + d lies outside ``moving`` or its mask: the mean of the site's other candidates, 0 if there are none.
    """
    cost = torch.empty((2 * reach + 1) ** 3, *fixed.shape[1:])
    seen = torch.ones(fixed.shape[1:]) if moving_mask is None else moving_mask.to(torch.float32)
    # rows of both must be as long as padded ones, so that a shift is one offset
    rows = functional.pad(fixed.detach(), (0, 2 * reach))
    padded = functional.pad(moving.detach(), (reach,) * 6)
    slabs, shifted, shown = (t.flatten(-2).numpy() for t in (rows, padded, functional.pad(seen, (reach,) * 6)))
    _shift_costs(slabs, shifted, shown, reach, cost.numpy())
    return cost


@njit(parallel=True, fastmath={"contract", "nsz"}, cache=True, error_model="numpy")
def _shift_costs(fixed, moving, seen, reach, cost):  # pragma: no cover - compiled
    channels = len(fixed)
    candidates, nx, ny, nz = cost.shape
    width, row = 2 * reach + 1, nz + 2 * reach
    sites = ny * row - 2 * reach  # to the last of a slab; those between the rows are computed and left
    for x in prange(nx):
        sums = np.zeros((candidates, ny * row), np.float32)
        total, count = np.zeros(sites, np.float32), np.zeros(sites, np.float32)
        for k in range(candidates):
            x2, offset = x + k // (width * width), (k // width % width) * row + k % width
            near, shown = sums[k], seen[x2, offset:]
            for c in range(channels):
                here, there = fixed[c, x], moving[c, x2, offset:]
                for i in range(sites):
                    near[i] += abs(here[i] - there[i])
            for i in range(sites):
                total[i] += shown[i] * near[i]
                count[i] += shown[i]
        for i in range(sites):
            total[i] /= max(count[i], _F(1.0))
        for k in range(candidates):
            shown = seen[x + k // (width * width), (k // width % width) * row + k % width :]
            near = sums[k]
            for y in range(ny):
                for z in range(nz):
                    i = y * row + z
                    cost[k, x, y, z] = near[i] if shown[i] > _F(0.0) else total[i]

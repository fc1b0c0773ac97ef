"""The soft-argmin of h over the candidates of every site, compiled: inference on the CPU.

A tile of sites stays in the cache from its logits to its mean candidate. With whole arrays each of the four passes
writes and reads those of all sites four or five times.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

_F = np.float32
_TILE = 128  # sites: 343 candidates of them are 176 kB
_LOWEST = _F(-87.0)  # exp of less is no normal number
_TO_BASE_2 = _F(np.log2(np.e))
_LN2 = _F(355.0 / 512.0)  # nine bits, so that a multiple is exact; the rest of ln 2 comes after it
_LN2_REST = _F(np.log(2.0) - 355.0 / 512.0)


def compiled_soft_argmin(
    logits: Float[Tensor, "K N"], candidates: Float[Tensor, "K 3"], pull: float, u: Float[Tensor, "3 N"]
) -> Float[Tensor, "3 N"]:
    """`cst_image.coupled_convex.soft_argmin` in float32; not differentiable."""
    found = torch.empty(u.shape)
    drawn, steps, near = (t.detach().contiguous().numpy() for t in (logits, candidates.T, u))
    _soft_argmin(drawn, steps, near, found.numpy(), _F(pull))
    return found


@njit(parallel=True, fastmath={"contract", "nsz"}, cache=True, error_model="numpy")
def _soft_argmin(logits, candidates, u, found, pull):  # pragma: no cover - compiled
    count, sites = logits.shape
    for tile in prange((sites + _TILE - 1) // _TILE):
        begin = tile * _TILE
        n = min(_TILE, sites - begin)
        ux, uy, uz = u[0, begin : begin + n], u[1, begin : begin + n], u[2, begin : begin + n]
        drawn, highest = np.empty((count, n), np.float32), np.full(n, -np.inf, np.float32)
        for k in range(count):
            # |u|^2 is the same for all candidates of a site
            dx, dy, dz = candidates[0, k], candidates[1, k], candidates[2, k]
            length = dx * dx + dy * dy + dz * dz
            here, near = logits[k, begin : begin + n], drawn[k]
            for i in range(n):
                near[i] = here[i] + pull * (_F(2.0) * (dx * ux[i] + dy * uy[i] + dz * uz[i]) - length)
                highest[i] = max(highest[i], near[i])
        total = np.zeros(n, np.float32)
        x, y, z = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.float32)
        powers = np.empty(n, np.int32)
        two_to_the = powers.view(np.float32)
        for k in range(count):
            dx, dy, dz = candidates[0, k], candidates[1, k], candidates[2, k]
            near = drawn[k]
            for i in range(n):
                # exp(a) = 2^m exp(r), |r| <= ln(2) / 2, and exp(r) by its series to r^7 / 5040
                a = max(near[i] - highest[i], _LOWEST)
                m = np.floor(a * _TO_BASE_2 + _F(0.5))
                r = (a - m * _LN2) - m * _LN2_REST
                p = _F(1.0) + r * _F(1.0 / 7.0)
                p = _F(1.0) + r * _F(1.0 / 6.0) * p
                p = _F(1.0) + r * _F(1.0 / 5.0) * p
                p = _F(1.0) + r * _F(1.0 / 4.0) * p
                p = _F(1.0) + r * _F(1.0 / 3.0) * p
                p = _F(1.0) + r * _F(1.0 / 2.0) * p
                near[i] = _F(1.0) + r * p
                powers[i] = (np.int32(m) + np.int32(127)) << np.int32(23)  # the bits of 2^m
            for i in range(n):
                e = near[i] * two_to_the[i]
                total[i] += e
                x[i] += e * dx
                y[i] += e * dy
                z[i] += e * dz
        for i in range(n):
            found[0, begin + i] = x[i] / total[i]
            found[1, begin + i] = y[i] / total[i]
            found[2, begin + i] = z[i] / total[i]

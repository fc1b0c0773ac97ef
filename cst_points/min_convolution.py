"""The min-convolution of a message round: the one expensive step of belief propagation, on the CPU or on CUDA.

For an edge from keypoint i to keypoint j, with candidates a of i and b of j,

    message(b) = min_a [ h(a) + |d_i(a) - d_j(b)|^2 ]

over every edge: E x K x K terms. Expanded, |d_i(a)|^2 - 2 d_i(a).d_j(b) + |d_j(b)|^2, a term costs three fused
multiply-adds and a minimum; nothing of size E x K x K is ever stored. Candidates are centred per edge first, so that
the expansion cancels no more digits than the difference itself would.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

_MINUS_TWO = np.float32(-2.0)
# Contraction to fused multiply-adds and free choice of the minimum's operand order let LLVM vectorise; nothing else
# is relaxed: sums are not reassociated.
_FLAGS = {"contract", "nsz", "nnan"}


def min_convolution(
    h: Float[Tensor, "E K"],
    candidates: Float[Tensor, "N 3 K"],
    source: Int[Tensor, " E"],
    target: Int[Tensor, " E"],
) -> Float[Tensor, "E K"]:
    """Lower envelope of ``h`` plus squared distance, for every edge; differentiable in ``h``.

    Args:
        h: What the sender would send, a value a candidate of the edge's source.
        candidates: Candidate displacements of every keypoint, scaled by the square root of the regulariser's weight.
            Not differentiated: they are data.
        source: The sending keypoint of each edge, in [0, N).
        target: The receiving keypoint of each edge, in [0, N).

    Returns:
        ``(E, K)``, a value a candidate of the edge's target. On ties the gradient goes to the first minimiser.

    Source: Sec. 3, and the messages of Hansen and Heinrich, "Deep learning based geometric registration for medical
    images", IPMI 2021.
    """
    return _MinConvolution.apply(h, candidates, source, target)  # pyright: ignore[reportReturnType]


def min_convolution_reference(h: Tensor, candidates: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """The same in plain torch, any dtype, through an ``(E, K, K)`` tensor: for tests and benchmarks."""
    difference = candidates[source].unsqueeze(3) - candidates[target].unsqueeze(2)
    return (h.unsqueeze(2) + difference.square().sum(1)).min(1).values


class _MinConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, candidates: Tensor, source: Tensor, target: Tensor) -> Tensor:
        h, candidates, source, target = (each.detach().contiguous() for each in (h, candidates, source, target))
        if h.device.type == "cpu" and h.dtype == torch.float32:
            message = torch.empty_like(h)
            _envelope(h.numpy(), candidates.numpy(), source.numpy(), target.numpy(), message.numpy())
            ctx.save_for_backward(h, candidates, source, target)
            return message
        if h.device.type == "cuda" and h.dtype == torch.float32:
            from cst_points.min_convolution_cuda import min_convolution_cuda

            message, argmin = min_convolution_cuda(h, candidates, source, target)
        else:
            message, argmin = _blocked(h, candidates, source, target)
        ctx.save_for_backward(argmin)
        return message

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        # every message value has one minimiser: its gradient goes there and nowhere else
        gradient = gradients[0].contiguous()
        if len(ctx.saved_tensors) == 1:
            (argmin,) = ctx.saved_tensors
            return torch.zeros_like(gradient).scatter_add_(1, argmin.long(), gradient), None, None, None
        spread = torch.zeros_like(gradient)
        h, candidates, source, target = (saved.numpy() for saved in ctx.saved_tensors)
        _scatter(gradient.numpy(), h, candidates, source, target, spread.numpy())
        return spread, None, None, None


def _blocked(h: Tensor, candidates: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Plain torch in blocks of edges: other dtypes (gradient checks run in float64) and other devices."""
    block = max(1, 2**22 // h.shape[1] ** 2)  # the differences of a block: 100 MB in float64
    values, places = [], []
    for first in range(0, len(h), block):
        part = slice(first, first + block)
        difference = candidates[source[part]].unsqueeze(3) - candidates[target[part]].unsqueeze(2)
        value, place = (h[part].detach().unsqueeze(2) + difference.square().sum(1)).min(1)
        values.append(value)
        places.append(place.to(torch.int16))
    if not values:
        return h.detach().clone(), torch.empty(h.shape, dtype=torch.int16)
    return torch.cat(values), torch.cat(places)


@njit(parallel=True, fastmath=_FLAGS, cache=True)
def _envelope(h, candidates, source, target, message):  # pragma: no cover - compiled
    """Four candidates a time against all of the target's: loads and stores are shared, the minimum stays in L1."""
    edges, n = h.shape
    for e in prange(edges):
        i, j = source[e], target[e]
        best = np.full(n, math.inf, np.float32)
        centred = np.empty((6, n), np.float32)
        for axis in range(3):
            middle = candidates[j, axis, 0]
            for b in range(n):
                centred[axis, b] = candidates[i, axis, b] - middle
                centred[3 + axis, b] = candidates[j, axis, b] - middle
        xi, yi, zi, xj, yj, zj = centred[0], centred[1], centred[2], centred[3], centred[4], centred[5]
        whole = n - n % 4
        for a in range(0, whole, 4):
            h0 = h[e, a] + xi[a] * xi[a] + yi[a] * yi[a] + zi[a] * zi[a]
            h1 = h[e, a + 1] + xi[a + 1] * xi[a + 1] + yi[a + 1] * yi[a + 1] + zi[a + 1] * zi[a + 1]
            h2 = h[e, a + 2] + xi[a + 2] * xi[a + 2] + yi[a + 2] * yi[a + 2] + zi[a + 2] * zi[a + 2]
            h3 = h[e, a + 3] + xi[a + 3] * xi[a + 3] + yi[a + 3] * yi[a + 3] + zi[a + 3] * zi[a + 3]
            x0, y0, z0 = _MINUS_TWO * xi[a], _MINUS_TWO * yi[a], _MINUS_TWO * zi[a]
            x1, y1, z1 = _MINUS_TWO * xi[a + 1], _MINUS_TWO * yi[a + 1], _MINUS_TWO * zi[a + 1]
            x2, y2, z2 = _MINUS_TWO * xi[a + 2], _MINUS_TWO * yi[a + 2], _MINUS_TWO * zi[a + 2]
            x3, y3, z3 = _MINUS_TWO * xi[a + 3], _MINUS_TWO * yi[a + 3], _MINUS_TWO * zi[a + 3]
            for b in range(n):
                x, y, z = xj[b], yj[b], zj[b]
                v0 = h0 + x0 * x + y0 * y + z0 * z
                v1 = h1 + x1 * x + y1 * y + z1 * z
                v2 = h2 + x2 * x + y2 * y + z2 * z
                v3 = h3 + x3 * x + y3 * y + z3 * z
                best[b] = min(min(best[b], v0), min(v1, min(v2, v3)))
        for a in range(whole, n):
            h0 = h[e, a] + xi[a] * xi[a] + yi[a] * yi[a] + zi[a] * zi[a]
            x0, y0, z0 = _MINUS_TWO * xi[a], _MINUS_TWO * yi[a], _MINUS_TWO * zi[a]
            for b in range(n):
                best[b] = min(best[b], h0 + x0 * xj[b] + y0 * yj[b] + z0 * zj[b])
        for b in range(n):
            message[e, b] = best[b] + xj[b] * xj[b] + yj[b] * yj[b] + zj[b] * zj[b]


@njit(parallel=True, fastmath=_FLAGS, cache=True)
def _scatter(gradient, h, candidates, source, target, spread):  # pragma: no cover - compiled
    """Find the minimisers again, but only where a gradient arrives; the lowest index wins a tie.

    The read-out is so sharp that most gradients are exactly zero: this costs less than keeping track of every minimiser
    in the forward pass, which would double its time.
    """
    edges, n = h.shape
    for e in prange(edges):
        i, j = source[e], target[e]
        values = np.empty(n, np.float32)
        for b in range(n):
            if gradient[e, b] == 0.0:
                continue
            lowest = np.float32(math.inf)
            for a in range(n):
                x = candidates[i, 0, a] - candidates[j, 0, b]
                y = candidates[i, 1, a] - candidates[j, 1, b]
                z = candidates[i, 2, a] - candidates[j, 2, b]
                values[a] = h[e, a] + x * x + y * y + z * z
                lowest = min(lowest, values[a])
            place = 0
            while values[place] > lowest:
                place += 1
            spread[e, place] += gradient[e, b]

"""The min-convolution on CUDA, in Triton: one program a block of an edge's target candidates."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _kernel(
    h, candidates, source, target, message, argmin, n,
    BLOCK_B: tl.constexpr, BLOCK_A: tl.constexpr,
):  # fmt: skip
    e = tl.program_id(0)
    b = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)
    ci = candidates + tl.load(source + e) * 3 * n
    cj = candidates + tl.load(target + e) * 3 * n
    xb = tl.load(cj + b, mask=b < n, other=0.0)
    yb = tl.load(cj + n + b, mask=b < n, other=0.0)
    zb = tl.load(cj + 2 * n + b, mask=b < n, other=0.0)
    best = tl.full((BLOCK_B,), float("inf"), tl.float32)
    place = tl.zeros((BLOCK_B,), tl.int32)
    for first in range(0, n, BLOCK_A):
        a = first + tl.arange(0, BLOCK_A)
        ha = tl.load(h + e.to(tl.int64) * n + a, mask=a < n, other=float("inf"))
        dx = tl.load(ci + a, mask=a < n, other=0.0)[:, None] - xb[None, :]
        dy = tl.load(ci + n + a, mask=a < n, other=0.0)[:, None] - yb[None, :]
        dz = tl.load(ci + 2 * n + a, mask=a < n, other=0.0)[:, None] - zb[None, :]
        value = ha[:, None] + dx * dx + dy * dy + dz * dz
        lowest, where = tl.min(value, axis=0, return_indices=True, return_indices_tie_break_left=True)
        # strictly lower: the first minimiser wins a tie, as on the CPU
        place = tl.where(lowest < best, first + where, place)
        best = tl.minimum(best, lowest)
    out = e.to(tl.int64) * n + b
    tl.store(message + out, best, mask=b < n)
    tl.store(argmin + out, place.to(tl.int16), mask=b < n)


def min_convolution_cuda(h: Tensor, candidates: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Message ``(E, K)`` float32 and argmin ``(E, K)`` int16; arguments as `min_convolution`, contiguous, on CUDA."""
    edges, n = h.shape
    message = torch.empty_like(h)
    argmin = torch.empty(h.shape, dtype=torch.int16, device=h.device)
    if edges:
        block_b, block_a = 64, 32
        grid = (edges, triton.cdiv(n, block_b))
        _kernel[grid](h, candidates, source, target, message, argmin, n, BLOCK_B=block_b, BLOCK_A=block_a)
    return message, argmin

"""What the machine does at most on the threads that torch and numba have: the floor that seconds are held against."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange

from benchmarks.record import fastest

_PASSES = 20_000
_CHAIN = 16
"""Multiply-adds of each value a pass; a pass of a thread is one of 1024 values, which stay in its first cache."""


def rates() -> dict[str, float]:
    """Operations and bytes a second, each the best of several tries.

    ``GFLOP/s``: multiply-adds of float32, two operations each, of values that stay in registers. ``GB/s``: read and
    written by a copy, or read by a sum. A library's matrix product is measured beside them: on some processors it is
    far from the first.
    """
    values = np.ones((4 * torch.get_num_threads(), 1024), np.float32)
    _multiply_adds(values, 1)  # compiles
    fused = 2.0 * _CHAIN * values.size * _PASSES / fastest(lambda: _multiply_adds(values, _PASSES), 20)
    a, memory = torch.rand(1024, 1024), torch.rand(2**26)
    copy = torch.empty_like(memory)
    product = 2.0 * len(a) ** 3 / fastest(lambda: a @ a, 20)
    copied = 2.0 * 4 * len(memory) / fastest(lambda: copy.copy_(memory), 5)
    read = 4.0 * len(memory) / fastest(memory.sum, 5)
    return {
        "GFLOP/s": max(fused, product) / 1e9,
        "GB/s": max(copied, read) / 1e9,
        "GFLOP/s, matrix product": product / 1e9,
        "GB/s, copy": copied / 1e9,
    }


@njit(parallel=True, fastmath={"contract"}, cache=True)
def _multiply_adds(values, passes):  # pragma: no cover - compiled
    """x <- x a + b, 16 times a value and pass: each of these waits for the one before, but neighbours do not."""
    a, b = np.float32(0.999), np.float32(0.001)
    for row in prange(len(values)):
        own = values[row]
        for _ in range(passes):
            for i in range(len(own)):
                x = own[i]
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                x = x * a + b
                own[i] = x

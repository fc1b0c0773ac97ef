"""Nearest neighbours, exact three ways: a k-d tree on the CPU, KeOps on CUDA, and plain torch that serves anywhere."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

KEOPS_MOST = 64
"""KeOps keeps a query's k best in registers by insertion: past this many, sorting a block of distances is faster."""
_BLOCK = 2**24  # distances held at once by the torch twin: 64 MB


def nearest(queries: Float[Tensor, "N 3"], points: Float[Tensor, "M 3"], k: int) -> Int[Tensor, "N k"]:
    """Indices into ``points`` of each query's k nearest, nearest first; any unit, as long as both share it.

    On the CPU a k-d tree does a few per cent of the brute-force distances (`benchmarks/neighbours.py`); on CUDA KeOps
    reduces without storing them, or plain torch where k is large or KeOps cannot compile.

    Raises:
        ValueError: k is not in [1, M].
    """
    if not 1 <= k <= len(points):
        raise ValueError(f"k: must be between 1 and the number of points ({len(points)}), got {k}")
    if queries.device.type == "cpu":
        return nearest_tree(queries, points, k)
    if k <= KEOPS_MOST and keops_works(queries.device.type):
        return nearest_keops(queries, points, k)
    return nearest_torch(queries, points, k)


def nearest_tree(queries: Float[Tensor, "N 3"], points: Float[Tensor, "M 3"], k: int) -> Int[Tensor, "N k"]:
    """`nearest` by scipy's k-d tree; CPU only, on torch's number of threads."""
    tree = KDTree(points.detach().numpy())
    _, index = tree.query(queries.detach().numpy(), k, workers=torch.get_num_threads())
    return torch.from_numpy(np.asarray(index)).long().reshape(len(queries), k)


def nearest_torch(queries: Float[Tensor, "N 3"], points: Float[Tensor, "M 3"], k: int) -> Int[Tensor, "N k"]:
    """`nearest` in plain torch, a block of queries at a time; distances of differences, not of expanded squares."""
    block = max(1, _BLOCK // len(points))
    parts = [
        torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist").topk(k, largest=False).indices
        for part in queries.split(block)
    ]
    return torch.cat(parts)


def nearest_keops(queries: Float[Tensor, "N 3"], points: Float[Tensor, "M 3"], k: int) -> Int[Tensor, "N k"]:
    """`nearest` as a KeOps reduction, on CPU or CUDA: the distance matrix is never stored. Compiles once per k."""
    from pykeops.torch import LazyTensor

    x = LazyTensor(queries.contiguous()[:, None, :])
    y = LazyTensor(points.contiguous()[None, :, :])
    return ((x - y) ** 2).sum(-1).argKmin(k, dim=1).long().reshape(len(queries), k)


@functools.cache
def keops_works(device: str) -> bool:
    """Whether KeOps imports, compiles and computes correctly here; asked once, warned of once where it does not."""
    reason = "it computes wrong neighbours"
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it reports every compilation there
            import pykeops

            pykeops.set_verbose(False)
            points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [3.0, 0.0, 0.0]], device=device)
            works = nearest_keops(points, points, 2).tolist() == [[0, 1], [1, 0], [2, 1]]
    except Exception as error:  # a compiler's failures have no common type
        works, reason = False, f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"
    if not works:
        warnings.warn(
            f"KeOps does not work here ({reason}); plain torch serves instead, slower on large clouds. "
            "Install a C++ compiler (Debian, Ubuntu: apt-get install g++ python3-dev)",
            RuntimeWarning,
            stacklevel=2,
        )
    return works

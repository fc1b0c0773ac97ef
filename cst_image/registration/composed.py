"""The determinant and the lengths of a displacement field of clinical size, slab by slab."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.metrics import jacobian_determinant
from cst_core.transform import WorldField, slabs


def determinant(field: WorldField) -> Float[Tensor, "X Y Z"]:
    """`cst_core.metrics.jacobian_determinant` of x -> x + u(x), for vectors along world axes."""
    grid, depth = field.grid, field.grid.shape[2]
    turned = grid.directions.T.to(field.vectors)
    made = torch.empty(grid.shape)
    for start, stop in slabs(grid.shape):
        # one voxel more at each side, for central differences; two at least
        low, high = max(0, start - 1), min(depth, stop + 1)
        vectors = torch.einsum("aw,wxyz->axyz", turned, field.vectors[..., low:high])
        made[..., start:stop] = jacobian_determinant(vectors, grid.spacing)[..., start - low : stop - low]
    return made


def length_figures(field: WorldField) -> dict[str, float]:
    """``mean``, ``p99`` and ``max`` of |u|, mm."""
    lengths = torch.cat(
        [
            torch.linalg.vector_norm(field.vectors[..., start:stop], dim=0).flatten()
            for start, stop in slabs(field.grid.shape)
        ]
    )
    rank = max(1, round(0.99 * len(lengths)))
    return {
        "mean": float(lengths.double().mean()),
        "p99": float(lengths.kthvalue(rank).values),
        "max": float(lengths.max()),
    }

"""A moving volume pulled onto a fixed grid through a displacement field, slab by slab."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from cst_core.field import Grid, sample
from cst_core.label_maps import sample_labels
from cst_core.transform import WorldField, is_inside, slab_points, slabs, to_indices

Lookup = Literal["linear", "nearest", "label"]
"""How a value between voxels is found; ``label``: each label linearly, and the largest taken."""


def pull(
    volume: Shaped[Tensor, "A B C"], scan: Grid, field: WorldField, mode: Lookup = "linear", fill: float = 0.0
) -> tuple[Shaped[Tensor, "X Y Z"], Bool[Tensor, "X Y Z"]]:
    """``volume``, on ``scan``, at x + u(x) for every voxel x of the field's grid, and which of these it has data for.

    In the volume's type; ``fill`` beyond its outer voxel faces, as ITK's resampling has its default value there.
    """
    grid = field.grid
    pulled = torch.empty(grid.shape, dtype=volume.dtype)
    known = torch.empty(grid.shape, dtype=torch.bool)
    for start, stop in slabs(grid.shape):
        points = slab_points(grid, start, stop) + field.vectors[..., start:stop].flatten(1).T
        _pull_points(volume, scan, points, mode, fill, pulled[..., start:stop], known[..., start:stop])
    return pulled, known


def onto(
    volume: Shaped[Tensor, "A B C"], scan: Grid, grid: Grid, mode: Lookup = "linear", fill: float = 0.0
) -> tuple[Shaped[Tensor, "X Y Z"], Bool[Tensor, "X Y Z"]]:
    """As `pull` without a displacement: the volume on another grid of the same world."""
    pulled = torch.empty(grid.shape, dtype=volume.dtype)
    known = torch.empty(grid.shape, dtype=torch.bool)
    for start, stop in slabs(grid.shape):
        points = slab_points(grid, start, stop)
        _pull_points(volume, scan, points, mode, fill, pulled[..., start:stop], known[..., start:stop])
    return pulled, known


def _pull_points(
    volume: Tensor,
    scan: Grid,
    points: Float[Tensor, "N 3"],
    mode: Lookup,
    fill: float,
    pulled: Tensor,
    known: Tensor,
) -> None:
    index = to_indices(scan, points)
    inside = is_inside(index, scan.shape)
    at, unit = index.T.float(), (1.0, 1.0, 1.0)
    values = sample_labels(volume, at, unit) if mode == "label" else sample(volume[None], at, unit, mode)[0]
    values[~inside] = fill
    pulled.copy_(values.reshape(pulled.shape))
    known.copy_(inside.reshape(known.shape))

"""Label maps between voxels: labels are names, so no label may appear that neither neighbour has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from cst_core.field import positions, sample

_TIE = 1e-6  # what single precision leaves of one


def sample_labels(
    labels: Shaped[Tensor, "X Y Z"], points: Float[Tensor, "3 *sites"], spacing: Sequence[float]
) -> Shaped[Tensor, "*sites"]:
    """The label with the largest share at ``points`` (grid mm), each interpolated linearly; of equal ones the smallest.

    In the labels' dtype, which may be any. Beyond the grid the nearest voxel's label.
    """
    sites = points.shape[1:]
    most = torch.full(sites, -1.0, device=points.device)
    best = torch.zeros(sites, dtype=labels.dtype, device=points.device)
    for label in labels.unique():  # in ascending order
        share = sample((labels == label)[None].float(), points.float(), spacing)[0]
        more: Bool[Tensor, "*sites"] = share > most + _TIE
        best = torch.where(more, label, best)
        most = torch.where(more, share, most)
    return best


def warp_labels(
    labels: Shaped[Tensor, "X Y Z"], vectors: Float[Tensor, "3 X Y Z"], spacing: Sequence[float]
) -> Shaped[Tensor, "X Y Z"]:
    """`cst_core.field.warp` with `sample_labels`; ``vectors`` in mm, ``spacing`` that of both."""
    return sample_labels(
        labels, positions(vectors.shape[1:], spacing, torch.float32, vectors.device) + vectors, spacing
    )

"""How alike two volumes on one grid look, whatever their intensities mean."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from cst_core.field import Grid
from cst_image.lattice import box_means
from cst_image.placement import place

_ROUNDS = 2
_NOISE = 1e-4  # variance, of intensities that span a range of 1: below it there is no edge
_LEAST = 1e-3
_MOST = 4_000_000  # voxels of a correlation; of more, as many are taken at regular steps


def local_correlation(
    fixed: Float[Tensor, "X Y Z"], moving: Float[Tensor, "X Y Z"], inside: Bool[Tensor, "X Y Z"]
) -> float:
    """Mean squared correlation of the intensities around each voxel: 0 (unrelated) to 1.

    Around: two rounds of 3-box means, over voxels ``inside`` alone. What two alignments of scans that overlap partly
    are compared with: it asks whether edges lie on edges, and hardly changes with the overlap, where global measures
    reward a shift that leaves more air or less of a bright organ in the overlap.
    """
    weight = inside.float()
    known = box_means(weight, _ROUNDS).clamp(min=_LEAST)

    def around(values: Tensor) -> Tensor:
        return box_means(values * weight, _ROUNDS) / known

    a, b = around(fixed), around(moving)
    variance_a, variance_b = (
        (around(values.square()) - mean.square()).clamp(min=0.0) + _NOISE for values, mean in ((fixed, a), (moving, b))
    )
    covariance = around(fixed * moving) - a * b
    return float((covariance.square() / (variance_a * variance_b))[inside].double().mean())


def correlation(a: Float[Tensor, "X Y Z"], b: Float[Tensor, "X Y Z"], inside: Bool[Tensor, "X Y Z"]) -> float | None:
    """Pearson's correlation of intensities over the voxels ``inside``; None where one of the two does not vary."""
    first, second = (volume[inside] for volume in (a, b))
    step = max(1, len(first) // _MOST)
    first, second = (values[::step].double() for values in (first, second))
    if len(first) < 2:
        return None
    first, second = first - first.mean(), second - second.mean()
    scale = (first.square().sum() * second.square().sum()).sqrt()
    return float((first * second).sum() / scale) if scale > 0 else None


def seen_by_both(
    fixed: Grid,
    moving: Grid,
    volume: Float[Tensor, "A B C"],
    mask: Bool[Tensor, "A B C"] | None,
    through: Float64[Tensor, "4 4"],
) -> tuple[Float[Tensor, "X Y Z"], Bool[Tensor, "X Y Z"]]:
    """A moving volume on the fixed grid through an affine map, and where it has data there."""
    placed = place(volume, moving, fixed, mask=mask, through=through)
    inside = torch.ones(fixed.shape, dtype=torch.bool) if placed.mask is None else placed.mask
    return placed.volume, inside

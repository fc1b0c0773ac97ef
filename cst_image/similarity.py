"""How alike two volumes on one grid look, whatever their intensities mean."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from cst_core.field import Grid
from cst_image.placement import place

_BINS = 32
_MOST = 4_000_000  # voxels of a correlation; of more, as many are taken at regular steps


def mutual_information(
    fixed: Float[Tensor, "X Y Z"], moving: Float[Tensor, "X Y Z"], inside: Bool[Tensor, "X Y Z"]
) -> float:
    """Normalised mutual information (H(A) + H(B)) / H(A, B), from 1 (independent) to 2 (a function of each other).

    Over the voxels ``inside``. Hardly changes with the size of the overlap alone (Studholme et al., Pattern
    Recognition 1999), so that it compares alignments of scans that overlap partly.
    """
    a, b = (_binned(volume[inside]) for volume in (fixed, moving))
    joint = torch.bincount(a * _BINS + b, minlength=_BINS**2).double().reshape(_BINS, _BINS)
    joint = joint / joint.sum().clamp(min=1.0)
    together = _entropy(joint)
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / together if together > 0 else 1.0


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


def _binned(values: Tensor) -> Tensor:
    if not len(values):
        return values.long()
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (_BINS / max(high - low, 1e-12))).long().clamp(0, _BINS - 1)


def _entropy(shares: Tensor) -> float:
    return float(-torch.special.xlogy(shares, shares).sum())

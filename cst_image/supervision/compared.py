"""What a metric compares: the fixed scan and the warped moving one, where both have data."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cst_core.field import warp
from cst_image.backend import ImageBackend, voxel_size
from cst_image.pair import ImagePair
from cst_image.roughness import roughness


class Compared(NamedTuple):
    """Two volumes on the fixed scan's voxels; both are 0 where one has no data, so that nothing there can matter."""

    fixed: Float[Tensor, "1 X Y Z"]
    warped: Float[Tensor, "1 X Y Z"]
    seen: Bool[Tensor, "1 X Y Z"]
    """Where both have data."""

    def mean(self, values: Float[Tensor, "C X Y Z"]) -> Float[Tensor, ""]:
        """Over channels and the voxels that are seen; 0 if there are none."""
        return (values * self.seen).sum() / (len(values) * self.seen.sum().clamp(min=1))


def compared(backend: ImageBackend, pair: ImagePair, field: Float[Tensor, "3 x y z"]) -> Compared:
    """Warp the moving scan of ``pair`` by a field of the label lattice, mm; differentiable in it.

    What the field takes from outside the moving scan, or from outside its mask, is not seen.
    """
    vectors, spacing = backend.on_grid(pair, field), pair.grid.spacing
    mask = torch.ones_like(vectors[:1]) if pair.moving_mask is None else pair.moving_mask.to(vectors)
    seen = warp(mask, vectors.detach(), spacing, padding="zeros") > 0.5
    if pair.fixed_mask is not None:
        seen = seen & pair.fixed_mask
    return Compared(pair.fixed * seen, warp(pair.moving, vectors, spacing) * seen, seen)


def diffusion(backend: ImageBackend, pair: ImagePair, field: Float[Tensor, "3 x y z"]) -> Float[Tensor, ""]:
    """The regulariser: summed mean squared forward differences of a field of the label lattice, in its voxels."""
    return roughness(field / voxel_size(pair.grid, backend.config.label_stride, field))

"""The pair that the steps are timed on: any size, and no data needed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cst_core.field import Grid, warp
from cst_image.pair import ImagePair

SPACING = (2.0, 2.0, 2.0)
DEFORMATION = 20.0  # mm, the largest


def make_pair(shape: tuple[int, int, int]) -> ImagePair:
    """A smooth random volume of coarse and fine structures, and the same deformed; intensities in [-0.4, 0.6]."""
    volume = (0.3 * smooth(shape, 1, 24) + 0.15 * smooth(shape, 1, 6)).clamp(-0.4, 0.6)
    return ImagePair(volume, warp(volume, deformation(shape), SPACING), Grid.of(shape, SPACING))


def deformation(shape: tuple[int, int, int]) -> Tensor:
    """A smooth random field ``(3, X, Y, Z)``, mm."""
    field = smooth(shape, 3, 40)
    return DEFORMATION * field / field.abs().max()


def smooth(shape: tuple[int, int, int], channels: int, voxels: int) -> Tensor:
    """Standard normal values every so many voxels, linear between them."""
    nodes = [-(-n // voxels) + 1 for n in shape]
    coarse = torch.randn(1, channels, *nodes, generator=torch.Generator().manual_seed(voxels))
    return functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0]

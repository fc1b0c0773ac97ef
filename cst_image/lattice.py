"""Coarse grids as strided convolutions make them: every k-th voxel of the volume, beginning with the first.

A stride-2 convolution with kernel 3 and padding 1 is centred on voxels 0, 2, 4, ... So a lattice of any stride has the
grid mm of the volume itself (`cst_core.field`): its site i lies at ``i * stride * spacing``. The published code
resizes between resolutions as if all covered the same field of view, which shifts every field by half a stride or so:
3.5 voxels at stride 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.field import Grid
from cst_image.box import compiled_box_means, compiled_box_means_adjoint


def lattice_shape(shape: Sequence[int], stride: int) -> tuple[int, int, int]:
    """Sites per axis: also where the stride does not divide the size."""
    x, y, z = (-(-n // stride) for n in shape)
    return x, y, z


def lattice_grid(grid: Grid, stride: int) -> Grid:
    """The lattice of a volume's grid as a grid of its own; its grid mm are those of ``grid``."""
    affine = grid.affine.clone()
    affine[:3, :3] *= stride
    return Grid.from_affine(lattice_shape(grid.shape, stride), affine)


def double(field: Float[Tensor, "C X Y Z"], shape: Sequence[int]) -> Float[Tensor, "C X2 Y2 Z2"]:
    """A lattice's values on the lattice of half the stride, linear; ``shape`` is that one's.

    Old sites keep their values, new ones get the mean of their two neighbours; beyond the last old site its value.
    """
    for axis, n in enumerate(shape, start=1):
        following = torch.cat([field.narrow(axis, 1, field.shape[axis] - 1), field.narrow(axis, -1, 1)], dim=axis)
        both = torch.stack([field, 0.5 * (field + following)], dim=axis + 1)
        field = both.flatten(axis, axis + 1).narrow(axis, 0, n)
    return field


def box_means(field: Float[Tensor, "*C X Y Z"], times: int = 1) -> Float[Tensor, "*C X Y Z"]:
    """``times`` means over 3x3x3 voxels, each over those that exist: the border is not darkened.

    Separable: compiled on the CPU, elsewhere one matrix product along each axis however many times.
    """
    if is_float32_on_cpu(field):
        return compiled_box_means(field, times)
    x, y, z = (_box_matrix(n, times, field.dtype, field.device) for n in field.shape[-3:])
    return _along_axes(field, x, y, z) if times else field


def box_means_adjoint(gradient: Float[Tensor, "*C X Y Z"], times: int = 1) -> Float[Tensor, "*C X Y Z"]:
    """The gradient in the argument of `box_means`, from that in its value."""
    if is_float32_on_cpu(gradient):
        return compiled_box_means_adjoint(gradient, times)
    x, y, z = (_box_matrix(n, times, gradient.dtype, gradient.device).T for n in gradient.shape[-3:])
    return _along_axes(gradient, x, y, z) if times else gradient


def is_float32_on_cpu(field: Tensor) -> bool:
    """What the compiled steps work on."""
    return field.dtype == torch.float32 and field.device.type == "cpu"


def _along_axes(field: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    smoothed = y @ (field @ z.T)
    return (x @ smoothed.flatten(-2)).reshape(field.shape)


@lru_cache(maxsize=64)
def _box_matrix(n: int, times: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    near = torch.ones(n, n, dtype=torch.float64).tril(1).triu(-1)
    mean = near / near.sum(dim=1, keepdim=True)
    return torch.linalg.matrix_power(mean, times).to(device, dtype)

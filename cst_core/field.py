"""Displacement fields, and the grids they live on.

The only module that flips axes, normalises coordinates or calls ``grid_sample`` (always with ``align_corners=False``).

Frame, called *grid mm* throughout: millimetres along the array axes from the centre of voxel (0, 0, 0), so that voxel
``i`` lies at ``i * spacing``. A displacement u leads from fixed x to moving x + u(x), in the same axes. Tensors are
channels first: fields ``(3, X, Y, Z)``, positions ``(3, *sites)``; only lists of points are ``(N, 3)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

from cst_core.grid import Grid as Grid  # who has fields has grids
from cst_core.grid import check_spacing

Mode = Literal["linear", "nearest"]
Padding = Literal["border", "zeros"]


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """A displacement for every voxel of a grid."""

    vectors: Float[Tensor, "3 X Y Z"]
    """mm along the array axes, from fixed x to moving x + u(x)."""
    grid: Grid
    """Of the fixed scan."""

    def __post_init__(self) -> None:
        if self.vectors.shape != (3, *self.grid.shape):
            expected, got = (3, *self.grid.shape), tuple(self.vectors.shape)
            raise ValueError(f"vectors must have the shape (3, *grid.shape), {expected}, got {got}")

    def to_world(self) -> Float[Tensor, "3 X Y Z"]:
        """The same vectors in RAS mm: rotated (and mirrored) by the direction cosines."""
        return torch.einsum("wa,axyz->wxyz", self.grid.directions.to(self.vectors), self.vectors)


class Inverse(NamedTuple):
    """What `invert` found, and how well."""

    vectors: Float[Tensor, "3 X Y Z"]
    """mm, with u(x) then the inverse leading back to x."""
    residual_mm: Float[Tensor, ""]
    """The largest |v(x) + u(x + v(x))| over all voxels."""


def positions(
    shape: Sequence[int],
    spacing: Sequence[float],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Float[Tensor, "3 X Y Z"]:
    """Where each voxel lies, grid mm: the identity map."""
    axes = [torch.arange(n, dtype=dtype, device=device) * s for n, s in zip(shape, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def sample(
    volume: Shaped[Tensor, "C X Y Z"],
    points: Float[Tensor, "3 *sites"],
    spacing: Sequence[float],
    mode: Mode = "linear",
    padding: Padding = "border",
) -> Shaped[Tensor, "C *sites"]:
    """``volume`` at ``points`` (grid mm), in the volume's dtype. Differentiable in both, if floating and linear.

    Integers and booleans are read with mode "nearest" (exact up to 2^24). Outside the outermost voxel centres, "border"
    continues the nearest voxel and "zeros" fades to zero within a voxel beyond them. Coordinates are computed in
    float32 at least; linear, in float32 and on the CPU what nobody wants gradients of is compiled.
    """
    check_spacing(spacing)
    if mode == "linear" and not volume.is_floating_point():
        raise ValueError(f"volume must be floating for mode 'linear' (use 'nearest' for labels), got {volume.dtype}")
    if mode == "linear" and (compiled := _compiled(volume, points)):
        return compiled.sampled(volume, points, spacing, zeros=padding == "zeros")
    dtype = torch.promote_types(torch.promote_types(volume.dtype, points.dtype), torch.float32)
    points, shape = points.to(dtype), volume.shape[1:]
    # From grid mm to [-1, 1] over the outer voxel faces; grid_sample wants the last array axis first.
    normalised = torch.stack(
        [(2.0 * points[axis] / spacing[axis] + 1.0) / shape[axis] - 1.0 for axis in (2, 1, 0)], dim=-1
    )
    sampled = functional.grid_sample(
        volume[None].to(dtype),
        rearrange(normalised, "... zyx -> 1 1 1 (...) zyx"),
        mode="bilinear" if mode == "linear" else mode,
        padding_mode=padding,
        align_corners=False,
    )
    return sampled.reshape(len(volume), *points.shape[1:]).to(volume.dtype)


def sample_at(field: DisplacementField, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
    """The displacements, mm, at ``points``, grid mm; beyond the grid those of the nearest border voxel."""
    return sample(field.vectors, points.T, field.grid.spacing).T


def warp(
    volume: Shaped[Tensor, "*C X Y Z"],
    vectors: Float[Tensor, "3 X Y Z"],
    spacing: Sequence[float],
    mode: Mode = "linear",
    padding: Padding = "border",
) -> Shaped[Tensor, "*C X Y Z"]:
    """``warp(moving, u)(x) = moving(x + u(x))``, for a volume with or without one axis of channels. See `sample`.

    ``vectors`` in mm, ``spacing`` that of both. Raises ValueError if they are not on the same voxels.
    """
    if volume.ndim not in (3, 4):
        raise ValueError(f"volume must have the shape (X, Y, Z) or (C, X, Y, Z), got {tuple(volume.shape)}")
    if vectors.shape != (3, *volume.shape[-3:]):
        raise ValueError(f"vectors must have the shape {(3, *volume.shape[-3:])} as volume, got {tuple(vectors.shape)}")
    channels = volume if volume.ndim == 4 else volume[None]
    if mode == "linear" and (compiled := _compiled(volume, vectors)):
        check_spacing(spacing)
        return compiled.warped(channels, vectors, spacing, zeros=padding == "zeros").reshape(volume.shape)
    dtype = torch.promote_types(vectors.dtype, torch.float32)
    points = positions(vectors.shape[1:], spacing, dtype, vectors.device) + vectors
    return sample(channels, points, spacing, mode, padding).reshape(volume.shape)


def _compiled(*tensors: Tensor) -> ModuleType | None:
    """What samples float32 on the CPU, if these are that and nobody wants their gradients."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if wanted or any(tensor.dtype != torch.float32 or tensor.device.type != "cpu" for tensor in tensors):
        return None
    from cst_core import compiled_sample

    return compiled_sample


def compose(
    first: Float[Tensor, "3 X Y Z"], then: Float[Tensor, "3 X Y Z"], spacing: Sequence[float]
) -> Float[Tensor, "3 X Y Z"]:
    """``(u then v)(x) = u(x) + v(x + u(x))``, mm.

    ``warp(warp(moving, v), u) = warp(moving, compose(u, v))``: where a second registration finds u2 on the image that
    u1 has warped already, the whole is ``compose(u2, u1)``. The published code composes in the other order.
    """
    return first + warp(then, first, spacing)


def invert(vectors: Float[Tensor, "3 X Y Z"], spacing: Sequence[float], iterations: int = 30) -> Inverse:
    """The field v with v(x) = -u(x + v(x)), by fixed-point iteration (Chen et al., Med. Phys. 2008).

    Converges where u changes by less than 1 mm per mm; look at the residual. Near faces through which u points out of
    the grid, u is continued as at the border.
    """
    inverse = -vectors
    for _ in range(iterations):
        inverse = -warp(vectors, inverse, spacing)
    return Inverse(inverse, torch.linalg.vector_norm(compose(inverse, vectors, spacing), dim=0).max())


def resize(vectors: Float[Tensor, "3 *old"], shape: Sequence[int]) -> Float[Tensor, "3 *new"]:
    """``vectors`` over the same field of view in ``shape`` voxels, trilinear. mm stay mm: no value is rescaled."""
    return functional.interpolate(vectors[None], size=tuple(shape), mode="trilinear", align_corners=False)[0]


def resample(field: DisplacementField, grid: Grid) -> DisplacementField:
    """``field`` on ``grid``, which must be the field's own grid in another number of voxels (`Grid.resized`)."""
    expected = field.grid.resized(grid.shape)
    if not expected.is_close(grid):
        wanted, got = expected.affine.tolist(), grid.affine.tolist()
        raise ValueError(f"grid must cover the same field of view along the same axes: affine {wanted}, got {got}")
    return DisplacementField(resize(field.vectors, grid.shape), grid)

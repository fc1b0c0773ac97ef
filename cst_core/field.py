"""Displacement fields, and the grids they live on.

The only module that flips axes, normalises coordinates or calls ``grid_sample`` (always with ``align_corners=False``).

Frame, called *grid mm* throughout: millimetres along the array axes from the centre of voxel (0, 0, 0), so that voxel
``i`` lies at ``i * spacing``. A displacement u leads from fixed x to moving x + u(x), in the same axes. Tensors are
channels first: fields ``(3, X, Y, Z)``, positions ``(3, *sites)``; only lists of points are ``(N, 3)``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Float64, Shaped
from torch import Tensor
from torch.nn import functional

Mode = Literal["linear", "nearest"]
Padding = Literal["border", "zeros"]


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie. Compare two with `is_close`."""

    shape: tuple[int, int, int]
    """Voxels per array axis."""
    spacing: tuple[float, float, float]
    """Millimetres per voxel along each array axis."""
    affine: Float64[Tensor, "4 4"]
    """Voxel indices to world: RAS, mm, as in NIfTI. The axes are orthogonal, of either handedness. On the CPU."""

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape must be three positive integers, got {self.shape}")
        _check_spacing(self.spacing)
        if self.affine.shape != (4, 4) or not self.affine.isfinite().all():
            raise ValueError(f"affine must be a finite 4x4 matrix, got {self.affine.tolist()}")
        if self.affine[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
            raise ValueError(f"affine must end with the row 0 0 0 1, got {self.affine[3].tolist()}")
        lengths = torch.linalg.vector_norm(self.affine[:3, :3], dim=0)
        if not torch.allclose(lengths, lengths.new_tensor(self.spacing), rtol=1e-3):
            raise ValueError(
                f"the columns of affine must be as long as spacing {self.spacing}, got lengths {lengths.tolist()}"
            )
        skew = (axes := self.affine[:3, :3] / lengths).T @ axes - torch.eye(3, dtype=torch.float64)
        if skew.abs().max() > 1e-3:
            raise ValueError(
                "the axes of affine must be orthogonal (resample sheared scans first), "
                f"got cosines between them of up to {float(skew.abs().max()):.4f}"
            )

    @classmethod
    def of(cls, shape: Sequence[int], spacing: Sequence[float]) -> "Grid":
        """A grid whose world axes are the array axes, with voxel (0, 0, 0) at the world's origin."""
        _check_spacing(spacing)
        return cls.from_affine(shape, torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))

    @classmethod
    def from_affine(cls, shape: Sequence[int], affine: Any) -> "Grid":
        """The grid of a NIfTI header: ``affine`` is 4x4 (tensor or array), voxel to RAS mm; it implies the spacing."""
        matrix = torch.as_tensor(affine).detach().to("cpu", torch.float64, copy=True)
        if matrix.shape != (4, 4):
            raise ValueError(f"affine must be a 4x4 matrix, got shape {tuple(matrix.shape)}")
        x, y, z = torch.linalg.vector_norm(matrix[:3, :3], dim=0).tolist()
        if len(shape) != 3:
            raise ValueError(f"shape must be three positive integers, got {tuple(shape)}")
        return cls((int(shape[0]), int(shape[1]), int(shape[2])), (x, y, z), matrix)

    @property
    def directions(self) -> Float64[Tensor, "3 3"]:
        """Direction cosines: column a is array axis a in RAS, of length one."""
        return self.affine[:3, :3] / self.affine.new_tensor(self.spacing)

    @property
    def centre(self) -> Float64[Tensor, "3"]:
        """The middle of the field of view, grid mm: where the normalised coordinates are zero."""
        values = [0.5 * (n - 1) * s for n, s in zip(self.shape, self.spacing, strict=True)]
        return torch.tensor(values, dtype=torch.float64)

    @property
    def half_extent(self) -> Float64[Tensor, "3"]:
        """Half the field of view, outer voxel faces included, mm: one unit of the normalised coordinates."""
        values = [0.5 * n * s for n, s in zip(self.shape, self.spacing, strict=True)]
        return torch.tensor(values, dtype=torch.float64)

    def resized(self, shape: Sequence[int]) -> "Grid":
        """The same field of view in ``shape`` voxels. Its grid mm begin at its own first voxel."""
        ratio = torch.tensor([old / new for old, new in zip(self.shape, shape, strict=True)], dtype=torch.float64)
        index_map = torch.eye(4, dtype=torch.float64)
        index_map[:3, :3] = torch.diag(ratio)
        index_map[:3, 3] = 0.5 * (ratio - 1.0)
        return Grid.from_affine(shape, self.affine @ index_map)

    def points_to_world(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Grid mm to RAS mm."""
        return points @ self.directions.to(points).T + self.affine[:3, 3].to(points)

    def points_from_world(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """RAS mm to grid mm."""
        return torch.linalg.solve(self.directions.to(points), (points - self.affine[:3, 3].to(points)).T).T

    def is_close(self, other: "Grid") -> bool:
        """Whether both place the same voxels at the same world positions, to a hundredth of a millimetre."""
        corners = [torch.tensor([-0.5, n - 0.5], dtype=torch.float64) for n in self.shape]
        indices = torch.cat([torch.cartesian_prod(*corners), torch.ones(8, 1, dtype=torch.float64)], dim=1)
        shift = indices @ (self.affine - other.affine).T
        return self.shape == other.shape and bool(shift.abs().max() < 1e-2)


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
    continues the nearest voxel and "zeros" fades to zero within half a voxel beyond them. Coordinates are computed in
    float32 at least.
    """
    _check_spacing(spacing)
    if mode == "linear" and not volume.is_floating_point():
        raise ValueError(f"volume must be floating for mode 'linear' (use 'nearest' for labels), got {volume.dtype}")
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
    dtype = torch.promote_types(vectors.dtype, torch.float32)
    points = positions(vectors.shape[1:], spacing, dtype, vectors.device) + vectors
    warped = sample(volume if volume.ndim == 4 else volume[None], points, spacing, mode, padding)
    return warped.reshape(volume.shape)


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


def _check_spacing(spacing: Sequence[float]) -> None:
    if len(spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing must be three positive numbers, in mm, got {tuple(spacing)}")

"""Transforms between the worlds of two scans: a chain of affine maps and displacement fields.

A transform leads from the fixed world to the moving world, in RAS mm (the world of NIfTI). Points therefore go one way
and images the other:

    a point of the fixed scan     x  ───── map ─────▶  y = T(x)   the same anatomy in the moving scan
    a voxel of the warped image   W(x)  ◀── pulled from ──  M(T(x))  value of the moving scan

`Transform.map` sends fixed points to the moving scan; the moving *image* comes to the fixed grid by looking up, for
every fixed voxel x, the moving scan at T(x). Moving points come to the fixed scan with `Transform.inverse_map`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from cst_core.compiled_field import Search, displacements_at, search
from cst_core.field import DisplacementField, Grid
from cst_core.world_grid import is_inside, same_grid, slab_points, slabs, to_indices

_SOLVED = 1e-5  # mm, a residual at which the inversion stops


@dataclass(frozen=True, eq=False)
class WorldAffine:
    """The map x -> M x + t of world positions."""

    matrix: Float64[Tensor, "4 4"]
    """RAS mm to RAS mm, homogeneous; invertible. On the CPU."""

    def __post_init__(self) -> None:
        if self.matrix.shape != (4, 4) or not self.matrix.isfinite().all():
            raise ValueError(f"matrix must be finite and 4x4, got {self.matrix.tolist()}")
        if self.matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
            raise ValueError(f"matrix must end with the row 0 0 0 1, got {self.matrix[3].tolist()}")
        if not torch.linalg.det(self.matrix[:3, :3]).abs() > 1e-12:
            raise ValueError(f"matrix must be invertible, got {self.matrix.tolist()}")

    @classmethod
    def identity(cls) -> WorldAffine:
        """x -> x."""
        return cls(torch.eye(4, dtype=torch.float64))

    def map(self, points: Float[Tensor, "N 3"]) -> Float64[Tensor, "N 3"]:
        """The images of points, RAS mm."""
        return points.double() @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def inverse(self) -> WorldAffine:
        """The map back."""
        matrix = torch.linalg.inv(self.matrix)
        matrix[3] = matrix.new_tensor([0.0, 0.0, 0.0, 1.0])
        return WorldAffine(matrix)


@dataclass(frozen=True, eq=False)
class WorldField:
    """The map x -> x + u(x) of world positions; u is given at the voxels of a grid and linear between them.

    Beyond the outer voxel faces u is zero, as ITK and ANTs have it; within half a voxel of them it is that of the
    nearest voxel.
    """

    vectors: Float[Tensor, "3 X Y Z"]
    """Displacements, mm, components along world R, A and S."""
    grid: Grid
    continued: ClassVar[bool] = False
    """Whether it goes on beyond its grid as it is at the border."""

    def __post_init__(self) -> None:
        if self.vectors.shape != (3, *self.grid.shape):
            expected, got = (3, *self.grid.shape), tuple(self.vectors.shape)
            raise ValueError(f"vectors must have the shape (3, *grid.shape), {expected}, got {got}")

    @classmethod
    def from_grid_field(cls, field: DisplacementField) -> WorldField:
        """The same field with vectors along world axes instead of array axes. On the CPU."""
        return cls(field.to_world().cpu(), field.grid)

    def at(self, points: Float[Tensor, "N 3"]) -> Float64[Tensor, "N 3"]:
        """u, mm, at points given in RAS mm."""
        return displacements_at(self.vectors, self.grid, points, self.continued)

    def search(
        self,
        points: Float64[Tensor, "N 3"],
        start: Float64[Tensor, "N 3"],
        backwards: Float64[Tensor, "3 3"],
        how: Search,
    ) -> tuple[Float64[Tensor, "N 3"], Float64[Tensor, "N"]]:
        """From which places the field leads to ``points``: `cst_core.compiled_field.search`."""
        return search(self.vectors, self.grid, self.continued, points, start, backwards, how)

    def map(self, points: Float[Tensor, "N 3"]) -> Float64[Tensor, "N 3"]:
        """x + u(x), RAS mm."""
        return points.double() + self.at(points)


class Inverted(NamedTuple):
    """Points that were looked for, and how well they were found."""

    points: Float64[Tensor, "N 3"]
    """RAS mm in the fixed world."""
    residual_mm: Float64[Tensor, "N"]
    """How far from the given point the forward map of a found one ends, mm; in the world where it was worst."""


class InvertedField(NamedTuple):
    """The way back as a field."""

    field: WorldField
    residual_mm: Float[Tensor, "X Y Z"]
    """As in `Inverted`, per voxel."""


@dataclass(frozen=True, eq=False)
class Transform:
    """Affine maps and fields, applied to points one after the other: fixed world to moving world."""

    parts: tuple[WorldAffine | WorldField, ...]

    def map(self, points: Float[Tensor, "N 3"]) -> Float64[Tensor, "N 3"]:
        """Where fixed points lie in the moving scan; both RAS mm."""
        points = points.double()
        for part in self.parts:
            points = part.map(points)
        return points

    def invert(self, points: Float[Tensor, "N 3"], iterations: int = 200) -> Inverted:
        """Where moving points lie in the fixed scan, RAS mm, and how well that is known.

        Fields are inverted point by point, by fixed-point iteration (Chen et al., Med. Phys. 2008) whose steps are
        halved where they do not bring a point closer. Where a field folds, or leads out of its grid, there may be no
        such point: look at the residual.
        """
        points = points.double()
        residual = torch.zeros(len(points), dtype=torch.float64)
        for part in reversed(self.parts):
            if isinstance(part, WorldAffine):
                points = part.inverse().map(points)
            else:
                points, left = _invert_field(part, points, iterations)
                residual = torch.maximum(residual, left)
        return Inverted(points, residual)

    def inverse_map(self, points: Float[Tensor, "N 3"]) -> Float64[Tensor, "N 3"]:
        """As `invert`, without the residual."""
        return self.invert(points).points

    def on(self, grid: Grid) -> WorldField:
        """The whole as one field on ``grid``, float32; exactly the field itself where it is one on this grid."""
        if len(self.parts) == 1 and isinstance(self.parts[0], WorldField) and same_grid(self.parts[0].grid, grid):
            return self.parts[0]
        vectors = torch.empty(3, *grid.shape)
        for start, stop in slabs(grid.shape):
            points = slab_points(grid, start, stop)
            vectors[..., start:stop] = _as_slab(self.map(points) - points, grid.shape)
        return WorldField(vectors, grid)

    def inverse_on(self, grid: Grid) -> InvertedField:
        """The way back, moving world to fixed world, as one field on ``grid`` (of the moving scan, as a rule)."""
        vectors, residual = torch.empty(3, *grid.shape), torch.empty(grid.shape)
        for start, stop in slabs(grid.shape):
            points = slab_points(grid, start, stop)
            found = self.invert(points)
            vectors[..., start:stop] = _as_slab(found.points - points, grid.shape)
            residual[..., start:stop] = found.residual_mm.reshape(*grid.shape[:2], stop - start)
        return InvertedField(WorldField(vectors, grid), residual)


def _as_slab(vectors: Float64[Tensor, "N 3"], shape: Sequence[int]) -> Float[Tensor, "3 X Y n"]:
    return vectors.T.reshape(3, shape[0], shape[1], -1).float()


def _invert_field(
    field: WorldField, points: Float64[Tensor, "N 3"], iterations: int
) -> tuple[Float64[Tensor, "N 3"], Float64[Tensor, "N"]]:
    """x with x + u(x) = point, and the distance that is left.

    Begins where the field's best affine map would have come from, as the two worlds may lie far apart; at the point
    itself where that is beyond the grid. Steps are those of the affine map.
    """
    back = _best_affine(field).inverse()
    best = back.map(points)
    beyond = ~is_inside(to_indices(field.grid, best), field.grid.shape)
    best[beyond] = points[beyond]
    return field.search(points, best, back.matrix[:3, :3], Search(_SOLVED, within=False, steps=iterations))


def _best_affine(field: WorldField) -> WorldAffine:
    """The affine map nearest to a field, by least squares over some thousand voxels."""
    ranges = [torch.arange(0, n, max(1, n // 16)) for n in field.grid.shape]
    index = torch.cartesian_prod(*ranges)
    points = index.double() @ field.grid.affine[:3, :3].T
    centre = points.mean(0)
    system = torch.cat([points - centre, torch.ones(len(points), 1, dtype=torch.float64)], dim=1)
    found = torch.linalg.pinv(system) @ field.vectors[:, index[:, 0], index[:, 1], index[:, 2]].T.double()
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] += found[:3].T
    matrix[:3, 3] = found[3] - found[:3].T @ (centre + field.grid.affine[:3, 3])
    # a field that folds as a whole has no map back to begin with
    return WorldAffine(matrix) if float(torch.linalg.det(matrix[:3, :3])) > 1e-2 else WorldAffine.identity()

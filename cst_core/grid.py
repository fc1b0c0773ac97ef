"""Where the voxels of a volume lie: in *grid mm* (see `cst_core.field`) and in the world."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor


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
        check_spacing(self.spacing)
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
        check_spacing(spacing)
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


def check_spacing(spacing: Sequence[float]) -> None:
    """Raises ValueError unless these are three lengths."""
    if len(spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing must be three positive numbers, in mm, got {tuple(spacing)}")

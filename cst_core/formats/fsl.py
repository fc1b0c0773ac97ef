"""Warp fields as FSL keeps them (FNIRT's displacement fields, for ``applywarp``).

The file has the shape (X, Y, Z, 3), the intent code 2006, and lies on the fixed scan's grid. Positions are *FSL
coordinates*: voxel index times voxel size, with the first axis counted from its other end where the affine's
determinant is positive. A relative warp is the FSL coordinates in the moving scan less those in the fixed scan, so
the moving scan's grid is needed, and neither header's placement in the world goes in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_core.formats.itk_field import check_finite
from cst_core.formats.nifti import grid_of, placed, save_nifti
from cst_core.transform import WorldField
from cst_core.world_grid import slab_points, slabs

INTENT = 2006
"""NIfTI's intent code of FNIRT's displacement fields."""


def to_fsl(grid: Grid) -> Float64[Tensor, "4 4"]:
    """World, RAS mm, to FSL coordinates of a scan, mm."""
    scale = torch.diag(torch.tensor([*grid.spacing, 1.0], dtype=torch.float64))
    if float(torch.linalg.det(grid.affine[:3, :3])) > 0:
        scale[0, 0] = -grid.spacing[0]
        scale[0, 3] = (grid.shape[0] - 1) * grid.spacing[0]
    return scale @ torch.linalg.inv(grid.affine)


def write_fsl(path: Path, field: WorldField, moving: Grid) -> None:
    """``field`` as a relative warp, float32."""
    grid = field.grid
    from_fixed, from_moving = to_fsl(grid), to_fsl(moving)
    vectors = np.empty((*grid.shape, 3), dtype=np.float32)
    for start, stop in slabs(grid.shape):
        points = slab_points(grid, start, stop)
        ends = points + field.vectors[..., start:stop].reshape(3, -1).T
        warp = _apply(from_moving, ends) - _apply(from_fixed, points)
        vectors[:, :, start:stop] = warp.reshape(*grid.shape[:2], -1, 3).numpy()
    image = placed(vectors, grid)
    image.header.set_intent(INTENT, allow_unknown=True)
    save_nifti(path, image)


def read_fsl(path: Path, image: Any, moving: Grid) -> WorldField:
    """A relative warp, opened as ``image``.

    Raises:
        DataError: absolute coordinates instead, damaged, NaN or infinity.
    """
    grid = grid_of(path, image)
    try:
        warp = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # truncated or damaged gzip streams raise many unrelated types
        raise DataError(f"{path}: voxels cannot be read ({type(error).__name__}); write or copy it again") from None
    check_finite(path, warp)
    from_fixed, to_moving = to_fsl(grid), torch.linalg.inv(to_fsl(moving))
    if _looks_absolute(warp, grid):
        raise DataError(f"{path}: must hold relative displacements, found positions; use convertwarp --absout=no")
    vectors = torch.empty(3, *grid.shape)
    for start, stop in slabs(grid.shape):
        points = slab_points(grid, start, stop)
        ends = _apply(from_fixed, points) + torch.from_numpy(warp[:, :, start:stop].reshape(-1, 3).copy())
        found = _apply(to_moving, ends) - points
        vectors[..., start:stop] = found.T.reshape(3, *grid.shape[:2], -1).float()
    return WorldField(vectors, grid)


def _apply(matrix: Float64[Tensor, "4 4"], points: Float[Tensor, "N 3"]) -> Float64[Tensor, "N 3"]:
    return points.double() @ matrix[:3, :3].T + matrix[:3, 3]


def _looks_absolute(warp: np.ndarray, grid: Grid) -> bool:
    """Whether the numbers vary as positions do: less once the voxels' own positions are taken off."""
    sign = -1.0 if float(torch.linalg.det(grid.affine[:3, :3])) > 0 else 1.0
    steps = (sign * grid.spacing[0], *grid.spacing[1:])
    own = [np.arange(n) * step for n, step in zip(grid.shape, steps, strict=True)]
    shapes = [(-1, 1, 1), (1, -1, 1), (1, 1, -1)]
    left = sum(float((warp[..., a] - own[a].reshape(shapes[a])).std()) for a in range(3))
    return left < sum(float(warp[..., a].std()) for a in range(3))

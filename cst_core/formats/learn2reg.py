"""Fields as the Learn2Reg challenge exchanges them: voxels, and no word of where they lie.

``disp_<fixed>_<moving>.nii.gz`` has the shape (X, Y, Z, 3) and leads from *voxel* i of the fixed scan to voxel
i + d(i) of the moving scan (its evaluation looks up the moving scan at ``identity + disp``). Where the two scans lie in
the world is not in the file, so both grids are needed to use it as anything else. The older ``.npz`` holds float16 of
the shape (3, X/2, Y/2, Z/2) under ``arr_0``, made by ``scipy.ndimage.zoom(d, 0.5, order=2)`` and read by
``zoom(d, 2, order=2)``; its values are voxels of the full grid. It loses what lies between every second voxel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from cst_core.errors import ConfigError, DataError
from cst_core.field import Grid
from cst_core.files import replace_atomically
from cst_core.formats.itk_field import check_finite
from cst_core.formats.nifti import placed, save_nifti
from cst_core.formats.numpy_archive import read_array
from cst_core.transform import WorldField
from cst_core.world_grid import slab_points, slabs, to_indices

MOST_BYTES = 1 << 32
"""Of an archive's array: half precision at 1100 voxels along each axis."""


def write_learn2reg(path: Path, field: WorldField, moving: Grid) -> None:
    """``field`` as the NIfTI file, float32."""
    save_nifti(path, placed(np.moveaxis(_to_voxels(field, moving), 0, -1), field.grid))


def write_learn2reg_npz(path: Path, field: WorldField, moving: Grid) -> None:
    """``field`` as the half-resolution file.

    Raises:
        ConfigError: an axis of the fixed grid has an odd number of voxels, which the evaluation cannot restore.
    """
    if any(n % 2 for n in field.grid.shape):
        raise ConfigError(f"--to learn2reg-npz needs even numbers of voxels, the fixed grid has {field.grid.shape}")
    voxels = _to_voxels(field, moving)
    halves = np.stack([_zoomed(component, 0.5) for component in voxels]).astype(np.float16)
    with replace_atomically(path) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, halves)


def read_learn2reg(path: Path, image: Any, fixed: Grid, moving: Grid) -> WorldField:
    """The NIfTI file, opened as ``image``.

    Raises:
        DataError: another shape than the fixed grid's, damaged, NaN or infinity.
    """
    try:
        voxels = np.moveaxis(np.asarray(image.dataobj, dtype=np.float32), -1, 0)
    except Exception as error:  # truncated or damaged gzip streams raise many unrelated types
        raise DataError(f"{path}: voxels cannot be read ({type(error).__name__}); write or copy it again") from None
    return _from_voxels(path, voxels, fixed, moving)


def read_learn2reg_npz(path: Path, fixed: Grid, moving: Grid) -> WorldField:
    """The half-resolution file.

    Raises:
        DataError: as `read_learn2reg`, or a file that holds no such array.
    """
    try:
        halves = read_array(path.read_bytes(), "arr_0", MOST_BYTES)
    except (KeyError, ValueError, OSError) as error:
        raise DataError(
            f"{path}: no readable Learn2Reg file, which holds one array arr_0 ({type(error).__name__}); make it again"
        ) from None
    if halves.ndim != 4 or halves.shape[0] != 3 or halves.dtype.kind != "f":
        raise DataError(f"{path}: must hold floating numbers of the shape (3, X/2, Y/2, Z/2), found {halves.shape}")
    _check_shape(path, tuple(2 * n for n in halves.shape[1:]), fixed)
    check_finite(path, halves)
    voxels = np.stack([_zoomed(component.astype(np.float32), 2.0) for component in halves])
    return _from_voxels(path, voxels, fixed, moving)


def _zoomed(component: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(ndimage.zoom(component, factor, order=2))


def _to_voxels(field: WorldField, moving: Grid) -> np.ndarray:
    """``(3, X, Y, Z)`` float32: where x + u(x) lies in voxels of the moving scan, less the voxel of x."""
    grid = field.grid
    voxels = np.empty((3, *grid.shape), dtype=np.float32)
    for start, stop in slabs(grid.shape):
        points = slab_points(grid, start, stop)
        found = to_indices(moving, points + field.vectors[..., start:stop].reshape(3, -1).T) - to_indices(grid, points)
        voxels[..., start:stop] = found.T.reshape(3, *grid.shape[:2], -1).numpy()
    return voxels


def _from_voxels(path: Path, voxels: np.ndarray, fixed: Grid, moving: Grid) -> WorldField:
    _check_shape(path, voxels.shape[1:], fixed)
    check_finite(path, voxels)
    vectors = torch.empty(3, *fixed.shape)
    for start, stop in slabs(fixed.shape):
        points = slab_points(fixed, start, stop)
        index = to_indices(fixed, points) + torch.from_numpy(voxels[..., start:stop].reshape(3, -1).T.copy())
        found = index @ moving.affine[:3, :3].T + moving.affine[:3, 3] - points
        vectors[..., start:stop] = found.T.reshape(3, *fixed.shape[:2], -1).float()
    return WorldField(vectors, fixed)


def _check_shape(path: Path, shape: tuple[int, ...], fixed: Grid) -> None:
    if shape != fixed.shape:
        raise DataError(
            f"{path}: must have the voxels of the fixed scan, {fixed.shape}, found {shape}; "
            "pass as --like the scan that it was made for"
        )

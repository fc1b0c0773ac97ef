"""Deformation fields as NiftyReg keeps them (for ``reg_resample -trans``).

NIfTI of the shape (X, Y, Z, 1, 3), intent code 1007 with the name ``NREG_TRANS`` and the kind in ``intent_p1``: 0 holds
positions, 1 displacements, both RAS mm in the moving world; the others are spline coefficients and velocities. Beyond
the grid NiftyReg goes on with the outermost displacement, where cst, ITK and ANTs go on with none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cst_core.errors import DataError
from cst_core.formats.itk_field import check_finite
from cst_core.formats.nifti import grid_of, placed, save_nifti
from cst_core.transform import WorldField
from cst_core.world_grid import slab_points, slabs

NAME = b"NREG_TRANS"
_POSITIONS, _DISPLACEMENTS = 0, 1


def write_niftyreg(path: Path, field: WorldField) -> None:
    """``field`` as positions, float32: the kind that all of its programs take."""
    grid = field.grid
    positions = np.empty((*grid.shape, 1, 3), dtype=np.float32)
    for start, stop in slabs(grid.shape):
        ends = slab_points(grid, start, stop) + field.vectors[..., start:stop].reshape(3, -1).T
        positions[:, :, start:stop, 0] = ends.reshape(*grid.shape[:2], -1, 3).numpy()
    image = placed(positions, grid)
    image.header.set_intent("vector", name=NAME.decode())
    image.header["intent_p1"] = _POSITIONS
    save_nifti(path, image)


def read_niftyreg(path: Path, image: Any) -> WorldField:
    """Positions or displacements, opened as ``image``.

    Raises:
        DataError: another kind, damaged, NaN or infinity.
    """
    kind = int(image.header["intent_p1"])
    if kind not in (_POSITIONS, _DISPLACEMENTS):
        raise DataError(
            f"{path}: must hold positions or displacements (intent_p1 0 or 1), found NiftyReg's kind {kind}; "
            "convert it with reg_transform -def"
        )
    grid = grid_of(path, image)
    try:
        values = np.asarray(image.dataobj, dtype=np.float32)[:, :, :, 0]
    except Exception as error:  # truncated or damaged gzip streams raise many unrelated types
        raise DataError(f"{path}: voxels cannot be read ({type(error).__name__}); write or copy it again") from None
    check_finite(path, values)
    vectors = torch.empty(3, *grid.shape)
    for start, stop in slabs(grid.shape):
        found = torch.from_numpy(values[:, :, start:stop].reshape(-1, 3).copy()).double()
        if kind == _POSITIONS:
            found -= slab_points(grid, start, stop)
        vectors[..., start:stop] = found.T.reshape(3, *grid.shape[:2], -1).float()
    return WorldField(vectors, grid)

"""Results on the voxels of a scan's own file: its axes, whatever way they run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from cst_core.field import Grid
from cst_core.formats.itk_field import write_itk_field
from cst_core.formats.nifti import placed, save_nifti
from cst_core.transform import WorldField
from cst_image.scan import Header

MM_STEP = 2.0**-10
"""mm, to which fields are rounded before anything is made of them: their files become a third smaller."""
STEP = 2.0**-7
"""mm, the same for the map of confidence."""
DETERMINANT_STEP = 2.0**-13
"""The same for determinants."""


class NativeGrid(NamedTuple):
    """How a file's own axes lie to those that `cst_image.scan` turns it to."""

    grid: Grid
    """Of the file, as it is."""
    order: tuple[int, int, int]
    """For every axis of the file, which turned axis it is."""
    flipped: tuple[bool, bool, bool]
    """For every axis of the file, whether it runs the other way."""

    def turned_back(self, volume: Shaped[Tensor, "*C X Y Z"]) -> Shaped[Tensor, "*C A B C"]:
        """A volume along right, anterior, superior, along the file's axes; values stay as they are."""
        first = volume.ndim - 3
        moved = volume.permute(*range(first), *(first + axis for axis in self.order))
        flips = [first + axis for axis, flip in enumerate(self.flipped) if flip]
        return moved.flip(flips) if flips else moved


def native_grid(header: Header) -> NativeGrid:
    """The grid of the file that ``header`` is of."""
    import nibabel

    image = nibabel.load(header.path)
    affine = np.asarray(image.affine, dtype=np.float64)  # type: ignore[attr-defined]
    turn = nibabel.orientations.io_orientation(affine)
    x, y, z = (int(axis) for axis in turn[:, 0])
    a, b, c = (bool(sign < 0) for sign in turn[:, 1])
    return NativeGrid(Grid.from_affine(image.shape[:3], affine), (x, y, z), (a, b, c))  # type: ignore[attr-defined]


def rounded_(values: Float[Tensor, "*sites"], step: float) -> Float[Tensor, "*sites"]:
    """``values`` in whole ``step`` (a power of two), in place: zeros at the end of a mantissa take no room."""
    return values.div_(step).round_().mul_(step)


def write_volume(path: Path, volume: Shaped[Tensor, "X Y Z"], native: NativeGrid) -> None:
    """A volume along right, anterior, superior as a NIfTI file on the scan's own voxels, in the volume's type."""
    save_nifti(path, placed(native.turned_back(volume).numpy(), native.grid))


def write_field(path: Path, vectors: Shaped[Tensor, "3 X Y Z"], native: NativeGrid) -> None:
    """Displacements along right, anterior, superior, RAS mm, as ITK's field on the scan's own voxels."""
    write_itk_field(path, WorldField(native.turned_back(vectors), native.grid))

"""Results on the voxels of a scan's own file: its axes, whatever way they run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from cst_core.field import Grid
from cst_core.transform import WorldField
from cst_core.transforms_io import save_nifti, write_itk_field
from cst_image.scan import Header


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


def write_volume(path: Path, volume: Shaped[Tensor, "X Y Z"], native: NativeGrid) -> None:
    """A volume along right, anterior, superior as a NIfTI file on the scan's own voxels, in the volume's type."""
    import nibabel

    affine = native.grid.affine.numpy()
    image = nibabel.Nifti1Image(native.turned_back(volume).numpy(), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    save_nifti(path, image)


def write_field(path: Path, vectors: Shaped[Tensor, "3 X Y Z"], native: NativeGrid) -> None:
    """Displacements along right, anterior, superior, RAS mm, as ITK's field on the scan's own voxels."""
    write_itk_field(path, WorldField(native.turned_back(vectors), native.grid))

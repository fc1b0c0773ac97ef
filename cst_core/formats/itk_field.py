"""Displacement fields as ITK keeps them, which ITK, ANTs, SimpleITK and 3D Slicer read as they are.

Inside cst vectors are RAS, inside ITK they are LPS: the first two components have the other sign. This module turns
them once when reading and once when writing. A NIfTI header stays RAS in either case: ITK turns the *grid* of such a
file itself, but takes the *vectors* as they are (intent code 1007), or as RAS (1006, which cst reads but never writes).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.errors import CstError, DataError
from cst_core.field import Grid
from cst_core.files import replace_atomically
from cst_core.formats.itk_trial import try_itk
from cst_core.formats.nifti import grid_of, open_nifti, placed, save_nifti
from cst_core.transform import WorldField
from cst_core.world_grid import slabs

_VECTOR, _DISPLACEMENT = 1007, 1006  # NIfTI's intent codes
_LPS = np.array([-1.0, -1.0, 1.0])
IMAGES = (".nrrd", ".nhdr", ".mha", ".mhd")
"""Fields that SimpleITK reads and writes for us."""


@dataclass(frozen=True, eq=False)
class FieldFile:
    """A field in a NIfTI file of ITK's, read in ranges of the third axis, best in ascending order."""

    path: Path
    grid: Grid
    signs: tuple[float, float, float]
    """What the components in the file are multiplied by to become RAS."""
    components: tuple[Any, Any, Any]
    """One opened image for each: components lie apart in the file, and a compressed file is read forwards only."""

    def slab(self, start: int, stop: int) -> Float[Tensor, "3 X Y n"]:
        """Displacements, RAS mm, float32, of the voxels whose third index is in ``start .. stop - 1``.

        Raises:
            DataError: damaged data, NaN or infinity.
        """
        vectors = np.empty((3, *self.grid.shape[:2], stop - start), dtype=np.float32)
        for axis, (sign, image) in enumerate(zip(self.signs, self.components, strict=True)):
            try:
                vectors[axis] = sign * np.asarray(image.dataobj[:, :, start:stop, 0, axis])
            except Exception as error:  # truncated or damaged gzip streams raise many unrelated types
                raise DataError(
                    f"{self.path}: voxels cannot be read ({type(error).__name__}); write or copy it again"
                ) from None
        check_finite(self.path, vectors)
        return torch.from_numpy(vectors)

    def load(self) -> WorldField:
        """All of it, with little more memory than that."""
        vectors = torch.empty(3, *self.grid.shape)
        for start, stop in slabs(self.grid.shape):
            vectors[..., start:stop] = self.slab(start, stop)
        return WorldField(vectors, self.grid)


def open_field(path: Path) -> FieldFile:
    """A NIfTI file that holds a displacement field of ITK's; no vector is read yet.

    Raises:
        DataError: no such file, damaged, or something else than a field.
    """
    image = open_nifti(path)
    shape, code = image.shape, int(image.header["intent_code"])
    if len(shape) != 5 or shape[3:] != (1, 3):
        raise DataError(f"{path}: a displacement field of ITK's has the shape (X, Y, Z, 1, 3), found {shape}")
    if code not in (_VECTOR, _DISPLACEMENT):
        raise DataError(
            f"{path}: a displacement field of ITK's has the intent code 1007 (vector), found {code}; "
            "write it again with a program that sets it"
        )
    signs = (-1.0, -1.0, 1.0) if code == _VECTOR else (1.0, 1.0, 1.0)
    return FieldFile(path, grid_of(path, image), signs, (image, open_nifti(path), open_nifti(path)))


def write_itk_field(path: Path, field: WorldField) -> None:
    """A displacement field as NIfTI (``.nii``, ``.nii.gz``): shape (X, Y, Z, 1, 3), vector intent, LPS mm, float32."""
    vectors = np.empty((*field.grid.shape, 1, 3), dtype=np.float32, order="F")
    for axis in range(3):
        vectors[..., 0, axis] = _LPS[axis] * field.vectors[axis].detach().cpu().numpy()
    image = placed(vectors, field.grid)
    image.header.set_intent("vector")
    save_nifti(path, image)


def read_image_field(path: Path) -> WorldField:
    """A displacement field in another image format of ITK's (`IMAGES`): three components a voxel, LPS mm.

    Raises:
        DataError: damaged, or not three components in three dimensions.
    """
    import SimpleITK

    try_itk(path, "ReadImage")
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError:
        raise DataError(f"{path}: nothing that ITK reads, or a damaged file; write or copy it again") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 3:
        raise DataError(
            f"{path}: a displacement field has 3 numbers a voxel in 3 dimensions, found "
            f"{image.GetNumberOfComponentsPerPixel()} in {image.GetDimension()}; pass a transform"
        )
    return from_itk(path, image)


def write_image_field(path: Path, field: WorldField) -> None:
    """A displacement field in one of `IMAGES` that is a single file, LPS mm, float32, compressed."""
    import SimpleITK

    image = to_itk(field, np.float32)
    with replace_atomically(path, path.suffix) as partial:
        try:
            SimpleITK.WriteImage(image, str(partial), useCompression=True)
        except RuntimeError:
            raise CstError(f"{path}: cannot be written; free space or choose another folder") from None


def from_itk(path: Path, image: Any) -> WorldField:
    """The field of a SimpleITK vector image; ``path`` is named in errors.

    Raises:
        DataError: NaN or infinity, or axes that are not orthogonal.
    """
    import SimpleITK

    view = SimpleITK.GetArrayViewFromImage(image)
    if view.dtype.kind not in "iuf":
        raise DataError(f"{path}: displacements must be real numbers, found {view.dtype}; write the field again")
    vectors = view.transpose(3, 2, 1, 0).astype(np.float32, order="C")
    vectors *= _LPS[:, None, None, None].astype(np.float32)
    check_finite(path, vectors)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    affine[:3] *= _LPS[:, None]
    try:
        return WorldField(torch.from_numpy(vectors), Grid.from_affine(vectors.shape[1:], affine))
    except ValueError as error:
        raise DataError(f"{path}: cannot be used as it lies ({error}); resample it") from None


def to_itk(field: WorldField, dtype: type[np.floating]) -> Any:
    """A SimpleITK vector image."""
    import SimpleITK

    vectors = field.vectors.detach().cpu().numpy().transpose(3, 2, 1, 0).astype(dtype)
    vectors *= _LPS.astype(dtype)
    image = SimpleITK.GetImageFromArray(vectors, isVector=True)
    image.SetSpacing(field.grid.spacing)
    image.SetDirection((field.grid.directions.numpy() * _LPS[:, None]).flatten().tolist())
    image.SetOrigin((field.grid.affine[:3, 3].numpy() * _LPS).tolist())
    return image


def check_finite(path: Path, vectors: np.ndarray) -> None:
    """Raise DataError where a field has NaN or infinity."""
    if bad := int((~np.isfinite(vectors)).sum()):
        raise DataError(f"{path}: displacements must be finite, found {bad} NaN or infinite numbers; make it again")

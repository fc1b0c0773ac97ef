"""Transforms as files of ITK, which ITK, ANTs, SimpleITK and 3D Slicer read as they are.

Inside cst the world is RAS, as in NIfTI; inside ITK it is LPS: the first two coordinates have the other sign. All files
of ITK's are turned by `flip_world`, here and nowhere else, once when reading and once when writing. A NIfTI header
stays RAS in either case: ITK turns the *grid* of such a file itself, but takes the *vectors* as they are.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_core.files import replace_atomically
from cst_core.transform import Transform, WorldAffine, WorldField

_VECTOR = 1007  # NIfTI's intent code for vectors, which ITK reads without turning them
_LPS = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))


def flip_world(matrix: Float64[Tensor, "4 4"]) -> Float64[Tensor, "4 4"]:
    """A map of RAS positions as the same map of LPS positions, or the other way round."""
    return _LPS @ matrix @ _LPS


def write_itk_field(path: Path, field: WorldField) -> None:
    """A displacement field as NIfTI (``.nii``, ``.nii.gz``): shape (X, Y, Z, 1, 3), vector intent, LPS mm, float32."""
    import nibabel

    vectors = field.vectors.detach().cpu().numpy().astype(np.float32)
    vectors[:2] *= -1.0
    image = nibabel.Nifti1Image(np.moveaxis(vectors, 0, -1)[..., None, :], field.grid.affine.numpy())
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    image.set_sform(field.grid.affine.numpy(), code=1)
    image.set_qform(field.grid.affine.numpy(), code=1)
    save_nifti(path, image)


def save_nifti(path: Path, image: Any) -> None:
    """Write a nibabel image, compressed if the name ends with ``.gz``; it appears under its name when complete."""
    with replace_atomically(path) as partial:
        if path.name.endswith(".gz"):
            with gzip.GzipFile(partial, "wb", compresslevel=1, mtime=0) as stream:
                image.to_stream(stream)
        else:
            with partial.open("wb") as stream:
                image.to_stream(stream)


def write_itk_affine(path: Path, affine: WorldAffine) -> None:
    """An affine map as ITK's text file (``.tfm``, ``.txt``): LPS, double precision, centre 0."""
    matrix = flip_world(affine.matrix)
    parameters = [*matrix[:3, :3].flatten().tolist(), *matrix[:3, 3].tolist()]
    lines = [
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: AffineTransform_double_3_3",
        f"Parameters: {' '.join(map(repr, parameters))}",
        "FixedParameters: 0 0 0",
    ]
    with replace_atomically(path) as partial:
        partial.write_text("\n".join(lines) + "\n")


def read_transform(path: Path) -> Transform:
    """A displacement field (NIfTI) or an affine map (``.tfm``, ``.txt``) of ITK's.

    Raises:
        DataError: no such file, damaged, or no transform.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    if path.name.endswith((".nii", ".nii.gz")):
        return Transform((_read_field(path),))
    return Transform((_read_affine(path),))


def _read_field(path: Path) -> WorldField:
    import nibabel

    try:
        image = nibabel.load(path)
        values = np.asarray(image.dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    except Exception as error:  # nibabel raises many unrelated types on damaged bytes
        raise DataError(f"{path}: no readable NIfTI file ({type(error).__name__}); write or copy it again") from None
    if values.ndim != 5 or values.shape[3:] != (1, 3):
        raise DataError(f"{path}: a displacement field has the shape (X, Y, Z, 1, 3), found {values.shape}")
    vectors = torch.from_numpy(np.ascontiguousarray(np.moveaxis(values[..., 0, :], -1, 0)))
    vectors[:2] *= -1.0
    return WorldField(vectors, Grid.from_affine(values.shape[:3], image.affine))  # type: ignore[attr-defined]


def _read_affine(path: Path) -> WorldAffine:
    import SimpleITK

    try:
        transform = SimpleITK.ReadTransform(str(path))
    except RuntimeError:
        raise DataError(f"{path}: no transform that ITK reads; check the file") from None
    return WorldAffine(flip_world(_linear(transform)))


def _linear(transform: Any) -> Float[Tensor, "4 4"]:
    """The matrix of any linear transform of ITK's, whatever its parameters are: from the images of four points."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    for axis in range(3):
        unit = [0.0, 0.0, 0.0]
        unit[axis] = 1.0
        matrix[:3, axis] = np.array(transform.TransformPoint(unit)) - origin
    return torch.from_numpy(matrix)

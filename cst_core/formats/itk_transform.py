"""Transform files of ITK: text (``.tfm``, ``.txt``), ANTs' ``GenericAffine.mat``, and composites with fields (``.h5``).

ITK's world is LPS, ours RAS; `flip_world` turns matrices, `cst_core.formats.itk_field` turns vectors. A composite of
ITK's applies the transform that was added last first; `cst_core.transform.Transform` applies its first part first.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from cst_core.errors import CstError, DataError
from cst_core.files import replace_atomically
from cst_core.formats.itk_field import from_itk, to_itk
from cst_core.formats.itk_trial import try_itk
from cst_core.transform import Transform, WorldAffine, WorldField

_TEXT = (".tfm", ".txt", ".mat")
_TITLE = b"#Insight"
_MATRIX = struct.Struct("<5i")  # of MATLAB's level 4: kind, rows, columns, whether complex, length of the name
_SINGLE = 10


def flip_world(matrix: Float64[Tensor, "4 4"]) -> Float64[Tensor, "4 4"]:
    """A map of RAS positions as the same map of LPS positions, or the other way round."""
    flip = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    return flip @ matrix @ flip


def write_itk_affine(path: Path, affine: WorldAffine) -> None:
    """An affine map as a file of ITK's, text or ``.mat`` by the name: LPS, double precision, centre 0."""
    _write(path, _to_itk(affine))


def write_itk_composite(path: Path, transform: Transform) -> None:
    """All parts in one file, ``.h5`` as a rule (text grows large with fields); fields on their own grids."""
    import SimpleITK

    composite = SimpleITK.CompositeTransform(3)
    for part in reversed(transform.parts):
        composite.AddTransform(_to_itk(part))
    _write(path, composite)


def read_itk_transform(path: Path) -> Transform:
    """Any of these files.

    Raises:
        DataError: damaged, or a transform that is neither linear nor a displacement field.
    """
    import SimpleITK

    data = path.read_bytes() if path.suffix in _TEXT else b""
    if not data or re.search(rb"Field|Spline", data):  # of text and .mat, those that hold more than a few numbers
        try_itk(path, "ReadTransform")
    if not _holds_what_it_promises(data):
        raise DataError(f"{path}: promises more numbers than it holds; write or copy it again")
    try:
        transform = SimpleITK.ReadTransform(str(path))
    except (RuntimeError, UnicodeDecodeError):  # the latter of a damaged name in SimpleITK's own message
        raise DataError(
            f"{path}: nothing that ITK reads as a transform, or a damaged file; write or copy it again"
        ) from None
    return Transform(tuple(_parts(path, transform)))


def _holds_what_it_promises(data: bytes) -> bool:
    """Whether no matrix of a ``.mat`` file is larger than the file; true of all others."""
    at = 0
    while not data.startswith(_TITLE) and at + _MATRIX.size <= len(data):
        kind, rows, columns, has_imaginary_part, name = _MATRIX.unpack_from(data, at)
        at += _MATRIX.size + name + rows * columns * (4 if kind == _SINGLE else 8)
        if min(rows, columns, name) < 0 or has_imaginary_part or at > len(data):
            return False
    return True


def _parts(path: Path, transform: Any) -> list[WorldAffine | WorldField]:
    transform = transform.Downcast()
    name = transform.GetName()
    if transform.GetDimension() != 3:
        raise DataError(f"{path}: must map 3 dimensions, found {transform.GetDimension()}; pass a 3-D transform")
    if name == "CompositeTransform":
        number = transform.GetNumberOfTransforms()
        return [part for i in reversed(range(number)) for part in _parts(path, transform.GetNthTransform(i))]
    if name == "DisplacementFieldTransform":
        return [from_itk(path, transform.GetDisplacementField())]
    if not transform.IsLinear():
        raise DataError(f"{path}: {name} is neither linear nor a displacement field; convert it to a field first")
    return [_linear(path, transform)]


def _linear(path: Path, transform: Any) -> WorldAffine:
    """Any linear transform of ITK's, whatever its parameters are: from the images of four points."""
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis, unit in enumerate(np.eye(3).tolist()):
        matrix[:3, axis] = np.array(transform.TransformPoint(unit)) - matrix[:3, 3]
    try:
        return WorldAffine(flip_world(torch.from_numpy(matrix)))
    except ValueError as error:
        raise DataError(f"{path}: cannot be used ({error}); make it again") from None


def _to_itk(part: WorldAffine | WorldField) -> Any:
    import SimpleITK

    if isinstance(part, WorldField):
        return SimpleITK.DisplacementFieldTransform(to_itk(part, np.float64))
    matrix = flip_world(part.matrix)
    affine = SimpleITK.AffineTransform(3)
    affine.SetMatrix(matrix[:3, :3].flatten().tolist())
    affine.SetTranslation(matrix[:3, 3].tolist())
    return affine


def _write(path: Path, transform: Any) -> None:
    import SimpleITK

    with replace_atomically(path, path.suffix) as partial:
        try:
            SimpleITK.WriteTransform(transform, str(partial))
        except RuntimeError:
            raise CstError(
                f"{path}: cannot be written; free space, choose another folder, or end the name with .h5 or .tfm"
            ) from None

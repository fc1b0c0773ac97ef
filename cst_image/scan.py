"""NIfTI scans, label maps and masks, read into one orientation: right, anterior, superior (RAS)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_core.formats.nifti import affine_of, check_millimetres, forms_note, open_nifti

EXTENSIONS = (".nii.gz", ".nii")
_MOST_LABELS = 2**15  # a label map with larger values is an intensity image


class Header(NamedTuple):
    """What a file says of its voxels before they are read."""

    path: Path
    grid: Grid
    """After the axes were turned towards right, anterior, superior (within 45 degrees, if the scan is oblique)."""
    axes: str
    """Where the file's own array axes run to: ``RAS`` if nothing is turned."""
    placed: bool
    """Whether the file says where it lies in the scanner's frame (sform or qform)."""
    note: str | None = None
    """What is to be said where sform and qform contradict each other."""


def inspect(path: Path) -> Header:
    """The header of one 3-D NIfTI file; no voxel is read. Axes of length 1 after the third are left out.

    Raises:
        DataError: no NIfTI file, not one number a voxel, not three axes, or an affine that is singular, sheared or in
            another unit than mm.
    """
    return _header(path, open_nifti(path))


def read_volume(path: Path) -> Float[Tensor, "X Y Z"]:
    """Intensities, scaled by the file's slope and intercept, float32, along RAS axes.

    Raises:
        DataError: as `inspect`; damaged data, NaN or infinity, or a constant volume.
    """
    values = _read(path)
    if bad := int((~np.isfinite(values)).sum()):
        raise DataError(f"{path}: voxels must be finite, found {bad} of {values.size} NaN or infinite; replace them")
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise DataError(f"{path}: intensities must differ, found {low:g} in every voxel; check or remove the file")
    return torch.from_numpy(values)


def read_labels(path: Path, image: Header) -> Integer[Tensor, "X Y Z"]:
    """A label map on its image's grid, along RAS axes: uint8, or int16 where there are labels above 255.

    Raises:
        DataError: as `inspect`; damaged data, another grid than the image's, values that are no labels, or no label.
    """
    check_grid(inspect(path), image)
    values = _read(path)
    good = (values >= 0) & (values < _MOST_LABELS) & (values == np.floor(values))
    if not good.all():
        found = f"{float(values[~good][0]):g} in {int((~good).sum())} voxels"
        raise DataError(
            f"{path}: labels must be whole numbers from 0 to {_MOST_LABELS - 1}, found {found}; "
            "resample label maps with nearest neighbours"
        )
    if not values.any():
        raise DataError(f"{path}: a label map must mark something, found 0 in every voxel; check or remove the file")
    return torch.from_numpy(values.astype(np.uint8 if values.max() < 256 else np.int16))


def read_mask(path: Path, image: Header) -> Bool[Tensor, "X Y Z"]:
    """Where the image has data (above 0.5), on its grid, along RAS axes.

    Raises:
        DataError: as `inspect`; damaged data, another grid than the image's, NaN or infinity, or an empty mask.
    """
    check_grid(inspect(path), image)
    values = _read(path)
    if bad := int((~np.isfinite(values)).sum()):
        raise DataError(f"{path}: a mask must be finite, found {bad} NaN or infinite voxels; write it again")
    if not (values > 0.5).any():
        raise DataError(f"{path}: a mask must mark something, found no voxel above 0.5; check or remove the file")
    return torch.from_numpy(values > 0.5)


def check_grid(header: Header, image: Header) -> None:
    """Raise DataError unless a label map or mask lies on the voxels of its image, to a hundredth of a millimetre."""
    if not header.grid.is_close(image.grid):
        wanted, found = (_described(one.grid) for one in (image, header))
        if wanted == found:
            wanted, found = (f"{_described(one.grid)} from {_corner(one.grid)}" for one in (image, header))
        raise DataError(
            f"{header.path}: must be on the voxels of {image.path.name}, {wanted}, found {found}; "
            "resample it to its image"
        )


def _described(grid: Grid) -> str:
    return f"{_times(grid.shape)} of {_times(round(s, 4) for s in grid.spacing)} mm"


def _corner(grid: Grid) -> str:
    return f"({', '.join(f'{value:.2f}' for value in grid.affine[:3, 3].tolist())}) mm"


def _times(numbers: Any) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def _header(path: Path, image: Any) -> Header:
    import nibabel

    dtype = image.get_data_dtype()
    if dtype.fields is not None or dtype.kind not in "iuf":
        kind = "RGB" if dtype.fields is not None else dtype.name
        raise DataError(f"{path}: must hold one real number a voxel, found {kind}; convert it to grey values")
    shape = image.shape[:3]
    if len(shape) < 3 or set(image.shape[3:]) - {1}:
        raise DataError(f"{path}: must be one 3-D volume, found the shape {image.shape}; extract one volume")
    if min(shape) < 2:
        raise DataError(f"{path}: needs at least 2 voxels along each axis, found the shape {shape}; pass a volume")
    check_millimetres(path, image)
    affine = affine_of(path, image)
    turn = nibabel.orientations.io_orientation(affine)
    affine = affine @ nibabel.orientations.inv_ornt_aff(turn, shape)
    shape = [shape[int(axis)] for axis in np.argsort(turn[:, 0])]
    try:
        grid = Grid.from_affine(shape, affine)
    except ValueError as error:  # gantry tilt, or an affine registration that was written into the header
        raise DataError(
            f"{path}: cannot be used as it lies ({error}); resample it to a grid of orthogonal axes"
        ) from None
    placed = int(image.header["sform_code"]) > 0 or int(image.header["qform_code"]) > 0
    return Header(path, grid, "".join(nibabel.aff2axcodes(image.affine)), placed, forms_note(path, image))


def _read(path: Path) -> Float[np.ndarray, "X Y Z"]:
    import nibabel

    image = open_nifti(path)
    _header(path, image)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, which the caller refuses
            values = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # truncated or damaged gzip streams raise many unrelated types
        raise DataError(f"{path}: voxels cannot be read ({type(error).__name__}); write or copy it again") from None
    turn = nibabel.orientations.io_orientation(image.affine)
    values = nibabel.orientations.apply_orientation(values.reshape(values.shape[:3]), turn)
    return np.ascontiguousarray(values)

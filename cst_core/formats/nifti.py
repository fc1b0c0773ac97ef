"""NIfTI files as they lie: their own array axes, their own stored numbers, and where that is in the world."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_core.files import replace_atomically
from cst_core.formats.numpy_archive import DEFLATE_LIMIT

FORMS_APART = 0.1
"""Of a voxel: sform and qform that put a voxel further apart than this are two different places."""
_NOT_MM = {1: "metres", 3: "micrometres"}  # codes of the header's unit of length


class Volume(NamedTuple):
    """A scan or label map, as stored."""

    values: np.ndarray
    """``(X, Y, Z)``, in the file's own data type; times ``slope`` plus ``intercept`` gives what is meant."""
    slope: float
    intercept: float
    grid: Grid

    @property
    def is_scaled(self) -> bool:
        """Whether the stored numbers are not what is meant."""
        return (self.slope, self.intercept) != (1.0, 0.0)


def open_nifti(path: Path) -> Any:
    """A nibabel image whose voxels are not read yet; the file is large enough to hold them.

    Raises:
        DataError: no such file, no NIfTI file, or one that cannot hold what its header promises.
    """
    import nibabel

    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        image = nibabel.load(path, keep_file_open=True)
    except Exception as error:  # nibabel raises many unrelated types on damaged bytes
        raise DataError(f"{path}: no readable NIfTI file ({type(error).__name__}); write or copy it again") from None
    if not isinstance(image, nibabel.Nifti1Image):
        raise DataError(f"{path}: must be NIfTI (.nii, .nii.gz), found {type(image).__name__}; convert it")
    _check_size(path, image)
    return image


def check_millimetres(path: Path, image: Any) -> None:
    """Raise DataError where the header of a nibabel image states another unit of length."""
    unit = _NOT_MM.get(int(image.header["xyzt_units"]) & 7)
    if unit is not None:
        raise DataError(f"{path}: must be in mm, found {unit} in its header; convert spacing and affine")


def affine_of(path: Path, image: Any) -> np.ndarray:
    """Voxels to world, RAS mm, ``(4, 4)`` float64; every axis has a size and a direction.

    Raises:
        DataError: it is singular, or so nearly that the axes cannot be told from one another.
    """
    import nibabel

    affine = np.asarray(image.affine, dtype=np.float64)
    with np.errstate(all="ignore"):
        singular = not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > 1e-9
        if singular or np.isnan(nibabel.orientations.io_orientation(affine)).any():
            raise DataError(
                f"{path}: the affine must give every axis a voxel size, found {affine.tolist()}; correct it"
            )
    return affine


def forms_note(path: Path, image: Any) -> str | None:
    """What is to be said of a file whose sform and qform put its voxels at different places; None where they agree.

    The sform counts here, as for nibabel and most of neuroimaging; ITK takes the qform of some such files, as its
    reader prefers the one that says that it is the scanner's.
    """
    header = image.header
    if not (int(header["sform_code"]) > 0 and int(header["qform_code"]) > 0):
        return None
    corners = np.array([(x, y, z, 1.0) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    corners[:, :3] *= np.array(image.shape[:3]) - 1
    sform = header.get_sform()
    try:
        qform = header.get_qform()
    except ValueError:  # as nobody has needed it so far, it may be damaged
        qform = np.full((4, 4), np.nan)
    if not np.isfinite(qform).all():
        return f"{path.name}: its qform is damaged; the sform counts here, other programs may refuse the file"
    apart = float(np.linalg.norm(corners @ (sform - qform).T, axis=1).max())
    if not apart > FORMS_APART * float(np.linalg.norm(sform[:3, :3], axis=0).min()):
        return None
    return (
        f"{path.name}: its sform and qform lie {apart:.3g} mm apart; the sform counts here, other programs may take "
        "the qform: make them one (nibabel: image.set_qform(image.affine, code=1))"
    )


def forms_notes(*paths: Path | None) -> list[str]:
    """`forms_note` of files that can be opened; None is a file that was not given."""
    notes = (forms_note(path, open_nifti(path)) for path in paths if path is not None)
    return [note for note in notes if note is not None]


def grid_of(path: Path, image: Any) -> Grid:
    """The grid of the first three axes, along the file's own axes.

    Raises:
        DataError: another unit than mm, a singular or a sheared affine.
    """
    check_millimetres(path, image)
    affine = affine_of(path, image)
    try:
        return Grid.from_affine(image.shape[:3], affine)
    except ValueError as error:  # gantry tilt, or an affine registration that was written into the header
        raise DataError(
            f"{path}: cannot be used as it lies ({error}); resample it to a grid of orthogonal axes"
        ) from None


def read_grid(path: Path) -> Grid:
    """Where the voxels of a scan lie; none of them is read.

    Raises:
        DataError: as `open_nifti` and `grid_of`, or not one 3-D volume.
    """
    image = open_nifti(path)
    _check_volume(path, image)
    return grid_of(path, image)


def read_volume(path: Path) -> Volume:
    """A scan or label map in the data type that it is stored in.

    Raises:
        DataError: as `read_grid`; colours or complex numbers, damaged data, NaN or infinity.
    """
    image = open_nifti(path)
    _check_volume(path, image)
    dtype = image.get_data_dtype()
    if dtype.fields is not None or dtype.kind not in "iuf":
        kind = "RGB" if dtype.fields is not None else dtype.name
        raise DataError(f"{path}: must hold one real number a voxel, found {kind}; convert it to grey values")
    grid = grid_of(path, image)
    try:
        values = image.dataobj.get_unscaled()
    except Exception as error:  # truncated or damaged gzip streams raise many unrelated types
        raise DataError(f"{path}: voxels cannot be read ({type(error).__name__}); write or copy it again") from None
    values = np.asarray(values).reshape(image.shape[:3], order="F")
    if values.dtype.kind == "f":
        for index in range(values.shape[2]):  # plane by plane: no second array as large as the scan
            if bad := int((~np.isfinite(values[..., index])).sum()):
                raise DataError(
                    f"{path}: voxels must be finite, found {bad} NaN or infinite ones in plane {index}; replace them"
                )
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    return Volume(values, float(slope), float(intercept), grid)


def save_nifti(path: Path, image: Any) -> None:
    """Write a nibabel image, compressed if the name ends with ``.gz``; it appears under its name when complete."""
    with replace_atomically(path) as partial, partial.open("wb") as stream:
        if not path.name.endswith(".gz"):
            image.to_stream(stream)
            return
        # neither name nor time in it: the same content makes the same file
        with gzip.GzipFile("", "wb", compresslevel=1, fileobj=stream, mtime=0) as compressed:
            image.to_stream(compressed)


def placed(values: np.ndarray, grid: Grid) -> Any:
    """A nibabel image on ``grid``: in mm, with sform and qform."""
    import nibabel

    affine = grid.affine.numpy()
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    return image


def _check_size(path: Path, image: Any) -> None:
    """Before anything of that size is allocated."""
    there = path.stat().st_size * (1 if path.suffix == ".nii" else DEFLATE_LIMIT)
    promised = math.prod(map(int, image.shape)) * image.get_data_dtype().itemsize
    if path.suffix in (".nii", ".gz") and promised > there:
        raise DataError(
            f"{path}: voxels cannot be read (the header promises {promised} bytes, the file can hold {there}); "
            "write or copy it again"
        )


def _check_volume(path: Path, image: Any) -> None:
    if len(image.shape) < 3 or set(image.shape[3:]) - {1} or min(image.shape[:3]) < 1:
        raise DataError(f"{path}: must be one 3-D volume, found the shape {image.shape}; extract one volume")

"""CT volumes and what comes with them, read into one orientation: right, anterior, superior (RAS)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from cst_core.errors import DataError
from cst_core.formats.nifti import affine_of, open_nifti


class Scan(NamedTuple):
    """A CT whose array axes run towards right, anterior, superior (within 45 degrees, if the scan is oblique)."""

    values: Float[np.ndarray, "X Y Z"]
    """Hounsfield units."""
    affine: Float[np.ndarray, "4 4"]
    """Voxel index to mm in the scanner's RAS frame."""

    @property
    def spacing(self) -> Float[np.ndarray, " 3"]:
        """mm along the array's axes."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def along_axes(self, points: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "L 3"]:
        """Points in mm of the scanner's frame -> mm along the array's axes from the first voxel's centre."""
        return (points - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T * self.spacing

    def in_scanner(self, points: Float[np.ndarray, "L 3"]) -> Float[np.ndarray, "L 3"]:
        """The way back of `along_axes`."""
        return points / self.spacing @ self.affine[:3, :3].T + self.affine[:3, 3]


def read_scan(path: Path, dirlab: str | None = None) -> Scan:
    """A CT from NIfTI, or one of DIR-Lab's raw volumes (``copd3``), with axes right, anterior, superior.

    Raises:
        DataError: a file that cannot be read, is no 3-D volume, or holds NaN or infinity.
    """
    import nibabel

    if dirlab is not None:
        from cst_points import dirlab as raw

        image = nibabel.Nifti1Image(raw.read_volume(path, dirlab), raw.header(dirlab).affine)
    else:
        image = open_nifti(path)
    return _canonical(path, image)


def _canonical(path: Path, image: Any) -> Scan:
    import nibabel

    if len(image.shape) != 3:
        raise DataError(f"{path}: must be a 3-D volume, found shape {image.shape}; extract one volume")
    affine_of(path, image)
    try:
        image = nibabel.as_closest_canonical(image)
        values = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # truncated or damaged gzip streams raise many unrelated types
        raise DataError(f"{path}: voxels cannot be read ({type(error).__name__}); write or copy it again") from None
    if not np.isfinite(values).all():
        raise DataError(
            f"{path}: voxels must be finite, found {int((~np.isfinite(values)).sum())} NaN or infinite ones"
        )
    return Scan(values, np.asarray(image.affine, dtype=np.float64))


def read_mask(path: Path, scan: Scan) -> Bool[np.ndarray, "X Y Z"]:
    """A lung mask (above 0.5: lung) on the scan's grid.

    Raises:
        DataError: as `read_scan`; also a mask on another grid, or an empty one.
    """
    mask = read_scan(path)
    if mask.values.shape != scan.values.shape or not np.allclose(mask.affine, scan.affine, atol=0.01):
        found = f"{mask.values.shape} of {np.round(mask.spacing, 3).tolist()} mm"
        wanted = f"{scan.values.shape} of {np.round(scan.spacing, 3).tolist()} mm"
        raise DataError(f"{path}: the mask must be on its volume's grid, {wanted}, found {found}; resample the mask")
    inside = mask.values > 0.5
    if not inside.any():
        raise DataError(f"{path}: the mask must mark the lungs, found no voxel above 0.5; check the file")
    return inside


def read_points(path: Path, dirlab: str | None = None) -> Float[np.ndarray, "L 3"]:
    """Landmarks of one scan in mm of its RAS frame: a CSV of x, y, z in mm, or DIR-Lab's text file in voxels from 1."""
    if dirlab is not None:
        from cst_points import dirlab as raw

        return raw.read_landmarks(path, dirlab)
    from cst_points.formats import read_cloud

    return read_cloud(path).double().numpy()


def resample(
    values: Float[np.ndarray, "X Y Z"] | Bool[np.ndarray, "X Y Z"],
    spacing: Float[np.ndarray, " 3"],
    target: tuple[float, float, float],
) -> Float[np.ndarray, "X2 Y2 Z2"]:
    """Linear resampling to another voxel size, float32; the first voxel's centre stays, so mm along the axes do too.

    Axes that become coarser are smoothed before, with a Gaussian of half the excess, in voxels.
    """
    from scipy import ndimage

    ratio = np.asarray(target) / spacing
    shape = tuple(int(n) for n in np.floor((np.array(values.shape) - 1) / ratio + 1e-6) + 1)
    smooth = ndimage.gaussian_filter(values.astype(np.float32), np.maximum(ratio - 1, 0) / 2, mode="nearest")
    return ndimage.affine_transform(smooth, np.diag(ratio), output_shape=shape, order=1, mode="nearest")

"""Förstner keypoints: places in a volume that differ from their surroundings in every direction."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import structure_tensor
from skimage.measure import label

Volume = NDArray[np.float32]


def foerstner_keypoints(
    volume: Float[np.ndarray, "X Y Z"],
    mask: Bool[np.ndarray, "X Y Z"],
    spacing: tuple[float, float, float],
    sigma_mm: float = 2.0,
    radius_mm: float = 3.5,
    erosion_mm: float = 2.0,
    threshold: float = 1e-4,
    limit: int = 4096,
) -> Float[np.ndarray, "N 3"]:
    """Local maxima of the distinctiveness inside the mask, strongest first; N may be 0 and is at most ``limit``.

    Args:
        volume: intensities in any unit; finite.
        mask: where keypoints may lie.
        spacing: voxel size along the array's axes, mm.
        sigma_mm: of the Gaussian that averages the structure tensor, mm.
        radius_mm: half the box, per axis, in which a keypoint must be the maximum, mm.
        erosion_mm: keypoints keep at least this distance from everything outside the mask, mm.
        threshold: the weakest keypoint, as a fraction of the strongest response inside the eroded mask, in [0, 1].
        limit: the strongest this many are kept.

    Returns:
        Coordinates in mm along the array's axes, from the centre of voxel (0, 0, 0); float32, ``(N, 3)``.

    Source: Förstner and Gülch 1987; with non-maximum suppression on lung CT as in Sec. 3 of the paper.
    """
    response = distinctiveness(volume, spacing, sigma_mm)
    inner = eroded(mask, spacing, erosion_mm)
    if not inner.any():
        return np.zeros((0, 3), dtype=np.float32)
    # 1. maxima over the whole volume, so that a slope which the mask cuts off makes no keypoint
    size = [2 * max(1, round(radius_mm / step)) + 1 for step in spacing]
    floor = max(threshold * float(response[inner].max()), float(np.finfo(np.float32).tiny))
    maxima = (response == ndimage.maximum_filter(response, size=size)) & inner & (response > floor)
    # 2. one keypoint a plateau, then the strongest; equal ones in the array's order
    index = _one_each(maxima)
    strength = response[tuple(index.T)]
    strongest = np.argsort(-strength, kind="stable")[:limit]
    return (index[strongest] * np.asarray(spacing)).astype(np.float32)


def eroded(
    mask: Bool[np.ndarray, "X Y Z"], spacing: tuple[float, float, float], distance_mm: float
) -> Bool[np.ndarray, "X Y Z"]:
    """The mask's voxels farther than ``distance_mm`` from every voxel outside it; the array's border is no outside."""
    if mask.all():
        return mask
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing)) > distance_mm


def distinctiveness(
    volume: Float[np.ndarray, "X Y Z"], spacing: tuple[float, float, float], sigma_mm: float
) -> Float[np.ndarray, "X Y Z"]:
    """1 / trace(inverse of the structure tensor), float32, at least 0; gradients per mm, average over ``sigma_mm``.

    The structure tensor's inverse is the covariance of a match's position: the smaller its trace, the better the
    place can be found again. For a symmetric 3x3 matrix the trace of the inverse is the sum of the principal 2x2
    minors over the determinant, so that nothing is inverted.
    """
    scale = float(np.abs(volume - volume.mean()).max()) or 1.0  # the products of six gradients must fit into float32
    sigma = tuple(sigma_mm / step for step in spacing)
    tensor = structure_tensor((volume / scale).astype(np.float32), sigma, mode="nearest")  # pyright: ignore[reportArgumentType]
    x, y, z = spacing
    units = (x * x, x * y, x * z, y * y, y * z, z * z)
    xx, xy, xz, yy, yz, zz = (part / np.float32(unit) for part, unit in zip(tensor, units, strict=True))
    minors = (yy * zz - yz * yz) + (xx * zz - xz * xz) + (xx * yy - xy * xy)
    determinant = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    solid = (minors > 0) & (determinant > 0)
    return np.divide(determinant, minors, out=np.zeros_like(minors), where=solid)


def _one_each(maxima: Bool[np.ndarray, "X Y Z"]) -> NDArray[np.intp]:
    """The first voxel of every connected set, ``(N, 3)``, in the array's order."""
    labels = np.asarray(label(maxima, connectivity=3))
    index = np.argwhere(maxima)
    _, first = np.unique(labels[maxima], return_index=True)
    return index[np.sort(first)]

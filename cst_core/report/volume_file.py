"""Volumes from NIfTI files, reduced to what a page can show, in the orientation right, anterior, superior.

A file is read a few slices at a time: a large scan needs no more memory than its reduced copy and a slab.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, Shaped
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from cst_core.errors import DataError
from cst_core.formats.nifti import grid_of, open_nifti

How = Literal["mean", "least", "nearest"]
_REDUCE = {"mean": np.mean, "least": np.min}
_LPS = np.array([-1.0, -1.0, 1.0], dtype=np.float32)  # to RAS and back


class Header(NamedTuple):
    """What a file says before its voxels are read."""

    shape: tuple[int, int, int]
    affine: Float64[np.ndarray, "4 4"]
    """Voxel to RAS, mm."""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm along each array axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def tilt(self) -> float:
        """Degrees between the array axes and the nearest anatomical ones."""
        directions = self.affine[:3, :3] / np.asarray(self.spacing)
        return math.degrees(math.acos(min(1.0, float(np.abs(directions).max(axis=0).min()))))


class Volume(NamedTuple):
    """Reduced voxels, array axes nearest to right, anterior, superior."""

    values: Shaped[np.ndarray, "X Y Z *C"]
    affine: Float64[np.ndarray, "4 4"]
    """Voxel to RAS, mm."""


def read_header(path: Path) -> Header:
    """Raises `DataError` where there is no readable NIfTI volume."""
    image = _open(path)
    x, y, z = (*image.shape[:3], 1, 1, 1)[:3]
    return Header((x, y, z), np.asarray(image.affine, dtype=np.float64))


def reduction(shape: Sequence[int], spacing: Sequence[float], most: float) -> tuple[int, int, int]:
    """Voxels to merge along each axis, so that about cubes of at most ``most`` voxels remain."""
    target = min(spacing)
    while True:
        x, y, z = (min(n, max(1, round(target / s))) for n, s in zip(shape, spacing, strict=True))
        if (shape[0] // x) * (shape[1] // y) * (shape[2] // z) <= most:
            return x, y, z
        target *= 1.05


def read_volume(path: Path, factors: Sequence[int], how: How) -> Volume:
    """Values of a scan or label map; ``factors`` along the file's own axes.

    Raises:
        DataError: it cannot be read.
    """
    image = _open(path)
    return _canonical(_reduced(path, image, factors, how, ()), _shifted(image.affine, factors))


def read_vectors(path: Path, factors: Sequence[int]) -> Volume:
    """An ITK displacement field, ``(X, Y, Z, 3)``; its LPS components are turned into RAS, mm.

    Raises:
        DataError: it cannot be read, or holds no vectors.
    """
    image = _open(path)
    if image.shape[-1] != 3 or len(image.shape) not in (4, 5):
        raise DataError(f"{path}: must hold three components a voxel, its shape is {image.shape}; write it again")
    last = [(c,) if len(image.shape) == 4 else (0, c) for c in range(3)]
    parts = [_reduced(path, image, factors, "nearest", at) for at in last]
    return _canonical(np.stack(parts, axis=-1) * _LPS, _shifted(image.affine, factors))


def _open(path: Path) -> Any:
    image = open_nifti(path)
    if len(image.shape) < 3 or min(image.shape) < 1:
        raise DataError(f"{path}: must have three axes or more, found the shape {image.shape}; write it again")
    grid_of(path, image)
    return image


def _reduced(path: Path, image: Any, factors: Sequence[int], how: How, last: tuple[int, ...]) -> np.ndarray:
    rest = last or (0,) * (len(image.shape) - 3)
    try:
        return np.stack([_slab(slab, factors, how) for slab in _slabs(image, factors[2], rest)], axis=-1)
    except Exception as error:  # truncated or damaged gzip streams raise many unrelated types
        raise DataError(f"{path}: voxels cannot be read ({type(error).__name__}); write or copy it again") from None


def _slabs(image: Any, thickness: int, rest: tuple[int, ...]) -> Iterator[np.ndarray]:
    for start in range(0, image.shape[2] - thickness + 1, thickness):
        yield np.asarray(image.dataobj[(slice(None), slice(None), slice(start, start + thickness), *rest)])


def _slab(slab: np.ndarray, factors: Sequence[int], how: How) -> np.ndarray:
    if how == "nearest":
        return slab[factors[0] // 2 :: factors[0], factors[1] // 2 :: factors[1], factors[2] // 2][
            : slab.shape[0] // factors[0], : slab.shape[1] // factors[1]
        ]
    x, y = (n // f for n, f in zip(slab.shape, factors[:2], strict=False))
    blocks = slab[: x * factors[0], : y * factors[1]].reshape(x, factors[0], y, factors[1], factors[2])
    return _REDUCE[how](blocks.astype(np.float32, copy=False), axis=(1, 3, 4))


def _shifted(affine: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    reduced = np.diag([*map(float, factors), 1.0])
    reduced[:3, 3] = (np.asarray(factors) - 1) / 2
    return np.asarray(affine, dtype=np.float64) @ reduced


def _canonical(values: np.ndarray, affine: np.ndarray) -> Volume:
    orientation = io_orientation(affine)
    turned = affine @ inv_ornt_aff(orientation, values.shape[:3])
    return Volume(np.ascontiguousarray(apply_orientation(values, orientation)), turned)

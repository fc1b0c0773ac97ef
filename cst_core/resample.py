"""Images and label maps of the moving scan, brought onto a reference grid in blocks.

    a fixed voxel  x  ───── T ─────▶  y = T(x)  in the moving scan
    warped(x)  ◀────── value at y ──────┘

The value is looked up where the transform *leads*, so the image travels against the arrow; points travel with it.
Blocks are ranges of the reference grid's third axis, of about half a million voxels; of the moving scan only the part
that a block meets is turned into floating numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from torch import Tensor

from cst_core.field import Grid, sample
from cst_core.formats.itk_field import FieldFile
from cst_core.formats.nifti import Volume
from cst_core.label_maps import sample_labels
from cst_core.transform import Transform
from cst_core.world_grid import is_inside, slab_points, slabs, to_indices

Interpolation = Literal["linear", "nearest", "label"]
PointsOf = Callable[[int, int], Tensor]
"""A range of the third axis -> where its voxels lie in the moving world: ``(N, 3)`` RAS mm, third index fastest."""


class Resampled(NamedTuple):
    """A volume on its reference grid."""

    values: Shaped[np.ndarray, "X Y Z"]
    inside_share: float
    """Of the reference grid's voxels, those that lie within the moving scan."""


def by_transform(transform: Transform, grid: Grid) -> PointsOf:
    """Where the voxels of ``grid`` are led."""
    return lambda start, stop: transform.map(slab_points(grid, start, stop))


def by_file(field: FieldFile) -> PointsOf:
    """The same for a field on its own grid, which is then read block by block."""

    def points_of(start: int, stop: int) -> Tensor:
        return slab_points(field.grid, start, stop) + field.slab(start, stop).reshape(3, -1).T

    return points_of


def resample(
    moving: Volume, points_of: PointsOf, grid: Grid, interpolation: Interpolation = "linear", outside: float = 0.0
) -> Resampled:
    """``moving`` on ``grid``.

    Whole numbers that are stored unscaled keep their data type, and are rounded and clipped to it; all else becomes
    float32. ``linear`` and ``nearest`` are ITK's: values belong to the moving scan up to half a voxel beyond its
    outermost voxel centres. ``label`` interpolates every label on its own and takes the largest; on ties the smaller
    label.

    Args:
        moving: as stored.
        points_of: where the voxels of ``grid`` lie in the moving world.
        grid: the reference.
        interpolation: how values between voxels are found.
        outside: what stands where there is no moving scan; clipped to the data type.
    """
    keeps = moving.values.dtype.kind in "iu" and not moving.is_scaled
    dtype = moving.values.dtype.newbyteorder("=") if keeps else np.dtype(np.float32)
    values = np.full(grid.shape, _cast(np.array([outside]), dtype)[0], dtype=dtype)
    number = 0
    for start, stop in slabs(grid.shape):
        index = to_indices(moving.grid, points_of(start, stop))
        inside = is_inside(index, moving.grid.shape)
        if bool(inside.any()):
            number += int(inside.sum())
            found = _LOOK_UP[interpolation](moving, index[inside])
            block = values[:, :, start:stop].reshape(-1)
            block[inside.numpy()] = _cast(found, dtype)
            values[:, :, start:stop] = block.reshape(*grid.shape[:2], -1)
    return Resampled(values, number / values.size)


def default_outside(moving: Volume, interpolation: Interpolation) -> float:
    """The scan's minimum (air, for CT); 0 where a label map is meant: ``label``, or ``nearest`` without negatives."""
    low = float(moving.values.min() if moving.slope >= 0 else moving.values.max()) * moving.slope + moving.intercept
    return low if interpolation == "linear" or low < 0 else 0.0


def _linear(moving: Volume, index: Float64[Tensor, "N 3"]) -> Float64[np.ndarray, "N"]:
    part, steps = _part(moving, index)
    return _meant(moving, sample(_floating(part)[None], steps, (1.0, 1.0, 1.0))[0].double().numpy())


def _nearest(moving: Volume, index: Float64[Tensor, "N 3"]) -> Float64[np.ndarray, "N"]:
    # halves go up, as in ITK
    x, y, z = (
        (index[:, axis] + 0.5).floor().long().clamp(0, n - 1).numpy() for axis, n in enumerate(moving.grid.shape)
    )
    return _meant(moving, moving.values[x, y, z].astype(np.float64))


def _label(moving: Volume, index: Float64[Tensor, "N 3"]) -> Float64[np.ndarray, "N"]:
    part, steps = _part(moving, index)
    return _meant(moving, sample_labels(_floating(part), steps, (1.0, 1.0, 1.0)).double().numpy())


_LOOK_UP: dict[Interpolation, Callable[[Volume, Tensor], np.ndarray]] = {
    "linear": _linear,
    "nearest": _nearest,
    "label": _label,
}


def _part(moving: Volume, index: Float64[Tensor, "N 3"]) -> tuple[np.ndarray, Tensor]:
    """The box of stored voxels that the indices lie between, and the indices within it: ``(3, N)`` float32."""
    low = index.amin(0).floor().long().clamp(min=0)
    high = torch.minimum(index.amax(0).floor().long() + 2, torch.tensor(moving.grid.shape))
    low = torch.minimum(low, high - 1)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return np.ascontiguousarray(moving.values[box]), (index - low).T.float()


def _floating(part: np.ndarray) -> Tensor:
    """In single precision where that holds every number."""
    exact = part.dtype.itemsize <= 2 or part.dtype == np.float32
    return torch.from_numpy(part.astype(np.float32 if exact else np.float64))


def _meant(moving: Volume, stored: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N"]:
    return stored * moving.slope + moving.intercept if moving.is_scaled else stored


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.rint(values).clip(limits.min, limits.max).astype(dtype)

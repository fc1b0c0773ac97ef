"""Bringing a volume or a label map from the grid of its scan onto another: copied where possible, else resampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Shaped
from scipy import ndimage
from torch import Tensor

from cst_core.field import Grid, Mode, sample

SMOOTHED_FROM = 1.5
"""Voxels of the scan per voxel of the target beyond which the scan is smoothed first."""
_WHOLE = 0.02  # voxels, over the whole grid: what headers in single precision are off

_EDGE = 1e-3  # voxels, by which rounding may put a voxel beyond the face on which it lies


class Placed(NamedTuple):
    """A volume on its target grid."""

    volume: Shaped[Tensor, "X Y Z"]
    mask: Bool[Tensor, "X Y Z"] | None
    """Where it has data; None: everywhere."""


def place(
    volume: Shaped[Tensor, "A B C"],
    scan: Grid,
    target: Grid,
    mode: Mode = "linear",
    mask: Bool[Tensor, "A B C"] | None = None,
    fill: float = 0.0,
    through: Float64[Tensor, "4 4"] | None = None,
) -> Placed:
    """``volume``, on ``scan``, as it appears on ``target``, by the world positions of both.

    Where they differ by whole voxels alone, values are copied. Else they are resampled, after a Gaussian of half the
    excess, in voxels, along axes that become more than 1.5 times coarser (not for mode ``nearest``).

    Args:
        volume: floating for ``linear``; label maps need ``nearest``.
        scan: its grid.
        target: where it is wanted.
        mode: of the interpolation.
        mask: where the volume has data; None: everywhere.
        fill: what stands where there is no data.
        through: an affine map, RAS mm, from the target's world to the scan's; None: they are one.
    """
    index_map = _index_map(scan, target, through)
    offset = _whole(index_map, target.shape)
    if offset is not None:
        moved = _shifted(volume, offset, target.shape, fill)
        known = torch.ones(scan.shape, dtype=torch.bool, device=volume.device) if mask is None else mask
        inside = _shifted(known, offset, target.shape, 0.0)
    else:
        index = _indices(index_map, target.shape).to(volume.device)
        inside = torch.stack(
            [(i > -0.5 - _EDGE) & (i < n - 0.5 + _EDGE) for i, n in zip(index, scan.shape, strict=True)]
        )
        inside = inside.all(0)
        points = index * index.new_tensor(scan.spacing)[:, None, None, None]
        if mask is not None:
            inside &= sample(mask[None], points, scan.spacing, "nearest")[0]
        source = _smoothed(volume, index_map) if mode == "linear" else volume
        moved = sample(source[None], points, scan.spacing, mode)[0]
    if bool(inside.all()):
        return Placed(moved, None)
    moved[~inside] = fill
    return Placed(moved, inside)


def whole_offset(scan: Grid, target: Grid) -> tuple[int, int, int] | None:
    """The voxel of ``scan`` on which the first voxel of ``target`` lies; None if ``target`` is no shift by voxels."""
    return _whole(_index_map(scan, target), target.shape)


def describe(grids: Iterable[tuple[Grid, Grid]]) -> str:
    """How many of the (scan, target) are padded, cropped or resampled, for people; empty if none is."""
    count = Counter[str]()
    for scan, target in grids:
        index_map = _index_map(scan, target)
        size, last = (torch.tensor(one.shape, dtype=torch.float64) for one in (scan, target))
        ends = [index_map[:3, :3] @ index + index_map[:3, 3] for index in (torch.zeros_like(last), last - 1)]
        low, high = torch.minimum(*ends), torch.maximum(*ends)  # voxel centres
        face = 0.5 * index_map[:3, :3].abs().sum(1)
        count["padded"] += bool((low < -0.5 - _WHOLE).any() or (high > size - 0.5 + _WHOLE).any())
        count["cropped"] += bool((low - face > _WHOLE).any() or (high + face < size - 1 - _WHOLE).any())
        count["resampled"] += whole_offset(scan, target) is None
    return ", ".join(f"{number} {what}" for what, number in count.items() if number)


def _whole(index_map: Float[Tensor, "4 4"], shape: tuple[int, int, int]) -> tuple[int, int, int] | None:
    x, y, z = (round(value) for value in index_map[:3, 3].tolist())
    whole = torch.eye(4, dtype=torch.float64)
    whole[:3, 3] = torch.tensor([x, y, z], dtype=torch.float64)
    # over the target's extent
    error = (index_map - whole).abs() @ torch.tensor([*shape, 1.0], dtype=torch.float64)
    return (x, y, z) if bool(error.max() < _WHOLE) else None


def _index_map(scan: Grid, target: Grid, through: Float[Tensor, "4 4"] | None = None) -> Float[Tensor, "4 4"]:
    """Voxel indices of ``target`` to those of ``scan``."""
    return torch.linalg.solve(scan.affine, target.affine if through is None else through @ target.affine)


def _indices(index_map: Float[Tensor, "4 4"], shape: tuple[int, int, int]) -> Float[Tensor, "3 X Y Z"]:
    """Where each voxel of a target of ``shape`` lies, in voxels of the scan."""
    parts = [
        [index_map[row, axis] * torch.arange(n, dtype=torch.float64) for axis, n in enumerate(shape)]
        for row in range(3)
    ]
    return torch.stack(
        [(x[:, None, None] + y[:, None] + z + index_map[row, 3]).float() for row, (x, y, z) in enumerate(parts)]
    )


def _shifted(volume: Tensor, offset: tuple[int, int, int], shape: tuple[int, int, int], fill: float) -> Tensor:
    moved = volume.new_full(shape, fill)
    spans = [
        (max(0, -start), min(new, old - start)) for start, old, new in zip(offset, volume.shape, shape, strict=True)
    ]
    if all(low < high for low, high in spans):
        here = tuple(slice(low, high) for low, high in spans)
        there = tuple(slice(low + start, high + start) for (low, high), start in zip(spans, offset, strict=True))
        moved[here] = volume[there]
    return moved


def _smoothed(volume: Tensor, index_map: Tensor) -> Tensor:
    ratio = torch.linalg.vector_norm(index_map[:3, :3], dim=1)
    if bool((ratio <= SMOOTHED_FROM).all()):
        return volume
    sigma = torch.where(ratio > SMOOTHED_FROM, (ratio - 1) / 2, 0.0).tolist()
    smooth = ndimage.gaussian_filter(volume.cpu().numpy(), sigma, mode="nearest")
    return torch.from_numpy(smooth).to(volume)

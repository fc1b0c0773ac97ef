"""The one grid on which all scans of a data set are registered, and how a scan comes onto it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_image.config import ImageConfig

LEAST_OVERLAP = 0.25
"""Of the smaller of two fields of view, for a pair that is aligned by its headers."""
MOST_EMPTY = 8
"""How many times larger than the largest scan a grid over all scans may be."""
_SAME = 1e-3  # relative, between spacings that count as equal: what headers in single precision differ by
_SLACK = 0.01  # voxels, by which a face may miss a voxel's border


class Size(NamedTuple):
    """Of the working grid."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    """mm."""


def working_grids(scans: Mapping[str, Grid], config: ImageConfig) -> dict[str, Grid]:
    """For every scan the grid that it is brought to; all have one shape and one spacing.

    ``centre``: the middle of the field of view becomes that of the working grid, to a voxel: where the spacing is kept,
    so is every value. The grid of a scan lies in that scan's own world, along its own axes: how these are turned
    against those of another scan does not count. ``world``: one grid for all, along the first scan's axes and, where
    the spacing is kept, on its voxels; without ``config.shape`` it covers all scans.

    Raises:
        DataError: scans of different spacings and no ``config.spacing``, a scan that the grid does not meet, or scans
            so far apart that a grid over all would be mostly empty.
    """
    if config.alignment == "world":
        return _world_grids(scans, config)
    size = working_size(scans, config)
    return {id: centred(grid, size) for id, grid in scans.items()}


def working_size(scans: Mapping[str, Grid], config: ImageConfig) -> Size:
    """`ImageConfig.spacing`, or that of all scans; `ImageConfig.shape`, or the largest extent along every axis.

    Raises:
        DataError: spacings differ and ``config.spacing`` is not set.
    """
    spacing = _common_spacing(scans, config)
    if config.shape is not None:
        return Size(config.shape, spacing)
    sizes = [_covering(grid, spacing) for grid in scans.values()]
    x, y, z = (max(size) for size in zip(*sizes, strict=True))
    return Size((x, y, z), spacing)


def centred(scan: Grid, size: Size) -> Grid:
    """The grid of ``size`` about the middle of ``scan``, along its axes.

    With the scan's spacing it is moved by whole voxels of the scan, so half a voxel off the middle where one of the
    sizes is odd and the other even.
    """
    step = _kept(scan, size.spacing)
    index_map = torch.eye(4, dtype=torch.float64)
    for axis, (old, new) in enumerate(zip(scan.shape, size.shape, strict=True)):
        ratio = step[axis] / scan.spacing[axis]
        offset = 0.5 * (old - 1) - ratio * 0.5 * (new - 1)
        index_map[axis, axis] = ratio
        index_map[axis, 3] = math.floor(offset) if ratio == 1 else offset
    return Grid.from_affine(size.shape, scan.affine @ index_map)


def check_overlap(pairs: Iterable[tuple[str, str]], scans: Mapping[str, Grid]) -> None:
    """Raise DataError where two scans of a pair hardly overlap in the scanner's frame.

    The least is `LEAST_OVERLAP`; fields of view are taken as boxes along the first scan's axes.
    """
    lattice = next(iter(scans.values())).affine
    boxes = {id: [corner.tolist() for corner in _box(grid, lattice)] for id, grid in scans.items()}
    for fixed, moving in pairs:
        (low, high), (other_low, other_high) = boxes[fixed], boxes[moving]
        volumes = (math.prod(b - a for a, b in zip(*box, strict=True)) for box in (boxes[fixed], boxes[moving]))
        spans = zip(low, high, other_low, other_high, strict=True)
        found = math.prod(max(0.0, min(b, d) - max(a, c)) for a, b, c, d in spans) / min(volumes)
        if found < LEAST_OVERLAP:
            raise DataError(
                f"{fixed} and {moving}: must share {LEAST_OVERLAP:.0%} of their fields of view in the scanner's frame, "
                f"found {found:.0%}; pass --set alignment=centre"
            )


def _common_spacing(scans: Mapping[str, Grid], config: ImageConfig) -> tuple[float, float, float]:
    if config.spacing is not None:
        return (config.spacing, config.spacing, config.spacing)
    (first, reference), *others = scans.items()
    for id, grid in others:
        if _kept(grid, reference.spacing) != grid.spacing:
            spacings = " and ".join(" x ".join(f"{s:.4g}" for s in g.spacing) for g in (reference, grid))
            raise DataError(
                f"{first} and {id}: scans must have one spacing, found {spacings} mm; choose one with --set spacing="
            )
    return reference.spacing


def _kept(scan: Grid, spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """``spacing``, but the scan's own along all axes where they are equal up to rounding: then no value changes."""
    same = all(abs(own - other) <= _SAME * own for own, other in zip(scan.spacing, spacing, strict=True))
    return scan.spacing if same else spacing


def _covering(scan: Grid, spacing: tuple[float, float, float]) -> list[int]:
    """How many voxels of ``spacing`` cover a scan along each axis; its own number where the spacing is kept."""
    if _kept(scan, spacing) == scan.spacing:
        return list(scan.shape)
    return [math.ceil(n * old / new - _SLACK) for n, old, new in zip(scan.shape, scan.spacing, spacing, strict=True)]


def _world_grids(scans: Mapping[str, Grid], config: ImageConfig) -> dict[str, Grid]:
    first = next(iter(scans.values()))
    spacing = _kept(first, _common_spacing(scans, config))
    ratio = torch.tensor([new / old for new, old in zip(spacing, first.spacing, strict=True)], dtype=torch.float64)
    lattice = torch.eye(4, dtype=torch.float64)
    lattice[:3, :3] = torch.diag(ratio)
    lattice[:3, 3] = 0.5 * (ratio - 1)
    lattice = first.affine @ lattice
    boxes = {id: _box(grid, lattice) for id, grid in scans.items()}
    low = torch.stack([box[0] for box in boxes.values()]).amin(0)
    high = torch.stack([box[1] for box in boxes.values()]).amax(0)
    if config.shape is None:
        start = torch.floor(low + 0.5 + _SLACK)
        shape = (torch.ceil(high - 0.5 - _SLACK) - start + 1).int().tolist()
        _check_filled(scans, Size((shape[0], shape[1], shape[2]), spacing))
    else:
        shape = list(config.shape)
        start = torch.floor(0.5 * (low + high) - 0.5 * (torch.tensor(shape) - 1))
    shift = torch.eye(4, dtype=torch.float64)
    shift[:3, 3] = start
    grid = Grid.from_affine(shape, lattice @ shift)
    end = start + torch.tensor(shape) - 0.5
    for id, (low, high) in boxes.items():
        if bool((high <= start - 0.5 + _SLACK).any() or (low >= end - _SLACK).any()):
            raise DataError(
                f"{id}: must meet the working grid in the scanner's frame, found it outside; "
                "pass --set alignment=centre, or a larger --set shape="
            )
    return dict.fromkeys(scans, grid)


def _check_filled(scans: Mapping[str, Grid], size: Size) -> None:
    largest = max(math.prod(_covering(grid, size.spacing)) for grid in scans.values())
    if math.prod(size.shape) > MOST_EMPTY * largest:
        raise DataError(
            f"alignment: a grid over all {len(scans)} scans where their headers say needs {size.shape} voxels, "
            f"more than {MOST_EMPTY} times those of the largest scan; pass --set alignment=centre, or --set shape="
        )


def _box(grid: Grid, lattice: Float[Tensor, "4 4"]) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """The lowest and highest corner of a field of view, in voxel indices of ``lattice``."""
    corners = torch.cartesian_prod(*(torch.tensor([-0.5, n - 0.5], dtype=torch.float64) for n in grid.shape))
    corners = torch.cat([corners, torch.ones(8, 1, dtype=torch.float64)], dim=1)
    indices = torch.linalg.solve(lattice, grid.affine @ corners.T)[:3]
    return indices.amin(1), indices.amax(1)

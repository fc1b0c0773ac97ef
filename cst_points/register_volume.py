"""What a registration of two lung CTs leaves on their own grids: fields both ways, the warped CT, its Jacobian."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.field import Grid, resize, sample
from cst_core.metrics import jacobian_determinant
from cst_core.transform import InvertedField, Transform, WorldField, is_inside, slab_points, slabs, to_indices
from cst_core.transforms_io import write_itk_affine, write_itk_field
from cst_points.confidence import at_points
from cst_points.dense import displacement_at
from cst_points.register_input import Ready
from cst_points.scan import Scan, write_volume
from cst_points.tps import Spline

SPACING = 3.0
"""mm between the places where the spline and its inverse are computed; between them fields are linear. Keypoints are
farther apart."""


class Written(NamedTuple):
    """The field, and what register.json says of the volumes."""

    field: WorldField
    """As displacement.nii.gz has it."""
    grid: dict[str, Any]
    inverse_residual_mm: dict[str, float]
    files: dict[str, str]
    seconds_inverse: float


def write_volumes(folder: Path, ready: Ready, spline: Spline, residual: Float[Tensor, " N"]) -> Written:
    """Write the ITK fields, affine.tfm, warped.nii.gz, jacobian.nii.gz and confidence.nii.gz.

    Args:
        folder: where.
        ready: a pair of CTs.
        spline: of the registration, network's frame.
        residual: the measure of confidence at the fixed keypoints, mm.
    """
    assert ready.volumes is not None
    fixed, moving = ready.volumes.fixed_grid, ready.volumes.moving_grid
    spline = Spline(*(part.cpu() for part in spline))
    rest, affine = _rest(ready, spline, coarse(fixed)), ready.aligned()
    start = time.perf_counter()
    back = Transform((rest, affine)).inverse_on(coarse(moving))
    seconds = time.perf_counter() - start
    whole = WorldField(resize(Transform((rest, affine)).on(rest.grid).vectors, fixed.shape), fixed)
    write_itk_field(folder / "displacement.nii.gz", whole)
    inverse = WorldField(resize(back.field.vectors, moving.shape), moving)
    write_itk_field(folder / "displacement_inverse.nii.gz", inverse)
    write_itk_affine(folder / "affine.tfm", affine)
    write_volume(folder / "jacobian.nii.gz", _jacobian(whole), fixed)
    write_volume(folder / "warped.nii.gz", _warped(whole, ready.volumes.moving), fixed)
    write_volume(folder / "confidence.nii.gz", _everywhere(ready, residual.cpu(), fixed), fixed)
    names = ("displacement", "displacement_inverse", "warped", "jacobian", "confidence")
    files = {name: f"{name}.nii.gz" for name in names} | {"affine": "affine.tfm"}
    return Written(whole, _described(fixed), _residual(ready, back), files, seconds)


def coarse(grid: Grid) -> Grid:
    """The same field of view in voxels of about `SPACING` mm, none finer than the grid's own."""
    shape = [max(1, min(n, math.ceil(n * s / SPACING))) for n, s in zip(grid.shape, grid.spacing, strict=True)]
    return grid.resized(shape)


def _rest(ready: Ready, spline: Spline, grid: Grid) -> WorldField:
    """What is left of the registration once `Ready.aligned` is applied after it: fixed world to fixed world."""
    points = slab_points(grid, 0, grid.shape[2])
    there = ready.fixed_placed.map(points)
    moved = there + displacement_at(ready.pair, spline, there.float()).double()
    vectors = ready.fixed_placed.inverse().map(moved) - points
    return WorldField(vectors.T.reshape(3, *grid.shape).float(), grid)


def _jacobian(field: WorldField) -> Float[Tensor, "X Y Z"]:
    along_axes = torch.einsum("wa,wxyz->axyz", field.grid.directions.float(), field.vectors)
    return jacobian_determinant(along_axes, field.grid.spacing)


def _warped(field: WorldField, moving: Scan) -> Float[Tensor, "X Y Z"]:
    """The moving CT pulled back, a slab at a time; where it does not reach, its lowest value: air."""
    values, grid = torch.from_numpy(moving.values), Grid.from_affine(moving.values.shape, moving.affine)
    warped = torch.full(field.grid.shape, float(values.min()))
    for start, stop in slabs(field.grid.shape):
        points = slab_points(field.grid, start, stop) + field.vectors[..., start:stop].flatten(1).T.double()
        index = to_indices(grid, points)
        found = sample(values[None], index.T.float(), (1.0, 1.0, 1.0))[0]
        slab = torch.where(is_inside(index, grid.shape), found, values.min())
        warped[..., start:stop] = slab.reshape(warped[..., start:stop].shape)
    return warped


def _everywhere(ready: Ready, residual: Float[Tensor, " N"], fixed: Grid) -> Float[Tensor, "X Y Z"]:
    """The measure between and beyond the keypoints, mm."""
    grid = coarse(fixed)
    points = ready.fixed_placed.map(slab_points(grid, 0, grid.shape[2])).float()
    values = at_points(ready.pair.fixed, residual, points).reshape(1, *grid.shape)
    return resize(values.expand(3, -1, -1, -1), fixed.shape)[0]


def _residual(ready: Ready, back: InvertedField) -> dict[str, float]:
    """Where the inverse leads into the fixed scan; elsewhere the forward field says nothing."""
    assert ready.volumes is not None
    fixed, grid = ready.volumes.fixed_grid, back.field.grid
    points = slab_points(grid, 0, grid.shape[2])
    points = points + back.field.vectors.flatten(1).T.double()
    index = fixed.points_from_world(points) / points.new_tensor(fixed.spacing)
    inside = ((index >= 0) & (index <= index.new_tensor(fixed.shape) - 1)).all(1)
    found = back.residual_mm.flatten()[inside].double()
    if not len(found):
        return {"mean": math.nan, "p999": math.nan, "max": math.nan}
    high = found.kthvalue(max(1, math.ceil(0.999 * len(found)))).values
    return {"mean": float(found.mean()), "p999": float(high), "max": float(found.max())}


def _described(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "spacing": list(grid.spacing), "affine": grid.affine.tolist()}

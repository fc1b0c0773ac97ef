"""What a registration of two lung CTs leaves on their own grids: fields both ways, the warped CT, its Jacobian."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.field import Grid, resize
from cst_core.formats.nifti import placed, read_volume, save_nifti
from cst_core.metrics import jacobian_determinant
from cst_core.resample import by_transform, default_outside, resample
from cst_core.transform import Transform, WorldField, slab_points
from cst_core.transforms_io import write_itk_affine, write_itk_field
from cst_core.way_back import ContinuedField, way_back
from cst_points.confidence import at_points
from cst_points.dense import displacement_at
from cst_points.register_input import Ready
from cst_points.tps import Spline

SPACING = 3.0
"""mm between the places where the spline is computed; between them the field is linear. Keypoints are farther apart."""


class Written(NamedTuple):
    """The field, and what register.json says of the volumes."""

    field: WorldField
    """As displacement.nii.gz has it."""
    grid: dict[str, Any]
    inverse_residual_mm: dict[str, float] | None
    files: dict[str, str]
    seconds_inverse: float


def write_volumes(folder: Path, moving: Path, ready: Ready, spline: Spline, residual: Float[Tensor, " N"]) -> Written:
    """Write the ITK fields, affine.tfm, warped.nii.gz, jacobian.nii.gz and confidence.nii.gz.

    Args:
        folder: where.
        moving: the moving CT's file.
        ready: a pair of CTs.
        spline: of the registration, network's frame, on the CPU.
        residual: the measure of confidence at the fixed keypoints, mm, on the CPU.
    """
    assert ready.grids is not None
    fixed, other = ready.grids
    rest, affine = _rest(ready, spline, coarse(fixed)), ready.aligned()
    whole = WorldField(resize(Transform((rest, affine)).on(rest.grid).vectors, fixed.shape), fixed)
    start = time.perf_counter()
    back = way_back(rest, affine, whole, other, coarse(other))
    seconds = time.perf_counter() - start
    write_itk_field(folder / "displacement.nii.gz", whole)
    write_itk_field(folder / "displacement_inverse.nii.gz", back.field)
    write_itk_affine(folder / "affine.tfm", affine)
    scan = read_volume(moving)
    warped = resample(scan, by_transform(Transform((whole,)), fixed), fixed, outside=default_outside(scan, "linear"))
    save_nifti(folder / "warped.nii.gz", placed(warped.values, fixed))
    save_nifti(folder / "jacobian.nii.gz", placed(_jacobian(whole).numpy(), fixed))
    save_nifti(folder / "confidence.nii.gz", placed(_everywhere(ready, residual, fixed).numpy(), fixed))
    names = ("displacement", "displacement_inverse", "warped", "jacobian", "confidence")
    files = {name: f"{name}.nii.gz" for name in names} | {"affine": "affine.tfm"}
    described = {"shape": list(fixed.shape), "spacing": list(fixed.spacing), "affine": fixed.affine.tolist()}
    return Written(whole, described, back.residual_mm, files, seconds)


def coarse(grid: Grid) -> Grid:
    """The same field of view in voxels of about `SPACING` mm, none finer than the grid's own."""
    shape = [max(1, min(n, math.ceil(n * s / SPACING))) for n, s in zip(grid.shape, grid.spacing, strict=True)]
    return grid.resized(shape)


def _rest(ready: Ready, spline: Spline, grid: Grid) -> ContinuedField:
    """What is left of the registration once `Ready.aligned` is applied after it: fixed world to fixed world."""
    points = slab_points(grid, 0, grid.shape[2])
    there = ready.fixed_placed.map(points)
    moved = there + displacement_at(ready.pair, spline, there.float()).double()
    vectors = ready.fixed_placed.inverse().map(moved) - points
    return ContinuedField(vectors.T.reshape(3, *grid.shape).float(), grid)


def _jacobian(field: WorldField) -> Float[Tensor, "X Y Z"]:
    along_axes = torch.einsum("wa,wxyz->axyz", field.grid.directions.float(), field.vectors)
    return jacobian_determinant(along_axes, field.grid.spacing)


def _everywhere(ready: Ready, residual: Float[Tensor, " N"], fixed: Grid) -> Float[Tensor, "X Y Z"]:
    """The measure between and beyond the keypoints, mm."""
    grid = coarse(fixed)
    points = ready.fixed_placed.map(slab_points(grid, 0, grid.shape[2])).float()
    values = at_points(ready.pair.fixed, residual, points).reshape(1, *grid.shape)
    return resize(values.expand(3, -1, -1, -1), fixed.shape)[0]

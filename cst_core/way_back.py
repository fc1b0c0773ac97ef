"""The inverse of a registration on the moving scan's grid, and how exactly the two undo each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.compiled_field import Search
from cst_core.field import Grid
from cst_core.transform import Transform, WorldAffine, WorldField, slab_points, slabs

_POLISH = Search(solved_mm=1e-3, within=True)


@dataclass(frozen=True, eq=False)
class ContinuedField(WorldField):
    """A field that goes on beyond its grid as it is at the border: what a registration knows of what it did not see."""

    continued: ClassVar[bool] = True


class WayBack(NamedTuple):
    """The inverse, and what it leaves."""

    field: WorldField
    """Moving world to fixed world, on the moving grid."""
    residual_mm: dict[str, float] | None
    """``mean``, ``p999`` (99.9th percentile) and ``max`` of |T(T^-1(y)) - y| over the voxels that map inside the fixed
    grid; None if none does."""


def way_back(found: ContinuedField, affine: WorldAffine, exported: WorldField, grid: Grid, coarse: Grid) -> WayBack:
    """The inverse of ``exported``, x -> A(x + u(x)) at every voxel of the fixed grid, on the moving ``grid``.

    Computed on ``coarse`` first, a grid over the moving field of view, where it converges from afar, then at every
    voxel against the exported field itself, linear between its voxels: that is what others will read. Where y comes
    from beyond the fixed grid the field is continued as at its border.

    Args:
        found: u, RAS mm.
        affine: A, fixed world to moving world.
        exported: the whole, on the fixed grid.
        grid: of the moving scan.
        coarse: for the start.
    """
    start = Transform((found, affine)).inverse_on(coarse).field
    start = ContinuedField(start.vectors, start.grid)
    backwards = affine.inverse().matrix[:3, :3]
    vectors, residuals = torch.empty(3, *grid.shape), []
    for low, high in slabs(grid.shape):
        points = slab_points(grid, low, high)
        places, residual = exported.search(points, start.map(points), backwards, _POLISH)
        vectors[..., low:high] = (places - points).T.reshape(3, *grid.shape[:2], high - low).float()
        residuals.append(residual[residual.isfinite()].float())
    return WayBack(WorldField(vectors, grid), _figures(torch.cat(residuals)))


def _figures(residual: Float[Tensor, "N"]) -> dict[str, float] | None:
    if not len(residual):
        return None
    rank = max(1, round(0.999 * len(residual)))
    return {
        "mean": float(residual.double().mean()),
        "p999": float(residual.kthvalue(rank).values),
        "max": float(residual.max()),
    }
